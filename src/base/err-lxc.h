/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The error codes of LXC containers and the CUDA toolkit in them, apart from err.h so that a new one leaves everything else as it was built. */
enum err_lxc_code {
	ERR_LXC_FIRST = 12288,
#define E(symbol, slug, exit_status, sentence, next_step) ERR_##symbol,
#include "errcodes-lxc.def"
#undef E
	ERR_LXC_END
};
