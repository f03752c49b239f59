/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu.h"
#include "datadir.h"
#include "libsqlite.h"
#include "parse.h"
#include "strbuf.h"

#include <limits.h>
#include <sqlite3.h>
#include <string.h>

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
