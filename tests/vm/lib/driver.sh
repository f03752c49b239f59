# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The real driver for the guests: open modules, compiled once per kernel and kept, and the distribution's own
# nvidia-smi with its library in two versions.

DRIVER_VERSION=535.261.03
DRIVER_OTHER=535.309.01         # user space that does not fit the modules

driver_build_unlocked() {
	local to=$1 tmp=$1.tmp abi=${RELEASE%-amd64} src
	[ ! -d "$to" ] || return 0
	locked packages pkg_fetch nvidia-open-kernel-dkms="$DRIVER_VERSION-1"
	rm -rf "$tmp"
	cp -r "$PKG_ROOT/usr/src/nvidia-current-open-$DRIVER_VERSION" "$tmp"
	# Without debug data the link and the copies are a tenth.
	strip -g "$tmp/nvidia/nv-kernel.o_binary" "$tmp/nvidia-modeset/nv-modeset-kernel.o_binary"
	src=$PKG_ROOT/usr/src/linux-headers-$abi-common
	# Kernels from 6.1.187 on gave pci_resize_resource() a fourth argument.
	if grep -A1 pci_resize_resource "$src/include/linux/pci.h" | grep -q exclude_bars; then
		sed -i 's/\(pci_resize_resource(pci_dev, NV_GPU_BAR1, requested_size\))/\1, 0)/' "$tmp/nvidia/nv-pci.c"
	fi
	if ! nice make -C "$tmp" -j"$(nproc)" modules KERNEL_UNAME="$RELEASE" SYSSRC="$src" \
		SYSOUT="$PKG_ROOT/usr/src/linux-headers-$RELEASE" IGNORE_CC_MISMATCH=1 KCFLAGS=-g0 \
		>"$LOG_DIR/build-driver" 2>&1; then
		grep -m5 'error:' "$LOG_DIR/build-driver" || tail -5 "$LOG_DIR/build-driver"
		echo "Bail out! driver $DRIVER_VERSION does not build for $RELEASE, see $LOG_DIR/build-driver"
		exit 1
	fi
	mkdir -p "$to.new"
	cp "$tmp"/*.ko "$to.new/"
	mv "$to.new" "$to"
	rm -rf "$tmp"
}
