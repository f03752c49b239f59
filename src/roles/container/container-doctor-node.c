/* SPDX-License-Identifier: Apache-2.0 */
#include "container-doctor-internal.h"

#include "fd.h"
#include "path.h"
#include "pci.h"
#include "strbuf.h"
#include "tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>

#define TEXT_MAX	((size_t)1 << 20)
#define EXPORT		"run/nvidia/driver"
#define PIDFILE		"run/nvidia/nvidia-driver.pid"
#define OUR_FIRMWARE	"/run/nvidia/driver/lib/firmware"
#define BLACKLIST_PLACE "/etc/modprobe.d/blacklist-nouveau.conf"

const char container_nouveau_steps[] =
    "on the node, once: (1) write " BLACKLIST_PLACE
    " with the two lines \"blacklist nouveau\" and \"options nouveau "
    "modeset=0\"; (2) dracut --force; (3) reboot; (4) check that lsmod no longer lists nouveau";

static const struct container_doctor *question(const struct doctor *d)
{
	return d->arg;
}

int doctor_check_environment(struct doctor *d)
{
	const struct container_env *env = question(d)->env;

	if (!env->driver_version || !env->arch)
		return doctor_say(
		    d, "environment", DOCTOR_WARN,
		    "inside the container the image sets both; elsewhere set them for this command",
		    "%s is not set", env->driver_version ? "TARGETARCH" : "DRIVER_VERSION");
	return doctor_say(d, "environment", DOCTOR_OK, NULL, "driver %s for %s", env->driver_version,
			  env->arch);
}

/* -- cards and who holds them -- */

static const struct {
	const char *driver, *why, *next_step;
} holders[] = {
	{ "nouveau", "the open source driver the distribution loads", container_nouveau_steps },
	{ "nova", "the open source driver the distribution loads",
	  "blacklist nova_core and nova_drm as nouveau: a file below /etc/modprobe.d, dracut --force, "
	  "reboot" },
	{ "NovaCore", "the open source driver the distribution loads",
	  "blacklist nova_core and nova_drm as nouveau: a file below /etc/modprobe.d, dracut --force, "
	  "reboot" },
	{ "vfio-pci", "it is set aside for virtual machines",
	  "take it back: echo ADDRESS > /sys/bus/pci/drivers/vfio-pci/unbind, clear its driver_override; or "
	  "label the "
	  "node for passthrough so that no driver container is placed there" },
	{ "pci-stub", "it is set aside",
	  "remove its id from pci-stub.ids on the kernel's command line, reboot" },
};

static int say_held(struct doctor *d, const struct pci_device *p)
{
	for (size_t i = 0; i < ARRAY_LEN(holders); i++)
		if (strcmp(p->driver, holders[i].driver) == 0)
			return doctor_say(d, "gpu", DOCTOR_FAIL, holders[i].next_step,
					  "GPU %s (%04x:%04x) is held by %s: %s", p->address, p->vendor,
					  p->device, p->driver, holders[i].why);
	return doctor_say(d, "gpu", DOCTOR_FAIL,
			  "unbind it below /sys/bus/pci/drivers, and see what binds it",
			  "GPU %s (%04x:%04x) is held by %s", p->address, p->vendor, p->device, p->driver);
}

static bool is_gpu(const struct pci_device *p)
{
	return p->vendor == PCI_VENDOR_NVIDIA && p->class_code >> 8 == PCI_CLASS_VGA >> 8;
}

int doctor_check_gpus(struct doctor *d)
{
	struct pci_list l = { NULL, 0 };
	unsigned cards = 0;
	int r = 0;

	if (d->en->host->sys_fd < 0 || pci_list_read(d->en->host, &l, NULL) < 0)
		return doctor_say(d, "gpu", DOCTOR_UNKNOWN, "mount /sys", "the PCI devices cannot be seen");
	for (size_t i = 0; r == 0 && i < l.n; i++) {
		const struct pci_device *p = &l.v[i];

		if (!is_gpu(p))
			continue;
		cards++;
		r = p->driver && strcmp(p->driver, "nvidia") != 0
			? say_held(d, p)
			: doctor_say(d, "gpu", DOCTOR_OK, NULL, "GPU %s (%04x:%04x) is %s", p->address,
				     p->vendor, p->device, p->driver ? "bound to nvidia" : "free");
	}
	pci_list_done(&l);
	if (r == 0 && cards == 0)
		r = doctor_say(d, "gpu", DOCTOR_FAIL, "check slot, power, and that the node is a GPU node",
			       "no NVIDIA GPU is visible on the PCI bus");
	return r;
}

/* -- nouveau: file, initramfs, loaded -- */

bool doctor_text_blacklists(struct span text, const char *module)
{
	struct span line, verb, name;

	while (span_line(&text, &line)) {
		if (!span_word(&line, &verb) || !span_word(&line, &name))
			continue;
		if (span_eq(verb, "blacklist") || span_eq(verb, "install")) {
			_cleanup_free_ char *copy = span_dup(name);

			if (copy && kmod_name_eq(copy, module) &&
			    (span_eq(verb, "blacklist") || span_eq(span_trim(line), "/bin/false") ||
			     span_eq(span_trim(line), "/bin/true")))
				return true;
		}
	}
	return false;
}

static bool word_lists(struct span list, const char *module)
{
	while (list.len > 0) {
		const char *comma = memchr(list.p, ',', list.len);
		size_t n = comma ? (size_t)(comma - list.p) : list.len;

		if (span_eq((struct span){ list.p, n }, module))
			return true;
		list.p += n + (comma ? 1 : 0);
		list.len -= n + (comma ? 1 : 0);
	}
	return false;
}

bool doctor_cmdline_blacklists(const char *cmdline, const char *module)
{
	static const char *const options[] = { "modprobe.blacklist=", "rd.driver.blacklist=",
					       "module_blacklist=" };
	struct span rest = SPAN(cmdline), word;

	while (span_word(&rest, &word))
		for (size_t i = 0; i < ARRAY_LEN(options); i++)
			if (span_starts(word, options[i]) &&
			    word_lists(
				(struct span){ word.p + strlen(options[i]), word.len - strlen(options[i]) },
				module))
				return true;
	return false;
}

struct blacklist {
	const char *module;
	const char *dir;
	char *file; /* owned: absolute path of the file that has it */
	struct timespec changed;
};

static int look_for_blacklist(const struct tree_entry *en, void *arg)
{
	struct blacklist *b = arg;
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (b->file || !S_ISREG(en->st.st_mode) || !span_ends(SPAN(en->name), ".conf") ||
	    read_file_at(en->dirfd, en->name, TEXT_MAX, &text, &len) < 0 ||
	    !doctor_text_blacklists((struct span){ text, len }, b->module))
		return 0;
	b->changed = en->st.st_mtim;
	b->file = str_printf("/%s/%s", b->dir, en->path);
	return b->file ? 0 : -ENOMEM;
}

static void find_blacklist(const struct host *node, struct blacklist *b)
{
	static const char *const dirs[] = { "etc/modprobe.d", "run/modprobe.d", "usr/lib/modprobe.d",
					    "lib/modprobe.d" };

	for (size_t i = 0; i < ARRAY_LEN(dirs) && !b->file; i++) {
		_cleanup_close_ int fd =
		    path_open_at(node->root_fd, dirs[i], O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);

		b->dir = dirs[i];
		if (fd >= 0)
			(void)tree_walk(fd, TREE_SORTED, look_for_blacklist, b);
	}
}

/* The initramfs of the running kernel, as RHEL and Debian name it, was made before the file was written. */
static bool initramfs_is_older(const struct doctor *d, const struct host *node, struct timespec changed)
{
	static const struct {
		const char *before, *after;
	} names[] = { { "boot/initramfs-", ".img" }, { "boot/initrd.img-", "" } };

	for (size_t i = 0; d->release && i < ARRAY_LEN(names); i++) {
		_cleanup_free_ char *path = str_printf("%s%s%s", names[i].before, d->release, names[i].after);
		struct stat st;

		if (path && path_stat(node->root_fd, path, &st, PATH_IN_ROOT) == 0)
			return st.st_mtim.tv_sec < changed.tv_sec;
	}
	return false;
}

static bool cmdline_blacklists(const struct doctor *d, const char *module)
{
	_cleanup_free_ char *cmdline = NULL;

	return host_cmdline(d->en->host, &cmdline) == 0 && doctor_cmdline_blacklists(cmdline, module);
}

static int say_nouveau_loaded(struct doctor *d, const struct blacklist *b, bool older)
{
	if (!b->file)
		return doctor_say(d, "nouveau", DOCTOR_FAIL, container_nouveau_steps,
				  "nouveau is loaded, and nothing on the node keeps it out");
	if (older)
		return doctor_say(
		    d, "nouveau", DOCTOR_FAIL, "on the node: dracut --force, then reboot",
		    "nouveau is loaded: %s keeps it out, but the initramfs is older than that file", b->file);
	return doctor_say(
	    d, "nouveau", DOCTOR_FAIL, "reboot the node, then check that lsmod no longer lists nouveau",
	    "nouveau is still loaded, although %s keeps it out from the next start on", b->file);
}

int doctor_check_nouveau(struct doctor *d)
{
	const struct host *node = question(d)->node;
	_cleanup_free_ char *file = NULL;
	struct blacklist b = { .module = "nouveau" };
	bool loaded = kmods_find(&d->mods, "nouveau"), older;

	if (!node && !loaded)
		return doctor_say(d, "nouveau", DOCTOR_UNKNOWN,
				  "run with --host-root, or in the pod's PID namespace",
				  "nouveau is not loaded; the node's modprobe.d cannot be seen");
	if (node)
		find_blacklist(node, &b);
	file = b.file;
	older = b.file && initramfs_is_older(d, node, b.changed);
	if (loaded)
		return say_nouveau_loaded(d, &b, older);
	if (!b.file && !cmdline_blacklists(d, "nouveau"))
		return doctor_say(d, "nouveau", DOCTOR_WARN, container_nouveau_steps,
				  "nouveau is not loaded now, but nothing keeps it out at the next boot");
	if (older)
		return doctor_say(d, "nouveau", DOCTOR_WARN, "on the node: dracut --force",
				  "%s keeps nouveau out, but the initramfs is older than that file", b.file);
	return doctor_say(d, "nouveau", DOCTOR_OK, NULL, "nouveau is not loaded, and %s keeps it out",
			  b.file ? b.file : "the kernel's command line");
}

/* -- a driver of the node's own -- */

int doctor_check_host_driver(struct doctor *d)
{
	static const char *const traces[] = { "usr/bin/nvidia-smi", "usr/lib64/libnvidia-ml.so.1",
					      "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
					      "usr/lib/aarch64-linux-gnu/libnvidia-ml.so.1" };
	const struct host *node = question(d)->node;

	if (!node)
		return doctor_say(d, "host-driver", DOCTOR_UNKNOWN,
				  "run with --host-root, or in the pod's PID namespace",
				  "whether the node has a driver of its own cannot be seen");
	for (size_t i = 0; i < ARRAY_LEN(traces); i++)
		if (path_exists(node->root_fd, traces[i]))
			return doctor_say(
			    d, "host-driver", DOCTOR_FAIL,
			    "remove it from the node, or set driver.enabled=false in the operator's chart",
			    "a driver is installed on the node itself: /%s", traces[i]);
	return doctor_say(d, "host-driver", DOCTOR_OK, NULL, "the node has no driver of its own");
}

/* -- SELinux, firmware -- */

int doctor_check_selinux(struct doctor *d)
{
	const struct host *node = question(d)->node;
	_cleanup_free_ char *mounts = NULL, *mode = NULL;

	if (d->en->host->proc_fd < 0 ||
	    read_file_at(d->en->host->proc_fd, "1/mounts", TEXT_MAX, &mounts, NULL) < 0 || !node)
		return doctor_say(d, "selinux", DOCTOR_UNKNOWN,
				  "share the node's PID namespace (hostPID: true)",
				  "whether the node enforces SELinux cannot be seen");
	if (!strstr(mounts, " selinuxfs ") || !node || node->sys_fd < 0 ||
	    read_line_at(node->sys_fd, "fs/selinux/enforce", &mode) < 0)
		return doctor_say(d, "selinux", DOCTOR_OK, NULL, "the node does not use SELinux");
	return doctor_say(d, "selinux", DOCTOR_OK, NULL, "the node's SELinux is %s%s",
			  strcmp(mode, "1") == 0 ? "enforcing" : "permissive",
			  strcmp(mode, "1") == 0 ? "; modules and devices are labelled for it" : "");
}

int doctor_check_firmware(struct doctor *d)
{
	const char *version = question(d)->env->driver_version;
	_cleanup_free_ char *path = NULL, *needed = NULL;

	if (kmod_attr(d->en->host, "firmware_class", "parameters/path", &path) < 0)
		return doctor_say(d, "firmware", DOCTOR_UNKNOWN,
				  "mount /sys/module/firmware_class/parameters/path into the container",
				  "the kernel's firmware search path cannot be read");
	if (!*path || strcmp(path, OUR_FIRMWARE) == 0)
		return doctor_say(d, "firmware", DOCTOR_OK, NULL, "the kernel's firmware search path is %s",
				  *path ? "ours" : "free");
	needed = version ? str_printf("%s/nvidia/%s", path, version) : NULL;
	if (needed && question(d)->node && path_exists(question(d)->node->root_fd, needed))
		return doctor_say(
		    d, "firmware", DOCTOR_OK, NULL,
		    "the kernel's firmware search path is %s, and this driver's files are there", path);
	return doctor_say(d, "firmware", DOCTOR_WARN,
			  "find out who set it (firmware_class.path= on the command line?); a start replaces "
			  "it while it runs "
			  "and puts it back",
			  "the kernel's firmware search path is %s, without this driver's files", path);
}

/* -- what a container that is gone left -- */

static bool export_is_mounted(const struct host *h)
{
	_cleanup_free_ char *text = NULL;
	struct span rest, line, word;
	size_t len;

	if (h->proc_fd < 0 || read_file_at(h->proc_fd, "self/mountinfo", (size_t)8 << 20, &text, &len) < 0)
		return false;
	rest = (struct span){ text, len };
	while (span_line(&rest, &line)) {
		bool there = true;

		for (int i = 0; i < 5 && there; i++)
			there = span_word(&line, &word);
		if (there && (span_eq(word, "/" EXPORT) || span_starts(word, "/" EXPORT "/")))
			return true;
	}
	return false;
}

/* Only a lock that can be taken is nobody's; it is let go at once. */
static bool instance_runs(const struct host *h)
{
	_cleanup_close_ int fd =
	    path_open_at(h->root_fd, PIDFILE, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, PATH_IN_ROOT);

	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static int say_stale_pids(struct doctor *d)
{
	static const char *const files[] = { "run/nvidia-persistenced/nvidia-persistenced.pid",
					     "run/nvidia-gridd/nvidia-gridd.pid",
					     "run/nvidia-topologyd/nvidia-topologyd.pid",
					     "run/nvidia-fabricmanager/nv-fabricmanager.pid",
					     "run/nvidia-fabricmanager/nvlsm.pid" };
	const struct host *h = d->en->host;

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		_cleanup_free_ char *line = NULL, *proc = NULL;
		uint64_t pid;

		if (read_line_at(h->root_fd, files[i], &line) < 0)
			continue;
		if (parse_u64(span_trim(SPAN(line)), INT32_MAX, &pid) == 0)
			proc = str_printf("%" PRIu64, pid);
		if (proc && h->proc_fd >= 0 && path_exists(h->proc_fd, proc))
			continue;
		return doctor_say(d, "leftovers", DOCTOR_OK, NULL,
				  "/%s names no living process; a start removes it", files[i]);
	}
	return 0;
}

int doctor_check_leftovers(struct doctor *d)
{
	const struct host *h = d->en->host;
	bool mounted = export_is_mounted(h);
	int r = say_stale_pids(d);

	if (r < 0)
		return r;
	if (instance_runs(h))
		return doctor_say(d, "leftovers", DOCTOR_OK, NULL, "a driver container runs and holds /%s",
				  PIDFILE);
	if (mounted)
		return doctor_say(d, "leftovers", DOCTOR_WARN,
				  "a start takes it away; without one: nvdriver container unload",
				  "/%s is still mounted although no driver container runs", EXPORT);
	if (path_exists(h->root_fd, PIDFILE))
		return doctor_say(d, "leftovers", DOCTOR_OK, NULL,
				  "/%s was left by a container that was killed; a start takes it over",
				  PIDFILE);
	return doctor_say(d, "leftovers", DOCTOR_OK, NULL, "nothing was left by an earlier container");
}
