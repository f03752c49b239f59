/* SPDX-License-Identifier: Apache-2.0 */
#include "container-shipped.h"

#include "container-prepare.h"
#include "digest.h"
#include "fd.h"
#include "jutil.h"
#include "path.h"
#include "strbuf.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static bool is_gsp(const char *name)
{
	struct span s = SPAN(name);

	return span_starts(s, "gsp_") && span_ends(s, ".bin") && name_is_safe(name);
}

static bool has_size(const struct host *h, const char *path, off_t size)
{
	struct stat st;

	return path_stat(h->root_fd, path, &st, PATH_IN_ROOT) == 0 && S_ISREG(st.st_mode) &&
	       st.st_size == size;
}

/* Reading tens of megabytes for the digest is left out where the file stands there in its size already. */
static int add_file(const struct host *h, int dirfd, const char *name, const char *to, json_t *entries)
{
	_cleanup_free_ char *path = str_printf("%s/%s", to, name);
	char sha256[SHA256_HEX_SIZE];
	struct stat st;
	json_t *entry;
	int r;

	if (!path)
		return -ENOMEM;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || has_size(h, path, st.st_size))
		return 0;
	r = sha256_file_at(dirfd, name, sha256);
	if (r < 0)
		return r;
	entry = json_pack("{s:s,s:s,s:i,s:I,s:s,s:s}", "path", path, "type", "file", "mode", 0644, "size",
			  (json_int_t)st.st_size, "sha256", sha256, "from", name);
	return entry && json_array_append_new(entries, entry) == 0 ? 0 : -ENOMEM;
}

static int list_files(const struct host *h, const char *from, const char *to, json_t *entries)
{
	int fd = path_open_at(h->root_fd, from, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;

	if (!d) {
		if (fd >= 0)
			close_fdp(&fd);
		return fd == -ENOENT ? 0 : fd < 0 ? fd : -ENOMEM;
	}
	while (r == 0 && (de = readdir(d)))
		if (is_gsp(de->d_name))
			r = add_file(h, dirfd(d), de->d_name, to, entries);
	(void)closedir(d);
	return r;
}

int container_shipped_firmware(struct container *c, struct err *e)
{
	_cleanup_free_ char *plain = container_plain_version(c->version), *from = NULL, *to = NULL,
			    *base = NULL;
	_cleanup_json_ json_t *entries = json_array();
	_cleanup_(plan_freep) struct plan *p = NULL;
	int r;

	from = plain ? str_printf(CONTAINER_SHIPPED_FIRMWARE "/%s", plain) : NULL;
	to = plain ? str_printf("lib/firmware/nvidia/%s", plain) : NULL;
	base = from ? container_path(c, from) : NULL;
	if (!to || !base || !entries)
		return err_oom(e);
	r = list_files(c->h, from, to, entries);
	if (r < 0)
		return err_errno(e, r, "/%s", from);
	if (!json_array_size(entries))
		return 0;
	r = container_plan_new("the image's firmware copied to where the node sees it", &p, e);
	if (r == 0 &&
	    plan_add(p, &op_files, json_pack("{s:s,s:O}", "base", base, "entries", entries),
		     "copy %zu firmware files from /%s to /%s", json_array_size(entries), from, to) < 0)
		r = err_oom(e);
	if (r == 0)
		r = container_apply(c, p, e);
	return r < 0 ? err_wrap(e, "firmware from /%s", from) : 0;
}
