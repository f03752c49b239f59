#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The real driver through the distribution's LXD: its own daemon in a directory, unpacked and not installed. LXD takes devices
# from /dev alone, so everything runs in a mount name-space with a /dev of its own; the machine's is never touched.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
# shellcheck source=tests/cli/lib.sh
. "$top/tests/cli/lib.sh"
# shellcheck source=tests/lib/lxc-machine.sh
. "$top/tests/lib/lxc-machine.sh"
private_or_skip "$0" "$@"
cgroups_or_skip
machine_or_skip

# -- the daemon --
lxd_root=$lxc_cache/lxd-root
if [ ! -x "$lxd_root/usr/bin/lxd" ]; then
	mkdir -p "$work/debs" "$lxd_root.part"
	chmod 777 "$work/debs"
	# shellcheck disable=SC2086
	(cd "$work/debs" && apt-get download lxd lxd-client libdqlite0 libraft2 libuv1 libsqlite3-0 squashfs-tools liblzo2-2 rsync libpopt0 libxxhash0 attr) >"$work/apt" 2>&1 ||
		skip_all "LXD's packages cannot be had: $(tail -1 "$work/apt")"
	for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$lxd_root.part"; done
	mv "$lxd_root.part" "$lxd_root"
fi
cat >"$work/client" <<C
#!/bin/sh
export LXD_DIR=$work/lxd LD_LIBRARY_PATH=$lxd_root/usr/lib/x86_64-linux-gnu PATH=$lxd_root/usr/bin:\$PATH HOME=$work
exec $lxd_root/usr/bin/lxc "\$@"
C
chmod 755 "$work/client"
client() { "$work/client" "$@"; }
mkdir "$work/lxd" "$work/dev"
mount -t tmpfs -o mode=755 dev "$work/dev"
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty "$work/dev/"
[ ! -e /dev/loop-control ] || cp -a /dev/loop* "$work/dev/"
mkdir "$work/dev/pts" "$work/dev/shm"
ln -s pts/ptmx "$work/dev/ptmx"
ln -s /proc/self/fd "$work/dev/fd"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$work/dev/pts"
rmdir "$host/dev" && mkdir "$host/dev"
mount --bind "$work/dev" "$host/dev"
mount --rbind "$work/dev" /dev
LXD_DIR=$work/lxd LD_LIBRARY_PATH=$lxd_root/usr/lib/x86_64-linux-gnu PATH=$lxd_root/usr/bin:$PATH "$lxd_root/usr/bin/lxd" --group root >"$work/lxd.log" 2>&1 </dev/null &
daemon=$!
lxd_end() {
	for n in priv unpriv; do client delete --force $n >/dev/null 2>&1; done
	kill "$daemon" 2>/dev/null
	wait "$daemon" 2>/dev/null
	umount -l "$host/dev" /dev "$work/dev"
	for m in "$work"/lxd/*; do while mountpoint -q "$m"; do umount -l "$m" || break; done; done
	lxc_machine_end
}
trap lxd_end EXIT
for _ in $(seq 120); do
	timeout 10 "$work/client" query /1.0 >/dev/null 2>&1 && break
	kill -0 "$daemon" 2>/dev/null || skip_all "LXD does not run here: $(tail -1 "$work/lxd.log")"
	sleep 0.5
done
timeout 10 "$work/client" query /1.0 >/dev/null 2>&1 || skip_all "LXD does not answer: $(tail -1 "$work/lxd.log")"

client storage create default dir >"$work/setup" 2>&1
client profile device add default root disk path=/ pool=default >>"$work/setup" 2>&1
printf 'architecture: x86_64\ncreation_date: 1700000000\nproperties: {os: debian, release: bookworm}\n' >"$work/metadata.yaml"
tar -C "$work" -czf "$work/meta.tar.gz" metadata.yaml
PATH=$lxd_root/usr/bin:$PATH LD_LIBRARY_PATH=$lxd_root/usr/lib/x86_64-linux-gnu mksquashfs "$lxc_base" "$work/rootfs.squashfs" -noappend -comp gzip -Xcompression-level 1 -quiet -no-progress >>"$work/setup" 2>&1
client image import "$work/meta.tar.gz" "$work/rootfs.squashfs" --alias deb >>"$work/setup" 2>&1 || skip_all "LXD takes no image: $(tail -1 "$work/setup")"
instance() { # NAME CONFIG...
	local n=$1
	shift
	client init deb "$n" "$@" >>"$work/setup" 2>&1 && client config set "$n" raw.lxc 'lxc.init.cmd = /bin/sleep infinity' &&
		client start "$n" >>"$work/setup" 2>&1 || { client info --show-log "$n" | tail -5 | sed 's/^/# /'; return 1; }
}
instance priv -c security.privileged=true || skip_all "LXD starts no container here: $(tail -1 "$work/setup")"
sed -i "s|^\[lxc\]|[lxc]\nincus = $work/client|" "$host/etc/nvdriver/nvdriver.conf"
mkdir -p "$host/var/lib/lxd"
: >"$host/var/lib/lxd/unix.socket"
inside() { local n=$1; shift; client exec "$n" --mode=non-interactive -- "$@"; }

# -- the driver --
client config show priv | grep -v volatile >"$work/priv.config"
install priv
equals "a running, privileged container of LXD" "$rc" 0
[ "$rc" = 0 ] || sed 's/^/# /' "$work/err" | head -20
inside priv nvidia-smi >"$work/smi" 2>&1
equals "nvidia-smi runs and finds no driver loaded" "$?" 9
inside priv sh -c 'exec 3<>/dev/nvidia0' 2>"$work/open"
check "the device is let through and has no driver" grep -qi "no such device" "$work/open"
inside priv sh -c 'mount -o remount,rw /usr/lib/nvdriver; mkdir /usr/lib/nvdriver/x; rm -rf /usr/lib/nvdriver/current/lib' >/dev/null 2>&1
check "its root cannot change the shared driver" test -e "$host/run/nvdriver/live/current/lib/libcuda.so.1"
install priv
check "a second run finds nothing to do" grep -q "nothing to do" "$work/out"
run --root "$host" lxc verify priv --level static --cuda-init --json
equals "CUDA is started inside" "$(grep -o '"cuda_init": [0-9]*' "$work/out")" '"cuda_init": 100'
client restart --force priv >/dev/null 2>&1
inside priv nvidia-smi >"$work/smi" 2>&1
equals "after a restart it is all there" "$?" 9
run --root "$host" lxc remove priv
equals "remove" "$rc" 0
equals "gives the configuration back" "$(client config show priv | grep -v volatile | diff "$work/priv.config" -)" ""
check "and the container's files" inside priv sh -c 'test ! -e /usr/bin/nvidia-smi && test ! -e /etc/ld.so.conf.d/00-nvdriver.conf'
if instance unpriv -c security.idmap.isolated=false 2>/dev/null; then
	client stop --force unpriv >/dev/null 2>&1
	install unpriv
	equals "a stopped container with an id mapping" "$rc" 0
	inside unpriv nvidia-smi >"$work/smi" 2>&1
	equals "nvidia-smi runs there too" "$?" 9
	check "it has the whole shared directory, by links" inside unpriv test -L /usr/lib/nvdriver/current
else
	skip "a container with an id mapping" "LXD starts none here: $(tail -1 "$work/setup")"
fi
finish
