#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What goes wrong while a real container is given the shared driver: every failure leaves the container as it was, the next run
# converges, and nothing a container's root plants leads out of it.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
# shellcheck source=tests/cli/lib.sh
. "$top/tests/cli/lib.sh"
# shellcheck source=tests/lib/lxc-machine.sh
. "$top/tests/lib/lxc-machine.sh"
private_or_skip "$0" "$@"
cgroups_or_skip
machine_or_skip
sed -i 's/^\[lxc\]/[lxc]\nexec-timeout = 10/' "$host/etc/nvdriver/nvdriver.conf"
rootfs=$lxcpath/ct/rootfs
files() { (cd "$rootfs" && find . -xdev -printf '%p %y %m %U:%G %l\n' | grep -vE '^\./(dev/|dev |run |tmp |proc |sys |etc d|usr/bin d|var/lib d|usr/lib d|etc/ld.so.cache|var/cache/ldconfig|var/lib/nvdriver d|usr/lib/nvdriver d)' | sort); } # the last is LXC's own, the place of a mount
try() { run --root "$host" --json lxc install ct --level static "$@"; }
slug_of() { grep -o '"slug": "[^"]*"' "$work/out" | head -1 | cut -d'"' -f4; }
unchanged() { # TEXT
	equals "$1: files as before" "$(files | diff "$work/before" - | head -5)" ""
	check "$1: configuration as before" cmp "$lxcpath/ct/config" "$work/config.before"
}
converges() { # TEXT
	install ct
	equals "$1: the next run converges" "$rc" 0
	inside ct nvidia-smi >"$work/smi" 2>&1
	equals "$1: nvidia-smi runs" "$?" 9
	run --root "$host" lxc remove ct
	unchanged "$1, then removed"
	lxc-stop -k -P "$lxcpath" -n ct
}
container ct
files >"$work/before"
cp "$lxcpath/ct/config" "$work/config.before"
install ct >/dev/null # the image and the mount are the host's and stay
run --root "$host" lxc remove ct
lxc-stop -k -P "$lxcpath" -n ct

# -- E07: it does not start --
echo "lxc.mount.entry = /nonexistent mnt none bind 0 0" >>"$lxcpath/ct/config"
cp "$lxcpath/ct/config" "$work/config.before"
try --allow-missing-devices
equals "a container that does not start" "$rc $(slug_of)" "5 container-start-failed"
check "the end of its log says why" grep -q '/nonexistent' "$work/out"
unchanged "not started"
sed -i '/nonexistent/d' "$lxcpath/ct/config"
cp "$lxcpath/ct/config" "$work/config.before"
converges "not started"

# -- E08: its devices are no use --
try
equals "devices without a driver behind them" "$rc $(slug_of)" "5 container-device-unusable"
check "each with its verdict" grep -q 'dev/nvidia0: its number belongs to no loaded driver' "$work/out"
unchanged "unusable devices"
equals "unusable devices: it is stopped again" "$(lxc-info -P "$lxcpath" -n ct -sH)" STOPPED

try --no-rollback
equals "without rollback the same" "$rc $(slug_of)" "5 container-device-unusable"
record() { python3 -c "import json; o = json.load(open('$(readlink -f "$NVDRIVER_STORE")/targets/lxc-ct/record.json')); print($1)"; }
equals "but the finished step stays, and the record says how far it came" "$(record "o['result'], sorted(k for k in o['steps'] if o['steps'][k])")" "unfinished ['devices']"
check "with the lines it added" test "$(record "len(o['lines'])")" -gt 3
install ct
equals "the next run goes on from there" "$rc $(record "o['result'], sorted(k for k in o['steps'] if o['steps'][k])")" "0 whole ['devices', 'driver', 'toolkit']"
run --root "$host" lxc remove ct
unchanged "no rollback, then removed"
lxc-stop -k -P "$lxcpath" -n ct

# -- E13, E14, E18 --
cp "$rootfs/var/lib/dpkg/status" "$work/status"
printf '\nPackage: libcuda1\nStatus: install ok installed\nVersion: 1\n' >>"$rootfs/var/lib/dpkg/status"
try --allow-missing-devices
equals "a packaged driver in the way" "$rc $(slug_of)" "7 container-driver-packaged"
check "named" grep -q 'libcuda1' "$work/out"
cp "$work/status" "$rootfs/var/lib/dpkg/status"
unchanged "packaged driver"
: >"$rootfs/etc/alpine-release"
try --allow-missing-devices
equals "a system whose C library the driver cannot use" "$rc $(slug_of)" "5 container-os-unsupported"
rm "$rootfs/etc/alpine-release"
unchanged "other C library"
lxc-start -P "$lxcpath" -n ct
gcc -shared -fPIC -nostdlib -Wl,-soname,libcuda.so.1 -o "$rootfs/usr/local/lib/libcuda.so.550.54.14" "$top/src/roles/lxc/probe/libcuda.c"
ln -s libcuda.so.550.54.14 "$rootfs/usr/local/lib/libcuda.so.1"
inside ct sh -c 'echo /usr/local/lib >/etc/ld.so.conf.d/00-a.conf'
files >"$work/before"
try --allow-missing-devices
equals "another driver that comes first is a mismatch" "$rc $(slug_of)" "8 container-driver-mismatch"
check "that names all versions" grep -q "the container has 550.54.14, wanted is $version (the host has loaded $version)" "$work/out"
equals "another driver: files as before" "$(files | diff "$work/before" -)" ""
inside ct rm /usr/local/lib/libcuda.so.550.54.14 /usr/local/lib/libcuda.so.1 /etc/ld.so.conf.d/00-a.conf
files >"$work/before"
converges "another driver"

# -- E19 and kills --
lxc-start -P "$lxcpath" -n ct
if command -v strace >/dev/null; then
	strace -f -qq -o "$work/trace" -e trace=fsync,fdatasync "$NVDRIVER" --root "$host" lxc install ct --level static --allow-missing-devices >"$work/out" 2>&1
	steps=$(grep -c 'fsync\|fdatasync' "$work/trace")
	run --root "$host" lxc remove ct
	check "a run has many steps" test "$steps" -gt 10
	for ((n = 1; n <= steps; n += (steps + 9) / 10)); do
		{ strace -f -qq -o /dev/null -e trace=fsync,fdatasync -e inject=fsync,fdatasync:signal=KILL:when=$n "$NVDRIVER" --root "$host" lxc install ct --level static --allow-missing-devices >"$work/out" 2>&1; } 2>/dev/null
		run --root "$host" lxc status
		lxc-start -P "$lxcpath" -n ct 2>/dev/null
		if inside ct test -e /usr/bin/nvidia-smi 2>/dev/null; then state=complete; else state=before; fi
		case $state in
		before) equals "killed at step $n of $steps: as before" "$(files | diff "$work/before" - | head -3)" "" ;;
		complete) equals "killed at step $n of $steps: complete" "$(inside ct nvidia-smi >/dev/null 2>&1; echo $?)" 9 ;;
		esac
		install ct
		equals "killed at step $n: the next run converges" "$rc" 0
		run --root "$host" lxc remove ct
	done
	unchanged "killed and removed"
else
	skip "killed at each step" "no strace"
fi

# -- a hostile root: everything we touch, as links that lead out, FIFOs, devices, directories --
mkdir -p "$work/outside/etc" "$work/outside/lib"
outside() { find "$work/outside" -printf '%p %y %s %T@\n' | sort; stat -c '%n %s %Y' /etc/ld.so.conf.d/* /usr/lib/nvdriver /etc/OpenCL /var/lib/nvdriver 2>/dev/null; find "$host" -path "$host/var/lib/lxc" -prune -o -path "$host/run/nvdriver/live" -prune -o -path "$host/var/log" -prune -o -type f -printf '%p %s\n' | sort; }
outside >"$work/outside.before"
plant() { # TEXT COMMAND-INSIDE
	timeout 20 lxc-attach -P "$lxcpath" -n ct --clear-env -- sh -c "$2" 2>/dev/null </dev/null
	timeout 120 "$NVDRIVER" --root "$host" --json lxc install ct --level static --allow-missing-devices >"$work/out" 2>"$work/err" </dev/null
	rc=$?
	check "$1: it ends" test "$rc" != 124
	equals "$1: nothing outside changed" "$(outside | diff "$work/outside.before" - | head -3)" ""
	run --root "$host" lxc remove ct --force
	equals "$1: nor by taking it back" "$(outside | diff "$work/outside.before" - | head -3)" ""
	lxc-stop -k -P "$lxcpath" -n ct
	umount -l "$rootfs"
	rm -rf "$rootfs.upper" "$rootfs.work"
	overlay "$lxc_base" "$rootfs"
	cp "$work/config.before" "$lxcpath/ct/config"
	lxc-start -P "$lxcpath" -n ct
}
o=$work/outside
plant "links" "ln -s $o/lib /usr/lib/nvdriver; rm -rf /etc/ld.so.conf.d; ln -s $o/etc /etc/ld.so.conf.d; mkdir -p /etc/OpenCL; ln -s $o/etc /etc/OpenCL/vendors; ln -s $o/etc/smi /usr/bin/nvidia-smi; ln -s $o /var/lib/nvdriver"
plant "links upwards" "ln -s ../../../../../../..$o/lib /usr/lib/nvdriver; ln -s ../../../../../../..$o /var/lib/nvdriver; rm -rf /etc/ld.so.conf.d; ln -s ../../../../../..$o/etc /etc/ld.so.conf.d"
plant "links through /proc" "ln -s /proc/1/root$o/lib /usr/lib/nvdriver; ln -s /proc/self/root$o /var/lib/nvdriver; rm -rf /etc/ld.so.conf.d; ln -s /proc/1/cwd /etc/ld.so.conf.d"
plant "FIFOs" "mkfifo /usr/bin/nvidia-smi /etc/ld.so.conf.d/00-nvdriver.conf; mkdir -p /var/lib/nvdriver; mkfifo /var/lib/nvdriver/record.json; rm -f /etc/os-release /var/lib/dpkg/status; mkfifo /etc/os-release /var/lib/dpkg/status"
plant "device nodes" "mknod /usr/bin/nvidia-smi c 1 5; rm -f /etc/os-release; mknod /etc/os-release c 1 5; mkdir -p /var/lib/nvdriver; mknod /var/lib/nvdriver/record.json c 1 5; rm -f /etc/ld.so.cache; mknod /etc/ld.so.cache c 1 5"
plant "nodes that are links" "ln -s $o/node /dev/nvidia0; ln -s $o/ctl /dev/nvidiactl; ln -s /proc/1/root$o/uvm /dev/nvidia-uvm"
plant "directories" "mkdir -p /usr/bin/nvidia-smi /etc/ld.so.conf.d/00-nvdriver.conf /var/lib/nvdriver/record.json /dev/nvidia0"
plant "loops" "ln -s loop /usr/lib/nvdriver; ln -s /usr/lib/nvdriver /usr/lib/loop; rm -rf /etc/ld.so.conf.d; ln -s ld.so.conf.d /etc/ld.so.conf.d"
plant "a record that is no record" "mkdir -p /var/lib/nvdriver; head -c 3000000 /dev/zero >/var/lib/nvdriver/record.json; head -c 100000 /dev/urandom >/etc/ld.so.cache"
plant "a race" "(while :; do rm -rf /etc/ld.so.conf.d /usr/lib/nvdriver /var/lib/nvdriver; ln -s $o/etc /etc/ld.so.conf.d; ln -s $o/lib /usr/lib/nvdriver; ln -s $o /var/lib/nvdriver; rm -f /etc/ld.so.conf.d /usr/lib/nvdriver /var/lib/nvdriver; mkdir /etc/ld.so.conf.d /usr/lib/nvdriver /var/lib/nvdriver; done) >/dev/null 2>&1 &"
lxc-stop -k -P "$lxcpath" -n ct
rm -rf "$rootfs/usr/lib/nvdriver"
ln -s "$o/lib" "$rootfs/usr/lib/nvdriver"
install ct >/dev/null
equals "a link in a stopped root: nothing outside changed" "$(outside | diff "$work/outside.before" - | head -3)" ""
finish
