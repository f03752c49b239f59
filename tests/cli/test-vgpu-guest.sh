#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Guest drivers fetched from a local server in the place of NVIDIA's: checked, held to, and one that fails keeps nobody else
# from coming.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
mkdir -p srv data tree/kernel

guest() { # VERSION FILE
	cat >tree/.manifest <<END
NVIDIA Accelerated Graphics Driver for Linux-x86_64
$1
 
nvidia 
 
 
./kernel/
./kernel/precompiled/
kernel/nv.c 0644 KERNEL_MODULE_SRC INHERIT_PATH_DEPTH:1 MODULE:resman
END
	seq 1 200 >tree/kernel/nv.c
	rm -f "$2"
	"$NVDRIVER" runfile pack tree -o "$2" --kind grid >/dev/null || exit 1
}
cp "${NVDRIVER%/src/cli/nvdriver}/data/gpu_info.db" data/
export NVDRIVER_DATADIR=$work/data
version=$(sed -n 's/^17\.5,linux,\([^,]*\),.*/\1/p' "$SRCDIR/data/vgpu-guest-drivers.csv")
host=$(sed -n 's/^17\.5,\([^,]*\),.*/\1/p' "$SRCDIR/data/vgpu-host-drivers.csv")
linux=NVIDIA-Linux-x86_64-$version-grid.run
guest "$version" "srv/$linux"
printf 'MZ\220 a program' >srv/windows.exe
(cd srv && exec python3 -u -m http.server --bind 127.0.0.1 0) >port.log 2>&1 &
server=$!
trap 'kill $server 2>/dev/null; wait $server 2>/dev/null; rm -rf "$work"' EXIT
for _ in $(seq 1 300); do
	port=$(sed -n 's/.*port \([0-9]*\).*/\1/p' port.log)
	[ -z "$port" ] || break
	python3 -c "import time; time.sleep(0.1)"
done
address() { # OS URL
	python3 - "$@" <<'END'
import sqlite3, sys
d = sqlite3.connect("data/gpu_info.db")
for (t,) in d.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
    columns = [c[1] for c in d.execute("PRAGMA table_info('%s')" % t)]
    if "os" in columns and "url" in columns:
        n = d.execute("UPDATE \"%s\" SET url = ? WHERE branch = '17.5' AND os = ?" % t, (sys.argv[2], sys.argv[1])).rowcount
        assert n == 1
d.commit()
END
}
address linux "http://127.0.0.1:$port/$linux?query"
address windows "http://127.0.0.1:$port/windows.exe"
dir=out.d/guest-drivers/17.5_$host
json() { python3 -c 'import json,sys; d = json.load(open("out")); assert eval(sys.argv[1]), d' "$1"; }

run --dry-run --json vgpu guest 17.5 --to out.d
check "a dry run says what would come" json '[g["action"] for g in d["guests"]] == ["downloaded", "downloaded"]'
check "and makes nothing" test ! -e out.d
run vgpu guest 17.5 --to out.d
equals "both come" "$rc" 0
check "the Linux one whole" cmp "$dir/$linux" "srv/$linux"
check "and the Windows one" cmp "$dir/windows.exe" srv/windows.exe
check "with a word on which guests belong to the branch" grep -q "^guests of branch 17.5: linux $version" out
check "and which do not" grep -q 'never of a newer major' out
kill $server; wait $server 2>/dev/null
run --json vgpu guest 17.5 --to out.d
check "again: present, and nobody is asked" json '[g["action"] for g in d["guests"]] == ["present", "present"]'
(cd srv && exec python3 -u -m http.server --bind 127.0.0.1 "$port") >port.log 2>&1 &
server=$!
for _ in $(seq 1 300); do grep -q port port.log && break; python3 -c 'import time; time.sleep(0.1)'; done
rm -rf out.d
run vgpu guest 17.5 --to out.d --os linux
equals "one system alone" "$(find out.d -name '*.run' -o -name '*.exe')" "$dir/$linux"

# One that is wrong.
rm -rf out.d
echo '<html>log in</html>' >srv/windows.exe
run --json vgpu guest 17.5 --to out.d --attempts 1
equals "a page for a program" "$rc" 6
check "is told, and the other came" json '[g.get("action", g.get("error")) for g in d["guests"]] == ["downloaded", "fetch-content-wrong"]'
check "nothing of the page is left" test ! -e "$dir/windows.exe"
printf 'PK no program' >srv/windows.exe
run --json vgpu guest 17.5 --to out.d --os windows --attempts 1
equals "something else than a program" "$rc $(json 'd["guests"][0]["error"] == "host-driver-wrong"' && echo named)" "8 named"
rm -rf out.d
guest 1.2.3 "srv/$linux"
run --json vgpu guest 17.5 --to out.d --os linux --attempts 1
equals "another version" "$rc" 8
check "leaves no directory" test ! -e out.d/guest-drivers
head -c 500 /dev/zero >>"srv/$linux"
run --json vgpu guest 17.5 --to out.d --os linux --attempts 1
check "a damaged one neither" test ! -e out.d/guest-drivers
run --json --offline vgpu guest 17.5 --to out.d --os linux
equals "not with --offline" "$rc" 6
run --json vgpu guest 20.2 --to out.d --os windows
equals "one without an address" "$rc $(json 'd["guests"][0]["error"] == "host-driver-not-public"' && echo named)" "1 named"
slug "a branch without guests" 2 branch-unknown vgpu guest 99.1 --to out.d
slug "no branch" 2 usage vgpu guest --to out.d
finish
