/* SPDX-License-Identifier: Apache-2.0 */
#include "tar.h"

#include "path.h"
#include "strbuf.h"

#include <string.h>

#define BLOCK		512
#define LONG_NAME_MAX	((size_t)64 << 10)
#define PAX_MAX		((size_t)1 << 20)
#define NAMES_MAX_BYTES ((size_t)128 << 20)

/* Field places of a header block (POSIX ustar; GNU shares all but the prefix). */
enum {
	NAME = 0,
	MODE = 100,
	SIZE = 124,
	MTIME = 136,
	CHECKSUM = 148,
	TYPE = 156,
	LINK = 157,
	MAGIC = 257,
	PREFIX = 345
};

/* ---- names seen so far ---- */

struct names {
	struct name {
		char *name;
		enum tar_kind kind;
	} * slots;
	size_t bytes; /* of all names; bounded, or deep names would ask for a parent each */
	size_t used, allocated; /* allocated is a power of two */
};

static void names_done(struct names *n)
{
	for (size_t i = 0; i < n->allocated; i++)
		free(n->slots[i].name);
	free(n->slots);
}

static uint64_t name_hash(const char *s, size_t len)
{
	uint64_t h = 0xcbf29ce484222325u;

	while (len--)
		h = (h ^ (unsigned char)*s++) * 0x100000001b3u;
	return h;
}

static struct name *names_slot(const struct names *n, const char *name, size_t len)
{
	size_t i = name_hash(name, len) & (n->allocated - 1);

	while (n->slots[i].name &&
	       (strncmp(n->slots[i].name, name, len) != 0 || n->slots[i].name[len] != '\0'))
		i = (i + 1) & (n->allocated - 1);
	return &n->slots[i];
}

static int names_grow(struct names *n)
{
	struct names more = { .allocated = n->allocated ? n->allocated * 2 : 1024,
			      .used = n->used,
			      .bytes = n->bytes };

	more.slots = calloc(more.allocated, sizeof(*more.slots));
	if (!more.slots)
		return -ENOMEM;
	for (size_t i = 0; i < n->allocated; i++)
		if (n->slots[i].name)
			*names_slot(&more, n->slots[i].name, strlen(n->slots[i].name)) = n->slots[i];
	free(n->slots);
	*n = more;
	return 0;
}

static const struct name *names_find(const struct names *n, const char *name, size_t len)
{
	const struct name *s = n->allocated ? names_slot(n, name, len) : NULL;

	return s && s->name ? s : NULL;
}

static int names_add(struct names *n, const char *name, enum tar_kind kind)
{
	struct name *s;

	n->bytes += strlen(name) + sizeof(*s);
	if (n->bytes > NAMES_MAX_BYTES)
		return -E2BIG;
	if (n->used * 4 >= n->allocated * 3 && names_grow(n) < 0)
		return -ENOMEM;
	s = names_slot(n, name, strlen(name));
	s->name = strdup(name);
	if (!s->name)
		return -ENOMEM;
	s->kind = kind;
	n->used++;
	return 0;
}

/* ---- state ---- */

/* What extended headers said about the next member (or, global, about all). */
struct pax {
	char *path, *link;
	uint64_t size;
	int64_t mtime;
	bool has_size, has_mtime;
};

struct walk {
	tar_source source;
	void *source_arg;
	struct span chunk;
	const struct tar_limits *limits;
	const struct tar_visitor *visitor;
	void *arg;
	struct names names;
	struct pax next, global;
	struct tar_result result;
	struct err *e;
};

static void pax_done(struct pax *p)
{
	free(p->path);
	free(p->link);
	memset(p, 0, sizeof(*p));
}

static int damaged(struct walk *w, const char *what)
{
	return err_set(w->e, -ERR_ARCHIVE_DAMAGED, "after member %llu: %s",
		       (unsigned long long)w->result.members, what);
}

/* 1 when a chunk is at hand, 0 at the end. */
static int have_chunk(struct walk *w)
{
	if (w->chunk.len == 0) {
		int r = w->source(w->source_arg, &w->chunk, w->e);

		if (r < 0)
			return r;
	}
	return w->chunk.len > 0;
}

static int read_exact(struct walk *w, char *out, size_t len, size_t *ret_got)
{
	size_t got = 0;

	while (got < len) {
		int r = have_chunk(w);
		size_t n;

		if (r < 0)
			return r;
		if (r == 0)
			break;
		n = w->chunk.len < len - got ? w->chunk.len : len - got;
		memcpy(out + got, w->chunk.p, n);
		w->chunk.p += n;
		w->chunk.len -= n;
		got += n;
	}
	*ret_got = got;
	return 0;
}

static int cut_short(struct walk *w, const char *name)
{
	return err_set(w->e, -ERR_RUNFILE_TRUNCATED, "the archive ends in the middle of %s", name);
}

/* Pass `size` bytes and the padding to the next block; data() sees them when wanted. */
static int pass_content(struct walk *w, uint64_t size, bool wanted, const char *name)
{
	uint64_t left = size, pad = (BLOCK - size % BLOCK) % BLOCK;

	while (left + pad > 0) {
		int r = have_chunk(w);
		size_t n;

		if (r < 0)
			return r;
		if (r == 0)
			return cut_short(w, name);
		n = left > 0 ? (w->chunk.len < left ? w->chunk.len : (size_t)left)
			     : (w->chunk.len < pad ? w->chunk.len : (size_t)pad);
		if (left > 0 && wanted && (r = w->visitor->data(w->chunk.p, n, w->arg, w->e)) < 0)
			return r;
		w->chunk.p += n;
		w->chunk.len -= n;
		*(left > 0 ? &left : &pad) -= n;
	}
	return 0;
}

/* ---- numbers ---- */

static int read_base256(const unsigned char *p, size_t n, uint64_t *ret)
{
	uint64_t v = p[0] & 0x3f;

	if (p[0] & 0x40)
		return -EINVAL; /* negative */
	for (size_t i = 1; i < n; i++) {
		if (v >> 55)
			return -ERANGE;
		v = v << 8 | p[i];
	}
	*ret = v;
	return 0;
}

static int read_number(const char *field, size_t n, uint64_t *ret)
{
	size_t i = 0;
	uint64_t v = 0;

	if ((unsigned char)field[0] & 0x80)
		return read_base256((const unsigned char *)field, n, ret);
	while (i < n && field[i] == ' ')
		i++;
	for (; i < n && field[i] >= '0' && field[i] <= '7'; i++)
		v = v << 3 | (uint64_t)(field[i] - '0');
	for (; i < n; i++)
		if (field[i] != ' ' && field[i] != '\0')
			return -EINVAL;
	*ret = v;
	return 0;
}

static bool checksum_is_right(const char *h)
{
	uint64_t want, u = 0;
	int64_t s = 0;

	if (read_number(h + CHECKSUM, 8, &want) < 0)
		return false;
	for (size_t i = 0; i < BLOCK; i++) {
		char c = i >= CHECKSUM && i < CHECKSUM + 8 ? ' ' : h[i];

		u += (unsigned char)c;
		s += (signed char)c;
	}
	return want == u || (int64_t)want == s;
}

/* ---- names ---- */

static int bad_name(struct walk *w, const char *what, const char *name)
{
	return err_set(w->e, -ERR_ARCHIVE_PATH_ESCAPE, "%s \"%.200s\" is not a plain relative name", what,
		       name);
}

/* Strip "./" and one trailing slash; refuse everything else that is not plain. An empty result is the top itself. */
static int clean_name(struct walk *w, const char *what, const char *name, char **ret)
{
	int r;

	while (name[0] == '.' && name[1] == '/')
		name += 2;
	if (name[0] == '/' || strstr(name, "//"))
		return bad_name(w, what, name);
	r = path_clean(name, ret);
	if (r == -ENOMEM)
		return err_oom(w->e);
	if (r == 0 && strcmp(*ret, ".") == 0)
		(*ret)[0] = '\0';
	return r < 0 ? bad_name(w, what, name) : 0;
}

bool tar_link_stays_inside(const char *member, const char *target)
{
	size_t depth = 0;
	bool down = false;

	if (target[0] == '/' || target[0] == '\0' || strlen(target) > 4095)
		return false;
	for (const char *p = member; (p = strchr(p, '/')); p++)
		depth++;
	for (const char *p = target; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 2 && p[0] == '.' && p[1] == '.') {
			if (down || depth-- == 0)
				return false;
		} else if (n > 255) {
			return false;
		} else if (n > 0 && !(n == 1 && p[0] == '.')) {
			down = true;
		}
		for (size_t i = 0; i < n; i++)
			if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f)
				return false;
		p += n;
		while (*p == '/')
			p++;
	}
	return true;
}

/* No part of a member's directory may be a link or a file of the same archive. */
static int check_parents(struct walk *w, const char *name)
{
	for (const char *p = name; (p = strchr(p, '/')); p++) {
		const struct name *seen = names_find(&w->names, name, (size_t)(p - name));

		if (seen && seen->kind == TAR_SYMLINK)
			return err_set(w->e, -ERR_ARCHIVE_SYMLINK_ESCAPE,
				       "%s goes through the symbolic link %s", name, seen->name);
		if (seen && seen->kind != TAR_DIR)
			return err_set(w->e, -ERR_ARCHIVE_DUPLICATE, "%s is both a file and a directory",
				       seen->name);
	}
	return 0;
}

static int names_full(struct walk *w, int r)
{
	return r == -E2BIG ? err_set(w->e, -ERR_ARCHIVE_LIMIT, "the member names are too long together")
			   : err_oom(w->e);
}

static int remember(struct walk *w, const struct tar_member *m)
{
	char parent[4096];
	int r;

	if (names_find(&w->names, m->name, strlen(m->name)))
		return err_set(w->e, -ERR_ARCHIVE_DUPLICATE, "%s appears twice", m->name);
	r = names_add(&w->names, m->name, m->kind);
	if (r < 0)
		return names_full(w, r);
	/* Directories that exist only because something lies in them count too: a later link must not take their
	 * place. They are kept with a slash at the end, so a directory entry of their own may still follow. */
	for (const char *p = m->name; (p = strchr(p, '/')); p++) {
		size_t n = (size_t)(p - m->name) + 1;

		memcpy(parent, m->name, n);
		parent[n] = '\0';
		if (!names_find(&w->names, parent, n) && (r = names_add(&w->names, parent, TAR_DIR)) < 0)
			return names_full(w, r);
	}
	return 0;
}

static int check_not_a_directory(struct walk *w, const struct tar_member *m)
{
	char as_parent[4097];
	int n = snprintf(as_parent, sizeof(as_parent), "%s/", m->name);

	if (m->kind != TAR_DIR && names_find(&w->names, as_parent, (size_t)n))
		return err_set(w->e, -ERR_ARCHIVE_DUPLICATE, "%s is both a directory and something else",
			       m->name);
	return 0;
}

/* ---- extended headers ---- */

static int read_small(struct walk *w, uint64_t size, size_t max, char **ret)
{
	_cleanup_free_ char *buf = NULL;
	size_t got, padded = (size_t)((size + BLOCK - 1) / BLOCK * BLOCK);
	int r;

	if (size > max)
		return err_set(w->e, -ERR_ARCHIVE_LIMIT, "an extended header of %llu bytes",
			       (unsigned long long)size);
	buf = malloc(padded + 1);
	if (!buf)
		return err_oom(w->e);
	r = read_exact(w, buf, padded, &got);
	if (r < 0)
		return r;
	if (got < padded)
		return cut_short(w, "an extended header");
	buf[size] = '\0';
	*ret = TAKE_PTR(buf);
	return 0;
}

static int read_long(struct walk *w, uint64_t size, char **field)
{
	_cleanup_free_ char *text = NULL;
	int r = read_small(w, size, LONG_NAME_MAX, &text);

	if (r < 0)
		return r;
	for (size_t i = strlen(text); i < size; i++)
		if (text[i] != '\0')
			return bad_name(w, "the name with a NUL byte", text);
	free(*field);
	*field = TAKE_PTR(text);
	return 0;
}

static int pax_text(struct walk *w, struct span value, char **field)
{
	if (memchr(value.p, '\0', value.len))
		return err_set(w->e, -ERR_ARCHIVE_PATH_ESCAPE, "an extended header's name holds a NUL byte");
	free(*field);
	*field = span_dup(value);
	return *field ? 0 : err_oom(w->e);
}

static int pax_value(struct walk *w, struct pax *to, struct span key, struct span value)
{
	uint64_t n;

	if (span_eq(key, "path"))
		return pax_text(w, value, &to->path);
	if (span_eq(key, "linkpath"))
		return pax_text(w, value, &to->link);
	if (span_starts(key, "GNU.sparse."))
		return err_set(w->e, -ERR_ARCHIVE_SPECIAL_FILE, "a sparse file");
	if (span_eq(key, "size")) {
		if (parse_u64(value, UINT64_MAX >> 1, &to->size) < 0)
			return damaged(w, "an extended header's size is not a number");
		to->has_size = true;
	} else if (span_eq(key, "mtime")) {
		const char *dot = memchr(value.p, '.', value.len);

		if (dot)
			value.len = (size_t)(dot - value.p);
		to->has_mtime = parse_u64(value, INT64_MAX, &n) == 0;
		to->mtime = to->has_mtime ? (int64_t)n : 0;
	}
	return 0;
}

static int read_pax(struct walk *w, uint64_t size, struct pax *to)
{
	_cleanup_free_ char *text = NULL;
	struct span rest;
	int r = read_small(w, size, PAX_MAX, &text);

	if (r < 0)
		return r;
	rest = (struct span){ text, (size_t)size };
	while (rest.len > 0) {
		const char *blank = memchr(rest.p, ' ', rest.len), *eq;
		uint64_t n;
		size_t digits = blank ? (size_t)(blank - rest.p) : 0;

		if (!blank || parse_u64((struct span){ rest.p, digits }, rest.len, &n) < 0 ||
		    n < digits + 3 || rest.p[n - 1] != '\n')
			return damaged(w, "an extended header's record has a wrong length");
		eq = memchr(blank + 1, '=', n - digits - 1);
		if (!eq)
			return damaged(w, "an extended header's record has no \"=\"");
		r = pax_value(w, to, (struct span){ blank + 1, (size_t)(eq - blank - 1) },
			      (struct span){ eq + 1, (size_t)(rest.p + n - 1 - (eq + 1)) });
		if (r < 0)
			return r;
		rest.p += n;
		rest.len -= n;
	}
	return 0;
}

/* ---- members ---- */

static int header_name(struct walk *w, const char *h, char **ret)
{
	bool posix = memcmp(h + MAGIC, "ustar\0", 6) == 0;
	const char *given = w->next.path ? w->next.path : w->global.path;
	_cleanup_free_ char *raw = NULL;

	if (given)
		raw = strdup(given);
	else if (posix && h[PREFIX])
		raw = str_printf("%.155s/%.100s", h + PREFIX, h + NAME);
	else
		raw = strndup(h + NAME, 100);
	if (!raw)
		return err_oom(w->e);
	return clean_name(w, "the member name", raw, ret);
}

static int member_link(struct walk *w, const char *h, struct tar_member *m, char **ret)
{
	const char *given = w->next.link ? w->next.link : w->global.link;
	_cleanup_free_ char *raw = given ? strdup(given) : strndup(h + LINK, 100);
	const struct name *seen;
	int r;

	if (!raw)
		return err_oom(w->e);
	if (m->kind == TAR_SYMLINK) {
		if (!tar_link_stays_inside(m->name, raw))
			return err_set(w->e, -ERR_ARCHIVE_SYMLINK_ESCAPE,
				       "the link %s -> %.200s leads outside", m->name, raw);
		*ret = TAKE_PTR(raw);
		return 0;
	}
	r = clean_name(w, "the link target", raw, ret);
	if (r < 0)
		return r;
	seen = names_find(&w->names, *ret, strlen(*ret));
	if (!seen || seen->kind != TAR_FILE)
		return err_set(w->e, -ERR_ARCHIVE_HARDLINK,
			       "%s is a hard link to %s, which is no earlier file", m->name, *ret);
	return 0;
}

static int member_kind(struct walk *w, char type, const char *name, enum tar_kind *ret)
{
	static const struct {
		char type;
		enum tar_kind kind;
	} rows[] = { { '0', TAR_FILE },
		     { '\0', TAR_FILE },
		     { '5', TAR_DIR },
		     { '2', TAR_SYMLINK },
		     { '1', TAR_HARDLINK } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].type == type) {
			*ret = rows[i].kind;
			return 0;
		}
	return err_set(w->e, -ERR_ARCHIVE_SPECIAL_FILE, "%s is of type '%c'", name,
		       type >= 0x20 && type < 0x7f ? type : '?');
}

static int member_numbers(struct walk *w, const char *h, struct tar_member *m)
{
	uint64_t size = 0, mode = 0, mtime = 0;

	if (read_number(h + MODE, 8, &mode) < 0 || read_number(h + SIZE, 12, &size) < 0)
		return damaged(w, "a number in a header is not a number");
	if (read_number(h + MTIME, 12, &mtime) < 0 || mtime > INT64_MAX)
		mtime = 0;
	if (w->next.has_size || w->global.has_size)
		size = w->next.has_size ? w->next.size : w->global.size;
	if (w->next.has_mtime || w->global.has_mtime)
		mtime = (uint64_t)(w->next.has_mtime ? w->next.mtime : w->global.mtime);
	m->mode = (mode_t)(mode & 0777);
	m->mtime_s = (int64_t)mtime;
	m->size_bytes = m->kind == TAR_FILE ? size : 0;
	if (size > w->limits->member_bytes)
		return err_set(w->e, -ERR_ARCHIVE_LIMIT, "%s is %llu bytes large", m->name,
			       (unsigned long long)size);
	return 0;
}

static int check_totals(struct walk *w, const struct tar_member *m)
{
	w->result.total_bytes += m->size_bytes; /* both at most 16 GiB: no overflow */
	if (w->result.total_bytes > w->limits->total_bytes)
		return err_set(w->e, -ERR_ARCHIVE_LIMIT, "the members are larger than %llu bytes together",
			       (unsigned long long)w->limits->total_bytes);
	if (w->result.members >= w->limits->members)
		return err_set(w->e, -ERR_ARCHIVE_LIMIT, "more than %llu members",
			       (unsigned long long)w->limits->members);
	return 0;
}

/* Show a checked member to the visitor and pass its content. */
static int visit(struct walk *w, const struct tar_member *m)
{
	int answer = w->visitor->member ? w->visitor->member(m, w->arg, w->e) : TAR_SKIP;
	int r;

	if (answer < 0)
		return answer;
	if (answer == TAR_STOP) {
		w->result.stopped = true;
		return 0;
	}
	r = pass_content(w, m->size_bytes, answer == TAR_WANT_DATA && w->visitor->data, m->name);
	if (r < 0 || answer != TAR_WANT_DATA || !w->visitor->end)
		return r;
	return w->visitor->end(m, w->arg, w->e);
}

static int read_member(struct walk *w, const char *h)
{
	_cleanup_free_ char *name = NULL, *link = NULL;
	struct tar_member m = { .index = (unsigned)w->result.members };
	int r;

	r = header_name(w, h, &name);
	if (r < 0)
		return r;
	m.name = name;
	if ((r = member_kind(w, h[TYPE], *name ? name : ".", &m.kind)) < 0 ||
	    (r = member_numbers(w, h, &m)) < 0)
		return r;
	if (name[0] == '\0')
		return m.kind == TAR_DIR ? 0 : bad_name(w, "the empty member name", name);
	if (m.kind == TAR_SYMLINK || m.kind == TAR_HARDLINK) {
		r = member_link(w, h, &m, &link);
		if (r < 0)
			return r;
		m.target = link;
	}
	if ((r = check_parents(w, name)) < 0 || (r = check_not_a_directory(w, &m)) < 0 ||
	    (r = remember(w, &m)) < 0 || (r = check_totals(w, &m)) < 0)
		return r;
	r = visit(w, &m);
	if (r == 0)
		w->result.members++;
	return r;
}

static int read_header(struct walk *w, const char *h)
{
	uint64_t size;
	int r;

	if (!checksum_is_right(h))
		return damaged(w, "a header's checksum is wrong");
	if (memcmp(h + MAGIC, "ustar", 5) != 0)
		return damaged(w, "a header is not of the ustar family");
	if (!strchr("LKxg", h[TYPE]) || h[TYPE] == '\0') {
		r = read_member(w, h);
		pax_done(&w->next);
		return r;
	}
	if (read_number(h + SIZE, 12, &size) < 0)
		return damaged(w, "an extended header's size is not a number");
	if (h[TYPE] == 'L' || h[TYPE] == 'K')
		return read_long(w, size, h[TYPE] == 'L' ? &w->next.path : &w->next.link);
	return read_pax(w, size, h[TYPE] == 'x' ? &w->next : &w->global);
}

static bool is_zero(const char *p, size_t n)
{
	return n == 0 || (p[0] == '\0' && memcmp(p, p + 1, n - 1) == 0);
}

/* After the archive only its own zero padding may follow. */
static int read_tail(struct walk *w, bool tolerate)
{
	for (;;) {
		int r = have_chunk(w);

		if (r <= 0)
			return r;
		if (!is_zero(w->chunk.p, w->chunk.len)) {
			if (!tolerate)
				return err_set(w->e, -ERR_RUNFILE_TRAILING,
					       "data follows the end of the archive");
			w->result.trailing = true;
		}
		w->chunk.len = 0;
	}
}

/* 1 when the walk is over. */
static int walk_step(struct walk *w, bool *zero_seen, bool tolerate)
{
	char h[BLOCK];
	size_t got;
	int r = read_exact(w, h, sizeof(h), &got);

	if (r < 0)
		return r;
	if (got == 0)
		return w->next.path || w->next.link ? cut_short(w, "a long name") : 1;
	if (got < sizeof(h))
		return cut_short(w, "a header");
	if (is_zero(h, sizeof(h))) {
		if (!*zero_seen) {
			*zero_seen = true;
			return 0;
		}
		r = read_tail(w, tolerate);
		return r < 0 ? r : 1;
	}
	if (*zero_seen)
		return damaged(w, "a header follows a lone zero block");
	r = read_header(w, h);
	return r < 0 ? r : w->result.stopped;
}

int tar_walk(tar_source source, void *source_arg, const struct tar_limits *limits, bool tolerate_trailing,
	     const struct tar_visitor *visitor, void *arg, struct tar_result *ret, struct err *e)
{
	static const struct tar_limits standard = TAR_LIMITS_DEFAULT;
	struct walk w = { .source = source,
			  .source_arg = source_arg,
			  .limits = limits ? limits : &standard,
			  .visitor = visitor,
			  .arg = arg,
			  .e = e };
	bool zero_seen = false;
	int r;

	do
		r = walk_step(&w, &zero_seen, tolerate_trailing);
	while (r == 0);
	names_done(&w.names);
	pax_done(&w.next);
	pax_done(&w.global);
	if (r < 0)
		return r;
	if (ret)
		*ret = w.result;
	return 0;
}
