/* SPDX-License-Identifier: Apache-2.0
 *
 * fakekmod DIR COMMAND...: runs a program on a kernel that loads modules only in DIR.
 *
 * The module calls of the program and its children are answered here instead of by the kernel (seccomp user notification), by the
 * rules the kernel has: what it depends on must be there, a module in use stays, names are kept once. What is loaded is written to
 * DIR/modules and below DIR/module/, which stand in for /proc/modules (opened by that name in a directory "/proc", handed out from
 * here) and for /sys/module (bind it there). DIR/busy holds a number added to nvidia's use count. The program itself is the
 * unchanged one; nothing in it knows of this. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MODULES_MAX 64
#define FILE_MAX    (64 << 20)

static const char *dir;
static pid_t child;

static void die(const char *what)
{
	fprintf(stderr, "fakekmod: %s: %s\n", what, strerror(errno));
	exit(126);
}

/* -- the modules -- */

struct module {
	char name[64], depends[256], version[64];
};
static struct module loaded[MODULES_MAX];
static size_t n_loaded;

static struct module *find(const char *name)
{
	for (size_t i = 0; i < n_loaded; i++)
		if (strcmp(loaded[i].name, name) == 0)
			return &loaded[i];
	return NULL;
}

static void underscores(char *s)
{
	for (; *s; s++)
		if (*s == '-')
			*s = '_';
}

/* Does m list `name` among what it needs? */
static int needs(const struct module *m, const char *name)
{
	char list[256], *save = NULL;

	snprintf(list, sizeof(list), "%s", m->depends);
	for (char *w = strtok_r(list, ",", &save); w; w = strtok_r(NULL, ",", &save))
		if (strcmp(w, name) == 0)
			return 1;
	return 0;
}

static int busy(const char *name)
{
	char path[512], text[16] = "";
	int fd;

	if (strcmp(name, "nvidia") != 0)
		return 0;
	snprintf(path, sizeof(path), "%s/busy", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	if (fd >= 0)
		close(fd);
	return atoi(text);
}

static int count(const char *name)
{
	int n = busy(name);

	for (size_t i = 0; i < n_loaded; i++)
		n += needs(&loaded[i], name);
	return n;
}

static void put(const char *name, const char *attribute, const char *text)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/module/%s", dir, name);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/module/%s/%s", dir, name, attribute);
	f = fopen(path, "we");
	if (!f || fprintf(f, "%s\n", text) < 0 || fclose(f) != 0)
		die(path);
}

static void forget(const char *name)
{
	static const char *const attributes[] = { "refcnt", "initstate", "version" };
	char path[512];

	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/module/%s/%s", dir, name, attributes[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/module/%s", dir, name);
	rmdir(path);
}

static void write_lists(void)
{
	char path[512], tmp[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/modules", dir);
	snprintf(tmp, sizeof(tmp), "%s/modules.new", dir);
	f = fopen(tmp, "we");
	if (!f)
		die(tmp);
	for (size_t i = 0; i < n_loaded; i++) {
		const char *name = loaded[i].name;
		char refs[16];
		int users = 0;

		snprintf(refs, sizeof(refs), "%d", count(name));
		fprintf(f, "%s 16384 %s ", name, refs);
		for (size_t k = 0; k < n_loaded; k++)
			if (needs(&loaded[k], name))
				users += fprintf(f, "%s,", loaded[k].name) > 0;
		fprintf(f, "%s Live 0x0000000000000000 (OE)\n", users ? "" : "-");
		put(name, "refcnt", refs);
		put(name, "initstate", "live");
		if (*loaded[i].version)
			put(name, "version", loaded[i].version);
	}
	if (fclose(f) != 0 || rename(tmp, path) < 0)
		die(path);
}

/* What an earlier run left loaded: DIR/state has a line "name version depends". */
static void save_state(void)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/state", dir);
	f = fopen(path, "we");
	if (!f)
		die(path);
	for (size_t i = 0; i < n_loaded; i++)
		fprintf(f, "%s %s %s\n", loaded[i].name, *loaded[i].version ? loaded[i].version : "-",
			*loaded[i].depends ? loaded[i].depends : "-");
	if (fclose(f) != 0)
		die(path);
	write_lists();
}

static void load_state(void)
{
	char path[512];
	FILE *f;

	n_loaded = 0;
	snprintf(path, sizeof(path), "%s/state", dir);
	f = fopen(path, "re");
	while (f && n_loaded < MODULES_MAX &&
	       fscanf(f, "%63s %63s %255s", loaded[n_loaded].name, loaded[n_loaded].version,
		      loaded[n_loaded].depends) == 3) {
		if (strcmp(loaded[n_loaded].version, "-") == 0)
			loaded[n_loaded].version[0] = '\0';
		if (strcmp(loaded[n_loaded].depends, "-") == 0)
			loaded[n_loaded].depends[0] = '\0';
		n_loaded++;
	}
	if (f)
		fclose(f);
}

static void take_info(const char *bytes, size_t len, const char *key, char *out, size_t size)
{
	size_t n = strlen(key);

	for (size_t i = 1; i + n < len; i++)
		if (memcmp(bytes + i, key, n) == 0 && (bytes[i - 1] == '\0' || i == 64)) {
			snprintf(out, size, "%.*s", (int)strnlen(bytes + i + n, len - i - n), bytes + i + n);
			return;
		}
}

static int insert(const char *bytes, size_t len)
{
	struct module m = { 0 };
	char list[256], *save = NULL;

	if (len < sizeof(Elf64_Ehdr) || memcmp(bytes, ELFMAG, SELFMAG) != 0)
		return -ENOEXEC;
	take_info(bytes, len, "name=", m.name, sizeof(m.name));
	take_info(bytes, len, "depends=", m.depends, sizeof(m.depends));
	take_info(bytes, len, "version=", m.version, sizeof(m.version));
	underscores(m.name);
	underscores(m.depends);
	if (!*m.name)
		return -ENOEXEC;
	load_state();
	if (find(m.name))
		return -EEXIST;
	snprintf(list, sizeof(list), "%s", m.depends);
	for (char *w = strtok_r(list, ",", &save); w; w = strtok_r(NULL, ",", &save))
		if (!find(w))
			return -ENOENT;
	loaded[n_loaded++] = m;
	save_state();
	return 0;
}

static int remove_module(const char *given)
{
	char name[64];
	struct module *m;

	snprintf(name, sizeof(name), "%s", given);
	underscores(name);
	load_state();
	m = find(name);
	if (!m)
		return -ENOENT;
	if (count(name) > 0)
		return -EWOULDBLOCK;
	forget(name);
	memmove(m, m + 1, (size_t)(loaded + n_loaded - m - 1) * sizeof(*m));
	n_loaded--;
	save_state();
	return 0;
}

/* -- the program's calls -- */

static int open_mem(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int read_string(pid_t pid, uint64_t at, char *out, size_t size)
{
	int fd = open_mem(pid);
	ssize_t n = fd < 0 ? -1 : pread(fd, out, size - 1, (off_t)at);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return -EFAULT;
	out[n] = '\0';
	return 0;
}

static int insert_memory(pid_t pid, uint64_t at, uint64_t len)
{
	char *bytes = len && len < FILE_MAX ? malloc(len) : NULL;
	int fd = open_mem(pid), r = -ENOMEM;

	if (bytes && fd >= 0)
		r = pread(fd, bytes, len, (off_t)at) == (ssize_t)len ? insert(bytes, len) : -EFAULT;
	if (fd >= 0)
		close(fd);
	free(bytes);
	return r;
}

static int insert_file(pid_t pid, int number)
{
	char path[64], *bytes;
	struct stat st;
	int fd, r = -ENOMEM;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, number);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > FILE_MAX)
		return -EBADF;
	bytes = malloc((size_t)st.st_size);
	if (bytes)
		r = pread(fd, bytes, (size_t)st.st_size, 0) == st.st_size ? insert(bytes, (size_t)st.st_size)
									  : -EIO;
	free(bytes);
	close(fd);
	return r;
}

/* "modules" below a directory that is /proc, or by its whole name. */
static int wants_modules(pid_t pid, int at, uint64_t path_at)
{
	char path[64], link[64], target[256];
	ssize_t n;

	if (read_string(pid, path_at, path, sizeof(path)) < 0)
		return 0;
	if (strcmp(path, "/proc/modules") == 0)
		return 1;
	if (strcmp(path, "modules") != 0)
		return 0;
	snprintf(link, sizeof(link), "/proc/%d/fd/%d", pid, at);
	n = readlink(link, target, sizeof(target) - 1);
	if (n < 0)
		return 0;
	target[n] = '\0';
	return strcmp(target, "/proc") == 0;
}

static int hand_out_modules(int listener, uint64_t id)
{
	struct seccomp_notif_addfd add = { .id = id,
					   .flags = SECCOMP_ADDFD_FLAG_SEND,
					   .newfd_flags = O_CLOEXEC };
	char path[512];
	int fd;

	load_state();
	write_lists();
	snprintf(path, sizeof(path), "%s/modules", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die(path);
	add.srcfd = (uint32_t)fd;
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add) < 0 && errno != ENOENT)
		die("handing out the list");
	close(fd);
	return 0;
}

static void answer(int listener)
{
	struct seccomp_notif req = { 0 };
	struct seccomp_notif_resp resp = { 0 };
	const __u64 *a = req.data.args;
	char name[64];
	int r = 0;

	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &req) < 0)
		return;
	switch (req.data.nr) {
	case SYS_init_module:
		r = insert_memory((pid_t)req.pid, a[0], a[1]);
		break;
	case SYS_finit_module:
		r = insert_file((pid_t)req.pid, (int)a[0]);
		break;
	case SYS_delete_module:
		r = read_string((pid_t)req.pid, a[0], name, sizeof(name));
		if (r == 0)
			r = remove_module(name);
		break;
	default:
		if (wants_modules((pid_t)req.pid, (int)a[0], a[1])) {
			hand_out_modules(listener, req.id);
			return;
		}
		resp.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	}
	resp.id = req.id;
	resp.error = r;
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp) < 0 && errno != ENOENT)
		die("answering");
}

static int install_filter(void)
{
	static const int calls[] = { SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_openat,
				     SYS_openat2 };
	struct sock_filter code[2 + 2 * 5 + 1];
	struct sock_fprog prog = { .filter = code };
	unsigned short n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < 5; i++) {
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	prog.len = n;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
}

static void send_fd(int sock, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec io = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	if (sendmsg(sock, &msg, 0) != 1)
		die("passing the listener");
}

static int receive_fd(int sock)
{
	char byte, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec io = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	int fd;

	if (recvmsg(sock, &msg, 0) != 1 || !CMSG_FIRSTHDR(&msg))
		die("taking the listener");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	return fd;
}

static void forward(int sig)
{
	if (child > 0)
		kill(child, sig);
}

static int status_of(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	int sock[2], listener, status;

	if (argc < 3) {
		fprintf(stderr, "usage: fakekmod DIR COMMAND...\n");
		return 126;
	}
	dir = argv[1];
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sock) < 0)
		die("socketpair");
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		listener = install_filter();
		if (listener < 0)
			die("seccomp");
		send_fd(sock[1], listener);
		close(listener);
		execvp(argv[2], argv + 2);
		die(argv[2]);
	}
	listener = receive_fd(sock[0]);
	signal(SIGTERM, forward);
	signal(SIGINT, forward);
	signal(SIGHUP, forward);
	for (;;) {
		struct pollfd p = { .fd = listener, .events = POLLIN };

		if (poll(&p, 1, 200) > 0 && (p.revents & POLLIN))
			answer(listener);
		if (waitpid(child, &status, WNOHANG) == child)
			return status_of(status);
	}
}
