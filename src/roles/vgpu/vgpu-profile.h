/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The unlock library's two files as the library reads them. A malformed one keeps both of the driver's daemons from
 * starting, so they are looked at before that happens. Pure. */

#include "err.h"
#include "parse.h"

#include <stdbool.h>
#include <stdint.h>

/* What is wrong with a file, in sentences. */
struct unlock_problems {
	char **list; /* owned strv; NULL = nothing */
	bool fatal; /* the library cannot read it; else it only does less than the person thinks */
};
void unlock_problems_done(struct unlock_problems *p);

/* Of config.toml, and of profile_override.toml. A text that is no TOML is one sentence that names the line. 0 or -ENOMEM. */
int unlock_config_check(struct span text, struct unlock_problems *ret);
int unlock_profile_check(struct span text, struct unlock_problems *ret);

/* Overrides that a card of so much memory cannot hold: a profile larger than the card, more instances of it than fit, machines
 * that do not fit at once; and a max_pixels that is not width times height. Never fatal. A file that is no TOML has none. */
int unlock_profile_fits(struct span text, uint64_t memory_bytes, struct unlock_problems *ret);

/* A size as profiles have it: a number, or text such as "2GiB" or "512 MB". -EINVAL. */
int unlock_size_parse(struct span text, uint64_t *ret);

/* Framebuffer and reservation of a profile of so many bytes, half a GiB to 32 GiB. -ERANGE. */
int unlock_framebuffer(uint64_t size, uint64_t *ret_framebuffer, uint64_t *ret_reservation);
