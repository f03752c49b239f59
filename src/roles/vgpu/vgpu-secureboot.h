/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One key for everything that is built on this host: the pair DKMS has, enrolled once in the firmware's list. */

#include "plan.h"
#include "vgpu-machine.h"

#define MOK_KEY	 "/var/lib/dkms/mok.key"
#define MOK_CERT "/var/lib/dkms/mok.pub" /* DER, as mokutil wants it */

enum mok_state {
	MOK_OFF, /* Secure Boot is off: modules need no signature */
	MOK_ENROLLED,
	MOK_PENDING, /* asked for; confirmed in the firmware's menu at the next boot */
	MOK_ABSENT, /* there is a pair, and nobody has asked for it */
	MOK_NO_KEY,
	MOK_UNKNOWN, /* Secure Boot is on and this host cannot be asked */
};
const char *mok_state_word(enum mok_state s); /* for people */

/* Looked at afresh every time; a remembered answer is never trusted. */
int mok_state_read(const struct vgpu_machine *m, enum mok_state *ret, struct err *e);

/* Pure: what `mokutil --test-key` says (its status is of no use), MOK_UNKNOWN for any other text. */
enum mok_state mok_test_key_parse(const char *text);
/* Pure: does `mokutil --list-enrolled` name this SHA-1 (case and colons do not count)? */
bool mok_list_has(const char *text, const char *sha1_hex);

/* "$6$…" of a one-time password, for mokutil's --hash-file. *ret caller frees. */
int mok_hash(const struct vgpu_machine *m, const char *password, char **ret, struct err *e);
int mok_random_password(char ret[9]); /* eight digits */

/* Makes the pair where there is none, tells DKMS to sign with it, and queues it for enrolment. hash NULL (dry run): the
 * hash is not there yet. Adds nothing while Secure Boot is off. */
int mok_add_ops(const struct vgpu_machine *m, enum mok_state state, const char *hash, struct plan *p,
		struct err *e);
