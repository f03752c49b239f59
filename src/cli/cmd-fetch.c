/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"
#include "source.h"

#include <inttypes.h>

struct fetch_opts {
	const char *to, *sha256, *md5, *proxy, *ca_file, *arch, *kind, *branch;
	char **mirrors;
	uint64_t size_bytes, attempts;
	bool compat32;
};

#define O(field) offsetof(struct fetch_opts, field)
static const struct opt fetch_options[] = {
	{ "to", 0, "DIR", "put the files into this directory, made when absent, instead of the store",
	  OPT_STRING, O(to), "dir" },
	{ "sha256", 0, "HEX", "the digest the file must have", OPT_STRING, O(sha256) },
	{ "md5", 0, "HEX", "an older digest the file must have; detects damage, no more", OPT_STRING,
	  O(md5) },
	{ "size", 0, "BYTES", "the size the file must have", OPT_U64, O(size_bytes) },
	{ "mirror", 0, "URL",
	  "another address of the file, or of its directory when it ends in / (may be repeated)", OPT_LIST,
	  O(mirrors) },
	{ "attempts", 0, "N", "rounds over all addresses before giving up (4)", OPT_U64, O(attempts) },
	{ "proxy", 0, "URL", "use this proxy instead of the one the environment names", OPT_STRING,
	  O(proxy) },
	{ "ca-file", 0, "FILE", "trust these authorities for https instead of the system's", OPT_STRING,
	  O(ca_file), "file" },
	{ "arch", 0, "MACHINE", "the machine the driver is for (this one)", OPT_STRING, O(arch),
	  "x86_64 aarch64" },
	{ "kind", 0, "KIND", "of a driver of the vendor's site: passthrough or grid (passthrough)",
	  OPT_STRING, O(kind), "passthrough grid" },
	{ "branch", 0, "BRANCH", "the vGPU branch of a grid driver", OPT_STRING, O(branch) },
	{ "compat32", 0, NULL, "take the 32-bit parts of distribution packages too", OPT_FLAG, O(compat32) },
	{ NULL },
};
#undef O

static void json_freep(json_t **j)
{
	json_decref(*j);
}

static struct source_options options_of(const struct app *app, const struct fetch_opts *f)
{
	const struct engine *en = app->engine;

	return (struct source_options){
		/* Files for a directory touch no store. */
		.store = f->to ? NULL : en->store,
		.arch = f->arch,
		.driver_kind = f->kind,
		.branch = f->branch,
		.with_compat32 = f->compat32,
		.offline = app->offline,
		.sha256 = f->sha256,
		.md5 = f->md5,
		.size_bytes = f->size_bytes,
		.mirrors = f->mirrors,
		.proxy = f->proxy ? f->proxy : en->fetch_proxy,
		.ca_file = f->ca_file,
		.attempts = f->attempts ? (unsigned)f->attempts : en->fetch_attempts,
		.to_dir = f->to,
	};
}

/* What would be fetched: known without a download. */
static int fetch_dry(const struct source *s, const struct source_options *o, json_t *rows, struct err *e)
{
	_cleanup_(source_result_done) struct source_result r = { 0 };
	json_t *p, *row;
	size_t i;
	int k = source_resolve(s, o, &r, e);

	if (k < 0)
		return k;
	json_array_foreach (r.packages, i, p)
		if (json_array_append(rows, p) < 0)
			return err_oom(e);
	if (json_array_size(r.packages))
		return 0;
	row = json_pack("{s:s, s:s*}", "name", r.origin, "sha256", o->sha256);
	return !row || json_array_append_new(rows, row) < 0 ? err_oom(e) : 0;
}

static void show(const json_t *rows, bool is_dry)
{
	const json_t *p;
	size_t i;

	json_array_foreach (rows, i, p) {
		const char *action = json_string_value(json_object_get(p, "action"));
		const char *sha256 = json_string_value(json_object_get(p, "sha256"));
		const char *trust = json_string_value(json_object_get(p, "trust"));

		out_text("%-10s %12" PRId64 "  %.64s  %s%s%s%s\n",
			 is_dry	  ? "would"
			 : action ? action
				  : "",
			 (int64_t)json_integer_value(json_object_get(p, "size_bytes")), sha256 ? sha256 : "-",
			 json_string_value(json_object_get(p, "name")), trust ? " (" : "", trust ? trust : "",
			 trust ? ")" : "");
	}
}

static int fetch_word(struct app *app, const struct fetch_opts *f, char *word, json_t *rows, struct err *e)
{
	_cleanup_(source_done) struct source s = SOURCE_INIT;
	struct source_options o = options_of(app, f);
	char *words[] = { word };
	int r = source_parse(words, 1, &s, e);

	if (r < 0)
		return r;
	return app->dry_run ? fetch_dry(&s, &o, rows, e) : source_fetch(&s, &o, rows, e);
}

/* The store is made only by those runs that put something into it. */
static int open_store(struct app *app, const struct fetch_opts *f, struct err *e)
{
	if (f->to || app->dry_run || app->engine->store)
		return 0;
	return store_open(app->store_path, true, &app->engine->store, e);
}

static int fetch_run(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	const struct fetch_opts *f = opts;
	_cleanup_(json_freep) json_t *rows = json_array();
	json_t *object;
	int r;

	if (!rows)
		return err_oom(e);
	if (argc > 1 && (f->sha256 || f->md5 || f->size_bytes || f->mirrors))
		return err_set(e, -ERR_USAGE,
			       "--sha256, --md5, --size and --mirror belong to one file; name one source");
	r = open_store(app, f, e);
	if (r < 0)
		return r;
	for (int i = 0; i < argc; i++) {
		r = fetch_word(app, f, argv[i], rows, e);

		if (r < 0)
			return r;
	}
	if (!app->json) {
		show(rows, app->dry_run);
		return 0;
	}
	object = json_pack("{s:b, s:O}", "dry_run", app->dry_run, "packages", rows);
	return object ? out_json("fetch", object) : err_oom(e);
}

const struct cmd cmd_fetch = {
	.name = "fetch",
	.summary = "bring driver packages into the store, or into a directory",
	.args = "VERSION|URL|apt:VERSION|vendor:VERSION|FILE…",
	.min_args = 1,
	.max_args = -1,
	.description =
	    "Fetches the packages of a driver and checks them: against the digest given, else one published "
	    "beside the file, else the signed index of the distribution; only when there is none is the "
	    "digest of the first download recorded and held to later. What is there and right is not "
	    "fetched again; what is there and wrong is kept under a numbered name. An interrupted download "
	    "is continued.\n\n"
	    "A bare VERSION is taken from the distribution's packages where apt is at hand, else from the "
	    "vendor's public site. apt runs with a configuration of its own; the machine's is not changed.",
	.examples = "nvdriver fetch 535.261.03\n"
		    "  the distribution's packages of that driver, into the store\n"
		    "nvdriver fetch --to /srv/drivers vendor:550.90.07\n"
		    "  the vendor's .run file, into a directory\n"
		    "nvdriver fetch --sha256 HEX https://mirror.example/NVIDIA-Linux-x86_64-550.90.07.run\n"
		    "  one file, whose digest is known\n",
	.options = fetch_options,
	.opts_size = sizeof(struct fetch_opts),
	.flags = CMD_STORE_READ,
	.run = fetch_run,
};
