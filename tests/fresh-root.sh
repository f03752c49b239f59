#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/fresh-root.sh [--keep DIR] [COMMAND...]: what a newcomer sees. Makes a fresh Debian 12 root that holds nothing
# but a minimal system and a clone of this repository's HEAD, runs each COMMAND there (default: ./quickstart twice, then
# ./check) and prints how each ended and how long it took. The root's apt sources are the machine's own, main only,
# as on a machine just installed.
#
# All mounts are made in a private mount namespace and vanish with it. The root lies below $NVD_TEST_CACHE (default
# .cache/ of the checkout); a base made before is used again.
set -euo pipefail

src=$(cd "$(dirname "$0")/.." && pwd)
cache=$(realpath -m "${NVD_TEST_CACHE:-$src/.cache}")/fresh-root
keep=
if [ "${1:-}" = --keep ]; then
	keep=$(realpath -m "${2:?--keep needs a directory}")
	shift 2
fi
[ $# != 0 ] || set -- ./quickstart ./quickstart ./check
[ "$(id -u)" = 0 ] || { echo "fresh-root: only root can make a root"; exit 77; }

# Everything below runs in its own mount namespace.
if [ -z "${FRESH_ROOT_INSIDE:-}" ]; then
	FRESH_ROOT_INSIDE=1 exec unshare --mount --propagation private "$0" ${keep:+--keep "$keep"} "$@"
fi

say() { printf 'fresh-root: %s\n' "$*"; }
seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'; }

mirror_of() {
	apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
		awk -v suite="$1" '$1 == suite { print $2; exit }'
}

make_base() {
	local tmp=$cache/base.tmp main security updates
	main=$(mirror_of bookworm)
	[ -n "$main" ] || { say "apt knows no Debian 12 mirror"; exit 77; }
	security=$(mirror_of bookworm-security)
	updates=$(mirror_of bookworm-updates)
	command -v mmdebstrap >/dev/null || { say "mmdebstrap is missing"; exit 77; }
	rm -rf "$tmp"
	mkdir -p "$cache"
	mmdebstrap -q --variant=minbase --include=ca-certificates bookworm "$tmp" "$main"
	{
		echo "deb $main bookworm main"
		[ -z "$updates" ] || echo "deb $updates bookworm-updates main"
		[ -z "$security" ] || echo "deb $security bookworm-security main"
	} >"$tmp/etc/apt/sources.list"
	mv "$tmp" "$cache/base"
}

# Proxy and certificates of the machine's apt, without which its mirrors may be out of reach.
copy_apt_settings() {
	local file
	for file in /etc/apt/apt.conf /etc/apt/apt.conf.d/*proxy* /etc/apt/auth.conf; do
		[ ! -f "$file" ] || cp "$file" "$root$file"
	done
	cp /etc/resolv.conf "$root/etc/resolv.conf"
	cp -r /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
	cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
}

# A /dev of its own: nothing done in the root reaches a device of the machine.
make_dev() {
	local node
	mount -t tmpfs -o mode=755 dev "$root/dev"
	for node in null:3 zero:5 full:7 random:8 urandom:9; do
		mknod -m 666 "$root/dev/${node%:*}" c 1 "${node#*:}"
	done
	mknod -m 666 "$root/dev/tty" c 5 0
	mkdir "$root/dev/pts" "$root/dev/shm"
	mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
	mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
	ln -s pts/ptmx "$root/dev/ptmx"
	ln -s /proc/self/fd "$root/dev/fd"
	ln -s fd/0 "$root/dev/stdin"
	ln -s fd/1 "$root/dev/stdout"
	ln -s fd/2 "$root/dev/stderr"
}

start=$EPOCHREALTIME
[ -d "$cache/base" ] || make_base
root=${keep:-$cache/root}
if [ -e "$root" ]; then
	[ -e "$root/.fresh-root" ] || { say "$root is not empty and not mine"; exit 2; }
	rm -rf --one-file-system "$root"
fi
cp -a --reflink=auto "$cache/base" "$root"
touch "$root/.fresh-root"
[ -n "$keep" ] || trap 'umount -R -l "$root" 2>/dev/null; rm -rf --one-file-system "$root"' EXIT
copy_apt_settings
git clone -q --no-hardlinks "$src" "$root/root/nvdriver"
mount --bind "$root" "$root" # "/" in there is a mount, as on a machine
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
make_dev
say "root with a clone of $(git -C "$src" rev-parse --short HEAD) made in $(seconds_since "$start") s"

status=0
for command in "$@"; do
	start=$EPOCHREALTIME
	rc=0
	env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM="${TERM:-dumb}" LC_ALL=C.UTF-8 \
		${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} ${no_proxy:+no_proxy="$no_proxy"} \
		chroot "$root" /bin/sh -c "cd /root/nvdriver && $command" </dev/null || rc=$?
	say "$command: exit status $rc, $(seconds_since "$start") s"
	[ "$rc" = 0 ] || status=1
done
exit "$status"
