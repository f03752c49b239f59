#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# packaging/build-deb.sh DIRECTORY: the Debian package of HEAD, made into DIRECTORY, checked by lintian where that is installed.
set -euo pipefail
out=$(realpath -m "${1:?usage: packaging/build-deb.sh DIRECTORY}")
cd "$(dirname "$0")/.."
work=$(mktemp -d "${TMPDIR:-/tmp}/nvdriver-deb.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/nvdriver" "$out"
git archive HEAD | tar -x -C "$work/nvdriver"
mv "$work/nvdriver/packaging/debian" "$work/nvdriver/debian"
(cd "$work/nvdriver" && dpkg-buildpackage --build=binary --no-sign)
cp "$work"/*.deb "$out"
! command -v lintian >/dev/null || lintian --fail-on error,warning "$work"/*.changes
