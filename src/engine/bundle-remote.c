/* SPDX-License-Identifier: Apache-2.0
 *
 * Bundles to and from registries. What is fetched lies in an image layout of its own until it is used, so the same
 * reader checks it and an interrupted transfer goes on. */
#include "bundle-internal.h"

#include "depot.h"
#include "fd.h"
#include "jutil.h"
#include "log.h"
#include "path.h"
#include "publish.h"
#include "registry.h"
#include "strbuf.h"
#include "tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_TIMEOUT_S 3600
#define COPY_BYTES     ((size_t)1 << 20)

static int connect_to(const struct bundle_remote *to, const struct registry_ref *ref, struct registry **ret,
		      struct err *e)
{
	const struct registry_options o = { .ca_file = to->ca_file,
					    .auth_file = to->auth_file,
					    .proxy = to->proxy,
					    .plain_http = to->plain_http,
					    .offline = to->offline,
					    .attempts = to->attempts,
					    .backoff_ms = to->backoff_ms };

	return registry_open(ref, &o, ret, e);
}

static const char *only_one(const struct bundle *b, const char *key)
{
	const json_t *list = json_object_get(b->description, key);

	return json_array_size(list) == 1 ? json_string_value(json_array_get(list, 0)) : NULL;
}

static bool has_many(const struct bundle *b, const char *key)
{
	return json_array_size(json_object_get(b->description, key)) > 1;
}

static int choose_tag(struct registry_ref *ref, const char *driver, const char *kernel, struct err *e)
{
	if (ref->tag || ref->digest)
		return 0;
	if (!driver) {
		(void)err_set(e, -ERR_REGISTRY_REFERENCE,
			      "%s/%s has no tag, and not one driver with one kernel or none to make it of",
			      ref->host, ref->name);
		return err_object(e, "%s/%s", ref->host, ref->name);
	}
	ref->tag = bundle_tag(driver, kernel);
	return ref->tag ? 0 : err_oom(e);
}

/* -- push -- */

static int push_blob(struct registry *r, struct bundle *b, const struct oci_descriptor *d, uint64_t *sent,
		     struct err *e)
{
	_cleanup_(oci_blob_done) struct oci_blob blob = OCI_BLOB_INIT;
	int k = registry_blob_has(r, d->hex, d->size_bytes, e);

	if (k != 0)
		return k < 0 ? k : 0;
	k = ocilayout_blob(b->layout, d->hex, &blob, e);
	if (k == -ENOENT || (k == 0 && blob.size_bytes != d->size_bytes))
		return err_set(e, -ERR_BUNDLE_DAMAGED, "%s lacks the blob %s", b->path, d->hex);
	return k < 0 ? k : registry_blob_put(r, d->hex, d->size_bytes, blob.fd, blob.offset, sent, e);
}

static int push_all(struct registry *r, struct bundle *b, const char *tag, uint64_t *sent, struct err *e)
{
	int k = 0;

	for (size_t i = 0; i < b->manifest.n_layers && k == 0; i++)
		k = push_blob(r, b, &b->manifest.layers[i], sent, e);
	if (k == 0)
		k = push_blob(r, b, &b->manifest.config, sent, e);
	/* Last: who sees the manifest finds all it names. */
	return k == 0 ? registry_manifest_put(r, tag, OCI_MANIFEST_TYPE, b->manifest_text, b->manifest_len, e)
		      : k;
}

int bundle_push(struct bundle *b, const struct bundle_remote *to, char **ret_reference,
		uint64_t *ret_sent_bytes, struct err *e)
{
	_cleanup_(registry_ref_done) struct registry_ref ref = { 0 };
	_cleanup_(registry_freep) struct registry *r = NULL;
	_cleanup_free_ char *reference = NULL;
	uint64_t sent = 0;
	int k = registry_ref_parse(to->reference, &ref, e);

	if (k == 0 && ref.digest && strcmp(ref.digest, b->digest) != 0)
		k = err_set(e, -ERR_REGISTRY_REFERENCE, "%s is not the digest of %s: %s", ref.digest, b->path,
			    b->digest);
	if (k == 0)
		k = choose_tag(&ref, has_many(b, "kernels") ? NULL : only_one(b, "drivers"),
			       only_one(b, "kernels"), e);
	if (k == 0)
		k = connect_to(to, &ref, &r, e);
	if (k == 0)
		k = push_all(r, b, ref.tag ? ref.tag : ref.digest, &sent, e);
	if (k < 0)
		return err_wrap(e, "pushing %s", b->path);
	reference =
	    str_printf("%s/%s%s%s", ref.host, ref.name, ref.tag ? ":" : "@", ref.tag ? ref.tag : ref.digest);
	if (!reference)
		return err_oom(e);
	if (ret_reference)
		*ret_reference = TAKE_PTR(reference);
	if (ret_sent_bytes)
		*ret_sent_bytes = sent;
	return 0;
}

/* -- pull: a layout that fills up -- */

struct pull {
	struct registry *r; /* owned */
	int dir_fd; /* owned; the layout's */
	char *dir; /* owned; its path */
	struct bundle *b; /* owned; description read, objects perhaps not there yet */
	uint64_t received;
};

static void pull_done(struct pull *p)
{
	bundle_freep(&p->b);
	registry_freep(&p->r);
	close_fdp(&p->dir_fd);
	free(p->dir);
}

static int put_blob(struct pull *p, const char *hex, const char *bytes, size_t len, struct err *e)
{
	_cleanup_close_ int blobs =
	    path_open_at(p->dir_fd, "blobs/sha256", O_RDONLY | O_DIRECTORY, 0, PATH_NO_SYMLINKS);
	int k = blobs < 0 ? blobs : publish_bytes(blobs, hex, bytes, len, 0644);

	return k < 0 ? err_errno(e, k, "writing below %s", p->dir) : 0;
}

static int put_index(struct pull *p, const struct oci_descriptor *manifest, struct err *e)
{
	static const char version[] = "{\"imageLayoutVersion\":\"1.0.0\"}\n";
	_cleanup_free_ char *index = NULL;
	int k = bundle_index_text(manifest, &index);

	if (k == 0)
		k = publish_bytes(p->dir_fd, "index.json", index, strlen(index), 0644);
	if (k == 0)
		k = publish_bytes(p->dir_fd, "oci-layout", version, strlen(version), 0644);
	return k < 0 ? err_errno(e, k, "writing below %s", p->dir) : 0;
}

static int pull_texts(struct pull *p, const char *reference, struct err *e)
{
	_cleanup_(bundle_manifest_done) struct bundle_manifest m = { 0 };
	_cleanup_free_ char *manifest = NULL, *description = NULL;
	struct oci_descriptor d = { .type = OCI_MANIFEST_TYPE };
	uint8_t raw[SHA256_SIZE];
	size_t len = 0, description_len = 0;
	int k = registry_manifest_get(p->r, reference, OCI_MANIFEST_MAX_BYTES, &manifest, &len, e);

	if (k == 0)
		k = bundle_manifest_parse((struct span){ manifest, len }, &m, e);
	if (k == 0)
		k = registry_blob_read(p->r, m.config.hex, BUNDLE_DESCRIPTION_MAX, &description,
				       &description_len, e);
	if (k == 0 && sha256_bytes(manifest, len, raw) < 0)
		k = err_oom(e);
	if (k < 0)
		return k;
	hex_encode(raw, sizeof(raw), d.hex);
	d.size_bytes = len;
	k = path_mkdirs(p->dir_fd, "blobs/sha256", 0755, PATH_NO_SYMLINKS);
	if (k < 0)
		return err_errno(e, k, "writing below %s", p->dir);
	k = put_blob(p, d.hex, manifest, len, e);
	if (k == 0)
		k = put_blob(p, m.config.hex, description, description_len, e);
	return k == 0 ? put_index(p, &d, e) : k;
}

static int pull_blob(struct pull *p, const struct oci_descriptor *d, struct err *e)
{
	_cleanup_close_ int blobs =
	    path_open_at(p->dir_fd, "blobs/sha256", O_RDONLY | O_DIRECTORY, 0, PATH_NO_SYMLINKS);
	_cleanup_free_ char *path = str_printf("%s/blobs/sha256", p->dir);

	if (blobs < 0)
		return err_errno(e, blobs, "writing below %s", p->dir);
	return path ? registry_blob_get(p->r, d->hex, d->size_bytes, blobs, path, &p->received, e)
		    : err_oom(e);
}

/* Description into the layout at p->dir, and the bundle opened there. */
static int pull_begin(struct pull *p, const struct bundle_remote *from, const struct bundle_want *want,
		      bool with_signature, struct err *e)
{
	_cleanup_(registry_ref_done) struct registry_ref ref = { 0 };
	int k = registry_ref_parse(from->reference, &ref, e);

	if (k == 0)
		k = choose_tag(&ref, want ? want->driver : NULL, want ? want->release : NULL, e);
	if (k == 0)
		k = connect_to(from, &ref, &p->r, e);
	if (k == 0)
		k = pull_texts(p, ref.digest ? ref.digest : ref.tag, e);
	if (k == 0)
		k = bundle_open(p->dir, &p->b, e);
	if (k == 0 && with_signature && p->b->signature_hex[0])
		k = pull_blob(p, &p->b->manifest.layers[p->b->n_objects], e);
	return k;
}

/* -- pull into the store -- */

static int pull_missing(struct pull *p, struct store *s, const struct bundle_want *want, struct err *e)
{
	int k = 0;

	for (size_t i = 0; i < p->b->n_objects && k == 0; i++) {
		if (!bundle_object_matches(&p->b->objects[i], want))
			continue;
		k = bundle_object_present(s, &p->b->objects[i], e);
		if (k == 0)
			k = pull_blob(p, &p->b->manifest.layers[i], e);
		k = k > 0 ? 0 : k;
	}
	return k;
}

/* A directory per reference, so that an interrupted run is found again. */
static int incoming_open(struct pull *p, struct depot *d, const char *reference, char **ret_name,
			 struct err *e)
{
	uint8_t raw[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	int k;

	if (sha256_bytes(reference, strlen(reference), raw) < 0)
		return err_oom(e);
	hex_encode(raw, sizeof(raw), hex);
	*ret_name = str_printf("oci-%.32s", hex);
	if (!*ret_name)
		return err_oom(e);
	k = depot_subdir(d, *ret_name, &p->dir, e);
	if (k < 0)
		return k;
	p->dir_fd = dir_open_at(d->dir_fd, *ret_name);
	return p->dir_fd < 0 ? err_errno(e, p->dir_fd, "cannot open %s", p->dir) : 0;
}

static int pull_into(struct pull *p, struct store *s, const struct bundle_remote *from,
		     const struct bundle_apply *how, json_t **ret_rows, struct err *e)
{
	int k = pull_begin(p, from, &how->want, how->cert_path, e);

	/* Before hundreds of megabytes are fetched for nothing. */
	if (k == 0 && how->cert_path)
		k = bundle_check_signature(p->b, how->cert_path, e);
	if (k == 0 && !how->dry_run)
		k = pull_missing(p, s, &how->want, e);
	return k == 0 ? bundle_apply(s, p->b, how, ret_rows, e) : k;
}

int bundle_pull(struct store *s, const struct bundle_remote *from, const struct bundle_apply *how,
		json_t **ret_rows, uint64_t *ret_received_bytes, struct err *e)
{
	_cleanup_(pull_done) struct pull p = { .dir_fd = -EBADF };
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	_cleanup_(depot_done) struct depot d = DEPOT_INIT;
	_cleanup_free_ char *name = NULL;
	int k = depot_open(s, &d, e);

	if (k == 0)
		k = incoming_open(&p, &d, from->reference, &name, e);
	if (k == 0)
		k = store_lock(s, STORE_PACKAGE, name, LOCK_TIMEOUT_S, &lock, e);
	if (k == 0)
		k = pull_into(&p, s, from, how, ret_rows, e);
	if (k < 0)
		return err_wrap(e, "pulling %s", from->reference);
	(void)tree_remove(d.dir_fd, name);
	if (ret_received_bytes)
		*ret_received_bytes = p.received;
	return 0;
}

/* -- pull into a file -- */

static int copy_blob(struct bundle *b, const struct oci_descriptor *d, struct ociwriter *w, char *buf,
		     struct err *e)
{
	_cleanup_(oci_blob_done) struct oci_blob blob = OCI_BLOB_INIT;
	struct oci_descriptor written;
	int k = ocilayout_blob(b->layout, d->hex, &blob, e);

	if (k == -ENOENT)
		return err_set(e, -ERR_BUNDLE_DAMAGED, "%s lacks the blob %s", b->path, d->hex);
	if (k == 0)
		k = ociwriter_blob_begin(w, e);
	for (uint64_t at = 0; at < blob.size_bytes && k == 0;) {
		size_t n = blob.size_bytes - at < COPY_BYTES ? (size_t)(blob.size_bytes - at) : COPY_BYTES;

		k = pread_exact(blob.fd, buf, n, blob.offset + at);
		if (k == 0)
			k = ociwriter_blob_data(w, buf, n);
		if (k < 0)
			return err_errno(e, k, "copying the blob %s", d->hex);
		at += n;
	}
	if (k == 0)
		k = ociwriter_blob_end(w, &written, e);
	if (k == 0 && strcmp(written.hex, d->hex) != 0)
		k = err_set(e, -ERR_BUNDLE_DAMAGED, "the blob %s has the digest %s", d->hex, written.hex);
	return k;
}

/* In the order in which bundle_create() wrote it. */
static int copy_bundle(struct bundle *b, struct ociwriter *w, struct err *e)
{
	_cleanup_free_ char *buf = malloc(COPY_BYTES);
	struct oci_descriptor manifest = { .type = OCI_MANIFEST_TYPE };
	int k = buf ? ociwriter_begin(w, e) : err_oom(e);

	for (size_t i = 0; i < b->n_objects && k == 0; i++)
		k = copy_blob(b, &b->manifest.layers[i], w, buf, e);
	if (k == 0)
		k = copy_blob(b, &b->manifest.config, w, buf, e);
	if (k == 0 && b->signature_hex[0])
		k = copy_blob(b, &b->manifest.layers[b->n_objects], w, buf, e);
	if (k == 0)
		k = ociwriter_blob_bytes(w, b->manifest_text, b->manifest_len, &manifest, e);
	return k == 0 ? ociwriter_finish(w, &manifest, BUNDLE_ARTIFACT, NULL, e) : k;
}

static int write_copy(struct bundle *b, int dirfd, const char *name, struct err *e)
{
	_cleanup_(tmpname_done) struct tmpname t = TMPNAME_INIT(dirfd);
	_cleanup_(ociwriter_done) struct ociwriter w = OCIWRITER_INIT(-EBADF);
	int k = tmpname_open(&t, 0644);

	if (k < 0)
		return err_errno(e, k, "cannot create %s", name);
	w.fd = t.fd;
	k = copy_bundle(b, &w, e);
	if (k < 0)
		return k;
	k = publish_tmp(&t, name, true);
	return k < 0 ? err_errno(e, k, "cannot create %s", name) : 0;
}

static int pull_everything(struct pull *p, const struct bundle_remote *from, struct err *e)
{
	int k = pull_begin(p, from, NULL, true, e);

	for (size_t i = 0; k == 0 && i < p->b->n_objects; i++)
		k = pull_blob(p, &p->b->manifest.layers[i], e);
	return k;
}

int bundle_pull_file(const struct bundle_remote *from, const char *path, uint64_t *ret_received_bytes,
		     struct err *e)
{
	_cleanup_(pull_done) struct pull p = { .dir_fd = -EBADF };
	_cleanup_free_ char *name = NULL, *parts = NULL;
	_cleanup_close_ int dir = bundle_output_open(path, &name, e);
	int k = dir < 0 ? dir : 0;

	if (k == 0 && (!(p.dir = str_printf("%s.parts", path)) || !(parts = str_printf("%s.parts", name))))
		k = err_oom(e);
	if (k == 0 && mkdirat(dir, parts, 0755) < 0 && errno != EEXIST)
		k = err_errno(e, -errno, "cannot create %s", p.dir);
	if (k == 0 && (p.dir_fd = dir_open_at(dir, parts)) < 0)
		k = err_errno(e, p.dir_fd, "cannot open %s", p.dir);
	if (k == 0)
		k = pull_everything(&p, from, e);
	if (k == 0)
		k = write_copy(p.b, dir, name, e);
	if (k < 0)
		return err_wrap(e, "pulling %s", from->reference);
	(void)tree_remove(dir, parts);
	if (ret_received_bytes)
		*ret_received_bytes = p.received;
	return 0;
}
