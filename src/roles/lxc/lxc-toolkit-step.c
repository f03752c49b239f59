/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-toolkit-step.h"

#include "fetch.h"
#include "jutil.h"
#include "log.h"
#include "lxc-devices.h"
#include "lxc-keyring.h"
#include "lxc-ops.h"
#include "lxc-osrepo.h"
#include "lxc-toolkit.h"
#include "pgpkey.h"
#include "strbuf.h"
#include "err-lxc.h"

#include <stdlib.h>
#include <string.h>

/* -- the operation -- */

static int exec_in(void *arg, struct lxc_exec *x, struct err *e)
{
	const struct lxc_subject *s = arg;

	return lxc_exec_noted(s->b, s->id, x, e);
}

static const char *arg_str(const json_t *args, const char *key)
{
	return json_string_value(json_object_get(args, key));
}

static bool arg_bool(const json_t *args, const char *key)
{
	return json_is_true(json_object_get(args, key));
}

static unsigned arg_num(const json_t *args, const char *key)
{
	return (unsigned)json_integer_value(json_object_get(args, key));
}

static struct toolkit_want want_of(const json_t *args)
{
	return (struct toolkit_want){
		.tool = (enum osrepo_tool)arg_num(args, "tool"),
		.list_path = arg_str(args, "list_path"),
		.cuda = arg_str(args, "cuda"),
		.driver = arg_str(args, "driver"),
		.fetch_tools = arg_bool(args, "fetch_tools"),
		.graphics = arg_bool(args, "graphics"),
		.container_toolkit = arg_bool(args, "container_toolkit"),
		.no_cgroups = arg_bool(args, "no_cgroups"),
		.nvcc_warn = arg_bool(args, "nvcc_warn"),
		.clean = arg_bool(args, "clean"),
		.attempts = arg_num(args, "attempts"),
		.pause_ms = arg_num(args, "pause_s") * 1000,
		.install_timeout_s = arg_num(args, "install_timeout_s"),
	};
}

/* 1 = check said so; for apply 0. `work` decides what is done once the container is open. */
static int with_container(const struct plan_ctx *c, const json_t *args,
			  int (*work)(const struct toolkit_inside *, const struct toolkit_want *,
				      bool running, struct err *),
			  struct err *e)
{
	_cleanup_(lxc_place_done) struct lxc_place place = { 0 };
	_cleanup_(lxc_subject_done) struct lxc_subject s = { 0 };
	_cleanup_close_ int root = -EBADF;
	const struct toolkit_want w = want_of(args);
	int r = lxc_subject_open(c, args, &s, e);

	if (r >= 0)
		r = s.b->ops->place(s.b, s.id, &place, e);
	if (r < 0)
		return r;
	root = lxc_place_open(&place);
	return work(&(const struct toolkit_inside){ exec_in, &s, root }, &w, place.init_pid > 0, e);
}

static int install_work(const struct toolkit_inside *in, const struct toolkit_want *w, bool running _unused_,
			struct err *e)
{
	return toolkit_install(in, w, e);
}

static int toolkit_check(const struct plan_ctx *c, const json_t *args, struct err *e)
{
	return with_container(c, args, toolkit_is_done, e);
}

static int toolkit_stage(const struct plan_ctx *c _unused_, const json_t *args _unused_, json_t **ret_undo,
			 struct err *e)
{
	*ret_undo = json_object();
	return *ret_undo ? 0 : err_oom(e);
}

static int toolkit_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
			 struct err *e)
{
	return with_container(c, args, install_work, e);
}

static int toolkit_undo(const struct plan_ctx *c _unused_, const json_t *args, const json_t *undo _unused_,
			struct err *e _unused_)
{
	log_info("packages installed in container %s stay; its package tool can remove them",
		 arg_str(args, "id") ? arg_str(args, "id") : "?");
	return 0;
}

const struct op_type lxc_op_toolkit = {
	.name = "lxc-toolkit",
	.check = toolkit_check,
	.stage = toolkit_stage,
	.apply = toolkit_apply,
	.undo = toolkit_undo,
};

/* -- the plan -- */

struct step {
	struct lxc_ct *ct;
	struct plan *p;
	struct osrepo repo;
	char *list_path; /* owned */
	const char *cuda; /* borrowed */
	int root_fd; /* owned */
	char *
	    keyring; /* owned; the repository's own package on the host; NULL = the files are written one by one */
};

static void step_done(struct step *s)
{
	osrepo_done(&s->repo);
	freep(&s->list_path);
	freep(&s->keyring);
	if (s->root_fd >= 0)
		(void)close(s->root_fd);
}

static int repo_error(const struct step *s, int r, struct err *e)
{
	/* What says whether there is a network at all keeps its own words. */
	if (r == -ERR_OFFLINE || r == -ENOMEM)
		return r;
	(void)err_recode(e, ERR_CUDA_REPO);
	return err_wrap(e, "CUDA repository of %s%s", s->repo.slug,
			s->repo.is_listed ? "" : ", which this program has not heard of");
}

/* Fetched on the host, so the container needs no tool for it. */
static int key_fetch(const struct step *s, char **ret, size_t *ret_len, struct err *e)
{
	const struct lxc *x = s->ct->x;
	_cleanup_free_ char *url = str_printf("%s%s", s->repo.url, s->repo.key_file);
	struct fetch_request q = FETCH_REQUEST_INIT;
	int r;

	if (!url)
		return err_oom(e);
	q.url = url;
	q.offline = x->en->offline && strncmp(url, "file:", 5) != 0;
	q.proxy = x->en->fetch_proxy;
	q.attempts = x->set->attempts;
	q.backoff_ms = x->set->pause_s * 1000;
	r = fetch_text(&q, PGP_KEY_MAX, ret, ret_len, e);
	return r < 0 ? repo_error(s, r, e) : 0;
}

static int files_plan(struct step *s, struct err *e)
{
	_cleanup_json_ json_t *entries = json_array(), *args = NULL;
	_cleanup_strv_ char **notes = NULL;
	_cleanup_free_ char *key = NULL;
	size_t len = 0;
	int r = entries ? 0 : err_oom(e);

	if (r >= 0 && !osrepo_has_key(s->root_fd, &s->repo)) {
		if (s->ct->x->en->dry_run)
			return 0; /* a dry run touches no network; the operation's sentence tells enough */
		r = s->repo.tool == OSREPO_APT ? lxc_keyring_get(s->ct->x, &s->repo, &s->keyring, e) : 0;
		if (r >= 0 && !s->keyring)
			r = key_fetch(s, &key, &len, e);
	}
	if (r >= 0 && s->keyring)
		r = osrepo_other_entries(s->root_fd, &s->repo, s->cuda != NULL, entries, &notes, e);
	else if (r >= 0)
		r = osrepo_entries(s->root_fd, &s->repo, (struct span){ key, len }, s->cuda != NULL, entries,
				   &notes, e);
	if (r < 0 || json_array_size(entries) == 0)
		return r;
	for (char **n = notes; n && *n; n++)
		log_warn("container %s: %s", s->ct->id, *n);
	args = lxc_op_args(s->ct);
	if (!args || json_object_set(args, "entries", entries) < 0)
		return err_oom(e);
	r = plan_add(s->p, &lxc_op_files, TAKE_PTR(args),
		     "use the CUDA packages of %s, and keep drivers out, in container %s", s->repo.url,
		     s->ct->id);
	return r < 0 ? err_oom(e) : 0;
}

static int install_plan(struct step *s, bool fetch_tools, struct err *e)
{
	const struct lxc *x = s->ct->x;
	const struct lxc_options *o = x->opt;
	json_t *args = lxc_op_args(s->ct);
	json_t *more = json_pack(
	    "{s:i, s:s*, s:s*, s:s*, s:b, s:b, s:b, s:b, s:b, s:b, s:i}", "tool", (int)s->repo.tool,
	    "list_path", s->list_path, "cuda", s->cuda, "driver", s->ct->want.version, "fetch_tools",
	    (int)fetch_tools, "graphics", !!(s->ct->extras & LXC_EXTRA_GRAPHICS), "container_toolkit",
	    (int)o->container_toolkit, "no_cgroups", (int)(o->container_toolkit && s->ct->facts.unprivileged),
	    "nvcc_warn", (int)o->nvcc_warn, "clean", (int)o->apt_clean, "install_timeout_s",
	    (int)x->set->toolkit_timeout_s);
	int r = args && more ? json_object_update(args, more) : -1;

	json_decref(more);
	if (r < 0) {
		json_decref(args);
		return err_oom(e);
	}
	r = plan_add(s->p, &lxc_op_toolkit, args, "install %s%s in container %s",
		     s->cuda ? "the CUDA toolkit " : "prerequisites", s->cuda ? s->cuda : "", s->ct->id);
	return r < 0 ? err_oom(e) : 0;
}

static int repo_open(struct step *s, struct err *e)
{
	_cleanup_(os_release_done) struct os_release os = { 0 };
	int r = lxc_ct_os(s->ct, &os, e);

	if (r >= 0)
		r = osrepo_choose(&os, s->ct->x->host.machine, s->ct->conf.repo_url, &s->repo, e);
	if (r < 0)
		return r;
	if (s->repo.url_ignored)
		log_warn("container %s is %s: %s is for another system, %s is used", s->ct->id, s->repo.slug,
			 s->ct->conf.repo_url, s->repo.url);
	if (s->ct->x->set->repo_key)
		osrepo_key_use(&s->repo, s->ct->x->set->repo_key);
	if (osrepo_key_check(&s->repo, e) < 0)
		return -ERR_CUDA_KEY;
	s->list_path = osrepo_list_path(&s->repo);
	return s->list_path ? 0 : err_oom(e);
}

int lxc_toolkit_plan(struct lxc_ct *ct, struct plan *p, struct err *e)
{
	const struct lxc_options *o = ct->x->opt;
	_cleanup_(step_done) struct step s = { .ct = ct, .p = p, .root_fd = -EBADF };
	bool fetch_tools = o->delivery == LXC_DELIVERY_RUN;
	int r;

	s.cuda = o->cuda ? o->cuda : ct->conf.cuda_version;
	if (!s.cuda && !o->container_toolkit)
		return 0;
	s.root_fd = lxc_place_open(&ct->place);
	r = repo_open(&s, e);
	if (r >= 0 && s.root_fd >= 0)
		r = files_plan(&s, e);
	if (r >= 0 && ct->facts.state != LXC_RUNNING)
		r = lxc_power_plan(ct, p, e);
	if (r >= 0 && s.keyring)
		r = lxc_keyring_plan(ct, s.keyring, p, e);
	return r < 0 ? r : install_plan(&s, fetch_tools, e);
}
