// SPDX-License-Identifier: GPL-2.0-only
/* Test aid: nvidia-peermem. */
#define NEEDS nvidia_get_rm_ops
#include "leaf.h"

static int peerdirect_support;
module_param(peerdirect_support, int, 0444);
