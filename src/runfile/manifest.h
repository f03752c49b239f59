/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The package's own list of files (`.manifest`): eight header lines, then one line per file or link. Parsing and
 * writing are pure: bytes in, structs out, nothing on disk. Where an entry ends up is computed by userspace/ from
 * the facts of manifest_types[] below, which are the only copy of what is known about a file type. */

#include "err.h"
#include "parse.h"
#include "strbuf.h"

#include <stdbool.h>
#include <stdint.h>

#define MANIFEST_NAME	     ".manifest"
#define MANIFEST_MAX_BYTES   ((size_t)8 << 20)
#define MANIFEST_MAX_ENTRIES 200000u

/* What a type's lines hold and how its files are treated. */
enum manifest_flag {
	MANIFEST_ARCH = 1 << 0, /* A: NATIVE or COMPAT32 follows */
	MANIFEST_PATH = 1 << 1, /* P: a path follows */
	MANIFEST_SYMLINK = 1 << 2, /* S: the entry is a link, its text follows */
	MANIFEST_INHERIT = 1 << 3, /* H: INHERIT_PATH_DEPTH:n follows */
	MANIFEST_LIB = 1 << 4, /* L: shared library */
	MANIFEST_OPENGL = 1 << 5, /* G: dropped with the OpenGL files */
	MANIFEST_TEMPLATE = 1 << 6, /* T: a processed copy is installed */
	MANIFEST_CONFLICT = 1 << 7, /* C: counts for the conflict search */
	MANIFEST_INSTALL = 1 << 8, /* I: installed as a file */
	MANIFEST_TLS = 1 << 9, /* CLASSIC or NEW follows the arch, 331 to 410 */
	MANIFEST_GLVND = 1 << 10, /* GLVND or NON_GLVND at the end, 361 to 418 */
	MANIFEST_ABSOLUTE = 1 << 11, /* the path is an absolute directory */
};

/* Destination directory kinds. 32-bit entries of the two libdirs go to the compat32 libdir. */
enum manifest_dest {
	DEST_NONE, /* known, never installed */
	DEST_OPENGL_LIBDIR, /* <opengl prefix>/<libdir>/<path> */
	DEST_UTILITY_LIBDIR, /* <utility prefix>/<libdir> */
	DEST_GBM_LIBDIR, /* <opengl prefix>/<libdir>/gbm; links become absolute into the utility libdir */
	DEST_WINE_LIBDIR, /* /usr/<libdir>/nvidia/wine */
	DEST_INTERNAL_UTILITY, /* /usr/lib/nvidia, 32-bit /usr/lib/nvidia/32 */
	DEST_UTILITY_BIN, /* <utility prefix>/bin */
	DEST_EXPLICIT, /* <path> as given */
	DEST_MAN, /* <doc prefix>/share/man/<path> */
	DEST_DOC, /* <doc prefix>/share/doc/<path> */
	DEST_NVIDIA_SHARE, /* /usr/share/nvidia; path ignored */
	DEST_OPENCL_VENDORS, /* /etc/OpenCL/vendors */
	DEST_VULKAN, /* /etc/vulkan/<path> */
	DEST_VULKANSC, /* /etc/vulkansc/<path> */
	DEST_GLVND_EGL, /* /usr/share/glvnd/egl_vendor.d */
	DEST_EGL_EXTERNAL, /* /usr/share/egl/egl_external_platform.d */
	DEST_SANDBOX_FILES, /* /usr/share/nvidia/files.d; path ignored */
	DEST_X_MODULES, /* <X module path>/<path> */
	DEST_X_SYSCONFIG, /* /usr/share/X11/xorg.conf.d */
	DEST_XDG_APPLICATIONS, /* <xdg data dir>/applications */
	DEST_XDG_ICONS, /* <xdg data dir>/icons/hicolor/<path> */
	DEST_INCLUDE, /* <opengl prefix>/include/<path> */
	DEST_FIRMWARE, /* /lib/firmware/nvidia/<version>/<inherited> */
	DEST_SYSTEMD_UNIT, /* /usr/lib/systemd/system */
	DEST_SYSTEMD_UNIT_LINK, /* /etc/systemd/system/<path>; link text is <unit dir>/<name> */
	DEST_SYSTEMD_SLEEP, /* /usr/lib/systemd/system-sleep */
	DEST_KERNEL_SOURCE, /* /usr/src/nvidia-<version>/<inherited> */
	DEST_KERNEL_MODULE, /* below /lib/modules/<release> */
};

struct manifest_type {
	const char *name;
	unsigned flags; /* enum manifest_flag */
	enum manifest_dest dest;
	unsigned short since, until; /* driver branches that have it; 0 = open */
};

extern const struct manifest_type manifest_types[]; /* ends with name NULL */
const struct manifest_type *manifest_type_find(const char *name); /* NULL = unknown */

enum manifest_arch { MANIFEST_ARCH_NONE, MANIFEST_NATIVE, MANIFEST_COMPAT32 };
enum manifest_tls { MANIFEST_TLS_NONE, MANIFEST_TLS_CLASSIC, MANIFEST_TLS_NEW };
enum manifest_glvnd { MANIFEST_GLVND_NONE, MANIFEST_GLVND_ON, MANIFEST_GLVND_OFF };

#define MANIFEST_NO_INHERIT (-1)

struct manifest_entry {
	char *file; /* owned; payload name, clean: relative, no "./" */
	const char *name; /* into file: last component */
	char *type_name; /* owned */
	const struct manifest_type *type; /* NULL: unknown type, never installed */
	unsigned mode; /* permission bits as written, up to 07777; 0 for links */
	enum manifest_arch arch;
	enum manifest_tls tls;
	enum manifest_glvnd glvnd;
	char *path; /* owned; NULL unless the type has P. Relative kinds: clean, "" for "/".
	                                   * Absolute kinds: "/usr/bin", below /usr /etc /lib /opt */
	int inherit_depth; /* MANIFEST_NO_INHERIT unless the type has H */
	char *inherited; /* owned; directory left after dropping inherit_depth components, "" for none */
	char *target; /* owned; link text, NULL unless the type has S */
	char *module; /* owned; component name of the MODULE: word, NULL without one */
	char *words; /* owned; every word after the last known field, MODULE: included; "" = none.
	                                   * For unknown types everything after the type. */
	unsigned line; /* 1-based; 0 when made by manifest_add() */
};

#define MANIFEST_NOTES_MAX 64

struct manifest {
	char *description, *version; /* lines 1 and 2 */
	char **kernel_modules; /* line 4: load order; never empty */
	char *build_dir, *precompiled_dir; /* lines 7 and 8 as written ("./kernel/"), may be empty */
	struct manifest_entry *entries;
	size_t n_entries, n_allocated;
	char **notes; /* sentences about tolerated oddities: unknown types, empty header lines, … */
};

#define MANIFEST_STRICT 1u /* unknown types are an error */

/* Parse a whole manifest. ERR_MANIFEST (line named), ERR_MANIFEST_DUPLICATE, ERR_MANIFEST_UNKNOWN_TYPE (strict only),
 * ERR_PATH_ESCAPE. *ret: caller frees with manifest_freep(). */
int manifest_parse(struct span text, unsigned flags, struct manifest **ret, struct err *e);
int manifest_read_at(int dirfd, const char *path, unsigned flags, struct manifest **ret, struct err *e);
void manifest_freep(struct manifest **m);

/* An empty manifest with the vendor's usual lines 7 and 8. `modules` is blank-separated. */
int manifest_new(const char *description, const char *version, const char *modules, struct manifest **ret,
		 struct err *e);

/* Append an entry given as the fields of its line, checked exactly as when read; `module` may be NULL.
 * path, target: NULL unless the type has them; inherit_depth: MANIFEST_NO_INHERIT likewise. */
int manifest_add(struct manifest *m, const char *file, unsigned mode, const char *type,
		 enum manifest_arch arch, const char *path, int inherit_depth, const char *target,
		 const char *module, struct err *e);

/* The canonical text: parsing it gives the same manifest, emitting that the same text. */
int manifest_emit(const struct manifest *m, struct strbuf *out);

const struct manifest_entry *manifest_find(const struct manifest *m,
					   const char *file); /* first with that payload name */

static inline bool manifest_entry_is_link(const struct manifest_entry *en)
{
	return en->type && (en->type->flags & MANIFEST_SYMLINK);
}

/* Package kinds (one vocabulary for the product): what the manifest and the marker file tell together. */
enum package_kind { PACKAGE_PASSTHROUGH, PACKAGE_GRID, PACKAGE_VGPU_KVM, PACKAGE_MERGED };
const char *package_kind_name(enum package_kind k); /* "passthrough", "grid", "vgpu-kvm", "merged" */
#define PACKAGE_VGPU_HOST_MARKER "is_vgpu_host_package.txt"
enum package_kind manifest_package_kind(const struct manifest *m, bool has_host_marker);
