/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"
#include "prepare.h"

#include <fcntl.h>
#include <string.h>

struct prepare_opts {
	const char *kernel, *kernel_source, *kernel_output, *flavour, *key, *cert, *sha256;
	char **patches, **mirrors;
	uint64_t jobs, passphrase_fd;
	bool generate_key, no_modules, package, compat32;
};

#define O(field) offsetof(struct prepare_opts, field)
static const struct opt prepare_options[] = {
	{ "kernel", 'k', "RELEASE",
	  "kernel to build for: a release, or apt:FLAVOUR for the newest of the distribution; default: the "
	  "running one",
	  OPT_STRING, O(kernel) },
	{ "kernel-source", 0, "DIR", "kernel build tree, instead of looking for one", OPT_STRING,
	  O(kernel_source), "dir" },
	{ "kernel-output", 0, "DIR", "its output directory where the two are separate", OPT_STRING,
	  O(kernel_output), "dir" },
	{ "flavour", 'f', "KIND",
	  "proprietary or open modules, or auto: by this machine's GPUs; default proprietary", OPT_STRING,
	  O(flavour), "proprietary open auto" },
	{ "patch", 0, "FILE", "apply this patch to the module sources (may be repeated)", OPT_LIST,
	  O(patches), "file" },
	{ "key", 0, "FILE", "private key to sign the modules with (PEM, DER or pkcs11: URI)", OPT_STRING,
	  O(key), "file" },
	{ "cert", 0, "FILE", "its certificate (PEM or DER)", OPT_STRING, O(cert), "file" },
	{ "passphrase-fd", 0, "N", "read the key's pass phrase from this descriptor", OPT_U64,
	  O(passphrase_fd) },
	{ "generate-key", 0, NULL, "sign with the store's own key, made when there is none", OPT_FLAG,
	  O(generate_key) },
	{ "package", 0, NULL, "also pack the modules in the vendor's precompiled format", OPT_FLAG,
	  O(package) },
	{ "no-modules", 0, NULL, "only obtain, verify and unpack the driver", OPT_FLAG, O(no_modules) },
	{ "compat32", 0, NULL, "take the 32-bit libraries too, where they are separate packages", OPT_FLAG,
	  O(compat32) },
	{ "sha256", 0, "HEX", "the digest a single package file must have", OPT_STRING, O(sha256) },
	{ "mirror", 0, "URL", "another place to fetch from (may be repeated)", OPT_LIST, O(mirrors) },
	{ "jobs", 'j', "N", "compile N files at once; default: what CPUs and memory allow", OPT_U64,
	  O(jobs) },
	{ "max-threads", 0, "N", "the same", OPT_U64, O(jobs), NULL, true },
	{ 0 },
};

static void print_stages(const json_t *stages)
{
	const json_t *row;
	size_t i;

	json_array_foreach (stages, i, row) {
		const char *path = json_string_value(json_object_get(row, "path"));

		out_text("%-10s %-8s %8.3f s  %s\n", json_string_value(json_object_get(row, "stage")),
			 json_string_value(json_object_get(row, "action")),
			 json_number_value(json_object_get(row, "seconds")),
			 json_string_value(json_object_get(row, "text")));
		if (path)
			out_text("%-10s %-8s %10s  %s\n", "", "", "", path);
	}
}

static int prepare_cmd(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	struct prepare_opts *o = opts;
	struct prepare_request q = {
		.source = argv,
		.n_source = (size_t)argc,
		.sha256 = o->sha256,
		.mirrors = o->mirrors,
		.kernel = o->kernel,
		.kernel_source = o->kernel_source,
		.kernel_output = o->kernel_output,
		.flavour = o->flavour,
		.patches = o->patches,
		.key = o->key,
		.cert = o->cert,
		.passphrase_fd = o->passphrase_fd ? (int)o->passphrase_fd : -1,
		.generate_key = o->generate_key,
		.no_modules = o->no_modules,
		.package = o->package,
		.compat32 = o->compat32,
		.jobs = (unsigned)o->jobs,
	};
	json_t *stages = NULL;
	int r;

	r = app->dry_run ? prepare_plan(app->engine, &q, &stages, e)
			 : prepare_run(app->engine, &q, &stages, e);
	if (r < 0)
		return r;
	if (app->json)
		return out_json("prepare", json_pack("{s:b,s:o}", "dry_run", app->dry_run, "stages", stages));
	print_stages(stages);
	json_decref(stages);
	return 0;
}

const struct cmd cmd_prepare = {
	.name = "prepare",
	.summary = "make a driver ready in the store: tree, modules, signatures",
	.args = "DRIVER...",
	.min_args = 1,
	.max_args = -1,
	.description = "Takes a driver from where somebody published it to a verified tree and a signed set "
		       "of kernel modules in "
		       "the store. DRIVER is a version (535.261.03), apt:VERSION for the distribution's "
		       "packages, a .run file, a "
		       "directory or list of .deb or .rpm packages, an unpacked tree, or a URL.\n\n"
		       "Each stage is skipped when the store already has its result; a run that finds "
		       "everything starts no program "
		       "and needs no network. Nothing outside the store is changed.",
	.examples = "nvdriver prepare NVIDIA-Linux-x86_64-535.261.03.run\n  for the running kernel\n"
		    "nvdriver prepare apt:535.261.03 --kernel apt:amd64 --generate-key\n"
		    "  from the distribution, for its newest kernel, without installing either\n",
	.options = prepare_options,
	.opts_size = sizeof(struct prepare_opts),
	.run = prepare_cmd,
};
