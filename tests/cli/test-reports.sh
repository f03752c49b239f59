#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# status, list, verify and doctor on a machine that is a directory.
. "$(dirname "$0")/lib.sh"

root=$work/root store=$work/store card=$work/root/sys/bus/pci/devices/0000:41:00.0
mkdir -p "$root"/{etc,proc/sys/kernel,proc/driver/nvidia,sys/module,usr/lib/x86_64-linux-gnu} "$card" "$root/sys/bus/pci/drivers/nouveau"
echo 'PRETTY_NAME="Example Linux 1"' >"$root/etc/os-release"
echo 6.1.0-1-amd64 >"$root/proc/sys/kernel/osrelease"
echo 'nouveau 100 1 - Live 0x0' >"$root/proc/modules"
echo 0x10de >"$card/vendor"
echo 0x20b5 >"$card/device"
echo 0x030200 >"$card/class"
ln -s ../../drivers/nouveau "$card/driver"
nv() { run --root "$root" --store "$store" "$@"; }
row() { grep -A1 "^[a-z]* *$1 " "$work/out" | tr -s ' ' | tr '\n' ' '; }

nv status
equals "status succeeds without a store" "$rc" 0
check "status names the system and its kernel" grep -q 'Example Linux 1, kernel 6.1.0-1-amd64' "$work/out"
check "status shows the module in the way" grep -q 'module nouveau, used by 1' "$work/out"
nv doctor
equals "doctor's findings are status 10" "$rc" 10
check "a card held by another driver is a warning" grep -q '^warn *gpus *1 NVIDIA GPU, 1 held by another driver' "$work/out"
check "nouveau is a failure with a next step" grep -qE 'fail nouveau .*next: blacklist' <<<"$(row nouveau)"
check "a kernel without headers has a next step" grep -qE 'warn kernel .*next: .*--kernel apt:' <<<"$(row kernel)"
check "nothing was made" test ! -e "$store"
nv --json doctor
check "JSON counts the findings" grep -q '"findings": [1-9]' "$work/out"

# Another driver runs than the one installed.
: >"$root/proc/modules"
rm "$card/driver"
ln -s ../../drivers/nvidia "$card/driver"
mkdir -p "$root/sys/bus/pci/drivers/nvidia"
echo 'NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.261.03  Tue' >"$root/proc/driver/nvidia/version"
nv status
check "status names the running driver" grep -q '^running *driver 535.261.03' "$work/out"
nv doctor
check "libraries of another version are named" grep -q '^warn *versions *driver 535.261.03 runs' "$work/out"
: >"$root/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.535.261.03"
nv doctor
check "matching ones are fine" grep -q '^ok *versions' "$work/out"

nv prepare /does/not/exist # fails, but a store is there from now on
nv list
equals "an empty store can be listed" "$rc" 0
mkdir -p "$store/packages/$(printf '%064d' 0)"
echo x >"$store/packages/$(printf '%064d' 0)/x.run"
nv verify
equals "a package whose digest is not its name is status 10" "$rc" 10
check "and named" grep -q '^damaged *packages/0000' "$work/out"
echo 7 >"$store/format"
slug "a store of another format is refused" 3 store-format --root "$root" --store "$store" list
finish
