/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which vGPU branch fits a card, a Proxmox release and a kernel, and when none does, which kernel would. Pure. */

#include "catalog.h"
#include "vgpu-cards.h"

struct choice_request {
	const struct gpu_info *info; /* NULL = any card: bounds of PVE and kernel alone */
	enum card_support support; /* of the card: unknown counts as native */
	unsigned pve_major; /* 0 = any */
	const char *kernel; /* NULL = any */
	bool unsupported; /* older cards on branch 17, which NVIDIA has them no more in */
	const char *guest; /* branch or driver version of guests it has to serve; NULL = any */
};

/* Is it one of the cards branch 17 dropped and the community's patch brings back (Maxwell, Pascal)? Native ones need the
 * patch there as well. */
bool choice_is_revived(const struct gpu_info *info, const char *branch);

enum choice_verdict {
	CHOICE_FITS,
	CHOICE_KERNEL, /* fits but for the kernel */
	CHOICE_NO,
};

struct choice {
	const struct catalog_driver *driver;
	enum choice_verdict verdict;
	char *reason; /* owned; what keeps it from fitting, or why it fits */
	const char *kernel_max; /* with the unlock patch where one is needed */
};
struct choices {
	struct choice *v; /* owned; in the register's order */
	size_t n;
};
void choices_done(struct choices *l);

int choices_make(const struct catalog *c, const struct choice_request *q, struct choices *ret);

/* The branch to propose: the first that fits and whose file can be had without the portal, else the first that fits, else
 * (the kernel has to change) the same among those. NULL when none. */
const struct choice *choices_best(const struct choices *l);
const struct choice *choices_find(const struct choices *l, const char *branch);

/* "19, 18, 17": majors with a branch that fits, in the register's order; "" when none does. Caller frees. 0 or -ENOMEM. */
int choices_majors(const struct choices *l, char **ret);
/* A line for each branch of the register: version, note and why it does not fit. Appended. */
int choices_menu(const struct choices *l, struct strbuf *out);

/* -- the kernel that goes with it -- */

enum kernel_verdict {
	KERNEL_KEEP, /* what boots next fits */
	KERNEL_PIN, /* another one has to be pinned */
	KERNEL_NONE, /* none within the bounds is to be had */
};
struct kernel_choice {
	enum kernel_verdict verdict;
	char *release; /* owned; to pin */
	bool install; /* it is not installed yet */
};
void kernel_choice_done(struct kernel_choice *k);

/* `next`: what the next boot enters. The newest of the installed and, failing that, of the archive's releases within the
 * bounds ("6.8" covers 6.8.12-4-pve) is taken. */
int kernel_choose(const char *next, char *const *installed, char *const *archive, const char *min,
		  const char *max, struct kernel_choice *ret);
