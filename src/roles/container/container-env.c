/* SPDX-License-Identifier: Apache-2.0 */
#include "container-env.h"

#include "parse.h"
#include "strbuf.h"

#include <stdlib.h>
#include <string.h>

#define FABRIC_PREFIX "NVFM_CONFIG_"
#define COUNT_MAX     10000

/* The value of NAME, or NULL when it is unset or empty. */
static const char *value_of(char *const *environment, const char *name)
{
	size_t n = strlen(name);

	for (; environment && *environment; environment++)
		if (strncmp(*environment, name, n) == 0 && (*environment)[n] == '=')
			return (*environment)[n + 1] ? *environment + n + 1 : NULL;
	return NULL;
}

static bool is_true(char *const *environment, const char *name)
{
	const char *v = value_of(environment, name);

	return v && strcmp(v, "true") == 0;
}

static int copy_of(char *const *environment, const char *name, char **ret)
{
	const char *v = value_of(environment, name);

	if (!v)
		return 0;
	*ret = strdup(v);
	return *ret ? 0 : -ENOMEM;
}

static int read_texts(char *const *environment, struct container_env *env)
{
	const struct {
		const char *name;
		char **to;
	} texts[] = {
		{ "DRIVER_VERSION", &env->driver_version },
		{ "TARGETARCH", &env->arch },
		{ "DNF_RELEASEVER", &env->releasever },
		{ "RHEL_VERSION", &env->rhel_version },
		{ "OPENSHIFT_VERSION", &env->openshift_version },
		{ "DRIVER_CONFIG_DIGEST", &env->config_digest },
		{ "NVDRIVER_BUNDLE", &env->bundle },
		{ "NVDRIVER_BUNDLE_CERT", &env->bundle_cert },
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (copy_of(environment, texts[i].name, texts[i].to) < 0)
			return -ENOMEM;
	return 0;
}

static void read_switches(char *const *environment, struct container_env *env)
{
	const char *type = value_of(environment, "DRIVER_TYPE");
	const char *license = value_of(environment, "VGPU_LICENSE_SERVER_TYPE");
	const char *preempt_rt = value_of(environment, "IGNORE_PREEMPT_RT_PRESENCE");

	env->vgpu = type && strcmp(type, "vgpu") == 0;
	env->license_nls = license && strcmp(license, "NLS") == 0;
	env->vgpu_version_check = !is_true(environment, "DISABLE_VGPU_VERSION_CHECK");
	env->use_host_mofed = is_true(environment, "USE_HOST_MOFED");
	env->rdma_wanted = is_true(environment, "GPU_DIRECT_RDMA_ENABLED");
	env->gds = is_true(environment, "GDS_ENABLED");
	env->gdrcopy = is_true(environment, "GDRCOPY_ENABLED");
	env->ignore_preempt_rt = preempt_rt && strcmp(preempt_rt, "1") == 0;
	env->rhcos_image_missing = is_true(environment, "RHCOS_IMAGE_MISSING");
}

static int read_module_type(char *const *environment, struct container_env *env, struct err *e)
{
	static const struct {
		const char *word;
		enum module_type type;
	} types[] = { { "auto", MODULE_TYPE_AUTO },
		      { "open", MODULE_TYPE_OPEN },
		      { "proprietary", MODULE_TYPE_PROPRIETARY } };
	const char *word = value_of(environment, "KERNEL_MODULE_TYPE");

	if (!word) {
		if (value_of(environment, "OPEN_KERNEL_MODULES_ENABLED"))
			env->module_type = is_true(environment, "OPEN_KERNEL_MODULES_ENABLED")
					       ? MODULE_TYPE_OPEN
					       : MODULE_TYPE_PROPRIETARY;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (strcmp(word, types[i].word) == 0) {
			env->module_type = types[i].type;
			return 0;
		}
	return err_set(e, ERR_CONFIG, "KERNEL_MODULE_TYPE is \"%s\"; it must be auto, open or proprietary",
		       word);
}

static int read_branch(char *const *environment, struct container_env *env, struct err *e)
{
	const char *set = value_of(environment, "DRIVER_BRANCH");
	const char *text = set ? set : env->driver_version;
	uint64_t branch = 0;

	if (!text)
		return 0;
	if (parse_u64((struct span){ text, strcspn(text, ".") }, 99999, &branch) < 0 && set)
		return err_set(e, ERR_CONFIG, "DRIVER_BRANCH is \"%s\"; it must be a number", set);
	env->driver_branch = (unsigned)branch;
	return 0;
}

/* Times as everywhere: 90, 90s, 5m, 2h. */
static int read_time(char *const *environment, const char *name, unsigned *ret, struct err *e)
{
	const char *v = value_of(environment, name);

	if (!v || parse_duration(SPAN(v), ret) == 0)
		return 0;
	return err_set(e, ERR_CONFIG, "%s is \"%s\"; it must be a time such as 90 or 5m", name, v);
}

static int read_count(char *const *environment, const char *name, unsigned *ret, struct err *e)
{
	const char *v = value_of(environment, name);
	uint64_t n;

	if (!v)
		return 0;
	if (parse_u64(SPAN(v), COUNT_MAX, &n) < 0 || n == 0)
		return err_set(e, ERR_CONFIG, "%s is \"%s\"; it must be a number from 1 to %u", name, v,
			       COUNT_MAX);
	*ret = (unsigned)n;
	return 0;
}

static int read_defaults(char *const *environment, struct container_defaults *d, struct err *e)
{
	int r = read_time(environment, "NVDRIVER_GRACE", &d->grace_s, e);

	d->detach = is_true(environment, "NVDRIVER_DETACH");
	d->drm = is_true(environment, "NVDRIVER_DRM");
	d->device_nodes = is_true(environment, "NVDRIVER_DEVICE_NODES");
	d->install_packages = is_true(environment, "NVDRIVER_INSTALL_PACKAGES");
	d->iommu_identity = is_true(environment, "NVDRIVER_IOMMU_IDENTITY");
	if (r == 0)
		r = read_count(environment, "NVDRIVER_MODULE_SETS", &d->module_sets, e);
	return r < 0 ? r : read_time(environment, "NVDRIVER_FABRIC_WAIT", &d->fabric_wait_s, e);
}

static int read_fabric(char *const *environment, struct container_env *env)
{
	for (; environment && *environment; environment++)
		if (strncmp(*environment, FABRIC_PREFIX, strlen(FABRIC_PREFIX)) == 0 &&
		    strv_push(&env->fabric_config, *environment + strlen(FABRIC_PREFIX)) < 0)
			return -ENOMEM;
	return 0;
}

/* The operator's words for the two machines; anything else is used as it is. */
static int rename_arch(struct container_env *env)
{
	const char *kernel_name = !env->arch			    ? NULL
				  : strcmp(env->arch, "amd64") == 0 ? "x86_64"
				  : strcmp(env->arch, "arm64") == 0 ? "aarch64"
								    : NULL;

	if (!kernel_name)
		return 0;
	free(env->arch);
	env->arch = strdup(kernel_name);
	return env->arch ? 0 : -ENOMEM;
}

int container_env_read(char *const *environment, struct container_env *ret, struct err *e)
{
	_cleanup_(container_env_done) struct container_env env = { 0 };
	int r;

	if (read_texts(environment, &env) < 0 || rename_arch(&env) < 0 || read_fabric(environment, &env) < 0)
		return err_oom(e);
	read_switches(environment, &env);
	r = read_module_type(environment, &env, e);
	if (r == 0)
		r = read_branch(environment, &env, e);
	if (r == 0)
		r = read_defaults(environment, &env.defaults, e);
	if (r < 0)
		return r;
	*ret = env;
	env = (struct container_env){ 0 };
	return 0;
}

void container_env_done(struct container_env *env)
{
	free(env->driver_version);
	free(env->arch);
	free(env->releasever);
	free(env->rhel_version);
	free(env->openshift_version);
	free(env->config_digest);
	free(env->bundle);
	free(env->bundle_cert);
	strv_freep(&env->fabric_config);
	*env = (struct container_env){ 0 };
}

int container_env_require_driver(const struct container_env *env, struct err *e)
{
	if (!env->driver_version || !env->arch)
		return err_set(e, ERR_CONFIG, "%s is not set in the container's environment",
			       env->driver_version ? "TARGETARCH" : "DRIVER_VERSION");
	return 0;
}
