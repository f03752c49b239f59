# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
exec >/dev/ttyS1 2>&1
export PATH=/usr/sbin:/usr/bin:/sbin:/bin NVDRIVER_STORE=/var/lib/nvdriver NVDRIVER_DATADIR=/bed/program/data
poweroff() { systemctl poweroff --force --force; }
version=535.261.03
other=535.309.01
config=/usr/local/phoenix_hypervisor/etc/phoenix_lxc_configs.json

uptime_s() { cut -d. -f1 /proc/uptime; }
share() { # TAG AT: read-only
	mkdir -p "$2"
	mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144 "$1" "$2" || not_ok "the bed: share $1"
}
over() { # AT LAYERS: a writable directory over read-only ones
	mkdir -p "$1" "/srv/up$1" "/srv/work$1"
	mount -t overlay -o "lowerdir=$2,upperdir=/srv/up$1,workdir=/srv/work$1" overlay "$1" || not_ok "the bed: $1"
}
container() { # NAME LAYERS
	over "/var/lib/lxc/$1/rootfs" "$2"
	cat >"/var/lib/lxc/$1/config" <<-END
		lxc.include = /usr/share/lxc/config/common.conf
		lxc.uts.name = $1
		lxc.rootfs.path = dir:/var/lib/lxc/$1/rootfs
		lxc.net.0.type = empty
		lxc.apparmor.profile = unconfined
		lxc.init.cmd = /usr/bin/busybox sleep 100000
		lxc.signal.halt = SIGKILL
	END
	exits "container $1 starts" 0 lxc-start -n "$1"
}
inside() { n=$1; shift; lxc-attach -n "$n" --clear-env -- "$@"; }
pid() { lxc-info -n "$1" -pH; }
nvd() { nvdriver lxc "$@"; }

dmesg -n 1
cp -n /bed/program/lib/* /usr/lib/x86_64-linux-gnu/
cp /bed/program/nvdriver /usr/sbin/
ldconfig
share driver /srv/driver
share own /srv/own
over /var/lib/nvdriver /bed/store
modprobe erofs
modprobe loop
is "cgroup v2 alone" "$(stat -f -c %T /sys/fs/cgroup)" cgroup2fs
container plain /bed/root
container bare /srv/own:/bed/root
plain=$(pid plain)
bare=$(pid bare)

echo "an image nobody can change, at $(uptime_s) s"
truncate -s 512M /srv/verity.img
exits "a file system with fs-verity" 0 mkfs.ext4 -q -O verity /srv/verity.img
mkdir -p /srv/verity
exits "is mounted" 0 mount -o loop /srv/verity.img /srv/verity
cp -a /bed/store /srv/verity/store
exits "the driver's image is made on it" 0 nvdriver --store /srv/verity/store lxc sync --prepare $version
image=$(echo /srv/verity/store/images/*.erofs)
has "and held to its bytes by the kernel" "$(cat "${image%.erofs}.json")" '"verity"'
exits "root cannot change it" 1 dd if=/dev/zero "of=$image" bs=1 count=1 conv=notrunc

echo "before the driver is loaded, at $(uptime_s) s"
mkdir -p "$(dirname $config)"
echo '{"lxc_configs":{"plain":{"features":["nvidia"],"gpu_assignment":"0","nvidia_driver_version":"'$other'"}}}' >$config
exits "a container gets the user space of $other" 0 nvd install plain --allow-no-host-driver --level static
is "it was not restarted" "$(pid plain)" "$plain"
rm $config
exits "nvidia-smi is there, and is not let at any device" 255 inside plain nvidia-smi

echo "the driver is loaded, at $(uptime_s) s"
insmod /bed/modules/fakegpu.ko ids=0x20b510de domain=0 busnr=0x41 rambar=1 membase=0x60000000 || not_ok "the bed: a card appears"
exits "the driver loads" 0 nvdriver --store /srv/driver load
has "it is $version" "$(cat /proc/driver/nvidia/version)" $version
exits "without passthrough NVML says" 255 inside bare nvidia-smi
has "that it does not know why" "$OUT$ERR" "Unknown Error"
exits "devices, into the running container" 0 nvd devices bare
is "it was not restarted" "$(pid bare)" "$bare"
exits "with them the driver is reached; its card cannot start" 6 inside bare nvidia-smi
has "as it says" "$OUT" "No devices were found"

echo "the wrong user space, at $(uptime_s) s"
exits "devices for the other one" 0 nvd devices plain
exits "its user space does not fit the loaded driver" 18 inside plain nvidia-smi
has "which it says" "$OUT" "version mismatch"
exits "verify says so" 8 nvd verify plain --level static
exits "sync" 0 nvd sync
is "it runs all the time" "$(pid plain)" "$plain"
exits "and reaches the driver" 6 inside plain nvidia-smi
has "which says" "$OUT" "No devices were found"
exits "every device opens inside" 0 nvd verify plain --level device
exits "a second sync" 0 nvd sync
has "finds nothing to do" "$OUT" already
lxc-attach -n plain --clear-env -- dlopen-loop /stop >/tmp/loop 2>&1 &
loop=$!
exits "the way back" 0 nvd rollback --all
exits "is the mismatch again" 18 inside plain nvidia-smi
exits "and forward" 0 nvd sync
exits "is right again" 6 inside plain nvidia-smi
inside plain touch /stop
wait $loop
is "meanwhile no library was ever missing, no directory ever mixed" "$?" 0
cat /tmp/loop

echo "another driver is loaded and nobody calls, at $(uptime_s) s"
current() { readlink /run/nvdriver/live/current; }
exits "the way back" 0 nvd rollback --all
has "is $other" "$(current)" $other
exits "the driver is unloaded" 0 nvdriver --store /srv/driver unload
systemctl set-environment "NVDRIVER_DATADIR=$NVDRIVER_DATADIR" "PATH=$PATH"
exits "udev runs" 0 systemctl start systemd-udevd
exits "the driver loads" 0 nvdriver --store /srv/driver load
for _ in $(seq 240); do
	case $(current) in $version-*) break ;; esac
	sleep 0.25
done
has "the containers have its user space" "$(current)" $version
for _ in $(seq 240); do
	[ "$(systemctl is-active nvidia-gpu-sync.service)" = activating ] || break
	sleep 0.25
done
is "by the unit that the module's announcement starts" "$(systemctl show -P Result nvidia-gpu-sync.service)" success
is "it runs all the time" "$(pid plain)" "$plain"
exits "and reaches the driver" 6 inside plain nvidia-smi
exits "every device opens inside" 0 nvd verify plain --level device
systemctl stop systemd-udevd systemd-udevd-control.socket systemd-udevd-kernel.socket 2>/dev/null

echo "out again, at $(uptime_s) s"
exits "remove" 0 nvd remove plain bare
exits "the container has no driver" 127 inside plain nvidia-smi
exits "nor the card's device" 1 inside plain ls /dev/nvidia0
exits "and may not have one" 255 inside bare nvidia-smi
is "it ran all the time" "$(pid plain) $(pid bare)" "$plain $bare"
is "nobody keeps the driver busy" "$(nvdriver --store /srv/driver unload >/tmp/out 2>&1; echo $?)" 0
echo "end, at $(uptime_s) s"
finish
