#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Step 1 killed at its changes, and failing at each of its commands: after recover and another run the host is as one that
# was never disturbed, and undo still gives the former bytes back. NVDRIVER_TEST_FULL=1 kills at every change.
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
. "$here/vgpu-machines.sh"
. "$here/vgpu-kill.sh"
cd "$work" || exit 1
step=(--root "$work/root" --store "$work/store" vgpu step 1 --yes --answers "$work/answers.json")
echo '{ "mok_password": "12345678", "passthrough": true, "card": 1 }' >answers.json

tree() { (cd root && find . ! -path './var/log*' ! -name 'nvdriver-commands.*' ! -path './var/lib/nvdriver*' ! -path './var/lib' \( -type f -exec sha256sum {} + -o -true \) -printf '%p %y %m %l\n' | LC_ALL=C sort); }
fresh() { rm -rf root store; cp -a seed root; }
finishes() { # TEXT: recover, run again, compare, undo
	# Killed before there was a store, there is nothing to recover.
	rc=0
	[ ! -e store/format ] || run --root "$work/root" --store "$work/store" recover
	if [ "$rc" != 0 ]; then not_ok "$1: recover" "$(head -3 err)"; return; fi
	"$NVDRIVER" "${step[@]}" >out 2>err </dev/null || { not_ok "$1: the next run" "$(head -3 err)"; return; }
	tree >now
	if ! diff new now >difference; then not_ok "$1: ends otherwise" "$(head -8 difference)"; return; fi
	run --root "$work/root" --store "$work/store" vgpu undo
	tree >now
	if [ "$rc" = 0 ] && diff old now >difference; then return 0; fi
	not_ok "$1: undo" "$(head -3 err)" "$(head -8 difference)"
}

for m in pve8_secureboot pve9_unlock; do
	rm -rf seed
	"m_$m" seed
	# The recorded tools do nothing, so the key pair stays absent and the packages missing: commands run in every run.
	undisturbed "$m" "${step[@]}"
	killed_at_changes "$m" 3 "${step[@]}"

	bad=$tap_failed
	for command in 'apt-get install \*' update-grub 'proxmox-boot-tool \*' 'update-initramfs \*' 'openssl req \*' 'mokutil --import \*'; do
		fresh
		sed -i "s,\"$command\": {\"status\": 0,\"$command\": {\"status\": 1," root/nvdriver-commands.json
		"$NVDRIVER" "${step[@]}" >out 2>err </dev/null
		failed=$?
		cp seed/nvdriver-commands.json root/
		[ "$failed" = 0 ] || finishes "$m: $command failed"
	done
	equals "$m: each command failed once" "$((tap_failed - bad))" 0
done
finish
