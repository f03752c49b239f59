# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
#
# The node of the driver container tests: containers started as the operator does, and what is seen of them.
exec >/dev/ttyS1 2>&1
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
poweroff() { systemctl poweroff --force --force; }

firmware=/sys/module/firmware_class/parameters/path
pidfile=/run/nvidia/nvidia-driver.pid
status=/run/nvidia/nvidia-driver.status.json

# -- containers

P() { podman --cgroup-manager=cgroupfs --events-backend=none "$@"; }

# start NAME LAYERS WORDS...: a container from its image (overlay layers), as the operator's pod has it. VARIABLES are added.
start() {
	local name=$1 layers=$2
	shift 2
	mkdir -p "/srv/$name/up" "/srv/$name/work" "/srv/$name/root"
	mount -t overlay -o "lowerdir=$layers,upperdir=/srv/$name/up,workdir=/srv/$name/work" overlay "/srv/$name/root" ||
		not_ok "the bed: a root for container $name"
	# shellcheck disable=SC2086 # variables are words
	run P run -d --name "$name" --privileged --pid=host --network=none --log-driver=k8s-file --log-opt "path=/srv/$name/log" \
		-v /run/nvidia:/run/nvidia:rshared -e TARGETARCH=amd64 -e KERNEL_MODULE_TYPE=open $VARIABLES --workdir /drivers \
		--rootfs "/srv/$name/root" nvidia-driver "$@"
	[ "$RC" = 0 ] || not_ok "the bed: container $name starts" "$OUT" "$ERR"
	P inspect -f '{{.State.Pid}}' "$name" >"/srv/$name/pid"
}
said() { cut -d' ' -f4- "/srv/$1/log"; }
state() { sed -n 's/.*"state": "\([a-z]*\)".*/\1/p' $status 2>/dev/null | head -n 1; }

# until_ok SECONDS COMMAND...: succeeds within that time
until_ok() {
	local end=$(($(uptime_s) + $1))
	shift
	until "$@"; do
		[ "$(uptime_s)" -lt $end ] || return 1
		sleep 0.2
	done
}
uptime_s() { cut -d. -f1 /proc/uptime; }
# What the container ended with; fails while it runs. podman is asked only once that is over: it is slow here.
exit_status() { [ ! -d "/proc/$(cat "/srv/$1/pid")" ] && P wait "$1"; }
is_ready_or_ended() { [ "$(state)" = ready ] || exit_status "$1" >/dev/null; }
log_has() { said "$1" | grep -q "$2"; }

# ready TEXT NAME: within READY_S seconds
ready() {
	until_ok "${READY_S:-120}" is_ready_or_ended "$2"
	if [ "$(state)" = ready ]; then ok "$1"; else not_ok "$1" "$(said "$2")" "$(cat $status)"; fi
}
# ended TEXT NAME STATUS: the container ends by itself
ended() {
	local got
	until_ok 120 exit_status "$2" >/dev/null
	got=$(exit_status "$2")
	if [ "$got" = "$3" ]; then ok "$1"; else not_ok "$1" "expected: status $3" "     got: $got" "$(said "$2")"; fi
}
discard() {
	until_ok 10 umount "/srv/$1/root"
	rm -rf "/srv/$1"
	rm -f $status
}

# -- the node

mounts() { cut -d' ' -f4- /proc/self/mountinfo | sed 's/ \(shared\|master\):[0-9]*//g' | sort; }
exports() { awk '$5 == "/run/nvidia/driver"' /proc/self/mountinfo | wc -l; }
# The driver's modules in the order the kernel let them go.
removed() { kernel_log | sed -n 's/^\([a-z_]*\): test module removed$/\1/p' | xargs; }
# clean TEXT: the node is as it was before
clean() {
	is "$1: no module of the driver is left" "$(nvidia_modules)" ""
	is "$1: the firmware search path is what it was" "$(od -An -c $firmware | tr -d ' \n')" '/opt/found\n\n'
	is "$1: the mounts are what they were" "$(mounts)" "$mounts_before"
	is "$1: no PID file, no state of the firmware path" "$(ls $pidfile 2>/dev/null; ls /run/nvdriver 2>/dev/null)" ""
}
