/* SPDX-License-Identifier: Apache-2.0 */

/* measure FILE COMMAND...: runs it with its output thrown away but for the last words of a failure, and appends to FILE one line:
 * wall microseconds, processor microseconds, peak memory of the largest process in kB. Small on purpose: a process counts the
 * memory of the one it was forked from. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static long long us(struct timeval t)
{
	return t.tv_sec * 1000000LL + t.tv_usec;
}

static void child(char **argv)
{
	const char *log = getenv("MEASURE_LOG");
	int fd = open(log ? log : "/dev/null", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	dup2(fd, 1);
	dup2(fd, 2);
	execvp(argv[0], argv);
	fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

int main(int argc, char **argv)
{
	struct rusage use;
	long long begin;
	int status;
	FILE *out;
	pid_t pid;

	if (argc < 3)
		return 2;
	begin = now_us();
	pid = fork();
	if (pid == 0)
		child(argv + 2);
	if (pid < 0 || wait4(pid, &status, 0, &use) < 0)
		return 1;
	begin = now_us() - begin;
	out = fopen(argv[1], "a");
	if (!out ||
	    fprintf(out, "%lld %lld %ld\n", begin, us(use.ru_utime) + us(use.ru_stime), use.ru_maxrss) < 0 ||
	    fclose(out) != 0)
		return 1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
