/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "container-dtk.h"
#include "interrupt.h"
#include "strbuf.h"
#include "err-container.h"

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#define RELEASE "5.14.0-284.30.1.el9_2.x86_64"
#define SHARED	"root/" DTK_SHARED "/"
#define MODULES "root/lib/modules/" RELEASE "/"

static void writes_and_reads_the_environment(void **state _unused_)
{
	static const char *const in[] = {
		"A=1",	    "B=it's",	"C=", "D=two\nlines", "E=$(x)`\"\\", "BASH_FUNC_x%%=() {", "1X=2",
		"noequals", "_f=\xff=", NULL
	};
	static const char *const out[] = { "A=1", "B=it's", "C=", "D=two\nlines", "E=$(x)`\"\\", "_f=\xff=" };
	_cleanup_free_ char *text = NULL, *again = NULL;
	_cleanup_strv_ char **parsed = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;

	assert_int_equal(dtk_env_write((char *const *)in, &text), 0);
	assert_string_equal(text, "A='1'\nB='it'\\''s'\nC=''\nD='two\nlines'\nE='$(x)`\"\\'\n_f='\xff='\n");
	assert_ok(dtk_env_parse(SPAN(text), &parsed, &e), &e);
	assert_int_equal(strv_len(parsed), ARRAY_LEN(out));
	for (size_t i = 0; i < ARRAY_LEN(out); i++)
		assert_string_equal(parsed[i], out[i]);
	assert_int_equal(dtk_env_write(parsed, &again), 0);
	assert_string_equal(again, text);
}

static void a_shell_reads_the_same(void **state _unused_)
{
	static const char *const in[] = { "V=a'b\"c$(id)\n`d`\\ e", NULL };
	_cleanup_free_ char *text = NULL;
	char got[64] = "";
	FILE *p;

	assert_int_equal(dtk_env_write((char *const *)in, &text), 0);
	setenv("NVD_TEXT", text, 1);
	p = popen("eval \"$NVD_TEXT\"; printf %s \"$V\"", "r");
	assert_non_null(p);
	assert_true(fread(got, 1, sizeof(got) - 1, p) > 0);
	assert_int_equal(pclose(p), 0);
	assert_string_equal(got, in[0] + 2);
}

static void refuses_other_files(void **state _unused_)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "A=1\n", "line 1" },
		{ "A='1'\nB=\"2\"\n", "line 2" },
		{ "A='1", "line 1" },
		{ "A='1'", "line 1" },
		{ "A='1' \n", "line 1" },
		{ "export A='1'\n", "line 1" },
		{ "A='1'\n\nB='2'\n", "line 2" },
		{ "A='1'\n# c\n", "line 2" },
		{ "='1'\n", "line 1" },
		{ "A='1''2'\n", "line 1" },
		{ "A='x\ny'\nB=\n", "line 3" },
		{ "A='1'; rm\n", "line 1" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_strv_ char **parsed = NULL;
		_cleanup_(err_done) struct err e = ERR_INIT;

		assert_int_equal(dtk_env_parse(SPAN(cases[i].text), &parsed, &e), -ERR_DTK_ENV);
		assert_non_null(strstr(e.reason, cases[i].why));
	}
}

static const char dep[] = "kernel/drivers/i2c/i2c-core.ko.xz:\n"
			  "kernel/drivers/char/ipmi/ipmi_msghandler.ko.xz:\n"
			  "kernel/drivers/char/ipmi/ipmi_devintf.ko.xz: "
			  "kernel/drivers/char/ipmi/ipmi_msghandler.ko.xz\n"
			  "kernel/drivers/acpi/video.ko.xz: kernel/drivers/platform/x86/wmi.ko.xz\n"
			  "kernel/drivers/video/nvidia.ko:\n"
			  "kernel/drivers/video/nvidia-uvm.ko: kernel/drivers/video/nvidia.ko\n"
			  "kernel/drivers/video/nvidia-modeset.ko: kernel/drivers/video/nvidia.ko "
			  "kernel/drivers/acpi/video.ko.xz kernel/drivers/platform/x86/wmi.ko.xz\n";

static void lists_files_in_order(void **state _unused_)
{
	static const struct {
		const char *names[8], *builtin, *want; /* want NULL = a module is missing */
	} cases[] = {
		{ { "ipmi_devintf?" },
		  "",
		  "kernel/drivers/char/ipmi/ipmi_msghandler.ko.xz "
		  "kernel/drivers/char/ipmi/ipmi_devintf.ko.xz " },
		{ { "i2c_core?", "nvidia" },
		  "kernel/drivers/i2c/i2c-core.ko\n",
		  "kernel/drivers/video/nvidia.ko " },
		{ { "nvidia", "nvidia-modeset", "nvidia_uvm" },
		  "",
		  "kernel/drivers/video/nvidia.ko kernel/drivers/platform/x86/wmi.ko.xz "
		  "kernel/drivers/acpi/video.ko.xz kernel/drivers/video/nvidia-modeset.ko "
		  "kernel/drivers/video/nvidia-uvm.ko " },
		{ { "nvidia-peermem?", "nvidia" }, "", "kernel/drivers/video/nvidia.ko " },
		{ { "nvidia-peermem" }, "", NULL },
		{ { "nvidia-peermem" }, "kernel/nvidia_peermem.ko\n", "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_strv_ char **files = NULL;
		_cleanup_(err_done) struct err e = ERR_INIT;
		_cleanup_(strbuf_done) struct strbuf got = STRBUF_INIT(4096);
		int r = dtk_module_files(SPAN(dep), SPAN(cases[i].builtin), cases[i].names, &files, &e);

		if (!cases[i].want) {
			assert_int_equal(r, -ERR_MODULE_MISSING);
			continue;
		}
		assert_ok(r, &e);
		for (char **f = files; f && *f; f++)
			strbuf_printf(&got, "%s ", *f);
		assert_string_equal(strbuf_str(&got), cases[i].want);
	}
}

/* -- both sides, each against a play of the other -- */

struct pod {
	struct testdir t;
	struct host *h;
	struct container_dtk d;
	struct container_dtk_ops ops;
	void (*other)(struct pod *p); /* what the other container does during a wait */
	unsigned waits;
	bool fast;
	int build_status;
	char ran[256];
	char *self; /* owned */
};

static int pod_run(void *arg, const char *command, char *const *environment)
{
	struct pod *p = arg;

	strcat(p->ran, command);
	strcat(p->ran, " ");
	assert_true(strv_contains(environment, "DRIVER_VERSION=535.183.06"));
	if (strcmp(command, "build") != 0)
		return 3;
	if (p->build_status)
		return p->build_status;
	assert_true(strv_contains(environment, "QUOTED=it's"));
	testdir_puts(&p->t, MODULES "modules.dep", dep);
	testdir_puts(&p->t, MODULES "modules.order", "x");
	testdir_puts(&p->t, MODULES "kernel/drivers/video/nvidia.ko", "N");
	testdir_puts(&p->t, MODULES "kernel/drivers/video/nvidia-uvm.ko", "U");
	testdir_puts(&p->t, MODULES "kernel/drivers/video/nvidia-modeset.ko", "M");
	testdir_puts(&p->t, MODULES "kernel/unrelated.ko", "no");
	testdir_puts(&p->t, MODULES "kernel/drivers/acpi/video.ko.xz", "v");
	testdir_puts(&p->t, MODULES "kernel/drivers/platform/x86/wmi.ko.xz", "w");
	testdir_puts(&p->t, MODULES "kernel/drivers/i2c/i2c-core.ko.xz", "i");
	testdir_puts(&p->t, MODULES "kernel/drivers/char/ipmi/ipmi_msghandler.ko.xz", "m");
	testdir_puts(&p->t, MODULES "kernel/drivers/char/ipmi/ipmi_devintf.ko.xz", "d");
	return 0;
}

static bool pod_fast(void *arg, const struct host *h, char *const *environment)
{
	struct pod *p = arg;

	assert_ptr_equal(h, p->h);
	assert_non_null(environment);
	return p->fast;
}

static bool pod_sleep(void *arg, unsigned ms)
{
	struct pod *p = arg;

	assert_int_equal(ms, 15000);
	p->waits++;
	if (p->other)
		p->other(p);
	return interrupt_pending();
}

static void pod_start(struct pod *p, const char *const *environment)
{
	static const char *const standard[] = { "DRIVER_VERSION=535.183.06", "TARGETARCH=amd64",
						"QUOTED=it's", NULL };
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *root = NULL;

	*p = (struct pod){ 0 };
	interrupt_set(0);
	testdir_make(&p->t);
	root = str_printf("%s/root", p->t.path);
	p->self = str_printf("%s/program", p->t.path);
	testdir_write(&p->t, "program", "ELF", 3, 0755);
	testdir_puts(&p->t, "root/proc/sys/kernel/osrelease", RELEASE "\n");
	testdir_puts(&p->t, "root/proc/meminfo", "MemAvailable: 1000000 kB\n");
	testdir_puts(&p->t, "root/" DTK_SHARED "/gds-nvidia-fs/foreign", "x");
	assert_ok(host_open(root, &p->h, &e), &e);
	p->ops = (struct container_dtk_ops){ pod_run, pod_fast, pod_sleep, p };
	p->d = (struct container_dtk){ .h = p->h,
				       .environment = (char *const *)(environment ? environment : standard),
				       .self = p->self,
				       .ops = &p->ops };
}

static void pod_end(struct pod *p)
{
	interrupt_set(0);
	host_freep(&p->h);
	testdir_done(&p->t);
	free(p->self);
}

static void answer(struct pod *p, const char *marker)
{
	_cleanup_free_ char *generation = testdir_read(&p->t, SHARED DTK_PREPARED, NULL);
	char path[256];

	assert_non_null(generation);
	snprintf(path, sizeof(path), SHARED "%s", marker);
	testdir_puts(&p->t, path, generation);
}

static void good_builder(struct pod *p)
{
	if (p->waits == 1) {
		_cleanup_free_ char *env = testdir_read(&p->t, SHARED DTK_ENV, NULL);
		struct stat st;

		assert_string_equal(env,
				    "DRIVER_VERSION='535.183.06'\nTARGETARCH='amd64'\nQUOTED='it'\\''s'\n");
		assert_int_equal(fstatat(p->t.fd, SHARED DTK_ENV, &st, 0), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
		assert_true(testdir_has(&p->t, SHARED "drivers/NVIDIA-Linux-x86_64-535.183.06.run"));
		assert_true(testdir_has(&p->t, SHARED "install.sh"));
		assert_int_equal(fstatat(p->t.fd, SHARED "ocp_dtk_entrypoint", &st, 0), 0);
		assert_int_equal(st.st_mode & 07777, 0755);
		assert_false(testdir_has(&p->t, SHARED "modules/old"));
		assert_true(testdir_has(&p->t, SHARED "gds-nvidia-fs/foreign"));
		answer(p, DTK_STARTED);
	}
	if (p->waits == 2)
		testdir_puts(&p->t, SHARED DTK_BUILT, "an earlier generation\n");
	if (p->waits == 3) {
		assert_false(testdir_has(&p->t, SHARED DTK_BUILT)); /* so that builder ends */
		testdir_puts(&p->t, SHARED "modules/kernel/drivers/video/nvidia.ko", "N");
		testdir_puts(&p->t, SHARED "modules/modules.dep", "d");
		answer(p, DTK_BUILT);
	}
}

static void broken_builder(struct pod *p)
{
	answer(p, DTK_BROKEN);
}

static void signal_comes(struct pod *p)
{
	if (p->waits == 2)
		interrupt_set(SIGTERM);
}

static void drivers_side(void **state _unused_)
{
	static const char *const missing[] = { "DRIVER_VERSION=535.183.06", "RHCOS_IMAGE_MISSING=true",
					       NULL };
	static const struct {
		const char *const *environment;
		bool fast;
		void (*other)(struct pod *p);
		int want, status;
		unsigned waits;
		const char *ran;
	} cases[] = {
		{ NULL, false, good_builder, 0, 3, 3, "load " },
		{ NULL, true, NULL, 0, 3, 0, "init " },
		{ missing, false, NULL, 0, 3, 0, "init " },
		{ NULL, false, broken_builder, 0, 3, 1, "init " },
		{ NULL, false, signal_comes, 0, 0, 2, "" },
		{ NULL, false, NULL, -ERR_DTK_TIMEOUT, -1, 40, "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		struct pod p;
		int status = -1;

		pod_start(&p, cases[i].environment);
		testdir_puts(&p.t, "root/drivers/NVIDIA-Linux-x86_64-535.183.06.run", "run");
		testdir_puts(&p.t, "root/tmp/install.sh", "helper");
		testdir_puts(&p.t, SHARED "modules/old", "");
		testdir_puts(&p.t, SHARED DTK_BUILT, "old\n");
		p.other = cases[i].other;
		p.fast = cases[i].fast;
		assert_int_equal(container_dtk_driver(&p.d, &status, &e), cases[i].want);
		assert_int_equal(status, cases[i].status);
		assert_int_equal(p.waits, cases[i].waits);
		assert_string_equal(p.ran, cases[i].ran);
		assert_int_equal(testdir_has(&p.t, MODULES "kernel/drivers/video/nvidia.ko"),
				 strcmp(cases[i].ran, "load ") == 0);
		pod_end(&p);
	}
}

static void driver_container_takes_it_away(struct pod *p)
{
	assert_true(testdir_has(&p->t, SHARED DTK_BUILT) || testdir_has(&p->t, SHARED DTK_BROKEN));
	if (p->waits == 2) {
		(void)unlinkat(p->t.fd, SHARED DTK_BUILT, 0);
		(void)unlinkat(p->t.fd, SHARED DTK_BROKEN, 0);
	}
}

static void driver_container_prepares(struct pod *p)
{
	if (p->waits == 2) {
		testdir_puts(&p->t, SHARED DTK_ENV, "DRIVER_VERSION='535.183.06'\nQUOTED='it'\\''s'\n");
		testdir_puts(&p->t, SHARED DTK_PREPARED, "g2\n");
	}
	if (p->waits == 4)
		assert_int_equal(unlinkat(p->t.fd, SHARED DTK_BUILT, 0), 0);
}

static void builders_side(void **state _unused_)
{
	static const char *const missing[] = { "RHCOS_IMAGE_MISSING=true", NULL };
	static const char good[] = "DRIVER_VERSION='535.183.06'\nQUOTED='it'\\''s'\n";
	static const struct {
		const char *const *environment;
		const char *env_file; /* NULL = not prepared yet */
		bool fast, kernel;
		int build_status;
		void (*other)(struct pod *p);
		int want, status;
		unsigned waits;
		const char *ran;
	} cases[] = {
		{ NULL, good, false, true, 0, driver_container_takes_it_away, 0, 0, 2, "build " },
		{ NULL, NULL, false, true, 0, driver_container_prepares, 0, 0, 4, "build " },
		{ NULL, NULL, false, true, 0, NULL, -ERR_DTK_TIMEOUT, 0, 40, "" },
		{ NULL, good, true, true, 0, driver_container_takes_it_away, 0, 0, 2, "" },
		{ NULL, good, false, false, 0, driver_container_takes_it_away, 0, 0, 2, "" },
		{ NULL, good, false, true, 1, NULL, 0, 1, 0, "build " },
		{ NULL, "A=`id`\n", false, true, 0, NULL, -ERR_DTK_ENV, 0, 0, "" },
		{ missing, good, false, true, 0, signal_comes, 0, 0, 2, "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		struct pod p;
		int status = -1;

		pod_start(&p, cases[i].environment);
		if (cases[i].kernel)
			testdir_puts(&p.t, MODULES "vmlinuz", "");
		if (cases[i].env_file) {
			testdir_puts(&p.t, SHARED DTK_ENV, cases[i].env_file);
			testdir_puts(&p.t, SHARED DTK_PREPARED, "g1\n");
		}
		p.fast = cases[i].fast;
		p.build_status = cases[i].build_status;
		p.other = cases[i].other;
		assert_int_equal(container_dtk_builder(&p.d, &status, &e), cases[i].want);
		assert_int_equal(status, cases[i].status);
		assert_int_equal(p.waits, cases[i].waits);
		assert_string_equal(p.ran, cases[i].ran);
		if (*cases[i].ran && !cases[i].build_status) {
			_cleanup_free_ char *n =
			    testdir_read(&p.t, SHARED "modules/kernel/drivers/video/nvidia.ko", NULL);
			char link[64] = "";

			assert_string_equal(n, "N");
			assert_true(testdir_has(&p.t, SHARED "modules/modules.order"));
			assert_false(testdir_has(&p.t, SHARED "modules/kernel/unrelated.ko"));
			assert_true(readlinkat(p.t.fd, "root/drivers", link, sizeof(link) - 1) > 0);
			assert_string_equal(link, "/" DTK_SHARED "/drivers");
		}
		pod_end(&p);
	}
}

TEST_MAIN(cmocka_unit_test(writes_and_reads_the_environment), cmocka_unit_test(a_shell_reads_the_same),
	  cmocka_unit_test(refuses_other_files), cmocka_unit_test(lists_files_in_order),
	  cmocka_unit_test(drivers_side), cmocka_unit_test(builders_side))
