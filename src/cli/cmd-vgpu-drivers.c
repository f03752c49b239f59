/* SPDX-License-Identifier: Apache-2.0
 *
 * vgpu drivers: the tables of releases, asked. */
#include "catalog.h"
#include "cmd-vgpu.h"
#include "gpu.h"
#include "parse.h"
#include "vgpu-choice.h"
#include "err-vgpu.h"

#include <string.h>

struct drivers_opts {
	const char *card, *kernel, *gpu_db, *guest;
	uint64_t pve;
	bool fitting;
};

#define O(field) offsetof(struct drivers_opts, field)
static const struct opt drivers_options[] = {
	{ "card", 0, "DEVICE", "say which branches fit this device id", OPT_STRING, O(card) },
	{ "pve", 0, "MAJOR", "say which branches fit Proxmox VE 7, 8 or 9", OPT_U64, O(pve) },
	{ "kernel", 0, "RELEASE", "say which branches fit this kernel", OPT_STRING, O(kernel) },
	{ "guest", 0, "BRANCH", "say which branches serve guests of this branch or driver version",
	  OPT_STRING, O(guest) },
	{ "fitting", 0, NULL, "list only those that fit", OPT_FLAG, O(fitting) },
	{ "gpu-db", 0, "FILE", "a table of cards whose rows win over ours", OPT_STRING, O(gpu_db), "file" },
	{ 0 },
};

static json_t *driver_json(const struct catalog_driver *d)
{
	return json_pack(
	    "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "branch",
	    d->branch, "version", d->version, "file", d->file, "md5", d->md5, "url_kind", d->url_kind, "url",
	    d->url, "patch_file", d->patch_file, "install_args", d->install_args, "kernel_min", d->kernel_min,
	    "kernel_max", d->kernel_max, "kernel_notes", d->kernel_notes, "pve_min", d->pve_min, "pve_max",
	    d->pve_max, "arch_min", d->arch_min, "native_only", d->native_only, "menu_note", d->menu_note,
	    "notes", d->notes);
}

static json_t *patch_json(const struct catalog_patch *p)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "file", p->file, "path", p->path,
			 "status", p->status, "kernel_max", p->kernel_max, "sha256", p->sha256,
			 "nul_in_header", p->nul_in_header, "restores_pascal", p->restores_pascal, "notes",
			 p->notes);
}

static json_t *release_json(const struct catalog_release *r)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "branch", r->branch,
			 "driver_branch", r->driver_branch, "lifecycle", r->lifecycle, "host_version",
			 r->host_version, "guest_linux", r->guest_linux, "guest_windows", r->guest_windows,
			 "released", r->released, "eol", r->eol, "package", r->package, "package_md5",
			 r->package_md5, "package_sha256", r->package_sha256, "notes", r->notes);
}

json_t *vgpu_guest_json(const struct catalog_guest *g)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "branch", g->branch, "os", g->os, "version",
			 g->version, "file", g->file, "url", g->url, "notes", g->notes);
}

/* -- one branch -- */

static const char *or_dash(const char *s)
{
	return *s ? s : "-";
}

static void print_driver(const struct catalog_driver *d)
{
	out_text("host driver   %s\nfile          %s\nmd5           %s\n", d->version, d->file,
		 or_dash(d->md5));
	out_text("source        %s %s\nkernels       %s to %s%s%s\n", d->url_kind, d->url, d->kernel_min,
		 d->kernel_max, *d->kernel_notes ? "; " : "", d->kernel_notes);
	out_text("proxmox ve    %s to %s\nunlock        %s%s%s\n", d->pve_min, d->pve_max,
		 strcmp(d->native_only, "yes") == 0 ? "native cards only" : "from ",
		 strcmp(d->native_only, "yes") == 0 ? "" : d->arch_min,
		 *d->patch_file ? "" : ", no patch mapped");
	if (*d->menu_note || *d->notes)
		out_text("note          %s%s%s\n", d->menu_note, *d->menu_note && *d->notes ? "; " : "",
			 d->notes);
}

static void print_release(const struct catalog_release *r)
{
	out_text("release       %s, %s, end of life %s\n", r->driver_branch, r->lifecycle, or_dash(r->eol));
	out_text("guests        linux %s, windows %s\npackage       %s\n", or_dash(r->guest_linux),
		 or_dash(r->guest_windows), or_dash(r->package));
}

static void print_patch(const struct catalog_patch *p)
{
	out_text("patch         %s (%s), kernels to %s\n", p->file, p->status, or_dash(p->kernel_max));
}

/* Adds a table's answer under its name; null when the table has no row. */
static int put(json_t *o, const char *key, json_t *value)
{
	return json_object_set_new(o, key, value ? value : json_null());
}

static int show_branch(struct app *app, const struct catalog *c, const char *branch, struct err *e)
{
	const struct catalog_driver *d = catalog_driver(c, branch);
	const struct catalog_release *r = catalog_release(c, branch);
	const struct catalog_patch *p = catalog_patch(c, branch);
	json_t *o;

	if (!d && !r && !p) {
		(void)err_set(e, ERR_VGPU_BRANCH, "no table has a branch, file or version %s", branch);
		return err_object(e, "%s", branch);
	}
	if (!app->json) {
		out_text("branch        %s\n", branch);
		if (d)
			print_driver(d);
		if (p)
			print_patch(p);
		if (r)
			print_release(r);
		return 0;
	}
	o = json_pack("{s:s}", "branch", branch);
	if (!o || put(o, "driver", d ? driver_json(d) : NULL) < 0 ||
	    put(o, "release", r ? release_json(r) : NULL) < 0 ||
	    put(o, "patch", p ? patch_json(p) : NULL) < 0) {
		json_decref(o);
		return err_oom(e);
	}
	return out_json("vgpu-drivers", o);
}

/* -- the list -- */

static int find_card(const struct drivers_opts *o, struct gpu_info *ret, struct err *e)
{
	_cleanup_(gpu_db_freep) struct gpu_db *db = NULL;
	struct vgpu_beside beside;
	const char *own;
	uint16_t device;
	int r;

	if (gpu_parse_device(o->card, &device) < 0)
		return err_set(e, ERR_USAGE, "--card %s is no device id such as 1e30", o->card);
	r = o->gpu_db ? gpu_db_open(o->gpu_db, &db, e) : -ENOENT;
	if (r == 0)
		r = gpu_db_find(db, device, ret, e);
	gpu_db_freep(&db);
	if (r == -ENOENT)
		r = gpu_db_open(NULL, &db, e);
	if (r == 0 && !ret->vgpu)
		r = gpu_db_find(db, device, ret, e);
	own = r == -ENOENT ? vgpu_beside_program("gpu_info.db", &beside) : NULL;
	gpu_db_freep(&db);
	if (own)
		r = gpu_db_open(own, &db, e);
	if (own && r == 0)
		r = gpu_db_find(db, device, ret, e);
	if (r != -ENOENT)
		return r;
	(void)err_set(e, ERR_GPU_UNKNOWN, "no table has device 10de:%04x", device);
	return err_object(e, "10de:%04x", device);
}

static const char *verdict_word(enum choice_verdict v)
{
	static const char *const words[] = {
		[CHOICE_FITS] = "fits", [CHOICE_KERNEL] = "kernel", [CHOICE_NO] = "no"
	};

	return words[v];
}

/* When the vendor stops looking after the branch; "" = the map does not say. */
static const char *eol_of(const struct catalog *c, const struct choice *ch)
{
	const struct catalog_release *r = catalog_release(c, ch->driver->branch);

	return r ? r->eol : "";
}

static int choice_json(json_t *list, const struct choice *ch, const char *eol)
{
	json_t *o = driver_json(ch->driver);

	if (!o || json_object_set_new(o, "verdict", json_string(verdict_word(ch->verdict))) < 0 ||
	    json_object_set_new(o, "eol", json_string(eol)) < 0 ||
	    json_object_set_new(o, "reason", json_string(ch->reason)) < 0) {
		json_decref(o);
		return -ENOMEM;
	}
	return json_array_append_new(list, o);
}

static int list_drivers(struct app *app, const struct drivers_opts *o, const struct catalog *c, struct err *e)
{
	_cleanup_(gpu_info_done) struct gpu_info info = { 0 };
	_cleanup_(choices_done) struct choices l = { 0 };
	struct choice_request q = { .pve_major = (unsigned)o->pve, .kernel = o->kernel, .guest = o->guest };
	bool asked = o->card || o->pve || o->kernel || o->guest;
	json_t *list = json_array();
	int r = o->card ? find_card(o, &info, e) : 0;

	if (r == 0 && o->card) {
		q.info = &info;
		q.support = card_support_parse(info.vgpu);
	}
	if (r == 0 && (!list || choices_make(c, &q, &l) < 0))
		r = err_oom(e);
	for (size_t i = 0; r == 0 && i < l.n; i++) {
		const struct choice *ch = &l.v[i];

		if (o->fitting && ch->verdict != CHOICE_FITS)
			continue;
		if (app->json)
			r = choice_json(list, ch, eol_of(c, ch)) < 0 ? err_oom(e) : 0;
		else
			out_text("%-6s %-12s %-7s %-7s %s%s%s\n", ch->driver->branch, ch->driver->version,
				 ch->driver->url_kind, asked ? verdict_word(ch->verdict) : "",
				 asked ? ch->reason : ch->driver->menu_note,
				 asked && *eol_of(c, ch) ? "; end of life " : "", asked ? eol_of(c, ch) : "");
	}
	if (r < 0 || !app->json) {
		json_decref(list);
		return r;
	}
	return out_json("vgpu-drivers", json_pack("{s:o}", "drivers", list));
}

/* "17": the newest branch of that major. */
static const struct catalog_driver *newest_of_major(const struct catalog *c, const char *text)
{
	uint64_t major;

	return parse_u64(SPAN(text), 999, &major) == 0 ? catalog_driver_newest(c, (unsigned)major) : NULL;
}

static int drivers_cmd(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	_cleanup_(catalog_freep) struct catalog *c = NULL;
	const struct catalog_driver *d;
	int r = catalog_load(NULL, &c, e);

	if (r < 0)
		return r;
	if (argc == 0)
		return list_drivers(app, opts, c, e);
	d = catalog_driver_by_file(c, argv[0]);
	d = d ? d : catalog_driver_by_version(c, argv[0]);
	d = d ? d : newest_of_major(c, argv[0]);
	return show_branch(app, c, d ? d->branch : argv[0], e);
}

const struct cmd cmd_vgpu_drivers = {
	.name = "vgpu",
	.sub = "drivers",
	.summary = "list vGPU host drivers, and which of them fit",
	.args = "[BRANCH|MAJOR|FILE|VERSION]",
	.max_args = 1,
	.description =
	    "Lists the register of host drivers, or everything known of one release: its file, "
	    "where it comes "
	    "from, its "
	    "unlock patch, the kernels it builds for, its guests and its end of life.\n\n"
	    "With --card, --pve, --kernel or --guest each line says whether the branch fits, fits but for "
	    "the kernel, or "
	    "does not, why, and when the vendor stops looking after it.",
	.examples = "nvdriver vgpu drivers --card 1e30 --pve 9 --kernel 6.14.11-4-pve --fitting\n"
		    "  what a Quadro RTX 6000 can run there\n"
		    "nvdriver vgpu drivers 17.6\n  all about one branch\n",
	.options = drivers_options,
	.opts_size = sizeof(struct drivers_opts),
	.flags = CMD_NO_ENGINE,
	.run = drivers_cmd,
};
