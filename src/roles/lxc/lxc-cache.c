/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-cache.h"

#include "fetch.h"
#include "strbuf.h"

#include <stdlib.h>
#include <string.h>

#define URL_PLAIN "https://us.download.nvidia.com/XFree86/Linux-%s/%s/%s"
#define CONNECT_S 10
#define STALL_S	  60
#define PAUSE_MS  5000

static int fetch_into(const struct lxc *x, const struct lxc_ct_config *conf, const char *name,
		      const char *version, const struct cachedir *c, char **ret_path, struct err *e)
{
	_cleanup_free_ char *plain = str_printf(URL_PLAIN, x->host.machine, version, name);
	_cleanup_free_ char *tesla = str_printf("https://us.download.nvidia.com/tesla/%s/%s", version, name);
	char *mirrors[2] = { conf->url ? NULL : tesla, NULL };
	struct fetch_request q = FETCH_REQUEST_INIT;

	if (!plain || !tesla)
		return err_oom(e);
	q.url = conf->url ? conf->url : plain;
	q.mirrors = mirrors;
	q.name = name;
	q.sha256 = conf->sha256;
	q.use_side_car = true;
	q.offline = x->en->offline;
	q.proxy = x->en->fetch_proxy;
	q.attempts = x->set->attempts;
	q.backoff_ms = PAUSE_MS;
	q.connect_timeout_s = CONNECT_S;
	q.stall_timeout_s = STALL_S;
	return cachedir_get(c, &q, ret_path, NULL, e);
}

int lxc_cache_open(const struct lxc *x, bool create, struct cachedir *ret, struct err *e)
{
	_cleanup_free_ char *path = lxc_host_path(x->en->host, x->set->cache_dir);

	return path ? cachedir_open(x->en->host, x->set->cache_dir, path, create, ret, e) : err_oom(e);
}

int lxc_cache_ensure(const struct lxc *x, const struct lxc_ct_config *conf, const char *version,
		     char **ret_path, struct err *e)
{
	_cleanup_free_ char *name = conf->runfile
					? strdup(conf->runfile)
					: str_printf("NVIDIA-Linux-%s-%s.run", x->host.machine, version);
	_cleanup_(cachedir_done) struct cachedir c = { -EBADF, NULL };
	int r;

	if (!name)
		return err_oom(e);
	r = lxc_cache_open(x, true, &c, e);
	if (r >= 0)
		r = fetch_into(x, conf, name, version, &c, ret_path, e);
	return r < 0 ? err_wrap(e, "run file of driver %s", version) : 0;
}
