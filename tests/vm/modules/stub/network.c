// SPDX-License-Identifier: GPL-2.0-only
/* Test aid: "mlx5_core", the network driver whose presence decides whether peer memory is wanted. */
#include <linux/module.h>

static int __init network_init(void)
{
	return 0;
}

static void __exit network_exit(void)
{
}

module_init(network_init);
module_exit(network_exit);
MODULE_DESCRIPTION("Test stand-in for a network driver");
MODULE_LICENSE("GPL");
