// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test aid: one PCI device says that it is another. The device is the machine's own, so it has what a device made of
 * software has not: an IOMMU and its group. Only what the kernel keeps of its identity is changed, now and whenever the
 * device is found anew, before user space hears of it.
 */
#include <linux/module.h>
#include <linux/pci.h>

static char *address = "0000:00:01.0";
module_param(address, charp, 0444);
static unsigned int id = 0x1eb810de;
module_param(id, uint, 0444);
MODULE_PARM_DESC(id, "device and vendor, 0xDDDDVVVV");
static unsigned int class = 0x030200;
module_param(class, uint, 0444);

static void put_on(struct device *dev)
{
	struct pci_dev *pdev = to_pci_dev(dev);

	if (strcmp(dev_name(dev), address))
		return;
	pdev->vendor = id & 0xffff;
	pdev->device = id >> 16;
	pdev->class = class;
}

static int on_event(struct notifier_block *nb, unsigned long action, void *data)
{
	if (action == BUS_NOTIFY_ADD_DEVICE)
		put_on(data);
	return NOTIFY_DONE;
}

static struct notifier_block notifier = { .notifier_call = on_event };

static int __init costume_init(void)
{
	struct device *dev = bus_find_device_by_name(&pci_bus_type, NULL, address);

	if (!dev)
		return -ENODEV;
	put_on(dev);
	put_device(dev);
	return bus_register_notifier(&pci_bus_type, &notifier);
}

static void __exit costume_exit(void)
{
	bus_unregister_notifier(&pci_bus_type, &notifier);
}

module_init(costume_init);
module_exit(costume_exit);
MODULE_DESCRIPTION("Another identity for a PCI device, for tests");
MODULE_LICENSE("GPL");
