/* SPDX-License-Identifier: Apache-2.0
 *
 * Another driver on a host that has one: the old one goes, then the steps of a new installation follow. */
#include "cmd-vgpu.h"

#include "log.h"
#include "vgpu-plan.h"
#include "vgpu-use.h"

/* What a driver brought, the newest first. A person's profiles and the signing key stay; the pinned kernel is decided anew. */
static const char *const of_a_driver[] = { "functions", "services",	  "vgpu_config", "driver", "download",
					   "unlock",	"unlock_sources", "kernel",	 "hook",   "hold",
					   NULL };

static int ask_first(struct app *app, const struct vgpu_common *o, struct err *e)
{
	_cleanup_(vgpu_asker_done) struct asker a = { 0 };
	int r = vgpu_asker_open(app, o, &a, e);

	if (r < 0 || app->dry_run)
		return r;
	r = ask_yes(&a, "upgrade", true, "Take the present driver away and prepare for another one? ");
	if (r < 0)
		return err_oom(e);
	return r ? 0 : err_set(e, ERR_DECLINED, "nothing was changed");
}

/* The branch of before is no answer to which one comes now. */
static int forget_branch(struct app *app, struct err *e)
{
	static const char *const keys[] = { "BRANCH", "URL", "FILE" };
	_cleanup_(vgpu_state_done) struct vgpu_state st = { .lock = LOCK_INIT };
	int r = vgpu_state_open(app->engine, true, &st, e);

	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(keys); i++)
		if (vgpu_state_set(&st, keys[i], NULL) < 0)
			r = err_oom(e);
	return r < 0 ? r : vgpu_state_save(app->engine, &st, e);
}

static int upgrade_cmd(struct app *app, void *opts, int argc _unused_, char **argv _unused_, struct err *e)
{
	const struct vgpu_common *o = opts;
	int r = app->dry_run ? 0 : vgpu_may_change(app, e);

	if (r >= 0)
		r = vgpu_check_idle(app->engine->host, e);
	if (r >= 0)
		r = ask_first(app, o, e);
	if (r >= 0)
		r = vgpu_take_back_groups(app, o, of_a_driver, e);
	if (r >= 0 && !app->dry_run)
		r = forget_branch(app, e);
	if (r < 0)
		return r;
	log_info("the steps of a new installation follow");
	return vgpu_step1_run(app, o, e);
}

static const struct opt upgrade_options[] = { VGPU_COMMON_OPTIONS, { 0 } };

const struct cmd cmd_vgpu_upgrade = {
	.name = "vgpu",
	.sub = "upgrade",
	.summary = "take the present host driver away and prepare for another one",
	.description = "Refuses while a virtual machine has a vGPU. Then the driver goes by its own "
		       "uninstaller, with the "
		       "daemons, the virtual functions' unit, its files, the unlock library and the "
		       "community's sources; a "
		       "driver that was installed by hand or by the script installer goes too. Profiles and "
		       "settings of the "
		       "unlock library stay, and so does the signing key. A kernel that was pinned for the "
		       "old driver is "
		       "released, and pinned again only if the new one needs it. Step 1 follows, as on a new "
		       "host; step 2 "
		       "installs.\n\n"
		       "Interrupted, it goes on where it was when it is run again.",
	.examples = "nvdriver vgpu upgrade --branch 19.3 --yes && nvdriver vgpu step 2 --yes\n"
		    "  another branch, where no reboot is needed between the two\n",
	.options = upgrade_options,
	.opts_size = sizeof(struct vgpu_common),
	.run = upgrade_cmd,
};
