/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which virtual machines hold a vGPU now: while one does, the driver can be neither removed nor replaced. */

#include "err.h"
#include "host.h"

/* One text for each vGPU in use ("virtual machine 101, type nvidia-558 on 0000:41:00.4"); nothing when none is.
 * *ret caller frees (strv, NULL for none). 0 or -ENOMEM. */
int vgpu_in_use(const struct host *h, char ***ret);
/* -ERR_VGPU_IN_USE naming the first few, 0 when none is. */
int vgpu_check_idle(const struct host *h, struct err *e);

/* The machine's number in a device's uuid as Proxmox VE makes it ("00000000-0000-0000-0000-000000000101" → 101); 0 for
 * any other uuid. Pure. */
unsigned long vgpu_uuid_guest(const char *uuid);
