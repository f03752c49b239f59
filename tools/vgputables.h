/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The tables of vGPU releases beside the GPU table, for gengpudb. */

#include <sqlite3.h>
#include <stddef.h>

#define VGPUTABLES 4

/* Imports the files (host drivers, guest drivers, patches, release map) as tables whose columns are the files' own and
 * whose rowids are the files' order. 0, or -errno with a line on stderr. */
int vgputables_import(sqlite3 *db, const char *const files[VGPUTABLES]);

/* Every rule the tables have to obey; each row that breaks one is a line on stderr. 0 or -EINVAL. */
int vgputables_check(sqlite3 *db);
