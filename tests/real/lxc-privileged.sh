#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a privileged container without AppArmor or any other profile can do to the driver all containers share, tried by its
# own root with every call that could: nothing.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
# shellcheck source=tests/cli/lib.sh
. "$top/tests/cli/lib.sh"
# shellcheck source=tests/lib/lxc-machine.sh
. "$top/tests/lib/lxc-machine.sh"
cgroups_or_skip
machine_or_skip
live=$host/run/nvdriver/live

container evil
container good
install evil good
equals "two privileged containers" "$rc" 0
check "they get the part that cannot be made writable" grep -q "live/locked usr/lib/nvdriver" "$work/store/targets/lxc-evil/devices.conf"
inside good nvidia-smi >"$work/smi" 2>&1
equals "nvidia-smi runs" "$?" 9

shared() { find "$live/" "$live/current/" -maxdepth 1 -printf '%p %y %l %s\n' 2>/dev/null | sort; inside good sh -c 'ls -lR /usr/lib/nvdriver/; sha256sum /usr/lib/nvdriver/current/lib/libcuda.so.1' 2>&1; }
shared >"$work/before"
inside evil sh -c '
	d=/usr/lib/nvdriver
	caps=$(sed -n "s/CapEff:[[:space:]]*/0x/p" /proc/self/status)
	echo "may mount: $((caps >> 21 & 1))"
	for m in $d $d/current; do
		mount -o remount,rw $m
		mount -o remount,bind,rw $m
		mount --make-private $m
		mount --make-shared $m
	done
	mkdir /tmp/fake; echo fake >/tmp/fake/libcuda.so.1
	cp /tmp/fake/libcuda.so.1 $d/current/lib/libcuda.so.1; rm -f $d/current/lib/libcuda.so.1; ln -sf /tmp/fake $d/current; mkdir $d/new
	mv $d/current $d/old; mv -T /tmp/fake $d/current
	mount --bind /tmp/fake $d/current
	for n in 0 1 2 3 4 5 6 7; do mknod /tmp/loop$n b 7 $n; dd if=/dev/zero of=/tmp/loop$n bs=1M count=8 conv=notrunc; done
	umount -l $d/current; umount -l $d/current; rmdir $d/current; mv $d/current $d/old
	umount -l $d; umount -l $d; rm -rf $d; ln -s /tmp/fake $d
' >"$work/evil" 2>&1
check "it really had the right to mount" grep -qx 'may mount: 1' "$work/evil"
shared >"$work/after"
equals "whatever it tries, the others' driver is the same" "$(diff "$work/before" "$work/after")" ""
inside good nvidia-smi >"$work/smi" 2>&1
equals "and works" "$?" 9
run --root "$host" lxc verify evil --level static
equals "what it did to itself is found" "$rc" 10

# The switch reaches privileged containers too: another view of the same driver stands in for another version.
store_view() { basename "$(readlink "$live/current")"; }
first=$(store_view)
run --root "$host" lxc sync --compat32
equals "sync to another view" "$rc" 0
check "it is another" test "$(store_view)" != "$first"
check "the running container has it without a restart" inside good test -d /usr/lib/nvdriver/current/lib32
run --root "$host" lxc rollback --all
equals "rollback" "$rc" 0
inside good test -e /usr/lib/nvdriver/current/lib/libcuda.so.1
equals "reaches it too" "$?" 0
check "with the first view again" inside good test ! -e /usr/lib/nvdriver/current/lib32
equals "nothing is left beneath what is in use" "$(grep -c "$live/locked/current " /proc/self/mountinfo)" 1
finish
