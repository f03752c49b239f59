/* SPDX-License-Identifier: Apache-2.0
 *
 * Every way to give a tree away, and what its receiver tries to do to the store with it. Mounts are made in a mount
 * name space of this program's own. */
#include "store-bed.h"

#include "digest.h"
#include "spawn.h"
#include "verity.h"
#include "store-internal.h"

#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static bool may_mount;

static bool has_tool(const char *name)
{
	_cleanup_free_ char *path = NULL;

	return spawn_find(name, &path) >= 0;
}

#define NEEDS(condition, what)                                                                               \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			print_message("# skipped: " what "\n");                                              \
			skip();                                                                              \
		}                                                                                            \
	} while (0)

static int shared(struct store *s, const struct testdir *t, const char *id, enum store_receiver receiver,
		  enum store_share how, enum store_share *ret_used, struct err *e)
{
	return store_tree_share(s, id, t->fd, "got", receiver, how, ret_used, e);
}

static void assert_content(const struct testdir *t, const char *id)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_close_ int fd = openat(t->fd, "got", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char found[65];

	assert_ok(store_tree_digest(fd, found, NULL, &e), &e);
	assert_string_equal(found, id);
}

static void assert_nothing_left(const struct testdir *t)
{
	assert_false(testdir_has(t, "got"));
	assert_false(testdir_has(t, ".got.overlay"));
}

static void assert_intact(struct store *s, const char *id)
{
	_cleanup_(err_done) struct err e = ERR_INIT;

	assert_ok(store_tree_verify(s, id, STORE_VERIFY_FULL, NULL, &e), &e);
	if (store_has(s, STORE_IMAGE, id))
		assert_ok(store_image_open(s, id, NULL, &e), &e);
}

/* Everything a receiver might do to what it got. How many of it worked. */
static int attack(int dirfd, bool remounts)
{
	char path[64];
	int fd, n = 0;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d/got", dirfd);
	if (remounts) {
		(void)mount(NULL, path, NULL, MS_REMOUNT | MS_BIND, NULL);
		(void)mount(NULL, path, NULL, MS_REMOUNT, NULL);
	}
	n += fchmodat(dirfd, "got/sub/tool", 0777, 0) == 0;
	fd = openat(dirfd, "got/sub/tool", O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd >= 0) {
		n += write(fd, "evil", 4) == 4;
		close(fd);
	}
	n += unlinkat(dirfd, "got/lib.so", 0) == 0;
	fd = openat(dirfd, "got/more", O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	if (fd >= 0) {
		n++;
		close(fd);
	}
	return n;
}

/* The same by somebody without rights. */
static int attack_as_nobody(int dirfd)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(setgid(65534) < 0 || setuid(65534) < 0 ? 99 : attack(dirfd, true));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

static const struct {
	enum store_receiver receiver;
	enum store_share how;
	bool mounts, has_rights, writes, loop;
} given[] = {
	{ STORE_RECEIVER_READER, SHARE_EROFS, true, false, false },
	{ STORE_RECEIVER_PRIVILEGED, SHARE_EROFS, true, true, false },
	{ STORE_RECEIVER_PRIVILEGED, SHARE_EROFS, true, true, false, .loop = true },
	{ STORE_RECEIVER_READER, SHARE_BIND, true, false, false },
	{ STORE_RECEIVER_WRITER, SHARE_OVERLAY, true, true, true },
	{ STORE_RECEIVER_OWN, SHARE_COPY, false, true, true },
	{ STORE_RECEIVER_READER, SHARE_COPY, false, true, true },
	{ STORE_RECEIVER_WRITER, SHARE_COPY, false, true, true },
	{ STORE_RECEIVER_PRIVILEGED, SHARE_COPY, false, true, true },
	{ STORE_RECEIVER_TRUSTED, SHARE_COPY, false, true, true },
};

static void no_receiver_alters_the_store(void **state _unused_)
{
	NEEDS(geteuid() == 0, "needs root");
	if (!may_mount || !has_tool("mkfs.erofs"))
		print_message("# skipped in part: no mount name space, or no mkfs.erofs\n");
	for (size_t i = 0; i < ARRAY_LEN(given); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		_cleanup_(store_freep) struct store *s = NULL;
		enum store_share used;
		struct testdir t;
		char id[65];
		int n;

		if (given[i].mounts && !may_mount)
			continue;
		if (given[i].how == SHARE_EROFS && !has_tool("mkfs.erofs"))
			continue;
		testdir_make(&t);
		assert_int_equal(chmod(t.path, 0755), 0);
		s = bed(&t);
		tree_put(s, "x", id, 1);
		if (given[i].how == SHARE_EROFS)
			assert_ok(store_image_build(s, id, &e), &e);
		image_test_loop_only(given[i].loop);
		assert_ok(shared(s, &t, id, given[i].receiver, given[i].how, &used, &e), &e);
		image_test_loop_only(false);
		assert_int_equal(used, given[i].how);
		assert_content(&t, id);
		n = given[i].has_rights ? attack(t.fd, true) : attack_as_nobody(t.fd);
		assert_int_equal(n, given[i].writes ? 4 : 0);
		assert_intact(s, id);
		assert_ok(store_tree_unshare(t.fd, "got", &e), &e);
		assert_nothing_left(&t);
		assert_intact(s, id);
		assert_ok(store_tree_unshare(t.fd, "got", &e), &e);
		store_freep(&s);
		testdir_done(&t);
	}
}

static void what_is_not_safe_is_refused(void **state _unused_)
{
	static const struct {
		enum store_receiver receiver;
		enum store_share how;
	} bad[] = {
		{ STORE_RECEIVER_OWN, SHARE_EROFS },	   { STORE_RECEIVER_OWN, SHARE_BIND },
		{ STORE_RECEIVER_OWN, SHARE_OVERLAY },	   { STORE_RECEIVER_OWN, SHARE_HARDLINK },
		{ STORE_RECEIVER_READER, SHARE_OVERLAY },  { STORE_RECEIVER_READER, SHARE_HARDLINK },
		{ STORE_RECEIVER_WRITER, SHARE_EROFS },	   { STORE_RECEIVER_WRITER, SHARE_BIND },
		{ STORE_RECEIVER_WRITER, SHARE_HARDLINK }, { STORE_RECEIVER_PRIVILEGED, SHARE_BIND },
		{ STORE_RECEIVER_TRUSTED, SHARE_BIND },	   { STORE_RECEIVER_PRIVILEGED, SHARE_HARDLINK },
	};
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(store_freep) struct store *s = NULL;
	enum store_share used = SHARE_AUTO;
	struct testdir t;
	char id[65];

	testdir_make(&t);
	s = bed(&t);
	tree_put(s, "x", id, 1);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_true(shared(s, &t, id, bad[i].receiver, bad[i].how, &used, &e) < 0);
		assert_slug(&e, "unsupported");
		assert_nothing_left(&t);
	}
	assert_true(store_tree_share(s, id, t.fd, "../got", STORE_RECEIVER_OWN, SHARE_COPY, &used, &e) < 0);
	assert_true(shared(s, &t, "nothing", STORE_RECEIVER_OWN, SHARE_AUTO, &used, &e) < 0);
	assert_slug(&e, "store-object-missing");
	testdir_puts(&t, "got", "mine");
	for (enum store_receiver r = STORE_RECEIVER_OWN; r <= STORE_RECEIVER_TRUSTED; r++)
		assert_int_equal(shared(s, &t, id, r, SHARE_AUTO, &used, &e), -EEXIST);
	assert_false(testdir_has(&t, ".got.overlay"));
	assert_int_equal(used, SHARE_AUTO);
	store_freep(&s);
	testdir_done(&t);
}

static void methods_have_names(void **state _unused_)
{
	enum store_share back;

	for (enum store_share how = SHARE_AUTO; how <= SHARE_COPY; how++) {
		assert_int_equal(store_share_parse(store_share_name(how), &back), 0);
		assert_int_equal(back, how);
	}
	assert_int_equal(store_share_parse("squashfs", &back), -EINVAL);
}

/* What auto takes here; -1 for either of reflink and the one after it in the order. */
static void auto_is(struct store *s, const struct testdir *t, const char *id, enum store_receiver receiver,
		    enum store_share want, bool or_reflink)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	enum store_share used;

	assert_ok(shared(s, t, id, receiver, SHARE_AUTO, &used, &e), &e);
	assert_int_equal(e.code, 0);
	if (!or_reflink || used != SHARE_REFLINK)
		assert_string_equal(store_share_name(used), store_share_name(want));
	assert_content(t, id);
	assert_ok(store_tree_unshare(t->fd, "got", &e), &e);
	assert_nothing_left(t);
}

static void auto_takes_the_cheapest_that_is_safe(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(store_freep) struct store *s = NULL;
	struct testdir t;
	char id[65];

	NEEDS(may_mount, "no mounts of its own or no loop devices");
	testdir_make(&t);
	s = bed(&t);
	tree_put(s, "x", id, 1);
	auto_is(s, &t, id, STORE_RECEIVER_READER, SHARE_BIND, false);
	auto_is(s, &t, id, STORE_RECEIVER_WRITER, SHARE_OVERLAY, false);
	auto_is(s, &t, id, STORE_RECEIVER_PRIVILEGED, SHARE_COPY, true);
	auto_is(s, &t, id, STORE_RECEIVER_OWN, SHARE_COPY, true);
	auto_is(s, &t, id, STORE_RECEIVER_TRUSTED, SHARE_HARDLINK, true);
	if (has_tool("mkfs.erofs")) {
		assert_ok(store_image_build(s, id, &e), &e);
		auto_is(s, &t, id, STORE_RECEIVER_READER, SHARE_EROFS, false);
		auto_is(s, &t, id, STORE_RECEIVER_PRIVILEGED, SHARE_EROFS, false);
		/* The image serves without its tree. */
		assert_ok(store_remove(s, STORE_TREE, id, &e), &e);
		auto_is(s, &t, id, STORE_RECEIVER_PRIVILEGED, SHARE_EROFS, false);
	}
	store_freep(&s);
	testdir_done(&t);
}

static void effective_sys_admin(bool on)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct caps[2];

	assert_int_equal(syscall(SYS_capget, &head, caps), 0);
	if (on)
		caps[0].effective |= 1U << CAP_SYS_ADMIN;
	else
		caps[0].effective &= ~(1U << CAP_SYS_ADMIN);
	assert_int_equal(syscall(SYS_capset, &head, caps), 0);
}

static void without_the_right_to_mount(void **state _unused_)
{
	static const struct {
		enum store_receiver receiver;
		enum store_share how;
	} mounts[] = {
		{ STORE_RECEIVER_READER, SHARE_EROFS },
		{ STORE_RECEIVER_READER, SHARE_BIND },
		{ STORE_RECEIVER_WRITER, SHARE_OVERLAY },
	};
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(store_freep) struct store *s = NULL;
	enum store_share used;
	struct testdir t;
	char id[65];

	NEEDS(may_mount && has_tool("mkfs.erofs"), "no right to give up, or no mkfs.erofs");
	testdir_make(&t);
	s = bed(&t);
	tree_put(s, "x", id, 1);
	assert_ok(store_image_build(s, id, &e), &e);
	effective_sys_admin(false);
	for (size_t i = 0; i < ARRAY_LEN(mounts); i++) {
		assert_true(shared(s, &t, id, mounts[i].receiver, mounts[i].how, &used, &e) < 0);
		assert_slug(&e, "mount-denied");
		assert_nothing_left(&t);
	}
	auto_is(s, &t, id, STORE_RECEIVER_READER, SHARE_COPY, true);
	auto_is(s, &t, id, STORE_RECEIVER_WRITER, SHARE_COPY, true);
	effective_sys_admin(true);
	store_freep(&s);
	testdir_done(&t);
}

static void damaged_images_are_not_mounted(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(store_freep) struct store *s = NULL;
	_cleanup_free_ char *path = NULL, *record = NULL;
	enum store_share used;
	struct testdir t;
	char id[65];
	int fd;

	NEEDS(has_tool("mkfs.erofs"), "mkfs.erofs is not installed");
	testdir_make(&t);
	s = bed(&t);
	tree_put(s, "x", id, 1);
	assert_true(shared(s, &t, id, STORE_RECEIVER_READER, SHARE_EROFS, &used, &e) < 0);
	assert_slug(&e, "store-object-missing");
	assert_int_equal(store_image_build(s, id, &e), 1);
	assert_int_equal(store_image_build(s, id, &e), 0);
	path = store_object_path(s, STORE_IMAGE, id);
	assert_int_equal(unlink(path), 0); /* with fs-verity it could not be changed */
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	assert_int_equal(pwrite(fd, "z", 1, 4000), 1);
	close(fd);
	for (enum store_share how = SHARE_AUTO; how <= SHARE_EROFS; how++) {
		assert_true(shared(s, &t, id, STORE_RECEIVER_READER, how, &used, &e) < 0);
		assert_slug(&e, "store-damaged");
		assert_nothing_left(&t);
	}
	assert_true(asprintf(&record, "%.*s.json", (int)(strlen(path) - strlen(".erofs")), path) > 0);
	assert_int_equal(unlink(record), 0);
	assert_true(store_image_open(s, id, NULL, &e) < 0);
	assert_slug(&e, "store-damaged");
	store_freep(&s);
	testdir_done(&t);
}

/* Where the file system has fs-verity, root itself cannot change an image; elsewhere the record promises nothing. */
static void images_cannot_be_changed(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(store_freep) struct store *s = NULL;
	_cleanup_close_ int dir = -EBADF, fd = -EBADF, writer = -EBADF;
	_cleanup_free_ char *path = NULL, *name = NULL;
	json_auto_t *record = NULL;
	char id[65], held[VERITY_HEX_SIZE];
	struct testdir t;

	NEEDS(has_tool("mkfs.erofs"), "mkfs.erofs is not installed");
	testdir_make(&t);
	s = bed(&t);
	tree_put(s, "x", id, 1);
	assert_int_equal(store_image_build(s, id, &e), 1);
	assert_ok(store_image_open(s, id, &fd, &e), &e);
	dir = openat(s->dir_fd, "images", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(asprintf(&name, "%s.json", id) > 0);
	assert_ok(store_record_read(dir, name, &record, &e), &e);
	path = store_object_path(s, STORE_IMAGE, id);
	if (verity_digest(fd, held) == 0) {
		assert_string_equal(json_string_value(json_object_get(record, "verity")), held);
		writer = open(path, O_RDWR | O_CLOEXEC);
		assert_true(writer < 0 && errno == EPERM);
	} else {
		assert_null(json_object_get(record, "verity"));
		assert_int_equal(verity_enable(fd), -EOPNOTSUPP);
	}
	store_freep(&s);
	testdir_done(&t);
}

static char *image_digest(bool odd)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(store_freep) struct store *s = NULL;
	const struct timespec times[] = { { .tv_sec = 1, .tv_nsec = 5 }, { .tv_sec = 86400, .tv_nsec = 7 } };
	_cleanup_close_ int fd = -EBADF, root = -EBADF;
	mode_t old = umask(odd ? 077 : 022);
	char id[65], hex[SHA256_HEX_SIZE];
	struct testdir t;

	testdir_make(&t);
	if (odd) {
		assert_int_equal(setenv("LC_ALL", "tr_TR.UTF-8", 1), 0);
		assert_int_equal(setenv("TZ", "Asia/Kathmandu", 1), 0);
	}
	s = bed(&t);
	tree_put(s, "x", id, 1);
	if (odd) {
		assert_ok(store_tree_open(s, id, &root, NULL, &e), &e);
		assert_int_equal(utimensat(root, "sub/tool", times, 0), 0);
		assert_int_equal(utimensat(root, "sub", times, 0), 0);
		assert_int_equal(utimensat(root, "lib.so", times, AT_SYMLINK_NOFOLLOW), 0);
	}
	assert_int_equal(store_image_build(s, id, &e), 1);
	assert_ok(store_image_open(s, id, &fd, &e), &e);
	assert_int_equal(sha256_fd_hex(fd, hex), 0);
	(void)umask(old);
	assert_int_equal(unsetenv("LC_ALL") | unsetenv("TZ"), 0);
	store_freep(&s);
	testdir_done(&t);
	return strdup(hex);
}

static void images_have_the_same_bytes_everywhere(void **state _unused_)
{
	_cleanup_free_ char *a = NULL, *b = NULL;

	NEEDS(has_tool("mkfs.erofs"), "mkfs.erofs is not installed");
	a = image_digest(false);
	b = image_digest(true);
	assert_string_equal(a, b);
}

static void images_come_and_go_with_their_record(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(store_freep) struct store *s = NULL;
	_cleanup_free_ char *before = NULL, *after = NULL;
	struct store_gc_result res;
	struct testdir t;
	char a[65], b[65];

	NEEDS(has_tool("mkfs.erofs"), "mkfs.erofs is not installed");
	testdir_make(&t);
	s = bed(&t);
	tree_put(s, "kept", a, 1);
	assert_ok(store_ref_set(s, "driver/a", STORE_TREE, a, &e), &e);
	assert_ok(store_image_build(s, a, &e), &e);
	assert_ok(store_ref_set(s, "image/a", STORE_IMAGE, a, &e), &e);
	before = testdir_snapshot(&t);
	tree_put(s, "dropped", b, 1);
	assert_ok(store_image_build(s, b, &e), &e);
	/* A build that was killed before its image appeared. */
	testdir_puts(&t, "a/store/images/0123.json", "{}");
	assert_ok(store_gc(s, false, NULL, &res, &e), &e);
	assert_int_equal(res.objects, 3);
	after = testdir_snapshot(&t);
	assert_string_equal(before, after);
	store_freep(&s);
	testdir_done(&t);
}

static void mounts_in_use_stay(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(store_freep) struct store *s = NULL;
	enum store_share used;
	struct testdir t;
	char id[65];
	int fd;

	NEEDS(may_mount, "no mounts of its own or no loop devices");
	testdir_make(&t);
	s = bed(&t);
	tree_put(s, "x", id, 1);
	assert_ok(shared(s, &t, id, STORE_RECEIVER_WRITER, SHARE_OVERLAY, &used, &e), &e);
	fd = openat(t.fd, "got/sub/tool", O_RDONLY | O_CLOEXEC);
	assert_int_equal(store_tree_unshare(t.fd, "got", &e), -EBUSY);
	assert_content(&t, id);
	assert_true(testdir_has(&t, ".got.overlay/upper"));
	close(fd);
	assert_ok(store_tree_unshare(t.fd, "got", &e), &e);
	assert_nothing_left(&t);
	store_freep(&s);
	testdir_done(&t);
}

static void tmpfs_has_neither_clones_nor_foreign_links(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(store_freep) struct store *s = NULL;
	struct testdir t, mem;
	enum store_share used;
	char id[65];

	NEEDS(may_mount, "no mounts of its own or no loop devices");
	testdir_make(&t);
	testdir_make(&mem);
	assert_int_equal(mount("none", mem.path, "tmpfs", 0, NULL), 0);
	close(mem.fd);
	mem.fd = open(mem.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	s = bed(&t);
	tree_put(s, "x", id, 1);
	assert_true(shared(s, &mem, id, STORE_RECEIVER_OWN, SHARE_REFLINK, &used, &e) < 0);
	assert_slug(&e, "unsupported");
	assert_true(shared(s, &mem, id, STORE_RECEIVER_TRUSTED, SHARE_HARDLINK, &used, &e) < 0);
	assert_slug(&e, "unsupported");
	assert_nothing_left(&mem);
	auto_is(s, &mem, id, STORE_RECEIVER_OWN, SHARE_COPY, false);
	auto_is(s, &mem, id, STORE_RECEIVER_TRUSTED, SHARE_COPY, false);
	store_freep(&s);
	testdir_done(&t);
	close(mem.fd);
	mem.fd = -EBADF;
	assert_int_equal(umount(mem.path), 0);
	testdir_done(&mem);
}

static bool run_tool(const char *a, const char *b, const char *c, const char *d, const char *f)
{
	_cleanup_(spawn_done) struct spawn child = SPAWN_INIT("a test's tool");

	(void)spawn_argv(&child, a, b, c, d, f, NULL);
	child.timeout_s = 60;
	return spawn_check(&child, NULL) >= 0;
}

static void reflinks_where_the_file_system_can(void **state _unused_)
{
	const char *mkfs = has_tool("mkfs.xfs") ? "mkfs.xfs" : "mkfs.btrfs";
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(store_freep) struct store *s = NULL;
	_cleanup_free_ char *disk = NULL;
	struct testdir t, fs;
	enum store_share used;
	char id[65];
	int fd;

	NEEDS(may_mount && has_tool(mkfs) && has_tool("mount"), "no file system with clones to mount");
	testdir_make(&t);
	testdir_make(&fs);
	assert_true(asprintf(&disk, "%s/disk", t.path) > 0);
	fd = open(disk, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, 512 << 20), 0);
	close(fd);
	assert_true(run_tool(mkfs, "-q", disk, NULL, NULL));
	if (!run_tool("mount", "-o", "loop", disk, fs.path)) {
		testdir_done(&t);
		testdir_done(&fs);
		NEEDS(false, "this kernel cannot mount it");
	}
	close(fs.fd);
	fs.fd = open(fs.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	s = bed(&fs);
	tree_put(s, "x", id, 1);
	auto_is(s, &fs, id, STORE_RECEIVER_OWN, SHARE_REFLINK, false);
	auto_is(s, &fs, id, STORE_RECEIVER_PRIVILEGED, SHARE_REFLINK, false);
	auto_is(s, &fs, id, STORE_RECEIVER_TRUSTED, SHARE_REFLINK, false);
	assert_ok(shared(s, &fs, id, STORE_RECEIVER_OWN, SHARE_REFLINK, &used, &e), &e);
	assert_int_equal(attack(fs.fd, true), 4);
	assert_intact(s, id);
	assert_ok(store_tree_unshare(fs.fd, "got", &e), &e);
	store_freep(&s);
	close(fs.fd);
	fs.fd = -EBADF;
	assert_int_equal(umount(fs.path), 0);
	testdir_done(&fs);
	testdir_done(&t);
}

static int own_mounts(void **state _unused_)
{
	/* A root without loop devices cannot show images to anybody. */
	may_mount = access("/dev/loop-control", R_OK | W_OK) == 0 && unshare(CLONE_NEWNS) == 0 &&
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(methods_have_names),
		cmocka_unit_test(no_receiver_alters_the_store),
		cmocka_unit_test(what_is_not_safe_is_refused),
		cmocka_unit_test(auto_takes_the_cheapest_that_is_safe),
		cmocka_unit_test(without_the_right_to_mount),
		cmocka_unit_test(damaged_images_are_not_mounted),
		cmocka_unit_test(images_cannot_be_changed),
		cmocka_unit_test(images_have_the_same_bytes_everywhere),
		cmocka_unit_test(images_come_and_go_with_their_record),
		cmocka_unit_test(mounts_in_use_stay),
		cmocka_unit_test(tmpfs_has_neither_clones_nor_foreign_links),
		cmocka_unit_test(reflinks_where_the_file_system_can),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, own_mounts, NULL);
}
