#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The CUDA toolkit by a real dnf and a real zypper, as tests/real/lxc-toolkit.sh does it by apt: the files we write, read by the
# tools they are for, on signed repositories of small packages. The "containers" are overlays of this machine that say they are
# Rocky Linux and openSUSE Leap; nothing of the machine itself is changed.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
helper=${TOOLKIT_CHROOT:-${NVDRIVER%/src/cli/nvdriver}/tests/toolkit-chroot}
# shellcheck source=tests/cli/lib.sh
. "$top/tests/cli/lib.sh"
# shellcheck source=tests/lib/lxc-machine.sh
. "$top/tests/lib/lxc-machine.sh"
private_or_skip "$0" "$@"
for t in rpmbuild createrepo_c gpg python3 dnf; do command -v $t >/dev/null || skip_all "no $t"; done
[ -x "$helper" ] || skip_all "no $helper"
server=
mkdir "$work/up"
mount -t tmpfs -o mode=755 up "$work/up" || skip_all "no mounts"
export GNUPGHOME=$work/gpg
mkdir -m 700 "$GNUPGHOME"
rpm_end() {
	[ -z "$server" ] || kill "$server" 2>/dev/null
	gpgconf --kill all 2>/dev/null
	for m in "$work"/up/*/root/proc "$work"/up/*/root/dev "$work"/up/*/root "$work/up"; do mountpoint -q "$m" && umount -l "$m"; done
	rm -rf "$work"
}
trap rpm_end EXIT

# -- repositories --
key() {
	gpg --batch --quiet --passphrase '' --quick-gen-key "$1" rsa2048 sign never 2>/dev/null
	gpg --with-colons --list-keys "$1" 2>/dev/null | awk -F: '$1=="fpr"{print $10;exit}'
}
package() { # NAME VERSION [LINES OF THE SPEC]; PAYLOAD: where the compiler goes
	local install=''
	[ -z "${PAYLOAD:-}" ] || install="install -D -m 755 $work/nvcc %{buildroot}$PAYLOAD"
	printf 'Name: %s\nVersion: %s\nRelease: 1\nSummary: stand-in\nLicense: MIT\nAutoReqProv: no\n%s\n%%description\nstand-in\n%%install\n%s\n%%files\n%s\n' \
		"$1" "$2" "${3:-}" "$install" "${PAYLOAD:-}" >"$work/$1-$2.spec"
	rpmbuild -bb --quiet --target x86_64 --define "_topdir $work/top" --define "_rpmdir $repo" --define 'debug_package %{nil}' \
		--define '__os_install_post %{nil}' --define '_build_id_links none' --define '_binary_payload w3.zstdio' --nodeps "$work/$1-$2.spec" >>"$work/rpmbuild.log" 2>&1 ||
		{ tail -3 "$work/rpmbuild.log" | sed 's/^/# /'; exit 1; }
}
publish() { # KEY
	rpm --define "_gpg_name $1" --define "_gpg_path $GNUPGHOME" --define "__gpg $(command -v gpg)" --addsign "$repo"/x86_64/*.rpm >/dev/null 2>&1
	createrepo_c -q "$repo"
	rm -f "$repo"/repodata/repomd.xml.asc
	gpg --batch --quiet --local-user "$1" --armor --detach-sign "$repo/repodata/repomd.xml"
	gpg --armor --export "$1" >"$repo/repodata/repomd.xml.key"
	cp "$repo/repodata/repomd.xml.key" "$repo/D42D0685.pub"
}
printf '#!/bin/sh\necho "Cuda compilation tools, release 12.8, V12.8.93"\n' >"$work/nvcc"
good=$(key vendor@example.com)
bad=$(key stranger@example.com)
repo=$work/www/any
mkdir -p "$repo"
PAYLOAD=/usr/local/cuda-12.8/bin/nvcc package cuda-nvcc-12-8 12.8.93
package cuda-toolkit-12-8 12.8.1 'Requires: cuda-nvcc-12-8'
package cuda-toolkit-12-9 12.9.0 'Requires: cuda-drivers'
package cuda-drivers 570.1 'Requires: nvidia-driver-cuda'
package nvidia-driver-cuda 570.1
package libnvidia-container1 1.17.0
for p in gcc gcc-c++ make wget curl gnupg2; do package $p 1; done
publish "$good"
mkdir -p "$work/www/rhel9" "$work/www/opensuse15"
ln -s ../any "$work/www/rhel9/x86_64"
ln -s ../any "$work/www/opensuse15/x86_64"
exec 5< <(cd "$work/www" && exec python3 -u -m http.server --bind 127.0.0.1 0 2>/dev/null)
server=$!
read -r -u 5 line
port=$(sed 's/.* port \([0-9]*\) .*/\1/' <<<"$line")

root() { # NAME ID VERSION: a machine to change, in $root
	local d=$work/up/$1
	root=$d/root
	mkdir -p "$d/upper" "$d/work" "$root"
	mount -t overlay -o "lowerdir=/,upperdir=$d/upper,workdir=$d/work" overlay "$root" 2>"$work/overlay" || skip_all "no overlay of this machine: $(cat "$work/overlay")"
	mount -t proc proc "$root/proc"
	mount --rbind /dev "$root/dev"
	rm -f "$root/etc/os-release"
	printf 'ID=%s\nVERSION_ID=%s\n' "$2" "$3" >"$root/etc/os-release"
	rm -rf "$root"/usr/local/cuda* "$root"/etc/yum.repos.d "$root"/etc/zypp/repos.d "$root/root/.rpmdb" "$root/var/lib/rpm"
	mkdir -p "$root"/etc/yum.repos.d "$root"/etc/zypp/repos.d "$root"/var/lib/rpm "$root"/etc/dnf
	# Plugins of this machine would serve packages they kept, unchecked.
	printf '[main]\nplugins=0\nbest=True\nskip_if_unavailable=False\nmodule_platform_id=platform:el9\nreposdir=/etc/yum.repos.d\nvarsdir=/nowhere\n' >"$root/etc/dnf/dnf.conf"
	mkdir -p "$root/etc/rpm"
	echo "%_dbpath /var/lib/rpm" >"$root/etc/rpm/macros.dbpath" # Debian keeps it in the home directory
	chroot "$root" rpm --initdb
}
toolkit() { # URL CUDA [FINGERPRINT]
	"$helper" "$root" "$work/store-$(basename "$(dirname "$root")")" "$1" "${3:-$good}" "$2" 570.124.06 >"$work/out" 2>"$work/err" </dev/null
	rc=$?
	slug=$(head -1 "$work/out" | cut -d: -f1)
}
show() { [ "$rc" = 0 ] || sed 's/^/# /' "$work/out" | head -12; }
installed() { chroot "$root" rpm -qa --qf '%{NAME}\n' "$@" 2>/dev/null | sort | tr '\n' ' '; }
trial() { # NAME SLUG: in $root
	local url=http://127.0.0.1:$port/$2/x86_64/
	toolkit "$url" 12.8 "$bad"
	equals "$1: a key that is not the publisher's is refused" "$rc $slug" "9 cuda-key-mismatch"
	toolkit "$url" 12.9
	equals "$1: a toolkit that needs a driver is refused, and the driver named" "$rc $slug $(grep -c cuda-drivers "$work/out" | sed "s/[1-9][0-9]*/1/")" "9 cuda-toolkit-pulls-driver 1"
	equals "$1: and nothing came" "$(installed 'cuda*' 'nvidia*')" ""
	toolkit "$url" 12.8
	show
	equals "$1: the toolkit is installed" "$rc $slug" "0 installed"
	equals "$1: and no driver" "$(installed 'cuda*' 'nvidia*')" "cuda-nvcc-12-8 cuda-toolkit-12-8 "
	equals "$1: nvcc answers" "$(chroot "$root" /usr/local/cuda-12.8/bin/nvcc --version | grep -c 'release 12.8,')" 1
	toolkit "$url" 12.8
	equals "$1: a second run finds nothing to do" "$rc $(cat "$work/out")" "0 done"
}
root dnf rocky 9.4
trial dnf rhel9
check "dnf: asked for a driver by name, it finds none" sh -c "! chroot '$root' dnf -y --setopt=install_weak_deps=False install cuda-drivers"
rm -f "$work/www/any/repodata/repomd.xml.asc"
for f in "$repo"/x86_64/cuda-toolkit-12-8*.rpm; do rpm --define "_gpg_name $bad" --define "_gpg_path $GNUPGHOME" --define "__gpg $(command -v gpg)" --resign "$f" >/dev/null 2>&1; done
createrepo_c -q "$repo"
chroot "$root" rpm -e cuda-toolkit-12-8 cuda-nvcc-12-8 >/dev/null 2>&1
chroot "$root" dnf clean all >/dev/null 2>&1
toolkit "http://127.0.0.1:$port/rhel9/x86_64/" 12.8
equals "dnf: a package signed by another key is refused" "$rc $slug" "9 cuda-toolkit-failed"
equals "dnf: and not installed" "$(installed 'cuda-toolkit*')" ""
for f in "$repo"/x86_64/cuda-toolkit-12-8*.rpm; do rpm --define "_gpg_name $good" --define "_gpg_path $GNUPGHOME" --define "__gpg $(command -v gpg)" --resign "$f" >/dev/null 2>&1; done
publish "$good"
# Debian's zypper and dnf-plugins-core exclude each other, so it comes into the overlay alone.
root zypper opensuse-leap 15.6
if chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install zypper >"$work/apt" 2>&1; then
	trial zypper opensuse15
	check "zypper: asked for a driver by name, the lock holds" sh -c "! chroot '$root' zypper --non-interactive install --no-recommends cuda-drivers"
	equals "zypper: it reads our locks as locks" "$(chroot "$root" zypper --non-interactive locks 2>/dev/null | grep -c 'cuda-drivers\*')" 1
else
	skip "zypper" "it cannot be installed: $(tail -1 "$work/apt")"
fi
finish
