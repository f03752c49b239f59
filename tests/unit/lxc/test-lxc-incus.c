/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "jutil.h"
#include "lxc-incus.h"
#include "strbuf.h"

#include <stdlib.h>

static char *with_root(const struct host *h, const char *absolute)
{
	(void)h;
	return str_printf("/fixture%s", absolute);
}

static json_t *parsed(const char *text)
{
	json_t *o = NULL;

	assert_int_equal(jparse(SPAN(text), &o, NULL), 0);
	return o;
}

static void test_names(void **state)
{
	static const struct {
		const char *name;
		bool valid;
	} rows[] = {
		{ "c1", true },	      { "a-b", true },	       { "", false },
		{ "-x", false },      { "1a", false },	       { "r:c1", false },
		{ "c1/file", false }, { "c1 --force", false }, { "a.b", false },
	};
	_cleanup_json_ json_t *all =
	    parsed("[{\"name\":\"b\",\"type\":\"container\"},{\"name\":\"a\"},"
		   "{\"name\":\"vm\",\"type\":\"virtual-machine\"},{\"name\":\"x:y\"},{}]");
	_cleanup_strv_ char **names = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(incus_name_is_valid(rows[i].name), rows[i].valid);
	assert_int_equal(incus_names(all, &names), 0);
	assert_int_equal(strv_len(names), 2);
	assert_string_equal(names[0], "a");
	assert_string_equal(names[1], "b");
}

/* As LXD 5.0 answers, shortened. */
static const char instance[] =
    "{\"name\":\"c1\",\"status\":\"Running\",\"type\":\"container\","
    "\"config\":{\"security.privileged\":\"true\"},"
    "\"expanded_config\":{\"security.privileged\":\"true\",\"nvidia.runtime\":\"true\"},"
    "\"devices\":{\"nvd-nvidia0\":{\"type\":\"unix-char\",\"source\":\"/dev/nvidia0\",\"path\":\"/dev/"
    "nvidia0\",\"mode\":"
    "\"0666\"},"
    "\"nvd-driver\":{\"type\":\"disk\",\"source\":\"/run/live\",\"path\":\"/usr/lib/nvdriver\"},"
    "\"data\":{\"type\":\"disk\",\"source\":\"/srv\",\"path\":\"/srv\"}},"
    "\"expanded_devices\":{\"nvd-nvidia0\":{\"type\":\"unix-char\",\"source\":\"/dev/nvidia0\",\"path\":\"/"
    "dev/"
    "nvidia0\",\"mode\":\"0666\"},"
    "\"nvd-driver\":{\"type\":\"disk\",\"source\":\"/run/live\",\"path\":\"/usr/lib/nvdriver\"},"
    "\"ctl\":{\"type\":\"unix-char\",\"path\":\"/dev/nvidiactl\"},"
    "\"root\":{\"type\":\"disk\",\"path\":\"/\",\"pool\":\"default\"}}}";

/* The daemon gives a gpu the nodes of its cards, and all of the driver's that belong to none. */
static void test_gpus(void **state)
{
	static const struct lxc_gpu gpus[] = { { 0, "0000:01:00.0", NULL, NULL },
					       { 3, "0000:0a:00.0", NULL, NULL } };
	static const struct {
		const char *line;
		size_t n;
		const char *first, *last;
	} rows[] = {
		{ "gpu = *,mode=0666", 6, "dev = /fixture/dev/nvidia0,mode=0666",
		  "dev = /fixture/dev/nvidia-modeset,mode=0666" },
		{ "gpu = 0000:0A:00.0,mode=0660", 5, "dev = /fixture/dev/nvidia3,mode=0660",
		  "dev = /fixture/dev/nvidia-modeset,mode=0660" },
		{ "gpu = 0000:0b:00.0,mode=0660", 4, "dev = /fixture/dev/nvidiactl,mode=0660",
		  "dev = /fixture/dev/nvidia-modeset,mode=0660" },
		{ "dev = /dev/x,mode=0666", 1, "dev = /dev/x,mode=0666", "dev = /dev/x,mode=0666" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_strv_ char **lines = NULL;

		assert_int_equal(strv_push(&lines, rows[i].line), 0);
		assert_int_equal(incus_gpus_expand(&lines, gpus, 2, with_root, NULL), 0);
		assert_int_equal(strv_len(lines), rows[i].n);
		assert_string_equal(lines[0], rows[i].first);
		assert_string_equal(lines[rows[i].n - 1], rows[i].last);
	}
}

static void test_facts(void **state)
{
	_cleanup_json_ json_t *o = parsed(instance), *empty = parsed("{}"),
			      *odd = parsed("{\"name\":\"x\",\"devices\":[1]}");
	_cleanup_(lxc_facts_done) struct lxc_facts f = { 0 }, g = { 0 };

	(void)state;
	assert_int_equal(incus_facts(o, with_root, NULL, &f), 0);
	assert_string_equal(f.name, "c1");
	assert_int_equal(f.state, LXC_RUNNING);
	assert_false(f.unprivileged);
	assert_true(f.has_own_driver);
	assert_int_equal(strv_len(f.lines), 3);
	assert_true(strv_contains(f.lines, "dev = /fixture/dev/nvidia0,mode=0666"));
	assert_true(strv_contains(f.lines, "dev = /fixture/dev/nvidiactl,mode=0660"));
	assert_true(strv_contains(
	    f.lines, "lxc.mount.entry = /run/live usr/lib/nvdriver none rbind,rslave,ro,create=dir 0 0"));
	assert_int_equal(incus_facts(empty, with_root, NULL, &g), -EINVAL);
	assert_int_equal(incus_facts(odd, with_root, NULL, &g), 0);
	assert_true(g.unprivileged);
	assert_int_equal(g.state, LXC_OTHER);
}

static void test_devices(void **state)
{
	static const char mount[] =
	    "lxc.mount.entry = /run/live usr/lib/nvdriver none rbind,rslave,ro,create=dir 0 0";
	static const struct {
		const char *line, *name; /* NULL = no device */
		const char *found; /* in the instance above */
		const char *args; /* joined */
	} rows[] = {
		{ "dev = /fixture/dev/nvidia0,mode=0666", "nvd-nvidia0", "nvd-nvidia0",
		  "nvd-nvidia0 unix-char source=/dev/nvidia0 path=/dev/nvidia0 mode=0666 required=false" },
		/* One of a profile is not the container's own to take away. */
		{ "dev = /fixture/dev/nvidiactl,mode=0666", "nvd-nvidiactl", NULL,
		  "nvd-nvidiactl unix-char source=/dev/nvidiactl path=/dev/nvidiactl mode=0666 "
		  "required=false" },
		{ "dev = /fixture/dev/nvidia-caps/nvidia-cap1,mode=0666", "nvd-nvidia-caps-nvidia-cap1", NULL,
		  "nvd-nvidia-caps-nvidia-cap1 unix-char source=/dev/nvidia-caps/nvidia-cap1 "
		  "path=/dev/nvidia-caps/nvidia-cap1 mode=0666 required=false" },
		{ mount, "nvd-driver", "nvd-driver",
		  "nvd-driver disk source=/run/live path=/usr/lib/nvdriver recursive=true "
		  "propagation=rslave" },
		{ "lxc.mount.entry = /srv srv none bind 0 0", NULL, NULL, NULL },
		{ "lxc.cgroup2.devices.allow = c 195:0 rw", NULL, NULL, NULL },
	};
	_cleanup_json_ json_t *o = parsed(instance);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *name = incus_device_name(rows[i].line), *joined = NULL;
		const char *found = incus_device_find(o, rows[i].line, "/fixture");
		_cleanup_strv_ char **args = NULL;
		int r = incus_device_args(rows[i].line, "/fixture", &args);

		assert_int_equal(name != NULL, rows[i].name != NULL);
		if (name)
			assert_string_equal(name, rows[i].name);
		assert_int_equal(found != NULL, rows[i].found != NULL);
		if (found)
			assert_string_equal(found, rows[i].found);
		assert_int_equal(r, rows[i].args ? 0 : -EINVAL);
		for (char **p = args; p && *p; p++) {
			char *next = str_printf("%s%s%s", joined ? joined : "", joined ? " " : "", *p);

			free(joined);
			joined = next;
		}
		if (rows[i].args)
			assert_string_equal(joined, rows[i].args);
	}
}

TEST_MAIN(cmocka_unit_test(test_names), cmocka_unit_test(test_gpus), cmocka_unit_test(test_facts),
	  cmocka_unit_test(test_devices))
