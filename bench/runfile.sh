#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# How fast run files are read, beside what the same file does with the system's tools (`sh FILE --list` and so on),
# in alternation and in one run, so the ratios mean something on any machine.
#
#   bench/runfile.sh [-n ROUNDS] [-f "zstd xz"] NVDRIVER [TREE]
#
# TREE is an unpacked driver with its .manifest; without one, about 900 MB of this system's own programs and
# libraries stand in for it. Everything happens in a fresh directory below ${TMPDIR:-/tmp}, removed at the end.
set -eu

rounds=3
formats="zstd xz"
while getopts n:f: opt; do
	case $opt in
	n) rounds=$OPTARG ;;
	f) formats=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -ge 1 ] || { echo "usage: $0 [-n ROUNDS] [-f FORMATS] NVDRIVER [TREE]" >&2; exit 2; }
nvdriver=$(realpath "$1")
tree=${2:-}

work=$(mktemp -d "${TMPDIR:-/tmp}/nvd-bench-XXXXXX")
trap 'rm -rf "$work"' 0
trap 'exit 1' 1 2 15

make_tree() {
	mkdir -p "$1/kernel/nvidia" "$1/32"
	{
		printf 'NVIDIA Accelerated Graphics Driver for Linux-x86_64\n1.2.3\n \nnvidia \n \n \n'
		printf './kernel/\n./kernel/precompiled/\n'
		printf 'kernel/nvidia/nv.c 0644 KERNEL_MODULE_SRC INHERIT_PATH_DEPTH:1 MODULE:resman\n'
	} >"$1/.manifest"
	seq 1 100000 >"$1/kernel/nvidia/nv.c"
	find /usr/lib /usr/bin -xdev -type f -size +100k -size -120000k 2>/dev/null | sort | head -n 4000 >"$work/files"
	total=0
	n=0
	while [ "$total" -lt 900000000 ] && IFS= read -r file; do
		n=$((n + 1))
		cp --reflink=never "$file" "$1/lib$n.so" 2>/dev/null || continue
		total=$((total + $(stat -c %s "$1/lib$n.so")))
	done <"$work/files"
	chmod -R u+rwX,go=rX "$1"
}

now_ms() { echo $(($(date +%s%N) / 1000000)); }

# time_ms COMMAND...: milliseconds, output thrown away
time_ms() {
	start=$(now_ms)
	"$@" >/dev/null 2>&1 || { echo "failed: $*" >&2; exit 1; }
	echo $(($(now_ms) - start))
}

median() { sort -n "$1" | sed -n "$(((rounds + 1) / 2))p"; }

row() { # name, theirs, ours
	awk -v name="$1" -v a="$2" -v b="$3" 'BEGIN { printf "%-22s %13s %9d ms %10s\n", name, (a == "-" ? "-" : a " ms"), b, (a == "-" ? "-" : sprintf("%.1f x", a / (b ? b : 1))) }'
}


if [ -z "$tree" ]; then
	tree=$work/tree
	make_tree "$tree"
fi
du -sm "$tree" | awk '{ print "tree: " $1 " MB" }'

for format in $formats; do
	file=$work/driver-$format.run
	echo "$format: packed in $(time_ms "$nvdriver" runfile pack -q "$tree" -o "$file" --compression "$format") ms," \
		"$(stat -c %s "$file") bytes"
	for what in info list sums verify extract; do : >"$work/own-$what"; : >"$work/our-$what"; done
	i=0
	while [ $i -lt "$rounds" ]; do
		i=$((i + 1))
		time_ms sh "$file" --info >>"$work/own-info"
		time_ms "$nvdriver" runfile info "$file" >>"$work/our-info"
		time_ms sh "$file" --list >>"$work/own-list"
		time_ms "$nvdriver" runfile list -q "$file" >>"$work/our-list"
		time_ms sh "$file" --check >>"$work/own-sums"
		time_ms "$nvdriver" runfile verify -q --sums-only "$file" >>"$work/our-sums"
		# The file's own code has nothing that decodes and checks every member.
		time_ms "$nvdriver" runfile verify -q "$file" >>"$work/our-verify"
		rm -rf "$work/own"
		time_ms sh "$file" -x --target "$work/own" >>"$work/own-extract"
		rm -rf "$work/ours"
		time_ms "$nvdriver" runfile extract -q "$file" -C "$work/ours" >>"$work/our-extract"
		diff -r "$work/own" "$work/ours" >/dev/null || { echo "the two extractions differ" >&2; exit 1; }
	done
	printf '%-22s %13s %12s %10s\n' "$format" "its own code" nvdriver ratio
	for what in info list sums extract; do
		row "  $what" "$(median "$work/own-$what")" "$(median "$work/our-$what")"
	done
	row "  verify" - "$(median "$work/our-verify")"
	rm -rf "$file" "$work/own" "$work/ours"
done
