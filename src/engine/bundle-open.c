/* SPDX-License-Identifier: Apache-2.0
 *
 * An open bundle: small parts read and compared with their digests, objects streamed. */
#include "bundle-internal.h"

#include "cms.h"
#include "digest.h"
#include "fd.h"
#include "jutil.h"
#include "log.h"
#include "strbuf.h"
#include "stream.h"
#include "tar.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

void bundle_freep(struct bundle **bp)
{
	struct bundle *b = *bp;

	if (!b)
		return;
	ocilayout_freep(&b->layout);
	free(b->path);
	free(b->manifest_text);
	bundle_manifest_done(&b->manifest);
	free(b->text);
	json_decref(b->description);
	free(b->objects);
	freep(bp);
}

const char *bundle_path(const struct bundle *b)
{
	return b->path;
}

const json_t *bundle_description(const struct bundle *b)
{
	return b->description;
}

const char *bundle_digest(const struct bundle *b)
{
	return b->digest;
}

bool bundle_is_signed(const struct bundle *b)
{
	return b->signature_hex[0];
}

/* -- open -- */

static int read_texts(struct ocilayout *l, const char *path, struct bundle **ret, struct err *e)
{
	_cleanup_free_ char *index = NULL, *manifest = NULL, *description = NULL;
	_cleanup_(bundle_manifest_done) struct bundle_manifest m = { 0 };
	_cleanup_(bundle_freep) struct bundle *b = NULL;
	struct oci_descriptor d;
	size_t len = 0, manifest_len = 0;
	int r = ocilayout_index(l, &index, &len, e);

	if (r == 0)
		r = bundle_index_parse((struct span){ index, len }, &d, e);
	if (r == 0)
		r = ocilayout_read(l, d.hex, OCI_MANIFEST_MAX_BYTES, &manifest, &manifest_len, e);
	if (r == 0)
		r = bundle_manifest_parse((struct span){ manifest, manifest_len }, &m, e);
	if (r == 0)
		r = ocilayout_read(l, m.config.hex, BUNDLE_DESCRIPTION_MAX, &description, &len, e);
	if (r == 0)
		r = bundle_from_texts(TAKE_PTR(manifest), manifest_len, TAKE_PTR(description), len, path, &b,
				      e);
	if (r < 0)
		return r;
	snprintf(b->digest, sizeof(b->digest), "sha256:%s", d.hex);
	*ret = TAKE_PTR(b);
	return 0;
}

int bundle_open_at(int root_fd, const char *path, struct bundle **ret, struct err *e)
{
	_cleanup_(ocilayout_freep) struct ocilayout *l = NULL;
	struct bundle *b = NULL;
	int r = ocilayout_open_at(root_fd, path, &l, e);

	if (r == 0)
		r = read_texts(l, path, &b, e);
	if (r < 0) {
		(void)err_object(e, "%s", path);
		return err_wrap(e, "bundle %s", path);
	}
	b->layout = TAKE_PTR(l);
	*ret = b;
	return 0;
}

int bundle_open(const char *path, struct bundle **ret, struct err *e)
{
	_cleanup_free_ char *absolute = realpath(path, NULL);
	_cleanup_close_ int root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (!absolute || root_fd < 0) {
		(void)err_errno(e, -errno, "cannot open the bundle %s", path);
		return err_object(e, "%s", path);
	}
	r = bundle_open_at(root_fd, absolute, ret, e);
	if (r < 0)
		return r;
	free((*ret)->path);
	(*ret)->path = strdup(path);
	if ((*ret)->path)
		return 0;
	bundle_freep(ret);
	return err_oom(e);
}

/* -- objects -- */

/* Broken bytes are the bundle's fault, whoever noticed them first. */
static int blame(const struct bundle *b, const struct bundle_object *o, int r, struct err *e)
{
	static const int codes[] = { ERR_DECODER_DAMAGED, ERR_RUNFILE_TRUNCATED, ERR_RUNFILE_TRAILING,
				     ERR_RUNFILE_CHANGED, ERR_ARCHIVE_DAMAGED };

	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		if (r == -codes[i])
			(void)err_recode(e, ERR_BUNDLE_DAMAGED);
	(void)err_object(e, "%s", b->path);
	return err_wrap(e, "%s %.12s", bundle_kind_word(o->kind), o->id);
}

static int damaged(struct err *e, const char *what)
{
	return err_set(e, -ERR_BUNDLE_DAMAGED, "%s", what);
}

static int compare(const struct bundle_object *o, const struct stream_sums *sums,
		   const struct tar_result *found, struct err *e)
{
	char hex[SHA256_HEX_SIZE];

	hex_encode(sums->sha256, SHA256_SIZE, hex);
	if (strcmp(hex, o->sha256) != 0)
		return err_set(e, -ERR_BUNDLE_DAMAGED, "its blob has the digest %s instead of %s", hex,
			       o->sha256);
	if (found->total_bytes != o->unpacked_bytes || found->members != o->members)
		return damaged(e, "its blob does not unpack to what the description says");
	return 0;
}

static int stream_object(const struct bundle_object *o, const struct oci_blob *blob, int dirfd, struct err *e)
{
	static const struct tar_visitor nobody = { NULL, NULL, NULL };
	_cleanup_(stream_freep) struct stream *s = NULL;
	struct runfile_layout layout = { .file_size = blob->size_bytes, .compression = COMPRESSION_ZSTD };
	struct stream_request q = { .fd = blob->fd,
				    .layout = &layout,
				    .base_offset = blob->offset,
				    .flags = STREAM_SHA256 | STREAM_DECODE };
	struct tar_limits limits = TAR_LIMITS_DEFAULT;
	struct tar_result found = { 0 };
	struct stream_sums sums;
	int r;

	limits.total_bytes = o->unpacked_bytes;
	r = stream_open(&q, &s, e);
	if (r < 0)
		return r;
	if (dirfd < 0)
		r = tar_walk(stream_next, s, &limits, false, &nobody, NULL, &found, e);
	else
		r = tar_extract(stream_next, s, &limits, dirfd, &found, e);
	if (r == 0)
		r = stream_finish(s, &sums, e);
	return r < 0 ? r : compare(o, &sums, &found, e);
}

int bundle_object_read(struct bundle *b, const struct bundle_object *o, int dirfd, struct err *e)
{
	_cleanup_(oci_blob_done) struct oci_blob blob = OCI_BLOB_INIT;
	int r = ocilayout_blob(b->layout, o->sha256, &blob, e);

	if (r == -ENOENT)
		r = err_set(e, -ERR_BUNDLE_DAMAGED, "its blob %s is missing", o->sha256);
	else if (r == 0 && blob.size_bytes != o->size_bytes)
		r = err_set(e, -ERR_BUNDLE_DAMAGED, "its blob has %llu bytes instead of %llu",
			    (unsigned long long)blob.size_bytes, (unsigned long long)o->size_bytes);
	else if (r == 0)
		r = stream_object(o, &blob, dirfd, e);
	return r < 0 ? blame(b, o, r, e) : 0;
}

/* -- signature -- */

static int text_fd(const struct bundle *b)
{
	_cleanup_close_ int fd = memfd_create("description", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : write_all(fd, b->text, b->text_len);

	return r < 0 ? r : TAKE_FD(fd);
}

int bundle_check_signature(struct bundle *b, const char *cert_path, struct err *e)
{
	_cleanup_(cert_freep) struct cert *cert = NULL;
	_cleanup_free_ char *der = NULL;
	_cleanup_close_ int fd = -EBADF;
	size_t len = 0;
	int r = cert_load(cert_path, &cert, e);

	if (r < 0)
		return r;
	if (!b->signature_hex[0]) {
		(void)err_set(e, -ERR_BUNDLE_UNSIGNED, "%s", b->path);
		return err_object(e, "%s", b->path);
	}
	r = ocilayout_read(b->layout, b->signature_hex, BUNDLE_SIGNATURE_MAX, &der, &len, e);
	if (r < 0)
		return r;
	fd = text_fd(b);
	if (fd < 0)
		return err_errno(e, fd, "checking the signature of %s", b->path);
	r = cms_verify_fd(cert, der, len, fd, b->text_len, e);
	if (r < 0) {
		(void)err_object(e, "%s", b->path);
		(void)err_next(e, "use a bundle signed with the key of %s", cert_path);
		return err_wrap(e, "signature of the bundle %s", b->path);
	}
	return 0;
}

int bundle_verify(struct bundle *b, const char *cert_path, struct err *e)
{
	int r = cert_path ? bundle_check_signature(b, cert_path, e) : 0;

	for (size_t i = 0; i < b->n_objects && r == 0; i++)
		r = bundle_object_read(b, &b->objects[i], -1, e);
	return r;
}

/* -- what is missing -- */

static bool holds(const struct bundle *b, enum store_kind kind, const struct bundle_want *w)
{
	for (size_t i = 0; i < b->n_objects; i++)
		if (b->objects[i].kind == kind && bundle_object_matches(&b->objects[i], w))
			return true;
	return false;
}

bool bundle_has_modules(const struct bundle *b, const struct bundle_want *want)
{
	return holds(b, STORE_MODULE, want);
}

static int add_missing(json_t *rows, const char *object, const struct bundle_want *w, struct err *e)
{
	json_t *row = json_pack("{s:s, s:s?, s:s?, s:s?, s:s?}", "object", object, "driver", w->driver,
				"flavour", w->flavour, "release", w->release, "arch", w->arch);

	return row && json_array_append_new(rows, row) == 0 ? 0 : err_oom(e);
}

static int missing_for(const struct bundle *b, const struct bundle_want *w, json_t *rows, struct err *e)
{
	int r = 0;

	if (!holds(b, STORE_TREE, w))
		r = add_missing(rows, "tree", w, e);
	if (r == 0 && !holds(b, STORE_MODULE, w) && !holds(b, STORE_KERNEL, w))
		r = add_missing(rows, "kernel", w, e);
	return r;
}

int bundle_missing(const struct bundle *b, const struct bundle_want *want, json_t **ret, struct err *e)
{
	_cleanup_json_ json_t *rows = json_array();
	struct bundle_want w = *want;
	bool any = false;
	int r = rows ? 0 : err_oom(e);

	if (w.driver)
		r = r < 0 ? r : missing_for(b, &w, rows, e);
	for (size_t i = 0; i < b->n_objects && !want->driver && r == 0; i++) {
		const struct bundle_object *o = &b->objects[i];

		if (o->kind != STORE_TREE || (want->arch && strcmp(o->arch, want->arch) != 0))
			continue;
		any = true;
		w.driver = o->driver;
		w.arch = o->arch;
		r = missing_for(b, &w, rows, e);
	}
	if (r == 0 && !want->driver && !any)
		r = missing_for(b, want, rows, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(rows);
	return 0;
}
