#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The program where "/" is the machine it changes: installed, verified and removed inside a made root.
. "$(dirname "$0")/lib.sh"

cd "$work" || exit 1
root=$work/root
if ! unshare --mount --propagation private chroot / true 2>/dev/null; then
	skip "a root of its own" "mount namespaces and chroot are not permitted here"
	finish
fi

mkdir -p "$root"/{proc,dev,tmp,etc,var/lib,usr/bin,usr/sbin,usr/lib/x86_64-linux-gnu,usr/lib64}
for d in bin sbin lib lib64; do ln -s usr/$d "$root/$d"; done
cp "$NVDRIVER" "$root/usr/bin/nvdriver"
for lib in $(ldd "$NVDRIVER" | grep -o '/[^ ]*'); do
	mkdir -p "$root/${lib%/*}"
	cp -L "$lib" "$root$lib"
done
cp -L /sbin/ldconfig "$root/usr/sbin/ldconfig"
if [ -e /sbin/ldconfig.real ]; then cp -L /sbin/ldconfig.real "$root/usr/sbin/ldconfig.real"; fi
echo 'include /etc/ld.so.conf.d/*.conf' >"$root/etc/ld.so.conf"
mkdir "$root/etc/ld.so.conf.d"
echo /usr/lib/x86_64-linux-gnu >"$root/etc/ld.so.conf.d/a.conf"
# A daemon-reload would show: this root is not run by systemd, so nobody may ask for one.
printf '#!/bin/nothing\n' >"$root/usr/bin/systemctl"
chmod 755 "$root/usr/bin/systemctl"

mkdir -p "$root/tree/systemd/system"
printf '%s\n' 'NVIDIA Accelerated Graphics Driver for Linux-x86_64' 535.1.2 ' ' 'nvidia ' ' ' ' ' ./kernel/ \
	./kernel/precompiled/ 'nvidia-smi 0755 UTILITY_BINARY MODULE:nvml' \
	'systemd/system/nvidia-suspend.service 0644 SYSTEMD_UNIT INHERIT_PATH_DEPTH:1 MODULE:powermanagement' \
	>"$root/tree/.manifest"
echo smi >"$root/tree/nvidia-smi"
echo '[Unit]' >"$root/tree/systemd/system/nvidia-suspend.service"

# inside ARGS...: the program in that root; nothing stays mounted
inside() {
	unshare --mount --propagation private sh -c 'mount --bind /proc "$1/proc" && mount --bind /dev "$1/dev" && root=$1 && shift && exec chroot "$root" "$@"' \
		sh "$root" /usr/bin/nvdriver --store /store "$@" >out 2>err </dev/null
	rc=$?
}
inside_is() { # TEXT WANT ARGS...
	local text=$1 want=$2
	shift 2
	inside "$@"
	if [ "$rc" = "$want" ]; then ok "$text"; else not_ok "$text" "status $rc instead of $want" "$(head -5 err)"; fi
}
snapshot() { (cd "$root" && find . -path ./store -prune -o -path ./proc -prune -o -path ./dev -prune -o -printf '%p %y %m %U:%G %l\n' | sort
	find . -path ./store -prune -o -path ./proc -prune -o -type f -print0 | sort -z | xargs -0 sha256sum); }

if [ "$(uname -m)" != x86_64 ]; then
	skip "a root of its own" "the made driver is for x86_64"
	finish
fi
inside_is "prepares the driver" 0 prepare --no-modules /tree
snapshot >before
inside_is "installs into /" 0 install 535.1.2
check "the files are there" cmp "$root/tree/nvidia-smi" "$root/usr/bin/nvidia-smi"
check "units too" test -f "$root/usr/lib/systemd/system/nvidia-suspend.service"
check "the loader's cache is renewed" test -s "$root/etc/ld.so.cache"
check "the machine is the target host" test -d "$root/store/targets/host"
inside_is "the root is what its record says" 0 verify
inside_is "a second run has nothing to do" 0 install 535.1.2
sed -i 's/nvidia-smi"/nvidia-xyz"/' "$root/var/lib/nvdriver/record.json"
inside_is "a record somebody changed is a finding" 10 verify
check "and says against what" grep -q 'differs from the record the store keeps' out
sed -i 's/nvidia-xyz"/nvidia-smi"/' "$root/var/lib/nvdriver/record.json"
mv "$root/var/lib/nvdriver/record.json" record.json
inside_is "a record that is gone is one too" 10 verify
mv record.json "$root/var/lib/nvdriver/record.json"
inside_is "removes" 0 install --remove
snapshot >after
equals "the root is as it was" "$(diff before after | head -10)" ""

# The vendor's installer by name, with the distribution's hooks: they are executed only where "/" is the machine.
ln -s nvdriver "$root/usr/bin/nvidia-installer"
cp -L /bin/sh "$root/usr/bin/sh"
mkdir -p "$root/usr/lib/nvidia" "$root/var/log"
put_hook() { # NAME STATUS
	printf '#!/bin/sh\nif [ -e /usr/bin/nvidia-smi ]; then there=with; else there=without; fi\necho %s $there >>/hooks\nexit %s\n' \
		"$1" "$2" >"$root/usr/lib/nvidia/$1"
	chmod 755 "$root/usr/lib/nvidia/$1"
}
for name in pre-unload pre-install post-install failed-install pre-uninstall post-uninstall; do put_hook $name 0; done
installer() {
	rm -f "$root/hooks"
	unshare --mount --propagation private sh -c 'mount --bind /proc "$1/proc" && mount --bind /dev "$1/dev" && root=$1 && shift &&
		exec chroot "$root" /usr/bin/sh -c "cd /tree && exec nvidia-installer --no-x-check --no-nouveau-check --store /store \"\$@\"" sh "$@"' \
		sh "$root" "$@" >out 2>err </dev/null
	rc=$?
	hooks=$([ ! -e "$root/hooks" ] || xargs <"$root/hooks")
}
installer --silent --no-kernel-modules
equals "the installer runs by its name" "$rc" 0
[ "$rc" = 0 ] || sed 's/^/# /' err
equals "with its hooks, before and after" "$hooks" "pre-install without post-install with"
check "and its log" test -e "$root/var/log/nvidia-installer.log"
installer --silent --no-kernel-modules --no-distro-scripts
equals "without them when told so" "$rc $hooks" "0 "
# Removal unloads too, and the kernel is this machine's.
if grep -q '^nvidia' /proc/modules 2>/dev/null; then
	skip "removal has its own" "this machine's own driver would be unloaded"
	inside install --remove
else
	installer --silent --uninstall
	equals "removal has its own" "$rc $hooks" "0 pre-uninstall with pre-unload without post-uninstall without"
fi
: >"$root/usr/lib/nvidia/alternate-install-present"
installer --silent --no-kernel-modules
equals "a failure has its own too" "$rc $hooks" "1 pre-install without failed-install without"
put_hook pre-install 3
installer --silent --no-kernel-modules
equals "a hook that refuses ends it" "$rc $hooks" "1 pre-install without"
check "which is said" grep -q '/usr/lib/nvidia/pre-install failed' err
installer --silent -K
equals "only modules: no hooks" "$rc $hooks" "1 "
finish
