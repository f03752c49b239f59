#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every row of the tables of vGPU releases and cards is an answer of a query, equal to the table's source.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
data=$SRCDIR/data

# compare TEXT CSV COLUMNS < answers: the columns of every row against lines of tab-separated values on standard input
cat >compare.py <<'END'
import csv, sys
path, columns = sys.argv[1], sys.argv[2].split(",")
rows = csv.DictReader(l for l in open(path, newline="") if not l.startswith("#"))
want = ["\t".join(r[c] for c in columns) for r in rows]
got = sys.stdin.read().splitlines()
for w, g in zip(want, got):
    if w != g:
        print("want", w, "got", g); sys.exit(1)
sys.exit(len(want) != len(got))
END
fields() { # ARRAY KEY...: the members of each object of a JSON answer, as lines
	python3 -c 'import json,sys
d=json.load(open("out"))
for o in d[sys.argv[1]]: print("\t".join(o[k] for k in sys.argv[2:]))' "$@"
}
run --json vgpu drivers
fields drivers branch version file md5 url_kind url patch_file install_args kernel_min kernel_max pve_min pve_max native_only menu_note notes >rows
check "every host driver" python3 compare.py "$data/vgpu-host-drivers.csv" branch,driver_version,filename,md5,url_kind,url,patch_file,kernel_flavour_args,kernel_min,kernel_max,pve_min,pve_max,native_only,menu_note,notes <rows
run --json vgpu guest
fields guests branch os version file url notes >rows
check "every guest driver" python3 compare.py "$data/vgpu-guest-drivers.csv" branch,os,version,filename,url,notes <rows
for branch in $(awk -F, '!/^#/ && $1 != "branch" { print $1 }' "$data/vgpu-release-map.csv"); do
	run --json vgpu drivers "$branch"
	python3 -c 'import json
d = json.load(open("out")); r, p = d["release"], d["patch"]
print("\t".join([r["branch"], r["driver_branch"], r["host_version"], r["guest_linux"], r["guest_windows"], r["eol"], r["package"], r["package_sha256"]]))
if p: print("\t".join([d["branch"], p["file"], p["status"], p["kernel_max"], p["sha256"], p["nul_in_header"]]), file=open("patches", "a"))'
done >rows
check "every release" python3 compare.py "$data/vgpu-release-map.csv" branch,driver_branch,host_version,guest_linux,guest_windows,eol,package,package_sha256 <rows
check "every patch" python3 compare.py "$data/vgpu-patches.csv" branch,patch_file,status,kernel_max_patched,sha256_newest_seen,nul_in_hunk_header <patches

status "a branch by its file" 0 vgpu drivers NVIDIA-Linux-x86_64-535.161.05-vgpu-kvm.run
check "the first row of the register wins" grep -q '^branch  *16.5$' out
status "a branch by its version" 0 vgpu drivers 550.163.02
check "with its patch" grep -q '^patch  *550.163.02.patch (mapped), kernels to 6.14' out
slug "an unknown branch" 2 branch-unknown vgpu drivers 99.1
slug "a branch without guests" 2 branch-unknown vgpu guest 99.1
slug "an unknown card" 1 gpu-unknown vgpu drivers --card fffe
run vgpu guest 17.2
check "a branch's own guests" grep -q '^17.2 *linux' out

verdict() { # TEXT BRANCH WANT ARGS...
	local text=$1 branch=$2 want=$3
	shift 3
	run vgpu drivers "$@"
	equals "$text" "$(awk -v b="$branch" '$1 == b { print $4 }' out)" "$want"
}
verdict "RTX PRO 6000 Server came with 19.1" 19.0 no --card 2bb5
verdict "and has it" 19.1 fits --card 2bb5
verdict "RTX PRO 6000D came with 19.2" 19.1 no --card 2bb9
verdict "a GTX 1080 has no patch in 18" 18.0 no --card 1b80
verdict "nor in 16.3, whose patch does not exist" 16.3 no --card 1b80
verdict "but in 16.9" 16.9 fits --card 1b80 --pve 8 --kernel 6.8.12-4-pve
verdict "and with the newest patch on 6.14" 16.9 fits --card 1b80 --kernel 6.14.11-4-pve
verdict "an L40 does not get 16.9 on 6.14" 16.9 kernel --card 26b5 --kernel 6.14.11-4-pve
verdict "17.0 is the newest on PVE 7" 17.1 no --card 26b5 --pve 7
verdict "an RTX 4090 has none" 17.6 no --card 2684

# A person's own table wins where it is named.
python3 - <<'END'
import sqlite3
d = sqlite3.connect("own.db")
d.execute("CREATE TABLE gpu_info (vendorid TEXT, deviceid TEXT PRIMARY KEY, description TEXT, vgpu TEXT, driver TEXT, chip TEXT)")
d.execute("INSERT INTO gpu_info VALUES ('10de', '2684', 'GeForce RTX 4090', 'Native', '19', 'AD102')")
d.commit()
END
verdict "a table that is named wins" 19.0 fits --card 2684 --gpu-db own.db
verdict "with its branches" 17.6 no --card 2684 --gpu-db own.db
verdict "and ours is asked for the rest" 19.0 fits --card 26b5 --gpu-db own.db
finish
