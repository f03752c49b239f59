/* SPDX-License-Identifier: Apache-2.0
 *
 * Taking a finished deployment back. Its directory goes from history/ to journal/ again, so that an interrupted
 * undo is an interrupted transaction like any other; the line "undo" says which way it has to end. */
#include "journal.h"

#include "jutil.h"
#include "livedir.h"
#include "log.h"
#include "publish.h"

#include <string.h>

static int changed_list(const struct journal *j, const struct host *host, json_t *list, struct err *e)
{
	for (size_t i = 0; i < j->plan->n_ops; i++) {
		const struct op *op = &j->plan->ops[i];
		struct plan_ctx c = journal_ctx(j, host, i);
		json_auto_t *undo = NULL;
		int r;

		if (op->already || !op->type->changed)
			continue;
		r = journal_undo_data(j, i, &undo, e);
		if (r >= 0)
			r = op->type->changed(&c, op->args, undo, list, e);
		if (r < 0)
			return err_wrap(e, "%s", op->sentence);
	}
	return 0;
}

static int changed_refuse(const json_t *list, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf names = STRBUF_INIT(4096);
	const json_t *name;
	size_t i;

	json_array_foreach (list, i, name)
		if (strbuf_printf(&names, "%s%s", i ? ", " : "", json_string_value(name)) < 0)
			break;
	(void)err_set(e, ERR_UNDO_CHANGED, "changed since then: %s", strbuf_str(&names));
	return err_object(e, "%s", json_string_value(json_array_get(list, 0)));
}

static int show_undo(const struct journal *j, const json_t *changed, struct strbuf *out)
{
	const json_t *name;
	size_t i;

	(void)strbuf_printf(out, "undo: %s\n", j->plan->title);
	for (i = j->plan->n_ops; i > 0; i--)
		if (!j->plan->ops[i - 1].already)
			(void)strbuf_printf(out, "take back: %s\n", j->plan->ops[i - 1].sentence);
	json_array_foreach (changed, i, name)
		(void)strbuf_printf(out, "changed since, left as it is: %s\n", json_string_value(name));
	return strbuf_error(out);
}

/* The newest applied deployment. */
static int newest(const struct plan_state *st, const char *target, char **ret, struct err *e)
{
	json_auto_t *list = NULL;
	int r;

	r = plan_history(st, target, &list, e);
	if (r < 0)
		return r;
	for (size_t i = json_array_size(list); i > 0; i--) {
		const json_t *d = json_array_get(list, i - 1);

		if (strcmp(json_text(d, "state"), "applied") != 0)
			continue;
		*ret = strdup(json_text(d, "id"));
		return *ret ? 0 : err_oom(e);
	}
	return err_set(e, ERR_UNDO_NOTHING, "the target %s has no deployment", target);
}

int undone_write(int target_fd, const struct journal *j, struct err *e)
{
	_cleanup_close_ int dir = target_dir(target_fd, "undone", e);
	json_auto_t *record = json_object();
	_cleanup_free_ char *text = NULL, *name = str_printf("%s.json", j->id);
	int r;

	if (dir < 0)
		return dir;
	for (const char *const *key = (const char *const[]){ "title", "sequence", "time", "meta", NULL };
	     *key; key++)
		if (json_object_set(record, *key, json_object_get(j->head, *key)) < 0)
			return err_oom(e);
	r = name ? jdump(record, &text) : -ENOMEM;
	if (r >= 0)
		r = publish_bytes(dir, name, text, strlen(text), 0644);
	return r < 0 ? err_errno(e, r, "cannot write the record of an undone deployment") : 0;
}

static int undo_run(const struct plan_state *st, int target_fd, int history, struct journal *j,
		    const struct host *host, struct err *e)
{
	int r;

	r = publish_rename(history, j->id, st->journal_fd, j->id, false);
	if (r < 0)
		return err_errno(e, r, "cannot reopen the deployment %s", j->id);
	r = journal_say(j, e, "undo\n");
	if (r >= 0)
		r = journal_take_back(j, host, e);
	if (r >= 0)
		r = undone_write(target_fd, j, e);
	return r < 0 ? r : journal_remove(st, j, e);
}

static int deployment_load(int history, const char *target, const char *txid, struct journal *ret,
			   struct err *e)
{
	int fd, r;

	fd = journal_id_is_valid(txid) ? livedir_claim(history, txid) : -ENOENT;
	if (fd == -ENOENT)
		return err_set(e, ERR_UNDO_NOTHING, "the target %s has no deployment %s", target, txid);
	if (fd < 0)
		return err_errno(e, fd, "cannot open the deployment %s", txid);
	r = journal_load(fd, txid, ret, e);
	return r == -ENOENT ? err_set(e, ERR_JOURNAL_DAMAGED, "the deployment %s has no plan", txid) : r;
}

int plan_undo(const struct plan_state *st, const char *target, const char *txid, bool force, bool dry_run,
	      struct strbuf *show, struct err *e)
{
	_cleanup_(journal_done) struct journal j = JOURNAL_INIT;
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	_cleanup_(host_freep) struct host *host = NULL;
	_cleanup_close_ int target_fd = -EBADF, history = -EBADF;
	_cleanup_free_ char *found = NULL;
	json_auto_t *changed = json_array();
	int r;

	if (!changed)
		return err_oom(e);
	if (!name_is_safe(target) || target[0] == '.')
		return err_set(e, ERR_UNDO_NOTHING, "%s is no target", target);
	target_fd = target_open(st, target, false, e);
	r = target_fd < 0 ? target_fd : target_lock(target_fd, target, 10, &lock, e);
	if (r >= 0)
		r = target_recover(st, target, e);
	if (r >= 0 && !txid)
		r = newest(st, target, &found, e);
	if (r < 0)
		return r;
	history = target_dir(target_fd, "history", e);
	r = history < 0 ? history : deployment_load(history, target, txid ? txid : found, &j, e);
	if (r >= 0)
		r = host_open(json_text(j.head, "root"), &host, e);
	if (r >= 0)
		r = changed_list(&j, host, changed, e);
	if (r >= 0 && show)
		r = show_undo(&j, changed, show);
	if (r < 0 || dry_run)
		return r;
	if (json_array_size(changed) && !force)
		return changed_refuse(changed, e);
	r = undo_run(st, target_fd, history, &j, host, e);
	if (r >= 0)
		return 0;
	(void)err_next(e, "run: nvdriver recover (it finishes what was begun)");
	return err_wrap(e, "undo of \"%s\"", j.plan->title);
}
