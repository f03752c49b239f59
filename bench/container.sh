#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The driver container beside the tools a script-based entrypoint runs, in alternation: a start whose modules are in the store, the
# peer-memory probe; or, with -c, a start with an empty store (compiles; six minutes with a real driver). A directory is the
# machine, so both sides stop where modules would be loaded.
#   bench/container.sh [-n ROUNDS] [-c] STORE    STORE: one that `nvdriver prepare apt:535.261.03 --kernel apt:amd64` filled
#   bench/container.sh -t TREE -k BUILD          the second, of an unpacked driver and a kernel's build tree
# The script's side, per start: unpack the run file, copy the user space into the root, move the sources, relink two modules from
# their interface objects (cold: compile first, then again inside the installer), copy them, depmod.
. "$(dirname "$0")/lib.sh"
rounds=3 cold='' tree='' build=''
while getopts n:ct:k: opt; do
	case $opt in
	n) rounds=$OPTARG ;;
	c) cold=1 ;;
	t) tree=$OPTARG ;;
	k) build=$OPTARG ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
if [ -n "$tree" ] && [ -n "$build" ]; then
	use_trees "$tree" "$build"
	cold=1
else
	[ $# = 1 ] || usage
	use_store "$1"
	modules=$store/modules/$(ls "$store/refs/modules/$version/proprietary/x86_64/$release" | head -1)
fi
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

unpack() {
	rm -rf "$work/script/drivers/unpacked"
	sh "$work/driver.run" --extract-only --target "$work/script/drivers/unpacked"
}
user_space() {
	(
		cd "$work/script/drivers/unpacked" || exit
		find . -maxdepth 1 -type f -print0 | xargs -0 cp -a -t ../../usr/lib64
		[ ! -d 32 ] || cp -a 32/. ../../usr/lib
		[ ! -d firmware ] || cp -a firmware ../../usr/lib/
	)
}
sources() {
	local to=$work/script/usr/src/nvidia-$version
	rm -rf "$to"
	mkdir -p "$to"
	mv "$work/script/drivers/unpacked/kernel" "$to/"
}
# link_and_install DIR: DIR has the interface objects and the other modules
link_and_install() {
	local to=$work/script/lib/modules/$release/kernel/drivers/video src=$work/script/usr/src/nvidia-$version/kernel m
	mkdir -p "$to"
	for m in "$1"/nvidia*.ko; do
		case $m in
		*/nvidia.ko) link "$1/nv-linux.o" "$src/nvidia/nv-kernel.o_binary" "$to/nvidia.ko" ;;
		*/nvidia-modeset.ko) link "$1/nv-modeset-linux.o" "$src/nvidia-modeset/nv-modeset-kernel.o_binary" "$to/nvidia-modeset.ko" ;;
		*) cp "$m" "$to/" ;;
		esac
	done
	depmod -b "$work/script" "$release"
}
# Drivers made for tests have no core object.
link() { if [ -e "$2" ]; then ld -d -r -o "$3" "$1" "$2"; else ld -d -r -o "$3" "$1"; fi; }
script_warm() { unpack && user_space && sources && link_and_install "$modules"; }
compile() { make -s -C "$work/script/usr/src/nvidia-$version/kernel" -j"$(nproc)" "$@" SYSSRC="$source" SYSOUT="$build" IGNORE_CC_MISMATCH=1 CONFIG_DEBUG_INFO_BTF_MODULES=; }
script_cold() {
	local src=$work/script/usr/src/nvidia-$version/kernel objects
	unpack && user_space && sources || return
	mapfile -t objects < <(interfaces "$src")
	compile "${objects[@]}" && compile clean && compile modules "${objects[@]}" && link_and_install "$src"
}
ours=("$nvdriver" container build --root "$work/ours" --host-root "$work/ours/proc/1/root" --offline)
# What only a container's own layer has; the user space came with the image.
new_container() { rm -rf "$work/ours/usr/lib/modules" "$work/ours/usr/src" "$work/ours/run/nvidia"; }
# As the script does it: release to RHEL version, then two looks at the list of modules. grep stands for lsmod, in its favour.
# shellcheck disable=SC2016 # for the other shell
script_probe=(bash -c 'k=$(cat "$1/proc/sys/kernel/osrelease"); v=$(echo "$k" | grep -oE "el[0-9]+_[0-9]+" | tail -1 | sed "s/el//;s/_/./")
	if grep -q "^mlx5_core " "$1/proc/modules"; then grep -q "^nvidia_peermem " "$1/proc/modules"; fi' probe "$work/ours")

warm() {
	local i j
	timed first "${ours[@]}" --store "$store"
	for ((i = 0; i < rounds; i++)); do
		timed script-warm script_warm
		new_container
		timed ours-new "${ours[@]}" --store "$store"
		timed ours-same "${ours[@]}" --store "$store"
		for ((j = 0; j < 5; j++)); do
			timed script-probe "${script_probe[@]}"
			timed ours-probe "$nvdriver" container probe_nvidia_peermem --root "$work/ours"
		done
	done
	row "warm start, new container of an image with user space" script-warm ours-new
	row "warm start, same container" script-warm ours-same
	row "peer-memory probe" script-probe ours-probe
}
cold() {
	cp "$work/driver.run" "$work/ours/drivers/NVIDIA-Linux-x86_64-$version.run"
	timed script-cold script_cold
	new_container
	timed ours-cold "${ours[@]}" --store "$work/store" --kernel-source "$build"
	row "cold start, empty store (one run)" script-cold ours-cold
}

machine "$work/ours"
machine "$work/script"
"$nvdriver" runfile pack -q "$tree" -o "$work/driver.run" --level 1 >/dev/null
heading "driver $version, kernel $release | $versus"
if [ -n "$cold" ]; then cold; else warm; fi
