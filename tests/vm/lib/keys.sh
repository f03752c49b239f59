# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Signing keys: two throw-away pairs ("good", "foreign") and the ready-made platform key whose certificate lies
# in the snakeoil variables of the firmware package.

keys_make_unlocked() {
	local name dir=$CACHE/keys ovmf=$PKG_ROOT/usr/share/ovmf

	mkdir -p "$dir"
	for name in good foreign; do
		[ -e "$dir/$name.der" ] && continue
		openssl req -new -x509 -newkey rsa:2048 -nodes -days 3650 -sha256 -subj "/CN=nvdriver test key $name/" \
			-addext extendedKeyUsage=codeSigning -keyout "$dir/$name.key" -out "$dir/$name.pem" 2>/dev/null
		openssl x509 -in "$dir/$name.pem" -outform DER -out "$dir/$name.der"
	done
	[ -e "$dir/platform.key" ] && return 0
	openssl rsa -in "$ovmf/PkKek-1-snakeoil.key" -passin pass:snakeoil -out "$dir/platform.tmp" 2>/dev/null
	cp "$ovmf/PkKek-1-snakeoil.pem" "$dir/platform.pem"
	mv "$dir/platform.tmp" "$dir/platform.key"
}

# Sets KEYS to the directory with good, foreign and platform (.key and .pem each).
keys_make() {
	need_program openssl:openssl
	locked packages pkg_fetch ovmf
	locked keys keys_make_unlocked
	KEYS=$CACHE/keys
}

# sign_modules SIGNER DIRECTORY [HASH]: the stand-in modules in use, signed by nvdriver.
sign_modules() {
	mkdir -p "$2"
	if ! "$NVDRIVER" modules sign --key "$KEYS/$1.key" --cert "$KEYS/$1.pem" --hash "${3:-sha256}" \
		--output-directory "$2" "$MODULES"/*.ko >"$LOG_DIR/modules-sign" 2>&1; then
		cat "$LOG_DIR/modules-sign"
		echo "Bail out! nvdriver does not sign"
		exit 1
	fi
}

# kernel_sign SIGNER MODULE OUTPUT [HASH]: by the kernel's own signer.
kernel_sign() {
	cp "$2" "$3"
	"$PKG_ROOT/usr/lib/linux-kbuild-${RELEASE%%.0-*}/scripts/sign-file" "${4:-sha256}" "$KEYS/$1.key" "$KEYS/$1.pem" "$3"
}
