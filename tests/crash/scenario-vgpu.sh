# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# vgpu-step-1 and vgpu-step-2 of program.sh: both steps on a Proxmox VE host that is a directory, whose programs' answers are recorded.
# Another boot may come between the kill and what is next; in the end taking it back has to give every former byte.
. "$here/../cli/vgpu-machines.sh"
. "$here/../cli/vgpu-step2.sh"
machine=pve8_secureboot
# Which recorded programs ran is no state, nor are logs; a run file packed again has another time of day in it. What is kept for
# taking back is tried by taking back, and our own directory may be there and empty.
except=(! -path root/var/log ! -path 'root/var/log/*' ! -path root/var/lib/nvdriver/vgpu ! -name 'nvdriver-commands.*' ! -name '*-custom.run*' ! -path root/run ! -path 'root/run/*' ! -path root/var/lib/nvdriver
	! -path 'root/var/lib/nvdriver/undo-*')
# The fixtures say what they run by this; the machine's path is part of what the store knows.
root=$work/root
run() { "$NVDRIVER" "$@" >out 2>err </dev/null; rc=$?; }
not_ok() { fail "making the fixture: $*"; }

vgpu_step_1_seed() {
	rm -rf seed/root
	"m_$machine" seed/root
	echo '{ "mok_password": "12345678", "passthrough": true, "card": 1 }' >answers.json
}
vgpu_step_1_command() {
	argv=(--root "$work/root" vgpu step 1 --yes --answers "$work/answers.json")
	back() { taken_back vgpu undo; }
}
vgpu_step_2_seed() {
	echo '{ "mok_password": "12345678" }' >answers.json
	echo '{ "remove_hook": true, "remove_functions": true, "remove_services": true, "remove_driver": true, "remove_download": true }' >back.json
	functions=0000:01:00.0
	# Made where it will stand: the store knows the machine by its path.
	eval "m_root() { m_$machine \"\$1\"; }"
	prepared root
	rm -rf seed
	mkdir seed
	mv root store seed/
}
vgpu_step_2_command() {
	argv=(--root "$work/root" vgpu step 2 --yes --accept-md5 --file "$work/root$file")
	meanwhile() { rm -rf root/run; }
	# A daemon or functions that could not be switched on are a warning, or findings in the end: the driver stays. Where the failing
	# call was the stand-in's for systemctl, it has done half of its work, and the next run finds that as it is.
	half=no
	begin() { half=no; }
	excused() {
		{ [ "$rc" = 10 ] || { [ "$rc" = 0 ] && grep -q '^warning: ' out; }; } && half=yes
	}
	again() {
		nvd "${argv[@]}"
		case $?:$half in 0:* | 10:yes) ;; *) return 1 ;; esac
	}
	eval "equal_$(declare -f is_new)"
	is_new() { [ "$half" = yes ] || equal_is_new; }
	back() { taken_back vgpu remove --answers "$work/back.json"; }
}
# Each group of a step is a plan of its own: taking them back one by one, the newest first, goes through all states between.
between() {
	local group n=0
	fresh
	run --store "$work/store" --json "${argv[@]}"
	[ "$rc" = 0 ] || fail "the undisturbed run"
	for group in $(python3 -c 'import json; print(*[g["name"] for g in json.load(open("out"))["groups"]][::-1])'); do
		echo "{ \"remove_$group\": true }" >one.json
		nvd --root "$work/root" vgpu remove --answers "$work/one.json" || fail "taking back $group"
		n=$((n + 1))
		state between.$n
	done
	[ $n -gt 1 ] && diff old.root "between.$n.root" >difference || fail "all groups taken back is not as before"
}
# taken_back VERB...: every byte is as it was; what is left of our own directory are its records
taken_back() {
	nvd --root "$work/root" "$@" || return 1
	state now
	diff <(grep -v ' root/var/lib' old.root) <(grep -v ' root/var/lib' now.root) >difference
}
