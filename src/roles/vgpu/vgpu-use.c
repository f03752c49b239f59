/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-use.h"

#include "fd.h"
#include "parse.h"
#include "strbuf.h"
#include "err-vgpu.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define MDEV_DEVICES "bus/mdev/devices"
#define PCI_DEVICES  "bus/pci/devices"
#define NAMED_MAX    5

unsigned long vgpu_uuid_guest(const char *uuid)
{
	static const char middle[] = "-0000-0000-0000-";
	uint64_t guest;

	if (strlen(uuid) != 36 || strspn(uuid, "0123456789") != 8 ||
	    strncmp(uuid + 8, middle, strlen(middle)) != 0 ||
	    parse_u64(SPAN(uuid + 24), UINT32_MAX, &guest) < 0)
		return 0;
	return (unsigned long)guest;
}

typedef int (*name_fn)(const struct host *h, const char *name, char ***ret);

static int each_name(const struct host *h, const char *path, name_fn fn, char ***ret)
{
	int fd = h->sys_fd < 0 ? -EBADF : openat(h->sys_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		close_fdp(&fd);
		return 0;
	}
	for (struct dirent *entry; r == 0 && (entry = readdir(d));)
		if (entry->d_name[0] != '.')
			r = fn(h, entry->d_name, ret);
	(void)closedir(d);
	return r;
}

static int push(char ***ret, char *text)
{
	int r = text ? strv_push(ret, text) : -ENOMEM;

	free(text);
	return r;
}

/* Proxmox VE makes a mediated device when its guest starts and removes it when it stops. */
static int add_mdev(const struct host *h _unused_, const char *uuid, char ***ret)
{
	unsigned long guest = vgpu_uuid_guest(uuid);

	return push(ret, guest ? str_printf("virtual machine %lu, mediated device %s", guest, uuid)
			       : str_printf("mediated device %s", uuid));
}

static int add_vendor(const struct host *h, const char *address, char ***ret)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	uint64_t type;

	(void)snprintf(path, sizeof(path), PCI_DEVICES "/%s/nvidia/current_vgpu_type", address);
	if (read_line_at(h->sys_fd, path, &text) < 0 ||
	    parse_u64(span_trim(SPAN(text)), UINT32_MAX, &type) < 0 || type == 0)
		return 0;
	return push(ret, str_printf("type nvidia-%lu on %s", (unsigned long)type, address));
}

int vgpu_in_use(const struct host *h, char ***ret)
{
	_cleanup_strv_ char **list = NULL;
	int r = each_name(h, MDEV_DEVICES, add_mdev, &list);

	if (r == 0)
		r = each_name(h, PCI_DEVICES, add_vendor, &list);
	if (r < 0)
		return r;
	if (list)
		strv_sort(list);
	*ret = TAKE_PTR(list);
	return 0;
}

int vgpu_check_idle(const struct host *h, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(STRBUF_TEXT_MAX);
	_cleanup_strv_ char **list = NULL;
	size_t n;

	if (vgpu_in_use(h, &list) < 0)
		return err_oom(e);
	n = strv_len(list);
	if (n == 0)
		return 0;
	for (size_t i = 0; i < n && i < NAMED_MAX; i++)
		(void)strbuf_printf(&b, "%s%s", i ? "; " : "", list[i]);
	if (n > NAMED_MAX)
		(void)strbuf_printf(&b, "; and %zu more", n - NAMED_MAX);
	return err_set(e, ERR_VGPU_IN_USE, "%s", strbuf_str(&b));
}
