#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Setting up a licence server killed at its changes, and failing at each of its commands: after recover and another run it is
# whole, keys that were there are the same, and undo gives the former bytes back. NVDRIVER_TEST_FULL=1 kills at every change.
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
. "$here/vgpu-machines.sh"
. "$here/vgpu-kill.sh"
cd "$work" || exit 1
set_up=(--root "$work/root" --store "$work/store" vgpu license server --yes --timezone UTC)

m_pve9_fresh seed
sed -i 's/"commands": {/"commands": {"hostname -I": {"status": 0, "output": "192.168.7.10"}, "docker compose *": {"status": 1, "output": ""}, "docker pull *": {"status": 0, "output": ""}, "docker image *": {"status": 1, "output": ""}, "docker compose -f *": {"status": 0, "output": ""},/' seed/nvdriver-commands.json
cert=root/opt/docker/fastapi-dls/cert
# Keys differ from run to run: of them only names and modes.
tree() { (cd root && find . ! -path './var/log*' ! -name 'nvdriver-commands.*' ! -path './var/lib/nvdriver*' ! -path './var/lib' \( -type f ! -path '*/cert/*' -exec sha256sum {} + -o -true \) -printf '%p %y %m %l\n' | LC_ALL=C sort); }
fresh() { rm -rf root store; cp -a seed root; }
finishes() { # TEXT: recover, run again, compare, undo
	rc=0
	[ ! -e store/format ] || run --root "$work/root" --store "$work/store" recover
	if [ "$rc" != 0 ]; then not_ok "$1: recover" "$(head -3 err)"; return; fi
	keys=$(sha256sum $cert/* 2>/dev/null)
	"$NVDRIVER" "${set_up[@]}" >out 2>err </dev/null || { not_ok "$1: the next run" "$(head -3 err)"; return; }
	tree >now
	if ! diff new now >difference; then not_ok "$1: ends otherwise" "$(head -8 difference)"; return; fi
	[ -z "$keys" ] || sha256sum -c --quiet <<<"$keys" >difference 2>&1 || { not_ok "$1: a key was replaced" "$(head -3 difference)"; return; }
	[ "$(openssl rsa -in $cert/instance.private.pem -pubout 2>/dev/null)" = "$(cat $cert/instance.public.pem)" ] || { not_ok "$1: the pair is none"; return; }
	run --root "$work/root" --store "$work/store" vgpu undo
	tree >now
	if [ "$rc" = 0 ] && diff old now >difference; then return 0; fi
	not_ok "$1: undo" "$(head -3 err)" "$(head -8 difference)"
}

undisturbed "a licence server" "${set_up[@]}"
killed_at_changes "a licence server" 6 "${set_up[@]}"

bad=$tap_failed
for command in 'apt-get install \*' 'docker pull \*' 'docker compose -f \*'; do
	fresh
	sed -i "s,\"$command\": {\"status\": 0,\"$command\": {\"status\": 1," root/nvdriver-commands.json
	"$NVDRIVER" "${set_up[@]}" >out 2>err </dev/null
	failed=$?
	cp seed/nvdriver-commands.json root/
	if [ "$failed" = 0 ]; then not_ok "$command failed, and nothing was said"; else finishes "$command failed"; fi
done
equals "each command failed once" "$((tap_failed - bad))" 0
finish
