// SPDX-License-Identifier: GPL-2.0-only
/* Test aid: nvidia-drm. */
#define NEEDS nvKmsKapiGetFunctionsTable
#include "leaf.h"

static bool modeset;
module_param(modeset, bool, 0444);
