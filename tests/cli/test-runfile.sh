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
	status "$format: verify" 0 runfile verify --deep "$f"
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
run runfile list driver.run
check "list shows the members" grep -qx libcuda.so.1.2.3 out
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
