#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The driver container's way with the package manager, by a real dnf on local repositories of small packages, configured as
# RHEL does it (best=True, skip_if_unavailable=False). No network, nothing of this machine's packages is touched.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export NVDRIVER=${NVDRIVER:-$top/build/src/cli/nvdriver}
. "$top/tests/cli/lib.sh"
tool=${NVD_CONTAINER_KTREE:-$(dirname "$NVDRIVER")/../../tests/container-ktree}
for t in dnf rpmbuild createrepo_c rpmkeys; do
	command -v $t >/dev/null || { echo "1..0 # SKIP no $t"; exit 77; }
done
[ -x "$tool" ] || { echo "1..0 # SKIP no $tool"; exit 77; }

W=$work machine=x86_64 arch=x86_64 keep=''
mkdir -p "$W"/{src,keys,root,log}

# -- packages --

# devel NAME VERSION RELEASE KERNEL [CONFIG-OF-THE-MACHINE]: a build tree the engine accepts, with a name in two places
devel() {
	local dir=/usr/src/kernels/$4
	cat >"$W/src/$1-$3.spec" <<S
Name: $1
Version: $2
Release: $3
Summary: fixture
License: MIT
Provides: kernel-devel-uname-r = $4
Requires: elfutils-libelf-devel
%description
fixture
%install
mkdir -p %{buildroot}$dir/include/generated %{buildroot}$dir/include/linux %{buildroot}$dir/scripts %{buildroot}$dir/tools
cd %{buildroot}$dir
echo 'all:' >Makefile
echo 'obj :=' >scripts/Makefile.build
printf 'CONFIG_${5:-X86_64}=y\nCONFIG_MODULES=y\nCONFIG_CC_VERSION_TEXT="gcc (GCC) 11.3.1"\n' >.config
printf '0x00000001\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n' >Module.symvers
echo '#pragma once' >include/linux/kernel.h
echo "#define UTS_RELEASE \"$4\"" >include/generated/utsrelease.h
printf '#define CONFIG_SMP 1\n#define CONFIG_MODULE_UNLOAD 1\n' >include/generated/autoconf.h
ln include/linux/kernel.h tools/kernel.h
ln -s ../scripts/Makefile.build tools/link
%files
$dir
S
}
plain() { # NAME VERSION RELEASE [MORE-SPEC]
	printf 'Name: %s\nVersion: %s\nRelease: %s\nSummary: fixture\nLicense: MIT\n%s\n%%description\nfixture\n%%files\n' "$1" "$2" "$3" "${4:-}" >"$W/src/$1-$2.spec"
}
build() { # REPOSITORY NAME-RELEASE...
	local repo=$1 specs
	shift
	specs=("${@/#/$W/src/}")
	mkdir -p "$W/$repo"
	rpmbuild -bb --quiet --target "$machine" --define "_topdir $W/top" --define "_rpmdir $W/$repo" --define 'debug_package %{nil}' \
		--define '__os_install_post %{nil}' --define '_build_id_links none' --define '_binary_payload w3.zstdio' --nodeps "${specs[@]/%/.spec}" >>"$W/rpmbuild.log" 2>&1 ||
		{ tail -5 "$W/rpmbuild.log" | sed 's/^/# /'; exit 1; }
	createrepo_c -q "$W/$repo"
}

K1=5.14.0-284.11.1.el9_2.x86_64 K2=5.14.0-427.13.1.el9_4.x86_64
devel kernel-devel 5.14.0 284.11.1.el9_2 $K1
devel kernel-devel 5.14.0 284.30.1.el9_2 5.14.0-284.30.1.el9_2.x86_64
devel kernel-devel 5.14.0 427.13.1.el9_4 $K2
devel kernel-debug-devel 5.14.0 284.11.1.el9_2 $K1+debug
devel kernel-uek-devel 5.15.0 200.131.27.el9uek 5.15.0-200.131.27.el9uek.x86_64
devel kernel-site-devel 6.6.1 1.site 6.6.1-1.site.x86_64
plain elfutils-libelf 0.188 3.el9
plain elfutils-libelf-devel 0.188 3.el9 'Requires: elfutils-libelf = 0.188-3.el9'
plain elfutils-libelf 0.189 1.el9
build base kernel-devel-284.11.1.el9_2 kernel-devel-284.30.1.el9_2 kernel-devel-427.13.1.el9_4 kernel-debug-devel-284.11.1.el9_2 \
	kernel-uek-devel-200.131.27.el9uek kernel-site-devel-1.site elfutils-libelf-0.188 elfutils-libelf-devel-0.188
build image elfutils-libelf-0.189
devel kernel-devel 5.14.0 70.1.1.el9_0 5.14.0-70.1.1.el9_0.x86_64
build eus kernel-devel-70.1.1.el9_0
devel kernel-64k-devel 5.14.0 570.19.1.el9_6 5.14.0-570.19.1.el9_6.aarch64+64k ARM64
machine=aarch64
build arm kernel-64k-devel-570.19.1.el9_6
machine=x86_64

# -- configuration --

conf() { # NAME MORE-MAIN-OPTION...
	local name=$1
	shift
	{ printf '[main]\nbest=True\nskip_if_unavailable=False\ngpgcheck=0\nmodule_platform_id=platform:el9\nkeepcache=False\n'; printf '%s\n' "$@"; } >"$W/$name.conf"
}
repo() { # SET ID URL [MORE...]
	local set=set-$1 id=$2 url=$3
	shift 3
	mkdir -p "$W/$set"
	{ printf '[%s]\nname=%s\nbaseurl=%s\n' "$id" "$id" "$url"; printf '%s\n' enabled=1 "$@"; } >"$W/$set/$id.repo"
}
dnf_args() { # SET [CONF] -> array args
	args=(-c "$W/${2:-plain}.conf" --disableplugin=local "--setopt=reposdir=$W/set-$1" "--forcearch=$arch" "--installroot=$W/root"
		"--setopt=logdir=$W/log" "--setopt=persistdir=$W/persist")
}
conf plain
store=0
# tree SET CONF KERNEL [NAME=VALUE...]: a fresh store each time unless $keep
tree() {
	local set=$1 c=$2 k=$3
	shift 3
	[ -n "$keep" ] || store=$((store + 1))
	dnf_args "$set" "$c"
	"$tool" "$W/store$store" "$k" "$@" -- "${args[@]}" >"$W/out" 2>"$W/err"
	rc=$?
}
says() { grep -qF -- "$1" "$W/err"; }
from() { python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["from"])' "$W/out" 2>/dev/null; }
field() { python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["tree"][sys.argv[2]])' "$W/out" "$1" 2>/dev/null; }

# -- an ordinary day --

repo good base "file://$W/base"
tree good plain $K1
equals "a devel package becomes a tree" "$rc $(from)" "0 package manager"
[ "$rc" = 0 ] || sed 's/^/# /' "$W/err"
equals "of the wanted kernel" "$(field release)" $K1
output=$(field output)
check "in the store" test "${output#"$W/store$store/kernels/"}" != "$output"
check "with its second names and links" sh -c "cmp -s '$output/tools/kernel.h' '$output/include/linux/kernel.h' && test -e '$output/tools/link'"
check "nothing is installed" sh -c "! rpm --root '$W/root' -q kernel-devel 2>/dev/null | grep -q ^kernel-devel-5"
equals "nothing is left beside it but what the package manager said" "$(ls "$W/store$store/tmp")" package-manager.log
made=$store
tree good plain $K1 look=1
equals "somebody who only looks is told where it would come from" "$rc $(from)" "0 package manager"
check "by package and repository" grep -q "kernel-devel-5.14.0-284.11.1.el9_2.x86_64 from base" "$W/out"
equals "and nothing is fetched or kept" "$(find "$W/store$store" -type f ! -name format; ls -d /tmp/nvdriver-doctor.* 2>/dev/null)" ""
tree good plain 5.14.0-284.25.1.el9_2.x86_64 look=1
check "or what there is instead" test "$rc" = 1 -a "$(grep -c 'nearest versions: 5.14.0-284.11.1.el9_2' "$W/err")" = 1
store=$made
keep=1
tree none plain $K1
equals "the next start finds it in the store, without a package manager" "$rc $(from)" "0 the store"
check "and asks none" sh -c "! grep -q 'package manager' '$W/err'"
tree good plain $K2
equals "a second kernel comes beside the first" "$rc $(field release)" "0 $K2"
keep=''
equals "both are there" "$(ls "$W/store$store/kernels" | wc -l)" 2

# -- variants --

for k in $K1+debug 5.15.0-200.131.27.el9uek.x86_64 6.6.1-1.site.x86_64; do
	tree good plain $k
	equals "kernel $k has a tree" "$rc $(field release)" "0 $k"
done
repo arm arm "file://$W/arm"
arch=aarch64
tree arm plain 5.14.0-570.19.1.el9_6.aarch64+64k arch=aarch64
equals "the 64k variant of another machine too" "$rc $(field release)" "0 5.14.0-570.19.1.el9_6.aarch64+64k"
arch=x86_64
tree good plain 5.14.0-284.11.1.el9_2.x86_64+rt
equals "a preemptible kernel is refused" "$rc" 1
check "before anything is asked" sh -c "grep -q '^kernel-preempt-rt: ' '$W/err' && ! grep -q 'package manager' '$W/err'"

# -- repositories that are not what they should be --

repo sick base "file://$W/base"
repo sick dead "file://$W/nowhere"
repo sick refused "http://127.0.0.1:9/x"
tree sick plain $K1
equals "dead repositories do not stop it" "$rc $(from)" "0 package manager"
check "they are named" sh -c "grep -q 'repository dead cannot be used .* left out' '$W/err' && grep -q 'repository refused cannot be used' '$W/err'"

mkdir "$W/by-version" && cp -al "$W/base" "$W/by-version/9.2"
repo versions base "file://$W/by-version/\$releasever"
tree versions plain $K1 releasever=9.99
equals "a wrong release version is followed by the kernel's own" "$rc $(from)" "0 package manager"
check "which is said" says "repository base cannot be used with release version 9.99"

repo eus base "file://$W/base"
repo eus rhel-9-for-x86_64-appstream-eus-rpms "file://$W/eus"
sed -i 's/enabled=1/enabled=0/' "$W/set-eus/rhel-9-for-x86_64-appstream-eus-rpms.repo"
tree eus plain 5.14.0-70.1.1.el9_0.x86_64
equals "extended support is used where it is defined, though not enabled" "$rc $(field release)" "0 5.14.0-70.1.1.el9_0.x86_64"
tree good plain $K1 openshift=4.14
equals "and nothing is said of repositories nobody defined" "$rc $(grep -c eus "$W/err") $(grep -c rhocp "$W/err")" "0 0 0"

tree sick plain 5.14.0-284.25.1.el9_2.x86_64 releasever=9.1
equals "a package that is nowhere is a failure" "$rc" 1
check "with a slug" grep -q '^kernel-headers-missing: ' "$W/err"
check "the exact package" says "kernel-devel-5.14.0-284.25.1.el9_2.x86_64 is in no repository"
check "the repositories" sh -c "grep -q 'asked: base; left out: dead (.*), refused (' '$W/err'"
check "the release versions" says "release versions tried: 9.1, 9.2, 9;"
check "the nearest versions" says "nearest versions: 5.14.0-284.11.1.el9_2, 5.14.0-284.30.1.el9_2, 5.14.0-427.13.1.el9_4"

# -- an image with a will of its own --

conf pinned 'exclude=kernel* elfutils*'
tree good pinned $K1
equals "excluded packages can be read all the same" "$rc $(from)" "0 package manager"
dnf_args good
args_download=(--disableplugin=download)
"$tool" "$W/store-plain" $K1 -- "${args[@]}" "${args_download[@]}" >"$W/out" 2>"$W/err"
equals "without the download plug-in it goes as well" "$? $(from)" "0 package manager"

repo image image "file://$W/image"
dnf_args image
dnf -y -q "${args[@]}" --releasever=9 install elfutils-libelf >"$W/err" 2>&1
equals "an image newer than the repository" "$(rpm --root "$W/root" -q elfutils-libelf)" elfutils-libelf-0.189-1.el9.x86_64
tree good plain $K1
equals "does not matter to what is only read" "$rc $(from)" "0 package manager"
dnf_args good
check "one joint request would fail" sh -c '! dnf -y -q "$@" --releasever=9 install elfutils-libelf elfutils-libelf-devel-0.188' sh "${args[@]}"
"$tool" "$W/store-install" $K1 "install=elfutils-libelf elfutils-libelf-devel" -- "${args[@]}" >"$W/out" 2>"$W/err"
equals "one after the other does not" "$? $(rpm --root "$W/root" -q elfutils-libelf-devel)" "0 elfutils-libelf-devel-0.188-3.el9.x86_64"
equals "because it may downgrade" "$(rpm --root "$W/root" -q elfutils-libelf)" elfutils-libelf-0.188-3.el9.x86_64

"$tool" "$W/store-list" $K1 list=1 -- "${args[@]}" >"$W/out" 2>"$W/err"
equals "kernels are listed, the newest first" "$(tr '\n' ' ' <"$W/out")" "$K2 5.14.0-284.30.1.el9_2.x86_64 $K1 "

# -- signatures --

repo signed base "file://$W/base" gpgcheck=1 "gpgkey=file://$W/key.asc"
export GNUPGHOME=$W/keys
chmod 700 "$W/keys"
gpg --batch --quiet --passphrase '' --quick-gen-key 'Fixture <f@example.org>' rsa2048 sign never 2>/dev/null
gpg --armor --export >"$W/key.asc"
tree signed plain $K1
equals "an unsigned package of a repository that demands signatures is refused" "$rc" 1
check "by name" says "base demands signed packages"
cp -a "$W/base" "$W/base-signed"
rpm --define '_gpg_name Fixture' --define "_gpg_path $W/keys" --define "__gpg $(command -v gpg)" --addsign "$W"/base-signed/x86_64/kernel-devel-5.14.0-284.11* >/dev/null 2>&1
createrepo_c -q "$W/base-signed"
repo signed base "file://$W/base-signed" gpgcheck=1 "gpgkey=file://$W/key.asc"
tree signed plain $K1
equals "a signed one is taken" "$rc $(from)" "0 package manager"
[ "$rc" = 0 ] || sed 's/^/# /' "$W/err"
gpgconf --kill all 2>/dev/null

# -- a node in another mount namespace --

if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
	mkfifo "$W/ready" "$W/done"
	unshare -m sh -c "mount -t tmpfs none /usr/src && mkdir -p /usr/src/kernels && cp -a '$output' /usr/src/kernels/$K1 && echo \$\$ >'$W/ready' && read x <'$W/done'" &
	read -r pid <"$W/ready"
	tree none plain $K1 "node=/proc/$pid/root"
	equals "a tree the compiler cannot reach is copied into the store" "$rc $(from) $(test -e "$(field output)/Module.symvers" && echo there)" "0 the node there"
	[ "$rc" = 0 ] || sed 's/^/# /' "$W/err"
	echo >"$W/done"
	wait

	# The node's kernel-install plug-in: only a new kernel concerns it, and it never fails.
	hook=$top/packaging/kernel-install/90-nvdriver.install
	mkdir "$W/bin"
	printf '#!/bin/sh\necho "$@" >>%s\nexit 3\n' "$W/nsenter.log" >"$W/bin/nsenter"
	chmod +x "$W/bin/nsenter"
	unshare -m sh -c "mount -t tmpfs none /run && mkdir /run/nvidia && PATH=$W/bin:\$PATH && '$hook' add $K2 /boot && echo \$\$ >/run/nvidia/nvidia-driver.pid &&
		'$hook' remove $K2 && '$hook' add $K2 /boot /boot/vmlinuz && echo 999999999 >/run/nvidia/nvidia-driver.pid && '$hook' add $K2 /boot" 2>"$W/err"
	equals "the kernel-install plug-in never fails" $? 0
	equals "enters the running container once, for a kernel that was added" "$(sed 's/--target [0-9]* /--target N /; s,/proc/[0-9]*/,/proc/N/,' "$W/nsenter.log")" \
		"--target N --mount -- /proc/N/exe hook kernel $K2"
	check "and says when nothing was prepared" says "modules for kernel $K2 were not prepared"
else
	skip "a tree the compiler cannot reach is copied into the store" "needs root"
	skip "the kernel-install plug-in" "needs root"
fi
finish
