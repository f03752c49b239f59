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

	# The driver's own modules: rebuilt by DKMS, and installed by step 2.
	exits "a card" 0 insmod /fakegpu.ko ids=0x20b510de domain=0 busnr=0x41 vfs=4
	run insmod /unsigned.ko
	is "its driver does not load without a signature" "$RC $(nvidia_modules)" "1 "
	has "for want of one" "$(kernel_log)" "Loading of unsigned module is rejected"
	exits "what DKMS rebuilt and signed with that key loads" 0 insmod /dkms.ko
	rmmod nvidia
	echo '{ "no_iommu": true }' >/tmp/answers
	driver=/root/NVIDIA-Linux-x86_64-535.309.01-vgpu-kvm.run
	step() { exits "$1" 0 nvdriver --store /store vgpu step "$2" --yes --answers /tmp/answers $3 $4; }
	step "step 1 with the key enrolled" 1 --branch 16.14
	has "tells DKMS of the key" "$(cat /etc/dkms/framework.conf.d/nvidia-vgpu.conf)" "mok_signing_key=/var/lib/dkms/mok.key"
	touch /tmp/installer-forgets-the-key
	refuses "a driver installed without a signature is found out" 7 host-driver-unsigned --store /store vgpu step 2 --yes --answers /tmp/answers --file $driver
	is "and is not loaded" "$(nvidia_modules)" ""
	rm /tmp/installer-forgets-the-key
	exits "it is taken back" 0 nvdriver --store /store vgpu remove --yes
	step "step 1 again" 1 --branch 16.14
	step "step 2" 2 --file $driver
	has "hands the key to the vendor's installer" "$(cat /var/log/nvidia-installer.log)" "--module-signing-secret-key=/var/lib/dkms/mok.key --module-signing-public-key=/var/lib/dkms/mok.pub"
	is "the modules it signed are loaded" "$(cat /sys/module/nvidia/version) $(nvidia_modules)" "535.309.01 nvidia nvidia_vgpu_vfio"
	run nvdriver --store /store vgpu doctor
	has "and the doctor names their signer" "$OUT" "the nvidia module is signed by nvdriver test key good"
	has "the types are offered" "$OUT" "vGPU types are offered"
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
