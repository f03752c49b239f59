/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A wish to stop, asked by SIGINT, SIGTERM or SIGHUP. The handler only sets a flag: whoever waits or loops for long
 * looks at it and ends in order (children killed, temporary files removed, the journal left so that recover works).
 * The second signal of a kind does what it does by default. */

#include <stdbool.h>
#include <stddef.h>

/* Called once by the command line, before threads start. Signals ignored by the caller stay ignored. */
void interrupt_install(void);

/* For a program that stays: these set the flag too, and go on doing so however often they come. */
void interrupt_catch(const int *signals, size_t n);

bool interrupt_pending(void);
int interrupt_signal(void); /* the signal, 0 for none */
void interrupt_set(int signal); /* as if it had arrived; 0 clears (tests) */

/* Sleeps up to that long, less when a signal arrives; one that came before is not slept over. True when one is pending. */
bool interrupt_sleep(unsigned ms);

/* -ERR_INTERRUPTED stored in e when one is pending, else 0. */
struct err;
int interrupt_check(struct err *e);
