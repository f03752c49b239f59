# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The virtual-machine test bed. A test file sources this, prepares files, boots one or more guests and reports
# with the functions of lib/tap.sh. Everything expensive stays in one cache directory, so a second run fetches,
# unpacks and compiles nothing. No package is ever installed here and no module is ever loaded into the
# machine's own kernel: kernels, firmware and tools are unpacked below the cache and used from there.

set -euo pipefail

VM_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SRC_DIR=$(cd "$VM_DIR/../.." && pwd)
CACHE=$(realpath -m "${NVD_TEST_CACHE:-$SRC_DIR/.cache}")/vm
mkdir -p "$CACHE"

# This run's scratch directory, removed on exit; the consoles and results of guests stay in $CACHE/log.
TEST_NAME=$(basename "$0" .sh)
TEST_NAME=${TEST_NAME#test-}
LOG_DIR=$CACHE/log
mkdir -p "$LOG_DIR" "$CACHE/tmp"
WORK=$(mktemp -d "$CACHE/tmp/$TEST_NAME.XXXXXX")
trap 'rm -rf "$WORK"' EXIT

. "$VM_DIR/lib/tap.sh"
. "$VM_DIR/lib/packages.sh"
. "$VM_DIR/lib/kernel.sh"
. "$VM_DIR/lib/keys.sh"
. "$VM_DIR/lib/guest.sh"
. "$VM_DIR/lib/program.sh"
