/* SPDX-License-Identifier: Apache-2.0 */
#include "firmware.h"

#include "fd.h"
#include "jutil.h"
#include "log.h"
#include "parse.h"
#include "path.h"
#include "publish.h"
#include "strbuf.h"
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PARAMETER "module/firmware_class/parameters/path"

/* -- the parameter -- */

/* Its bytes but for the newline sysfs adds: one that somebody wrote is part of the value and comes back with it. */
int firmware_path_get(const struct host *h, char **ret, struct err *e)
{
	size_t len;
	int r = h->sys_fd < 0 ? -ENOENT : read_file_at(h->sys_fd, PARAMETER, 65536, ret, &len);

	if (r < 0)
		return err_errno(e, r, "firmware search path");
	if (len && (*ret)[len - 1] == '\n')
		(*ret)[len - 1] = '\0';
	return 0;
}

int firmware_path_set(const struct host *h, const char *path, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	bool none = !path || !*path;
	int r;

	if (h->sys_fd < 0)
		return err_errno(e, -ENOENT, "firmware search path");
	fd = openat(h->sys_fd, PARAMETER, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, -errno, "firmware search path");
	r = write_all(fd, none ? "" : path, none ? 1 : strlen(path));
	return r < 0 ? err_errno(e, r, "setting the firmware search path to %s", none ? "nothing" : path) : 0;
}

static bool is_blank(const char *s)
{
	return s[strspn(s, " \t\r\n")] == '\0';
}

/* -- where files are -- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* As the kernel would find it: as it is, or compressed. Links are followed, in the root the kernel opens names in. */
static bool file_there(int root_fd, const char *dir, const char *file)
{
	static const char *const endings[] = { "", ".zst", ".xz" };

	for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
		_cleanup_free_ char *path = str_printf("%s/%s%s", dir, file, endings[i]);
		_cleanup_close_ int fd = path ? path_open_at(root_fd, path, O_PATH, 0, PATH_IN_ROOT) : -1;
		struct stat st;

		if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
			return true;
	}
	return false;
}

static bool dir_has_all(int root_fd, const char *dir, char *const *files)
{
	for (; *files; files++)
		if (!file_there(root_fd, dir, *files))
			return false;
	return true;
}

/* The kernel's own directories. A file may be in any of them. */
static bool found_without_path(const struct host *h, int root_fd, char *const *files)
{
	_cleanup_free_ char *release = NULL, *updates = NULL, *own = NULL;

	(void)host_kernel_release(h, &release);
	updates = str_printf("lib/firmware/updates/%s", release ? release : "");
	own = str_printf("lib/firmware/%s", release ? release : "");
	for (; *files; files++)
		if (!(updates && file_there(root_fd, updates, *files)) &&
		    !file_there(root_fd, "lib/firmware/updates", *files) &&
		    !(own && file_there(root_fd, own, *files)) &&
		    !file_there(root_fd, "lib/firmware", *files))
			return false;
	return true;
}

/* The files by their last components, where the caller keeps them (a store's tree, of no root). */
static bool source_has_all(const char *source, char *const *files)
{
	_cleanup_close_ int fd = dir_open_at(AT_FDCWD, source);

	for (; fd >= 0 && *files; files++)
		if (faccessat(fd, base_name(*files), R_OK, 0) < 0)
			return false;
	return fd >= 0;
}

/* -- the choice -- */

static const char *dir_of(const struct firmware_want *w)
{
	return w->dir ? w->dir : FIRMWARE_LINKS;
}

/* The kernel takes the last of several. */
static bool switched_off(const char *params)
{
	struct span rest = SPAN(params ? params : ""), word;
	bool off = false;

	while (span_word(&rest, &word))
		if (word.len > 24 && memcmp(word.p, "NVreg_EnableGpuFirmware=", 24) == 0)
			off = word.len == 25 && word.p[24] == '0';
	return off;
}

static enum firmware_verdict choose(const struct host *h, const struct firmware_want *w, const char *now)
{
	int root_fd = (w->kernel_view ? w->kernel_view : h)->root_fd;

	if (w->chosen)
		return strcmp(now, dir_of(w)) == 0 ? FIRMWARE_KEEP : FIRMWARE_SET;
	if (!w->files || !*w->files || switched_off(w->params))
		return FIRMWARE_UNNEEDED;
	if (!is_blank(now) && dir_has_all(root_fd, now, w->files))
		return FIRMWARE_KEEP;
	if (found_without_path(h, root_fd, w->files))
		return FIRMWARE_FOUND;
	if (w->source ? !source_has_all(w->source, w->files) : !dir_has_all(root_fd, dir_of(w), w->files))
		return FIRMWARE_ABSENT;
	return FIRMWARE_SET;
}

int firmware_decide(const struct host *h, const struct firmware_want *w, enum firmware_verdict *ret,
		    char **ret_before, struct err *e)
{
	_cleanup_free_ char *now = NULL;
	int r = firmware_path_get(h, &now, e);

	if (r < 0)
		return r;
	*ret = choose(h, w, now);
	if (ret_before)
		*ret_before = TAKE_PTR(now);
	return 0;
}

/* -- what was found -- */

/* Values are kept as base64: the parameter takes any bytes, JSON does not. */
static int state_read(const struct host *h, char **ret_before, char **ret_written, struct err *e)
{
	_cleanup_json_ json_t *state = NULL;
	uint8_t *before = NULL, *written = NULL;
	size_t len;
	int r = jload_at(h->root_fd, FIRMWARE_STATE_DIR "/" FIRMWARE_STATE, 65536 * 4, &state, e);

	if (r == -ENOENT) {
		if (e)
			err_done(e);
		return 0;
	}
	if (r == 0)
		r = jget_bytes(state, "before_base64", &before, &len, e);
	if (r == 0)
		r = jget_bytes(state, "written_base64", &written, &len, e);
	if (r < 0) {
		free(before);
		return err_wrap(e, "what the firmware search path was before");
	}
	*ret_before = (char *)before;
	*ret_written = (char *)written;
	return 1;
}

static int state_write(const struct host *h, const char *before, const char *written, struct err *e)
{
	/* With their NUL, so that they come back as strings. */
	_cleanup_json_ json_t *state =
	    json_pack("{s:s, s:o, s:o}", "schema", "nvdriver.firmware-path/1", "before_base64",
		      jbytes((const uint8_t *)before, strlen(before) + 1), "written_base64",
		      jbytes((const uint8_t *)written, strlen(written) + 1));
	_cleanup_close_ int dir = -EBADF;
	_cleanup_free_ char *text = NULL;
	int r = state ? jdump(state, &text) : -ENOMEM;

	if (r == 0)
		r = path_mkdirs(h->root_fd, FIRMWARE_STATE_DIR, 0755, PATH_IN_ROOT);
	if (r >= 0)
		r = dir =
		    path_open_at(h->root_fd, FIRMWARE_STATE_DIR, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	/* What a killed run was about to put in place: nobody else remembers a path now. */
	if (r >= 0)
		r = publish_sweep(dir);
	if (r >= 0)
		r = publish_bytes(dir, FIRMWARE_STATE, text, strlen(text), 0644);
	return r < 0 ? err_errno(e, r, "remembering the firmware search path") : 0;
}

static int state_forget(const struct host *h, struct err *e)
{
	_cleanup_close_ int dir =
	    path_open_at(h->root_fd, FIRMWARE_STATE_DIR, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	int r = dir == -ENOENT ? 0 : dir;

	if (dir >= 0)
		r = tree_remove(dir, base_name(FIRMWARE_LINKS));
	if (dir >= 0 && r >= 0)
		r = publish_unlink(dir, FIRMWARE_STATE);
	return r < 0 ? err_errno(e, r, "forgetting the firmware search path") : 0;
}

int firmware_remembered(const struct host *h, char **ret, struct err *e)
{
	_cleanup_free_ char *before = NULL, *written = NULL, *now = NULL;
	int r = state_read(h, &before, &written, e);

	if (r <= 0)
		return r;
	r = firmware_path_get(h, &now, e);
	if (r < 0)
		return r;
	if (strcmp(now, written) != 0)
		return 0;
	*ret = TAKE_PTR(before);
	return 1;
}

/* -- doing it -- */

static int link_one(int root_fd, const char *dir, const char *file, const char *source, struct err *e)
{
	_cleanup_free_ char *path = str_printf("%s/%s", dir, file);
	_cleanup_free_ char *target = str_printf("%s/%s", source, base_name(file));
	_cleanup_close_ int parent = -EBADF;
	const char *name;
	int r;

	if (!path || !target)
		return err_oom(e);
	parent = path_open_parent(root_fd, path, true, PATH_IN_ROOT, &name);
	r = parent < 0 ? parent : publish_symlink(parent, name, target);
	return r < 0 ? err_errno(e, r, "linking firmware %s", path) : 0;
}

static int make_links(const struct host *h, const struct firmware_want *w, struct err *e)
{
	int r = 0;

	for (char *const *f = w->files; w->source && f && r == 0 && *f; f++)
		r = link_one(h->root_fd, dir_of(w), *f, w->source, e);
	return r;
}

/* What stood there before the first of several changes of ours is what has to come back. */
static int remember(const struct host *h, const char *now, const char *dir, struct err *e)
{
	_cleanup_free_ char *before = NULL, *written = NULL;
	int r = state_read(h, &before, &written, e);

	if (r < 0)
		return r;
	return state_write(h, r == 1 && strcmp(written, now) == 0 ? before : now, dir, e);
}

int firmware_take(const struct host *h, const struct firmware_want *w, enum firmware_verdict *ret,
		  char **ret_before, struct err *e)
{
	_cleanup_free_ char *now = NULL;
	enum firmware_verdict verdict;
	int r = firmware_decide(h, w, &verdict, &now, e);

	if (r < 0)
		return r;
	if (verdict == FIRMWARE_SET) {
		if (!is_blank(now))
			log_warn("firmware search path: %s instead of %s", dir_of(w), now);
		r = make_links(h, w, e);
		if (r == 0)
			r = remember(h, now, dir_of(w), e);
		if (r == 0)
			r = firmware_path_set(h, dir_of(w), e);
		if (r < 0)
			return r;
	}
	*ret = verdict;
	*ret_before = TAKE_PTR(now);
	return 0;
}

int firmware_take_back(const struct host *h, const char *before, struct err *e)
{
	_cleanup_free_ char *first = NULL, *written = NULL;
	int r = firmware_path_set(h, before, e);

	if (r == 0)
		r = state_read(h, &first, &written, e);
	if (r <= 0)
		return r;
	return strcmp(first, before) == 0 ? state_forget(h, e) : state_write(h, first, before, e);
}

int firmware_restore(const struct host *h, struct err *e)
{
	_cleanup_free_ char *before = NULL;
	int put_back = firmware_remembered(h, &before, e), r;

	if (put_back < 0)
		return put_back;
	r = put_back ? firmware_path_set(h, before, e) : 0;
	if (r == 0)
		r = state_forget(h, e);
	return r < 0 ? r : put_back;
}
