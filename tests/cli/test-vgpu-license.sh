#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Licences of guests: the vendor's client in a guest, a licence server of one's own on a fixture machine with its keys made
# and used for real, and the scripts for guests, run against a server that answers as the documented one.
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
. "$here/vgpu-machines.sh"
cd "$work" || exit 1
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1

tree() { (cd "$root" && find . ! -path ./var ! -path './var/log*' ! -name nvdriver-commands.log ! -path ./var/lib/nvdriver ! -path './var/lib/nvdriver/*' \( -type f -exec sha256sum {} + -o -true \) -printf '%p %y %m %l\n' | LC_ALL=C sort); }
record() { # COMMAND STATUS OUTPUT: one more answer of the machine's programs
	python3 - "$root/nvdriver-commands.json" "$@" <<'END'
import json, sys
path, command, status, output = sys.argv[1:]
d = json.load(open(path))
d["commands"][command] = {"status": int(status), "output": output}
json.dump(d, open(path, "w"))
END
}
docker_answers() {
	record "hostname -I" 0 "192.168.7.10 172.17.0.1 fe80::1 "
	record "timedatectl show -p Timezone --value" 0 "Europe/Vienna
"
	record "docker compose *" "$1" "Docker Compose version v2.29.1
"
	record "docker compose -f *" 0 ""
	record "docker image inspect *" "$1" "collinwebdesigns/fastapi-dls@sha256:$(printf 'a%.0s' {1..64})
"
	record "docker image rm *" 0 ""
	record "docker pull *" 0 ""
	record "docker inspect *" 0 "running
"
}
license() { run --root "$root" --store "$work/store" vgpu license "$@"; }
commands() { grep -vE '^(pveversion|pvesubscription|hostname|timedatectl|docker compose version|docker image inspect|docker inspect)' "$root/nvdriver-commands.log"; }

# -- the vendor's way, in a guest
root=$work/guest
mkdir -p "$root/etc/nvidia/ClientConfigToken" "$root/usr/lib/systemd/system"
: >"$root/usr/lib/systemd/system/nvidia-gridd.service"
echo '{"log": true, "commands": {"systemctl restart nvidia-gridd.service": {"status": 0, "output": ""}}}' >"$root/nvdriver-commands.json"
printf '# /etc/nvidia/gridd.conf.template - template\n# Description: Set License Server Address\nServerAddress=\n\n# Possible values: 0, 1, 2, 4\n#FeatureType=0\n# own words stay\r\nEnableUI=TRUE' >"$root/etc/nvidia/gridd.conf.template"
token=$work/client_configuration_token_01-02-2026-10-11-12.tok
printf 'eyJhbGciOiJSUzI1NiJ9.eyJqdGkiOiIxIn0.c2lnbmF0dXJl' >"$token"
before=$(tree)
license client --token "$token" --feature vws --dry-run
equals "client, dry run" "$rc" 0
check "shows the edit" grep -q '^+FeatureType=2' out
equals "and changes nothing" "$(tree)" "$before"
license client --token "$token" --feature vws
equals "client" "$rc" 0
check "the token is there" cmp "$token" "$root/etc/nvidia/ClientConfigToken/$(basename "$token")"
equals "readable by all, as the client needs it" "$(stat -c %a "$root/etc/nvidia/ClientConfigToken/$(basename "$token")")" 644
equals "gridd.conf is the template with one line more" "$(diff "$root/etc/nvidia/gridd.conf.template" "$root/etc/nvidia/gridd.conf")" "6a7
> FeatureType=2"
equals "the client is restarted" "$(cat "$root/nvdriver-commands.log")" "systemctl restart nvidia-gridd.service"
equals "the token is in no record" "$(grep -rlF "$(cut -d. -f2 "$token")" store)" ""
after=$(tree)
: >"$root/nvdriver-commands.log"
license client --token "$token" --feature vws
check "a second run finds nothing to do" grep -q '^nothing to do' out
equals "and changes nothing" "$(tree)$(cat "$root/nvdriver-commands.log")" "$after"
printf '\nFeatureType = 1\nServerAddress=10.0.0.1\n' >>"$root/etc/nvidia/gridd.conf"
license client --feature compute
equals "every setting of the key" "$(grep -c '^FeatureType=4$' "$root/etc/nvidia/gridd.conf")" 2
check "the discontinued server is named" grep -q 'note: .*ServerAddress' out
sed -i '/ServerAddress=10/d; ${/^FeatureType=4$/d}' "$root/etc/nvidia/gridd.conf"
run --root "$root" --store store vgpu undo
equals "undo finds the change somebody made" "$rc" 10
run --root "$root" --store store vgpu undo --force
rm -rf store "$root/etc/nvidia/gridd.conf" "$root"/etc/nvidia/ClientConfigToken/*
: >"$root/nvdriver-commands.log"
license client --token "$token" --feature 1
run --root "$root" --store store vgpu undo
equals "undo" "$rc" 0
equals "gives every former byte back" "$(tree)" "$before"
equals "and restarts the client" "$(grep -c restart "$root/nvdriver-commands.log")" 2
for bad in '<html>log in</html>' '{"error": 1}' '' 'a.b' 'a.b.c d'; do
	printf '%s' "$bad" >bad.tok
	slug "no token: '$bad'" 9 license-token-invalid --root "$root" --store store vgpu license client --token bad.tok
	equals "and it is not shown" "$(grep -cF 'log in' out err)" "$(printf 'out:0\nerr:0')"
done
slug "an unknown kind" 2 usage --root "$root" --store store vgpu license client --feature gaming
mkdir -p none
slug "a machine without a guest driver" 4 license-client-missing --root none --store store2 vgpu license client --feature vgpu
# What nvidia-smi says.
record "nvidia-smi -q" 0 "    vGPU Software Licensed Product
        Product Name                      : NVIDIA RTX Virtual Workstation
        License Status                    : Licensed (Expiry: 2026-2-1 10:0:0 GMT)
"
license status
check "a licensed guest" grep -q '^client        licensed' out
check "with its expiry" grep -q 'License Status: Licensed (Expiry: 2026-2-1' out
record "nvidia-smi -q" 0 "        License Status                    : Unlicensed (Unrestricted)
"
license status
check "an unlicensed one" grep -q '^client        not licensed' out

# -- a server, where Docker has to be installed, on a host that step 1 prepared
root=$work/pve8
m_pve8_fresh "$root"
rm -rf store
docker_answers 1
before=$(tree)
run --root "$root" --store store vgpu step 1 --yes
: >"$root/nvdriver-commands.log"
step1=$(tree)
license server --yes --dry-run
equals "server, dry run" "$rc" 0
check "names whose work it is first" sh -c "grep -n 'git.collinwebdesigns.de/oscar.krause/fastapi-dls' out | grep -q '^[1-9]:'"
check "Docker's key with its fingerprint" grep -q 'fetch .*download.docker.com/linux/debian/gpg.*9DC858229FC7DD38854AE2D88D81803C0EBFCD88' out
check "the key files" grep -q 'make    /opt/docker/fastapi-dls/cert/instance.private.pem' out
equals "a dry run changes nothing" "$(tree)" "$step1"
license server --yes --branch 18.1
equals "server" "$rc" 0
[ "$rc" = 0 ] || sed 's/^/# /' err
equals "the repository of Docker" "$(cat "$root/etc/apt/sources.list.d/docker.list")" "deb [arch=amd64 signed-by=/etc/apt/keyrings/docker.asc] https://download.docker.com/linux/debian bookworm stable"
equals "its commands" "$(commands)" "apt-get update --error-on=any
apt-get install -y docker-ce docker-ce-cli containerd.io docker-buildx-plugin docker-compose-plugin
docker pull collinwebdesigns/fastapi-dls:2.0.3
docker compose -f /root/fastapi-dls/docker-compose.yml up -d"
check "guests of 18 are told to be patched" grep -q 'note: guests of branch 18.1 .*gridd-unlock-patcher' out
cert=$root/opt/docker/fastapi-dls/cert
equals "private keys are the owner's alone" "$(stat -c '%a %n' "$cert"/*.pem "$cert"/webserver.* | sed "s,$cert/,,")" "600 instance.private.pem
644 instance.public.pem
644 webserver.crt
600 webserver.key"
equals "openssl reads the instance key" "$(openssl rsa -in "$cert/instance.private.pem" -noout -text 2>/dev/null | head -1)" "Private-Key: (2048 bit, 2 primes)"
equals "the public half is its own" "$(openssl rsa -in "$cert/instance.private.pem" -pubout 2>/dev/null)" "$(cat "$cert/instance.public.pem")"
equals "the certificate is the web key's" "$(openssl x509 -in "$cert/webserver.crt" -noout -pubkey)" "$(openssl pkey -in "$cert/webserver.key" -pubout)"
check "it names the addresses" sh -c "openssl x509 -in $cert/webserver.crt -noout -ext subjectAltName | grep -q 'IP Address:192.168.7.10, IP Address:172.17.0.1.*DNS:localhost'"
check "for ten years" openssl x509 -in "$cert/webserver.crt" -noout -checkend $((3640 * 86400))
check "it is signed as it says" openssl verify -CAfile "$cert/webserver.crt" -purpose sslserver "$cert/webserver.crt"
equals "no key is in the store" "$(grep -rl 'PRIVATE KEY' store)" ""
compose=$root/root/fastapi-dls/docker-compose.yml
python3 - "$compose" <<'END' >parsed 2>&1
import re, sys
text = open(sys.argv[1]).read()
try:
    import yaml
    s = yaml.safe_load(text)["services"]["wvthoog-fastapi-dls"]
except ImportError:
    s = None
if s:
    e = s["environment"]
    print(s["image"], s["container_name"], s["restart"], s["working_dir"], s["ports"], e["TZ"], e["DLS_URL"], e["DLS_PORT"], e["LEASE_EXPIRE_DAYS"], e["DATABASE"], e["DEBUG"], e["PYTHONPATH"], s["command"][-2:], s["healthcheck"]["retries"], s["volumes"][1])
END
if [ -s parsed ]; then
	equals "the compose file, parsed" "$(cat parsed)" "collinwebdesigns/fastapi-dls:2.0.3 wvthoog-fastapi-dls always /app ['8443:443'] Europe/Vienna 192.168.7.10 8443 90 sqlite:////app/database/db.sqlite false /app ['--loop', 'asyncio'] 3 /opt/docker/fastapi-dls/cert:/app/cert"
else
	skip "the compose file, parsed" "no python3-yaml"
fi
equals "no obsolete key" "$(grep -c '^version:' "$compose")" 0
# Docker is there now, and the image with its digest.
docker_answers 0
keys=$(sha256sum "$cert"/*)
license server --yes --branch 18.1
equals "the image is pinned by its digest once it is known" "$(sed -n 's/^ *image: //p' "$compose")" "\"collinwebdesigns/fastapi-dls:2.0.3@sha256:$(printf 'a%.0s' {1..64})\""
equals "keys are kept" "$(sha256sum "$cert"/*)" "$keys"
after=$(tree)
: >"$root/nvdriver-commands.log"
license server --yes --branch 18.1
check "then nothing is left to do" grep -q '^nothing to do' out
equals "and nothing changes" "$(tree)$(commands)" "$after"
# Another port: the container is started anew, and taking that back starts the former one.
license server --yes --port 9443
check "another port" grep -q '"9443:443"' "$compose"
check "in the scripts too" grep -q "^server='192.168.7.10:9443'" "$root/var/lib/nvdriver/vgpu/licenses/license_linux.sh"
# Ports.
mkdir -p "$root/proc/net"
printf '  sl  local_address rem_address   st\n   0: 00000000:1F90 00000000:0000 0A 00000000:00000000\n   1: 0100007F:22B8 00000000:0000 06 0\n' >"$root/proc/net/tcp"
for port in 80 443 8006 8080 70000; do
	slug "port $port is refused" 2 license-port-taken --root "$root" --store store vgpu license server --yes --port $port
done
license server --yes --port 8888
equals "a port in another state than listening is free" "$rc" 0
slug "an address that is none" 2 usage --root "$root" --store store vgpu license server --yes --address 'a b'
slug "nor one that would be another line of the file" 2 usage --root "$root" --store store vgpu license server --yes --timezone 'UTC"
      x: "'
slug "without a word nothing is set up" 1 declined --root "$root" --store store vgpu license server
# A certificate without its key is a person's mistake, not ours to mend.
mv "$cert/webserver.key" kept.key
slug "a certificate without its key" 3 license-keys-incomplete --root "$root" --store store vgpu license server --yes
mv kept.key "$cert/webserver.key"
license status
check "status: the server" grep -q '^server        https://192.168.7.10:8888, container running, health unknown' out
check "and its keys" grep -q '^keys          complete, certificate until 20' out
chmod 644 "$cert/webserver.key"
license status
check "a key others can read is seen" grep -q '^keys          exposed' out
chmod 600 "$cert/webserver.key"
run --root "$root" --store store --json vgpu status
check "vgpu status has it too" grep -q '"image": "collinwebdesigns/fastapi-dls:2.0.3@sha256' out
run --root "$root" --store store vgpu doctor
check "and vgpu doctor" grep -qE '^ok *license *the licence server is set up' out

# Removal keeps the keys unless their own question is answered.
run --root "$root" --store store vgpu remove --yes
equals "remove" "$rc" 0
check "the compose file is gone" test ! -e "$compose"
check "the container was stopped" grep -q '^docker compose -f /root/fastapi-dls/docker-compose.yml down' "$root/nvdriver-commands.log"
equals "the keys stay" "$(sha256sum "$cert"/*)" "$keys"
check "and are no set-up that goes on" test -z "$(ls store/targets/*/vgpu.json 2>/dev/null)"
echo '{ "remove_license_keys": true }' >yes.json
run --root "$root" --store store vgpu remove --yes --answers yes.json
rm -rf "$root/proc/net"
docker_answers 1
equals "until they are asked for: every former byte is back" "$(tree)" "$before"

# -- the real thing: the keys serve, and the clients take a token
root=$work/live
m_pve8_fresh "$root"
rm -rf store
docker_answers 0
license server --yes --address 127.0.0.1
cert=$root/opt/docker/fastapi-dls/cert
cat >server.py <<'END'
import http.server, ssl, sys
class H(http.server.BaseHTTPRequestHandler):
    answers = {"/-/health": b'{"status":"up"}', "/-/client-token": b"eyJhbGciOiJSUzI1NiJ9.eyJqdGkiOiIyIn0.c2ln"}
    def do_GET(self):
        body = self.answers.get(self.path)
        self.send_response(200 if body else 404)
        self.end_headers()
        self.wfile.write(body or b"<html>nothing here</html>")
    def log_message(self, *a): pass
if sys.argv[3:] == ["sick"]:
    H.answers = {"/-/health": b'{"status":"starting"}', "/-/client-token": b"<html>log in</html>"}
s = http.server.HTTPServer(("127.0.0.1", 0), H)
c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
c.load_cert_chain(sys.argv[1], sys.argv[2])
s.socket = c.wrap_socket(s.socket, server_side=True)
print(s.server_port, flush=True)
s.serve_forever()
END
serve() { # [sick]: $port
	: >port
	python3 server.py "$cert/webserver.crt" "$cert/webserver.key" "$@" >port 2>/dev/null &
	server=$!
	for ((i = 0; i < 300; i++)); do [ ! -s port ] || break; sleep 0.1; done
	port=$(cat port)
}
trap 'kill "${server:-}" 2>/dev/null; rm -rf "$work"' EXIT
serve
run vgpu license status --server "127.0.0.1:$port" --ca-file "$cert/webserver.crt"
equals "a server with our certificate is up" "$rc $(cat out)" "0 127.0.0.1:$port is up"
slug "without its certificate it is not trusted" 9 license-server-unhealthy vgpu license status --server "127.0.0.1:$port"
run --json vgpu license status --server 127.0.0.1 --port "$port"
equals "an appliance's port that is open" "$rc $(python3 -c 'import json; d = json.load(open("out")); print(d["health"], d["ports"][0]["open"])')" "0 up True"
run --json vgpu license status --server 127.0.0.1 --port 1
equals "and one that is not" "$rc $(python3 -c 'import json; d = json.load(open("out")); print(d["health"], d["ports"][0]["open"])')" "10 down False"
run --json vgpu license status --server 127.0.0.1
equals "those of an appliance are known" "$(python3 -c 'import json; print([p["port"] for p in json.load(open("out"))["ports"]])')" "[443, 80, 8081, 8082]"
slug "a name nobody has" 6 fetch-failed vgpu license status --server no-such-name.invalid
slug "nor are ports asked with --offline" 6 network-refused-offline --offline vgpu license status --server 127.0.0.1
slug "nor asked with --offline" 6 network-refused-offline --offline vgpu license status --server "127.0.0.1:$port" --ca-file "$cert/webserver.crt"
root=$work/guest
license client --server "127.0.0.1:$port" --ca-file "$cert/webserver.crt" --feature vgpu
equals "a guest takes its token from there" "$rc $(cat "$root"/etc/nvidia/ClientConfigToken/*.tok)" "0 eyJhbGciOiJSUzI1NiJ9.eyJqdGkiOiIyIn0.c2ln"
run vgpu license scripts --server "127.0.0.1:$port" --to scripts
equals "scripts" "$(cd scripts && stat -c '%a %n' ./*)" "755 ./license_linux.sh
644 ./license_windows.ps1"
run vgpu license scripts --server "127.0.0.1:$port" --to scripts
equals "written once" "$(find scripts -type f | wc -l)" 2
run vgpu license scripts --server "127.0.0.1:1" --to scripts
equals "others are kept" "$(find scripts -name '*.bak.1' | wc -l)" 2
run vgpu license scripts --server "127.0.0.1:$port" --to scripts
for shell in bash dash busybox; do
	command -v $shell >/dev/null || { skip "$shell reads the Linux script" "not installed"; continue; }
	[ $shell != busybox ] || shell="busybox sh"
	check "$shell reads the Linux script" $shell -n scripts/license_linux.sh
done
if command -v shellcheck >/dev/null; then check "shellcheck finds nothing in it" shellcheck scripts/license_linux.sh; else skip "shellcheck" "not installed"; fi
check "the Windows script has its checks" grep -q "notmatch" scripts/license_windows.ps1
check "and the vendor's directory" grep -qF 'C:\Program Files\NVIDIA Corporation\vGPU Licensing\ClientConfigToken' scripts/license_windows.ps1
equals "every line of it ends as Windows has it" "$(grep -c $'\r$' scripts/license_windows.ps1)" "$(wc -l <scripts/license_windows.ps1)"
if command -v curl >/dev/null; then
	check "the Linux script runs" sh scripts/license_linux.sh "$work/tokens"
	equals "and takes the token" "$(cat tokens/client_configuration_token_*.tok)" "eyJhbGciOiJSUzI1NiJ9.eyJqdGkiOiIyIn0.c2ln"
else
	skip "the Linux script runs" "no curl"
fi
kill "$server"; wait "$server" 2>/dev/null
serve sick
slug "a server that is not up" 9 license-server-unhealthy vgpu license status --server "127.0.0.1:$port" --ca-file "$cert/webserver.crt"
slug "or answers a page for a token" 9 license-token-invalid --root "$root" --store store vgpu license client --server "127.0.0.1:$port" --ca-file "$cert/webserver.crt"
if command -v curl >/dev/null; then
	run vgpu license scripts --server "127.0.0.1:$port" --to sick
	sh sick/license_linux.sh "$work/sick-tokens" >out 2>&1
	equals "the script refuses it too" "$? $(ls sick-tokens)" "1 "
fi
kill "$server"; wait "$server" 2>/dev/null
slug "a server that is gone" 9 license-server-unhealthy vgpu license status --server "127.0.0.1:$port" --ca-file "$cert/webserver.crt"
finish
