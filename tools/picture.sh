#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A terminal's picture of a captured run: tools/picture.sh docs/quickstart.txt >docs/quickstart.svg
# The capture is what tests/fresh-root.sh prints for ./quickstart; the picture has the lines that say what was done.
set -euo pipefail

keep='^# |^downloading|^building the|^(driver|kernel|key|modules|signatures|package) +(done|made|hit)|^driver .* installed|objects read|^How long|^  [a-z].* s$'
{ grep -E "$keep" "$1" || true; } | awk '
	function escape(s) { gsub(/&/, "\\&amp;", s); gsub(/</, "\\&lt;", s); gsub(/>/, "\\&gt;", s); return s }
	function cut(s) { return length(s) > columns ? substr(s, 1, columns - 1) "…" : s }
	function colour(s) {
		if (s ~ /^# /) return "prompt"
		if (s ~ /^[a-z]+ +(done|made|hit) /) return "stage"
		return "plain"
	}
	BEGIN { columns = 104; height = 19 }
	{ if (NR > 1 && /^# /) line[++n] = ""; sub(/\/root\/nvdriver\//, ""); line[++n] = cut($0) }
	END {
		width = columns * 8 + 32
		printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" role=\"img\" aria-label=\"two runs of ./quickstart\">\n", width, n * height + 60
		print "<style>text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; white-space: pre } .plain { fill: #c9d1d9 } .prompt { fill: #7ee787; font-weight: bold } .stage { fill: #a5d6ff }</style>"
		printf "<rect width=\"%d\" height=\"%d\" rx=\"8\" fill=\"#0d1117\"/>\n", width, n * height + 60
		print "<circle cx=\"20\" cy=\"18\" r=\"6\" fill=\"#ff5f56\"/><circle cx=\"40\" cy=\"18\" r=\"6\" fill=\"#ffbd2e\"/><circle cx=\"60\" cy=\"18\" r=\"6\" fill=\"#27c93f\"/>"
		for (i = 1; i <= n; i++)
			if (line[i] != "")
				printf "<text x=\"16\" y=\"%d\" class=\"%s\" xml:space=\"preserve\">%s</text>\n", 36 + i * height, colour(line[i]), escape(line[i])
		print "</svg>"
	}'
