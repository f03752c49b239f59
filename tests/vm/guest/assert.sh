# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
#
# Assertions of a guest's script, whatever its process 1 is, and how it ends. Results go to standard output.

end() {
	echo "@@DONE $1"
	poweroff -f
}
finish() { end 0; }
trap 'end 99' EXIT

ok() { echo "ok - $1"; }
not_ok() {
	echo "not ok - $1"
	shift
	[ $# = 0 ] || printf '  %s\n' "$@"
}

# is TEXT GOT EXPECTED
is() {
	if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "expected: $3" "     got: $2"; fi
}

# has TEXT STRING PART: STRING contains PART (a shell pattern without the stars)
has() {
	case $2 in
	*$3*) ok "$1" ;;
	*) not_ok "$1" "expected: ...$3..." "     got: $2" ;;
	esac
}

# run COMMAND...: RC, OUT (standard output) and ERR (standard error) of it
run() {
	RC=0
	"$@" >/tmp/out 2>/tmp/err || RC=$?
	OUT=$(cat /tmp/out)
	ERR=$(cat /tmp/err)
}

# exits TEXT STATUS COMMAND...: run, and the exit status is as expected
exits() {
	local text=$1 status=$2
	shift 2
	run "$@"
	if [ "$RC" = "$status" ]; then
		ok "$text"
	else
		not_ok "$text" "expected: $* ends with $status" "     got: $RC" "  stdout: $OUT" "  stderr: $ERR"
	fi
}

# refuses TEXT STATUS SLUG ARGUMENTS...: nvdriver --json ARGUMENTS fails with this status and slug (OUT is its JSON).
refuses() {
	local text=$1 status=$2 slug=$3
	shift 3
	run nvdriver --json "$@"
	if [ "$RC $(json slug)" = "$status $slug" ]; then
		ok "$text"
	else
		not_ok "$text" "expected: nvdriver $* ends with $status, $slug" "     got: $RC, $(json slug)" \
			"  stdout: $OUT" "  stderr: $ERR"
	fi
}

# json KEY: the value of the first "KEY": "VALUE" in the last run's output.
json() { sed -n "s/.*\"$1\": \"\(.*\)\".*/\1/p" /tmp/out | head -n 1; }

# The kernel's messages since the last call.
kernel_log() { dmesg -c | sed 's/^\[[^]]*\] //'; }

# names DIRECTORY [START]: its entries in one line.
names() { (cd "$1" && echo "${2:-}"*); }

# Loaded modules whose name begins with nvidia, in the order they were loaded.
nvidia_modules() { awk '/^nvidia/ { print $1 }' /proc/modules | tac | xargs; }
