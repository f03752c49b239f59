# SPDX-License-Identifier: Apache-2.0
# Sourced by tests that need a minimal Debian 12 root.

debian_mirror() { apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' | awk '$1=="bookworm"{print $2;exit}'; }

# debian_base DIRECTORY: makes it where it is not there yet; ends the test as skipped where that cannot be done.
debian_base() {
	local base=$1
	[ ! -e "$base/etc/os-release" ] || return 0
	command -v debootstrap >/dev/null || { echo "1..0 # SKIP no debootstrap"; exit 77; }
	rm -rf "$base.part"
	debootstrap --variant=minbase bookworm "$base.part" "$(debian_mirror)" >"$work/debootstrap" 2>&1 ||
		{ rm -rf "$base.part"; echo "1..0 # SKIP debootstrap failed: $(tail -1 "$work/debootstrap")"; exit 77; }
	mv "$base.part" "$base"
}
