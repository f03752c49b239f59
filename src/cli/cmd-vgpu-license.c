/* SPDX-License-Identifier: Apache-2.0
 *
 * vgpu license: the licences of guests, served by the vendor or by a server of one's own. */
#include "cmd-vgpu.h"

#include "fd.h"
#include "fetch.h"
#include "jutil.h"
#include "log.h"
#include "port.h"
#include "publish.h"
#include "tree.h"
#include "ui.h"
#include "vgpu-license-client.h"
#include "vgpu-license-server.h"
#include "vgpu-origins.h"
#include "vgpu-state.h"
#include "err-vgpu.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOKEN_MAX	((size_t)64 << 10)
#define PORT_TIMEOUT_S	5
#define HEALTH_ATTEMPTS 8 /* with pauses that grow, about a minute */

struct license_opts {
	struct vgpu_common common; /* answers and branch alone */
	const char *address, *timezone, *image, *to, *server, *ca_file, *token, *feature;
	uint64_t port;
	bool of_client; /* vgpu client tells what came of it */
};

#define O(field) offsetof(struct license_opts, field)
static const struct opt license_options[] = {
	{ "address", 0, "HOST", "where guests reach the server", OPT_STRING, O(address) },
	{ "port", 0, "PORT", "the server's port for guests (8443)", OPT_U64, O(port) },
	{ "timezone", 0, "ZONE", "the server's time zone, instead of this machine's", OPT_STRING,
	  O(timezone) },
	{ "image", 0, "IMAGE", "the server's container image, instead of " LICENSE_IMAGE, OPT_STRING,
	  O(image) },
	{ "branch", 0, "BRANCH", "the host's vGPU branch, instead of the one set up", OPT_STRING,
	  offsetof(struct license_opts, common.branch) },
	{ "answers", 0, "FILE", "answers to the questions, as one JSON object", OPT_STRING,
	  offsetof(struct license_opts, common.answers), "file" },
	{ "to", 0, "DIR", "put the scripts into this directory, made when absent (the current one)",
	  OPT_STRING, O(to), "dir" },
	{ "server", 0, "HOST:PORT", "the server to take a token from, to write scripts for, or to ask",
	  OPT_STRING, O(server) },
	{ "ca-file", 0, "FILE", "certificate the server's is checked against (its webserver.crt)", OPT_STRING,
	  O(ca_file), "file" },
	{ "token", 0, "FILE", "client configuration token for this guest", OPT_STRING, O(token), "file" },
	{ "feature", 0, "KIND", "kind of licence this guest asks for", OPT_STRING, O(feature),
	  "none vgpu vws compute" },
	{ 0 },
};
#undef O

/* "host:port"; caller frees. */
static int split_server(const char *text, char **ret_address, unsigned *ret_port, struct err *e)
{
	const char *colon = strrchr(text, ':');
	_cleanup_free_ char *address = colon ? strndup(text, (size_t)(colon - text)) : NULL;
	uint64_t port = 0;

	if (!address || !license_address_is_valid(address) ||
	    parse_u64(SPAN(colon + 1), UINT16_MAX, &port) < 0 || port == 0)
		return err_set(e, ERR_USAGE, "--server %s is not HOST:PORT", text);
	*ret_address = TAKE_PTR(address);
	*ret_port = (unsigned)port;
	return 0;
}

/* -- plans -- */

/* Looking needs no store, changing does. */
static int need_store(struct app *app, struct err *e)
{
	struct engine *old = app->engine, *en = NULL;
	int r;

	if (old->store || app->dry_run)
		return 0;
	r = engine_open(app->root, app->store_path, ENGINE_STORE_CREATE, &en, e);
	if (r < 0)
		return r;
	en->offline = old->offline;
	en->lock_timeout_s = old->lock_timeout_s;
	en->fetch_proxy = old->fetch_proxy;
	en->fetch_attempts = old->fetch_attempts;
	engine_freep(&app->engine);
	app->engine = en;
	return 0;
}

/* Shows the plan or carries it out; what was done goes to the report's "groups". 1 = something was (or would be) changed. */
static int run_plan(struct app *app, struct plan *p, const char *name, json_t *report, struct err *e)
{
	_cleanup_free_ char *txid = NULL;
	int r;

	if (app->dry_run || p->n_ops == 0)
		return vgpu_show_plan(app, name, p, report, e);
	log_info("%s", p->title);
	r = plan_apply(p, &app->engine->state, app->engine->host, app->engine->lock_timeout_s, &txid, e);
	if (r <= 0)
		return r < 0 ? err_wrap(e, "%s", p->title) : 0;
	for (size_t i = 0; !app->json && i < p->n_ops; i++)
		if (strncmp(p->ops[i].sentence, "(when", 5) != 0)
			out_text("%s\n", p->ops[i].sentence);
	return json_array_append_new(json_object_get(report, "groups"),
				     json_pack("{s:s, s:s}", "name", name, "deployment", txid)) < 0
		   ? err_oom(e)
		   : 1;
}

static int print_end(struct app *app, const char *schema, json_t *report, char *const *notes, int changed)
{
	if (app->json)
		return out_json(schema, json_incref(report));
	if (!changed)
		out_text("nothing to do\n");
	for (; notes && *notes; notes++)
		out_text("note: %s\n", *notes);
	return 0;
}

/* -- server -- */

static int print_origins(struct app *app, const struct license_setup *s)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(STRBUF_TEXT_MAX);
	unsigned bits = ORIGIN_LICENSE_SERVER | ORIGIN_DOCKER;

	if (!s->branch || strtoul(s->branch, NULL, 10) >= LICENSE_IMAGE_MAJOR)
		bits |= ORIGIN_LICENSE_PATCHER;
	if (app->json)
		return 0;
	if (origins_notice(bits, &b) < 0)
		return -ENOMEM;
	out_text("%s", strbuf_str(&b));
	return 0;
}

/* The container is started; its first answer may take a while. */
static int wait_for_health(struct app *app, const struct license_setup *s, json_t *report, struct err *e)
{
	_cleanup_free_ char *ca = str_printf("%s/" LICENSE_CERT_DIR "/webserver.crt", app->root);
	int r;

	if (!app->engine->host->is_running || app->offline || app->dry_run)
		return 0;
	if (!ca)
		return err_oom(e);
	r = license_health(app->engine, s->address, s->port, ca, HEALTH_ATTEMPTS, e);
	if (r < 0)
		return r;
	return json_object_set_new(report, "health", json_string("up")) < 0 ? err_oom(e) : 0;
}

static int run_groups(struct app *app, struct license_setup *s, json_t *report, struct err *e)
{
	int r = 0, changed = 0;

	for (const struct license_group *g = license_groups; r >= 0 && g->name; g++) {
		_cleanup_(plan_freep) struct plan *p = NULL;

		r = license_plan(s, g, &p, e);
		if (r >= 0)
			r = run_plan(app, p, g->name, report, e);
		changed |= r > 0;
	}
	if (r >= 0)
		r = wait_for_health(app, s, report, e);
	if (r < 0)
		return r;
	if (json_object_set_new(report, "notes", jstrv(s->notes)) < 0)
		return err_oom(e);
	r = print_end(app, "vgpu-license-server", report, s->notes, changed);
	if (r >= 0 && !app->json)
		out_text("guests get their tokens with the scripts in /var/lib/nvdriver/vgpu/licenses\n"
			 "health: https://%s:%u/-/health\n",
			 s->address, s->port);
	return r;
}

static int set_up(struct app *app, struct license_setup *s, struct err *e)
{
	json_auto_t *report = NULL;
	int r = print_origins(app, s) < 0 ? err_oom(e) : 0;

	if (r >= 0)
		r = license_setup_decide(s, e);
	if (r < 0)
		return r;
	report = json_pack("{s:b, s:s, s:i, s:s, s:s, s:[], s:o}", "dry_run", (int)app->dry_run, "address",
			   s->address, "port", (int)s->port, "image", s->image, "timezone", s->timezone,
			   "groups", "origins", origins_json(ORIGIN_LICENSE_SERVER | ORIGIN_DOCKER));
	return report ? run_groups(app, s, report, e) : err_oom(e);
}

static int action_server(struct app *app, const struct license_opts *o, struct err *e)
{
	_cleanup_(vgpu_asker_done) struct asker asker = { 0 };
	_cleanup_(vgpu_state_done) struct vgpu_state st = { .lock = LOCK_INIT };
	_cleanup_(license_setup_done) struct license_setup s = { .en = app->engine,
								 .ask = &asker,
								 .address_wanted = o->address,
								 .timezone_wanted = o->timezone,
								 .image_wanted = o->image,
								 .port_wanted = o->port,
								 .branch = o->common.branch,
								 .dry_run = app->dry_run };
	int r = app->dry_run ? 0 : vgpu_may_change(app, e);

	if (r >= 0)
		r = need_store(app, e);
	s.en = app->engine;
	if (r >= 0)
		r = vgpu_asker_open(app, &o->common, &asker, e);
	if (r >= 0)
		r = vgpu_state_open(app->engine, false, &st, e);
	if (r >= 0 && !s.branch)
		s.branch = vgpu_state_get(&st, "BRANCH");
	return r < 0 ? r : set_up(app, &s, e);
}

/* -- scripts -- */

static int write_script(int dirfd, const char *name, const char *text, mode_t mode, char **ret_backup)
{
	_cleanup_free_ char *old = NULL;
	size_t len = 0;
	int r = read_file_at(dirfd, name, STRBUF_TEXT_MAX, &old, &len);

	if (r >= 0 && len == strlen(text) && memcmp(old, text, len) == 0)
		return 0;
	if (r >= 0)
		r = publish_keep(dirfd, name, ret_backup);
	else if (r == -ENOENT)
		r = 0;
	return r < 0 ? r : publish_bytes(dirfd, name, text, strlen(text), mode);
}

static int write_scripts(struct app *app, const struct license_server *s, const char *to, struct err *e)
{
	_cleanup_free_ char *linux_text = NULL, *windows_text = NULL;
	_cleanup_close_ int fd = -EBADF;
	json_t *files = json_array();
	int r;

	if (license_script_linux(s, &linux_text) < 0 || license_script_windows(s, &windows_text) < 0 ||
	    !files)
		return err_oom(e);
	if (!app->dry_run && mkdir(to, 0755) < 0 && errno != EEXIST)
		return err_errno(e, -errno, "cannot make the directory %s", to);
	fd = app->dry_run ? -EBADF : open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!app->dry_run && fd < 0)
		return err_errno(e, -errno, "cannot open the directory %s", to);
	for (int i = 0; i < 2; i++) {
		const char *name = i ? LICENSE_SCRIPT_WINDOWS : LICENSE_SCRIPT_LINUX;
		_cleanup_free_ char *backup = NULL;

		r = app->dry_run
			? 0
			: write_script(fd, name, i ? windows_text : linux_text, i ? 0644 : 0755, &backup);
		if (r < 0) {
			json_decref(files);
			return err_errno(e, r, "writing %s/%s", to, name);
		}
		(void)json_array_append_new(files, json_sprintf("%s/%s", to, name));
		if (!app->json)
			out_text("%s%s/%s\n", app->dry_run ? "would write " : "", to, name);
		if (backup && !app->json)
			out_text("kept the one that was there as %s\n", backup);
	}
	if (app->json)
		return out_json("vgpu-license-scripts",
				json_pack("{s:b, s:o}", "dry_run", (int)app->dry_run, "files", files));
	json_decref(files);
	return 0;
}

static int action_scripts(struct app *app, const struct license_opts *o, struct err *e)
{
	_cleanup_free_ char *address = NULL;
	struct license_server s = { .timezone = "UTC", .image = LICENSE_IMAGE };
	int r = o->server ? split_server(o->server, &address, &s.port, e)
			  : err_set(e, ERR_USAGE, "name the server with --server HOST:PORT");

	if (r < 0)
		return r;
	s.address = address;
	return write_scripts(app, &s, o->to ? o->to : ".", e);
}

/* -- client -- */

/* A directory of our own for a token that was fetched: the plan takes it from there. */
struct token_dir {
	char path[64];
};

static void token_dir_done(struct token_dir *d)
{
	if (d->path[0])
		(void)tree_remove(AT_FDCWD, d->path);
}

static int save_token(struct token_dir *d, const char *text, size_t len, char **ret_path, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	int r;

	(void)snprintf(d->path, sizeof(d->path), "/tmp/nvdriver-token-XXXXXX");
	if (!mkdtemp(d->path)) {
		d->path[0] = '\0';
		return err_errno(e, -errno, "making a directory for the token");
	}
	fd = dir_open_at(AT_FDCWD, d->path);
	r = fd < 0 ? fd : publish_bytes(fd, "token", text, len, 0600);
	if (r < 0)
		return err_errno(e, r, "keeping the token");
	*ret_path = str_printf("%s/token", d->path);
	return *ret_path ? 0 : err_oom(e);
}

static int fetch_token(struct app *app, const struct license_opts *o, struct token_dir *d, char **ret_path,
		       struct err *e)
{
	_cleanup_free_ char *address = NULL, *url = NULL, *text = NULL;
	struct fetch_request q = FETCH_REQUEST_INIT;
	unsigned port = 0;
	size_t len = 0;
	int r = split_server(o->server, &address, &port, e);

	if (r < 0)
		return r;
	url = str_printf("https://%s:%u/-/client-token", address, port);
	if (!url)
		return err_oom(e);
	q.url = url;
	q.ca_file = o->ca_file;
	q.offline = app->offline;
	q.proxy = "";
	q.attempts = 3;
	r = fetch_text(&q, TOKEN_MAX, &text, &len, e);
	if (r >= 0)
		r = license_token_check((struct span){ text, len }, e);
	if (r < 0)
		return err_wrap(e, "%s", url);
	return save_token(d, text, len, ret_path, e);
}

static int license_guest(struct app *app, const struct license_opts *o, struct license_client *c,
			 struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	json_auto_t *report = json_pack("{s:b, s:[]}", "dry_run", (int)app->dry_run, "groups");
	int r = report ? license_client_plan(c, &p, e) : err_oom(e), changed;

	if (r < 0)
		return r;
	changed = run_plan(app, p, "license_client", report, e);
	if (changed < 0)
		return changed;
	if (json_object_set_new(report, "notes", jstrv(c->notes)) < 0)
		return err_oom(e);
	if (o->of_client && app->json)
		return 0;
	return print_end(app, "vgpu-license-client", report, c->notes, changed);
}

static int action_client(struct app *app, const struct license_opts *o, struct err *e)
{
	_cleanup_(token_dir_done) struct token_dir dir = { "" };
	_cleanup_free_ char *fetched = NULL;
	_cleanup_(license_client_done) struct license_client c = { .token = o->token };
	int r = need_store(app, e);

	c.en = app->engine;
	if (r < 0)
		return r;

	if (!o->token && !o->server && !o->feature)
		return err_set(e, ERR_USAGE,
			       "name a token (--token or --server), a kind of licence (--feature), or both");
	if (o->feature && !(c.feature = license_feature_find(o->feature)))
		return err_set(e, ERR_USAGE, "--feature is none, vgpu, vws or compute, not %s", o->feature);
	if (!app->dry_run && app->engine->host->is_running && geteuid() != 0)
		return err_set(e, ERR_VGPU_NOT_ROOT, "only root can change this machine");
	if (!o->token && o->server && !app->dry_run) {
		r = fetch_token(app, o, &dir, &fetched, e);
		c.token = fetched;
	}
	return r < 0 ? r : license_guest(app, o, &c, e);
}

int vgpu_license_guest(struct app *app, const char *token, const char *server, const char *ca_file,
		       const char *feature, struct err *e)
{
	return action_client(
	    app,
	    &(struct license_opts){
		.token = token, .server = server, .ca_file = ca_file, .feature = feature, .of_client = true },
	    e);
}

/* -- status -- */

static void print_server(const json_t *s)
{
	if (!json_is_object(s)) {
		out_text("server        none of ours on this machine\n");
		return;
	}
	out_text("server        https://%s:%lld, container %s, health %s\n", ui_str(s, "address", "?"),
		 (long long)json_integer_value(json_object_get(s, "port")), ui_str(s, "container", "?"),
		 ui_str(s, "health", "?"));
	out_text("image         %s\nkeys          %s, certificate until %s%s\n", ui_str(s, "image", "?"),
		 ui_str(s, "keys", "?"), ui_str(s, "certificate_until", "?"),
		 json_is_true(json_object_get(s, "certificate_names_address")) ? ""
									       : ", for another address");
}

static void print_client(const json_t *c)
{
	const json_t *item;
	size_t i;

	if (!json_is_object(c)) {
		out_text("client        no guest driver on this machine\n");
		return;
	}
	out_text("client        %s, asks for %s\n",
		 json_is_true(json_object_get(c, "licensed"))	 ? "licensed"
		 : json_is_false(json_object_get(c, "licensed")) ? "not licensed"
								 : "licence not known",
		 ui_str(c, "feature", "nothing in particular"));
	json_array_foreach (json_object_get(c, "tokens"), i, item)
		out_text("token         %s\n", json_string_value(item));
	json_array_foreach (json_object_get(c, "lines"), i, item)
		out_text("  %s\n", json_string_value(item));
}

/* What the vendor's appliance has guests and administrators come in by. */
static const unsigned appliance_ports[] = { 443, 80, 8081, 8082 };

/* A name without a port is an appliance: does it take connections? */
static int ask_appliance(struct app *app, const struct license_opts *o, struct err *e)
{
	json_auto_t *ports = json_array();
	bool up = true;

	if (!ports)
		return err_oom(e);
	for (size_t i = 0; i < (o->port ? 1 : ARRAY_LEN(appliance_ports)); i++) {
		unsigned port = o->port ? (unsigned)o->port : appliance_ports[i];
		int r = port_is_open(o->server, port, PORT_TIMEOUT_S, app->offline, e);

		if (r < 0)
			return r;
		up &= r > 0;
		if (json_array_append_new(ports, json_pack("{s:i, s:b}", "port", (int)port, "open", r)) < 0)
			return err_oom(e);
		if (!app->json)
			out_text("%s:%u %s\n", o->server, port, r ? "takes connections" : "does not answer");
	}
	if (app->json &&
	    out_json("vgpu-license-health", json_pack("{s:s, s:s, s:O}", "server", o->server, "health",
						      up ? "up" : "down", "ports", ports)) < 0)
		return err_oom(e);
	return up ? 0 : err_exit_status(ERR_FINDING);
}

static int ask_server(struct app *app, const struct license_opts *o, struct err *e)
{
	_cleanup_free_ char *address = NULL;
	unsigned port = 0;
	int r = split_server(o->server, &address, &port, e);

	if (r >= 0)
		r = license_health(app->engine, address, port, o->ca_file, 1, e);
	if (r < 0)
		return r;
	if (app->json)
		return out_json("vgpu-license-health",
				json_pack("{s:s, s:s}", "server", o->server, "health", "up"));
	out_text("%s is up\n", o->server);
	return 0;
}

static int action_status(struct app *app, const struct license_opts *o, struct err *e)
{
	json_t *state = NULL;
	int r;

	if (o->server)
		return strchr(o->server, ':') ? ask_server(app, o, e) : ask_appliance(app, o, e);
	r = license_state(app->engine, true, &state, e);
	if (r < 0)
		return r;
	if (app->json)
		return out_json("vgpu-license", state);
	print_server(json_object_get(state, "server"));
	print_client(json_object_get(state, "client"));
	json_decref(state);
	return 0;
}

static const struct action {
	const char *name;
	int (*run)(struct app *app, const struct license_opts *o, struct err *e);
} actions[] = {
	{ "status", action_status },
	{ "server", action_server },
	{ "scripts", action_scripts },
	{ "client", action_client },
};

static int license_cmd(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	const char *name = argc ? argv[0] : "status";

	for (size_t i = 0; i < ARRAY_LEN(actions); i++)
		if (strcmp(name, actions[i].name) == 0)
			return actions[i].run(app, opts, e);
	return err_set(e, ERR_USAGE, "vgpu license does status, server, scripts or client, not '%s'", name);
}

/* -- the menu's question -- */

#define VENDOR_TEXT                                                                                          \
	"NVIDIA's own service: make a client configuration token in the licensing portal (cloud) or on a "   \
	"licence\n"                                                                                          \
	"appliance of your own, which runs in a virtual machine, and in each Linux guest run\n"              \
	"  nvdriver vgpu license client --token client_configuration_token_....tok --feature vgpu\n"         \
	"In Windows guests the token goes to C:\\Program Files\\NVIDIA Corporation\\vGPU Licensing\\"        \
	"ClientConfigToken,\n"                                                                               \
	"then restart the service NVDisplay.ContainerLocalSystem. The host itself needs no licence.\n"

/* "vendor" or "server"; another word is asked for again, three times in all. */
static int ask_kind(const struct asker *ask, bool *ret_server, struct err *e)
{
	for (int tries = 1;; tries++) {
		_cleanup_free_ char *kind = NULL;

		if (ask_text(ask, "license_kind", "vendor", &kind,
			     "Licences from NVIDIA's own service (vendor), or from a server on this machine "
			     "(server)? "
			     "[vendor] ") < 0)
			return err_oom(e);
		*ret_server = strcmp(kind, "server") == 0;
		if (*ret_server || strcmp(kind, "vendor") == 0)
			return 0;
		if (!ask->prompt || tries == 3)
			return err_set(e, ERR_USAGE, "the answer is vendor or server, not %s", kind);
	}
}

int vgpu_license_menu(struct app *app, const struct vgpu_common *o, struct err *e)
{
	struct license_opts own = { .common = *o };
	_cleanup_(vgpu_asker_done) struct asker asker = { 0 };
	bool server = false;
	int r = vgpu_asker_open(app, o, &asker, e);

	if (r >= 0)
		r = ask_kind(&asker, &server, e);
	if (r < 0)
		return r;
	if (server)
		return action_server(app, &own, e);
	out_text("%s", VENDOR_TEXT);
	return 0;
}

const struct cmd cmd_vgpu_license = {
	.name = "vgpu",
	.sub = "license",
	.summary = "license guests: a server, scripts for guests, a guest's client",
	.args = "[status|server|scripts|client]",
	.max_args = 1,
	.description =
	    "status (or nothing) shows this machine's licence server and, inside a guest, its token and what "
	    "nvidia-smi says; with --server HOST:PORT it asks that server for its health, with --server HOST "
	    "(a licence "
	    "appliance of NVIDIA's) whether the ports guests need take connections.\n\n"
	    "server sets up FastAPI-DLS in a container, as recorded deployments that vgpu undo takes back. "
	    "Key "
	    "files are made only where they are missing and stay on removal unless their question is "
	    "answered, "
	    "for guests' tokens are signed with them. Whose work that server is, is shown first. A virtual "
	    "machine "
	    "or container of its own is a better place for it than the host.\n\n"
	    "scripts writes the programs with which guests fetch a token from such a server.\n\n"
	    "client, inside a Linux guest, puts a token (--token, or from --server) into "
	    "/etc/nvidia/ClientConfigToken and the kind of licence into gridd.conf, whose other lines stay "
	    "byte for "
	    "byte, and restarts the client. This is NVIDIA's own way with tokens of their service or "
	    "appliance. "
	    "vgpu undo takes it back.",
	.examples = "nvdriver vgpu license client --token client_configuration_token_01.tok --feature vgpu\n"
		    "  in a guest, with a token of NVIDIA's service\n"
		    "nvdriver vgpu license server --address 192.0.2.10 --dry-run\n"
		    "  what setting up an own server would do\n",
	.options = license_options,
	.opts_size = sizeof(struct license_opts),
	.flags = CMD_STORE_READ,
	.run = license_cmd,
};
