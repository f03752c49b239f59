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

# -- inside a guest: the virtual GPU tells the host's driver; the installer, the module and nvidia-smi are recorded --
guest_root() {
	root=$work/guest dev=$work/guest/sys/bus/pci/devices/0000:01:00.0
	rm -rf "$root" store
	mkdir -p "$dev" "$root"/{proc,etc/nvidia,usr/sbin}
	echo 0x10de >"$dev/vendor"; echo 0x20b5 >"$dev/device"; echo 0x030200 >"$dev/class"
	echo 0x10de >"$dev/subsystem_vendor"; echo 0x0000 >"$dev/subsystem_device"
	cp "$SRCDIR/tests/fuzz/corpus/pcicap/good" "$dev/config"
	: >"$root/proc/modules"
	python3 - "$root" "$1" "${2:-}" <<'END'
import json, sys
root, version, loads = sys.argv[1:]
files = {"usr/bin/nvidia-uninstall": "", "usr/bin/nvidia-smi": "", "etc/nvidia/gridd.conf.template": "FeatureType=0\n",
         "usr/lib/systemd/system/nvidia-gridd.service": ""}
if loads != "no":
    files["sys/module/nvidia/version"] = version + "\n"
c = {"sh *": {"status": 0, "output": "", "files": files},
     "nvidia-uninstall -s": {"status": 0, "output": "", "files": dict.fromkeys(list(files) + ["sys/module/nvidia"])},
     "systemctl *": {"status": 0, "output": ""},
     "nvidia-smi -q": {"status": 0, "output": "    License Status : Licensed (Expiry: 2030-1-1)\n"}}
json.dump({"log": True, "commands": c}, open(root + "/nvdriver-commands.json", "w"))
END
}
nv() { run --root "$root" --store "$work/store" "$@"; }
told=$(sed -n 's/^\(16\.[0-9]*\),535\.129\.03,.*/\1/p' "$SRCDIR/data/vgpu-host-drivers.csv" | head -1)
want=$(sed -n "s/^$told,linux,\([^,]*\),.*/\1/p" "$SRCDIR/data/vgpu-guest-drivers.csv")
printf 'eyJhbGciOiJSUzI1NiJ9.eyJqdGkiOiIxIn0.c2ln' >one.tok
guest "$want" "$work/NVIDIA-Linux-x86_64-$want-grid.run"
guest_root "$want"
mkdir -p "$root/root"
cp "NVIDIA-Linux-x86_64-$want-grid.run" "$root/root/"
file=$root/root/NVIDIA-Linux-x86_64-$want-grid.run
nv --json --dry-run vgpu client
equals "the virtual GPU tells its host's driver and branch" "$rc $(python3 -c 'import json; d = json.load(open("out")); print(d["host_version"], d["branch"], d["driver_version"])')" "0 535.129.03 $told None"
nv --json vgpu client --file "$file" --token one.tok --feature vws
equals "driver and licence in one go" "$rc $(python3 -c 'import json; d = json.load(open("out")); print(d["driver_version"], d["license"]["licensed"], len(d["license"]["tokens"]))')" "0 $want True 1"
check "the installer runs silently, without DKMS where that is not installed" grep -q "^sh /root/NVIDIA-Linux-x86_64-$want-grid.run -s\$" "$root/nvdriver-commands.log"
check "the kind of licence is asked for" grep -q '^FeatureType=2' "$root/etc/nvidia/gridd.conf"
: >"$root/nvdriver-commands.log"
nv vgpu client --token one.tok --feature vws
equals "a second run" "$rc" 0
equals "installs nothing" "$(grep -c '^sh ' "$root/nvdriver-commands.log")" 0
check "and shows both" grep -q '^licence *licensed' out
nv vgpu undo
equals "undo" "$rc" 0
check "uninstalls" test ! -e "$root/usr/bin/nvidia-uninstall" -a ! -e "$root/etc/nvidia/gridd.conf"
guest_root "$want" no
nv vgpu client --file "$file"
equals "a file that is gone" "$rc" 1
mkdir -p "$root/root" && cp "NVIDIA-Linux-x86_64-$want-grid.run" "$root/root/"
nv vgpu client --file "$file"
equals "a driver that does not load is a finding" "$rc" 10
check "that is said" grep -q '^guest driver  not loaded' out
guest_root "$want"
guest 580.1.2 newer.run
slug "a driver newer than the host's" 8 host-driver-wrong --root "$root" --store store vgpu client --file newer.run
echo 'nouveau 1 0 - Live 0x0' >"$root/proc/modules"
slug "nouveau holds the card" 8 host-driver-wrong --root "$root" --store store vgpu client --file "NVIDIA-Linux-x86_64-$want-grid.run"
rm -r "$root/sys/bus/pci/devices/0000:01:00.0"
slug "no virtual GPU" 8 vgpu-no-match --root "$root" --store store vgpu client
finish
