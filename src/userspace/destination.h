/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Manifest and options in, the exact list of files and links out. Pure but for the two steps that say so: nothing
 * of the target root is looked at here, its facts come in with the options. */

#include "err.h"
#include "libdir.h"
#include "manifest.h"

#include <jansson.h>
#include <sys/types.h>

enum dest_profile { DEST_PROFILE_COMPUTE, DEST_PROFILE_FULL, DEST_PROFILE_HOST_VGPU, DEST_PROFILE_CUSTOM };
int dest_profile_parse(const char *name,
		       enum dest_profile *ret); /* "compute", "full", "host-vgpu", "custom" */
const char *dest_profile_name(enum dest_profile p);

/* Prefixes and directories are relative to the root ("usr"); NULL takes the default. All borrowed. */
struct dest_options {
	enum dest_profile profile;
	const struct libdirs *dirs;
	bool systemd; /* the root has systemd: take units */
	bool glvnd_present; /* the root has its own libglvnd: leave the vendor's out */
	bool x_server; /* an X server with OutputClass support was seen */
	bool no_modprobe, with_modprobe; /* leave out / take even with the compute profile */
	bool no_opengl, no_wine, no_glx_indirect, no_firmware;
	char *const *include,
	    *const *exclude; /* "type:GLOB", "module:GLOB", "file:GLOB" or a bare GLOB of payload names */
	char *const *overrides; /* "TYPE:DIR" */
	const char *opengl_prefix, *utility_prefix, *compat32_prefix, *documentation_prefix; /* "usr" */
	const char *gbm_dir, *gbm_dir32, *wine_dir; /* below usr/<libdir>: gbm, gbm, nvidia/wine */
	const char *x_module_path, *x_sysconfig_path, *xdg_data_dir, *glvnd_egl_config_path;
};

enum dest_kind { DEST_FILE, DEST_LINK };

struct dest_op {
	enum dest_kind kind;
	char *path; /* owned; relative to the root */
	char *from; /* owned; payload name, NULL for links */
	char *link; /* owned; link text, NULL for files */
	char *bytes; /* owned; processed template, NULL = the payload's bytes as they are */
	size_t bytes_len;
	char *soname; /* owned; DT_SONAME of a library once dest_add_sonames() ran, else NULL */
	mode_t mode;
	unsigned class_bits; /* 32 or 64 for libraries, else 0 */
	unsigned
	    phase; /* order of publication: libraries, other files, links, the two links programs start from */
	const struct manifest_type *type; /* NULL for links no manifest line asked for */
};

struct dest_list {
	struct dest_op *ops;
	size_t n, cap;
	char **notes; /* owned; sentences about what was left out and why */
};
void dest_list_done(struct dest_list *l);
void dest_op_done(struct dest_op *op); /* one taken out of a list */

/* Operations sorted by phase, then path. ERR_DEST_DUPLICATE when two entries want the same name differently,
 * ERR_USAGE for an unusable include, exclude or override. The manifest must outlive the list. */
int dest_list_make(const struct manifest *m, const struct dest_options *o, struct dest_list *ret,
		   struct err *e);

/* Reads DT_SONAME of every library from the payload and adds the links nobody listed: the vendor leaves those to
 * ldconfig. Also fills in class_bits. */
int dest_add_sonames(struct dest_list *l, int payload_fd, struct err *e);

/* Fills in `bytes` of the entries that are templates; the payload itself is never written. */
int dest_fill_templates(struct dest_list *l, int payload_fd, const struct dest_options *o, struct err *e);

const struct dest_op *dest_list_find(const struct dest_list *l, const char *path);
