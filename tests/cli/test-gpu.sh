#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The GPU verbs over a made machine, compared with what they shall print; the table they read, against its rules.
. "$(dirname "$0")/lib.sh"

cd "$work" || exit 1
device() { # ADDRESS VENDOR DEVICE CLASS
	local d=root/sys/bus/pci/devices/$1
	mkdir -p "$d"
	echo "$2" >"$d/vendor"
	echo "$3" >"$d/device"
	echo "$4" >"$d/class"
	echo 0x1043 >"$d/subsystem_vendor"
	echo 0x88e2 >"$d/subsystem_device"
}
# golden TEXT: standard output against the text on standard input
golden() {
	cat >want
	if cmp -s want out; then ok "$1"; else not_ok "$1" "$(diff want out | head -8)"; fi
}

mkdir -p root/sys/bus/pci/drivers/nvidia
device 0000:01:00.0 0x10de 0x2684 0x030000
ln -s ../../drivers/nvidia root/sys/bus/pci/devices/0000:01:00.0/driver
device 0000:01:00.1 0x10de 0x22ba 0x040300 # its sound controller
device 0000:02:00.0 0x1002 0x73bf 0x030000
device 0000:41:00.0 0x10de 0xfffe 0x030200
before=$(find root | sort | md5sum)

status "list" 0 --root root gpu list
golden "list prints the GPUs and nothing else" <<'END'
0000:01:00.0  10de:2684  GeForce RTX 4090                     AD102    Ada            driver nvidia     vGPU No
0000:41:00.0  10de:fffe  unknown device                       ?        ?              driver none       vGPU Unknown
END
status "list as JSON" 0 --json --root root gpu list
golden "list as JSON: one object a GPU, null for what is not known" <<'END'
{
  "gpus": [
    {
      "address": "0000:01:00.0",
      "architecture": "Ada",
      "chip": "AD102",
      "device_id": "2684",
      "driver": "nvidia",
      "name": "GeForce RTX 4090",
      "subsystem_device_id": "88e2",
      "subsystem_vendor_id": "1043",
      "vendor_id": "10de",
      "vgpu": "No",
      "vgpu_branches": null
    },
    {
      "address": "0000:41:00.0",
      "architecture": null,
      "chip": null,
      "device_id": "fffe",
      "driver": null,
      "name": null,
      "subsystem_device_id": "88e2",
      "subsystem_vendor_id": "1043",
      "vendor_id": "10de",
      "vgpu": "Unknown",
      "vgpu_branches": null
    }
  ],
  "schema": "nvdriver.gpu-list/1"
}
END
mkdir -p none/sys
status "list of a machine without PCI" 0 --root none gpu list
golden "says that there is none" <<'END'
no NVIDIA GPU in none
END
equals "listing changes nothing" "$(find root | sort | md5sum)" "$before"

for id in 26b5 0x26b5 10de:26b5 26B5; do
	status "info $id" 0 gpu info $id
	golden "info $id prints what the table says" <<'END'
device        10de:26b5
name          L40
chip          AD102
architecture  Ada
vGPU          Native
branches      20;19;18;17;16;15
END
done
status "info as JSON" 0 --json gpu info 26b5
golden "info as JSON" <<'END'
{
  "architecture": "Ada",
  "chip": "AD102",
  "device_id": "26b5",
  "name": "L40",
  "schema": "nvdriver.gpu-info/1",
  "vendor_id": "10de",
  "vgpu": "Native",
  "vgpu_branches": "20;19;18;17;16;15"
}
END
slug "info of an unknown device" 1 gpu-unknown gpu info fffe
slug "info of no device id" 2 usage gpu info GeForce
slug "info of another vendor's device" 2 usage gpu info 1002:73bf

status "export" 0 gpu export
equals "export begins with its header" "$(head -1 out)" "vendor,device,name,chip,architecture,vgpu,vgpu_branches"
csv=$SRCDIR/data/gpus.csv
equals "export has every row" "$(($(wc -l <out) - 1))" "$(grep -c '^10de,' "$csv")"
status "export as JSON" 0 --json gpu export
equals "export as JSON has every row" "$(grep -c '"device_id"' out)" "$(grep -c '^10de,' "$csv")"

# -- the table
rows() { grep '^10de,' "$csv"; }
# rule TEXT AWK: no row for which the expression holds; its lines are shown
rule() {
	local bad
	bad=$(rows | awk -F, "$2" | head -3)
	if [ -z "$bad" ]; then ok "table: $1"; else not_ok "table: $1" "$bad"; fi
}
equals "table: nothing but comments, the header and rows" "$(grep -vc '^\(#\|10de,\)' "$csv")" 1
rule "eight fields, no quotes" 'NF != 8 || /"/'
rule "ids are four lower-case hexadecimal digits" '$2 !~ /^[0-9a-f][0-9a-f][0-9a-f][0-9a-f]$/'
rule "ids are unique and in order" '$2 <= last { print } { last = $2 }'
rule "every device has a name" '$3 ~ /^ *$/'
rule "chips are those that exist" '$4 !~ /^(GK1(04|06|07|10|80)|GK20[8]|GK210|GM10[78]|GM20[046]|GP10[024678]|GV100|TU10[246]|TU11[67]|GA10[0234670]|GH100|AD10[23467]|GB1(00|10)|GB20[23567])$/'
rule "the chip says the architecture" 'BEGIN { split("GK Kepler GM Maxwell GP Pascal GV Volta TU Turing GA Ampere GH Hopper AD Ada GB Blackwell", w, " ")
	for (i = 1; i in w; i += 2) of[w[i]] = w[i + 1] } $5 != of[substr($4, 1, 2)]'
rule "vGPU support is native, unlock or none" '$6 !~ /^(native|unlock|none)$/'
rule "branches are there when there is support, and only then" '($6 == "none") != ($7 == "")'
rule "branches are numbers, the newest first" '{ n = split($7, b, ";"); for (i = 1; i <= n; i++) if (b[i] !~ /^[0-9]+$/ || (i > 1 && b[i] + 0 >= b[i - 1] + 0)) { print; next } }'
rule "the basis is named" '$8 == ""'
check "table: corrections are what the table has" awk -F, '
	FNR == NR { if (/^10de,/) row[$2] = "," $0 ","; next }
	/^#/ || /^device,/ { next }
	$2 == "row" ? ($4 == "added") != ($1 in row) : $2 != "name" && !index(row[$1], "," $4 ",") { print; bad = 1 }
	END { exit bad }' "$csv" "$SRCDIR/data/gpus-corrections.csv"
finish
