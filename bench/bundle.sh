#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Bundles beside what people script today for the same transport: tar and zstd of the same store objects, unpacked and checked with
# sha256sum; and through a registry beside skopeo. In alternation in one run; ratios are theirs over ours.
#   bench/bundle.sh STORE [ROUNDS]    STORE: one that `nvdriver prepare apt:535.261.03 --kernel apt:amd64` filled
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
nvdriver=${NVDRIVER:-$top/build/src/cli/nvdriver}
store=$(realpath "${1:?usage: bench/bundle.sh STORE [ROUNDS]}") rounds=${2:-3} version=${VERSION:-535.261.03}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/nvd-bench.XXXXXX")
registry=
clean() {
	[ -z "$registry" ] || kill "$registry" 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf "$work"
}
trap clean EXIT
cd "$work"
release=$(ls "$store/refs/kernels/x86_64" | tail -1)
objects=("$(cat "$store/refs/driver/$version-x86_64")" "$(cat "$store/refs/kernels/x86_64/$release")")
while read -r ref; do objects+=("$(cat "$ref")"); done < <(find "$store/refs/modules/$version/proprietary" -type f | sort)
now_ms() { echo $(($(date +%s%N) / 1000000)); }
timed() { # NAME COMMAND...: milliseconds appended to the file NAME
	local name=$1 from
	shift
	from=$(now_ms)
	"$@" >log 2>&1 || { echo "failed: $*" >&2; tail -5 log >&2; exit 1; }
	echo $(($(now_ms) - from)) >>"$name"
}
median() { sort -n "$1" | sed -n "$(((rounds + 1) / 2))p"; }
row() { # TEXT THEIRS OURS
	awk -v t="$1" -v a="$(median "$2")" -v b="$(median "$3")" 'BEGIN { printf "%-34s %9d ms %9d ms %7.2f x\n", t, a, b, a / (b ? b : 1) }'
}
ours_create() { "$nvdriver" --store "$store" bundle create --from-store --driver "$version" -k "$release" --modules --flavour proprietary -o ours.nvbundle; }
theirs_create() { tar -C "$store" -cf - "${objects[@]}" | zstd -q -3 -T0 -f -o theirs.tar.zst && sha256sum theirs.tar.zst >theirs.sum; }
ours_apply() { rm -rf new && "$nvdriver" --store new bundle apply ours.nvbundle; }
theirs_apply() { rm -rf unpacked && mkdir unpacked && sha256sum -c --quiet theirs.sum && tar -C unpacked -I zstd -xf theirs.tar.zst && sync -f unpacked; }
for ((i = 0; i < rounds; i++)); do
	timed tc theirs_create; timed oc ours_create
	timed ta theirs_apply; timed oa ours_apply
	timed tv sha256sum -c theirs.sum; timed ov "$nvdriver" bundle verify ours.nvbundle
	timed oh "$nvdriver" --store new bundle apply ours.nvbundle
done
printf '%-34s %12s %12s %9s\n' "" theirs ours ratio
printf '%-34s %9d MB %9d MB\n' size $(($(stat -c %s theirs.tar.zst) / 1000000)) $(($(stat -c %s ours.nvbundle) / 1000000))
row "create: tar | zstd -3, sha256sum" tc oc
row "apply: sha256sum, tar -x, sync" ta oa
row "verify: sha256sum (we unpack too)" tv ov
row "apply again (all there)" ta oh
command -v docker-registry >/dev/null && command -v skopeo >/dev/null || { echo "no docker-registry or skopeo: registries left out"; exit 0; }
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s/registry}}\nhttp: {addr: "127.0.0.1:%s"}\n' "$work" "$port" >config.yml
docker-registry serve config.yml >registry.log 2>&1 &
registry=$!
until curl -s "http://127.0.0.1:$port/v2/" >/dev/null; do sleep 0.1; done
skopeo_() { skopeo --insecure-policy --tmpdir "$work" copy -q --src-tls-verify=false --dest-tls-verify=false "$@"; }
for ((i = 0; i < rounds; i++)); do
	rm -rf registry copy.tar copy.nvbundle
	timed tp skopeo_ oci-archive:ours.nvbundle "docker://127.0.0.1:$port/theirs:one"
	timed tg skopeo_ "docker://127.0.0.1:$port/theirs:one" oci-archive:copy.tar
	rm -rf registry
	timed op "$nvdriver" bundle push ours.nvbundle "127.0.0.1:$port/ours:one" --plain-http
	timed og "$nvdriver" bundle pull "127.0.0.1:$port/ours:one" --plain-http -o copy.nvbundle
done
row "push: skopeo copy (we verify first)" tp op
row "pull into a file: skopeo copy" tg og
