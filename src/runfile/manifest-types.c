/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything known about the file types of a manifest, one row each. The letters are those the vendor's installer
 * gives a type; the branches are the first and last that were seen to use it. */
#include "manifest.h"

#include <string.h>

enum {
	A = MANIFEST_ARCH,
	P = MANIFEST_PATH,
	S = MANIFEST_SYMLINK,
	H = MANIFEST_INHERIT,
	L = MANIFEST_LIB,
	G = MANIFEST_OPENGL,
	T = MANIFEST_TEMPLATE,
	C = MANIFEST_CONFLICT,
	I = MANIFEST_INSTALL,
	TLS = MANIFEST_TLS,
	GLVND = MANIFEST_GLVND,
	ABS = MANIFEST_ABSOLUTE,
};

/* clang-format off */
const struct manifest_type manifest_types[] = {
	{ "OPENGL_LIB",                 A | I | L | G | C,         DEST_OPENGL_LIBDIR,     0, 0 },
	{ "OPENGL_SYMLINK",             A | S | G | C,             DEST_OPENGL_LIBDIR,     0, 0 },
	{ "GLVND_LIB",                  A | I | L | G | C,         DEST_OPENGL_LIBDIR,     361, 0 },
	{ "GLVND_SYMLINK",              A | S | G | C,             DEST_OPENGL_LIBDIR,     361, 0 },
	{ "GLX_CLIENT_LIB",             A | I | L | G | C | GLVND, DEST_OPENGL_LIBDIR,     361, 0 },
	{ "GLX_CLIENT_SYMLINK",         A | S | G | C | GLVND,     DEST_OPENGL_LIBDIR,     361, 0 },
	{ "EGL_CLIENT_LIB",             A | I | L | G | C | GLVND, DEST_OPENGL_LIBDIR,     361, 0 },
	{ "EGL_CLIENT_SYMLINK",         A | S | G | C | GLVND,     DEST_OPENGL_LIBDIR,     361, 0 },
	{ "LIBGL_LA",                   A | I | G | T | C,         DEST_OPENGL_LIBDIR,     0, 440 },
	{ "OPENGL_HEADER",              P | I | G | C,             DEST_INCLUDE,           0, 396 },
	{ "TLS_LIB",                    A | P | I | L | G | C | TLS, DEST_OPENGL_LIBDIR,   0, 0 },
	{ "TLS_SYMLINK",                A | P | S | G | C,         DEST_OPENGL_LIBDIR,     0, 396 },
	{ "VDPAU_LIB",                  A | P | I | L | C,         DEST_OPENGL_LIBDIR,     0, 0 },
	{ "VDPAU_SYMLINK",              A | P | S | C,             DEST_OPENGL_LIBDIR,     0, 0 },
	{ "CUDA_LIB",                   A | P | I | L | C,         DEST_OPENGL_LIBDIR,     0, 0 },
	{ "CUDA_SYMLINK",               A | P | S | C,             DEST_OPENGL_LIBDIR,     0, 0 },
	{ "OPENCL_LIB",                 A | P | I | L | C,         DEST_OPENGL_LIBDIR,     0, 0 },
	{ "OPENCL_LIB_SYMLINK",         A | P | S | C,             DEST_OPENGL_LIBDIR,     0, 0 },
	{ "OPENCL_WRAPPER_LIB",         A | P | I | L,             DEST_OPENGL_LIBDIR,     0, 0 },
	{ "OPENCL_WRAPPER_SYMLINK",     A | P | S,                 DEST_OPENGL_LIBDIR,     0, 0 },
	{ "OPENCL_WRAPPER_LIB_SYMLINK", A | P | S,                 DEST_OPENGL_LIBDIR,     0, 0 },
	{ "UTILITY_LIB",                A | I | L | C,             DEST_UTILITY_LIBDIR,    0, 0 },
	{ "UTILITY_LIB_SYMLINK",        A | S | C,                 DEST_UTILITY_LIBDIR,    0, 0 },
	{ "NVCUVID_LIB",                A | I | L | C,             DEST_OPENGL_LIBDIR,     0, 0 },
	{ "NVCUVID_LIB_SYMLINK",        A | S | C,                 DEST_OPENGL_LIBDIR,     0, 0 },
	{ "ENCODEAPI_LIB",              A | I | L | C,             DEST_OPENGL_LIBDIR,     0, 0 },
	{ "ENCODEAPI_LIB_SYMLINK",      A | S | C,                 DEST_OPENGL_LIBDIR,     0, 0 },
	{ "NVIFR_LIB",                  A | I | L | C,             DEST_OPENGL_LIBDIR,     0, 470 },
	{ "NVIFR_LIB_SYMLINK",          A | S | C,                 DEST_OPENGL_LIBDIR,     0, 470 },
	{ "ALLOCATOR_JSON",             I | C,                     DEST_NONE,              0, 470 },
	{ "VGX_LIB",                    I | L | C,                 DEST_OPENGL_LIBDIR,     0, 0 },
	{ "VGX_LIB_SYMLINK",            S | C,                     DEST_OPENGL_LIBDIR,     0, 0 },
	{ "GRID_LIB",                   P | I | L | C,             DEST_OPENGL_LIBDIR,     0, 0 },
	{ "GRID_LIB_SYMLINK",           P | S | C,                 DEST_OPENGL_LIBDIR,     0, 0 },
	{ "FLEXERA_LIB",                P | I | L,                 DEST_OPENGL_LIBDIR,     0, 0 },
	{ "FLEXERA_LIB_SYMLINK",        P | S,                     DEST_OPENGL_LIBDIR,     0, 0 },
	{ "GBM_BACKEND_LIB",            A | I | L | C,             DEST_GBM_LIBDIR,        510, 0 },
	{ "GBM_BACKEND_LIB_SYMLINK",    A | S | C,                 DEST_GBM_LIBDIR,        510, 0 },
	{ "WINE_LIB",                   A | I,                     DEST_WINE_LIBDIR,       470, 0 },
	{ "INTERNAL_UTILITY_BINARY",    A | I | C,                 DEST_INTERNAL_UTILITY,  450, 0 },
	{ "INTERNAL_UTILITY_LIB",       A | I | L | C,             DEST_INTERNAL_UTILITY,  450, 0 },
	{ "INTERNAL_UTILITY_DATA",      I | C,                     DEST_INTERNAL_UTILITY,  450, 0 },
	{ "UTILITY_BINARY",             I | C,                     DEST_UTILITY_BIN,       0, 0 },
	{ "INSTALLER_BINARY",           I | C,                     DEST_UTILITY_BIN,       0, 0 },
	{ "UTILITY_BIN_SYMLINK",        S | C,                     DEST_UTILITY_BIN,       0, 0 },
	{ "NVIDIA_MODPROBE",            P | I | C | ABS,           DEST_EXPLICIT,          0, 0 },
	{ "NVIDIA_MODPROBE_MANPAGE",    P | I | C,                 DEST_MAN,               0, 0 },
	{ "MANPAGE",                    P | I | C,                 DEST_MAN,               0, 0 },
	{ "DOCUMENTATION",              P | I | C,                 DEST_DOC,               0, 0 },
	{ "APPLICATION_PROFILE",        P | I | C,                 DEST_NVIDIA_SHARE,      0, 0 },
	{ "OPENGL_DATA",                P | I | G | C | ABS,       DEST_EXPLICIT,          535, 0 },
	{ "EXPLICIT_PATH",              P | I | C | ABS,           DEST_EXPLICIT,          0, 0 },
	{ "CUDA_ICD",                   I | C,                     DEST_OPENCL_VENDORS,    0, 0 },
	{ "VULKAN_ICD_JSON",            P | I | C,                 DEST_VULKAN,            0, 0 },
	{ "VULKANSC_ICD_JSON",          P | I | C,                 DEST_VULKANSC,          560, 0 },
	{ "GLVND_EGL_ICD_JSON",         I | G | C,                 DEST_GLVND_EGL,         361, 0 },
	{ "EGL_EXTERNAL_PLATFORM_JSON", I | G | C,                 DEST_EGL_EXTERNAL,      0, 0 },
	{ "SANDBOXUTILS_FILELIST_JSON", P | I,                     DEST_SANDBOX_FILES,     570, 0 },
	{ "XMODULE_SHARED_LIB",         P | I | L | C,             DEST_X_MODULES,         0, 0 },
	{ "XMODULE_SYMLINK",            P | S | C,                 DEST_X_MODULES,         0, 396 },
	{ "XMODULE_NEWSYM",             P | S | C,                 DEST_X_MODULES,         0, 396 },
	{ "GLX_MODULE_SHARED_LIB",      P | I | L | G | C,         DEST_X_MODULES,         0, 0 },
	{ "GLX_MODULE_SYMLINK",         P | S | G | C,             DEST_X_MODULES,         0, 0 },
	{ "XORG_OUTPUTCLASS_CONFIG",    I | C,                     DEST_X_SYSCONFIG,       0, 0 },
	{ "DOT_DESKTOP",                P | I | T | C,             DEST_XDG_APPLICATIONS,  0, 0 },
	{ "ICON",                       P | I | C,                 DEST_XDG_ICONS,         530, 0 },
	{ "FIRMWARE",                   H | I,                     DEST_FIRMWARE,          465, 0 },
	{ "SYSTEMD_UNIT",               I,                         DEST_SYSTEMD_UNIT,      465, 0 },
	{ "SYSTEMD_UNIT_SYMLINK",       P | S,                     DEST_SYSTEMD_UNIT_LINK, 465, 0 },
	{ "SYSTEMD_SLEEP_SCRIPT",       I,                         DEST_SYSTEMD_SLEEP,     465, 0 },
	{ "KERNEL_MODULE_SRC",          H | I | C,                 DEST_KERNEL_SOURCE,     0, 0 },
	{ "DKMS_CONF",                  H | I | T | C,             DEST_KERNEL_SOURCE,     0, 0 },
	{ "KERNEL_MODULE",              I | C,                     DEST_KERNEL_MODULE,     0, 0 },
	{ "MODULE_SIGNING_KEY",         I | T | C,                 DEST_NVIDIA_SHARE,      0, 0 },
	{ NULL,                         0,                         DEST_NONE,              0, 0 },
};
/* clang-format on */

const struct manifest_type *manifest_type_find(const char *name)
{
	for (const struct manifest_type *t = manifest_types; t->name; t++)
		if (strcmp(t->name, name) == 0)
			return t;
	return NULL;
}
