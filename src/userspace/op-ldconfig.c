/* SPDX-License-Identifier: Apache-2.0
 *
 * The loader's cache around a change of libraries. Appears twice in a plan, because a cache has to be made after
 * the files changed in both directions: "last" runs ldconfig when the plan is applied; "first" keeps the old caches
 * and, when the plan is taken back, is the last to be undone.
 *
 * The program is always the running machine's, statically linked and rooted by itself (-r), so nothing of a foreign
 * root is executed. -X: links are ours to make, and ldconfig would delete those it does not understand. */
#include "install.h"

#include "base64.h"
#include "digest.h"
#include "fd.h"
#include "jutil.h"
#include "log.h"
#include "path.h"
#include "publish.h"
#include "spawn.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define CACHE_MAX_BYTES ((size_t)64 << 20)
#define AUX_DIR		"var/cache/ldconfig"
#define AFTER_NAME	"ldconfig-after.json"
#define TIMEOUT_S	120

static const char *const caches[] = { "etc/ld.so.cache", AUX_DIR "/aux-cache" };
/* What a killed ldconfig leaves beside them. */
static const char *const leftovers[] = { "etc/ld.so.cache~", AUX_DIR "/aux-cache~" };

static bool is_first(const json_t *args)
{
	const char *when = json_string_value(json_object_get(args, "when"));

	return when && strcmp(when, "first") == 0;
}

static int cache_read(int root_fd, const char *path, char **ret, size_t *ret_len, mode_t *ret_mode)
{
	_cleanup_close_ int fd = path_open_at(root_fd, path, O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
	struct stat st;

	if (fd < 0)
		return fd == -ENOTDIR ? -ENOENT : fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	*ret_mode = st.st_mode & 07777;
	return read_fd(fd, CACHE_MAX_BYTES, ret, ret_len);
}

static json_t *keep(int root_fd, const char *path, int *ret_r)
{
	_cleanup_free_ char *bytes = NULL, *text = NULL;
	size_t len = 0;
	mode_t mode = 0;
	int r = cache_read(root_fd, path, &bytes, &len, &mode);

	*ret_r = 0;
	if (r == -ENOENT)
		return json_null();
	if (r >= 0)
		r = base64_encode((const uint8_t *)bytes, len, &text);
	*ret_r = r;
	return r < 0 ? NULL : json_pack("{s:s,s:i}", "bytes_base64", text, "mode", (int)mode);
}

static int ldconfig_stage(const struct plan_ctx *c, const json_t *args, json_t **ret_undo, struct err *e)
{
	json_t *undo = json_object(), *old;
	int r = undo ? 0 : -ENOMEM;

	for (size_t i = 0; r >= 0 && is_first(args) && i < ARRAY_LEN(caches); i++) {
		old = keep(c->host->root_fd, caches[i], &r);
		if (r >= 0 && (!old || json_object_set_new(undo, caches[i], old) < 0))
			r = -ENOMEM;
	}
	if (r >= 0 &&
	    json_object_set_new(undo, "aux_dir", json_boolean(path_exists(c->host->root_fd, AUX_DIR))) < 0)
		r = -ENOMEM;
	if (r < 0) {
		json_decref(undo);
		return err_errno(e, r, "keeping the loader's cache");
	}
	*ret_undo = undo;
	return 0;
}

static int ldconfig_run(const struct plan_ctx *c, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("loader cache");
	_cleanup_free_ char *program = NULL;

	/* Some distributions wrap the program in a script of that name. */
	if (spawn_find("ldconfig.real", &program) < 0 && spawn_find("ldconfig", &program) < 0)
		return err_set(e, ERR_TOOL_MISSING, "ldconfig");
	spawn_argv(&s, program, "-X", NULL);
	if (!c->host->is_running)
		spawn_argv(&s, "-r", c->host->root, NULL);
	s.log_fd = c->log_fd;
	s.timeout_s = TIMEOUT_S;
	return spawn_check(&s, e);
}

static int cache_digest(int root_fd, const char *path, json_t **ret)
{
	_cleanup_free_ char *bytes = NULL;
	uint8_t sum[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	size_t len;
	mode_t mode;
	int r = cache_read(root_fd, path, &bytes, &len, &mode);

	if (r == -ENOENT) {
		*ret = json_null();
		return 0;
	}
	if (r >= 0)
		r = sha256_bytes(bytes, len, sum);
	if (r < 0)
		return r;
	hex_encode(sum, sizeof(sum), hex);
	*ret = json_string(hex);
	return *ret ? 0 : -ENOMEM;
}

/* What the caches were when we left them: undo compares. */
static int after_write(const struct plan_ctx *c)
{
	_cleanup_free_ char *text = NULL;
	json_t *after = json_object(), *digest;
	int r = after ? 0 : -ENOMEM;

	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(caches); i++) {
		r = cache_digest(c->host->root_fd, caches[i], &digest);
		if (r >= 0 && json_object_set_new(after, caches[i], digest) < 0)
			r = -ENOMEM;
	}
	if (r >= 0)
		r = jdump(after, &text);
	json_decref(after);
	return r < 0 ? r : publish_bytes(c->undo_fd, AFTER_NAME, text, strlen(text), 0600);
}

static int ldconfig_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
			  struct err *e)
{
	_cleanup_(err_done) struct err why = ERR_INIT;
	int r;

	if (is_first(args))
		return 0;
	r = ldconfig_run(c, &why);
	if (r < 0 && c->host->is_running) {
		err_move(e, &why);
		return r;
	}
	/* The loader finds the libraries of the usual directories without a cache as well. */
	if (r < 0)
		log_warn("the loader cache of %s was not renewed: %s", c->host->root,
			 why.reason ?: "no memory");
	r = after_write(c);
	return r < 0 ? err_errno(e, r, "noting the state of the loader's cache") : 0;
}

/* What stands in a cache's place: still what ldconfig left (or its run never ended), already what was there before
 * (a killed undo came this far), or somebody else's. */
enum found { FOUND_OURS, FOUND_OLD, FOUND_FOREIGN };

static int cache_is_old(const struct plan_ctx *c, const char *path, const json_t *old)
{
	_cleanup_free_ char *bytes = NULL, *text = NULL;
	const char *want = json_string_value(json_object_get(old, "bytes_base64"));
	size_t len = 0;
	mode_t mode;
	int r = cache_read(c->host->root_fd, path, &bytes, &len, &mode);

	if (r == -ENOENT)
		return !want;
	if (r >= 0)
		r = base64_encode((const uint8_t *)bytes, len, &text);
	return r < 0 ? r : want && strcmp(text, want) == 0;
}

static int cache_look(const struct plan_ctx *c, const json_t *after, const json_t *old, const char *path)
{
	json_t *now = NULL;
	bool same;
	int r;

	if (!after)
		return FOUND_OURS;
	r = cache_digest(c->host->root_fd, path, &now);
	if (r < 0)
		return r;
	same = json_equal(now, json_object_get(after, path)) == 1;
	json_decref(now);
	if (same)
		return FOUND_OURS;
	r = cache_is_old(c, path, old);
	return r < 0 ? r : r ? FOUND_OLD : FOUND_FOREIGN;
}

static int cache_restore(const struct plan_ctx *c, const char *path, const json_t *old)
{
	_cleanup_close_ int parent = -EBADF;
	_cleanup_free_ uint8_t *bytes = NULL;
	const char *text = json_string_value(json_object_get(old, "bytes_base64")), *name;
	size_t len;
	int r;

	parent = path_open_parent(c->host->root_fd, path, false, PATH_IN_ROOT, &name);
	if (parent < 0)
		return !text && (parent == -ENOENT || parent == -ENOTDIR) ? 0 : parent;
	if (!text)
		return publish_unlink(parent, name);
	r = base64_decode(SPAN(text), &bytes, &len);
	if (r < 0)
		return r;
	r = publish_bytes(parent, name, bytes, len,
			  (mode_t)json_integer_value(json_object_get(old, "mode")) & 0777);
	/* Also what a killed undo before this one left there. */
	return r < 0 ? r : publish_sweep(parent);
}

static void remove_quietly(const struct plan_ctx *c, const char *path, int flags)
{
	_cleanup_close_ int parent = -EBADF;
	const char *name;

	parent = path_open_parent(c->host->root_fd, path, false, PATH_IN_ROOT, &name);
	if (parent >= 0)
		(void)unlinkat(parent, name, flags);
}

/* What apply made of the caches; *ret stays NULL when it never came to say so. */
static int after_read(const struct plan_ctx *c, json_t **ret)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = read_file_at(c->undo_fd, AFTER_NAME, 4096, &text, &len);

	if (r >= 0)
		r = jloadb((struct span){ text, len }, ret, NULL);
	return r == -ENOENT || r == -EINVAL ? 0 : r;
}

static int ldconfig_undo(const struct plan_ctx *c, const json_t *args, const json_t *undo, struct err *e)
{
	_cleanup_(err_done) struct err why = ERR_INIT;
	bool foreign = false;
	_cleanup_json_ json_t *after = NULL;
	int r;

	if (!is_first(args) || !undo)
		return 0;
	r = after_read(c, &after);
	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(caches); i++) {
		const json_t *old = json_object_get(undo, caches[i]);

		r = cache_look(c, after, old, caches[i]);
		foreign |= r == FOUND_FOREIGN;
		if (r == FOUND_OURS || r == FOUND_OLD)
			r = cache_restore(c, caches[i], old);
	}
	if (r < 0)
		return err_errno(e, r, "bringing back the loader's cache");
	for (size_t i = 0; i < ARRAY_LEN(leftovers); i++)
		remove_quietly(c, leftovers[i], 0);
	if (json_is_false(json_object_get(undo, "aux_dir")))
		remove_quietly(c, AUX_DIR, AT_REMOVEDIR);
	/* Somebody renewed the cache since: theirs lists our libraries, so it is made anew without them. */
	if (foreign && ldconfig_run(c, &why) < 0)
		log_warn("the loader cache of %s was not renewed: %s", c->host->root,
			 why.reason ?: "no memory");
	return 0;
}

const struct op_type op_ldconfig = {
	.name = "ldconfig",
	.stage = ldconfig_stage,
	.apply = ldconfig_apply,
	.undo = ldconfig_undo,
};
