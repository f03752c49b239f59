# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Results in TAP: one "ok" or "not ok" line per assertion, below a failed one what was expected and what came.

TAP_PASSED=0
TAP_FAILED=0
TAP_SKIPPED=0

note() { printf '%s\n' "$*" | sed 's/^/# /'; }

# pass TEXT | fail TEXT [EXPLANATION...] | skip TEXT REASON
pass() {
	TAP_PASSED=$((TAP_PASSED + 1))
	echo "ok $((TAP_PASSED + TAP_FAILED + TAP_SKIPPED)) - $1"
}

fail() {
	TAP_FAILED=$((TAP_FAILED + 1))
	echo "not ok $((TAP_PASSED + TAP_FAILED + TAP_SKIPPED)) - $1"
	shift
	[ $# = 0 ] || note "$@"
}

skip() {
	TAP_SKIPPED=$((TAP_SKIPPED + 1))
	echo "ok $((TAP_PASSED + TAP_FAILED + TAP_SKIPPED)) - $1 # SKIP $2"
}

# is TEXT GOT EXPECTED
is() {
	if [ "$2" = "$3" ]; then
		pass "$1"
	else
		fail "$1" "expected: $3" "     got: $2"
	fi
}

# Turn a guest's result lines (see guest/prelude.sh) on standard input into this file's results: assertions are
# counted and numbered, everything else becomes a comment.
tap_guest() {
	local line
	while IFS= read -r line; do
		case $line in
		"ok - "*" # SKIP "*) line=${line#ok - } && skip "$1: ${line% # SKIP *}" "${line##* # SKIP }" ;;
		"ok - "*) pass "$1: ${line#ok - }" ;;
		"not ok - "*) fail "$1: ${line#not ok - }" ;;
		"@@"*) ;;
		*) echo "# $line" ;;
		esac
	done
}

# The closing lines; the exit status of the file: 0 all passed, 1 otherwise.
tap_done() {
	echo "1..$((TAP_PASSED + TAP_FAILED + TAP_SKIPPED))"
	echo "# $TEST_NAME: $TAP_PASSED passed, $TAP_FAILED failed, $TAP_SKIPPED skipped"
	[ "$TAP_FAILED" = 0 ] && [ "$TAP_PASSED" != 0 ]
}

# The whole file cannot run here: say what is missing and end with 77.
tap_cannot_run() {
	echo "1..0 # SKIP $*"
	exit 77
}
