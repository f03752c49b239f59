/* SPDX-License-Identifier: Apache-2.0 */
#include "container-pcicap.h"

#include "fd.h"
#include "path.h"
#include "pci.h"
#include "strbuf.h"
#include "err-container.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>

#define CONFIG_SIZE	   256
#define STATUS_REGISTER	   0x06
#define STATUS_HAS_LIST	   0x10
#define LIST_POINTER	   0x34
#define HEADER_SIZE	   0x40
#define ID_VENDOR_SPECIFIC 0x09
#define ID_INVALID	   0xff
#define FIRST_RECORD	   5
#define RECORD_HOST	   0

/* Offset of the first vendor-specific capability, 0 for none. Every step goes to an offset not visited before, so the walk
 * ends whatever the bytes say. */
static size_t find_capability(const uint8_t *config)
{
	bool visited[CONFIG_SIZE] = { false };
	size_t at = config[LIST_POINTER];

	if (!(config[STATUS_REGISTER] & STATUS_HAS_LIST))
		return 0;
	while (at >= HEADER_SIZE && at + 2 < CONFIG_SIZE && !visited[at] && config[at] != ID_INVALID) {
		if (config[at] == ID_VENDOR_SPECIFIC)
			return at;
		visited[at] = true;
		at = config[at + 1];
	}
	return 0;
}

/* NULs and blanks go, letters become capitals; bytes that are no text make it no text at all. */
static void take_text(const uint8_t *bytes, char out[PCICAP_TEXT_MAX + 1])
{
	size_t n = 0;

	for (size_t i = 0; i < PCICAP_TEXT_MAX; i++) {
		if (bytes[i] == '\0' || isspace(bytes[i]))
			continue;
		if (bytes[i] < 0x20 || bytes[i] > 0x7e) {
			n = 0;
			break;
		}
		out[n++] = (char)toupper(bytes[i]);
	}
	out[n] = '\0';
}

static void read_records(const uint8_t *capability, size_t len, struct pcicap_host *ret)
{
	for (size_t at = FIRST_RECORD; at + 2 <= len;) {
		size_t size = capability[at + 1];

		if (size < 2 || size > len - at)
			return;
		if (capability[at] == RECORD_HOST) {
			if (size < 2 + 2 * PCICAP_TEXT_MAX)
				return;
			take_text(capability + at + 2, ret->version);
			take_text(capability + at + 2 + PCICAP_TEXT_MAX, ret->branch);
			return;
		}
		at += size;
	}
}

int pcicap_vgpu(const uint8_t *config, size_t len, struct pcicap_host *ret)
{
	struct pcicap_host host = { "", "" };
	size_t at, size;

	if (len < CONFIG_SIZE)
		return -EINVAL;
	at = find_capability(config);
	if (at == 0)
		return 0;
	size = config[at + 2];
	if (size > CONFIG_SIZE - at)
		size = CONFIG_SIZE - at;
	if (size < FIRST_RECORD || config[at + 3] != 'V' || config[at + 4] != 'F')
		return 0;
	read_records(config + at, size, &host);
	*ret = host;
	return 1;
}

/* Bytes of a function's configuration space, at most CONFIG_SIZE; 0 also when it went away. */
static ssize_t read_config(const struct host *h, const char *address, uint8_t *config)
{
	_cleanup_close_ int fd = -EBADF;
	char path[64];

	(void)snprintf(path, sizeof(path), "bus/pci/devices/%s/config", address);
	fd = path_open_at(h->sys_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, PATH_IN_ROOT);
	return fd < 0 ? fd : read_upto(fd, config, CONFIG_SIZE);
}

static int look_at(const struct host *h, const struct pci_device *p, struct pcicap_list *l, struct err *e)
{
	struct pcicap_device *d = &l->v[l->n];
	uint8_t config[CONFIG_SIZE];
	ssize_t n = read_config(h, p->address, config);
	int r = n < 0 ? (int)n : pcicap_vgpu(config, (size_t)n, &d->host);

	if (r < 0) {
		(void)err_set(e, ERR_VGPU_CONFIG_SPACE,
			      "%s: %zd bytes of its configuration space can be read", p->address,
			      n < 0 ? 0 : n);
		return err_object(e, "%s", p->address);
	}
	if (r == 0)
		return 0;
	memcpy(d->address, p->address, sizeof(d->address));
	d->device = p->device;
	d->sub_device = p->sub_device;
	l->n++;
	return 0;
}

int pcicap_list_read(const struct host *h, struct pcicap_list *ret, struct err *e)
{
	_cleanup_(pcicap_list_done) struct pcicap_list l = { NULL, 0 };
	struct pci_list all = { NULL, 0 };
	int r = pci_list_read(h, &all, e);

	if (r < 0)
		return r;
	l.v = calloc(all.n + 1, sizeof(*l.v));
	if (!l.v)
		r = err_oom(e);
	for (size_t i = 0; r == 0 && i < all.n; i++)
		if (all.v[i].vendor == PCI_VENDOR_NVIDIA)
			r = look_at(h, &all.v[i], &l, e);
	pci_list_done(&all);
	if (r < 0)
		return r;
	*ret = l;
	l = (struct pcicap_list){ NULL, 0 };
	return 0;
}

void pcicap_list_done(struct pcicap_list *l)
{
	free(l->v);
	*l = (struct pcicap_list){ NULL, 0 };
}
