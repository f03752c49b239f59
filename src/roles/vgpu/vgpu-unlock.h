/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a consumer or workstation card needs besides the driver: the community's patches and its unlock library. Both are
 * other people's work under their own licences: fetched for the person at run time, named before that, never shipped. */

#include "vgpu-plan.h"

#define UNLOCK_PATCHES VGPU_DIR "/vgpu-proxmox"
#define UNLOCK_SOURCE  VGPU_DIR "/vgpu_unlock-rs"
#define UNLOCK_LIBRARY "usr/lib/nvdriver/libvgpu_unlock_rs.so"
#define UNLOCK_CONFIG  "etc/vgpu_unlock/config.toml"
#define UNLOCK_PROFILE "etc/vgpu_unlock/profile_override.toml"

struct unlock_project {
	unsigned origin; /* whose it is: a bit of vgpu-origins.h */
	const char *release, *dir;
};
/* Both projects; ends with origin 0. */
extern const struct unlock_project unlock_projects[];

struct unlock_request {
	const struct host *host;
	const char *codename; /* of the distribution: which Rust toolchain its packages have */
	const char *patches_url, *source_url; /* another place of the projects; NULL = their own */
	const char *library; /* a library somebody built; NULL = it is built here */
	bool patches_only; /* the card needs no library */
};

/* What a project is fetched from. Borrowed. */
const char *unlock_url(const struct unlock_request *q, const struct unlock_project *p);
/* Whose work that is, to be shown before anything of it is fetched; appended. 0 or -ENOMEM. */
int unlock_notice(const struct unlock_request *q, struct strbuf *out);
/* Is there something to fetch? */
bool unlock_must_fetch(const struct unlock_request *q);
/* Packages building needs, NULL-terminated, static: none when a library was named or stands there. */
const char *const *unlock_packages(const struct unlock_request *q);

/* Fetches the projects; taken back by removing what was fetched. 0 or -ENOMEM. */
int unlock_add_sources(const struct unlock_request *q, struct plan *p);
/* Builds and places the library, and has both of the driver's daemons load it. -ERR_VGPU_LIBRARY when the named one is
 * none. */
int unlock_add_library(const struct unlock_request *q, struct plan *p, struct err *e);
/* An empty profile_override.toml where there is none: a person's files survive upgrades. */
int unlock_add_config(const struct unlock_request *q, struct plan *p, struct err *e);

/* The professional card the library presents a device as; NULL = it does not know the device. Pure. */
const char *unlock_presented(uint16_t device);
