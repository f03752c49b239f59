#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/fuzz/run.sh BUILDDIR SECONDS [TARGET...]: fuzzes each target (default: all) of a build made with -Dfuzzing=true
# for that many seconds, one after the other, from its corpus and what earlier runs found ($NVD_TEST_CACHE/fuzz), and
# prints a table row for each: seconds, inputs tried, edges of the program reached, inputs that crashed, leaked or hung.
# Those are kept in $NVD_TEST_CACHE/fuzz/found; the exit status says whether there were any.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath "${1:?usage: run.sh BUILDDIR SECONDS [TARGET...]}") seconds=${2:?seconds for each target}
shift 2
cache=${NVD_TEST_CACHE:-$here/../../.cache}/fuzz
log=$(mktemp)
trap 'rm -f "$log"' EXIT
[ $# -gt 0 ] || mapfile -t targets < <(cd "$build/tests/fuzz" && find . -maxdepth 1 -type f -name 'fuzz-*' -executable -printf '%f\n' | sort)
[ $# = 0 ] || targets=("${@/#/fuzz-}")
[ ${#targets[@]} -gt 0 ] || { echo "run.sh: $build holds no fuzz programs" >&2; exit 2; }

number() { sed -n "s/$1.*/\1/p" "$log" | tail -1; }

total=0 all=0 status=0
printf '| Format | seconds | inputs | edges reached | findings |\n|---|---:|---:|---:|---:|\n'
for program in "${targets[@]}"; do
	name=${program#fuzz-} found=0
	kept=$cache/corpus/$name
	mkdir -p "$kept" "$cache/found"
	from=$SECONDS
	UBSAN_OPTIONS=halt_on_error=1 "$build/tests/fuzz/$program" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
		-print_final_stats=1 -artifact_prefix="$cache/found/$name-" "$kept" "$here/corpus/$name" >"$log" 2>&1 || found=1
	inputs=$(number 'stat::number_of_executed_units: *\([0-9]*\)')
	edges=$(number '.* cov: \([0-9]*\)')
	took=$((SECONDS - from))
	printf '| %s | %d | %s | %s | %d |\n' "$name" "$took" "${inputs:-0}" "${edges:-0}" "$found"
	[ "$found" = 0 ] || { cp "$log" "$cache/found/$name.log"; status=1; }
	total=$((total + took)) all=$((all + ${inputs:-0}))
done
printf '| all %d | %d | %d | | |\n' "${#targets[@]}" "$total" "$all"
exit "$status"
