/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-tools.h"

#include "jutil.h"
#include "spawn.h"
#include "strbuf.h"

#include <fcntl.h>
#include <string.h>

#define RECORDING_MAX	 ((size_t)16 << 20)
#define ASK_TIMEOUT_S	 60
#define STATUS_NOT_FOUND 127

static struct recording {
	json_t *commands; /* owned; NULL = none is in force */
	int log_fd; /* owned; -EBADF = no log */
} recording = { NULL, -EBADF };

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

static const json_t *recorded_answer(const char *line)
{
	const json_t *found = json_object_get(recording.commands, line), *value;
	const char *key;
	size_t best = 0;

	if (found)
		return found;
	json_object_foreach ((json_t *)recording.commands, key, value)
		if (stands_for(key, line) && strlen(key) > best) {
			best = strlen(key);
			found = value;
		}
	return found;
}

static int recorded_run(struct spawn *s, void *arg _unused_)
{
	_cleanup_free_ char *line = NULL;
	const json_t *a;
	const char *out;

	if (joined(s->argv, &line) < 0)
		return -ENOMEM;
	if (recording.log_fd >= 0)
		(void)dprintf(recording.log_fd, "%s\n", line);
	a = recorded_answer(line);
	out = a ? json_string_value(json_object_get(a, "output")) : "not recorded";
	free(s->out);
	free(s->tail);
	s->out = strdup(out ? out : "");
	s->tail = strdup(out ? out : "");
	s->out_len = s->out ? strlen(s->out) : 0;
	s->status = a ? (int)json_integer_value(json_object_get(a, "status")) : STATUS_NOT_FOUND;
	return s->out && s->tail ? 0 : -ENOMEM;
}

int tools_open(const struct host *h, struct err *e)
{
	json_t *all = NULL;
	int r;

	tools_close();
	if (h->is_running)
		return 0;
	r = jload_at(h->root_fd, CAPTURE_COMMANDS, RECORDING_MAX, &all, e);
	if (r == -ENOENT)
		return 0;
	if (r >= 0)
		r = jget_object(all, "commands", &recording.commands, e);
	if (r < 0) {
		json_decref(all);
		(void)err_recode(e, ERR_VGPU_RECORDED);
		return err_object(e, "%s/%s", h->root, CAPTURE_COMMANDS);
	}
	json_incref(recording.commands);
	if (json_is_true(json_object_get(all, "log")))
		recording.log_fd = openat(h->root_fd, CAPTURE_LOG,
					  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	json_decref(all);
	spawn_set_hook(recorded_run, NULL);
	return 1;
}

void tools_close(void)
{
	if (!recording.commands)
		return;
	spawn_set_hook(NULL, NULL);
	json_decref(recording.commands);
	close_fdp(&recording.log_fd);
	recording = (struct recording){ NULL, -EBADF };
}

bool tools_may_change(const struct host *h)
{
	return h->is_running || recording.commands;
}

void answer_done(struct answer *a)
{
	free(a->out);
	*a = (struct answer){ 0 };
}

int tools_ask(const struct host *h, const char *const *argv, struct answer *ret, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT(argv[0]);
	int r;

	if (!tools_may_change(h))
		return -ENOENT;
	for (; *argv; argv++)
		(void)spawn_arg(&s, "%s", *argv);
	s.capture = true;
	s.timeout_s = ASK_TIMEOUT_S;
	r = spawn_run(&s, e);
	if (r == -ERR_TOOL_MISSING || (r >= 0 && recording.commands && s.status == STATUS_NOT_FOUND)) {
		err_done(e);
		return -ENOENT;
	}
	if (r < 0)
		return r;
	ret->status = s.status;
	ret->out = s.out ? TAKE_PTR(s.out) : strdup("");
	return ret->out ? 0 : err_oom(e);
}
