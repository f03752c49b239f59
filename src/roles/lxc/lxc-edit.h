/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Container configuration files as text: bytes in, bytes out, nothing of the system is touched.
 *
 * A line that concerns us is written "key = value" here, whatever the file's own form is ("key: value" in Proxmox VE's
 * files, where both are legal), with single blanks inside the value. A "dev<N>" key of Proxmox VE is written
 * "dev = PATH,options", for the number means nothing. */

#include "parse.h"
#include "strbuf.h"

/* "key = value" of any accepted spelling; NULL without memory or when the line is no assignment. Caller frees. */
char *lxc_line_canonical(struct span line);
bool lxc_line_equal(const char *a, const char *b);
/* The path of a "dev = PATH,…" line, or NULL span for another line. */
struct span lxc_line_dev_path(const char *canonical);

/* -- /etc/pve/lxc/<id>.conf: the current configuration ends at the first line "[name]"; pending and snapshot
 * sections below it are never looked at and stay byte for byte -- */

/* Raw keys ("lxc.…") and dev keys of the current section, canonical, in file order. Caller frees (strv_freep). */
int lxc_pve_lines(struct span text, char ***ret);
/* Value of a plain key of the current section ("lock", "unprivileged", "hostname", "arch"); false when absent. */
bool lxc_pve_value(struct span text, const char *key, struct span *ret);
/* Removes every line of the current section equal to one of `remove`, then appends those of `add` that are not there
 * yet as "key: value" at its end. Only raw keys: a dev key in either list is -EINVAL (Proxmox VE's own command does
 * those). Either list may be NULL. Foreign lines, comments and everything from the first section on are kept. */
int lxc_pve_edit(struct span text, char *const *add, char *const *remove, struct strbuf *out);
/* First free N of dev<N> (0-255), or the N that already has the path; -ENOSPC. ret_present says which. */
int lxc_pve_dev_number(struct span text, const char *path, unsigned *ret_n, bool *ret_present);

/* -- <lxcpath>/<name>/config -- */

/* Assignments of an LXC configuration, canonical; includes are not followed. */
int lxc_conf_lines(struct span text, char ***ret);
/* Adds (present) or removes the one line "lxc.include = <path>". It goes to the end: the distribution's includes reset
 * device lists. Nothing changes when it is so already. */
int lxc_conf_include(struct span text, const char *path, bool present, struct strbuf *out);
/* The same lines written into the file between two marker comments instead; an empty list takes the block away. */
int lxc_conf_inline(struct span text, char *const *lines, struct strbuf *out);
/* Lines between the markers; NULL when there is no block. */
int lxc_conf_inline_lines(struct span text, char ***ret);
/* The text of our included file. */
int lxc_conf_included(char *const *lines, struct strbuf *out);

/* `have` less `remove`, plus what of `add` is missing; order kept. Caller frees. */
int lxc_lines_merge(char *const *have, char *const *add, char *const *remove, char ***ret);
bool lxc_lines_contain(char *const *have, const char *line);
/* The line of `have` that is this one, or NULL. A device is the same by its path alone, whatever its options. */
const char *lxc_lines_find(char *const *have, const char *line);
