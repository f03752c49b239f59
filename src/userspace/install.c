/* SPDX-License-Identifier: Apache-2.0 */
#include "install.h"

#include "conflict.h"
#include "digest.h"
#include "fd.h"
#include "jutil.h"
#include "path.h"
#include "record.h"
#include "rootfacts.h"
#include "vendor-record.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define META_KIND	"userspace"
#define SHOWN_CONFLICTS 4

/* Everything one planning knows. */
struct job {
	const struct host *h;
	const struct userspace_request *q;
	struct dest_options dest;
	struct libdirs dirs;
	struct manifest *manifest; /* owned */
	struct dest_list list;
	struct vendor_record vendor;
	bool has_vendor;
	json_t *old; /* owned; record of the installation that is there, NULL for none */
	json_t *digests; /* owned; payload name -> entry of the tree's record */
	json_t *record, *entries, *conflicts, *notes; /* owned */
	json_t *planned; /* owned; set of paths that have an entry */
	json_t *vendor_entries; /* owned; what taking the vendor's installation away means, or NULL */
	uint64_t n_files, n_links, n_bytes;
};

static void job_done(struct job *j)
{
	json_t *owned[] = { j->old,	  j->digests, j->record,  j->entries,
			    j->conflicts, j->notes,   j->planned, j->vendor_entries };

	for (size_t i = 0; i < ARRAY_LEN(owned); i++)
		json_decref(owned[i]);
	libdirs_done(&j->dirs);
	dest_list_done(&j->list);
	vendor_record_done(&j->vendor);
	manifest_freep(&j->manifest);
}

static int job_init(struct job *j, const struct host *h, const struct userspace_request *q)
{
	*j = (struct job){
		.h = h,
		.q = q,
		.dest = q->dest,
		.digests = json_object(),
		.record = json_object(),
		.entries = json_array(),
		.conflicts = json_array(),
		.notes = json_array(),
		.planned = json_object(),
	};
	return j->digests && j->record && j->entries && j->conflicts && j->notes && j->planned ? 0 : -ENOMEM;
}

static int note(struct job *j, const char *text)
{
	return json_array_append_new(j->notes, json_string(text)) < 0 ? -ENOMEM : 0;
}

int userspace_target_name(const struct host *h, char **ret, struct err *e)
{
	_cleanup_free_ char *real = NULL;
	uint8_t sum[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];

	if (h->is_running) {
		*ret = strdup("host");
		return *ret ? 0 : err_oom(e);
	}
	real = realpath(h->root, NULL);
	if (!real)
		return err_errno(e, -errno, "root %s", h->root);
	if (sha256_bytes(real, strlen(real), sum) < 0)
		return err_oom(e);
	hex_encode(sum, sizeof(sum), hex);
	*ret = str_printf("root-%.16s", hex);
	return *ret ? 0 : err_oom(e);
}

/* -- what goes where -- */

static int warn_libdirs(struct job *j)
{
	int r = 0;

	if (j->dirs.native_warning)
		r = note(j, j->dirs.native_warning);
	if (r >= 0 && j->dirs.compat32_warning)
		r = note(j, j->dirs.compat32_warning);
	return r;
}

static int learn_root(struct job *j, struct err *e)
{
	const struct libdir_wants wants = {
		.machine = j->q->arch,
		.native = j->q->libdir,
		.compat32 = j->q->libdir32,
		.want_compat32 = j->q->compat32,
	};
	int root_fd = j->h->root_fd, r;

	r = libdir_find(root_fd, &wants, &j->dirs, e);
	if (r < 0)
		return r;
	j->dest.dirs = &j->dirs;
	j->dest.systemd = !j->q->systemd_off && root_has_systemd(root_fd);
	j->dest.glvnd_present = j->dest.glvnd_present || root_has_glvnd(root_fd, j->q->arch);
	j->dest.x_server = root_has_x_server(root_fd);
	return warn_libdirs(j) < 0 ? err_oom(e) : 0;
}

static int make_list(struct job *j, struct err *e)
{
	int r;

	r = manifest_read_at(j->q->tree_fd, MANIFEST_NAME, 0, &j->manifest, e);
	if (r < 0)
		return r;
	r = dest_list_make(j->manifest, &j->dest, &j->list, e);
	if (r >= 0)
		r = dest_add_sonames(&j->list, j->q->tree_fd, e);
	if (r >= 0)
		r = dest_fill_templates(&j->list, j->q->tree_fd, &j->dest, e);
	if (r < 0)
		return r;
	for (char **n = j->list.notes; n && *n; n++)
		if (note(j, *n) < 0)
			return err_oom(e);
	if (!j->list.n)
		return err_set(e, ERR_INSTALL_NOTHING, "profile %s takes no file of driver %s",
			       dest_profile_name(j->dest.profile), j->manifest->version);
	return 0;
}

static int index_digests(struct job *j, struct err *e)
{
	json_t *item;
	size_t i;

	json_array_foreach (json_object_get(j->q->tree_record, "files"), i, item) {
		const char *path = json_string_value(json_object_get(item, "path"));

		if (path && json_string_value(json_object_get(item, "sha256")) &&
		    json_object_set(j->digests, path, item) < 0)
			return err_oom(e);
	}
	return 0;
}

/* -- conflicts -- */

static bool conflict_forbids(const struct job *j, const json_t *c)
{
	const char *kind = json_string_value(json_object_get(c, "kind"));

	return !j->q->force || strcmp(kind, "kind") == 0;
}

static int refuse_conflicts(const struct job *j, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(64 << 10);
	size_t i, n = 0;
	json_t *c;

	json_array_foreach (j->conflicts, i, c) {
		if (!conflict_forbids(j, c) || n++ >= SHOWN_CONFLICTS)
			continue;
		strbuf_printf(&text, "%s/%s (%s)", text.len ? ", " : "",
			      json_string_value(json_object_get(c, "path")),
			      json_string_value(json_object_get(c, "text")));
	}
	if (!n)
		return 0;
	return err_set(e, ERR_INSTALL_CONFLICT, "%zu in the way: %s%s", n, strbuf_str(&text),
		       n > SHOWN_CONFLICTS ? ", …" : "");
}

static int look_for_conflicts(struct job *j, struct err *e)
{
	const struct conflict_known known = {
		.root_fd = j->h->root_fd,
		.machine = j->q->arch,
		.record = j->old,
		.vendor = j->has_vendor ? &j->vendor : NULL,
	};
	int r;

	if (root_alternate_present(j->h->root_fd) && !j->q->force && !j->q->ignore_alternate)
		return err_set(e, ERR_INSTALL_ALTERNATE, "/usr/lib/nvidia/alternate-install-present");
	if (root_alternate_available(j->h->root_fd) &&
	    note(j, "the distribution has packages of this driver (alternate-install-available)") < 0)
		return err_oom(e);
	r = vendor_record_read(j->h->root_fd, &j->vendor, e);
	if (r < 0)
		return r;
	/* With our own record beside it, it is the one we wrote on request. */
	j->has_vendor = r > 0 && !j->old;
	if (j->has_vendor && !j->q->replace_vendor)
		return err_set(e, ERR_INSTALL_VENDOR, "driver %s", j->vendor.version);
	r = conflict_find(&known, &j->list, j->conflicts, j->notes, e);
	return r < 0 ? r : refuse_conflicts(j, e);
}

/* -- entries -- */

static int add_entry(struct job *j, const char *path, json_t *entry)
{
	if (!entry || json_object_set_new(j->planned, path, json_true()) < 0) {
		json_decref(entry);
		return -ENOMEM;
	}
	return json_array_append_new(j->entries, entry) < 0 ? -ENOMEM : 0;
}

static int add_absent(struct job *j, const char *path)
{
	if (json_object_get(j->planned, path))
		return 0;
	return add_entry(j, path, json_pack("{s:s,s:s}", "path", path, "type", "absent"));
}

struct content {
	char sha256[SHA256_HEX_SIZE];
	uint64_t size;
};

static int payload_content(struct job *j, const struct dest_op *op, struct content *ret, struct err *e)
{
	const json_t *known = json_object_get(j->digests, op->from);
	_cleanup_close_ int fd = -EBADF;
	struct stat st;
	int r;

	if (known) {
		snprintf(ret->sha256, sizeof(ret->sha256), "%s",
			 json_string_value(json_object_get(known, "sha256")));
		ret->size = (uint64_t)json_integer_value(json_object_get(known, "size"));
		return 0;
	}
	fd = path_open_at(j->q->tree_fd, op->from, O_RDONLY | O_NONBLOCK, 0, PATH_NO_SYMLINKS);
	r = fd < 0 ? fd : fstat(fd, &st) < 0 ? -errno : 0;
	if (r >= 0 && !S_ISREG(st.st_mode))
		r = -EINVAL;
	if (r >= 0)
		r = sha256_fd_hex(fd, ret->sha256);
	if (r < 0)
		return err_errno(e, r, "the driver's file %s", op->from);
	ret->size = (uint64_t)st.st_size;
	return 0;
}

static int inline_content(const struct dest_op *op, struct content *ret, struct err *e)
{
	uint8_t sum[SHA256_SIZE];

	if (sha256_bytes(op->bytes, op->bytes_len, sum) < 0)
		return err_oom(e);
	hex_encode(sum, sizeof(sum), ret->sha256);
	ret->size = op->bytes_len;
	return 0;
}

static json_t *inline_entry(const char *path, const char *bytes, size_t len, mode_t mode)
{
	json_t *text = jbytes((const uint8_t *)bytes, len);

	return text ? json_pack("{s:s,s:s,s:i,s:o}", "path", path, "type", "file", "mode", (int)mode,
				"bytes_base64", text)
		    : NULL;
}

static json_t *file_entry(const struct dest_op *op, const struct content *c)
{
	if (op->bytes)
		return inline_entry(op->path, op->bytes, op->bytes_len, op->mode);
	return json_pack("{s:s,s:s,s:i,s:I,s:s,s:s}", "path", op->path, "type", "file", "mode", (int)op->mode,
			 "size", (json_int_t)c->size, "sha256", c->sha256, "from", op->from);
}

static int add_file(struct job *j, const struct dest_op *op, json_t *files, struct err *e)
{
	struct content c;
	json_t *row;
	int r;

	r = op->bytes ? inline_content(op, &c, e) : payload_content(j, op, &c, e);
	if (r < 0)
		return r;
	row = json_pack("{s:s,s:s,s:i,s:I,s:s}", "path", op->path, "type", "file", "mode", (int)op->mode,
			"size_bytes", (json_int_t)c.size, "sha256", c.sha256);
	if (!row || json_array_append_new(files, row) < 0 || add_entry(j, op->path, file_entry(op, &c)) < 0)
		return err_oom(e);
	j->n_files++;
	j->n_bytes += c.size;
	return 0;
}

static int add_link(struct job *j, const struct dest_op *op, json_t *files, struct err *e)
{
	json_t *row = json_pack("{s:s,s:s,s:s}", "path", op->path, "type", "link", "target", op->link);

	if (!row || json_array_append(files, row) < 0 || add_entry(j, op->path, row) < 0)
		return err_oom(e);
	j->n_links++;
	return 0;
}

static int by_record_path(const void *a, const void *b)
{
	const json_t *const *x = a, *const *y = b;

	return strcmp(json_string_value(json_object_get(*x, "path")),
		      json_string_value(json_object_get(*y, "path")));
}

/* A copy of the array in the order of the paths, for bisection. */
static json_t *sorted_files(json_t *files)
{
	size_t n = json_array_size(files);
	_cleanup_free_ json_t **v = calloc(n + 1, sizeof(*v));
	json_t *sorted = json_array();

	for (size_t i = 0; v && i < n; i++)
		v[i] = json_array_get(files, i);
	if (v)
		qsort(v, n, sizeof(*v), by_record_path);
	for (size_t i = 0; v && sorted && i < n; i++)
		if (json_array_append(sorted, v[i]) < 0)
			v = NULL;
	if (!v || !sorted) {
		json_decref(sorted);
		return NULL;
	}
	return sorted;
}

/* Directories above a path that are not there yet, and those an earlier installation of ours made. */
static int note_dirs(struct job *j, const char *path, json_t *dirs)
{
	_cleanup_free_ char *dir = strdup(path);
	char *slash;

	if (!dir)
		return -ENOMEM;
	while ((slash = strrchr(dir, '/'))) {
		struct stat st;
		bool is_new;

		*slash = '\0';
		if (json_object_get(dirs, dir))
			return 0;
		is_new = path_stat(j->h->root_fd, dir, &st, PATH_IN_ROOT) < 0;
		if (json_object_set_new(dirs, dir, json_boolean(is_new)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static json_t *made_dirs(struct job *j, json_t *seen)
{
	_cleanup_free_ const char **names = calloc(json_object_size(seen) + 1, sizeof(*names));
	json_t *old = json_object_get(j->old, "dirs"), *item, *list = json_array(), *value;
	const char *key;
	size_t n = 0, i;

	if (!names || !list)
		goto fail;
	json_array_foreach (old, i, item)
		if (json_object_get(seen, json_string_value(item)) &&
		    json_object_set_new(seen, json_string_value(item), json_true()) < 0)
			goto fail;
	json_object_foreach (seen, key, value)
		if (json_is_true(value))
			names[n++] = key;
	qsort(names, n, sizeof(*names), by_text);
	for (i = 0; i < n; i++)
		if (json_array_append_new(list, json_string(names[i])) < 0)
			goto fail;
	return list;
fail:
	json_decref(list);
	return NULL;
}

static int list_dirs(struct job *j, struct err *e)
{
	json_t *seen = json_object(), *dirs = NULL;
	int r = seen ? 0 : -ENOMEM;

	for (size_t i = 0; r >= 0 && i < j->list.n; i++)
		r = note_dirs(j, j->list.ops[i].path, seen);
	if (r >= 0)
		dirs = made_dirs(j, seen);
	json_decref(seen);
	if (!dirs || json_object_set_new(j->record, "dirs", dirs) < 0)
		return err_oom(e);
	return 0;
}

static int fill_record(struct job *j, json_t *files, struct err *e)
{
	const char *kind = package_kind_name(
	    manifest_package_kind(j->manifest, path_exists(j->q->tree_fd, PACKAGE_VGPU_HOST_MARKER)));
	json_t *head =
	    json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s?,s:o}", "schema", USERSPACE_RECORD_SCHEMA, "version",
		      j->manifest->version, "arch", j->q->arch, "kind", kind, "tree", j->q->tree_id,
		      "profile", dest_profile_name(j->dest.profile), "libdir", j->dirs.native,
		      "compat32_libdir", j->dirs.compat32, "files", sorted_files(files));
	int r = head ? json_object_update(j->record, head) : -1;

	json_decref(head);
	return r < 0 ? err_oom(e) : list_dirs(j, e);
}

static int add_new_files(struct job *j, struct err *e)
{
	json_t *files = json_array();
	int r = files ? 0 : err_oom(e);

	for (size_t i = 0; r >= 0 && i < j->list.n; i++) {
		const struct dest_op *op = &j->list.ops[i];

		r = op->kind == DEST_FILE ? add_file(j, op, files, e) : add_link(j, op, files, e);
	}
	if (r >= 0)
		r = fill_record(j, files, e);
	json_decref(files);
	return r;
}

/* -- what an earlier installation leaves -- */

static int drop_old_file(struct job *j, const json_t *file)
{
	const char *path = json_string_value(json_object_get(file, "path"));
	_cleanup_free_ char *text = NULL;
	int state;

	if (json_object_get(j->planned, path))
		return 0;
	state = record_compare(j->h->root_fd, file);
	if (state < 0 || state == RECORD_MISSING)
		return state < 0 ? state : 0;
	if (state == RECORD_SAME || state == RECORD_MODE)
		return add_absent(j, path);
	text = str_printf("/%s was changed since it was installed, it stays", path);
	return text ? note(j, text) : -ENOMEM;
}

static bool dir_is_kept(const struct job *j, const char *dir)
{
	json_t *item;
	size_t i;

	json_array_foreach (json_object_get(j->record, "dirs"), i, item)
		if (strcmp(json_string_value(item), dir) == 0)
			return true;
	return false;
}

static int drop_old(struct job *j, struct err *e)
{
	json_t *dirs = json_object_get(j->old, "dirs"), *item;
	size_t i;
	int r = 0;

	json_array_foreach (json_object_get(j->old, "files"), i, item) {
		r = drop_old_file(j, item);
		if (r < 0)
			return err_errno(e, r, "comparing /%s with its record",
					 json_string_value(json_object_get(item, "path")));
	}
	/* Sorted, so from the end the children come before their parents. */
	for (i = json_array_size(dirs); i > 0 && r >= 0; i--) {
		const char *dir = json_string_value(json_array_get(dirs, i - 1));

		if (!dir_is_kept(j, dir) && path_exists(j->h->root_fd, dir))
			r = add_absent(j, dir);
	}
	return r < 0 ? err_oom(e) : 0;
}

/* An operation of its own, before ours: its content comes from the root, not from the tree. */
static int drop_vendor(struct job *j, struct err *e)
{
	json_t *all = json_array(), *item;
	size_t i;
	int r;

	j->vendor_entries = json_array();
	r = all && j->vendor_entries ? 0 : err_oom(e);
	if (r >= 0)
		r = vendor_record_removal(j->h->root_fd, &j->vendor, all, j->notes, e);
	json_array_foreach (all, i, item) {
		const char *path = json_string_value(json_object_get(item, "path"));

		if (r >= 0 && !json_object_get(j->planned, path) &&
		    json_array_append(j->vendor_entries, item) < 0)
			r = err_oom(e);
	}
	json_decref(all);
	return r;
}

static int drop_conflicting(struct job *j, struct err *e)
{
	json_t *c;
	size_t i;

	json_array_foreach (j->conflicts, i, c) {
		if (strcmp(json_string_value(json_object_get(c, "kind")), "soname") == 0 &&
		    add_absent(j, json_string_value(json_object_get(c, "path"))) < 0)
			return err_oom(e);
	}
	return 0;
}

/* -- the plan -- */

static int file_crc(int fd, uint32_t *ret)
{
	uint32_t crc = CRC32_MPEG2_INIT;
	char buf[65536];
	uint64_t off = 0;
	ssize_t n;

	while ((n = pread(fd, buf, sizeof(buf), (off_t)off)) > 0) {
		crc = crc32_mpeg2(crc, buf, (size_t)n);
		off += (uint64_t)n;
	}
	if (n < 0)
		return -errno;
	*ret = off ? crc : 0;
	return 0;
}

static int vendor_entry_of(struct job *j, const struct dest_op *op, struct vendor_entry *ret)
{
	_cleanup_close_ int fd = -EBADF;
	int r = 0;

	*ret = (struct vendor_entry){ .kind = op->kind == DEST_LINK ? VENDOR_LINK : VENDOR_FILE,
				      .path = op->path,
				      .target = op->link };
	ret->number = op->kind == DEST_LINK ? 0 : 1;
	if (op->kind == DEST_LINK)
		return 0;
	if (op->bytes) {
		ret->crc = op->bytes_len ? crc32_mpeg2(CRC32_MPEG2_INIT, op->bytes, op->bytes_len) : 0;
		return 0;
	}
	fd = path_open_at(j->q->tree_fd, op->from, O_RDONLY | O_NONBLOCK, 0, PATH_NO_SYMLINKS);
	r = fd < 0 ? fd : file_crc(fd, &ret->crc);
	return r;
}

/* The vendor's own uninstaller then finds what it needs; ours ignores it. */
static int add_vendor_record(struct job *j, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(STRBUF_TEXT_MAX);
	_cleanup_free_ struct vendor_entry *v = calloc(j->list.n + 1, sizeof(*v));
	struct vendor_record rec = { .version = j->manifest->version,
				     .description = j->manifest->description,
				     .entries = v,
				     .n = j->list.n };
	int r = v ? 0 : -ENOMEM;

	for (size_t i = 0; r >= 0 && i < j->list.n; i++)
		r = vendor_entry_of(j, &j->list.ops[i], &v[i]);
	if (r >= 0)
		r = vendor_record_emit(&rec, &text);
	if (r >= 0)
		r = add_entry(
		    j, VENDOR_RECORD_DIR,
		    json_pack("{s:s,s:s,s:i}", "path", VENDOR_RECORD_DIR, "type", "dir", "mode", 0700));
	if (r >= 0)
		r = add_entry(j, VENDOR_RECORD_DIR "/log",
			      inline_entry(VENDOR_RECORD_DIR "/log", strbuf_str(&text), text.len, 0600));
	return r < 0 ? err_errno(e, r, "writing the vendor's record") : 0;
}

static int add_record_entry(struct job *j, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (record_emit(j->record, &text, &len) < 0 ||
	    add_entry(j, USERSPACE_RECORD, inline_entry(USERSPACE_RECORD, text, len, 0644)) < 0)
		return err_oom(e);
	return 0;
}

static bool has_units(const struct job *j)
{
	for (size_t i = 0; i < j->list.n; i++)
		if (j->list.ops[i].type && strncmp(j->list.ops[i].type->name, "SYSTEMD_", 8) == 0)
			return true;
	return false;
}

/* Only where systemd is the one that runs this root. */
static int add_daemon_reload(struct job *j, struct plan *p, const char *key, struct err *e)
{
	struct stat st;

	if (!j->h->is_running || !has_units(j) ||
	    path_stat(j->h->root_fd, "run/systemd/system", &st, PATH_IN_ROOT) < 0)
		return 0;
	return plan_add(p, &op_command,
			json_pack("{s:[s,s],s:b,s:i,s:s,s:b}", key, "systemctl", "daemon-reload", "chroot", 0,
				  "timeout_s", 60, "what", "systemd reload", "tolerate", 1),
			"have systemd read its units again") < 0
		   ? err_oom(e)
		   : 0;
}

static int add_files(struct job *j, struct plan *p, struct err *e)
{
	json_t *args = json_pack("{s:s,s:O}", "base", j->q->tree_path, "entries", j->entries);

	if (plan_add(p, &op_files, args, "install %llu files and %llu links of driver %s below %s",
		     (unsigned long long)j->n_files, (unsigned long long)j->n_links, j->manifest->version,
		     j->h->root) < 0)
		return err_oom(e);
	return 0;
}

static int add_vendor_removal(struct job *j, struct plan *p, struct err *e)
{
	_cleanup_free_ char *root = realpath(j->h->root, NULL);

	if (!root)
		return err_errno(e, -errno, "root %s", j->h->root);
	if (plan_add(p, &op_files, json_pack("{s:s,s:O}", "base", root, "entries", j->vendor_entries),
		     "take away driver %s of the vendor's installer", j->vendor.version) < 0)
		return err_oom(e);
	return 0;
}

static int add_ldconfig(struct plan *p, const char *when, const char *sentence, struct err *e)
{
	return plan_add(p, &op_ldconfig, json_pack("{s:s}", "when", when), "%s", sentence) < 0 ? err_oom(e)
											       : 0;
}

static int new_plan(struct job *j, struct plan **ret, struct err *e)
{
	_cleanup_free_ char *target = NULL, *title = NULL;
	json_t *meta;
	int r;

	r = userspace_target_name(j->h, &target, e);
	if (r < 0)
		return r;
	title = str_printf("install driver %s into %s", j->manifest->version, j->h->root);
	if (!title || plan_new(title, target, ret) < 0)
		return err_oom(e);
	meta = json_pack("{s:s,s:s,s:s,s:s,s:O}", "kind", META_KIND, "version", j->manifest->version, "arch",
			 j->q->arch, "tree", j->q->tree_id, "record", j->record);
	if (!meta)
		return err_oom(e);
	json_decref((*ret)->meta);
	(*ret)->meta = meta;
	return 0;
}

/* The files alone decide whether there is anything to do. */
static int is_done(struct job *j, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	int r;

	r = new_plan(j, &p, e);
	if (r >= 0)
		r = add_files(j, p, e);
	return r < 0 ? r : plan_check(p, j->h, e);
}

static int make_plan(struct job *j, struct plan **ret, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	int r, done;

	done = is_done(j, e);
	if (done < 0)
		return done;
	r = new_plan(j, &p, e);
	if (r >= 0 && !done) {
		r = add_daemon_reload(j, p, "undo_argv", e);
		if (r >= 0)
			r = add_ldconfig(p, "first", "keep the loader's cache", e);
		if (r >= 0 && j->vendor_entries)
			r = add_vendor_removal(j, p, e);
		if (r >= 0)
			r = add_files(j, p, e);
		if (r >= 0)
			r = add_ldconfig(p, "last", "renew the loader's cache", e);
		if (r >= 0)
			r = add_daemon_reload(j, p, "argv", e);
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(p);
	return 0;
}

static json_t *report_of(const struct job *j)
{
	return json_pack("{s:s?,s:s,s:s,s:s,s:s?,s:s?,s:I,s:I,s:I,s:O,s:O}", "version",
			 j->manifest ? j->manifest->version : NULL, "arch", j->q->arch, "tree", j->q->tree_id,
			 "profile", dest_profile_name(j->dest.profile), "libdir", j->dirs.native,
			 "compat32_libdir", j->dirs.compat32, "files", (json_int_t)j->n_files, "links",
			 (json_int_t)j->n_links, "size_bytes", (json_int_t)j->n_bytes, "notes", j->notes,
			 "conflicts", j->conflicts);
}

static int plan_job(struct job *j, struct plan **ret, struct err *e)
{
	int r;

	r = learn_root(j, e);
	if (r >= 0)
		r = make_list(j, e);
	if (r >= 0)
		r = index_digests(j, e);
	if (r >= 0)
		r = record_read(j->h->root_fd, &j->old, e);
	if (r >= 0)
		r = look_for_conflicts(j, e);
	if (r >= 0)
		r = add_new_files(j, e);
	/* The record comes before everything it tells of. */
	if (r >= 0)
		r = add_record_entry(j, e);
	if (r >= 0 && j->old)
		r = drop_old(j, e);
	if (r >= 0 && j->has_vendor)
		r = drop_vendor(j, e);
	if (r >= 0)
		r = drop_conflicting(j, e);
	if (r >= 0 && j->q->write_vendor_record)
		r = add_vendor_record(j, e);
	return r < 0 ? r : make_plan(j, ret, e);
}

int userspace_plan_install(const struct host *h, const struct userspace_request *q, struct plan **ret_plan,
			   json_t **ret_report, struct err *e)
{
	_cleanup_(job_done) struct job j = { 0 };
	int r;

	if (job_init(&j, h, q) < 0)
		return err_oom(e);
	r = plan_job(&j, ret_plan, e);
	if (ret_report)
		*ret_report = report_of(&j);
	return r;
}

int userspace_register_ops(void)
{
	return op_type_register(&op_ldconfig);
}
