/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Facts of a root that decide what of a driver goes there, read without running anything of it. */

#include <stdbool.h>

bool root_has_systemd(int root_fd);
/* libglvnd complete for the class: its dispatch library and the GL, GLX and EGL front ends in the loader's reach. */
bool root_has_glvnd(int root_fd, const char *machine);
/* An X server that reads OutputClass sections (1.16 and later keep modules and snippets where these are looked for). */
bool root_has_x_server(int root_fd);
/* Markers a distribution leaves: it brings this driver itself, or could. */
bool root_alternate_present(int root_fd);
bool root_alternate_available(int root_fd);
