/* SPDX-License-Identifier: Apache-2.0 */
#include "jutil.h"
#include "base64.h"
#include "fd.h"
#include "strbuf.h"

#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdlib.h>

#define DUMP_SIZE_MAX ((size_t)512 << 20)

void jdecrefp(json_t **j)
{
	json_decref(*j);
	*j = NULL;
}

/* -- parsing without memory --
 *
 * The lexer of jansson 2.14 collects a token byte by byte and passes over a failed growth of that buffer: the byte is
 * lost. When it is the quote that ends a string, the loop that copies the string afterwards looks for a quote it will
 * not find, and reads and writes past both buffers; in a number the lost byte runs into an assertion. No answer of
 * the allocator helps, so it gives none: while a document is parsed, the first failure leaves the parser for good, and
 * what it had allocated is released from a list kept for that. */

/* At the end of every block made while parsing; the block itself is malloc's, so anybody may free it later. */
struct block {
	struct block *prev, *next;
	void *start;
};

struct parse {
	jmp_buf out;
	struct block blocks; /* head of a ring */
};

static _Thread_local struct parse *parsing; /* NULL: plain malloc and free */

static struct block *block_of(void *p)
{
	size_t size = malloc_usable_size(p) & ~(_Alignof(struct block) - 1);

	return (struct block *)((char *)p + size - sizeof(struct block));
}

static void *parse_malloc(size_t size)
{
	struct block *b, *head;
	void *p;

	if (!parsing)
		return malloc(size);
	size = (size + _Alignof(struct block) - 1) & ~(_Alignof(struct block) - 1);
	p = malloc(size + sizeof(*b));
	if (!p)
		longjmp(parsing->out, 1);
	head = &parsing->blocks;
	b = block_of(p);
	*b = (struct block){ .prev = head, .next = head->next, .start = p };
	b->next->prev = b;
	head->next = b;
	return p;
}

static void parse_free(void *p)
{
	if (p && parsing) {
		struct block *b = block_of(p);

		b->prev->next = b->next;
		b->next->prev = b->prev;
	}
	free(p);
}

__attribute__((constructor)) static void allocator_install(void)
{
	json_set_alloc_funcs(parse_malloc, parse_free);
}

/* False when memory ran out; nothing of the document is left then. */
static bool parse(struct parse *p, struct span text, json_t **ret, json_error_t *where)
{
	p->blocks.prev = p->blocks.next = &p->blocks;
	parsing = p;
	if (setjmp(p->out) == 0) {
		*ret = json_loadb(text.p ? text.p : "", text.len, JSON_REJECT_DUPLICATES, where);
		parsing = NULL;
		return true;
	}
	parsing = NULL;
	for (struct block *b = p->blocks.next, *next; b != &p->blocks; b = next) {
		next = b->next;
		free(b->start);
	}
	return false;
}

int jloadb(struct span text, json_t **ret, json_error_t *where)
{
	struct parse p;
	json_t *j = NULL;

	if (!parse(&p, text, &j, where))
		return -ENOMEM;
	if (!j)
		return -EINVAL;
	*ret = j;
	return 0;
}

int jparse(struct span text, json_t **ret, struct err *e)
{
	json_error_t je;
	json_t *j = NULL;
	int r = jloadb(text, &j, &je);

	if (r == -ENOMEM)
		return err_oom(e);
	if (r < 0)
		return err_set(e, -ERR_FORMAT, "line %d, column %d: %s", je.line, je.column, je.text);
	*ret = j;
	return 0;
}

int jload_at(int dirfd, const char *path, size_t max_bytes, json_t **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = read_file_at(dirfd, path, max_bytes, &text, &len);

	if (r == -E2BIG)
		(void)err_set(e, -ERR_TOO_LARGE, "%s is larger than %zu bytes", path, max_bytes);
	else if (r < 0)
		(void)err_errno(e, r, "cannot read %s", path);
	else if (jparse((struct span){ text, len }, ret, e) < 0)
		(void)err_wrap(e, "%s", path);
	else
		return 0;
	return err_object(e, "%s", path);
}

static int dump_chunk(const char *bytes, size_t len, void *arg)
{
	return strbuf_append(arg, bytes, len);
}

/* Through a buffer of ours whose first failure sticks: json_dumps() of jansson 2.14 passes over a failed
 * allocation between two pieces and answers a text that lacks one. */
int jdump(const json_t *j, char **ret)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(DUMP_SIZE_MAX);
	int r;

	r = json_dump_callback(j, dump_chunk, &text, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	if (r < 0 || strbuf_error(&text) < 0)
		return strbuf_error(&text) < 0 ? strbuf_error(&text) : -ENOMEM;
	r = strbuf_putc(&text, '\n');
	return r < 0 ? r : strbuf_steal(&text, ret);
}

/* 1: there and of the type; 0: absent or null. */
static int find(const json_t *obj, const char *key, bool (*is_type)(const json_t *), const char *expected,
		json_t **ret, struct err *e)
{
	json_t *v = json_object_get(obj, key);

	if (!json_is_object(obj))
		return err_set(e, -ERR_FORMAT, "expected an object with the key \"%s\"", key);
	if (!v || json_is_null(v))
		return 0;
	if (!is_type(v))
		return err_set(e, -ERR_FORMAT, "\"%s\" is not %s", key, expected);
	*ret = v;
	return 1;
}

static int require(int found, const char *key, struct err *e)
{
	return found == 0 ? err_set(e, -ERR_FORMAT, "\"%s\" is missing", key) : found < 0 ? found : 0;
}

static bool is_string(const json_t *v)
{
	return json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v);
}

static bool is_u64(const json_t *v)
{
	return json_is_integer(v) && json_integer_value(v) >= 0;
}

static bool is_bool(const json_t *v)
{
	return json_is_boolean(v);
}

static bool is_object(const json_t *v)
{
	return json_is_object(v);
}

static bool is_array(const json_t *v)
{
	return json_is_array(v);
}

static int find_str(const json_t *obj, const char *key, const char **ret, struct err *e)
{
	json_t *v = NULL;
	int r = find(obj, key, is_string, "a string", &v, e);

	if (r > 0)
		*ret = json_string_value(v);
	return r;
}

static int find_u64(const json_t *obj, const char *key, uint64_t *ret, struct err *e)
{
	json_t *v = NULL;
	int r = find(obj, key, is_u64, "a number from 0 up", &v, e);

	if (r > 0)
		*ret = (uint64_t)json_integer_value(v);
	return r;
}

static int find_bool(const json_t *obj, const char *key, bool *ret, struct err *e)
{
	json_t *v = NULL;
	int r = find(obj, key, is_bool, "true or false", &v, e);

	if (r > 0)
		*ret = json_is_true(v);
	return r;
}

int jget_str(const json_t *obj, const char *key, const char **ret, struct err *e)
{
	return require(find_str(obj, key, ret, e), key, e);
}

int jget_u64(const json_t *obj, const char *key, uint64_t *ret, struct err *e)
{
	return require(find_u64(obj, key, ret, e), key, e);
}

int jget_bool(const json_t *obj, const char *key, bool *ret, struct err *e)
{
	return require(find_bool(obj, key, ret, e), key, e);
}

int jget_object(const json_t *obj, const char *key, json_t **ret, struct err *e)
{
	return require(find(obj, key, is_object, "an object", ret, e), key, e);
}

int jget_array(const json_t *obj, const char *key, json_t **ret, struct err *e)
{
	return require(find(obj, key, is_array, "an array", ret, e), key, e);
}

int jget_bytes(const json_t *obj, const char *key, uint8_t **ret, size_t *ret_len, struct err *e)
{
	const char *text;
	int r = jget_str(obj, key, &text, e);

	if (r < 0)
		return r;
	r = base64_decode(SPAN(text), ret, ret_len);
	if (r == -EINVAL)
		return err_set(e, -ERR_FORMAT, "\"%s\" is not base64", key);
	return r < 0 ? err_oom(e) : 0;
}

int jopt_str(const json_t *obj, const char *key, const char **ret, struct err *e)
{
	int r = find_str(obj, key, ret, e);

	return r < 0 ? r : 0;
}

int jopt_u64(const json_t *obj, const char *key, uint64_t *ret, struct err *e)
{
	int r = find_u64(obj, key, ret, e);

	return r < 0 ? r : 0;
}

int jopt_bool(const json_t *obj, const char *key, bool *ret, struct err *e)
{
	int r = find_bool(obj, key, ret, e);

	return r < 0 ? r : 0;
}

int jopt_strv(const json_t *obj, const char *key, char ***ret, struct err *e)
{
	_cleanup_strv_ char **v = NULL;
	json_t *array, *item;
	size_t i;
	int r = find(obj, key, is_array, "an array", &array, e);

	if (r <= 0)
		return r;
	json_array_foreach (array, i, item) {
		if (!is_string(item))
			return err_set(e, -ERR_FORMAT, "\"%s\"[%zu] is not a string", key, i);
		if (strv_push(&v, json_string_value(item)) < 0)
			return err_oom(e);
	}
	*ret = TAKE_PTR(v);
	return 0;
}

json_t *jstrv(char *const *v)
{
	_cleanup_json_ json_t *array = json_array();

	for (; array && v && *v; v++)
		if (json_array_append_new(array, json_string(*v)) < 0)
			return NULL;
	return TAKE_PTR(array);
}

json_t *jbytes(const uint8_t *bytes, size_t len)
{
	_cleanup_free_ char *text = NULL;

	return base64_encode(bytes, len, &text) < 0 ? NULL : json_string(text);
}

int jknown(const json_t *obj, const char *const *known, struct err *e)
{
	const char *key;
	json_t *value;

	if (!json_is_object(obj))
		return err_set(e, -ERR_FORMAT, "expected an object");
	json_object_foreach ((json_t *)obj, key, value) {
		const char *const *k = known;

		while (*k && strcmp(*k, key) != 0)
			k++;
		if (!*k)
			return err_set(e, -ERR_FORMAT, "unknown key \"%s\"", key);
	}
	return 0;
}
