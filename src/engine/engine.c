/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"
#include "install.h"
#include "log.h"

#include <string.h>
#include <sys/stat.h>

static int engine_open_store(struct engine *en, const char *path, unsigned flags, struct err *e)
{
	struct stat st;
	int r;

	if ((flags & ENGINE_STORE_OPTIONAL) && stat(path, &st) < 0 && errno == ENOENT)
		return 0;
	r = store_open(path, flags & ENGINE_STORE_CREATE, &en->store, e);
	/* A run that was killed while it made the store leaves a directory that is none yet. */
	if (r == -ENOENT && (flags & ENGINE_STORE_OPTIONAL)) {
		err_done(e);
		return 0;
	}
	if (r < 0)
		return r;
	r = store_state_open(en->store, &en->state, e);
	if (r < 0)
		return r;
	if (en->store->read_only)
		return 0;
	/* Promise 1: whatever an earlier run left half done is taken back or finished before anything else. */
	r = store_recover(en->store, e);
	if (r < 0)
		return err_wrap(e, "recovering store %s", path);
	r = plan_recover(&en->state, e);
	if (r < 0)
		return err_wrap(e, "recovering interrupted operations");
	if (r > 0)
		log_info("recovered %d interrupted operation%s", r, r == 1 ? "" : "s");
	return 0;
}

int engine_open(const char *root, const char *store_path, unsigned flags, struct engine **ret, struct err *e)
{
	_cleanup_(engine_freep) struct engine *en = calloc(1, sizeof(*en));
	int r;

	if (!en)
		return err_oom(e);
	en->state.journal_fd = en->state.targets_fd = -EBADF;
	/* Journals name operations by type: all must be known before the first is read. */
	if (userspace_register_ops() < 0)
		return err_oom(e);
	r = host_open(root, &en->host, e);
	if (r < 0)
		return err_recode(e, ERR_ROOT_UNREACHABLE);
	r = engine_open_store(en, store_path, flags, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(en);
	return 0;
}

void engine_freep(struct engine **en)
{
	if (!*en)
		return;
	store_state_close(&(*en)->state);
	store_freep(&(*en)->store);
	host_freep(&(*en)->host);
	freep(en);
}
