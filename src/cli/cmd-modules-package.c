/* SPDX-License-Identifier: Apache-2.0
 *
 * nvdriver modules pack|match|unpack: precompiled packages in the vendor's format. */
#include "cmd.h"
#include "pack.h"

#include "path.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* The banner to compare with: as given, else of the machine --root names. */
static int banner_of(const struct app *app, const char *given, char **ret, struct err *e)
{
	_cleanup_free_ char *proc = NULL;

	if (given) {
		*ret = strdup(given);
		return *ret ? 0 : err_oom(e);
	}
	proc = str_printf("%s/proc", strcmp(app->root, "/") == 0 ? "" : app->root);
	return proc ? pack_banner(proc, ret, e) : err_oom(e);
}

/* -- pack ------------------------------------------------------------------------------------------------- */

struct pack_opts {
	const char *version, *description, *proc_version, *linked_dir, *signed_dir;
	bool replace, force;
};

#define O(field) offsetof(struct pack_opts, field)
static const struct opt pack_options[] = {
	{ "driver-version", 'V', "VERSION", "driver version the files belong to; required for a new package",
	  OPT_STRING, O(version) },
	{ "description", 'd', "TEXT", "free text, usually the kernel release", OPT_STRING, O(description) },
	{ "proc-version-string", 'P', "TEXT",
	  "the kernel's banner; default: that of the running kernel or of --root", OPT_STRING,
	  O(proc_version) },
	{ "linked-dir", 0, "DIR", "holds the linked module of every interface file, to record its CRC",
	  OPT_STRING, O(linked_dir), "dir" },
	{ "signed-dir", 0, "DIR", "holds signed copies of those, to keep their detached signatures",
	  OPT_STRING, O(signed_dir), "dir" },
	{ "replace", 0, NULL, "put new files in the place of those with the same name", OPT_FLAG,
	  O(replace) },
	{ "force", 0, NULL, "overwrite an existing file that is not a package", OPT_FLAG, O(force) },
	{ 0 },
};
#undef O

struct pack_inputs {
	struct pack_input v[PRECOMPILED_FILES_MAX];
	size_t n;
	char *paths[2 * PRECOMPILED_FILES_MAX]; /* owned */
	size_t n_paths;
};

static void pack_inputs_done(struct pack_inputs *in)
{
	for (size_t i = 0; i < in->n_paths; i++)
		free(in->paths[i]);
}

static int keep_path(struct pack_inputs *in, const char *dir, const char *name, const char **ret,
		     struct err *e)
{
	char *path;

	if (!dir)
		return 0;
	path = str_printf("%s/%s", dir, name);
	if (!path)
		return err_oom(e);
	in->paths[in->n_paths++] = path;
	*ret = path;
	return 0;
}

/* By its name a file is an interface of a known module or a whole module. */
static int pack_input_from(struct pack_inputs *in, const char *path, const struct pack_opts *o, struct err *e)
{
	struct pack_input *it = &in->v[in->n];
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t len = strlen(name);
	int r;

	*it = (struct pack_input){ .path = path };
	if (precompiled_interface_of(name, &it->linked_name, &it->core_name)) {
		it->type = PRECOMPILED_INTERFACE;
		r = keep_path(in, o->linked_dir, it->linked_name, &it->linked_path, e);
		if (r >= 0)
			r = keep_path(in, o->signed_dir, it->linked_name, &it->signed_path, e);
		if (r < 0)
			return r;
	} else if (len > 3 && strcmp(name + len - 3, ".ko") == 0) {
		it->type = PRECOMPILED_MODULE;
		it->detect_signed = true;
	} else {
		return err_set(e, -ERR_USAGE,
			       "%s is neither an interface file (nv-linux.o, nv-modeset-linux.o) nor a .ko",
			       path);
	}
	in->n++;
	return 0;
}

static int pack_report(const struct app *app, const char *path, unsigned files)
{
	if (app->json)
		return out_json("modules-pack", json_pack("{s:s,s:i}", "package", path, "files", (int)files));
	out_text("%s: %u files\n", path, files);
	return 0;
}

static int modules_pack(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	struct pack_opts *o = opts;
	_cleanup_(pack_inputs_done) struct pack_inputs in = { .n = 0 };
	_cleanup_free_ char *banner = NULL;
	struct pack_request q = { .path = argv[0], .replace = o->replace, .force = o->force };
	unsigned files;
	int r = 0;

	if (o->signed_dir && !o->linked_dir)
		return err_set(e, -ERR_USAGE,
			       "--signed-dir needs --linked-dir: a signature belongs to a linked module");
	if ((size_t)argc - 1 > PRECOMPILED_FILES_MAX)
		return err_set(e, -ERR_USAGE, "at most %u files", PRECOMPILED_FILES_MAX);
	for (int i = 1; r >= 0 && i < argc; i++)
		r = pack_input_from(&in, argv[i], o, e);
	if (r < 0)
		return r;
	if (!pack_is_package(argv[0])) {
		if (!o->version)
			return err_set(e, -ERR_USAGE, "a new package needs --driver-version");
		r = banner_of(app, o->proc_version, &banner, e);
		if (r < 0)
			return r;
	}
	q.version = o->version;
	q.description = o->description;
	q.proc_version = o->proc_version ? o->proc_version : banner;
	q.inputs = in.v;
	q.n_inputs = in.n;
	if (app->dry_run) {
		out_text("would pack %zu files into %s\n", in.n, argv[0]);
		return 0;
	}
	r = pack_run(&q, &files, e);
	return r < 0 ? r : pack_report(app, argv[0], files);
}

const struct cmd cmd_modules_pack = {
	.name = "modules",
	.sub = "pack",
	.summary = "make or extend a precompiled package",
	.args = "PACKAGE FILE...",
	.min_args = 2,
	.max_args = -1,
	.description =
	    "Writes kernel interface files (nv-linux.o, nv-modeset-linux.o) and whole modules (*.ko) into "
	    "one file of the "
	    "vendor's precompiled format, version 2, for exactly one kernel: its banner is recorded and must "
	    "match "
	    "byte for byte later.\n\nAn existing package is extended; it appears complete or not at all.",
	.examples = "nvdriver modules pack out/nvidia-modules-6.1.0 -V 535.261.03 nv-linux.o nvidia-uvm.ko\n"
		    "  pack two files for the running kernel\n",
	.options = pack_options,
	.opts_size = sizeof(struct pack_opts),
	.flags = CMD_NO_ENGINE,
	.run = modules_pack,
};

/* -- match ------------------------------------------------------------------------------------------------ */

struct match_opts {
	const char *version, *proc_version;
	char **modules;
};

#define O(field) offsetof(struct match_opts, field)
static const struct opt match_options[] = {
	{ "driver-version", 'V', "VERSION", "the driver version must be this too", OPT_STRING, O(version) },
	{ "proc-version-string", 'P', "TEXT",
	  "banner to compare with; default: the running kernel's or that of --root", OPT_STRING,
	  O(proc_version) },
	{ "module", 'm', "NAME", "the package must hold this module too (may be repeated)", OPT_LIST,
	  O(modules) },
	{ 0 },
};
#undef O

/* 0 matches, 8 does not (reason kept in `why`), negative: cannot be read. */
static int match_one(const struct match_opts *o, const char *path, const char *banner, struct err *why)
{
	_cleanup_(precompiled_freep) struct precompiled *p = NULL;
	int r;

	r = precompiled_open(AT_FDCWD, path, o->modules ? 0 : PRECOMPILED_READ_HEADER, &p, why);
	if (r < 0)
		return r;
	r = precompiled_match(p, o->version, banner, why);
	if (r >= 0 && o->modules)
		r = precompiled_covers(p, o->modules, why);
	return r < 0 ? err_exit_status(r) : 0;
}

static int match_report(const struct app *app, const char *path, bool several, int status,
			const struct err *why)
{
	if (app->json)
		return out_json("modules-match",
				json_pack("{s:s,s:b,s:s?}", "package", path, "matches", status == 0, "reason",
					  status ? why->reason : NULL));
	out_text("%s%skernel interface %s.\n", several ? path : "", several ? ": " : "",
		 status == 0 ? "matches" : "doesn't match");
	return 0;
}

static int modules_match(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	struct match_opts *o = opts;
	_cleanup_free_ char *banner = NULL;
	int r, best = -1;

	r = banner_of(app, o->proc_version, &banner, e);
	if (r < 0)
		return r;
	for (int i = 0; i < argc; i++) {
		_cleanup_(err_done) struct err why = ERR_INIT;
		int status = match_one(o, argv[i], banner, &why);

		if (status < 0) {
			err_move(e, &why);
			return status;
		}
		r = match_report(app, argv[i], argc > 1, status, &why);
		if (r < 0)
			return err_errno(e, r, "writing the result");
		if (best < 0 || status < best)
			best = status;
	}
	return best;
}

const struct cmd cmd_modules_match = {
	.name = "modules",
	.sub = "match",
	.summary = "say whether precompiled packages fit a kernel",
	.args = "PACKAGE...",
	.min_args = 1,
	.max_args = -1,
	.description = "Compares the kernel banner a package was made for with that of the running kernel "
		       "(or of --root). Only the "
		       "header is read.\n\nExit status 0: one of the packages matches; 8: none does.",
	.examples = "nvdriver modules match --module nvidia --module nvidia-uvm PACKAGE\n"
		    "  does it fit the running kernel and hold both modules?\n",
	.options = match_options,
	.opts_size = sizeof(struct match_opts),
	.flags = CMD_NO_ENGINE,
	.run = modules_match,
};

/* -- unpack ----------------------------------------------------------------------------------------------- */

struct unpack_opts {
	const char *directory;
	bool lenient;
};

#define O(field) offsetof(struct unpack_opts, field)
static const struct opt unpack_options[] = {
	{ "output-directory", 'o', "DIR",
	  "where to write the files; default: here; made when it does not exist", OPT_STRING, O(directory),
	  "dir" },
	{ "lenient", 0, NULL, "only warn about unknown attributes and trailing bytes", OPT_FLAG, O(lenient) },
	{ 0 },
};
#undef O

static int unpack_report(const struct app *app, const struct precompiled *p)
{
	json_t *files;

	if (!app->json) {
		for (uint32_t i = 0; i < p->n_files; i++)
			out_text("%s%s%s\n", p->files[i].target_dir, *p->files[i].target_dir ? "/" : "",
				 p->files[i].name);
		return 0;
	}
	files = json_array();
	for (uint32_t i = 0; i < p->n_files; i++)
		(void)json_array_append_new(files, json_string(p->files[i].name));
	return out_json("modules-unpack", json_pack("{s:s,s:o}", "package", p->path, "files", files));
}

static int modules_unpack(struct app *app, void *opts, int argc _unused_, char **argv, struct err *e)
{
	struct unpack_opts *o = opts;
	_cleanup_(precompiled_freep) struct precompiled *p = NULL;
	const char *to = o->directory ? o->directory : ".";
	_cleanup_close_ int dir_fd = -EBADF;
	int r;

	r = precompiled_open(AT_FDCWD, argv[0], PRECOMPILED_VERIFY | (o->lenient ? PRECOMPILED_LENIENT : 0),
			     &p, e);
	if (r < 0)
		return r;
	if (!app->dry_run) {
		if (mkdir(to, 0755) < 0 && errno != EEXIST)
			return err_errno(e, -errno, "cannot make directory %s", to);
		dir_fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir_fd < 0)
			return err_errno(e, -errno, "cannot open directory %s", to);
		r = precompiled_unpack(p, dir_fd, e);
	}
	return r < 0 ? r : unpack_report(app, p);
}

const struct cmd cmd_modules_unpack = {
	.name = "modules",
	.sub = "unpack",
	.summary = "write the files of a precompiled package",
	.args = "PACKAGE",
	.min_args = 1,
	.max_args = 1,
	.description = "Checks the whole package first, then writes every file beneath the output directory "
		       "and nowhere else; each "
		       "appears complete or not at all.",
	.options = unpack_options,
	.opts_size = sizeof(struct unpack_opts),
	.flags = CMD_NO_ENGINE,
	.run = modules_unpack,
};
