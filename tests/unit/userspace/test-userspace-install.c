/* SPDX-License-Identifier: Apache-2.0
 *
 * Into a root and out of it again, with everything that may stand in the way. */
#include "fixture.h"

#include "install.h"
#include "path.h"
#include "record.h"
#include "spawn.h"
#include "verify.h"

#include <linux/fs.h>
#include <sqlite3.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char head[] =
    "NVIDIA Accelerated Graphics Driver for Linux-x86_64\n%s\n \nnvidia nvidia-uvm \n \n \n./kernel/\n"
    "./kernel/precompiled/\n";

struct bed {
	struct testdir root, tree, state, outside;
	struct host *host;
	struct plan_state st;
	char *before; /* snapshot of the root */
	struct userspace_request q;
	struct err e;
};

/* The cache is text of the library directory's names: enough to see that it was renewed. */
static int fake_ldconfig(struct spawn *s, void *arg)
{
	struct bed *b = arg;

	s->status = 0;
	testdir_puts(&b->root, "etc/ld.so.cache",
		     testdir_has(&b->root, "usr/lib/x86_64-linux-gnu/libcuda.so.1") ? "with cuda"
										    : "without cuda");
	return 0;
}

static void make_tree(struct bed *b, const char *version)
{
	_cleanup_(strbuf_done) struct strbuf m = STRBUF_INIT(65536);
	static const char *const needs_c[] = { "libc.so.6", NULL };
	char name[128];

	strbuf_printf(&m, head, version);
	strbuf_printf(&m, "libcuda.so.%s 0755 CUDA_LIB NATIVE / MODULE:gpgpu\n", version);
	strbuf_printf(&m, "libcuda.so.1 0000 CUDA_SYMLINK NATIVE / libcuda.so.%s MODULE:gpgpu\n", version);
	strbuf_printf(&m, "libcuda.so 0000 CUDA_SYMLINK NATIVE / libcuda.so.1 MODULE:gpgpu\n");
	strbuf_printf(&m, "libnvidia-nvvm.so.%s 0755 CUDA_LIB NATIVE / MODULE:gpgpucomp\n", version);
	strbuf_puts(&m, "nvidia-smi 0755 UTILITY_BINARY MODULE:nvml\n");
	strbuf_puts(&m, "firmware/gsp_ga10x.bin 0644 FIRMWARE INHERIT_PATH_DEPTH:1 MODULE:resman\n");
	strbuf_puts(&m, "nvidia-settings.desktop 0644 DOT_DESKTOP / MODULE:xutils\n");
	testdir_puts(&b->tree, ".manifest", strbuf_str(&m));
	snprintf(name, sizeof(name), "libcuda.so.%s", version);
	fixture_object(&b->tree, name, 64, ELF_MACHINE_X86_64, "libcuda.so.1", needs_c);
	snprintf(name, sizeof(name), "libnvidia-nvvm.so.%s", version);
	fixture_object(&b->tree, name, 64, ELF_MACHINE_X86_64, "libnvidia-nvvm.so.4", needs_c);
	testdir_write(&b->tree, "nvidia-smi", version, strlen(version), 0755);
	testdir_write(&b->tree, "firmware/gsp_ga10x.bin", "gsp", 3, 0644);
	testdir_puts(&b->tree, "nvidia-settings.desktop", "Exec=__UTILS_PATH__/nvidia-settings\n");
}

static void bed_make(struct bed *b)
{
	memset(b, 0, sizeof(*b));
	testdir_make(&b->root);
	testdir_make(&b->tree);
	testdir_make(&b->state);
	testdir_make(&b->outside);
	fixture_debian(&b->root);
	make_tree(b, "1.2.3");
	fixture_dir(&b->state, "journal");
	fixture_dir(&b->state, "targets");
	b->st.journal_fd = openat(b->state.fd, "journal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b->st.targets_fd = openat(b->state.fd, "targets", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(userspace_register_ops(), 0);
	assert_ok(host_open(b->root.path, &b->host, &b->e), &b->e);
	b->q = (struct userspace_request){ .tree_fd = b->tree.fd,
					   .tree_path = b->tree.path,
					   .tree_id = "t1",
					   .arch = "x86_64",
					   .dest = { .profile = DEST_PROFILE_FULL } };
	spawn_set_hook(fake_ldconfig, b);
}

static void bed_done(struct bed *b)
{
	spawn_set_hook(NULL, NULL);
	host_freep(&b->host);
	close(b->st.journal_fd);
	close(b->st.targets_fd);
	testdir_done(&b->root);
	testdir_done(&b->tree);
	testdir_done(&b->state);
	testdir_done(&b->outside);
	free(b->before);
	err_done(&b->e);
}

static void keep_snapshot(struct bed *b)
{
	free(b->before);
	b->before = testdir_snapshot(&b->root);
}

static void assert_unchanged(struct bed *b)
{
	_cleanup_free_ char *now = testdir_snapshot(&b->root);

	assert_string_equal(now, b->before);
}

/* 1 = applied, 0 = nothing to do, or the error. */
static int install(struct bed *b)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	json_t *report = NULL;
	int r = userspace_plan_install(b->host, &b->q, &p, &report, &b->e);

	json_decref(report);
	if (r < 0 || !p->n_ops)
		return r < 0 ? r : 0;
	return plan_apply(p, &b->st, b->host, 5, NULL, &b->e);
}

static json_t *remove_it(struct bed *b, int *ret)
{
	json_t *report = json_object();

	*ret = userspace_remove(b->host, &b->st, false, report, NULL, &b->e);
	return report;
}

static void assert_text(struct bed *b, const char *path, const char *want)
{
	_cleanup_free_ char *text = testdir_read(&b->root, path, NULL);

	if (!text || strcmp(text, want) != 0)
		fail_msg("%s: %s", path, text ?: "absent");
}

static void assert_link(struct bed *b, const char *path, const char *want)
{
	char text[512];
	ssize_t n = readlinkat(b->root.fd, path, text, sizeof(text) - 1);

	if (n < 0)
		fail_msg("%s is no link", path);
	text[n] = '\0';
	assert_string_equal(text, want);
}

#define LIB "usr/lib/x86_64-linux-gnu"

static void in_and_out(void **state)
{
	_cleanup_free_ char *payload = NULL, *payload_after = NULL;
	json_t *found = json_array(), *report;
	struct bed b;
	int fds, r;

	bed_make(&b);
	payload = testdir_snapshot(&b.tree);
	testdir_puts(&b.root, "etc/ld.so.cache", "an old cache");
	keep_snapshot(&b);
	fds = testdir_open_fds();
	assert_ok(install(&b), &b.e);
	assert_link(&b, LIB "/libcuda.so.1", "libcuda.so.1.2.3");
	/* Nobody lists this one: it comes from the object itself. */
	assert_link(&b, LIB "/libnvidia-nvvm.so.4", "libnvidia-nvvm.so.1.2.3");
	assert_text(&b, "lib/firmware/nvidia/1.2.3/gsp_ga10x.bin", "gsp");
	assert_text(&b, "usr/share/applications/nvidia-settings.desktop", "Exec=/usr/bin/nvidia-settings\n");
	assert_text(&b, "etc/ld.so.cache", "with cuda");
	assert_int_equal(userspace_verify(b.host, found, NULL, &b.e), 0);
	assert_int_equal(userspace_check_resolves(b.host, found, &b.e), 0);
	assert_int_equal(install(&b), 0);
	report = remove_it(&b, &r);
	assert_int_equal(r, 1);
	assert_int_equal(json_array_size(json_object_get(report, "kept")), 0);
	json_decref(report);
	assert_unchanged(&b);
	report = remove_it(&b, &r);
	assert_int_equal(r, 0);
	json_decref(report);
	json_decref(found);
	payload_after = testdir_snapshot(&b.tree);
	assert_string_equal(payload, payload_after);
	assert_int_equal(testdir_open_fds(), fds);
	bed_done(&b);
}

static void no_cache_before_none_after(void **state)
{
	json_t *report;
	struct bed b;
	int r;

	bed_make(&b);
	keep_snapshot(&b);
	assert_ok(install(&b), &b.e);
	assert_true(testdir_has(&b.root, "etc/ld.so.cache"));
	report = remove_it(&b, &r);
	assert_int_equal(r, 1);
	json_decref(report);
	assert_unchanged(&b);
	bed_done(&b);
}

static void a_cache_renewed_since_is_made_anew(void **state)
{
	json_t *report;
	struct bed b;
	int r;

	bed_make(&b);
	testdir_puts(&b.root, "etc/ld.so.cache", "an old cache");
	assert_ok(install(&b), &b.e);
	testdir_puts(&b.root, "etc/ld.so.cache", "somebody's");
	report = remove_it(&b, &r);
	assert_int_equal(r, 1);
	json_decref(report);
	assert_text(&b, "etc/ld.so.cache", "without cuda");
	bed_done(&b);
}

static void an_upgrade_leaves_nothing_of_the_old(void **state)
{
	json_t *report, *found = json_array();
	struct bed b;
	int r;

	bed_make(&b);
	keep_snapshot(&b);
	assert_ok(install(&b), &b.e);
	make_tree(&b, "1.3");
	b.q.tree_id = "t2";
	assert_int_equal(install(&b), 1);
	assert_false(testdir_has(&b.root, LIB "/libcuda.so.1.2.3"));
	assert_false(testdir_has(&b.root, "lib/firmware/nvidia/1.2.3"));
	assert_link(&b, LIB "/libcuda.so.1", "libcuda.so.1.3");
	assert_int_equal(userspace_verify(b.host, found, NULL, &b.e), 0);
	assert_int_equal(install(&b), 0);
	report = remove_it(&b, &r);
	assert_int_equal(r, 1);
	assert_int_equal(json_integer_value(json_object_get(report, "deployments")), 2);
	json_decref(report);
	json_decref(found);
	assert_unchanged(&b);
	bed_done(&b);
}

static void changed_files_stay_and_are_named(void **state)
{
	json_t *report, *found = json_array();
	struct bed b;
	int r;

	bed_make(&b);
	assert_ok(install(&b), &b.e);
	testdir_puts(&b.root, "usr/bin/nvidia-smi", "mine now");
	assert_int_equal(unlinkat(b.root.fd, LIB "/libcuda.so", 0), 0);
	assert_int_equal(fchmodat(b.root.fd, "lib/firmware/nvidia/1.2.3/gsp_ga10x.bin", 0600, 0), 0);
	assert_int_equal(unlinkat(b.root.fd, LIB "/libcuda.so.1", 0), 0);
	fixture_link(&b.root, "elsewhere", LIB "/libcuda.so.1");
	testdir_puts(&b.root, "lib/firmware/nvidia/1.2.3/stranger", "x");
	assert_int_equal(userspace_verify(b.host, found, NULL, &b.e), 5);
	json_decref(found);
	report = remove_it(&b, &r);
	assert_int_equal(r, 1);
	assert_true(json_array_size(json_object_get(report, "kept")) >= 2);
	json_decref(report);
	assert_text(&b, "usr/bin/nvidia-smi", "mine now");
	assert_text(&b, "lib/firmware/nvidia/1.2.3/stranger", "x");
	assert_link(&b, LIB "/libcuda.so.1", "elsewhere");
	assert_false(testdir_has(&b.root, LIB "/libnvidia-nvvm.so.1.2.3"));
	bed_done(&b);
}

static void installing_again_repairs(void **state)
{
	json_t *found = json_array();
	struct bed b;

	bed_make(&b);
	assert_ok(install(&b), &b.e);
	testdir_puts(&b.root, "usr/bin/nvidia-smi", "broken");
	assert_int_equal(install(&b), 1);
	assert_int_equal(userspace_verify(b.host, found, NULL, &b.e), 0);
	json_decref(found);
	bed_done(&b);
}

/* -- conflicts -- */

static void refused(struct bed *b, const char *slug)
{
	int fds = testdir_open_fds();

	keep_snapshot(b);
	assert_true(install(b) < 0);
	assert_slug(&b->e, slug);
	err_done(&b->e);
	assert_unchanged(b);
	assert_int_equal(testdir_open_fds(), fds);
}

static void a_packages_file_is_not_replaced(void **state)
{
	json_t *report;
	struct bed b;
	int r;

	bed_make(&b);
	testdir_puts(&b.root, "usr/bin/nvidia-smi", "the distribution's");
	testdir_puts(&b.root, "var/lib/dpkg/info/nvidia-smi:amd64.list", "/.\n/usr\n/bin/nvidia-smi\n");
	refused(&b, "install-conflict");
	b.q.force = true;
	keep_snapshot(&b);
	assert_ok(install(&b), &b.e);
	assert_text(&b, "usr/bin/nvidia-smi", "1.2.3");
	report = remove_it(&b, &r);
	json_decref(report);
	assert_unchanged(&b);
	bed_done(&b);
}

static void a_diverted_file_belongs_to_the_diverter(void **state)
{
	struct bed b;

	bed_make(&b);
	testdir_puts(&b.root, "usr/bin/nvidia-smi", "nobody's");
	testdir_puts(&b.root, "var/lib/dpkg/info/nvidia-smi.list", "/usr/bin/nvidia-smi\n");
	testdir_puts(&b.root, "var/lib/dpkg/diversions",
		     "/usr/bin/nvidia-smi\n/usr/bin/nvidia-smi.real\nother\n");
	assert_ok(install(&b), &b.e);
	bed_done(&b);
}

static void an_unowned_file_is_replaced_and_comes_back(void **state)
{
	json_t *report;
	struct bed b;
	int r;

	bed_make(&b);
	testdir_write(&b.root, "usr/bin/nvidia-smi", "old", 3, 0700);
	keep_snapshot(&b);
	assert_ok(install(&b), &b.e);
	assert_text(&b, "usr/bin/nvidia-smi", "1.2.3");
	report = remove_it(&b, &r);
	json_decref(report);
	assert_unchanged(&b);
	bed_done(&b);
}

static void the_same_soname_elsewhere_is_a_conflict(void **state)
{
	json_t *report;
	struct bed b;
	int r;

	bed_make(&b);
	fixture_dir(&b.root, "usr/local/lib");
	testdir_puts(&b.root, "etc/ld.so.conf.d/local.conf", "/usr/local/lib\n");
	fixture_object(&b.root, "usr/local/lib/libcuda.so.1", 64, ELF_MACHINE_X86_64, "libcuda.so.1", NULL);
	/* Not these: another class, a name that only begins so, a directory the loader does not read. */
	fixture_object(&b.root, "usr/lib/libcuda.so.1", 32, ELF_MACHINE_I386, "libcuda.so.1", NULL);
	fixture_object(&b.root, "usr/local/lib/libcuda.so.1.stub", 64, ELF_MACHINE_X86_64, "libcuda.so.1",
		       NULL);
	fixture_object(&b.root, "usr/local/cuda/stubs/libcuda.so.1", 64, ELF_MACHINE_X86_64, "libcuda.so.1",
		       NULL);
	refused(&b, "install-conflict");
	b.q.force = true;
	keep_snapshot(&b);
	assert_ok(install(&b), &b.e);
	assert_false(testdir_has(&b.root, "usr/local/lib/libcuda.so.1"));
	assert_true(testdir_has(&b.root, "usr/lib/libcuda.so.1"));
	assert_true(testdir_has(&b.root, "usr/local/lib/libcuda.so.1.stub"));
	assert_true(testdir_has(&b.root, "usr/local/cuda/stubs/libcuda.so.1"));
	report = remove_it(&b, &r);
	json_decref(report);
	assert_unchanged(&b);
	bed_done(&b);
}

static void markers_and_foreign_systems(void **state)
{
	struct bed b;

	bed_make(&b);
	testdir_puts(&b.root, "usr/lib/nvidia/alternate-install-present", "");
	refused(&b, "install-alternate");
	b.q.force = true;
	assert_ok(install(&b), &b.e);
	bed_done(&b);

	bed_make(&b);
	b.q.dest.include = (char *[]){ (char *)"type:KERNEL_*", NULL };
	b.q.dest.profile = DEST_PROFILE_CUSTOM;
	refused(&b, "install-nothing-selected");
	bed_done(&b);
}

static void a_vendor_installation_is_taken_over(void **state)
{
	/* Somebody's file before: it is somebody's again, where we may give it away. */
	unsigned uid = geteuid() == 0 ? 1234 : geteuid();
	_cleanup_free_ char *log = NULL;
	json_t *report;
	struct stat st;
	struct bed b;
	int r;

	bed_make(&b);
	/* CRC-32/MPEG-2 of "123456789" is 0x0376E6E7. */
	testdir_puts(&b.root, "usr/bin/nvidia-old", "123456789");
	testdir_puts(&b.root, "usr/bin/nvidia-edited", "changed by hand");
	testdir_puts(&b.root, "usr/bin/nvidia-smi", "123456789");
	fixture_link(&b.root, "libold.so.9", LIB "/libold.so.1");
	log = str_printf(
	    "1.0-10 (1.0)\nDriver\n1: /usr/bin/nvidia-old\n58124007\n1: /usr/bin/nvidia-edited\n58124007\n"
	    "1: /usr/bin/nvidia-smi\n58124007\n0: "
	    "/" LIB "/libold.so.1\nlibold.so.9\n"
	    "100: /usr/bin/moved\n58124007 100640 %u %u\n",
	    uid, uid);
	testdir_puts(&b.root, "var/lib/nvidia/log", log);
	testdir_puts(&b.root, "var/lib/nvidia/100", "123456789");
	refused(&b, "install-vendor-present");
	keep_snapshot(&b);
	b.q.replace_vendor = true;
	assert_ok(install(&b), &b.e);
	assert_false(testdir_has(&b.root, "usr/bin/nvidia-old"));
	assert_text(&b, "usr/bin/nvidia-edited", "changed by hand");
	assert_text(&b, "usr/bin/nvidia-smi", "1.2.3");
	assert_text(&b, "usr/bin/moved", "123456789");
	assert_int_equal(fstatat(b.root.fd, "usr/bin/moved", &st, 0), 0);
	assert_int_equal(st.st_uid, uid);
	assert_int_equal(st.st_gid, uid);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_false(testdir_has(&b.root, LIB "/libold.so.1"));
	assert_false(testdir_has(&b.root, "var/lib/nvidia"));
	report = remove_it(&b, &r);
	json_decref(report);
	assert_unchanged(&b);
	bed_done(&b);
}

/* -- rpm -- */

/* A header blob of rpm's database: counts, index entries (tag, type, offset, count), data. */
static size_t rpm_blob(uint8_t *out, const char *name, const char *dir, const char *base)
{
	struct {
		uint32_t tag, type, offset, count;
	} index[] = { { 1000, 6, 0, 1 }, { 1116, 4, 0, 1 }, { 1117, 8, 0, 1 }, { 1118, 8, 0, 1 } };
	uint8_t data[512] = { 0 };
	size_t n = 4; /* the one directory index, 0 */

	index[1].offset = 0;
	index[0].offset = (uint32_t)n;
	n += (size_t)sprintf((char *)data + n, "%s", name) + 1;
	index[2].offset = (uint32_t)n;
	n += (size_t)sprintf((char *)data + n, "%s", base) + 1;
	index[3].offset = (uint32_t)n;
	n += (size_t)sprintf((char *)data + n, "%s", dir) + 1;
	for (size_t i = 0; i < ARRAY_LEN(index); i++) {
		const uint32_t words[] = { index[i].tag, index[i].type, index[i].offset, index[i].count };

		for (size_t k = 0; k < 4; k++)
			for (size_t c = 0; c < 4; c++)
				out[8 + i * 16 + k * 4 + c] = (uint8_t)(words[k] >> (24 - 8 * c));
	}
	memset(out, 0, 8);
	out[3] = ARRAY_LEN(index);
	out[6] = (uint8_t)(n >> 8);
	out[7] = (uint8_t)n;
	memcpy(out + 8 + 16 * ARRAY_LEN(index), data, n);
	return 8 + 16 * ARRAY_LEN(index) + n;
}

static void make_rpmdb(struct bed *b, const char *place, const char *dir, const char *base, bool damaged)
{
	char path[512];
	uint8_t blob[1024];
	size_t len = rpm_blob(blob, "some-package", dir, base);
	sqlite3_stmt *stmt;
	sqlite3 *db;

	if (damaged)
		memset(blob, 0xff, 8);
	testdir_puts(&b->root, place, "");
	snprintf(path, sizeof(path), "%s/%s", b->root.path, place);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(
	    sqlite3_exec(db,
			 "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL);"
			 "CREATE TABLE Basenames (key TEXT NOT NULL, hnum INTEGER, idx INTEGER);",
			 NULL, NULL, NULL),
	    SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "INSERT INTO Packages VALUES (7, ?)", -1, &stmt, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_bind_blob(stmt, 1, blob, (int)len, SQLITE_TRANSIENT), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);
	sqlite3_finalize(stmt);
	assert_int_equal(sqlite3_prepare_v2(db, "INSERT INTO Basenames VALUES (?, 7, 0)", -1, &stmt, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_bind_text(stmt, 1, base, -1, SQLITE_TRANSIENT), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
}

static void the_rpm_database_is_read(void **state)
{
	static const struct {
		const char *place, *dir;
		bool damaged, owned;
	} rows[] = {
		{ "usr/lib/sysimage/rpm/rpmdb.sqlite", "/usr/bin/", false, true },
		{ "var/lib/rpm/rpmdb.sqlite", "/usr/bin/", false, true },
		{ "var/lib/rpm/rpmdb.sqlite", "/bin/", false, true }, /* as a merged /usr has it */
		{ "var/lib/rpm/rpmdb.sqlite", "/opt/bin/", false, false },
		{ "var/lib/rpm/rpmdb.sqlite", "/usr/bin/", true, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct bed b;

		bed_make(&b);
		testdir_puts(&b.root, "usr/bin/nvidia-smi", "the distribution's");
		make_rpmdb(&b, rows[i].place, rows[i].dir, "nvidia-smi", rows[i].damaged);
		if (rows[i].owned)
			refused(&b, "install-conflict");
		else
			assert_ok(install(&b), &b.e);
		bed_done(&b);
	}
}

/* -- parts and templates -- */

#define LIB32 "usr/lib/i386-linux-gnu"

static void the_32_bit_parts_on_request(void **state)
{
	static const char more[] =
	    "32/libcuda.so.1.2.3 0755 CUDA_LIB COMPAT32 / MODULE:gpgpu\n"
	    "32/libcuda.so.1 0000 CUDA_SYMLINK COMPAT32 / libcuda.so.1.2.3 MODULE:gpgpu\n";
	static const char *const needs_c[] = { "libc.so.6", NULL };

	for (int wanted = 0; wanted < 2; wanted++) {
		_cleanup_free_ char *manifest = NULL, *text = NULL;
		json_t *missing = json_array(), *report;
		struct bed b;
		int r;

		bed_make(&b);
		fixture_object(&b.root, LIB32 "/libc.so.6", 32, ELF_MACHINE_I386, "libc.so.6", NULL);
		testdir_puts(&b.root, "etc/ld.so.conf.d/i386-linux-gnu.conf", "/lib/i386-linux-gnu\n");
		fixture_object(&b.tree, "32/libcuda.so.1.2.3", 32, ELF_MACHINE_I386, "libcuda.so.1", needs_c);
		manifest = testdir_read(&b.tree, ".manifest", NULL);
		text = str_printf("%s%s", manifest, more);
		testdir_puts(&b.tree, ".manifest", text);
		keep_snapshot(&b);
		b.q.compat32 = wanted;
		assert_ok(install(&b), &b.e);
		assert_int_equal(testdir_has(&b.root, LIB32 "/libcuda.so.1.2.3"), wanted);
		assert_int_equal(testdir_has(&b.root, LIB32 "/libcuda.so.1"), wanted);
		assert_true(testdir_has(&b.root, LIB "/libcuda.so.1"));
		assert_int_equal(userspace_check_resolves(b.host, missing, &b.e), 0);
		json_decref(missing);
		report = remove_it(&b, &r);
		json_decref(report);
		assert_unchanged(&b);
		bed_done(&b);
	}
}

static void every_token_of_a_template(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "Exec=__UTILS_PATH__/x\n", "Exec=/usr/bin/x\n" },
		{ "Icon=__PIXMAP_PATH__/y.png\n", "Icon=/usr/share/pixmaps/y.png\n" },
		{ "L=__LIBGL_PATH__\n", "L=/usr/lib/x86_64-linux-gnu\n" },
		{ "# __GENERATED_BY__\n", "# nvdriver\n" },
		{ "__UTILS_PATH____UTILS_PATH__", "/usr/bin/usr/bin" },
		{ "__UTILS_PATH_ __utils_path__ _", "__UTILS_PATH_ __utils_path__ _" },
		{ "__UNKNOWN__ %s \\n", "__UNKNOWN__ %s \\n" },
		{ "", "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct bed b;

		bed_make(&b);
		testdir_puts(&b.tree, "nvidia-settings.desktop", rows[i].text);
		assert_ok(install(&b), &b.e);
		assert_text(&b, "usr/share/applications/nvidia-settings.desktop", rows[i].want);
		bed_done(&b);
	}
}

/* -- what cannot be written -- */

/* false where this file system or our rights do not have the flag. */
static bool set_immutable(struct bed *b, const char *path, bool on)
{
	int fd = openat(b->root.fd, path, O_RDONLY | O_CLOEXEC), flags = 0, r;

	assert_true(fd >= 0);
	r = ioctl(fd, FS_IOC_GETFLAGS, &flags);
	flags = on ? flags | FS_IMMUTABLE_FL : flags & ~FS_IMMUTABLE_FL;
	if (r == 0)
		r = ioctl(fd, FS_IOC_SETFLAGS, &flags);
	close(fd);
	return r == 0;
}

/* A file that cannot be replaced, a directory nothing can be put into: everything already done is taken back. */
static void what_cannot_be_written_rolls_back(void **state)
{
	static const char *const places[] = { "usr/bin/nvidia-smi", "usr/share/applications" };

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		struct bed b;
		int r;

		bed_make(&b);
		fixture_dir(&b.root, "usr/share/applications");
		fixture_dir(&b.root, "var/lib/nvdriver");
		testdir_puts(&b.root, "usr/bin/nvidia-smi", "old");
		keep_snapshot(&b);
		if (!set_immutable(&b, places[i], true)) {
			bed_done(&b);
			print_message("# no immutable files here: not tested\n");
			skip();
		}
		r = install(&b);
		assert_true(set_immutable(&b, places[i], false));
		assert_true(r < 0);
		assert_non_null(b.e.reason);
		assert_unchanged(&b);
		assert_ok(install(&b), &b.e);
		bed_done(&b);
	}
}

/* -- systemd -- */

struct calls {
	struct bed *bed;
	unsigned reloads;
};

static int count_reloads(struct spawn *s, void *arg)
{
	struct calls *c = arg;

	if (strv_len(s->argv) > 1 && strcmp(s->argv[1], "daemon-reload") == 0) {
		c->reloads++;
		s->status = 0;
		return 0;
	}
	return fake_ldconfig(s, c->bed);
}

static void systemd_is_told_only_where_it_runs_this_root(void **state)
{
	static const struct {
		bool running, booted;
		unsigned reloads;
	} rows[] = { { false, false, 0 }, { false, true, 0 }, { true, false, 0 }, { true, true, 1 } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *manifest = NULL, *text = NULL;
		struct calls c = { 0 };
		struct bed b;

		bed_make(&b);
		c.bed = &b;
		spawn_set_hook(count_reloads, &c);
		testdir_write(&b.root, "usr/bin/systemctl", "x", 1, 0755);
		if (rows[i].booted)
			fixture_dir(&b.root, "run/systemd/system");
		manifest = testdir_read(&b.tree, ".manifest", NULL);
		text = str_printf("%ssystemd/system/nvidia-suspend.service 0644 SYSTEMD_UNIT system "
				  "MODULE:powermanagement\n",
				  manifest);
		testdir_puts(&b.tree, ".manifest", text);
		testdir_puts(&b.tree, "systemd/system/nvidia-suspend.service", "[Unit]\n");
		b.host->is_running = rows[i].running;
		assert_ok(install(&b), &b.e);
		if (c.reloads != rows[i].reloads)
			fail_msg("row %zu: %u reloads", i, c.reloads);
		bed_done(&b);
	}
}

static void a_vendor_record_on_request(void **state)
{
	_cleanup_free_ char *text = NULL;
	json_t *report;
	struct bed b;
	int r;

	bed_make(&b);
	b.q.write_vendor_record = true;
	keep_snapshot(&b);
	assert_ok(install(&b), &b.e);
	text = testdir_read(&b.root, "var/lib/nvidia/log", NULL);
	assert_non_null(text);
	assert_non_null(strstr(text, "1.0-123 (1.2.3)\n"));
	assert_non_null(strstr(text, "0: /" LIB "/libcuda.so.1\nlibcuda.so.1.2.3\n"));
	report = remove_it(&b, &r);
	json_decref(report);
	assert_unchanged(&b);
	bed_done(&b);
}

/* -- roots that mean harm -- */

static void nothing_leaves_the_root(void **state)
{
	_cleanup_free_ char *outside = NULL, *after = NULL;
	struct bed b;

	bed_make(&b);
	testdir_puts(&b.outside, "keep", "me");
	outside = testdir_snapshot(&b.outside);
	/* Directories of the root that are links to elsewhere on the machine. */
	fixture_link(&b.root, b.outside.path, "usr/share");
	fixture_link(&b.root, "../../../../../../../../../../../../tmp", "usr/lib/firmware");
	(void)install(&b);
	after = testdir_snapshot(&b.outside);
	assert_string_equal(outside, after);
	bed_done(&b);
}

static void a_pipe_where_a_file_has_to_go(void **state)
{
	struct bed b;

	bed_make(&b);
	assert_int_equal(mkfifoat(b.root.fd, "usr/bin/nvidia-smi", 0644), 0);
	b.q.force = true;
	refused(&b, "install-conflict");
	bed_done(&b);

	bed_make(&b);
	fixture_dir(&b.root, LIB "/libcuda.so.1");
	b.q.force = true;
	refused(&b, "install-conflict");
	bed_done(&b);
}

static void pipes_as_databases_do_not_block(void **state)
{
	struct bed b;

	bed_make(&b);
	fixture_dir(&b.root, "var/lib/dpkg/info");
	fixture_dir(&b.root, "var/lib/nvdriver");
	testdir_puts(&b.root, "usr/bin/nvidia-smi", "x");
	assert_int_equal(mkfifoat(b.root.fd, "var/lib/dpkg/info/a.list", 0644), 0);
	assert_int_equal(unlinkat(b.root.fd, "etc/ld.so.conf", 0), 0);
	assert_int_equal(mkfifoat(b.root.fd, "etc/ld.so.conf", 0644), 0);
	assert_ok(install(&b), &b.e);
	bed_done(&b);
}

static void a_damaged_record_is_refused(void **state)
{
	static const char *const records[] = { "", "{}", "[1]", "{\"schema\":\"nvdriver.record/1\"}" };

	for (size_t i = 0; i < ARRAY_LEN(records); i++) {
		struct bed b;

		bed_make(&b);
		testdir_puts(&b.root, USERSPACE_RECORD, records[i]);
		refused(&b, "install-record");
		bed_done(&b);
	}
}

static void an_object_nobody_has_is_found_missing(void **state)
{
	static const char *const needs[] = { "libc.so.6", "libmissing.so.1", NULL };
	json_t *missing = json_array();
	struct bed b;

	bed_make(&b);
	fixture_object(&b.tree, "libcuda.so.1.2.3", 64, ELF_MACHINE_X86_64, "libcuda.so.1", needs);
	assert_ok(install(&b), &b.e);
	assert_int_equal(userspace_check_resolves(b.host, missing, &b.e), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(missing, 0), "needs")),
			    "libmissing.so.1");
	json_decref(missing);
	bed_done(&b);
}

static void an_object_may_not_name_a_path(void **state)
{
	struct bed b;

	bed_make(&b);
	fixture_object(&b.tree, "libcuda.so.1.2.3", 64, ELF_MACHINE_X86_64, "../../../../etc/evil", NULL);
	refused(&b, "path-escapes-root");
	bed_done(&b);
}

TEST_MAIN(cmocka_unit_test(in_and_out), cmocka_unit_test(no_cache_before_none_after),
	  cmocka_unit_test(a_cache_renewed_since_is_made_anew),
	  cmocka_unit_test(an_upgrade_leaves_nothing_of_the_old),
	  cmocka_unit_test(changed_files_stay_and_are_named), cmocka_unit_test(installing_again_repairs),
	  cmocka_unit_test(a_packages_file_is_not_replaced),
	  cmocka_unit_test(a_diverted_file_belongs_to_the_diverter),
	  cmocka_unit_test(an_unowned_file_is_replaced_and_comes_back),
	  cmocka_unit_test(the_same_soname_elsewhere_is_a_conflict),
	  cmocka_unit_test(markers_and_foreign_systems),
	  cmocka_unit_test(a_vendor_installation_is_taken_over), cmocka_unit_test(a_vendor_record_on_request),
	  cmocka_unit_test(nothing_leaves_the_root), cmocka_unit_test(a_pipe_where_a_file_has_to_go),
	  cmocka_unit_test(pipes_as_databases_do_not_block), cmocka_unit_test(a_damaged_record_is_refused),
	  cmocka_unit_test(an_object_nobody_has_is_found_missing),
	  cmocka_unit_test(an_object_may_not_name_a_path), cmocka_unit_test(the_rpm_database_is_read),
	  cmocka_unit_test(the_32_bit_parts_on_request), cmocka_unit_test(every_token_of_a_template),
	  cmocka_unit_test(what_cannot_be_written_rolls_back),
	  cmocka_unit_test(systemd_is_told_only_where_it_runs_this_root))
