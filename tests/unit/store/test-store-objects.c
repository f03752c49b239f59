/* SPDX-License-Identifier: Apache-2.0 */
#include "store-bed.h"

#include "strbuf.h"
#include "tree.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static void trees_have_one_name(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(store_freep) struct store *s = NULL;
	char a[65], b[65], c[65];
	struct testdir t;
	struct stat st;

	testdir_make(&t);
	s = bed(&t);
	tree_put(s, "x", a, 1);
	tree_put(s, "x", b, 0);
	tree_put(s, "y", c, 1);
	assert_string_equal(a, b);
	assert_string_not_equal(a, c);
	assert_ok(store_tree_verify(s, a, STORE_VERIFY_QUICK, NULL, &e), &e);
	assert_ok(store_tree_verify(s, a, STORE_VERIFY_FULL, NULL, &e), &e);
	{
		_cleanup_free_ char *path = store_object_path(s, STORE_TREE, a), *tool = NULL;

		assert_true(asprintf(&tool, "%s/root/sub/tool", path) > 0);
		assert_int_equal(stat(tool, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0555);
	}
	assert_int_equal(store_recover(s, &e), 0);
	store_freep(&s);
	testdir_done(&t);
}

static void damage_is_found(void **state _unused_)
{
	static const char *const how[] = { "content", "missing", "extra", "mode", "link" };

	for (size_t i = 0; i < ARRAY_LEN(how); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		_cleanup_(store_freep) struct store *s = NULL;
		_cleanup_close_ int root = -EBADF;
		json_auto_t *problems = json_array();
		char id[65];
		struct testdir t;
		int fd;

		testdir_make(&t);
		s = bed(&t);
		tree_put(s, "x", id, 1);
		assert_ok(store_tree_open(s, id, &root, NULL, &e), &e);
		if (i == 0) {
			fd = openat(root, "sub/tool", O_WRONLY | O_CLOEXEC);
			assert_int_equal(write(fd, "z", 1), 1);
			close(fd);
		} else if (i == 1) {
			assert_int_equal(unlinkat(root, "lib.so.1", 0), 0);
		} else if (i == 2) {
			assert_int_equal(mkdirat(root, "more", 0755), 0);
		} else if (i == 3) {
			assert_int_equal(fchmodat(root, "sub/tool", 0777, 0), 0);
		} else {
			assert_int_equal(unlinkat(root, "lib.so", 0), 0);
			assert_int_equal(symlinkat("/etc/passwd", root, "lib.so"), 0);
		}
		assert_true(store_tree_verify(s, id, STORE_VERIFY_QUICK, problems, &e) < 0);
		assert_slug(&e, "store-damaged");
		assert_int_equal(json_array_size(problems), 1);
		store_freep(&s);
		testdir_done(&t);
	}
}

static json_t *record_of(struct store *s, const char *id)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	json_t *record = NULL;

	assert_ok(store_tree_open(s, id, NULL, &record, &e), &e);
	return record;
}

/* Does the record know the inode its files have now? A look at the tree then reads none of them. */
static bool record_is_warm(struct store *s, const char *id)
{
	_cleanup_close_ int root = -EBADF;
	json_auto_t *record = record_of(s, id);
	json_t *f;
	size_t i;

	assert_int_equal(store_tree_open(s, id, &root, NULL, NULL), 0);
	json_array_foreach (json_object_get(record, "files"), i, f) {
		struct stat st;

		if (strcmp(json_string_value(json_object_get(f, "type")), "file") != 0)
			continue;
		assert_int_equal(fstatat(root, json_string_value(json_object_get(f, "path")), &st, 0), 0);
		if (json_integer_value(json_object_get(f, "inode")) != (json_int_t)st.st_ino ||
		    json_integer_value(json_object_get(f, "ctime_ns")) !=
			(json_int_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec)
			return false;
	}
	return true;
}

/* A copied store is read once; who may not write, or finds damage, leaves the record alone. */
static void a_copy_is_read_once(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(store_freep) struct store *s = NULL, *copy = NULL;
	_cleanup_free_ char *path = NULL, *tool = NULL;
	json_auto_t *before = NULL, *after = NULL;
	char id[65];
	struct testdir t;
	int fd;

	testdir_make(&t);
	s = bed(&t);
	tree_put(s, "x", id, 1);
	assert_true(record_is_warm(s, id));
	assert_int_equal(tree_copy(t.fd, "a", t.fd, "b", 0), 0);
	assert_true(asprintf(&path, "%s/b/store", t.path) > 0);
	assert_ok(store_open(path, false, &copy, &e), &e);
	assert_false(record_is_warm(copy, id));
	before = record_of(copy, id);
	copy->read_only = true;
	assert_ok(store_tree_verify(copy, id, STORE_VERIFY_QUICK, NULL, &e), &e);
	after = record_of(copy, id);
	assert_true(json_equal(before, after));
	copy->read_only = false;
	assert_ok(store_tree_verify_below(copy, id, "sub", &e), &e);
	assert_false(record_is_warm(copy, id)); /* lib.so.1 is elsewhere */
	assert_ok(store_tree_verify(copy, id, STORE_VERIFY_QUICK, NULL, &e), &e);
	assert_true(record_is_warm(copy, id));
	assert_ok(store_tree_verify(copy, id, STORE_VERIFY_FULL, NULL, &e), &e);
	/* Damage does not become the truth. */
	assert_true(asprintf(&tool, "%s/trees/%s/root/sub/tool", path, id) > 0);
	fd = open(tool, O_WRONLY | O_CLOEXEC);
	assert_int_equal(write(fd, "z", 1), 1);
	close(fd);
	assert_true(store_tree_verify(copy, id, STORE_VERIFY_QUICK, NULL, &e) < 0);
	assert_true(store_tree_verify_below(copy, id, "sub", &e) < 0);
	assert_slug(&e, "store-damaged");
	assert_ok(store_tree_verify_below(copy, id, "su", &e), &e); /* a directory, not a beginning */
	assert_false(record_is_warm(copy, id));
	store_freep(&s);
	store_freep(&copy);
	testdir_done(&t);
}

static int count_ref(const char *name _unused_, enum store_kind kind, const char *id _unused_, void *arg)
{
	assert_int_equal(kind, STORE_TREE);
	++*(int *)arg;
	return 0;
}

static void refs_name_objects(void **state _unused_)
{
	static const char *const bad[] = { "", "../x", "a/../b", "a//b", ".hidden", "a/.b", "a b", "/a" };
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(store_freep) struct store *s = NULL;
	_cleanup_free_ char *id = NULL;
	enum store_kind kind;
	struct testdir t;
	int n = 0;

	testdir_make(&t);
	s = bed(&t);
	assert_ok(store_ref_set(s, "driver/1.2-x86_64", STORE_TREE, "abc", &e), &e);
	assert_ok(store_ref_set(s, "pins/mine", STORE_TREE, "def", &e), &e);
	assert_int_equal(store_ref_get(s, "driver/1.2-x86_64", &kind, &id), 0);
	assert_string_equal(id, "abc");
	assert_int_equal(store_ref_list(s, "driver/", count_ref, &n), 0);
	assert_int_equal(n, 1);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_true(store_ref_set(s, bad[i], STORE_TREE, "abc", &e) < 0);
	assert_true(store_ref_set(s, "ok", STORE_TREE, "../../etc", &e) < 0);
	assert_ok(store_ref_remove(s, "driver/1.2-x86_64", &e), &e);
	assert_int_equal(store_ref_get(s, "driver/1.2-x86_64", &kind, &id), -ENOENT);
	store_freep(&s);
	testdir_done(&t);
}

static void gc_keeps_what_is_reached(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(store_freep) struct store *s = NULL, *other = NULL;
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	_cleanup_free_ char *record = NULL;
	struct store_gc_result res;
	char a[65], b[65], c[65], d[65];
	struct testdir t;

	testdir_make(&t);
	s = bed(&t);
	tree_put(s, "ref", a, 1);
	tree_put(s, "target", b, 1);
	tree_put(s, "nobody", c, 1);
	tree_put(s, "locked", d, 1);
	assert_ok(store_ref_set(s, "driver/a", STORE_TREE, a, &e), &e);
	assert_true(asprintf(&record, "{\"tree\": \"/var/lib/nvdriver/trees/%s/root\"}", b) > 0);
	testdir_puts(&t, "a/store/targets/host/install.json", record);
	other = bed(&t);
	assert_ok(store_lock(other, STORE_TREE, d, 0, &lock, &e), &e);
	assert_ok(store_gc(s, true, NULL, &res, &e), &e);
	assert_int_equal(res.objects, 1);
	assert_true(store_has(s, STORE_TREE, c));
	assert_ok(store_gc(s, false, NULL, &res, &e), &e);
	assert_int_equal(res.objects, 1);
	assert_true(store_has(s, STORE_TREE, a) && store_has(s, STORE_TREE, b) &&
		    store_has(s, STORE_TREE, d));
	assert_false(store_has(s, STORE_TREE, c));
	testdir_puts(&t, "a/store/targets/host/broken.json", "{");
	assert_true(store_gc(s, false, NULL, &res, &e) < 0);
	assert_true(store_has(s, STORE_TREE, a));
	lock_release(&lock);
	store_freep(&other);
	store_freep(&s);
	testdir_done(&t);
}

/* A deployment of one file from a tree, into t/root. */
static void deploy(struct store *s, const struct testdir *t, const char *id)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(plan_freep) struct plan *p = NULL;
	_cleanup_(host_freep) struct host *host = NULL;
	_cleanup_free_ char *root = NULL, *base = store_object_path(s, STORE_TREE, id);
	struct plan_state st;

	assert_true(asprintf(&root, "%s/root", t->path) > 0);
	assert_int_equal(mkdir(root, 0755), 0);
	assert_ok(host_open(root, &host, &e), &e);
	assert_ok(store_state_open(s, &st, &e), &e);
	assert_int_equal(plan_new("install it", "root-1", &p), 0);
	assert_int_equal(plan_add(p, &op_files,
				  json_pack("{s:s, s:[{s:s, s:s, s:s}]}", "base", base, "entries", "path",
					    "etc/x", "type", "link", "target", "y"),
				  "put a link"),
			 0);
	assert_ok(plan_apply(p, &st, host, 1, NULL, &e), &e);
	store_state_close(&st);
}

/* What a run that was killed before it did anything leaves, made from a deployment that went well. */
static void interrupt(struct testdir *t, struct store *s)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *path = NULL, *text = NULL;
	json_auto_t *history = NULL;
	struct plan_state st;

	assert_ok(store_state_open(s, &st, &e), &e);
	assert_ok(plan_history(&st, "root-1", &history, &e), &e);
	store_state_close(&st);
	assert_true(asprintf(&path, "a/store/targets/root-1/history/%s/plan.json",
			     json_string_value(json_object_get(json_array_get(history, 0), "id"))) > 0);
	text = testdir_read(t, path, NULL);
	assert_non_null(text);
	testdir_puts(t, "a/store/journal/0123456789abcdef/plan.json", text);
	testdir_puts(t, "a/store/journal/0123456789abcdef/log", "");
}

static size_t targets_gone(struct store *s)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	json_auto_t *names = NULL;
	struct plan_state st;

	assert_ok(store_state_open(s, &st, &e), &e);
	assert_ok(plan_targets_gone(&st, &names, &e), &e);
	store_state_close(&st);
	return json_array_size(names);
}

static void targets_are_forgotten_with_their_root(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(store_freep) struct store *s = NULL;
	_cleanup_free_ char *before = NULL, *after = NULL, *gone = NULL, *root = NULL;
	struct store_gc_result res;
	struct testdir t;
	char id[65];

	assert_ok(op_type_register(&op_files), &e);
	testdir_make(&t);
	s = bed(&t);
	before = testdir_snapshot(&t);
	tree_put(s, "x", id, 1);
	deploy(s, &t, id);
	interrupt(&t, s);
	assert_ok(store_gc(s, false, NULL, &res, &e), &e);
	assert_int_equal(res.objects, 0);
	assert_int_equal(targets_gone(s), 0);
	assert_true(store_target_forget(s, "root-1", false, &e) < 0);
	assert_slug(&e, "target-exists");
	assert_true(store_target_forget(s, "root-2", false, &e) < 0);
	assert_slug(&e, "undo-nothing");
	assert_true(store_target_forget(s, "../trees", false, &e) < 0);
	assert_slug(&e, "undo-nothing");

	assert_true(asprintf(&root, "%s/root", t.path) > 0);
	assert_true(asprintf(&gone, "%s/elsewhere", t.path) > 0);
	assert_int_equal(rename(root, gone), 0);
	assert_int_equal(targets_gone(s), 1);
	assert_ok(store_target_forget(s, "root-1", true, &e), &e);
	assert_int_equal(targets_gone(s), 1);
	assert_true(testdir_has(&t, "a/store/journal/0123456789abcdef"));
	/* Back again: nothing was lost. */
	assert_int_equal(rename(gone, root), 0);
	assert_true(store_target_forget(s, "root-1", false, &e) < 0);
	assert_int_equal(rename(root, gone), 0);

	assert_ok(store_target_forget(s, "root-1", false, &e), &e);
	assert_int_equal(targets_gone(s), 0);
	assert_ok(store_gc(s, false, NULL, &res, &e), &e);
	assert_int_equal(res.objects, 1);
	assert_int_equal(unlinkat(t.fd, "elsewhere/etc/x", 0) | unlinkat(t.fd, "elsewhere/etc", AT_REMOVEDIR),
			 0);
	assert_int_equal(unlinkat(t.fd, "elsewhere", AT_REMOVEDIR), 0);
	after = testdir_snapshot(&t);
	assert_string_equal(before, after);
	store_freep(&s);
	testdir_done(&t);
}

static void gc_follows_records_and_pins(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(store_freep) struct store *s = NULL;
	struct store_gc_result res;
	struct testdir t;

	testdir_make(&t);
	s = bed(&t);
	testdir_puts(&t, "a/store/modules/set1/record.json",
		     "{\"tree\": \"none\", \"probes\": {\"key\": \"probe1\"}, \"objects\": [\"object1\"]}");
	testdir_puts(&t, "a/store/probes/probe1/record.json", "{\"kernel\": \"kernel1\"}");
	testdir_puts(&t, "a/store/probes/probe2/record.json", "{}");
	testdir_puts(&t, "a/store/kernels/kernel1/record.json", "{}");
	testdir_puts(&t, "a/store/objects/object1/a.o", "x");
	testdir_puts(&t, "a/store/packages/package1/x.run", "x");
	testdir_puts(&t, "a/store/packages/package2/y.run", "y");
	testdir_puts(&t, "a/store/journal/fedcba9876543210/plan.json",
		     "{\"from\": \"/x/packages/package2/y.run\"}");
	assert_ok(store_ref_set(s, "pins/mine", STORE_MODULE, "set1", &e), &e);
	assert_ok(store_gc(s, false, NULL, &res, &e), &e);
	assert_int_equal(res.objects, 2);
	assert_true(store_has(s, STORE_MODULE, "set1") && store_has(s, STORE_PROBE, "probe1") &&
		    store_has(s, STORE_KERNEL, "kernel1") && store_has(s, STORE_OBJECT, "object1") &&
		    store_has(s, STORE_PACKAGE, "package2"));
	assert_false(store_has(s, STORE_PROBE, "probe2") || store_has(s, STORE_PACKAGE, "package1"));
	assert_ok(store_ref_remove(s, "pins/mine", &e), &e);
	assert_ok(store_gc(s, false, NULL, &res, &e), &e);
	assert_int_equal(res.objects, 4);
	store_freep(&s);
	testdir_done(&t);
}

static void hard_links_only_where_nobody_writes(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(store_freep) struct store *s = NULL;
	enum store_share used, parsed;
	char id[65], again[65];
	struct testdir t;
	int root;

	testdir_make(&t);
	s = bed(&t);
	tree_put(s, "x", id, 1);
	assert_true(store_tree_share(s, id, t.fd, "linked", STORE_RECEIVER_OWN, SHARE_HARDLINK, &used, &e) <
		    0);
	assert_slug(&e, "unsupported");
	assert_false(testdir_has(&t, "linked"));
	assert_ok(store_tree_share(s, id, t.fd, "own", STORE_RECEIVER_OWN, SHARE_AUTO, &used, &e), &e);
	assert_true(used == SHARE_COPY || used == SHARE_REFLINK);
	assert_int_equal(store_share_parse(store_share_name(used), &parsed), 0);
	assert_int_equal(parsed, used);
	root = openat(t.fd, "own", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_ok(store_tree_digest(root, again, NULL, &e), &e);
	close(root);
	assert_string_equal(id, again);
	assert_ok(store_tree_share(s, id, t.fd, "linked", STORE_RECEIVER_TRUSTED, SHARE_HARDLINK, &used, &e),
		  &e);
	/* The link count changes a file's ctime; that is no damage. */
	assert_ok(store_tree_verify(s, id, STORE_VERIFY_QUICK, NULL, &e), &e);
	store_freep(&s);
	testdir_done(&t);
}

static void foreign_directories_are_refused(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *before = NULL, *after = NULL;
	struct store *s = NULL;
	struct testdir t;

	testdir_make(&t);
	testdir_puts(&t, "letters/mum.txt", "x");
	before = testdir_snapshot(&t);
	assert_true(store_open(t.path, true, &s, &e) < 0);
	assert_slug(&e, "store-format");
	after = testdir_snapshot(&t);
	assert_string_equal(before, after);
	testdir_puts(&t, "format", "2\n");
	assert_true(store_open(t.path, true, &s, &e) < 0);
	assert_slug(&e, "store-format");
	testdir_done(&t);
}

/* As a container does with the node's: the link's text is "/", what it opens is another root. */
static void another_root_is_reached_through_proc(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(store_freep) struct store *s = NULL, *again = NULL;
	_cleanup_free_ char *path = NULL;
	int ready[2], status;
	char byte = 0;
	pid_t child;

	if (geteuid() != 0)
		skip();
	testdir_make(&t);
	testdir_puts(&t, "node/var/lib/x", "");
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(fchdir(t.fd) < 0 || chroot("node") < 0 || write(ready[1], "x", 1) != 1 || pause() == 0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	path = str_printf("/proc/%d/root/./var/lib/nvdriver/store", (int)child);
	assert_ok(store_open(path, true, &s, &e), &e);
	assert_true(testdir_has(&t, "node/var/lib/nvdriver/store/format"));
	assert_ok(store_open(path, false, &again, &e), &e);
	close(ready[0]);
	close(ready[1]);
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
}

TEST_MAIN(cmocka_unit_test(trees_have_one_name), cmocka_unit_test(damage_is_found),
	  cmocka_unit_test(a_copy_is_read_once), cmocka_unit_test(refs_name_objects),
	  cmocka_unit_test(gc_keeps_what_is_reached), cmocka_unit_test(gc_follows_records_and_pins),
	  cmocka_unit_test(targets_are_forgotten_with_their_root),
	  cmocka_unit_test(hard_links_only_where_nobody_writes),
	  cmocka_unit_test(foreign_directories_are_refused),
	  cmocka_unit_test(another_root_is_reached_through_proc))
