#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The machine owner's key, the whole chain: firmware with Secure Boot and the vendor's keys, shim, GRUB, the
# distribution's kernel. In boot 1 the vGPU role asks for the certificate as it does on a Proxmox VE host, boot 2 confirms it in
# MokManager by key presses, in boot 3 the kernel trusts what nvdriver signed with that key, what step 2's installer signs with
# it, and what DKMS rebuilds with the configuration of step 1; nothing else.
. "$(dirname "$0")/lib.sh"

PASSWORD=12345678

kernel_use amd64
need_program mcopy:mtools
modules_build stub
keys_make
locked packages pkg_fetch shim-signed shim-helpers-amd64-signed grub-efi-amd64-signed mokutil libefivar1 dkms
for signer in good foreign; do
	sign_modules "$signer" "$WORK/$signer"
done

modules_build fakegpu
kernel_sign good "$MODULES/fakegpu.ko" "$WORK/fakegpu.ko"
modules_build vgpu VGPU_VERSION=535.309.01
stand_in_driver "$MODULES" "$WORK" 535.309.01

# The distribution's DKMS rebuilds the driver as it does for a new kernel, with what step 1 writes for it on a Proxmox VE host.
# Its places are below the scratch directory.
dkms_rebuild() {
	local number=535.309.01
	(
		set +u
		. "$SRC_DIR/tests/cli/vgpu-machines.sh"
		m_pve8_sb_enrolled "$WORK/pve"
	)
	NVDRIVER_DATADIR=$(pve_tables) "$NVDRIVER" --root "$WORK/pve" --store "$WORK/pve-store" vgpu step 1 --yes || return
	mkdir -p "$WORK/dkms-conf/framework.conf.d" "$WORK/dkms" "$WORK/dkms-src/nvidia-$number"
	sed "s#/var/lib/dkms#$WORK/dkms#" "$WORK/pve/etc/dkms/framework.conf.d/nvidia-vgpu.conf" >"$WORK/dkms-conf/framework.conf.d/nvidia-vgpu.conf"
	echo "sign_file=$PKG_ROOT/usr/lib/linux-kbuild-${RELEASE%%.0-*}/scripts/sign-file" >"$WORK/dkms-conf/framework.conf"
	cp "$KEYS/good.key" "$WORK/dkms/mok.key"
	cp "$KEYS/good.der" "$WORK/dkms/mok.pub"
	cp "$VM_DIR/modules/vgpu/"* "$WORK/dkms-src/nvidia-$number/"
	cat >"$WORK/dkms-src/nvidia-$number/dkms.conf" <<-END
		PACKAGE_NAME=nvidia
		PACKAGE_VERSION=$number
		MAKE="make -C \$kernel_source_dir M=\$dkms_tree/nvidia/$number/build VGPU_VERSION=$number modules"
		CLEAN=true
		BUILT_MODULE_NAME=nvidia
		DEST_MODULE_LOCATION=/updates/dkms
	END
	sed "s#/etc/dkms#$WORK/dkms-conf#g; s#/usr/lib/dkms#$PKG_ROOT/usr/lib/dkms#g" "$PKG_ROOT/usr/sbin/dkms" >"$WORK/dkms.sh"
	bash "$WORK/dkms.sh" build "nvidia/$number" -k "$RELEASE" --kernelsourcedir "$KBUILD" --arch x86_64 --dkmstree "$WORK/dkms" \
		--sourcetree "$WORK/dkms-src" || return
	cp "$WORK/dkms/nvidia/$number/$RELEASE/x86_64/module/nvidia.ko" "$WORK/dkms.ko"
}
if dkms_rebuild >"$LOG_DIR/dkms" 2>&1; then
	pass "DKMS rebuilds the driver with the configuration of step 1"
else
	fail "DKMS rebuilds the driver with the configuration of step 1"
	tail -5 "$LOG_DIR/dkms"
fi

sign_file=$PKG_ROOT/usr/lib/linux-kbuild-${RELEASE%%.0-*}/scripts/sign-file
mokutil=$PKG_ROOT/usr/bin/mokutil
pairs=$(pve_host_pairs) || { echo "Bail out! this is no host for vGPU"; exit 1; }
# shellcheck disable=SC2046 # pairs hold no blanks
guest_initramfs "$WORK/initramfs" "$VM_DIR/guest/mok.sh" "$mokutil:/usr/bin/mokutil" $(program_libs "$mokutil" /usr/bin/openssl "$sign_file" /usr/bin/cksum) \
	$pairs /usr/bin/openssl:/usr/bin/openssl "$KEYS/good.der:/good.der" "$KEYS/good.key:/good.key" \
	"$WORK/good:/modules/good" "$WORK/foreign:/modules/foreign" "$WORK/fakegpu.ko:/fakegpu.ko" "$WORK/dkms.ko:/dkms.ko" \
	"$MODULES/nvidia.ko:/unsigned.ko" "$sign_file:/usr/bin/sign-file" "$DRIVER:/root/${DRIVER##*/}" /usr/bin/cksum:/usr/bin/cksum \
	$(kernel_modules efivarfs mdev vfio_iommu_type1)
gzip -1 "$WORK/initramfs"       # GRUB reads slowly

disk=$WORK/disk
truncate -s 96M "$disk"
mformat -F -i "$disk" ::
mmd -i "$disk" ::/EFI ::/EFI/BOOT ::/EFI/debian
cat >"$WORK/grub.cfg" <<-END
	search --file --set=root /vmlinuz
	linux /vmlinuz console=ttyS0 panic=-1 quiet
	initrd /initrd
	boot
END
while read -r from to; do
	mcopy -i "$disk" "$from" "::$to"
done <<-END
	$PKG_ROOT/usr/lib/shim/shimx64.efi.signed /EFI/BOOT/BOOTX64.EFI
	$PKG_ROOT/usr/lib/shim/mmx64.efi.signed /EFI/BOOT/mmx64.efi
	$PKG_ROOT/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed /EFI/BOOT/grubx64.efi
	$WORK/grub.cfg /EFI/debian/grub.cfg
	$KERNEL /vmlinuz
	$WORK/initramfs.gz /initrd
END

FIRMWARE_VARS=$WORK/vars
cp "$PKG_ROOT/usr/share/OVMF/OVMF_VARS_4M.ms.fd" "$FIRMWARE_VARS"
drive=(-drive "if=none,id=disk,format=raw,file=$disk" -device "virtio-blk-pci,drive=disk")

# Wait until the firmware's screen (copied to the console) shows TEXT.
screen_shows() {
	local tries
	for ((tries = 0; tries < 1200; tries++)); do
		sed 's/\x1b\[[0-9;]*[A-Za-z]//g' "$LOG_DIR/mok-confirm.console" 2>/dev/null | grep -aq "$1" && return 0
		sleep 0.1
	done
	return 1
}

# press TEXT KEY...: when TEXT is shown
press() {
	local key text=$1
	shift
	screen_shows "$text" || { fail "MokManager shows \"$text\""; return 1; }
	for key in "$@"; do
		echo "sendkey $key" >&"$MONITOR"
		sleep 0.3
	done
}

enrol_with_keys() {
	local digits
	read -ra digits <<<"${PASSWORD//?/& }"
	press 'Press any key' x &&
		press 'Enroll MOK' down ret &&
		press 'View key 0' down ret &&
		press 'Enroll the key' down ret &&
		press 'Password' "${digits[@]}" ret &&
		press 'Reboot' ret
}

tap_guest request < <(guest_run_secureboot mok-request "" "${drive[@]}")

# The menu garbles over the serial line, so keys go in through QEMU's monitor, which needs a display to send them to.
mkfifo "$WORK/monitor"
exec {MONITOR}<>"$WORK/monitor"
rm -f "$LOG_DIR/mok-confirm.console"
GUEST_INPUT=$WORK/monitor guest_run_secureboot mok-confirm "" "${drive[@]}" -device VGA -monitor stdio >/dev/null &
guest=$!
if enrol_with_keys; then
	pass "confirm: MokManager takes the key presses"
	wait "$guest"
else
	echo quit >&"$MONITOR"
fi
tap_guest enrolled < <(guest_run_secureboot mok-enrolled "" "${drive[@]}")
tap_done
