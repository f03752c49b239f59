// SPDX-License-Identifier: GPL-2.0-only
/* Test aid: nvidia-uvm. */
#define NEEDS nvidia_get_rm_ops
#include "leaf.h"

static int uvm_debug_prints;
module_param(uvm_debug_prints, int, 0644);
