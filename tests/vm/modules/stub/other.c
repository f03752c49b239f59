// SPDX-License-Identifier: GPL-2.0-only
/* Test aid: "outsider", a module of somebody else that uses the driver, as GPU-direct storage or network modules do. */
#define NEEDS nvidia_get_rm_ops
#include "leaf.h"
