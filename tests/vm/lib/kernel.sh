# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Kernels for the guests: image and headers unpacked from the distribution's packages, and modules built for them.

# Release of the newest kernel of a flavour: "cloud-amd64" (boots in 2 s, no drm, no mdev) or "amd64".
kernel_release() {
	pkg_apt apt-cache depends "linux-image-$1" |
		awk '/Depends: linux-image-[0-9]/ { sub("linux-image-", "", $2); print $2; exit }'
}

# Unpack image and headers of a release. The header packages are made relocatable: their Makefile includes an
# absolute path, build and source are absolute links.
kernel_fetch_unlocked() {
	local release=$1 abi=${1%-amd64} headers common
	abi=${abi%-cloud}
	headers=$PKG_ROOT/usr/src/linux-headers-$release
	common=$PKG_ROOT/usr/src/linux-headers-$abi-common

	[ ! -e "$headers/.relocated" ] || return 0
	pkg_fetch "linux-image-$release" "linux-headers-$release" "linux-headers-$abi-common" \
		"linux-kbuild-${release%%.0-*}" linux-compiler-gcc-12-x86
	sed -i "s#include /usr/src/#include $PKG_ROOT/usr/src/#" "$headers/Makefile"
	ln -sfn "$headers" "$PKG_ROOT/lib/modules/$release/build"
	ln -sfn "$common" "$PKG_ROOT/lib/modules/$release/source"
	rm -f "$headers/vmlinux"        # with it kbuild wants pahole
	depmod -b "$PKG_ROOT" "$release"
	touch "$headers/.relocated"
}

# Take the newest kernel of FLAVOUR and set RELEASE, KERNEL (image) and KBUILD (build directory) for the test.
kernel_use() {
	need_program qemu-system-x86_64:qemu-system-x86 cpio:cpio modprobe:kmod make:make gcc:gcc
	locked packages pkg_refresh
	RELEASE=$(kernel_release "$1")
	[ -n "$RELEASE" ] || tap_cannot_run "package linux-image-$1 is not to be had"
	locked packages kernel_fetch_unlocked "$RELEASE"
	locked packages pkg_fetch busybox-static
	# shellcheck disable=SC2034 # for the test
	KERNEL=$PKG_ROOT/boot/vmlinuz-$RELEASE
	KBUILD=$PKG_ROOT/lib/modules/$RELEASE/build
	note "kernel $RELEASE"
}

modules_build_unlocked() {
	local name=$1 to=$2 tmp=$2.tmp
	shift 2

	[ ! -d "$to" ] || return 0
	rm -rf "$tmp"
	mkdir -p "$tmp"
	cp "$VM_DIR/modules/$name/"* "$tmp/"
	if ! make -s -j"$(nproc)" -C "$KBUILD" M="$tmp" "$@" modules >"$LOG_DIR/build-$name" 2>&1; then
		tail -5 "$LOG_DIR/build-$name"
		echo "Bail out! test-aid modules $name do not build for $RELEASE, see $LOG_DIR/build-$name"
		exit 1
	fi
	mkdir "$to.new"
	cp "$tmp"/*.ko "$to.new/"
	strip -g "$to.new"/*.ko
	mv "$to.new" "$to"
	rm -rf "$tmp"
}

# modules_build NAME [VARIABLE=VALUE...]: build modules/NAME for the kernel in use; sets MODULES to the directory with
# the .ko files. Kept by kernel release, sources and variables.
modules_build() {
	local name=$1 digest
	shift
	digest=$({
		cat "$VM_DIR/modules/$name/"*
		echo "$@"
	} | sha256sum | cut -c1-12)
	MODULES=$CACHE/modules/$RELEASE/$name-$digest
	mkdir -p "${MODULES%/*}"
	locked modules modules_build_unlocked "$name" "$MODULES" "$@"
}

# "source:destination" of the distribution's own modules NAME... with what they depend on.
kernel_modules() {
	local name path
	for name in "$@"; do
		modprobe -d "$PKG_ROOT" -S "$RELEASE" --show-depends "$name"
	done | awk '$1 == "insmod" { print $2 }' | sort -u | while read -r path; do
		echo "$path:/lib/modules/$RELEASE/kernel/${path##*/}"
	done
}
