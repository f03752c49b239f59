/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where the kernel finds the driver's firmware. It looks below firmware_class's search path, then below /lib/firmware;
 * the driver asks when a GPU is first opened, long after loading. So the search path is set before the modules are
 * loaded, only when the files would not be found otherwise, and put back as it was when they are gone.
 *
 * What was found there is remembered in the root at FIRMWARE_STATE, on disk before the path is changed. It lives in
 * /run because the path itself lasts no longer than the running kernel. */

#include "err.h"
#include "host.h"

#include <stdbool.h>

#define FIRMWARE_STATE_DIR "run/nvdriver"
#define FIRMWARE_STATE	   "firmware-path.json"
#define FIRMWARE_LINKS	   "/run/nvdriver/firmware"

/* All borrowed. */
struct firmware_want {
	char *const
	    *files; /* below a search directory: "nvidia/535.261.03/gsp_ga10x.bin"; NULL = none is needed */
	const char *params; /* those of module nvidia, blank-separated; may be NULL */
	const char *dir; /* search directory to name, as the kernel sees it; NULL = FIRMWARE_LINKS */
	const char
	    *source; /* absolute directory that holds the files by their last component: links to them are
			       made below `dir`. NULL = `dir` holds them already */
	const struct host *kernel_view; /* the root the kernel opens names in; NULL = the host's own */
	bool chosen; /* the user named `dir`: it is written whatever is found */
};

enum firmware_verdict {
	FIRMWARE_UNNEEDED, /* no file is asked for, or NVreg_EnableGpuFirmware=0 */
	FIRMWARE_FOUND, /* below lib/firmware already */
	FIRMWARE_KEEP, /* the search path leads to the files, or is the wanted one */
	FIRMWARE_SET, /* the search path has to be (or was) written */
	FIRMWARE_ABSENT, /* nobody has all the files: the path is left alone */
};

/* Only looks. *ret_before (may be NULL; caller frees): the search path as it stands, "" for none. */
int firmware_decide(const struct host *h, const struct firmware_want *w, enum firmware_verdict *ret,
		    char **ret_before, struct err *e);

/* Does it: remembers, links, writes. ret_before as above, for firmware_take_back(). A run killed half way has at most
 * remembered; nothing is left to put back then. On failure the path is as it was. */
int firmware_take(const struct host *h, const struct firmware_want *w, enum firmware_verdict *ret,
		  char **ret_before, struct err *e);

/* Undoes one firmware_take() that answered FIRMWARE_SET. */
int firmware_take_back(const struct host *h, const char *before, struct err *e);

/* After unloading: what was found before the first firmware_take() comes back, unless somebody changed the path since;
 * what was remembered and the links go. 1 = put back, 0 = nothing to do. */
int firmware_restore(const struct host *h, struct err *e);

/* 1 when firmware_restore() would put something back: *ret is that ("" = none; caller frees). */
int firmware_remembered(const struct host *h, char **ret, struct err *e);

/* The search path itself; NULL or "" resets it (one NUL byte: an empty write does nothing, a newline would become part). */
int firmware_path_set(const struct host *h, const char *path, struct err *e);
int firmware_path_get(const struct host *h, char **ret, struct err *e);
