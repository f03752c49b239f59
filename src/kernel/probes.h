/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Answers of the driver's configure probes, kept across builds. The driver's Kbuild writes one small file per probe
 * below conftest/ and remakes it only when it is older than conftest.sh or than what it depends on. Answers depend
 * on the kernel, the compiler and conftest.sh, not on the flavour, so they are kept in probes/<key>/answers.json and put back with
 * times in the order make expects:
 *
 *	conftest.sh < uts_release < header_presence/ *.part < headers.h < compile-tests/ *.h
 *
 * A probe whose answer holds "#error" could not run; it is never kept. */

#include "err.h"
#include "store.h"

/* key: digest of conftest.sh, kernel identity, compiler text and the flags that reach the probes; the probe's name
 * is the rest of an answer's key. */
int probes_key(const char *conftest_sha256, const char *kernel_identity, const char *compiler,
	       const char *flags, char ret_key[65]);

/* Put the kept answers into build_fd/conftest, and conftest.sh's time before theirs. Returns how many, 0 when there are
 * none. Damaged records are as none. */
int probes_restore(struct store *s, const char *key, int build_fd, struct err *e);

/* Merge what build_fd/conftest holds now into the kept answers. ret_total: answers in that directory. Nothing is
 * written when nothing is new. */
int probes_keep(struct store *s, const char *key, int build_fd, unsigned *ret_total, struct err *e);

/* Name of the first probe that could not run ("#error acpi_walk_namespace() conftest failed!"); -ENOENT when all did. Caller frees. */
int probes_failed(int build_fd, char **ret_text);
