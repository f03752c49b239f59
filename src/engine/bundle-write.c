/* SPDX-License-Identifier: Apache-2.0
 *
 * An image layout written as one archive in one pass: a blob's header is filled in once its digest is known, so nothing
 * is compressed to one side first. The bytes depend on the objects alone. */
#include "bundle-internal.h"

#include "compress.h"
#include "digest.h"
#include "fd.h"
#include "jutil.h"
#include "strbuf.h"
#include "tarball.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const char zeros[2 * TAR_BLOCK_BYTES];

void ociwriter_done(struct ociwriter *w)
{
	digest_freep(&w->digest);
	free(w->blobs);
}

static int put(struct ociwriter *w, const void *buf, size_t len)
{
	int r = write_all(w->fd, buf, len);

	if (r == 0)
		w->at += len;
	return r;
}

static int put_padding(struct ociwriter *w, uint64_t size)
{
	return put(w, zeros, (size_t)(tarball_padded(size) - size));
}

static int put_file(struct ociwriter *w, const char *name, const char *text)
{
	char h[TAR_BLOCK_BYTES];
	size_t len = strlen(text);
	int r;

	tarball_header(h, name, len, name[strlen(name) - 1] == '/' ? 0755 : 0644, BUNDLE_EPOCH_S);
	r = put(w, h, sizeof(h));
	if (r == 0)
		r = put(w, text, len);
	return r == 0 ? put_padding(w, len) : r;
}

int ociwriter_begin(struct ociwriter *w, struct err *e)
{
	int r = put_file(w, "blobs/", "");

	if (r == 0)
		r = put_file(w, "blobs/sha256/", "");
	return r < 0 ? err_errno(e, r, "writing the bundle") : 0;
}

int ociwriter_blob_begin(struct ociwriter *w, struct err *e)
{
	int r;

	digest_freep(&w->digest);
	if (digest_new("sha256", &w->digest) < 0)
		return err_oom(e);
	w->header_at = w->at;
	r = put(w, zeros, TAR_BLOCK_BYTES);
	return r < 0 ? err_errno(e, r, "writing the bundle") : 0;
}

int ociwriter_blob_data(struct ociwriter *w, const void *buf, size_t len)
{
	return digest_update(w->digest, buf, len) < 0 ? -EIO : put(w, buf, len);
}

static bool is_there(const struct ociwriter *w, const char *hex)
{
	for (size_t i = 0; i < w->n_blobs; i++)
		if (strcmp(w->blobs[i].hex, hex) == 0)
			return true;
	return false;
}

static int remember(struct ociwriter *w, const char *hex)
{
	void *more = reallocarray(w->blobs, w->n_blobs + 1, sizeof(*w->blobs));

	if (!more)
		return -ENOMEM;
	w->blobs = more;
	memcpy(w->blobs[w->n_blobs++].hex, hex, 65);
	return 0;
}

/* The same bytes again: back to where the blob began. */
static int take_back(struct ociwriter *w)
{
	if (ftruncate(w->fd, (off_t)w->header_at) < 0 || lseek(w->fd, (off_t)w->header_at, SEEK_SET) < 0)
		return -errno;
	w->at = w->header_at;
	return 0;
}

static int complete(struct ociwriter *w, const char *hex, uint64_t size)
{
	char h[TAR_BLOCK_BYTES], name[96];
	int r = remember(w, hex);

	snprintf(name, sizeof(name), "blobs/sha256/%s", hex);
	tarball_header(h, name, size, 0644, BUNDLE_EPOCH_S);
	if (r == 0 && pwrite(w->fd, h, sizeof(h), (off_t)w->header_at) != (ssize_t)sizeof(h))
		r = -EIO;
	return r == 0 ? put_padding(w, size) : r;
}

int ociwriter_blob_end(struct ociwriter *w, struct oci_descriptor *ret, struct err *e)
{
	uint64_t size = w->at - w->header_at - TAR_BLOCK_BYTES;
	struct oci_descriptor d = { .size_bytes = size };
	uint8_t raw[SHA256_SIZE];
	int r;

	if (size >= (uint64_t)8 << 30)
		return err_set(e, -ERR_TOO_LARGE, "an object of the bundle compresses to 8 GiB or more");
	if (digest_final(w->digest, raw, sizeof(raw), NULL) < 0)
		return err_errno(e, -EIO, "computing SHA-256");
	hex_encode(raw, sizeof(raw), d.hex);
	r = is_there(w, d.hex) ? take_back(w) : complete(w, d.hex, size);
	if (r < 0)
		return err_errno(e, r, "writing the bundle");
	*ret = d;
	return 0;
}

int ociwriter_blob_bytes(struct ociwriter *w, const void *buf, size_t len, struct oci_descriptor *ret,
			 struct err *e)
{
	int r = ociwriter_blob_begin(w, e);

	if (r < 0)
		return r;
	r = ociwriter_blob_data(w, buf, len);
	return r < 0 ? err_errno(e, r, "writing the bundle") : ociwriter_blob_end(w, ret, e);
}

json_t *oci_descriptor_json(const char *type, const struct oci_descriptor *d, json_t *annotations)
{
	char digest[80];

	snprintf(digest, sizeof(digest), "sha256:%s", d->hex);
	return json_pack("{s:s, s:s, s:I, s:o*}", "mediaType", type, "digest", digest, "size",
			 (json_int_t)d->size_bytes, "annotations", annotations);
}

static int index_text(const struct oci_descriptor *manifest, const char *artifact_type, const char *ref_name,
		      char **ret)
{
	json_t *annotations =
	    ref_name ? json_pack("{s:s}", "org.opencontainers.image.ref.name", ref_name) : NULL;
	json_t *entry = oci_descriptor_json(OCI_MANIFEST_TYPE, manifest, annotations);
	_cleanup_json_ json_t *index = NULL;

	if (entry && artifact_type &&
	    json_object_set_new(entry, "artifactType", json_string(artifact_type)) < 0) {
		json_decref(entry);
		return -ENOMEM;
	}
	index = json_pack("{s:i, s:s, s:[o]}", "schemaVersion", 2, "mediaType", OCI_INDEX_TYPE, "manifests",
			  entry);
	return index ? jdump(index, ret) : -ENOMEM;
}

int bundle_index_text(const struct oci_descriptor *manifest, char **ret)
{
	return index_text(manifest, BUNDLE_ARTIFACT, NULL, ret);
}

int ociwriter_finish(struct ociwriter *w, const struct oci_descriptor *manifest, const char *artifact_type,
		     const char *ref_name, struct err *e)
{
	_cleanup_free_ char *index = NULL;
	int r = index_text(manifest, artifact_type, ref_name, &index);

	if (r == 0)
		r = put_file(w, "index.json", index);
	if (r == 0)
		r = put_file(w, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}\n");
	if (r == 0)
		r = put(w, zeros, sizeof(zeros));
	return r < 0 ? err_errno(e, r, "writing the bundle") : 0;
}

/* -- a directory as a blob -- */

static int compress(void *z, const void *buf, size_t len, struct err *e)
{
	return compressor_write(z, buf, len, e);
}

static int to_blob(void *w, const void *buf, size_t len)
{
	return ociwriter_blob_data(w, buf, len);
}

int bundle_pack_dir(struct ociwriter *w, int dirfd, const char *without, int level, unsigned jobs,
		    struct oci_descriptor *ret, uint64_t *ret_unpacked_bytes, uint64_t *ret_members,
		    struct err *e)
{
	_cleanup_(tarball_freep) struct tarball *t = NULL;
	_cleanup_(compressor_freep) struct compressor *z = NULL;
	int r = tarball_collect(dirfd, BUNDLE_EPOCH_S, without, &t, e);

	if (r == 0)
		r = ociwriter_blob_begin(w, e);
	if (r == 0)
		r = compressor_new(COMPRESSION_ZSTD, level, jobs, tarball_bytes(t), to_blob, w, &z, e);
	if (r == 0)
		r = tarball_write(t, compress, z, e);
	if (r == 0)
		r = compressor_finish(z, e);
	if (r == 0)
		r = ociwriter_blob_end(w, ret, e);
	if (r < 0)
		return r;
	*ret_unpacked_bytes = tarball_content_bytes(t);
	*ret_members = tarball_members(t);
	return 0;
}

/* -- manifest -- */

static json_t *layer_json(const struct oci_descriptor *d, const json_t *object)
{
	const char *kind = json_string_value(json_object_get(object, "kind"));
	const char *id = json_string_value(json_object_get(object, "id"));
	_cleanup_free_ char *title =
	    object ? str_printf("%s-%.16s.tar.zst", kind, id) : strdup("signature.p7s");

	return oci_descriptor_json(object ? BUNDLE_OBJECT_TYPE : BUNDLE_SIGNATURE_TYPE, d,
				   title ? json_pack("{s:s}", "org.opencontainers.image.title", title)
					 : NULL);
}

int bundle_manifest_text(const struct oci_descriptor *description, const struct oci_descriptor *layers,
			 size_t n, const json_t *objects, bool is_signed, char **ret, struct err *e)
{
	_cleanup_json_ json_t *j = NULL;
	json_t *array = json_array();

	for (size_t i = 0; i < n && array; i++) {
		const json_t *object = is_signed && i + 1 == n ? NULL : json_array_get(objects, i);

		if (json_array_append_new(array, layer_json(&layers[i], object)) < 0) {
			json_decref(array);
			array = NULL;
		}
	}
	if (!array)
		return err_oom(e);
	j = json_pack("{s:i, s:s, s:s, s:o, s:o}", "schemaVersion", 2, "mediaType", OCI_MANIFEST_TYPE,
		      "artifactType", BUNDLE_ARTIFACT, "config",
		      oci_descriptor_json(BUNDLE_DESCRIPTION_TYPE, description, NULL), "layers", array);
	return j && jdump(j, ret) == 0 ? 0 : err_oom(e);
}

/* -- output -- */

int bundle_output_open(const char *path, char **ret_name, struct err *e)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup("."),
			    *name = strdup(slash ? slash + 1 : path);
	int fd;

	if (!dir || !name)
		return err_oom(e);
	if (!*name)
		return err_set(e, -ERR_USAGE, "%s names no file", path);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		(void)err_set(e, -ERR_PACK_OUTPUT, "cannot open %s: %s", dir, strerror(errno));
		return err_object(e, "%s", path);
	}
	*ret_name = TAKE_PTR(name);
	return fd;
}
