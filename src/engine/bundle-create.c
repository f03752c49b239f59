/* SPDX-License-Identifier: Apache-2.0
 *
 * Making a bundle: obtain what is missing (unless only the store's own is wanted), choose the objects, write them in a
 * fixed order. */
#include "bundle-internal.h"

#include "cms.h"
#include "fd.h"
#include "jutil.h"
#include "kernelpkg.h"
#include "log.h"
#include "modset.h"
#include "prepare.h"
#include "publish.h"
#include "strbuf.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#define LEVEL_DEFAULT 3 /* of a driver tree: nearly the size of level 9 in a third of the time */

struct create {
	struct engine *en;
	const struct bundle_create *how;
	char **drivers, **kernels; /* owned; versions and releases wanted, NULL = all */
	json_t *objects; /* owned; of the description, without what only packing tells */
	struct ociwriter w;
	struct oci_descriptor *layers; /* owned */
	size_t n_layers;
};

static void create_done(struct create *c)
{
	strv_freep(&c->drivers);
	strv_freep(&c->kernels);
	json_decref(c->objects);
	ociwriter_done(&c->w);
	free(c->layers);
}

/* Without a list everything the store has is wanted, if that was said at all. */
static bool wanted(const struct create *c, char *const *list, const char *s)
{
	return list ? strv_contains(list, s) : c->how->from_store;
}

/* -- obtaining -- */

static const char *row_text(const json_t *stages, const char *stage, const char *key)
{
	const json_t *row;
	size_t i;

	json_array_foreach ((json_t *)stages, i, row)
		if (strcmp(json_string_value(json_object_get(row, "stage")), stage) == 0)
			return json_string_value(json_object_get(row, key));
	return NULL;
}

static int prepare_one(struct create *c, const char *driver, const char *kernel, const char *flavour,
		       json_t **ret_stages, struct err *e)
{
	char *const words[] = { (char *)driver };
	const struct prepare_request q = { .source = words,
					   .n_source = 1,
					   .kernel = kernel,
					   .flavour = flavour,
					   .key = c->how->module_key,
					   .cert = c->how->module_cert,
					   .passphrase_fd = c->how->passphrase_fd,
					   .no_modules = !kernel,
					   .jobs = c->how->jobs };

	return prepare_run(c->en, &q, ret_stages, e);
}

/* The version of the driver a word stands for, once it is in the store. */
static int tree_version(struct create *c, const json_t *stages, char **ret, struct err *e)
{
	const char *id = row_text(stages, "driver", "id"), *version = NULL;
	_cleanup_json_ json_t *record = NULL;
	int r = id ? store_tree_open(c->en->store, id, NULL, &record, e)
		   : err_set(e, -ERR_DRIVER_NOT_PREPARED, "preparing gave no tree");

	if (r == 0)
		r = jget_str(record, "version", &version, e);
	if (r < 0)
		return r;
	*ret = strdup(version);
	return *ret ? 0 : err_oom(e);
}

static int obtain_driver(struct create *c, const char *word, struct err *e)
{
	_cleanup_json_ json_t *stages = NULL;
	_cleanup_free_ char *version = NULL;
	int r;

	if (c->how->from_store && version_is_valid(word))
		return strv_push(&c->drivers, word) < 0 ? err_oom(e) : 0;
	r = prepare_one(c, word, NULL, NULL, &stages, e);
	if (r == 0)
		r = tree_version(c, stages, &version, e);
	if (r < 0)
		return r;
	return strv_push(&c->drivers, version) < 0 ? err_oom(e) : 0;
}

static int obtain_kernel(struct create *c, const char *which, struct err *e)
{
	const struct kernelpkg_sources from = { .rpms = c->how->rpms,
						.repos = c->how->repos,
						.access = c->how->access,
						.arch = c->how->arch,
						.store_only = c->how->from_store };
	_cleanup_free_ char *release = NULL;
	int r = kernelpkg_obtain(c->en, which, &from, &release, e);

	if (r < 0)
		return r;
	return strv_push(&c->kernels, release) < 0 ? err_oom(e) : 0;
}

static int build_modules(struct create *c, struct err *e)
{
	static char *const both[] = { (char *)"proprietary", (char *)"open", NULL };
	char *const *flavours = c->how->flavours ? c->how->flavours : both;
	int r = 0;

	if (!c->how->modules || c->how->from_store)
		return 0;
	for (char **d = c->drivers; d && *d; d++)
		for (char **k = c->kernels; k && *k; k++)
			for (char *const *f = flavours; *f && r == 0; f++) {
				_cleanup_json_ json_t *stages = NULL;

				r = prepare_one(c, *d, *k, *f, &stages, e);
			}
	return r;
}

static int obtain(struct create *c, struct err *e)
{
	int r = 0;

	for (char *const *d = c->how->drivers; d && *d && r == 0; d++)
		r = obtain_driver(c, *d, e);
	for (char *const *k = c->how->kernels; k && *k && r == 0; k++)
		r = obtain_kernel(c, *k, e);
	return r == 0 ? build_modules(c, e) : r;
}

/* -- choosing -- */

static int add_object(struct create *c, json_t *object)
{
	return object && json_array_append_new(c->objects, object) == 0 ? 0 : -ENOMEM;
}

/* "<prefix><version>-<arch>" */
static int choose_tree(const char *name, enum store_kind kind, const char *id, void *arg)
{
	struct create *c = arg;
	_cleanup_json_ json_t *record = NULL;
	const char *version, *arch;

	if (kind != STORE_TREE || strncmp(name, "driver/", 7) != 0 ||
	    store_tree_open(c->en->store, id, NULL, &record, NULL) < 0)
		return 0;
	version = json_string_value(json_object_get(record, "version"));
	arch = json_string_value(json_object_get(record, "arch"));
	if (!version || !arch || !wanted(c, c->drivers, version) ||
	    (c->how->arch && strcmp(arch, c->how->arch) != 0))
		return 0;
	/* What the store adds about its own files means nothing elsewhere. */
	(void)json_object_del(record, "files");
	(void)json_object_del(record, "id");
	(void)json_object_del(record, "size_bytes");
	return add_object(c, json_pack("{s:s, s:s, s:s, s:s, s:O}", "kind", "tree", "id", id, "driver",
				       version, "arch", arch, "record", record));
}

struct aliases {
	const char *id;
	json_t *names;
};

static int collect_alias(const char *name, enum store_kind kind, const char *id, void *arg)
{
	struct aliases *a = arg;

	if (kind != STORE_KERNEL || strcmp(id, a->id) != 0 || strncmp(name, "kernel/", 7) != 0)
		return 0;
	return json_array_append_new(a->names, json_string(name + 7)) < 0 ? -ENOMEM : 0;
}

/* "kernels/<arch>/<release>" */
static int choose_kernel(const char *name, enum store_kind kind, const char *id, void *arg)
{
	struct create *c = arg;
	_cleanup_close_ int dir = store_object_open(c->en->store, STORE_KERNEL, id);
	_cleanup_json_ json_t *record = NULL, *names = json_array();
	struct aliases a = { id, names };
	const char *release, *arch;
	int r;

	if (kind != STORE_KERNEL || dir < 0 || store_record_read(dir, "record.json", &record, NULL) < 0)
		return 0;
	release = json_string_value(json_object_get(record, "release"));
	arch = json_string_value(json_object_get(record, "arch"));
	if (!release || !arch || !span_ends(SPAN(name), release) || !wanted(c, c->kernels, release) ||
	    (c->how->arch && strcmp(arch, c->how->arch) != 0))
		return 0;
	r = names ? store_ref_list(c->en->store, "kernel/", collect_alias, &a) : -ENOMEM;
	if (r < 0 && r != -ENOENT)
		return r;
	return add_object(c, json_pack("{s:s, s:s, s:s, s:s, s:O, s:O}", "kind", "kernel", "id", id,
				       "release", release, "arch", arch, "record", record, "aliases", names));
}

static bool set_wanted(const struct create *c, const json_t *record)
{
	const struct {
		const char *key;
		char *const *list;
	} lists[] = { { "driver", c->drivers }, { "release", c->kernels } };
	const char *flavour = json_string_value(json_object_get(record, "flavour"));
	const char *arch = json_string_value(json_object_get(record, "arch"));

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		const char *have = json_string_value(json_object_get(record, lists[i].key));

		if (!have || !wanted(c, lists[i].list, have))
			return false;
	}
	if (c->how->flavours && !strv_contains(c->how->flavours, flavour ? flavour : ""))
		return false;
	return arch && (!c->how->arch || strcmp(arch, c->how->arch) == 0);
}

static bool has_object(const struct create *c, const char *id)
{
	const json_t *o;
	size_t i;

	json_array_foreach (c->objects, i, o)
		if (strcmp(json_string_value(json_object_get(o, "id")), id) == 0)
			return true;
	return false;
}

static json_t *set_object(const char *kind, const char *id, const json_t *set, json_t *record)
{
	json_t *o = json_pack("{s:s, s:s, s:o}", "kind", kind, "id", id, "record", record);
	static const char *const words[] = { "driver", "flavour", "release", "arch" };

	for (size_t i = 0; i < ARRAY_LEN(words) && o; i++)
		if (json_object_set(o, words[i], json_object_get(set, words[i])) < 0) {
			json_decref(o);
			return NULL;
		}
	return o;
}

static int choose_probes(struct create *c, const json_t *set)
{
	const char *id = json_string_value(json_object_get(set, "probes"));

	if (!id || has_object(c, id) || !store_has(c->en->store, STORE_PROBE, id))
		return 0;
	return add_object(c, set_object("probes", id, set, json_object()));
}

static int choose_set(struct create *c, const json_t *set)
{
	json_t *record = json_copy((json_t *)set);
	const char *key = json_string_value(json_object_get(set, "key"));

	if (!record)
		return -ENOMEM;
	(void)json_object_del(record, "key");
	return add_object(c, set_object("modules", key, set, record));
}

static int choose_sets(struct create *c, struct err *e)
{
	_cleanup_json_ json_t *sets = NULL;
	const json_t *set;
	size_t i;
	int r = modset_list(c->en->store, NULL, NULL, &sets, e);

	if (r < 0)
		return r;
	json_array_foreach (sets, i, set)
		if (r == 0 && set_wanted(c, set))
			r = choose_probes(c, set);
	json_array_foreach (sets, i, set)
		if (r == 0 && c->how->modules && set_wanted(c, set))
			r = choose_set(c, set);
	return r < 0 ? err_oom(e) : 0;
}

static bool has_word(const struct create *c, const char *key, const char *word)
{
	const json_t *o;
	size_t i;

	json_array_foreach (c->objects, i, o) {
		const char *have = json_string_value(json_object_get(o, key));

		if (have && strcmp(have, word) == 0)
			return true;
	}
	return false;
}

static int check_found(const struct create *c, char *const *list, const char *key, int code, struct err *e)
{
	for (; list && *list; list++)
		if (!has_word(c, key, *list)) {
			(void)err_set(e, code, "the store has no %s %s", key, *list);
			return err_object(e, "%s", *list);
		}
	return 0;
}

static int choose(struct create *c, struct err *e)
{
	int r;

	c->objects = json_array();
	if (!c->objects)
		return err_oom(e);
	r = store_ref_list(c->en->store, "driver/", choose_tree, c);
	if (r >= 0 || r == -ENOENT)
		r = store_ref_list(c->en->store, "kernels/", choose_kernel, c);
	if (r < 0 && r != -ENOENT)
		return err_errno(e, r, "reading the store");
	return choose_sets(c, e);
}

static int check_choice(const struct create *c, struct err *e)
{
	int r = check_found(c, c->drivers, "driver", ERR_DRIVER_NOT_PREPARED, e);

	if (r == 0)
		r = check_found(c, c->kernels, "release", ERR_KTREE_NOT_FOUND, e);
	if (r == 0 && json_array_size(c->objects) == 0)
		r = err_set(e, -ERR_BUNDLE_NOTHING, "the store %s has nothing of that", c->en->store->path);
	return r;
}

/* -- packing -- */

static unsigned default_jobs(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

/* The directory whose content becomes the blob. What is packed was whole a moment ago. */
static int open_content(struct store *s, enum store_kind kind, const char *id, struct err *e)
{
	_cleanup_close_ int dir = -EBADF;
	int r = 0;

	if (kind == STORE_MODULE)
		r = modset_verify(s, id, NULL, e);
	else if (kind == STORE_TREE)
		r = store_tree_verify(s, id, STORE_VERIFY_QUICK, NULL, e);
	if (r < 0)
		return r;
	dir = store_object_open(s, kind, id);
	r = dir < 0 || kind == STORE_PROBE || kind == STORE_MODULE ? TAKE_FD(dir) : dir_open_at(dir, "root");
	return r < 0 ? err_errno(e, r, "%s/%s", store_kind_dir(kind), id) : r;
}

static enum store_kind kind_of(const json_t *object)
{
	const char *word = json_string_value(json_object_get(object, "kind"));

	for (int k = 0; k < STORE_KIND_COUNT; k++)
		if (bundle_kind_word((enum store_kind)k) &&
		    strcmp(bundle_kind_word((enum store_kind)k), word) == 0)
			return (enum store_kind)k;
	return STORE_KIND_COUNT;
}

static int pack_object(struct create *c, json_t *object, struct err *e)
{
	enum store_kind kind = kind_of(object);
	const char *id = json_string_value(json_object_get(object, "id"));
	struct oci_descriptor *d = &c->layers[c->n_layers];
	_cleanup_close_ int fd = open_content(c->en->store, kind, id, e);
	uint64_t unpacked = 0, members = 0;
	int r;

	if (fd < 0)
		return fd;
	/* A module set's record travels in the description. */
	r = bundle_pack_dir(&c->w, fd, kind == STORE_MODULE ? "record.json" : NULL,
			    c->how->level > 0 ? c->how->level : LEVEL_DEFAULT,
			    c->how->jobs ? c->how->jobs : default_jobs(), d, &unpacked, &members, e);
	if (r < 0)
		return err_wrap(e, "packing %s %.12s", bundle_kind_word(kind), id);
	c->n_layers++;
	if (json_object_set_new(object, "sha256", json_string(d->hex)) < 0 ||
	    json_object_set_new(object, "size_bytes", json_integer((json_int_t)d->size_bytes)) < 0 ||
	    json_object_set_new(object, "unpacked_bytes", json_integer((json_int_t)unpacked)) < 0 ||
	    json_object_set_new(object, "members", json_integer((json_int_t)members)) < 0)
		return err_oom(e);
	return 0;
}

/* All values of a word, sorted. */
static json_t *all_of(const json_t *objects, const char *key)
{
	_cleanup_strv_ char **v = NULL;
	const json_t *o;
	size_t i;

	json_array_foreach ((json_t *)objects, i, o) {
		const char *s = json_string_value(json_object_get(o, key));

		if (s && !(v && strv_contains(v, s)) && strv_push(&v, s) < 0)
			return NULL;
	}
	if (v)
		strv_sort(v);
	return v ? jstrv(v) : json_array();
}

static int describe(const struct create *c, char **ret, struct err *e)
{
	_cleanup_json_ json_t *j =
	    json_pack("{s:s, s:i, s:o, s:o, s:o, s:O}", "schema", BUNDLE_SCHEMA, "format", (int)BUNDLE_FORMAT,
		      "architectures", all_of(c->objects, "arch"), "drivers", all_of(c->objects, "driver"),
		      "kernels", all_of(c->objects, "release"), "objects", c->objects);

	return j && jdump(j, ret) == 0 ? 0 : err_oom(e);
}

/* -- signature -- */

static int sign_text(const struct create *c, const char *text, uint8_t **ret, size_t *ret_len, struct err *e)
{
	_cleanup_(signer_freep) struct signer *signer = NULL;
	_cleanup_close_ int fd = memfd_create("description", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : write_all(fd, text, strlen(text));

	if (r < 0)
		return err_errno(e, r, "signing the bundle");
	r = signer_load(c->how->key_path, c->how->cert_path,
			c->how->passphrase_fd < 0 ? -EBADF : c->how->passphrase_fd, &signer, e);
	return r < 0 ? r : cms_sign_fd(signer, "sha256", 0, fd, strlen(text), ret, ret_len, e);
}

static int add_signature(struct create *c, const char *text, struct err *e)
{
	_cleanup_free_ uint8_t *der = NULL;
	size_t len = 0;
	int r;

	if (!c->how->key_path)
		return 0;
	r = sign_text(c, text, &der, &len, e);
	if (r == 0)
		r = ociwriter_blob_bytes(&c->w, der, len, &c->layers[c->n_layers], e);
	if (r == 0)
		c->n_layers++;
	return r;
}

static int write_bundle(struct create *c, struct oci_descriptor *ret_manifest, struct err *e)
{
	_cleanup_free_ char *text = NULL, *manifest = NULL;
	struct oci_descriptor description;
	json_t *object;
	size_t i;
	int r = ociwriter_begin(&c->w, e);

	c->layers = calloc(json_array_size(c->objects) + 1, sizeof(*c->layers));
	if (!c->layers)
		return err_oom(e);
	json_array_foreach (c->objects, i, object)
		if (r == 0)
			r = pack_object(c, object, e);
	if (r == 0)
		r = describe(c, &text, e);
	if (r == 0)
		r = ociwriter_blob_bytes(&c->w, text, strlen(text), &description, e);
	if (r == 0)
		r = add_signature(c, text, e);
	if (r == 0)
		r = bundle_manifest_text(&description, c->layers, c->n_layers, c->objects, c->how->key_path,
					 &manifest, e);
	if (r == 0)
		r = ociwriter_blob_bytes(&c->w, manifest, strlen(manifest), ret_manifest, e);
	return r == 0 ? ociwriter_finish(&c->w, ret_manifest, BUNDLE_ARTIFACT, NULL, e) : r;
}

static int write_file(struct create *c, const char *path, json_t **ret, struct err *e)
{
	_cleanup_free_ char *name = NULL;
	_cleanup_close_ int dir = bundle_output_open(path, &name, e);
	_cleanup_(tmpname_done) struct tmpname t = TMPNAME_INIT(dir);
	struct oci_descriptor manifest = { .type = "" };
	int r = dir < 0 ? dir : tmpname_open(&t, 0644);

	if (dir < 0)
		return r;
	if (r < 0)
		return err_errno(e, r, "cannot create %s", path);
	c->w.fd = t.fd;
	r = write_bundle(c, &manifest, e);
	if (r < 0)
		return r;
	r = publish_tmp(&t, name, true);
	if (r < 0)
		return err_errno(e, r, "cannot create %s", path);
	*ret = json_pack("{s:s+, s:I, s:b, s:O}", "digest", "sha256:", manifest.hex, "size_bytes",
			 (json_int_t)c->w.at, "signed", c->how->key_path != NULL, "objects", c->objects);
	return *ret ? 0 : err_oom(e);
}

static int check_request(const struct bundle_create *how, struct err *e)
{
	if (!!how->key_path != !!how->cert_path)
		return err_set(e, ERR_USAGE, "--sign-key and --sign-cert go together");
	if (!!how->module_key != !!how->module_cert)
		return err_set(e, ERR_USAGE, "--key and --cert go together");
	if (!how->from_store && !how->drivers && !how->kernels)
		return err_set(e, ERR_BUNDLE_NOTHING, "neither --driver nor --kernel nor --from-store");
	return 0;
}

static int copy_words(char *const *from, char ***to, struct err *e)
{
	for (; from && *from; from++)
		if (strv_push(to, *from) < 0)
			return err_oom(e);
	return 0;
}

static int missing_words(const struct create *c, json_t *missing, struct err *e)
{
	const struct {
		char *const *list;
		const char *key;
	} lists[] = { { c->drivers, "driver" }, { c->kernels, "release" } };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		for (char *const *w = lists[i].list; w && *w; w++)
			if (!has_word(c, lists[i].key, *w) &&
			    json_array_append_new(missing, json_string(*w)) < 0)
				return err_oom(e);
	return 0;
}

int bundle_plan(struct engine *en, const struct bundle_create *how, json_t **ret, struct err *e)
{
	_cleanup_(create_done) struct create c = { .en = en, .how = how, .w = OCIWRITER_INIT(-EBADF) };
	_cleanup_json_ json_t *missing = json_array();
	int r = missing ? check_request(how, e) : err_oom(e);

	if (r == 0)
		r = copy_words(how->drivers, &c.drivers, e);
	if (r == 0)
		r = copy_words(how->kernels, &c.kernels, e);
	if (r == 0 && en->store)
		r = choose(&c, e);
	else if (r == 0 && !(c.objects = json_array()))
		r = err_oom(e);
	if (r == 0)
		r = missing_words(&c, missing, e);
	if (r < 0)
		return r;
	*ret = json_pack("{s:O, s:O}", "objects", c.objects, "missing", missing);
	return *ret ? 0 : err_oom(e);
}

int bundle_create(struct engine *en, const struct bundle_create *how, const char *path, json_t **ret,
		  struct err *e)
{
	_cleanup_(create_done) struct create c = { .en = en, .how = how, .w = OCIWRITER_INIT(-EBADF) };
	int r = check_request(how, e);

	if (r == 0)
		r = obtain(&c, e);
	if (r == 0)
		r = choose(&c, e);
	if (r == 0)
		r = check_choice(&c, e);
	return r == 0 ? write_file(&c, path, ret, e) : r;
}
