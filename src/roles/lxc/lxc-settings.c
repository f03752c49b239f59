/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-settings.h"

#include "spawn.h"
#include "strbuf.h"

#include <stdlib.h>
#include <string.h>

static int text_default(char **text, const char *value)
{
	if (!*text)
		*text = strdup(value);
	return *text ? 0 : -ENOMEM;
}

static void number_default(unsigned *n, unsigned value)
{
	if (!*n)
		*n = value;
}

char *lxc_host_path(const struct host *h, const char *absolute)
{
	_cleanup_free_ char *real = NULL;

	if (h->is_running)
		return strdup(absolute);
	real = realpath(h->root, NULL);
	return real ? str_printf("%s%s", real, absolute) : NULL;
}

/* LXD's client has the name of what it is not. */
static int client_default(char **field)
{
	_cleanup_free_ char *found = NULL;

	return *field ? 0 : text_default(field, spawn_find("incus", &found) == 0 ? "incus" : "lxc");
}

int lxc_settings_default(const struct host *h, struct lxc_settings *s)
{
	const struct {
		unsigned *field;
		unsigned value;
	} numbers[] = {
		{ &s->start_timeout_s, 60 },
		{ &s->exec_wait_s, 60 },
		{ &s->node_wait_s, 30 },
		{ &s->node_poll_ms, 2000 },
		{ &s->lock_wait_s, 60 },
		{ &s->file_lock_wait_s, 10 },
		{ &s->exec_timeout_s, 120 },
		{ &s->install_timeout_s, 900 },
		{ &s->toolkit_timeout_s, 3600 },
		{ &s->attempts, 3 },
		{ &s->pause_s, 5 },
		{ &s->smi_timeout_s, 30 },
	};

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		number_default(numbers[i].field, numbers[i].value);
	if (!s->lxcpath)
		s->lxcpath = lxc_host_path(h, "/var/lib/lxc");
	if (!s->lxcpath || text_default(&s->pct, "pct") < 0 || text_default(&s->style, "include") < 0 ||
	    client_default(&s->incus) < 0 || text_default(&s->container_tmp, "/tmp") < 0 ||
	    text_default(&s->cache_dir, "/usr/local/phoenix_hypervisor/cache") < 0)
		return -ENOMEM;
	return 0;
}

static int text_copy(char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return from && !*to ? -ENOMEM : 0;
}

int lxc_settings_copy(struct lxc_settings *to, const struct lxc_settings *from)
{
	*to = from ? *from : (struct lxc_settings){ 0 };
	to->pct = to->incus = to->lxcpath = to->cache_dir = to->style = to->container_tmp = to->repo_key =
	    NULL;
	if (!from)
		return 0;
	if (text_copy(&to->pct, from->pct) < 0 || text_copy(&to->incus, from->incus) < 0 ||
	    text_copy(&to->lxcpath, from->lxcpath) < 0 || text_copy(&to->cache_dir, from->cache_dir) < 0 ||
	    text_copy(&to->style, from->style) < 0 ||
	    text_copy(&to->container_tmp, from->container_tmp) < 0 ||
	    text_copy(&to->repo_key, from->repo_key) < 0)
		return -ENOMEM;
	return 0;
}

void lxc_settings_done(struct lxc_settings *s)
{
	free(s->pct);
	free(s->incus);
	free(s->lxcpath);
	free(s->cache_dir);
	free(s->style);
	free(s->container_tmp);
	free(s->repo_key);
	*s = (struct lxc_settings){ 0 };
}
