#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every benchmark, one after the other, with what it was run on: half an hour on two cores that have nothing else to do.
#   bench/all.sh STORE BASE    STORE: one that `nvdriver prepare apt:535.261.03 --kernel apt:amd64` filled;
#                              BASE: a Debian 12 root (debootstrap --variant=minbase), copied, not changed
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
store=$(realpath "${1:?usage: bench/all.sh STORE BASE}") base=$(realpath "${2:?and BASE}") version=${VERSION:-535.261.03}
export NVDRIVER=${NVDRIVER:-$PWD/build/src/cli/nvdriver}
tree=$store/$(cat "$store/refs/driver/$version-x86_64")/root

echo "commit $(git describe --always --dirty), $(date -u +%F), Linux $(uname -r), $(nproc) CPUs: $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)"
failed=0
part() { # NAME COMMAND...
	printf '\n%s (load %s)\n' "$1" "$(cut -d' ' -f1 /proc/loadavg)"
	shift
	"$@" || { echo "ended with $?"; failed=1; }
}
TMPDIR=/dev/shm part "run files" bench/runfile.sh "$NVDRIVER" "$tree"
TMPDIR=/dev/shm part "engine" bench/engine.sh "$store" "$base"
part "modules" bench/modules.sh "$store"
TMPDIR=/dev/shm part "driver container" bench/container.sh "$store"
part "bundles" bench/bundle.sh "$store"
part "LXC" bench/lxc.sh "$store"
exit $failed
