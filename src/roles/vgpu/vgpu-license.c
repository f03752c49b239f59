/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-license.h"

#include "strbuf.h"
#include "err-vgpu.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* -- gridd.conf -- */

const struct license_feature license_features[] = {
	{ "none", 0, "no licence: passthrough without vGPU features" },
	{ "vgpu", 1, "what the vGPU's type calls for" },
	{ "vws", 2, "RTX virtual workstation" },
	{ "compute", 4, "virtual compute server" },
	{ 0 },
};

const struct license_feature *license_feature_find(const char *text)
{
	for (const struct license_feature *f = license_features; f->name; f++) {
		char number[4];

		(void)snprintf(number, sizeof(number), "%u", f->value);
		if (strcmp(text, f->name) == 0 || strcmp(text, number) == 0)
			return f;
	}
	return NULL;
}

/* "Key = value" of that key; the value when it is. `commented`: behind a "#". */
static bool is_setting(struct span line, const char *key, bool commented, struct span *ret_value)
{
	size_t n = strlen(key);

	line = span_trim(line);
	if (commented) {
		if (line.len == 0 || line.p[0] != '#')
			return false;
		line = span_trim((struct span){ line.p + 1, line.len - 1 });
	}
	if (line.len < n || strncmp(line.p, key, n) != 0)
		return false;
	line = span_trim((struct span){ line.p + n, line.len - n });
	if (line.len == 0 || line.p[0] != '=')
		return false;
	if (ret_value)
		*ret_value = span_trim((struct span){ line.p + 1, line.len - 1 });
	return true;
}

struct place_of_key {
	bool is_set, has_comment;
};

static struct place_of_key find_key(struct span text, const char *key)
{
	struct place_of_key p = { 0 };
	struct span line;

	while (span_line(&text, &line)) {
		p.is_set |= is_setting(line, key, false, NULL);
		p.has_comment |= is_setting(line, key, true, NULL);
	}
	return p;
}

/* Every active line of the key gets the value, so it does not matter which of several the client would take. */
static int set_key(struct span text, const char *key, const char *value, char **ret)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(STRBUF_TEXT_MAX);
	struct place_of_key at = find_key(text, key);
	struct span rest = text, line, now;
	bool done = at.is_set;

	while (span_line(&rest, &line)) {
		const char *end = line.p + line.len;
		bool has_lf = end<text.p + text.len, crlf = line.len> 0 && end[-1] == '\r';
		const char *eol = crlf ? "\r\n" : "\n";

		if (is_setting(line, key, false, &now) && !span_eq(now, value))
			(void)strbuf_printf(&out, "%s=%s%s%s", key, value, crlf ? "\r" : "",
					    has_lf ? "\n" : "");
		else
			(void)strbuf_append(&out, line.p, line.len + has_lf);
		if (!done && is_setting(line, key, true, NULL)) {
			(void)strbuf_printf(&out, "%s%s=%s%s", has_lf ? "" : eol, key, value,
					    has_lf ? eol : "");
			done = true;
		}
	}
	if (!done)
		(void)strbuf_printf(&out, "%s%s=%s\n",
				    text.len > 0 && text.p[text.len - 1] != '\n' ? "\n" : "", key, value);
	return strbuf_steal(&out, ret);
}

int gridd_conf_edit(struct span text, unsigned feature, const char *token_dir, char **ret)
{
	_cleanup_free_ char *first = NULL;
	char value[4];
	int r;

	(void)snprintf(value, sizeof(value), "%u", feature);
	r = set_key(text, "FeatureType", value, &first);
	if (r < 0)
		return r;
	if (token_dir)
		return set_key(SPAN(first), "ClientConfigTokenPath", token_dir, ret);
	*ret = TAKE_PTR(first);
	return 0;
}

static bool last_value(struct span text, const char *key, struct span *ret)
{
	struct span line;
	bool found = false;

	while (span_line(&text, &line))
		found |= is_setting(line, key, false, ret);
	return found && ret->len > 0;
}

bool gridd_conf_is_legacy(struct span text)
{
	struct span value;

	return last_value(text, "ServerAddress", &value);
}

int gridd_conf_feature(struct span text)
{
	struct span value;
	uint64_t n;

	return last_value(text, "FeatureType", &value) && parse_u64(value, 99, &n) == 0 ? (int)n : -1;
}

/* -- tokens -- */

static int token_error(const char *what, struct err *e)
{
	return err_set(e, ERR_VGPU_LICENSE_TOKEN, "it is %s", what);
}

int license_token_check(struct span token, struct err *e)
{
	size_t dots = 0, part = 0;
	bool empty = false;

	token = span_trim(token);
	if (token.len == 0)
		return token_error("empty", e);
	if (token.p[0] == '<' || token.p[0] == '{')
		return token_error(token.p[0] == '<' ? "a web page" : "a JSON document", e);
	for (size_t i = 0; i < token.len; i++) {
		char c = token.p[i];

		if (c == '.') {
			dots++;
			empty |= part == 0;
			part = 0;
		} else if (isalnum((unsigned char)c) || c == '-' || c == '_' || c == '=') {
			part++;
		} else {
			return token_error("not of base64url parts alone", e);
		}
	}
	if (dots != 2 || empty || part == 0)
		return token_error("not of three parts", e);
	return 0;
}

bool license_token_name(const char *name)
{
	return name_is_safe(name) && fnmatch("client_configuration_token_*.tok", name, 0) == 0;
}

/* -- the server -- */

/* All of `text` among letters, digits and `more`. */
static bool is_made_of(const char *text, const char *more)
{
	size_t n = 0;

	for (; text[n]; n++)
		if (!isascii((unsigned char)text[n]) ||
		    (!isalnum((unsigned char)text[n]) && !strchr(more, text[n])))
			return false;
	return n > 0 && n <= 253;
}

bool license_address_is_valid(const char *address)
{
	return is_made_of(address, "-.") && isalnum((unsigned char)address[0]);
}

bool license_timezone_is_valid(const char *timezone)
{
	return is_made_of(timezone, "-+_/") && isalnum((unsigned char)timezone[0]) && !strstr(timezone, "//");
}

bool license_image_is_valid(const char *image)
{
	return is_made_of(image, "-._/:@") && isalnum((unsigned char)image[0]);
}

const char *license_port_objection(uint64_t port)
{
	static const struct {
		unsigned port;
		const char *whose;
	} taken[] = {
		{ 22, "it is SSH's" },
		{ 80, "web servers take it" },
		{ 443, "web servers take it" },
		{ 8006, "it is Proxmox VE's own" },
	};

	for (size_t i = 0; i < ARRAY_LEN(taken); i++)
		if (taken[i].port == port)
			return taken[i].whose;
	return port == 0 || port > UINT16_MAX ? "ports are 1 to 65535" : NULL;
}

static const char compose_head[] =
    "# Written by nvdriver vgpu license server; run it again to change this.\n";

int license_compose(const struct license_server *s, char **ret)
{
	char *text =
	    str_printf("%s"
		       "services:\n"
		       "  " LICENSE_SERVICE ":\n"
		       "    image: \"%s\"\n"
		       "    container_name: " LICENSE_SERVICE "\n"
		       "    restart: always\n"
		       "    working_dir: /app\n"
		       "    environment:\n"
		       "      TZ: \"%s\"\n"
		       "      DLS_URL: \"%s\"\n"
		       "      DLS_PORT: \"%u\"\n"
		       "      LEASE_EXPIRE_DAYS: \"%d\"\n"
		       "      DATABASE: \"sqlite:////app/database/db.sqlite\"\n"
		       "      DEBUG: \"false\"\n"
		       "      PYTHONPATH: \"/app\"\n"
		       "    ports:\n"
		       "      - \"%u:443\"\n"
		       "    security_opt:\n"
		       "      - \"seccomp:unconfined\"\n"
		       "      - \"apparmor:unconfined\"\n"
		       "    command: [\"uvicorn\", \"main:app\", \"--host\", \"0.0.0.0\", \"--port\", "
		       "\"443\", "
		       "\"--ssl-keyfile\", \"/app/cert/webserver.key\", \"--ssl-certfile\", "
		       "\"/app/cert/webserver.crt\", \"--loop\", \"asyncio\"]\n"
		       "    volumes:\n"
		       "      - \"dls-db:/app/database\"\n"
		       "      - \"/" LICENSE_CERT_DIR ":/app/cert\"\n"
		       "    healthcheck:\n"
		       "      test: [\"CMD\", \"curl\", \"--insecure\", \"--fail\", \"--silent\", "
		       "\"https://127.0.0.1:443/-/health\"]\n"
		       "      interval: 30s\n"
		       "      timeout: 5s\n"
		       "      retries: 3\n"
		       "      start_period: 20s\n"
		       "volumes:\n"
		       "  dls-db: {}\n",
		       compose_head, s->image, s->timezone, s->address, s->port, LICENSE_LEASE_DAYS, s->port);

	if (!text)
		return -ENOMEM;
	*ret = text;
	return 0;
}

void license_compose_facts_done(struct license_compose_facts *f)
{
	freep(&f->address);
	freep(&f->image);
	freep(&f->timezone);
}

/* The quoted value of a line "  KEY: "value""; false when it is another line. */
static bool yaml_value(struct span line, const char *key, struct span *ret)
{
	size_t n = strlen(key);

	line = span_trim(line);
	if (line.len < n + 4 || !span_starts(line, key) || strncmp(line.p + n, ": \"", 3) != 0 ||
	    line.p[line.len - 1] != '"')
		return false;
	*ret = (struct span){ line.p + n + 3, line.len - n - 4 };
	return true;
}

int license_compose_read(struct span text, struct license_compose_facts *ret)
{
	struct license_compose_facts f = { 0 };
	struct span line, value;
	uint64_t port = 0;

	if (!span_starts(text, compose_head))
		return -ENOENT;
	while (span_line(&text, &line)) {
		if (yaml_value(line, "DLS_PORT", &value) && parse_u64(value, UINT16_MAX, &port) == 0)
			f.port = (unsigned)port;
		if (!f.address && yaml_value(line, "DLS_URL", &value))
			f.address = span_dup(value);
		if (!f.image && yaml_value(line, "image", &value))
			f.image = span_dup(value);
		if (!f.timezone && yaml_value(line, "TZ", &value))
			f.timezone = span_dup(value);
	}
	if (f.port && f.address && f.image && f.timezone) {
		*ret = f;
		return 0;
	}
	license_compose_facts_done(&f);
	return -ENOENT;
}

/* "  0: 0100007F:1F90 00000000:0000 0A …": state 0A listens. */
bool license_port_is_taken(struct span text, unsigned port)
{
	struct span line, word;

	while (span_line(&text, &line)) {
		struct span local = SPAN_NULL;
		const char *colon;
		uint64_t n;

		for (int i = 0; i < 4 && span_word(&line, &word); i++) {
			if (i == 1)
				local = word;
			if (i != 3 || !span_eq(word, "0A") || !local.p)
				continue;
			colon = memrchr(local.p, ':', local.len);
			if (colon &&
			    parse_hex64((struct span){ colon + 1, (size_t)(local.p + local.len - colon - 1) },
					UINT16_MAX, &n) == 0 &&
			    n == port)
				return true;
		}
	}
	return false;
}

/* -- scripts for guests -- */

int license_script_linux(const struct license_server *s, char **ret)
{
	char *text = str_printf(
	    "#!/bin/sh\n"
	    "# Takes a licence token from %s:%u into this Linux guest. Run it as root; run it again when the "
	    "server's\n"
	    "# address or keys change. Another directory than the usual one may be named.\n"
	    "set -eu\n"
	    "server='%s:%u'\n"
	    "dir=${1:-/etc/nvidia/ClientConfigToken}\n"
	    "url=https://$server/-/client-token\n"
	    "token=$dir/client_configuration_token_$(date +%%d-%%m-%%Y-%%H-%%M-%%S).tok\n"
	    "mkdir -p \"$dir\"\n"
	    "trap 'rm -f \"$token.part\"' EXIT\n"
	    "# The server's certificate is its own: there is no authority to check it against.\n"
	    "if command -v curl >/dev/null; then\n"
	    "\tcurl --insecure --fail --silent --show-error --location --output \"$token.part\" \"$url\"\n"
	    "elif command -v wget >/dev/null; then\n"
	    "\twget --no-check-certificate --quiet --output-document=\"$token.part\" \"$url\"\n"
	    "else\n"
	    "\techo \"install curl or wget first\" >&2\n"
	    "\texit 1\n"
	    "fi\n"
	    "if ! grep -qE '^[A-Za-z0-9_=-]+[.][A-Za-z0-9_=-]+[.][A-Za-z0-9_=-]+$' \"$token.part\"; then\n"
	    "\techo \"what $url answered is no licence token\" >&2\n"
	    "\texit 1\n"
	    "fi\n"
	    "chmod 644 \"$token.part\"\n"
	    "mv \"$token.part\" \"$token\"\n"
	    "echo \"token: $token\"\n"
	    "if command -v systemctl >/dev/null && systemctl cat nvidia-gridd.service >/dev/null 2>&1; then\n"
	    "\tsystemctl restart nvidia-gridd.service\n"
	    "\tsleep 5\n"
	    "fi\n"
	    "if command -v nvidia-smi >/dev/null; then\n"
	    "\tnvidia-smi -q | grep -i license || echo \"nvidia-smi says nothing of a licence yet\"\n"
	    "fi\n",
	    s->address, s->port, s->address, s->port);

	if (!text)
		return -ENOMEM;
	*ret = text;
	return 0;
}

int license_script_windows(const struct license_server *s, char **ret)
{
	char *text = str_printf(
	    "# Takes a licence token from %s:%u into this Windows guest. Run it in a PowerShell with "
	    "administrator\r\n"
	    "# rights; run it again when the server's address or keys change.\r\n"
	    "$ErrorActionPreference = 'Stop'\r\n"
	    "$server = '%s:%u'\r\n"
	    "$url = \"https://$server/-/client-token\"\r\n"
	    "$dir = 'C:\\Program Files\\NVIDIA Corporation\\vGPU Licensing\\ClientConfigToken'\r\n"
	    "$name = 'client_configuration_token_' + (Get-Date -Format 'dd-MM-yyyy-HH-mm-ss') + '.tok'\r\n"
	    "$token = Join-Path $dir $name\r\n"
	    "$part = \"$token.part\"\r\n"
	    "# The server's certificate is its own: it is accepted for this process alone.\r\n"
	    "[Net.ServicePointManager]::SecurityProtocol = [Net.SecurityProtocolType]::Tls12\r\n"
	    "[Net.ServicePointManager]::ServerCertificateValidationCallback = { $true }\r\n"
	    "New-Item -ItemType Directory -Force -Path $dir | Out-Null\r\n"
	    "try {\r\n"
	    "    if ($PSVersionTable.PSVersion.Major -ge 6) {\r\n"
	    "        Invoke-WebRequest -Uri $url -OutFile $part -UseBasicParsing -SkipCertificateCheck\r\n"
	    "    } else {\r\n"
	    "        Invoke-WebRequest -Uri $url -OutFile $part -UseBasicParsing\r\n"
	    "    }\r\n"
	    "    $text = (Get-Content -Raw -Path $part).Trim()\r\n"
	    "    if ($text -notmatch '^[A-Za-z0-9_=-]+\\.[A-Za-z0-9_=-]+\\.[A-Za-z0-9_=-]+$') {\r\n"
	    "        throw \"what $url answered is no licence token\"\r\n"
	    "    }\r\n"
	    "    Move-Item -Path $part -Destination $token\r\n"
	    "} finally {\r\n"
	    "    if (Test-Path $part) { Remove-Item $part }\r\n"
	    "}\r\n"
	    "Write-Output \"token: $token\"\r\n"
	    "Restart-Service -Name NVDisplay.ContainerLocalSystem\r\n"
	    "Start-Sleep -Seconds 5\r\n"
	    "& nvidia-smi -q | Select-String -Pattern 'License'\r\n",
	    s->address, s->port, s->address, s->port);

	if (!text)
		return -ENOMEM;
	*ret = text;
	return 0;
}

/* -- a guest's state -- */

int license_smi_lines(struct span text, char **ret, bool *ret_licensed)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(STRBUF_TEXT_MAX);
	unsigned states = 0, licensed = 0;
	struct span line;

	while (span_line(&text, &line)) {
		const char *colon = memchr(line.p, ':', line.len);
		struct span key, value;

		if (!memmem(line.p, line.len, "icense", 6))
			continue;
		key = span_trim(colon ? (struct span){ line.p, (size_t)(colon - line.p) } : line);
		value = colon ? span_trim((struct span){ colon + 1, (size_t)(line.p + line.len - colon - 1) })
			      : SPAN("");
		if (span_eq(key, "License Status")) {
			states++;
			licensed += span_starts(value, "Licensed");
		}
		(void)strbuf_printf(&out, SPAN_FMT "%s" SPAN_FMT "\n", SPAN_ARG(key), value.len ? ": " : "",
				    SPAN_ARG(value));
	}
	*ret_licensed = states > 0 && states == licensed;
	if (out.len == 0 && !out.error)
		return (*ret = strdup("")) ? 0 : -ENOMEM;
	return strbuf_steal(&out, ret);
}
