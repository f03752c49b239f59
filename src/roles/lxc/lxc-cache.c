/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-cache.h"

#include "fd.h"
#include "fetch.h"
#include "path.h"
#include "strbuf.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define URL_PLAIN "https://us.download.nvidia.com/XFree86/Linux-%s/%s/%s"
#define CONNECT_S 10
#define STALL_S	  60
#define PAUSE_MS  5000

static int fetch_into(const struct lxc *x, const struct lxc_ct_config *conf, const char *name,
		      const char *version, int dir, const char *dir_path, struct err *e)
{
	_cleanup_free_ char *plain = str_printf(URL_PLAIN, x->host.machine, version, name);
	_cleanup_free_ char *tesla = str_printf("https://us.download.nvidia.com/tesla/%s/%s", version, name);
	char *mirrors[2] = { conf->url ? NULL : tesla, NULL };
	struct fetch_request q = FETCH_REQUEST_INIT;
	struct fetch_result result = { 0 };
	int r;

	if (!plain || !tesla)
		return err_oom(e);
	q.url = conf->url ? conf->url : plain;
	q.mirrors = mirrors;
	q.dirfd = dir;
	q.dir_path = dir_path;
	q.name = name;
	q.sha256 = conf->sha256;
	q.kind = FETCH_RUNFILE;
	q.use_side_car = true;
	q.offline = x->en->offline;
	q.proxy = x->en->fetch_proxy;
	q.attempts = x->set->attempts;
	q.backoff_ms = PAUSE_MS;
	q.connect_timeout_s = CONNECT_S;
	q.stall_timeout_s = STALL_S;
	r = fetch_file(&q, &result, e);
	fetch_result_done(&result);
	if (r == -ERR_OFFLINE)
		(void)err_next(e, "put the file %s into %s: nvdriver lxc cache add FILE", name, dir_path);
	return r;
}

int lxc_cache_ensure(const struct lxc *x, const struct lxc_ct_config *conf, const char *version,
		     char **ret_path, struct err *e)
{
	_cleanup_free_ char *name = conf->runfile
					? strdup(conf->runfile)
					: str_printf("NVIDIA-Linux-%s-%s.run", x->host.machine, version);
	_cleanup_free_ char *dir_path = lxc_host_path(x->en->host, x->set->cache_dir), *path = NULL;
	_cleanup_close_ int dir = -EBADF;
	int r;

	path = name && dir_path ? str_printf("%s/%s", dir_path, name) : NULL;
	if (!path)
		return err_oom(e);
	r = path_mkdirs(x->en->host->root_fd, x->set->cache_dir, 0755, PATH_IN_ROOT);
	dir = r < 0 ? r
		    : path_open_at(x->en->host->root_fd, x->set->cache_dir, O_RDONLY | O_DIRECTORY, 0,
				   PATH_IN_ROOT);
	if (dir < 0)
		return err_errno(e, dir, "cannot open the cache %s", dir_path);
	r = fetch_into(x, conf, name, version, dir, dir_path, e);
	if (r < 0)
		return err_wrap(e, "run file of driver %s", version);
	*ret_path = TAKE_PTR(path);
	return 0;
}
