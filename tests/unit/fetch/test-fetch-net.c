/* SPDX-License-Identifier: Apache-2.0
 *
 * What stands between us and the server: certificates, proxies, a disk that is full. */
#include "fetchbed.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

/* -- TLS -- */

static bool have_openssl(void)
{
	return access("/usr/bin/openssl", X_OK) == 0;
}

/* openssl with these arguments in the directory; its output goes to out_fd when that is open. */
static pid_t openssl(struct testdir *d, int out_fd, const char *const *argv)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		int quiet = open("/dev/null", O_RDWR);

		if (fchdir(d->fd) < 0 || dup2(quiet, 0) < 0 || dup2(quiet, 2) < 0 ||
		    dup2(out_fd >= 0 ? out_fd : quiet, 1) < 0)
			_exit(126);
		execv("/usr/bin/openssl", (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	return pid;
}

static void make_certificate(struct testdir *d)
{
	const char *const argv[] = { "openssl",	 "req",	     "-x509",	"-newkey",
				     "rsa:2048", "-nodes",   "-keyout", "key.pem",
				     "-out",	 "cert.pem", "-subj",	"/CN=test",
				     "-days",	 "2",	     "-addext", "subjectAltName=IP:127.0.0.1",
				     NULL };
	pid_t pid = openssl(d, -1, argv);
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* s_server says "ACCEPT 127.0.0.1:PORT" (or [::]) once it listens. With ask it wants to see a certificate it knows. */
static pid_t start_server(struct testdir *d, bool ask, int *ret_port)
{
	const char *const argv[] = { "openssl",
				     "s_server",
				     "-4",
				     "-accept",
				     "127.0.0.1:0",
				     "-cert",
				     "cert.pem",
				     "-key",
				     "key.pem",
				     "-WWW",
				     ask ? "-Verify" : NULL,
				     "1",
				     "-verify_return_error",
				     "-CAfile",
				     "cert.pem",
				     NULL };
	char line[256];
	int pipe_fds[2];
	pid_t pid;
	FILE *f;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	pid = openssl(d, pipe_fds[1], argv);
	close(pipe_fds[1]);
	f = fdopen(pipe_fds[0], "r");
	assert_non_null(f);
	*ret_port = 0;
	while (!*ret_port && fgets(line, sizeof(line), f))
		if (strncmp(line, "ACCEPT", 6) == 0)
			*ret_port = atoi(strrchr(line, ':') + 1);
	fclose(f);
	assert_true(*ret_port > 0);
	return pid;
}

static void test_tls(void **state)
{
	struct httpd_path none[] = { { .path = "/a.run" } };
	char ca[300];
	struct bed b;
	int port, status;
	pid_t server;

	(void)state;
	if (!have_openssl()) {
		print_message("# no openssl here: certificates are not tested\n");
		skip();
	}
	bed_up(&b, none, 1);
	make_certificate(&b.dir);
	testdir_write(&b.dir, "served.run", package, SIZE, 0644);
	server = start_server(&b.dir, false, &port);
	snprintf(b.url, sizeof(b.url), "https://127.0.0.1:%d/served.run", port);
	b.q.name = "a.run";
	/* Nobody vouches for it: no byte is taken, and the same address is not tried again and again. */
	fails(&b, "fetch-failed");
	assert_non_null(strstr(b.e.next, "certificate"));
	assert_nothing(&b);
	snprintf(ca, sizeof(ca), "%s/cert.pem", b.dir.path);
	b.q.ca_file = ca;
	ok(&b);
	assert_package(&b, "a.run");
	/* The right authority for another name is refused too. */
	snprintf(b.url, sizeof(b.url), "https://localhost:%d/served.run", port);
	b.q.name = "b.run";
	fails(&b, "fetch-failed");
	assert_false(testdir_has(&b.dir, "b.run"));
	assert_int_equal(kill(server, SIGKILL), 0);
	assert_int_equal(waitpid(server, &status, 0), server);
	bed_down(&b);
}

static void test_client_certificate(void **state _unused_)
{
	struct httpd_path none[] = { { .path = "/a.run" } };
	char cert[300], key[300];
	int port, status;
	struct bed b;
	pid_t server;

	if (!have_openssl())
		skip();
	bed_up(&b, none, 1);
	make_certificate(&b.dir);
	testdir_write(&b.dir, "served.run", package, SIZE, 0644);
	server = start_server(&b.dir, true, &port);
	snprintf(b.url, sizeof(b.url), "https://127.0.0.1:%d/served.run", port);
	snprintf(cert, sizeof(cert), "%s/cert.pem", b.dir.path);
	snprintf(key, sizeof(key), "%s/key.pem", b.dir.path);
	b.q.name = "a.run";
	b.q.ca_file = cert;
	fails(&b, "fetch-failed");
	assert_false(testdir_has(&b.dir, "a.run"));
	b.q.client_cert = cert;
	b.q.client_key = key;
	ok(&b);
	assert_package(&b, "a.run");
	assert_int_equal(kill(server, SIGKILL), 0);
	assert_int_equal(waitpid(server, &status, 0), server);
	bed_down(&b);
}

/* -- proxy -- */

static void test_proxy_of_the_request(void **state)
{
	struct httpd_path p[] = {
		{ .path = "http://no-such-host.invalid/a.run", .body = package, .len = SIZE }
	};
	char proxy[64];
	struct bed b;

	(void)state;
	bed_up(&b, p, 1);
	snprintf(b.url, sizeof(b.url), "%s", p[0].path);
	snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%d", b.httpd.port);
	b.q.proxy = proxy;
	ok(&b);
	assert_package(&b, "a.run");
	assert_int_equal(p[0].requests, 1);
	bed_down(&b);
}

static void test_proxy_of_the_environment(void **state)
{
	struct httpd_path p[] = {
		{ .path = "http://no-such-host.invalid/a.run", .body = package, .len = SIZE },
		{ .path = "/direct.run", .body = package, .len = SIZE },
	};
	char proxy[64];
	struct bed b;

	(void)state;
	bed_up(&b, p, 2);
	snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%d", b.httpd.port);
	setenv("http_proxy", proxy, 1);
	setenv("no_proxy", "127.0.0.1", 1);
	snprintf(b.url, sizeof(b.url), "%s", p[0].path);
	ok(&b);
	assert_int_equal(p[0].requests, 1);
	/* Asked as a proxy the server would see the whole address and know nothing of it. */
	httpd_url(&b.httpd, "/direct.run", b.url, sizeof(b.url));
	ok(&b);
	assert_int_equal(p[1].requests, 1);
	unsetenv("no_proxy");
	testdir_puts(&b.dir, "direct.run", "gone");
	assert_int_equal(unlinkat(b.dir.fd, "direct.run", 0), 0);
	fails(&b, "fetch-failed");
	assert_int_equal(p[1].requests, 1);
	unsetenv("http_proxy");
	bed_down(&b);
}

/* -- a full disk -- */

enum { FULL_OK, FULL_NO_PERMISSION = 77 };

#define FULL_BYTES 65536u

/* In a mount namespace of its own, so that nothing stays mounted. What is wrong is printed and is the status. */
static int fetch_into_full(struct bed *b)
{
	struct stat st;
	char path[300];
	int r;

	if (unshare(CLONE_NEWNS) < 0 || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return FULL_NO_PERMISSION;
	snprintf(path, sizeof(path), "%s/small", b->dir.path);
	if (mkdir(path, 0755) < 0 || mount("tmpfs", path, "tmpfs", 0, "size=64k") < 0)
		return FULL_NO_PERMISSION;
	b->q.dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b->q.dir_path = path;
	r = fetch_file(&b->q, NULL, &b->e);
	if (r != -ERR_FETCH_NO_SPACE || strcmp(err_slug(b->e.code), "fetch-no-space") != 0)
		return 1;
	if (err_exit_status(b->e.code) != 6 || !b->e.object || strcmp(b->e.object, path) != 0)
		return 2;
	/* Announced: not begun. Not announced: kept as far as there was room. */
	if ((b->httpd.paths[0].faults & HTTPD_NO_LENGTH) &&
	    (fstatat(b->q.dirfd, "a.run.part", &st, 0) < 0 || st.st_size < (off_t)FULL_BYTES / 2))
		return 3;
	return faccessat(b->q.dirfd, "a.run", F_OK, 0) == 0 ? 4 : FULL_OK;
}

static void test_no_space(void **state)
{
	static const unsigned faults[] = { HTTPD_HONEST, HTTPD_NO_LENGTH };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
		struct httpd_path p[] = {
			{ .path = "/a.run", .body = package, .len = SIZE, .faults = faults[i], .tag = "v" }
		};
		struct bed b;
		int status;
		pid_t pid;

		bed_up(&b, p, 1);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			_exit(fetch_into_full(&b));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		bed_down(&b);
		if (WIFEXITED(status) && WEXITSTATUS(status) == FULL_NO_PERMISSION) {
			print_message("# mounting is not permitted here: a full disk is not tested\n");
			skip();
		}
		assert_int_equal(status, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_client_certificate),
		cmocka_unit_test(test_proxy_of_the_request),
		cmocka_unit_test(test_proxy_of_the_environment),
		cmocka_unit_test(test_no_space),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, make_package, NULL);
}
