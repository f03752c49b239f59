/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Module parameters: drivers/<module>.conf as the operator mounts them become etc/modprobe.d/<module>.conf. */

#include "container.h"
#include "parse.h"

/* Pure: the words of a parameter file, in order (strv). Blank lines and lines beginning with # count for nothing, CR is
 * dropped, blanks within quotes belong to the word, a last line without newline counts. A word without '=' becomes a
 * warning and is left out. -E2BIG, -ENOMEM. */
int container_params_parse(struct span text, char ***ret_words, char ***ret_warnings);

/* Pure: the modprobe.d text for a module; "" for no words. */
int container_params_render(const char *module, char *const *words, char **ret);

/* Words that name no parameter in `declared` (strv of names) as sentences. A NULL `declared` knows nothing and warns of nothing. */
int container_params_check(const char *module, char *const *words, char *const *declared,
			   char ***ret_warnings);

/* The parameters of one module as they will be: drivers/<module>.conf, and what always comes first for nvidia. */
int container_params_read(const struct container *c, const char *module, char ***ret_words, struct err *e);

/* Writes all files that have parameters and takes away those of ours that no longer have any; warns about what the modules in set_fd
 * (-EBADF = unknown) do not declare. On disk afterwards: old or new files, all of them. */
int container_params_write(struct container *c, int set_fd, struct err *e);

/* NVreg_EnableGpuFirmware=0 anywhere among nvidia's parameters. */
bool container_params_no_firmware(char *const *words);
