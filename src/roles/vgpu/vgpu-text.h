/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Text files of a host as pure transformations see them: what is there, and what shall be there instead. */

#include "host.h"
#include "parse.h"
#include "plan.h"

struct text_file {
	char *path; /* owned; below the root, without a leading slash */
	char *bytes; /* owned, NUL-terminated */
	size_t len;
};

struct text_files {
	struct text_file *v; /* owned, in order of path */
	size_t n;
};
void text_files_done(struct text_files *f);

/* Appends a copy. 0 or -ENOMEM. */
int text_files_add(struct text_files *f, const char *path, const void *bytes, size_t len);
/* Appends a file of the host; absent is success, a NUL byte in it is -ERR_FORMAT. Links are followed within the root. */
int text_files_read(struct text_files *f, const struct host *h, const char *path, struct err *e);
/* Appends the files of a directory that end in one of the suffixes (NULL-terminated), by name. */
int text_files_read_dir(struct text_files *f, const struct host *h, const char *dir,
			const char *const *suffixes, struct err *e);
const struct text_file *text_files_find(const struct text_files *f, const char *path);

struct text_edit {
	char *path; /* owned */
	char *sentence; /* owned */
	char *bytes; /* owned; NULL = the file goes */
	size_t len;
	char *old; /* owned copy; NULL = there is none */
	size_t old_len;
};

struct text_edits {
	struct text_edit *v; /* owned */
	size_t n;
	char **notes; /* owned strv: what a person should know about them */
};
void text_edits_done(struct text_edits *l);

/* The file becomes these bytes (copied); nothing is added when it is so already. old NULL = there is none. */
int text_edits_set(struct text_edits *l, const char *path, const struct text_file *old, struct span bytes,
		   const char *sentence_fmt, ...) _printf_(5, 6);
/* The file goes. */
int text_edits_drop(struct text_edits *l, const struct text_file *old, const char *sentence_fmt, ...)
    _printf_(3, 4);
int text_edits_note(struct text_edits *l, const char *fmt, ...) _printf_(2, 3);

/* One operation for each, in order; a file that goes is a files operation with an absent entry. */
int text_edits_to_plan(const struct text_edits *l, struct plan *p);
