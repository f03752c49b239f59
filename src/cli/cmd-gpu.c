/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"
#include "gpu.h"
#include "ui.h"

#include <string.h>

static const char *or_else(const char *s, const char *otherwise)
{
	return s && *s ? s : otherwise;
}

/* NULL becomes null. */
static json_t *text(const char *s)
{
	return s ? json_string(s) : json_null();
}

static json_t *hex_id(unsigned id)
{
	return json_sprintf("%04x", id);
}

static json_t *info_json(const struct gpu_info *i)
{
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:s, s:o}", "vendor_id", "10de", "device_id",
			 hex_id(i->device), "name", text(i->name), "chip", text(i->chip), "architecture",
			 text(i->architecture), "vgpu", or_else(i->vgpu, "Unknown"), "vgpu_branches",
			 text(or_else(i->branches, NULL)));
}

static json_t *gpu_json(const struct gpu *g)
{
	struct gpu_info info = g->info;
	json_t *j;

	info.device = g->pci.device;
	j = info_json(&info);
	if (!j || json_object_set_new(j, "address", json_string(g->pci.address)) < 0 ||
	    json_object_set_new(j, "subsystem_vendor_id", hex_id(g->pci.sub_vendor)) < 0 ||
	    json_object_set_new(j, "subsystem_device_id", hex_id(g->pci.sub_device)) < 0 ||
	    json_object_set_new(j, "driver", text(g->pci.driver)) < 0) {
		json_decref(j);
		return NULL;
	}
	return j;
}

static int print_list_json(const struct gpu_list *l, struct err *e)
{
	json_t *array = json_array();

	for (size_t i = 0; i < l->n; i++)
		if (json_array_append_new(array, gpu_json(&l->v[i])) < 0) {
			json_decref(array);
			return err_oom(e);
		}
	return out_json("gpu-list", json_pack("{s:o}", "gpus", array));
}

struct gpu_opts {
	const char *gpu_db, *database;
};

#define GPU_DB_OPTION                                                                                        \
	{                                                                                                    \
		"gpu-db", 0, "FILE", "ask this table of cards instead of ours", OPT_STRING,                  \
		    offsetof(struct gpu_opts, gpu_db), "file"                                                \
	}

static const struct opt gpu_options[] = { GPU_DB_OPTION, { 0 } };

static const struct opt export_options[] = {
	GPU_DB_OPTION,
	{ "database", 0, "FILE", "write the table as gpu_info.db, in the form other programs read",
	  OPT_STRING, offsetof(struct gpu_opts, database), "file" },
	{ 0 },
};

static int list_run(struct app *app, void *opts, int argc _unused_, char **argv _unused_, struct err *e)
{
	const struct gpu_opts *o = opts;
	_cleanup_(gpu_db_freep) struct gpu_db *db = NULL;
	_cleanup_(gpu_list_done) struct gpu_list l = { 0 };
	int r = gpu_db_open(o->gpu_db, &db, e);

	if (r == 0)
		r = gpu_list_read(app->engine->host, db, &l, e);
	if (r < 0)
		return r;
	if (app->json)
		return print_list_json(&l, e);
	if (l.n == 0)
		out_text("no NVIDIA GPU in %s\n",
			 app->engine->host->is_running ? "this machine" : app->engine->host->root);
	for (size_t i = 0; i < l.n; i++) {
		const struct gpu *g = &l.v[i];

		out_text("%-12s  10de:%04x  %-36s %-8s %-14s driver %-10s vGPU %s\n", g->pci.address,
			 g->pci.device, or_else(g->info.name, "unknown device"), or_else(g->info.chip, "?"),
			 or_else(g->info.architecture, "?"), or_else(g->pci.driver, "none"),
			 or_else(g->info.vgpu, "Unknown"));
	}
	return 0;
}

static int info_run(struct app *app, void *opts, int argc _unused_, char **argv, struct err *e)
{
	const struct gpu_opts *o = opts;
	_cleanup_(gpu_db_freep) struct gpu_db *db = NULL;
	_cleanup_(gpu_info_done) struct gpu_info i = { 0 };
	uint16_t device;
	int r;

	if (gpu_parse_device(argv[0], &device) < 0)
		return err_set(e, -ERR_USAGE, "%s is no device id such as 2684 or 10de:2684", argv[0]);
	r = gpu_db_open(o->gpu_db, &db, e);
	if (r == 0)
		r = gpu_db_find(db, device, &i, e);
	if (r == -ENOENT) {
		(void)err_set(e, -ERR_GPU_UNKNOWN, "the table has no device 10de:%04x", device);
		return err_object(e, "10de:%04x", device);
	}
	if (r < 0)
		return r;
	if (app->json)
		return out_json("gpu-info", info_json(&i));
	out_text("device        10de:%04x\nname          %s\nchip          %s\narchitecture  %s\nvGPU        "
		 "  %s\n",
		 device, or_else(i.name, "?"), or_else(i.chip, "?"), or_else(i.architecture, "?"),
		 or_else(i.vgpu, "Unknown"));
	if (i.branches && *i.branches)
		out_text("branches      %s\n", i.branches);
	return 0;
}

static int export_text(const struct gpu_info *i, void *arg _unused_, struct err *e _unused_)
{
	out_text("10de,%04x,%s,%s,%s,%s,%s\n", i->device, or_else(i->name, ""), or_else(i->chip, ""),
		 or_else(i->architecture, ""), or_else(i->vgpu, ""), or_else(i->branches, ""));
	return 0;
}

static int export_json(const struct gpu_info *i, void *arg, struct err *e)
{
	return json_array_append_new(arg, info_json(i)) < 0 ? err_oom(e) : 0;
}

static int export_run(struct app *app, void *opts, int argc _unused_, char **argv _unused_, struct err *e)
{
	const struct gpu_opts *o = opts;
	_cleanup_(gpu_db_freep) struct gpu_db *db = NULL;
	json_t *array;
	int r = gpu_db_open(o->gpu_db, &db, e);

	if (r < 0)
		return r;
	if (o->database && app->dry_run) {
		out_text("would write %s\n", o->database);
		return 0;
	}
	if (o->database)
		return gpu_db_write(db, o->database, e);
	if (!app->json) {
		out_text("vendor,device,name,chip,architecture,vgpu,vgpu_branches\n");
		return gpu_db_each(db, export_text, NULL, e);
	}
	array = json_array();
	r = gpu_db_each(db, export_json, array, e);
	if (r < 0) {
		json_decref(array);
		return r;
	}
	return out_json("gpu-export", json_pack("{s:o}", "gpus", array));
}

const struct cmd cmd_gpu_list = {
	.name = "gpu",
	.sub = "list",
	.summary = "show the NVIDIA GPUs of the machine",
	.description =
	    "Lists the VGA and 3D controllers of NVIDIA that the machine (or the --root given) has, with the "
	    "driver "
	    "bound to each and what the table of GPUs says of it. Starts no program and changes nothing.",
	.options = gpu_options,
	.opts_size = sizeof(struct gpu_opts),
	.flags = CMD_STORE_READ,
	.run = list_run,
};

const struct cmd cmd_gpu_info = {
	.name = "gpu",
	.sub = "info",
	.summary = "show what is known of one GPU",
	.args = "DEVICE",
	.min_args = 1,
	.max_args = 1,
	.description = "Looks a PCI device id (2684, 0x2684 or 10de:2684) up in the table of GPUs.",
	.options = gpu_options,
	.opts_size = sizeof(struct gpu_opts),
	.flags = CMD_NO_ENGINE,
	.run = info_run,
};

const struct cmd cmd_gpu_export = {
	.name = "gpu",
	.sub = "export",
	.summary = "print the table of GPUs",
	.description = "Prints every GPU of the table, as comma-separated lines or with --json; with "
		       "--database writes it as "
		       "the SQLite file gpu_info.db other programs read (table gpu_info: vendorid, deviceid, "
		       "description, vgpu, driver, chip).",
	.options = export_options,
	.opts_size = sizeof(struct gpu_opts),
	.flags = CMD_NO_ENGINE,
	.run = export_run,
};
