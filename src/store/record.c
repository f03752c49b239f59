/* SPDX-License-Identifier: Apache-2.0 */
#include "store-internal.h"

#include "fd.h"
#include "jutil.h"
#include "publish.h"

#include <stdlib.h>
#include <string.h>

#define RECORD_SIZE_MAX ((size_t)64 << 20)

int store_record_write(int dirfd, const char *name, json_t *record, mode_t mode, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	int r;

	r = jdump(record, &text);
	if (r >= 0)
		r = publish_bytes(dirfd, name, text, strlen(text), mode);
	return r < 0 ? err_errno(e, r, "cannot write the record %s", name) : 0;
}

int store_record_put(struct store *s, int dirfd, const char *name, json_t *record, mode_t mode, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	int r;

	r = jdump(record, &text);
	if (r >= 0)
		r = store_put_bytes(s->dir_fd, dirfd, name, text, strlen(text), mode, true);
	return r < 0 ? err_errno(e, r, "cannot write the record %s", name) : 0;
}

int store_record_read(int dirfd, const char *name, json_t **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	json_error_t where;
	json_t *record = NULL;
	size_t len;
	int r;

	r = read_file_at(dirfd, name, RECORD_SIZE_MAX, &text, &len);
	if (r == -ENOENT)
		return r;
	if (r < 0)
		return err_errno(e, r, "cannot read the record %s", name);
	r = jloadb((struct span){ text, len }, &record, &where);
	if (r == -ENOMEM)
		return err_oom(e);
	if (!json_is_object(record)) {
		json_decref(record);
		(void)err_set(e, ERR_STORE_DAMAGED, "the record %s is not valid: line %d: %s", name,
			      where.line, where.text[0] ? where.text : "not an object");
		return err_object(e, "%s", name);
	}
	*ret = record;
	return 0;
}
