/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reading TOML 1.0 strictly into JSON values: what other programs' configuration is written in. Never written. Dates are
 * texts. Not taken: "inf" and "nan", which JSON has not. */

#include "err.h"
#include "parse.h"

#include <jansson.h>

#define TOML_MAX_BYTES ((size_t)1 << 20)

/* *ret: a new object. -ERR_FORMAT with "line <n>: …"; keys given twice and tables defined twice are errors, as the
 * language has it. Pure. */
int toml_parse(struct span text, json_t **ret, struct err *e);
