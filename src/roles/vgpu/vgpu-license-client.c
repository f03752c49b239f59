/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-license-client.h"

#include "digest.h"
#include "fd.h"
#include "path.h"
#include "strbuf.h"
#include "tlskeys.h"
#include "vgpu-license-keys.h"
#include "vgpu-license-server.h"
#include "vgpu-plan.h"
#include "vgpu-text.h"
#include "vgpu-tools.h"
#include "err-vgpu.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TOKEN_MAX ((size_t)64 << 10)
#define FILE_MAX  ((size_t)1 << 20)
#define UNIT	  "nvidia-gridd.service"

void license_client_done(struct license_client *c)
{
	strv_freep(&c->notes);
}

static bool has_unit(const struct host *h)
{
	static const char *const dirs[] = { "etc/systemd/system", "usr/lib/systemd/system",
					    "lib/systemd/system" };

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		char path[64];

		(void)snprintf(path, sizeof(path), "%s/" UNIT, dirs[i]);
		if (path_exists(h->root_fd, path))
			return true;
	}
	return false;
}

static bool has_client(const struct host *h)
{
	return has_unit(h) || path_exists(h->root_fd, GRIDD_CONF) ||
	       path_exists(h->root_fd, GRIDD_CONF_TEMPLATE);
}

/* -- the token -- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Its own name when the client would find it by that, else one made of its digest. */
static int token_name(const char *path, const char *sha256, char **ret)
{
	*ret = license_token_name(base_name(path))
		   ? strdup(base_name(path))
		   : str_printf("client_configuration_token_%.16s.tok", sha256);
	return *ret ? 0 : -ENOMEM;
}

static int read_token(const char *path, uint64_t *ret_size, char sha256[SHA256_HEX_SIZE], struct err *e)
{
	_cleanup_free_ char *text = NULL;
	uint8_t digest[SHA256_SIZE];
	size_t len = 0;
	int r = read_file_at(AT_FDCWD, path, TOKEN_MAX, &text, &len);

	if (r < 0) {
		(void)err_errno(e, r, "cannot read %s", path);
		return err_object(e, "%s", path);
	}
	r = license_token_check((struct span){ text, len }, e);
	if (r < 0)
		return err_object(e, "%s", path);
	if (sha256_bytes(text, len, digest) < 0)
		return err_oom(e);
	hex_encode(digest, sizeof(digest), sha256);
	*ret_size = len;
	return 0;
}

static bool is_there(const struct host *h, const char *path, const char *sha256)
{
	char found[SHA256_HEX_SIZE];
	const char *name;
	_cleanup_close_ int dir = path_open_parent(h->root_fd, path, false, PATH_IN_ROOT, &name);

	return dir >= 0 && sha256_file_at(dir, name, found) == 0 && strcmp(found, sha256) == 0;
}

/* Readable by all, as the vendor's instructions have it. */
static int add_token(struct license_client *c, const char *dir, struct plan *p, struct err *e)
{
	_cleanup_free_ char *name = NULL, *path = NULL, *from = realpath(c->token, NULL);
	char sha256[SHA256_HEX_SIZE];
	uint64_t size = 0;
	json_t *args;
	int r = read_token(c->token, &size, sha256, e);

	if (r < 0)
		return r;
	if (!from || token_name(c->token, sha256, &name) < 0 || !(path = str_printf("%s/%s", dir, name)))
		return err_oom(e);
	if (is_there(c->en->host, path, sha256))
		return 0;
	*strrchr(from, '/') = '\0';
	args = json_pack("{s:s, s:[{s:s, s:s, s:i, s:I, s:s, s:s}]}", "base", *from ? from : "/", "entries",
			 "path", path, "type", "file", "mode", 0644, "size", (json_int_t)size, "sha256",
			 sha256, "from", base_name(c->token));
	if (!args || plan_add(p, &op_files, args, "put the licence token into /%s", dir) < 0)
		return err_oom(e);
	return vgpu_note(&c->notes,
			 "guests of this kind all take the same token; it is no secret of this machine "
			 "alone, and stays good until it is revoked") < 0
		   ? err_oom(e)
		   : 0;
}

/* -- gridd.conf -- */

static int read_conf(const struct host *h, struct text_files *files, struct err *e)
{
	int r = text_files_read(files, h, GRIDD_CONF, e);

	return r < 0 ? r : text_files_read(files, h, GRIDD_CONF_TEMPLATE, e);
}

static int add_conf(struct license_client *c, struct plan *p, struct err *e)
{
	_cleanup_(text_files_done) struct text_files files = { 0 };
	_cleanup_(text_edits_done) struct text_edits edits = { 0 };
	_cleanup_free_ char *text = NULL, *dir = NULL;
	const struct text_file *old, *from;
	struct span now = SPAN("");
	int r = read_conf(c->en->host, &files, e), feature;

	if (r < 0)
		return r;
	old = text_files_find(&files, GRIDD_CONF);
	from = old ? old : text_files_find(&files, GRIDD_CONF_TEMPLATE);
	if (from)
		now = (struct span){ from->bytes, from->len };
	feature = c->feature ? (int)c->feature->value : gridd_conf_feature(now);
	if (gridd_conf_is_legacy(now) &&
	    vgpu_note(&c->notes,
		      "/" GRIDD_CONF " names a licence server of the discontinued kind (ServerAddress): "
		      "take that line out, it keeps the token from being used") < 0)
		return err_oom(e);
	if (feature < 0)
		return 0;
	dir = c->token_dir ? str_printf("/%s", c->token_dir) : NULL;
	if ((c->token_dir && !dir) || gridd_conf_edit(now, (unsigned)feature, dir, &text) < 0 ||
	    text_edits_set(&edits, GRIDD_CONF, old, SPAN(text), "set the kind of licence in /" GRIDD_CONF) <
		0 ||
	    text_edits_to_plan(&edits, p) < 0)
		return err_oom(e);
	return 0;
}

/* -- the plan -- */

static int build(struct license_client *c, struct plan *p, struct err *e)
{
	static const char *const restart[] = { "systemctl", "restart", UNIT, NULL };
	bool unit = has_unit(c->en->host);
	size_t before;
	int r = unit ? vgpu_add_command(p, NULL, restart, VGPU_TOOL_TIMEOUT_S, true,
					"start the licence client anew")
		     : 0;

	before = p->n_ops;
	if (r < 0)
		return err_oom(e);
	if (c->token)
		r = add_token(c, c->token_dir ? c->token_dir : GRIDD_TOKEN_DIR, p, e);
	if (r >= 0)
		r = add_conf(c, p, e);
	if (r < 0)
		return r;
	if (p->n_ops == before)
		return 1;
	if (unit && vgpu_add_command(p, restart, NULL, VGPU_TOOL_TIMEOUT_S, true,
				     "start the licence client anew") < 0)
		return err_oom(e);
	return 0;
}

int license_client_plan(struct license_client *c, struct plan **ret, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL, *none = NULL;
	int r = 0;

	if (!has_client(c->en->host))
		return err_set(e, ERR_VGPU_LICENSE_CLIENT, "there is neither /" GRIDD_CONF " nor " UNIT);
	r = vgpu_plan_new(c->en, "license_client", "license this guest", &p, e);
	if (r >= 0)
		r = vgpu_plan_new(c->en, "license_client", "license this guest", &none, e);
	if (r >= 0)
		r = build(c, p, e);
	if (r < 0)
		return r;
	*ret = r > 0 ? TAKE_PTR(none) : TAKE_PTR(p);
	return 0;
}

/* -- the state of the server -- */

static int read_bytes(const struct host *h, const char *path, char **ret, size_t *ret_len)
{
	_cleanup_close_ int fd = path_open_at(h->root_fd, path, O_RDONLY, 0, PATH_IN_ROOT);

	return fd < 0 ? fd : read_fd(fd, FILE_MAX, ret, ret_len);
}

static const char *keys_word(const struct host *h)
{
	static const char *const keys[] = { LICENSE_CERT_DIR "/" LICENSE_INSTANCE_KEY,
					    LICENSE_CERT_DIR "/" LICENSE_WEB_KEY };
	const char *word = "complete";

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct stat st;

		if (path_stat(h->root_fd, keys[i], &st, PATH_IN_ROOT) < 0)
			return "missing";
		if (st.st_mode & 077)
			word = "exposed";
	}
	return word;
}

static int put_certificate(const struct host *h, const char *address, json_t *o)
{
	_cleanup_(cert_freep) struct cert *c = NULL;
	_cleanup_free_ char *text = NULL;
	char day[CERT_DAY_SIZE] = "";
	size_t len = 0;

	if (read_bytes(h, LICENSE_CERT_DIR "/" LICENSE_WEB_CERT, &text, &len) == 0)
		(void)cert_parse(text, len, &c, NULL);
	if (c)
		(void)cert_last_day(c, day);
	return json_object_set_new(o, "certificate_until", *day ? json_string(day) : json_null()) < 0 ||
		       json_object_set_new(o, "certificate_names_address",
					   json_boolean(c && cert_names_host(c, address))) < 0
		   ? -ENOMEM
		   : 0;
}

static int put_container(const struct host *h, json_t *o, struct err *e)
{
	_cleanup_(answer_done) struct answer a = { 0 };
	struct span state = SPAN("unknown");
	int r = TOOLS_ASK(h, &a, e, "docker", "inspect", "--format", "{{.State.Status}}", LICENSE_SERVICE);

	if (r < 0 && r != -ENOENT)
		return r;
	if (r >= 0)
		state = a.status == 0 ? span_trim(SPAN(a.out)) : SPAN("absent");
	return json_object_set_new(o, "container", json_stringn(state.p, state.len)) < 0 ? err_oom(e) : 0;
}

static int put_health(const struct engine *en, const struct license_compose_facts *f, bool ask, json_t *o,
		      struct err *e)
{
	_cleanup_(err_done) struct err own = ERR_INIT;
	_cleanup_free_ char *ca = NULL;
	const char *word = "unknown";
	int r;

	if (ask && en->host->is_running && !en->offline) {
		ca = str_printf("%s/" LICENSE_CERT_DIR "/" LICENSE_WEB_CERT, en->host->root);
		r = ca ? license_health(en, f->address, f->port, ca, 1, &own) : -ENOMEM;
		if (r == -ENOMEM)
			return err_oom(e);
		word = r < 0 ? "down" : "up";
	}
	return json_object_set_new(o, "health", json_string(word)) < 0 ||
		       (own.reason && json_object_set_new(o, "reason", json_string(own.reason)) < 0)
		   ? err_oom(e)
		   : 0;
}

static int server_state(struct engine *en, bool ask, json_t **ret, struct err *e)
{
	_cleanup_(license_compose_facts_done) struct license_compose_facts f = { 0 };
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int r = read_bytes(en->host, LICENSE_COMPOSE, &text, &len);

	*ret = json_null();
	if (r < 0 || (r = license_compose_read((struct span){ text, len }, &f)) < 0)
		return r == -ENOMEM ? err_oom(e) : 0;
	*ret = json_pack("{s:s, s:i, s:s, s:s, s:s}", "address", f.address, "port", (int)f.port, "image",
			 f.image, "timezone", f.timezone, "keys", keys_word(en->host));
	r = !*ret || put_certificate(en->host, f.address, *ret) < 0 ? err_oom(e) : 0;
	if (r >= 0)
		r = put_container(en->host, *ret, e);
	return r < 0 ? r : put_health(en, &f, ask, *ret, e);
}

/* -- the state of a guest -- */

static json_t *token_names(const struct host *h)
{
	static const char *const suffixes[] = { ".tok", NULL };
	_cleanup_(text_files_done) struct text_files files = { 0 };
	json_t *list = json_array();

	(void)text_files_read_dir(&files, h, GRIDD_TOKEN_DIR, suffixes, NULL);
	for (size_t i = 0; list && i < files.n; i++)
		(void)json_array_append_new(list, json_string(base_name(files.v[i].path)));
	return list;
}

static json_t *lines_of(const char *text)
{
	struct span rest = SPAN(text), line;
	json_t *list = json_array();

	while (list && span_line(&rest, &line))
		(void)json_array_append_new(list, json_stringn(line.p, line.len));
	return list;
}

static const char *feature_name(int value)
{
	for (const struct license_feature *f = license_features; f->name; f++)
		if ((int)f->value == value)
			return f->name;
	return NULL;
}

static int client_state(struct engine *en, bool ask, json_t **ret, struct err *e)
{
	_cleanup_(text_files_done) struct text_files files = { 0 };
	_cleanup_(answer_done) struct answer a = { 0 };
	_cleanup_free_ char *lines = NULL;
	const struct text_file *conf;
	struct span text = SPAN("");
	bool licensed = false, told = false;
	int r = text_files_read(&files, en->host, GRIDD_CONF, e), feature;

	*ret = json_null();
	if (r < 0 || !has_client(en->host))
		return r < 0 ? r : 0;
	conf = text_files_find(&files, GRIDD_CONF);
	if (conf)
		text = (struct span){ conf->bytes, conf->len };
	feature = gridd_conf_feature(text);
	if (ask) {
		r = TOOLS_ASK(en->host, &a, e, "nvidia-smi", "-q");
		if (r < 0 && r != -ENOENT)
			return r;
		told = r >= 0 && a.status == 0;
	}
	if (license_smi_lines(SPAN(told ? a.out : ""), &lines, &licensed) < 0)
		return err_oom(e);
	*ret = json_pack("{s:i, s:s?, s:o, s:b, s:o, s:o}", "feature_type", feature, "feature",
			 feature_name(feature), "tokens", token_names(en->host), "legacy_server",
			 (int)gridd_conf_is_legacy(text), "licensed",
			 told ? json_boolean(licensed) : json_null(), "lines", lines_of(lines));
	return *ret ? 0 : err_oom(e);
}

int license_state(struct engine *en, bool ask, json_t **ret, struct err *e)
{
	json_t *server = NULL, *client = NULL;
	int r = server_state(en, ask, &server, e);

	if (r >= 0)
		r = client_state(en, ask, &client, e);
	*ret = r < 0 ? NULL : json_pack("{s:O, s:O}", "server", server, "client", client);
	json_decref(server);
	json_decref(client);
	return r < 0 ? r : *ret ? 0 : err_oom(e);
}
