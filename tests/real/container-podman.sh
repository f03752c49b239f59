#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The driver container as a real container: an image made from the distribution's packages, run by podman beside a second
# container that plays the node (its process 1 is what the node's root is seen through), with run directory and node store
# mounted. The program, its mounts, locks, signals, compiler runs and processes are real; the kernel's module calls are
# answered by fakekmod (beside this file), because no test loads modules into the machine it runs on. tests/vm does that.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
fixture=${FIXTURE:-$(dirname "$NVDRIVER")/../../tests/crash/crash-fixture}
cache=${NVD_TEST_CACHE:-$top/.cache}

if [ -z "${NVD_OWN_MOUNTS:-}" ]; then
	[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root for containers"; exit 77; }
	for tool in podman runc gcc unshare mmdebstrap; do
		command -v $tool >/dev/null || { echo "1..0 # SKIP no $tool"; exit 77; }
	done
	[ -x "$fixture" ] || { echo "1..0 # SKIP no $fixture"; exit 77; }
	NVD_OWN_MOUNTS=1 exec unshare --mount --propagation private "$0" "$@"
fi
. "$top/tests/cli/lib.sh"
# container_image TAR: the root of a small driver image from the distribution's packages, made once.
container_image() {
	[ -e "$1" ] && return 0
	command -v mmdebstrap >/dev/null || return 1
	local mirror
	# shellcheck disable=SC2016
	mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' | awk '$1=="bookworm"{print $2;exit}')
	mmdebstrap --format=tar --variant=minbase --include=gcc,make,binutils,kmod,libjansson4,libssl3,libzstd1,liblzma5,zlib1g,libkmod2 \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		bookworm "$1.part" "$mirror" >"$1.log" 2>&1 && mv "$1.part" "$1"
}
mkdir -p "$cache"
container_image "$cache/podman-image.tar" || { echo "1..0 # SKIP no image: $(tail -1 "$cache/podman-image.tar.log" 2>/dev/null)"; exit 77; }

release=6.1.0-77-amd64 version=535.1.2
host=$work/run # the node's /run, a shared mount as systemd has it
fake=$work/fake # what fakekmod has for a kernel
P() {
	podman --root "$work/pod/root" --runroot "$work/pod/run" --tmpdir "$work/pod/tmp" --cgroup-manager=cgroupfs \
		--events-backend=none --storage-driver "${storage:-overlay}" --runtime runc "$@"
}
no_compiler="-v /dev/null:/usr/bin/x86_64-linux-gnu-gcc-12:ro -v /dev/null:/usr/bin/make:ro"
limits="--ulimit nofile=1024:1024 --ulimit nproc=1024:1024"
cleanup() {
	P rm -f -a -t 1 >/dev/null 2>&1
	awk -v at="$work/" 'index($5, at) == 1 { print $5 }' /proc/self/mountinfo | sort -r | while read -r m; do umount -l "$m"; done
	rm -rf "$work" 2>/dev/null || { sleep 1; rm -rf "$work"; }
}
trap cleanup EXIT

# -- the image: distribution, our binary under its names, a daemon's stand-in
image() {
	mkdir -p "$work/img/usr/local/bin" "$work/img/usr/bin" "$work/img/drivers" "$work/fx"
	"$fixture" "$work/fx" || return 1
	# Without these no copy of the tree is tried.
	install -D /dev/null "$work/fx/kernel/scripts/Makefile.build"
	echo "# nothing" >"$work/fx/kernel/Makefile"
	add_modeset "$work/fx/driver/kernel"
	sed -i 's/^nvidia nvidia-uvm $/nvidia nvidia-uvm nvidia-modeset /' "$work/fx/driver/.manifest"
	"$NVDRIVER" runfile pack "$work/fx/driver" -o "$work/img/drivers/NVIDIA-Linux-x86_64-$version.run" >/dev/null || return 1
	install -m 755 "$NVDRIVER" "$work/img/usr/local/bin/nvidia-driver"
	ln "$work/img/usr/local/bin/nvidia-driver" "$work/img/usr/local/bin/nvdriver"
	gcc -O1 -static -o "$work/img/usr/local/bin/fakekmod" "$here/fakekmod.c" || return 1
	cat >"$work/img/usr/bin/nvidia-persistenced" <<'END'
#!/bin/sh
[ "$1" = --stay ] && while :; do sleep 1; done
mkdir -p /var/run/nvidia-persistenced
setsid "$0" --stay </dev/null >/dev/null 2>&1 &
echo $! >/var/run/nvidia-persistenced/nvidia-persistenced.pid
END
	cat >"$work/img/entry" <<'END'
#!/bin/sh
mount --bind /fake/osrelease /proc/sys/kernel/osrelease && mount --bind /fake/version /proc/version || exit 125
exec fakekmod /fake "$@"
END
	chmod 755 "$work/img/usr/bin/nvidia-persistenced" "$work/img/entry"
	P import "$cache/podman-image.tar" base >"$work/import" 2>&1 || return 1
	printf 'FROM base\nCOPY . /\nENV DRIVER_VERSION=%s TARGETARCH=amd64 KERNEL_MODULE_TYPE=proprietary NVIDIA_VISIBLE_DEVICES=void PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nWORKDIR /drivers\n' \
		"$version" >"$work/Containerfile"
	# shellcheck disable=SC2086
	P build -q $limits --isolation chroot -f "$work/Containerfile" -t driver "$work/img" >"$work/build" 2>&1
}
add_modeset() { # DIR: a third module beside the fixture's two
	mkdir "$1/nvidia-modeset"
	sed 's/name=nvidia-uvm/name=nvidia-modeset/' "$1/nvidia-uvm/nvidia-uvm.c" >"$1/nvidia-modeset/nvidia-modeset.c"
	sed -i 's/,nvidia nvidia-uvm)/,nvidia nvidia-uvm nvidia-modeset)/' "$1/Makefile"
	printf 'nv-modeset-linux.o: modules\n\t@cp nvidia-modeset/nvidia-modeset.o $@\n' >>"$1/Makefile"
}
kernel() {
	mkdir -p "$fake/module/firmware_class/parameters"
	echo "$release" >"$fake/osrelease"
	echo "Linux version $release (me@here) (gcc 12) #1 SMP today" >"$fake/version"
	printf '/lib/firmware/before' >"$fake/module/firmware_class/parameters/path"
	: >"$fake/modules"
}
# start NAME COMMAND...: a driver container, as the operator's pod has it
start() {
	local name=$1
	shift
	# shellcheck disable=SC2086
	P run -d --name "$name" --privileged --network=none --pid=container:node $limits $extra \
		-v "$host/nvidia:/run/nvidia:rshared" -v "$fake:/fake" -v "$fake/module:/sys/module" driver /entry "$@" >"$work/start" 2>&1
}
state() { sed -n 's/.*"state": "\([a-z]*\)".*/\1/p' "$host/nvidia/nvidia-driver.status.json" 2>/dev/null | head -1; }
wait_state() { # NAME STATE SECONDS: until the container says so, has ended, or the time is over
	local n=$(($3 * 10))
	while [ "$(state)" != "$2" ] && [ $n -gt 0 ]; do
		[ $((n % 20)) = 0 ] && [ "$(P inspect -f '{{.State.Running}}' "$1" 2>/dev/null)" = false ] && break
		sleep 0.1
		n=$((n - 1))
	done
	[ "$(state)" = "$2" ]
}
wait_exit() { P wait "$1" 2>/dev/null | tail -1; }
gone() { P rm -f -t 0 "$1" >/dev/null 2>&1; rm -f "$host/nvidia/nvidia-driver.status.json"; }
log_of() { P logs "$1" 2>&1 | sed 's/^/# /' | tail -25; }
mounts() { awk -v at="$host/nvidia/driver" '$5 == at || index($5, at "/") == 1' /proc/self/mountinfo | wc -l; }
exports() { awk -v at="$host/nvidia/driver" '$5 == at' /proc/self/mountinfo | wc -l; }
loaded() { awk '{ printf "%s ", $1 }' "$fake/modules"; }
clean() { # TEXT: nothing is left on the node
	equals "$1: the export is gone from the node" "$(mounts)" 0
	equals "$1: no module is loaded" "$(loaded)" ""
	check "$1: the PID file is gone" test ! -e "$host/nvidia/nvidia-driver.pid"
}
# Processes of that name as the node numbers them, by the kernel's word alone: the image has no tools for it.
# shellcheck disable=SC2016
pid_of() { P exec node sh -c 'for p in /proc/[0-9]*; do [ "$(cat $p/comm 2>/dev/null)" = "$0" ] && echo ${p#/proc/}; done' "$1" 2>/dev/null; }
kernel_tree() { # TEXT: what compiles beside finds the kernel's build tree, and cannot change it
	local at=$host/nvidia/driver
	check "$1: the kernel's build tree is part of what is shown" cmp "$at/usr/src/kernels/$release/Module.symvers" "$work/fx/kernel/Module.symvers"
	equals "$1: /lib/modules leads there" "$(readlink "$at/lib/modules/$release/build")" "/usr/src/kernels/$release"
	equals "$1: with the kernel's banner" "$(cat "$at/lib/modules/$release/proc/version")" "$(cat "$fake/version")"
	check "$1: it is read-only" sh -c "! touch '$at/usr/src/kernels/$release/x' 2>/dev/null"
}
now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

mkdir -p "$host" "$work/nodelib"
mount -t tmpfs none "$host" && mount --make-shared "$host" && mkdir "$host/nvidia" || exit 1
kernel
if ! image; then
	storage=vfs
	rm -rf "$work/img" "$work/fx"
	image || { sed 's/^/# /' "$work/build" "$work/import" 2>/dev/null | tail -5; echo "1..0 # SKIP no image can be built here"; exit 77; }
fi
# shellcheck disable=SC2086
P run -d --name node --privileged --network=none $limits -v "$host/nvidia:/run/nvidia:rshared" -v "$work/nodelib:/var/lib/nvdriver" \
	-v "$work/fx/kernel:/usr/src/kernels/$release:ro" driver sleep infinity >"$work/node" 2>&1 || { echo "1..0 # SKIP no container runs here: $(tail -1 "$work/node")"; exit 77; }
extra=

# -- cold: everything is made
from=$(now_ms)
start cold nvidia-driver init
wait_state cold ready 120
cold=$(($(now_ms) - from))
equals "cold: the driver is ready" "$(state)" ready
[ "$(state)" = ready ] || log_of cold
equals "its modules are loaded" "$(loaded)" "nvidia nvidia_uvm nvidia_modeset "
check "the node sees the container's root" test -e "$host/nvidia/driver/drivers/NVIDIA-Linux-x86_64-$version.run"
check "with the driver's user space in it" test -x "$host/nvidia/driver/usr/bin/nvidia-smi"
check "and the sources other containers build against" test -e "$host/nvidia/driver/usr/src/nvidia-$version/kernel/Module.symvers"
kernel_tree "the node's tree"
check "a container beside sees it too" P exec node test -e "/run/nvidia/driver/usr/src/nvidia-$version"
equals "nothing below sysfs is part of what is shown" "$(grep -c "$host/nvidia/driver/sys/" /proc/self/mountinfo)" 0
equals "nor is the node's store" "$(grep -c "$host/nvidia/driver/run/nvdriver" /proc/self/mountinfo)" 0
equals "the startup probe's word" "$(cat "$host/nvidia/validations/.driver-daemons-status")" Ready
equals "the PID file names the process" "$(cat "$host/nvidia/nvidia-driver.pid")" "$(pid_of nvidia-driver)"
check "the module set is in the node's store" sh -c "ls -d '$work/nodelib'/modules/*/nvidia.ko"

# -- a second one while it runs
first_pid=$(cat "$host/nvidia/nvidia-driver.pid")
start second nvidia-driver init
equals "a second start fails" "$(wait_exit second)" 1
P logs second >"$work/out" 2>&1
check "and says which process holds the lock" grep -q "process $first_pid\$" "$work/out"
P rm -f -t 0 second >/dev/null 2>&1
equals "the first one is untouched" "$(loaded)$(exports)" "nvidia nvidia_uvm nvidia_modeset 1"

# -- TERM
P stop -t 30 cold >/dev/null 2>&1
equals "TERM ends it with 0" "$(wait_exit cold)" 0
clean "after TERM"
equals "the firmware path is as it was" "$(tr -d '\0' <"$fake/module/firmware_class/parameters/path")" /lib/firmware/before
gone cold

# -- warm: a new container, no compiler in it
extra=$no_compiler
from=$(now_ms)
start warm nvidia-driver init
wait_state warm ready 60
warm=$(($(now_ms) - from))
equals "warm: ready without a compiler" "$(state)" ready
[ "$(state)" = ready ] || log_of warm
echo "# cold $cold ms, warm $warm ms, both from podman run to ready"
extra=

# -- killed
P kill -s KILL warm >/dev/null 2>&1
wait_exit warm >/dev/null
equals "killed: modules and export are still there" "$(loaded)$(exports)" "nvidia nvidia_uvm nvidia_modeset 1"
gone warm
# From here on the node has no build tree any more: there is the copy the first build put into its store.
P exec node umount -l "/usr/src/kernels/$release"
start after nvidia-driver init
wait_state after ready 60
equals "the next start takes over" "$(state)" ready
[ "$(state)" = ready ] || log_of after
equals "with one export, not two" "$(exports)" 1
kernel_tree "the store's tree"
equals "and of the node's store nothing else" "$(grep -c "$host/nvidia/driver/run/nvdriver" /proc/self/mountinfo)" 0

# -- in use
echo 1 >"$fake/busy"
from=$(now_ms)
P stop -t 40 after >/dev/null 2>&1 &
stopping=$!
sleep 3
check "in use: a stop waits" test -n "$(pid_of nvidia-driver)"
echo 0 >"$fake/busy"
wait $stopping
equals "and ends in order once it is free" "$(wait_exit after)" 0
clean "after that"
gone after

# -- two at once
start one nvidia-driver init
start two nvidia-driver init
wait_state one ready 30 || wait_state two ready 30
sleep 1
running=0
for c in one two; do [ "$(P inspect -f '{{.State.Running}}' $c)" = true ] && running=$((running + 1)); done
equals "two at once: one is ready, the other gave up" "$running $(state)" "1 ready"
P stop -t 30 one two >/dev/null 2>&1
clean "after both"
gone one
gone two

# -- across an air gap: the whole store in one bundle, then a node with neither store nor build tree, an image without a run file,
# -- no compiler and no network
sets=$(ls "$work/nodelib/modules")
mkdir "$work/carried"
status "a bundle is made of what the store has" 0 --store "$work/nodelib" bundle create --from-store --driver $version -k "$release" --modules \
	--flavour proprietary -o "$work/carried/gpu.nvbundle"
rm -rf "$work/nodelib"/*
extra="-v $work/carried:/drivers:ro $no_compiler"
from=$(now_ms)
start gap nvidia-driver init
wait_state gap ready 60
echo "# from podman run to ready across the gap: $(($(now_ms) - from)) ms"
equals "air gap: ready without run file, build tree or compiler" "$(state)" ready
[ "$(state)" = ready ] || log_of gap
equals "no interface but its own loopback" "$(P exec gap grep -c : /proc/net/dev)" 1
P logs gap >"$work/out" 2>&1
check "the log says where driver and modules come from" grep -q "taking driver $version and what kernel $release needs from .*drivers/gpu.nvbundle" "$work/out"
check "that nothing has to be built" grep -q 'are in the store: nothing to build' "$work/out"
check "and of no build" sh -c "! grep -q 'building .* modules' '$work/out'"
equals "the modules are the carried ones" "$(ls "$work/nodelib/modules")" "$sets"
check "the status names their set" grep -q "\"module_set\": \"$sets\"" "$host/nvidia/nvidia-driver.status.json"
equals "they are loaded and shown" "$(loaded)$(exports)" "nvidia nvidia_uvm nvidia_modeset 1"
check "with the driver's user space" test -x "$host/nvidia/driver/usr/bin/nvidia-smi"
kernel_tree "the bundle's tree"
P stop -t 30 gap >/dev/null 2>&1
equals "TERM ends it with 0" "$(wait_exit gap)" 0
clean "after the air gap"
extra=
gone gap

# -- TERM while it builds: another driver whose configuring takes long
rm -rf "$work/nodelib"/*
sed -i '1i sleep 60' "$work/fx/driver/kernel/conftest.sh"
"$NVDRIVER" runfile pack "$work/fx/driver" -o "$work/slow.run" >/dev/null
extra="-v $work/slow.run:/drivers/NVIDIA-Linux-x86_64-$version.run:ro -v $work/fx/kernel:/usr/src/kernels/$release:ro"
start slow nvidia-driver init
for _ in $(seq 60); do [ -n "$(pid_of make)" ] && break; sleep 0.2; done
sleep 1
check "a configure script is at work" sh -c "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -q 'sleep 6[0]'"
from=$(now_ms)
P stop -t 30 slow >/dev/null 2>&1
took=$(($(now_ms) - from))
equals "TERM while building: it ends with 1" "$(wait_exit slow)" 1
check "within ten seconds ($took ms)" test $took -lt 10000
clean "after that build"
equals "no make and no configure script is left running" "$(pid_of make)$(P exec node sh -c 'cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" " " | grep -o "[c]onftest.sh [a-z]*\|sleep 6[0]"')" ""
extra=
gone slow

finish
