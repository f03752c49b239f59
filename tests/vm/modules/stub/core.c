// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test aid: stands in for the driver's core module. Same name, main parameters, /proc files, device major and
 * firmware request as the real one, and no hardware behind it.
 */
#include <linux/firmware.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

#define STUB_MAJOR    195
#define STUB_FIRMWARE "nvidia/" STUB_VERSION "/gsp_ga10x.bin"

static unsigned int NVreg_EnableGpuFirmware = 18;
module_param(NVreg_EnableGpuFirmware, uint, 0444);
static int NVreg_OpenRmEnableUnsupportedGpus;
module_param(NVreg_OpenRmEnableUnsupportedGpus, int, 0444);
static char *NVreg_RegistryDwords;
module_param(NVreg_RegistryDwords, charp, 0444);

static int stub_fail;
module_param(stub_fail, int, 0444);
MODULE_PARM_DESC(stub_fail, "errno the load ends with");
static int stub_firmware;
module_param(stub_firmware, int, 0444);
MODULE_PARM_DESC(stub_firmware, "ask for the GSP firmware while loading");

int nvidia_get_rm_ops(void)
{
	return 42;
}
EXPORT_SYMBOL(nvidia_get_rm_ops);

static int node_open(struct inode *inode, struct file *file)
{
	return 0;
}

/* The owner counts open nodes as uses of the module, as the real driver's do. */
static const struct file_operations node_fops = {
	.owner = THIS_MODULE,
	.open = node_open,
};

static int version_show(struct seq_file *s, void *unused)
{
	seq_puts(s, "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  " STUB_VERSION
		    "  Release Build  (test)\n");
	seq_puts(s, "GCC version:  test\n");
	return 0;
}

static void request_gsp_firmware(void)
{
	struct platform_device *pdev = platform_device_register_simple("nvidia-stub", -1, NULL, 0);
	const struct firmware *fw;
	int rc;

	if (IS_ERR(pdev))
		return;
	rc = request_firmware(&fw, STUB_FIRMWARE, &pdev->dev);
	pr_info("nvidia: firmware rc=%d size=%zu\n", rc, rc ? 0 : fw->size);
	if (!rc)
		release_firmware(fw);
	platform_device_unregister(pdev);
}

static int __init core_init(void)
{
	struct proc_dir_entry *dir;
	int rc;

	if (stub_fail) {
		pr_err("NVRM: No NVIDIA GPU found.\n");
		return -stub_fail;
	}
	rc = register_chrdev(STUB_MAJOR, "nvidia-frontend", &node_fops);
	if (rc < 0)
		return rc;
	dir = proc_mkdir("driver/nvidia", NULL);
	if (dir) {
		proc_create_single("version", 0444, dir, version_show);
		proc_mkdir("gpus", dir);
	}
	if (stub_firmware)
		request_gsp_firmware();
	pr_info("nvidia: test module %s loaded\n", STUB_VERSION);
	return 0;
}

static void __exit core_exit(void)
{
	remove_proc_subtree("driver/nvidia", NULL);
	unregister_chrdev(STUB_MAJOR, "nvidia-frontend");
	pr_info("nvidia: test module removed\n");
}

module_init(core_init);
module_exit(core_exit);
MODULE_DESCRIPTION("Test stand-in for the NVIDIA core module");
MODULE_LICENSE("GPL");
MODULE_VERSION(STUB_VERSION);
MODULE_ALIAS_CHARDEV_MAJOR(STUB_MAJOR);
MODULE_FIRMWARE(STUB_FIRMWARE);
