/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The error codes of vGPU hosts, apart from err.h so that a new one leaves everything else as it was built. */
enum err_vgpu_code {
	ERR_VGPU_FIRST = 16384,
#define E(symbol, slug, exit_status, sentence, next_step) ERR_##symbol,
#include "errcodes-vgpu.def"
#undef E
	ERR_VGPU_END
};
