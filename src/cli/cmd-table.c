/* SPDX-License-Identifier: Apache-2.0
 *
 * Every verb, in the order help shows them. */
#include "cmd.h"

extern const struct cmd cmd_list, cmd_load, cmd_modules_build, cmd_prepare, cmd_status, cmd_unload;

extern const struct cmd cmd_modules_info, cmd_modules_match, cmd_modules_pack, cmd_modules_sign,
    cmd_modules_unpack, cmd_modules_verify;

extern const struct cmd cmd_gpu_export, cmd_gpu_info, cmd_gpu_list;

const struct cmd *const cmd_table[] = {
	&cmd_prepare,
	&cmd_load,
	&cmd_unload,
	&cmd_status,
	&cmd_list,
	&cmd_gpu_list,
	&cmd_gpu_info,
	&cmd_gpu_export,
	&cmd_modules_build,
	&cmd_modules_pack,
	&cmd_modules_match,
	&cmd_modules_unpack,
	&cmd_modules_info,
	&cmd_modules_sign,
	&cmd_modules_verify,
	NULL,
};
