#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The menu on a terminal, from "new installation" over the reboot and step 2 to the summary, then licences and removal: every
# question is waited for and answered as a person would.
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
. "$here/vgpu-machines.sh"
. "$here/vgpu-step2.sh"
cd "$work" || exit 1

# Talks to the program on a terminal of its own. Arguments: pairs of what the end of a question is and the answer to it, in any
# order; the same question again takes the next pair. A question nobody answers, or silence, is a failure.
cat >talk.py <<'END'
import os, pty, re, select, signal, sys, time
pairs = [tuple(p.split("=>", 1)) for p in sys.argv[2:sys.argv.index("--")]]
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1]] + sys.argv[sys.argv.index("--") + 1:])
seen, since, last = b"", 0, time.time()
def fail(why):
    os.kill(pid, signal.SIGKILL)
    sys.stdout.buffer.write(seen)
    print("\n%s: %r" % (why, seen[since:][-300:]))
    sys.exit(99)
while True:
    ready = select.select([fd], [], [], 1)[0]
    if ready:
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data
        last = time.time()
    text = seen[since:].decode(errors="replace")
    hit = next((p for p in pairs if re.search(p[0] + r"[^\n]*$", text)), None)
    if hit and not select.select([fd], [], [], 0.2)[0]:
        pairs.remove(hit)
        since = len(seen)
        os.write(fd, hit[1].encode() + b"\n")
    elif time.time() - last > 120:
        fail("no answer to")
status = os.waitpid(pid, 0)[1]
sys.stdout.buffer.write(seen.replace(b"\r\n", b"\n"))
if pairs:
    print("never asked:", pairs)
    sys.exit(98)
sys.exit(os.waitstatus_to_exitcode(status))
END
talk() { python3 talk.py "$NVDRIVER" "$@" >out 2>&1; rc=$?; }
tree() { (cd "$root" && find . ! -path './var/log*' ! -name 'nvdriver-commands.*' \( -type f -exec sha256sum {} + -o -true \) -printf '%p %y %m %l\n' | LC_ALL=C sort); }
line() { grep -nE "$1" out | head -1 | cut -d: -f1; }
says() { check "$1" grep -qE "$2" out; }

root=$work/host
m_pve9_unlock "$root"
before=$(tree)
all=(--root "$root" --store "$work/store")
talk 'Your choice:=>x' 'none of 1 to 7.\s*Your choice:=>1' 'Which vGPU branch=>99.9' 'Which vGPU branch=>' 'boot it from now on\?=>y' 'Fetch and build that\?=>y' \
	'dist-upgrade\)\?=>n' 'Prepare this host now.*\?=>y' 'Reboot now\?=>n' -- "${all[@]}" vgpu
equals "new installation" "$rc" 0
[ "$rc" = 0 ] || sed 's/^/# /' out
says "a wrong answer is asked again" 'That is none of 1 to 7'
check "whose work unlocks the card is shown before it is fetched" test "$(line 'gitlab.com/polloloco/vgpu-proxmox.git \(AGPL')" -lt "$(line 'Fetch and build that')"
check "and was not fetched before" test "$(line 'Fetch and build that')" -lt "$(line '^fetch vgpu-proxmox')"
says "a reboot comes next" 'then run: nvdriver vgpu step 2'
says "the register is the menu of branches" '^  17.5 *\(550.144.02\)'
says "with why a branch does not fit" '^  18.4 .* - branch 18 does not know this card'
says "after them the majors that fit this card, release and kernel" '^Branches for .* on Proxmox VE 9 with this kernel: none'

# The reboot, and what the programs leave.
after_step1 "$root"
reboot "$root"
mkdir -p files "$root/root"
driver 550.163.02 "files/$(driver_name 550.163.02)"
cp "files/$(driver_name 550.163.02)" "$root/root/"
driver_patch "$root/var/lib/nvdriver/vgpu/vgpu-proxmox/550.163.02.patch"
bind "$root" 0000:01:00.0 nvidia
file=/root/$(driver_name 550.163.02)
programs "$root" 550.163.02 "$file"

# A person's own word on the patch is heard in step 2.
echo '{ "17.6": "absent.patch" }' >"$root/var/lib/nvdriver/vgpu/driver_patches.json"
slug "driver_patches.json names the patch" 1 unlock-patch-missing "${all[@]}" vgpu step 2 --yes --file "$root$file" --accept-md5
check "that is missing" grep -q 'absent.patch' out
rm "$root/var/lib/nvdriver/vgpu/driver_patches.json"

talk 'Install driver .*\?=>y' 'See to licences.*\?=>n' -- "${all[@]}" vgpu --file "$root$file" --accept-md5
equals "nvdriver vgpu alone goes on with step 2" "$rc" 0
[ "$rc" = 0 ] || sed 's/^/# /' out
says "to the summary" 'The host is set up: driver 550.163.02, branch 17.6'
says "which says how to attach" 'Hardware > Add > PCI Device'

# The vendor's own helper is offered for newer branches, runs once its package is there, and once.
root=$work/helper
m_pve9_fresh "$root"
python3 - "$root/nvdriver-commands.json" <<'END'
import json, sys
d = json.load(open(sys.argv[1]))
d["commands"]["pve-nvidia-vgpu-helper setup"] = {"status": 0, "output": ""}
json.dump(d, open(sys.argv[1], "w"))
END
for answer in y '' ; do
	talk 'Which vGPU branch=>' 'dist-upgrade\)\?=>n' ${answer:+'Run the helper as well\?=>y'} 'Prepare this host now.*\?=>y' ${answer:+'Reboot now\?=>n'} \
		-- --root "$root" --store "$work/store-helper" vgpu step 1
	equals "step 1 with the vendor's helper ${answer:-again}" "$rc" 0
	[ "$rc" = 0 ] || sed 's/^/# /' out
	[ -z "$answer" ] || after_step1 "$root"
done
equals "after its package, and once" "$(grep -E 'install -y|vgpu-helper setup' "$root/nvdriver-commands.log" | sed 's/ .*//')" "$(printf 'apt-get\npve-nvidia-vgpu-helper')"
root=$work/host

# Another driver: the present one goes, step 1 follows, and step 2, for the kernel that runs is the one it needs.
talk 'Your choice:=>2' 'Take the .*\?=>y' 'Which vGPU branch=>' 'Fetch and build that\?=>y' 'dist-upgrade\)\?=>n' 'Prepare this host now.*\?=>y' \
	-- "${all[@]}" vgpu
equals "upgrade" "$rc" 0
[ "$rc" = 0 ] || sed 's/^/# /' out
check "takes the present driver away" grep -q '^nvidia-uninstall -s' "$root/nvdriver-commands.log"
driver_patch "$root/var/lib/nvdriver/vgpu/vgpu-proxmox/550.163.02.patch"
bind "$root" 0000:01:00.0 nvidia
talk 'Install driver .*\?=>y' 'See to licences.*\?=>n' -- "${all[@]}" vgpu --file "$root$file" --accept-md5
equals "and step 2 puts the next one in" "$rc" 0
[ "$rc" = 0 ] || sed 's/^/# /' out

# Licences.
talk 'Your choice:=>6' 'on this machine \(server\)=>' -- "${all[@]}" vgpu
equals "licences, the vendor's way" "$rc" 0
says "and what to do for it" 'license client --token'
python3 - "$root/nvdriver-commands.json" <<'END'
import json, sys
d = json.load(open(sys.argv[1]))
for command, output in [("hostname -I", "192.168.7.10 10.0.0.1"), ("docker compose *", "v2"), ("docker pull *", ""), ("docker image rm *", "")]:
    d["commands"][command] = {"status": 0, "output": output}
json.dump(d, open(sys.argv[1], "w"))
END
talk 'Your choice:=>6' 'on this machine \(server\)=>server' 'Set up a FastAPI-DLS.*\?=>y' 'Address for guests=>no such name' 'Address for guests=>' \
	'Port for guests=>443' 'Port for guests=>9443' -- "${all[@]}" vgpu menu
equals "licences, a server of one's own" "$rc" 0
[ "$rc" = 0 ] || sed 's/^/# /' out
says "at the address and port that were given in the end" 'https://192.168.7.10:9443/-/health'
check "whose work it is was shown before the question" test "$(line 'oscar.krause/fastapi-dls')" -lt "$(line 'Set up a FastAPI-DLS')"

# Removal, one question a group.
n=$(grep -rl '"role"' store/targets/*/history/*/plan.json | wc -l)
answers=()
for ((i = 0; i < n; i++)); do answers+=('Take back what was done for .*\?=>y'); done
talk 'Your choice:=>3' "${answers[@]}" -- "${all[@]}" vgpu
equals "removal asks for each of $n groups" "$rc" 0
[ "$rc" = 0 ] || sed 's/^/# /' out
equals "nothing of ours is left" "$(tree | grep -E 'nvdriver|vgpu_unlock|fastapi|docker')" ""
run "${all[@]}" vgpu status
says "and it is as if never begun" '^set-up *not begun'
talk 'Your choice:=>7' -- "${all[@]}" vgpu
equals "exit" "$rc" 0
talk 'Your choice:=>0' 'Your choice:=>8' 'Your choice:=>' -- "${all[@]}" vgpu
equals "three wrong answers" "$rc" 2
finish
