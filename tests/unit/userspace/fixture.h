/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Roots and drivers small enough to read: objects with nothing but a dynamic section, a C library that is one of
 * them, a payload with its manifest. Included by one file of each test program. */

#include "testlib.h"

#include "elffile.h"
#include "strbuf.h"

#include <stdio.h>

static inline void fixture_put(uint8_t *out, size_t offset, uint64_t value, size_t width)
{
	memcpy(out + offset, &value, width);
}

/* A dynamic object with this SONAME (NULL = none) that needs these names (NULL-terminated or NULL). */
static inline size_t fixture_elf(uint8_t *out, size_t size, unsigned bits, unsigned machine,
				 const char *soname, const char *const *needed)
{
	size_t eh = bits == 64 ? 64 : 52, ph = bits == 64 ? 56 : 32, dyn = bits == 64 ? 16 : 8;
	size_t n_dyn = 0, str_len = 1, dyn_at = eh + 2 * ph, at, str_at;
	uint64_t tags[32][2];
	char strings[1024] = "";

	memset(out, 0, size);
	if (soname) {
		tags[n_dyn][0] = 14;
		tags[n_dyn++][1] = str_len;
		str_len += (size_t)sprintf(strings + str_len, "%s", soname) + 1;
	}
	for (; needed && *needed; needed++) {
		tags[n_dyn][0] = 1;
		tags[n_dyn++][1] = str_len;
		str_len += (size_t)sprintf(strings + str_len, "%s", *needed) + 1;
	}
	str_at = dyn_at + (n_dyn + 3) * dyn;
	tags[n_dyn][0] = 5;
	tags[n_dyn++][1] = str_at;
	tags[n_dyn][0] = 10;
	tags[n_dyn++][1] = str_len;
	tags[n_dyn][0] = tags[n_dyn][1] = 0;
	n_dyn++;
	at = str_at + str_len;
	assert_true(at <= size);

	memcpy(out, "\177ELF", 4);
	out[4] = bits == 64 ? 2 : 1;
	out[5] = out[6] = 1;
	out[16] = 3;
	out[18] = (uint8_t)machine;
	out[20] = 1;
	if (bits == 64) {
		fixture_put(out, 32, eh, 8);
		fixture_put(out, 52, 64, 2), fixture_put(out, 54, 56, 2), fixture_put(out, 56, 2, 2);
		fixture_put(out, eh, 1, 4), fixture_put(out, eh + 4, 5, 4), fixture_put(out, eh + 32, at, 8),
		    fixture_put(out, eh + 40, at, 8), fixture_put(out, eh + 48, 4096, 8);
		fixture_put(out, eh + ph, 2, 4), fixture_put(out, eh + ph + 4, 6, 4),
		    fixture_put(out, eh + ph + 8, dyn_at, 8), fixture_put(out, eh + ph + 16, dyn_at, 8);
		fixture_put(out, eh + ph + 24, dyn_at, 8), fixture_put(out, eh + ph + 32, n_dyn * dyn, 8),
		    fixture_put(out, eh + ph + 40, n_dyn * dyn, 8);
	} else {
		fixture_put(out, 28, eh, 4);
		fixture_put(out, 40, 52, 2), fixture_put(out, 42, 32, 2), fixture_put(out, 44, 2, 2);
		fixture_put(out, eh, 1, 4), fixture_put(out, eh + 16, at, 4),
		    fixture_put(out, eh + 20, at, 4), fixture_put(out, eh + 24, 5, 4),
		    fixture_put(out, eh + 28, 4096, 4);
		fixture_put(out, eh + ph, 2, 4), fixture_put(out, eh + ph + 4, dyn_at, 4),
		    fixture_put(out, eh + ph + 8, dyn_at, 4), fixture_put(out, eh + ph + 12, dyn_at, 4);
		fixture_put(out, eh + ph + 16, n_dyn * dyn, 4),
		    fixture_put(out, eh + ph + 20, n_dyn * dyn, 4), fixture_put(out, eh + ph + 24, 6, 4);
	}
	for (size_t i = 0; i < n_dyn; i++) {
		fixture_put(out, dyn_at + i * dyn, tags[i][0], dyn / 2);
		fixture_put(out, dyn_at + i * dyn + dyn / 2, tags[i][1], dyn / 2);
	}
	memcpy(out + str_at, strings, str_len);
	return at;
}

static inline void fixture_object(const struct testdir *t, const char *path, unsigned bits, unsigned machine,
				  const char *soname, const char *const *needed)
{
	uint8_t elf[2048];

	testdir_write(t, path, elf, fixture_elf(elf, sizeof(elf), bits, machine, soname, needed), 0755);
}

static inline void fixture_link(const struct testdir *t, const char *target, const char *path)
{
	assert_int_equal(symlinkat(target, t->fd, path), 0);
}

static inline void fixture_dir(const struct testdir *t, const char *path)
{
	char copy[512];

	snprintf(copy, sizeof(copy), "%s", path);
	for (char *p = copy; (p = strchr(p, '/')); *p++ = '/') {
		*p = '\0';
		(void)mkdirat(t->fd, copy, 0755);
	}
	(void)mkdirat(t->fd, copy, 0755);
}

/* Debian as it is since 12: /lib is usr/lib. */
static inline void fixture_debian(const struct testdir *t)
{
	fixture_dir(t, "usr/lib/x86_64-linux-gnu");
	fixture_dir(t, "usr/bin");
	fixture_dir(t, "etc/ld.so.conf.d");
	fixture_dir(t, "var/lib");
	fixture_link(t, "usr/lib", "lib");
	fixture_link(t, "usr/bin", "bin");
	fixture_object(t, "usr/lib/x86_64-linux-gnu/libc.so.6", 64, ELF_MACHINE_X86_64, "libc.so.6", NULL);
	testdir_puts(t, "etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n");
	testdir_puts(t, "etc/ld.so.conf.d/x86_64-linux-gnu.conf",
		     "# Multiarch support\n/lib/x86_64-linux-gnu\n");
}
