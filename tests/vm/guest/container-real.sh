# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
version=535.261.03
card=0000:41:00.0
# Seen through 9p the files of the store have other inodes than recorded, so the whole driver is read and hashed.
READY_S=700

dmesg -n 1
mkdir -p /var/lib/nvdriver /srv/store/up /srv/store/work /run/nvidia /srv/node /srv/image
for share in node image; do
	mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144 $share /srv/$share || not_ok "the bed: share $share"
done
mount -t overlay -o lowerdir=/srv/node,upperdir=/srv/store/up,workdir=/srv/store/work overlay /var/lib/nvdriver ||
	not_ok "the bed: a store"
insmod /bed/modules/fakegpu.ko ids=0x20b510de domain=0 busnr=0x41 rambar=1 membase=0x60000000 ||
	not_ok "the bed: a card appears"
echo /opt/found >$firmware # what somebody left there, with its newline
mounts_before=$(mounts)
VARIABLES="-e DRIVER_VERSION=$version"

echo "start, at $(uptime_s) s"
from=$(cut -d' ' -f1 /proc/uptime)
start one /bed/over:/srv/image init
ready "the driver container gets ready" one
echo "from podman run to ready: $(cut -d' ' -f1 /proc/uptime | awk -v from="$from" '{ print $1 - from }') s"
[ "$(state)" = ready ] || finish
is "nothing was built and no user space copied" "$(said one | grep -c 'nothing to build\|user space of driver .* is in place')" 2
is "load order" "$(nvidia_modules)" "nvidia nvidia_uvm nvidia_modeset"
has "the driver says its version" "$(cat /proc/driver/nvidia/version)" "$version"
has "and the card's name" "$(cat /proc/driver/nvidia/gpus/$card/information)" "NVIDIA A100 80GB PCIe"
is "the firmware search path leads into the export" "$(cat $firmware)" /run/nvidia/driver/lib/firmware
kernel_log >/dev/null
exits "nvidia-smi in the export finds no usable card" 6 chroot /run/nvidia/driver /usr/bin/nvidia-smi
has "and says so" "$OUT" "No devices were found"
log=$(kernel_log)
has "the kernel took the firmware from the export" "$log" "gsp_"
is "none was missing" "$(echo "$log" | grep -c 'Direct firmware load for nvidia')" 0

echo "end, at $(uptime_s) s"
P kill -s TERM one >/dev/null
ended "SIGTERM ends it with 0" one 0
discard one
clean "after TERM"
is "no device number is left" "$(grep -c nvidia /proc/devices)" 0
free -m | sed -n 2p
finish
