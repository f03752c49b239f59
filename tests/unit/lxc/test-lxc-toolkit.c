/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "lxc-toolkit.h"
#include "strbuf.h"
#include "err-lxc.h"

#include <stdio.h>
#include <stdlib.h>

void lxc_exec_done(struct lxc_exec *x); /* of the backend */

/* -- names and tables -- */

static void test_names(void **state)
{
	static const struct {
		const char *cuda, *name, *version;
	} rows[] = {
		{ "12.8", "cuda-toolkit-12-8", NULL },
		{ "12.8.1", "cuda-toolkit-12-8", "12.8.1-1" }, /* D5 */
		{ "12", "cuda-toolkit-12", NULL },
		{ "13.0", "cuda-toolkit-13-0", NULL },
		{ "", NULL, NULL },
		{ "12.", NULL, NULL },
		{ "x", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *name = NULL, *version = NULL;
		int r = toolkit_package(rows[i].cuda, &name, &version);

		assert_int_equal(r < 0, rows[i].name == NULL);
		if (r >= 0)
			assert_string_equal(name, rows[i].name);
		assert_int_equal(version != NULL, rows[i].version != NULL);
		if (version)
			assert_string_equal(version, rows[i].version);
	}
}

static void test_refused_names(void **state)
{
	static const char *const bad[] = { "cuda", "cuda-12-8", "cuda-runtime-12-8", "cuda-drivers",
					   "libcuda1" };
	static const char *const good[] = { "cuda-toolkit-12-8", "cuda-nvcc-12-8", "cuda-libraries-12-8",
					    "libnvidia-container1", "cuda-compiler-12-8" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;

		assert_true(toolkit_package_check(bad[i], &e) < 0);
		assert_slug(&e, "cuda-package-refused");
	}
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_int_equal(toolkit_package_check(good[i], NULL), 0);
}

static void test_driver_needed(void **state)
{
	static const struct {
		const char *cuda, *driver, *full;
		bool fails;
	} rows[] = {
		{ "12.8", "535.261.03", "570.26", false },  { "12.8", "570.26", NULL, false },
		{ "12.8.1", "550.54.14", "570.26", false }, { "12.4", "550.54.14", NULL, false },
		{ "12", "525.60.12", NULL, true },	    { "12.8", "470.1", NULL, true },
		{ "13.0", "575.51", NULL, true },	    { "13.0", "580.65", NULL, false },
		{ "11.8", "450.80.02", NULL, false },	    { "99.1", "1.1", NULL, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		const char *full = "untouched";
		int r = toolkit_driver_check(rows[i].cuda, rows[i].driver, &full, &e);

		assert_int_equal(r < 0, rows[i].fails);
		if (r < 0) {
			assert_slug(&e, "cuda-driver-too-old");
			continue;
		}
		assert_int_equal(full != NULL, rows[i].full != NULL);
		if (full)
			assert_string_equal(full, rows[i].full);
	}
}

/* -- answers -- */

#define APT_PLAN                                                                                             \
	"Reading package lists...\nThe following NEW packages will be installed:\n  cuda-toolkit-12-8\n"     \
	"Inst cuda-nvcc-12-8 (12.8.1-1 NVIDIA CUDA:x [amd64])\nInst cuda-toolkit-12-8 (12.8.1-1 x "          \
	"[amd64])\n"                                                                                         \
	"Conf cuda-nvcc-12-8 (12.8.1-1 x [amd64])\n"
#define DNF_PLAN                                                                                             \
	"Dependencies resolved.\n====\n Package  Arch  Version  Repository  Size\n====\n"                    \
	"Installing:\n cuda-toolkit-12-8  x86_64  12.8.1-1  cuda  3 k\n"                                     \
	"Installing dependencies:\n nvidia-driver  x86_64  3:570.1  cuda  30 M\n\n"                          \
	"Transaction Summary\n====\nInstall  2 Packages\n\nOperation aborted.\n"
#define ZYPPER_PLAN                                                                                          \
	"Resolving package dependencies...\n\nThe following 2 NEW packages are going to be installed:\n"     \
	"  cuda-nvcc-12-8 cuda-toolkit-12-8\n\n2 new packages to install.\n"

static void test_plans(void **state)
{
	static const struct {
		enum osrepo_tool tool;
		const char *out, *first, *second;
	} rows[] = {
		{ OSREPO_APT, APT_PLAN, "cuda-nvcc-12-8", "cuda-toolkit-12-8" },
		{ OSREPO_DNF, DNF_PLAN, "cuda-toolkit-12-8", "nvidia-driver" },
		{ OSREPO_ZYPPER, ZYPPER_PLAN, "cuda-nvcc-12-8", "cuda-toolkit-12-8" },
		{ OSREPO_APT, "E: Unable to locate package\n", NULL, NULL },
		{ OSREPO_DNF, "Nothing to do.\n", NULL, NULL },
		{ OSREPO_ZYPPER, "", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_strv_ char **list = NULL;

		assert_int_equal(toolkit_plan_parse(rows[i].tool, SPAN(rows[i].out), &list), 0);
		assert_int_equal(strv_len(list), rows[i].first ? 2 : 0);
		if (!list)
			continue;
		assert_string_equal(list[0], rows[i].first);
		assert_string_equal(list[1], rows[i].second);
	}
}

static void test_space_and_nvcc(void **state)
{
	_cleanup_free_ char *nvcc = NULL, *none = NULL;
	uint64_t fetch, disk;

	(void)state;
	toolkit_space_parse(SPAN("Need to get 3,150 MB of archives.\n"
				 "After this operation, 7.5 GB of additional disk space will be used.\n"),
			    &fetch, &disk);
	assert_int_equal(fetch, 3150000000u);
	assert_int_equal(disk, 7500000000u);
	toolkit_space_parse(SPAN("Need to get 0 B/12.5 kB of archives.\n"
				 "After this operation, 5 MB disk space will be freed.\n"),
			    &fetch, &disk);
	assert_int_equal(fetch + disk, 0);
	assert_int_equal(toolkit_nvcc_parse(SPAN("nvcc: NVIDIA (R) Cuda compiler driver\n"
						 "Cuda compilation tools, release 12.8, V12.8.93\n"),
					    &nvcc),
			 0);
	assert_string_equal(nvcc, "12.8");
	assert_int_equal(toolkit_nvcc_parse(SPAN("release 12.8\n"), &none), -ENOENT);
	assert_true(toolkit_nvcc_agrees("12.8", "12.8"));
	assert_true(toolkit_nvcc_agrees("12.8.1", "12.8"));
	assert_true(toolkit_nvcc_agrees("12", "12.8"));
	assert_false(toolkit_nvcc_agrees("12.8", "12.9"));
	assert_false(toolkit_nvcc_agrees("1", "12.8"));
	assert_false(toolkit_nvcc_agrees("12.80", "12.8"));
}

/* -- a container of recorded answers -- */

struct answer {
	const char *match; /* part of the command line */
	int status;
	const char *out;
	int error; /* instead of an answer */
	unsigned times; /* this answer holds for that many calls; 0 = for ever */
};

struct recorded {
	const struct answer *answers;
	size_t n;
	unsigned used[16];
	struct strbuf asked;
};

static bool answer_fits(struct recorded *rec, size_t i, const char *line)
{
	const struct answer *a = &rec->answers[i];

	if (!strstr(line, a->match) || (a->times && rec->used[i] >= a->times))
		return false;
	rec->used[i]++;
	return true;
}

static int play(void *arg, struct lxc_exec *x, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf line = STRBUF_INIT(STRBUF_TEXT_MAX);
	struct recorded *rec = arg;

	for (char *const *p = x->argv; *p; p++)
		strbuf_printf(&line, "%s%s", p == x->argv ? "" : " ", *p);
	strbuf_printf(&rec->asked, "%s\n", strbuf_str(&line));
	for (size_t i = 0; i < rec->n; i++) {
		const struct answer *a = &rec->answers[i];

		if (!answer_fits(rec, i, strbuf_str(&line)))
			continue;
		if (a->error)
			return err_set(e, a->error, "recorded");
		x->status = a->status;
		x->out = a->out ? strdup(a->out) : NULL;
		x->out_len = a->out ? strlen(a->out) : 0;
		return 0;
	}
	fail_msg("nobody expected: %s", strbuf_str(&line));
	return 0;
}

#define NVCC_OK                                                                                              \
	{                                                                                                    \
		"/usr/local/cuda/bin/nvcc", 0, "tools, release 12.8, V12.8.93\n", 0, 0                       \
	}
/* The query for the CUDA packages comes first. */
#define HAS_CC                                                                                               \
	{                                                                                                    \
		"dpkg-query -W -f ${Package} ${db:Status-Status}\n build-essential", 0,                      \
		    "build-essential installed\n", 0, 0                                                      \
	}
#define LACKS                                                                                                \
	{                                                                                                    \
		"dpkg-query -W -f ${Package} ${db:Status-Status}\n libnvidia", 1,                            \
		    "dpkg-query: no packages found\n", 0, 0                                                  \
	}
#define UPDATED                                                                                              \
	{                                                                                                    \
		"apt-get update", 0, "", 0, 0                                                                \
	}
#define SIMULATED                                                                                            \
	{                                                                                                    \
		"apt-get install -s", 0, APT_PLAN, 0, 0                                                      \
	}
#define ROOM                                                                                                 \
	{                                                                                                    \
		"--assume-no", 1, "Need to get 1 B of archives.\n", 0, 0                                     \
	}
#define INSTALLED                                                                                            \
	{                                                                                                    \
		"apt-get install -y", 0, "", 0, 0                                                            \
	}

struct edge {
	struct answer answers[12];
	const char *slug; /* NULL = works */
	const char *asked, *not_asked;
	const char *driver;
	bool nvcc_warn;
};

static const struct edge edges[] = {
	/* all missing */
	{ .answers = { HAS_CC, LACKS, UPDATED, SIMULATED, ROOM, INSTALLED, NVCC_OK },
	  .asked =
	      "apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=120 libnvidia-container1 "
	      "cuda-toolkit-12-8=12.8.1-1\n" },
	/* all there: no network */
	{ .answers = { HAS_CC,
		       { "dpkg-query", 0, "libnvidia-container1 installed\ncuda-toolkit-12-8 installed\n", 0,
			 0 },
		       NVCC_OK },
	  .not_asked = "apt-get" },
	/* removed but its configuration is kept: not installed */
	{ .answers = { HAS_CC,
		       { "dpkg-query", 0, "libnvidia-container1 installed\ncuda-toolkit-12-8 config-files\n",
			 0, 0 },
		       UPDATED,
		       SIMULATED,
		       ROOM,
		       INSTALLED,
		       NVCC_OK },
	  .asked = "apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=120 "
		   "cuda-toolkit-12-8=12.8.1-1\n" },
	/* the compiler is missing */
	{ .answers = { LACKS,
		       { "build-essential", 1, "", 0, 1 },
		       UPDATED,
		       SIMULATED,
		       ROOM,
		       INSTALLED,
		       NVCC_OK },
	  .asked = "Lock::Timeout=120 build-essential\n" },
	/* lists fail twice, then work */
	{ .answers = { HAS_CC,
		       LACKS,
		       { "apt-get update", 100, "E: 503\n", 0, 2 },
		       UPDATED,
		       SIMULATED,
		       ROOM,
		       INSTALLED,
		       NVCC_OK },
	  .asked = "SourceParts=/dev/null" },
	/* lists fail for good: the repository, not the installation */
	{ .answers = { HAS_CC, LACKS, { "apt-get update", 100, "E: NO_PUBKEY\n", 0, 0 } },
	  .slug = "cuda-repository-unusable",
	  .not_asked = "install" },
	/* a second driver comes along */
	{ .answers = { HAS_CC,
		       LACKS,
		       UPDATED,
		       { "install -s", 0, APT_PLAN "Inst cuda-drivers (570 x)\nInst libcuda1 (570 x)\n", 0,
			 0 } },
	  .slug = "cuda-toolkit-pulls-driver",
	  .not_asked = "install -y" },
	/* the pin keeps it out, so the toolkit cannot be had */
	{ .answers = { HAS_CC,
		       LACKS,
		       UPDATED,
		       { "install -s", 100,
			 "The following packages have unmet dependencies:\n cuda-toolkit-12-8 : Depends: "
			 "cuda-drivers (>= 570) but it is not installable\n",
			 0, 0 } },
	  .slug = "cuda-toolkit-pulls-driver",
	  .not_asked = "install -y" },
	/* no such version */
	{ .answers = { HAS_CC,
		       LACKS,
		       UPDATED,
		       { "install -s", 100, "E: Version '12.8.1-1' for 'cuda-toolkit-12-8' was not found\n",
			 0, 0 } },
	  .slug = "cuda-toolkit-failed",
	  .not_asked = "install -y" },
	/* no room */
	{ .answers = { HAS_CC,
		       LACKS,
		       UPDATED,
		       SIMULATED,
		       { "--assume-no", 1,
			 "After this operation, 900000000 GB of additional disk space will be used.\n", 0,
			 0 } },
	  .slug = "cuda-toolkit-no-space",
	  .not_asked = "install -y" },
	/* the installation fails, hangs */
	{ .answers = { HAS_CC,
		       LACKS,
		       UPDATED,
		       SIMULATED,
		       ROOM,
		       { "install -y", 100, "dpkg: error\n", 0, 0 } },
	  .slug = "cuda-toolkit-failed" },
	{ .answers = { HAS_CC, LACKS, UPDATED, SIMULATED, ROOM, { "install -y", 0, NULL, ERR_TIMEOUT, 0 } },
	  .slug = "timed-out" },
	/* the container goes away */
	{ .answers = { { "dpkg-query", 0, NULL, ERR_LXC_STOPPED, 0 } }, .slug = "container-not-running" },
	/* no package tool */
	{ .answers = { { "dpkg-query", 127, "not found\n", 0, 0 } }, .slug = "cuda-toolkit-failed" },
	/* nvcc */
	{ .answers = { HAS_CC, LACKS, UPDATED, SIMULATED, ROOM, INSTALLED, { "nvcc", 127, "", 0, 0 } },
	  .slug = "cuda-nvcc-wrong" },
	{ .answers = { HAS_CC,
		       LACKS,
		       UPDATED,
		       SIMULATED,
		       ROOM,
		       INSTALLED,
		       { "nvcc", 0, "tools, release 11.8, V11.8.89\n", 0, 0 } },
	  .slug = "cuda-nvcc-wrong" },
	{ .answers = { HAS_CC, LACKS, UPDATED, SIMULATED, ROOM, INSTALLED, { "nvcc", 127, "", 0, 0 } },
	  .nvcc_warn = true },
	{ .answers = { HAS_CC,
		       LACKS,
		       UPDATED,
		       SIMULATED,
		       ROOM,
		       INSTALLED,
		       { "/usr/local/cuda/bin", 127, "", 0, 0 },
		       { "nvcc --version", 0, "tools, release 12.8, V12.8.93\n", 0, 0 } } },
	/* a driver too old for it: nothing is asked at all */
	{ .answers = { { "", 0, "", 0, 0 } },
	  .driver = "470.1",
	  .slug = "cuda-driver-too-old",
	  .not_asked = "d" },
};

static void check_edge(const struct edge *edge, int root_fd)
{
	struct recorded rec = { .answers = edge->answers, .asked = STRBUF_INIT(STRBUF_TEXT_MAX) };
	const struct toolkit_inside in = { play, &rec, root_fd };
	const struct toolkit_want w = { .tool = OSREPO_APT,
					.list_path = "etc/apt/sources.list.d/cuda-debian12-x86_64.list",
					.cuda = "12.8.1",
					.driver = edge->driver ? edge->driver : "570.124.06",
					.nvcc_warn = edge->nvcc_warn,
					.pause_ms = 1 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	int r;

	while (rec.n < ARRAY_LEN(edge->answers) && edge->answers[rec.n].match)
		rec.n++;
	r = toolkit_install(&in, &w, &e);
	if (edge->slug) {
		assert_true(r < 0);
		assert_slug(&e, edge->slug);
	} else {
		assert_ok(r, &e);
	}
	if (edge->asked && !strstr(strbuf_str(&rec.asked), edge->asked))
		fail_msg("not asked: %s\n%s", edge->asked, strbuf_str(&rec.asked));
	if (edge->not_asked && strstr(strbuf_str(&rec.asked), edge->not_asked))
		fail_msg("asked: %s\n%s", edge->not_asked, strbuf_str(&rec.asked));
	strbuf_done(&rec.asked);
}

static void test_edges(void **state)
{
	_cleanup_(testdir_done) struct testdir t;

	(void)state;
	testdir_make(&t);
	testdir_puts(&t, "usr/local/cuda/bin/nvcc", "");
	for (size_t i = 0; i < ARRAY_LEN(edges); i++)
		check_edge(&edges[i], t.fd);
}

static void test_done(void **state)
{
	static const struct answer healthy[] = {
		NVCC_OK,
		{ "dpkg-query", 0,
		  "build-essential installed\nlibnvidia-container1 installed\ncuda-toolkit-12-8 installed\n",
		  0, 0 },
	};
	static const struct answer old[] = { { "nvcc", 0, "release 11.8,\n", 0, 0 } };
	struct recorded rec = { .answers = healthy, .n = 2, .asked = STRBUF_INIT(STRBUF_TEXT_MAX) };
	const struct toolkit_want w = { .tool = OSREPO_APT, .list_path = "etc/x.list", .cuda = "12.8" };
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct toolkit_inside in = { play, &rec, -EBADF };

	(void)state;
	testdir_make(&t);
	in.root_fd = t.fd;
	/* No nvcc in the tree: seen without asking. */
	assert_int_equal(toolkit_is_done(&in, &w, true, &e), 0);
	assert_int_equal(rec.asked.len, 0);
	testdir_puts(&t, "usr/local/cuda/bin/nvcc", "");
	assert_int_equal(toolkit_is_done(&in, &w, false, &e), 1); /* stopped: the file has to do */
	assert_int_equal(rec.asked.len, 0);
	assert_int_equal(toolkit_is_done(&in, &w, true, &e), 1);
	rec.answers = old;
	rec.n = 1;
	assert_int_equal(toolkit_is_done(&in, &w, true, &e), 0);
	strbuf_done(&rec.asked);
}

static void test_no_cgroups(void **state)
{
	static const struct {
		const char *text;
		bool want;
	} rows[] = {
		{ "[nvidia-container-cli]\nenvironment = []\nno-cgroups = true\n", true },
		{ "[nvidia-container-cli]\n  no-cgroups=true # why\n\n[other]\nx = 1\n", true },
		{ "[nvidia-container-cli]\nno-cgroups = false\n", false },
		{ "[nvidia-container-cli]\n#no-cgroups = true\n", false },
		{ "[nvidia-container-runtime]\nno-cgroups = true\n[nvidia-container-cli]\n", false },
		{ "no-cgroups = true\n", false },
		{ "", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(toolkit_has_no_cgroups(SPAN(rows[i].text)), rows[i].want);
}

/* Engines inside a container without the host's root: told once, by the tools' own program, and told again when somebody
 * took it back. */
static void test_inner_engines(void **state)
{
	static const struct answer answers[] = {
		{ "dpkg-query", 0, "nvidia-container-toolkit installed\n", 0, 0 },
		{ "nvidia-ctk config --set nvidia-container-cli.no-cgroups --in-place", 0, "", 0, 0 },
	};
	struct recorded rec = { .answers = answers, .n = 2, .asked = STRBUF_INIT(STRBUF_TEXT_MAX) };
	struct toolkit_want w = {
		.tool = OSREPO_APT, .list_path = "etc/x.list", .container_toolkit = true, .no_cgroups = true
	};
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct toolkit_inside in = { play, &rec, -EBADF };

	(void)state;
	testdir_make(&t);
	in.root_fd = t.fd;
	assert_int_equal(toolkit_is_done(&in, &w, true, &e), 0);
	assert_ok(toolkit_install(&in, &w, &e), &e);
	assert_int_equal(rec.used[1], 1);
	testdir_puts(&t, "etc/nvidia-container-runtime/config.toml",
		     "[nvidia-container-cli]\nno-cgroups = true\n");
	assert_int_equal(toolkit_is_done(&in, &w, true, &e), 1);
	assert_ok(toolkit_install(&in, &w, &e), &e);
	assert_int_equal(rec.used[1], 1);
	testdir_puts(&t, "etc/nvidia-container-runtime/config.toml",
		     "[nvidia-container-cli]\nno-cgroups = false\n");
	assert_int_equal(toolkit_is_done(&in, &w, true, &e), 0);
	w.no_cgroups = false; /* a container with the host's root changes filters itself */
	assert_int_equal(toolkit_is_done(&in, &w, true, &e), 1);
	strbuf_done(&rec.asked);
}

TEST_MAIN(cmocka_unit_test(test_no_cgroups), cmocka_unit_test(test_inner_engines),
	  cmocka_unit_test(test_names), cmocka_unit_test(test_refused_names),
	  cmocka_unit_test(test_driver_needed), cmocka_unit_test(test_plans),
	  cmocka_unit_test(test_space_and_nvcc), cmocka_unit_test(test_edges), cmocka_unit_test(test_done))
