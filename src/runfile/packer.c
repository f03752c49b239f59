/* SPDX-License-Identifier: Apache-2.0 */
#include "packer.h"

#include "compress.h"
#include "fd.h"
#include "path.h"
#include "publish.h"
#include "tarball.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

#define READ_BYTES	  ((size_t)1 << 20)
#define HISTORY_NAME	  "pkg-history.txt"
#define HISTORY_MAX_BYTES ((size_t)1 << 20)
#define CRC_DIGITS	  10

struct packing {
	const struct pack_options *o;
	int tree_fd; /* borrowed */
	struct tarball *tarball; /* owned */
	struct manifest *manifest; /* owned */
	char *history, *targetdir, *label, *decompressor; /* owned */
	size_t decompressor_size;
	char *buf; /* owned, READ_BYTES */
	struct compressor *z; /* owned */
	int out_fd; /* borrowed */
	struct cksum crc;
	struct digest *md5; /* owned */
	struct err *e;
};

static void packing_done(struct packing *p)
{
	tarball_freep(&p->tarball);
	manifest_freep(&p->manifest);
	free(p->history);
	free(p->targetdir);
	free(p->label);
	free(p->decompressor);
	free(p->buf);
	compressor_freep(&p->z);
	digest_freep(&p->md5);
}

/* ---- what comes out ---- */

static int emit(void *arg, const void *buf, size_t len)
{
	struct packing *p = arg;

	cksum_update(&p->crc, buf, len);
	if (digest_update(p->md5, buf, len) < 0)
		return -EIO;
	return write_all(p->out_fd, buf, len);
}

static int compress(void *z, const void *buf, size_t len, struct err *e)
{
	return compressor_write(z, buf, len, e);
}

static int write_archive(struct packing *p)
{
	int r = tarball_write(p->tarball, compress, p->z, p->e);

	return r < 0 ? r : compressor_finish(p->z, p->e);
}

/* ---- names and stub ---- */

static const char *first_of(const char *a, const char *b, const char *c)
{
	return a ? a : b ? b : c;
}

static const char *machine_of(const struct packing *p)
{
	const struct runfile_header *l = p->o->like ? p->o->like->header : NULL;
	const char *at = strstr(p->manifest->description, "Linux-");

	if (l && l->target_arch)
		return l->target_arch;
	return at && name_is_safe(at + 6) ? at + 6 : "x86_64";
}

static int make_names(struct packing *p)
{
	const struct pack_options *o = p->o;
	const struct runfile_header *l = o->like ? o->like->header : NULL;
	const char *version = o->version ? o->version : p->manifest->version;
	const char *label = first_of(o->label, l ? l->label : NULL, NULL);
	const char *dir = first_of(o->targetdir, l ? l->targetdir : NULL, NULL);

	p->label = label ? strdup(label) : str_printf("%s %s", p->manifest->description, version);
	p->targetdir = dir ? strdup(dir)
			   : str_printf("NVIDIA-Linux-%s-%s%s", machine_of(p), version,
					o->kind_suffix ? o->kind_suffix : "");
	return p->label && p->targetdir ? 0 : err_oom(p->e);
}

static int64_t package_date(const struct packing *p)
{
	return p->o->epoch_s != PACK_EPOCH_NONE ? p->o->epoch_s : tarball_newest_s(p->tarball);
}

static int copy_decompressor(struct packing *p)
{
	const struct runfile *like = p->o->like;

	if (!like || like->layout.decompressor_size == 0 || like->layout.compression != p->o->compression)
		return 0;
	p->decompressor_size = (size_t)like->layout.decompressor_size + 1; /* the LF after it included */
	p->decompressor = malloc(p->decompressor_size);
	if (!p->decompressor)
		return err_oom(p->e);
	return pread_exact(like->fd, p->decompressor, p->decompressor_size,
			   like->layout.decompressor_offset) < 0
		   ? err_set(p->e, -ERR_RUNFILE_CHANGED, "%s: cannot copy its decompressor", like->name)
		   : 0;
}

static uint64_t count_lf(const char *p, size_t n)
{
	uint64_t lines = 0;

	for (size_t i = 0; i < n; i++)
		lines += p[i] == '\n';
	return lines;
}

static int make_stub(struct packing *p, struct strbuf *out)
{
	const struct pack_options *o = p->o;
	const struct runfile_header *l = o->like ? o->like->header : NULL;
	struct stub_facts f = {
		.label = p->label,
		.version = first_of(o->version, l ? l->version : NULL, p->manifest->version),
		.pkg_version = first_of(l ? l->pkg_version : NULL, "0", NULL),
		.script = first_of(o->script, l ? l->script : NULL, "./nvidia-installer"),
		.targetdir = p->targetdir,
		.scriptargs = first_of(l ? l->scriptargs : NULL, "", NULL),
		.target_arch = machine_of(p),
		.history = p->history,
		.compression = o->compression,
		.unpacked_kb = (tarball_bytes(p->tarball) + 1023) / 1024,
		.decompressor_lines = count_lf(p->decompressor, p->decompressor_size),
		.date_s = package_date(p),
		.crc = STUB_CRC_UNKNOWN,
		.md5 = "00000000000000000000000000000000",
	};

	return stub_make(&f, out, p->e);
}

/* The offset of line 4. */
static size_t sums_end(const char *stub)
{
	const char *at = stub;

	for (int i = 0; i < 3; i++)
		at = strchr(at, '\n') + 1;
	return (size_t)(at - stub);
}

static int write_front(struct packing *p)
{
	_cleanup_(strbuf_done) struct strbuf stub = STRBUF_INIT(RUNFILE_HEADER_MAX_BYTES);
	size_t head;
	int r = make_stub(p, &stub);

	if (r < 0)
		return r;
	head = sums_end(strbuf_str(&stub));
	r = write_all(p->out_fd, stub.buf, head);
	if (r == 0)
		r = emit(p, stub.buf + head, stub.len - head);
	if (r == 0 && p->decompressor_size)
		r = emit(p, p->decompressor, p->decompressor_size);
	return r < 0 ? err_errno(p->e, r, "writing the package") : 0;
}

/* Move everything from `from` on towards the start by `by` bytes. */
static int shift_down(int fd, uint64_t from, uint64_t by, char *buf)
{
	struct stat st;
	int r = 0;

	if (fstat(fd, &st) < 0)
		return -errno;
	for (uint64_t at = from, end = (uint64_t)st.st_size; at < end && r == 0;) {
		size_t n = end - at < READ_BYTES ? (size_t)(end - at) : READ_BYTES;

		r = pread_exact(fd, buf, n, at);
		if (r == 0 && pwrite(fd, buf, n, (off_t)(at - by)) != (ssize_t)n)
			r = -EIO;
		at += n;
	}
	return r == 0 && ftruncate(fd, st.st_size - (off_t)by) < 0 ? -errno : r;
}

/* Put the sums into lines 2 and 3. A CRC of fewer digits than were kept free (one in four or so) makes the rest
 * move up: the header has no room for padding that every reader would ignore. */
static int write_sums(struct packing *p, struct pack_result *res)
{
	_cleanup_(strbuf_done) struct strbuf empty = STRBUF_INIT(256), full = STRBUF_INIT(256);
	uint8_t md5[MD5_SIZE];
	int r;

	if (digest_final(p->md5, md5, sizeof(md5), NULL) < 0)
		return err_errno(p->e, -EIO, "computing MD5");
	hex_encode(md5, sizeof(md5), res->md5);
	res->crc = cksum_final(&p->crc);
	(void)stub_sums(STUB_CRC_UNKNOWN, res->md5, &empty);
	(void)stub_sums(res->crc, res->md5, &full);
	r = strbuf_error(&full) < 0 ? strbuf_error(&full) : strbuf_error(&empty);
	if (r == 0 && full.len < empty.len)
		r = shift_down(p->out_fd, empty.len, empty.len - full.len, p->buf);
	if (r == 0 && pwrite(p->out_fd, full.buf, full.len, 0) != (ssize_t)full.len)
		r = -EIO;
	return r < 0 ? err_errno(p->e, r, "writing the package's checksums") : 0;
}

static unsigned default_jobs(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

static int prepare(struct packing *p)
{
	int r;

	p->buf = malloc(READ_BYTES);
	if (!p->buf)
		return err_oom(p->e);
	r = manifest_read_at(p->tree_fd, MANIFEST_NAME, 0, &p->manifest, p->e);
	if (r < 0)
		return err_wrap(p->e, "the directory is no driver payload");
	r = read_file_at(p->tree_fd, HISTORY_NAME, HISTORY_MAX_BYTES, &p->history, NULL);
	if (r < 0 && r != -ENOENT)
		return err_errno(p->e, r, "cannot read %s", HISTORY_NAME);
	if ((r = tarball_collect(p->tree_fd, p->o->epoch_s, NULL, &p->tarball, p->e)) < 0 ||
	    (r = copy_decompressor(p)) < 0 || (r = make_names(p)) < 0)
		return r;
	if (digest_new("md5", &p->md5) < 0)
		return err_errno(p->e, -EOPNOTSUPP, "cannot compute MD5");
	return compressor_new(p->o->compression, p->o->level, p->o->jobs ? p->o->jobs : default_jobs(),
			      tarball_bytes(p->tarball), emit, p, &p->z, p->e);
}

static int fill_result(struct packing *p, struct pack_result *res)
{
	struct stat st;

	if (fstat(p->out_fd, &st) < 0 || sha256_fd_hex(p->out_fd, res->sha256) < 0)
		return err_errno(p->e, -EIO, "reading the package back");
	res->members = tarball_members(p->tarball);
	res->unpacked_bytes = tarball_bytes(p->tarball);
	res->file_bytes = (uint64_t)st.st_size;
	return 0;
}

static int output_failed(int r, const char *name, struct err *e)
{
	if (r != -EEXIST)
		return err_errno(e, r, "cannot create %s", name);
	(void)err_set(e, -ERR_PACK_OUTPUT, "%s exists already", name);
	return err_object(e, "%s", name);
}

int pack_tree(int tree_fd, int out_dirfd, const char *out_name, bool replace, const struct pack_options *o,
	      struct pack_result *ret, struct err *e)
{
	struct err local = ERR_INIT;
	_cleanup_(packing_done) struct packing p = { .o = o, .tree_fd = tree_fd, .e = e ? e : &local };
	_cleanup_(tmpname_done) struct tmpname t = TMPNAME_INIT(out_dirfd);
	struct pack_result res = { 0 };
	int r;

	if (!replace && faccessat(out_dirfd, out_name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return output_failed(-EEXIST, out_name, e);
	r = prepare(&p);
	if (r == 0 && (r = tmpname_open(&t, 0755)) < 0)
		r = output_failed(r, out_name, p.e);
	p.out_fd = t.fd;
	if (r == 0 && (r = write_front(&p)) == 0 && (r = write_archive(&p)) == 0 &&
	    (r = write_sums(&p, &res)) == 0)
		r = fill_result(&p, &res);
	err_done(&local);
	if (r < 0)
		return r;
	r = publish_tmp(&t, out_name, replace);
	if (r < 0)
		return output_failed(r, out_name, e);
	if (ret)
		*ret = res;
	return 0;
}
