/* SPDX-License-Identifier: Apache-2.0
 *
 * Every verb, in the order help shows them. */
#include "cmd.h"

const struct cmd *const cmd_table[] = {
	NULL,
};
