/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-keyring.h"

#include "fd.h"
#include "fetch.h"
#include "log.h"
#include "lxc-cache.h"
#include "lxc-ops.h"
#include "pgpkey.h"
#include "pkg.h"
#include "publish.h"
#include "strbuf.h"
#include "err-lxc.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define DEB_MAX	 ((uint64_t)4 << 20)
#define TEXT_MAX ((size_t)1 << 20)

/* -- what is in it -- */

struct content {
	const char *list_path; /* where the source belongs */
	char *key, *list; /* owned */
	size_t key_len, list_len;
	bool has_more; /* files nobody expects of it */
};

static void content_done(struct content *c)
{
	free(c->key);
	free(c->list);
}

static int member(const struct pkg_member *m, void *arg, struct err *e)
{
	struct content *c = arg;

	if (m->type == PKG_DIR || strncmp(m->path, "usr/share/doc/", 14) == 0 ||
	    strcmp(m->path, OSREPO_APT_PIN600) == 0)
		return 0;
	if (m->type != PKG_FILE || m->size > TEXT_MAX) {
		c->has_more = true;
		return 0;
	}
	if (strcmp(m->path, OSREPO_APT_KEYRING) == 0 && !c->key)
		return pkg_member_text(m, TEXT_MAX, &c->key, &c->key_len, e);
	if (strcmp(m->path, c->list_path) == 0 && !c->list)
		return pkg_member_text(m, TEXT_MAX, &c->list, &c->list_len, e);
	c->has_more = true;
	return 0;
}

static int same_list(const struct content *c, const struct osrepo *o)
{
	_cleanup_(strbuf_done) struct strbuf want = STRBUF_INIT(STRBUF_TEXT_MAX);

	if (osrepo_list_text(o, &want) < 0)
		return -ENOMEM;
	return c->list && c->list_len == want.len && memcmp(c->list, strbuf_str(&want), want.len) == 0;
}

int lxc_keyring_judge(int fd, const struct osrepo *o, struct err *e)
{
	_cleanup_(pkg_facts_done) struct pkg_facts facts = { 0 };
	_cleanup_(content_done) struct content c = { 0 };
	_cleanup_free_ char *list_path = osrepo_list_path(o);
	struct pkg_budget budget = PKG_BUDGET_INIT(DEB_MAX);
	int r;

	if (!list_path)
		return err_oom(e);
	c.list_path = list_path;
	r = pkg_facts(fd, LXC_KEYRING_DEB, &facts, e);
	if (r >= 0 && (!facts.name || strcmp(facts.name, "cuda-keyring") != 0))
		return 0;
	if (r >= 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = err_errno(e, -errno, "cannot read " LXC_KEYRING_DEB);
	if (r >= 0)
		r = pkg_members(fd, LXC_KEYRING_DEB, &budget, member, &c, e);
	if (r < 0)
		return r;
	if (!c.key || !osrepo_key_is_right((struct span){ c.key, c.key_len }, o->fingerprint))
		return err_set(e, ERR_CUDA_KEY, LXC_KEYRING_DEB " of %s has not the key with fingerprint %s",
			       o->url, o->fingerprint);
	r = same_list(&c, o);
	return r < 0 ? err_oom(e) : r && !c.has_more;
}

/* -- having it -- */

static int fetch(const struct lxc *x, const struct osrepo *o, const struct cachedir *c, const char *name,
		 struct err *e)
{
	_cleanup_free_ char *url = str_printf("%s" LXC_KEYRING_DEB, o->url);
	struct fetch_request q = FETCH_REQUEST_INIT;

	if (!url)
		return err_oom(e);
	q.url = url;
	q.dirfd = c->fd;
	q.dir_path = c->path;
	q.name = name;
	q.kind = FETCH_DEB;
	q.offline = x->en->offline && strncmp(url, "file:", 5) != 0;
	q.proxy = x->en->fetch_proxy;
	q.attempts = 1; /* without it there is another way */
	return fetch_file(&q, NULL, e);
}

/* What cannot be used is asked for anew the next time. */
static void forget(const struct cachedir *c, const char *name)
{
	_cleanup_free_ char *meta = str_printf("%s.meta", name);

	(void)publish_unlink(c->fd, name);
	if (meta)
		(void)publish_unlink(c->fd, meta);
}

int lxc_keyring_get(const struct lxc *x, const struct osrepo *o, char **ret_path, struct err *e)
{
	/* The same name at every address, but not the same content. */
	_cleanup_free_ char *name = str_printf("%s-%s-%s", o->slug, o->march, LXC_KEYRING_DEB), *path = NULL;
	_cleanup_(cachedir_done) struct cachedir c = { -EBADF, NULL };
	_cleanup_(err_done) struct err own = ERR_INIT;
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (!name)
		return err_oom(e);
	r = lxc_cache_open(x, true, &c, &own);
	if (r >= 0)
		r = fetch(x, o, &c, name, &own);
	if (r >= 0)
		r = fd = openat(c.fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (r >= 0)
		r = lxc_keyring_judge(fd, o, &own);
	if (fd >= 0 && r <= 0)
		forget(&c, name);
	if (r == -ERR_CUDA_KEY || r == -ENOMEM) {
		err_move(e, &own);
		return r;
	}
	if (r <= 0) {
		log_debug("no " LXC_KEYRING_DEB " of %s: %s", o->url,
			  own.reason ? own.reason : "it is another's");
		return 0;
	}
	path = str_printf("%s/%s", c.path, name);
	if (!path)
		return err_oom(e);
	*ret_path = TAKE_PTR(path);
	return 0;
}

/* -- giving it -- */

static int add(struct lxc_ct *ct, struct plan *p, const struct op_type *type, json_t *more,
	       const char *sentence, struct err *e)
{
	json_t *args = lxc_op_args(ct);
	int r = args && more ? json_object_update(args, more) : -1;

	json_decref(more);
	if (r < 0) {
		json_decref(args);
		return err_oom(e);
	}
	return plan_add(p, type, args, "%s in container %s", sentence, ct->id) < 0 ? err_oom(e) : 0;
}

int lxc_keyring_plan(struct lxc_ct *ct, const char *path, struct plan *p, struct err *e)
{
	_cleanup_free_ char *to = str_printf("%s/" LXC_KEYRING_DEB, ct->x->set->container_tmp);
	int r;

	if (!to)
		return err_oom(e);
	r = add(ct, p, &lxc_op_push, json_pack("{s:s, s:s, s:i}", "from", path, "to", to, "mode", 0644),
		"put the CUDA repository's keyring package", e);
	if (r >= 0)
		/* A source somebody left under that name is replaced, not asked about. */
		r = add(ct, p, &lxc_op_exec,
			json_pack("{s:[s,s,s,s], s:[s,s,s], s:s, s:i}", "argv", "dpkg", "--force-confnew",
				  "-i", to, "undo_argv", "dpkg", "--purge", "cuda-keyring", "what",
				  "install the keyring package", "code", ERR_CUDA_REPO),
			"install the CUDA repository's keyring package", e);
	if (r >= 0)
		r = add(ct, p, &lxc_op_exec,
			json_pack("{s:[s,s,s], s:s, s:b}", "argv", "rm", "-f", to, "what",
				  "remove the pushed package", "tolerate", 1),
			"remove the pushed package", e);
	return r;
}
