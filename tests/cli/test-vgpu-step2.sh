#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Step 2 on every fixture machine that step 1 prepares: plan, commands and what is said against golden texts, a second run
# that changes nothing, undo that gives the former bytes back; then what each of its decisions refuses, and its failures.
# UPDATE=1 writes the golden texts.
# shellcheck disable=SC2086 # the options of a machine are words
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
. "$here/vgpu-machines.sh"
. "$here/vgpu-step2.sh"
cd "$work" || exit 1

said() { grep -v '^nvdriver 0' err; }
asked='^(pveversion|pvesubscription|apt-cache|mokutil --test-key|zpool|openssl passwd|systemctl show|modinfo|nvidia-smi|lspci)'
golden() { # TEXT FILE GOT
	if [ -n "${UPDATE:-}" ]; then cp "$3" "$2"; fi
	if cmp -s "$2" "$3"; then ok "$1"; else not_ok "$1" "$(diff "$2" "$3" | head -12)"; fi
}
echo '{ "passthrough": true, "mok_password": "12345678" }' >answers.json
declare -A args=([pve8_four]="--card 0000:01:00.0")
# Of the other releases' machines only what step 2 tells apart.
for m in $machines pve7_fresh pve9_secureboot; do
	case $m in pve8_none | pve8_shared | pve8_nocard | pve8_unknown | pve8_off | pve9_zfs_new) continue ;; esac
	functions=
	case $m in pve8_fresh | pve8_four | pve9_fresh | pve8_secureboot | pve9_upgraded) functions=$(case $m in pve9_upgraded) echo 0000:41:00.0 ;; *) echo 0000:01:00.0 ;; esac) ;; esac
	prepared "$m" ${args[$m]:-} || continue
	[ "$m" != pve8_four ] || put "$root/usr/lib/systemd/system/pve-nvidia-sriov@.service" "[Service]\n"
	rm -rf before
	cp -a "$root" before
	before=$(tree)

	nv vgpu plan --step 2 "${take[@]}"
	equals "$m: the plan" "$rc" 0
	{ cat out; said; } >got
	equals "$m: changes nothing" "$(tree)" "$before"
	nv vgpu step 2 --yes "${take[@]}"
	equals "$m: step 2" "$rc" 0
	[ "$rc" = 0 ] || sed 's/^/# /' err out
	{
		echo "== commands"
		grep -vE "$asked" "$root/nvdriver-commands.log"
		echo "== said"
		cat out
		said
	} >>got
	sed -i "s,$work,/machines,g" got
	golden "$m: golden plan, commands and words" "$here/vgpu-golden/$m.step2" got
	check "$m: the set-up's state is gone" test ! -e store/targets/*/vgpu.json
	: >"$root/nvdriver-commands.log"
	second=$(tree)
	nv vgpu step 2 --yes
	equals "$m: a second run" "$rc" 0
	check "$m: finds nothing to do" grep -q '^nothing to do' out
	equals "$m: and changes nothing" "$(tree)" "$second"
	equals "$m: and runs nothing" "$(grep -vE "$asked" "$root/nvdriver-commands.log")" ""
	nv vgpu step 2 --yes "${take[@]}"
	equals "$m: nor with the file named again" "$rc $(grep -vE "$asked" "$root/nvdriver-commands.log")" "0 "

	kept=$(find "$root/var/lib/nvdriver/vgpu" -maxdepth 1 -name '*-custom.run' 2>/dev/null | head -1)
	if [ -n "$kept" ]; then
		nv vgpu verify
		equals "$m: what was made is what it was" "$rc $(grep -c '^ok *downloads' out)" "0 1"
		cp -p "$kept" kept.run
		echo x >>"$kept"
		nv --json vgpu verify
		equals "$m: and a changed file is found" "$rc $(grep -c 'is not what was checked' out)" "10 1"
		cp -p kept.run "$kept"
	fi

	# Groups of step 2 are taken back and those of step 1 stay.
	cat >back.json <<-END
		{ "remove_hook": true, "remove_functions": true, "remove_services": true, "remove_driver": true, "remove_download": true }
	END
	nv vgpu remove --answers back.json
	equals "$m: taking step 2 back" "$rc" 0
	equals "$m: gives the former bytes back" "$(diff <(echo "$before") <(tree))" ""
	check "$m: by the vendor's uninstaller" grep -q '^nvidia-uninstall -s$' "$root/nvdriver-commands.log"
done

# -- what is not done, and why --
machine_with() { # MACHINE: prepared, for one refusal after the other
	functions=0000:01:00.0
	prepared "$1"
}
refused() { # TEXT STATUS SLUG ARGS...
	unchanged=$(tree)
	slug "$1" "$2" "$3" --root "$root" --store store vgpu step 2 "${@:4}"
	equals "$1: nothing changed" "$(diff <(echo "$unchanged") <(tree))" ""
	equals "$1: nothing ran" "$(grep -cE '^(sh|systemctl enable)' "$root/nvdriver-commands.log")" 0
}
machine_with pve8_fresh
refused "without a word of agreement" 1 declined "${take[@]}"
refused "an unknown branch" 2 branch-unknown --yes --branch 99.9
refused "a branch the card does not go with" 2 branch-unknown --yes --branch 15.1
refused "a file that is not there" 1 not-found --yes --file /nowhere.run
refused "the wrong MD5" 6 fetch-digest-mismatch --yes --file "files/$(driver_name 550.163.02)"
mv "$root/sys/kernel/iommu_groups" groups
refused "the IOMMU is off" 4 iommu-off --yes "${take[@]}"
echo '{ "no_iommu": true }' >go.json
nv vgpu step 2 --yes --dry-run --answers go.json "${take[@]}"
equals "unless the person says so" "$rc" 0
check "and is told of it again" grep -q '^note: the IOMMU is off' out
mv groups "$root/sys/kernel/iommu_groups"
echo 0x1eb8 >"$root/sys/bus/pci/devices/0000:01:00.0/device"
refused "another card in the slot" 2 card-not-chosen --yes "${take[@]}"
echo 0x26b5 >"$root/sys/bus/pci/devices/0000:01:00.0/device"

# What only another boot changes.
later() { # TEXT PATTERN
	nv --json vgpu step 2 --yes "${take[@]}"
	equals "$1: is no failure" "$rc" 0
	check "$1: asks for a reboot" json 'd["reboot_required"] and not any(g["name"] == "driver" for g in d["groups"])'
	check "$1: and says why" grep -q "$2" out
}
echo 'nouveau 2424832 1 - Live 0x0000000000000000' >"$root/proc/modules"
later "nouveau holds the card" 'nouveau still holds cards'
: >"$root/proc/modules"
machine_with pve9_unlock
echo 6.17.2-1-pve >"$root/proc/sys/kernel/osrelease"
later "the pinned kernel does not run yet" 'kernel 6.17.2-1-pve runs, and the driver is for 6.14.11-5-pve'
rm "$root/etc/kernel/proxmox-boot-pin" "$root"/boot/vmlinuz-6.14*
refused "no kernel that fits" 4 kernel-unfit --yes "${take[@]}"
machine_with pve8_secureboot
sed -i 's/is already enrolled/is already in the enrollment request/' "$root/nvdriver-commands.json"
later "the key waits for the firmware's menu" 'Enroll MOK'
sed -i 's/is already in the enrollment request/is not enrolled/' "$root/nvdriver-commands.json"
later "a request that got lost" 'Enroll MOK'
check "is queued again" grep -q '^mokutil --import' "$root/nvdriver-commands.log"
sed -i 's/is not enrolled/is already enrolled/' "$root/nvdriver-commands.json"
SIGNER='' programs "$root" "$version" "$file"
slug "an unsigned module under Secure Boot" 7 host-driver-unsigned --root "$root" --store store vgpu step 2 --yes "${take[@]}"

# The installer fails, and what is said comes from what is there.
machine_with pve8_fresh
sed -i 's/\("sh [^"]*"\): {/\1: {"x": 0,/; /"sh /,/}/ s/"status": 0/"status": 1/' "$root/nvdriver-commands.json"
nv --json vgpu step 2 --yes "${take[@]}"
equals "a failing installer" "$rc" 7
check "is named" grep -q '"slug": "host-driver-install-failed"' out
check "what it did is taken back" test ! -e "$root/usr/bin/nvidia-uninstall"
check "the set-up is remembered" grep -q '"STEP": "2"' store/targets/*/vgpu.json
programs "$root" "$version" "$file"
: >"$root/nvdriver-commands.log"
SMI='Failed to initialize: could not communicate with the NVIDIA driver' programs "$root" "$version" "$file"
nv vgpu step 2 --yes
equals "a driver that does not answer is a finding" "$rc" 10
[ "$rc" = 10 ] || cat err
check "it is said" grep -q '^fail *nvidia-smi' out
check "the daemons are enabled all the same" grep -q '^systemctl enable --now nvidia-vgpu-mgr' "$root/nvdriver-commands.log"
check "and the set-up is not forgotten" test -e store/targets/*/vgpu.json
programs "$root" "$version" "$file"
nv vgpu step 2 --yes
equals "the next run finds it well" "$rc" 0
check "and forgets" test ! -e store/targets/*/vgpu.json
slug "another branch over it" 8 host-driver-other --root "$root" --store store vgpu step 2 --yes --branch 19.3

# An uninstaller that is gone: the entries of the module build and the recorded files go without it.
rm "$root/usr/bin/nvidia-uninstall"
nv vgpu undo
equals "undo without an uninstaller" "$rc" 0
check "removes the modules" grep -q "^dkms remove nvidia/$version --all" "$root/nvdriver-commands.log"
check "and the recorded files" test ! -e "$root/usr/bin/nvidia-smi"
check "and says what is left" grep -q "left /usr/lib/systemd/system/nvidia-vgpud.service" err
finish
