/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "container-banner.h"

#define RUNNING "Linux version 5.14.0-1.el9.x86_64 (a@b) (gcc 11) #1 SMP now"
#define TREE	"Linux version 5.14.0-2.el9.x86_64 (a@b) (gcc 11) #2 SMP later"
#define IMAGE	"Linux version 5.14.0-3.el9.x86_64 (a@b) (gcc 11) #3 SMP latest"

static void asks_the_cheapest_first(void **state _unused_)
{
	static const struct {
		const char *release;
		bool with_tree;
		const char *want, *from; /* want NULL: none */
	} rows[] = {
		{ "5.14.0-1.el9.x86_64", true, RUNNING, "the running kernel" },
		{ "5.14.0-2.el9.x86_64", true, TREE, "the build tree" },
		{ "5.14.0-2.el9.x86_64", false, NULL, NULL },
		{ "5.14.0-3.el9.x86_64", false, IMAGE, "the kernel's image" },
		{ "5.14.0-4.el9.x86_64", false, NULL, NULL }, /* its image is another kernel's */
	};
	struct ktree tree = { .banner = (char *)TREE };
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(host_freep) struct host *c = NULL, *n = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	char c_path[300], n_path[300];

	testdir_make(&t);
	testdir_puts(&t, "c/proc/version", RUNNING "\n");
	testdir_puts(&t, "c/proc/sys/kernel/osrelease", "5.14.0-1.el9.x86_64\n");
	testdir_puts(&t, "n/boot/vmlinuz-5.14.0-3.el9.x86_64", "xx" IMAGE "\nyy");
	testdir_puts(&t, "c/lib/modules/5.14.0-4.el9.x86_64/vmlinuz", "xx" IMAGE "\nyy");
	(void)snprintf(c_path, sizeof(c_path), "%s/c", t.path);
	(void)snprintf(n_path, sizeof(n_path), "%s/n", t.path);
	assert_ok(host_open(c_path, &c, &e), &e);
	assert_ok(host_open(n_path, &n, &e), &e);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *got = NULL;
		const char *from = NULL;
		int r = container_banner(c, n, rows[i].release, rows[i].with_tree ? &tree : NULL, &got, &from,
					 &e);

		if (!rows[i].want) {
			assert_int_equal(r, -ENOENT);
			continue;
		}
		assert_ok(r, &e);
		assert_string_equal(got, rows[i].want);
		assert_string_equal(from, rows[i].from);
	}
}

TEST_MAIN(cmocka_unit_test(asks_the_cheapest_first))
