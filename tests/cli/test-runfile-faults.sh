#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Extract, pack and patch with calls that fail and with kills: a failure leaves nothing, or the whole result when only
# what follows the rename failed (its sync, the report); a kill at most a private temporary name besides. Never a part
# of the result under its own name. A sample; STRIDE=1 leaves out nothing.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
stride=${STRIDE:-7}
export ASAN_OPTIONS=detect_leaks=0 # the leak checker cannot run beneath strace
if ! strace -qq -o /dev/null -f -e trace=none true 2>/dev/null; then
	echo "1..0 # SKIP strace cannot be used here"
	exit 0
fi

mkdir -p tree/kernel/nvidia place
printf '%s\n' 'NVIDIA Accelerated Graphics Driver for Linux-x86_64' 1.2.3 ' ' 'nvidia ' ' ' ' ' ./kernel/ \
	./kernel/precompiled/ 'kernel/nvidia/nv.c 0644 KERNEL_MODULE_SRC INHERIT_PATH_DEPTH:1 MODULE:resman' >tree/.manifest
seq 1 2000 >tree/kernel/nvidia/nv.c
printf -- '--- ./kernel/nvidia/nv.c\n+++ ./kernel/nvidia/nv.c\n@@ -1,3 +1,3 @@\n 1\n-2\n+two\n 3\n' >good.patch
run runfile pack tree -o driver.run
equals "a package to try with" $rc 0

# whole VERB: the result that lies in place/ is complete
whole() {
	case $1 in
	extract) diff -r tree place/out >/dev/null ;;
	*) sh place/out --check >/dev/null 2>&1 ;;
	esac
}
verb_args() {
	case $1 in
	extract) args=(runfile extract driver.run -C place/out --sync) ;;
	pack) args=(runfile pack tree -o place/out --jobs 1) ;;
	patch) args=(runfile patch driver.run -p good.patch -o place/out --jobs 1) ;;
	esac
}
for verb in extract pack patch; do
	verb_args $verb
	failed=0 killed=0 bad=
	for what in openat:error=EMFILE read:error=EIO pread64:error=EIO write:error=ENOSPC pwrite64:error=EIO mkdirat:error=ENOSPC \
		mkdir:error=ENOSPC fchmod:error=EPERM utimensat:error=EPERM fsync:error=EIO syncfs:error=EIO renameat2:error=EXDEV \
		renameat:error=EIO fstat:error=EIO newfstatat:error=EIO ftruncate:error=EIO \
		write:signal=KILL mkdirat:signal=KILL fsync:signal=KILL renameat2:signal=KILL renameat:signal=KILL \
		utimensat:signal=TERM write:signal=INT; do
		for ((n = 1; n < 400; n += what_step)); do
			what_step=$stride
			rm -rf place
			mkdir place
			{ strace -qq -o trace -f -e trace="${what%%:*}" -e "inject=$what:when=$n" "$NVDRIVER" "${args[@]}" \
				>out 2>err </dev/null; rc=$?; } 2>/dev/null # the shell tells of a kill
			grep -qE 'INJECTED|killed by|--- SIG(TERM|INT)' trace || break
			left=$(ls -A place)
			case $what in
			*KILL) killed=$((killed + 1))
				if [ -e place/out ] && ! whole $verb; then bad="$bad $what:$n(part)"; fi ;;
			*) if [ $rc = 0 ]; then
					whole $verb || bad="$bad $what:$n(status 0, not whole)"
				else
					failed=$((failed + 1))
					[ -z "$left" ] || { [ "$left" = out ] && whole $verb; } || bad="$bad $what:$n(left: $left)"
				fi ;;
			esac
		done
	done
	equals "$verb: $failed failed calls and $killed kills leave nothing by halves" "$bad" ""
	check "$verb: calls did fail and kills did happen" test "$failed" -gt 5 -a "$killed" -gt 0
done
finish
