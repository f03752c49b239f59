/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing precompiled kernel packages: one pass over every content (its CRC, which precedes it in the file, is filled in
 * afterwards), into a temporary file that our own reader must accept before it takes the package's name. */
#include "precompiled-internal.h"

#include "fd.h"
#include "modsig.h"
#include "publish.h"
#include "strbuf.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* One record of the result: from the package that is extended, or new. */
struct slot {
	const struct precompiled_file *old; /* borrowed; NULL when replaced or new */
	const struct precompiled_item *item; /* borrowed */
};

struct plan {
	struct slot slots[PRECOMPILED_FILES_MAX];
	uint32_t n;
};

static const char *or_empty(const char *s)
{
	return s ? s : "";
}

static const char *item_target_dir(const struct precompiled_item *it)
{
	if (it->target_dir)
		return it->target_dir;
	return it->type == PRECOMPILED_INTERFACE ? "." : "";
}

/* Same file as one that is planned already? Returns its slot, NULL when not; *ret_oom tells the two NULLs apart. */
static struct slot *plan_find(struct plan *plan, const char *target, bool *ret_oom)
{
	*ret_oom = false;
	for (uint32_t i = 0; i < plan->n; i++) {
		const struct slot *s = &plan->slots[i];
		_cleanup_free_ char *other = s->item
						 ? precompiled_target(item_target_dir(s->item), s->item->name)
						 : precompiled_target(s->old->target_dir, s->old->name);

		if (!other) {
			*ret_oom = true;
			return NULL;
		}
		if (strcmp(other, target) == 0)
			return &plan->slots[i];
	}
	return NULL;
}

static int plan_add(struct plan *plan, const struct precompiled_item *item, bool replace, struct err *e)
{
	_cleanup_free_ char *target = precompiled_target(item_target_dir(item), item->name);
	struct slot *same;
	bool oom = !target;

	same = target ? plan_find(plan, target, &oom) : NULL;
	if (oom)
		return err_oom(e);
	/* Two new files of one name are a mistake whatever --replace says. */
	if (same && (!replace || same->item))
		return err_set(e, -ERR_PRECOMPILED_CLASH, "%s", target);
	if (!same && plan->n == PRECOMPILED_FILES_MAX)
		return err_set(e, -ERR_PRECOMPILED_LIMIT, "more than %u files", PRECOMPILED_FILES_MAX);
	if (!same)
		same = &plan->slots[plan->n++];
	*same = (struct slot){ .item = item };
	return 0;
}

static int plan_make(struct plan *plan, const struct precompiled *base, const struct precompiled_item *items,
		     size_t n_items, bool replace, struct err *e)
{
	for (uint32_t i = 0; base && i < base->n_files; i++)
		plan->slots[plan->n++] = (struct slot){ .old = &base->files[i] };
	for (size_t i = 0; i < n_items; i++) {
		int r = plan_add(plan, &items[i], replace, e);

		if (r < 0)
			return r;
	}
	return 0;
}

/* -- bytes ------------------------------------------------------------------------------------------------ */

static void put_u32(struct strbuf *b, uint32_t v)
{
	const uint8_t le[4] = { (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24) };

	(void)strbuf_append(b, le, sizeof(le));
}

static void put_string(struct strbuf *b, const char *s)
{
	size_t len = strlen(s);

	put_u32(b, (uint32_t)(len > UINT32_MAX ? UINT32_MAX : len));
	(void)strbuf_append(b, s, len);
}

static int flush(struct strbuf *b, int fd)
{
	int r = strbuf_error(b);

	if (r >= 0)
		r = write_all(fd, strbuf_str(b), b->len);
	strbuf_reset(b);
	return r;
}

static int write_header(int fd, const struct precompiled_header *h, const struct precompiled *base,
			uint32_t n_files, struct strbuf *b)
{
	(void)strbuf_append(b, PRECOMPILED_MAGIC, PRECOMPILED_MAGIC_SIZE);
	put_u32(b, PRECOMPILED_VERSION);
	put_string(b, h->version || !base ? or_empty(h->version) : base->version);
	put_string(b, h->description || !base ? or_empty(h->description) : base->description);
	put_string(b, h->proc_version || !base ? or_empty(h->proc_version) : base->proc_version);
	put_u32(b, n_files);
	return flush(b, fd);
}

/* Fields of one record that are known before its content is read. */
struct record {
	uint32_t index, type, attributes;
	const char *name, *linked_name, *core_name, *target_dir;
	uint32_t crc, size, linked_crc, signature_size;
};

static int write_record_start(int fd, const struct record *r, struct strbuf *b)
{
	(void)strbuf_puts(b, PRECOMPILED_RECORD_HEADER);
	put_u32(b, r->index);
	put_u32(b, r->type);
	put_u32(b, r->attributes);
	put_string(b, r->name);
	put_string(b, r->linked_name);
	put_string(b, r->core_name);
	put_string(b, r->target_dir);
	put_u32(b, r->crc);
	put_u32(b, r->size);
	return flush(b, fd);
}

static int write_record_middle(int fd, const struct record *r, struct strbuf *b)
{
	put_u32(b, r->crc);
	put_u32(b, r->linked_crc);
	put_u32(b, r->signature_size);
	return flush(b, fd);
}

static int write_record_end(int fd, const struct record *r, struct strbuf *b)
{
	put_u32(b, r->index);
	(void)strbuf_puts(b, PRECOMPILED_RECORD_FOOTER);
	return flush(b, fd);
}

static int write_old(int fd, const struct precompiled *base, const struct precompiled_file *f, uint32_t index,
		     struct strbuf *b, struct err *e)
{
	struct record rec = {
		.index = index,
		.type = f->type,
		.attributes = f->attributes,
		.name = f->name,
		.linked_name = f->linked_name,
		.core_name = f->core_name,
		.target_dir = f->target_dir,
		.crc = f->crc,
		.size = f->size_bytes,
		.linked_crc = f->linked_crc,
		.signature_size = f->signature_size,
	};
	uint32_t unused = 0;
	int r;

	r = write_record_start(fd, &rec, b);
	if (r < 0)
		return err_errno(e, r, "writing %s", f->name);
	r = precompiled_copy_content(base, f, fd, e);
	if (r < 0)
		return r;
	r = write_record_middle(fd, &rec, b);
	if (r >= 0)
		r = precompiled_copy(base->fd, f->signature_offset, f->signature_size, fd, &unused);
	if (r >= 0)
		r = write_record_end(fd, &rec, b);
	return r < 0 ? err_errno(e, r, "writing %s", f->name) : 0;
}

static int fd_crc(int fd, uint32_t *ret_crc)
{
	uint32_t crc = CRC32_MPEG2_INIT;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	r = precompiled_copy(fd, 0, (uint64_t)st.st_size, -EBADF, &crc);
	if (r < 0)
		return r;
	*ret_crc = crc;
	return 0;
}

/* CRC of the linked module, and the signature its signed copy carries. */
static int item_signature(const struct precompiled_item *it, struct record *rec, uint8_t **ret_sig,
			  struct err *e)
{
	size_t len;
	int r;

	if (it->linked_fd < 0)
		return 0;
	r = fd_crc(it->linked_fd, &rec->linked_crc);
	if (r < 0)
		return err_errno(e, r, "reading the linked module of %s", it->name);
	rec->attributes |= PRECOMPILED_LINKED_CRC;
	if (it->signed_fd < 0)
		return 0;
	r = modsig_detach(it->linked_fd, it->signed_fd, ret_sig, &len, e);
	if (r < 0)
		return err_wrap(e, "signed module of %s", it->name);
	rec->attributes |= PRECOMPILED_DETACHED_SIGNATURE;
	rec->signature_size = (uint32_t)len;
	return 0;
}

static int item_size(const struct precompiled_item *it, uint32_t *ret, struct err *e)
{
	struct stat st;

	if (fstat(it->fd, &st) < 0)
		return err_errno(e, -errno, "reading %s", it->name);
	if (!S_ISREG(st.st_mode))
		return err_errno(e, -EINVAL, "%s is not a regular file", it->name);
	if (st.st_size == 0)
		return err_set(e, -ERR_PRECOMPILED_EMPTY, "%s", it->name);
	if ((uint64_t)st.st_size > UINT32_MAX)
		return err_set(e, -ERR_PRECOMPILED_LIMIT, "%s is not smaller than 4 GiB", it->name);
	*ret = (uint32_t)st.st_size;
	return 0;
}

static int item_embedded(const struct precompiled_item *it, struct record *rec, struct err *e)
{
	struct modsig sig;
	int r;

	if (!it->is_signed)
		return 0;
	r = modsig_detect_fd(it->fd, &sig);
	if (r < 0 && r != -EBADMSG)
		return err_errno(e, r, "reading %s", it->name);
	if (r < 0 || !sig.is_signed)
		return err_set(e, -ERR_MODSIG_MISSING, "%s is said to be signed and carries no signature",
			       it->name);
	rec->attributes |= PRECOMPILED_EMBEDDED_SIGNATURE;
	return 0;
}

static int write_item_content(int fd, const struct precompiled_item *it, struct record *rec, struct strbuf *b)
{
	uint8_t le[4];
	off_t crc_at;
	int r;

	r = write_record_start(fd, rec, b);
	if (r < 0)
		return r;
	crc_at = lseek(fd, 0, SEEK_CUR) - 8; /* CRC and size end the start of a record */
	rec->crc = CRC32_MPEG2_INIT;
	r = precompiled_copy(it->fd, 0, rec->size, fd, &rec->crc);
	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(le); i++)
		le[i] = (uint8_t)(rec->crc >> (8 * i));
	if (pwrite(fd, le, sizeof(le), crc_at) != (ssize_t)sizeof(le))
		return errno ? -errno : -EIO;
	return write_record_middle(fd, rec, b);
}

static int write_item(int fd, const struct precompiled_item *it, uint32_t index, struct strbuf *b,
		      struct err *e)
{
	struct record rec = {
		.index = index,
		.type = it->type,
		.name = it->name,
		.linked_name = or_empty(it->linked_name),
		.core_name = or_empty(it->core_name),
		.target_dir = item_target_dir(it),
	};
	_cleanup_free_ uint8_t *sig = NULL;
	int r;

	r = item_size(it, &rec.size, e);
	if (r >= 0)
		r = item_signature(it, &rec, &sig, e);
	if (r >= 0)
		r = item_embedded(it, &rec, e);
	if (r < 0)
		return r;
	r = write_item_content(fd, it, &rec, b);
	if (r >= 0 && rec.signature_size)
		r = write_all(fd, sig, rec.signature_size);
	if (r >= 0)
		r = write_record_end(fd, &rec, b);
	return r < 0 ? err_errno(e, r, "packing %s", it->name) : 0;
}

static int write_package(int fd, const struct precompiled_header *h, const struct precompiled *base,
			 const struct plan *plan, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(8 * PRECOMPILED_STRING_MAX);
	int r;

	r = write_header(fd, h, base, plan->n, &b);
	if (r < 0)
		return err_errno(e, r, "writing the package header");
	for (uint32_t i = 0; i < plan->n; i++) {
		const struct slot *s = &plan->slots[i];

		r = s->item ? write_item(fd, s->item, i, &b, e) : write_old(fd, base, s->old, i, &b, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Whatever was passed in, nothing is published that our reader would refuse. */
static int check_written(int fd, const char *name, struct err *e)
{
	_cleanup_(precompiled_freep) struct precompiled *p = NULL;
	_cleanup_close_ int again = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	int r;

	if (again < 0)
		return err_errno(e, -errno, "checking %s", name);
	r = precompiled_open_fd(again, name, 0, &p, e);
	if (r < 0)
		return r;
	(void)TAKE_FD(again);
	if (p->size_bytes > UINT32_MAX)
		return err_set(e, -ERR_PRECOMPILED_LIMIT, "%s would not be smaller than 4 GiB", name);
	return 0;
}

int precompiled_write(int dirfd, const char *name, const struct precompiled_header *h,
		      const struct precompiled *base, const struct precompiled_item *items, size_t n_items,
		      bool replace, struct err *e)
{
	_cleanup_(tmpname_done) struct tmpname t = TMPNAME_INIT(dirfd);
	struct plan plan = { 0 };
	int r;

	if (!base && (!h->version || !h->proc_version))
		return err_set(e, -ERR_USAGE,
			       "a new package needs a driver version and a proc version string");
	r = plan_make(&plan, base, items, n_items, replace, e);
	if (r < 0)
		return r;
	r = tmpname_open(&t, h->mode);
	if (r < 0)
		return err_errno(e, r, "cannot write %s", name);
	r = write_package(t.fd, h, base, &plan, e);
	if (r >= 0)
		r = check_written(t.fd, name, e);
	if (r < 0)
		return r;
	r = publish_tmp(&t, name, true);
	return r < 0 ? err_errno(e, r, "cannot write %s", name) : 0;
}
