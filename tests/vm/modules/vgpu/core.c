// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test aid: stands in for the core module of a vGPU host. It binds the simulated devices, enables SR-IOV and, with
 * vendor_vfio=1, offers the per-function "nvidia" attributes that replace mdev on newer kernels.
 */
#include <linux/module.h>
#include <linux/pci.h>

static int vendor_vfio;
module_param(vendor_vfio, int, 0444);
static unsigned int NVreg_EnableGpuFirmware = 18;
module_param(NVreg_EnableGpuFirmware, uint, 0444);

#define TYPE_SMALL 557
#define TYPE_LARGE 566

struct function_state {
	int type; /* 0 = no vGPU */
};

static ssize_t creatable_vgpu_types_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct function_state *fn = dev_get_drvdata(dev);

	if (fn->type)
		return 0;
	return sysfs_emit(buf, "ID    : vGPU Name\n%d   : NVIDIA L40S-1B\n%d   : NVIDIA L40S-8Q\n",
			  TYPE_SMALL, TYPE_LARGE);
}
static DEVICE_ATTR_RO(creatable_vgpu_types);

static ssize_t current_vgpu_type_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct function_state *fn = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%d\n", fn->type);
}

static ssize_t current_vgpu_type_store(struct device *dev, struct device_attribute *attr, const char *buf,
				       size_t len)
{
	struct function_state *fn = dev_get_drvdata(dev);
	int type, rc;

	rc = kstrtoint(buf, 0, &type);
	if (rc)
		return rc;
	if (type && type != TYPE_SMALL && type != TYPE_LARGE)
		return -EINVAL;
	if (type && fn->type)
		return -EBUSY;
	fn->type = type;
	return len;
}
static DEVICE_ATTR_RW(current_vgpu_type);

static struct attribute *vgpu_attrs[] = { &dev_attr_creatable_vgpu_types.attr,
					  &dev_attr_current_vgpu_type.attr, NULL };
static const struct attribute_group vgpu_group = { .name = "nvidia", .attrs = vgpu_attrs };

static int core_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct function_state *fn = devm_kzalloc(&pdev->dev, sizeof(*fn), GFP_KERNEL);

	if (!fn)
		return -ENOMEM;
	pci_set_drvdata(pdev, fn);
	return vendor_vfio && pdev->is_virtfn ? devm_device_add_group(&pdev->dev, &vgpu_group) : 0;
}

static void core_remove(struct pci_dev *pdev)
{
	if (!pdev->is_virtfn)
		pci_disable_sriov(pdev);
}

static const struct pci_device_id core_ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_NVIDIA, PCI_ANY_ID), .class = PCI_CLASS_DISPLAY_3D << 8,
	  .class_mask = 0xffff00 },
	{},
};
MODULE_DEVICE_TABLE(pci, core_ids);

static struct pci_driver core_driver = {
	.name = "nvidia",
	.id_table = core_ids,
	.probe = core_probe,
	.remove = core_remove,
	.sriov_configure = pci_sriov_configure_simple,
};

int nvidia_vgpu_host(void)
{
	return 1;
}
EXPORT_SYMBOL(nvidia_vgpu_host);

module_pci_driver(core_driver);
MODULE_DESCRIPTION("Test stand-in for the vGPU host's core module");
MODULE_LICENSE("GPL");
MODULE_VERSION(VGPU_VERSION);
