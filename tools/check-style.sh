#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Rules a compiler does not know. Prints every breach and a closing count.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
passed=0 failed=0
rule() { # TEXT COMMAND...: the command must print nothing
	local text=$1 out
	shift
	out=$("$@" 2>&1)
	if [ -z "$out" ]; then
		passed=$((passed + 1))
		echo "ok $text"
	else
		failed=$((failed + 1))
		echo "not ok $text"
		echo "$out" | head -20
	fi
}
sources() { git ls-files '*.c' '*.h'; }
unformatted() { sources | xargs -P2 -n8 clang-format --dry-run -Werror 2>&1 | grep -E 'error:' | sed 's/error:.*//' | sort -u; }
no_spdx() { git ls-files '*.c' '*.h' '*.sh' '*/meson.build' '*.def' quickstart check .ci/run | while read -r f; do head -3 "$f" | grep -q 'SPDX-License-Identifier: \(Apache-2.0\|GPL-2.0-only\)' || echo "$f"; done; }
shell_calls() { git grep -nE '\b(system|popen|execlp|execvp) ?\(|"(/bin/)?sh", *"-c"' -- 'src/*.c' 'src/*.h'; }
renames() { git grep -nE '\brename(at2?)? ?\(' -- 'src/*.c' | grep -v '^src/base/publish.c:'; }
prints() { git grep -nwE 'printf|puts|putchar|fputs|perror|exit' -- 'src/*.c' | grep -v '^src/cli/' | grep -E '[^a-z_](printf|puts|putchar|perror|exit) ?\(|fputs ?\(' | grep -vE '_exit|:[0-9]+:\s*(\*|/\*)'; }
open_ends() { git grep -nIwE 'TODO|FIXME|XXX|not implemented|unimplemented' -- '*.c' '*.h' '*.md' '*.sh' '*.build' | grep -v '^tools/check-style.sh'; }
duplicate_slugs() { sed -n 's/^E([A-Z0-9_]*, "\([^"]*\)".*/\1/p' src/base/errcodes*.def | sort | uniq -d; }
bad_statuses() { grep -ohE '^E\([A-Z0-9_]+, "[^"]*", [0-9]+' src/base/errcodes*.def | grep -vE ', (1|2|3|4|5|6|7|8|9|10|75)$'; }
static_analysis() { cppcheck -j2 --quiet --std=c11 --enable=warning,portability --inline-suppr --suppressions-list=tools/cppcheck.txt \
	-D__x86_64__ '-Djson_array_foreach(a,i,v)=for(;(v);)' '-Djson_object_foreach(o,k,v)=for(;(v);)' --error-exitcode=0 src tools 2>&1 | grep -E ': (error|warning|portability):'; }
# Variables cross from sourced files: it sees one file at a time.
scripts() { git ls-files '*.sh' quickstart check .ci/run tests/vm/run | xargs shellcheck -S warning -s bash -e SC2034,SC2154 2>&1; }

rule "sources are formatted" unformatted
rule "every file names its licence" no_spdx
rule "no shell is started" shell_calls
rule "only base/publish.c renames" renames
rule "only the command line prints or exits" prints
rule "nothing is left open in the text" open_ends
rule "every slug stands once" duplicate_slugs
rule "every exit status is of the table" bad_statuses
rule "cppcheck finds nothing" static_analysis
rule "shellcheck finds nothing" scripts
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
