/* SPDX-License-Identifier: Apache-2.0
 *
 * Cards, groups and rules on made buses; questions; the state taken over from the script. */
#include "testlib.h"

#include "strbuf.h"
#include "vgpu-ask.h"
#include "vgpu-cards.h"
#include "vgpu-state.h"
#include "err-vgpu.h"

static struct card card(const char *address, enum card_support support, int group)
{
	struct card c = { .support = support, .group = group };

	(void)snprintf(c.pci.address, sizeof(c.pci.address), "%s", address);
	return c;
}

static void chooses_cards(void **state _unused_)
{
	struct card v[] = { card("0000:01:00.0", CARD_NONE, 1), card("0000:02:00.0", CARD_NATIVE, 2),
			    card("0001:01:00.0", CARD_NONE, 3) };
	struct cards c = { .v = v, .n = 3 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	static const char *const bad[] = { "0", "4", "0000:03:00.0", "x", "-1", " 1" };
	size_t at;

	assert_ok(cards_choose(&c, NULL, &at, &e), &e);
	assert_int_equal(at, 1); /* the only one that can */
	assert_ok(cards_choose(&c, "3", &at, &e), &e);
	assert_int_equal(at, 2);
	assert_ok(cards_choose(&c, "0000:01:00.0", &at, &e), &e);
	assert_int_equal(at, 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(cards_choose(&c, bad[i], &at, &e), -ERR_VGPU_CARD_CHOICE);
	v[0].support = CARD_UNLOCK;
	assert_int_equal(cards_choose(&c, NULL, &at, &e), -ERR_VGPU_CARD_CHOICE);
	c.n = 0;
	assert_int_equal(cards_choose(&c, NULL, &at, &e), -ERR_VGPU_CARD_CHOICE);
}

/* Two identical cards: rules go by address, and the bridge of a group stays where it is. */
static void passes_groups_through(void **state _unused_)
{
	struct card v[] = { card("0000:01:00.0", CARD_NATIVE, 1), card("0000:02:00.0", CARD_NATIVE, 2) };
	struct card_function f[] = { { "0000:00:02.0", 0x0604, 2 },
				     { "0000:01:00.0", 0x0300, 1 },
				     { "0000:02:00.0", 0x0300, 2 },
				     { "0000:02:00.1", 0x0403, 2 },
				     { "0000:05:00.0", 0x0200, 9 } };
	struct cards c = { .v = v, .n = 2, .functions = f, .n_functions = 5, .groups_known = true };
	_cleanup_(text_edits_done) struct text_edits edits = { 0 }, shared = { 0 }, unknown = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;

	assert_ok(cards_passthrough(&c, 0, NULL, &edits, &e), &e);
	assert_int_equal(edits.n, 1);
	assert_string_equal(edits.v[0].path, CARDS_RULES);
	assert_string_equal(
	    edits.v[0].bytes,
	    "ACTION==\"add\", SUBSYSTEM==\"pci\", KERNELS==\"0000:02:00.0\", DRIVERS==\"*\", "
	    "ATTR{driver_override}=\"vfio-pci\", ATTR{[subsystem/pci]drivers_probe}=\"0000:02:00.0\"\n"
	    "ACTION==\"add\", SUBSYSTEM==\"pci\", KERNELS==\"0000:02:00.1\", DRIVERS==\"*\", "
	    "ATTR{driver_override}=\"vfio-pci\", ATTR{[subsystem/pci]drivers_probe}=\"0000:02:00.1\"\n");
	v[1].group = 1;
	assert_int_equal(cards_passthrough(&c, 0, NULL, &shared, &e), -ERR_VGPU_GROUP_SHARED);
	assert_int_equal(shared.n, 0);
	c.groups_known = false;
	assert_ok(cards_passthrough(&c, 0, NULL, &unknown, &e), &e);
	assert_true(unknown.n == 0 && unknown.notes);
}

static void takes_the_chosen_card_back(void **state _unused_)
{
	static const char rules[] = "# mine\nKERNELS==\"0000:01:00.1\"\nKERNELS==\"0000:02:00.0\"\n";
	struct card v[] = { card("0000:01:00.0", CARD_NATIVE, 1), card("0000:02:00.0", CARD_NONE, 2) };
	struct cards c = { .v = v, .n = 2 };
	struct text_file old = { (char *)CARDS_RULES, (char *)rules, strlen(rules) };
	_cleanup_(text_edits_done) struct text_edits edits = { 0 };

	assert_int_equal(cards_keep(&c, 0, &old, &edits), 0);
	assert_int_equal(edits.n, 1);
	assert_string_equal(edits.v[0].bytes, "# mine\nKERNELS==\"0000:02:00.0\"\n");
}

static int typed(const char *text _unused_, char **ret, void *arg)
{
	*ret = strdup(arg);
	return *ret ? 0 : -ENOMEM;
}

static void asks_in_order(void **state _unused_)
{
	static const struct {
		const char *answers, *typed; /* typed NULL = no terminal */
		bool yes, with_yes;
		int want;
	} cases[] = {
		{ "{\"proceed\": true}", NULL, false, false, 1 },
		{ "{\"proceed\": false}", "y\n", true, true, 0 },
		{ "{\"proceed\": \"yes\"}", NULL, false, false, 1 },
		{ "{}", NULL, true, true, 1 },
		{ "{}", NULL, true, false, 0 },
		{ "{}", NULL, false, true, 0 },
		{ "{}", "y\r\n", false, false, 1 },
		{ "{}", "Y", false, false, 1 },
		{ "{}", "sure\n", false, true, 0 },
		{ "{}", "", false, true, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		json_auto_t *answers = json_loads(cases[i].answers, 0, NULL);
		struct asker a = { answers, cases[i].yes, cases[i].typed ? typed : NULL,
				   (void *)cases[i].typed };

		if (ask_yes(&a, "proceed", cases[i].with_yes, "Go on? ") != cases[i].want)
			fail_msg("case %zu", i);
	}
}

static void takes_texts(void **state _unused_)
{
	json_auto_t *answers = json_loads("{\"card\": 2}", 0, NULL),
		    *bad = json_loads("{\"crad\": 2}", 0, NULL);
	struct asker a = { answers, false, typed, (void *)" 17.5\n" };
	_cleanup_free_ char *number = NULL, *text = NULL, *fallback = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;

	assert_int_equal(ask_text(&a, "card", "1", &number, "?"), 0);
	assert_string_equal(number, "2");
	assert_int_equal(ask_text(&a, "branch", "x", &text, "?"), 0);
	assert_string_equal(text, " 17.5");
	a.prompt = NULL;
	assert_int_equal(ask_text(&a, "branch", "16.9", &fallback, "?"), 0);
	assert_string_equal(fallback, "16.9");
	assert_int_equal(ask_check_answers(answers, &e), 0);
	assert_int_equal(ask_check_answers(bad, &e), -ERR_CONFIG);
	assert_non_null(strstr(e.reason, "crad"));
}

static void imports_as_data(void **state _unused_)
{
	_cleanup_(vgpu_state_done) struct vgpu_state s = { json_object(), json_array(), NULL, LOCK_INIT };
	_cleanup_(err_done) struct err e = ERR_INIT;
	static const char *const bad[] = { "STEP=3\n", "no equals sign\n", "=x\n", "VGPU_SUPPORT=native\n",
					   "A B=1\n" };

	assert_ok(vgpu_state_import(
		      &s, SPAN("STEP=1\r\nSTEP=2\n\nURL=https://x/?a=b&c=$(id)\nOWN= spaced \nFILE=\n"), &e),
		  &e);
	assert_string_equal(vgpu_state_get(&s, "STEP"), "2");
	assert_string_equal(vgpu_state_get(&s, "URL"), "https://x/?a=b&c=$(id)");
	assert_string_equal(vgpu_state_get(&s, "OWN"), "spaced");
	assert_null(vgpu_state_get(&s, "FILE"));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(vgpu_state_import(&s, SPAN(bad[i]), &e), -ERR_VGPU_STATE);
}

TEST_MAIN(cmocka_unit_test(chooses_cards), cmocka_unit_test(passes_groups_through),
	  cmocka_unit_test(takes_the_chosen_card_back), cmocka_unit_test(asks_in_order),
	  cmocka_unit_test(takes_texts), cmocka_unit_test(imports_as_data))
