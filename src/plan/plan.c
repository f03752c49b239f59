/* SPDX-License-Identifier: Apache-2.0
 *
 * Plans as data: made, checked, shown, written to JSON and read back. */
#include "journal.h"

#include "jutil.h"
#include "parse.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define OPS_MAX	  1000
#define TYPES_MAX 64

static const struct op_type *types[TYPES_MAX] = { &op_files, &op_edit, &op_command };

int op_type_register(const struct op_type *type)
{
	for (size_t i = 0; i < TYPES_MAX; i++) {
		if (types[i] && strcmp(types[i]->name, type->name) == 0)
			return types[i] == type ? 0 : -EEXIST;
		if (!types[i]) {
			types[i] = type;
			return 0;
		}
	}
	return -ENOSPC;
}

const struct op_type *op_type_find(const char *name)
{
	for (size_t i = 0; i < TYPES_MAX && types[i]; i++)
		if (strcmp(types[i]->name, name) == 0)
			return types[i];
	return NULL;
}

int plan_new(const char *title, const char *target, struct plan **ret)
{
	_cleanup_(plan_freep) struct plan *p = NULL;

	if (!name_is_safe(target) || target[0] == '.')
		return -EINVAL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->title = strdup(title);
	p->target = strdup(target);
	p->meta = json_object();
	if (!p->title || !p->target || !p->meta)
		return -ENOMEM;
	*ret = TAKE_PTR(p);
	return 0;
}

void plan_freep(struct plan **pp)
{
	struct plan *p = *pp;

	if (!p)
		return;
	for (size_t i = 0; i < p->n_ops; i++) {
		json_decref(p->ops[i].args);
		free(p->ops[i].sentence);
	}
	free(p->ops);
	free(p->title);
	free(p->target);
	json_decref(p->meta);
	freep(pp);
}

/* Takes args and sentence whatever it answers. */
static int op_add(struct plan *p, const struct op_type *type, json_t *args, char *sentence)
{
	struct op *ops = NULL;

	if (p->n_ops < OPS_MAX && args && sentence)
		ops = reallocarray(p->ops, p->n_ops + 1, sizeof(*ops));
	if (!ops) {
		json_decref(args);
		free(sentence);
		return p->n_ops < OPS_MAX ? -ENOMEM : -E2BIG;
	}
	p->ops = ops;
	p->ops[p->n_ops++] = (struct op){ .type = type, .args = args, .sentence = sentence };
	return 0;
}

int plan_add(struct plan *p, const struct op_type *type, json_t *args, const char *sentence_fmt, ...)
{
	char *sentence;
	va_list ap;

	va_start(ap, sentence_fmt);
	sentence = str_vprintf(sentence_fmt, ap);
	va_end(ap);
	return op_add(p, type, args, sentence);
}

static int op_check(struct op *op, const struct plan_ctx *c, struct err *e)
{
	int r = op->type->check(c, op->args, e);

	if (r < 0)
		return err_wrap(e, "%s", op->sentence);
	op->already = r > 0;
	return r;
}

int plan_check(struct plan *p, const struct host *host, struct err *e)
{
	struct plan_ctx c = { .host = host, .undo_fd = -EBADF, .log_fd = -EBADF };
	bool all = true, any = false;

	for (size_t i = 0; i < p->n_ops; i++) {
		int r;

		if (!p->ops[i].type->check)
			continue;
		c.index = (unsigned)i;
		r = op_check(&p->ops[i], &c, e);
		if (r < 0)
			return r;
		any = true;
		all &= r > 0;
	}
	/* What cannot be looked at (a command) serves the rest: with nothing else to do there is no reason for it. */
	for (size_t i = 0; i < p->n_ops; i++)
		if (!p->ops[i].type->check)
			p->ops[i].already = any && all;
	return p->n_ops == 0 || (any && all);
}

int plan_to_json(const struct plan *p, json_t **ret)
{
	json_auto_t *ops = json_array(), *plan = NULL;

	for (size_t i = 0; i < p->n_ops; i++)
		if (json_array_append_new(ops, json_pack("{s:s, s:s, s:O, s:b}", "type", p->ops[i].type->name,
							 "sentence", p->ops[i].sentence, "args",
							 p->ops[i].args, "already", (int)p->ops[i].already)) <
		    0)
			return -ENOMEM;
	plan = ops ? json_pack("{s:s, s:s, s:O, s:O}", "title", p->title, "target", p->target, "meta",
			       p->meta, "operations", ops)
		   : NULL;
	if (!plan)
		return -ENOMEM;
	*ret = json_incref(plan);
	return 0;
}

int plan_to_text(const struct plan *p, const struct host *host, struct strbuf *out)
{
	struct plan_ctx c = { .host = host, .undo_fd = -EBADF, .log_fd = -EBADF };
	int r = strbuf_printf(out, "%s:\n", p->title);

	for (size_t i = 0; r >= 0 && i < p->n_ops; i++) {
		const struct op *op = &p->ops[i];

		c.index = (unsigned)i;
		r = strbuf_printf(out, "%zu. %s%s\n", i + 1, op->sentence,
				  op->already ? " (done already)" : "");
		if (r >= 0 && !op->already && op->type->show)
			r = op->type->show(&c, op->args, out);
	}
	return r;
}

static int op_from_json(struct plan *p, const json_t *j, struct err *e)
{
	const char *type_name = json_text(j, "type"),
		   *sentence = json_string_value(json_object_get(j, "sentence"));
	const struct op_type *type = op_type_find(type_name);
	json_t *args = json_object_get(j, "args");
	int r;

	if (!type || !sentence || !json_is_object(args))
		return err_set(e, ERR_JOURNAL_DAMAGED,
			       "a plan holds an operation \"%.64s\" that is not known", type_name);
	r = op_add(p, type, json_incref(args), strdup(sentence));
	if (r < 0)
		return err_errno(e, r, "cannot read a plan");
	p->ops[p->n_ops - 1].already = json_is_true(json_object_get(j, "already"));
	return 0;
}

int plan_from_json(const json_t *j, struct plan **ret, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	json_t *ops = json_object_get(j, "operations"), *meta = json_object_get(j, "meta"), *op;
	size_t i;
	int r;

	r = plan_new(json_text(j, "title"), json_text(j, "target"), &p);
	if (r == -EINVAL || (r >= 0 && (!json_is_array(ops) || !json_is_object(meta))))
		return err_set(e, ERR_JOURNAL_DAMAGED, "a plan lacks its target, its operations or its data");
	if (r < 0)
		return err_oom(e);
	json_decref(p->meta);
	p->meta = json_incref(meta);
	json_array_foreach (ops, i, op) {
		r = op_from_json(p, op, e);
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(p);
	return 0;
}

int plan_parse(const char *text, size_t len, struct plan **ret, struct err *e)
{
	json_error_t where;
	json_auto_t *j = NULL;
	int r = jloadb((struct span){ text, len }, &j, &where);

	if (r == -ENOMEM)
		return err_oom(e);
	if (r < 0)
		return err_set(e, ERR_JOURNAL_DAMAGED, "line %d of the plan: %s", where.line, where.text);
	return plan_from_json(j, ret, e);
}
