/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The licence server's key files, each made only where it is missing: guests' tokens are signed with the instance key, and a
 * new one makes all of them void. The keys never enter a plan or a journal. */

#include "plan.h"

#define LICENSE_INSTANCE_KEY	"instance.private.pem"
#define LICENSE_INSTANCE_PUBLIC "instance.public.pem"
#define LICENSE_WEB_KEY		"webserver.key"
#define LICENSE_WEB_CERT	"webserver.crt"

/* "vgpu-license-keys": {"dir": path below the root, "common_name": text, "names": "IP:…,DNS:…"}. Undo removes what was made and
 * nothing else. -ERR_VGPU_LICENSE_KEYS for a public half or certificate without its key. */
extern const struct op_type license_op_keys;

/* "vgpu-license-apt-key": {"url", "path", "fingerprint"}: a repository's key, taken only when it is that one. What stands at
 * the path already stays. On a captured machine nothing is fetched. */
extern const struct op_type license_op_apt_key;
