# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
case=$(sed 's/.*case=//; s/ .*//' /proc/cmdline)
enforced=$(cat /sys/module/module/parameters/sig_enforce)
case $case in
enforced)
	is "the kernel enforces signatures" "$enforced" Y
	;;
lockdown)
	has "the kernel is locked down" "$(cat /sys/kernel/security/lockdown)" "[integrity]"
	;;
secureboot)
	has "the kernel saw Secure Boot" "$(cat /tmp/boot.log)" "Secure boot enabled"
	is "and enforces signatures" "$enforced" Y
	;;
esac
exits "a module of the distribution loads" 0 insmod /modules/distribution/fuse.ko

# loads_not SET STATUS SLUG
loads_not() {
	refuses "$1 modules are refused" "$2" "$3" load --dir "/modules/$1"
	is "and nothing is left" "$(nvidia_modules)" ""
}

case $case in
enforced)
	loads_not unsigned 4 module-key-rejected-unsigned
	loads_not foreign 4 module-key-unavailable
	;;
lockdown)
	loads_not unsigned 4 module-lockdown
	loads_not foreign 4 module-lockdown
	;;
secureboot)
	exits "status sees Secure Boot" 0 nvdriver --json status
	is "as on" "$(json secure_boot)" yes
	exits "modules signed with the platform key load" 0 nvdriver load --dir /modules/platform
	exits "and unload" 0 nvdriver unload --reset-firmware-path
	loads_not unsigned 4 module-key-rejected-unsigned
	loads_not foreign 4 module-key-unavailable
	loads_not sha512 4 module-crypto-unsupported
	loads_not damaged 6 module-signature-damaged
	;;
esac
finish
