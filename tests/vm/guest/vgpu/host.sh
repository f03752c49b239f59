# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
# Makes the guest a Proxmox VE host: what the program reads of one, and the programs it calls there. Sourced.
mkdir -p /etc/apt/sources.list.d /etc/apt/trusted.gpg.d /etc/default /etc/systemd/system /var/lib/dpkg /var/log /boot /usr/bin /usr/local/sbin
echo 'VERSION_CODENAME=bookworm' >/etc/os-release
printf 'GRUB_CMDLINE_LINUX_DEFAULT="quiet intel_iommu=on iommu=pt"\n' >/etc/default/grub
: >/etc/apt/trusted.gpg.d/proxmox-release-bookworm.gpg
: >/etc/modules
for package in pve-manager build-essential dkms mdevctl mokutil proxmox-secure-boot-support pve-nvidia-vgpu-helper "linux-headers-$(uname -r)"; do
	printf 'Package: %s\nStatus: install ok installed\nVersion: 8.1.4\n\n' "$package"
done >/var/lib/dpkg/status
for tool in pveversion pvesubscription apt-get apt-cache update-grub update-initramfs systemctl lspci mokutil dkms make cc; do
	ln -s /tool.sh /usr/local/sbin/$tool
done
export NVDRIVER_DATADIR=/data
