# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
mkdir -p /etc/modprobe.d
echo 'options nvidia NVreg_EnableGpuFirmware=0 NVreg_RegistryDwords="a=1;b=2"' >/etc/modprobe.d/nvidia.conf

exits "modprobe loads a module with what it needs" 0 modprobe nvidia-drm modeset=1
is "load order follows the symbols" "$(nvidia_modules)" "nvidia nvidia_modeset nvidia_drm"
is "a number from modprobe.d arrives" "$(cat /sys/module/nvidia/parameters/NVreg_EnableGpuFirmware)" 0
is "a string from modprobe.d arrives" "$(cat /sys/module/nvidia/parameters/NVreg_RegistryDwords)" "a=1;b=2"
is "the user counts" "$(cat /sys/module/nvidia/refcnt)" 1
is "the user is named" "$(ls /sys/module/nvidia/holders)" nvidia_modeset

mknod /dev/nvidia0 c 195 0
exec 3</dev/nvidia0
exits "a module with a user stays" 1 rmmod nvidia
has "and the user is named" "$ERR" "in use by: nvidia_modeset"
exits "an open device node alone keeps it too" 0 modprobe -r nvidia-drm
is "although modprobe ends with 0" "$(nvidia_modules)" nvidia
exec 3<&-
exits "once closed it goes" 0 modprobe -r nvidia
is "nothing is left" "$(nvidia_modules)" ""

kernel_log >/dev/null
exits "the errno of a failed start comes back" 1 modprobe nvidia stub_fail=19
has "as text" "$ERR" "No such device"
exits "a parameter that is no number is refused" 1 modprobe nvidia NVreg_EnableGpuFirmware=x
has "and the kernel names it" "$(kernel_log)" "invalid for parameter \`NVreg_EnableGpuFirmware'"

path=/sys/module/firmware_class/parameters/path
mkdir -p /tmp/fw/nvidia/535.261.03
echo x >/tmp/fw/nvidia/535.261.03/gsp_ga10x.bin
printf /tmp/fw >$path
modprobe nvidia stub_firmware=1
has "firmware comes from the directory set" "$(kernel_log)" "firmware rc=0 size=2"
modprobe -r nvidia
printf '\0' >$path
is "one NUL byte takes the directory away" "$(cat $path)" ""
finish
