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
cgroups_or_skip
machine_or_skip
finding() { python3 -c "
import json, sys
for c in json.load(open('$work/out'))['containers']:
    for p in c.get('problems', []): print(p['level'], p['slug'], p['problem'])"; }

# -- one line of all that matters --
container c0
install c0
mkdir -p "$lxcpath/c0/rootfs/usr/local/cuda-12.8/bin"
: >"$lxcpath/c0/rootfs/usr/local/cuda-12.8/bin/nvcc"
ln -s cuda-12.8 "$lxcpath/c0/rootfs/usr/local/cuda"
run --root "$host" lxc status c0
equals "status: versions inside, loaded and wanted, the toolkit, delivery, GPUs" "$(awk '$1=="c0"{$1=$1;print}' "$work/out")" \
	"c0 c0 running $version $version $version 12.8 shared 1 healthy"
rm "$lxcpath/c0/rootfs/usr/local/cuda"
ln -s /proc/self/root/usr/local/cuda-12.8 "$lxcpath/c0/rootfs/usr/local/cuda"
run --root "$host" lxc status c0
equals "status: a link through /proc is followed nowhere" "$(awk '$1=="c0"{print $7}' "$work/out")" "-"
# CUDA's compatibility libraries, as some images have them: before the driver's on the loader's path
ct=$lxcpath/c0/rootfs
mkdir "$ct/usr/local/cuda-12.8/compat"
inside c0 sh -c 'cp /usr/lib/nvdriver/current/lib/libcuda.so.1 /usr/local/cuda-12.8/compat/libcuda.so.1; echo /usr/local/cuda-12.8/compat >/etc/ld.so.conf.d/00-compat.conf; ldconfig'
run --root "$host" lxc verify c0 --level static
check "they are reported" grep -q "shadows the driver's libcuda.so.1" "$work/out"
install c0 --compat
equals "and refused where they are to stay" "$rc $(cat "$ct/etc/ld.so.conf.d/00-compat.conf")" "7 /usr/local/cuda-12.8/compat"
install c0
equals "an installation keeps them from the loader" "$rc $(inside c0 ldconfig -p | grep -c cuda-12.8/compat)" "0 0"
run --root "$host" lxc verify c0 --level static
equals "which heals it" "$rc" 0
install c0
check "once" grep -q 'nothing to do' "$work/out"
run --root "$host" lxc remove c0
equals "removal gives the loader's configuration back" "$(cat "$ct/etc/ld.so.conf.d/00-compat.conf")" /usr/local/cuda-12.8/compat
lxc-stop -k -P "$lxcpath" -n c0

# -- what one container has beyond computing the others neither lose nor take away --
container g1
container g2
mkdir -p "$host/run/nvidia-persistenced"
python3 -c "
import socket
s = socket.socket(socket.AF_UNIX)
s.bind('$host/run/nvidia-persistenced/socket')
s.listen()
while True: s.accept()[0].sendall(b'here\n')" &
daemon=$!
for _ in $(seq 100); do [ ! -S "$host/run/nvidia-persistenced/socket" ] || break; sleep 0.1; done
install g1 --graphics --sockets
equals "graphics, and the sockets of the host's daemons" "$rc $(readlink "$lxcpath/g1/rootfs/etc/vulkan/icd.d/nvidia_icd.json")" "0 /usr/lib/nvdriver/current/share/vulkan/icd.d/nvidia_icd.json"
equals "a daemon of the host answers inside" "$(inside g1 perl -MIO::Socket::UNIX -e 'print IO::Socket::UNIX->new("/run/nvidia-persistenced/socket")->getline')" here
equals "through a mount that is good for nothing else" "$(inside g1 grep -o ' /run/nvidia-persistenced/socket r[^ ]*' /proc/self/mountinfo | tr , '\n' | grep -cE 'nosuid|nodev|noexec')" 3
with=$(readlink "$host/run/nvdriver/live/current")
install g2
equals "a container without is installed" "$rc $(readlink "$host/run/nvdriver/live/current")" "0 $with"
check "and the first keeps its libraries" inside g1 test -e /usr/lib/nvdriver/current/share/vulkan/icd.d/nvidia_icd.json
run --root "$host" lxc sync
equals "sync keeps them" "$rc $(readlink "$host/run/nvdriver/live/current")" "0 $with"
kill $daemon
wait $daemon 2>/dev/null
for c in g1 g2; do
	run --root "$host" lxc remove $c
	lxc-stop -k -P "$lxcpath" -n $c
done
check "the configuration is as before" sh -c "! grep -q nvidia '$lxcpath/g1/config'"

# -- what somebody takes away inside is found without a program, and repaired --
container d1
install d1
run --root "$host" lxc verify d1 --level static
equals "nobody changed anything" "$rc" 0
ct=$lxcpath/d1/rootfs
rm "$ct/etc/OpenCL/vendors/nvidia.icd"
run --root "$host" lxc verify d1 --level static --json
equals "a link is gone: drift" "$rc $(finding | grep -c 'configuration .*would again: write links')" "10 1"
lxc-stop -k -P "$lxcpath" -n d1
run --root "$host" lxc status d1
equals "also in a stopped container" "$(awk '$1=="d1"{print $NF}' "$work/out")" drift
run --root "$host" lxc verify d1 --level static --fix
install d1
equals "repaired" "$rc $(readlink "$ct/etc/OpenCL/vendors/nvidia.icd")" "0 /usr/lib/nvdriver/current/share/OpenCL/vendors/nvidia.icd"
mkdir -p "$ct/usr/local/cuda-12.8/bin"
: >"$ct/usr/local/cuda-12.8/bin/nvcc"
ln -s cuda-12.8 "$ct/usr/local/cuda"
install d1
run --root "$host" lxc verify d1 --level static
equals "a toolkit that is there" "$rc" 0
rm "$ct/usr/local/cuda"
run --root "$host" lxc verify d1 --level static --json
equals "and gone: drift" "$rc $(finding | grep -c 'toolkit 12.8 that was installed is gone')" "10 1"
install d1
run --root "$host" lxc remove d1
lxc-stop -k -P "$lxcpath" -n d1

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

# -- a clone: the files and the configuration of c1, made while its devices had another number --
mkdir -p "$lxcpath/c2"
overlay "$lxcpath/c1/rootfs" "$lxcpath/c2/rootfs"
sed "s|$lxcpath/c1/|$lxcpath/c2/|; s/^lxc.uts.name = c1/lxc.uts.name = c2/" "$lxcpath/c1/config" >"$lxcpath/c2/config"
lxc_names+=(c2)
cp "$lxcpath/c2/config" "$work/c2.config"
run --root "$host" lxc verify c2 --level static --json
equals "a clone is found" "$rc" 10
check "and explained: its files" sh -c "grep -q 'of container c1, of which it is a clone' '$work/out'"
check "and that its devices are another's" sh -c "grep -q 'another container.s devices: lxc.include = .*/lxc-c1/devices.conf' '$work/out'"
install c2
equals "installing repairs it" "$rc" 0
run --root "$host" lxc verify c2 --level static
equals "it is whole then" "$rc" 0
check "with devices of its own" sh -c "grep -q 'lxc-c2/devices.conf' '$lxcpath/c2/config' && ! grep -q lxc-c1 '$lxcpath/c2/config'"
inside c2 nvidia-smi >"$work/smi" 2>&1
equals "and runs" "$?" 9
install c2
check "a second run finds nothing to do" grep -q "nothing to do" "$work/out"
run --root "$host" lxc remove c2
check "remove gives back what it was cloned with" cmp "$lxcpath/c2/config" "$work/c2.config"
lxc-stop -k -P "$lxcpath" -n c2

# -- what is written down --
log=$host/var/log/nvdriver
check "the role's log has every message, timed" grep -qE '^20[0-9-]{8} [0-9:]{8} \[(INFO|WARN|ERROR)\] lxc: ' "$log/lxc.log"
check "each container's log its commands with status and time" grep -qE '^20[0-9-]{8} [0-9:]{8} \[INFO\] lxc-c1: .*: ldconfig - status 0, [0-9]+ ms$' "$log/lxc-c1.log"
check "and their output" grep -qE '\[DEBUG\] lxc-c1: cuInit 100$' "$log/lxc-c1.log"
check "of that container alone" sh -c "! grep -q lxc-c2 '$log/lxc-c1.log'"
equals "for root and its group" "$(stat -c %a "$log/lxc.log" "$log/lxc-c1.log" | tr '\n' ' ')" "640 640 "

# -- nodes the host does not give to everybody --
run --root "$host" lxc remove c1
printf 'DeviceFileUID: 0\nDeviceFileGID: 0\nDeviceFileMode: 384\n' >"$host/proc/driver/nvidia/params"
rm -rf "$host"/dev/nvidia*
install c1
equals "a host whose nodes are 0600" "$rc $(stat -c %a "$host/dev/nvidia0")" "0 600"
run --root "$host" lxc verify c1 --level device --json
equals "an ordinary user inside gets through to the driver, which is not there" "$(finding | grep -c 'belongs to no loaded driver')" 3
equals "and is not refused" "$(finding | grep -cE 'refused by|missing')" 0
# -- a driver out of a registry: no run file on this host --
if command -v docker-registry >/dev/null && command -v curl >/dev/null; then
	package "$version" "$work/NVIDIA-Linux-x86_64-$version.run"
	port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	printf 'version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: %s/registry}\nhttp:\n  addr: 127.0.0.1:%s\n' "$work" "$port" >"$work/registry.yml"
	docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
	registry=$!
	for _ in $(seq 100); do ! curl -s "http://127.0.0.1:$port/v2/" >/dev/null || break; sleep 0.1; done
	status "one host unpacks it" 0 --store "$work/one" prepare "$work/NVIDIA-Linux-x86_64-$version.run" --no-modules
	status "and makes a bundle of the driver alone" 0 --store "$work/one" bundle create --driver "$version" -o "$work/driver.nvbundle"
	run --store "$work/one" bundle push "$work/driver.nvbundle" "127.0.0.1:$port/gpu/drivers" --plain-http
	equals "its tag is the version" "$rc $(cut -d' ' -f1 "$work/out")" "0 127.0.0.1:$port/gpu/drivers:$version"
	equals "an artifact of one layer" "$(curl -s -H 'Accept: application/vnd.oci.image.manifest.v1+json' "http://127.0.0.1:$port/v2/gpu/drivers/manifests/$version" |
		python3 -c 'import json, sys; m = json.load(sys.stdin); print(m["artifactType"], len(m["layers"]))')" "application/vnd.nvdriver.bundle.v1 1"
	status "another host pulls it" 0 --store "$work/two" bundle pull "127.0.0.1:$port/gpu/drivers" --driver "$version" --plain-http
	kill $registry
	wait $registry 2>/dev/null
	export NVDRIVER_STORE=$work/two
	container c9
	run --root "$host" --offline lxc install c9 --level static --allow-missing-devices
	equals "and gives it to a container, without a network or a run file" "$rc" 0
	inside c9 nvidia-smi >"$work/smi" 2>&1
	equals "where it runs" "$?" 9
else
	skip "a driver out of a registry" "no docker-registry"
fi

finish
