#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Libraries that are loaded on demand: without one, what needs it says what to install, and everything else works.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1

# An empty file is found first and cannot be loaded, which is as good as no library.
mkdir none
for so in libarchive.so.13 libcurl.so.4 libkmod.so.2 libsqlite3.so.0; do : >none/$so; done
without() { # LIBRARY...: from here on these cannot be loaded
	rm -rf hidden
	mkdir hidden
	for so in "$@"; do cp "none/$so" hidden/; done
	export LD_LIBRARY_PATH=$work/hidden
}
install() { check "and says to install $1" grep -q "\"next_step\": \"install $1 " out; }

mkdir -p tree/kernel/nvidia root
printf '%s\n' 'NVIDIA Accelerated Graphics Driver for Linux-x86_64' 1.2.3 ' ' 'nvidia ' ' ' ' ' ./kernel/ \
	./kernel/precompiled/ 'kernel/nvidia/nv.c 0644 KERNEL_MODULE_SRC INHERIT_PATH_DEPTH:1 MODULE:resman' >tree/.manifest
seq 1 2000 >tree/kernel/nvidia/nv.c
"$NVDRIVER" runfile pack -q tree -o driver.run >/dev/null || exit 1
url=file://$work/driver.run
status "with all libraries: fetch" 0 --store store1 fetch --to got1 "$url"

without libcurl.so.4
slug "no libcurl: fetching fails" 4 library-missing fetch --to got2 "$url"
install libcurl4
check "and says which library" grep -q '"object": "libcurl.so.4"' out
check "and leaves no part of the file" sh -c "! ls -A got2 2>/dev/null | grep -q driver.run"
slug "no libcurl: an address that would be tried again fails at once" 4 library-missing fetch --to got2 http://127.0.0.1:9/driver.run
status "no libcurl: what was fetched before is used" 0 --store store1 fetch --to got1 "$url"
status "no libcurl: a file of this machine needs none" 0 --store store2 fetch --to got3 driver.run

without libarchive.so.13
printf '!<arch>\ndebian-binary   0           0     0     100644  4         `\n2.0\n' >driver.deb
slug "no libarchive: a package cannot be read" 4 library-missing --root root --store store3 prepare --no-modules ./driver.deb
install libarchive13

without libsqlite3.so.0
mkdir -p root/sys/bus/pci/devices/0000:01:00.0
for f in vendor:0x10de device:0x2684 class:0x030000 subsystem_vendor:0x1043 subsystem_device:0x88e2; do
	echo "${f#*:}" >root/sys/bus/pci/devices/0000:01:00.0/"${f%%:*}"
done
slug "no sqlite: the card table cannot be read" 4 library-missing --root root gpu list
install libsqlite3-0

without libarchive.so.13 libcurl.so.4 libkmod.so.2 libsqlite3.so.0
status "none of them: --version" 0 --version
status "none of them: status" 0 --root root --store store4 status
status "none of them: info" 0 runfile info --manifest driver.run
status "none of them: verify" 0 runfile verify driver.run
status "none of them: extract" 0 runfile extract driver.run -C out1
check "and gives the tree" diff -r tree out1
status "none of them: pack" 0 runfile pack tree -o again.run
check "and packs the same" cmp driver.run again.run
finish
