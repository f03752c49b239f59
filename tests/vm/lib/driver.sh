# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The real driver for the guests: its open modules, compiled once per kernel and kept, and the distribution's own
# nvidia-smi with its library in two versions. Sourced by the tests that need it.

DRIVER_VERSION=535.261.03
# User space that does not fit the modules.
# shellcheck disable=SC2034 # for the tests
DRIVER_OTHER=535.309.01

driver_build_unlocked() {
	local to=$1 tmp=$1.tmp abi=${RELEASE%-amd64} common
	[ ! -d "$to" ] || return 0
	locked packages pkg_fetch nvidia-open-kernel-dkms="$DRIVER_VERSION-1"
	rm -rf "$tmp"
	cp -r "$PKG_ROOT/usr/src/nvidia-current-open-$DRIVER_VERSION" "$tmp"
	# Without debug data the link and every copy are a tenth.
	strip -g "$tmp/nvidia/nv-kernel.o_binary" "$tmp/nvidia-modeset/nv-modeset-kernel.o_binary"
	common=$PKG_ROOT/usr/src/linux-headers-$abi-common
	# Kernels from 6.1.187 on gave pci_resize_resource() a fourth argument.
	if grep -A1 pci_resize_resource "$common/include/linux/pci.h" | grep -q exclude_bars; then
		sed -i 's/\(pci_resize_resource(pci_dev, NV_GPU_BAR1, requested_size\))/\1, 0)/' "$tmp/nvidia/nv-pci.c"
	fi
	if ! make -C "$tmp" -j"$(nproc)" modules KERNEL_UNAME="$RELEASE" SYSSRC="$common" \
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

# Sets DRIVER_MODULES to a directory with the real open modules for the kernel in use.
driver_modules() {
	DRIVER_MODULES=$CACHE/modules/$RELEASE/driver-$DRIVER_VERSION
	mkdir -p "${DRIVER_MODULES%/*}"
	locked driver driver_build_unlocked "$DRIVER_MODULES"
}

# What nvidia-smi opens with dlopen() and a plain root therefore needs beside its libraries.
driver_runtime_libs() {
	local name
	for name in libpthread.so.0 libdl.so.2 librt.so.1 libm.so.6; do
		echo "/lib/x86_64-linux-gnu/$name:/lib/x86_64-linux-gnu/$name"
	done
}

# "source:destination" of nvidia-smi VERSION and its library, taken from the packages, in /smi/VERSION.
driver_smi() {
	local to=$CACHE/smi/$1 version
	version=$(pkg_apt apt-cache madison nvidia-smi | awk -v v="$1-" 'index($3, v) == 1 { print $3; exit }')
	[ -n "$version" ] || tap_cannot_run "package nvidia-smi $1 is not to be had"
	locked packages pkg_fetch_into "$to" "nvidia-smi=$version" "libnvidia-ml1=$version" >&2
	echo "$to/usr/lib/nvidia/current/nvidia-smi:/smi/$1/nvidia-smi"
	echo "$(echo "$to"/usr/lib/x86_64-linux-gnu/nvidia/current/libnvidia-ml.so.*.*.*):/smi/$1/libnvidia-ml.so.1"
	program_libs "$to/usr/lib/nvidia/current/nvidia-smi"
}
