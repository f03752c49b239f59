#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The whole program killed by strace at entry of its calls that change a file system: each rename, and every
# STRIDE-th of the others. Then: recover twice, no leftovers, the command again, the same tree as undisturbed.
#
#   program.sh NVDRIVER WORKDIR COMMAND...     COMMAND may use @STORE@ and @ROOT@; WORKDIR/seed/{root,store} is
#                                              copied for each try. STRIDE=1 leaves out nothing.
set -eu
nvdriver=$1 work=$2; shift 2
stride=${STRIDE:-11}
command -v strace >/dev/null || { echo "skipped: no strace"; exit 77; }
calls="rename renameat renameat2 unlinkat mkdirat linkat symlinkat fsync syncfs write copy_file_range"

fresh() { rm -rf "$work/root" "$work/store"; cp -a "$work/seed/." "$work/"; mkdir -p "$work/root" "$work/store"; }
args() { for a in "$@"; do a=${a//@STORE@/$work/store}; printf '%s\0' "${a//@ROOT@/$work/root}"; done; }
state() { (cd "$work" && find root -printf '%P %y %m %l\n' | grep -v '^var/lib/nvdriver/' | sort
	find root -type f ! -path 'root/var/lib/nvdriver/*' -print0 | sort -z | xargs -0r sha256sum); }
run() { "$nvdriver" "${argv[@]}" >"$work/out" 2>&1; }
recover() { "$nvdriver" --store "$work/store" recover >"$work/out" 2>&1; }
clean() { [ -z "$(find "$work/root" "$work/store" -name '.nvdriver-*' -print -quit)" ] && \
	[ -z "$(ls -A "$work/store/journal")" ] && [ -z "$(ls -A "$work/store/tmp")" ]; }
fail() { echo "FAILED: $*"; cat "$work/out"; exit 1; }

mapfile -d '' -t argv < <(args "$@")
fresh; old=$(state); run || fail "undisturbed run"; new=$(state)
tries=0
for call in $calls; do
	step=$stride; [ "${call#rename}" = "$call" ] || step=1
	for ((n = 1;; n += step)); do
		fresh
		rc=0
		strace -f -qq -o /dev/null -e trace=none -e "inject=$call:signal=KILL:when=$n" \
			"$nvdriver" "${argv[@]}" >"$work/out" 2>&1 || rc=$?
		[ $rc != 0 ] || break
		tries=$((tries + 1))
		[ -d "$work/store/journal" ] || continue # killed before there was a store
		recover || fail "recover after $call $n"
		now=$(state)
		[ "$now" = "$old" ] || [ "$now" = "$new" ] || fail "$call $n: neither old nor new"
		clean || fail "$call $n: something is left behind"
		recover || fail "second recover after $call $n"
		[ "$(state)" = "$now" ] || fail "$call $n: the second recover changed something"
		run || fail "run again after $call $n"
		[ "$(state)" = "$new" ] || fail "$call $n: running again does not converge"
	done
done
[ $tries -gt 0 ] || fail "nothing was killed"
echo "killed at $tries calls, always old or new"
