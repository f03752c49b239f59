/* SPDX-License-Identifier: Apache-2.0 */
#include "toolchain.h"

#include "digest.h"
#include "parse.h"
#include "spawn.h"
#include "strbuf.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void toolchain_done(struct toolchain *t)
{
	free(t->cc);
	free(t->ld);
	free(t->strip);
	free(t->make);
	free(t->cc_version);
	free(t->ld_version);
	free(t->note);
	*t = (struct toolchain)TOOLCHAIN_INIT;
}

/* -- version texts -- */

/* The cache entry of a program as it lies there now: a replaced compiler gets another one. */
static int version_object(const char *path, char out[65])
{
	_cleanup_free_ char *text = NULL;
	uint8_t digest[SHA256_SIZE];
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	text = str_printf("tool version 1\n%s\n%lld %lld.%09ld %llu\n", path, (long long)st.st_size,
			  (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (unsigned long long)st.st_ino);
	if (!text)
		return -ENOMEM;
	if (sha256_bytes(text, strlen(text), digest) < 0)
		return -EIO;
	hex_encode(digest, sizeof(digest), out);
	return 0;
}

static int version_cached(struct store *s, const char *id, char **ret)
{
	_cleanup_close_ int dir = store_object_open(s, STORE_OBJECT, id);
	json_t *record = NULL;
	const char *text;
	int r;

	if (dir < 0)
		return dir;
	r = store_record_read(dir, "record.json", &record, NULL);
	if (r < 0)
		return r;
	text = json_string_value(json_object_get(record, "version"));
	*ret = text ? strdup(text) : NULL;
	json_decref(record);
	return *ret ? 0 : -ENOENT;
}

/* Only a saving: when it cannot be kept, the next run asks the tool again. */
static void version_keep(struct store *s, const char *id, const char *path, const char *version)
{
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	json_t *record =
	    json_pack("{s:s, s:s, s:s}", "schema", "nvdriver.tool/1", "path", path, "version", version);

	if (record && !s->read_only && store_stage_begin(s, &st, NULL) == 0 &&
	    store_record_write(st.dir_fd, "record.json", record, 0644, NULL) == 0)
		(void)store_publish(&st, STORE_OBJECT, id, NULL);
	json_decref(record);
}

static int version_ask(const char *path, char **ret, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("compiler version");
	struct span rest, line;
	int r;

	spawn_argv(&s, path, "--version", NULL);
	s.capture = true;
	s.timeout_s = 30;
	r = spawn_check(&s, e);
	if (r < 0)
		return r;
	rest = (struct span){ s.out, s.out_len };
	if (!span_line(&rest, &line) || !span_trim(line).len)
		return err_set(e, ERR_SPAWN, "%s --version prints nothing", path);
	*ret = span_dup(span_trim(line));
	return *ret ? 0 : err_oom(e);
}

static int version_text(struct store *store, const char *path, char **ret, struct err *e)
{
	char id[65];
	int r = version_object(path, id);

	if (r < 0)
		return err_errno(e, r, "%s", path);
	if (store && version_cached(store, id, ret) == 0)
		return 0;
	r = version_ask(path, ret, e);
	if (r == 0 && store)
		version_keep(store, id, path, *ret);
	return r;
}

/* -- choice -- */

/* First "12.2.0"-like word outside of parentheses; false when there is none. */
static bool version_number(const char *text, unsigned long *ret_major, unsigned long *ret_minor)
{
	int depth = 0;

	for (const char *p = text; *p; p++) {
		char *end;

		depth += (*p == '(') - (*p == ')');
		if (depth > 0 || !isdigit((unsigned char)*p) || (p > text && p[-1] != ' '))
			continue;
		*ret_major = strtoul(p, &end, 10);
		if (*end != '.' || !isdigit((unsigned char)end[1]))
			continue;
		*ret_minor = strtoul(end + 1, NULL, 10);
		return true;
	}
	return false;
}

static bool is_clang(const char *text)
{
	return strstr(text, "clang") != NULL;
}

/* Modules may be compiled by another minor version: it takes the same flags and lays structures out alike. */
static bool same_compiler(const char *a, const char *b)
{
	unsigned long amajor, aminor, bmajor, bminor;

	return is_clang(a) == is_clang(b) && version_number(a, &amajor, &aminor) &&
	       version_number(b, &bmajor, &bminor) && amajor == bmajor;
}

static int find_tool(const char *name, const char *package, char **ret, struct err *e)
{
	int r;

	if (strchr(name, '/')) {
		*ret = strdup(name);
		return *ret ? 0 : err_oom(e);
	}
	r = spawn_find(name, ret);
	if (r == -ENOENT) {
		err_set(e, ERR_TOOL_MISSING, "%s is not installed", name);
		(void)err_object(e, "%s", name);
		(void)err_next(e, "install %s, or use a module set built elsewhere", package);
		return -ERR_TOOL_MISSING;
	}
	return r < 0 ? err_errno(e, r, "looking for %s", name) : 0;
}

/* Where a compiler of the kernel's may be, the likeliest first: the program CONFIG_CC_VERSION_TEXT begins with ("gcc-12"), the
 * family's plain name, one of that major version beside it, and that of a RHEL toolset. */
static int list_compilers(const char *kernel_cc, char ***ret)
{
	const char *family = is_clang(kernel_cc) ? "clang" : "gcc";
	struct span text = SPAN(kernel_cc), word;
	_cleanup_free_ char *named = NULL, *versioned = NULL, *toolset = NULL;
	unsigned long major, minor;

	if (span_word(&text, &word))
		named = span_dup(word);
	if (named && name_is_safe(named) && strncmp(named, family, strlen(family)) == 0 &&
	    strv_push(ret, named) < 0)
		return -ENOMEM;
	if (strv_push(ret, family) < 0)
		return -ENOMEM;
	if (!version_number(kernel_cc, &major, &minor))
		return 0;
	versioned = str_printf("%s-%lu", family, major);
	toolset = str_printf("/opt/rh/gcc-toolset-%lu/root/usr/bin/%s", major, family);
	return !versioned || !toolset || strv_push(ret, versioned) < 0 || strv_push(ret, toolset) < 0
		   ? -ENOMEM
		   : 0;
}

/* 1 = there it is and its version known, 0 = not installed. */
static int look_at_compiler(const char *name, struct store *store, char **ret_path, char **ret_version,
			    struct err *e)
{
	_cleanup_free_ char *path = NULL;
	int r;

	if (name[0] == '/') {
		path = access(name, X_OK) == 0 ? strdup(name) : NULL;
	} else {
		r = spawn_find(name, &path);
		if (r < 0 && r != -ENOENT)
			return err_errno(e, r, "looking for %s", name);
	}
	if (!path)
		return 0;
	r = version_text(store, path, ret_version, e);
	if (r < 0)
		return r;
	*ret_path = TAKE_PTR(path);
	return 1;
}

/* The first of the kernel's major version, else the first there is. */
static int find_compiler(const char *kernel_cc, struct store *store, struct toolchain *tc, struct err *e)
{
	_cleanup_strv_ char **names = NULL;
	int r = 0;

	if (list_compilers(kernel_cc, &names) < 0)
		return err_oom(e);
	for (char **n = names; *n; n++) {
		_cleanup_free_ char *path = NULL, *version = NULL;

		r = look_at_compiler(*n, store, &path, &version, e);
		if (r < 0)
			return r;
		if (r == 0)
			continue;
		if (!tc->cc || same_compiler(kernel_cc, version)) {
			free(tc->cc);
			free(tc->cc_version);
			tc->cc = TAKE_PTR(path);
			tc->cc_version = TAKE_PTR(version);
		}
		if (same_compiler(kernel_cc, tc->cc_version))
			return 0;
	}
	return tc->cc ? 0 : find_tool(is_clang(kernel_cc) ? "clang" : "gcc", "it", &tc->cc, e);
}

static int named_compiler(const char *name, struct store *store, struct toolchain *tc, struct err *e)
{
	int r = find_tool(name, "that compiler", &tc->cc, e);

	return r < 0 ? r : version_text(store, tc->cc, &tc->cc_version, e);
}

int toolchain_choose(const struct ktree *t, const char *cc_wanted, struct store *store, struct toolchain *ret,
		     struct err *e)
{
	_cleanup_(toolchain_done) struct toolchain tc = TOOLCHAIN_INIT;
	_cleanup_free_ char *kernel_cc = NULL;
	bool lld = ktree_config_enabled(t, "LD_IS_LLD");
	int r;

	(void)ktree_config(t, "CC_VERSION_TEXT", &kernel_cc);
	r = cc_wanted ? named_compiler(cc_wanted, store, &tc, e)
		      : find_compiler(kernel_cc ? kernel_cc : "gcc", store, &tc, e);
	if (r < 0)
		return r;
	r = find_tool(lld ? "ld.lld" : "ld", lld ? "lld" : "binutils", &tc.ld, e);
	if (r < 0)
		return r;
	r = find_tool("strip", "binutils", &tc.strip, e);
	if (r < 0)
		return r;
	r = find_tool("make", "make", &tc.make, e);
	if (r < 0)
		return r;
	r = version_text(store, tc.ld, &tc.ld_version, e);
	if (r < 0)
		return r;
	tc.cc_matches = kernel_cc && same_compiler(kernel_cc, tc.cc_version);
	if (!tc.cc_matches) {
		tc.note = str_printf(
		    "the kernel was built with \"%s\", the modules with \"%s\" (IGNORE_CC_MISMATCH=1)",
		    kernel_cc ? kernel_cc : "unknown compiler", tc.cc_version);
		if (!tc.note)
			return err_oom(e);
	}
	*ret = tc;
	tc = (struct toolchain)TOOLCHAIN_INIT;
	return 0;
}
