/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The error codes of the driver container, apart from err.h so that a new one leaves everything else as it was built. */
enum err_container_code {
	ERR_CONTAINER_FIRST = 8192,
#define E(symbol, slug, exit_status, sentence, next_step) ERR_##symbol,
#include "errcodes-container.def"
#undef E
	ERR_CONTAINER_END
};
