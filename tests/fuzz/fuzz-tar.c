/* SPDX-License-Identifier: Apache-2.0 */
#include "path.h"
#include "tar.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int give(void *arg, struct span *ret, struct err *e _unused_)
{
	struct span *rest = arg;
	size_t n = rest->len < 700 ? rest->len : 700; /* headers cross the pieces' borders */

	*ret = (struct span){ rest->p, n };
	rest->p += n;
	rest->len -= n;
	return 0;
}

static int member(const struct tar_member *m, void *arg _unused_, struct err *e _unused_)
{
	if (!path_name_is_clean(m->name) || (m->mode & ~0777u))
		abort();
	return TAR_WANT_DATA;
}

static int content(const void *buf _unused_, size_t len _unused_, void *arg _unused_, struct err *e _unused_)
{
	return 0;
}

/* Whatever the archive says, a visitor sees only plain names and plain modes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct tar_visitor visitor = { member, content, NULL };
	struct span rest = { (const char *)data, size };

	(void)tar_walk(give, &rest, NULL, size % 2, &visitor, NULL, NULL, NULL);
	return 0;
}
