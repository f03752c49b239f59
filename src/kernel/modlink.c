/* SPDX-License-Identifier: Apache-2.0
 *
 * Joining interface and core object. Byte equality matters here: a signature made elsewhere fits only when the linker
 * produces the same file, so flags, working directory and names are fixed and the environment is empty. */
#include "modlink.h"

#include "digest.h"
#include "elffile.h"
#include "fd.h"
#include "modinfo.h"
#include "path.h"
#include "precompiled-internal.h"
#include "publish.h"
#include "spawn.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define LINK_TIMEOUT_S 300

/* Names come from packages: nothing absolute, nothing upward, nothing that reads as an option. */
static int check_input(const struct modlink *l, const char *name, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	struct stat st;

	if (*name == '-' || *name == '@')
		return err_set(e, -ERR_PATH_ESCAPE, "'%s' would be read as an option of the linker", name);
	fd = path_open_at(l->dirfd, name, O_RDONLY | O_NONBLOCK, 0, PATH_NO_SYMLINKS);
	if (fd == -ELOOP || fd == -EXDEV || *name == '/')
		return err_set(e, -ERR_PATH_ESCAPE, "'%s' leads out of the build directory", name);
	if (fd < 0)
		return err_errno(e, fd, "cannot open %s", name);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, -ERR_LINK_FAILED, "%s is not a regular file", name);
	return 0;
}

static int run_tool(const struct modlink *l, struct spawn *s, struct err *e)
{
	int r;

	s->cwd_fd = l->dirfd;
	s->log_fd = l->log_fd;
	s->timeout_s = LINK_TIMEOUT_S;
	r = spawn_run(s, e);
	if (r < 0)
		return r;
	if (s->status != 0)
		return err_set(e, -ERR_LINK_FAILED, "%s ended with status %d: %s", s->what, s->status,
			       s->tail ? s->tail : "");
	return 0;
}

static int link_objects(const struct modlink *l, const char *to, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("linker");

	/* -d allocates common symbols; without it the result differs from the one that was signed. */
	(void)spawn_argv(&s, l->linker ? l->linker : "ld", "-d", "-r", "-o", to, l->interface, l->core, NULL);
	return run_tool(l, &s, e);
}

static int strip_debug(const struct modlink *l, const char *file, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("strip");

	(void)spawn_argv(&s, l->strip ? l->strip : "strip", "-D", "--strip-debug", file, NULL);
	return run_tool(l, &s, e);
}

static int interface_machine(const struct modlink *l, uint16_t *ret, struct err *e)
{
	_cleanup_close_ int fd = path_open_at(l->dirfd, l->interface, O_RDONLY, 0, PATH_NO_SYMLINKS);
	struct elf elf;
	int r = fd < 0 ? fd : elf_open(fd, &elf);

	if (r < 0)
		return err_set(e, -ERR_LINK_FAILED, "%s is no ELF object", l->interface);
	*ret = elf.machine;
	return 0;
}

static int check_result(const struct modlink *l, int fd, struct modlink_result *ret, struct err *e)
{
	struct modlink_result result = { .crc = CRC32_MPEG2_INIT };
	struct module_shape shape;
	uint16_t machine = 0;
	struct stat st;
	int r;

	r = interface_machine(l, &machine, e);
	if (r < 0)
		return r;
	r = module_shape_fd(fd, &shape, e);
	if (r < 0)
		return err_set(e, -ERR_LINK_RESULT, "%s is no ELF file", l->output);
	if (shape.type != ELF_TYPE_REL || shape.machine != machine)
		return err_set(e, -ERR_LINK_RESULT, "%s is not relocatable or not for %s", l->output,
			       elf_machine_name(machine));
	if (!shape.has_this_module || !shape.has_modinfo)
		return err_set(e, -ERR_LINK_RESULT, "%s lacks %s", l->output,
			       shape.has_modinfo ? ".gnu.linkonce.this_module" : ".modinfo");
	if (fstat(fd, &st) < 0)
		return err_errno(e, -errno, "reading %s", l->output);
	result.size_bytes = (uint64_t)st.st_size;
	r = precompiled_copy(fd, 0, result.size_bytes, -EBADF, &result.crc);
	if (r < 0)
		return err_errno(e, r, "reading %s", l->output);
	*ret = result;
	return 0;
}

/* Linker and strip replace the file they write, so the descriptor is opened again by name. */
static int reopen(struct tmpname *t, struct err *e)
{
	close_fdp(&t->fd);
	t->fd = openat(t->dirfd, t->name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (t->fd < 0 || fchmod(t->fd, 0644) < 0)
		return err_errno(e, -errno, "reading what the linker wrote");
	return 0;
}

static int link_checked(const struct modlink *l, struct modlink_result *ret, struct err *e)
{
	_cleanup_(tmpname_done) struct tmpname t = TMPNAME_INIT(l->dirfd);
	struct modlink_result result;
	int r;

	r = check_input(l, l->interface, e);
	if (r >= 0)
		r = check_input(l, l->core, e);
	if (r < 0)
		return r;
	r = tmpname_open(&t, 0644);
	if (r < 0)
		return err_errno(e, r, "cannot write the linked module");
	r = link_objects(l, t.name, e);
	if (r >= 0 && l->strip_debug)
		r = strip_debug(l, t.name, e);
	if (r >= 0)
		r = reopen(&t, e);
	if (r >= 0)
		r = check_result(l, t.fd, &result, e);
	if (r < 0)
		return r;
	r = publish_tmp(&t, l->output, true);
	if (r < 0)
		return err_errno(e, r, "cannot write %s", l->output);
	*ret = result;
	return 0;
}

int modlink_run(const struct modlink *l, struct modlink_result *ret, struct err *e)
{
	int r = link_checked(l, ret, e);

	if (r < 0) {
		err_wrap(e, "linking %s", l->output);
		return err_object(e, "%s", l->output);
	}
	return 0;
}

int modlink_check_crc(const struct modlink_result *result, uint32_t recorded_crc, struct err *e)
{
	if (result->crc == recorded_crc)
		return 0;
	return err_set(e, -ERR_LINK_CRC, "CRC %u, recorded %u: linker differs from the build host",
		       result->crc, recorded_crc);
}
