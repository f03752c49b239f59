#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# LXC containers on a systemd host with cgroup v2 alone and the real driver loaded, on a simulated A100: what NVML says in a
# container without passthrough, with it, and with the user space of another version; and that `lxc sync` sets it right in a
# container that runs all the time, called by hand or by the announcement of the module. An image on a file system with fs-verity. Run files are packed from the real files of two versions.
. "$(dirname "$0")/lib.sh"
. "$VM_DIR/lib/driver.sh"
. "$VM_DIR/lib/system.sh"
. "$VM_DIR/lib/containerroot.sh"

# user_space VERSION STORE: libcuda, NVML and nvidia-smi of that driver in a store, as from a run file
user_space() {
	local version=$1 store=$2 tree name to=$WORK/package
	tree=$DRIVER_STORE/$(cat "$DRIVER_STORE/refs/driver/$version-x86_64")/root
	rm -rf "$to"
	mkdir -p "$to"
	cp "$tree/libcuda.so.$version" "$tree/libnvidia-ml.so.$version" "$tree/nvidia-smi" "$to/"
	printf '#!/bin/sh\n' >"$to/nvidia-installer"
	printf 'NVIDIA Accelerated Graphics Driver for Linux-x86_64\n%s\n \nnvidia \n \n \n./kernel/\n./kernel/precompiled/\n' "$version" >"$to/.manifest"
	for name in libcuda libnvidia-ml; do
		printf '%s.so.1 0000 UTILITY_LIB_SYMLINK NATIVE %s.so.%s MODULE:nvml\n%s.so.%s 0644 UTILITY_LIB NATIVE MODULE:nvml\n' \
			"$name" "$name" "$version" "$name" "$version" >>"$to/.manifest"
	done
	echo 'nvidia-smi 0755 UTILITY_BINARY MODULE:nvml' >>"$to/.manifest"
	name=$WORK/NVIDIA-Linux-x86_64-$version.run
	if ! "$NVDRIVER" runfile pack -q "$to" -o "$name" --level 1 >"$LOG_DIR/lxc-store" 2>&1 ||
		! "$NVDRIVER" --store "$store" prepare "$name" --no-modules >>"$LOG_DIR/lxc-store" 2>&1; then
		tail -5 "$LOG_DIR/lxc-store"
		echo "Bail out! no store with driver $version, see $LOG_DIR/lxc-store"
		exit 1
	fi
}

# The root of every container: a C library, a shell, what nvidia-smi needs.
lxc_root() {
	local to=$1 name
	container_tree "$to"
	printf "include /etc/ld.so.conf.d/*.conf\n/usr/lib/x86_64-linux-gnu\n" >"$to/etc/ld.so.conf"
	for name in libpthread.so.0 libdl.so.2 librt.so.1 libm.so.6; do
		cp "/lib/x86_64-linux-gnu/$name" "$to/usr/lib/x86_64-linux-gnu/"
	done
	for name in true ls cat sleep touch; do
		ln -s busybox "$to/usr/bin/$name"
	done
	gcc -D_GNU_SOURCE -O1 -o "$to/usr/bin/dlopen-loop" "$SRC_DIR/tests/real/dlopen-loop.c" -ldl || tap_cannot_run "gcc cannot make a program"
}

kernel_use amd64
locked driver driver_prepare
modules_build fakegpu
system_image
driver_root "$DRIVER_VERSION"

bed=$WORK/bed
mkdir -p "$bed/modules"
cp "$MODULES/fakegpu.ko" "$bed/modules/"
lxc_root "$bed/root"
for version in "$DRIVER_VERSION" "$DRIVER_OTHER"; do
	user_space "$version" "$bed/store"
done
# The program and the libraries the guest's system does not have.
# shellcheck disable=SC2046 # pairs hold no blanks
copy_pairs "$bed/program" "$NVDRIVER:/nvdriver" $(program_libs "$NVDRIVER" | sed 's,:.*/,:/lib/,')
cp -r "$NVDRIVER_DATADIR" "$bed/program/data"
cat "$VM_DIR/guest/"{assert,lxc}.sh >"$bed/test.sh"

mapfile -t shares < <(
	driver_share driver "$DRIVER_STORE"
	driver_share own "$DRIVER_ROOT"
)
# Memory above 1.5 GiB is hidden from the kernel: the simulated card's registers lie there.
GUEST_MEMORY=2048
GUEST_TIMEOUT=900
SYSTEM_MODULES="drm drm_kms_helper video ipmi_msghandler ipmi_devintf erofs loop veth"
tap_guest lxc < <(system_run lxc "$bed" "mem=1536M" "${shares[@]}")
tap_done
