/* SPDX-License-Identifier: Apache-2.0
 *
 * `runfile`: everything about one driver package file. None of these run anything the package brings. */
#include "cmd.h"

#include "log.h"
#include "packer.h"
#include "parse.h"
#include "patch.h"
#include "payload.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

struct runfile_opts {
	const char *sha256, *directory, *output, *compression, *like, *label, *version, *targetdir, *kind,
	    *strip;
	char **only, **patches;
	uint64_t size, jobs, level, fuzz;
	bool manifest, strict, longer, verify, sums_only, strip_kernel, force, sync;
};

#define O(field) offsetof(struct runfile_opts, field)
#define OPT_PIN                                                                                              \
	{ "sha256",   0,	"HEX", "the digest the file must have; only then is it called authentic",    \
	  OPT_STRING, O(sha256) },                                                                           \
	{                                                                                                    \
		"size", 0, "BYTES", "the size the file must have", OPT_U64, O(size)                          \
	}
#define OPT_JOBS                                                                                             \
	{                                                                                                    \
		"jobs", 'j', "N", "threads for packing and unpacking; default: the number of CPUs", OPT_U64, \
		    O(jobs)                                                                                  \
	}

static void show_progress(uint64_t done_bytes, void *arg)
{
	progress_update(arg, done_bytes);
}

static struct runfile_options read_options(const struct runfile_opts *o, unsigned flags, struct progress *p)
{
	return (struct runfile_options){
		.flags = flags,
		.jobs = (unsigned)o->jobs,
		.pin = { o->sha256, o->size },
		.progress = p ? show_progress : NULL,
		.progress_arg = p,
	};
}

static const char *optional(const char *s)
{
	return s ? s : "";
}

/* ---- info ---- */

static json_t *header_json(const struct runfile *rf)
{
	const struct runfile_header *h = rf->header;
	const struct runfile_layout *l = &rf->layout;
	char md5[33];

	hex_encode(h->md5, sizeof(h->md5), md5);
	return json_pack(
	    "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:s?, s:I, s:I, s:I, s:I, s:I, s:I, "
	    "s:I, s:s, s:I, s:s}",
	    "file", rf->name, "label", h->label, "version", h->version, "pkg_version",
	    optional(h->pkg_version), "script", optional(h->script), "target_directory", h->targetdir,
	    "script_arguments", optional(h->scriptargs), "target_os", optional(h->target_os), "target_arch",
	    optional(h->target_arch), "generator", optional(h->generator), "crc", (json_int_t)h->crc, "md5",
	    h->has_md5 ? md5 : NULL, "skip", (json_int_t)h->skip, "skip_decompress",
	    (json_int_t)h->skip_decompress, "size_decompress", (json_int_t)h->size_decompress, "file_bytes",
	    (json_int_t)l->file_size, "decompressor_offset_bytes", (json_int_t)l->decompressor_offset,
	    "decompressor_bytes", (json_int_t)l->decompressor_size, "payload_offset_bytes",
	    (json_int_t)l->payload_offset, "compression", compression_name(l->compression), "unpacked_kib",
	    (json_int_t)h->uncompressed_kb, "date_of_packaging", optional(h->date_text));
}

static json_t *entry_json(const struct manifest_entry *en)
{
	static const char *const arches[] = { NULL, "native", "compat32" };
	json_t *j = json_pack("{s:s, s:s, s:o, s:b}", "file", en->file, "type", en->type_name, "mode",
			      json_sprintf("%04o", en->mode), "known", en->type != NULL);
	const struct {
		const char *key, *value;
	} texts[] = { { "arch", arches[en->arch] },
		      { "path", en->path },
		      { "inherited", en->inherited },
		      { "target", en->target },
		      { "module", en->module } };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (texts[i].value)
			(void)json_object_set_new(j, texts[i].key, json_string(texts[i].value));
	return j;
}

static json_t *strings_json(char *const *v)
{
	json_t *a = json_array();

	for (; v && *v; v++)
		(void)json_array_append_new(a, json_string(*v));
	return a;
}

static json_t *manifest_json(const struct manifest *m)
{
	json_t *entries = json_array();

	for (size_t i = 0; i < m->n_entries; i++)
		(void)json_array_append_new(entries, entry_json(&m->entries[i]));
	return json_pack("{s:s, s:s, s:o, s:s, s:s, s:o, s:o}", "description", m->description, "version",
			 m->version, "kernel_modules", strings_json(m->kernel_modules), "build_directory",
			 m->build_dir, "precompiled_directory", m->precompiled_dir, "notes",
			 strings_json(m->notes), "entries", entries);
}

static void print_info(const struct runfile *rf, const struct manifest *m, enum package_kind kind)
{
	const char *says = m ? "" : ", by its name";
	const struct runfile_header *h = rf->header;
	const struct runfile_layout *l = &rf->layout;

	out_text("%-20s %s\n%-20s %s\n%-20s %s%s\n", "package", h->label, "version", h->version, "kind",
		 package_kind_name(kind), says);
	out_text("%-20s %s\n%-20s %s\n", "architecture", optional(h->target_arch), "target directory",
		 h->targetdir);
	out_text("%-20s %llu bytes\n%-20s %s, at byte %llu\n", "size", (unsigned long long)l->file_size,
		 "payload", compression_name(l->compression), (unsigned long long)l->payload_offset);
	if (h->uncompressed_kb)
		out_text("%-20s %llu KiB, says the file\n", "unpacked",
			 (unsigned long long)h->uncompressed_kb);
	if (l->decompressor_size)
		out_text("%-20s %llu bytes\n", "decompressor", (unsigned long long)l->decompressor_size);
	out_text("%-20s CRC %u%s\n", "declared sums", h->crc, h->has_md5 ? " and MD5" : "");
	if (!m)
		return;
	out_text("%-20s", "kernel modules");
	for (char **k = m->kernel_modules; *k; k++)
		out_text(" %s", *k);
	out_text("\n%-20s %zu\n", "manifest entries", m->n_entries);
	for (char **n = m->notes; n && *n; n++)
		out_text("%-20s %s\n", "note", *n);
}

static int info_run(struct app *app, void *opts, int argc _unused_, char **argv, struct err *e)
{
	_cleanup_(runfile_freep) struct runfile *rf = NULL;
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	struct runfile_opts *o = opts;
	enum package_kind kind;
	json_t *j;
	int r = runfile_open_at(AT_FDCWD, argv[0], &rf, e);

	if (r < 0)
		return r;
	kind = runfile_header_kind(rf->header);
	if (o->manifest || o->strict) {
		r = runfile_manifest(rf, o->strict ? MANIFEST_STRICT : 0, &m, &kind, e);
		if (r < 0)
			return r;
	}
	if (!app->json) {
		print_info(rf, m, kind);
		return 0;
	}
	j = header_json(rf);
	(void)json_object_set_new(j, "kind", json_string(package_kind_name(kind)));
	(void)json_object_set_new(j, "kind_from", json_string(m ? "manifest" : "name"));
	if (m)
		(void)json_object_set_new(j, "manifest", manifest_json(m));
	return out_json("runfile-info", j);
}

static const struct opt info_options[] = {
	{ "manifest", 0, NULL, "also decode and show the package's list of files", OPT_FLAG, O(manifest) },
	{ "strict", 0, NULL, "refuse a manifest with unknown file types (implies --manifest)", OPT_FLAG,
	  O(strict) },
	{ 0 },
};

const struct cmd cmd_runfile_info = {
	.name = "runfile",
	.sub = "info",
	.summary = "what a driver package says about itself",
	.args = "FILE",
	.min_args = 1,
	.max_args = 1,
	.description = "Shows the header of a .run file: version, names, where its parts lie, declared "
		       "checksums. Nothing is "
		       "verified and, without --manifest, nothing decoded: the kind is then what the "
		       "package's name says.",
	.examples = "nvdriver runfile info NVIDIA-Linux-x86_64-535.261.03.run\n  takes a few milliseconds\n",
	.options = info_options,
	.opts_size = sizeof(struct runfile_opts),
	.flags = CMD_NO_ENGINE,
	.run = info_run,
};

/* ---- list ---- */

struct listing {
	bool longer;
	json_t *members; /* owned; NULL when printing */
	struct strbuf text;
};

static const char kind_letters[] = "-dlh";
static const char *const kind_names[] = { "file", "directory", "symlink", "hardlink" };

static int list_member(const struct tar_member *m, void *arg, struct err *e)
{
	struct listing *l = arg;
	const char *arrow = m->target ? " -> " : "";

	if (l->members) {
		json_t *j =
		    json_pack("{s:s, s:s, s:o, s:I, s:I}", "name", m->name, "kind", kind_names[m->kind],
			      "mode", json_sprintf("%04o", m->mode), "size_bytes", (json_int_t)m->size_bytes,
			      "mtime_s", (json_int_t)m->mtime_s);

		if (j && m->target)
			(void)json_object_set_new(j, "target", json_string(m->target));
		/* Names of archives need not be UTF-8, which JSON demands; one such is left out with a warning. */
		if (!j || json_array_append_new(l->members, j) < 0)
			log_warn("a member whose name is not UTF-8 is not shown");
		return TAR_SKIP;
	}
	if (l->longer)
		(void)strbuf_printf(&l->text, "%c %04o %12llu %s%s%s\n", kind_letters[m->kind], m->mode,
				    (unsigned long long)m->size_bytes, m->name, arrow, optional(m->target));
	else
		(void)strbuf_printf(&l->text, "%s\n", m->name);
	return strbuf_error(&l->text) < 0 ? err_errno(e, strbuf_error(&l->text), "too much to list")
					  : TAR_SKIP;
}

static int list_run(struct app *app, void *opts, int argc _unused_, char **argv, struct err *e)
{
	static const struct tar_visitor visitor = { list_member, NULL, NULL };
	_cleanup_(runfile_freep) struct runfile *rf = NULL;
	struct runfile_opts *o = opts;
	struct runfile_options ro =
	    read_options(o, o->verify ? RUNFILE_CHECK_SUMS : RUNFILE_TOLERATE_TRAILING, NULL);
	struct listing l = { .longer = o->longer,
			     .members = app->json ? json_array() : NULL,
			     .text = STRBUF_INIT((size_t)1 << 30) };
	struct runfile_report report;
	int r = runfile_open_at(AT_FDCWD, argv[0], &rf, e);

	if (r == 0)
		r = runfile_walk(rf, &ro, &visitor, &l, &report, e);
	if (r == 0 && report.trailing)
		log_warn("%s: data follows the end of the payload", argv[0]);
	if (r == 0 && app->json)
		r = out_json("runfile-list",
			     json_pack("{s:s, s:b, s:b, s:O}", "file", rf->name, "verified", o->verify,
				       "trailing_data", report.trailing, "members", l.members));
	else if (r == 0)
		out_text("%s", strbuf_str(&l.text));
	json_decref(l.members);
	strbuf_done(&l.text);
	return r;
}

static const struct opt list_options[] = {
	{ "long", 'l', NULL, "with kind, mode and size", OPT_FLAG, O(longer) },
	{ "verify", 0, NULL, "compare the checksums in the same pass and show nothing when they differ",
	  OPT_FLAG, O(verify) },
	OPT_JOBS,
	{ 0 },
};

const struct cmd cmd_runfile_list = {
	.name = "runfile",
	.sub = "list",
	.summary = "the members of a driver package",
	.args = "FILE",
	.min_args = 1,
	.max_args = 1,
	.description = "Lists the files in the order of the archive. A member that breaks a rule (a name "
		       "that leads outside, a "
		       "device, a duplicate) is an error.",
	.options = list_options,
	.opts_size = sizeof(struct runfile_opts),
	.flags = CMD_NO_ENGINE,
	.run = list_run,
};

/* ---- verify ---- */

static json_t *report_json(const struct runfile *rf, const struct runfile_report *report)
{
	char md5[33], sha256[SHA256_HEX_SIZE];

	hex_encode(report->sums.md5, MD5_SIZE, md5);
	hex_encode(report->sums.sha256, SHA256_SIZE, sha256);
	return json_pack("{s:s, s:s, s:I, s:s?, s:s?, s:I, s:b, s:b}", "file", rf->name, "version",
			 rf->header->version, "crc", (json_int_t)report->sums.crc, "md5",
			 rf->header->has_md5 ? md5 : NULL, "sha256", report->has_sha256 ? sha256 : NULL,
			 "file_bytes", (json_int_t)rf->layout.file_size, "intact", 1, "authentic",
			 report->authentic);
}

static void print_verdict(const struct runfile *rf, const struct runfile_report *report, bool decoded)
{
	char md5[33], sha256[SHA256_HEX_SIZE];

	hex_encode(report->sums.md5, MD5_SIZE, md5);
	hex_encode(report->sums.sha256, SHA256_SIZE, sha256);
	out_text("CRC      %u matches\n", report->sums.crc);
	if (rf->header->has_md5)
		out_text("MD5      %s matches\n", md5);
	else
		out_text("MD5      none declared\n");
	if (report->has_sha256)
		out_text("SHA-256  %s%s\n", sha256, report->authentic ? " matches" : "");
	if (decoded)
		out_text("members  %llu, %llu bytes, all within the rules\n",
			 (unsigned long long)report->members, (unsigned long long)report->total_bytes);
	if (report->has_kind)
		out_text("kind     %s\n", package_kind_name(report->kind));
	out_text("%s: %s\n", rf->name,
		 report->authentic ? "authentic" : "intact (its own sums; demand --sha256 for authenticity)");
}

static int verify_run(struct app *app, void *opts, int argc _unused_, char **argv, struct err *e)
{
	_cleanup_(runfile_freep) struct runfile *rf = NULL;
	struct runfile_opts *o = opts;
	struct progress p;
	struct runfile_options ro = read_options(o, RUNFILE_CHECK_SUMS | RUNFILE_SHA256, &p);
	struct runfile_report report;
	json_t *j;
	int r = runfile_open_at(AT_FDCWD, argv[0], &rf, e);

	if (r < 0)
		return r;
	progress_begin(&p, "verifying", rf->layout.file_size);
	r = o->sums_only ? runfile_verify_sums(rf, &ro, &report, e) : runfile_verify(rf, &ro, &report, e);
	progress_end(&p);
	if (r < 0)
		return r;
	if (!app->json) {
		print_verdict(rf, &report, !o->sums_only);
		return 0;
	}
	j = report_json(rf, &report);
	if (!o->sums_only)
		(void)json_object_set_new(j, "members", json_integer((json_int_t)report.members));
	if (report.has_kind)
		(void)json_object_set_new(j, "kind", json_string(package_kind_name(report.kind)));
	return out_json("runfile-verify", j);
}

static const struct opt verify_options[] = {
	OPT_PIN,
	{ "sums-only", 0, NULL, "only the sums: do not decode the payload, which may be damaged inside them",
	  OPT_FLAG, O(sums_only) },
	OPT_JOBS,
	{ 0 },
};

const struct cmd cmd_runfile_verify = {
	.name = "runfile",
	.sub = "verify",
	.summary = "check a driver package: sums, members, end",
	.args = "FILE",
	.min_args = 1,
	.max_args = 1,
	.description =
	    "Computes CRC, MD5 and SHA-256 and decodes the payload in one read. A member that breaks a "
	    "rule, a manifest that cannot be read and data behind the payload are errors.\n\n"
	    "CRC and MD5 are declared by the file itself and tell damage, not origin: only --sha256 "
	    "makes it authentic.",
	.options = verify_options,
	.opts_size = sizeof(struct runfile_opts),
	.flags = CMD_NO_ENGINE,
	.run = verify_run,
};

/* ---- extract ---- */

/* Split a path into an open directory and the last component. */
static int open_directory_of(const char *path, char *last, size_t size, struct err *e)
{
	_cleanup_free_ char *copy = strdup(path);
	char *slash;
	size_t n;
	int fd;

	if (!copy)
		return err_oom(e);
	for (n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
		copy[n - 1] = '\0';
	slash = strrchr(copy, '/');
	if (snprintf(last, size, "%s", slash ? slash + 1 : copy) >= (int)size || !last[0] ||
	    strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
		return err_set(e, -ERR_USAGE,
			       "%s does not end in a name, and a finished result can only be renamed to one",
			       path);
	if (slash)
		slash[slash == copy] = '\0';
	fd = open(slash ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_errno(e, -errno, "cannot open the directory of %s", path) : fd;
}

/* The steps a dry run would take, as the plan verbs print theirs. */
static int print_step(const struct app *app, const char *command, const char *type, const char *sentence,
		      json_t *args)
{
	if (app->json)
		return out_json(command, json_pack("{s:b, s:[{s:s, s:s, s:o}]}", "dry_run", 1, "operations",
						   "type", type, "sentence", sentence, "args", args));
	json_decref(args);
	out_text("would %s\n", sentence);
	return 0;
}

static int extract_dry(const struct app *app, const struct runfile *rf, int parent, const char *name,
		       const char *to, struct err *e)
{
	_cleanup_free_ char *sentence = str_printf("unpack %s into %s", rf->name, to);
	int r = runfile_destination(parent, name, NULL, e);

	if (r < 0)
		return r;
	if (!sentence)
		return err_oom(e);
	return print_step(app, "runfile-extract", "extract", sentence,
			  json_pack("{s:s, s:s, s:I}", "file", rf->name, "directory", to, "unpacked_kib",
				    (json_int_t)rf->header->uncompressed_kb));
}

static int extract_run(struct app *app, void *opts, int argc _unused_, char **argv, struct err *e)
{
	_cleanup_(runfile_freep) struct runfile *rf = NULL;
	_cleanup_close_ int parent = -EBADF;
	struct runfile_opts *o = opts;
	struct progress p;
	struct runfile_options ro = read_options(o, RUNFILE_CHECK_SUMS | (o->sync ? RUNFILE_SYNC : 0), &p);
	struct runfile_selection which = { o->only, o->strip_kernel };
	struct runfile_report report;
	char name[NAME_MAX + 1];
	const char *to;
	int r = runfile_open_at(AT_FDCWD, argv[0], &rf, e);

	if (r < 0)
		return r;
	to = o->directory ? o->directory : rf->header->targetdir;
	parent = open_directory_of(to, name, sizeof(name), e);
	if (parent < 0)
		return parent;
	if (app->dry_run)
		return extract_dry(app, rf, parent, name, to, e);
	progress_begin(&p, "extracting", rf->layout.file_size);
	r = runfile_extract(rf, parent, name, &which, &ro, &report, e);
	progress_end(&p);
	if (r < 0)
		return r;
	if (app->json)
		return out_json("runfile-extract",
				json_pack("{s:s, s:s, s:I, s:I, s:b}", "file", rf->name, "directory", to,
					  "members", (json_int_t)report.members, "total_bytes",
					  (json_int_t)report.total_bytes, "authentic", report.authentic));
	out_text("%s\n", to);
	return 0;
}

static const struct opt extract_options[] = {
	{ "directory", 'C', "DIR", "where to; must not exist or be empty; default: the package's own name",
	  OPT_STRING, O(directory), "dir" },
	{ "only", 0, "GLOB", "only members that match (may be repeated; * matches / too)", OPT_LIST,
	  O(only) },
	{ "strip-kernel", 0, NULL, "without the kernel module sources", OPT_FLAG, O(strip_kernel) },
	{ "sync", 0, NULL, "wait until everything is on the disk, so that a power cut loses nothing",
	  OPT_FLAG, O(sync) },
	OPT_PIN,
	OPT_JOBS,
	{ 0 },
};

const struct cmd cmd_runfile_extract = {
	.name = "runfile",
	.sub = "extract",
	.summary = "unpack a driver package",
	.args = "FILE",
	.min_args = 1,
	.max_args = 1,
	.description = "Unpacks into a private directory beside the destination while the checksums are "
		       "computed, and renames it "
		       "once they match; on any error nothing is left.",
	.examples = "nvdriver runfile extract driver.run -C tree\n  everything\n"
		    "nvdriver runfile extract driver.run -C docs --only 'html/*'\n  a part\n",
	.options = extract_options,
	.opts_size = sizeof(struct runfile_opts),
	.flags = CMD_NO_ENGINE,
	.run = extract_run,
};

/* ---- patch ---- */

static json_t *hunks_json(const struct patch_report *report)
{
	static const char *const actions[] = { "modified", "created", "deleted" };
	json_t *files = json_array();

	for (size_t i = 0; i < report->n_files; i++) {
		json_t *hunks = json_array();

		for (size_t k = 0; k < report->n_hunks; k++)
			if (report->hunks[k].file == i)
				(void)json_array_append_new(
				    hunks, json_pack("{s:I, s:I, s:I, s:I}", "hunk",
						     (json_int_t)report->hunks[k].hunk, "line",
						     (json_int_t)report->hunks[k].line, "offset_lines",
						     (json_int_t)report->hunks[k].offset, "fuzz",
						     (json_int_t)report->hunks[k].fuzz));
		(void)json_array_append_new(files, json_pack("{s:s, s:s, s:o}", "path", report->files[i].path,
							     "action", actions[report->files[i].action],
							     "hunks", hunks));
	}
	return files;
}

static void print_hunks(const struct patch_report *report)
{
	static const char *const actions[] = { "patched", "created", "deleted" };

	for (size_t i = 0; i < report->n_files; i++) {
		out_text("%s %s\n", actions[report->files[i].action], report->files[i].path);
		for (size_t k = 0; k < report->n_hunks; k++) {
			const struct patch_hunk_result *h = &report->hunks[k];

			if (h->file == i && (h->offset || h->fuzz))
				out_text("  hunk %u at line %llu (%lld lines off, fuzz %u)\n", h->hunk,
					 (unsigned long long)h->line, (long long)h->offset, h->fuzz);
		}
	}
	for (char **n = report->notes; n && *n; n++)
		out_text("note: %s\n", *n);
}

static void free_patches(struct patch **v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		patch_freep(&v[i]);
	free(v);
}

static int read_patches(char *const *paths, struct patch ***ret, size_t *ret_n, struct err *e)
{
	size_t n = strv_len(paths), i = 0;
	struct patch **v = calloc(n + 1, sizeof(struct patch *));
	int r = 0;

	if (!v)
		return err_oom(e);
	for (; i < n && r == 0; i++)
		r = patch_read_at(AT_FDCWD, paths[i], &v[i], e);
	if (r < 0) {
		free_patches(v, n);
		return r;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

static int patch_output(const struct runfile_opts *o, char *name, size_t size, struct err *e)
{
	int fd;

	name[0] = '\0';
	if (o->output)
		return open_directory_of(o->output, name, size, e);
	fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_errno(e, -errno, "cannot open the current directory") : fd;
}

static int strip_count(const char *text, int *ret, struct err *e)
{
	uint64_t n;

	*ret = PATCH_STRIP_AUTO;
	if (!text || strcmp(text, "auto") == 0)
		return 0;
	if (parse_u64(SPAN(text), 100, &n) < 0)
		return err_set(e, -ERR_USAGE, "--strip %s is neither auto nor a small number", text);
	*ret = (int)n;
	return 0;
}

static int patch_print(struct app *app, const struct runfile *rf, const struct patch_package_result *result)
{
	if (app->json)
		return out_json("runfile-patch",
				json_pack("{s:s, s:s, s:b, s:o}", "file", rf->name, "output", result->name,
					  "dry_run", app->dry_run, "files", hunks_json(result->report)));
	print_hunks(result->report);
	out_text("%s%s\n", app->dry_run ? "would write " : "", result->name);
	return 0;
}

static int patch_run(struct app *app, void *opts, int argc _unused_, char **argv, struct err *e)
{
	_cleanup_(runfile_freep) struct runfile *rf = NULL;
	_cleanup_close_ int out = -EBADF;
	struct runfile_opts *o = opts;
	struct runfile_options ro = read_options(o, RUNFILE_CHECK_SUMS, NULL);
	struct patch_options po = { .fuzz = (unsigned)o->fuzz, .dry_run = app->dry_run };
	struct patch_package_result result = { .report = NULL };
	struct patch **patches = NULL;
	char name[NAME_MAX + 1];
	size_t n = 0;
	int r;

	if (!o->patches)
		return err_set(e, -ERR_USAGE, "no patch is named (--patch FILE)");
	if (o->fuzz > PATCH_FUZZ_MAX)
		return err_set(e, -ERR_USAGE, "--fuzz is at most 2");
	r = strip_count(o->strip, &po.strip, e);
	if (r < 0)
		return r;
	r = runfile_open_at(AT_FDCWD, argv[0], &rf, e);
	if (r == 0)
		r = read_patches(o->patches, &patches, &n, e);
	if (r < 0)
		return r;
	r = out = patch_output(o, name, sizeof(name), e);
	if (r >= 0)
		r = patch_package(rf, patches, n, &po, &ro, out, name[0] ? name : NULL, o->force, &result, e);
	free_patches(patches, n);
	if (r == 0)
		r = patch_print(app, rf, &result);
	patch_report_freep(&result.report);
	return r;
}

static const struct opt patch_options_table[] = {
	{ "patch", 'p', "FILE", "a unified diff to apply (may be repeated, in this order)", OPT_LIST,
	  O(patches), "file" },
	{ "output", 'o', "FILE",
	  "the new package; default: the old name with -custom, in the current directory", OPT_STRING,
	  O(output), "file" },
	{ "strip", 0, "N", "leading directories to drop from names; default auto: the fewest that fit",
	  OPT_STRING, O(strip) },
	{ "fuzz", 0, "N", "context lines that may differ at each end of a hunk, up to 2; default 0", OPT_U64,
	  O(fuzz) },
	{ "force", 'f', NULL, "replace an existing output", OPT_FLAG, O(force) },
	OPT_PIN,
	OPT_JOBS,
	{ 0 },
};

const struct cmd cmd_runfile_patch = {
	.name = "runfile",
	.sub = "patch",
	.summary = "make a patched copy of a driver package",
	.args = "FILE",
	.min_args = 1,
	.max_args = 1,
	.description = "Verifies and unpacks the package privately, applies the patches all or nothing, "
		       "drops precompiled "
		       "modules, keeps the list of files right, and packs the result in the same format. "
		       "With --dry-run only "
		       "says where each hunk goes.",
	.examples =
	    "nvdriver runfile patch driver.run -p vgpu.patch\n  writes driver's name with -custom.run\n",
	.options = patch_options_table,
	.opts_size = sizeof(struct runfile_opts),
	.flags = CMD_NO_ENGINE,
	.run = patch_run,
};

/* ---- pack ---- */

static int pack_format(const struct runfile_opts *o, const struct runfile *like, struct pack_options *po,
		       struct err *e)
{
	po->compression = like ? like->layout.compression : COMPRESSION_ZSTD;
	if (o->compression && compression_parse(o->compression, &po->compression) < 0)
		return err_set(e, -ERR_USAGE, "\"%s\" is no compression format", o->compression);
	return 0;
}

static int source_date(int64_t *ret, struct err *e)
{
	const char *s = getenv("SOURCE_DATE_EPOCH");
	uint64_t n;

	*ret = PACK_EPOCH_NONE;
	if (!s || !*s)
		return 0;
	if (parse_u64(SPAN(s), (uint64_t)1 << 40, &n) < 0)
		return err_set(e, -ERR_USAGE, "SOURCE_DATE_EPOCH=%s is not a number of seconds", s);
	*ret = (int64_t)n;
	return 0;
}

static int kind_suffix(const char *kind, const char **ret, struct err *e)
{
	static const char *const rows[][2] = { { "passthrough", "" },
					       { "grid", "-grid" },
					       { "vgpu-kvm", "-vgpu-kvm" } };

	*ret = "";
	for (size_t i = 0; kind && i < ARRAY_LEN(rows); i++)
		if (strcmp(rows[i][0], kind) == 0) {
			*ret = rows[i][1];
			return 0;
		}
	return kind ? err_set(e, -ERR_USAGE, "\"%s\" is no kind of package", kind) : 0;
}

static int pack_print(struct app *app, const char *out, const struct pack_result *result)
{
	if (app->json)
		return out_json("runfile-pack",
				json_pack("{s:s, s:I, s:I, s:I, s:I, s:s, s:s}", "file", out, "members",
					  (json_int_t)result->members, "unpacked_bytes",
					  (json_int_t)result->unpacked_bytes, "file_bytes",
					  (json_int_t)result->file_bytes, "crc", (json_int_t)result->crc,
					  "md5", result->md5, "sha256", result->sha256));
	out_text("%s  %s\n", result->sha256, out);
	return 0;
}

static int pack_dry(const struct app *app, const char *tree, const struct runfile_opts *o, int out,
		    const char *name, const struct pack_options *po, struct err *e)
{
	const char *format = compression_name(po->compression);
	_cleanup_free_ char *sentence = str_printf("pack %s into %s as %s", tree, o->output, format);

	if (!sentence)
		return err_oom(e);
	if (!o->force && faccessat(out, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
		(void)err_set(e, -ERR_PACK_OUTPUT, "%s exists already", name);
		return err_object(e, "%s", name);
	}
	return print_step(
	    app, "runfile-pack", "pack", sentence,
	    json_pack("{s:s, s:s, s:s}", "directory", tree, "file", o->output, "compression", format));
}

static int pack_run(struct app *app, void *opts, int argc _unused_, char **argv, struct err *e)
{
	_cleanup_(runfile_freep) struct runfile *like = NULL;
	_cleanup_close_ int tree = -EBADF, out = -EBADF;
	struct runfile_opts *o = opts;
	struct pack_options po = { .level = o->level ? (int)o->level : PACK_LEVEL_DEFAULT,
				   .jobs = (unsigned)o->jobs,
				   .label = o->label,
				   .version = o->version,
				   .targetdir = o->targetdir };
	struct pack_result result;
	char name[NAME_MAX + 1];
	int r = 0;

	if (!o->output)
		return err_set(e, -ERR_USAGE, "no output is named (--output FILE)");
	if (o->like)
		r = runfile_open_at(AT_FDCWD, o->like, &like, e);
	if (r < 0 || (r = pack_format(o, like, &po, e)) < 0 || (r = source_date(&po.epoch_s, e)) < 0 ||
	    (r = kind_suffix(o->kind, &po.kind_suffix, e)) < 0)
		return r;
	po.like = like;
	tree = open(argv[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tree < 0)
		return err_errno(e, -errno, "cannot open %s", argv[0]);
	out = open_directory_of(o->output, name, sizeof(name), e);
	if (out < 0)
		return out;
	if (app->dry_run)
		return pack_dry(app, argv[0], o, out, name, &po, e);
	r = pack_tree(tree, out, name, o->force, &po, &result, e);
	return r < 0 ? r : pack_print(app, o->output, &result);
}

static const struct opt pack_options_table[] = {
	{ "output", 'o', "FILE", "the package to write", OPT_STRING, O(output), "file" },
	{ "compression", 0, "FORMAT", "zstd, xz, gzip or none; default zstd, or that of --like", OPT_STRING,
	  O(compression), "zstd xz gzip none" },
	{ "level", 0, "N", "compression level; default 9 for zstd, 6 for xz and gzip", OPT_U64, O(level) },
	{ "like", 0, "FILE", "keep this package's names, format and decompressor", OPT_STRING, O(like),
	  "file" },
	{ "label", 0, "TEXT", "description and version; default from the manifest", OPT_STRING, O(label) },
	{ "driver-version", 0, "VERSION", "default from the manifest", OPT_STRING, O(version) },
	{ "target-directory", 0, "NAME", "directory name the package unpacks to by itself", OPT_STRING,
	  O(targetdir) },
	{ "kind", 0, "KIND", "passthrough, grid or vgpu-kvm: part of the name", OPT_STRING, O(kind),
	  "passthrough grid vgpu-kvm" },
	{ "force", 'f', NULL, "replace an existing output", OPT_FLAG, O(force) },
	OPT_JOBS,
	{ 0 },
};

const struct cmd cmd_runfile_pack = {
	.name = "runfile",
	.sub = "pack",
	.summary = "make a driver package from an unpacked tree",
	.args = "DIR",
	.min_args = 1,
	.max_args = 1,
	.description = "Writes a .run file that published tools accept. The same tree gives the same bytes, "
		       "whatever the number of "
		       "threads; SOURCE_DATE_EPOCH fixes all times.",
	.examples = "nvdriver runfile pack tree -o driver.run\n  zstd\n"
		    "nvdriver runfile pack tree -o new.run --like old.run\n  as the old one was\n",
	.options = pack_options_table,
	.opts_size = sizeof(struct runfile_opts),
	.flags = CMD_NO_ENGINE,
	.run = pack_run,
};
