#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# vgpu status and doctor on fixture machines, a captured directory that answers like the machine, and the menu.
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
. "$here/vgpu-machines.sh"
cd "$work" || exit 1

nv() { run --root "$root" --store "$work/store" "$@"; }
says() { # TEXT PATTERN
	check "$1" grep -qE "$2" out
}
root=$work/a
m_pve9_unlock "$root"
nv vgpu doctor
equals "findings are status 10" "$rc" 10
says "the IOMMU is off, and where to switch it on" '^fail *iommu *the IOMMU is off'
says "named as the firmware names it" 'next: switch VT-d'
says "the enterprise repository" '^warn *repositories .*401'
check "nothing was made" test ! -e store

# After step 1 and before the reboot.
nv vgpu step 1 --yes
nv vgpu doctor
says "the words wait for the reboot" '^warn *boot *intel_iommu=on is configured for GRUB'
says "the branch does not go with the kernel that still runs" '^fail *kernel *branch 17.6 .*needs a kernel from 6.2 to 6.14, not 6.17'
nv vgpu status
says "status says how far it is" '^set-up *step 1 is done'
says "and what is ours" '^changed *boot'
cp out plain
run --root "$work/../${work##*/}/./a/" --store "$work/store" vgpu status
equals "by whatever name the root is given" "$(diff plain out)" ""

# The driver of a branch runs, on a card with virtual functions that offer types in the vendor's own files.
root=$work/b
m_pve9_fresh "$root"
rm -r "$root/sys/bus/pci/devices"
card "$root" 0000:41:00.0 2230 7
echo 32 >"$root/sys/bus/pci/devices/0000:41:00.0/sriov_totalvfs"
pci_function "$root" 0000:41:00.4 0x10de 0x2230 0x030200 8
ln -s ../0000:41:00.0 "$root/sys/bus/pci/devices/0000:41:00.4/physfn"
put "$root/sys/bus/pci/devices/0000:41:00.4/nvidia/creatable_vgpu_types" "ID    : vGPU Name\n557   : NVIDIA RTXA6000-1B\n558   : NVIDIA RTXA6000-1Q\n"
put "$root/sys/module/nvidia/version" "580.105.06\n"
put "$root/lib/modules/6.17.2-1-pve/updates/dkms/nvidia.ko" ""
put "$root/etc/pve/qemu-server/100.conf" "name: secret-name\ncipassword: hunter2\nhostpci0: 0000:41:00.4,mdev=nvidia-558\nhostpci1: 0000:41:00.4,mdev=nvidia-999\n"
put "$root/etc/apt/sources.list.d/own.sources" "Types: deb\nURIs: https://me:hunter2@example.org/debian\nSuites: trixie\nComponents: main\n"
put "$root/etc/kernel/cmdline" "root=x rd.luks.key=hunter2 quiet\n"
put "$root/etc/apt/sources.list.d/token.list" "deb [signed-by=/usr/share/keyrings/x.gpg] https://example.org/apt?suite=a&access_token=hunter2#x trixie main\n# deb http://hunter2@example.org/ trixie main\n"
put "$root/etc/apt/auth.conf" "machine enterprise.proxmox.com login pve4e-1 password hunter2\n"
put "$root/etc/apt/auth.conf.d/own.conf" "machine example.org login me password hunter2\n"
put "$root/etc/apt/apt.conf.d/80proxy" 'Acquire::http::Proxy "http://me:hunter2@proxy:3128";\n'
put "$root/etc/nvidia/gridd.conf" "FeatureType=1\nClientConfigTokenPath=/hunter2\n# eyJhbGciOiJ.hunter2hunter2hunter2.c2lnbmF0dXJl\n"
put "$root/etc/nvidia/ClientConfigToken/client_configuration_token_1.tok" "eyJhbGciOiJ.hunter2.c2lnbmF0dXJl"
put "$root/opt/docker/fastapi-dls/cert/instance.private.pem" "hunter2"
put "$root/opt/docker/fastapi-dls/cert/webserver.key" "hunter2"
put "$root/root/fastapi-dls/docker-compose.yml" '# Written by nvdriver vgpu license server; run it again to change this.\nservices:\n    image: "a:1"\n      TZ: "UTC"\n      DLS_URL: "pve"\n      DLS_PORT: "8443"\n      DATABASE: "mysql://dls:hunter2@db/dls"\n'
put "$root/var/lib/dkms/mok.key" "hunter2"
nv vgpu doctor
says "branch and kernel go together" '^ok *kernel *branch 19.3 goes with kernel 6.17.2-1-pve'
says "no mdev types is normal there" '^ok *types *2 vGPU types .*mdevctl shows none is normal'
says "a guest with a type that is gone" '^warn *guests *.*/100.conf asks for type nvidia-999'
says "virtual functions are no cards" '^ok *card *0000:41:00.0'
nv vgpu status
says "status lists types" '^type *0000:41:00.4 *nvidia-558 *NVIDIA RTXA6000-1Q, 1024 MiB'
python3 - "$root/nvdriver-commands.json" <<'END'
import json, sys
d = json.load(open(sys.argv[1]))
d["commands"]["nvidia-smi vgpu -q"] = {"status": 0, "output": "  vGPU ID : 1\n    Guest Driver Version : 595.58.03\n"}
d["commands"]["nvidia-smi --query-gpu=pci.bus_id,memory.total --format=csv,noheader,nounits"] = {"status": 0, "output": "00000000:41:00.0, 49140\n"}
json.dump(d, open(sys.argv[1], "w"))
END
put "$root/usr/lib/nvdriver/libvgpu_unlock_rs.so" x
put "$root/etc/vgpu_unlock/profile_override.toml" '[profile.nvidia-558]\nframebuffer = "64GiB"\n'
nv vgpu doctor
says "a guest's driver that is newer than the host's" '^fail *guests *a running guest has driver 595.58.03'
says "a profile that is larger than the card" '^warn *unlock-config */etc/vgpu_unlock/profile_override.toml: profile.nvidia-558 takes 65536 MiB'
nv --json vgpu doctor
cp out machine.json

# A captured directory answers like the machine, and holds no secret.
nv doctor --capture captured
equals "capture" "$rc" 0
slug "a directory that is there is not overwritten" 1 output-not-created --root "$root" --store store doctor --capture captured
equals "no secret was copied" "$(grep -rlE 'hunter2|secret-name' captured)" ""
check "the address is kept without them" grep -q 'https://\*\*\*@example.org/debian' captured/etc/apt/sources.list.d/own.sources
check "parameters that are no secret too" grep -q '^deb \[signed-by=/usr/share/keyrings/x.gpg\] https://example.org/apt?suite=a&access_token=\*\*\*#x trixie main' captured/etc/apt/sources.list.d/token.list
check "of a licence token and of keys only that they are there" test -e captured/etc/nvidia/ClientConfigToken/client_configuration_token_1.tok -a ! -s captured/etc/nvidia/ClientConfigToken/client_configuration_token_1.tok -a ! -s captured/opt/docker/fastapi-dls/cert/webserver.key
check "nothing of apt's passwords" test ! -e captured/etc/apt/auth.conf -a ! -e captured/etc/apt/auth.conf.d -a ! -e captured/etc/apt/apt.conf.d
check "a guest's devices are kept" grep -q '^hostpci0' captured/etc/pve/qemu-server/100.conf
root=$work/captured
nv --json vgpu doctor
equals "it answers like the machine" "$(diff machine.json out)" ""
nv vgpu plan
equals "plans are made of it" "$rc" 0
rm captured/nvdriver-commands.json
slug "a directory without recorded answers cannot be changed" 4 root-not-running --root captured --store store vgpu step 1 --yes
root=$work/nothing
mkdir -p "$root"
slug "a machine that is none of Proxmox" 4 pve-not-found --root nothing --store store vgpu doctor

# A vGPU for a machine: the first free place, and the way back.
root=$work/b
python3 - "$root/nvdriver-commands.json" <<'END'
import json, sys
d = json.load(open(sys.argv[1]))
d["commands"]["qm set *"] = {"status": 0, "output": ""}
json.dump(d, open(sys.argv[1], "w"))
END
nv --json --dry-run vgpu attach 100 558
equals "attach, dry run" "$rc $(python3 -c 'import json; d = json.load(open("out")); print(d["function"], d["type"], d["slot"], d["name"])')" "0 0000:41:00.4 nvidia-558 2 NVIDIA RTXA6000-1Q"
nv vgpu attach 100 "NVIDIA RTXA6000-1Q" --card 0000:41:00.0
equals "attach by the type's name, on a function of that card" "$rc" 0
nv vgpu attach 100 nvidia-557 --mapping gpus
equals "attach by a mapping" "$rc" 0
equals "each is one command" "$(grep '^qm' "$root/nvdriver-commands.log")" "qm set 100 -hostpci2 0000:41:00.4,mdev=nvidia-558
qm set 100 -hostpci2 mapping=gpus,mdev=nvidia-557"
slug "a type nobody offers" 4 vgpu-type-missing --root "$root" --store store vgpu attach 100 nvidia-1
slug "a card that has none of it" 4 vgpu-type-missing --root "$root" --store store vgpu attach 100 558 --card 0000:99:00.0
slug "a machine that is not there" 5 virtual-machine-missing --root "$root" --store store vgpu attach 101 558
slug "no machine at all" 2 usage --root "$root" --store store vgpu attach ../100 558
nv vgpu undo
equals "undo takes them out again" "$(grep -c '^qm set 100 -delete hostpci2$' "$root/nvdriver-commands.log")" 2

# State of the script installer, questions and answers.
root=$work/c
m_pve8_four "$root"
echo '{ "typo": true }' >bad.json
slug "an unknown answer" 3 config-invalid --root "$root" --store s2 vgpu step 1 --answers bad.json
slug "without a terminal nothing is taken for granted" 1 declined --root "$root" --store s2 vgpu step 1 --card 1
slug "several cards and no choice" 2 card-not-chosen --root "$root" --store s2 vgpu step 1 --yes
printf 'STEP=1\nURL=https://example.org/x?a=b&c=$(touch pwned)\nOWN=kept\n' >config.txt
run --root "$root" --store s2 vgpu step 1 --yes --card 1 --import config.txt
equals "the script's state is taken over" "$rc" 0
check "as data" test ! -e pwned
check "with keys that are not ours" grep -q '"OWN": "kept"' s2/targets/*/vgpu.json
equals "and kept from others" "$(stat -c %a s2/targets/*/vgpu.json)" 600
printf 'STEP=9\n' >config.txt
root=$work/d
m_pve8_fresh "$root"
slug "a value its key cannot have" 3 vgpu-state-invalid --root "$root" --store s3 vgpu step 1 --yes --import config.txt

# What lies beside the program: the script's state, a table of cards for those ours lacks, and what its environment said.
mkdir app
cp "$NVDRIVER" app/nvdriver
real=$NVDRIVER
export NVDRIVER_DATADIR="${NVDRIVER%/src/cli/nvdriver}/data"
NVDRIVER=$work/app/nvdriver
root=$work/g
m_pve8_unknown "$root"
printf 'FILE=/root/own.run\nVGPU_HELPER_STATUS=done\n' >app/config.txt
python3 - <<'END'
import sqlite3
d = sqlite3.connect("app/gpu_info.db")
d.execute("CREATE TABLE gpu_info (vendorid TEXT, deviceid TEXT PRIMARY KEY, description TEXT, vgpu TEXT, driver TEXT, chip TEXT)")
d.executemany("INSERT INTO gpu_info VALUES ('10de', ?, ?, 'Native', '17;16', 'X')", [("fffe", "Card of tomorrow"), ("26b5", "Not an L40")])
d.commit()
END
run --root "$root" --store s6 vgpu doctor
says "a card only that table has is told of" '^ok *card *0000:01:00.0: Card of tomorrow'
run --root "$root" --store s6 vgpu status
says "wherever cards are listed" '^card *0000:01:00.0 *10de:fffe *Card of tomorrow, vGPU Native'
run vgpu drivers --card fffe --fitting
says "and asked about" '^17.6 '
run --root "$root" --store s7 vgpu step 1 --yes
equals "it is prepared for" "$rc" 0
says "is taken from it" 'Card of tomorrow'
check "the state beside the program is taken over" grep -q '"FILE": "/root/own.run"' s7/targets/*/vgpu.json
check "with its keys" grep -q '"VGPU_HELPER_STATUS": "done"' s7/targets/*/vgpu.json
printf 'FILE=/root/other.run\n' >app/config.txt
run --root "$root" --store s7 vgpu step 1 --yes
check "once" grep -q '"FILE": "/root/own.run"' s7/targets/*/vgpu.json
root=$work/h
m_pve8_fresh "$root"
URL=https://example.org/NVIDIA-Linux-x86_64-1.2.3-vgpu-kvm.run FILE=/from/environment run --root "$root" --store s8 vgpu step 1 --yes
says "a card ours has is told by ours" 'card 0000:01:00.0: L40'
check "what the environment says counts" grep -q '"URL": "https://example.org/' s8/targets/*/vgpu.json
check "less than the file" grep -q '"FILE": "/root/other.run"' s8/targets/*/vgpu.json
VGPU_SUPPORT=rubbish
export VGPU_SUPPORT
slug "as long as it makes sense" 3 vgpu-state-invalid --root "$root" --store s9 vgpu step 1 --yes
unset VGPU_SUPPORT
# The script stood before step 2: so does this program, without a word, and takes the file over once in a host's life.
root=$work/i
m_pve8_fresh "$root"
put "$root/proc/cmdline" "root=x intel_iommu=on iommu=pt\n"
printf 'STEP=2\nFILE=/root/none.run\nVGPU_SUPPORT=Native\nDRIVER_VERSION=19,18\n' >app/config.txt
run --root "$root" --store s10 --yes vgpu
equals "the script's step 2 goes on as step 2" "$rc" 4
check "which looks at the host first" grep -q 'no IOMMU group' err
check "and no menu opens" test ! -s out
NVDRIVER=$real
unset NVDRIVER_DATADIR

# A failing command takes its group back and leaves the earlier ones; the next run goes on.
root=$work/e
m_pve8_fresh "$root"
sed -i 's/"update-grub": {"status": 0/"update-grub": {"status": 1/' "$root/nvdriver-commands.json"
run --root "$root" --store s4 vgpu step 1 --yes
equals "a failing command is a failure" "$rc" 1
check "and stands in the role's log" grep -qE '^[-0-9]{10} [0-9:]{8} \[DEBUG\] vgpu: .*: status 1$' "$root/var/log/nvdriver/vgpu.log"
check "its group is as before" test ! -e "$root/etc/default/grub.d/nvdriver-vgpu.cfg"
check "the groups before it stay" test -e "$root/etc/apt/sources.list.d/pve-no-subscription.list"
sed -i 's/"update-grub": {"status": 1/"update-grub": {"status": 0/' "$root/nvdriver-commands.json"
run --root "$root" --store s4 vgpu step 1 --yes
equals "the next run goes on" "$rc" 0
check "and completes it" test -e "$root/etc/modprobe.d/nvdriver-vgpu.conf"
log=$(cat s4/targets/*/history/*/output.log)
check "a log tells each command with its time" grep -qE '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z run update-grub$' <<<"$log"
check "and how it ended" grep -qE '^[0-9T:Z-]{20} status 0$' <<<"$log"
run --root "$root" --store s4 vgpu remove
equals "remove without a yes keeps everything" "$(test -e "$root/etc/modprobe.d/nvdriver-vgpu.conf" && echo kept)" kept
echo '{ "remove_modules": true }' >one.json
run --root "$root" --store s4 vgpu remove --answers one.json
check "remove takes back one group" test ! -e "$root/etc/modprobe.d/nvdriver-vgpu.conf"
check "and only that" test -e "$root/etc/default/grub.d/nvdriver-vgpu.cfg"

# Another kernel has to fit onto the boot partitions.
root=$work/esp
m_pve9_unlock "$root"
put "$root/etc/kernel/proxmox-boot-uuids" "1234-ABCD\n"
truncate -s 20M "$root/boot/vmlinuz-6.17.2-1-pve"
truncate -s 90M "$root/boot/initrd.img-6.17.2-1-pve"
esp() { # MIB: of the partition, as the machine's lsblk says
	python3 - "$root/nvdriver-commands.json" "$1" <<'END'
import json, sys
d = json.load(open(sys.argv[1]))
d["commands"]["lsblk *"] = {"status": 0, "output": "%d\n" % (int(sys.argv[2]) << 20)}
json.dump(d, open(sys.argv[1], "w"))
END
}
esp 200
slug "no room for another kernel" 7 boot-partition-full --root "$root" --store s7 vgpu step 1 --yes
check "nothing was changed" test ! -e "$root/etc/apt/sources.list.d/pve-no-subscription.sources"
esp 512
status "room enough" 0 --root "$root" --store s7 vgpu plan

# The menu on a terminal.
if command -v script >/dev/null; then
	root=$work/f
	m_pve8_fresh "$root"
	menu() { printf '%b' "$1" | script -qec "$NVDRIVER --root $root --store s5 vgpu menu" /dev/null >out 2>&1; rc=$?; }
	menu '7\n'
	equals "exit" "$rc" 0
	menu '9\nx\n8\n'
	equals "three wrong answers are a usage error" "$rc" 2
	says "that names the range" 'none of 1 to 7'
	menu '4\n18.5\n'
	says "the branches for this card and release come first" 'branches for L40 on Proxmox VE 8: 20, 19, 18, 17, 16'
	says "host drivers that can be had are listed" '^17.6 *\(550.163.02\)'
	check "the others are not" test "$(grep -cE '^(18.5|20.2) ' out)" = 0
	equals "one of the portal is refused" "$rc" 1
	menu '5\n99.9\n'
	equals "guest drivers of no branch" "$rc" 2
	says "after the list" '^17.5 *linux'
	menu '6\n\n'
	equals "licences: the vendor's way is the default" "$rc" 0
	says "and says what to do" 'license client --token'
	menu '6\nx\ny\nz\n'
	equals "three wrong answers are enough" "$rc" 2
	menu '6\nserver\nn\n'
	equals "a server of one's own, declined" "$rc" 1
	says "after its authors were named" 'oscar.krause/fastapi-dls'
	menu '1\n\nn\nn\ny\nn\n'
	equals "new installation, asked" "$rc" 0
	check "is done" test -e "$root/etc/modprobe.d/nvdriver-vgpu.conf"
	menu '3\ny\ny\ny\ny\ny\n'
	check "remove, asked group by group" test ! -e "$root/etc/modprobe.d/nvdriver-vgpu.conf"
else
	skip "the menu on a terminal" "no script(1)"
fi
slug "the menu needs a terminal" 2 usage --root "$root" --store s6 vgpu
finish
