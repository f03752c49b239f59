/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The package manager, asked for as little as possible and trusted to fail: for the devel package of one kernel. A repository
 * that cannot be used is left out by name, several release versions are tried, packages are downloaded and read, not
 * installed, so that nothing can conflict, run a script or remain. Not thread-safe. */

#include "container-rhel.h"
#include "err.h"

#include <stdbool.h>

struct dnf_setup {
	const struct host *host; /* the container's root */
	const struct rhel_version *rhel;
	const char *arch; /* "x86_64" */
	const char *releasever; /* the user's; NULL = none */
	const char *openshift_version; /* NULL = none */
	char *const *args; /* further arguments of every call; NULL = none */
	const char *work_dir; /* absolute path of a private directory that outlives the struct */
	int log_fd; /* whole output of every call is appended; -EBADF = not kept */
};

struct dnf;

/* Finds dnf or yum and asks which repositories there are. ERR_TOOL_MISSING, ERR_SPAWN. */
int dnf_open(const struct dnf_setup *setup, struct dnf **ret, struct err *e);
void dnf_freep(struct dnf **d);

struct dnf_package {
	char *name, *version, *release, *arch, *repository; /* owned */
};
void dnf_package_done(struct dnf_package *p);
char *dnf_package_nevra(const struct dnf_package *p); /* name-version-release.arch; caller frees */

/* The devel package of a kernel, by its exact name, else by what it says it provides. The first release version that has
 * it stays in use for what follows. ERR_PACKAGE_NOT_FOUND: the reason has the exact name, version and release, the
 * repositories that were asked and those left out, the release versions tried, and the nearest versions there are. */
int dnf_find_devel(struct dnf *d, const char *kernel_release, struct dnf_package *ret, struct err *e);

/* Kernel releases the devel packages of the same variant as kernel_release are offered for, newest first; from the first
 * release version that offers any. *ret: strv_freep. */
int dnf_list_kernels(struct dnf *d, const char *kernel_release, char ***ret, struct err *e);

/* Download a found package below work_dir: *ret is the path of its file, caller frees. Where the repository demands signed
 * packages the signature has been checked against the repository's keys (ERR_PACKAGE_UNSIGNED). */
int dnf_download(struct dnf *d, const struct dnf_package *p, char **ret, struct err *e);

/* Install each of these (NULL-terminated), in a transaction of its own: one request for all fails where one after the other
 * may downgrade. As configured, then with other than the best versions, at last with the right to remove what is in
 * the way; what was removed is reported. Stops at the first that fails. */
int dnf_install(struct dnf *d, const char *const *specs, struct err *e);

/* -- pure: texts of the program -- */

struct dnf_repository {
	char *id; /* owned */
	bool is_enabled;
};
struct dnf_repositories {
	struct dnf_repository *v; /* owned */
	size_t n;
};
void dnf_repositories_done(struct dnf_repositories *r);
/* `repolist --all`: a heading, then "id   name   enabled|disabled". 0 or -ENOMEM; lines of another shape are passed over. */
int dnf_parse_repositories(const char *text, size_t len, struct dnf_repositories *ret);

/* Lines "name version release arch repository". */
struct dnf_packages {
	struct dnf_package *v; /* owned */
	size_t n;
};
void dnf_packages_done(struct dnf_packages *p);
int dnf_parse_packages(const char *text, size_t len, struct dnf_packages *ret);

/* Of "version-release" texts those nearest to `wanted`: at most two below and two above, in ascending order, each once.
 * *ret: strv_freep. 0 or -ENOMEM. */
int dnf_nearest(char *const *versions, const char *wanted, char ***ret);

/* Names of packages a transaction removed, from its report ("Removed:" and the indented lines below). *ret: strv_freep. */
int dnf_parse_removed(const char *text, size_t len, char ***ret);

/* Value of "key = value" in a repository's settings as `config-manager --dump` prints them; caller frees. -ENOENT. */
int dnf_setting(const char *text, size_t len, const char *key, char **ret);

/* The last line of a failed call's output that says something: "Error: " in front taken away. Caller frees. */
char *dnf_complaint(const char *tail);
