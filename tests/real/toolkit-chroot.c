/* SPDX-License-Identifier: Apache-2.0
 *
 * toolkit-chroot ROOT STATE URL FINGERPRINT CUDA DRIVER: the toolkit into a root by changing into it, through the very
 * functions a container gets; STATE is a directory for journals. Prints "done" when nothing was to do, "installed", or
 * "<slug>: <reason>" with the slug's exit status. */
#include "fetch.h"
#include "jutil.h"
#include "lxc-osrepo.h"
#include "lxc-toolkit.h"
#include "pgpkey.h"
#include "spawn.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct inside {
	const struct host *host;
};

static int exec_chroot(void *arg, struct lxc_exec *x, struct err *e)
{
	const struct inside *in = arg;
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT(x->what);
	int r;

	for (char *const *p = x->argv; *p; p++)
		(void)spawn_argv(&s, *p, NULL);
	(void)spawn_env(&s, "DEBIAN_FRONTEND", "noninteractive");
	(void)spawn_env(&s, "HOME", "/root");
	(void)spawn_env(&s, "LC_ALL", "C.UTF-8");
	s.root_fd = in->host->root_fd;
	s.capture = s.merge = true;
	s.timeout_s = x->timeout_s;
	r = spawn_run(&s, e);
	if (r == -ERR_TOOL_MISSING) { /* a container's manager answers 127 */
		err_done(e);
		x->status = 127;
		return 0;
	}
	x->status = s.status;
	x->out = s.out;
	x->out_len = s.out_len;
	s.out = NULL;
	return r;
}

static int configure(const struct host *h, struct store *store, const struct osrepo *o, struct err *e)
{
	struct fetch_request q = FETCH_REQUEST_INIT;
	_cleanup_free_ char *url = str_printf("%s%s", o->url, o->key_file), *key = NULL;
	_cleanup_(plan_freep) struct plan *p = NULL;
	_cleanup_json_ json_t *entries = json_array();
	struct plan_state state;
	size_t len = 0;
	int r = 0;

	q.url = url;
	q.attempts = 1;
	if (!osrepo_has_key(h->root_fd, o))
		r = fetch_text(&q, PGP_KEY_MAX, &key, &len, e);
	if (r >= 0)
		r = osrepo_entries(h->root_fd, o, (struct span){ key, len }, true, entries, NULL, e);
	if (r < 0 || json_array_size(entries) == 0)
		return r;
	r = store_state_open(store, &state, e);
	if (r >= 0 && plan_new("toolkit", "chroot", &p) >= 0)
		r = plan_add(p, &op_files, json_pack("{s:O}", "entries", entries), "repository");
	if (r >= 0)
		r = plan_apply(p, &state, h, 5, NULL, e);
	store_state_close(&state);
	return r < 0 ? r : 0;
}

static int run(char **argv, struct err *e)
{
	_cleanup_(os_release_done) struct os_release os = { 0 };
	_cleanup_(osrepo_done) struct osrepo o = { 0 };
	_cleanup_(host_freep) struct host *h = NULL;
	_cleanup_(store_freep) struct store *store = NULL;
	_cleanup_free_ char *list = NULL;
	struct toolkit_want w = { .cuda = argv[5], .driver = argv[6], .attempts = 2, .pause_ms = 100 };
	struct inside inside;
	struct toolkit_inside in = { exec_chroot, &inside, -EBADF };
	int r = host_open(argv[1], &h, e);

	if (r >= 0)
		r = store_open(argv[2], true, &store, e);
	if (r >= 0)
		r = host_os_release(h, &os, e);
	if (r >= 0)
		r = osrepo_choose(&os, "x86_64", argv[3], &o, e);
	if (r < 0)
		return r;
	o.fingerprint = argv[4];
	inside.host = h;
	in.root_fd = h->root_fd;
	w.tool = o.tool;
	w.list_path = list = osrepo_list_path(&o);
	r = configure(h, store, &o, e);
	if (r >= 0)
		r = toolkit_is_done(&in, &w, true, e);
	if (r != 0)
		return r;
	return toolkit_install(&in, &w, e);
}

int main(int argc, char **argv)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	int r = argc == 7 ? run(argv, &e) : -1;

	if (argc != 7)
		return 2;
	if (r < 0) {
		printf("%s: %s\n", err_slug(e.code), e.reason ? e.reason : "");
		return err_exit_status(e.code);
	}
	puts(r ? "done" : "installed");
	return 0;
}
