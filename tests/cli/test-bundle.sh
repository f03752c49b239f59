#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Bundles: made from one store, read, applied to another, and every way to damage one refused.
. "$(dirname "$0")/lib.sh"
: "${FIXTURE:?names the program that makes the fixture}"

for tool in gcc make tar zstd openssl; do
	command -v $tool >/dev/null || { skip "bundles" "no $tool"; finish; }
done
cd "$work" || exit 1
release=6.1.0-77-amd64 version=535.1.2
"$FIXTURE" "$work" || exit 1
echo 'int nv_core(int x) { return x + 1; }' >core.c
gcc -g -c core.c -o driver/kernel/nvidia/nv-kernel.o_binary
mkdir -p root/usr/src/kernels root/proc/sys/kernel
cp -r kernel "root/usr/src/kernels/$release"
echo "$release" >root/proc/sys/kernel/osrelease
for name in bundle other modules; do
	openssl req -x509 -newkey rsa:2048 -nodes -keyout $name.key -out $name.pem -days 3650 -subj /CN=$name 2>/dev/null
	chmod 600 $name.key
done
a() { run --root root --store a "$@"; }

# -- made
a bundle create --driver driver --kernel $release --modules --flavour proprietary -o one.nvbundle
equals "create obtains driver, kernel tree and modules" "$rc" 0
equals "one of each" "$(cut -d' ' -f1 out | head -4 | tr '\n' ' ')" "tree kernel probes modules "
cp one.nvbundle first
a bundle create --from-store --modules -o one.nvbundle
check "the same objects give the same bytes" cmp one.nvbundle first
a bundle create --from-store --modules -o one.nvbundle -j1
check "whatever the number of threads" cmp one.nvbundle first
a --dry-run bundle create --driver 999.1 --kernel $release -o never.nvbundle
check "a dry run says what is missing" grep -q 'would first obtain 999.1' out
check "and writes nothing" test ! -e never.nvbundle
slug "from the store alone, an absent driver is named" 1 driver-not-prepared --root root --store a bundle create --from-store --driver 999.1 -o never.nvbundle
slug "and an absent kernel" 7 kernel-headers-missing --root root --store a bundle create --from-store --driver $version -k 9.9.9 -o never.nvbundle
slug "nothing chosen is usage" 2 bundle-nothing-selected --root root --store a bundle create -o never.nvbundle
slug "a kernel no package is for" 7 kernel-headers-missing --root root --store b0 bundle create -k 9.9.9 --rpms driver -o never.nvbundle
check "none of these made a file" test ! -e never.nvbundle

# -- a build tree from packages
if command -v rpmbuild >/dev/null; then
	rhel=5.14.0-1.el9.x86_64
	mkdir rhel && cp -r kernel/. rhel/ && sed -i "s/$release/$rhel/" rhel/include/generated/utsrelease.h
	printf '%s\n' 'Name: kernel-devel' 'Version: 5.14.0' 'Release: 1.el9' 'Summary: x' 'License: GPL' %description x %install \
		"mkdir -p %{buildroot}/usr/src/kernels/$rhel" "cp -r $work/rhel/. %{buildroot}/usr/src/kernels/$rhel/" \
		%files "/usr/src/kernels/$rhel" >kernel.spec
	rpmbuild -bb --target x86_64 --define "_topdir $work/top" --define "_rpmdir $work/rpms" kernel.spec >/dev/null 2>&1
	run --root root --store r bundle create -k $rhel --rpms rpms/x86_64 -o rhel.nvbundle
	equals "a kernel-devel package becomes a build tree" "$rc" 0
	run --store r2 bundle apply rhel.nvbundle
	equals "which is applied" "$rc $(cat r2/refs/kernels/x86_64/$rhel)" "0 $(cat r/refs/kernels/x86_64/$rhel)"
	slug "another release is not in it" 7 kernel-headers-missing --root root --store r bundle create -k 5.14.0-2.el9.x86_64 --rpms rpms/x86_64 -o never.nvbundle
	if command -v createrepo_c >/dev/null; then
		for how in gz zst; do
			rm -rf "repo-$how" && cp -r rpms/x86_64 "repo-$how"
			createrepo_c -q --general-compress-type=$how "repo-$how" 2>/dev/null || createrepo_c -q "repo-$how"
			run --root root --store "r-$how" bundle create -k $rhel --repo "file://$work/repo-$how/" -o "repo-$how.nvbundle"
			equals "so does one a repository ($how) lists" "$rc" 0
			run --store "s-$how" bundle apply "repo-$how.nvbundle"
			equals "which is applied too" "$rc $(cat "s-$how/refs/kernels/x86_64/$rhel")" "0 $(cat r/refs/kernels/x86_64/$rhel)"
		done
		if command -v gpg >/dev/null && command -v gpgv >/dev/null; then
			mkdir -m 700 gnupg other-gnupg
			for home in gnupg other-gnupg; do
				gpg --homedir "$home" --batch --quiet --passphrase '' --quick-gen-key "$home@example" ed25519 sign never 2>/dev/null
				gpg --homedir "$home" --batch --armor --export >"$home.asc" 2>/dev/null
			done
			gpg --homedir gnupg --batch --export >ring.gpg 2>/dev/null
			cp -r repo-gz repo-signed
			slug "an index without a signature is refused where a key is given" 6 repository-signature-invalid \
				--root root --store r5 bundle create -k $rhel --repo "file://$work/repo-signed" --gpg-key gnupg.asc -o never.nvbundle
			gpg --homedir gnupg --batch --armor --detach-sign repo-signed/repodata/repomd.xml 2>/dev/null
			for keys in "--gpg-key gnupg.asc" "--gpg-key other-gnupg.asc --gpg-key ring.gpg"; do
				# shellcheck disable=SC2086
				run --root root --store "r-${#keys}" bundle create -k $rhel --repo "file://$work/repo-signed" $keys -o signed.nvbundle
				equals "a good signature is taken ($keys)" "$rc" 0
			done
			slug "not another's" 6 repository-signature-invalid \
				--root root --store r5 bundle create -k $rhel --repo "file://$work/repo-signed" --gpg-key other-gnupg.asc -o never.nvbundle
			echo "<!-- -->" >>repo-signed/repodata/repomd.xml
			slug "nor one of another index" 6 repository-signature-invalid \
				--root root --store r5 bundle create -k $rhel --repo "file://$work/repo-signed" --gpg-key gnupg.asc -o never.nvbundle
			for home in gnupg other-gnupg; do gpgconf --homedir "$home" --kill all 2>/dev/null; done
		else
			skip "a repository's signature is checked" "no gpg and gpgv"
		fi
		run --root root --store r-gz --offline bundle create -k $rhel --repo http://127.0.0.1:1/ -o again.nvbundle
		equals "a second time nothing is asked" "$rc" 0
		slug "a release no repository has is named" 7 kernel-headers-missing --root root --store r3 bundle create -k 5.14.0-2.el9.x86_64 --repo "file://$work/repo-gz" -o never.nvbundle
		check "with the newest there is" grep -q 'newest kernel-devel-5.14.0-1.el9.x86_64' err
		slug "another variant is not taken for it" 7 kernel-headers-missing --root root --store r3 bundle create -k $rhel+debug --repo "file://$work/repo-gz" -o never.nvbundle
		mkdir -p page/repodata && echo '<html><body>please log in</body></html>' >page/repodata/repomd.xml
		slug "a page is no repository" 6 repository-invalid --root root --store r3 bundle create -k $rhel --repo "file://$work/page" -o never.nvbundle
		printf x >>repo-gz/kernel-devel-5.14.0-1.el9.x86_64.rpm
		slug "a package that is not the one listed is refused" 6 fetch-size-mismatch --root root --store r3 bundle create -k $rhel --repo "file://$work/repo-gz" -o never.nvbundle
		for file in repo-zst/repodata/*primary.xml*; do printf x >>"$file"; done
		slug "as is a list that was changed" 6 fetch-digest-mismatch --root root --store r3 bundle create -k $rhel --repo "file://$work/repo-zst" -o never.nvbundle
		run --root root --store r4 bundle create -k $rhel --rpms driver --repo "file://$work/repo-zst" -o never.nvbundle
		equals "packages at hand are asked first, then the repository" "$rc" 6
	else
		skip "a kernel-devel package of a repository becomes a build tree" "no createrepo_c"
	fi
else
	skip "a kernel-devel package becomes a build tree" "no rpmbuild"
fi

# -- read
status "verify accepts it" 0 bundle verify one.nvbundle
run --json bundle inspect one.nvbundle
check "inspect describes it" grep -q "\"kernels\": \[" out
check "with digest and format" grep -q '"format": 1' out
status "nothing is missing for its kernel" 0 bundle list-missing one.nvbundle -k $release
status "something is for another" 10 bundle list-missing one.nvbundle -k 5.14.0-1.el9.x86_64
equals "namely a kernel tree" "$(cat out)" "kernel 5.14.0-1.el9.x86_64"
status "or for another driver" 10 bundle list-missing one.nvbundle -k $release --driver 999.1
equals "namely its tree" "$(cat out)" "tree 999.1"
mkdir layout && tar -xf one.nvbundle -C layout
status "the unpacked layout is a bundle too" 0 bundle verify layout
tar --format=pax --sort=name --pax-option=exthdr.name=%d/PaxHeaders/%f -cf pax.nvbundle -C layout . 2>/dev/null
status "and packed by tar again" 0 bundle verify pax.nvbundle
check "tar, zstd and sha256sum alone can read it" sh -c 'cd layout/blobs/sha256 && for f in *; do [ "$(sha256sum <$f)" = "$f  -" ] || exit 1; done'

# -- applied
run --store b --dry-run bundle apply one.nvbundle
equals "a dry run of apply" "$rc $(grep -c 'would do' out) $(ls -d b 2>/dev/null)" "0 4 "
run --store b bundle apply one.nvbundle
equals "apply publishes all" "$rc $(grep -c ' done ' out)" "0 4"
run --store b bundle apply one.nvbundle
equals "the second time everything is there" "$rc $(grep -c ' hit ' out)" "0 4"
status "the store is whole" 0 --store b verify
state() { (cd "$1" && find trees kernels probes modules -type f ! -name record.json ! -name '*.log' -exec sha256sum {} + | sort -k2; find refs -path refs/request -prune -o -type f -printf '%p\n' | sort); }
equals "it holds what the first one holds" "$(state b)" "$(state a | grep -v ' objects/')"
nothing=$work/nothing
mkdir "$nothing"
PATH=$nothing run --root root --store b --offline prepare $version --kernel $release
equals "prepare finds all of it, offline and without any program" "$rc $(grep -c ' hit ' out)" "0 3"
run --store c bundle apply one.nvbundle --kernel $release --driver 999.1
equals "of another driver only the kernel tree fits" "$rc $(ls c/kernels | wc -l) $(ls c/trees | wc -l)" "0 1 0"
slug "nothing for that kernel and driver" 1 bundle-lacks --store c2 bundle apply one.nvbundle --kernel 9.9 --driver 999.1 --arch aarch64
run --store c --offline prepare $version --kernel $release
equals "and a driver it does not have is refused" "$rc" 6
rm -rf d
run --store d bundle apply layout
equals "a layout directory is applied as well" "$rc" 0
chmod 755 d/trees/*/root/nvidia-smi && echo x >d/trees/*/root/nvidia-smi
run --store d bundle apply one.nvbundle
check "a damaged object is replaced" sh -c "grep -q '^tree *done' out && '$NVDRIVER' --store d verify >/dev/null"

# -- signed
a bundle create --from-store --modules -o signed.nvbundle --sign-key bundle.key --sign-cert bundle.pem
equals "a signed bundle is made" "$rc" 0
status "its signature is good" 0 bundle verify signed.nvbundle --cert bundle.pem
slug "with another certificate it is not" 6 signature-foreign bundle verify signed.nvbundle --cert other.pem
slug "apply refuses it as well" 6 signature-foreign --store e bundle apply signed.nvbundle --cert other.pem
slug "an unsigned one is refused" 6 bundle-unsigned --store e bundle apply one.nvbundle --cert bundle.pem
equals "and neither left an object" "$(find e -path '*/trees/*' -o -path '*/modules/*' -o -path 'e/refs/*/*' | head -3)" ""
status "the right one is applied" 0 --store e bundle apply signed.nvbundle --cert bundle.pem

# -- the driver container takes what it needs from one
node=$work/node
mkdir -p "$node/proc/sys/kernel" "$node/proc/1/root/var/lib" "$node/sys" "$node/etc" "$node/drivers" "$node/lib/modules/$release"
echo "$release" >"$node/proc/sys/kernel/osrelease"
: >"$node/proc/modules"
container() { DRIVER_VERSION=$version TARGETARCH=amd64 KERNEL_MODULE_TYPE=proprietary PATH=$nothing run --root "$node" "$@"; }
container --store g1 --offline container update --kernel $release
equals "without one the driver is missing" "$rc $(grep -c 'the store has no driver' err)" "1 1"
NVDRIVER_BUNDLE=$work/one.nvbundle container --store g2 --offline container update --kernel $release
equals "a named bundle brings driver and modules: nothing is built" "$rc $(grep -c 'nothing to build' err)" "0 1"
NVDRIVER_BUNDLE=$work/one.nvbundle NVDRIVER_BUNDLE_CERT=$work/bundle.pem container --store g3 --offline container update --kernel $release
check "one that is not signed is refused when a signature is demanded" test "$rc" != 0 -a ! -e g3/refs/driver
NVDRIVER_BUNDLE=$work/one.nvbundle container --store g1 --offline --json container doctor
check "doctor sees that a bundle has the modules" grep -q "a start takes them from the bundle $work/one.nvbundle" out
if [ -e rhel.nvbundle ]; then
	echo $rhel >"$node/proc/sys/kernel/osrelease"
	NVDRIVER_BUNDLE=$work/rhel.nvbundle container --store g1 --offline --json container doctor
	check "or the build tree" grep -q "build tree in a bundle: $work/rhel.nvbundle" out
	echo "$release" >"$node/proc/sys/kernel/osrelease"
fi
equals "and unpacks neither" "$(find g1 -path '*/trees/*' -o -path '*/kernels/*' | head -3)" ""
cp one.nvbundle "$node/drivers/"
container --store g4 --offline container update --kernel $release
equals "one in /drivers is found" "$rc $(grep -c 'nothing to build' err)" "0 1"
container --store g4 --offline container update --kernel $release
equals "and not read again" "$rc $(grep -c nvbundle err)" "0 0"

# -- a module set as an image
if PATH=$PATH:/usr/sbin:/sbin command -v depmod >/dev/null; then
	a bundle export-image --driver $version -k $release -o kmod.tar
	equals "a module set is written as an image" "$rc" 0
	mkdir image && tar -xf kmod.tar -C image
	layer=$(for f in image/blobs/sha256/*; do gzip -t "$f" 2>/dev/null && echo "$f"; done)
	tar -tzf "$layer" >members
	check "with the modules where operators look" grep -qx "opt/lib/modules/$release/nvidia.ko" members
	check "with indexes for modprobe" grep -qx "opt/lib/modules/$release/modules.dep.bin" members
	check "with the firmware" grep -qx "opt/lib/firmware/nvidia/$version/gsp_ga10x.bin" members
	equals "the configuration names the layer before compression" \
		"$(grep -ho 'sha256:[0-9a-f]*' "$(grep -l diff_ids image/blobs/sha256/*)")" "sha256:$(gzip -dc "$layer" | sha256sum | cut -c1-64)"
	check "and has labels" grep -q "\"nvdriver.kernel\": \"$release\"" "$(grep -l diff_ids image/blobs/sha256/*)"
	cp kmod.tar first.tar
	a bundle export-image --driver $version -k $release -o kmod.tar
	check "the same set gives the same image" cmp kmod.tar first.tar
	slug "a set that is not there" 4 module-set-missing --root root --store a bundle export-image --driver $version -k 9.9 -o never.tar
	slug "an image is not a bundle" 6 bundle-format bundle verify kmod.tar
else
	skip "a module set is written as an image" "no depmod"
fi

# -- hostile: a layout is taken apart, changed, and put under consistent digests again
index_hex() { sed -n 's/.*"digest": "sha256:\(.*\)".*/\1/p' "$1/index.json"; }
config_hex() { sed -n '/"config"/,/}/s/.*"digest": "sha256:\(.*\)".*/\1/p' "$1/blobs/sha256/$(index_hex "$1")"; }
object_hex() { # DIR KIND: blob of its first object of this kind
	awk -v kind="\"$2\"" '/^      "kind":/ { here = index($0, kind) } here && /^      "sha256"/ { print substr($2, 2, 64); exit }' \
		"$1/blobs/sha256/$(config_hex "$1")"
}
place() { # DIR FILE: the blob's new name
	local hex
	hex=$(sha256sum <"$2" | cut -c1-64)
	cp "$2" "$1/blobs/sha256/$hex"
	echo "$hex"
}
redescribe() { # DIR: manifest and index for the description in new.json and the manifest in new.manifest
	local old new
	old=$(config_hex "$1") new=$(place "$1" new.json)
	sed -i "/sha256:$old/{s/$old/$new/;n;n;s/[0-9]\+/$(stat -c %s new.json)/}" new.manifest
	old=$(index_hex "$1") new=$(place "$1" new.manifest)
	sed -i "/sha256:$old/{s/$old/$new/;n;n;s/[0-9]\+/$(stat -c %s new.manifest)/}" "$1/index.json"
}
hostile() { # NAME: a fresh copy in $dir with its texts in new.json and new.manifest
	dir=h-$1
	rm -rf "$dir"
	cp -r layout "$dir"
	cp "$dir/blobs/sha256/$(config_hex "$dir")" new.json
	cp "$dir/blobs/sha256/$(index_hex "$dir")" new.manifest
}
replace() { # KIND FILE: the object's blob is FILE, everything agrees
	local old new size
	old=$(object_hex "$dir" "$1") new=$(place "$dir" "$2") size=$(stat -c %s "$2")
	sed -i "/\"sha256\": \"$old\"/{s/$old/$new/;n;s/[0-9]\+/$size/}" new.json
	sed -i "/sha256:$old/{s/$old/$new/;n;n;s/[0-9]\+/$size/}" new.manifest
	redescribe "$dir"
}
refused() { # TEXT SLUG FILE: by verify, and by apply without a trace
	slug "verify: $1" 6 "$2" bundle verify "$3"
	rm -rf f
	slug "apply: $1" 6 "$2" --store f bundle apply "$3"
	equals "nothing came of it: $1" "$(find f/trees/ f/kernels/ f/modules/ f/refs/ f/tmp/ ! -type d 2>/dev/null | grep -v -e 'refs/driver/' -e 'f/trees/[0-9a-f]*/' | head -3) $(ls outside 2>/dev/null)" " "
}
tarred() { tar --format=ustar --owner=0 --group=0 --mtime=@946684800 "$@" | zstd -q; }

hostile tampered
victim=$dir/blobs/sha256/$(object_hex "$dir" tree)
printf x | dd of="$victim" bs=1 seek=100 conv=notrunc 2>/dev/null
refused "a tampered blob" bundle-damaged "$dir"
hostile swapped
cp "$dir/blobs/sha256/$(object_hex "$dir" kernel)" "$dir/blobs/sha256/$(object_hex "$dir" tree)"
refused "a blob in another's place" bundle-damaged "$dir"
hostile missing
rm "$dir/blobs/sha256/$(object_hex "$dir" modules)"
slug "verify: a missing blob" 6 bundle-damaged bundle verify "$dir"
hostile description
sed -i 's/"proprietary"/"open"/' "$dir/blobs/sha256/$(config_hex "$dir")"
refused "a changed description" bundle-damaged "$dir"
hostile escape
mkdir -p esc && echo x >esc/f && (cd esc && tarred -P --transform 's,^f,../../../../outside/f,' -cf - f) >blob
replace tree blob
refused "a member that climbs out" archive-path-escape "$dir"
hostile link
ln -sf /etc esc/l && (cd esc && tarred -cf - l) >blob
replace tree blob
refused "a link that leads out" archive-symlink-escape "$dir"
hostile device
if mknod esc/null c 1 3 2>/dev/null; then
	(cd esc && tarred -cf - null) >blob
	replace tree blob
	refused "a device" archive-special-file "$dir"
fi
hostile bomb
truncate -s 3G esc/zeros && (cd esc && tarred -cf - zeros) >blob
replace tree blob
refused "more than it claims" archive-limit "$dir"
sed -i '/"unpacked_bytes"/s/[0-9]\+/3221225472/' new.json
redescribe "$dir"
refused "a bomb that admits it" archive-bomb "$dir"
hostile identity
sed "s/$(sed -n '/"kind": "tree"/{x;p;d};x' new.json | sed 's/.*"id": "\(.*\)".*/\1/')/$(printf '%064d' 7)/" new.json >other.json
mv other.json new.json
redescribe "$dir"
slug "apply: a tree under another's name" 6 bundle-damaged --store f2 bundle apply "$dir"
equals "no reference names it" "$(find f2/refs -type f)" ""
hostile version
sed -i 's/"format": 1,/"format": 2,/' new.json
redescribe "$dir"
refused "a newer format" bundle-format "$dir"
hostile word
sed -i "s/\"release\": \"$release\"/\"release\": \"..\"/" new.json
redescribe "$dir"
refused "a release that is no name" bundle-format "$dir"
hostile extra
echo evil >evil && sed -i "s/\"manifests\": \[/&{\"mediaType\":\"a\",\"digest\":\"sha256:$(place "$dir" evil)\",\"size\":5},/" "$dir/index.json"
refused "two images" bundle-format "$dir"

size=$(stat -c %s one.nvbundle)
for cut in 100 5000 $((size / 2)) $((size - 2000)); do
	head -c "$cut" one.nvbundle >cut.nvbundle
	run bundle verify cut.nvbundle
	equals "an archive that ends after $cut bytes" "$rc" 6
done
tar --format=ustar -cf linked.nvbundle -C layout oci-layout index.json && ln -s /etc/passwd passwd && tar --format=ustar -rf linked.nvbundle passwd
slug "a link in the archive" 6 archive-special-file bundle verify linked.nvbundle
tar -P --format=ustar --transform 's,^core.c,../core.c,' -rf pax2.nvbundle core.c
slug "a member that climbs" 6 archive-path-escape bundle verify pax2.nvbundle
cp one.nvbundle twice.nvbundle && tar --format=ustar -rf twice.nvbundle -C layout index.json
slug "a member that is there twice" 6 archive-duplicate bundle verify twice.nvbundle
slug "no archive at all" 6 bundle-format bundle verify core.c
slug "an absent file" 1 not-found bundle verify absent.nvbundle
mkdir empty
slug "an empty directory" 6 bundle-format bundle verify empty
finish
