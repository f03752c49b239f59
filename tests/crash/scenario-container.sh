# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# container-init of program.sh: a driver container's whole life, from start over ready to its end by TERM, on a node whose first process
# and root are a few programs of this machine. The container's root is an overlay of this machine, a fresh one for every start. Mounts,
# processes, locks and signals are real; module calls are answered by fakekmod (tests/real), as is what the node has loaded.
for tool in nsenter pgrep; do command -v $tool >/dev/null || skip "no $tool"; done
# shellcheck disable=SC2016
unshare --mount --pid --fork sh -c 'mkdir "$1" && mount -t tmpfs ct "$1" && mkdir "$1/up" "$1/work" "$1/root" && mount -t proc proc "$1/up" && umount "$1/up" &&
	mount -t overlay -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" overlay "$1/root"' probe "$work/probe" 2>/dev/null || skip "no overlay of this machine here"
. "$here/tiny-root.sh"
release=6.1.0-77-amd64
node=$work/root
# A killed container leaves its modules and its export to the next one: no state between is old or new. All the store has is whole.
old_or_new() { store_is_whole; }
except=(! -path 'root/proc/*' ! -path 'root/sys/modules.new' ! -path root/run/nvidia/nvidia-driver.status.json)
brief=(! -path 'root/run/nvidia/*' ! -path 'root/run/nvdriver/*')
machine_state() {
	echo "loaded: $(cut -d' ' -f1 root/sys/modules | xargs); exports: $(exports)"
	cat ready 2>/dev/null
}
exports() { awk -v at="$node/run/nvidia/driver" '$5 == at' /proc/self/mountinfo | wc -l; }

quiet() {
	local m
	[ -z "${node_pid:-}" ] || { kill -KILL "$node_pid"; wait "$node_pid"; } 2>/dev/null
	node_pid=
	while m=$(awk -v at="$work/" 'index($5, at) == 1 { print $5 }' /proc/self/mountinfo | tail -1) && [ -n "$m" ]; do umount -l "$m" || break; done
}
trap quiet EXIT
begin() { # the node: its first process, in a name-space of process ids
	local n
	rm -f ready
	mount --bind "$node/run/nvidia" "$node/run/nvidia"
	mount --make-shared "$node/run/nvidia"
	unshare --pid --fork --kill-child bash -c 'mount -t proc proc "$1/proc" && exec chroot "$1" /bin/sleep infinity' node "$node" &
	node_pid=$!
	for ((n = 0; n < 500; n++)); do
		inner=$(pgrep -P "$node_pid" sleep) && break
		sleep 0.02
	done
	[ -n "$inner" ] || fail "the node does not start"
	into=(nsenter -t "$inner" --pid unshare --mount --propagation unchanged "$work/enter" "$work" "$release")
}
# With a container all its processes end.
meanwhile() {
	local p ns
	ns=$(readlink "/proc/$inner/ns/pid")
	for p in /proc/[0-9]*; do
		[ "$(readlink "$p/ns/pid" 2>/dev/null)" != "$ns" ] || [ "${p#/proc/}" = "$inner" ] || kill -KILL "${p#/proc/}" 2>/dev/null
	done
}

# The container around its command; the work directory is there under its own name. Once it is ready it is told to end.
enter_make() {
	cat >enter <<'EOF'
#!/bin/bash
set -e
work=$1 release=$2
shift 2
ct=$work/ct
mkdir -p "$ct"
mount -t tmpfs ct "$ct"
mkdir "$ct"/{up,work,root}
mount -t overlay -o "lowerdir=/,upperdir=$ct/up,workdir=$ct/work" overlay "$ct/root"
mount --make-private "$ct/root"
r=$ct/root
mount -t proc proc "$r/proc"
mount -t tmpfs sys "$r/sys"
mkdir -p "$r/sys/module" "$r/sys/bus/pci/devices"
mount --bind "$work/root/sys/module" "$r/sys/module"
mount -t tmpfs dev "$r/dev"
for d in null zero urandom random tty; do cp -a "/dev/$d" "$r/dev/"; done
mount -t tmpfs run "$r/run"
mkdir -p "$r/run/nvidia" "$r/drivers" "$r/usr/src/kernels/$release" "$r$work"
mount --rbind "$work/root/run/nvidia" "$r/run/nvidia"
mount --bind "$work/kernel" "$r/usr/src/kernels/$release"
mount --bind "$work" "$r$work"
cp "$work/driver.run" "$r/drivers/NVIDIA-Linux-x86_64-535.1.2.run"
cp "$work/persistenced" "$r/usr/bin/nvidia-persistenced"
echo "$release" >"$ct/osrelease"
echo "Linux version $release (me@here) (gcc 12) #1 SMP today" >"$ct/version"
mount --bind "$ct/osrelease" "$r/proc/sys/kernel/osrelease"
mount --bind "$ct/version" "$r/proc/version"
status=$work/root/run/nvidia/nvidia-driver.status.json
case $* in
*"container init"*)
	rm -f "$status"
	(
		while kill -0 $$ && ! grep -q '"state": "ready"' "$status"; do sleep 0.05; done
		echo "when ready: $(cut -d' ' -f1 "$work/root/sys/modules" | xargs)" >"$work/ready"
		kill -TERM "$(cat "$work/root/run/nvidia/nvidia-driver.pid")"
	) >/dev/null 2>&1 </dev/null &
	;;
esac
exec chroot "$r" env -C "$work" DRIVER_VERSION=535.1.2 TARGETARCH=amd64 KERNEL_MODULE_TYPE=proprietary NVIDIA_VISIBLE_DEVICES=void \
	"$work/fakekmod" "$work/root/sys" "$@"
EOF
	chmod 755 enter
	cat >persistenced <<'EOF'
#!/bin/sh
[ "$1" = --stay ] && while :; do sleep 0.2; done
mkdir -p /var/run/nvidia-persistenced
setsid "$0" --stay </dev/null >/dev/null 2>&1 &
echo $! >/var/run/nvidia-persistenced/nvidia-persistenced.pid
EOF
	chmod 755 persistenced
	gcc -O1 -static -o fakekmod "$here/../real/fakekmod.c" || exit 1
	cp "$NVDRIVER" nvdriver
	NVDRIVER=$work/nvdriver
	sed -i 's/^nvidia nvidia-uvm $/nvidia nvidia-uvm nvidia-modeset /' driver/.manifest
	mkdir driver/kernel/nvidia-modeset
	sed 's/name=nvidia-uvm/name=nvidia-modeset/' driver/kernel/nvidia-uvm/nvidia-uvm.c >driver/kernel/nvidia-modeset/nvidia-modeset.c
	sed -i 's/,nvidia nvidia-uvm)/,nvidia nvidia-uvm nvidia-modeset)/' driver/kernel/Makefile
	printf 'nv-modeset-linux.o: modules\n\t@cp nvidia-modeset/nvidia-modeset.o $@\n' >>driver/kernel/Makefile
	install -D /dev/null kernel/scripts/Makefile.build
	echo '# nothing' >kernel/Makefile
	"$NVDRIVER" runfile pack -f driver -o driver.run >out 2>&1 || fail "making the fixture: the run file"
}
container_init_seed() {
	rm -rf seed root store
	enter_make
	rootfs_make seed/root
	mkdir -p seed/store seed/root/run/nvidia seed/root/run/nvdriver seed/root/sys/module/firmware_class/parameters
	printf /lib/firmware/before >seed/root/sys/module/firmware_class/parameters/path
	: >seed/root/sys/modules
	container_init_command
	# Warm: what building adds is the scenario prepare's.
	fresh
	nvd "${argv[@]}" || fail "making the fixture: the first start: $(cat out)"
	quiet
	rm -rf seed/store
	mv store seed/
}
container_init_command() { argv=(container init); }
