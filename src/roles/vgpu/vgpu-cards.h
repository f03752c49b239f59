/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The host's NVIDIA cards: what each can do, which one is for vGPU, and rules that give the others to passthrough. */

#include "gpu.h"
#include "host.h"
#include "vgpu-text.h"

#define CARDS_RULES "etc/udev/rules.d/90-vfio-pci.rules"

enum card_support { CARD_NATIVE, CARD_UNLOCK, CARD_NONE, CARD_UNKNOWN };

struct card {
	struct pci_device pci;
	struct gpu_info info; /* name NULL: in no table */
	enum card_support support;
	int group; /* IOMMU group, -1 = not known */
	unsigned total_vfs; /* sriov_totalvfs; 0 = none */
};

/* One function of the PCI bus, for groups. */
struct card_function {
	char address[20];
	uint16_t class_code;
	int group;
};

struct cards {
	struct card *v; /* owned; in order of address; virtual functions left out */
	size_t n;
	struct card_function *functions; /* owned; everything on the bus */
	size_t n_functions;
	bool groups_known; /* the IOMMU is on */
	char **notes; /* owned strv: where a person's table differs from ours */
};
void cards_done(struct cards *c);

/* Support of a table's word: "Native", "Yes", "No". */
enum card_support card_support_parse(const char *vgpu);
const char *card_support_word(enum card_support s); /* the state value: "Native", "Yes", "No", "Unknown" */
const char *card_verdict(enum card_support s); /* a sentence for people */

/* `own` is our table; `user` (may be NULL) a person's: with user_wins its rows replace ours and each difference is a
 * note, without only devices ours lacks are looked up there. */
int cards_read(const struct host *h, struct gpu_db *own, struct gpu_db *user, bool user_wins,
	       struct cards *ret, struct err *e);

/* The card for vGPU: an address, a number counted from 1, or (NULL or "") the only card, else the only one that can.
 * -ERR_VGPU_CARD_CHOICE. *ret_index into cards. */
int cards_choose(const struct cards *c, const char *wanted, size_t *ret_index, struct err *e);

/* Rules for every function in the groups of the cards that were not chosen. -ERR_VGPU_GROUP_SHARED when a group holds the
 * chosen card too. While the IOMMU is off groups are unknown: a note then, and no rules. `old`: CARDS_RULES as it is. */
int cards_passthrough(const struct cards *c, size_t chosen, const struct text_file *old,
		      struct text_edits *ret, struct err *e);
/* No passthrough: rules that name a function of the chosen card go, and a note says what passthrough would take. */
int cards_keep(const struct cards *c, size_t chosen, const struct text_file *old, struct text_edits *ret);
