/* SPDX-License-Identifier: Apache-2.0
 *
 * Under the names "nvidia-installer" and "nvidia-uninstall": the options, hooks and exit statuses callers of the vendor's
 * installer rely on, over our own verbs. What is done is what those verbs do: verified, recorded, taken back on failure. */
#include "cmd.h"
#include "compat.h"
#include "fd.h"
#include "host.h"
#include "installer.h"
#include "log.h"
#include "manifest.h"
#include "parse.h"
#include "path.h"
#include "precompiled.h"
#include "record.h"
#include "spawn.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HOOK_DIR       "usr/lib/nvidia"
#define HOOK_TIMEOUT_S 600
#define DEFAULT_LOG    "/var/log/nvidia-installer.log"

struct run {
	struct installer q;
	struct host *host; /* owned */
	char *dir; /* owned; the payload's */
	char *version; /* owned; of the payload */
	const char *flavour;
	bool hooks;
};

static void run_done(struct run *w)
{
	installer_done(&w->q);
	host_freep(&w->host);
	free(w->dir);
	free(w->version);
}

static int complain(const struct err *e)
{
	fprintf(stderr, "ERROR: %s\n", e->reason ? e->reason : err_sentence(e->code));
	return 1;
}

/* -- our verbs -- */

static const char *log_file_of(const struct run *w)
{
	if (w->q.log_file)
		return w->q.log_file;
	return w->host->is_running && access("/var/log", W_OK) == 0 ? DEFAULT_LOG : NULL;
}

static int push_common(const struct run *w, char ***words)
{
	const char *const pairs[][2] = { { "--root", w->q.root },
					 { "--store", w->q.store },
					 { "--log-file", log_file_of(w) } };
	int r = strv_push(words, "nvdriver");

	for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
		if (r == 0 && pairs[i][1] && (r = strv_push(words, pairs[i][0])) == 0)
			r = strv_push(words, pairs[i][1]);
	return r == 0 && w->q.silent ? strv_push(words, "-q") : r;
}

/* Silent means silent: results of the verbs go nowhere. */
static int quietly(int argc, char **argv, bool silent)
{
	_cleanup_close_ int null = silent ? open("/dev/null", O_WRONLY | O_CLOEXEC) : -EBADF;
	_cleanup_close_ int out = null >= 0 ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3) : -EBADF;
	int status;

	(void)fflush(stdout);
	if (out >= 0)
		(void)dup2(null, STDOUT_FILENO);
	status = app_main(argc, argv);
	if (out >= 0)
		(void)dup2(out, STDOUT_FILENO);
	return status;
}

/* One verb with its own words and those of the options; 0 or its exit status. */
static int verb(const struct run *w, const char *const *own, char *const *further)
{
	_cleanup_strv_ char **words = NULL;
	int r = push_common(w, &words);

	for (; r == 0 && *own; own++)
		r = strv_push(&words, *own);
	for (; r == 0 && further && *further; further++)
		r = strv_push(&words, *further);
	return r < 0 ? 1 : quietly((int)strv_len(words), words, w->q.silent);
}

#define VERB(w, further, ...) verb(w, (const char *const[]){ __VA_ARGS__, NULL }, further)

/* -- hooks of the distribution -- */

/* 0 when there is none or it succeeded. */
static int hook(const struct run *w, const char *name)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("hook of the distribution");
	_cleanup_free_ char *path = str_printf("/" HOOK_DIR "/%s", name);
	_cleanup_(err_done) struct err e = ERR_INIT;

	if (!path || !w->hooks || access(path, X_OK) < 0)
		return path ? 0 : 1;
	(void)spawn_argv(&s, path, NULL);
	s.timeout_s = HOOK_TIMEOUT_S;
	if (spawn_check(&s, &e) == 0)
		return 0;
	fprintf(stderr, "WARNING: %s failed: %s\n", path, e.reason ? e.reason : "");
	return 1;
}

/* -- what stands against it -- */

static int check_x(const struct host *h, struct err *e)
{
	for (int i = 0; i < 8; i++) {
		_cleanup_free_ char *lock = str_printf("tmp/.X%d-lock", i), *text = NULL, *proc = NULL;
		struct span rest, pid;

		if (!lock || read_line_at(h->root_fd, lock, &text) < 0)
			continue;
		rest = SPAN(text);
		if (h->proc_fd < 0 || !span_word(&rest, &pid) || strspn(pid.p, "0123456789") < pid.len)
			continue;
		proc = span_dup(pid);
		if (proc && faccessat(h->proc_fd, proc, F_OK, 0) == 0)
			return err_set(e, ERR_MODULE_IN_USE,
				       "an X server runs (/%s, process %s); --no-x-check goes on", lock,
				       proc);
	}
	return 0;
}

static int check_nouveau(const struct host *h, struct err *e)
{
	int fd = h->sys_fd < 0
		     ? -EBADF
		     : openat(h->sys_fd, "bus/pci/drivers/nouveau", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	int r = 0;

	while (d && r == 0 && (de = readdir(d)))
		if (strchr(de->d_name, ':'))
			r = err_set(e, ERR_MODULE_GPU_HELD, "nouveau drives %s; --no-nouveau-check goes on",
				    de->d_name);
	if (d)
		closedir(d);
	else if (fd >= 0)
		close(fd);
	return r;
}

/* Modules alone go beside user space of the same version. */
static int check_installed(const struct run *w, struct err *e)
{
	json_auto_t *record = NULL;
	const char *version;
	int r = record_read(w->host->root_fd, &record, e);

	if (r < 0)
		return r;
	version = r ? json_string_value(json_object_get(record, "version")) : NULL;
	if (version && strcmp(version, w->version) == 0)
		return 0;
	return err_set(e, ERR_INSTALL_NOT_FOUND,
		       "only modules were asked for, which needs driver %s installed; there is %s",
		       w->version, version ? version : "none");
}

static int check_all(const struct run *w, struct err *e)
{
	int r = w->q.no_x_check ? 0 : check_x(w->host, e);

	if (r == 0 && !w->q.no_nouveau_check)
		r = check_nouveau(w->host, e);
	if (r == 0 && w->q.modules_only)
		r = check_installed(w, e);
	return r;
}

/* -- precompiled packages -- */

/* True once a package of this directory for the running kernel is in the store. */
static bool import_from(const struct run *w, const char *dir, const char *banner)
{
	DIR *d = opendir(dir);
	struct dirent *de;
	bool done = false;

	while (d && !done && (de = readdir(d))) {
		_cleanup_(precompiled_freep) struct precompiled *p = NULL;
		_cleanup_free_ char *path = str_printf("%s/%s", dir, de->d_name);

		if (!path || de->d_name[0] == '.' ||
		    precompiled_open(AT_FDCWD, path, PRECOMPILED_READ_HEADER, &p, NULL) < 0 ||
		    precompiled_match(p, w->version, banner, NULL) < 0)
			continue;
		done = VERB(w, NULL, "modules", "import", path, "--flavour", w->flavour) == 0;
	}
	if (d)
		closedir(d);
	return done;
}

/* In the vendor's order; none that fits is no error, the modules are built then. */
static void import_precompiled(const struct run *w)
{
	_cleanup_free_ char *banner = NULL, *release = NULL, *system = NULL, *own = NULL;
	const char *dirs[3];

	if (w->q.no_precompiled || w->q.kernel_name || host_proc_version(w->host, &banner) < 0 ||
	    host_kernel_release(w->host, &release) < 0)
		return;
	system = str_printf("%s/lib/modules/precompiled/%s/nvidia/gfx",
			    w->host->is_running ? "" : w->host->root, release);
	own = str_printf("%s/%s/precompiled", w->dir,
			 strcmp(w->flavour, "open") == 0 ? "kernel-open" : "kernel");
	dirs[0] = w->q.precompiled_dir, dirs[1] = system, dirs[2] = own;
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		if (dirs[i] && import_from(w, dirs[i], banner))
			return;
}

/* -- actions -- */

static int install_parts(const struct run *w)
{
	int status = VERB(w, NULL, "prepare", w->dir, "--no-modules");

	if (status == 0 && !w->q.no_modules) {
		import_precompiled(w);
		status = VERB(w, w->q.words[INSTALLER_PREPARE], "prepare", w->dir, "--flavour", w->flavour);
	}
	if (status == 0 && !w->q.modules_only)
		status = VERB(w, w->q.words[INSTALLER_INSTALL], "install", w->version, "--profile=custom",
			      "--replace-vendor", w->q.no_compat32 ? "--exclude=file:32/*" : "--compat32");
	if (status == 0 && !w->q.no_modules && !w->q.skip_load && !w->q.kernel_name && w->host->is_running)
		status = VERB(w, w->q.words[INSTALLER_LOAD], "load", w->version, "--flavour", w->flavour);
	return status;
}

static int do_install(struct run *w)
{
	_cleanup_(err_done) struct err e = ERR_INIT;

	if (check_all(w, &e) < 0)
		return complain(&e);
	if (w->q.dkms)
		fprintf(stderr,
			"WARNING: nothing is registered with DKMS: nvdriver builds for new kernels itself\n");
	if (hook(w, "pre-install") != 0)
		return 1;
	if (install_parts(w) != 0) {
		(void)hook(w, "failed-install");
		return 1;
	}
	(void)hook(w, "post-install");
	return 0;
}

/* Files first, as the vendor does it: modules somebody still uses stay loaded, which is no failure. */
static int do_uninstall(struct run *w)
{
	if (hook(w, "pre-uninstall") != 0 || VERB(w, NULL, "install", "--remove") != 0)
		return 1;
	if (w->host->is_running) {
		(void)hook(w, "pre-unload");
		if (VERB(w, NULL, "unload") != 0)
			fprintf(stderr, "WARNING: the driver's modules stay loaded\n");
	}
	(void)hook(w, "post-uninstall");
	return 0;
}

static int do_driver_info(struct run *w)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	json_auto_t *record = NULL;
	int r = record_read(w->host->root_fd, &record, &e);

	if (r < 0)
		return complain(&e);
	if (r == 0) {
		out_text("There is no NVIDIA driver currently installed.\n");
		return 1;
	}
	out_text("The currently installed driver is: 'NVIDIA driver' (version: %s).\n",
		 json_string_value(json_object_get(record, "version")));
	return 0;
}

static int do_sanity(struct run *w)
{
	return VERB(w, NULL, "verify") != 0;
}

static int do_add_kernel(struct run *w)
{
	return VERB(w, w->q.words[INSTALLER_PREPARE], "prepare", w->dir, "--flavour", w->flavour,
		    "--package") != 0;
}

static int do_version(struct run *w)
{
	out_text("nvidia-installer:  version %s\n", w->version);
	return 0;
}

/* -- which package -- */

static char *manifest_version(const char *dir, struct err *e)
{
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	_cleanup_close_ int fd = dir_open_at(AT_FDCWD, dir);
	char *version;

	if (fd < 0) {
		(void)err_errno(e, fd, "%s", dir);
		return NULL;
	}
	if (manifest_read_at(fd, MANIFEST_NAME, 0, &m, e) < 0)
		return NULL;
	version = strdup(m->version);
	if (!version)
		(void)err_oom(e);
	return version;
}

/* Beside the program when it was named by a path, as from an unpacked package; else, and when no package is there, here. */
static int find_payload(struct run *w, const char *argv0, struct err *e)
{
	const char *slash = strrchr(argv0, '/');
	_cleanup_free_ char *beside = slash ? strndup(argv0, (size_t)(slash - argv0) + 1) : strdup(".");

	if (beside && slash)
		w->version = manifest_version(beside, NULL);
	w->dir = realpath(w->version ? beside : ".", NULL);
	if (!beside || !w->dir)
		return err_oom(e);
	if (!w->version)
		w->version = manifest_version(w->dir, e);
	return w->version ? 0 : -e->code;
}

static int open_host(struct run *w, struct err *e)
{
	int r = host_open(w->q.root ? w->q.root : "/", &w->host, e);

	if (r < 0)
		return r;
	/* Nothing of a foreign root is executed. */
	w->hooks = w->host->is_running && !w->q.no_hooks && !w->q.modules_only;
	w->flavour = installer_flavour(&w->q);
	return 0;
}

static int print_help(bool advanced)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(STRBUF_TEXT_MAX);

	if (installer_help(advanced, &text) < 0)
		return 1;
	out_text("%s", strbuf_str(&text));
	return fflush(stdout) == 0 ? 0 : 1;
}

static int act(struct run *w, const char *argv0, struct err *e)
{
	const struct {
		bool asked, needs_package;
		int (*run)(struct run *w);
	} actions[] = { { w->q.uninstall, false, do_uninstall },  { w->q.driver_info, false, do_driver_info },
			{ w->q.sanity, false, do_sanity },	  { w->q.version, true, do_version },
			{ w->q.add_kernel, true, do_add_kernel }, { true, true, do_install } };
	size_t i = 0;

	while (!actions[i].asked)
		i++;
	if (open_host(w, e) < 0 || (actions[i].needs_package && find_payload(w, argv0, e) < 0))
		return complain(e);
	return actions[i].run(w);
}

int compat_nvidia_installer(int argc, char **argv)
{
	_cleanup_(run_done) struct run w = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	const char *slash = strrchr(argv[0], '/');

	w.q.uninstall = strcmp(slash ? slash + 1 : argv[0], "nvidia-uninstall") == 0;
	if (installer_parse(argc, argv, &w.q, &e) < 0) {
		fprintf(stderr,
			"%s\n\nERROR: Invalid commandline, please run `nvidia-installer --help` for usage "
			"information.\n",
			e.reason ? e.reason : "out of memory");
		return 1;
	}
	if (w.q.help || w.q.advanced)
		return print_help(w.q.advanced);
	return act(&w, argv[0], &e);
}
