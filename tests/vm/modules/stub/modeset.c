// SPDX-License-Identifier: GPL-2.0-only
/* Test aid: nvidia-modeset. */
#define NEEDS nvidia_get_rm_ops
#define GIVES nvKmsKapiGetFunctionsTable
#include "leaf.h"
