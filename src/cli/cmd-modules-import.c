/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"

#include "modset.h"
#include "patchset.h"
#include "precompiled.h"
#include "strbuf.h"
#include "ui.h"

#include <fcntl.h>
#include <string.h>

struct import_opts {
	const char *flavour, *cert;
	char **modules;
	bool allow_unsigned, lenient;
};

#define O(field) offsetof(struct import_opts, field)
static const struct opt import_options[] = {
	{ "flavour", 'f', "KIND", "proprietary or open modules; default: by the licence they name",
	  OPT_STRING, O(flavour), "proprietary open" },
	{ "cert", 0, "FILE", "every module must be signed by this certificate's key (PEM or DER)", OPT_STRING,
	  O(cert), "file" },
	{ "module", 'm', "NAME", "the package must hold this module too (may be repeated)", OPT_LIST,
	  O(modules) },
	{ "allow-unsigned", 0, NULL,
	  "keep a linked module that differs from the signed one, without its signature", OPT_FLAG,
	  O(allow_unsigned) },
	{ "lenient", 0, NULL, "only warn about unknown attributes and trailing bytes", OPT_FLAG, O(lenient) },
	{ 0 },
};

/* The driver's tree for interface objects: of this machine's architecture first. NULL when the store has none. */
static int find_tree(struct app *app, const char *version, char **ret, struct err *e)
{
	_cleanup_free_ char *machine = NULL;
	const char *archs[] = { NULL, "x86_64", "aarch64" };

	(void)host_machine(app->engine->host, &machine);
	archs[0] = machine;
	for (size_t i = 0; i < ARRAY_LEN(archs); i++) {
		_cleanup_free_ char *ref = str_printf("driver/%s-%s", version, archs[i] ? archs[i] : "");
		enum store_kind kind;

		if (!ref)
			return err_oom(e);
		if (archs[i] && store_ref_get(app->engine->store, ref, &kind, ret) == 0)
			return 0;
	}
	return 0;
}

static int show_package(const struct app *app, const struct precompiled *p)
{
	json_t *files = json_array();

	for (uint32_t i = 0; i < p->n_files; i++)
		(void)json_array_append_new(files, json_string(p->files[i].name));
	if (app->json)
		return out_json("modules-import", json_pack("{s:b, s:s, s:s, s:s, s:o}", "dry_run", 1,
							    "package", p->path, "driver", p->version,
							    "proc_version", p->proc_version, "files", files));
	out_text("import %u files of driver %s for %s\n", p->n_files, p->version, p->proc_version);
	json_decref(files);
	return 0;
}

static int show_set(struct app *app, const char *key, bool hit, struct err *e)
{
	_cleanup_free_ char *path = store_object_path(app->engine->store, STORE_MODULE, key);
	json_t *record;
	int r = modset_record(app->engine->store, key, &record, e);

	if (r < 0)
		return r;
	if (app->json)
		r = out_json("modules-import", json_pack("{s:s, s:s?, s:b, s:O}", "key", key, "path", path,
							 "hit", hit, "record", record));
	else
		out_text("%s  %s\n          %s modules of %s for %s, %s\nat        %s\n",
			 hit ? "hit     " : "imported", key, ui_str(record, "flavour", "?"),
			 ui_str(record, "driver", "?"), ui_str(record, "release", "?"),
			 json_is_true(json_object_get(record, "signed")) ? "signed" : "unsigned",
			 path ? path : "?");
	json_decref(record);
	return r;
}

static int modules_import(struct app *app, void *opts, int argc _unused_, char **argv, struct err *e)
{
	_cleanup_(precompiled_freep) struct precompiled *p = NULL;
	_cleanup_(patchset_done) struct patchset patches = PATCHSET_INIT;
	_cleanup_free_ char *tree = NULL;
	const struct import_opts *o = opts;
	char key[65];
	bool hit;
	int r;

	if (o->flavour && strcmp(o->flavour, "open") != 0 && strcmp(o->flavour, "proprietary") != 0)
		return err_set(e, ERR_USAGE, "--flavour is proprietary or open, not %s", o->flavour);
	r = precompiled_open(AT_FDCWD, argv[0],
			     (app->dry_run ? PRECOMPILED_VERIFY : 0) | (o->lenient ? PRECOMPILED_LENIENT : 0),
			     &p, e);
	if (r < 0 || app->dry_run)
		return r < 0 ? r : show_package(app, p);
	r = find_tree(app, p->version, &tree, e);
	if (r == 0)
		r = patchset_load(NULL, p->version, o->flavour ? o->flavour : "proprietary", NULL, NULL,
				  &patches, e);
	if (r < 0)
		return r;
	r = modset_import(app->engine->store,
			  &(struct modset_import){ .dirfd = AT_FDCWD,
						   .path = argv[0],
						   .tree_id = tree,
						   .flavour = o->flavour,
						   .patch_digest = patches.digest,
						   .modules = o->modules,
						   .cert_path = o->cert,
						   .allow_unsigned = o->allow_unsigned,
						   .lenient = o->lenient },
			  key, &hit, e);
	return r < 0 ? r : show_set(app, key, hit, e);
}

const struct cmd cmd_modules_import = {
	.name = "modules",
	.sub = "import",
	.summary = "make a precompiled package a module set of the store",
	.args = "PACKAGE",
	.min_args = 1,
	.max_args = 1,
	.description =
	    "Takes a package in the vendor's precompiled format into the store, where prepare and load find "
	    "it for "
	    "the kernel whose banner it carries, as if it had been built here. Checked before: structure and "
	    "checksums, driver version, one kernel for all modules, that kernel's banner, and where modules "
	    "were "
	    "linked and signed elsewhere, that the link made here is the one that was signed.\n\n"
	    "Interface files are linked with the driver's core objects, so the store has to hold the driver: "
	    "nvdriver "
	    "prepare VERSION --no-modules. What patches went into a package it does not say: importing it "
	    "means to "
	    "use it for the patch set of this nvdriver.",
	.examples = "nvdriver modules import nvidia-modules-6.1.0-77-amd64-1a2b3c4d --cert MOK.der\n"
		    "  only when every module carries this key's signature\n",
	.options = import_options,
	.opts_size = sizeof(struct import_opts),
	.run = modules_import,
};
