#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The documentation is tried: blocks fenced as "sh runnable" are run on a made driver and machines that are directories, and every
# "nvdriver …" anywhere in it is a command with options that exist.
: "${FIXTURE:?names the program that makes the fixture}" "${SRCDIR:?names the sources}"
. "$(dirname "$0")/lib.sh"
. "$SRCDIR/tests/cli/vgpu-machines.sh"
docs=("$SRCDIR"/README.md "$SRCDIR"/ARCHITECTURE.md "$SRCDIR"/CONTRIBUTING.md "$SRCDIR"/docs/*.md "$SRCDIR"/docs/schemas/README.md)
"$FIXTURE" "$work" || exit 1
cd "$work" || exit 1

# -- what readers have: a run file, a machine, a Proxmox VE host, a host of containers

version=535.1.2 kernel=6.1.0-77-amd64 file=NVIDIA-Linux-x86_64-535.1.2.run
echo 'int nv_core(int x) { return x + 1; }' >core.c
gcc -c core.c -o driver/kernel/nvidia/nv-kernel.o_binary || exit 1
run runfile pack driver -o "$file"
equals "there is a run file" "$rc" 0
mkdir -p machine/usr/src/kernels machine/etc machine/proc/sys/kernel machine/sys bin
cp -a kernel "machine/usr/src/kernels/$kernel"
cp -a root image
echo $kernel >machine/proc/sys/kernel/osrelease
echo x86_64 >machine/proc/sys/kernel/arch
machine pve 8 8.2.2 6.8.12-4-pve
card pve 0000:01:00.0 1e07 14
cat >bin/nvdriver <<END
#!/bin/bash
# Without --root the reader's own machine is meant.
case " \$* " in *" --root "* | *" --help "*) own=() ;; *" vgpu "*) own=(--root "$work/pve") ;; *) own=(--root "$work/machine") ;; esac
exec "$NVDRIVER" --store "\$PWD/store" "\${own[@]}" "\$@"
END
printf '#!/bin/bash\necho %s\n' $kernel >bin/uname
chmod 755 bin/*

# blocks FILE: each runnable block into its own file block-<line>
blocks() {
	awk '/^```sh runnable$/ { name = sprintf("block-%04d", NR); next } /^```/ { name = "" } name != "" { print > name }' "$1"
}
for doc in "${docs[@]}"; do
	name=${doc#"$SRCDIR"/} name=${name%.md}
	mkdir -p "run/$name/srv" && cd "run/$name" || exit 1
	blocks "$doc"
	cp "$work/$file" .
	cp -a "$work/image" srv/image
	mkdir -p prometheus/node-exporter
	printf 'STEP=1\nVGPU_SUPPORT=Yes\n' >config.txt
	for block in block-*; do
		[ -e "$block" ] || continue
		sed -e "s,535\.261\.03,$version,g; s,/srv/,$PWD/srv/,g; s,/var/lib/prometheus,$PWD/prometheus,g" "$block" >script
		if PATH=$work/bin:$PATH bash -eu script >out 2>err </dev/null; then
			ok "$name, line ${block#block-}: its commands run"
		else
			not_ok "$name, line ${block#block-}: its commands run" "$(cat script)" "$(tail -3 err)"
		fi
	done
	cd "$work" || exit 1
done
check "blocks were run" test "$(find run -name 'block-*' | wc -l)" -ge 5
check "the reader's image is as before" diff -r image run/README/srv/image
check "metrics were written" grep -q ^nvdriver_driver_info run/docs/metrics/prometheus/node-exporter/nvdriver.prom

# -- words

cat >words.py <<'PY'
import re, subprocess, sys
program, docs = sys.argv[1], sys.argv[2:]
helps = {}
def options(verb):
    if verb not in helps:
        p = subprocess.run([program, *verb, '--help'], capture_output=True, text=True)
        usage = p.stdout.split('\n', 1)[0]
        helps[verb] = None if p.returncode or not usage.startswith('Usage: nvdriver ' + ' '.join(verb)) else set(re.findall(r'(?<![\w-])-{1,2}[a-z0-9][a-z0-9-]*', p.stdout))
    return helps[verb]
def commands(text):
    fence = False
    for n, line in enumerate(text.split('\n'), 1):
        if line.startswith('```'):
            fence = not fence
        elif fence or line.startswith('    '):
            yield n, line.split('#')[0]
        else:
            for code in re.findall(r'`([^`]+)`', line):
                yield n, code
count = 0
for doc in docs:
    for n, code in commands(open(doc, encoding='utf-8').read()):
        for command in re.findall(r'(?:^|[\s(;&|])nvdriver ((?:\$\([^)]*\)|[^;&|)])+)', code):
            words = [w for w in re.sub(r'"?\$\([^)]*\)"?', 'X', command).split() if w not in ('--offline', '--json')]
            plain = [w for w in words if re.fullmatch(r'[a-z][a-z0-9_-]*', w)]
            if not words or words[0] != (plain or [''])[0]:
                continue # COMMAND, an option alone
            known = options((words[0],))
            verb = (words[0],)
            if len(words) > 1 and words[1] in plain and options((words[0], words[1])) is not None:
                verb = (words[0], words[1])
            count += 1
            if options(verb) is None:
                print(f'{doc}:{n}: nvdriver {words[0]}: no such command')
                continue
            if verb == (words[0],) and len(words) > 1 and words[1] in plain and words[0] in ('runfile', 'modules', 'bundle', 'container', 'lxc', 'gpu', 'cdi', 'hook'):
                print(f'{doc}:{n}: nvdriver {words[0]} {words[1]}: no such command')
            for w in words:
                o = re.match(r'-{1,2}[a-z0-9][a-z0-9-]*', w)
                if o and o[0] not in options(verb):
                    print(f'{doc}:{n}: nvdriver {" ".join(verb)} has no {o[0]}')
assert count > 60, count
PY
python3 words.py "$NVDRIVER" "${docs[@]}" >wrong
equals "the words were read" $? 0
equals "every command and option in the documentation exists" "$(head -20 wrong)" ""
missing=$(for doc in "${docs[@]}"; do
	grep -oE '\]\([^)#]+' "$doc" | cut -c3- | grep -vE '^https?:' | while read -r link; do
		[ -e "$(dirname "$doc")/$link" ] || echo "$(basename "$doc"): $link"
	done
	# `path` of a file here, and `path` (`word`): that file has the word
	grep -oE '`(tests|tools|src|packaging|bench|data)/[A-Za-z0-9_./-]+`( \(`[^`]+`\))?' "$doc" | while IFS='`' read -r _ path _ word _; do
		[ -e "$SRCDIR/$path" ] || echo "$(basename "$doc"): $path"
		[ -z "$word" ] || grep -qF -- "$word" "$SRCDIR/$path" || echo "$(basename "$doc"): no $word in $path"
	done
done)
equals "every file the documentation names is there" "$missing" ""
check "the picture is the captured run's" sh -c "'$SRCDIR/tools/picture.sh' '$SRCDIR/docs/quickstart.txt' | cmp - '$SRCDIR/docs/quickstart.svg'"
finish
