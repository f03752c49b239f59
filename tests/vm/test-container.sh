#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The driver container in its own surroundings: a node with systemd, podman and a kernel that loads modules. Our binary runs
# as the operator starts it, `nvidia-driver init` until SIGTERM, with stand-in modules. Run file, modules and store are made on
# the machine; no container holds a compiler.
. "$(dirname "$0")/lib.sh"
. "$VM_DIR/lib/driver.sh" # driver_share
. "$VM_DIR/lib/system.sh"
. "$VM_DIR/lib/stubdriver.sh"
. "$VM_DIR/lib/containerroot.sh"

kernel_use amd64
modules_build stub
stub=$MODULES
modules_build fakegpu
system_image
stub_driver

bed=$WORK/bed
mkdir -p "$bed/modules"
container_tree "$bed/container"
# Parameter files as people write them.
printf '# for the test\r\n\r\nNVreg_EnableGpuFirmware=18 NVreg_RegistryDwords="a=1;b=2"\r\n' >"$bed/container/drivers/nvidia.conf"
printf 'uvm_debug_prints=1' >"$bed/container/drivers/nvidia-uvm.conf"
printf 'peerdirect_support=1\n' >"$bed/container/drivers/nvidia-peermem.conf"
cp "$STUB_DRIVER"/*.run "$bed/container/drivers/"
cp -r "$STUB_DRIVER/store" "$bed/store"
cp "$stub/outsider.ko" "$stub/mlx5_core.ko" "$MODULES/fakegpu.ko" "$bed/modules/"
cat "$VM_DIR/guest/"{assert,container-node,container}.sh >"$bed/test.sh"

GUEST_MEMORY=1536
GUEST_TIMEOUT=600       # a minute on a core of its own, ten when many share it
SYSTEM_MODULES="drm drm_kms_helper video ipmi_msghandler ipmi_devintf"
tap_guest container < <(system_run container "$bed" "")
tap_done
