#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What --json prints is what docs/schemas publishes: the outputs of a driver's whole life made here, and all that the other
# tests of this directory have left in NVD_JSON_DIR. Runs last.
: "${FIXTURE:?names the program that makes the fixture}" "${SRCDIR:?names the sources}"
. "$(dirname "$0")/lib.sh"
NVD_JSON_DIR=${NVD_JSON_DIR:-$work/json}
python3 -c 'import jsonschema' 2>/dev/null || { echo "1..0 # SKIP no python3-jsonschema"; exit 77; }
schemas=$SRCDIR/docs/schemas

# -- a driver's life

"$FIXTURE" "$work" || exit 1
cd "$work" || exit 1
echo 'int nv_core(int x) { return x + 1; }' >core.c
gcc -g -c core.c -o driver/kernel/nvidia/nv-kernel.o_binary || exit 1
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 3650 -subj /CN=test 2>/dev/null
chmod 600 key.pem
mkdir -p store new made machine/usr/src/kernels machine/etc machine/proc/sys/kernel machine/proc/1 machine/sys
echo 6.1.0-77-amd64 >machine/proc/sys/kernel/osrelease
echo x86_64 >machine/proc/sys/kernel/arch
printf 'nvidia_uvm 100 0 - Live 0x0\nnvidia 1000 1 nvidia_uvm, Live 0x0\n' >machine/proc/modules
ln -s ../.. machine/proc/1/root
cp -a kernel machine/usr/src/kernels/6.1.0-77-amd64
printf -- "--- a/nvidia-smi\n+++ b/nvidia-smi\n@@ -1 +1 @@\n-new smi\n+newer smi\n" >change.patch
version=535.1.2 kernel=6.1.0-77-amd64
j() { run --root "$work/root" --store "$work/store" --json "$@"; [ "$rc" -le 10 ] || not_ok "$* ends with $rc"; }
j runfile pack driver -o driver.run --dry-run
j runfile pack driver -o driver.run
for verb in info list verify; do
	j runfile $verb driver.run
done
j runfile extract driver.run -C unpacked --dry-run
j runfile extract driver.run -C unpacked
j runfile patch driver.run -p change.patch -o patched.run --dry-run
j runfile patch driver.run -p change.patch -o patched.run
prepare=(prepare driver.run --kernel-source "$work/kernel" --key "$work/key.pem" --cert "$work/cert.pem" --package)
j "${prepare[@]}" --dry-run
j "${prepare[@]}"
equals "the driver is prepared" "$rc" 0
j "${prepare[@]}"
for words in list verify status doctor history recover "gc --dry-run" "load $version --dry-run" "unload --dry-run" "gpu list" "gpu info 10de:2235" "gpu export"; do
	# shellcheck disable=SC2086
	j $words
done
j install "$version" --force --dry-run
j install "$version" --force
equals "and installed" "$rc" 0
j install "$version" --force
j cdi generate --dry-run
j history
j undo --dry-run
j undo
j undo
j install "$version" --force
j install --remove
module=$(find store/modules -name nvidia.ko | head -1)
cp "$module" made/nvidia.ko
j modules info "$module"
j modules sign made/nvidia.ko --key key.pem --cert cert.pem --resign
j modules verify made/nvidia.ko --cert cert.pem
j modules build "$version" --tree driver --kernel-source "$work/kernel" --dry-run
j modules build "$version" --tree driver --kernel-source "$work/kernel"
banner="Linux version $kernel (a@b) (gcc 12) #1"
j modules pack made/package "$(find store/modules -name nvidia-uvm.ko | head -1)" -V $version -P "$banner"
j modules info made/package
j modules match made/package -P "$banner"
j modules unpack made/package -o made/unpacked
j modules import made/package --dry-run
m() { run --root machine --store store --json "$@"; }
m bundle create --driver $version --kernel $kernel --modules --flavour proprietary -o all.nvbundle --dry-run
m bundle create --driver $version --kernel $kernel --modules --flavour proprietary -o all.nvbundle
equals "and bundled" "$rc" 0
for verb in inspect verify; do
	run --store new --json bundle $verb all.nvbundle
done
run --root machine --store new --json bundle list-missing all.nvbundle --kernel $kernel
run --store new --json bundle apply all.nvbundle --dry-run
run --store new --json bundle apply all.nvbundle
j fetch "file://$work/driver.run" --to made/fetched
j gc
run --json nosuchverb

# -- what the roles say about a machine

export DRIVER_VERSION=$version TARGETARCH=amd64
. "$SRCDIR/tests/cli/vgpu-machines.sh"
machine pve 8 8.2.2 6.8.12-4-pve
card pve 0000:01:00.0 1e07 14
for words in "load $version --dry-run" "unload --dry-run" "container init --dry-run" "container status" "container doctor" \
	"container probe_nvidia_peermem" "lxc status" "lxc plan 101" "lxc rollback --all --dry-run" "lxc cache list" \
	"lxc cache verify" "lxc cache prune --dry-run" "vgpu license status" "vgpu license scripts --server a.b:443 --to . --dry-run" \
	"vgpu remove --yes --dry-run"; do
	# shellcheck disable=SC2086
	m $words
done
for words in "step 1 --dry-run --yes" status doctor drivers "kernel 6.8.12-4-pve"; do
	# shellcheck disable=SC2086
	run --root pve --store store --json vgpu $words
done

# -- all of it against what is published

cat >compare.py <<'PY'
import json, pathlib, sys, warnings, jsonschema
warnings.simplefilter('ignore') # newer releases would rather have another library resolve references
schemas = pathlib.Path(sys.argv[1])
validators = {}
for path in sorted(schemas.glob('*.json')):
    schema = json.loads(path.read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    resolver = jsonschema.RefResolver(schemas.resolve().as_uri() + '/', schema)
    validators[path.stem] = jsonschema.Draft7Validator(schema, resolver=resolver)
seen = set()
for path in sorted(pathlib.Path(sys.argv[2]).iterdir()):
    try:
        document = json.loads(path.read_text())
    except ValueError:
        continue # cut on purpose, or several objects: that test's own matter
    word = document.get('schema', '')
    name = word[len('nvdriver.'):-len('/1')]
    if not word.startswith('nvdriver.') or not word.endswith('/1') or name in ('kernel', 'modules', 'record'):
        continue # a package file or a record that was read, not an answer
    if name not in validators:
        print('problem', f'{path.name}: no schema {name}.json')
        continue
    seen.add(name)
    for error in list(validators[name].iter_errors(document))[:2]:
        print('problem', f'{path.name}: {name}: {"/".join(map(str, error.absolute_path))}: {error.message[:200]}')
    required = validators[name].schema['required'][-1]
    document.pop(required, None)
    if validators[name].is_valid(document):
        print('problem', f'{name}.json does not miss {required}')
for name in seen:
    print('seen', name)
PY
python3 compare.py "$schemas" "$NVD_JSON_DIR" >seen
equals "the comparison ran" $? 0
equals "every answer is as its schema says" "$(grep ^problem seen | head -5)" ""
check "there were answers to look at" test "$(grep -c ^seen seen)" -ge 20
missing=$(grep -rhoE 'out_json\("[a-z-]+"' "$SRCDIR/src/cli" | cut -d'"' -f2 | sort -u | while read -r name; do
	[ -e "$schemas/$name.json" ] || echo "$name"; done)
equals "every command that prints JSON has a schema" "$missing" ""
rm -rf "$NVD_JSON_DIR"
finish
