/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A kernel was installed on a host with a vGPU driver: does that go with it? Asked by a hook after the modules were built. */

#include "vgpu-plan.h"

#define NEWKERNEL_HOOK "etc/kernel/postinst.d/zz-nvdriver-vgpu" /* after DKMS's own */

enum newkernel_verdict {
	NEWKERNEL_NONE, /* no driver of ours is installed */
	NEWKERNEL_FITS,
	NEWKERNEL_TOO_NEW, /* beyond what the branch is known to build for */
	NEWKERNEL_NOT_BUILT, /* within it, and no module was built */
};
const char *
newkernel_verdict_word(enum newkernel_verdict v); /* stable: "none", "fits", "too-new", "not-built" */

struct newkernel {
	enum newkernel_verdict verdict;
	char *text; /* owned; a sentence for the person */
	char *
	    hold; /* owned; the kernel to keep booting; NULL when one is pinned already or nothing is wrong */
};
void newkernel_done(struct newkernel *k);

/* Errors of reading the machine and the tables. */
int newkernel_look(struct engine *en, const char *release, struct newkernel *ret, struct err *e);

/* Pins the kernel that runs; taken back by releasing it. 0 or -ENOMEM. */
int newkernel_add_hold(const struct newkernel *k, struct plan *p);

/* The hook itself, where it is not there yet; `hold`: it also holds the kernel. 0 or -ENOMEM. */
int newkernel_add_hook(const struct host *h, bool hold, struct plan *p);
