/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* PCI functions of a machine, from sys/bus/pci/devices. */

#include "host.h"

#define PCI_VENDOR_NVIDIA 0x10de
#define PCI_CLASS_VGA	  0x0300 /* class and subclass */
#define PCI_CLASS_3D	  0x0302

struct pci_device {
	char address[20]; /* "0000:01:00.0" */
	uint16_t vendor, device, sub_vendor, sub_device;
	uint16_t class_code; /* class and subclass */
	uint8_t interface, revision;
	char *driver; /* owned; the bound driver's name, NULL when none */
};

struct pci_list {
	struct pci_device *v; /* owned, in order of address */
	size_t n;
};

/* All functions; a machine without PCI has none. Entries that are no addresses or lack their identity are left out:
 * a device may vanish while we look. */
int pci_list_read(const struct host *h, struct pci_list *ret, struct err *e);
void pci_list_done(struct pci_list *l);
