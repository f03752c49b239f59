/* SPDX-License-Identifier: Apache-2.0 */
#include "container-fast.h"

#include "container-prepare.h"
#include "fd.h"
#include "kmods.h"
#include "path.h"
#include "publish.h"
#include "strbuf.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define DIGEST_MAX 4096

static bool digest_is_stored(const struct container *c)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (read_file_at(c->h->root_fd, CONTAINER_RUN_DIR "/" CONTAINER_STATE_FILE, DIGEST_MAX, &text, &len) <
	    0)
		return false;
	return span_eq(span_trim((struct span){ text, len }), c->env->config_digest);
}

static bool version_is_loaded(const struct container *c)
{
	_cleanup_free_ char *loaded = NULL, *plain = container_plain_version(c->version);

	return plain && kmod_attr(c->h, "nvidia", "version", &loaded) == 0 && strcmp(loaded, plain) == 0;
}

bool container_fast_applies(const struct container *c)
{
	_cleanup_(kmods_done) struct kmods k = KMODS_INIT;

	return c->env->config_digest && kmods_read(c->h, &k) == 0 && kmods_find(&k, "nvidia") &&
	       digest_is_stored(c) && version_is_loaded(c);
}

int container_fast_store(struct container *c, struct err *e)
{
	const char *digest = c->env->config_digest, *name;
	_cleanup_close_ int dir_fd = path_open_parent(
	    c->h->root_fd, CONTAINER_RUN_DIR "/" CONTAINER_STATE_FILE, true, PATH_IN_ROOT, &name);
	_cleanup_free_ char *text = digest ? str_printf("%s\n", digest) : NULL;
	int r = dir_fd < 0 ? dir_fd : digest && !text ? -ENOMEM : 0;

	if (r == 0)
		r = text ? publish_bytes(dir_fd, name, text, strlen(text), 0644)
			 : publish_unlink(dir_fd, name);
	return r < 0 ? err_errno(e, r, "/" CONTAINER_RUN_DIR "/" CONTAINER_STATE_FILE) : 0;
}
