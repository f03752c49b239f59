# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
exits "Secure Boot is on" 0 mokutil --sb-state
has "says the firmware" "$OUT" "SecureBoot enabled"
run mokutil --test-key /good.der
case $OUT in
*"already enrolled"*)
	has "the kernel holds our certificate" "$(cat /proc/keys)" "nvdriver test key good"
	. /host.sh
	rm /usr/local/sbin/mokutil
	mkdir -p /var/lib/dkms
	cp /good.der /var/lib/dkms/mok.pub
	cp /good.key /var/lib/dkms/mok.key
	run nvdriver --store /store vgpu doctor
	has "and the vGPU role sees it enrolled" "$OUT" "signing key: enrolled"
	exits "modules signed with the enrolled key load" 0 nvdriver load --dir /modules/good
	exits "and unload" 0 nvdriver unload
	refuses "those of a foreign key do not" 4 module-key-unavailable load --dir /modules/foreign
	;;
*)
	refuses "before, our modules are refused" 4 module-key-unavailable load --dir /modules/good
	has "the next step names the tool" "$OUT" "mokutil --import"
	# As on a Proxmox VE host, by the vGPU role; the pair stands where DKMS has its own.
	. /host.sh
	rm /usr/local/sbin/mokutil
	mkdir -p /var/lib/dkms
	cp /good.der /var/lib/dkms/mok.pub
	cp /good.key /var/lib/dkms/mok.key
	echo '{ "no_card": true, "mok_password": "12345678" }' >/tmp/answers
	exits "the certificate is asked for" 0 nvdriver --store /store vgpu step 1 --yes --answers /tmp/answers
	has "and the person is told how it goes on" "$OUT" 'choose "Enroll MOK"'
	run mokutil --test-key /good.der
	has "it waits for MokManager" "$OUT" "already in the enrollment request"
	run nvdriver --store /store vgpu doctor
	has "which the doctor says" "$OUT" "waiting to be confirmed in the firmware's menu"
	exits "asking again changes nothing" 0 nvdriver --store /store vgpu step 1 --yes --answers /tmp/answers
	has "the set-up is complete" "$OUT" "nothing to do"
	;;
esac
finish
