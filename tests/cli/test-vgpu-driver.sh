#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Getting a vGPU host driver from servers that behave and servers that do not, and making its unlocked copy.
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
cd "$work" || exit 1
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY

. "$here/vgpu-step2.sh"
name() { driver_name "$1"; }
mkdir good srv
driver 570.195.02 "good/$(name 570.195.02)" 200000
driver 550.144.02 "good/$(name 550.144.02)" 200000
run570=good/$(name 570.195.02) run550=good/$(name 550.144.02)
python3 - "$run550" <<'END'
import sys, zipfile
def pack(name, members):
    with zipfile.ZipFile(name, "w", zipfile.ZIP_DEFLATED) as z:
        for member, path in members: z.write(path, member)
base = sys.argv[1].split("/")[-1]
pack("portal.zip", [("Guest_Drivers/NVIDIA-Linux-x86_64-550.144.03-grid.run", sys.argv[1]), ("Host_Drivers/" + base, sys.argv[1])])
pack("empty.zip", [("Guest_Drivers/" + base.replace("-vgpu-kvm", "-grid"), sys.argv[1])])
END

# The first path component of an address says how the server answers.
cat >server.py <<'END'
import http.server, json, os, socket, struct, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    seen = {}
    def log_message(self, *a):
        open("requests", "a").write(self.path + " " + (self.headers.get("Range") or "-") + "\n")
    # The mirror's listing: what lies where is in the file "listing", {path: [names; those of directories end in "/"]}.
    def listing(self):
        path = self.path.split("path=", 1)[1]
        names = json.load(open("listing")).get(path)
        if names is None:
            return self.answer(b'{"code":500,"message":"object not found","data":null}')
        self.answer(json.dumps({"code": 200, "data": {"content": [{"name": n.rstrip("/"), "is_dir": n.endswith("/")} for n in names]}}).encode())
    def do_GET(self):
        if self.path.startswith("/api/fs/list?"):
            return self.listing()
        if self.path.startswith("/d/"):
            name = self.path.split("/")[-1]
            return self.answer(open(name if name.endswith(".zip") else "good/" + name, "rb").read())
        _, how, name = self.path.split("/", 2)
        n = self.seen[self.path] = self.seen.get(self.path, 0) + 1
        if how == "page":
            return self.answer(b"<!DOCTYPE html><html>please wait</html>" * 40)
        source = {"wrong": "NVIDIA-Linux-x86_64-550.144.02-vgpu-kvm.run"}.get(how, name)
        body = open("good/" + source if source.endswith(".run") else source, "rb").read()
        if how == "short":
            return self.answer(body[:len(body) // 2])
        start = 0
        asked = self.headers.get("Range")
        if asked:
            start = int(asked[6:].split("-")[0])
            self.send_response(206)
            self.send_header("Content-Range", "bytes %d-%d/%d" % (start, len(body) - 1, len(body)))
        else:
            self.send_response(200)
        self.send_header("ETag", '"v1"')
        extra = 5000 if how == "long" else 0
        self.send_header("Content-Length", str(len(body) - start + extra))
        self.end_headers()
        bad = how in ("long", "cut") or (how in ("reset", "stall", "truncate") and n == 1)
        self.wfile.write(body[start:start + 60000] if bad and how != "long" else body[start:])
        self.wfile.flush()
        if how == "reset" and bad:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if how == "stall" and bad:
            time.sleep(4)
        self.close_connection = True
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
open("port.new", "w").write(str(server.server_address[1]))
os.rename("port.new", "port")
server.serve_forever()
END
python3 server.py 2>/dev/null &
server=$!
trap 'kill $server 2>/dev/null; wait $server 2>/dev/null; rm -rf "$work"' EXIT
for _ in $(seq 1 100); do [ -s port ] && break; sleep 0.1; done
base=http://127.0.0.1:$(cat port)
file=$(name 570.195.02)
left() { (cd "$1" && ls -A | sort | tr '\n' ' '); } # DIR: what lies in it
json() { python3 -c 'import json,sys; d = json.load(open("out")); assert eval(sys.argv[1]), d' "$1"; }

# -- over the network --
run --json --dry-run vgpu fetch --url "$base/ok/$file" --to .
equals "a dry run" "$rc $(find . -maxdepth 1 -name "*570*" | wc -l)" "0 0"
check "says what would happen" json 'd["dry_run"] and d["action"] == "downloaded" and d["branch"] == "18.5"'
check "and asks nobody" test ! -e requests
run --json vgpu fetch --url "$base/ok/$file" --to a
equals "an honest server" "$rc" 0
check "gives the file" cmp "a/$file" "$run570"
check "and says what it is" json 'd["action"] == "downloaded" and d["driver"]["version"] == "570.195.02" and d["driver"]["has_open"] and d["driver"]["has_proprietary"]'
check "and how it is installed" json 'd["driver"]["installer_words"] == {"native": ["--dkms","-M","proprietary","-s"], "native_open": ["--dkms","-M","open","-s"], "unlock": ["--dkms","-M","proprietary","-s"]}'
run --json --offline vgpu fetch --url "$base/ok/$file" --to a
check "again: present, without the network" json 'd["action"] == "present"'
printf broken >"a/$file"
run --json vgpu fetch --url "$base/ok/$file" --to a
check "a wrong one is replaced" json "d['action'] == 'replaced' and d['backup'] == '$file.bak.1'"
printf more >"a/$file"
run --json vgpu fetch --url "$base/ok/$file" --to a
check "the next under the next number" json "d['backup'] == '$file.bak.2'"
equals "and both are kept" "$(cat "a/$file.bak.1" "a/$file.bak.2")" brokenmore
for how in reset truncate; do
	: >requests
	run --json vgpu fetch --url "$base/$how/$file" --to "$how"
	equals "$how: the file comes in the end" "$rc" 0
	check "$how: whole" cmp "$how/$file" "$run570"
	check "$how: continued, not begun again" grep -q "bytes=[1-9]" requests
done
run --json vgpu fetch --url "$base/stall/$file" --to stall --stall 1s
equals "stall: given up and continued" "$rc" 0
check "stall: whole" cmp "stall/$file" "$run570"
slug "a page with status 200" 6 fetch-content-wrong vgpu fetch --url "$base/page/$file" --to page --attempts 1
equals "leaves nothing" "$(left page)" ""
slug "a length too long" 6 fetch-failed vgpu fetch --url "$base/long/$file" --to long --attempts 1
check "gives nothing its name" test ! -e "long/$file"
run vgpu fetch --url "$base/short/$file" --to short --attempts 1
equals "a length too short is seen by the file's own sums" "$rc" 6
equals "and leaves nothing" "$(left short)" ""
slug "always cut" 6 fetch-failed vgpu fetch --url "$base/cut/$file" --to cut --attempts 1
check "keeps what came" test -s "cut/$file.part"
slug "another version" 8 host-driver-wrong vgpu fetch --url "$base/wrong/$file" --to wrong --attempts 1
check "is named" grep -q '550.144.02, not 570.195.02' out
equals "and is not given the name" "$(left wrong)" ""
cp -r a held
cp "$run550" "held/$file"
slug "one there is kept until the right one has come" 6 fetch-failed vgpu fetch --url "$base/cut/$file" --to held --attempts 1
check "under its name" cmp "held/$file" "$run550"
slug "no network" 6 network-refused-offline --offline vgpu fetch --url "$base/ok/$file" --to off
slug "an address of something else" 2 fetch-url-invalid vgpu fetch --url "$base/ok/driver.deb" --to off
slug "a pinned digest that differs" 6 fetch-digest-mismatch vgpu fetch --url "$base/ok/$file" --to pin --attempts 1 --sha256 "$(printf '0%.0s' $(seq 1 64))"
file550=$(name 550.144.02)
slug "the register's MD5 differs" 6 fetch-digest-mismatch vgpu fetch --url "$base/ok/$file550" --to md5 --attempts 1
equals "and leaves nothing" "$(left md5)" ""
status "taken when asked for" 0 vgpu fetch --url "$base/ok/$file550" --to md5 --accept-md5
check "with a word about it" grep -q '^note: .*not compared' out

# -- a branch of the register --
mkdir data
cp "${NVDRIVER%/src/cli/nvdriver}/data/gpu_info.db" data/
slug "a branch of the portal" 1 host-driver-not-public vgpu fetch 18.5 --to portal
cp "$run570" portal/
run --json vgpu fetch 18.5 --to portal
check "laid down by hand is enough" json 'd["action"] == "present" and d["branch"] == "18.5"'
slug "an unknown branch" 2 branch-unknown vgpu fetch 99.9 --to portal
slug "nothing named" 2 usage vgpu fetch --to portal
python3 - "$base/ok/$file" <<'END'
import sqlite3, sys
d = sqlite3.connect("data/gpu_info.db")
tables = [r[0] for r in d.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
t = [x for x in tables if "driver" in x and "url_kind" in [c[1] for c in d.execute("PRAGMA table_info('%s')" % x)]][0]
n = d.execute("UPDATE \"%s\" SET url_kind = 'alist', url = ? WHERE branch = '18.5'" % t, (sys.argv[1],)).rowcount
assert n == 1
d.commit()
END
NVDRIVER_DATADIR=$work/data run --json vgpu fetch 18.5 --to branch
check "a branch with an address" json 'd["action"] == "downloaded" and d["branch"] == "18.5"'

# -- a branch whose address a mirror's listing says: 19.5, driver 580.159.01 --
file580=$(name 580.159.01) root=/foxipan/vGPU/19.5
driver 580.159.01 "good/$file580" 200000
driver 580.159.01 "good/${file580%.run}-custom.run" 200000
python3 -c 'import sys, zipfile
z = zipfile.ZipFile("NVIDIA-GRID-Linux-KVM-580.159.01-580.159.02-582.16.zip", "w"); z.write("good/" + sys.argv[1], "Host_Drivers/" + sys.argv[1])' "$file580"
listed() { # TEXT WANTED_URL_TAIL LISTING [OPTION]: the file comes from there
	echo "$3" >listing
	rm -rf auto
	run --json vgpu fetch 19.5 --listing "$base" --to auto --attempts 1 ${4:+"$4"}
	equals "$1" "$rc $(python3 -c 'import json; print(json.load(open("out"))["url"].split("/foxipan/vGPU/19.5/")[1])' 2>&1)" "0 $2"
}
run --json --dry-run vgpu fetch 19.5 --listing "$base" --to auto
check "a looked-up address, dry run: nobody is asked" json 'd["action"] == "downloaded" and d["branch"] == "19.5"'
listed "in the branch's directory" "$file580" "{\"$root\": [\"$file580\", \"${file580%.run}-custom.run\", \"notes.txt\"]}"
check "whole" cmp "auto/$file580" "good/$file580"
listed "a copy that is unlocked already, when asked for" "${file580%.run}-custom.run" "{\"$root\": [\"$file580\", \"${file580%.run}-custom.run\"]}" --custom
listed "in Host_Drivers" "Host_Drivers/$file580" "{\"$root\": [\"Host_Drivers/\"], \"$root/Host_Drivers\": [\"$file580\"]}"
listed "in an unpacked package" "NVIDIA-GRID-Linux-KVM-580.159.01/Host_Drivers/$file580" "{\"$root\": [\"Host_Drivers/\", \"NVIDIA-GRID-Linux-KVM-580.159.01/\"], \"$root/NVIDIA-GRID-Linux-KVM-580.159.01/Host_Drivers\": [\"$file580\"]}"
listed "in a package" "NVIDIA-GRID-Linux-KVM-580.159.01-580.159.02-582.16.zip" "{\"$root\": [\"NVIDIA-GRID-Linux-KVM-580.159.01-580.159.02-582.16.zip\"]}"
check "whose driver is taken out" cmp "auto/$file580" "good/$file580"
run --json --offline vgpu fetch 19.5 --to auto
check "again: present, and nobody is asked" json 'd["action"] == "present"'
rm -rf auto
echo "{\"$root\": [\"$(name 580.126.08)\", \"../$file580\"]}" >listing
slug "another version and a name that leads out are passed over" 1 host-driver-not-public vgpu fetch 19.5 --listing "$base" --to auto --attempts 1
echo '{}' >listing
slug "a mirror without the branch" 1 host-driver-not-public vgpu fetch 19.5 --listing "$base" --to auto --attempts 1
slug "an answer that is no listing" 6 format-invalid vgpu fetch 19.5 --listing "$base/page/x" --to auto --attempts 1

# -- a branch whose file needs megadl --
slug "not with --offline" 6 network-refused-offline --offline vgpu fetch 17.6 --to mega
run --json --dry-run vgpu fetch 17.6 --to mega
check "a dry run says where from" json 'd["action"] == "downloaded" and d["url"].startswith("https://mega.nz/file/")'
if command -v megadl >/dev/null; then
	skip "without megadl" "it is installed"
else
	slug "without megadl the package is named" 4 tool-missing vgpu fetch 17.6 --to mega
	check "as the next step" grep -q 'megatools' out
fi

# -- by hand --
run --json vgpu fetch --file "$run570" --to by
check "a file stays where it is" json "d['path'] == '$run570' and d['branch'] == '18.5'"
slug "with an MD5 that differs" 6 fetch-digest-mismatch vgpu fetch --file "$run550" --to by
slug "of another branch" 8 host-driver-wrong vgpu fetch 19.3 --file "$run570" --to by
driver 999.1 "$work/$(name 999.1)" 200000
run vgpu fetch --file "$(name 999.1)" --to by
check "not in the register: a word of warning" grep -q '^note: .*not in the register' out
mv "$(name 999.1)" own.run
run --json vgpu fetch --file own.run --to by
check "the version is in the file" json 'd["driver"]["version"] == "999.1" and d["branch"] is None'
slug "a zip without a host driver" 6 source-package-invalid vgpu fetch --file empty.zip --to by
slug "a zip whose driver has another MD5" 6 fetch-digest-mismatch vgpu fetch --file portal.zip --to by
equals "nothing is left of either" "$(left by)" ""
run --json vgpu fetch --file portal.zip --to by --accept-md5
check "a zip" json 'd["action"] == "unpacked" and d["branch"] == "17.5" and d["archive"] == "portal.zip" and d["patch_file"] == "550.144.02.patch"'
check "holds the driver" cmp "by/$file550" "$run550"
run --json vgpu fetch --file portal.zip --to by --accept-md5
check "again: present" json 'd["action"] == "present"'
status "a zip over the network" 0 vgpu fetch --url "$base/ok/portal.zip" --to net --accept-md5
check "is unpacked" cmp "net/$file550" "$run550"
slug "a page for a zip" 6 fetch-content-wrong vgpu fetch --url "$base/page/portal.zip" --to net2 --attempts 1

# -- the unlocked copy --
mkdir vgpu-proxmox
slug "no patch mapped" 1 unlock-patch-missing vgpu patch "$run570"
slug "mapped, but not there" 1 unlock-patch-missing vgpu patch "$run550"
printf -- '--- ./kernel/nvidia/nv-kernel.o_binary\n+++ ./kernel/nvidia/nv-kernel.o_binary\n@@ -1,3 +1,3 @@ \0\177ELF\0 x\n one\n-two \001\377\n+TWO \002\376\n three\n' >vgpu-proxmox/550.144.02.patch
sum=$(sha256sum <"$run550")
custom=NVIDIA-Linux-x86_64-550.144.02-vgpu-kvm-custom.run
run --json --dry-run vgpu patch "$run550"
check "a dry run names the objects" json "d['output'] == '$custom' and d['record']['objects'][0]['path'] == 'kernel/nvidia/nv-kernel.o_binary'"
check "and writes nothing" test ! -e "$custom"
run --json vgpu patch "$run550"
equals "a patch with NUL bytes in its hunk header" "$rc" 0
before=$(printf 'one\ntwo \001\377\nthree\n' | sha256sum | cut -d ' ' -f 1)
after=$(printf 'one\nTWO \002\376\nthree\n' | sha256sum | cut -d ' ' -f 1)
check "the object before and after" json "d['record']['objects'] == [{'path': 'kernel/nvidia/nv-kernel.o_binary', 'before': '$before', 'after': '$after'}]"
check "a word about a copy the table does not know" json 'len(d["notes"]) == 1'
equals "the copy's digest is recorded" "$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["sha256"])' "$custom.meta")" "$(sha256sum <"$custom" | cut -d ' ' -f 1)"
equals "the driver is as it was" "$(sha256sum <"$run550")" "$sum"
check "the copy's own check passes" sh "$custom" --check
sh "$custom" -x --target x >/dev/null 2>&1
equals "and it holds the change" "$(sha256sum <x/kernel/nvidia/nv-kernel.o_binary | cut -d ' ' -f 1)" "$after"
run --json vgpu patch "$run550"
check "again: the same copy" json 'd["present"] and d["record"]["sha256"] and d["backup"] is None'
printf x >"$custom"
run --json vgpu patch "$run550"
check "another one there is kept" json "d['backup'] == '$custom.bak.1'"
cp vgpu-proxmox/550.144.02.patch vgpu-proxmox/own.patch
rm "$custom" "$custom.meta"
run550_name=$(basename "$run550")
echo '{ "17.5": "absent.patch" }' >driver_patches.json
slug "a person's own mapping wins" 1 unlock-patch-missing vgpu patch "$run550"
echo "{ \"17.5\": \"absent.patch\", \"$run550_name\": \"own.patch\" }" >driver_patches.json
run --json vgpu patch "$run550"
check "the file's own name before its branch" json "d['patch'] == 'vgpu-proxmox/own.patch'"
echo '{ "17.5": "../../etc/passwd" }' >driver_patches.json
slug "a mapping that leads out" 3 config-invalid vgpu patch "$run550"
mv driver_patches.json other.json
slug "named elsewhere" 3 config-invalid vgpu patch "$run550" --overrides other.json
slug "named and not there" 1 not-found vgpu patch "$run550" --overrides none.json
sed -i 's/^ three$/ four/' vgpu-proxmox/550.144.02.patch
sum=$(sha256sum <"$custom")
slug "a patch that does not fit exactly" 7 patch-hunk-failed vgpu patch "$run550"
equals "leaves the copy there was" "$(sha256sum <"$custom")" "$sum"
equals "and nothing else" "$(find . -maxdepth 1 -name ".nvdriver*" | wc -l)" 0
finish
