#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# packaging/build-rpm.sh DIRECTORY: the RPM package of HEAD, made into DIRECTORY. On RHEL 9 its build requirements are checked;
# elsewhere (their names mean nothing there) the build itself finds out.
set -euo pipefail
out=$(realpath -m "${1:?usage: packaging/build-rpm.sh DIRECTORY}")
cd "$(dirname "$0")/.."
work=$(mktemp -d "${TMPDIR:-/tmp}/nvdriver-rpm.XXXXXX")
trap 'rm -rf "$work"' EXIT
version=$(sed -n 's/^Version: *//p' packaging/nvdriver.spec)
mkdir -p "$work/SOURCES" "$out"
git archive --prefix="nvdriver-$version/" HEAD | gzip -n >"$work/SOURCES/nvdriver-$version.tar.gz"
foreign=
[ -e /etc/redhat-release ] || foreign=--nodeps
rpmbuild -bb $foreign --define "_topdir $work" packaging/nvdriver.spec
cp "$work"/RPMS/*/*.rpm "$out"
