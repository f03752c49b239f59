#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Another driver on a host that has one, the way back from everything, and what the script installer or a person's own hands
# left there.
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
. "$here/vgpu-machines.sh"
. "$here/vgpu-step2.sh"
cd "$work" || exit 1
ran() { grep -q "^$1" "$root/nvdriver-commands.log"; }
echo '{ "mok_password": "12345678" }' >answers.json

# -- an unlock card on a pinned kernel --
prepared pve9_unlock
nv vgpu step 2 --yes "${take[@]}"
equals "a driver is installed" "$rc" 0
put "$root/etc/vgpu_unlock/profile_override.toml" "[profile.nvidia-256]\nnum_displays = one\n"
nv vgpu doctor
check "a file the daemons would end on is seen" grep -q '^fail *unlock-config */etc/vgpu_unlock/profile_override.toml: line 2:' out
mkdir -p "$root/proc/77"
put "$root/proc/77/comm" "nvidia-vgpu-mgr\n"
put "$root/proc/77/maps" "7f00 r-xp 00000000 08:01 1 /usr/lib/libc.so.6\n"
nv vgpu doctor
check "so is a daemon without the library" grep -q '^fail *unlock *nvidia-vgpu-mgr runs without the unlock library' out
rm -r "$root/proc/77"
python3 - "$root" <<'END'
import json, sys
path = sys.argv[1] + "/nvdriver-commands.json"
d = json.load(open(path))
pin = "etc/kernel/proxmox-boot-pin"
d["commands"]["proxmox-boot-tool kernel unpin"] = {"status": 0, "output": "", "files": {pin: None}}
d["commands"]["proxmox-boot-tool kernel pin *"] = {"status": 0, "output": "", "files": {pin: "6.14.11-5-pve\n"}}
json.dump(d, open(path, "w"))
END
put "$root/etc/vgpu_unlock/profile_override.toml" "[profile.nvidia-256]\nnum_displays = 1\n"
: >"$root/nvdriver-commands.log"
uuid=00000000-0000-0000-0000-000000000101
mkdir -p "$root/sys/bus/mdev/devices/$uuid"
slug "a guest has a vGPU" 1 vgpu-in-use --root "$root" --store store vgpu upgrade --yes
nv vgpu upgrade --yes
check "it is named by its number" grep -q 'virtual machine 101' err
slug "nor is the driver removed under it" 1 vgpu-in-use --root "$root" --store store vgpu remove --yes
check "nothing ran" test -z "$(grep -v '^apt-cache\|^pve\|^zpool\|^mokutil --test' "$root/nvdriver-commands.log")"
rm -r "$root/sys/bus/mdev/devices/$uuid"
vf=$root/sys/bus/pci/devices/0000:01:00.4/nvidia
put "$vf/current_vgpu_type" "558\n"
nv vgpu status
check "status names it too" grep -q '^in use *type nvidia-558 on 0000:01:00.4' out
check "and what the library makes of the card" grep -q 'presented as Quadro RTX 6000' out
slug "so it is on virtual functions" 1 vgpu-in-use --root "$root" --store store vgpu upgrade --yes
check "named by type and address" grep -q 'type nvidia-558 on 0000:01:00.4' out
rm -r "$root/sys/bus/pci/devices/0000:01:00.4"
slug "without a yes" 1 declined --root "$root" --store store vgpu upgrade
nv vgpu upgrade --yes --dry-run
equals "a dry run" "$rc" 0
check "shows what goes" grep -q 'uninstaller\|nvidia-uninstall\|run the installer' out
check "and removes nothing" test -e "$root/usr/bin/nvidia-uninstall"
: >"$root/nvdriver-commands.log"
nv vgpu upgrade --yes
equals "upgrade" "$rc" 0
[ "$rc" = 0 ] || sed 's/^/# /' err
check "the daemons stop" ran 'systemctl disable --now nvidia-vgpud.service'
check "the old driver goes" ran 'nvidia-uninstall -s'
check "the library is built again" ran 'env CARGO_HOME'
check "from sources fetched again" ran 'git clone .*vgpu_unlock-rs.git'
check "the pin was released" ran 'proxmox-boot-tool kernel unpin'
check "and set again, for the driver needs it" ran 'proxmox-boot-tool kernel pin 6.14.11-5-pve'
equals "the person's profiles stay" "$(tail -1 "$root/etc/vgpu_unlock/profile_override.toml")" "num_displays = 1"
check "step 2 comes next" grep -q '"STEP": "2"' store/targets/*/vgpu.json
reboot "$root"
driver_patch "$root/var/lib/nvdriver/vgpu/vgpu-proxmox/$version.patch"
nv vgpu step 2 --yes "${take[@]}"
equals "and installs" "$rc" 0
check "a driver" test -e "$root/usr/bin/nvidia-uninstall"

# -- another branch on a native card --
functions=0000:01:00.0 prepared pve8_fresh
nv vgpu step 2 --yes "${take[@]}"
equals "the newest branch" "$rc" 0
hook=$root/etc/kernel/postinst.d/zz-nvdriver-vgpu
equals "new kernels are looked at" "$(stat -c %a "$hook")" 755
check "by a shell's leave" sh -n "$hook"
nv vgpu kernel 6.8.12-4-pve
equals "the running one fits" "$rc" 0
nv vgpu kernel 6.8.12-5-pve
equals "one without a module does not" "$rc" 10
check "and is named" grep -q 'kernel 6.8.12-5-pve: no module of vGPU driver' err
: >"$root/nvdriver-commands.log"
nv --json vgpu kernel 9.1.0-1-pve
check "nor does one beyond the branch" json 'd["verdict"] == "too-new" and d["hold"] == "6.8.12-4-pve" and not d["held"]'
check "asking changes nothing" test -z "$(grep proxmox-boot-tool "$root/nvdriver-commands.log")"
nv --json vgpu kernel --hold 9.1.0-1-pve
check "the running one can be held" json 'd["held"]'
check "by pinning it" ran 'proxmox-boot-tool kernel pin 6.8.12-4-pve'
echo '{ "remove_hold": true }' >release.json
nv vgpu remove --answers release.json
check "and released" ran 'proxmox-boot-tool kernel unpin'
nv vgpu upgrade --yes --branch 19.1
equals "to an older one" "$rc" 0
check "is remembered" grep -q '"BRANCH": "19.1"' store/targets/*/vgpu.json
check "virtual functions are off at boot" test ! -e "$root/etc/systemd/system/nvdriver-sriov.service"
runfile 580.82.02
cp "files/$(driver_name 580.82.02)" "$root/root/"
programs "$root" 580.82.02 "/root/$(driver_name 580.82.02)"
nv vgpu step 2 --yes --file "$root/root/$(driver_name 580.82.02)" --accept-md5
equals "and installed" "$rc" 0
nv vgpu status
check "status says so" grep -q '^driver *580.82.02' out
check "with its branch" grep -q '^branch *19.1' out
check "who installed it" grep -q '^installed *580.82.02 by step 2, from /root/' out
check "what starts at boot" grep -q '^unit *nvidia-vgpu-mgr.service *starts at boot' out
check "and how many functions are on" grep -q '16 of 32 virtual functions' out

# -- a card branch 17 dropped --
m_p40() { m_pve8_fresh "$1"; rm -r "$1/sys/bus/pci/devices"; card "$1" 0000:01:00.0 1b38; }
root=$work/p40
m_p40 "$root"
run --root "$root" --store p40 vgpu step 1 --yes --branch 17.5 --dry-run
equals "is refused" "$rc" 4
run --root "$root" --store p40 vgpu step 1 --yes --branch 17.5 --unsupported --dry-run
equals "unless it is asked for" "$rc" 0
check "with the community's patches" grep -q 'git clone .*vgpu-proxmox' out
check "and without the library, which a Tesla needs not" test -z "$(grep 'vgpu_unlock-rs' out)"
prepared p40 --branch 17.5 --unsupported
put "$work/vgpuConfig.xml" "<sixteen/>\n"
put "$root/usr/share/nvidia/vgpu/vgpuConfig.xml" "<seventeen/>\n"
slug "step 2 refuses it as well" 2 branch-unknown --root "$root" --store store vgpu step 2 --yes "${take[@]}"
nv vgpu step 2 --yes --unsupported --vgpu-config "$work/vgpuConfig.xml" "${take[@]}"
equals "unless it is asked for there too" "$rc" 0
check "patched" ran 'sh /var/lib/nvdriver/vgpu/.*-custom.run --dkms -m=kernel -s'
equals "with the older branch's types" "$(cat "$root/usr/share/nvidia/vgpu/vgpuConfig.xml")" "<sixteen/>"
check "and is told what that is worth" grep -q '^note: this card with this branch is supported by nobody' out
echo '{ "remove_vgpu_config": true }' >config.json
nv vgpu remove --answers config.json
equals "the driver's own come back" "$(cat "$root/usr/share/nvidia/vgpu/vgpuConfig.xml")" "<seventeen/>"

# -- everything goes --
functions=0000:01:00.0 prepared pve8_fresh
nv vgpu step 2 --yes "${take[@]}"
: >"$root/nvdriver-commands.log"
nv vgpu remove --yes
equals "removal" "$rc" 0
check "of the driver first" ran 'nvidia-uninstall -s'
check "leaves no file of ours" test -z "$(find "$root/etc" "$root/usr" "$root/var" -name '*nvdriver*' ! -path '*/undo*' ! -path '*/var/log*')"
check "nor the state" test ! -e store/targets/*/vgpu.json
nv vgpu remove --yes
check "nothing is left to take back" grep -q '^nothing to take back' out

# -- what was not recorded --
root=$work/script
m_pve8_fresh "$root"
put "$root/usr/bin/nvidia-uninstall" ""
put "$root/var/lib/dkms/nvidia/535.161.05/source/dkms.conf" ""
put "$root/opt/vgpu_unlock-rs/target/release/libvgpu_unlock_rs.so" ""
for d in nvidia-vgpud nvidia-vgpu-mgr; do
	put "$root/etc/systemd/system/$d.service.d/vgpu_unlock.conf" "[Service]\nEnvironment=LD_PRELOAD=/opt/vgpu_unlock-rs/target/release/libvgpu_unlock_rs.so\n"
done
put "$root/root/fastapi-dls/docker-compose.yml" "services:\n"
python3 - "$root" <<'END'
import json, sys
path = sys.argv[1] + "/nvdriver-commands.json"
d = json.load(open(path))
c = d["commands"]
c["nvidia-uninstall -s"] = {"status": 0, "output": "", "files": {"usr/bin/nvidia-uninstall": None}}
c["dkms remove *"] = {"status": 0, "output": "", "files": {"var/lib/dkms/nvidia": None}}
c["rm -rf /opt/vgpu_unlock-rs"] = {"status": 0, "output": "", "files": {"opt/vgpu_unlock-rs": None}}
c["docker rm -f -v wvthoog-fastapi-dls"] = {"status": 0, "output": "", "files": {"root/fastapi-dls": None}}
json.dump(d, open(path, "w"))
END
nv vgpu undo
check "undo leaves it alone" test -e "$root/usr/bin/nvidia-uninstall"
nv vgpu remove
check "so does remove without a yes" test -e "$root/opt/vgpu_unlock-rs"
nv vgpu remove --yes --dry-run
check "a dry run shows it" grep -q 'nvidia-uninstall -s' out
check "and leaves it" test -e "$root/usr/bin/nvidia-uninstall"
echo '{ "remove_old_unlock": true }' >one.json
nv vgpu remove --answers one.json
equals "one question each" "$rc" 0
check "its library goes" test ! -e "$root/opt/vgpu_unlock-rs"
check "with the drop-ins that load it" test ! -e "$root/etc/systemd/system/nvidia-vgpud.service.d/vgpu_unlock.conf"
check "the driver stays" test -e "$root/usr/bin/nvidia-uninstall"
nv vgpu upgrade --yes
equals "upgrade from the script's driver" "$rc" 0
check "uninstalls it" test ! -e "$root/usr/bin/nvidia-uninstall"
check "with its entries in the module build" ran 'dkms remove nvidia/535.161.05 --all'
check "the licence server is not the driver's" test -e "$root/root/fastapi-dls"
nv vgpu remove --yes
check "removal takes it as well" ran 'docker rm -f -v wvthoog-fastapi-dls'
finish
