/* SPDX-License-Identifier: Apache-2.0
 *
 * Targets, and what a dead run left in their journals. */
#include "journal.h"

#include "fd.h"
#include "livedir.h"
#include "log.h"
#include "publish.h"
#include "tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

int target_open(const struct plan_state *st, const char *target, bool create, struct err *e)
{
	int fd;

	/* Synced also when it was there: whoever made it may have been killed before its sync. */
	if (create &&
	    ((mkdirat(st->targets_fd, target, 0755) < 0 && errno != EEXIST) || fsync(st->targets_fd) < 0))
		return err_errno(e, -errno, "cannot create the record of target %s", target);
	fd = dir_open_at(st->targets_fd, target);
	if (fd == -ENOENT)
		return err_set(e, ERR_UNDO_NOTHING, "nothing was ever installed into the target %s", target);
	return fd < 0 ? err_errno(e, fd, "cannot open the record of target %s", target) : fd;
}

int target_dir(int target_fd, const char *name, struct err *e)
{
	int fd;

	if ((mkdirat(target_fd, name, 0700) < 0 && errno != EEXIST) || fsync(target_fd) < 0)
		return err_errno(e, -errno, "cannot create the directory %s of a target", name);
	fd = dir_open_at(target_fd, name);
	return fd < 0 ? err_errno(e, fd, "cannot open the directory %s of a target", name) : fd;
}

static int lock_take(int target_fd, const char *name, const char *target, unsigned timeout_s,
		     struct lock *ret, struct err *e)
{
	int r = lock_file_at(target_fd, name, timeout_s > INT32_MAX / 1000 ? -1 : (int)timeout_s * 1000, ret);

	if (r == -EAGAIN) {
		(void)err_set(e, ERR_LOCKED, "another run is changing the target %s", target);
		return err_object(e, "%s", target);
	}
	return r < 0 ? err_errno(e, r, "cannot lock the target %s", target) : 0;
}

int target_lock(int target_fd, const char *target, unsigned timeout_s, struct lock *ret, struct err *e)
{
	return lock_take(target_fd, "lock", target, timeout_s, ret, e);
}

int plan_target_claim(const struct plan_state *st, const char *target, bool create, unsigned timeout_s,
		      struct lock *ret, struct err *e)
{
	_cleanup_close_ int fd = target_open(st, target, create, e);

	return fd < 0 ? fd : lock_take(fd, "claim", target, timeout_s, ret, e);
}

static int undone_record(const struct plan_state *st, const struct journal *j, struct err *e)
{
	_cleanup_close_ int target = target_open(st, j->plan->target, true, e);

	return target < 0 ? target : undone_write(target, j, e);
}

/* One journal that is ours now: finished when it was committed, else taken back. */
static int settle(const struct plan_state *st, struct journal *j, struct err *e)
{
	_cleanup_(host_freep) struct host *host = NULL;
	const char *root = json_text(j->head, "root");
	int r;

	if (j->log.committed && !j->log.undoing)
		return journal_finish(st, j, e);
	r = root[0] == '/' ? host_open(root, &host, e)
			   : err_set(e, ERR_JOURNAL_DAMAGED, "journal %s names no root", j->id);
	if (r >= 0)
		r = journal_take_back(j, host, e);
	if (r >= 0 && j->log.undoing)
		r = undone_record(st, j, e);
	if (r >= 0)
		r = journal_remove(st, j, e);
	if (r >= 0)
		log_warn("took back an interrupted run: %s", j->plan->title);
	return r;
}

/* A journal that never got its plan has done nothing. */
static int drop_empty(const struct plan_state *st, const char *id, struct err *e)
{
	int r = tree_remove(st->journal_fd, id);

	return r < 0 ? err_errno(e, r, "cannot remove the journal %s", id) : 1;
}

/* The target a journal is about, in `j` if it can be taken over: 1, or 0 when there is nothing (more) to do. */
static int claim(const struct plan_state *st, const char *id, struct journal *j, struct err *e)
{
	int fd = livedir_claim(st->journal_fd, id), r;

	if (fd == -EAGAIN || fd == -ENOENT)
		return 0;
	if (fd < 0)
		return err_errno(e, fd, "cannot open the journal %s", id);
	r = journal_load(fd, id, j, e);
	return r < 0 ? r : 1;
}

static int recover_one(const struct plan_state *st, const char *id, const char *target, struct err *e)
{
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	_cleanup_(journal_done) struct journal peek = JOURNAL_INIT, j = JOURNAL_INIT;
	_cleanup_close_ int target_fd = -EBADF;
	int r;

	r = claim(st, id, &peek, e);
	if (r == -ENOENT)
		return target ? 0 : drop_empty(st, id, e);
	if (r <= 0)
		return r;
	if (target)
		return strcmp(peek.plan->target, target) != 0 ? 0 : (r = settle(st, &peek, e)) < 0 ? r : 1;
	/* The target's lock comes before the journal. Whoever holds it looks after the target's journals itself. */
	target_fd = target_open(st, peek.plan->target, true, e);
	if (target_fd < 0)
		return target_fd;
	journal_done(&peek);
	peek = (struct journal)JOURNAL_INIT;
	r = lock_file_at(target_fd, "lock", 0, &lock);
	if (r < 0)
		return r == -EAGAIN ? 0 : err_errno(e, r, "cannot lock a target");
	r = claim(st, id, &j, e);
	if (r <= 0)
		return r == -ENOENT ? 0 : r;
	r = settle(st, &j, e);
	return r < 0 ? r : 1;
}

static int stuck(const char *id, const struct err *why, struct err *e)
{
	(void)err_set(e, ERR_JOURNAL_STUCK, "journal %s: %s", id, why->reason ? why->reason : "?");
	return err_next(
	    e,
	    "remove the cause, then run: nvdriver recover; if what it was about is gone for good, "
	    "remove the directory journal/%s of the store",
	    id);
}

static int recover_all(const struct plan_state *st, const char *target, struct err *e)
{
	_cleanup_strv_ char **ids = NULL;
	int r, n = 0;

	r = livedir_list(st->journal_fd, &ids);
	if (r < 0)
		return err_errno(e, r, "cannot read the journals");
	for (char **id = ids; id && *id; id++) {
		_cleanup_(err_done) struct err own = ERR_INIT;

		if (!journal_id_is_valid(*id))
			continue;
		r = recover_one(st, *id, target, &own);
		if (r >= 0) {
			n += r;
			continue;
		}
		if (target && (r == -ENOMEM || journal_concerns(st, *id, target)))
			return stuck(*id, &own, e);
		log_warn("journal %s cannot be taken back: %s", *id, own.reason ? own.reason : "?");
	}
	return n;
}

int target_recover(const struct plan_state *st, const char *target, struct err *e)
{
	return recover_all(st, target, e);
}

/* Temporaries a run killed while it wrote a target's own records left behind. */
static int target_sweep(const struct plan_state *st, const char *target)
{
	_cleanup_close_ int fd = dir_open_at(st->targets_fd, target), undone = -EBADF;
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	int n, m = 0;

	if (fd < 0 || lock_file_at(fd, "lock", 0, &lock) < 0)
		return 0;
	n = publish_sweep(fd);
	undone = dir_open_at(fd, "undone");
	if (undone >= 0)
		m = publish_sweep(undone);
	return n < 0 ? n : m < 0 ? m : n + m;
}

int plan_recover(const struct plan_state *st, struct err *e)
{
	_cleanup_strv_ char **targets = NULL;
	int r, n;

	n = recover_all(st, NULL, e);
	if (n < 0)
		return n;
	r = livedir_list(st->targets_fd, &targets);
	for (char **name = targets; r >= 0 && name && *name; name++) {
		r = target_sweep(st, *name);
		n += r > 0 ? r : 0;
	}
	return r < 0 ? err_errno(e, r, "cannot clean the records of targets") : n;
}
