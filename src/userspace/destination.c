/* SPDX-License-Identifier: Apache-2.0
 *
 * Three questions per manifest line, each answered by a table: does the profile take it, does a fact of the root
 * drop it, where does it go. */
#include "destination.h"

#include "elffile.h"
#include "fd.h"
#include "path.h"
#include "strbuf.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>

#define TEMPLATE_MAX_BYTES ((size_t)1 << 20)
#define OPS_MAX		   200000u

enum { PHASE_LIBRARY, PHASE_FILE, PHASE_LINK, PHASE_LAST_LINK };

/* -- profiles -- */

static const char *const profile_names[] = {
	[DEST_PROFILE_COMPUTE] = "compute",
	[DEST_PROFILE_FULL] = "full",
	[DEST_PROFILE_HOST_VGPU] = "host-vgpu",
	[DEST_PROFILE_CUSTOM] = "custom",
};

int dest_profile_parse(const char *name, enum dest_profile *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(profile_names); i++) {
		if (strcmp(profile_names[i], name) != 0)
			continue;
		*ret = (enum dest_profile)i;
		return 0;
	}
	return -EINVAL;
}

const char *dest_profile_name(enum dest_profile p)
{
	return profile_names[p];
}

/* A row takes an entry when the type matches and, where given, the component or the file name does. Packages made
 * from a distribution's files may lack component words, so names are listed beside them. */
struct take_row {
	const char *type; /* glob */
	const char *modules; /* blank-separated, NULL = any */
	const char *names; /* blank-separated globs, NULL = any */
};

static const struct take_row compute_rows[] = {
	{ "CUDA_LIB", NULL, NULL },
	{ "CUDA_SYMLINK", NULL, NULL },
	{ "CUDA_ICD", NULL, NULL },
	{ "OPENCL_LIB*", NULL, NULL },
	{ "NVCUVID_LIB*", NULL, NULL },
	{ "ENCODEAPI_LIB*", NULL, NULL },
	{ "UTILITY_LIB*", "nvml gpgpu gpgpucomp compiler gpgpudbg nvalloc nvfbc",
	  "libnvidia-cfg.so* libnvidia-allocator.so* libnvidia-fbc.so* libnvidia-ml.so* "
	  "libnvidia-gpucomp.so*" },
	{ "UTILITY_BIN*", "nvml gpgpu nvpd",
	  "nvidia-smi nvidia-debugdump nvidia-persistenced nvidia-cuda-mps-control nvidia-cuda-mps-server" },
	{ "FIRMWARE", NULL, NULL },
};

static const struct take_row host_vgpu_rows[] = {
	{ "VGX_LIB*", NULL, NULL },
	{ "UTILITY_BINARY", NULL, NULL },
	{ "EXPLICIT_PATH", NULL, NULL },
	{ "SYSTEMD_*", NULL, NULL },
	{ "FIRMWARE", NULL, NULL },
	{ "UTILITY_LIB*", NULL, NULL },
	{ "CUDA_LIB", "nvml", "libnvidia-ml.so*" },
	{ "CUDA_SYMLINK", "nvml", "libnvidia-ml.so*" },
};

/* What the full profile leaves of the vendor's own set, beside libglvnd. */
static const struct take_row full_not_rows[] = {
	{ "XMODULE_*", NULL, NULL },
	{ "GLX_MODULE_*", NULL, NULL },
	{ "XORG_OUTPUTCLASS_CONFIG", NULL, NULL },
	{ "LIBGL_LA", NULL, NULL },
	{ "OPENGL_HEADER", NULL, NULL },
	{ "INSTALLER_BINARY", NULL, NULL },
	{ "UTILITY_BIN_SYMLINK", "", "nvidia-uninstall" },
};

/* Nothing but user space: whoever asks for these by name does not get them either. */
static const struct take_row never_rows[] = {
	{ "KERNEL_MODULE*", NULL, NULL },
	{ "DKMS_CONF", NULL, NULL },
	{ "MODULE_SIGNING_KEY", NULL, NULL },
};

static bool word_matches(const char *words, const char *value, bool glob)
{
	struct span rest = SPAN(words), word;

	while (span_word(&rest, &word)) {
		char pattern[128];

		if (word.len >= sizeof(pattern))
			continue;
		memcpy(pattern, word.p, word.len);
		pattern[word.len] = '\0';
		if (glob ? fnmatch(pattern, value, 0) == 0 : strcmp(pattern, value) == 0)
			return true;
	}
	return false;
}

static bool row_matches(const struct take_row *row, const struct manifest_entry *en)
{
	if (fnmatch(row->type, en->type->name, 0) != 0)
		return false;
	if (!row->modules && !row->names)
		return true;
	return (row->modules && en->module && word_matches(row->modules, en->module, false)) ||
	       (row->names && word_matches(row->names, en->name, true));
}

static bool rows_match(const struct take_row *rows, size_t n, const struct manifest_entry *en)
{
	for (size_t i = 0; i < n; i++)
		if (row_matches(&rows[i], en))
			return true;
	return false;
}

static bool type_is(const struct manifest_entry *en, const char *pattern)
{
	return fnmatch(pattern, en->type->name, 0) == 0;
}

/* libGLX_nvidia, libEGL_nvidia and their like are what libglvnd calls, not parts of it: whatever type a package
 * gives them, they stay. */
static bool is_vendor_implementation(const struct manifest_entry *en)
{
	return strstr(en->name, "_nvidia.so") != NULL;
}

static bool is_glvnd(const struct manifest_entry *en)
{
	if (is_vendor_implementation(en))
		return false;
	return type_is(en, "GLVND_LIB") || type_is(en, "GLVND_SYMLINK") || type_is(en, "GLX_CLIENT_*") ||
	       type_is(en, "EGL_CLIENT_*");
}

static bool profile_takes(const struct dest_options *o, const struct manifest_entry *en)
{
	switch (o->profile) {
	case DEST_PROFILE_COMPUTE:
		return rows_match(compute_rows, ARRAY_LEN(compute_rows), en) ||
		       (o->with_modprobe && strcmp(en->type->name, "NVIDIA_MODPROBE") == 0);
	case DEST_PROFILE_HOST_VGPU:
		return rows_match(host_vgpu_rows, ARRAY_LEN(host_vgpu_rows), en);
	case DEST_PROFILE_FULL:
		return !is_glvnd(en) && !rows_match(full_not_rows, ARRAY_LEN(full_not_rows), en);
	case DEST_PROFILE_CUSTOM:
		/* Only exclusions given: the vendor's set less those. */
		return !o->include || !*o->include;
	}
	return false;
}

/* -- what the root's facts and the options drop -- */

static bool is_dropped(const struct dest_options *o, const struct manifest_entry *en)
{
	if (o->no_modprobe && type_is(en, "NVIDIA_MODPROBE*"))
		return true;
	if (!o->systemd && type_is(en, "SYSTEMD_*"))
		return true;
	if (o->no_opengl && (en->type->flags & MANIFEST_OPENGL))
		return true;
	if (o->no_wine && type_is(en, "WINE_LIB"))
		return true;
	if (o->glvnd_present && is_glvnd(en))
		return true;
	if (o->no_glx_indirect && strcmp(en->name, "libGLX_indirect.so.0") == 0)
		return true;
	if (!o->x_server && type_is(en, "XORG_OUTPUTCLASS_CONFIG"))
		return true;
	return o->no_firmware && type_is(en, "FIRMWARE");
}

static bool filter_matches(const char *filter, const struct manifest_entry *en)
{
	if (strncmp(filter, "type:", 5) == 0)
		return fnmatch(filter + 5, en->type->name, 0) == 0;
	if (strncmp(filter, "module:", 7) == 0)
		return en->module && fnmatch(filter + 7, en->module, 0) == 0;
	if (strncmp(filter, "file:", 5) == 0)
		filter += 5;
	return fnmatch(filter, en->file, 0) == 0;
}

static bool filters_match(char *const *filters, const struct manifest_entry *en)
{
	for (; filters && *filters; filters++)
		if (filter_matches(*filters, en))
			return true;
	return false;
}

static bool is_taken(const struct dest_options *o, const struct manifest_entry *en)
{
	if (!en->type || !(en->type->flags & (MANIFEST_INSTALL | MANIFEST_SYMLINK)))
		return false;
	if (rows_match(never_rows, ARRAY_LEN(never_rows), en) || en->glvnd == MANIFEST_GLVND_OFF)
		return false;
	if (en->arch == MANIFEST_COMPAT32 && !o->dirs->compat32)
		return false;
	if (filters_match(o->exclude, en))
		return false;
	if (filters_match(o->include, en))
		return true;
	return profile_takes(o, en) && !is_dropped(o, en);
}

/* -- destinations -- */

static const char *or_default(const char *value, const char *fallback)
{
	return value ?: fallback;
}

struct place {
	const char *prefix, *libdir, *prefix_util;
	bool compat32;
};

static struct place place_of(const struct dest_options *o, const struct manifest_entry *en)
{
	bool c32 = en->arch == MANIFEST_COMPAT32;
	const char *prefix32 = or_default(o->compat32_prefix, "usr");

	return (struct place){
		.prefix = c32 ? prefix32 : or_default(o->opengl_prefix, "usr"),
		.prefix_util = c32 ? prefix32 : or_default(o->utility_prefix, "usr"),
		.libdir = c32 ? o->dirs->compat32 : o->dirs->native,
		.compat32 = c32,
	};
}

static char *x_module_dir(const struct dest_options *o, const char *path)
{
	/* Multiarch systems keep the X modules out of the triplet directory. */
	const char *libdir = strchr(o->dirs->native, '/') ? "lib" : o->dirs->native;

	return o->x_module_path ? str_printf("%s/%s", o->x_module_path, path)
				: str_printf("usr/%s/xorg/modules/%s", libdir, path);
}

/* Directory of an entry below the root, not yet cleaned; NULL without memory. */
static char *dest_dir(const struct manifest *m, const struct dest_options *o, const struct manifest_entry *en)
{
	const struct place p = place_of(o, en);
	const char *path = or_default(en->path, ""), *doc = or_default(o->documentation_prefix, "usr");
	const char *xdg = or_default(o->xdg_data_dir, "usr/share");
	const char *util = or_default(o->utility_prefix, "usr");

	switch (en->type->dest) {
	case DEST_OPENGL_LIBDIR:
		return str_printf("%s/%s/%s", p.prefix, p.libdir, path);
	case DEST_UTILITY_LIBDIR:
		return str_printf("%s/%s", p.prefix_util, p.libdir);
	case DEST_GBM_LIBDIR:
		return str_printf("%s/%s/%s", p.prefix, p.libdir,
				  or_default(p.compat32 ? o->gbm_dir32 : o->gbm_dir, "gbm"));
	case DEST_WINE_LIBDIR:
		return str_printf("usr/%s/%s", p.libdir, or_default(o->wine_dir, "nvidia/wine"));
	case DEST_INTERNAL_UTILITY:
		return strdup(p.compat32 ? "usr/lib/nvidia/32" : "usr/lib/nvidia");
	case DEST_UTILITY_BIN:
		return str_printf("%s/bin", util);
	case DEST_EXPLICIT:
		return strdup(path);
	case DEST_MAN:
		return str_printf("%s/share/man/%s", doc, path);
	case DEST_DOC:
		return str_printf("%s/share/doc/%s", doc, path);
	case DEST_NVIDIA_SHARE:
		return strdup("usr/share/nvidia");
	case DEST_OPENCL_VENDORS:
		return strdup("etc/OpenCL/vendors");
	case DEST_VULKAN:
		return str_printf("etc/vulkan/%s", path);
	case DEST_VULKANSC:
		return str_printf("etc/vulkansc/%s", path);
	case DEST_GLVND_EGL:
		return strdup(or_default(o->glvnd_egl_config_path, "usr/share/glvnd/egl_vendor.d"));
	case DEST_EGL_EXTERNAL:
		return strdup("usr/share/egl/egl_external_platform.d");
	case DEST_SANDBOX_FILES:
		return strdup("usr/share/nvidia/files.d");
	case DEST_X_MODULES:
		return x_module_dir(o, path);
	case DEST_X_SYSCONFIG:
		return strdup(or_default(o->x_sysconfig_path, "usr/share/X11/xorg.conf.d"));
	case DEST_XDG_APPLICATIONS:
		return str_printf("%s/applications", xdg);
	case DEST_XDG_ICONS:
		return str_printf("%s/icons/hicolor/%s", xdg, path);
	case DEST_INCLUDE:
		return str_printf("%s/include/%s", p.prefix, path);
	case DEST_FIRMWARE:
		return str_printf("lib/firmware/nvidia/%s/%s", m->version, or_default(en->inherited, ""));
	case DEST_SYSTEMD_UNIT:
		return strdup("usr/lib/systemd/system");
	case DEST_SYSTEMD_UNIT_LINK:
		return str_printf("etc/systemd/system/%s", path);
	case DEST_SYSTEMD_SLEEP:
		return strdup("usr/lib/systemd/system-sleep");
	case DEST_NONE:
	case DEST_KERNEL_SOURCE:
	case DEST_KERNEL_MODULE:
		break;
	}
	return NULL;
}

static const char *override_of(const struct dest_options *o, const char *type)
{
	size_t n = strlen(type);

	for (char *const *v = o->overrides; v && *v; v++)
		if (strncmp(*v, type, n) == 0 && (*v)[n] == ':')
			return *v + n + 1;
	return NULL;
}

static int check_overrides(const struct dest_options *o, struct err *e)
{
	for (char *const *v = o->overrides; v && *v; v++) {
		const char *colon = strchr(*v, ':');
		_cleanup_free_ char *type = colon ? strndup(*v, (size_t)(colon - *v)) : NULL;

		if (!type || !manifest_type_find(type) || !colon[1])
			return err_set(e, ERR_USAGE, "%s is not TYPE:DIR with a known file type", *v);
	}
	return 0;
}

static int dest_path(const struct manifest *m, const struct dest_options *o, const struct manifest_entry *en,
		     char **ret, struct err *e)
{
	const char *override = override_of(o, en->type->name), *start;
	_cleanup_free_ char *dir = override ? strdup(override) : dest_dir(m, o, en);
	_cleanup_free_ char *full = NULL;
	int r;

	if (!dir)
		return err_oom(e);
	full = str_printf("%s/%s", dir, en->name);
	if (!full)
		return err_oom(e);
	for (start = full; *start == '/';)
		start++;
	r = path_clean(start, ret);
	if (r < 0)
		return err_set(e, r == -EINVAL ? -ERR_PATH_ESCAPE : r, "destination %s of %s", full,
			       en->file);
	return 0;
}

/* Two kinds of links have their text made instead of read. */
static char *link_text(const struct dest_options *o, const struct manifest_entry *en)
{
	const struct place p = place_of(o, en);

	if (en->type->dest == DEST_GBM_LIBDIR)
		return str_printf("/%s/%s/%s", p.prefix_util, p.libdir, en->target);
	if (en->type->dest == DEST_SYSTEMD_UNIT_LINK)
		return str_printf("/usr/lib/systemd/system/%s", en->name);
	return strdup(en->target);
}

/* -- the list -- */

void dest_op_done(struct dest_op *op)
{
	free(op->path);
	free(op->from);
	free(op->link);
	free(op->bytes);
	free(op->soname);
}

void dest_list_done(struct dest_list *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n; i++)
		dest_op_done(&l->ops[i]);
	free(l->ops);
	strv_freep(&l->notes);
	*l = (struct dest_list){ 0 };
}

/* Takes over everything op owns, also on failure. */
static int list_push(struct dest_list *l, struct dest_op *op)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 256;
		struct dest_op *ops = cap > OPS_MAX ? NULL : reallocarray(l->ops, cap, sizeof(*ops));

		if (!ops) {
			dest_op_done(op);
			return -ENOMEM;
		}
		l->ops = ops;
		l->cap = cap;
	}
	l->ops[l->n++] = *op;
	return 0;
}

static unsigned link_phase(const char *path)
{
	const char *name = strrchr(path, '/');

	name = name ? name + 1 : path;
	/* Programs look for the driver by these two names: once they are there, all they lead to must be. */
	return strcmp(name, "libcuda.so.1") == 0 || strcmp(name, "libnvidia-ml.so.1") == 0 ? PHASE_LAST_LINK
											   : PHASE_LINK;
}

static int push_link(struct dest_list *l, const char *path, const char *text,
		     const struct manifest_type *type)
{
	struct dest_op op = {
		.kind = DEST_LINK,
		.path = strdup(path),
		.link = strdup(text),
		.mode = 0777,
		.type = type,
	};

	if (!op.path || !op.link) {
		dest_op_done(&op);
		return -ENOMEM;
	}
	op.phase = link_phase(path);
	return list_push(l, &op);
}

static mode_t install_mode(const struct manifest_entry *en)
{
	/* The one program that is meant to be set-id; a manifest cannot make others so. */
	if (type_is(en, "NVIDIA_MODPROBE"))
		return en->mode & 04777;
	return en->mode & 0777;
}

static int push_entry(const struct manifest *m, const struct dest_options *o, const struct manifest_entry *en,
		      struct dest_list *l, struct err *e)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	struct dest_op op = { .kind = DEST_FILE, .type = en->type };
	int r;

	r = dest_path(m, o, en, &path, e);
	if (r < 0)
		return r;
	if (manifest_entry_is_link(en)) {
		text = link_text(o, en);
		if (!text || push_link(l, path, text, en->type) < 0)
			return err_oom(e);
		return 0;
	}
	op.path = TAKE_PTR(path);
	op.from = strdup(en->file);
	op.mode = install_mode(en);
	op.phase = en->type->flags & MANIFEST_LIB ? PHASE_LIBRARY : PHASE_FILE;
	if (!op.from) {
		dest_op_done(&op);
		return err_oom(e);
	}
	return list_push(l, &op) < 0 ? err_oom(e) : 0;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct dest_op *)a)->path, ((const struct dest_op *)b)->path);
}

static int by_phase(const void *a, const void *b)
{
	const struct dest_op *x = a, *y = b;

	return x->phase != y->phase ? (x->phase < y->phase ? -1 : 1) : by_path(a, b);
}

static bool same_link(const struct dest_op *a, const struct dest_op *b)
{
	return a->kind == DEST_LINK && b->kind == DEST_LINK && strcmp(a->link, b->link) == 0;
}

static int drop_duplicates(struct dest_list *l, struct err *e)
{
	size_t kept = 0;

	if (l->n)
		qsort(l->ops, l->n, sizeof(*l->ops), by_path);
	for (size_t i = 0; i < l->n; i++) {
		struct dest_op *last = kept ? &l->ops[kept - 1] : NULL;

		if (!last || strcmp(last->path, l->ops[i].path) != 0) {
			l->ops[kept++] = l->ops[i];
			continue;
		}
		if (!same_link(last, &l->ops[i])) {
			err_set(e, ERR_DEST_DUPLICATE, "/%s is wanted by %s and %s", last->path,
				last->from ?: last->link, l->ops[i].from ?: l->ops[i].link);
			/* The tail still owns its strings: close the gap so the list frees each once. */
			memmove(&l->ops[kept], &l->ops[i], (l->n - i) * sizeof(*l->ops));
			l->n = kept + (l->n - i);
			return -ERR_DEST_DUPLICATE;
		}
		dest_op_done(&l->ops[i]);
	}
	l->n = kept;
	return 0;
}

const struct dest_op *dest_list_find(const struct dest_list *l, const char *path)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->ops[i].path, path) == 0)
			return &l->ops[i];
	return NULL;
}

/* The OpenGL ABI names /usr/lib/libGL.so.1; the vendor makes that link even where it then points nowhere. */
static int add_gl_abi_link(const struct dest_options *o, struct dest_list *l)
{
	const char *prefix = or_default(o->opengl_prefix, "usr");
	_cleanup_free_ char *gl = str_printf("%s/%s/libGL.so.1", prefix, o->dirs->native);
	_cleanup_free_ char *text = NULL;

	if (!gl)
		return -ENOMEM;
	if (!dest_list_find(l, gl) || strcmp(o->dirs->native, "lib") == 0 ||
	    (o->dirs->compat32 && strcmp(o->dirs->compat32, "lib") == 0))
		return 0;
	text = str_printf("/%s", gl);
	return text ? push_link(l, "usr/lib/libGL.so.1", text, NULL) : -ENOMEM;
}

static int note_unknown(const struct manifest_entry *en, struct dest_list *l)
{
	_cleanup_free_ char *note = str_printf("files of unknown type %s are left out", en->type_name);

	if (!note)
		return -ENOMEM;
	return strv_contains(l->notes, note) ? 0 : strv_push(&l->notes, note);
}

static void sort_ops(struct dest_list *l)
{
	if (l->n)
		qsort(l->ops, l->n, sizeof(*l->ops), by_phase);
}

int dest_list_make(const struct manifest *m, const struct dest_options *o, struct dest_list *ret,
		   struct err *e)
{
	_cleanup_(dest_list_done) struct dest_list l = { 0 };
	int r;

	r = check_overrides(o, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < m->n_entries; i++) {
		const struct manifest_entry *en = &m->entries[i];

		if (!en->type && note_unknown(en, &l) < 0)
			return err_oom(e);
		if (!is_taken(o, en))
			continue;
		if (en->type->dest == DEST_NONE && !override_of(o, en->type->name))
			continue;
		r = push_entry(m, o, en, &l, e);
		if (r < 0)
			return r;
	}
	if (add_gl_abi_link(o, &l) < 0)
		return err_oom(e);
	r = drop_duplicates(&l, e);
	if (r < 0)
		return r;
	sort_ops(&l);
	*ret = l;
	l = (struct dest_list){ 0 };
	return 0;
}

/* -- SONAME links -- */

static int read_soname(int payload_fd, struct dest_op *op, struct err *e)
{
	_cleanup_close_ int fd =
	    path_open_at(payload_fd, op->from, O_RDONLY | O_NONBLOCK, 0, PATH_NO_SYMLINKS);
	struct elf elf;
	int r;

	if (fd < 0)
		return err_errno(e, fd, "cannot open %s of the driver", op->from);
	r = elf_open(fd, &elf);
	/* Test packages and data files listed as libraries have no ELF header; they get no link. */
	if (r == -ENOEXEC || r == -ENOTSUP)
		return 0;
	if (r < 0)
		return err_errno(e, r, "reading %s of the driver", op->from);
	op->class_bits = elf.class_bits;
	r = elf_dynamic(&elf, &op->soname, NULL);
	return r < 0 ? err_errno(e, r, "reading the dynamic section of %s", op->from) : 0;
}

static int add_soname_link(struct dest_list *l, size_t i, struct err *e)
{
	const char *path = l->ops[i].path, *soname = l->ops[i].soname, *name = strrchr(path, '/');
	_cleanup_free_ char *dir = NULL, *link = NULL;

	if (!soname || !name || strcmp(soname, name + 1) == 0)
		return 0;
	if (!path_name_is_clean(soname) || strchr(soname, '/'))
		return err_set(e, ERR_PATH_ESCAPE, "%s calls itself %s", l->ops[i].from, soname);
	dir = strndup(path, (size_t)(name - path));
	link = dir ? str_printf("%s/%s", dir, soname) : NULL;
	if (!link)
		return err_oom(e);
	if (dest_list_find(l, link))
		return 0;
	return push_link(l, link, name + 1, NULL) < 0 ? err_oom(e) : 0;
}

int dest_add_sonames(struct dest_list *l, int payload_fd, struct err *e)
{
	size_t n = l->n;
	int r;

	for (size_t i = 0; i < n; i++) {
		if (l->ops[i].kind != DEST_FILE || !l->ops[i].type || !(l->ops[i].type->flags & MANIFEST_LIB))
			continue;
		r = read_soname(payload_fd, &l->ops[i], e);
		if (r < 0)
			return r;
		r = add_soname_link(l, i, e);
		if (r < 0)
			return r;
	}
	sort_ops(l);
	return 0;
}

/* -- templates -- */

struct token {
	const char *name;
	char value[512];
};

static int replace_tokens(struct span text, const struct token *tokens, size_t n_tokens, struct strbuf *out)
{
	for (size_t i = 0; i < text.len;) {
		size_t t;

		for (t = 0; t < n_tokens; t++)
			if (span_starts((struct span){ text.p + i, text.len - i }, tokens[t].name))
				break;
		if (t == n_tokens) {
			strbuf_putc(out, text.p[i++]);
			continue;
		}
		strbuf_puts(out, tokens[t].value);
		i += strlen(tokens[t].name);
	}
	return strbuf_error(out);
}

static int fill_template(struct dest_op *op, int payload_fd, const struct dest_options *o, struct err *e)
{
	_cleanup_close_ int fd =
	    path_open_at(payload_fd, op->from, O_RDONLY | O_NONBLOCK, 0, PATH_NO_SYMLINKS);
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(2 * TEMPLATE_MAX_BYTES);
	struct token tokens[] = { { "__UTILS_PATH__", "" },
				  { "__PIXMAP_PATH__", "" },
				  { "__LIBGL_PATH__", "" },
				  { "__GENERATED_BY__", "nvdriver" } };
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	if (fd < 0)
		return err_errno(e, fd, "cannot open %s of the driver", op->from);
	r = read_fd(fd, TEMPLATE_MAX_BYTES, &text, &len);
	if (r < 0)
		return err_errno(e, r, "reading %s of the driver", op->from);
	snprintf(tokens[0].value, sizeof(tokens[0].value), "/%s/bin", or_default(o->utility_prefix, "usr"));
	snprintf(tokens[1].value, sizeof(tokens[1].value), "/%s/pixmaps",
		 or_default(o->xdg_data_dir, "usr/share"));
	snprintf(tokens[2].value, sizeof(tokens[2].value), "/%s/%s", or_default(o->opengl_prefix, "usr"),
		 o->dirs->native);
	r = replace_tokens((struct span){ text, len }, tokens, ARRAY_LEN(tokens), &out);
	if (r < 0)
		return err_errno(e, r, "filling in %s", op->from);
	op->bytes_len = out.len;
	r = strbuf_steal(&out, &op->bytes);
	return r < 0 ? err_oom(e) : 0;
}

int dest_fill_templates(struct dest_list *l, int payload_fd, const struct dest_options *o, struct err *e)
{
	for (size_t i = 0; i < l->n; i++) {
		struct dest_op *op = &l->ops[i];
		int r;

		if (op->kind != DEST_FILE || !op->type || !(op->type->flags & MANIFEST_TEMPLATE))
			continue;
		r = fill_template(op, payload_fd, o, e);
		if (r < 0)
			return r;
	}
	return 0;
}
