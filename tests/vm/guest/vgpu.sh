# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
devices=/sys/bus/pci/devices
pf=$devices/0000:41:00.0
vf=$devices/0000:41:00.1
put() { printf '%s' "$1" 2>/dev/null >"$2"; }
nv() { exits "$1" "$2" nvdriver --store /store vgpu "$3" $4 $5 $6 $7 $8; }
ran() { has "$1" "$(cat /tmp/commands)" "$2"; }

. /host.sh
driver=/root/NVIDIA-Linux-x86_64-535.309.01-vgpu-kvm.run

exits "a card with SR-IOV appears" 0 insmod /fakegpu.ko ids=0x20b510de domain=0 busnr=0x41 vfs=4

echo "mediated devices"
nv "step 1" 0 step 1 --yes --branch 16.14
nv "step 2" 0 step 2 --yes --file $driver
has "runs the vendor's installer with its options" "$(cat /var/log/nvidia-installer.log)" "--dkms"
is "which loads the modules" "$(cat /sys/module/nvidia/version)" 535.309.01
has "the unit is ours where the vendor's is missing" "$(cat /etc/systemd/system/nvdriver-sriov.service)" "sriov-manage -e ALL"
is "virtual functions are on, although the first try came too early" "$(cat $pf/sriov_numvfs)" 4
ran "for it is tried again" "systemctl restart nvdriver-sriov.service"
nv "a second run" 0 step 2 --yes
has "finds nothing to do" "$OUT" "nothing to do"
exits "status" 0 nvdriver --store /store vgpu status
has "sees the card with its functions" "$OUT" "0000:41:00.0  10de:20b5  A100 PCIe 80GB, vGPU Native, driver nvidia"
has "and the kernel's types" "$OUT" "type          0000:41:00.1  nvidia-256"
run nvdriver --store /store --json vgpu doctor
has "the doctor finds them" "$OUT" "8 vGPU types are offered"
uuid=00000000-0000-0000-0000-000000000101
exits "a guest's vGPU is made" 0 put $uuid $vf/mdev_supported_types/nvidia-259/create
refuses "under it the driver is not replaced" 1 vgpu-in-use --store /store vgpu upgrade --yes
has "the guest is named" "$(json reason)" "virtual machine 101"
refuses "nor removed" 1 vgpu-in-use --store /store vgpu remove --yes
exits "the vGPU goes" 0 put 1 /sys/bus/mdev/devices/$uuid/remove
nv "then all is taken back" 0 remove --yes
is "the modules are gone" "$(nvidia_modules)" ""
is "and the uninstaller, the unit and the lists" "$(ls /usr/bin/nvidia-uninstall /etc/systemd/system/nvdriver-sriov.service /etc/modprobe.d/nvdriver-vgpu.conf 2>/dev/null)" ""

echo "the vendor's own files"
mkdir -p /etc/modprobe.d
echo 'options nvidia vendor_vfio=1' >/etc/modprobe.d/test.conf
mv "/lib/modules/$(uname -r)/kernel/mdev.ko" /root/
nv "step 1" 0 step 1 --yes --branch 16.14
touch /tmp/installer-fails
refuses "an installer that fails" 7 host-driver-install-failed --store /store vgpu step 2 --yes --file $driver
rm /tmp/installer-fails /usr/bin/nvidia-smi
nv "step 2 goes on" 0 step 2 --yes
has "with types in files of each function" "$OUT" "that mdevctl shows none is normal here"
exits "status" 0 nvdriver --store /store vgpu status
has "lists them" "$OUT" "nvidia-566  NVIDIA L40S-8Q"
exits "a type is chosen" 0 put 566 $vf/nvidia/current_vgpu_type
refuses "and keeps the driver" 1 vgpu-in-use --store /store vgpu upgrade --yes
has "named by type and function" "$(json reason)" "type nvidia-566 on 0000:41:00.1"
put 0 $vf/nvidia/current_vgpu_type
nv "all is taken back" 0 undo
is "nothing is loaded" "$(nvidia_modules)" ""

echo "a second card for passthrough"
other=0000:00:01.0
group=$(basename "$(readlink $devices/$other/iommu_group)")
# What a boot does with a device: the kernel finds it, udev hears of it, the listed modules are loaded.
found_anew() {
	put 1 $devices/$other/remove
	put 1 /sys/bus/pci/rescan
	udevadm settle
}
listed_modules() { sed '/^#/d' /etc/modules /etc/modules-load.d/*.conf 2>/dev/null | while read -r module; do modprobe "$module"; done; }
has_driver() { basename "$(readlink $devices/$other/driver)"; }
exits "udev runs" 0 /lib/systemd/systemd-udevd --daemon
exits "a device behind the IOMMU becomes a card" 0 insmod /costume.ko address=$other id=0x1eb810de
exits "and is seen as one" 0 nvdriver --store /store vgpu status
has "with its group and no driver" "$OUT" "$other  10de:1eb8  Tesla T4, vGPU Native, driver none, group $group"
echo '{ "passthrough": true }' >/tmp/answers.json
exits "step 1 gives it away" 0 nvdriver --store /store vgpu step 1 --yes --branch 16.14 --card 0000:41:00.0 --answers /tmp/answers.json
has "by a rule of its own" "$(cat /etc/udev/rules.d/90-vfio-pci.rules)" "KERNELS==\"$other\""
udevadm control --reload
found_anew
is "after the reboot udev has heard it" "$(cat $devices/$other/driver_override)" vfio-pci
listed_modules
is "and vfio-pci has the card" "$(has_driver)" vfio-pci
is "whose group has its node" "$(names /dev/vfio/)" "$group vfio"
udevadm control --stop-exec-queue
put 1 $devices/$other/remove
put 1 /sys/bus/pci/rescan
is "a boot whose modules are loaded before udev hears of the card" "$(has_driver)" ""
udevadm control --start-exec-queue
udevadm settle
is "ends with the same" "$(has_driver)" vfio-pci
nv "step 2" 0 step 2 --yes --file $driver
is "leaves it there" "$(has_driver)" vfio-pci
exits "status" 0 nvdriver --store /store vgpu status
has "tells the card for vGPU" "$OUT" "0000:41:00.0  10de:20b5  A100 PCIe 80GB, vGPU Native, driver nvidia"
has "from the one given away, with its group" "$OUT" "$other  10de:1eb8  Tesla T4, vGPU Native, driver vfio-pci, group $group"
run nvdriver --store /store --json vgpu status
has "as JSON, too" "$(tr -d ' \n' </tmp/out)" '"driver":"vfio-pci"'
run nvdriver --store /store --json vgpu doctor
case $OUT in *card-driver*) not_ok "the doctor has nothing to say about drivers" "$OUT" ;; *) ok "the doctor has nothing to say about drivers" ;; esac
put $other /sys/bus/pci/drivers/vfio-pci/unbind
run nvdriver --store /store --json vgpu doctor
has "until the card has none" "$OUT" "$other is with no driver instead of vfio-pci"
nv "all is taken back" 0 undo
exits "the rule too" 1 test -e /etc/udev/rules.d/90-vfio-pci.rules
udevadm control --reload
found_anew
is "and the next boot leaves the card alone" "$(cat $devices/$other/driver_override) $(has_driver)" "(null) "
udevadm control --exit
finish
