#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
#
# Start of every guest's init: file systems and the result line (second serial port). The assertions (assert.sh) and the
# test's own part follow; that ends with `finish`.

/bin/busybox --install -s /bin
export PATH=/usr/sbin:/sbin:/bin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mount -t securityfs security /sys/kernel/security
if [ -d /sys/firmware/efi ]; then
	/sbin/modprobe efivarfs 2>/dev/null
	mount -t efivarfs efivars /sys/firmware/efi/efivars 2>/dev/null
fi
exec >/dev/ttyS1 2>&1

# busybox prefers its own applets of these names.
modprobe() { /sbin/modprobe "$@"; }
insmod() { /sbin/insmod "$@"; }
rmmod() { /sbin/rmmod "$@"; }
lsmod() { /sbin/lsmod "$@"; }

echo "@@BEGIN"
dmesg -n 1
dmesg -c >/tmp/boot.log
