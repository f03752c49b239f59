/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole commands over fixture machines, their effects compared with tables taken from the specification's sections 6-20. A line that
 * differs from what the script did names the defect whose cure it is. */
#include "container-bed.h"

#include "container-peermem.h"
#include "container-status.h"
#include "err-container.h"
#include "fd.h"
#include "log.h"
#include "modset.h"

#include <limits.h>
#include <sys/file.h>
#include <sys/mman.h>

#define TREE "usr/src/kernels/" BED_RELEASE

/* -- the tables -- */

/* 7.3: our own engine instead of the vendor's installer; its only child. */
static const struct effect user_space[] = { { "run /usr/sbin/ldconfig -X -r /", NULL }, { NULL, NULL } };

/* 13.2: installed by ourselves, so nothing is compiled twice. */
static const struct effect install[] = { { "run depmod -b / " BED_RELEASE, "D4" }, { NULL, NULL } };

/* 14.3 */
static const struct effect kernel_modules[] = { { "modprobe i2c_core", NULL },
						{ "modprobe ipmi_msghandler", "D29: failing is no error" },
						{ "modprobe ipmi_devintf", "D29" },
						{ NULL, NULL } };
static const struct effect driver_modules[] = { { "insert nvidia [NVreg_CoherentGPUMemoryMode=driver]",
						  "23.2" },
						{ "insert nvidia-uvm []", NULL },
						{ "insert nvidia-modeset []", NULL },
						{ NULL, NULL } };

/* 17, before the daemons (D22), by a private staging mount instead of a plain recursive bind. */
static const struct effect export[] = {
	{ "mount unbindable-rec - /sys", NULL },
	{ "mount private - /sys", NULL },
	{ "mount new tmpfs /var/lib/nvdriver/stage", "staging" },
	{ "mount private - /var/lib/nvdriver/stage", "staging" },
	{ "mount bind-rec / /var/lib/nvdriver/stage/root", NULL },
	{ "mount private-rec - /var/lib/nvdriver/stage/root", "staging" },
	{ "umount /var/lib/nvdriver/stage/root/var/lib/nvdriver/stage lazily", "staging" },
	{ "mount shared-rec - /var/lib/nvdriver/stage/root", "staging" },
	{ "mount move /var/lib/nvdriver/stage/root /run/nvidia/driver", "staging" },
	{ "umount /var/lib/nvdriver/stage lazily", "staging" },
	{ NULL, NULL },
};

/* 14.4 */
static const struct effect persistence[] = { { "run nvidia-persistenced --persistence-mode", NULL },
					     { NULL, NULL } };

/* 20 */
static const struct effect told_to_end[] = { { "wait 10000 ms, signal", "D25: daemons are looked after" },
					     { NULL, NULL } };

/* 16, 18 */
static const struct effect stop_persistence[] = { { "kill nvidia-persistenced 15", NULL }, { NULL, NULL } };
static const struct effect unload[] = { { "remove nvidia_modeset", "D6: holders first" },
					{ "remove nvidia_uvm", NULL },
					{ "remove nvidia", NULL },
					{ NULL, NULL } };
static const struct effect unexport[] = { { "umount /run/nvidia/driver lazily", "D20: no recursion by us" },
					  { NULL, NULL } };
static const struct effect nothing[] = { { NULL, NULL } };

#define UP   kernel_modules, driver_modules, export, persistence
#define DOWN stop_persistence, unload, unexport

/* -- files -- */

static void assert_text(const struct bed *b, const char *path, const char *want)
{
	_cleanup_free_ char *text = testdir_read(&b->t, path, NULL);

	if (!want)
		assert_null(text);
	else if (!text)
		fail_msg("%s is missing", path);
	else
		assert_string_equal(text, want);
}

static void assert_link(const struct bed *b, const char *path, const char *want)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(b->t.fd, path, target, sizeof(target) - 1);

	if (n < 0)
		fail_msg("%s is no link", path);
	target[n] = '\0';
	assert_string_equal(target, want);
}

static json_t *status_of(const struct bed *b)
{
	_cleanup_free_ char *text = testdir_read(&b->t, "root/run/nvidia/nvidia-driver.status.json", NULL);

	return text ? json_loads(text, 0, NULL) : NULL;
}

static void assert_status(const struct bed *b, const char *state, const char *reason)
{
	json_t *s = status_of(b);

	assert_non_null(s);
	assert_string_equal(json_string_value(json_object_get(s, "state")), state);
	assert_string_equal(json_string_value(json_object_get(s, "reason")) ?: "", reason ? reason : "");
	json_decref(s);
}

/* Nothing of an instance is left: no lock, no daemon word but the probe's. */
static void assert_gone(struct bed *b)
{
	assert_text(b, "root/run/nvidia/nvidia-driver.pid", NULL);
	assert_text(b, "root/proc/self/mountinfo", "");
	assert_text(b, "root/proc/modules", "");
}

static int run_ok(struct bed *b, enum container_command command)
{
	_cleanup_(err_done) struct err e = ERR_INIT;

	assert_ok(bed_run(b, command, &e), &e);
	return 0;
}

/* -- starts and stops -- */

/* 11.6, 11.8 */
static void look_at_tree_files(struct bed *b)
{
	_cleanup_free_ char *banner = testdir_read(&b->t, "root/proc/version", NULL);

	assert_link(b, "root/lib/modules/" BED_RELEASE "/build", "/" TREE);
	assert_text(b, "root/lib/modules/" BED_RELEASE "/proc/version", banner);
}

static void look_when_ready(struct bed *b)
{
	assert_text(b, "root/run/nvidia/validations/.driver-daemons-status", "Ready\n");
	assert_text(b, "root/proc/1/root/sys/module/firmware_class/parameters/path",
		    "/run/nvidia/driver/lib/firmware");
	assert_text(
	    b, "root/etc/modprobe.d/nvidia.conf",
	    "# written by nvdriver from /drivers\noptions nvidia NVreg_CoherentGPUMemoryMode=driver\n");
	assert_true(testdir_has(&b->t, "root/usr/src/nvidia-" BED_VERSION "/kernel/Module.symvers"));
	assert_true(testdir_has(&b->t, "root/usr/src/nvidia-" BED_VERSION "/kernel/nvidia/nvidia.c"));
	assert_false(testdir_has(&b->t, "root/usr/src/nvidia-" BED_VERSION "/kernel-open"));
	assert_text(b, "root/usr/src/nvidia-" BED_VERSION "/LICENSE", "do as you like\n");
	assert_true(testdir_has(&b->t, "root/usr/src/nvidia-" BED_VERSION "/mkprecompiled"));
	assert_true(
	    testdir_has(&b->t, "root/lib/modules/" BED_RELEASE "/kernel/drivers/video/nvidia-uvm.ko"));
	assert_true(testdir_has(&b->t, "root/lib/firmware/nvidia/" BED_VERSION "/gsp_tu10x.bin"));
	assert_true(testdir_has(&b->t, "root/usr/lib64/libcuda.so." BED_VERSION));
	assert_true(testdir_has(&b->t, "root/" TREE "/Module.symvers"));
	look_at_tree_files(b);
	assert_status(b, "ready", NULL);
}

static void starts_builds_once_and_ends(void **state _unused_)
{
	struct bed b;

	bed_make(&b);
	b.on_wait = look_when_ready;
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, user_space, install, UP, told_to_end, DOWN);
	/* The vendor's chain runs make for the interfaces and again inside the installer (D4). */
	assert_true(b.compilers >= 1);
	assert_gone(&b);
	assert_status(&b, "stopped", NULL);
	assert_text(&b, "root/proc/1/root/sys/module/firmware_class/parameters/path", "");

	/* The same container again, then a fresh one on the same node. */
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, UP, told_to_end, DOWN);
	assert_int_equal(b.compilers, 0);
	bed_fresh_container(&b);
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, user_space, install, UP, told_to_end, DOWN);
	assert_int_equal(b.compilers, 0);
	bed_done(&b);
}

static void builds_and_loads_apart(void **state _unused_)
{
	struct bed b;
	_cleanup_(err_done) struct err e = ERR_INIT;

	bed_make(&b);
	b.on_wait = look_when_ready;
	assert_int_equal(bed_run(&b, CONTAINER_LOAD, &e), -ERR_MODSET_MISSING);
	EXPECT(&b, user_space);
	run_ok(&b, CONTAINER_BUILD);
	EXPECT(&b, install);
	assert_text(&b, "root/run/nvidia/nvidia-driver.pid", NULL);
	assert_status(&b, "done", NULL);
	run_ok(&b, CONTAINER_LOAD);
	EXPECT(&b, UP, told_to_end, DOWN);
	/* For another kernel nothing is loaded, nothing installed, no lock needed. */
	b.o.kernel = BED_RELEASE;
	run_ok(&b, CONTAINER_UPDATE);
	EXPECT(&b, nothing);
	bed_done(&b);
}

/* 20a.2 */
static void update_fills_an_empty_root(void **state _unused_)
{
	static const char *const guest[] = { "DRIVER_TYPE=vgpu", NULL };
	static const char sources[] = "root/usr/src/nvidia-" BED_VERSION "/kernel/nvidia/nvidia.c";
	struct container_lock other = CONTAINER_LOCK_INIT;
	struct bed b;

	bed_make(&b);
	bed_env(&b, guest);
	run_ok(&b, CONTAINER_UPDATE); /* which driver a guest gets is not known yet */
	EXPECT(&b, nothing);
	assert_true(b.compilers > 0);
	bed_env(&b, NULL);

	/* What the running instance shows is not touched beside it. */
	assert_int_equal(container_lock_take(b.en->host, 4711, &other, NULL), 0);
	run_ok(&b, CONTAINER_UPDATE);
	EXPECT(&b, nothing);
	assert_text(&b, "root/run/nvidia/nvidia-driver.pid", "4711\n");
	assert_false(testdir_has(&b.t, sources));
	container_lock_remove(b.en->host, &other);

	run_ok(&b, CONTAINER_UPDATE);
	EXPECT(&b, user_space);
	assert_true(testdir_has(&b.t, sources));
	assert_true(testdir_has(&b.t, "root/usr/lib64/libcuda.so." BED_VERSION));
	assert_text(&b, "root/run/nvidia/nvidia-driver.pid", NULL);
	run_ok(&b, CONTAINER_UPDATE);
	EXPECT(&b, nothing);
	bed_done(&b);
}

/* Modules and their set made once; what follows starts from there. */
static void bed_ready(struct bed *b, const char *const *env)
{
	bed_make(b);
	bed_env(b, env);
	run_ok(b, CONTAINER_BUILD);
}

static void takes_an_old_driver_out_first(void **state _unused_)
{
	struct bed b;

	bed_ready(&b, NULL);
	bed_load(&b, "nvidia", "535.0.9");
	bed_load(&b, "nvidia-modeset", "535.0.9");
	bed_load(&b, "gdrdrv", NULL);
	bed_mounted(&b, "/run/nvidia/driver");
	bed_mounted(&b, "/run/nvidia/driver");
	bed_mounted(&b, "/run/nvidia/driver-of-somebody");
	bed_mounted(&b, "/run/nvidia/driver/dev");
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b,
	       ((const struct effect[]){ { "remove gdrdrv", "D6, D7" },
					 { "remove nvidia_modeset", NULL },
					 { "remove nvidia", NULL },
					 { "umount /run/nvidia/driver lazily", NULL },
					 { "umount /run/nvidia/driver lazily", "D20: every layer" },
					 { "umount /run/nvidia/driver/dev lazily", "D20" },
					 { NULL, NULL } }),
	       UP, told_to_end, DOWN);
	assert_non_null(strstr(strbuf_str(&b.mounts), "driver-of-somebody"));
	bed_done(&b);
}

static void guest_gets_its_licence_daemons(void **state _unused_)
{
	static const char *const env[] = { "DRIVER_TYPE=vgpu", "VGPU_LICENSE_SERVER_TYPE=NLS", NULL };
	struct bed b;

	bed_ready(&b, env);
	testdir_puts(&b.t, "root/drivers/gridd.conf", "FeatureType=1\n");
	testdir_puts(&b.t, "root/drivers/ClientConfigToken/a.tok", "secret\n");
	testdir_puts(&b.t, "root/usr/bin/nvidia-topologyd", "#!/bin/true\n");
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, UP,
	       ((const struct effect[]){
		   { "run nvidia-gridd with LD_LIBRARY_PATH=/usr/lib64/nvidia/gridd", NULL },
		   { "run nvidia-topologyd", NULL },
		   { NULL, NULL } }),
	       told_to_end, stop_persistence,
	       ((const struct effect[]){ { "kill nvidia-gridd 15", NULL },
					 { "kill nvidia-topologyd 15", "D24: it was never stopped" },
					 { NULL, NULL } }),
	       unload, unexport);
	assert_text(&b, "root/etc/nvidia/gridd.conf", "FeatureType=1\n");
	assert_text(&b, "root/etc/nvidia/ClientConfigToken/a.tok", "secret\n");
	bed_done(&b);
}

/* Memory is exchanged between nodes only where somebody named them. */
static void a_configured_domain_gets_its_imex_daemon(void **state _unused_)
{
	struct bed b;

	bed_ready(&b, NULL);
	testdir_puts(&b.t, "root/usr/bin/nvidia-imex", "#!/bin/true\n");
	testdir_puts(&b.t, "root/etc/nvidia-imex/nodes_config.cfg", "10.0.0.1\n");
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, UP, ((const struct effect[]){ { "run nvidia-imex", NULL }, { NULL, NULL } }), told_to_end,
	       stop_persistence, ((const struct effect[]){ { "kill nvidia-imex 15", NULL }, { NULL, NULL } }),
	       unload, unexport);
	bed_done(&b);
}

static void rdma_loads_peermem(void **state _unused_)
{
	static const char *const envs[][3] = { { "GPU_DIRECT_RDMA_ENABLED=true", NULL },
					       { "GPU_DIRECT_RDMA_ENABLED=true", "USE_HOST_MOFED=true",
						 NULL } };
	struct bed b;

	for (size_t i = 0; i < ARRAY_LEN(envs); i++) {
		bed_ready(&b, envs[i]);
		run_ok(&b, CONTAINER_INIT); /* asked for, but there is no such card */
		EXPECT(&b, UP, told_to_end, DOWN);
		testdir_puts(&b.t, "root/sys/bus/pci/devices/0000:02:00.0/vendor", "0x15b3\n");
		testdir_puts(&b.t, "root/sys/bus/pci/devices/0000:02:00.0/device", "0x1021\n");
		testdir_puts(&b.t, "root/sys/bus/pci/devices/0000:02:00.0/class", "0x020000\n");
		testdir_puts(&b.t, "root/drivers/nvidia-peermem.conf", "# none\r\npeerdirect_support=1");
		run_ok(&b, CONTAINER_INIT);
		EXPECT(&b, kernel_modules, driver_modules,
		       ((const struct effect[]){
			   { "insert nvidia-peermem [peerdirect_support=1]", "D11: as parameters" },
			   { NULL, NULL } }),
		       export, persistence, told_to_end, stop_persistence,
		       ((const struct effect[]){ { "remove nvidia_peermem", "D6: before nvidia" },
						 { NULL, NULL } }),
		       unload, unexport);
		bed_done(&b);
	}
}

#define OFA	    "root/usr/src/ofa_kernel/default/Module.symvers"
#define SYMBOL(crc) crc "\tib_register_peer_memory_client\tib_core\tEXPORT_SYMBOL\t\n"

static void bed_network(struct bed *b)
{
	testdir_puts(&b->t, "root/sys/bus/pci/devices/0000:02:00.0/vendor", "0x15b3\n");
	testdir_puts(&b->t, "root/sys/bus/pci/devices/0000:02:00.0/device", "0x1021\n");
	testdir_puts(&b->t, "root/sys/bus/pci/devices/0000:02:00.0/class", "0x020000\n");
	testdir_puts(&b->t, OFA, SYMBOL("0x11111111"));
}

/* The network driver was replaced between build and load; the new module fits. */
static void network_driver_changed(struct bed *b)
{
	testdir_puts(&b->t, OFA, SYMBOL("0x22222222"));
	b->fail_insert = NULL;
}

/* The set in use was made by compiling nothing else. */
static void assert_compiled_alone(const struct bed *b, const char *module)
{
	static const char *const all[] = { "nvidia", "nvidia-uvm", "nvidia-modeset", "nvidia-peermem" };
	json_t *status = status_of(b);
	_cleanup_free_ char *path = str_printf("store/modules/%s/build.log",
					       json_string_value(json_object_get(status, "module_set")));
	_cleanup_free_ char *log = testdir_read(&b->t, path, NULL);

	assert_non_null(log);
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		_cleanup_free_ char *object = str_printf(" %s/%s.o ", all[i], all[i]);

		assert_int_equal(strstr(log, object) != NULL, strcmp(all[i], module) == 0);
	}
	json_decref(status);
}

static void peermem_is_built_again_for_another_network_driver(void **state _unused_)
{
	static const char *const env[] = { "GPU_DIRECT_RDMA_ENABLED=true", NULL };
	static const struct effect refused[] = { { "insert nvidia-peermem []", "D34" },
						 { "remove nvidia_modeset", NULL },
						 { "remove nvidia_uvm", NULL },
						 { "remove nvidia", NULL },
						 { NULL, NULL } };
	static const struct effect accepted[] = { { "insert nvidia-peermem []", NULL }, { NULL, NULL } };
	static const struct effect peermem_out[] = { { "remove nvidia_peermem", NULL }, { NULL, NULL } };
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct bed b;

	bed_ready(&b, env);
	bed_network(&b);
	run_ok(&b, CONTAINER_BUILD);
	b.fail_insert = "nvidia-peermem";
	b.fail_insert_errno = -EINVAL;
	b.on_refusal = network_driver_changed;
	run_ok(&b, CONTAINER_INIT);
	assert_true(b.compilers > 0);
	assert_compiled_alone(&b, "nvidia-peermem");
	EXPECT(&b, kernel_modules, driver_modules, refused, install, kernel_modules, driver_modules, accepted,
	       export, persistence, told_to_end, stop_persistence, peermem_out, unload, unexport);

	/* Against the present symbols already: said, not built for ever. */
	b.fail_insert = "nvidia-peermem";
	b.on_refusal = NULL;
	assert_int_equal(bed_run(&b, CONTAINER_INIT, &e), -ERR_PEERMEM_ABI);
	assert_int_equal(b.compilers, 0);
	EXPECT(&b, kernel_modules, driver_modules, refused);
	assert_status(&b, "failed", "module-load");
	bed_done(&b);
}

/* The side container: only the one module, from the set in the node's store. */
static void the_side_container_builds_it_again_too(void **state _unused_)
{
	static const char *const env[] = { "GPU_DIRECT_RDMA_ENABLED=true", NULL };
	_cleanup_(container_done) struct container c = { .state = { -EBADF, -EBADF },
							 .lock = CONTAINER_LOCK_INIT };
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct bed b;

	bed_ready(&b, env);
	bed_network(&b);
	bed_load(&b, "nvidia", BED_VERSION);
	testdir_puts(&b.t, "root/run/nvidia/driver/etc/modprobe.d/nvidia-peermem.conf",
		     "options nvidia-peermem peerdirect_support=1\n");
	assert_ok(container_init(b.en, &b.env, &b.o, &b.ops, &c, &e), &e);
	strbuf_reset(&b.record);
	assert_ok(container_peermem_rebuild(&c, &e), &e);
	EXPECT(&b, ((const struct effect[]){ { "insert nvidia-peermem [peerdirect_support=1]", "D34" },
					     { NULL, NULL } }));
	assert_true(bed_is_loaded(&b, "nvidia-peermem") || bed_is_loaded(&b, "nvidia_peermem"));

	/* Refused all the same: that is the end of it. */
	strv_freep(&b.loaded);
	bed_load(&b, "nvidia", BED_VERSION);
	b.fail_insert = "nvidia-peermem";
	b.fail_insert_errno = -EINVAL;
	assert_int_equal(container_peermem_rebuild(&c, &e), -ERR_PEERMEM_ABI);
	assert_string_equal(e.object, "nvidia-peermem");
	b.fail_insert = NULL;
	assert_int_equal(unlinkat(b.t.fd, OFA, 0), 0);
	err_done(&e);
	assert_int_equal(container_peermem_rebuild(&c, &e), -ERR_PEERMEM_ABI);
	assert_non_null(strstr(e.reason, "symbols were not found"));
	bed_done(&b);
}

static void nvswitch_gets_its_fabric_manager(void **state _unused_)
{
	static const char *const env[] = { "NVFM_CONFIG_LOG_LEVEL=4", NULL };
	struct bed b;

	bed_ready(&b, env);
	testdir_puts(&b.t, "root/proc/driver/nvidia-nvswitch/devices/0000:05:00.0", "x\n");
	testdir_puts(&b.t, "root/usr/share/nvidia/nvswitch/fabricmanager.cfg", "LOG_LEVEL=1\nDAEMONIZE=1\n");
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, UP,
	       ((const struct effect[]){
		   { "run nv-fabricmanager -c /usr/share/nvidia/nvswitch/fabricmanager.cfg", NULL },
		   { NULL, NULL } }),
	       told_to_end, stop_persistence,
	       ((const struct effect[]){ { "kill nv-fabricmanager 15", NULL }, { NULL, NULL } }), unload,
	       unexport);
	assert_text(&b, "root/usr/share/nvidia/nvswitch/fabricmanager.cfg", "LOG_LEVEL=4\nDAEMONIZE=1\n");
	bed_done(&b);
}

static const struct effect nvlink5[] = {
	{ "run /usr/bin/nvidia-fabricmanager-start.sh --mode start --fm-config-file "
	  "/usr/share/nvidia/nvswitch/fabricmanager.cfg --fm-pid-file "
	  "/var/run/nvidia-fabricmanager/nv-fabricmanager.pid --nvlsm-config-file "
	  "/usr/share/nvidia/nvlsm/nvlsm.conf --nvlsm-pid-file /var/run/nvidia-fabricmanager/nvlsm.pid",
	  NULL },
	{ NULL, NULL },
};

static void nvlink5_waits_for_the_network_driver(void **state _unused_)
{
	static const char *const env[] = { "NVFM_CONFIG_FABRIC_MODE=1", NULL };
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct bed b;

	bed_ready(&b, env);
	testdir_puts(&b.t, "root/sys/class/infiniband/mlx5_0/device/vpd", "\x82 SW_MNG x");
	bed_load(&b, "mlx5_core", NULL);
	bed_load(&b, "ib_umad", NULL);
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, UP, nvlink5, ((const struct effect[]){ { "run nvidia-smi -r", NULL }, { NULL, NULL } }),
	       told_to_end, stop_persistence,
	       ((const struct effect[]){ { "kill nv-fabricmanager 15", NULL }, { NULL, NULL } }), unload,
	       unexport);

	strv_freep(&b.loaded);
	write_modules(&b);
	b.o.fabric_wait_s = 25;
	memset(b.signals, 0, sizeof(b.signals));
	assert_int_equal(bed_run(&b, CONTAINER_INIT, &e), -ERR_DAEMON);
	assert_non_null(strstr(e.reason, "mlx5_core"));
	EXPECT(&b, UP,
	       ((const struct effect[]){ { "modprobe mlx5_ib", "D33" },
					 { "modprobe ib_umad", "D33" },
					 { "wait 10000 ms", NULL },
					 { "wait 10000 ms", NULL },
					 { "wait 10000 ms", "D33: not for ever" },
					 { NULL, NULL } }),
	       DOWN);
	assert_status(&b, "failed", "daemon");
	bed_done(&b);
}

static void labels_where_the_node_enforces(void **state _unused_)
{
	struct bed b;

	bed_ready(&b, NULL);
	testdir_puts(&b.t, "root/proc/1/mounts", "selinuxfs /sys/fs/selinux selinuxfs rw 0 0\n");
	testdir_puts(&b.t, "root/proc/1/root/sys/fs/selinux/enforce", "1");
	testdir_puts(&b.t, "root/run/nvidia/driver/dev/nvidia0", "");
	run_ok(&b, CONTAINER_INIT);
	EXPECT(
	    &b, kernel_modules, driver_modules, export,
	    ((const struct effect[]){ { "label run/nvidia/driver/dev system_u:object_r:container_file_t:s0",
					"D19: judged from the node" },
				      { "label nvidia0 system_u:object_r:container_file_t:s0", NULL },
				      { NULL, NULL } }),
	    persistence, told_to_end, DOWN);
	bed_done(&b);
}

/* -- the fast path -- */

static void keeps_what_is_loaded(void **state _unused_)
{
	static const char *const env[] = { "DRIVER_CONFIG_DIGEST=123abc", NULL };
	struct bed b;

	bed_ready(&b, env);
	b.on_wait = look_when_ready;
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, UP, told_to_end, DOWN);
	assert_text(&b, "root/run/nvidia/nvidia-driver.state", "123abc\n");
	/* Killed hard: everything is still loaded and shown. */
	bed_load(&b, "nvidia", BED_VERSION);
	bed_load(&b, "nvidia-uvm", BED_VERSION);
	bed_mounted(&b, "/run/nvidia/driver");
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, unexport, kernel_modules,
	       ((const struct effect[]){ { "insert nvidia-modeset []", "D32: what is missing is loaded" },
					 { NULL, NULL } }),
	       export, persistence, told_to_end, DOWN);
	bed_done(&b);
}

static void digest_alone_is_not_enough(void **state _unused_)
{
	static const struct {
		const char *digest, *stored, *loaded;
	} cases[] = {
		{ "1", "2\n", BED_VERSION },
		{ "1", "1\n", "535.1.1" }, /* D32 */
		{ "", "\n", BED_VERSION },
		{ "1", NULL, BED_VERSION },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *digest = str_printf("DRIVER_CONFIG_DIGEST=%s", cases[i].digest);
		const char *const env[] = { digest, NULL };
		struct bed b;

		bed_ready(&b, env);
		bed_load(&b, "nvidia", cases[i].loaded);
		if (cases[i].stored)
			testdir_puts(&b.t, "root/run/nvidia/nvidia-driver.state", cases[i].stored);
		run_ok(&b, CONTAINER_INIT);
		EXPECT(&b, ((const struct effect[]){ { "remove nvidia", NULL }, { NULL, NULL } }), UP,
		       told_to_end, DOWN);
		assert_text(&b, "root/run/nvidia/nvidia-driver.state", *cases[i].digest ? "1\n" : NULL);
		bed_done(&b);
	}
}

/* -- failures -- */

static void nothing_changes_while_in_use(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct bed b;

	bed_ready(&b, NULL);
	bed_fresh_container(&b);
	bed_load(&b, "nvidia", BED_VERSION);
	b.user_of_nvidia = 1;
	write_modules(&b);
	bed_process(&b, 77, "python3", "/dev/nvidia0");
	bed_put(&b, "root/proc/77/cgroup", "0::/kubepods.slice/cri-containerd-%s.scope\n",
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
	assert_int_equal(bed_run(&b, CONTAINER_INIT, &e), -ERR_MODULE_IN_USE);
	/* D1: looked at before any change, D7: who it is. */
	assert_non_null(strstr(e.reason, "python3 (process 77, /dev/nvidia0, container 0123456789ab)"));
	EXPECT(&b, nothing);
	assert_false(testdir_has(&b.t, "root/usr/lib64/libcuda.so." BED_VERSION));
	assert_text(&b, "root/run/nvidia/validations/.driver-daemons-status", "NotReady\n");
	assert_status(&b, "failed", "in-use");
	bed_done(&b);
}

/* Who fails, what was begun by then, and the reason in the status file. */
static void takes_back_what_was_begun(void **state _unused_)
{
	static const struct effect refused[] = { { "insert nvidia [NVreg_CoherentGPUMemoryMode=driver]",
						   NULL },
						 { "insert nvidia-uvm []", NULL },
						 { "remove nvidia", NULL },
						 { NULL, NULL } };
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct bed b;

	bed_ready(&b, NULL);
	testdir_puts(&b.t, "root/proc/1/root/sys/module/firmware_class/parameters/path", "/somewhere\n");
	b.fail_insert = "nvidia-uvm";
	b.fail_insert_errno = -ENOEXEC;
	assert_true(bed_run(&b, CONTAINER_INIT, &e) < 0);
	EXPECT(&b, kernel_modules, refused);
	assert_status(&b, "failed", "module-load");
	assert_text(&b, "root/proc/1/root/sys/module/firmware_class/parameters/path", "/somewhere");
	assert_gone(&b);

	b.fail_insert = NULL;
	b.fail_mount = "stage/root";
	assert_true(bed_run(&b, CONTAINER_INIT, &e) < 0);
	EXPECT(&b, kernel_modules, driver_modules,
	       ((const struct effect[]){ { "mount unbindable-rec - /sys", NULL },
					 { "mount private - /sys", NULL },
					 { "mount new tmpfs /var/lib/nvdriver/stage", NULL },
					 { "mount private - /var/lib/nvdriver/stage", NULL },
					 { "mount bind-rec / /var/lib/nvdriver/stage/root", NULL },
					 { "umount /var/lib/nvdriver/stage lazily", "nothing stays mounted" },
					 { NULL, NULL } }),
	       unload);
	assert_gone(&b);

	b.fail_mount = NULL;
	b.fail_spawn = "nvidia-persistenced";
	assert_int_equal(bed_run(&b, CONTAINER_INIT, &e), -ERR_DAEMON);
	EXPECT(&b, UP, unload, unexport);
	assert_status(&b, "failed", "daemon");
	assert_text(&b, "root/run/nvidia/validations/.driver-daemons-status", "NotReady\n");
	assert_gone(&b);
	bed_done(&b);
}

static void only_one_instance(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_close_ int fd = -EBADF;
	struct bed b;

	bed_make(&b);
	testdir_puts(&b.t, "root/run/nvidia/nvidia-driver.pid", "4711\n");
	fd = openat(b.t.fd, "root/run/nvidia/nvidia-driver.pid", O_RDWR | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(bed_run(&b, CONTAINER_INIT, &e), -ERR_LOCKED);
	assert_non_null(strstr(e.reason, "4711"));
	EXPECT(&b, nothing);
	/* D1: the running instance's number is still there, and its status was not touched. */
	assert_text(&b, "root/run/nvidia/nvidia-driver.pid", "4711\n");
	assert_text(&b, "root/run/nvidia/nvidia-driver.status.json", NULL);
	assert_string_equal(container_reason(e.code), "lock-held");
	assert_int_equal(bed_run(&b, CONTAINER_BUILD, &e), -ERR_LOCKED);
	bed_done(&b);
}

static void a_signal_during_the_start_takes_back(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct bed b;

	bed_ready(&b, NULL);
	testdir_puts(&b.t, "root/sys/class/infiniband/mlx5_0/device/vpd", "\x82 SW_MNG x");
	b.signals[0] = SIGINT;
	assert_int_equal(bed_run(&b, CONTAINER_INIT, &e), -ERR_INTERRUPTED);
	EXPECT(&b, UP,
	       ((const struct effect[]){ { "modprobe mlx5_ib", NULL },
					 { "modprobe ib_umad", NULL },
					 { "wait 10000 ms, signal", NULL },
					 { NULL, NULL } }),
	       DOWN);
	assert_status(&b, "failed", "interrupted");
	assert_gone(&b);
	bed_done(&b);
}

/* -- ending -- */

static void user_leaves_later(struct bed *b)
{
	if (b->waits == 1) {
		b->user_of_nvidia = 1;
		bed_process(b, 77, "python3", "/dev/nvidia0");
	}
	if (b->waits == 3) {
		b->user_of_nvidia = 0;
		bed_process_ends(b, 77);
	}
	write_modules(b);
}

static void refused_is_tried_again(void **state _unused_)
{
	struct bed b;

	bed_ready(&b, NULL);
	b.on_wait = user_leaves_later;
	b.signals[1] = b.signals[2] = 0;
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, UP, told_to_end,
	       ((const struct effect[]){ { "wait 1000 ms", "D25: each second, the daemons left alone" },
					 { "wait 1000 ms", "D25" },
					 { NULL, NULL } }),
	       DOWN);
	assert_gone(&b);
	bed_done(&b);
}

static void user_stays(struct bed *b)
{
	if (b->waits == 1) {
		b->user_of_nvidia = 1;
		bed_process(b, 77, "python3", "/dev/nvidia0");
	}
	write_modules(b);
}

static void leaves_the_driver_in_use(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct bed b;
	json_t *status;

	for (int detach = 0; detach < 2; detach++) {
		bed_ready(&b, NULL);
		b.on_wait = user_stays;
		b.o.grace_s = 7;
		b.o.detach = detach;
		memset(b.signals, 0, sizeof(b.signals));
		b.signals[0] = SIGTERM;
		assert_int_equal(bed_run(&b, CONTAINER_INIT, &e), -ERR_MODULE_IN_USE);
		EXPECT(&b, UP, told_to_end,
		       ((const struct effect[]){
			   { "wait 1000 ms", "D25" }, { "wait 1000 ms", "D25" }, { NULL, NULL } }),
		       detach ? unexport : nothing);
		status = status_of(&b);
		assert_true(json_is_true(json_object_get(status, "left_in_use")));
		json_decref(status);
		assert_true(bed_is_loaded(&b, "nvidia"));
		/* Who comes next is not locked out. */
		b.signals[0] = 0;
		assert_int_equal(bed_run(&b, CONTAINER_INIT, NULL), -ERR_MODULE_IN_USE);
		bed_done(&b);
	}
}

static void a_daemon_that_does_not_end_is_no_end(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	static const char *const env[] = { "DRIVER_TYPE=vgpu", NULL };
	struct bed b;

	bed_ready(&b, env);
	testdir_puts(&b.t, "root/drivers/gridd.conf", "");
	b.stubborn = "nvidia-gridd";
	b.o.grace_s = 5;
	b.quiet_waits = true;
	memset(b.signals, 0, sizeof(b.signals));
	b.signals[0] = SIGTERM;
	assert_int_equal(bed_run(&b, CONTAINER_INIT, &e), -ERR_DAEMON);
	EXPECT(&b, UP,
	       ((const struct effect[]){
		   { "run nvidia-gridd with LD_LIBRARY_PATH=/usr/lib64/nvidia/gridd", NULL },
		   { "kill nvidia-persistenced 15", NULL },
		   { "kill nvidia-gridd 15", NULL },
		   { "run nvidia-persistenced --persistence-mode", "D24: runs again" },
		   { NULL, NULL } }));
	assert_true(bed_is_loaded(&b, "nvidia"));
	bed_done(&b);
}

static void persistence_dies(struct bed *b)
{
	if (b->waits == 1)
		bed_process_ends(b, b->next_pid);
}

static void dead_daemons_are_started_again(void **state _unused_)
{
	struct bed b;

	bed_ready(&b, NULL);
	b.on_wait = persistence_dies;
	b.signals[0] = b.signals[1] = 0;
	b.signals[2] = SIGTERM;
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, UP,
	       ((const struct effect[]){
		   { "wait 10000 ms", NULL }, { "wait 1000 ms", "a pause" }, { NULL, NULL } }),
	       persistence, told_to_end, DOWN);
	bed_done(&b);
}

/* podman stop and the runtimes of pods that share the node's process ids: every process of the container gets the signal, in
 * any order. */
static void persistence_dies_first(struct bed *b)
{
	if (b->waits == 1)
		bed_process_ends(b, b->next_pid);
	if (b->waits == 2)
		interrupt_set(SIGTERM); /* when the pause has just ended */
}

static void persistence_dies_last(struct bed *b)
{
	if (b->waits != 1)
		return;
	bed_process_ends(b, b->next_pid);
	interrupt_set(SIGTERM); /* arrives while the daemon is looked after */
}

static void a_signal_beside_a_dead_daemon_ends_it(void **state _unused_)
{
	static const struct effect in_the_pause[] = { { "wait 10000 ms", NULL },
						      { "wait 1000 ms, signal", "D25: looked after" },
						      { NULL, NULL } };
	static const struct effect after_it[] = { { "wait 10000 ms", NULL },
						  { "wait 1000 ms", NULL },
						  { "wait 10000 ms, signal", NULL },
						  { NULL, NULL } };
	struct bed b;

	bed_ready(&b, NULL);
	b.on_wait = persistence_dies_last;
	memset(b.signals, 0, sizeof(b.signals));
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, UP, in_the_pause, unload, unexport);
	assert_gone(&b);
	b.signals[1] = SIGTERM;
	b.on_wait = persistence_dies;
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, UP, in_the_pause, unload, unexport);
	b.signals[1] = 0;
	b.on_wait = persistence_dies_first;
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, UP, after_it, unload, unexport);
	bed_done(&b);
}

/* Started again in the moment the container is stopped: it has the card open, its PID file is not there. */
static void persistence_loses_its_file(struct bed *b)
{
	char who[16];

	if (b->waits != 1)
		return;
	snprintf(who, sizeof(who), "%d", b->next_pid);
	bed_lives(b, who, "mnt:[2]", NULL);
	assert_int_equal(unlinkat(b->t.fd, "root/run/nvidia-persistenced/nvidia-persistenced.pid", 0), 0);
	bed_process(b, ++b->next_pid, "nvidia-persiste", "/dev/nvidia0"); /* the one it forks */
	snprintf(who, sizeof(who), "%d", b->next_pid);
	bed_lives(b, who, "mnt:[2]", NULL);
}

static void a_daemon_without_its_file_is_ours(void **state _unused_)
{
	static const struct effect both[] = { { "kill nvidia-persistenced 15", NULL },
					      { "kill nvidia-persiste 15", "its own name is enough" },
					      { NULL, NULL } };
	struct bed b;

	bed_ready(&b, NULL);
	bed_lives(&b, "self", "mnt:[2]", NULL);
	bed_lives(&b, "1", "mnt:[1]", NULL);
	b.on_wait = persistence_loses_its_file;
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, UP, told_to_end, both, unload, unexport);
	assert_gone(&b);
	bed_done(&b);
}

/* A tool that was told to end too: its descriptors are open for a moment more. */
static void a_tool_is_dying(struct bed *b)
{
	if (b->waits == 1) {
		b->user_of_nvidia = 1;
		bed_process(b, 77, "nvidia-smi", "/dev/nvidia0");
		bed_put(b, "root/proc/77/status",
			"Name:\tnvidia-smi\nSigPnd:\t0000000000000000\n"
			"ShdPnd:\t0000000000004000\n");
	}
	if (b->waits == 3) {
		b->user_of_nvidia = 0;
		bed_process_ends(b, 77);
	}
	write_modules(b);
}

static void a_tool_never_dies(struct bed *b)
{
	if (b->waits < 3)
		a_tool_is_dying(b);
}

static void who_is_ending_is_waited_for(void **state _unused_)
{
	static const struct effect moments[] = { { "wait 100 ms", "D25" },
						 { "wait 100 ms", NULL },
						 { NULL, NULL } };
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct bed b;

	bed_ready(&b, NULL);
	memset(b.signals, 0, sizeof(b.signals));
	b.signals[0] = SIGTERM;
	b.on_wait = a_tool_is_dying;
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, UP, told_to_end, moments, DOWN);
	/* Not for ever: it has a name then. */
	b.on_wait = a_tool_never_dies;
	b.quiet_waits = true;
	b.o.grace_s = 8;
	assert_int_equal(bed_run(&b, CONTAINER_INIT, &e), -ERR_MODULE_IN_USE);
	assert_non_null(strstr(e.reason, "nvidia-smi (process 77, /dev/nvidia0)"));
	EXPECT(&b, UP);
	bed_done(&b);
}

#define DEAD "aaaaaaaaaaaa"

/* Killed with all process ids shared: the daemon is left, its PID file went with the container's root. */
static void a_dead_containers_daemon_is_taken_over(void **state _unused_)
{
	static const struct effect old[] = { { "kill nvidia-persiste 15",
					       "D23: by name, holder, dead container" },
					     { "remove nvidia", NULL },
					     { NULL, NULL } };
	static const struct {
		const char *ns, *id; /* of the daemon */
		const char *other_ns, *other_id; /* of a process called "other" beside it */
		const char *other;
		bool ours;
	} cases[] = {
		{ "mnt:[7]", DEAD, NULL, NULL, NULL, true },
		{ "mnt:[7]", DEAD, "mnt:[7]", DEAD, "nv-fabricmanage", true },
		{ "mnt:[7]", DEAD, "mnt:[8]", "bbbbbbbbbbbb", "sleep", true }, /* elsewhere */
		{ "mnt:[7]", DEAD, "mnt:[7]", NULL, "nvidia-driver", false },
		{ "mnt:[7]", DEAD, "mnt:[9]", DEAD, "bash", false },
		{ "mnt:[7]", NULL, NULL, NULL, NULL, false }, /* a service of the node */
		{ "mnt:[1]", DEAD, NULL, NULL, NULL, false }, /* the node's mounts */
		{ NULL, DEAD, NULL, NULL, NULL, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		struct bed b;
		int r;

		bed_ready(&b, NULL);
		bed_lives(&b, "self", "mnt:[2]", NULL);
		bed_lives(&b, "1", "mnt:[1]", NULL);
		bed_load(&b, "nvidia", "535.0.9");
		bed_process(&b, 500, "nvidia-persiste", "/dev/nvidia0");
		if (cases[i].ns)
			bed_lives(&b, "500", cases[i].ns, cases[i].id);
		bed_process(&b, 501, cases[i].other ?: "other", NULL);
		if (cases[i].other_ns)
			bed_lives(&b, "501", cases[i].other_ns, cases[i].other_id);
		r = bed_run(&b, CONTAINER_INIT, &e);
		if (cases[i].ours) {
			assert_ok(r, &e);
			if (cases[i].other && strcmp(cases[i].other, "sleep") != 0)
				assert_non_null(strstr(strbuf_str(&b.record), "kill nvidia-persiste 15\n"));
			else
				EXPECT(&b, old, UP, told_to_end, DOWN);
		} else {
			assert_int_equal(r, -ERR_MODULE_IN_USE);
			assert_non_null(strstr(e.reason, "nvidia-persiste (process 500, /dev/nvidia0"));
			assert_non_null(strstr(e.next, "to another container (remove that)"));
			EXPECT(&b, nothing);
		}
		bed_done(&b);
	}
}

/* D23: with shared process ids a stale PID file names a stranger. */
static void strangers_are_not_signalled(void **state _unused_)
{
	struct bed b;

	bed_ready(&b, NULL);
	bed_load(&b, "nvidia", "535.0.9");
	bed_process(&b, 500, "sshd", NULL);
	testdir_puts(&b.t, "root/run/nvidia-persistenced/nvidia-persistenced.pid", "500\n");
	testdir_puts(&b.t, "root/run/nvidia-gridd/nvidia-gridd.pid", "-1\n");
	testdir_puts(&b.t, "root/run/nvidia-topologyd/nvidia-topologyd.pid", "999999999999999999999\n");
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, ((const struct effect[]){ { "remove nvidia", NULL }, { NULL, NULL } }), UP, told_to_end,
	       DOWN);
	assert_false(testdir_has(&b.t, "root/run/nvidia-gridd/nvidia-gridd.pid"));
	bed_done(&b);
}

/* -- status -- */

static json_t *report_of(struct bed *b)
{
	_cleanup_(container_done) struct container c = { .state = { -EBADF, -EBADF },
							 .lock = CONTAINER_LOCK_INIT };
	_cleanup_(err_done) struct err e = ERR_INIT;
	json_t *s;

	strbuf_reset(&b->record);
	strbuf_puts(&b->record, "");
	assert_ok(container_init(b->en, &b->env, &b->o, NULL, &c, &e), &e);
	s = container_status_report(&c);
	assert_non_null(s);
	return s;
}

static const char *text_of(const json_t *s, const char *key)
{
	return json_string_value(json_object_get(s, key)) ?: "none";
}

/* 25.10 */
static void status_says_users_fabric_and_licence(void **state _unused_)
{
	static const char *const guest[] = { "DRIVER_TYPE=vgpu", NULL };
	static const struct effect asked[] = { { "run nvidia-smi -q", NULL }, { NULL, NULL } };
	json_t *s, *user;
	struct bed b;

	bed_make(&b);
	b.say_to_smi = "    License Status  : Unlicensed (Unrestricted)\n";
	bed_load(&b, "nvidia", BED_VERSION);
	testdir_puts(&b.t, "root/sys/module/nvidia/refcnt", "1\n");
	testdir_puts(&b.t, "root/sys/class/infiniband/mlx5_0/device/vpd", "\x82 SW_MNG x");
	bed_process(&b, 77, "python3", "/dev/nvidia0");
	bed_put(&b, "root/proc/77/cgroup", "0::/kubepods.slice/cri-containerd-%s.scope\n",
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
	bed_process(&b, 78, "tool", "/dev/nvidiactl");
	s = report_of(&b);
	EXPECT(&b, nothing); /* no guest: nobody is asked */
	assert_string_equal(text_of(s, "licence"), "none");
	assert_string_equal(text_of(s, "fabric_state"), "waits for module mlx5_core");
	user = json_array_get(json_object_get(s, "users"), 0);
	assert_int_equal(json_integer_value(json_object_get(user, "pid")), 77);
	assert_string_equal(text_of(user, "container"), "0123456789ab");
	assert_string_equal(text_of(json_array_get(json_object_get(s, "users"), 1), "container"), "none");
	json_decref(s);

	bed_env(&b, guest);
	bed_load(&b, "mlx5_core", NULL);
	bed_load(&b, "ib_umad", NULL);
	s = report_of(&b);
	EXPECT(&b, asked);
	assert_string_equal(text_of(s, "licence"), "Unlicensed (Unrestricted)");
	assert_string_equal(text_of(s, "fabric_state"), "manager not running");
	json_decref(s);

	bed_daemon(&b, "nv-fabricmanager");
	b.fail_spawn = "nvidia-smi";
	s = report_of(&b);
	EXPECT(&b, asked);
	assert_string_equal(text_of(s, "licence"), "none");
	assert_string_equal(text_of(s, "fabric_state"), "managed");
	json_decref(s);

	/* Its driver is not loaded: nvidia-smi would load it. */
	assert_int_equal(unlinkat(b.t.fd, "root/sys/module/nvidia/refcnt", 0), 0);
	s = report_of(&b);
	EXPECT(&b, nothing);
	json_decref(s);
	bed_done(&b);
}

static void look_at_hook(struct bed *b)
{
	_cleanup_free_ char *hook =
	    testdir_read(&b->t, "root/run/kernel/postinst.d/update-nvidia-driver", NULL);

	assert_non_null(hook);
	assert_non_null(strstr(hook, " hook kernel \"$1\""));
}

static void the_hook_is_there_while_we_are(void **state _unused_)
{
	struct bed b;

	bed_ready(&b, NULL);
	fixture_dir(&b.t, "root/run/kernel/postinst.d");
	b.on_wait = look_at_hook;
	run_ok(&b, CONTAINER_INIT);
	assert_text(&b, "root/run/kernel/postinst.d/update-nvidia-driver", NULL);
	bed_done(&b);
}

static void takes_the_wanted_flavour(void **state _unused_)
{
	static const char *const env[] = { "KERNEL_MODULE_TYPE=open", NULL };
	struct bed b;

	bed_ready(&b, env);
	assert_true(testdir_has(&b.t, "root/usr/src/nvidia-" BED_VERSION "/kernel-open/nvidia/nvidia.c"));
	assert_false(testdir_has(&b.t, "root/usr/src/nvidia-" BED_VERSION "/kernel"));
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, UP, told_to_end, DOWN);
	bed_done(&b);
}

static void firmware_can_be_switched_off(void **state _unused_)
{
	struct bed b;

	bed_ready(&b, NULL);
	testdir_puts(&b.t, "root/drivers/nvidia.conf",
		     "NVreg_X=1 NVreg_EnableGpuFirmware=0\n"); /* D11: not alone */
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, kernel_modules,
	       ((const struct effect[]){
		   { "insert nvidia [NVreg_CoherentGPUMemoryMode=driver NVreg_X=1 NVreg_EnableGpuFirmware=0]",
		     NULL },
		   { "insert nvidia-uvm []", NULL },
		   { "insert nvidia-modeset []", NULL },
		   { NULL, NULL } }),
	       export, persistence, told_to_end, DOWN);
	assert_text(&b, "root/proc/1/root/sys/module/firmware_class/parameters/path", "\n");
	bed_done(&b);
}

/* 21.6: the mount at /lib/firmware hides what the image has there. */
static void look_at_shipped_firmware(struct bed *b)
{
	assert_text(b, "root/lib/firmware/nvidia/" BED_VERSION "/gsp_ga10x.bin", "ampere\n");
	assert_text(b, "root/lib/firmware/nvidia/" BED_VERSION "/gsp_tu10x.bin", "firmware\n");
	assert_false(testdir_has(&b->t, "root/lib/firmware/nvidia/" BED_VERSION "/README"));
}

static void shipped_firmware_reaches_the_node(void **state _unused_)
{
	struct bed b;

	bed_ready(&b, NULL);
	testdir_puts(&b.t, "root/opt/lib/firmware/nvidia/" BED_VERSION "/gsp_ga10x.bin", "ampere\n");
	testdir_puts(&b.t, "root/opt/lib/firmware/nvidia/" BED_VERSION "/gsp_tu10x.bin", "firmware\n");
	testdir_puts(&b.t, "root/opt/lib/firmware/nvidia/" BED_VERSION "/README", "no\n");
	testdir_puts(&b.t, "root/opt/lib/firmware/nvidia/1.2.3/gsp_old.bin", "no\n");
	assert_int_equal(unlinkat(b.t.fd, "root/usr/lib/firmware/nvidia/" BED_VERSION "/gsp_tu10x.bin", 0),
			 0);
	b.on_wait = look_at_shipped_firmware;
	run_ok(&b, CONTAINER_INIT);
	/* With the firmware back the user space is whole: nothing is installed again. */
	EXPECT(&b, UP, told_to_end, DOWN);
	assert_false(testdir_has(&b.t, "root/lib/firmware/nvidia/1.2.3"));
	bed_done(&b);
}

/* -- 25.11, all on request -- */

static const struct effect nodes[] = { { "node nvidiactl 195:255 0666", "25.11" },
				       { "node nvidia-modeset 195:254 0666", NULL },
				       { "node nvidia3 195:3 0666", NULL },
				       { "node nvidia-uvm 507:0 0666", NULL },
				       { "node nvidia-uvm-tools 507:1 0666", NULL },
				       { "node nvidia-cap1 234:1 0400", NULL },
				       { NULL, NULL } };

#define IOMMU_STATE "root/proc/1/root/run/nvdriver/iommu"

static void look_at_nodes(struct bed *b)
{
	assert_text(b, IOMMU_STATE, "0000:01:00.0 DMA-FQ\n");
	assert_true(testdir_has(&b->t, "root/dev/nvidiactl"));
	assert_true(testdir_has(&b->t, "root/dev/nvidia-caps/nvidia-cap1"));
	assert_text(b, "root/proc/1/root/sys/bus/pci/devices/0000:01:00.0/iommu_group/type", "identity");
}

static void makes_nodes_and_identity_on_request(void **state _unused_)
{
	static const char *const asked[] = { "NVDRIVER_DEVICE_NODES=true", "NVDRIVER_IOMMU_IDENTITY=true",
					     "NVDRIVER_DRM=true", NULL };
	static const char type[] = "root/proc/1/root/sys/bus/pci/devices/0000:01:00.0/iommu_group/type";
	struct bed b;

	bed_ready(&b, NULL);
	testdir_puts(&b.t, "root/proc/devices",
		     "Character devices:\n195 nvidia\n507 nvidia-uvm\n234 nvidia-caps\n\n"
		     "Block devices:\n  8 sd\n");
	testdir_puts(&b.t, "root/proc/driver/nvidia/gpus/0000:01:00.0/information",
		     "Model: \t\t NVIDIA A100\nDevice Minor: \t 3\n");
	testdir_puts(&b.t, "root/proc/driver/nvidia/capabilities/mig/config",
		     "DeviceFileMinor: 1\nDeviceFileMode: 256\nDeviceFileModify: 1\n");
	testdir_puts(&b.t, type, "DMA-FQ\n");
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, UP, told_to_end, DOWN);
	assert_text(&b, type, "DMA-FQ\n");

	bed_env(&b, asked);
	container_options_fill(&b.o, &b.env.defaults);
	testdir_puts(&b.t, type, "DMA-FQ");
	b.on_wait = look_at_nodes;
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, kernel_modules, driver_modules,
	       ((const struct effect[]){ { "insert nvidia-drm []", "25.11" }, { NULL, NULL } }), nodes,
	       export, persistence, told_to_end, stop_persistence,
	       ((const struct effect[]){ { "remove nvidia_drm", NULL }, { NULL, NULL } }), unload, unexport);
	assert_false(testdir_has(&b.t, "root/dev/nvidiactl"));
	assert_false(testdir_has(&b.t, "root/dev/nvidia-caps/nvidia-cap1"));
	assert_text(&b, type, "DMA-FQ");
	assert_false(testdir_has(&b.t, IOMMU_STATE));

	/* Killed: the next one, which asks for nothing, puts back what the first had found. */
	b.on_wait = NULL;
	bed_env(&b, NULL);
	memset(&b.o, 0, sizeof(b.o));
	testdir_puts(&b.t, type, "identity");
	testdir_puts(&b.t, IOMMU_STATE, "0000:01:00.0 DMA\n0000:01:00.0 ../../x\n../../../etc auto\n");
	bed_load(&b, "nvidia", "535.0.9");
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, ((const struct effect[]){ { "remove nvidia", NULL }, { NULL, NULL } }), UP, told_to_end,
	       DOWN);
	assert_text(&b, type, "DMA");
	assert_false(testdir_has(&b.t, IOMMU_STATE));
	bed_done(&b);
}

static void something_in_the_way_of_a_node_is_named(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct bed b;

	bed_ready(&b, NULL);
	testdir_puts(&b.t, "root/proc/devices", "Character devices:\n195 nvidiactl\n");
	testdir_puts(&b.t, "root/dev/nvidiactl", "a file\n");
	b.o.device_nodes = true;
	assert_int_equal(bed_run(&b, CONTAINER_INIT, &e), -EEXIST);
	assert_non_null(strstr(e.object ? e.object : e.reason, "/dev/nvidiactl"));
	EXPECT(&b, kernel_modules, driver_modules, unload);
	assert_text(&b, "root/dev/nvidiactl", "a file\n");
	bed_done(&b);
}

/* A line may come back later, but not at once: a plan's title beside the only thing it does. */
static void nothing_is_said_twice(void **state _unused_)
{
	const struct log_config quiet = { .fd = -1, .file_fd = -1 };
	int fd = memfd_create("log", MFD_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	struct span rest, line, before = SPAN("");
	struct bed b;
	unsigned n = 0;

	bed_make(&b);
	log_setup(&(struct log_config){ .fd = fd, .file_fd = -1, .level = LOG_INFO_LEVEL });
	run_ok(&b, CONTAINER_INIT);
	log_setup(&quiet);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(read_fd(fd, 1 << 20, &text, NULL), 0);
	close(fd);
	rest = SPAN(text);
	for (; span_line(&rest, &line); before = line, n++)
		if (line.len == before.len && memcmp(line.p, before.p, line.len) == 0)
			fail_msg("twice: " SPAN_FMT, SPAN_ARG(line));
	assert_true(n > 10);
	bed_done(&b);
}

static void move_tree(struct bed *b, const char *dir, const char *to)
{
	fixture_dir(&b->t, dir);
	assert_int_equal(renameat(b->t.fd, "root/" TREE, b->t.fd, to), 0);
}

/* 21.5: the modules come from the store, and a build tree is there all the same. */
static void the_nodes_kernel_tree_is_shown(void **state _unused_)
{
	static const struct effect show[] = { { "mount bind /proc/1/root/" TREE " /" TREE,
						"25.1: mounted, not installed" },
					      { "mount again - /" TREE, "read-only" },
					      { NULL, NULL } };
	static const struct effect hide[] = { { "umount /" TREE " lazily", NULL }, { NULL, NULL } };
	struct bed b;

	bed_ready(&b, NULL);
	move_tree(&b, "root/proc/1/root/usr/src/kernels", "root/proc/1/root/" TREE);
	b.on_wait = look_at_tree_files;
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, kernel_modules, driver_modules, show, export, persistence, told_to_end, DOWN, hide);
	assert_gone(&b);
	assert_false(testdir_has(&b.t, "root/" TREE));
	assert_true(testdir_has(&b.t, "root/proc/1/root/" TREE "/Module.symvers"));

	/* What cannot be shown keeps no driver from starting. */
	b.on_wait = NULL;
	b.fail_mount = "/" TREE;
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, kernel_modules, driver_modules, ((const struct effect[]){ show[0], { NULL, NULL } }),
	       export, persistence, told_to_end, DOWN);
	bed_done(&b);
}

static void look_at_renamed_tree(struct bed *b)
{
	assert_link(b, "root/" TREE, "/usr/src/linux-headers-" BED_RELEASE);
	look_at_tree_files(b);
}

static void a_kernel_tree_of_another_name_gets_a_link(void **state _unused_)
{
	struct bed b;

	bed_ready(&b, NULL);
	move_tree(&b, "root/usr/src", "root/usr/src/linux-headers-" BED_RELEASE);
	b.on_wait = look_at_renamed_tree;
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, UP, told_to_end, DOWN);
	bed_done(&b);

	/* And without any the driver runs. */
	bed_ready(&b, NULL);
	move_tree(&b, "elsewhere", "elsewhere/" BED_RELEASE);
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, UP, told_to_end, DOWN);
	assert_false(testdir_has(&b.t, "root/lib/modules/" BED_RELEASE "/build"));
	bed_done(&b);
}

static void publish_set(struct bed *b, const char *release, char key[65])
{
	_cleanup_(store_stage_done) struct store_stage st = { NULL, -EBADF, "" };
	_cleanup_(err_done) struct err e = ERR_INIT;
	json_t *record = json_pack("{s:s,s:s,s:s,s:s,s:i}", "driver", BED_VERSION, "flavour", "proprietary",
				   "arch", "x86_64", "release", release, "created_unix_s", 1);

	snprintf(key, 65, "%064x", 1);
	assert_ok(store_stage_begin(b->en->store, &st, &e), &e);
	assert_ok(modset_publish(&st, record, key, &e), &e);
	json_decref(record);
}

/* 25.3 */
static void old_sets_go(void **state _unused_)
{
	struct bed b;
	char key[65];

	bed_ready(&b, NULL);
	publish_set(&b, "5.1-old", key);
	run_ok(&b, CONTAINER_INIT);
	assert_true(store_has(b.en->store, STORE_MODULE, key));
	b.o.module_sets = 1;
	run_ok(&b, CONTAINER_INIT);
	assert_false(store_has(b.en->store, STORE_MODULE, key));
	run_ok(&b, CONTAINER_INIT);
	EXPECT(&b, UP, told_to_end, DOWN);
	assert_int_equal(b.compilers, 0);
	bed_done(&b);
}

/* 9.2, 9.4: a package that matches is no build; one that does not, or is damaged, is none. */
static void a_package_for_this_kernel_is_taken(void **state _unused_)
{
	static const char other[] = "Linux version " BED_RELEASE " (somebody@else) #2 SMP\n";
	struct bed b;

	bed_make(&b);
	run_ok(&b, CONTAINER_BUILD);
	bed_set_to_package(&b);
	testdir_puts(&b.t, BED_PACKAGES "/a-damaged-one", "\aNVIDIA\a and no more");
	run_ok(&b, CONTAINER_INIT);
	assert_int_equal(b.compilers, 0);
	EXPECT(&b, install, UP, told_to_end, DOWN);
	bed_done(&b);

	bed_make(&b);
	run_ok(&b, CONTAINER_BUILD);
	bed_set_to_package(&b);
	testdir_puts(&b.t, "root/proc/version", other);
	run_ok(&b, CONTAINER_BUILD);
	assert_true(b.compilers > 0);
	bed_done(&b);
}

/* 13.2 */
static void old_place_of_the_modules_is_cleared(void **state _unused_)
{
	struct bed b;

	bed_make(&b);
	testdir_puts(&b.t, "root/lib/modules/" BED_RELEASE "/video/nvidia.ko", "old\n");
	testdir_puts(&b.t, "root/lib/modules/" BED_RELEASE "/video/deep/er.ko", "old\n");
	testdir_puts(&b.t, "root/lib/modules/" BED_RELEASE "/videos/other.ko", "stays\n");
	run_ok(&b, CONTAINER_BUILD);
	EXPECT(&b, user_space, install);
	assert_false(testdir_has(&b.t, "root/lib/modules/" BED_RELEASE "/video"));
	assert_text(&b, "root/lib/modules/" BED_RELEASE "/videos/other.ko", "stays\n");
	/* The modules' index follows even when the new ones are in place already. */
	testdir_puts(&b.t, "root/lib/modules/" BED_RELEASE "/video/nvidia.ko", "old\n");
	run_ok(&b, CONTAINER_BUILD);
	EXPECT(&b, install);
	run_ok(&b, CONTAINER_BUILD);
	EXPECT(&b, nothing);
	bed_done(&b);
}

TEST_MAIN(cmocka_unit_test(starts_builds_once_and_ends), cmocka_unit_test(builds_and_loads_apart),
	  cmocka_unit_test(update_fills_an_empty_root), cmocka_unit_test(takes_an_old_driver_out_first),
	  cmocka_unit_test(guest_gets_its_licence_daemons),
	  cmocka_unit_test(a_configured_domain_gets_its_imex_daemon), cmocka_unit_test(rdma_loads_peermem),
	  cmocka_unit_test(peermem_is_built_again_for_another_network_driver),
	  cmocka_unit_test(the_side_container_builds_it_again_too),
	  cmocka_unit_test(nvswitch_gets_its_fabric_manager),
	  cmocka_unit_test(nvlink5_waits_for_the_network_driver),
	  cmocka_unit_test(labels_where_the_node_enforces), cmocka_unit_test(keeps_what_is_loaded),
	  cmocka_unit_test(digest_alone_is_not_enough), cmocka_unit_test(nothing_changes_while_in_use),
	  cmocka_unit_test(takes_back_what_was_begun), cmocka_unit_test(only_one_instance),
	  cmocka_unit_test(a_signal_during_the_start_takes_back), cmocka_unit_test(refused_is_tried_again),
	  cmocka_unit_test(leaves_the_driver_in_use), cmocka_unit_test(a_daemon_that_does_not_end_is_no_end),
	  cmocka_unit_test(dead_daemons_are_started_again),
	  cmocka_unit_test(a_signal_beside_a_dead_daemon_ends_it),
	  cmocka_unit_test(a_daemon_without_its_file_is_ours), cmocka_unit_test(who_is_ending_is_waited_for),
	  cmocka_unit_test(a_dead_containers_daemon_is_taken_over),
	  cmocka_unit_test(strangers_are_not_signalled), cmocka_unit_test(the_hook_is_there_while_we_are),
	  cmocka_unit_test(status_says_users_fabric_and_licence), cmocka_unit_test(takes_the_wanted_flavour),
	  cmocka_unit_test(firmware_can_be_switched_off),
	  cmocka_unit_test(makes_nodes_and_identity_on_request),
	  cmocka_unit_test(something_in_the_way_of_a_node_is_named),
	  cmocka_unit_test(shipped_firmware_reaches_the_node),
	  cmocka_unit_test(old_place_of_the_modules_is_cleared), cmocka_unit_test(nothing_is_said_twice),
	  cmocka_unit_test(old_sets_go), cmocka_unit_test(the_nodes_kernel_tree_is_shown),
	  cmocka_unit_test(a_kernel_tree_of_another_name_gets_a_link),
	  cmocka_unit_test(a_package_for_this_kernel_is_taken))
