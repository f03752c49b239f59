# SPDX-License-Identifier: Apache-2.0
# What the benchmarks share, sourced: a scratch directory, samples, and tables that are Markdown already.
set -euo pipefail
export LC_ALL=C
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
nvdriver=$(realpath "${NVDRIVER:-$top/build/src/cli/nvdriver}")
version=${VERSION:-535.261.03}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/nvd-bench.XXXXXX")
chmod 755 "$work"
at_end() { :; } # what a benchmark has to end before its directory goes
trap 'at_end; rm -rf --one-file-system "$work"' EXIT
mkdir "$work/samples"
export MEASURE_LOG=$work/log
# shellcheck disable=SC2086 # a compiler may come with a wrapper
${CC:-cc} -O1 -o "$work/measure" "$top/bench/measure.c"

usage() { sed -n '/^# *bench\//s/^# *//p' "$0" >&2; exit 2; }
failed() { echo "failed: $*" >&2; tail -5 "$work/log" >&2; exit 1; }
begin() { local name; for name; do : >"$work/samples/$name"; done; }
allowed=0 # the one status other than 0 that is no failure
# Processor time, in microseconds, of all the shell has waited for when `times` was written: not in a pipe, which is another shell.
spent_us() { awk -F'[ms ]+' 'NR == 2 { printf "%d", (($1 + $3) * 60 + $2 + $4) * 1e6 }' "$work/times"; }
# timed NAME COMMAND...: one more sample of NAME. The memory of a shell function's commands is not known.
timed() {
	local to=$work/samples/$1 from cpu
	shift
	if declare -F "$1" >/dev/null; then
		times >"$work/times"
		cpu=$(spent_us) from=${EPOCHREALTIME/./}
		"$@" >"$work/log" 2>&1 || failed "$@"
		from=$((${EPOCHREALTIME/./} - from))
		times >"$work/times"
		echo "$from $(($(spent_us) - cpu)) 0" >>"$to"
	else
		"$work/measure" "$to" "$@" || [ $? = "$allowed" ] || failed "$@"
	fi
}
# sample NAME FIELD: the median of one column (1 wall us, 2 processor us, 3 kB)
sample() { cut -d' ' -f"$2" "$work/samples/$1" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
# us MICROSECONDS, kb KILOBYTES: for people
us() { awk -v t="$1" 'BEGIN { if (t < 1e4) printf "%.1f ms", t / 1e3; else if (t < 1e7) printf "%d ms", t / 1e3 + 0.5; else printf "%.1f s", t / 1e6 }'; }
kb() { awk -v k="$1" 'BEGIN { if (k == 0) print "–"; else printf "%.1f MB", k / 1000 }'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.1f x", a / (b ? b : 1) }'; }

# cells WIDE CELL...: one line of a table
cells() {
	printf '| %-66s |' "$1"
	shift
	[ $# = 0 ] || printf ' %12s |' "$@"
	echo
}
heading() { # 'COLUMN | COLUMN…'
	local columns
	IFS='|' read -r -a columns <<<"${1// | /|}"
	echo
	cells "${columns[@]}"
	printf '|---'
	printf '|---:%.0s' "${columns[@]:1}"
	echo '|'
}
row() { # WHAT THEIRS OURS: names of samples; "-" for THEIRS: nobody else does it
	local a=- b
	b=$(sample "$3" 1)
	[ "$2" = - ] || a=$(sample "$2" 1)
	if [ "$a" = - ]; then
		cells "$1" – "$(us "$b")" – – "$(us "$(sample "$3" 2)")" – "$(kb "$(sample "$3" 3)")"
	else
		cells "$1" "$(us "$a")" "$(us "$b")" "$(ratio "$a" "$b")" "$(us "$(sample "$2" 2)")" "$(us "$(sample "$3" 2)")" \
			"$(kb "$(sample "$2" 3)")" "$(kb "$(sample "$3" 3)")"
	fi
}
# Every table but LXC's and the modules' has these columns.
versus='theirs | nvdriver | ratio | processor, theirs | processor | memory, theirs | memory'

# What a filled store has: $tree, $release, $kernel, $build and $source of the newest kernel.
field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }
use_store() { # STORE [RELEASE]
	store=$(realpath "$1")
	tree=$store/$(cat "$store/refs/driver/$version-x86_64")/root
	# shellcheck disable=SC2012 # releases hold no blanks
	release=${2:-$(ls "$store/refs/kernels/x86_64" | tail -1)}
	kernel=$store/$(cat "$store/refs/kernels/x86_64/$release")
	build=$(realpath "$kernel/root/$(field "$kernel/record.json" build_rel)")
	source=$(realpath "$kernel/root/$(field "$kernel/record.json" source_rel)")
}
# Or, without a store, an unpacked driver and a kernel's build tree: $version and $release say what they are.
use_trees() { # TREE BUILD
	tree=$(realpath "$1") build=$(realpath "$2")
	source=$build version=$(sed -n 2p "$tree/.manifest") release=$(sed -n 's/.*UTS_RELEASE "\(.*\)".*/\1/p' "$build/include/generated/utsrelease.h")
}
# What the vendor's installer has made of DIR's sources beside the modules, for a relink.
interfaces() { # DIR
	local m
	for m in nvidia:nv-linux.o nvidia-modeset:nv-modeset-linux.o; do
		[ ! -d "$1/${m%:*}" ] || echo "${m#*:}"
	done
}
