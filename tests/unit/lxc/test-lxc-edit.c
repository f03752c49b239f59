/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "lxc-edit.h"

#define SNAPSHOT                                                                                             \
	"\n[vor-upgrade]\narch: amd64\nlxc.cgroup2.devices.allow: c 195:0 rw\nparent: x\nsnaptime: "         \
	"1700000000\n"
#define PENDING "[pve:pending]\nmemory: 4096\n"

static const char *const mount0 =
    "lxc.mount.entry = /dev/nvidia0 dev/nvidia0 none bind,optional,create=file 0 0";
static const char *const allow0 = "lxc.cgroup2.devices.allow = c 195:0 rw";

static char *pve(const char *text, const char *add, const char *remove)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(1 << 20);
	char *add_list[] = { (char *)add, NULL }, *remove_list[] = { (char *)remove, NULL };
	char *ret = NULL;

	assert_int_equal(lxc_pve_edit(SPAN(text), add_list, remove_list, &out), 0);
	assert_true(strbuf_puts(&out, "") >= 0);
	assert_int_equal(strbuf_steal(&out, &ret), 0);
	return ret;
}

static void test_pve_add(void **state)
{
	static const struct {
		const char *old, *add, *remove, *new;
	} rows[] = {
		{ "arch: amd64\n", allow0, NULL, "arch: amd64\nlxc.cgroup2.devices.allow: c 195:0 rw\n" },
		{ "arch: amd64", allow0, NULL, "arch: amd64\nlxc.cgroup2.devices.allow: c 195:0 rw\n" },
		{ "", allow0, NULL, "lxc.cgroup2.devices.allow: c 195:0 rw\n" },
		/* the same in the other spelling, and with more blanks, is there already */
		{ "lxc.cgroup2.devices.allow = c  195:0   rw\n", allow0, NULL,
		  "lxc.cgroup2.devices.allow = c  195:0   rw\n" },
		/* a line in a snapshot has no effect: it does not count, and the section stays byte for byte */
		{ "arch: amd64\n" SNAPSHOT, allow0, NULL,
		  "arch: amd64\nlxc.cgroup2.devices.allow: c 195:0 rw\n" SNAPSHOT },
		{ "arch: amd64\n\n" PENDING SNAPSHOT, allow0, NULL,
		  "arch: amd64\nlxc.cgroup2.devices.allow: c 195:0 rw\n\n" PENDING SNAPSHOT },
		/* removal takes only equal lines of the current section */
		{ "#desc\nlxc.cgroup2.devices.allow: c 195:0 rw\nlxc.cgroup2.devices.allow: c 195:1 "
		  "rw\n" SNAPSHOT,
		  NULL, allow0, "#desc\nlxc.cgroup2.devices.allow: c 195:1 rw\n" SNAPSHOT },
		{ "#lxc.cgroup2.devices.allow: c 195:0 rw\n", NULL, allow0,
		  "#lxc.cgroup2.devices.allow: c 195:0 rw\n" },
		{ "arch: amd64\r\nhostname: x\r\n", allow0, NULL,
		  "arch: amd64\r\nhostname: x\r\nlxc.cgroup2.devices.allow: c 195:0 rw\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *got = pve(rows[i].old, rows[i].add, rows[i].remove);

		assert_string_equal(got, rows[i].new);
	}
}

static void test_pve_twice_and_back(void **state)
{
	const char *old = "arch: amd64\nhostname: gpu\n\n" PENDING SNAPSHOT;
	_cleanup_free_ char *once = pve(old, mount0, NULL), *twice = pve(once, mount0, NULL),
			    *back = pve(twice, NULL, mount0);

	(void)state;
	assert_string_equal(once, twice);
	assert_string_equal(back, old);
}

static void test_pve_values(void **state)
{
	const char *text =
	    "hostname: gpu1\nlock: backup\ndev0: /dev/nvidiactl,mode=0666\ndev2: /dev/nvidia0,mode=0666\n"
	    "lxc.mount.entry: a b none bind 0 0\n[s]\nunprivileged: 1\ndev1: /dev/x\n";
	_cleanup_strv_ char **lines = NULL;
	struct span v;
	unsigned n;
	bool present;

	(void)state;
	assert_true(lxc_pve_value(SPAN(text), "lock", &v) && span_eq(v, "backup"));
	assert_false(lxc_pve_value(SPAN(text), "unprivileged", &v));
	assert_int_equal(lxc_pve_lines(SPAN(text), &lines), 0);
	assert_int_equal(strv_len(lines), 3);
	assert_string_equal(lines[0], "dev = /dev/nvidiactl,mode=0666");
	assert_string_equal(lines[2], "lxc.mount.entry = a b none bind 0 0");
	assert_int_equal(lxc_pve_dev_number(SPAN(text), "/dev/nvidia0", &n, &present), 0);
	assert_true(present && n == 2);
	assert_int_equal(lxc_pve_dev_number(SPAN(text), "/dev/nvidia-uvm", &n, &present), 0);
	assert_true(!present && n == 1);
}

static void test_pve_refuses_dev(void **state)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(1 << 20);
	char *add[] = { (char *)"dev = /dev/nvidia0", NULL };

	(void)state;
	assert_int_equal(lxc_pve_edit(SPAN("a: b\n"), add, NULL, &out), -EINVAL);
}

static char *include(const char *text, bool present)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(1 << 20);
	char *ret = NULL;

	assert_true(lxc_conf_include(SPAN(text), "/s/devices.conf", present, &out) >= 0);
	assert_true(strbuf_puts(&out, "") >= 0);
	assert_int_equal(strbuf_steal(&out, &ret), 0);
	return ret;
}

static void test_include(void **state)
{
	const char *old = "lxc.include = /usr/share/lxc/config/common.conf\nlxc.uts.name = a";
	_cleanup_free_ char *once = include(old, true), *twice = include(once, true),
			    *back = include(twice, false);

	(void)state;
	assert_string_equal(once, "lxc.include = /usr/share/lxc/config/common.conf\nlxc.uts.name = a\n"
				  "lxc.include = /s/devices.conf\n");
	assert_string_equal(once, twice);
	assert_string_equal(back, "lxc.include = /usr/share/lxc/config/common.conf\nlxc.uts.name = a\n");
}

static char *inlined(const char *text, char *const *lines)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(1 << 20);
	char *ret = NULL;

	assert_true(lxc_conf_inline(SPAN(text), lines, &out) >= 0);
	assert_int_equal(strbuf_steal(&out, &ret), 0);
	return ret;
}

static void test_inline(void **state)
{
	char *lines[] = { (char *)allow0, NULL };
	const char *old = "lxc.uts.name = a\n";
	_cleanup_free_ char *once = inlined(old, lines), *twice = inlined(once, lines),
			    *back = inlined(twice, NULL);
	_cleanup_strv_ char **found = NULL, **none = NULL;

	(void)state;
	assert_string_equal(once, twice);
	assert_string_equal(back, old);
	assert_int_equal(lxc_conf_inline_lines(SPAN(once), &found), 0);
	assert_int_equal(strv_len(found), 1);
	assert_string_equal(found[0], allow0);
	assert_int_equal(lxc_conf_inline_lines(SPAN(old), &none), 0);
	assert_null(none);
}

static void test_merge(void **state)
{
	char *have[] = { (char *)"a = 1", (char *)"b = 2", NULL },
	     *add[] = { (char *)"b=2", (char *)"c: 3", NULL }, *remove[] = { (char *)"a = 1", NULL };
	_cleanup_strv_ char **got = NULL;

	(void)state;
	assert_int_equal(lxc_lines_merge(have, add, remove, &got), 0);
	assert_int_equal(strv_len(got), 2);
	assert_string_equal(got[0], "b = 2");
	assert_string_equal(got[1], "c: 3");
}

TEST_MAIN(cmocka_unit_test(test_pve_add), cmocka_unit_test(test_pve_twice_and_back),
	  cmocka_unit_test(test_pve_values), cmocka_unit_test(test_pve_refuses_dev),
	  cmocka_unit_test(test_include), cmocka_unit_test(test_inline), cmocka_unit_test(test_merge))
