#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The driver container's command line, under its own name and under the entrypoint's.
# shellcheck source=tests/cli/lib.sh
. "$SRCDIR/tests/cli/lib.sh"

ln -s "$NVDRIVER" "$work/nvidia-driver"
entry() { "$work/nvidia-driver" "$@" >"$work/out" 2>"$work/err" </dev/null; rc=$?; }
# entry_fails TEXT PATTERN ARGS...: status 1, the pattern on stderr, nothing on stdout
entry_fails() {
	local text=$1 pattern=$2
	shift 2
	entry "$@"
	if [ "$rc" = 1 ] && grep -q -- "$pattern" "$work/err" && ! [ -s "$work/out" ]; then ok "$text"; else not_ok "$text" "status $rc" "$(head -3 "$work/err")"; fi
}

# A machine that is a directory; what it lacks makes each command end at its first step.
root=$work/root
mkdir -p "$root/proc/sys/kernel" "$root/proc/1/root/sys" "$root/proc/1/root/var/lib" "$root/etc" "$root/sys"
echo 5.14.0-284.11.1.el9_2.x86_64 >"$root/proc/sys/kernel/osrelease"
: >"$root/proc/modules"

entry_fails "no command is usage" "^usage: nvidia-driver"
entry_fails "an unknown command is usage" "^usage: nvidia-driver" frobnicate
entry_fails "left-over words are usage" "^usage: nvidia-driver" init now
entry_fails "left-over words after -- are usage" "^usage: nvidia-driver" init -- -a
entry_fails "an unknown option" "invalid option -- 'x'" init -x
equals "... is one line" "$(wc -l <"$work/err")" 1
entry_fails "an unknown long option" "unrecognized option '--nothing'" build --nothing
entry_fails "an option without its value" "requires an argument" init -m
entry_fails "an ambiguous abbreviation finds no option" "unrecognized option\|ambiguous" init --x
entry_fails "load takes no options" "invalid option" load -a
export NVDRIVER_STORE=$work/store
unset DRIVER_VERSION TARGETARCH
for words in "init" "init -a -m 4" "init -m4" "init --max-threads=4 --accept" "build -a -t builtin" "build --tag x --max 2" \
	"update -k 5.14.0 -m 1" "update --kernel=5.14.0" "init -am4"; do
	# shellcheck disable=SC2086
	entry_fails "understood: $words" "DRIVER_VERSION is not set" $words
done
DRIVER_VERSION=535.1 TARGETARCH=amd64 entry_fails "a key without its certificate" "go together" update -s key.pem
DRIVER_VERSION=535.1 entry_fails "the architecture is required too" "TARGETARCH is not set" init
DRIVER_VERSION=535.1 TARGETARCH=amd64 KERNEL_MODULE_TYPE=maybe entry_fails "a module type there is not" "KERNEL_MODULE_TYPE" init

status "under its own name a missing variable is a matter of configuration" 3 container init --root "$root"
slug "... with its slug" 3 config-invalid container init --root "$root"
export DRIVER_VERSION=535.1 TARGETARCH=amd64
run container init --dry-run --root "$root"
equals "a dry run says the steps" "$rc $(awk '{print $1}' "$work/out" | tr '\n' ' ')" \
	"0 not-ready check version driver firmware user-space module-type sources unload unexport build install load nodes kernel-tree export daemons ready digest hook limit "
mkdir -p "$root/etc/nvdriver"
printf '[container]\ngrace = soon\n' >"$root/etc/nvdriver/nvdriver.conf"
status "a limit in the configuration file is checked" 3 container init --root "$root"
check "... and named with its line" grep -q "nvdriver.conf:2" "$work/err"
printf '[container]\ngrace = 60\nfabric-wait = 20m\ndrm = yes\ndevice-nodes = no\niommu-identity = no\ndetach = no\n' >"$root/etc/nvdriver/nvdriver.conf"
run container init --dry-run --root "$root"
equals "all limits are known there" "$rc" 0
rm -r "$root/etc/nvdriver"
NVDRIVER_FABRIC_WAIT=ever status "a limit in the environment is checked" 3 container init --root "$root"
run container status --root "$root" --json
check "status answers where nothing ever ran" grep -q '"schema": "nvdriver.container-status/1"' "$work/out"
check "... and made nothing" test ! -e "$root/run"
mkdir -p "$root/sys/module"
run container probe_nvidia_peermem --root "$root"
equals "the peer-memory probe is well where there is no network driver" "$rc" 0
mkdir -p "$root/sys/module/mlx5_core"
echo 0 >"$root/sys/module/mlx5_core/refcnt"
status "... and not where there is one" 1 container probe_nvidia_peermem --root "$root"

# The container's log shows an update made beside it: what it says goes to the instance's own streams too.
mkdir -p "$root/run/nvidia" "$root/proc/4711/fd"
echo 4711 >"$root/run/nvidia/nvidia-driver.pid"
: >"$root/proc/4711/fd/1"
: >"$root/proc/4711/fd/2"
(
	flock -n 9
	"$NVDRIVER" --root "$root" container update --kernel 5.14.0-1.el9_2.x86_64 >"$work/out" 2>"$work/err"
) 9<>"$root/run/nvidia/nvidia-driver.pid"
check "an update is said in the running instance's log" grep -q "kernel 5.14.0-1.el9_2.x86_64: update" "$root/proc/4711/fd/1"
check "... its failure on the instance's stderr" grep -q "there is no /drivers" "$root/proc/4711/fd/2"
check "... and on our own" grep -q "there is no /drivers" "$work/err"
rm "$root/run/nvidia/nvidia-driver.pid"
unset NVDRIVER_STORE
run container status --root "$root"
equals "... without a store too" "$rc" 0
finish
