#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Bundles beside what people script today for the same transport: tar and zstd of the same store objects, unpacked and checked with
# sha256sum; and through a registry beside skopeo. In alternation in one run.
#   bench/bundle.sh [-n ROUNDS] STORE    STORE: one that `nvdriver prepare apt:535.261.03 --kernel apt:amd64` filled
. "$(dirname "$0")/lib.sh"
rounds=3 registry=''
while getopts n: opt; do
	case $opt in
	n) rounds=$OPTARG ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
[ $# = 1 ] || usage
use_store "$1"
at_end() {
	[ -z "$registry" ] || kill "$registry" 2>/dev/null || true
	wait 2>/dev/null || true
}
cd "$work" || exit
objects=("$(cat "$store/refs/driver/$version-x86_64")" "$(cat "$store/refs/kernels/x86_64/$release")")
while read -r ref; do objects+=("$(cat "$ref")"); done < <(find "$store/refs/modules/$version/proprietary" -type f | sort)

ours_create=("$nvdriver" --store "$store" bundle create --from-store --driver "$version" -k "$release" --modules --flavour proprietary -o ours.nvbundle)
theirs_create() { tar -C "$store" -cf - "${objects[@]}" | zstd -q -3 -T0 -f -o theirs.tar.zst && sha256sum theirs.tar.zst >theirs.sum; }
theirs_apply() { mkdir unpacked && sha256sum -c --quiet theirs.sum && tar -C unpacked -I zstd -xf theirs.tar.zst && sync -f unpacked; }
for ((i = 0; i < rounds; i++)); do
	rm -rf new unpacked
	timed tc theirs_create
	timed oc "${ours_create[@]}"
	timed ta theirs_apply
	timed oa "$nvdriver" --store new bundle apply ours.nvbundle
	timed tv sha256sum -c theirs.sum
	timed ov "$nvdriver" bundle verify ours.nvbundle
	timed oh "$nvdriver" --store new bundle apply ours.nvbundle
done
rm -rf new unpacked
mb() { stat -c %s "$1" | awk '{ printf "%d MB", $1 / 1e6 }'; }
heading "bundle of $(mb ours.nvbundle), archive of $(mb theirs.tar.zst) | $versus"
row "create (tar, zstd -3, sha256sum)" tc oc
row "apply (sha256sum, tar -x, sync)" ta oa
row "verify (sha256sum; we unpack too)" tv ov
row "apply again, all there" ta oh
command -v docker-registry >/dev/null && command -v skopeo >/dev/null || { echo "no docker-registry or skopeo: registries left out" >&2; exit 0; }
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s/registry}}\nhttp: {addr: "127.0.0.1:%s"}\n' "$work" "$port" >config.yml
docker-registry serve config.yml >registry.log 2>&1 &
registry=$!
until curl -s "http://127.0.0.1:$port/v2/" >/dev/null; do sleep 0.1; done
skopeo=(skopeo --insecure-policy --tmpdir "$work" copy -q --src-tls-verify=false --dest-tls-verify=false)
for ((i = 0; i < rounds; i++)); do
	rm -rf registry copy.tar copy.nvbundle
	timed tp "${skopeo[@]}" oci-archive:ours.nvbundle "docker://127.0.0.1:$port/theirs:one"
	timed tg "${skopeo[@]}" "docker://127.0.0.1:$port/theirs:one" oci-archive:copy.tar
	rm -rf registry
	timed op "$nvdriver" bundle push ours.nvbundle "127.0.0.1:$port/ours:one" --plain-http
	timed og "$nvdriver" bundle pull "127.0.0.1:$port/ours:one" --plain-http -o copy.nvbundle
done
row "push (skopeo copy; we verify first)" tp op
row "pull into a file (skopeo copy)" tg og
