/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The machine a command reads facts from and changes, all through directory descriptors, so a fixture directory
 * is a machine. With a root other than "/" nothing of the running machine is consulted: proc and sys are
 * <root>/proc and <root>/sys (and may be absent: descriptor -EBADF, facts then "unknown"). */

#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct host {
	int root_fd, proc_fd, sys_fd, dev_fd; /* owned; proc/sys/dev may be -EBADF */
	char *root; /* as given, for messages; "/" for the machine itself */
	bool is_running; /* true only for "/" */
};

int host_open(const char *root, struct host **ret, struct err *e);
void host_freep(struct host **h);

/* Single facts; -ENOENT when the machine does not say. Strings: caller frees. */
int host_kernel_release(const struct host *h, char **ret); /* proc/sys/kernel/osrelease */
int host_machine(const struct host *h,
		 char **ret); /* "x86_64" or "aarch64": ELF of the root's C library or the running machine */
int host_proc_version(const struct host *h, char **ret); /* first line of proc/version, without LF */
int host_cmdline(const struct host *h, char **ret);
unsigned host_cpu_count(const struct host *h); /* bounded by affinity and cgroup cpu.max; at least 1 */
int host_memory_available(const struct host *h, uint64_t *ret_bytes); /* bounded by cgroup memory.max */

struct os_release {
	char *id, *id_like, *version_id, *codename, *pretty_name, *platform_id;
	char *rhel_version; /* CoreOS: the RHEL it is made of */
};
int os_release_parse(const char *text, size_t len, struct os_release *ret, struct err *e);
void os_release_done(struct os_release *o);
int host_os_release(const struct host *h, struct os_release *ret,
		    struct err *e); /* etc/os-release, usr/lib/os-release */
