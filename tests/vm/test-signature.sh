#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Who signed a module decides whether it loads: enforcement by command line, lockdown, and Secure Boot with a
# platform key. The firmware's variables come ready-made; the kernel is booted directly, so this is the kernel's
# half. The whole chain from the firmware on is test-mok.
. "$(dirname "$0")/lib.sh"

kernel_use cloud-amd64
modules_build stub
keys_make

# One directory of modules per signer; "damaged" is changed after signing with the key the kernel knows.
for signer in foreign platform; do
	sign_modules "$signer" "$WORK/$signer"
done
kernel_sign platform "$MODULES/nvidia.ko" "$WORK/judge.ko"
if cmp "$WORK/judge.ko" "$WORK/platform/nvidia.ko"; then
	pass "nvdriver signs byte for byte as the kernel's own signer"
else
	fail "nvdriver signs byte for byte as the kernel's own signer"
fi

# A hash this kernel has only as a module.
sign_modules platform "$WORK/sha512" sha512
cp -r "$WORK/platform" "$WORK/damaged"
# The middle of the file is neither ELF header nor signature.
printf X | dd of="$WORK/damaged/nvidia.ko" bs=1 seek="$(($(stat -c %s "$MODULES/nvidia.ko") / 2))" conv=notrunc status=none

INITRAMFS=$WORK/initramfs
# shellcheck disable=SC2046 # pairs hold no blanks
guest_initramfs "$INITRAMFS" "$VM_DIR/guest/signature.sh" "$MODULES:/modules/unsigned" \
	"$WORK/foreign:/modules/foreign" "$WORK/platform:/modules/platform" "$WORK/damaged:/modules/damaged" \
	"$WORK/sha512:/modules/sha512" \
	"$PKG_ROOT/lib/modules/$RELEASE/kernel/fs/fuse/fuse.ko:/modules/distribution/fuse.ko" $(kernel_modules efivarfs)

guest_run signature-enforced "module.sig_enforce=1 case=enforced" >"$WORK/enforced" &
guest_run signature-lockdown "lockdown=integrity case=lockdown" >"$WORK/lockdown" &
wait
FIRMWARE_VARS=$WORK/vars
cp "$PKG_ROOT/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd" "$FIRMWARE_VARS"
guest_run_secureboot signature-secureboot "case=secureboot" >"$WORK/secureboot"
for name in enforced lockdown secureboot; do
	tap_guest "$name" <"$WORK/$name"
done
tap_done
