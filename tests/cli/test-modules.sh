#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Packages and signatures from the command line: the native verbs, and the drop-in for the vendor's tool.
. "$(dirname "$0")/lib.sh"

cd "$work" || exit 1
ln -s "$NVDRIVER" mkprecompiled
banner='Linux version 9.9.9-test (b@h) (gcc 12) #1 SMP'
mkdir -p root/proc other
echo "$banner" >root/proc/version
echo "$banner " >other/version
printf ABCDEFGH >tiny.o
printf MODULE >nvidia-uvm.ko
printf interface >nv-linux.o

# compat TEXT WANT ARGS...: status of the drop-in
compat() {
	local text=$1 want=$2
	shift 2
	./mkprecompiled "$@" >out 2>err </dev/null
	rc=$?
	if [ "$rc" = "$want" ]; then ok "mkprecompiled: $text"; else not_ok "mkprecompiled: $text" "status $rc instead of $want" "$(head -3 err)"; fi
}

# -- drop-in
compat "packs an interface and a module" 0 --pack t2 -v 535.261.03 -d D1 --proc-mount-point root/proc \
	--kernel-interface tiny.o --linked-module-name t.ko --core-object-name c.o_binary --kernel-module nvidia-uvm.ko
equals "mkprecompiled: byte for byte" "$(sha256sum <t2)" "d5e364620dabad3edf914142574fb06379783640dca90c1abeb8001d4ca5b014  -"
compat "long options with one dash and =" 0 -info=t2
check "mkprecompiled: lists the header" sh -c "head -4 out | cmp - <<END
description: D1
version: 535.261.03
proc version: $banner
number of files: 2
END"
compat "equal is 1" 1 --match t2 --proc-mount-point root/proc
equals "mkprecompiled: says so" "$(cat out)" "kernel interface matches."
compat "different is 0" 0 --match t2 --proc-mount-point other
equals "mkprecompiled: says so too" "$(cat out)" "kernel interface doesn't match."
compat "no version file" 2 --match t2 --proc-mount-point nowhere
compat "no package" 1 --match tiny.o --proc-mount-point root/proc
compat "absent package" 1 --info absent
compat "nothing to do" 1
compat "unknown option" 1 --bogus
compat "two actions" 1 --info t2 --match t2
compat "a new package without version" 1 --pack new --kernel-module nvidia-uvm.ko
compat "an interface without names" 1 --pack new -v 1.2 -P x --kernel-interface tiny.o
compat "a missing module" 2 --pack new -v 1.2 -P x --kernel-module absent.ko
compat "no version file while packing" 2 --pack new -v 1.2 --proc-mount-point nowhere --kernel-module nvidia-uvm.ko
compat "an empty file" 1 --pack new -v 1.2 -P x --kernel-module /dev/null
check "mkprecompiled: none of these made a package" test ! -e new
compat "a name that is there already" 1 --pack t2 --kernel-module nvidia-uvm.ko
compat "a file that is no package is kept" 1 --pack tiny.o -v 1.2 -P x --kernel-module nvidia-uvm.ko
equals "mkprecompiled: byte for byte too" "$(cat tiny.o)" ABCDEFGH
compat "header fields of an existing package are replaced" 0 --pack t2 -d 'another text'
./mkprecompiled -i t2 >out
equals "mkprecompiled: and the rest stays" "$(head -2 out | tr '\n' '|')" "description: another text|version: 535.261.03|"
compat "unpacks" 0 -u t2 -o unpacked
check "mkprecompiled: what was packed" cmp tiny.o unpacked/tiny.o
sed 's/ABCDEFGH/ABCDEFGX/' t2 >damaged
compat "damaged content" 2 -u damaged -o unpacked2
check "mkprecompiled: leaves no file" test ! -e unpacked2/tiny.o
compat "help" 0 --help

# -- native
status "match: equal" 0 modules match --root root t2
equals "match says it in the vendor's words" "$(cat "$work/out")" "kernel interface matches."
status "match: another banner" 8 modules match -P "$banner " t2
status "match: another driver" 8 modules match --root root -V 1.2 t2
status "match: a module is missing" 8 modules match --root root -m nvidia t2
status "match: several packages, one fits" 0 modules match --root root t2 unpacked/../t2
slug "info of neither" 6 module-not-a-module modules info tiny.o
slug "verify finds damage" 6 precompiled-crc-mismatch modules verify damaged
slug "unpack refuses damage" 6 precompiled-crc-mismatch modules unpack damaged -o here
check "and makes no directory" test ! -e here
slug "pack wants a version" 2 usage modules pack new nv-linux.o
slug "pack knows names" 2 usage modules pack new -V 1.2 -P x tiny.o
slug "pack does not overwrite" 1 precompiled-not-overwritten modules pack tiny.o -V 1.2 -P x nv-linux.o
status "--force does" 0 modules pack tiny.o -V 1.2 -P x nv-linux.o --force
status "pack extends" 0 modules pack tiny.o nvidia-uvm.ko
status "info as JSON" 0 --json modules info tiny.o
check "with the core object's name" grep -q '"core_object": "nvidia/nv-kernel.o_binary"' "$work/out"
slug "sign needs key and certificate" 2 usage modules sign nvidia-uvm.ko
slug "sign needs a readable certificate" 3 certificate-unreadable modules sign -k tiny.o -c tiny.o nvidia-uvm.ko
slug "info of a file that only has the name of a module" 6 module-not-a-module modules info nvidia-uvm.ko

if command -v openssl >/dev/null && command -v as >/dev/null; then
	openssl req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -subj /CN=cli -days 2 2>/dev/null
	printf '.section .modinfo,"a"\n.asciz "name=t"\n' | as -o m.ko -
	cp m.ko plain.ko
	status "sign" 0 modules sign -k k.pem -c c.pem --hash sha512 m.ko
	status "verify" 0 modules verify -c c.pem m.ko
	slug "sign refuses a second time" 1 module-signed-already modules sign -k k.pem -c c.pem --hash sha512 m.ko
	status "unless told" 0 modules sign -k k.pem -c c.pem --hash sha256 --resign m.ko
	status "info shows the signer" 0 modules info m.ko
	check "by name" grep -q '^signer: *cli$' "$work/out"
	size=$(stat -c %s plain.ko) all=$(stat -c %s m.ko)
	tail -c +$((size + 1)) m.ko | head -c $((all - size - 40)) >sig.der
	check "the general verifier accepts it" openssl cms -verify -binary -inform DER -in sig.der -content plain.ko \
		-certfile c.pem -nointern -noverify -out content
	check "over exactly the module" cmp content plain.ko
	slug "verify finds a missing one" 6 module-not-signed modules verify -c c.pem plain.ko
	# The kernel's configuration decides when it is named.
	mkdir -p k/include/generated k/include/linux
	: >k/include/linux/kernel.h
	: >k/include/linux/vermagic.h
	echo '#define UTS_RELEASE "9.9.9-test"' >k/include/generated/utsrelease.h
	echo '#define CONFIG_SMP 1' >k/include/generated/autoconf.h
	printf '0x00000001\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n' >k/Module.symvers
	printf 'CONFIG_X86_64=y\nCONFIG_MODULE_SIG=y\nCONFIG_MODULE_SIG_HASH="sha384"\n' >k/.config
	cp plain.ko k.ko
	status "sign for a kernel" 0 modules sign -k k.pem -c c.pem --kernel-source "$work/k" k.ko
	equals "with the hash it wants" "$(cat "$work/out")" "k.ko: signed with sha384"
	check "and no warning" test ! -s "$work/err"
	slug "a kernel whose tree is not there" 7 kernel-headers-missing modules sign -k k.pem -c c.pem --kernel 1.2.3-no k.ko
	sed -i 's/sha384/md4/' k/.config
	slug "a kernel that wants what nobody can make" 3 signature-hash-unknown modules sign -k k.pem -c c.pem \
		--kernel-source "$work/k" --resign k.ko
	cp plain.ko w.ko
	status "sign without either" 0 modules sign -k k.pem -c c.pem w.ko
	check "warns" grep -q 'using sha256' "$work/err"
else
	skip "signing" "no openssl or assembler installed"
fi

# A package becomes a module set that a machine of its kernel finds.
slug "import of what is no package" 6 precompiled-not-a-package --store "$work/imp" modules import /bin/sh
if command -v gcc >/dev/null; then
	cat >mod.c <<-'C'
	#define INFO(n, s) static const char n[] __attribute__((used, section(".modinfo"), aligned(1))) = s
	INFO(a, "vermagic=9.9.9-test SMP mod_unload ");
	INFO(b, "depends=");
	INFO(c, "version=535.1.2");
	INFO(d, "license=Dual MIT/GPL");
	INFO(f, "firmware=nvidia/535.1.2/gsp.bin");
	int this_module __attribute__((section(".gnu.linkonce.this_module"))) = 1;
	C
	gcc -c -o nvidia.ko mod.c
	run modules pack imp.pkg -V 535.1.2 -P "$banner" nvidia.ko
	status "an import can be tried" 0 --store "$work/imp" --dry-run modules import imp.pkg
	check "and says for what kernel" grep -q 'driver 535.1.2 for Linux version 9.9.9-test' "$work/out"
	check "without making a set" test -z "$(ls "$work/imp/modules" 2>/dev/null)"
	status "a package is imported" 0 --store "$work/imp" --json modules import imp.pkg
	check "its flavour comes from the licence" grep -q '"flavour": "open"' "$work/out"
	check "its record names the package" grep -q "\"sha256\": \"$(sha256sum imp.pkg | cut -c1-64)\"" "$work/out"
	status "again it is a hit" 0 --store "$work/imp" modules import imp.pkg
	check "which it says" grep -q '^hit ' "$work/out"
	mkdir -p m/proc/sys/kernel m/sys/module/firmware_class/parameters m/etc
	echo 9.9.9-test >m/proc/sys/kernel/osrelease
	echo "$banner" >m/proc/version
	: >m/proc/modules
	echo >m/sys/module/firmware_class/parameters/path
	status "load finds it on a machine of that kernel" 0 --store "$work/imp" --root "$work/m" --dry-run load 535.1.2
	check "and would load it" grep -q '^load nvidia$' "$work/out"
	check "the search path is left alone: nobody has the firmware" test "$(grep -c firmware "$work/out")" = 0
	echo 9.9.9-other >m/proc/sys/kernel/osrelease
	slug "another kernel does not" 4 module-set-missing --store "$work/imp" --root "$work/m" --dry-run load 535.1.2
	run modules pack wrong.pkg -V 535.9.9 -P "$banner" nvidia.ko
	slug "modules of another driver are not imported" 8 precompiled-no-match --store "$work/imp" modules import wrong.pkg
	run modules pack kernel.pkg -V 535.1.2 -P "${banner/9.9.9/9.9.8}" nvidia.ko
	slug "nor those of another kernel" 8 precompiled-no-match --store "$work/imp" modules import kernel.pkg
	slug "nor unsigned ones when a certificate is named" 6 module-not-signed --store "$work/imp" modules import imp.pkg --cert c.pem
else
	skip "importing a package" "no compiler"
fi
finish
