# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# lxc-install and lxc-sync of program.sh: a host that is a directory, with one real LXC container on it that runs. Its root is a few
# programs of this machine, so that it is made anew for every try.
command -v lxc-start >/dev/null || skip "no lxc"
grep -q ' - cgroup2\? ' /proc/self/mountinfo || skip "no control groups here, so no container starts"
. "$here/tiny-root.sh"
lxcpath=$work/root/var/lib/lxc
# Mounts, nodes and logs are the host's of this boot.
except=(! -path 'root/run/*' ! -path 'root/dev/*' ! -path root/var/log ! -path 'root/var/log/*' ! -path "root/var/lib/lxc/ct/ct.log" ! -path 'root/var/lib/lxc/ct/rootfs/dev/*')
brief=(! -path 'root/run/nvdriver/live/*')

quiet() {
	lxc-stop -k -P "$lxcpath" -n ct 2>/dev/null
	awk -v at="$work/root/" 'index($5, at) == 1 { print $5 }' /proc/self/mountinfo | tac | xargs -r -n1 umount -l
}
trap quiet EXIT
# Where the shared directory cannot be had, the container gets a copy with a warning; the next run gives it the shared one and keeps
# what the copy's undo needs.
copied=no
excused() { [ "$rc" = 0 ] && grep -q 'gets a copy of the driver' out && copied=yes; }
eval "equal_$(declare -f is_new)"
is_new() { equal_is_new || { [ $copied = yes ] && nvd --root "$work/root" lxc verify ct --level static; }; }
start() { lxc-start -P "$lxcpath" -n ct || fail "the container does not start"; }
inside() { lxc-attach -P "$lxcpath" -n ct --clear-env -- "$@"; }
# What the killed run had started in the container's name-spaces is alive until it is done there.
meanwhile() {
	local n
	for ((n = 0; n < 300; n++)); do
		pgrep -f "^$NVDRIVER --store $work/store" >/dev/null || return 0
		sleep 0.1
	done
	fail "children of the killed run do not end"
}

host_make() { # VERSION: that driver is loaded
	mkdir -p root/{proc/driver/nvidia/gpus/0000:01:00.0,sys,dev,run,bin,etc/nvdriver,usr/sbin,var/lib/dpkg,var/lib/lxc/ct} store
	cp /bin/true root/bin/sh
	printf '[lxc]\nlxcpath = %s\nstart-timeout = 20\nexec-timeout = 20\nnode-wait = 1\nnode-poll-ms = 200\npause = 1\n' "$lxcpath" >root/etc/nvdriver/nvdriver.conf
	host_has "$1"
	printf 'Model: \t\t NVIDIA L40\nBus Location: \t 0000:01:00.0\nDevice Minor: \t 0\n' >root/proc/driver/nvidia/gpus/0000:01:00.0/information
	printf 'Character devices:\n195 nvidia\n511 nvidia-uvm\n\nBlock devices:\n' >root/proc/devices
	[ ! -e /sys/fs/cgroup/cgroup.controllers ] || { mkdir -p root/sys/fs/cgroup; : >root/sys/fs/cgroup/cgroup.controllers; }
	rootfs_make root/var/lib/lxc/ct/rootfs
	printf '%s\n' 'lxc.include = /usr/share/lxc/config/common.conf' 'lxc.uts.name = ct' "lxc.rootfs.path = dir:$lxcpath/ct/rootfs" \
		'lxc.net.0.type = empty' 'lxc.init.cmd = /bin/sleep infinity' 'lxc.signal.halt = SIGKILL' 'lxc.apparmor.profile = unconfined' \
		>root/var/lib/lxc/ct/config
}
host_has() { echo "NVRM version: NVIDIA UNIX x86_64 Kernel Module  $1  x" >root/proc/driver/nvidia/version; }

driver_file() { # VERSION: a run file of it, driver-VERSION.run, with what a container needs at least
	local name
	rm -rf lxc-driver
	mkdir -p lxc-driver
	printf 'NVIDIA Accelerated Graphics Driver for Linux-x86_64\n%s\n \nnvidia \n \n \n./kernel/\n./kernel/precompiled/\n' "$1" >lxc-driver/.manifest
	for name in libcuda libnvidia-ml; do
		echo "const char name_${name}[] = \"$1\";" | sed 's/-/_/' |
			gcc -shared -nostdlib -x c -Wl,-soname,$name.so.1 -o "lxc-driver/$name.so.$1" - || exit 1
		printf '%s.so.%s 0755 UTILITY_LIB NATIVE MODULE:nvml\n%s.so.1 0000 UTILITY_LIB_SYMLINK NATIVE %s.so.%s MODULE:nvml\n' \
			$name "$1" $name $name "$1" >>lxc-driver/.manifest
	done
	printf '#!/bin/sh\n' >lxc-driver/nvidia-smi
	echo 'nvidia-smi 0755 UTILITY_BINARY MODULE:nvml' >>lxc-driver/.manifest
	chmod 755 lxc-driver/nvidia-smi
	"$NVDRIVER" runfile pack lxc-driver -o "driver-$1.run" >/dev/null || exit 1
}
driver_in_store() { # VERSION
	driver_file "$1"
	"$NVDRIVER" --store store prepare "driver-$1.run" --no-modules >out 2>&1 || fail "making the fixture: driver $1"
}
lxc_install_seed() {
	rm -rf root store seed
	host_make "$version"
	chmod 755 "$work"
	driver_in_store "$version"
	mkdir seed
	mv root store seed/
}
lxc_install_command() {
	begin() { copied=no; start; }
	argv=(--root "$work/root" lxc install ct --level static --allow-missing-devices --offline)
	back() { nvd --root "$work/root" lxc remove ct; }
}

# The container has one driver and the host has loaded the next: sync makes its image and switches all containers by one rename.
next=535.1.3
lxc_sync_seed() {
	lxc_install_seed
	mv seed/root seed/store .
	driver_in_store "$next"
	nvd --root "$work/root" lxc install ct --level static --allow-missing-devices --offline || fail "making the fixture: $(cat out)"
	quiet
	mv root store seed/
}
lxc_sync_command() {
	argv=(--root "$work/root" lxc sync --level static --allow-missing-devices --offline)
	begin() { # mounts are made anew with every boot
		host_has "$version"
		nvd --root "$work/root" lxc sync --boot --offline || fail "the boot: $(cat out)"
		start
		host_has "$next"
	}
	machine_state() { echo "the container has $(inside readlink -f /usr/lib/nvdriver/current/lib/libcuda.so.1)"; }
	back() { nvd --root "$work/root" lxc rollback --all; }
}
