/* SPDX-License-Identifier: Apache-2.0 */
#include "recorded.h"

#include "fd.h"
#include "jutil.h"
#include "path.h"
#include "strbuf.h"
#include "tree.h"

#include <fcntl.h>
#include <string.h>

#define RECORDING_MAX ((size_t)16 << 20)

bool recorded_is(const struct host *h)
{
	return !h->is_running && path_exists(h->root_fd, RECORDED_COMMANDS);
}

static int joined(char *const *argv, char **ret)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(STRBUF_TEXT_MAX);

	for (; argv && *argv; argv++)
		(void)strbuf_printf(&b, "%s%s", b.len ? " " : "", *argv);
	return strbuf_steal(&b, ret);
}

/* "apt-get install *" answers "apt-get install -y dkms". */
static bool stands_for(const char *key, const char *line)
{
	size_t n = strlen(key);

	return n >= 2 && strcmp(key + n - 2, " *") == 0 && strncmp(key, line, n - 1) == 0;
}

static const json_t *find(const json_t *commands, const char *line)
{
	const json_t *found = json_object_get(commands, line), *value;
	const char *key;
	size_t best = 0;

	if (found)
		return found;
	json_object_foreach ((json_t *)commands, key, value)
		if (stands_for(key, line) && strlen(key) > best) {
			best = strlen(key);
			found = value;
		}
	return found;
}

static void keep_line(const struct host *h, const char *line)
{
	_cleanup_close_ int fd =
	    openat(h->root_fd, RECORDED_LOG, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);

	if (fd >= 0)
		(void)dprintf(fd, "%s\n", line);
}

static int fill(struct spawn *s, const json_t *answer)
{
	const char *out = answer ? json_string_value(json_object_get(answer, "output")) : "not recorded";

	free(s->out);
	free(s->tail);
	s->out = strdup(out ? out : "");
	s->tail = strdup(out ? out : "");
	s->out_len = s->out ? strlen(s->out) : 0;
	s->status = answer ? (int)json_integer_value(json_object_get(answer, "status")) : RECORDED_ABSENT;
	return s->out && s->tail ? 0 : -ENOMEM;
}

/* As a program writes: in place. */
static int write_file(int dir, const char *name, const char *bytes)
{
	_cleanup_close_ int fd =
	    openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);

	return fd < 0 ? -errno : write_all(fd, bytes, strlen(bytes));
}

/* One file the command makes or takes away. A name that leads out of the root is none. */
static int leave(const struct host *h, const char *path, const json_t *text)
{
	const char *bytes = json_string_value(text), *name;
	_cleanup_close_ int dir = path_open_parent(h->root_fd, path, bytes != NULL, PATH_NO_SYMLINKS, &name);

	if (dir < 0)
		return dir == -ENOENT && !bytes ? 0 : dir;
	return bytes ? write_file(dir, name, bytes) : tree_remove(dir, name);
}

static int leave_files(const struct host *h, const json_t *answer, struct err *e)
{
	const char *path;
	json_t *text;

	json_object_foreach (json_object_get(answer, "files"), path, text) {
		int r = leave(h, path, text);

		if (r < 0)
			return err_errno(e, r, "a recorded command leaves %s", path);
	}
	return 0;
}

int recorded_run(const struct host *h, struct spawn *s, struct err *e)
{
	_cleanup_free_ char *line = NULL;
	json_auto_t *all = NULL;
	json_t *commands = NULL;
	const json_t *answer;
	int r = jload_at(h->root_fd, RECORDED_COMMANDS, RECORDING_MAX, &all, e);

	if (r >= 0)
		r = jget_object(all, "commands", &commands, e);
	if (r < 0) {
		(void)err_wrap(e, "%s/" RECORDED_COMMANDS, h->root);
		return err_recode(e, ERR_RECORDED);
	}
	if (s->error < 0 || joined(s->argv, &line) < 0)
		return err_oom(e);
	if (json_is_true(json_object_get(all, "log")))
		keep_line(h, line);
	answer = find(commands, line);
	r = leave_files(h, answer, e);
	return r < 0 ? r : fill(s, answer) < 0 ? err_oom(e) : 0;
}
