# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
#
# From the initramfs into the system on the disk; systemd goes on with /bed/test.sh.
for module in virtio_pci virtio_blk ext4 overlay 9pnet_virtio 9p; do
	modprobe $module || not_ok "the bed: $module loads"
done
mkdir /system
for _ in 1 2 3 4 5 6 7 8 9 10; do
	[ ! -b /dev/vda ] || break
	sleep 0.2
done
mount -t ext4 /dev/vda /system || not_ok "the bed: the system's disk is there"
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose bed /system/bed || not_ok "the bed: the test's files are there"
mkdir -p "/system/lib/modules/$(uname -r)"
cp -a "/lib/modules/$(uname -r)/." "/system/lib/modules/$(uname -r)/"
cp /system.service /system/etc/systemd/system/nvdriver-test.service
trap - EXIT
umount /sys/kernel/security /sys /run /proc
mount --move /dev /system/dev
exec switch_root /system /sbin/init
