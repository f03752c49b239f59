#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two drivers and running LXC containers: `lxc sync` after the host's driver changed, rollback, prune. Programs that open the
# driver's libraries all the time never find one missing and never two versions in one directory; nobody is restarted; a version
# somebody still has mapped stays. The second and third driver are the real one's files under another version.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
# In a mount name-space of its own: the id ranges below are for this test alone.
[ -n "${NVD_OWN_MOUNTS:-}" ] || [ "$(id -u)" != 0 ] || exec env NVD_OWN_MOUNTS=1 unshare -m -- bash "$0" "$@"
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
loop=${NVDRIVER%/src/cli/nvdriver}/tests/dlopen-loop
# shellcheck source=tests/cli/lib.sh
. "$top/tests/cli/lib.sh"
# shellcheck source=tests/lib/lxc-machine.sh
. "$top/tests/lib/lxc-machine.sh"
cgroups_or_skip
[ -x "$loop" ] || skip_all "no $loop"
machine_or_skip
ids_for_root
v1=$version v2=${version%.*}.94 v3=${version%.*}.95
says() { [ "$rc" = 0 ] || head -30 "$work/out" "$work/err" | sed 's/^/# /'; }
lxc() { run --root "$host" lxc "$@" --offline; says; }
pids() { for n in "${lxc_names[@]}"; do lxc-info -P "$lxcpath" -n "$n" -pH; done | xargs; }
# The version of what the container's loader finds, by the name of the file.
has() { inside "$1" readlink -f /usr/lib/nvdriver/current/lib/libcuda.so.1 2>/dev/null | sed 's/.*\.so\.//'; }
all_have() { for n in "${lxc_names[@]}"; do has "$n"; done | sort | uniq -c | xargs; }
mounted() { (cd "$host/run/nvdriver/live" && ls -d [0-9]*-*) 2>/dev/null | sed 's/-.*//' | xargs; }
# A mapped container's root: idmapped mounts are not for overlays.
mapped_root() { umount "$lxcpath/$1/rootfs" && cp -a --reflink=auto "$lxc_base/." "$lxcpath/$1/rootfs"; }

for v in $v1 $v2 $v3; do package "$v" "$work/NVIDIA-Linux-x86_64-$v.run"; done
give "$work"/NVIDIA-Linux-x86_64-*.run
container plain
container mapped mapped
mapped_root mapped
for n in plain mapped; do
	lxc-start -P "$lxcpath" -n $n || { echo "Bail out! container $n does not start"; exit 1; }
	install $n
	equals "container $n has the driver" "$rc" 0
	inside $n sh -c 'cat >/usr/bin/dlopen-loop && chmod 755 /usr/bin/dlopen-loop' <"$loop"
done
all=${#lxc_names[@]}
equals "all have the first" "$(all_have)" "$all $v1"
before=$(pids)
# Two that have files of their own, one stopped, one running.
own=(copied vendor)
container copied
container vendor
lxc_names=(plain mapped)
end_own() { for n in "${own[@]}"; do lxc-stop -k -P "$lxcpath" -n $n 2>/dev/null; done; lxc_machine_end; }
trap end_own EXIT
own_version() { ls "$lxcpath/$1/rootfs/$2" | sed -n 's/^libcuda\.so\.\([0-9]*\..*\)/\1/p' | xargs; }
run --root "$host" lxc install copied --delivery tree --level static --allow-missing-devices --offline; says
run --root "$host" lxc install vendor --delivery run --level static --allow-missing-devices --offline; says
lxc-stop -k -P "$lxcpath" -n copied
equals "two have files of their own" "$(own_version copied usr/lib/nvdriver/current/lib) $(own_version vendor usr/lib/x86_64-linux-gnu)" "$v1 $v1"

# -- under load --
declare -A loops
for n in "${lxc_names[@]}"; do
	inside "$n" dlopen-loop /run/stop >"$work/loop.$n" 2>"$work/loop.$n.err" &
	loops[$n]=$!
done
host_has "$v2"
lxc sync --level static --allow-missing-devices
equals "sync after the host's driver changed" "$rc" 0
equals "those with files of their own have it too" "$(own_version copied usr/lib/nvdriver/$v2/lib) $(own_version vendor usr/lib/x86_64-linux-gnu)" "$v2 $v2"
equals "who was stopped is stopped" "$(lxc-info -P "$lxcpath" -n copied -sH) $(lxc-info -P "$lxcpath" -n vendor -sH)" "STOPPED RUNNING"
run --root "$host" lxc remove copied vendor; says
equals "and out again" "$rc $(own_version copied usr/lib/nvdriver/$v2/lib 2>/dev/null)$(own_version vendor usr/lib/x86_64-linux-gnu)" "0 "
check "the loader knows a library whose name has the version" inside plain sh -c "ldconfig -p | grep -q 'libnvidia-tls.so.$v2'"
equals "all have the second, without a restart" "$(all_have) $(pids)" "$all $v2 $before"
lxc sync
equals "a second sync" "$rc" 0
check "finds nothing to do" grep -q already "$work/out"
for ((i = 0; i < 20; i++)); do
	lxc rollback --all
	[ "$rc" = 0 ] || break
done
equals "twenty times there and back" "$rc $(all_have)" "0 $all $v2"
equals "and the way back is open" "$(readlink "$host/run/nvdriver/live/previous" | cut -d- -f1)" "$v1"
if command -v strace >/dev/null; then
	strace -qq -f -e trace=renameat2 -e signal=none -o "$work/renames" "$NVDRIVER" --root "$host" lxc rollback --all >"$work/out" 2>&1
	equals "both names change in one step" "$(grep -c RENAME_EXCHANGE "$work/renames")" 1
	lxc rollback --all
fi
for n in "${lxc_names[@]}"; do
	inside "$n" touch /run/stop 2>/dev/null
	wait "${loops[$n]}"
	equals "in $n no library was ever missing, no directory ever mixed" "$?" 0
	sed 's/^/# /' "$work/loop.$n"
	read -r opened _ versions _ <"$work/loop.$n"
	check "$n saw the switches" test "${versions:-0}" -ge 3 -a "${opened:-0}" -ge 20
done
run --root "$host" --json lxc verify plain mapped --level static
equals "verify agrees" "$rc" 0

# -- a version in use stays --
lxc rollback --all
equals "rollback" "$rc $(all_have)" "0 $all $v1"
for n in "${lxc_names[@]}"; do
	mkfifo "$work/keep.$n"
	inside "$n" dlopen-loop - <"$work/keep.$n" >"$work/held.$n" 2>"$work/held.$n.err" &
	loops[$n]=$!
done
exec 7>"$work/keep.plain" 8>"$work/keep.mapped"
for ((i = 0; i < 100; i++)); do
	[ "$(cat "$work"/held.* | grep -c "holding $v1")" != "$all" ] || break
	sleep 0.1
done
equals "processes hold the first" "$(cat "$work"/held.* | grep -c "holding $v1")" "$all"
lxc sync
host_has "$v3"
lxc sync --prepare "$v3"
equals "prepared: nobody is switched yet" "$rc $(all_have)" "0 $all $v2"
lxc sync
check "who holds an older one is named" grep -q 'still using the old driver: .*dlopen-loop' "$work/out"
equals "the third" "$rc $(all_have) $(pids)" "0 $all $v3 $before"
equals "the first is still mounted: it is in use" "$(mounted)" "$v1 $v2 $v3"
exec 7>&-
wait "${loops[plain]}"
lxc sync
equals "also while one container is left that uses it" "$(mounted)" "$v1 $v2 $v3"
exec 8>&-
wait "${loops[mapped]}"
lxc sync
equals "then it goes, and the one before stays for the way back" "$(mounted)" "$v2 $v3"
lxc rollback --all
equals "which works" "$rc $(all_have) $(pids)" "0 $all $v2 $before"
host_has "$v2"
run --root "$host" --json lxc verify plain mapped --level static
equals "and fits a host that went back too" "$rc" 0
host_has "$v1"
run --root "$host" --json lxc verify plain --level static
equals "a host that went further back is a mismatch" "$rc" 8

# -- a driver that is none --
v4=${version%.*}.96
package "$v4" "$work/NVIDIA-Linux-x86_64-$v4.run"
rm "$work/package/libnvidia-ml.so.$v4"
sed -i '/^libnvidia-ml/d' "$work/package/.manifest"
"$NVDRIVER" runfile pack -q -f "$work/package" -o "$work/NVIDIA-Linux-x86_64-$v4.run" --compression gzip --level 1 >/dev/null
give "$work"/NVIDIA-Linux-x86_64-*.run
had=$(has mapped)
host_has "$v4"
run --root "$host" --json lxc sync --offline
equals "a driver without NVML is given to nobody" "$rc $(has mapped)" "7 $had"
check "for this reason" grep -q 'it has no libnvidia-ml.so.1' "$work/out"
host_has "$v1"

# -- a stopped container has it with its start --
lxc-stop -k -P "$lxcpath" -n plain
lxc sync
lxc-start -P "$lxcpath" -n plain
equals "a container that was stopped during the switch" "$(has plain)" "$v1"
lxc remove plain mapped
equals "remove" "$rc" 0

finish
