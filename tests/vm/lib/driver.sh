# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The real driver for the guests, made by nvdriver itself: a store with the open modules for the guest's kernel, and
# roots with the user space of two versions installed. Sourced by the tests that need it.

DRIVER_VERSION=535.261.03
# User space that does not fit the modules.
DRIVER_OTHER=535.309.01

# The store: $NVD_STORE, else the one the tests of tests/real leave in the cache.
DRIVER_STORE=${NVD_STORE:-${CACHE%/vm}/store}

# nvdriver on that store; its words are kept for the case of a failure.
driver_run() {
	local status=0
	"$NVDRIVER" --store "$DRIVER_STORE" "$@" >"$LOG_DIR/driver-$1" 2>&1 || status=$?
	[ "$status" != 0 ] || return 0
	grep -q 'fetch-failed\|source-not-found' "$LOG_DIR/driver-$1" &&
		tap_cannot_run "the driver's packages are not to be had: $(tail -2 "$LOG_DIR/driver-$1" | head -1)"
	tail -5 "$LOG_DIR/driver-$1"
	echo "Bail out! nvdriver $* ends with $status, see $LOG_DIR/driver-$1"
	exit 1
}

# The least a root needs for the driver's programs: the C library with its loader.
driver_root_unlocked() {
	local version=$1 to=$2 name lib=usr/lib/x86_64-linux-gnu
	[ ! -d "$to" ] || return 0
	rm -rf "$to.tmp"
	mkdir -p "$to.tmp"/{etc,dev,proc,sys,tmp,var/lib,usr/bin,usr/lib64,$lib}
	ln -s usr/lib "$to.tmp/lib"
	ln -s usr/lib64 "$to.tmp/lib64"
	ln -s usr/bin "$to.tmp/bin"
	echo "/$lib" >"$to.tmp/etc/ld.so.conf"
	cp /etc/os-release "$to.tmp/etc/os-release"
	cp /lib64/ld-linux-x86-64.so.2 "$to.tmp/usr/lib64/"
	for name in libc.so.6 libpthread.so.0 libdl.so.2 librt.so.1 libm.so.6; do
		cp "/lib/x86_64-linux-gnu/$name" "$to.tmp/$lib/"
	done
	driver_run install "$version" --root "$to.tmp" --profile compute --yes
	mv "$to.tmp" "$to"
}

# driver_root VERSION: sets DRIVER_ROOT to a root with that user space, installed by the program under test.
driver_root() {
	DRIVER_ROOT=$CACHE/roots/$1-$(sha256sum "$NVDRIVER" | cut -c1-12)
	mkdir -p "$CACHE/roots"
	find "$CACHE/roots" -mindepth 1 -maxdepth 1 -mtime +1 -exec rm -rf {} +
	locked driver driver_root_unlocked "$1" "$DRIVER_ROOT"
}

# Everything the guest needs: modules of the kernel in use, both user spaces. Nothing is done when it is there.
driver_prepare() {
	driver_run prepare "apt:$DRIVER_VERSION" --kernel apt:amd64 --flavour open --generate-key
	driver_run prepare "apt:$DRIVER_OTHER" --no-modules
}

# driver_share TAG DIRECTORY: QEMU arguments, one per line, that show a directory to the guest, read-only.
driver_share() {
	printf '%s\n' -virtfs "local,path=$2,mount_tag=$1,security_model=none,readonly=on"
}
