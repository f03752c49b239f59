/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "crashbed.h"

#include "digest.h"
#include "fd.h"
#include "faultio.h"
#include "publish.h"
#include "tree.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define TREE_REF "store/refs/driver/1.2-x86_64"

void bed_fill(struct bed *b)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(store_freep) struct store *s = NULL;
	_cleanup_free_ char *path = NULL;

	b->host = NULL;
	b->store = NULL;
	b->st = (struct plan_state){ -EBADF, -EBADF };
	testdir_puts(&b->t, "root/usr/lib/libold.so.1", "old library\n");
	testdir_puts(&b->t, "root/usr/lib/libboth.so", "old content\n");
	testdir_puts(&b->t, "root/etc/conf", "a\nb\nc\n");
	testdir_puts(&b->t, "tree/libnew.so.2", "new library\n");
	testdir_puts(&b->t, "tree/libboth.so", "new content\n");
	testdir_puts(&b->t, "plain/name", "old bytes\n");
	assert_int_equal(symlinkat("usr/lib", b->t.fd, "root/lib"), 0);
	assert_int_equal(symlinkat("libold.so.1", b->t.fd, "root/usr/lib/libx.so"), 0);
	assert_true(asprintf(&path, "%s/store", b->t.path) > 0);
	assert_ok(store_open(path, true, &s, &e), &e);
}

void bed_empty(struct bed *b)
{
	static const char *const names[] = { "root", "tree", "plain", "store" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_int_equal(tree_remove(b->t.fd, names[i]), 0);
}

int bed_open(struct bed *b, struct err *e)
{
	_cleanup_free_ char *root = NULL, *store = NULL;
	int r;

	if (asprintf(&root, "%s/root", b->t.path) < 0 || asprintf(&store, "%s/store", b->t.path) < 0)
		return -ENOMEM;
	r = host_open(root, &b->host, e);
	if (r >= 0)
		r = store_open(store, true, &b->store, e);
	return r < 0 ? r : store_state_open(b->store, &b->st, e);
}

void bed_close(struct bed *b)
{
	store_state_close(&b->st);
	store_freep(&b->store);
	host_freep(&b->host);
}

int bed_recover(struct bed *b)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	int a, c = 0;

	a = bed_open(b, &e);
	if (a >= 0)
		a = store_recover(b->store, &e);
	if (a >= 0)
		c = plan_recover(&b->st, &e);
	bed_close(b);
	if (a < 0 || c < 0)
		fail_msg("recover: %s", e.reason ? e.reason : "?");
	return a + c;
}

/* An object no ref names may be there or not; the ref is the step from old to new. */
static bool matters(const char *line, bool has_ref)
{
	if (strncmp(line, "store/refs/", 11) == 0)
		return !strstr(line, " d 0");
	return strncmp(line, "root/", 5) == 0 || (has_ref && strncmp(line, "store/trees/", 12) == 0) ||
	       strncmp(line, "plain/name", 10) == 0;
}

/* Times of the files that were there before: put back with everything else. */
static void add_time(const struct bed *b, const char *name, char *out)
{
	struct stat st;

	if (fstatat(b->t.fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_mtim.tv_sec < 1000000000)
		sprintf(out + strlen(out), "%s %ld\n", name, (long)st.st_mtim.tv_sec);
}

static void mask_txid(char *line)
{
	static const char before[] = "/undo-";
	char *p = strstr(line, before);

	if (p)
		memset(p + strlen(before), 'x', 16);
}

char *bed_state(struct bed *b)
{
	static const char *const timed[] = { "root/usr/lib/libold.so.1", "root/usr/lib/libboth.so",
					     "root/etc/conf" };
	_cleanup_free_ char *all = testdir_snapshot(&b->t);
	char *out = calloc(1, strlen(all) + 512), *save = NULL;
	bool has_ref = testdir_has(&b->t, TREE_REF);

	for (char *line = strtok_r(all, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (!matters(line, has_ref))
			continue;
		/* A tree's record holds inode numbers and times. */
		if (strstr(line, "/record.json"))
			strcpy(strstr(line, "/record.json"), "/record.json");
		mask_txid(line);
		strcat(out, line);
		strcat(out, "\n");
	}
	for (size_t i = 0; i < ARRAY_LEN(timed); i++)
		add_time(b, timed[i], out);
	return out;
}

static int tree_is_whole(const char *id, void *arg)
{
	_cleanup_(err_done) struct err e = ERR_INIT;

	assert_ok(store_tree_verify(arg, id, STORE_VERIFY_FULL, NULL, &e), &e);
	return 0;
}

void bed_assert_clean(struct bed *b)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *all = testdir_snapshot(&b->t);
	char *save = NULL;

	assert_ok(bed_open(b, &e), &e);
	assert_int_equal(store_list(b->store, STORE_TREE, tree_is_whole, b->store), 0);
	bed_close(b);

	for (char *line = strtok_r(all, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (strstr(line, ".nvdriver-") || strncmp(line, "store/tmp/", 10) == 0 ||
		    strncmp(line, "store/journal/", 14) == 0)
			fail_msg("left behind: %s", line);
}

/* -- scenarios -- */

static void old_times(struct bed *b)
{
	static const char *const timed[] = { "root/usr/lib/libold.so.1", "root/usr/lib/libboth.so",
					     "root/etc/conf" };

	for (size_t i = 0; i < ARRAY_LEN(timed); i++) {
		const struct timespec t[] = { { .tv_sec = 1000 }, { .tv_sec = 1000 + (time_t)i } };

		assert_int_equal(utimensat(b->t.fd, timed[i], t, 0), 0);
	}
}

static int run_publish(struct bed *b, struct err *e _unused_)
{
	_cleanup_close_ int dir = dir_open_at(b->t.fd, "plain");

	return dir < 0 ? dir : publish_bytes(dir, "name", "new bytes\n", 10, 0644);
}

static int run_tree(struct bed *b, struct err *e)
{
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	char id[65];
	int r;

	r = store_stage_begin(b->store, &st, e);
	if (r >= 0)
		r = tree_copy(b->t.fd, "tree", st.dir_fd, "root", 0);
	if (r >= 0)
		r = store_tree_add(&st, NULL, id, e);
	if (r >= 0)
		r = store_ref_set(b->store, "driver/1.2-x86_64", STORE_TREE, id, e);
	return r;
}

static int file_json(struct bed *b, const char *from, const char *path, json_t *entries)
{
	_cleanup_free_ char *full = NULL;
	char hex[SHA256_HEX_SIZE];
	struct stat st;

	if (asprintf(&full, "tree/%s", from) < 0)
		return -ENOMEM;
	if (fstatat(b->t.fd, full, &st, 0) < 0 || sha256_file_at(b->t.fd, full, hex) < 0)
		return -EIO;
	return json_array_append_new(entries, json_pack("{s:s,s:s,s:i,s:I,s:s,s:s}", "path", path, "type",
							"file", "mode", 0755, "size", (json_int_t)st.st_size,
							"sha256", hex, "from", from)) < 0
		   ? -ENOMEM
		   : 0;
}

static int add_files(struct bed *b, struct plan *p)
{
	_cleanup_free_ char *base = NULL;
	json_auto_t *entries =
	    json_pack("[{s:s,s:s,s:s}, {s:s,s:s,s:i}, {s:s,s:s}, {s:s,s:s,s:i,s:s}]", "path", "lib/libx.so",
		      "type", "link", "target", "deep/er/libnew.so.2", "path", "opt/empty", "type", "dir",
		      "mode", 0700, "path", "usr/lib/libold.so.1", "type", "absent", "path", "etc/conf",
		      "type", "file", "mode", 0600, "bytes_base64", "bmV3Cg==");
	json_t *args;
	int r;

	if (!entries || asprintf(&base, "%s/tree", b->t.path) < 0)
		return -ENOMEM;
	r = file_json(b, "libnew.so.2", "usr/lib/deep/er/libnew.so.2", entries);
	if (r >= 0)
		r = file_json(b, "libboth.so", "usr/lib/libboth.so", entries);
	if (r < 0)
		return r;
	args = json_pack("{s:s, s:O}", "base", base, "entries", entries);
	return args ? plan_add(p, &op_files, args, "put files") : -ENOMEM;
}

static int run_files(struct bed *b, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	_cleanup_free_ char *txid = NULL;
	int r;

	r = plan_new("install", "root-1", &p);
	if (r >= 0)
		r = add_files(b, p);
	return r < 0 ? r : plan_apply(p, &b->st, b->host, 1, &txid, e);
}

/* Two operations, so that a finished one has to be taken back too. */
static int run_edits(struct bed *b, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	int r;

	r = plan_new("edit", "host", &p);
	if (r >= 0)
		r = plan_add_edit(p, "etc/conf", "a\nb\nc\n", 6, "a\nB\nc\n", 6, 0644, "change b");
	if (r >= 0)
		r = plan_add_edit(p, "etc/new/file", NULL, 0, "new\n", 4, 0600, "make a file");
	return r < 0 ? r : plan_apply(p, &b->st, b->host, 1, NULL, e);
}

static void setup_undo(struct bed *b)
{
	_cleanup_(err_done) struct err e = ERR_INIT;

	old_times(b);
	assert_ok(bed_open(b, &e), &e);
	assert_ok(run_files(b, &e), &e);
	bed_close(b);
}

static int run_undo(struct bed *b, struct err *e)
{
	int r = plan_undo(&b->st, "root-1", NULL, false, false, NULL, e);

	/* Done by the run before, as the one that repeats it finds. */
	return r == -ERR_UNDO_NOTHING ? 0 : r;
}

/* A run that died among its renames, to be recovered by a run that dies too. */
static void setup_recover(struct bed *b)
{
	old_times(b);
	assert_int_equal(crash_child(&scenarios[2], b, 38), FAULT_KILLED);
}

static int run_recover(struct bed *b, struct err *e)
{
	int r = store_recover(b->store, e);

	return r < 0 ? r : plan_recover(&b->st, e);
}

const struct scenario scenarios[] = {
	{ "publish", NULL, run_publish, .leaves_temporaries = true },
	{ "store", NULL, run_tree },
	{ "files", old_times, run_files },
	{ "files-without-links", old_times, run_files, .no_links = true },
	{ "edits", old_times, run_edits },
	{ "undo", setup_undo, run_undo },
	{ "undo-without-links", setup_undo, run_undo, .no_links = true },
	{ "recover", setup_recover, run_recover },
};
const size_t n_scenarios = ARRAY_LEN(scenarios);

int scenario_run(const struct scenario *s, struct bed *b, struct err *e)
{
	int r = bed_open(b, e);

	if (r >= 0)
		r = s->run(b, e);
	bed_close(b);
	return r;
}

int crash_child(const struct scenario *s, struct bed *b, unsigned n)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		int r;

		fault_no_links(s->no_links);
		fault_kill(n);
		r = scenario_run(s, b, &e);
		fault_off();
		if (r < 0)
			fprintf(stderr, "%s: %s\n", s->name, e.reason ? e.reason : "?");
		_exit(r < 0 ? 1 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}
