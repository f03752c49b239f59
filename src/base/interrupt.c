/* SPDX-License-Identifier: Apache-2.0 */
#include "interrupt.h"
#include "err.h"

#include <poll.h>
#include <signal.h>
#include <string.h>

static volatile sig_atomic_t pending;

static void on_signal(int signal)
{
	pending = signal;
}

void interrupt_install(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	/* No SA_RESTART: a wait is cut short, so the flag is seen at once. */
	const struct sigaction mine = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
	struct sigaction old;

	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			(void)sigaction(signals[i], &mine, NULL);
}

void interrupt_catch(const int *signals, size_t n)
{
	const struct sigaction mine = { .sa_handler = on_signal };

	for (size_t i = 0; i < n; i++)
		(void)sigaction(signals[i], &mine, NULL);
}

bool interrupt_pending(void)
{
	return pending != 0;
}

int interrupt_signal(void)
{
	return pending;
}

void interrupt_set(int signal)
{
	pending = signal;
}

bool interrupt_sleep(unsigned ms)
{
	const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };
	sigset_t all, before;

	/* Blocked until ppoll() waits, so that none slips in between the look and the wait. */
	(void)sigfillset(&all);
	if (sigprocmask(SIG_SETMASK, &all, &before) < 0)
		return interrupt_pending();
	if (!pending)
		(void)ppoll(NULL, 0, &t, &before);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return interrupt_pending();
}

int interrupt_check(struct err *e)
{
	if (!pending)
		return 0;
	return err_set(e, ERR_INTERRUPTED, "stopped by signal %d (%s)", (int)pending, strsignal(pending));
}
