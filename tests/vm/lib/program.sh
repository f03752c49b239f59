# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The program under test: $NVDRIVER when set, else an ordinary build (no sanitizers: a guest has one slow core)
# of this checkout kept in the cache.

program_build_unlocked() {
	local build=$CACHE/nvdriver-build

	[ -e "$build/build.ninja" ] ||
		meson setup "$build" "$SRC_DIR" --buildtype=debugoptimized >"$LOG_DIR/meson" 2>&1 || {
		rm -rf "$build"
		echo "Bail out! nvdriver cannot be configured, see $LOG_DIR/meson"
		exit 1
	}
	ninja -C "$build" src/cli/nvdriver >"$LOG_DIR/ninja" 2>&1 || {
		grep -A5 'error' "$LOG_DIR/ninja" | head -20
		echo "Bail out! nvdriver does not build, see $LOG_DIR/ninja"
		exit 1
	}
	strip -g -o "$CACHE/nvdriver.tmp" "$build/src/cli/nvdriver"
	# The same bytes keep their time stamp, so what is made from them stays.
	cmp -s "$CACHE/nvdriver.tmp" "$CACHE/nvdriver" || mv "$CACHE/nvdriver.tmp" "$CACHE/nvdriver"
}

if [ -z "${NVDRIVER:-}" ]; then
	need_program meson:meson ninja:ninja-build
	locked program program_build_unlocked
	NVDRIVER=$CACHE/nvdriver
fi
# Copied out of its build tree it would look for its data where it is installed.
export NVDRIVER_DATADIR=${NVDRIVER_DATADIR:-$SRC_DIR/data}
