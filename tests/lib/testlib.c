/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include <dirent.h>
#include <ftw.h>
#include <limits.h>
#include <sys/wait.h>

/* cmocka writes a skipped test as "not ok N # SKIP", which readers of TAP take for a failure. What the test
 * program prints goes through this process, which says "ok N # SKIP" instead and ends as the program did. */
static void print_line(const char *line, size_t n)
{
	static const char not_ok[] = "not ok ";

	if (n > sizeof(not_ok) && strncmp(line, not_ok, strlen(not_ok)) == 0 &&
	    memmem(line, n, " # SKIP", 7)) {
		line += 4;
		n -= 4;
	}
	(void)fwrite(line, 1, n, stdout);
	(void)fflush(stdout);
}

static void forward(int fd, pid_t pid)
{
	FILE *in = fdopen(fd, "r");
	char *line = NULL;
	size_t size = 0;
	ssize_t n;
	int status;

	while (in && (n = getline(&line, &size, in)) > 0 && line)
		print_line(line, (size_t)n);
	if (waitpid(pid, &status, 0) != pid)
		_exit(1);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

__attribute__((constructor)) static void say_skipped_rightly(void)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return;
	pid = fork();
	if (pid > 0) {
		close(fds[1]);
		forward(fds[0], pid);
	}
	if (pid == 0)
		(void)dup2(fds[1], STDOUT_FILENO);
	close(fds[0]);
	close(fds[1]);
}

void testdir_make(struct testdir *t)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(t->path, sizeof(t->path), "%s/nvd-test-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(t->path));
	t->fd = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(t->fd >= 0);
}

static int remove_one(const char *path, const struct stat *st _unused_, int flag _unused_,
		      struct FTW *ftw _unused_)
{
	return remove(path);
}

void testdir_done(struct testdir *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -EBADF;
	(void)nftw(t->path, remove_one, 32, FTW_DEPTH | FTW_PHYS);
}

void testdir_write(const struct testdir *t, const char *path, const void *bytes, size_t len, mode_t mode)
{
	char full[PATH_MAX];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", t->path, path);
	for (char *p = full + strlen(t->path) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		assert_true(mkdir(full, 0755) == 0 || errno == EEXIST);
		*p = '/';
	}
	f = fopen(full, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(full, mode), 0);
}

void testdir_puts(const struct testdir *t, const char *path, const char *text)
{
	testdir_write(t, path, text, strlen(text), 0644);
}

char *testdir_read(const struct testdir *t, const char *path, size_t *ret_len)
{
	int fd = openat(t->fd, path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *buf;
	size_t have = 0;
	ssize_t n;

	if (fd < 0)
		return NULL;
	assert_int_equal(fstat(fd, &st), 0);
	buf = calloc(1, (size_t)st.st_size + 1);
	assert_non_null(buf);
	while (have < (size_t)st.st_size && (n = read(fd, buf + have, (size_t)st.st_size - have)) > 0)
		have += (size_t)n;
	close(fd);
	if (ret_len)
		*ret_len = have;
	return buf;
}

bool testdir_has(const struct testdir *t, const char *path)
{
	struct stat st;

	return fstatat(t->fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

struct lines {
	char **v;
	size_t n;
};

static uint64_t fnv1a(const char *p, size_t n)
{
	uint64_t h = 0xcbf29ce484222325u;

	while (n--)
		h = (h ^ (unsigned char)*p++) * 0x100000001b3u;
	return h;
}

static void snapshot_dir(const struct testdir *t, const char *rel, struct lines *out)
{
	char full[PATH_MAX];
	struct dirent *de;
	DIR *d;

	snprintf(full, sizeof(full), "%s/%s", t->path, rel);
	d = opendir(full);
	assert_non_null(d);
	while ((de = readdir(d))) {
		char path[PATH_MAX], *line = NULL;
		struct stat st;

		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		assert_true(snprintf(path, sizeof(path), "%s%s%s", rel, *rel ? "/" : "", de->d_name) <
			    (int)sizeof(path));
		assert_int_equal(fstatat(t->fd, path, &st, AT_SYMLINK_NOFOLLOW), 0);
		if (S_ISREG(st.st_mode)) {
			size_t len;
			char *c = testdir_read(t, path, &len);

			assert_true(asprintf(&line, "%s f %04o %zu %016llx\n", path, st.st_mode & 07777, len,
					     (unsigned long long)fnv1a(c, len)) > 0);
			free(c);
		} else if (S_ISLNK(st.st_mode)) {
			char target[PATH_MAX];
			ssize_t n = readlinkat(t->fd, path, target, sizeof(target) - 1);

			assert_true(n >= 0);
			target[n] = '\0';
			assert_true(asprintf(&line, "%s l %s\n", path, target) > 0);
		} else {
			assert_true(asprintf(&line, "%s %c %04o\n", path, S_ISDIR(st.st_mode) ? 'd' : '?',
					     st.st_mode & 07777) > 0);
		}
		out->v = realloc(out->v, (out->n + 1) * sizeof(*out->v));
		assert_non_null(out->v);
		out->v[out->n++] = line;
		if (S_ISDIR(st.st_mode))
			snapshot_dir(t, path, out);
	}
	closedir(d);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char *testdir_snapshot(const struct testdir *t)
{
	struct lines l = { NULL, 0 };
	size_t size = 1;
	char *out;

	snapshot_dir(t, "", &l);
	if (l.n)
		qsort(l.v, l.n, sizeof(*l.v), by_name);
	for (size_t i = 0; i < l.n; i++)
		size += strlen(l.v[i]);
	out = calloc(1, size);
	assert_non_null(out);
	for (size_t i = 0; i < l.n; i++) {
		strcat(out, l.v[i]);
		free(l.v[i]);
	}
	free(l.v);
	return out;
}

int testdir_open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 3; /* ".", ".." and the directory itself */
}

char *test_source_path(const char *relative)
{
	const char *top = getenv("SRCDIR");
	char *out = NULL;

	assert_true(asprintf(&out, "%s/%s", top ? top : ".", relative) > 0);
	return out;
}
