/* SPDX-License-Identifier: Apache-2.0
 *
 * From a package to a set: contents are copied out while their CRCs are checked, interface objects linked, signatures put
 * back, and what the modules say of themselves compared with what the package claims. */
#include "modset-internal.h"

#include "cms.h"
#include "digest.h"
#include "fd.h"
#include "log.h"
#include "modlink.h"
#include "modsig.h"
#include "parse.h"
#include "precompiled-internal.h"
#include "strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct import {
	struct store *s;
	const struct modset_import *q;
	struct precompiled *p; /* owned */
	struct cert *cert; /* owned; NULL = signatures are not judged */
	struct store_stage work, result;
	int tree_fd, flavour_fd;
	const char *flavour; /* borrowed */
	char sha256[SHA256_HEX_SIZE]; /* of the package */
	char *vermagic, *release, *arch, *hash; /* owned; of the modules */
	json_t *modules; /* owned */
	size_t n_signed;
};

static void import_done(struct import *w)
{
	precompiled_freep(&w->p);
	cert_freep(&w->cert);
	store_stage_done(&w->work);
	store_stage_done(&w->result);
	close_fdp(&w->tree_fd);
	close_fdp(&w->flavour_fd);
	free(w->vermagic);
	free(w->release);
	free(w->arch);
	free(w->hash);
	json_decref(w->modules);
}

/* -- what the package is -- */

/* The file that brings a module: whole, or as the interface it is linked from. NULL when there is none. */
static const struct precompiled_file *file_of(const struct precompiled *p, const char *module)
{
	size_t len = strlen(module);

	for (uint32_t i = 0; i < p->n_files; i++) {
		const struct precompiled_file *f = &p->files[i];
		const char *name = f->type == PRECOMPILED_INTERFACE ? f->linked_name : f->name;

		if (strncmp(name, module, len) == 0 && strcmp(name + len, ".ko") == 0)
			return f;
	}
	return NULL;
}

static int check_covers(const struct import *w, struct err *e)
{
	static char *const always[] = { (char *)"nvidia", NULL };
	char *const *const lists[] = { always, w->q->modules };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		for (char *const *m = lists[i]; m && *m; m++)
			if (!file_of(w->p, *m))
				return err_set(e, ERR_PRECOMPILED_INCOMPLETE, "no file for %s", *m);
	return 0;
}

static int open_package(struct import *w, struct err *e)
{
	int r = precompiled_open(w->q->dirfd, w->q->path,
				 PRECOMPILED_VERIFY | (w->q->lenient ? PRECOMPILED_LENIENT : 0), &w->p, e);

	if (r == 0)
		r = check_covers(w, e);
	if (r < 0)
		return r;
	r = sha256_fd_hex(w->p->fd, w->sha256);
	return r < 0 ? err_errno(e, r, "reading %s", w->q->path) : 0;
}

static bool has_interfaces(const struct precompiled *p)
{
	for (uint32_t i = 0; i < p->n_files; i++)
		if (p->files[i].type == PRECOMPILED_INTERFACE)
			return true;
	return false;
}

/* The licence of nvidia, whole or as interface object, is the one difference a package shows. */
static int find_flavour(struct import *w, struct err *e)
{
	_cleanup_(modinfo_done) struct modinfo m = MODINFO_INIT;
	const char *nvidia = file_of(w->p, "nvidia")->name;
	int r;

	w->flavour = w->q->flavour;
	if (w->flavour)
		return 0;
	r = modinfo_read_at(w->work.dir_fd, nvidia, &m, e);
	if (r < 0)
		return err_wrap(e, "%s of the package", nvidia);
	w->flavour = m.license && strstr(m.license, "GPL") ? "open" : "proprietary";
	return 0;
}

/* -- contents -- */

static int copy_out(struct import *w, const struct precompiled_file *f, int dir, struct err *e)
{
	_cleanup_close_ int to =
	    openat(dir, f->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);

	if (to < 0)
		return err_errno(e, -errno, "writing %s of the package", f->name);
	return precompiled_copy_content(w->p, f, to, e);
}

static int copy_all(struct import *w, struct err *e)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < w->p->n_files; i++)
		r = copy_out(w, &w->p->files[i], w->work.dir_fd, e);
	return r;
}

static int open_core_objects(struct import *w, struct err *e)
{
	const char *dir = strcmp(w->flavour, "open") == 0 ? "kernel-open" : "kernel";
	int r;

	if (!has_interfaces(w->p))
		return 0;
	if (!w->q->tree_id) {
		err_set(e, ERR_MODULE_SOURCE,
			"the package's interface objects need driver %s, which the store does not hold",
			w->p->version);
		return err_next(e, "run: nvdriver prepare %s --no-modules", w->p->version);
	}
	r = store_tree_verify_below(w->s, w->q->tree_id, dir, e);
	if (r == 0)
		r = store_tree_open(w->s, w->q->tree_id, &w->tree_fd, NULL, e);
	if (r < 0)
		return r;
	r = modset_open_flavour(w->tree_fd, w->flavour, &w->flavour_fd, e);
	if (r == 0 && w->flavour_fd < 0)
		return err_set(e, ERR_MODULE_SOURCE, "%s of driver %s", dir, w->p->version);
	return r;
}

/* The signature that was made over this very link. 0 = the module is as it shall be. */
static int attach(struct import *w, const struct precompiled_file *f, const struct modlink_result *linked,
		  struct err *e)
{
	_cleanup_(err_done) struct err why = ERR_INIT;
	_cleanup_free_ uint8_t *signature = NULL;
	int r;

	if (!(f->attributes & PRECOMPILED_LINKED_CRC))
		return 0;
	r = modlink_check_crc(linked, f->linked_crc, &why);
	if (r < 0 && w->q->allow_unsigned && !w->cert) {
		log_warn("%s: %s; kept without its signature", f->linked_name, why.reason ? why.reason : "");
		return 0;
	}
	if (r < 0) {
		err_move(e, &why);
		return r;
	}
	r = precompiled_signature(w->p, f, &signature);
	if (r == -ENODATA)
		return 0;
	if (r < 0)
		return err_errno(e, r, "signature of %s", f->linked_name);
	return modsig_attach(w->work.dir_fd, f->linked_name, w->work.dir_fd, f->linked_name, signature,
			     f->signature_size, w->cert, e);
}

static int link_interface(struct import *w, const struct precompiled_file *f, struct err *e)
{
	struct modlink l = { .dirfd = w->work.dir_fd,
			     .interface = f->name,
			     .core = f->core_name,
			     .output = f->linked_name,
			     .log_fd = -EBADF };
	struct modlink_result linked;
	int r = modset_bring(w->flavour_fd, f->core_name, w->work.dir_fd, f->core_name);

	if (r == -EEXIST)
		r = 0;
	if (r == -ENOENT)
		return err_set(e, ERR_MODULE_SOURCE, "driver %s has no %s", w->p->version, f->core_name);
	if (r < 0)
		return err_errno(e, r, "bringing %s", f->core_name);
	r = modlink_run(&l, &linked, e);
	return r < 0 ? r : attach(w, f, &linked, e);
}

/* -- what the modules say -- */

static int mismatch(const char *file, const char *what, const char *has, const char *wanted, struct err *e)
{
	return err_set(e, ERR_PRECOMPILED_MISMATCH, "%s is of %s %s, not %s", file, what,
		       has ? has : "(unknown)", wanted);
}

static int keep_first(char **to, const char *text)
{
	if (!*to)
		*to = strdup(text);
	return *to ? 0 : -ENOMEM;
}

static const char *arch_name(uint16_t machine)
{
	return machine == 62 ? "x86_64" : machine == 183 ? "aarch64" : "other";
}

static int check_module(struct import *w, const char *file, const struct modinfo *m, const char *arch,
			struct err *e)
{
	if (keep_first(&w->vermagic, m->vermagic ? m->vermagic : "") < 0 || keep_first(&w->arch, arch) < 0)
		return err_oom(e);
	if (m->version && strcmp(m->version, w->p->version) != 0)
		return mismatch(file, "driver", m->version, w->p->version, e);
	if (!m->vermagic || !*m->vermagic || strcmp(m->vermagic, w->vermagic) != 0)
		return mismatch(file, "vermagic", m->vermagic, w->vermagic, e);
	return strcmp(arch, w->arch) != 0 ? mismatch(file, "architecture", arch, w->arch, e) : 0;
}

static int check_signature(struct import *w, int fd, const struct modinfo *m, struct err *e)
{
	w->n_signed += m->is_signed;
	if (m->is_signed && !w->hash && keep_first(&w->hash, m->signature.hash) < 0)
		return err_oom(e);
	return w->cert ? modsig_verify_fd(fd, w->cert, NULL, e) : 0;
}

/* One finished module goes into the set. */
static int take_module(struct import *w, const char *file, struct err *e)
{
	_cleanup_(modinfo_done) struct modinfo m = MODINFO_INIT;
	_cleanup_close_ int fd = openat(w->work.dir_fd, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct module_shape shape;
	json_t *entry;
	int r = fd < 0 ? err_errno(e, -errno, "%s", file) : modinfo_read_fd(fd, &m, e);

	if (r == 0)
		r = module_shape_fd(fd, &shape, e);
	if (r == 0)
		r = check_module(w, file, &m, arch_name(shape.machine), e);
	if (r == 0)
		r = check_signature(w, fd, &m, e);
	if (r < 0)
		return err_wrap(e, "%s of the package", file);
	if (linkat(w->work.dir_fd, file, w->result.dir_fd, file, 0) < 0)
		return err_errno(e, -errno, "keeping %s", file);
	entry = modset_module_entry(file, &m);
	return !entry || json_array_append_new(w->modules, entry) < 0 ? err_oom(e) : 0;
}

static int take_file(struct import *w, const struct precompiled_file *f, struct err *e)
{
	int r;

	if (f->type == PRECOMPILED_MODULE)
		return take_module(w, f->name, e);
	r = link_interface(w, f, e);
	if (r == 0 && linkat(w->work.dir_fd, f->name, w->result.dir_fd, f->name, 0) < 0)
		return err_errno(e, -errno, "keeping %s", f->name);
	return r < 0 ? r : take_module(w, f->linked_name, e);
}

/* The banner names the release the modules were built for. */
static int check_banner(struct import *w, struct err *e)
{
	struct span rest = SPAN(w->vermagic), word;
	_cleanup_free_ char *start = NULL;

	if (!span_word(&rest, &word))
		return mismatch("the package", "vermagic", w->vermagic, "any", e);
	w->release = span_dup(word);
	start = w->release ? str_printf("Linux version %s", w->release) : NULL;
	if (!start)
		return err_oom(e);
	if (strncmp(w->p->proc_version, start, strlen(start)) != 0 ||
	    (w->p->proc_version[strlen(start)] && w->p->proc_version[strlen(start)] != ' '))
		return mismatch("the package", "kernel", w->p->proc_version, w->release, e);
	return 0;
}

/* -- the set -- */

static int add_signing(const struct import *w, json_t *r)
{
	bool all = w->n_signed == json_array_size(w->modules);
	char fingerprint[65] = "unknown";

	if (all && w->cert && cert_fingerprint(w->cert, fingerprint) < 0)
		return -EIO;
	if (json_object_set_new(r, "signed", json_boolean(all)) < 0 ||
	    json_object_set_new(r, "certificate", json_string(all ? fingerprint : MODSET_UNSIGNED)) < 0 ||
	    (all && json_object_set_new(r, "hash", json_string(w->hash)) < 0))
		return -ENOMEM;
	return 0;
}

static json_t *make_record(const struct import *w)
{
	/* A package of ours made without the kernel's own text carries only the release: that is no banner. */
	const char *banner = strchr(w->p->proc_version, '(') ? w->p->proc_version : NULL;
	const char *base = strrchr(w->q->path, '/');
	json_t *r = json_pack(
	    "{s:s, s:s, s:s, s:s, s:s, s:s, s:s*, s:s, s:s*, s:O, s:I, s:{s:s, s:s, s:s, s:s, s:s}}",
	    "schema", "nvdriver.modules/1", "driver", w->p->version, "flavour", w->flavour, "release",
	    w->release, "arch", w->arch, "vermagic", w->vermagic, "banner", banner, "patch_digest",
	    w->q->patch_digest ? w->q->patch_digest : "none", "tree", w->q->tree_id, "modules", w->modules,
	    "created_unix_s", (json_int_t)time(NULL), "origin", "kind", "package", "sha256", w->sha256,
	    "file", base ? base + 1 : w->q->path, "description", w->p->description, "proc_version",
	    w->p->proc_version);

	if (r && add_signing(w, r) < 0) {
		json_decref(r);
		return NULL;
	}
	return r;
}

/* What goes in decides the name: the package, the core objects it is linked with, and how it is judged. */
static int import_key(const struct import *w, char ret[65])
{
	_cleanup_free_ char *text = NULL;
	char fingerprint[65] = "";
	uint8_t digest[SHA256_SIZE];

	if (w->cert && cert_fingerprint(w->cert, fingerprint) < 0)
		return -EIO;
	text =
	    str_printf("imported module set 1\npackage %s\ntree %s\nflavour %s\npatches %s\ncertificate "
		       "%s\nunsigned %d\n",
		       w->sha256, has_interfaces(w->p) ? w->q->tree_id : "-", w->flavour,
		       w->q->patch_digest ? w->q->patch_digest : "none", fingerprint, w->q->allow_unsigned);
	if (!text)
		return -ENOMEM;
	if (sha256_bytes(text, strlen(text), digest) < 0)
		return -EIO;
	hex_encode(digest, sizeof(digest), ret);
	return 0;
}

static int make_set(struct import *w, const char *key, struct err *e)
{
	json_t *record;
	int r = store_stage_begin(w->s, &w->result, e);

	w->modules = json_array();
	if (r == 0 && !w->modules)
		r = err_oom(e);
	for (uint32_t i = 0; r == 0 && i < w->p->n_files; i++)
		r = take_file(w, &w->p->files[i], e);
	if (r == 0)
		r = check_banner(w, e);
	if (r < 0)
		return r;
	record = make_record(w);
	r = record ? modset_publish(&w->result, record, key, e) : err_oom(e);
	json_decref(record);
	return r;
}

/* What can be known before anything is linked. */
static int look(struct import *w, struct err *e)
{
	int r = open_package(w, e);

	if (r == 0 && w->q->cert_path)
		r = cert_load(w->q->cert_path, &w->cert, e);
	if (r == 0)
		r = store_stage_begin(w->s, &w->work, e);
	if (r == 0)
		r = copy_all(w, e);
	if (r < 0)
		return r;
	r = find_flavour(w, e);
	return r < 0 ? r : open_core_objects(w, e);
}

int modset_import(struct store *s, const struct modset_import *q, char ret_key[65], bool *ret_hit,
		  struct err *e)
{
	_cleanup_(import_done) struct import w = { .s = s,
						   .q = q,
						   .work = STORE_STAGE_INIT,
						   .result = STORE_STAGE_INIT,
						   .tree_fd = -EBADF,
						   .flavour_fd = -EBADF };
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	char key[65];
	int r = look(&w, e), hit;

	if (r < 0)
		return r;
	r = import_key(&w, key);
	if (r < 0)
		return err_errno(e, r, "key of the imported set");
	r = store_lock(s, STORE_MODULE, key, 600, &lock, e);
	if (r < 0)
		return r;
	hit = modset_reuse(s, key, e);
	r = hit ? hit : make_set(&w, key, e);
	if (r < 0)
		return r;
	memcpy(ret_key, key, sizeof(key));
	if (ret_hit)
		*ret_hit = hit;
	return 0;
}
