/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What an image made for one kernel carries beside the driver: its firmware lies where no mount hides it. */

#include "container.h"

#define CONTAINER_SHIPPED_FIRMWARE "opt/lib/firmware/nvidia"

/* Copies opt/lib/firmware/nvidia/<ver>/gsp_*.bin to lib/firmware/nvidia/<ver>/, where the node's directory is mounted over the
 * image's own. Files that are there in their size stay. An image without such a directory is none of this. */
int container_shipped_firmware(struct container *c, struct err *e);
