#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The driver into N running LXC containers by each delivery, in alternation: time, and disk the containers take. `installer` is what
# scripts do today: the run file pushed into each container and its installer run there (a stand-in that only copies files, so in
# the installer's favour). Needs root, lxc, xfsprogs and erofs-utils; about two minutes and 6 GB with the default numbers.
#   bench/lxc.sh [-n "1 10"] [-N "50 200"] STORE    STORE: one that `nvdriver prepare apt:535.261.03` filled
#     -n   numbers of containers for every delivery    -N   numbers for the shared directory alone
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 1; }
# A mount name-space of its own takes every mount away at the end.
[ -n "${NVD_OWN_MOUNTS:-}" ] || exec env NVD_OWN_MOUNTS=1 unshare -m -- bash "$0" "$@"
. "$(dirname "$0")/lib.sh"
numbers="1 10" more="50 200"
while getopts n:N: opt; do
	case $opt in
	n) numbers=$OPTARG ;;
	N) more=$OPTARG ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
[ $# = 1 ] || usage
use_store "$1"
instances=$(cat /proc/sys/fs/inotify/max_user_instances)
running=()
at_end() {
	local c
	for c in "${running[@]}"; do lxc-stop -k -P "${c%/*}" -n "${c##*/}" 2>/dev/null || :; done
	echo "$instances" >/proc/sys/fs/inotify/max_user_instances
	awk -v at="$work/" 'index($2, at) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r -n1 umount -l 2>/dev/null || :
}
echo 1024 >/proc/sys/fs/inotify/max_user_instances

# A root of a C library and one program with many names, so that little but the driver is measured.
base=$work/base
busybox=${BUSYBOX:-$(command -v busybox || :)}
[ -n "$busybox" ] || { echo "no busybox: set BUSYBOX"; exit 1; }
mkdir -p "$base"/{dev,proc,sys,run,tmp,etc/ld.so.conf.d,var/lib,var/log,var/tmp,usr/bin,usr/sbin,usr/lib64,usr/lib/x86_64-linux-gnu}
for name in bin sbin lib lib64; do ln -s "usr/$name" "$base/$name"; done
cp "$busybox" "$base/usr/bin/busybox"
for name in $("$busybox" --list); do [ -e "$base/usr/bin/$name" ] || ln -s busybox "$base/usr/bin/$name"; done
cp /sbin/ldconfig "$base/usr/sbin/"
# What a run file's own script needs.
programs=(/usr/bin/cksum /usr/bin/md5sum /usr/bin/sha256sum /bin/tar /bin/gzip)
for name in "${programs[@]}"; do cp --remove-destination "$name" "$base/usr/bin/"; done
for name in $(ldd "$busybox" "${programs[@]}" /bin/bash 2>/dev/null | grep -o '/[^ :]*\.so[^ :]*' | sort -u); do cp -n "$name" "$base/usr/lib/x86_64-linux-gnu/"; done
cp /lib64/ld-linux-x86-64.so.2 "$base/usr/lib64/"
cp /etc/os-release "$base/etc/"
printf 'include /etc/ld.so.conf.d/*.conf\n/usr/lib/x86_64-linux-gnu\n' >"$base/etc/ld.so.conf"

# machine DIRECTORY: a host with the driver loaded, its store and its containers, all on DIRECTORY's file system
machine() {
	local host=$1/host
	mkdir -p "$host"/{proc/driver/nvidia/gpus/0000:01:00.0,sys,dev,run,bin,etc/nvdriver,var/lib/dpkg,var/lib/lxc} "$1"/store/{packages,trees,images,kernels,probes,objects,modules,refs/driver,refs/pins,keys,targets,journal,tmp}
	cp /bin/true "$host/bin/sh"
	printf '[lxc]\nlxcpath = %s/var/lib/lxc\n' "$host" >"$host/etc/nvdriver/nvdriver.conf"
	echo "NVRM version: NVIDIA UNIX x86_64 Kernel Module  $version  x" >"$host/proc/driver/nvidia/version"
	printf 'Model: \t\t NVIDIA L40\nBus Location: \t 0000:01:00.0\nDevice Minor: \t 0\n' >"$host/proc/driver/nvidia/gpus/0000:01:00.0/information"
	printf 'Character devices:\n195 nvidia\n511 nvidia-uvm\n\nBlock devices:\n' >"$host/proc/devices"
	[ ! -e /sys/fs/cgroup/cgroup.controllers ] || { mkdir -p "$host/sys/fs/cgroup"; : >"$host/sys/fs/cgroup/cgroup.controllers"; }
	chmod 700 "$1"/store/{keys,journal,tmp}
	cp "$store/format" "$1/store/"
	cp "$store/refs/driver/$version-x86_64" "$1/store/refs/driver/"
	cp -a --reflink=auto "$store/$(cat "$store/refs/driver/$version-x86_64")" "$1/store/trees/"
}
start() { # MACHINE NUMBER: c1 … cN run
	local i at=$1/host/var/lib/lxc
	for ((i = 1; i <= $2; i++)); do
		mkdir -p "$at/c$i"
		cp -a --reflink=auto "$base" "$at/c$i/rootfs"
		printf 'lxc.include = /usr/share/lxc/config/common.conf\nlxc.uts.name = c%s\nlxc.rootfs.path = dir:%s/c%s/rootfs\nlxc.net.0.type = empty\nlxc.apparmor.profile = unconfined\nlxc.init.cmd = /usr/bin/busybox sleep 100000\n' \
			$i "$at" $i >"$at/c$i/config"
		lxc-start -P "$at" -n "c$i"
		running+=("$at/c$i")
	done
}
stop() { # MACHINE
	local c
	for c in "${running[@]}"; do lxc-stop -k -P "${c%/*}" -n "${c##*/}"; done
	running=()
	rm -rf "$1"/host/var/lib/lxc/c* "$1"/store/targets/lxc-c*
	sync -f "$1"
}
used_kb() { sync -f "$1"; df -k --output=used "$1" | tail -1; }
install() { # MACHINE NUMBER DELIVERY
	local names
	mapfile -t names < <(seq -f 'c%g' 1 "$2")
	"$work/measure" "$work/samples/${4:-unused}" "$nvdriver" -q --root "$1/host" --store "$1/store" lxc install "${names[@]}" --delivery "$3" \
		--level static --allow-missing-devices --offline || failed "lxc install"
}
# measure LABEL MACHINE DELIVERY NUMBER: one row
measure() {
	local before after
	start "$2" "$4"
	begin first again
	before=$(used_kb "$2")
	install "$2" "$4" "$3" first
	after=$(used_kb "$2")
	install "$2" "$4" "$3" again
	cells "$4 x $1" "$(us "$(sample first 1)")" "$(us $(($(sample first 1) / $4)))" "$(us "$(sample again 1)")" "$(kb $((after - before)))" "$(kb "$(sample first 3)")"
	stop "$2"
}

# File systems of their own: nobody else writes there.
for m in copy reflink; do
	mkdir -p "$work/$m"
	truncate -s 60G "$work/$m.xfs"
	mkfs.xfs -q -m "reflink=$([ $m = copy ] && echo 0 || echo 1)" "$work/$m.xfs"
	mount -o loop "$work/$m.xfs" "$work/$m"
done
package=$work/package
mkdir -p "$package"
cp -a "$tree/." "$package/"
rm -rf "$package/kernel" "$package/kernel-open" "$package/firmware" "$package/html"
grep -vE '^(kernel|kernel-open|firmware|html)/' "$tree/.manifest" >"$package/.manifest.new"
mv -f "$package/.manifest.new" "$package/.manifest"
sed "s/@VERSION@/$version/g; s/@NO_OPTIONS@//" "$top/tests/lib/lxc-installer" >"$package/nvidia-installer"
chmod 755 "$package/nvidia-installer"
"$nvdriver" runfile pack -q "$package" -o "$work/NVIDIA-Linux-x86_64-$version.run" --compression gzip --level 1 >/dev/null
rm -rf "$package"
for m in copy reflink; do machine "$work/$m"; done
"$nvdriver" -q --root "$work/copy/host" --store "$work/copy/store" lxc cache add "$work/NVIDIA-Linux-x86_64-$version.run" >/dev/null
# What all share is made once: views and the image.
for m in copy reflink; do
	start "$work/$m" 1
	install "$work/$m" 1 tree >/dev/null
	[ $m = reflink ] || install "$work/$m" 1 shared >/dev/null
	stop "$work/$m"
done

size=$(stat -c %s "$work"/*.run | awk '{ printf "%d MB", $1 / 1e6 }')
heading "compute profile; installer: a run file of $size | all | each | second run | disk, all | memory"
for n in $numbers; do
	measure shared "$work/copy" shared "$n"
	measure "tree, reflinks" "$work/reflink" tree "$n"
	measure "tree, copies" "$work/copy" tree "$n"
	measure installer "$work/copy" run "$n"
done
for n in $more; do measure shared "$work/copy" shared "$n"; done
