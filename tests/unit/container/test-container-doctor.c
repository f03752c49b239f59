/* SPDX-License-Identifier: Apache-2.0 */
#include "fakedriver.h"

#include "bundle.h"
#include "container-doctor.h"
#include "fd.h"
#include "ktree.h"
#include "modset.h"
#include "precompiled.h"
#include "spawn.h"
#include "strbuf.h"

#include "../userspace/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>

#define GPU   "root/sys/bus/pci/devices/0000:01:00.0/"
#define SET   "store/modules/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef/record.json"
#define BLACK "node/etc/modprobe.d/blacklist-nouveau.conf"

/* A container on a node where everything is as it should be, except for what a case changes. */
struct bed {
	struct testdir t;
	struct host *node;
	struct engine *en;
	struct container_env env;
	bool no_node, may_connect;
	const struct call *calls; /* what the package manager answers */
	int lock_fd;
};

/* The first whose part is in the command line answers; ended by a NULL. */
struct call {
	const char *part;
	int status;
	const char *out, *tail;
};

static void put(const struct bed *b, const char *path, const char *text)
{
	testdir_puts(&b->t, path, text);
}

static void drop(const struct bed *b, const char *path)
{
	assert_int_equal(unlinkat(b->t.fd, path, 0), 0);
}

static void bind(const struct bed *b, const char *driver)
{
	char target[64];

	(void)unlinkat(b->t.fd, GPU "driver", 0);
	snprintf(target, sizeof(target), "../../../bus/pci/drivers/%s", driver);
	assert_int_equal(symlinkat(target, b->t.fd, GPU "driver"), 0);
}

static void set_age(const struct bed *b, const char *path, time_t seconds_ago)
{
	const struct timespec t = { .tv_sec = time(NULL) - seconds_ago };
	const struct timespec both[2] = { t, t };

	assert_int_equal(utimensat(b->t.fd, path, both, 0), 0);
}

static void bed_start(struct bed *b)
{
	static const struct {
		const char *path, *text;
	} files[] = {
		{ GPU "vendor", "0x10de\n" },
		{ GPU "device", "0x20b5\n" },
		{ GPU "class", "0x030200\n" },
		{ "root/proc/sys/kernel/osrelease", FAKE_RELEASE "\n" },
		{ "root/proc/version",
		  "Linux version " FAKE_RELEASE " (gcc (GCC) 11.3.1 20221121, GNU ld) #1 SMP\n" },
		{ "root/proc/modules", "" },
		{ "root/proc/cmdline", "quiet\n" },
		{ "root/proc/meminfo", "MemAvailable: 8000000 kB\n" },
		{ "root/proc/1/mounts", "selinuxfs /sys/fs/selinux selinuxfs rw 0 0\n" },
		{ "root/proc/self/mountinfo", "21 1 0:20 / / rw - overlay overlay rw\n" },
		{ "root/sys/module/firmware_class/parameters/path", "\n" },
		{ "root/sys/module/module/parameters/sig_enforce", "N\n" },
		{ "root/sys/kernel/security/lockdown", "[none] integrity confidentiality\n" },
		{ "root/usr/bin/gcc", "" },
		{ "root/usr/bin/make", "" },
		{ "root/usr/bin/ld", "" },
		{ "root/usr/lib/gcc/x86_64-redhat-linux/11/cc1", "" },
		{ "node/sys/fs/selinux/enforce", "0" },
		{ "node/boot/initramfs-" FAKE_RELEASE ".img", "" },
		{ BLACK, "blacklist nouveau\noptions nouveau modeset=0\n" },
		{ "node/usr/bin/bash", "" },
	};
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *root = NULL, *node = NULL, *store = NULL;

	*b = (struct bed){ .lock_fd = -EBADF };
	testdir_make(&b->t);
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		put(b, files[i].path, files[i].text);
	set_age(b, BLACK, 1000);
	set_age(b, "node/boot/initramfs-" FAKE_RELEASE ".img", 500);
	fake_kernel(&b->t, "root/usr/src/kernels/" FAKE_RELEASE);
	root = str_printf("%s/root", b->t.path);
	node = str_printf("%s/node", b->t.path);
	store = str_printf("%s/store", b->t.path);
	b->env.driver_version = strdup("535.183.06");
	b->env.arch = strdup("x86_64");
	assert_ok(host_open(node, &b->node, &e), &e);
	assert_ok(engine_open(root, store, ENGINE_STORE_CREATE, &b->en, &e), &e);
}

static void bed_end(struct bed *b)
{
	engine_freep(&b->en);
	host_freep(&b->node);
	container_env_done(&b->env);
	spawn_set_hook(NULL, NULL);
	close_fdp(&b->lock_fd);
	testdir_done(&b->t);
}

/* -- what each case changes -- */

static void nothing(struct bed *b _unused_)
{
}
static void nouveau_holds(struct bed *b)
{
	bind(b, "nouveau");
	put(b, "root/proc/modules", "nouveau 100 0 - Live 0x0\n");
	drop(b, BLACK);
}
static void nouveau_until_dracut(struct bed *b)
{
	put(b, "root/proc/modules", "nouveau 100 0 - Live 0x0\n");
	set_age(b, BLACK, 100);
}
static void nouveau_until_reboot(struct bed *b)
{
	put(b, "root/proc/modules", "nouveau 100 0 - Live 0x0\n");
}
static void nouveau_later(struct bed *b)
{
	put(b, BLACK, "# blacklist nouveau\nblacklist nouveau_x\ninstall nouveau /sbin/modprobe x\n");
}
static void nouveau_on_cmdline(struct bed *b)
{
	drop(b, BLACK);
	put(b, "root/proc/cmdline", "quiet rd.driver.blacklist=snd,nouveau modprobe.blacklist=nouveau\n");
}
static void initramfs_old(struct bed *b)
{
	set_age(b, BLACK, 100);
}
static void node_unseen(struct bed *b)
{
	b->no_node = true;
}
static void nova_holds(struct bed *b)
{
	bind(b, "NovaCore");
}
static void vfio_holds(struct bed *b)
{
	bind(b, "vfio-pci");
}
static void other_holds(struct bed *b)
{
	bind(b, "somebody");
}
static void ours_holds(struct bed *b)
{
	bind(b, "nvidia");
}
static void no_gpu(struct bed *b)
{
	put(b, GPU "vendor", "0x8086\n");
}
static void host_driver(struct bed *b)
{
	put(b, "node/usr/bin/nvidia-smi", "");
}
static void export_left(struct bed *b)
{
	put(b, "root/proc/self/mountinfo",
	    "21 1 0:20 / / rw - overlay overlay rw\n22 1 0:20 / /run/nvidia/driver rw - overlay overlay "
	    "rw\n");
}
static void sibling_of_export(struct bed *b)
{
	put(b, "root/proc/self/mountinfo", "22 1 0:20 / /run/nvidia/driver2 rw - overlay overlay rw\n");
}
static void killed_container(struct bed *b)
{
	put(b, "root/run/nvidia/nvidia-driver.pid", "4242\n");
}
static void stale_daemon(struct bed *b)
{
	put(b, "root/run/nvidia-persistenced/nvidia-persistenced.pid", "99999\n");
}
static void realtime(struct bed *b)
{
	put(b, "root/proc/sys/kernel/osrelease", "5.14.0-284.30.1.rt14.315.el9_2.x86_64\n");
}
static void big_pages(struct bed *b)
{
	put(b, "root/proc/sys/kernel/osrelease", "5.14.0-570.19.1.el9_6.aarch64+64k\n");
}
static void old_card_open(struct bed *b)
{
	put(b, GPU "device", "0x1db6\n");
	b->env.module_type = MODULE_TYPE_OPEN;
}
static void old_card_auto(struct bed *b)
{
	put(b, GPU "device", "0x1db6\n");
}
static void no_tree(struct bed *b)
{
	drop(b, "root/usr/src/kernels/" FAKE_RELEASE "/Module.symvers");
}
/* Which would be asked: there is none. */
static void no_package_manager(struct bed *b)
{
	no_tree(b);
	b->may_connect = true;
}
static void tree_on_node(struct bed *b)
{
	assert_int_equal(mkdirat(b->t.fd, "node/usr/src", 0755), 0);
	assert_int_equal(renameat(b->t.fd, "root/usr/src/kernels", b->t.fd, "node/usr/src/kernels"), 0);
}
static void modules_in_store(struct bed *b)
{
	no_tree(b);
	put(b, SET,
	    "{\"driver\": \"535.183.06\", \"release\": \"" FAKE_RELEASE "\", \"flavour\": \"open\"}\n");
	drop(b, "root/usr/bin/gcc");
}
static void modules_of_another_version(struct bed *b)
{
	no_tree(b);
	put(b, SET, "{\"driver\": \"535.1\", \"release\": \"" FAKE_RELEASE "\", \"flavour\": \"open\"}\n");
}
static void no_compiler(struct bed *b)
{
	drop(b, "root/usr/bin/gcc");
}
static void other_compiler(struct bed *b)
{
	put(b, "root/proc/version", "Linux version x (gcc (GCC) 12.1.1 20220507 (Red Hat), GNU ld) #1\n");
}
static void signatures_wanted(struct bed *b)
{
	put(b, "root/sys/module/module/parameters/sig_enforce", "Y\n");
}
static void selinux_enforces(struct bed *b)
{
	put(b, "node/sys/fs/selinux/enforce", "1");
}
static void selinux_absent(struct bed *b)
{
	put(b, "root/proc/1/mounts", "proc /proc proc rw 0 0\n");
}
static void foreign_firmware(struct bed *b)
{
	put(b, "root/sys/module/firmware_class/parameters/path", "/lib/firmware/foreign\n");
}
static void foreign_firmware_with_ours(struct bed *b)
{
	foreign_firmware(b);
	put(b, "node/lib/firmware/foreign/nvidia/535.183.06/gsp_tu10x.bin", "");
}
static void own_firmware(struct bed *b)
{
	put(b, "root/sys/module/firmware_class/parameters/path", "/run/nvidia/driver/lib/firmware\n");
}
static void firmware_unseen(struct bed *b)
{
	drop(b, "root/sys/module/firmware_class/parameters/path");
}
static void little_memory(struct bed *b)
{
	put(b, "root/proc/meminfo", "MemAvailable: 300000 kB\n");
}
static void some_memory(struct bed *b)
{
	put(b, "root/proc/meminfo", "MemAvailable: 1000000 kB\n");
}
static void no_environment(struct bed *b)
{
	free(b->env.arch);
	b->env.arch = NULL;
}
static void no_version(struct bed *b)
{
	free(b->env.driver_version);
	b->env.driver_version = NULL;
}
static void nova_binds(struct bed *b)
{
	bind(b, "nova");
}
static void stub_holds(struct bed *b)
{
	bind(b, "pci-stub");
}
static void pci_unseen(struct bed *b)
{
	close_fdp(&b->en->host->sys_fd);
}
static void initrd_old(struct bed *b)
{
	drop(b, "node/boot/initramfs-" FAKE_RELEASE ".img");
	put(b, "node/boot/initrd.img-" FAKE_RELEASE, "");
	set_age(b, "node/boot/initrd.img-" FAKE_RELEASE, 500);
	set_age(b, BLACK, 100);
}
static void host_library(struct bed *b)
{
	put(b, "node/usr/lib64/libnvidia-ml.so.1", "");
}
static void living_daemon(struct bed *b)
{
	put(b, "root/proc/77/comm", "nv-fabricmanage\n");
	put(b, "root/run/nvidia-fabricmanager/nv-fabricmanager.pid", "77\n");
}
static void instance_runs(struct bed *b)
{
	killed_container(b);
	b->lock_fd = openat(b->t.fd, "root/run/nvidia/nvidia-driver.pid", O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(b->lock_fd, LOCK_EX | LOCK_NB), 0);
}
static void realtime_suffix(struct bed *b)
{
	put(b, "root/proc/sys/kernel/osrelease", "5.14.0-570.19.1.el9_6.x86_64+rt\n");
}
static void realtime_banner(struct bed *b)
{
	put(b, "root/proc/version", "Linux version " FAKE_RELEASE " (gcc (GCC) 11.3.1) #1 SMP PREEMPT_RT\n");
}
static void debug_kernel(struct bed *b)
{
	put(b, "root/proc/sys/kernel/osrelease", "5.14.0-570.19.1.el9_6.x86_64+debug\n");
}
static void uek_kernel(struct bed *b)
{
	put(b, "root/proc/sys/kernel/osrelease", "5.15.0-101.103.2.1.el9uek.x86_64\n");
}
static void release_unseen(struct bed *b)
{
	drop(b, "root/proc/sys/kernel/osrelease");
}
static void no_make(struct bed *b)
{
	drop(b, "root/usr/bin/make");
}
static void no_linker(struct bed *b)
{
	drop(b, "root/usr/bin/ld");
}
static void toolset_compiler(struct bed *b)
{
	other_compiler(b);
	fixture_dir(&b->t, "root/opt/rh/gcc-toolset-12");
}
static void memory_unseen(struct bed *b)
{
	drop(b, "root/proc/meminfo");
}
static void selinux_unseen(struct bed *b)
{
	drop(b, "root/proc/1/mounts");
}
static void locked_down(struct bed *b)
{
	put(b, "root/sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
}
static void secure_boot(struct bed *b)
{
	testdir_write(&b->t, "root/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
		      "\6\0\0\0\1", 5, 0644);
}
static void secure_boot_unseen(struct bed *b)
{
	secure_boot(b);
	drop(b, "root/sys/kernel/security/lockdown");
}
static void signing_key(struct bed *b)
{
	locked_down(b);
	put(b, "store/keys/nvidia-modsign-key-01234567.key", "");
	put(b, "store/keys/nvidia-modsign-crt-01234567.der", "");
}
/* sysfs has no free block, whatever this machine's disks have. */
static void no_space(struct bed *b)
{
	close_fdp(&b->en->store->dir_fd);
	b->en->store->dir_fd = open("/sys", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(b->en->store->dir_fd >= 0);
}

/* -- trees and modules that were brought -- */

static void tree_in_store(struct bed *b)
{
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *root = NULL;
	char identity[65];

	no_tree(b);
	assert_ok(store_stage_begin(b->en->store, &st, &e), &e);
	root = str_printf("store/tmp/%s/root", st.name);
	fake_kernel(&b->t, root);
	assert_ok(ktree_import(&st, FAKE_RELEASE, ".", ".", NULL, identity, &e), &e);
}

/* A bundle of all that the store has, and then an empty store. */
static void carry(struct bed *b, const char *to)
{
	const struct bundle_create how = { .from_store = true, .modules = true, .passphrase_fd = -1 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *path = str_printf("%s/%s/gpu.nvbundle", b->t.path, to),
			    *store = str_printf("%s/empty", b->t.path),
			    *root = str_printf("%s/root", b->t.path);
	json_t *made = NULL;

	fixture_dir(&b->t, to);
	assert_ok(bundle_create(b->en, &how, path, &made, &e), &e);
	json_decref(made);
	engine_freep(&b->en);
	assert_ok(engine_open(root, store, ENGINE_STORE_CREATE, &b->en, &e), &e);
}
static void tree_in_bundle(struct bed *b)
{
	tree_in_store(b);
	carry(b, "root/drivers");
}
static void bundle_of_modules(struct bed *b, const char *flavour)
{
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_(err_done) struct err e = ERR_INIT;
	json_t *record = json_pack("{s:s,s:s,s:s,s:s,s:i}", "driver", "535.183.06", "flavour", flavour,
				   "arch", "x86_64", "release", FAKE_RELEASE, "created_unix_s", 1);
	char key[65];

	no_tree(b);
	no_compiler(b);
	snprintf(key, sizeof(key), "%064x", 1);
	assert_ok(store_stage_begin(b->en->store, &st, &e), &e);
	assert_ok(modset_publish(&st, record, key, &e), &e);
	json_decref(record);
	carry(b, "node/var/lib/nvdriver/bundles");
}
static void modules_in_bundle(struct bed *b)
{
	bundle_of_modules(b, "open");
}
static void modules_of_another_type_in_bundle(struct bed *b)
{
	b->env.module_type = MODULE_TYPE_OPEN;
	bundle_of_modules(b, "proprietary");
}
static void package_for(struct bed *b, const char *banner)
{
	static const char dir[] = "root/usr/src/nvidia-535.183.06/kernel/precompiled";
	const struct precompiled_header h = { "535.183.06", "", banner, 0644 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_close_ int fd = -EBADF, content = -EBADF;
	struct precompiled_item it = {
		PRECOMPILED_MODULE, "nvidia-uvm.ko", NULL, NULL, NULL, -EBADF, -EBADF, -EBADF, false
	};

	no_tree(b);
	no_compiler(b);
	fixture_dir(&b->t, dir);
	put(b, "uvm", "a module");
	fd = openat(b->t.fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	it.fd = content = openat(b->t.fd, "uvm", O_RDONLY | O_CLOEXEC);
	assert_ok(precompiled_write(fd, "ready", &h, NULL, &it, 1, false, &e), &e);
}
static void package(struct bed *b)
{
	package_for(b, "Linux version " FAKE_RELEASE " (gcc (GCC) 11.3.1 20221121, GNU ld) #1 SMP");
}
static void package_of_another_kernel(struct bed *b)
{
	package_for(b, "Linux version " FAKE_RELEASE " #2 SMP");
}

/* -- repositories -- */

static int answer(struct spawn *s, void *arg)
{
	const struct bed *b = arg;
	_cleanup_(strbuf_done) struct strbuf line = STRBUF_INIT(8192);
	const struct call *c = b->calls;

	for (char **a = s->argv; *a; a++)
		(void)strbuf_printf(&line, "%s ", *a);
	while (c->part && !strstr(strbuf_str(&line), c->part))
		c++;
	if (!c->part)
		fail_msg("not expected: %s", strbuf_str(&line));
	s->status = c->status;
	s->out = strdup(c->out ?: "");
	s->out_len = strlen(s->out);
	s->tail = strdup(c->tail ?: "");
	return 0;
}

/* A RHEL node's kernel without a build tree anywhere near. */
static void packages(struct bed *b, const struct call *calls)
{
	put(b, "root/proc/sys/kernel/osrelease", "5.14.0-284.11.1.el9_2.x86_64\n");
	put(b, "root/usr/bin/dnf", "");
	b->may_connect = true;
	b->calls = calls;
	spawn_set_hook(answer, b);
}

#define REPOSITORIES "repo id name status\nbase b enabled\ndead d enabled\n"
#define DEAD                                                                                                 \
	{ "repolist", 0, REPOSITORIES, NULL },                                                               \
	{                                                                                                    \
		"--enablerepo=dead", 1, NULL, "Error: no route\n"                                            \
	}

static void repositories_have_it(struct bed *b)
{
	static const struct call calls[] = {
		{ "repolist", 0, REPOSITORIES, NULL },
		{ "makecache", 0, NULL, NULL },
		{ "repoquery", 0, "kernel-devel 5.14.0 284.11.1.el9_2 x86_64 base\n", NULL },
		{ NULL },
	};

	packages(b, calls);
}
static void repositories_lack_it(struct bed *b)
{
	static const struct call calls[] = {
		DEAD,
		{ "makecache", 0, NULL, NULL },
		{ "--whatprovides", 0, "", NULL },
		{ "repoquery", 0, "kernel-devel 5.14.0 427.13.1.el9_4 x86_64 base\n", NULL },
		{ NULL },
	};

	packages(b, calls);
}
static void repositories_are_dead(struct bed *b)
{
	static const struct call calls[] = {
		DEAD,
		{ "makecache", 1, NULL, "Error: no route\n" },
		{ NULL },
	};

	packages(b, calls);
}

static const char full_steps[] =
    "(1) write /etc/modprobe.d/blacklist-nouveau.conf with the two lines \"blacklist nouveau\" and \"options "
    "nouveau "
    "modeset=0\"; (2) dracut --force; (3) reboot; (4) check that lsmod no longer lists nouveau";

static const struct {
	void (*change)(struct bed *b);
	const char *check, *result, *text, *next;
	int status; /* of the whole, where this case alone decides it; -1 = not looked at */
} cases[] = {
	{ nothing, "nouveau", "ok", "/etc/modprobe.d/blacklist-nouveau.conf keeps it out", NULL, 0 },
	{ nouveau_holds, "gpu", "fail", "0000:01:00.0 (10de:20b5) is held by nouveau", full_steps, 1 },
	{ nouveau_holds, "nouveau", "fail", "nothing on the node keeps it out", full_steps, 1 },
	{ nouveau_until_dracut, "nouveau", "fail", "initramfs is older", "dracut --force, then reboot", 1 },
	{ nouveau_until_reboot, "nouveau", "fail", "still loaded", "reboot the node", 1 },
	{ nouveau_later, "nouveau", "warn", "nothing keeps it out at the next boot", full_steps, 1 },
	{ nouveau_on_cmdline, "nouveau", "ok", "command line keeps it out", NULL, 0 },
	{ initramfs_old, "nouveau", "warn", "initramfs is older", "dracut --force", 1 },
	{ node_unseen, "nouveau", "unknown", "cannot be seen", "--host-root", 2 },
	{ node_unseen, "host-driver", "unknown", "cannot be seen", "--host-root", 2 },
	{ nova_holds, "gpu", "fail", "held by NovaCore", "nova_core", 1 },
	{ vfio_holds, "gpu", "fail", "held by vfio-pci", "/sys/bus/pci/drivers/vfio-pci/unbind", 1 },
	{ other_holds, "gpu", "fail", "held by somebody", "unbind", 1 },
	{ ours_holds, "gpu", "ok", "bound to nvidia", NULL, 0 },
	{ no_gpu, "gpu", "fail", "no NVIDIA GPU", "slot", 1 },
	{ host_driver, "host-driver", "fail", "/usr/bin/nvidia-smi", "driver.enabled=false", 1 },
	{ export_left, "leftovers", "warn", "/run/nvidia/driver is still mounted", "unload", 1 },
	{ sibling_of_export, "leftovers", "ok", "nothing was left", NULL, 0 },
	{ killed_container, "leftovers", "ok", "container that was killed", NULL, 0 },
	{ stale_daemon, "leftovers", "ok", "nvidia-persistenced.pid names no living process", NULL, 0 },
	{ realtime, "kernel", "fail", "fully preemptible", "standard kernel", 1 },
	{ big_pages, "kernel", "ok", "kernel-64k-devel", NULL, -1 },
	{ old_card_open, "module-type", "fail", "0000:01:00.0 is too old", "KERNEL_MODULE_TYPE", 1 },
	{ old_card_auto, "module-type", "ok", "needs the proprietary", NULL, 0 },
	{ nothing, "modules", "ok", "tree in the container", NULL, 0 },
	{ tree_on_node, "modules", "ok", "tree on the node", NULL, 0 },
	{ no_tree, "modules", "fail", "no build tree", "bundle create", 1 },
	{ no_tree, "modules", "fail", "offline bundle: ", "bundle create", 1 },
	{ no_tree, "repositories", "unknown", "not asked", "--offline", 1 },
	{ nothing, "repositories", "ok", "nothing has to be fetched", NULL, 0 },
	{ no_package_manager, "repositories", "fail", "package manager: ", "a repository it can reach", 1 },
	{ modules_in_store, "modules", "ok", "neither compiler nor network", NULL, 0 },
	{ modules_in_store, "compiler", "ok", "none is needed", NULL, 0 },
	{ modules_of_another_version, "modules", "fail", "no build tree", "bundle create", 1 },
	{ no_compiler, "compiler", "fail", "no gcc", "bundle", 1 },
	{ other_compiler, "compiler", "warn", "built with gcc 12", "major version", 1 },
	{ signatures_wanted, "signatures", "warn", "no signing key", "--key", 1 },
	{ nothing, "selinux", "ok", "permissive", NULL, 0 },
	{ selinux_enforces, "selinux", "ok", "enforcing", NULL, 0 },
	{ selinux_absent, "selinux", "ok", "does not use SELinux", NULL, 0 },
	{ foreign_firmware, "firmware", "warn", "/lib/firmware/foreign, without", "puts it back", 1 },
	{ foreign_firmware_with_ours, "firmware", "ok", "files are there", NULL, 0 },
	{ own_firmware, "firmware", "ok", "ours", NULL, 0 },
	{ firmware_unseen, "firmware", "unknown", "cannot be read", "mount", 2 },
	{ little_memory, "memory", "fail", "292 MiB are available", "limit", 1 },
	{ some_memory, "memory", "warn", "976 MiB are available", "limit", 1 },
	{ no_environment, "environment", "warn", "TARGETARCH is not set", "image", 1 },
	{ no_version, "environment", "warn", "DRIVER_VERSION is not set", "image", 1 },
	{ nothing, "environment", "ok", "driver 535.183.06 for x86_64", NULL, 0 },
	{ nothing, "gpu", "ok", "0000:01:00.0 (10de:20b5) is free", NULL, 0 },
	{ nova_binds, "gpu", "fail", "held by nova", "nova_core", 1 },
	{ stub_holds, "gpu", "fail", "held by pci-stub", "pci-stub.ids", 1 },
	{ pci_unseen, "gpu", "unknown", "cannot be seen", "/sys", 2 },
	{ pci_unseen, "module-type", "unknown", "cannot be seen", NULL, 2 },
	{ initrd_old, "nouveau", "warn", "initramfs is older", "dracut --force", 1 },
	{ nothing, "host-driver", "ok", "no driver of its own", NULL, 0 },
	{ host_library, "host-driver", "fail", "/usr/lib64/libnvidia-ml.so.1", "driver.enabled=false", 1 },
	{ nothing, "leftovers", "ok", "nothing was left", NULL, 0 },
	{ living_daemon, "leftovers", "ok", "nothing was left", NULL, 0 },
	{ instance_runs, "leftovers", "ok", "a driver container runs", NULL, 0 },
	{ nothing, "kernel", "ok", "kernel " FAKE_RELEASE, NULL, 0 },
	{ realtime_suffix, "kernel", "fail", "fully preemptible", "standard kernel", 1 },
	{ realtime_banner, "kernel", "fail", "fully preemptible", "standard kernel", 1 },
	{ debug_kernel, "kernel", "ok", "kernel-debug-devel", NULL, -1 },
	{ uek_kernel, "kernel", "ok", "kernel-uek-devel", NULL, -1 },
	{ release_unseen, "kernel", "unknown", "cannot be read", "/proc", 2 },
	{ release_unseen, "modules", "unknown", "for which kernel", NULL, 2 },
	{ nothing, "module-type", "ok", "auto modules", NULL, 0 },
	{ tree_in_store, "modules", "ok", "tree in the store", NULL, 0 },
	{ tree_in_bundle, "modules", "ok", "tree in a bundle: drivers/gpu.nvbundle", NULL, 0 },
	{ modules_in_bundle, "modules", "ok", "from the bundle var/lib/nvdriver/bundles/gpu.nvbundle", NULL,
	  0 },
	{ modules_in_bundle, "compiler", "ok", "none is needed", NULL, 0 },
	{ modules_in_bundle, "memory", "ok", "nothing has to be compiled", NULL, 0 },
	{ modules_of_another_type_in_bundle, "modules", "fail", "no build tree", "bundle create", 1 },
	{ package, "modules", "ok", "from the package ready", NULL, 0 },
	{ package, "compiler", "ok", "none is needed", NULL, 0 },
	{ package_of_another_kernel, "modules", "fail", "no build tree", "bundle create", 1 },
	{ nothing, "compiler", "ok", "gcc of the kernel's major version", NULL, 0 },
	{ no_make, "compiler", "fail", "no make", "bundle", 1 },
	{ no_linker, "compiler", "fail", "no ld", "bundle", 1 },
	{ toolset_compiler, "compiler", "ok", "gcc of the kernel's major version", NULL, 0 },
	{ nothing, "signatures", "ok", "loads unsigned modules", NULL, 0 },
	{ locked_down, "signatures", "warn", "no signing key", "--key", 1 },
	{ secure_boot, "signatures", "ok", "loads unsigned modules", NULL, 0 },
	{ secure_boot_unseen, "signatures", "unknown", "Secure Boot is on", "/sys/kernel/security", 2 },
	{ signing_key, "signatures", "ok", "the store has a key", "mokutil --import", 0 },
	{ selinux_unseen, "selinux", "unknown", "cannot be seen", "hostPID", 2 },
	{ nothing, "firmware", "ok", "is free", NULL, 0 },
	{ nothing, "space", "ok", "MiB are free where the store is", NULL, 0 },
	{ no_space, "space", "fail", "0 MiB are free where the store is, 4096 MiB are wanted", "nvdriver gc",
	  1 },
	{ nothing, "memory", "ok", "MiB are available", NULL, 0 },
	{ memory_unseen, "memory", "unknown", "cannot be read", "/proc", 2 },
	{ repositories_have_it, "modules", "ok", "the package manager offers", NULL, 0 },
	{ repositories_have_it, "repositories", "ok", "kernel-devel-5.14.0-284.11.1.el9_2.x86_64 from base",
	  NULL, 0 },
	{ repositories_lack_it, "repositories", "fail", "left out: dead (its metadata: no route)",
	  "exactly this package", 1 },
	{ repositories_lack_it, "repositories", "fail", "nearest versions: 5.14.0-427.13.1.el9_4",
	  "exactly this package", 1 },
	{ repositories_are_dead, "repositories", "fail", "no route", "a repository it can reach", 1 },
};

/* What has to be found out (25.7), and the word it is reported under. */
static const struct {
	const char *finding, *check;
} findings[] = {
	{ "GPUs and the driver bound to each", "gpu" },
	{ "initramfs and blacklist", "nouveau" },
	{ "module type", "module-type" },
	{ "kernel variant", "kernel" },
	{ "source of the build tree", "modules" },
	{ "compiler", "compiler" },
	{ "space", "space" },
	{ "memory", "memory" },
	{ "Secure Boot", "signatures" },
	{ "SELinux", "selinux" },
	{ "firmware path", "firmware" },
	{ "stale mounts and PIDs", "leftovers" },
	{ "repositories", "repositories" },
	{ "a driver of the node's own", "host-driver" },
};

static bool has_case(const char *check, bool good)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (strcmp(cases[i].check, check) == 0 && (strcmp(cases[i].result, "ok") == 0) == good)
			return true;
	return false;
}

static void no_finding_is_without_fixtures(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_LEN(findings); i++)
		if (!has_case(findings[i].check, true) || !has_case(findings[i].check, false))
			fail_msg("%s", findings[i].finding);
}

static const json_t *find_row(const json_t *checks, const char *check, const char *text)
{
	const json_t *row, *found = NULL;
	size_t i;

	json_array_foreach (checks, i, row)
		if (strcmp(json_string_value(json_object_get(row, "check")), check) == 0 &&
		    (!found || strstr(json_string_value(json_object_get(row, "text")), text)))
			found = row;
	return found;
}

static void one_case(size_t i)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *before = NULL, *after = NULL, *path = NULL;
	struct doctor_count count;
	const char *next;
	json_t *checks = NULL;
	const json_t *row;
	struct bed b;

	bed_start(&b);
	cases[i].change(&b);
	path = strdup(getenv("PATH") ?: "");
	/* This machine's own package manager is none of the fixture's. */
	assert_int_equal(setenv("PATH", b.t.path, 1), 0);
	before = testdir_snapshot(&b.t);
	{
		const struct container_doctor q = { .h = b.en->host,
						    .node = b.no_node ? NULL : b.node,
						    .may_connect = b.may_connect,
						    .env = &b.env };

		assert_ok(container_doctor(b.en, &q, &checks, &count, &e), &e);
	}
	assert_int_equal(setenv("PATH", path, 1), 0);
	after = testdir_snapshot(&b.t);
	assert_string_equal(before, after);
	row = find_row(checks, cases[i].check, cases[i].text);
	assert_non_null(row);
	next = json_string_value(json_object_get(row, "next_step"));
	if (strcmp(json_string_value(json_object_get(row, "result")), cases[i].result) != 0 ||
	    !strstr(json_string_value(json_object_get(row, "text")), cases[i].text) ||
	    (cases[i].next && (!next || !strstr(next, cases[i].next))) ||
	    (cases[i].status >= 0 && container_doctor_status(&count) != cases[i].status))
		fail_msg("case %zu (%s): status %d, %s", i, cases[i].text, container_doctor_status(&count),
			 json_dumps(checks, JSON_INDENT(1)));
	json_decref(checks);
	bed_end(&b);
}

static void each_finding_on_its_own_fixture(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		one_case(i);
}

static void reads_banners(void **state _unused_)
{
	static const struct {
		const char *banner;
		unsigned want;
	} banners[] = {
		{ "Linux version 5.14 (mock@x) (gcc (GCC) 11.3.1 20221121 (Red Hat 11.3.1-4), GNU ld) #1",
		  11 },
		{ "Linux version 6.1 (d@x) (gcc-12 (Debian 12.2.0-14) 12.2.0, GNU ld) #1", 12 },
		{ "Linux version 6.1 (clang version 15.0.7) #1", 0 },
		{ "gcc", 0 },
		{ "", 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(banners); i++)
		assert_int_equal(doctor_banner_gcc(banners[i].banner), banners[i].want);
}

TEST_MAIN(cmocka_unit_test(no_finding_is_without_fixtures), cmocka_unit_test(each_finding_on_its_own_fixture),
	  cmocka_unit_test(reads_banners))
