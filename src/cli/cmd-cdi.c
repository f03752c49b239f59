/* SPDX-License-Identifier: Apache-2.0 */
#include "cdi.h"
#include "cmd.h"
#include "fd.h"
#include "jutil.h"
#include "lxc-host.h"
#include "lxc-live.h"
#include "lxc-locked.h"
#include "path.h"
#include "ui.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATE_MAX ((size_t)4 << 20)

struct cdi_opts {
	const char *output, *format, *tree;
	bool force;
};

static const struct opt cdi_options[] = {
	{ "output", 'o', "FILE", "where to write below the root; - for standard output", OPT_STRING,
	  offsetof(struct cdi_opts, output), "file" },
	{ "format", 0, "FORMAT", "json or yaml; default: by the name of the output", OPT_STRING,
	  offsetof(struct cdi_opts, format), "json yaml" },
	{ "tree", 0, "DIR", "directory of the host that containers get as " CDI_MOUNT, OPT_STRING,
	  offsetof(struct cdi_opts, tree), "dir" },
	{ "force", 0, NULL, "write although another specification has the same names", OPT_FLAG,
	  offsetof(struct cdi_opts, force) },
	{ 0 },
};

/* An engine's container may have the host's rights over mounts: the part that nobody can make writable, where it was made. */
static const char *live_tree(const struct host *h)
{
	return path_exists(h->root_fd, &(LXC_LIVE_DIR "/" LXC_LOCKED "/current")[1]) ? LXC_LIVE_DIR
		   "/" LXC_LOCKED
										     : LXC_LIVE_DIR;
}

static int spec_make(const struct app *app, const struct cdi_opts *o, const struct lxc_host *facts,
		     const char *hook, json_t **ret, struct err *e)
{
	_cleanup_free_ struct cdi_gpu *gpus = calloc(facts->n_gpus ? facts->n_gpus : 1, sizeof(*gpus));
	struct cdi_want w = { .gpus = gpus,
			      .n_gpus = facts->n_gpus,
			      .modeset = path_exists(app->engine->host->root_fd, "dev/nvidia-modeset"),
			      .tree = o->tree ? o->tree : live_tree(app->engine->host),
			      .hook = hook };

	if (facts->n_gpus == 0)
		return err_set(e, ERR_MODULE_NO_GPU, "the driver on this host has no GPU");
	if (!gpus)
		return err_oom(e);
	for (size_t i = 0; i < facts->n_gpus; i++)
		gpus[i] = (struct cdi_gpu){ facts->gpus[i].minor, facts->gpus[i].uuid };
	return cdi_spec_make(&w, ret) < 0 ? err_oom(e) : 0;
}

static int is_yaml(const struct cdi_opts *o, const char *path, bool *ret, struct err *e)
{
	size_t n = strlen(path);

	if (o->format && strcmp(o->format, "json") != 0 && strcmp(o->format, "yaml") != 0)
		return err_set(e, ERR_USAGE, "--format does not know '%s'", o->format);
	*ret = o->format ? *o->format == 'y' : n > 5 && strcmp(path + n - 5, ".yaml") == 0;
	return 0;
}

static int spec_text(const json_t *spec, bool yaml, char **ret, struct err *e)
{
	struct strbuf out = STRBUF_INIT(STRBUF_TEXT_MAX);

	if (!yaml)
		return jdump(spec, ret) < 0 ? err_oom(e) : 0;
	if (cdi_yaml(spec, &out) < 0 || strbuf_steal(&out, ret) < 0) {
		strbuf_done(&out);
		return err_oom(e);
	}
	return 0;
}

static int spec_write(struct app *app, const char *path, const char *text, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf shown = STRBUF_INIT(STRBUF_TEXT_MAX);
	_cleanup_(plan_freep) struct plan *p = NULL;
	struct engine *en = app->engine;
	int r = cdi_plan(path, text, &p, e), done = 0;

	if (r >= 0)
		done = r = plan_check(p, en->host, e);
	if (r >= 0 && !app->dry_run)
		r = plan_apply(p, &en->state, en->host, en->lock_timeout_s, NULL, e);
	if (r >= 0 && app->dry_run && !app->json && plan_to_text(p, en->host, &shown) < 0)
		r = err_oom(e);
	if (r < 0)
		return r;
	if (app->json)
		return out_json("cdi-generate",
				json_pack("{s:s, s:b, s:b}", "path", path, "written",
					  (int)(!done && !app->dry_run), "dry_run", (int)app->dry_run));
	if (app->dry_run)
		out_text("%s", strbuf_str(&shown));
	else
		out_text(done ? "/%s is up to date\n" : "/%s written\n", path);
	return 0;
}

static int cdi_cmd(struct app *app, void *opts, int argc _unused_, char **argv _unused_, struct err *e)
{
	const struct cdi_opts *o = opts;
	const char *path = o->output ? o->output : CDI_OUTPUT;
	_cleanup_(lxc_host_done) struct lxc_host facts = { 0 };
	_cleanup_json_ json_t *spec = NULL;
	_cleanup_free_ char *text = NULL;
	char program[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
	bool yaml = false, to_stdout = strcmp(path, "-") == 0;
	int r = is_yaml(o, path, &yaml, e);

	program[n < 0 ? 0 : n] = '\0';
	while (*path == '/')
		path++;
	if (r >= 0)
		r = lxc_host_read(app->engine->host, &facts, e);
	if (r >= 0)
		r = spec_make(app, o, &facts, n < 0 ? "/usr/bin/nvdriver" : program, &spec, e);
	if (r >= 0 && !to_stdout && !o->force)
		r = cdi_conflicts(app->engine->host, spec, path, e);
	if (r >= 0)
		r = spec_text(spec, yaml, &text, e);
	if (r < 0)
		return r;
	if (!to_stdout)
		return spec_write(app, path, text, e);
	out_text("%s", text);
	return 0;
}

const struct cmd cmd_cdi_generate = {
	.name = "cdi",
	.sub = "generate",
	.summary = "tell container engines what the GPUs of this host are",
	.max_args = 0,
	.description =
	    "Writes a specification of the Container Device Interface for the GPUs of this host, so that "
	    "containerd, CRI-O, Podman and Docker give them to containers by name: " CDI_KIND
	    "=0, =GPU-<uuid> or "
	    "=all. A container gets the GPU's device nodes and the host's driver as a read-only mount, the "
	    "one LXC "
	    "containers have; a hook makes its loader know the libraries. Numbers of devices are not "
	    "written, so the "
	    "file does not go stale when the kernel gives out others.\n\n"
	    "Nothing is written while another specification has devices of the same names, because an engine "
	    "refuses "
	    "such names; remove that file, or use --force.",
	.examples = "nvdriver cdi generate\n  write /" CDI_OUTPUT "\n"
		    "nvdriver cdi generate --output /etc/cdi/nvdriver.yaml\n  for engines that read that "
		    "directory alone\n",
	.options = cdi_options,
	.opts_size = sizeof(struct cdi_opts),
	.run = cdi_cmd,
};

static int hook_cmd(struct app *app _unused_, void *opts _unused_, int argc _unused_, char **argv _unused_,
		    struct err *e)
{
	_cleanup_free_ char *state = malloc(STATE_MAX);
	ssize_t len = state ? read_upto(STDIN_FILENO, state, STATE_MAX) : -ENOMEM;

	if (len < 0)
		return err_errno(e, (int)len, "reading the runtime's state from standard input");
	return cdi_hook_run((struct span){ state, (size_t)len }, e);
}

const struct cmd cmd_hook_cdi = {
	.name = "hook",
	.sub = "cdi",
	.summary = "for container runtimes: make the driver known inside a new container",
	.max_args = 0,
	.description =
	    "Called by a container runtime as a createContainer hook of the specification that cdi generate "
	    "writes, with the state of the container on standard input.",
	.flags = CMD_NO_ENGINE,
	.run = hook_cmd,
};
