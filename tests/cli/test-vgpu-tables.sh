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
fields drivers branch version file md5 url_kind url patch_file install_args kernel_min kernel_max kernel_notes pve_min pve_max arch_min native_only menu_note notes >rows
check "every host driver" python3 compare.py "$data/vgpu-host-drivers.csv" branch,driver_version,filename,md5,url_kind,url,patch_file,kernel_flavour_args,kernel_min,kernel_max,kernel_notes,pve_min,pve_max,arch_min,native_only,menu_note,notes <rows
run --json vgpu guest
fields guests branch os version file url notes >rows
check "every guest driver" python3 compare.py "$data/vgpu-guest-drivers.csv" branch,os,version,filename,url,notes <rows
for branch in $(awk -F, '!/^#/ && $1 != "branch" { print $1 }' "$data/vgpu-release-map.csv"); do
	run --json vgpu drivers "$branch"
	python3 -c 'import json
d = json.load(open("out")); r, p = d["release"], d["patch"]
print("\t".join(r[k] for k in "branch driver_branch lifecycle host_version guest_linux guest_windows released eol package package_md5 package_sha256 notes".split()))
if p: print("\t".join([d["branch"]] + [p[k] for k in "file path status kernel_max sha256 nul_in_header restores_pascal notes".split()]), file=open("patches", "a"))'
done >rows
check "every release" python3 compare.py "$data/vgpu-release-map.csv" branch,driver_branch,lifecycle,host_version,guest_linux,guest_windows,release_date,eol,package,package_md5,package_sha256,notes <rows
check "every patch" python3 compare.py "$data/vgpu-patches.csv" branch,patch_file,patch_path,status,kernel_max_patched,sha256_newest_seen,nul_in_hunk_header,restores_pascal,notes <patches

# The cards, by every query that answers for one, and as the file other programs read.
cat >cards.py <<'END'
import csv, json, sys
words = {"native": "Native", "unlock": "Yes", "none": "No"}
rows = list(csv.DictReader(l for l in open(sys.argv[1], newline="") if not l.startswith("#")))
want = {r["device"]: (r["name"], words[r["vgpu_support"]], r["driver_branches"], r["chip"], r["architecture"]) for r in rows}
assert len(want) == len(rows) and rows, "a device twice"
def tell(got, columns=5):
    for k in set(want) | set(got):
        if want.get(k, ())[:columns] != got.get(k, ()): print(k, "want", want.get(k), "got", got.get(k)); sys.exit(1)
def row(o): return (o["name"] or "", o["vgpu"], o["vgpu_branches"] or "", o["chip"] or "", o["architecture"] or "")
if sys.argv[2] == "json":
    tell({o["device_id"]: row(o) for o in json.load(open("out"))["gpus"]})
elif sys.argv[2] == "text":
    tell({r["device"]: (r["name"], r["vgpu"], r["vgpu_branches"], r["chip"], r["architecture"]) for r in csv.DictReader(open("out"))})
elif sys.argv[2] == "database":
    import sqlite3
    d = sqlite3.connect(sys.argv[3])
    assert [c[1] for c in d.execute("PRAGMA table_info(gpu_info)")] == ["vendorid", "deviceid", "description", "vgpu", "driver", "chip"]
    assert d.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0] == 1
    assert d.execute("SELECT DISTINCT vendorid FROM gpu_info").fetchall() == [("10de",)]
    tell({r[0]: r[1:] for r in d.execute("SELECT deviceid, description, vgpu, driver, chip FROM gpu_info")}, 4)
elif sys.argv[2] == "some": # every thirtieth, so that a slow machine is done with it too
    print("\n".join(sorted(want)[::30]))
else:
    assert row(json.load(open("out"))) == want[sys.argv[2]], sys.argv[2]
END
run --json gpu export
check "every card" python3 cards.py "$data/gpus.csv" json
run gpu export
check "every card as text" python3 cards.py "$data/gpus.csv" text
status "every card as a database" 0 gpu export --database cards.db
check "in the published form" python3 cards.py "$data/gpus.csv" database cards.db
run --json gpu export --gpu-db cards.db
check "which is read again" test "$(grep -c device_id out)" = "$(grep -vc '^#\|^vendor' "$data/gpus.csv")"
printf old >cards.db
status "one there is replaced" 0 gpu export --database cards.db
check "whole" python3 cards.py "$data/gpus.csv" database cards.db
equals "nothing else is left" "$(find . -name '.nvdriver-*')" ""
slug "a place that is not there" 1 not-found gpu export --database no/where.db
missing=
for device in $(python3 cards.py "$data/gpus.csv" some); do
	run --json gpu info "$device"
	python3 cards.py "$data/gpus.csv" "$device" 2>>wrong || missing="$missing $device"
done
equals "cards one by one" "$missing" ""
python3 - "$data/gpus-corrections.csv" "$data/gpus.csv" >uncorrected <<'END'
import csv, sys
read = lambda p: list(csv.DictReader(l for l in open(p, newline="") if not l.startswith("#")))
now = {r["device"]: r for r in read(sys.argv[2])}
for c in read(sys.argv[1]):
    r, field = now.get(c["device"]), c["field"]
    if r is None or field not in r: continue
    if r[field] != c["now"]: print(c["device"], field, "is", r[field], "corrected to", c["now"])
END
equals "each correction stands in the table" "$(cat uncorrected)" ""

status "a branch by its file" 0 vgpu drivers NVIDIA-Linux-x86_64-535.161.05-vgpu-kvm.run
check "the first row of the register wins" grep -q '^branch  *16.5$' out
status "a branch by its version" 0 vgpu drivers 550.163.02
check "with its patch" grep -q '^patch  *550.163.02.patch (mapped), kernels to 6.14' out
status "a major" 0 vgpu drivers 17
check "means its newest branch" grep -q '^branch  *17.6$' out
slug "an unknown branch" 2 branch-unknown vgpu drivers 99.1
slug "an unknown major" 2 branch-unknown vgpu drivers 99
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
