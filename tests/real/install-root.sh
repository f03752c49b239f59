#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The real driver's user space into a Debian root and out again: everything of the driver's own resolves, the real
# nvidia-smi runs as far as it can without a device, and removal leaves the root as it was.
# Needs a store with the driver: NVD_STORE, or the one tests/real/prepare.sh leaves. NVD_TEST_ROOT: a ready root.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
. "$top/tests/cli/lib.sh"
. "$top/tests/lib/debian-root.sh"
cache=${NVD_TEST_CACHE:-$top/.cache}
store=${NVD_STORE:-${STORE:-$cache/store}}
version=${NVD_VERSION:-535.261.03}
base=${NVD_TEST_ROOT:-$cache/install-base}
root=$work/root

[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root for chroot"; exit 77; }
[ -e "$store/refs/driver/$version-x86_64" ] || { echo "1..0 # SKIP no driver $version in $store"; exit 77; }
debian_base "$base"
cp -a --reflink=auto "$base" "$root"

# Every name with kind, mode, owner, link text and content. Times of directories change when something comes and goes.
snapshot() {
	(cd "$root" && find . -printf '%p %y %m %U:%G %l\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum)
}
nvd() { run --store "$store" --root "$root" "$@"; }

for profile in full compute; do
	snapshot >"$work/before"
	nvd install "$version" --profile "$profile"
	equals "$profile: installs" "$rc" 0
	[ "$rc" = 0 ] || sed 's/^/# /' "$work/err"
	sed 's/^/# /' "$work/out"
	nvd install "$version" --profile "$profile"
	equals "$profile: a second run finds nothing to do" "$rc $(grep -c already "$work/out")" "0 1"
	nvd verify
	equals "$profile: the root is what its record says" "$rc" 0
	[ "$rc" = 0 ] || sed 's/^/# /' "$work/out"

	# The real loader's word. Libraries of the distribution that a minimal root lacks are not the driver's.
	(cd "$root" && find usr -newer "$work/before" -type f \( -name '*.so.*' -o -path 'usr/bin/nvidia-*' \)) >"$work/objects"
	check "$profile: there are objects to ask about" test "$(wc -l <"$work/objects")" -ge 10
	missing=$(while read -r f; do chroot "$root" ldd "/$f" 2>/dev/null | sed -n "s#^\t\(.*\) => not found#$f \1#p"; done <"$work/objects")
	equals "$profile: no library of the driver's own is missing" "$(grep -E ' (lib.*nvidia.*|libcuda\..*|libnv.*)$' <<<"$missing")" ""
	check "$profile: the loader's cache knows libcuda" sh -c "chroot '$root' ldconfig -p | grep -q 'libcuda.so.1 .*x86-64'"

	# No driver in this kernel: NVML says so (9). In a private /dev, so that no node is made on this machine.
	unshare -m sh -c "mount -t tmpfs none '$root/dev' && mknod '$root/dev/null' c 1 3 && exec chroot '$root' nvidia-smi" >"$work/smi" 2>&1
	smi=$?
	if [ -e /proc/driver/nvidia/version ]; then skip "$profile: nvidia-smi fails only for lack of a driver" "this machine runs one"
	else equals "$profile: nvidia-smi fails only for lack of a driver" "$smi" 9; fi
	sed 's/^/# /' "$work/smi" | head -3

	nvd install --remove
	equals "$profile: removes" "$rc" 0
	[ "$rc" = 0 ] || sed 's/^/# /' "$work/err"
	snapshot >"$work/after"
	equals "$profile: the root is as it was" "$(diff "$work/before" "$work/after" | head -20)" ""
done

# A person's file stays; a package's file is in nobody's way.
nvd install "$version" --profile compute
echo mine >"$root/usr/bin/nvidia-smi"
nvd verify
equals "a changed file is a finding" "$rc" 10
nvd install --remove
equals "removal goes on without it" "$rc $(cat "$root/usr/bin/nvidia-smi")" "0 mine"
rm "$root/usr/bin/nvidia-smi"
echo packaged >"$root/usr/bin/nvidia-smi"
echo /usr/bin/nvidia-smi >"$root/var/lib/dpkg/info/some-package.list"
slug "a package's file is not replaced" 7 install-conflict --store "$store" --root "$root" install "$version" --profile compute
finish
