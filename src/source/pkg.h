/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One .deb or .rpm package file: its facts, and its members as a stream. Nothing is installed and no maintainer
 * script is looked at. Names are checked before anybody sees them. */

#include "err.h"
#include "parse.h"

#include <stdint.h>
#include <sys/types.h>

struct archive;

struct pkg_facts {
	char *name, *version,
	    *arch; /* owned; version without epoch and revision for the driver: see pkg_upstream() */
	char *source; /* owned; source package name */
};
void pkg_facts_done(struct pkg_facts *f);

/* "1:535.261.03-1~deb12u1" -> "535.261.03" */
char *pkg_upstream(const char *version);
/* Order of Debian versions (epoch, upstream, revision; "~" before everything). <0, 0, >0. */
int pkg_version_compare(const char *a, const char *b);

enum pkg_type { PKG_FILE, PKG_DIR, PKG_LINK, PKG_HARDLINK };

struct pkg_member {
	const char *path; /* clean, relative, no "./" */
	enum pkg_type type;
	mode_t mode; /* permission bits as the package has them; set-id included for information only */
	uint64_t size;
	const char
	    *target; /* link text; of a hard link: the clean path of the member it is another name of */
	struct archive *data; /* for pkg_member_read() */
	struct pkg_budget *budget;
};

/* What one source may unpack to: a bound against bombs, shared by all its packages. */
struct pkg_budget {
	uint64_t bytes_left, members_left;
};
#define PKG_BUDGET_INIT(input_bytes)                                                                         \
	{                                                                                                    \
		((input_bytes) > ((uint64_t)15 << 30) / 64 ? (uint64_t)16 << 30                              \
							   : (input_bytes)*64 + ((uint64_t)1 << 30)),        \
		    200000                                                                                   \
	}

/* Reads the next bytes of a member; 0 at its end; negative code stored in e. */
ssize_t pkg_member_read(const struct pkg_member *m, void *buf, size_t size, struct err *e);
/* Whole content into memory (NUL-terminated). */
int pkg_member_text(const struct pkg_member *m, size_t max_bytes, char **ret, size_t *ret_len, struct err *e);
int pkg_member_to_fd(const struct pkg_member *m, int fd, struct err *e);

/* An answer other than 0 stops and is returned; a negative one is stored in e. */
typedef int (*pkg_member_fn)(const struct pkg_member *m, void *arg, struct err *e);

/* Facts of an open package file; `label` names it in messages. ERR_SOURCE_PACKAGE. */
int pkg_facts(int fd, const char *label, struct pkg_facts *ret, struct err *e);
/* All members in archive order. An .rpm is first read whole and compared with the digests it carries, which tells damage,
 * not who made it. ERR_SOURCE_PACKAGE, ERR_PATH_ESCAPE, ERR_SOURCE_MEMBER, ERR_TOO_LARGE. */
int pkg_members(int fd, const char *label, struct pkg_budget *budget, pkg_member_fn fn, void *arg,
		struct err *e);
/* The members of a tar archive that is itself a member (sources shipped as usr/src/<name>.tar.xz). */
int pkg_nested_members(const struct pkg_member *m, const char *label, pkg_member_fn fn, void *arg,
		       struct err *e);

/* -- private to pkg.c, debpkg.c and rpmpkg.c -- */

/* Reader for tar, cpio and ar with the filters we accept. ERR_LIBRARY_MISSING. */
int pkg_archive_new(struct archive **ret, struct err *e);
void pkg_archive_freep(struct archive **a);
int pkg_archive_error(struct archive *a, const char *label, struct err *e);
int pkg_walk(struct archive *a, const char *label, struct pkg_budget *budget, pkg_member_fn fn, void *arg,
	     struct err *e);
int deb_facts(int fd, const char *label, struct pkg_facts *ret, struct err *e);
int deb_members(int fd, const char *label, struct pkg_budget *budget, pkg_member_fn fn, void *arg,
		struct err *e);
int rpm_facts(int fd, const char *label, struct pkg_facts *ret, struct err *e);
int rpm_members(int fd, const char *label, struct pkg_budget *budget, pkg_member_fn fn, void *arg,
		struct err *e);
/* Facts from the first bytes of an rpm (lead, signature header, header); pure, for tests and fuzzing. */
int rpm_parse(const uint8_t *p, size_t len, struct pkg_facts *ret, struct err *e);
/* How many bytes rpm_parse() needs, known from a prefix; 0 = the prefix is too short or damaged. */
size_t rpm_head_size(const uint8_t *p, size_t len);
