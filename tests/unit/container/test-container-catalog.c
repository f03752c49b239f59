/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "container-catalog.h"
#include "strbuf.h"
#include "err-container.h"

static const char base_catalog[] =
    "version: 1\n"
    "date: 2024-03-01\n"
    "branch:\n"
    "- name: R535\n"
    "  type: host\n"
    "  allow: {cpu: [x86], gpu: [{devid: '0x20B5'}]}\n"
    "  properties: {anything: [1, {at: all}]}\n"
    "- {name: R535, type: guest}\n"
    "- {name: R525, type: guest, deny: {branch: [R470]}}\n"
    "driver:\n"
    "- {version: 535.129.03, date: 2023-10-31, branch: R535, type: host, os: [Linux], hypervisor: [kvm]}\n"
    "- {version: 535.104.05, date: 2023-08-22, branch: R535, type: guest, os: [Linux, Windows]}\n"
    "- {version: 535.129.03, date: 2023-10-31, branch: R535, type: guest, os: [Linux]}\n"
    "- {version: 525.147.05, date: 2024-01-10, branch: R525, type: guest, os: [Linux]}\n"
    "- {version: 537.70, date: 2024-02-01, branch: R535, type: guest, os: [Windows]}\n";

static const char *const all_there[] = { "525.147.05", "535.104.05", "535.129.03", "537.70", NULL };

static const struct pcicap_device a100 = { "0000:01:00.0", 0x20b5, 0x1533, { "535.129.03", "R535" } };

/* `from` becomes `to` in the base text, or the case is wrong. */
static char *changed(const char *from, const char *to)
{
	const char *at = strstr(base_catalog, from);
	char *out;

	assert_non_null(at);
	out = str_printf("%.*s%s%s", (int)(at - base_catalog), base_catalog, to, at + strlen(from));
	assert_non_null(out);
	return out;
}

static void applies_the_rules(void **state _unused_)
{
	static const struct {
		const char *from, *to; /* what differs from the base catalog */
		const char *want; /* NULL = no match, then `why` */
		const char *why;
	} cases[] = {
		{ "version: 1", "version: 1", "535.129.03", NULL },
		/* rule 1: the host branch */
		{ "name: R535\n  type: host", "name: R536\n  type: host", NULL, "no host branch" },
		{ "devid: '0x20B5'", "devid: '0x20b6'", NULL, "no host branch" },
		{ "devid: '0x20B5'", "devid: '0x9999', ssid: 0X1533", "535.129.03", NULL },
		{ "cpu: [x86], ", "cpu: [arm], ", NULL, "no host branch" },
		{ "  allow: {cpu: [x86], gpu", "  deny: {cpu: [arm], gpu", NULL, "no host branch" },
		{ "  allow: {cpu: [x86], gpu: [{devid: '0x20B5'}]}", "  allow: {cpu: [], gpu: []}",
		  "535.129.03", NULL },
		/* rule 2: guest branches, from both sides */
		{ "- {name: R535, type: guest}", "- {name: R535, type: guest, deny: {branch: [R535]}}",
		  "525.147.05", NULL },
		{ "- {name: R535, type: guest}", "- {name: R535, type: guest, allow: {branch: [R470]}}",
		  "525.147.05", NULL },
		{ "- {name: R535, type: guest}",
		  "- {name: R535, type: guest, deny: {gpu: [{devid: '0x20b5'}]}}", "525.147.05", NULL },
		{ "allow: {cpu: [x86], ", "allow: {branch: [R525], cpu: [x86], ", "525.147.05", NULL },
		{ "allow: {cpu: [x86], ", "allow: {branch: [R470], cpu: [x86], ", NULL,
		  "works with none of the guest branches" },
		/* rule 3: guest drivers */
		{ "R535, type: guest, os: [Linux]}", "R535, type: guest, os: []}", "535.104.05", NULL },
		{ "R535, type: guest, os: [Linux]}",
		  "R535, type: guest, os: [Linux], deny: {driver: [{version: 535.129.03}]}}", "535.104.05",
		  NULL },
		{ "R535, type: guest, os: [Linux]}",
		  "R535, type: guest, os: [Linux], allow: {driver: [{version: 1.2, os: Linux}]}}",
		  "535.104.05", NULL },
		/* rules 4 and 5: the host driver's own lists; without such an entry nothing is asked */
		{ "type: host, os: [Linux]",
		  "type: host, os: [Linux], deny: {driver: [{version: 535.129.03}]}", "535.104.05", NULL },
		{ "type: host, os: [Linux]",
		  "type: host, os: [Linux], allow: {driver: [{version: 525.147.05}]}", "525.147.05", NULL },
		{ "535.129.03, date: 2023-10-31, branch: R535, type: host, os: [Linux]",
		  "535.129.01, date: 2023-10-31, branch: R535, type: host, os: [Linux], deny: {driver: "
		  "[{version: "
		  "535.129.03}]}",
		  "535.129.03", NULL },
		/* rule 6: newest date first, the host's branch before all */
		{ "date: 2023-08-22", "date: 2023-12-01", "535.104.05", NULL },
		{ "- {version: 535.104.05, date: 2023-08-22, ", "- {version: 535.104.05, ", "535.129.03",
		  NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *text = changed(cases[i].from, cases[i].to);
		_cleanup_(catalog_done) struct catalog c = { 0 };
		_cleanup_(err_done) struct err e = ERR_INIT;
		const struct catalog_entry *best = NULL;
		int r;

		assert_ok(catalog_parse(SPAN(text), &c, &e), &e);
		r = catalog_match(&c, &a100, (char *const *)all_there, &best, &e);
		if (cases[i].want) {
			assert_ok(r, &e);
			assert_string_equal(best->version, cases[i].want);
		} else {
			assert_int_equal(r, -ERR_VGPU_NO_MATCH);
			assert_non_null(strstr(e.reason, cases[i].why));
		}
	}
}

static void needs_something_available(void **state _unused_)
{
	static const char *const other[] = { "470.1.1", NULL }, *const old[] = { "525.147.05", NULL };
	static const struct pcicap_device silent = { "0000:01:00.0", 0x20b5, 0, { "", "" } };
	_cleanup_(catalog_done) struct catalog c = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	const struct catalog_entry *best = NULL;

	assert_ok(catalog_parse(SPAN(base_catalog), &c, &e), &e);
	assert_int_equal(c.version, 1);
	assert_int_equal(c.drivers.v[1].line, 12);
	assert_int_equal(catalog_match(&c, &a100, NULL, &best, &e), -ERR_VGPU_NO_MATCH);
	assert_int_equal(catalog_match(&c, &a100, (char *const *)other, &best, &e), -ERR_VGPU_NO_MATCH);
	assert_int_equal(catalog_match(&c, &silent, (char *const *)all_there, &best, &e), -ERR_VGPU_NO_MATCH);
	assert_ok(catalog_match(&c, &a100, (char *const *)old, &best, &e), &e);
	assert_string_equal(best->version, "525.147.05");
}

static void refuses_what_it_does_not_know(void **state _unused_)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "", "empty" },
		{ "# nothing\n", "empty" },
		{ "version: [\n", "line" },
		{ "version: one\n", "line 1" },
		{ "date: x\n", "no version" },
		{ "- a\n", "line 1: a map" },
		{ "version: 1\nversion: 2\n", "line 2: \"version\" stands twice" },
		{ "version: 1\nvendor: x\n", "line 2: \"vendor\" is no known key" },
		{ "version: 1\nbranch: {a: b}\n", "line 2: a list" },
		{ "version: 1\nbranch: [a]\n", "line 2: a map" },
		{ "version: 1\nbranch:\n- {type: host}\n", "line 3: this entry has no name" },
		{ "version: 1\nbranch:\n- {name: R1, type: both}\n", "line 3: the type" },
		{ "version: 1\nbranch:\n- name: R1\n  type: host\n  deny:\n    driver: []\n",
		  "line 6: \"driver\"" },
		{ "version: 1\ndriver:\n- {version: 1.2, branch: R1, type: host, date: 1/2/2023}\n",
		  "line 3: the date" },
		{ "version: 1\ndriver:\n- {version: 1.2, branch: R1, type: host,\n   allow: {driver: "
		  "[1.2]}}\n",
		  "line 4: a map" },
		{ "version: 1\ndriver:\n- {version: {}, branch: R1, type: host}\n", "line 3: a plain value" },
		{ "version: 1\ndriver:\n- {branch: R1, type: host}\n", "line 3: this entry has no version" },
		{ "version: !!python/object x\n", "line 1: a tag" },
		{ "version: 1\n---\nversion: 2\n", "a second document" },
		{ "version: 1\n? [a]\n: b\n", "line 2: a key is no word" },
		{ "a: &a [*a]\n", "line 1" },
		{ "version: \"1\\0\"\n", "NUL" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(catalog_done) struct catalog c = { 0 };
		_cleanup_(err_done) struct err e = ERR_INIT;

		assert_int_equal(catalog_parse(SPAN(cases[i].text), &c, &e), -ERR_VGPU_CATALOG);
		if (!strstr(e.reason, cases[i].why))
			fail_msg("case %zu: \"%s\" lacks \"%s\"", i, e.reason, cases[i].why);
	}
}

/* Aliases of aliases say much with few bytes: the reader stops instead of counting to the end. */
static void bounds_aliases(void **state _unused_)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(1 << 20);
	_cleanup_(catalog_done) struct catalog c = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;

	strbuf_puts(&text, "version: 1\nbranch:\n- name: R0\n  type: guest\n  allow: &s\n    cpu: [");
	for (int i = 0; i < 4000; i++)
		strbuf_puts(&text, "x86, ");
	strbuf_puts(&text, "]\n");
	for (int i = 0; i < 4000; i++)
		strbuf_puts(&text, "- {name: R1, type: guest, allow: *s}\n");
	assert_int_equal(strbuf_error(&text), 0);
	assert_int_equal(catalog_parse((struct span){ text.buf, text.len }, &c, &e), -ERR_TOO_LARGE);
}

static void machine(const struct testdir *t)
{
	static const uint8_t config[256] = {
		[0x06] = 0x10, [0x34] = 0x60, [0x60] = 0x09, [0x62] = 27,  [0x63] = 'V', [0x64] = 'F',
		[0x65] = 0,    [0x66] = 22,   [0x67] = '5',  [0x68] = '3', [0x69] = '5', [0x6a] = '.',
		[0x6b] = '1',  [0x71] = 'r',  [0x72] = '5',  [0x73] = '3', [0x74] = '5'
	};

	testdir_puts(t, "sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n");
	testdir_puts(t, "sys/bus/pci/devices/0000:01:00.0/device", "0x20b5\n");
	testdir_puts(t, "sys/bus/pci/devices/0000:01:00.0/class", "0x030200\n");
	testdir_write(t, "sys/bus/pci/devices/0000:01:00.0/config", config, sizeof(config), 0644);
	testdir_puts(t, "drivers/vgpuDriverCatalog.yaml", base_catalog);
	testdir_puts(t, "drivers/NVIDIA-Linux-x86_64-535.129.03-grid.run", "");
	testdir_puts(t, "drivers/NVIDIA-Linux-x86_64-535.129.03.run", "");
	testdir_puts(t, "drivers/NVIDIA-Linux-x86_64-..-grid.run", "");
}

static void chooses_for_a_machine(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(host_freep) struct host *h = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *version = NULL, *none = NULL, *log = NULL;
	struct container_vgpu_places places;

	testdir_make(&t);
	machine(&t);
	assert_ok(host_open(t.path, &h, &e), &e);
	container_vgpu_places(h, &places);
	assert_string_equal(places.installers, "/drivers");
	assert_int_equal(container_vgpu_choose(h, &places, &version, &e), 1);
	assert_string_equal(version, "535.129.03-grid");
	/* the builder's shared copy goes first once it is there */
	testdir_puts(&t, "mnt/shared-nvidia-driver-toolkit/drivers/vgpuDriverCatalog.yaml", "version: 1\n");
	container_vgpu_places(h, &places);
	assert_int_equal(container_vgpu_choose(h, &places, &none, &e), -ERR_VGPU_NO_MATCH);
	assert_null(none);
	assert_int_equal(unlinkat(t.fd, "sys/bus/pci/devices/0000:01:00.0/vendor", 0), 0);
	assert_int_equal(container_vgpu_choose(h, &places, &none, &e), 0);
	log = testdir_read(&t, "var/log/vgpu-util.log", NULL);
	assert_non_null(strstr(log, "\"message\":\"virtual GPU\""));
	assert_non_null(strstr(log, "\"message\":\"chosen\""));
	assert_non_null(strstr(log, "\"slug\":\"vgpu-no-match\""));
}

TEST_MAIN(cmocka_unit_test(applies_the_rules), cmocka_unit_test(needs_something_available),
	  cmocka_unit_test(refuses_what_it_does_not_know), cmocka_unit_test(bounds_aliases),
	  cmocka_unit_test(chooses_for_a_machine))
