/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-ask.h"

#include "log.h"
#include "parse.h"

#include <string.h>

const struct ask_key ask_keys[] = {
	{ "proceed", "apply what was shown" },
	{ "dist_upgrade", "upgrade all packages first" },
	{ "no_card", "go on although no card was found" },
	{ "vendor_helper", "run Proxmox VE's own helper for NVIDIA vGPU as well" },
	{ "card", "address or number of the card for vGPU" },
	{ "unknown_card", "native, unlock or stop, for a card no table has" },
	{ "branch", "vGPU branch to prepare for" },
	{ "passthrough", "give the other cards to passthrough" },
	{ "kernel_pin", "pin an older kernel where no branch fits the present one" },
	{ "unlock", "fetch and build the community's unlock components" },
	{ "no_iommu", "go on with step 2 although the IOMMU is off" },
	{ "kernel_unfit", "install the driver although its branch does not go with the running kernel" },
	{ "iommu_pt", "add iommu=pt although the IOMMU is on" },
	{ "mok_password", "one-time password for the firmware's key menu" },
	{ "reboot", "reboot at the end" },
	{ "guest_linux", "download the Linux guests' driver" },
	{ "guest_windows", "download the Windows guests' driver" },
	{ "license", "see to licences for guests at the end of step 2" },
	{ "license_kind", "vendor or server, for the menu's question about licences" },
	{ "license_server", "set up a licence server here" },
	{ "license_address", "address at which guests reach the licence server" },
	{ "license_port", "port at which guests reach the licence server" },
	{ "remove_repositories", "take back the repositories" },
	{ "remove_upgrade", "forget the package upgrade; packages stay" },
	{ "remove_packages", "remove the packages that were added" },
	{ "remove_unlock_sources", "remove the community's sources" },
	{ "remove_unlock", "remove the unlock library" },
	{ "remove_unlock_config", "remove the file for your own profiles" },
	{ "remove_download", "remove the driver files that were fetched and made" },
	{ "remove_driver", "uninstall the host driver" },
	{ "remove_vgpu_config", "bring the driver's own list of types back" },
	{ "remove_services", "stop the driver's daemons" },
	{ "remove_functions", "stop switching on virtual functions" },
	{ "upgrade", "take the present driver away and prepare for another one" },
	{ "remove_old_driver", "uninstall a driver that this program did not install" },
	{ "remove_old_unlock", "remove the unlock library the script installer built" },
	{ "remove_old_server", "remove the licence server the script installer set up" },
	{ "remove_hook", "remove the hook that looks at new kernels" },
	{ "remove_hold", "let new kernels be booted again" },
	{ "remove_rollback", "take the watch over the first boot away" },
	{ "remove_kernel", "unpin the kernel" },
	{ "remove_secureboot", "take back the signing set-up" },
	{ "remove_boot", "take back the kernel words" },
	{ "remove_cards", "take back the passthrough rules" },
	{ "remove_modules", "take back the module lists" },
	{ "remove_attach", "take back the vGPUs given to virtual machines" },
	{ "remove_license_docker", "remove Docker" },
	{ "remove_license_image", "remove the licence server's image" },
	{ "remove_license_keys", "remove the licence server's keys: guests' tokens become void" },
	{ "remove_license_server", "stop and remove the licence server" },
	{ "remove_license_scripts", "remove the licence scripts for guests" },
	{ "remove_guest_driver", "uninstall this guest's driver" },
	{ "remove_license_client", "take back this guest's licence settings" },
	{ 0 },
};

int ask_check_answers(const json_t *answers, struct err *e)
{
	const json_t *value;
	const char *key;

	json_object_foreach ((json_t *)answers, key, value) {
		const struct ask_key *k = ask_keys;

		while (k->key && strcmp(k->key, key) != 0)
			k++;
		if (!k->key)
			return err_set(e, ERR_CONFIG,
				       "the answers file has a key \"%s\" that no question has", key);
		if (!json_is_boolean(value) && !json_is_string(value) && !json_is_integer(value))
			return err_set(e, ERR_CONFIG,
				       "the answer \"%s\" is neither text, number, true nor false", key);
	}
	return 0;
}

static int prompt(const struct asker *a, const char *text, char **ret)
{
	size_t n;
	int r = a->prompt(text, ret, a->arg);

	if (r < 0)
		return r;
	n = strlen(*ret);
	while (n > 0 && strchr("\r\n", (*ret)[n - 1]))
		(*ret)[--n] = '\0';
	return 0;
}

static bool text_is_yes(const char *s)
{
	bool b = false;

	return strcmp(s, "y") == 0 || strcmp(s, "Y") == 0 || (parse_bool(SPAN(s), &b) == 0 && b);
}

static int yes_of(const json_t *answer)
{
	return json_is_string(answer) ? text_is_yes(json_string_value(answer)) : json_is_true(answer);
}

int ask_yes(const struct asker *a, const char *key, bool with_yes, const char *fmt, ...)
{
	const json_t *answer = json_object_get(a->answers, key);
	_cleanup_free_ char *text = NULL, *line = NULL;
	va_list ap;
	int r;

	if (answer)
		return yes_of(answer);
	if (a->yes)
		return with_yes;
	va_start(ap, fmt);
	text = str_vprintf(fmt, ap);
	va_end(ap);
	if (!text)
		return -ENOMEM;
	if (!a->prompt) {
		log_debug("%s: not asked, so no (\"%s\")", text, key);
		return 0;
	}
	r = prompt(a, text, &line);
	return r < 0 ? r : text_is_yes(line);
}

int ask_text(const struct asker *a, const char *key, const char *fallback, char **ret, const char *fmt, ...)
{
	const json_t *answer = json_object_get(a->answers, key);
	_cleanup_free_ char *text = NULL, *line = NULL;
	va_list ap;
	int r = 0;

	va_start(ap, fmt);
	text = str_vprintf(fmt, ap);
	va_end(ap);
	if (json_is_integer(answer))
		line = str_printf("%lld", (long long)json_integer_value(answer));
	else if (answer)
		line = strdup(json_is_string(answer) ? json_string_value(answer) : "");
	else if (a->yes || !a->prompt)
		line = strdup("");
	else
		r = text ? prompt(a, text, &line) : -ENOMEM;
	if (r < 0)
		return r;
	if (line && !*line) {
		free(line);
		line = strdup(fallback ? fallback : "");
	}
	if (!line)
		return -ENOMEM;
	*ret = TAKE_PTR(line);
	return 0;
}
