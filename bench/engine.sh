#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The engine's own paths beside the tools people use for them, in alternation: digests, signatures, user space into a root; and how
# cost grows with packages to match and with objects in a store. Median of ROUNDS; peak memory is the largest process's.
#   bench/engine.sh [-n ROUNDS] STORE BASE    STORE: one that `nvdriver prepare apt:535.261.03 --kernel apt:amd64` filled;
#                                             BASE: a Debian 12 root (debootstrap --variant=minbase), copied, not changed
set -euo pipefail
export LC_ALL=C
[ -x /usr/bin/time ] || { echo "needs GNU time"; exit 1; }
top=$(cd "$(dirname "$0")/.." && pwd)
nvdriver=$(realpath "${NVDRIVER:-$top/build/src/cli/nvdriver}")
rounds=3
while getopts n: opt; do
	case $opt in n) rounds=$OPTARG ;; *) exit 2 ;; esac
done
shift $((OPTIND - 1))
store=$(realpath "${1:?usage: bench/engine.sh [-n ROUNDS] STORE BASE}") base=$(realpath "${2:?and BASE}") version=${VERSION:-535.261.03}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/nvd-bench.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
release=$(ls "$store/refs/kernels/x86_64" | tail -1)

# timed FILE COMMAND...: appends "milliseconds peak-kB"; output is thrown away
timed() {
	local to=$1
	shift
	python3 - "$to" "$work/peak" "$@" <<'PY'
import subprocess, sys, time
to, peak, command = sys.argv[1], sys.argv[2], sys.argv[3:]
begin = time.monotonic()
# A process counts the memory of the one it was forked from, so a small one starts it.
done = subprocess.run(['/usr/bin/time', '-q', '-f', '%M', '-o', peak] + command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
took = (time.monotonic() - begin) * 1000
with open(to, 'a') as out:
    out.write('%.1f %d\n' % (took, int(open(peak).read().split()[-1])))
if done.returncode not in (0, 8):
    sys.exit('failed: %s\n%s' % (' '.join(command), done.stderr.decode()[-500:]))
PY
}
median() { sort -n "$1" | sed -n "$((($(wc -l <"$1") + 1) / 2))p" | cut -d' ' -f"$2"; }
row() { # NAME: of $work/theirs and $work/ours
	printf '%-46s %9.1f ms %9.1f ms %7.1f x %8.1f MB\n' "$1" "$(median "$work/theirs" 1)" "$(median "$work/ours" 1)" \
		"$(awk -v a="$(median "$work/theirs" 1)" -v b="$(median "$work/ours" 1)" 'BEGIN { print a / b }')" \
		"$(awk -v kb="$(median "$work/ours" 2)" 'BEGIN { print kb / 1000 }')"
}
lone() { printf '%-46s %12s %9.1f ms %9s %8.1f MB\n' "$1" - "$(median "$work/ours" 1)" - "$(awk -v kb="$(median "$work/ours" 2)" 'BEGIN { print kb / 1000 }')"; }
begin() { : >"$work/theirs"; : >"$work/ours"; }
again() { for ((i = 0; i < rounds; i++)); do "$@"; done; }

printf '%-46s %12s %12s %9s %11s\n' "$(nproc) CPUs, load $(cut -d' ' -f1 /proc/loadavg), median of $rounds" theirs nvdriver ratio memory

# -- digests: a run file of the real driver, every sum it needs at once
"$nvdriver" runfile pack -qq "$store/$(cat "$store/refs/driver/$version-x86_64")/root" -o "$work/driver.run" --compression none >/dev/null
cat "$work/driver.run" >/dev/null
sums() {
	timed "$work/theirs" sh -c 'sha256sum "$1"; md5sum "$1"; cksum "$1"' - "$work/driver.run"
	timed "$work/ours" "$nvdriver" runfile verify -q --sums-only --sha256 "$sha" "$work/driver.run"
}
sha=$(sha256sum "$work/driver.run" | cut -d' ' -f1)
begin
again sums
row "SHA-256, MD5 and CRC of $(stat -c %s "$work/driver.run" | awk '{ printf "%d", $1 / 1e6 }') MB"
rm "$work/driver.run"

# -- signing the modules of one driver
set=$(dirname "$(find "$store/modules" -name nvidia.ko -path '*' | head -1)")
sign_file=$(find "$store/kernels" "$base/usr/lib" -path '*scripts/sign-file' -type f 2>/dev/null | head -1)
openssl req -x509 -newkey rsa:4096 -nodes -subj /CN=bench -days 2 -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
chmod 600 "$work/key.pem"
if [ -n "$sign_file" ] && { "$sign_file" 2>&1 || :; } | grep -qi usage; then
	sign() {
		rm -rf "$work/a" "$work/b"
		mkdir "$work/a" "$work/b"
		cp "$set"/*.ko "$work/a" && cp "$set"/*.ko "$work/b"
		timed "$work/theirs" sh -c 'for m in "$3"/*.ko; do "$0" sha256 "$1" "$2" "$m"; done' "$sign_file" "$work/key.pem" "$work/cert.pem" "$work/a"
		timed "$work/ours" "$nvdriver" modules sign --hash sha256 --resign --key "$work/key.pem" --cert "$work/cert.pem" "$work"/b/*.ko
	}
	begin
	again sign
	row "signing $(ls "$set"/*.ko | wc -l) modules, $(du -sm "$set" | cut -f1) MB (theirs: sign-file)"
fi

# -- user space into a root
debs=()
while read -r file; do
	case $(dpkg-deb -f "$file" Package) in
	*dkms* | *kernel* | *-dev | *-source) ;;
	*) [ "$(dpkg-deb -f "$file" Version | cut -d- -f1)" != "$version" ] || debs+=("$file") ;;
	esac
done < <(find "$store/packages" -name '*.deb')
into_root() {
	rm -rf "$work/a" "$work/b"
	cp -a --reflink=auto "$base" "$work/a" && cp -a --reflink=auto "$base" "$work/b"
	timed "$work/theirs" dpkg --root="$work/a" --force-all --no-triggers --unpack "${debs[@]}"
	timed "$work/ours" "$nvdriver" --store "$store" --root "$work/b" install "$version"
	"$nvdriver" --store "$store" --root "$work/b" undo >/dev/null 2>&1 || :
}
begin
[ ${#debs[@]} = 0 ] || { again into_root && row "user space into a root (theirs: dpkg --unpack)"; }
rm -rf "$work/a" "$work/b"

# -- growth
mkdir "$work/packages"
"$nvdriver" modules pack -q -V "$version" -P "Linux version $release" "$work/packages/1" "$set/nvidia.ko" >/dev/null
for ((i = 2; i <= 1000; i++)); do ln "$work/packages/1" "$work/packages/$i"; done
for n in 1 10 100 1000; do
	begin
	one() { timed "$work/ours" "$nvdriver" modules match -P "Linux version another" $(seq -f "$work/packages/%g" 1 $n); }
	again one
	lone "match $n precompiled packages of $(stat -c %s "$work/packages/1" | awk '{ printf "%d", $1 / 1e6 }') MB"
done
for n in 100 1000 10000; do
	rm -rf "$work/many"
	"$nvdriver" --store "$work/many" prepare /does/not/exist >/dev/null 2>&1 || : # makes the store
	python3 - "$work/many" "$n" <<'PY'
import hashlib, os, sys
store, n = sys.argv[1], int(sys.argv[2])
for i in range(n):
    data = b'package %d' % i
    name = hashlib.sha256(data).hexdigest()
    os.makedirs(f'{store}/packages/{name}')
    open(f'{store}/packages/{name}/{i}.run', 'wb').write(data)
PY
	for what in list "gc --dry-run" verify; do
		begin
		# shellcheck disable=SC2086
		one() { timed "$work/ours" "$nvdriver" --store "$work/many" $what; }
		again one
		lone "store of $n packages: $what"
	done
done
