# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
exits "Secure Boot is on" 0 mokutil --sb-state
has "says the firmware" "$OUT" "SecureBoot enabled"
run mokutil --test-key /good.der
case $OUT in
*"already enrolled"*)
	has "the kernel holds our certificate" "$(cat /proc/keys)" "nvdriver test key good"
	exits "a module signed with the enrolled key loads" 0 insmod /modules/good/nvidia.ko
	rmmod nvidia
	exits "one of a foreign key does not" 1 insmod /modules/foreign/nvidia.ko
	has "because the key is not known" "$(kernel_log)" "unavailable key"
	;;
*)
	exits "before, our module is refused" 1 insmod /modules/good/nvidia.ko
	has "because the key is not known" "$(kernel_log)" "unavailable key"
	mokutil --generate-hash=12345678 >/tmp/hash
	exits "the certificate is asked for" 0 mokutil --import /good.der --hash-file /tmp/hash
	run mokutil --test-key /good.der
	has "and waits for MokManager" "$OUT" "already in the enrollment request"
	;;
esac
finish
