/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Just enough XML to read indexes made by programs: tags with their attributes and the text behind them, in order. No
 * entities, no CDATA, no document types: where one stands, nothing is told. */

#include "parse.h"

struct xml_tag {
	struct span name; /* with its prefix: "rpm:vendor" */
	struct span attributes; /* raw; ask xml_attribute() */
	struct span text; /* up to the next tag, trimmed */
	bool closes; /* </name> */
	bool is_empty; /* <name/> */
};

/* The next tag of *rest, comments and processing instructions passed over. 1, 0 at the end, -EBADMSG for what is not
 * understood. Spans point into the input. */
int xml_next(struct span *rest, struct xml_tag *ret);

/* The value of an attribute: -ENOENT without it, -EBADMSG when it is malformed or holds an entity. */
int xml_attribute(const struct xml_tag *t, const char *name, struct span *ret);
