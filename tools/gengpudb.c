/* SPDX-License-Identifier: Apache-2.0
 *
 * gengpudb OUT.db GPUS.csv HOST.csv GUEST.csv PATCHES.csv RELEASES.csv: the GPU table as the SQLite file other programs
 * know (table gpu_info), with what that form has no column for in a second table, gpu_more, and the tables of vGPU
 * releases. Fails when a rule of the tables is broken. Run by the build. */
#include "fd.h"
#include "parse.h"
#include "strbuf.h"
#include "vgputables.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>

/* The columns of gpus.csv, in this order. */
enum column { VENDOR, DEVICE, NAME, CHIP, ARCHITECTURE, SUPPORT, BRANCHES, BASIS, COLUMNS };

static const char header[] = "vendor,device,name,chip,architecture,vgpu_support,driver_branches,basis";

static const char schema[] =
    "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; BEGIN;"
    "CREATE TABLE gpu_info (vendorid TEXT NOT NULL, deviceid TEXT PRIMARY KEY, description TEXT,"
    " vgpu TEXT, driver TEXT, chip TEXT);"
    "CREATE TABLE gpu_more (deviceid TEXT PRIMARY KEY, architecture TEXT, basis TEXT);";

static const struct {
	const char *csv, *database;
} supports[] = { { "native", "Native" }, { "unlock", "Yes" }, { "none", "No" } };

/* Exactly COLUMNS values; none may contain a comma or a quote. */
static int split(struct span line, struct span *fields)
{
	for (int i = 0; i < COLUMNS; i++) {
		const char *comma = memchr(line.p, ',', line.len);
		size_t n = comma ? (size_t)(comma - line.p) : line.len;

		if (!comma != (i == COLUMNS - 1))
			return -EINVAL;
		fields[i] = (struct span){ line.p, n };
		line.p += n + (comma ? 1 : 0);
		line.len -= n + (comma ? 1 : 0);
	}
	return 0;
}

static int check(const struct span *f, const char **ret_support)
{
	uint64_t id;

	*ret_support = NULL;
	for (size_t i = 0; i < ARRAY_LEN(supports); i++)
		if (span_eq(f[SUPPORT], supports[i].csv))
			*ret_support = supports[i].database;
	if (!*ret_support || !span_eq(f[VENDOR], "10de") || f[NAME].len == 0)
		return -EINVAL;
	return f[DEVICE].len == 4 ? parse_hex64(f[DEVICE], UINT16_MAX, &id) : -EINVAL;
}

static void bind(sqlite3_stmt *q, int i, struct span s)
{
	(void)sqlite3_bind_text(q, i, s.p, (int)s.len, SQLITE_STATIC);
}

static int put(sqlite3_stmt *q)
{
	int r = sqlite3_step(q);

	(void)sqlite3_reset(q);
	return r == SQLITE_DONE ? 0 : -EIO;
}

static int add_row(sqlite3_stmt *info, sqlite3_stmt *more, struct span line)
{
	struct span f[COLUMNS];
	const char *support;
	int r = split(line, f);

	if (r == 0)
		r = check(f, &support);
	if (r < 0)
		return r;
	bind(info, 1, f[VENDOR]);
	bind(info, 2, f[DEVICE]);
	bind(info, 3, f[NAME]);
	bind(info, 4, SPAN(support));
	bind(info, 5, f[BRANCHES]);
	bind(info, 6, f[CHIP]);
	bind(more, 1, f[DEVICE]);
	bind(more, 2, f[ARCHITECTURE]);
	bind(more, 3, f[BASIS]);
	r = put(info);
	return r < 0 ? r : put(more);
}

static int add_rows(sqlite3 *db, struct span rest)
{
	sqlite3_stmt *info = NULL, *more = NULL;
	struct span line;
	unsigned number = 0;
	int r = 0;

	if (sqlite3_prepare_v2(db, "INSERT INTO gpu_info VALUES (?,?,?,?,?,?)", -1, &info, NULL) !=
		SQLITE_OK ||
	    sqlite3_prepare_v2(db, "INSERT INTO gpu_more VALUES (?,?,?)", -1, &more, NULL) != SQLITE_OK)
		r = -EIO;
	while (r == 0 && span_line(&rest, &line)) {
		number++;
		if (line.len > 0 && line.p[0] != '#' && !span_eq(line, header))
			r = add_row(info, more, line);
		if (r < 0)
			fprintf(stderr, "gengpudb: line %u: %s: " SPAN_FMT "\n", number, sqlite3_errmsg(db),
				SPAN_ARG(line));
	}
	(void)sqlite3_finalize(info);
	(void)sqlite3_finalize(more);
	return r;
}

static int generate(const char *out, const char *in, const char *const *others)
{
	_cleanup_free_ char *text = NULL;
	sqlite3 *db = NULL;
	size_t len;
	int r = read_file_at(AT_FDCWD, in, (size_t)16 << 20, &text, &len);

	if (r < 0)
		return r;
	if (unlink(out) < 0 && errno != ENOENT)
		return -errno;
	if (sqlite3_open(out, &db) != SQLITE_OK || sqlite3_exec(db, schema, NULL, NULL, NULL) != SQLITE_OK)
		r = -EIO;
	if (r == 0)
		r = add_rows(db, (struct span){ text, len });
	if (r == 0)
		r = vgputables_import(db, others);
	if (r == 0)
		r = vgputables_check(db);
	if (r == 0 && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
		r = -EIO;
	(void)sqlite3_close(db);
	if (r < 0)
		(void)unlink(out);
	return r;
}

int main(int argc, char **argv)
{
	int r = argc == 3 + VGPUTABLES ? generate(argv[1], argv[2], (const char *const *)argv + 3) : -EINVAL;

	if (r < 0)
		fprintf(stderr, "gengpudb: %s\n", strerror(-r));
	return r < 0;
}
