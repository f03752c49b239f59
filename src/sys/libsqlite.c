/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of SQLite this program uses, loaded on demand: only the card table and rpm's database need it. */
#include "libsqlite.h"

#include "ondemand.h"

#include <sqlite3.h>

static const struct ondemand library = {
	.soname = "libsqlite3.so.0",
	.purpose = "reading the card table or the rpm database",
	.packages = "libsqlite3-0 (Debian, Ubuntu) or sqlite-libs (RHEL, Fedora)",
};

int libsqlite_require(struct err *e)
{
	return ondemand_require(&library, e);
}

#define FORWARD(type, name, params, args, missing)                                                           \
	ONDEMAND_FORWARD(library, type, name, params, args, missing)

FORWARD(int, sqlite3_open_v2, (const char *file, sqlite3 **db, int flags, const char *vfs),
	(file, db, flags, vfs), SQLITE_CANTOPEN)
FORWARD(int, sqlite3_close, (sqlite3 * db), (db), SQLITE_OK)
FORWARD(const char *, sqlite3_errmsg, (sqlite3 * db), (db), "libsqlite3.so.0 cannot be loaded")
FORWARD(int, sqlite3_table_column_metadata,
	(sqlite3 * db, const char *schema, const char *table, const char *column, char const **type,
	 char const **collation, int *not_null, int *primary, int *increment),
	(db, schema, table, column, type, collation, not_null, primary, increment), SQLITE_ERROR)

/* Without a database there are no statements. */
FORWARD(int, sqlite3_prepare_v2,
	(sqlite3 * db, const char *text, int len, sqlite3_stmt **q, const char **tail),
	(db, text, len, q, tail), SQLITE_ERROR)
FORWARD(int, sqlite3_bind_text, (sqlite3_stmt * q, int i, const char *text, int len, void (*destroy)(void *)),
	(q, i, text, len, destroy), SQLITE_ERROR)
FORWARD(int, sqlite3_step, (sqlite3_stmt * q), (q), SQLITE_ERROR)
FORWARD(int, sqlite3_reset, (sqlite3_stmt * q), (q), SQLITE_OK)
FORWARD(int, sqlite3_finalize, (sqlite3_stmt * q), (q), SQLITE_OK)
FORWARD(const void *, sqlite3_column_blob, (sqlite3_stmt * q, int i), (q, i), NULL)
FORWARD(int, sqlite3_column_bytes, (sqlite3_stmt * q, int i), (q, i), 0)
FORWARD(int, sqlite3_column_int, (sqlite3_stmt * q, int i), (q, i), 0)
FORWARD(const unsigned char *, sqlite3_column_text, (sqlite3_stmt * q, int i), (q, i), NULL)
