/* SPDX-License-Identifier: Apache-2.0
 *
 * mokutil is believed by its text: its status says the opposite of what one expects. */
#include "testlib.h"

#include "spawn.h"
#include "vgpu-secureboot.h"
#include "vgpu-types.h"

static void reads_test_key(void **state _unused_)
{
	static const struct {
		const char *text;
		enum mok_state want;
	} cases[] = {
		{ "/var/lib/dkms/mok.pub is not enrolled\n", MOK_ABSENT },
		{ "/var/lib/dkms/mok.pub is already enrolled\n", MOK_ENROLLED },
		{ "/var/lib/dkms/mok.pub is already in the enrollment request\n", MOK_PENDING },
		{ "EFI variables are not supported on this system\n", MOK_UNKNOWN },
		{ "", MOK_UNKNOWN },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(mok_test_key_parse(cases[i].text), cases[i].want);
}

static void compares_fingerprints(void **state _unused_)
{
	static const char list[] =
	    "[key 1]\nSHA1 Fingerprint: 53:61:0C:F8:1F:BD:7E:0C:EB:67:91:3C:9E:F3:E7:94:A9:63:3E:CB\n"
	    "Certificate:\n    Data:\n[key 2]\nSHA1 Fingerprint: aa:bb:cc\n";

	assert_true(mok_list_has(list, "53610cf81fbd7e0ceb67913c9ef3e794a9633ecb"));
	assert_true(mok_list_has(list, "53610CF81FBD7E0CEB67913C9EF3E794A9633ECB"));
	assert_false(mok_list_has(list, "53610cf81fbd7e0ceb67913c9ef3e794a9633ecc"));
	assert_false(mok_list_has(list, "aabbccdd"));
	assert_false(mok_list_has("", "aabbcc"));
}

/* The command of the plan, run by the real openssl: a key only its owner reads, and a DER certificate. */
static void openssl_makes_the_pair(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("openssl"), show = SPAWN_INIT("openssl");
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(plan_freep) struct plan *p = NULL;
	struct host host = { .root_fd = -EBADF, .proc_fd = -EBADF, .sys_fd = -EBADF, .dev_fd = -EBADF };
	struct vgpu_machine m = { .host = &host };
	const json_t *argv, *arg;
	struct stat st;
	size_t i;

	testdir_make(&t);
	host.root_fd = t.fd;
	assert_int_equal(plan_new("test", "host", &p), 0);
	assert_ok(mok_add_ops(&m, MOK_NO_KEY, "$6$x", p, &e), &e);
	assert_int_equal(p->n_ops, 4);
	argv = json_object_get(p->ops[0].args, "argv");
	json_array_foreach (argv, i, arg) {
		const char *text = json_string_value(arg);

		if (strncmp(text, "/var/lib/dkms/", 14) == 0)
			(void)spawn_arg(&s, "%s/%s", t.path, text + 14);
		else
			(void)spawn_arg(&s, "%s", strcmp(text, "rsa:4096") == 0 ? "rsa:2048" : text);
	}
	assert_ok(spawn_check(&s, &e), &e);
	assert_int_equal(fstatat(t.fd, "mok.key", &st, 0), 0);
	assert_int_equal(st.st_mode & 077, 0);
	spawn_argv(&show, "openssl", "x509", "-inform", "DER", "-noout", "-subject", "-in", NULL);
	spawn_arg(&show, "%s/mok.pub", t.path);
	show.capture = true;
	assert_ok(spawn_check(&show, &e), &e);
	assert_non_null(strstr(show.out, "Proxmox vGPU Module Signing"));
}

static void adds_what_the_state_asks_for(void **state _unused_)
{
	static const struct {
		enum mok_state state;
		size_t ops;
	} cases[] = { { MOK_OFF, 0 },	 { MOK_ENROLLED, 1 }, { MOK_PENDING, 1 },
		      { MOK_ABSENT, 3 }, { MOK_NO_KEY, 4 },   { MOK_UNKNOWN, 1 } };
	_cleanup_(testdir_done) struct testdir t;
	struct host host = { .root_fd = -EBADF };
	struct vgpu_machine m = { .host = &host };

	testdir_make(&t);
	host.root_fd = t.fd;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(plan_freep) struct plan *p = NULL;

		assert_int_equal(plan_new("test", "host", &p), 0);
		assert_int_equal(mok_add_ops(&m, cases[i].state, NULL, p, NULL), 0);
		assert_int_equal(p->n_ops, cases[i].ops);
	}
}

static void reads_types_with_and_without_heading(void **state _unused_)
{
	struct vgpu_types t = { 0 };

	assert_int_equal(
	    vgpu_types_parse(SPAN("ID    : vGPU Name\n557   : NVIDIA RTXA6000-1B\n"), "0000:01:00.4", &t), 0);
	assert_int_equal(vgpu_types_parse(SPAN("558 : NVIDIA RTXA6000-1Q"), "0000:01:00.5", &t), 0);
	assert_int_equal(vgpu_types_parse(SPAN("nonsense\n99999999 : x\n"), "0000:01:00.6", &t), 0);
	assert_int_equal(t.n, 2);
	assert_int_equal(t.v[0].id, 557);
	assert_string_equal(t.v[1].name, "NVIDIA RTXA6000-1Q");
	assert_string_equal(t.v[1].address, "0000:01:00.5");
	vgpu_types_done(&t);
}

TEST_MAIN(cmocka_unit_test(reads_test_key), cmocka_unit_test(compares_fingerprints),
	  cmocka_unit_test(openssl_makes_the_pair), cmocka_unit_test(adds_what_the_state_asks_for),
	  cmocka_unit_test(reads_types_with_and_without_heading))
