/* SPDX-License-Identifier: Apache-2.0
 *
 * Opens the driver's libraries again and again, as programs of a container do that are started while its driver changes:
 *
 *   dlopen-loop STOP    until the file STOP appears; prints "N opened, N versions, N astride" and ends with 0
 *   dlopen-loop -       opens them once, says so and keeps them until its input ends
 *
 * Wrong, and said with status 1: a library that is not found; two versions beneath one opened directory; two libraries of
 * different versions although no switch came between the opening of the one and of the other ("astride" counts the rest:
 * no name can be looked up at the same instant as another). Each round is a process of its own. */
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CURRENT "/usr/lib/nvdriver/current"

static const char *const libraries[] = { "libcuda", "libnvidia-ml" };

enum { SAME = 10, ASTRIDE = 11 };

/* The version at the end of what NAME.so.1 leads to, beneath an open directory. */
static int version_beneath(int dir, const char *library, char *ret, size_t size)
{
	char link[320], target[256];
	const char *at;
	ssize_t n;

	snprintf(link, sizeof(link), "lib/%s.so.1", library);
	n = readlinkat(dir, link, target, sizeof(target) - 1);
	if (n < 0) {
		printf("# %s: %m\n", link);
		return -1;
	}
	target[n] = '\0';
	at = strstr(target, ".so.");
	snprintf(ret, size, "%s", at ? at + 4 : "?");
	snprintf(link, sizeof(link), "lib/%s", target);
	if (faccessat(dir, link, R_OK, 0) < 0) {
		printf("# %s: %m\n", link);
		return -1;
	}
	return 0;
}

/* The whole directory through one descriptor: never two versions. */
static int version_now(char *ret, size_t size)
{
	char other[64];
	int dir = open(CURRENT, O_PATH | O_DIRECTORY | O_CLOEXEC), r;

	if (dir < 0) {
		printf("# " CURRENT ": %m\n");
		return -1;
	}
	r = version_beneath(dir, libraries[0], ret, size);
	if (r == 0)
		r = version_beneath(dir, libraries[1], other, sizeof(other));
	if (r == 0 && strcmp(ret, other) != 0) {
		printf("# one directory with %s and %s\n", ret, other);
		r = -1;
	}
	(void)close(dir);
	return r;
}

/* What the loader really mapped. */
static int version_mapped(const char *library, char *ret, size_t size)
{
	char line[4096], name[64];
	FILE *f = fopen("/proc/self/maps", "re");
	int found = -1;

	snprintf(name, sizeof(name), "/%s.so.", library);
	while (f && fgets(line, sizeof(line), f)) {
		char *at = strstr(line, name);

		if (!at)
			continue;
		line[strcspn(line, " \n") ? strcspn(line, "\n") : 0] = '\0';
		snprintf(ret, size, "%s", at + strlen(name));
		found = 0;
		break;
	}
	if (f)
		(void)fclose(f);
	return found;
}

static int open_both(char versions[2][64])
{
	for (int i = 0; i < 2; i++) {
		char name[64];

		snprintf(name, sizeof(name), "%s.so.1", libraries[i]);
		if (!dlopen(name, RTLD_NOW | RTLD_LOCAL)) {
			printf("# %s\n", dlerror());
			return -1;
		}
		if (version_mapped(libraries[i], versions[i], 64) < 0) {
			printf("# %s is not mapped\n", name);
			return -1;
		}
	}
	return 0;
}

static int round_trip(void)
{
	char before[64], after[64], versions[2][64];

	if (version_now(before, sizeof(before)) < 0 || open_both(versions) < 0 ||
	    version_now(after, sizeof(after)) < 0)
		return 1;
	if (strcmp(versions[0], versions[1]) == 0)
		return SAME;
	if (strcmp(before, after) == 0) {
		printf("# %s and %s while the directory was %s all the time\n", versions[0], versions[1],
		       before);
		return 1;
	}
	return ASTRIDE;
}

static int hold(void)
{
	char versions[2][64], c;

	if (open_both(versions) < 0)
		return 1;
	printf("holding %s\n", versions[0]);
	(void)fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	return 0;
}

static int loop(const char *stop)
{
	unsigned long opened = 0, astride = 0, changes = 0;
	char last[64] = "", now[64];

	while (access(stop, F_OK) < 0) {
		int status = 0;
		pid_t pid;

		(void)fflush(stdout);
		pid = fork();
		if (pid == 0) {
			int r = round_trip();

			(void)fflush(stdout);
			_exit(r);
		}
		if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) ||
		    WEXITSTATUS(status) < SAME)
			return 1;
		opened++;
		astride += WEXITSTATUS(status) == ASTRIDE;
		if (version_now(now, sizeof(now)) < 0)
			return 1;
		changes += strcmp(now, last) != 0;
		snprintf(last, sizeof(last), "%s", now);
	}
	printf("%lu opened, %lu versions, %lu astride\n", opened, changes, astride);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	return strcmp(argv[1], "-") == 0 ? hold() : loop(argv[1]);
}
