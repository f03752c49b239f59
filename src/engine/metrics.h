/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The text format Prometheus reads. Appends to a buffer whose error sticks. */

#include "strbuf.h"

#include <jansson.h>

/* "# HELP" and "# TYPE" of a gauge; every sample of it follows before the next family. Names lack "nvdriver_". */
void metrics_family(struct strbuf *out, const char *name, const char *help);
/* One line; label values may hold any bytes. n 0 = no labels. */
void metrics_sample(struct strbuf *out, const char *name, const char *const (*labels)[2], size_t n,
		    json_int_t value);
