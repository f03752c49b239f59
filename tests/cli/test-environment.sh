#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The program in surroundings that are not as they should be: no space, no memory, no descriptors, closed or full streams, odd
# modes, variables, names and clocks, and others doing the opposite at the same time. It succeeds with the whole result, or
# fails with a reason; what is there stays whole.
. "$(dirname "$0")/lib.sh"
: "${FIXTURE:?names the program that makes the fixture}"

"$FIXTURE" "$work" || exit 1
cd "$work" || exit 1
echo 'int nv_core(int x) { return x + 1; }' >core.c
gcc -g -c core.c -o driver/kernel/nvidia/nv-kernel.o_binary || exit 1
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 3650 -subj /CN=test 2>/dev/null
chmod 600 key.pem
"$NVDRIVER" runfile pack driver -o driver.run >/dev/null || exit 1
mv root pristine
version=535.1.2
prepare=(prepare driver.run --kernel-source kernel --key key.pem --cert cert.pem)
"$NVDRIVER" --store full "${prepare[@]}" >/dev/null 2>&1 || { echo "Bail out! the fixture cannot be prepared"; exit 1; }

fresh() { rm -rf root root2 store; cp -a pristine root; cp -a full store; }
state() { (cd root && find . ! -path './var/lib/nvdriver*' \( -type f -exec sha256sum {} + -o -true \) -printf '%p %y %m %l\n' | LC_ALL=C sort); }
nvd() { "$NVDRIVER" --root "$work/root" --store "$work/store" "$@"; }
# Under AddressSanitizer address space and descriptors are its own.
plain=yes
! nm -D "$NVDRIVER" 2>/dev/null | grep -q __asan_init || plain=no
fresh
state >old
nvd install $version --force >/dev/null 2>&1
state >new
whole() { # TEXT: old or new, and the store as it was
	state >now
	if ! cmp -s now old && ! cmp -s now new; then not_ok "$1: neither old nor new" "$(diff old now | head -5)" "$(diff new now | head -5)"; return; fi
	nvd verify >verdict 2>&1 || { not_ok "$1: the store is damaged" "$(head -3 verdict)"; return; }
	nvd install $version --force >verdict 2>&1 || { not_ok "$1: the next run fails" "$(head -3 verdict)"; return; }
	state >now
	if cmp -s now new; then ok "$1"; else not_ok "$1: the next run ends otherwise" "$(diff new now | head -5)"; fi
}
# tells TEXT SLUG COMMAND...: fails with that slug's words, or does its work
tells() {
	local text=$1 slug=$2
	shift 2
	fresh
	"$@" >out 2>err </dev/null
	rc=$?
	if [ $rc != 0 ] && ! grep -q "\[$slug\]" err; then not_ok "$text: status $rc without a word of $slug" "$(head -3 err)"; return; fi
	whole "$text (status $rc)"
}

# -- limits
if [ $plain = yes ]; then
	for n in 4 5 6 8 10 12 14 16 20 24; do
		tells "$n descriptors" too-many-open-files bash -c "ulimit -n $n; exec \"\$@\"" limit "$NVDRIVER" --root "$work/root" --store "$work/store" install $version --force
	done
	for kb in 9000 10000 11000 12000 14000 16000; do
		fresh
		bash -c "ulimit -v $kb; exec \"\$@\"" limit "$NVDRIVER" --root "$work/root" --store "$work/store" install $version --force >out 2>err </dev/null
		rc=$?
		# 127: the loader itself had no room for the libraries.
		case $rc in
		0 | 1 | 127) whole "$kb kB of memory (status $rc)" ;;
		*) not_ok "$kb kB of memory: status $rc" "$(head -3 err)" ;;
		esac
	done
else
	skip "few descriptors, little memory" "a sanitizer's build needs more of both"
fi
tells "files of 4 kB at most" no-space bash -c 'trap "" XFSZ; ulimit -f 4; exec "$@"' limit "$NVDRIVER" --root "$work/root" --store "$work/store" install $version --force

# -- disks
if [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
	mkdir -p disk
	for kb in 16 64 128 256 512; do
		unshare --mount --propagation private bash -c '
			kb=$1 nvdriver=$2; shift 2
			mount -t tmpfs -o size=${kb}k disk disk || exit 125
			"$nvdriver" --store disk/store "$@" >out 2>err </dev/null
			echo $? >status
			mount -o remount,size=64m disk
			"$nvdriver" --store disk/store recover >out2 2>&1 && "$nvdriver" --store disk/store verify >>out2 2>&1
			echo $? >>status
			"$nvdriver" --store disk/store "$@" >>out2 2>&1
			echo $? >>status
			find disk/store/tmp disk/store/journal -mindepth 1 >left' full $kb "$NVDRIVER" "${prepare[@]}"
		if [ "$(head -1 status)" != 0 ] && ! grep -q '\[no-space\]\|No space left on device' err; then
			not_ok "a disk of $kb kB: no word of no-space" "$(head -3 err)"
		else
			equals "a disk of $kb kB (status $(head -1 status)); with room the store is whole and the next run ends well" \
				"$(tail -n +2 status | tr '\n' ' ')$(cat left)" "0 0 "
		fi
	done
	fresh
	unshare --mount --propagation private bash -c '
		mount --bind store store && mount -o remount,bind,ro store || exit 125
		"$1" --store store list >out 2>err; echo $? >status
		"$1" --store store verify >>out 2>>err; echo $? >>status
		"$1" --store store --root root install '$version' --force >out3 2>err3; echo $? >>status' ro "$NVDRIVER"
	equals "a read-only store is listed and verified; installing from it" "$(tr '\n' ' ' <status)" "0 0 1 "
	check "says that it is read-only" grep -q '\[read-only\]' err3
	whole "and leaves the root as it was"
else
	skip "full and read-only disks" "needs root for mounts"
fi

# -- streams
for closed in '<&-' '>&-' '2>&-' '<&- >&- 2>&-'; do
	fresh
	eval "nvd install $version --force $closed" >/dev/null 2>&1
	eval "\"$NVDRIVER\" --root root --store store install $version --force $closed"  2>/dev/null | cat >/dev/null
	whole "streams closed: $closed"
done
fresh
nvd list >/dev/full 2>err
equals "an answer that cannot be written is a failure" "$?" 1
nvd --json list >/dev/full 2>err
equals "so is one in JSON" "$?" 1
nvd --help >/dev/full 2>err
equals "and help" "$?" 1
nvd install $version --force 2>/dev/full >/dev/full
whole "an installation nobody can read about"
fresh
nvd install $version --force 2>&1 | true
whole "a reader that is gone"

# -- modes and variables
for mask in 0000 0022 0077 0777; do
	fresh
	(umask $mask; nvd install $version --force >/dev/null 2>&1)
	state >now
	equals "umask $mask changes nothing of what is installed" "$(diff new now)" ""
done
rm -rf masked
(umask 0777; "$NVDRIVER" --store masked "${prepare[@]}" >/dev/null 2>err)
equals "a store made under umask 0777 can be read by its owner" "$? $("$NVDRIVER" --store masked verify >/dev/null 2>&1; echo $?)" "0 0"
# with TEXT COMMAND...: installs as ever
with() {
	local text=$1
	shift
	fresh
	"$@" "$NVDRIVER" --root "$work/root" --store "$work/store" install $version --force >out 2>err </dev/null
	rc=$?
	state >now
	equals "$text" "$rc $(diff new now)" "0 "
}
many=()
for ((i = 0; i < 2000; i++)); do many+=("VARIABLE_$i=$(printf '%0500d' "$i")"); done
with "a megabyte of variables" env "${many[@]}"
with "no variables at all" env -i
with "a language nobody has" env LC_ALL=tlh_QO.UTF-8 LANGUAGE=tlh TZ=Nowhere/Never
with "a Turkish one" env LC_ALL=tr_TR.UTF-8
with "a place for temporary files that is not there" env TMPDIR=/does/not/exist HOME=/nowhere
with "a path with nothing in it" env PATH=/nonexistent:/root/ldconfig-is-not-here
if command -v faketime >/dev/null && [ $plain = yes ]; then
	with "a clock in 1971" faketime '1971-01-01 00:00:00'
	with "a clock in 2105" faketime '2105-01-01 00:00:00'
	fresh
	faketime '2105-01-01' "$NVDRIVER" --root "$work/root" --store "$work/store" install $version --force >/dev/null 2>&1
	equals "what was installed in 2105 is undone in 1971" "$(faketime '1971-01-01' "$NVDRIVER" --root "$work/root" --store "$work/store" undo >/dev/null 2>&1; echo $?) $(state | diff old - )" "0 "
	nvd verify >/dev/null 2>&1
	equals "and the store is whole today" "$?" 0
else
	skip "clocks" "no faketime, or a sanitizer's build"
fi

# -- names
odd=$'caf\u00e9 \n"quoted" \\ \t\U0001F600'
mkdir "$odd"
cp driver.run "$odd/$odd.run"
cp -a pristine "$odd/root"
is_json() { python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$1"; }
run --json runfile info "$odd/$odd.run"
equals "a name with a line end, quotes and more is read" "$rc" 0
check "and the answer is JSON" is_json out
slug "the kernel's build cannot work in such a directory, and says so" 7 module-build-failed --store "$odd/store" prepare "$odd/$odd.run" \
	--kernel-source kernel
run --json --root "$odd/root" --store "$odd/store" install $version --force
equals "and installed there" "$rc" 0
check "the answer is JSON" is_json out
run --json --root "$odd/root" --store "$odd/store" undo
equals "and taken back" "$rc $(cd "$odd" && diff -r --no-dereference root ../pristine | grep -v 'var/lib')" "0 "
cp driver.run $'\xff.run'
slug "a name that is no text is refused by name" 2 name-not-text runfile info $'\xff.run'
check "in JSON too" is_json out

# -- two roots of one store
fresh
cp -a pristine root2
nvd install $version --force >/dev/null 2>&1
"$NVDRIVER" --root root2 --store store install $version --force >/dev/null 2>&1
status "undo without a word of where asks which of two roots is meant" 2 --store store undo
run --root "$work/../$(basename "$work")/root2" --store store undo
equals "the root that is named is the one taken back, however it is spelled" "$rc $(diff -r --no-dereference root2 pristine | grep -v var/lib)" "0 "
state >now
equals "and the other one stays" "$(diff new now)" ""
run --root root2 --store store undo
check "nothing is left for the first" grep -q undo-nothing err

# -- others at the same time
seconds=5
[ -z "${NVDRIVER_TEST_FULL:-}" ] || seconds=60
fresh
: >bad
worker() { # NUMBER: one of the jobs, again and again
	local end=$((SECONDS + seconds)) rc
	while [ $SECONDS -lt $end ]; do
		case $1 in
		0 | 1) nvd install $version --force ;;
		2) nvd undo ;;
		3) nvd "${prepare[@]}" ;;
		4) nvd gc ;;
		5) nvd verify ;;
		6) nvd recover ;;
		7) nvd install --remove ;;
		esac >"out.$1" 2>&1 </dev/null
		rc=$?
		# Done, nothing to undo or nothing there (1), the root or store held for too long (75), drift seen by verify (10).
		case $1:$rc in
		*:0 | *:75 | 2:1 | 7:1 | 5:10) ;;
		*) echo "worker $1: status $rc: $(head -2 "out.$1" | tr '\n' ' ')" >>bad ;;
		esac
	done
}
for n in 0 1 2 3 4 5 6 7; do worker $n & done
wait
equals "eight processes doing the opposite of each other for $seconds s: none fails otherwise than by waiting" "$(sort bad | uniq -c | head -5)" ""
nvd recover >/dev/null 2>&1
nvd "${prepare[@]}" >/dev/null 2>&1
whole "and what they leave is whole"
equals "nothing is in flight" "$(find store/journal store/tmp -mindepth 1)" ""
finish
