/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a machine will ask of modules that are about to be built, and whether it knows the certificate they would be
 * signed with. All of it can be known before anything is compiled. */

#include "cms.h"
#include "host.h"
#include "ktree.h"
#include "secureboot.h"

struct signing_preflight {
	struct secureboot state;
	bool required; /* the machine or the kernel's configuration loads signed modules only */
	enum tristate enrolled; /* the certificate is among those the kernel trusts; unknown without one */
	char *text; /* owned; what a person should read, one sentence */
};
void signing_preflight_done(struct signing_preflight *p);

/* cert_path NULL: nothing is going to be signed; then ERR_SIGNING_REQUIRED when signatures are. `tree` (may be NULL) is the
 * kernel the modules are for. Warns about a certificate the kernel does not know: modules signed with it will be
 * refused until it is enrolled. Only reads. */
int signing_preflight(const struct host *h, const struct ktree *tree, const char *cert_path,
		      struct signing_preflight *ret, struct err *e);

/* Is the certificate among the keys the kernel lists (proc/keys), or in the list of the machine's owner the firmware
 * hands over (MokListRT)? Unknown when neither can be read. */
enum tristate keyring_has(const struct host *h, const struct cert *c);

/* Pure: does the text of /proc/keys list an X.509 key of this id (lower-case hex)? Unknown: it lists no asymmetric key at all, as
 * for a process that may not see them. */
enum tristate keyring_lists(const char *proc_keys, const char *key_id);
