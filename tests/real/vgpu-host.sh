#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the vGPU role writes, read by the programs it is written for: apt, GRUB, initramfs-tools, DKMS, udev and systemd of Debian
# roots, docker-compose, openssl and mokutil; and GNU patch of two releases on the patches of the community's kind. The roots
# are made once and kept in the cache.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
. "$top/tests/cli/lib.sh"
. "$top/tests/cli/vgpu-machines.sh"
. "$top/tests/cli/vgpu-step2.sh"
cache=${NVD_TEST_CACHE:-$top/.cache}

[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root for chroot"; exit 77; }
command -v mmdebstrap >/dev/null || { echo "1..0 # SKIP no mmdebstrap"; exit 77; }
mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' | awk '$1=="bookworm"{print $2;exit}')

declare -A packages=(
	[bullseye]="udev"
	[bookworm]="grub2-common,grub-pc-bin,initramfs-tools,kmod,udev,dkms,openssl"
	[trixie]="udev,systemd,patch,openssl,docker-compose"
)
# debian CODENAME: the root in $base, made when missing or made with other packages
debian() {
	base=$cache/vgpu-root-$1
	[ "$(cat "$base/.packages" 2>/dev/null)" != "${packages[$1]}" ] || return 0
	rm -rf "$base" "$base.part"
	mmdebstrap -q --variant=apt --include="${packages[$1]}" "$1" "$base.part" "deb [trusted=yes] $mirror $1 main" >"$work/mmdebstrap" 2>&1 ||
		{ rm -rf "$base.part"; return 1; }
	echo "${packages[$1]}" >"$base.part/.packages"
	mv "$base.part" "$base"
}
prepared() { # MACHINE: step 1 done on it, at $work/MACHINE
	[ ! -e "$work/$1" ] || return 0
	"m_$1" "$work/$1"
	run --root "$work/$1" --store "$work/store-$1" vgpu step 1 --yes --card 1
	equals "$1: step 1" "$rc" 0
}

# What apt of $base would fetch for the files of a machine, and what it complains of. Only the files go into the root.
uris() { # MACHINE_ROOT
	rm -rf "$base/tmp/apt"
	cp -a "$1/etc/apt" "$base/tmp/apt"
	mkdir -p "$base/tmp/apt/apt.conf.d" "$base/tmp/apt/preferences.d" "$base/tmp/apt/trusted.gpg.d" "$base/tmp/apt/sources.list.d"
	chroot "$base" apt-get -o Dir::Etc=/tmp/apt update --print-uris 2>&1 | sed "s/^'\\([^']*\\)'.*/\\1/" | grep -v '^Reading' | LC_ALL=C sort -u
	rm -rf "$base/tmp/apt"
}
# apt of each release, after step 1 on machines as they are installed.
apt_reads() { # MACHINE CODENAME
	local m=$1
	prepared "$m"
	uris "$work/$m" >"$work/uris"
	check "$2: apt reads what was written for $m" test -s "$work/uris"
	equals "$2: without a complaint" "$(grep -E '^[EW]:' "$work/uris")" ""
	equals "$2: the free repository once" "$(grep -c "debian/pve/dists/$2/InRelease" "$work/uris")" 1
	equals "$2: the enterprise repository never" "$(grep -c enterprise.proxmox.com "$work/uris")" 0
}
for pair in bullseye:pve7_classic bookworm:pve8_ceph_unlock bookworm:pve8_fresh trixie:pve9_fresh trixie:pve9_upgraded; do
	codename=${pair%%:*}
	if debian "$codename"; then apt_reads "${pair#*:}" "$codename"; else skip "$codename: apt reads ${pair#*:}" "no root: $(tail -1 "$work/mmdebstrap")"; fi
done

# Files as people left them. Whatever apt made of them before, it makes of them afterwards, but for the enterprise repository,
# which is gone, and the free one, which is there once.
hostile() { # NAME MACHINE CODENAME
	local name=$1 codename=$3 root=$work/hostile-$1
	rm -rf "$root"
	"m_$2" "$root"
	rm -f "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*
	"h_$name" "$root/etc/apt"
	uris "$root" >"$work/before"
	if grep -q '^E:' "$work/before" || ! grep -q '^https://enterprise.proxmox.com' "$work/before"; then
		not_ok "$codename: $name: apt reads the file as it was left" "$(grep '^E:' "$work/before")"
		return
	fi
	rm -rf "$work/store-hostile"
	run --root "$root" --store "$work/store-hostile" vgpu step 1 --yes --card 1
	equals "$codename: $name: step 1" "$rc" 0
	uris "$root" >"$work/after"
	grep -v -e enterprise.proxmox.com -e '^W:' "$work/before" >"$work/want"
	grep -v -e download.proxmox.com/debian/pve/dists "$work/after" >"$work/got"
	equals "$codename: $name: apt fetches what it fetched, and complains of nothing" "$(diff "$work/want" "$work/got")" ""
	equals "$codename: $name: the free repository once" "$(grep -c "debian/pve/dists/$codename/InRelease" "$work/after")" 1
	run --root "$root" --store "$work/store-hostile" vgpu step 1 --yes --card 1
	check "$codename: $name: a second run leaves them alone" test "$(uris "$root")" = "$(cat "$work/after")"
	run --root "$root" --store "$work/store-hostile" vgpu undo
	equals "$codename: $name: undo gives apt its former files" "$(uris "$root")" "$(cat "$work/before")"
}
E=https://enterprise.proxmox.com/debian/pve M=http://deb.debian.org/debian K='[signed-by=/usr/share/keyrings/x.gpg]'
h_blanks() { printf '\n\n  # a comment\n\t deb %s %s main contrib\n   deb %s %s pve-enterprise   \n\n\n  \n' $M $codename $E $codename >"$1/sources.list"; }
h_options() { printf 'deb [ arch=amd64 trusted=yes ] %s %s pve-enterprise # ours\ndeb-src [trusted=yes] %s %s pve-enterprise\ndeb %s %s main' $E $codename $E $codename $M $codename >"$1/sources.list"; }
h_doubled() { printf 'deb %s %s pve-enterprise\n' $E $codename >"$1/sources.list.d/pve-enterprise.list"; printf 'deb %s/ %s pve-enterprise\ndeb %s %s main\n' $E $codename $M $codename >"$1/sources.list.d/zz.list"; }
h_commented() { printf '#deb http://download.proxmox.com/debian/pve %s pve-no-subscription\n##deb %s %s pve-enterprise\n#\ndeb %s %s pve-enterprise\n' $codename $E $codename $E $codename >"$1/sources.list"; }
h_stanzas() { printf '# head\n\nTypes: deb\nURIs: %s\nSuites: %s\nComponents: main\n\n\n# ours\nTypes: deb\n# inside\nURIs: %s\nSuites: %s\nComponents: pve-enterprise\n\nTypes: deb\nURIs: http://security.debian.org\nSuites: %s-security\nComponents: main\n\n\n  \n\n' $M $codename $E $codename $codename >"$1/sources.list.d/all.sources"; }
h_fields() { printf 'enabled: no\ntypes: deb deb-src\nURIS: %s\nSUITES: %s\ncomponents: pve-enterprise\nENABLED: yes\nX-Comment: a\n b\n .\n c\n' $E $codename >"$1/sources.list.d/pve-enterprise.sources"; }
h_folded() { printf 'Types: deb\nURIs:\n %s\nSuites:\n  %s\nComponents:\n\tpve-enterprise\nTrusted: yes\n\n' $E $codename >"$1/sources.list.d/pve-enterprise.sources"; }
h_tail() { printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: pve-enterprise' $E $codename >"$1/sources.list.d/pve-enterprise.sources"; }
for triple in bullseye:pve7_classic:'blanks options doubled commented' bookworm:pve8_fresh:'blanks options doubled commented stanzas fields' trixie:pve9_fresh:'stanzas fields folded tail doubled'; do
	IFS=: read -r codename machine names <<<"$triple"
	debian "$codename" || { skip "$codename: files as people left them" "no root"; continue; }
	for name in $names; do hostile "$name" "$machine" "$codename"; done
done

# GRUB and initramfs-tools of bookworm.
if debian bookworm; then
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
if debian trixie; then
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

# Where udev is too old to verify rules, it says what it thinks of them when it reads them.
for codename in bullseye bookworm; do
	if ! debian "$codename"; then skip "$codename: udevadm test" "no root"; continue; fi
	[ -e "$work/rules/etc/udev/rules.d/90-vfio-pci.rules" ] || { skip "$codename: udevadm test" "no rules"; continue; }
	cp "$work/rules/etc/udev/rules.d/90-vfio-pci.rules" "$base/etc/udev/rules.d/"
	mount -t sysfs -o ro sys "$base/sys"
	chroot "$base" udevadm test /sys/devices/virtual/mem/null >"$work/udev" 2>&1
	umount "$base/sys"
	check "$codename: udev reads the rules" grep -q 'Reading rules file: /etc/udev/rules.d/90-vfio-pci.rules' "$work/udev"
	equals "$codename: and has nothing against them" "$(grep -E '90-vfio-pci.rules.*(nvalid|nknown|xpected|ignor)' "$work/udev")" ""
	rm -f "$base/etc/udev/rules.d/90-vfio-pci.rules"
done

# systemd reads the units and drop-ins of both steps.
if debian trixie; then
	cd "$work" || exit 1
	root=$work/units
	m_pve8_fresh "$root"
	bdf=0000:01:00.0
	echo 32 >"$root/sys/bus/pci/devices/$bdf/sriov_totalvfs"
	echo 0 >"$root/sys/bus/pci/devices/$bdf/sriov_numvfs"
	run --root "$root" --store "$work/store-units" vgpu step 1 --yes --branch 17.5
	after_step1 "$root"
	reboot "$root"
	bind "$root" "$bdf" nvidia
	mkdir -p "$root/root"
	driver 550.144.02 "$root/root/$(driver_name 550.144.02)"
	programs "$root" 550.144.02 "/root/$(driver_name 550.144.02)"
	run --root "$root" --store "$work/store-units" vgpu step 2 --yes --file "$root/root/$(driver_name 550.144.02)" --accept-md5
	equals "step 2 on a card with virtual functions" "$rc" 0
	m_pve9_unlock "$work/dropins"
	run --root "$work/dropins" --store "$work/store-dropins" vgpu step 1 --yes
	rm -rf "$work/sd"
	cp -a --reflink=auto "$base" "$work/sd"
	cp -a "$root/etc/systemd/." "$work/sd/etc/systemd/"
	cp -a "$work/dropins/etc/systemd/system/." "$work/sd/etc/systemd/system/"
	mkdir -p "$work/sd/usr/lib/nvidia"
	cp "$work/sd/bin/true" "$work/sd/usr/lib/nvidia/sriov-manage"
	for unit in nvidia-vgpud nvidia-vgpu-mgr pve-guests; do
		printf '[Unit]\nDescription=%s\n[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n' "$unit" >"$work/sd/usr/lib/systemd/system/$unit.service"
	done
	check "the unit for virtual functions was written" test -e "$work/sd/etc/systemd/system/nvdriver-sriov.service"
	check "and the drop-ins of both daemons" test "$(find "$work/sd/etc/systemd/system" -path '*nvidia-vgpu*.service.d/*.conf' | wc -l)" = 2
	chroot "$work/sd" systemd-analyze verify --man=no nvdriver-sriov.service nvidia-vgpud.service nvidia-vgpu-mgr.service >"$work/verify" 2>&1
	equals "systemd-analyze verify" "$? $(grep -E 'nvdriver|nvidia|vgpu' "$work/verify")" "0 "
	rm -rf "$work/sd"
else
	skip "systemd-analyze verify" "no trixie root"
fi

# DKMS signs with the pair it is told of: a small module of nothing, built by DKMS itself with a stand-in for the kernel's own
# signing program that notes what it is called with.
if debian bookworm && command -v gcc >/dev/null; then
	root=$work/dkms
	cp -a --reflink=auto "$base" "$root"
	m_pve8_secureboot "$work/sb"
	run --root "$work/sb" --store "$work/store-sb" vgpu step 1 --yes
	mkdir -p "$root/etc/dkms/framework.conf.d" "$root/usr/src/nothing-1.0" "$root/kernel/scripts" "$root/kernel/include" "$root/lib/modules/6.8.12-4-pve" "$root/var/lib/dkms"
	cp "$work/sb/etc/dkms/framework.conf.d/nvidia-vgpu.conf" "$root/etc/dkms/framework.conf.d/"
	# The command of the plan, carried out for real below that root.
	argv=$(sed -n 's/^openssl req/req/p' "$work/sb/nvdriver-commands.log" | head -1)
	# shellcheck disable=SC2086 # as the plan split it
	chroot "$root" openssl ${argv/\/CN=Proxmox vGPU Module Signing\//\/CN=vgpu\/} >"$work/openssl" 2>&1
	equals "openssl makes the pair of the plan" "$? $(chroot "$root" openssl x509 -inform DER -in /var/lib/dkms/mok.pub -noout -subject 2>&1)" "0 subject=CN = vgpu"
	echo 'int nothing;' | gcc -x c -c -o "$root/usr/src/nothing-1.0/nothing.o" -
	printf 'PACKAGE_NAME=nothing\nPACKAGE_VERSION=1.0\nMAKE="cp nothing.o nothing.ko"\nCLEAN=true\nBUILT_MODULE_NAME=nothing\nDEST_MODULE_LOCATION=/updates/dkms\n' >"$root/usr/src/nothing-1.0/dkms.conf"
	printf 'CONFIG_MODULE_SIG_HASH="sha512"\n' >"$root/kernel/.config"
	printf '#!/bin/sh\necho "$@" >>/signed\n' >"$root/kernel/scripts/sign-file"
	chmod +x "$root/kernel/scripts/sign-file"
	ln -s /kernel "$root/lib/modules/6.8.12-4-pve/build"
	mount -t proc proc "$root/proc"
	trap 'umount -l "$work/dkms/proc" 2>/dev/null; rm -rf "$work"' EXIT
	chroot "$root" dkms build nothing/1.0 -k 6.8.12-4-pve >"$work/dkms.log" 2>&1
	equals "DKMS builds" "$?" 0
	umount -l "$root/proc"
	trap 'rm -rf "$work"' EXIT
	check "and signs with the pair of the plan" grep -qE '^sha512 /var/lib/dkms/mok.key /var/lib/dkms/mok.pub .*nothing.ko' "$root/signed"
	[ -s "$root/signed" ] || sed 's/^/# /' "$work/dkms.log"
	rm -rf "$root"
else
	skip "DKMS" "no bookworm root"
fi

# GNU patch 2.7.6 takes the community's patches, 2.8 only with the text behind each hunk's second "@@" cut; ours gives the same bytes
# as both.
if debian bookworm && old=$base && debian trixie && new=$base; then
	cd "$work" || exit 1
	driver 550.144.02 "$work/$(driver_name 550.144.02)"
	printf 'a\nb\nc\none\ntwo \001\377\nthree\nd\n' >tree/kernel/nvidia/nv-kernel.o_binary
	rm "$(driver_name 550.144.02)"
	"$NVDRIVER" runfile pack tree -o "$(driver_name 550.144.02)" --kind vgpu-kvm >/dev/null
	printf -- '--- ./kernel/nvidia/nv-kernel.o_binary\n+++ ./kernel/nvidia/nv-kernel.o_binary\n@@ -1,2 +1,2 @@\n-a\n+A\n b\n@@ -4,3 +4,4 @@ \0\177ELF\0\001 @@ x\n one\n-two \001\377\n+TWO \002\376\n+two and \0 half\n three\n' >nul.patch
	python3 -c 'import re,sys
sys.stdout.buffer.write(re.sub(rb"(?m)^(@@ -[0-9,]+ \+[0-9,]+ @@).*$", rb"\1", open("nul.patch", "rb").read()))' >cut.patch
	gnu() { # ROOT PATCH: GNU patch of that root on the tree; the status, the changed object in ./object
		local r
		rm -rf "$1/tmp/p"
		mkdir -p "$1/tmp/p"
		cp -r tree "$1/tmp/p/tree"
		cp "$2" "$1/tmp/p/the.patch"
		chroot "$1" sh -c 'cd /tmp/p/tree && patch -p1 --fuzz=0 <../the.patch' >patch.log 2>&1
		r=$?
		cp "$1/tmp/p/tree/kernel/nvidia/nv-kernel.o_binary" object
		rm -rf "$1/tmp/p"
		return $r
	}
	run vgpu patch "$(driver_name 550.144.02)" --patch nul.patch --to ours
	equals "our patch takes it as it is" "$rc" 0
	sh "ours/NVIDIA-Linux-x86_64-550.144.02-vgpu-kvm-custom.run" -x --target ours/x >/dev/null 2>&1
	equals "$(chroot "$old" patch --version | head -1)" "$(chroot "$old" patch --version | sed -n '1s/.* //p')" 2.7.6
	gnu "$old" nul.patch
	equals "2.7.6 takes the original" "$?" 0
	check "and gives our bytes" cmp object ours/x/kernel/nvidia/nv-kernel.o_binary
	equals "$(chroot "$new" patch --version | head -1)" "$(chroot "$new" patch --version | sed -n '1s/.* //p')" 2.8
	gnu "$new" nul.patch
	equals "2.8 refuses the original" "$?" 2
	check "because of a NUL byte" grep -q 'NUL byte' patch.log
	gnu "$new" cut.patch
	equals "2.8 takes the cut copy" "$?" 0
	check "and gives our bytes" cmp object ours/x/kernel/nvidia/nv-kernel.o_binary
else
	skip "GNU patch 2.7.6 and 2.8" "no roots"
fi

# docker-compose reads the licence server's file, apt the repository it adds, openssl of trixie the keys.
if debian trixie; then
	root=$work/dls
	m_pve9_fresh "$root"
	sed -i 's/"commands": {/"commands": {"hostname -I": {"status": 0, "output": "192.168.7.10"}, "docker compose *": {"status": 1, "output": ""}, "docker pull *": {"status": 0, "output": ""}, "docker image *": {"status": 1, "output": ""}, "docker compose -f *": {"status": 0, "output": ""},/' "$root/nvdriver-commands.json"
	run --root "$root" --store "$work/store-dls" vgpu license server --yes --timezone Europe/Vienna
	equals "a licence server" "$rc" 0
	mkdir -p "$base/root/fastapi-dls" "$base/tmp/cert"
	cp "$root/root/fastapi-dls/docker-compose.yml" "$base/root/fastapi-dls/"
	cp "$root"/opt/docker/fastapi-dls/cert/* "$base/tmp/cert/"
	chroot "$base" docker-compose -f /root/fastapi-dls/docker-compose.yml config >"$work/compose" 2>"$work/compose.err"
	equals "docker-compose reads the file, and warns of nothing" "$? $(cat "$work/compose.err")" "0 "
	check "with the port" grep -q 'published: "8443"' "$work/compose"
	check "the certificates" grep -q 'source: /opt/docker/fastapi-dls/cert' "$work/compose"
	check "and the health check" grep -q 'https://127.0.0.1:443/-/health' "$work/compose"
	check "openssl verifies the certificate for the address" chroot "$base" openssl verify -CAfile /tmp/cert/webserver.crt -verify_ip 192.168.7.10 /tmp/cert/webserver.crt
	rm -rf "$base/root/fastapi-dls" "$base/tmp/cert"
	uris "$root" >"$work/after"
	check "apt reads Docker's repository" grep -q 'download.docker.com/linux/debian/dists/trixie/InRelease' "$work/after"
	equals "without a complaint" "$(grep -E '^[EW]:' "$work/after")" ""
else
	skip "docker-compose" "no trixie root"
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
