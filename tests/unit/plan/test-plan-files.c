/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "digest.h"
#include "plan.h"

#include <stdlib.h>
#include <unistd.h>

struct bed {
	struct testdir t;
	struct host *host;
	struct plan_state st;
	int fds;
};

static void bed_make(struct bed *b)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *root = NULL;

	testdir_make(&b->t);
	testdir_puts(&b->t, "root/usr/lib/libold.so.1", "old library\n");
	testdir_puts(&b->t, "root/etc/conf", "a\nb\nc\n");
	testdir_puts(&b->t, "tree/libnew.so.2", "new library\n");
	assert_int_equal(symlinkat("usr/lib", b->t.fd, "root/lib"), 0);
	assert_int_equal(symlinkat("libold.so.1", b->t.fd, "root/usr/lib/libx.so"), 0);
	assert_int_equal(mkdirat(b->t.fd, "journal", 0700), 0);
	assert_int_equal(mkdirat(b->t.fd, "targets", 0755), 0);
	b->fds = testdir_open_fds();
	b->st.journal_fd = openat(b->t.fd, "journal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b->st.targets_fd = openat(b->t.fd, "targets", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(asprintf(&root, "%s/root", b->t.path) > 0);
	assert_ok(host_open(root, &b->host, &e), &e);
}

static void bed_done(struct bed *b)
{
	host_freep(&b->host);
	close_fdp(&b->st.journal_fd);
	close_fdp(&b->st.targets_fd);
	assert_int_equal(testdir_open_fds(), b->fds);
	testdir_done(&b->t);
}

/* The lines of the snapshot that are below root/. */
static char *root_snapshot(struct bed *b)
{
	_cleanup_free_ char *all = testdir_snapshot(&b->t);
	char *out = calloc(1, strlen(all) + 1), *save = NULL;

	for (char *line = strtok_r(all, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (strncmp(line, "root/", 5) == 0) {
			strcat(out, line);
			strcat(out, "\n");
		}
	return out;
}

static json_t *args_make(struct bed *b, const char *sha256)
{
	_cleanup_free_ char *base = NULL;
	json_t *j;

	assert_true(asprintf(&base, "%s/tree", b->t.path) > 0);
	j = json_pack("{s:s, s:[{s:s,s:s,s:i,s:i,s:s,s:s}, {s:s,s:s,s:s}, {s:s,s:s,s:s}, {s:s,s:s,s:i},"
		      "{s:s,s:s,s:i,s:s}, {s:s,s:s}]}",
		      "base", base, "entries", "path", "usr/lib/deep/er/libnew.so.2", "type", "file", "mode",
		      0755, "size", 12, "sha256", sha256, "from", "libnew.so.2", "path", "lib/libx.so",
		      "type", "link", "target", "deep/er/libnew.so.2", "path", "usr/share/vulkan", "type",
		      "link", "target", "x", "path", "opt/empty", "type", "dir", "mode", 0700, "path",
		      "etc/conf", "type", "file", "mode", 0600, "bytes_base64", "bmV3Cg==", "path",
		      "usr/lib/libold.so.1", "type", "absent");
	assert_non_null(j);
	return j;
}

static struct plan *plan_make(struct bed *b)
{
	struct plan *p = NULL;

	assert_int_equal(plan_new("install it", "root-1", &p), 0);
	assert_int_equal(
	    plan_add(p, &op_files,
		     args_make(b, "b9ed6bd7ff7bd15b1e0da83e26d3e1e0b3ab7b5e5b5fd4f7a41b5dfab04a5e5b"),
		     "put %d files", 6),
	    0);
	return p;
}

static void set_digest(struct plan *p, struct bed *b)
{
	char hex[65];

	assert_int_equal(sha256_file_at(b->t.fd, "tree/libnew.so.2", hex), 0);
	json_object_set_new(json_array_get(json_object_get(p->ops[0].args, "entries"), 0), "sha256",
			    json_string(hex));
}

static void apply_and_undo(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(plan_freep) struct plan *p = NULL;
	_cleanup_free_ char *before = NULL, *after = NULL, *back = NULL, *txid = NULL, *text = NULL;
	json_auto_t *history = NULL, *undone = NULL;
	struct timespec old_time;
	struct stat st;
	struct bed b;

	bed_make(&b);
	assert_int_equal(fstatat(b.t.fd, "root/etc/conf", &st, 0), 0);
	old_time = st.st_mtim;
	before = root_snapshot(&b);
	p = plan_make(&b);
	set_digest(p, &b);
	assert_int_equal(plan_check(p, b.host, &e), 0);
	assert_ok(plan_apply(p, &b.st, b.host, 1, &txid, &e), &e);
	assert_non_null(txid);
	assert_int_equal(strlen(txid), 16);
	text = testdir_read(&b.t, "root/lib/libx.so", NULL);
	assert_string_equal(text, "new library\n");
	assert_false(testdir_has(&b.t, "root/usr/lib/libold.so.1"));
	assert_int_equal(fstatat(b.t.fd, "root/opt/empty", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	after = root_snapshot(&b);
	assert_null(strstr(after, "/.nvdriver-"));

	/* Again: nothing to do, nothing recorded. */
	freep(&txid);
	assert_int_equal(plan_apply(p, &b.st, b.host, 1, &txid, &e), 0);
	assert_null(txid);

	assert_ok(plan_history(&b.st, "root-1", &history, &e), &e);
	assert_int_equal(json_array_size(history), 1);
	assert_ok(plan_undo(&b.st, "root-1", NULL, false, false, NULL, &e), &e);
	back = root_snapshot(&b);
	assert_string_equal(before, back);
	assert_int_equal(fstatat(b.t.fd, "root/etc/conf", &st, 0), 0);
	assert_true(st.st_mtim.tv_sec == old_time.tv_sec && st.st_mtim.tv_nsec == old_time.tv_nsec);
	assert_ok(plan_history(&b.st, NULL, &undone, &e), &e);
	assert_int_equal(json_array_size(undone), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(undone, 0), "state")), "undone");
	assert_true(plan_undo(&b.st, "root-1", NULL, false, false, NULL, &e) < 0);
	assert_slug(&e, "undo-nothing");
	assert_int_equal(plan_recover(&b.st, &e), 0);
	bed_done(&b);
}

static void wrong_content_changes_nothing(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(plan_freep) struct plan *p = NULL;
	_cleanup_free_ char *before = NULL, *after = NULL;
	struct bed b;

	bed_make(&b);
	before = root_snapshot(&b);
	p = plan_make(&b);
	assert_true(plan_apply(p, &b.st, b.host, 1, NULL, &e) < 0);
	assert_slug(&e, "content-mismatch");
	after = root_snapshot(&b);
	assert_string_equal(before, after);
	assert_int_equal(plan_recover(&b.st, &e), 0);
	bed_done(&b);
}

static void conflict_changes_nothing(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(plan_freep) struct plan *p = NULL;
	_cleanup_free_ char *before = NULL, *after = NULL;
	struct bed b;

	bed_make(&b);
	testdir_puts(&b.t, "root/usr/share/vulkan/foreign", "x");
	before = root_snapshot(&b);
	p = plan_make(&b);
	set_digest(p, &b);
	assert_true(plan_apply(p, &b.st, b.host, 1, NULL, &e) < 0);
	assert_slug(&e, "plan-conflict");
	assert_string_equal(e.object, "/usr/share/vulkan");
	after = root_snapshot(&b);
	assert_string_equal(before, after);
	bed_done(&b);
}

static void undo_leaves_what_somebody_changed(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(plan_freep) struct plan *p = NULL;
	_cleanup_free_ char *before = NULL, *after = NULL, *text = NULL, *old = NULL;
	struct bed b;

	bed_make(&b);
	p = plan_make(&b);
	set_digest(p, &b);
	assert_ok(plan_apply(p, &b.st, b.host, 1, NULL, &e), &e);
	testdir_puts(&b.t, "root/etc/conf", "mine\n");
	before = root_snapshot(&b);
	assert_true(plan_undo(&b.st, "root-1", NULL, false, false, NULL, &e) < 0);
	assert_slug(&e, "undo-changed");
	assert_string_equal(e.object, "/etc/conf");
	after = root_snapshot(&b);
	assert_string_equal(before, after);
	assert_ok(plan_undo(&b.st, "root-1", NULL, true, false, NULL, &e), &e);
	text = testdir_read(&b.t, "root/etc/conf", NULL);
	assert_string_equal(text, "mine\n");
	old = testdir_read(&b.t, "root/usr/lib/libold.so.1", NULL);
	assert_string_equal(old, "old library\n");
	bed_done(&b);
}

static void edit_keeps_and_refuses(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(plan_freep) struct plan *p = NULL, *stale = NULL;
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(4096);
	_cleanup_free_ char *before = NULL, *after = NULL, *text = NULL;
	struct bed b;

	bed_make(&b);
	assert_int_equal(fchmodat(b.t.fd, "root/etc/conf", 0640, 0), 0);
	before = root_snapshot(&b);
	assert_int_equal(plan_new("edit", "host", &p), 0);
	assert_int_equal(plan_add_edit(p, "etc/conf", "a\nb\nc\n", 6, "a\nB\nc\n", 6, 0644, "change b"), 0);
	assert_int_equal(plan_to_text(p, b.host, &out), 0);
	assert_non_null(strstr(strbuf_str(&out), "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n"));
	assert_ok(plan_apply(p, &b.st, b.host, 1, NULL, &e), &e);
	text = testdir_read(&b.t, "root/etc/conf", NULL);
	assert_string_equal(text, "a\nB\nc\n");
	assert_int_equal(plan_new("edit", "host", &stale), 0);
	assert_int_equal(plan_add_edit(stale, "etc/conf", "a\nb\nc\n", 6, "x", 1, 0644, "change"), 0);
	assert_true(plan_apply(stale, &b.st, b.host, 1, NULL, &e) < 0);
	assert_slug(&e, "edit-stale");
	assert_ok(plan_undo(&b.st, "host", NULL, false, false, NULL, &e), &e);
	after = root_snapshot(&b);
	assert_string_equal(before, after);
	bed_done(&b);
}

static void escapes_are_refused(void **state _unused_)
{
	static const char *const paths[] = { "../outside", "/etc/x", "a/../../b", "", "a\nb" };
	_cleanup_free_ char *before = NULL, *after = NULL;
	struct bed b;

	bed_make(&b);
	assert_int_equal(symlinkat("../../..", b.t.fd, "root/out"), 0);
	before = testdir_snapshot(&b.t);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		_cleanup_(plan_freep) struct plan *p = NULL;

		assert_int_equal(plan_new("escape", "host", &p), 0);
		assert_int_equal(plan_add(p, &op_files,
					  json_pack("{s:[{s:s,s:s,s:s}]}", "entries", "path", paths[i],
						    "type", "link", "target", "x"),
					  "escape"),
				 0);
		assert_true(plan_check(p, b.host, &e) < 0);
	}
	after = testdir_snapshot(&b.t);
	assert_string_equal(before, after);
	bed_done(&b);
}

TEST_MAIN(cmocka_unit_test(apply_and_undo), cmocka_unit_test(wrong_content_changes_nothing),
	  cmocka_unit_test(conflict_changes_nothing), cmocka_unit_test(undo_leaves_what_somebody_changed),
	  cmocka_unit_test(edit_keeps_and_refuses), cmocka_unit_test(escapes_are_refused))
