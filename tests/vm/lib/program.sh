# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The program under test: $NVDRIVER when set, else an ordinary build (no sanitizers: a guest has one slow core)
# of this checkout kept in the cache.

program_build_unlocked() {
	local build=$CACHE/nvdriver-build

	[ -e "$build/build.ninja" ] ||
		meson setup "$build" "$SRC_DIR" --buildtype=debugoptimized >"$LOG_DIR/meson" 2>&1 || {
		rm -rf "$build"
		echo "Bail out! nvdriver cannot be configured, see $LOG_DIR/meson"
		exit 1
	}
	ninja -C "$build" src/cli/nvdriver data/gpu_info.db >"$LOG_DIR/ninja" 2>&1 || {
		grep -A5 'error' "$LOG_DIR/ninja" | head -20
		echo "Bail out! nvdriver does not build, see $LOG_DIR/ninja"
		exit 1
	}
	strip -g -o "$CACHE/nvdriver.tmp" "$build/src/cli/nvdriver"
	# The same bytes keep their time stamp, so what is made from them stays.
	cmp -s "$CACHE/nvdriver.tmp" "$CACHE/nvdriver" || mv "$CACHE/nvdriver.tmp" "$CACHE/nvdriver"
}

if [ -z "${NVDRIVER:-}" ]; then
	need_program meson:meson ninja:ninja-build
	locked program program_build_unlocked
	NVDRIVER=$CACHE/nvdriver
fi
# Copied out of its build tree it would look for its data where it is installed.
export NVDRIVER_DATADIR=${NVDRIVER_DATADIR:-$SRC_DIR/data}

# The tables of the vGPU role, made when the program is built: the directory they are in.
pve_tables() {
	local build tables=''
	for build in "${NVDRIVER%/src/cli/nvdriver}" "$CACHE/nvdriver-build"; do
		[ ! -e "$build/data/gpu_info.db" ] || tables=$build/data
	done
	echo "$tables"
}

# "source:destination" of what guest/vgpu/host.sh makes a Proxmox VE host of: the tables, which are made when the program is
# built, the library that reads them, and the stand-ins.
pve_host_pairs() {
	local tables sqlite
	tables=$(pve_tables)
	sqlite=$(ldconfig -p | sed -n 's/.*libsqlite3\.so\.0 .* => //p' | head -n 1)
	# Said where a guest would only fail for want of it.
	[ -n "$tables" ] && [ -n "$sqlite" ] || { echo "no gpu_info.db beside the program, or no libsqlite3" >&2; return 1; }
	echo "$tables/gpu_info.db:/data/gpu_info.db" "$sqlite:$sqlite" "$VM_DIR/guest/vgpu/host.sh:/host.sh" "$VM_DIR/guest/vgpu/tool.sh:/tool.sh"
	program_libs "$sqlite"
}

# stand_in_driver MODULES DIRECTORY VERSION: a host driver there whose installer (guest/vgpu/nvidia-installer) installs these
# modules; sets DRIVER to its path.
stand_in_driver() {
	local tree=$2/tree module
	mkdir -p "$tree/kernel"
	cp "$1"/*.ko "$tree/kernel/"
	cp "$VM_DIR/guest/vgpu/nvidia-installer" "$tree/"
	{
		printf '%s\n' 'NVIDIA Accelerated Graphics Driver for Linux-x86_64' "$3" ' ' 'nvidia nvidia-vgpu-vfio ' ' ' ' ' ./kernel/ \
			./kernel/precompiled/ 'nvidia-installer 0755 INSTALLER_BINARY'
		for module in "$tree"/kernel/*.ko; do
			echo "kernel/${module##*/} 0644 KERNEL_MODULE_SRC INHERIT_PATH_DEPTH:1 MODULE:resman"
		done
	} >"$tree/.manifest"
	# shellcheck disable=SC2034 # for the test
	DRIVER=$2/NVIDIA-Linux-x86_64-$3-vgpu-kvm.run
	"$NVDRIVER" runfile pack "$tree" -o "$DRIVER" --kind vgpu-kvm --compression gzip >/dev/null
}
