/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The vendor installer's own record, /var/lib/nvidia/log with `dirs` beside it: read to take such an installation
 * over or away, written only on request. */

#include "err.h"
#include "parse.h"
#include "strbuf.h"

#include <jansson.h>
#include <stdint.h>

#define VENDOR_RECORD_DIR "var/lib/nvidia"

enum vendor_kind { VENDOR_FILE, VENDOR_LINK, VENDOR_BACKUP_LINK, VENDOR_BACKUP_FILE };

struct vendor_entry {
	enum vendor_kind kind;
	unsigned number; /* of a backed-up file: its name in VENDOR_RECORD_DIR, 100 and up */
	char *path; /* owned; clean, relative to the root */
	char *target; /* owned; text of links, else NULL */
	uint32_t crc; /* CRC-32/MPEG-2 of files; 0 for an empty one */
	uint32_t mode, uid, gid; /* of backups: whole st_mode */
};

struct vendor_record {
	char *version; /* owned; "535.261.03" */
	char *description; /* owned */
	struct vendor_entry *entries;
	size_t n, cap;
	char **dirs; /* owned; directories it made, clean, relative to the root; NULL without the file */
};

void vendor_record_done(struct vendor_record *r);

/* Parse the text of `log`. Strict: ERR_VENDOR_RECORD names the line; ERR_PATH_ESCAPE for unusable paths. */
int vendor_record_parse(struct span text, struct vendor_record *ret, struct err *e);
int vendor_record_parse_dirs(struct span text, struct vendor_record *rec, struct err *e);
/* The same text again. */
int vendor_record_emit(const struct vendor_record *rec, struct strbuf *out);

/* 1 and *ret filled when the root holds such a record, 0 when not. */
int vendor_record_read(int root_fd, struct vendor_record *ret, struct err *e);

/* What taking that installation away means, as entries of a "files" operation with the root as base: unchanged
 * files and links go, its backups come back, its directories go when empty. Whatever was changed since stays and
 * is named in `notes` (array of strings). Reads every recorded file. */
int vendor_record_removal(int root_fd, const struct vendor_record *rec, json_t *entries, json_t *notes,
			  struct err *e);
