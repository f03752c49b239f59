/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The operations that only a vGPU host's plans have. */

/* Call before engine_open(): journals may name them. 0 or -ENOMEM. */
int vgpu_register_ops(void);
