# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
case=$(sed 's/.*case=//; s/ .*//' /proc/cmdline)
enforced=$(cat /sys/module/module/parameters/sig_enforce)
case $case in
enforced)
	is "the kernel enforces signatures" "$enforced" Y
	;;
lockdown)
	has "the kernel is locked down" "$(cat /sys/kernel/security/lockdown)" "[integrity]"
	;;
secureboot)
	has "the kernel saw Secure Boot" "$(cat /tmp/boot.log)" "Secure boot enabled"
	is "and enforces signatures" "$enforced" Y
	;;
esac

exits "a module of the distribution loads" 0 insmod /modules/distribution/fuse.ko
exits "an unsigned one does not" 1 insmod /modules/unsigned/nvidia.ko
kernel_log
exits "nor one of a foreign key" 1 insmod /modules/foreign/nvidia.ko
kernel_log
finish
