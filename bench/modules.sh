#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One driver's modules for one kernel: a bare make as the vendor's installer runs it, then nvdriver from an empty store, the other
# flavour with the first one's probe answers, a hit, and a new key. Takes several minutes; not part of the ordinary check.
#   bench/modules.sh STORE [RELEASE]    STORE: one that `nvdriver prepare apt:535.261.03 --kernel apt:amd64` filled
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
nvdriver=${NVDRIVER:-$top/build/src/cli/nvdriver}
store=${1:?usage: bench/modules.sh STORE [RELEASE]} version=${VERSION:-535.261.03}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/nvd-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
tree=$store/$(cat "$store/refs/driver/$version-x86_64")/root
release=${2:-$(ls "$store/refs/kernels/x86_64" | tail -1)}
kernel=$store/$(cat "$store/refs/kernels/x86_64/$release")
field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }
build=$(realpath "$kernel/root/$(field "$kernel/record.json" build_rel)")
source=$(realpath "$kernel/root/$(field "$kernel/record.json" source_rel)")
jobs=$(nproc)
row() { printf '%-44s %8.1f s wall %8.1f s CPU\n' "$@"; }
# timed NAME COMMAND...: the command's wall and CPU seconds as one row
timed() {
	local name=$1 TIMEFORMAT='%R %U %S' t
	shift
	{ t=$( { time "$@" >"$work/log" 2>&1; } 2>&1 ); } || { echo "$name failed:"; tail -5 "$work/log"; return 1; }
	set -- $t
	row "$name" "$1" "$(awk "BEGIN{print $2 + $3}")"
}
nv() { "$nvdriver" --store "$work/store" modules build "$version" --tree "$tree" --kernel-source "$source" --kernel-output "$build" -j"$jobs" "$@"; }

cp -r "$tree/kernel" "$work/bare"
timed "bare make, proprietary" make -C "$work/bare" -j"$jobs" modules nv-linux.o nv-modeset-linux.o SYSSRC="$source" SYSOUT="$build" IGNORE_CC_MISMATCH=1 CONFIG_DEBUG_INFO_BTF_MODULES=
rm -rf "$work/bare"
timed "nvdriver, empty store, proprietary" nv
timed "nvdriver, probe answers known, open" nv --flavour open
timed "nvdriver, same again (hit)" nv
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=bench -days 2 -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
chmod 600 "$work/key.pem"
timed "nvdriver, new key (signs only)" nv --key "$work/key.pem" --cert "$work/cert.pem"
