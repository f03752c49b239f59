#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Kinds of real LXC containers the driver goes into, or is refused by: other distributions (by what they say they are), a packaged
# driver in the way, a container in a container, and fifty that are switched by one rename. None has a network.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
# In a mount name-space of its own, where a program can be taken away.
[ -n "${NVD_OWN_MOUNTS:-}" ] || [ "$(id -u)" != 0 ] || exec env NVD_OWN_MOUNTS=1 unshare -m -- bash "$0" "$@"
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
# shellcheck source=tests/cli/lib.sh
. "$top/tests/cli/lib.sh"
# shellcheck source=tests/lib/lxc-machine.sh
. "$top/tests/lib/lxc-machine.sh"
cgroups_or_skip
machine_or_skip
next=${version%.*}.94
lxc() { run --root "$host" --json lxc "$@"; }
in_all() { lxc install "$@" --level static --allow-missing-devices --offline; [ "$rc" = 0 ] || head -30 "$work/out" "$work/err" | sed 's/^/# /'; }
slug_of() { sed -n 's/.*"slug": "\(.*\)".*/\1/p' "$work/out" | head -1; }
smi() { inside "$1" nvidia-smi >"$work/smi" 2>&1; echo $?; }
package "$next" "$work/NVIDIA-Linux-x86_64-$next.run"
give "$work/NVIDIA-Linux-x86_64-$next.run"

# -- what they are --
says_it_is() { # NAME ID VERSION_ID [ID_LIKE]
	container "$1"
	rm -f "$lxcpath/$1/rootfs/etc/os-release"
	printf 'ID=%s\nVERSION_ID="%s"\n%s' "$2" "$3" "${4:+ID_LIKE=\"$4\"
}" >"$lxcpath/$1/rootfs/etc/os-release"
}
says_it_is ubuntu ubuntu 24.04 debian
says_it_is rocky rocky 9.4 "rhel centos fedora"
says_it_is suse opensuse-leap 15.6 suse
for n in ubuntu rocky suse; do
	in_all $n
	equals "$n" "$rc $(smi $n)" "0 9"
	lxc remove $n
	equals "$n: and out again" "$rc $(smi $n)" "0 127"
done
says_it_is alpine alpine 3.20
lxc install alpine --level static --allow-missing-devices
equals "a C library the driver cannot use" "$rc $(slug_of)" "5 container-os-unsupported"
equals "it was not even started" "$(lxc-info -P "$lxcpath" -n alpine -sH)" STOPPED

# -- a host that can make no image: by nothing asked for, a copy --
container copied
host_has "$next"
mkdir "$work/bin.up" "$work/bin.work"
mount -t overlay -o "lowerdir=/usr/bin,upperdir=$work/bin.up,workdir=$work/bin.work" overlay /usr/bin
rm -f /usr/bin/mkfs.erofs
lxc install copied --level static --allow-missing-devices --offline --delivery shared
equals "without mkfs.erofs nothing can be shared" "$rc $(slug_of)" "4 tool-missing"
in_all copied
equals "and a container gets a copy" "$rc $(inside copied ls /usr/lib/nvdriver)" "0 $next
current"
check "which is said" grep -q 'gets a copy of the driver' "$work/err"
lxc install copied --level static --allow-missing-devices --offline
check "once" grep -q 'nothing to do' "$work/out"
host_has "$version"
rm -rf "$NVDRIVER_STORE"/images/*
lxc sync --offline --level static --allow-missing-devices
equals "a sync reaches it too" "$rc $(inside copied readlink /usr/lib/nvdriver/current)" "0 $version"
umount -l /usr/bin
lxc remove copied
host_has "$version"

# -- a packaged driver --
container debian
lxc-start -P "$lxcpath" -n debian
mkdir -p "$work/deb/DEBIAN" "$work/deb/usr/lib/x86_64-linux-gnu"
printf 'Package: libcuda1\nVersion: 1\nArchitecture: amd64\nMaintainer: T <t@example.org>\nDescription: stand-in\n' >"$work/deb/DEBIAN/control"
cp "$work/package/libcuda.so.$next" "$work/deb/usr/lib/x86_64-linux-gnu/"
chmod 755 "$work/deb/DEBIAN"
dpkg-deb -Zgzip -b "$work/deb" "$lxcpath/debian/rootfs/libcuda1.deb" >"$work/dpkg" 2>&1
inside debian dpkg -i /libcuda1.deb >"$work/dpkg" 2>&1 || { cat "$work/dpkg"; echo "Bail out! no package in the container"; exit 1; }
lxc install debian --level static --allow-missing-devices
equals "a packaged driver is in the way" "$rc $(slug_of)" "7 container-driver-packaged"
check "and named" grep -q 'bring a driver: libcuda1' "$work/out"
check "nothing was touched" inside debian test ! -e /usr/lib/nvdriver -a -e /usr/lib/x86_64-linux-gnu/libcuda.so.$next
in_all debian --replace-packages
equals "purged by the container's own apt, offline" "$rc $(smi debian)" "0 9"
check "the package is gone" sh -c "! lxc-attach -P '$lxcpath' -n debian --clear-env -- dpkg -s libcuda1"

# -- a container in a container --
lxc_files() { dpkg -L lxc liblxc1 liblxc-common libapparmor1 libseccomp2 libcap2 2>/dev/null | while read -r f; do [ -d "$f" ] || echo "$f"; done; }
container outer
lxc_files | tar -cf - -T - 2>/dev/null | tar -xf - -C "$lxcpath/outer/rootfs" --keep-directory-symlink
mkdir -p "$lxcpath/outer/rootfs/var/lib/lxc/inner/rootfs"
overlay "$lxc_base" "$work/inner"
mount --bind "$work/inner" "$lxcpath/outer/rootfs/var/lib/lxc/inner/rootfs"
cat >>"$lxcpath/outer/config" <<-END
	lxc.include = /usr/share/lxc/config/nesting.conf
	lxc.mount.auto = cgroup:rw:force
END
cat >"$lxcpath/outer/rootfs/var/lib/lxc/inner/config" <<-END
	lxc.include = /usr/share/lxc/config/common.conf
	lxc.uts.name = inner
	lxc.rootfs.path = dir:/var/lib/lxc/inner/rootfs
	lxc.net.0.type = empty
	lxc.apparmor.profile = unconfined
	lxc.init.cmd = /bin/sleep infinity
	lxc.signal.halt = SIGKILL
	lxc.mount.entry = /usr/lib/nvdriver usr/lib/nvdriver none rbind,rslave,ro,create=dir 0 0
	lxc.mount.entry = /dev/nvidiactl dev/nvidiactl none bind,create=file 0 0
	lxc.mount.entry = /dev/nvidia0 dev/nvidia0 none bind,create=file 0 0
	lxc.cgroup.devices.allow = c 195:0 rw
	lxc.cgroup.devices.allow = c 195:255 rw
	lxc.cgroup2.devices.allow = c 195:0 rw
	lxc.cgroup2.devices.allow = c 195:255 rw
END
lxc-start -P "$lxcpath" -n outer || { echo "Bail out! the outer container does not start"; exit 1; }
in_all outer
equals "the outer container" "$rc $(smi outer)" "0 9"
nested() { inside outer lxc-attach -n inner --clear-env -- "$@"; }
if inside outer ldconfig && inside outer lxc-start -n inner >"$work/nested" 2>&1; then
	nested sh -c 'echo /usr/lib/nvdriver/current/lib >/etc/ld.so.conf.d/00-nvdriver.conf && ldconfig'
	nested /usr/lib/nvdriver/current/bin/nvidia-smi >"$work/smi" 2>&1
	equals "the inner one has the same driver by lines of its own" "$?" 9
	inner=$(inside outer lxc-info -n inner -pH)
	host_has "$next"
	lxc sync --offline
	equals "after a switch" "$rc" 0
	check "it has the new driver at once" nested test -e "/usr/lib/nvdriver/current/lib/libcuda.so.$next"
	equals "and runs on" "$(inside outer lxc-info -n inner -pH)" "$inner"
	nested sh -c 'mount -o remount,rw /usr/lib/nvdriver/current/ 2>/dev/null; : >/usr/lib/nvdriver/current/lib/libcuda.so.1' 2>/dev/null
	check "and cannot change it" test "$?" != 0
	host_has "$version"
	lxc sync --offline
	inside outer lxc-stop -k -n inner
else
	skip "the inner container" "LXC does not start in a container here: $(head -1 "$work/nested")"
fi

# -- fifty --
fleet=()
for ((i = 1; i <= 50; i++)); do
	container "f$i"
	sed -i '/^lxc.cgroup/d' "$lxcpath/f$i/config"
	lxc-start -P "$lxcpath" -n "f$i"
	fleet+=("f$i")
done
pids() { for n in "${fleet[@]}"; do lxc-info -P "$lxcpath" -n "$n" -pH; done | xargs; }
have() { for p in $(pids); do [ -e "/proc/$p/root/usr/lib/nvdriver/current/lib/libcuda.so.$1" ] && echo yes; done | grep -c yes; }
before=$(pids)
in_all "${fleet[@]}"
equals "fifty containers" "$rc $(have "$version")" "0 50"
host_has "$next"
lxc sync --offline
equals "have another driver after one rename" "$rc $(have "$next")" "0 50"
lxc rollback --all
equals "and the first again after another" "$rc $(have "$version")" "0 50"
equals "and were never restarted" "$(pids)" "$before"
host_has "$version"
lxc verify "${fleet[@]}" --level static
equals "verify finds nothing in any" "$rc" 0
lxc remove "${fleet[@]}"
equals "and out of fifty" "$rc $(have "$version")" "0 0"

finish
