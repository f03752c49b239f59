/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Guests' licences, as texts: the vendor's client configuration in a guest, the compose file of a licence server, scripts that
 * take a token into a guest. Bytes in, bytes out. */

#include "err.h"
#include "parse.h"

#include <stdint.h>

/* -- the vendor's client in a guest -- */

#define GRIDD_CONF	    "etc/nvidia/gridd.conf"
#define GRIDD_CONF_TEMPLATE "etc/nvidia/gridd.conf.template"
#define GRIDD_TOKEN_DIR	    "etc/nvidia/ClientConfigToken"

/* What a guest asks a licence for. */
struct license_feature {
	const char *name; /* "vgpu" */
	unsigned value; /* of FeatureType */
	const char *meaning;
};
extern const struct license_feature license_features[]; /* ends with name NULL */
/* A name of the table or its number; NULL when it is neither. */
const struct license_feature *license_feature_find(const char *text);

/* gridd.conf with FeatureType set, and with ClientConfigTokenPath when token_dir is not NULL; every other byte stays. A key that
 * is not set yet goes below its comment in the template, else to the end. Caller frees. 0 or -ENOMEM. */
int gridd_conf_edit(struct span text, unsigned feature, const char *token_dir, char **ret);
/* Is the key of the licence server that was discontinued set (ServerAddress)? It keeps tokens from being looked at. */
bool gridd_conf_is_legacy(struct span text);
/* The FeatureType that is in force, -1 when none is. */
int gridd_conf_feature(struct span text);

/* A client configuration token: three parts of base64url with dots between, nothing else but a final LF.
 * -ERR_VGPU_LICENSE_TOKEN says what it looks like instead; never the token itself. */
int license_token_check(struct span token, struct err *e);
/* "client_configuration_token_*.tok" */
bool license_token_name(const char *name);

/* -- the server -- */

#define LICENSE_SERVICE	     "wvthoog-fastapi-dls"
#define LICENSE_IMAGE	     "collinwebdesigns/fastapi-dls:2.0.3"
#define LICENSE_IMAGE_MAJOR  18 /* that image serves guests of this branch and newer */
#define LICENSE_CERT_DIR     "opt/docker/fastapi-dls/cert"
#define LICENSE_COMPOSE	     "root/fastapi-dls/docker-compose.yml"
#define LICENSE_DEFAULT_PORT 8443
#define LICENSE_LEASE_DAYS   90

struct license_server {
	const char *address; /* guests reach it there */
	unsigned port;
	const char *timezone; /* "Europe/Berlin" */
	const char *image; /* "name:tag", with "@sha256:…" once it is known */
};

/* A name or address that can stand in a URL and a certificate: no blanks, quotes or brackets; IPv6 is refused, for guests'
 * clients take "address:port". */
bool license_address_is_valid(const char *address);
bool license_timezone_is_valid(const char *timezone);
bool license_image_is_valid(const char *image);
/* NULL, or why a licence server should not take it. */
const char *license_port_objection(uint64_t port);

/* The compose file. Caller frees. 0 or -ENOMEM. */
int license_compose(const struct license_server *s, char **ret);
/* What a compose file of ours says; fields are owned by the caller (free()). -ENOENT when it is none of ours. */
struct license_compose_facts {
	char *address, *image, *timezone; /* owned */
	unsigned port;
};
int license_compose_read(struct span text, struct license_compose_facts *ret);
void license_compose_facts_done(struct license_compose_facts *f);

/* Is a socket listening on that port? `text`: proc/net/tcp or tcp6. */
bool license_port_is_taken(struct span text, unsigned port);

/* Scripts for guests: fetch a token from the server, restart the client, show its state. The Linux one is of a POSIX shell.
 * Callers free. 0 or -ENOMEM. */
int license_script_linux(const struct license_server *s, char **ret);
int license_script_windows(const struct license_server *s, char **ret);

/* What nvidia-smi -q says of licences: trimmed "key: value" lines. *ret_licensed: every product with a state is licensed.
 * *ret (may be empty) caller frees. 0 or -ENOMEM. */
int license_smi_lines(struct span text, char **ret, bool *ret_licensed);
