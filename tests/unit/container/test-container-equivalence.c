/* SPDX-License-Identifier: Apache-2.0
 *
 * What the script-based entrypoint did, told as the specification tells it (its sections 6 to 20, each effect with its number), on
 * each kind of node; and what differs here, each difference with its reason: a defect of the specification's section 24, a later
 * behaviour of 23, or a design decision. Translated by these rules the script's sequence must be the recorded one. */
#include "container-bed.h"

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

static void set_up(struct bed *b, const struct node *n)
{
	bed_make(b);
	bed_env(b, n->env);
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
	PACKAGES, /* 10, 11 */
	BUILD, /* 12 */
	INSTALL, /* 13.2 */
	LOAD, /* 14.1-14.3 */
	DAEMONS, /* 14.4 */
	EXPORT, /* 17.1-17.3 */
	WAIT, /* 20 */
	STOP, /* 16 */
	UNLOAD, /* 18 */
	UNEXPORT, /* 18.6 */
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
	{ PACKAGES, "10.1", "yum -q makecache", 0, 0 },
	{ PACKAGES, "11", "prerequisites of the kernel", 0, 0 },
	{ BUILD, "12.3", "make the interfaces", 0, 0 },
	{ BUILD, "12.4", "ld -d -r", 0, 0 },
	{ BUILD, "12.6", "mkprecompiled --pack", 0, 0 },
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
};

/* -- what differs -- */

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
	{ PREPARE, NULL },    { OLD_UNLOAD, NULL },
	{ OLD_EXPORT, NULL }, { PACKAGES, NULL },
	{ BUILD, NULL },      { INSTALL, NULL },
	{ LOAD, NULL },	      { EXPORT, "D22: daemons that open the GPU come after the export" },
	{ DAEMONS, NULL },    { WAIT, NULL },
	{ STOP, NULL },	      { UNLOAD, NULL },
	{ UNEXPORT, NULL },
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
	  { PREPARE, OLD_UNLOAD, OLD_EXPORT, PACKAGES, BUILD, INSTALL, LOAD, DAEMONS, EXPORT, WAIT, STOP,
	    UNLOAD, UNEXPORT, PHASES },
	  NULL },
	{ "build", CONTAINER_BUILD, { PREPARE, PACKAGES, BUILD, INSTALL, PHASES }, NULL },
	{ "update", CONTAINER_UPDATE, { PREPARE, PACKAGES, BUILD, PHASES }, NULL },
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

static void expect_translation(struct bed *b, const struct command *c, const struct node *n)
{
	_cleanup_(strbuf_done) struct strbuf want = STRBUF_INIT(1 << 20);

	struct span rest, have;
	bool more;

	strbuf_puts(&want, "");
	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		if (has_phase(c, order[i].phase) && !is_left_out(c, order[i].phase, n->traits))
			put_phase(&want, order[i].phase, n->traits);
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
				 c->name, n->name, SPAN_ARG(a), SPAN_ARG(h));
	} while (more);
}

static void the_script_translated_is_what_happens(void **state _unused_)
{
	for (size_t n = 0; n < ARRAY_LEN(nodes); n++)
		for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
			_cleanup_(err_done) struct err e = ERR_INIT;
			struct bed b;

			set_up(&b, &nodes[n]);
			b.o.kernel = commands[i].command == CONTAINER_UPDATE ? BED_RELEASE : NULL;
			if (commands[i].before)
				testdir_puts(&b.t, "root/usr/src/nvidia-" BED_VERSION "/mkprecompiled", "");
			if (commands[i].before)
				assert_ok(bed_run(&b, CONTAINER_UPDATE, &e), &e);
			assert_ok(bed_run(&b, commands[i].command, &e), &e);
			expect_translation(&b, &commands[i], &nodes[n]);
			if (!commands[i].before && has_phase(&commands[i], BUILD))
				assert_true(b.compilers > 0);
			else
				assert_int_equal(b.compilers, 0);
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
	  cmocka_unit_test(every_effect_failing_leaves_nothing))
