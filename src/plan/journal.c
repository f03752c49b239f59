/* SPDX-License-Identifier: Apache-2.0 */
#include "journal.h"

#include "fd.h"
#include "interrupt.h"
#include "jutil.h"
#include "livedir.h"
#include "log.h"
#include "publish.h"
#include "tree.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PLAN_SIZE_MAX ((size_t)256 << 20)
#define LOG_SIZE_MAX  ((size_t)1 << 20)

void journal_done(struct journal *j)
{
	close_fdp(&j->dir_fd);
	plan_freep(&j->plan);
	json_decref(j->head);
	j->head = NULL;
}

bool journal_id_is_valid(const char *id)
{
	return strlen(id) == 16 && strspn(id, "0123456789abcdef") == 16;
}

/* -- the log -- */

static bool parse_step(struct span line, const char *word, size_t *ret)
{
	size_t len = strlen(word);
	uint64_t n;

	if (line.len <= len || memcmp(line.p, word, len) != 0 ||
	    parse_u64((struct span){ line.p + len, line.len - len }, 1000000, &n) < 0)
		return false;
	*ret = (size_t)n + 1;
	return true;
}

static bool parse_target(struct span line, char out[256])
{
	static const char word[] = "target ";
	size_t len = strlen(word);

	if (line.len <= len || line.len - len >= 256 || memcmp(line.p, word, len) != 0)
		return false;
	memcpy(out, line.p + len, line.len - len);
	out[line.len - len] = '\0';
	return name_is_safe(out);
}

int journal_log_parse(const char *text, size_t len, struct journal_log *ret)
{
	struct journal_log log = { 0 };
	struct span line, rest = { text, len };

	/* A line without its end was being written when everything stopped: as if it were not there. */
	while (rest.len && rest.p[rest.len - 1] != '\n')
		rest.len--;
	while (span_line(&rest, &line)) {
		if (parse_step(line, "begin ", &log.begun) || parse_step(line, "done ", &log.done) ||
		    parse_target(line, log.target))
			continue;
		if (span_eq(line, "commit"))
			log.committed = true;
		else if (span_eq(line, "undo"))
			log.undoing = true;
		else
			return -EINVAL;
	}
	if (log.done > log.begun)
		return -EINVAL;
	*ret = log;
	return 0;
}

int journal_say(struct journal *j, struct err *e, const char *fmt, ...)
{
	_cleanup_close_ int fd = openat(j->dir_fd, "log", O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
	char line[64];
	va_list ap;
	int n, r;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(line))
		return err_set(e, -EINVAL, "a journal line is too long");
	r = fd < 0 ? -errno : write_all(fd, line, (size_t)n);
	if (r >= 0 && fsync(fd) < 0)
		r = -errno;
	return r < 0 ? err_errno(e, r, "cannot write the journal") : 0;
}

/* -- create and load -- */

static int root_path(const struct host *host, char **ret)
{
	char self[64], path[PATH_MAX];
	ssize_t n;

	/* The path as the kernel knows it: the one given may be relative to a directory nobody will be in later. */
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", host->root_fd);
	n = readlink(self, path, sizeof(path));
	if (n < 0 || n == sizeof(path))
		return n < 0 ? -errno : -ENAMETOOLONG;
	*ret = strndup(path, (size_t)n);
	return *ret ? 0 : -ENOMEM;
}

static void now_text(char out[32])
{
	time_t now = time(NULL);
	struct tm tm;

	(void)strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
}

static int head_make(const struct plan *plan, const struct host *host, json_int_t sequence, json_t **ret,
		     struct err *e)
{
	_cleanup_free_ char *root = NULL;
	json_auto_t *head = NULL;
	char now[32];
	int r;

	r = root_path(host, &root);
	if (r < 0)
		return err_errno(e, r, "cannot tell the path of the root %s", host->root);
	now_text(now);
	if (plan_to_json(plan, &head) < 0 || json_object_set_new(head, "root", json_string(root)) < 0 ||
	    json_object_set_new(head, "sequence", json_integer(sequence)) < 0 ||
	    json_object_set_new(head, "time", json_string(now)) < 0)
		return err_oom(e);
	*ret = json_incref(head);
	return 0;
}

static int json_publish(int dirfd, const char *name, const json_t *j, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	int r;

	r = jdump(j, &text);
	if (r >= 0)
		r = publish_bytes(dirfd, name, text, strlen(text), 0600);
	return r < 0 ? err_errno(e, r, "cannot write %s of the journal", name) : 0;
}

int journal_create(const struct plan_state *st, const struct plan *plan, const struct host *host,
		   json_int_t sequence, struct journal *ret, struct err *e)
{
	_cleanup_(journal_done) struct journal j = JOURNAL_INIT;
	_cleanup_free_ char *first = NULL;
	char random[64];
	int r;

	r = head_make(plan, host, sequence, &j.head, e);
	if (r < 0)
		return r;
	r = plan_from_json(j.head, &j.plan, e);
	if (r < 0)
		return r;
	r = tmpname_random(random, sizeof(random));
	if (r >= 0) {
		(void)snprintf(j.id, sizeof(j.id), "%.16s", random + strlen(PUBLISH_TMP_PREFIX));
		j.dir_fd = livedir_create(st->journal_fd, j.id);
		r = j.dir_fd;
	}
	if (r >= 0 && fsync(st->journal_fd) < 0)
		r = -errno;
	first = str_printf("target %s\n", plan->target);
	if (r >= 0)
		r = first ? publish_bytes(j.dir_fd, "log", first, strlen(first), 0600) : -ENOMEM;
	r = r < 0 ? err_errno(e, r, "cannot create a journal")
		  : json_publish(j.dir_fd, "plan.json", j.head, e);
	if (r < 0) {
		if (j.dir_fd >= 0)
			(void)journal_remove(st, &j, NULL);
		return r;
	}
	*ret = j;
	j = (struct journal)JOURNAL_INIT;
	return 0;
}

static int json_load(int dirfd, const char *name, json_t **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	json_error_t where;
	size_t len;
	int r;

	r = read_file_at(dirfd, name, PLAN_SIZE_MAX, &text, &len);
	if (r == -ENOENT)
		return r;
	if (r < 0)
		return err_errno(e, r, "cannot read %s of a journal", name);
	r = jloadb((struct span){ text, len }, ret, &where);
	if (r == -ENOMEM)
		return err_oom(e);
	return r < 0 ? err_set(e, ERR_JOURNAL_DAMAGED, "%s, line %d: %s", name, where.line, where.text) : 0;
}

static int log_load(struct journal *j, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	r = read_file_at(j->dir_fd, "log", LOG_SIZE_MAX, &text, &len);
	if (r >= 0)
		r = journal_log_parse(text, len, &j->log);
	if (r >= 0 && j->log.begun > j->plan->n_ops)
		r = -EINVAL;
	return r < 0 ? err_set(e, ERR_JOURNAL_DAMAGED, "the log of a journal cannot be read") : 0;
}

bool journal_concerns(const struct plan_state *st, const char *id, const char *target)
{
	_cleanup_close_ int dir = dir_open_at(st->journal_fd, id);
	_cleanup_free_ char *text = NULL;
	struct journal_log log;
	size_t len;

	return dir >= 0 && read_file_at(dir, "log", LOG_SIZE_MAX, &text, &len) >= 0 &&
	       journal_log_parse(text, len, &log) >= 0 && strcmp(log.target, target) == 0;
}

int journal_load(int dir_fd, const char *id, struct journal *ret, struct err *e)
{
	_cleanup_(journal_done) struct journal j = JOURNAL_INIT;
	int r;

	j.dir_fd = dir_fd;
	(void)snprintf(j.id, sizeof(j.id), "%.16s", id);
	r = json_load(dir_fd, "plan.json", &j.head, e);
	if (r == -ENOENT)
		return r;
	if (r >= 0)
		r = plan_from_json(j.head, &j.plan, e);
	if (r >= 0)
		r = log_load(&j, e);
	if (r < 0) {
		(void)err_object(e, "%s", id);
		return err_wrap(e, "journal %s", id);
	}
	*ret = j;
	j = (struct journal)JOURNAL_INIT;
	return 0;
}

/* -- operations -- */

struct plan_ctx journal_ctx(const struct journal *j, const struct host *host, size_t index)
{
	return (struct plan_ctx){
		.host = host,
		.undo_fd = j->dir_fd,
		.txid = j->id,
		.index = (unsigned)index,
		.log_fd = -EBADF,
	};
}

static int undo_name(size_t index, char out[32])
{
	return snprintf(out, 32, "undo-%zu.json", index) < 32 ? 0 : -ENAMETOOLONG;
}

int journal_undo_data(const struct journal *j, size_t index, json_t **ret, struct err *e)
{
	char name[32];
	int r;

	r = undo_name(index, name);
	if (r >= 0)
		r = json_load(j->dir_fd, name, ret, e);
	return r == -ENOENT ? err_set(e, ERR_JOURNAL_DAMAGED, "journal %s lacks %s", j->id, name) : r;
}

static int op_undo(const struct journal *j, const struct host *host, size_t i, int log_fd, struct err *e)
{
	const struct op *op = &j->plan->ops[i];
	struct plan_ctx c = journal_ctx(j, host, i);
	json_auto_t *undo = NULL;
	int r;

	if (op->already || !op->type->undo)
		return 0;
	c.log_fd = log_fd;
	r = journal_undo_data(j, i, &undo, e);
	if (r >= 0)
		r = op->type->undo(&c, op->args, undo, e);
	return r < 0 ? err_wrap(e, "taking back: %s", op->sentence) : 0;
}

static int output_open(const struct journal *j)
{
	return openat(j->dir_fd, "output.log", O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
}

int journal_take_back(const struct journal *j, const struct host *host, struct err *e)
{
	_cleanup_close_ int log_fd = output_open(j);

	for (size_t i = j->log.begun; i > 0; i--) {
		int r = op_undo(j, host, i - 1, log_fd, e);

		if (r < 0)
			return r;
	}
	return 0;
}

int journal_remove(const struct plan_state *st, struct journal *j, struct err *e)
{
	int r;

	/* Without plan.json a journal is an empty word, so it goes first and surely. */
	r = publish_unlink(j->dir_fd, "plan.json");
	if (r >= 0)
		r = tree_remove(st->journal_fd, j->id);
	return r < 0 ? err_errno(e, r, "cannot remove the journal %s", j->id) : 0;
}

int journal_finish(const struct plan_state *st, struct journal *j, struct err *e)
{
	_cleanup_close_ int target = target_open(st, j->plan->target, true, e), history = -EBADF;
	int r;

	if (target < 0)
		return target;
	history = target_dir(target, "history", e);
	if (history < 0)
		return history;
	r = publish_rename(st->journal_fd, j->id, history, j->id, false);
	return r < 0 ? err_errno(e, r, "cannot file the journal %s", j->id) : 0;
}

static int op_apply(struct journal *j, const struct host *host, size_t i, int log_fd, struct err *e)
{
	const struct op *op = &j->plan->ops[i];
	struct plan_ctx c = journal_ctx(j, host, i);
	json_auto_t *undo = NULL;
	char name[32];
	int r;

	r = interrupt_check(e);
	if (r < 0)
		return r;
	c.log_fd = log_fd;
	r = op->type->stage(&c, op->args, &undo, e);
	if (r >= 0)
		r = undo_name(i, name);
	if (r >= 0)
		r = json_publish(j->dir_fd, name, undo, e);
	if (r >= 0)
		r = journal_say(j, e, "begin %zu\n", i);
	if (r < 0)
		return r;
	j->log.begun = i + 1;
	r = op->type->apply(&c, op->args, undo, e);
	return r < 0 ? r : journal_say(j, e, "done %zu\n", i);
}

static int ops_apply(struct journal *j, const struct host *host, struct err *e)
{
	_cleanup_close_ int log_fd = output_open(j);

	for (size_t i = 0; i < j->plan->n_ops; i++) {
		int r;

		if (j->plan->ops[i].already)
			continue;
		log_info("%s", j->plan->ops[i].sentence);
		r = op_apply(j, host, i, log_fd, e);
		if (r < 0)
			return err_wrap(e, "%s", j->plan->ops[i].sentence);
	}
	return journal_say(j, e, "commit\n");
}

/* After a failure: back to the old state now, or if that fails too, by recover later. */
static int give_up(const struct plan_state *st, struct journal *j, const struct host *host, int failed,
		   struct err *e)
{
	_cleanup_(err_done) struct err second = ERR_INIT;
	int r;

	r = journal_take_back(j, host, &second);
	if (r >= 0)
		r = journal_remove(st, j, &second);
	if (r < 0)
		(void)err_next(e, "run: nvdriver recover (taking back what was begun failed: %s)",
			       second.reason ? second.reason : "?");
	return failed;
}

static int sequence_next(int target_fd, json_int_t *ret, struct err *e)
{
	json_auto_t *last = NULL;
	int r;

	r = json_load(target_fd, "sequence.json", &last, e);
	if (r < 0 && r != -ENOENT)
		return r;
	*ret = json_integer_value(json_object_get(last, "sequence")) + 1;
	json_decref(last);
	last = json_pack("{s:I}", "sequence", *ret);
	return last ? json_publish(target_fd, "sequence.json", last, e) : err_oom(e);
}

int plan_apply(struct plan *p, const struct plan_state *st, const struct host *host, unsigned lock_timeout_s,
	       char **ret_txid, struct err *e)
{
	_cleanup_(journal_done) struct journal j = JOURNAL_INIT;
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	_cleanup_close_ int target = -EBADF;
	_cleanup_free_ char *txid = NULL;
	json_int_t sequence;
	int r;

	target = target_open(st, p->target, true, e);
	r = target < 0 ? target : target_lock(target, p->target, lock_timeout_s, &lock, e);
	if (r >= 0)
		r = target_recover(st, p->target, e);
	if (r >= 0)
		r = plan_check(p, host, e);
	if (r < 0)
		return err_wrap(e, "%s", p->title);
	if (ret_txid)
		*ret_txid = NULL;
	if (r == 1)
		return 0;
	r = sequence_next(target, &sequence, e);
	if (r >= 0)
		r = journal_create(st, p, host, sequence, &j, e);
	if (r >= 0) {
		r = ops_apply(&j, host, e);
		if (r < 0)
			r = give_up(st, &j, host, r, e);
	}
	if (r >= 0)
		r = journal_finish(st, &j, e);
	if (r < 0)
		return err_wrap(e, "%s", p->title);
	txid = strdup(j.id);
	if (!txid)
		return err_oom(e);
	if (ret_txid)
		*ret_txid = TAKE_PTR(txid);
	return 1;
}
