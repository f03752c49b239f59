/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "container-rhel.h"
#include "strbuf.h"

static void resolves_the_version(void **state _unused_)
{
	static const struct {
		const char *user, *release;
		const char *id, *like, *version_id, *rhel_version; /* id NULL: no os-release */
		const char *want;
		enum rhel_origin origin;
	} rows[] = {
		{ NULL, "5.14.0-284.11.1.el9_2.x86_64", NULL, NULL, NULL, NULL, "9.2",
		  RHEL_FROM_KERNEL_MINOR },
		{ NULL, "4.18.0-513.9.1.el8_9", NULL, NULL, NULL, NULL, "8.9", RHEL_FROM_KERNEL_MINOR },
		{ NULL, "5.14.0-570.19.1.el9_6.aarch64+64k", NULL, NULL, NULL, NULL, "9.6",
		  RHEL_FROM_KERNEL_MINOR },
		{ NULL, "6.12.0-55.9.1.el10_0.x86_64", NULL, NULL, NULL, NULL, "10.0",
		  RHEL_FROM_KERNEL_MINOR },
		{ NULL, "4.18.0-553.rt7.342.el8_10.x86_64", NULL, NULL, NULL, NULL, "8.10",
		  RHEL_FROM_KERNEL_MINOR },
		/* the last tag counts */
		{ NULL, "5.14.0-1.el8_4.el9_3.x86_64", NULL, NULL, NULL, NULL, "9.3",
		  RHEL_FROM_KERNEL_MINOR },
		/* the user wins over the kernel, the kernel over the node */
		{ "9.4", "5.14.0-284.11.1.el9_2.x86_64", "rhel", NULL, "9.6", NULL, "9.4", RHEL_FROM_USER },
		{ "", "5.14.0-284.11.1.el9_2.x86_64", "rhel", NULL, "9.6", NULL, "9.2",
		  RHEL_FROM_KERNEL_MINOR },
		{ "nine", "5.14.0-284.11.1.el9_2.x86_64", NULL, NULL, NULL, NULL, "9.2",
		  RHEL_FROM_KERNEL_MINOR },
		{ "9", "5.14.0-284.11.1.el9_2.x86_64", NULL, NULL, NULL, NULL, "9", RHEL_FROM_USER },
		/* Stream: neither kernel nor node has a minor number */
		{ NULL, "5.14.0-427.el9.x86_64", "centos", "rhel fedora", "9", NULL, "9", RHEL_FROM_NODE },
		{ NULL, "5.14.0-427.el9.x86_64", NULL, NULL, NULL, NULL, "9", RHEL_FROM_KERNEL_MAJOR },
		/* UEK: the node knows the minor number */
		{ NULL, "5.15.0-200.131.27.el9uek.x86_64", "ol", "fedora", "9.3", NULL, "9.3",
		  RHEL_FROM_NODE },
		{ NULL, "5.15.0-200.131.27.el9uek.x86_64", NULL, NULL, NULL, NULL, "9",
		  RHEL_FROM_KERNEL_MAJOR },
		/* CoreOS counts for itself */
		{ NULL, "5.14.0-284.el9.x86_64", "rhcos", "rhel fedora", "4.14", "9.2", "9.2",
		  RHEL_FROM_NODE },
		/* a clone, and a kernel of nobody's */
		{ NULL, "6.8.1-1.el9.elrepo.x86_64", "rocky", "rhel centos fedora", "9.4", NULL, "9.4",
		  RHEL_FROM_NODE },
		{ NULL, "6.6.1", "almalinux", "rhel centos fedora", "9.4", NULL, "9.4", RHEL_FROM_NODE },
		/* a node of another family or major version says nothing about this kernel */
		{ NULL, "5.14.0-427.el9.x86_64", "ubuntu", "debian", "22.04", NULL, "9",
		  RHEL_FROM_KERNEL_MAJOR },
		{ NULL, "5.14.0-427.el9.x86_64", "rhel", NULL, "8.6", NULL, "9", RHEL_FROM_KERNEL_MAJOR },
		{ NULL, "6.1.0-77-amd64", NULL, NULL, NULL, NULL, "", RHEL_UNKNOWN },
		{ NULL, "5.14.0-pixel9_2.x86_64", NULL, NULL, NULL, NULL, "", RHEL_UNKNOWN },
		{ NULL, "5.14.0-1.el99999999_2.x86_64", NULL, NULL, NULL, NULL, "", RHEL_UNKNOWN },
		{ NULL, NULL, NULL, NULL, NULL, NULL, "", RHEL_UNKNOWN },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct os_release node = { .id = (char *)rows[i].id,
					   .id_like = (char *)rows[i].like,
					   .version_id = (char *)rows[i].version_id,
					   .rhel_version = (char *)rows[i].rhel_version };
		struct rhel_facts f = { rows[i].user, rows[i].release, rows[i].id ? &node : NULL };
		struct rhel_version v;

		rhel_version_resolve(&f, &v);
		if (strcmp(v.text, rows[i].want) != 0 || v.origin != rows[i].origin)
			fail_msg("row %zu (%s): %s from %s", i, rows[i].release, v.text,
				 rhel_origin_text(v.origin));
		assert_int_equal(v.major, (unsigned)atoi(v.text));
		assert_int_equal(v.minor, strchr(v.text, '.') ? atoi(strchr(v.text, '.') + 1) : -1);
	}
}

static void reads_what_the_operator_mounts(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(host_freep) struct host *container = NULL, *node = NULL;
	_cleanup_(os_release_done) struct os_release o = { 0 }, second = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	char node_path[300];

	testdir_make(&t);
	testdir_puts(&t, "etc/os-release", "ID=rhel\nVERSION_ID=\"9.0\"\n");
	testdir_puts(&t, "node/etc/os-release", "ID=rocky\nVERSION_ID=\"9.4\"\n");
	(void)snprintf(node_path, sizeof(node_path), "%s/node", t.path);
	assert_ok(host_open(t.path, &container, &e), &e);
	assert_ok(host_open(node_path, &node, &e), &e);
	/* never the container's own */
	assert_int_equal(rhel_node_os_release(container, NULL, &o), -ENOENT);
	assert_int_equal(rhel_node_os_release(container, node, &o), 0);
	assert_string_equal(o.version_id, "9.4");
	testdir_puts(&t, "host-etc/os-release", "ID=rhcos\nVERSION_ID=4.14\nRHEL_VERSION=9.2\n");
	assert_int_equal(rhel_node_os_release(container, node, &second), 0);
	assert_string_equal(second.rhel_version, "9.2");
}

static char *joined(char *const *v)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(4096);
	char *text = NULL;

	(void)strbuf_puts(&b, "");
	for (; v && *v; v++)
		(void)strbuf_printf(&b, "%s%s", b.len ? " " : "", *v);
	assert_int_equal(strbuf_steal(&b, &text), 0);
	return text ? text : strdup("");
}

static void orders_release_versions(void **state _unused_)
{
	static const struct {
		const char *user, *release, *want;
	} rows[] = {
		{ NULL, "5.14.0-284.11.1.el9_2.x86_64", "9.2 9" },
		{ "9.2", "5.14.0-284.11.1.el9_2.x86_64", "9.2 9" },
		{ "9.1-site", "5.14.0-284.11.1.el9_2.x86_64", "9.1-site 9.2 9" },
		{ "9", "5.14.0-284.11.1.el9_2.x86_64", "9 9.2" },
		{ NULL, "5.14.0-427.el9.x86_64", "9" },
		{ NULL, "6.6.1", "" },
		{ "rawhide", "6.6.1", "rawhide" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_strv_ char **v = NULL;
		_cleanup_free_ char *text = NULL;
		struct rhel_facts f = { .release = rows[i].release };
		struct rhel_version version;

		rhel_version_resolve(&f, &version);
		assert_int_equal(rhel_releasevers(rows[i].user, &version, &v), 0);
		text = joined(v);
		assert_string_equal(text, rows[i].want);
	}
}

static void enables_only_what_is_defined(void **state _unused_)
{
	static const char *const rhel[] = { "rhel-9-for-x86_64-baseos-eus-rpms",
					    "rhel-9-for-x86_64-appstream-eus-rpms",
					    "rhocp-4.14-for-rhel-9-x86_64-rpms", "epel", NULL };
	static const char *const clone[] = { "baseos", "appstream", NULL };
	static const struct {
		const char *release, *arch, *openshift;
		const char *const *defined;
		const char *want;
	} rows[] = {
		{ "5.14.0-284.11.1.el9_2.x86_64", "x86_64", NULL, rhel,
		  "rhel-9-for-x86_64-baseos-eus-rpms rhel-9-for-x86_64-appstream-eus-rpms" },
		{ "5.14.0-284.11.1.el9_2.x86_64", "x86_64", "4.14", rhel,
		  "rhocp-4.14-for-rhel-9-x86_64-rpms rhel-9-for-x86_64-baseos-eus-rpms "
		  "rhel-9-for-x86_64-appstream-eus-rpms" },
		{ "5.14.0-284.11.1.el9_2.x86_64", "x86_64", "4.15", clone, "" },
		{ "4.18.0-513.9.1.el8_9.x86_64", "x86_64", NULL, rhel, "" },
		{ "5.14.0-284.11.1.el9_2.aarch64", "aarch64", NULL, rhel, "" },
		{ "6.6.1", "x86_64", "4.14", rhel, "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_strv_ char **v = NULL;
		_cleanup_free_ char *text = NULL;
		struct rhel_facts f = { .release = rows[i].release };
		struct rhel_version version;

		rhel_version_resolve(&f, &version);
		assert_int_equal(rhel_extra_repositories(&version, rows[i].arch, rows[i].openshift,
							 (char *const *)rows[i].defined, &v),
				 0);
		text = joined(v);
		assert_string_equal(text, rows[i].want);
	}
}

TEST_MAIN(cmocka_unit_test(resolves_the_version), cmocka_unit_test(reads_what_the_operator_mounts),
	  cmocka_unit_test(orders_release_versions), cmocka_unit_test(enables_only_what_is_defined))
