# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
version=535.77.01

dmesg -n 1
echo "systemd is process 1: $(cat /proc/1/comm), up $(cut -d' ' -f1 /proc/uptime) s"
is "the node's root is a shared mount" "$(awk '$5 == "/"' /proc/self/mountinfo | grep -c shared:)" 1
mkdir -p /var/lib/nvdriver /srv/store/up /srv/store/work /run/nvidia
mount -t overlay -o lowerdir=/bed/store,upperdir=/srv/store/up,workdir=/srv/store/work overlay /var/lib/nvdriver ||
	not_ok "the bed: a store"
insmod /bed/modules/fakegpu.ko ids=0x20b510de,0x000115b3 domain=0 busnr=0x41 ||
	not_ok "the bed: a card and a network adapter"
insmod /bed/modules/mlx5_core.ko
echo /opt/found >$firmware # what somebody left there, with its newline
mknod /dev/nvidia0 c 195 0
# A GPU workload that was there before: its mounts follow the node's.
unshare --mount --propagation slave sleep 100000 &
consumer=$!
VARIABLES="-e DRIVER_VERSION=$version -e GPU_DIRECT_RDMA_ENABLED=true"

echo "hostile PID files, at $(uptime_s) s"
cp /etc/passwd /tmp/passwd
ln -s /etc/passwd $pidfile
start link /bed/container init
ended "a PID file that is a link is refused" link 1
has "and named" "$(said link)" nvidia-driver.pid
is "what it leads to is untouched" "$(cat /etc/passwd)" "$(cat /tmp/passwd)"
is "and nothing is loaded" "$(nvidia_modules)" ""
rm $pidfile
discard link
mounts_before=$(mounts)
sleep 100000 &
foreign=$!
echo $foreign >$pidfile

echo "cold start with a prepared store"
from=$(cut -d' ' -f1 /proc/uptime)
start one /bed/container init
ready "the driver gets ready" one
echo "from podman run to ready: $(cut -d' ' -f1 /proc/uptime | awk -v from="$from" '{ print $1 - from }') s"
is "nothing was built" "$(said one | grep -c 'nothing to build')" 1
if kill -0 $foreign; then ok "the process a stale PID file names is left alone"; else not_ok "the process of a stale PID file is gone"; fi
pid=$(cat $pidfile)
[ "$(state)" = ready ] || finish
is "the PID file names the entrypoint" "$(cat "/proc/$pid/comm")" nvidia-driver
is "load order" "$(nvidia_modules)" "nvidia nvidia_uvm nvidia_modeset nvidia_peermem"
is "a parameter with CR and comment lines around it" "$(cat /sys/module/nvidia/parameters/NVreg_EnableGpuFirmware)" 18
is "a quoted parameter" "$(cat /sys/module/nvidia/parameters/NVreg_RegistryDwords)" "a=1;b=2"
is "one in a line without an end" "$(cat /sys/module/nvidia_uvm/parameters/uvm_debug_prints)" 1
is "one of the peer-memory module" "$(cat /sys/module/nvidia_peermem/parameters/peerdirect_support)" 1
is "the firmware search path" "$(cat $firmware)" /run/nvidia/driver/lib/firmware
has "leads to the firmware" "$(ls /run/nvidia/driver/lib/firmware/nvidia/$version)" gsp_tu10x.bin
has "the daemon runs and has a card open" "$(ls -l "/proc/$(cat "/proc/$pid/root/run/nvidia-persistenced/nvidia-persistenced.pid")/fd")" /dev/nvidia0
is "the startup probe's word" "$(cat /run/nvidia/validations/.driver-daemons-status)" Ready

echo "export"
is "the node sees one mount of the container's root" "$(exports)" 1
is "with the user space" "$(chroot /run/nvidia/driver /usr/bin/nvidia-smi)" stand-in
has "the module sources with Module.symvers" "$(ls /run/nvidia/driver/usr/src/nvidia-$version/kernel-open)" Module.symvers
has "proc and dev" "$(ls -d /run/nvidia/driver/proc/self /run/nvidia/driver/dev/null)" /run/nvidia/driver/dev/null
is "and nothing of sysfs below its top" "$(grep -c ' /run/nvidia/driver/sys/' /proc/self/mountinfo)" 0
is "it is shared" "$(awk '$5 == "/run/nvidia/driver"' /proc/self/mountinfo | grep -c shared:)" 1
is "a workload that was there before sees it" "$(cat /proc/$consumer/root/run/nvidia/driver/etc/modprobe.d/nvidia-uvm.conf | tail -n 1)" \
	"options nvidia-uvm uvm_debug_prints=1"
is "the container keeps its own proc" "$(cat "/proc/$pid/root/proc/$pid/comm")" nvidia-driver

echo "two at once"
start two /bed/container init
ended "a second one ends with 1" two 1
has "naming the first" "$(said two)" "process $pid"
is "which goes on" "$(state) $(cat $pidfile) $(exports)" "ready $pid 1"
umount /srv/two/root

echo "end while the driver is in use"
kernel_log >/dev/null
exec 3</dev/nvidia0
kill -TERM "$pid"
if until_ok 30 log_has one "cannot end yet"; then ok "it waits"; else not_ok "it waits" "$(said one)"; fi
has "naming who has the driver" "$(said one)" "process $$, /dev/nvidia0"
is "and everything is in place" "$(nvidia_modules) $(exports)" "nvidia nvidia_uvm nvidia_modeset nvidia_peermem 1"
exec 3<&-
ended "once it is free the container ends with 0" one 0
is "unload order" "$(removed | awk '{ print $1, $NF }')" "nvidia_peermem nvidia"
is "the workload's view is empty again" "$(ls "/proc/$consumer/root/run/nvidia/driver")" ""
discard one
clean "after TERM"

echo "killed"
VARIABLES="-e DRIVER_VERSION=$version"
from=$(cut -d' ' -f1 /proc/uptime)
start three /bed/container init
ready "a warm start gets ready" three
echo "from podman run to ready: $(cut -d' ' -f1 /proc/uptime | awk -v from="$from" '{ print $1 - from }') s"
P kill -s KILL three >/dev/null
until_ok 60 exit_status three >/dev/null
is "modules and export stay" "$(nvidia_modules) $(exports)" "nvidia nvidia_uvm nvidia_modeset 1"
exec 3</dev/nvidia0
start four /bed/container init
ended "a start over a driver in use ends with 1" four 1
has "naming who has it" "$(said four)" "process $$, /dev/nvidia0"
has "with the reason in the status file" "$(cat $status)" '"reason": "in-use"'
is "and everything as it was" "$(nvidia_modules) $(exports)" "nvidia nvidia_uvm nvidia_modeset 1"
exec 3<&-
discard four
start five /bed/container init
ready "the next start takes over" five
is "with one export" "$(exports)" 1
is "and the same modules" "$(nvidia_modules)" "nvidia nvidia_uvm nvidia_modeset"

echo "peer memory"
probe() { nsenter --target "$(cat $pidfile)" --mount --root /usr/local/bin/nvidia-driver probe_nvidia_peermem; }
peermem_is() { [ "$(cat /sys/module/nvidia_peermem/initstate 2>/dev/null)" = "$1" ]; }
exits "with a network driver and without the module the probe fails" 1 probe
VARIABLES="-e USE_HOST_MOFED=true"
start peer /bed/container reload_nvidia_peermem
if until_ok 60 log_has peer "waiting for"; then ok "it waits for the driver container"; else not_ok "it waits" "$(said peer)"; fi
touch /run/nvidia/validations/.driver-ctr-ready
if until_ok 60 peermem_is live; then ok "then it loads the module"; else not_ok "then it loads the module" "$(said peer)"; fi
is "with its parameters" "$(cat /sys/module/nvidia_peermem/parameters/peerdirect_support)" 1
exits "the probe succeeds" 0 probe
rmmod nvidia_peermem
if until_ok 60 peermem_is live; then ok "a module that was removed is loaded again"; else not_ok "it is loaded again" "$(said peer)"; fi
P kill -s TERM peer >/dev/null
ended "SIGTERM ends it with 0" peer 0
is "the module stays" "$(nvidia_modules)" "nvidia nvidia_uvm nvidia_modeset nvidia_peermem"
discard peer
rm /run/nvidia/validations/.driver-ctr-ready

P stop -t 60 five >/dev/null
is "podman stop ends it with 0" "$(P inspect -f '{{.State.ExitCode}}' five)" 0
said five | grep -E 'warning|signal'
free -m | sed -n 2p
discard five
discard three
clean "after all"
finish
