/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "digest.h"

static void crc_vectors(void **state _unused_)
{
	static const struct {
		const char *text;
		uint32_t mpeg2;
	} rows[] = {
		{ "123456789", 0x0376E6E7 }, { "hello", 0xE6CE9AC2 },	 { "MODULE", 2506353924u },
		{ "", 0xFFFFFFFF },	     { "ABCDEFGH", 987000113u },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(crc32_mpeg2(CRC32_MPEG2_INIT, rows[i].text, strlen(rows[i].text)),
				 rows[i].mpeg2);
}

/* The fast kernels against a bit at a time, for every length around their strides and every split. */
static uint32_t crc_slow(uint32_t crc, const uint8_t *p, size_t n)
{
	while (n--) {
		crc ^= (uint32_t)*p++ << 24;
		for (int bit = 0; bit < 8; bit++)
			crc = (crc << 1) ^ (crc & 0x80000000u ? 0x04C11DB7u : 0);
	}
	return crc;
}

static void crc_lengths_and_splits(void **state _unused_)
{
	uint8_t buf[300];

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 37 + 11);
	for (size_t len = 0; len <= sizeof(buf); len++) {
		uint32_t want = crc_slow(CRC32_MPEG2_INIT, buf, len);

		for (size_t cut = 0; cut <= len; cut++) {
			uint32_t crc = crc32_mpeg2(CRC32_MPEG2_INIT, buf, cut);

			assert_int_equal(crc32_mpeg2(crc, buf + cut, len - cut), want);
		}
	}
}

/* What the POSIX utility prints. */
static void cksum_vectors(void **state _unused_)
{
	static const struct {
		const char *text;
		uint32_t sum;
	} rows[] = { { "", 4294967295u }, { "123456789", 930766865u }, { "a\n", 2418082923u } };
	struct cksum c = { 0, 0 };
	uint8_t zeros[300] = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		c = (struct cksum){ 0, 0 };
		cksum_update(&c, rows[i].text, strlen(rows[i].text));
		assert_int_equal(cksum_final(&c), rows[i].sum);
	}
	c = (struct cksum){ 0, 0 }; /* a length of two bytes is appended low byte first */
	cksum_update(&c, zeros, 100);
	cksum_update(&c, zeros, 200);
	assert_int_equal(cksum_final(&c), 351385237u);
}

static void sha256_vectors(void **state _unused_)
{
	static const char want[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	struct testdir t;
	char hex[SHA256_HEX_SIZE];
	int fd, fds = testdir_open_fds();

	testdir_make(&t);
	testdir_puts(&t, "f", "abc");
	assert_int_equal(sha256_file_at(t.fd, "f", hex), 0);
	assert_string_equal(hex, want);
	fd = openat(t.fd, "f", O_RDONLY | O_CLOEXEC);
	assert_int_equal(lseek(fd, 2, SEEK_SET), 2);
	assert_int_equal(sha256_fd_hex(fd, hex), 0);
	assert_string_equal(hex, want);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 2);
	close(fd);
	assert_int_equal(symlinkat("f", t.fd, "link"), 0);
	assert_int_equal(sha256_file_at(t.fd, "link", hex), -ELOOP);
	assert_int_equal(sha256_file_at(t.fd, "absent", hex), -ENOENT);
	assert_int_equal(mkfifoat(t.fd, "fifo", 0600), 0);
	assert_int_equal(sha256_file_at(t.fd, "fifo", hex), -EINVAL);
	testdir_done(&t);
	assert_int_equal(testdir_open_fds(), fds);
}

static void stream_names(void **state _unused_)
{
	static const struct {
		const char *name;
		size_t size;
	} rows[] = { { "md5", 16 }, { "sha1", 20 }, { "sha256", 32 }, { "sha384", 48 }, { "sha512", 64 } };
	struct digest *d = NULL;
	uint8_t out[64];
	size_t len;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(digest_new(rows[i].name, &d), 0);
		assert_int_equal(digest_update(d, "abc", 3), 0);
		assert_int_equal(digest_final(d, out, rows[i].size - 1, &len), -ENOBUFS);
		assert_int_equal(digest_final(d, out, sizeof(out), &len), 0);
		assert_int_equal(len, rows[i].size);
		digest_freep(&d);
		assert_null(d);
	}
	assert_int_equal(digest_new("no-such-digest", &d), -EOPNOTSUPP);
	assert_null(d);
}

TEST_MAIN(cmocka_unit_test(crc_vectors), cmocka_unit_test(crc_lengths_and_splits),
	  cmocka_unit_test(cksum_vectors), cmocka_unit_test(sha256_vectors), cmocka_unit_test(stream_names))
