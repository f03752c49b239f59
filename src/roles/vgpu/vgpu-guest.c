/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-guest.h"

#include "fd.h"
#include "payload.h"
#include "strbuf.h"
#include "err-vgpu.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>

char *guest_dir_name(const char *branch, const char *host_version)
{
	bool both = *host_version && strcmp(branch, host_version) != 0;
	char *name = str_printf("%s%s%s", branch, both ? "_" : "", both ? host_version : "");

	for (char *p = name; p && *p; p++)
		if (!isascii((unsigned char)*p) || (!isalnum((unsigned char)*p) && !strchr("._-", *p)))
			*p = '_';
	return name;
}

const char *guest_host_version(const struct catalog *c, const char *branch)
{
	const struct catalog_driver *d = catalog_driver(c, branch);
	const struct catalog_release *r = catalog_release(c, branch);

	return d ? d->version : r ? r->host_version : "";
}

static int accept_linux(int dirfd, const char *name, void *arg, struct err *e)
{
	static const struct tar_visitor nothing = { 0 };
	const struct runfile_options o = { .flags = RUNFILE_CHECK_SUMS };
	_cleanup_(runfile_freep) struct runfile *rf = NULL;
	const struct catalog_guest *g = arg;
	int r = runfile_open_at(dirfd, name, &rf, e);

	if (r < 0)
		return r;
	if (runfile_header_kind(rf->header) != PACKAGE_GRID)
		return err_set(e, ERR_VGPU_DRIVER, "%s is a driver of kind %s, not of a guest", name,
			       package_kind_name(runfile_header_kind(rf->header)));
	if (!rf->header->version || strcmp(rf->header->version, g->version) != 0)
		return err_set(e, ERR_VGPU_DRIVER, "%s is driver %s, not %s", name,
			       rf->header->version ? rf->header->version : "?", g->version);
	return runfile_walk(rf, &o, &nothing, NULL, NULL, e);
}

static int accept_windows(int dirfd, const char *name, void *arg _unused_, struct err *e)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char head[2];

	if (fd < 0 || pread_exact(fd, head, sizeof(head), 0) < 0 || memcmp(head, "MZ", 2) != 0)
		return err_set(e, ERR_VGPU_DRIVER, "%s is no program for Windows", name);
	return 0;
}

int guest_fetch(const struct catalog_guest *g, const struct fetch_request *how, struct fetch_result *ret,
		struct err *e)
{
	struct fetch_request q = *how;
	bool is_linux = strcmp(g->os, "linux") == 0;

	if (!*g->url) {
		(void)err_set(e, ERR_VGPU_PORTAL, "the %s driver of branch %s has no public address", g->os,
			      g->branch);
		return err_object(e, "%s", g->branch);
	}
	q.url = g->url;
	q.kind = is_linux ? FETCH_RUNFILE : FETCH_ANY;
	q.accept = is_linux ? accept_linux : accept_windows;
	q.accept_arg = (void *)(uintptr_t)g;
	return fetch_file(&q, ret, e);
}
