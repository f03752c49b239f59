/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"

#include "fd.h"
#include "ktree.h"
#include "modbuild.h"
#include "modset.h"
#include "parse.h"
#include "patchset.h"
#include "path.h"
#include "strbuf.h"
#include "toolchain.h"
#include "ui.h"

#include <fcntl.h>
#include <string.h>

struct build_opts {
	const char *tree, *kernel, *source, *output, *flavour, *cc, *key, *cert, *signatures, *hash, *symvers,
	    *variables, *log_dir;
	char **patches, **exclude;
	uint64_t jobs;
	unsigned timeout_s;
	bool debug_info, no_cache;
};

#define O(field) offsetof(struct build_opts, field)
static const struct opt build_options[] = {
	{ "tree", 0, "DIR", "unpacked driver to build from, instead of the store's", OPT_STRING, O(tree),
	  "dir" },
	{ "kernel", 'k', "RELEASE", "kernel to build for; default: the running one", OPT_STRING, O(kernel) },
	{ "kernel-source", 0, "DIR", "kernel build tree, instead of looking for one", OPT_STRING, O(source),
	  "dir" },
	{ "kernel-output", 0, "DIR", "its output directory where the two are separate", OPT_STRING, O(output),
	  "dir" },
	{ "flavour", 'f', "KIND", "proprietary or open modules; default proprietary", OPT_STRING, O(flavour),
	  "proprietary open" },
	{ "patch", 0, "FILE", "apply this patch to the module sources (may be repeated)", OPT_LIST,
	  O(patches), "file" },
	{ "exclude", 0, "MODULE", "do not build this module (may be repeated)", OPT_LIST, O(exclude) },
	{ "cc", 0, "PROGRAM", "compiler; default: the one the kernel was built with", OPT_STRING, O(cc),
	  "file" },
	{ "extra-symvers", 0, "FILE", "symbol versions of other modules", OPT_STRING, O(symvers), "file" },
	{ "make-variables", 0, "TEXT", "further NAME=VALUE words for make", OPT_STRING, O(variables) },
	{ "key", 0, "FILE", "sign with this private key (PEM, DER or pkcs11: URI)", OPT_STRING, O(key),
	  "file" },
	{ "cert", 0, "FILE", "its certificate (PEM or DER)", OPT_STRING, O(cert), "file" },
	{ "signatures", 0, "DIR",
	  "instead of a key: detached signatures by that certificate's key, DIR/<module>.ko.p7s", OPT_STRING,
	  O(signatures), "dir" },
	{ "hash", 0, "NAME", "hash of the signatures; default: what the kernel asks for", OPT_STRING,
	  O(hash) },
	{ "jobs", 'j', "N", "compile N files at once; default: what CPUs and memory allow", OPT_U64,
	  O(jobs) },
	{ "timeout", 0, "TIME", "stop make after this long; default 1h", OPT_DURATION, O(timeout_s) },
	{ "debug-info", 0, NULL, "keep debug information", OPT_FLAG, O(debug_info) },
	{ "no-cache", 0, NULL, "ask every configure probe again and keep no answers", OPT_FLAG, O(no_cache) },
	{ "log-dir", 0, "DIR", "where the log of a failed build is kept; default /var/log/nvdriver",
	  OPT_STRING, O(log_dir), "dir" },
	{ 0 },
};

/* What one run of the verb works with. */
struct build_run {
	struct ktree *ktree;
	struct toolchain tools;
	struct patchset patches;
	int tree_fd;
	char *tree_id, *release;
};

static void build_run_done(struct build_run *b)
{
	ktree_freep(&b->ktree);
	toolchain_done(&b->tools);
	patchset_done(&b->patches);
	close_fdp(&b->tree_fd);
	free(b->tree_id);
	free(b->release);
}

/* The tree of a driver version in the store, whatever its architecture unless the kernel's is known. */
static int tree_of_version(struct store *s, const char *version, const char *arch, struct build_run *b,
			   struct err *e)
{
	_cleanup_free_ char *ref = str_printf("driver/%s-%s", version, arch);
	enum store_kind kind;
	json_t *record = NULL;
	int r;

	if (!ref)
		return err_oom(e);
	r = s ? store_ref_get(s, ref, &kind, &b->tree_id) : -ENOENT;
	if (r < 0 || kind != STORE_TREE) {
		err_set(e, ERR_MODULE_SOURCE, "the store holds no driver %s for %s", version, arch);
		return err_next(e, "run: nvdriver prepare %s --no-modules, or name a directory with --tree",
				version);
	}
	r = store_tree_verify(s, b->tree_id, STORE_VERIFY_QUICK, NULL, e);
	if (r < 0)
		return r;
	r = store_tree_open(s, b->tree_id, &b->tree_fd, &record, e);
	json_decref(record);
	return r;
}

static int find_parts(struct app *app, const struct build_opts *o, const char *version, struct build_run *b,
		      struct err *e)
{
	struct ktree_search where = { .source = o->source,
				      .output = o->output,
				      .host = app->engine->host,
				      .store = app->engine->store };
	const char *flavour = o->flavour ? o->flavour : "proprietary";
	int r;

	where.release = o->kernel;
	if (!o->kernel && !o->source) {
		r = host_kernel_release(app->engine->host, &b->release);
		if (r < 0)
			return err_errno(e, r, "kernel release of %s", app->engine->host->root);
		where.release = b->release;
	}
	r = ktree_find(&where, &b->ktree, e);
	if (r < 0)
		return r;
	if (o->tree) {
		b->tree_fd = dir_open_at(AT_FDCWD, o->tree);
		r = b->tree_fd < 0 ? err_errno(e, b->tree_fd, "%s", o->tree) : 0;
	} else {
		r = tree_of_version(app->engine->store, version, b->ktree->arch, b, e);
	}
	if (r < 0)
		return r;
	r = patchset_load(NULL, version, flavour, b->ktree, o->patches, &b->patches, e);
	return r < 0 ? r : toolchain_choose(b->ktree, o->cc, app->engine->store, &b->tools, e);
}

static int sign_set(struct app *app, const struct build_opts *o, const struct build_run *b,
		    const char *unsigned_key, char ret[65], bool *ret_hit, struct err *e)
{
	struct modset_signing how = { .key_path = o->key,
				      .cert_path = o->cert,
				      .signatures = o->signatures,
				      .hash = o->hash,
				      .passphrase_fd = -1 };
	_cleanup_free_ char *hash = NULL;
	bool guessed;
	int r;

	if (!o->hash) {
		r = ktree_sign_hash(b->ktree, &hash, &guessed);
		if (r < 0)
			return err_oom(e);
		how.hash = hash;
	}
	return modset_sign(app->engine->store, unsigned_key, &how, ret, ret_hit, e);
}

static json_t *result_json(struct app *app, const struct modbuild_result *m, const char *final_key)
{
	_cleanup_free_ char *path = store_object_path(app->engine->store, STORE_MODULE, final_key);

	return json_pack("{s:s, s:s, s:s*, s:b, s:i, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I}", "key",
			 final_key, "unsigned_key", m->key, "path", path, "hit", m->hit, "modules",
			 (int)m->modules, "jobs", (int)m->jobs, "probes_reused", (int)m->probes_reused,
			 "probes_run", (int)m->probes_run, "core_objects_reused", (int)m->objects_reused,
			 "core_objects_made", (int)m->objects_made, "wall_ms",
			 (json_int_t)(m->wall_ns / 1000000), "cpu_ms", (json_int_t)(m->cpu_ns / 1000000),
			 "max_rss_bytes", (json_int_t)m->max_rss_bytes);
}

static int show(struct app *app, const struct modbuild_result *m, const char *final_key)
{
	json_t *j = result_json(app, m, final_key);

	if (!j)
		return -ENOMEM;
	if (app->json)
		return out_json("modules-build", j);
	if (m->hit)
		out_text("hit       %s\n", m->key);
	else
		out_text("built     %s\n          %u modules, %u jobs, %.1f s, %.1f CPU s, %u probe answers "
			 "reused, %u asked\n",
			 m->key, m->modules, m->jobs, (double)m->wall_ns / 1e9, (double)m->cpu_ns / 1e9,
			 m->probes_reused, m->probes_run);
	if (strcmp(final_key, m->key) != 0)
		out_text("signed    %s\n", final_key);
	out_text("at        %s\n", ui_str(j, "path", "?"));
	json_decref(j);
	return 0;
}

static int show_plan(struct app *app, const struct modbuild *b, struct err *e)
{
	char key[65];
	json_t *j;
	bool hit;
	int r = modbuild_key(b, key, e);

	if (r < 0)
		return r;
	hit = app->engine->store && store_has(app->engine->store, STORE_MODULE, key);
	j = json_pack("{s:b, s:s, s:s, s:s, s:s, s:i}", "dry_run", 1, "action", hit ? "hit" : "would build",
		      "key", key, "release", b->ktree->release, "compiler", b->tools->cc_version, "patches",
		      (int)b->patches->n_patches);
	if (!j)
		return err_oom(e);
	if (app->json)
		return out_json("modules-build", j);
	out_text("%s %s modules of %s for %s as %s\n", hit ? "keep" : "compile", b->flavour, b->driver,
		 b->ktree->release, key);
	for (size_t i = 0; i < b->patches->n_patches; i++)
		out_text("  with patch %s: %s\n", b->patches->patches[i].name, b->patches->patches[i].why);
	json_decref(j);
	return 0;
}

static int modules_build(struct app *app, void *opts, int argc _unused_, char **argv, struct err *e)
{
	_cleanup_(build_run_done) struct build_run b = { .tools = TOOLCHAIN_INIT,
							 .patches = PATCHSET_INIT,
							 .tree_fd = -EBADF };
	const struct build_opts *o = opts;
	struct modbuild_result done;
	char final_key[65];
	int r;

	if (!version_is_valid(argv[0]))
		return err_set(e, ERR_USAGE, "\"%s\" is not a driver version", argv[0]);
	if (o->key && o->signatures)
		return err_set(e, ERR_USAGE, "--key and --signatures are two ways to the same");
	if ((!o->key && !o->signatures) != !o->cert)
		return err_set(e, ERR_USAGE, "--cert goes together with --key or --signatures");
	if (o->flavour && strcmp(o->flavour, "open") != 0 && strcmp(o->flavour, "proprietary") != 0)
		return err_set(e, ERR_USAGE, "--flavour is proprietary or open, not %s", o->flavour);
	r = find_parts(app, o, argv[0], &b, e);
	if (r < 0)
		return r;
	struct modbuild what = { .driver = argv[0],
				 .flavour = o->flavour ? o->flavour : "proprietary",
				 .tree_id = b.tree_id,
				 .tree_fd = b.tree_fd,
				 .ktree = b.ktree,
				 .tools = &b.tools,
				 .patches = &b.patches,
				 .host = app->engine->host,
				 .jobs = (unsigned)o->jobs,
				 .debug_info = o->debug_info,
				 .exclude = (const char *const *)o->exclude,
				 .make_variables = o->variables,
				 .extra_symvers = o->symvers,
				 .timeout_s = o->timeout_s,
				 .log_dir = o->log_dir ? o->log_dir : "/var/log/nvdriver",
				 .no_cache = o->no_cache };

	if (app->dry_run)
		return show_plan(app, &what, e);
	r = modbuild_run(&what, app->engine->store, &done, NULL, e);
	if (r < 0)
		return r;
	memcpy(final_key, done.key, sizeof(final_key));
	if (o->cert) {
		r = sign_set(app, o, &b, done.key, final_key, NULL, e);
		if (r < 0)
			return r;
	}
	r = show(app, &done, final_key);
	return r < 0 ? err_errno(e, r, "printing the result") : 0;
}

const struct cmd cmd_modules_build = {
	.name = "modules",
	.sub = "build",
	.summary = "compile a driver's kernel modules for one kernel",
	.args = "VERSION",
	.min_args = 1,
	.max_args = 1,
	.description =
	    "Compiles the modules of a driver in the store (or of --tree DIR, a directory with kernel/ and "
	    "kernel-open/) "
	    "for one kernel, once: the result is kept in the store under a key made of the sources, the "
	    "patches, the kernel's "
	    "identity and the compiler. Answers of the driver's configure probes are kept too and serve the "
	    "other flavour.\n\n"
	    "With --key and --cert the set is signed as a set of its own; signing compiles nothing. Where "
	    "the key "
	    "must not come to this machine: build, sign the modules of the set elsewhere (sign-file -d), "
	    "and build again with --cert and --signatures.",
	.examples = "nvdriver modules build 535.261.03 --flavour open --kernel 6.1.0-40-amd64\n"
		    "  from the driver in the store\n",
	.options = build_options,
	.opts_size = sizeof(struct build_opts),
	.run = modules_build,
};
