#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The bed itself, with the kernel's own tools: what the stand-in modules do and how the kernel answers. When a test
# of nvdriver fails and this one too, the bed or the kernel has changed, not the program.
. "$(dirname "$0")/lib.sh"

kernel_use cloud-amd64
modules_build stub
INITRAMFS=$WORK/initramfs
pairs=()
for module in "$MODULES"/*.ko; do
	pairs+=("$module:/lib/modules/$RELEASE/updates/${module##*/}")
done
guest_initramfs "$INITRAMFS" "$VM_DIR/guest/bed.sh" "${pairs[@]}"
tap_guest bed < <(guest_run bed "")
tap_done
