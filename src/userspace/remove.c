/* SPDX-License-Identifier: Apache-2.0 */
#include "install.h"

#include "path.h"
#include "record.h"

#include <string.h>

#define LOCK_WAIT_S 10

static const char *text_of(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key)) ?: "";
}

static bool is_userspace(const json_t *deployment)
{
	return strcmp(text_of(deployment, "state"), "applied") == 0 &&
	       strcmp(text_of(json_object_get(deployment, "meta"), "kind"), "userspace") == 0;
}

/* What a person changed since: undo leaves it alone, and we say so beforehand. */
static int list_kept(const struct host *h, json_t *report, struct err *e)
{
	json_t *record = NULL, *kept = json_array(), *file;
	size_t i;
	int r;

	if (!kept || json_object_set_new(report, "kept", kept) < 0)
		return err_oom(e);
	r = record_read(h->root_fd, &record, e);
	if (r <= 0)
		return r;
	r = json_object_set(report, "version", json_object_get(record, "version")) < 0 ? -ENOMEM : 0;
	json_array_foreach (json_object_get(record, "files"), i, file) {
		int state = r < 0 ? r : record_compare(h->root_fd, file);

		if (state < 0)
			r = state;
		else if (state != RECORD_SAME && state != RECORD_MISSING &&
			 json_array_append(kept, json_object_get(file, "path")) < 0)
			r = -ENOMEM;
	}
	json_decref(record);
	return r < 0 ? err_errno(e, r, "comparing the installation with its record") : 0;
}

/* Newest first. A foreign store, or one that is lost, knows no deployment; then there is nothing to go by. */
static int undo_all(const struct plan_state *st, const char *target, bool dry_run, struct strbuf *show,
		    unsigned *ret_n, struct err *e)
{
	json_t *history = NULL;
	unsigned n = 0;
	int r;

	r = plan_history(st, target, &history, e);
	for (size_t i = json_array_size(history); r >= 0 && i > 0; i--) {
		const json_t *d = json_array_get(history, i - 1);

		if (!is_userspace(d))
			continue;
		r = plan_undo(st, target, text_of(d, "id"), true, dry_run, show, e);
		n++;
	}
	json_decref(history);
	*ret_n = n;
	return r;
}

int userspace_remove(const struct host *h, const struct plan_state *st, bool dry_run, json_t *report,
		     struct strbuf *show, struct err *e)
{
	_cleanup_(lock_release) struct lock claim = LOCK_INIT;
	_cleanup_free_ char *target = NULL;
	unsigned n = 0;
	int r;

	r = userspace_target_name(h, &target, e);
	/* What another run put on top meanwhile would stay behind. */
	if (r >= 0 && !dry_run)
		r = plan_target_claim(st, target, false, LOCK_WAIT_S, &claim, e);
	if (r == -ERR_UNDO_NOTHING)
		r = 0;
	if (r >= 0)
		r = list_kept(h, report, e);
	if (r >= 0)
		r = undo_all(st, target, dry_run, show, &n, e);
	if (r < 0)
		return r;
	if (json_object_set_new(report, "deployments", json_integer(n)) < 0)
		return err_oom(e);
	if (!n && path_exists(h->root_fd, USERSPACE_RECORD)) {
		(void)err_set(e, ERR_INSTALL_NOT_FOUND, "%s was installed from another store", h->root);
		return err_next(e, "name that store with --store");
	}
	return n > 0;
}
