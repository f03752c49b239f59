/* SPDX-License-Identifier: Apache-2.0 */
#include "testcert.h"
#include "testelf.h"

#include "modsig.h"
#include "spawn.h"

struct fixture {
	struct testdir dir;
	struct testcert rsa, other;
	struct signer *signer;
	struct cert *foreign;
	struct testelf elf;
	char key[320], cert[320];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err e = ERR_INIT;
	char path[320];

	testdir_make(&f->dir);
	testcert_make(&f->rsa, &(struct testcert_spec){ .cn = "nvdriver test signer 024" });
	testcert_make(&f->other, &(struct testcert_spec){ .cn = "somebody else" });
	testcert_write(&f->rsa, &f->dir, "rsa");
	testcert_write(&f->other, &f->dir, "other");
	snprintf(f->key, sizeof(f->key), "%s/rsa.key", f->dir.path);
	snprintf(f->cert, sizeof(f->cert), "%s/rsa.der", f->dir.path);
	snprintf(path, sizeof(path), "%s/other.der", f->dir.path);
	assert_ok(signer_load(f->key, f->cert, -EBADF, &f->signer, &e), &e);
	assert_ok(cert_load(path, &f->foreign, &e), &e);
	testelf_module(&f->elf);
	testdir_write(&f->dir, "m.ko", f->elf.bytes, f->elf.len, 04755);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	signer_freep(&f->signer);
	cert_freep(&f->foreign);
	testcert_done(&f->rsa);
	testcert_done(&f->other);
	testdir_done(&f->dir);
	free(f);
	return 0;
}

static const uint8_t t3_trailer[40] = { 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
					0x01, 0x9E, 0x7E, 0x4D, 0x6F, 0x64, 0x75, 0x6C, 0x65, 0x20,
					0x73, 0x69, 0x67, 0x6E, 0x61, 0x74, 0x75, 0x72, 0x65, 0x20,
					0x61, 0x70, 0x70, 0x65, 0x6E, 0x64, 0x65, 0x64, 0x7E, 0x0A };

static int sign(struct fixture *f, const char *from, const char *to, const struct modsig_options *more,
		struct err *e)
{
	struct modsig_options o = *more;

	o.signer = f->signer;
	if (!o.hash)
		o.hash = "sha512";
	return modsig_sign_file(f->dir.fd, from, f->dir.fd, to, &o, e);
}

static void trailer_vector(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct stat st;
	size_t len;
	char *bytes;

	assert_ok(sign(f, "m.ko", "signed.ko", &(struct modsig_options){ 0 }, &e), &e);
	bytes = testdir_read(&f->dir, "signed.ko", &len);
	assert_int_equal(len, f->elf.len + 414 + 40);
	assert_memory_equal(bytes, f->elf.bytes, f->elf.len);
	assert_memory_equal(bytes + len - 40, t3_trailer, 40);
	free(bytes);
	/* Permission bits are kept, the set-id bit is not. */
	assert_int_equal(fstatat(f->dir.fd, "signed.ko", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	bytes = testdir_read(&f->dir, "m.ko", &len);
	assert_int_equal(len, f->elf.len);
	free(bytes);
	assert_ok(modsig_verify_at(f->dir.fd, "signed.ko", signer_cert(f->signer), NULL, &e), &e);
}

static void in_place_and_again(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct cms_info info;
	char *first, *second;
	size_t len, again;

	assert_ok(sign(f, "m.ko", "m.ko", &(struct modsig_options){ 0 }, &e), &e);
	first = testdir_read(&f->dir, "m.ko", &len);
	assert_true(sign(f, "m.ko", "m.ko", &(struct modsig_options){ 0 }, &e) < 0);
	assert_slug(&e, "module-signed-already");
	assert_string_equal(e.object, "m.ko");
	second = testdir_read(&f->dir, "m.ko", &again);
	assert_int_equal(again, len);
	assert_memory_equal(first, second, len);
	free(second);
	assert_ok(sign(f, "m.ko", "m.ko", &(struct modsig_options){ .resign = true }, &e), &e);
	second = testdir_read(&f->dir, "m.ko", &again);
	assert_int_equal(again, len);
	assert_memory_equal(first, second, len);
	free(first);
	free(second);
	assert_ok(sign(f, "m.ko", "m.ko", &(struct modsig_options){ .resign = true, .hash = "sha256" }, &e),
		  &e);
	assert_ok(modsig_verify_at(f->dir.fd, "m.ko", signer_cert(f->signer), &info, &e), &e);
	assert_string_equal(info.hash, "sha256");
	assert_string_equal(info.signer, "nvdriver test signer 024");
	err_done(&e);
}

static void refuses_and_leaves_everything(void **state)
{
	static const struct {
		const char *name, *slug;
	} rows[] = {
		{ "text", "module-not-a-module" },
		{ "empty", "module-not-a-module" },
		{ "dir", "module-not-a-module" },
		{ "m.ko.xz", "module-is-compressed" },
		{ "m.ko.zst", "module-is-compressed" },
		{ "m.ko.gz", "module-is-compressed" },
		{ "bad-trailer", "module-signature-trailer-invalid" },
	};
	struct fixture *f = *state;
	struct testelf bad = f->elf;
	int fds;

	memcpy(bad.bytes + bad.len, t3_trailer, 40);
	bad.bytes[bad.len + 8] = 0xff; /* longer than the file */
	testdir_write(&f->dir, "bad-trailer", bad.bytes, bad.len + 40, 0644);
	testdir_puts(&f->dir, "text", "not a module\n");
	testdir_puts(&f->dir, "empty", "");
	testdir_write(&f->dir, "m.ko.xz",
		      "\xfd"
		      "7zXZ\0rest",
		      10, 0644);
	testdir_write(&f->dir, "m.ko.zst", "\x28\xb5\x2f\xfdrest", 8, 0644);
	testdir_write(&f->dir, "m.ko.gz", "\x1f\x8b\x08rest", 7, 0644);
	assert_int_equal(mkdirat(f->dir.fd, "dir", 0755), 0);
	assert_int_equal(symlinkat("m.ko", f->dir.fd, "link.ko"), 0);
	fds = testdir_open_fds();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *before = testdir_snapshot(&f->dir), *after;
		struct err e = ERR_INIT;

		assert_true(
		    sign(f, rows[i].name, rows[i].name, &(struct modsig_options){ .resign = true }, &e) < 0);
		assert_slug(&e, rows[i].slug);
		after = testdir_snapshot(&f->dir);
		assert_string_equal(before, after);
		free(before);
		free(after);
		err_done(&e);
	}
	assert_int_equal(sign(f, "link.ko", "out.ko", &(struct modsig_options){ 0 }, NULL), -ELOOP);
	assert_int_equal(sign(f, "absent.ko", "out.ko", &(struct modsig_options){ 0 }, NULL), -ENOENT);
	assert_true(sign(f, "m.ko", "out.ko", &(struct modsig_options){ .hash = "md5" }, NULL) < 0);
	assert_false(testdir_has(&f->dir, "out.ko"));
	assert_int_equal(testdir_open_fds(), fds);
}

static void verify_by_slug(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	size_t len;
	char *bytes;

	assert_true(modsig_verify_at(f->dir.fd, "m.ko", signer_cert(f->signer), NULL, &e) < 0);
	assert_slug(&e, "module-not-signed");
	assert_ok(sign(f, "m.ko", "s.ko", &(struct modsig_options){ 0 }, &e), &e);
	assert_true(modsig_verify_at(f->dir.fd, "s.ko", f->foreign, NULL, &e) < 0);
	assert_slug(&e, "signature-foreign");
	bytes = testdir_read(&f->dir, "s.ko", &len);
	bytes[100] ^= 1;
	testdir_write(&f->dir, "changed.ko", bytes, len, 0644);
	assert_true(modsig_verify_at(f->dir.fd, "changed.ko", signer_cert(f->signer), NULL, &e) < 0);
	assert_slug(&e, "signature-mismatch");
	bytes[100] ^= 1;
	bytes[len - 41] ^= 1; /* the last byte of the signature value */
	testdir_write(&f->dir, "value.ko", bytes, len, 0644);
	assert_true(modsig_verify_at(f->dir.fd, "value.ko", signer_cert(f->signer), NULL, &e) < 0);
	assert_slug(&e, "signature-mismatch");
	bytes[len - 41] ^= 1;
	bytes[len - 40 - 414] ^= 1; /* the first byte of the DER part */
	testdir_write(&f->dir, "der.ko", bytes, len, 0644);
	assert_true(modsig_verify_at(f->dir.fd, "der.ko", signer_cert(f->signer), NULL, &e) < 0);
	assert_slug(&e, "signature-invalid");
	free(bytes);
	err_done(&e);
}

static void detects_trailers(void **state _unused_)
{
	static const struct {
		int offset; /* of the byte that is changed in the trailer; -1 = none */
		uint8_t value;
		size_t before; /* bytes in front of the trailer */
		int result;
		bool is_signed;
	} rows[] = {
		{ -1, 0, 414, 0, true },	 { -1, 0, 500, 0, true },
		{ -1, 0, 413, -EBADMSG, false }, { 0, 1, 414, -EBADMSG, false },
		{ 1, 4, 414, -EBADMSG, false },	 { 2, 1, 414, -EBADMSG, false },
		{ 2, 0, 414, -EBADMSG, false },	 { 3, 1, 414, -EBADMSG, false },
		{ 4, 1, 414, -EBADMSG, false },	 { 5, 1, 414, -EBADMSG, false },
		{ 7, 1, 414, -EBADMSG, false },	 { 8, 0xff, 414, -EBADMSG, false },
		{ 39, 0, 414, 0, false },	 { 12, 'x', 414, 0, false },
	};
	uint8_t bytes[600] = { 0 };
	struct modsig sig;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		memcpy(bytes + rows[i].before, t3_trailer, 40);
		if (rows[i].offset >= 0)
			bytes[rows[i].before + (size_t)rows[i].offset] = rows[i].value;
		assert_int_equal(modsig_detect(bytes, rows[i].before + 40, &sig), rows[i].result);
		if (rows[i].result < 0)
			continue;
		assert_int_equal(sig.is_signed, rows[i].is_signed);
		assert_int_equal(sig.content_size,
				 rows[i].is_signed ? rows[i].before - 414 : rows[i].before + 40);
	}
	/* No DER at all, and too short for a trailer. */
	memcpy(bytes, t3_trailer, 40);
	bytes[10] = bytes[11] = 0;
	assert_int_equal(modsig_detect(bytes, 40, &sig), -EBADMSG);
	assert_int_equal(modsig_detect(bytes + 1, 39, &sig), 0);
	assert_false(sig.is_signed);
	assert_int_equal(modsig_detect(bytes, 0, &sig), 0);
	assert_false(sig.is_signed);
}

static void detach_and_attach(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ uint8_t *sig = NULL;
	struct err e = ERR_INIT;
	int linked_fd, signed_fd;
	char *a, *b;
	size_t len, sig_len, b_len;

	assert_ok(sign(f, "m.ko", "s.ko", &(struct modsig_options){ 0 }, &e), &e);
	linked_fd = openat(f->dir.fd, "m.ko", O_RDONLY | O_CLOEXEC);
	signed_fd = openat(f->dir.fd, "s.ko", O_RDONLY | O_CLOEXEC);
	assert_ok(modsig_detach(linked_fd, signed_fd, &sig, &sig_len, &e), &e);
	assert_int_equal(sig_len, 454);
	assert_true(modsig_detach(signed_fd, signed_fd, &sig, &sig_len, &e) < 0);
	assert_slug(&e, "signed-module-differs");
	assert_true(modsig_detach(linked_fd, linked_fd, &sig, &sig_len, &e) < 0);
	assert_slug(&e, "module-not-signed");
	assert_ok(modsig_attach(f->dir.fd, "m.ko", f->dir.fd, "attached.ko", sig, sig_len,
				signer_cert(f->signer), &e),
		  &e);
	a = testdir_read(&f->dir, "s.ko", &len);
	b = testdir_read(&f->dir, "attached.ko", &b_len);
	assert_int_equal(len, b_len);
	assert_memory_equal(a, b, len);
	free(a);
	free(b);
	assert_true(modsig_attach(f->dir.fd, "m.ko", f->dir.fd, "x.ko", sig, sig_len, f->foreign, &e) < 0);
	assert_slug(&e, "signature-foreign");
	assert_true(modsig_attach(f->dir.fd, "s.ko", f->dir.fd, "x.ko", sig, sig_len, NULL, &e) < 0);
	assert_slug(&e, "module-signed-already");
	assert_true(modsig_attach(f->dir.fd, "m.ko", f->dir.fd, "x.ko", sig + 1, sig_len - 1, NULL, &e) < 0);
	assert_slug(&e, "detached-signature-invalid");
	assert_true(modsig_attach(f->dir.fd, "m.ko", f->dir.fd, "x.ko", "text", 4, NULL, &e) < 0);
	assert_slug(&e, "detached-signature-invalid");
	assert_false(testdir_has(&f->dir, "x.ko"));
	close(linked_fd);
	close(signed_fd);
	err_done(&e);
}

/* A signing program with the kernel tool's interface: the bytes it leaves are judged, not its status alone. */
struct fake_tool {
	struct fixture *f;
	int calls;
	bool change_content, sign_nothing;
};

static int fake_tool_run(struct spawn *s, void *arg)
{
	struct fake_tool *tool = arg;
	struct modsig_options o = { .signer = tool->f->signer, .hash = s->argv[1] };
	int fd;

	tool->calls++;
	assert_string_equal(s->argv[0], "site-sign");
	assert_string_equal(s->argv[2], tool->f->key);
	assert_string_equal(s->argv[3], tool->f->cert);
	assert_null(s->argv[5]);
	if (tool->change_content) {
		fd = openat(s->cwd_fd, s->argv[4], O_WRONLY | O_APPEND | O_CLOEXEC);
		assert_int_equal(write(fd, "more", 4), 4);
		close(fd);
	}
	if (!tool->sign_nothing)
		assert_int_equal(modsig_sign_file(s->cwd_fd, s->argv[4], s->cwd_fd, s->argv[4], &o, NULL), 0);
	return 0;
}

static void external_tool(void **state)
{
	struct fixture *f = *state;
	struct modsig_options o = { .tool = "site-sign", .key_path = f->key, .cert_path = f->cert };
	struct fake_tool tool = { .f = f };
	struct err e = ERR_INIT;

	spawn_set_hook(fake_tool_run, &tool);
	assert_ok(sign(f, "m.ko", "tool.ko", &o, &e), &e);
	assert_int_equal(tool.calls, 1);
	assert_ok(modsig_verify_at(f->dir.fd, "tool.ko", signer_cert(f->signer), NULL, &e), &e);
	tool.change_content = true;
	assert_true(sign(f, "m.ko", "tool2.ko", &o, &e) < 0);
	assert_slug(&e, "signing-failed");
	tool.change_content = false;
	tool.sign_nothing = true;
	assert_true(sign(f, "m.ko", "tool2.ko", &o, &e) < 0);
	assert_slug(&e, "module-not-signed");
	assert_false(testdir_has(&f->dir, "tool2.ko"));
	spawn_set_hook(NULL, NULL);
	err_done(&e);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
TEST_MAIN(T(trailer_vector), T(in_place_and_again), T(refuses_and_leaves_everything), T(verify_by_slug),
	  cmocka_unit_test(detects_trailers), T(detach_and_attach), T(external_tool))
