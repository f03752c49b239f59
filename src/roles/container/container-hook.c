/* SPDX-License-Identifier: Apache-2.0 */
#include "container-hook.h"

#include "fd.h"
#include "log.h"
#include "path.h"
#include "publish.h"
#include "strbuf.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* The hook's directory itself belongs to the node: it is never made. */
static int open_directory(const struct container *c, const char **ret_name)
{
	return path_open_parent(c->h->root_fd, CONTAINER_HOOK, false, PATH_IN_ROOT, ret_name);
}

char *container_hook_script(const char *program)
{
	return str_printf(
	    "#!/bin/sh\n"
	    "# Prepares the driver's modules for a kernel that was just installed. Written and removed by\n"
	    "# the running driver container; never fails a kernel installation.\n"
	    "read -r pid 2>/dev/null </" CONTAINER_PIDFILE " || exit 0\n"
	    "nsenter --target \"$pid\" --mount -- %s hook kernel \"$1\" ||\n"
	    "\techo \"the driver's modules for kernel $1 were not prepared; they will be at the next "
	    "start\" >&2\n"
	    "exit 0\n",
	    program);
}

void container_hook_write(struct container *c)
{
	char program[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int dir_fd = -EBADF;
	const char *name;
	int r;

	dir_fd = open_directory(c, &name);
	if (dir_fd < 0)
		return;
	program[n < 0 ? 0 : n] = '\0';
	/* A name that would need quoting is not worth a quoting rule. */
	if (n <= 0 || strpbrk(program, " \t\n\"'\\$`&|;<>()*?[]#~!")) {
		log_warn("no kernel update hook: our own path cannot be written into it");
		return;
	}
	text = container_hook_script(program);
	r = text ? publish_bytes(dir_fd, name, text, strlen(text), 0755) : -ENOMEM;
	if (r < 0)
		log_warn("no kernel update hook: %s", strerror(-r));
	else
		log_info("kernel update hook written to /" CONTAINER_HOOK);
}

void container_hook_remove(struct container *c)
{
	const char *name;
	_cleanup_close_ int dir_fd = open_directory(c, &name);

	if (dir_fd >= 0 && unlinkat(dir_fd, name, 0) == 0)
		log_info("kernel update hook removed");
}

int container_hook_environment(const char *bytes, size_t len, char ***ret)
{
	_cleanup_strv_ char **list = NULL;
	size_t at = 0;

	while (at < len) {
		size_t n = strnlen(bytes + at, len - at);
		_cleanup_free_ char *entry = strndup(bytes + at, n);

		if (!entry)
			return -ENOMEM;
		if (strchr(entry, '=') && strv_push(&list, entry) < 0)
			return -ENOMEM;
		at += n + 1;
	}
	*ret = TAKE_PTR(list);
	return 0;
}
