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

# container_tree DIRECTORY: what an image holds: a C library, a shell, kmod, our binary under its names.
container_tree() {
	local to=$1 name
	mkdir -p "$to"/{etc,dev,proc,sys,tmp,run,drivers,var/lib,usr/bin,usr/sbin,usr/lib64,usr/lib/x86_64-linux-gnu,usr/local/bin}
	for name in bin sbin lib lib64; do
		ln -s "usr/$name" "$to/$name"
	done
	ln -s ../run "$to/var/run"
	echo /usr/lib/x86_64-linux-gnu >"$to/etc/ld.so.conf"
	cp /etc/os-release "$to/etc/os-release"
	copy_pairs "$to" "$PKG_ROOT/bin/busybox:/bin/busybox" /sbin/ldconfig:/sbin/ldconfig "$NVDRIVER:/usr/local/bin/nvidia-driver"
	# shellcheck disable=SC2046 # pairs hold no blanks
	copy_pairs "$to" $(program_libs /bin/kmod "$NVDRIVER") /bin/kmod:/bin/kmod
	ln -s busybox "$to/usr/bin/sh"
	ln -s ../bin/kmod "$to/usr/sbin/depmod"
	ln -s nvidia-driver "$to/usr/local/bin/nvdriver"
	# Parameter files as people write them.
	printf '# for the test\r\n\r\nNVreg_EnableGpuFirmware=18 NVreg_RegistryDwords="a=1;b=2"\r\n' >"$to/drivers/nvidia.conf"
	printf 'uvm_debug_prints=1' >"$to/drivers/nvidia-uvm.conf"
	printf 'peerdirect_support=1\n' >"$to/drivers/nvidia-peermem.conf"
}

kernel_use amd64
modules_build stub
stub=$MODULES
modules_build fakegpu
system_image
stub_driver

bed=$WORK/bed
mkdir -p "$bed/modules"
container_tree "$bed/container"
cp "$STUB_DRIVER"/*.run "$bed/container/drivers/"
cp -r "$STUB_DRIVER/store" "$bed/store"
cp "$stub/outsider.ko" "$stub/mlx5_core.ko" "$MODULES/fakegpu.ko" "$bed/modules/"
cat "$VM_DIR/guest/assert.sh" "$VM_DIR/guest/container.sh" >"$bed/test.sh"

GUEST_MEMORY=1536
GUEST_TIMEOUT=600       # a minute on a core of its own, ten when many share it
SYSTEM_MODULES="drm drm_kms_helper video ipmi_msghandler ipmi_devintf"
tap_guest container < <(system_run container "$bed" "")
tap_done
