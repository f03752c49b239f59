/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"
#include "elffile.h"
#include "fd.h"
#include "parse.h"
#include "path.h"
#include "strbuf.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/utsname.h>

#define ATTRIBUTE_MAX ((size_t)1 << 20)

void host_freep(struct host **h)
{
	if (!*h)
		return;
	close_fdp(&(*h)->root_fd);
	close_fdp(&(*h)->proc_fd);
	close_fdp(&(*h)->sys_fd);
	close_fdp(&(*h)->dev_fd);
	free((*h)->root);
	freep(h);
}

static int open_part(const struct host *h, const char *name)
{
	int fd = path_open_at(h->root_fd, name, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);

	return fd < 0 ? -EBADF : fd;
}

int host_open(const char *root, struct host **ret, struct err *e)
{
	_cleanup_(host_freep) struct host *h = calloc(1, sizeof(*h));

	if (!h)
		return err_oom(e);
	*h = (struct host){ -EBADF, -EBADF, -EBADF, -EBADF, NULL, false };
	h->root = strdup(root && *root ? root : "/");
	if (!h->root)
		return err_oom(e);
	/* Following a link is right here: the caller named it. */
	h->root_fd = open(h->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (h->root_fd < 0) {
		(void)err_errno(e, -errno, "cannot open the root directory %s", h->root);
		return err_object(e, "%s", h->root);
	}
	h->is_running = h->root[strspn(h->root, "/")] == '\0';
	h->proc_fd = open_part(h, "proc");
	h->sys_fd = open_part(h, "sys");
	h->dev_fd = open_part(h, "dev");
	*ret = TAKE_PTR(h);
	return 0;
}

/* A whole attribute below proc/, sys/ or the root. */
static int read_text(int dirfd, const char *path, char **ret)
{
	_cleanup_close_ int fd = -EBADF;

	if (dirfd < 0)
		return -ENOENT;
	fd = path_open_at(dirfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, PATH_IN_ROOT);
	return fd < 0 ? fd : read_fd(fd, ATTRIBUTE_MAX, ret, NULL);
}

static int read_first_line(int dirfd, const char *path, char **ret)
{
	int r = read_text(dirfd, path, ret);

	if (r == 0)
		(*ret)[strcspn(*ret, "\n")] = '\0';
	return r;
}

int host_kernel_release(const struct host *h, char **ret)
{
	return read_first_line(h->proc_fd, "sys/kernel/osrelease", ret);
}

int host_proc_version(const struct host *h, char **ret)
{
	return read_first_line(h->proc_fd, "version", ret);
}

int host_cmdline(const struct host *h, char **ret)
{
	return read_first_line(h->proc_fd, "cmdline", ret);
}

static bool is_supported_machine(const char *name)
{
	return strcmp(name, "x86_64") == 0 || strcmp(name, "aarch64") == 0;
}

static const char *machine_of_file(int root_fd, const char *path)
{
	_cleanup_close_ int fd =
	    path_open_at(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, PATH_IN_ROOT);
	struct elf elf;
	const char *name;

	if (fd < 0 || elf_open(fd, &elf) < 0)
		return NULL;
	name = elf_machine_name(elf.machine);
	return is_supported_machine(name) ? name : NULL;
}

static int root_machine(const struct host *h, char **ret)
{
	/* The shell first: it is native, whereas loaders of foreign architectures may be installed beside. */
	static const char *const files[] = {
		"bin/sh",
		"usr/bin/env",
		"lib64/ld-linux-x86-64.so.2",
		"lib/ld-linux-aarch64.so.1",
		"lib/ld-musl-x86_64.so.1",
		"lib/ld-musl-aarch64.so.1",
		"usr/lib/x86_64-linux-gnu/libc.so.6",
		"usr/lib/aarch64-linux-gnu/libc.so.6",
		"usr/lib64/libc.so.6",
	};
	const char *name = NULL;

	for (size_t i = 0; i < ARRAY_LEN(files) && !name; i++)
		name = machine_of_file(h->root_fd, files[i]);
	/* Linux 6.1 has the answer of uname here. */
	if (!name)
		return read_first_line(h->proc_fd, "sys/kernel/arch", ret);
	*ret = strdup(name);
	return *ret ? 0 : -ENOMEM;
}

int host_machine(const struct host *h, char **ret)
{
	struct utsname u;

	if (!h->is_running)
		return root_machine(h, ret);
	if (uname(&u) < 0)
		return -errno;
	*ret = strdup(u.machine);
	return *ret ? 0 : -ENOMEM;
}

/* "0-3,8" -> 5 */
static unsigned count_cpu_list(const char *text)
{
	struct span rest = span_trim(SPAN(text));
	uint64_t total = 0;

	while (rest.len > 0) {
		const char *comma = memchr(rest.p, ',', rest.len);
		struct span part = { rest.p, comma ? (size_t)(comma - rest.p) : rest.len };
		const char *dash = memchr(part.p, '-', part.len);
		struct span low = { part.p, dash ? (size_t)(dash - part.p) : part.len };
		struct span high = dash ? (struct span){ dash + 1, part.len - low.len - 1 } : low;
		uint64_t a, b;

		if (parse_u64(low, 65535, &a) < 0 || parse_u64(high, 65535, &b) < 0 || b < a)
			return 0;
		total += b - a + 1;
		rest.p += part.len + (comma ? 1 : 0);
		rest.len -= part.len + (comma ? 1 : 0);
	}
	return total > 65536 ? 0 : (unsigned)total;
}

static unsigned affinity_count(void)
{
	for (int cpus = 1024; cpus <= 65536; cpus *= 2) {
		cpu_set_t *set = CPU_ALLOC((size_t)cpus);
		size_t size = CPU_ALLOC_SIZE((size_t)cpus);
		unsigned n = 0;
		bool ok = set && sched_getaffinity(0, size, set) == 0;

		if (ok)
			n = (unsigned)CPU_COUNT_S(size, set);
		CPU_FREE(set);
		if (ok)
			return n;
		if (errno != EINVAL) /* EINVAL: the kernel's mask is longer */
			break;
	}
	return 0;
}

/* Our group in the hierarchy of `controller` ("" = unified): the line of proc/self/cgroup and where that
 * hierarchy is usually mounted. */
static int group_path(const struct host *h, const char *controller, char **ret)
{
	_cleanup_free_ char *text = NULL;
	struct span rest, line;
	int r = read_text(h->proc_fd, "self/cgroup", &text);

	if (r < 0)
		return r;
	rest = SPAN(text);
	while (span_line(&rest, &line)) {
		const char *first = memchr(line.p, ':', line.len);
		const char *second =
		    first ? memchr(first + 1, ':', line.len - (size_t)(first + 1 - line.p)) : NULL;
		_cleanup_free_ char *names = NULL;
		char *save = NULL, *name;

		if (!second)
			continue;
		names = span_dup((struct span){ first + 1, (size_t)(second - first - 1) });
		if (!names)
			return -ENOMEM;
		name = *controller ? strtok_r(names, ",", &save) : names;
		while (name && *controller && strcmp(name, controller) != 0)
			name = strtok_r(NULL, ",", &save);
		if (!name || strcmp(name, controller) != 0)
			continue;
		*ret = span_dup((struct span){ second + 1, line.len - (size_t)(second + 1 - line.p) });
		return *ret ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

/* Calls fn for our group's directory and each above it up to the hierarchy's top. Inside a container the path may
 * be the host's and absent here; then only the top is looked at. */
static void for_groups(const struct host *h, const char *controller, const char *mount,
		       void (*fn)(const struct host *h, const char *dir, void *arg), void *arg)
{
	_cleanup_free_ char *path = NULL;

	if (h->sys_fd < 0 || group_path(h, controller, &path) < 0)
		return;
	for (;;) {
		_cleanup_free_ char *dir = str_printf("fs/cgroup/%s%s", mount, path);
		char *slash = strrchr(path, '/');

		if (!dir)
			return;
		fn(h, dir, arg);
		if (!slash)
			return;
		*slash = '\0';
	}
}

static int read_number(const struct host *h, const char *dir, const char *name, uint64_t *ret)
{
	_cleanup_free_ char *path = str_printf("%s/%s", dir, name), *text = NULL;
	int r;

	if (!path)
		return -ENOMEM;
	r = read_first_line(h->sys_fd, path, &text);
	return r < 0 ? r : parse_u64(SPAN(text), UINT64_MAX, ret);
}

static void bound_cpus(unsigned *cpus, uint64_t quota, uint64_t period)
{
	uint64_t n;

	if (period == 0 || quota > UINT64_MAX - period)
		return;
	n = (quota + period - 1) / period;
	if (n < *cpus)
		*cpus = n ? (unsigned)n : 1;
}

static void bound_cpus_v2(const struct host *h, const char *dir, void *arg)
{
	_cleanup_free_ char *path = str_printf("%s/cpu.max", dir), *text = NULL;
	struct span rest, quota, period;
	uint64_t q, p;

	if (!path || read_first_line(h->sys_fd, path, &text) < 0)
		return;
	rest = SPAN(text);
	if (span_word(&rest, &quota) && span_word(&rest, &period) && parse_u64(quota, UINT64_MAX, &q) == 0 &&
	    parse_u64(period, UINT64_MAX, &p) == 0)
		bound_cpus(arg, q, p);
}

static void bound_cpus_v1(const struct host *h, const char *dir, void *arg)
{
	uint64_t quota, period;

	/* "-1", no limit, is no number and ends here. */
	if (read_number(h, dir, "cpu.cfs_quota_us", &quota) == 0 &&
	    read_number(h, dir, "cpu.cfs_period_us", &period) == 0)
		bound_cpus(arg, quota, period);
}

unsigned host_cpu_count(const struct host *h)
{
	unsigned n = h->is_running ? affinity_count() : 0;
	_cleanup_free_ char *online = NULL;

	if (n == 0 && read_first_line(h->sys_fd, "devices/system/cpu/online", &online) == 0)
		n = count_cpu_list(online);
	if (n == 0)
		n = 1;
	for_groups(h, "", "", bound_cpus_v2, &n);
	for_groups(h, "", "unified", bound_cpus_v2, &n);
	for_groups(h, "cpu", "cpu", bound_cpus_v1, &n);
	return n;
}

static uint64_t stat_value(const struct host *h, const char *dir, const char *key)
{
	_cleanup_free_ char *path = str_printf("%s/memory.stat", dir), *text = NULL;
	struct span rest, line, word, value;
	uint64_t v;

	if (!path || read_text(h->sys_fd, path, &text) < 0)
		return 0;
	rest = SPAN(text);
	while (span_line(&rest, &line))
		if (span_word(&line, &word) && span_eq(word, key) && span_word(&line, &value) &&
		    parse_u64(value, UINT64_MAX, &v) == 0)
			return v;
	return 0;
}

/* Page cache that is not in use counts against the group but is given back at once. */
static void bound_memory(uint64_t *bytes, uint64_t limit, uint64_t used, uint64_t cache)
{
	uint64_t held = used > cache ? used - cache : 0;
	uint64_t left = limit > held ? limit - held : 0;

	if (left < *bytes)
		*bytes = left;
}

static void bound_memory_v2(const struct host *h, const char *dir, void *arg)
{
	uint64_t limit, used;

	if (read_number(h, dir, "memory.max", &limit) == 0 &&
	    read_number(h, dir, "memory.current", &used) == 0)
		bound_memory(arg, limit, used, stat_value(h, dir, "inactive_file"));
}

static void bound_memory_v1(const struct host *h, const char *dir, void *arg)
{
	uint64_t limit, used;

	if (read_number(h, dir, "memory.limit_in_bytes", &limit) == 0 &&
	    read_number(h, dir, "memory.usage_in_bytes", &used) == 0)
		bound_memory(arg, limit, used, stat_value(h, dir, "total_inactive_file"));
}

int host_memory_available(const struct host *h, uint64_t *ret_bytes)
{
	_cleanup_free_ char *text = NULL;
	struct span rest, line, word, value;
	int r = read_text(h->proc_fd, "meminfo", &text);
	uint64_t bytes = 0;
	bool found = false;

	if (r < 0)
		return r;
	rest = SPAN(text);
	while (!found && span_line(&rest, &line))
		found = span_word(&line, &word) && span_eq(word, "MemAvailable:") &&
			span_word(&line, &value) && parse_u64(value, UINT64_MAX / 1024, &bytes) == 0;
	if (!found)
		return -ENOENT;
	bytes *= 1024;
	for_groups(h, "", "", bound_memory_v2, &bytes);
	for_groups(h, "", "unified", bound_memory_v2, &bytes);
	for_groups(h, "memory", "memory", bound_memory_v1, &bytes);
	*ret_bytes = bytes;
	return 0;
}
