/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The fast path: the loaded modules are already those that are wanted, so they are kept. */

#include "container.h"

/* nvidia is loaded, of the wanted version, and the stored digest of the configuration equals the wanted one. */
bool container_fast_applies(const struct container *c);

/* Keeps the digest for the next start; without one in the environment an old one is removed. */
int container_fast_store(struct container *c, struct err *e);
