#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The engine's own paths beside the tools people use for them, in alternation: digests, signatures, user space into a root; and how
# cost grows with packages to match and with objects in a store.
#   bench/engine.sh [-n ROUNDS] STORE BASE    STORE: one that `nvdriver prepare apt:535.261.03 --kernel apt:amd64` filled;
#                                             BASE: a Debian 12 root (debootstrap --variant=minbase), copied, not changed
. "$(dirname "$0")/lib.sh"
rounds=3
while getopts n: opt; do
	case $opt in
	n) rounds=$OPTARG ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
[ $# = 2 ] || usage
use_store "$1"
base=$(realpath "$2")
again() { local i; for ((i = 0; i < rounds; i++)); do "$@"; done; }
# alone TEXT COMMAND...: a row of something nobody else does
alone() {
	local text=$1
	shift
	begin it
	again timed it "$@"
	row "$text" - it
}
mb() { du -sm "$1" | cut -f1; }
heading "path | $versus"

# -- digests: a run file of the real driver, every sum it needs at once
"$nvdriver" runfile pack -qq "$tree" -o "$work/plain.run" --compression none >/dev/null
sha=$(sha256sum "$work/plain.run" | cut -d' ' -f1)
sums() {
	# shellcheck disable=SC2016
	timed sums-theirs sh -c 'sha256sum "$1"; md5sum "$1"; cksum "$1"' - "$work/plain.run"
	timed sums-ours "$nvdriver" runfile verify -q --sums-only --sha256 "$sha" "$work/plain.run"
}
again sums
row "SHA-256, MD5, CRC of $(mb "$work/plain.run") MB (sha256sum, md5sum, cksum)" sums-theirs sums-ours
rm "$work/plain.run"

# -- signing the modules of one driver
set=$store/modules/$(ls "$store/refs/modules/$version/proprietary/x86_64/$release" | head -1)
sign_file=$(find "$kernel/root/" -path '*scripts/sign-file' -type f | head -1)
openssl req -x509 -newkey rsa:4096 -nodes -subj /CN=bench -days 2 -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
chmod 600 "$work/key.pem"
sign() {
	rm -rf "$work/a" "$work/b"
	mkdir "$work/a" "$work/b"
	cp "$set"/*.ko "$work/a" && cp "$set"/*.ko "$work/b"
	# shellcheck disable=SC2016
	timed sign-theirs sh -c 'for m in "$3"/*.ko; do "$0" sha256 "$1" "$2" "$m"; done' "$sign_file" "$work/key.pem" "$work/cert.pem" "$work/a"
	timed sign-ours "$nvdriver" modules sign --hash sha256 --resign --key "$work/key.pem" --cert "$work/cert.pem" "$work"/b/*.ko
}
again sign
row "signing $(find "$set" -name '*.ko' | wc -l) modules, $(mb "$set") MB (sign-file)" sign-theirs sign-ours
rm -rf "$work/a" "$work/b"

# -- user space into a root, from a run file and from the store
"$nvdriver" runfile pack -qq "$tree" -o "$work/driver.run" >/dev/null
copy_into() { # ROOT: the unpacked driver's files where the vendor's installer puts them
	local lib=$1/usr/lib/x86_64-linux-gnu
	find "$work/unpacked" -maxdepth 1 -name '*.so*' -print0 | xargs -0 cp -a -t "$lib"
	find "$work/unpacked" -maxdepth 1 -type f -name 'nvidia-*' -perm -100 -print0 | xargs -0 cp -a -t "$1/usr/bin"
	[ ! -d "$work/unpacked/32" ] || cp -a "$work/unpacked/32/." "$1/usr/lib"
	mkdir -p "$1/lib/firmware/nvidia/$version"
	cp -a "$work/unpacked/firmware/." "$1/lib/firmware/nvidia/$version/"
	ldconfig -r "$1"
}
unpack_and_copy() { sh "$work/driver.run" -x --target "$work/unpacked" && copy_into "$work/a"; }
prepare_and_install() { "${prepare[@]}" && "${install[@]}"; }
prepare=("$nvdriver" -q --store "$work/store" prepare "$work/driver.run" --no-modules)
install=("$nvdriver" -q --store "$work/store" --root "$work/b" install "$version")
roots() { # fresh ones
	rm -rf "$work/a" "$work/b"
	cp -a --reflink=auto "$base" "$work/a"
	cp -a --reflink=auto "$base" "$work/b"
}
from_run() {
	rm -rf "$work/store" "$work/unpacked"
	roots
	timed run-theirs unpack_and_copy
	timed run-ours prepare_and_install
}
from_store() {
	roots
	timed store-theirs copy_into "$work/a"
	"$nvdriver" -qq --store "$work/store" --root "$work/b" install "$version" --remove >/dev/null 2>&1 || :
	timed store-ours "${install[@]}"
	timed store-again "${install[@]}"
}
again from_run
row "user space from a zstd run file into a root (-x, cp, ldconfig)" run-theirs run-ours
again from_store
row "user space, unpacked already (cp, ldconfig)" store-theirs store-ours
debs=()
while read -r file; do
	case $(dpkg-deb -f "$file" Package) in
	*dkms* | *kernel* | *-dev | *-source) ;;
	*) [ "$(dpkg-deb -f "$file" Version | cut -d- -f1)" != "$version" ] || debs+=("$file") ;;
	esac
done < <(find "$store/packages" -name '*.deb')
from_packages() {
	roots
	timed debs-theirs dpkg --root="$work/a" --force-all --no-triggers --unpack "${debs[@]}"
	"$nvdriver" -qq --store "$work/store" --root "$work/b" install "$version" --remove >/dev/null 2>&1 || :
	timed debs-ours "${install[@]}"
}
[ ${#debs[@]} = 0 ] || { again from_packages && row "user space, ${#debs[@]} packages (dpkg --unpack)" debs-theirs debs-ours; }
row "user space, the same again" - store-again
rm -rf "$work/a" "$work/b" "$work/unpacked" "$work/store" "$work/driver.run"

alone "prepare, everything there" "$nvdriver" --store "$store" --offline prepare "apt:$version" --kernel apt:amd64 --generate-key --package

# -- growth
mkdir "$work/packages"
"$nvdriver" modules pack -q -V "$version" -P "Linux version $release" "$work/packages/1" "$set/nvidia.ko" >/dev/null
for ((i = 2; i <= 1000; i++)); do ln "$work/packages/1" "$work/packages/$i"; done
allowed=8 # none matches
for n in 1 10 100 1000; do
	mapfile -t some < <(seq -f "$work/packages/%g" 1 $n)
	alone "match $n precompiled packages of $(mb "$work/packages/1") MB" "$nvdriver" modules match -P "Linux version another" "${some[@]}"
done
allowed=0
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
	alone "store of $n packages: list" "$nvdriver" --store "$work/many" list
	alone "store of $n packages: gc --dry-run" "$nvdriver" --store "$work/many" gc --dry-run
	alone "store of $n packages: verify" "$nvdriver" --store "$work/many" verify
done
