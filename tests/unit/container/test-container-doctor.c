/* SPDX-License-Identifier: Apache-2.0 */
#include "fakedriver.h"

#include "container-doctor.h"
#include "strbuf.h"

#include <stdio.h>
#include <stdlib.h>
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

	*b = (struct bed){ 0 };
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

static const char full_steps[] =
    "(1) write /etc/modprobe.d/blacklist-nouveau.conf with the two lines \"blacklist nouveau\" and \"options "
    "nouveau "
    "modeset=0\"; (2) dracut --force; (3) reboot; (4) check that lsmod no longer lists nouveau";

static const struct {
	void (*change)(struct bed *b);
	const char *check, *result, *text, *next;
	int status; /* of the whole, where this case alone decides it; -1 = not looked at */
} cases[] = {
	{ nothing, "nouveau", "ok", "not loaded", NULL, 0 },
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
};

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

TEST_MAIN(cmocka_unit_test(each_finding_on_its_own_fixture), cmocka_unit_test(reads_banners))
