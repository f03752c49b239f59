/* SPDX-License-Identifier: Apache-2.0 */
#include "testcert.h"
#include "testelf.h"

#include "modinfo.h"

#include <archive.h>
#include <archive_entry.h>

static void check_all(const struct modinfo *m)
{
	assert_string_equal(m->name, "nvidia");
	assert_string_equal(m->version, "535.261.03");
	assert_string_equal(m->license, "NVIDIA");
	assert_string_equal(m->srcversion, "ABC");
	assert_string_equal(m->vermagic, "6.1.0-56-amd64 SMP preempt mod_unload modversions ");
	assert_null(m->description);
	assert_string_equal(m->depends[0], "drm");
	assert_string_equal(m->depends[1], "i2c-core");
	assert_null(m->depends[2]);
	assert_string_equal(m->firmware[1], "nvidia/b.bin");
	assert_null(m->firmware[2]);
	assert_string_equal(m->alias[0], "pci:v000010DE*");
	assert_int_equal(m->n_params, 2);
	assert_string_equal(m->params[0].name, "NVreg_X");
	assert_string_equal(m->params[0].type, "int");
	assert_string_equal(m->params[0].description, "what x does");
	assert_string_equal(m->params[1].name, "NVreg_Y");
	assert_string_equal(m->params[1].type, "charp");
	assert_null(m->params[1].description);
}

static void reads_a_module(void **state _unused_)
{
	struct modinfo m = MODINFO_INIT;
	struct err e = ERR_INIT;
	struct testelf elf;
	struct testdir t;

	testdir_make(&t);
	testelf_module(&elf);
	testdir_write(&t, "m.ko", elf.bytes, elf.len, 0644);
	assert_ok(modinfo_read_at(t.fd, "m.ko", &m, &e), &e);
	check_all(&m);
	assert_false(m.is_signed);
	assert_string_equal(m.compression, "none");
	assert_int_equal(m.size_bytes, elf.len);
	modinfo_done(&m);
	testdir_done(&t);
}

static void reads_the_signer(void **state _unused_)
{
	struct modinfo m = MODINFO_INIT;
	struct signer *s = NULL;
	struct err e = ERR_INIT;
	char key[320], cert[320];
	struct testcert c;
	struct testelf elf;
	struct testdir t;

	testdir_make(&t);
	testelf_module(&elf);
	testdir_write(&t, "m.ko", elf.bytes, elf.len, 0644);
	testcert_make(&c, &(struct testcert_spec){ .cn = "signer" });
	testcert_write(&c, &t, "k");
	snprintf(key, sizeof(key), "%s/k.key", t.path);
	snprintf(cert, sizeof(cert), "%s/k.der", t.path);
	assert_ok(signer_load(key, cert, -EBADF, &s, &e), &e);
	assert_ok(modsig_sign_file(t.fd, "m.ko", t.fd, "m.ko",
				   &(struct modsig_options){ .signer = s, .hash = "sha384" }, &e),
		  &e);
	assert_ok(modinfo_read_at(t.fd, "m.ko", &m, &e), &e);
	check_all(&m);
	assert_true(m.is_signed);
	assert_string_equal(m.signature.signer, "signer");
	assert_string_equal(m.signature.hash, "sha384");
	modinfo_done(&m);
	signer_freep(&s);
	testcert_done(&c);
	testdir_done(&t);
}

static void compress_to(const struct testdir *t, const char *name, int filter, const void *bytes, size_t len)
{
	struct archive *a = archive_write_new();
	struct archive_entry *entry = archive_entry_new();
	char path[320];

	snprintf(path, sizeof(path), "%s/%s", t->path, name);
	assert_int_equal(archive_write_set_format_raw(a), ARCHIVE_OK);
	assert_int_equal(archive_write_add_filter(a, filter), ARCHIVE_OK);
	assert_int_equal(archive_write_open_filename(a, path), ARCHIVE_OK);
	archive_entry_set_pathname(entry, "m");
	archive_entry_set_filetype(entry, AE_IFREG);
	assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
	assert_int_equal(archive_write_data(a, bytes, len), (la_ssize_t)len);
	archive_entry_free(entry);
	assert_int_equal(archive_write_free(a), ARCHIVE_OK);
}

static void reads_compressed_modules(void **state _unused_)
{
	static const struct {
		const char *name, *compression;
		int filter;
	} rows[] = { { "m.ko.xz", "xz", ARCHIVE_FILTER_XZ },
		     { "m.ko.zst", "zstd", ARCHIVE_FILTER_ZSTD },
		     { "m.ko.gz", "gzip", ARCHIVE_FILTER_GZIP } };
	int fds = testdir_open_fds();
	struct err e = ERR_INIT;
	struct testelf elf;
	struct testdir t;

	testdir_make(&t);
	testelf_module(&elf);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct modinfo m = MODINFO_INIT;
		char *bytes;
		size_t len;

		compress_to(&t, rows[i].name, rows[i].filter, elf.bytes, elf.len);
		assert_ok(modinfo_read_at(t.fd, rows[i].name, &m, &e), &e);
		check_all(&m);
		assert_string_equal(m.compression, rows[i].compression);
		assert_int_equal(m.size_bytes, elf.len);
		modinfo_done(&m);
		/* Cut in the middle. */
		bytes = testdir_read(&t, rows[i].name, &len);
		testdir_write(&t, "cut", bytes, len / 2, 0644);
		free(bytes);
		assert_true(modinfo_read_at(t.fd, "cut", &m, &e) < 0);
		if (e.code != ERR_MODULE_COMPRESSION && e.code != ERR_MODULE_NOT_ELF)
			fail_msg("%s cut: %s", rows[i].name, err_slug(e.code));
		err_done(&e);
	}
	testdir_done(&t);
	assert_int_equal(testdir_open_fds(), fds);
}

static void refuses_by_slug(void **state _unused_)
{
	static const struct {
		const char *what;
		struct testelf_spec spec;
		const char *slug;
	} rows[] = {
		{ "no .modinfo", { 0 }, "module-not-a-module" },
		{ "an executable",
		  { .modinfo = "a=b", .modinfo_len = 4, .type = ET_EXEC },
		  "module-not-a-module" },
		{ "another machine",
		  { .modinfo = "a=b", .modinfo_len = 4, .machine = EM_S390 },
		  "module-not-a-module" },
		{ "no end", { .modinfo = "a=b", .modinfo_len = 3 }, "modinfo-invalid" },
		{ "no equals sign", { .modinfo = "ab", .modinfo_len = 3 }, "modinfo-invalid" },
		{ "nameless parameter", { .modinfo = "parm=ab", .modinfo_len = 8 }, "modinfo-invalid" },
	};
	struct modinfo m = MODINFO_INIT;
	struct err e = ERR_INIT;
	struct testelf elf;
	struct testdir t;

	testdir_make(&t);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		testelf_make(&elf, &rows[i].spec);
		testdir_write(&t, "m.ko", elf.bytes, elf.len, 0644);
		if (modinfo_read_at(t.fd, "m.ko", &m, &e) >= 0)
			fail_msg("%s was accepted", rows[i].what);
		assert_slug(&e, rows[i].slug);
		assert_string_equal(e.object, "m.ko");
		err_done(&e);
	}
	testdir_puts(&t, "text", "no module");
	assert_true(modinfo_read_at(t.fd, "text", &m, &e) < 0);
	assert_slug(&e, "module-not-a-module");
	assert_true(modinfo_read_at(t.fd, ".", &m, &e) < 0);
	assert_slug(&e, "module-not-a-module");
	assert_int_equal(modinfo_read_at(t.fd, "absent", &m, &e), -ENOENT);
	err_done(&e);
	testdir_done(&t);
}

/* Padding between entries, an empty section, the first of two values. */
static void section_details(void **state _unused_)
{
	static const char text[] = "\0\0license=GPL\0\0\0license=other\0depends=\0parmtype=a:int\0";
	struct modinfo m = MODINFO_INIT;
	struct err e = ERR_INIT;

	assert_ok(modinfo_parse(text, sizeof(text) - 1, &m, &e), &e);
	assert_string_equal(m.license, "GPL");
	assert_null(m.depends);
	assert_int_equal(m.n_params, 1);
	modinfo_done(&m);
	assert_ok(modinfo_parse("", 0, &m, &e), &e);
	assert_null(m.license);
	modinfo_done(&m);
}

static void shape(void **state _unused_)
{
	struct module_shape s;
	struct err e = ERR_INIT;
	struct testelf elf;
	struct testdir t;
	int fd;

	testdir_make(&t);
	testelf_make(&elf,
		     &(struct testelf_spec){ .modinfo = "a=b", .modinfo_len = 4, .no_this_module = true });
	testdir_write(&t, "m.ko", elf.bytes, elf.len, 0644);
	fd = openat(t.fd, "m.ko", O_RDONLY | O_CLOEXEC);
	assert_ok(module_shape_fd(fd, &s, &e), &e);
	assert_int_equal(s.machine, EM_X86_64);
	assert_int_equal(s.type, ET_REL);
	assert_false(s.has_this_module);
	assert_true(s.has_modinfo);
	assert_int_equal(s.modinfo_size, 4);
	close(fd);
	testdir_done(&t);
}

TEST_MAIN(cmocka_unit_test(reads_a_module), cmocka_unit_test(reads_the_signer),
	  cmocka_unit_test(reads_compressed_modules), cmocka_unit_test(refuses_by_slug),
	  cmocka_unit_test(section_details), cmocka_unit_test(shape))
