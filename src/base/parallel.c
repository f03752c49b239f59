/* SPDX-License-Identifier: Apache-2.0 */
#include "parallel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define THREADS_MAX 8

struct job {
	size_t n;
	int (*fn)(size_t i, void *arg);
	void *arg;
	atomic_size_t next;
	atomic_int answer; /* the first that was not 0 */
};

static void *worker(void *arg)
{
	struct job *job = arg;
	size_t i;

	while (!atomic_load(&job->answer) && (i = atomic_fetch_add(&job->next, 1)) < job->n) {
		int none = 0, r = job->fn(i, job->arg);

		if (r != 0)
			(void)atomic_compare_exchange_strong(&job->answer, &none, r);
	}
	return NULL;
}

int parallel_for_grain(size_t n, size_t grain, int (*fn)(size_t i, void *arg), void *arg)
{
	struct job job = { .n = n, .fn = fn, .arg = arg };
	pthread_t threads[THREADS_MAX];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int started = 0;

	while (started + 1 < THREADS_MAX && started + 1 < cpus && ((size_t)started + 1) * grain < n &&
	       pthread_create(&threads[started], NULL, worker, &job) == 0)
		started++;
	(void)worker(&job);
	while (started > 0)
		(void)pthread_join(threads[--started], NULL);
	return atomic_load(&job.answer);
}

int parallel_for(size_t n, int (*fn)(size_t i, void *arg), void *arg)
{
	return parallel_for_grain(n, 1, fn, arg);
}
