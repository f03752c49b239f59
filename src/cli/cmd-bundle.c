/* SPDX-License-Identifier: Apache-2.0
 *
 * Bundles: what chosen drivers and kernels need, in one file. */
#include "bundle.h"
#include "cmd.h"
#include "jutil.h"
#include "ui.h"

#include <string.h>

static void print_objects(const json_t *objects)
{
	const json_t *o;
	size_t i;

	json_array_foreach ((json_t *)objects, i, o)
		out_text("%-8s %-12s %-28s %-12s %10s  %.12s\n", ui_str(o, "kind", "?"),
			 ui_str(o, "driver", ""), ui_str(o, "release", ""), ui_str(o, "flavour", ""),
			 ui_size((unsigned long long)json_integer_value(json_object_get(o, "size_bytes"))),
			 ui_str(o, "id", "?"));
}

static void print_rows(const json_t *rows)
{
	const json_t *row;
	size_t i;

	json_array_foreach ((json_t *)rows, i, row)
		out_text("%-8s %-8s %8.3f s  %s\n", ui_str(row, "object", "?"), ui_str(row, "action", "?"),
			 json_number_value(json_object_get(row, "seconds")), ui_str(row, "text", ""));
}

/* -- create -- */

struct create_opts {
	char **drivers, **kernels, **rpms, **repos, **gpg_keys, **flavours;
	const char *ca_file, *client_cert, *client_key;
	const char *output, *arch, *sign_key, *sign_cert, *key, *cert;
	uint64_t level, jobs, passphrase_fd;
	bool from_store, modules;
};

#define O(field) offsetof(struct create_opts, field)
static const struct opt create_options[] = {
	{ "driver", 0, "DRIVER",
	  "a driver to put in (may be repeated): a version, or what prepare takes; obtained when the store "
	  "lacks it",
	  OPT_LIST, O(drivers), "file" },
	{ "kernel", 'k', "RELEASE",
	  "a kernel whose build tree to put in (may be repeated): a release, or apt:FLAVOUR", OPT_LIST,
	  O(kernels) },
	{ "output", 'o', "FILE", "the bundle; replaced in one step", OPT_STRING, O(output), "file" },
	{ "modules", 'm', NULL, "module sets of each driver for each kernel too; built when missing",
	  OPT_FLAG, O(modules) },
	{ "flavour", 'f', "KIND", "only module sets of this flavour (may be repeated); default both",
	  OPT_LIST, O(flavours), "proprietary open" },
	{ "rpms", 0, "PATH",
	  "a kernel-devel package, or a directory of packages, to take build trees from (may be repeated)",
	  OPT_LIST, O(rpms), "file" },
	{ "repo", 0, "URL",
	  "a repository of rpm packages (the directory that has repodata/) to take build trees from (may be "
	  "repeated)",
	  OPT_LIST, O(repos) },
	{ "gpg-key", 0, "FILE",
	  "public keys one of which must have signed a repository's index (may be repeated)", OPT_LIST,
	  O(gpg_keys), "file" },
	{ "ca-file", 0, "FILE", "PEM certificates to trust for repositories instead of the system's",
	  OPT_STRING, O(ca_file), "file" },
	{ "client-cert", 0, "FILE", "PEM certificate to show to repositories that ask for one", OPT_STRING,
	  O(client_cert), "file" },
	{ "client-key", 0, "FILE", "its private key, when it is in a file of its own", OPT_STRING,
	  O(client_key), "file" },
	{ "from-store", 0, NULL,
	  "obtain and build nothing; without --driver or --kernel all the store has of them", OPT_FLAG,
	  O(from_store) },
	{ "arch", 0, "ARCH", "only what is for this machine", OPT_STRING, O(arch), "x86_64 aarch64" },
	{ "sign-key", 0, "FILE", "sign the bundle with this private key (PEM, DER or pkcs11: URI)",
	  OPT_STRING, O(sign_key), "file" },
	{ "sign-cert", 0, "FILE", "its certificate", OPT_STRING, O(sign_cert), "file" },
	{ "key", 0, "FILE", "private key to sign modules that are built", OPT_STRING, O(key), "file" },
	{ "cert", 0, "FILE", "its certificate", OPT_STRING, O(cert), "file" },
	{ "passphrase-fd", 0, "N", "read a key's pass phrase from this descriptor", OPT_U64,
	  O(passphrase_fd) },
	{ "level", 0, "N", "compression from 1 to 19; default 3", OPT_U64, O(level) },
	{ "jobs", 'j', "N", "threads and compilers at once; default: as many as CPUs", OPT_U64, O(jobs) },
	{ 0 },
};
#undef O

static void create_show(const struct app *app, const char *output, const json_t *result)
{
	const json_t *word, *missing = json_object_get(result, "missing");
	size_t i;

	print_objects(json_object_get(result, "objects"));
	json_array_foreach ((json_t *)missing, i, word)
		out_text("would first obtain %s\n", json_string_value(word));
	if (!app->dry_run)
		out_text(
		    "%s: %s, %s%s\n", output,
		    ui_size((unsigned long long)json_integer_value(json_object_get(result, "size_bytes"))),
		    ui_str(result, "digest", "?"),
		    json_is_true(json_object_get(result, "signed")) ? ", signed" : "");
}

static int create_cmd(struct app *app, void *opts, int argc _unused_, char **argv _unused_, struct err *e)
{
	const struct create_opts *o = opts;
	const struct bundle_create how = { .drivers = o->drivers,
					   .kernels = o->kernels,
					   .rpms = o->rpms,
					   .repos = o->repos,
					   .access = { .ca_file = o->ca_file,
						       .client_cert = o->client_cert,
						       .client_key = o->client_key,
						       .gpg_keys = o->gpg_keys },
					   .arch = o->arch,
					   .flavours = o->flavours,
					   .from_store = o->from_store,
					   .modules = o->modules,
					   .key_path = o->sign_key,
					   .cert_path = o->sign_cert,
					   .module_key = o->key,
					   .module_cert = o->cert,
					   .passphrase_fd = o->passphrase_fd ? (int)o->passphrase_fd : -1,
					   .level = (int)o->level,
					   .jobs = (unsigned)o->jobs };
	json_t *result = NULL;
	int r;

	if (!o->output)
		return err_set(e, ERR_USAGE, "name the bundle with --output");
	if (o->level > 19)
		return err_set(e, ERR_USAGE, "--level is 1 to 19");
	r = app->dry_run ? bundle_plan(app->engine, &how, &result, e)
			 : bundle_create(app->engine, &how, o->output, &result, e);
	if (r < 0)
		return r;
	if (app->json) {
		(void)json_object_set_new(result, "dry_run", json_boolean(app->dry_run));
		return out_json("bundle-create", result);
	}
	create_show(app, o->output, result);
	json_decref(result);
	return 0;
}

const struct cmd cmd_bundle_create = {
	.name = "bundle",
	.sub = "create",
	.summary = "put drivers, kernel build trees and modules into one file",
	.args = NULL,
	.max_args = 0,
	.description =
	    "Writes one file that carries everything chosen drivers and kernels need to a machine "
	    "without a network: "
	    "the unpacked driver with its firmware, the kernel's build tree, answers of the "
	    "driver's configure probes, and "
	    "with --modules the built and signed modules, so that no compiler is needed there.\n\n"
	    "What the store lacks is obtained first as prepare does; build trees also come from "
	    "kernel-devel packages "
	    "(--rpms), from a repository of them (--repo: read without a package manager, each file "
	    "compared with the digest the repository gives, and the repository's index with its signature "
	    "where --gpg-key names whose it must be; gpgv checks it) or from the machine itself. With "
	    "--from-store "
	    "nothing is obtained.\n\n"
	    "The file is an OCI image layout in one archive: skopeo and registries carry it as it "
	    "is. The same objects give "
	    "the same bytes.",
	.examples = "nvdriver bundle create --driver 535.261.03 -k 5.14.0-284.11.1.el9_2.x86_64 --rpms rpms/ "
		    "-o gpu.nvbundle\n"
		    "  driver and build tree\n"
		    "nvdriver bundle create --from-store --modules -o all.nvbundle\n  all this machine has "
		    "prepared\n",
	.options = create_options,
	.opts_size = sizeof(struct create_opts),
	.run = create_cmd,
};

/* -- verify, inspect -- */

struct cert_opts {
	const char *cert;
};

static const struct opt cert_options[] = {
	{ "cert", 0, "FILE", "refuse a bundle that was not signed with this certificate's key", OPT_STRING,
	  offsetof(struct cert_opts, cert), "file" },
	{ 0 },
};

static json_t *summary_json(const struct bundle *b)
{
	json_t *j = json_deep_copy(bundle_description(b));

	if (j && (json_object_set_new(j, "bundle", json_string(bundle_path(b))) < 0 ||
		  json_object_set_new(j, "digest", json_string(bundle_digest(b))) < 0 ||
		  json_object_set_new(j, "signed", json_boolean(bundle_is_signed(b))) < 0)) {
		json_decref(j);
		return NULL;
	}
	return j;
}

static int verify_cmd(struct app *app, void *opts, int argc _unused_, char **argv, struct err *e)
{
	const struct cert_opts *o = opts;
	_cleanup_(bundle_freep) struct bundle *b = NULL;
	size_t n;
	int r = bundle_open(argv[0], &b, e);

	if (r == 0)
		r = bundle_verify(b, o->cert, e);
	if (r < 0)
		return r;
	n = json_array_size(json_object_get(bundle_description(b), "objects"));
	if (app->json)
		return out_json("bundle-verify",
				json_pack("{s:s, s:s, s:i, s:b, s:b}", "bundle", argv[0], "digest",
					  bundle_digest(b), "objects", (int)n, "signed",
					  (int)bundle_is_signed(b), "authentic", o->cert != NULL));
	out_text("%s: %zu objects, all as described%s\n", argv[0], n,
		 o->cert	       ? ", signature good"
		 : bundle_is_signed(b) ? "; its signature was not checked (--cert)"
				       : "; not signed");
	return 0;
}

const struct cmd cmd_bundle_verify = {
	.name = "bundle",
	.sub = "verify",
	.summary = "read every byte of a bundle and compare it with what the bundle says",
	.args = "FILE",
	.min_args = 1,
	.max_args = 1,
	.description = "Compares the digest of every part, unpacks every object without writing it, and with "
		       "--cert checks the "
		       "signature. What verify accepts, apply accepts. FILE may be the directory of an "
		       "unpacked image layout.",
	.options = cert_options,
	.opts_size = sizeof(struct cert_opts),
	.flags = CMD_NO_ENGINE,
	.run = verify_cmd,
};

static int inspect_cmd(struct app *app, void *opts _unused_, int argc _unused_, char **argv, struct err *e)
{
	_cleanup_(bundle_freep) struct bundle *b = NULL;
	json_t *j;
	int r = bundle_open(argv[0], &b, e);

	if (r < 0)
		return r;
	j = summary_json(b);
	if (!j)
		return err_oom(e);
	if (app->json)
		return out_json("bundle-inspect", j);
	out_text("%s  %s\n", ui_str(j, "digest", "?"), bundle_is_signed(b) ? "signed" : "not signed");
	print_objects(json_object_get(j, "objects"));
	json_decref(j);
	return 0;
}

const struct cmd cmd_bundle_inspect = {
	.name = "bundle",
	.sub = "inspect",
	.summary = "show what a bundle holds",
	.args = "FILE",
	.min_args = 1,
	.max_args = 1,
	.description = "Lists drivers, kernels and module sets with their sizes. Only the description is "
		       "read, after its digest was "
		       "compared; verify reads the rest. With --json the whole description.",
	.flags = CMD_NO_ENGINE,
	.run = inspect_cmd,
};

/* -- list-missing -- */

struct missing_opts {
	const char *kernel, *driver, *flavour, *arch;
};

#define O(field) offsetof(struct missing_opts, field)
static const struct opt missing_options[] = {
	{ "kernel", 'k', "RELEASE", "the kernel in question", OPT_STRING, O(kernel) },
	{ "driver", 0, "VERSION", "the driver wanted there; default: each the bundle has", OPT_STRING,
	  O(driver) },
	{ "flavour", 'f', "KIND", "modules of this flavour", OPT_STRING, O(flavour), "proprietary open" },
	{ "arch", 0, "ARCH", "the machine", OPT_STRING, O(arch), "x86_64 aarch64" },
	{ 0 },
};
#undef O

static int list_missing_cmd(struct app *app, void *opts, int argc _unused_, char **argv, struct err *e)
{
	const struct missing_opts *o = opts;
	const struct bundle_want want = { o->driver, o->flavour, o->kernel, o->arch };
	_cleanup_(bundle_freep) struct bundle *b = NULL;
	_cleanup_json_ json_t *rows = NULL;
	const json_t *row;
	size_t i;
	int r;

	if (!o->kernel)
		return err_set(e, ERR_USAGE, "name the kernel with --kernel");
	r = bundle_open(argv[0], &b, e);
	if (r == 0)
		r = bundle_missing(b, &want, &rows, e);
	if (r < 0)
		return r;
	if (app->json) {
		r = out_json("bundle-list-missing",
			     json_pack("{s:s, s:O}", "bundle", argv[0], "missing", rows));
		return r < 0 || json_array_size(rows) == 0 ? r : 10;
	}
	json_array_foreach (rows, i, row)
		out_text("%s %s\n", ui_str(row, "object", "?"),
			 strcmp(ui_str(row, "object", ""), "tree") == 0
			     ? ui_str(row, "driver", "of any driver")
			     : ui_str(row, "release", "?"));
	return json_array_size(rows) ? 10 : 0;
}

const struct cmd cmd_bundle_list_missing = {
	.name = "bundle",
	.sub = "list-missing",
	.summary = "tell what a bundle lacks for a kernel",
	.args = "FILE",
	.min_args = 1,
	.max_args = 1,
	.description =
	    "A machine needs the driver's tree, and either its modules for the kernel or the kernel's build "
	    "tree. Prints what "
	    "of that the bundle does not hold; the exit status is 10 then, and 0 when nothing is missing.",
	.options = missing_options,
	.opts_size = sizeof(struct missing_opts),
	.flags = CMD_NO_ENGINE,
	.run = list_missing_cmd,
};

/* -- apply -- */

struct apply_opts {
	const char *cert, *kernel, *driver, *flavour, *arch;
};

/* What of a bundle is taken; O() finds the member in the verb's own options. */
#define CHOICE_OPTIONS                                                                                       \
	{ "cert",     0,       "FILE", "refuse a bundle that was not signed with this certificate's key",    \
	  OPT_STRING, O(cert), "file" },                                                                     \
	    { "kernel", 'k', "RELEASE", "only what is for this kernel", OPT_STRING, O(kernel) },             \
	    { "driver", 0, "VERSION", "only what is of this driver", OPT_STRING, O(driver) },                \
	    { "flavour",	 'f', "KIND", "only modules of this flavour", OPT_STRING, O(flavour),        \
	      "proprietary open" },                                                                          \
	{                                                                                                    \
		"arch", 0, "ARCH", "only what is for this machine", OPT_STRING, O(arch), "x86_64 aarch64"    \
	}

#define O(field) offsetof(struct apply_opts, field)
static const struct opt apply_options[] = {
	CHOICE_OPTIONS,
	{ 0 },
};
#undef O

static int apply_cmd(struct app *app, void *opts, int argc _unused_, char **argv, struct err *e)
{
	const struct apply_opts *o = opts;
	const struct bundle_apply how = { .want = { o->driver, o->flavour, o->kernel, o->arch },
					  .cert_path = o->cert,
					  .dry_run = app->dry_run };
	_cleanup_(bundle_freep) struct bundle *b = NULL;
	json_t *rows = NULL;
	int r = bundle_open(argv[0], &b, e);

	if (r == 0)
		r = bundle_apply(app->engine->store, b, &how, &rows, e);
	if (r < 0)
		return r;
	if (app->json)
		return out_json("bundle-apply", json_pack("{s:s, s:b, s:o}", "bundle", argv[0], "dry_run",
							  (int)app->dry_run, "objects", rows));
	print_rows(rows);
	json_decref(rows);
	return 0;
}

const struct cmd cmd_bundle_apply = {
	.name = "bundle",
	.sub = "apply",
	.summary = "put a bundle's content into the store",
	.args = "FILE",
	.min_args = 1,
	.max_args = 1,
	.description =
	    "Publishes drivers, kernel build trees and module sets of the bundle in the store; after that "
	    "prepare finds "
	    "them and needs neither network nor, for kernels whose modules came along, a compiler.\n\n"
	    "Every object is checked before anything can see it. Killed at any moment the store has whole "
	    "objects only, "
	    "and another apply goes on where this one ended; what is there already is not read.",
	.examples = "nvdriver bundle apply gpu.nvbundle --cert company.pem\n  only if that key signed it\n",
	.options = apply_options,
	.opts_size = sizeof(struct apply_opts),
	.run = apply_cmd,
};

/* -- export-image -- */

struct image_opts {
	const char *output, *kernel, *driver, *flavour, *arch;
};

#define O(field) offsetof(struct image_opts, field)
static const struct opt image_options[] = {
	{ "driver", 0, "VERSION", "the driver", OPT_STRING, O(driver) },
	{ "kernel", 'k', "RELEASE", "the kernel", OPT_STRING, O(kernel) },
	{ "flavour", 'f', "KIND", "proprietary or open modules; default proprietary", OPT_STRING, O(flavour),
	  "proprietary open" },
	{ "arch", 0, "ARCH", "the machine", OPT_STRING, O(arch), "x86_64 aarch64" },
	{ "output", 'o', "FILE", "the image, an OCI archive; replaced in one step", OPT_STRING, O(output),
	  "file" },
	{ 0 },
};
#undef O

static int export_image_cmd(struct app *app, void *opts, int argc _unused_, char **argv _unused_,
			    struct err *e)
{
	const struct image_opts *o = opts;
	const struct bundle_want want = { o->driver, o->flavour, o->kernel, o->arch };
	json_t *result = NULL;
	int r;

	if (!o->driver || !o->kernel || !o->output)
		return err_set(e, ERR_USAGE, "--driver, --kernel and --output are needed");
	if (app->dry_run)
		return err_set(e, ERR_USAGE, "export-image writes one file and has no --dry-run");
	r = bundle_export_image(app->engine->store, &want, o->output, &result, e);
	if (r < 0)
		return r;
	if (app->json)
		return out_json("bundle-export-image", result);
	out_text("%s: %s, tag %s, %s\n", o->output,
		 ui_size((unsigned long long)json_integer_value(json_object_get(result, "size_bytes"))),
		 ui_str(result, "tag", "?"), ui_str(result, "digest", "?"));
	json_decref(result);
	return 0;
}

const struct cmd cmd_bundle_export_image = {
	.name = "bundle",
	.sub = "export-image",
	.summary = "write a module set as a container image for kernel module operators",
	.max_args = 0,
	.description =
	    "Takes a prepared module set of the store (the signed one if there is one) and writes an image "
	    "of one layer: "
	    "/opt/lib/modules/RELEASE with depmod's indexes, and the firmware below "
	    "/opt/lib/firmware/nvidia/VERSION. Labels name "
	    "driver, kernel and flavour.\n\n"
	    "The file is an OCI archive: skopeo copy oci-archive:FILE docker://REGISTRY/NAME:TAG uploads it.",
	.examples =
	    "nvdriver bundle export-image --driver 535.261.03 -k 5.14.0-284.11.1.el9_2.x86_64 -o kmod.tar\n",
	.options = image_options,
	.opts_size = sizeof(struct image_opts),
	.run = export_image_cmd,
};

/* -- push, pull -- */

struct remote_opts {
	const char *ca_file, *auth_file, *output, *cert, *kernel, *driver, *flavour, *arch;
	bool plain_http;
};

#define O(field) offsetof(struct remote_opts, field)
#define REMOTE_OPTIONS                                                                                       \
	{ "ca-file",  0,	  "FILE", "PEM certificates to trust instead of the system's",               \
	  OPT_STRING, O(ca_file), "file" },                                                                  \
	    { "auth-file",                                                                                   \
	      0,                                                                                             \
	      "FILE",                                                                                        \
	      "credentials as podman and docker keep them; default: REGISTRY_AUTH_FILE, then their own "     \
	      "files",                                                                                       \
	      OPT_STRING,                                                                                    \
	      O(auth_file),                                                                                  \
	      "file" },                                                                                      \
	{                                                                                                    \
		"plain-http", 0, NULL, "talk to the registry without TLS", OPT_FLAG, O(plain_http)           \
	}
static const struct opt push_options[] = {
	REMOTE_OPTIONS,
	{ 0 },
};
static const struct opt pull_options[] = {
	REMOTE_OPTIONS,
	{ "output", 'o', "FILE", "write the bundle to this file and leave the store alone", OPT_STRING,
	  O(output), "file" },
	CHOICE_OPTIONS,
	{ 0 },
};
#undef O

static struct bundle_remote remote_of(const struct app *app, const struct remote_opts *o,
				      const char *reference)
{
	return (struct bundle_remote){ .reference = reference,
				       .ca_file = o->ca_file,
				       .auth_file = o->auth_file,
				       .plain_http = o->plain_http,
				       .offline = app->offline,
				       .proxy = app->engine->fetch_proxy,
				       .attempts = app->engine->fetch_attempts };
}

static int push_cmd(struct app *app, void *opts, int argc _unused_, char **argv, struct err *e)
{
	const struct bundle_remote to = remote_of(app, opts, argv[1]);
	_cleanup_(bundle_freep) struct bundle *b = NULL;
	_cleanup_free_ char *reference = NULL;
	uint64_t sent = 0;
	int r = bundle_open(argv[0], &b, e);

	/* What others will pull is whole. */
	if (r == 0)
		r = bundle_verify(b, NULL, e);
	if (r == 0 && !app->dry_run)
		r = bundle_push(b, &to, &reference, &sent, e);
	if (r < 0)
		return r;
	if (app->json)
		return out_json("bundle-push",
				json_pack("{s:s, s:s?, s:s, s:I, s:b}", "bundle", argv[0], "reference",
					  reference, "digest", bundle_digest(b), "sent_bytes",
					  (json_int_t)sent, "dry_run", (int)app->dry_run));
	if (app->dry_run)
		out_text("would push %s\n", bundle_digest(b));
	else
		out_text("%s  %s, %s sent\n", reference, bundle_digest(b), ui_size(sent));
	return 0;
}

const struct cmd cmd_bundle_push = {
	.name = "bundle",
	.sub = "push",
	.summary = "upload a bundle to a registry",
	.args = "FILE REFERENCE",
	.min_args = 2,
	.max_args = 2,
	.description = "Uploads what the registry does not have yet; a connection that is cut is continued. "
		       "REFERENCE is "
		       "host[:port]/name[:tag]; without a tag that of a bundle for one driver and one kernel "
		       "is DRIVER-KERNEL, of one without kernels DRIVER.\n\n"
		       "Objects are named by their content, so bundles that share a driver share its blob. "
		       "skopeo copy oci-archive:FILE "
		       "docker://REFERENCE does the same.",
	.examples = "nvdriver bundle push gpu.nvbundle registry.example:5000/gpu/bundles --ca-file ca.pem\n",
	.options = push_options,
	.opts_size = sizeof(struct remote_opts),
	.flags = CMD_STORE_READ,
	.run = push_cmd,
};

static int pull_file(struct app *app, const struct remote_opts *o, const struct bundle_remote *from,
		     struct err *e)
{
	_cleanup_(bundle_freep) struct bundle *b = NULL;
	uint64_t received = 0;
	int r = bundle_pull_file(from, o->output, &received, e);

	if (r == 0)
		r = bundle_open(o->output, &b, e);
	if (r == 0 && o->cert)
		r = bundle_check_signature(b, o->cert, e);
	if (r < 0)
		return r;
	if (app->json)
		return out_json("bundle-pull",
				json_pack("{s:s, s:s, s:I}", "bundle", o->output, "digest", bundle_digest(b),
					  "received_bytes", (json_int_t)received));
	out_text("%s: %s, %s received\n", o->output, bundle_digest(b), ui_size(received));
	return 0;
}

static int pull_cmd(struct app *app, void *opts, int argc _unused_, char **argv, struct err *e)
{
	const struct remote_opts *o = opts;
	const struct bundle_remote from = remote_of(app, o, argv[0]);
	const struct bundle_apply how = { .want = { o->driver, o->flavour, o->kernel, o->arch },
					  .cert_path = o->cert };
	uint64_t received = 0;
	json_t *rows = NULL;
	int r;

	if (app->dry_run)
		return err_set(e, ERR_USAGE,
			       "bundle pull has no --dry-run: pull into a file and inspect that");
	if (o->output)
		return pull_file(app, o, &from, e);
	r = bundle_pull(app->engine->store, &from, &how, &rows, &received, e);
	if (r < 0)
		return r;
	if (app->json)
		return out_json("bundle-pull",
				json_pack("{s:s, s:I, s:o}", "reference", argv[0], "received_bytes",
					  (json_int_t)received, "objects", rows));
	print_rows(rows);
	out_text("%s received\n", ui_size(received));
	json_decref(rows);
	return 0;
}

const struct cmd cmd_bundle_pull = {
	.name = "bundle",
	.sub = "pull",
	.summary = "take a bundle from a registry into the store or a file",
	.args = "REFERENCE",
	.min_args = 1,
	.max_args = 1,
	.description = "Fetches the description, checks its signature if --cert is given, then only the "
		       "objects the store lacks, and "
		       "publishes them as bundle apply does. With --output the whole bundle becomes a file, "
		       "byte for byte the one that "
		       "was pushed. An interrupted transfer is continued by the next run.\n\n"
		       "REFERENCE is host[:port]/name with :tag or @sha256:digest; without either, --driver "
		       "and --kernel, if given, make the tag.",
	.examples =
	    "nvdriver bundle pull registry.example:5000/gpu/bundles --driver 535.261.03 -k $(uname -r)\n",
	.options = pull_options,
	.opts_size = sizeof(struct remote_opts),
	.run = pull_cmd,
};
