/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-cachedir.h"

#include "digest.h"
#include "fd.h"
#include "header.h"
#include "jutil.h"
#include "lock.h"
#include "log.h"
#include "lxc-config.h"
#include "path.h"
#include "publish.h"
#include "strbuf.h"
#include "err-lxc.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_NAME ".judging.lock"
#define LOCK_MS	  60000
#define META_MAX  ((size_t)64 << 10)

void cachedir_done(struct cachedir *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -EBADF;
	freep(&c->path);
}

int cachedir_open(const struct host *h, const char *path, const char *display, bool create,
		  struct cachedir *ret, struct err *e)
{
	_cleanup_free_ char *shown = strdup(display ? display : path);
	int r = 0, fd;

	if (!shown)
		return err_oom(e);
	if (create)
		r = path_mkdirs(h->root_fd, path, 0755, PATH_IN_ROOT);
	fd = r < 0 ? r : path_open_at(h->root_fd, path, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	if (fd < 0 && !(fd == -ENOENT && !create))
		return err_errno(e, fd, "cannot open the run-file cache %s", shown);
	*ret = (struct cachedir){ fd < 0 ? -EBADF : fd, TAKE_PTR(shown) };
	return 0;
}

/* -- is a file what its name says? -- */

static int judge_head(int fd, const char *version, char **ret_why)
{
	_cleanup_(runfile_header_freep) struct runfile_header *h = NULL;
	_cleanup_free_ char *head = malloc(RUNFILE_HEADER_MAX_BYTES);
	_cleanup_(err_done) struct err own = ERR_INIT;
	ssize_t n = head ? pread(fd, head, RUNFILE_HEADER_MAX_BYTES, 0) : -1;
	char *why = NULL;

	if (!head)
		return -ENOMEM;
	if (n < 0)
		return -errno;
	if (runfile_header_parse((struct span){ head, (size_t)n }, &h, &own) < 0)
		why = strdup(own.reason ? own.reason : err_sentence(own.code));
	else if (!h->version || strcmp(h->version, version) != 0)
		why = str_printf("it is of version %s", h->version ? h->version : "unknown");
	else
		return 0;
	*ret_why = why;
	return why ? 1 : -ENOMEM;
}

/* 0 = right, 1 = wrong with *ret_why (caller frees), negative errors; -ENOENT when it is not there. */
static int judge(int dirfd, const char *name, char **ret_why)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	_cleanup_free_ char *arch = NULL, *version = NULL;
	struct stat st;
	int r;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	r = lxc_runfile_version(name, &arch, &version);
	if (r < 0)
		return r;
	if (!S_ISREG(st.st_mode))
		*ret_why = strdup("it is not a file");
	else if ((uint64_t)st.st_size < CACHEDIR_SIZE_MIN)
		*ret_why = str_printf("it has only %lld bytes", (long long)st.st_size);
	else
		return judge_head(fd, version, ret_why);
	return *ret_why ? 1 : -ENOMEM;
}

/* Size and digest against the record and the request, without network. */
static int judge_digest(const struct fetch_request *q, char **ret_why, struct err *e)
{
	_cleanup_(fetch_result_done) struct fetch_result result = { 0 };
	struct fetch_request ask = *q;
	int r;

	ask.dry_run = true;
	r = fetch_file(&ask, &result, e);
	if (r < 0 || result.action == FETCH_PRESENT)
		return r;
	*ret_why = strdup("its size or digest is another");
	return *ret_why ? 1 : err_oom(e);
}

static int drop_record(int dirfd, const char *name)
{
	_cleanup_free_ char *meta = str_printf("%s.meta", name);

	return meta ? publish_unlink(dirfd, meta) : -ENOMEM;
}

static int move_aside(const struct cachedir *c, const char *name, const char *why, struct err *e)
{
	_cleanup_free_ char *bad = str_printf("%s.bad", name);
	int r = bad ? publish_rename(c->fd, name, c->fd, bad, true) : -ENOMEM;

	if (r >= 0)
		r = drop_record(c->fd, name);
	if (r < 0)
		return err_errno(e, r, "moving %s/%s aside", c->path, name);
	log_warn("%s/%s cannot be used (%s); it is kept as %s", c->path, name, why, bad);
	return 0;
}

/* A wrong entry is out of the way afterwards. Judged and moved under a lock, so that nobody moves aside what another
 * process has just brought. */
static int settle_present(const struct cachedir *c, const struct fetch_request *q, struct err *e)
{
	_cleanup_free_ char *why = NULL;
	struct lock l = LOCK_INIT;
	int r = judge(c->fd, q->name, &why);

	if (r == -ENOENT)
		return 0;
	free(TAKE_PTR(why));
	r = lock_file_at(c->fd, LOCK_NAME, LOCK_MS, &l);
	/* A read-only medium: nothing is moved there, and nothing can change. */
	if (r < 0 && r != -EROFS)
		return err_errno(e, r, "locking %s", c->path);
	r = judge(c->fd, q->name, &why);
	if (r == 0)
		r = judge_digest(q, &why, e);
	else if (r < 0 && r != -ENOENT)
		(void)err_errno(e, r, "reading %s/%s", c->path, q->name);
	if (r > 0)
		r = move_aside(c, q->name, why, e);
	lock_release(&l);
	return r == -ENOENT ? 0 : r;
}

/* -- look-up -- */

static int refuse_download(const struct cachedir *c, const char *name, const char *why, struct err *e)
{
	(void)publish_unlink(c->fd, name);
	(void)drop_record(c->fd, name);
	(void)err_set(e, ERR_RUNFILE_CACHE, "what was fetched as %s is not usable: %s", name, why);
	return err_object(e, "%s/%s", c->path, name);
}

static int check_name(const char *name, struct err *e)
{
	_cleanup_free_ char *arch = NULL, *version = NULL;

	if (name && name_is_safe(name) && lxc_runfile_version(name, &arch, &version) >= 0)
		return 0;
	return err_set(e, ERR_USAGE, "%s is not the name of a run file (NVIDIA-Linux-<arch>-<version>.run)",
		       name ? name : "nothing");
}

static int bring(const struct cachedir *c, const struct fetch_request *q, struct fetch_result *result,
		 struct err *e)
{
	_cleanup_free_ char *why = NULL;
	int r = fetch_file(q, result, e);

	if (r == -ERR_OFFLINE)
		(void)err_next(e, "put the file %s into %s: nvdriver lxc cache add FILE", q->name, c->path);
	if (r < 0)
		return err_object(e, "%s/%s", c->path, q->name);
	if (result->action == FETCH_PRESENT || q->dry_run)
		return 0;
	r = judge(c->fd, q->name, &why);
	if (r < 0)
		return err_errno(e, r, "reading %s/%s", c->path, q->name);
	if (r > 0)
		return refuse_download(c, q->name, why, e);
	if (result->trust == FETCH_RECORDED)
		log_info("%s: no published digest; %s is trusted on first use and held to from now on",
			 q->name, result->sha256);
	return 0;
}

int cachedir_get(const struct cachedir *c, const struct fetch_request *q, char **ret_path,
		 struct fetch_result *ret, struct err *e)
{
	_cleanup_(fetch_result_done) struct fetch_result result = { 0 };
	_cleanup_free_ char *path = str_printf("%s/%s", c->path, q->name ? q->name : "");
	struct fetch_request mine = *q;
	int r = check_name(q->name, e);

	if (r < 0)
		return r;
	if (!path)
		return err_oom(e);
	mine.dirfd = c->fd;
	mine.dir_path = c->path;
	mine.kind = FETCH_RUNFILE;
	if (!q->dry_run)
		r = settle_present(c, &mine, e);
	if (r >= 0)
		r = bring(c, &mine, &result, e);
	if (r < 0)
		return r;
	*ret_path = TAKE_PTR(path);
	if (ret) {
		*ret = result;
		result = (struct fetch_result){ 0 };
	}
	return 0;
}

/* -- import -- */

static char *file_url(const char *path)
{
	struct strbuf url = STRBUF_INIT(STRBUF_TEXT_MAX);
	char *out;

	(void)strbuf_puts(&url, "file://");
	for (; *path; path++)
		if ((unsigned char)*path <= 0x20 || strchr("%?#\\\x7f", *path) || (*path & 0x80))
			(void)strbuf_printf(&url, "%%%02X", (unsigned char)*path);
		else
			(void)strbuf_putc(&url, *path);
	if (strbuf_steal(&url, &out) < 0) {
		strbuf_done(&url);
		return NULL;
	}
	return out;
}

/* 1 = the entry has this digest, 0 = there is none (one with another digest was moved aside). */
static int same_bytes(const struct cachedir *c, const char *name, const char *digest, struct err *e)
{
	char have[SHA256_HEX_SIZE];
	int r = sha256_file_at(c->fd, name, have);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_errno(e, r, "reading %s/%s", c->path, name);
	if (strcmp(have, digest) == 0)
		return 1;
	r = move_aside(c, name, "another file was added in its place", e);
	return r < 0 ? r : 0;
}

static int wanted_digest(const char *file, const char *name, const char *sha256, char *digest, struct err *e)
{
	_cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_free_ char *why = NULL;
	const char *slash = strrchr(file, '/');
	_cleanup_free_ char *dir = slash == file ? strdup("/") : strndup(file, (size_t)(slash - file));
	_cleanup_close_ int dirfd = dir ? open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	int r;

	if (!dir)
		return err_oom(e);
	r = dirfd < 0 || fd < 0 ? -errno : judge(dirfd, name, &why);
	if (r > 0) {
		(void)err_set(e, ERR_RUNFILE_CACHE, "%s: %s", name, why);
		return err_object(e, "%s", file);
	}
	if (r >= 0)
		r = sha256_fd_hex(fd, digest);
	if (r < 0)
		return err_errno(e, r, "cannot read %s", file);
	if (sha256 && strcasecmp(sha256, digest) != 0) {
		(void)err_set(e, ERR_FETCH_DIGEST, "its SHA-256 is %s, and %s is expected", digest, sha256);
		return err_object(e, "%s", file);
	}
	return 0;
}

int cachedir_add(const struct cachedir *c, const char *file, const char *sha256, struct err *e)
{
	_cleanup_free_ char *real = realpath(file, NULL), *url = NULL, *path = NULL;
	struct fetch_request q = FETCH_REQUEST_INIT;
	char digest[SHA256_HEX_SIZE];
	int r;

	if (!real)
		return err_errno(e, -errno, "cannot find %s", file);
	q.name = strrchr(real, '/') + 1;
	r = check_name(q.name, e);
	if (r >= 0)
		r = wanted_digest(real, q.name, sha256, digest, e);
	if (r >= 0)
		r = same_bytes(c, q.name, digest, e);
	if (r != 0)
		return r < 0 ? r : 0;
	url = file_url(real);
	if (!url)
		return err_oom(e);
	q.url = url;
	q.sha256 = sha256;
	r = cachedir_get(c, &q, &path, NULL, e);
	return r < 0 ? r : 1;
}

/* -- all entries -- */

static int entry_names(const struct cachedir *c, char ***ret, struct err *e)
{
	_cleanup_strv_ char **all = NULL, **names = NULL;
	int r = c->fd < 0 ? 0 : path_names(c->fd, ".", &all);

	if (r < 0)
		return err_errno(e, r, "reading %s", c->path);
	for (char **p = all; r >= 0 && p && *p; p++)
		if (strncmp(*p, "NVIDIA-Linux-", 13) == 0)
			r = strv_push(&names, *p);
	if (r < 0)
		return err_oom(e);
	*ret = TAKE_PTR(names);
	return 0;
}

static json_t *record_of(const struct cachedir *c, const char *name)
{
	_cleanup_free_ char *meta = str_printf("%s.meta", name), *text = NULL;
	json_t *j = NULL;
	size_t len;

	if (meta && read_file_at(c->fd, meta, META_MAX, &text, &len) >= 0)
		(void)jloadb((struct span){ text, len }, &j, NULL);
	return j;
}

/* Size always, every byte with full; without a record there is nothing to compare. */
static int judge_record(const struct cachedir *c, const char *name, const json_t *record, bool full,
			const struct stat *st, char **ret_why)
{
	const json_t *size = json_object_get(record, "size_bytes");
	const char *want = json_string_value(json_object_get(record, "sha256"));
	char have[SHA256_HEX_SIZE];
	int r;

	if (size && json_integer_value(size) != (json_int_t)st->st_size) {
		*ret_why = str_printf("it has %lld bytes instead of %lld", (long long)st->st_size,
				      (long long)json_integer_value(size));
		return *ret_why ? 1 : -ENOMEM;
	}
	if (!full || !want)
		return 0;
	r = sha256_file_at(c->fd, name, have);
	if (r < 0 || strcmp(have, want) == 0)
		return r;
	*ret_why = str_printf("its SHA-256 is %s instead of %s", have, want);
	return *ret_why ? 1 : -ENOMEM;
}

static int entry_json(const struct cachedir *c, const char *name, bool full, json_t **ret)
{
	_cleanup_free_ char *arch = NULL, *version = NULL, *why = NULL;
	_cleanup_json_ json_t *record = record_of(c, name);
	struct stat st;
	int r = lxc_runfile_version(name, &arch, &version);

	if (r < 0)
		return r;
	if (fstatat(c->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	r = judge(c->fd, name, &why);
	if (r == 0)
		r = judge_record(c, name, record, full, &st, &why);
	if (r < 0)
		return r;
	*ret = json_pack("{s:s, s:s, s:s, s:I, s:O*, s:O*, s:O*, s:s, s:s*}", "name", name, "version",
			 version, "arch", arch, "size_bytes", (json_int_t)st.st_size, "sha256",
			 json_object_get(record, "sha256"), "trust", json_object_get(record, "trust"), "url",
			 json_object_get(record, "url"), "state", r ? "wrong" : "ok", "reason", why);
	return *ret ? r : -ENOMEM;
}

int cachedir_list(const struct cachedir *c, bool full, json_t **ret, unsigned *ret_wrong, struct err *e)
{
	_cleanup_json_ json_t *list = json_array();
	_cleanup_strv_ char **names = NULL;
	unsigned wrong = 0;
	int r = list ? entry_names(c, &names, e) : err_oom(e);

	if (r < 0)
		return r;
	for (char **p = names; p && *p; p++) {
		json_t *o = NULL;

		r = entry_json(c, *p, full, &o);
		if (r == -EINVAL || r == -ENOENT)
			continue; /* not an entry, or gone meanwhile */
		if (r < 0)
			return err_errno(e, r, "reading %s/%s", c->path, *p);
		wrong += r > 0;
		if (json_array_append_new(list, o) < 0)
			return err_oom(e);
	}
	*ret = TAKE_PTR(list);
	*ret_wrong = wrong;
	return 0;
}

/* -- what nobody needs -- */

/* The entry a file belongs to: its name up to ".run". */
static char *entry_of(const char *file)
{
	const char *end = strstr(file, ".run");

	return end ? strndup(file, (size_t)(end + 4 - file)) : NULL;
}

static bool is_leftover(const char *file, size_t entry_len)
{
	const char *rest = file + entry_len;

	return strcmp(rest, ".bad") == 0 || strncmp(rest, ".bak.", 5) == 0;
}

static bool is_kept(const char *file, char *const *keep)
{
	_cleanup_free_ char *entry = entry_of(file), *arch = NULL, *version = NULL;

	/* What is no file of ours, or being fetched, is nobody's to remove. */
	if (!entry || lxc_runfile_version(entry, &arch, &version) < 0 || strstr(file, ".part") ||
	    (strlen(file) > 5 && strcmp(file + strlen(file) - 5, ".lock") == 0))
		return true;
	if (is_leftover(file, strlen(entry)))
		return false;
	return keep && strv_contains(keep, version);
}

static int prune_one(const struct cachedir *c, const char *file, bool dry_run, json_t *list)
{
	struct stat st;
	json_t *o;

	if (fstatat(c->fd, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	o = json_pack("{s:s, s:I}", "name", file, "size_bytes", (json_int_t)st.st_size);
	if (!o || json_array_append_new(list, o) < 0)
		return -ENOMEM;
	return dry_run ? 0 : publish_unlink(c->fd, file);
}

int cachedir_prune(const struct cachedir *c, char *const *keep, bool dry_run, json_t **ret, struct err *e)
{
	_cleanup_json_ json_t *list = json_array();
	_cleanup_strv_ char **names = NULL;
	int r = list ? entry_names(c, &names, e) : err_oom(e);

	for (char **p = names; r >= 0 && p && *p; p++) {
		if (is_kept(*p, keep))
			continue;
		r = prune_one(c, *p, dry_run, list);
		if (r < 0)
			return err_errno(e, r, "removing %s/%s", c->path, *p);
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(list);
	return 0;
}
