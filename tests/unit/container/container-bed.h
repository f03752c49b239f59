/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A node and a container on it, both directories, and a kernel in memory: whole starts and stops run against them, and every effect
 * outside of files is one line of a record, in its order. */

#include "fakedriver.h"
#include "mkrunfile.h"

#include "container-run.h"
#include "interrupt.h"
#include "kmods.h"
#include "ktree.h"
#include "modinfo.h"
#include "modset.h"
#include "path.h"
#include "spawn.h"
#include "tree.h"

#include "../userspace/fixture.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#define BED_VERSION  "535.1.2"
#define BED_RELEASE  FAKE_RELEASE
#define BED_RUNFILE  "root/drivers/NVIDIA-Linux-x86_64-" BED_VERSION ".run"
#define BED_GPU	     "root/sys/bus/pci/devices/0000:01:00.0/"
#define BED_PACKAGES "root/usr/src/nvidia-" BED_VERSION "/kernel/precompiled"
#define BED_MODULES  16

struct bed {
	struct testdir t;
	struct engine *en;
	struct container_env env;
	struct container_options o;
	struct container_ops ops;
	struct strbuf record; /* one effect per line */
	struct strbuf mounts; /* mountinfo as the kernel would show it */
	char **loaded; /* kernel names, oldest first */
	char *root; /* absolute, of the container */
	int user_of_nvidia; /* further users of module nvidia */
	uint64_t now_ms;
	unsigned waits;
	int signals[8]; /* what the first waits answer; 0 = time over */
	const char *fail_spawn; /* this program fails */
	const char *fail_insert; /* this module is refused … */
	int fail_insert_errno;
	void (*on_refusal)(struct bed *b);
	const char *say_to_smi; /* what nvidia-smi prints */
	const char *fail_mount; /* a mount at a path ending so */
	const char *stubborn; /* this daemon ignores SIGTERM */
	int next_pid;
	bool quiet_waits; /* leave waits out of the record */
	unsigned compilers; /* times make was run */
	unsigned effects, fail_at; /* the effect of that number fails; 0 = none */
	bool failed; /* one did */
	void (*on_wait)(struct bed *b);
};

static struct bed *the_bed; /* the spawn hook's */

static inline void note(struct bed *b, const char *fmt, ...) _printf_(2, 3);
static inline void note(struct bed *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	assert_int_equal(strbuf_vprintf(&b->record, fmt, ap), 0);
	va_end(ap);
	strbuf_putc(&b->record, '\n');
}

static inline void bed_put(struct bed *b, const char *path, const char *fmt, ...) _printf_(3, 4);
static inline void bed_put(struct bed *b, const char *path, const char *fmt, ...)
{
	_cleanup_(strbuf_done) struct strbuf s = STRBUF_INIT(1 << 20);
	va_list ap;

	va_start(ap, fmt);
	assert_int_equal(strbuf_vprintf(&s, fmt, ap), 0);
	va_end(ap);
	testdir_puts(&b->t, path, strbuf_str(&s));
}

/* -- the kernel -- */

static const struct {
	const char *name, *on;
} bed_depends[] = { { "nvidia_uvm", "nvidia" },		{ "nvidia_modeset", "nvidia" },
		    { "nvidia_drm", "nvidia_modeset" }, { "nvidia_peermem", "nvidia" },
		    { "nvidia_fs", "nvidia" },		{ "gdrdrv", "nvidia" } };

static inline void write_modules(struct bed *b)
{
	_cleanup_(strbuf_done) struct strbuf s = STRBUF_INIT(65536);

	strbuf_puts(&s, "");
	for (char **m = b->loaded; m && *m; m++) {
		_cleanup_(strbuf_done) struct strbuf holders = STRBUF_INIT(4096);
		unsigned n = 0;

		for (size_t i = 0; i < ARRAY_LEN(bed_depends); i++)
			if (strcmp(bed_depends[i].on, *m) == 0 &&
			    strv_contains(b->loaded, bed_depends[i].name))
				n++, strbuf_printf(&holders, "%s,", bed_depends[i].name);
		if (strcmp(*m, "nvidia") == 0)
			n += (unsigned)b->user_of_nvidia;
		strbuf_printf(&s, "%s 16384 %u %s Live 0x0000000000000000 (O)\n", *m, n,
			      holders.len ? strbuf_str(&holders) : "-");
	}
	testdir_puts(&b->t, "root/proc/modules", strbuf_str(&s));
}

static inline void bed_load(struct bed *b, const char *name, const char *version)
{
	_cleanup_free_ char *kernel_name = kmod_name_underscores(name);

	assert_int_equal(strv_push(&b->loaded, kernel_name), 0);
	if (version) {
		_cleanup_free_ char *path = str_printf("root/sys/module/%s/version", kernel_name);

		bed_put(b, path, "%s\n", version);
	}
	write_modules(b);
}

static inline bool bed_is_loaded(const struct bed *b, const char *name)
{
	return b->loaded && strv_contains(b->loaded, name);
}

/* Mounts, module calls and programs count; what takes things back never fails by number. */
static inline bool bed_fails(struct bed *b)
{
	b->failed |= ++b->effects == b->fail_at;
	return b->effects == b->fail_at;
}

static inline int bed_insert(void *arg, int fd, const char *params)
{
	_cleanup_(modinfo_done) struct modinfo m = MODINFO_INIT;
	struct bed *b = arg;

	assert_int_equal(modinfo_read_fd(fd, &m, NULL), 0);
	note(b, "insert %s [%s]", m.name, params);
	if (bed_fails(b))
		return -ENOMEM;
	if (b->fail_insert && strcmp(m.name, b->fail_insert) == 0) {
		if (b->on_refusal)
			b->on_refusal(b);
		return b->fail_insert_errno;
	}
	bed_load(b, m.name, m.version);
	return 0;
}

static inline int bed_remove(void *arg, const char *name)
{
	struct bed *b = arg;

	note(b, "remove %s", name);
	for (char **m = b->loaded; m && *m; m++)
		if (strcmp(*m, name) == 0) {
			free(*m);
			memmove(m, m + 1, strv_len(m + 1) * sizeof(*m) + sizeof(*m));
			break;
		}
	write_modules(b);
	return 0;
}

static inline int bed_klog(void *arg _unused_, char **ret)
{
	*ret = strdup("");
	return *ret ? 0 : -ENOMEM;
}

static inline int bed_insert_kernel(void *arg, const char *name)
{
	struct bed *b = arg;

	note(b, "modprobe %s", name);
	return bed_fails(b) ? -EIO : 0;
}

/* -- mounts, signals, time -- */

/* Paths of the container, without the fixture's own. */
static inline const char *inside(const struct bed *b, const char *path)
{
	size_t n = strlen(b->root);

	return !path ? "-" : strncmp(path, b->root, n) != 0 ? path : path[n] ? path + n : "/";
}

static inline const char *mount_kind(unsigned long flags)
{
	static const struct {
		unsigned long flag;
		const char *name;
	} kinds[] = { { MS_UNBINDABLE, "unbindable" }, { MS_PRIVATE, "private" }, { MS_SHARED, "shared" },
		      { MS_REMOUNT, "again" },	       { MS_BIND, "bind" },	  { MS_MOVE, "move" } };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (flags & kinds[i].flag)
			return kinds[i].name;
	return "new";
}

static inline void write_mounts(struct bed *b)
{
	testdir_puts(&b->t, "root/proc/self/mountinfo", strbuf_str(&b->mounts));
}

static inline void bed_mounted(struct bed *b, const char *target)
{
	strbuf_printf(&b->mounts, "36 35 98:0 / %s%s rw shared:1 - ext4 /dev/x rw\n", b->root, target);
	write_mounts(b);
}

static inline int bed_mount(void *arg, const char *source, const char *target, const char *type,
			    unsigned long flags, const char *data _unused_)
{
	struct bed *b = arg;

	note(b, "mount %s%s %s %s", mount_kind(flags), flags & MS_REC ? "-rec" : "",
	     type ? type : inside(b, source), inside(b, target));
	if (bed_fails(b))
		return -ENOMEM;
	if (b->fail_mount && span_ends(SPAN(target), b->fail_mount))
		return -EINVAL;
	if (flags & (MS_MOVE | MS_REMOUNT))
		bed_mounted(b, inside(b, target));
	return 0;
}

static inline int bed_mount_from_node(void *arg, const char *node_directory, const char *target)
{
	note(arg, "mount of the node %s %s", node_directory, inside(arg, target));
	return 0;
}

/* Takes the last mount at that point and all below it away. */
static inline int bed_umount(void *arg, const char *target, int flags)
{
	_cleanup_(strbuf_done) struct strbuf rest = STRBUF_INIT(1 << 20);
	struct bed *b = arg;
	struct span text = { strbuf_str(&b->mounts), b->mounts.len }, line;
	_cleanup_free_ char *word = str_printf(" %s ", target);
	const char *last = NULL;

	note(b, "umount %s%s", inside(b, target), flags & MNT_DETACH ? " lazily" : "");
	strbuf_puts(&rest, "");
	for (struct span t = text; span_line(&t, &line);)
		if (memmem(line.p, line.len, word, strlen(word)))
			last = line.p;
	while (span_line(&text, &line))
		if (line.p != last)
			strbuf_printf(&rest, SPAN_FMT "\n", SPAN_ARG(line));
	strbuf_reset(&b->mounts);
	strbuf_puts(&b->mounts, strbuf_str(&rest));
	write_mounts(b);
	return last ? 0 : -EINVAL;
}

static inline void bed_process_ends(struct bed *b, int pid)
{
	char name[32];
	_cleanup_close_ int proc_fd = openat(b->t.fd, "root/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	snprintf(name, sizeof(name), "%d", pid);
	assert_int_equal(tree_remove(proc_fd, name), 0);
}

static inline int bed_kill(void *arg, int pid, uint64_t start_ticks, int signal)
{
	struct bed *b = arg;
	char path[64];
	_cleanup_free_ char *stat = NULL;

	snprintf(path, sizeof(path), "root/proc/%d/comm", pid);
	stat = testdir_read(&b->t, path, NULL);
	assert_non_null(stat);
	assert_int_equal(start_ticks, 100);
	note(b, "kill %.*s %d", (int)strcspn(stat, "\n"), stat, signal);
	if (!b->stubborn || strncmp(stat, b->stubborn, strlen(b->stubborn)) != 0)
		bed_process_ends(b, pid);
	return 0;
}

static inline int bed_wait(void *arg, unsigned ms)
{
	struct bed *b = arg;
	int sig = interrupt_signal() ?: b->waits < ARRAY_LEN(b->signals) ? b->signals[b->waits] : SIGTERM;

	interrupt_set(0);
	if (!b->quiet_waits)
		note(b, "wait %u ms%s", ms, sig ? ", signal" : "");
	b->waits++;
	b->now_ms += ms;
	if (b->on_wait)
		b->on_wait(b);
	return sig;
}

static inline uint64_t bed_now(void *arg)
{
	return ((struct bed *)arg)->now_ms;
}

static inline int bed_label(void *arg, int fd, const char *name, const char *context)
{
	assert_true(fd >= 0);
	note(arg, "label %s %s", name, context);
	return 0;
}

/* A file stands for the device: nodes need a privilege tests do not have. */
static inline int bed_mknod(void *arg, int dir_fd, const char *name, mode_t mode, dev_t number)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	note(arg, "node %s %u:%u %04o", name, major(number), minor(number), mode);
	assert_true(fd >= 0);
	close_fdp(&fd);
	return 0;
}

/* -- processes -- */

static inline void bed_process(struct bed *b, int pid, const char *comm, const char *node)
{
	char path[128];

	snprintf(path, sizeof(path), "root/proc/%d/comm", pid);
	bed_put(b, path, "%s\n", comm);
	snprintf(path, sizeof(path), "root/proc/%d/stat", pid);
	bed_put(b, path, "%d (%.15s) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0\n", pid, comm);
	if (!node)
		return;
	snprintf(path, sizeof(path), "root/proc/%d/fd/keep", pid);
	bed_put(b, path, " ");
	snprintf(path, sizeof(path), "root/proc/%d/fd/3", pid);
	assert_int_equal(symlinkat(node, b->t.fd, path), 0);
}

/* Where a process lives: its mount namespace and, for a container's, the cgroup with that id's first digits. */
static inline void bed_lives(struct bed *b, const char *who, const char *mount_ns, const char *id)
{
	_cleanup_free_ char *dir = str_printf("root/proc/%s/ns", who), *link = str_printf("%s/mnt", dir),
			    *cgroup = str_printf("root/proc/%s/cgroup", who);

	fixture_dir(&b->t, dir);
	assert_int_equal(symlinkat(mount_ns, b->t.fd, link), 0);
	if (id)
		bed_put(b, cgroup, "0::/machine/libpod-%s%052d/container\n", id, 0);
}

static const struct {
	const char *program, *comm, *pid_file;
} bed_daemons[] = {
	{ "nvidia-persistenced", "nvidia-persistenced", "nvidia-persistenced/nvidia-persistenced.pid" },
	{ "nvidia-gridd", "nvidia-gridd", "nvidia-gridd/nvidia-gridd.pid" },
	{ "nvidia-topologyd", "nvidia-topologyd", "nvidia-topologyd/nvidia-topologyd.pid" },
	{ "nv-fabricmanager", "nv-fabricmanager", "nvidia-fabricmanager/nv-fabricmanager.pid" },
	{ "nvidia-imex", "nvidia-imex", "nvidia-imex/nvidia-imex.pid" },
	{ "/usr/bin/nvidia-fabricmanager-start.sh", "nv-fabricmanager",
	  "nvidia-fabricmanager/nv-fabricmanager.pid" },
};

/* A daemon puts itself into the background: a process with a device open, and a PID file. */
static inline void bed_daemon(struct bed *b, const char *program)
{
	for (size_t i = 0; i < ARRAY_LEN(bed_daemons); i++) {
		char path[128];

		if (strcmp(bed_daemons[i].program, program) != 0)
			continue;
		bed_process(b, ++b->next_pid, bed_daemons[i].comm, "/dev/nvidiactl");
		snprintf(path, sizeof(path), "root/run/%s", bed_daemons[i].pid_file);
		bed_put(b, path, "%d\n", b->next_pid);
	}
}

static int bed_spawn(struct spawn *s, void *arg);

static inline int bed_really(struct spawn *s)
{
	int r;

	spawn_set_hook(NULL, NULL);
	r = spawn_run(s, NULL);
	spawn_set_hook(bed_spawn, NULL);
	return r;
}

static int bed_spawn(struct spawn *s, void *arg _unused_)
{
	static const char *const real[] = { "make", "gcc", "ld", "cc", "as", "strip", "nm", "objdump" };
	struct bed *b = the_bed;
	const char *base = strrchr(s->argv[0], '/');

	for (size_t i = 0; i < ARRAY_LEN(real); i++)
		if (strcmp(base ? base + 1 : s->argv[0], real[i]) == 0) {
			b->compilers += i == 0;
			return bed_really(s);
		}
	strbuf_puts(&b->record, "run");
	for (char **a = s->argv; *a; a++)
		strbuf_printf(&b->record, " %s", inside(b, *a));
	for (char **v = s->env; v && *v; v++)
		if (strncmp(*v, "LD_LIBRARY_PATH=", 16) == 0)
			strbuf_printf(&b->record, " with %s", *v);
	strbuf_putc(&b->record, '\n');
	if (b->say_to_smi && strcmp(s->argv[0], "nvidia-smi") == 0) {
		s->out = strdup(b->say_to_smi);
		s->out_len = strlen(s->out);
	}
	s->tail = strdup("no reason");
	s->status = (b->fail_spawn && strcmp(s->argv[0], b->fail_spawn) == 0) || bed_fails(b);
	if (!s->status)
		bed_daemon(b, s->argv[0]);
	if (strcmp(s->argv[0], "depmod") == 0)
		testdir_puts(&b->t, "root/lib/modules/" BED_RELEASE "/modules.dep.bin", "index");
	return 0;
}

/* -- the parts -- */

static const char bed_manifest[] =
    "NVIDIA Accelerated Graphics Driver for Linux-x86_64\n" BED_VERSION "\n \n"
    "nvidia nvidia-uvm nvidia-modeset nvidia-drm nvidia-peermem\n \n \n./kernel/\n./kernel/precompiled/\n"
    "kernel/Makefile 0644 KERNEL_MODULE_SRC INHERIT_PATH_DEPTH:1 MODULE:resman\n"
    "libcuda.so." BED_VERSION " 0755 CUDA_LIB NATIVE / MODULE:gpgpu\n"
    "nvidia-smi 0755 UTILITY_BINARY MODULE:utils\n"
    "firmware/gsp_tu10x.bin 0644 FIRMWARE INHERIT_PATH_DEPTH:1 MODULE:resman\n"
    "LICENSE 0644 DOCUMENTATION INHERIT_PATH_DEPTH:0 MODULE:installer\n";

static inline void tar_text(struct strbuf *tar, const char *name, const char *text)
{
	mktar_file(tar, name, text);
}

static inline void tar_module(struct strbuf *tar, const char *dir, const char *name)
{
	char path[128], text[2048];

	snprintf(path, sizeof(path), "./%s/%s/%s.c", dir, name, name);
	snprintf(text, sizeof(text),
		 "#define INFO(n, s) static const char n[] __attribute__((used, section(\".modinfo\"), "
		 "aligned(1))) = s\n"
		 "INFO(i1, \"vermagic=" FAKE_RELEASE " SMP mod_unload modversions \");\n"
		 "INFO(i2, \"depends=%s\");\nINFO(i3, \"name=%s\");\nINFO(i4, \"version=" BED_VERSION "\");\n"
		 "INFO(i5, \"parm=NVreg_EnableGpuFirmware:x (int)\");\n"
		 "int this_module __attribute__((section(\".gnu.linkonce.this_module\"))) = 1;\n",
		 strcmp(name, "nvidia") == 0 ? "" : "nvidia", name);
	tar_text(tar, path, text);
}

/* What the vendor ships compiled and links the interfaces with; compiled once. */
static inline void tar_core(struct bed *b, struct strbuf *tar, const char *name)
{
	static char *bytes;
	static size_t len;

	if (!bytes) {
		_cleanup_free_ char *from = str_printf("%s/core.c", b->t.path),
				    *to = str_printf("%s/core.o", b->t.path);
		_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("core object");

		testdir_puts(&b->t, "core.c", "static int core __attribute__((used)) = 1;\n");
		(void)spawn_argv(&s, "gcc", "-c", "-o", to, from, NULL);
		assert_int_equal(spawn_check(&s, NULL), 0);
		bytes = testdir_read(&b->t, "core.o", &len);
		assert_non_null(bytes);
	}
	mktar_add(tar, &(struct mktar){ .name = name, .bytes = bytes, .len = len, .mode = 0644 });
}

static inline void bed_runfile(struct bed *b)
{
	static const char *const modules[] = { "nvidia", "nvidia-uvm", "nvidia-modeset", "nvidia-drm",
					       "nvidia-peermem" };
	static const char *const dirs[] = { "kernel", "kernel-open" };
	_cleanup_(strbuf_done) struct strbuf tar = STRBUF_INIT(8 << 20);
	_cleanup_free_ char *makefile = NULL;
	const char *first = strchr(fake_makefile, '\n') + 1;
	uint8_t elf[2048];

	makefile = str_printf("MODULES := $(filter-out $(NV_EXCLUDE_KERNEL_MODULES),nvidia nvidia-uvm "
			      "nvidia-modeset nvidia-drm "
			      "nvidia-peermem)\n%s"
			      "nv-modeset-linux.o: modules\n\t@cp nvidia-modeset/nvidia-modeset.o $@\n",
			      first);
	tar_text(&tar, ".manifest", bed_manifest);
	for (size_t d = 0; d < ARRAY_LEN(dirs); d++) {
		char path[128];

		snprintf(path, sizeof(path), "./%s/Makefile", dirs[d]);
		tar_text(&tar, path, makefile);
		snprintf(path, sizeof(path), "./%s/Kbuild", dirs[d]);
		tar_text(&tar, path, "# none\n");
		snprintf(path, sizeof(path), "./%s/conftest.sh", dirs[d]);
		tar_text(&tar, path, fake_conftest);
		for (size_t i = 0; i < ARRAY_LEN(modules); i++)
			tar_module(&tar, dirs[d], modules[i]);
		snprintf(path, sizeof(path), "./%s/nvidia/nv-kernel.o_binary", dirs[d]);
		tar_core(b, &tar, path);
		snprintf(path, sizeof(path), "./%s/nvidia-modeset/nv-modeset-kernel.o_binary", dirs[d]);
		tar_core(b, &tar, path);
	}
	mktar_add(&tar, &(struct mktar){ .name = "libcuda.so." BED_VERSION,
					 .bytes = elf,
					 .len = fixture_elf(elf, sizeof(elf), 64, ELF_MACHINE_X86_64,
							    "libcuda.so.1", NULL),
					 .mode = 0755 });
	mktar_add(&tar,
		  &(struct mktar){ .name = "nvidia-smi", .bytes = "#!/bin/true\n", .len = 12, .mode = 0755 });
	tar_text(&tar, "firmware/gsp_tu10x.bin", "firmware\n");
	tar_text(&tar, "LICENSE", "do as you like\n");
	mktar_end(&tar);
	mkrun_write(&b->t, BED_RUNFILE, &tar, &(struct mkrun){ .compression = COMPRESSION_GZIP });
}

/* What a node of the customer looks like from inside the pod; the node's own root is proc/1/root. */
static inline void bed_root(struct bed *b)
{
	static const char *const dirs[] = { "root/usr/lib64",
					    "root/usr/lib",
					    "root/usr/bin",
					    "root/dev",
					    "root/etc",
					    "root/var",
					    "root/run",
					    "root/tmp",
					    "root/proc/self",
					    "root/sys",
					    "root/proc/1/root/proc",
					    "root/proc/1/root/sys",
					    "root/proc/1/root/var/lib" };
	struct ktree *k = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		fixture_dir(&b->t, dirs[i]);
	fixture_link(&b->t, "usr/lib64", "root/lib64");
	fixture_link(&b->t, "usr/lib", "root/lib");
	fixture_link(&b->t, "../run", "root/var/run");
	fixture_object(&b->t, "root/usr/lib64/libc.so.6", 64, ELF_MACHINE_X86_64, "libc.so.6", NULL);
	testdir_puts(&b->t, "root/etc/os-release", "ID=\"rhel\"\nVERSION_ID=\"9.2\"\n");
	testdir_puts(&b->t, "root/etc/ld.so.conf", "");
	testdir_puts(&b->t, "root/proc/sys/kernel/osrelease", BED_RELEASE "\n");
	testdir_puts(&b->t, "root/proc/stat", "cpu 0\nbtime 1000\n");
	testdir_puts(&b->t, "root/proc/1/mounts", "proc /proc proc rw 0 0\n");
	testdir_puts(&b->t, "root/proc/1/root/sys/module/firmware_class/parameters/path", "\n");
	testdir_puts(&b->t, BED_GPU "vendor", "0x10de\n");
	testdir_puts(&b->t, BED_GPU "device", "0x20b5\n");
	testdir_puts(&b->t, BED_GPU "subsystem_vendor", "0x10de\n");
	testdir_puts(&b->t, BED_GPU "subsystem_device", "0x1533\n");
	testdir_puts(&b->t, BED_GPU "class", "0x030200\n");
	testdir_puts(&b->t, BED_GPU "revision", "0xa1\n");
	fake_kernel(&b->t, "root/usr/src/kernels/" BED_RELEASE);
	assert_ok(ktree_open_at(b->t.fd, "root/usr/src/kernels/" BED_RELEASE, NULL, NULL, NULL, &k, &e), &e);
	bed_put(b, "root/proc/version", "%s\n", k->banner ? k->banner : "");
	ktree_freep(&k);
}

static inline void bed_env(struct bed *b, const char *const *more)
{
	static const char *const usual[] = { ("DRIVER_VERSION=" BED_VERSION), "TARGETARCH=amd64",
					     "DRIVER_TYPE=passthrough", "DISABLE_VGPU_VERSION_CHECK=true" };
	_cleanup_strv_ char **list = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;

	for (; more && *more; more++)
		assert_int_equal(strv_push(&list, *more), 0);
	for (size_t i = 0; i < ARRAY_LEN(usual); i++)
		assert_int_equal(strv_push(&list, usual[i]), 0);
	container_env_done(&b->env);
	assert_ok(container_env_read(list, &b->env, &e), &e);
}

static inline void bed_open(struct bed *b)
{
	_cleanup_free_ char *store = str_printf("%s/store", b->t.path);
	_cleanup_(err_done) struct err e = ERR_INIT;

	engine_freep(&b->en);
	assert_ok(engine_open(b->root, store, ENGINE_STORE_CREATE, &b->en, &e), &e);
	b->en->lock_timeout_s = 5;
	b->en->offline = true;
}

static inline void bed_make(struct bed *b)
{
	*b = (struct bed){ .record = STRBUF_INIT(1 << 20), .mounts = STRBUF_INIT(1 << 20), .next_pid = 1000 };
	b->signals[0] = SIGTERM;
	/* Hundreds of small synced files: in memory where that is possible. */
	if (access("/dev/shm", W_OK) == 0)
		assert_int_equal(setenv("TMPDIR", "/dev/shm", 0), 0);
	/* One binary in an image, without its data. */
	assert_int_equal(setenv("NVDRIVER_DATADIR", "/nonexistent", 1), 0);
	testdir_make(&b->t);
	b->root = str_printf("%s/root", b->t.path);
	bed_root(b);
	bed_runfile(b);
	write_modules(b);
	write_mounts(b);
	bed_env(b, NULL);
	bed_open(b);
	b->ops = (struct container_ops){ .mount = bed_mount,
					 .mount_from_node = bed_mount_from_node,
					 .umount = bed_umount,
					 .kill = bed_kill,
					 .wait = bed_wait,
					 .now_ms = bed_now,
					 .label = bed_label,
					 .mknod = bed_mknod,
					 .kernel = { bed_insert, bed_remove, bed_klog, bed_insert_kernel, b },
					 .arg = b };
	the_bed = b;
	spawn_set_hook(bed_spawn, NULL);
	interrupt_set(0);
}

static inline void bed_done(struct bed *b)
{
	spawn_set_hook(NULL, NULL);
	engine_freep(&b->en);
	container_env_done(&b->env);
	strbuf_done(&b->record);
	strbuf_done(&b->mounts);
	strv_freep(&b->loaded);
	free(b->root);
	interrupt_set(0);
	testdir_done(&b->t);
}

/* A fresh container on the same node: what is only in the container's root is gone. */
static inline void bed_fresh_container(struct bed *b)
{
	static const char *const gone[] = { "lib64", "usr", "etc", "var", "lib" };
	_cleanup_close_ int fd = openat(b->t.fd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	engine_freep(&b->en);
	for (size_t i = 0; i < ARRAY_LEN(gone); i++)
		assert_int_equal(tree_remove(fd, gone[i]), 0);
	bed_root(b);
	bed_open(b);
}

/* One command from lock to end; the record holds only this run's effects. */
static inline int bed_run(struct bed *b, enum container_command command, struct err *e)
{
	_cleanup_(container_done) struct container c = { .state = { -EBADF, -EBADF },
							 .lock = CONTAINER_LOCK_INIT };
	int r = container_init(b->en, &b->env, &b->o, &b->ops, &c, e);

	strbuf_reset(&b->record);
	strbuf_puts(&b->record, "");
	b->waits = 0;
	b->compilers = b->effects = 0;
	b->failed = false;
	return r < 0 ? r : container_run(&c, command, e);
}

/* The set of the last build as a package in the vendor's format, beside the sources; the set itself is gone. */
static inline void bed_set_to_package(struct bed *b)
{
	const struct modset_want want = { .driver = BED_VERSION,
					  .flavour = "proprietary",
					  .release = BED_RELEASE };
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_close_ int tree_fd = -EBADF, dir_fd = -EBADF;
	_cleanup_free_ char *name = NULL;
	json_t *record = NULL;
	char key[65];

	assert_ok(modset_find(b->en->store, &want, key, &record, &e), &e);
	assert_ok(store_tree_open(b->en->store, json_string_value(json_object_get(record, "tree")), &tree_fd,
				  NULL, &e),
		  &e);
	fixture_dir(&b->t, BED_PACKAGES);
	dir_fd = openat(b->t.fd, BED_PACKAGES, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_ok(modset_export(b->en->store, key, tree_fd, NULL, dir_fd, &name, &e), &e);
	assert_ok(store_remove(b->en->store, STORE_MODULE, key, &e), &e);
	json_decref(record);
}

/* -- comparing -- */

struct effect {
	const char *text;
	const char *
	    difference; /* the defect whose cure makes it differ from the script, NULL = as the script does */
};

/* Tables one after the other; each ends with a NULL text, the list with NULL. */
static inline void expect_effects(struct bed *b, const struct effect *const *parts)
{
	struct span rest = { strbuf_str(&b->record), b->record.len }, line;

	for (; *parts; parts++)
		for (const struct effect *want = *parts; want->text; want++)
			if (!span_line(&rest, &line) || !span_eq(line, want->text))
				fail_msg("effect " SPAN_FMT "\nwanted %s\nall:\n%s", SPAN_ARG(line),
					 want->text, strbuf_str(&b->record));
	if (span_line(&rest, &line))
		fail_msg("effect " SPAN_FMT "\nwanted no more\nall:\n%s", SPAN_ARG(line),
			 strbuf_str(&b->record));
}
#define EXPECT(b, ...) expect_effects(b, (const struct effect *const[]){ __VA_ARGS__, NULL })
