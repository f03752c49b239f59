# SPDX-License-Identifier: Apache-2.0
# Sourced by the tests that kill a vGPU verb at its changes; they define fresh, tree and finishes. Needs lib.sh.

strace -o /dev/null -e trace=none -e inject=write:error=EIO:when=9999 true 2>/dev/null || { echo "1..0 # SKIP no strace, or it cannot trace here"; exit 0; }
# LeakSanitizer cannot look at a traced program.
export ASAN_OPTIONS=detect_leaks=0
changes="renameat renameat2 linkat unlinkat symlinkat"

# undisturbed TEXT ARGS...: leaves the state before in old and after in new, and the calls it made in trace
undisturbed() {
	local text=$1
	shift
	fresh
	tree >old
	strace -f -o trace -e trace="rename,${changes// /,}" "$NVDRIVER" "$@" >out 2>err </dev/null
	equals "$text: undisturbed" "$?" 0
	tree >new
	if cmp -s old new; then not_ok "$text: changes something"; fi
}
# killed_at_changes TEXT PARTS ARGS...: killed at about PARTS of the calls of each name, at all with NVDRIVER_TEST_FULL=1
killed_at_changes() {
	local text=$1 parts=$2 call n i stride killed=0 bad=$tap_failed
	shift 2
	for call in $changes; do
		n=$(grep -cE "^[0-9]+ +$call\(" trace)
		stride=$((n / parts + 1))
		[ -z "${NVDRIVER_TEST_FULL:-}" ] || stride=1
		for ((i = 1; i <= n; i += stride)); do
			fresh
			strace -f -o /dev/null -e trace="$call" -e inject="$call:signal=KILL:when=$i" "$NVDRIVER" "$@" >out 2>err </dev/null &
			wait $! 2>/dev/null
			killed=$((killed + 1))
			finishes "$text: killed at $call $i of $n"
		done
	done
	equals "$text: killed at $killed changes, each time finished and undone" "$((tap_failed - bad))" 0
}
