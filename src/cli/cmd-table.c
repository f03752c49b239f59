/* SPDX-License-Identifier: Apache-2.0
 *
 * Every verb, in the order help shows them. */
#include "cmd.h"

extern const struct cmd cmd_list, cmd_prepare, cmd_status;

const struct cmd *const cmd_table[] = {
	&cmd_prepare,
	&cmd_status,
	&cmd_list,
	NULL,
};
