/* SPDX-License-Identifier: Apache-2.0 */
#include "probes.h"

#include "digest.h"
#include "fd.h"
#include "parse.h"
#include "path.h"
#include "strbuf.h"
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define ANSWER_MAX  ((size_t)64 << 10)
#define ANSWERS_MAX 20000

/* The layers of conftest/, in make's order of dependence; each is a second younger than the one before. */
enum layer { LAYER_UTS, LAYER_HEADER, LAYER_HEADERS, LAYER_TEST, LAYER_NONE };

static enum layer layer_of(const char *path)
{
	if (strcmp(path, "uts_release") == 0)
		return LAYER_UTS;
	if (strcmp(path, "headers.h") == 0)
		return LAYER_HEADERS;
	if (strncmp(path, "header_presence/", 16) == 0 && span_ends(SPAN(path), ".part"))
		return LAYER_HEADER;
	if (strncmp(path, "compile-tests/", 14) == 0 && span_ends(SPAN(path), ".h") &&
	    !strchr(path + 14, '/'))
		return LAYER_TEST;
	return LAYER_NONE;
}

int probes_key(const char *conftest_sha256, const char *kernel_identity, const char *compiler,
	       const char *flags, char ret_key[65])
{
	_cleanup_free_ char *text =
	    str_printf("probe answers 1\nconftest %s\nkernel %s\ncompiler %s\nflags %s\n", conftest_sha256,
		       kernel_identity, compiler, flags);
	uint8_t digest[SHA256_SIZE];

	if (!text)
		return -ENOMEM;
	if (sha256_bytes(text, strlen(text), digest) < 0)
		return -EIO;
	hex_encode(digest, sizeof(digest), ret_key);
	return 0;
}

/* -- reading what make left -- */

struct collect {
	json_t *answers;
	char *failed; /* text of the first answer with #error */
};

static int note_failure(struct collect *c, const char *path, const char *text)
{
	const char *at = strstr(text, "#error");
	struct span rest, line;

	if (!at)
		return 0;
	if (!c->failed) {
		rest = SPAN(at + strlen("#error"));
		if (!span_line(&rest, &line))
			line = SPAN_NULL;
		line = span_trim(line);
		c->failed = str_printf("%s: " SPAN_FMT, path, SPAN_ARG(line));
		if (!c->failed)
			return -ENOMEM;
	}
	return 1;
}

static int collect_one(const struct tree_entry *entry, void *arg)
{
	_cleanup_free_ char *text = NULL;
	struct collect *c = arg;
	size_t len;
	int r;

	/* An empty file is one whose probe was killed half-way, or has nothing to say: cheap to ask again. */
	if (!S_ISREG(entry->st.st_mode) || entry->st.st_size == 0 || layer_of(entry->path) == LAYER_NONE)
		return 0;
	r = read_file_at(entry->dirfd, entry->name, ANSWER_MAX, &text, &len);
	if (r < 0)
		return r;
	if (strlen(text) != len)
		return 0;
	r = note_failure(c, entry->path, text);
	if (r != 0)
		return r < 0 ? r : 0;
	if (json_object_size(c->answers) >= ANSWERS_MAX)
		return -E2BIG;
	return json_object_set_new(c->answers, entry->path, json_string(text)) < 0 ? -EINVAL : 0;
}

static int collect(int build_fd, struct collect *c)
{
	_cleanup_close_ int dir = dir_open_at(build_fd, "conftest");
	int r;

	if (dir < 0)
		return dir == -ENOENT ? 0 : dir;
	r = tree_walk(dir, TREE_SORTED, collect_one, c);
	return r < 0 ? r : 0;
}

int probes_failed(int build_fd, char **ret_text)
{
	struct collect c = { json_object(), NULL };
	int r = c.answers ? collect(build_fd, &c) : -ENOMEM;

	json_decref(c.answers);
	if (r < 0) {
		free(c.failed);
		return r;
	}
	*ret_text = c.failed;
	return c.failed ? 0 : -ENOENT;
}

/* -- putting back -- */

static int load_answers(struct store *s, const char *key, json_t **ret)
{
	_cleanup_close_ int dir = store_object_open(s, STORE_PROBE, key);
	json_t *record = NULL, *answers;
	int r;

	if (dir < 0)
		return dir;
	r = store_record_read(dir, "answers.json", &record, NULL);
	if (r < 0)
		return r;
	answers = json_object_get(record, "answers");
	if (!json_is_object(answers)) {
		json_decref(record);
		return -ENOENT;
	}
	*ret = json_incref(answers);
	json_decref(record);
	return 0;
}

static int set_time(int dirfd, const char *path, time_t when)
{
	struct timespec t[2] = { { .tv_sec = when }, { .tv_sec = when } };

	return utimensat(dirfd, path, t, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int put_answer(int dir, const char *path, const char *text, time_t when)
{
	_cleanup_close_ int parent = -EBADF, fd = -EBADF;
	const char *name;
	int r;

	parent = path_open_parent(dir, path, true, PATH_NO_SYMLINKS, &name);
	if (parent < 0)
		return parent;
	fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return -errno;
	r = write_all(fd, text, strlen(text));
	return r < 0 ? r : set_time(parent, name, when);
}

static int put_answers(int build_fd, json_t *answers, time_t base)
{
	_cleanup_close_ int dir = -EBADF;
	unsigned n = 0;
	const char *path;
	json_t *text;

	if (mkdirat(build_fd, "conftest", 0755) < 0)
		return -errno;
	dir = dir_open_at(build_fd, "conftest");
	if (dir < 0)
		return dir;
	json_object_foreach (answers, path, text) {
		enum layer layer = layer_of(path);
		int r;

		if (layer == LAYER_NONE || !path_name_is_clean(path) || !json_is_string(text))
			return -EBADMSG;
		r = put_answer(dir, path, json_string_value(text), base + 1 + (time_t)layer);
		if (r < 0)
			return r;
		n += layer == LAYER_HEADER || layer == LAYER_TEST;
	}
	return (int)n;
}

int probes_restore(struct store *s, const char *key, int build_fd, struct err *e)
{
	time_t base = time(NULL) - 3600;
	json_t *answers = NULL;
	int r = load_answers(s, key, &answers);

	if (r < 0)
		return 0;
	r = set_time(build_fd, "conftest.sh", base);
	if (r == 0)
		r = put_answers(build_fd, answers, base);
	json_decref(answers);
	if (r >= 0)
		return r;
	/* Half a set of answers would be worse than none. */
	(void)tree_remove(build_fd, "conftest");
	if (r == -EBADMSG)
		return 0;
	return err_errno(e, r, "putting back the configure answers");
}

/* -- keeping -- */

static int write_answers(struct store *s, const char *key, json_t *answers, struct err *e)
{
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_close_ int dir = store_object_open(s, STORE_PROBE, key);
	json_t *record = json_pack("{s:s, s:O}", "schema", "nvdriver.probes/1", "answers", answers);
	int r = 0;

	if (!record)
		return err_oom(e);
	if (dir < 0)
		r = store_stage_begin(s, &st, e);
	if (r == 0)
		r = dir < 0 ? store_record_write(st.dir_fd, "answers.json", record, 0644, e)
			    : store_record_put(s, dir, "answers.json", record, 0644, e);
	json_decref(record);
	if (r == 0 && dir < 0)
		r = store_publish(&st, STORE_PROBE, key, e);
	return r < 0 ? r : 0;
}

/* Kept answers win: what was restored was not asked again. `headers.h` follows the newest list of header answers. */
static int merge(json_t *kept, json_t *now, unsigned *ret_new)
{
	const char *path;
	json_t *text;

	json_object_foreach (now, path, text) {
		json_t *have = json_object_get(kept, path);

		if (have && json_equal(have, text))
			continue;
		if (json_object_set(kept, path, text) < 0)
			return -ENOMEM;
		++*ret_new;
	}
	return 0;
}

int probes_keep(struct store *s, const char *key, int build_fd, unsigned *ret_total, struct err *e)
{
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	struct collect c = { json_object(), NULL };
	json_t *kept = NULL;
	unsigned fresh = 0;
	int r = c.answers ? collect(build_fd, &c) : -ENOMEM;

	free(c.failed);
	if (r < 0) {
		json_decref(c.answers);
		return err_errno(e, r, "reading the configure answers");
	}
	*ret_total = (unsigned)json_object_size(c.answers);
	r = store_lock(s, STORE_PROBE, key, 60, &lock, e);
	if (r == 0) {
		if (load_answers(s, key, &kept) < 0)
			kept = json_object();
		r = kept ? merge(kept, c.answers, &fresh) : -ENOMEM;
		if (r == 0 && fresh)
			r = write_answers(s, key, kept, e);
	}
	json_decref(kept);
	json_decref(c.answers);
	return r;
}
