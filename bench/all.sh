#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The benchmarks, one after the other; what they print goes into docs/performance.md, between each part's markers, with machine,
# date, commit and load. About forty minutes on two cores that have nothing else to do.
#   bench/all.sh [-q] [-n ROUNDS] [-p FILE] [-t TREE -k BUILD] STORE BASE [PART...]
#   bench/all.sh --parts
# STORE: one that `nvdriver prepare apt:535.261.03 --kernel apt:amd64` filled; BASE: a Debian 12 root (debootstrap --variant=minbase).
# PART: some of what --parts lists, instead of all. -q: without what takes longest (xz, four times the tree, a second kernel, over 50 containers).
# -p: another file than docs/performance.md; "-" for none. -t, -k: for the parts that compile an unpacked driver and a kernel's build tree,
# instead of the store's.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
parts='runfile engine container bundle lxc modules cold'
[ "${1:-}" != --parts ] || { echo "$parts"; exit 0; }
rounds=3 page=docs/performance.md quick=''
compiled=''
while getopts qn:p:t:k: opt; do
	case $opt in
	q) quick=1 ;;
	n) rounds=$OPTARG ;;
	p) page=$OPTARG ;;
	t | k) compiled="$compiled -$opt $(realpath "$OPTARG")" ;;
	*) sed -n '/^# *bench\//s/^# *//p' "$0" >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
store=$(realpath "${1:?usage: bench/all.sh [-q] [-n ROUNDS] [-p FILE] STORE BASE [PART...]}") base=$(realpath "${2:?and BASE}")
shift 2
export NVDRIVER=${NVDRIVER:-$PWD/build/src/cli/nvdriver} VERSION=${VERSION:-535.261.03}
tree=$store/$(cat "$store/refs/driver/$VERSION-x86_64")/root
text=$(mktemp)
trap 'rm -f "$text"' EXIT

if [ -n "$quick" ]; then long_runfile='' long_modules='' more=50; else long_runfile='-x -g' long_modules=-s more='50 200 500'; fi
# shellcheck disable=SC2086 # options, if any
part() { # the benchmark of one part
	case $1 in
	runfile) TMPDIR=/dev/shm bench/runfile.sh -n "$rounds" $long_runfile "$tree" ;;
	engine) TMPDIR=/dev/shm bench/engine.sh -n "$rounds" "$store" "$base" ;;
	container) TMPDIR=/dev/shm bench/container.sh -n "$rounds" "$store" ;;
	bundle) bench/bundle.sh -n "$rounds" "$store" ;;
	lxc) bench/lxc.sh -n "1 10" -N "$more" "$store" ;;
	modules) bench/modules.sh ${compiled:-$long_modules $store} ;;
	cold) TMPDIR=/dev/shm bench/container.sh ${compiled:--c $store} ;;
	*) echo "no part $1: $parts" >&2; return 2 ;;
	esac
}
commit=$(git rev-parse --short HEAD)
git diff --quiet HEAD -- . ':!docs/performance.md' || commit=$commit-dirty
load() { cut -d' ' -f1 /proc/loadavg; }
processor=$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)
status=0
# shellcheck disable=SC2086 # a list of words
[ $# != 0 ] || set -- $parts
for name; do
	before=$(load) from=$SECONDS
	if part "$name" >"$text"; then
		printf '\nMeasured %s at commit %s: %d cores of %s, Linux %s, median of %d; load average %s before, %s after %d s.\n' \
			"$(date -u +%F)" "$commit" "$(nproc)" "$processor" "$(uname -r)" \
			"$rounds" "$before" "$(load)" $((SECONDS - from)) >>"$text"
		echo "$name"
		cat "$text"
		[ "$page" = - ] || bench/put.sh "$name" "$text" "$page" || status=1
	else
		cat "$text" # minutes went into each row
		echo "$name failed" >&2
		status=1
	fi
done
exit $status
