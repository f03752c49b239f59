/* SPDX-License-Identifier: Apache-2.0 */
#include "prepare.h"

#include "cms.h"
#include "digest.h"
#include "fd.h"
#include "flavour.h"
#include "kernelpkg.h"
#include "keys.h"
#include "ktree.h"
#include "log.h"
#include "modbuild.h"
#include "modset.h"
#include "parse.h"
#include "path.h"
#include "patchset.h"
#include "toolchain.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* State that travels from stage to stage. */
struct prepare {
	struct engine *en;
	const struct prepare_request *q;
	const char *flavour; /* "auto" until the driver's tree is known */
	json_t *stages; /* owned */
	bool plan_only;
	uint64_t stage_began_ns;

	char tree_id[65]; /* "" = not known yet (plan only) */
	char *version, *arch; /* owned */
	char *driver_kind; /* owned */

	char *release; /* owned */
	struct ktree *ktree; /* owned; NULL when the set is found without one */

	char *key_path, *cert_path; /* owned; NULL = unsigned */
	char set_key[65];
};

static void prepare_done(struct prepare *p)
{
	json_decref(p->stages);
	free(p->version);
	free(p->arch);
	free(p->driver_kind);
	free(p->release);
	ktree_freep(&p->ktree);
	free(p->key_path);
	free(p->cert_path);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void stage_begin(struct prepare *p)
{
	p->stage_began_ns = now_ns();
}

/* Close a stage with one row; `id` names an object of `kind` when not NULL. */
static int stage_end(struct prepare *p, const char *stage, const char *action, enum store_kind kind,
		     const char *id, const char *text, struct err *e)
{
	_cleanup_free_ char *path = id && p->en->store ? store_object_path(p->en->store, kind, id) : NULL;
	double seconds = (double)(now_ns() - p->stage_began_ns) / 1e9;
	json_t *row = json_pack("{s:s,s:s,s:s?,s:s?,s:f,s:s}", "stage", stage, "action", action, "id", id,
				"path", path, "seconds", seconds, "text", text);

	if (!row || json_array_append_new(p->stages, row) < 0)
		return err_oom(e);
	log_debug("%s: %s (%s, %.3f s)", stage, text, action, seconds);
	return 0;
}

/* -- driver -- */

/* Two requests with equal digests mean the same bytes: the kind, the version, and for local files their identity on
 * disk, so that a hit needs no reading. */
static int request_ref(const struct source *src, const char *arch, const struct prepare_request *q,
		       char **ret, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(STRBUF_TEXT_MAX);
	uint8_t digest[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];

	(void)strbuf_printf(&b, "%s\n%s\n%s\n%s\n%d\n", source_kind_name(src->kind),
			    src->version ? src->version : "", arch, q->sha256 ? q->sha256 : "", q->compat32);
	for (char **l = src->locations; l && *l; l++) {
		struct stat st;

		(void)strbuf_printf(&b, "%s\n", *l);
		if (stat(*l, &st) == 0)
			(void)strbuf_printf(&b, "%ju %ju %ju %jd.%09ld %jd.%09ld\n", (uintmax_t)st.st_dev,
					    (uintmax_t)st.st_ino, (uintmax_t)st.st_size,
					    (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
					    (intmax_t)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
	}
	if (strbuf_error(&b) < 0 || sha256_bytes(b.buf, b.len, digest) < 0)
		return err_oom(e);
	hex_encode(digest, sizeof(digest), hex);
	*ret = str_printf("request/%s", hex);
	return *ret ? 0 : err_oom(e);
}

static int keep_string(char **to, const char *from, struct err *e)
{
	char *copy = strdup(from ? from : "");

	if (!copy)
		return err_oom(e);
	free(*to);
	*to = copy;
	return 0;
}

/* A damaged object is not used and not in the way either: it is taken out and made anew. 0 = taken out. */
static int drop_damaged(struct prepare *p, int r, enum store_kind kind, const char *id, struct err *e)
{
	if (r != -ERR_STORE_DAMAGED || p->plan_only || p->en->store->read_only)
		return r;
	log_warn("%s; making it anew", e && e->reason ? e->reason : err_sentence(r));
	err_done(e);
	return store_remove(p->en->store, kind, id, e);
}

/* What the store's record says of a tree. */
static int tree_take(struct prepare *p, const char *id, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	json_t *record = NULL;
	int r;

	r = store_tree_open(p->en->store, id, &fd, &record, e);
	if (r < 0)
		return r;
	r = keep_string(&p->version, json_string_value(json_object_get(record, "version")), e);
	if (r == 0)
		r = keep_string(&p->arch, json_string_value(json_object_get(record, "arch")), e);
	if (r == 0)
		r = keep_string(&p->driver_kind, json_string_value(json_object_get(record, "kind")), e);
	json_decref(record);
	if (r < 0)
		return r;
	snprintf(p->tree_id, sizeof(p->tree_id), "%s", id);
	return 1;
}

/* Take the tree behind a ref when it is there and unchanged. 1 = taken. */
static int tree_from_ref(struct prepare *p, const char *ref, struct err *e)
{
	_cleanup_free_ char *id = NULL;
	enum store_kind kind;
	int r;

	if (!p->en->store || store_ref_get(p->en->store, ref, &kind, &id) < 0 || kind != STORE_TREE)
		return 0;
	if (!store_has(p->en->store, STORE_TREE, id))
		return 0;
	r = store_tree_verify(p->en->store, id, STORE_VERIFY_QUICK, NULL, e);
	if (r < 0)
		return drop_damaged(p, err_wrap(e, "driver tree behind %s", ref), STORE_TREE, id, e);
	return tree_take(p, id, e);
}

/* The names a tree is found by later. */
static int tree_set_refs(struct prepare *p, const char *request, const struct source_result *res,
			 struct err *e)
{
	_cleanup_free_ char *by_version = str_printf("driver/%s-%s", res->version, res->arch);
	_cleanup_free_ char *by_origin = res->origin_id ? str_printf("source/%s", res->origin_id) : NULL;
	int r;

	if (!by_version || (res->origin_id && !by_origin))
		return err_oom(e);
	r = store_ref_set(p->en->store, by_version, STORE_TREE, p->tree_id, e);
	if (r == 0 && by_origin)
		r = store_ref_set(p->en->store, by_origin, STORE_TREE, p->tree_id, e);
	/* Last: once it is there the next run looks no further. */
	if (r == 0 && request)
		r = store_ref_set(p->en->store, request, STORE_TREE, p->tree_id, e);
	return r;
}

static int tree_take_result(struct prepare *p, const struct source_result *res, struct err *e)
{
	int r = keep_string(&p->version, res->version, e);

	if (r == 0)
		r = keep_string(&p->arch, res->arch, e);
	if (r == 0)
		r = keep_string(&p->driver_kind, res->driver_kind, e);
	return r;
}

static int tree_stage(struct prepare *p, const struct source *src, const struct source_options *o,
		      struct source_result *res, struct err *e)
{
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_close_ int root_fd = -EBADF;
	json_t *meta;
	int r;

	r = store_stage_begin_root(p->en->store, &st, &root_fd, e);
	if (r < 0)
		return r;
	r = source_stage(src, o, root_fd, res, e);
	if (r < 0)
		return r;
	r = tree_take_result(p, res, e);
	if (r < 0)
		return r;
	meta = source_record(res);
	if (!meta)
		return err_oom(e);
	r = store_tree_add(&st, meta, p->tree_id, e);
	json_decref(meta);
	return r;
}

static int tree_obtain(struct prepare *p, const struct source *src, const struct source_options *o,
		       const char *request, struct err *e)
{
	_cleanup_(source_result_done) struct source_result res = { 0 };
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	int r;

	r = store_lock(p->en->store, STORE_TREE, request, p->en->lock_timeout_s, &lock, e);
	if (r < 0)
		return r;
	r = tree_from_ref(p, request, e); /* another run may have made it while we waited */
	if (r != 0)
		return r;
	r = tree_stage(p, src, o, &res, e);
	if (r < 0)
		return r;
	return tree_set_refs(p, request, &res, e);
}

/* A plain version is whatever driver of that version the store has (a bundle brought it, or another source); one that was
 * asked of a certain place only when that place cannot be reached. */
static int tree_from_version(struct prepare *p, const struct source *src, const char *arch, struct err *e)
{
	bool plain = p->q->n_source == 1 && version_is_valid(p->q->source[0]) && !p->q->compat32;
	_cleanup_free_ char *ref = NULL;

	if (!src->version || p->q->sha256 || (!plain && !p->en->offline))
		return 0;
	ref = str_printf("driver/%s-%s", src->version, arch);
	return ref ? tree_from_ref(p, ref, e) : err_oom(e);
}

static int tree_hit(struct prepare *p, struct err *e)
{
	_cleanup_free_ char *text = str_printf("driver %s (%s, %s)", p->version, p->arch, p->driver_kind);

	return text ? stage_end(p, "driver", "hit", STORE_TREE, p->tree_id, text, e) : err_oom(e);
}

/* A tree the caller found in the store itself. */
static int tree_given(struct prepare *p, struct err *e)
{
	int r;

	stage_begin(p);
	if (!p->en->store)
		return err_set(e, ERR_STORE_MISSING, "there is no store");
	r = store_tree_verify(p->en->store, p->q->tree_id, STORE_VERIFY_QUICK, NULL, e);
	if (r >= 0)
		r = tree_take(p, p->q->tree_id, e);
	return r < 0 ? r : tree_hit(p, e);
}

static int prepare_tree(struct prepare *p, struct err *e)
{
	struct source_options o = SOURCE_OPTIONS_INIT;
	_cleanup_(source_done) struct source src = SOURCE_INIT;
	_cleanup_free_ char *request = NULL, *text = NULL, *arch = NULL;
	int r, hit;

	stage_begin(p);
	r = source_parse(p->q->source, p->q->n_source, &src, e);
	if (r < 0)
		return r;
	if (host_machine(p->en->host, &arch) < 0 && !(arch = strdup("x86_64")))
		return err_oom(e);
	r = request_ref(&src, arch, p->q, &request, e);
	if (r < 0)
		return r;
	hit = tree_from_ref(p, request, e);
	if (hit == 0)
		hit = tree_from_version(p, &src, arch, e);
	if (hit != 0)
		return hit < 0 ? hit : tree_hit(p, e);
	if (p->plan_only)
		return stage_end(p, "driver", "would do", STORE_TREE, NULL,
				 "obtain, verify and unpack the driver", e);
	o.store = p->en->store;
	o.arch = arch;
	o.with_compat32 = p->q->compat32;
	o.offline = p->en->offline;
	o.proxy = p->en->fetch_proxy;
	o.attempts = p->en->fetch_attempts;
	o.sha256 = p->q->sha256;
	o.mirrors = p->q->mirrors;
	r = tree_obtain(p, &src, &o, request, e);
	if (r < 0)
		return err_wrap(e, "obtaining the driver");
	text = str_printf("driver %s (%s, %s)", p->version, p->arch, p->driver_kind);
	return text ? stage_end(p, "driver", "done", STORE_TREE, p->tree_id, text, e) : err_oom(e);
}

/* -- kernel -- */

/* "apt:WHICH": the release the store already has for it, or the headers fetched now. *ret_hit. */
static int kernel_from_apt(struct prepare *p, bool *ret_hit, struct err *e)
{
	if (!p->plan_only)
		return kernelpkg_from_apt(p->en, p->q->kernel, p->arch, &p->release, ret_hit, e);
	*ret_hit = kernelpkg_alias(p->en->store, p->q->kernel, &p->release) == 0;
	return 0;
}

static int kernel_release(struct prepare *p, bool *ret_hit, struct err *e)
{
	int r;

	*ret_hit = true;
	if (p->q->kernel && strncmp(p->q->kernel, "apt:", 4) == 0)
		return kernel_from_apt(p, ret_hit, e);
	if (p->q->kernel)
		return keep_string(&p->release, p->q->kernel, e);
	if (p->q->kernel_source)
		return 0; /* the tree says it */
	r = host_kernel_release(p->en->host, &p->release);
	if (r < 0) {
		(void)err_errno(e, r, "%s does not say which kernel it runs", p->en->host->root);
		return err_next(e, "name one with --kernel");
	}
	return 0;
}

/* Without a build tree a module set already in the store still serves. */
static int prepare_kernel(struct prepare *p, struct err *e)
{
	struct ktree_search where = { .source = p->q->kernel_source,
				      .output = p->q->kernel_output,
				      .host = p->en->host,
				      .store = p->en->store,
				      .arch = p->arch };
	_cleanup_(err_done) struct err why = ERR_INIT;
	_cleanup_free_ char *text = NULL;
	bool hit;
	int r;

	stage_begin(p);
	r = kernel_release(p, &hit, e);
	if (r < 0)
		return r;
	if (!p->release && !p->q->kernel_source)
		return stage_end(p, "kernel", "would do", STORE_KERNEL, NULL,
				 "fetch and unpack the kernel headers", e);
	where.release = p->release;
	r = ktree_find(&where, &p->ktree, &why);
	if (r < 0 && (r != -ERR_KTREE_NOT_FOUND || !p->release)) {
		err_move(e, &why);
		return r;
	}
	if (!p->release && (r = keep_string(&p->release, p->ktree->release, e)) < 0)
		return r;
	text = p->ktree ? str_printf("kernel %s, build tree %s", p->release, p->ktree->output)
			: str_printf("kernel %s, no build tree here", p->release);
	if (!text)
		return err_oom(e);
	return stage_end(p, "kernel", hit ? "hit" : "done", STORE_KERNEL,
			 p->ktree ? p->ktree->identity : NULL, text, e);
}

/* -- key -- */

static int prepare_key(struct prepare *p, struct err *e)
{
	char fingerprint[65];
	_cleanup_free_ char *text = NULL;
	bool made = false;
	int r = 0;

	stage_begin(p);
	if (p->q->key) {
		r = keep_string(&p->key_path, p->q->key, e);
		if (r == 0)
			r = keep_string(&p->cert_path, p->q->cert, e);
	} else if (p->q->generate_key && p->plan_only) {
		r = p->en->store ? keys_find(p->en->store, &p->key_path, &p->cert_path, e) : -ENOENT;
		if (r == -ENOENT)
			return stage_end(p, "key", "would do", STORE_KIND_COUNT, NULL,
					 "make a signing key pair", e);
	} else if (p->q->generate_key) {
		r = keys_ensure(p->en->store, &p->key_path, &p->cert_path, &made, e);
	} else {
		return 0;
	}
	if (r < 0)
		return r;
	r = modset_cert_fingerprint(p->cert_path, fingerprint, e);
	if (r < 0)
		return r;
	text = str_printf("signing certificate %s", p->cert_path);
	return text ? stage_end(p, "key", made ? "made" : "hit", STORE_KIND_COUNT, NULL, text, e)
		    : err_oom(e);
}

/* -- modules -- */

struct build_parts {
	struct patchset patches;
	struct toolchain tools;
};

static void build_parts_done(struct build_parts *b)
{
	patchset_done(&b->patches);
	toolchain_done(&b->tools);
}

/* 1 = found and verified. */
static int modules_find(struct prepare *p, const struct patchset *patches, struct err *e)
{
	char fingerprint[65] = MODSET_UNSIGNED, symvers[SHA256_HEX_SIZE] = "";
	struct modset_want want = { .driver = p->version,
				    .flavour = p->flavour,
				    .release = p->release,
				    .arch = p->arch,
				    .patch_digest = patches->digest,
				    .certificate = fingerprint,
				    .vermagic = p->ktree ? p->ktree->vermagic : NULL,
				    .foreign_symvers_sha256 = symvers };
	json_t *record = NULL;
	int r;

	if (!p->en->store)
		return 0;
	if (p->q->extra_symvers && (r = sha256_file_at(AT_FDCWD, p->q->extra_symvers, symvers)) < 0)
		return err_errno(e, r, "%s", p->q->extra_symvers);
	if (p->cert_path && (r = modset_cert_fingerprint(p->cert_path, fingerprint, e)) < 0)
		return r;
	r = modset_find(p->en->store, &want, p->set_key, &record, e);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	json_decref(record);
	r = modset_verify(p->en->store, p->set_key, NULL, e);
	if (r < 0)
		return drop_damaged(p, err_wrap(e, "module set %.12s", p->set_key), STORE_MODULE, p->set_key,
				    e);
	return 1;
}

static int modules_sign(struct prepare *p, const char *unsigned_key, struct err *e)
{
	struct modset_signing how = { .key_path = p->key_path,
				      .cert_path = p->cert_path,
				      .passphrase_fd = p->q->passphrase_fd };
	_cleanup_free_ char *hash = NULL, *text = NULL;
	bool guessed, hit;
	int r;

	stage_begin(p);
	r = ktree_sign_hash(p->ktree, &hash, &guessed);
	if (r < 0)
		return err_errno(e, r, "cannot tell the signature hash of kernel %s", p->release);
	if (guessed)
		log_warn("kernel %s does not say which hash its modules are signed with; using %s",
			 p->release, hash);
	how.hash = hash;
	r = modset_sign(p->en->store, unsigned_key, &how, p->set_key, &hit, e);
	if (r < 0)
		return err_wrap(e, "signing the modules");
	text = str_printf("modules signed with %s", hash);
	return text ? stage_end(p, "signatures", hit ? "hit" : "done", STORE_MODULE, p->set_key, text, e)
		    : err_oom(e);
}

static int modules_build(struct prepare *p, const struct build_parts *parts, char ret_key[65], struct err *e)
{
	_cleanup_close_ int tree_fd = -EBADF;
	_cleanup_free_ char *log = NULL, *text = NULL, *log_dir = str_printf("%s/tmp", p->en->store->path);
	struct modbuild b = { .driver = p->version,
			      .flavour = p->flavour,
			      .tree_id = p->tree_id,
			      .ktree = p->ktree,
			      .tools = &parts->tools,
			      .patches = &parts->patches,
			      .host = p->en->host,
			      .jobs = p->q->jobs,
			      .extra_symvers = p->q->extra_symvers,
			      .proc_version = p->q->banner,
			      .make_variables = p->q->make_variables,
			      .log_dir = log_dir };
	struct modbuild_result res = { 0 };
	json_t *record = NULL;
	int r;

	if (!log_dir)
		return err_oom(e);
	stage_begin(p);
	r = store_tree_open(p->en->store, p->tree_id, &tree_fd, &record, e);
	json_decref(record);
	if (r < 0)
		return r;
	b.tree_fd = tree_fd;
	r = modbuild_run(&b, p->en->store, &res, &log, e);
	if (r < 0)
		return log ? err_next(e, "read %s", log) : r;
	memcpy(ret_key, res.key, sizeof(res.key));
	text =
	    str_printf("%u %s modules for %s, %u probe answers reused, %u asked, %.1f s of CPU", res.modules,
		       p->flavour, p->release, res.probes_reused, res.probes_run, (double)res.cpu_ns / 1e9);
	return text ? stage_end(p, "modules", res.hit ? "hit" : "done", STORE_MODULE, res.key, text, e)
		    : err_oom(e);
}

static int modules_make(struct prepare *p, struct build_parts *parts, struct err *e)
{
	char unsigned_key[65];
	int r;

	if (!p->ktree)
		return err_set(e, ERR_KTREE_NOT_FOUND,
			       "no build tree for kernel %s, and no modules for it in the store", p->release);
	r = toolchain_choose(p->ktree, NULL, p->en->store, &parts->tools, e);
	if (r < 0)
		return r;
	r = modules_build(p, parts, unsigned_key, e);
	if (r < 0)
		return r;
	if (p->cert_path)
		return modules_sign(p, unsigned_key, e);
	memcpy(p->set_key, unsigned_key, sizeof(unsigned_key));
	return 0;
}

static int prepare_modules(struct prepare *p, struct err *e)
{
	_cleanup_(build_parts_done) struct build_parts parts = { PATCHSET_INIT, TOOLCHAIN_INIT };
	_cleanup_free_ char *text = NULL;
	int r;

	stage_begin(p);
	if (p->plan_only && (!p->version || !p->release || (p->q->generate_key && !p->cert_path)))
		return stage_end(p, "modules", "would do", STORE_MODULE, NULL,
				 "build and sign the kernel modules", e);
	r = patchset_load(NULL, p->version, p->flavour, p->ktree, p->q->patches, &parts.patches, e);
	if (r < 0)
		return r;
	r = modules_find(p, &parts.patches, e);
	if (r < 0)
		return r;
	if (r == 0 && p->plan_only)
		return stage_end(p, "modules", "would do", STORE_MODULE, NULL,
				 "build and sign the kernel modules", e);
	if (r == 0)
		return modules_make(p, &parts, e);
	text = str_printf("%s modules for %s%s", p->flavour, p->release,
			  p->cert_path ? ", signed" : ", unsigned");
	return text ? stage_end(p, "modules", "hit", STORE_MODULE, p->set_key, text, e) : err_oom(e);
}

/* -- package -- */

static int package_make(struct prepare *p, char ret_id[65], struct err *e)
{
	struct modset_signing how = { .key_path = p->key_path,
				      .cert_path = p->cert_path,
				      .passphrase_fd = p->q->passphrase_fd };
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_close_ int tree_fd = -EBADF;
	_cleanup_free_ char *name = NULL, *hash = NULL;
	json_t *record = NULL;
	bool guessed;
	int r;

	r = store_tree_open(p->en->store, p->tree_id, &tree_fd, &record, e);
	json_decref(record);
	if (r < 0)
		return r;
	r = store_stage_begin(p->en->store, &st, e);
	if (r < 0)
		return r;
	if (p->ktree && ktree_sign_hash(p->ktree, &hash, &guessed) == 0)
		how.hash = hash;
	r = modset_export(p->en->store, p->set_key, tree_fd, p->cert_path && how.hash ? &how : NULL,
			  st.dir_fd, &name, e);
	if (r < 0)
		return r;
	r = sha256_file_at(st.dir_fd, name, ret_id);
	if (r < 0)
		return err_errno(e, r, "cannot read the package just packed");
	r = store_publish(&st, STORE_PACKAGE, ret_id, e);
	return r < 0 ? r : 0;
}

static int prepare_package(struct prepare *p, struct err *e)
{
	_cleanup_free_ char *ref = NULL, *id = NULL;
	enum store_kind kind;
	char made[65];
	int r;

	stage_begin(p);
	if (p->plan_only && !*p->set_key)
		return stage_end(p, "package", "would do", STORE_PACKAGE, NULL,
				 "pack the modules in the vendor's format", e);
	ref = str_printf("precompiled/%s", p->set_key);
	if (!ref)
		return err_oom(e);
	if (store_ref_get(p->en->store, ref, &kind, &id) == 0 && kind == STORE_PACKAGE &&
	    store_has(p->en->store, kind, id))
		return stage_end(p, "package", "hit", STORE_PACKAGE, id, "vendor-format precompiled package",
				 e);
	if (p->plan_only)
		return stage_end(p, "package", "would do", STORE_PACKAGE, NULL,
				 "pack the modules in the vendor's format", e);
	r = package_make(p, made, e);
	if (r < 0)
		return err_wrap(e, "packing the modules");
	r = store_ref_set(p->en->store, ref, STORE_PACKAGE, made, e);
	return r < 0 ? r
		     : stage_end(p, "package", "done", STORE_PACKAGE, made,
				 "vendor-format precompiled package", e);
}

/* -- flavour -- */

/* Known only once the driver is: its own list of cards decides first. */
static int prepare_flavour(struct prepare *p, struct err *e)
{
	_cleanup_(flavour_choice_done) struct flavour_choice choice = { 0 };
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int tree_fd = -EBADF;
	json_t *record = NULL;
	int r;

	if (strcmp(p->flavour, "auto") != 0)
		return 0;
	stage_begin(p);
	if (!*p->tree_id)
		return stage_end(p, "flavour", "would do", STORE_KIND_COUNT, NULL,
				 "choose the modules by this machine's GPUs", e);
	r = store_tree_open(p->en->store, p->tree_id, &tree_fd, &record, e);
	json_decref(record);
	if (r == 0)
		r = flavour_choose(p->en->host, tree_fd, p->version, &choice, e);
	if (r < 0)
		return r;
	p->flavour = choice.flavour;
	text = str_printf("%s modules: %s", choice.flavour, choice.why);
	return text ? stage_end(p, "flavour", "done", STORE_KIND_COUNT, NULL, text, e) : err_oom(e);
}

static int prepare_all(struct prepare *p, struct err *e)
{
	static int (*const steps[])(struct prepare *, struct err *) = { prepare_flavour, prepare_kernel,
									prepare_key, prepare_modules };
	int r = p->q->tree_id ? tree_given(p, e) : prepare_tree(p, e);

	if (p->q->no_modules)
		return r;
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(steps); i++)
		r = steps[i](p, e);
	if (r == 0 && p->q->package)
		r = prepare_package(p, e);
	return r;
}

static int prepare_check_request(const struct prepare_request *q, const char *flavour, struct err *e)
{
	if (!q->n_source && !q->tree_id)
		return err_set(e, ERR_USAGE,
			       "name a driver: a version, apt:VERSION, a file, a directory or a URL");
	if (!!q->key != !!q->cert)
		return err_set(e, ERR_USAGE, "--key and --cert go together");
	if (strcmp(flavour, "proprietary") != 0 && strcmp(flavour, "open") != 0 &&
	    strcmp(flavour, "auto") != 0)
		return err_set(e, ERR_USAGE, "--flavour is proprietary, open or auto, not '%s'", flavour);
	return 0;
}

static int prepare_start(struct engine *en, const struct prepare_request *q, bool plan_only,
			 json_t **ret_stages, struct err *e)
{
	_cleanup_(prepare_done) struct prepare p = { .en = en,
						     .q = q,
						     .plan_only = plan_only,
						     .stages = json_array(),
						     .flavour = q->flavour ? q->flavour : "proprietary" };
	int r;

	if (!p.stages)
		return err_oom(e);
	r = prepare_check_request(q, p.flavour, e);
	if (r == 0)
		r = prepare_all(&p, e);
	if (r < 0)
		return r;
	*ret_stages = TAKE_PTR(p.stages);
	return 0;
}

int prepare_run(struct engine *en, const struct prepare_request *q, json_t **ret_stages, struct err *e)
{
	return prepare_start(en, q, false, ret_stages, e);
}

int prepare_plan(struct engine *en, const struct prepare_request *q, json_t **ret_stages, struct err *e)
{
	return prepare_start(en, q, true, ret_stages, e);
}
