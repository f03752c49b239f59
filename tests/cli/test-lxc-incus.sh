#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The lxc verbs through Incus on a machine that is a directory, with a stand-in for its client; the real daemon of LXD is in
# tests/real/lxc-lxd.sh.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

export NVDRIVER_STORE=$work/store
root=$work/host
state=$root/var/lib/incus/instances.json

machine() {
	rm -rf "$root" "$work/store"
	mkdir -p "$root"/{proc/driver/nvidia/gpus/0000:01:00.0,sys,dev,run,bin,etc/nvdriver,usr/bin,var/lib/incus,var/lib/lxc}
	cp "$SRCDIR/tests/lib/incus" "$root/usr/bin/incus"
	cp /bin/true "$root/bin/sh"
	: >"$root/var/lib/incus/unix.socket"
	printf '[lxc]\nincus = %s/usr/bin/incus\npct = %s/no-pct\nlxcpath = %s/var/lib/lxc\nnode-wait = 1\npause = 1\nstart-timeout = 2\n' "$root" "$root" "$root" >"$root/etc/nvdriver/nvdriver.conf"
	echo 'NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.261.03  x' >"$root/proc/driver/nvidia/version"
	printf 'Bus Location: \t 0000:01:00.0\nDevice Minor: \t 0\n' >"$root/proc/driver/nvidia/gpus/0000:01:00.0/information"
	printf 'Character devices:\n195 nvidia\n499 nvidia-uvm\n\nBlock devices:\n' >"$root/proc/devices"
	cat >"$state" <<'J'
{"c1": {"status": "Stopped", "config": {"security.privileged": "false"}, "devices": {"data": {"type": "disk", "source": "/srv", "path": "/srv"}}},
 "vm1": {"status": "Stopped", "type": "virtual-machine"}}
J
	cp "$state" "$work/before"
}
lxc() { run --root "$root" lxc "$@"; }
devices() { python3 -c "
import json
d = json.load(open('$state'))['c1'].get('devices', {})
for k in sorted(d): print(k, ' '.join('%s=%s' % kv for kv in sorted(d[k].items())))"; }

if [ "$(id -u)" != 0 ]; then
	skip "the lxc verbs through Incus" "making device nodes needs root"
	finish
fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { skip "the lxc verbs through Incus" "the stand-in needs python 3.10"; finish; }

# -- which manager --
machine
devices >"$work/devices.before"
lxc devices c1
equals "a daemon's socket and client choose Incus" "$rc $(grep -c 'device add c1' "$root/run/incus.log")" "0 4"
equals "devices are the host's nodes, open to all inside" "$(devices | grep -c 'mode=0666 path=/dev/nvidia[^ ]* required=false source=/dev/nvidia[^ ]* type=unix-char')" 4
check "those of somebody else stay" grep -q '"data"' "$state"
: >"$root/run/incus.log"
cp "$state" "$work/once"
lxc devices c1
equals "a second run" "$rc $(grep -vc '^query' "$root/run/incus.log")" "0 0"
check "changes nothing" cmp "$state" "$work/once"
lxc status --json
check "status" grep -q '"id": "c1"' "$work/out"
lxc remove c1
equals "remove takes the devices away" "$(devices | diff "$work/devices.before" -)" ""
machine
mkdir -p "$root/var/lib/lxc/old"
: >"$root/var/lib/lxc/old/config"
slug "containers of LXC itself come first" 5 container-unknown --root "$root" lxc devices c1
lxc devices c1 --backend incus
equals "unless Incus is named" "$rc" 0
machine
rm "$root/var/lib/incus/unix.socket"
slug "no daemon, no choice" 5 container-unknown --root "$root" lxc devices c1

# -- what goes wrong --
machine
slug "no such container" 5 container-unknown --root "$root" lxc devices nope
slug "a name that would be an option" 3 container-config-invalid --root "$root" lxc devices --backend incus -- --force
slug "a name that would be another server's" 5 container-unknown --root "$root" lxc devices other:c1
touch "$root/run/incus-down"
slug "the daemon does not answer" 5 container-backend-unusable --root "$root" lxc devices c1
rm "$root/run/incus-down"
touch "$root/run/incus-full"
slug "a device cannot be added" 5 container-backend-unusable --root "$root" lxc devices c1
equals "what was added before is taken away" "$(devices | diff "$work/devices.before" -)" ""
rm "$root/run/incus-full"
lxc devices c1
equals "the next run converges" "$rc" 0

# -- devices a profile gives, and the manager's own driver --
machine
python3 - "$state" <<'P'
import json, sys
o = json.load(open(sys.argv[1]))
o["c1"]["profile_devices"] = {"gpu": {"type": "unix-char", "source": "/dev/nvidia0", "path": "/dev/nvidia0", "mode": "0666"}}
json.dump(o, open(sys.argv[1], "w"))
P
lxc devices c1
equals "what a profile gives is not given twice" "$rc $(devices | grep -c 'source=/dev/nvidia0 ') $(devices | grep -c unix-char)" "0 0 3"
machine
machine
lxc devices c1 --snapshot before
equals "a snapshot before anything is changed" "$rc $(grep -E -m1 -o 'snapshot create c1 before|device add' "$root/run/incus.log")" "0 snapshot create c1 before"
profile() { # DEVICE
	machine
	python3 - "$state" "$1" <<'P'
import json, sys
o = json.load(open(sys.argv[1]))
o["c1"]["profile_devices"] = {"gpu": json.loads(sys.argv[2])}
json.dump(o, open(sys.argv[1], "w"))
P
	cp "$state" "$work/before"
}
profile '{"type": "gpu", "mode": "0666"}'
lxc devices c1
equals "a device of type gpu gives all its nodes" "$rc $(cmp "$state" "$work/before" && echo same)" "0 same"
lxc verify c1 --json
check "which is no drift" sh -c "! grep -q 'the configuration lacks: dev' '$work/out'"
profile '{"type": "gpu", "pci": "0000:02:00.0"}'
lxc devices c1
equals "one of another card only the common ones" "$rc $(devices | grep -c unix-char) $(devices | grep -c 'source=/dev/nvidia0 ')" "0 1 1"
machine
sed -i 's/"security.privileged"/"nvidia.runtime": "true", "security.privileged"/' "$state"
cp "$state" "$work/before"
lxc install c1
equals "nvidia.runtime owns the driver: only looked at" "$rc $(grep -c 'nvidia.runtime' "$work/out")" "0 1"
check "and nothing changed" cmp "$state" "$work/before"
finish
