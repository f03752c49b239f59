# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# A driver whose module sources are the stand-in modules: a run file and a store, both made by nvdriver itself for the
# kernel in use. Sourced by the tests that need it.

STUB_DRIVER_VERSION=535.77.01
STUB_DRIVER_MODULES="nvidia nvidia-uvm nvidia-modeset nvidia-drm nvidia-peermem"

stub_driver_tree() {
	local to=$1 sources=$1/kernel-open file
	mkdir -p "$sources" "$to/firmware"
	cp "$VM_DIR/modules/stub/"*.[ch] "$VM_DIR/modules/driver/Makefile" "$VM_DIR/modules/driver/conftest.sh" "$sources/"
	{
		echo "STUB_VERSION = $STUB_DRIVER_VERSION"
		cat "$VM_DIR/modules/stub/Kbuild"
		echo "obj-m := $(printf '%s.o ' $STUB_DRIVER_MODULES)"
	} >"$sources/Kbuild"
	echo "terms" >"$to/LICENSE"
	for file in gsp_ga10x gsp_tu10x; do
		echo "firmware of $STUB_DRIVER_VERSION" >"$to/firmware/$file.bin"
	done
	printf '#!/bin/sh\necho stand-in\n' >"$to/nvidia-smi"
	printf '#!/bin/sh\n' >"$to/nvidia-installer"
	# The daemon keeps a card open, as the real one does.
	cat >"$to/nvidia-persistenced" <<-'END'
		#!/bin/sh
		if [ "$1" = --stay ]; then
			exec 3</dev/nvidia0
			while :; do sleep 1000 3<&-; done
		fi
		mkdir -p /run/nvidia-persistenced
		setsid "$0" --stay </dev/null >/dev/null 2>&1 &
		echo $! >/run/nvidia-persistenced/nvidia-persistenced.pid
	END
	chmod 755 "$to/nvidia-smi" "$to/nvidia-persistenced" "$to/nvidia-installer"
	cat >"$to/.manifest" <<-END
		NVIDIA Accelerated Graphics Driver for Linux-x86_64
		$STUB_DRIVER_VERSION
		 
		$STUB_DRIVER_MODULES 
		 
		 
		./kernel-open/
		./kernel-open/precompiled/
		kernel-open/Makefile 0644 KERNEL_MODULE_SRC INHERIT_PATH_DEPTH:1 MODULE:resman
		nvidia-smi 0755 UTILITY_BINARY MODULE:nvml
		nvidia-persistenced 0755 UTILITY_BINARY MODULE:resman
		firmware/gsp_ga10x.bin 0644 FIRMWARE INHERIT_PATH_DEPTH:1 MODULE:resman
		firmware/gsp_tu10x.bin 0644 FIRMWARE INHERIT_PATH_DEPTH:1 MODULE:resman
	END
}

stub_driver_unlocked() {
	local to=$1 run=NVIDIA-Linux-x86_64-$STUB_DRIVER_VERSION.run
	[ ! -d "$to" ] || return 0
	rm -rf "$to.tmp"
	mkdir -p "$to.tmp"
	stub_driver_tree "$to.tmp/tree"
	if ! "$NVDRIVER" runfile pack "$to.tmp/tree" -o "$to.tmp/$run" >"$LOG_DIR/stub-driver" 2>&1 ||
		! "$NVDRIVER" --store "$to.tmp/store" prepare "$to.tmp/$run" --kernel "$RELEASE" --kernel-source "$KBUILD" \
			--flavour open >>"$LOG_DIR/stub-driver" 2>&1; then
		tail -5 "$LOG_DIR/stub-driver"
		echo "Bail out! nvdriver does not prepare the stand-in driver, see $LOG_DIR/stub-driver"
		exit 1
	fi
	mv "$to.tmp" "$to"
}

# Sets STUB_DRIVER to a directory with the run file and store/; kept by kernel release, sources and program.
stub_driver() {
	local digest
	digest=$(cat "$VM_DIR/modules/stub/"* "$VM_DIR/modules/driver/"* "$VM_DIR/lib/stubdriver.sh" "$NVDRIVER" | sha256sum | cut -c1-12)
	mkdir -p "$CACHE/stub-driver"
	find "$CACHE/stub-driver" -mindepth 1 -maxdepth 1 -mtime +1 -exec rm -rf {} +
	STUB_DRIVER=$CACHE/stub-driver/$RELEASE-$digest
	locked stub-driver stub_driver_unlocked "$STUB_DRIVER"
}
