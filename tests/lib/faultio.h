/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Link-time shims (--wrap, see tests/crash/meson.build) over the system calls and allocations our own code makes.
 * They work under the sanitizers, unlike a preloaded library, and see only calls made by our objects.
 *
 *   count    nothing happens, calls are counted
 *   fail     the nth allocation or system call fails (ENOMEM, EIO)
 *   kill     the process ends with status 137 at entry of the nth call that changes a file system
 *   record   every change is written down for the power-cut model (powercut.h) */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define FAULT_KILLED 137

void fault_count(void);
void fault_fail(unsigned n);
void fault_kill(unsigned n);
void fault_off(void);
bool fault_fired(void);
unsigned fault_calls(void); /* counted since armed: of the kind the mode counts */
const char *fault_where(void); /* name of the call that failed last */

/* Hard links answer EXDEV while set: the way of a backup on another file system. */
void fault_no_links(bool on);
/* While set, fsync of a file or of a directory does nothing: to build the broken twins the model must convict. */
void fault_skip_file_sync(bool on);
void fault_skip_dir_sync(bool on);

enum rec_type {
	REC_CREATE,
	REC_MKDIR,
	REC_SYMLINK,
	REC_LINK,
	REC_UNLINK,
	REC_RENAME,
	REC_EXCHANGE,
	REC_WRITE,
	REC_META,
	REC_SYNC,
	REC_SYNCFS
};

struct rec {
	enum rec_type type;
	ino_t dir, dir2; /* directory of the name(s) */
	char name[256], name2[256];
	ino_t ino; /* the thing itself */
	mode_t mode;
	struct timespec mtime;
	char *bytes; /* owned; whole content after a write, text of a link */
	size_t len;
	bool flushing; /* the model's mark */
};

void fault_record(void);
struct rec *fault_recorded(size_t *ret_n); /* owned by the recorder until the next fault_record() */
