#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Device permission in real containers, decided by the kernel: on this machine's layout of cgroups, and on one that has cgroup2
# alone. Nodes have no driver behind them: what is let through ends with "no such device", what is not with "not permitted".
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
# shellcheck source=tests/cli/lib.sh
. "$top/tests/cli/lib.sh"
# shellcheck source=tests/lib/lxc-machine.sh
. "$top/tests/lib/lxc-machine.sh"
private_or_skip "$0" "$@"
cgroups_or_skip
machine_or_skip
[ -e /sys/fs/cgroup/cgroup.controllers ] && layouts=pure || layouts="hybrid pure"

# Two GPUs, of which the container gets the second; capabilities and UVM with numbers of their own.
mkdir -p "$host"/proc/driver/nvidia/{gpus/0000:02:00.0,capabilities/mig} "$host/usr/local/phoenix_hypervisor/etc"
printf 'Model: \t\t NVIDIA L40\nBus Location: \t 0000:02:00.0\nDevice Minor: \t 1\n' >"$host/proc/driver/nvidia/gpus/0000:02:00.0/information"
for cap in 'config 1' 'monitor 2'; do
	printf 'DeviceFileMinor: %s\nDeviceFileMode: 256\nDeviceFileModify: 1\n' "${cap#* }" >"$host/proc/driver/nvidia/capabilities/mig/${cap% *}"
done
printf 'Character devices:\n195 nvidia\n234 nvidia-caps\n507 nvidia-uvm\n\nBlock devices:\n' >"$host/proc/devices"

devices() { run --root "$host" lxc devices ct --mig --allow-missing-devices; [ "$rc" = 0 ] || sed 's/^/# /' "$work/out" "$work/err" | head; }
opened() { # NODE MAJOR MINOR: what opening a node of this number says, made by the container's own root
	inside ct sh -c "rm -f /tmp/n; mknod /tmp/n c $2 $3; exec 3<>/tmp/n" 2>&1 | grep -oiE 'no such device|not permitted' | sed "s|^|$1 |I"
}
answers() {
	opened gpu1 195 1
	opened ctl 195 255
	opened uvm 507 0
	opened tools 507 1
	opened cap1 234 1
	opened cap2 234 2
	opened gpu0 195 0
	opened modeset 195 254
	opened cap3 234 3
	opened disk 259 0
	opened olduvm 243 0
}
want='gpu1 No such device
ctl No such device
uvm No such device
tools No such device
cap1 No such device
cap2 No such device
gpu0 not permitted
modeset not permitted
cap3 not permitted
disk not permitted
olduvm not permitted'

for layout in $layouts; do
	if [ "$layout" = pure ] && [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then
		if ! umount -R /sys/fs/cgroup || ! mount -t cgroup2 none /sys/fs/cgroup; then
			skip "cgroup2 alone" "it cannot be mounted here"
			continue
		fi
		mkdir -p "$host/sys/fs/cgroup"
		: >"$host/sys/fs/cgroup/cgroup.controllers"
	fi
	rm -rf "$host"/dev/nvidia*
	printf '{"lxc_configs":{"ct":{"features":["nvidia"],"gpu_assignment":"1"}}}' >"$host/usr/local/phoenix_hypervisor/etc/phoenix_lxc_configs.json"
	container ct
	cp "$lxcpath/ct/config" "$work/config.before"
	devices
	equals "$layout: devices of a stopped container" "$rc" 0
	lxc-start -P "$lxcpath" -n ct || { not_ok "$layout: it starts"; break; }
	equals "$layout: what is assigned is let through, and nothing else" "$(answers)" "$want"
	check "$layout: the other GPU's node is not there" inside ct test ! -e /dev/nvidia0
	run --root "$host" lxc verify ct --level device --json
	equals "$layout: verify tells a number nobody has from a refusal" "$(grep -c 'belongs to no loaded driver' "$work/out") $(grep -c 'refused by' "$work/out")" "3 0"
	lxc-stop -k -P "$lxcpath" -n ct
	if [ "$layout" = pure ]; then
		# The other kind's lines do nothing: what writing the wrong ones would mean.
		sed -i 's/lxc.cgroup2.devices.allow/lxc.cgroup.devices.allow/' "$work/store/targets/lxc-ct/devices.conf"
		lxc-start -P "$lxcpath" -n ct
		run --root "$host" lxc verify ct --level device --json
		check "$layout: lines of the other kind: refused, and said by whom" grep -q 'refused by the device cgroup' "$work/out"
		devices
		equals "$layout: repaired in the running container" "$rc" 0
		equals "$layout: by the right lines" "$(opened gpu1 195 1)" "gpu1 No such device"
		sed -i '/lxc.cgroup.devices.allow/d' "$work/store/targets/lxc-ct/devices.conf"
		lxc-stop -k -P "$lxcpath" -n ct
	fi
	# A running container that had nothing gets it without a restart; one whose node is missing is told from it.
	run --root "$host" lxc remove ct
	check "$layout: remove gives the configuration back" cmp "$lxcpath/ct/config" "$work/config.before"
	lxc-start -P "$lxcpath" -n ct
	pid=$(lxc-info -P "$lxcpath" -n ct -pH)
	equals "$layout: before, nothing is let through" "$(opened gpu1 195 1)" "gpu1 not permitted"
	devices
	equals "$layout: a running container is given its devices" "$rc $(lxc-info -P "$lxcpath" -n ct -pH)" "0 $pid"
	inside ct sh -c 'exec 3<>/dev/nvidia1' 2>"$work/open"
	check "$layout: which work at once" grep -qi 'no such device' "$work/open"
	lxc-stop -k -P "$lxcpath" -n ct
	# An optional mount whose source is missing leaves a regular file.
	mv "$host/dev/nvidia1" "$host/dev/away"
	lxc-start -P "$lxcpath" -n ct
	mv "$host/dev/away" "$host/dev/nvidia1"
	run --root "$host" lxc verify ct --level device --json
	check "$layout: a regular file in place of a node is no device" grep -q 'nvidia1: a regular file, left by an optional mount' "$work/out"
	devices
	equals "$layout: it becomes one" "$rc $(inside ct stat -c %F /dev/nvidia1)" "0 character special file"
	lxc-stop -k -P "$lxcpath" -n ct
	run --root "$host" lxc remove ct
	umount -l "$lxcpath/ct/rootfs"
	rm -rf "$lxcpath/ct"
done
finish
