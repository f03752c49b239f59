/* SPDX-License-Identifier: Apache-2.0
 *
 * What the hook of kernel packages calls: does the vGPU driver go with a kernel that was installed? */
#include "cmd-vgpu.h"

#include "log.h"
#include "vgpu-newkernel.h"

struct kernel_opts {
	bool hold;
};

static const struct opt kernel_options[] = {
	{ "hold", 0, NULL, "go on booting the running kernel when the new one does not fit", OPT_FLAG,
	  offsetof(struct kernel_opts, hold) },
	{ 0 },
};

static int hold(struct app *app, const struct newkernel *k, bool *ret_held, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	int r = vgpu_may_change(app, e);

	if (r >= 0)
		r = vgpu_plan_new(app->engine, "hold", "hold the kernel", &p, e);
	if (r >= 0 && newkernel_add_hold(k, p) < 0)
		r = err_oom(e);
	if (r >= 0)
		r = plan_apply(p, &app->engine->state, app->engine->host, app->engine->lock_timeout_s, NULL,
			       e);
	*ret_held = r >= 0;
	return r < 0 ? r : 0;
}

static int kernel_cmd(struct app *app, void *opts, int argc _unused_, char **argv, struct err *e)
{
	const struct kernel_opts *o = opts;
	_cleanup_(newkernel_done) struct newkernel k = { .verdict = NEWKERNEL_NONE };
	bool held = false, bad;
	int r = newkernel_look(app->engine, argv[0], &k, e);

	if (r >= 0 && o->hold && k.hold && !app->dry_run)
		r = hold(app, &k, &held, e);
	if (r < 0)
		return r;
	bad = k.verdict == NEWKERNEL_TOO_NEW || k.verdict == NEWKERNEL_NOT_BUILT;
	if (app->json)
		r = out_json("vgpu-kernel",
			     json_pack("{s:b, s:s, s:s, s:s, s:s?, s:b}", "dry_run", (int)app->dry_run,
				       "kernel", argv[0], "verdict", newkernel_verdict_word(k.verdict),
				       "text", k.text, "hold", k.hold, "held", (int)held));
	else if (bad)
		log_warn("%s", k.text);
	else
		out_text("%s\n", k.text);
	if (held)
		log_warn("kernel %s goes on being booted; release it with: nvdriver vgpu remove", k.hold);
	else if (k.hold && !app->json)
		log_warn("to go on booting kernel %s: nvdriver vgpu kernel --hold %s", k.hold, argv[0]);
	return r < 0 ? r : bad ? err_exit_status(ERR_FINDING) : 0;
}

const struct cmd cmd_vgpu_kernel = {
	.name = "vgpu",
	.sub = "kernel",
	.summary = "say whether the installed host driver goes with a kernel",
	.args = "RELEASE",
	.min_args = 1,
	.max_args = 1,
	.description = "Step 2 installs a hook of the kernel packages that calls this, after DKMS has built "
		       "the modules. A "
		       "kernel beyond what the branch is known to build for, or one without a built module, "
		       "would come up "
		       "without a driver: it is named, and with --hold (step 2 --hold-kernel for the hook) "
		       "the running one "
		       "stays the default, as a recorded deployment that vgpu remove releases.\n\n"
		       "Exit status 10 when the kernel does not fit.",
	.options = kernel_options,
	.opts_size = sizeof(struct kernel_opts),
	.run = kernel_cmd,
};
