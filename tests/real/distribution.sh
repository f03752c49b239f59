#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The packages as people get them: built, checked by lintian, installed in a fresh Debian root, used there on the real driver,
# and removed without a trace.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
. "$top/tests/cli/lib.sh"
. "$top/tests/lib/debian-root.sh"
cache=${NVD_TEST_CACHE:-$top/.cache}
store=${NVD_STORE:-$cache/store}
version=${NVD_VERSION:-535.261.03}
root=$work/root

[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root for chroot"; exit 77; }
for tool in dpkg-buildpackage dh lintian rpmbuild; do
	command -v $tool >/dev/null || { echo "1..0 # SKIP no $tool"; exit 77; }
done
[ -e "$store/refs/driver/$version-x86_64" ] || { echo "1..0 # SKIP no driver $version in $store"; exit 77; }
[ -z "$(git -C "$top" status --porcelain -- packaging src meson.build)" ] || echo "# what is not committed is not in the packages"

# -- made

"$top/packaging/build-deb.sh" "$work/deb" >"$work/deb.log" 2>&1
equals "the Debian package is built and lintian has nothing to say" "$?" 0
grep -E '^[EW]: ' "$work/deb.log" | sed 's/^/# /'
deb=$(echo "$work"/deb/nvdriver_*.deb)
[ -e "$deb" ] || { tail -20 "$work/deb.log" | sed 's/^/# /'; finish; }
"$top/packaging/build-rpm.sh" "$work/rpm" >"$work/rpm.log" 2>&1
equals "the RPM package is built" "$?" 0
rpm=$(echo "$work"/rpm/nvdriver-[0-9]*.rpm)
[ -e "$rpm" ] || { tail -20 "$work/rpm.log" | sed 's/^/# /'; finish; }

# -- in a root

base=$cache/install-base
debian_base "$base"
cp -a --reflink=auto "$base" "$root"
rm -rf "${root:?}/dev" && mkdir "$root/dev"
in_root() { # COMMAND...: in the root with a /proc, a small /dev and the store, which all vanish with the command
	unshare --mount --propagation private sh -c '
		root=$1 store=$2; shift 2
		mount -t proc proc "$root/proc" && mount -t tmpfs dev "$root/dev" && mount --bind "$store" "$root/mnt" || exit 125
		mknod -m 666 "$root/dev/null" c 1 3; mknod -m 666 "$root/dev/urandom" c 1 9
		exec chroot "$root" "$@"' in_root "$root" "$store" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
		DEBIAN_FRONTEND=noninteractive ${http_proxy:+http_proxy="$http_proxy"} "$@"
}
# Every name with kind, mode, owner, link text and content, without what package managers remember and caches they make anew.
snapshot() {
	(cd "$root" && find . \( -path ./var/lib/apt -o -path ./var/cache -o -path ./var/log -o -path ./var/lib/dpkg -o -path ./var/lib/rpm \
		-o -path ./etc/ld.so.cache -o -path ./dev -o -path ./proc -o -path ./mnt \) -prune -o -printf '%p %y %m %U:%G %l\n' | sort
	cd "$root" && find etc usr -type f ! -name ld.so.cache -print0 | sort -z | xargs -0 sha256sum)
}
for file in /etc/apt/apt.conf /etc/apt/apt.conf.d/*proxy* /etc/apt/auth.conf; do
	[ ! -f "$file" ] || cp "$file" "$root$file"
done
cp /etc/resolv.conf "$root/etc/resolv.conf"
echo "deb $(debian_mirror) bookworm main" >"$root/etc/apt/sources.list"
in_root apt-get -q update >"$work/apt" 2>&1 || { tail -5 "$work/apt" | sed 's/^/# /'; echo "1..0 # SKIP no package lists"; exit 77; }

cp "$deb" "$root/tmp/nvdriver.deb"
snapshot >"$work/before"
in_root apt-get -q -y --no-install-recommends install /tmp/nvdriver.deb >"$work/apt" 2>&1
equals "apt installs it with what it needs" "$?" 0
equals "it runs" "$(in_root nvdriver --version)" "$("$NVDRIVER" --version)"
check "the card table is found" sh -c "chroot '$root' nvdriver gpu info 10de:2235 | grep -q A40"
check "the manual is there" test -e "$root/usr/share/man/man8/nvdriver-lxc.8.gz"
check "recovery at boot is enabled" test -L "$root/etc/systemd/system/multi-user.target.wants/nvdriver-recover.service"
in_root run-parts --test /etc/kernel/postinst.d >"$work/parts"
check "the kernel hook is one run-parts takes" grep -qx /etc/kernel/postinst.d/nvdriver "$work/parts"
in_root run-parts --exit-on-error --arg=6.1.0-test --arg=/boot/vmlinuz /etc/kernel/postinst.d >"$work/parts" 2>&1
equals "and without a driver container it does nothing and succeeds" "$? $(cat "$work/parts")" "0 "

in_root nvdriver --store /mnt install "$version" --profile compute >"$work/out" 2>&1
equals "the real driver is installed from a store" "$?" 0
in_root nvdriver --store /mnt verify >>"$work/out" 2>&1
equals "and verified" "$?" 0
in_root nvidia-smi >"$work/smi" 2>&1
[ -e /proc/driver/nvidia/version ] && skip "nvidia-smi fails only for lack of a driver" "this machine runs one" ||
	check "nvidia-smi fails only for lack of a driver" grep -q "couldn't communicate with the NVIDIA driver" "$work/smi"
in_root nvdriver --store /mnt undo --target host >>"$work/out" 2>&1
equals "and taken back" "$?" 0
sed 's/^/# /' "$work/out"

in_root apt-get -q -y purge --autoremove nvdriver >"$work/apt" 2>&1
equals "purged with what came along" "$?" 0
snapshot >"$work/after"
equals "nothing is left" "$(diff "$work/before" "$work/after")" ""

# A store that holds what takes a deployment back outlives the package.
in_root apt-get -q -y --no-install-recommends install /tmp/nvdriver.deb >"$work/apt" 2>&1
mkdir -p "$root/var/lib/nvdriver/targets/host"
in_root apt-get -q -y purge nvdriver >"$work/apt" 2>&1
check "a store with deployments survives a purge" test -d "$root/var/lib/nvdriver/targets/host"

# -- RPM: its names are RHEL's, so only its own contents are looked at.

rpm -qp --requires "$rpm" >"$work/requires" 2>/dev/null
for name in libarchive kmod-libs sqlite-libs 'libcrypto.so.3()(64bit)' 'libjansson.so.4()(64bit)'; do
	check "the RPM requires $name" grep -qxF "$name" "$work/requires"
done
mkdir "$work/unpacked"
(cd "$work/unpacked" && rpm2cpio "$rpm" | cpio -idm --quiet)
equals "its program runs" "$("$work/unpacked/usr/sbin/nvdriver" --version)" "$("$NVDRIVER" --version)"
for file in usr/lib/systemd/system/nvdriver-recover.service usr/lib/kernel/install.d/90-nvdriver.install usr/share/man/man8/nvdriver.8 \
	usr/share/bash-completion/completions/nvdriver; do
	check "it has $file" sh -c "ls '$work/unpacked/$file'*"
done
equals "systemd finds nothing in the unit but that the program is elsewhere" "$(systemd-analyze verify --man=no "$work/unpacked/usr/lib/systemd/system/nvdriver-recover.service" 2>&1 | grep -v 'Command /usr/sbin/nvdriver is not executable')" ""
finish
