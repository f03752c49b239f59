#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The real driver, 535.261.03 with open modules, on a simulated A100: prepared and installed by nvdriver on the machine,
# loaded, looked at and unloaded by nvdriver in the guest. Modules, nvidia-smi and firmware are the vendor's; the card is a
# register file, so everything up to the adapter's start is real and that start fails.
. "$(dirname "$0")/lib.sh"
. "$VM_DIR/lib/driver.sh"

kernel_use amd64
locked driver driver_prepare
driver_root "$DRIVER_VERSION"
own=$DRIVER_ROOT
driver_root "$DRIVER_OTHER"
other=$DRIVER_ROOT
kernel_use cloud-amd64
modules_build stub
wrong_kernel=$MODULES
kernel_use amd64
modules_build stub
stub=$MODULES
modules_build fakegpu

INITRAMFS=$WORK/initramfs
# shellcheck disable=SC2046 # pairs hold no blanks
guest_initramfs "$INITRAMFS" "$VM_DIR/guest/driver.sh" "$MODULES/fakegpu.ko:/fakegpu.ko" "$stub/nouveau.ko:/nouveau.ko" \
	"$wrong_kernel:/modules/wrong-kernel" $(kernel_modules drm drm_kms_helper video 9p 9pnet_virtio virtio_pci)
mapfile -t shares < <(
	driver_share store "$DRIVER_STORE"
	driver_share own "$own"
	driver_share other "$other"
)
GUEST_MEMORY=1536
# Memory above 512 MiB is hidden from the kernel: the simulated card's registers lie there.
tap_guest driver < <(guest_run driver "mem=512M" "${shares[@]}")
tap_done
