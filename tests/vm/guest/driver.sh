# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
version=535.261.03
card=0000:41:00.0
firmware=/sys/module/firmware_class/parameters/path
export NVDRIVER_STORE=/store

for module in virtio_pci 9pnet_virtio 9p; do
	modprobe $module || not_ok "the bed: $module loads"
done
for share in store own other; do
	mkdir /$share
	mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose $share /$share
done
for root in own other; do
	mount --bind /dev /$root/dev
	mount --bind /proc /$root/proc
	mount --bind /sys /$root/sys
done
smi() {
	chroot "/$1" /usr/bin/nvidia-smi
}

echo "refusals"
refuses "without a card the driver does not load" 4 no-gpu load
is "and nothing is left" "$(nvidia_modules)" ""
insmod /fakegpu.ko ids=0x20b510de domain=0 busnr=0x41 rambar=1 membase=0x20000000 || not_ok "the bed: a card appears"
insmod /nouveau.ko
refuses "while nouveau holds the card neither" 4 gpu-held-by-other-driver load
has "nouveau is named" "$OUT" nouveau
is "and nothing is left" "$(nvidia_modules)" ""
rmmod nouveau
refuses "modules of another kernel are refused" 8 module-wrong-kernel load --dir /modules/wrong-kernel

echo "load"
echo /opt/found >$firmware # what somebody left there, with its newline
exits "the driver loads" 0 nvdriver load
is "the kernel looks for firmware in the store" "$(cat $firmware)" /run/nvdriver/firmware
is "all of it" "$(nvidia_modules | tr ' ' '\n' | sort | xargs)" "nvidia nvidia_drm nvidia_modeset nvidia_uvm"
has "the driver says its version" "$(cat /proc/driver/nvidia/version)" $version
has "and the card's name" "$(cat /proc/driver/nvidia/gpus/$card/information)" "NVIDIA A100 80GB PCIe"
exits "status answers" 0 nvdriver --json status
is "with the version that runs" "$(json driver_version)" $version
kernel_log >/dev/null
exits "nvidia-smi of the same version finds no usable card" 6 smi own
has "and says so" "$OUT" "No devices were found"
log=$(kernel_log)
has "the kernel took the store's firmware" "$log" "gsp_"
is "none was missing" "$(echo "$log" | grep -c 'Direct firmware load for nvidia')" 0
exits "nvidia-smi of another version does not fit" 18 smi other
has "and says so" "$OUT" "version mismatch"
has "as does the kernel" "$(kernel_log)" "API mismatch"

echo "unload"
exec 3</dev/nvidiactl
refuses "with an open device node nothing is unloaded" 1 module-in-use unload
has "the process is named" "$OUT" "$$"
exec 3<&-
exits "then the driver unloads" 0 nvdriver unload
is "nothing is left" "$(nvidia_modules)" ""
is "the firmware search path is what it was" "$(od -An -c $firmware | tr -d ' \n')" '/opt/found\n\n'
is "nothing of it is left" "$(ls /run/nvdriver 2>/dev/null)" ""
is "no device number is left" "$(grep -c nvidia /proc/devices)" 0
finish
