/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include "err.h"
static inline int patch_apply_bytes(int fd, const char *b, size_t n, const char *name, struct err *e)
{
	(void)fd;
	(void)b;
	(void)n;
	return err_set(e, ERR_PATCHSET, "%s: no patch engine yet", name);
}
