/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-cards.h"

#include "fd.h"
#include "parse.h"
#include "strbuf.h"
#include "err-vgpu.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define CLASS_BRIDGE 0x06 /* base class of bridges */
/* The second assignment has the driver take the function where it was loaded before udev came to this rule. */
#define RULE                                                                                                 \
	"ACTION==\"add\", SUBSYSTEM==\"pci\", KERNELS==\"%s\", DRIVERS==\"*\", "                             \
	"ATTR{driver_override}=\"vfio-pci\", ATTR{[subsystem/pci]drivers_probe}=\"%s\"\n"

static const struct {
	const char *word, *verdict;
} supports[] = {
	[CARD_NATIVE] = { "Native", "the vendor's driver offers vGPU on it" },
	[CARD_UNLOCK] = { "Yes", "vGPU needs a patched driver and the unlock library" },
	[CARD_NONE] = { "No", "no vGPU; passthrough only" },
	[CARD_UNKNOWN] = { "Unknown", "not in the table of cards" },
};

enum card_support card_support_parse(const char *vgpu)
{
	for (size_t i = 0; i < ARRAY_LEN(supports); i++)
		if (vgpu && strcmp(vgpu, supports[i].word) == 0)
			return (enum card_support)i;
	return CARD_UNKNOWN;
}

const char *card_support_word(enum card_support s)
{
	return supports[s].word;
}

const char *card_verdict(enum card_support s)
{
	return supports[s].verdict;
}

void cards_done(struct cards *c)
{
	for (size_t i = 0; i < c->n; i++) {
		gpu_info_done(&c->v[i].info);
		free(c->v[i].pci.driver);
	}
	free(c->v);
	free(c->functions);
	strv_freep(&c->notes);
	*c = (struct cards){ 0 };
}

static int read_group(const struct host *h, const char *address)
{
	char path[64], target[PATH_MAX];
	const char *name;
	uint64_t group;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "bus/pci/devices/%s/iommu_group", address);
	n = readlinkat(h->sys_fd, path, target, sizeof(target) - 1);
	if (n < 0)
		return -1;
	target[n] = '\0';
	name = strrchr(target, '/');
	return parse_u64(SPAN(name ? name + 1 : target), INT_MAX, &group) < 0 ? -1 : (int)group;
}

static bool is_virtual(const struct host *h, const char *address)
{
	char path[64];
	struct stat st;

	(void)snprintf(path, sizeof(path), "bus/pci/devices/%s/physfn", address);
	return fstatat(h->sys_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static unsigned total_vfs(const struct host *h, const char *address)
{
	_cleanup_free_ char *line = NULL;
	char path[64];
	uint64_t n;

	(void)snprintf(path, sizeof(path), "bus/pci/devices/%s/sriov_totalvfs", address);
	if (read_line_at(h->sys_fd, path, &line) < 0 || parse_u64(span_trim(SPAN(line)), 65535, &n) < 0)
		return 0;
	return (unsigned)n;
}

static bool same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

static int note_difference(struct cards *c, const struct gpu_info *ours, const struct gpu_info *theirs)
{
	_cleanup_free_ char *text = NULL;

	if (same_text(ours->vgpu, theirs->vgpu) && same_text(ours->branches, theirs->branches))
		return 0;
	text = str_printf("10de:%04x: your table says %s (%s), ours %s (%s)", theirs->device,
			  theirs->vgpu ? theirs->vgpu : "nothing", theirs->branches ? theirs->branches : "",
			  ours->vgpu ? ours->vgpu : "nothing", ours->branches ? ours->branches : "");
	return text ? strv_push(&c->notes, text) : -ENOMEM;
}

static void swap_info(struct gpu_info *a, struct gpu_info *b)
{
	struct gpu_info t = *a;

	*a = *b;
	*b = t;
}

static int look_up(struct cards *c, struct card *card, struct gpu_db *own, struct gpu_db *user,
		   bool user_wins, struct err *e)
{
	_cleanup_(gpu_info_done) struct gpu_info theirs = { 0 };
	int found = gpu_db_find(own, card->pci.device, &card->info, e), r;

	if (found < 0 && found != -ENOENT)
		return found;
	r = user && (user_wins || found < 0) ? gpu_db_find(user, card->pci.device, &theirs, e) : -ENOENT;
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0) {
		if (found == 0 && note_difference(c, &card->info, &theirs) < 0)
			return err_oom(e);
		/* The published form has no architecture: what ours knows of it stays. */
		if (!theirs.architecture && card->info.architecture)
			theirs.architecture = TAKE_PTR(card->info.architecture);
		swap_info(&card->info, &theirs);
	}
	card->support =
	    card->info.name || card->info.vgpu ? card_support_parse(card->info.vgpu) : CARD_UNKNOWN;
	return 0;
}

static bool is_card(const struct host *h, const struct pci_device *d)
{
	return d->vendor == PCI_VENDOR_NVIDIA &&
	       (d->class_code == PCI_CLASS_VGA || d->class_code == PCI_CLASS_3D) &&
	       !is_virtual(h, d->address);
}

static int add_function(struct cards *c, const struct host *h, struct pci_device *d)
{
	struct card_function *f = &c->functions[c->n_functions++];

	*f = (struct card_function){ .class_code = d->class_code, .group = read_group(h, d->address) };
	memcpy(f->address, d->address, sizeof(f->address));
	c->groups_known |= f->group >= 0;
	return f->group;
}

int cards_read(const struct host *h, struct gpu_db *own, struct gpu_db *user, bool user_wins,
	       struct cards *ret, struct err *e)
{
	_cleanup_(pci_list_done) struct pci_list pci = { 0 };
	_cleanup_(cards_done) struct cards c = { 0 };
	int r = pci_list_read(h, &pci, e);

	if (r < 0)
		return r;
	c.v = calloc(pci.n + 1, sizeof(*c.v));
	c.functions = calloc(pci.n + 1, sizeof(*c.functions));
	if (!c.v || !c.functions)
		return err_oom(e);
	for (size_t i = 0; i < pci.n; i++) {
		int group = add_function(&c, h, &pci.v[i]);
		struct card *card = &c.v[c.n];

		if (!is_card(h, &pci.v[i]))
			continue;
		*card = (struct card){ .pci = pci.v[i], .group = group };
		card->total_vfs = total_vfs(h, card->pci.address);
		pci.v[i].driver = NULL;
		c.n++;
		r = look_up(&c, card, own, user, user_wins, e);
		if (r < 0)
			return r;
	}
	*ret = c;
	c = (struct cards){ 0 };
	return 0;
}

static bool can(const struct card *card)
{
	return card->support == CARD_NATIVE || card->support == CARD_UNLOCK;
}

static int choose_named(const struct cards *c, const char *wanted, size_t *ret_index, struct err *e)
{
	uint64_t number;

	for (size_t i = 0; i < c->n; i++)
		if (strcmp(c->v[i].pci.address, wanted) == 0) {
			*ret_index = i;
			return 0;
		}
	if (parse_u64(SPAN(wanted), c->n, &number) == 0 && number > 0) {
		*ret_index = (size_t)number - 1;
		return 0;
	}
	return err_set(e, ERR_VGPU_CARD_CHOICE,
		       "there is no card %s: give an address, or a number from 1 to %zu", wanted, c->n);
}

int cards_choose(const struct cards *c, const char *wanted, size_t *ret_index, struct err *e)
{
	size_t capable = 0, at = 0;

	if (wanted && *wanted)
		return choose_named(c, wanted, ret_index, e);
	for (size_t i = 0; i < c->n; i++)
		if (can(&c->v[i])) {
			capable++;
			at = i;
		}
	if (c->n == 1)
		at = 0;
	else if (capable != 1)
		return err_set(e, ERR_VGPU_CARD_CHOICE, "%zu of %zu cards could be used for vGPU", capable,
			       c->n);
	*ret_index = at;
	return 0;
}

static const struct card *other_in_group(const struct cards *c, size_t chosen)
{
	for (size_t i = 0; i < c->n; i++)
		if (i != chosen && c->v[i].group >= 0 && c->v[i].group == c->v[chosen].group)
			return &c->v[i];
	return NULL;
}

/* Is the function in the group of a card that is passed through? Ports and bridges of a group belong to nobody's guest. */
static bool is_passed(const struct cards *c, size_t chosen, const struct card_function *f)
{
	for (size_t i = 0; i < c->n; i++)
		if (i != chosen && f->group >= 0 && f->group == c->v[i].group &&
		    f->class_code >> 8 != CLASS_BRIDGE)
			return true;
	return false;
}

int cards_passthrough(const struct cards *c, size_t chosen, const struct text_file *old,
		      struct text_edits *ret, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(STRBUF_TEXT_MAX);
	const struct card *other = other_in_group(c, chosen);
	int r;

	if (!c->groups_known)
		return text_edits_note(ret,
				       "the IOMMU is off, so its groups are not known yet: run step 1 again "
				       "after the reboot to give the other cards to passthrough") < 0
			   ? err_oom(e)
			   : 0;
	if (other) {
		(void)err_set(e, ERR_VGPU_GROUP_SHARED,
			      "%s and %s share IOMMU group %d, so passing one through takes the other along",
			      other->pci.address, c->v[chosen].pci.address, other->group);
		return err_object(e, "%s", other->pci.address);
	}
	for (size_t i = 0; i < c->n_functions; i++)
		if (is_passed(c, chosen, &c->functions[i]))
			(void)strbuf_printf(&text, RULE, c->functions[i].address, c->functions[i].address);
	r = strbuf_error(&text);
	if (r >= 0 && text.len > 0)
		r = text_edits_set(ret, CARDS_RULES, old, SPAN(strbuf_str(&text)),
				   "give the other cards to passthrough: /" CARDS_RULES);
	return r < 0 ? err_oom(e) : 0;
}

/* Every function of the slot: "0000:01:00." */
static bool same_slot(struct span line, const char *address)
{
	char slot[24];

	(void)snprintf(slot, sizeof(slot), "%.*s.", (int)(strlen(address) - 2), address);
	return memmem(line.p, line.len, slot, strlen(slot)) != NULL;
}

int cards_keep(const struct cards *c, size_t chosen, const struct text_file *old, struct text_edits *ret)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(STRBUF_TEXT_MAX);
	struct span rest, line;
	bool hit = false;
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->n; i++)
		if (i != chosen)
			r = text_edits_note(
			    ret,
			    "to pass %s through later: run step 1 again and say yes, or write " CARDS_RULES,
			    c->v[i].pci.address);
	if (r < 0 || !old)
		return r;
	rest = (struct span){ old->bytes, old->len };
	while (span_line(&rest, &line)) {
		bool ours = line.len > 0 && line.p[0] != '#' && same_slot(line, c->v[chosen].pci.address);

		hit |= ours;
		if (!ours)
			(void)strbuf_printf(&text, "%.*s\n", (int)line.len, line.p);
	}
	if (!hit)
		return 0;
	if (text.len == 0)
		return text_edits_drop(ret, old, "take the chosen card out of passthrough: /" CARDS_RULES);
	return text_edits_set(ret, CARDS_RULES, old, SPAN(strbuf_str(&text)),
			      "take the chosen card out of passthrough: /" CARDS_RULES);
}
