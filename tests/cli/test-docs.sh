#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Help, manual and completions agree with each other and with the error table.
. "$(dirname "$0")/lib.sh"
: "${GENDOC:?names the generator}" "${SRCDIR:?names the source tree}"

equals "the build makes a manual page for every verb" "$("$GENDOC" names | sort)" \
	"$(sed -n '/^man_pages/,/^]/s/^ *'"'"'\(.*\)'"'"',$/\1/p' "$SRCDIR/src/cli/meson.build" | sort)"

# Plain verbs stand in lines of their own; a group's in one line, or several, with commas.
verbs=$("$NVDRIVER" --help | awk '
	/^[A-Z]/ { part = $1; next }
	part == "Commands:" && /^  [a-z]/ { print $1 }
	part == "Groups" && NF {
		from = 1
		if (/^  [a-z]/) { group = $1; from = 2 }
		for (i = from; i <= NF; i++) { sub(/,$/, "", $i); print group " " $i }
	}')
[ -n "$verbs" ] || not_ok "the help lists verbs"
while read -r verb; do
	# shellcheck disable=SC2086
	"$NVDRIVER" $verb --help >"$work/help" 2>&1 || not_ok "$verb --help succeeds"
	equals "$verb --help fits 80 columns" "$(grep -v '^nvdriver ' "$work/help" | awk 'length($0) > 80' | head -1)" ""
	page=$("$GENDOC" man "nvdriver-${verb%% *}")
	missing=$(grep -oE '^ +(-., )?--[a-z0-9-]+' "$work/help" | grep -oE -- '--[a-z0-9-]+' | while read -r o; do
		grep -qF -- "${o//-/\\-}" <<<"$page" || echo "$o"; done)
	equals "every option of $verb is in its manual page" "$missing" ""
	check "$verb describes itself" sh -c "[ \$(wc -w <'$work/help') -gt 30 ]"
done <<<"$verbs"

page=$("$GENDOC" man nvdriver)
missing=$("$GENDOC" slugs | while read -r s status; do
	grep -qF -- ".B ${s//-/\\-} (exit status $status)" <<<"$page" || echo "$s"; done)
equals "every error slug is documented" "$missing" ""
if command -v man >/dev/null; then
	for p in $("$GENDOC" names); do
		equals "$p formats without warnings" "$("$GENDOC" man "$p" | man --warnings -l - 2>&1 >/dev/null | head -3)" ""
	done
fi

# UPDATE=1 writes the page anew and adds new slugs to the list; what was published once is only taken out by hand.
slugs=$SRCDIR/tests/cli/slugs.txt
if [ -n "${UPDATE:-}" ]; then
	"$GENDOC" errors >"$SRCDIR/docs/errors.md"
	{ cat "$slugs" 2>/dev/null; "$GENDOC" slugs; } | LC_ALL=C sort -u >"$work/slugs" && cp "$work/slugs" "$slugs"
fi
"$GENDOC" slugs | LC_ALL=C sort >"$work/slugs"
equals "no published slug is gone or has another exit status" "$(LC_ALL=C comm -23 "$slugs" "$work/slugs")" ""
equals "new slugs are published (UPDATE=1 $0)" "$(LC_ALL=C comm -13 "$slugs" "$work/slugs")" ""
check "docs/errors.md is up to date (UPDATE=1 $0)" sh -c "'$GENDOC' errors | cmp - '$SRCDIR/docs/errors.md'"

"$GENDOC" bash >"$work/bash"
check "the bash completion is valid bash" bash -n "$work/bash"
equals "it completes verbs" "$(bash -c ". '$work/bash'; COMP_WORDS=(nvdriver prep); COMP_CWORD=1; _nvdriver; echo \${COMPREPLY[*]}")" prepare
equals "it completes options" "$(bash -c ". '$work/bash'; COMP_WORDS=(nvdriver prepare --flav); COMP_CWORD=2; _nvdriver; echo \${COMPREPLY[*]}")" --flavour
equals "it completes values" "$(bash -c ". '$work/bash'; COMP_WORDS=(nvdriver prepare --flavour op); COMP_CWORD=3; _nvdriver; echo \${COMPREPLY[*]}")" open
"$GENDOC" zsh >"$work/zsh"
if command -v zsh >/dev/null; then check "the zsh completion is valid zsh" zsh -n "$work/zsh"; else skip "the zsh completion is valid zsh" "no zsh"; fi
finish
