/* SPDX-License-Identifier: Apache-2.0 */
#include "installer.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

enum kind { FLAG, VALUE };

/* `words`: what the option means to a verb of ours, blank-separated, '%' for its value. */
struct row {
	const char *name;
	char short_name;
	enum kind kind;
	size_t offset; /* of the bool or text in struct installer */
	const char *words;
	enum installer_verb verb;
	const char *help; /* NULL = only with --advanced-options */
};

#define OFF(field) offsetof(struct installer, field)
#define NOTHING	   OFF(ignored)
#define NO_TEXT	   OFF(ignored_text)

static const struct row rows[] = {
	{ "accept-license", 'a', FLAG, NOTHING, NULL, 0, "accepted, without effect" },
	{ "silent", 's', FLAG, OFF(silent), NULL, 0, "no questions, no output but warnings and errors" },
	{ "no-questions", 'q', FLAG, NOTHING, NULL, 0, "nothing is ever asked" },
	{ "ui", 0, VALUE, NO_TEXT, NULL, 0, NULL },
	{ "help", 'h', FLAG, OFF(help), NULL, 0, "these options" },
	{ "version", 'v', FLAG, OFF(version), NULL, 0, "the driver version of the package" },
	{ "advanced-options", 'A', FLAG, OFF(advanced), NULL, 0, "all options" },
	{ "uninstall", 0, FLAG, OFF(uninstall), NULL, 0, "remove the installed driver" },
	{ "driver-info", 'i', FLAG, OFF(driver_info), NULL, 0, "say which driver is installed" },
	{ "sanity", 0, FLAG, OFF(sanity), NULL, 0, "check the installed driver" },
	{ "add-this-kernel", 0, FLAG, OFF(add_kernel), NULL, 0,
	  "build and pack modules for the running kernel" },
	{ "kernel-module-only", 'K', FLAG, OFF(modules_only), NULL, 0,
	  "only modules, beside an installed driver" },
	{ "kernel-modules-only", 0, FLAG, OFF(modules_only), NULL, 0, NULL },
	{ "no-kernel-module", 0, FLAG, OFF(no_modules), NULL, 0, "everything but modules" },
	{ "no-kernel-modules", 0, FLAG, OFF(no_modules), NULL, 0, NULL },
	{ "kernel-module-build-directory", 'm', VALUE, OFF(build_dir), NULL, 0, "kernel or kernel-open" },
	{ "kernel-module-type", 'M', VALUE, OFF(module_type), NULL, 0, "open or proprietary" },
	{ "no-drm", 0, FLAG, NOTHING, "--without=nvidia-drm", INSTALLER_LOAD, NULL },
	{ "no-unified-memory", 0, FLAG, NOTHING, "--without=nvidia-uvm", INSTALLER_LOAD, NULL },
	{ "no-peermem", 0, FLAG, NOTHING, "--without=nvidia-peermem", INSTALLER_LOAD, NULL },
	{ "skip-module-load", 0, FLAG, OFF(skip_load), NULL, 0, NULL },
	{ "skip-depmod", 0, FLAG, NOTHING, NULL, 0, NULL },
	{ "dkms", 0, FLAG, OFF(dkms), NULL, 0, NULL },
	{ "no-dkms", 0, FLAG, NOTHING, NULL, 0, NULL },
	{ "rebuild-initramfs", 0, FLAG, NOTHING, NULL, 0, NULL },
	{ "no-rebuild-initramfs", 0, FLAG, NOTHING, NULL, 0, NULL },
	{ "no-x-check", 0, FLAG, OFF(no_x_check), NULL, 0, NULL },
	{ "no-nouveau-check", 0, FLAG, OFF(no_nouveau_check), NULL, 0, NULL },
	{ "no-rpms", 0, FLAG, NOTHING, NULL, 0, NULL },
	{ "no-backup", 0, FLAG, NOTHING, NULL, 0, NULL },
	{ "no-check-for-alternate-installs", 0, FLAG, NOTHING, "--no-check-for-alternate-installs",
	  INSTALLER_INSTALL, NULL },
	{ "no-distro-scripts", 0, FLAG, OFF(no_hooks), NULL, 0, NULL },
	{ "no-nvidia-modprobe", 0, FLAG, NOTHING, "--no-nvidia-modprobe", INSTALLER_INSTALL, NULL },
	{ "no-opengl-files", 0, FLAG, NOTHING, "--no-opengl-files", INSTALLER_INSTALL, NULL },
	{ "no-wine-files", 0, FLAG, NOTHING, "--exclude=type:WINE_LIB", INSTALLER_INSTALL, NULL },
	{ "install-compat32-libs", 0, FLAG, NOTHING, NULL, 0, NULL },
	{ "no-install-compat32-libs", 0, FLAG, OFF(no_compat32), NULL, 0, NULL },
	{ "install-libglvnd", 0, FLAG, NOTHING, NULL, 0, NULL },
	{ "no-install-libglvnd", 0, FLAG, NOTHING,
	  "--exclude=type:GLVND_* --exclude=type:GLX_CLIENT_* --exclude=type:EGL_CLIENT_*", INSTALLER_INSTALL,
	  NULL },
	{ "no-libglx-indirect", 0, FLAG, NOTHING, "--exclude=file:libGLX_indirect.so.0", INSTALLER_INSTALL,
	  NULL },
	{ "systemd", 0, FLAG, NOTHING, NULL, 0, NULL },
	{ "no-systemd", 0, FLAG, NOTHING, "--no-systemd", INSTALLER_INSTALL, NULL },
	{ "proc-mount-point", 0, VALUE, NO_TEXT, NULL, 0, NULL },
	{ "kernel-name", 'k', VALUE, OFF(kernel_name), "--kernel=%", INSTALLER_PREPARE,
	  "build for this kernel" },
	{ "kernel-source-path", 0, VALUE, NO_TEXT, "--kernel-source=%", INSTALLER_PREPARE, NULL },
	{ "kernel-output-path", 0, VALUE, NO_TEXT, "--kernel-output=%", INSTALLER_PREPARE, NULL },
	{ "kernel-install-path", 0, VALUE, NO_TEXT, NULL, 0, NULL },
	{ "precompiled-kernel-interfaces-path", 0, VALUE, OFF(precompiled_dir), NULL, 0, NULL },
	{ "no-precompiled-interface", 'n', FLAG, OFF(no_precompiled), NULL, 0, NULL },
	{ "concurrency-level", 'j', VALUE, NO_TEXT, "--jobs=%", INSTALLER_PREPARE, NULL },
	{ "x-prefix", 0, VALUE, NO_TEXT,
	  "--x-module-path=%/lib/xorg/modules --x-sysconfig-path=%/share/X11/xorg.conf.d", INSTALLER_INSTALL,
	  NULL },
	{ "x-module-path", 0, VALUE, NO_TEXT, "--x-module-path=%", INSTALLER_INSTALL, NULL },
	{ "x-library-path", 0, VALUE, NO_TEXT, NULL, 0, NULL },
	{ "x-sysconfig-path", 0, VALUE, NO_TEXT, "--x-sysconfig-path=%", INSTALLER_INSTALL, NULL },
	{ "opengl-prefix", 0, VALUE, NO_TEXT, "--opengl-prefix=%", INSTALLER_INSTALL, NULL },
	{ "opengl-libdir", 0, VALUE, NO_TEXT, "--libdir=%", INSTALLER_INSTALL, NULL },
	{ "utility-prefix", 0, VALUE, NO_TEXT, "--utility-prefix=%", INSTALLER_INSTALL, NULL },
	{ "utility-libdir", 0, VALUE, NO_TEXT, "--libdir=%", INSTALLER_INSTALL, NULL },
	{ "compat32-prefix", 0, VALUE, NO_TEXT, "--compat32-prefix=%", INSTALLER_INSTALL, NULL },
	{ "compat32-libdir", 0, VALUE, NO_TEXT, "--libdir32=%", INSTALLER_INSTALL, NULL },
	{ "compat32-chroot", 0, VALUE, NO_TEXT, NULL, 0, NULL },
	{ "documentation-prefix", 0, VALUE, NO_TEXT, "--documentation-prefix=%", INSTALLER_INSTALL, NULL },
	{ "application-profile-path", 0, VALUE, NO_TEXT,
	  "--override-file-type-destination=APPLICATION_PROFILE:%", INSTALLER_INSTALL, NULL },
	{ "wine-prefix", 0, VALUE, NO_TEXT, NULL, 0, NULL },
	{ "wine-libdir", 0, VALUE, NO_TEXT, NULL, 0, NULL },
	{ "gbm-backend-dir", 0, VALUE, NO_TEXT, "--gbm-backend-dir=%", INSTALLER_INSTALL, NULL },
	{ "gbm-backend-dir32", 0, VALUE, NO_TEXT, "--gbm-backend-dir32=%", INSTALLER_INSTALL, NULL },
	{ "glvnd-egl-config-path", 0, VALUE, NO_TEXT, "--glvnd-egl-config-path=%", INSTALLER_INSTALL, NULL },
	{ "override-file-type-destination", 0, VALUE, NO_TEXT, "--override-file-type-destination=%",
	  INSTALLER_INSTALL, NULL },
	{ "tmpdir", 0, VALUE, NO_TEXT, NULL, 0, NULL },
	{ "log-file-name", 0, VALUE, OFF(log_file), NULL, 0, "default /var/log/nvidia-installer.log" },
	{ "root", 0, VALUE, OFF(root), NULL, 0, NULL },
	{ "store", 0, VALUE, OFF(store), NULL, 0, NULL },
};

void installer_done(struct installer *q)
{
	for (size_t i = 0; i < INSTALLER_VERB_COUNT; i++)
		strv_freep(&q->words[i]);
}

/* One word of a row with its value put in. */
static int add_word(struct installer *q, const struct row *row, const char *word, size_t len,
		    const char *value)
{
	const char *at = memchr(word, '%', len);
	_cleanup_free_ char *text = at ? str_printf("%.*s%s%.*s", (int)(at - word), word, value,
						    (int)(len - (size_t)(at - word) - 1), at + 1)
				       : strndup(word, len);

	return text ? strv_push(&q->words[row->verb], text) : -ENOMEM;
}

static int take(struct installer *q, const struct row *row, const char *value, struct err *e)
{
	char *at = (char *)q + row->offset;

	if (row->kind == FLAG)
		*(bool *)at = true;
	else
		*(const char **)at = value;
	for (const char *w = row->words; w && *w;) {
		size_t len = strcspn(w, " ");

		if (add_word(q, row, w, len, value) < 0)
			return err_oom(e);
		w += len + strspn(w + len, " ");
	}
	return 0;
}

/* "-s", "--silent", "-silent", "--ui=none": the row, and the value when it is part of the word. */
static const struct row *find(const char *word, const char **ret_value)
{
	const char *name = word + 1 + (word[1] == '-'), *equals = strchr(name, '=');
	size_t len = equals ? (size_t)(equals - name) : strlen(name);

	*ret_value = equals ? equals + 1 : NULL;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (word[1] != '-' && word[1] && !word[2] && rows[i].short_name == word[1])
			return &rows[i];
		if (strlen(rows[i].name) == len && strncmp(rows[i].name, name, len) == 0 && len > 1)
			return &rows[i];
	}
	return NULL;
}

static int check(const struct installer *q, struct err *e)
{
	if (q->build_dir && strcmp(q->build_dir, "kernel") != 0 && strcmp(q->build_dir, "kernel-open") != 0)
		return err_set(e, ERR_USAGE,
			       "the kernel module build directory is kernel or kernel-open, not %s",
			       q->build_dir);
	if (q->module_type && *q->module_type != 'o' && *q->module_type != 'p')
		return err_set(e, ERR_USAGE, "the kernel module type is open or proprietary, not %s",
			       q->module_type);
	if (q->modules_only && q->no_modules)
		return err_set(e, ERR_USAGE, "only modules and no modules leaves nothing to install");
	return 0;
}

int installer_parse(int argc, char **argv, struct installer *ret, struct err *e)
{
	int r = 0;

	for (int i = 1; r == 0 && i < argc; i++) {
		const struct row *row = NULL;
		const char *value;

		if (argv[i][0] == '-')
			row = find(argv[i], &value);
		if (!row || (row->kind == FLAG && value))
			return err_set(e, ERR_USAGE, "unrecognized option: \"%s\"", argv[i]);
		if (row->kind == VALUE && !value && i + 1 < argc)
			value = argv[++i];
		if (row->kind == VALUE && !value)
			return err_set(e, ERR_USAGE, "option \"%s\" requires an argument", argv[i]);
		r = take(ret, row, value, e);
	}
	return r < 0 ? r : check(ret, e);
}

const char *installer_flavour(const struct installer *q)
{
	if (q->module_type)
		return *q->module_type == 'o' ? "open" : "proprietary";
	return q->build_dir && strcmp(q->build_dir, "kernel-open") == 0 ? "open" : "proprietary";
}

int installer_help(bool advanced, struct strbuf *out)
{
	(void)strbuf_puts(out, "nvidia-installer [OPTION]...\n\n");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *o = &rows[i];

		if (!advanced && !o->help)
			continue;
		if (o->short_name)
			(void)strbuf_printf(out, "  -%c,", o->short_name);
		(void)strbuf_printf(out, "  --%s%s\n", o->name, o->kind == VALUE ? "=..." : "");
		if (o->help)
			(void)strbuf_printf(out, "      %s\n", o->help);
	}
	return strbuf_error(out);
}
