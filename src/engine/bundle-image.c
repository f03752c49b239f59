/* SPDX-License-Identifier: Apache-2.0
 *
 * A module set as the container image operators of kernel modules expect: one layer with /opt/lib/modules/<release>/ and
 * its indexes, and the firmware the modules ask for below /opt/lib/firmware/. */
#include "bundle-internal.h"

#include "compress.h"
#include "fd.h"
#include "jutil.h"
#include "log.h"
#include "modset.h"
#include "path.h"
#include "publish.h"
#include "spawn.h"
#include "strbuf.h"
#include "tarball.h"
#include "tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define LAYER_TYPE	 "application/vnd.oci.image.layer.v1.tar+gzip"
#define CONFIG_TYPE	 "application/vnd.oci.image.config.v1+json"
#define DEPMOD_TIMEOUT_S 120
#define LINKED		 (TREE_COPY_HARDLINK | TREE_COPY_REFLINK)

struct image {
	struct store *s;
	const struct bundle_want *want;
	char key[65];
	json_t *record; /* owned; of the set */
	struct store_stage st;
	int root_fd; /* owned; the layer's content */
	struct ociwriter w;
	struct digest *plain; /* owned; of the layer before compression */
	struct compressor *z; /* owned */
};

static void image_done(struct image *i)
{
	json_decref(i->record);
	close_fdp(&i->root_fd);
	store_stage_done(&i->st);
	ociwriter_done(&i->w);
	digest_freep(&i->plain);
	compressor_freep(&i->z);
}

static const char *word(const struct image *i, const char *key)
{
	const char *s = json_string_value(json_object_get(i->record, key));

	return s ? s : "";
}

/* -- content -- */

struct pick {
	int to_fd;
	const char *prefix, *suffix;
	unsigned n;
};

static int pick_file(const struct tree_entry *entry, void *arg)
{
	struct pick *p = arg;

	if (!S_ISREG(entry->st.st_mode) || strchr(entry->path, '/') ||
	    !span_starts(SPAN(entry->name), p->prefix) || !span_ends(SPAN(entry->name), p->suffix))
		return 0;
	p->n++;
	return tree_copy(entry->dirfd, entry->name, p->to_fd, entry->name, LINKED);
}

/* Files of a directory by prefix and suffix into a directory of the layer (made). How many. */
static int pick(const struct image *i, int from_fd, const char *to, const char *prefix, const char *suffix)
{
	_cleanup_close_ int fd = -EBADF;
	struct pick p = { .prefix = prefix, .suffix = suffix };
	int r = path_mkdirs(i->root_fd, to, 0755, PATH_NO_SYMLINKS);

	if (r < 0)
		return r;
	fd = p.to_fd = path_open_at(i->root_fd, to, O_RDONLY | O_DIRECTORY, 0, PATH_NO_SYMLINKS);
	if (fd < 0)
		return fd;
	r = tree_walk(from_fd, TREE_SORTED, pick_file, &p);
	return r < 0 ? r : (int)p.n;
}

static int put_modules(struct image *i, struct err *e)
{
	_cleanup_close_ int set = store_object_open(i->s, STORE_MODULE, i->key);
	_cleanup_free_ char *to = str_printf("opt/lib/modules/%s", word(i, "release"));
	int r = set < 0 ? set : to ? pick(i, set, to, "", ".ko") : -ENOMEM;

	return r < 0 ? err_errno(e, r, "copying the modules") : 0;
}

static int put_firmware(struct image *i, struct err *e)
{
	_cleanup_close_ int tree = -EBADF, from = -EBADF;
	_cleanup_free_ char *to = str_printf("opt/lib/firmware/nvidia/%s", word(i, "driver"));
	int r = store_tree_open(i->s, word(i, "tree"), &tree, NULL, e);

	if (r < 0)
		return err_wrap(e, "firmware of driver %s", word(i, "driver"));
	from = dir_open_at(tree, "firmware");
	if (from == -ENOENT)
		return 0; /* drivers before 470 have none */
	r = from < 0 ? from : to ? pick(i, from, to, "gsp_", ".bin") : -ENOMEM;
	return r < 0 ? err_errno(e, r, "copying the firmware") : 0;
}

/* modprobe finds modules by their binary indexes, which only depmod writes. */
static int put_indexes(struct image *i, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("indexing the modules");
	_cleanup_free_ char *stage = store_stage_path(&i->st);
	_cleanup_free_ char *base = stage ? str_printf("%s/root/opt", stage) : NULL;

	if (!base)
		return err_oom(e);
	(void)spawn_argv(&s, "depmod", "-b", base, word(i, "release"), NULL);
	s.timeout_s = DEPMOD_TIMEOUT_S;
	return spawn_check(&s, e);
}

/* -- writing -- */

static int to_blob(void *w, const void *buf, size_t len)
{
	return ociwriter_blob_data(w, buf, len);
}

static int compress(void *arg, const void *buf, size_t len, struct err *e)
{
	struct image *i = arg;

	if (digest_update(i->plain, buf, len) < 0)
		return err_errno(e, -EIO, "computing SHA-256");
	return compressor_write(i->z, buf, len, e);
}

static int write_layer(struct image *i, struct oci_descriptor *ret, char ret_plain[72], struct err *e)
{
	_cleanup_(tarball_freep) struct tarball *t = NULL;
	uint8_t raw[SHA256_SIZE];
	int r = tarball_collect(i->root_fd, BUNDLE_EPOCH_S, NULL, &t, e);

	if (r == 0 && digest_new("sha256", &i->plain) < 0)
		r = err_oom(e);
	if (r == 0)
		r = ociwriter_blob_begin(&i->w, e);
	if (r == 0)
		r = compressor_new(COMPRESSION_GZIP, -1, 1, tarball_bytes(t), to_blob, &i->w, &i->z, e);
	if (r == 0)
		r = tarball_write(t, compress, i, e);
	if (r == 0)
		r = compressor_finish(i->z, e);
	if (r == 0)
		r = ociwriter_blob_end(&i->w, ret, e);
	if (r < 0)
		return r;
	if (digest_final(i->plain, raw, sizeof(raw), NULL) < 0)
		return err_errno(e, -EIO, "computing SHA-256");
	memcpy(ret_plain, "sha256:", 7);
	hex_encode(raw, sizeof(raw), ret_plain + 7);
	return 0;
}

static json_t *labels(const struct image *i)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "org.opencontainers.image.title", "nvidia-kmod",
			 "org.opencontainers.image.version", word(i, "driver"), "nvdriver.driver",
			 word(i, "driver"), "nvdriver.flavour", word(i, "flavour"), "nvdriver.kernel",
			 word(i, "release"), "nvdriver.module-set", i->key);
}

static int write_config(struct image *i, const char *plain, struct oci_descriptor *ret, struct err *e)
{
	const char *arch = strcmp(word(i, "arch"), "aarch64") == 0 ? "arm64" : "amd64";
	_cleanup_json_ json_t *j =
	    json_pack("{s:s, s:s, s:{s:o}, s:{s:s, s:[s]}}", "architecture", arch, "os", "linux", "config",
		      "Labels", labels(i), "rootfs", "type", "layers", "diff_ids", plain);
	_cleanup_free_ char *text = NULL;

	if (!j || jdump(j, &text) < 0)
		return err_oom(e);
	return ociwriter_blob_bytes(&i->w, text, strlen(text), ret, e);
}

static int write_image(struct image *i, const char *ref_name, struct oci_descriptor *ret_manifest,
		       struct err *e)
{
	struct oci_descriptor layer, config;
	_cleanup_json_ json_t *j = NULL;
	_cleanup_free_ char *text = NULL;
	char plain[72];
	int r = ociwriter_begin(&i->w, e);

	if (r == 0)
		r = write_layer(i, &layer, plain, e);
	if (r == 0)
		r = write_config(i, plain, &config, e);
	if (r < 0)
		return r;
	j = json_pack("{s:i, s:s, s:o, s:[o]}", "schemaVersion", 2, "mediaType", OCI_MANIFEST_TYPE, "config",
		      oci_descriptor_json(CONFIG_TYPE, &config, NULL), "layers",
		      oci_descriptor_json(LAYER_TYPE, &layer, NULL));
	if (!j || jdump(j, &text) < 0)
		return err_oom(e);
	r = ociwriter_blob_bytes(&i->w, text, strlen(text), ret_manifest, e);
	return r == 0 ? ociwriter_finish(&i->w, ret_manifest, NULL, ref_name, e) : r;
}

static int find_set(struct image *i, struct err *e)
{
	const struct modset_want want = { .driver = i->want->driver,
					  .flavour = i->want->flavour ? i->want->flavour : "proprietary",
					  .release = i->want->release,
					  .arch = i->want->arch };
	int r = modset_find(i->s, &want, i->key, &i->record, e);

	if (r == -ENOENT) {
		(void)err_set(e, -ERR_MODSET_MISSING, "no %s modules of %s for %s", want.flavour, want.driver,
			      want.release);
		return err_object(e, "%s", want.release);
	}
	return r < 0 ? r : modset_verify(i->s, i->key, NULL, e);
}

static int fill(struct image *i, struct err *e)
{
	int r = find_set(i, e);

	if (r == 0)
		r = store_stage_begin_root(i->s, &i->st, &i->root_fd, e);
	if (r == 0)
		r = put_modules(i, e);
	if (r == 0)
		r = put_firmware(i, e);
	return r == 0 ? put_indexes(i, e) : r;
}

int bundle_export_image(struct store *s, const struct bundle_want *want, const char *path, json_t **ret,
			struct err *e)
{
	_cleanup_(image_done) struct image i = {
		.s = s, .want = want, .st = STORE_STAGE_INIT, .root_fd = -EBADF, .w = OCIWRITER_INIT(-EBADF)
	};
	_cleanup_free_ char *name = NULL, *tag = bundle_tag(want->driver, want->release);
	_cleanup_close_ int dir = bundle_output_open(path, &name, e);
	_cleanup_(tmpname_done) struct tmpname t = TMPNAME_INIT(dir);
	struct oci_descriptor manifest = { .type = "" };
	int r = dir < 0 ? dir : tag ? fill(&i, e) : err_oom(e);

	if (r == 0 && (r = tmpname_open(&t, 0644)) < 0)
		r = err_errno(e, r, "cannot create %s", path);
	i.w.fd = t.fd;
	if (r == 0)
		r = write_image(&i, tag, &manifest, e);
	if (r < 0)
		return r;
	r = publish_tmp(&t, name, true);
	if (r < 0)
		return err_errno(e, r, "cannot create %s", path);
	*ret = json_pack("{s:s+, s:I, s:s, s:s}", "digest", "sha256:", manifest.hex, "size_bytes",
			 (json_int_t)i.w.at, "module_set", i.key, "tag", tag);
	return *ret ? 0 : err_oom(e);
}
