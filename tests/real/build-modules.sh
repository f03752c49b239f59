#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the store knows after both flavours of the real driver were built: probe answers shared, patch recorded, keys that compile
# nothing, a compile error told apart. Works on the store prepare.sh left; compiles only until the first error.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
. "$top/tests/cli/lib.sh"
cache=${NVD_TEST_CACHE:-$top/.cache}
store=${NVD_STORE:-$cache/store}
version=535.261.03
ref=$(ls -d "$store/refs/modules/$version"/open/x86_64/*/ 2>/dev/null | tail -1)
[ -n "$ref" ] || { echo "no module sets of $version in $store: run tests/real/prepare.sh first"; exit 77; }
release=$(basename "$ref")

# fact FLAVOUR JSON-PATH: of the unsigned set
fact() {
	local r
	for r in "$store"/modules/*/record.json; do
		python3 - "$r" "$1" "$release" "$2" <<'P'
import json, sys
r = json.load(open(sys.argv[1]))
if not r["signed"] and r["flavour"] == sys.argv[2] and r["release"] == sys.argv[3] and r["driver"] == "535.261.03":
    v = r
    for k in sys.argv[4].split("."):
        v = v[int(k)] if isinstance(v, list) else v.get(k, "")
    print(v if not isinstance(v, list) else len(v))
P
	done | tail -1
}
first=$(( $(fact proprietary build.probes_reused) < $(fact open build.probes_reused) ? 0 : 1 ))
flavours=(proprietary open)
second=${flavours[$((1 - first))]}
check "the second flavour ($second) reused more than 300 probe answers" test "$(fact "$second" build.probes_reused)" -gt 300
check "and asked fewer than 20" test "$(fact "$second" build.probes_run)" -lt 20
for f in proprietary open; do
	equals "five modules of the $f flavour" "$(fact $f modules)" 5
	equals "vermagic of the $f flavour is the kernel's" "$(fact $f vermagic | cut -d' ' -f1)" "$release"
	echo "# $f: $(fact $f build.wall_ms) ms, $(fact $f build.cpu_ms) ms of CPU, $(fact $f build.jobs) jobs, $(fact $f build.probes_reused) probe answers reused"
done
headers=$(ls -d "$store"/kernels/*/root/usr/src/linux-headers-*common/include/linux/pci.h 2>/dev/null | tail -1)
if [ -n "$headers" ] && grep -A1 'pci_resize_resource(struct' "$headers" | grep -q exclude_bars; then
	equals "the open flavour's patch is recorded" "$(fact open patches.0.name)" open-pci-resize-exclude-bars.patch
	# Without the patch set the same sources stop with the compiler's words, early, since no probe is asked again.
	mkdir -p "$work/data/patches"
	NVDRIVER_DATADIR=$work/data run --store "$store" modules build $version --flavour open --kernel "$release" --log-dir "$work/log"
	equals "unpatched, the open flavour does not compile" "$rc" 7
	check "which is told apart from other failures" grep -q module-compile-failed "$work/err"
	check "with file and line" grep -q 'nvidia/nv-pci.c:[0-9]*:.*error: too few arguments' "$work/err"
	check "and its log kept" test -s "$work/log/modules-$version-open-$release.log"
else
	skip "the open flavour needs its patch" "not with these headers"
fi

# Another key: every set is signed anew, nothing is compiled.
openssl req -x509 -newkey rsa:2048 -nodes -subj "/CN=another key" -days 2 -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
chmod 600 "$work/key.pem"
# A real copy: hard links would change the times by which the store knows its files are untouched.
cp -a --reflink=auto "$store" "$cache/store-copy.$$"
trap 'rm -rf "$cache/store-copy.$$" "$work"' EXIT
for f in proprietary open; do
	# A sanitized build cannot look for leaks while it is traced.
	ASAN_OPTIONS=detect_leaks=0 strace -f -e trace=execve -o "$work/trace" "$NVDRIVER" --store "$cache/store-copy.$$" modules build $version --flavour $f --kernel "$release" \
		--key "$work/key.pem" --cert "$work/cert.pem" >"$work/out" 2>"$work/err"
	equals "signing the $f flavour with another key succeeds" $? 0
	equals "and starts no program" "$(grep -c execve "$work/trace")" 1
	check "the unsigned set was a hit" grep -q '^hit' "$work/out"
	at=$(awk '$1 == "at" { print $2 }' "$work/out")
	run modules verify --cert "$work/cert.pem" "$at"/nvidia-drm.ko
	equals "its signature is good" "$rc" 0
done
finish
