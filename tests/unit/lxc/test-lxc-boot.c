/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "lxc-boot.h"

#include <stdlib.h>

static void test_text(void **state)
{
	static const struct {
		const char *program, *store, *line;
	} rows[] = {
		{ "/usr/bin/nvdriver", NULL, "\nExecStart=/usr/bin/nvdriver lxc sync --boot\n" },
		{ "/opt/nvdriver", "/srv/a store",
		  "\nExecStart=/opt/nvdriver lxc sync --boot --store \"/srv/a store\"\n" },
		{ "/opt/nvdriver", "/srv/50%\"$x\\",
		  "\nExecStart=/opt/nvdriver lxc sync --boot --store \"/srv/50%%\\\"$$x\\\\\"\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(65536);

		assert_int_equal(lxc_boot_unit_text(rows[i].program, rows[i].store, &out), 0);
		assert_non_null(strstr(strbuf_str(&out), rows[i].line));
		assert_non_null(strstr(
		    strbuf_str(&out), "\nBefore=pve-guests.service lxc.service incus.service lxd.service\n"));
		assert_non_null(strstr(strbuf_str(&out), "\nType=oneshot\nRemainAfterExit=yes\n"));
		assert_non_null(strstr(strbuf_str(&out), "\nWantedBy=multi-user.target\n"));
		assert_true(lxc_boot_unit_is_known((struct span){ strbuf_str(&out), out.len }));
	}
}

static void test_watch(void **state)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(65536);

	(void)state;
	assert_int_equal(lxc_watch_unit_text("/opt/nvdriver", "/srv/a store", &out), 0);
	assert_non_null(
	    strstr(strbuf_str(&out), "\nExecStart=/opt/nvdriver lxc sync --wait --store \"/srv/a store\"\n"));
	/* It may run again with the next driver, and not before containers have started. */
	assert_null(strstr(strbuf_str(&out), "RemainAfterExit"));
	assert_non_null(
	    strstr(strbuf_str(&out), "\nAfter=" LXC_BOOT_UNIT " pve-guests.service lxc.service "));
	assert_non_null(strstr(lxc_watch_rules, "ENV{SYSTEMD_WANTS}+=\"" LXC_WATCH_UNIT "\"\n"));
}

static void test_known(void **state)
{
	static const struct {
		const char *text;
		bool known;
	} rows[] = {
		{ "[Unit]\nBefore=pve-guests.service\n[Service]\nType=oneshot\nExecStart=/usr/bin/"
		  "nvidia-smi\n",
		  true },
		{ "[Service]\n  ExecStart=/usr/local/bin/nvdriver lxc sync --boot --store \"/x\"\n", true },
		{ "[Service]\nExecStart=/usr/local/bin/my-gpu-setup\n", false },
		{ "# ExecStart=/usr/bin/nvidia-smi\n[Service]\nExecStart=/bin/other\n", false },
		{ "", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(lxc_boot_unit_is_known(SPAN(rows[i].text)), rows[i].known);
}

TEST_MAIN(cmocka_unit_test(test_text), cmocka_unit_test(test_watch), cmocka_unit_test(test_known))
