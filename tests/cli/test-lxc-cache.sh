#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The run-file cache by hand: what is added, fetched, listed, checked and cleared, on a machine that is a directory.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
root=$work/root
cache=$root/usr/local/phoenix_hypervisor/cache
etc=$root/usr/local/phoenix_hypervisor/etc
export NVDRIVER_STORE=$work/store

# A run file of a driver version, large enough to be believed.
run_file() { # VERSION
	rm -rf tree
	mkdir -p tree/kernel
	printf '%s\n' 'NVIDIA Accelerated Graphics Driver for Linux-x86_64' "$1" ' ' 'nvidia ' ' ' ' ' ./kernel/ ./kernel/precompiled/ \
		"libcuda.so.$1 0755 CUDA_LIB NATIVE / MODULE:gpgpu" >tree/.manifest
	head -c 1500000 /dev/urandom >"tree/libcuda.so.$1"
	printf '#!/bin/sh\n' >tree/nvidia-installer
	chmod 755 tree/nvidia-installer
	mkdir -p files
	"$NVDRIVER" runfile pack tree -o "files/NVIDIA-Linux-x86_64-$1.run" --compression none >/dev/null
}
cache() { run --root "$root" lxc cache "$@"; }

mkdir -p "$etc" "$root/proc" "$root/sys" "$root/dev" "$root/lib64"
cp /lib64/ld-linux-x86-64.so.2 "$root/lib64/" # tells the machine
for v in 535.261.03 550.54.14 570.124.06; do run_file $v; done
f=files/NVIDIA-Linux-x86_64-535.261.03.run

cache list
equals "an empty cache" "$rc $(cat out)" "0 "
check "looking makes nothing" test ! -e "$cache"
slug "offline and not there: where to put the file" 6 network-refused-offline --root "$root" --offline lxc cache fetch 535.261.03
check "that place is named" sh -c "grep -q 'lxc cache add' out && grep -q phoenix_hypervisor/cache out"
status "a dry run adds nothing" 0 --root "$root" --dry-run lxc cache add $f
check "nothing at all" test ! -e "$cache/$(basename $f)"
slug "another digest than the one named" 6 fetch-digest-mismatch --root "$root" lxc cache add $f --sha256 "$(printf '0%.0s' $(seq 64))"
cache add $f --sha256 "$(sha256sum $f | cut -d' ' -f1)"
equals "a file brought by hand" "$rc $(cmp $f "$cache/$(basename $f)" && echo same)" "0 same"
cache add $f
equals "once more is nothing new" "$rc $(grep -c already out)" "0 1"
cp $f files/driver.run
status "a file that is not called as a driver is" 2 --root "$root" lxc cache add files/driver.run
cp $f files/NVIDIA-Linux-x86_64-999.99.run
slug "a file of another version than its name" 6 runfile-cache-entry-wrong --root "$root" lxc cache add files/NVIDIA-Linux-x86_64-999.99.run
cache --offline fetch 535.261.03
equals "what is there is used without network" "$rc $(cat out)" "0 $cache/$(basename $f)"

# From where the configuration says.
printf '{"nvidia_runfile_url":"file://%s/files/NVIDIA-Linux-x86_64-550.54.14.run","lxc_configs":{"101":{"features":["nvidia"],"gpu_assignment":"0"}}}' "$work" \
	>"$etc/phoenix_lxc_configs.json"
cache fetch
equals "what the configured containers need" "$rc $(cmp files/NVIDIA-Linux-x86_64-550.54.14.run "$cache/NVIDIA-Linux-x86_64-550.54.14.run" && echo same)" "0 same"
cache verify
equals "all is right" "$rc $(grep -c '  ok$' out)" "0 2"

# Damage that keeps the size.
printf 'XXXXXXXX' | dd of="$cache/NVIDIA-Linux-x86_64-550.54.14.run" bs=1 seek=900000 conv=notrunc 2>/dev/null
cache verify
equals "a changed byte is seen" "$rc $(grep -c 'wrong: its SHA-256' out)" "6 1"
cache fetch 101
equals "and the file is fetched again" "$rc $(cmp files/NVIDIA-Linux-x86_64-550.54.14.run "$cache/NVIDIA-Linux-x86_64-550.54.14.run" && echo same)" "0 same"
check "the wrong one is kept aside" test -e "$cache/NVIDIA-Linux-x86_64-550.54.14.run.bad"

# What nobody needs.
cache add files/NVIDIA-Linux-x86_64-570.124.06.run
mkdir -p "$root/sys/module/nvidia"
echo 535.261.03 >"$root/sys/module/nvidia/version"
before=$(ls "$cache")
run --root "$root" --dry-run lxc cache prune
equals "a dry run removes nothing" "$rc $(ls "$cache")" "0 $before"
cache prune
equals "prune keeps the host's and the containers'" "$rc $(cd "$cache" && echo ./*.run*)" \
	"0 ./NVIDIA-Linux-x86_64-535.261.03.run ./NVIDIA-Linux-x86_64-535.261.03.run.meta ./NVIDIA-Linux-x86_64-550.54.14.run ./NVIDIA-Linux-x86_64-550.54.14.run.meta"
run --json --root "$root" lxc cache list
check "as JSON" python3 -c 'import json,sys; o=json.load(open("out")); assert [e["version"] for e in o["entries"]]==["535.261.03","550.54.14"] and o["schema"]=="nvdriver.lxc-cache-list/1"'
status "a word that is none" 2 --root "$root" lxc cache eat
status "add without a file" 2 --root "$root" lxc cache add
finish
