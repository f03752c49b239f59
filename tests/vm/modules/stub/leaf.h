/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Body of the modules above the core: each needs a symbol of the one below (NEEDS) and may give one (GIVES), which
 * is all that load order, use counts and holders depend on.
 */
#include <linux/module.h>

extern int NEEDS(void);

#ifdef GIVES
extern int GIVES(void);
int GIVES(void)
{
	return NEEDS();
}
EXPORT_SYMBOL(GIVES);
#endif

static int __init leaf_init(void)
{
	pr_info(KBUILD_MODNAME ": test module loaded, answer %d\n", NEEDS());
	return 0;
}

static void __exit leaf_exit(void)
{
	pr_info(KBUILD_MODNAME ": test module removed\n");
}

module_init(leaf_init);
module_exit(leaf_exit);
MODULE_DESCRIPTION("Test stand-in for an NVIDIA module");
MODULE_LICENSE("GPL");
MODULE_VERSION(STUB_VERSION);
