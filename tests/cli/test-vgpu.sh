#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Step 1 on every fixture machine: the plan and the resulting files against golden texts, a second run that changes
# nothing, and undo that gives the former bytes back. UPDATE=1 writes the golden texts.
# shellcheck disable=SC2086 # the options of a machine are words
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
. "$here/vgpu-machines.sh"
[ -z "${more:-}" ] || these=$more_machines
cd "$work" || exit 1

nv() { run --root "$root" --store "$work/store" "$@"; }
# What of the machine step 1 may touch; the log of commands is ours.
tree() { (cd "$root" && find . ! -path './var/log*' ! -name nvdriver-commands.log \( -type f -exec sha256sum {} + -o -true \) -printf '%p %y %m %l\n' | LC_ALL=C sort); }
# The files that differ from the copy, with their text.
changes() { # BEFORE_DIR
	(cd "$root" && find . -type f -newer "$work/stamp" ! -name nvdriver-commands.log ! -path './var/lib/nvdriver/*' ! -path './var/log/*' | LC_ALL=C sort | while read -r f; do
		cmp -s "$f" "$1/$f" && continue
		echo "--- $f"
		cat "$f"
	done)
	(cd "$1" && find . -type f | LC_ALL=C sort | while read -r f; do [ -e "$root/$f" ] || echo "--- $f is gone"; done)
}
golden() { # TEXT FILE GOT
	if [ -n "${UPDATE:-}" ]; then cp "$3" "$2"; fi
	if cmp -s "$2" "$3"; then ok "$1"; else not_ok "$1" "$(diff "$2" "$3" | head -12)"; fi
}

declare -A args=([pve7_four]="--card 0000:01:00.0" [pve8_four]="--card 0000:01:00.0" [pve9_four]="--card 0000:01:00.0")
declare -A want_status=([pve7_none]=4 [pve7_shared]=4 [pve9_none]=4 [pve9_shared]=4 [pve8_none]=4 [pve8_shared]=4 [pve8_nocard]=1 [pve8_unknown]=4 [pve8_off]=3 [pve9_zfs_new]=4)
cat >answers.json <<'END'
{ "passthrough": true, "mok_password": "12345678" }
END
for m in ${these:-$machines}; do
	root=$work/$m
	"m_$m" "$root"
	rm -rf store "$m.before"
	cp -a "$root" "$m.before"
	touch stamp
	sleep 0.02
	before=$(tree)
	want=${want_status[$m]:-0}

	nv vgpu plan --answers answers.json ${args[$m]:-}
	equals "$m: the plan's status" "$rc" "$want"
	{ cat out; grep -v '^nvdriver 0' err | sed "s,$work,/machines,g"; } >got
	equals "$m: a plan changes nothing" "$(tree)" "$before"
	check "$m: and makes no store" test ! -e store
	if [ "$want" != 0 ]; then
		golden "$m: the golden refusal" "$here/vgpu-golden/$m" got
		nv vgpu step 1 --yes --answers answers.json ${args[$m]:-}
		equals "$m: the step is refused as well" "$rc" "$want"
		equals "$m: and changed nothing" "$(tree)" "$before"
		continue
	fi
	: >"$root/nvdriver-commands.log"
	nv vgpu step 1 --yes --answers answers.json ${args[$m]:-}
	equals "$m: step 1" "$rc" 0
	[ "$rc" = 0 ] || sed 's/^/# /' err
	{
		echo "== files"
		changes "$work/$m.before"
		echo "== commands"
		grep -vE '^(pveversion|pvesubscription|apt-cache|mokutil --test-key|zpool|openssl passwd)' "$root/nvdriver-commands.log"
		echo "== said"
		cat out
	} >>got
	golden "$m: golden plan, files and commands" "$here/vgpu-golden/$m" got
	after=$(tree)
	: >"$root/nvdriver-commands.log"
	# What was installed stands in the package database now, as the machine's apt would have left it.
	sed -n 's/^apt-get install -y //p' got | tr ' ' '\n' | while read -r p; do [ -z "$p" ] || installed "$p"; done >>"$root/var/lib/dpkg/status"
	pin=$(sed -n 's/^proxmox-boot-tool kernel pin //p' got)
	[ -z "$pin" ] || echo "$pin" >"$root/etc/kernel/proxmox-boot-pin"
	case $m in *secureboot) sed -i 's/is not enrolled/is already in the enrollment request/' "$root/nvdriver-commands.json"; put "$root/var/lib/dpkg/../dkms/mok.key" k; put "$root/var/lib/dkms/mok.pub" c ;; esac
	second=$(tree)
	nv vgpu step 1 --yes --answers answers.json ${args[$m]:-}
	equals "$m: a second run" "$rc" 0
	check "$m: finds nothing to do" grep -q '^nothing to do' out
	equals "$m: and changes nothing" "$(tree)" "$second"
	equals "$m: and runs nothing" "$(grep -vcE '^(pveversion|pvesubscription|apt-cache|mokutil --test-key|zpool|openssl passwd)' "$root/nvdriver-commands.log")" 0

	nv vgpu undo
	equals "$m: undo" "$rc" 0
	[ "$rc" = 0 ] || sed 's/^/# /' err
	cp "$m.before/var/lib/dpkg/status" "$root/var/lib/dpkg/status"
	cp "$m.before/nvdriver-commands.json" "$root/nvdriver-commands.json"
	[ -z "$pin" ] || rm "$root/etc/kernel/proxmox-boot-pin"
	case $m in *secureboot) rm -r "$root/var/lib/dkms" ;; esac
	equals "$m: gives the former bytes back" "$(diff <(echo "$before") <(tree))" ""
	[ -z "$pin" ] || check "$m: and unpins the kernel" grep -q '^proxmox-boot-tool kernel unpin$' "$root/nvdriver-commands.log"
done
finish
