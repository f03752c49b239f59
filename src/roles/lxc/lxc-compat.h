/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* CUDA's compatibility libraries (cuda-compat-*): a second libcuda.so.1 below usr/local/cuda-<version>/compat, which programs
 * must not find before the driver's. Images bring loader configurations that name it. */

#include "parse.h"
#include "strbuf.h"

#include <jansson.h>

/* A loader configuration with every line that names such a directory commented out. *ret_changed false: equal bytes. Pure. */
int lxc_compat_text(struct span text, struct strbuf *out, bool *ret_changed);
/* Entries ("files") for the loader's configuration files beneath this root that name one; none = nothing to do. -ENOMEM. */
int lxc_compat_entries(int root_fd, json_t *entries);
