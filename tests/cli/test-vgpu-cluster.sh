#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# vgpu cluster: nodes over ssh, one after the other, looked at in between. The recording answers for ssh.
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
. "$here/vgpu-machines.sh"
cd "$work" || exit 1
root=$work/a
m_pve8_fresh "$root"
mkdir -p "$root/etc/pve/nodes/"{pve1,pve2,pve3}
touch "$root/etc/pve/nodes/pve2/ssh_known_hosts"
echo '{ "nodename": "pve1", "nodelist": { "pve1": { "ip": "10.0.0.1" }, "pve2": { "ip": "10.0.0.2" } } }' >"$root/etc/pve/.members"
cat >nodes.py <<'END'
import json, sys
d = json.load(open(sys.argv[1]))
ssh = {"pve1": "ssh -e none -o BatchMode=yes -oHostKeyAlias=pve1 root@10.0.0.1",
       "pve2": "ssh -e none -o BatchMode=yes -oHostKeyAlias=pve2 -oUserKnownHostsFile=/etc/pve/nodes/pve2/ssh_known_hosts -o GlobalKnownHostsFile=none root@10.0.0.2",
       "pve3": "ssh -e none -o BatchMode=yes -oHostKeyAlias=pve3 root@pve3"}
for word in sys.argv[2:]:
    node, driver, status = word.split("=")
    answer = json.dumps({"pve_version": "8.2.4", "kernel": "6.8", "branch": "17.6", "driver_version": driver or None})
    d["commands"][ssh[node] + " nvdriver --json vgpu status"] = {"status": 255 if status == "255" else 0, "output": answer}
    d["commands"][ssh[node] + " nvdriver --json vgpu step *"] = {"status": int(status), "output": json.dumps({"reboot_required": True} if status == "0" else {"reason": "no card"})}
json.dump(d, open(sys.argv[1], "w"))
END
nodes() { python3 nodes.py "$root/nvdriver-commands.json" "$@"; : >"$root/nvdriver-commands.log"; }
nv() { run --root "$root" --store "$work/store" "$@"; }
stepped() { sed -n 's/.*root@\([^ ]*\) .*vgpu step.*/\1/p' "$root/nvdriver-commands.log" | xargs; }

nodes pve1=550.163.02=0 pve2=550.163.02=0 pve3=550.163.02=0
nv --json vgpu cluster
equals "equal drivers" "$rc $(python3 -c 'import json; d = json.load(open("out")); print(d["versions_equal"], [n["node"] for n in d["nodes"]])')" "0 True ['pve1', 'pve2', 'pve3']"
nodes pve1=550.163.02=0 pve2=550.144.02=0 pve3=550.163.02=0
nv vgpu cluster status
equals "different ones are a finding" "$rc" 10
check "that says why" grep -q 'moves between equal ones only' out
nv vgpu cluster step1 --branch 17.6 --answers /etc/pve/priv/vgpu.json
equals "a step on all" "$rc" 0
equals "one after the other, by the addresses the cluster has" "$(stepped)" "10.0.0.1 10.0.0.2 pve3"
check "with the branch and the answers" grep -q 'vgpu step 1 --yes --branch 17.6 --answers /etc/pve/priv/vgpu.json$' "$root/nvdriver-commands.log"
check "each is looked at before the next" test "$(grep -n 'root@10.0.0.1 nvdriver --json vgpu status' "$root/nvdriver-commands.log" | tail -1 | cut -d: -f1)" -lt "$(grep -n 'root@10.0.0.2 nvdriver --json vgpu step' "$root/nvdriver-commands.log" | cut -d: -f1)"
check "what needs a reboot is named" grep -q '^pve2 *needs a reboot' out
nodes pve1=550.163.02=0 pve2==4 pve3=550.163.02=0
slug "a node that fails" 5 cluster-node-failed --root "$root" --store store vgpu cluster step2
equals "ends it there" "$(stepped)" "10.0.0.1 10.0.0.2"
check "with its reason" grep -q 'pve2: it ended there with a failure: no card' out
nodes pve1=550.163.02=0 pve2==255 pve3=550.163.02=0
slug "a node that is not reached" 5 cluster-node-failed --root "$root" --store store vgpu cluster
nv vgpu cluster step1 --node pve3 --node pve1
equals "nodes that are named, in that order" "$(stepped)" "pve3 10.0.0.1"
slug "a name that is none" 2 usage --root "$root" --store store vgpu cluster --node '-oProxyCommand=x'
slug "words for a shell there" 2 usage --root "$root" --store store vgpu cluster step1 --answers '/x;reboot'
slug "another action" 2 usage --root "$root" --store store vgpu cluster destroy
rm -r "$root/etc/pve"
slug "no cluster" 5 cluster-node-failed --root "$root" --store store vgpu cluster
finish
