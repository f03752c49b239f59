/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-host.h"

#include "fd.h"
#include "kmods.h"
#include "libdir.h"
#include "log.h"
#include "path.h"
#include "spawn.h"
#include "strbuf.h"
#include "err-lxc.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define ATTR_MAX	 ((size_t)1 << 20)
#define MODPROBE_TIMEOUT 30
#define NVIDIA_MAJOR	 195
#define MIG_DIR		 "driver/nvidia/capabilities/mig"

void lxc_host_done(struct lxc_host *h)
{
	for (size_t i = 0; i < h->n_gpus; i++) {
		free(h->gpus[i].uuid);
		free(h->gpus[i].model);
	}
	free(h->gpus);
	free(h->version);
	free(h->user_version);
	free(h->machine);
	*h = (struct lxc_host){ 0 };
}

/* -- the kernel's texts -- */

static bool version_word(struct span word, char **ret)
{
	_cleanup_free_ char *s = span_dup(word);

	if (!s || !strchr(s, '.') || !version_is_valid(s))
		return false;
	*ret = TAKE_PTR(s);
	return true;
}

int lxc_nvrm_parse(struct span text, char **ret_version, bool *ret_is_open)
{
	_cleanup_free_ char *line_text = NULL;
	struct span line, rest, word;

	if (!span_line(&text, &line) || !span_starts(line, "NVRM version:"))
		return -EINVAL;
	line_text = span_dup(line);
	if (!line_text)
		return -ENOMEM;
	rest = line;
	while (span_word(&rest, &word))
		if (version_word(word, ret_version)) {
			*ret_is_open = strstr(line_text, "Open Kernel Module") != NULL;
			return 0;
		}
	return -EINVAL;
}

int lxc_gpu_parse(struct span text, struct lxc_gpu *ret)
{
	struct lxc_gpu g = { .minor = UINT32_MAX };
	struct span line;
	uint64_t n;

	while (span_line(&text, &line)) {
		const char *colon = memchr(line.p, ':', line.len);
		struct span key, value;

		if (!colon)
			continue;
		key = span_trim((struct span){ line.p, (size_t)(colon - line.p) });
		value = span_trim((struct span){ colon + 1, (size_t)(line.p + line.len - colon - 1) });
		if (span_eq(key, "Device Minor") && parse_u64(value, 255, &n) == 0)
			g.minor = (unsigned)n;
		else if (span_eq(key, "Bus Location") && value.len < sizeof(g.pci))
			snprintf(g.pci, sizeof(g.pci), SPAN_FMT, SPAN_ARG(value));
		else if (span_eq(key, "GPU UUID") && !g.uuid)
			g.uuid = span_dup(value);
		else if (span_eq(key, "Model") && !g.model)
			g.model = span_dup(value);
	}
	if (g.minor == UINT32_MAX || !*g.pci) {
		free(g.uuid);
		free(g.model);
		return -EINVAL;
	}
	*ret = g;
	return 0;
}

int lxc_devices_major(struct span text, const char *name, unsigned *ret)
{
	struct span line, number, word;
	bool in_chars = false;
	uint64_t n;

	while (span_line(&text, &line)) {
		if (span_starts(line, "Character devices:"))
			in_chars = true;
		else if (span_starts(line, "Block devices:"))
			in_chars = false;
		else if (in_chars && span_word(&line, &number) && span_word(&line, &word) &&
			 span_eq(word, name) && parse_u64(number, 4095, &n) == 0) {
			*ret = (unsigned)n;
			return 0;
		}
	}
	return -ENOENT;
}

/* -- facts -- */

static int read_proc(const struct host *h, const char *path, char **ret, size_t *ret_len)
{
	_cleanup_close_ int fd = -EBADF;

	if (h->proc_fd < 0)
		return -ENOENT;
	fd = path_open_at(h->proc_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, PATH_IN_ROOT);
	return fd < 0 ? fd : read_fd(fd, ATTR_MAX, ret, ret_len);
}

static int version_read(const struct host *h, struct lxc_host *ret, struct err *e)
{
	_cleanup_free_ char *attr = NULL, *text = NULL, *version = NULL;
	size_t len;
	int r;

	if (kmod_attr(h, "nvidia", "version", &attr) == 0 && version_is_valid(attr))
		ret->version = TAKE_PTR(attr);
	r = read_proc(h, "driver/nvidia/version", &text, &len);
	if (r == -ENOMEM)
		return err_oom(e);
	if (r < 0 || lxc_nvrm_parse((struct span){ text, len }, &version, &ret->is_open) < 0)
		return 0;
	if (!ret->version)
		ret->version = TAKE_PTR(version);
	return 0;
}

static int by_minor(const void *a, const void *b)
{
	const struct lxc_gpu *x = a, *y = b;

	return x->minor < y->minor ? -1 : x->minor > y->minor;
}

static int gpu_add(const struct host *h, const char *name, struct lxc_host *ret)
{
	_cleanup_free_ char *path = str_printf("driver/nvidia/gpus/%s/information", name), *text = NULL;
	struct lxc_gpu *grown, one;
	size_t len;

	if (!path)
		return -ENOMEM;
	/* A GPU may vanish while we look, and one that is lost says nothing. */
	if (read_proc(h, path, &text, &len) < 0 || lxc_gpu_parse((struct span){ text, len }, &one) < 0)
		return 0;
	grown = reallocarray(ret->gpus, ret->n_gpus + 1, sizeof(*grown));
	if (!grown) {
		free(one.uuid);
		free(one.model);
		return -ENOMEM;
	}
	ret->gpus = grown;
	ret->gpus[ret->n_gpus++] = one;
	return 0;
}

int lxc_gpus_read(const struct host *h, struct lxc_host *ret)
{
	_cleanup_strv_ char **names = NULL;
	int r = h->proc_fd < 0 ? 0 : path_names(h->proc_fd, "driver/nvidia/gpus", &names);

	if (r < 0 && r != -ENOMEM)
		return 0;
	for (char **p = names; r >= 0 && p && *p; p++)
		r = gpu_add(h, *p, ret);
	if (r >= 0 && ret->n_gpus)
		qsort(ret->gpus, ret->n_gpus, sizeof(*ret->gpus), by_minor);
	return r;
}

/* The version in the name libnvidia-ml.so.1 ends at. */
static char *library_version(const struct host *h, const char *dir)
{
	_cleanup_free_ char *path = str_printf("%s/libnvidia-ml.so.1", dir);
	_cleanup_close_ int fd = path ? path_open_at(h->root_fd, path, O_PATH, 0, PATH_IN_ROOT) : -ENOMEM;
	_cleanup_free_ char *target = NULL;
	const char *so;

	if (fd < 0 || fd_real_path(fd, &target) < 0)
		return NULL;
	so = strstr(target, "libnvidia-ml.so.");
	so = so ? so + strlen("libnvidia-ml.so.") : "";
	return strchr(so, '.') && version_is_valid(so) ? strdup(so) : NULL;
}

static int user_version_read(const struct host *h, struct lxc_host *ret, struct err *e)
{
	_cleanup_strv_ char **dirs = NULL;
	int r = libdir_loader_dirs(h->root_fd, ret->machine, 64, &dirs);

	if (r == -ENOMEM)
		return err_oom(e);
	for (char **p = dirs; p && *p && !ret->user_version; p++)
		ret->user_version = library_version(h, *p);
	return 0;
}

/* The control files at the top of cgroup2 tell its mount from a directory that holds others. */
static bool is_unified(const struct host *h)
{
	return h->sys_fd >= 0 && path_exists(h->sys_fd, "fs/cgroup/cgroup.controllers");
}

int lxc_host_read(const struct host *h, struct lxc_host *ret, struct err *e)
{
	_cleanup_(lxc_host_done) struct lxc_host new = { 0 };
	int r = host_machine(h, &new.machine);

	if (r == -ENOMEM)
		return err_oom(e);
	if (r < 0)
		return err_set(e, ERR_UNSUPPORTED, "cannot tell the machine of %s", h->root);
	r = version_read(h, &new, e);
	if (r >= 0)
		r = lxc_gpus_read(h, &new) < 0 ? err_oom(e) : 0;
	if (r >= 0)
		r = user_version_read(h, &new, e);
	if (r < 0)
		return r;
	new.unified = is_unified(h);
	*ret = new;
	new = (struct lxc_host){ 0 };
	return 0;
}

bool lxc_host_reboot_pending(const struct lxc_host *h)
{
	return h->version && h->user_version && strcmp(h->version, h->user_version) != 0;
}

/* -- version policy -- */

int lxc_policy_parse(const char *s, enum lxc_policy *ret)
{
	static const char *const names[] = { "strict", "follow-host", "config" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(s, names[i]) == 0) {
			*ret = (enum lxc_policy)i;
			return 0;
		}
	return -EINVAL;
}

static int choose_without_driver(const char *wanted, bool allow, struct lxc_version_choice *ret,
				 struct err *e)
{
	if (!allow || !wanted)
		return err_set(
		    e, ERR_LXC_NO_DRIVER,
		    "no NVIDIA driver is loaded on the host%s%s; a container's driver must be of the version "
		    "that is loaded",
		    wanted ? ", wanted is " : "", wanted ? wanted : "");
	*ret = (struct lxc_version_choice){ wanted, true };
	return 0;
}

int lxc_version_choose(const struct lxc_host *h, enum lxc_policy policy, const char *wanted,
		       bool allow_no_driver, struct lxc_version_choice *ret, struct err *e)
{
	bool differs;

	if (!h->version)
		return choose_without_driver(wanted, allow_no_driver, ret, e);
	differs = wanted && strcmp(wanted, h->version) != 0;
	if (lxc_host_reboot_pending(h)) {
		log_warn("the host waits for a reboot: driver %s is loaded, its libraries are %s already",
			 h->version, h->user_version);
		if (policy == LXC_POLICY_STRICT && differs && strcmp(wanted, h->user_version) == 0)
			return err_set(e, ERR_LXC_REBOOT,
				       "the host has loaded %s, its libraries and the wanted version are %s",
				       h->version, h->user_version);
	}
	if (!differs || policy == LXC_POLICY_FOLLOW_HOST) {
		if (differs)
			log_warn("the configuration names driver %s; following the host's %s", wanted,
				 h->version);
		*ret = (struct lxc_version_choice){ h->version, false };
		return 0;
	}
	if (policy == LXC_POLICY_CONFIG) {
		*ret = (struct lxc_version_choice){ wanted, true };
		return 0;
	}
	return err_set(e, ERR_LXC_HOST_VERSION,
		       "the host has loaded %s, the configuration wants %s, policy is strict", h->version,
		       wanted);
}

/* -- assignment -- */

static bool gpu_is(const struct lxc_gpu *g, struct span one)
{
	uint64_t minor;

	if (parse_u64(one, 255, &minor) == 0)
		return g->minor == minor;
	return (g->uuid && span_eq(one, g->uuid)) ||
	       (one.len == strlen(g->pci) && strncasecmp(one.p, g->pci, one.len) == 0);
}

static int gpu_unknown(const struct lxc_host *h, struct span one, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf have = STRBUF_INIT((size_t)64 << 10);

	for (size_t i = 0; i < h->n_gpus; i++)
		(void)strbuf_printf(&have, "%s%u (%s, %s)", i ? ", " : "", h->gpus[i].minor,
				    h->gpus[i].uuid ? h->gpus[i].uuid : "no UUID", h->gpus[i].pci);
	(void)err_set(e, ERR_LXC_GPU, "GPU " SPAN_FMT " is not on this host; there %s: %s", SPAN_ARG(one),
		      h->n_gpus == 1 ? "is" : "are", h->n_gpus ? strbuf_str(&have) : "none");
	return err_object(e, SPAN_FMT, SPAN_ARG(one));
}

static void minors_add(struct lxc_minors *m, unsigned minor)
{
	size_t at = 0;

	while (at < m->n && m->v[at] < minor)
		at++;
	if ((at < m->n && m->v[at] == minor) || m->n == ARRAY_LEN(m->v))
		return;
	memmove(&m->v[at + 1], &m->v[at], (m->n - at) * sizeof(m->v[0]));
	m->v[at] = minor;
	m->n++;
}

int lxc_assign(const struct lxc_host *h, const char *assignment, struct lxc_minors *ret, struct err *e)
{
	struct lxc_minors m = { .n = 0 };

	while (assignment && *assignment) {
		size_t n = strcspn(assignment, ","), i = 0;
		struct span one = { assignment, n };

		while (i < h->n_gpus && !gpu_is(&h->gpus[i], one))
			i++;
		if (i == h->n_gpus)
			return gpu_unknown(h, one, e);
		minors_add(&m, h->gpus[i].minor);
		assignment += n + (assignment[n] == ',');
		assignment += *assignment == ' ';
	}
	for (size_t i = 0; m.n == 0 && i < h->n_gpus; i++)
		m.all = true;
	for (size_t i = 0; m.all && i < h->n_gpus; i++)
		minors_add(&m, h->gpus[i].minor);
	if (m.n == 0)
		return err_set(e, ERR_LXC_GPU, "the driver knows no GPU on this host");
	m.all = m.n == h->n_gpus;
	*ret = m;
	return 0;
}

/* -- nodes -- */

struct node_list {
	const struct host *h;
	struct lxc_nodes *out;
	char *devices; /* text of proc/devices */
	size_t len;
	mode_t mode;
	struct err *e;
};

void lxc_nodes_done(struct lxc_nodes *n)
{
	free(n->v);
	free(n->own_dir);
	*n = (struct lxc_nodes){ 0 };
}

static unsigned major_of(const struct node_list *l, const char *name)
{
	unsigned major = 0;

	(void)lxc_devices_major((struct span){ l->devices, l->len }, name, &major);
	return major;
}

static void node_look(const struct host *h, struct lxc_node *n)
{
	_cleanup_close_ int fd = path_open_at(h->root_fd, n->path, O_PATH | O_NOFOLLOW, 0, PATH_IN_ROOT);
	struct stat st;

	n->exists = fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) &&
		    (n->major == 0 || (major(st.st_rdev) == n->major && minor(st.st_rdev) == n->minor));
	if (n->exists) {
		n->major = major(st.st_rdev);
		n->minor = minor(st.st_rdev);
		n->mode = st.st_mode & 07777;
	}
}

static int node_add(struct node_list *l, enum lxc_node_kind kind, const char *path, unsigned major,
		    unsigned minor, bool required)
{
	struct lxc_node *grown, *n;

	if (!required && major == 0)
		return 0;
	grown = reallocarray(l->out->v, l->out->n + 1, sizeof(*grown));
	if (!grown)
		return err_oom(l->e);
	l->out->v = grown;
	n = &grown[l->out->n++];
	*n = (struct lxc_node){
		.kind = kind, .major = major, .minor = minor, .required = required, .mode = l->mode
	};
	snprintf(n->path, sizeof(n->path), "%s", path);
	node_look(l->h, n);
	return 0;
}

static int by_node_minor(const void *a, const void *b)
{
	const struct lxc_node *x = a, *y = b;

	return x->minor < y->minor ? -1 : x->minor > y->minor;
}

/* Directories are listed in no order, and a list that only changed its order must not look like another one. */
static void nodes_sort(struct lxc_nodes *n, size_t from)
{
	if (n->n > from)
		qsort(n->v + from, n->n - from, sizeof(*n->v), by_node_minor);
}

static int gpus_add(struct node_list *l, const struct lxc_minors *gpus)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < gpus->n; i++) {
		char path[32];

		snprintf(path, sizeof(path), "dev/nvidia%u", gpus->v[i]);
		r = node_add(l, LXC_NODE_GPU, path, NVIDIA_MAJOR, gpus->v[i], true);
	}
	return r;
}

/* "DeviceFileMinor: 1", "DeviceFileMode: 256" in a capability's file. */
static int cap_add(struct node_list *l, const char *name, unsigned major)
{
	_cleanup_free_ char *file = str_printf(MIG_DIR "/%s", name), *text = NULL;
	struct span rest, line;
	uint64_t minor = UINT64_MAX, mode = 0400;
	char path[64];
	size_t len;
	int r;

	if (!file)
		return err_oom(l->e);
	if (read_proc(l->h, file, &text, &len) < 0)
		return 0;
	rest = (struct span){ text, len };
	while (span_line(&rest, &line)) {
		struct span key, value;

		if (!span_word(&line, &key) || !span_word(&line, &value))
			continue;
		if (span_eq(key, "DeviceFileMinor:"))
			(void)parse_u64(value, 1U << 20, &minor);
		else if (span_eq(key, "DeviceFileMode:"))
			(void)parse_u64(value, 07777, &mode);
	}
	if (minor == UINT64_MAX)
		return 0;
	snprintf(path, sizeof(path), "dev/nvidia-caps/nvidia-cap%u", (unsigned)minor);
	r = node_add(l, LXC_NODE_CAP, path, major, (unsigned)minor, false);
	if (r >= 0 && major) {
		struct lxc_node *n = &l->out->v[l->out->n - 1];

		if (!n->exists)
			n->mode = (mode_t)mode;
		snprintf(n->capability, sizeof(n->capability), "%s", file);
	}
	return r;
}

static int dri_add(struct node_list *l, const struct lxc_gpu *gpu)
{
	_cleanup_free_ char *dir = str_printf("bus/pci/devices/%s/drm", gpu->pci);
	_cleanup_strv_ char **names = NULL;
	size_t from = l->out->n;
	int r = 0;

	if (!dir || (l->h->sys_fd >= 0 && path_names(l->h->sys_fd, dir, &names) == -ENOMEM))
		return err_oom(l->e);
	for (char **p = names; r >= 0 && p && *p; p++) {
		const char *digits = strncmp(*p, "renderD", 7) == 0 ? *p + 7
				     : strncmp(*p, "card", 4) == 0  ? *p + 4
								    : "";
		char path[64];
		uint64_t k;

		if (parse_u64(SPAN(digits), 1U << 19, &k) < 0)
			continue;
		snprintf(path, sizeof(path), "dev/dri/%.32s", *p);
		r = node_add(l, LXC_NODE_DRI, path, 226, (unsigned)k, false);
	}
	nodes_sort(l->out, from);
	return r;
}

/* dev/nvidia-nvswitch<N>, channel<N>: as many as the host has. */
static int numbered_add(struct node_list *l, enum lxc_node_kind kind, const char *dir, const char *head,
			const char *name)
{
	_cleanup_strv_ char **names = NULL;
	unsigned major = major_of(l, name);
	size_t n = strlen(head), from = l->out->n;
	int r = path_names(l->h->root_fd, dir, &names) == -ENOMEM ? err_oom(l->e) : 0;

	for (char **p = names; r >= 0 && p && *p; p++) {
		char path[96];
		uint64_t k;

		if (strncmp(*p, head, n) != 0 || parse_u64(SPAN(*p + n), 65535, &k) < 0)
			continue;
		snprintf(path, sizeof(path), "%.48s/%s%u", dir, head, (unsigned)k);
		r = node_add(l, kind, path, major, (unsigned)k, false);
	}
	nodes_sort(l->out, from);
	return r;
}

/* Who may use a channel is settled where it is made; a machine without one yet gets the first. */
static int imex_add(struct node_list *l)
{
	size_t before = l->out->n;
	int r = numbered_add(l, LXC_NODE_IMEX, "dev/nvidia-caps-imex-channels", "channel",
			     "nvidia-caps-imex-channels");

	if (r < 0 || l->out->n > before)
		return r;
	return node_add(l, LXC_NODE_IMEX, "dev/nvidia-caps-imex-channels/channel0",
			major_of(l, "nvidia-caps-imex-channels"), 0, false);
}

static int nvswitch_add(struct node_list *l)
{
	int r = node_add(l, LXC_NODE_NVSWITCH, "dev/nvidia-nvswitchctl", major_of(l, "nvidia-nvswitch"), 255,
			 false);

	if (r >= 0)
		r = numbered_add(l, LXC_NODE_NVSWITCH, "dev", "nvidia-nvswitch", "nvidia-nvswitch");
	return r < 0 ? r
		     : node_add(l, LXC_NODE_NVLINK, "dev/nvidia-nvlink", major_of(l, "nvidia-nvlink"), 0,
				false);
}

static int graphics_add(struct node_list *l, const struct lxc_host *facts, const struct lxc_minors *gpus)
{
	int r = node_add(l, LXC_NODE_MODESET, "dev/nvidia-modeset", NVIDIA_MAJOR, 254, false);

	for (size_t i = 0; r >= 0 && i < facts->n_gpus; i++)
		for (size_t k = 0; r >= 0 && k < gpus->n; k++)
			if (gpus->v[k] == facts->gpus[i].minor)
				r = dri_add(l, &facts->gpus[i]);
	return r;
}

/* "DeviceFileMode: 438" of the loaded module; nodes made by hand follow it. */
static mode_t params_mode(const struct host *h)
{
	_cleanup_free_ char *text = NULL;
	struct span rest, line, key, value;
	uint64_t mode;
	size_t len;

	if (read_proc(h, "driver/nvidia/params", &text, &len) < 0)
		return 0666;
	rest = (struct span){ text, len };
	while (span_line(&rest, &line))
		if (span_word(&line, &key) && span_eq(key, "DeviceFileMode:") && span_word(&line, &value) &&
		    parse_u64(value, 07777, &mode) == 0)
			return (mode_t)mode;
	return 0666;
}

int lxc_nodes_list(const struct host *h, const struct lxc_host *facts, const struct lxc_minors *gpus,
		   const struct lxc_node_wants *wants, struct lxc_nodes *ret, struct err *e)
{
	_cleanup_(lxc_nodes_done) struct lxc_nodes new = { 0 };
	_cleanup_free_ char *devices = NULL;
	struct node_list l = { h, &new, NULL, 0, params_mode(h), e };
	unsigned uvm;
	int r;

	if (read_proc(h, "devices", &devices, &l.len) < 0)
		l.len = 0;
	l.devices = devices;
	uvm = major_of(&l, "nvidia-uvm");
	r = gpus_add(&l, gpus);
	if (r >= 0)
		r = node_add(&l, LXC_NODE_CTL, "dev/nvidiactl", NVIDIA_MAJOR, 255, true);
	if (r >= 0)
		r = node_add(&l, LXC_NODE_UVM, "dev/nvidia-uvm", uvm, 0, true);
	if (r >= 0)
		r = node_add(&l, LXC_NODE_UVM_TOOLS, "dev/nvidia-uvm-tools", uvm, 1, false);
	if (r >= 0 && wants->graphics)
		r = graphics_add(&l, facts, gpus);
	if (r >= 0 && wants->mig)
		r = cap_add(&l, "config", major_of(&l, "nvidia-caps"));
	if (r >= 0 && wants->mig)
		r = cap_add(&l, "monitor", major_of(&l, "nvidia-caps"));
	if (r >= 0 && wants->imex)
		r = imex_add(&l);
	if (r >= 0 && wants->nvswitch)
		r = nvswitch_add(&l);
	if (r < 0)
		return r;
	*ret = new;
	new = (struct lxc_nodes){ 0 };
	return 0;
}

/* Arguments of nvidia-modprobe by kind of node; it loads the module as well. */
static void modprobe_args(struct spawn *s, const struct lxc_node *n)
{
	(void)spawn_argv(s, "nvidia-modprobe", NULL);
	switch (n->kind) {
	case LXC_NODE_UVM:
	case LXC_NODE_UVM_TOOLS:
		(void)spawn_argv(s, "-u", "-c", "0", NULL);
		break;
	case LXC_NODE_MODESET:
		(void)spawn_argv(s, "-m", NULL);
		break;
	case LXC_NODE_CAP:
		(void)spawn_argv(s, "-f", NULL);
		(void)spawn_arg(s, "/proc/%s", n->capability);
		break;
	case LXC_NODE_GPU:
		(void)spawn_argv(s, "-c", NULL);
		(void)spawn_arg(s, "%u", n->minor);
		break;
	default:
		break;
	}
}

static void node_modprobe(const struct host *h, struct lxc_node *n)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("making a device node");
	_cleanup_(err_done) struct err own = ERR_INIT;
	_cleanup_free_ char *program = NULL;

	if (!h->is_running || n->kind > LXC_NODE_CAP || spawn_find("nvidia-modprobe", &program) < 0)
		return;
	modprobe_args(&s, n);
	s.timeout_s = MODPROBE_TIMEOUT;
	if (spawn_check(&s, &own) < 0)
		log_warn("%s", own.reason ? own.reason : "nvidia-modprobe failed");
}

static unsigned major_now(const struct host *h, const struct lxc_node *n)
{
	static const char *const names[] = {
		[LXC_NODE_UVM] = "nvidia-uvm",		 [LXC_NODE_UVM_TOOLS] = "nvidia-uvm",
		[LXC_NODE_CAP] = "nvidia-caps",		 [LXC_NODE_IMEX] = "nvidia-caps-imex-channels",
		[LXC_NODE_NVSWITCH] = "nvidia-nvswitch", [LXC_NODE_NVLINK] = "nvidia-nvlink",
	};
	_cleanup_free_ char *text = NULL;
	unsigned major = n->major;
	size_t len;

	if (n->kind < ARRAY_LEN(names) && names[n->kind] && read_proc(h, "devices", &text, &len) >= 0)
		(void)lxc_devices_major((struct span){ text, len }, names[n->kind], &major);
	return major;
}

static int node_mknod(const struct host *h, struct lxc_node *n)
{
	const char *name;
	_cleanup_close_ int parent = path_open_parent(h->root_fd, n->path, true, PATH_IN_ROOT, &name);
	struct stat st;

	if (parent < 0)
		return parent;
	/* A node with an old number, or a file somebody left: a device directory is the kernel's, nothing is lost. */
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode))
		(void)unlinkat(parent, name, 0);
	if (mknodat(parent, name, S_IFCHR | n->mode, makedev(n->major, n->minor)) < 0)
		return -errno;
	return fchmodat(parent, name, n->mode, 0) < 0 ? -errno : 0;
}

static int node_make(const struct host *h, struct lxc_node *n, struct err *e)
{
	int r = -ENODEV;

	node_modprobe(h, n);
	n->major = major_now(h, n);
	node_look(h, n);
	if (n->exists)
		return 0;
	if (n->major)
		r = node_mknod(h, n);
	node_look(h, n);
	if (n->exists)
		return 0;
	if (!n->required) {
		log_debug("no /%s on this host", n->path);
		return 0;
	}
	(void)err_set(e, ERR_LXC_NODE, "/%s cannot be made: %s", n->path,
		      n->major ? strerror(-r)
			       : "its kernel module is not loaded (proc/devices does not name it)");
	return err_object(e, "/%s", n->path);
}

int lxc_nodes_make(const struct host *h, struct lxc_nodes *n, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < n->n; i++)
		if (!n->v[i].exists)
			r = node_make(h, &n->v[i], e);
	return r;
}

char *lxc_node_source(const struct lxc_nodes *n, const struct lxc_node *one)
{
	/* "dev/nvidia0" → "<own_dir>/nvidia0" */
	return n->own_dir ? str_printf("%s%s", n->own_dir, one->path + strlen("dev"))
			  : str_printf("/%s", one->path);
}

json_t *lxc_nodes_json(const struct lxc_nodes *n)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < n->n; i++) {
		const struct lxc_node *one = &n->v[i];
		_cleanup_free_ char *source = lxc_node_source(n, one);
		json_t *o = json_pack("{s:s, s:i, s:i, s:b, s:b, s:s?}", "path", one->path, "major",
				      (int)one->major, "minor", (int)one->minor, "required",
				      (int)one->required, "exists", (int)one->exists, "source", source);

		if (!source || json_array_append_new(list, o) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}
