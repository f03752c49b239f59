/* SPDX-License-Identifier: Apache-2.0 */
#include "container-bundle.h"

#include "bundle.h"
#include "container-prepare.h"
#include "jutil.h"
#include "log.h"

int container_bundle_apply(struct container *c, struct err *e)
{
	const struct bundle_places where = { .named = c->env->bundle, .container = c->h, .node = c->node };
	_cleanup_free_ char *plain = container_plain_version(c->version), *text = NULL;
	_cleanup_(bundle_freep) struct bundle *b = NULL;
	_cleanup_json_ json_t *rows = NULL;
	struct bundle_apply how = { .want = { .driver = plain, .release = c->release, .arch = c->env->arch },
				    .cert_path = c->env->bundle_cert };
	int r = plain ? bundle_find(&where, &how.want, &b, &text, e) : err_oom(e);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	log_info("taking driver %s and what kernel %s needs from %s", plain, c->release, bundle_path(b));
	r = bundle_apply(c->en->store, b, &how, &rows, e);
	return r < 0 ? err_wrap(e, "%s", bundle_path(b)) : 1;
}
