#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Bundles through a real registry on the loopback interface, with TLS and a password: pushed from one store, pulled into another,
# carried by skopeo; connections that are cut, blobs and manifests that were changed, and passwords that are wrong.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
. "$top/tests/cli/lib.sh"
for tool in docker-registry htpasswd openssl python3; do
	command -v $tool >/dev/null || { echo "no $tool"; exit 77; }
done
cd "$work" || exit 1
pids=()
stop_all() {
	[ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null
	wait 2>/dev/null
	rm -rf "$work"
}
trap stop_all EXIT
unset REGISTRY_AUTH_FILE XDG_RUNTIME_DIR
export HOME=$work

# -- the registry
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
openssl req -x509 -newkey rsa:2048 -nodes -keyout tls.key -out ca.pem -days 30 -subj /CN=registry \
	-addext subjectAltName=IP:127.0.0.1 2>/dev/null
htpasswd -Bbn user secret >htpasswd
port=$(free_port)
cat >config.yml <<END
version: 0.1
log: {level: error}
storage:
  filesystem: {rootdirectory: $work/registry}
  delete: {enabled: true}
http:
  addr: 127.0.0.1:$port
  tls: {certificate: $work/ca.pem, key: $work/tls.key}
auth:
  htpasswd: {realm: test, path: $work/htpasswd}
END
docker-registry serve config.yml >registry.log 2>&1 &
pids+=($!)
login() { printf '{"auths":{"%s":{"auth":"%s"}}}' "$1" "$(printf '%s' "$2" | base64 -w0)" >"$3" && chmod 600 "$3"; }
login "127.0.0.1:$port" user:secret auth.json
login "127.0.0.1:$port" user:wrong wrong.json
for _ in $(seq 50); do
	curl -s --cacert ca.pem "https://127.0.0.1:$port/v2/" >/dev/null && break
	sleep 0.1
done
at=127.0.0.1:$port/gpu/bundles
trust=(--ca-file ca.pem --auth-file auth.json)

# -- something to push: a driver with a large file that does not compress, and a kernel's build tree
release=6.1.0-77-amd64 version=535.1.2 k=root/usr/src/kernels/6.1.0-77-amd64
mkdir -p driver root/proc/sys/kernel $k/include/{linux,generated}
printf '%s\n' 'NVIDIA Accelerated Graphics Driver for Linux-x86_64' $version ' ' 'nvidia ' ' ' ' ' ./kernel/ ./kernel/precompiled/ \
	'nvidia-smi 0755 UTILITY_BINARY MODULE:nvml' >driver/.manifest
openssl enc -aes-128-ctr -K 0123456789abcdef0123456789abcdef -iv 0123456789abcdef0123456789abcdef -in /dev/zero 2>/dev/null |
	head -c 20000000 >driver/nvidia-smi
echo '#define UTS_RELEASE "'$release'"' >$k/include/generated/utsrelease.h
printf '#define CONFIG_SMP 1\n#define CONFIG_MODULE_UNLOAD 1\n' >$k/include/generated/autoconf.h
echo >$k/include/linux/kernel.h
echo '#ifdef CONFIG_PREEMPT_BUILD' >$k/include/linux/vermagic.h
printf '0x00000001\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n' >$k/Module.symvers
echo CONFIG_X86_64=y >$k/.config
openssl req -x509 -newkey rsa:2048 -nodes -keyout sign.key -out sign.pem -days 30 -subj /CN=sign 2>/dev/null
chmod 600 sign.key
status "a signed bundle is made" 0 --root root --store a bundle create --driver driver -k $release -o b.nvbundle --sign-key sign.key --sign-cert sign.pem

# -- refused
slug "offline nothing is asked" 6 network-refused-offline --offline bundle push b.nvbundle "$at:x" "${trust[@]}"
slug "an unknown certificate" 6 fetch-failed bundle push b.nvbundle "$at:x" --auth-file auth.json
slug "no password" 6 registry-denied bundle push b.nvbundle "$at:x" --ca-file ca.pem
slug "a wrong password" 6 registry-denied bundle push b.nvbundle "$at:x" --ca-file ca.pem --auth-file wrong.json
check "is not in any message" sh -c "! grep -qE 'wrong|$(printf user:wrong | base64)' out err"
slug "a reference without a registry" 2 registry-reference-invalid bundle push b.nvbundle gpu/bundles "${trust[@]}"
slug "a tag that is not there" 6 registry-absent --store c bundle pull "$at:none" "${trust[@]}"
equals "the registry is still empty" "$(find registry -name data 2>/dev/null | wc -l)" 0

# -- pushed and pulled
run bundle push b.nvbundle "$at" "${trust[@]}"
equals "push makes the tag of driver and kernel" "$rc $(grep -o "$version-$release" out)" "0 $version-$release"
run --json bundle push b.nvbundle "$at" "${trust[@]}"
equals "the second time nothing is sent" "$rc $(grep -o '"sent_bytes": [0-9]*' out)" '0 "sent_bytes": 0'
run --store b bundle pull "$at" --driver $version -k $release --cert sign.pem "${trust[@]}"
equals "pull publishes driver and kernel tree" "$rc $(grep -c ' done ' out)" "0 2"
run --root root --store b --offline prepare $version --no-modules
equals "prepare finds the driver offline" "$rc $(grep -c ' hit ' out)" "0 1"
status "the store is whole" 0 --store b verify
run --store b bundle pull "$at:$version-$release" "${trust[@]}"
equals "the second time nothing is fetched" "$rc $(grep -c ' hit ' out) $(tail -1 out | cut -d' ' -f1)" "0 2 0"
equals "nothing is left among the incoming" "$(find b/packages b/tmp -type f | head -3)" ""
run bundle pull "$at:$version-$release" -o copy.nvbundle "${trust[@]}"
check "as a file it is the one that was pushed" cmp b.nvbundle copy.nvbundle
digest=$(run --json bundle inspect b.nvbundle; sed -n 's/.*"digest": "\(.*\)".*/\1/p' out)
status "it can be had by digest" 0 --store d bundle pull "$at@$digest" "${trust[@]}"
slug "another digest is not there" 6 registry-absent --store d bundle pull "$at@sha256:$(printf '%064d' 1)" "${trust[@]}"

# -- other people's tools
if command -v skopeo >/dev/null; then
	mkdir certs && cp ca.pem certs/ca.crt
	check "skopeo carries the bundle into a registry" skopeo --insecure-policy copy -q --dest-cert-dir certs --dest-creds user:secret \
		oci-archive:b.nvbundle "docker://127.0.0.1:$port/gpu/skopeo:one"
	status "from where it is pulled" 0 --store e bundle pull "127.0.0.1:$port/gpu/skopeo:one" --cert sign.pem "${trust[@]}"
	check "skopeo takes ours out of the registry" skopeo --insecure-policy copy -q --src-cert-dir certs --src-creds user:secret \
		"docker://$at:$version-$release" oci-archive:skopeo.tar
	status "what it wrote is a bundle" 0 bundle verify skopeo.tar --cert sign.pem
	check "as a directory too" skopeo --insecure-policy copy -q --src-cert-dir certs --src-creds user:secret \
		"docker://$at:$version-$release" oci:skopeo.dir:one
	status "which can be applied" 0 --store f bundle apply skopeo.dir
else
	skip "skopeo carries bundles" "no skopeo"
fi

# -- a connection that is cut: a proxy in between passes so many bytes in one direction, so many times
cat >cutter.py <<'END'
import socket, sys, threading, time
target, upward, limit, times = int(sys.argv[1]), sys.argv[2] == "up", int(sys.argv[3]), int(sys.argv[4])
pause = int(sys.argv[5]) if len(sys.argv) > 5 else 0
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(16)
print(listener.getsockname()[1], flush=True)
cuts = [0]
def pump(a, b, counted):
    n = 0
    try:
        while True:
            data = a.recv(65536)
            if not data:
                break
            n += len(data)
            if counted and n > limit and cuts[0] < times:
                cuts[0] += 1
                print("cut", flush=True)
                break
            b.sendall(data)
    except OSError:
        pass
    for s in (a, b):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
while True:
    client, _ = listener.accept()
    if cuts[0]:
        time.sleep(pause)
        pause = 0
    server = socket.create_connection(("127.0.0.1", target))
    threading.Thread(target=pump, args=(client, server, upward), daemon=True).start()
    threading.Thread(target=pump, args=(server, client, not upward), daemon=True).start()
END
cutter() { # DIRECTION BYTES TIMES [PAUSE AFTER THE FIRST]: its port in $cut
	rm -f cutter.out
	python3 cutter.py "$port" "$@" >cutter.out &
	pids+=($!)
	until [ -s cutter.out ]; do sleep 0.05; done
	cut=$(head -1 cutter.out)
	login "127.0.0.1:$cut" user:secret "auth-$cut.json"
	through=(--ca-file ca.pem --auth-file "auth-$cut.json")
}
forget_blobs() { find registry -path '*/_uploads/*' -prune -o -name data -delete; rm -rf registry/docker/registry/v2/repositories/gpu/cut; }
sent() { sed -n 's/.*"sent_bytes": \([0-9]*\).*/\1/p' out; }
received() { sed -n 's/.*"received_bytes": \([0-9]*\).*/\1/p' out; }
size=$(stat -c %s b.nvbundle)

cutter down 8000000 2
run --json --store g bundle pull "127.0.0.1:$cut/gpu/bundles:$version-$release" "${through[@]}"
equals "a download that is cut twice succeeds" "$rc $(grep -c cut cutter.out)" "0 2"
check "and is continued, not begun again" test "$(received)" -lt $((size + 4000000))
status "its store is whole" 0 --store g verify
cutter down 2000000 1000
run --store h bundle pull "127.0.0.1:$cut/gpu/bundles:$version-$release" "${through[@]}"
equals "one that is always cut ends as a failed download" "$rc" 6
equals "and publishes no driver" "$(ls h/trees)" ""
run --json --store h bundle pull "127.0.0.1:$port/gpu/bundles:$version-$release" "${trust[@]}"
equals "another run has it" "$rc" 0
cutter up 8000000 1
run --json bundle push b.nvbundle "127.0.0.1:$cut/gpu/cut:one" "${through[@]}"
equals "an upload that is cut succeeds" "$rc $(grep -c cut cutter.out)" "0 1"
[ "$rc" = 0 ] || sed "s/^/# /" out err
echo "# sent $(sent) bytes of a bundle of $size"
status "what arrived is whole" 0 --store i bundle pull "$(echo "$at" | sed s,bundles,cut,):one" --cert sign.pem "${trust[@]}"

# The registry above forgets an upload whose connection is cut in the middle, so it was begun again. This one does what
# the specification says: it tells how far it got.
cat >resumer.py <<'END'
import hashlib, http.server, re, sys
limit, state, blobs = int(sys.argv[1]), {"data": b"", "cut": False}, {}
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *a): pass
    def answer(self, status, **headers):
        self.send_response(status)
        for k, v in headers.items(): self.send_header(k.replace("_", "-"), v)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def do_HEAD(self): self.answer(200 if self.path.rsplit("/", 1)[1] in blobs else 404)
    def do_GET(self): self.answer(204, Range="0-%d" % (len(state["data"]) - 1), Location="/v2/a/blobs/uploads/1")
    def do_POST(self):
        state["data"] = b""
        self.answer(202, Location="/v2/a/blobs/uploads/1")
    def do_PATCH(self):
        left = int(self.headers["Content-Length"])
        begin = int(re.match(r"(\d+)-", self.headers["Content-Range"]).group(1))
        if begin != len(state["data"]): return self.answer(416)
        print("patch", begin, flush=True)
        while left:
            data = self.rfile.read(min(left, 65536))
            left -= len(data)
            state["data"] += data
            if len(state["data"]) > limit and not state["cut"]:
                state["cut"] = True
                self.close_connection = True
                return self.connection.close()
        self.answer(202, Location="/v2/a/blobs/uploads/1")
    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "/manifests/" in self.path: return self.answer(201)
        digest = self.path.split("digest=")[1]
        if digest != "sha256:" + hashlib.sha256(state["data"]).hexdigest(): return self.answer(400)
        blobs[digest] = True
        self.answer(201, Docker_Content_Digest=digest)
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
END
python3 resumer.py 8000000 >resumer.out 2>resumer.err &
pids+=($!)
until [ -s resumer.out ]; do sleep 0.05; done
run --json bundle push b.nvbundle "127.0.0.1:$(head -1 resumer.out)/a:one" --plain-http
equals "an upload goes on where the registry says it stopped" "$rc $(grep -c '^patch 8[0-9]*$' resumer.out)" "0 1"
check "so nothing is sent twice" test "$(sent)" -lt $((size + 8000000))

# -- a registry whose disk was changed
blob() { find "registry/docker/registry/v2/blobs/sha256" -path "*/$1/data"; }
layer=$(run --json bundle inspect b.nvbundle; python3 -c 'import json; print([o for o in json.load(open("out"))["objects"] if o["kind"] == "tree"][0]["sha256"])')
cp "$(blob "$layer")" kept
printf x | dd of="$(blob "$layer")" bs=1 seek=5000000 conv=notrunc 2>/dev/null
slug "a tampered blob" 6 fetch-digest-mismatch --store j bundle pull "$at:$version-$release" "${trust[@]}"
equals "comes to nothing" "$(ls j/trees) $(find j/packages -name "$layer*" ! -name '*.lock' | head -1)" " "
head -c 1000000 kept >"$(blob "$layer")"
run --json --store j bundle pull "$at:$version-$release" "${trust[@]}"
equals "a shortened one is refused too" "$rc $(ls j/trees)" "6 "
cp kept "$(blob "$layer")"
status "the right one is accepted by the same store" 0 --store j bundle pull "$at:$version-$release" "${trust[@]}"
manifest=$(blob "${digest#sha256:}")
sed -i 's/tree-/evil-/' "$manifest"
slug "a changed manifest" 6 fetch-digest-mismatch --store k bundle pull "$at:$version-$release" "${trust[@]}"
slug "also by digest" 6 fetch-digest-mismatch --store k bundle pull "$at@$digest" "${trust[@]}"

# -- a token service: the registry takes only its word, it takes the password
cat >tokens.py <<'END'
import base64, http.server, json, os, ssl, subprocess, sys, time, urllib.parse
key, cert, life = sys.argv[1], sys.argv[2], int(sys.argv[3])
b64 = lambda b: base64.urlsafe_b64encode(b).rstrip(b"=").decode()
der = base64.b64encode(ssl.PEM_cert_to_DER_cert(open(cert).read())).decode()
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *a): pass
    def do_GET(self):
        asked = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        login = self.headers.get("Authorization", "")
        user = base64.b64decode(login.split(" ")[1]).decode() if login.startswith("Basic ") else ""
        print("asked", asked.get("service", [""])[0], asked.get("scope", [""])[0], user.split(":")[0], flush=True)
        if user not in ("", "user:secret"): return self.answer(401, {"details": "no"})
        access = []
        for scope in asked.get("scope", []):
            kind, name, actions = scope.split(":")
            allowed = actions.split(",") if user else ["pull"] if name.startswith("public/") else []
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        claims = {"iss": "tokens", "sub": user.split(":")[0], "aud": "registry of the test", "exp": now + life, "nbf": now - 100,
                  "iat": now, "jti": str(now), "access": access}
        text = b64(json.dumps({"typ": "JWT", "alg": "RS256", "x5c": [der]}).encode()) + "." + b64(json.dumps(claims).encode())
        made = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key], input=text.encode(), stdout=subprocess.PIPE, check=True)
        self.answer(200, {"token": text + "." + b64(made.stdout), "expires_in": 60})
    def answer(self, status, j):
        body = json.dumps(j).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
END
# with_tokens NAME SCHEME LIFE: a registry on $port that trusts a service whose tokens live for LIFE seconds past a minute
with_tokens() {
	rm -f "tokens-$1.out"
	python3 tokens.py tls.key ca.pem "$3" >"tokens-$1.out" 2>tokens.err &
	pids+=($!)
	until [ -s "tokens-$1.out" ]; do sleep 0.05; done
	port=$(free_port)
	sed -e "s/addr: .*/addr: 127.0.0.1:$port/" -e "s,rootdirectory: .*},rootdirectory: $work/registry-$1}," -e '/^  htpasswd/d' config.yml >"config-$1.yml"
	printf '  token: {realm: "%s://127.0.0.1:%s/token", service: "registry of the test", issuer: tokens, rootcertbundle: %s}\n' \
		"$2" "$(head -1 "tokens-$1.out")" "$work/ca.pem" >>"config-$1.yml"
	docker-registry serve "config-$1.yml" >"registry-$1.log" 2>&1 &
	pids+=($!)
	for _ in $(seq 50); do
		curl -s --cacert ca.pem "https://127.0.0.1:$port/v2/" >/dev/null && break
		sleep 0.1
	done
	at=127.0.0.1:$port
	login "$at" user:secret token.json
	login "$at" user:wrong wrong.json
	trust=(--ca-file ca.pem --auth-file token.json)
}
with_tokens good https 60
run bundle push b.nvbundle "$at/gpu/bundles:one" "${trust[@]}"
equals "with a token a bundle is pushed" "$rc" 0
[ "$rc" = 0 ] || sed 's/^/# /' out err "registry-good.log"
check "that was asked for by service and scope" grep -qE '^asked registry of the test repository:gpu/bundles:(pull,push|push,pull) user$' tokens-good.out
run bundle push b.nvbundle "$at/public/bundles:one" "${trust[@]}"
status "and pulled" 0 --store m bundle pull "$at/gpu/bundles:one" --cert sign.pem "${trust[@]}"
status "a public one without a password" 0 --store n bundle pull "$at/public/bundles:one" --ca-file ca.pem --cert sign.pem
check "for which a token was asked too" grep -qx 'asked registry of the test repository:public/bundles:pull ' tokens-good.out
slug "which is not enough to push there" 6 registry-denied bundle push b.nvbundle "$at/public/bundles:two" --ca-file ca.pem
slug "nor to pull the other" 6 registry-denied --store o bundle pull "$at/gpu/bundles:one" --ca-file ca.pem
slug "a wrong password is refused by the service" 6 registry-denied --store o bundle pull "$at/gpu/bundles:one" --ca-file ca.pem --auth-file wrong.json
check "and is in no message" sh -c "! grep -qE 'wrong|$(printf user:wrong | base64)' out err"
slug "the service's certificate is looked at" 6 fetch-failed --store o bundle pull "$at/gpu/bundles:one" --auth-file token.json
# Registries allow a minute more than the token says.
with_tokens short https -55
run bundle push b.nvbundle "$at/gpu/bundles:one" "${trust[@]}"
equals "tokens of five seconds are enough" "$rc" 0
cutter down 8000000 1 7
before=$(grep -c asked tokens-short.out)
run --json --store p bundle pull "127.0.0.1:$cut/gpu/bundles:one" "${through[@]}"
equals "one that runs out while a connection is cut is replaced" "$rc $(grep -c cut cutter.out) $(($(grep -c asked tokens-short.out) - before))" "0 1 2"
check "and what had arrived is kept" test "$(received)" -lt $((size + 4000000))
with_tokens plain http 60
slug "no password goes to a service without TLS" 6 registry-answer bundle push b.nvbundle "$at/gpu/bundles:one" "${trust[@]}"
equals "which is not even asked" "$(grep -c asked tokens-plain.out)" 0
check "no message holds the password" sh -c "! grep -rqE 'secret|$(printf user:secret | base64)' out err registry*.log tokens*.out"
finish
