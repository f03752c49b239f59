/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

/* Calls fn(i, arg) once for every i below n, on as many threads as there are processors (at most eight; threads that
 * cannot be started are done without). Work that waits for memory, disk or a digest gains; fn must only touch what
 * belongs to its own i. The first answer other than 0 stops what has not begun and is returned; 0 when all were 0. */
int parallel_for(size_t n, int (*fn)(size_t i, void *arg), void *arg);
/* The same for items that each cost less than a thread does: one more thread for every `grain` of them. */
int parallel_for_grain(size_t n, size_t grain, int (*fn)(size_t i, void *arg), void *arg);
