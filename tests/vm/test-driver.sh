#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The real driver, 535.261.03 with open modules, on a simulated A100. The modules, nvidia-smi and the firmware are
# the vendor's; the card is a register file, so everything up to the adapter's start is real and that start fails.
. "$(dirname "$0")/lib.sh"
. "$VM_DIR/lib/driver.sh"

kernel_use amd64
driver_modules
modules_build stub
STUB=$MODULES
modules_build fakegpu
locked packages pkg_fetch firmware-nvidia-gsp="$DRIVER_VERSION-1"
smi=$(driver_smi "$DRIVER_VERSION"; driver_smi "$DRIVER_OTHER"; driver_runtime_libs)

INITRAMFS=$WORK/initramfs
# shellcheck disable=SC2046,SC2086 # pairs hold no blanks
guest_initramfs "$INITRAMFS" "$VM_DIR/guest/driver.sh" "$DRIVER_MODULES:/modules/driver" \
	"$MODULES/fakegpu.ko:/fakegpu.ko" "$STUB/nouveau.ko:/nouveau.ko" \
	"$PKG_ROOT/lib/firmware/nvidia/$DRIVER_VERSION:/firmware/nvidia/$DRIVER_VERSION" \
	$(kernel_modules drm drm_kms_helper video) $smi
GUEST_MEMORY=1536
# The last half is memory the kernel does not know of: the simulated card's registers.
tap_guest driver < <(guest_run driver "mem=512M")
tap_done
