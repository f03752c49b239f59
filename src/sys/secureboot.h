/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the machine demands of kernel modules. */

#include "host.h"

enum tristate { TRI_UNKNOWN = -1, TRI_NO = 0, TRI_YES = 1 };

struct secureboot {
	bool efi; /* booted through UEFI with variables visible */
	enum tristate secure_boot; /* SecureBoot variable, and not in set-up mode */
	enum tristate setup_mode;
	char lockdown[32]; /* "none", "integrity", "confidentiality", "" unknown */
	enum tristate sig_enforce; /* module.sig_enforce */
};

/* What cannot be known is unknown in *ret, which is always set. -errno when a variable is there and cannot be read: then unknown
 * must not be taken for off. */
int secureboot_read(const struct host *h, struct secureboot *ret);
bool secureboot_modules_must_be_signed(const struct secureboot *s);
