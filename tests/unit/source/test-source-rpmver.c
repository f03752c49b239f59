/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "rpmver.h"

/* The verdicts are rpm's own: rpm --eval '%{lua:print(rpm.vercmp(A, B))}'. */
static void orders_as_rpm_does(void **state _unused_)
{
	static const struct {
		const char *a, *b;
		int want;
	} rows[] = {
		{ "5.14.0-284.11.1.el9_2", "5.14.0-284.11.1.el9_2", 0 },
		{ "5.14.0-284.11.1.el9_2", "5.14.0-284.30.1.el9_2", -1 },
		{ "5.14.0-284.30.1.el9_2", "5.14.0-427.13.1.el9_4", -1 },
		{ "5.14.0-70.el9", "5.14.0-162.el9", -1 },
		{ "5.14.0-427.el9", "5.14.0-427.13.1.el9_4", -1 },
		{ "6.12.0-1.el10", "5.14.0-427.el9", 1 },
		{ "5.14.0", "5.14.0-427.el9", 0 },
		{ "1.0", "1.0.0", -1 },
		{ "1.0~rc1", "1.0", -1 },
		{ "1.0~rc1", "1.0~rc2", -1 },
		{ "1.0^git1", "1.0", 1 },
		{ "1.0^git1", "1.01", -1 },
		{ "1.0^git1", "1.0.1", -1 },
		{ "1.0a", "1.0b", -1 },
		{ "1.0a", "1.0.1", -1 },
		{ "1.5", "1.05", 0 },
		{ "1_5", "1.5", 0 },
		{ "a", "1", -1 },
		{ "", "1", -1 },
		{ "", "", 0 },
		{ "20240101", "20231231", 1 },
		{ "99999999999999999999999", "99999999999999999999998", 1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int r = rpm_version_compare(rows[i].a, rows[i].b);
		int back = rpm_version_compare(rows[i].b, rows[i].a);

		if ((r > 0) - (r < 0) != rows[i].want || (back > 0) - (back < 0) != -rows[i].want)
			fail_msg("%s and %s: %d, %d", rows[i].a, rows[i].b, r, back);
	}
}

TEST_MAIN(cmocka_unit_test(orders_as_rpm_does))
