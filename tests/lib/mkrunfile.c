/* SPDX-License-Identifier: Apache-2.0 */
#include "mkrunfile.h"

#include "compress.h"
#include "digest.h"
#include "parse.h"

#include <bzlib.h>
#include <lzma.h>

#define BLOCK 512

const char mk_manifest[] = "NVIDIA Accelerated Graphics Driver for Linux-x86_64\n"
			   "1.2.3\n"
			   " \n"
			   "nvidia nvidia-vgpu-vfio \n"
			   " \n"
			   " \n"
			   "./kernel/\n"
			   "./kernel/precompiled/\n"
			   "kernel/nvidia/nv.c 0644 KERNEL_MODULE_SRC INHERIT_PATH_DEPTH:1 MODULE:resman\n"
			   "libcuda.so.1.2.3 0755 CUDA_LIB NATIVE / MODULE:gpgpu\n";

static void put_octal(char *field, size_t n, uint64_t v)
{
	for (size_t i = n - 1; i-- > 0; v >>= 3)
		field[i] = (char)('0' + (v & 7));
}

void mktar_add(struct strbuf *tar, const struct mktar *m)
{
	static const char zero[BLOCK];
	char h[BLOCK] = "";
	unsigned sum = 0;

	memcpy(h, m->name, strlen(m->name) > 100 ? 100 : strlen(m->name));
	put_octal(h + 100, 8, m->mode ? m->mode : 0644);
	put_octal(h + 124, 12, m->len);
	if (m->size_field)
		memcpy(h + 124, m->size_field, 12);
	put_octal(h + 136, 12, 1000000000);
	h[156] = m->type ? m->type : '0';
	if (m->link)
		memcpy(h + 157, m->link, strlen(m->link));
	memcpy(h + 257,
	       "ustar\0"
	       "00",
	       8);
	memset(h + 148, ' ', 8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)h[i];
	put_octal(h + 148, 7, sum + m->bad_checksum);
	(void)strbuf_append(tar, h, BLOCK);
	(void)strbuf_append(tar, m->bytes, m->len);
	(void)strbuf_append(tar, zero, (BLOCK - m->len % BLOCK) % BLOCK);
}

void mktar_file(struct strbuf *tar, const char *name, const char *text)
{
	mktar_add(tar, &(struct mktar){ .name = name, .bytes = text, .len = strlen(text) });
}

void mktar_end(struct strbuf *tar)
{
	static const char zero[2 * BLOCK];

	(void)strbuf_append(tar, zero, sizeof(zero));
}

void mktar_pax(struct strbuf *tar, const char *key, const char *value)
{
	_cleanup_free_ char *record = NULL;
	size_t len = strlen(key) + strlen(value) + 3, digits = 1;

	while (snprintf(NULL, 0, "%zu", len + digits) > (int)digits)
		digits++;
	record = str_printf("%zu %s=%s\n", len + digits, key, value);
	assert_non_null(record);
	mktar_add(tar, &(struct mktar){ .name = "pax", .type = 'x', .bytes = record, .len = strlen(record) });
}

void mktar_minimal(struct strbuf *tar)
{
	mktar_file(tar, ".manifest", mk_manifest);
	mktar_file(tar, "./kernel/nvidia/nv.c", "one\ntwo\nthree\n");
	mktar_add(tar, &(struct mktar){ .name = "libcuda.so.1.2.3",
					.bytes = "\x7f"
						 "ELF",
					.len = 4,
					.mode = 0755 });
	mktar_end(tar);
}

/* ---- compression ---- */

static int to_strbuf(void *arg, const void *buf, size_t len)
{
	return strbuf_append(arg, buf, len);
}

static void compress_bzip2(const void *bytes, size_t len, struct strbuf *out)
{
	unsigned n = (unsigned)len + len / 50 + 1000;
	char *buf = malloc(n);

	assert_non_null(buf);
	assert_int_equal(BZ2_bzBuffToBuffCompress(buf, &n, (char *)(uintptr_t)bytes, (unsigned)len, 1, 0, 0),
			 BZ_OK);
	(void)strbuf_append(out, buf, n);
	free(buf);
}

static void compress_lzma(const void *bytes, size_t len, struct strbuf *out)
{
	lzma_stream s = LZMA_STREAM_INIT;
	lzma_options_lzma o;
	size_t n = 2 * len + 4096;
	uint8_t *buf = malloc(n);

	assert_non_null(buf);
	assert_false(lzma_lzma_preset(&o, 1));
	assert_int_equal(lzma_alone_encoder(&s, &o), LZMA_OK);
	s.next_in = bytes;
	s.avail_in = len;
	s.next_out = buf;
	s.avail_out = n;
	assert_int_equal(lzma_code(&s, LZMA_FINISH), LZMA_STREAM_END);
	(void)strbuf_append(out, buf, n - s.avail_out);
	lzma_end(&s);
	free(buf);
}

char *mk_compress(enum compression c, const void *bytes, size_t len, size_t *ret_len)
{
	_cleanup_(compressor_freep) struct compressor *z = NULL;
	struct strbuf out = STRBUF_INIT((size_t)256 << 20);
	struct err e = ERR_INIT;
	char *ret;

	if (c == COMPRESSION_BZIP2) {
		compress_bzip2(bytes, len, &out);
	} else if (c == COMPRESSION_LZMA) {
		compress_lzma(bytes, len, &out);
	} else {
		assert_ok(compressor_new(c, -1, 1, len, to_strbuf, &out, &z, &e), &e);
		for (size_t at = 0; at < len; at += 1 << 20) /* at most a megabyte at once */
			assert_ok(compressor_write(z, (const char *)bytes + at,
						   len - at < 1 << 20 ? len - at : 1 << 20, &e),
				  &e);
		assert_ok(compressor_finish(z, &e), &e);
	}
	*ret_len = out.len;
	assert_int_equal(strbuf_steal(&out, &ret), 0);
	return ret;
}

/* ---- package ---- */

static const char decompressor[] = "\x7f"
				   "ELF\n\n\0\0\nskip=7\n\n\0END_OF_STUB\nxx";

static void add_tail(struct strbuf *b, const struct strbuf *tar, const struct mkrun *o)
{
	_cleanup_free_ char *payload = NULL;
	size_t len;

	if (o->decompressor) {
		(void)strbuf_append(b, decompressor, sizeof(decompressor) - 1);
		(void)strbuf_putc(b, '\n');
	}
	payload = mk_compress(o->compression, tar->buf, tar->len, &len);
	assert_true(o->cut < len);
	(void)strbuf_append(b, payload, len - o->cut);
	if (o->trailing)
		(void)strbuf_append(b, o->trailing, o->trailing_len ? o->trailing_len : strlen(o->trailing));
}

static unsigned count_lf(const char *p, size_t n)
{
	unsigned lines = 0;

	while (n--)
		lines += *p++ == '\n';
	return lines;
}

char *mkrun_make(const struct strbuf *tar, const struct mkrun *o, size_t *ret_len)
{
	static const char stub[] = "#\n# code\n\necho \"  Uncompressed size : 12 KB\"\nexit 1\nEND_OF_STUB\n";
	struct strbuf covered = STRBUF_INIT((size_t)256 << 20), out = STRBUF_INIT((size_t)256 << 20);
	unsigned size = o->decompressor ? count_lf(decompressor, sizeof(decompressor) - 1) + 1 : 0;
	unsigned first = 3 + 15 + count_lf(stub, sizeof(stub) - 1) + (o->stuffing ? 1 : 0) + 1;
	struct cksum crc = { 0 };
	struct digest *d = NULL;
	uint8_t md5[MD5_SIZE];
	char hex[33], *ret;

	if (o->stuffing) {
		(void)strbuf_putc(&covered, '#');
		for (size_t i = 0; i < o->stuffing; i++)
			(void)strbuf_putc(&covered, 'x');
		(void)strbuf_putc(&covered, '\n');
	}
	(void)strbuf_printf(&covered, "skip=%d\nskip_decompress=%u\nsize_decompress=%d\nlabel=\"%s\"\n",
			    (int)(first + size) + o->skip_off, first, (int)size + o->size_off,
			    o->label ? o->label
				     : "NVIDIA Accelerated Graphics Driver for Linux-x86_64 1.2.3");
	(void)strbuf_printf(
	    &covered,
	    "version_string=%s\npkg_version=0\nscript=./nvidia-installer\ntargetdir=%s\nscriptargs=\"\"\n",
	    o->version ? o->version : "1.2.3", o->targetdir ? o->targetdir : "NVIDIA-Linux-x86_64-1.2.3");
	(void)strbuf_puts(
	    &covered,
	    "keep=n\nadd_this_kernel=n\napply_patch=n\nTMPROOT=${TMPDIR:=/tmp}\nTARGET_OS=\"Linux\"\n"
	    "TARGET_ARCH=\"x86_64\"\n");
	(void)strbuf_puts(&covered, stub);
	add_tail(&covered, tar, o);
	cksum_update(&crc, covered.buf, covered.len);
	assert_int_equal(digest_new("md5", &d), 0);
	assert_int_equal(digest_update(d, covered.buf, covered.len), 0);
	assert_int_equal(digest_final(d, md5, sizeof(md5), NULL), 0);
	digest_freep(&d);
	md5[0] ^= o->bad_md5;
	if (o->zero_md5)
		memset(md5, 0, sizeof(md5));
	hex_encode(md5, sizeof(md5), hex);
	(void)strbuf_printf(&out, "#! /bin/sh\nCRCsum=%u\nMD5=%s\n", cksum_final(&crc) ^ o->bad_crc, hex);
	(void)strbuf_append(&out, covered.buf, covered.len);
	strbuf_done(&covered);
	*ret_len = out.len;
	assert_int_equal(strbuf_steal(&out, &ret), 0);
	return ret;
}

void mkrun_write(const struct testdir *t, const char *name, const struct strbuf *tar, const struct mkrun *o)
{
	size_t len;
	_cleanup_free_ char *bytes = mkrun_make(tar, o, &len);

	testdir_write(t, name, bytes, len, 0644);
}
