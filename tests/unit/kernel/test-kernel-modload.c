/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "modload.h"
#include "modparams.h"
#include "strbuf.h"

/* A kernel in memory: what it has loaded is written to the fixture's proc/modules after every change, and any answer
 * can be injected. */
struct fake {
	struct testdir t;
	struct host *h;
	struct {
		const char *name, *holders; /* holders: comma-terminated, as proc/modules has them */
		int refs;
	} loaded[16];
	size_t n;
	int insert_answer; /* for the module number fail_at */
	int fail_at, inserts;
	const char *klog;
	int remove_answer; /* 0 = remove; else answer and keep */
	bool lie; /* say success, keep the module */
	char params[256]; /* of the last insert */
	char kernel_asked[256];
	bool no_kernel_module;
};

static const char *const order[] = { "nvidia", "nvidia_uvm", "nvidia_modeset", "nvidia_drm" };

static void write_modules(struct fake *f)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(65536);

	for (size_t i = 0; i < f->n; i++)
		(void)strbuf_printf(&b, "%s 16384 %d %s Live 0x0000000000000000 (O)\n", f->loaded[i].name,
				    f->loaded[i].refs, f->loaded[i].holders ? f->loaded[i].holders : "-");
	testdir_puts(&f->t, "proc/modules", strbuf_str(&b));
}

static void put(struct fake *f, const char *name, int refs, const char *holders)
{
	f->loaded[f->n].name = name;
	f->loaded[f->n].refs = refs;
	f->loaded[f->n++].holders = holders;
	write_modules(f);
}

static int fake_insert(void *arg, int fd, const char *params)
{
	struct fake *f = arg;

	assert_true(fd >= 0);
	snprintf(f->params, sizeof(f->params), "%s", params);
	if (f->inserts++ == f->fail_at)
		return f->insert_answer;
	put(f, order[f->inserts - 1], 0, NULL);
	return 0;
}

static int fake_remove(void *arg, const char *name)
{
	struct fake *f = arg;

	if (f->remove_answer)
		return f->remove_answer;
	for (size_t i = 0; i < f->n && !f->lie; i++)
		if (strcmp(f->loaded[i].name, name) == 0) {
			memmove(&f->loaded[i], &f->loaded[i + 1], (f->n - i - 1) * sizeof(f->loaded[0]));
			f->n--;
			break;
		}
	/* its hold on others ends with it */
	for (size_t i = 0; i < f->n && !f->lie; i++)
		if (f->loaded[i].holders && strncmp(f->loaded[i].holders, name, strlen(name)) == 0) {
			f->loaded[i].holders = NULL;
			f->loaded[i].refs--;
		}
	write_modules(f);
	return 0;
}

static int fake_klog(void *arg, char **ret)
{
	struct fake *f = arg;

	*ret = strdup(f->klog ? f->klog : "");
	return 0;
}

static int fake_kernel_module(void *arg, const char *name)
{
	struct fake *f = arg;

	if (f->no_kernel_module)
		return -ENOENT;
	strcat(f->kernel_asked, name);
	strcat(f->kernel_asked, " ");
	return 0;
}

static struct modload_ops ops_of(struct fake *f)
{
	return (struct modload_ops){ fake_insert, fake_remove, fake_klog, fake_kernel_module, f };
}

/* The smallest thing modinfo_read_fd() takes for a module: one ELF header, two sections and their names. */
static void module_file(struct testdir *t, const char *path, const char *vermagic, const char *depends)
{
	struct {
		uint8_t ident[16];
		uint16_t type, machine;
		uint32_t version;
		uint64_t entry, phoff, shoff;
		uint32_t flags;
		uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
	} eh = { .ident = { 0x7f, 'E', 'L', 'F', 2, 1, 1 },
		 .type = 1,
		 .machine = 62,
		 .version = 1,
		 .ehsize = 64,
		 .shentsize = 64,
		 .shnum = 4,
		 .shstrndx = 3 };
	struct {
		uint32_t name, type;
		uint64_t flags, addr, offset, size;
		uint32_t link, info;
		uint64_t addralign, entsize;
	} sh[4] = { 0 };
	static const char names[] = "\0.modinfo\0.gnu.linkonce.this_module\0.shstrtab";
	char info[512], file[2048];
	int n = snprintf(info, sizeof(info), "vermagic=%s%cdepends=%s%cversion=535.1.2%cname=x", vermagic, 0,
			 depends, 0, 0) +
		1;
	size_t at = sizeof(eh);

	sh[1].name = 1, sh[1].type = 1, sh[1].offset = at, sh[1].size = (uint64_t)n, sh[1].addralign = 1;
	memcpy(file + at, info, (size_t)n), at += (size_t)n;
	sh[2].name = 10, sh[2].type = 1, sh[2].offset = at, sh[2].size = 8, sh[2].addralign = 1;
	memset(file + at, 0, 8), at += 8;
	sh[3].name = 36, sh[3].type = 3, sh[3].offset = at, sh[3].size = sizeof(names), sh[3].addralign = 1;
	memcpy(file + at, names, sizeof(names)), at += sizeof(names);
	at = (at + 7) & ~(size_t)7;
	eh.shoff = at;
	memcpy(file, &eh, sizeof(eh));
	memcpy(file + at, sh, sizeof(sh)), at += sizeof(sh);
	testdir_write(t, path, file, at, 0644);
}

#define RELEASE "6.1.0-77-amd64"

static void fake_start(struct fake *f)
{
	_cleanup_(err_done) struct err e = ERR_INIT;

	memset(f, 0, sizeof(*f));
	f->fail_at = -1;
	testdir_make(&f->t);
	testdir_puts(&f->t, "proc/sys/kernel/osrelease", RELEASE "\n");
	testdir_puts(&f->t, "proc/cmdline", "quiet nvidia.NVreg_C=3\n");
	testdir_puts(&f->t, "proc/modules", "");
	testdir_puts(&f->t, "sys/module/firmware_class/parameters/path", "");
	testdir_puts(&f->t, "etc/modprobe.d/nv.conf",
		     "# x\noptions nvidia NVreg_A=1 \\\n NVreg_B=2\noptions other z=1\n");
	testdir_puts(&f->t, "usr/lib/modprobe.d/nv.conf", "options nvidia hidden=1\n");
	module_file(&f->t, "set/nvidia.ko", RELEASE " SMP ", "drm");
	module_file(&f->t, "set/nvidia-uvm.ko", RELEASE " SMP ", "nvidia");
	module_file(&f->t, "set/nvidia-modeset.ko", RELEASE " SMP ", "nvidia");
	module_file(&f->t, "set/nvidia-drm.ko", RELEASE " SMP ", "nvidia-modeset,drm");
	assert_ok(host_open(f->t.path, &f->h, &e), &e);
}

static void fake_end(struct fake *f)
{
	host_freep(&f->h);
	testdir_done(&f->t);
}

static const struct modload_module all[] = { { "nvidia", NULL, false },
					     { "nvidia-uvm", NULL, false },
					     { "nvidia-modeset", NULL, false },
					     { "nvidia-drm", NULL, false } };

static int load(struct fake *f, const struct modload_module *m, size_t n, struct modload_report *report,
		struct err *e)
{
	struct modload_ops ops = ops_of(f);
	_cleanup_close_ int dir = openat(f->t.fd, "set", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct modload_request q = { .dir_fd = dir, .modules = m, .n_modules = n };

	return modload_load(f->h, &ops, &q, report, e);
}

static void loads_in_order(void **state _unused_)
{
	_cleanup_(modload_report_done) struct modload_report r = MODLOAD_REPORT_INIT;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *text = NULL;
	struct fake f;

	fake_start(&f);
	/* named backwards: what they depend on decides (drm needs modeset needs nvidia) */
	assert_ok(
	    load(&f,
		 (struct modload_module[]){ { "nvidia-uvm", NULL, false }, { "nvidia-drm", NULL, false } }, 2,
		 &r, &e),
	    &e);
	text = json_dumps(r.loaded, JSON_COMPACT);
	assert_string_equal(text, "[\"nvidia\",\"nvidia-uvm\",\"nvidia-modeset\",\"nvidia-drm\"]");
	assert_string_equal(f.kernel_asked, "drm drm ");
	fake_end(&f);
}

static void gives_parameters(void **state _unused_)
{
	_cleanup_(modload_report_done) struct modload_report r = MODLOAD_REPORT_INIT;
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct fake f;

	fake_start(&f);
	assert_ok(load(&f, (struct modload_module[]){ { "nvidia", "NVreg_D=4", false } }, 1, &r, &e), &e);
	assert_string_equal(f.params, "NVreg_A=1 NVreg_B=2 NVreg_C=3 NVreg_D=4");
	fake_end(&f);
}

static void second_load_changes_nothing(void **state _unused_)
{
	_cleanup_(modload_report_done) struct modload_report r = MODLOAD_REPORT_INIT;
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct fake f;

	fake_start(&f);
	put(&f, "nvidia", 0, NULL);
	assert_ok(load(&f, all, 1, &r, &e), &e);
	assert_int_equal(json_array_size(r.present), 1);
	assert_int_equal(f.inserts, 0);
	modload_report_done(&r);
	testdir_puts(&f.t, "sys/module/nvidia/version", "550.1.2\n");
	assert_true(load(&f, all, 1, &r, &e) < 0);
	assert_slug(&e, "module-other-loaded");
	fake_end(&f);
}

static void takes_back_on_failure(void **state _unused_)
{
	_cleanup_(modload_report_done) struct modload_report r = MODLOAD_REPORT_INIT;
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct fake f;

	fake_start(&f);
	f.fail_at = 2;
	f.insert_answer = -ENOENT;
	f.klog = "nvidia_modeset: Unknown symbol nv_x (err -2)\n";
	assert_true(load(&f, all, 4, &r, &e) < 0);
	assert_slug(&e, "module-symbol-missing");
	assert_string_equal(e.object, "nvidia-modeset");
	assert_non_null(strstr(e.reason, "nv_x"));
	assert_int_equal(f.n, 0);
	fake_end(&f);
}

static void optional_failure_is_told(void **state _unused_)
{
	_cleanup_(modload_report_done) struct modload_report r = MODLOAD_REPORT_INIT;
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct fake f;

	fake_start(&f);
	f.fail_at = 1;
	f.insert_answer = -EINVAL;
	assert_ok(load(&f,
		       (struct modload_module[]){ { "nvidia", NULL, false }, { "nvidia-uvm", NULL, true } },
		       2, &r, &e),
		  &e);
	assert_int_equal(json_array_size(r.failed), 1);
	assert_int_equal(f.n, 1);
	fake_end(&f);
}

static void refuses_beforehand(void **state _unused_)
{
	_cleanup_(modload_report_done) struct modload_report r = MODLOAD_REPORT_INIT;
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct fake f;

	fake_start(&f);
	module_file(&f.t, "set/nvidia.ko", "6.1.0-78-amd64 SMP ", "");
	assert_true(load(&f, all, 1, &r, &e) < 0);
	assert_slug(&e, "module-wrong-kernel");
	assert_int_equal(f.inserts, 0);
	assert_int_equal(unlinkat(f.t.fd, "set/nvidia.ko", 0), 0);
	assert_true(load(&f, all, 1, &r, &e) < 0);
	assert_slug(&e, "module-file-missing");
	testdir_puts(&f.t, "set/nvidia.ko",
		     "\x7f"
		     "ELF");
	assert_true(load(&f, all, 1, &r, &e) < 0);
	assert_int_equal(f.inserts, 0);
	fake_end(&f);
}

static void explains_every_answer(void **state _unused_)
{
	static const struct {
		int error;
		const char *klog, *slug;
	} rows[] = {
		{ EKEYREJECTED, "Loading of unsigned module is rejected\n", "module-key-rejected-unsigned" },
		{ EKEYREJECTED, "Loading of module with unavailable key is rejected\n",
		  "module-key-unavailable" },
		{ EKEYREJECTED, "Loading of module with unsupported crypto is rejected\n",
		  "module-crypto-unsupported" },
		{ EKEYREJECTED, "", "module-signature-damaged" },
		{ ENOKEY, "", "module-key-unavailable" },
		{ EPERM, "Lockdown: insmod: unsigned module loading is restricted; see man\n",
		  "module-lockdown" },
		{ EPERM, "", "module-permission" },
		{ ENOEXEC, "nvidia: disagrees about version of symbol module_layout\n",
		  "module-wrong-kernel" },
		{ ENOEXEC, "Invalid ELF header len\n", "module-damaged" },
		{ ENOENT, "nvidia_uvm: Unknown symbol NAME (err -2)\n", "module-symbol-missing" },
		{ EINVAL, "nvidia: `x' invalid for parameter `NVreg_Foo'\n", "module-parameter-bad" },
		{ ENODEV, "NVRM: No NVIDIA GPU found.\n", "no-gpu" },
		{ ENODEV,
		  "NVRM: The NVIDIA probe routine was not called for 1 device(s).\nNVRM: nouveau, rivafb, "
		  "nvidiafb or rivatv\n",
		  "gpu-held-by-other-driver" },
		{ ENODEV, "NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:\n",
		  "gpu-unusable" },
		{ ENODEV,
		  "NVRM: Can't find an IRQ for your NVIDIA card!\nNVRM: The NVIDIA probe routine failed for "
		  "1 device(s).\n",
		  "gpu-unusable" },
		{ ENOMEM, "", "module-load-failed" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;

		assert_true(modload_explain(-rows[i].error, "nvidia", rows[i].klog, &e) < 0);
		assert_slug(&e, rows[i].slug);
		assert_non_null(strstr(e.reason, "nvidia"));
		assert_string_equal(e.object, "nvidia");
		assert_true(strlen(err_next_step(e.code)) > 0);
	}
}

static void unloads_holders_first(void **state _unused_)
{
	_cleanup_(modload_report_done) struct modload_report r = MODLOAD_REPORT_INIT;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *text = NULL, *planned = NULL;
	struct modload_ops ops;
	struct fake f;
	json_t *steps;

	fake_start(&f);
	ops = ops_of(&f);
	put(&f, "nvidia", 1, "nvidia_modeset,");
	put(&f, "nvidia_modeset", 1, "nvidia_drm,");
	put(&f, "nvidia_drm", 0, NULL);
	put(&f, "ext4", 1, NULL);
	assert_ok(modunload_plan(f.h, NULL, &steps, &e), &e);
	planned = json_dumps(steps, JSON_COMPACT);
	json_decref(steps);
	assert_string_equal(planned, "[\"unload nvidia_drm\",\"unload nvidia_modeset\",\"unload nvidia\"]");
	assert_ok(modload_unload(f.h, &ops, NULL, &r, &e), &e);
	text = json_dumps(r.removed, JSON_COMPACT);
	assert_string_equal(text, "[\"nvidia_drm\",\"nvidia_modeset\",\"nvidia\"]");
	assert_int_equal(f.n, 1);
	fake_end(&f);
}

static void in_use_names_who(void **state _unused_)
{
	_cleanup_(modload_report_done) struct modload_report r = MODLOAD_REPORT_INIT;
	struct modload_ops ops;
	struct fake f;

	fake_start(&f);
	ops = ops_of(&f);
	put(&f, "nvidia", 2, "nvidia_uvm,");
	put(&f, "nvidia_uvm", 0, NULL);
	testdir_puts(&f.t, "proc/41/comm", "python3\n");
	testdir_puts(&f.t, "proc/41/fd/x", "");
	assert_int_equal(symlinkat("/dev/nvidia0", f.t.fd, "proc/41/fd/3"), 0);
	testdir_puts(&f.t, "proc/7/comm", "nvidia-persiste\n");
	testdir_puts(&f.t, "proc/7/fd/x", "");
	assert_int_equal(symlinkat("/dev/nvidiactl", f.t.fd, "proc/7/fd/4"), 0);
	{
		_cleanup_(err_done) struct err e = ERR_INIT;

		assert_true(modload_unload(f.h, &ops, NULL, &r, &e) < 0);
		assert_slug(&e, "module-in-use");
		assert_non_null(strstr(e.reason, "process python3 (pid 41, /dev/nvidia0)"));
		assert_non_null(strstr(e.reason, "daemon nvidia-persiste (pid 7"));
		assert_non_null(strstr(e.next, "service"));
		assert_int_equal(f.n, 2); /* nothing was touched */
	}
	f.n = 0;
	put(&f, "nvidia", 1, "gdrcopy_foreign,");
	{
		_cleanup_(err_done) struct err e = ERR_INIT;

		assert_true(modload_unload(f.h, &ops, NULL, &r, &e) < 0);
		assert_slug(&e, "module-in-use");
		assert_non_null(strstr(e.reason, "gdrcopy_foreign"));
	}
	fake_end(&f);
}

/* The removal's own status is not believed either way. */
static void reads_the_list_again(void **state _unused_)
{
	_cleanup_(modload_report_done) struct modload_report r = MODLOAD_REPORT_INIT;
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct modload_ops ops;
	struct fake f;

	fake_start(&f);
	ops = ops_of(&f);
	put(&f, "nvidia", 0, NULL);
	f.lie = true;
	assert_true(modload_unload(f.h, &ops, NULL, &r, &e) < 0);
	assert_slug(&e, "module-in-use");
	err_done(&e);
	f.lie = false;
	f.remove_answer = -EPERM;
	assert_true(modload_unload(f.h, &ops, NULL, &r, &e) < 0);
	assert_slug(&e, "module-permission");
	fake_end(&f);
}

/* Modules installed below /lib/modules: the kernel's own tools find them, and one that is not there is told. */
static void installed_modules(void **state _unused_)
{
	_cleanup_(modload_report_done) struct modload_report r = MODLOAD_REPORT_INIT;
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct modload_request q = { .dir_fd = -EBADF, .modules = all, .n_modules = 1 };
	struct modload_ops ops;
	struct fake f;

	fake_start(&f);
	ops = ops_of(&f);
	assert_ok(modload_load(f.h, &ops, &q, &r, &e), &e);
	assert_int_equal(json_array_size(r.loaded), 1);
	f.no_kernel_module = true;
	assert_true(modload_load(f.h, &ops, &q, &r, &e) < 0);
	assert_slug(&e, "module-file-missing");
	fake_end(&f);
}

/* The search path is set before the modules and comes back when they cannot be loaded. */
static void firmware_goes_with_the_load(void **state _unused_)
{
	static char *const names[] = { (char *)"nvidia/535.1.2/gsp.bin", NULL };
	static const char parameter[] = "sys/module/firmware_class/parameters/path";
	_cleanup_(modload_report_done) struct modload_report r = MODLOAD_REPORT_INIT;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *set = NULL, *after = NULL;
	struct modload_module module = { "nvidia", NULL, false };
	struct firmware_want firmware = { .files = names };
	struct modload_request q = { .modules = &module, .n_modules = 1, .firmware = &firmware };
	_cleanup_close_ int dir = -EBADF;
	struct modload_ops ops;
	struct fake f;
	char source[300];

	fake_start(&f);
	ops = ops_of(&f);
	dir = openat(f.t.fd, "set", O_RDONLY | O_DIRECTORY);
	q.dir_fd = dir;
	testdir_puts(&f.t, "fw/gsp.bin", "x");
	snprintf(source, sizeof(source), "%s/fw", f.t.path);
	firmware.source = source;
	f.fail_at = 0, f.insert_answer = -ENODEV;
	assert_true(modload_load(f.h, &ops, &q, &r, &e) < 0);
	after = testdir_read(&f.t, parameter, NULL);
	assert_string_equal(after, "");
	f.fail_at = -1, f.inserts = 0;
	assert_ok(modload_load(f.h, &ops, &q, &r, &e), &e);
	set = testdir_read(&f.t, parameter, NULL);
	assert_string_equal(set, FIRMWARE_LINKS);
	assert_true(testdir_has(&f.t, "run/nvdriver/firmware/nvidia/535.1.2/gsp.bin"));
	fake_end(&f);
}

static void firmware_path_has_no_newline(void **state _unused_)
{
	static const char path[] = "sys/module/firmware_class/parameters/path";
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *set = NULL, *reset = NULL;
	struct fake f;
	size_t len;

	fake_start(&f);
	assert_ok(firmware_path_set(f.h, "/store/fw", &e), &e);
	set = testdir_read(&f.t, path, &len);
	assert_int_equal(len, 9);
	assert_memory_equal(set, "/store/fw", 9);
	testdir_puts(&f.t, path, "");
	assert_ok(firmware_path_set(f.h, NULL, &e), &e);
	reset = testdir_read(&f.t, path, &len);
	assert_int_equal(len, 1);
	assert_int_equal(reset[0], 0);
	fake_end(&f);
}

TEST_MAIN(cmocka_unit_test(loads_in_order), cmocka_unit_test(gives_parameters),
	  cmocka_unit_test(second_load_changes_nothing), cmocka_unit_test(takes_back_on_failure),
	  cmocka_unit_test(optional_failure_is_told), cmocka_unit_test(refuses_beforehand),
	  cmocka_unit_test(explains_every_answer), cmocka_unit_test(unloads_holders_first),
	  cmocka_unit_test(in_use_names_who), cmocka_unit_test(reads_the_list_again),
	  cmocka_unit_test(installed_modules), cmocka_unit_test(firmware_goes_with_the_load),
	  cmocka_unit_test(firmware_path_has_no_newline))
