/* SPDX-License-Identifier: Apache-2.0 */
#include "ui.h"

#include "cmd.h"

#include <string.h>

const char *ui_str(const json_t *object, const char *key, const char *otherwise)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : otherwise;
}

const char *ui_size(unsigned long long bytes)
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB" };
	static char buffers[4][16];
	static unsigned turn;
	char *out = buffers[turn++ % ARRAY_LEN(buffers)];
	double v = (double)bytes;
	size_t u = 0;

	for (; v >= 1000 && u + 1 < ARRAY_LEN(units); u++)
		v /= 1000;
	snprintf(out, sizeof(buffers[0]), u ? "%.1f %s" : "%.0f %s", v, units[u]);
	return out;
}

static void ui_drivers(const json_t *drivers)
{
	const json_t *d;
	size_t i;

	json_array_foreach (drivers, i, d) {
		out_text("%-12s %s %s, %s, %s from %s (%s)\n", i ? "" : "drivers", ui_str(d, "version", "?"),
			 ui_str(d, "arch", "?"), ui_str(d, "kind", "?"),
			 ui_size((unsigned long long)json_integer_value(json_object_get(d, "size_bytes"))),
			 ui_str(d, "source", "?"), ui_str(d, "trust", "?"));
		out_text("%-12s   %s\n", "", ui_str(d, "path", ""));
	}
}

static void ui_sets(const json_t *sets)
{
	const json_t *s;
	size_t i;

	json_array_foreach (sets, i, s) {
		const char *cert = ui_str(s, "certificate", "unsigned");

		out_text("%-12s %s %s for %s, %s%.12s\n", i ? "" : "module sets", ui_str(s, "driver", "?"),
			 ui_str(s, "flavour", "?"), ui_str(s, "release", "?"),
			 strcmp(cert, "unsigned") ? "signed by " : "", cert);
		out_text("%-12s   modules/%s\n", "", ui_str(s, "key", "?"));
	}
}

static void ui_kernels(const json_t *kernels)
{
	const json_t *k;
	size_t i;

	json_array_foreach (kernels, i, k) {
		out_text("%-12s %s (%s)\n", i ? "" : "kernels", ui_str(k, "release", "?"),
			 ui_str(k, "arch", "?"));
		out_text("%-12s   %s\n", "", ui_str(k, "path", ""));
	}
}

static void ui_images(const json_t *images)
{
	const json_t *m;
	size_t i;

	json_array_foreach (images, i, m) {
		const char *name = json_string_value(json_array_get(json_object_get(m, "names"), 0));

		out_text("%-12s %s, %s\n", i ? "" : "images", name ? name : "of a tree without a name",
			 ui_size((unsigned long long)json_integer_value(json_object_get(m, "size_bytes"))));
		out_text("%-12s   %s\n", "", ui_str(m, "path", ""));
	}
}

void ui_store(const json_t *list)
{
	size_t packages = json_array_size(json_object_get(list, "packages"));

	out_text("store        %s\n", ui_str(list, "store", "none"));
	ui_drivers(json_object_get(list, "drivers"));
	ui_sets(json_object_get(list, "module_sets"));
	ui_kernels(json_object_get(list, "kernels"));
	ui_images(json_object_get(list, "images"));
	if (packages)
		out_text("packages     %zu package%s packed or kept by name\n", packages,
			 packages == 1 ? "" : "s");
}

void ui_checks(const json_t *checks)
{
	const json_t *c;
	size_t i;

	json_array_foreach (checks, i, c) {
		out_text("%-8s %-11s %s\n", ui_str(c, "result", "?"), ui_str(c, "check", "?"),
			 ui_str(c, "text", ""));
		if (*ui_str(c, "next_step", ""))
			out_text("%-20s next: %s\n", "", ui_str(c, "next_step", ""));
	}
}
