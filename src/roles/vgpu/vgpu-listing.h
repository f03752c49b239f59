/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Rows of the register whose address is "auto": a public mirror's directory listing says where the file lies today. */

#include "fetch.h"
#include "parse.h"

#define LISTING_BASE "https://alist.homelabproject.cc"
#define LISTING_ROOT "/foxipan/vGPU"

struct listing {
	char **files, **dirs; /* owned strv; names usable as path components, others are left out */
};
void listing_done(struct listing *l);

/* The mirror's answer for one directory. -ENOENT, silently, when it says there is none (its own codes 401, 403, 404, 500);
 * -ERR_FORMAT for anything else that is no listing. Pure. */
int listing_parse(struct span text, struct listing *ret, struct err *e);

struct listing_request {
	const struct fetch_request
	    *how; /* proxy, authorities, attempts, offline; its url and name are not used */
	const char *base; /* NULL = LISTING_BASE */
	const char *branch, *version; /* "19.5", "580.159.01" */
	bool want_custom; /* a copy that is unlocked already comes first */
};
struct listing_found {
	char *url, *name; /* owned */
	bool is_zip;
};
void listing_found_done(struct listing_found *f);

/* Looks in the branch's directory, its Host_Drivers, those of its unpacked packages, then for a package. A driver of another
 * version is passed over. -ERR_VGPU_PORTAL when none has it; errors of fetch_text(). */
int listing_find(const struct listing_request *q, struct listing_found *ret, struct err *e);
