#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The tables of docs/reliability.md, from what the last `meson test -C build --suite crash` printed: table.sh build
# Each test says what it tried in lines "NAME: ..."; with NVDRIVER_TEST_FULL=1 nothing was left out.
set -euo pipefail
log=${1:?usage: table.sh BUILDDIR}/meson-logs/testlog.txt
[ -r "$log" ] || { echo "no $log: run meson test --suite crash first" >&2; exit 1; }
echo "| Run | killed at each of its changes | disks after a power cut | calls, each 1st or 3rd failed once |"
echo "|---|---|---|---|"
awk -F'[: ]+' '
	function see(name) { if (!(name in seen)) { seen[name] = 1; order[++n] = name } }
	/^# [a-z-]+: killed at each of/ { see($2); kill[$2] = $7 }
	# The same run with a sync left out is there to be convicted.
	/^# [a-z-]+: [0-9]+ disks, 0 convicted/ { see($2); disks[$2] = $3 }
	/^# [a-z-]+: each .* calls failed once/ { see($2); calls[$2] = $4 " of " $6 }
	function cell(v) { return v == "" ? "–" : v }
	END { for (i = 1; i <= n; i++) {
		k = order[i]
		printf "| %s | %s | %s | %s |\n", k, cell(kill[k]), cell(disks[k]), cell(calls[k]) } }' "$log"
echo
echo "| Command | calls that change files | times killed | calls failed | of these tolerated |"
echo "|---|---|---|---|---|"
sed -nE 's/^([a-z0-9-]+): of ([0-9]+) calls; killed ([0-9]+) times, ([0-9]+) calls failed \(([0-9]+) of them tolerated\).*/| \1 | \2 | \3 | \4 | \5 |/p' "$log"
