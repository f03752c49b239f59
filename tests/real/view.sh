#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The real driver's user-space view: complete, every link and library resolves inside it, its image holds the same, and
# asking again reads and runs nothing.
# Needs a store with the driver (NVD_STORE, or the one tests/real/prepare.sh leaves) and build/tests/make-view.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
. "$top/tests/cli/lib.sh"
make_view=${MAKE_VIEW:-$(dirname "$NVDRIVER")/../../tests/make-view}
cache=${NVD_TEST_CACHE:-$top/.cache}
from=${NVD_STORE:-${STORE:-$cache/store}}
version=${NVD_VERSION:-535.261.03}

ref=$from/refs/driver/$version-x86_64
[ -e "$ref" ] || { echo "1..0 # SKIP no driver $version in $from"; exit 77; }
[ -x "$make_view" ] || { echo "1..0 # SKIP no $make_view"; exit 77; }
tree=$(sed 's#trees/##' "$ref")
# A store of its own with a copy of that one tree: the shared one stays as it is.
store=$work/store
run --store "$store" prepare tree:/nonexistent
mkdir -p "$store/refs/driver"
cp "$ref" "$store/refs/driver/"
cp -a --reflink=auto "$from/trees/$tree" "$store/trees/"

inside() { # what of the view's objects is not found inside the view, of the driver's own
	local view=$1 f
	find "$view" -type f \( -name '*.so*' -o -path '*/bin/*' \) -not -path '*/lib32/*' | while read -r f; do
		LD_LIBRARY_PATH=$view/lib ldd "$f" 2>/dev/null | sed -n "s#^\t\(.*\) => not found#$f \1#p"
	done | grep -E ' (lib.*nvidia.*|libcuda\..*|libnv.*)$'
}

for profile in compute full; do
	read -r made id image < <("$make_view" "$store" "$tree" "$profile" 2>"$work/notes")
	equals "$profile: a view and its image are made" "$made $image" "1 1"
	sed 's/^/# /' "$work/notes"
	view=$store/trees/$id/root
	check "$profile: it has bin, lib, lib32, share and nothing else" test "$(echo "$view"/*)" = "$view/bin $view/lib $view/lib32 $view/share"
	equals "$profile: no link leads nowhere or out" "$(find "$view" -xtype l; find "$view" -type l -lname '/*')" ""
	for name in libcuda.so.1 libnvidia-ml.so.1; do
		check "$profile: $name is there" test -e "$view/lib/$name"
	done
	equals "$profile: no library of the driver's own is missing" "$(inside "$view")" ""
	echo "# $(find "$view" -type f | wc -l) files, $(find "$view" -type l | wc -l) links, $(du -sm "$view" | cut -f1) MB, of them shared with the tree: $(find "$view" -type f -links +1 | wc -l)"
	if [ -e /proc/driver/nvidia/version ]; then
		skip "$profile: nvidia-smi fails only for lack of a driver" "this machine runs one"
	else
		LD_LIBRARY_PATH=$view/lib "$view/bin/nvidia-smi" >"$work/smi" 2>&1
		equals "$profile: nvidia-smi fails only for lack of a driver" "$?" 9
	fi
	if fsck.erofs --help 2>&1 | grep -q -- --extract; then
		fsck.erofs --extract="$work/extracted" "$store/images/$id.erofs" >"$work/fsck" 2>&1
		check "$profile: the image holds the same" diff -r --no-dereference "$view" "$work/extracted"
		rm -rf "$work/extracted"
	else
		skip "$profile: the image holds the same" "fsck.erofs cannot extract"
	fi
	ASAN_OPTIONS=detect_leaks=0 strace -f -e trace=execve -o "$work/trace" "$make_view" "$store" "$tree" "$profile" >"$work/again"
	equals "$profile: asking again makes nothing" "$(cat "$work/again")" "0 $id 0"
	equals "$profile: and starts nothing" "$(grep -c execve "$work/trace")" 1
done
check "a GL stack knows the driver" test -s "$view/share/glvnd/egl_vendor.d/10_nvidia.json"
check "Vulkan does" grep -q libGLX_nvidia "$view"/share/vulkan/icd.d/nvidia_icd*.json
check "OpenCL does" grep -q libnvidia-opencl "$view/share/OpenCL/vendors/nvidia.icd"
run --store "$store" --json list
check "a view is not listed as a driver" test "$(grep -c "\"view_of\": \"$tree\"" "$work/out")" = 2
run --store "$store" verify
equals "the store is sound" "$rc" 0
finish
