# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The root of a driver container's image. Sourced by the tests that start one in a guest; lib/system.sh is needed too.

# container_tree DIRECTORY: what an image holds: a C library, a shell, kmod, our binary under its names.
container_tree() {
	local to=$1 name
	mkdir -p "$to"/{etc,dev,proc,sys,tmp,run,drivers,var/lib,usr/bin,usr/sbin,usr/lib64,usr/lib/x86_64-linux-gnu,usr/local/bin}
	for name in bin sbin lib lib64; do
		ln -s "usr/$name" "$to/$name"
	done
	ln -s ../run "$to/var/run"
	echo /usr/lib/x86_64-linux-gnu >"$to/etc/ld.so.conf"
	cp /etc/os-release "$to/etc/os-release"
	copy_pairs "$to" "$PKG_ROOT/bin/busybox:/bin/busybox" /sbin/ldconfig:/sbin/ldconfig "$NVDRIVER:/usr/local/bin/nvidia-driver"
	# shellcheck disable=SC2046 # pairs hold no blanks
	copy_pairs "$to" $(program_libs /bin/kmod "$NVDRIVER") /bin/kmod:/bin/kmod
	ln -s busybox "$to/usr/bin/sh"
	ln -s ../bin/kmod "$to/usr/sbin/depmod"
	ln -s nvidia-driver "$to/usr/local/bin/nvdriver"
}
