#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Delivery `run` into real LXC containers: a run file packed from the real driver's files, whose installer is a stand-in with the
# vendor's options, log and ways to fail. All edges of the specification's table, to other deliveries and back, a full disk, a
# program killed at many of its steps: afterwards the same command converges, and `remove` leaves what was there before.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
# shellcheck source=tests/cli/lib.sh
. "$top/tests/cli/lib.sh"
# shellcheck source=tests/lib/lxc-machine.sh
. "$top/tests/lib/lxc-machine.sh"
cgroups_or_skip
machine_or_skip
lib=usr/lib/x86_64-linux-gnu
by_run() { run --root "$host" --json lxc install ct --delivery run --level static --allow-missing-devices --offline "$@"; }
says() { [ "$rc" = 0 ] || head -30 "$work/out" "$work/err" | sed 's/^/# /'; }
slug_of() { sed -n 's/.*"slug": "\(.*\)".*/\1/p' "$work/out" | head -1; }
mode() { if [ -n "$1" ]; then inside ct sh -c "echo '$1' >/etc/stand-in"; else inside ct rm -f /etc/stand-in; fi; }
# What is on the container's disk, but caches and logs
files() { (cd "$lxcpath/ct/rootfs" && find . -xdev \( -path ./dev -o -path ./var/cache/ldconfig -o -path ./etc/ld.so.cache -o -path './etc/stand-in' -o -path './run/stand-in*' -o -path ./var/log/nvidia-installer.log \) -prune -o -printf '%p %y %m %l\n' | grep -vE '^\./(etc|usr/lib|usr/lib/nvdriver|var/lib|var/lib/nvdriver|usr/lib/x86_64-linux-gnu) d' | sort); }
clean() { # TEXT: nothing of a run is left
	equals "$1" "$(files | diff "$work/before" - | head -5)" ""
}
failed() { # TEXT STATUS SLUG
	equals "$1: status and slug" "$rc $(slug_of)" "$2 $3"
	clean "$1: nothing is left in the container"
}
refresh() { lxc-start -P "$lxcpath" -n ct; }

small=$work/NVIDIA-Linux-x86_64-$version.run
package "$version" "$small"
container ct
refresh
files >"$work/before"
conf_before=$(cat "$lxcpath/ct/config")

# -- the whole way, and back --
by_run
equals "nothing cached and no network" "$rc $(slug_of)" "6 network-refused-offline"
give "$small"
by_run; says
equals "installed by the vendor's installer" "$rc" 0
inside ct nvidia-smi >"$work/smi" 2>&1
equals "nvidia-smi runs and finds no driver loaded" "$?" 9
check "libraries where the installer puts them" test -e "$lxcpath/ct/rootfs/$lib/libcuda.so.$version"
check "the run file is gone" test -z "$(inside ct sh -c 'ls /tmp/*.run /tmp/.nvdriver* 2>/dev/null')"
check "so is the directory it was unpacked in" test ! -e "$lxcpath/ct/rootfs/var/tmp/nvdriver-unpack"
check "its options are kept beside the run file" grep -q -- --no-rebuild-initramfs "$cachedir/$(basename "$small").options"
rm -rf "${cachedir:?}"
by_run
check "a second run finds nothing to do, without the run file" grep -q '"result": "nothing to do"' "$work/out"
lxc-stop -k -P "$lxcpath" -n ct
run --root "$host" lxc remove ct
equals "remove of a stopped container's" "$rc" 0
equals "it is stopped again" "$(lxc-info -P "$lxcpath" -n ct -sH)" STOPPED
clean "the uninstaller took everything out"
equals "the configuration is as before" "$(cat "$lxcpath/ct/config")" "$conf_before"
give "$small"
by_run --keep-runfile; says
check "--keep-runfile" test -e "$lxcpath/ct/rootfs/tmp/$(basename "$small")"
run --root "$host" lxc remove ct
clean "and remove takes it too"

# -- an installer that knows fewer options --
package "$version" "$small" "--no-rebuild-initramfs --skip-depmod --no-kernel-module"
give "$small"
by_run; says
equals "an installer without three options" "$rc" 0
run --root "$host" lxc remove ct
package "$version" "$small"
give "$small"

# -- other deliveries and back --
by_run
run --root "$host" lxc install ct --delivery shared --level static --allow-missing-devices; says
equals "from run to shared" "$rc" 0
check "the installer's files are gone" test ! -e "$lxcpath/ct/rootfs/$lib/libcuda.so.$version"
inside ct nvidia-smi >"$work/smi" 2>&1
equals "nvidia-smi runs" "$?" 9
by_run; says
equals "from shared to run" "$rc" 0
check "the mount is gone from the running container" sh -c "! grep -q ' /usr/lib/nvdriver ' /proc/$(lxc-info -P "$lxcpath" -n ct -pH)/mountinfo"
check "and from its configuration" sh -c "! grep -rq 'usr/lib/nvdriver' '$NVDRIVER_STORE/targets/lxc-ct/devices.conf'"
check "no link leads there" test -z "$(find "$lxcpath/ct/rootfs/usr/bin" -lname '/usr/lib/nvdriver/*')"
run --root "$host" lxc install ct --delivery tree --level static --allow-missing-devices; says
equals "from run to a copy" "$rc" 0
check "libraries of the copy" test -e "$lxcpath/ct/rootfs/usr/lib/nvdriver/$version/lib/libcuda.so.1"
by_run; says
equals "from a copy to run" "$rc" 0
check "the copy is gone" test ! -e "$lxcpath/ct/rootfs/usr/lib/nvdriver/$version/lib/libcuda.so.1"
run --root "$host" lxc install ct --delivery tree --level static --allow-missing-devices; says
run --root "$host" lxc install ct --delivery shared --level static --allow-missing-devices; says
equals "from a copy to shared" "$rc" 0
check "it is the mount that is used" inside ct grep -q ' /usr/lib/nvdriver' /proc/mounts
run --root "$host" lxc install ct --delivery tree --level static --allow-missing-devices; says
equals "from shared to a copy" "$rc" 0
inside ct nvidia-smi >"$work/smi" 2>&1
equals "nvidia-smi runs again" "$?" 9
run --root "$host" lxc remove ct; says
equals "remove of all of it" "$rc" 0
clean "nothing is left of any delivery"

# -- it fails in the vendor's ways --
mode fails
by_run
failed "the installer fails" 7 container-installer-failed
check "with the end of its log" grep -q 'step 10.*Unable to find a suitable destination' "$work/out"
mode nothing
by_run
failed "it ends well without having done anything" 7 container-installer-failed
mode "other 535.261.04"
by_run
failed "it brings another version" 8 container-driver-mismatch
mode slow
echo "install-timeout = 2" >>"$host/etc/nvdriver/nvdriver.conf"
by_run
failed "it does not end" 7 container-installer-failed
sed -i '/install-timeout/d' "$host/etc/nvdriver/nvdriver.conf"
mode ""
package "$version" "$small" "--no-x-check"
give "$small"
by_run; says
equals "an option it lacks is left out" "$rc" 0
# As if it listed one it refuses.
sed -i '$a\  --no-x-check' "$cachedir/$(basename "$small").options"
run --root "$host" lxc remove ct
by_run
failed "an option it refuses" 7 container-installer-failed
check "is named" grep -q 'Unrecognized option' "$work/out"
package "$version" "$small"
give "$small"

# -- no space --
mkdir -p "$lxcpath/ct/rootfs/small"
lxc-stop -k -P "$lxcpath" -n ct
echo "lxc.mount.entry = tmpfs small tmpfs size=20m 0 0" >>"$lxcpath/ct/config"
refresh
files >"$work/before"
by_run --container-tmp /small
failed "too small a directory" 7 container-no-space
check "how much is needed is said" grep -q '/small.* has .* MiB free, .* MiB are needed' "$work/out"
lxc-stop -k -P "$lxcpath" -n ct
rm -rf "$lxcpath/ct/rootfs/small"
sed -i '$d' "$lxcpath/ct/config"
refresh
files >"$work/before"
# A root file system that is full before the installer has finished, and before a copy has.
mkdir -p "$lxcpath/full/rootfs"
mount -t tmpfs -o size=330m,mode=755 tmpfs "$lxcpath/full/rootfs"
cp -a "$lxc_base/." "$lxcpath/full/rootfs/"
sed 's/\bct\b/full/; s,/ct/,/full/,' "$lxcpath/ct/config" >"$lxcpath/full/config"
lxc_names+=(full)
lxc-start -P "$lxcpath" -n full
inside full sh -c 'head -c 20m /dev/zero >/filler; rm -f /filler; head -c $(($(df -k --output=avail / | tail -1) * 1024 - 60000000)) /dev/zero >/filler'
used() { df -k --output=used "$lxcpath/full/rootfs" | tail -1; }
before=$(used)
run --root "$host" --json lxc install full --delivery run --level static --allow-missing-devices --offline
equals "the disk is full while unpacking or installing" "$rc $(slug_of)" "7 container-no-space"
after=$(used)
check "no space was lost" test $((after - before)) -lt 1000
run --root "$host" --json lxc install full --delivery tree --level static --allow-missing-devices --offline
equals "the disk is full while copying" "$rc $(slug_of)" "7 container-no-space"
after=$(used)
check "no space was lost by that either" test $((after - before)) -lt 1000
inside full rm /filler
run --root "$host" --json lxc install full --delivery run --level static --allow-missing-devices --offline; says
equals "with space it converges" "$rc" 0

# -- killed --
killed_rest() { # TEXT: what a killed run left is settled by the next
	by_run; says
	equals "$1: the next run converges" "$rc" 0
	check "$1: it runs" test -x "$lxcpath/ct/rootfs/usr/bin/nvidia-uninstall" -a -e "$lxcpath/ct/rootfs/$lib/libcuda.so.$version"
	run --root "$host" lxc remove ct; says
	clean "$1: remove leaves what was there"
}
mode slow
"$NVDRIVER" --root "$host" lxc install ct --delivery run --level static --allow-missing-devices --offline >"$work/killed" 2>&1 &
pid=$!
for ((i = 0; i < 300; i++)); do
	[ ! -e "$lxcpath/ct/rootfs/run/stand-in-waits" ] || break
	sleep 0.1
done
kill -9 $pid
wait $pid 2>/dev/null
mode ""
killed_rest "killed while the installer runs"
check "the installer did not go on beside the next run" test ! -e "$lxcpath/ct/rootfs/run/stand-in-went-on"
mode slow
rm -f "$lxcpath/ct/rootfs/run/stand-in-waits"
"$NVDRIVER" --root "$host" --json lxc install ct --delivery run --level static --allow-missing-devices --offline >"$work/out" 2>&1 &
pid=$!
for ((i = 0; i < 300; i++)); do
	[ ! -e "$lxcpath/ct/rootfs/run/stand-in-waits" ] || break
	sleep 0.1
done
kill -TERM $pid
wait $pid 2>/dev/null
check "SIGTERM while the installer runs is a failure" test "$?" != 0
clean "and takes everything back before it ends"
mode ""
if command -v strace >/dev/null; then
	strace -qq -o "$work/trace" -e trace=fsync "$NVDRIVER" --root "$host" lxc install ct --delivery run --level static --allow-missing-devices --offline >"$work/out" 2>&1
	steps=$(grep -c '^fsync' "$work/trace")
	run --root "$host" lxc remove ct
	check "a run has many steps" test "$steps" -gt 20
	for ((n = 1; n <= steps; n += (steps + 4) / 5)); do
		{ strace -qq -o /dev/null -e trace=fsync -e inject=fsync:signal=KILL:when=$n "$NVDRIVER" --root "$host" lxc install ct \
			--delivery run --level static --allow-missing-devices --offline >"$work/out" 2>&1; } 2>/dev/null
		killed_rest "killed at step $n of $steps"
	done
else
	skip "killed at each step" "no strace"
fi

# -- all libraries of the real driver --
tree=$NVDRIVER_STORE/$(cat "$NVDRIVER_STORE/refs/driver/$version-x86_64")/root
whole=$work/whole
mkdir -p "$whole"
cp -al "$tree/." "$whole/" 2>/dev/null || cp -a "$tree/." "$whole/"
rm -rf "$whole"/{kernel,kernel-open,firmware,html,nvoptix.bin,nvidia-installer}
cp --remove-destination "$tree/.manifest" "$whole/.manifest"
chmod u+w "$whole/.manifest"
sed -i -E '/^(kernel|kernel-open|firmware|html)\/|^nvoptix\.bin /d' "$whole/.manifest"
cp "$work/package/nvidia-installer" "$whole/"
rm "$small"
"$NVDRIVER" runfile pack -q "$whole" -o "$small" --compression none >"$work/pack" 2>&1 || { cat "$work/pack"; echo "Bail out! no run file"; exit 1; }
give "$small"
by_run; says
equals "every library of the real driver" "$rc" 0
inside ct nvidia-smi >"$work/smi" 2>&1
equals "nvidia-smi runs" "$?" 9
run --root "$host" lxc remove ct; says
clean "and remove takes all of it"

# -- through Proxmox VE's tool --
mkdir -p "$host/etc/pve/lxc"
cp "$top/tests/lib/pct" "$host/usr/sbin/pct"
printf 'Package: pve-container\nStatus: install ok installed\nVersion: 5.2.3\n' >"$host/var/lib/dpkg/status"
package "$version" "$small"
give "$small"
container 101
mv "$lxcpath/101/config" "$lxcpath/101/config.base"
printf 'arch: amd64\nhostname: ct101\n\n[snap]\narch: amd64\n' >"$host/etc/pve/lxc/101.conf"
cp "$host/etc/pve/lxc/101.conf" "$work/101.before"
pct="$host/usr/sbin/pct"
run --root "$host" --json lxc install 101 --delivery run --level static --allow-missing-devices --offline; says
equals "through pct" "$rc" 0
"$pct" exec 101 -- nvidia-smi >"$work/smi" 2>&1
equals "nvidia-smi runs" "$?" 9
check "the run file is gone there too" test -z "$(ls "$lxcpath/101/rootfs/tmp")"
"$pct" stop 101
run --root "$host" lxc remove 101; says
equals "remove" "$rc $("$pct" status 101)" "0 status: stopped"
check "its uninstaller ran" test ! -e "$lxcpath/101/rootfs/usr/bin/nvidia-smi" -a ! -e "$lxcpath/101/rootfs/$lib/libcuda.so.$version"
check "the configuration is as before, snapshots included" cmp "$host/etc/pve/lxc/101.conf" "$work/101.before"
"$pct" start 101
"$pct" exec 101 -- sh -c 'echo fails >/etc/stand-in'
"$pct" stop 101
run --root "$host" --json lxc install 101 --delivery run --level static --allow-missing-devices --offline
equals "a failing installer" "$rc $(slug_of)" "7 container-installer-failed"
equals "the container is stopped again, and its configuration as before" "$("$pct" status 101) $(cmp "$host/etc/pve/lxc/101.conf" "$work/101.before")" "status: stopped "
check "nothing is left in it" test -z "$(find "$lxcpath/101/rootfs/tmp" "$lxcpath/101/rootfs/var/tmp" -mindepth 1)"

finish
