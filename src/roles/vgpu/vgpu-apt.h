/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The host's package repositories: enterprise ones switched off where there is no subscription, the free ones switched
 * on where they are not yet. Bytes in, bytes out; real apt is the tests' judge. */

#include "vgpu-text.h"

/* One repository as apt sees it: a line of a .list or one (URI, suite) of a .sources stanza. */
struct apt_repo {
	const struct text_file *file; /* borrowed */
	unsigned place; /* its line, or its stanza, counted from 1 */
	char *uri; /* without trailing slashes */
	char *suite;
	char **components;
	char *signed_by; /* NULL = not said */
	bool binary; /* deb, not deb-src alone */
	bool enabled;
};
struct apt_repos {
	struct apt_repo *v; /* owned */
	size_t n;
};
/* Everything the files define, in their order; lines that are no entries are passed over, as apt would refuse them anyway. */
int apt_repos_read(const struct text_files *files, struct apt_repos *ret);
void apt_repos_done(struct apt_repos *l);

/* Text with every entry of host enterprise.proxmox.com switched off: lines commented out, stanzas with "Enabled: false"
 * inside. Everything else keeps its bytes. *ret caller frees; *ret_active (may be NULL): entries still switched on. */
int apt_list_without_enterprise(struct span text, char **ret, size_t *ret_active);
int apt_sources_without_enterprise(struct span text, char **ret);

struct apt_request {
	const char *codename; /* "trixie", "bookworm", "bullseye" */
	bool subscription; /* active: nothing is changed */
	bool (*has_file)(const char *path, void *arg); /* does a keyring exist; path without leading slash */
	void *arg;
};

/* What has to change: `files` are etc/apt/sources.list and those of sources.list.d. Notes say what was left alone and
 * why. 0 or -ENOMEM. */
int apt_edits(const struct text_files *files, const struct apt_request *q, struct text_edits *ret);
