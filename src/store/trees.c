/* SPDX-License-Identifier: Apache-2.0 */
#include "store-internal.h"

#include "digest.h"
#include "fd.h"
#include "log.h"
#include "parallel.h"
#include "parse.h"
#include "path.h"
#include "tree.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TREE_FILES_MAX 1000000
#define PROBLEMS_MAX   100

struct item {
	char *path; /* owned */
	char *target; /* owned; link text */
	struct stat st;
	char sha256[SHA256_HEX_SIZE];
};

struct items {
	struct item *v;
	size_t n, cap;
};

static void items_done(struct items *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].path);
		free(l->v[i].target);
	}
	free(l->v);
}

static int items_grow(struct items *l)
{
	size_t cap = l->cap ? l->cap * 2 : 256;
	struct item *v;

	if (l->n < l->cap)
		return 0;
	if (l->n >= TREE_FILES_MAX)
		return -E2BIG;
	v = reallocarray(l->v, cap, sizeof(*v));
	if (!v)
		return -ENOMEM;
	l->v = v;
	l->cap = cap;
	return 0;
}

static int link_text(const struct tree_entry *entry, char **ret)
{
	char text[4096];
	ssize_t n = readlinkat(entry->dirfd, entry->name, text, sizeof(text));

	if (n < 0)
		return -errno;
	if ((size_t)n == sizeof(text))
		return -ENAMETOOLONG;
	/* One line per file: a control character in a link would make two. */
	for (ssize_t i = 0; i < n; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return -EINVAL;
	*ret = strndup(text, (size_t)n);
	return *ret ? 0 : -ENOMEM;
}

static int item_add(const struct tree_entry *entry, void *arg)
{
	struct items *l = arg;
	struct item *it;
	int r;

	if (!S_ISREG(entry->st.st_mode) && !S_ISDIR(entry->st.st_mode) && !S_ISLNK(entry->st.st_mode))
		return -EMEDIUMTYPE;
	if (!path_name_is_clean(entry->path))
		return -EINVAL;
	r = items_grow(l);
	if (r < 0)
		return r;
	it = &l->v[l->n];
	*it = (struct item){ .st = entry->st, .path = strdup(entry->path) };
	if (!it->path)
		return -ENOMEM;
	l->n++;
	return S_ISLNK(entry->st.st_mode) ? link_text(entry, &it->target) : 0;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct item *)a)->path, ((const struct item *)b)->path);
}

struct hash_job {
	int root_fd;
	struct items *items;
};

static int item_hash(size_t i, void *arg)
{
	const struct hash_job *job = arg;
	struct item *it = &job->items->v[i];
	_cleanup_close_ int fd = -EBADF;

	if (!S_ISREG(it->st.st_mode))
		return 0;
	fd = path_open_at(job->root_fd, it->path, O_RDONLY, 0, PATH_NO_SYMLINKS);
	return fd < 0 ? fd : sha256_fd_hex(fd, it->sha256);
}

/* Digests of all regular files. */
static int items_hash(int root_fd, struct items *l)
{
	struct hash_job job = { .root_fd = root_fd, .items = l };

	return parallel_for(l->n, item_hash, &job);
}

static int items_read(int root_fd, struct items *l, struct err *e)
{
	int r;

	r = tree_walk(root_fd, TREE_AS_READ, item_add, l);
	if (r == -EMEDIUMTYPE)
		return err_set(e, ERR_FORMAT, "a driver tree holds files, directories and links only");
	if (r == -EINVAL)
		return err_set(e, ERR_FORMAT, "a name or link of the tree holds control characters");
	if (r < 0)
		return err_errno(e, r, "cannot read the tree");
	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), by_path);
	return 0;
}

static mode_t item_mode(const struct item *it)
{
	if (S_ISLNK(it->st.st_mode))
		return 0777;
	if (S_ISDIR(it->st.st_mode))
		return 0755;
	return it->st.st_mode & 0111 ? 0555 : 0444;
}

static char item_type(const struct item *it)
{
	return S_ISLNK(it->st.st_mode) ? 'l' : S_ISDIR(it->st.st_mode) ? 'd' : 'f';
}

static int item_line(const struct item *it, struct strbuf *line)
{
	bool is_file = S_ISREG(it->st.st_mode);
	uint64_t size = is_file ? (uint64_t)it->st.st_size : it->target ? strlen(it->target) : 0;

	strbuf_reset(line);
	return strbuf_printf(line, "%c %o %llu %s %s\n", item_type(it), item_mode(it),
			     (unsigned long long)size,
			     is_file	  ? it->sha256
			     : it->target ? it->target
					  : "-",
			     it->path);
}

static int items_id(const struct items *l, char ret_id[65])
{
	_cleanup_(strbuf_done) struct strbuf line = STRBUF_INIT(16384);
	_cleanup_(digest_freep) struct digest *d = NULL;
	uint8_t raw[SHA256_SIZE];
	size_t len;
	int r;

	r = digest_new("sha256", &d);
	for (size_t i = 0; r >= 0 && i < l->n; i++) {
		r = item_line(&l->v[i], &line);
		if (r >= 0)
			r = digest_update(d, line.buf, line.len);
	}
	if (r >= 0)
		r = digest_final(d, raw, sizeof(raw), &len);
	if (r >= 0)
		hex_encode(raw, sizeof(raw), ret_id);
	return r < 0 ? r : 0;
}

static json_int_t time_ns(const struct timespec *t)
{
	return (json_int_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

static json_t *item_json(const struct item *it)
{
	if (S_ISDIR(it->st.st_mode))
		return json_pack("{s:s, s:s, s:i}", "path", it->path, "type", "dir", "mode",
				 (int)item_mode(it));
	if (S_ISLNK(it->st.st_mode))
		return json_pack("{s:s, s:s, s:s}", "path", it->path, "type", "link", "target", it->target);
	return json_pack("{s:s, s:s, s:i, s:I, s:s, s:I, s:I, s:I}", "path", it->path, "type", "file", "mode",
			 (int)item_mode(it), "size", (json_int_t)it->st.st_size, "sha256", it->sha256,
			 "inode", (json_int_t)it->st.st_ino, "mtime_ns", time_ns(&it->st.st_mtim), "ctime_ns",
			 time_ns(&it->st.st_ctim));
}

static int items_json(const struct items *l, json_t **ret)
{
	json_auto_t *files = json_array();

	for (size_t i = 0; i < l->n; i++)
		if (json_array_append_new(files, item_json(&l->v[i])) < 0)
			return -ENOMEM;
	if (!files)
		return -ENOMEM;
	*ret = json_incref(files);
	return 0;
}

int store_tree_digest(int root_fd, char ret_id[65], json_t **ret_files, struct err *e)
{
	_cleanup_(items_done) struct items l = { 0 };
	int r;

	r = items_read(root_fd, &l, e);
	if (r < 0)
		return r;
	r = items_hash(root_fd, &l);
	if (r >= 0)
		r = items_id(&l, ret_id);
	if (r >= 0 && ret_files)
		r = items_json(&l, ret_files);
	return r < 0 ? err_errno(e, r, "cannot compute the identity of the tree") : 0;
}

static int make_read_only(const struct tree_entry *entry, void *arg _unused_)
{
	struct item it = { .st = entry->st };

	if (S_ISLNK(entry->st.st_mode) || (entry->st.st_mode & 07777) == item_mode(&it))
		return 0;
	return fchmodat(entry->dirfd, entry->name, item_mode(&it), 0) < 0 ? -errno : 0;
}

static int record_fill(json_t *record, const char *id, json_t *files)
{
	json_int_t size = 0;
	json_t *file;
	size_t i;

	json_array_foreach (files, i, file)
		size += json_integer_value(json_object_get(file, "size"));
	if (!record || json_object_set_new(record, "id", json_string(id)) < 0 ||
	    json_object_set_new(record, "size_bytes", json_integer(size)) < 0 ||
	    json_object_set(record, "files", files) < 0)
		return -ENOMEM;
	return 0;
}

int store_tree_add(struct store_stage *st, json_t *meta, char ret_id[65], struct err *e)
{
	_cleanup_close_ int root = dir_open_at(st->dir_fd, "root");
	json_auto_t *record = meta ? json_copy(meta) : json_object();
	json_auto_t *files = NULL;
	char id[65];
	int r;

	if (root < 0)
		return err_errno(e, root, "the staged tree has no payload");
	if (fchmod(root, 0755) < 0)
		return err_errno(e, -errno, "cannot set the mode of the payload");
	r = tree_walk(root, TREE_AS_READ, make_read_only, NULL);
	if (r < 0)
		return err_errno(e, r, "cannot make the tree read-only");
	r = store_tree_digest(root, id, &files, e);
	if (r < 0)
		return r;
	if (record_fill(record, id, files) < 0)
		return err_oom(e);
	r = store_record_write(st->dir_fd, "record.json", record, 0644, e);
	if (r < 0)
		return r;
	r = store_publish(st, STORE_TREE, id, e);
	if (r >= 0)
		memcpy(ret_id, id, sizeof(id));
	return r;
}

int store_tree_open(struct store *s, const char *id, int *ret_root_fd, json_t **ret_record, struct err *e)
{
	_cleanup_close_ int tree = store_object_open(s, STORE_TREE, id), root = -EBADF;
	int r = 0;

	if (tree == -ENOENT)
		return err_set(e, ERR_STORE_MISSING, "there is no tree %s in %s", id, s->path);
	root = tree < 0 ? tree : dir_open_at(tree, "root");
	if (root < 0)
		return err_errno(e, root, "cannot open the tree %s in %s", id, s->path);
	if (ret_record)
		r = store_record_read(tree, "record.json", ret_record, e);
	if (r == -ENOENT)
		return err_set(e, ERR_STORE_DAMAGED, "the tree %s has no record", id);
	if (r < 0)
		return err_wrap(e, "tree %s", id);
	if (ret_root_fd)
		*ret_root_fd = TAKE_FD(root);
	return 0;
}

struct verify {
	int root_fd;
	enum store_verify how;
	const char *below; /* only what is in this directory; NULL = everything */
	json_t *problems; /* borrowed, may be NULL */
	bool moved; /* a file was read because it is not the one on disk the record saw, and is whole */
	char *first; /* owned */
	size_t n;
};

static void problem(struct verify *v, const char *path, const char *what)
{
	_cleanup_free_ char *text = str_printf("%s: %s", path, what);

	if (v->problems && text && v->n < PROBLEMS_MAX)
		(void)json_array_append_new(v->problems, json_string(text));
	if (v->n++ == 0)
		v->first = TAKE_PTR(text);
}

static bool same_inode(const struct item *it, const json_t *rec)
{
	return (json_int_t)it->st.st_ino == json_integer_value(json_object_get(rec, "inode")) &&
	       time_ns(&it->st.st_mtim) == json_integer_value(json_object_get(rec, "mtime_ns")) &&
	       time_ns(&it->st.st_ctim) == json_integer_value(json_object_get(rec, "ctime_ns"));
}

static const char *type_word(const struct item *it)
{
	return S_ISREG(it->st.st_mode) ? "file" : S_ISDIR(it->st.st_mode) ? "dir" : "link";
}

static const char *json_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* What is wrong with one entry, or NULL. *ret_read is set when only its content can tell. */
static const char *item_compare(const struct verify *v, const struct item *it, const json_t *rec,
				bool *ret_read)
{
	*ret_read = false;
	if (strcmp(json_text(rec, "type"), type_word(it)) != 0)
		return "is of another kind";
	if (S_ISLNK(it->st.st_mode))
		return strcmp(it->target, json_text(rec, "target")) == 0 ? NULL : "points elsewhere";
	if ((it->st.st_mode & 07777) != (mode_t)json_integer_value(json_object_get(rec, "mode")))
		return "has another mode";
	if (S_ISDIR(it->st.st_mode))
		return NULL;
	if (it->st.st_size != json_integer_value(json_object_get(rec, "size")))
		return "has another size";
	*ret_read = v->how == STORE_VERIFY_FULL || !same_inode(it, rec);
	return NULL;
}

static bool is_asked(const struct verify *v, const char *path)
{
	size_t len = v->below ? strlen(v->below) : 0;

	return !len || (strncmp(path, v->below, len) == 0 && path[len] == '/');
}

/* Merge of two lists sorted by path. Entries that need no reading lose their regular type, so that the hashing
 * that follows passes them by. */
static void verify_names(struct verify *v, struct items *l, const json_t *files, json_t **recs)
{
	size_t n_rec = json_array_size(files), i = 0, k = 0;

	while (i < l->n || k < n_rec) {
		json_t *rec = json_array_get(files, k);
		int order = i >= l->n ? 1 : k >= n_rec ? -1 : strcmp(l->v[i].path, json_text(rec, "path"));
		bool read = false;
		const char *what;

		if (order > 0) {
			if (is_asked(v, json_text(rec, "path")))
				problem(v, json_text(rec, "path"), "is missing");
			k++;
			continue;
		}
		recs[i] = rec;
		what = !is_asked(v, l->v[i].path) ? NULL
		       : order < 0		  ? "does not belong here"
						  : item_compare(v, &l->v[i], rec, &read);
		if (what)
			problem(v, l->v[i].path, what);
		if (what || !read)
			l->v[i].st.st_mode = 0;
		k += order == 0;
		i++;
	}
}

/* What the record says of where a file is on disk. The file was looked at before it was read: one changed meanwhile
 * will differ again. */
static int note_inode(json_t *rec, const struct item *it)
{
	if (json_object_set_new(rec, "inode", json_integer((json_int_t)it->st.st_ino)) < 0 ||
	    json_object_set_new(rec, "mtime_ns", json_integer(time_ns(&it->st.st_mtim))) < 0 ||
	    json_object_set_new(rec, "ctime_ns", json_integer(time_ns(&it->st.st_ctim))) < 0)
		return -ENOMEM;
	return 0;
}

/* What was read: wrong, or whole and merely elsewhere. */
static int judge_read(struct verify *v, const struct item *it, json_t *rec)
{
	if (strcmp(it->sha256, json_text(rec, "sha256")) != 0) {
		problem(v, it->path, "has other content");
		return 0;
	}
	if (same_inode(it, rec))
		return 0;
	v->moved = true;
	return note_inode(rec, it);
}

/* `files` afterwards knows the files as they are on disk now. */
static int verify_items(struct verify *v, json_t *files, struct err *e)
{
	_cleanup_(items_done) struct items l = { 0 };
	_cleanup_free_ json_t **recs = NULL;
	int r;

	r = items_read(v->root_fd, &l, e);
	if (r < 0)
		return r;
	recs = calloc(l.n + 1, sizeof(json_t *));
	if (!recs)
		return err_oom(e);
	verify_names(v, &l, files, recs);
	r = items_hash(v->root_fd, &l);
	if (r < 0)
		return err_errno(e, r, "cannot read the tree");
	for (size_t i = 0; r == 0 && i < l.n; i++)
		if (S_ISREG(l.v[i].st.st_mode))
			r = judge_read(v, &l.v[i], recs[i]);
	return r < 0 ? err_oom(e) : 0;
}

/* Does the record itself belong to this id? */
static int record_id(const json_t *files, char ret_id[65])
{
	_cleanup_(items_done) struct items l = { 0 };
	json_t *rec;
	size_t i;
	int r;

	json_array_foreach (files, i, rec) {
		bool is_dir = strcmp(json_text(rec, "type"), "dir") == 0,
		     is_link = json_object_get(rec, "target");
		struct item *it;

		r = items_grow(&l);
		if (r < 0)
			return r;
		it = &l.v[l.n++];
		*it = (struct item){ .path = strdup(json_text(rec, "path")) };
		it->st.st_mode = is_dir ? S_IFDIR : is_link ? S_IFLNK : S_IFREG;
		it->st.st_mode |= (mode_t)json_integer_value(json_object_get(rec, "mode")) & 07777;
		it->st.st_size = json_integer_value(json_object_get(rec, "size"));
		it->target = is_link ? strdup(json_text(rec, "target")) : NULL;
		if (!it->path || (is_link && !it->target))
			return -ENOMEM;
		(void)snprintf(it->sha256, sizeof(it->sha256), "%s", json_text(rec, "sha256"));
	}
	return items_id(&l, ret_id);
}

/* A store that was copied or restored holds the same bytes in other inodes. Once they are known to be whole the record says
 * so, or every later run would read them again. Only worth a try: who cannot write, or finds the object locked, reads. */
static void refresh_record(struct store *s, const char *id, json_t *record)
{
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	_cleanup_close_ int tree = -EBADF;

	if (s->read_only || store_lock(s, STORE_TREE, id, 0, &lock, NULL) < 0)
		return;
	tree = store_object_open(s, STORE_TREE, id);
	if (tree >= 0 && store_record_put(s, tree, "record.json", record, 0644, NULL) < 0)
		log_debug("tree %.12s: its record could not be refreshed", id);
}

static int verify_tree(struct store *s, const char *id, struct verify *v, struct err *e)
{
	_cleanup_close_ int root = -EBADF;
	json_auto_t *record = NULL;
	_cleanup_free_ char *first = NULL;
	json_t *files;
	char found[65];
	int r;

	r = store_tree_open(s, id, &root, &record, e);
	if (r < 0)
		return r;
	files = json_object_get(record, "files");
	r = record_id(files, found);
	if (r < 0)
		return err_errno(e, r, "cannot check the record of tree %s", id);
	v->root_fd = root;
	if (strcmp(found, id) != 0)
		problem(v, "record.json", "does not describe this tree");
	r = verify_items(v, files, e);
	first = v->first;
	if (r < 0)
		return err_wrap(e, "tree %s", id);
	if (v->n == 0 && v->moved)
		refresh_record(s, id, record);
	if (v->n == 0)
		return 0;
	(void)err_set(e, ERR_STORE_DAMAGED, "tree %s: %s%s", id, first ? first : "damaged",
		      v->n > 1 ? " (and more)" : "");
	return err_object(e, "trees/%s", id);
}

int store_tree_verify(struct store *s, const char *id, enum store_verify how, json_t *problems, struct err *e)
{
	struct verify v = { .how = how, .problems = problems };

	return verify_tree(s, id, &v, e);
}

int store_tree_verify_below(struct store *s, const char *id, const char *dir, struct err *e)
{
	struct verify v = { .how = STORE_VERIFY_QUICK, .below = dir };

	return verify_tree(s, id, &v, e);
}
