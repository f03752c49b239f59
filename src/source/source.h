/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where a driver comes from, and the one way it becomes a payload directory: the vendor's layout (docs: payload)
 * with its .manifest, ready for store_tree_add(). Whether the bytes were a .run file, thirty .deb packages or a
 * directory, everything after this point sees the same thing. */

#include "err.h"
#include "fetch.h"
#include "store.h"

#include <jansson.h>
#include <stdint.h>

enum source_kind {
	SOURCE_RUNFILE, /* a local .run file */
	SOURCE_URL, /* http, https or file URL of one package file */
	SOURCE_PACKAGES, /* .deb and/or .rpm files, or directories of them */
	SOURCE_APT, /* the distribution's packages of one driver version */
	SOURCE_TREE, /* an unpacked payload directory */
	SOURCE_VENDOR, /* a driver version on the vendor's public site */
};
const char *source_kind_name(enum source_kind k); /* "runfile", "url", "packages", "apt", "tree", "vendor" */

struct source {
	enum source_kind kind;
	char **locations; /* owned strv: paths or URLs; empty for apt and vendor */
	char *version; /* owned; apt, vendor: the driver version wanted ("newest" for apt: the highest) */
};
void source_done(struct source *s);
#define SOURCE_INIT                                                                                          \
	{                                                                                                    \
		SOURCE_TREE, NULL, NULL                                                                      \
	}

/* What a word on the command line names: "apt:VERSION", "apt:newest", "vendor:VERSION", a URL, a path (looked at: by content, never by
 * name), or a bare driver version (apt where apt-get exists, else the vendor's site). Several paths make one
 * SOURCE_PACKAGES. Reads at most the first bytes of each path; no network. ERR_USAGE, ERR_SOURCE_UNKNOWN. */
int source_parse(char *const *words, size_t n, struct source *ret, struct err *e);

struct source_options {
	struct store *store; /* packages are kept there and found again; NULL = only in memory of this run */
	const char *arch; /* "x86_64", "aarch64"; NULL = the running machine's */
	const char *driver_kind; /* vendor URLs: "passthrough" (NULL) or "grid" */
	const char *branch; /* vendor URLs of grid drivers: vGPU branch */
	bool
	    with_compat32; /* apt: 32-bit parts too (their architecture is read privately, never added to the machine) */
	bool with_kernel_sources, with_user_space; /* apt: both false = both */
	bool offline;
	const char *sha256; /* single file sources: pinned digest */
	const char *md5;
	uint64_t size_bytes;
	char *const *mirrors;
	const char *to_dir; /* source_fetch(): put the files here instead of into the store */
	const char *ca_file; /* PEM bundle for https instead of the system's */
	const char *proxy;
	unsigned attempts;
	const char
	    *apt_etc; /* tests: directory with a ready sources.list instead of one made from the machine's */
};
#define SOURCE_OPTIONS_INIT                                                                                  \
	{                                                                                                    \
		NULL                                                                                         \
	}

struct source_result {
	char *version; /* owned */
	char *arch; /* owned: "x86_64", "aarch64" */
	char *driver_kind; /* owned: "passthrough", "grid", "vgpu-kvm", "merged" */
	char *origin; /* owned: "apt:535.261.03-1~deb12u1", URL or path */
	char *origin_id; /* owned: digest over what it was made from (sha256 of the package, or of the list of
	                         * package digests): same id, same tree; a ref "source/<origin_id>" makes it a hit.
	                         * NULL for an unpacked tree, and for a URL without pinned digest before it is fetched */
	enum fetch_trust trust; /* the weakest of its parts */
	json_t *packages; /* owned array: { name, version, arch, sha256, size_bytes, file } */
	json_t *unplaced; /* owned array of "package: path": files no table row knows */
	uint64_t files, bytes; /* in the payload */
};
void source_result_done(struct source_result *r);

/* Learn what would be staged, as far as that costs no download: version, arch, origin, origin_id and packages.
 * apt: refreshes the private index (unless offline). URL: nothing but the name. */
int source_resolve(const struct source *s, const struct source_options *o, struct source_result *ret,
		   struct err *e);

/* Fill the empty directory `dirfd` (for example <stage>/root) with the payload and its .manifest; names are
 * resolved beneath it, set-id bits never applied, devices and escapes refused (ERR_PATH_ESCAPE, ERR_SOURCE_MEMBER).
 * Package files fetched on the way are published in the store (packages/<sha256>/<name>) when there is one.
 * On failure the directory's content is undefined; the caller's stage removes it. */
int source_stage(const struct source *s, const struct source_options *o, int dirfd, struct source_result *ret,
		 struct err *e);

/* The record source_stage() wants stored with the tree (for store_tree_add's meta): source, origin, trust,
 * packages, unplaced, version, arch, kind. New reference, NULL without memory. */
json_t *source_record(const struct source_result *r);

/* Make sure one package file lies in the store: fetched there (URL, apt, vendor) or imported by reflink, else
 * copy (local files). One entry per file is appended to *ret_packages: { name, sha256, size_bytes, url, trust,
 * action }. */
int source_fetch(const struct source *s, const struct source_options *o, json_t *ret_packages, struct err *e);

/* Kernel build tree from the distribution's header packages, downloaded but not installed.
 * which: a flavour ("amd64", "cloud-amd64": the newest one that can be had) or an exact release
 * ("6.1.0-40-amd64"). Fills the empty directory dirfd and makes the tree relocatable: no absolute name of the
 * packages remains in its makefiles and links, and no vmlinux (without pahole its BTF step fails).
 * ret_release "6.1.0-40-amd64"; ret_build_rel and ret_source_rel are directories below dirfd, for make -C and as
 * the common sources. *ret_packages (may be NULL): as in source_result. The compiler is the machine's own. */
int source_kernel_headers(const char *which, const struct source_options *o, int dirfd, char **ret_release,
			  char **ret_source_rel, char **ret_build_rel, json_t **ret_packages, struct err *e);

/* The same from one kernel-devel package (.rpm) that is at hand: its /usr/src/kernels/<release> below dirfd is a whole tree.
 * ERR_KTREE_MISMATCH when the package is another kernel's. */
int source_kernel_rpm(int fd, const char *label, const char *release, int dirfd, char **ret_build_rel,
		      struct err *e);

/* Make the copy of an installed build tree relocatable: `build` below dirfd. *ret_source_rel: where its common sources
 * are, `build` itself when it is not split; caller frees. */
int source_relocate_headers(int dirfd, const char *build, char **ret_source_rel, struct err *e);

/* Only the release `which` stands for today; refreshes the private index unless offline. */
int source_kernel_release(const char *which, const struct source_options *o, char **ret_release,
			  struct err *e);
