/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading: every wanted module after what it depends on, each failure explained by errno and kernel log together. What was
 * loaded is taken out again when a required module fails, so a machine has all of a driver or what it had before. */
#include "modload.h"

#include "fd.h"
#include "jutil.h"
#include "kmods.h"
#include "log.h"
#include "modinfo.h"
#include "modparams.h"
#include "parse.h"
#include "strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define DEPTH_MAX 16

void modload_report_done(struct modload_report *r)
{
	json_decref(r->loaded);
	json_decref(r->present);
	json_decref(r->removed);
	json_decref(r->failed);
	*r = (struct modload_report)MODLOAD_REPORT_INIT;
}

/* One call's work. */
struct load {
	const struct host *h;
	const struct modload_ops *ops;
	const struct modload_request *q;
	struct modload_report report;
	char **inserted; /* by this call, for taking back */
	char *release; /* running kernel; NULL = unknown */
	char *firmware_before; /* the firmware search path this call replaced; NULL = untouched */
};

static void load_done(struct load *l)
{
	modload_report_done(&l->report);
	strv_freep(&l->inserted);
	free(l->release);
	free(l->firmware_before);
}

static int load_init(struct load *l, struct err *e)
{
	l->report = (struct modload_report){ json_array(), json_array(), json_array(), json_array() };
	if (!l->report.loaded || !l->report.present || !l->report.removed || !l->report.failed)
		return err_oom(e);
	if (host_kernel_release(l->h, &l->release) == -ENOMEM)
		return err_oom(e);
	return 0;
}

/* 1 = loaded, 0 = not, negative = the machine does not say. */
static int is_loaded(const struct host *h, const char *name)
{
	_cleanup_(kmods_done) struct kmods k = KMODS_INIT;
	int r = kmods_read(h, &k);

	return r < 0 ? r : kmods_find(&k, name) != NULL;
}

static bool seen(const json_t *list, const char *name)
{
	json_t *v;
	size_t i;

	json_array_foreach ((json_t *)list, i, v)
		if (kmod_name_eq(json_string_value(v), name))
			return true;
	return false;
}

/* <name>.ko as the set spells it; -ENOENT when the set has no such module. */
static int open_module(struct load *l, const char *name, struct err *e)
{
	_cleanup_free_ char *file = str_printf("%s.ko", name);

	if (!file)
		return err_oom(e);
	if (l->q->dir_fd < 0 || faccessat(l->q->dir_fd, file, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
		for (char *p = file; *p; p++)
			if (*p == '_')
				*p = '-';
		if (l->q->dir_fd < 0 || faccessat(l->q->dir_fd, file, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			return -ENOENT;
	}
	return module_open(l->q->dir_fd, file, NULL, e);
}

static const struct modload_module *wanted(const struct modload_request *q, const char *name)
{
	for (size_t i = 0; i < q->n_modules; i++)
		if (kmod_name_eq(q->modules[i].name, name))
			return &q->modules[i];
	return NULL;
}

/* The kernel's own message for this is a symbol version; the file says it plainly. */
static int check_release(const struct load *l, const char *name, const struct modinfo *m, struct err *e)
{
	struct span rest = SPAN(m->vermagic ? m->vermagic : ""), word;

	if (!l->release || !span_word(&rest, &word) || span_eq(word, l->release))
		return 0;
	err_set(e, ERR_MODULE_WRONG_KERNEL, "%s was built for kernel " SPAN_FMT ", running is %s", name,
		SPAN_ARG(word), l->release);
	(void)err_object(e, "%s", name);
	return -ERR_MODULE_WRONG_KERNEL;
}

/* A loaded module of another driver version must not pass for the wanted one. */
static int check_present(const struct load *l, const char *name, const struct modinfo *m, struct err *e)
{
	_cleanup_free_ char *version = NULL;

	if (!m->version || kmod_attr(l->h, name, "version", &version) < 0 || strcmp(version, m->version) == 0)
		return 0;
	err_set(e, ERR_MODULE_LOADED_OTHER, "%s %s is loaded, wanted %s", name, version, m->version);
	(void)err_object(e, "%s", name);
	return -ERR_MODULE_LOADED_OTHER;
}

static int parameters(const struct load *l, const char *name, char **ret, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf t = STRBUF_INIT(65536);
	const struct modload_module *w = wanted(l->q, name);
	int r = modparams_collect(l->h, name, &t);

	if (r == 0 && w && w->params && *w->params)
		r = strbuf_printf(&t, "%s%s", t.len ? " " : "", w->params);
	if (r < 0)
		return err_errno(e, r, "parameters of %s", name);
	*ret = strdup(strbuf_str(&t));
	return *ret ? 0 : err_oom(e);
}

static int note(json_t *list, const char *name, struct err *e)
{
	return json_array_append_new(list, json_string(name)) < 0 ? err_oom(e) : 0;
}

static int explain(const struct load *l, int r, const char *name, struct err *e)
{
	_cleanup_free_ char *klog = NULL;

	if (l->ops->klog(l->ops->arg, &klog) < 0)
		return modload_explain(r, name, "", e);
	return modload_explain(r, name, klog, e);
}

/* The insert itself, believed only once the kernel lists the module. */
static int insert(struct load *l, const char *name, int fd, struct err *e)
{
	_cleanup_free_ char *params = NULL, *before = NULL, *kernel_name = kmod_name_underscores(name);
	int r = !kernel_name ? err_oom(e) : parameters(l, name, &params, e);

	if (r < 0)
		return r;
	(void)l->ops->klog(l->ops->arg, &before);
	log_debug("loading %s%s%s", name, *params ? " with " : "", params);
	r = l->ops->insert(l->ops->arg, fd, params);
	if (r == -EEXIST)
		return note(l->report.present, name, e);
	if (r < 0)
		return explain(l, r, name, e);
	if (strv_push(&l->inserted, kernel_name) < 0)
		return err_oom(e);
	if (is_loaded(l->h, name) == 0) {
		err_set(e, ERR_MODULE_LOAD, "%s: the kernel took it but does not list it", name);
		(void)err_object(e, "%s", name);
		return -ERR_MODULE_LOAD;
	}
	return note(l->report.loaded, name, e);
}

/* A module the set does not hold is the kernel's own (drm, ib_core, …). One that does not exist may be built in: the
 * kernel names the missing symbol otherwise. */
static int load_kernel_module(struct load *l, const char *name, struct err *e)
{
	int r;

	if (is_loaded(l->h, name) == 1)
		return 0;
	r = l->ops->insert_kernel(l->ops->arg, name);
	if (r == -ENOENT || r == -ENOSYS || r == 0 || r == -EEXIST)
		return 0;
	return explain(l, r, name, e);
}

static int missing(const char *name, struct err *e)
{
	err_set(e, ERR_MODULE_MISSING, "there is no module %s", name);
	(void)err_object(e, "%s", name);
	return -ERR_MODULE_MISSING;
}

/* A wanted module from the kernel's own module tree, where the driver was installed. */
static int load_installed(struct load *l, const char *name, struct err *e)
{
	_cleanup_free_ char *kernel_name = kmod_name_underscores(name);
	int r;

	if (!kernel_name)
		return err_oom(e);
	if (is_loaded(l->h, name) == 1)
		return note(l->report.present, name, e);
	r = l->ops->insert_kernel(l->ops->arg, name);
	if (r == -ENOENT)
		return missing(name, e);
	if (r < 0)
		return explain(l, r, name, e);
	if (strv_push(&l->inserted, kernel_name) < 0)
		return err_oom(e);
	return note(l->report.loaded, name, e);
}

static int load_one(struct load *l, const char *name, unsigned depth, struct err *e);

static int load_dependencies(struct load *l, const struct modinfo *m, unsigned depth, struct err *e)
{
	for (char **d = m->depends; d && *d; d++) {
		int r = load_one(l, *d, depth + 1, e);

		if (r < 0)
			return err_wrap(e, "needed by %s", m->name ? m->name : "the module");
	}
	return 0;
}

/* A file of a module's name that is none was one once: cut short or overwritten. */
static int read_facts(int fd, const char *name, struct modinfo *m, struct err *e)
{
	int r = modinfo_read_fd(fd, m, e);

	if (r == -ERR_MODULE_NOT_ELF)
		r = err_set(e, ERR_MODULE_DAMAGED, "%s.ko is not a complete module file", name);
	if (r < 0)
		(void)err_object(e, "%s", name);
	return r;
}

static int load_one(struct load *l, const char *name, unsigned depth, struct err *e)
{
	_cleanup_(modinfo_done) struct modinfo m = MODINFO_INIT;
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (depth > DEPTH_MAX)
		return err_set(e, ERR_MODULE_DAMAGED, "%s: modules depend on each other in a circle", name);
	if (seen(l->report.loaded, name) || seen(l->report.present, name))
		return 0;
	fd = open_module(l, name, e);
	if (fd == -ENOENT && !wanted(l->q, name))
		return load_kernel_module(l, name, e);
	if (fd == -ENOENT)
		return l->q->dir_fd < 0 ? load_installed(l, name, e) : missing(name, e);
	r = fd < 0 ? fd : read_facts(fd, name, &m, e);
	if (r < 0)
		return r;
	if (is_loaded(l->h, name) == 1) {
		r = check_present(l, name, &m, e);
		return r < 0 ? r : note(l->report.present, name, e);
	}
	r = check_release(l, name, &m, e);
	if (r == 0)
		r = load_dependencies(l, &m, depth, e);
	return r < 0 ? r : insert(l, name, fd, e);
}

static int note_failed(struct load *l, const char *name, const struct err *why, struct err *e)
{
	json_t *f = json_pack("{s:s, s:s, s:s, s:s}", "module", name, "slug", err_slug(why->code), "reason",
			      why->reason ? why->reason : err_sentence(why->code), "next_step",
			      why->next ? why->next : err_next_step(why->code));

	log_warn("optional module %s was not loaded: %s", name,
		 why->reason ? why->reason : err_sentence(why->code));
	return !f || json_array_append_new(l->report.failed, f) < 0 ? err_oom(e) : 0;
}

static void take_back(struct load *l)
{
	for (size_t i = strv_len(l->inserted); i-- > 0;) {
		int r = l->ops->remove(l->ops->arg, l->inserted[i]);

		if (r < 0)
			log_warn("%s was loaded and could not be removed again: %s", l->inserted[i],
				 strerror(-r));
	}
	if (l->firmware_before && firmware_take_back(l->h, l->firmware_before, NULL) < 0)
		log_warn("the firmware search path could not be set back to %s", l->firmware_before);
}

/* -- firmware -- */

/* What the request leaves to module nvidia, and what was made up for it. */
struct firmware_facts {
	struct firmware_want want;
	struct modinfo nvidia;
	char *params; /* owned */
};

static void firmware_facts_done(struct firmware_facts *f)
{
	modinfo_done(&f->nvidia);
	free(f->params);
}

static int firmware_facts(struct load *l, struct firmware_facts *f, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	int r = 0;

	f->want = *l->q->firmware;
	if (!f->want.files) {
		fd = open_module(l, "nvidia", e);
		r = fd == -ENOENT ? 0 : fd < 0 ? fd : read_facts(fd, "nvidia", &f->nvidia, e);
		f->want.files = f->nvidia.firmware;
	}
	if (r >= 0 && !f->want.params) {
		r = parameters(l, "nvidia", &f->params, e);
		f->want.params = f->params;
	}
	return r;
}

/* Before the modules: nvidia asks when somebody first opens a GPU, which can be at once. A machine that does not show its
 * search path has none to set, unless the user named one. */
static int set_firmware(struct load *l, struct err *e)
{
	_cleanup_(firmware_facts_done) struct firmware_facts f = { .nvidia = MODINFO_INIT };
	_cleanup_free_ char *before = NULL;
	enum firmware_verdict verdict;
	int r = l->q->firmware ? firmware_facts(l, &f, e) : 0;

	if (!l->q->firmware || r < 0)
		return r;
	r = firmware_take(l->h, &f.want, &verdict, &before, e);
	if (r < 0) {
		if (f.want.chosen || r == -ENOMEM)
			return r;
		log_warn("the firmware search path could not be set: %s",
			 e && e->reason ? e->reason : strerror(-r));
		err_done(e);
		return 0;
	}
	if (verdict == FIRMWARE_SET)
		l->firmware_before = TAKE_PTR(before);
	if (verdict == FIRMWARE_ABSENT)
		log_warn("firmware %s is nowhere the kernel looks: GPUs that need it cannot be opened",
			 f.want.files[0]);
	return 0;
}

static int load_wanted(struct load *l, struct err *e)
{
	for (size_t i = 0; i < l->q->n_modules; i++) {
		const struct modload_module *m = &l->q->modules[i];
		_cleanup_(err_done) struct err why = ERR_INIT;
		int r = load_one(l, m->name, 0, &why);

		if (r < 0 && !m->optional) {
			err_move(e, &why);
			return r;
		}
		if (r < 0 && (r = note_failed(l, m->name, &why, e)) < 0)
			return r;
	}
	return 0;
}

int modload_load(const struct host *h, const struct modload_ops *ops, const struct modload_request *q,
		 struct modload_report *ret, struct err *e)
{
	_cleanup_(load_done) struct load l = { .h = h, .ops = ops, .q = q };
	int r = load_init(&l, e);

	if (r == 0)
		r = set_firmware(&l, e);
	if (r == 0)
		r = load_wanted(&l, e);
	if (r < 0) {
		take_back(&l);
		return r;
	}
	*ret = l.report;
	l.report = (struct modload_report)MODLOAD_REPORT_INIT;
	return 0;
}

static int plan_firmware(struct load *l, json_t *steps, struct err *e)
{
	_cleanup_(firmware_facts_done) struct firmware_facts f = { .nvidia = MODINFO_INIT };
	enum firmware_verdict verdict;
	int r = l->q->firmware ? firmware_facts(l, &f, e) : 0;

	if (!l->q->firmware || r < 0)
		return r;
	if (firmware_decide(l->h, &f.want, &verdict, NULL, NULL) < 0 || verdict != FIRMWARE_SET)
		return 0;
	r = json_array_append_new(steps, json_sprintf("let the kernel look for firmware in %s",
						      f.want.dir ? f.want.dir : FIRMWARE_LINKS));
	return r < 0 ? err_oom(e) : 0;
}

static int plan_module(const struct host *h, const struct modload_module *m, json_t *steps)
{
	_cleanup_(strbuf_done) struct strbuf p = STRBUF_INIT(65536);
	bool there = is_loaded(h, m->name) == 1;

	(void)modparams_collect(h, m->name, &p);
	if (m->params)
		(void)strbuf_printf(&p, "%s%s", p.len ? " " : "", m->params);
	return json_array_append_new(steps, json_sprintf("%s %s%s%s%s", there ? "keep" : "load", m->name,
							 p.len ? " with " : "", strbuf_str(&p),
							 m->optional ? " (optional)" : ""));
}

int modload_plan(const struct host *h, const struct modload_request *q, json_t **ret_steps, struct err *e)
{
	_cleanup_(load_done) struct load l = { .h = h, .q = q };
	_cleanup_json_ json_t *steps = json_array();
	int r = steps ? plan_firmware(&l, steps, e) : err_oom(e);

	for (size_t i = 0; r == 0 && i < q->n_modules; i++)
		if (plan_module(h, &q->modules[i], steps) < 0)
			r = err_oom(e);
	if (r == 0)
		*ret_steps = TAKE_PTR(steps);
	return r;
}
