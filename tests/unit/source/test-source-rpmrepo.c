/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "gpgv.h"
#include "rpmrepo.h"
#include "xml.h"

#define SUM "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* -- tags -- */

static void reads_tags(void **state _unused_)
{
	static const struct {
		const char *text, *name, *attribute; /* of the first tag; NULL = none */
		int want; /* of xml_next() */
	} cases[] = {
		{ "", NULL, NULL, 0 },
		{ "no tags", NULL, NULL, 0 },
		{ "<?xml version=\"1.0\"?><!-- <a> --><b x='1'>", "b", "1", 1 },
		{ "<b y='>' x = \"2\" />", "b", "2", 1 },
		{ "<a:b\nxx='1'\n\tx='3'/>", "a:b", "3", 1 },
		{ "<b x='&amp;'/>", "b", NULL, 1 },
		{ "<b x=1/>", "b", NULL, 1 },
		{ "<b x='1/>", NULL, NULL, -EBADMSG },
		{ "<b", NULL, NULL, -EBADMSG },
		{ "<>", NULL, NULL, -EBADMSG },
		{ "< b>", NULL, NULL, -EBADMSG },
		{ "<!DOCTYPE x [<!ENTITY y 'z'>]><b/>", NULL, NULL, -EBADMSG },
		{ "<![CDATA[x]]>", NULL, NULL, -EBADMSG },
		{ "<!-- never ends <b/>", NULL, NULL, -EBADMSG },
		{ "<? never ends <b/>", NULL, NULL, -EBADMSG },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct span rest = SPAN(cases[i].text), value;
		struct xml_tag t;

		assert_int_equal(xml_next(&rest, &t), cases[i].want);
		if (!cases[i].name)
			continue;
		assert_true(span_eq(t.name, cases[i].name));
		assert_int_equal(xml_attribute(&t, "x", &value) == 0, cases[i].attribute != NULL);
		assert_true(!cases[i].attribute || span_eq(value, cases[i].attribute));
	}
}

static void reads_text_and_ends(void **state _unused_)
{
	struct span rest = SPAN("<a> one <b/>two</a>");
	struct xml_tag t;

	assert_int_equal(xml_next(&rest, &t), 1);
	assert_true(span_eq(t.text, "one") && !t.closes && !t.is_empty);
	assert_int_equal(xml_next(&rest, &t), 1);
	assert_true(span_eq(t.name, "b") && t.is_empty && span_eq(t.text, "two"));
	assert_int_equal(xml_next(&rest, &t), 1);
	assert_true(span_eq(t.name, "a") && t.closes);
	assert_int_equal(xml_next(&rest, &t), 0);
}

/* -- the index -- */

static void reads_the_index(void **state _unused_)
{
	static const struct {
		const char *text, *href; /* NULL = refused */
	} cases[] = {
		{ "<repomd><data type=\"other\"><checksum type=\"sha256\">" SUM
		  "</checksum><location href=\"no\"/></data><data type=\"primary\"><checksum "
		  "type=\"sha256\">" SUM "</checksum><open-checksum type=\"sha256\">ff</open-checksum>"
		  "<location href=\"repodata/p.xml.gz\"/></data></repomd>",
		  "repodata/p.xml.gz" },
		{ "<data type=\"primary\"><checksum type=\"sha\">" SUM
		  "</checksum><location href=\"p\"/></data>",
		  NULL },
		{ "<data type=\"primary\"><checksum type=\"sha256\">12</checksum><location "
		  "href=\"p\"/></data>",
		  NULL },
		{ "<data type=\"primary\"><checksum type=\"sha256\">" SUM
		  "</checksum><location href=\"../p\"/></data>",
		  NULL },
		{ "<data type=\"primary\"><checksum type=\"sha256\">" SUM
		  "</checksum><location href=\"http://elsewhere/p\"/></data>",
		  NULL },
		{ "<data type=\"primary\"></data>", NULL },
		{ "<html><body>log in</body></html>", NULL },
		{ "", NULL },
		{ "<data type=\"primary\"", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(rpmrepo_index_done) struct rpmrepo_index index = { 0 };
		_cleanup_(err_done) struct err e = ERR_INIT;
		int r = rpmrepo_parse_index(SPAN(cases[i].text), &index, &e);

		assert_int_equal(r, cases[i].href ? 0 : -ERR_REPOSITORY_INVALID);
		if (cases[i].href) {
			assert_string_equal(index.href, cases[i].href);
			assert_string_equal(index.sha256, SUM);
		}
	}
}

/* -- the list -- */

#define PACKAGE(name, rel, arch, type, href)                                                                 \
	"<package type=\"rpm\"><name>" name "</name><arch>" arch                                             \
	"</arch><version epoch=\"0\" ver=\"5.14.0\" "                                                        \
	"rel=\"" rel "\"/><checksum type=\"" type "\" pkgid=\"YES\">" SUM "</checksum>"                      \
	"<size package=\"77\" installed=\"9\"/><location href=\"" href "\"/><format><name>no</name>"         \
	"<rpm:provides><rpm:entry name=\"x\"/></rpm:provides></format></package>"

static const char list[] = "<?xml version=\"1.0\"?><metadata packages=\"9\">" PACKAGE(
    "kernel-devel", "1.el9", "x86_64", "sha256", "k/1")
    PACKAGE("kernel-debug-devel", "1.el9", "x86_64", "sha256", "k/2")
	PACKAGE("kernel-64k-devel", "1.el9", "aarch64", "sha256", "k/3")
	    PACKAGE("kernel-devel", "1.el9", "aarch64", "sha256", "k/4")
		PACKAGE("kernel-uek-devel", "1.el9uek", "x86_64", "sha256", "k/5")
		    PACKAGE("kernel-headers", "1.el9", "x86_64", "sha256", "k/6")
			PACKAGE("kernel-devel", "2.el9", "x86_64", "md5", "k/7")
			    PACKAGE("kernel-devel", "2.el9", "x86_64", "sha256", "/k/8") "</metadata>";

static void chooses_by_release_and_variant(void **state _unused_)
{
	static const struct {
		const char *release, *href; /* NULL = none */
	} cases[] = {
		{ "5.14.0-1.el9.x86_64", "k/1" },
		{ "5.14.0-1.el9.x86_64+debug", "k/2" },
		{ "5.14.0-1.el9.aarch64+64k", "k/3" },
		{ "5.14.0-1.el9.aarch64", "k/4" },
		{ "5.14.0-1.el9uek.x86_64", "k/5" },
		{ "5.14.0-1.el9.x86_64+rt", NULL },
		{ "5.14.0-2.el9.x86_64", NULL }, /* neither can be checked or leads inside */
		{ "5.14.0-1.el9", NULL },
		{ "5.14.0-1.el9.x86_64x", NULL },
	};
	_cleanup_(rpmrepo_packages_done) struct rpmrepo_packages l = { 0 }, none = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;

	assert_ok(rpmrepo_parse_packages(SPAN(list), &l, &e), &e);
	assert_int_equal(l.n, 5);
	assert_int_equal(l.v[0].size_bytes, 77);
	assert_string_equal(l.v[0].name, "kernel-devel");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ const struct rpmrepo_package **fit = NULL;
		size_t n = 99;

		assert_int_equal(rpmrepo_choose(&l, cases[i].release, &fit, &n), 0);
		assert_int_equal(n, cases[i].href ? 1 : 0);
		if (cases[i].href)
			assert_string_equal(fit[0]->href, cases[i].href);
	}
	assert_int_equal(rpmrepo_parse_packages(SPAN("<package><name>kernel"), &none, &e), 0);
	assert_int_equal(none.n, 0);
	assert_int_equal(rpmrepo_parse_packages(SPAN("<package><name"), &none, &e), -ERR_REPOSITORY_INVALID);
}

static void believes_good_signatures_alone(void **state _unused_)
{
	static const struct {
		const char *status;
		bool good;
	} cases[] = {
		{ "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 0123 Me <m@x>\n[GNUPG:] VALIDSIG A 2026 1 0\n", true },
		{ "", false },
		{ "gpgv: Good signature\n", false },
		{ "[GNUPG:] ERRSIG 0123 22 10 00 1 9 -\n[GNUPG:] NO_PUBKEY 0123\n", false },
		{ "[GNUPG:] EXPKEYSIG 0123 GOODSIG\n[GNUPG:] VALIDSIG A 2026 1 0\n", false },
		{ "[GNUPG:] REVKEYSIG 0123 Me\n", false },
		{ "[GNUPG:] GOODSIG 0123 Me\n[GNUPG:] BADSIG 4567 You\n", false },
		{ "GOODSIG 0123 Me\n", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(gpgv_is_good(SPAN(cases[i].status)), cases[i].good);
}

static void joins_addresses(void **state _unused_)
{
	static const struct {
		const char *url, *want;
	} cases[] = { { "file:///a", "file:///a/b/c" }, { "https://h/x//", "https://h/x/b/c" } };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *got = rpmrepo_url(cases[i].url, "b/c");

		assert_string_equal(got, cases[i].want);
	}
}

TEST_MAIN(cmocka_unit_test(reads_tags), cmocka_unit_test(reads_text_and_ends),
	  cmocka_unit_test(reads_the_index), cmocka_unit_test(chooses_by_release_and_variant),
	  cmocka_unit_test(believes_good_signatures_alone), cmocka_unit_test(joins_addresses))
