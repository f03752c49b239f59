#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The bed itself, with the kernel's own tools: what the stand-in modules do and how the kernel answers. When a test
# of nvdriver fails and this one too, the bed or the kernel has changed, not the program.
. "$(dirname "$0")/lib.sh"

# "source:destination" that puts the modules in use where modprobe finds them.
modprobe_pairs() {
	local module
	for module in "$MODULES"/*.ko; do
		echo "$module:/lib/modules/$RELEASE/updates/${module##*/}"
	done
}

kernel_use cloud-amd64
modules_build stub
INITRAMFS=$WORK/stub
# shellcheck disable=SC2046 # pairs hold no blanks
guest_initramfs "$INITRAMFS" "$VM_DIR/guest/bed.sh" $(modprobe_pairs)
guest_run bed-stub "" >"$WORK/stub.result" &

# The flavour with drm, mdev and VFIO.
kernel_use amd64
modules_build fakegpu
fakegpu=$MODULES/fakegpu.ko
modules_build vgpu
INITRAMFS=$WORK/vgpu
# shellcheck disable=SC2046 # pairs hold no blanks
guest_initramfs "$INITRAMFS" "$VM_DIR/guest/bed-vgpu.sh" $(modprobe_pairs) "$fakegpu:/fakegpu.ko" \
	$(kernel_modules mdev vfio-pci vfio_iommu_type1)
GUEST_MEMORY=1024 guest_run bed-vgpu "intel_iommu=on iommu=pt" -device intel-iommu -device e1000e >"$WORK/vgpu.result"
wait
tap_guest stub <"$WORK/stub.result"
tap_guest vgpu <"$WORK/vgpu.result"
tap_done
