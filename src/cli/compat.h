/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Drop-in entries for programs other people's scripts call; chosen by the name we are run under (main.c). Each takes
 * the whole argument vector and returns the exit status its callers expect. */

int compat_mkprecompiled(int argc, char **argv);
int compat_vgpu_util(int argc, char **argv);
int compat_nvidia_installer(int argc, char **argv); /* nvidia-installer, nvidia-uninstall */
int compat_nvidia_driver(int argc, char **argv);
int compat_ocp_dtk(int argc, char **argv);
