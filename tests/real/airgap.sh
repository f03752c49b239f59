#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Across an air gap with the real driver: everything of the prepared store in one bundle, then, in a network namespace without any
# interface, from the bundle to modules ready to load and user space installed in a root. No compiler, no network.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
. "$top/tests/cli/lib.sh"
store=${NVD_STORE:-${NVD_TEST_CACHE:-$top/.cache}/store}
version=535.261.03
[ -e "$store/refs/driver/$version-x86_64" ] || { echo "the store has no $version: run tests/real/prepare.sh first"; exit 77; }
unshare --net true 2>/dev/null || { echo "network namespaces are not permitted here"; exit 77; }
rm -rf "$work"
work=$(mktemp -d /var/tmp/nvd-airgap.XXXXXX)
cd "$work" || exit 1
now_ms() { echo $(($(date +%s%N) / 1000000)); }

release=$(ls "$store/refs/kernels/x86_64" | tail -1)
status "a bundle of the real driver is made" 0 --store "$store" bundle create --from-store --driver $version -k "$release" --modules \
	--flavour proprietary -o gpu.nvbundle
sed 's/^/# /' out
# The same root for both sides: what an installation needs of a distribution.
mkdir -p root/{etc,var/lib,usr/bin,usr/lib/x86_64-linux-gnu,usr/sbin,usr/lib64}
for d in bin sbin lib lib64; do ln -s usr/$d root/$d; done
cp -L /lib/x86_64-linux-gnu/libc.so.6 root/usr/lib/x86_64-linux-gnu/
echo 'ID=debian' >root/etc/os-release

# gap ARGS...: the program where no network is, and where every program it starts is written down
gap() {
	unshare --net strace -f -qq -e trace=execve,connect -o trace "$NVDRIVER" --store new --offline "$@" >out 2>err </dev/null
	rc=$?
}
equals "the other side has no interface but its own loopback" "$(unshare --net grep -c : /proc/net/dev)" 1
from=$(now_ms)
gap bundle verify gpu.nvbundle
equals "verify" "$rc" 0
gap bundle apply gpu.nvbundle
equals "apply" "$rc $(grep -c ' done ' out)" "0 $(unshare --net "$NVDRIVER" bundle inspect gpu.nvbundle | tail -n +2 | wc -l)"
sed 's/^/# /' out
equals "starts no program" "$(grep execve trace | grep -v '= -1' | tail -n +2)" ""
gap prepare $version --kernel "$release"
equals "prepare finds driver, kernel tree and modules" "$rc $(grep -c ' hit ' out)" "0 3"
equals "without a compiler, or any other program" "$(grep execve trace | grep -v '= -1' | tail -n +2)" ""
gap --root root install $version --profile compute
equals "install" "$rc" 0
[ "$rc" = 0 ] || sed 's/^/# /' err
check "the driver's library is in the root" test -s "root/usr/lib/x86_64-linux-gnu/libcuda.so.$version"
check "it is the one of the first store" cmp "root/usr/lib/x86_64-linux-gnu/libcuda.so.$version" \
	"$store/$(cat "$store/refs/driver/$version-x86_64")/root/libcuda.so.$version"
gap verify
equals "the store is whole" "$rc" 0
equals "nothing was ever connected" "$(grep -h connect trace | grep -v AF_UNIX | head -3)" ""
echo "# from bundle to ready: $(($(now_ms) - from)) ms"
finish
