/* SPDX-License-Identifier: Apache-2.0 */
#include "packer.h"

#include "compress.h"
#include "fd.h"
#include "interrupt.h"
#include "path.h"
#include "publish.h"
#include "tree.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

#define BLOCK		  512
#define READ_BYTES	  ((size_t)1 << 20)
#define HISTORY_NAME	  "pkg-history.txt"
#define HISTORY_MAX_BYTES ((size_t)1 << 20)
#define FILE_SIZE_MAX	  ((uint64_t)8 << 30) /* what an octal size field holds, and what we would read again */
#define CRC_DIGITS	  10

struct item {
	char *path; /* owned */
	char *target; /* owned; link text */
	mode_t mode; /* with type */
	uint64_t size;
	int64_t mtime_s;
};

struct packing {
	const struct pack_options *o;
	int tree_fd; /* borrowed */
	struct item *items; /* owned */
	size_t n_items, n_allocated;
	uint64_t archive_bytes; /* of the finished tar */
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
	for (size_t i = 0; i < p->n_items; i++) {
		free(p->items[i].path);
		free(p->items[i].target);
	}
	free(p->items);
	manifest_freep(&p->manifest);
	free(p->history);
	free(p->targetdir);
	free(p->label);
	free(p->decompressor);
	free(p->buf);
	compressor_freep(&p->z);
	digest_freep(&p->md5);
}

static int bad_input(struct packing *p, const char *path, const char *why)
{
	(void)err_set(p->e, -ERR_PACK_INPUT, "%s %s", path, why);
	return err_object(p->e, "%s", path);
}

/* ---- what goes in ---- */

static int64_t item_mtime(const struct pack_options *o, const struct stat *st)
{
	int64_t t = o->epoch_s != PACK_EPOCH_NONE ? o->epoch_s : (int64_t)st->st_mtim.tv_sec;

	return t < 0 ? 0 : t > 077777777777 ? 077777777777 : t;
}

static int read_link(struct packing *p, const struct tree_entry *en, struct item *it)
{
	char text[PATH_MAX];
	ssize_t n = readlinkat(en->dirfd, en->name, text, sizeof(text) - 1);

	if (n < 0)
		return err_errno(p->e, -errno, "cannot read the link %s", en->path);
	text[n] = '\0';
	if (strlen(text) > 100)
		return bad_input(p, en->path, "is a link with a text over 100 bytes");
	it->target = strdup(text);
	return it->target ? 0 : err_oom(p->e);
}

static struct item *item_push(struct packing *p)
{
	if (p->n_items == p->n_allocated) {
		size_t n = p->n_allocated ? 2 * p->n_allocated : 1024;
		struct item *more = reallocarray(p->items, n, sizeof(*more));

		if (!more)
			return NULL;
		p->items = more;
		p->n_allocated = n;
	}
	memset(&p->items[p->n_items], 0, sizeof(*p->items));
	return &p->items[p->n_items++];
}

static int collect(const struct tree_entry *en, void *arg)
{
	struct packing *p = arg;
	struct item *it;

	if (!S_ISREG(en->st.st_mode) && !S_ISDIR(en->st.st_mode) && !S_ISLNK(en->st.st_mode))
		return bad_input(p, en->path, "is neither a file nor a directory nor a link");
	if (!path_name_is_clean(en->path))
		return bad_input(p, en->path, "has a name that packages may not hold");
	if ((uint64_t)en->st.st_size >= FILE_SIZE_MAX)
		return bad_input(p, en->path, "is 8 GiB or larger");
	it = item_push(p);
	if (!it)
		return err_oom(p->e);
	it->path = strdup(en->path);
	if (!it->path)
		return err_oom(p->e);
	it->mode = en->st.st_mode;
	it->size = S_ISREG(en->st.st_mode) ? (uint64_t)en->st.st_size : 0;
	it->mtime_s = item_mtime(p->o, &en->st);
	return S_ISLNK(en->st.st_mode) ? read_link(p, en, it) : 0;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct item *)a)->path, ((const struct item *)b)->path);
}

/* Where a name is cut between the ustar prefix and name fields; 0 = it fits the name field; -1 = it fits neither. */
static int name_split(const char *path, bool is_dir)
{
	size_t n = strlen(path) + is_dir;

	if (n <= 100)
		return 0;
	for (size_t i = strlen(path); i-- > 1;)
		if (path[i] == '/' && i <= 155 && n - i - 1 <= 100)
			return (int)i;
	return -1;
}

static uint64_t padded(uint64_t n)
{
	return (n + BLOCK - 1) / BLOCK * BLOCK;
}

static uint64_t item_bytes(const struct item *it)
{
	uint64_t n = BLOCK + padded(it->size);

	if (name_split(it->path, S_ISDIR(it->mode)) < 0)
		n += BLOCK + padded(strlen(it->path) + S_ISDIR(it->mode) + 1);
	return n;
}

static int collect_all(struct packing *p)
{
	int r = tree_walk(p->tree_fd, TREE_SORTED, collect, p);

	if (r < 0)
		return p->e && p->e->code ? r : err_errno(p->e, r, "cannot read the directory");
	qsort(p->items, p->n_items, sizeof(*p->items), by_path);
	for (size_t i = 0; i < p->n_items; i++)
		p->archive_bytes += item_bytes(&p->items[i]);
	p->archive_bytes += 2 * BLOCK;
	return 0;
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

static void put_octal(char *field, size_t n, uint64_t value)
{
	for (size_t i = n - 1; i-- > 0; value >>= 3)
		field[i] = (char)('0' + (value & 7));
}

static void fill_header(char *h, const char *name, size_t name_len, char type, uint64_t size, mode_t mode,
			int64_t mtime)
{
	unsigned sum = 0;

	memcpy(h, name, name_len);
	put_octal(h + 100, 8, mode);
	put_octal(h + 108, 8, 0);
	put_octal(h + 116, 8, 0);
	put_octal(h + 124, 12, size);
	put_octal(h + 136, 12, (uint64_t)mtime);
	memset(h + 148, ' ', 8);
	h[156] = type;
	memcpy(h + 257,
	       "ustar\0"
	       "00",
	       8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)h[i];
	put_octal(h + 148, 7, sum);
}

static int write_padding(struct packing *p, uint64_t size)
{
	static const char zero[BLOCK];

	return compressor_write(p->z, zero, (size_t)(padded(size) - size), p->e);
}

/* GNU's way for names that fit neither field; the header keeps as much as it can hold. */
static int write_long_name(struct packing *p, const char *name)
{
	char h[BLOCK] = "";
	size_t n = strlen(name) + 1;
	int r;

	fill_header(h, "././@LongLink", 13, 'L', n, 0, 0);
	r = compressor_write(p->z, h, sizeof(h), p->e);
	if (r == 0)
		r = compressor_write(p->z, name, n, p->e);
	return r < 0 ? r : write_padding(p, n);
}

static int write_header(struct packing *p, const struct item *it)
{
	bool dir = S_ISDIR(it->mode);
	_cleanup_free_ char *name = str_printf("%s%s", it->path, dir ? "/" : "");
	int split = name_split(it->path, dir), r;
	const char *last;
	char h[BLOCK] = "";
	size_t n;

	if (!name)
		return err_oom(p->e);
	if (split < 0) {
		r = write_long_name(p, name);
		if (r < 0)
			return r;
	}
	if (split > 0)
		memcpy(h + 345, name, (size_t)split);
	last = split > 0 ? name + split + 1 : name;
	n = strlen(last) > 100 ? 100 : strlen(last);
	if (it->target)
		memcpy(h + 157, it->target, strlen(it->target));
	fill_header(h, last, n,
		    dir		 ? '5'
		    : it->target ? '2'
				 : '0',
		    it->size, it->target ? 0777 : it->mode & 0777, it->mtime_s);
	return compressor_write(p->z, h, sizeof(h), p->e);
}

static int write_content(struct packing *p, const struct item *it)
{
	_cleanup_close_ int fd = path_open_at(p->tree_fd, it->path, O_RDONLY, 0, PATH_NO_SYMLINKS);
	uint64_t left = it->size;
	int r = 0;

	if (fd < 0)
		return err_errno(p->e, fd, "cannot open %s", it->path);
	while (left > 0 && r == 0) {
		size_t want = left < READ_BYTES ? (size_t)left : READ_BYTES;
		ssize_t n = read_upto(fd, p->buf, want);

		if (n < 0)
			return err_errno(p->e, (int)n, "cannot read %s", it->path);
		if ((size_t)n < want)
			return bad_input(p, it->path, "became shorter while it was packed");
		left -= want;
		r = interrupt_check(p->e);
		if (r == 0)
			r = compressor_write(p->z, p->buf, want, p->e);
	}
	if (r == 0 && read_upto(fd, p->buf, 1) != 0)
		return bad_input(p, it->path, "became longer while it was packed");
	return r < 0 ? r : write_padding(p, it->size);
}

static int write_archive(struct packing *p)
{
	static const char end[2 * BLOCK];
	int r = 0;

	for (size_t i = 0; i < p->n_items && r == 0; i++) {
		r = write_header(p, &p->items[i]);
		if (r == 0 && S_ISREG(p->items[i].mode))
			r = write_content(p, &p->items[i]);
	}
	if (r == 0)
		r = compressor_write(p->z, end, sizeof(end), p->e);
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
	int64_t newest = 0;

	for (size_t i = 0; i < p->n_items; i++)
		if (p->items[i].mtime_s > newest)
			newest = p->items[i].mtime_s;
	return p->o->epoch_s != PACK_EPOCH_NONE ? p->o->epoch_s : newest;
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
		.unpacked_kb = (p->archive_bytes + 1023) / 1024,
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
	if ((r = collect_all(p)) < 0 || (r = copy_decompressor(p)) < 0 || (r = make_names(p)) < 0)
		return r;
	if (digest_new("md5", &p->md5) < 0)
		return err_errno(p->e, -EOPNOTSUPP, "cannot compute MD5");
	return compressor_new(p->o->compression, p->o->level, p->o->jobs ? p->o->jobs : default_jobs(),
			      p->archive_bytes, emit, p, &p->z, p->e);
}

static int fill_result(struct packing *p, struct pack_result *res)
{
	struct stat st;

	if (fstat(p->out_fd, &st) < 0 || sha256_fd_hex(p->out_fd, res->sha256) < 0)
		return err_errno(p->e, -EIO, "reading the package back");
	res->members = p->n_items;
	res->unpacked_bytes = p->archive_bytes;
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
