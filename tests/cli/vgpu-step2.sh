# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the tests of step 2 share: host drivers to install, the reboot between the steps, and what a machine's programs do when
# the driver comes and goes. Sourced after vgpu-machines.sh.

# driver VERSION FILE [BYTES]: a small host driver with both kinds of modules, and so many bytes more that no compression shrinks
driver() {
	rm -rf tree
	mkdir -p tree/kernel/nvidia tree/kernel-open/nvidia
	printf '%s\n' 'NVIDIA Accelerated Graphics Driver for Linux-x86_64' "$1" ' ' 'nvidia nvidia-vgpu-vfio ' ' ' ' ' ./kernel/ \
		./kernel/precompiled/ \
		'kernel/nvidia/nv-kernel.o_binary 0644 KERNEL_MODULE_SRC INHERIT_PATH_DEPTH:1 MODULE:resman' \
		'kernel-open/nvidia/nv.c 0644 KERNEL_MODULE_SRC INHERIT_PATH_DEPTH:1 MODULE:resman' >tree/.manifest
	printf 'one\ntwo \001\377\nthree\n' >tree/kernel/nvidia/nv-kernel.o_binary
	seq 1 500 >tree/kernel-open/nvidia/nv.c
	[ -z "${3:-}" ] || head -c "$3" /dev/urandom >>tree/kernel-open/nvidia/nv.c
	"$NVDRIVER" runfile pack tree -o "$2" --kind vgpu-kvm >/dev/null || exit 1
}
driver_name() { echo "NVIDIA-Linux-x86_64-$1-vgpu-kvm.run"; }
# A community patch for it, with what GNU patch 2.8 refuses in its hunk header.
driver_patch() { # FILE
	mkdir -p "$(dirname "$1")"
	printf -- '--- ./kernel/nvidia/nv-kernel.o_binary\n+++ ./kernel/nvidia/nv-kernel.o_binary\n@@ -1,3 +1,3 @@ \0\177ELF\0 x\n one\n-two \001\377\n+TWO \002\376\n three\n' >"$1"
}

# reboot ROOT: the next boot of a machine on which step 1 was run
reboot() {
	local root=$1 kernel group d
	kernel=$(cat "$root/etc/kernel/proxmox-boot-pin" 2>/dev/null) || kernel=$(find "$root/boot" -name 'vmlinuz-*' -printf '%f\n' | sed 's/vmlinuz-//' | sort -V | tail -1)
	echo "$kernel" >"$root/proc/sys/kernel/osrelease"
	put "$root/proc/cmdline" "BOOT_IMAGE=/boot/vmlinuz-$kernel root=/dev/mapper/pve-root ro quiet intel_iommu=on iommu=pt\n"
	: >"$root/proc/modules"
	rm -rf "${root:?}"/run/*
	group=20
	for d in "$root"/sys/bus/pci/devices/*; do
		[ ! -e "$d/iommu_group" ] || continue
		group=$((group + 1))
		mkdir -p "$root/sys/kernel/iommu_groups/$group" "$root/sys/class/iommu/dmar0"
		ln -sfn "../../../../kernel/iommu_groups/$group" "$d/iommu_group"
	done
	sed -i 's/is not enrolled/is already enrolled/; s/is already in the enrollment request/is already enrolled/' "$root/nvdriver-commands.json"
}
# after_step1 ROOT: what the programs that step 1 called leave on a real machine
after_step1() {
	local root=$1 release
	sed -n 's/^apt-get install -y //p' "$root/nvdriver-commands.log" | tr ' ' '\n' | while read -r p; do [ -z "$p" ] || installed "$p"; done >>"$root/var/lib/dpkg/status"
	release=$(sed -n 's/^proxmox-boot-tool kernel pin //p' "$root/nvdriver-commands.log" | tail -1)
	if [ -n "$release" ]; then
		echo "$release" >"$root/etc/kernel/proxmox-boot-pin"
		put "$root/boot/vmlinuz-$release" ""
		cp -r "$root/lib/modules/$(cat "$root/proc/sys/kernel/osrelease")" "$root/lib/modules/$release"
	fi
	if grep -q '^openssl req' "$root/nvdriver-commands.log"; then
		put "$root/var/lib/dkms/mok.key" key
		put "$root/var/lib/dkms/mok.pub" der
	fi
}
# programs ROOT VERSION RUNFILE: (cards are bound already) what the installer of that file, its uninstaller and systemd do there. SIGNER, SMI: what
# modinfo and nvidia-smi vgpu say.
programs() {
	python3 - "$@" "${SIGNER-Proxmox vGPU Module Signing}" "${SMI-}" <<'END'
import glob, json, os, sys
root, version, runfile, signer, smi = sys.argv[1:]
for d in ("sys/module", "var/lib/dkms", "etc/kernel/postinst.d", "sys/class", "usr/lib/nvidia"):
    os.makedirs(root + "/" + d, exist_ok=True)
kernel = open(root + "/proc/sys/kernel/osrelease").read().strip()
path = root + "/nvdriver-commands.json"
all = json.load(open(path))
c = all["commands"]
head = "NVIDIA Accelerated Graphics Driver for Linux-x86_64\n"
unit = "[Unit]\nDescription=daemon\n[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
files = {
    "usr/bin/nvidia-uninstall": "", "usr/bin/nvidia-smi": "", "usr/bin/nvidia-vgpud": "",
    "usr/lib/systemd/system/nvidia-vgpud.service": unit, "usr/lib/systemd/system/nvidia-vgpu-mgr.service": unit,
    "usr/lib/nvidia/sriov-manage": "#!/bin/sh\n",
    "var/lib/nvidia/log": "1.0-1 (%s)\n%s1: /usr/bin/nvidia-uninstall\n0\n1: /usr/bin/nvidia-smi\n0\n1: /usr/bin/nvidia-vgpud\n0\n" % (version, head),
    "var/lib/dkms/nvidia/%s/source/dkms.conf" % version: "",
    "lib/modules/%s/updates/dkms/nvidia.ko" % kernel: "",
    "sys/module/nvidia/version": version + "\n",
}
gone = ["usr/bin/nvidia-uninstall", "usr/bin/nvidia-smi", "usr/bin/nvidia-vgpud", "usr/lib/nvidia/sriov-manage",
        "usr/lib/systemd/system/nvidia-vgpud.service", "usr/lib/systemd/system/nvidia-vgpu-mgr.service", "var/lib/nvidia",
        "var/lib/dkms/nvidia", "lib/modules/%s/updates" % kernel, "sys/module/nvidia"]
name = os.path.basename(runfile)
cards = []
for d in sorted(glob.glob(root + "/sys/bus/pci/devices/*")):
    bdf = os.path.basename(d)
    if os.path.basename(os.path.realpath(d + "/driver")) == "nvidia":
        cards.append(bdf)
for bdf in cards:
    base = "sys/bus/pci/devices/" + bdf
    if not os.path.exists(root + "/" + base + "/sriov_totalvfs"):
        files["sys/class/mdev_bus/%s/mdev_supported_types/nvidia-256/name" % bdf] = "GRID TEST-1Q\n"
        gone.append("sys/class/mdev_bus")
custom = "/var/lib/nvdriver/vgpu/" + name.replace(".run", "-custom.run")
for f in (runfile, custom, "/var/lib/nvdriver/vgpu/" + name):
    c["sh %s *" % f] = {"status": 0, "output": "", "files": files}
c["nvidia-uninstall -s"] = {"status": 0, "output": "", "files": dict.fromkeys(gone)}
c["dkms remove *"] = {"status": 0, "output": "", "files": dict.fromkeys(["var/lib/dkms/nvidia", "lib/modules/%s/updates" % kernel])}
c["apt-get install --reinstall *"] = {"status": 0, "output": ""}
wants = "etc/systemd/system/multi-user.target.wants/"
def enable(u, on, off):
    c["systemctl enable --now " + u] = {"status": 0, "output": "", "files": {wants + u: "", **on}}
    c["systemctl disable --now " + u] = {"status": 0, "output": "", "files": {wants + u: None, **off}}
enable("nvidia-vgpud.service", {}, {})
enable("nvidia-vgpu-mgr.service", {}, {})
on, off = {}, {}
for bdf in cards:
    base = "sys/bus/pci/devices/%s/" % bdf
    if os.path.exists(root + "/" + base + "sriov_totalvfs"):
        on[base + "sriov_numvfs"], off[base + "sriov_numvfs"] = "16\n", "0\n"
        vf = "sys/bus/pci/devices/%s.4" % bdf[:-2]
        on[vf + "/nvidia/creatable_vgpu_types"] = "557 : NVIDIA TEST-1Q\n"
        on[vf + "/physfn/x"] = ""
        for key in ("vendor", "device", "class", "subsystem_vendor", "subsystem_device"):
            on[vf + "/" + key] = open(root + "/" + base + key).read()
        off[vf] = None
for u in ["nvdriver-sriov.service", "pve-nvidia-sriov@ALL.service"] + ["pve-nvidia-sriov@%s.service" % b for b in cards]:
    enable(u, on, off)
c["systemctl show *"] = {"status": 0, "output": "ActiveState=inactive\nResult=success\n"}
c["modinfo -F signer nvidia"] = {"status": 0, "output": signer + "\n"}
c["nvidia-smi"] = {"status": 0, "output": "| NVIDIA-SMI %s |\n" % version}
c["nvidia-smi vgpu"] = {"status": 1 if smi else 0, "output": smi or "| NVIDIA-SMI %s |\n" % version}
c["lspci -d 10de:"] = {"status": 0, "output": "01:00.0 3D controller: NVIDIA\n"}
json.dump(all, open(path, "w"), indent=1)
END
}
# bind ROOT ADDRESS DRIVER: the device is with that driver
bind() {
	mkdir -p "$1/sys/bus/pci/drivers/$3"
	ln -sfn "../../drivers/$3" "$1/sys/bus/pci/devices/$2/driver"
}
nv() { run --root "$root" --store "$work/store" "$@"; }
tree() { (cd "$root" && find . ! -path './var/log*' ! -name 'nvdriver-commands.*' \( -type f -exec sha256sum {} + -o -true \) -printf '%p %y %m %l\n' | LC_ALL=C sort); }
json() { python3 -c 'import json,sys; d = json.load(open("out")); assert eval(sys.argv[1]), d' "$1"; }
# runfile VERSION: one file of each version, packed once
runfile() { [ -e "files/$(driver_name "$1")" ] || { mkdir -p files; driver "$1" "files/$(driver_name "$1")"; }; }
# prepared MACHINE ARGS...: step 1 and the reboot done on it, its driver's file at /root. Sets $branch, $version, $file.
prepared() {
	local m=$1
	shift
	root=$work/$m
	rm -rf "$root" store
	"m_$m" "$root"
	[ -z "${functions:-}" ] || for f in $functions; do echo 32 >"$root/sys/bus/pci/devices/$f/sriov_totalvfs"; echo 0 >"$root/sys/bus/pci/devices/$f/sriov_numvfs"; done
	nv vgpu step 1 --yes --answers answers.json "$@"
	[ "$rc" = 0 ] || { not_ok "$m: step 1" "$(cat err)"; return 1; }
	after_step1 "$root"
	reboot "$root"
	branch=$(sed -n 's/.*"BRANCH": "\(.*\)".*/\1/p' store/targets/*/vgpu.json)
	run --json vgpu drivers "$branch"
	version=$(python3 -c 'import json; print(json.load(open("out"))["driver"]["version"])')
	runfile "$version"
	file=/root/$(driver_name "$version")
	mkdir -p "$root/root" "$root/etc/modprobe.d"
	cp "files/$(driver_name "$version")" "$root$file"
	[ ! -e "$root/var/lib/nvdriver/vgpu/vgpu-proxmox" ] || driver_patch "$root/var/lib/nvdriver/vgpu/vgpu-proxmox/$version.patch"
	local card
	card=$(sed -n 's/.*"CARD": "\(.*\)".*/\1/p' store/targets/*/vgpu.json)
	bind "$root" "$card" nvidia
	for d in "$root"/sys/bus/pci/devices/*; do
		d=${d##*/}
		! grep -qs "\"$d\"" "$root/etc/udev/rules.d/90-vfio-pci.rules" || bind "$root" "$d" vfio-pci
	done
	programs "$root" "$version" "$file"
	: >"$root/nvdriver-commands.log"
	take=(--file "$root$file" --accept-md5)
}
