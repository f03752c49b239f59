/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of libkmod this program uses, loaded on demand: only loading and unloading modules of the running kernel
 * needs it. Without it kmod_new() fails, and nothing else is called. */
#include "kmods.h"
#include "ondemand.h"

#include <errno.h>
#include <libkmod.h>

static const struct ondemand library = {
	.soname = "libkmod.so.2",
	.purpose = "loading kernel modules",
	.packages = "libkmod2 (Debian, Ubuntu) or kmod-libs (RHEL, Fedora)",
};

int libkmod_require(struct err *e)
{
	return ondemand_require(&library, e);
}

#define FORWARD(type, name, params, args, missing)                                                           \
	ONDEMAND_FORWARD(library, type, name, params, args, missing)

FORWARD(struct kmod_ctx *, kmod_new, (const char *dir, const char *const *config), (dir, config), NULL)
FORWARD(struct kmod_ctx *, kmod_unref, (struct kmod_ctx * k), (k), NULL)
FORWARD(int, kmod_module_new_from_name, (struct kmod_ctx * k, const char *name, struct kmod_module **ret),
	(k, name, ret), -ENOSYS)
FORWARD(int, kmod_module_new_from_lookup, (struct kmod_ctx * k, const char *alias, struct kmod_list **ret),
	(k, alias, ret), -ENOSYS)
FORWARD(struct kmod_module *, kmod_module_get_module, (const struct kmod_list *l), (l), NULL)
FORWARD(struct kmod_list *, kmod_list_next, (const struct kmod_list *l, const struct kmod_list *at), (l, at),
	NULL)
FORWARD(int, kmod_module_probe_insert_module,
	(struct kmod_module * m, unsigned flags, const char *options,
	 int (*run)(struct kmod_module *, const char *, void *), const void *data,
	 void (*print)(struct kmod_module *, bool, const char *)),
	(m, flags, options, run, data, print), -ENOSYS)
FORWARD(int, kmod_module_remove_module, (struct kmod_module * m, unsigned flags), (m, flags), -ENOSYS)
FORWARD(struct kmod_module *, kmod_module_unref, (struct kmod_module * m), (m), NULL)
FORWARD(int, kmod_module_unref_list, (struct kmod_list * l), (l), -ENOSYS)
