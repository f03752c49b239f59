/* SPDX-License-Identifier: Apache-2.0
 *
 * Every verb, in the order help shows them. */
#include "cmd.h"

/* One line each, so that two changes rarely meet. */
/* clang-format off */
#define CMDS(X) \
	X(prepare) \
	X(install) \
	X(load) \
	X(unload) \
	X(verify) \
	X(status) \
	X(doctor) \
	X(list) \
	X(fetch) \
	X(undo) \
	X(history) \
	X(recover) \
	X(gc) \
	X(container_init) \
	X(container_build) \
	X(container_load) \
	X(container_update) \
	X(container_unload) \
	X(container_reload_nvidia_peermem) \
	X(container_probe_nvidia_peermem) \
	X(container_status) \
	X(container_doctor) \
	X(hook_kernel) \
	X(gpu_list) \
	X(gpu_info) \
	X(gpu_export) \
	X(vgpu_step) \
	X(vgpu_plan) \
	X(vgpu_status) \
	X(vgpu_doctor) \
	X(vgpu_verify) \
	X(vgpu_attach) \
	X(vgpu_cluster) \
	X(vgpu_upgrade) \
	X(vgpu_kernel) \
	X(vgpu_rollback) \
	X(vgpu_undo) \
	X(vgpu_remove) \
	X(vgpu_menu) \
	X(vgpu_drivers) \
	X(vgpu_fetch) \
	X(vgpu_patch) \
	X(vgpu_guest) \
	X(vgpu_client) \
	X(vgpu_license) \
	X(vgpu) \
	X(runfile_info) \
	X(runfile_list) \
	X(runfile_verify) \
	X(runfile_extract) \
	X(runfile_patch) \
	X(runfile_pack) \
	X(modules_build) \
	X(modules_pack) \
	X(modules_match) \
	X(modules_unpack) \
	X(modules_import) \
	X(modules_info) \
	X(modules_sign) \
	X(modules_verify) \
	X(bundle_create) \
	X(bundle_verify) \
	X(bundle_inspect) \
	X(bundle_list_missing) \
	X(bundle_apply) \
	X(bundle_export_image) \
	X(bundle_push) \
	X(bundle_pull) \
	X(cdi_generate) \
	X(hook_cdi) \
	X(hook_lxc) \
	X(lxc_plan) \
	X(lxc_install) \
	X(lxc_devices) \
	X(lxc_toolkit) \
	X(lxc_cache) \
	X(lxc_sync) \
	X(lxc_verify) \
	X(lxc_status) \
	X(lxc_rollback) \
	X(lxc_remove)
/* clang-format on */

#define DECLARE(name) extern const struct cmd cmd_##name;
CMDS(DECLARE)

#define ENTRY(name) &cmd_##name,
const struct cmd *const cmd_table[] = { CMDS(ENTRY) NULL };
