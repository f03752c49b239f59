/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "container.h"
#include "strbuf.h"

static void reads_the_image_and_the_operator(void **state _unused_)
{
	static const char *const environment[] = { "PATH=/usr/bin",
						   "DRIVER_VERSION=535.183.06",
						   "DRIVER_VERSION_X=no",
						   "TARGETARCH=amd64",
						   "DRIVER_TYPE=vgpu",
						   "VGPU_LICENSE_SERVER_TYPE=NLS",
						   "DISABLE_VGPU_VERSION_CHECK=false",
						   "GPU_DIRECT_RDMA_ENABLED=true",
						   "USE_HOST_MOFED=True",
						   "DRIVER_CONFIG_DIGEST=",
						   "NVFM_CONFIG_FABRIC_MODE=1",
						   "NVFM_CONFIG_=empty",
						   NULL };
	_cleanup_(container_env_done) struct container_env env = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;

	assert_ok(container_env_read((char *const *)environment, &env, &e), &e);
	assert_string_equal(env.driver_version, "535.183.06");
	assert_string_equal(env.arch, "x86_64");
	assert_int_equal(env.driver_branch, 535);
	assert_true(env.vgpu && env.license_nls && env.vgpu_version_check && env.rdma_wanted);
	assert_false(env.use_host_mofed || env.gds || env.rhcos_image_missing);
	assert_null(env.config_digest);
	assert_int_equal(strv_len(env.fabric_config), 2);
	assert_string_equal(env.fabric_config[0], "FABRIC_MODE=1");
	assert_ok(container_env_require_driver(&env, &e), &e);
}

static void chooses_the_module_type(void **state _unused_)
{
	static const struct {
		const char *new_switch, *old_switch;
		int type; /* -1 = refused */
	} cases[] = {
		{ NULL, NULL, MODULE_TYPE_AUTO },
		{ "KERNEL_MODULE_TYPE=", "OPEN_KERNEL_MODULES_ENABLED=", MODULE_TYPE_AUTO },
		{ NULL, "OPEN_KERNEL_MODULES_ENABLED=true", MODULE_TYPE_OPEN },
		{ NULL, "OPEN_KERNEL_MODULES_ENABLED=false", MODULE_TYPE_PROPRIETARY },
		{ NULL, "OPEN_KERNEL_MODULES_ENABLED=TRUE", MODULE_TYPE_PROPRIETARY },
		{ "KERNEL_MODULE_TYPE=auto", "OPEN_KERNEL_MODULES_ENABLED=true", MODULE_TYPE_AUTO },
		{ "KERNEL_MODULE_TYPE=proprietary", "OPEN_KERNEL_MODULES_ENABLED=true",
		  MODULE_TYPE_PROPRIETARY },
		{ "KERNEL_MODULE_TYPE=open", NULL, MODULE_TYPE_OPEN },
		{ "KERNEL_MODULE_TYPE=Open", NULL, -1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *environment[3] = { NULL };
		size_t n = 0;
		_cleanup_(container_env_done) struct container_env env = { 0 };
		_cleanup_(err_done) struct err e = ERR_INIT;
		int r;

		if (cases[i].new_switch)
			environment[n++] = cases[i].new_switch;
		if (cases[i].old_switch)
			environment[n++] = cases[i].old_switch;
		r = container_env_read((char *const *)environment, &env, &e);
		if (cases[i].type < 0)
			assert_int_equal(r, -ERR_CONFIG);
		else
			assert_int_equal(env.module_type, cases[i].type);
	}
}

static void says_what_is_missing(void **state _unused_)
{
	static const char *const none[] = { NULL }, *const half[] = { "DRIVER_VERSION=550.54.15", NULL };
	static const char *const bad[] = { "DRIVER_BRANCH=R550", NULL };
	_cleanup_(container_env_done) struct container_env env = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;

	assert_ok(container_env_read((char *const *)none, &env, &e), &e);
	assert_int_equal(container_env_require_driver(&env, &e), -ERR_CONFIG);
	assert_non_null(strstr(e.reason, "DRIVER_VERSION"));
	container_env_done(&env);
	assert_ok(container_env_read((char *const *)half, &env, NULL), &e);
	assert_int_equal(container_env_require_driver(&env, &e), -ERR_CONFIG);
	assert_non_null(strstr(e.reason, "TARGETARCH"));
	assert_int_equal(container_env_read((char *const *)bad, &env, &e), -ERR_CONFIG);
	assert_int_equal(env.driver_branch, 550);
}

/* D25, D33: limits where only the pod's template is at hand; the command line wins, then the environment, then the file. */
static void reads_the_limits(void **state _unused_)
{
	static const char *const said[] = { "NVDRIVER_GRACE=90",
					    "NVDRIVER_FABRIC_WAIT=20m",
					    "NVDRIVER_DRM=true",
					    "NVDRIVER_DEVICE_NODES=yes",
					    "NVDRIVER_MODULE_SETS=3",
					    "NVDRIVER_INSTALL_PACKAGES=true",
					    NULL };
	static const char *const bad[] = { "NVDRIVER_GRACE=soon", NULL };
	static const char *const none[] = { "NVDRIVER_MODULE_SETS=0", NULL };
	const struct container_defaults file = {
		.module_sets = 9, .grace_s = 1, .fabric_wait_s = 2, .iommu_identity = true
	};
	struct container_options o = { .fabric_wait_s = 3 };
	_cleanup_(container_env_done) struct container_env env = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;

	assert_ok(container_env_read((char *const *)said, &env, &e), &e);
	assert_int_equal(env.defaults.fabric_wait_s, 1200);
	container_options_fill(&o, &env.defaults);
	container_options_fill(&o, &file);
	assert_int_equal(o.grace_s, 90);
	assert_int_equal(o.fabric_wait_s, 3);
	assert_int_equal(o.module_sets, 3);
	assert_true(o.install_packages);
	assert_true(o.with_drm);
	assert_false(o.device_nodes); /* exactly "true", as everywhere in this environment */
	assert_true(o.iommu_identity);
	assert_false(o.detach);
	assert_int_equal(container_env_read((char *const *)bad, &env, &e), -ERR_CONFIG);
	assert_non_null(strstr(e.reason, "NVDRIVER_GRACE is \"soon\""));
	assert_int_equal(container_env_read((char *const *)none, &env, &e), -ERR_CONFIG);
}

TEST_MAIN(cmocka_unit_test(reads_the_image_and_the_operator), cmocka_unit_test(chooses_the_module_type),
	  cmocka_unit_test(says_what_is_missing), cmocka_unit_test(reads_the_limits))
