/* SPDX-License-Identifier: Apache-2.0 */
#include "tarball.h"

#include "fd.h"
#include "interrupt.h"
#include "path.h"
#include "strbuf.h"
#include "tar.h"
#include "tree.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define BLOCK	      TAR_BLOCK_BYTES
#define READ_BYTES    ((size_t)1 << 20)
#define FILE_SIZE_MAX ((uint64_t)8 << 30) /* what an octal size field holds, and what we would read again */

struct item {
	char *path; /* owned */
	char *target; /* owned; link text */
	mode_t mode; /* with type */
	uint64_t size;
	int64_t mtime_s;
};

struct tarball {
	int dirfd; /* borrowed */
	int64_t epoch_s;
	const char *without; /* borrowed; may be NULL */
	struct item *items; /* owned */
	size_t n_items, n_allocated;
	uint64_t bytes, content_bytes;
	/* while writing */
	tarball_sink sink;
	void *arg;
	char *buf; /* owned, READ_BYTES */
	struct err *e;
};

void tarball_freep(struct tarball **t)
{
	struct tarball *p = *t;

	if (!p)
		return;
	for (size_t i = 0; i < p->n_items; i++) {
		free(p->items[i].path);
		free(p->items[i].target);
	}
	free(p->items);
	free(p->buf);
	freep(t);
}

static int bad_input(struct tarball *p, const char *path, const char *why)
{
	(void)err_set(p->e, -ERR_PACK_INPUT, "%s %s", path, why);
	return err_object(p->e, "%s", path);
}

/* ---- what goes in ---- */

static int64_t item_mtime(int64_t epoch_s, const struct stat *st)
{
	int64_t t = epoch_s != TARBALL_EPOCH_NONE ? epoch_s : (int64_t)st->st_mtim.tv_sec;

	return t < 0 ? 0 : t > 077777777777 ? 077777777777 : t;
}

static int read_link(struct tarball *p, const struct tree_entry *en, struct item *it)
{
	char text[PATH_MAX];
	ssize_t n = readlinkat(en->dirfd, en->name, text, sizeof(text) - 1);

	if (n < 0)
		return err_errno(p->e, -errno, "cannot read the link %s", en->path);
	text[n] = '\0';
	if (!tar_link_stays_inside(en->path, text))
		return bad_input(p, en->path, "is a link that leads outside");
	if (strlen(text) > 100)
		return bad_input(p, en->path, "is a link with a text over 100 bytes");
	it->target = strdup(text);
	return it->target ? 0 : err_oom(p->e);
}

static struct item *item_push(struct tarball *p)
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
	struct tarball *p = arg;
	struct item *it;

	if (p->without && strcmp(en->path, p->without) == 0)
		return 0;
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
	it->mtime_s = item_mtime(p->epoch_s, &en->st);
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

uint64_t tarball_padded(uint64_t n)
{
	return (n + BLOCK - 1) / BLOCK * BLOCK;
}

static uint64_t item_bytes(const struct item *it)
{
	uint64_t n = BLOCK + tarball_padded(it->size);

	if (name_split(it->path, S_ISDIR(it->mode)) < 0)
		n += BLOCK + tarball_padded(strlen(it->path) + S_ISDIR(it->mode) + 1);
	return n;
}

static int collect_all(struct tarball *p)
{
	int r = tree_walk(p->dirfd, TREE_SORTED, collect, p);

	if (r < 0)
		return p->e->code ? r : err_errno(p->e, r, "cannot read the directory");
	if (p->n_items)
		qsort(p->items, p->n_items, sizeof(*p->items), by_path);
	for (size_t i = 0; i < p->n_items; i++) {
		p->bytes += item_bytes(&p->items[i]);
		p->content_bytes += p->items[i].size;
	}
	p->bytes += 2 * BLOCK;
	return 0;
}

int tarball_collect(int dirfd, int64_t epoch_s, const char *without, struct tarball **ret, struct err *e)
{
	_cleanup_(tarball_freep) struct tarball *t = calloc(1, sizeof(*t));
	struct err local = ERR_INIT;
	int r;

	if (!t || !(t->buf = malloc(READ_BYTES)))
		return err_oom(e);
	t->dirfd = dirfd;
	t->epoch_s = epoch_s;
	t->without = without;
	t->e = e ? e : &local;
	r = collect_all(t);
	err_done(&local);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(t);
	return 0;
}

uint64_t tarball_bytes(const struct tarball *t)
{
	return t->bytes;
}

size_t tarball_members(const struct tarball *t)
{
	return t->n_items;
}

uint64_t tarball_content_bytes(const struct tarball *t)
{
	return t->content_bytes;
}

int64_t tarball_newest_s(const struct tarball *t)
{
	int64_t newest = 0;

	for (size_t i = 0; i < t->n_items; i++)
		if (t->items[i].mtime_s > newest)
			newest = t->items[i].mtime_s;
	return newest;
}

/* ---- what comes out ---- */

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

static int write_padding(struct tarball *p, uint64_t size)
{
	static const char zero[BLOCK];

	return p->sink(p->arg, zero, (size_t)(tarball_padded(size) - size), p->e);
}

/* GNU's way for names that fit neither field; the header keeps as much as it can hold. */
static int write_long_name(struct tarball *p, const char *name)
{
	char h[BLOCK] = "";
	size_t n = strlen(name) + 1;
	int r;

	fill_header(h, "././@LongLink", 13, 'L', n, 0, 0);
	r = p->sink(p->arg, h, sizeof(h), p->e);
	if (r == 0)
		r = p->sink(p->arg, name, n, p->e);
	return r < 0 ? r : write_padding(p, n);
}

static int write_header(struct tarball *p, const struct item *it)
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
	return p->sink(p->arg, h, sizeof(h), p->e);
}

static int write_content(struct tarball *p, const struct item *it)
{
	_cleanup_close_ int fd = path_open_at(p->dirfd, it->path, O_RDONLY, 0, PATH_NO_SYMLINKS);
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
			r = p->sink(p->arg, p->buf, want, p->e);
	}
	if (r == 0 && read_upto(fd, p->buf, 1) != 0)
		return bad_input(p, it->path, "became longer while it was packed");
	return r < 0 ? r : write_padding(p, it->size);
}

static int write_members(struct tarball *p)
{
	static const char end[2 * BLOCK];
	int r = 0;

	for (size_t i = 0; i < p->n_items && r == 0; i++) {
		r = write_header(p, &p->items[i]);
		if (r == 0 && S_ISREG(p->items[i].mode))
			r = write_content(p, &p->items[i]);
	}
	return r == 0 ? p->sink(p->arg, end, sizeof(end), p->e) : r;
}

int tarball_write(struct tarball *t, tarball_sink sink, void *arg, struct err *e)
{
	struct err local = ERR_INIT;
	int r;

	t->sink = sink;
	t->arg = arg;
	t->e = e ? e : &local;
	r = write_members(t);
	err_done(&local);
	return r;
}

void tarball_header(char block[TAR_BLOCK_BYTES], const char *name, uint64_t size, mode_t mode,
		    int64_t mtime_s)
{
	size_t n = strlen(name);

	memset(block, 0, BLOCK);
	fill_header(block, name, n > 100 ? 100 : n, n && name[n - 1] == '/' ? '5' : '0', size, mode, mtime_s);
}
