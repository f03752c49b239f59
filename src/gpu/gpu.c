/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu.h"
#include "datadir.h"
#include "libsqlite.h"
#include "parse.h"
#include "publish.h"
#include "strbuf.h"

#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct gpu_db {
	sqlite3 *db; /* owned */
	sqlite3_stmt *find; /* owned */
	bool has_more; /* our own file, with gpu_more */
};

enum { COL_DEVICE, COL_NAME, COL_VGPU, COL_BRANCHES, COL_CHIP, COL_ARCHITECTURE };

void gpu_info_done(struct gpu_info *i)
{
	free(i->name);
	free(i->chip);
	free(i->architecture);
	free(i->vgpu);
	free(i->branches);
	*i = (struct gpu_info){ 0 };
}

void gpu_list_done(struct gpu_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		gpu_info_done(&l->v[i].info);
		free(l->v[i].pci.driver);
	}
	free(l->v);
	*l = (struct gpu_list){ 0 };
}

void gpu_db_freep(struct gpu_db **db)
{
	if (!*db)
		return;
	(void)sqlite3_finalize((*db)->find);
	(void)sqlite3_close((*db)->db);
	freep(db);
}

static int db_error(struct gpu_db *db, struct err *e)
{
	return err_set(e, -ERR_GPU_TABLE, "reading the GPU table: %s", sqlite3_errmsg(db->db));
}

static char *select_text(const struct gpu_db *db, const char *tail)
{
	return str_printf(
	    "SELECT i.deviceid, i.description, i.vgpu, i.driver, i.chip, %s FROM gpu_info i%s %s",
	    db->has_more ? "m.architecture" : "NULL",
	    db->has_more ? " LEFT JOIN gpu_more m ON m.deviceid = i.deviceid" : "", tail);
}

static int prepare(struct gpu_db *db, const char *tail, sqlite3_stmt **ret, struct err *e)
{
	_cleanup_free_ char *text = select_text(db, tail);

	if (!text)
		return err_oom(e);
	return sqlite3_prepare_v2(db->db, text, -1, ret, NULL) == SQLITE_OK ? 0 : db_error(db, e);
}

int gpu_db_open(const char *path, struct gpu_db **ret, struct err *e)
{
	_cleanup_(gpu_db_freep) struct gpu_db *db = calloc(1, sizeof(*db));
	_cleanup_free_ char *file = path ? strdup(path) : datadir_path("gpu_info.db");
	int r;

	if (!db || !file)
		return err_oom(e);
	r = libsqlite_require(e);
	if (r < 0)
		return r;
	if (sqlite3_open_v2(file, &db->db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK) {
		(void)err_set(e, -ERR_GPU_TABLE, "cannot open %s: %s", file,
			      db->db ? sqlite3_errmsg(db->db) : "out of memory");
		return err_object(e, "%s", file);
	}
	db->has_more = sqlite3_table_column_metadata(db->db, NULL, "gpu_more", "architecture", NULL, NULL,
						     NULL, NULL, NULL) == SQLITE_OK;
	r = prepare(db, "WHERE lower(i.deviceid) = ?", &db->find, e);
	if (r < 0) {
		(void)err_wrap(e, "%s", file);
		return err_object(e, "%s", file);
	}
	*ret = TAKE_PTR(db);
	return 0;
}

/* A column as text without control characters: the file may be somebody else's. */
static int take_text(sqlite3_stmt *q, int column, char **ret)
{
	const unsigned char *text = sqlite3_column_text(q, column);
	char *copy;

	if (!text)
		return 0;
	copy = strdup((const char *)text);
	if (!copy)
		return -ENOMEM;
	for (char *p = copy; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	*ret = copy;
	return 0;
}

static int take_row(sqlite3_stmt *q, struct gpu_info *ret)
{
	_cleanup_(gpu_info_done) struct gpu_info i = { 0 };
	const struct {
		int column;
		char **field;
	} fields[] = { { COL_NAME, &i.name },
		       { COL_VGPU, &i.vgpu },
		       { COL_BRANCHES, &i.branches },
		       { COL_CHIP, &i.chip },
		       { COL_ARCHITECTURE, &i.architecture } };
	const char *id = (const char *)sqlite3_column_text(q, COL_DEVICE);
	uint64_t device;

	if (!id || parse_hex64(SPAN(id), UINT16_MAX, &device) < 0)
		return -EINVAL;
	i.device = (uint16_t)device;
	for (size_t k = 0; k < ARRAY_LEN(fields); k++)
		if (take_text(q, fields[k].column, fields[k].field) < 0)
			return -ENOMEM;
	*ret = i;
	i = (struct gpu_info){ 0 };
	return 0;
}

static int row_error(int r, struct err *e)
{
	return r == -ENOMEM ? err_oom(e)
			    : err_set(e, -ERR_GPU_TABLE, "a row of the GPU table has no device id");
}

int gpu_db_find(struct gpu_db *db, uint16_t device, struct gpu_info *ret, struct err *e)
{
	char id[8];
	int r;

	if (!db)
		return -ENOENT;
	(void)snprintf(id, sizeof(id), "%04x", device);
	(void)sqlite3_bind_text(db->find, 1, id, -1, SQLITE_STATIC);
	r = sqlite3_step(db->find);
	if (r == SQLITE_ROW) {
		r = take_row(db->find, ret);
		r = r < 0 ? row_error(r, e) : 0;
	} else {
		r = r == SQLITE_DONE ? -ENOENT : db_error(db, e);
	}
	(void)sqlite3_reset(db->find);
	return r;
}

int gpu_db_each(struct gpu_db *db, gpu_fn fn, void *arg, struct err *e)
{
	sqlite3_stmt *q = NULL;
	int r = prepare(db, "ORDER BY lower(i.deviceid)", &q, e), step = SQLITE_ROW;

	while (r == 0 && (step = sqlite3_step(q)) == SQLITE_ROW) {
		_cleanup_(gpu_info_done) struct gpu_info info = { 0 };

		r = take_row(q, &info);
		r = r < 0 ? row_error(r, e) : fn(&info, arg, e);
	}
	if (r == 0 && step != SQLITE_DONE)
		r = db_error(db, e);
	(void)sqlite3_finalize(q);
	return r < 0 ? r : 0;
}

/* -- writing -- */

static const char *const published[] = {
	"PRAGMA journal_mode=OFF",
	"PRAGMA synchronous=OFF",
	"BEGIN",
	"CREATE TABLE gpu_info (vendorid TEXT NOT NULL, deviceid TEXT PRIMARY KEY, description TEXT, vgpu "
	"TEXT,"
	" driver TEXT, chip TEXT)",
};

static int execute(struct gpu_db *db, const char *text, struct err *e)
{
	sqlite3_stmt *q = NULL;
	int r = sqlite3_prepare_v2(db->db, text, -1, &q, NULL);

	if (r == SQLITE_OK)
		r = sqlite3_step(q);
	(void)sqlite3_finalize(q);
	return r == SQLITE_ROW || r == SQLITE_DONE ? 0 : db_error(db, e);
}

struct writing {
	struct gpu_db *to;
	sqlite3_stmt *insert; /* owned */
};

static int write_row(const struct gpu_info *i, void *arg, struct err *e)
{
	struct writing *w = arg;
	char id[8];
	const char *const values[] = { id, i->name, i->vgpu, i->branches, i->chip };

	(void)snprintf(id, sizeof(id), "%04x", i->device);
	for (size_t k = 0; k < ARRAY_LEN(values); k++)
		(void)sqlite3_bind_text(w->insert, (int)k + 1, values[k] ? values[k] : "", -1, SQLITE_STATIC);
	if (sqlite3_step(w->insert) != SQLITE_DONE)
		return db_error(w->to, e);
	(void)sqlite3_reset(w->insert);
	return 0;
}

static int write_rows(struct gpu_db *db, struct gpu_db *to, struct err *e)
{
	struct writing w = { .to = to };
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(published); i++)
		r = execute(to, published[i], e);
	if (r == 0 && sqlite3_prepare_v2(to->db, "INSERT INTO gpu_info VALUES ('10de', ?, ?, ?, ?, ?)", -1,
					 &w.insert, NULL) != SQLITE_OK)
		r = db_error(to, e);
	if (r == 0)
		r = gpu_db_each(db, write_row, &w, e);
	(void)sqlite3_finalize(w.insert);
	return r < 0 ? r : execute(to, "COMMIT", e);
}

static int write_file(struct gpu_db *db, const char *path, struct err *e)
{
	_cleanup_(gpu_db_freep) struct gpu_db *to = calloc(1, sizeof(*to));

	if (!to)
		return err_oom(e);
	if (sqlite3_open_v2(path, &to->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK)
		return to->db ? db_error(to, e) : err_oom(e);
	return write_rows(db, to, e);
}

/* SQLite opens by name and makes its own file, so the temporary one lies beside the destination under a random name. */
int gpu_db_write(struct gpu_db *db, const char *path, struct err *e)
{
	_cleanup_free_ char *dir = strdup(path), *tmp_path = NULL;
	char *slash = dir ? strrchr(dir, '/') : NULL, tmp[64];
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	_cleanup_close_ int fd = -EBADF, file = -EBADF;
	int r;

	if (!dir || tmpname_random(tmp, sizeof(tmp)) < 0)
		return err_oom(e);
	if (slash)
		slash[slash == dir] = '\0';
	tmp_path = str_printf("%s/%s", slash ? dir : ".", tmp);
	if (!tmp_path)
		return err_oom(e);
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, -errno, "cannot write %s", path);
	r = write_file(db, tmp_path, e);
	if (r >= 0) {
		file = openat(fd, tmp, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
		r = file < 0 || fchmod(file, 0644) < 0 || fsync(file) < 0
			? -errno
			: publish_rename(fd, tmp, fd, name, true);
		r = r < 0 ? err_errno(e, r, "cannot write %s", path) : 0;
	}
	if (r < 0)
		(void)unlinkat(fd, tmp, 0);
	return r;
}

static bool is_gpu(const struct pci_device *d)
{
	return d->vendor == PCI_VENDOR_NVIDIA &&
	       (d->class_code == PCI_CLASS_VGA || d->class_code == PCI_CLASS_3D);
}

int gpu_list_read(const struct host *h, struct gpu_db *db, struct gpu_list *ret, struct err *e)
{
	_cleanup_(pci_list_done) struct pci_list pci = { 0 };
	_cleanup_(gpu_list_done) struct gpu_list l = { 0 };
	int r = pci_list_read(h, &pci, e);

	if (r < 0)
		return r;
	l.v = calloc(pci.n + 1, sizeof(*l.v));
	if (!l.v)
		return err_oom(e);
	for (size_t i = 0; i < pci.n; i++) {
		struct gpu *g = &l.v[l.n];

		if (!is_gpu(&pci.v[i]))
			continue;
		g->pci = pci.v[i];
		pci.v[i].driver = NULL;
		l.n++;
		r = gpu_db_find(db, g->pci.device, &g->info, e);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	*ret = l;
	l = (struct gpu_list){ 0 };
	return 0;
}

int gpu_parse_device(const char *text, uint16_t *ret)
{
	struct span s = SPAN(text);
	uint64_t v;

	if (span_starts(s, "10de:"))
		s = (struct span){ text + 5, s.len - 5 };
	if (parse_hex64(s, UINT16_MAX, &v) < 0)
		return -EINVAL;
	*ret = (uint16_t)v;
	return 0;
}
