/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Loaded kernel modules as proc/modules and sys/module tell them. Module names use underscores, as the kernel does. */

#include "host.h"

struct kmod_info {
	char *name; /* "nvidia_uvm" */
	uint64_t size_bytes;
	int refcount; /* -1 = the kernel does not say (unloading impossible) */
	char **holders; /* modules that use it */
	bool live; /* not Loading or Unloading */
};
struct kmods {
	struct kmod_info *v;
	size_t n;
};
#define KMODS_INIT                                                                                           \
	{                                                                                                    \
		NULL, 0                                                                                      \
	}

void kmods_done(struct kmods *k);
/* Reads <proc>/modules; holders from there. -ENOENT where the machine has no proc. */
int kmods_read(const struct host *h, struct kmods *ret);
int kmods_parse(const char *text, size_t len, struct kmods *ret);
/* Dashes and underscores are the same; NULL when not loaded. */
const struct kmod_info *kmods_find(const struct kmods *k, const char *name);

bool kmod_name_eq(const char *a, const char *b); /* dash = underscore */
char *kmod_name_underscores(const char *name); /* caller frees */

/* sys/module/<name>/<attribute> ("version", "srcversion", "refcnt", "coresize", "parameters/NVreg_X"); first line; -ENOENT. */
int kmod_attr(const struct host *h, const char *name, const char *attribute, char **ret);
/* Names below sys/module/<name>/holders and sys/module/<name>/parameters. */
int kmod_holders(const struct host *h, const char *name, char ***ret);
int kmod_parameters(const struct host *h, const char *name, char ***ret);

/* Before the first call of libkmod, which loading and unloading need: 0, or ERR_LIBRARY_MISSING. */
int libkmod_require(struct err *e);
