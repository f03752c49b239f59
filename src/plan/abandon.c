/* SPDX-License-Identifier: Apache-2.0
 *
 * Targets whose root no longer exists: a container that was deleted, a directory that was. Their deployments can
 * never be undone, and yet keep everything they mention. */
#include "journal.h"

#include "livedir.h"

#include <string.h>
#include <sys/stat.h>

static int root_require_gone(const char *target, const char *root, struct err *e)
{
	struct stat st;

	if (stat(root, &st) < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	(void)err_set(e, ERR_TARGET_EXISTS, "what was done to %s can still be undone", root);
	return err_object(e, "%s", target);
}

/* How many deployments there are, all into roots that are gone. */
static int deployments_check(const struct plan_state *st, const char *target, struct err *e)
{
	json_auto_t *list = NULL;
	const json_t *item;
	size_t i;
	int r, n = 0;

	r = plan_history(st, target, &list, e);
	json_array_foreach (list, i, item) {
		if (r < 0 || strcmp(json_text(item, "state"), "applied") != 0)
			continue;
		r = root_require_gone(target, json_text(item, "root"), e);
		n++;
	}
	return r < 0 ? r : n;
}

static int journal_drop(const struct plan_state *st, const char *id, const char *target, bool dry_run,
			struct err *e)
{
	_cleanup_(journal_done) struct journal j = JOURNAL_INIT;
	int fd = livedir_claim(st->journal_fd, id), r;

	if (fd == -EAGAIN || fd == -ENOENT)
		return 0; /* another target's: this one is locked */
	if (fd < 0)
		return err_errno(e, fd, "cannot open the journal %s", id);
	r = journal_load(fd, id, &j, e);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (strcmp(j.plan->target, target) != 0)
		return 0;
	r = root_require_gone(target, json_text(j.head, "root"), e);
	return r < 0 || dry_run ? r : journal_remove(st, &j, e);
}

int plan_target_abandon(const struct plan_state *st, const char *target, bool dry_run, struct lock *ret_lock,
			struct err *e)
{
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	_cleanup_close_ int target_fd = -EBADF;
	_cleanup_strv_ char **ids = NULL;
	int r;

	if (!name_is_safe(target) || target[0] == '.')
		return err_set(e, ERR_UNDO_NOTHING, "%s is no target", target);
	target_fd = target_open(st, target, false, e);
	r = target_fd < 0 ? target_fd : target_lock(target_fd, target, 10, &lock, e);
	if (r >= 0)
		r = deployments_check(st, target, e);
	if (r < 0)
		return r;
	r = livedir_list(st->journal_fd, &ids);
	if (r < 0)
		return err_errno(e, r, "cannot read the journals");
	for (char **id = ids; r >= 0 && id && *id; id++)
		if (journal_id_is_valid(*id))
			r = journal_drop(st, *id, target, dry_run, e);
	if (r < 0)
		return r;
	*ret_lock = lock;
	lock = (struct lock)LOCK_INIT;
	return 0;
}

int plan_targets_gone(const struct plan_state *st, json_t **ret_names, struct err *e)
{
	_cleanup_strv_ char **targets = NULL;
	json_auto_t *names = json_array();
	int r;

	r = names ? livedir_list(st->targets_fd, &targets) : -ENOMEM;
	if (r < 0)
		return err_errno(e, r, "cannot read the targets");
	for (char **name = targets; name && *name; name++) {
		r = deployments_check(st, *name, NULL);
		if (r == -ERR_TARGET_EXISTS || r == 0)
			continue;
		if (r < 0)
			return err_errno(e, r, "cannot read the history of target %s", *name);
		if (json_array_append_new(names, json_string(*name)) < 0)
			return err_oom(e);
	}
	*ret_names = json_incref(names);
	return 0;
}
