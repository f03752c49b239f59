// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test aid: stands in for nvidia-vgpu-vfio. Every virtual function bound to "nvidia" (the function itself where it
 * has no SR-IOV) becomes an mdev parent with two types, of which one instance at a time can exist.
 */
#include <linux/mdev.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>

extern int nvidia_vgpu_host(void);

struct vgpu_parent {
	struct mdev_parent mdev;
	struct mdev_type types[2], *type_list[2];
	struct pci_dev *pdev; /* reference held */
	struct list_head entry;
	int instances;
};

static LIST_HEAD(parents);

static struct vgpu_parent *parent_of(struct mdev_type *type)
{
	return container_of(type->parent, struct vgpu_parent, mdev);
}

static int vgpu_probe(struct mdev_device *mdev)
{
	parent_of(mdev->type)->instances++;
	return 0;
}

static void vgpu_remove(struct mdev_device *mdev)
{
	parent_of(mdev->type)->instances--;
}

static unsigned int vgpu_available(struct mdev_type *type)
{
	return parent_of(type)->instances ? 0 : 1;
}

static ssize_t vgpu_describe(struct mdev_type *type, char *buf)
{
	return sysfs_emit(
	    buf, "num_heads=4, frl_config=45, framebuffer=1024M, max_resolution=5120x2880, max_instance=4\n");
}

static struct mdev_driver vgpu_driver = {
	.device_api = "vfio-pci",
	.probe = vgpu_probe,
	.remove = vgpu_remove,
	.get_available = vgpu_available,
	.show_description = vgpu_describe,
	.driver = { .name = "nvidia-vgpu-vfio", .owner = THIS_MODULE, .mod_name = KBUILD_MODNAME },
};

static bool is_wanted(struct pci_dev *pdev)
{
	return !strcmp(dev_driver_string(&pdev->dev), "nvidia") &&
	       (pdev->is_virtfn || !pci_sriov_get_totalvfs(pdev));
}

static void parent_add(struct pci_dev *pdev)
{
	static const struct mdev_type types[2] = {
		{ .sysfs_name = "256", .pretty_name = "GRID A100-1B" },
		{ .sysfs_name = "259", .pretty_name = "GRID A100-8Q" },
	};
	struct vgpu_parent *p = kzalloc(sizeof(*p), GFP_KERNEL);
	int i;

	if (!p)
		return;
	for (i = 0; i < 2; i++) {
		p->types[i].sysfs_name = types[i].sysfs_name;
		p->types[i].pretty_name = types[i].pretty_name;
		p->type_list[i] = &p->types[i];
	}
	p->pdev = pci_dev_get(pdev);
	if (mdev_register_parent(&p->mdev, &pdev->dev, &vgpu_driver, p->type_list, 2)) {
		pci_dev_put(pdev);
		kfree(p);
		return;
	}
	list_add(&p->entry, &parents);
}

static void parent_remove(struct vgpu_parent *p)
{
	mdev_unregister_parent(&p->mdev);
	list_del(&p->entry);
	pci_dev_put(p->pdev);
	kfree(p);
}

static int bus_event(struct notifier_block *nb, unsigned long event, void *data)
{
	struct pci_dev *pdev = to_pci_dev((struct device *)data);
	struct vgpu_parent *p, *next;

	if (event == BUS_NOTIFY_BOUND_DRIVER && pdev->is_virtfn && is_wanted(pdev))
		parent_add(pdev);
	if (event == BUS_NOTIFY_UNBIND_DRIVER)
		list_for_each_entry_safe(p, next, &parents, entry) if (p->pdev == pdev) parent_remove(p);
	return 0;
}

static struct notifier_block bus_notifier = { .notifier_call = bus_event };

static int __init vgpu_init(void)
{
	struct pci_dev *pdev = NULL;
	int rc;

	if (!nvidia_vgpu_host())
		return -ENODEV;
	rc = mdev_register_driver(&vgpu_driver);
	if (rc)
		return rc;
	bus_register_notifier(&pci_bus_type, &bus_notifier);
	for_each_pci_dev(pdev) if (is_wanted(pdev)) parent_add(pdev);
	return 0;
}

static void __exit vgpu_exit(void)
{
	struct vgpu_parent *p, *next;

	bus_unregister_notifier(&pci_bus_type, &bus_notifier);
	list_for_each_entry_safe(p, next, &parents, entry) parent_remove(p);
	mdev_unregister_driver(&vgpu_driver);
}

module_init(vgpu_init);
module_exit(vgpu_exit);
MODULE_DESCRIPTION("Test stand-in for nvidia-vgpu-vfio");
MODULE_LICENSE("GPL");
MODULE_VERSION("550.144.02");
