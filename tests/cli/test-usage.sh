#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The command line itself: statuses, messages, streams.
. "$(dirname "$0")/lib.sh"

status "--help succeeds" 0 --help
check "--help goes to stdout" grep -q '^Usage: nvdriver' "$work/out"
equals "--help says nothing on stderr" "$(cat "$work/err")" ""
status "--version succeeds" 0 --version
status "no command is a usage error" 2
slug "an unknown command is named" 2 usage no-such-command
slug "an unknown option is named" 2 usage status --no-such-option
slug "a missing argument is a usage error" 2 usage prepare
slug "a superfluous argument is a usage error" 2 usage status surplus
slug "a value that is no number is refused" 2 usage prepare x --jobs many
slug "a word outside the list is refused" 2 usage status --color sometimes
run status --no-such-option
equals "a usage error is one message, not the whole help" "$(wc -l <"$work/err")" 2
equals "a usage error prints nothing on stdout" "$(cat "$work/out")" ""
run --color always no-such-command
check "--color always colours" grep -q $'\033' "$work/err"
run no-such-command
check "no colour into a file" sh -c "! grep -q $'\033' '$work/err'"

mkdir -p "$work/root"
status "status of an empty root works without a store" 0 --root "$work/root" --store "$work/none" status
check "and makes none" test ! -e "$work/none"
run --root "$work/root" --store "$work/none" --json status
check "JSON names its schema" grep -q '"schema": "nvdriver.status/1"' "$work/out"
check "options may stand before and after the verb" "$NVDRIVER" status --root "$work/root" --store "$work/none"
"$NVDRIVER" --root "$work/root" --store "$work/none" status >/dev/full 2>/dev/null
equals "a result that cannot be written is a failure" $? 1
"$NVDRIVER" --help >&- 2>/dev/null
check "a closed stdout is a failure, not a crash" test $? = 1
run --log-file "$work/log" --root "$work/root" --store "$work/none" no-such-command
run --log-file "$work/log" --root "$work/root" --store "$work/none" prepare /does/not/exist
check "the log file has the message" grep -q 'does/not/exist' "$work/log"
run --log-format json --root "$work/root" --store "$work/none2" prepare /does/not/exist
check "log lines are JSON when asked" sh -c "head -1 '$work/err' | grep -q '^{.*}$'"
slug "a root that is not there" 5 root-unreachable --root /does/not/exist status
finish
