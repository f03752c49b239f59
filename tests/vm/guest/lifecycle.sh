# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
good=/modules/good
parameters=/sys/module/nvidia/parameters
firmware=/sys/module/firmware_class/parameters/path

# Nothing of the driver is loaded and no firmware directory is set.
nothing_left() {
	is "$1" "$(nvidia_modules) $(cat $firmware)" " "
}

mkdir -p /etc/modprobe.d /tmp/fw/nvidia/535.261.03
echo x >/tmp/fw/nvidia/535.261.03/gsp_ga10x.bin
echo 'options nvidia NVreg_EnableGpuFirmware=0 NVreg_RegistryDwords="a=1;b=2" stub_firmware=1' >/etc/modprobe.d/nvidia.conf

echo "load"
exits "the modules load" 0 nvdriver load --dir $good --firmware-path /tmp/fw --param nvidia-drm:modeset=1
loaded=$(nvidia_modules)
is "all four" "$(echo "$loaded" | tr ' ' '\n' | sort | xargs)" "nvidia nvidia_drm nvidia_modeset nvidia_uvm"
is "the core first" "${loaded%% *}" nvidia
has "modeset before drm" "${loaded%nvidia_drm*}" nvidia_modeset
is "a number from modprobe.d arrives" "$(cat $parameters/NVreg_EnableGpuFirmware)" 0
is "a string from modprobe.d arrives" "$(cat $parameters/NVreg_RegistryDwords)" "a=1;b=2"
is "a parameter of the kernel's command line arrives" "$(cat $parameters/NVreg_OpenRmEnableUnsupportedGpus)" 1
is "a parameter of our own command line arrives" "$(cat /sys/module/nvidia_drm/parameters/modeset)" Y
is "the firmware directory is set" "$(cat $firmware)" /tmp/fw
has "and was there when the module asked" "$(kernel_log)" "firmware rc=0 size=2"
is "the core is used by two modules" "$(cat /sys/module/nvidia/refcnt)" 2
is "which hold it" "$(names /sys/module/nvidia/holders/)" "nvidia_modeset nvidia_uvm"
exits "loading again finds nothing to do" 0 nvdriver load --dir $good --firmware-path /tmp/fw
is "and changes nothing" "$(nvidia_modules)" "$loaded"
refuses "another version is not loaded beside it" 8 module-other-loaded load --dir /modules/other-version
is "and nothing is changed" "$(nvidia_modules)" "$loaded"
exits "status answers" 0 nvdriver --json status
has "with the version that runs" "$OUT" '"driver_version": "535.261.03"'

echo "unload"
exits "a dry run says what would be unloaded" 0 nvdriver unload --dry-run
has "naming the modules" "$OUT" nvidia
is "and unloads nothing" "$(nvidia_modules)" "$loaded"
mknod /dev/nvidia0 c 195 0
exec 3</dev/nvidia0
refuses "with an open device node nothing is unloaded" 1 module-in-use unload
has "the process is named" "$OUT" "$$"
has "and the node" "$OUT" /dev/nvidia0
is "everything is still loaded" "$(nvidia_modules)" "$loaded"
exec 3<&-
insmod $good/outsider.ko
refuses "a module of somebody else is not unloaded" 1 module-in-use unload
has "it is named" "$OUT" outsider
is "everything is still loaded" "$(nvidia_modules)" "$loaded"
rmmod outsider
exits "then all is unloaded" 0 nvdriver unload --reset-firmware-path
nothing_left "and nothing is left, the firmware directory reset"
exits "unloading again finds nothing to do" 0 nvdriver unload --reset-firmware-path

echo "failures"
rm /etc/modprobe.d/nvidia.conf
refuses "modules of another kernel" 8 module-wrong-kernel load --dir /modules/other-kernel
refuses "a truncated module" 6 module-damaged load --dir /modules/truncated
is "which is named" "$(json object)" nvidia
refuses "a directory without the core module" 7 module-symbol-missing load --dir /modules/incomplete
refuses "a directory that is not there" 1 not-found load --dir /modules/none
echo 'options nvidia NVreg_EnableGpuFirmware=x' >/etc/modprobe.d/nvidia.conf
refuses "a bad parameter" 3 module-parameter-bad load --dir $good --firmware-path /tmp/fw
has "is named" "$OUT" NVreg_EnableGpuFirmware
nothing_left "nothing is left"
echo 'options nvidia-drm modeset=maybe' >/etc/modprobe.d/nvidia.conf
refuses "a failure of the last module" 3 module-parameter-bad load --dir $good --firmware-path /tmp/fw
nothing_left "takes the others away again"
echo 'options nvidia stub_fail=19' >/etc/modprobe.d/nvidia.conf
refuses "a card that is not there" 4 no-gpu load --dir $good
rm /etc/modprobe.d/nvidia.conf
run su nobody -c "nvdriver --json load --dir $good"
is "an ordinary user may not" "$RC $(json slug)" "4 module-permission"
nothing_left "nothing is left in the end"
finish
