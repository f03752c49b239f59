/* SPDX-License-Identifier: Apache-2.0 */
#include "capture.h"

#include "fd.h"
#include "path.h"
#include "publish.h"
#include "recorded.h"
#include "strbuf.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <string.h>

#define FILE_MAX      ((size_t)64 << 20)
#define COMMAND_MAX   ((size_t)4 << 20)
#define ASK_TIMEOUT_S 60

enum how {
	TEXT, /* secrets blanked */
	PLAIN, /* as it is */
	EMPTY, /* only that it is there */
	LINK, /* a symbolic link */
	DIRECTORY,
	PACKAGES, /* of dpkg's database names, states and versions */
	DEVICES, /* of a guest's configuration the lines that name devices */
};

/* Each component may be a pattern. */
static const struct item {
	const char *path;
	enum how how;
} items[] = {
	{ "etc/os-release", TEXT },
	{ "etc/apt/sources.list", TEXT },
	{ "etc/apt/sources.list.d/*", TEXT },
	{ "etc/apt/trusted.gpg.d/*.gpg", EMPTY },
	{ "usr/share/keyrings/*.gpg", EMPTY },
	{ "etc/default/grub", TEXT },
	{ "etc/default/grub.d/*.cfg", TEXT },
	{ "etc/kernel/cmdline", TEXT },
	{ "etc/kernel/proxmox-boot-uuids", PLAIN },
	{ "etc/kernel/proxmox-boot-pin", PLAIN },
	{ "etc/modules", TEXT },
	{ "etc/modules-load.d/*.conf", TEXT },
	{ "etc/modprobe.d/*.conf", TEXT },
	{ "etc/udev/rules.d/*.rules", TEXT },
	{ "etc/dkms/framework.conf.d/*.conf", TEXT },
	{ "etc/pve/qemu-server/*.conf", DEVICES },
	{ "etc/vgpu_unlock/*.toml", PLAIN },
	{ "etc/systemd/system/*/nvidia-vgpu*", EMPTY },
	{ "etc/systemd/system/*/*nv*sriov*", EMPTY },
	{ "etc/systemd/system/nvdriver-sriov.service", PLAIN },
	{ "usr/lib/systemd/system/nvidia-vgpu*", EMPTY },
	{ "usr/lib/systemd/system/pve-nvidia-sriov@.service", EMPTY },
	{ "usr/lib/nvdriver/libvgpu_unlock_rs.so", EMPTY },
	{ "usr/bin/nvidia-uninstall", EMPTY },
	{ "etc/nvidia/gridd.conf", TEXT },
	{ "etc/nvidia/gridd.conf.template", EMPTY },
	{ "etc/nvidia/ClientConfigToken/*.tok", EMPTY },
	{ "root/fastapi-dls/docker-compose.yml", TEXT },
	{ "opt/docker/fastapi-dls/cert/instance.private.pem", EMPTY },
	{ "opt/docker/fastapi-dls/cert/instance.public.pem", EMPTY },
	{ "opt/docker/fastapi-dls/cert/webserver.key", EMPTY },
	{ "opt/docker/fastapi-dls/cert/webserver.crt", PLAIN },
	{ "var/lib/dpkg/status", PACKAGES },
	{ "var/lib/dkms/mok.key", EMPTY },
	{ "var/lib/dkms/mok.pub", PLAIN },
	{ "boot/vmlinuz-*", EMPTY },
	{ "lib/modules/*/modules.dep", PLAIN },
	{ "lib/modules/*/modules.builtin", PLAIN },
	{ "lib/modules/*/updates/dkms/nvidia.ko*", EMPTY },
	{ "proc/cpuinfo", PLAIN },
	{ "proc/cmdline", TEXT },
	{ "proc/mounts", TEXT },
	{ "proc/modules", PLAIN },
	{ "proc/version", PLAIN },
	{ "proc/sys/kernel/osrelease", PLAIN },
	{ "proc/driver/nvidia/version", PLAIN },
	{ "sys/bus/pci/devices/*/vendor", PLAIN },
	{ "sys/bus/pci/devices/*/device", PLAIN },
	{ "sys/bus/pci/devices/*/class", PLAIN },
	{ "sys/bus/pci/devices/*/revision", PLAIN },
	{ "sys/bus/pci/devices/*/subsystem_vendor", PLAIN },
	{ "sys/bus/pci/devices/*/subsystem_device", PLAIN },
	{ "sys/bus/pci/devices/*/sriov_totalvfs", PLAIN },
	{ "sys/bus/pci/devices/*/sriov_numvfs", PLAIN },
	{ "sys/bus/pci/devices/*/driver", LINK },
	{ "sys/bus/pci/devices/*/iommu_group", LINK },
	{ "sys/bus/pci/devices/*/physfn", LINK },
	{ "sys/bus/pci/devices/*/nvidia/creatable_vgpu_types", PLAIN },
	{ "sys/kernel/iommu_groups/*", DIRECTORY },
	{ "sys/kernel/security/lockdown", PLAIN },
	{ "sys/class/iommu/*", DIRECTORY },
	{ "sys/class/mdev_bus/*/mdev_supported_types/*/name", PLAIN },
	{ "sys/class/mdev_bus/*/mdev_supported_types/*/available_instances", PLAIN },
	{ "sys/class/mdev_bus/*/mdev_supported_types/*/description", PLAIN },
	{ "sys/bus/pci/devices/*/nvidia/current_vgpu_type", PLAIN },
	{ "sys/bus/mdev/devices/*", DIRECTORY },
	{ "sys/firmware/efi", DIRECTORY },
	{ "sys/firmware/efi/efivars/SecureBoot-*", PLAIN },
	{ "sys/firmware/efi/efivars/SetupMode-*", PLAIN },
	{ "sys/module/nvidia/version", PLAIN },
	{ "sys/module/module/parameters/sig_enforce", PLAIN },
};

/* Asked as they are; `keep`: only lines that hold this, or one of these with "|" between them. */
static const struct question {
	const char *argv[8];
	const char *keep;
} questions[] = {
	{ { "pveversion" }, NULL },
	{ { "pvesubscription", "get" }, "status:" },
	{ { "apt-cache", "pkgnames", "proxmox-kernel-" }, NULL },
	{ { "apt-cache", "pkgnames", "pve-kernel-" }, NULL },
	{ { "apt-cache", "policy", "pve-nvidia-vgpu-helper" }, "Candidate:" },
	{ { "mokutil", "--test-key", "/var/lib/dkms/mok.pub" }, NULL },
	{ { "mokutil", "--list-enrolled" }, "ingerprint" },
	{ { "zpool", "get", "-H", "-o", "property,value", "all", "rpool" }, "feature@" },
	{ { "systemctl", "show", "-p", "ActiveState,Result", "nvidia-vgpud.service" }, NULL },
	{ { "systemctl", "show", "-p", "ActiveState,Result", "nvidia-vgpu-mgr.service" }, NULL },
	{ { "dkms", "status" }, NULL },
	{ { "docker", "compose", "version" }, "ersion" },
	{ { "docker", "inspect", "--format", "{{.State.Status}}", "wvthoog-fastapi-dls" }, NULL },
	{ { "nvidia-smi", "-q" }, "icense" },
	/* Not the names of virtual machines. */
	{ { "nvidia-smi", "vgpu" }, "NVIDIA-SMI|ommunicate|upported devices" },
	{ { "nvidia-smi", "vgpu", "-q" }, "Guest Driver Version" },
	{ { "nvidia-smi", "--query-gpu=pci.bus_id,memory.total", "--format=csv,noheader,nounits" }, NULL },
	{ { "modinfo", "-F", "signer", "nvidia" }, NULL },
};

struct capture {
	struct engine *en;
	int out_fd; /* owned; the directory */
	unsigned files;
	struct err *e;
};

/* -- blanking -- */

/* Does the name before the "=" speak of a secret? */
static bool is_secret_word(struct span w)
{
	static const char *const keys[] = { "pass", "token", "secret", "key", "auth", "credential" };
	const char *eq = memchr(w.p, '=', w.len);
	_cleanup_free_ char *name = eq ? strndup(w.p, (size_t)(eq - w.p)) : NULL;

	for (size_t i = 0; name && i < ARRAY_LEN(keys); i++)
		if (strcasestr(name, keys[i]))
			return true;
	return eq && !name;
}

/* Three parts of base64url: a signed token, such as a licence's. */
static bool is_token(struct span w)
{
	size_t dots = 0;

	for (size_t i = 0; i < w.len; i++)
		dots += w.p[i] == '.';
	return w.len > 20 && dots == 2 && memcmp(w.p, "eyJ", 3) == 0;
}

static void blank_setting(struct strbuf *out, struct span w)
{
	const char *eq = memchr(w.p, '=', w.len);

	(void)strbuf_append(out, w.p, (size_t)(eq + 1 - w.p));
	(void)strbuf_puts(out, "***");
}

/* Parameters of an address: "?token=x&name=y". */
static void blank_parameters(struct strbuf *out, struct span w)
{
	size_t i = 0;

	while (i < w.len) {
		size_t from = i;
		struct span part;

		while (i < w.len && !strchr("?&#", w.p[i]))
			i++;
		part = (struct span){ w.p + from, i - from };
		if (from > 0 && is_secret_word(part))
			blank_setting(out, part);
		else
			(void)strbuf_append(out, part.p, part.len);
		if (i < w.len)
			(void)strbuf_append(out, w.p + i++, 1);
	}
}

static void blank_address(struct strbuf *out, struct span w, const char *host)
{
	const char *end = w.p + w.len, *slash = memchr(host, '/', (size_t)(end - host));
	const char *at = memrchr(host, '@', (size_t)((slash ? slash : end) - host));

	if (at) {
		(void)strbuf_append(out, w.p, (size_t)(host - w.p));
		(void)strbuf_puts(out, "***");
		w = (struct span){ at, (size_t)(end - at) };
	}
	blank_parameters(out, w);
}

static void blank_word(struct strbuf *out, struct span w)
{
	const char *scheme = memmem(w.p, w.len, "://", 3);

	if (scheme)
		blank_address(out, w, scheme + 3);
	else if (is_token(w))
		(void)strbuf_puts(out, "***");
	else if (is_secret_word(w) && !span_starts(w, "signed-by=") && !span_starts(w, "[signed-by=") &&
		 !span_starts(w, "mok_signing_key="))
		blank_setting(out, w);
	else
		(void)strbuf_append(out, w.p, w.len);
}

int capture_blank(struct span text, char **ret)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(FILE_MAX);
	size_t i = 0;

	while (i < text.len) {
		size_t from = i;

		while (i < text.len && !strchr(" \t\n\r", text.p[i]))
			i++;
		blank_word(&out, (struct span){ text.p + from, i - from });
		for (from = i; i < text.len && strchr(" \t\n\r", text.p[i]);)
			i++;
		(void)strbuf_append(&out, text.p + from, i - from);
	}
	if (out.len == 0 && !out.error)
		return (*ret = strdup("")) ? 0 : -ENOMEM;
	return strbuf_steal(&out, ret);
}

static int keep_lines(struct span text, const char *const *starts, char **ret)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(FILE_MAX);
	struct span line;

	while (span_line(&text, &line)) {
		bool keep = false;

		for (const char *const *s = starts; *s; s++)
			keep |= span_starts(line, *s);
		if (keep || line.len == 0)
			(void)strbuf_printf(&out, "%.*s\n", (int)line.len, line.p);
	}
	if (out.len == 0 && !out.error)
		return (*ret = strdup("")) ? 0 : -ENOMEM;
	return strbuf_steal(&out, ret);
}

static int transform(enum how how, struct span text, char **ret, size_t *ret_len)
{
	static const char *const package[] = { "Package:", "Status:", "Version:", NULL };
	static const char *const devices[] = { "hostpci", NULL };
	int r = how == TEXT	  ? capture_blank(text, ret)
		: how == PACKAGES ? keep_lines(text, package, ret)
		: how == DEVICES  ? keep_lines(text, devices, ret)
				  : 0;

	if (r < 0)
		return r;
	if (how == PLAIN || how == EMPTY) {
		*ret_len = how == EMPTY ? 0 : text.len;
		*ret = calloc(1, *ret_len + 1);
		if (!*ret)
			return -ENOMEM;
		memcpy(*ret, text.p, *ret_len);
		return 0;
	}
	*ret_len = strlen(*ret);
	return 0;
}

/* -- one file -- */

static int put(struct capture *c, const char *path, const void *bytes, size_t len)
{
	const char *name;
	_cleanup_close_ int dir = path_open_parent(c->out_fd, path, true, PATH_NO_SYMLINKS, &name);
	int r = dir < 0 ? dir : publish_bytes(dir, name, bytes, len, 0644);

	c->files += r >= 0;
	return r < 0 ? err_errno(c->e, r, "cannot write %s", path) : 0;
}

static int take_file(struct capture *c, const char *path, enum how how)
{
	_cleanup_close_ int fd =
	    path_open_at(c->en->host->root_fd, path, O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
	_cleanup_free_ char *bytes = NULL, *text = NULL;
	size_t len = 0;

	if (fd < 0 || (how != EMPTY && read_fd(fd, FILE_MAX, &bytes, &len) < 0))
		return 0;
	if (transform(how, (struct span){ bytes ? bytes : "", len }, &text, &len) < 0)
		return err_oom(c->e);
	return put(c, path, text, len);
}

static int take_link(struct capture *c, const char *path)
{
	const char *from_name, *to_name;
	_cleanup_close_ int from =
				path_open_parent(c->en->host->root_fd, path, false, PATH_IN_ROOT, &from_name),
			    to = -EBADF;
	char target[PATH_MAX];
	ssize_t n = from < 0 ? -1 : readlinkat(from, from_name, target, sizeof(target) - 1);
	int r;

	if (n < 0)
		return 0;
	target[n] = '\0';
	to = path_open_parent(c->out_fd, path, true, PATH_NO_SYMLINKS, &to_name);
	r = to < 0 ? to : publish_symlink(to, to_name, target);
	c->files += r >= 0;
	return r < 0 ? err_errno(c->e, r, "cannot write %s", path) : 0;
}

static int take(struct capture *c, const char *path, enum how how)
{
	int r;

	if (how == LINK)
		return take_link(c, path);
	if (how != DIRECTORY)
		return take_file(c, path, how);
	if (!path_exists(c->en->host->root_fd, path))
		return 0;
	r = path_mkdirs(c->out_fd, path, 0755, PATH_NO_SYMLINKS);
	return r < 0 ? err_errno(c->e, r, "cannot make %s", path) : 0;
}

/* -- patterns -- */

static int expand(struct capture *c, const char *done, const char *rest, enum how how);

/* Every name of the directory `done` that the component matches. */
static int expand_names(struct capture *c, const char *done, const char *component, const char *rest,
			enum how how)
{
	int fd = path_open_at(c->en->host->root_fd, *done ? done : ".", O_RDONLY | O_DIRECTORY, 0,
			      PATH_IN_ROOT),
	    r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		close_fdp(&fd);
		return 0;
	}
	for (struct dirent *entry; r == 0 && (entry = readdir(d));) {
		_cleanup_free_ char *path = NULL;

		if (entry->d_name[0] == '.' || fnmatch(component, entry->d_name, 0) != 0)
			continue;
		path = str_printf("%s/%s", done, entry->d_name);
		r = !path ? err_oom(c->e) : rest ? expand(c, path, rest, how) : take(c, path, how);
	}
	(void)closedir(d);
	return r;
}

static int expand(struct capture *c, const char *done, const char *rest, enum how how)
{
	size_t n = strcspn(rest, "/");
	_cleanup_free_ char *component = strndup(rest, n), *path = NULL;
	const char *tail = rest[n] ? rest + n + 1 : NULL;

	if (!component)
		return err_oom(c->e);
	if (strpbrk(component, "*?["))
		return expand_names(c, done, component, tail, how);
	path = str_printf("%s%s%s", done, *done ? "/" : "", component);
	if (!path)
		return err_oom(c->e);
	return tail ? expand(c, path, tail, how) : take(c, path, how);
}

/* -- commands -- */

static bool is_kept(struct span line, const char *keep)
{
	if (!keep)
		return true;
	for (size_t n; *keep; keep += n + (keep[n] == '|')) {
		n = strcspn(keep, "|");
		if (memmem(line.p, line.len, keep, n))
			return true;
	}
	return false;
}

static int ask(struct capture *c, const struct question *q, json_t *commands)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT(q->argv[0]);
	_cleanup_(strbuf_done) struct strbuf line = STRBUF_INIT(4096), out = STRBUF_INIT(COMMAND_MAX);
	struct span rest, l;

	for (const char *const *a = q->argv; *a; a++) {
		(void)spawn_arg(&s, "%s", *a);
		(void)strbuf_printf(&line, "%s%s", line.len ? " " : "", *a);
	}
	s.capture = true;
	s.timeout_s = ASK_TIMEOUT_S;
	if ((recorded_is(c->en->host) ? recorded_run(c->en->host, &s, NULL) : spawn_run(&s, NULL)) < 0 ||
	    s.status == RECORDED_ABSENT)
		return 0;
	rest = SPAN(s.out ? s.out : "");
	while (span_line(&rest, &l))
		if (is_kept(l, q->keep))
			(void)strbuf_printf(&out, "%.*s\n", (int)l.len, l.p);
	return json_object_set_new(commands, strbuf_str(&line),
				   json_pack("{s:i, s:s}", "status", s.status, "output", strbuf_str(&out))) <
		       0
		   ? err_oom(c->e)
		   : 0;
}

static int take_answers(struct capture *c)
{
	json_auto_t *commands = json_object(), *all = NULL;
	char *text = NULL;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(questions); i++)
		r = ask(c, &questions[i], commands);
	if (r < 0)
		return r;
	all = json_pack("{s:O}", "commands", commands);
	text = all ? json_dumps(all, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
	r = text ? put(c, RECORDED_COMMANDS, text, strlen(text)) : err_oom(c->e);
	free(text);
	return r;
}

int capture_machine(struct engine *en, const char *dir, unsigned *ret_files, struct err *e)
{
	struct capture c = { .en = en, .out_fd = -EBADF, .e = e };
	int r = 0;

	if (mkdir(dir, 0700) < 0) {
		(void)err_errno(e, -errno, "cannot make %s", dir);
		return err_recode(e, ERR_PACK_OUTPUT);
	}
	c.out_fd = dir_open_at(AT_FDCWD, dir);
	if (c.out_fd < 0)
		return err_errno(e, c.out_fd, "cannot open %s", dir);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(items); i++)
		r = expand(&c, "", items[i].path, items[i].how);
	/* Another root's programs cannot be asked unless it is a captured machine itself. */
	if (r == 0 && (en->host->is_running || recorded_is(en->host)))
		r = take_answers(&c);
	close_fdp(&c.out_fd);
	if (r == 0 && ret_files)
		*ret_files = c.files;
	return r;
}
