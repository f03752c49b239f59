# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Guests: a kernel, an initramfs made of a list of files, two serial lines (console and result). The guest writes
# its results between "@@BEGIN" and "@@DONE status" and powers off; only QEMU ending with 0 *and* that last line
# is an end, so a panic or a time-out can never pass.

GUEST_TIMEOUT=${GUEST_TIMEOUT:-300}     # seconds; a guest alone on a core needs less than 20
GUEST_MEMORY=512                        # MiB

# "source:destination" for the shared libraries of programs, the machine's or those of unpacked packages.
program_libs() {
	local program unpacked=$PKG_ROOT/usr/lib/x86_64-linux-gnu
	for program in "$@"; do
		LD_LIBRARY_PATH=$unpacked ldd "$program" 2>/dev/null | grep -o '/[^ ]*' || true
		# nvdriver loads this one on demand; what it needs itself nvdriver or kmod is linked with.
		[ "$program" != "$NVDRIVER" ] || ldconfig -p | sed -n 's/.*libkmod\.so\.2 .* => //p' | head -n 1
	done | sort -u | while IFS= read -r program; do
		echo "$program:${program#"$PKG_ROOT"}"
	done
}

# Copy "source:destination" pairs (files or directories) below a directory; links are followed.
copy_pairs() {
	local root=$1 pair
	shift
	for pair in "$@"; do
		mkdir -p "$root$(dirname "${pair#*:}")"
		cp -rL "${pair%%:*}" "$root${pair#*:}"
	done
}

pack_cpio() { (cd "$1" && find . | LC_ALL=C sort | cpio -o -H newc --quiet); }

guest_base_unlocked() {
	local out=$1 root applet
	shift
	[ ! -e "$out" ] || return 0
	find "$CACHE" -maxdepth 1 -name 'base-*.cpio' -mtime +1 -delete
	root=$(mktemp -d "$CACHE/tmp/base.XXXXXX")
	mkdir -p "$root"/{bin,sbin,proc,sys,dev,tmp,run,etc,root,lib/firmware}
	cp "$PKG_ROOT/bin/busybox" "$root/bin/"
	ln -s busybox "$root/bin/sh"
	cp /bin/kmod "$root/bin/"
	for applet in modprobe insmod rmmod depmod lsmod modinfo; do
		ln -s ../bin/kmod "$root/sbin/$applet"
	done
	printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'nobody:x:65534:65534:nobody:/:/bin/sh' >"$root/etc/passwd"
	printf '%s\n' 'root:x:0:' 'nogroup:x:65534:' >"$root/etc/group"
	# shellcheck disable=SC2046 # pairs hold no blanks
	copy_pairs "$root" $(program_libs /bin/kmod "$@") 
	for applet in "$@"; do
		copy_pairs "$root" "$applet:/usr/sbin/$(basename "$applet")"
	done
	chmod 755 "$root"
	pack_cpio "$root" >"$out.tmp"
	mv "$out.tmp" "$out"
	rm -rf "$root"
}

# guest_initramfs OUTPUT GUEST-SCRIPT SOURCE:DESTINATION...: the base (busybox, kmod, nvdriver with its libraries,
# kept in the cache) followed by this test's files; the kernel unpacks one archive after the other.
guest_initramfs() {
	local out=$1 script=$2 root base
	shift 2
	base=$CACHE/base-$(sha256sum "$PKG_ROOT/bin/busybox" /bin/kmod "$NVDRIVER" "$VM_DIR/lib/guest.sh" | sha256sum | cut -c1-12).cpio
	locked base guest_base_unlocked "$base" "$NVDRIVER"
	root=$(mktemp -d "$WORK/initramfs.XXXXXX")
	mkdir -p "$root/lib/modules/$RELEASE"
	copy_pairs "$root" "$@"
	{
		cat "$VM_DIR/guest/prelude.sh" "$VM_DIR/guest/assert.sh"
		cat "$script"
	} >"$root/init"
	chmod 755 "$root" "$root/init"
	: >"$root/lib/modules/$RELEASE/modules.order"
	cp "$PKG_ROOT/lib/modules/$RELEASE/modules.builtin"* "$root/lib/modules/$RELEASE/"
	depmod -b "$root" "$RELEASE"
	{
		cat "$base"
		pack_cpio "$root"
	} >"$out"
	rm -rf "$root"
}

# Wait for a free place: one guest per core, over all tests running at once. The descriptor goes to QEMU, so the
# place is given back when that ends, however it ends.
guest_slot() {
	local i
	mkdir -p "$CACHE/slots"
	while :; do
		for ((i = 0; i < $(nproc); i++)); do
			exec {SLOT_FD}>"$CACHE/slots/$i"
			flock -n "$SLOT_FD" && return 0
			exec {SLOT_FD}>&-
		done
		sleep 0.2
	done
}

# guest_run NAME COMMAND-LINE [QEMU ARGUMENTS...]: boots INITRAMFS (unset: from the disk named by the arguments)
# and writes the result lines to standard output. -accel tcg alone: a /dev/kvm that cannot run a machine would
# hang the guest instead of falling back. GUEST_INPUT, when set, is QEMU's standard input.
guest_run() {
	local name=$1 append=$2 status=0 boot=()
	shift 2
	[ -z "${INITRAMFS:-}" ] ||
		boot=(-kernel "$KERNEL" -initrd "$INITRAMFS" -append "console=ttyS0 panic=-1 quiet $append")
	guest_slot
	rm -f "$LOG_DIR/$name.result" "$LOG_DIR/$name.console"
	timeout "$GUEST_TIMEOUT" qemu-system-x86_64 -M "${GUEST_MACHINE:-q35}" -accel tcg -cpu qemu64 -m "$GUEST_MEMORY" \
		-nodefaults -display none -no-reboot "${boot[@]}" -serial "file:$LOG_DIR/$name.console" \
		-serial "file:$LOG_DIR/$name.result" "$@" <"${GUEST_INPUT:-/dev/null}" >"$LOG_DIR/$name.qemu" 2>&1 || status=$?
	exec {SLOT_FD}>&-
	tr -d '\r' <"$LOG_DIR/$name.result" | sed -n 's/.*@@BEGIN/@@BEGIN/; /@@BEGIN/,$p'
	if [ "$status" = 0 ] && grep -q '@@DONE 0' "$LOG_DIR/$name.result"; then
		echo "ok - guest ran to its end"
	else
		echo "not ok - guest ran to its end (QEMU ended with $status; console: $LOG_DIR/$name.console)"
	fi
}

# The same under UEFI firmware with Secure Boot; FIRMWARE_VARS is the variable store, changed by the guest.
guest_run_secureboot() {
	local name=$1 append=$2
	shift 2
	GUEST_MACHINE=q35,smm=on GUEST_MEMORY=1024 guest_run "$name" "$append" \
		-global driver=cfi.pflash01,property=secure,value=on -global ICH9-LPC.disable_s3=1 \
		-drive "if=pflash,unit=0,format=raw,readonly=on,file=$PKG_ROOT/usr/share/OVMF/OVMF_CODE_4M.secboot.fd" \
		-drive "if=pflash,unit=1,format=raw,file=$FIRMWARE_VARS" "$@"
}
