/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The licence of a guest: a token in the client's directory and the kind of licence it asks for. And what a machine, guest or
 * host, has of all this. */

#include "engine.h"
#include "vgpu-license.h"

struct license_client {
	struct engine *en; /* borrowed; its host is the guest */
	const char *token; /* borrowed; path of a token file, NULL = the token stays as it is */
	const char
	    *token_dir; /* borrowed; below the guest's root without a leading slash, NULL = the usual one */
	const struct license_feature *feature; /* NULL = FeatureType stays as it is */
	char **notes; /* owned strv */
};
void license_client_done(struct license_client *c);

/* No operations = nothing to do. The token never enters the plan, only its digest. -ERR_VGPU_LICENSE_CLIENT without a guest
 * driver, -ERR_VGPU_LICENSE_TOKEN. */
int license_client_plan(struct license_client *c, struct plan **ret, struct err *e);

/* { "server": null | {"address", "port", "image", "timezone", "certificate_until", "certificate_names_address", "keys":
 *     "complete"|"missing"|"exposed", "container", "health": "up"|"down"|"unknown", "reason"},
 *   "client": null | {"feature", "feature_type", "tokens": [name], "legacy_server", "licensed": bool|null, "lines": [text]} }
 * ask: may the server and nvidia-smi be asked? */
int license_state(struct engine *en, bool ask, json_t **ret, struct err *e);
