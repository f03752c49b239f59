/* SPDX-License-Identifier: Apache-2.0 */
#include "flavour.h"

#include "jutil.h"
#include "log.h"
#include "parse.h"
#include "path.h"
#include "strbuf.h"

#include <fcntl.h>
#include <string.h>

#define SUPPORTED_MAX	 ((size_t)8 << 20)
#define OPEN_FROM_DEVICE 0x1e00 /* Turing: the first with a processor the open modules can talk to */
#define OPEN_ONLY_FROM	 0x2900 /* Blackwell: the proprietary modules do not know it */
#define OPEN_FROM_BRANCH 560u /* from here on the vendor recommends the open modules */

void flavour_choice_done(struct flavour_choice *c)
{
	free(c->why);
	*c = (struct flavour_choice){ 0 };
}

/* What one device works with. */
struct serves {
	bool open, proprietary;
};

/* -- the driver's own list -- */

static bool is_number(const json_t *entry, const char *key, uint16_t want)
{
	const char *text = json_string_value(json_object_get(entry, key));
	uint64_t v;

	return text && parse_hex64(SPAN(text), UINT16_MAX, &v) == 0 && v == want;
}

/* Rows may be of one board alone; such a row is more telling than the one of the chip. */
static const json_t *find_row(const json_t *supported, const struct pci_device *d)
{
	const json_t *row, *general = NULL;
	size_t i;

	json_array_foreach (json_object_get(supported, "chips"), i, row) {
		if (!is_number(row, "devid", d->device))
			continue;
		if (!json_object_get(row, "subdevid"))
			general = general ? general : row;
		else if (is_number(row, "subdevid", d->sub_device) &&
			 (!json_object_get(row, "subvendorid") ||
			  is_number(row, "subvendorid", d->sub_vendor)))
			return row;
	}
	return general;
}

static bool has_feature(const json_t *row, const char *feature)
{
	const json_t *f;
	size_t i;

	json_array_foreach (json_object_get(row, "features"), i, f)
		if (json_is_string(f) && strcmp(json_string_value(f), feature) == 0)
			return true;
	return false;
}

/* -- what else is known -- */

static bool is_open_only(const struct gpu *g)
{
	return g->info.chip ? strncmp(g->info.chip, "GB", 2) == 0 : g->pci.device >= OPEN_ONLY_FROM;
}

static bool is_too_old_for_open(const struct gpu *g)
{
	static const char *const architectures[] = { "Kepler", "Maxwell", "Pascal", "Volta" };

	for (size_t i = 0; g->info.architecture && i < ARRAY_LEN(architectures); i++)
		if (strcmp(g->info.architecture, architectures[i]) == 0)
			return true;
	return g->pci.device < OPEN_FROM_DEVICE;
}

static struct serves judge(const struct flavour_facts *f, const struct gpu *g)
{
	const json_t *row = f->supported ? find_row(f->supported, &g->pci) : NULL;

	if (row && json_object_get(row, "legacybranch"))
		return (struct serves){ false, false };
	if (row)
		return (struct serves){ has_feature(row, "kernelopen"), !is_open_only(g) };
	/* Early open modules knew few boards: without the driver's word they are not trusted with others. */
	return (struct serves){ !is_too_old_for_open(g) && f->branch >= OPEN_FROM_BRANCH, !is_open_only(g) };
}

/* -- the choice -- */

static int choose(struct flavour_choice *ret, const char *flavour, const char *why, struct err *e)
{
	char *copy = strdup(why);

	if (!copy)
		return err_oom(e);
	*ret = (struct flavour_choice){ flavour, copy };
	return 0;
}

static int without_devices(const struct flavour_facts *f, struct flavour_choice *ret, struct err *e)
{
	bool open = f->has_open && (f->branch >= OPEN_FROM_BRANCH || !f->has_proprietary);

	return choose(ret, open ? "open" : "proprietary",
		      "there is no GPU to ask; this is what the branch prefers", e);
}

static const char *serves_text(struct serves s)
{
	if (s.open && s.proprietary)
		return "either";
	return s.open	       ? "open modules only"
	       : s.proprietary ? "proprietary modules only"
			       : "an older driver branch";
}

static int mixed(const struct flavour_facts *f, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf t = STRBUF_INIT(65536);

	for (size_t i = 0; i < f->gpus->n; i++) {
		const struct gpu *g = &f->gpus->v[i];

		(void)strbuf_printf(&t, "%s%s %04x%s%s: %s", i ? "; " : "", g->pci.address, g->pci.device,
				    g->info.name ? " " : "", g->info.name ? g->info.name : "",
				    serves_text(judge(f, g)));
	}
	(void)strbuf_printf(&t, "; this driver has %s",
			    !f->has_open	  ? "proprietary modules only"
			    : !f->has_proprietary ? "open modules only"
						  : "both");
	(void)err_set(e, ERR_FLAVOUR_MIXED, "%s", strbuf_str(&t));
	return err_object(e, "%s", f->gpus->v[0].pci.address);
}

int flavour_decide(const struct flavour_facts *f, struct flavour_choice *ret, struct err *e)
{
	bool all_open = f->has_open, all_proprietary = f->has_proprietary;

	if (!f->gpus->n)
		return without_devices(f, ret, e);
	for (size_t i = 0; i < f->gpus->n; i++) {
		struct serves s = judge(f, &f->gpus->v[i]);

		all_open &= s.open;
		all_proprietary &= s.proprietary;
	}
	if (all_proprietary && f->branch < OPEN_FROM_BRANCH)
		return choose(ret, "proprietary", "the vendor recommends them for this branch", e);
	if (all_open)
		return choose(ret, "open", "every GPU works with the open modules", e);
	if (all_proprietary)
		return choose(ret, "proprietary", "not every GPU works with open modules of this driver", e);
	return mixed(f, e);
}

/* -- the machine -- */

static int read_gpus(const struct host *h, struct gpu_list *ret, struct err *e)
{
	_cleanup_(gpu_db_freep) struct gpu_db *db = NULL;
	_cleanup_(err_done) struct err why = ERR_INIT;

	/* A machine may do without our table: the driver's list and the ranges are left. */
	if (gpu_db_open(NULL, &db, &why) < 0)
		log_debug("choosing the modules without the table of GPUs: %s", why.reason ? why.reason : "");
	return gpu_list_read(h, db, ret, e);
}

static unsigned branch_of(const char *version)
{
	uint64_t branch = 0;

	(void)parse_u64((struct span){ version, strcspn(version, ".") }, 99999, &branch);
	return (unsigned)branch;
}

int flavour_choose(const struct host *h, int tree_fd, const char *version, struct flavour_choice *ret,
		   struct err *e)
{
	_cleanup_(gpu_list_done) struct gpu_list gpus = { 0 };
	_cleanup_json_ json_t *supported = NULL;
	struct flavour_facts f = { .gpus = &gpus, .branch = branch_of(version) };
	int r = read_gpus(h, &gpus, e);

	if (r == 0)
		r = jload_at(tree_fd, "supported-gpus/supported-gpus.json", SUPPORTED_MAX, &supported, e);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r < 0)
		err_done(e);
	f.supported = supported;
	f.has_open = path_exists(tree_fd, "kernel-open/Kbuild");
	f.has_proprietary = path_exists(tree_fd, "kernel/Kbuild");
	r = flavour_decide(&f, ret, e);
	if (r == 0)
		log_info("%s modules: %s", ret->flavour, ret->why);
	return r;
}
