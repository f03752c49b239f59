/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "catalog.h"
#include "fd.h"
#include "gpu.h"
#include "parse.h"
#include "strbuf.h"

static struct catalog *load(void)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct catalog *c = NULL;

	assert_ok(catalog_load(NULL, &c, &e), &e);
	return c;
}

/* Columns of a CSV line: enough for files whose quotes hold no quotes. */
static size_t csv_split(char *line, char *fields[32])
{
	size_t n = 0;
	bool quoted = false;
	char *out = line;

	fields[n++] = line;
	for (char *p = line; *p; p++) {
		if (*p == '"')
			quoted = !quoted;
		else if (*p == ',' && !quoted) {
			*out++ = '\0';
			fields[n++] = out;
		} else
			*out++ = *p;
	}
	*out = '\0';
	return n;
}

typedef void (*row_fn)(const struct catalog *c, size_t i, char **fields);

/* Calls fn for every row of a table's source. */
static size_t each_row(const struct catalog *c, const char *file, row_fn fn)
{
	_cleanup_free_ char *path = test_source_path(file), *text = NULL;
	size_t n = 0;
	bool header = true;

	assert_int_equal(read_file_at(AT_FDCWD, path, 1 << 20, &text, NULL), 0);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		char *fields[32];

		if (*line == '#')
			continue;
		if (!header) {
			csv_split(line, fields);
			fn(c, n++, fields);
		}
		header = false;
	}
	return n;
}

static void driver_row(const struct catalog *c, size_t i, char **f)
{
	const struct catalog_driver *d = catalog_driver(c, f[0]);
	_cleanup_free_ char *version = NULL;

	assert_ptr_equal(d, &c->drivers[i]);
	assert_string_equal(d->version, f[1]);
	assert_string_equal(d->file, f[2]);
	assert_string_equal(d->md5, f[3]);
	assert_string_equal(d->url_kind, f[4]);
	assert_string_equal(d->url, f[5]);
	assert_string_equal(d->patch_file, f[6]);
	assert_string_equal(d->install_args, f[7]);
	assert_string_equal(d->kernel_min, f[8]);
	assert_string_equal(d->kernel_max, f[9]);
	assert_string_equal(d->kernel_notes, f[10]);
	assert_string_equal(d->pve_min, f[11]);
	assert_string_equal(d->pve_max, f[12]);
	assert_string_equal(d->arch_min, f[13]);
	assert_string_equal(d->native_only, f[14]);
	assert_string_equal(d->menu_note, f[15]);
	assert_string_equal(d->notes, f[19]);
	assert_int_equal(catalog_file_version(d->file, &version), 0);
	assert_string_equal(version, d->version);
	assert_string_equal(catalog_driver_by_file(c, f[2])->file, f[2]);
	assert_string_equal(catalog_driver_by_version(c, f[1])->version, f[1]);
	if (*f[6])
		assert_string_equal(catalog_patch(c, f[0])->file, f[6]);
	assert_non_null(catalog_release(c, f[0]));
}

static void guest_row(const struct catalog *c, size_t i, char **f)
{
	const struct catalog_guest *g = catalog_guest(c, f[0], f[1]);

	assert_ptr_equal(g, &c->guests[i]);
	assert_string_equal(g->version, f[2]);
	assert_string_equal(g->file, f[3]);
	assert_string_equal(g->url, f[4]);
	assert_string_equal(g->notes, f[6]);
}

static void patch_row(const struct catalog *c, size_t i, char **f)
{
	const struct catalog_patch *p = catalog_patch(c, f[0]);

	assert_ptr_equal(p, &c->patches[i]);
	assert_string_equal(p->version, f[1]);
	assert_string_equal(p->file, f[2]);
	assert_string_equal(p->path, f[3]);
	assert_string_equal(p->status, f[5]);
	assert_string_equal(p->kernel_max, f[7]);
	assert_string_equal(p->sha256, f[8]);
	assert_string_equal(p->nul_in_header, f[11]);
	assert_string_equal(p->restores_pascal, f[12]);
	assert_string_equal(p->notes, f[13]);
}

static void release_row(const struct catalog *c, size_t i, char **f)
{
	const struct catalog_release *l = catalog_release(c, f[0]);

	assert_ptr_equal(l, &c->releases[i]);
	assert_string_equal(l->driver_branch, f[1]);
	assert_string_equal(l->lifecycle, f[2]);
	assert_string_equal(l->host_version, f[3]);
	assert_string_equal(l->guest_linux, f[4]);
	assert_string_equal(l->guest_windows, f[5]);
	assert_string_equal(l->released, f[6]);
	assert_string_equal(l->eol, f[7]);
	assert_string_equal(l->package, f[8]);
	assert_string_equal(l->package_md5, f[9]);
	assert_string_equal(l->package_sha256, f[10]);
	assert_string_equal(l->notes, f[11]);
}

static void every_row_is_found(void **state _unused_)
{
	_cleanup_(catalog_freep) struct catalog *c = load();

	assert_int_equal(each_row(c, "data/vgpu-host-drivers.csv", driver_row), c->n_drivers);
	assert_int_equal(each_row(c, "data/vgpu-guest-drivers.csv", guest_row), c->n_guests);
	assert_int_equal(each_row(c, "data/vgpu-patches.csv", patch_row), c->n_patches);
	assert_int_equal(each_row(c, "data/vgpu-release-map.csv", release_row), c->n_releases);
	assert_true(c->n_drivers >= 39 && c->n_guests >= 248 && c->n_patches >= 25 && c->n_releases >= 123);
}

static struct gpu_db *cards;

static void card_row(const struct catalog *c _unused_, size_t i _unused_, char **f)
{
	static const char *const support[][2] = { { "native", "Native" },
						  { "unlock", "Yes" },
						  { "none", "No" } };
	_cleanup_(gpu_info_done) struct gpu_info info = { 0 };
	uint16_t device;

	assert_int_equal(gpu_parse_device(f[1], &device), 0);
	assert_int_equal(gpu_db_find(cards, device, &info, NULL), 0);
	assert_string_equal(info.name, f[2]);
	assert_string_equal(info.chip ? info.chip : "", f[3]);
	assert_string_equal(info.architecture ? info.architecture : "", f[4]);
	assert_string_equal(info.branches ? info.branches : "", f[6]);
	for (size_t k = 0; k < ARRAY_LEN(support); k++)
		if (strcmp(support[k][0], f[5]) == 0)
			assert_string_equal(info.vgpu, support[k][1]);
}

static void every_card_is_found(void **state _unused_)
{
	assert_int_equal(gpu_db_open(NULL, &cards, NULL), 0);
	assert_true(each_row(NULL, "data/gpus.csv", card_row) > 1100);
	gpu_db_freep(&cards);
}

static void look_ups_follow_the_register(void **state _unused_)
{
	_cleanup_(catalog_freep) struct catalog *c = load();

	/* One file serves 16.4 and 16.5; the first row of the register wins. */
	assert_string_equal(catalog_driver_by_file(c, "NVIDIA-Linux-x86_64-535.161.05-vgpu-kvm.run")->branch,
			    "16.5");
	assert_string_equal(catalog_driver_newest(c, 16)->branch, "16.14");
	assert_null(catalog_driver_newest(c, 12));
	assert_null(catalog_driver(c, "17"));
	assert_string_equal(catalog_driver(c, "19.3")->version, "580.105.06");
	assert_string_equal(catalog_driver(c, "16.8")->md5, "18627628e749f893cd2c3635452006a4");
	assert_string_equal(catalog_patch(c, "16.3")->status, "mapped-missing");
}

static void versions_compare_by_number(void **state _unused_)
{
	static const struct {
		const char *version, *bound;
		int want;
	} cases[] = {
		{ "6.8.12-4-pve", "6.8", 0 },
		{ "6.14.11-4-pve", "6.8", 1 },
		{ "6.5.13-6-pve", "6.8", -1 },
		{ "6.17.2-1-pve", "6.17", 0 },
		{ "7.0.0-1-pve", "6.17", 1 },
		{ "16.10", "16.9", 1 },
		{ "6.14.11-4-pve", "6.14.11", 0 },
		{ "6.14", "6.14.1", -1 },
		{ "16.9", "16.9", 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(catalog_compare(cases[i].version, cases[i].bound), cases[i].want);
}

static void file_names_give_versions(void **state _unused_)
{
	static const char *const bad[] = { "NVIDIA-Linux-x86_64-535.261.03.run",
					   "NVIDIA-Linux-x86_64--vgpu-kvm.run",
					   "NVIDIA-Linux-x86_64-vgpu-kvm.run", "x-vgpu-kvm.run",
					   "NVIDIA-Linux-x86_64-535.x-vgpu-kvm.run" };
	_cleanup_free_ char *version = NULL;

	assert_int_equal(catalog_file_version("NVIDIA-Linux-x86_64-535.54.06-vgpu-kvm-custom.run", &version),
			 0);
	assert_string_equal(version, "535.54.06");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(catalog_file_version(bad[i], &version), -EINVAL);
}

TEST_MAIN(cmocka_unit_test(every_row_is_found), cmocka_unit_test(every_card_is_found),
	  cmocka_unit_test(look_ups_follow_the_register), cmocka_unit_test(versions_compare_by_number),
	  cmocka_unit_test(file_names_give_versions))
