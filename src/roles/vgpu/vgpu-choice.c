/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-choice.h"

#include "parse.h"
#include "strbuf.h"
#include "vgpu-machine.h"

#include <string.h>

void choices_done(struct choices *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].reason);
	free(l->v);
	*l = (struct choices){ 0 };
}

void kernel_choice_done(struct kernel_choice *k)
{
	free(k->release);
	*k = (struct kernel_choice){ 0 };
}

/* Oldest first. */
static int rank(const char *architecture)
{
	static const char *const order[] = { "Kepler", "Maxwell", "Pascal", "Volta",	"Turing",
					     "Ampere", "Ada",	  "Hopper", "Blackwell" };

	for (size_t i = 0; architecture && i < ARRAY_LEN(order); i++)
		if (strcmp(architecture, order[i]) == 0)
			return (int)i;
	return -1;
}

/* Is the major number among "20;19;18"? */
static bool has_major(const char *branches, unsigned major)
{
	while (branches && *branches) {
		if (catalog_major(branches) == major)
			return true;
		branches += strcspn(branches, ";");
		branches += *branches == ';';
	}
	return false;
}

bool choice_is_revived(const struct gpu_info *info, const char *branch)
{
	return info && info->architecture && catalog_major(branch) == 17 &&
	       (strcmp(info->architecture, "Maxwell") == 0 || strcmp(info->architecture, "Pascal") == 0);
}

/* Cards that came with a minor release; the table of cards knows majors only. */
static const char *first_branch(uint16_t device)
{
	static const struct {
		uint16_t device;
		const char *branch;
	} first[] = { { 0x2bb5, "19.1" }, { 0x2bb9, "19.2" } };

	for (size_t i = 0; i < ARRAY_LEN(first); i++)
		if (first[i].device == device)
			return first[i].branch;
	return NULL;
}

/* NULL: the card goes with the branch. Static text or one of a static buffer's is avoided: the caller copies. */
static int card_reason(const struct catalog *c, const struct choice_request *q,
		       const struct catalog_driver *d, char **ret)
{
	const struct catalog_patch *patch = catalog_patch(c, d->branch);
	const char *from = q->info ? first_branch(q->info->device) : NULL;
	unsigned major = catalog_major(d->branch);

	*ret = NULL;
	if (!q->info)
		return 0;
	if (q->unsupported && q->support != CARD_NONE && choice_is_revived(q->info, d->branch) && patch &&
	    strcmp(patch->status, "mapped") == 0)
		return 0;
	if (q->support == CARD_NONE)
		*ret = strdup("the card has no vGPU");
	else if (q->support != CARD_UNKNOWN && !has_major(q->info->branches, major))
		*ret = str_printf("branch %u does not know this card", major);
	else if (from && catalog_compare(d->branch, from) < 0)
		*ret = str_printf("this card came with %s", from);
	else if (q->support == CARD_UNLOCK && (!patch || strcmp(patch->status, "mapped") != 0))
		*ret = strdup("there is no unlock patch for it");
	else if (q->support == CARD_UNLOCK && rank(q->info->architecture) < rank(d->arch_min))
		*ret = str_printf("the unlock needs %s or newer", d->arch_min);
	else
		return 0;
	return *ret ? 1 : -ENOMEM;
}

/* The driver's major of a guest's branch or version; 0 when no table has it. */
static unsigned guest_major(const struct catalog *c, const char *guest)
{
	unsigned major = catalog_major(guest);
	const struct catalog_driver *d = catalog_driver(c, guest);

	/* Branches have two digits, drivers three. */
	if (major >= 100)
		return major;
	d = d ? d : catalog_driver_newest(c, major);
	return d ? catalog_major(d->version) : 0;
}

/* A guest's driver is never of a newer branch than the host's. */
static int guest_reason(const struct catalog *c, const struct choice_request *q,
			const struct catalog_driver *d, char **ret)
{
	if (!q->guest || guest_major(c, q->guest) <= catalog_major(d->version))
		return 0;
	*ret = str_printf("guests of %s are newer than this host driver", q->guest);
	return *ret ? 1 : -ENOMEM;
}

static int pve_reason(const struct choice_request *q, const struct catalog_driver *d, char **ret)
{
	if (!q->pve_major ||
	    (q->pve_major >= catalog_major(d->pve_min) && q->pve_major <= catalog_major(d->pve_max)))
		return 0;
	*ret = str_printf("made for Proxmox VE %s to %s", d->pve_min, d->pve_max);
	return *ret ? 1 : -ENOMEM;
}

/* The newest kernel, counting the changes an unlock patch brings. */
static const char *kernel_bound(const struct catalog *c, const struct choice_request *q,
				const struct catalog_driver *d)
{
	const struct catalog_patch *patch = q->support == CARD_UNLOCK ? catalog_patch(c, d->branch) : NULL;

	return patch && *patch->kernel_max && catalog_compare(patch->kernel_max, d->kernel_max) > 0
		   ? patch->kernel_max
		   : d->kernel_max;
}

static bool kernel_fits(const char *kernel, const char *min, const char *max)
{
	return catalog_compare(kernel, min) >= 0 && catalog_compare(kernel, max) <= 0;
}

static int choice_make(const struct catalog *c, const struct choice_request *q,
		       const struct catalog_driver *d, struct choice *ret)
{
	struct choice one = { .driver = d, .verdict = CHOICE_NO, .kernel_max = kernel_bound(c, q, d) };
	int r = card_reason(c, q, d, &one.reason);

	if (r == 0)
		r = pve_reason(q, d, &one.reason);
	if (r == 0)
		r = guest_reason(c, q, d, &one.reason);
	if (r == 0 && q->kernel && !kernel_fits(q->kernel, d->kernel_min, one.kernel_max)) {
		one.verdict = CHOICE_KERNEL;
		one.reason = str_printf("needs a kernel from %s to %s, not %s", d->kernel_min, one.kernel_max,
					q->kernel);
	} else if (r == 0) {
		one.verdict = CHOICE_FITS;
		one.reason = str_printf("kernels %s to %s", d->kernel_min, one.kernel_max);
	}
	if (r < 0 || !one.reason)
		return -ENOMEM;
	*ret = one;
	return 0;
}

int choices_make(const struct catalog *c, const struct choice_request *q, struct choices *ret)
{
	_cleanup_(choices_done) struct choices l = { calloc(c->n_drivers + 1, sizeof(*l.v)), 0 };

	if (!l.v)
		return -ENOMEM;
	for (; l.n < c->n_drivers; l.n++)
		if (choice_make(c, q, &c->drivers[l.n], &l.v[l.n]) < 0)
			return -ENOMEM;
	*ret = l;
	l = (struct choices){ 0 };
	return 0;
}

const struct choice *choices_best(const struct choices *l)
{
	for (int verdict = CHOICE_FITS; verdict <= CHOICE_KERNEL; verdict++)
		for (int portal = 0; portal <= 1; portal++)
			for (size_t i = 0; i < l->n; i++)
				if ((int)l->v[i].verdict == verdict &&
				    (strcmp(l->v[i].driver->url_kind, "portal") == 0) == portal)
					return &l->v[i];
	return NULL;
}

int choices_majors(const struct choices *l, char **ret)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(4096);
	unsigned last = 0;

	for (size_t i = 0; i < l->n; i++) {
		unsigned major = catalog_major(l->v[i].driver->branch);

		if (l->v[i].verdict != CHOICE_FITS || major == last)
			continue;
		(void)strbuf_printf(&b, "%s%u", b.len ? ", " : "", major);
		last = major;
	}
	return strbuf_steal(&b, ret);
}

int choices_menu(const struct choices *l, struct strbuf *out)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct catalog_driver *d = l->v[i].driver;
		bool portal = strcmp(d->url_kind, "portal") == 0;

		(void)strbuf_printf(out, "  %-6s (%s)", d->branch, d->version);
		if (*d->menu_note)
			(void)strbuf_printf(out, " [%s]", d->menu_note);
		if (l->v[i].verdict != CHOICE_FITS)
			(void)strbuf_printf(out, " - %s", l->v[i].reason);
		else if (portal)
			(void)strbuf_puts(out, " - from NVIDIA's portal, with --file or --url");
		(void)strbuf_putc(out, '\n');
	}
	return strbuf_error(out);
}

const struct choice *choices_find(const struct choices *l, const char *branch)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->v[i].driver->branch, branch) == 0)
			return &l->v[i];
	return NULL;
}

static const char *newest_within(char *const *releases, const char *min, const char *max)
{
	const char *best = NULL;

	for (; releases && *releases; releases++)
		if (kernel_fits(*releases, min, max) && (!best || kernel_compare(*releases, best) > 0))
			best = *releases;
	return best;
}

int kernel_choose(const char *next, char *const *installed, char *const *archive, const char *min,
		  const char *max, struct kernel_choice *ret)
{
	const char *have, *offered, *pick;

	*ret = (struct kernel_choice){ .verdict = KERNEL_KEEP };
	if (kernel_fits(next, min, max))
		return 0;
	have = newest_within(installed, min, max);
	offered = newest_within(archive, min, max);
	pick = have ? have : offered;
	ret->verdict = pick ? KERNEL_PIN : KERNEL_NONE;
	ret->install = !have;
	ret->release = pick ? strdup(pick) : NULL;
	return pick && !ret->release ? -ENOMEM : 0;
}
