/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The CUDA package repository of a container's system: which one it is, and every file that makes the package tool use
 * it, for the toolkit alone. Texts are made and changed as bytes; what is there is read beneath the container's root;
 * nothing is written here: the answer is entries for "files" operations. */

#include "err.h"
#include "host.h"
#include "parse.h"
#include "strbuf.h"

#include <jansson.h>

enum osrepo_tool { OSREPO_APT, OSREPO_DNF, OSREPO_ZYPPER };
const char *osrepo_tool_name(enum osrepo_tool t); /* "apt", "dnf", "zypper" */

struct osrepo {
	enum osrepo_tool tool;
	char slug[32]; /* "ubuntu2404" */
	char march[16]; /* "x86_64", "sbsa" */
	char *url; /* owned; ends in "/" */
	bool is_listed; /* the slug is in our table; else the first request decides */
	bool url_ignored; /* the configured address is for another system: the vendor's is used */
	char key_file[16]; /* "3bf863cc.pub", below url; "" = not known */
	const char *fingerprint; /* of that key: 40 digits or the key id; borrowed; NULL = not known */
};
void osrepo_done(struct osrepo *o);

/* By /etc/os-release. machine "x86_64" or "aarch64". configured_url (may be NULL) replaces the vendor's when it has the
 * system's slug in its path. ERR_LXC_OS for a system without one of the three package tools or without glibc. */
int osrepo_choose(const struct os_release *os, const char *machine, const char *configured_url,
		  struct osrepo *ret, struct err *e);
/* Another key than the table's: a mirror that signs by itself, or a release whose key the table does not know (a guess would
 * be a key nobody checked). Its file is named as the vendor names keys, by the last eight digits, unless the table says. */
void osrepo_key_use(struct osrepo *o, const char *fingerprint);
/* ERR_CUDA_KEY when no key is known for the repository. */
int osrepo_key_check(const struct osrepo *o, struct err *e);

/* Glob patterns of the packages that bring a driver, NULL-terminated. */
extern const char *const osrepo_driver_packages[];
bool osrepo_is_driver_package(const char *name);

/* Paths below the container's root. */
#define OSREPO_APT_KEYRING "usr/share/keyrings/cuda-archive-keyring.gpg"
#define OSREPO_APT_PIN	   "etc/apt/preferences.d/nvdriver"
#define OSREPO_APT_PIN600  "etc/apt/preferences.d/cuda-repository-pin-600"
#define OSREPO_RPM_KEY	   "etc/pki/rpm-gpg/RPM-GPG-KEY-NVIDIA-CUDA"
#define OSREPO_ZYPP_LOCKS  "etc/zypp/locks"
char *osrepo_list_path(const struct osrepo *o); /* caller frees; NULL without memory */
const char *osrepo_key_path(const struct osrepo *o);

/* -- texts (pure) -- */
int osrepo_list_text(const struct osrepo *o, struct strbuf *out);
int osrepo_pin_text(struct strbuf *out); /* apt: driver packages are never candidates */
/* zypper's lock file with the missing locks appended; the rest stays byte for byte. */
int osrepo_zypp_locks(struct span text, struct strbuf *out);
/* The text of an apt source file with every entry for the same repository (scheme and last slash do not matter)
 * commented out under a note; deb822 form: "Enabled: no" in its stanza. *ret_changed false: equal bytes. */
int osrepo_apt_disable(struct span text, bool is_deb822, const char *url, struct strbuf *out,
		       bool *ret_changed);

/* -- what a container has -- */
/* The keyring is there and holds the expected key. */
bool osrepo_has_key(int root_fd, const struct osrepo *o);
/* Is this key file (armoured or binary) the key with that fingerprint? Pure. */
bool osrepo_key_is_right(struct span text, const char *fingerprint);
/* The same as osrepo_entries() where a package brings key, source and pin: what it does not. */
int osrepo_other_entries(int root_fd, const struct osrepo *o, bool profile, json_t *entries, char ***notes,
			 struct err *e);
/* Entries ("files") for everything that is not as it should be; empty = already configured. key: the fetched key file
 * (armoured or binary), may be SPAN_NULL when osrepo_has_key(). profile: also /etc/profile.d/cuda.sh. ERR_CUDA_KEY when the
 * key is another. notes (strv, may be NULL) receives a sentence per foreign source commented out. */
int osrepo_entries(int root_fd, const struct osrepo *o, struct span key, bool profile, json_t *entries,
		   char ***notes, struct err *e);
