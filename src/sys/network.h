/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Does the machine's network work? Told without asking anybody outside: there is a way out (a default route over an interface that
 * is up), and the gateway of it answers for its address. */

#include "host.h"
#include "parse.h"

#include <stdbool.h>

bool network_works(const struct host *h);

/* Sends the gateway of the default route a byte it need not answer, so that the kernel learns whether it is there. For the running
 * machine; errors are nobody's business. */
void network_poke(const struct host *h);

/* Pure. The first default route of proc/net/route: its interface (at most 15 bytes) and gateway, the latter as the kernel writes it
 * ("0101A8C0"); -ENOENT. */
int network_default_route(struct span routes, char ret_interface[16], char ret_gateway[9]);
/* Pure. Has the address (in dots) an answer in proc/net/arp? */
bool network_arp_has(struct span arp, const char *address, const char *interface);
