# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
exits "Secure Boot is on" 0 mokutil --sb-state
has "says the firmware" "$OUT" "SecureBoot enabled"
run mokutil --test-key /good.der
case $OUT in
*"already enrolled"*)
	has "the kernel holds our certificate" "$(cat /proc/keys)" "nvdriver test key good"
	exits "modules signed with the enrolled key load" 0 nvdriver load --dir /modules/good
	exits "and unload" 0 nvdriver unload
	refuses "those of a foreign key do not" 4 module-key-unavailable load --dir /modules/foreign
	;;
*)
	refuses "before, our modules are refused" 4 module-key-unavailable load --dir /modules/good
	has "the next step names the tool" "$OUT" "mokutil --import"
	mokutil --generate-hash=12345678 >/tmp/hash
	exits "the certificate is asked for" 0 mokutil --import /good.der --hash-file /tmp/hash
	run mokutil --test-key /good.der
	has "and waits for MokManager" "$OUT" "already in the enrollment request"
	;;
esac
finish
