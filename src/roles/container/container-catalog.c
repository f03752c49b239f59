/* SPDX-License-Identifier: Apache-2.0 */
#include "container-catalog.h"

#include "strbuf.h"
#include "ytree.h"
#include "err-container.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define THIS_CPU "x86"
#define GUEST_OS "Linux"

/* -- reading -- */

static void side_done(struct catalog_side *s)
{
	strv_freep(&s->cpu);
	strv_freep(&s->branch);
	strv_freep(&s->driver);
	for (size_t i = 0; i < s->n_gpu; i++) {
		free(s->gpu[i].devid);
		free(s->gpu[i].ssid);
	}
	free(s->gpu);
}

static void entries_done(struct catalog_entries *l)
{
	for (size_t i = 0; i < l->n; i++) {
		struct catalog_entry *x = &l->v[i];

		free(x->branch);
		free(x->version);
		free(x->date);
		strv_freep(&x->os);
		side_done(&x->allow);
		side_done(&x->deny);
	}
	free(l->v);
}

void catalog_done(struct catalog *c)
{
	entries_done(&c->branches);
	entries_done(&c->drivers);
	*c = (struct catalog){ 0 };
}

/* The text of a key, copied; *ret stays NULL when it is absent. */
static int take_text(struct ynode map, const char *key, char **ret, struct err *e)
{
	const char *text = NULL;
	int r = ynode_text(ynode_get(map, key), &text, e);

	if (r < 0 || !text)
		return r;
	*ret = strdup(text);
	return *ret ? 0 : err_oom(e);
}

static int need_text(struct ynode map, const char *key, char **ret, struct err *e)
{
	int r = take_text(map, key, ret, e);

	if (r == 0 && (!*ret || !**ret))
		r = ynode_error(map, e, "this entry has no %s", key);
	return r;
}

static int take_words(struct ynode map, const char *key, char ***ret, struct err *e)
{
	struct ynode list = ynode_get(map, key);
	size_t n;
	int r = ynode_check_list(list, &n, e);

	for (size_t i = 0; r == 0 && i < n; i++) {
		const char *text = NULL;

		r = ynode_text(ynode_item(list, i), &text, e);
		if (r == 0 && strv_push(ret, text) < 0)
			r = err_oom(e);
	}
	return r;
}

static void lower(char *s)
{
	for (; s && *s; s++)
		*s = (char)tolower((unsigned char)*s);
}

static int take_gpu(struct ynode n, struct catalog_gpu *gpu, struct err *e)
{
	static const char *const keys[] = { "devid", "ssid", NULL };
	int r = ynode_check_map(n, keys, e);

	if (r == 0)
		r = need_text(n, "devid", &gpu->devid, e);
	if (r == 0)
		r = take_text(n, "ssid", &gpu->ssid, e);
	lower(gpu->devid);
	lower(gpu->ssid);
	return r;
}

static int take_gpus(struct ynode map, struct catalog_side *s, struct err *e)
{
	struct ynode list = ynode_get(map, "gpu");
	size_t n;
	int r = ynode_check_list(list, &n, e);

	if (r < 0 || n == 0)
		return r;
	s->gpu = calloc(n, sizeof(*s->gpu));
	if (!s->gpu)
		return err_oom(e);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = take_gpu(ynode_item(list, i), &s->gpu[s->n_gpu++], e);
	return r;
}

static int take_references(struct ynode map, char ***ret, struct err *e)
{
	static const char *const keys[] = { "version", "hypervisor", "os", NULL };
	struct ynode list = ynode_get(map, "driver");
	size_t n;
	int r = ynode_check_list(list, &n, e);

	for (size_t i = 0; r == 0 && i < n; i++) {
		_cleanup_free_ char *version = NULL;
		struct ynode item = ynode_item(list, i);

		r = ynode_check_map(item, keys, e);
		if (r == 0)
			r = need_text(item, "version", &version, e);
		if (r == 0 && strv_push(ret, version) < 0)
			r = err_oom(e);
	}
	return r;
}

static const char *const branch_side_keys[] = { "branch", "cpu", "gpu", NULL };
static const char *const driver_side_keys[] = { "cpu", "gpu", "driver", NULL };

static int take_side(struct ynode entry, const char *key, const char *const *keys, struct catalog_side *s,
		     struct err *e)
{
	struct ynode map = ynode_get(entry, key);
	int r = ynode_check_map(map, keys, e);

	if (r == 0)
		r = take_words(map, "cpu", &s->cpu, e);
	if (r == 0)
		r = take_gpus(map, s, e);
	if (r == 0 && keys == branch_side_keys)
		r = take_words(map, "branch", &s->branch, e);
	if (r == 0 && keys == driver_side_keys)
		r = take_references(map, &s->driver, e);
	return r;
}

static int take_type(struct ynode n, bool *ret, struct err *e)
{
	const char *text = NULL;
	int r = ynode_text(ynode_get(n, "type"), &text, e);

	if (r < 0)
		return r;
	if (!text || (strcmp(text, "host") != 0 && strcmp(text, "guest") != 0))
		return ynode_error(n, e, "the type of this entry is neither host nor guest");
	*ret = strcmp(text, "host") == 0;
	return 0;
}

/* Dates are compared as texts, so they must all be of one form. */
static bool is_date(const char *s)
{
	static const char form[] = "dddd-dd-dd";

	for (size_t i = 0; i < sizeof(form); i++)
		if (form[i] == 'd' ? !isdigit((unsigned char)s[i]) : s[i] != form[i])
			return false;
	return true;
}

static int take_branch(struct ynode n, struct catalog_entry *x, struct err *e)
{
	static const char *const keys[] = { "name", "type", "allow", "deny", "properties", NULL };
	int r = ynode_check_map(n, keys, e);

	if (r == 0)
		r = need_text(n, "name", &x->branch, e);
	if (r == 0)
		r = take_type(n, &x->is_host, e);
	if (r == 0)
		r = take_side(n, "allow", branch_side_keys, &x->allow, e);
	if (r == 0)
		r = take_side(n, "deny", branch_side_keys, &x->deny, e);
	return r;
}

static int take_driver(struct ynode n, struct catalog_entry *x, struct err *e)
{
	static const char *const keys[] = { "version",	  "date",  "branch", "type", "os",
					    "hypervisor", "allow", "deny",   NULL };
	int r = ynode_check_map(n, keys, e);

	if (r == 0)
		r = need_text(n, "version", &x->version, e);
	if (r == 0)
		r = take_text(n, "date", &x->date, e);
	if (r == 0 && x->date && !is_date(x->date))
		r = ynode_error(ynode_get(n, "date"), e, "the date is not of the form YYYY-MM-DD");
	if (r == 0)
		r = need_text(n, "branch", &x->branch, e);
	if (r == 0)
		r = take_type(n, &x->is_host, e);
	if (r == 0)
		r = take_words(n, "os", &x->os, e);
	if (r == 0)
		r = take_side(n, "allow", driver_side_keys, &x->allow, e);
	if (r == 0)
		r = take_side(n, "deny", driver_side_keys, &x->deny, e);
	return r;
}

static int take_entries(struct ynode root, const char *key,
			int (*take)(struct ynode, struct catalog_entry *, struct err *),
			struct catalog_entries *l, struct err *e)
{
	struct ynode list = ynode_get(root, key);
	size_t n;
	int r = ynode_check_list(list, &n, e);

	if (r < 0 || n == 0)
		return r;
	l->v = calloc(n, sizeof(*l->v));
	if (!l->v)
		return err_oom(e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct ynode item = ynode_item(list, i);

		l->v[i].line = ynode_line(item);
		l->n++;
		r = take(item, &l->v[i], e);
	}
	return r;
}

static int take_version(struct ynode root, uint64_t *ret, struct err *e)
{
	struct ynode n = ynode_get(root, "version");
	const char *text = NULL;
	int r = ynode_text(n, &text, e);

	if (r < 0)
		return r;
	if (!text)
		return ynode_error(root, e, "the catalog has no version");
	return parse_u64(SPAN(text), UINT32_MAX, ret) < 0
		   ? ynode_error(n, e, "the catalog's version is no number")
		   : 0;
}

static int take_catalog(struct ynode root, struct catalog *c, struct err *e)
{
	static const char *const keys[] = { "version", "date", "branch", "driver", NULL };
	int r = root.index ? ynode_check_map(root, keys, e) : err_set(e, ERR_FORMAT, "it is empty");

	if (r == 0)
		r = take_version(root, &c->version, e);
	if (r == 0)
		r = take_entries(root, "branch", take_branch, &c->branches, e);
	if (r == 0)
		r = take_entries(root, "driver", take_driver, &c->drivers, e);
	return r;
}

int catalog_parse(struct span text, struct catalog *ret, struct err *e)
{
	_cleanup_(ytree_freep) struct ytree *t = NULL;
	_cleanup_(catalog_done) struct catalog c = { 0 };
	int r = ytree_parse(text, &t, e);

	if (r == 0)
		r = take_catalog(ytree_root(t), &c, e);
	if (r == -ERR_FORMAT)
		return err_recode(e, ERR_VGPU_CATALOG);
	if (r < 0)
		return r;
	*ret = c;
	c = (struct catalog){ 0 };
	return 0;
}

/* -- choosing -- */

struct subject {
	char devid[8], ssid[8]; /* as sysfs writes them */
	const char *host_version, *host_branch;
};

static bool lists(char *const *list, const char *word)
{
	return list && strv_contains(list, word);
}

static bool lists_gpu(const struct catalog_side *s, const struct subject *u)
{
	for (size_t i = 0; i < s->n_gpu; i++)
		if (strcmp(s->gpu[i].devid, u->devid) == 0 ||
		    (s->gpu[i].ssid && strcmp(s->gpu[i].ssid, u->ssid) == 0))
			return true;
	return false;
}

/* A deny list rejects what it has; an allow list, when it has anything, whatever it has not. */
static bool passes(char *const *allow, char *const *deny, const char *word)
{
	return !lists(deny, word) && (!allow || lists(allow, word));
}

static bool passes_machine(const struct catalog_entry *x, const struct subject *u)
{
	return passes(x->allow.cpu, x->deny.cpu, THIS_CPU) && !lists_gpu(&x->deny, u) &&
	       (x->allow.n_gpu == 0 || lists_gpu(&x->allow, u));
}

static const struct catalog_entry *find_host_branch(const struct catalog *c, const struct subject *u)
{
	for (size_t i = 0; i < c->branches.n; i++) {
		const struct catalog_entry *x = &c->branches.v[i];

		if (x->is_host && strcmp(x->branch, u->host_branch) == 0 && passes_machine(x, u))
			return x;
	}
	return NULL;
}

static const struct catalog_entry *find_host_driver(const struct catalog *c, const struct subject *u)
{
	for (size_t i = 0; i < c->drivers.n; i++) {
		const struct catalog_entry *x = &c->drivers.v[i];

		if (x->is_host && strcmp(x->branch, u->host_branch) == 0 &&
		    strcmp(x->version, u->host_version) == 0 && passes_machine(x, u))
			return x;
	}
	return NULL;
}

/* Guest branches the host's branch works with, both ways. `before`: how many are left before the host's own lists. */
static int find_guest_branches(const struct catalog *c, const struct subject *u,
			       const struct catalog_entry *host, char ***ret, size_t *before)
{
	for (size_t i = 0; i < c->branches.n; i++) {
		const struct catalog_entry *x = &c->branches.v[i];

		if (x->is_host || !passes_machine(x, u) ||
		    !passes(x->allow.branch, x->deny.branch, u->host_branch))
			continue;
		(*before)++;
		if (passes(host->allow.branch, host->deny.branch, x->branch) && strv_push(ret, x->branch) < 0)
			return -ENOMEM;
	}
	return 0;
}

static bool is_candidate(const struct catalog_entry *x, const struct subject *u, char *const *branches,
			 const struct catalog_entry *host_driver, char *const *available)
{
	return !x->is_host && passes_machine(x, u) && lists(x->os, GUEST_OS) &&
	       passes(x->allow.driver, x->deny.driver, u->host_version) && lists(branches, x->branch) &&
	       lists(available, x->version) &&
	       (!host_driver || passes(host_driver->allow.driver, host_driver->deny.driver, x->version));
}

static bool is_better(const struct catalog_entry *a, const struct catalog_entry *b, const struct subject *u)
{
	bool a_home = strcmp(a->branch, u->host_branch) == 0, b_home = strcmp(b->branch, u->host_branch) == 0;

	if (a_home != b_home)
		return a_home;
	return strcmp(a->date ? a->date : "", b->date ? b->date : "") > 0;
}

static const struct catalog_entry *best_driver(const struct catalog *c, const struct subject *u,
					       char *const *branches, char *const *available)
{
	const struct catalog_entry *host_driver = find_host_driver(c, u), *best = NULL;

	for (size_t i = 0; i < c->drivers.n; i++) {
		const struct catalog_entry *x = &c->drivers.v[i];

		if (is_candidate(x, u, branches, host_driver, available) && (!best || is_better(x, best, u)))
			best = x;
	}
	return best;
}

static int no_match(const struct pcicap_device *gpu, struct err *e, const char *why)
{
	(void)err_set(e, ERR_VGPU_NO_MATCH, "%s (device 0x%04x, host driver %s, host branch %s)", why,
		      gpu->device, gpu->host.version, gpu->host.branch);
	return err_object(e, "%s", gpu->address);
}

int catalog_match(const struct catalog *c, const struct pcicap_device *gpu, char *const *available,
		  const struct catalog_entry **ret, struct err *e)
{
	struct subject u = { .host_version = gpu->host.version, .host_branch = gpu->host.branch };
	_cleanup_strv_ char **branches = NULL;
	const struct catalog_entry *host;
	size_t n_guest = 0;

	(void)snprintf(u.devid, sizeof(u.devid), "0x%04x", gpu->device);
	(void)snprintf(u.ssid, sizeof(u.ssid), "0x%04x", gpu->sub_device);
	if (!*u.host_version || !*u.host_branch)
		return no_match(gpu, e, "the virtual GPU does not tell its host's driver");
	host = find_host_branch(c, &u);
	if (!host)
		return no_match(gpu, e, "the catalog has no host branch for it");
	if (find_guest_branches(c, &u, host, &branches, &n_guest) < 0)
		return err_oom(e);
	if (!branches)
		return no_match(gpu, e,
				n_guest ? "the host branch works with none of the guest branches"
					: "no guest branch of the catalog works with the host branch");
	if (!available)
		return no_match(gpu, e, "there is no guest driver to choose from");
	*ret = best_driver(c, &u, branches, available);
	return *ret ? 0 : no_match(gpu, e, "none of the guest drivers that are there fits");
}
