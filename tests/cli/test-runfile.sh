#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Packing and reading run files: what we pack works by its own code too, in every format.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
unset SOURCE_DATE_EPOCH

mkdir -p tree/kernel/nvidia tree/firmware tree/kernel/precompiled
printf '%s\n' 'NVIDIA Accelerated Graphics Driver for Linux-x86_64' 1.2.3 ' ' 'nvidia nvidia-uvm ' ' ' ' ' ./kernel/ \
	./kernel/precompiled/ \
	'kernel/nvidia/nv.c 0644 KERNEL_MODULE_SRC INHERIT_PATH_DEPTH:1 MODULE:resman' \
	'libcuda.so.1.2.3 0755 CUDA_LIB NATIVE / MODULE:gpgpu' >tree/.manifest
seq 1 2000 >tree/kernel/nvidia/nv.c
head -c 100000 /dev/urandom >tree/libcuda.so.1.2.3
echo stale >tree/kernel/precompiled/old
printf '#!/bin/sh\necho ran "$#"\n' >tree/nvidia-installer
chmod 755 tree/nvidia-installer
long=$(printf 'n%.0s' $(seq 1 120))
echo long >"tree/firmware/$long"

for format in zstd xz gzip none; do
	f="driver $format.run"
	status "$format: packs" 0 runfile pack tree -o "$f" --compression $format
	run runfile pack tree -o again.run --compression $format --jobs 1
	check "$format: the bytes do not depend on the number of threads" cmp "$f" again.run
	rm -f again.run
	check "$format: its own --check passes" sh "$f" --check
	check "$format: its own --list works" sh -c "sh '$f' --list | grep -q libcuda.so.1.2.3"
	check "$format: its own -x works" sh "$f" -x --target "own $format"
	check "$format: and gives the tree" diff -r tree "own $format"
	status "$format: verify" 0 runfile verify "$f"
	status "$format: extract" 0 runfile extract "$f" -C out-$format
	check "$format: gives the tree" diff -r tree out-$format
	equals "$format: with the same times" "$(stat -c %Y tree/libcuda.so.1.2.3)" "$(stat -c %Y out-$format/libcuda.so.1.2.3)"
	slug "$format: refuses a taken directory" 1 output-not-created runfile extract "$f" -C out-$format
	head -c -30 "$f" >cut.run
	run --json runfile extract cut.run -C cut
	equals "$format: a cut file is status 6" $rc 6
	check "$format: and leaves nothing" test ! -e cut
	check "$format: and no temporary directory" sh -c "! ls -A | grep -q '^.nvdriver-'"
	printf 'X' | dd of="$f" bs=1 seek=$(($(stat -c %s "$f") / 2)) conv=notrunc 2>/dev/null
	sh "$f" --check >/dev/null 2>&1
	equals "$format: its own --check sees a changed byte" $? 2
	run runfile verify "$f"
	equals "$format: verify sees it too" $rc 6
	rm -f "$f"
done

run runfile pack tree -o driver.run
slug "an existing output is not replaced" 1 output-not-created runfile pack tree -o driver.run
equals "runs the payload's program otherwise" "$(sh driver.run a 'b c' d)" "ran 3"
check "--info has its labels" sh -c "sh driver.run --info | grep -q '^  Uncompressed size : [0-9]* KB'"
equals "--version-string" "$(sh driver.run --version-string)" 1.2.3
equals "--target-directory" "$(sh driver.run --target-directory)" NVIDIA-Linux-x86_64-1.2.3
sh driver.run --extract-decompress >/dev/null
equals "--extract-decompress without one" $? 1
run --json runfile info --manifest driver.run
check "info shows the version" grep -q '"version": "1.2.3"' out
check "info shows the manifest" grep -q '"type": "CUDA_LIB"' out
check "and where the kind comes from" grep -q '"kind_from": "manifest"' out
run runfile list driver.run
check "list shows the members" grep -qx libcuda.so.1.2.3 out

mkdir empty
chmod 700 empty
status "extract into an empty directory" 0 runfile extract driver.run -C empty
equals "which keeps its permissions" "$(stat -c %a empty)" 700
status "extract --sync" 0 runfile extract driver.run -C synced --sync
for name in . .. / empty/.. ./; do
	slug "extract -C $name" 2 usage runfile extract driver.run -C "$name"
done
slug "a mount point is told before anything is unpacked" 1 output-not-created runfile extract driver.run -C /proc
check "and named as one" grep -q 'mount point' out
echo mine >page
slug "a file in the way" 1 output-not-created runfile extract driver.run -C page
ln -s empty link
slug "a link in the way" 1 output-not-created runfile extract driver.run -C link

# Dry runs refuse what the real run would, print a plan and write nothing.
before=$(ls -A)
run --json --dry-run runfile extract driver.run -C new
check "extract --dry-run --json is a plan" grep -q '"operations"' out
check "it is JSON" python3 -c 'import json; d = json.load(open("out")); assert d["dry_run"] is True and d["operations"][0]["args"]["directory"] == "new"'
run --json --dry-run runfile pack tree -o new.run
check "pack --dry-run --json too" python3 -c 'import json; d = json.load(open("out")); assert d["dry_run"] is True and d["operations"][0]["type"] == "pack"'
slug "extract --dry-run into a taken directory" 1 output-not-created --dry-run runfile extract driver.run -C empty
slug "pack --dry-run onto a file" 1 output-not-created --dry-run runfile pack tree -o driver.run
equals "nothing was written" "$(ls -A)" "$before"

# A package with an embedded decompressor: ours keep it, and it is what unpacks where the system has none.
program=$(command -v zstd)
if [ -n "$program" ]; then
	skip=$(sed -n 's/^skip=//p' driver.run | head -n 1)
	lines=$(($(wc -l <"$program") + 1))
	{
		head -n $((skip - 1)) driver.run | tail -n +4 |
			sed -e "s/^skip=.*/skip=$((skip + lines))/" -e "s/^size_decompress=.*/size_decompress=$lines/"
		cat "$program"
		echo
		tail -n +"$skip" driver.run
	} >rest
	{
		printf '#! /bin/sh\nCRCsum=%s\nMD5=%s\n' "$(cksum <rest | cut -d ' ' -f 1)" "$(md5sum <rest | cut -d ' ' -f 1)"
		cat rest
	} >with.run
	status "a decompressor inside is fine" 0 runfile verify with.run
	status "pack --like keeps it" 0 runfile pack tree -o like.run --like with.run
	sh like.run --extract-decompress >copy
	{ cat "$program"; echo; } >want
	check "byte for byte" cmp copy want
	check "its own --check passes" sh like.run --check
	status "verify passes" 0 runfile verify like.run
	mkdir bin
	for tool in basename cat chmod cksum cut dirname head ls md5sum mkdir mktemp rm sh tail tar uname; do
		ln -s "$(command -v $tool)" bin/$tool
	done
	check "and it unpacks where the system has no zstd" env PATH="$work/bin" sh like.run -x --target inside
	check "the same tree" diff -r tree inside
	status "in another format it would be of no use" 0 runfile pack tree -o other.run --like with.run --compression gzip
	sh other.run --extract-decompress >/dev/null
	equals "and is left out" $? 1
else
	skip "pack --like with a decompressor" "no zstd program"
fi
printf more >>driver.run
tail -n +4 driver.run >rest
{
	printf '#! /bin/sh\nCRCsum=%s\nMD5=%s\n' "$(cksum <rest | cut -d ' ' -f 1)" "$(md5sum <rest | cut -d ' ' -f 1)"
	cat rest
} >more.run
slug "bytes behind the payload, sums right" 6 runfile-trailing-data runfile verify more.run
status "only --sums-only does not see them" 0 runfile verify --sums-only more.run
rm driver.run
run runfile pack tree -o driver.run

echo '<html>' >page.run
slug "a page is no package" 6 runfile-not-a-package runfile info page.run
slug "a wrong digest" 6 runfile-checksum-mismatch runfile verify driver.run --sha256 "$(printf '0%.0s' $(seq 1 64))"
status "the right digest" 0 runfile verify driver.run --sha256 "$(sha256sum <driver.run | cut -d ' ' -f 1)"
check "is called authentic" grep -q authentic out

printf -- '--- ./kernel/nvidia/nv.c\n+++ ./kernel/nvidia/nv.c\n@@ -1,3 +1,3 @@ x\0y\n 1\n-2\n+two\n 3\n' >good.patch
status "patch" 0 runfile patch driver.run -p good.patch
check "names the copy -custom" test -f NVIDIA-Linux-x86_64-1.2.3-custom.run
check "which passes its own --check" sh NVIDIA-Linux-x86_64-1.2.3-custom.run --check
run runfile extract NVIDIA-Linux-x86_64-1.2.3-custom.run -C patched
slug "a patched copy does not replace a file" 1 output-not-created runfile patch driver.run -p good.patch
run --json --dry-run runfile patch driver.run -p good.patch -o y.run
check "patch --dry-run --json says where hunks go" python3 -c 'import json; d = json.load(open("out")); assert d["dry_run"] is True and d["files"][0]["hunks"][0]["line"] == 1'
check "and writes nothing" test ! -e y.run
equals "and holds the change" "$(sed -n 2p patched/kernel/nvidia/nv.c)" two
check "without precompiled modules" test ! -e patched/kernel/precompiled
check "with the history" grep -q '^NVIDIA-Linux-x86_64-1.2.3-custom: Applied patch file: good.patch' patched/pkg-history.txt
run runfile info NVIDIA-Linux-x86_64-1.2.3-custom.run
check "in the same format" grep -q 'zstd, at byte' out
slug "again: already applied" 7 patch-already-applied runfile patch NVIDIA-Linux-x86_64-1.2.3-custom.run -p good.patch -o x.run
sed 's/^ 3$/ 4/' good.patch >bad.patch
slug "a hunk that does not fit" 7 patch-hunk-failed runfile patch driver.run -p bad.patch -o x.run
check "writes nothing" test ! -e x.run
finish
