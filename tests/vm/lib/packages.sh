# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Debian packages from a private apt state: downloaded and unpacked, never installed. contrib, non-free and
# security are reachable here whatever the machine's own sources name, and those stay untouched.

PKG_ROOT=$CACHE/root                    # what pkg_fetch unpacks into by default
PKG_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# locked NAME COMMAND...: in a subshell, one at a time over all tests. Never in a condition: `set -e` must stay in force.
locked() { (flock 9; shift; "$@") 9>"$CACHE/lock.$1"; }

# The address of SUITE among the machine's own sources.
pkg_mirror() {
	apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
		awk -v suite="$1" '$1 == suite { print $2; exit }'
}

pkg_apt() {
	local tool=$1
	shift
	"$tool" -q -o Dir::Etc::SourceList="$CACHE/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::State::Lists="$CACHE/apt/lists" -o Dir::Cache::pkgcache="$CACHE/apt/pkgcache.bin" \
		-o Dir::Cache::srcpkgcache="" -o APT::Sandbox::User=root "$@"
}

# Fresh package lists at most every half day; old ones serve as long as the mirror cannot be reached.
pkg_refresh() {
	local stamp=$CACHE/apt/refreshed main security

	[ -z "$(find "$stamp" -mmin -720 2>/dev/null)" ] || return 0
	mkdir -p "$CACHE/apt/lists/partial"
	main=$(pkg_mirror bookworm)
	security=$(pkg_mirror bookworm-security)
	if [ -z "$main" ] || [ -z "$security" ]; then
		tap_cannot_run "apt knows no Debian 12 mirror"
	fi
	cat >"$CACHE/apt/sources.list" <<-END
		deb [signed-by=$PKG_KEYRING] $main bookworm main contrib non-free non-free-firmware
		deb [signed-by=$PKG_KEYRING] $security bookworm-security main contrib non-free non-free-firmware
	END
	if pkg_apt apt-get update >"$LOG_DIR/apt-update" 2>&1; then
		touch "$stamp"
	elif [ ! -e "$stamp" ]; then
		tap_cannot_run "the package lists cannot be fetched, see $LOG_DIR/apt-update"
	fi
}

# File names of packages as the mirror has them now. Asked from an empty directory: apt says nothing about a file
# that lies there already.
pkg_files() { (cd "$WORK" && pkg_apt apt-get download --print-uris "$@" 2>"$WORK/apt-errors") | awk '{ print $2 }'; }

# pkg_fetch_into DIRECTORY PACKAGE[=VERSION]...: unpacked once per version of the package.
pkg_fetch_into() {
	local to=$1 files file
	shift
	mkdir -p "$CACHE/debs" "$to/.unpacked"
	files=$(pkg_files "$@") || tap_cannot_run "package not to be had: $(grep -m1 '^E:' "$WORK/apt-errors")"
	for file in $files; do
		[ ! -e "$to/.unpacked/$file" ] || continue
		if [ ! -e "$CACHE/debs/$file" ]; then
			(cd "$CACHE/debs" && pkg_apt apt-get download "$@" >>"$LOG_DIR/apt-download" 2>&1) ||
				tap_cannot_run "package $file cannot be fetched, see $LOG_DIR/apt-download"
		fi
		dpkg -x "$CACHE/debs/$file" "$to"
		touch "$to/.unpacked/$file"
	done
}

# Same into the common root. Both are called under `locked packages`.
pkg_fetch() { pkg_fetch_into "$PKG_ROOT" "$@"; }

# Programs of the machine this bed needs; ends the file with 77 and the package to install otherwise.
need_program() {
	local pair
	for pair in "$@"; do
		command -v "${pair%%:*}" >/dev/null || tap_cannot_run "${pair%%:*} is missing, install ${pair#*:}"
	done
}
