// SPDX-License-Identifier: GPL-2.0-only
/* Test aid: "nouveau", the in-tree driver that claims every NVIDIA display function before ours can. */
#include <linux/module.h>
#include <linux/pci.h>

static int rival_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return 0;
}

static const struct pci_device_id rival_ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_NVIDIA, PCI_ANY_ID), .class = PCI_BASE_CLASS_DISPLAY << 16,
	  .class_mask = 0xff0000 },
	{},
};
MODULE_DEVICE_TABLE(pci, rival_ids);

static struct pci_driver rival_driver = {
	.name = "nouveau",
	.id_table = rival_ids,
	.probe = rival_probe,
};
module_pci_driver(rival_driver);
MODULE_DESCRIPTION("Test stand-in for nouveau");
MODULE_LICENSE("GPL");
