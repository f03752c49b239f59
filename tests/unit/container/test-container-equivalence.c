/* SPDX-License-Identifier: Apache-2.0
 *
 * What the script-based entrypoint did, told as the specification tells it (its sections 6 to 20, each effect with its number), on
 * each kind of node; and what differs here, each difference with its reason: a defect of the specification's section 24, a later
 * behaviour of 23, or a design decision. Translated by these rules the script's sequence must be the recorded one. */
#include "container-bed.h"

#include "testelf.h"

#include "container-peermem.h"
#include "err-container.h"

/* -- nodes -- */

enum {
	VGPU = 1,
	TOPOLOGY = 2, /* nvidia-topologyd is installed */
	RDMA = 4,
	NVSWITCH = 8,
	NVLINK5 = 16,
	RESETS = 32, /* NVFM_CONFIG_FABRIC_MODE=1 */
	SELINUX = 64,
	OLD_DRIVER = 128, /* a loaded one, and its export */
	VIDEO = 256, /* RHEL 9.3 or later */
	PACKAGE = 512, /* the image has a package of ready modules … */
	MATCHES = 1024, /* … which is for the node's kernel */
	/* Of the peer-memory side container, further down. */
	HOST_MOFED = 1 << 11, /* the network driver is the node's own */
	LATE_NETWORK = 1 << 12, /* the network driver comes at the first wait */
	LATE_GPU = 1 << 13, /* the GPU driver comes at the next */
	STOPPED = 1 << 14, /* a signal comes before it */
	PRESENT = 1 << 15, /* the module is loaded when we come */
	PARAMETERS = 1 << 16,
	RESTARTS = 1 << 17, /* the driver container, once */
	REFUSED = 1 << 18, /* by the kernel */
	UNSEEN = 1 << 19, /* loaded without an error, and not there */
	OTHER_NETWORK = 1 << 20, /* the module was built against another network driver */
};

static const struct node {
	const char *name;
	unsigned traits;
	const char *env[4];
} nodes[] = {
	{ "bare metal", 0, { NULL } },
	{ "bare metal, open", 0, { "KERNEL_MODULE_TYPE=open", NULL } },
	{ "bare metal, proprietary", 0, { "KERNEL_MODULE_TYPE=proprietary", NULL } },
	{ "RHEL 9.4", VIDEO, { "RHEL_VERSION=9.4", NULL } },
	{ "an old driver", OLD_DRIVER, { NULL } },
	{ "vGPU", VGPU, { "DRIVER_TYPE=vgpu", NULL } },
	{ "vGPU with topology and NLS",
	  VGPU | TOPOLOGY,
	  { "DRIVER_TYPE=vgpu", "VGPU_LICENSE_SERVER_TYPE=NLS", NULL } },
	{ "RDMA, network driver in a container", RDMA, { "GPU_DIRECT_RDMA_ENABLED=true", NULL } },
	{ "RDMA, the node's network driver",
	  RDMA,
	  { "GPU_DIRECT_RDMA_ENABLED=true", "USE_HOST_MOFED=true", NULL } },
	{ "NVSwitch", NVSWITCH, { NULL } },
	{ "NVLink 5", NVLINK5, { NULL } },
	{ "NVLink 5 with a reset", NVLINK5 | RESETS, { "NVFM_CONFIG_FABRIC_MODE=1", NULL } },
	{ "SELinux", SELINUX, { NULL } },
	{ "all of it", RDMA | NVSWITCH | SELINUX | OLD_DRIVER, { "GPU_DIRECT_RDMA_ENABLED=true", NULL } },
	{ "a precompiled package", PACKAGE | MATCHES, { NULL } },
	{ "a precompiled package, RDMA and an old driver",
	  PACKAGE | MATCHES | RDMA | OLD_DRIVER,
	  { "GPU_DIRECT_RDMA_ENABLED=true", NULL } },
	{ "a precompiled package of another kernel", PACKAGE, { NULL } },
};

static void network_card(struct bed *b)
{
	static const char card[] = "root/sys/bus/pci/devices/0000:02:00.0/";
	static const char *const files[][2] = { { "vendor", "0x15b3\n" },
						{ "device", "0x1021\n" },
						{ "class", "0x020000\n" } };

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		_cleanup_free_ char *path = str_printf("%s%s", card, files[i][0]);

		testdir_puts(&b->t, path, files[i][1]);
	}
}

/* The only thing an earlier build left is its package, in an image that was never started. */
static void precompiled_package(struct bed *b, bool matches)
{
	_cleanup_(err_done) struct err e = ERR_INIT;

	b->o.kernel = BED_RELEASE;
	assert_ok(bed_run(b, CONTAINER_UPDATE, &e), &e);
	b->o.kernel = NULL;
	bed_fresh_container(b);
	bed_set_to_package(b);
	if (!matches)
		bed_put(b, "root/proc/version", "Linux version " BED_RELEASE " (somebody@else) #2 SMP\n");
}

static void set_up(struct bed *b, const struct node *n)
{
	bed_make(b);
	bed_env(b, n->env);
	if (n->traits & PACKAGE)
		precompiled_package(b, n->traits & MATCHES);
	testdir_puts(&b->t, "root/drivers/gridd.conf", "FeatureType=1\n");
	testdir_puts(&b->t, "root/drivers/ClientConfigToken/a.tok", "secret\n");
	if (n->traits & TOPOLOGY)
		testdir_puts(&b->t, "root/usr/bin/nvidia-topologyd", "#!/bin/true\n");
	if (n->traits & RDMA)
		network_card(b);
	if (n->traits & NVSWITCH)
		testdir_puts(&b->t, "root/proc/driver/nvidia-nvswitch/devices/0000:05:00.0", "x\n");
	if (n->traits & NVLINK5) {
		testdir_puts(&b->t, "root/sys/class/infiniband/mlx5_0/device/vpd", "\x82 SW_MNG x");
		bed_load(b, "mlx5_core", NULL);
		bed_load(b, "ib_umad", NULL);
	}
	if (n->traits & SELINUX) {
		testdir_puts(&b->t, "root/proc/1/mounts", "selinuxfs /sys/fs/selinux selinuxfs rw 0 0\n");
		testdir_puts(&b->t, "root/proc/1/root/sys/fs/selinux/enforce", "1");
	}
	if (n->traits & OLD_DRIVER) {
		bed_load(b, "nvidia", "535.0.9");
		bed_load(b, "nvidia-modeset", "535.0.9");
		bed_mounted(b, "/run/nvidia/driver");
	}
}

/* -- the script -- */

/* The large steps (section 6), in the script's order. */
enum phase {
	PREPARE, /* 7 */
	OLD_UNLOAD, /* 16, 18 */
	OLD_EXPORT, /* 17.4 */
	UPDATE_PACKAGES, /* 20a.4-20a.6, whether or not a build is needed */
	MATCH, /* 9 */
	PACKAGES, /* 10, 11 */
	BUILD, /* 12 */
	REMOVE_PACKAGES, /* 11 at its end */
	INSTALL, /* 13.2 */
	LOAD, /* 14.1-14.3 */
	DAEMONS, /* 14.4 */
	EXPORT, /* 17.1-17.3 */
	WAIT, /* 20 */
	STOP, /* 16 */
	UNLOAD, /* 18 */
	UNEXPORT, /* 18.6 */
	/* The peer-memory side container (20b). */
	SIDE_WAIT,
	SIDE_LOAD,
	SIDE_STAY,
	SIDE_PROBE,
	PHASES,
};

/* One effect of the script, said shortly, and the traits without which it does not happen. */
static const struct script {
	enum phase phase;
	const char *section, *effect;
	unsigned needs, never;
} script[] = {
	{ PREPARE, "7.2", "extract the run file", 0, 0 },
	{ PREPARE, "7.3", "install.sh nvinstall", 0, 0 },
	{ OLD_UNLOAD, "18.4", "rmmod nvidia_modeset", OLD_DRIVER, 0 },
	{ OLD_UNLOAD, "18.4", "rmmod nvidia", OLD_DRIVER, 0 },
	{ OLD_EXPORT, "17.4", "umount -l -R /run/nvidia/driver", OLD_DRIVER, 0 },
	{ UPDATE_PACKAGES, "20a.4", "yum -q makecache", 0, 0 },
	{ UPDATE_PACKAGES, "20a.5", "list the versions of kernel-headers", 0, 0 },
	{ UPDATE_PACKAGES, "20a.6", "prerequisites of the kernel", 0, 0 },
	{ MATCH, "9.2", "mkprecompiled --match", PACKAGE, 0 },
	{ PACKAGES, "10.1", "yum -q makecache", 0, MATCHES },
	{ PACKAGES, "11", "prerequisites of the kernel", 0, MATCHES },
	{ BUILD, "12.3", "make the interfaces", 0, MATCHES },
	{ BUILD, "12.4", "ld -d -r", 0, MATCHES },
	{ BUILD, "12.6", "mkprecompiled --pack", 0, MATCHES },
	{ REMOVE_PACKAGES, "11", "remove the kernel's headers and devel package", 0, 0 },
	{ INSTALL, "13.2", "nvidia-installer --kernel-module-only", 0, 0 },
	{ LOAD, "14.3", "modprobe i2c_core", 0, 0 },
	{ LOAD, "14.3", "modprobe ipmi_msghandler", 0, 0 },
	{ LOAD, "14.3", "modprobe ipmi_devintf", 0, 0 },
	{ LOAD, "23.3", "modprobe video", VIDEO, 0 },
	{ LOAD, "14.3", "modprobe nvidia", 0, 0 },
	{ LOAD, "14.3", "modprobe nvidia-uvm", 0, 0 },
	{ LOAD, "14.3", "modprobe nvidia-modeset", 0, 0 },
	{ LOAD, "14.3", "modprobe nvidia-peermem", RDMA, 0 },
	{ DAEMONS, "14.4.1", "nvidia-persistenced --persistence-mode", 0, 0 },
	{ DAEMONS, "14.4.2", "nvidia-gridd", VGPU, 0 },
	{ DAEMONS, "14.4.2", "nvidia-topologyd", TOPOLOGY, 0 },
	{ DAEMONS, "14.4.3", "nv-fabricmanager", NVSWITCH, NVLINK5 },
	{ DAEMONS, "23.5", "nvidia-fabricmanager-start.sh", NVLINK5, 0 },
	{ DAEMONS, "23.5", "nvidia-smi -r", RESETS, 0 },
	{ EXPORT, "17.1", "mount --make-runbindable /sys", 0, 0 },
	{ EXPORT, "17.1", "mount --make-private /sys", 0, 0 },
	{ EXPORT, "17.2", "mount --rbind / /run/nvidia/driver", 0, 0 },
	{ EXPORT, "17.3", "chcon -R container_file_t dev", SELINUX, 0 },
	{ WAIT, "20", "sleep until a signal", 0, 0 },
	{ STOP, "16", "kill nvidia-persistenced", 0, 0 },
	{ STOP, "16", "kill nvidia-gridd", VGPU, 0 },
	{ STOP, "16", "kill nv-fabricmanager", NVSWITCH, 0 },
	{ STOP, "16", "kill nv-fabricmanager", NVLINK5, 0 },
	{ UNLOAD, "18.4", "rmmod nvidia_modeset", 0, 0 },
	{ UNLOAD, "18.4", "rmmod nvidia_uvm", 0, 0 },
	{ UNLOAD, "18.4", "rmmod nvidia", 0, 0 },
	{ UNLOAD, "18.4", "rmmod nvidia_peermem", RDMA, 0 },
	{ UNEXPORT, "18.6", "umount -l -R /run/nvidia/driver", 0, 0 },
	{ SIDE_WAIT, "20b", "report that the node's network driver is awaited", LATE_NETWORK | HOST_MOFED,
	  0 },
	{ SIDE_WAIT, "20b", "report that the network driver container is awaited", LATE_NETWORK, HOST_MOFED },
	{ SIDE_WAIT, "20b", "sleep 10", LATE_NETWORK, 0 },
	{ SIDE_WAIT, "20b", "report that the GPU driver is awaited", LATE_GPU, 0 },
	{ SIDE_WAIT, "20b", "sleep 10", LATE_GPU, STOPPED },
	{ SIDE_WAIT, "20b", "sleep 10, unstoppable", LATE_GPU | STOPPED, 0 },
	{ SIDE_LOAD, "23.10", "lsmod: the module is there", PRESENT, 0 },
	{ SIDE_LOAD, "20b", "modprobe of the export, without parameters", 0,
	  PRESENT | STOPPED | PARAMETERS | REFUSED | UNSEEN | OTHER_NETWORK },
	{ SIDE_LOAD, "20b", "modprobe of the export, with its parameters", PARAMETERS, 0 },
	{ SIDE_LOAD, "20b", "modprobe of the export, refused", REFUSED, 0 },
	{ SIDE_LOAD, "20b", "modprobe of the export, in vain", UNSEEN, 0 },
	{ SIDE_LOAD, "20b", "modprobe of the export, built for another network driver", OTHER_NETWORK, 0 },
	{ SIDE_STAY, "20b", "sleep for ever", 0, STOPPED | REFUSED | UNSEEN | OTHER_NETWORK },
	{ SIDE_PROBE, "20b", "lsmod: two modules", 0, 0 },
};

/* -- what differs -- */

#define AWAIT_GPU "say waiting for the GPU driver container (/" CONTAINER_READY_FLAG ")"
#define FABRIC_START                                                                                         \
	"run /usr/bin/nvidia-fabricmanager-start.sh --mode start --fm-config-file "                          \
	"/usr/share/nvidia/nvswitch/fabricmanager.cfg --fm-pid-file "                                        \
	"/var/run/nvidia-fabricmanager/nv-fabricmanager.pid --nvlsm-config-file "                            \
	"/usr/share/nvidia/nvlsm/nvlsm.conf --nvlsm-pid-file /var/run/nvidia-fabricmanager/nvlsm.pid"

/* An effect of the script and ours in its place. why NULL: the same thing in the record's words. */
static const struct rule {
	const char *effect, *why;
	const char *ours[12];
} rules[] = {
	{ "extract the run file", "design: unpacking is native", { NULL } },
	{ "install.sh nvinstall",
	  "design: user space is native",
	  { "run /usr/sbin/ldconfig -X -r /", NULL } },
	{ "list the versions of kernel-headers", "D9: a whole release needs no list", { NULL } },
	{ "mkprecompiled --match", "design: packages are read natively", { NULL } },
	{ "remove the kernel's headers and devel package", "D17: nothing was installed for it", { NULL } },
	{ "yum -q makecache", "D9: only when a package is needed", { NULL } },
	{ "prerequisites of the kernel",
	  "D9, D17: nothing is installed where a build tree is at hand",
	  { NULL } },
	{ "make the interfaces", "D4: the only compilation; counted, not recorded", { NULL } },
	{ "ld -d -r", "design: linking is native", { NULL } },
	{ "mkprecompiled --pack", "design: the set in the store stands for the package", { NULL } },
	{ "label the modules",
	  "25.9: so that an enforcing node loads them",
	  { "label lib/modules/" BED_RELEASE "/kernel/drivers/video system_u:object_r:modules_object_t:s0",
	    NULL } },
	{ "nvidia-installer --kernel-module-only",
	  "D4: the built modules are installed, not compiled again",
	  { "run depmod -b / " BED_RELEASE, NULL } },
	{ "modprobe i2c_core", NULL, { "modprobe i2c_core", NULL } },
	{ "modprobe ipmi_msghandler", NULL, { "modprobe ipmi_msghandler", NULL } },
	{ "modprobe ipmi_devintf", NULL, { "modprobe ipmi_devintf", NULL } },
	{ "modprobe video", NULL, { "modprobe video", NULL } },
	{ "modprobe nvidia",
	  "23.2: the parameter that is always put first",
	  { "insert nvidia [NVreg_CoherentGPUMemoryMode=driver]", NULL } },
	{ "modprobe nvidia-uvm", NULL, { "insert nvidia-uvm []", NULL } },
	{ "modprobe nvidia-modeset", NULL, { "insert nvidia-modeset []", NULL } },
	{ "modprobe nvidia-peermem", NULL, { "insert nvidia-peermem []", NULL } },
	{ "nvidia-persistenced --persistence-mode",
	  NULL,
	  { "run nvidia-persistenced --persistence-mode", NULL } },
	{ "nvidia-gridd", NULL, { "run nvidia-gridd with LD_LIBRARY_PATH=/usr/lib64/nvidia/gridd", NULL } },
	{ "nvidia-topologyd", NULL, { "run nvidia-topologyd", NULL } },
	{ "nv-fabricmanager",
	  NULL,
	  { "run nv-fabricmanager -c /usr/share/nvidia/nvswitch/fabricmanager.cfg", NULL } },
	{ "nvidia-fabricmanager-start.sh", NULL, { FABRIC_START, NULL } },
	{ "nvidia-smi -r", NULL, { "run nvidia-smi -r", NULL } },
	{ "mount --make-runbindable /sys", NULL, { "mount unbindable-rec - /sys", NULL } },
	{ "mount --make-private /sys", NULL, { "mount private - /sys", NULL } },
	{ "mount --rbind / /run/nvidia/driver",
	  "design: by a private staging mount, so that nobody sees half of it",
	  { "mount new tmpfs /var/lib/nvdriver/stage", "mount private - /var/lib/nvdriver/stage",
	    "mount bind-rec / /var/lib/nvdriver/stage/root",
	    "mount private-rec - /var/lib/nvdriver/stage/root",
	    "umount /var/lib/nvdriver/stage/root/var/lib/nvdriver/stage lazily",
	    "mount shared-rec - /var/lib/nvdriver/stage/root",
	    "mount move /var/lib/nvdriver/stage/root /run/nvidia/driver",
	    "umount /var/lib/nvdriver/stage lazily", NULL } },
	/* The stand-in for the mount shows no /dev. */
	{ "chcon -R container_file_t dev", "D19: where there is something to label", { NULL } },
	{ "sleep until a signal",
	  "D25: daemons are looked after meanwhile",
	  { "wait 10000 ms, signal", NULL } },
	{ "kill nvidia-persistenced", NULL, { "kill nvidia-persistenced 15", NULL } },
	{ "kill nvidia-gridd", NULL, { "kill nvidia-gridd 15", NULL } },
	{ "kill nvidia-topologyd", NULL, { "kill nvidia-topologyd 15", NULL } },
	{ "kill nv-fabricmanager", NULL, { "kill nv-fabricmanager 15", NULL } },
	{ "rmmod nvidia", NULL, { "remove nvidia", NULL } },
	{ "rmmod nvidia_uvm", NULL, { "remove nvidia_uvm", NULL } },
	{ "rmmod nvidia_modeset", NULL, { "remove nvidia_modeset", NULL } },
	{ "rmmod nvidia_peermem", NULL, { "remove nvidia_peermem", NULL } },
	{ "umount -l -R /run/nvidia/driver",
	  "D20: layer by layer, without a recursion that reaches peers",
	  { "umount /run/nvidia/driver lazily", NULL } },
	{ "report that the node's network driver is awaited",
	  NULL,
	  { "say waiting for the host's network driver (module mlx5_core)", NULL } },
	{ "report that the network driver container is awaited",
	  NULL,
	  { "say waiting for the network driver container (/" CONTAINER_MOFED_FLAG ")", NULL } },
	{ "report that the GPU driver is awaited", NULL, { AWAIT_GPU, NULL } },
	{ "sleep 10", NULL, { "wait 10000 ms", NULL } },
	{ "sleep 10, unstoppable", "D26: a signal ends it at once", { "wait 10000 ms, signal", NULL } },
	{ "lsmod: the module is there", NULL, { "say nvidia-peermem is loaded already", NULL } },
	{ "modprobe of the export, without parameters",
	  NULL,
	  { "insert nvidia-peermem []", "say nvidia-peermem loaded", NULL } },
	{ "modprobe of the export, with its parameters",
	  "D11: as parameters, which the script passed as names of modules",
	  { "insert nvidia-peermem [peerdirect_support=1]", "say nvidia-peermem loaded", NULL } },
	{ "modprobe of the export, refused", NULL, { "insert nvidia-peermem []", NULL } },
	{ "modprobe of the export, in vain", NULL, { "insert nvidia-peermem []", NULL } },
	{ "modprobe of the export, built for another network driver",
	  "D34: built once more, where the script ended",
	  { "insert nvidia-peermem []", "insert nvidia-peermem []", "say nvidia-peermem loaded",
	    "wait 10000 ms, signal", NULL } },
	{ "sleep for ever", "D26: it watches, and a signal ends it", { "wait 10000 ms, signal", NULL } },
	{ "the driver container restarts",
	  "D26: loaded again when it disappears",
	  { "wait 10000 ms", "say nvidia-peermem has gone", AWAIT_GPU, "wait 10000 ms",
	    "insert nvidia-peermem []", "say nvidia-peermem loaded", NULL } },
	{ "lsmod: two modules", "design: sysfs is read, no program runs", { NULL } },
};

/* What the script did not do, ahead of or behind an effect it did. */
static const struct addition {
	const char *why, *beside, *effect;
	enum phase phase;
	unsigned needs;
	bool ahead;
} additions[] = {
	{ "D24: the topology daemon was never stopped", "kill nvidia-gridd", "kill nvidia-topologyd", STOP,
	  TOPOLOGY, false },
	{ "25.9: see its rule", "nvidia-installer --kernel-module-only", "label the modules", INSTALL,
	  SELINUX, true },
	{ "D26: it never loaded again", "sleep for ever", "the driver container restarts", SIDE_STAY,
	  RESTARTS, true },
};

/* An effect that comes before another of its phase, which the script had it behind. */
static const struct {
	const char *why, *effect, *before;
	enum phase phase;
} moves[] = {
	{ "D6: holders first", "rmmod nvidia_peermem", "rmmod nvidia_modeset", UNLOAD },
};

/* Phases as we have them. */
static const struct {
	enum phase phase;
	const char *why; /* it stands elsewhere than with the script */
} order[] = {
	{ PREPARE, NULL },
	{ OLD_UNLOAD, NULL },
	{ OLD_EXPORT, NULL },
	{ UPDATE_PACKAGES, NULL },
	{ MATCH, NULL },
	{ PACKAGES, NULL },
	{ BUILD, NULL },
	{ REMOVE_PACKAGES, NULL },
	{ INSTALL, NULL },
	{ LOAD, NULL },
	{ EXPORT, "D22: daemons that open the GPU come after the export" },
	{ DAEMONS, NULL },
	{ WAIT, NULL },
	{ STOP, NULL },
	{ UNLOAD, NULL },
	{ UNEXPORT, NULL },
	{ SIDE_WAIT, NULL },
	{ SIDE_LOAD, NULL },
	{ SIDE_STAY, NULL },
	{ SIDE_PROBE, NULL },
};

static bool is_reason(const char *why)
{
	return !why || strncmp(why, "design: ", 8) == 0 || strncmp(why, "23.", 3) == 0 ||
	       strncmp(why, "25.", 3) == 0 || (why[0] == 'D' && why[1] >= '1' && why[1] <= '9');
}

static void every_difference_has_a_reason(void **state _unused_)
{
	enum phase last = PREPARE;

	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		assert_true(is_reason(rules[i].why));
	for (size_t i = 0; i < ARRAY_LEN(additions); i++)
		assert_true(additions[i].why && is_reason(additions[i].why));
	for (size_t i = 0; i < ARRAY_LEN(moves); i++)
		assert_true(moves[i].why && is_reason(moves[i].why));
	assert_int_equal(ARRAY_LEN(order), PHASES);
	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		assert_true(is_reason(order[i].why));
		assert_true(order[i].phase >= last || order[i].why || (i && order[i - 1].why));
		last = order[i].phase;
	}
}

/* -- translated -- */

static const struct rule *rule_of(const char *effect)
{
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if (strcmp(rules[i].effect, effect) == 0)
			return &rules[i];
	fail_msg("no rule for \"%s\"", effect);
	return NULL;
}

static void put(struct strbuf *out, const char *effect)
{
	for (const char *const *o = rule_of(effect)->ours; *o; o++)
		assert_int_equal(strbuf_printf(out, "%s\n", *o), 0);
}

static bool moves_up(enum phase phase, const char *effect, const char **ret_before)
{
	for (size_t i = 0; i < ARRAY_LEN(moves); i++)
		if (moves[i].phase == phase && strcmp(moves[i].effect, effect) == 0) {
			*ret_before = moves[i].before;
			return true;
		}
	return false;
}

static bool applies(const struct script *s, enum phase phase, unsigned traits)
{
	return s->phase == phase && (s->needs & traits) == s->needs && !(s->never & traits);
}

/* What was moved up in front of this effect. */
static void put_moved(struct strbuf *out, enum phase phase, const char *effect, unsigned traits)
{
	const char *before;

	for (size_t i = 0; i < ARRAY_LEN(script); i++)
		if (applies(&script[i], phase, traits) && moves_up(phase, script[i].effect, &before) &&
		    strcmp(before, effect) == 0)
			put(out, script[i].effect);
}

static void put_additions(struct strbuf *out, enum phase phase, const char *effect, unsigned traits,
			  bool ahead)
{
	for (size_t k = 0; k < ARRAY_LEN(additions); k++)
		if (additions[k].phase == phase && additions[k].ahead == ahead &&
		    (additions[k].needs & traits) == additions[k].needs &&
		    strcmp(additions[k].beside, effect) == 0)
			put(out, additions[k].effect);
}

static void put_phase(struct strbuf *out, enum phase phase, unsigned traits)
{
	const char *before;

	for (size_t i = 0; i < ARRAY_LEN(script); i++) {
		if (!applies(&script[i], phase, traits) || moves_up(phase, script[i].effect, &before))
			continue;
		put_moved(out, phase, script[i].effect, traits);
		put_additions(out, phase, script[i].effect, traits, true);
		put(out, script[i].effect);
		put_additions(out, phase, script[i].effect, traits, false);
	}
}

/* -- commands -- */

static const struct command {
	const char *name;
	enum container_command command;
	enum phase phases[PHASES + 1]; /* the script's (section 6), ended by PHASES */
	const char *before; /* a command that has run already */
} commands[] = {
	{ "init",
	  CONTAINER_INIT,
	  { PREPARE, OLD_UNLOAD, OLD_EXPORT, MATCH, PACKAGES, BUILD, INSTALL, LOAD, DAEMONS, EXPORT, WAIT,
	    STOP, UNLOAD, UNEXPORT, PHASES },
	  NULL },
	{ "build", CONTAINER_BUILD, { PREPARE, MATCH, PACKAGES, BUILD, INSTALL, PHASES }, NULL },
	{ "update",
	  CONTAINER_UPDATE,
	  { PREPARE, UPDATE_PACKAGES, MATCH, BUILD, REMOVE_PACKAGES, PHASES },
	  NULL },
	/* In a container of its own: the image has neither user space nor modules yet. */
	{ "load",
	  CONTAINER_LOAD,
	  { PREPARE, OLD_UNLOAD, OLD_EXPORT, INSTALL, LOAD, DAEMONS, EXPORT, WAIT, STOP, UNLOAD, UNEXPORT,
	    PHASES },
	  "update" },
	{ "unload", CONTAINER_UNLOAD, { OLD_UNLOAD, OLD_EXPORT, PHASES }, NULL },
};

static bool has_phase(const struct command *c, enum phase phase)
{
	for (const enum phase *p = c->phases; *p != PHASES; p++)
		if (*p == phase)
			return true;
	return false;
}

/* What a directory's label is followed by: its files, in the order the disk has them. */
static bool is_detail(struct span line)
{
	struct span verb, name;

	return span_word(&line, &verb) && span_word(&line, &name) && span_eq(verb, "label") &&
	       !memchr(name.p, '/', name.len);
}

/* 20a.2: an update prepares where that was never done, and no guest's container. */
static bool is_left_out(const struct command *c, enum phase phase, unsigned traits)
{
	return c->command == CONTAINER_UPDATE && phase == PREPARE && traits & VGPU;
}

static void expect_translation(struct bed *b, const struct command *c, const char *node, unsigned traits)
{
	_cleanup_(strbuf_done) struct strbuf want = STRBUF_INIT(1 << 20);

	struct span rest, have;
	bool more;

	strbuf_puts(&want, "");
	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		if (has_phase(c, order[i].phase) && !is_left_out(c, order[i].phase, traits))
			put_phase(&want, order[i].phase, traits);
	rest = (struct span){ strbuf_str(&want), want.len };
	have = (struct span){ strbuf_str(&b->record), b->record.len };
	do {
		struct span a = SPAN("(the end)"), h = SPAN("(the end)");

		more = span_line(&rest, &a);
		do {
			h = SPAN("(the end)");
			more |= span_line(&have, &h);
		} while (is_detail(h));
		if (a.len != h.len || memcmp(a.p, h.p, a.len) != 0)
			fail_msg("%s on %s: the script, translated: " SPAN_FMT "; recorded: " SPAN_FMT,
				 c->name, node, SPAN_ARG(a), SPAN_ARG(h));
	} while (more);
}

/* Another command's work, without which this one has nothing to load: where the image brings no modules. */
static void run_before(struct bed *b, const struct command *c, unsigned traits)
{
	_cleanup_(err_done) struct err e = ERR_INIT;

	if (!c->before || traits & MATCHES)
		return;
	testdir_puts(&b->t, "root/usr/src/nvidia-" BED_VERSION "/mkprecompiled", "");
	assert_ok(bed_run(b, CONTAINER_UPDATE, &e), &e);
}

static void the_script_translated_is_what_happens(void **state _unused_)
{
	for (size_t n = 0; n < ARRAY_LEN(nodes); n++)
		for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
			_cleanup_(err_done) struct err e = ERR_INIT;
			struct bed b;

			set_up(&b, &nodes[n]);
			b.o.kernel = commands[i].command == CONTAINER_UPDATE ? BED_RELEASE : NULL;
			run_before(&b, &commands[i], nodes[n].traits);
			assert_ok(bed_run(&b, commands[i].command, &e), &e);
			expect_translation(&b, &commands[i], nodes[n].name, nodes[n].traits);
			if (has_phase(&commands[i], BUILD) && !(nodes[n].traits & MATCHES))
				assert_true(b.compilers > 0);
			else
				assert_int_equal(b.compilers, 0);
			bed_done(&b);
		}
}

/* -- the peer-memory side container -- */

static const struct side {
	const char *name;
	unsigned traits;
	int want;
} sides[] = {
	{ "all is ready, the network driver in a container", 0, 0 },
	{ "all is ready, the network driver on the node", HOST_MOFED, 0 },
	{ "parameters", PARAMETERS, 0 },
	{ "a late network driver in a container", LATE_NETWORK, 0 },
	{ "a late network driver on the node", LATE_NETWORK | HOST_MOFED, 0 },
	{ "both are late", LATE_NETWORK | LATE_GPU, 0 },
	{ "stopped while it waits", LATE_GPU | STOPPED, 0 },
	{ "loaded already", PRESENT, 0 },
	{ "the driver container restarts", RESTARTS, 0 },
	{ "late, and then a restart", LATE_NETWORK | LATE_GPU | RESTARTS, 0 },
	{ "the module is refused", REFUSED, -ERR_PEERMEM_ABI },
	{ "the module does not appear", UNSEEN, -ERR_PEERMEM_ABSENT },
	{ "another network driver", OTHER_NETWORK, 0 },
};
static const struct command reload = { .name = "reload_nvidia_peermem",
				       .phases = { SIDE_WAIT, SIDE_LOAD, SIDE_STAY, PHASES } };
static const struct command probe = { .name = "probe_nvidia_peermem", .phases = { SIDE_PROBE, PHASES } };

static const struct side *the_side;

static void live(struct bed *b, const char *module)
{
	_cleanup_free_ char *path = str_printf("root/sys/module/%s/refcnt", module);

	testdir_puts(&b->t, path, "0\n");
}

static void network_ready(struct bed *b)
{
	if (the_side->traits & HOST_MOFED)
		live(b, "mlx5_core");
	else
		testdir_puts(&b->t, "root/" CONTAINER_MOFED_FLAG, "");
}

static void gpu_ready(struct bed *b)
{
	testdir_puts(&b->t, "root/" CONTAINER_READY_FLAG, "");
}

static void driver_gone(struct bed *b)
{
	assert_int_equal(unlinkat(b->t.fd, "root/sys/module/nvidia_peermem/refcnt", 0), 0);
	assert_int_equal(unlinkat(b->t.fd, "root/" CONTAINER_READY_FLAG, 0), 0);
	strv_freep(&b->loaded);
	write_modules(b);
}

/* What comes at the next wait; without anything left, the signal. */
static const struct {
	unsigned trait;
	void (*happens)(struct bed *b);
} events[] = { { LATE_NETWORK, network_ready },
	       { LATE_GPU, gpu_ready },
	       { RESTARTS, driver_gone },
	       { RESTARTS, gpu_ready } };

static bool is_to_come(size_t event)
{
	return the_side->traits & events[event].trait &&
	       !(events[event].trait == LATE_GPU && the_side->traits & STOPPED);
}

static void next_event(struct bed *b)
{
	unsigned at = 0;

	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		if (is_to_come(i) && ++at == b->waits)
			events[i].happens(b);
}

/* The next one, made for the symbols that are there, fits. */
static void fits_when_built_again(struct bed *b)
{
	b->fail_insert = NULL;
}

static void set_up_other_network(struct bed *b)
{
	static const char *const env[] = { "GPU_DIRECT_RDMA_ENABLED=true", NULL };

	bed_env(b, env);
	network_card(b);
	bed_load(b, "nvidia", BED_VERSION);
	testdir_puts(&b->t, "root/usr/src/ofa_kernel/default/Module.symvers",
		     "0x22222222\tib_register_peer_memory_client\tib_core\tEXPORT_SYMBOL\t\n");
	b->on_refusal = fits_when_built_again;
}

static void set_up_side(struct bed *b, const struct side *s)
{
	static const char info[] = "name=nvidia-peermem\0vermagic=" BED_RELEASE " SMP\0depends=";
	struct testelf elf;
	unsigned waits = 0;

	the_side = s;
	bed_make(b);
	testelf_make(&elf, &(struct testelf_spec){ .modinfo = info, .modinfo_len = sizeof(info) });
	testdir_write(&b->t,
		      "root/" CONTAINER_EXPORT "/lib/modules/" BED_RELEASE
		      "/kernel/drivers/video/nvidia-peermem.ko",
		      elf.bytes, elf.len, 0644);
	if (s->traits & PARAMETERS)
		testdir_puts(&b->t, "root/" CONTAINER_EXPORT "/etc/modprobe.d/nvidia-peermem.conf",
			     "options nvidia-peermem peerdirect_support=1\n");
	if (!(s->traits & LATE_NETWORK))
		network_ready(b);
	if (!(s->traits & LATE_GPU))
		gpu_ready(b);
	if (s->traits & PRESENT)
		live(b, "nvidia_peermem");
	if (s->traits & OTHER_NETWORK)
		set_up_other_network(b);
	if (s->traits & (REFUSED | OTHER_NETWORK))
		b->fail_insert = "nvidia-peermem", b->fail_insert_errno = -EINVAL;
	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		waits += is_to_come(i);
	b->signals[0] = 0;
	b->signals[waits] = SIGTERM;
	b->on_wait = next_event;
}

static int build_again(struct bed *b, struct err *e)
{
	_cleanup_(container_done) struct container c = { .state = { -EBADF, -EBADF },
							 .lock = CONTAINER_LOCK_INIT };

	assert_ok(container_init(b->en, &b->env, &b->o, &b->ops, &c, e), e);
	return container_peermem_rebuild(&c, e);
}

static int side_load(void *arg, struct err *e)
{
	struct bed *b = arg;
	int r = container_peermem_load(b->en->host, &b->ops.kernel, e);

	if (r == -ERR_PEERMEM_ABI && the_side->traits & OTHER_NETWORK) {
		err_done(e);
		r = build_again(b, e);
	}
	if (r == 0 && !(the_side->traits & UNSEEN))
		live(b, "nvidia_peermem");
	return r;
}

static bool side_sleep(void *arg, unsigned ms)
{
	return bed_wait(arg, ms) != 0;
}

static void side_say(void *arg, const char *text)
{
	note(arg, "say %s", text);
}

static void the_side_container_does_what_the_script_did(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_LEN(sides); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		struct bed b;
		const struct container_peermem_ops ops = { side_load, side_sleep, side_say, &b };

		set_up_side(&b, &sides[i]);
		strbuf_puts(&b.record, "");
		assert_int_equal(container_peermem_reload(b.en->host, sides[i].traits & HOST_MOFED, &ops, &e),
				 sides[i].want);
		expect_translation(&b, &reload, sides[i].name, sides[i].traits);
		assert_int_equal(b.compilers > 0, (sides[i].traits & OTHER_NETWORK) != 0);
		bed_done(&b);
	}
}

/* Nothing but an answer: 0, or 1 where the network driver is there and the module is not. */
static void the_probe_answers_as_the_script_did(void **state _unused_)
{
	for (unsigned i = 0; i < 4; i++) {
		const bool network = i & 1, module = i & 2;
		static const struct side none;
		_cleanup_(err_done) struct err e = ERR_INIT;
		const char *text = NULL;
		uint64_t programs = spawn_count();
		struct bed b;
		int r;

		bed_make(&b);
		the_side = &none;
		if (network)
			live(&b, "mlx5_core");
		if (module)
			live(&b, "nvidia_peermem");
		strbuf_puts(&b.record, "");
		r = container_peermem_probe(b.en->host, &text, &e);
		assert_int_equal(r, network && !module ? -ERR_PEERMEM_ABSENT : 0);
		assert_true(r < 0 ? err_exit_status(e.code) == 1 && e.reason : text != NULL);
		expect_translation(&b, &probe, network ? "a network driver" : "none", 0);
		assert_int_equal(spawn_count(), programs);
		bed_done(&b);
	}
}

/* -- each failure -- */

/* Only these fail without failing the start. */
static bool may_be_missed(const struct bed *b)
{
	static const char *const optional[] = { "modprobe i2c_core", "modprobe ipmi_msghandler",
						"modprobe ipmi_devintf", "modprobe video",
						"run /usr/sbin/ldconfig -X -r /" };
	struct span rest = { strbuf_str(&b->record), b->record.len }, line = SPAN("");
	unsigned n = 0;

	while (n < b->fail_at && span_line(&rest, &line))
		n += span_starts(line, "mount ") || span_starts(line, "insert ") ||
		     span_starts(line, "run ") || span_starts(line, "modprobe ");
	for (size_t i = 0; i < ARRAY_LEN(optional); i++)
		if (span_eq(line, optional[i]))
			return true;
	return false;
}

static void assert_nothing_left(const struct bed *b, unsigned loaded_before)
{
	_cleanup_free_ char *status = testdir_read(&b->t, "root/run/nvidia/nvidia-driver.status.json", NULL);
	_cleanup_free_ char *word =
	    testdir_read(&b->t, "root/run/nvidia/validations/.driver-daemons-status", NULL);

	assert_int_equal(strv_len(b->loaded), loaded_before);
	assert_int_equal(b->mounts.len, 0);
	assert_false(testdir_has(&b->t, "root/run/nvidia/nvidia-driver.pid"));
	for (int pid = 1001; pid <= b->next_pid; pid++) {
		char path[32];

		snprintf(path, sizeof(path), "root/proc/%d", pid);
		assert_false(testdir_has(&b->t, path));
	}
	assert_string_equal(word, "NotReady\n");
	assert_non_null(strstr(status, "\"state\": \"failed\""));
	assert_null(strstr(status, "\"reason\": \"\""));
}

static void every_effect_failing_leaves_nothing(void **state _unused_)
{
	static const size_t which[] = { 6, 8, 11, 13 }; /* the nodes with the most to do */
	unsigned failures = 0;

	for (size_t i = 0; i < ARRAY_LEN(which); i++) {
		const struct node *n = &nodes[which[i]];
		unsigned before = n->traits & NVLINK5 ? 2 : 0;
		struct bed b;

		set_up(&b, n);
		for (b.fail_at = 1;; b.fail_at++) {
			_cleanup_(err_done) struct err e = ERR_INIT;
			int r = bed_run(&b, CONTAINER_INIT, &e);

			if (!b.failed)
				break;
			if (may_be_missed(&b)) {
				assert_ok(r, &e);
				continue;
			}
			if (r == 0)
				fail_msg("%s: failure %u is not noticed\n%s", n->name, b.fail_at,
					 strbuf_str(&b.record));
			assert_true(e.reason && *err_next_step(e.code));
			assert_nothing_left(&b, before);
			failures++;
		}
		/* And then, undisturbed: nothing of all that is in the way. */
		b.fail_at = 0;
		assert_int_equal(bed_run(&b, CONTAINER_INIT, NULL), 0);
		bed_done(&b);
	}
	assert_true(failures > 40);
}

TEST_MAIN(cmocka_unit_test(every_difference_has_a_reason),
	  cmocka_unit_test(the_script_translated_is_what_happens),
	  cmocka_unit_test(the_side_container_does_what_the_script_did),
	  cmocka_unit_test(the_probe_answers_as_the_script_did),
	  cmocka_unit_test(every_effect_failing_leaves_nothing))
