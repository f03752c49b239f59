/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* vGPU guests: what the host tells through a vendor-specific capability in the configuration space of each virtual GPU. */

#include "host.h"

#define PCICAP_TEXT_MAX 10

struct pcicap_host {
	char
	    version[PCICAP_TEXT_MAX + 1]; /* host driver, "535.129.03"; "" when the capability does not say */
	char branch[PCICAP_TEXT_MAX + 1]; /* "R535"; upper case */
};

/* Pure: one configuration space as sysfs gives it. 1 = a virtual GPU, and what its host says; 0 = not one; -EINVAL below 256
 * bytes. A chain or record that leads nowhere (circles, outside, too short) ends there. */
int pcicap_vgpu(const uint8_t *config, size_t len, struct pcicap_host *ret);

struct pcicap_device {
	char address[20];
	uint16_t device, sub_device;
	struct pcicap_host host;
};
struct pcicap_list {
	struct pcicap_device *v; /* owned, in order of address */
	size_t n;
};

/* The virtual GPUs of a machine. -ERR_VGPU_CONFIG_SPACE when a function of NVIDIA's shows less than 256 bytes, as it does
 * without privilege. */
int pcicap_list_read(const struct host *h, struct pcicap_list *ret, struct err *e);
void pcicap_list_done(struct pcicap_list *l);
