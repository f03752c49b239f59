/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the bundle's parts share. Private to this directory. */

#include "bundle.h"
#include "digest.h"
#include "ocilayout.h"
#include "parse.h"

#define BUNDLE_FORMAT		  1u
#define BUNDLE_SCHEMA		  "nvdriver.bundle/1"
#define BUNDLE_ARTIFACT		  "application/vnd.nvdriver.bundle.v1"
#define BUNDLE_DESCRIPTION_TYPE	  "application/vnd.nvdriver.bundle.v1+json"
#define BUNDLE_OBJECT_TYPE	  "application/vnd.nvdriver.object.v1.tar+zstd"
#define BUNDLE_SIGNATURE_TYPE	  "application/vnd.nvdriver.signature.v1+cms"
#define OCI_MANIFEST_TYPE	  "application/vnd.oci.image.manifest.v1+json"
#define OCI_INDEX_TYPE		  "application/vnd.oci.image.index.v1+json"
#define BUNDLE_DESCRIPTION_MAX	  ((size_t)16 << 20)
#define BUNDLE_SIGNATURE_MAX	  ((size_t)64 << 10)
#define BUNDLE_OBJECTS_MAX	  10000u
#define BUNDLE_UNPACKED_MAX_BYTES ((uint64_t)16 << 30)
#define BUNDLE_EPOCH_S		  946684800 /* of every member: make needs times that are equal, not 0 */

/* A blob as an OCI descriptor names it. */
struct oci_descriptor {
	char type[128];
	char hex[65];
	uint64_t size_bytes;
};

struct bundle_manifest {
	struct oci_descriptor config, *layers; /* owned array */
	size_t n_layers;
};
void bundle_manifest_done(struct bundle_manifest *m);

/* One object of the description. The strings belong to it. */
struct bundle_object {
	enum store_kind kind;
	const char *id, *sha256;
	const char *driver, *flavour, *release, *arch; /* NULL where the kind has none */
	uint64_t size_bytes, unpacked_bytes, members;
	json_t *record; /* borrowed */
	json_t *aliases; /* borrowed; kernels, may be NULL */
};

struct bundle {
	struct ocilayout *layout; /* owned */
	char *path; /* owned */
	char digest[72]; /* "sha256:<hex>" */
	char *manifest_text; /* owned */
	size_t manifest_len;
	struct bundle_manifest manifest;
	char *text; /* owned; of the description, as signed */
	size_t text_len;
	json_t *description; /* owned */
	struct bundle_object *objects; /* owned; in the order of the layers */
	size_t n_objects;
	char signature_hex[65]; /* blob with the signature; "" = unsigned */
};

/* Word of a kind in descriptions and rows: "tree", "kernel", "modules", "probes"; NULL for kinds bundles do not hold. */
const char *bundle_kind_word(enum store_kind k);
bool bundle_object_matches(const struct bundle_object *o, const struct bundle_want *want);
/* "driver 535.261.03 (x86_64)", "proprietary modules of …"; caller frees. */
char *bundle_object_text(const struct bundle_object *o);

/* "<driver>-<kernel>", or "<driver>" when kernel is NULL, with what tags cannot hold replaced by "_"; caller frees, NULL without memory. */
char *bundle_tag(const char *driver, const char *kernel);

/* -- pure readers of foreign bytes -- */

/* The one image manifest an index.json names. ERR_BUNDLE_FORMAT. */
int bundle_index_parse(struct span text, struct oci_descriptor *ret, struct err *e);
int bundle_manifest_parse(struct span text, struct bundle_manifest *ret, struct err *e);
/* *ret_objects points into *ret_description; caller: json_decref, free. */
int bundle_description_parse(struct span text, json_t **ret_description, struct bundle_object **ret_objects,
			     size_t *ret_n, struct err *e);
/* Everything but where the blobs lie: manifest and description must agree. Takes the texts over. */
int bundle_from_texts(char *manifest, size_t manifest_len, char *description, size_t description_len,
		      const char *path, struct bundle **ret, struct err *e);

/* The blob of an object: its digest, size, archive and totals checked; with dirfd (else -1) written below it, to be
 * used only after 0. ERR_BUNDLE_DAMAGED, ERR_ARCHIVE_*. */
int bundle_object_read(struct bundle *b, const struct bundle_object *o, int dirfd, struct err *e);

/* 1: the object is in the store, whole as far as can be told quickly, and its refs are set; 0: it is not (what was damaged is
 * taken out). */
int bundle_object_present(struct store *s, const struct bundle_object *o, struct err *e);

/* -- writing -- */

/* An archive being written: blobs first, whose headers are filled in when digest and size are known. */
struct ociwriter {
	int fd; /* borrowed; O_RDWR, empty */
	uint64_t at; /* end of what is written */
	uint64_t header_at; /* of the blob being written */
	struct digest *digest; /* owned; likewise */
	struct {
		char hex[65];
	} * blobs; /* owned; what is there */
	size_t n_blobs;
};
#define OCIWRITER_INIT(out_fd)                                                                               \
	{                                                                                                    \
		.fd = (out_fd)                                                                               \
	}
void ociwriter_done(struct ociwriter *w);
int ociwriter_begin(struct ociwriter *w, struct err *e); /* the directories */
int ociwriter_blob_begin(struct ociwriter *w, struct err *e);
int ociwriter_blob_data(struct ociwriter *w, const void *buf, size_t len); /* 0 or -errno */
/* A blob that is there already is written once. */
int ociwriter_blob_end(struct ociwriter *w, struct oci_descriptor *ret, struct err *e);
int ociwriter_blob_bytes(struct ociwriter *w, const void *buf, size_t len, struct oci_descriptor *ret,
			 struct err *e);
/* index.json for this manifest, oci-layout and the archive's end. */
int ociwriter_finish(struct ociwriter *w, const struct oci_descriptor *manifest, const char *artifact_type,
		     const char *ref_name, struct err *e);

/* { "mediaType", "digest", "size" } with further annotations (may be NULL, stolen). */
json_t *oci_descriptor_json(const char *type, const struct oci_descriptor *d, json_t *annotations);
/* The manifest's text for a description and its layers; the last one is the signature when signed. Caller frees. */
int bundle_manifest_text(const struct oci_descriptor *description, const struct oci_descriptor *layers,
			 size_t n, const json_t *objects, bool is_signed, char **ret, struct err *e);

int bundle_index_text(const struct oci_descriptor *manifest,
		      char **ret); /* of index.json, without a reference */
/* The directory of an output file (a descriptor) and its name in there (caller frees). */
int bundle_output_open(const char *path, char **ret_name, struct err *e);

/* A directory as one compressed blob; `without` as in tarball_collect(). */
int bundle_pack_dir(struct ociwriter *w, int dirfd, const char *without, int level, unsigned jobs,
		    struct oci_descriptor *ret, uint64_t *ret_unpacked_bytes, uint64_t *ret_members,
		    struct err *e);
