#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The tables of docs/performance.md are what bench/ makes: their place, their columns, the line that says where and when; and the
# benchmarks that compile run whole on a made driver. Figures are nobody's promise.
. "$(dirname "$0")/lib.sh"
page=$SRCDIR/docs/performance.md
parts=$("$SRCDIR/bench/all.sh" --parts)
block() { sed -n "/^<!-- bench $1, made by bench\/all.sh -->\$/,/^<!-- end $1 -->\$/p" "$2" | sed '1d;$d'; }
shape() { sed 's/ *| */|/g' | grep '^|' | sed 's/^|[^|]*|/|/'; } # of a table: its columns but the first, which names what was measured

equals "every part has its place on the page, nothing else has" \
	"$(sed -n 's/^<!-- bench \(.*\), made by bench\/all.sh -->$/\1/p' "$page" | sort)" "$(tr ' ' '\n' <<<"$parts" | sort)"
for part in $parts; do
	script=$SRCDIR/bench/$part.sh
	[ "$part" != cold ] || script=$SRCDIR/bench/container.sh
	wanted=$(sed -n 's/^heading "\(.*\)"$/\1/p' "$script" | sed "s/\$versus/$(sed -n "s/^versus='\(.*\)'/\1/p" "$SRCDIR/bench/lib.sh")/; s/ | /|/g; s/^[^|]*|/|/; s/\$/|/")
	block "$part" "$page" >"$work/block"
	equals "$part: the columns are the benchmark's" "$(shape <"$work/block" | head -1)" "$wanted"
	columns=$(tr -dc '|' <<<"$wanted" | wc -c)
	equals "$part: every row has a cell for each" "$(grep '^|' "$work/block" | awk -F'|' -v n="$columns" 'NF != n + 2')" ""
	check "$part: there are rows" test "$(grep -c '^|' "$work/block")" -gt 2
	check "$part: where, when and at what load" grep -qE '^Measured 20[0-9-]{8} at commit [0-9a-f]{7,}[^:]*: [0-9]+ cores of .*, Linux [0-9].*, median of [0-9]+; load average [0-9.]+ before, [0-9.]+ after [0-9]+ s\.$' "$work/block"
	equals "$part: and nothing else" "$(grep -cvE '^(\||Measured |$)' "$work/block")" 0
done

cp "$page" "$work/page"
block engine "$page" | sed '$d' >"$work/text"
check "the same text put again" "$SRCDIR/bench/put.sh" engine "$work/text" "$work/page"
check "leaves the page as it is" cmp "$page" "$work/page"
echo "| other |" >"$work/text"
check "another text" "$SRCDIR/bench/put.sh" engine "$work/text" "$work/page"
equals "takes the place of the first" "$(block engine "$work/page")" "| other |"
equals "and changes nothing around it" "$(sed '/^<!-- bench engine,/,/^<!-- end engine -->/d' "$work/page" | cksum)" \
	"$(sed '/^<!-- bench engine,/,/^<!-- end engine -->/d' "$page" | cksum)"
cp "$work/page" "$work/before"
check "a part without a place is refused" sh -c "! '$SRCDIR/bench/put.sh' nothing '$work/text' '$work/page'"
check "and the page kept" cmp "$work/before" "$work/page"

missing=$(for tool in depmod make openssl cc ld; do command -v $tool >/dev/null || echo "no $tool"; done)
[ -n "${FIXTURE:-}" ] || missing="no fixture"
if [ -z "$missing" ]; then
	mkdir "$work/fx" && "$FIXTURE" "$work/fx" || exit 1
	printf 'clean:\n\t@rm -f *.ko\n' >>"$work/fx/driver/kernel/Makefile"
	for script in modules container; do
		"$SRCDIR/bench/$script.sh" -t "$work/fx/driver" -k "$work/fx/kernel" >"$work/out" 2>"$work/err"
		equals "bench/$script.sh runs on a made driver" "$?" 0
		head -5 "$work/err" | sed 's/^/# /'
	done
	check "a cold start is measured on both sides" grep -qE '^\| cold start[^|]*\| +[0-9.]+ m?s \| +[0-9.]+ m?s \| +[0-9.]+ x' "$work/out"
else
	skip "benchmarks on a made driver" "$missing"
fi
finish
