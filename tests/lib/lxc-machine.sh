# SPDX-License-Identifier: Apache-2.0
# A host that is a directory, with real LXC containers on it, for tests/real/lxc-*.sh: sourced after tests/cli/lib.sh. The store
# and the containers' roots are overlays, so that nothing is copied; everything is taken down again by lxc_machine_end.
#   $host, $lxcpath, $version   machine_or_skip   container NAME [mapped]   inside NAME CMD...   install NAME...
lxc_cache=${NVD_TEST_CACHE:-$top/.cache}
version=${NVD_VERSION:-535.261.03}
lxc_base=${NVD_TEST_ROOT:-$lxc_cache/lxc-base}
host=$work/host lxcpath=$work/host/var/lib/lxc
lxc_names=()

lxc_machine_end() {
	local n m
	for n in "${lxc_names[@]}"; do lxc-stop -k -P "$lxcpath" -n "$n" 2>/dev/null; done
	for m in "$host"/run/nvdriver/*/[0-9]* "$host"/run/nvdriver/* "$lxcpath"/*/rootfs "$work/store"; do
		while mountpoint -q "$m"; do umount -l "$m" || break; done
	done
	awk -v at="$work/" 'index($2, at) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r -n1 umount -l
	rm -rf --one-file-system "$work"
}
# The script again in a mount name-space of its own, where root has ids to give to containers whatever /etc/subuid says.
private_or_skip() { # "$0" "$@"
	[ "${NVD_PRIVATE:-}" != 1 ] || return 0
	[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root"; exit 77; }
	rm -rf "$work"
	exec env NVD_PRIVATE=1 unshare --mount --propagation private "$@"
}
# No container starts where this test sees no control groups, as in a root entered by chroot.
has_cgroups() { grep -q ' - cgroup2\? ' /proc/self/mountinfo; }
cgroups_or_skip() { has_cgroups || skip_all "no control groups here, so no container starts"; }
skip_all() { echo "1..0 # SKIP $1"; exit 77; }
overlay() { # LOWER AT: AT is LOWER, and its changes are beside it
	mkdir -p "$2" "$2.upper" "$2.work"
	mount -t overlay -o "lowerdir=$1,upperdir=$2.upper,workdir=$2.work" overlay "$2"
}
machine_or_skip() {
	[ "$(id -u)" = 0 ] || skip_all "needs root"
	command -v lxc-start >/dev/null || skip_all "no lxc"
	[ -e "$lxc_cache/store/refs/driver/$version-x86_64" ] || skip_all "no driver $version in $lxc_cache/store"
	if [ ! -e "$lxc_base/etc/os-release" ]; then
		command -v mmdebstrap >/dev/null || skip_all "no mmdebstrap"
		mmdebstrap --variant=minbase bookworm "$lxc_base.part" >"$work/mmdebstrap" 2>&1 ||
			{ rm -rf "$lxc_base.part"; skip_all "mmdebstrap failed: $(tail -1 "$work/mmdebstrap")"; }
		mv "$lxc_base.part" "$lxc_base"
	fi
	trap lxc_machine_end EXIT
	chmod 755 "$work"
	[ "${NVD_PRIVATE:-}" != 1 ] || ids_for_root
	overlay "$lxc_cache/store" "$work/store" 2>"$work/overlay" || skip_all "no overlays here: $(cat "$work/overlay")"
	export NVDRIVER_STORE=$work/store
	mkdir -p "$host"/{proc/driver/nvidia/gpus/0000:01:00.0,sys,dev,run,bin,etc/nvdriver,usr/sbin,var/lib/dpkg} "$lxcpath"
	cp /bin/true "$host/bin/sh"
	printf '[lxc]\nlxcpath = %s\npct = %s/usr/sbin/pct\nstart-timeout = 20\nnode-wait = 1\nnode-poll-ms = 200\npause = 1\n' "$lxcpath" "$host" >"$host/etc/nvdriver/nvdriver.conf"
	echo "NVRM version: NVIDIA UNIX x86_64 Kernel Module  $version  x" >"$host/proc/driver/nvidia/version"
	printf 'Model: \t\t NVIDIA L40\nBus Location: \t 0000:01:00.0\nDevice Minor: \t 0\n' >"$host/proc/driver/nvidia/gpus/0000:01:00.0/information"
	printf 'Character devices:\n195 nvidia\n511 nvidia-uvm\n\nBlock devices:\n' >"$host/proc/devices"
	[ ! -e /sys/fs/cgroup/cgroup.controllers ] || { mkdir -p "$host/sys/fs/cgroup"; : >"$host/sys/fs/cgroup/cgroup.controllers"; }
}
container() { # NAME [mapped]
	mkdir -p "$lxcpath/$1"
	overlay "$lxc_base" "$lxcpath/$1/rootfs"
	{
		echo "lxc.include = /usr/share/lxc/config/common.conf"
		if [ "${2:-}" = mapped ]; then
			printf 'lxc.include = /usr/share/lxc/config/userns.conf\nlxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\nlxc.rootfs.options = idmap=container\n'
		fi
		printf 'lxc.uts.name = %s\nlxc.rootfs.path = dir:%s/%s/rootfs\nlxc.net.0.type = empty\nlxc.init.cmd = /bin/sleep infinity\nlxc.signal.halt = SIGKILL\n' "$1" "$lxcpath" "$1"
		printf 'lxc.apparmor.profile = unconfined\n'
	} >"$lxcpath/$1/config"
	lxc_names+=("$1")
}
inside() { local n=$1; shift; lxc-attach -P "$lxcpath" -n "$n" --clear-env -- "$@"; }
install() { run --root "$host" lxc install "$@" --level static --allow-missing-devices; [ "$rc" = 0 ] || sed 's/^/# /' "$work/out" "$work/err" | head -20; }
ids_for_root() { # in the mount name-space of this test alone
	local f
	for f in subuid subgid; do
		[ -e "/etc/$f" ] || continue
		{ cat "/etc/$f"; echo root:100000:65536; } >"$work/$f"
		mount --bind "$work/$f" "/etc/$f"
	done
}

# package VERSION OUT [OPTIONS THE INSTALLER LACKS]: a run file with libcuda, NVML, a library of OpenGL and nvidia-smi of the real driver, under this
# version (of the same length) wherever they name one, and tests/lib/lxc-installer.
package() {
	local to=$work/package tree name
	tree=$NVDRIVER_STORE/$(cat "$NVDRIVER_STORE/refs/driver/$version-x86_64")/root
	rm -rf "$to"
	mkdir -p "$to"
	for name in libcuda.so libnvidia-ml.so libnvidia-tls.so; do cp "$tree/$name.$version" "$to/$name.$1"; done
	cp "$tree/nvidia-smi" "$to/"
	chmod -R u+w "$to"
	[ "$1" = "$version" ] || LC_ALL=C sed -i "s/${version//./\\.}/$1/g" "$to"/*
	sed "s/@VERSION@/$1/g; s/@NO_OPTIONS@/${3:-}/" "$top/tests/lib/lxc-installer" >"$to/nvidia-installer"
	chmod 755 "$to/nvidia-installer"
	printf 'NVIDIA Accelerated Graphics Driver for Linux-x86_64\n%s\n \nnvidia \n \n \n./kernel/\n./kernel/precompiled/\n' "$1" >"$to/.manifest"
	for name in libcuda libnvidia-ml; do
		printf '%s.so.1 0000 UTILITY_LIB_SYMLINK NATIVE %s.so.%s MODULE:nvml\n%s.so.%s 0644 UTILITY_LIB NATIVE MODULE:nvml\n' \
			"$name" "$name" "$1" "$name" "$1" >>"$to/.manifest"
	done
	# One that is asked for by a name with its version.
	echo "libnvidia-tls.so.$1 0644 UTILITY_LIB NATIVE MODULE:nvml" >>"$to/.manifest"
	echo 'nvidia-smi 0755 UTILITY_BINARY MODULE:nvml' >>"$to/.manifest"
	"$NVDRIVER" runfile pack -q -f "$to" -o "$2" --compression gzip --level 1 >"$work/pack" 2>&1 || { cat "$work/pack"; echo "Bail out! no run file"; exit 1; }
}
cachedir=$host/usr/local/phoenix_hypervisor/cache
give() { # FILE...: what the cache of run files holds
	local f
	rm -rf "${cachedir:?}"
	for f in "$@"; do
		"$NVDRIVER" --root "$host" lxc cache add "$f" >"$work/add" 2>&1 || { cat "$work/add"; echo "Bail out! the cache refuses $f"; exit 1; }
	done
}
host_has() { # VERSION: what the host's kernel has loaded
	echo "NVRM version: NVIDIA UNIX x86_64 Kernel Module  $1  x" >"$host/proc/driver/nvidia/version"
}
