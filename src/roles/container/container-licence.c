/* SPDX-License-Identifier: Apache-2.0 */
#include "container-licence.h"

#include "base64.h"
#include "fd.h"
#include "log.h"
#include "path.h"
#include "spawn.h"
#include "err-container.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#define GRIDD_FROM  "drivers/gridd.conf"
#define GRIDD_TO    "etc/nvidia/gridd.conf"
#define TOKENS_FROM "drivers/ClientConfigToken"
#define TOKENS_TO   "etc/nvidia/ClientConfigToken"
#define INPUT_MAX   ((size_t)1 << 20)
#define TOKENS_MAX  256
#define SMI_MAX	    ((size_t)4 << 20)
#define SMI_LIMIT_S 30

static int add_entry(json_t *entries, json_t *entry, struct err *e)
{
	return !entry || json_array_append_new(entries, entry) < 0 ? err_oom(e) : 0;
}

/* Content inline: what a secret is mounted as are links into a hidden directory that the operator swaps at any time. */
static int add_copy(const struct host *h, const char *from, const char *to, json_t *entries, struct err *e)
{
	_cleanup_close_ int fd =
	    path_open_at(h->root_fd, from, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, PATH_IN_ROOT);
	_cleanup_free_ char *bytes = NULL, *base64 = NULL;
	size_t len;
	int r = fd < 0 ? fd : read_fd(fd, INPUT_MAX, &bytes, &len);

	if (r < 0) {
		(void)err_set(e, ERR_LICENCE_INPUT, "/%s: %s", from, strerror(-r));
		return err_object(e, "/%s", from);
	}
	r = base64_encode((const uint8_t *)bytes, len, &base64);
	if (r < 0)
		return err_oom(e);
	return add_entry(entries,
			 json_pack("{s:s, s:s, s:i, s:s}", "path", to, "type", "file", "mode", 0644,
				   "bytes_base64", base64),
			 e);
}

/* Names of a directory less hidden ones, sorted; an absent directory has none and is -ENOENT. */
static int list_names(const struct host *h, const char *path, char ***ret)
{
	int fd = path_open_at(h->root_fd, path, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT), r = 0;
	_cleanup_strv_ char **names = NULL;
	struct dirent *de;
	DIR *d;

	if (fd < 0)
		return fd;
	d = fdopendir(fd);
	if (!d) {
		r = -errno;
		close_fdp(&fd);
		return r;
	}
	while (r == 0 && (de = readdir(d)))
		if (de->d_name[0] != '.')
			r = strv_len(names) < TOKENS_MAX ? strv_push(&names, de->d_name) : -E2BIG;
	(void)closedir(d);
	if (r < 0)
		return r;
	strv_sort(names);
	*ret = TAKE_PTR(names);
	return 0;
}

static int add_tokens(const struct host *h, char *const *names, json_t *entries, struct err *e)
{
	for (char *const *n = names; n && *n; n++) {
		_cleanup_free_ char *from = str_printf(TOKENS_FROM "/%s", *n);
		_cleanup_free_ char *to = str_printf(TOKENS_TO "/%s", *n);
		int r = from && to ? add_copy(h, from, to, entries, e) : err_oom(e);

		if (r < 0)
			return r;
	}
	return 0;
}

/* A token the operator took away must not go on licensing. */
static int drop_tokens(const struct host *h, char *const *wanted, json_t *entries, struct err *e)
{
	_cleanup_strv_ char **there = NULL;
	int r = list_names(h, TOKENS_TO, &there);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_errno(e, r, "/%s", TOKENS_TO);
	for (char **n = there; n && *n; n++) {
		_cleanup_free_ char *path = str_printf(TOKENS_TO "/%s", *n);

		if (!path)
			return err_oom(e);
		if (wanted && strv_contains(wanted, *n))
			continue;
		r = add_entry(entries, json_pack("{s:s, s:s}", "path", path, "type", "absent"), e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int plan_tokens(const struct host *h, json_t *entries, size_t *ret_n, struct err *e)
{
	_cleanup_strv_ char **names = NULL;
	int r = list_names(h, TOKENS_FROM, &names);

	if (r < 0) {
		(void)err_set(e, ERR_LICENCE_INPUT, "/%s: %s", TOKENS_FROM, strerror(-r));
		return err_object(e, "/%s", TOKENS_FROM);
	}
	*ret_n = strv_len(names);
	if (*ret_n == 0)
		log_warn("/%s holds no licence token", TOKENS_FROM);
	r = add_entry(entries, json_pack("{s:s, s:s, s:i}", "path", TOKENS_TO, "type", "dir", "mode", 0755),
		      e);
	if (r == 0)
		r = add_tokens(h, names, entries, e);
	return r < 0 ? r : drop_tokens(h, names, entries, e);
}

int container_licence_plan(const struct host *h, bool nls, struct plan *p, struct err *e)
{
	json_t *entries = json_array(), *args;
	size_t n_tokens = 0;
	int r = entries ? add_copy(h, GRIDD_FROM, GRIDD_TO, entries, e) : err_oom(e);

	if (r == 0 && nls)
		r = plan_tokens(h, entries, &n_tokens, e);
	if (r < 0) {
		json_decref(entries);
		return r;
	}
	args = json_pack("{s:o}", "entries", entries);
	if (!args)
		return err_oom(e);
	r = nls ? plan_add(p, &op_files, args, "put gridd.conf and %zu licence token%s below /etc/nvidia",
			   n_tokens, n_tokens == 1 ? "" : "s")
		: plan_add(p, &op_files, args, "put gridd.conf below /etc/nvidia");
	return r < 0 ? err_oom(e) : 0;
}

/* -- what became of it -- */

struct span container_licence_state(struct span text)
{
	struct span found = SPAN_NULL, line;

	while (span_line(&text, &line)) {
		struct span key = span_trim(line), value;
		const char *colon = key.len ? memchr(key.p, ':', key.len) : NULL;

		if (!colon || !span_starts(key, "License Status"))
			continue;
		value = span_trim((struct span){ colon + 1, (size_t)(key.p + key.len - colon - 1) });
		if (!span_starts(value, "Licensed"))
			return value;
		if (!found.p)
			found = value;
	}
	return found;
}

int container_licence_ask(const struct host *h, char **ret, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("licence state");
	struct span state;
	int r;

	(void)spawn_argv(&s, "nvidia-smi", "-q", NULL);
	s.root_fd = h->is_running ? -EBADF : h->root_fd;
	s.capture = true;
	s.capture_max = SMI_MAX;
	s.timeout_s = SMI_LIMIT_S;
	r = spawn_check(&s, e);
	if (r < 0)
		return r;
	state = container_licence_state((struct span){ s.out ? s.out : "", s.out ? s.out_len : 0 });
	*ret = state.len ? span_dup(state) : NULL;
	return state.len && !*ret ? err_oom(e) : 0;
}
