/* SPDX-License-Identifier: Apache-2.0 */
#include "record.h"

#include "digest.h"
#include "fd.h"
#include "jutil.h"
#include "parse.h"
#include "path.h"
#include "strbuf.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define RECORD_MAX_BYTES ((size_t)64 << 20)
#define RECORD_MAX_FILES 200000u

static const char *text_of(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static bool path_is_usable(const char *path)
{
	return path && *path && path_name_is_clean(path);
}

static bool file_is_valid(const json_t *file)
{
	const char *type = text_of(file, "type"), *sha256 = text_of(file, "sha256");
	json_int_t mode = json_integer_value(json_object_get(file, "mode"));
	uint8_t bytes[SHA256_SIZE];

	if (!type || !path_is_usable(text_of(file, "path")))
		return false;
	if (strcmp(type, "link") == 0)
		return text_of(file, "target") && *text_of(file, "target");
	return strcmp(type, "file") == 0 && sha256 &&
	       parse_hexbytes(SPAN(sha256), bytes, sizeof(bytes)) == 0 && mode >= 0 && mode <= 07777 &&
	       json_integer_value(json_object_get(file, "size_bytes")) >= 0;
}

static int record_check(const json_t *record, struct err *e)
{
	static const char *const texts[] = { "version", "arch", "kind", "tree", "profile", "libdir" };
	const char *schema = text_of(record, "schema");
	const json_t *item;
	size_t i;

	if (!schema || strcmp(schema, USERSPACE_RECORD_SCHEMA) != 0)
		return err_set(e, ERR_INSTALL_RECORD, "not of schema %s", USERSPACE_RECORD_SCHEMA);
	for (i = 0; i < ARRAY_LEN(texts); i++)
		if (!text_of(record, texts[i]))
			return err_set(e, ERR_INSTALL_RECORD, "no %s", texts[i]);
	if (!json_is_array(json_object_get(record, "files")) ||
	    !json_is_array(json_object_get(record, "dirs")))
		return err_set(e, ERR_INSTALL_RECORD, "no list of files or directories");
	if (json_array_size(json_object_get(record, "files")) > RECORD_MAX_FILES)
		return err_set(e, ERR_TOO_LARGE, "more than %u files", RECORD_MAX_FILES);
	json_array_foreach (json_object_get(record, "files"), i, item)
		if (!file_is_valid(item))
			return err_set(e, ERR_INSTALL_RECORD, "file %zu of the list is not usable", i + 1);
	json_array_foreach (json_object_get(record, "dirs"), i, item)
		if (!path_is_usable(json_string_value(item)))
			return err_set(e, ERR_INSTALL_RECORD, "directory %zu of the list is not usable",
				       i + 1);
	return 0;
}

int record_parse(const char *text, size_t len, json_t **ret, struct err *e)
{
	json_error_t why;
	json_t *record = NULL;
	int r = jloadb((struct span){ text, len }, &record, &why);

	if (r == -ENOMEM)
		return err_oom(e);
	if (r < 0)
		return err_set(e, ERR_INSTALL_RECORD, "line %d: %s", why.line, why.text);
	r = record_check(record, e);
	if (r < 0) {
		json_decref(record);
		return r;
	}
	*ret = record;
	return 0;
}

int record_read(int root_fd, json_t **ret, struct err *e)
{
	_cleanup_close_ int fd =
	    path_open_at(root_fd, USERSPACE_RECORD, O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	if (fd == -ENOENT || fd == -ENOTDIR)
		return 0;
	r = fd < 0 ? fd : read_fd(fd, RECORD_MAX_BYTES, &text, &len);
	if (r < 0)
		return err_errno(e, r, "reading /" USERSPACE_RECORD);
	r = record_parse(text, len, ret, e);
	return r < 0 ? err_wrap(e, "/" USERSPACE_RECORD) : 1;
}

int record_emit(const json_t *record, char **ret, size_t *ret_len)
{
	int r = jdump(record, ret);

	if (r >= 0)
		*ret_len = strlen(*ret);
	return r;
}

const json_t *record_find(const json_t *record, const char *path)
{
	const json_t *files = json_object_get(record, "files");
	size_t low = 0, high = json_array_size(files);

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const json_t *file = json_array_get(files, mid);
		const char *name = text_of(file, "path");
		int c = name ? strcmp(path, name) : 1;

		if (c == 0)
			return file;
		if (c < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

const char *record_state_name(enum record_state s)
{
	static const char *const names[] = {
		[RECORD_SAME] = "same",	      [RECORD_MISSING] = "missing", [RECORD_KIND] = "kind",
		[RECORD_CONTENT] = "content", [RECORD_MODE] = "mode",	    [RECORD_TARGET] = "link",
	};

	return names[s];
}

static int compare_link(int parent_fd, const char *name, const json_t *entry)
{
	const char *want = text_of(entry, "target");
	char text[4096];
	ssize_t n = readlinkat(parent_fd, name, text, sizeof(text));

	if (n < 0)
		return errno == EINVAL ? RECORD_KIND : -errno;
	return (size_t)n == strlen(want) && memcmp(text, want, (size_t)n) == 0 ? RECORD_SAME : RECORD_TARGET;
}

static int compare_file(int parent_fd, const char *name, const struct stat *st, const json_t *entry,
			bool read)
{
	char hex[SHA256_HEX_SIZE];
	int r;

	if (!S_ISREG(st->st_mode))
		return RECORD_KIND;
	if (st->st_size != json_integer_value(json_object_get(entry, "size_bytes")))
		return RECORD_CONTENT;
	r = read ? sha256_file_at(parent_fd, name, hex) : 0;
	if (r < 0)
		return r;
	if (read && strcasecmp(hex, text_of(entry, "sha256")) != 0)
		return RECORD_CONTENT;
	return (st->st_mode & 07777) == (mode_t)json_integer_value(json_object_get(entry, "mode"))
		   ? RECORD_SAME
		   : RECORD_MODE;
}

static int compare(int root_fd, const json_t *entry, bool read)
{
	_cleanup_close_ int parent = -EBADF;
	const char *name;
	struct stat st;
	int r;

	parent = path_open_parent(root_fd, text_of(entry, "path"), false, PATH_IN_ROOT, &name);
	if (parent == -ENOENT || parent == -ENOTDIR)
		return RECORD_MISSING;
	if (parent < 0)
		return parent;
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? RECORD_MISSING : -errno;
	r = strcmp(text_of(entry, "type"), "link") == 0 ? compare_link(parent, name, entry)
							: compare_file(parent, name, &st, entry, read);
	return r == -ENOENT ? RECORD_MISSING : r; /* it went away while we looked */
}

int record_compare(int root_fd, const json_t *entry)
{
	return compare(root_fd, entry, true);
}

int record_compare_quick(int root_fd, const json_t *entry)
{
	return compare(root_fd, entry, false);
}
