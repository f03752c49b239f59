#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# nvdriver load and unload with stand-in modules: order, parameters, firmware directory, use counts, holders, who
# keeps a module, and what is left when something fails half way.
. "$(dirname "$0")/lib.sh"

kernel_use amd64
modules_build stub
OTHER_KERNEL=$MODULES
kernel_use cloud-amd64
modules_build stub STUB_VERSION=535.309.01
OTHER_VERSION=$MODULES
modules_build stub

mkdir "$WORK/incomplete" "$WORK/truncated"
cp "$MODULES/nvidia-uvm.ko" "$WORK/incomplete/"
cp "$MODULES"/nvidia*.ko "$WORK/truncated/"
truncate -s 2000 "$WORK/truncated/nvidia.ko"

INITRAMFS=$WORK/initramfs
# Peer memory is for machines with a network driver: tests/vm/test-container.sh loads it.
cp -r "$MODULES" "$WORK/good"
rm "$WORK/good/nvidia-peermem.ko"
guest_initramfs "$INITRAMFS" "$VM_DIR/guest/lifecycle.sh" "$WORK/good:/modules/good" "$OTHER_KERNEL:/modules/other-kernel" \
	"$OTHER_VERSION:/modules/other-version" "$WORK/incomplete:/modules/incomplete" "$WORK/truncated:/modules/truncated"
tap_guest lifecycle < <(guest_run lifecycle "nvidia.NVreg_OpenRmEnableUnsupportedGpus=1")
tap_done
