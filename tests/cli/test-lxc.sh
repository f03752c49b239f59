#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The lxc verbs on a machine that is a directory, with a stand-in for Proxmox VE's tool. Containers are states in files here: what
# happens inside them is shown on real ones (tests/real).
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

export NVDRIVER_STORE=$work/store
root=$work/host
conf=$root/etc/pve/lxc/101.conf
json=$root/usr/local/phoenix_hypervisor/etc

machine() { # a Proxmox VE host with one GPU, driver 535.261.03 loaded
	rm -rf "$root" "$work/store"
	mkdir -p "$root"/{proc/driver/nvidia/gpus/0000:01:00.0,sys,dev,run,bin,etc/pve/lxc,etc/nvdriver,usr/sbin,var/lib/dpkg,var/lib/lxc} "$json"
	cp "$SRCDIR/tests/lib/pct" "$root/usr/sbin/pct"
	cp /bin/true "$root/bin/sh"
	printf '[lxc]\npct = %s/usr/sbin/pct\nlxcpath = %s/var/lib/lxc\nlock-wait = 1\nfile-lock-wait = 1\nnode-wait = 1\npause = 1\n' "$root" "$root" >"$root/etc/nvdriver/nvdriver.conf"
	echo 'NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.261.03  Wed Jun  4 00:00:00 UTC 2025' >"$root/proc/driver/nvidia/version"
	printf 'Model: \t\t NVIDIA L40\nGPU UUID: \t GPU-11111111-2222-3333-4444-555555555555\nBus Location: \t 0000:01:00.0\nDevice Minor: \t 0\n' >"$root/proc/driver/nvidia/gpus/0000:01:00.0/information"
	printf 'Character devices:\n195 nvidia\n499 nvidia-uvm\n\nBlock devices:\n' >"$root/proc/devices"
	printf 'Package: pve-container\nStatus: install ok installed\nVersion: %s\n' "${1:-5.2.3}" >"$root/var/lib/dpkg/status"
	printf '#a container\narch: amd64\nhostname: gpu1\nunprivileged: 1\n\n[pve:pending]\nmemory: 4096\n\n[before]\narch: amd64\nlxc.cgroup2.devices.allow: c 195:0 rw\nsnaptime: 1700000000\n' >"$conf"
	cp "$conf" "$work/conf.before"
	printf '{"lxc_configs":{"101":{"name":"gpu1","features":["nvidia"],"gpu_assignment":"0"},"102":{"features":[],"gpu_assignment":"none"}}}' >"$json/phoenix_lxc_configs.json"
}
lxc() { run --root "$root" lxc "$@"; }
sections() { sed -n '/^\[/,$p' "$1"; }

if [ "$(id -u)" != 0 ]; then
	skip "the lxc verbs" "making device nodes needs root"
	finish
fi

# -- configuration errors: status 3, before anything is touched --
machine
printf '{"lxc_configs":{"101":{"features":["nvidia"],"gpu_assignment":"0"},"101":{}}}' >"$json/phoenix_lxc_configs.json"
slug "a key given twice" 3 container-config-invalid --root "$root" lxc devices 101
machine
sed -i 's/"gpu_assignment":"0"/"gpu_assignment":"0","nvidia_driver_version":"535.261.03","nvidia_runfile_url":"https:\/\/e.com\/NVIDIA-Linux-x86_64-550.54.14.run"/' "$json/phoenix_lxc_configs.json"
slug "two versions" 3 container-versions-disagree --root "$root" lxc devices 101
# With several containers (and one) each failure is that container's; the worst status wins.
machine
slug "an id that is not configured" 3 container-config-invalid --root "$root" lxc devices 999
slug "an id that is none" 3 container-config-invalid --root "$root" lxc devices 99
status "no id" 2 --root "$root" lxc install
status "ids and --all" 2 --root "$root" lxc install 101 --all
status "a word that is none" 2 --root "$root" lxc install 101 --delivery pigeon
machine
slug "a file that was named and is not there" 3 container-config-invalid --root "$root" lxc devices 101 --lxc-config /nowhere.json
lxc devices 102
equals "not enabled is success" "$rc" 0
check "and says so" grep -q "not enabled" "$work/out"

# -- host --
machine
sed -i 's/"gpu_assignment":"0"/"gpu_assignment":"1"/' "$json/phoenix_lxc_configs.json"
slug "a GPU that is not there" 4 gpu-not-on-host --root "$root" lxc devices 101
machine
sed -i 's/"gpu_assignment":"0"/"gpu_assignment":"0","nvidia_driver_version":"550.54.14"/' "$json/phoenix_lxc_configs.json"
slug "another version than the host's" 4 host-driver-version --root "$root" lxc devices 101
lxc devices 101 --version-policy follow-host
equals "follow-host goes on" "$rc" 0
machine
rm "$root/proc/driver/nvidia/version"
slug "no driver on the host" 4 host-driver-missing --root "$root" lxc devices 101
machine
printf 'Character devices:\n195 nvidia\n' >"$root/proc/devices"
slug "nvidia-uvm is not loaded" 4 device-node-unavailable --root "$root" lxc devices 101
machine
rm "$conf"
slug "no such container" 5 container-unknown --root "$root" lxc devices 101

# -- dev keys (pve-container 5.0.10 and later) --
machine
lxc devices 101 --dry-run
equals "a dry run" "$rc" 0
check "changes nothing" cmp "$conf" "$work/conf.before"
check "and makes no node" test ! -e "$root/dev/nvidia0"
lxc devices 101
equals "devices by dev keys" "$rc" 0
equals "dev keys" "$(sed '/^\[/,$d' "$conf" | grep -c '^dev[0-9]*: .*,mode=0666')" 4
check "snapshot and pending sections stay byte for byte" test "$(sections "$conf")" = "$(sections "$work/conf.before")"
check "the description stays" grep -qx '#a container' "$conf"
equals "the nodes were made with the host's number" "$(stat -c '%t:%T' "$root/dev/nvidia-uvm")" "1f3:0"
cp "$conf" "$work/conf.once"
: >"$root/run/pct.log"
lxc devices 101
equals "a second run" "$rc" 0
check "changes nothing" cmp "$conf" "$work/conf.once"
check "and changes nothing through pct" test -z "$(grep -v '^status' "$root/run/pct.log")"
lxc remove 101
equals "remove" "$rc" 0
equals "the current section is as before" "$(sed '/^\[/,$d;/^$/d' "$conf")" "$(sed '/^\[/,$d;/^$/d' "$work/conf.before")"
check "the sections too" test "$(sections "$conf")" = "$(sections "$work/conf.before")"

# -- raw lines (older) --
machine 5.0.9
: >"$root/etc/pve/lxc/.nvdriver-0123456789abcdef"
lxc devices 101
equals "devices by raw lines" "$rc" 0
check "what a killed run was about to put in place is gone" test ! -e "$root/etc/pve/lxc/.nvdriver-0123456789abcdef"
equals "mount entries" "$(sed '/^\[/,$d' "$conf" | grep -c '^lxc.mount.entry: .*optional,create=file 0 0')" 4
equals "rules of the device cgroup, none for everything" "$(sed '/^\[/,$d' "$conf" | grep -c '^lxc.cgroup.devices.allow: c [0-9]*:[0-9*]* rw$')" 3
check "never all of 195" sh -c "! grep -q '195:\*' '$conf'"
check "the sections stay byte for byte" test "$(sections "$conf")" = "$(sections "$work/conf.before")"
lxc remove 101
check "remove gives the file back byte for byte" cmp "$conf" "$work/conf.before"
mkdir -p "$root/sys/fs/cgroup"
: >"$root/sys/fs/cgroup/cgroup.controllers"
lxc devices 101
check "cgroup2 alone gets cgroup2's keys" grep -q '^lxc.cgroup2.devices.allow: c 195:0 rw' "$conf"

# A module loaded again may have another number: the old line goes, the new one comes.
lxc devices 101
printf 'Character devices:\n195 nvidia\n511 nvidia-uvm\n' >"$root/proc/devices"
rm -f "$root"/dev/nvidia-uvm*
lxc devices 101
equals "another major" "$rc" 0
check "is allowed" grep -q '^lxc.cgroup2.devices.allow: c 511:\* rw' "$conf"
check "the stale one is not" sh -c "! sed '/^\[/,\$d' '$conf' | grep -q 'c 499:'"

# -- what a container has beyond computing stays, whoever works on it next --
machine
printf 'Character devices:\n195 nvidia\n499 nvidia-uvm\n511 nvidia-caps-imex-channels\n508 nvidia-nvswitch\n' >"$root/proc/devices"
has() { sed '/^\[/,$d' "$conf" | grep -c "^dev[0-9]*: .*/dev/$1,mode=0666"; }
lxc devices 101 --imex --nvswitch
equals "a channel of memory exchange" "$(has nvidia-caps-imex-channels/channel0)" 1
equals "the switches' node" "$(has nvidia-nvswitchctl)" 1
equals "of the host's number" "$(stat -c '%t:%T' "$root/dev/nvidia-nvswitchctl")" "1fc:ff"
lxc devices 101
check "a run that does not ask for them finds nothing to do" grep -q 'nothing to do' "$work/out"
lxc sync --boot
equals "a boot keeps them" "$(has nvidia-caps-imex-channels/channel0)$(has nvidia-nvswitchctl)" 11
lxc devices 101 --no-extras
equals "--no-extras takes them away" "$rc $(has nvidia-caps-imex-channels/channel0)$(has nvidia-nvswitchctl)$(has nvidia0)" "0 001"
lxc devices 101
check "for good" grep -q 'nothing to do' "$work/out"

# -- a snapshot first --
machine
status "a name no manager takes" 2 --root "$root" lxc devices 101 --snapshot --name
touch "$root/run/no-snapshots"
slug "no snapshot, no change" 5 container-backend-unusable --root "$root" lxc devices 101 --snapshot gpu1
check "at all" cmp "$conf" "$work/conf.before"
rm "$root/run/no-snapshots"
: >"$root/run/pct.log"
lxc devices 101 --snapshot gpu1
equals "a snapshot, then the devices" "$rc $(grep -c '^snapshot 101 gpu1$' "$root/run/pct.log")" "0 1"
equals "it holds the configuration as it was" "$(sed -n '/^\[gpu1\]/,$p' "$conf" | grep -c '^dev')" 0
equals "which has them now" "$(sed '/^\[/,$d' "$conf" | grep -c '^dev')" 4
lxc devices 101 --snapshot gpu2
check "nothing to do takes none" sh -c "! grep -q 'gpu2' '$root/run/pct.log'"

# -- sockets of the host's daemons --
machine
mkdir -p "$root/run/nvidia-persistenced"
: >"$root/run/nvidia-persistenced/socket"
mounts() { sed '/^\[/,$d' "$conf" | sed -n "s|^lxc.mount.entry: ||p" | sed "s|$root||"; }
lxc devices 101 --sockets
equals "what the host has, on a file system of its own" "$(mounts)" "tmpfs run tmpfs rw,nosuid,nodev,mode=755,create=dir 0 0
/run/nvidia-persistenced/socket run/nvidia-persistenced/socket none bind,optional,ro,nosuid,nodev,noexec,create=file 0 0"
rm "$root/run/nvidia-persistenced/socket"
lxc sync --boot
equals "stays when its daemon does not run yet" "$(mounts | wc -l)" 2
mkdir "$root/tmp" "$root/tmp/nvidia-mps"
lxc devices 101
equals "one that comes is added" "$(mounts | tail -1)" "/tmp/nvidia-mps tmp/nvidia-mps none bind,optional,nosuid,nodev,noexec,create=dir 0 0"
lxc devices 101
check "a second run finds nothing to do" grep -q 'nothing to do' "$work/out"
lxc devices 101 --no-extras
equals "and all go again" "$(mounts | wc -l)" 0
machine
sed -i 's|^hostname:|lxc.mount.entry: none run tmpfs rw 0 0\nhostname:|' "$conf"
mkdir -p "$root/run/nvidia-persistenced"
: >"$root/run/nvidia-persistenced/socket"
lxc devices 101 --sockets
equals "a container that has a file system there keeps it" "$(mounts | grep -c ' run tmpfs ') $(mounts | wc -l)" "1 2"

# -- locks --
machine 5.0.9
sed -i 's/^hostname:/lock: backup\nhostname:/' "$conf"
slug "a container another task owns" 5 container-locked --root "$root" lxc devices 101
machine 5.0.9
mkdir -p "$root/run/lock/lxc"
flock "$root/run/lock/lxc/pve-config-101.lock" sleep 5 &
sleep 0.3
slug "a configuration file another program holds" 5 container-locked --root "$root" lxc devices 101
check "is left alone" cmp "$conf" "$work/conf.before"
wait

# -- a failure of pct takes the run back --
machine
sed -i 's/^set)/set) [ ! -e "$ROOT\/run\/fail" ] || [ "$1" = --delete ] || [ "$(grep -c "^set $id --dev" "$ROOT\/run\/pct.log")" -lt 3 ] || die 255 "got no worker upid";/' "$root/usr/sbin/pct"
touch "$root/run/fail"
slug "pct fails at the third device" 5 container-backend-unusable --root "$root" lxc devices 101
equals "what was added is taken out again" "$(sed '/^\[/,$d;/^$/d' "$conf")" "$(sed '/^\[/,$d;/^$/d' "$work/conf.before")"
rm "$root/run/fail"
lxc devices 101
equals "the next run converges" "$rc" 0

# -- two at a time --
machine
sed -i 's/^set)/set) touch "$ROOT\/run\/slow"; sleep 4;/' "$root/usr/sbin/pct"
printf 'lock-timeout = 1\n' | cat - "$root/etc/nvdriver/nvdriver.conf" >"$work/conf" && cp "$work/conf" "$root/etc/nvdriver/nvdriver.conf"
"$NVDRIVER" --root "$root" lxc devices 101 >/dev/null 2>&1 &
for _ in $(seq 300); do [ ! -e "$root/run/slow" ] || break; sleep 0.1; done
slug "a second run while the first works" 75 lock-held --root "$root" lxc devices 101
wait
lxc devices 101
check "what the first did is whole" grep -q "nothing to do" "$work/out"

# -- plan, status, verify --
machine
lxc plan 101 --json
equals "plan" "$rc" 0
check "is the same object as a dry run" python3 -c "
import json
o = json.load(open('$work/out'))
assert o['schema'] == 'nvdriver.lxc-install/1'
ops = o['containers'][0]['plan']['operations']
assert ops[0]['type'] == 'lxc-config' and len(ops[0]['args']['add']) == 3, ops[0]
"
check "and changes nothing" cmp "$conf" "$work/conf.before"
lxc status
equals "status" "$rc" 0
check "one line for each enabled container" sh -c "[ \$(grep -c '^10' '$work/out') = 1 ]"
lxc verify 101 --json
equals "verify finds drift" "$rc" 10
lxc install 101 --offline --delivery shared
equals "nothing cached and no network: status 6" "$rc" 6
check "says where to put the file" grep -q 'lxc cache add' "$work/out"
check "and nothing was touched" cmp "$conf" "$work/conf.before"

# -- as the feature script calls it, and with the environment it sets --
machine
run_env() { env "$@" "$NVDRIVER" --root "$root" lxc devices 101 >"$work/out" 2>"$work/err"; rc=$?; }
run_env PHOENIX_DEBUG=true PHOENIX_DRY_RUN=true
check "PHOENIX_DEBUG" grep -q '^debug: ' "$work/err"
printf '{"behavior":{"debug_mode":true}}' >"$json/phoenix_hypervisor_config.json"
run_env PHOENIX_DRY_RUN=true
check "debug_mode of the set-up" grep -q '^debug: ' "$work/err"
rm "$json/phoenix_hypervisor_config.json"
run_env PHOENIX_DRY_RUN=true
equals "PHOENIX_DRY_RUN" "$rc" 0
check "changes nothing" cmp "$conf" "$work/conf.before"
printf '{"lxc_configs":{"101":{"features":[]}}}' >"$work/other.json"
mkdir -p "$root$work"
cp "$work/other.json" "$root$work/other.json"
run_env LXC_CONFIG_FILE="$work/other.json"
check "LXC_CONFIG_FILE" grep -q "not enabled" "$work/out"

# -- without any configuration file --
machine
rm "$json"/*.json
lxc devices 101
equals "no configuration file is fine" "$rc" 0
check "all GPUs" grep -q '^dev[0-9]*: .*/dev/nvidia0,mode=0666' "$conf"

# -- the unit that makes devices before containers start --
machine
unit=$root/etc/systemd/system/nvidia-gpu-init.service
wants=$root/etc/systemd/system/multi-user.target.wants/nvidia-gpu-init.service
lxc devices 101
check "a host without systemd gets no unit" test ! -e "$root/etc/systemd"
mkdir -p "$root/etc/systemd/system"
lxc devices 101 --dry-run
check "a dry run says that one would come" grep -q 'nvidia-gpu-init.service' "$work/out"
check "and writes none" test ! -e "$unit"
lxc devices 101
equals "the unit comes with the devices" "$(grep -c '^ExecStart=/.* lxc sync --boot' "$unit")" 1
equals "enabled" "$(readlink "$wants")" /etc/systemd/system/nvidia-gpu-init.service
if command -v systemd-analyze >/dev/null && systemd-analyze --version >/dev/null 2>&1; then
	systemd-analyze verify --man=no "$unit" >"$work/analyze" 2>&1
	equals "systemd accepts it" "$? $(grep -v 'Failed to set up mount unit\|/proc/self/mountinfo' "$work/analyze")" "0 "
else
	skip "systemd accepts the unit" "no systemd-analyze"
fi
check "without udev there is no watch" test ! -e "${unit%init*}sync.service"
touch -d '2001-01-01' "$unit"
lxc devices 101
equals "a second run leaves it" "$(stat -c %Y "$unit")" "$(date -d 2001-01-01 +%s)"
printf 'Character devices:\n195 nvidia\n507 nvidia-uvm\n' >"$root/proc/devices"
rm -f "$root"/dev/nvidia*
lxc sync --boot
equals "what it runs makes the nodes, with the numbers of this boot" "$(stat -c '%t:%T' "$root/dev/nvidia-uvm")" "1fb:0"
equals "and says that the driver is not in the store, without asking for it elsewhere" "$rc" 6
lxc remove 101
check "the last container takes the unit away" test ! -e "$unit" -a ! -L "$wants"

# -- the watch: who loads another driver while containers run --
machine
watch=$root/etc/systemd/system/nvidia-gpu-sync.service
rules=$root/etc/udev/rules.d/71-nvdriver-lxc.rules
mkdir -p "$root/etc/systemd/system" "$root/etc/udev"
lxc devices 101
equals "a unit that brings a new driver to containers" "$(grep -c '^ExecStart=/.* lxc sync --wait' "$watch")" 1
check "and the rule that starts it" grep -q 'KERNEL=="nvidia|nvidia_uvm".*nvidia-gpu-sync.service' "$rules"
if command -v systemd-analyze >/dev/null && systemd-analyze --version >/dev/null 2>&1; then
	systemd-analyze verify --man=no "$watch" >"$work/analyze" 2>&1
	equals "systemd accepts it" "$? $(grep -v 'Failed to set up mount unit\|/proc/self/mountinfo' "$work/analyze")" "0 "
fi
mkdir -p "$root/sys/module/nvidia"
echo coming >"$root/sys/module/nvidia/initstate"
sed -i 's/^node-wait.*/node-wait = 60/; $anode-poll-ms = 100' "$root/etc/nvdriver/nvdriver.conf"
"$NVDRIVER" --root "$root" lxc sync --wait --offline >"$work/waiting" 2>&1 &
waiting=$!
sleep 0.5
check "a module that is starting is waited for" kill -0 $waiting
echo live >"$root/sys/module/nvidia/initstate"
wait $waiting
equals "then it goes on" "$? $(grep -c 'driver 535.261.03' "$work/waiting")" "6 1"
rm "$root/proc/driver/nvidia/version"
rm -r "$root/sys/module"
lxc sync --wait
equals "a driver that is gone again is nothing to do" "$rc $(cat "$work/out")" "0 no driver is loaded "
lxc remove 101
check "the last container takes both away" test ! -e "$watch" -a ! -e "$rules"

machine
mkdir -p "$root/etc/systemd/system"
printf '[Unit]\nBefore=pve-guests.service\n[Service]\nType=oneshot\nExecStart=/usr/bin/nvidia-smi\n' >"$unit"
cp "$unit" "$work/unit.before"
lxc devices 101
check "the set-up's own unit, which only ran nvidia-smi, is replaced" grep -q 'lxc sync --boot' "$unit"
lxc remove 101
check "and comes back" cmp "$unit" "$work/unit.before"
printf '[Service]\nExecStart=/usr/local/sbin/mine\n' >"$unit"
cp "$unit" "$work/unit.before"
lxc devices 101
check "somebody else's is left alone" cmp "$unit" "$work/unit.before"
check "and a warning says so" grep -q 'is not ours' "$work/err"
machine 5.0.9
mkdir -p "$root/etc/systemd/system"
lxc devices 101
printf 'Character devices:\n195 nvidia\n507 nvidia-uvm\n' >"$root/proc/devices"
rm -f "$root"/dev/nvidia*
lxc sync --boot
check "raw lines follow a new number at boot" grep -q '^lxc.cgroup.devices.allow: c 507:\* rw' "$conf"
check "and drop the old one" sh -c "! sed '/^\[/,\$d' '$conf' | grep -q 'c 499:'"
check "no container was started" test ! -e "$root/run/pct-101.running"
rm "$root/proc/driver/nvidia/version"
status "without a driver the unit fails, visibly" 4 --root "$root" lxc sync --boot
status "a boot is nothing to rehearse" 2 --root "$root" lxc sync --boot --prepare 535.261.03

# -- nodes of a container's own, where the driver's are not for everybody --
machine 5.0.9
printf 'DeviceFileUID: 0\nDeviceFileGID: 44\nDeviceFileMode: 432\n' >"$root/proc/driver/nvidia/params"
lxc devices 101
equals "devices where the driver's nodes are 0660" "$rc" 0
equals "the host's keep that mode" "$(stat -c %a "$root/dev/nvidia0")" 660
equals "the container gets nodes of its own" "$(grep -c "^lxc.mount.entry: $root/run/nvdriver/nodes/101/nvidia[^ ]* dev/nvidia" "$conf")" 4
equals "of the same number, for all inside" "$(stat -c '%t:%T %a' "$root/run/nvdriver/nodes/101/nvidia0")" "c3:0 666"
equals "and for nobody else on the host" "$(stat -c %a "$root/run/nvdriver/nodes/101")" 700
check "on a file system that allows devices" sh -c "grep -q ' $root/run/nvdriver/nodes rw,nosuid,noexec' /proc/self/mountinfo"
lxc devices 101
check "a second run finds nothing to do" grep -q 'nothing to do' "$work/out"
umount "$root/run/nvdriver/nodes"
lxc sync --boot
check "a boot makes them again" test -c "$root/run/nvdriver/nodes/101/nvidia0"
lxc remove 101
check "remove takes them away" test ! -e "$root/run/nvdriver/nodes/101"
check "and the lines" cmp "$conf" "$work/conf.before"
umount "$root/run/nvdriver/nodes"

# -- logs --
machine
lxc devices 101 --dry-run
check "a dry run writes no log" test ! -e "$root/var/log"
lxc devices 101 -v
lxc install 101 --offline
check "the set-up's own log is used where that is" grep -qE '^20[0-9-]{8} [0-9:]{8} \[(INFO|WARN|ERROR|DEBUG)\] lxc: ' "$root/var/log/phoenix_hypervisor.log"
check "it says how each container ended" grep -qE '\[SUCCESS\] lxc: container 101: (installed|nothing to do)$' "$root/var/log/phoenix_hypervisor.log"
check "also when it failed, and why" grep -qE '\[FATAL\] lxc: container 101: failed: .*535.261.03' "$root/var/log/phoenix_hypervisor.log"
equals "of mode" "$(stat -c %a "$root/var/log/phoenix_hypervisor.log")" 640
run --root "$root" --log-file "$work/named.log" lxc install 101 --offline
check "a log that is named is the only one" test -s "$work/named.log"

# -- LXC's own hook --
machine 5.0.9
sed -i 's|^hostname:|lxc.hook.mount: /usr/share/lxc/hooks/nvidia\nhostname:|' "$conf"
slug "LXC's own NVIDIA hook and this are not both set" 3 container-config-invalid --root "$root" lxc devices 101
machine 5.0.9
mkdir -p "$root/usr/share/lxc/config/gpu.conf.d"
echo 'lxc.hook.mount = /usr/share/lxc/hooks/nvidia' >"$root/usr/share/lxc/config/gpu.conf.d/10-gpu.conf"
sed -i 's|^hostname:|lxc.include: /usr/share/lxc/config/gpu.conf.d\nhostname:|' "$conf"
slug "not by a file that is included either" 3 container-config-invalid --root "$root" lxc devices 101
sed -i '/gpu.conf.d/d' "$conf"
check "and nothing is changed" cmp "$conf" "$work/conf.before"
status "a hook that is none of the host's" 2 --root "$root" hook lxc 101 lxc mount
machine
status "a container without anything of ours starts as it is" 0 --root "$root" hook lxc 101 lxc pre-start

finish
