# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
rootfs_make() { # AT: what a container needs to run and to be told a Debian
	local program
	mkdir -p "$1"/{etc/ld.so.conf.d,dev,proc,sys,run,tmp,var/lib/dpkg,usr/bin,usr/sbin,usr/lib,usr/lib64}
	for program in bin sbin lib lib64; do ln -s "usr/$program" "$1/$program"; done
	for program in sh sleep cat env true readlink ldconfig; do
		program=$(readlink -f "$(type -P $program)")
		{ echo "$program"; ldd "$program" 2>/dev/null | grep -o '/[^ ]*'; } | while read -r file; do
			mkdir -p "$1/usr$(dirname "${file#/usr}")"
			cp -L "$file" "$1/usr${file#/usr}"
		done
	done
	cp "$(readlink -f "$(command -v sh)")" "$1/usr/bin/sh"
	cp /etc/os-release "$1/etc/"
	: >"$1/var/lib/dpkg/status"
	echo /usr/lib/x86_64-linux-gnu >"$1/etc/ld.so.conf.d/a.conf"
	echo 'include /etc/ld.so.conf.d/*.conf' >"$1/etc/ld.so.conf"
	ldconfig -r "$1"
}
