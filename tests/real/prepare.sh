#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The real driver from the distribution's packages to signed modules of both flavours, and what a warm run costs.
# Leaves the store at $NVD_TEST_CACHE/store, which the tests after it use.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
. "$top/tests/cli/lib.sh"
cache=${NVD_TEST_CACHE:-$top/.cache}
store=${NVD_STORE:-$cache/store}
version=535.261.03
mkdir -p "$cache"

prepare() { run --store "$store" prepare "apt:$version" --kernel apt:amd64 --generate-key --package "$@"; }

before=$(dpkg-query -W | sha256sum; sha256sum /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null; ls /lib/modules /boot 2>/dev/null)
for flavour in open proprietary; do
	prepare --flavour "$flavour"
	if [ "$rc" = 6 ] && grep -qE 'fetch-failed|apt' "$work/err"; then
		echo "the distribution's packages cannot be fetched: $(tail -2 "$work/err" | head -1)"
		exit 77
	fi
	equals "prepare of the $flavour flavour succeeds" "$rc" 0
	sed 's/^/# /' "$work/out"
done
equals "packages, apt configuration, kernels of this machine are as before" \
	"$(dpkg-query -W | sha256sum; sha256sum /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null; ls /lib/modules /boot 2>/dev/null)" "$before"

run --store "$store" --json list
check "the store lists the driver" grep -q "\"version\": \"$version\"" "$work/out"
cert=$(ls "$store"/keys/*.der)
signed=0 modules=0
for ko in "$store"/modules/*/*.ko; do
	[ "$(tail -c 28 "$ko" | tr -d '\n\0')" = '~Module signature appended~' ] || continue
	"$NVDRIVER" modules verify --cert "$cert" "$ko" >/dev/null 2>&1 && signed=$((signed + 1))
	modules=$((modules + 1))
done
equals "every signature is good" "$signed" "$modules"
check "both flavours have five signed modules each" test "$modules" -ge 10
equals "the private key is for its owner only" "$(stat -c %a "$store"/keys/*.key)" 600

# Warm: no child, no network, at most 150 ms beside reading what is verified.
prepare --flavour proprietary
strace -f -e trace=execve,fork,vfork,clone,clone3,socket,connect -o "$work/trace" \
	"$NVDRIVER" --store "$store" prepare "apt:$version" --kernel apt:amd64 --generate-key --package >"$work/out" 2>"$work/err"
equals "a warm run succeeds" $? 0
equals "every stage of a warm run is a hit" "$(grep -cE ' (done|made) ' "$work/out")" 0
equals "a warm run starts no child process" "$(grep -E 'execve|fork|clone' "$work/trace" | grep -v CLONE_THREAD | tail -n +2)" ""
equals "a warm run opens no connection" "$(grep -E 'socket|connect' "$work/trace" | head -3)" ""
run --store "$store" --offline prepare "apt:$version" --kernel apt:amd64 --generate-key --package
equals "a warm run works offline" "$rc" 0
# Wall time is shown; what is asserted is processor time, which other work on the machine does not stretch as much.
cpu_ms() { # COMMAND...: user and system time of a command
	local TIMEFORMAT='%U %S' t
	t=$({ time "$@" >/dev/null 2>&1; } 2>&1)
	awk '{ printf "%d", ($1 + $2) * 1000 }' <<<"$t"
}
best=999999 best_cpu=999999
for _ in 1 2 3 4 5; do
	from=${EPOCHREALTIME/./}
	cpu=$(cpu_ms "$NVDRIVER" --store "$store" prepare "apt:$version" --kernel apt:amd64 --generate-key --package)
	took=$(( (${EPOCHREALTIME/./} - from) / 1000 ))
	[ "$took" -lt "$best" ] && best=$took
	[ "$cpu" -lt "$best_cpu" ] && best_cpu=$cpu
done
prepare --flavour proprietary
set_path=$(awk '/^modules /{getline; print $1}' "$work/out")
verify=$(cpu_ms openssl sha256 "$set_path"/*)
echo "# warm prepare: $best ms, $best_cpu ms of CPU; reading and hashing the module set takes $verify ms of CPU"
check "a warm run takes less than 150 ms beside verification" test "$best_cpu" -lt $((150 + verify))

# One changed byte in a module: noticed, said, and the set made anew from the unsigned one.
printf x | dd of="$set_path/nvidia.ko" bs=1 seek=4096 conv=notrunc 2>/dev/null
prepare --flavour proprietary
equals "a damaged module set is made anew" "$rc" 0
check "which is said" grep -q 'making it anew' "$work/err"
run --store "$store" verify
equals "and the store is sound again" "$rc" 0
run --store "$store" --offline prepare "apt:999.99.99"
equals "offline, a driver that is not there is refused" "$rc" 6
finish
