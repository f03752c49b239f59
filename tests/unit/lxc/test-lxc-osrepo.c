/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "jutil.h"
#include "lxc-osrepo.h"
#include "testkey.h"
#include "err-lxc.h"

#include <stdlib.h>

#define VENDOR "https://developer.download.nvidia.com/compute/cuda/repos/"

static int choose(const char *id, const char *version, const char *machine, const char *url, struct osrepo *o,
		  struct err *e)
{
	struct os_release os = { .id = (char *)(uintptr_t)id, .version_id = (char *)(uintptr_t)version };

	return osrepo_choose(&os, machine, url, o, e);
}

static void test_table(void **state)
{
	static const struct {
		const char *id, *version, *machine, *tool, *url, *key;
		bool listed;
	} rows[] = {
		{ "ubuntu", "20.04", "x86_64", "apt", VENDOR "ubuntu2004/x86_64/", "3bf863cc.pub", true },
		{ "ubuntu", "24.04", "x86_64", "apt", VENDOR "ubuntu2404/x86_64/", "3bf863cc.pub", true },
		{ "ubuntu", "24.04", "aarch64", "apt", VENDOR "ubuntu2404/sbsa/", "3bf863cc.pub", true },
		{ "ubuntu", "23.10", "x86_64", "apt", VENDOR "ubuntu2310/x86_64/", "", false },
		{ "ubuntu", "22.04", "x86_64", "apt", VENDOR "ubuntu2204/x86_64/", "3bf863cc.pub", true },
		/* Published after the keys were written down: a known repository, not a known key. */
		{ "ubuntu", "26.04", "x86_64", "apt", VENDOR "ubuntu2604/x86_64/", "", true },
		{ "debian", "14", "x86_64", "apt", VENDOR "debian14/x86_64/", "", false },
		{ "debian", "11", "x86_64", "apt", VENDOR "debian11/x86_64/", "3bf863cc.pub", true },
		{ "debian", "12", "x86_64", "apt", VENDOR "debian12/x86_64/", "3bf863cc.pub", true },
		{ "debian", "13", "x86_64", "apt", VENDOR "debian13/x86_64/", "8793F200.pub", true },
		{ "rocky", "9.4", "x86_64", "dnf", VENDOR "rhel9/x86_64/", "D42D0685.pub", true },
		{ "rhel", "10.0", "x86_64", "dnf", VENDOR "rhel10/x86_64/", "D42D0685.pub", true },
		{ "centos", "8", "x86_64", "dnf", VENDOR "rhel8/x86_64/", "D42D0685.pub", true },
		{ "fedora", "42", "x86_64", "dnf", VENDOR "fedora42/x86_64/", "D42D0685.pub", true },
		{ "amzn", "2023", "x86_64", "dnf", VENDOR "amzn2023/x86_64/", "D42D0685.pub", true },
		{ "azurelinux", "3.0", "x86_64", "dnf", VENDOR "azl3/x86_64/", "D42D0685.pub", true },
		{ "sles", "15.6", "x86_64", "zypper", VENDOR "sles15/x86_64/", "D42D0685.pub", true },
		{ "opensuse-leap", "15.6", "x86_64", "zypper", VENDOR "opensuse15/x86_64/", "D42D0685.pub",
		  true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(osrepo_done) struct osrepo o = { 0 };
		_cleanup_(err_done) struct err e = ERR_INIT;

		assert_ok(choose(rows[i].id, rows[i].version, rows[i].machine, NULL, &o, &e), &e);
		assert_string_equal(osrepo_tool_name(o.tool), rows[i].tool);
		assert_string_equal(o.url, rows[i].url);
		assert_string_equal(o.key_file, rows[i].key);
		assert_int_equal(o.is_listed, rows[i].listed);
		assert_false(o.url_ignored);
	}
}

static void test_unknown_key(void **state)
{
	static const char own[] = "0123456789ABCDEF0123456789ABCDEFDEADBEEF";
	_cleanup_(osrepo_done) struct osrepo o = { 0 }, known = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;

	(void)state;
	assert_ok(choose("ubuntu", "26.04", "x86_64", NULL, &o, &e), &e);
	assert_int_equal(osrepo_key_check(&o, &e), -ERR_CUDA_KEY);
	assert_non_null(strstr(e.reason, "ubuntu2604"));
	assert_non_null(strstr(e.next, "repo-key"));
	osrepo_key_use(&o, own);
	assert_int_equal(osrepo_key_check(&o, NULL), 0);
	assert_string_equal(o.key_file, "DEADBEEF.pub");
	assert_string_equal(o.fingerprint, own);
	/* A mirror's key is served under the name of the one it replaces. */
	assert_int_equal(choose("debian", "12", "x86_64", NULL, &known, NULL), 0);
	assert_int_equal(osrepo_key_check(&known, NULL), 0);
	osrepo_key_use(&known, own);
	assert_string_equal(known.key_file, "3bf863cc.pub");
	assert_string_equal(known.fingerprint, own);
}

static void test_refused(void **state)
{
	static const struct {
		const char *id, *version;
	} rows[] = {
		{ "alpine", "3.20" }, { "void", NULL }, { NULL, "1" }, { "ubuntu", NULL }, { "debian", "sid" }
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(osrepo_done) struct osrepo o = { 0 };
		_cleanup_(err_done) struct err e = ERR_INIT;

		assert_true(choose(rows[i].id, rows[i].version, "x86_64", NULL, &o, &e) < 0);
		assert_int_equal(e.code, ERR_LXC_OS);
	}
}

/* D18: one address for all containers is right only for those it was made for. */
static void test_configured(void **state)
{
	static const struct {
		const char *id, *version, *url, *want;
		bool ignored;
	} rows[] = {
		{ "debian", "12", "http://mirror/cuda/debian12/x86_64", "http://mirror/cuda/debian12/x86_64/",
		  false },
		{ "debian", "12", "http://mirror/ubuntu2404/x86_64/", VENDOR "debian12/x86_64/", true },
		{ "debian", "12", "http://mirror/debian123/x86_64/", VENDOR "debian12/x86_64/", true },
		{ "ubuntu", "24.04", "file:///srv/ubuntu2404/", "file:///srv/ubuntu2404/", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(osrepo_done) struct osrepo o = { 0 };
		_cleanup_(err_done) struct err e = ERR_INIT;

		assert_ok(choose(rows[i].id, rows[i].version, "x86_64", rows[i].url, &o, &e), &e);
		assert_string_equal(o.url, rows[i].want);
		assert_int_equal(o.url_ignored, rows[i].ignored);
	}
}

static void test_driver_names(void **state)
{
	static const char *const driver[] = {
		"cuda-drivers",	    "cuda-drivers-570", "nvidia-driver-570-open",
		"libcuda1",	    "nvidia-smi",	"libnvidia-compute-570",
		"nvidia-open",	    "libnvidia-ml1",	"firmware-nvidia-gsp",
		"libnvidia-gl-570", "nvidia-dkms-570",	"nvidia-kernel-source"
	};
	static const char *const other[] = {
		"libnvidia-container1", "libnvidia-container-tools", "cuda-driver-dev-12-8",
		"cuda-nvml-dev-12-8",	"nvidia-container-toolkit",  "cuda-toolkit-12-8",
		"libcudart12"
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(driver); i++)
		assert_true(osrepo_is_driver_package(driver[i]));
	for (size_t i = 0; i < ARRAY_LEN(other); i++)
		assert_false(osrepo_is_driver_package(other[i]));
}

#define U    "https://mirror/debian12/x86_64/"
#define NOTE "# nvdriver: the same repository is in " U "; two entries make every apt call fail\n"

static void test_disable(void **state)
{
	static const struct {
		const char *before, *after;
		bool deb822;
	} rows[] = {
		{ "deb http://deb.debian.org/debian bookworm main\n", NULL, false },
		{ "# deb https://mirror/debian12/x86_64 /\n", NULL, false },
		{ "deb [signed-by=/k] https://mirror/debian12/x86_64 /\n",
		  NOTE "# deb [signed-by=/k] https://mirror/debian12/x86_64 /\n", false },
		{ "deb a b c\ndeb http://mirror/debian12/x86_64/ /",
		  "deb a b c\n" NOTE "# deb http://mirror/debian12/x86_64/ /", false },
		{ "deb https://mirror/debian12/x86_64/more /\n", NULL, false },
		{ "", NULL, false },
		{ "Types: deb\nURIs: https://other/\nSuites: x\n", NULL, true },
		{ "Types: deb\nURIs: https://other/\n\nTypes: deb\nURIs:\n https://x/ " U
		  "\nSuites: /\n\nTypes: deb\n",
		  "Types: deb\nURIs: https://other/\n\n" NOTE "Enabled: no\nTypes: deb\nURIs:\n https://x/ " U
		  "\nSuites: /\n\nTypes: deb\n",
		  true },
		{ "Enabled: yes\nURIs: " U "\n", NOTE "Enabled: no\nURIs: " U "\n", true },
		{ "Enabled: no\nURIs: " U "\n", NULL, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(STRBUF_TEXT_MAX);
		_cleanup_(strbuf_done) struct strbuf again = STRBUF_INIT(STRBUF_TEXT_MAX);
		bool changed = true;

		assert_int_equal(osrepo_apt_disable(SPAN(rows[i].before), rows[i].deb822, U, &out, &changed),
				 0);
		assert_string_equal(strbuf_str(&out), rows[i].after ? rows[i].after : rows[i].before);
		assert_int_equal(changed, rows[i].after != NULL);
		/* What was done once is not done again. */
		assert_int_equal(
		    osrepo_apt_disable(SPAN(strbuf_str(&out)), rows[i].deb822, U, &again, &changed), 0);
		assert_false(changed);
		assert_string_equal(strbuf_str(&out), strbuf_str(&again));
	}
}

static void test_locks(void **state)
{
	static const char mine[] = "\ntype: package\nmatch_type: glob\nsolvable_name: mine";
	_cleanup_(strbuf_done) struct strbuf once = STRBUF_INIT(STRBUF_TEXT_MAX);
	_cleanup_(strbuf_done) struct strbuf twice = STRBUF_INIT(STRBUF_TEXT_MAX);

	(void)state;
	assert_int_equal(osrepo_zypp_locks(SPAN(mine), &once), 0);
	assert_memory_equal(strbuf_str(&once), mine, strlen(mine));
	assert_non_null(strstr(strbuf_str(&once), "solvable_name: cuda-drivers*\n"));
	assert_int_equal(osrepo_zypp_locks(SPAN(strbuf_str(&once)), &twice), 0);
	assert_string_equal(strbuf_str(&once), strbuf_str(&twice));
}

/* -- a container's files -- */

static void path_of(const struct testdir *t, const json_t *entry)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	const char *path;
	size_t len;

	assert_int_equal(jget_str(entry, "path", &path, NULL), 0);
	assert_int_equal(jget_bytes(entry, "bytes_base64", &bytes, &len, NULL), 0);
	testdir_write(t, path, bytes, len, 0644);
}

static void apply(const struct testdir *t, const json_t *entries)
{
	const json_t *o;
	size_t i;

	json_array_foreach (entries, i, o)
		path_of(t, o);
}

static json_t *entries_of(const struct testdir *t, const struct osrepo *o, const char *key, char ***notes,
			  struct err *e)
{
	json_t *entries = json_array();

	assert_ok(osrepo_entries(t->fd, o, key ? SPAN(key) : SPAN_NULL, true, entries, notes, e), e);
	return entries;
}

#define FOREIGN "deb [signed-by=/usr/share/keyrings/other.gpg] http://mirror/debian12/x86_64 /\n"

static void test_apt_files(void **state)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(osrepo_done) struct osrepo o = { 0 };
	_cleanup_json_ json_t *first = NULL, *second = NULL, *third = NULL;
	_cleanup_strv_ char **notes = NULL, **none = NULL;
	_cleanup_free_ char *list = NULL, *pin = NULL, *main_list = NULL;

	(void)state;
	testdir_make(&t);
	testdir_puts(&t, "etc/apt/sources.list", "deb http://deb.debian.org/debian bookworm main\n");
	testdir_puts(&t, "etc/apt/sources.list.d/cuda.list", FOREIGN);
	assert_ok(choose("debian", "12", "x86_64", "https://mirror/debian12/x86_64/", &o, &e), &e);
	o.fingerprint = TESTKEY_FINGERPRINT;
	assert_false(osrepo_has_key(t.fd, &o));
	first = entries_of(&t, &o, TESTKEY, &notes, &e);
	assert_int_equal(json_array_size(first), 6); /* key, list, two pins, the foreign list, the profile */
	assert_int_equal(strv_len(notes), 1);
	apply(&t, first);
	assert_true(osrepo_has_key(t.fd, &o));
	list = testdir_read(&t, "etc/apt/sources.list.d/cuda-debian12-x86_64.list", NULL);
	assert_string_equal(list, "deb [signed-by=/usr/share/keyrings/cuda-archive-keyring.gpg] "
				  "https://mirror/debian12/x86_64/ /\n");
	pin = testdir_read(&t, OSREPO_APT_PIN, NULL);
	assert_non_null(strstr(pin, "\nPin: release *\nPin-Priority: -1\n"));
	assert_non_null(strstr(pin, " libcuda1 "));
	main_list = testdir_read(&t, "etc/apt/sources.list", NULL);
	assert_string_equal(main_list, "deb http://deb.debian.org/debian bookworm main\n");

	/* Configured: nothing to do, and no key is needed to see that. */
	second = entries_of(&t, &o, NULL, &none, &e);
	assert_int_equal(json_array_size(second), 0);
	assert_null(none);

	/* A pin somebody weakened is drift. */
	testdir_puts(&t, OSREPO_APT_PIN, "Package: *\nPin: release *\nPin-Priority: 900\n");
	third = entries_of(&t, &o, NULL, NULL, &e);
	assert_int_equal(json_array_size(third), 1);
}

static void test_wrong_key(void **state)
{
	static const char *const wrong[] = { TESTKEY, "<html>not found</html>", NULL };
	_cleanup_(testdir_done) struct testdir t;

	(void)state;
	testdir_make(&t);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		_cleanup_json_ json_t *entries = json_array();
		_cleanup_(err_done) struct err e = ERR_INIT;
		_cleanup_(osrepo_done) struct osrepo o = { 0 };

		assert_ok(choose("debian", "12", "x86_64", NULL, &o, &e), &e);
		assert_true(osrepo_entries(t.fd, &o, wrong[i] ? SPAN(wrong[i]) : SPAN_NULL, true, entries,
					   NULL, &e) < 0);
		assert_slug(&e, "cuda-key-mismatch");
		assert_int_equal(json_array_size(entries), 0);
	}
}

static void test_rpm_files(void **state)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	static const char *const ids[] = { "rocky", "sles" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		_cleanup_(testdir_done) struct testdir t;
		_cleanup_(osrepo_done) struct osrepo o = { 0 };
		_cleanup_json_ json_t *first = NULL, *second = NULL;
		_cleanup_free_ char *path = NULL, *text = NULL, *locks = NULL, *armoured = NULL;

		testdir_make(&t);
		assert_ok(choose(ids[i], i ? "15.6" : "9.4", "x86_64", NULL, &o, &e), &e);
		o.fingerprint = TESTKEY_FINGERPRINT;
		first = entries_of(&t, &o, TESTKEY, NULL, &e);
		apply(&t, first);
		path = osrepo_list_path(&o);
		text = testdir_read(&t, path, NULL);
		assert_non_null(strstr(text, "\ngpgcheck=1\n"));
		assert_int_equal(strstr(text, "excludepkgs=cuda-drivers*,nvidia-driver*") != NULL, i == 0);
		armoured = testdir_read(&t, OSREPO_RPM_KEY, NULL);
		assert_string_equal(armoured, TESTKEY);
		locks = testdir_read(&t, OSREPO_ZYPP_LOCKS, NULL);
		assert_int_equal(locks != NULL, i == 1);
		second = entries_of(&t, &o, NULL, NULL, &e);
		assert_int_equal(json_array_size(second), 0);
	}
}

TEST_MAIN(cmocka_unit_test(test_table), cmocka_unit_test(test_unknown_key), cmocka_unit_test(test_refused),
	  cmocka_unit_test(test_configured), cmocka_unit_test(test_driver_names),
	  cmocka_unit_test(test_disable), cmocka_unit_test(test_locks), cmocka_unit_test(test_apt_files),
	  cmocka_unit_test(test_wrong_key), cmocka_unit_test(test_rpm_files))
