/* SPDX-License-Identifier: Apache-2.0
 *
 * vgpu guest: drivers for guests, listed and fetched. */
#include "catalog.h"
#include "cmd-vgpu.h"
#include "log.h"
#include "path.h"
#include "vgpu-guest.h"
#include "vgpu-plan.h"
#include "err-vgpu.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct guest_opts {
	const char *os, *to, *proxy, *ca_file;
	uint64_t attempts;
};

#define O(field) offsetof(struct guest_opts, field)
static const struct opt guest_options[] = {
	{ "os", 0, "SYSTEM", "only linux or windows", OPT_STRING, O(os), "linux windows" },
	{ "to", 0, "DIR", "fetch the drivers into guest-drivers/ below this directory", OPT_STRING, O(to),
	  "dir" },
	{ "attempts", 0, "N", "rounds before giving up (4)", OPT_U64, O(attempts) },
	{ "proxy", 0, "URL", "use this proxy instead of the one the environment names", OPT_STRING,
	  O(proxy) },
	{ "ca-file", 0, "FILE", "trust these authorities for https instead of the system's", OPT_STRING,
	  O(ca_file), "file" },
	{ 0 },
};
#undef O

static bool guest_belongs(const struct catalog_guest *g, const char *branch, const char *os)
{
	return (!branch || strcmp(g->branch, branch) == 0) && (!os || strcmp(g->os, os) == 0);
}

/* The branch asked for; one without rows of its own by its host driver, which several branches may share. */
static const char *guest_branch(const struct catalog *c, const char *asked)
{
	const struct catalog_driver *d = catalog_driver(c, asked);

	if (catalog_guest(c, asked, "linux") || catalog_guest(c, asked, "windows") || !d)
		return asked;
	return catalog_driver_by_version(c, d->version)->branch;
}

static int no_such_branch(const char *branch, struct err *e)
{
	(void)err_set(e, ERR_VGPU_BRANCH, "no guest driver of branch %s is known", branch);
	return err_object(e, "%s", branch);
}

/* -- listing -- */

static int list_guests(struct app *app, const struct catalog *c, const char *branch, const char *os,
		       struct err *e)
{
	json_t *list = json_array();
	size_t found = 0;
	int r = list ? 0 : err_oom(e);

	for (size_t i = 0; r == 0 && i < c->n_guests; i++) {
		const struct catalog_guest *g = &c->guests[i];

		if (!guest_belongs(g, branch, os))
			continue;
		found++;
		if (app->json)
			r = json_array_append_new(list, vgpu_guest_json(g)) < 0 ? err_oom(e) : 0;
		else
			out_text("%-6s %-8s %-12s %s\n", g->branch, g->os, g->version,
				 *g->url ? g->url : "no public address: NVIDIA's licensing portal");
	}
	if (r == 0 && found == 0)
		r = no_such_branch(branch ? branch : "", e);
	if (r < 0 || !app->json) {
		json_decref(list);
		return r;
	}
	return out_json("vgpu-guest", json_pack("{s:o}", "guests", list));
}

/* -- fetching -- */

struct guests {
	struct app *app;
	const struct catalog *catalog;
	const char *branch, *os;
	const struct asker *ask; /* NULL = nothing is asked */
	struct fetch_request how;
	json_t *list; /* owned; what became of each */
	int status; /* of the first that failed; 0 = none */
};

static int keep_failure(struct guests *s, json_t *row, const struct err *e)
{
	log_warn("%s: %s", json_string_value(json_object_get(row, "os")), e->reason ? e->reason : "failed");
	s->status = s->status ? s->status : err_exit_status(e->code);
	return json_object_set_new(row, "error", json_string(err_slug(e->code)));
}

static int keep_result(struct guests *s, json_t *row, const struct fetch_result *got)
{
	_cleanup_free_ char *path = str_printf("%s/%s", s->how.dir_path, got->name);

	if (!path)
		return -ENOMEM;
	if (!s->app->json)
		out_text("%s%s %s\n", s->app->dry_run ? "would: " : "", fetch_action_name(got->action), path);
	return json_object_set_new(row, "action", json_string(fetch_action_name(got->action))) < 0 ||
		       json_object_set_new(row, "path", json_string(path)) < 0 ||
		       (!s->app->dry_run && json_object_set_new(row, "sha256", json_string(got->sha256)) < 0)
		   ? -ENOMEM
		   : 0;
}

/* One that fails does not keep the other from coming. */
static int fetch_one(struct guests *s, const struct catalog_guest *g, struct err *e)
{
	_cleanup_(fetch_result_done) struct fetch_result got = { 0 };
	_cleanup_(err_done) struct err own = ERR_INIT;
	json_t *row = vgpu_guest_json(g);
	char key[32];
	int r = 1;

	(void)snprintf(key, sizeof(key), "guest_%s", g->os);
	if (s->ask && *g->url)
		r = ask_yes(s->ask, key, true, "Download the %s guest driver %s? ", g->os, g->version);
	if (r <= 0) {
		json_decref(row);
		return r < 0 ? err_oom(e) : 0;
	}
	r = !row ? -ENOMEM : guest_fetch(g, &s->how, &got, &own);
	if (r >= 0)
		r = keep_result(s, row, &got);
	else if (r != -ENOMEM)
		r = keep_failure(s, row, &own);
	return r < 0 || json_array_append_new(s->list, row) < 0 ? err_oom(e) : 0;
}

static void print_guidance(const struct guests *s)
{
	const struct catalog_release *r = catalog_release(s->catalog, s->branch);

	if (r && (*r->guest_linux || *r->guest_windows))
		out_text("guests of branch %s: linux %s, windows %s\n", s->branch,
			 *r->guest_linux ? r->guest_linux : "-", *r->guest_windows ? r->guest_windows : "-");
	out_text("A guest's driver is of the host's branch, and never of a newer major one. NVIDIA's "
		 "licensing portal\n"
		 "has them all.\n");
}

static int fetch_all(struct guests *s, struct err *e)
{
	size_t found = 0;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < s->catalog->n_guests; i++)
		if (guest_belongs(&s->catalog->guests[i], s->branch, s->os)) {
			found++;
			r = fetch_one(s, &s->catalog->guests[i], e);
		}
	if (r >= 0 && found == 0)
		r = no_such_branch(s->branch, e);
	if (r < 0)
		return r;
	if (s->app->json)
		r = out_json("vgpu-guest",
			     json_pack("{s:b, s:s, s:s, s:O}", "dry_run", (int)s->app->dry_run, "branch",
				       s->branch, "host_version", guest_host_version(s->catalog, s->branch),
				       "guests", s->list));
	else
		print_guidance(s);
	return r < 0 ? r : s->status;
}

/* The branch's own directory below `to`; without anything in it, it is not left there. */
static int fetch_guests(struct guests *s, const char *to, struct err *e)
{
	_cleanup_free_ char *name = guest_dir_name(s->branch, guest_host_version(s->catalog, s->branch));
	_cleanup_free_ char *below = name ? str_printf("guest-drivers/%s", name) : NULL;
	_cleanup_free_ char *path = below ? str_printf("%s/%s", to, below) : NULL;
	_cleanup_close_ int top = -EBADF, fd = -EBADF;
	int r;

	if (!path)
		return err_oom(e);
	s->list = json_array();
	r = s->list ? 0 : err_oom(e);
	if (r >= 0 && !s->app->dry_run) {
		top = mkdir(to, 0755) < 0 && errno != EEXIST ? -1
							     : open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = top < 0 ? -errno : path_mkdirs(top, below, 0755, PATH_IN_ROOT);
		if (r >= 0)
			r = fd = path_open_at(top, below, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
		r = r < 0 ? err_errno(e, r, "cannot make the directory %s", path) : 0;
	} else if (r >= 0) {
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		fd = fd < 0 ? open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : fd;
	}
	s->how.dirfd = fd;
	s->how.dir_path = path;
	if (r >= 0)
		r = fetch_all(s, e);
	if (top >= 0) {
		(void)unlinkat(top, below, AT_REMOVEDIR);
		(void)unlinkat(top, "guest-drivers", AT_REMOVEDIR);
	}
	json_decref(s->list);
	return r;
}

static int guest_cmd(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	const struct guest_opts *o = opts;
	_cleanup_(catalog_freep) struct catalog *c = NULL;
	const char *branch = NULL;
	int r = catalog_load(NULL, &c, e);

	if (r < 0)
		return r;
	if (argc > 0)
		branch = guest_branch(c, argv[0]);
	if (!o->to)
		return list_guests(app, c, branch, o->os, e);
	if (!branch)
		return err_set(e, ERR_USAGE, "name the branch whose guest drivers are to be fetched");
	return fetch_guests(&(struct guests){ .app = app,
					      .catalog = c,
					      .branch = branch,
					      .os = o->os,
					      .how = { .proxy = o->proxy,
						       .ca_file = o->ca_file,
						       .attempts = (unsigned)o->attempts,
						       .offline = app->offline,
						       .dry_run = app->dry_run } },
			    o->to, e);
}

int vgpu_guest_menu(struct app *app, const struct vgpu_common *o, struct err *e)
{
	_cleanup_(vgpu_asker_done) struct asker asker = { 0 };
	_cleanup_(catalog_freep) struct catalog *c = NULL;
	_cleanup_free_ char *to = NULL, *branch = NULL;
	int r = vgpu_asker_open(app, o, &asker, e);

	if (r >= 0)
		r = catalog_load(NULL, &c, e);
	if (r >= 0)
		r = list_guests(app, c, NULL, NULL, e);
	if (r < 0)
		return r;
	r = vgpu_downloads(app, &to, e);
	if (r < 0)
		return r;
	if (ask_text(&asker, "branch", o->branch ? o->branch : "", &branch,
		     "Guest drivers of which branch? ") < 0)
		return err_oom(e);
	return fetch_guests(&(struct guests){ .app = app,
					      .catalog = c,
					      .branch = guest_branch(c, branch),
					      .ask = &asker,
					      .how = { .proxy = app->engine->fetch_proxy,
						       .attempts = app->engine->fetch_attempts,
						       .offline = app->offline,
						       .dry_run = app->dry_run } },
			    to, e);
}

const struct cmd cmd_vgpu_guest = {
	.name = "vgpu",
	.sub = "guest",
	.summary = "list or fetch guest drivers of a vGPU branch",
	.args = "[BRANCH]",
	.max_args = 1,
	.description =
	    "Lists the drivers for guests with their public addresses. A guest's driver is of the same "
	    "branch as the "
	    "host's, never of a newer major one.\n\n"
	    "With --to they are fetched into DIR/guest-drivers/<branch>_<host driver>/: a run file has to be "
	    "of the "
	    "table's version and its own sums have to hold, a Windows driver has to be a program, and both "
	    "are held to "
	    "the digest they first came with. One that cannot be had does not keep the other from coming.",
	.examples =
	    "nvdriver vgpu guest 17.5 --to /srv/vgpu --os linux\n  the Linux guests' driver of branch 17.5\n",
	.options = guest_options,
	.opts_size = sizeof(struct guest_opts),
	.flags = CMD_NO_ENGINE,
	.run = guest_cmd,
};
