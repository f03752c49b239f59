#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Programs of a Proxmox VE host that the guest does not have, by the name they are called by; every call is kept.
name=${0##*/}
echo "$name $*" >>/tmp/commands
wants=/etc/systemd/system/multi-user.target.wants
# start UNIT: what its file says, once
start() {
	command=$(sed -n 's/^ExecStart=//p' "/etc/systemd/system/$1" "/usr/lib/systemd/system/$1" 2>/dev/null | head -n 1)
	$command
}
case "$name $*" in
"pveversion ") echo "pve-manager/8.1.4/ec5affc9e41f1d79 (running kernel: $(uname -r))" ;;
"pvesubscription get") echo "status: notfound" ;;
"apt-cache policy "*) printf 'p:\n  Candidate: 1.0\n' ;;
"systemctl enable --now "*)
	mkdir -p $wants
	ln -sf "$3" "$wants/$3"
	start "$3"
	;;
"systemctl restart "*) start "$2" ;;
"systemctl disable --now "*) rm -f "$wants/$3" ;;
"systemctl show "*) printf 'ActiveState=inactive\nResult=success\n' ;;
"lspci "*) echo "41:00.0 3D controller: NVIDIA Corporation" ;;
"mokutil "*) exit 1 ;;
esac
