/* SPDX-License-Identifier: Apache-2.0
 *
 * What a bundle says about itself: index, image manifest and description, read strictly. Nothing here touches a file. */
#include "bundle-internal.h"

#include "jutil.h"
#include "strbuf.h"

#include <stdlib.h>
#include <string.h>

static const struct {
	enum store_kind kind;
	const char *word;
	bool has_driver, has_flavour, has_release;
} kinds[] = {
	{ STORE_TREE, "tree", true, false, false },
	{ STORE_KERNEL, "kernel", false, false, true },
	{ STORE_PROBE, "probes", true, false, true },
	{ STORE_MODULE, "modules", true, true, true },
};

const char *bundle_kind_word(enum store_kind k)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (kinds[i].kind == k)
			return kinds[i].word;
	return NULL;
}

static bool fits(const char *have, const char *want)
{
	return !have || !want || strcmp(have, want) == 0;
}

bool bundle_object_matches(const struct bundle_object *o, const struct bundle_want *w)
{
	return fits(o->driver, w->driver) && fits(o->flavour, w->flavour) && fits(o->release, w->release) &&
	       fits(o->arch, w->arch);
}

char *bundle_object_text(const struct bundle_object *o)
{
	switch (o->kind) {
	case STORE_TREE:
		return str_printf("driver %s (%s)", o->driver, o->arch);
	case STORE_KERNEL:
		return str_printf("build tree of kernel %s (%s)", o->release, o->arch);
	case STORE_MODULE:
		return str_printf("%s modules of %s for %s%s", o->flavour, o->driver, o->release,
				  json_is_true(json_object_get(o->record, "signed")) ? ", signed" : "");
	default:
		return str_printf("configure answers of %s for %s", o->driver, o->release);
	}
}

/* "535.261.03-5.14.0-284.11.1.el9_2.x86_64"; tags cannot hold the plus sign of kernel variants. */
char *bundle_tag(const char *driver, const char *kernel)
{
	char *tag = str_printf("%s%s%s", driver, kernel ? "-" : "", kernel ? kernel : "");

	for (char *p = tag; p && *p; p++)
		if (*p == '+' || *p == '~' || *p == ':')
			*p = '_';
	return tag;
}

static int no_bundle(struct err *e, const char *what)
{
	return err_set(e, -ERR_BUNDLE_FORMAT, "%s", what);
}

static bool is_hex64(const char *s)
{
	return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

/* -- index and manifest -- */

static int descriptor_parse(const json_t *j, struct oci_descriptor *ret, struct err *e)
{
	const char *type = NULL, *digest = NULL;
	struct oci_descriptor d;
	int r = json_is_object(j) ? 0 : no_bundle(e, "a descriptor is no object");

	if (r == 0)
		r = jget_str(j, "mediaType", &type, e);
	if (r == 0)
		r = jget_str(j, "digest", &digest, e);
	if (r == 0)
		r = jget_u64(j, "size", &d.size_bytes, e);
	if (r < 0)
		return r;
	if (strlen(type) >= sizeof(d.type) || strncmp(digest, "sha256:", 7) != 0 || !is_hex64(digest + 7))
		return no_bundle(e, "a descriptor's type or digest is not understood");
	snprintf(d.type, sizeof(d.type), "%s", type);
	snprintf(d.hex, sizeof(d.hex), "%s", digest + 7);
	*ret = d;
	return 0;
}

int bundle_index_parse(struct span text, struct oci_descriptor *ret, struct err *e)
{
	_cleanup_json_ json_t *j = NULL;
	json_t *manifests;
	int r = jparse(text, &j, e);

	if (r == 0)
		r = jget_array(j, "manifests", &manifests, e);
	if (r < 0)
		return err_recode(e, ERR_BUNDLE_FORMAT);
	if (json_array_size(manifests) != 1)
		return err_set(e, -ERR_BUNDLE_FORMAT, "the index names %zu images instead of one",
			       json_array_size(manifests));
	r = descriptor_parse(json_array_get(manifests, 0), ret, e);
	if (r < 0)
		return err_recode(e, ERR_BUNDLE_FORMAT);
	return strcmp(ret->type, OCI_MANIFEST_TYPE) == 0 ? 0
							 : no_bundle(e, "the index does not name an image");
}

void bundle_manifest_done(struct bundle_manifest *m)
{
	free(m->layers);
	memset(m, 0, sizeof(*m));
}

static int layers_parse(const json_t *layers, struct bundle_manifest *m, struct err *e)
{
	size_t n = json_array_size(layers);
	int r = 0;

	if (n > BUNDLE_OBJECTS_MAX + 1)
		return err_set(e, -ERR_TOO_LARGE, "an image of %zu layers", n);
	m->layers = calloc(n + 1, sizeof(*m->layers));
	if (!m->layers)
		return err_oom(e);
	for (; m->n_layers < n && r == 0; m->n_layers++)
		r = descriptor_parse(json_array_get(layers, m->n_layers), &m->layers[m->n_layers], e);
	return r;
}

int bundle_manifest_parse(struct span text, struct bundle_manifest *ret, struct err *e)
{
	_cleanup_(bundle_manifest_done) struct bundle_manifest m = { 0 };
	_cleanup_json_ json_t *j = NULL;
	json_t *config, *layers;
	uint64_t version = 0;
	int r = jparse(text, &j, e);

	if (r == 0)
		r = jget_u64(j, "schemaVersion", &version, e);
	if (r == 0)
		r = jget_object(j, "config", &config, e);
	if (r == 0)
		r = jget_array(j, "layers", &layers, e);
	if (r == 0)
		r = descriptor_parse(config, &m.config, e);
	if (r == 0)
		r = layers_parse(layers, &m, e);
	if (r == -ERR_TOO_LARGE || r == -ENOMEM)
		return r;
	if (r < 0)
		return err_recode(e, ERR_BUNDLE_FORMAT);
	if (version != 2 || strcmp(m.config.type, BUNDLE_DESCRIPTION_TYPE) != 0)
		return err_set(e, -ERR_BUNDLE_FORMAT,
			       "the image is no bundle: its configuration is of type %s", m.config.type);
	*ret = m;
	m = (struct bundle_manifest){ 0 };
	return 0;
}

/* -- description -- */

static int bad_object(struct err *e, size_t i, const char *what)
{
	return err_set(e, -ERR_BUNDLE_FORMAT, "object %zu of the description: %s", i, what);
}

static int object_kind(const char *word, size_t *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strcmp(kinds[i].word, word) == 0) {
			*ret = i;
			return 0;
		}
	return -EINVAL;
}

/* The words become names in the store, so each has to look like one. */
static int object_words(const json_t *j, size_t kind, struct bundle_object *o, struct err *e)
{
	int r = jget_str(j, "arch", &o->arch, e);

	if (r == 0 && kinds[kind].has_driver)
		r = jget_str(j, "driver", &o->driver, e);
	if (r == 0 && kinds[kind].has_flavour)
		r = jget_str(j, "flavour", &o->flavour, e);
	if (r == 0 && kinds[kind].has_release)
		r = jget_str(j, "release", &o->release, e);
	if (r < 0)
		return r;
	if (strcmp(o->arch, "x86_64") != 0 && strcmp(o->arch, "aarch64") != 0)
		return -EINVAL;
	if (o->flavour && strcmp(o->flavour, "proprietary") != 0 && strcmp(o->flavour, "open") != 0)
		return -EINVAL;
	if ((o->driver && !version_is_valid(o->driver)) || (o->release && !name_is_safe(o->release)))
		return -EINVAL;
	return 0;
}

static int object_aliases(const json_t *aliases)
{
	const json_t *a;
	size_t i;

	json_array_foreach ((json_t *)aliases, i, a)
		if (!json_is_string(a) || !name_is_safe(json_string_value(a)))
			return -EINVAL;
	return 0;
}

static int object_numbers(const json_t *j, struct bundle_object *o, struct err *e)
{
	int r = jget_u64(j, "size_bytes", &o->size_bytes, e);

	if (r == 0)
		r = jget_u64(j, "unpacked_bytes", &o->unpacked_bytes, e);
	if (r == 0)
		r = jget_u64(j, "members", &o->members, e);
	return r;
}

static int object_parse(const json_t *j, size_t i, struct bundle_object *o, struct err *e)
{
	const char *word = NULL;
	size_t kind = 0;
	int r = json_is_object(j) ? jget_str(j, "kind", &word, e) : -EINVAL;

	if (r == 0 && object_kind(word, &kind) < 0)
		return bad_object(e, i, "a kind this version does not know");
	o->kind = kinds[kind].kind;
	if (r == 0)
		r = jget_str(j, "id", &o->id, e);
	if (r == 0)
		r = jget_str(j, "sha256", &o->sha256, e);
	if (r == 0)
		r = jget_object(j, "record", &o->record, e);
	if (r == 0)
		r = object_numbers(j, o, e);
	if (r == 0)
		r = object_words(j, kind, o, e);
	o->aliases = json_object_get(j, "aliases");
	if (r < 0 || !is_hex64(o->id) || !is_hex64(o->sha256) || object_aliases(o->aliases) < 0)
		return bad_object(e, i, "a field is missing or not what it should be");
	if (o->unpacked_bytes > BUNDLE_UNPACKED_MAX_BYTES)
		return err_set(e, -ERR_TOO_LARGE, "object %zu unpacks to %llu bytes", i,
			       (unsigned long long)o->unpacked_bytes);
	return 0;
}

static int description_head(const json_t *j, struct err *e)
{
	const char *schema = NULL;
	uint64_t format = 0;
	int r = jget_str(j, "schema", &schema, e);

	if (r == 0)
		r = jget_u64(j, "format", &format, e);
	if (r < 0)
		return err_recode(e, ERR_BUNDLE_FORMAT);
	if (strcmp(schema, BUNDLE_SCHEMA) == 0 && format == BUNDLE_FORMAT)
		return 0;
	return err_set(e, -ERR_BUNDLE_FORMAT, "a bundle of format %llu; this version reads format %u",
		       (unsigned long long)format, BUNDLE_FORMAT);
}

int bundle_description_parse(struct span text, json_t **ret_description, struct bundle_object **ret_objects,
			     size_t *ret_n, struct err *e)
{
	_cleanup_free_ struct bundle_object *objects = NULL;
	_cleanup_json_ json_t *j = NULL;
	json_t *array = NULL;
	size_t n;
	int r = jparse(text, &j, e);

	if (r == 0 && !json_is_object(j))
		return no_bundle(e, "the description is no object");
	if (r == 0)
		r = description_head(j, e);
	if (r == 0)
		r = jget_array(j, "objects", &array, e);
	if (r < 0)
		return r == -ENOMEM ? r : err_recode(e, ERR_BUNDLE_FORMAT);
	n = json_array_size(array);
	if (n > BUNDLE_OBJECTS_MAX)
		return err_set(e, -ERR_TOO_LARGE, "a bundle of %zu objects", n);
	objects = calloc(n + 1, sizeof(*objects));
	if (!objects)
		return err_oom(e);
	for (size_t i = 0; i < n && r == 0; i++)
		r = object_parse(json_array_get(array, i), i, &objects[i], e);
	if (r < 0)
		return r;
	*ret_description = TAKE_PTR(j);
	*ret_objects = TAKE_PTR(objects);
	*ret_n = n;
	return 0;
}

/* -- both together -- */

/* The layers are the objects' blobs in the same order, then perhaps the signature; nothing else. */
static int agree(struct bundle *b, struct err *e)
{
	const struct bundle_manifest *m = &b->manifest;

	if (m->n_layers != b->n_objects && m->n_layers != b->n_objects + 1)
		return no_bundle(e, "manifest and description name different blobs");
	for (size_t i = 0; i < b->n_objects; i++)
		if (strcmp(m->layers[i].type, BUNDLE_OBJECT_TYPE) != 0 ||
		    strcmp(m->layers[i].hex, b->objects[i].sha256) != 0 ||
		    m->layers[i].size_bytes != b->objects[i].size_bytes)
			return no_bundle(e, "manifest and description name different blobs");
	if (m->n_layers == b->n_objects)
		return 0;
	if (strcmp(m->layers[b->n_objects].type, BUNDLE_SIGNATURE_TYPE) != 0)
		return no_bundle(e, "the manifest names a blob the description does not");
	memcpy(b->signature_hex, m->layers[b->n_objects].hex, sizeof(b->signature_hex));
	return 0;
}

int bundle_from_texts(char *manifest, size_t manifest_len, char *description, size_t description_len,
		      const char *path, struct bundle **ret, struct err *e)
{
	_cleanup_(bundle_freep) struct bundle *b = calloc(1, sizeof(*b));
	int r;

	if (!b) {
		free(manifest);
		free(description);
		return err_oom(e);
	}
	b->manifest_text = manifest;
	b->manifest_len = manifest_len;
	b->text = description;
	b->text_len = description_len;
	b->path = strdup(path);
	if (!b->path)
		return err_oom(e);
	r = bundle_manifest_parse((struct span){ manifest, manifest_len }, &b->manifest, e);
	if (r == 0)
		r = bundle_description_parse((struct span){ description, description_len }, &b->description,
					     &b->objects, &b->n_objects, e);
	if (r == 0)
		r = agree(b, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(b);
	return 0;
}
