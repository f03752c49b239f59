/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-verify.h"

#include "elffile.h"
#include "fd.h"
#include "interrupt.h"
#include "jutil.h"
#include "lxc-enter.h"
#include "lxc-ldcache.h"
#include "path.h"
#include "strbuf.h"
#include "err-lxc.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#define CACHE_MAX     ((size_t)16 << 20)
#define ORDINARY_USER 1000
#define LIVE_PREFIX   "/usr/lib/nvdriver/"
#define PATHS_MAX     32

void lxc_static_done(struct lxc_static *s)
{
	freep(&s->version);
	freep(&s->problem);
}

/* -- static -- */

struct looking {
	int root_fd, live_fd;
	const char *machine;
	struct lxc_ldcache cache;
	struct lxc_static *out;
};

static int problem(struct lxc_static *s, char *text)
{
	if (!text)
		return -ENOMEM;
	if (s->problem)
		free(text);
	else
		s->problem = text;
	return 0;
}

/* "libcuda.so.535.261.03" → 535.261.03 */
static const char *version_in(const char *name)
{
	const char *so = strstr(name, ".so.");

	return so && strchr(so + 4, '.') && version_is_valid(so + 4) ? so + 4 : NULL;
}

/* A mount that only a running container has is looked at where it comes from. */
static int resolve(const struct looking *k, const char *path, int *ret_fd, char **ret_name, struct stat *st)
{
	bool is_live = k->live_fd >= 0 && strncmp(path, LIVE_PREFIX, strlen(LIVE_PREFIX)) == 0;
	int fd = is_live ? k->live_fd : k->root_fd;
	const char *rest = is_live ? path + strlen(LIVE_PREFIX) : path;
	int r = lxc_resolve_beneath(fd, rest, ret_name, st);

	if (r >= 0)
		*ret_fd = path_open_at(fd, rest, O_PATH, 0, PATH_IN_ROOT);
	return r;
}

static int check_elf(const struct looking *k, int at, const char *path)
{
	_cleanup_close_ int fd = fd_reopen(at, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct elf elf;
	int r = fd < 0 ? fd : elf_open(fd, &elf);

	if (r < 0)
		return problem(k->out, str_printf("%s is not a library", path));
	if (strcmp(elf_machine_name(elf.machine), k->machine) != 0)
		return problem(k->out, str_printf("%s is for another machine", path));
	return 0;
}

/* One place the loader finds the library at: it must end at a file named for the same version as the first. */
static int look_at_path(const struct looking *k, const char *soname, const char *path, bool first)
{
	_cleanup_free_ char *name = NULL;
	_cleanup_close_ int at = -EBADF;
	const char *version;
	struct stat st;
	int r = resolve(k, path, &at, &name, &st);

	if (r == -ENOMEM)
		return r;
	if (r < 0 || !S_ISREG(st.st_mode))
		return first ? problem(k->out, str_printf("the loader looks for %s at %s, where it is not",
							  soname, path))
			     : 0;
	version = version_in(name);
	if (!version)
		return problem(k->out, str_printf("%s ends at %s, which names no version", path, name));
	if (first && !k->out->version) {
		k->out->version = strdup(version);
		return k->out->version ? check_elf(k, at, path) : -ENOMEM;
	}
	if (k->out->version && strcmp(k->out->version, version) != 0)
		return problem(
		    k->out, str_printf("%s is of %s, while %s comes first", path, version, k->out->version));
	return first ? check_elf(k, at, path) : 0;
}

static int look_at_library(const struct looking *k, const char *soname)
{
	for (size_t i = 0; i < PATHS_MAX; i++) {
		struct span path = lxc_ldcache_find(&k->cache, k->machine, soname, i);
		int r;

		if (!path.p)
			return i ? 0 : problem(k->out, str_printf("the loader does not know %s", soname));
		if (strstr(path.p, "/compat/"))
			r = problem(k->out, str_printf("%s shadows the driver's %s", path.p, soname));
		else
			r = look_at_path(k, soname, path.p, i == 0);
		if (r < 0)
			return r;
	}
	return 0;
}

/* LD_LIBRARY_PATH set for everybody comes before the cache: here in a file of these. A comment says nothing. */
static bool shadows(struct span text)
{
	struct span line;

	while (span_line(&text, &line)) {
		_cleanup_free_ char *one = span_dup(span_trim(line));

		if (one && *one != '#' && strstr(one, "LD_LIBRARY_PATH=") && strstr(one, "/compat"))
			return true;
	}
	return false;
}

static int look_at_environment(const struct looking *k)
{
	static const char *const files[] = { "etc/environment", "etc/profile", "etc/profile.d/cuda.sh",
					     "etc/bash.bashrc" };
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(files); i++) {
		_cleanup_free_ char *text = NULL;
		size_t len;

		if (lxc_read_beneath(k->root_fd, files[i], CACHE_MAX, &text, &len) >= 0 &&
		    shadows((struct span){ text, len }))
			r = problem(
			    k->out,
			    str_printf("LD_LIBRARY_PATH in /%s leads to compatibility libraries", files[i]));
	}
	return r;
}

static int look_at_tool(const struct looking *k)
{
	static const char *const places[] = { "usr/bin/nvidia-smi", "usr/local/bin/nvidia-smi",
					      "bin/nvidia-smi" };
	struct stat st;

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		_cleanup_close_ int parent = -EBADF;
		_cleanup_free_ char *name = NULL;
		const char *base;

		if (lxc_resolve_beneath(k->root_fd, places[i], &name, &st) == 0 && S_ISREG(st.st_mode))
			return 0;
		/* A link into a mount that is only made at the start. */
		parent = path_open_parent(k->root_fd, places[i], false, PATH_IN_ROOT, &base);
		if (k->live_fd >= 0 && parent >= 0 && fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISLNK(st.st_mode))
			return 0;
	}
	return problem(k->out, strdup("nvidia-smi is not on the path"));
}

int lxc_static_check(int root_fd, int live_fd, const char *machine, struct lxc_static *ret, struct err *e)
{
	_cleanup_(lxc_static_done) struct lxc_static s = { 0 };
	struct looking k = { .root_fd = root_fd, .live_fd = live_fd, .machine = machine, .out = &s };
	_cleanup_free_ char *bytes = NULL;
	size_t len;
	int r;

	s.reachable = true;
	r = lxc_read_beneath(root_fd, "etc/ld.so.cache", CACHE_MAX, &bytes, &len);
	if (r < 0 || lxc_ldcache_open((struct span){ bytes, len }, &k.cache) < 0)
		r = r == -ENOMEM ? r : problem(&s, strdup("the loader has no usable cache"));
	else {
		r = look_at_library(&k, "libcuda.so.1");
		if (r >= 0)
			r = look_at_library(&k, "libnvidia-ml.so.1");
		if (r >= 0)
			r = look_at_environment(&k);
		if (r >= 0)
			r = look_at_tool(&k);
	}
	if (r < 0)
		return err_oom(e);
	*ret = s;
	s = (struct lxc_static){ 0 };
	return 0;
}

/* -- device -- */

const char *lxc_node_verdict_text(enum lxc_node_verdict v)
{
	static const char *const texts[] = {
		[LXC_NODE_OK] = "usable",
		[LXC_NODE_MISSING] = "missing",
		[LXC_NODE_REGULAR] = "a regular file, left by an optional mount whose source was missing",
		[LXC_NODE_KIND_OTHER] = "no character device",
		[LXC_NODE_NUMBER] = "a device number that is not the host's",
		[LXC_NODE_CGROUP] = "refused by the device cgroup",
		[LXC_NODE_OWNER] = "refused by its owner or mode",
		[LXC_NODE_STALE] = "its number belongs to no loaded driver",
		[LXC_NODE_ERROR] = "cannot be opened",
	};

	return (size_t)v < ARRAY_LEN(texts) ? texts[v] : "?";
}

enum lxc_node_verdict lxc_node_verdict_of(int error)
{
	static const struct {
		int error;
		enum lxc_node_verdict verdict;
	} rows[] = {
		{ 0, LXC_NODE_OK },	    { ENOENT, LXC_NODE_MISSING }, { EPERM, LXC_NODE_CGROUP },
		{ EACCES, LXC_NODE_OWNER }, { ENXIO, LXC_NODE_STALE },	  { ENODEV, LXC_NODE_STALE },
		{ EIO, LXC_NODE_OK }, /* the driver answered: this GPU does not start, which is the host's matter */
		{ EBUSY, LXC_NODE_OK },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].error == error)
			return rows[i].verdict;
	return LXC_NODE_ERROR;
}

enum lxc_node_verdict lxc_node_look(int root_fd, const char *path, unsigned major, unsigned minor)
{
	_cleanup_close_ int fd = path_open_at(root_fd, path, O_PATH, 0, PATH_IN_ROOT);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return LXC_NODE_MISSING;
	if (S_ISREG(st.st_mode))
		return LXC_NODE_REGULAR;
	if (!S_ISCHR(st.st_mode))
		return LXC_NODE_KIND_OTHER;
	return major(st.st_rdev) == major && minor(st.st_rdev) == minor ? LXC_NODE_OK : LXC_NODE_NUMBER;
}

struct node {
	const char *path;
	unsigned major, minor;
	bool required;
};

static struct node node_of(const json_t *o)
{
	return (struct node){ json_string_value(json_object_get(o, "path")),
			      (unsigned)json_integer_value(json_object_get(o, "major")),
			      (unsigned)json_integer_value(json_object_get(o, "minor")),
			      json_is_true(json_object_get(o, "required")) };
}

static int bad_node(json_t *list, const char *path, enum lxc_node_verdict v, const char *user)
{
	return json_array_append_new(list, json_pack("{s:s, s:i, s:s, s:s}", "path", path, "verdict", (int)v,
						     "text", lxc_node_verdict_text(v), "user", user)) < 0
		   ? -ENOMEM
		   : 0;
}

/* By name: /proc inside shows other processes, so there is no other way to an O_PATH descriptor. What was opened is
 * compared with what was meant. */
static enum lxc_node_verdict open_as(int root_fd, const struct node *n, uid_t uid)
{
	_cleanup_close_ int fd = -EBADF;
	struct stat st;

	(void)setfsuid(uid); /* takes the rights of root over files away with it */
	(void)setfsgid(uid);
	fd = path_open_at(root_fd, n->path, O_RDWR | O_NONBLOCK | O_NOCTTY, 0, PATH_IN_ROOT);
	(void)setfsuid(0);
	(void)setfsgid(0);
	if (fd < 0)
		return lxc_node_verdict_of(-fd);
	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(n->major, n->minor)
		   ? LXC_NODE_OK
		   : LXC_NODE_NUMBER;
}

static enum lxc_node_verdict try_node(int root_fd, const struct node *n, const char **ret_user)
{
	enum lxc_node_verdict v = lxc_node_look(root_fd, n->path, n->major, n->minor);

	*ret_user = "root";
	if (v == LXC_NODE_OK)
		v = open_as(root_fd, n, 0);
	if (v == LXC_NODE_OK && strncmp(n->path, "dev/nvidia-caps/", 16) != 0) {
		*ret_user = "ordinary";
		v = open_as(root_fd, n, ORDINARY_USER);
	}
	return v;
}

static int nodes_inside(int root_fd, void *arg, json_t **ret, struct err *e)
{
	const json_t *nodes = arg, *o;
	_cleanup_json_ json_t *list = json_array();
	size_t i;

	json_array_foreach (nodes, i, o) {
		struct node n = node_of(o);
		enum lxc_node_verdict v;
		const char *user;

		if (!n.path || !list)
			return err_oom(e);
		if (!n.required)
			continue;
		v = try_node(root_fd, &n, &user);
		if (v != LXC_NODE_OK && bad_node(list, n.path, v, user) < 0)
			return err_oom(e);
	}
	*ret = json_incref(list);
	return 0;
}

int lxc_device_check(const struct lxc_place *place, const json_t *nodes, json_t **ret_list, struct err *e)
{
	int r = lxc_inside(place, LXC_INSIDE_CGROUP, 30, nodes_inside, (void *)nodes, ret_list, e);

	return r < 0 ? r : (int)json_array_size(*ret_list);
}

/* -- live -- */

const char *lxc_smi_verdict_text(enum lxc_smi_verdict v)
{
	static const char *const texts[] = {
		[LXC_SMI_OK] = "answers",
		[LXC_SMI_NO_DRIVER] = "no driver is loaded, or /dev/nvidiactl is not usable",
		[LXC_SMI_CGROUP] = "the device cgroup refuses access",
		[LXC_SMI_MISMATCH] =
		    "the container's libraries and the loaded driver have different versions",
		[LXC_SMI_NO_LIBRARY] = "the loader does not find libnvidia-ml.so.1",
		[LXC_SMI_NO_DEVICES] = "the nodes of the assigned GPUs are missing",
		[LXC_SMI_PERMISSION] = "the nodes' permissions refuse access",
		[LXC_SMI_GPU_LOST] = "a GPU is lost or needs a reset: a problem of the host",
		[LXC_SMI_NOT_INSTALLED] = "nvidia-smi is not installed",
		[LXC_SMI_HANGS] = "nvidia-smi does not end: the driver hangs, a problem of the host",
		[LXC_SMI_OTHER] = "nvidia-smi failed",
	};

	return (size_t)v < ARRAY_LEN(texts) ? texts[v] : "?";
}

enum lxc_smi_verdict lxc_smi_verdict_of(int status, struct span out, bool timed_out)
{
	static const struct {
		int status; /* -1 = any but 0 */
		const char *text; /* NULL = whatever it says */
		enum lxc_smi_verdict verdict;
	} rows[] = {
		{ 0, NULL, LXC_SMI_OK },
		{ 127, NULL, LXC_SMI_NOT_INSTALLED },
		{ -1, "Driver/library version mismatch", LXC_SMI_MISMATCH },
		{ -1, "couldn't find libnvidia-ml.so", LXC_SMI_NO_LIBRARY },
		{ -1, "couldn't communicate with the NVIDIA driver", LXC_SMI_NO_DRIVER },
		{ -1, "Unknown Error", LXC_SMI_CGROUP },
		{ -1, "No devices were found", LXC_SMI_NO_DEVICES },
		{ -1, "Insufficient Permissions", LXC_SMI_PERMISSION },
		{ 4, NULL, LXC_SMI_PERMISSION },
		{ 6, NULL, LXC_SMI_NO_DEVICES },
		{ 9, NULL, LXC_SMI_NO_DRIVER },
		{ 12, NULL, LXC_SMI_NO_LIBRARY },
		{ 15, NULL, LXC_SMI_GPU_LOST },
		{ 16, NULL, LXC_SMI_GPU_LOST },
		{ 17, NULL, LXC_SMI_CGROUP },
		{ 18, NULL, LXC_SMI_MISMATCH },
		{ 255, NULL, LXC_SMI_CGROUP },
	};
	_cleanup_free_ char *text = span_dup(out);

	if (timed_out)
		return LXC_SMI_HANGS;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool status_fits = rows[i].status == status || (rows[i].status == -1 && status != 0);

		if (status_fits && (!rows[i].text || (text && strstr(text, rows[i].text))))
			return rows[i].verdict;
	}
	return LXC_SMI_OTHER;
}

int lxc_smi_parse(struct span out, char **ret_version, size_t *ret_lines)
{
	_cleanup_free_ char *version = NULL;
	struct span line;
	size_t n = 0;

	while (span_line(&out, &line)) {
		_cleanup_free_ char *one = NULL;

		line = span_trim(line);
		if (line.len == 0)
			continue;
		one = span_dup(line);
		if (!one)
			return -ENOMEM;
		if (!lxc_version_is_valid(one) || (version && strcmp(one, version) != 0))
			return -EINVAL;
		if (!version)
			version = TAKE_PTR(one);
		n++;
	}
	if (!version)
		return -EINVAL;
	*ret_version = TAKE_PTR(version);
	*ret_lines = n;
	return 0;
}

int lxc_smi_parse_plain(struct span out, char **ret_version)
{
	static const char *const marks[] = { "Driver Version:", "DRIVER version" };
	_cleanup_free_ char *text = span_dup(out);

	for (size_t i = 0; text && i < ARRAY_LEN(marks); i++) {
		const char *at = strstr(text, marks[i]);
		_cleanup_free_ char *version = NULL;
		struct span rest, word;

		if (!at)
			continue;
		at += strlen(marks[i]);
		at += strspn(at, " \t:");
		rest = SPAN(at);
		if (!span_word(&rest, &word))
			continue;
		version = span_dup(word);
		if (version && lxc_version_is_valid(version)) {
			*ret_version = TAKE_PTR(version);
			return 0;
		}
	}
	return text ? -ENOENT : -ENOMEM;
}

/* -- all together -- */

static int report(json_t *problems, const char *level, int code, char *text)
{
	int r;

	if (!text)
		return -ENOMEM;
	r = json_array_append_new(
	    problems, json_pack("{s:s, s:s, s:s}", "level", level, "slug", err_slug(code), "problem", text));
	free(text);
	return r < 0 ? -ENOMEM : 1;
}

static int compare(const struct lxc_check *c, const char *level, const char *user, json_t *problems)
{
	int n = 0, r = 0;

	if (c->want && strcmp(user, c->want) != 0)
		r = report(problems, level, ERR_LXC_MISMATCH,
			   str_printf("the container has %s, wanted is %s (the host has loaded %s)", user,
				      c->want, c->host ? c->host : "none"));
	n += r > 0;
	if (r >= 0 && c->host && strcmp(user, c->host) != 0)
		r = report(problems, level, ERR_LXC_MISMATCH,
			   str_printf("the container has %s, the host has loaded %s (wanted is %s)", user,
				      c->host, c->want ? c->want : "the host's"));
	n += r > 0 && !(c->want && c->host && strcmp(c->want, c->host) == 0 && n);
	return r < 0 ? r : n;
}

static int run_static(const struct lxc_check *c, json_t *problems, char **ret_user, struct err *e)
{
	_cleanup_(lxc_static_done) struct lxc_static s = { 0 };
	_cleanup_close_ int root = lxc_place_open(c->place);
	int n = 0, r;

	if (root < 0)
		return 0; /* a stopped container on a volume of its own: nothing to see, nothing to say */
	r = lxc_static_check(root, c->state == LXC_RUNNING ? -EBADF : c->live_fd, c->machine, &s, e);
	if (r < 0)
		return r;
	if (s.problem)
		n = report(problems, "static", ERR_LXC_DRIVER, strdup(s.problem));
	if (n >= 0 && s.version) {
		r = compare(c, "static", s.version, problems);
		n = r < 0 ? r : n + r;
	}
	if (ret_user)
		*ret_user = TAKE_PTR(s.version);
	return n < 0 ? err_oom(e) : n;
}

static int run_device(const struct lxc_check *c, json_t *problems, struct err *e)
{
	_cleanup_json_ json_t *bad = NULL;
	const json_t *o;
	size_t i;
	int n = lxc_device_check(c->place, c->nodes, &bad, e);

	if (n < 0)
		return n;
	json_array_foreach (bad, i, o) {
		char *text =
		    str_printf("/%s: %s (opened as %s user)", json_string_value(json_object_get(o, "path")),
			       json_string_value(json_object_get(o, "text")),
			       json_string_value(json_object_get(o, "user")));

		if (report(problems, "device", ERR_LXC_DEVICE, text) < 0)
			return err_oom(e);
	}
	return n;
}

static int smi_once(const struct lxc_check *c, struct lxc_exec *x, bool *ret_timed_out, struct err *e)
{
	static char *const argv[] = { (char *)"nvidia-smi", (char *)"--query-gpu=driver_version",
				      (char *)"--format=csv,noheader", NULL };
	_cleanup_(err_done) struct err own = ERR_INIT;
	int r;

	x->argv = argv;
	x->timeout_s = c->backend->set->smi_timeout_s;
	r = lxc_exec_noted(c->backend, c->id, x, &own);
	*ret_timed_out = r == -ERR_TIMEOUT;
	if (r < 0 && r != -ERR_TIMEOUT) {
		err_move(e, &own);
		return r;
	}
	return 0;
}

static int smi_answer(const struct lxc_check *c, const struct lxc_exec *x, json_t *problems)
{
	_cleanup_free_ char *version = NULL;
	struct span out = { x->out, x->out_len };
	size_t lines = c->n_gpus;
	int r = lxc_smi_parse(out, &version, &lines), n;

	if (r < 0)
		r = lxc_smi_parse_plain(out, &version);
	if (r < 0)
		return r == -ENOMEM ? r
				    : report(problems, "live", ERR_LXC_DRIVER,
					     strdup("nvidia-smi answers what is no driver version"));
	n = compare(c, "live", version, problems);
	if (n < 0 || lines == c->n_gpus || !c->n_gpus)
		return n;
	r = report(problems, "live", ERR_LXC_DEVICE,
		   str_printf("nvidia-smi sees %zu GPU(s), %zu are assigned", lines, c->n_gpus));
	return r < 0 ? r : n + r;
}

/* A container that has just started gets a second and third chance: the driver may still be waking up. */
static int run_live(const struct lxc_check *c, json_t *problems, struct err *e)
{
	const struct timespec pause = { .tv_sec = c->backend->set->pause_s };
	enum lxc_smi_verdict v = LXC_SMI_OTHER;
	int status = 0, r = 0;

	for (unsigned i = 1; i <= c->backend->set->attempts; i++) {
		_cleanup_(lxc_exec_done) struct lxc_exec x = LXC_EXEC_INIT("asking nvidia-smi");
		bool timed_out;

		r = smi_once(c, &x, &timed_out, e);
		if (r < 0)
			return r;
		v = lxc_smi_verdict_of(x.status, (struct span){ x.out ? x.out : "", x.out_len }, timed_out);
		status = x.status;
		if (v == LXC_SMI_OK) {
			r = smi_answer(c, &x, problems);
			return r < 0 ? err_oom(e) : r;
		}
		/* Only what a moment may change is asked again. */
		if (v != LXC_SMI_NO_DRIVER && v != LXC_SMI_OTHER)
			break;
		if (interrupt_pending() || i == c->backend->set->attempts)
			break;
		(void)nanosleep(&pause, NULL);
	}
	r = report(problems, "live", v == LXC_SMI_MISMATCH ? ERR_LXC_MISMATCH : ERR_LXC_DRIVER,
		   str_printf("nvidia-smi (status %d): %s", status, lxc_smi_verdict_text(v)));
	return r < 0 ? err_oom(e) : r;
}

int lxc_check_run(const struct lxc_check *c, json_t *problems, char **ret_user, struct err *e)
{
	int n = run_static(c, problems, ret_user, e), r = 0;

	if (n < 0 || c->level == LXC_LEVEL_STATIC || c->state != LXC_RUNNING)
		return n;
	if (!c->allow_missing_devices)
		r = run_device(c, problems, e);
	n += r > 0 ? r : 0;
	/* Without its nodes nvidia-smi can only say the same less clearly. */
	if (r == 0 && c->level >= LXC_LEVEL_LIVE && c->host)
		r = run_live(c, problems, e);
	else
		return r < 0 ? r : n;
	return r < 0 ? r : n + r;
}
