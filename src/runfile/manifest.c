/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest.h"

#include "fd.h"
#include "path.h"

#include <string.h>

#define HEADER_LINES		8
#define DEFAULT_BUILD_DIR	"./kernel/"
#define DEFAULT_PRECOMPILED_DIR "./kernel/precompiled/"
#define WORD_MAX_BYTES		4095
#define INHERIT_MAX		64

struct parser {
	struct manifest *m; /* borrowed */
	unsigned flags, line, branch;
	struct span words; /* what is left of the current line */
	struct err *e;
};

/* ---- life ---- */

static void entry_done(struct manifest_entry *en)
{
	free(en->file);
	free(en->type_name);
	free(en->path);
	free(en->inherited);
	free(en->target);
	free(en->module);
	free(en->words);
}

void manifest_freep(struct manifest **m)
{
	struct manifest *old = *m;

	*m = NULL;
	if (!old)
		return;
	for (size_t i = 0; i < old->n_entries; i++)
		entry_done(&old->entries[i]);
	free(old->entries);
	free(old->description);
	free(old->version);
	free(old->build_dir);
	free(old->precompiled_dir);
	strv_freep(&old->kernel_modules);
	strv_freep(&old->notes);
	free(old);
}

static struct manifest_entry *entry_push(struct manifest *m)
{
	if (m->n_entries == m->n_allocated) {
		size_t n = m->n_allocated ? m->n_allocated * 2 : 64;
		struct manifest_entry *more = reallocarray(m->entries, n, sizeof(*more));

		if (!more)
			return NULL;
		m->entries = more;
		m->n_allocated = n;
	}
	memset(&m->entries[m->n_entries], 0, sizeof(*m->entries));
	m->entries[m->n_entries].inherit_depth = MANIFEST_NO_INHERIT;
	return &m->entries[m->n_entries++];
}

static int bad_line(struct parser *p, const char *what)
{
	return err_set(p->e, -ERR_MANIFEST, "manifest line %u: %s", p->line, what);
}

static int note(struct parser *p, const char *fmt, const char *arg)
{
	_cleanup_free_ char *text = str_printf(fmt, p->line, arg);

	if (!text)
		return err_oom(p->e);
	if (strv_contains(p->m->notes, text) || strv_len(p->m->notes) >= MANIFEST_NOTES_MAX)
		return 0;
	return strv_push(&p->m->notes, text) < 0 ? err_oom(p->e) : 0;
}

/* ---- words ---- */

static bool word_is_printable(struct span w)
{
	for (size_t i = 0; i < w.len; i++)
		if ((unsigned char)w.p[i] < 0x20 || w.p[i] == 0x7f)
			return false;
	return w.len <= WORD_MAX_BYTES;
}

static int next_word(struct parser *p, const char *what, struct span *ret)
{
	_cleanup_free_ char *text = NULL;

	if (!span_word(&p->words, ret)) {
		text = str_printf("no %s", what);
		return text ? bad_line(p, text) : err_oom(p->e);
	}
	if (!word_is_printable(*ret))
		return bad_line(p, "control bytes, or a word over 4095 bytes");
	return 0;
}

/* Take the next word only when it is one of two spellings. */
static int take_either(struct parser *p, const char *a, const char *b)
{
	struct span rest = p->words, w;

	if (!span_word(&rest, &w))
		return 0;
	if (!span_eq(w, a) && !span_eq(w, b))
		return 0;
	p->words = rest;
	return span_eq(w, a) ? 1 : 2;
}

static bool in_branch(const struct parser *p, unsigned since, unsigned until)
{
	return p->branch == 0 || (p->branch >= since && p->branch <= until);
}

static unsigned version_branch(const char *version)
{
	uint64_t n = 0;
	size_t digits = strspn(version, "0123456789");

	return parse_u64((struct span){ version, digits }, 99999, &n) < 0 ? 0 : (unsigned)n;
}

/* Check a name of the payload, or a relative directory, and keep its clean form. */
static int clean_name(struct parser *p, struct span w, const char *what, char **ret)
{
	_cleanup_free_ char *raw = span_dup(w);
	int r;

	if (!raw)
		return err_oom(p->e);
	r = strlen(raw) == w.len ? path_clean(raw, ret) : -EINVAL;
	if (r == -ENOMEM)
		return err_oom(p->e);
	if (r < 0)
		return err_set(p->e, -ERR_PATH_ESCAPE,
			       "manifest line %u: the %s " SPAN_FMT " is not a plain relative name", p->line,
			       what, SPAN_ARG(w));
	return 0;
}

/* ---- fields ---- */

static int read_arch(struct parser *p, struct manifest_entry *en)
{
	int r = take_either(p, "NATIVE", "COMPAT32");

	if (r == 0)
		return bad_line(p, "neither NATIVE nor COMPAT32 where the type needs one");
	en->arch = r == 1 ? MANIFEST_NATIVE : MANIFEST_COMPAT32;
	return 0;
}

static int read_tls(struct parser *p, struct manifest_entry *en)
{
	if (!in_branch(p, 331, 410))
		return 0;
	en->tls = (enum manifest_tls)take_either(p, "CLASSIC", "NEW");
	return en->tls || !p->branch ? 0 : note(p, "line %u: %s without a TLS class", en->type_name);
}

static int read_glvnd(struct parser *p, struct manifest_entry *en)
{
	if (!in_branch(p, 361, 418))
		return 0;
	en->glvnd = (enum manifest_glvnd)take_either(p, "GLVND", "NON_GLVND");
	return en->glvnd || !p->branch ? 0 : note(p, "line %u: %s without a GLVND selector", en->type_name);
}

static bool absolute_is_allowed(const char *clean)
{
	static const char *const tops[] = { "usr", "etc", "lib", "opt" };

	for (size_t i = 0; i < ARRAY_LEN(tops); i++) {
		size_t n = strlen(tops[i]);

		if (strncmp(clean, tops[i], n) == 0 && (clean[n] == '/' || clean[n] == '\0'))
			return true;
	}
	return false;
}

static int read_path(struct parser *p, struct manifest_entry *en)
{
	bool absolute = en->type->flags & MANIFEST_ABSOLUTE;
	_cleanup_free_ char *clean = NULL;
	struct span w;
	int r;

	r = next_word(p, "path", &w);
	if (r < 0)
		return r;
	if (absolute && w.p[0] != '/')
		return bad_line(p, "a relative path where the type needs an absolute directory");
	while (w.len > 0 && w.p[0] == '/') {
		w.p++;
		w.len--;
	}
	r = clean_name(p, w, "path", &clean);
	if (r < 0)
		return r;
	if (!absolute) {
		en->path = TAKE_PTR(clean);
		return 0;
	}
	if (!absolute_is_allowed(clean))
		return err_set(p->e, -ERR_PATH_ESCAPE,
			       "manifest line %u: /%s is not below /usr, /etc, /lib or /opt", p->line, clean);
	en->path = str_printf("/%s", clean);
	return en->path ? 0 : err_oom(p->e);
}

static int set_inherited(struct parser *p, struct manifest_entry *en)
{
	const char *at = en->file;

	if (en->name == en->file)
		return bad_line(p, "an inherited path for a file without a directory");
	for (int i = 0; i < en->inherit_depth; i++) {
		const char *slash = strchr(at, '/');

		if (!slash)
			return bad_line(p, "INHERIT_PATH_DEPTH is deeper than the file");
		at = slash + 1;
	}
	if (at > en->name)
		return bad_line(p, "INHERIT_PATH_DEPTH is deeper than the file");
	en->inherited = strndup(at, at == en->name ? 0 : (size_t)(en->name - at - 1));
	return en->inherited ? 0 : err_oom(p->e);
}

/* Before 361 kernel sources had a plain path in place of the depth; it named the directory directly. */
static int read_old_source_path(struct parser *p, struct manifest_entry *en, struct span w)
{
	while (w.len > 0 && w.p[0] == '/') {
		w.p++;
		w.len--;
	}
	en->inherit_depth = 0;
	return clean_name(p, w, "path", &en->inherited);
}

static int read_inherit(struct parser *p, struct manifest_entry *en)
{
	static const char key[] = "INHERIT_PATH_DEPTH:";
	uint64_t depth;
	struct span w;
	int r;

	r = next_word(p, "INHERIT_PATH_DEPTH", &w);
	if (r < 0)
		return r;
	if (!span_starts(w, key)) {
		if (p->branch > 0 && p->branch < 361)
			return read_old_source_path(p, en, w);
		return bad_line(p, "no INHERIT_PATH_DEPTH where the type needs one");
	}
	w.p += sizeof(key) - 1;
	w.len -= sizeof(key) - 1;
	if (parse_u64(w, INHERIT_MAX, &depth) < 0)
		return bad_line(p, "INHERIT_PATH_DEPTH is not a small number");
	en->inherit_depth = (int)depth;
	return set_inherited(p, en);
}

/* Link text: relative, may climb ("../x") but only as far as the root of what is installed can judge; here it
 * must be printable and not absolute outside the system directories. */
static int read_target(struct parser *p, struct manifest_entry *en)
{
	struct span w;
	int r;

	r = next_word(p, "link target", &w);
	if (r < 0)
		return r;
	en->target = span_dup(w);
	if (!en->target)
		return err_oom(p->e);
	if (en->target[0] == '/' ? !absolute_is_allowed(en->target + 1) : !path_name_is_clean(en->target))
		return err_set(p->e, -ERR_PATH_ESCAPE, "manifest line %u: the link target %s leads elsewhere",
			       p->line, en->target);
	return 0;
}

/* What follows the known fields: kept word for word, single blanks between. */
static int read_words(struct parser *p, struct manifest_entry *en)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(WORD_MAX_BYTES);
	struct span w;

	while (span_word(&p->words, &w)) {
		if (!word_is_printable(w))
			return bad_line(p, "control bytes after the last field");
		if (!en->module && span_starts(w, "MODULE:")) {
			en->module = span_dup((struct span){ w.p + 7, w.len - 7 });
			if (!en->module)
				return err_oom(p->e);
		}
		if (b.len > 0)
			(void)strbuf_putc(&b, ' ');
		(void)strbuf_append(&b, w.p, w.len);
	}
	if (strbuf_error(&b) == -E2BIG)
		return bad_line(p, "longer than 4095 bytes");
	en->words = strbuf_error(&b) < 0 ? NULL : strdup(strbuf_str(&b));
	return en->words ? 0 : err_oom(p->e);
}

static int read_type_fields(struct parser *p, struct manifest_entry *en)
{
	static const struct {
		unsigned flag;
		int (*read)(struct parser *, struct manifest_entry *);
	} fields[] = {
		{ MANIFEST_ARCH, read_arch },	   { MANIFEST_TLS, read_tls },
		{ MANIFEST_PATH, read_path },	   { MANIFEST_INHERIT, read_inherit },
		{ MANIFEST_SYMLINK, read_target }, { MANIFEST_GLVND, read_glvnd },
	};

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		int r = en->type->flags & fields[i].flag ? fields[i].read(p, en) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

static int read_unknown_type(struct parser *p, struct manifest_entry *en)
{
	_cleanup_free_ char *text = NULL;

	if (p->flags & MANIFEST_STRICT)
		return err_set(p->e, -ERR_MANIFEST_UNKNOWN_TYPE, "manifest line %u: unknown file type %s",
			       p->line, en->type_name);
	text = str_printf("unknown file type %s: its entries are never installed", en->type_name);
	if (!text)
		return err_oom(p->e);
	if (strv_contains(p->m->notes, text) || strv_len(p->m->notes) >= MANIFEST_NOTES_MAX)
		return 0;
	return strv_push(&p->m->notes, text) < 0 ? err_oom(p->e) : 0;
}

static int read_fixed_fields(struct parser *p, struct manifest_entry *en)
{
	struct span file, mode, type;
	uint32_t bits;
	int r;

	if ((r = next_word(p, "file name", &file)) < 0 || (r = next_word(p, "mode", &mode)) < 0 ||
	    (r = next_word(p, "file type", &type)) < 0)
		return r;
	r = clean_name(p, file, "file name", &en->file);
	if (r < 0)
		return r;
	if (en->file[0] == '\0')
		return bad_line(p, "the file name is empty");
	en->name = strrchr(en->file, '/');
	en->name = en->name ? en->name + 1 : en->file;
	if (parse_octal(mode, 07777, &bits) < 0)
		return bad_line(p, "the mode is not an octal number up to 07777");
	en->mode = bits;
	en->type_name = span_dup(type);
	return en->type_name ? 0 : err_oom(p->e);
}

static int read_entry(struct parser *p, struct span line)
{
	struct manifest_entry *en;
	int r;

	if (p->m->n_entries >= MANIFEST_MAX_ENTRIES)
		return bad_line(p, "more than 200000 entries");
	en = entry_push(p->m);
	if (!en)
		return err_oom(p->e);
	en->line = p->line;
	p->words = line;
	r = read_fixed_fields(p, en);
	if (r < 0)
		return r;
	en->type = manifest_type_find(en->type_name);
	r = en->type ? read_type_fields(p, en) : read_unknown_type(p, en);
	return r < 0 ? r : read_words(p, en);
}

/* ---- duplicates ---- */

/* What decides where an entry lands, as far as it can be told without a target: kind of directory, arch, selector
 * and relative name. Kernel sources keep their whole name: a package carries two flavours for one place. */
static int entry_place(const struct manifest_entry *en, char **ret)
{
	const char *dir = en->path ? en->path : "";

	if (en->type->flags & MANIFEST_INHERIT)
		dir = en->type->dest == DEST_KERNEL_SOURCE ? en->file : en->inherited;
	*ret = str_printf("%d %d %d %d %s/%s", (int)en->type->dest, (int)en->arch, (int)en->tls,
			  (int)en->glvnd, dir, en->name);
	return *ret ? 0 : -ENOMEM;
}

struct place {
	char *key;
	const struct manifest_entry *en;
};

static int place_compare(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	int r = strcmp(x->key, y->key);

	return r ? r : (x->en > y->en) - (x->en < y->en);
}

static bool same_links(const struct manifest_entry *a, const struct manifest_entry *b)
{
	return a->target && b->target && strcmp(a->target, b->target) == 0;
}

static int find_duplicate(struct place *places, size_t n, struct err *e)
{
	qsort(places, n, sizeof(*places), place_compare);
	for (size_t i = 1; i < n; i++) {
		const struct manifest_entry *a = places[i - 1].en, *b = places[i].en;

		if (strcmp(places[i - 1].key, places[i].key) == 0 && !same_links(a, b))
			return err_set(e, -ERR_MANIFEST_DUPLICATE, "manifest lines %u and %u both place %s",
				       a->line, b->line, b->name);
	}
	return 0;
}

static int check_duplicates(const struct manifest *m, struct err *e)
{
	_cleanup_free_ struct place *places = calloc(m->n_entries + 1, sizeof(*places));
	size_t n = 0;
	int r = 0;

	if (!places)
		return err_oom(e);
	for (size_t i = 0; i < m->n_entries && r == 0; i++) {
		const struct manifest_entry *en = &m->entries[i];

		if (!en->type || en->type->dest == DEST_NONE)
			continue;
		places[n].en = en;
		r = entry_place(en, &places[n].key);
		n += r == 0;
	}
	r = r < 0 ? err_oom(e) : find_duplicate(places, n, e);
	for (size_t i = 0; i < n; i++)
		free(places[i].key);
	return r;
}

/* ---- header ---- */

static int read_modules(struct parser *p, struct span line)
{
	struct span w;

	while (span_word(&line, &w)) {
		_cleanup_free_ char *name = span_dup(w);

		if (!name)
			return err_oom(p->e);
		if (!name_is_safe(name))
			return bad_line(p, "a kernel module name with unusual bytes");
		if (strv_push(&p->m->kernel_modules, name) < 0)
			return err_oom(p->e);
	}
	return strv_len(p->m->kernel_modules) ? 0 : bad_line(p, "no kernel module is named");
}

static int read_header_line(struct parser *p, struct span line)
{
	struct manifest *m = p->m;
	char **fields[HEADER_LINES + 1] = {
		[1] = &m->description, [2] = &m->version, [7] = &m->build_dir, [8] = &m->precompiled_dir
	};

	if (line.len == 0 && note(p, "line %u: %s", "an empty header line (one blank is usual)") < 0)
		return -ENOMEM;
	if (!word_is_printable(line))
		return bad_line(p, "control bytes in the header");
	if (p->line == 4)
		return read_modules(p, line);
	if (!fields[p->line])
		return 0;
	*fields[p->line] = span_dup(span_trim(line));
	if (!*fields[p->line])
		return err_oom(p->e);
	if (p->line == 2 && !version_is_valid(m->version))
		return bad_line(p, "not a driver version");
	p->branch = p->line == 2 ? version_branch(m->version) : p->branch;
	return 0;
}

static void strip_cr(struct span *line)
{
	while (line->len > 0 && line->p[line->len - 1] == '\r')
		line->len--;
}

static int parse_lines(struct parser *p, struct span text)
{
	struct span line;
	int r;

	while (span_line(&text, &line)) {
		p->line++;
		strip_cr(&line);
		if (p->line > HEADER_LINES && line.len == 0)
			return 0; /* an empty line ends the entries */
		r = p->line <= HEADER_LINES ? read_header_line(p, line) : read_entry(p, line);
		if (r < 0)
			return r;
	}
	return p->line < HEADER_LINES ? err_set(p->e, -ERR_MANIFEST, "the manifest ends in its header") : 0;
}

int manifest_parse(struct span text, unsigned flags, struct manifest **ret, struct err *e)
{
	_cleanup_(manifest_freep) struct manifest *m = calloc(1, sizeof(*m));
	struct parser p = { .m = m, .flags = flags, .e = e };
	int r;

	if (!m)
		return err_oom(e);
	if (text.len > MANIFEST_MAX_BYTES)
		return err_set(e, -ERR_MANIFEST, "the manifest is larger than 8 MiB");
	if (memchr(text.p, '\0', text.len))
		return err_set(e, -ERR_MANIFEST, "the manifest holds NUL bytes");
	r = parse_lines(&p, text);
	if (r < 0)
		return r;
	r = check_duplicates(m, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(m);
	return 0;
}

int manifest_read_at(int dirfd, const char *path, unsigned flags, struct manifest **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	r = read_file_at(dirfd, path, MANIFEST_MAX_BYTES, &text, &len);
	if (r < 0)
		return err_errno(e, r, "cannot read %s", path);
	return manifest_parse((struct span){ text, len }, flags, ret, e);
}

/* ---- making one ---- */

int manifest_new(const char *description, const char *version, const char *modules, struct manifest **ret,
		 struct err *e)
{
	_cleanup_free_ char *text =
	    str_printf("%s\n%s\n \n%s \n \n \n" DEFAULT_BUILD_DIR "\n" DEFAULT_PRECOMPILED_DIR "\n",
		       description, version, modules);

	if (!text)
		return err_oom(e);
	return manifest_parse(SPAN(text), 0, ret, e);
}

static const char *const arch_words[] = { "", " NATIVE", " COMPAT32" };
static const char *const tls_words[] = { "", " CLASSIC", " NEW" };
static const char *const glvnd_words[] = { "", " GLVND", " NON_GLVND" };

static void emit_fields(const struct manifest_entry *en, struct strbuf *out)
{
	(void)strbuf_puts(out, arch_words[en->arch]);
	(void)strbuf_puts(out, tls_words[en->tls]);
	if (en->path)
		(void)strbuf_printf(out, " %s", en->path[0] ? en->path : "/");
	if (en->inherit_depth != MANIFEST_NO_INHERIT)
		(void)strbuf_printf(out, " INHERIT_PATH_DEPTH:%d", en->inherit_depth);
	if (en->target)
		(void)strbuf_printf(out, " %s", en->target);
	(void)strbuf_puts(out, glvnd_words[en->glvnd]);
}

int manifest_add(struct manifest *m, const char *file, unsigned mode, const char *type,
		 enum manifest_arch arch, const char *path, int inherit_depth, const char *target,
		 const char *module, struct err *e)
{
	struct manifest_entry fields = {
		.arch = arch, .path = (char *)path, .inherit_depth = inherit_depth, .target = (char *)target
	};
	_cleanup_(strbuf_done) struct strbuf line = STRBUF_INIT(4 * WORD_MAX_BYTES);
	struct parser p = { .m = m, .flags = MANIFEST_STRICT, .branch = version_branch(m->version), .e = e };
	int r;

	(void)strbuf_printf(&line, "%s %04o %s", file, mode, type);
	emit_fields(&fields, &line);
	if (module)
		(void)strbuf_printf(&line, " MODULE:%s", module);
	r = strbuf_error(&line);
	if (r < 0)
		return err_errno(e, r, "cannot list %s", file);
	r = read_entry(&p, (struct span){ strbuf_str(&line), line.len });
	if (r < 0 && m->n_entries > 0)
		entry_done(&m->entries[--m->n_entries]);
	return r;
}

static const char *or_blank(const char *s)
{
	return s && *s ? s : " ";
}

static void emit_header(const struct manifest *m, struct strbuf *out)
{
	(void)strbuf_printf(out, "%s\n%s\n \n", or_blank(m->description), or_blank(m->version));
	for (char **k = m->kernel_modules; k && *k; k++)
		(void)strbuf_printf(out, "%s ", *k);
	(void)strbuf_printf(out, "\n \n \n%s\n%s\n", or_blank(m->build_dir), or_blank(m->precompiled_dir));
}

/* Sources of branches before 361 carry their directory where later ones carry a depth. */
static bool has_old_source_path(const struct manifest_entry *en, unsigned branch)
{
	return en->type && (en->type->flags & MANIFEST_INHERIT) && branch > 0 && branch < 361 &&
	       en->inherit_depth == 0;
}

int manifest_emit(const struct manifest *m, struct strbuf *out)
{
	unsigned branch = version_branch(m->version);

	emit_header(m, out);
	for (size_t i = 0; i < m->n_entries; i++) {
		const struct manifest_entry *en = &m->entries[i];

		(void)strbuf_printf(out, "%s %04o %s", en->file, en->mode, en->type_name);
		if (has_old_source_path(en, branch))
			(void)strbuf_printf(out, " %s", en->inherited[0] ? en->inherited : "/");
		else
			emit_fields(en, out);
		if (en->words && en->words[0])
			(void)strbuf_printf(out, " %s", en->words);
		(void)strbuf_putc(out, '\n');
	}
	return strbuf_error(out);
}

const struct manifest_entry *manifest_find(const struct manifest *m, const char *file)
{
	for (size_t i = 0; i < m->n_entries; i++)
		if (strcmp(m->entries[i].file, file) == 0)
			return &m->entries[i];
	return NULL;
}

/* ---- package kind ---- */

const char *package_kind_name(enum package_kind k)
{
	static const char *const names[] = { "passthrough", "grid", "vgpu-kvm", "merged" };

	return names[k];
}

enum package_kind manifest_package_kind(const struct manifest *m, bool has_host_marker)
{
	bool host = has_host_marker, guest = false;

	for (size_t i = 0; i < m->n_entries; i++) {
		const struct manifest_entry *en = &m->entries[i];

		host = host || strcmp(en->type_name, "VGX_LIB") == 0 ||
		       strcmp(en->name, PACKAGE_VGPU_HOST_MARKER) == 0;
		guest =
		    guest || strcmp(en->type_name, "GRID_LIB") == 0 || strcmp(en->name, "nvidia-gridd") == 0;
	}
	if (host && guest)
		return PACKAGE_MERGED;
	return host ? PACKAGE_VGPU_KVM : guest ? PACKAGE_GRID : PACKAGE_PASSTHROUGH;
}
