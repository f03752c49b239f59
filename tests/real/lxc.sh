#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The real driver into real LXC containers: privileged and with an id mapping, started for it and running already, by the shared
# image and by a copy, through LXC itself and through Proxmox VE's tool (a stand-in). The host's facts are a directory's, for
# no driver is loaded here: the devices are nodes without a driver behind them, and nvidia-smi ends with status 9.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
# In a mount name-space of its own: the id ranges below are for this test alone.
[ -n "${NVD_OWN_MOUNTS:-}" ] || [ "$(id -u)" != 0 ] || exec env NVD_OWN_MOUNTS=1 unshare -m -- bash "$0" "$@"
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
# shellcheck source=tests/cli/lib.sh
. "$top/tests/cli/lib.sh"
cache=${NVD_TEST_CACHE:-$top/.cache}
version=${NVD_VERSION:-535.261.03}
base=${NVD_TEST_ROOT:-$cache/lxc-base}
host=$work/host lxcpath=$work/host/var/lib/lxc

[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root"; exit 77; }
grep -q ' - cgroup2\? ' /proc/self/mountinfo || { echo "1..0 # SKIP no control groups here, so no container starts"; exit 77; }
command -v lxc-start >/dev/null || { echo "1..0 # SKIP no lxc"; exit 77; }
[ -e "$cache/store/refs/driver/$version-x86_64" ] || { echo "1..0 # SKIP no driver $version in $cache/store"; exit 77; }
if [ ! -e "$base/etc/os-release" ]; then
	command -v mmdebstrap >/dev/null || { echo "1..0 # SKIP no mmdebstrap"; exit 77; }
	mmdebstrap --variant=minbase bookworm "$base.part" >"$work/mmdebstrap" 2>&1 ||
		{ rm -rf "$base.part"; echo "1..0 # SKIP mmdebstrap failed: $(tail -1 "$work/mmdebstrap")"; exit 77; }
	mv "$base.part" "$base"
fi
lxc_end() {
	for n in plain mapped 101; do lxc-stop -k -P "$lxcpath" -n "$n" 2>/dev/null; done
	for m in "$host"/run/nvdriver/live/[0-9]* "$host"/run/nvdriver/live; do mountpoint -q "$m" && umount -l "$m"; done
	umount -l "$work/store" 2>/dev/null
	rm -rf --one-file-system "$work"
}
trap lxc_end EXIT
chmod 755 "$work"
for f in subuid subgid; do
	[ -e "/etc/$f" ] || continue
	{ cat "/etc/$f"; echo root:100000:65536; } >"$work/$f"
	mount --bind "$work/$f" "/etc/$f"
done
mkdir -p "$work"/store{,.upper,.work}
mount -t overlay -o "lowerdir=$cache/store,upperdir=$work/store.upper,workdir=$work/store.work" overlay "$work/store" 2>/dev/null ||
	cp -a --reflink=auto "$cache/store/." "$work/store"
export NVDRIVER_STORE=$work/store

mkdir -p "$host"/{proc/driver/nvidia/gpus/0000:01:00.0,sys,dev,run,bin,etc/nvdriver,usr/sbin,var/lib/dpkg} "$lxcpath"
cp /bin/true "$host/bin/sh"
printf '[lxc]\nlxcpath = %s\npct = %s/usr/sbin/pct\nstart-timeout = 3\nexec-timeout = 10\nnode-wait = 1\nnode-poll-ms = 200\npause = 1\n' "$lxcpath" "$host" >"$host/etc/nvdriver/nvdriver.conf"
echo "NVRM version: NVIDIA UNIX x86_64 Kernel Module  $version  x" >"$host/proc/driver/nvidia/version"
printf 'Model: \t\t NVIDIA L40\nBus Location: \t 0000:01:00.0\nDevice Minor: \t 0\n' >"$host/proc/driver/nvidia/gpus/0000:01:00.0/information"
printf 'Character devices:\n195 nvidia\n511 nvidia-uvm\n\nBlock devices:\n' >"$host/proc/devices"
[ ! -e /sys/fs/cgroup/cgroup.controllers ] || { mkdir -p "$host/sys/fs/cgroup"; : >"$host/sys/fs/cgroup/cgroup.controllers"; }

container() { # NAME FILE [mapped]
	mkdir -p "$lxcpath/$1"
	cp -a --reflink=auto "$base" "$lxcpath/$1/rootfs"
	{
		echo "lxc.include = /usr/share/lxc/config/common.conf"
		if [ "${3:-}" = mapped ]; then
			printf 'lxc.include = /usr/share/lxc/config/userns.conf\nlxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\nlxc.rootfs.options = idmap=container\n'
		fi
		printf 'lxc.uts.name = %s\nlxc.rootfs.path = dir:%s/%s/rootfs\nlxc.net.0.type = empty\nlxc.init.cmd = /bin/sleep infinity\nlxc.apparmor.profile = unconfined\n' "$1" "$lxcpath" "$1"
	} >"$lxcpath/$1/$2"
}
inside() { local n=$1; shift; lxc-attach -P "$lxcpath" -n "$n" --clear-env -- "$@"; }
install() { run --root "$host" lxc install "$@" --level static --allow-missing-devices; }
files() { (cd "$lxcpath/$1/rootfs" && find . -xdev -printf '%p %y %m %U:%G %l\n' | grep -vE '^\./(dev/|var/cache/ldconfig/aux-cache|usr/lib/nvdriver d|var/lib/nvdriver d)' | sort); }

container plain config
container mapped config mapped
for n in plain mapped; do files "$n" >"$work/$n.before"; cp "$lxcpath/$n/config" "$work/$n.config"; done

install plain
equals "a stopped, privileged container" "$rc" 0
inside plain nvidia-smi >"$work/smi" 2>&1
equals "nvidia-smi runs and finds no driver loaded" "$?" 9
inside plain sh -c 'exec 3<>/dev/nvidia0' 2>"$work/open"
check "the device is let through and has no driver" grep -qi "no such device" "$work/open"
cp "$lxcpath/plain/config" "$work/plain.once"
before=$(find "$work/store/targets/lxc-plain" | wc -l)
install plain
equals "a second run" "$rc" 0
check "finds nothing to do" grep -q "nothing to do" "$work/out"
check "and writes nothing" test "$before" = "$(find "$work/store/targets/lxc-plain" | wc -l)"
check "also not in the configuration" cmp "$lxcpath/plain/config" "$work/plain.once"
inside plain sh -c 'mount -o remount,rw /usr/lib/nvdriver/current/ 2>/dev/null; : >/usr/lib/nvdriver/current/lib/libcuda.so.1' 2>/dev/null
check "a privileged container cannot change the shared driver" test "$?" != 0

if grep -q '^root:100000:' /etc/subuid 2>/dev/null || ! command -v newuidmap >/dev/null; then
	lxc-start -P "$lxcpath" -n mapped
	pid=$(lxc-info -P "$lxcpath" -n mapped -pH)
	install mapped
	equals "a running container with an id mapping" "$rc" 0
	equals "is not restarted" "$(lxc-info -P "$lxcpath" -n mapped -pH)" "$pid"
	inside mapped nvidia-smi >"$work/smi" 2>&1
	equals "nvidia-smi runs there too" "$?" 9
	run --root "$host" lxc remove mapped
	equals "remove" "$rc" 0
	inside mapped sh -c 'test ! -e /dev/nvidia0 && test ! -e /usr/bin/nvidia-smi'
	equals "takes devices and tools out of the running container" "$?" 0
	equals "its files are as before" "$(files mapped | diff "$work/mapped.before" -)" ""
	check "and its configuration" cmp "$lxcpath/mapped/config" "$work/mapped.config"
	lxc-stop -k -P "$lxcpath" -n mapped
	install mapped --delivery tree
	equals "delivery by copy" "$rc" 0
	inside mapped nvidia-smi >"$work/smi" 2>&1
	equals "works" "$?" 9
	check "without the mount" test -e "$lxcpath/mapped/rootfs/usr/lib/nvdriver/$version/lib/libcuda.so.1"
	run --root "$host" lxc remove mapped
	equals "and goes again" "$(files mapped | diff "$work/mapped.before" -)" ""
else
	skip "containers with an id mapping" "root:100000:65536 is not in /etc/subuid"
fi

# A link planted by the container's root leads nowhere but inside.
mkdir -p "$work/outside" "$lxcpath/plain/rootfs/$work"
run --root "$host" lxc remove plain
equals "remove of the privileged one" "$rc" 0
check "its devices are gone while it runs" sh -c "! grep -q ' /dev/nvidia' /proc/$(lxc-info -P "$lxcpath" -n plain -pH)/mountinfo"
inside plain sh -c 'rm -f /dev/nv; mknod /dev/nv c 195 0; exec 3<>/dev/nv' 2>"$work/open"
check "and it may no longer open one it makes itself" grep -qi "not permitted" "$work/open"
inside plain rm -f /dev/nv
inside plain sh -c "rm -rf /etc/ld.so.conf.d && ln -s $work/outside /etc/ld.so.conf.d"
install plain
equals "nothing was written outside the container" "$(ls "$work/outside")" ""
inside plain sh -c "rm /etc/ld.so.conf.d && mkdir /etc/ld.so.conf.d && mkfifo /etc/ld.so.conf.d/00-nvdriver.conf"
install plain
check "a FIFO in the way is refused, not waited for" test "$rc" != 0
inside plain rm /etc/ld.so.conf.d/00-nvdriver.conf

# The same machine as a Proxmox VE host.
mkdir -p "$host/etc/pve/lxc"
cp "$top/tests/lib/pct" "$host/usr/sbin/pct"
printf 'Package: pve-container\nStatus: install ok installed\nVersion: 5.2.3\n' >"$host/var/lib/dpkg/status"
container 101 config.base
printf 'arch: amd64\nhostname: ct101\n\n[snap]\narch: amd64\n' >"$host/etc/pve/lxc/101.conf"
cp "$host/etc/pve/lxc/101.conf" "$work/101.before"
install 101
equals "through pct" "$rc" 0
# As the hypervisor set-up calls it: its feature script, of which one function's body is ours, judged by exit status alone.
mkdir -p "$host/usr/local/phoenix_hypervisor/bin/lxc_setup"
feature=$host/usr/local/phoenix_hypervisor/bin/lxc_setup/phoenix_hypervisor_feature_install_nvidia.sh
cat >"$feature" <<S
#!/bin/bash
set -e
CTID=\$1
install_drivers_in_container() {
	"$NVDRIVER" --root "$host" lxc install "\$1" --level static --allow-missing-devices
}
if ! install_drivers_in_container "\$CTID"; then exit 1; fi
S
bash "$feature" 101 >"$work/feature" 2>&1
equals "the set-up's feature script" "$?" 0
bash "$feature" 102 >"$work/feature" 2>&1
equals "fails for a container that is not there" "$?" 1
"$host/usr/sbin/pct" exec 101 -- nvidia-smi >"$work/smi" 2>&1
equals "nvidia-smi runs" "$?" 9
install 101
check "a second run finds nothing to do" grep -q "nothing to do" "$work/out"
run --root "$host" lxc remove 101
check "remove gives the configuration back, snapshots included" cmp "$host/etc/pve/lxc/101.conf" "$work/101.before"

finish
