#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Puts the text of a file between two lines of a page, "<!-- bench PART, made by bench/all.sh -->" and "<!-- end PART -->", in the
# place of what is there. A page without them, or with them twice, stays as it is and the status is 1.
#   bench/put.sh PART TEXT PAGE
set -euo pipefail
[ $# = 3 ] || { sed -n '/^# *bench\//s/^# *//p' "$0" >&2; exit 2; }
new=$(mktemp "$3.XXXXXX")
trap 'rm -f "$new"' EXIT
awk -v part="$1" -v text="$2" '
	$0 == "<!-- bench " part ", made by bench/all.sh -->" { print; begun++; while ((getline line < text) > 0) print line; print ""; skip = 1 }
	$0 == "<!-- end " part " -->" { ended += skip; skip = 0 }
	!skip { print }
	END { exit begun == 1 && ended == 1 ? 0 : 1 }' "$3" >"$new" || { echo "$3 has no place for $1" >&2; exit 1; }
cat "$new" >"$3"
