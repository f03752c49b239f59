# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Fixture machines: Proxmox VE hosts as directories, with the recorded answers of their programs. Sourced.

put() { mkdir -p "$(dirname "$1")" && printf '%b' "$2" >"$1"; } # FILE TEXT
# function ROOT ADDRESS VENDOR DEVICE CLASS [GROUP]: one PCI function; group "-" = the IOMMU is off
pci_function() {
	local d=$1/sys/bus/pci/devices/$2 group=${6:--}
	mkdir -p "$d"
	echo "$3" >"$d/vendor"
	echo "$4" >"$d/device"
	echo "$5" >"$d/class"
	echo 0x10de >"$d/subsystem_vendor"
	echo 0x0000 >"$d/subsystem_device"
	[ "$group" != - ] || return 0
	mkdir -p "$1/sys/kernel/iommu_groups/$group/devices" "$1/sys/class/iommu/dmar0"
	ln -sfn "../../../../kernel/iommu_groups/$group" "$d/iommu_group"
	ln -sfn "../../../../bus/pci/devices/$2" "$1/sys/kernel/iommu_groups/$group/devices/$2"
}
# card ROOT ADDRESS DEVICE [GROUP [AUDIO_GROUP]]: a card with its sound function
card() {
	pci_function "$1" "$2" 0x10de "0x$3" 0x030000 "${4:--}"
	pci_function "$1" "${2%.*}.1" 0x10de 0x10f0 0x040300 "${5:-${4:--}}"
}
installed() { printf 'Package: %s\nStatus: install ok installed\nVersion: %s\n\n' "$1" "${2:-1.0}"; }
# answer COMMAND STATUS OUTPUT [FILES]: a line of the recording; FILES: members of an object, what the command leaves
answer() { printf '%s "%s": {"status": %s, "output": "%s"%s}' "${answers:+,}" "$1" "$2" "$3" "${4:+, \"files\": {$4\}}"; }
own=var/lib/nvdriver/vgpu

# machine ROOT MAJOR VERSION KERNEL [KERNEL...]: the newest kernel first; the first runs unless $running says otherwise
machine() {
	local root=$1 major=$2 version=$3 kernel codename prefix
	shift 3
	case $major in 7) codename=bullseye ;; 8) codename=bookworm ;; *) codename=trixie ;; esac
	kernel=${running:-$1}
	mkdir -p "$root"/{usr/{bin,lib/systemd/system},etc/systemd/system/multi-user.target.wants,proc/sys/kernel,sys/bus/pci/devices,etc/apt/sources.list.d,etc/modprobe.d,etc/default,etc/kernel,var/lib/dpkg,boot}
	put "$root/etc/os-release" "PRETTY_NAME=\"Debian\"\nID=debian\nVERSION_CODENAME=$codename\n"
	echo "$kernel" >"$root/proc/sys/kernel/osrelease"
	put "$root/proc/cpuinfo" "processor\t: 0\nvendor_id\t: ${cpu:-GenuineIntel}\n"
	put "$root/proc/cmdline" "BOOT_IMAGE=/boot/vmlinuz-$kernel root=/dev/mapper/pve-root ro quiet\n"
	put "$root/proc/mounts" "/dev/mapper/pve-root / ext4 rw 0 0\n"
	: >"$root/proc/modules"
	put "$root/etc/modules" "# /etc/modules: kernel modules to load at boot time.\n"
	put "$root/etc/default/grub" 'GRUB_DEFAULT=0\nGRUB_TIMEOUT=5\nGRUB_DISTRIBUTOR="Proxmox Virtual Environment"\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX=""\n'
	{
		installed pve-manager "$version"
		for kernel; do
			case $kernel in 5.* | 6.2.*) prefix=pve ;; *) prefix=proxmox ;; esac
			installed "$prefix-kernel-$kernel"
			put "$root/boot/vmlinuz-$kernel" ""
			put "$root/lib/modules/$kernel/modules.dep" "kernel/drivers/vfio/vfio.ko:\nkernel/drivers/vfio/vfio_iommu_type1.ko: kernel/drivers/vfio/vfio.ko\nkernel/drivers/vfio/pci/vfio-pci.ko:\nkernel/drivers/gpu/drm/nouveau/nouveau.ko:\n"
			case $kernel in 5.* | 6.0.*) echo 'kernel/drivers/vfio/vfio_virqfd.ko:' >>"$root/lib/modules/$kernel/modules.dep" ;; esac
		done
	} >"$root/var/lib/dpkg/status"
	if [ "$codename" = trixie ]; then
		put "$root/usr/share/keyrings/proxmox-archive-keyring.gpg" ""
		put "$root/etc/apt/sources.list.d/debian.sources" "Types: deb\nURIs: http://deb.debian.org/debian/\nSuites: trixie trixie-updates\nComponents: main contrib\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
		put "$root/etc/apt/sources.list.d/pve-enterprise.sources" "Types: deb\nURIs: https://enterprise.proxmox.com/debian/pve\nSuites: trixie\nComponents: pve-enterprise\nSigned-By: /usr/share/keyrings/proxmox-archive-keyring.gpg\n"
	else
		put "$root/etc/apt/trusted.gpg.d/proxmox-release-$codename.gpg" ""
		put "$root/etc/apt/sources.list" "deb http://ftp.debian.org/debian $codename main contrib\n\ndeb http://ftp.debian.org/debian $codename-updates main contrib\n\n# security updates\ndeb http://security.debian.org $codename-security main contrib\n\n"
		put "$root/etc/apt/sources.list.d/pve-enterprise.list" "deb https://enterprise.proxmox.com/debian/pve $codename pve-enterprise\n"
	fi
	answers=
	{
		printf '{"log": true, "commands": {'
		answers=1
		printf ' "pveversion": {"status": 0, "output": "pve-manager/%s/0123456789abcdef (running kernel: %s)\\n"}' "$version" "$(cat "$root/proc/sys/kernel/osrelease")"
		answer "pvesubscription get" 0 "status: ${subscription:-notfound}\\n"
		answer "apt-cache pkgnames *" 0 "${archive:-}"
		answer "apt-cache policy *" 0 "p:\\n  Installed: (none)\\n  Candidate: 1.0\\n"
		[ "$major" != 7 ] || answer "apt-cache policy pve-nvidia-vgpu-helper" 0 ""
		for kernel in 'apt-get update *' 'apt-get install *' 'apt-get remove *' 'proxmox-boot-tool *' update-grub 'update-initramfs *' 'openssl req *' 'mokutil --import *' 'mokutil --revoke-import' 'rm *' 'systemctl *' 'chmod *'; do
			answer "$kernel" 0 ""
		done
		# The community's projects, and a compiler.
		answer "git clone --depth 1 https://gitlab.com/polloloco/vgpu-proxmox.git /$own/vgpu-proxmox" 0 "" "\"$own/vgpu-proxmox/README.md\": \"patches\""
		answer "git clone --depth 1 --branch v2.5.0 https://github.com/mbilker/vgpu_unlock-rs.git /$own/vgpu_unlock-rs" 0 "" "\"$own/vgpu_unlock-rs/Cargo.toml\": \"source\""
		answer "rm -rf /$own/vgpu-proxmox" 0 "" "\"$own/vgpu-proxmox\": null"
		answer "rm -rf /$own/vgpu_unlock-rs" 0 "" "\"$own/vgpu_unlock-rs\": null"
		answer "curl *" 0 "" "\"$own/rustup-init\": \"installer\""
		answer "rm -f /$own/rustup-init" 0 "" "\"$own/rustup-init\": null"
		answer "env *" 0 "" "\"$own/vgpu_unlock-rs/target/release/libvgpu_unlock_rs.so\": \"library\""
		answer "install *" 0 "" '"usr/lib/nvdriver/libvgpu_unlock_rs.so": "library"'
		answer "rm -f /usr/lib/nvdriver/libvgpu_unlock_rs.so" 0 "" '"usr/lib/nvdriver/libvgpu_unlock_rs.so": null'
		answer "openssl passwd -6 -stdin" 0 '$6$salt$hash\n'
		answer "mokutil --test-key *" 0 "/var/lib/dkms/mok.pub ${mok:-is not enrolled}\\n"
		answer "zpool get *" 0 "${zpool:-size\\t1T\\n}"
		printf '}}\n'
	} >"$root/nvdriver-commands.json"
}
efi() { # ROOT 0|1: booted through UEFI, Secure Boot off or on
	mkdir -p "$1/sys/firmware/efi/efivars"
	printf "\\006\\000\\000\\000\\00$2" >"$1/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
}
zfs_root() { # ROOT: on a pool, kernels copied by proxmox-boot-tool
	put "$1/proc/mounts" "rpool/ROOT/pve-1 / zfs rw,relatime 0 0\n"
	put "$1/etc/kernel/proxmox-boot-uuids" "1234-ABCD\n"
	put "$1/etc/kernel/cmdline" "root=ZFS=rpool/ROOT/pve-1 boot=zfs\n"
}

# Each builds one machine at $1; what is peculiar to it is its name.
m_pve7_classic() { # everything in sources.list, as hosts upgraded since PVE 4 have it; four unlock modules by hand
	cpu=AuthenticAMD machine "$1" 7 7.4-17 5.15.158-2-pve 5.15.116-1-pve
	put "$1/etc/apt/sources.list" "# deb cdrom:[Debian]/ bullseye main\n\ndeb http://ftp.debian.org/debian bullseye main contrib\ndeb http://security.debian.org/debian-security bullseye-security main contrib\n\n# PVE, not for production\n#deb http://download.proxmox.com/debian/pve bullseye pve-no-subscription\ndeb https://enterprise.proxmox.com/debian/pve bullseye pve-enterprise\n\n"
	rm "$1/etc/apt/sources.list.d/pve-enterprise.list"
	put "$1/etc/modules" "# /etc/modules\nvfio\nvfio_pci"
	card "$1" 0000:0a:00.0 1b80
}
m_pve8_fresh() { machine "$1" 8 8.2.4 6.8.12-4-pve; card "$1" 0000:01:00.0 26b5; }
m_pve8_subscription() { subscription=Active machine "$1" 8 8.4.1 6.8.12-9-pve; card "$1" 0000:01:00.0 1e30; }
m_pve8_ceph_unlock() { # Quincy stays Quincy; the card wants a branch its kernel fits
	machine "$1" 8 8.2.4 6.8.12-4-pve
	put "$1/etc/apt/sources.list.d/ceph.list" "deb https://enterprise.proxmox.com/debian/ceph-quincy bookworm enterprise\n"
	card "$1" 0000:01:00.0 1e07
}
m_pve8_nouveau() { machine "$1" 8 8.1.3 6.5.13-5-pve; echo 'nouveau 2424832 1 - Live 0x0000000000000000' >"$1/proc/modules"; card "$1" 0000:01:00.0 1b38; }
m_pve8_zfs_sdboot() { machine "$1" 8 8.2.4 6.8.12-4-pve; efi "$1" 0; zfs_root "$1"; card "$1" 0000:01:00.0 20b5; }
m_pve8_secureboot() { machine "$1" 8 8.2.4 6.8.12-4-pve; efi "$1" 1; zfs_root "$1"; card "$1" 0000:01:00.0 26b5; }
m_pve8_sb_pending() {
	mok='is already in the enrollment request' machine "$1" 8 8.2.4 6.8.12-4-pve
	efi "$1" 1
	put "$1/var/lib/dkms/mok.key" key
	put "$1/var/lib/dkms/mok.pub" der
	card "$1" 0000:01:00.0 26b5
}
m_pve8_sb_enrolled() { m_pve8_sb_pending "$1"; sed -i 's/is already in the enrollment request/is already enrolled/' "$1/nvdriver-commands.json"; }
m_pve8_none() { machine "$1" 8 8.2.4 6.8.12-4-pve; card "$1" 0000:01:00.0 2684; }
m_pve8_four() { # four cards, two of one kind, the IOMMU on by default: the others go to passthrough with their sound
	machine "$1" 8 8.4.1 6.8.12-9-pve
	card "$1" 0000:01:00.0 26b5 12
	card "$1" 0000:02:00.0 2684 13
	card "$1" 0000:03:00.0 2684 14
	card "$1" 0001:01:00.0 1b80 15
	pci_function "$1" 0000:00:01.0 0x8086 0x1901 0x060400 12
}
m_pve8_shared() { machine "$1" 8 8.4.1 6.8.12-9-pve; card "$1" 0000:01:00.0 26b5 12; card "$1" 0000:02:00.0 2684 12; }
m_pve8_nocard() { machine "$1" 8 8.4.1 6.8.12-9-pve; }
m_pve8_unknown() { machine "$1" 8 8.4.1 6.8.12-9-pve; card "$1" 0000:01:00.0 fffe; }
m_pve8_off() { m_pve8_fresh "$1"; sed -i 's/"quiet"/"quiet intel_iommu=off"/' "$1/etc/default/grub"; }
m_pve9_fresh() { machine "$1" 9 9.1.1 6.17.2-1-pve; card "$1" 0000:01:00.0 26b5; }
m_pve9_unlock() { # no branch for this card builds for 6.17: the archive's newest kernel within the bounds is offered
	archive='proxmox-kernel-6.14.11-4-pve\nproxmox-kernel-6.14.11-5-pve\nproxmox-kernel-6.14.11-5-pve-signed\nproxmox-kernel-6.17.2-2-pve\nproxmox-kernel-6.14\n' \
		machine "$1" 9 9.1.1 6.17.2-1-pve
	card "$1" 0000:01:00.0 1e07
}
m_pve9_zfs_new() { zpool='feature@block_cloning\tactive\nfeature@com.truenas:block_cloning_endian\tenabled\n' m_pve9_unlock "$1"; zfs_root "$1"; efi "$1" 0; }
m_pve9_upgraded() { # from 8: both forms of sources, documented file there and off, the baseline's grub edit done
	machine "$1" 9 9.0.3 6.14.11-4-pve 6.8.12-9-pve
	put "$1/etc/apt/sources.list.d/proxmox.sources" "# free\nTypes: deb\nURIs: http://download.proxmox.com/debian/pve\nSuites: trixie\nComponents: pve-no-subscription\nSigned-By: /usr/share/keyrings/proxmox-archive-keyring.gpg\nEnabled: no\n"
	put "$1/etc/apt/sources.list" "# now in debian.sources\n"
	sed -i 's/"quiet"/"quiet intel_iommu=on iommu=pt"/' "$1/etc/default/grub"
	card "$1" 0000:41:00.0 2bb5
}

machines=$(declare -F | sed -n 's/^declare -f m_//p')

# The same peculiarities on the other releases.
pool() { efi "$1" "${2:-0}"; zfs_root "$1"; } # a ZFS root, started through UEFI
four() { # as pve8_four
	card "$1" 0000:01:00.0 "$2" 12
	card "$1" 0000:02:00.0 2684 13
	card "$1" 0000:03:00.0 2684 14
	card "$1" 0001:01:00.0 1b80 15
	pci_function "$1" 0000:00:01.0 0x8086 0x1901 0x060400 12
}
pending() {
	efi "$1" 1
	put "$1/var/lib/dkms/mok.key" key
	put "$1/var/lib/dkms/mok.pub" der
}
pve7() { machine "$1" 7 7.4-17 5.15.158-2-pve; }
m_pve7_fresh() { pve7 "$1"; card "$1" 0000:01:00.0 1eb8; }
m_pve7_subscription() { subscription=Active pve7 "$1"; card "$1" 0000:01:00.0 1e30; }
m_pve7_ceph() { pve7 "$1"; put "$1/etc/apt/sources.list.d/ceph.list" "deb http://download.proxmox.com/debian/ceph-pacific bullseye main\n"; card "$1" 0000:01:00.0 1eb8; }
m_pve7_zfs_grub() { pve7 "$1"; zfs_root "$1"; card "$1" 0000:01:00.0 1eb8; }
m_pve7_zfs_sdboot() { pve7 "$1"; pool "$1"; card "$1" 0000:01:00.0 1eb8; }
m_pve7_secureboot() { pve7 "$1"; efi "$1" 1; card "$1" 0000:01:00.0 1eb8; }
m_pve7_sb_pending() { mok='is already in the enrollment request' pve7 "$1"; pending "$1"; card "$1" 0000:01:00.0 1eb8; }
m_pve7_nouveau() { m_pve7_fresh "$1"; echo 'nouveau 2424832 1 - Live 0x0000000000000000' >"$1/proc/modules"; }
m_pve7_none() { pve7 "$1"; card "$1" 0000:01:00.0 2684; }
m_pve7_four() { pve7 "$1"; four "$1" 1eb8; }
m_pve7_shared() { pve7 "$1"; card "$1" 0000:01:00.0 1eb8 12; card "$1" 0000:02:00.0 2684 12; }
m_pve8_upgraded() { # from 7: the older release's kernel, enterprise off by hand, the script's words and modules
	machine "$1" 8 8.4.1 6.8.12-9-pve 5.15.158-2-pve
	put "$1/etc/apt/sources.list.d/pve-enterprise.list" "# deb https://enterprise.proxmox.com/debian/pve bookworm pve-enterprise\n"
	put "$1/etc/apt/sources.list.d/pve-no-subscription.list" "deb http://download.proxmox.com/debian/pve bookworm pve-no-subscription\n"
	put "$1/etc/modules" "vfio\nvfio_iommu_type1\nvfio_pci\nvfio_virqfd\n"
	put "$1/etc/modprobe.d/blacklist.conf" "blacklist nouveau\n"
	sed -i 's/"quiet"/"quiet intel_iommu=on iommu=pt"/' "$1/etc/default/grub"
	card "$1" 0000:01:00.0 26b5
}
m_pve8_zfs_grub() { machine "$1" 8 8.2.4 6.8.12-4-pve; zfs_root "$1"; card "$1" 0000:01:00.0 20b5; } # a ZFS root, no UEFI
m_pve8_unlock_secureboot() { machine "$1" 8 8.2.4 6.8.12-4-pve; efi "$1" 1; card "$1" 0000:01:00.0 1e07; }
pve9() { machine "$1" 9 9.1.1 6.17.2-1-pve; }
m_pve9_subscription() { subscription=Active pve9 "$1"; card "$1" 0000:01:00.0 26b5; }
m_pve9_ceph() {
	pve9 "$1"
	put "$1/etc/apt/sources.list.d/ceph.sources" "Types: deb\nURIs: https://enterprise.proxmox.com/debian/ceph-squid\nSuites: trixie\nComponents: enterprise\nSigned-By: /usr/share/keyrings/proxmox-archive-keyring.gpg\n"
	card "$1" 0000:01:00.0 26b5
}
m_pve9_zfs_grub() { pve9 "$1"; zfs_root "$1"; card "$1" 0000:01:00.0 26b5; }
m_pve9_zfs_sdboot() { pve9 "$1"; pool "$1"; card "$1" 0000:01:00.0 26b5; }
m_pve9_secureboot() { pve9 "$1"; pool "$1" 1; card "$1" 0000:01:00.0 26b5; }
m_pve9_sb_pending() { mok='is already in the enrollment request' pve9 "$1"; pending "$1"; card "$1" 0000:01:00.0 26b5; }
m_pve9_nouveau() { m_pve9_fresh "$1"; echo 'nouveau 2424832 1 - Live 0x0000000000000000' >"$1/proc/modules"; }
m_pve9_none() { pve9 "$1"; card "$1" 0000:01:00.0 2684; }
m_pve9_four() { pve9 "$1"; four "$1" 26b5; }
m_pve9_shared() { pve9 "$1"; card "$1" 0000:01:00.0 26b5 12; card "$1" 0000:02:00.0 2684 12; }
more_machines=$(declare -F | sed -n 's/^declare -f m_//p' | grep -vxF "$machines")
