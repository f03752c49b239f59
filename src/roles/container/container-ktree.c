/* SPDX-License-Identifier: Apache-2.0 */
#include "container-ktree.h"

#include "bundle.h"
#include "container-packages.h"
#include "container-variant.h"
#include "fd.h"
#include "log.h"
#include "path.h"
#include "source.h"
#include "strbuf.h"
#include "tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct search {
	const struct host *host;
	const struct container_env *env;
	const struct container_ktree_options *o;
	const char *release;
	struct container_ktree out;
	char *elsewhere; /* owned; where look_only found one it did not open */
};

const char *container_ktree_from_text(enum container_ktree_from from)
{
	static const char *const texts[] = {
		[CONTAINER_KTREE_NAMED] = "named by the user",
		[CONTAINER_KTREE_CONTAINER] = "the container",
		[CONTAINER_KTREE_NODE] = "the node",
		[CONTAINER_KTREE_STORE] = "the store",
		[CONTAINER_KTREE_BUNDLE] = "offline bundle",
		[CONTAINER_KTREE_PACKAGES] = "package manager",
		[CONTAINER_KTREE_INSTALLED] = "package manager, installed",
	};

	return texts[from];
}

void container_ktree_done(struct container_ktree *t)
{
	ktree_freep(&t->tree);
	for (size_t i = 0; i < t->n_attempts; i++)
		free(t->attempts[i].verdict);
	free(t->attempts);
	*t = (struct container_ktree){ 0 };
}

/* -- attempts -- */

static int note(struct search *s, enum container_ktree_from from, bool accepted, const char *verdict,
		struct err *e)
{
	struct container_ktree_attempt *v = reallocarray(s->out.attempts, s->out.n_attempts + 1, sizeof(*v));

	if (!v)
		return err_oom(e);
	s->out.attempts = v;
	v += s->out.n_attempts;
	*v = (struct container_ktree_attempt){ .from = from,
					       .accepted = accepted,
					       .verdict = strdup(verdict) };
	if (!v->verdict)
		return err_oom(e);
	s->out.n_attempts++;
	if (s->o->look_only)
		return 0;
	log_info("kernel build tree, %s: %s", container_ktree_from_text(from), verdict);
	return 0;
}

json_t *container_ktree_attempts_json(const struct container_ktree *t)
{
	json_t *rows = json_array();

	for (size_t i = 0; rows && i < t->n_attempts; i++) {
		const struct container_ktree_attempt *a = &t->attempts[i];
		json_t *row = json_pack("{s:s, s:b, s:s}", "source", container_ktree_from_text(a->from),
					"accepted", a->accepted, "text", a->verdict);

		if (!row || json_array_append_new(rows, row) < 0) {
			json_decref(rows);
			return NULL;
		}
	}
	return rows;
}

/* What stopped one place stops no other, but for a machine that fails itself or a user who wants to stop. */
static bool is_verdict(int code)
{
	return code != -ENOMEM && code != -ERR_INTERRUPTED;
}

/* -- a tree somewhere else -- */

/* Those of another mount namespace name something else here, or nothing. */
bool container_ktree_is_reachable(const struct ktree *t)
{
	_cleanup_close_ int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(ktree_freep) struct ktree *here = NULL;

	return root >= 0 &&
	       ktree_open_at(root, t->source, t->output, t->release, t->arch, &here, NULL) == 0 &&
	       strcmp(here->identity, t->identity) == 0;
}

static int copy_into(int node_root_fd, const char *path, int to_fd, struct err *e)
{
	_cleanup_close_ int from = -EBADF, to = -EBADF;
	const char *from_name, *to_name;
	int r;

	if (path_exists(to_fd, path))
		return 0;
	from = path_open_parent(node_root_fd, path, false, PATH_IN_ROOT, &from_name);
	if (from < 0)
		return err_errno(e, from, "%s", path);
	to = path_open_parent(to_fd, path, true, PATH_NO_SYMLINKS, &to_name);
	if (to < 0)
		return err_errno(e, to, "%s", path);
	r = tree_copy(from, from_name, to, to_name, TREE_COPY_REFLINK);
	return r < 0 ? err_errno(e, r, "copying %s", path) : 0;
}

/* The distributions that split their trees keep the programs of the build apart from both. */
static int check_copy(int root_fd, const char *output, struct err *e)
{
	_cleanup_free_ char *needed = str_printf("%s/scripts/Makefile.build", output);

	if (!needed)
		return err_oom(e);
	return path_exists(root_fd, needed)
		   ? 0
		   : err_set(e, ERR_KTREE_INVALID, "%s: its scripts lie elsewhere, it cannot be copied",
			     output);
}

/* What a path of the kernel's, as fd_real_path() tells it, is called below the root. */
static int below_root(int root_fd, const char *path, const char **ret, struct err *e)
{
	_cleanup_free_ char *root = NULL;
	size_t n;
	int r = fd_real_path(root_fd, &root);

	if (r < 0)
		return err_errno(e, r, "finding the path of the node's root");
	n = strcmp(root, "/") == 0 ? 0 : strlen(root);
	if (strncmp(path, root, n) != 0 || path[n] != '/')
		return err_set(e, ERR_KTREE_INVALID, "%s does not lie below the node's root %s", path, root);
	*ret = path + n + 1;
	return 0;
}

static int copy_tree(struct store *store, const struct host *node, const struct ktree *tree, struct err *e)
{
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_close_ int root = -EBADF;
	_cleanup_free_ char *relocated = NULL;
	const char *source, *output;
	char identity[65];
	int r;

	if (!store)
		return err_set(e, ERR_STORE_MISSING,
			       "%s is not visible here, and there is no store to copy it to", tree->output);
	r = below_root(node->root_fd, tree->source, &source, e);
	if (r == 0)
		r = below_root(node->root_fd, tree->output, &output, e);
	if (r == 0)
		r = store_stage_begin_root(store, &st, &root, e);
	if (r == 0)
		r = copy_into(node->root_fd, source, root, e);
	if (r == 0)
		r = copy_into(node->root_fd, output, root, e);
	if (r == 0)
		r = check_copy(root, output, e);
	if (r == 0)
		r = source_relocate_headers(root, output, &relocated, e);
	return r < 0 ? r : ktree_import(&st, tree->release, relocated, output, NULL, identity, e);
}

static int from_store(struct search *s, struct ktree **ret, struct err *e)
{
	struct ktree_search where = { .store = s->o->store, .release = s->release, .arch = s->env->arch };

	if (!s->o->store)
		return err_set(e, ERR_KTREE_NOT_FOUND, "there is none");
	return ktree_find(&where, ret, e);
}

static int from_root(struct search *s, const struct host *root, struct ktree **ret, struct err *e)
{
	struct ktree_search where = { .host = root, .release = s->release, .arch = s->env->arch };
	_cleanup_(ktree_freep) struct ktree *t = NULL;
	int r = ktree_find(&where, &t, e);

	if (r < 0)
		return r;
	if (s->o->look_only || container_ktree_is_reachable(t)) {
		*ret = TAKE_PTR(t);
		return 0;
	}
	r = copy_tree(s->o->store, root, t, e);
	return r < 0 ? r : from_store(s, ret, e);
}

static int from_container(struct search *s, struct ktree **ret, struct err *e)
{
	return from_root(s, s->host, ret, e);
}

static int from_node(struct search *s, struct ktree **ret, struct err *e)
{
	if (!s->o->node)
		return err_set(e, ERR_KTREE_NOT_FOUND, "its root is not reachable from here");
	return from_root(s, s->o->node, ret, e);
}

static int from_user(struct search *s, struct ktree **ret, struct err *e)
{
	struct ktree_search where = {
		.source = s->o->source, .output = s->o->output, .release = s->release, .arch = s->env->arch
	};

	if (!s->o->source && !s->o->output)
		return -ENOENT;
	return ktree_find(&where, ret, e);
}

/* A verdict for what is there and not opened; takes `text`. */
static int found_elsewhere(struct search *s, char *text, struct err *e)
{
	free(s->elsewhere);
	s->elsewhere = text;
	return text ? 0 : err_oom(e);
}

static int look_into_bundle(struct search *s, const struct bundle_places *where, struct err *e)
{
	const struct bundle_want want = {
		.driver = "", .flavour = "", .release = s->release, .arch = s->env->arch
	};
	_cleanup_(bundle_freep) struct bundle *b = NULL;
	_cleanup_free_ char *text = NULL;
	int r = bundle_find(where, &want, &b, &text, e);

	if (r == -ENOENT)
		return err_set(e, ERR_KTREE_NOT_FOUND, "%s", text ? text : "there is none");
	if (r == 0 && s->o->bundle_cert)
		r = bundle_check_signature(b, s->o->bundle_cert, e);
	return r < 0 ? r : found_elsewhere(s, strdup(bundle_path(b)), e);
}

static int from_bundle(struct search *s, struct ktree **ret, struct err *e)
{
	const struct bundle_places where = { .named = s->o->bundle,
					     .container = s->host,
					     .node = s->o->node };
	_cleanup_free_ char *text = NULL;
	int r;

	if (s->o->look_only)
		return look_into_bundle(s, &where, e);
	if (!s->o->store)
		return err_set(e, ERR_STORE_MISSING, "there is no store to unpack one into");
	r = bundle_kernel_tree(&where, s->o->store, s->o->bundle_cert, s->release, s->env->arch, ret, &text,
			       e);
	return r == -ENOENT ? err_set(e, ERR_KTREE_NOT_FOUND, "%s", text ? text : "there is none") : r;
}

static int from_packages(struct search *s, struct ktree **ret, struct err *e)
{
	if (s->o->no_packages)
		return err_set(e, ERR_KTREE_NOT_FOUND, "not to be asked");
	if (s->o->look_only) {
		char *text = NULL;
		int r = container_packages_offer(s->host, s->env, s->release, s->o, &text, e);

		return r < 0 ? r : found_elsewhere(s, text, e);
	}
	return container_packages_tree(s->host, s->env, s->release, s->o, ret, e);
}

static int from_installation(struct search *s, struct ktree **ret, struct err *e)
{
	int r;

	if (s->o->no_packages || s->o->look_only || !s->o->may_install)
		return -ENOENT;
	r = container_packages_install(s->host, s->env, s->release, s->o, e);
	return r < 0 ? r : from_root(s, s->host, ret, e);
}

/* -- the order -- */

/* -ENOENT without a message: not asked for, nothing to report. */
static const struct place {
	enum container_ktree_from from;
	int (*find)(struct search *s, struct ktree **ret, struct err *e);
} places[] = {
	{ CONTAINER_KTREE_NAMED, from_user },
	{ CONTAINER_KTREE_CONTAINER, from_container },
	{ CONTAINER_KTREE_NODE, from_node },
	{ CONTAINER_KTREE_STORE, from_store },
	{ CONTAINER_KTREE_BUNDLE, from_bundle },
	{ CONTAINER_KTREE_PACKAGES, from_packages },
	{ CONTAINER_KTREE_INSTALLED, from_installation },
};

/* 1 = accepted, 0 = go on with the next place. */
static int ask(struct search *s, const struct place *p, struct err *e)
{
	_cleanup_(err_done) struct err why = ERR_INIT;
	int r = p->find(s, &s->out.tree, &why);

	if (r == 0) {
		s->out.from = p->from;
		r = note(s, p->from, true, s->out.tree ? s->out.tree->output : s->elsewhere, e);
		return r < 0 ? r : 1;
	}
	if (r == -ENOENT && !why.code)
		return 0;
	if (!is_verdict(r)) {
		err_move(e, &why);
		return r;
	}
	return note(s, p->from, false, why.reason ? why.reason : err_sentence(r), e);
}

static int not_found(const struct search *s, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf t = STRBUF_INIT(STRBUF_TEXT_MAX);

	for (size_t i = 0; i < s->out.n_attempts; i++)
		(void)strbuf_printf(&t, "%s%s: %s", i ? "; " : "",
				    container_ktree_from_text(s->out.attempts[i].from),
				    s->out.attempts[i].verdict);
	(void)err_set(e, ERR_KTREE_NOT_FOUND, "kernel %s: %s", s->release, strbuf_str(&t));
	return err_object(e, "%s", s->release);
}

static int find_all(struct search *s, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(places); i++)
		r = ask(s, &places[i], e);
	if (r == 0)
		return not_found(s, e);
	if (r < 0 || !s->out.tree)
		return r < 0 ? r : 0;
	return kernel_check_preemption(s->release, NULL, s->out.tree->config, s->env->ignore_preempt_rt, e);
}

int container_ktree_find(const struct host *host, const struct container_env *env, const char *release,
			 const struct container_ktree_options *o, struct container_ktree *ret, struct err *e)
{
	struct search s = { .host = host, .env = env, .o = o, .release = release };
	int r = kernel_check_preemption(release, NULL, NULL, env->ignore_preempt_rt, e);

	if (r == 0)
		r = find_all(&s, e);
	free(s.elsewhere);
	if (r < 0) {
		container_ktree_done(&s.out);
		return r;
	}
	*ret = s.out;
	return 0;
}
