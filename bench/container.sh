#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The driver container beside the tools a script-based entrypoint runs, in alternation, as ratios: a start whose modules are in the
# store, the peer-memory probe and, with -c, a start with an empty store (compiles; minutes). A directory is the machine, so both
# sides stop where modules would be loaded.
#   bench/container.sh [-n ROUNDS] [-c] STORE    STORE: one that `nvdriver prepare apt:535.261.03 --kernel apt:amd64` filled
# The script's side, per start: unpack the run file, copy the user space into the root, move the sources, relink two modules from
# their interface objects (cold: compile first, then again inside the installer), copy them, depmod.
set -euo pipefail
export LC_ALL=C
top=$(cd "$(dirname "$0")/.." && pwd)
nvdriver=$(realpath "${NVDRIVER:-$top/build/src/cli/nvdriver}")
rounds=3 cold=
while getopts n:c opt; do
	case $opt in
	n) rounds=$OPTARG ;;
	c) cold=1 ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
store=$(realpath "${1:?usage: bench/container.sh [-n ROUNDS] [-c] STORE}") version=${VERSION:-535.261.03}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/nvd-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
tree=$store/$(cat "$store/refs/driver/$version-x86_64")/root
release=$(ls "$store/refs/kernels/x86_64" | tail -1)
kernel=$store/$(cat "$store/refs/kernels/x86_64/$release")
modules=$store/modules/$(ls "$store/refs/modules/$version/proprietary/x86_64/$release" | head -1)
field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }
export DRIVER_VERSION=$version TARGETARCH=amd64 KERNEL_MODULE_TYPE=proprietary

machine() { # ROOT
	mkdir -p "$1"/{drivers,dev,etc,run,tmp,var/lib,usr/bin,usr/lib,usr/lib64,proc/sys/kernel,proc/1/root/sys,proc/1/root/var/lib,sys/module/mlx5_core,sys/module/nvidia_peermem}
	ln -s usr/lib64 "$1/lib64"
	ln -s usr/lib "$1/lib"
	cp -L "$(ldconfig -p | awk '/libc.so.6 .*x86-64/ { print $NF; exit }')" "$1/usr/lib64/libc.so.6"
	printf 'ID="rhel"\nVERSION_ID="9.2"\n' >"$1/etc/os-release"
	echo "$release" >"$1/proc/sys/kernel/osrelease"
	printf 'mlx5_core 1 0 - Live 0x0\nnvidia_peermem 1 0 - Live 0x0\n' >"$1/proc/modules"
	echo 0 >"$1/sys/module/mlx5_core/refcnt"
	echo 0 >"$1/sys/module/nvidia_peermem/refcnt"
}
now_us() { echo $(($(date +%s%N) / 1000)); }
# timed FILE COMMAND...: microseconds, one more line of FILE
timed() {
	local to=$1 start
	shift
	start=$(now_us)
	"$@" >"$work/log" 2>&1 || { echo "failed: $*"; tail -5 "$work/log"; exit 1; }
	echo $(($(now_us) - start)) >>"$to"
}
median() { sort -n "$1" | sed -n "$((($(wc -l <"$1") + 1) / 2))p"; }
row() { awk -v n="$1" -v a="$(median "$work/$2")" -v b="$(median "$work/$3")" 'BEGIN { printf "%-52s %9.1f ms %9.1f ms %8.1f x\n", n, a / 1000, b / 1000, a / b }'; }

unpack() {
	rm -rf "$work/script/drivers/unpacked"
	sh "$work/driver.run" --extract-only --target "$work/script/drivers/unpacked"
}
user_space() { (cd "$work/script/drivers/unpacked" && find . -maxdepth 1 -type f -print0 | xargs -0 cp -a -t ../../usr/lib64 && { [ ! -d 32 ] || cp -a 32/. ../../usr/lib; } && cp -a firmware ../../usr/lib/); }
sources() {
	local to=$work/script/usr/src/nvidia-$version
	rm -rf "$to"
	mkdir -p "$to"
	mv "$work/script/drivers/unpacked"/{LICENSE,kernel} "$to/"
}
# link_and_install DIR: DIR has the interface objects and the other modules
link_and_install() {
	local to=$work/script/lib/modules/$release/kernel/drivers/video src=$work/script/usr/src/nvidia-$version/kernel
	mkdir -p "$to"
	ld -d -r -o "$to/nvidia.ko" "$1/nv-linux.o" "$src/nvidia/nv-kernel.o_binary"
	ld -d -r -o "$to/nvidia-modeset.ko" "$1/nv-modeset-linux.o" "$src/nvidia-modeset/nv-modeset-kernel.o_binary"
	cp "$1"/nvidia-{uvm,drm,peermem}.ko "$to/"
	depmod -b "$work/script" "$release"
}
script_warm() { unpack && user_space && sources && link_and_install "$modules"; }
compile() {
	make -s -C "$work/script/usr/src/nvidia-$version/kernel" -j"$(nproc)" "$@" SYSSRC="$source" SYSOUT="$build" IGNORE_CC_MISMATCH=1 CONFIG_DEBUG_INFO_BTF_MODULES=
}
script_cold() {
	unpack && user_space && sources && compile nv-linux.o nv-modeset-linux.o || return
	compile clean && compile modules nv-linux.o nv-modeset-linux.o && link_and_install "$work/script/usr/src/nvidia-$version/kernel"
}
ours() { "$nvdriver" container build --root "$work/ours" --host-root "$work/ours/proc/1/root" --offline "$@"; }
# What only a container's own layer has; the user space came with the image.
new_container() { rm -rf "$work/ours/usr/lib/modules" "$work/ours/usr/src" "$work/ours/run/nvidia"; }
# As the script does it: release to RHEL version, then two looks at the list of modules. grep stands for lsmod, in its favour.
script_probe() {
	bash -c 'k=$(cat "$1/proc/sys/kernel/osrelease"); v=$(echo "$k" | grep -oE "el[0-9]+_[0-9]+" | tail -1 | sed "s/el//;s/_/./")
		if grep -q "^mlx5_core " "$1/proc/modules"; then grep -q "^nvidia_peermem " "$1/proc/modules"; fi' probe "$work/ours"
}

machine "$work/ours"
machine "$work/script"
"$nvdriver" runfile pack -q "$tree" -o "$work/driver.run" --level 1 >/dev/null
ours --store "$store" >/dev/null 2>&1
for ((i = 0; i < rounds; i++)); do
	timed "$work/script-warm" script_warm
	new_container
	timed "$work/ours-new" ours --store "$store"
	timed "$work/ours-same" ours --store "$store"
	for ((j = 0; j < 5; j++)); do
		timed "$work/script-probe" script_probe
		timed "$work/ours-probe" "$nvdriver" container probe_nvidia_peermem --root "$work/ours"
	done
done
printf '%-52s %12s %12s %10s\n' "driver $version, kernel $release, median of $rounds" script nvdriver ratio
row "warm start, new container of an image with user space" script-warm ours-new
row "warm start, same container" script-warm ours-same
row "peer-memory probe" script-probe ours-probe
[ -n "$cold" ] || exit 0
build=$(realpath "$kernel/root/$(field "$kernel/record.json" build_rel)")
source=$(realpath "$kernel/root/$(field "$kernel/record.json" source_rel)")
cp "$work/driver.run" "$work/ours/drivers/NVIDIA-Linux-x86_64-$version.run"
timed "$work/script-cold" script_cold
new_container
timed "$work/ours-cold" ours --store "$work/store" --kernel-source "$build"
row "cold start, empty store (one run)" script-cold ours-cold
