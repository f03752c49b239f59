/* SPDX-License-Identifier: Apache-2.0 */
#include "container-limit.h"

#include "container-prepare.h"
#include "kmods.h"
#include "log.h"
#include "modset.h"

#define SETS_KEPT 16

int container_limit_sets(struct container *c, struct err *e)
{
	_cleanup_free_ char *running = NULL, *driver = NULL;
	_cleanup_(err_done) struct err why = ERR_INIT;
	struct modset_limit l = { .keep = c->o.module_sets ? c->o.module_sets : SETS_KEPT,
				  .key = c->set_key };
	int r = host_kernel_release(c->h, &running);

	if (r == 0 && kmod_attr(c->h, "nvidia", "version", &driver) < 0)
		driver = container_plain_version(c->version);
	if (r == -ENOMEM || (r == 0 && !driver))
		return err_oom(e);
	l.release = running;
	l.driver = driver;
	r = modset_limit(c->en->store, &l, &why);
	if (r > 0)
		log_info("%d old module set%s removed from the store, %u stay", r, r == 1 ? "" : "s", l.keep);
	if (r < 0)
		log_warn("old module sets stay in the store: %s", why.reason ? why.reason : err_sentence(r));
	return 0;
}
