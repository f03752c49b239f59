/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernel's own signing program, where a kernel build package is installed, writes byte for byte what we write. */
#include "testcert.h"

#include "cms.h"

#include <glob.h>
#include <sys/wait.h>

#define CONTENT_BYTES 300001

static char *program;

static char *find_sign_file(void)
{
	const char *named = getenv("NVDRIVER_SIGN_FILE");
	glob_t g = { 0 };
	char *out = NULL;

	if (named)
		return strdup(named);
	if (glob("/usr/lib/linux-kbuild-*/scripts/sign-file", 0, NULL, &g) == 0)
		out = strdup(g.gl_pathv[0]);
	globfree(&g);
	return out;
}

static void run_program(const struct testdir *dir, const char *hash, const char *key, const char *cert)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (fchdir(dir->fd) == 0)
			execl(program, program, hash, key, cert, "content", "signed", NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void compare(const struct testdir *dir, const char *name, const char *hash)
{
	char key[320], cert[320], *out;
	struct err e = ERR_INIT;
	struct signer *s = NULL;
	uint8_t *der = NULL;
	size_t len, out_len;
	int fd = openat(dir->fd, "content", O_RDONLY | O_CLOEXEC);

	snprintf(key, sizeof(key), "%s/%s.key", dir->path, name);
	snprintf(cert, sizeof(cert), "%s/%s.der", dir->path, name);
	assert_ok(signer_load(key, cert, -EBADF, &s, &e), &e);
	assert_ok(cms_sign_fd(s, hash, 0, fd, CONTENT_BYTES, &der, &len, &e), &e);
	run_program(dir, hash, key, cert);
	out = testdir_read(dir, "signed", &out_len);
	assert_int_equal(out_len, CONTENT_BYTES + len + 40);
	assert_memory_equal(out + CONTENT_BYTES, der, len);
	free(out);
	free(der);
	close(fd);
	signer_freep(&s);
}

static void same_bytes(void **state _unused_)
{
	static const char *const hashes[] = { "sha1", "sha224", "sha256", "sha384", "sha512" };
	uint8_t *content = malloc(CONTENT_BYTES);
	struct testcert t;
	struct testdir dir;

	testdir_make(&dir);
	for (size_t i = 0; i < CONTENT_BYTES; i++)
		content[i] = (uint8_t)(i * 7 + i / 251);
	testdir_write(&dir, "content", content, CONTENT_BYTES, 0644);
	testcert_make(&t, &(struct testcert_spec){ .cn = "kernel build test" });
	testcert_write(&t, &dir, "k");
	for (size_t i = 0; i < ARRAY_LEN(hashes); i++)
		compare(&dir, "k", hashes[i]);
	testcert_done(&t);
	testdir_done(&dir);
	free(content);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(same_bytes) };
	int r;

	program = find_sign_file();
	if (!program) {
		printf("1..0 # SKIP no sign-file program: install a linux-kbuild package or set "
		       "NVDRIVER_SIGN_FILE\n");
		return 0;
	}
	cmocka_set_message_output(CM_OUTPUT_TAP);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	free(program);
	return r;
}
