/* SPDX-License-Identifier: Apache-2.0 */
#include "vgputables.h"

#include "cleanup.h"
#include "fd.h"
#include "parse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#define COLUMNS_MAX 24
#define FILE_MAX    ((size_t)16 << 20)

static const char *const tables[VGPUTABLES] = { "vgpu_driver", "vgpu_guest", "vgpu_patch", "vgpu_release" };

/* Each names what must hold; the query finds the rows for which it does not. */
static const struct {
	const char *what, *query;
} rules[] = {
	{ "an MD5 is 32 hexadecimal digits", "SELECT branch FROM vgpu_driver WHERE md5 <> '' AND "
					     "(length(md5) <> 32 OR md5 GLOB '*[^0-9a-f]*')" },
	{ "the kind of an address is known",
	  "SELECT branch FROM vgpu_driver WHERE url_kind NOT IN ('alist', 'mega', 'auto', 'portal')" },
	{ "there is an address unless it is found at run time or at the portal",
	  "SELECT branch FROM vgpu_driver WHERE (url = '') <> (url_kind IN ('auto', 'portal'))" },
	{ "an address ends with the file", "SELECT branch FROM vgpu_driver WHERE url_kind = 'alist' AND "
					   "substr(url, -length(filename) - 1) <> '/' || filename" },
	{ "a file on mega has its address there",
	  "SELECT branch FROM vgpu_driver WHERE url_kind = 'mega' AND url NOT GLOB 'https://mega.nz/*'" },
	{ "the file name holds the version",
	  "SELECT branch FROM vgpu_driver WHERE "
	  "filename <> 'NVIDIA-Linux-x86_64-' || driver_version || '-vgpu-kvm.run'" },
	{ "a branch stands once", "SELECT branch FROM vgpu_driver GROUP BY branch HAVING count(*) > 1" },
	{ "one file has one MD5", "SELECT filename FROM vgpu_driver WHERE md5 <> '' GROUP BY filename HAVING "
				  "count(DISTINCT md5) > 1" },
	{ "only native branches have no patch",
	  "SELECT branch FROM vgpu_driver WHERE native_only NOT IN ('yes', 'no') OR "
	  "(native_only = 'yes' AND patch_file <> '')" },
	{ "kernel bounds are versions in order",
	  "SELECT branch FROM vgpu_driver WHERE kernel_min NOT GLOB '[4-9].[0-9]*' OR kernel_max NOT GLOB "
	  "'[4-9].[0-9]*' "
	  "OR CAST(kernel_min AS INTEGER) > CAST(kernel_max AS INTEGER)" },
	{ "PVE bounds are in order", "SELECT branch FROM vgpu_driver WHERE pve_min NOT IN ('7', '8', '9') OR "
				     "pve_max NOT IN ('7', '8', '9') OR pve_min > pve_max" },
	{ "a host driver is in the release map with its version",
	  "SELECT d.branch FROM vgpu_driver d LEFT JOIN vgpu_release r ON r.branch = d.branch "
	  "WHERE r.host_version IS NOT d.driver_version" },
	{ "a patch belongs to a host driver of its version",
	  "SELECT p.branch FROM vgpu_patch p LEFT JOIN vgpu_driver d ON d.branch = p.branch "
	  "WHERE d.driver_version IS NOT p.driver_version" },
	{ "a mapped patch is the one its host driver names",
	  "SELECT p.branch FROM vgpu_patch p JOIN vgpu_driver d ON d.branch = p.branch "
	  "WHERE d.patch_file <> CASE p.status WHEN 'unmapped' THEN '' ELSE p.patch_file END" },
	{ "a patch a host driver names has a row", "SELECT branch FROM vgpu_driver WHERE patch_file <> '' "
						   "AND branch NOT IN (SELECT branch FROM vgpu_patch)" },
	{ "a patch's status is known",
	  "SELECT branch FROM vgpu_patch WHERE status NOT IN ('mapped', 'unmapped', 'mapped-missing')" },
	{ "a patch's digest is 64 hexadecimal digits",
	  "SELECT branch FROM vgpu_patch WHERE sha256_newest_seen <> '' AND (length(sha256_newest_seen) <> "
	  "64 "
	  "OR sha256_newest_seen GLOB '*[^0-9a-f]*')" },
	{ "a guest is for linux or windows",
	  "SELECT branch FROM vgpu_guest WHERE os NOT IN ('linux', 'windows')" },
	{ "a branch has one guest driver a system",
	  "SELECT branch FROM vgpu_guest GROUP BY branch, os HAVING count(*) > 1" },
	{ "a guest's address names its file", "SELECT branch FROM vgpu_guest WHERE url <> '' AND (filename = "
					      "'' OR instr(url, '/' || filename) = 0)" },
	{ "a guest's file name holds its version",
	  "SELECT branch FROM vgpu_guest WHERE filename <> '' AND instr(filename, version) = 0" },
	{ "a release stands once", "SELECT branch FROM vgpu_release GROUP BY branch HAVING count(*) > 1" },
	{ "a release's package digests are hexadecimal",
	  "SELECT branch FROM vgpu_release WHERE (package_md5 <> '' AND (length(package_md5) <> 32 OR "
	  "package_md5 GLOB '*[^0-9a-f]*')) OR (package_sha256 <> '' AND (length(package_sha256) <> 64 OR "
	  "package_sha256 GLOB '*[^0-9a-f]*'))" },
	{ "every branch of a card exists, unless it is older than the release map",
	  "WITH RECURSIVE b(card, one, rest) AS (SELECT deviceid, '', driver || ';' FROM gpu_info WHERE "
	  "driver <> '' "
	  "UNION ALL SELECT card, substr(rest, 1, instr(rest, ';') - 1), substr(rest, instr(rest, ';') + 1) "
	  "FROM b WHERE rest <> '') SELECT DISTINCT card || ':' || one FROM b WHERE one <> '' AND one + 0 >= "
	  "(SELECT min(CAST(branch AS INTEGER)) FROM vgpu_release) AND one NOT IN "
	  "(SELECT CAST(branch AS INTEGER) FROM vgpu_release)" },
};

/* One value of a comma-separated line, quotes of RFC 4180 taken off in place. false: not well formed. */
static bool take_field(char **at, char **ret)
{
	char *p = *at, *out = *at;

	*ret = out;
	if (*p == '"') {
		for (p++; *p && (*p != '"' || *++p == '"'); p++)
			*out++ = *p;
		if (*p && *p != ',')
			return false;
	} else {
		while (*p && *p != ',')
			*out++ = *p++;
	}
	*at = *p ? p + 1 : NULL;
	*out = '\0';
	return true;
}

static int split(char *line, char *fields[COLUMNS_MAX])
{
	int n = 0;

	for (char *at = line; at; n++)
		if (n == COLUMNS_MAX || !take_field(&at, &fields[n]))
			return -EINVAL;
	return n;
}

/* "CREATE TABLE t (a TEXT NOT NULL, b …)" of the header line, and the INSERT that goes with it. */
static int create(sqlite3 *db, const char *table, char *const *columns, int n, sqlite3_stmt **ret)
{
	_cleanup_free_ char *sql = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&sql, &size);
	int r;

	if (!f)
		return -ENOMEM;
	(void)fprintf(f, "CREATE TABLE %s (", table);
	for (int i = 0; i < n; i++)
		(void)fprintf(f, "%s%s TEXT NOT NULL", i ? ", " : "", columns[i]);
	(void)fprintf(f, ");");
	if (fclose(f) != 0)
		return -ENOMEM;
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return -EIO;
	freep(&sql);
	f = open_memstream(&sql, &size);
	if (!f)
		return -ENOMEM;
	(void)fprintf(f, "INSERT INTO %s VALUES (?", table);
	for (int i = 1; i < n; i++)
		(void)fputs(",?", f);
	(void)fputc(')', f);
	r = fclose(f) == 0 ? 0 : -ENOMEM;
	return r < 0 || sqlite3_prepare_v2(db, sql, -1, ret, NULL) != SQLITE_OK ? -EIO : 0;
}

static int insert(sqlite3_stmt *q, char *const *fields, int n)
{
	int r;

	for (int i = 0; i < n; i++)
		(void)sqlite3_bind_text(q, i + 1, fields[i], -1, SQLITE_STATIC);
	r = sqlite3_step(q);
	(void)sqlite3_reset(q);
	return r == SQLITE_DONE ? 0 : -EIO;
}

static int import_line(sqlite3 *db, const char *table, char *line, int *columns, sqlite3_stmt **q)
{
	char *fields[COLUMNS_MAX];
	int n = split(line, fields);

	if (n < 0 || (*columns && n != *columns))
		return -EINVAL;
	if (*columns)
		return insert(*q, fields, n);
	*columns = n;
	return create(db, table, fields, n, q);
}

static int import(sqlite3 *db, const char *table, const char *file)
{
	_cleanup_free_ char *text = NULL;
	sqlite3_stmt *q = NULL;
	int columns = 0, number = 0, r = read_file_at(AT_FDCWD, file, FILE_MAX, &text, NULL);
	struct span rest, line;

	if (r < 0)
		return r;
	rest = SPAN(text);
	while (r == 0 && span_line(&rest, &line)) {
		number++;
		((char *)line.p)[line.len] = '\0';
		if (line.len > 0 && line.p[0] != '#')
			r = import_line(db, table, (char *)line.p, &columns, &q);
	}
	(void)sqlite3_finalize(q);
	if (r < 0)
		(void)fprintf(stderr, "gengpudb: %s:%d: %s\n", file, number, sqlite3_errmsg(db));
	return r;
}

int vgputables_import(sqlite3 *db, const char *const files[VGPUTABLES])
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < VGPUTABLES; i++)
		r = import(db, tables[i], files[i]);
	return r;
}

int vgputables_check(sqlite3 *db)
{
	int broken = 0;

	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		sqlite3_stmt *q = NULL;
		int step = sqlite3_prepare_v2(db, rules[i].query, -1, &q, NULL) == SQLITE_OK ? SQLITE_ROW
											     : SQLITE_ERROR;

		while (step == SQLITE_ROW && (step = sqlite3_step(q)) == SQLITE_ROW) {
			(void)fprintf(stderr, "gengpudb: %s: not so for %s\n", rules[i].what,
				      (const char *)sqlite3_column_text(q, 0));
			broken++;
		}
		if (step != SQLITE_DONE) {
			(void)fprintf(stderr, "gengpudb: %s: %s\n", rules[i].what, sqlite3_errmsg(db));
			broken++;
		}
		(void)sqlite3_finalize(q);
	}
	return broken ? -EINVAL : 0;
}
