/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Text that several verbs print in the same way. */

#include <jansson.h>

/* String member, or the default when absent or no string. Borrowed. */
const char *ui_str(const json_t *object, const char *key, const char *otherwise);
/* report_list()'s answer as aligned lines. */
void ui_store(const json_t *list);
/* Rows of report_doctor(): result, check and text aligned, the next step below. */
void ui_checks(const json_t *checks);
/* "1.2 GB" in one of a few static buffers. */
const char *ui_size(unsigned long long bytes);
