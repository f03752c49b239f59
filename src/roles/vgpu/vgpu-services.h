/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The driver's daemons and the unit that switches virtual functions on at every boot. */

#include "vgpu-cards.h"
#include "vgpu-plan.h"

#define SERVICES_OWN_UNIT "nvdriver-sriov.service"

/* Is there such a unit file? A template answers for its instances. */
bool unit_is_there(const struct host *h, const char *unit);
/* Is it started at boot? */
bool unit_is_enabled(const struct host *h, const char *unit);

/* Enables both daemons, those that are not yet; a missing one is a note, unless the driver is still to bring them. 0 or
 * -ENOMEM. */
int services_add_daemons(const struct host *h, bool to_come, struct plan *p, char ***notes);

/* Switches on the chosen card's virtual functions, or those of all cards when none is given away to passthrough. Adds
 * nothing for a card that has none, or when they are on at every boot already. */
int services_add_functions(const struct host *h, const struct cards *cards, size_t chosen, struct plan *p,
			   struct err *e);

/* Text of our own unit for hosts without the vendor's; address "ALL" or one card's. Pure; caller frees. */
char *services_unit_text(const char *address);
