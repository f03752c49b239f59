/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside a Linux guest: the driver that goes with the host, the licence, and what came of both. */
#include "catalog.h"
#include "cmd-vgpu.h"
#include "container-pcicap.h"
#include "fd.h"
#include "gpu.h"
#include "kmods.h"
#include "log.h"
#include "parse.h"
#include "path.h"
#include "ui.h"
#include "vgpu-driver.h"
#include "vgpu-guest.h"
#include "vgpu-installer.h"
#include "vgpu-license-client.h"
#include "vgpu-ops.h"
#include "vgpu-plan.h"
#include "err-vgpu.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct client_opts {
	const char *file, *token, *server, *ca_file, *feature;
};

#define O(field) offsetof(struct client_opts, field)
static const struct opt client_options[] = {
	{ "file", 0, "FILE", "take this guest driver (…-grid.run) instead of fetching the branch's",
	  OPT_STRING, O(file), "file" },
	{ "token", 0, "FILE", "client configuration token for this guest", OPT_STRING, O(token), "file" },
	{ "server", 0, "HOST:PORT", "take the token from this licence server", OPT_STRING, O(server) },
	{ "ca-file", 0, "FILE", "certificate the server's is checked against", OPT_STRING, O(ca_file),
	  "file" },
	{ "feature", 0, "KIND", "kind of licence this guest asks for", OPT_STRING, O(feature),
	  "none vgpu vws compute" },
	{ 0 },
};
#undef O

struct client {
	struct app *app;
	const struct client_opts *o;
	struct catalog *catalog; /* owned */
	struct pcicap_list gpus; /* owned */
	const char *branch; /* borrowed; NULL = not known */
	const struct catalog_guest *row; /* the driver for it; NULL = --file alone says */
	char *loaded; /* owned; version that runs, NULL = none */
	char *path; /* owned; of the file to install, as the guest names it */
	struct driver_facts facts; /* owned */
	json_t *report; /* owned */
};

static void client_done(struct client *c)
{
	catalog_freep(&c->catalog);
	pcicap_list_done(&c->gpus);
	driver_facts_done(&c->facts);
	free(c->loaded);
	free(c->path);
	json_decref(c->report);
}

static const char *host_version(const struct client *c)
{
	return c->gpus.n && *c->gpus.v[0].host.version ? c->gpus.v[0].host.version : NULL;
}

/* The person's word, else what the virtual GPU says of its host. */
static int find_branch(struct client *c, const char *named, struct err *e)
{
	const struct catalog_driver *d;

	if (named) {
		c->branch = named;
	} else if (host_version(c)) {
		d = catalog_driver_by_version(c->catalog, host_version(c));
		c->branch = d ? d->branch : NULL;
	}
	c->row = c->branch ? catalog_guest(c->catalog, c->branch, "linux") : NULL;
	if (c->row || c->o->file)
		return 0;
	if (!named && c->gpus.n == 0)
		return err_set(e, ERR_VGPU_NO_MATCH, "there is no virtual GPU here");
	(void)err_set(e, ERR_VGPU_BRANCH, "no guest driver is known for %s %s",
		      c->branch ? "branch" : "host driver",
		      c->branch		? c->branch
		      : host_version(c) ? host_version(c)
					: "(not told)");
	return err_next(e, "name the branch, or the driver with --file");
}

static int look(struct client *c, const char *named, struct err *e)
{
	const struct host *h = c->app->engine->host;
	int r = catalog_load(NULL, &c->catalog, e);

	if (r >= 0)
		r = pcicap_list_read(h, &c->gpus, e);
	if (r >= 0 && kmod_attr(h, "nvidia", "version", &c->loaded) == -ENOMEM)
		r = err_oom(e);
	return r < 0 ? r : find_branch(c, named, e);
}

/* -- the driver's file -- */

static int fetch(struct client *c, struct err *e)
{
	_cleanup_free_ char *name =
	    guest_dir_name(c->row->branch, guest_host_version(c->catalog, c->row->branch));
	_cleanup_free_ char *below = name ? str_printf(VGPU_DIR "/guest-drivers/%s", name) : NULL;
	_cleanup_(fetch_result_done) struct fetch_result got = { 0 };
	const struct host *h = c->app->engine->host;
	_cleanup_close_ int fd = -EBADF;
	struct fetch_request how = { .proxy = c->app->engine->fetch_proxy,
				     .attempts = c->app->engine->fetch_attempts,
				     .offline = c->app->offline,
				     .dir_path = below };
	int r = below ? path_mkdirs(h->root_fd, below, 0755, PATH_IN_ROOT) : -ENOMEM;

	if (r >= 0)
		r = fd = path_open_at(h->root_fd, below, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	if (r < 0)
		return err_errno(e, r, "cannot make /%s", below ? below : VGPU_DIR);
	how.dirfd = fd;
	r = guest_fetch(c->row, &how, &got, e);
	if (r >= 0)
		r = driver_inspect_guest(fd, got.name, c->row->version, &c->facts, e);
	if (r < 0)
		return r;
	c->path = str_printf("/%s/%s", below, got.name);
	return c->path ? 0 : err_oom(e);
}

/* Below the guest's root without it, as the guest names it. */
static int take_file(struct client *c, struct err *e)
{
	char real[PATH_MAX], root[PATH_MAX];
	size_t n;
	int r = driver_inspect_guest(AT_FDCWD, c->o->file, NULL, &c->facts, e);

	if (r < 0)
		return r;
	if (!realpath(c->o->file, real) || !realpath(c->app->engine->host->root, root))
		return err_errno(e, -errno, "cannot find %s", c->o->file);
	n = strlen(root);
	c->path = strdup(n > 1 && strncmp(real, root, n) == 0 && real[n] == '/' ? real + n : real);
	return c->path ? 0 : err_oom(e);
}

static int check_age(const struct client *c, struct err *e)
{
	const char *host = host_version(c);

	if (!host || catalog_major(c->facts.version) <= catalog_major(host))
		return 0;
	return err_set(e, ERR_VGPU_DRIVER, "guest driver %s is of a newer branch than the host's %s",
		       c->facts.version, host);
}

/* -- the driver -- */

/* Cards of this architecture run with the open modules only. */
static bool needs_open(const struct client *c)
{
	_cleanup_(gpu_db_freep) struct gpu_db *db = NULL;
	_cleanup_(gpu_info_done) struct gpu_info info = { 0 };

	return c->gpus.n && gpu_db_open(NULL, &db, NULL) == 0 &&
	       gpu_db_find(db, c->gpus.v[0].device, &info, NULL) == 0 && info.architecture &&
	       strcmp(info.architecture, "Blackwell") == 0;
}

static int choose_words(const struct client *c, char ***ret, struct err *e)
{
	const struct host *h = c->app->engine->host;
	struct installer_request q = { .version = c->facts.version,
				       .has_proprietary = c->facts.has_proprietary,
				       .has_open = c->facts.has_open,
				       .needs_open = needs_open(c) };
	_cleanup_strv_ char **words = NULL;
	bool dkms = path_exists(h->root_fd, "usr/sbin/dkms");
	int r = installer_words(&q, &words, e);

	for (char **w = words; r >= 0 && *w; w++)
		if ((dkms || strcmp(*w, "--dkms") != 0) && strv_push(ret, *w) < 0)
			r = err_oom(e);
	return r;
}

static int check_nouveau(const struct client *c, struct err *e)
{
	_cleanup_(kmods_done) struct kmods loaded = { 0 };
	const struct host *h = c->app->engine->host;

	if (h->proc_fd < 0 || kmods_read(h, &loaded) < 0 || !kmods_find(&loaded, "nouveau"))
		return 0;
	(void)err_set(e, ERR_VGPU_DRIVER, "nouveau is loaded and holds the card");
	return err_next(
	    e,
	    "write \"blacklist nouveau\" into /etc/modprobe.d/nouveau.conf, make the initramfs anew, reboot");
}

static int install(struct client *c, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	_cleanup_strv_ char **words = NULL;
	int r = check_nouveau(c, e);

	if (r >= 0)
		r = c->o->file ? take_file(c, e) : fetch(c, e);
	if (r >= 0)
		r = check_age(c, e);
	if (r >= 0)
		r = choose_words(c, &words, e);
	if (r >= 0)
		r = vgpu_plan_new(c->app->engine, "guest_driver", "install the guest driver", &p, e);
	if (r >= 0 && vgpu_add_installer(p, c->path, words, c->facts.version, NULL) < 0)
		r = err_oom(e);
	if (r < 0)
		return r;
	log_info("%s", p->title);
	return plan_apply(p, &c->app->engine->state, c->app->engine->host, c->app->engine->lock_timeout_s,
			  NULL, e);
}

/* Is the driver that runs the one to be had? */
static bool have(const struct client *c)
{
	return c->loaded && c->row && strcmp(c->loaded, c->row->version) == 0;
}

static int do_driver(struct client *c, struct err *e)
{
	int r;

	if (have(c) || (c->loaded && c->o->file && strstr(c->o->file, c->loaded)))
		return 0;
	if (c->loaded)
		return err_set(e, ERR_VGPU_OTHER, "driver %s runs here, and %s is wanted", c->loaded,
			       c->row ? c->row->version : c->o->file);
	r = install(c, e);
	if (r >= 0)
		(void)kmod_attr(c->app->engine->host, "nvidia", "version", &c->loaded);
	return r < 0 ? r : 0;
}

/* -- what came of it -- */

static int tell(struct client *c, struct err *e)
{
	json_auto_t *license = NULL;
	const json_t *client;
	int r = license_state(c->app->engine, true, &license, e);
	bool well = c->loaded != NULL;

	if (r < 0)
		return r;
	client = json_object_get(license, "client");
	if (c->app->json) {
		r = out_json("vgpu-client",
			     json_pack("{s:b, s:s?, s:s?, s:s?, s:O}", "dry_run", (int)c->app->dry_run,
				       "branch", c->branch, "host_version", host_version(c), "driver_version",
				       c->loaded, "license", client ? (json_t *)client : json_null()));
		return r < 0 ? r : well || c->app->dry_run ? 0 : err_exit_status(ERR_FINDING);
	}
	out_text("host driver   %s, branch %s\nguest driver  %s\n",
		 host_version(c) ? host_version(c) : "not told", c->branch ? c->branch : "not known",
		 c->loaded ? c->loaded : "not loaded");
	if (json_is_object(client))
		out_text("licence       %s\n", json_is_true(json_object_get(client, "licensed")) ? "licensed"
					       : json_is_false(json_object_get(client, "licensed"))
						   ? "not licensed"
						   : "not known");
	return well || c->app->dry_run ? 0 : err_exit_status(ERR_FINDING);
}

static int say_plan(struct client *c, struct err *e)
{
	if (!c->app->json && !have(c))
		out_text("would install guest driver %s from %s\n", c->row ? c->row->version : "of the file",
			 c->o->file	? c->o->file
			 : *c->row->url ? c->row->url
					: "NVIDIA's licensing portal");
	return tell(c, e);
}

static int client_cmd(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	const struct client_opts *o = opts;
	_cleanup_(client_done) struct client c = { .app = app, .o = o };
	int r = app->dry_run ? 0 : vgpu_may_change(app, e);

	if (r >= 0)
		r = look(&c, argc ? argv[0] : NULL, e);
	if (r < 0)
		return r;
	if (app->dry_run)
		return say_plan(&c, e);
	r = do_driver(&c, e);
	if (r >= 0 && (o->token || o->server || o->feature))
		r = vgpu_license_guest(app, o->token, o->server, o->ca_file, o->feature, e);
	return r < 0 ? r : tell(&c, e);
}

const struct cmd cmd_vgpu_client = {
	.name = "vgpu",
	.sub = "client",
	.summary = "set up this Linux guest: driver, licence, and a look at both",
	.args = "[BRANCH]",
	.max_args = 1,
	.description = "Runs inside a virtual machine that has a vGPU. The virtual GPU tells the host's "
		       "driver, and that the branch; its "
		       "guest driver is fetched from NVIDIA's public address and checked (or named with "
		       "--file), and the vendor's installer "
		       "runs as one recorded operation, with the open kernel modules where the card needs "
		       "them. Then the token and the kind of "
		       "licence are put in place as vgpu license client does. A guest driver of a newer "
		       "branch than the host's is refused.\n\n"
		       "nvdriver vgpu undo takes all of it back. Exit status 10 when the driver does not run "
		       "afterwards.",
	.examples = "nvdriver vgpu client --token client_configuration_token_01.tok --feature vws\n"
		    "  everything a workstation needs\n",
	.options = client_options,
	.opts_size = sizeof(struct client_opts),
	.run = client_cmd,
};
