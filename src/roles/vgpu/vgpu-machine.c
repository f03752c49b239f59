/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-machine.h"

#include "deb822.h"
#include "fd.h"
#include "path.h"
#include "strbuf.h"
#include "vgpu-tools.h"
#include "err-vgpu.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#define STATUS_MAX ((size_t)64 << 20)
#define SMALL_MAX  ((size_t)1 << 20)
#define BOOT_UUIDS "etc/kernel/proxmox-boot-uuids"
#define PIN_FILE   "etc/kernel/proxmox-boot-pin"

void vgpu_machine_done(struct vgpu_machine *m)
{
	free(m->pve_version);
	free(m->kernel);
	free(m->codename);
	free(m->cmdline);
	free(m->pinned);
	free(m->root_pool);
	kmods_done(&m->modules);
	strv_freep(&m->kernels);
	strv_freep(&m->packages);
	*m = (struct vgpu_machine){ 0 };
}

/* The run of characters of `set` at p. */
static char *take(const char *p, const char *end, const char *set)
{
	const char *from = p;

	while (p < end && strchr(set, *p))
		p++;
	return p > from ? strndup(from, (size_t)(p - from)) : NULL;
}

int pveversion_parse(struct span text, char **ret_version, char **ret_kernel)
{
	static const char mark[] = "pve-manager/", kernel[] = "kernel: ";
	const char *v = memmem(text.p, text.len, mark, strlen(mark)), *end = text.p + text.len;
	const char *k = v ? memmem(v, (size_t)(end - v), kernel, strlen(kernel)) : NULL;
	_cleanup_free_ char *version = v ? take(v + strlen(mark), end, "0123456789.") : NULL;

	if (!version || !isdigit((unsigned char)*version))
		return -EINVAL;
	if (k)
		*ret_kernel = take(k + strlen(kernel), end, "0123456789.-abcdefghijklmnopqrstuvwxyz+~_");
	*ret_version = TAKE_PTR(version);
	return 0;
}

int kernel_compare(const char *a, const char *b)
{
	while (*a || *b) {
		unsigned long x, y;

		while (*a && !isdigit((unsigned char)*a))
			a++;
		while (*b && !isdigit((unsigned char)*b))
			b++;
		if (!*a || !*b)
			break;
		x = strtoul(a, (char **)&a, 10);
		y = strtoul(b, (char **)&b, 10);
		if (x != y)
			return x < y ? -1 : 1;
	}
	return *a ? 1 : *b ? -1 : 0;
}

/* Names of installed packages, and the version of one of them. */
static int read_packages(struct vgpu_machine *m, char **ret_manager, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_(deb822_stanza_done) struct deb822_stanza s = { 0 };
	struct deb822_reader reader;
	size_t len = 0;
	int r = read_file_at(m->host->root_fd, "var/lib/dpkg/status", STATUS_MAX, &text, &len);

	if (r < 0)
		return r == -ENOENT ? 0 : err_errno(e, r, "cannot read /var/lib/dpkg/status");
	reader = (struct deb822_reader)DEB822_READER(((struct span){ text, len }));
	while ((r = deb822_next(&reader, &s, e)) > 0) {
		struct span name = deb822_value(&s, "Package"), version = deb822_value(&s, "Version");
		_cleanup_free_ char *copy = NULL;

		if (!span_eq(deb822_value(&s, "Status"), "install ok installed") || !name.p)
			continue;
		copy = span_dup(name);
		if (!copy || strv_push(&m->packages, copy) < 0)
			return err_oom(e);
		if (span_eq(name, "pve-manager") && version.p && !*ret_manager)
			*ret_manager = span_dup(version);
	}
	return r < 0 ? err_wrap(e, "/var/lib/dpkg/status") : 0;
}

bool vgpu_machine_has_package(const struct vgpu_machine *m, const char *name)
{
	return strv_contains(m->packages, name);
}

static int read_version(struct vgpu_machine *m, struct err *e)
{
	_cleanup_(answer_done) struct answer a = { 0 };
	_cleanup_free_ char *manager = NULL, *said = NULL;
	uint64_t major;
	int r = read_packages(m, &manager, e);

	if (r >= 0)
		r = TOOLS_ASK(m->host, &a, e, "pveversion");
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0 && a.status == 0)
		(void)pveversion_parse(SPAN(a.out), &m->pve_version, &said);
	if (!m->pve_version && manager)
		m->pve_version = take(manager, manager + strlen(manager), "0123456789.");
	if (host_kernel_release(m->host, &m->kernel) < 0)
		m->kernel = TAKE_PTR(said);
	if (!m->pve_version)
		return err_set(e, ERR_VGPU_NOT_PROXMOX, "%s: there is no pve-manager", m->host->root);
	if (!m->kernel)
		return err_set(e, ERR_VGPU_NOT_PROXMOX, "%s does not say which kernel runs", m->host->root);
	if (parse_u64((struct span){ m->pve_version, strcspn(m->pve_version, ".") }, 99, &major) < 0 ||
	    major < 7 || major > 9)
		return err_set(e, ERR_VGPU_NOT_PROXMOX, "Proxmox VE %s is not one of 7, 8 and 9",
			       m->pve_version);
	m->pve_major = (unsigned)major;
	return 0;
}

static int read_codename(struct vgpu_machine *m, struct err *e)
{
	static const char *const by_major[] = { [7] = "bullseye", [8] = "bookworm", [9] = "trixie" };
	struct os_release os = { 0 };
	int r = host_os_release(m->host, &os, e);

	if (r < 0 && r != -ENOENT)
		return r;
	err_done(e);
	m->codename = strdup(os.codename && *os.codename ? os.codename : by_major[m->pve_major]);
	os_release_done(&os);
	return m->codename ? 0 : err_oom(e);
}

static enum cpu_vendor read_cpu(const struct host *h)
{
	static const struct {
		const char *name;
		enum cpu_vendor vendor;
	} vendors[] = { { "GenuineIntel", CPU_INTEL }, { "AuthenticAMD", CPU_AMD } };
	_cleanup_free_ char *text = NULL;
	struct span rest, line;

	if (h->proc_fd < 0 || read_file_at(h->proc_fd, "cpuinfo", STATUS_MAX, &text, NULL) < 0)
		return CPU_UNKNOWN;
	rest = SPAN(text);
	while (span_line(&rest, &line))
		if (span_starts(line, "vendor_id")) {
			for (size_t i = 0; i < ARRAY_LEN(vendors); i++)
				if (span_ends(span_trim(line), vendors[i].name))
					return vendors[i].vendor;
			return CPU_UNKNOWN;
		}
	return CPU_UNKNOWN;
}

/* "status: active" ("Active" before 7). */
static int read_subscription(struct vgpu_machine *m, struct err *e)
{
	_cleanup_(answer_done) struct answer a = { 0 };
	struct span rest, line;
	int r = TOOLS_ASK(m->host, &a, e, "pvesubscription", "get");

	m->subscription = TRI_UNKNOWN;
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	m->subscription = a.status == 0 ? TRI_NO : TRI_UNKNOWN;
	rest = SPAN(a.out);
	while (span_line(&rest, &line)) {
		struct span s = span_trim(line);

		if (span_starts(s, "status:")) {
			s = span_trim((struct span){ s.p + 7, s.len - 7 });
			if (s.len == 6 && strncasecmp(s.p, "active", 6) == 0)
				m->subscription = TRI_YES;
		}
	}
	return 0;
}

/* "rpool/ROOT/pve-1 / zfs rw …" */
static void read_root_pool(struct vgpu_machine *m)
{
	_cleanup_free_ char *text = NULL;
	struct span rest, line, device, dir, type;

	if (m->host->proc_fd < 0 || read_file_at(m->host->proc_fd, "mounts", SMALL_MAX, &text, NULL) < 0)
		return;
	rest = SPAN(text);
	while (span_line(&rest, &line))
		if (span_word(&line, &device) && span_word(&line, &dir) && span_word(&line, &type) &&
		    span_eq(dir, "/") && span_eq(type, "zfs") && !m->root_pool)
			m->root_pool = strndup(device.p, strcspn(device.p, "/ "));
}

static bool dir_has_entries(int dirfd, const char *path)
{
	int fd = dirfd < 0 ? -EBADF : dir_open_at(dirfd, path);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	bool any = false;

	if (!d) {
		close_fdp(&fd);
		return false;
	}
	for (struct dirent *entry; !any && (entry = readdir(d));)
		any = entry->d_name[0] != '.';
	(void)closedir(d);
	return any;
}

static int by_age(const void *a, const void *b)
{
	return -kernel_compare(*(char *const *)a, *(char *const *)b);
}

static int read_kernels(struct vgpu_machine *m)
{
	static const char prefix[] = "vmlinuz-";
	int fd = path_open_at(m->host->root_fd, "boot", O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		close_fdp(&fd);
		return 0;
	}
	for (struct dirent *entry; r == 0 && (entry = readdir(d));)
		if (span_starts(SPAN(entry->d_name), prefix) && span_ends(SPAN(entry->d_name), "-pve"))
			r = strv_push(&m->kernels, entry->d_name + strlen(prefix));
	(void)closedir(d);
	if (m->kernels)
		qsort(m->kernels, strv_len(m->kernels), sizeof(*m->kernels), by_age);
	return r;
}

static int read_boot(struct vgpu_machine *m, struct err *e)
{
	const struct host *h = m->host;
	struct stat st;
	int r = secureboot_read(h, &m->secureboot);

	if (r < 0)
		return err_errno(e, r, "cannot read whether Secure Boot is on");
	read_root_pool(m);
	m->boot = (struct boot_facts){
		.efi = h->sys_fd >= 0 && fstatat(h->sys_fd, "firmware/efi", &st, 0) == 0,
		.zfs_root = m->root_pool != NULL,
		.managed = path_exists(h->root_fd, BOOT_UUIDS),
		.secure_boot = m->secureboot.secure_boot,
	};
	if (read_line_at(h->root_fd, PIN_FILE, &m->pinned) < 0 || !*m->pinned)
		freep(&m->pinned);
	m->iommu_on =
	    dir_has_entries(h->sys_fd, "class/iommu") && dir_has_entries(h->sys_fd, "kernel/iommu_groups");
	return 0;
}

int vgpu_machine_read(const struct host *h, struct vgpu_machine *ret, struct err *e)
{
	_cleanup_(vgpu_machine_done) struct vgpu_machine m = { .host = h };
	int r = read_version(&m, e);

	if (r >= 0)
		r = read_codename(&m, e);
	if (r >= 0)
		r = read_subscription(&m, e);
	if (r >= 0)
		r = read_boot(&m, e);
	if (r < 0)
		return r;
	m.cpu = read_cpu(h);
	if (h->proc_fd >= 0)
		(void)kmods_read(h, &m.modules);
	if (host_cmdline(h, &m.cmdline) < 0)
		m.cmdline = strdup("");
	if (!m.cmdline || read_kernels(&m) < 0)
		return err_oom(e);
	*ret = m;
	m = (struct vgpu_machine){ 0 };
	return 0;
}

/* A line "kernel/…/name.ko[.xz]:" of modules.dep, or without the colon of modules.builtin. */
static bool list_names(const char *text, const char *module)
{
	struct span rest = SPAN(text), line;

	while (span_line(&rest, &line)) {
		size_t len = line.len;
		const char *colon = memchr(line.p, ':', len), *slash, *dot;
		char name[64];

		len = colon ? (size_t)(colon - line.p) : len;
		slash = memrchr(line.p, '/', len);
		slash = slash ? slash + 1 : line.p;
		dot = memchr(slash, '.', len - (size_t)(slash - line.p));
		if (!dot || (size_t)(dot - slash) >= sizeof(name))
			continue;
		memcpy(name, slash, (size_t)(dot - slash));
		name[dot - slash] = '\0';
		if (kmod_name_eq(name, module))
			return true;
	}
	return false;
}

bool vgpu_machine_has_module(const struct vgpu_machine *m, const char *kernel, const char *module)
{
	static const char *const lists[] = { "modules.dep", "modules.builtin" };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		_cleanup_free_ char *path = str_printf("lib/modules/%s/%s", kernel, lists[i]), *text = NULL;
		_cleanup_close_ int fd =
		    path ? path_open_at(m->host->root_fd, path, O_RDONLY, 0, PATH_IN_ROOT) : -ENOMEM;

		if (fd >= 0 && read_fd(fd, STATUS_MAX, &text, NULL) == 0 && list_names(text, module))
			return true;
	}
	return false;
}

bool vgpu_machine_has_dkms(const struct vgpu_machine *m, const char *kernel, const char *module)
{
	static const char *const endings[] = { "", ".xz", ".zst", ".gz" };

	for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
		char path[256];

		(void)snprintf(path, sizeof(path), "lib/modules/%s/updates/dkms/%s.ko%s", kernel, module,
			       endings[i]);
		if (path_exists(m->host->root_fd, path))
			return true;
	}
	return false;
}

const char *vgpu_machine_next_kernel(const struct vgpu_machine *m)
{
	if (m->pinned)
		return m->pinned;
	return m->kernels ? m->kernels[0] : m->kernel;
}
