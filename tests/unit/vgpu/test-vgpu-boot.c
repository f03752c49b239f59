/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernel words: our reading of /etc/default/grub against what a POSIX shell makes of it, and the edits. */
#include "testlib.h"

#include "spawn.h"
#include "strbuf.h"
#include "vgpu-boot.h"
#include "err-vgpu.h"

#define V "GRUB_CMDLINE_LINUX_DEFAULT"

static const struct {
	const char *text, *want;
	bool unsure;
} grubs[] = {
	{ "", "" },
	{ V "=\"quiet\"\n", "quiet" },
	{ V "='quiet splash'\n", "quiet splash" },
	{ V "=quiet", "quiet" },
	{ V "=quiet\\ splash # " V "=x\n", "quiet splash" },
	{ "# " V "=\"old\"\n#" V "=\"older\"\n  " V "=\"new\"\n", "new" },
	{ V "=\"a\"\n" V "=\"b\"\n", "b" },
	{ V "=\"a\"; X=1\n" V "=\"$" V " b $X\"\n", "a b 1" },
	{ V "=\"a 'b' \\\"c\\\" \\$d\"\n", "a 'b' \"c\" $d" },
	{ V "='a \"b\" $c'\n", "a \"b\" $c" },
	{ V "=\"a\"' b'\\ c\n", "a b c" },
	{ V "=\"a \\\nb\"\n", "a b" },
	{ V "=\"a\nb\"\n", "a\nb" },
	{ "export " V "=\"a\"\n", "a" },
	{ "X=\"" V "=no\"\n" V "=yes\n", "yes" },
	{ V "=\"${X}a${" V "}\"\n", "a" },
	{ "GRUB_DISTRIBUTOR=`echo Debian`\n" V "=\"quiet\"\n", "quiet", true },
	{ "GRUB_DISTRIBUTOR=`lsb_release -i -s 2> /dev/null || echo Debian`\n" V "=\"quiet\"\n", "quiet",
	  true },
	{ V "=\"\"\nGRUB_CMDLINE_LINUX=\"root=ZFS=rpool/ROOT/pve-1 boot=zfs\"\n", "" },
	{ V "=\"quiet\"\r\n", "quiet\r" },
};

/* What a shell says the variable is after sourcing the files in order. NULL: there is no shell. */
static char *shell_says(const struct testdir *t, char *const *files)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("shell");
	_cleanup_(strbuf_done) struct strbuf script = STRBUF_INIT(65536);
	_cleanup_(err_done) struct err e = ERR_INIT;

	for (; *files; files++)
		strbuf_printf(&script, ". '%s/%s'; ", t->path, *files);
	strbuf_puts(&script, "printf %s \"$" V "\"");
	spawn_argv(&s, "/bin/sh", "-c", strbuf_str(&script), NULL);
	s.capture = true;
	assert_ok(spawn_check(&s, &e), &e);
	return strdup(s.out ? s.out : "");
}

static void reads_as_a_shell(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;

	testdir_make(&t);
	for (size_t i = 0; i < ARRAY_LEN(grubs); i++) {
		_cleanup_free_ char *value = NULL, *shell = NULL;
		struct span text = SPAN(grubs[i].text);
		bool sure;

		testdir_puts(&t, "grub", grubs[i].text);
		shell = shell_says(&t, (char *[]){ (char *)"grub", NULL });
		assert_int_equal(boot_shell_value(&text, 1, V, &value, &sure), 0);
		if (strcmp(value, grubs[i].want) != 0 || strcmp(value, shell) != 0 || sure == grubs[i].unsure)
			fail_msg("%s -> %s (shell: %s), %s", grubs[i].text, value, shell,
				 sure ? "sure" : "unsure");
	}
}

/* After the edit a shell that reads all files has the words once, whatever the quoting before. */
static void the_shell_sees_the_words(void **state _unused_)
{
	char *const wanted[] = { (char *)"intel_iommu=on", (char *)"iommu=pt", NULL };
	const struct boot_path grub = { .grub = true };

	for (size_t i = 0; i < ARRAY_LEN(grubs); i++) {
		_cleanup_(testdir_done) struct testdir t;
		_cleanup_(text_files_done) struct text_files files = { 0 };
		_cleanup_(text_edits_done) struct text_edits edits = { 0 }, again = { 0 };
		_cleanup_(err_done) struct err e = ERR_INIT;
		_cleanup_free_ char *value = NULL, *want = NULL;

		testdir_make(&t);
		testdir_puts(&t, "etc/default/grub", grubs[i].text);
		assert_int_equal(
		    text_files_add(&files, BOOT_GRUB_DEFAULT, grubs[i].text, strlen(grubs[i].text)), 0);
		assert_ok(boot_edits(&files, &grub, wanted, &edits, &e), &e);
		assert_int_equal(edits.n, 1);
		testdir_puts(&t, edits.v[0].path, edits.v[0].bytes);
		value = shell_says(&t, (char *[]){ (char *)BOOT_GRUB_DEFAULT, (char *)BOOT_GRUB_OURS, NULL });
		want = str_printf("%s intel_iommu=on iommu=pt", grubs[i].want);
		assert_string_equal(value, want);
		assert_int_equal(text_files_add(&files, edits.v[0].path, edits.v[0].bytes, edits.v[0].len),
				 0);
		assert_ok(boot_edits(&files, &grub, wanted, &again, &e), &e);
		assert_int_equal(again.n, 0);
	}
}

static const struct {
	const char *cmdline, *missing, *conflict;
} words[] = {
	{ "quiet", "intel_iommu=on iommu=pt", "" },
	{ "quiet intel_iommu=on iommu=pt", "", "" },
	{ "intel_iommu=on,sm_on", "iommu=pt", "" },
	{ "xintel_iommu=on my_iommu=pt", "intel_iommu=on iommu=pt", "" },
	{ "intel_iommu=off", "iommu=pt", "intel_iommu=off" },
	{ "intel_iommu=off intel_iommu=on", "iommu=pt", "" },
	{ "iommu=soft", "intel_iommu=on", "iommu=soft" },
	{ "intel_iommu", "intel_iommu=on iommu=pt", "" },
};

static void joined_equals(char **v, const char *want)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(4096);

	for (; v && *v; v++)
		strbuf_printf(&b, "%s%s", b.len ? " " : "", *v);
	assert_string_equal(strbuf_str(&b), want);
}

static void compares_word_by_word(void **state _unused_)
{
	char *const wanted[] = { (char *)"intel_iommu=on", (char *)"iommu=pt", NULL };

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		_cleanup_strv_ char **missing = NULL, **conflicts = NULL;

		assert_int_equal(boot_words_compare(words[i].cmdline, wanted, &missing, &conflicts), 0);
		joined_equals(missing, words[i].missing);
		joined_equals(conflicts, words[i].conflict);
	}
}

static void appends_to_the_command_line(void **state _unused_)
{
	static const char *const cases[][2] = {
		{ "root=ZFS=rpool/ROOT/pve-1 boot=zfs\n",
		  "root=ZFS=rpool/ROOT/pve-1 boot=zfs amd_iommu=on iommu=pt\n" },
		{ "root=x  \n", "root=x amd_iommu=on iommu=pt  \n" },
		{ "root=x", "root=x amd_iommu=on iommu=pt\n" },
		{ "", "amd_iommu=on iommu=pt\n" },
		{ "root=x\r\n# more\n", "root=x amd_iommu=on iommu=pt\r\n# more\n" },
	};
	char *const wanted[] = { (char *)"amd_iommu=on", (char *)"iommu=pt", NULL };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *out = NULL;

		assert_int_equal(boot_cmdline_add(SPAN(cases[i][0]), wanted, &out), 0);
		assert_string_equal(out, cases[i][1]);
	}
}

static void refuses_the_opposite(void **state _unused_)
{
	char *const wanted[] = { (char *)"intel_iommu=on", NULL };
	_cleanup_(text_files_done) struct text_files files = { 0 };
	_cleanup_(text_edits_done) struct text_edits edits = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	static const char text[] = V "=\"quiet intel_iommu=off\"\n";

	assert_int_equal(text_files_add(&files, BOOT_GRUB_DEFAULT, text, strlen(text)), 0);
	assert_int_equal(boot_edits(&files, &(struct boot_path){ .grub = true }, wanted, &edits, &e),
			 -ERR_VGPU_BOOT_CONFLICT);
	assert_non_null(strstr(e.reason, "intel_iommu=off"));
	assert_int_equal(edits.n, 0);
}

static void notes_a_later_file(void **state _unused_)
{
	char *const wanted[] = { (char *)"iommu=pt", NULL };
	_cleanup_(text_files_done) struct text_files files = { 0 };
	_cleanup_(text_edits_done) struct text_edits edits = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	static const char text[] = V "=\"quiet\"\n";

	assert_int_equal(text_files_add(&files, BOOT_GRUB_DIR "/zz.cfg", text, strlen(text)), 0);
	assert_ok(boot_edits(&files, &(struct boot_path){ .grub = true }, wanted, &edits, &e), &e);
	assert_int_equal(strv_len(edits.notes), 1);
}

static void finds_the_loader(void **state _unused_)
{
	static const struct {
		struct boot_facts f;
		bool grub;
	} cases[] = {
		{ { .efi = false }, true },
		{ { .efi = true, .secure_boot = TRI_NO }, true }, /* ext4 on LVM */
		{ { .efi = true, .zfs_root = true, .managed = true, .secure_boot = TRI_NO }, false },
		{ { .efi = true, .zfs_root = true, .managed = true, .secure_boot = TRI_YES }, true },
		{ { .efi = false, .zfs_root = true, .managed = true }, true },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct boot_path p = boot_path_find(&cases[i].f);

		assert_true(p.grub == cases[i].grub && p.grub != p.systemd_boot);
		assert_int_equal(p.managed, cases[i].f.managed);
	}
}

TEST_MAIN(cmocka_unit_test(reads_as_a_shell), cmocka_unit_test(the_shell_sees_the_words),
	  cmocka_unit_test(compares_word_by_word), cmocka_unit_test(appends_to_the_command_line),
	  cmocka_unit_test(refuses_the_opposite), cmocka_unit_test(notes_a_later_file),
	  cmocka_unit_test(finds_the_loader))
