/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The IOMMU group type of the GPUs, where somebody asked for "identity". What a group had before is kept on the node
 * (run/nvdriver/iommu) before it is changed, so that whoever unloads the driver, this container or a later one, puts it back. */

#include "container.h"

/* Writes "identity" where it is not, before the modules are loaded, if asked for. A refusal is a warning: the kernel changes only groups
 * whose devices nobody drives. */
void container_iommu_identity(struct container *c);

/* After unloading, asked for or not: what was kept is put back and forgotten. Failures are warnings. */
void container_iommu_restore(struct container *c);
