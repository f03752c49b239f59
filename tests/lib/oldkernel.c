/* SPDX-License-Identifier: Apache-2.0
 *
 * oldkernel PROGRAM [ARG...]: runs it as on a kernel that lacks the younger system calls, so that every fallback is
 * tested on every machine. Exits 77 where filters are not allowed. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MISSING(nr)                                                                                          \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##nr, 0, 1),                                                 \
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS)

/* Added in: renameat2 3.15, copy_file_range 4.5, statx 4.11, pidfd_open 5.3, openat2 5.6, close_range 5.9, and the
 * mount calls 5.2. */
static struct sock_filter filter[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	MISSING(renameat2),
	MISSING(copy_file_range),
	MISSING(statx),
	MISSING(pidfd_open),
	MISSING(openat2),
	MISSING(close_range),
	MISSING(fsopen),
	MISSING(open_tree),
	MISSING(move_mount),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

int main(int argc, char **argv)
{
	const struct sock_fprog prog = { sizeof(filter) / sizeof(filter[0]), filter };

	if (argc < 2)
		return 2;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0) {
		perror("1..0 # SKIP seccomp");
		return 77;
	}
	/* The filter itself is under test too. */
	if (syscall(SYS_openat2, -1, NULL, NULL, 0) != -1 || errno != ENOSYS)
		return 2;
	execv(argv[1], argv + 1);
	perror(argv[1]);
	return 2;
}
