/* SPDX-License-Identifier: Apache-2.0 */
#include "modload.h"

#include "kmods.h"
#include "log.h"
#include "strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <libkmod.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define KLOG_MAX ((size_t)1 << 20)

struct real {
	struct kmod_ctx *ctx;
	int kmsg_fd; /* -EBADF where the log cannot be read: failures are then told apart by errno alone */
};

/* Bytes in memory, for a module the kernel will not take from its descriptor: finit_module() refuses a file somebody has open for
 * writing (ETXTBSY), which an unpacked copy in an anonymous file is, and SELinux one whose label is not a module's (EACCES). */
static int insert_bytes(int fd, const char *params)
{
	struct stat st;
	void *map;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	r = syscall(SYS_init_module, map, (unsigned long)st.st_size, params) < 0 ? -errno : 0;
	munmap(map, (size_t)st.st_size);
	return r;
}

static int real_insert(void *arg _unused_, int fd, const char *params)
{
	int r;

	if (syscall(SYS_finit_module, fd, params, 0) == 0)
		return 0;
	if (errno == ETXTBSY)
		return insert_bytes(fd, params);
	if (errno != EACCES)
		return -errno;
	r = insert_bytes(fd, params);
	if (r == 0)
		log_info("the security policy refused the module's file; it was loaded from memory");
	return r;
}

static int real_remove(void *arg, const char *name)
{
	struct real *k = arg;
	struct kmod_module *m = NULL;
	int r = kmod_module_new_from_name(k->ctx, name, &m);

	if (r < 0)
		return r;
	/* Without O_NONBLOCK an old kernel would wait for the last user to go away. */
	r = kmod_module_remove_module(m, KMOD_REMOVE_NOWAIT);
	kmod_module_unref(m);
	return r;
}

/* A record is "priority,sequence,time,flags;text\n KEY=value…"; only the text is kept. */
static void keep_record(const char *record, size_t len, struct strbuf *out)
{
	const char *text = memchr(record, ';', len), *end;

	if (!text)
		return;
	text++;
	end = memchr(text, '\n', len - (size_t)(text - record));
	(void)strbuf_append(out, text, end ? (size_t)(end - text) : len - (size_t)(text - record));
	(void)strbuf_putc(out, '\n');
}

static int real_klog(void *arg, char **ret_text)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(KLOG_MAX);
	struct real *k = arg;
	char record[8192];
	ssize_t n;

	/* EPIPE: records were overwritten before we read them; the next read goes on behind the gap. */
	while (k->kmsg_fd >= 0 &&
	       ((n = read(k->kmsg_fd, record, sizeof(record))) > 0 || (n < 0 && errno == EPIPE)))
		if (n > 0)
			keep_record(record, (size_t)n, &out);
	*ret_text = strdup(strbuf_str(&out));
	return *ret_text ? 0 : -ENOMEM;
}

static int real_insert_kernel(void *arg, const char *name)
{
	struct kmod_list *list = NULL, *l;
	struct real *k = arg;
	int r = kmod_module_new_from_lookup(k->ctx, name, &list);

	if (r < 0)
		return r;
	if (!list)
		return -ENOENT;
	kmod_list_foreach(l, list)
	{
		struct kmod_module *m = kmod_module_get_module(l);

		r = kmod_module_probe_insert_module(m, KMOD_PROBE_IGNORE_COMMAND, NULL, NULL, NULL, NULL);
		kmod_module_unref(m);
		if (r < 0)
			break;
	}
	kmod_module_unref_list(list);
	return r < 0 ? r : 0;
}

int modload_ops_real(const struct host *h, const char *release, struct modload_ops *ret, struct err *e)
{
	_cleanup_free_ char *dir = str_printf("/lib/modules/%s", release);

	return dir ? modload_ops_real_dir(h, dir, ret, e) : err_oom(e);
}

int modload_ops_real_dir(const struct host *h, const char *dir, struct modload_ops *ret, struct err *e)
{
	struct real *k;
	int r;

	if (!h->is_running)
		return err_set(e, ERR_USAGE,
			       "modules are loaded into the running kernel; --root names another machine");
	r = libkmod_require(e);
	if (r < 0)
		return r;
	k = calloc(1, sizeof(*k));
	if (!k)
		return err_oom(e);
	k->ctx = kmod_new(dir, NULL);
	if (!k->ctx) {
		free(k);
		return err_set(e, ERR_MODULE_LOAD, "libkmod cannot start");
	}
	k->kmsg_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (k->kmsg_fd >= 0)
		(void)lseek(k->kmsg_fd, 0, SEEK_END);
	*ret = (struct modload_ops){ real_insert, real_remove, real_klog, real_insert_kernel, k };
	return 0;
}

void modload_ops_done(struct modload_ops *ops)
{
	struct real *k = ops->arg;

	if (!k)
		return;
	kmod_unref(k->ctx);
	if (k->kmsg_fd >= 0)
		close(k->kmsg_fd);
	free(k);
	ops->arg = NULL;
}
