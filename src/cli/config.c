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
	{ "lxc", "pct", ini_take_string, C(lxc.pct), "a program" },
	{ "lxc", "incus", ini_take_string, C(lxc.incus), "a program" },
	{ "lxc", "lxcpath", ini_take_string, C(lxc.lxcpath), "a directory" },
	{ "lxc", "cache-dir", ini_take_string, C(lxc.cache_dir), "a directory" },
	{ "lxc", "repo-key", ini_take_string, C(lxc.repo_key), "a fingerprint" },
	{ "lxc", "style", ini_take_string, C(lxc.style), "include or inline" },
	{ "lxc", "container-tmp", ini_take_string, C(lxc.container_tmp), "a directory" },
	{ "lxc", "start-timeout", ini_take_duration, C(lxc.start_timeout_s), "a time such as 60 or 2m" },
	{ "lxc", "exec-wait", ini_take_duration, C(lxc.exec_wait_s), "a time such as 60 or 2m" },
	{ "lxc", "exec-timeout", ini_take_duration, C(lxc.exec_timeout_s), "a time such as 60 or 2m" },
	{ "lxc", "node-wait", ini_take_duration, C(lxc.node_wait_s), "a time such as 60 or 2m" },
	{ "lxc", "node-poll-ms", ini_take_unsigned, C(lxc.node_poll_ms), "milliseconds" },
	{ "lxc", "lock-wait", ini_take_duration, C(lxc.lock_wait_s), "a time such as 60 or 2m" },
	{ "lxc", "file-lock-wait", ini_take_duration, C(lxc.file_lock_wait_s), "a time such as 10" },
	{ "lxc", "install-timeout", ini_take_duration, C(lxc.install_timeout_s), "a time such as 15m" },
	{ "lxc", "toolkit-timeout", ini_take_duration, C(lxc.toolkit_timeout_s), "a time such as 1h" },
	{ "lxc", "smi-timeout", ini_take_duration, C(lxc.smi_timeout_s), "a time such as 30" },
	{ "lxc", "attempts", ini_take_unsigned, C(lxc.attempts), "a number" },
	{ "lxc", "pause", ini_take_duration, C(lxc.pause_s), "a time such as 5" },
	{ "container", "grace", ini_take_duration, C(container.grace_s), "a time such as 90 or 5m" },
	{ "container", "fabric-wait", ini_take_duration, C(container.fabric_wait_s),
	  "a time such as 90 or 5m" },
	{ "container", "module-sets", ini_take_unsigned, C(container.module_sets), "a number" },
	{ "container", "detach", ini_take_bool, C(container.detach), "yes or no" },
	{ "container", "drm", ini_take_bool, C(container.drm), "yes or no" },
	{ "container", "install-packages", ini_take_bool, C(container.install_packages), "yes or no" },
	{ "container", "device-nodes", ini_take_bool, C(container.device_nodes), "yes or no" },
	{ "container", "iommu-identity", ini_take_bool, C(container.iommu_identity), "yes or no" },
};

void config_done(struct config *c)
{
	free(c->store);
	free(c->log_file);
	free(c->log_format);
	free(c->color);
	free(c->progress);
	free(c->fetch_proxy);
	lxc_settings_done(&c->lxc);
	*c = (struct config){ 0 };
}

int config_load(const char *root, struct config *ret, struct err *e)
{
	_cleanup_close_ int root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root_fd < 0)
		return 0; /* whoever needs the root says so */
	return ini_load_at(root_fd, CONFIG_PATH, true, config_keys, ARRAY_LEN(config_keys), ret, e);
}
