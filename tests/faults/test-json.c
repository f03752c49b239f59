/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that runs out anywhere in a parse, for a moment or for good. Every block ends at a page nobody may touch, so a
 * parser that goes past one ends this program: jansson itself is not built with a sanitizer. */
#include "testlib.h"

#include "jutil.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void __real_free(void *p);
void __wrap_free(void *p);
size_t __real_malloc_usable_size(void *p);
size_t __wrap_malloc_usable_size(void *p);

#define BLOCKS_MAX 4096

static struct {
	void *p, *map;
	size_t size, map_size;
} blocks[BLOCKS_MAX];
static size_t n_blocks;
static bool guarded; /* blocks end at a guard page */
static unsigned calls, fail_at; /* 0 = never */
static bool for_good;

static void *guarded_malloc(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), len;
	char *map;

	size = (size + 15) & ~(size_t)15;
	len = (size + page - 1) / page * page + page;
	assert_true(n_blocks < BLOCKS_MAX);
	map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(map != MAP_FAILED);
	/* No quote may be found by luck where a token's text ends. */
	memset(map, 'z', len - page);
	assert_int_equal(mprotect(map + len - page, page, PROT_NONE), 0);
	blocks[n_blocks].p = map + len - page - size;
	blocks[n_blocks].map = map;
	blocks[n_blocks].size = size;
	blocks[n_blocks].map_size = len;
	return blocks[n_blocks++].p;
}

void *__wrap_malloc(size_t size)
{
	if (!guarded)
		return __real_malloc(size);
	calls++;
	if (fail_at && (for_good ? calls >= fail_at : calls == fail_at))
		return NULL;
	return guarded_malloc(size);
}

static size_t find(const void *p)
{
	size_t i = 0;

	while (i < n_blocks && blocks[i].p != p)
		i++;
	return i;
}

void __wrap_free(void *p)
{
	size_t i = find(p);

	if (!p || i == n_blocks) {
		__real_free(p);
		return;
	}
	munmap(blocks[i].map, blocks[i].map_size);
	blocks[i] = blocks[--n_blocks];
}

size_t __wrap_malloc_usable_size(void *p)
{
	size_t i = find(p);

	return i == n_blocks ? __real_malloc_usable_size(p) : blocks[i].size;
}

static void try(const char *text, unsigned n, bool good)
{
	json_t *j = NULL;
	int r;

	calls = 0;
	fail_at = n;
	for_good = good;
	guarded = true;
	r = jloadb((struct span){ text, strlen(text) }, &j, NULL);
	fail_at = 0;
	if (n && n <= calls)
		assert_int_equal(r, -ENOMEM);
	else
		assert_int_equal(r, 0);
	json_decref(j);
	guarded = false;
	assert_int_equal(n_blocks, 0);
}

static void fail_everywhere(const char *text)
{
	unsigned all;

	try(text, 0, false);
	all = calls;
	assert_true(all > 3);
	for (unsigned n = 1; n <= all; n++) {
		try(text, n, false);
		try(text, n, true);
	}
}

/* Every length a token can have around the sizes its buffer grows to: the quote is lost at 15, 31, 63, … bytes. */
static void strings_of_all_lengths(void **state _unused_)
{
	char text[300];

	for (int len = 0; len < 140; len++) {
		snprintf(text, sizeof(text), "[\"%0*d\"]", len, 0);
		fail_everywhere(text);
		snprintf(text, sizeof(text), "{\"%0*d\": \"\\u00e4\\\"%0*d\"}", len, 1, len, 2);
		fail_everywhere(text);
	}
}

static void numbers_of_all_lengths(void **state _unused_)
{
	char text[300];

	for (int len = 1; len < 140; len++) {
		snprintf(text, sizeof(text), "[0.%0*d, 1]", len, 1);
		fail_everywhere(text);
	}
}

static void everything_else(void **state _unused_)
{
	fail_everywhere(
	    "{\"a\": [1, 2.5, true, false, null, \"x\"], \"b\": {\"c\": {}, \"d\": [[], [[]]]},"
	    " \"e\": 0, \"f\": 0, \"g\": 0, \"h\": 0, \"i\": 0, \"j\": 0, \"k\": [1,2,3,4,5,6,7,8,9,10]}");
}

/* What was parsed while memory lasted is ordinary memory: other code changes it and lets it go. */
static void values_outlive_the_parse(void **state _unused_)
{
	json_t *j = NULL, *k = NULL;

	assert_int_equal(jloadb(SPAN("{\"a\": \"b\", \"c\": [1]}"), &j, NULL), 0);
	assert_int_equal(json_object_set_new(j, "a", json_string("other")), 0);
	assert_int_equal(jloadb(SPAN("[1, {\"x\": 2}]"), &k, NULL), 0);
	assert_int_equal(json_object_set(j, "k", json_array_get(k, 1)), 0);
	json_decref(k);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "k"), "x")), 2);
	json_decref(j);
}

static void errors_free_what_they_made(void **state _unused_)
{
	static const char *const bad[] = { "[1, 2", "{\"a\": 1, \"a\": 2}", "[\"\\ud800\"]", "{\"a\" 1}",
					   "" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		json_error_t where;
		json_t *j = NULL;

		calls = fail_at = 0;
		guarded = true;
		assert_int_equal(jloadb((struct span){ bad[i], strlen(bad[i]) }, &j, &where), -EINVAL);
		guarded = false;
		assert_int_equal(n_blocks, 0);
		assert_true(*where.text);
	}
}

TEST_MAIN(cmocka_unit_test(strings_of_all_lengths), cmocka_unit_test(numbers_of_all_lengths),
	  cmocka_unit_test(everything_else), cmocka_unit_test(values_outlive_the_parse),
	  cmocka_unit_test(errors_free_what_they_made))
