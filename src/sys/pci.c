/* SPDX-License-Identifier: Apache-2.0 */
#include "pci.h"
#include "fd.h"
#include "parse.h"
#include "path.h"
#include "strbuf.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define DEVICES_MAX 65536

void pci_list_done(struct pci_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].driver);
	free(l->v);
	*l = (struct pci_list){ 0 };
}

/* "0000:01:00.0"; domains of some controllers have more than four digits. */
static bool is_address(const char *s)
{
	static const char hex[] = "0123456789abcdef";
	size_t domain = strspn(s, hex);
	const char *p = s + domain;

	return domain >= 4 && domain <= 8 && p[0] == ':' && strspn(p + 1, hex) == 2 && p[3] == ':' &&
	       strspn(p + 4, hex) == 2 && p[6] == '.' && p[7] >= '0' && p[7] <= '7' && p[8] == '\0';
}

static int read_hex(int dirfd, const char *name, uint64_t max, uint64_t *ret)
{
	_cleanup_free_ char *line = NULL;
	int r = read_line_at(dirfd, name, &line);

	return r < 0 ? r : parse_hex64(span_trim(SPAN(line)), max, ret);
}

static int read_driver(int dirfd, char **ret)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dirfd, "driver", target, sizeof(target) - 1);
	const char *name;

	if (n < 0)
		return errno == ENOENT || errno == EINVAL ? 0 : -errno;
	target[n] = '\0';
	name = strrchr(target, '/');
	name = name ? name + 1 : target;
	if (!name_is_safe(name))
		return 0;
	*ret = strdup(name);
	return *ret ? 0 : -ENOMEM;
}

/* 1: filled; 0: not a device (any more). */
static int read_device(int bus_fd, const char *name, struct pci_device *d)
{
	_cleanup_close_ int fd = path_open_at(bus_fd, name, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	uint64_t vendor, device, class_code, value;
	int r;

	if (fd < 0 || read_hex(fd, "vendor", UINT16_MAX, &vendor) < 0 ||
	    read_hex(fd, "device", UINT16_MAX, &device) < 0 ||
	    read_hex(fd, "class", 0xffffff, &class_code) < 0)
		return 0;
	*d = (struct pci_device){ .vendor = (uint16_t)vendor,
				  .device = (uint16_t)device,
				  .class_code = (uint16_t)(class_code >> 8),
				  .interface = (uint8_t)class_code };
	(void)snprintf(d->address, sizeof(d->address), "%s", strrchr(name, '/') + 1);
	if (read_hex(fd, "subsystem_vendor", UINT16_MAX, &value) == 0)
		d->sub_vendor = (uint16_t)value;
	if (read_hex(fd, "subsystem_device", UINT16_MAX, &value) == 0)
		d->sub_device = (uint16_t)value;
	if (read_hex(fd, "revision", UINT8_MAX, &value) == 0)
		d->revision = (uint8_t)value;
	r = read_driver(fd, &d->driver);
	return r < 0 ? r : 1;
}

static int list_addresses(int sys_fd, char ***ret)
{
	int fd = path_open_at(sys_fd, "bus/pci/devices", O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT), r = 0;
	_cleanup_strv_ char **names = NULL;
	struct dirent *de;
	DIR *d;

	if (fd < 0)
		return fd;
	d = fdopendir(fd);
	if (!d) {
		r = -errno;
		close_fdp(&fd);
		return r;
	}
	while (r == 0 && (de = readdir(d)))
		if (is_address(de->d_name))
			r = strv_push(&names, de->d_name);
	(void)closedir(d);
	if (r < 0)
		return r;
	strv_sort(names);
	*ret = TAKE_PTR(names);
	return 0;
}

int pci_list_read(const struct host *h, struct pci_list *ret, struct err *e)
{
	_cleanup_(pci_list_done) struct pci_list l = { 0 };
	_cleanup_strv_ char **names = NULL;
	size_t n;
	int r = h->sys_fd < 0 ? -ENOENT : list_addresses(h->sys_fd, &names);

	if (r < 0 && r != -ENOENT)
		return err_errno(e, r, "cannot list the PCI devices of %s", h->root);
	n = strv_len(names);
	if (n > DEVICES_MAX)
		return err_set(e, -ERR_TOO_LARGE, "%s claims %zu PCI devices", h->root, n);
	l.v = calloc(n + 1, sizeof(*l.v));
	if (!l.v)
		return err_oom(e);
	for (size_t i = 0; i < n; i++) {
		/* From sys/ on: the entries are links that leave the bus directory. */
		_cleanup_free_ char *path = str_printf("bus/pci/devices/%s", names[i]);

		r = path ? read_device(h->sys_fd, path, &l.v[l.n]) : -ENOMEM;
		if (r < 0)
			return err_errno(e, r, "cannot read the PCI device %s", names[i]);
		l.n += (size_t)r;
	}
	*ret = l;
	l = (struct pci_list){ 0 };
	return 0;
}
