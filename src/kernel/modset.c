/* SPDX-License-Identifier: Apache-2.0 */
#include "modset-internal.h"

#include "cms.h"
#include "digest.h"
#include "fd.h"
#include "modsig.h"
#include "parse.h"
#include "strbuf.h"
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define RECORD	      "record.json"
#define SIGNATURE_MAX ((size_t)64 << 10)

static const char *str_of(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static bool str_is(const json_t *o, const char *key, const char *want)
{
	const char *have = str_of(o, key);

	return have && strcmp(have, want) == 0;
}

/* -- record and lookup -- */

int modset_record(struct store *s, const char *key, json_t **ret_record, struct err *e)
{
	_cleanup_close_ int dir = store_object_open(s, STORE_MODULE, key);

	if (dir < 0)
		return dir == -ENOENT ? dir : err_errno(e, dir, "modules/%s", key);
	return store_record_read(dir, RECORD, ret_record, e);
}

static bool record_matches(const json_t *r, const struct modset_want *w)
{
	const struct {
		const char *key, *want;
	} exact[] = { { "driver", w->driver },
		      { "flavour", w->flavour },
		      { "release", w->release },
		      { "arch", w->arch },
		      { "patch_digest", w->patch_digest },
		      { "certificate", w->certificate },
		      { "hash", w->hash },
		      { "vermagic", w->vermagic } };

	for (size_t i = 0; i < ARRAY_LEN(exact); i++)
		if (exact[i].want && !str_is(r, exact[i].key, exact[i].want))
			return false;
	/* Sets of earlier releases do not say: they were built without any. */
	if (w->foreign_symvers_sha256 &&
	    strcmp(str_of(r, "foreign_symvers_sha256") ? str_of(r, "foreign_symvers_sha256") : "",
		   w->foreign_symvers_sha256) != 0)
		return false;
	return !w->banner || !str_of(r, "banner") || str_is(r, "banner", w->banner);
}

struct find {
	struct store *store;
	const struct modset_want *want;
	json_t *best; /* owned */
	char key[65];
};

/* Signed before unsigned, then the newest. */
static bool is_better(const json_t *a, const json_t *b)
{
	bool as = json_is_true(json_object_get(a, "signed")), bs = json_is_true(json_object_get(b, "signed"));

	if (as != bs)
		return as;
	return json_integer_value(json_object_get(a, "created_unix_s")) >
	       json_integer_value(json_object_get(b, "created_unix_s"));
}

static int find_visit(const char *name _unused_, enum store_kind kind, const char *id, void *arg)
{
	struct find *f = arg;
	json_t *record = NULL;

	if (kind != STORE_MODULE || strlen(id) != 64 || modset_record(f->store, id, &record, NULL) < 0)
		return 0;
	if (!record_matches(record, f->want) || (f->best && !is_better(record, f->best))) {
		json_decref(record);
		return 0;
	}
	json_decref(f->best);
	f->best = record;
	memcpy(f->key, id, sizeof(f->key));
	return 0;
}

int modset_find(struct store *s, const struct modset_want *w, char ret_key[65], json_t **ret_record,
		struct err *e)
{
	struct find f = { .store = s, .want = w };
	_cleanup_free_ char *prefix =
	    w->arch ? str_printf("modules/%s/%s/%s/%s/", w->driver, w->flavour, w->arch, w->release)
		    : str_printf("modules/%s/%s/", w->driver, w->flavour);
	int r;

	if (!prefix)
		return err_oom(e);
	r = store_ref_list(s, prefix, find_visit, &f);
	if (r < 0 && r != -ENOENT) {
		json_decref(f.best);
		return err_errno(e, r, "looking for a module set");
	}
	if (!f.best)
		return -ENOENT;
	memcpy(ret_key, f.key, sizeof(f.key));
	*ret_record = f.best;
	return 0;
}

struct list {
	struct store *store;
	const char *driver, *release;
	json_t *out;
};

static int list_visit(const char *id, void *arg)
{
	struct list *l = arg;
	json_t *record = NULL;

	if (modset_record(l->store, id, &record, NULL) < 0)
		return 0;
	if ((l->driver && !str_is(record, "driver", l->driver)) ||
	    (l->release && !str_is(record, "release", l->release))) {
		json_decref(record);
		return 0;
	}
	if (json_object_set_new(record, "key", json_string(id)) < 0) {
		json_decref(record);
		return -ENOMEM;
	}
	return json_array_append_new(l->out, record) < 0 ? -ENOMEM : 0;
}

int modset_list(struct store *s, const char *driver, const char *release, json_t **ret, struct err *e)
{
	struct list l = { s, driver, release, json_array() };
	int r = l.out ? store_list(s, STORE_MODULE, list_visit, &l) : -ENOMEM;

	if (r < 0) {
		json_decref(l.out);
		return err_errno(e, r, "listing module sets");
	}
	*ret = l.out;
	return 0;
}

/* -- contents -- */

json_t *modset_module_entry(const char *file, const struct modinfo *m)
{
	json_t *depends = json_array();

	for (char **d = m->depends; depends && d && *d; d++)
		json_array_append_new(depends, json_string(*d));
	return json_pack("{s:s, s:s, s:s, s:s*, s:s*, s:o}", "name", m->name ? m->name : file, "file", file,
			 "vermagic", m->vermagic ? m->vermagic : "", "version", m->version, "srcversion",
			 m->srcversion, "depends", depends);
}

struct digests {
	int dir_fd;
	json_t *files;
};

static int digest_entry(const struct tree_entry *entry, void *arg)
{
	struct digests *d = arg;
	char hex[SHA256_HEX_SIZE];
	json_t *file;
	int r;

	if (!S_ISREG(entry->st.st_mode) || strcmp(entry->path, RECORD) == 0)
		return S_ISDIR(entry->st.st_mode) || S_ISREG(entry->st.st_mode) ? 0 : -EMEDIUMTYPE;
	r = sha256_file_at(entry->dirfd, entry->name, hex);
	if (r < 0)
		return r;
	file = json_pack("{s:s, s:I, s:s}", "name", entry->path, "size_bytes", (json_int_t)entry->st.st_size,
			 "sha256", hex);
	return !file || json_array_append_new(d->files, file) < 0 ? -ENOMEM : 0;
}

static int digest_all(int dir_fd, json_t **ret)
{
	struct digests d = { dir_fd, json_array() };
	int r = d.files ? tree_walk(dir_fd, TREE_SORTED, digest_entry, &d) : -ENOMEM;

	if (r < 0) {
		json_decref(d.files);
		return r;
	}
	*ret = d.files;
	return 0;
}

static void problem(json_t *problems, char **first, const char *name, const char *what)
{
	_cleanup_free_ char *text = str_printf("%s %s", name, what);

	if (!text)
		return;
	if (problems)
		json_array_append_new(problems, json_string(text));
	if (!*first)
		*first = strdup(text);
}

static const json_t *file_named(const json_t *files, const char *name)
{
	json_t *f;
	size_t i;

	json_array_foreach ((json_t *)files, i, f)
		if (str_is(f, "name", name))
			return f;
	return NULL;
}

static void compare_files(const json_t *recorded, const json_t *have, json_t *problems, char **first)
{
	json_t *f;
	size_t i;

	json_array_foreach ((json_t *)recorded, i, f) {
		const char *name = str_of(f, "name") ? str_of(f, "name") : "?";
		const json_t *now = file_named(have, name);

		if (!now)
			problem(problems, first, name, "is missing");
		else if (!str_of(f, "sha256") || !str_is(now, "sha256", str_of(f, "sha256")))
			problem(problems, first, name, "differs from its record");
	}
	json_array_foreach ((json_t *)have, i, f)
		if (!file_named(recorded, str_of(f, "name")))
			problem(problems, first, str_of(f, "name"), "is not in the record");
}

int modset_verify(struct store *s, const char *key, json_t *problems, struct err *e)
{
	_cleanup_close_ int dir = store_object_open(s, STORE_MODULE, key);
	_cleanup_free_ char *first = NULL;
	json_t *record = NULL, *have = NULL;
	int r;

	if (dir < 0)
		return err_errno(e, dir, "module set %s", key);
	r = store_record_read(dir, RECORD, &record, e);
	if (r < 0)
		return r == -ENOENT ? err_set(e, ERR_STORE_DAMAGED, "module set %s has no record", key) : r;
	r = digest_all(dir, &have);
	if (r == 0)
		compare_files(json_object_get(record, "files"), have, problems, &first);
	json_decref(record);
	json_decref(have);
	if (r < 0)
		return err_errno(e, r, "reading module set %s", key);
	if (!first)
		return 0;
	err_set(e, ERR_STORE_DAMAGED, "module set %.12s: %s", key, first);
	(void)err_object(e, "modules/%s", key);
	return -ERR_STORE_DAMAGED;
}

int modset_stage_check(const struct store_stage *st, const json_t *record, struct err *e)
{
	_cleanup_free_ char *first = NULL;
	json_t *have = NULL;
	int r = digest_all(st->dir_fd, &have);

	if (r < 0)
		return err_errno(e, r, "reading the staged module set");
	compare_files(json_object_get(record, "files"), have, NULL, &first);
	json_decref(have);
	return first ? err_set(e, ERR_STORE_DAMAGED, "the module set to be stored: %s", first) : 0;
}

char *modset_ref(const json_t *record, const char *key)
{
	return str_printf("modules/%s/%s/%s/%s/%s", str_of(record, "driver"), str_of(record, "flavour"),
			  str_of(record, "arch"), str_of(record, "release"), key);
}

static int set_index(struct store *s, const json_t *record, const char *key, struct err *e)
{
	_cleanup_free_ char *ref = modset_ref(record, key);

	return ref ? store_ref_set(s, ref, STORE_MODULE, key, e) : err_oom(e);
}

int modset_publish(struct store_stage *st, json_t *record, const char *key, struct err *e)
{
	struct store *s = st->store;
	json_t *files = NULL;
	int r = digest_all(st->dir_fd, &files);

	if (r < 0)
		return err_errno(e, r, "reading the staged module set");
	if (json_object_set_new(record, "files", files) < 0)
		return err_oom(e);
	r = store_record_write(st->dir_fd, RECORD, record, 0644, e);
	if (r < 0)
		return r;
	r = store_publish(st, STORE_MODULE, key, e);
	return r < 0 ? r : set_index(s, record, key, e);
}

int modset_reuse(struct store *s, const char *key, struct err *e)
{
	json_t *record = NULL;
	int r;

	if (!store_has(s, STORE_MODULE, key))
		return 0;
	if (modset_verify(s, key, NULL, NULL) < 0) {
		r = store_remove(s, STORE_MODULE, key, e);
		return r < 0 ? r : 0;
	}
	r = modset_record(s, key, &record, e);
	if (r >= 0)
		r = set_index(s, record, key, e);
	json_decref(record);
	return r < 0 ? r : 1;
}

/* -- signing -- */

int modset_cert_fingerprint(const char *cert_path, char ret[65], struct err *e)
{
	_cleanup_(cert_freep) struct cert *c = NULL;
	int r = cert_load(cert_path, &c, e);

	if (r < 0)
		return r;
	r = cert_fingerprint(c, ret);
	return r < 0 ? err_errno(e, r, "fingerprint of %s", cert_path) : 0;
}

static int signed_key(const char *unsigned_key, const char *fingerprint, const char *hash, char ret[65])
{
	_cleanup_free_ char *text = str_printf("signed module set 1\nset %s\ncertificate %s\nhash %s\n",
					       unsigned_key, fingerprint, hash);
	uint8_t digest[SHA256_SIZE];

	if (!text)
		return -ENOMEM;
	if (sha256_bytes(text, strlen(text), digest) < 0)
		return -EIO;
	hex_encode(digest, sizeof(digest), ret);
	return 0;
}

/* Either the signer's key is here, or its signatures are. */
struct signing {
	struct modsig_options o;
	struct signer *signer; /* owned */
	struct cert *cert; /* owned; without a signer */
	int signatures_fd; /* owned */
};
#define SIGNING_INIT                                                                                         \
	{                                                                                                    \
		.signatures_fd = -EBADF                                                                      \
	}

static void signing_done(struct signing *s)
{
	signer_freep(&s->signer);
	cert_freep(&s->cert);
	close_fdp(&s->signatures_fd);
}

static int signing_open(const struct modset_signing *how, struct signing *s, struct err *e)
{
	int r;

	s->o.hash = how->hash;
	if (!how->signatures) {
		r = signer_load(how->key_path, how->cert_path,
				how->passphrase_fd < 0 ? -EBADF : how->passphrase_fd, &s->signer, e);
		s->o.signer = s->signer;
		return r;
	}
	s->signatures_fd = dir_open_at(AT_FDCWD, how->signatures);
	if (s->signatures_fd < 0)
		return err_errno(e, s->signatures_fd, "%s", how->signatures);
	return cert_load(how->cert_path, &s->cert, e);
}

struct sign_walk {
	const struct signing *how;
	int from_fd, to_fd;
	struct err *e;
};

static int attach_entry(const struct sign_walk *w, const char *name)
{
	_cleanup_free_ char *from = str_printf("%s.p7s", name), *bytes = NULL;
	_cleanup_free_ uint8_t *signature = NULL;
	size_t len, signature_len;
	int r = from ? read_file_at(w->how->signatures_fd, from, SIGNATURE_MAX, &bytes, &len) : -ENOMEM;

	if (r < 0)
		return err_errno(w->e, r, "signature %s", from ? from : name);
	r = modsig_complete(bytes, len, &signature, &signature_len);
	if (r < 0)
		return err_oom(w->e);
	return modsig_attach(w->from_fd, name, w->to_fd, name, signature, signature_len, w->how->cert, w->e);
}

static int sign_entry(const struct tree_entry *entry, void *arg)
{
	struct sign_walk *w = arg;

	if (!S_ISREG(entry->st.st_mode) || strcmp(entry->path, RECORD) == 0)
		return 0;
	if (span_ends(SPAN(entry->name), ".ko"))
		return w->how->cert ? attach_entry(w, entry->name)
				    : modsig_sign_file(w->from_fd, entry->name, w->to_fd, entry->name,
						       &w->how->o, w->e);
	/* The same bytes in both sets. */
	if (linkat(w->from_fd, entry->name, w->to_fd, entry->name, 0) < 0)
		return err_errno(w->e, -errno, "keeping %s", entry->name);
	return 0;
}

static int sign_into(struct store *s, const char *unsigned_key, const struct signing *how,
		     struct store_stage *st, struct err *e)
{
	_cleanup_close_ int from = store_object_open(s, STORE_MODULE, unsigned_key);
	struct sign_walk w = { how, from, st->dir_fd, e };
	int r;

	if (from < 0)
		return err_errno(e, from, "module set %s", unsigned_key);
	r = tree_walk(from, TREE_SORTED, sign_entry, &w);
	return r < 0 && e && !e->code ? err_errno(e, r, "signing module set %s", unsigned_key) : r;
}

static int sign_record(const json_t *from, const char *unsigned_key, const char *fingerprint,
		       const char *hash, const struct cert *c, json_t **ret)
{
	json_t *r = json_deep_copy(from);
	struct cert_info info;

	if (!r)
		return -ENOMEM;
	cert_describe(c, &info);
	if (json_object_set_new(r, "signed", json_true()) < 0 ||
	    json_object_set_new(r, "certificate", json_string(fingerprint)) < 0 ||
	    json_object_set_new(r, "hash", json_string(hash)) < 0 ||
	    json_object_set_new(r, "signer", json_string(info.issuer_cn)) < 0 ||
	    json_object_set_new(r, "unsigned_key", json_string(unsigned_key)) < 0 ||
	    json_object_set_new(r, "created_unix_s", json_integer((json_int_t)time(NULL))) < 0) {
		json_decref(r);
		return -ENOMEM;
	}
	*ret = r;
	return 0;
}

static int sign_new(struct store *s, const char *unsigned_key, const struct modset_signing *how,
		    const char *fingerprint, const char *key, struct err *e)
{
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_(signing_done) struct signing signing = SIGNING_INIT;
	json_t *from = NULL, *record = NULL;
	int r = modset_verify(s, unsigned_key, NULL, e);

	if (r < 0)
		return err_wrap(e, "module set to be signed");
	r = signing_open(how, &signing, e);
	if (r == 0)
		r = store_stage_begin(s, &st, e);
	if (r == 0)
		r = sign_into(s, unsigned_key, &signing, &st, e);
	if (r == 0)
		r = modset_record(s, unsigned_key, &from, e);
	if (r < 0)
		return r;
	r = sign_record(from, unsigned_key, fingerprint, how->hash,
			signing.cert ? signing.cert : signer_cert(signing.signer), &record);
	json_decref(from);
	if (r < 0)
		return err_oom(e);
	r = modset_publish(&st, record, key, e);
	json_decref(record);
	return r;
}

int modset_sign(struct store *s, const char *unsigned_key, const struct modset_signing *how, char ret_key[65],
		bool *ret_hit, struct err *e)
{
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	char fingerprint[65], key[65];
	int hit, r = modset_cert_fingerprint(how->cert_path, fingerprint, e);

	if (r < 0)
		return r;
	if (!cms_hash_is_known(how->hash))
		return err_set(e, ERR_HASH_UNKNOWN, "\"%s\"", how->hash);
	r = signed_key(unsigned_key, fingerprint, how->hash, key);
	if (r < 0)
		return err_errno(e, r, "key of the signed set");
	r = store_lock(s, STORE_MODULE, key, 600, &lock, e);
	if (r < 0)
		return r;
	hit = modset_reuse(s, key, e);
	r = hit ? hit : sign_new(s, unsigned_key, how, fingerprint, key, e);
	if (r < 0)
		return r;
	memcpy(ret_key, key, sizeof(key));
	if (ret_hit)
		*ret_hit = hit;
	return 0;
}
