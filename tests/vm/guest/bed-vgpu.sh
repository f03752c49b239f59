# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
devices=/sys/bus/pci/devices
pf=$devices/0000:41:00.0
vf=$devices/0000:41:00.1
put() { printf '%s' "$1" 2>/dev/null >"$2"; }

exits "a card with SR-IOV appears" 0 insmod /fakegpu.ko ids=0x20b510de domain=0 busnr=0x41 vfs=4
is "its vendor and device" "$(cat $pf/vendor $pf/device | xargs)" "0x10de 0x20b5"
exits "without a driver no functions can be made" 1 put 4 $pf/sriov_numvfs

exits "the mdev host modules load" 0 modprobe nvidia-vgpu-vfio
exits "four functions are made" 0 put 4 $pf/sriov_numvfs
is "and bound" "$(names /sys/bus/pci/drivers/nvidia/ 0000:)" \
	"0000:41:00.0 0000:41:00.1 0000:41:00.2 0000:41:00.3 0000:41:00.4"
is "each offers the types" "$(names $vf/mdev_supported_types/)" "nvidia-256 nvidia-259"
uuid=2d3e1a2c-0000-4000-8000-000000000001
exits "a vGPU is made" 0 put $uuid $vf/mdev_supported_types/nvidia-259/create
is "it is a device" "$(ls /sys/bus/mdev/devices)" $uuid
is "and uses up its function" "$(cat $vf/mdev_supported_types/nvidia-256/available_instances)" 0
exits "it goes away" 0 put 1 /sys/bus/mdev/devices/$uuid/remove
exits "the functions go away" 0 put 0 $pf/sriov_numvfs
exits "the modules go away" 0 modprobe -r nvidia-vgpu-vfio
is "all of them" "$(nvidia_modules)" ""

exits "the host without mdev loads" 0 modprobe nvidia vendor_vfio=1
put 2 $pf/sriov_numvfs
has "the types are an attribute" "$(cat $vf/nvidia/creatable_vgpu_types)" "566   : NVIDIA L40S-8Q"
exits "writing a type works" 0 put 566 $vf/nvidia/current_vgpu_type
is "once" "$(cat $vf/nvidia/current_vgpu_type)" 566
exits "not twice" 1 put 557 $vf/nvidia/current_vgpu_type

modprobe vfio-pci
nic=$devices/0000:00:01.0
put vfio-pci $nic/driver_override
exits "a device behind the IOMMU can be passed on" 0 put 0000:00:01.0 /sys/bus/pci/drivers_probe
is "it is bound" "$(basename "$(readlink $nic/driver)")" vfio-pci
is "and has its group's node" "$(names /dev/vfio/)" "$(basename "$(readlink $nic/iommu_group)") vfio"
finish
