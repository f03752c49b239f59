#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Both steps of the vGPU host on a running kernel: a stand-in installer that takes the vendor's options loads stand-in modules,
# the card makes virtual functions, and types show as mediated devices and as the vendor's own files; a second card, behind
# the machine's IOMMU, goes to vfio-pci by our rules and the distribution's udev.
. "$(dirname "$0")/lib.sh"

kernel_use amd64
modules_build fakegpu
fakegpu=$MODULES/fakegpu.ko
modules_build costume
costume=$MODULES/costume.ko
modules_build vgpu VGPU_VERSION=535.309.01

locked packages pkg_fetch udev
udev=$PKG_ROOT/bin/udevadm

stand_in_driver "$MODULES" "$WORK" 535.309.01

INITRAMFS=$WORK/initramfs
pairs=$(pve_host_pairs) || { echo "Bail out! this is no host for vGPU"; exit 1; }
# shellcheck disable=SC2046 # pairs hold no blanks
guest_initramfs "$INITRAMFS" "$VM_DIR/guest/vgpu.sh" "$fakegpu:/fakegpu.ko" $pairs "$DRIVER:/root/${DRIVER##*/}" \
	/usr/bin/cksum:/usr/bin/cksum $(program_libs /usr/bin/cksum "$udev") "$costume:/costume.ko" \
	"$udev:/bin/udevadm" "$udev:/lib/systemd/systemd-udevd" \
	"$PKG_ROOT/lib/udev/rules.d/80-drivers.rules:/lib/udev/rules.d/80-drivers.rules" \
	$(kernel_modules mdev vfio-pci vfio_iommu_type1)
GUEST_MEMORY=1024 guest_run vgpu "intel_iommu=on iommu=pt" -device intel-iommu -device e1000e >"$WORK/result"
tap_guest vgpu <"$WORK/result"
tap_done
