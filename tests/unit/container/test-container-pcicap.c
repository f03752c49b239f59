/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "container-pcicap.h"
#include "err-container.h"

#include <stdio.h>

struct config {
	uint8_t b[256];
};

static struct config blank(void)
{
	struct config c = { { 0xde, 0x10, 0xb5, 0x20 } };

	c.b[0x06] = 0x10;
	c.b[0x34] = 0x60;
	return c;
}

static void put_record(struct config *c, size_t at, uint8_t id, const char *version, const char *branch)
{
	c->b[at] = id;
	c->b[at + 1] = 22;
	memset(c->b + at + 2, 0, 20);
	memcpy(c->b + at + 2, version, strlen(version));
	memcpy(c->b + at + 12, branch, strlen(branch));
}

/* A power management capability at 0x60, then the vendor's at 0x80 with a foreign record before the host's. */
static struct config good(void)
{
	struct config c = blank();

	memcpy(c.b + 0x60, "\x01\x80\x08", 3);
	memcpy(c.b + 0x80, "\x09\x00\x40VF\x07\x04\xaa\xbb", 9);
	put_record(&c, 0x89, 0, "535.129.03", "r535");
	return c;
}

static void no_status(struct config *c)
{
	c->b[0x06] = 0;
}
static void no_list(struct config *c)
{
	c->b[0x34] = 0;
}
static void into_the_header(struct config *c)
{
	c->b[0x34] = 0x34;
}
static void ends_before(struct config *c)
{
	c->b[0x61] = 0;
}
static void in_circles(struct config *c)
{
	c->b[0x61] = 0x60;
}
static void id_ff(struct config *c)
{
	c->b[0x60] = 0xff;
}
static void other_signature(struct config *c)
{
	c->b[0x84] = 'G';
}
static void too_short(struct config *c)
{
	c->b[0x82] = 4;
}
static void first_one_counts(struct config *c)
{
	c->b[0x60] = 0x09; /* a vendor capability without the signature hides the one behind it */
}
static void at_the_end(struct config *c)
{
	c->b[0x61] = 0xfc;
	memcpy(c->b + 0xfc, "\x09\x00\xffV", 4);
}
static void points_last(struct config *c)
{
	c->b[0x61] = 0xff;
	c->b[0xff] = 0x09;
}
static void record_of_nothing(struct config *c)
{
	c->b[0x86] = 0;
}
static void record_too_long(struct config *c)
{
	c->b[0x86] = 0xf0;
}
static void host_record_short(struct config *c)
{
	c->b[0x8a] = 21;
}
static void host_record_missing(struct config *c)
{
	c->b[0x82] = 9;
}
static void blanks_and_small_letters(struct config *c)
{
	memcpy(c->b + 0x8b, " 535.12 \0x", 10);
}
static void no_text(struct config *c)
{
	c->b[0x8c] = 0x80;
}

static void reads_the_capability(void **state _unused_)
{
	static const struct {
		void (*change)(struct config *c);
		int want;
		const char *version, *branch;
	} cases[] = {
		{ NULL, 1, "535.129.03", "R535" },
		{ no_status, 0, "", "" },
		{ no_list, 0, "", "" },
		{ into_the_header, 0, "", "" },
		{ ends_before, 0, "", "" },
		{ in_circles, 0, "", "" },
		{ id_ff, 0, "", "" },
		{ other_signature, 0, "", "" },
		{ too_short, 0, "", "" },
		{ first_one_counts, 0, "", "" },
		{ at_the_end, 0, "", "" },
		{ points_last, 0, "", "" },
		{ record_of_nothing, 1, "", "" },
		{ record_too_long, 1, "", "" },
		{ host_record_short, 1, "", "" },
		{ host_record_missing, 1, "", "" },
		{ blanks_and_small_letters, 1, "535.12X", "R535" },
		{ no_text, 1, "", "R535" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct pcicap_host host = { "", "" };
		struct config c = good();

		if (cases[i].change)
			cases[i].change(&c);
		assert_int_equal(pcicap_vgpu(c.b, sizeof(c.b), &host), cases[i].want);
		assert_string_equal(host.version, cases[i].version);
		assert_string_equal(host.branch, cases[i].branch);
	}
}

static void refuses_a_short_space(void **state _unused_)
{
	struct pcicap_host host;
	struct config c = good();

	assert_int_equal(pcicap_vgpu(c.b, 64, &host), -EINVAL);
	assert_int_equal(pcicap_vgpu(c.b, 255, &host), -EINVAL);
	assert_int_equal(pcicap_vgpu(NULL, 0, &host), -EINVAL);
}

static void function(const struct testdir *t, const char *address, const char *vendor, size_t config_len)
{
	const struct config c = good();
	char path[128];

#define ATTRIBUTE(name) (snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/" name, address), path)
	testdir_puts(t, ATTRIBUTE("vendor"), vendor);
	testdir_puts(t, ATTRIBUTE("device"), "0x20b5\n");
	testdir_puts(t, ATTRIBUTE("class"), "0x030200\n");
	testdir_puts(t, ATTRIBUTE("subsystem_device"), "0x1234\n");
	testdir_write(t, ATTRIBUTE("config"), c.b, config_len, 0644);
}

static void lists_the_virtual_gpus(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(host_freep) struct host *h = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(pcicap_list_done) struct pcicap_list l = { NULL, 0 };

	testdir_make(&t);
	function(&t, "0000:02:00.0", "0x10de\n", 256);
	function(&t, "0000:01:00.0", "0x10de\n", 256);
	function(&t, "0000:00:00.0", "0x8086\n", 64); /* not ours: its size does not matter */
	assert_ok(host_open(t.path, &h, &e), &e);
	assert_ok(pcicap_list_read(h, &l, &e), &e);
	assert_int_equal(l.n, 2);
	assert_string_equal(l.v[0].address, "0000:01:00.0");
	assert_int_equal(l.v[0].sub_device, 0x1234);
	assert_string_equal(l.v[0].host.branch, "R535");
	function(&t, "0000:03:00.0", "0x10de\n", 64);
	pcicap_list_done(&l);
	assert_int_equal(pcicap_list_read(h, &l, &e), -ERR_VGPU_CONFIG_SPACE);
	assert_string_equal(e.object, "0000:03:00.0");
}

TEST_MAIN(cmocka_unit_test(reads_the_capability), cmocka_unit_test(refuses_a_short_space),
	  cmocka_unit_test(lists_the_virtual_gpus))
