# SPDX-License-Identifier: Apache-2.0
# Sourced by ./quickstart and ./check: install what is missing, and only that.

build_packages="gcc make meson ninja-build pkg-config libc6-dev libarchive-dev libcurl4-openssl-dev libssl-dev
libkmod-dev libjansson-dev libyaml-dev libsqlite3-dev liblzma-dev libzstd-dev zlib1g-dev libbz2-dev ca-certificates"

# need PACKAGE...: one dpkg-query when all are there, so a second run costs nothing.
need() {
	local missing
	missing=$({ dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' "$@" 2>/dev/null || true; } | sed -n 's/^ii //p' | sort -u |
		comm -13 - <(printf '%s\n' "$@" | sort -u))
	[ -z "$missing" ] && return 0
	[ "$(id -u)" = 0 ] || { echo "missing packages: $missing; install them or run as root" >&2; return 1; }
	echo "installing: $(echo "$missing" | tr '\n' ' ')" >&2
	apt-get -q -o Acquire::Retries=3 update >/dev/null || return 1
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3 --no-install-recommends install $missing >/dev/null
}
