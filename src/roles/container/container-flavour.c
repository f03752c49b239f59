/* SPDX-License-Identifier: Apache-2.0 */
#include "container-flavour.h"

#include "container-prepare.h"
#include "fd.h"
#include "jutil.h"
#include "log.h"
#include "parse.h"
#include "pci.h"
#include "strbuf.h"

#include <string.h>

#define SUPPORTED_GPUS	    "supported-gpus/supported-gpus.json"
#define SUPPORTED_MAX	    ((size_t)16 << 20)
#define GSP_PROPRIETARY	    "gsp_proprietary_supported"
#define FIRST_OPEN_DEVICE   0x1e00 /* Turing: earlier chips have no GPU System Processor */
#define FIRST_BRANCH_ADVISE 560 /* earlier installers advise nothing and default to the proprietary modules */

static bool is_display(const struct pci_device *d)
{
	return d->vendor == PCI_VENDOR_NVIDIA && d->class_code >> 8 == 0x03;
}

/* The driver's own word on one chip: its features, or NULL when the list does not have it. */
static const json_t *features_of(const json_t *supported, uint16_t device)
{
	const json_t *chip;
	size_t i;

	json_array_foreach (json_object_get(supported, "chips"), i, chip) {
		const char *id = json_string_value(json_object_get(chip, "devid"));
		uint64_t value;

		if (id && parse_hex64(SPAN(id), UINT16_MAX, &value) == 0 && value == device)
			return json_object_get(chip, "features");
	}
	return NULL;
}

static bool has_feature(const json_t *features, const char *name)
{
	const json_t *f;
	size_t i;

	json_array_foreach (features, i, f)
		if (strcmp(json_string_value(f) ?: "", name) == 0)
			return true;
	return false;
}

static bool needs_proprietary(const struct pci_device *d, const json_t *supported)
{
	const json_t *features = features_of(supported, d->device);

	return d->device < FIRST_OPEN_DEVICE || (features && !has_feature(features, "kernelopen"));
}

/* Lists of drivers whose proprietary modules lack newer chips say of each chip whether they have it. */
static bool list_tells_proprietary(const json_t *supported)
{
	const json_t *chip;
	size_t i;

	json_array_foreach (json_object_get(supported, "chips"), i, chip)
		if (has_feature(json_object_get(chip, "features"), GSP_PROPRIETARY))
			return true;
	return false;
}

static bool needs_open(const struct pci_device *d, const json_t *supported)
{
	const json_t *features = features_of(supported, d->device);

	return has_feature(features, "kernelopen") && !has_feature(features, GSP_PROPRIETARY) &&
	       list_tells_proprietary(supported);
}

int container_flavour_choose(const struct pci_list *cards, const json_t *supported, unsigned branch,
			     bool ships_open, const char **ret, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf closed = STRBUF_INIT(65536), open = STRBUF_INIT(65536);

	for (size_t i = 0; i < cards->n; i++) {
		const struct pci_device *d = &cards->v[i];

		if (!is_display(d))
			continue;
		if (needs_proprietary(d, supported))
			(void)strbuf_printf(&closed, " %s (%04x)", d->address, d->device);
		if (needs_open(d, supported))
			(void)strbuf_printf(&open, " %s (%04x)", d->address, d->device);
	}
	if (closed.len && open.len) {
		err_set(e, ERR_UNSUPPORTED,
			"no one kind of modules serves all cards: proprietary for%s, open for%s",
			strbuf_str(&closed), strbuf_str(&open));
		return err_next(e, "set KERNEL_MODULE_TYPE to the kind whose cards are to be used");
	}
	*ret =
	    closed.len || !ships_open || (branch < FIRST_BRANCH_ADVISE && !open.len) ? "proprietary" : "open";
	return 0;
}

static int choose(struct container *c, const char **ret, struct err *e)
{
	_cleanup_(pci_list_done) struct pci_list cards = { 0 };
	_cleanup_json_ json_t *supported = NULL;
	_cleanup_close_ int tree_fd = -EBADF;
	int r = pci_list_read(c->h, &cards, e);

	if (r == 0)
		r = store_tree_open(c->en->store, c->tree_id, &tree_fd, NULL, e);
	if (r < 0)
		return r;
	(void)jload_at(tree_fd, SUPPORTED_GPUS, SUPPORTED_MAX, &supported, NULL);
	return container_flavour_choose(&cards, supported, c->env->driver_branch,
					faccessat(tree_fd, "kernel-open", F_OK, 0) == 0, ret, e);
}

int container_prepare_flavour(struct container *c, struct err *e)
{
	const char *flavour = c->env->module_type == MODULE_TYPE_OPEN ? "open" : "proprietary";
	int r = c->env->module_type == MODULE_TYPE_AUTO ? choose(c, &flavour, e) : 0;

	if (r < 0)
		return r;
	free(c->flavour);
	c->flavour = strdup(flavour);
	log_info("kernel modules: %s", flavour);
	return c->flavour ? 0 : err_oom(e);
}
