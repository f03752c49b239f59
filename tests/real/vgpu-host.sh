#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What step 1 writes, read by the programs it is written for: apt, GRUB, initramfs-tools and udev of Debian roots, openssl
# and mokutil. The roots are made once and kept in the cache.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
. "$top/tests/cli/lib.sh"
. "$top/tests/cli/vgpu-machines.sh"
cache=${NVD_TEST_CACHE:-$top/.cache}

[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root for chroot"; exit 77; }
command -v mmdebstrap >/dev/null || { echo "1..0 # SKIP no mmdebstrap"; exit 77; }
mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' | awk '$1=="bookworm"{print $2;exit}')

# debian CODENAME PACKAGES: the root in $base, made when missing
debian() {
	base=$cache/vgpu-root-$1
	[ ! -e "$base/etc/debian_version" ] || return 0
	rm -rf "$base.part"
	mmdebstrap -q --variant=apt ${2:+--include="$2"} "$1" "$base.part" "deb [trusted=yes] $mirror $1 main" >"$work/mmdebstrap" 2>&1 ||
		{ rm -rf "$base.part"; return 1; }
	mv "$base.part" "$base"
}
prepared() { # MACHINE: step 1 done on it, at $work/MACHINE
	[ ! -e "$work/$1" ] || return 0
	"m_$1" "$work/$1"
	run --root "$work/$1" --store "$work/store-$1" vgpu step 1 --yes --card 1
	equals "$1: step 1" "$rc" 0
}

# apt of each release, before and after.
apt_reads() { # MACHINE CODENAME
	local m=$1 root=$work/apt-$1
	prepared "$m"
	cp -a --reflink=auto "$base" "$root"
	rm -rf "$root/etc/apt/sources.list" "$root/etc/apt/sources.list.d"
	cp -a "$work/$m/etc/apt/." "$root/etc/apt/"
	chroot "$root" apt-get update --print-uris >"$work/uris" 2>&1
	equals "$2: apt reads what was written for $m" "$?" 0
	equals "$2: without a complaint" "$(grep -E '^[EW]:' "$work/uris")" ""
	equals "$2: the free repository once" "$(grep -c "debian/pve/dists/$2/InRelease" "$work/uris")" 1
	equals "$2: the enterprise repository never" "$(grep -c enterprise.proxmox.com "$work/uris")" 0
	rm -rf "$root"
}
for pair in bullseye:pve7_classic bookworm:pve8_ceph_unlock bookworm:pve8_fresh trixie:pve9_fresh trixie:pve9_upgraded; do
	codename=${pair%%:*}
	case $codename in bookworm) packages=grub2-common,grub-pc-bin,initramfs-tools,kmod,udev ;; trixie) packages=udev ;; *) packages= ;; esac
	if debian "$codename" "$packages"; then apt_reads "${pair#*:}" "$codename"; else skip "$codename: apt reads ${pair#*:}" "no root: $(tail -1 "$work/mmdebstrap")"; fi
done

# GRUB and initramfs-tools of bookworm.
if debian bookworm grub2-common,grub-pc-bin,initramfs-tools,kmod,udev; then
	root=$work/boot
	cp -a --reflink=auto "$base" "$root"
	prepared pve8_fresh
	cp -a "$work/pve8_fresh/etc/default/." "$root/etc/default/"
	cp -a "$work/pve8_fresh/etc/modprobe.d/." "$root/etc/modprobe.d/"
	cp -a "$work/pve8_fresh/etc/modules-load.d/." "$root/etc/modules-load.d/"
	mkdir -p "$root/boot/grub" "$root/lib/modules/6.8.12-4-pve/kernel"
	: >"$root/boot/vmlinuz-6.8.12-4-pve"
	echo CONFIG_RD_GZIP=y >"$root/boot/config-6.8.12-4-pve"
	mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && mount --make-rslave "$root/dev"
	trap 'umount -l "$root/dev" "$root/proc" 2>/dev/null; rm -rf "$work"' EXIT
	# Which disk the root lies on cannot be told in a chroot; the menu's text is what is looked at.
	chroot "$root" env GRUB_DISABLE_OS_PROBER=true sh -c '. /etc/default/grub; for f in /etc/default/grub.d/*.cfg; do . "$f"; done; printf %s "$GRUB_CMDLINE_LINUX_DEFAULT"' >"$work/words"
	equals "a shell joins the words" "$(cat "$work/words")" "quiet intel_iommu=on iommu=pt"
	mkdir -p "$root/usr/local/sbin"
	printf '#!/bin/sh\ncase "$*" in *--target=device*) echo /dev/sda1 ;; *--target=fs_uuid*) echo 1234 ;; *--target=fs*) echo ext2 ;; *--target=partmap*) echo gpt ;; *--target=abstraction*) ;; *) echo x ;; esac\n' >"$root/usr/local/sbin/grub-probe"
	chmod +x "$root/usr/local/sbin/grub-probe"
	mv "$root/usr/sbin/grub-probe" "$root/usr/sbin/grub-probe.real"
	ln -s /usr/local/sbin/grub-probe "$root/usr/sbin/grub-probe"
	chroot "$root" grub-mkconfig >"$work/grub.cfg" 2>"$work/grub.err"
	equals "grub-mkconfig succeeds" "$?" 0
	check "and passes the words to the kernel" grep -qE 'linux.*vmlinuz-6.8.12-4-pve.* quiet intel_iommu=on iommu=pt' "$work/grub.cfg"
	check "the kernel file of modules is read by depmod" chroot "$root" depmod 6.8.12-4-pve
	chroot "$root" update-initramfs -c -k 6.8.12-4-pve >"$work/initramfs" 2>&1
	equals "update-initramfs succeeds" "$?" 0
	chroot "$root" lsinitramfs /boot/initrd.img-6.8.12-4-pve >"$work/listing" 2>/dev/null
	check "and takes the blacklist along" grep -q 'etc/modprobe.d/nvdriver-vgpu.conf' "$work/listing"
	equals "modprobe reads the blacklist" "$(chroot "$root" modprobe --showconfig | grep -cE '^blacklist nouveau$')" 1
	umount -l "$root/dev" "$root/proc"
	trap 'rm -rf "$work"' EXIT
else
	skip "GRUB, initramfs-tools and modprobe" "no bookworm root"
fi

# udev's own check of the rules.
if debian trixie udev; then
	prepared pve8_four
	m_pve8_four "$work/rules"
	echo '{ "passthrough": true }' >"$work/answers.json"
	run --root "$work/rules" --store "$work/store-rules" vgpu step 1 --yes --card 1 --answers "$work/answers.json"
	cp "$work/rules/etc/udev/rules.d/90-vfio-pci.rules" "$base/tmp/90-vfio-pci.rules"
	chroot "$base" udevadm verify /tmp/90-vfio-pci.rules >"$work/udev" 2>&1
	equals "udevadm verify accepts the rules" "$?" 0
	rm -f "$base/tmp/90-vfio-pci.rules"
else
	skip "udevadm verify" "no trixie root"
fi

# mokutil takes DER and no PEM.
if command -v mokutil >/dev/null && command -v openssl >/dev/null; then
	openssl req -new -x509 -newkey rsa:2048 -sha256 -nodes -days 3650 -subj "/CN=Proxmox vGPU Module Signing/" -outform DER -keyout "$work/key" -out "$work/der" 2>/dev/null
	openssl x509 -inform DER -in "$work/der" -out "$work/pem"
	check "openssl's pair is one" test "$(openssl rsa -in "$work/key" -noout -modulus 2>/dev/null)" = "$(openssl x509 -inform DER -in "$work/der" -noout -modulus)"
	mokutil --import "$work/pem" --hash-file /dev/null >"$work/mok" 2>&1
	check "mokutil refuses PEM, or has no firmware to ask" grep -qiE 'DER|EFI variables' "$work/mok"
	hash=$(printf 12345678 | openssl passwd -6 -stdin)
	check "the password's hash is of the form it reads" grep -qE '^\$6\$[./0-9A-Za-z]+\$[./0-9A-Za-z]{86}$' <<<"$hash"
else
	skip "mokutil" "not installed"
fi
finish
