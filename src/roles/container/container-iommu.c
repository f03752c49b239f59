/* SPDX-License-Identifier: Apache-2.0 */
#include "container-iommu.h"

#include "fd.h"
#include "firmware.h"
#include "log.h"
#include "path.h"
#include "pci.h"
#include "publish.h"
#include "strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define STATE_NAME "iommu" /* lines "ADDRESS TYPE" */
#define STATE_MAX  ((size_t)64 << 10)

static char *type_path(struct span address)
{
	return str_printf("bus/pci/devices/" SPAN_FMT "/iommu_group/type", SPAN_ARG(address));
}

static int write_type(const struct host *node, struct span address, const char *type)
{
	_cleanup_free_ char *path = type_path(address);
	_cleanup_close_ int fd =
	    path ? path_open_at(node->sys_fd, path, O_WRONLY | O_TRUNC, 0, PATH_IN_ROOT) : -ENOMEM;

	return fd < 0 ? fd : write_all(fd, type, strlen(type));
}

/* -- what was there before -- */

static int open_state(const struct host *node, bool create)
{
	int r = create ? path_mkdirs(node->root_fd, FIRMWARE_STATE_DIR, 0755, PATH_IN_ROOT) : 0;

	return r < 0
		   ? r
		   : path_open_at(node->root_fd, FIRMWARE_STATE_DIR, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
}

/* The first word stays: a container that was killed left "identity", which is not what the node had. */
static int remember(const struct host *node, const char *address, const char *type)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(STATE_MAX);
	_cleanup_close_ int dir_fd = open_state(node, true);
	_cleanup_free_ char *old = NULL;
	struct span rest, line;

	if (dir_fd < 0)
		return dir_fd;
	if (read_file_at(dir_fd, STATE_NAME, STATE_MAX, &old, NULL) == 0) {
		rest = SPAN(old);
		while (span_line(&rest, &line))
			if (span_starts(line, address))
				return 0;
		(void)strbuf_puts(&text, old);
	}
	(void)strbuf_printf(&text, "%s %s\n", address, type);
	return strbuf_error(&text) < 0 ? strbuf_error(&text)
				       : publish_bytes(dir_fd, STATE_NAME, strbuf_str(&text), text.len, 0644);
}

/* Nothing but what we may have written is written back. */
static bool is_type(struct span type)
{
	return span_eq(type, "DMA") || span_eq(type, "DMA-FQ") || span_eq(type, "auto");
}

static void restore_one(const struct host *node, struct span line)
{
	struct span address, type;
	_cleanup_free_ char *name = NULL, *text = NULL;
	int r;

	if (!span_word(&line, &address) || !span_word(&line, &type) || !is_type(type))
		return;
	name = span_dup(address);
	text = span_dup(type);
	if (!name || !text || !name_is_safe(name))
		return;
	r = write_type(node, address, text);
	if (r < 0)
		log_warn("IOMMU group of GPU %s was not put back to %s: %s", name, text, strerror(-r));
	else
		log_info("IOMMU group of GPU %s: %s, as it was found", name, text);
}

void container_iommu_restore(struct container *c)
{
	_cleanup_close_ int dir_fd = open_state(c->node, false);
	_cleanup_free_ char *text = NULL;
	struct span rest, line;

	if (dir_fd < 0 || c->node->sys_fd < 0 || read_file_at(dir_fd, STATE_NAME, STATE_MAX, &text, NULL) < 0)
		return;
	rest = SPAN(text);
	while (span_line(&rest, &line))
		restore_one(c->node, line);
	(void)publish_unlink(dir_fd, STATE_NAME);
}

/* -- identity -- */

/* 1 = written. */
static int set_identity(const struct host *node, const char *address)
{
	_cleanup_free_ char *path = type_path(SPAN(address)), *now = NULL;
	int r = path ? read_line_at(node->sys_fd, path, &now) : -ENOMEM;

	if (r < 0 || strcmp(now, "identity") == 0)
		return r < 0 ? r : 0;
	r = remember(node, address, now);
	if (r == 0)
		r = write_type(node, SPAN(address), "identity");
	return r < 0 ? r : 1;
}

void container_iommu_identity(struct container *c)
{
	_cleanup_(pci_list_done) struct pci_list l = { 0 };

	if (!c->o.iommu_identity || c->node->sys_fd < 0 || pci_list_read(c->h, &l, NULL) < 0)
		return;
	for (size_t i = 0; i < l.n; i++) {
		const struct pci_device *d = &l.v[i];
		int r;

		if (d->vendor != PCI_VENDOR_NVIDIA ||
		    (d->class_code != PCI_CLASS_VGA && d->class_code != PCI_CLASS_3D))
			continue;
		r = set_identity(c->node, d->address);
		if (r == -ENOENT)
			log_warn("GPU %s is in no IOMMU group", d->address);
		else if (r < 0)
			log_warn("IOMMU group of GPU %s keeps its type: %s", d->address, strerror(-r));
		else if (r > 0)
			log_info("IOMMU group of GPU %s: identity", d->address);
	}
}
