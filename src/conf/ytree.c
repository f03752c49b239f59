/* SPDX-License-Identifier: Apache-2.0 */
#include "ytree.h"
#include "strbuf.h"

#include <stdarg.h>
#include <string.h>
#include <yaml.h>

#define LOOKS_MAX ((size_t)256 << 10) /* a published catalog has a few thousand */

struct ytree {
	yaml_document_t doc;
	bool has_doc;
	size_t looks; /* nodes looked at so far */
};

void ytree_freep(struct ytree **t)
{
	if (!*t)
		return;
	if ((*t)->has_doc)
		yaml_document_delete(&(*t)->doc);
	freep(t);
}

static int format_error(struct err *e, size_t line, const char *what)
{
	return err_set(e, ERR_FORMAT, "line %zu: %s", line, what);
}

static int load_document(yaml_parser_t *parser, yaml_document_t *ret, struct err *e)
{
	if (yaml_parser_load(parser, ret))
		return 0;
	if (parser->error == YAML_MEMORY_ERROR)
		return err_oom(e);
	return format_error(e, parser->problem_mark.line + 1,
			    parser->problem ? parser->problem : "this is no YAML");
}

/* Tags make programs build objects; data has only the plain ones. */
static int check_tags(struct ytree *t, struct err *e)
{
	static const char *const plain[] = {
		YAML_STR_TAG,  YAML_SEQ_TAG, YAML_MAP_TAG,   YAML_NULL_TAG,
		YAML_BOOL_TAG, YAML_INT_TAG, YAML_FLOAT_TAG, YAML_TIMESTAMP_TAG
	};

	for (int i = 1;; i++) {
		const yaml_node_t *n = yaml_document_get_node(&t->doc, i);
		bool known = false;

		if (!n)
			return 0;
		for (size_t p = 0; p < ARRAY_LEN(plain) && !known; p++)
			known = n->tag && strcmp((const char *)n->tag, plain[p]) == 0;
		if (!known)
			return format_error(e, n->start_mark.line + 1, "a tag has no place here");
	}
}

static int check_no_more(yaml_parser_t *parser, struct err *e)
{
	yaml_document_t next;
	int r = load_document(parser, &next, e);

	if (r < 0)
		return r;
	if (yaml_document_get_root_node(&next))
		r = format_error(e, next.start_mark.line + 1, "a second document begins");
	yaml_document_delete(&next);
	return r;
}

int ytree_parse(struct span text, struct ytree **ret, struct err *e)
{
	_cleanup_(ytree_freep) struct ytree *t = NULL;
	yaml_parser_t parser;
	int r;

	if (text.len > YTREE_TEXT_MAX)
		return err_set(e, ERR_TOO_LARGE, "larger than %zu bytes", YTREE_TEXT_MAX);
	t = calloc(1, sizeof(*t));
	if (!t || !yaml_parser_initialize(&parser))
		return err_oom(e);
	yaml_parser_set_input_string(&parser, (const unsigned char *)(text.p ? text.p : ""), text.len);
	r = load_document(&parser, &t->doc, e);
	t->has_doc = r == 0;
	if (r == 0)
		r = check_tags(t, e);
	if (r == 0 && yaml_document_get_root_node(&t->doc))
		r = check_no_more(&parser, e);
	yaml_parser_delete(&parser);
	if (r == 0)
		*ret = TAKE_PTR(t);
	return r;
}

static const yaml_node_t *look(struct ynode n)
{
	return n.index ? yaml_document_get_node(&n.tree->doc, n.index) : NULL;
}

static bool is_null(const yaml_node_t *n)
{
	static const char *const words[] = { "", "~", "null", "Null", "NULL" };

	if (n->type != YAML_SCALAR_NODE || n->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (n->data.scalar.length == strlen(words[i]) &&
		    memcmp(n->data.scalar.value, words[i], n->data.scalar.length) == 0)
			return true;
	return false;
}

static struct ynode node_at(struct ytree *t, int index)
{
	const yaml_node_t *n = yaml_document_get_node(&t->doc, index);

	return (struct ynode){ t, n && !is_null(n) ? index : 0 };
}

struct ynode ytree_root(struct ytree *t)
{
	return node_at(t, 1);
}

unsigned ynode_line(struct ynode n)
{
	const yaml_node_t *y = look(n);

	return y ? (unsigned)y->start_mark.line + 1 : 0;
}

int ynode_error(struct ynode n, struct err *e, const char *fmt, ...)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(1024);
	va_list ap;

	va_start(ap, fmt);
	(void)strbuf_vprintf(&text, fmt, ap);
	va_end(ap);
	return err_set(e, ERR_FORMAT, "line %u: %s", ynode_line(n), strbuf_str(&text));
}

/* Every child a check walks over counts, an alias's as often as it stands. */
static int count_looks(struct ynode n, size_t looks, struct err *e)
{
	n.tree->looks += looks + 1;
	return n.tree->looks > LOOKS_MAX ? err_set(e, ERR_TOO_LARGE, "line %u: too much data", ynode_line(n))
					 : 0;
}

static struct span scalar_of(const yaml_node_t *n)
{
	return (struct span){ (const char *)n->data.scalar.value, n->data.scalar.length };
}

static const char *known_key(const yaml_node_t *key, const char *const *known)
{
	for (; key && key->type == YAML_SCALAR_NODE && *known; known++)
		if (span_eq(scalar_of(key), *known))
			return *known;
	return NULL;
}

int ynode_check_map(struct ynode n, const char *const *known, struct err *e)
{
	const yaml_node_t *y = look(n);
	uint64_t seen = 0;
	size_t pairs;

	if (!y)
		return 0;
	if (y->type != YAML_MAPPING_NODE)
		return ynode_error(n, e, "a map was expected");
	pairs = (size_t)(y->data.mapping.pairs.top - y->data.mapping.pairs.start);
	for (size_t i = 0; i < pairs; i++) {
		struct ynode key = { n.tree, y->data.mapping.pairs.start[i].key };
		const char *name = known_key(look(key), known);
		size_t bit = 0;

		if (!name && look(key) && look(key)->type == YAML_SCALAR_NODE)
			return ynode_error(key, e, "\"" SPAN_FMT "\" is no known key",
					   SPAN_ARG(scalar_of(look(key))));
		if (!name)
			return ynode_error(key, e, "a key is no word");
		while (known[bit] != name)
			bit++;
		if (seen & (UINT64_C(1) << (bit & 63)))
			return ynode_error(key, e, "\"%s\" stands twice", name);
		seen |= UINT64_C(1) << (bit & 63);
	}
	return count_looks(n, pairs, e);
}

struct ynode ynode_get(struct ynode map, const char *key)
{
	const yaml_node_t *y = look(map);

	if (!y || y->type != YAML_MAPPING_NODE)
		return (struct ynode){ map.tree, 0 };
	for (const yaml_node_pair_t *p = y->data.mapping.pairs.start; p < y->data.mapping.pairs.top; p++) {
		const yaml_node_t *k = yaml_document_get_node(&map.tree->doc, p->key);

		if (k && k->type == YAML_SCALAR_NODE && span_eq(scalar_of(k), key))
			return node_at(map.tree, p->value);
	}
	return (struct ynode){ map.tree, 0 };
}

int ynode_check_list(struct ynode n, size_t *ret_n, struct err *e)
{
	const yaml_node_t *y = look(n);
	size_t items;

	if (!y) {
		*ret_n = 0;
		return 0;
	}
	if (y->type != YAML_SEQUENCE_NODE)
		return ynode_error(n, e, "a list was expected");
	items = (size_t)(y->data.sequence.items.top - y->data.sequence.items.start);
	*ret_n = items;
	return count_looks(n, items, e);
}

struct ynode ynode_item(struct ynode list, size_t i)
{
	const yaml_node_t *y = look(list);

	/* An item of a list is there even when it is null. */
	return (struct ynode){ list.tree, y ? y->data.sequence.items.start[i] : 0 };
}

int ynode_text(struct ynode n, const char **ret, struct err *e)
{
	const yaml_node_t *y = look(n);

	*ret = NULL;
	if (!y)
		return 0;
	if (y->type != YAML_SCALAR_NODE)
		return ynode_error(n, e, "a plain value was expected");
	if (strlen((const char *)y->data.scalar.value) != y->data.scalar.length)
		return ynode_error(n, e, "a value holds a NUL byte");
	*ret = (const char *)y->data.scalar.value;
	return 0;
}
