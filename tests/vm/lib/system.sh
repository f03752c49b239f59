# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# A whole distribution for guests that need one: systemd as process 1, cgroup v2, podman with crun, lxc. Sourced by the tests
# that need it.

# What is put into the image; all of it from the distribution.
SYSTEM_PACKAGES=systemd,systemd-sysv,udev,kmod,procps,podman,crun,lxc,erofs-utils
# Its size; what a guest writes is thrown away with it.
SYSTEM_SIZE=2G

system_image_unlocked() {
	local image=$1 root=$1.root mirror
	[ ! -e "$image" ] || return 0
	mirror=$(pkg_mirror bookworm)
	[ -n "$mirror" ] || tap_cannot_run "apt knows no Debian 12 mirror"
	find "$CACHE/systems" -mindepth 1 -maxdepth 1 -mtime +7 -exec rm -rf {} +
	rm -rf "$root" "$image.tmp"
	mmdebstrap -q --variant=minbase --include="$SYSTEM_PACKAGES" --aptopt='Apt::Install-Recommends "false"' \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$root" "$mirror" >"$LOG_DIR/mmdebstrap" 2>&1 ||
		tap_cannot_run "no system can be made: $(tail -1 "$LOG_DIR/mmdebstrap")"
	# What the guest's initramfs fills: kernel modules, the test's files.
	mkdir -p "$root/bed" "$root/lib/modules"
	rm -rf "${root:?}"/dev/* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
	truncate -s "$SYSTEM_SIZE" "$image.tmp"
	mkfs.ext4 -q -d "$root" "$image.tmp" || tap_cannot_run "mkfs.ext4 cannot make an image of a directory"
	mv "$image.tmp" "$image"
	rm -rf "$root"
}

# Sets SYSTEM_IMAGE to a disk image with that system; kept by what it is made of.
system_image() {
	need_program mmdebstrap:mmdebstrap mkfs.ext4:e2fsprogs
	mkdir -p "$CACHE/systems"
	SYSTEM_IMAGE=$CACHE/systems/$(sha256sum "$VM_DIR/lib/system.sh" | cut -c1-12).img
	locked system system_image_unlocked "$SYSTEM_IMAGE"
}

# system_run NAME BED COMMAND-LINE SHARES...: boots that system; directory BED is /bed there, and systemd runs nothing but
# /bed/test.sh, the assertions before it. `kernel_use` first; SYSTEM_MODULES names kernel modules the guest finds in
# /lib/modules. What the guest writes to its disk is gone afterwards.
system_run() {
	local name=$1 bed=$2 append=$3 shares
	shift 3
	mapfile -t shares < <(driver_share bed "$bed")
	INITRAMFS=$WORK/$name.initramfs
	# shellcheck disable=SC2046,SC2086 # pairs hold no blanks
	guest_initramfs "$INITRAMFS" "$VM_DIR/guest/system.sh" "$VM_DIR/guest/system.service:/system.service" \
		$(kernel_modules virtio_pci virtio_blk ext4 overlay 9p 9pnet_virtio $SYSTEM_MODULES)
	guest_run "$name" "$append systemd.unit=nvdriver-test.service systemd.show_status=0 systemd.log_target=console" \
		-drive "if=none,id=system,format=raw,file=$SYSTEM_IMAGE,snapshot=on,cache=unsafe" \
		-device virtio-blk-pci,drive=system -device virtio-rng-pci "${shares[@]}" "$@"
}
