/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The vGPU host as it is, and what is wrong with it, in the words of the person who has to mend it. Reads only; programs
 * are asked for a few facts, or answered from a captured machine's recording. `gpu_db_beside`: a table of cards that lies
 * beside the program, for those ours lacks; NULL = none. */

#include "engine.h"

#include <jansson.h>

/* { "step", "card", "support", "branch", "cards": [...], "driver": {...}, "iommu", "secure_boot", "key", "types": [...],
 *   "deployments": [group] } */
int vgpu_status(struct engine *en, const char *gpu_db_beside, json_t **ret, struct err *e);

/* Rows as report_doctor() gives them; *ret_findings counts warn and fail. */
int vgpu_doctor(struct engine *en, const char *gpu_db_beside, json_t **ret_checks, unsigned *ret_findings,
		struct err *e);

/* The rows that have to be right once the driver is installed. */
int vgpu_verify(struct engine *en, const char *gpu_db_beside, json_t **ret_checks, unsigned *ret_findings,
		struct err *e);

/* Memory of a card in the answer of `nvidia-smi --query-gpu=pci.bus_id,memory.total --format=csv,noheader,nounits`, in bytes; 0 =
 * it is not there. Pure. */
uint64_t vgpu_smi_memory(const char *text, const char *address);

/* The newest guest driver of `nvidia-smi vgpu -q` whose major is newer than the host driver's; "" = none. Pure. */
void vgpu_smi_newer_guest(const char *text, const char *host_version, char ret[32]);

/* What keeps the driver from working, in the text of `nvidia-smi vgpu`; NULL = nothing. `unlock`: it says "no supported
 * devices" of an unlocked card, and that is normal. Pure; static text. */
const char *vgpu_smi_reason(const char *text, bool unlock);
