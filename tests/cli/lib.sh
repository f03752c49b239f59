# SPDX-License-Identifier: Apache-2.0
# What the black-box tests share: the binary under test in $NVDRIVER, a scratch directory, and TAP lines.
set -u
: "${NVDRIVER:?names the binary under test}"
tap_n=0 tap_failed=0
work=$(mktemp -d "${TMPDIR:-/tmp}/nvd-cli.XXXXXX")
trap 'rm -rf "$work"' EXIT

ok() { tap_n=$((tap_n + 1)); echo "ok $tap_n - $1"; }
not_ok() { tap_n=$((tap_n + 1)); tap_failed=$((tap_failed + 1)); echo "not ok $tap_n - $1"; shift; printf '# %s\n' "$@"; }
skip() { tap_n=$((tap_n + 1)); echo "ok $tap_n - $1 # SKIP $2"; }
check() { # TEXT COMMAND...: passes when the command does
	local text=$1
	shift
	if "$@" >"$work/.check" 2>&1; then ok "$text"; else not_ok "$text" "$(head -5 "$work/.check")"; fi
}
equals() { # TEXT GOT WANT
	if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "got:  $2" "want: $3"; fi
}
# run ARGS...: the program; its status in $rc, its output in $work/out and $work/err
run() {
	"$NVDRIVER" "$@" >"$work/out" 2>"$work/err" </dev/null
	rc=$?
	[ -z "${NVD_JSON_DIR:-}" ] || keep_json
}
# What was printed as JSON is compared with its published schema by test-schemas.sh; an earlier run's is not.
[ -z "${NVD_JSON_DIR:-}" ] || rm -f "$NVD_JSON_DIR/$(basename "$0" .sh)".*
keep_json() {
	local first
	read -r -N 1 first <"$work/out" && [ "$first" = "{" ] || return 0
	mkdir -p "$NVD_JSON_DIR" && cp "$work/out" "$(mktemp "$NVD_JSON_DIR/$(basename "$0" .sh).XXXXXX")"
}
# status TEXT WANT ARGS...
status() {
	local text=$1 want=$2
	shift 2
	run "$@"
	if [ "$rc" = "$want" ]; then ok "$text"; else not_ok "$text" "status $rc instead of $want" "$(head -3 "$work/err")"; fi
}
# slug TEXT STATUS SLUG ARGS...: fails with this status and slug, says a reason and a next step
slug() {
	local text=$1 want=$2 slug=$3
	shift 3
	run --json "$@"
	if [ "$rc" = "$want" ] && grep -q "\"slug\": \"$slug\"" "$work/out" && grep -q '"next_step": ".' "$work/out" && grep -q '"reason": ".' "$work/out"; then
		ok "$text"
	else
		not_ok "$text" "status $rc instead of $want, or not slug $slug" "$(head -12 "$work/out")" "$(head -3 "$work/err")"
	fi
}
finish() { echo "1..$tap_n"; exit $((tap_failed > 0)); }
