/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where a data file or directory of nvdriver lies ("gpu_info.db", "patches"): below $NVDRIVER_DATADIR when set, below
 * the build and source trees when the program runs from its build tree, else below the installed data directory. An
 * installed program never looks into a source tree: somebody else may write there by now.
 * Absolute path, caller frees, NULL without memory; whether it exists is not looked at. */
char *datadir_path(const char *name);
