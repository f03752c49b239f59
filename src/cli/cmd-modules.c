/* SPDX-License-Identifier: Apache-2.0
 *
 * nvdriver modules info|sign|verify: what modules and packages are, and who signed them. */
#include "cmd.h"

#include "fd.h"
#include "host.h"
#include "ktree.h"
#include "log.h"
#include "modinfo.h"
#include "modsig.h"
#include "parse.h"
#include "precompiled.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* A package begins with BEL; no module does, compressed or not. */
static bool is_package(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char first = 0;

	return fd >= 0 && pread(fd, &first, 1, 0) == 1 && first == '\a';
}

/* Texts of foreign files go to a terminal: what could steer it is replaced. */
static void out_field(const char *label, const char *text)
{
	out_text("%-14s ", label);
	for (; *text; text++)
		out_text("%c", ((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f ? '?' : *text);
	out_text("\n");
}

/* -- info ------------------------------------------------------------------------------------------------- */

struct info_opts {
	bool verify, lenient;
};

#define O(field) offsetof(struct info_opts, field)
static const struct opt info_options[] = {
	{ "verify", 0, NULL, "read the contents of a package too and check them", OPT_FLAG, O(verify) },
	{ "lenient", 0, NULL, "only warn about unknown attributes and trailing bytes of a package", OPT_FLAG,
	  O(lenient) },
	{ 0 },
};
#undef O

static json_t *package_file_json(const struct precompiled_file *f)
{
	json_t *o =
	    json_pack("{s:s,s:s,s:I,s:I,s:s,s:b,s:b}", "name", f->name, "type",
		      f->type == PRECOMPILED_INTERFACE ? "interface" : "module", "size_bytes",
		      (json_int_t)f->size_bytes, "crc", (json_int_t)f->crc, "target_directory", f->target_dir,
		      "detached_signature", (f->attributes & PRECOMPILED_DETACHED_SIGNATURE) != 0,
		      "embedded_signature", (f->attributes & PRECOMPILED_EMBEDDED_SIGNATURE) != 0);

	if (o && f->type == PRECOMPILED_INTERFACE)
		(void)json_object_update_new(
		    o, json_pack("{s:s,s:s}", "core_object", f->core_name, "linked_module", f->linked_name));
	if (o && (f->attributes & PRECOMPILED_LINKED_CRC))
		(void)json_object_set_new(o, "linked_module_crc", json_integer((json_int_t)f->linked_crc));
	return o;
}

static int package_info(const struct app *app, const struct info_opts *o, const char *path, struct err *e)
{
	_cleanup_(precompiled_freep) struct precompiled *p = NULL;
	unsigned flags = (o->verify ? PRECOMPILED_VERIFY : 0) | (o->lenient ? PRECOMPILED_LENIENT : 0);
	_cleanup_free_ char *text = NULL;
	json_t *files;
	int r;

	r = precompiled_open(AT_FDCWD, path, flags, &p, e);
	if (r < 0)
		return r;
	if (!app->json) {
		r = precompiled_info_text(p, &text, e);
		if (r >= 0)
			out_text("%s", text);
		return r;
	}
	files = json_array();
	for (uint32_t i = 0; i < p->n_files; i++)
		(void)json_array_append_new(files, package_file_json(&p->files[i]));
	return out_json("modules-info",
			json_pack("{s:s,s:s,s:s,s:s,s:s,s:o}", "kind", "package", "path", path, "description",
				  p->description, "driver_version", p->version, "proc_version",
				  p->proc_version, "files", files));
}

static json_t *list_json(char *const *list)
{
	json_t *a = json_array();

	for (; list && *list; list++)
		(void)json_array_append_new(a, json_string(*list));
	return a;
}

static json_t *signature_json(const struct cms_info *s)
{
	return json_pack("{s:s,s:s,s:s,s:s}", "signer", s->signer, "key_id", s->key_id, "hash", s->hash,
			 "algorithm", s->algorithm);
}

static int module_json(const char *path, const struct modinfo *m)
{
	json_t *params = json_object();

	for (size_t i = 0; i < m->n_params; i++)
		(void)json_object_set_new(params, m->params[i].name,
					  json_pack("{s:s?,s:s?}", "type", m->params[i].type, "description",
						    m->params[i].description));
	return out_json("modules-info",
			json_pack("{s:s,s:s,s:s?,s:s?,s:s?,s:s?,s:s?,s:s,s:I,s:o,s:o,s:o,s:o}", "kind",
				  "module", "path", path, "name", m->name, "version", m->version, "license",
				  m->license, "vermagic", m->vermagic, "srcversion", m->srcversion,
				  "compression", m->compression, "size_bytes", (json_int_t)m->size_bytes,
				  "depends", list_json(m->depends), "firmware", list_json(m->firmware),
				  "parameters", params, "signature",
				  m->is_signed ? signature_json(&m->signature) : json_null()));
}

static void module_text(const char *path, const struct modinfo *m)
{
	const struct {
		const char *label, *text;
	} fields[] = {
		{ "file:", path },
		{ "name:", m->name },
		{ "version:", m->version },
		{ "license:", m->license },
		{ "srcversion:", m->srcversion },
		{ "vermagic:", m->vermagic },
		{ "signer:", m->is_signed ? m->signature.signer : NULL },
		{ "sig_key:", m->is_signed ? m->signature.key_id : NULL },
		{ "sig_hashalgo:", m->is_signed ? m->signature.hash : NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		if (fields[i].text)
			out_field(fields[i].label, fields[i].text);
	}
	for (char **d = m->depends; d && *d; d++)
		out_field("depends:", *d);
	for (char **f = m->firmware; f && *f; f++)
		out_field("firmware:", *f);
	for (size_t i = 0; i < m->n_params; i++)
		out_field("parameter:", m->params[i].name);
}

static int modules_info(struct app *app, void *opts, int argc _unused_, char **argv, struct err *e)
{
	_cleanup_(modinfo_done) struct modinfo m = MODINFO_INIT;
	int r;

	if (is_package(argv[0]))
		return package_info(app, opts, argv[0], e);
	r = modinfo_read_at(AT_FDCWD, argv[0], &m, e);
	if (r < 0)
		return r;
	if (app->json)
		return module_json(argv[0], &m);
	module_text(argv[0], &m);
	return 0;
}

const struct cmd cmd_modules_info = {
	.name = "modules",
	.sub = "info",
	.summary = "show what a kernel module or precompiled package says about itself",
	.args = "FILE",
	.min_args = 1,
	.max_args = 1,
	.description =
	    "For a module (also .xz, .zst, .gz): version, vermagic, dependencies, parameters, signer. For a "
	    "precompiled "
	    "package: its header and files, in the layout the vendor's tool prints; contents are not read "
	    "without --verify.",
	.options = info_options,
	.opts_size = sizeof(struct info_opts),
	.flags = CMD_NO_ENGINE,
	.run = modules_info,
};

/* -- sign ------------------------------------------------------------------------------------------------- */

struct sign_opts {
	const char *key, *cert, *hash, *passphrase_fd, *output, *tool, *kernel, *kernel_source,
	    *kernel_output;
	bool resign, key_id;
};

#define O(field) offsetof(struct sign_opts, field)
static const struct opt sign_options[] = {
	{ "key", 'k', "KEY", "private key: PEM file or pkcs11: URI", OPT_STRING, O(key), "file" },
	{ "cert", 'c', "FILE", "its certificate, PEM or DER", OPT_STRING, O(cert), "file" },
	{ "hash", 0, "NAME", "hash to sign with; default: what the named kernel wants, else sha256",
	  OPT_STRING, O(hash), "sha256 sha384 sha512" },
	{ "kernel", 0, "RELEASE", "kernel the modules are for; its build tree names the hash", OPT_STRING,
	  O(kernel) },
	{ "kernel-source", 0, "DIR", "its build tree, instead of looking for one", OPT_STRING,
	  O(kernel_source), "dir" },
	{ "kernel-output", 0, "DIR", "its output directory where the two are separate", OPT_STRING,
	  O(kernel_output), "dir" },
	{ "passphrase-fd", 0, "N", "descriptor whose first line opens the key", OPT_STRING,
	  O(passphrase_fd) },
	{ "output-directory", 'o', "DIR", "write the signed copies there; default: in place", OPT_STRING,
	  O(output), "dir" },
	{ "resign", 0, NULL, "replace an existing signature", OPT_FLAG, O(resign) },
	{ "key-id", 0, NULL, "name the signer by its key id instead of issuer and serial number", OPT_FLAG,
	  O(key_id) },
	{ "signing-tool", 0, "PROGRAM", "sign with this program: PROGRAM HASH KEY CERT MODULE", OPT_STRING,
	  O(tool), "file" },
	{ 0 },
};
#undef O

static int parse_passphrase_fd(const char *text, int *ret, struct err *e)
{
	uint64_t fd;

	*ret = -EBADF;
	if (!text)
		return 0;
	if (parse_u64(SPAN(text), INT_MAX, &fd) < 0)
		return err_set(e, -ERR_USAGE,
			       "--passphrase-fd takes the number of an open descriptor, not '%s'", text);
	*ret = (int)fd;
	return 0;
}

static int open_dir(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? err_errno(e, -errno, "cannot open directory %s", path) : fd;
}

static int sign_one(const struct sign_opts *o, const struct modsig_options *how, const char *path,
		    struct err *e)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	_cleanup_free_ char *dir =
	    slash == path ? strdup("/") : strndup(path, slash ? (size_t)(slash - path) : 0);
	_cleanup_close_ int from_fd = -EBADF, to_fd = -EBADF;

	if (!dir)
		return err_oom(e);
	from_fd = open_dir(*dir ? dir : ".", e);
	if (from_fd < 0)
		return from_fd;
	to_fd = open_dir(o->output ? o->output : (*dir ? dir : "."), e);
	if (to_fd < 0)
		return to_fd;
	return modsig_sign_file(from_fd, name, to_fd, name, how, e);
}

/* A signing tool runs in the module's directory, so what it opens by name is made absolute. */
static int tool_paths(const struct sign_opts *o, struct modsig_options *how, char *paths[2], struct err *e)
{
	const char *const given[] = { o->key, o->cert };

	if (!o->tool)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(given); i++) {
		bool is_uri = i == 0 && strncmp(o->key, "pkcs11:", 7) == 0;

		paths[i] = is_uri ? strdup(given[i]) : realpath(given[i], NULL);
		if (!paths[i])
			return err_errno(e, -errno, "cannot find %s", given[i]);
	}
	how->tool = o->tool;
	how->key_path = paths[0];
	how->cert_path = paths[1];
	return 0;
}

static int modules_sign_all(struct app *app, const struct sign_opts *o, const struct modsig_options *how,
			    int argc, char **argv, struct err *e)
{
	json_t *done = json_array();
	int r = 0;

	for (int i = 0; r >= 0 && i < argc; i++) {
		if (!app->dry_run)
			r = sign_one(o, how, argv[i], e);
		if (r >= 0 && !app->json)
			out_text("%s: %s with %s\n", argv[i], app->dry_run ? "would be signed" : "signed",
				 how->hash);
		(void)json_array_append_new(done, json_string(argv[i]));
	}
	if (r < 0 || !app->json) {
		json_decref(done);
		return r;
	}
	return out_json("modules-sign", json_pack("{s:o,s:s,s:b}", "modules", done, "hash", how->hash,
						  "dry_run", (int)app->dry_run));
}

/* What the kernel named asks for; without one, or when its configuration does not say, sha256 with a warning. */
static int choose_hash(const struct app *app, const struct sign_opts *o, char **ret, struct err *e)
{
	_cleanup_(host_freep) struct host *host = NULL;
	_cleanup_(ktree_freep) struct ktree *tree = NULL;
	struct ktree_search where = { .source = o->kernel_source,
				      .output = o->kernel_output,
				      .release = o->kernel };
	bool guessed = true;
	int r;

	if (o->hash) {
		*ret = strdup(o->hash);
		return *ret ? 0 : err_oom(e);
	}
	if (!o->kernel && !o->kernel_source) {
		log_warn(
		    "neither --hash nor a kernel given: using sha256; a kernel built for another hash may "
		    "refuse it");
		*ret = strdup("sha256");
		return *ret ? 0 : err_oom(e);
	}
	r = host_open(app->root, &host, e);
	if (r < 0)
		return r;
	where.host = host;
	r = ktree_find(&where, &tree, e);
	if (r < 0)
		return r;
	if (ktree_sign_hash(tree, ret, &guessed) < 0)
		return err_oom(e);
	if (guessed)
		log_warn("the kernel's configuration names no hash for modules: using %s", *ret);
	return 0;
}

static int modules_sign(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	struct sign_opts *o = opts;
	_cleanup_(signer_freep) struct signer *signer = NULL;
	_cleanup_free_ char *hash = NULL;
	struct modsig_options how = { .use_key_id = o->key_id, .resign = o->resign };
	char *paths[2] = { NULL, NULL };
	int fd, r;

	if (!o->key || !o->cert)
		return err_set(e, -ERR_USAGE, "needs --key and --cert");
	r = choose_hash(app, o, &hash, e);
	if (r < 0)
		return r;
	if (!cms_hash_is_known(hash))
		return err_set(e, -ERR_HASH_UNKNOWN, "%s", hash);
	r = parse_passphrase_fd(o->passphrase_fd, &fd, e);
	if (r >= 0)
		r = signer_load(o->key, o->cert, fd, &signer, e);
	if (r < 0)
		return r;
	how.hash = hash;
	how.signer = signer;
	r = tool_paths(o, &how, paths, e);
	if (r >= 0)
		r = modules_sign_all(app, o, &how, argc, argv, e);
	free(paths[0]);
	free(paths[1]);
	return r;
}

const struct cmd cmd_modules_sign = {
	.name = "modules",
	.sub = "sign",
	.summary = "sign kernel modules",
	.args = "MODULE...",
	.min_args = 1,
	.max_args = -1,
	.description =
	    "Adds the signature the kernel checks when it loads a module, byte for byte as the kernel's own "
	    "program would. "
	    "Each module is replaced by a finished copy that has been verified against the certificate.",
	.examples =
	    "nvdriver modules sign --key mok.key --cert mok.der --hash sha512 nvidia.ko nvidia-uvm.ko\n"
	    "  sign two modules in place\n",
	.options = sign_options,
	.opts_size = sizeof(struct sign_opts),
	.flags = CMD_NO_ENGINE,
	.run = modules_sign,
};

/* -- verify ----------------------------------------------------------------------------------------------- */

struct verify_opts {
	const char *cert;
	bool lenient;
};

#define O(field) offsetof(struct verify_opts, field)
static const struct opt verify_options[] = {
	{ "cert", 'c', "FILE", "certificate the modules must be signed for, PEM or DER", OPT_STRING, O(cert),
	  "file" },
	{ "lenient", 0, NULL, "only warn about unknown attributes and trailing bytes of a package", OPT_FLAG,
	  O(lenient) },
	{ 0 },
};
#undef O

static int verify_module(const struct cert *cert, const char *path, char **ret_text, struct err *e)
{
	_cleanup_close_ int fd = module_open(AT_FDCWD, path, NULL, e);
	struct cms_info info;
	int r;

	if (fd < 0)
		return fd;
	r = cert ? modsig_verify_fd(fd, cert, &info, e) : modsig_info_fd(fd, &info, e);
	if (r < 0)
		return err_object(e, "%s", path);
	*ret_text = str_printf("%s by \"%s\", key %s, %s", cert ? "signed" : "claims to be signed",
			       info.signer, info.key_id, info.hash);
	return *ret_text ? 0 : err_oom(e);
}

static int verify_package(const char *path, bool lenient, char **ret_text, struct err *e)
{
	_cleanup_(precompiled_freep) struct precompiled *p = NULL;
	int r =
	    precompiled_open(AT_FDCWD, path, PRECOMPILED_VERIFY | (lenient ? PRECOMPILED_LENIENT : 0), &p, e);

	if (r < 0)
		return r;
	*ret_text = str_printf("package for driver %s, %u files intact", p->version, p->n_files);
	return *ret_text ? 0 : err_oom(e);
}

static json_t *verdict_json(const char *path, const char *text, const struct err *why)
{
	if (!why->code)
		return json_pack("{s:s,s:b,s:s}", "path", path, "good", 1, "text", text);
	return json_pack("{s:s,s:b,s:s,s:s?}", "path", path, "good", 0, "slug", err_slug(why->code), "reason",
			 why->reason);
}

/* Every file is judged and shown; the first failure is the command's. */
static int modules_verify(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	struct verify_opts *o = opts;
	_cleanup_(cert_freep) struct cert *cert = NULL;
	json_t *files = json_array();
	int r = o->cert ? cert_load(o->cert, &cert, e) : 0;
	int first = r;

	for (int i = 0; r >= 0 && i < argc; i++) {
		_cleanup_(err_done) struct err why = ERR_INIT;
		_cleanup_free_ char *text = NULL;
		int one = is_package(argv[i]) ? verify_package(argv[i], o->lenient, &text, &why)
					      : verify_module(cert, argv[i], &text, &why);

		(void)json_array_append_new(files, verdict_json(argv[i], text, &why));
		if (!app->json)
			out_text("%s: %s\n", argv[i], one < 0 ? err_slug(why.code) : text);
		if (one < 0 && first >= 0) {
			first = one;
			err_move(e, &why);
		}
	}
	if (!app->json || first < 0) {
		json_decref(files);
		return first;
	}
	return out_json("modules-verify", json_pack("{s:o}", "files", files));
}

const struct cmd cmd_modules_verify = {
	.name = "modules",
	.sub = "verify",
	.summary = "check module signatures and precompiled packages",
	.args = "FILE...",
	.min_args = 1,
	.max_args = -1,
	.description = "Modules: the signature must be present, readable, and, with --cert, made by that "
		       "certificate's key over exactly "
		       "the module's content. Packages: every byte is read and every checksum compared.",
	.options = verify_options,
	.opts_size = sizeof(struct verify_opts),
	.flags = CMD_NO_ENGINE,
	.run = modules_verify,
};
