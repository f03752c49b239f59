/* SPDX-License-Identifier: Apache-2.0
 *
 * vgpu fetch and vgpu patch: the host driver as a file, and its unlocked copy. */
#include "catalog.h"
#include "cmd-vgpu.h"
#include "vgpu-choice.h"
#include "vgpu-plan.h"
#include "vgpu-driver.h"
#include "vgpu-installer.h"
#include "vgpu-listing.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* -- fetch -- */

struct fetch_opts {
	const char *url, *file, *to, *sha256, *proxy, *ca_file, *listing;
	uint64_t attempts;
	unsigned stall_s;
	bool accept_md5, custom;
};

#define O(field) offsetof(struct fetch_opts, field)
static const struct opt fetch_options[] = {
	{ "url", 0, "URL", "take the driver from this address: a .run file, or a .zip archive that holds one",
	  OPT_STRING, O(url) },
	{ "file", 0, "FILE", "take this .run file, or this .zip archive as the licensing portal gives it",
	  OPT_STRING, O(file), "file" },
	{ "to", 0, "DIR", "put files into this directory, made when absent (the current one)", OPT_STRING,
	  O(to), "dir" },
	{ "sha256", 0, "HEX", "the digest the named or fetched file must have", OPT_STRING, O(sha256) },
	{ "accept-md5", 0, NULL, "take a file although its MD5 is not the register's", OPT_FLAG,
	  O(accept_md5) },
	{ "listing", 0, "URL", "ask this mirror for branches whose address is looked up (" LISTING_BASE ")",
	  OPT_STRING, O(listing) },
	{ "custom", 0, NULL, "of such a branch prefer a copy somebody unlocked already", OPT_FLAG,
	  O(custom) },
	{ "attempts", 0, "N", "rounds before giving up (4)", OPT_U64, O(attempts) },
	{ "stall", 0, "DURATION", "give a transfer up when nothing came for so long (60s)", OPT_DURATION,
	  O(stall_s) },
	{ "proxy", 0, "URL", "use this proxy instead of the one the environment names", OPT_STRING,
	  O(proxy) },
	{ "ca-file", 0, "FILE", "trust these authorities for https instead of the system's", OPT_STRING,
	  O(ca_file), "file" },
	{ 0 },
};
#undef O

/* How the installer is called for each sort of card; a sort the file does not fit is null. */
static const struct {
	const char *name;
	bool is_unlock, needs_open;
} sorts[] = {
	{ "native", false, false },
	{ "native_open", false, true },
	{ "unlock", true, false },
};

static json_t *words_json(const struct driver_facts *f, size_t sort)
{
	struct installer_request q = { f->version, f->has_proprietary, f->has_open, sorts[sort].is_unlock,
				       sorts[sort].needs_open };
	_cleanup_(err_done) struct err ignored = ERR_INIT;
	_cleanup_strv_ char **words = NULL;
	json_t *list;

	if (installer_words(&q, &words, &ignored) < 0)
		return json_null();
	list = json_array();
	for (char **w = words; list && *w; w++)
		(void)json_array_append_new(list, json_string(*w));
	return list;
}

static json_t *notes_json(char *const *notes)
{
	json_t *list = json_array();

	for (; list && notes && *notes; notes++)
		(void)json_array_append_new(list, json_string(*notes));
	return list;
}

static json_t *facts_json(const struct driver_facts *f)
{
	json_t *words = json_object();

	for (size_t i = 0; words && i < ARRAY_LEN(sorts); i++)
		(void)json_object_set_new(words, sorts[i].name, words_json(f, i));
	return json_pack("{s:s, s:s, s:I, s:b, s:b, s:o}", "version", f->version, "sha256", f->sha256,
			 "size_bytes", (json_int_t)f->size_bytes, "has_proprietary", f->has_proprietary,
			 "has_open", f->has_open, "installer_words", words);
}

static int fetch_json(const struct app *app, const struct driver_result *d)
{
	return out_json("vgpu-fetch",
			json_pack("{s:b, s:s, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:o, s:o}", "dry_run",
				  app->dry_run, "action", d->action, "branch", d->row ? d->row->branch : NULL,
				  "path", d->path, "url", d->url, "archive", d->archive, "backup", d->backup,
				  "patch_file", d->row && *d->row->patch_file ? d->row->patch_file : NULL,
				  "driver", d->facts.version ? facts_json(&d->facts) : json_null(), "notes",
				  notes_json(d->notes)));
}

static void print_words(const struct driver_facts *f)
{
	for (size_t i = 0; i < ARRAY_LEN(sorts); i++) {
		json_t *words = words_json(f, i), *w;
		size_t k;

		if (json_is_array(words))
			out_text("%-13s", i == 0 ? "native" : i == 1 ? "native, open" : "unlock");
		json_array_foreach (words, k, w)
			out_text(" %s", json_string_value(w));
		if (json_is_array(words))
			out_text("\n");
		json_decref(words);
	}
}

static void fetch_text_out(const struct app *app, const struct driver_result *d)
{
	out_text("%s%s %s%s%s\n", app->dry_run ? "would: " : "", d->action, d->path ? d->path : d->archive,
		 d->url ? " from " : "", d->url ? d->url : "");
	if (d->backup)
		out_text("kept          the file that was there as %s\n", d->backup);
	if (d->facts.version) {
		out_text("version       %s\nsha256        %s\n", d->facts.version, d->facts.sha256);
		print_words(&d->facts);
	}
	for (char **n = d->notes; n && *n; n++)
		out_text("note: %s\n", *n);
}

/* The destination. A dry run makes none and looks into the current one then. */
static int open_to(const struct app *app, const char *path, struct err *e)
{
	int fd;

	if (!app->dry_run && mkdir(path, 0755) < 0 && errno != EEXIST)
		return err_errno(e, -errno, "cannot make the directory %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && app->dry_run && errno == ENOENT)
		fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_errno(e, -errno, "cannot open the directory %s", path) : fd;
}

static int fetch_cmd(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	const struct fetch_opts *o = opts;
	_cleanup_(driver_result_done) struct driver_result d = { 0 };
	_cleanup_(catalog_freep) struct catalog *c = NULL;
	struct driver_request q = { .url = o->url,
				    .file = o->file,
				    .branch = argc ? argv[0] : NULL,
				    .dir_path = o->to ? o->to : ".",
				    .sha256 = o->sha256,
				    .listing = o->listing,
				    .want_custom = o->custom,
				    .accept_md5 = o->accept_md5,
				    .offline = app->offline,
				    .dry_run = app->dry_run,
				    .proxy = o->proxy ? o->proxy : app->engine->fetch_proxy,
				    .ca_file = o->ca_file,
				    .attempts =
					o->attempts ? (unsigned)o->attempts : app->engine->fetch_attempts,
				    .stall_timeout_s = o->stall_s };
	_cleanup_close_ int fd = -EBADF;
	int r = catalog_load(NULL, &c, e);

	if (r < 0)
		return r;
	q.catalog = c;
	q.dirfd = fd = open_to(app, q.dir_path, e);
	if (fd < 0)
		return fd;
	r = driver_get(&q, &d, e);
	if (r < 0)
		return r;
	if (app->json)
		return fetch_json(app, &d);
	fetch_text_out(app, &d);
	return 0;
}

/* -- the menu's item -- */

int vgpu_downloads(struct app *app, char **ret, struct err *e)
{
	size_t n = strlen(app->root);
	int fd = vgpu_dir_open(app->engine->host, !app->dry_run, e);

	if (fd < 0 && !(fd == -ENOENT && app->dry_run))
		return fd;
	close_fdp(&fd);
	*ret = str_printf("%.*s/" VGPU_DIR, (int)(n > 0 && app->root[n - 1] == '/' ? n - 1 : n), app->root);
	return *ret ? 0 : err_oom(e);
}

static void list_with_address(const struct catalog *c)
{
	for (size_t i = 0; i < c->n_drivers; i++) {
		const struct catalog_driver *d = &c->drivers[i];

		if (strcmp(d->url_kind, "portal") != 0)
			out_text("%-6s (%s)%s%s%s\n", d->branch, d->version, *d->menu_note ? " [" : "",
				 d->menu_note, *d->menu_note ? "]" : "");
	}
}

/* Majors that have a branch for this host, newest first: of its only vGPU card, or of any. Nothing on another machine. */
static int print_hint(struct app *app, const struct vgpu_common *o, const struct asker *ask)
{
	_cleanup_(err_done) struct err ignored = ERR_INIT;
	_cleanup_free_ char *majors = NULL;
	_cleanup_(step1_done) struct step1 s = vgpu_step1_of(app, o, ask);
	_cleanup_(choices_done) struct choices l = { 0 };
	struct choice_request q = { 0 };
	size_t at;

	if (step1_open(&s, &ignored) < 0)
		return 0;
	q.pve_major = s.machine.pve_major;
	if (cards_choose(&s.cards, o->card, &at, &ignored) == 0 && s.cards.v[at].info.branches) {
		q.info = &s.cards.v[at].info;
		q.support = s.cards.v[at].support;
	}
	if (choices_make(s.catalog, &q, &l) < 0 || choices_majors(&l, &majors) < 0)
		return -ENOMEM;
	if (*majors)
		out_text("branches for %s on Proxmox VE %u: %s\n", q.info ? q.info->name : "any card",
			 q.pve_major, majors);
	return 0;
}

int vgpu_fetch_menu(struct app *app, const struct vgpu_common *o, struct err *e)
{
	_cleanup_(vgpu_asker_done) struct asker asker = { 0 };
	_cleanup_(catalog_freep) struct catalog *c = NULL;
	_cleanup_free_ char *to = NULL, *branch = NULL;
	struct fetch_opts own = { .url = o->url, .file = o->file };
	int r = vgpu_asker_open(app, o, &asker, e);

	if (r >= 0)
		r = catalog_load(NULL, &c, e);
	if (r >= 0)
		r = vgpu_downloads(app, &to, e);
	if (r < 0)
		return r;
	if (print_hint(app, o, &asker) < 0)
		return err_oom(e);
	list_with_address(c);
	if (!o->url && !o->file &&
	    ask_text(&asker, "branch", o->branch ? o->branch : "", &branch, "Host driver of which branch? ") <
		0)
		return err_oom(e);
	own.to = to;
	return fetch_cmd(app, &own, branch ? 1 : 0, &branch, e);
}

/* -- patch -- */

struct patch_opts {
	const char *patch, *patches, *branch, *to, *overrides;
};

#define O(field) offsetof(struct patch_opts, field)
static const struct opt patch_options[] = {
	{ "patch", 'p', "FILE", "apply this patch instead of the mapped one", OPT_STRING, O(patch), "file" },
	{ "patches", 0, "DIR", "the directory that holds the patches (vgpu-proxmox)", OPT_STRING, O(patches),
	  "dir" },
	{ "overrides", 0, "FILE",
	  "which patch belongs to which branch or file (driver_patches.json of the current directory)",
	  OPT_STRING, O(overrides), "file" },
	{ "branch", 0, "BRANCH", "the branch whose patch is meant, instead of the one the file tells",
	  OPT_STRING, O(branch) },
	{ "to", 0, "DIR", "put the copy into this directory, made when absent (the current one)", OPT_STRING,
	  O(to), "dir" },
	{ 0 },
};
#undef O

static void print_record(const struct driver_patch_result *d)
{
	json_t *o;
	size_t i;

	json_array_foreach (json_object_get(d->record, "objects"), i, o) {
		const char *before = json_string_value(json_object_get(o, "before"));
		const char *after = json_string_value(json_object_get(o, "after"));

		out_text("%s\n  before %s\n  after  %s\n", json_string_value(json_object_get(o, "path")),
			 before ? before : "-", after ? after : "-");
	}
}

static int patch_cmd(struct app *app, void *opts, int argc _unused_, char **argv, struct err *e)
{
	const struct patch_opts *o = opts;
	_cleanup_(driver_patch_result_done) struct driver_patch_result d = { 0 };
	_cleanup_(catalog_freep) struct catalog *c = NULL;
	struct driver_patch_request q = { .file = argv[0],
					  .branch = o->branch,
					  .patch = o->patch,
					  .patches_dir = o->patches ? o->patches : "vgpu-proxmox",
					  .dry_run = app->dry_run };
	_cleanup_close_ int fd = -EBADF;
	json_auto_t *overrides = NULL;
	int r = catalog_load(NULL, &c, e);

	if (r == 0)
		r = driver_patches_load(AT_FDCWD, o->overrides ? o->overrides : "driver_patches.json",
					&overrides, e);
	if (r == 0 && o->overrides && !overrides)
		r = err_errno(e, -ENOENT, "cannot read %s", o->overrides);
	if (r < 0)
		return r;
	q.catalog = c;
	q.overrides = overrides;
	q.dirfd = fd = open_to(app, o->to ? o->to : ".", e);
	if (fd < 0)
		return fd;
	r = driver_patch(&q, &d, e);
	if (r < 0)
		return r;
	if (app->json)
		return out_json("vgpu-patch",
				json_pack("{s:b, s:s, s:s, s:s, s:s?, s:b, s:O, s:o}", "dry_run",
					  app->dry_run, "output", d.name, "version", d.version, "patch",
					  d.patch, "backup", d.backup, "present", d.is_present, "record",
					  d.record, "notes", notes_json(d.notes)));
	print_record(&d);
	for (char **n = d.notes; n && *n; n++)
		out_text("note: %s\n", *n);
	out_text("%s%s\n", app->dry_run ? "would write " : d.is_present ? "present " : "", d.name);
	return 0;
}

const struct cmd cmd_vgpu_fetch = {
	.name = "vgpu",
	.sub = "fetch",
	.summary = "bring a vGPU host driver into a directory and check it",
	.args = "[BRANCH]",
	.max_args = 1,
	.description =
	    "Fetches the host driver of a branch from the address the register has, or from --url, or takes "
	    "the "
	    "one named with --file. A file is complete and of the right version before it gets its name: its "
	    "first bytes, its size, the register's MD5, the sums it carries and the version it says itself "
	    "are "
	    "compared. A wrong file that is there becomes a numbered backup; one of another version is never "
	    "renamed. An interrupted download is continued.\n\n"
	    "Branches of kind mega need the program megadl (package megatools); the address of those of kind "
	    "auto is "
	    "looked up in a public mirror's listing; those of kind portal come from NVIDIA's licensing "
	    "portal, with "
	    "--file. What comes from a mirror is not NVIDIA's own copy: only its sums and version speak for "
	    "it.\n\n"
	    "Says how the vendor's installer is called for this file, for native and for unlocked cards.",
	.examples = "nvdriver vgpu fetch 19.3 --to /root/drivers\n"
		    "  the driver of branch 19.3\n"
		    "nvdriver vgpu fetch --file NVIDIA-GRID-Linux-KVM-550.144.02-550.144.03-553.62.zip\n"
		    "  the driver out of the licensing portal's package\n",
	.options = fetch_options,
	.opts_size = sizeof(struct fetch_opts),
	.flags = CMD_STORE_READ,
	.run = fetch_cmd,
};

const struct cmd cmd_vgpu_patch = {
	.name = "vgpu",
	.sub = "patch",
	.summary = "make the unlocked copy of a vGPU host driver",
	.args = "FILE",
	.min_args = 1,
	.max_args = 1,
	.description =
	    "Applies the community's unlock patch that is mapped to the driver, from your copy of the "
	    "vgpu-proxmox repository, or the one named with --patch, and writes the -custom.run file. Every "
	    "hunk "
	    "has to fit exactly. The digests of the changed objects before and after are kept beside the "
	    "copy, "
	    "in its .meta file. The driver itself is not changed, and no patch program is needed.\n\n"
	    "driver_patches.json, one JSON object of branch or file name to patch file name, wins over the "
	    "built-in "
	    "mapping.",
	.examples = "nvdriver vgpu patch NVIDIA-Linux-x86_64-550.144.02-vgpu-kvm.run\n"
		    "  with vgpu-proxmox/550.144.02.patch\n",
	.options = patch_options,
	.opts_size = sizeof(struct patch_opts),
	.flags = CMD_NO_ENGINE,
	.run = patch_cmd,
};
