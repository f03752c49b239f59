/* SPDX-License-Identifier: Apache-2.0 */
#include "powercut.h"

#include "faultio.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NODES_MAX 4096
#define NAMES_MAX 4096

struct node {
	ino_t ino;
	mode_t mode;
	struct timespec mtime;
	const char *live, *safe; /* borrowed content, or text of a link */
	size_t live_len, safe_len;
	bool dirty;
};

struct name {
	ino_t dir, ino;
	const char *name;
};

struct names {
	struct name v[NAMES_MAX];
	size_t n;
};

struct powercut {
	char *path;
	ino_t top;
	struct node nodes[NODES_MAX];
	size_t n_nodes;
	struct names names;
	char *owned[NODES_MAX * 2];
	size_t n_owned;
};

static char *keep(struct powercut *p, char *s)
{
	p->owned[p->n_owned++] = s;
	return s;
}

static struct node *node_find(struct node *v, size_t n, ino_t ino)
{
	/* An inode number may be used again: the youngest is meant. */
	while (n-- > 0)
		if (v[n].ino == ino)
			return &v[n];
	return NULL;
}

static void scan(struct powercut *p, const char *path, ino_t dir)
{
	DIR *d = opendir(path);
	struct dirent *de;

	while ((de = readdir(d))) {
		char sub[4096], text[4096];
		struct node n = { 0 };
		struct stat st;

		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		(void)snprintf(sub, sizeof(sub), "%s/%s", path, de->d_name);
		if (lstat(sub, &st) < 0)
			abort();
		n.ino = st.st_ino;
		n.mode = st.st_mode;
		n.mtime = st.st_mtim;
		if (S_ISREG(st.st_mode)) {
			int fd = open(sub, O_RDONLY | O_CLOEXEC);
			char *b = keep(p, calloc(1, (size_t)st.st_size + 1));

			if (read(fd, b, (size_t)st.st_size) != st.st_size)
				abort();
			close(fd);
			n.live = n.safe = b;
			n.live_len = n.safe_len = (size_t)st.st_size;
		} else if (S_ISLNK(st.st_mode)) {
			ssize_t len = readlink(sub, text, sizeof(text));

			n.live = n.safe = keep(p, strndup(text, (size_t)len));
		}
		if (!node_find(p->nodes, p->n_nodes, st.st_ino))
			p->nodes[p->n_nodes++] = n;
		p->names.v[p->names.n++] = (struct name){ dir, st.st_ino, keep(p, strdup(de->d_name)) };
		if (S_ISDIR(st.st_mode))
			scan(p, sub, st.st_ino);
	}
	closedir(d);
}

struct powercut *powercut_begin(const char *path)
{
	struct powercut *p = calloc(1, sizeof(*p));
	struct stat st;

	p->path = strdup(path);
	if (stat(path, &st) < 0)
		abort();
	p->top = st.st_ino;
	p->nodes[p->n_nodes++] = (struct node){ .ino = st.st_ino, .mode = st.st_mode };
	scan(p, path, st.st_ino);
	return p;
}

void powercut_done(struct powercut *p)
{
	for (size_t i = 0; i < p->n_owned; i++)
		free(p->owned[i]);
	free(p->path);
	free(p);
}

/* -- names -- */

static void name_remove(struct names *l, ino_t dir, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].dir == dir && strcmp(l->v[i].name, name) == 0) {
			l->v[i] = l->v[--l->n];
			return;
		}
}

static ino_t name_ino(const struct names *l, ino_t dir, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].dir == dir && strcmp(l->v[i].name, name) == 0)
			return l->v[i].ino;
	return 0;
}

static void name_set(struct names *l, ino_t dir, const char *name, ino_t ino)
{
	name_remove(l, dir, name);
	if (ino)
		l->v[l->n++] = (struct name){ dir, ino, name };
}

static bool is_name_op(const struct rec *r)
{
	return r->type <= REC_EXCHANGE;
}

static void name_apply(struct names *l, const struct rec *r)
{
	ino_t a, b;

	switch (r->type) {
	case REC_CREATE:
	case REC_MKDIR:
	case REC_SYMLINK:
	case REC_LINK:
		name_set(l, r->dir, r->name, r->ino);
		break;
	case REC_UNLINK:
		name_remove(l, r->dir, r->name);
		break;
	case REC_RENAME:
		/* The new name is of this thing, whether or not the old one ever reached the disk. */
		name_remove(l, r->dir, r->name);
		name_set(l, r->dir2, r->name2, r->ino);
		break;
	case REC_EXCHANGE:
		a = name_ino(l, r->dir, r->name);
		b = name_ino(l, r->dir2, r->name2);
		name_set(l, r->dir, r->name, b);
		name_set(l, r->dir2, r->name2, a);
		break;
	default:
		break;
	}
}

/* -- one prefix -- */

struct disk {
	struct node nodes[NODES_MAX];
	size_t n_nodes;
	struct names safe; /* names that survive */
	struct rec *pending[NAMES_MAX];
	size_t n_pending;
};

static void node_add(struct disk *d, const struct rec *r)
{
	struct node n = { .ino = r->ino, .mode = r->mode, .mtime = r->mtime, .live = "", .safe = "" };

	if (r->type == REC_LINK)
		return;
	if (r->type == REC_SYMLINK)
		n.live = n.safe = r->bytes;
	d->nodes[d->n_nodes++] = n;
}

/* A rename on disk makes the creation of its old name history. */
static bool is_superseded(const struct disk *d, size_t i, const struct rec *created)
{
	if (created->type > REC_LINK)
		return false;
	for (i++; i < d->n_pending; i++) {
		const struct rec *r = d->pending[i];

		if (r->type == REC_RENAME && r->dir == created->dir && strcmp(r->name, created->name) == 0)
			return r->flushing;
	}
	return false;
}

static void flush(struct disk *d, ino_t dir, bool all)
{
	size_t left = 0;

	for (size_t i = 0; i < d->n_pending; i++)
		d->pending[i]->flushing = all || d->pending[i]->dir == dir || d->pending[i]->dir2 == dir;
	for (size_t i = 0; i < d->n_pending; i++) {
		struct rec *r = d->pending[i];

		if (r->flushing)
			name_apply(&d->safe, r);
		else if (!is_superseded(d, i, r))
			d->pending[left++] = r;
	}
	d->n_pending = left;
}

static void make_safe(struct node *n)
{
	n->safe = n->live;
	n->safe_len = n->live_len;
	n->dirty = false;
}

static void disk_step(struct disk *d, struct rec *r)
{
	struct node *n;

	if (is_name_op(r)) {
		if (r->type <= REC_LINK)
			node_add(d, r);
		d->pending[d->n_pending++] = r;
		return;
	}
	if (r->type == REC_SYNCFS) {
		flush(d, 0, true);
		for (size_t i = 0; i < d->n_nodes; i++)
			make_safe(&d->nodes[i]);
		return;
	}
	n = node_find(d->nodes, d->n_nodes, r->ino);
	if (!n)
		return;
	if (r->type == REC_SYNC) {
		if (S_ISDIR(n->mode))
			flush(d, r->ino, false);
		make_safe(n);
		return;
	}
	/* Modes and times are taken to reach the disk at once. */
	n->mode = r->mode;
	n->mtime = r->mtime;
	if (r->type == REC_WRITE) {
		n->live = r->bytes;
		n->live_len = r->len;
		n->dirty = true;
	}
}

/* -- a disk in the real world -- */

enum bytes { BYTES_ALL, BYTES_SAFE, BYTES_HALF };

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	return ftw->level ? remove(path) : 0;
}

static void put_file(const char *path, const struct node *n, enum bytes how)
{
	const struct timespec t[] = { { .tv_nsec = UTIME_OMIT }, n->mtime };
	bool live = how != BYTES_SAFE;
	size_t len = live ? n->live_len : n->safe_len;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (how == BYTES_HALF && n->dirty)
		len = n->safe_len + (n->live_len > n->safe_len ? (n->live_len - n->safe_len) / 2 : 0);
	if (len > n->live_len && live)
		len = n->live_len;
	if (fd < 0 || write(fd, live ? n->live : n->safe, len) != (ssize_t)len ||
	    fchmod(fd, n->mode & 07777) < 0 || futimens(fd, t) < 0)
		abort();
	close(fd);
}

static void put_dir(const struct disk *d, const struct names *names, ino_t dir, const char *path,
		    enum bytes how, char *seen[NODES_MAX])
{
	for (size_t i = 0; i < names->n; i++) {
		const struct node *n;
		char sub[4096];

		if (names->v[i].dir != dir)
			continue;
		n = node_find((struct node *)d->nodes, d->n_nodes, names->v[i].ino);
		if (!n)
			continue;
		(void)snprintf(sub, sizeof(sub), "%s/%s", path, names->v[i].name);
		if (S_ISDIR(n->mode)) {
			if (mkdir(sub, 0700) < 0 || chmod(sub, n->mode & 07777) < 0)
				abort();
			put_dir(d, names, n->ino, sub, how, seen);
		} else if (S_ISLNK(n->mode)) {
			if (symlink(n->live, sub) < 0)
				abort();
		} else if (seen[n - d->nodes]) {
			if (link(seen[n - d->nodes], sub) < 0)
				abort();
		} else {
			put_file(sub, n, how);
			seen[n - d->nodes] = strdup(sub);
		}
	}
}

static void build(const struct powercut *p, const struct disk *d, const struct names *names, enum bytes how)
{
	static char *seen[NODES_MAX];

	(void)nftw(p->path, remove_one, 32, FTW_DEPTH | FTW_PHYS);
	put_dir(d, names, p->top, p->path, how, seen);
	for (size_t i = 0; i < NODES_MAX; i++) {
		free(seen[i]);
		seen[i] = NULL;
	}
}

static bool is_dirty(const struct disk *d)
{
	for (size_t i = 0; i < d->n_nodes; i++)
		if (d->nodes[i].dirty)
			return true;
	return false;
}

enum pick { PICK_NONE, PICK_ALL, PICK_ONLY, PICK_BUT };

static size_t visit(struct powercut *p, const struct disk *d, enum pick pick, size_t which, size_t at,
		    size_t total, powercut_fn fn, void *arg, bool *ret_stop)
{
	static struct names names;
	enum bytes kinds = is_dirty(d) ? BYTES_HALF : BYTES_ALL;
	size_t n = 0;

	for (enum bytes how = BYTES_ALL; !*ret_stop && how <= kinds; how++) {
		names = d->safe;
		for (size_t i = 0; i < d->n_pending; i++)
			if (pick == PICK_ALL || (pick == PICK_ONLY && i == which) ||
			    (pick == PICK_BUT && i != which))
				name_apply(&names, d->pending[i]);
		build(p, d, &names, how);
		*ret_stop = !fn(at, total, arg);
		n++;
	}
	return n;
}

size_t powercut_replay(struct powercut *p, size_t stride, powercut_fn fn, void *arg)
{
	struct disk *d = malloc(sizeof(*d));
	size_t total, disks = 0;
	struct rec *recs = fault_recorded(&total);
	bool stop = false;

	d->n_nodes = p->n_nodes;
	memcpy(d->nodes, p->nodes, sizeof(p->nodes));
	d->safe = p->names;
	d->n_pending = 0;
	for (size_t at = 0; at <= total && !stop; at++) {
		if (at > 0)
			disk_step(d, &recs[at - 1]);
		if (at % stride && at != total)
			continue;
		disks += visit(p, d, PICK_NONE, 0, at, total, fn, arg, &stop);
		if (d->n_pending && !stop)
			disks += visit(p, d, PICK_ALL, 0, at, total, fn, arg, &stop);
		for (size_t i = 0; d->n_pending > 1 && i < d->n_pending && !stop; i++) {
			disks += visit(p, d, PICK_ONLY, i, at, total, fn, arg, &stop);
			if (!stop && d->n_pending > 2)
				disks += visit(p, d, PICK_BUT, i, at, total, fn, arg, &stop);
		}
	}
	free(d);
	return disks;
}
