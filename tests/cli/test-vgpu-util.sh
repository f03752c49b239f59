#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The stand-alone form: one assignment on stdout and 0, or 1 with the reason in the log.
. "$(dirname "$0")/lib.sh"

ln -s "$NVDRIVER" "$work/vgpu-util"
root=$work/root dev=$root/sys/bus/pci/devices/0000:01:00.0
util() { "$work/vgpu-util" --root "$root" "$@" >"$work/out" 2>"$work/err"; }
mkdir -p "$dev" "$root/drivers"

util count
equals "no GPU: none counted" "$? $(cat "$work/out")" "0 NUM_OF_VGPU_DEVICES=0"
util match -c /drivers/vgpuDriverCatalog.yaml
equals "no GPU is never a match" "$? $(cat "$work/out")" "1 "

echo 0x10de >"$dev/vendor"; echo 0x20b5 >"$dev/device"; echo 0x030200 >"$dev/class"
cp "$(dirname "$0")/../fuzz/corpus/pcicap/good" "$dev/config"
cp "$(dirname "$0")/../fuzz/corpus/catalog/whole" "$root/drivers/vgpuDriverCatalog.yaml"
: >"$root/drivers/NVIDIA-Linux-x86_64-535.129.03-grid.run"
util count
equals "a virtual GPU is counted" "$? $(cat "$work/out")" "0 NUM_OF_VGPU_DEVICES=1"
util match
equals "its guest driver is named" "$? $(cat "$work/out")" "0 DRIVER_VERSION=535.129.03-grid"
check "each step is a JSON line in the log" python3 -c '
import json, sys
for line in open(sys.argv[1]): json.loads(line)' "$root/var/log/vgpu-util.log"
mkdir "$root/other" && mv "$root/drivers/vgpuDriverCatalog.yaml" "$root/other/c.yaml"
util match
equals "a missing catalog fails" "$? $(cat "$work/out")" "1 "
check "and is named in the log" grep -q '"slug":"vgpu-catalog-invalid"' "$root/var/log/vgpu-util.log"
util match --catalog-file=/other/c.yaml --installer-dir /drivers
equals "options name other places" "$? $(cat "$work/out")" "0 DRIVER_VERSION=535.129.03-grid"
VGPU_DRIVER_CATALOG_FILE=/other/c.yaml VGPU_INSTALLER_DIRECTORY=/drivers util match
equals "so does the environment" "$? $(cat "$work/out")" "0 DRIVER_VERSION=535.129.03-grid"
head -c 64 "$dev/config" >"$work/short" && cp "$work/short" "$dev/config"
util count
equals "an unprivileged look is a failure, not none" "$? $(cat "$work/out")" "1 "
util
equals "no command is a usage error" $? 1
util sort
equals "an unknown command too" $? 1
finish
