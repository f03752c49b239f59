/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A directory that stands for a machine: the facts the reports and plans read, and the answers of its programs, so that a
 * question can be answered elsewhere with --root. Secrets stay behind: no keys, passwords or licence data, user names and
 * passwords in repository addresses are blanked, of guests only the lines that name devices, of the package database only
 * names, states and versions. */

#include "engine.h"

/* Makes `dir` (0700, must not exist) and fills it. *ret_files (may be NULL) counts the files. -ERR_PACK_OUTPUT when it
 * exists already; what cannot be read is left out. */
int capture_machine(struct engine *en, const char *dir, unsigned *ret_files, struct err *e);

/* Pure: "scheme://name:secret@host" with what stands before the @ blanked, everywhere in the text, and parameters of an
 * address or words of a kernel command line whose name speaks of a password, token, key or credential; and whatever looks
 * like a signed token. Caller frees. */
int capture_blank(struct span text, char **ret);
