/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Link a module from its interface object (made for one kernel) and its core object (the same for all kernels). */

#include "err.h"

#include <stdbool.h>
#include <stdint.h>

struct modlink {
	int dirfd; /* directory the names below are relative to, and where the linker runs */
	const char *interface; /* "nv-linux.o" */
	const char *core; /* "nvidia/nv-kernel.o_binary"; its base name becomes part of the result */
	const char *output; /* "nvidia.ko"; replaced atomically */
	const char *linker; /* NULL = "ld" */
	const char *strip; /* NULL = "strip"; only used with strip_debug */
	bool strip_debug; /* drop .debug* and its relocations before anything is computed over the result */
	int log_fd; /* -EBADF = output of the tools not kept */
};

struct modlink_result {
	uint32_t crc; /* of the finished file: the "linked module CRC" of a package */
	uint64_t size_bytes;
};

/* ld -d -r. The result is checked (relocatable ELF of the interface's machine, with .gnu.linkonce.this_module and
 * .modinfo) before it takes its name. Errors: ERR_LINK_FAILED (with the linker's last lines), ERR_LINK_RESULT,
 * ERR_TOOL_MISSING, ERR_PATH_ESCAPE. On failure `output` is as before. */
int modlink_run(const struct modlink *l, struct modlink_result *ret, struct err *e);

/* Compare with the CRC recorded where the module was signed; ERR_LINK_CRC with the hint that the linkers differ. */
int modlink_check_crc(const struct modlink_result *result, uint32_t recorded_crc, struct err *e);
