#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The program built on Debian 12 starts on RHEL 9: it asks for no library and no symbol version that the base image lacks.
# A build with sanitizers has libraries of its own, so ./check runs this once more on the release build.
. "$(dirname "$0")/lib.sh"

command -v objdump >/dev/null || { skip "what the program asks for" "no objdump"; finish; }
objdump -p "$NVDRIVER" >"$work/p" 2>/dev/null || { echo "Bail out! $NVDRIVER is not an ELF program"; exit 1; }
if grep -qE 'NEEDED +lib(asan|ubsan|tsan|lsan|clang_rt)' "$work/p"; then
	skip "what the program asks for" "a build with sanitizers; ./check looks at the release build"
	finish
fi

# SONAME, the newest symbol version there, in which package of the base image. RHEL 9 stays with these for its lifetime.
cat >"$work/there" <<'END'
libc.so.6             GLIBC_2.34       glibc
ld-linux-x86-64.so.2  GLIBC_2.34       glibc
ld-linux-aarch64.so.1 GLIBC_2.34       glibc
libcrypto.so.3        OPENSSL_3.0.1    openssl-libs
libjansson.so.4       libjansson.so.4  jansson
liblzma.so.5          XZ_5.2           xz-libs
libz.so.1             ZLIB_1.2.9       zlib
libzstd.so.1          -                libzstd
END
newest() { awk -v so="$1" '$1 == so { print $2 }' "$work/there"; }

awk '$1 == "NEEDED" { print $2 }' "$work/p" >"$work/needed"
check "it needs libraries at all" grep -q '^libc\.so\.6$' "$work/needed"
while read -r so; do
	check "$so is in the base image" test -n "$(newest "$so")"
done <"$work/needed"

# One line per version wanted: SONAME VERSION
awk '/^Version References/ { on = 1 } on && /required from/ { sub(":", "", $3); so = $3 } on && $1 ~ /^0x/ { print so, $4 }' \
	"$work/p" >"$work/versions"
check "symbols have versions" grep -q '^libc\.so\.6 GLIBC_' "$work/versions"
older() { # VERSION NEWEST: same name before the number, and not above it
	[ "${1%%_*}" = "${2%%_*}" ] && [ "$(printf '%s\n' "$1" "$2" | sort -V | tail -1)" = "$2" ]
}
while read -r so; do
	late=$(awk -v so="$so" '$1 == so { print $2 }' "$work/versions" | while read -r v; do older "$v" "$(newest "$so")" || echo "$v"; done)
	equals "$so: no symbol newer than $(newest "$so")" "$late" ""
done <"$work/needed"

# These are loaded by name when they are used, or linked in: not every image has them, or not under one name.
for so in libarchive libcurl libkmod libsqlite3 libbz2 libxml2; do
	check "$so is not needed to start" sh -c "! grep -q '^$so\.so' '$work/needed'"
done
check "no search path of the building machine" sh -c "! grep -qE '^ *(RPATH|RUNPATH)' '$work/p'"

# What makes a fault in it hard to use (docs/security.md).
header() { awk -v t="$1" '$1 == t { on = 1; next } on && /flags/ { print $NF; exit }' "$work/p"; }
check "it is position independent" sh -c "objdump -f '$NVDRIVER' | grep -q DYNAMIC"
equals "the stack is not executable" "$(header STACK)" rw-
check "the linker's tables are read-only once it runs" sh -c "grep -q '^ *RELRO ' '$work/p' && grep -qE '^ *(BIND_NOW|FLAGS +0x0*8|FLAGS_1 .*1)' '$work/p'"
equals "no part is writable and executable" "$(grep -c 'flags rwx' "$work/p")" 0
objdump -T "$NVDRIVER" >"$work/symbols"
check "functions watch their stack" grep -q __stack_chk_fail "$work/symbols"
optimised=$(grep -c '_chk$' "$work/symbols")
if [ "$optimised" -gt 1 ]; then
	check "copies and formats are checked against their buffer's size" grep -qE '__(memcpy|snprintf|vsnprintf|vasprintf)_chk$' "$work/symbols"
else
	skip "copies and formats are checked against their buffer's size" "a build without optimisation; ./check looks at the release build"
fi
case $(uname -m) in
x86_64) check "indirect branches have marked targets" test "$(objdump -d --no-show-raw-insn -j .text "$NVDRIVER" | grep -c endbr64)" -gt 500 ;;
aarch64) check "indirect branches have marked targets" test "$(objdump -d --no-show-raw-insn -j .text "$NVDRIVER" | grep -cE 'paciasp|bti')" -gt 500 ;;
esac
finish
