/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Scope-exit cleanup. A resource is born with an owner: `_cleanup_(foo_freep) struct foo *x = NULL;`.
 * TAKE_PTR()/TAKE_FD() hand ownership over and disarm the cleanup. */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn)	     __attribute__((cleanup(fn)))
#define _printf_(fmt, first) __attribute__((format(printf, fmt, first)))
#define _sentinel_	     __attribute__((sentinel))
#define _must_check_	     __attribute__((warn_unused_result))
#define _unused_	     __attribute__((unused))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define TAKE_PTR(p)                                                                                          \
	({                                                                                                   \
		__typeof__(p) *take_ = &(p);                                                                 \
		__typeof__(p) taken_ = *take_;                                                               \
		*take_ = NULL;                                                                               \
		taken_;                                                                                      \
	})

#define TAKE_FD(fd)                                                                                          \
	({                                                                                                   \
		int *take_ = &(fd);                                                                          \
		int taken_ = *take_;                                                                         \
		*take_ = -EBADF;                                                                             \
		taken_;                                                                                      \
	})

static inline void freep(void *p)
{
	free(*(void **)p);
	*(void **)p = NULL;
}

/* Close a descriptor kept in a variable that starts at -EBADF; errno survives. */
void close_fdp(int *fd);
void fclosep(FILE **f);

#define _cleanup_free_	 _cleanup_(freep)
#define _cleanup_close_	 _cleanup_(close_fdp)
#define _cleanup_fclose_ _cleanup_(fclosep)
