/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd-vgpu.h"
#include "ui.h"
#include "vgpu-doctor.h"

#include <string.h>

static void print_cards(const json_t *cards)
{
	const json_t *c;
	size_t i;

	json_array_foreach (cards, i, c) {
		out_text("card          %s  10de:%s  %s, vGPU %s, driver %s", ui_str(c, "address", "?"),
			 ui_str(c, "device_id", "?"), ui_str(c, "name", "unknown"), ui_str(c, "support", "?"),
			 ui_str(c, "driver", "none"));
		if (json_integer_value(json_object_get(c, "iommu_group")) >= 0)
			out_text(", group %lld",
				 (long long)json_integer_value(json_object_get(c, "iommu_group")));
		if (json_integer_value(json_object_get(c, "total_vfs")) > 0)
			out_text(", %lld of %lld virtual functions",
				 (long long)json_integer_value(json_object_get(c, "vfs")),
				 (long long)json_integer_value(json_object_get(c, "total_vfs")));
		if (*ui_str(c, "presented_as", ""))
			out_text(", presented as %s", ui_str(c, "presented_as", ""));
		out_text("\n");
	}
}

static void print_types(const json_t *types)
{
	const json_t *t;
	size_t i;

	json_array_foreach (types, i, t) {
		long long free_instances = json_integer_value(json_object_get(t, "available"));

		out_text("type          %s  nvidia-%lld  %s", ui_str(t, "address", "?"),
			 (long long)json_integer_value(json_object_get(t, "id")), ui_str(t, "name", ""));
		if (json_integer_value(json_object_get(t, "framebuffer_mib")) > 0)
			out_text(", %lld MiB",
				 (long long)json_integer_value(json_object_get(t, "framebuffer_mib")));
		if (json_integer_value(json_object_get(t, "displays")) > 0)
			out_text(", %lld displays",
				 (long long)json_integer_value(json_object_get(t, "displays")));
		if (free_instances >= 0)
			out_text(", %lld free", free_instances);
		out_text("\n");
	}
}

static void print_license(const json_t *server)
{
	if (json_is_object(server))
		out_text("licences      https://%s:%lld, container %s, health %s\n",
			 ui_str(server, "address", "?"),
			 (long long)json_integer_value(json_object_get(server, "port")),
			 ui_str(server, "container", "?"), ui_str(server, "health", "?"));
}

/* What step 2 left, and who uses it. */
static void print_driver(const json_t *s)
{
	const json_t *installed = json_object_get(s, "installed"), *row;
	size_t i;

	if (json_is_object(installed))
		out_text("installed     %s by step 2, from %s\n", ui_str(installed, "version", "?"),
			 ui_str(installed, "file", "?"));
	if (json_is_true(json_object_get(s, "unlock_library")))
		out_text("unlock        the library is installed\n");
	json_array_foreach (json_object_get(s, "units"), i, row)
		out_text("unit          %s  %s\n", ui_str(row, "unit", "?"),
			 json_is_true(json_object_get(row, "enabled")) ? "starts at boot"
								       : "does not start at boot");
	json_array_foreach (json_object_get(s, "in_use"), i, row)
		out_text("in use        %s\n", json_string_value(row));
}

static void print_status(const json_t *s)
{
	const json_t *group;
	size_t i;

	out_text("proxmox ve    %s, kernel %s%s%s\n", ui_str(s, "pve_version", "?"), ui_str(s, "kernel", "?"),
		 *ui_str(s, "pinned_kernel", "") ? ", pinned " : "", ui_str(s, "pinned_kernel", ""));
	out_text("set-up        %s\n", strcmp(ui_str(s, "step", ""), "2") == 0
					   ? "step 1 is done, step 2 comes next"
				       : *ui_str(s, "step", "") ? "step 1 was begun"
								: "not begun, or finished");
	out_text("branch        %s\ndriver        %s\n", ui_str(s, "branch", "none chosen"),
		 ui_str(s, "driver_version", "not loaded"));
	out_text("iommu         %s\nsigning key   %s\n",
		 json_is_true(json_object_get(s, "iommu")) ? "on" : "off", ui_str(s, "signing_key", "?"));
	print_driver(s);
	print_cards(json_object_get(s, "cards"));
	print_types(json_object_get(s, "types"));
	print_license(json_object_get(json_object_get(s, "license"), "server"));
	json_array_foreach (json_object_get(s, "deployments"), i, group)
		out_text("changed       %s\n", json_string_value(group));
}

static int status_cmd(struct app *app, void *opts _unused_, int argc _unused_, char **argv _unused_,
		      struct err *e)
{
	struct vgpu_beside beside;
	json_t *s = NULL;
	int r = vgpu_status(app->engine, vgpu_beside_program("gpu_info.db", &beside), &s, e);

	if (r < 0)
		return r;
	if (app->json)
		return out_json("vgpu-status", s);
	print_status(s);
	json_decref(s);
	return 0;
}

typedef int (*look_fn)(struct engine *en, const char *gpu_db_beside, json_t **ret_checks,
		       unsigned *ret_findings, struct err *e);

static int look_cmd(struct app *app, const char *schema, look_fn look, struct err *e)
{
	struct vgpu_beside beside;
	json_t *checks = NULL;
	unsigned findings;
	int r = look(app->engine, vgpu_beside_program("gpu_info.db", &beside), &checks, &findings, e);

	if (r < 0)
		return r;
	if (app->json) {
		r = out_json(schema, json_pack("{s:i, s:o}", "findings", (int)findings, "checks", checks));
		return r < 0 ? r : findings ? err_exit_status(ERR_FINDING) : 0;
	}
	ui_checks(checks);
	json_decref(checks);
	return findings ? err_exit_status(ERR_FINDING) : 0;
}

static int verify_cmd(struct app *app, void *opts _unused_, int argc _unused_, char **argv _unused_,
		      struct err *e)
{
	return look_cmd(app, "vgpu-verify", vgpu_verify, e);
}

static int doctor_cmd(struct app *app, void *opts _unused_, int argc _unused_, char **argv _unused_,
		      struct err *e)
{
	return look_cmd(app, "vgpu-doctor", vgpu_doctor, e);
}

const struct cmd cmd_vgpu_status = {
	.name = "vgpu",
	.sub = "status",
	.summary = "show the vGPU host as it is",
	.description = "Shows how far the set-up is, the cards with their groups and virtual functions, the "
		       "driver, the types it "
		       "offers with free instances, and which groups of changes are ours.",
	.flags = CMD_STORE_READ,
	.run = status_cmd,
};

const struct cmd cmd_vgpu_doctor = {
	.name = "vgpu",
	.sub = "doctor",
	.summary = "say what keeps vGPU from working here, and the next step",
	.description = "Looks at a Proxmox VE host (or a captured one with --root) as a person would who was "
		       "asked why vGPU does "
		       "not "
		       "work: repositories, boot words, IOMMU and where to switch it on, signing key, cards "
		       "and their display "
		       "mode, "
		       "other drivers, whether branch and kernel go together and which pair would, modules "
		       "for the next kernel, "
		       "daemons, types, guests that ask for a type that is gone, and the licence server, if "
		       "there is one "
		       "of ours.\n\nExit status 10 when "
		       "a check did not "
		       "end well.",
	.flags = CMD_STORE_READ,
	.run = doctor_cmd,
};

const struct cmd cmd_vgpu_verify = {
	.name = "vgpu",
	.sub = "verify",
	.summary = "look whether what step 2 installed is still well",
	.description = "Looks at the driver, its signer, daemons, virtual functions, types and the cards' "
		       "drivers, and reads "
		       "every file that was fetched or made again, to compare it with the digest it had when "
		       "it came.\n\n"
		       "Exit status 10 when something is not as it was.",
	.flags = CMD_STORE_READ,
	.run = verify_cmd,
};
