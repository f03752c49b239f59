#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The boot after step 1 watches the network: with it the watch ends, without it kernel and boot words come back.
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
. "$here/vgpu-machines.sh"
cd "$work" || exit 1
nv() { run --root "$root" --store "$work/store" "$@"; }
unit=etc/systemd/system/nvdriver-rollback.service
network() { # ARP_FLAGS OPERSTATE: of the gateway and its interface
	mkdir -p "$root/proc/net" "$root/sys/class/net/vmbr0"
	printf 'Iface\tDestination\tGateway\tFlags\tRefCnt\nvmbr0\t0001A8C0\t00000000\t0001\t0\nvmbr0\t00000000\t0101A8C0\t0003\t0\n' >"$root/proc/net/route"
	printf 'IP address HW type Flags HW address Mask Device\n192.168.1.1 0x1 %s 52:54:00:12:34:56 * vmbr0\n' "$1" >"$root/proc/net/arp"
	echo "$2" >"$root/sys/class/net/vmbr0/operstate"
}
prepare() {
	root=$work/$1
	rm -rf "$root" store
	m_pve9_unlock "$root"
	nv vgpu step 1 --yes --rollback-after 10m
	equals "step 1 with a watch over the next boot" "$rc" 0
	check "which waits that long" grep -q '^ExecStart=/usr/bin/env nvdriver vgpu rollback --wait 600s$' "$root/$unit"
	: >"$root/nvdriver-commands.log"
}
ran() { grep -cE "$1" "$root/nvdriver-commands.log"; }

prepare works
check "is armed before the kernel changes" test "$(grep -nE '"group": "(rollback|kernel)"' store/targets/*/history/*/plan.json | wc -l)" = 2
network 0x2 up
nv vgpu rollback --wait 10m
equals "a network that works" "$rc" 0
check "ends the watch" test ! -e "$root/$unit"
equals "and leaves the kernel and its words" "$(ran 'unpin') $(ls "$root/etc/default/grub.d")" "0 nvdriver-vgpu.cfg"
nv vgpu rollback --wait 10m
equals "a second time there is nothing to do" "$rc $(cat out)" "0 nothing to take back"

for why in "0x0 up" "0x2 down" "none"; do
	prepare fails
	# shellcheck disable=SC2086 # two words
	case $why in none) mkdir -p "$root/proc/net" ;; *) network $why ;; esac
	nv vgpu rollback --wait 10m
	equals "without one ($why)" "$rc" 0
	check "it is said" grep -q 'no network after 600 s' err
	equals "the kernel is released" "$(ran '^proxmox-boot-tool kernel unpin$')" 1
	check "its words are gone" test ! -e "$root/etc/default/grub.d/nvdriver-vgpu.cfg"
	equals "for the next boot too" "$(ran '^update-grub$')" 1
	check "the watch is gone" test ! -e "$root/$unit"
	check "other groups stay" test -e "$root/etc/modprobe.d/nvdriver-vgpu.conf"
	nv vgpu status
	check "and step 1 comes next" grep -q '^set-up *step 1 was begun' out
done
prepare ip6
mkdir -p "$root/proc/net" "$root/sys/class/net/vmbr0"
echo up >"$root/sys/class/net/vmbr0/operstate"
echo "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003    vmbr0" >"$root/proc/net/ipv6_route"
nv vgpu rollback --wait 10m
equals "IPv6 alone is a network" "$rc $(ran unpin)" "0 0"

prepare hand
nv --dry-run vgpu rollback
equals "by hand, dry run" "$rc" 0
check "keeps everything" test -e "$root/$unit"
mkdir -p "$root/usr/bin" && touch "$root/usr/bin/nvidia-uninstall"
nv --json vgpu rollback
equals "by hand" "$rc $(python3 -c 'import json; print(json.load(open("out"))["groups"])')" "0 ['boot', 'kernel', 'rollback']"
equals "a driver nobody recorded is no business of it" "$(ran nvidia-uninstall)" 0
finish
