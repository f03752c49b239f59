/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Incus and LXD, as texts: what their client answers and what it is told. Nothing of the system is touched.
 *
 * A line that concerns us is written as everywhere (lxc-edit.h): "dev = PATH,mode=0666" for a device of type unix-char,
 * "lxc.mount.entry = DIR usr/lib/nvdriver none rbind,rslave,ro,create=dir 0 0" for the one of type disk. Devices we add are
 * named "nvd-…"; others are looked at and left. */

#include "lxc-backend.h"
#include "lxc-host.h"
#include "parse.h"

#include <jansson.h>

/* May the name be given to the client? Letters, digits and '-', a letter first: no option, remote or path. */
bool incus_name_is_valid(const char *id);
/* Names of the containers in the answer to a query of all instances; virtual machines are left out. Sorted; caller frees. */
int incus_names(const json_t *instances, char ***ret);
/* Facts in the answer to a query of one. host_path makes a path of the machine what a running kernel calls it. */
int incus_facts(const json_t *instance, char *(*host_path)(const struct host *h, const char *absolute),
		const struct host *h, struct lxc_facts *ret);
/* Devices of type gpu are in the facts as "gpu = ADDRESS,mode=M" ("*" for every one): the line is replaced by those of the nodes
 * the daemon makes for it, which are the cards' and all of the driver's that belong to no card. -ENOMEM. */
int incus_gpus_expand(char ***lines, const struct lxc_gpu *gpus, size_t n,
		      char *(*host_path)(const struct host *h, const char *absolute), const struct host *h);
enum lxc_state incus_state(const char *status);
/* Name of the device for a canonical line: "nvd-nvidia0", "nvd-driver". NULL for a line that is none; caller frees. */
char *incus_device_name(const char *line);
/* Own device (not of a profile) of this instance that such a line is; NULL = none. Borrowed. */
const char *incus_device_find(const json_t *instance, const char *line, const char *root);
/* Arguments behind "config device add INSTANCE": name, type, options. root: what the machine's paths begin with here
 * ("" for the running one). -EINVAL for a line that is none. Caller frees. */
int incus_device_args(const char *line, const char *root, char ***ret);
