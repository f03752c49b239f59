#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How fast run files are read, beside what the same file does with the system's tools (`sh FILE --list` and so on).
#   bench/runfile.sh [-n ROUNDS] [-x] [-g] [TREE]
# TREE is an unpacked driver with its .manifest; without one, about 900 MB of this system's own programs and libraries stand
# in for it. -x: xz (level 1) too, one round (minutes); -g: zstd again (level 1), four times the tree. Everything happens below ${TMPDIR:-/var/tmp}.
. "$(dirname "$0")/lib.sh"
rounds=3 xz='' growth=''
while getopts n:xg opt; do
	case $opt in
	n) rounds=$OPTARG ;;
	x) xz=1 ;;
	g) growth=1 ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))

make_tree() {
	local total=0 n=0 file
	mkdir -p "$1/kernel/nvidia" "$1/32"
	{
		printf 'NVIDIA Accelerated Graphics Driver for Linux-x86_64\n1.2.3\n \nnvidia \n \n \n'
		printf './kernel/\n./kernel/precompiled/\n'
		printf 'kernel/nvidia/nv.c 0644 KERNEL_MODULE_SRC INHERIT_PATH_DEPTH:1 MODULE:resman\n'
	} >"$1/.manifest"
	seq 1 100000 >"$1/kernel/nvidia/nv.c"
	while [ "$total" -lt 900000000 ] && IFS= read -r file; do
		n=$((n + 1))
		cp --reflink=never "$file" "$1/lib$n.so" 2>/dev/null || continue
		total=$((total + $(stat -c %s "$1/lib$n.so")))
	done < <(find /usr/lib /usr/bin -xdev -type f -size +100k -size -120000k 2>/dev/null | sort | head -n 4000)
	chmod -R u+rwX,go=rX "$1"
}
# bigger FROM TO: the same files four times over; hard links, which the packer writes as files of their own
bigger() {
	local n
	cp -al "$1" "$2"
	for n in 2 3 4; do
		cp -al "$1" "$2/copy$n"
		rm -f "$2/copy$n/.manifest"
	done
}

sums_of() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 cksum); }
# one FORMAT ROUNDS TREE LABEL [LEVEL]: packs it, reads it both ways, prints the rows
one() {
	local format=$1 rounds=$2 tree=$3 label=$4 file=$work/driver.run i what
	begin pack
	timed pack "$nvdriver" runfile pack -q "$tree" -o "$file" --compression "$format" ${5:+--level "$5"}
	begin {own,our}-{info,list,sums,extract} our-verify
	for ((i = 0; i < rounds; i++)); do
		timed own-info sh "$file" --info
		timed our-info "$nvdriver" runfile info "$file"
		timed own-list sh "$file" --list
		timed our-list "$nvdriver" runfile list -q "$file"
		timed own-sums sh "$file" --check
		timed our-sums "$nvdriver" runfile verify -q --sums-only "$file"
		timed our-verify "$nvdriver" runfile verify -q "$file"
		rm -rf "$work/own" "$work/ours"
		timed own-extract sh "$file" -x --target "$work/own"
		sums_of "$work/own" >"$work/own.sums"
		rm -rf "$work/own" # in memory there is not always room for both
		timed our-extract "$nvdriver" runfile extract -q "$file" -C "$work/ours"
		sums_of "$work/ours" | cmp -s - "$work/own.sums" || { echo "the two extractions differ" >&2; exit 1; }
	done
	for what in info list sums extract; do row "$label: $what" own-$what our-$what; done
	# The file's own code has nothing that decodes and checks every member.
	row "$label: verify (sums, members, end)" - our-verify
	row "$label: pack" - pack
	rm -rf "$file" "$work/own" "$work/ours"
}

tree=${1:-}
[ -n "$tree" ] || { tree=$work/tree; make_tree "$tree"; }
size=$(du -sm "$tree" | cut -f1)
heading "run file of $size MB | $versus"
one zstd "$rounds" "$tree" zstd
[ -z "$xz" ] || one xz 1 "$tree" xz 1
[ -n "$growth" ] || exit 0
bigger "$tree" "$work/big"
one zstd 1 "$work/big" "zstd, 4 x the tree" 1
