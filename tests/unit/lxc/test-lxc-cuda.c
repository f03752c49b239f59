/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "lxc-cuda.h"
#include "err-lxc.h"

#include <elf.h>
#include <stdlib.h>
#include <unistd.h>

static void test_answers(void **state)
{
	static const struct {
		const char *out;
		int result; /* -1 = none */
	} rows[] = {
		{ "cuInit 0\n", 0 },
		{ "cuInit 803\n", 803 },
		{ "nvidia: a line of the driver's own\ncuInit 100\n", 100 },
		{ "cuInit 999", 999 },
		{ "cuInit \n", -1 },
		{ "cuInit -1\n", -1 },
		{ "cuInit 1000000\n", -1 },
		{ "not cuInit 0\n", -1 },
		{ "", -1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int result = -1, r = lxc_cuda_parse(SPAN(rows[i].out), &result);

		assert_int_equal(r, rows[i].result < 0 ? -EINVAL : 0);
		assert_int_equal(result, rows[i].result);
	}
}

static void test_sentences(void **state)
{
	static const struct {
		int result;
		const char *word;
	} rows[] = {
		{ 0, "starts" },	  { 100, "no GPU" },	    { 803, "different versions" },
		{ 804, "compatibility" }, { 999, "nvidia-uvm" },    { 802, "fabric manager" },
		{ 34, "stub" },		  { 12345, "an error of" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_non_null(strstr(lxc_cuda_text(rows[i].result), rows[i].word));
}

static void test_no_result(void **state)
{
	static const struct {
		int status;
		const char *out, *word;
	} rows[] = {
		{ 127,
		  "x: error while loading shared libraries: libcuda.so.1: cannot open shared object file\n",
		  "does not find" },
		{ 126, "lxc-attach: Permission denied", "container-tmp" },
		{ 139, "", "signal 11" },
		{ 1, "odd\n", "status 1: odd" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *text = lxc_cuda_no_result(rows[i].status, SPAN(rows[i].out));

		assert_non_null(strstr(text, rows[i].word));
	}
}

/* What is carried is a program for this machine that wants libcuda.so.1 and nothing else. */
static void test_program(void **state)
{
	const Elf64_Ehdr *h = (const void *)lxc_cuda_probe;
	size_t needed = 0, search = 0;

	(void)state;
	assert_true(lxc_cuda_probe_size > sizeof(*h) && memcmp(h->e_ident, ELFMAG, SELFMAG) == 0);
	for (size_t i = 0; i < h->e_phnum; i++) {
		const Elf64_Phdr *p = (const void *)(lxc_cuda_probe + h->e_phoff + i * h->e_phentsize);

		if (p->p_type != PT_DYNAMIC)
			continue;
		for (size_t k = 0; k < p->p_filesz / sizeof(Elf64_Dyn); k++) {
			Elf64_Dyn d;

			memcpy(&d, lxc_cuda_probe + p->p_offset + k * sizeof(d), sizeof(d));
			needed += d.d_tag == DT_NEEDED;
			search += d.d_tag == DT_RPATH || d.d_tag == DT_RUNPATH || d.d_tag == DT_VERNEED;
		}
	}
	assert_int_equal(needed, 1);
	assert_int_equal(search, 0);
}

/* -- a container that is a table of answers -- */

static struct {
	const char *out;
	int status, exec_error;
	unsigned pushed, removed;
} inside;

static int fake_push(struct lxc_backend *b, const char *id, int fd, const char *path, mode_t mode,
		     struct err *e)
{
	off_t size = lseek(fd, 0, SEEK_END);

	(void)b;
	(void)id;
	(void)e;
	assert_int_equal(size, (off_t)lxc_cuda_probe_size);
	assert_int_equal(mode, 0755);
	assert_true(strncmp(path, "/opt/tmp/nvdriver-cuda-init.", 28) == 0);
	inside.pushed++;
	return 0;
}

static int fake_exec(struct lxc_backend *b, const char *id, struct lxc_exec *x, struct err *e)
{
	(void)b;
	(void)id;
	if (strcmp(x->argv[0], "rm") == 0) {
		inside.removed++;
		return 0;
	}
	if (inside.exec_error)
		return err_set(e, inside.exec_error, "as told");
	x->status = inside.status;
	x->out = strdup(inside.out);
	x->out_len = strlen(inside.out);
	return 0;
}

static void test_run(void **state)
{
	static const struct {
		const char *out;
		int status, exec_error, r, result;
		const char *problem;
	} rows[] = {
		{ "cuInit 0\n", 0, 0, 0, 0, NULL },
		{ "cuInit 803\n", 0, 0, 0, 803, "cuInit(0) = 803" },
		{ "", 139, 0, 0, -1, "crashes" },
		{ "", 0, ERR_TIMEOUT, -ERR_TIMEOUT, -2, NULL },
		{ "", 0, ERR_LXC_STOPPED, -ERR_LXC_STOPPED, -2, NULL },
	};
	static const struct lxc_backend_ops ops = { .name = "fake", .push = fake_push, .exec = fake_exec };
	char tmp[] = "/opt/tmp";
	struct lxc_settings set = { .container_tmp = tmp };
	struct lxc_backend b = { .ops = &ops, .set = &set };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		_cleanup_free_ char *problem = NULL;
		int result = -2;

		inside.out = rows[i].out;
		inside.status = rows[i].status;
		inside.exec_error = rows[i].exec_error;
		inside.pushed = inside.removed = 0;
		assert_int_equal(lxc_cuda_init(&b, "x", &result, &problem, &e), rows[i].r);
		assert_int_equal(result, rows[i].result);
		assert_int_equal(problem != NULL, rows[i].problem != NULL);
		if (problem)
			assert_non_null(strstr(problem, rows[i].problem));
		/* Nothing stays inside, whatever happened. */
		assert_int_equal(inside.pushed, 1);
		assert_int_equal(inside.removed, 1);
	}
}

TEST_MAIN(cmocka_unit_test(test_answers), cmocka_unit_test(test_sentences), cmocka_unit_test(test_no_result),
	  cmocka_unit_test(test_program), cmocka_unit_test(test_run))
