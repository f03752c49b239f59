#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The specification for container engines, from the facts of a made machine.
. "$(dirname "$0")/lib.sh"

root=$work/root
store=$work/store
gpu() { # ADDRESS MINOR UUID
	mkdir -p "$root/proc/driver/nvidia/gpus/$1"
	printf 'Model: \t\t Test\nGPU UUID: \t %s\nBus Location: \t %s\nDevice Minor: \t %s\n' "$3" "$1" "$2" \
		>"$root/proc/driver/nvidia/gpus/$1/information"
}
nvd() { run --store "$store" --root "$root" "$@"; }
out=$root/var/run/cdi/nvdriver.json

mkdir -p "$root/proc" "$root/sys/module/nvidia" "$root/dev" "$root/var" "$root/run" "$root/etc/cdi"
mkdir "$root/lib64" && cp /lib64/ld-linux-x86-64.so.2 "$root/lib64/" # tells the machine
ln -s ../run "$root/var/run"
echo 535.261.03 >"$root/sys/module/nvidia/version"
slug "no GPU, nothing written" 4 no-gpu --store "$store" --root "$root" cdi generate
gpu 0000:01:00.0 0 GPU-11111111-aaaa
gpu 0000:41:00.0 1 GPU-22222222-bbbb

nvd --dry-run cdi generate
equals "a dry run writes nothing" "$rc $(test -e "$out" && echo there)" "0 "
nvd cdi generate
equals "writes the file" "$rc $(cat "$work/out")" "0 /var/run/cdi/nvdriver.json written"
check "through the link to /run" test -f "$root/run/cdi/nvdriver.json"
check "it is JSON with the devices and no numbers of nodes" python3 - "$out" <<'END'
import json, sys
spec = json.load(open(sys.argv[1]))
assert spec["cdiVersion"] == "0.5.0" and spec["kind"] == "nvidia.com/gpu"
assert [d["name"] for d in spec["devices"]] == ["0", "GPU-11111111-aaaa", "1", "GPU-22222222-bbbb", "all"]
nodes = [n for d in spec["devices"] for n in d["containerEdits"]["deviceNodes"]] + spec["containerEdits"]["deviceNodes"]
assert all("major" not in n and "minor" not in n for n in nodes)
END
nvd cdi generate
equals "a second run changes nothing" "$rc $(cat "$work/out")" "0 /var/run/cdi/nvdriver.json is up to date"
nvd cdi generate --output - --format yaml
equals "YAML on standard output" "$rc $(grep -c '^"kind": "nvidia.com/gpu"$' "$work/out")" "0 1"
tree_of() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["containerEdits"]["mounts"][0]["hostPath"])' "$1"; }
equals "the tree is the shared directory" "$(tree_of "$out")" /run/nvdriver/live
mkdir -p "$root/run/nvdriver/live/locked/current"
nvd cdi generate
equals "and where there is one, its part that no container can make writable" "$rc $(tree_of "$out")" \
	"0 /run/nvdriver/live/locked"
nvd cdi generate --tree /opt/tree
equals "unless another is named" "$rc $(tree_of "$out")" "0 /opt/tree"
nvd cdi generate
status "an unknown format is a usage error" 2 --store "$store" --root "$root" cdi generate --format toml

printf 'kind: nvidia.com/gpu\ndevices:\n- name: "0"\n' >"$root/etc/cdi/nvidia.yaml"
gpu 0000:81:00.0 2 GPU-33333333-cccc
before=$(sha256sum "$out")
slug "names another file has are refused" 1 cdi-names-taken --store "$store" --root "$root" cdi generate
equals "and nothing is written" "$(sha256sum "$out")" "$before"
nvd cdi generate --force
equals "unless forced" "$rc $(grep -c GPU-33333333 "$out")" "0 1"
nvd undo
equals "undo brings the older one back" "$rc $(sha256sum "$out")" "0 $before"
finish
