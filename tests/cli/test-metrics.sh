#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# status --metrics: read by a strict parser of Prometheus' text format, on a machine that is a directory.
: "${FIXTURE:?names the program that makes the fixture}" "${SRCDIR:?names the sources}"
. "$(dirname "$0")/lib.sh"
"$FIXTURE" "$work" || exit 1
cd "$work" || exit 1
root=$work/root store=$work/store
nv() { run --root "$root" --store "$store" "$@"; }
echo 'int nv_core(int x) { return x + 1; }' >core.c
gcc -c core.c -o driver/kernel/nvidia/nv-kernel.o_binary || exit 1
mkdir -p "$root"/proc/{sys/kernel,driver/nvidia} "$root/sys"
echo 6.1.0-77-amd64 >"$root/proc/sys/kernel/osrelease"
printf 'nvidia_uvm 100 0 - Live 0x0\nnvidia 1000 3 nvidia_uvm, Live 0x0\n' >"$root/proc/modules"

# One sample a line as "name{labels} value"; anything the format does not allow ends it.
cat >parse.py <<'PY'
import re, sys
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{' + LABEL + r'(?:,' + LABEL + r')*\})? (-?[0-9]+(?:\.[0-9]+)?)')
text = open(sys.argv[1], encoding='utf-8').read()
assert text.endswith('\n'), 'no newline at the end'
family, seen, samples = None, set(), set()
lines = text[:-1].split('\n')
for i, line in enumerate(lines):
    if line.startswith('# HELP '):
        family, text = line[7:].split(' ', 1)
        assert text and family not in seen, f'{family} twice or without text'
        seen.add(family)
        assert lines[i + 1] == f'# TYPE {family} gauge', f'{family} has no type'
    elif not line.startswith('# TYPE '):
        m = SAMPLE.fullmatch(line)
        assert m, f'not a sample: {line!r}'
        assert m[1] == family, f'{m[1]} is outside of its family'
        assert (m[1], m[2]) not in samples, f'{m[1]}{m[2]} twice'
        samples.add((m[1], m[2]))
        print(line)
PY
metrics() { # the parsed samples in $work/samples
	nv status --metrics && python3 parse.py out >samples 2>parse.err || not_ok "the output is Prometheus' text format" "$(tail -1 parse.err)"
}
has() { check "$1" grep -qxF -- "$2" samples; }
lacks() { check "$1" sh -c "! grep -q '^$2' samples"; }

metrics
equals "metrics without a store" "$rc" 0
has "nothing loaded, nothing installed" 'nvdriver_driver_info{loaded="",installed=""} 1'
lacks "so nothing to compare" nvdriver_version_mismatch
lacks "and nothing that could have changed" nvdriver_changed_files
has "modules and their users" 'nvdriver_module_users{module="nvidia"} 3'
check "no store is made" test ! -e "$store"

nv prepare driver --kernel-source "$work/kernel"
equals "a driver is prepared" "$rc" 0
nv install 535.1.2 --force
equals "and installed" "$rc" 0
now=$(date +%s)
metrics
has "the installed version" 'nvdriver_driver_info{loaded="",installed="535.1.2"} 1'
has "no file changed" 'nvdriver_changed_files 0'
has "the store's driver" 'nvdriver_store_objects{kind="driver"} 1'
has "modules for the running kernel" 'nvdriver_kernel_prepared 1'
made=$(sed -n 's/^nvdriver_last_prepare_timestamp_seconds //p' samples)
check "made just now" test "$made" -gt $((now - 600)) -a "$made" -le $((now + 1))
check "the deployment" grep -qE '^nvdriver_deployments\{target="root-[0-9a-f]{16}"\} 1$' samples
bytes=$(find "$store" -type f -printf '%s\n' | awk '{ s += $1 } END { print s }')
has "the store's size" "nvdriver_store_size_bytes $bytes"
check "doctor's checks" test "$(grep -c '^nvdriver_check{' samples)" -ge 5

# Another driver runs; a library is cut, a link is gone.
echo 'NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.1  Tue' >"$root/proc/driver/nvidia/version"
echo more >>"$root/usr/bin/nvidia-smi"
rm "$root/usr/lib/x86_64-linux-gnu/libcuda.so"
metrics
has "both versions" 'nvdriver_driver_info{loaded="550.1",installed="535.1.2"} 1'
has "a mismatch" 'nvdriver_version_mismatch 1'
has "two changed files" 'nvdriver_changed_files 2'
has "doctor warns" 'nvdriver_check{check="versions"} 1'
echo 'NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.1.2  Tue' >"$root/proc/driver/nvidia/version"
metrics
has "the same version is no mismatch" 'nvdriver_version_mismatch 0'

# What the roles leave.
mkdir -p "$root"/run/{nvidia,nvdriver/live}
printf '{"schema":"x","state":"failed","error":{"slug":"no-gpu","reason":"\\"none\\""}}' >"$root/run/nvidia/nvidia-driver.status.json"
ln -s 535.1.2-0123456789ab "$root/run/nvdriver/live/current"
metrics
has "the driver container's state" 'nvdriver_container_info{state="failed",error="no-gpu"} 1'
has "the driver containers share" 'nvdriver_lxc_shared_info{version="535.1.2"} 1'
has "which is the loaded one" 'nvdriver_lxc_shared_mismatch 0'
ln -sfn 550.1-0123456789ab "$root/run/nvdriver/live/current"
metrics
has "or is not" 'nvdriver_lxc_shared_mismatch 1'
echo '{"state":"a\\\"b"}' >"$root/run/nvidia/nvidia-driver.status.json"
metrics
has "a state of any bytes" 'nvdriver_container_info{state="a\\\"b",error=""} 1'

mkdir textfile
nv status --metrics-file textfile/nvdriver.prom --dry-run
equals "a dry run writes nothing" "$(ls textfile)" ""
nv status --metrics-file textfile/nvdriver.prom
equals "nothing is printed" "$rc $(wc -c <out)" "0 0"
equals "the file is alone" "$(ls -A textfile)" nvdriver.prom
equals "anybody may read it" "$(stat -c %a textfile/nvdriver.prom)" 644
equals "it says the same" "$(python3 parse.py textfile/nvdriver.prom | grep -v '^nvdriver_store_size')" "$(grep -v '^nvdriver_store_size' samples)"
inode=$(stat -c %i textfile/nvdriver.prom)
exec 3<textfile/nvdriver.prom
nv status --metrics-file textfile/nvdriver.prom
check "it is replaced, not rewritten" test "$(stat -c %i textfile/nvdriver.prom)" != "$inode"
check "a reader keeps the old one whole" sh -c "python3 parse.py /proc/self/fd/3 <&3 | grep -q ^nvdriver_check"
exec 3<&-
nv status --metrics-file nowhere/x.prom
check "a directory that is not there" grep -q "not-found" err
slug "JSON has a format of its own" 2 usage status --metrics

missing=$(cut -d'{' -f1 samples | cut -d' ' -f1 | sort -u | while read -r m; do grep -qF "\`$m\`" "$SRCDIR/docs/metrics.md" || echo "$m"; done)
equals "docs/metrics.md names every metric" "$missing" ""
finish
