/* SPDX-License-Identifier: Apache-2.0
 *
 * Does CUDA start in a container? A tiny program (probe/cuda-init.c, carried in ours) is pushed, run and removed; it runs as
 * every program of the container does, through the manager, for it loads a library the container could have changed. */
#pragma once

#include "lxc-backend.h"
#include "parse.h"

extern const unsigned char lxc_cuda_probe[];
extern const unsigned long lxc_cuda_probe_size;

/* What a result of cuInit() says; a sentence for numbers nobody knows too. */
const char *lxc_cuda_text(int result);
/* The result in the program's answer: "cuInit 100". -EINVAL. */
int lxc_cuda_parse(struct span out, int *ret);
/* Sentence about a run that gave no result: the library is missing, crashed, may not be run. Caller frees. */
char *lxc_cuda_no_result(int status, struct span out);
/* *ret_result -1 when there was none, *ret_problem (caller frees) then says why; NULL with result 0. Errors are those of the
 * manager, a program that hangs among them (ERR_TIMEOUT). Nothing stays in the container. */
int lxc_cuda_init(struct lxc_backend *b, const char *id, int *ret_result, char **ret_problem, struct err *e);
