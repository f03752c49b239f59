/* SPDX-License-Identifier: Apache-2.0 */
#include "secureboot.h"

#include "fd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define EFI_GLOBAL_GUID "8be4df61-93ca-11d2-aa0d-00e098032b8c"

/* A variable file is four bytes of attributes and the value; the state is its last byte. */
static int efi_flag(const struct host *h, const char *file, enum tristate *ret)
{
	_cleanup_free_ char *bytes = NULL;
	size_t len = 0;
	int r = h->sys_fd < 0 ? -ENOENT : read_file_at(h->sys_fd, file, 64, &bytes, &len);

	*ret = r < 0 || len < 5 ? TRI_UNKNOWN : bytes[len - 1] == 1 ? TRI_YES : TRI_NO;
	return r == -ENOENT || r == -ENOTDIR ? 0 : r;
}

/* "none [integrity] confidentiality": the brackets mark the state. */
static void lockdown_state(const struct host *h, char *out, size_t size)
{
	_cleanup_free_ char *line = NULL;
	char *from, *to;

	if (h->sys_fd < 0 || read_line_at(h->sys_fd, "kernel/security/lockdown", &line) < 0)
		return;
	from = strchr(line, '[');
	to = from ? strchr(from, ']') : NULL;
	if (!to || (size_t)(to - from - 1) >= size)
		return;
	memcpy(out, from + 1, (size_t)(to - from - 1));
	out[to - from - 1] = '\0';
}

static enum tristate sig_enforce(const struct host *h)
{
	_cleanup_free_ char *line = NULL;

	if (h->sys_fd < 0 || read_line_at(h->sys_fd, "module/module/parameters/sig_enforce", &line) < 0)
		return TRI_UNKNOWN;
	return *line == 'Y' || *line == '1' ? TRI_YES : TRI_NO;
}

int secureboot_read(const struct host *h, struct secureboot *ret)
{
	struct secureboot s = { .sig_enforce = sig_enforce(h) };
	int r = efi_flag(h, "firmware/efi/efivars/SecureBoot-" EFI_GLOBAL_GUID, &s.secure_boot);
	int k = efi_flag(h, "firmware/efi/efivars/SetupMode-" EFI_GLOBAL_GUID, &s.setup_mode);

	s.efi = s.secure_boot != TRI_UNKNOWN;
	if (s.secure_boot == TRI_YES && s.setup_mode == TRI_YES)
		s.secure_boot = TRI_NO;
	lockdown_state(h, s.lockdown, sizeof(s.lockdown));
	*ret = s;
	return r < 0 ? r : k < 0 ? k : 0;
}

bool secureboot_modules_must_be_signed(const struct secureboot *s)
{
	return s->sig_enforce == TRI_YES || strcmp(s->lockdown, "integrity") == 0 ||
	       strcmp(s->lockdown, "confidentiality") == 0;
}
