#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The CUDA toolkit from a signed package repository on the loopback that stands in for the vendor's, by the real apt of a
# Debian root: what is asked for arrives, and nothing that brings a second driver does.
# NVD_TEST_ROOT: a ready root of Debian 12; else one is made once in NVD_TEST_CACHE.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
helper=${TOOLKIT_CHROOT:-${NVDRIVER%/src/cli/nvdriver}/tests/toolkit-chroot}
. "$top/tests/cli/lib.sh"
. "$top/tests/lib/debian-root.sh"
. "$top/tests/lib/lxc-machine.sh"
cache=${NVD_TEST_CACHE:-$top/.cache}
base=${NVD_TEST_ROOT:-$cache/install-base}
root=$work/root
server=

[ "$(id -u)" = 0 ] || skip_all "needs root for chroot"
for tool in gpg dpkg-deb dpkg-scanpackages apt-ftparchive python3; do
	command -v "$tool" >/dev/null || skip_all "no $tool"
done
[ -x "$helper" ] || skip_all "no $helper"
debian_base "$base"
cp -a --reflink=auto "$base" "$root"

# -- the repository --
www=$work/www
repo=$www/debian12/x86_64
distro=$www/distro
export GNUPGHOME=$work/gpg
mkdir -p "$repo" "$distro"
mkdir -m 700 "$GNUPGHOME"
cleanup() {
	[ -z "$server" ] || kill "$server" 2>/dev/null
	gpgconf --kill all 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT

key() { # NAME: makes a key, prints its fingerprint
	gpg --batch --quiet --passphrase '' --quick-gen-key "$1" ed25519 sign never 2>/dev/null
	gpg --with-colons --list-keys "$1" | awk -F: '$1=="fpr"{print $10;exit}'
}
package() { # DIR NAME VERSION "FIELD: VALUE"...: an empty package; PAYLOAD is a directory of files
	local dir=$1 name=$2 version=$3 d=$work/pkg
	shift 3
	rm -rf "$d"
	mkdir -p "$d/DEBIAN"
	[ -z "${PAYLOAD:-}" ] || cp -a "$PAYLOAD/." "$d/"
	{
		printf 'Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: test <test@example.com>\nDescription: stand-in\n' "$name" "$version"
		[ $# -eq 0 ] || printf '%s\n' "$@"
	} >"$d/DEBIAN/control"
	dpkg-deb --build -Znone --root-owner-group "$d" "$dir/${name}_$version.deb" >/dev/null
}
publish() { # KEY
	(cd "$repo" && dpkg-scanpackages -m . >Packages 2>/dev/null &&
		apt-ftparchive -o APT::FTPArchive::Release::Label='NVIDIA CUDA' release . >Release &&
		gpg --batch --yes --quiet --local-user "$1" --clearsign --output InRelease Release)
	gpg --armor --export "$1" >"$repo/3bf863cc.pub"
}
nvcc() { # RELEASE: a payload with a compiler that says so
	rm -rf "$work/payload"
	mkdir -p "$work/payload/usr/local/cuda-$1/bin"
	printf '#!/bin/sh\necho "Cuda compilation tools, release %s, V%s.93"\n' "$1" "$1" >"$work/payload/usr/local/cuda-$1/bin/nvcc"
	chmod 755 "$work/payload/usr/local/cuda-$1/bin/nvcc"
}

good=$(key vendor@example.com)
bad=$(key stranger@example.com)
nvcc 12.8
PAYLOAD=$work/payload package "$repo" cuda-nvcc-12-8 12.8.93-1 "Recommends: cuda-drivers"
package "$repo" cuda-toolkit-12-8 12.8.0-1 "Depends: cuda-nvcc-12-8"
package "$repo" cuda-toolkit-12-8 12.8.1-1 "Depends: cuda-nvcc-12-8"
package "$repo" cuda-toolkit-12-9 12.9.0-1 "Depends: cuda-drivers (>= 570)"
package "$repo" cuda-toolkit-12-6 12.6.0-1 "Depends: harmless-name"
package "$repo" harmless-name 1 "Depends: libcuda1 | nvidia-driver-570"
package "$repo" libnvidia-container1 1.17.0-1
package "$repo" cuda-drivers 570.1-1 "Depends: nvidia-driver-570"
package "$repo" nvidia-driver-570 570.1-1 "Depends: libcuda1"
package "$repo" libcuda1 570.1-1
package "$distro" build-essential 12.9
(cd "$distro" && dpkg-scanpackages -m . >Packages 2>/dev/null)
publish "$good"

cat >"$work/serve.py" <<'END'
import functools, http.server, sys
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        with open(sys.argv[2], "a") as f: f.write(self.path + "\n")
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=sys.argv[1]))
print(s.server_port, flush=True)
s.serve_forever()
END
exec 5< <(exec python3 "$work/serve.py" "$www" "$work/requests" 2>/dev/null)
server=$!
read -r -u 5 port
url=http://127.0.0.1:$port/debian12/x86_64/

rm -rf "$root/etc/apt/sources.list.d"/* "$root/var/lib/apt/lists"/* "$root/etc/apt/preferences.d"/*
echo "deb [trusted=yes] http://127.0.0.1:$port/distro ./" >"$root/etc/apt/sources.list"
rm -f "$root/etc/apt/apt.conf.d/"*proxy*

toolkit() { # CUDA [FINGERPRINT] [DRIVER]
	: >"$work/requests"
	"$helper" "$root" "$work/store" "$url" "${2:-$good}" "$1" "${3:-570.124.06}" >"$work/out" 2>"$work/err" </dev/null
	rc=$?
	sed 's/^/# /' "$work/out" | head -5
	slug=$(head -1 "$work/out" | cut -d: -f1)
}
installed() { chroot "$root" dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\n' "$@" 2>/dev/null | awk '$3=="installed"{print $1" "$2}'; }
drivers() { installed cuda-drivers nvidia-driver-570 libcuda1; }

# -- nothing is believed that the publisher did not sign --
toolkit 12.8 "$bad"
equals "a key that is not the publisher's is refused" "$rc $slug" "9 cuda-key-mismatch"
check "and nothing was written" test ! -e "$root/usr/share/keyrings/cuda-archive-keyring.gpg"
publish "$bad"
gpg --armor --export "$good" >"$repo/3bf863cc.pub"
toolkit 12.8
equals "packages signed by another key are refused" "$rc $slug" "9 cuda-repository-unusable"
equals "and none is installed" "$(installed cuda-toolkit-12-8)" ""
publish "$good"

# -- the toolkit --
mkdir -p "$root/etc/apt/sources.list.d"
echo "deb [signed-by=/usr/share/keyrings/other.gpg] $url /" >"$root/etc/apt/sources.list.d/cuda.list"
toolkit 12.8.1
equals "the toolkit is installed" "$rc $(cat "$work/out")" "0 installed"
[ "$rc" = 0 ] || sed 's/^/# /' "$work/err"
equals "in the version asked for" "$(installed cuda-toolkit-12-8)" "cuda-toolkit-12-8 12.8.1-1"
equals "with its companions and the host compiler" "$(installed libnvidia-container1 cuda-nvcc-12-8 build-essential | wc -l)" 3
equals "nvcc answers through the link" "$(chroot "$root" /usr/local/cuda/bin/nvcc --version | grep -c 'release 12.8,')" 1
equals "no driver came along" "$(drivers)" ""
check "another entry for the same repository is switched off" grep -q '^# deb .signed-by=/usr/share/keyrings/other' "$root/etc/apt/sources.list.d/cuda.list"
check "the login profile has no library path" sh -c "grep -q /usr/local/cuda/bin '$root/etc/profile.d/cuda.sh' && ! grep -q LD_LIBRARY_PATH '$root/etc/profile.d/cuda.sh'"

toolkit 12.8.1
equals "a second run finds nothing to do, without network" "$rc $(cat "$work/out") $(wc -l <"$work/requests")" "0 done 0"

# -- what would bring a driver --
equals "the pin leaves drivers without a candidate" "$(chroot "$root" apt-cache policy cuda-drivers nvidia-driver-570 libcuda1 | grep -c 'Candidate: (none)')" 3
check "apt itself refuses one" sh -c "! chroot '$root' apt-get install -y cuda-drivers"
for cuda in 12.9 12.6; do
	toolkit "$cuda"
	equals "CUDA $cuda, which depends on a driver, is refused and named" "$rc $slug $(grep -cE 'cuda-drivers|libcuda1|nvidia-driver' "$work/out")" \
		"9 cuda-toolkit-pulls-driver 1"
done
rm "$root/etc/apt/preferences.d/nvdriver"
equals "without the pin there would be candidates" "$(chroot "$root" apt-cache policy cuda-drivers | grep -c 'Candidate: 570')" 1
toolkit 12.9
equals "a pin somebody removed is put back before anything is asked" "$rc $slug" "9 cuda-toolkit-pulls-driver"
equals "still no driver" "$(drivers)" ""

# -- the rest of the edges --
toolkit 12.7
equals "a version the repository lacks" "$rc $slug" "9 cuda-toolkit-failed"
toolkit 13.0 "$good" 570.124.06
equals "a driver too old for it" "$rc $slug $(wc -l <"$work/requests")" "9 cuda-driver-too-old 0"
chroot "$root" dpkg --remove cuda-toolkit-12-8 cuda-nvcc-12-8 >/dev/null 2>&1
echo "deb http://127.0.0.1:9/nowhere ./" >"$root/etc/apt/sources.list.d/broken.list"
toolkit 12.8.1
equals "a broken foreign source is in nobody's way" "$rc $(cat "$work/out")" "0 installed"
equals "at the end no driver" "$(drivers)" ""

# -- the same through a container's manager: a real LXC container on a host that is a directory --
if ! command -v lxc-start >/dev/null; then
	skip "through a real container" "no lxc-start"
	finish
fi
rootfs=$lxcpath/c1/rootfs
export NVDRIVER_STORE=$work/store2
mkdir -p "$host"/{proc/driver/nvidia/gpus/0000:01:00.0,sys,dev,run,bin,lib64,etc/nvdriver,usr/local/phoenix_hypervisor/etc,var/lib/lxc/c1}
cp /lib64/ld-linux-x86-64.so.2 "$host/lib64/"
printf '[lxc]\nlxcpath = %s\nnode-wait = 1\npause = 1\nattempts = 2\nrepo-key = %s\n' "$lxcpath" "$good" >"$host/etc/nvdriver/nvdriver.conf"
echo 'NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.124.06  Wed Jun  4 00:00:00 UTC 2025' >"$host/proc/driver/nvidia/version"
printf 'GPU UUID: \t GPU-1\nBus Location: \t 0000:01:00.0\nDevice Minor: \t 0\n' >"$host/proc/driver/nvidia/gpus/0000:01:00.0/information"
printf 'Character devices:\n195 nvidia\n499 nvidia-uvm\n\nBlock devices:\n' >"$host/proc/devices"
printf '{"nvidia_repo_url":"%s","lxc_configs":{"c1":{"features":["nvidia"],"gpu_assignment":"0"}}}' "$url" >"$host/usr/local/phoenix_hypervisor/etc/phoenix_lxc_configs.json"
chroot "$root" dpkg --purge cuda-toolkit-12-8 cuda-nvcc-12-8 libnvidia-container1 build-essential >/dev/null 2>&1
rm -rf "$root"/etc/apt/sources.list.d/* "$root"/etc/apt/preferences.d/* "$root/usr/share/keyrings/cuda-archive-keyring.gpg" "$root/etc/profile.d/cuda.sh" "$root/usr/local/cuda"
mv "$root" "$rootfs"
root=$rootfs
printf 'lxc.rootfs.path = dir:%s\nlxc.uts.name = c1\nlxc.net.0.type = none\nlxc.init.cmd = /bin/sleep infinity\nlxc.mount.auto = proc:rw sys:ro\n' "$rootfs" >"$lxcpath/c1/config"
trap 'lxc-stop -P "$lxcpath" -n c1 -k 2>/dev/null; cleanup' EXIT
files() { (cd "$rootfs/etc/apt" && find sources.list.d preferences.d -type f | sort | tr '\n' ' '); }
live() { # ARGS...
	: >"$work/requests"
	run --root "$host" lxc toolkit c1 --backend lxc --allow-missing-devices "$@"
	[ "$rc" = 0 ] || sed 's/^/# /' "$work/out"
}
if ! has_cgroups || ! lxc-start -P "$lxcpath" -n c1 2>"$work/lxc"; then
	skip "through a real container" "LXC does not start one here"
	finish
fi
live --cuda 12.9
equals "a container: a toolkit that needs a driver is refused" "$rc $(grep -c cuda-toolkit-pulls-driver "$work/out")" "9 1"
equals "and the repository's files are taken back" "$(files)" ""
equals "not even a prerequisite was installed" "$(installed build-essential libnvidia-container1)" ""
live --cuda 12.8
equals "the toolkit is installed" "$rc $(installed cuda-toolkit-12-8)" "0 cuda-toolkit-12-8 12.8.1-1"
[ "$rc" = 0 ] || sed 's/^/# /' "$work/err"
equals "nvcc is the container's" "$(lxc-attach -P "$lxcpath" -n c1 --clear-env -- /usr/local/cuda/bin/nvcc --version | grep -c 'release 12.8,')" 1
equals "and no driver" "$(drivers)" ""
live --cuda 12.8
equals "a second run changes nothing and asks nobody" "$rc $(grep -c 'nothing to do' "$work/out") $(wc -l <"$work/requests")" "0 1 0"
run --root "$host" lxc remove c1 --backend lxc
equals "removal takes the repository's files" "$rc $(files)" "0 "

# -- the repository's own keyring package, where it has one --
keyring() { # KEY [URL]: cuda-keyring as the vendor packs it
	rm -rf "$work/keyring"
	mkdir -p "$work/keyring"/{usr/share/keyrings,etc/apt/sources.list.d,etc/apt/preferences.d}
	gpg --export "$1" >"$work/keyring/usr/share/keyrings/cuda-archive-keyring.gpg"
	echo "deb [signed-by=/usr/share/keyrings/cuda-archive-keyring.gpg] ${2:-$url} /" >"$work/keyring/etc/apt/sources.list.d/cuda-debian12-x86_64.list"
	printf 'Package: *\nPin: release l=NVIDIA CUDA\nPin-Priority: 600\n' >"$work/keyring/etc/apt/preferences.d/cuda-repository-pin-600"
	PAYLOAD=$work/keyring package "$work" cuda-keyring 1.1-1
	mv "$work/cuda-keyring_1.1-1.deb" "$repo/cuda-keyring_1.1-1_all.deb"
}
chroot "$rootfs" dpkg --purge cuda-toolkit-12-8 cuda-nvcc-12-8 libnvidia-container1 >/dev/null 2>&1
keyring "$bad"
live --cuda 12.8
equals "a keyring package with another key is refused" "$rc $(grep -c cuda-key-mismatch "$work/out") $(installed cuda-keyring)" "9 1 "
keyring "$good" http://127.0.0.1:9/elsewhere/
live --cuda 12.8
equals "one for another address is left, and its files are written" "$rc $(installed cuda-keyring)" "0 "
run --root "$host" lxc remove c1 --backend lxc
chroot "$rootfs" dpkg --purge cuda-toolkit-12-8 cuda-nvcc-12-8 libnvidia-container1 >/dev/null 2>&1
keyring "$good"
live --cuda 12.8
equals "the right one is installed" "$rc $(installed cuda-keyring)" "0 cuda-keyring 1.1-1"
equals "and the toolkit by it" "$(installed cuda-toolkit-12-8)" "cuda-toolkit-12-8 12.8.1-1"
equals "the source is the package's" "$(chroot "$rootfs" dpkg -S /etc/apt/sources.list.d/cuda-debian12-x86_64.list | cut -d: -f1)" cuda-keyring
check "drivers are kept out" test -e "$rootfs/etc/apt/preferences.d/nvdriver"
check "it was kept on the host with its digest" grep -q '"sha256"' "$host"/usr/local/phoenix_hypervisor/cache/debian12-x86_64-cuda-keyring_1.1-1_all.deb.meta
check "nothing of it is left in /tmp" sh -c "! ls '$rootfs'/tmp/*.deb"
live --cuda 12.8
equals "a second run asks nobody" "$rc $(grep -c 'nothing to do' "$work/out") $(wc -l <"$work/requests")" "0 1 0"
run --root "$host" lxc remove c1 --backend lxc
equals "removal purges it" "$rc $(files)$(installed cuda-keyring)" "0 "
finish
