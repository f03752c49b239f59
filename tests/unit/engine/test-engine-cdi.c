/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "cdi.h"
#include "jutil.h"
#include "strbuf.h"
#include "ytree.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct cdi_gpu gpus[] = { { 0, "GPU-aaaa" }, { 3, "GPU-bbbb" } };

static json_t *make(bool modeset)
{
	const struct cdi_want w = { .gpus = gpus,
				    .n_gpus = 2,
				    .modeset = modeset,
				    .tree = "/run/nvdriver/live",
				    .hook = "/usr/bin/nvdriver" };
	json_t *spec = NULL;

	assert_int_equal(cdi_spec_make(&w, &spec), 0);
	return spec;
}

/* Keys the specification's version 0.5.0 knows, by object. */
static void check_keys(const json_t *o, const char *const *known)
{
	_cleanup_(err_done) struct err e = ERR_INIT;

	assert_true(json_is_object(o));
	assert_ok(jknown(o, known, &e), &e);
}

static void check_nodes(const json_t *list)
{
	/* no major, no minor: the engine reads them from the node */
	static const char *const known[] = { "path", "permissions", NULL };
	const json_t *o;
	size_t i;

	assert_true(json_array_size(list) > 0);
	json_array_foreach (list, i, o) {
		check_keys(o, known);
		assert_int_equal(strncmp(json_string_value(json_object_get(o, "path")), "/dev/nvidia", 11),
				 0);
	}
}

static const char *text_at(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static void check_common(const json_t *c, size_t nodes)
{
	static const char *const known[] = { "env", "deviceNodes", "mounts", "hooks", NULL };
	static const char *const mount_known[] = { "hostPath", "containerPath", "options", NULL };
	static const char *const hook_known[] = { "hookName", "path", "args", NULL };
	const json_t *mount = json_array_get(json_object_get(c, "mounts"), 0);
	const json_t *hook = json_array_get(json_object_get(c, "hooks"), 0);

	check_keys(c, known);
	check_nodes(json_object_get(c, "deviceNodes"));
	assert_int_equal(json_array_size(json_object_get(c, "deviceNodes")), nodes);
	check_keys(mount, mount_known);
	check_keys(hook, hook_known);
	assert_string_equal(text_at(mount, "containerPath"), "/usr/lib/nvdriver");
	assert_string_equal(json_string_value(json_array_get(json_object_get(mount, "options"), 0)), "ro");
	assert_string_equal(text_at(hook, "hookName"), "createContainer");
	assert_string_equal(json_string_value(json_array_get(json_object_get(c, "env"), 0)),
			    "NVIDIA_VISIBLE_DEVICES=void");
}

static void test_structure(void **state)
{
	static const char *const known[] = { "cdiVersion", "kind", "devices", "containerEdits", NULL };
	static const struct {
		const char *name, *first;
		size_t nodes;
	} rows[] = {
		{ "0", "/dev/nvidia0", 1 },   { "GPU-aaaa", "/dev/nvidia0", 1 },
		{ "1", "/dev/nvidia3", 1 },   { "GPU-bbbb", "/dev/nvidia3", 1 },
		{ "all", "/dev/nvidia0", 2 },
	};

	(void)state;
	for (int modeset = 0; modeset < 2; modeset++) {
		_cleanup_json_ json_t *spec = make(modeset);
		const json_t *list = json_object_get(spec, "devices");

		check_keys(spec, known);
		assert_string_equal(text_at(spec, "cdiVersion"), "0.5.0");
		assert_string_equal(text_at(spec, "kind"), "nvidia.com/gpu");
		check_common(json_object_get(spec, "containerEdits"), modeset ? 4 : 3);
		assert_int_equal(json_array_size(list), ARRAY_LEN(rows));
		for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
			const json_t *d = json_array_get(list, i);
			const json_t *nodes =
			    json_object_get(json_object_get(d, "containerEdits"), "deviceNodes");

			assert_string_equal(text_at(d, "name"), rows[i].name);
			check_nodes(nodes);
			assert_int_equal(json_array_size(nodes), rows[i].nodes);
			assert_string_equal(text_at(json_array_get(nodes, 0), "path"), rows[i].first);
		}
	}
}

/* Every value of the JSON is in the YAML, at its place, by another reader. */
static void same(const json_t *j, struct ynode y)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	const char *key, *text = NULL;
	const json_t *child;
	size_t i, n;

	if (json_is_array(j)) {
		assert_ok(ynode_check_list(y, &n, &e), &e);
		assert_int_equal(n, json_array_size(j));
		json_array_foreach (j, i, child)
			same(child, ynode_item(y, i));
	} else if (json_is_object(j)) {
		const char *keys[16] = { NULL };

		i = 0;
		json_object_foreach ((json_t *)(uintptr_t)j, key, child)
			keys[i++] = key;
		assert_ok(ynode_check_map(y, keys, &e), &e);
		json_object_foreach ((json_t *)(uintptr_t)j, key, child)
			same(child, ynode_get(y, key));
	} else {
		assert_ok(ynode_text(y, &text, &e), &e);
		assert_non_null(text);
		assert_string_equal(text, json_string_value(j));
	}
}

static void test_yaml(void **state)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(STRBUF_TEXT_MAX);
	_cleanup_(ytree_freep) struct ytree *tree = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_json_ json_t *spec = make(true);

	(void)state;
	assert_int_equal(cdi_yaml(spec, &out), 0);
	assert_ok(ytree_parse((struct span){ out.buf, out.len }, &tree, &e), &e);
	same(spec, ytree_root(tree));
}

static void test_taken(void **state)
{
	static const struct {
		const char *text, *name;
		bool yaml;
	} rows[] = {
		{ "{\"kind\":\"nvidia.com/gpu\",\"devices\":[{\"name\":\"7\"},{\"name\":\"all\"}]}", "all",
		  false },
		{ "{\"kind\":\"nvidia.com/gpu\",\"devices\":[{\"name\":\"7\"}]}", NULL, false },
		{ "{\"kind\":\"other.com/gpu\",\"devices\":[{\"name\":\"0\"}]}", NULL, false },
		{ "not json", NULL, false },
		{ "[]", NULL, false },
		{ "cdiVersion: 0.5.0\ndevices:\n- containerEdits: {}\n  name: \"0\"\nkind: nvidia.com/gpu\n",
		  "0", true },
		{ "kind: 'nvidia.com/gpu'\ndevices:\n  - name: GPU-bbbb\n", "GPU-bbbb", true },
		{ "kind: nvidia.com/mig\ndevices:\n  - name: GPU-bbbb\n", NULL, true },
		{ "", NULL, true },
	};
	_cleanup_json_ json_t *spec = make(false);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *name = NULL;

		assert_int_equal(cdi_taken(spec, SPAN(rows[i].text), rows[i].yaml, &name),
				 rows[i].name != NULL);
		if (name)
			assert_string_equal(name, rows[i].name);
	}
}

static void test_conflicts(void **state)
{
	_cleanup_json_ json_t *spec = make(false);
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(host_freep) struct host *h = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;

	(void)state;
	testdir_make(&t);
	assert_ok(host_open(t.path, &h, &e), &e);
	assert_ok(cdi_conflicts(h, spec, CDI_OUTPUT, &e), &e);
	testdir_puts(&t, "etc/cdi/other.yaml", "kind: other.com/x\ndevices:\n- name: all\n");
	testdir_puts(&t, "etc/cdi/notes.txt", "kind: nvidia.com/gpu\nname: all\n");
	testdir_puts(&t, CDI_OUTPUT, "{\"kind\":\"nvidia.com/gpu\",\"devices\":[{\"name\":\"all\"}]}");
	assert_ok(cdi_conflicts(h, spec, CDI_OUTPUT, &e), &e); /* our own is no other */
	testdir_puts(&t, "etc/cdi/nvidia.yaml", "kind: nvidia.com/gpu\ndevices:\n- name: all\n");
	assert_true(cdi_conflicts(h, spec, CDI_OUTPUT, &e) < 0);
	assert_slug(&e, "cdi-names-taken");
	assert_non_null(strstr(e.reason, "etc/cdi/nvidia.yaml"));
}

/* -- the hook, in a root of links that lead out -- */

static int hook(const struct testdir *t, struct err *e)
{
	char text[512];

	(void)snprintf(text, sizeof(text), "{\"ociVersion\":\"1.0.2\",\"id\":\"x\",\"bundle\":\"%s/bundle\"}",
		       t->path);
	return cdi_hook_run(SPAN(text), e);
}

static void test_hook(void **state)
{
	_cleanup_free_ char *conf = NULL;
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(err_done) struct err e = ERR_INIT;

	(void)state;
	testdir_make(&t);
	testdir_puts(&t, "bundle/config.json", "{\"root\":{\"path\":\"rootfs\"}}");
	testdir_puts(&t, "bundle/rootfs/etc/ld.so.conf", "/opt/lib\n");
	testdir_puts(&t, "bundle/rootfs/usr/lib/nvdriver/current/bin/nvidia-smi", "");
	testdir_puts(&t, "bundle/rootfs/usr/bin/nvidia-debugdump", "the image's own");
	testdir_puts(&t, "outside/here", "");
	assert_int_equal(symlinkat("../../../outside", t.fd, "bundle/rootfs/etc/ld.so.conf.d"), 0);
	(void)hook(&t, &e); /* making the cache needs root */
	assert_false(testdir_has(&t, "outside/00-nvdriver.conf"));
	conf = testdir_read(&t, "bundle/rootfs/outside/00-nvdriver.conf", NULL);
	if (conf) /* the link was followed beneath the root */
		assert_string_equal(conf, "/usr/lib/nvdriver/current/lib\n/usr/lib/nvdriver/current/lib32\n");
	else
		assert_true(e.code != 0);
}

static void test_hook_plain(void **state)
{
	_cleanup_free_ char *conf = NULL, *main_conf = NULL;
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(err_done) struct err e = ERR_INIT;
	char link[256] = { 0 };

	(void)state;
	testdir_make(&t);
	testdir_puts(&t, "bundle/config.json", "{\"root\":{\"path\":\"rootfs\"}}");
	testdir_puts(&t, "bundle/rootfs/etc/ld.so.conf", "/opt/lib\n");
	testdir_puts(&t, "bundle/rootfs/usr/lib/nvdriver/current/bin/nvidia-smi", "");
	testdir_puts(&t, "bundle/rootfs/usr/lib/nvdriver/current/bin/nvidia-debugdump", "");
	testdir_puts(&t, "bundle/rootfs/usr/bin/nvidia-debugdump", "the image's own");
	(void)hook(&t, &e);
	conf = testdir_read(&t, "bundle/rootfs/etc/ld.so.conf.d/00-nvdriver.conf", NULL);
	assert_string_equal(conf, "/usr/lib/nvdriver/current/lib\n/usr/lib/nvdriver/current/lib32\n");
	main_conf = testdir_read(&t, "bundle/rootfs/etc/ld.so.conf", NULL);
	assert_string_equal(main_conf, "include /etc/ld.so.conf.d/*.conf\n/opt/lib\n");
	assert_true(readlinkat(t.fd, "bundle/rootfs/usr/bin/nvidia-smi", link, sizeof(link) - 1) > 0);
	assert_string_equal(link, "/usr/lib/nvdriver/current/bin/nvidia-smi");
	assert_true(readlinkat(t.fd, "bundle/rootfs/usr/bin/nvidia-debugdump", link, sizeof(link) - 1) < 0);
}

static void test_hook_refuses(void **state)
{
	static const char *const states[] = { "", "{}", "{\"bundle\":\"/nonexistent\"}", "{\"bundle\":5}" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(states); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;

		assert_true(cdi_hook_run(SPAN(states[i]), &e) < 0);
		assert_true(e.code != 0);
	}
}

TEST_MAIN(cmocka_unit_test(test_structure), cmocka_unit_test(test_yaml), cmocka_unit_test(test_taken),
	  cmocka_unit_test(test_conflicts), cmocka_unit_test(test_hook), cmocka_unit_test(test_hook_plain),
	  cmocka_unit_test(test_hook_refuses))
