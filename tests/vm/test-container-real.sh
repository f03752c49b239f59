#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The driver container with the real driver: 535.261.03's open modules, user space and firmware in a podman container of a systemd
# node, on a simulated A100, until SIGTERM. The image's user space was put in by nvdriver on the machine, as a Containerfile does.
# What cannot be real is the card's start; the persistence daemon, which needs one, is a stand-in.
. "$(dirname "$0")/lib.sh"
. "$VM_DIR/lib/driver.sh"
. "$VM_DIR/lib/system.sh"
. "$VM_DIR/lib/containerroot.sh"

# The image: user space and modules of the driver, installed by the program under test.
container_image_unlocked() {
	local to=$1 name
	[ ! -d "$to" ] || return 0
	rm -rf "$to.tmp" "$to.node"
	mkdir -p "$to.tmp" "$to.node"/{proc,sys,var/lib}
	container_tree "$to.tmp"
	for name in libpthread.so.0 libdl.so.2 librt.so.1 libm.so.6; do
		cp "/lib/x86_64-linux-gnu/$name" "$to.tmp/usr/lib/x86_64-linux-gnu/"
	done
	if ! DRIVER_VERSION=$DRIVER_VERSION TARGETARCH=amd64 KERNEL_MODULE_TYPE=open \
		"$NVDRIVER" --root "$to.tmp" --store "$DRIVER_STORE" container build --kernel "$RELEASE" --host-root "$to.node" \
		>"$LOG_DIR/container-image" 2>&1; then
		tail -5 "$LOG_DIR/container-image"
		echo "Bail out! no image with the driver can be made, see $LOG_DIR/container-image"
		exit 1
	fi
	rm -rf "$to.node" "$to.tmp/run/nvidia"
	# As it were if the program had run inside.
	ln -sfn /usr/local/bin/nvidia-driver "$to.tmp/usr/src/nvidia-$DRIVER_VERSION/mkprecompiled"
	mv "$to.tmp" "$to"
}

kernel_use amd64
locked driver driver_prepare
modules_build fakegpu
system_image
mkdir -p "$CACHE/images"
find "$CACHE/images" -mindepth 1 -maxdepth 1 -mtime +1 -exec rm -rf {} +
image=$CACHE/images/$(sha256sum "$NVDRIVER" "$VM_DIR/lib/containerroot.sh" "$VM_DIR/test-container-real.sh" | sha256sum | cut -c1-12)
locked driver container_image_unlocked "$image"

bed=$WORK/bed
mkdir -p "$bed/modules" "$bed/over/usr/local/bin"
cp "$MODULES/fakegpu.ko" "$bed/modules/"
cat >"$bed/over/usr/local/bin/nvidia-persistenced" <<-'END'
	#!/bin/sh
	if [ "$1" = --stay ]; then
		while :; do sleep 1000; done
	fi
	mkdir -p /run/nvidia-persistenced
	setsid "$0" --stay </dev/null >/dev/null 2>&1 &
	echo $! >/run/nvidia-persistenced/nvidia-persistenced.pid
END
chmod 755 "$bed/over/usr/local/bin/nvidia-persistenced"
cat "$VM_DIR/guest/"{assert,container-node,container-real}.sh >"$bed/test.sh"

mapfile -t shares < <(
	driver_share node "$DRIVER_STORE"
	driver_share image "$image"
)
# Memory above 1.5 GiB is hidden from the kernel: the simulated card's registers lie there.
GUEST_MEMORY=2048
GUEST_TIMEOUT=900       # a minute on a core of its own, a quarter of an hour when many share it
SYSTEM_MODULES="drm drm_kms_helper video ipmi_msghandler ipmi_devintf"
tap_guest container-real < <(system_run container-real "$bed" "mem=1536M" "${shares[@]}")
tap_done
