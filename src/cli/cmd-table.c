/* SPDX-License-Identifier: Apache-2.0
 *
 * Every verb, in the order help shows them. */
#include "cmd.h"

extern const struct cmd cmd_doctor, cmd_list, cmd_prepare, cmd_status, cmd_verify;

const struct cmd *const cmd_table[] = {
	&cmd_prepare, &cmd_verify, &cmd_status, &cmd_doctor, &cmd_list, NULL,
};
