/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-profile.h"

#include "cleanup.h"
#include "jutil.h"
#include "strbuf.h"
#include "toml.h"

#include <string.h>

#define GIB ((uint64_t)1 << 30)

enum want { WANT_NUMBER, WANT_SIZE, WANT_TEXT };

static const struct {
	const char *key;
	enum want want;
} keys[] = {
	{ "gpu_type", WANT_NUMBER },
	{ "max_instances", WANT_NUMBER },
	{ "num_displays", WANT_NUMBER },
	{ "display_width", WANT_NUMBER },
	{ "display_height", WANT_NUMBER },
	{ "max_pixels", WANT_NUMBER },
	{ "frl_config", WANT_NUMBER },
	{ "cuda_enabled", WANT_NUMBER },
	{ "ecc_supported", WANT_NUMBER },
	{ "mig_instance_size", WANT_NUMBER },
	{ "multi_vgpu_supported", WANT_NUMBER },
	{ "pci_id", WANT_NUMBER },
	{ "pci_device_id", WANT_NUMBER },
	{ "encoder_capacity", WANT_NUMBER },
	{ "frl_enabled", WANT_NUMBER },
	{ "framebuffer", WANT_SIZE },
	{ "framebuffer_reservation", WANT_SIZE },
	{ "mappable_video_size", WANT_SIZE },
	{ "bar1_length", WANT_SIZE },
	{ "card_name", WANT_TEXT },
	{ "vgpu_type", WANT_TEXT },
	{ "features", WANT_TEXT },
	{ "adapter_name", WANT_TEXT },
	{ "short_gpu_name", WANT_TEXT },
	{ "license_type", WANT_TEXT },
};

int unlock_size_parse(struct span text, uint64_t *ret)
{
	static const struct {
		const char *name;
		uint64_t bytes;
	} units[] = {
		{ "", 1 },
		{ "KB", 1000 },
		{ "kB", 1000 },
		{ "MB", 1000000 },
		{ "GB", 1000000000 },
		{ "TB", 1000000000000 },
		{ "KiB", 1024 },
		{ "MiB", (uint64_t)1 << 20 },
		{ "GiB", GIB },
		{ "TiB", (uint64_t)1 << 40 },
	};
	struct span s = span_trim(text), unit;
	uint64_t whole, part = 0, scale = 1;
	size_t n = 0, m;

	while (n < s.len && s.p[n] >= '0' && s.p[n] <= '9')
		n++;
	if (parse_u64((struct span){ s.p, n }, (uint64_t)1 << 50, &whole) < 0)
		return -EINVAL;
	for (m = n + 1;
	     n < s.len && s.p[n] == '.' && m < s.len && s.p[m] >= '0' && s.p[m] <= '9' && scale < 1000000;
	     m++) {
		part = part * 10 + (uint64_t)(s.p[m] - '0');
		scale *= 10;
	}
	if (scale > 1)
		n = m;
	unit = span_trim((struct span){ s.p + n, s.len - n });
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (span_eq(unit, units[i].name) && !__builtin_mul_overflow(whole, units[i].bytes, ret)) {
			*ret += part * units[i].bytes / scale;
			return 0;
		}
	return -EINVAL;
}

int unlock_framebuffer(uint64_t size, uint64_t *ret_framebuffer, uint64_t *ret_reservation)
{
	/* Community's formula: 128 MiB at 1 GiB, and a sixteenth of what is more (or less). */
	uint64_t reservation = 0x8000000 + size / 0x10 - GIB / 0x10;

	if (size < GIB / 2 || size > 32 * GIB)
		return -ERANGE;
	*ret_reservation = reservation;
	*ret_framebuffer = size - reservation;
	return 0;
}

void unlock_problems_done(struct unlock_problems *p)
{
	strv_freep(&p->list);
}

static int say(struct unlock_problems *p, bool fatal, const char *fmt, ...) _printf_(3, 4);

static int say(struct unlock_problems *p, bool fatal, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = str_vprintf(fmt, ap);
	va_end(ap);
	if (!text)
		return -ENOMEM;
	p->fatal |= fatal;
	return strv_push(&p->list, text);
}

static int parse(struct span text, json_t **ret, struct unlock_problems *p)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	int r = toml_parse(text, ret, &e);

	if (r == -ENOMEM)
		return r;
	return r < 0 ? say(p, true, "%s", e.reason ? e.reason : "it is no TOML") : 0;
}

static bool is_size(const json_t *v, uint64_t *ret)
{
	if (json_is_integer(v) && json_integer_value(v) >= 0) {
		*ret = (uint64_t)json_integer_value(v);
		return true;
	}
	return json_is_string(v) && unlock_size_parse(SPAN(json_string_value(v)), ret) == 0;
}

static bool fits(const json_t *v, enum want want)
{
	uint64_t size;

	return want == WANT_TEXT     ? json_is_string(v)
	       : want == WANT_NUMBER ? json_is_integer(v) && json_integer_value(v) >= 0
				     : is_size(v, &size);
}

static int check_key(const char *where, const char *key, const json_t *value, struct unlock_problems *p)
{
	static const char *const wanted[] = { "a number", "a size", "a text" };

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (strcmp(keys[i].key, key) == 0)
			return fits(value, keys[i].want)
				   ? 0
				   : say(p, true, "%s: %s has to be %s", where, key, wanted[keys[i].want]);
	return say(p, false, "%s: the library knows no %s", where, key);
}

/* Framebuffer and reservation make up the profile's size, which is a whole number of half GiB. */
static int check_sum(const char *where, const json_t *profile, struct unlock_problems *p)
{
	const json_t *framebuffer = json_object_get(profile, "framebuffer"),
		     *reservation = json_object_get(profile, "framebuffer_reservation");
	uint64_t a, b;

	if (!framebuffer || !reservation || !is_size(framebuffer, &a) || !is_size(reservation, &b) ||
	    (a + b) % (GIB / 2) == 0)
		return 0;
	/* What the community uses for 48 GiB. */
	if (a == 0xB2D200000 && b == 0xD2E00000)
		return 0;
	return say(p, false,
		   "%s: framebuffer and framebuffer_reservation together are no multiple of half a GiB",
		   where);
}

static int check_profile(const char *where, const json_t *profile, struct unlock_problems *p)
{
	const json_t *value;
	const char *key;
	int r = 0;

	if (!json_is_object(profile))
		return say(p, true, "%s is no table", where);
	json_object_foreach ((json_t *)profile, key, value)
		if (r == 0)
			r = check_key(where, key, value, p);
	return r < 0 ? r : check_sum(where, profile, p);
}

static int check_group(const char *group, const json_t *profiles, struct unlock_problems *p)
{
	const json_t *profile;
	const char *name;
	int r = 0;

	if (!json_is_object(profiles))
		return say(p, true, "%s is no table", group);
	json_object_foreach ((json_t *)profiles, name, profile) {
		_cleanup_free_ char *where = str_printf("%s.%s", group, name);

		if (r == 0)
			r = where ? check_profile(where, profile, p) : -ENOMEM;
	}
	return r;
}

int unlock_profile_check(struct span text, struct unlock_problems *ret)
{
	static const char *const groups[] = { "profile", "mdev", "vm" };
	_cleanup_(unlock_problems_done) struct unlock_problems found = { 0 };
	json_auto_t *all = NULL;
	const json_t *value;
	const char *key;
	int r = parse(text, &all, &found);

	json_object_foreach (all, key, value) {
		size_t i = 0;

		while (i < ARRAY_LEN(groups) && strcmp(groups[i], key) != 0)
			i++;
		if (r == 0)
			r = i < ARRAY_LEN(groups) ? check_group(key, value, &found)
						  : say(&found, false, "the library knows no table %s", key);
	}
	if (r < 0)
		return r;
	*ret = found;
	found = (struct unlock_problems){ 0 };
	return 0;
}

/* What one instance takes; 0 where the override does not say. */
static uint64_t profile_size(const json_t *profile)
{
	uint64_t framebuffer = 0, reservation = 0;

	if (!is_size(json_object_get(profile, "framebuffer"), &framebuffer))
		return 0;
	(void)is_size(json_object_get(profile, "framebuffer_reservation"), &reservation);
	return framebuffer + reservation;
}

static int check_pixels(const char *where, const json_t *profile, struct unlock_problems *p)
{
	json_int_t width = json_integer_value(json_object_get(profile, "display_width")),
		   height = json_integer_value(json_object_get(profile, "display_height")),
		   pixels = json_integer_value(json_object_get(profile, "max_pixels")), wanted;

	if (width <= 0 || height <= 0 || pixels <= 0 || __builtin_mul_overflow(width, height, &wanted) ||
	    wanted == pixels)
		return 0;
	return say(p, false, "%s: max_pixels is %lld, and display_width times display_height %lld", where,
		   (long long)pixels, (long long)wanted);
}

static int check_fit(const char *where, const json_t *profile, uint64_t memory, struct unlock_problems *p)
{
	uint64_t size = profile_size(profile), all;
	json_int_t instances = json_integer_value(json_object_get(profile, "max_instances"));
	int r = check_pixels(where, profile, p);

	if (r < 0 || memory == 0 || size == 0)
		return r;
	if (size > memory)
		return say(p, false, "%s takes %llu MiB, and the card has %llu", where,
			   (unsigned long long)(size >> 20), (unsigned long long)(memory >> 20));
	if (instances > 0 && (__builtin_mul_overflow(size, (uint64_t)instances, &all) || all > memory))
		return say(p, false, "%s: %lld instances of %llu MiB do not fit into the card's %llu", where,
			   (long long)instances, (unsigned long long)(size >> 20),
			   (unsigned long long)(memory >> 20));
	return 0;
}

/* Overrides of one kind; *ret_sum is what all of them take together. */
static int check_fits(const json_t *profiles, const char *group, uint64_t memory, uint64_t *ret_sum,
		      struct unlock_problems *p)
{
	const json_t *profile;
	const char *name;
	int r = 0;

	*ret_sum = 0;
	json_object_foreach ((json_t *)profiles, name, profile) {
		_cleanup_free_ char *where = str_printf("%s.%s", group, name);

		if (r >= 0)
			r = where ? check_fit(where, profile, memory, p) : -ENOMEM;
		if (__builtin_add_overflow(*ret_sum, profile_size(profile), ret_sum))
			*ret_sum = UINT64_MAX;
	}
	return r;
}

int unlock_profile_fits(struct span text, uint64_t memory_bytes, struct unlock_problems *ret)
{
	static const char *const groups[] = { "profile", "mdev", "vm" };
	_cleanup_(unlock_problems_done) struct unlock_problems found = { 0 };
	_cleanup_(err_done) struct err ignored = ERR_INIT;
	json_auto_t *all = NULL;
	uint64_t sum = 0;
	int r = toml_parse(text, &all, &ignored);

	if (r < 0)
		return r == -ENOMEM ? r : 0;
	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(groups); i++)
		r = check_fits(json_object_get(all, groups[i]), groups[i], memory_bytes, &sum, &found);
	/* The last group is the machines'. */
	if (r >= 0 && memory_bytes && sum > memory_bytes)
		r = say(&found, false,
			"the machines named there take %llu MiB together, and the card has %llu",
			(unsigned long long)(sum >> 20), (unsigned long long)(memory_bytes >> 20));
	if (r < 0)
		return r;
	*ret = found;
	found = (struct unlock_problems){ 0 };
	return 0;
}

int unlock_config_check(struct span text, struct unlock_problems *ret)
{
	static const char *const flags[] = { "unlock", "unlock_migration" };
	_cleanup_(unlock_problems_done) struct unlock_problems found = { 0 };
	json_auto_t *all = NULL;
	const json_t *value;
	const char *key;
	int r = parse(text, &all, &found);

	json_object_foreach (all, key, value) {
		bool flag = strcmp(key, flags[0]) == 0 || strcmp(key, flags[1]) == 0;

		if (r == 0 && flag && !json_is_boolean(value))
			r = say(&found, true, "%s has to be true or false", key);
		else if (r == 0 && strcmp(key, "pci_info_map") == 0 && !json_is_object(value))
			r = say(&found, true, "pci_info_map has to be a table");
	}
	if (r < 0)
		return r;
	*ret = found;
	found = (struct unlock_problems){ 0 };
	return 0;
}
