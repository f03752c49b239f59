#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Looking after real LXC containers: whether CUDA starts inside, clones, and what hooks and the boot unit do.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
# shellcheck source=tests/cli/lib.sh
. "$top/tests/cli/lib.sh"
# shellcheck source=tests/lib/lxc-machine.sh
. "$top/tests/lib/lxc-machine.sh"
machine_or_skip
finding() { python3 -c "
import json, sys
for c in json.load(open('$work/out'))['containers']:
    for p in c.get('problems', []): print(p['level'], p['slug'], p['problem'])"; }

# -- does CUDA start? The driver's own library says: there is no GPU here --
container c1
install c1
equals "a container" "$rc" 0
tmp_before=$(inside c1 ls -A /tmp)
run --root "$host" lxc verify c1 --level static --cuda-init --json
equals "verify --cuda-init finds it" "$rc" 10
check "by the number cuInit() really returned" grep -q '"cuda_init": 100' "$work/out"
check "with a sentence about it" sh -c "grep -q 'cuInit(0) = 100: no GPU' '$work/out'"
equals "and leaves nothing inside" "$(inside c1 ls -A /tmp)" "$tmp_before"
# A library that answers otherwise comes first on the loader's path: what is reported is what the loader takes.
if command -v gcc >/dev/null; then
	for result in 0 803; do
		gcc -shared -fPIC -nostdlib -DRESULT=$result -Wl,-soname,libcuda.so.1 -o "$lxcpath/c1/rootfs/usr/local/lib/libcuda.so.1" "$top/src/roles/lxc/probe/libcuda.c"
		inside c1 sh -c 'echo /usr/local/lib >/etc/ld.so.conf.d/00-a.conf; ldconfig'
		run --root "$host" lxc verify c1 --level static --cuda-init --json
		equals "cuInit() answers $result" "$(grep -o '"cuda_init": [0-9]*' "$work/out")" "\"cuda_init\": $result"
	done
	equals "803 is a mismatch" "$rc $(grep -c 'container-driver-mismatch' "$work/out")" "8 1"
	inside c1 rm /usr/local/lib/libcuda.so.1 /etc/ld.so.conf.d/00-a.conf
fi
inside c1 sh -c 'rm /etc/ld.so.conf.d/00-nvdriver.conf; ldconfig'
run --root "$host" lxc verify c1 --level static --cuda-init --json
check "no library is told apart from a driver that fails" grep -q "the loader does not find libcuda.so.1" "$work/out"
install c1
equals "installing again repairs that" "$rc" 0
lxc-stop -k -P "$lxcpath" -n c1
run --root "$host" lxc verify c1 --level static --cuda-init --json
equals "of a stopped container it cannot be told" "$rc $(finding | grep -c 'not running')" "10 1"
lxc-start -P "$lxcpath" -n c1

# -- a boot, and LXC's hooks --
live=$host/run/nvdriver/live
boot() { # what a boot takes away
	lxc-stop -k -P "$lxcpath" -n c1
	umount -l "$live"
	rm -rf "$host"/dev/nvidia*
}
boot
run --root "$host" lxc sync --boot
equals "sync --boot" "$rc" 0
lxc-start -P "$lxcpath" -n c1
equals "a container that starts then" "$?" 0
inside c1 nvidia-smi >"$work/smi" 2>&1
equals "has its driver" "$?" 9
inside c1 sh -c 'exec 3<>/dev/nvidia0' 2>"$work/open"
check "and its device" grep -qi "no such device" "$work/open"

for hook in pre-start start-host; do
	echo "lxc.hook.$hook = env NVDRIVER_STORE=$NVDRIVER_STORE $NVDRIVER --root $host --log-file $work/hook.log hook lxc" >>"$lxcpath/c1/config"
done
boot
lxc-start -P "$lxcpath" -n c1 -l INFO -o "$work/lxc.log"
equals "a container with our hooks starts after a boot without the unit" "$?" 0
check "the pre-start hook made the nodes" test -c "$host/dev/nvidia-uvm"
inside c1 nvidia-smi >"$work/smi" 2>&1
equals "and the driver" "$?" 9
lxc-stop -k -P "$lxcpath" -n c1
sed -i 's/^lxc.hook.start-host.*/&/; s|^lxc.include = .*/devices.conf|#&|' "$lxcpath/c1/config"
lxc-start -P "$lxcpath" -n c1
check "the start-host hook says which devices are missing" grep -q 'container c1: /dev/nvidia0: missing' "$work/hook.log"
lxc-stop -k -P "$lxcpath" -n c1
sed -i 's|^#\(lxc.include = .*/devices.conf\)|\1|' "$lxcpath/c1/config"
sed -i "s/$version/550.54.14/" "$host/proc/driver/nvidia/version"
lxc-start -P "$lxcpath" -n c1 2>/dev/null
check "a start with another driver than the host's is refused" test "$?" != 0
equals "the container does not run" "$(lxc-info -P "$lxcpath" -n c1 -sH)" STOPPED
sed -i "s/550.54.14/$version/" "$host/proc/driver/nvidia/version"
sed -i '/^lxc.hook/d' "$lxcpath/c1/config"

# -- nodes the host does not give to everybody --
run --root "$host" lxc remove c1
printf 'DeviceFileUID: 0\nDeviceFileGID: 0\nDeviceFileMode: 384\n' >"$host/proc/driver/nvidia/params"
rm -rf "$host"/dev/nvidia*
install c1
equals "a host whose nodes are 0600" "$rc $(stat -c %a "$host/dev/nvidia0")" "0 600"
run --root "$host" lxc verify c1 --level device --json
equals "an ordinary user inside gets through to the driver, which is not there" "$(finding | grep -c 'belongs to no loaded driver')" 3
equals "and is not refused" "$(finding | grep -cE 'refused by|missing')" 0
finish
