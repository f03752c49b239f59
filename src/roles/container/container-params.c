/* SPDX-License-Identifier: Apache-2.0 */
#include "container-params.h"

#include "fd.h"
#include "log.h"
#include "modinfo.h"
#include "path.h"
#include "strbuf.h"

#include <fcntl.h>
#include <string.h>

#define PARAMS_MAX ((size_t)64 << 10)
#define OURS	   "# written by nvdriver from /drivers\n"

/* Harmless where the hardware has no coherent memory, needed before the first load where it has. */
#define COHERENT_DEFAULT "NVreg_CoherentGPUMemoryMode=driver"

static const char *const modules[] = { "nvidia", "nvidia-uvm", "nvidia-modeset", "nvidia-peermem" };

/* The next word of a line; blanks between double quotes are part of it. */
static bool next_word(struct span *rest, struct span *ret)
{
	bool quoted = false;
	size_t i = 0;

	*rest = span_trim(*rest);
	if (!rest->len)
		return false;
	for (; i < rest->len && (quoted || (rest->p[i] != ' ' && rest->p[i] != '\t')); i++)
		if (rest->p[i] == '"')
			quoted = !quoted;
	*ret = (struct span){ rest->p, i };
	*rest = (struct span){ rest->p + i, rest->len - i };
	return true;
}

static bool is_parameter(struct span w)
{
	const char *eq = memchr(w.p, '=', w.len);

	if (!eq || eq == w.p)
		return false;
	for (const char *p = w.p; p < w.p + w.len; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return false;
	return true;
}

static int take_word(struct span w, char ***words, char ***warnings)
{
	_cleanup_free_ char *text = span_dup(w);
	_cleanup_free_ char *warning = NULL;

	if (!text)
		return -ENOMEM;
	if (is_parameter(w))
		return strv_push(words, text);
	warning = str_printf("'%s' is no parameter of the form name=value", text);
	return warning ? strv_push(warnings, warning) : -ENOMEM;
}

int container_params_parse(struct span text, char ***ret_words, char ***ret_warnings)
{
	_cleanup_strv_ char **words = NULL, **warnings = NULL;
	struct span line, w;

	if (text.len > PARAMS_MAX)
		return -E2BIG;
	while (span_line(&text, &line)) {
		line = span_trim(line);
		if (!line.len || line.p[0] == '#')
			continue;
		while (next_word(&line, &w))
			if (take_word(w, &words, &warnings) < 0)
				return -ENOMEM;
	}
	*ret_words = TAKE_PTR(words);
	*ret_warnings = TAKE_PTR(warnings);
	return 0;
}

int container_params_render(const char *module, char *const *words, char **ret)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(2 * PARAMS_MAX);

	if (strv_len(words))
		(void)strbuf_printf(&b, OURS "options %s", module);
	for (; words && *words; words++)
		(void)strbuf_printf(&b, " %s", *words);
	if (b.len)
		(void)strbuf_putc(&b, '\n');
	else
		(void)strbuf_puts(&b, "");
	if (strbuf_error(&b) < 0)
		return strbuf_error(&b);
	*ret = strdup(strbuf_str(&b));
	return *ret ? 0 : -ENOMEM;
}

int container_params_check(const char *module, char *const *words, char *const *declared,
			   char ***ret_warnings)
{
	for (; declared && words && *words; words++) {
		_cleanup_free_ char *name = strndup(*words, strcspn(*words, "="));
		_cleanup_free_ char *text = NULL;

		if (!name)
			return -ENOMEM;
		if (strv_contains(declared, name))
			continue;
		text = str_printf("module %s has no parameter %s; the kernel will ignore it", module, name);
		if (!text || strv_push(ret_warnings, text) < 0)
			return -ENOMEM;
	}
	return 0;
}

bool container_params_no_firmware(char *const *words)
{
	return words && strv_contains(words, "NVreg_EnableGpuFirmware=0");
}

static void warn_all(const char *where, char *const *warnings)
{
	for (; warnings && *warnings; warnings++)
		log_warn("%s%s%s", where, *where ? ": " : "", *warnings);
}

int container_params_read(const struct container *c, const char *module, char ***ret_words, struct err *e)
{
	_cleanup_free_ char *path = str_printf(CONTAINER_DRIVERS_DIR "/%s.conf", module), *text = NULL;
	_cleanup_strv_ char **words = NULL, **file = NULL, **warnings = NULL;
	_cleanup_close_ int fd = -EBADF;
	size_t len = 0;
	int r = path ? 0 : -ENOMEM;

	if (r == 0 && strcmp(module, "nvidia") == 0)
		r = strv_push(&words, COHERENT_DEFAULT);
	if (r < 0)
		return err_oom(e);
	/* A mounted ConfigMap is links to links: followed, but never out of the root. */
	fd = path_open_at(c->h->root_fd, path, O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
	if (fd >= 0)
		r = read_fd(fd, PARAMS_MAX, &text, &len);
	if (r < 0 || (fd < 0 && fd != -ENOENT && fd != -ENOTDIR))
		return err_errno(e, r < 0 ? r : fd, "/%s", path);
	if (text)
		r = container_params_parse((struct span){ text, len }, &file, &warnings);
	warn_all(path, warnings);
	for (char **w = file; r == 0 && w && *w; w++)
		r = strv_push(&words, *w);
	if (r < 0)
		return err_errno(e, r, "/%s", path);
	*ret_words = TAKE_PTR(words);
	return 0;
}

static int declared_by(int set_fd, const char *module, char ***ret)
{
	_cleanup_(modinfo_done) struct modinfo m = MODINFO_INIT;
	_cleanup_free_ char *file = str_printf("%s.ko", module);

	if (!file)
		return -ENOMEM;
	if (set_fd < 0 || modinfo_read_at(set_fd, file, &m, NULL) < 0)
		return 0;
	for (size_t i = 0; i < m.n_params; i++)
		if (strv_push(ret, m.params[i].name) < 0)
			return -ENOMEM;
	return 0;
}

static int warn_undeclared(int set_fd, const char *module, char *const *words, struct err *e)
{
	_cleanup_strv_ char **declared = NULL, **warnings = NULL;

	if (declared_by(set_fd, module, &declared) < 0)
		return err_oom(e);
	/* The one we add ourselves is not the user's mistake. */
	if (words && strcmp(words[0], COHERENT_DEFAULT) == 0)
		words++;
	if (container_params_check(module, words, declared, &warnings) < 0)
		return err_oom(e);
	warn_all("", warnings);
	return 0;
}

static bool is_ours(const char *text, size_t len)
{
	return len >= strlen(OURS) && memcmp(text, OURS, strlen(OURS)) == 0;
}

/* One operation per file, so that the undo gives each back as it was. */
static int plan_file(struct container *c, struct plan *p, const char *module, const char *text, struct err *e)
{
	_cleanup_free_ char *path = str_printf("etc/modprobe.d/%s.conf", module), *old = NULL;
	_cleanup_close_ int fd =
	    path ? path_open_at(c->h->root_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, PATH_IN_ROOT)
		 : -ENOENT;
	size_t len = 0;
	int r = 0;

	if (!path)
		return err_oom(e);
	if (fd >= 0)
		r = read_fd(fd, PARAMS_MAX * 4, &old, &len);
	if (r < 0)
		return err_errno(e, r, "/%s", path);
	if (!*text) {
		if (!old || !is_ours(old, len))
			return 0;
		r = plan_add(p, &op_files,
			     json_pack("{s:[{s:s,s:s}]}", "entries", "path", path, "type", "absent"),
			     "remove /%s: module %s has no parameters any more", path, module);
		return r < 0 ? err_oom(e) : 0;
	}
	if (old && strlen(text) == len && memcmp(text, old, len) == 0)
		return 0;
	r = plan_add_edit(p, path, old, len, text, strlen(text), 0644, "write the module's parameters");
	return r < 0 ? err_errno(e, r, "/%s", path) : 0;
}

static int plan_module(struct container *c, struct plan *p, const char *module, int set_fd, struct err *e)
{
	_cleanup_strv_ char **words = NULL;
	_cleanup_free_ char *text = NULL;
	int r = container_params_read(c, module, &words, e);

	if (r == 0)
		r = warn_undeclared(set_fd, module, words, e);
	if (r < 0)
		return r;
	if (container_params_render(module, words, &text) < 0)
		return err_oom(e);
	if (*text)
		log_info("module options: %.*s", (int)strcspn(text + strlen(OURS "options "), "\n"),
			 text + strlen(OURS "options "));
	return plan_file(c, p, module, text, e);
}

int container_params_write(struct container *c, int set_fd, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	int r = container_plan_new("module parameters written to /etc/modprobe.d", &p, e);

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(modules); i++)
		r = plan_module(c, p, modules[i], set_fd, e);
	if (r == 0)
		r = container_apply(c, p, e);
	return r < 0 ? r : 0;
}
