# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
own=535.261.03
other=535.309.01
smi() { LD_LIBRARY_PATH="/smi/$1" "/smi/$1/nvidia-smi"; }
echo "initramfs unpacked, $(awk '/MemAvail/ {print $2}' /proc/meminfo) kB available, up $(cut -d' ' -f1 /proc/uptime) s"
for m in video drm drm_kms_helper; do modprobe $m; done
exits "without a card the driver does not load" 1 insmod /modules/driver/nvidia.ko
has "says the kernel" "$(kernel_log)" "No NVIDIA GPU found"
exits "a card appears" 0 insmod /fakegpu.ko ids=0x20b510de domain=0 busnr=0x41 rambar=1 membase=0x20000000
exits "nouveau takes it" 0 insmod /nouveau.ko
kernel_log >/dev/null
exits "so the driver does not load" 1 insmod /modules/driver/nvidia.ko
has "says the kernel" "$(kernel_log)" "nouveau"
rmmod nouveau
for m in nvidia nvidia-uvm nvidia-modeset nvidia-drm; do
	exits "then $m loads" 0 insmod /modules/driver/$m.ko
done
has "the driver says its version" "$(cat /proc/driver/nvidia/version)" "$own"
has "and the card's name" "$(cat /proc/driver/nvidia/gpus/0000:41:00.0/information)" "NVIDIA A100 80GB PCIe"
kernel_log >/dev/null
exits "nvidia-smi that fits finds no usable card" 6 smi $own
has "and says so" "$OUT" "No devices were found"
exits "nvidia-smi that does not fit" 18 smi $other
has "says so" "$OUT" "version mismatch"
has "as does the kernel" "$(kernel_log)" "API mismatch"
rmmod nvidia-drm
rmmod nvidia-modeset
rmmod nvidia-uvm
rmmod nvidia
is "nothing is left" "$(nvidia_modules)" ""
finish
