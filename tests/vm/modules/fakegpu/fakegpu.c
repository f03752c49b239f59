// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test aid: a PCI host bridge made of software. Its functions answer configuration cycles from memory, so the
 * kernel enumerates genuine PCI devices of any vendor, device and class, with BARs, power management, PCIe and,
 * when asked for, SR-IOV capabilities. Nothing sits behind the BARs except, with rambar=1, a piece of memory hidden
 * from the kernel (mem=) that holds the two chip identification registers a driver reads before it starts.
 */
#include <linux/io.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/version.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#include <linux/unaligned.h>
#else
#include <asm/unaligned.h>
#endif

#define MAX_DEVICES 8
#define MAX_VFS	    7
#define CONFIG_SIZE 4096
#define WINDOW_SIZE 0x10000000
#define PM_CAP	    0x60
#define EXP_CAP	    0x78
#define SRIOV_CAP   0x100
#define UPPER_HALF  (~0u) /* BAR mask of the upper half of a 64-bit BAR; 0 is an absent BAR */
#define REG_BOOT_0  0x000
#define REG_BOOT_42 0xa00

static int domain = 0x10;
module_param(domain, int, 0444);
static int busnr;
module_param(busnr, int, 0444);
static int irq = 11;
module_param(irq, int, 0444);
static int rambar;
module_param(rambar, int, 0444);
MODULE_PARM_DESC(rambar, "membase is memory hidden with mem=: write the chip ids there");
static int vfs;
module_param(vfs, int, 0444);
MODULE_PARM_DESC(vfs, "SR-IOV virtual functions of each device, 0 to 7");
static unsigned int ids[MAX_DEVICES] = { 0x20b510de };
static int nids = 1;
module_param_array(ids, uint, &nids, 0444);
MODULE_PARM_DESC(ids, "device and vendor of each device, 0xDDDDVVVV");
static unsigned int class = 0x030200;
module_param(class, uint, 0444);
static unsigned int boot0 = 0x170000a1; /* GA100 */
module_param(boot0, uint, 0444);
static unsigned int boot42 = 0x170a1000;
module_param(boot42, uint, 0444);
static ulong membase = 0xc0000000;
module_param(membase, ulong, 0444);

struct fake_device {
	u8 config[CONFIG_SIZE];
	u8 vf_config[MAX_VFS + 1][CONFIG_SIZE]; /* by function number; [0] unused */
	u32 bar_mask[6];
	u32 vf_bar_mask[6];
};

static struct fake_device *devices[MAX_DEVICES];
static struct pci_sysdata sysdata = { .node = NUMA_NO_NODE };
static struct pci_bus *bus;
static struct resource window = { .name = "fakegpu window", .flags = IORESOURCE_MEM };
static struct resource bus_range = { .name = "fakegpu bus", .flags = IORESOURCE_BUS };

static u16 get16(const u8 *p)
{
	return get_unaligned((const u16 *)p);
}

static u32 get32(const u8 *p)
{
	return get_unaligned((const u32 *)p);
}

static void put16(u8 *p, u16 value)
{
	put_unaligned(value, (u16 *)p);
}

static void put32(u8 *p, u32 value)
{
	put_unaligned(value, (u32 *)p);
}

/* Configuration space of a function or NULL; *pf is set for physical functions only. */
static u8 *config_of(unsigned int devfn, struct fake_device **pf)
{
	unsigned int slot = PCI_SLOT(devfn), function = PCI_FUNC(devfn);
	struct fake_device *d = slot < nids ? devices[slot] : NULL;

	*pf = NULL;
	if (!d)
		return NULL;
	if (function == 0) {
		*pf = d;
		return d->config;
	}
	if (vfs && (d->config[SRIOV_CAP + PCI_SRIOV_CTRL] & PCI_SRIOV_CTRL_VFE) &&
	    function <= get16(d->config + SRIOV_CAP + PCI_SRIOV_NUM_VF))
		return d->vf_config[function];
	return NULL;
}

static int config_read(struct pci_bus *b, unsigned int devfn, int offset, int size, u32 *value)
{
	struct fake_device *pf;
	u8 *config = config_of(devfn, &pf);

	*value = ~0;
	if (!config || offset + size > CONFIG_SIZE)
		return PCIBIOS_DEVICE_NOT_FOUND;
	if (size == 1)
		*value = config[offset];
	else
		*value = size == 2 ? get16(config + offset) : get32(config + offset);
	return PCIBIOS_SUCCESSFUL;
}

/* What a BAR register keeps of a written value: its size shows in the bits that stay zero. */
static u32 bar_value(const u8 *reg, u32 mask, u32 value)
{
	if (mask == UPPER_HALF)
		return value;
	return mask ? (value & mask) | (*reg & 0xf) : 0;
}

static int config_write(struct pci_bus *b, unsigned int devfn, int offset, int size, u32 value)
{
	int bar = (offset - PCI_BASE_ADDRESS_0) / 4, vf_bar = (offset - SRIOV_CAP - PCI_SRIOV_BAR) / 4;
	struct fake_device *pf;
	u8 *config = config_of(devfn, &pf);

	if (!config || offset + size > CONFIG_SIZE)
		return PCIBIOS_DEVICE_NOT_FOUND;
	if (offset < 4 || offset == PCI_CLASS_REVISION || offset == PCI_CLASS_DEVICE)
		return PCIBIOS_SUCCESSFUL;
	if (offset == PCI_ROM_ADDRESS)
		value = 0;
	if (pf && size == 4 && offset >= PCI_BASE_ADDRESS_0 && bar < 6)
		value = bar_value(config + offset, pf->bar_mask[bar], value);
	else if (pf && vfs && size == 4 && offset >= SRIOV_CAP + PCI_SRIOV_BAR && vf_bar < 6)
		value = bar_value(config + offset, pf->vf_bar_mask[vf_bar], value);
	if (size == 1)
		config[offset] = value;
	else if (size == 2)
		put16(config + offset, value);
	else
		put32(config + offset, value);
	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops config_ops = { .read = config_read, .write = config_write };

static void fill_header(u8 *config, u32 id)
{
	put32(config, id);
	put32(config + PCI_CLASS_REVISION, (class << 8) | 0xa1);
	put16(config + PCI_STATUS, PCI_STATUS_CAP_LIST);
	put32(config + PCI_SUBSYSTEM_VENDOR_ID, 0x153310de);
	config[PCI_CAPABILITY_LIST] = PM_CAP;
	config[PM_CAP] = PCI_CAP_ID_PM;
	config[PM_CAP + PCI_CAP_LIST_NEXT] = EXP_CAP;
	put16(config + PM_CAP + PCI_PM_PMC, 3);
	config[EXP_CAP] = PCI_CAP_ID_EXP;
	put16(config + EXP_CAP + PCI_EXP_FLAGS, (PCI_EXP_TYPE_RC_END << 4) | 2);
	put32(config + EXP_CAP + PCI_EXP_DEVCAP, PCI_EXP_DEVCAP_FLR | 1);
}

static void fill_sriov(struct fake_device *d, u32 id)
{
	u8 *cap = d->config + SRIOV_CAP;
	int i;

	put32(cap, PCI_EXT_CAP_ID_SRIOV | (1 << 16));
	put16(cap + PCI_SRIOV_INITIAL_VF, vfs);
	put16(cap + PCI_SRIOV_TOTAL_VF, vfs);
	put16(cap + PCI_SRIOV_VF_OFFSET, 1);
	put16(cap + PCI_SRIOV_VF_STRIDE, 1);
	put16(cap + PCI_SRIOV_VF_DID, id >> 16);
	put32(cap + PCI_SRIOV_SUP_PGSIZE, 1);
	put32(cap + PCI_SRIOV_SYS_PGSIZE, 1);
	d->vf_bar_mask[0] = ~((64u << 10) - 1);
	for (i = 1; i <= MAX_VFS; i++)
		fill_header(d->vf_config[i], ~0u); /* a VF reads all ones in its id registers */
}

/* BAR0: 16 MiB, 32-bit; BAR1: 32 MiB and BAR3: 1 MiB, both 64-bit and prefetchable. */
static void fill_device(struct fake_device *d, u32 id)
{
	u8 *config = d->config;

	fill_header(config, id);
	d->bar_mask[0] = ~((16u << 20) - 1);
	d->bar_mask[1] = ~((32u << 20) - 1);
	d->bar_mask[2] = UPPER_HALF;
	d->bar_mask[3] = ~((1u << 20) - 1);
	d->bar_mask[4] = UPPER_HALF;
	config[PCI_BASE_ADDRESS_1] = PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH;
	config[PCI_BASE_ADDRESS_3] = PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH;
	config[PCI_INTERRUPT_PIN] = irq ? 1 : 0;
	config[PCI_INTERRUPT_LINE] = irq;
	if (vfs)
		fill_sriov(d, id);
}

static void write_chip_ids(void)
{
	struct pci_dev *pdev;

	list_for_each_entry(pdev, &bus->devices, bus_list)
	{
		void __iomem *regs;

		if (!pci_resource_start(pdev, 0))
			continue;
		regs = ioremap(pci_resource_start(pdev, 0), 0x1000);
		if (!regs)
			continue;
		writel(boot0, regs + REG_BOOT_0);
		writel(boot42, regs + REG_BOOT_42);
		iounmap(regs);
	}
}

static void free_devices(void)
{
	int i;

	for (i = 0; i < nids; i++)
		kfree(devices[i]);
}

static int make_devices(void)
{
	int i;

	for (i = 0; i < nids; i++) {
		devices[i] = kzalloc(sizeof(*devices[i]), GFP_KERNEL);
		if (!devices[i]) {
			free_devices();
			return -ENOMEM;
		}
		fill_device(devices[i], ids[i]);
	}
	return 0;
}

static int __init fakegpu_init(void)
{
	LIST_HEAD(resources);
	int rc;

	vfs = clamp(vfs, 0, MAX_VFS);
	rc = make_devices();
	if (rc)
		return rc;
	sysdata.domain = domain;
	bus_range.start = busnr;
	bus_range.end = busnr;
	window.start = membase;
	window.end = membase + WINDOW_SIZE - 1;
	pci_add_resource(&resources, &window);
	pci_add_resource(&resources, &bus_range);

	pci_lock_rescan_remove();
	bus = pci_create_root_bus(NULL, busnr, &config_ops, &sysdata, &resources);
	if (bus) {
		pci_scan_child_bus(bus);
		pci_bus_assign_resources(bus);
		if (rambar)
			write_chip_ids();
		pci_bus_add_devices(bus);
	} else {
		pci_free_resource_list(&resources);
		free_devices();
	}
	pci_unlock_rescan_remove();
	return bus ? 0 : -ENODEV;
}

static void __exit fakegpu_exit(void)
{
	pci_lock_rescan_remove();
	pci_stop_root_bus(bus);
	pci_remove_root_bus(bus);
	pci_unlock_rescan_remove();
	free_devices();
}

module_init(fakegpu_init);
module_exit(fakegpu_exit);
MODULE_DESCRIPTION("Simulated PCI devices for tests");
MODULE_LICENSE("GPL");
