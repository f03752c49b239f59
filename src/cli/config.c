/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "fd.h"
#include "ini.h"

#include <fcntl.h>

#define CONFIG_PATH "etc/nvdriver/nvdriver.conf"
#define C(field)    offsetof(struct config, field)

static const struct ini_key config_keys[] = {
	{ "", "store", ini_take_string, C(store), "a directory" },
	{ "", "log-file", ini_take_string, C(log_file), "a file" },
	{ "", "log-format", ini_take_string, C(log_format), "text or json" },
	{ "", "color", ini_take_string, C(color), "auto, always or never" },
	{ "", "progress", ini_take_string, C(progress), "auto, bar, plain or none" },
	{ "", "offline", ini_take_bool, C(offline), "yes or no" },
	{ "", "lock-timeout", ini_take_duration, C(lock_timeout_s), "a time such as 90 or 5m" },
	{ "fetch", "proxy", ini_take_string, C(fetch_proxy), "a URL" },
	{ "fetch", "attempts", ini_take_unsigned, C(fetch_attempts), "a number" },
};

void config_done(struct config *c)
{
	free(c->store);
	free(c->log_file);
	free(c->log_format);
	free(c->color);
	free(c->progress);
	free(c->fetch_proxy);
	*c = (struct config){ 0 };
}

int config_load(const char *root, struct config *ret, struct err *e)
{
	_cleanup_close_ int root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root_fd < 0)
		return 0; /* whoever needs the root says so */
	return ini_load_at(root_fd, CONFIG_PATH, true, config_keys, ARRAY_LEN(config_keys), ret, e);
}
