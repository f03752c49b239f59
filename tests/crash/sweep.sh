#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Full sweeps of the whole program (program.sh --full), and the table of docs/reliability.md between its two marks:
#   sweep.sh [--stride N] SCENARIO...     runs them one after the other; the row of each takes the place of its former one
#   sweep.sh --rows FILE                  takes the rows from a file, where sweeps ran elsewhere
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
doc=$here/../../docs/reliability.md

put() { # ROW
	local name
	name=$(cut -d'|' -f2 <<<"$1")
	awk -v row="$1" -v name="$name" '
		/^<!-- sweep -->$/ { inside = 1 }
		/^<!-- \/sweep -->$/ { if (!done) print row; inside = 0 }
		inside && index($0, "|" name "|") == 1 { $0 = row; done = 1 }
		{ print }' "$doc" >"$doc.new"
	mv "$doc.new" "$doc"
}
if [ "${1:-}" = --rows ]; then
	while IFS= read -r row; do [[ $row != "| nvdriver "* ]] || put "$row"; done <"${2:?a file of rows}"
	exit
fi
options=()
[ "${1:-}" != --stride ] || { options=(--stride "${2:?}"); shift 2; }
[ $# -gt 0 ] || { echo "usage: sweep.sh [--stride N] SCENARIO... | --rows FILE" >&2; exit 2; }
for scenario; do
	row=$("$here/program.sh" --full "${options[@]}" --row "$scenario")
	echo "$row"
	put "$row"
done
