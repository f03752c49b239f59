/* SPDX-License-Identifier: Apache-2.0
 *
 * Back to the kernel and the words the host booted with before step 1. */
#include "cmd-vgpu.h"

#include "interrupt.h"
#include "log.h"
#include "network.h"
#include "spawn.h"
#include "vgpu-rollback.h"

#define LOOK_AGAIN_S 5

struct rollback_opts {
	struct vgpu_common common; /* nothing of it is asked */
	unsigned wait_s;
};

static const struct opt rollback_options[] = {
	{ "wait", 0, "DURATION", "only when the network does not work within this time; then reboot",
	  OPT_DURATION, offsetof(struct rollback_opts, wait_s) },
	{ 0 },
};

static const char *const of_the_boot[] = { "kernel", "boot", "rollback", NULL };
static const char *const of_the_watch[] = { "rollback", NULL };

/* A captured machine does not change by waiting. */
static bool network_comes(struct app *app, unsigned wait_s)
{
	const struct host *h = app->engine->host;

	for (unsigned left = wait_s;; left = left > LOOK_AGAIN_S ? left - LOOK_AGAIN_S : 0) {
		if (h->is_running && !app->offline)
			network_poke(h);
		if (network_works(h))
			return true;
		if (left == 0 || !h->is_running || interrupt_sleep(LOOK_AGAIN_S * 1000))
			return network_works(h);
	}
}

/* Step 1 has to be run again before step 2 makes sense. */
static int forget_step(struct app *app, struct err *e)
{
	_cleanup_(vgpu_state_done) struct vgpu_state st = { .lock = LOCK_INIT };
	int r = vgpu_state_open(app->engine, true, &st, e);

	if (r < 0 || !vgpu_state_get(&st, "STEP"))
		return r;
	if (vgpu_state_set(&st, "STEP", "1") < 0)
		return err_oom(e);
	return vgpu_state_save(app->engine, &st, e);
}

static int reboot(struct app *app, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("reboot");

	if (!app->engine->host->is_running) {
		log_info("a captured machine does not reboot");
		return 0;
	}
	spawn_argv(&s, "systemctl", "reboot", NULL);
	return spawn_check(&s, e);
}

static int rollback_cmd(struct app *app, void *opts, int argc _unused_, char **argv _unused_, struct err *e)
{
	const struct rollback_opts *o = opts;
	bool waits = o->wait_s > 0;
	int r = app->dry_run ? 0 : vgpu_may_change(app, e);

	if (r < 0)
		return r;
	if (waits && network_comes(app, o->wait_s)) {
		log_info("the network works: kernel and boot words stay");
		return vgpu_take_back_recorded(app, &o->common, of_the_watch, e);
	}
	/* A stop asked for in between is no missing network. */
	r = interrupt_check(e);
	if (r < 0)
		return r;
	if (waits)
		log_warn("no network after %u s: kernel and boot words are taken back", o->wait_s);
	r = vgpu_take_back_recorded(app, &o->common, of_the_boot, e);
	if (r >= 0 && !app->dry_run)
		r = forget_step(app, e);
	return r < 0 || !waits || app->dry_run ? r : reboot(app, e);
}

const struct cmd cmd_vgpu_rollback = {
	.name = "vgpu",
	.sub = "rollback",
	.summary = "go back to the kernel and boot words from before step 1",
	.description = "Takes back what step 1 did to the kernel that boots and to its words, and nothing "
		       "else; a reboot follows by hand.\n\n"
		       "With --wait it is what the unit of step 1 --rollback-after runs: a default route "
		       "whose interface is up and whose "
		       "gateway answers within the time leaves everything as it is and removes the unit; "
		       "else kernel and words are taken "
		       "back and the host reboots.",
	.examples = "nvdriver vgpu rollback && reboot\n  from a console, when the host does not come up as "
		    "it should\n",
	.options = rollback_options,
	.opts_size = sizeof(struct rollback_opts),
	.run = rollback_cmd,
};
