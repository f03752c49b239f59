/* SPDX-License-Identifier: Apache-2.0 */
#include "err.h"

#include "err-container.h"
#include "err-lxc.h"
#include "err-vgpu.h"

#include <stdarg.h>
#include <string.h>

static const struct err_row rows[] = {
#define E(symbol, slug, exit_status, sentence, next_step)                                                    \
	{ ERR_##symbol, #symbol, slug, sentence, next_step, exit_status },
#include "errcodes.def"
#include "errcodes-container.def"
#include "errcodes-lxc.def"
#include "errcodes-vgpu.def"
#undef E
};

/* What the system itself answers. The sentence is strerror()'s; everything not named here is "system-error". */
static const struct err_row errno_rows[] = {
	{ ENOSPC, "ENOSPC", "no-space", NULL, "free some space on that file system, then run again", 1 },
	{ EDQUOT, "EDQUOT", "no-space", NULL, "raise the quota or free some space, then run again", 1 },
	{ EFBIG, "EFBIG", "no-space", NULL, "raise the file size limit, then run again", 1 },
	{ ENOMEM, "ENOMEM", "out-of-memory", NULL, "free some memory, then run again", 1 },
	{ EACCES, "EACCES", "permission-denied", NULL, "run as root, or choose a place you may write to", 1 },
	{ EPERM, "EPERM", "permission-denied", NULL, "run as root, or grant the missing capability", 1 },
	{ EROFS, "EROFS", "read-only", NULL, "remount that file system writable, or choose another place",
	  1 },
	{ ENOENT, "ENOENT", "not-found", NULL, "check the name", 1 },
	{ ENOTDIR, "ENOTDIR", "not-found", NULL, "check the name: a part of the path is not a directory", 1 },
	{ EEXIST, "EEXIST", "already-exists", NULL, "choose another name, or remove what is there", 1 },
	{ EBUSY, "EBUSY", "in-use", NULL, "stop what uses it, then run again", 1 },
	{ ETXTBSY, "ETXTBSY", "in-use", NULL, "stop the program that runs from it, then run again", 1 },
	{ EMFILE, "EMFILE", "too-many-open-files", NULL, "raise the limit of open files (ulimit -n)", 1 },
	{ ENFILE, "ENFILE", "too-many-open-files", NULL, "raise the system's limit of open files", 1 },
	{ EIO, "EIO", "input-output-error", NULL, "check the disk and the kernel log", 1 },
	{ ENOSYS, "ENOSYS", "unsupported-by-kernel", NULL, "use a newer kernel or another file system", 1 },
	{ EOPNOTSUPP, "EOPNOTSUPP", "unsupported-by-kernel", NULL,
	  "use a newer kernel or another file system", 1 },
};

static const struct err_row errno_other = { 0, "", "system-error", NULL, "see the message above", 1 };

static int positive(int code)
{
	return code < 0 ? -code : code;
}

static const struct err_row *find_row(int code)
{
	code = positive(code);
	for (size_t i = 0; code > ERR_FIRST && i < ARRAY_LEN(rows); i++)
		if (rows[i].code == code)
			return &rows[i];
	for (size_t i = 0; i < ARRAY_LEN(errno_rows); i++)
		if (errno_rows[i].code == code)
			return &errno_rows[i];
	return &errno_other;
}

const struct err_row *err_row(size_t i)
{
	return i < ARRAY_LEN(rows) ? &rows[i] : NULL;
}

const struct err_row *err_system_row(size_t i)
{
	return i < ARRAY_LEN(errno_rows) ? &errno_rows[i] : i == ARRAY_LEN(errno_rows) ? &errno_other : NULL;
}

const char *err_slug(int code)
{
	return find_row(code)->slug;
}

const char *err_sentence(int code)
{
	const struct err_row *row = find_row(code);

	return row->sentence ? row->sentence : strerror(positive(code));
}

const char *err_next_step(int code)
{
	return find_row(code)->next_step;
}

int err_exit_status(int code)
{
	return find_row(code)->exit_status;
}

void err_done(struct err *e)
{
	if (!e)
		return;
	free(e->object);
	free(e->reason);
	free(e->next);
	*e = (struct err)ERR_INIT;
}

static char *format(const char *fmt, va_list ap)
{
	char *s = NULL;

	return vasprintf(&s, fmt, ap) < 0 ? NULL : s;
}

/* A caller may pass NULL for the object and still chain `return err_wrap(e, ...)`: the code has to survive. */
static _Thread_local int last_code = EIO;

static int stored(const struct err *e)
{
	return e ? -e->code : -last_code;
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	last_code = positive(code);
	if (e) {
		char *reason;

		/* Formatted first: the arguments may point into the old content. */
		va_start(ap, fmt);
		reason = format(fmt, ap);
		va_end(ap);
		err_done(e);
		e->code = positive(code);
		e->reason = reason;
	}
	return -positive(code);
}

int err_errno(struct err *e, int r, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	r = -positive(r);
	if (!e)
		return err_set(NULL, r, "%s", "");
	va_start(ap, fmt);
	text = format(fmt, ap);
	va_end(ap);
	return err_set(e, r, "%s: %s", text ? text : "", err_sentence(r));
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	_cleanup_free_ char *context = NULL;
	char *joined = NULL;
	va_list ap;

	if (!e)
		return stored(e);
	va_start(ap, fmt);
	context = format(fmt, ap);
	va_end(ap);
	if (!context)
		return stored(e);
	if (asprintf(&joined, "%s: %s", context, e->reason ? e->reason : err_sentence(e->code)) < 0)
		return stored(e);
	free(e->reason);
	e->reason = joined;
	return stored(e);
}

static int replace(struct err *e, char **field, const char *fmt, va_list ap)
{
	char *s = format(fmt, ap);

	if (s) {
		free(*field);
		*field = s;
	}
	return stored(e);
}

int err_object(struct err *e, const char *fmt, ...)
{
	va_list ap;
	int r;

	if (!e)
		return stored(e);
	va_start(ap, fmt);
	r = replace(e, &e->object, fmt, ap);
	va_end(ap);
	return r;
}

int err_next(struct err *e, const char *fmt, ...)
{
	va_list ap;
	int r;

	if (!e)
		return stored(e);
	va_start(ap, fmt);
	r = replace(e, &e->next, fmt, ap);
	va_end(ap);
	return r;
}

int err_oom(struct err *e)
{
	last_code = ENOMEM;
	if (e) {
		err_done(e);
		e->code = ENOMEM;
	}
	return -ENOMEM;
}

void err_move(struct err *to, struct err *from)
{
	if (to == from)
		return;
	if (to) {
		err_done(to);
		*to = *from;
		*from = (struct err)ERR_INIT;
		return;
	}
	err_done(from);
}

int err_recode(struct err *e, int code)
{
	if (code < 0)
		code = -code;
	if (e)
		e->code = code;
	return -code;
}
