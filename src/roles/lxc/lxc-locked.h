/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The shared directory as containers get it whose root has the host's rights over mounts (no user name-space). Such a root
 * can make every file system it sees writable that can be writable at all, at the file system itself and so for everybody;
 * hence it sees only ones that cannot be: an overlay without an upper layer, which the kernel refuses to make writable, and
 * on its one directory `current` the image in use. There is no link to turn: what is in use is mounted, and the kernel
 * carries that into every container.
 *
 *   <live>/locked          the overlay
 *   <live>/locked/current  a mount of <live>/<version>-<id>
 *   <live>/.lower/         what the overlay is made of; not reached from such a container */

#include "err.h"

#define LXC_LOCKED "locked"

/* Makes the overlay unless it is there. The shared directory must be writable. -ENODEV without overlays in the kernel. */
int lxc_locked_make(int live_fd, const char *live_dir);
/* `current` is a mount of this entry of the shared directory from now on; nothing happens when it is. Containers see the old
 * or the new one, never none. */
int lxc_locked_switch(int live_fd, const char *live_dir, const char *name);
bool lxc_locked_is(int live_fd, const char *name);
