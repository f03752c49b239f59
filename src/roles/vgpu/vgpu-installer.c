/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-installer.h"

#include "catalog.h"
#include "cleanup.h"
#include "strbuf.h"
#include "err-vgpu.h"

/* From which branch on a kind is asked for how; the newest that is not above the driver's counts. */
static const struct spelling {
	unsigned since;
	const char *const *kind[2]; /* proprietary, open */
} spellings[] = {
	{ 555,
	  { (const char *const[]){ "-M", "proprietary", NULL },
	    (const char *const[]){ "-M", "open", NULL } } },
	{ 515,
	  { (const char *const[]){ "-m=kernel", NULL }, (const char *const[]){ "-m=kernel-open", NULL } } },
	{ 0, { (const char *const[]){ NULL }, (const char *const[]){ NULL } } },
};

static const char *const *kind_words(unsigned major, bool open)
{
	const struct spelling *s = spellings;

	while (major < s->since)
		s++;
	return s->kind[open];
}

static int choose_kind(const struct installer_request *q, bool *ret_open, struct err *e)
{
	bool open = (q->needs_open && !q->is_unlock) || !q->has_proprietary;

	if (q->is_unlock && (q->needs_open || !q->has_proprietary))
		return err_set(e, ERR_VGPU_FLAVOUR,
			       "an unlocked card needs the proprietary kernel modules, and %s",
			       q->needs_open ? "this card works with the open ones only"
					     : "the file does not have them");
	if (open && !q->has_open)
		return err_set(e, ERR_VGPU_FLAVOUR, "driver %s has no %s kernel modules", q->version,
			       q->has_proprietary ? "open" : "sources of");
	*ret_open = open;
	return 0;
}

static int push_words(char ***v, const char *const *words)
{
	int r = 0;

	for (; r == 0 && *words; words++)
		r = strv_push(v, *words);
	return r;
}

int installer_words(const struct installer_request *q, char ***ret, struct err *e)
{
	static const char *const always[] = { "--dkms", NULL }, *const silent[] = { "-s", NULL };
	unsigned major = catalog_major(q->version);
	_cleanup_strv_ char **v = NULL;
	bool open = false;
	int r;

	if (major == 0)
		return err_set(e, ERR_USAGE, "%s is no driver version", q->version);
	r = choose_kind(q, &open, e);
	if (r < 0)
		return r;
	r = push_words(&v, always);
	if (r == 0 && q->has_open && q->has_proprietary)
		r = push_words(&v, kind_words(major, open));
	if (r == 0)
		r = push_words(&v, silent);
	if (r < 0)
		return err_oom(e);
	*ret = TAKE_PTR(v);
	return 0;
}
