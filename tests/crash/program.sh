#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Promise 1, tried on the whole program: strace kills it at entry of its calls that change a file system, or lets
# one of them fail. Afterwards: recover twice, old or new, every object whole, no leftovers, and the command run
# again ends like one that was never disturbed.
#
#   program.sh [--full] [--row] [--stride N] SCENARIO...
#       prepare, install, undo, gc, bundle; container-init, lxc-install, lxc-sync, vgpu-step-1,
#       vgpu-step-2 (in scenario-ROLE.sh)
#
# Without --full it is killed at every call that publishes, and at a sample (a fixed stride) of the others, so that it
# takes seconds. --row prints only the numbers of each scenario, for sweep.sh; --stride N makes a full sweep shorter: each
# change of a name is killed, of the other calls every Nth, and every Nth call fails. NVDRIVER and FIXTURE name the two programs.
set -u
: "${NVDRIVER:?names the binary under test}" "${FIXTURE:?names the program that makes the fixture}"
here=$(cd "$(dirname "$0")" && pwd)
full=no row=no every=1
while [ "${1#--}" != "${1:-}" ]; do
	case $1 in
	--full) full=yes ;;
	--row) row=yes ;;
	--stride) every=${2:?}; shift ;;
	*) echo "usage: program.sh [--full] [--row] [--stride N] SCENARIO..." >&2; exit 2 ;;
	esac
	shift
done

skip() { echo "skipped: $1"; exit 77; }
for tool in strace gcc make openssl; do command -v $tool >/dev/null || skip "no $tool"; done
strace -o /dev/null -e trace=none -e inject=write:error=EIO:when=9999 true 2>/dev/null || skip "strace cannot trace here"

# What a role mounts is gone with this test.
case $*,${NVD_PRIVATE:-} in
*lxc-*, | *container-*,)
	[ "$(id -u)" = 0 ] || skip "needs root"
	options=(--stride "$every")
	[ $full = no ] || options+=(--full)
	[ $row = no ] || options+=(--row)
	exec env NVD_PRIVATE=1 unshare --mount --propagation private "$0" "${options[@]}" "$@"
	;;
esac

work=$(mktemp -d "${TMPDIR:-/tmp}/nvd-program.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT # a scenario that has more to take down does it in quiet()
cd "$work" || exit 1
export LC_ALL=C TMPDIR=$work UBSAN_OPTIONS=halt_on_error=1:exitcode=99
unset SOURCE_DATE_EPOCH NVDRIVER_STORE
# LeakSanitizer cannot look at a traced program.
traced="detect_leaks=0:exitcode=99"
export ASAN_OPTIONS=exitcode=99
version=535.1.2

publishing="renameat renameat2 linkat"
names="unlinkat symlinkat mkdirat"
others="openat write copy_file_range fsync syncfs fchmod fchmodat fchownat utimensat ftruncate flock"
all="$publishing $names $others"
errors=(ENOSPC EIO ENOMEM)

fail() {
	quiet
	echo "FAILED: $scenario: $*"
	[ -s "$work/out" ] && sed 's/^/  | /' "$work/out" | tail -20
	[ -s "$work/difference" ] && head -20 "$work/difference"
	exit 1
}
into=() # the program that puts what follows where it runs
nvd() { timeout 60 "${into[@]}" "$NVDRIVER" --store "$work/store" "$@" >"$work/out" 2>&1 </dev/null; }

# -- the fixture, and the scenarios --

fixture_make() {
	"$FIXTURE" "$work" || exit 1
	echo 'int nv_core(int x) { return x + 1; }' >core.c
	gcc -g -c core.c -o driver/kernel/nvidia/nv-kernel.o_binary || exit 1
	"$NVDRIVER" runfile pack driver -o driver.run >/dev/null || exit 1
	openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 3650 -subj /CN=test 2>/dev/null || exit 1
	mkdir seed
	mv root seed/root
	mkdir seed/store
}
prepare=(prepare "$work/driver.run" --kernel-source "$work/kernel" --key "$work/key.pem" --cert "$work/cert.pem" --package)
install=(--root "$work/root" install "$version" --force)
undo=(--root "$work/root" undo)
seed_is() { # COMMAND...: what the command makes of the seed is the next seed
	fresh
	nvd "$@" || fail "making the fixture: $*"
	rm -rf seed/root seed/store
	cp -a root store seed/
}
prepare_seed() { :; }
install_seed() { seed_is "${prepare[@]}"; }
undo_seed() { install_seed; seed_is "${install[@]}"; }
gc_seed() { # everything prepared, and nothing refers to it any more
	install_seed
	find seed/store/refs -type f -delete
}
bundle_seed() { # everything of a prepared store in one file; the store it goes to is empty
	seed_is "${prepare[@]}"
	mkdir -p machine/usr/src/kernels
	cp -a kernel machine/usr/src/kernels/6.1.0-77-amd64
	"$NVDRIVER" --root machine --store seed/store bundle create --driver "$version" --kernel 6.1.0-77-amd64 \
		--modules --flavour proprietary -o all.nvbundle >out 2>&1 || fail "making the fixture: the bundle"
	rm -rf seed/store
	mkdir seed/store
}
command_of() {
	case $1 in
	prepare) argv=("${prepare[@]}") ;;
	install) argv=("${install[@]}") ;;
	undo) argv=("${undo[@]}") ;;
	gc) argv=(gc) ;;
	bundle) argv=(bundle apply "$work/all.nvbundle") ;;
	*) "${1//-/_}_command" ;;
	esac
}
# What runs or is mounted is ended before the directories are replaced or taken away; and begun again.
quiet() { :; }
begin() { :; }
fresh() { quiet; rm -rf --one-file-system root store; cp -a seed/root seed/store .; begin; }

# -- what is there --

# Names that differ from run to run are masked; records and logs hold times, so only their names count.
except=() # tests of find: what of the root is no state
machine_state() { :; } # lines of what is no file
root_state() {
	machine_state
	find root -xdev "${except[@]}" -printf '%y %m %p %l\n' | sed -E 's,/undo-[0-9a-f]{16},/undo-x,'
	find root -xdev "${except[@]}" -type f ! -path 'root/var/lib/nvdriver/*' -exec sha256sum {} +
}
store_state() {
	find store/trees store/kernels store/objects store/modules store/probes store/packages store/images store/refs ! -type d \
		! -name '*.json' ! -name '*.log' -exec sha256sum {} +
	# An image's record comes before the image, and without one says nothing.
	find store/trees store/kernels store/objects store/modules store/probes store/packages store/images ! -type d ! -path 'store/images/*.json' -printf '%y %m %p %l\n'
	find store/refs -type f -printf '%p\n'
}
state() { # NAME
	root_state | sort >"$1.root"
	store_state 2>/dev/null | sort >"$1.store"
}
# Each object and each reference that is there is all of what it was before or is in the end.
store_is_whole() {
	awk '
	function key(line,  a, m) {
		if (match(line, /store\/[a-z]+\/[0-9a-f]+/) && line !~ /store\/refs\//) return substr(line, RSTART, RLENGTH)
		return line
	}
	{ whole[FILENAME, key($0)] = whole[FILENAME, key($0)] "\n" $0 }
	FILENAME == "now.store" { here[key($0)] = 1 }
	END {
		for (k in here)
			if (whole["now.store", k] != whole["old.store", k] && whole["now.store", k] != whole["new.store", k]) {
				print k ":" whole["now.store", k] "\n-- and not:" whole["new.store", k]
				bad = 1
			}
		exit bad
	}' old.store new.store now.store >difference
}
# All that was asked for is there. Objects and probe answers are caches: without one the next build takes longer.
is_new() {
	{ diff now.root new.root; diff <(grep -Ev 'store/(objects|probes)/' now.store) <(grep -Ev 'store/(objects|probes)/' new.store); } >difference
	[ ! -s difference ]
}
# A command of several plans, each with its own success, may also stand between two of them.
old_or_new() {
	local s
	for s in old.root new.root between.*.root; do
		if cmp -s now.root "$s"; then store_is_whole; return; fi
	done
	{ diff old.root now.root; echo "-- and"; diff now.root new.root; } >difference
	return 1
}
brief=() # tests of find: where a leftover stays until the next run, and then no longer
clean() { # [TESTS]: of recover alone, with those
	find root store -xdev "$@" \( -name '.nvdriver-*' -o -path 'store/journal/*' -o -path 'store/tmp/*' \) -print >difference
	[ ! -s difference ]
}
again() { # undo has nothing left to undo the second time
	nvd "${argv[@]}" || { [ "$scenario" = undo ] && grep -q undo-nothing out; }
}

# What a scenario may put in their place: the states between its plans (between.N.root), after the undisturbed run; what
# happens to the machine before recover; and how all of it is taken back.
excused() { false; } # a call failed: was less than everything done, and said so?
between() { :; }
meanwhile() { :; }
back() { :; }

# -- one try --

# inject CALL WHAT N: the traced program; its status in $rc
inject() {
	rc=0
	{ # in a group, whose errors are the shell's own words on the killed program
		ASAN_OPTIONS=$traced timeout 60 "${into[@]}" strace $follow -qq -o trace -e "trace=$1" -e "inject=$1:$2:when=$3" \
			"$NVDRIVER" --store "$work/store" "${argv[@]}" >out 2>&1 </dev/null || rc=$?
	} 2>/dev/null
}
after() { # WHERE [excused]: what was done is something else, and was said
	local where=$1
	meanwhile
	if [ -e store/format ]; then # its last file: before it is there, there is no store to recover
		nvd recover || fail "$where: recover"
		state now
		old_or_new || [ "${2:-}" = excused ] || fail "$where: neither old nor new"
		clean "${brief[@]}" || fail "$where: something is left behind"
		nvd recover || fail "$where: second recover"
		state second
		cmp -s now.root second.root && cmp -s now.store second.store || fail "$where: the second recover changed something"
		nvd verify || fail "$where: an object is damaged"
	fi
	again || fail "$where: run again"
	state now
	is_new || fail "$where: running again does not converge"
	clean || fail "$where: something is left behind by the run after it"
	back || fail "$where: what was done cannot be taken back"
}
try_kill() { # CALL N
	fresh
	inject "$1" signal=KILL "$2"
	[ "$rc" != 99 ] || fail "killed at $1 $2: a sanitizer's report"
	grep -q 'killed by SIGKILL' trace || return 0
	killed=$((killed + 1))
	after "killed at $1 $2"
}
try_error() { # CALL N ERROR
	fresh
	inject "$1" "error=$3" "$2"
	[ "$rc" -lt 99 ] || [ "$rc" = 127 ] || fail "$1 $2 answers $3: status $rc"
	grep -q INJECTED trace || return 0
	failed=$((failed + 1))
	state now
	if [ "$rc" = 0 ] && grep -q 'was not renewed' out; then
		# ldconfig itself was hit: in a root that is not "/" a warning, and the old cache is all that differs.
		is_new || { grep '^[<>]' difference | grep -qv ' root/etc/ld.so.cache$' && fail "$1 $2 answers $3: more than the cache differs"; }
		tolerated=$((tolerated + 1))
		return 0
	elif excused; then
		tolerated=$((tolerated + 1))
		after "$1 $2 answers $3" excused
		return 0
	elif [ "$rc" = 0 ]; then
		is_new || fail "$1 $2 answers $3: success without the result"
		tolerated=$((tolerated + 1))
	elif ! grep -q 'nvdriver recover' out; then
		old_or_new || fail "$1 $2 answers $3: neither old nor new, and no word of recover"
	fi
	after "$1 $2 answers $3"
}

# -- all of a scenario --

count() { # CALL: how often one process or thread of the undisturbed run makes it
	awk -v call="$1(" '{ at = $1 ~ /^[0-9]+$/ ? 2 : 1 } index($at, call) == 1 { n[at == 2 ? $1 : 0]++ }
		END { for (p in n) if (n[p] > m) m = n[p]; print m + 0 }' counts
}
counts_take() {
	fresh
	ASAN_OPTIONS=$traced "${into[@]}" strace $follow -qq -o counts -e "trace=${all// /,}" "$NVDRIVER" --store "$work/store" "${argv[@]}" \
		>out 2>&1 </dev/null || fail "the traced run"
}
# each CALLS STRIDE TRY: a fixed stride over the calls of all names together, so that no name is always at its first.
each() {
	local call n at=0
	for call in $1; do
		for ((n = 1; n <= $(count "$call"); n++)); do
			at=$((at + 1))
			[ $((at % $2)) = 0 ] || continue
			case $3 in
			kill) try_kill "$call" "$n" ;;
			error) try_error "$call" "$n" "${errors[$((at / $2 % 3))]}" ;;
			esac
		done
	done
	calls=$((calls + at))
}
scenario_run() {
	scenario=$1
	# shellcheck source=/dev/null
	[ "${scenario#*-}" = "$scenario" ] || . "$here/scenario-${scenario%%-*}.sh"
	rm -rf seed
	cp -a pristine seed
	"${scenario//-/_}_seed"
	command_of "$scenario"
	fresh
	state old
	nvd "${argv[@]}" || fail "the undisturbed run"
	state new
	clean || fail "the undisturbed run leaves something behind"
	rm -f between.*
	between
	! cmp -s old.root new.root || ! cmp -s old.store new.store || fail "the undisturbed run changes nothing"
	killed=0 failed=0 tolerated=0 calls=0
	follow=
	counts_take
	each "$publishing" "$publish" kill
	each "$names" "${stride[0]}" kill
	each "$others" "${stride[1]}" kill
	each "$publishing $names" "${stride[2]}" error
	each "$others" "${stride[3]}" error
	# Once more with the threads and child programs: each of them counts its own calls.
	follow="-f --seccomp-bpf"
	calls_main=$((calls / 2))
	counts_take
	each "$all" "${stride[4]}" kill
	each "$all" "${stride[4]}" error
	quiet
	[ $killed -gt 0 ] && [ $failed -gt 0 ] || fail "nothing was tried"
	if [ $row = yes ]; then
		printf '| nvdriver %s | %d | %d | %d | %d | %d | %s |\n' "${scenario//-/ }" $calls_main $killed "$every" $failed $tolerated "$(date +%F)"
	else
		echo "$scenario: of $calls_main calls; killed $killed times, $failed calls failed ($tolerated of them tolerated): old or new each time"
	fi
}

[ $# -gt 0 ] || set -- prepare install undo gc bundle container-init lxc-install lxc-sync vgpu-step-1 vgpu-step-2
fixture_make
mv seed pristine
for s; do
	publish=1
	case $full$s in
	nocontainer-*) stride=(11 151 67 211 997) publish=7 ;;
	yes*) stride=(1 "$every" "$every" "$every" $((7 * every))) ;;
	noprepare) stride=(7 97 23 131 997) ;;
	novgpu-*) stride=(11 67 23 79 397) ;;
	nolxc-*) stride=(17 101 41 151 397) ;;
	*) stride=(7 41 17 61 397) ;;
	esac
	(scenario_run "$s") || exit
done
