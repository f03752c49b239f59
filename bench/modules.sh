#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One driver's modules for one kernel: a bare make as the vendor's installer runs it, dkms in directories of its own, then nvdriver
# from an empty store, a second kernel, the other flavour with the first one's probe answers, the same again, and a new key.
# About ten minutes with a real driver on two cores.
#   bench/modules.sh [-s] STORE [RELEASE]    STORE: one that `nvdriver prepare apt:535.261.03 --kernel apt:amd64` filled
#   bench/modules.sh -t TREE -k BUILD        an unpacked driver and a kernel's build tree instead
# -s: a second kernel too; apt downloads the headers of the distribution's cloud flavour. $DKMS: the script, if it is not installed.
. "$(dirname "$0")/lib.sh"
tree='' build='' second=''
while getopts st:k: opt; do
	case $opt in
	s) second=1 ;;
	t) tree=$OPTARG ;;
	k) build=$OPTARG ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
if [ -n "$tree" ] && [ -n "$build" ]; then
	use_trees "$tree" "$build"
else
	[ $# -ge 1 ] || usage
	use_store "$@"
fi
jobs=$(nproc)
dkms=${DKMS:-$(command -v dkms || :)}

once() { # TEXT COMMAND...: one row
	local text=$1
	shift
	begin it
	timed it "$@"
	cells "$text" "$(us "$(sample it 1)")" "$(us "$(sample it 2)")" "$(kb "$(sample it 3)")"
}
kbuild=(SYSSRC="$source" SYSOUT="$build" IGNORE_CC_MISMATCH=1 CONFIG_DEBUG_INFO_BTF_MODULES=)
# dkms takes directories of its own by option; where it keeps its settings and key stands in it. To a bare "make" it adds
# KERNELRELEASE=, which sends the driver's Makefile the wrong way: hence the quotes, which the vendor's own dkms.conf has too.
with_dkms() {
	local at=$work/dkms n=0 m
	mkdir -p "$at"/{tree,install,etc,tmp} "$at/src/nvidia-$version"
	cp -r "$tree/kernel/." "$at/src/nvidia-$version/"
	sed "s,/etc/dkms,$at/etc,g; s,/var/lib/dkms,$at/tree,g; s,/etc/sysconfig,$at/etc,g" "$dkms" >"$at/dkms"
	{
		printf 'PACKAGE_NAME="nvidia"\nPACKAGE_VERSION="%s"\nAUTOINSTALL="yes"\nMAKE[0]="'\''make'\'' -j%s modules %s"\nCLEAN="true"\n' "$version" "$jobs" "${kbuild[*]}"
		while read -r m; do
			printf 'BUILT_MODULE_NAME[%d]="%s"\nDEST_MODULE_LOCATION[%d]="/kernel/drivers/char/drm"\n' $n "$m" $n
			n=$((n + 1))
		done
	} >"$at/src/nvidia-$version/dkms.conf" < <(modules_of "$tree/kernel")
	once "dkms build" env TMPDIR="$at/tmp" bash "$at/dkms" build -m nvidia -v "$version" -k "$release/x86_64" --force \
		--kernelsourcedir "$build" --dkmstree "$at/tree" --sourcetree "$at/src" --installtree "$at/install"
	rm -rf "$at"
}
# The directories with sources are the modules.
modules_of() { find "$1" -mindepth 2 -maxdepth 2 -name '*.c' -printf '%h\n' | sort -u | while read -r d; do basename "$d"; done | grep '^nvidia'; }
# The headers of another kernel that share the first one's common directory: unpacked over a copy of them.
second_kernel() {
	local other=${release/-amd64/-cloud-amd64} at=$work/second
	cp -a "$kernel/root" "$at"
	(cd "$work" && apt-get -q -o APT::Sandbox::User=root download "linux-headers-$other") >"$work/log" 2>&1 ||
		{ echo "no headers of $other: the second kernel left out" >&2; return 1; }
	dpkg-deb -x "$work/linux-headers-$other"_*.deb "$at"
	build=$at/usr/src/linux-headers-$other source=$at/${source#"$(realpath "$kernel/root")/"}
	# Its Makefile names the directory where the package would be installed.
	sed -i "s, /usr/src/, $at/usr/src/," "$build/Makefile"
}

heading "modules of $version for $release, $jobs jobs | wall | processor | memory"
cp -r "$tree/kernel" "$work/bare"
# shellcheck disable=SC2046 # names hold no blanks
once "bare make" make -C "$work/bare" -j"$jobs" modules $(interfaces "$work/bare") "${kbuild[@]}"
rm -rf "$work/bare"
[ -z "$dkms" ] || with_dkms
nv=("$nvdriver" --store "$work/store" modules build "$version" --tree "$tree" -j"$jobs")
here=(--kernel-source "$source" --kernel-output "$build")
once "nvdriver, empty store" "${nv[@]}" "${here[@]}"
once "nvdriver, the same again" "${nv[@]}" "${here[@]}"
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=bench -days 2 -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
chmod 600 "$work/key.pem"
once "nvdriver, new key (signs only)" "${nv[@]}" "${here[@]}" --key "$work/key.pem" --cert "$work/cert.pem"
[ ! -d "$tree/kernel-open" ] || once "nvdriver, other flavour, probe answers known" "${nv[@]}" "${here[@]}" --flavour open
if [ -n "$second" ] && second_kernel; then
	once "nvdriver, second kernel" "${nv[@]}" --kernel-source "$source" --kernel-output "$build"
fi
