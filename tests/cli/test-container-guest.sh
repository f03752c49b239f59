#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# container doctor on a node that is a directory, and the OpenShift builder's entry.
. "$(dirname "$0")/lib.sh"

ln -s "$NVDRIVER" "$work/ocp_dtk_entrypoint"
root=$work/root node=$work/node gpu=$root/sys/bus/pci/devices/0000:01:00.0
mkdir -p "$gpu" "$root/proc/sys/kernel" "$node/etc/modprobe.d" "$root/sys/bus/pci/drivers/nouveau"
echo 0x10de >"$gpu/vendor"; echo 0x20b5 >"$gpu/device"; echo 0x030200 >"$gpu/class"
echo 5.14.0-284.30.1.el9_2.x86_64 >"$root/proc/sys/kernel/osrelease"
echo 'nouveau 100 0 - Live 0x0' >"$root/proc/modules"
ln -s ../../../bus/pci/drivers/nouveau "$gpu/driver"
doctor() { DRIVER_VERSION=535.183.06 TARGETARCH=amd64 run "$@" --root "$root" --store "$work/none" container doctor --host-root "$node"; }

doctor
equals "a node with findings is status 10" "$rc" 10
check "the holder is named" grep -q '0000:01:00.0 (10de:20b5) is held by nouveau' "$work/out"
for step in 'blacklist nouveau' 'options nouveau modeset=0' '/etc/modprobe.d/blacklist-nouveau.conf' 'dracut --force' 'reboot' 'lsmod'; do
	check "the steps have: $step" sh -c "tr -s ' \n' ' ' <'$work/out' | grep -qF '$step'"
done
doctor --json
equals "JSON has the same status" "$rc" 10
check "and its schema" grep -q '"schema": "nvdriver.container-doctor/1"' "$work/out"
check "nothing was made" test ! -e "$work/none"

dtk() { env -i PATH="$PATH" DRIVER_VERSION=535.183.06 TARGETARCH=amd64 "$@" >"$work/out" 2>"$work/err"; }
dtk "$work/ocp_dtk_entrypoint"
equals "no command is a usage error" "$?" 1
dtk "$work/ocp_dtk_entrypoint" build
equals "an unknown one too" "$?" 1
check "and the usage is on stderr" grep -q dtk-build-driver "$work/err"
if [ ! -e /mnt/shared-nvidia-driver-toolkit ]; then
	dtk "$work/ocp_dtk_entrypoint" dtk-build-driver
	equals "outside of such a pod it fails" "$?" 1
	check "and names what is missing" grep -q '/mnt/shared-nvidia-driver-toolkit' "$work/err"
fi
env -i PATH="$PATH" RHCOS_IMAGE_MISSING=true "$work/ocp_dtk_entrypoint" dtk-build-driver >"$work/out" 2>"$work/err" &
builder=$!
for _ in $(seq 100); do grep -q 'nothing to build' "$work/err" && break; sleep 0.1; done
check "without a toolkit image the builder says so and stays" kill -0 $builder
kill -TERM $builder
wait $builder
equals "until a signal, then ends with 0" "$?" 0
finish
