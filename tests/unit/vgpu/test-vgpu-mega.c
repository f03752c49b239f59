/* SPDX-License-Identifier: Apache-2.0
 *
 * Branches whose file only megadl can fetch: what it is called with, and what becomes of what it brings. */
#include "testlib.h"

#include "mkrunfile.h"
#include "publish.h"
#include "spawn.h"
#include "vgpu-driver.h"
#include "err-vgpu.h"

#include <stdlib.h>

#define VERSION "550.163.02"
#define FILE	"NVIDIA-Linux-x86_64-" VERSION "-vgpu-kvm.run"

/* What the stand-in for megadl does. */
struct mega {
	const char *version; /* of the package it brings; NULL = it fails */
	const char *name; /* under which */
	char *line; /* owned; what it was called with */
};

static void bring(const struct spawn *s, const struct mega *m)
{
	char label[80], targetdir[80];
	struct mkrun o = {
		.compression = COMPRESSION_GZIP, .label = label, .targetdir = targetdir, .version = m->version
	};
	_cleanup_(strbuf_done) struct strbuf tar = STRBUF_INIT(STRBUF_TEXT_MAX);
	_cleanup_free_ char *bytes = NULL;
	size_t len;

	(void)snprintf(label, sizeof(label), "NVIDIA Accelerated Graphics Driver for Linux-x86_64 %s",
		       m->version);
	(void)snprintf(targetdir, sizeof(targetdir), "NVIDIA-Linux-x86_64-%s-vgpu-kvm", m->version);
	mktar_minimal(&tar);
	bytes = mkrun_make(&tar, &o, &len);
	assert_int_equal(publish_bytes(s->cwd_fd, m->name, bytes, len, 0644), 0);
}

static int megadl(struct spawn *s, void *arg)
{
	struct mega *m = arg;
	_cleanup_(strbuf_done) struct strbuf line = STRBUF_INIT(4096);

	for (char **a = s->argv; *a; a++)
		(void)strbuf_printf(&line, "%s%s", a == s->argv ? "" : " ", *a);
	free(m->line);
	assert_int_equal(strbuf_steal(&line, &m->line), 0);
	s->status = m->version ? 0 : 1;
	if (m->version)
		bring(s, m);
	return 0;
}

static int get(const struct testdir *t, struct mega *m, bool accept_md5, struct driver_result *ret,
	       struct err *e)
{
	_cleanup_(catalog_freep) struct catalog *c = NULL;
	struct driver_request q = { .branch = "17.6",
				    .dirfd = t->fd,
				    .dir_path = t->path,
				    .accept_md5 = accept_md5,
				    .proxy = "http://proxy:3128" };
	int r;

	assert_int_equal(catalog_load(NULL, &c, NULL), 0);
	q.catalog = c;
	spawn_set_hook(megadl, m);
	r = driver_get(&q, ret, e);
	spawn_set_hook(NULL, NULL);
	ret->row = NULL;
	return r;
}

static void takes_what_is_right(void **state _unused_)
{
	struct mega m = { .version = VERSION, .name = FILE };
	_cleanup_(driver_result_done) struct driver_result d = { 0 }, again = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct testdir t;

	testdir_make(&t);
	testdir_puts(&t, FILE, "something else");
	assert_ok(get(&t, &m, true, &d, &e), &e);
	assert_non_null(
	    strstr(m.line, "megadl --no-progress --path . --proxy http://proxy:3128 https://mega.nz/file/"));
	assert_string_equal(d.action, "replaced");
	assert_string_equal(d.facts.version, VERSION);
	assert_true(testdir_has(&t, FILE ".bak.1"));
	freep(&m.line);
	assert_ok(get(&t, &m, true, &again, &e), &e);
	assert_string_equal(again.action, "present");
	assert_null(m.line);
	testdir_done(&t);
}

static void refuses_the_rest(void **state _unused_)
{
	static const struct {
		struct mega m;
		bool accept_md5;
		int want;
	} cases[] = {
		{ { .version = VERSION, .name = FILE }, false, ERR_FETCH_DIGEST },
		{ { .version = "550.144.02", .name = FILE }, true, ERR_VGPU_DRIVER },
		{ { .version = VERSION, .name = "other.run" }, true, ERR_VGPU_DRIVER },
		{ { .version = NULL, .name = FILE }, true, ERR_FETCH_FAILED },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct mega m = cases[i].m;
		_cleanup_(driver_result_done) struct driver_result d = { 0 };
		_cleanup_(err_done) struct err e = ERR_INIT;
		_cleanup_free_ char *before = NULL, *after = NULL;
		struct testdir t;

		testdir_make(&t);
		testdir_puts(&t, FILE, "what was there");
		before = testdir_snapshot(&t);
		assert_int_equal(get(&t, &m, cases[i].accept_md5, &d, &e), -cases[i].want);
		after = testdir_snapshot(&t);
		assert_string_equal(after, before);
		free(m.line);
		testdir_done(&t);
	}
}

TEST_MAIN(cmocka_unit_test(takes_what_is_right), cmocka_unit_test(refuses_the_rest))
