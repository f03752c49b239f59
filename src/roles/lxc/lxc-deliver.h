/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The driver's user space into a container, in one of three ways:
 *   shared  the host's shared directory mounted, plus a few links (design: about 15 ms, no disk)
 *   tree    the files of the view copied to usr/lib/nvdriver/<version>, plus the same links
 *   run     the run file pushed and the vendor's installer run inside */

#include "lxc.h"
#include "plan.h"

/* What `auto` becomes on this machine for this container, or why the wished one is not possible. */
int lxc_delivery_choose(const struct lxc_ct *ct, enum lxc_delivery *ret, struct err *e);
/* What all containers of a run share, done once: tree, view, image, mount, `current` (shared); tree and view (tree); a
 * verified run file (run). ret_view_id: 65 bytes, "" for run. Nothing happens when it is all there. */
int lxc_deliver_prepare(const struct lxc_ct *ct, enum lxc_delivery d, char *ret_view_id, bool *ret_switched,
			struct err *e);
/* Adds the operations; view_id may be "" in a dry run that could not make it. */
int lxc_deliver_plan(struct lxc_ct *ct, enum lxc_delivery d, const char *view_id, struct plan *p,
		     struct err *e);

/* Packages in the text of dpkg's status file that bring a driver; names, sorted. Caller frees. Pure. */
int lxc_packaged_drivers(struct span dpkg_status, char ***ret);
/* Links and small files a view needs in a container (entries of lxc-files). files: the "files" of the view's record. Pure. */
int lxc_view_entries(const json_t *files, bool lib32, bool graphics, const char *record_text, json_t **ret);
