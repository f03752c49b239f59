#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Under the names nvidia-installer and nvidia-uninstall, as scripts call the vendor's program.
. "$(dirname "$0")/lib.sh"

root=$work/root store=$work/store pkg=$work/pkg bin=$work/bin
mkdir -p "$root"/{etc,tmp,var/lib,proc/4711,sys,usr/bin,usr/lib/x86_64-linux-gnu} "$pkg" "$bin"
ln -s usr/lib "$root/lib"
ln -s "$NVDRIVER" "$bin/nvidia-installer"
ln -s "$NVDRIVER" "$bin/nvidia-uninstall"
cat >"$pkg/.manifest" <<'M'
NVIDIA Accelerated Graphics Driver for Linux-x86_64
535.1.2
 
nvidia 
 
 
./kernel/
./kernel/precompiled/
nvidia-smi 0755 UTILITY_BINARY MODULE:nvml
nvidia-modprobe 04755 NVIDIA_MODPROBE /usr/bin MODULE:installer
nvidia-rc 0644 APPLICATION_PROFILE / MODULE:opengl
M
echo smi >"$pkg/nvidia-smi"
echo mp >"$pkg/nvidia-modprobe"
echo bin >"$pkg/nvidia-rc"
cd "$pkg" || exit 1

# installer ARGS...: by bare name, in the package's directory, into the made root
by_name() { # NAME ARGS...
	local name=$1
	shift
	(exec -a "$name" "$NVDRIVER" "$@") >"$work/out" 2>"$work/err" </dev/null
	rc=$?
}
installer() { by_name nvidia-installer --root "$root" --store "$store" "$@"; }
uninstaller() { by_name nvidia-uninstall --root "$root" --store "$store" "$@"; }
snapshot() { (cd "$root" && find . -printf '%p %y %m %l\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum); }

by_name nvidia-installer --no-such-option
equals "an unknown option is status 1" "$rc" 1
check "and named" grep -q 'unrecognized option: "--no-such-option"' "$work/err"
for bad in -y --kernel-nam=1 --silent=yes "-m weird" "-M x" --ui "word" "-K --no-kernel-modules"; do
	# shellcheck disable=SC2086 # words are meant
	installer $bad
	equals "refused: $bad" "$rc" 1
done
for good in --help -h --advanced-options -A --version -v; do
	installer $good
	equals "$good is status 0" "$rc" 0
done
check "the version is the package's" grep -q '535.1.2' "$work/out"
installer -A
for option in silent no-questions ui accept-license kernel-module-only kernel-modules-only no-kernel-module no-kernel-modules \
	kernel-module-build-directory kernel-module-type no-drm no-unified-memory no-peermem skip-module-load dkms no-dkms no-x-check \
	no-nouveau-check no-rpms no-backup no-check-for-alternate-installs no-distro-scripts no-nvidia-modprobe no-opengl-files \
	no-wine-files install-compat32-libs no-install-compat32-libs install-libglvnd no-install-libglvnd no-libglx-indirect systemd \
	no-systemd proc-mount-point kernel-name kernel-source-path kernel-output-path kernel-install-path \
	precompiled-kernel-interfaces-path x-prefix x-module-path x-library-path x-sysconfig-path opengl-prefix opengl-libdir \
	utility-prefix utility-libdir compat32-prefix documentation-prefix application-profile-path wine-prefix gbm-backend-dir \
	gbm-backend-dir32 glvnd-egl-config-path override-file-type-destination tmpdir log-file-name uninstall driver-info sanity \
	add-this-kernel; do
	grep -q -- "--$option\(=\.\.\.\)\?\$" "$work/out" || echo "$option"
done >"$work/missing"
equals "callers find every option in the list" "$(cat "$work/missing")" ""

# Refused before anything is done.
snapshot >"$work/before"
mkdir -p "$root/sys/bus/pci/drivers/nouveau"
ln -s x "$root/sys/bus/pci/drivers/nouveau/0000:41:00.0"
installer --silent --no-kernel-module
equals "nouveau on a card stops it" "$rc" 1
check "and says how to go on" grep -q -- '--no-nouveau-check' "$work/err"
rm -r "$root/sys/bus"
echo '      4711' >"$root/tmp/.X0-lock"
installer --silent --no-kernel-module
equals "an X server stops it" "$rc" 1
rm -r "$root/proc/4711"
installer --silent -K
equals "only modules needs an installed driver" "$rc" 1
rm "$root/tmp/.X0-lock"
mkdir "$root/proc/4711"
snapshot >"$work/after"
equals "nothing has changed" "$(diff "$work/before" "$work/after")" ""
echo 4711 >"$root/tmp/.X0-lock"
mkdir -p "$root/sys/bus/pci/drivers/nouveau/0000:41:00.0"

# What the container scripts call.
installer --silent --accept-license --no-kernel-module --no-x-check --no-nouveau-check --no-nvidia-modprobe --no-dkms --no-backup \
	--no-check-for-alternate-installs --skip-depmod --no-systemd --no-rebuild-initramfs --no-install-compat32-libs \
	--log-file-name="$work/log" --tmpdir="$work"
equals "user space is installed" "$rc" 0
[ "$rc" = 0 ] || sed 's/^/# /' "$work/err"
equals "silently" "$(cat "$work/out" "$work/err")" ""
check "nvidia-smi is there" cmp "$pkg/nvidia-smi" "$root/usr/bin/nvidia-smi"
check "nvidia-modprobe is not" test ! -e "$root/usr/bin/nvidia-modprobe"
check "the log was written" test -e "$work/log"
installer --driver-info
check "it says what is installed" grep -q 'version: 535.1.2' "$work/out"
installer --sanity --silent
equals "and finds it sound" "$rc" 0
echo changed >"$root/usr/bin/nvidia-smi"
installer --sanity --silent
equals "or not" "$rc" 1
cp "$pkg/nvidia-smi" "$root/usr/bin/nvidia-smi"
chmod 755 "$root/usr/bin/nvidia-smi"
uninstaller -s
equals "nvidia-uninstall takes it away" "$rc" 0
check "all of it" test ! -e "$root/usr/bin/nvidia-smi"
installer -i
equals "then none is installed" "$rc $(cat "$work/out")" "1 There is no NVIDIA driver currently installed."

# Destinations, and the distribution's veto.
mkdir -p "$root/usr/lib/nvidia"
: >"$root/usr/lib/nvidia/alternate-install-present"
installer -s --no-kernel-modules --no-x-check --no-nouveau-check
equals "a distribution's own driver stops it" "$rc" 1
installer -s --no-kernel-modules --no-x-check --no-nouveau-check --no-check-for-alternate-installs --utility-prefix=/opt/nv \
	--override-file-type-destination APPLICATION_PROFILE:/usr/share/other
equals "unless told not to look" "$rc" 0
[ "$rc" = 0 ] || sed 's/^/# /' "$work/err"
check "programs go to their prefix" test -f "$root/opt/nv/bin/nvidia-smi"
check "types where they were sent" test -f "$root/usr/share/other/nvidia-rc"
installer --uninstall --silent
equals "--uninstall does the same" "$rc" 0
check "the prefix is gone" test ! -e "$root/opt"

# Beside its own package, from anywhere.
cp -r "$pkg" "$work/elsewhere"
ln -s "$NVDRIVER" "$work/elsewhere/nvidia-installer"
cd / || exit 1
"$work/elsewhere/nvidia-installer" --version >"$work/out"
check "run by a path it takes the package beside it" grep -q '535.1.2' "$work/out"
"$bin/nvidia-installer" --version >"$work/out" 2>"$work/err"
equals "where no package is, it fails" "$?" 1
finish
