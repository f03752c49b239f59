/* SPDX-License-Identifier: Apache-2.0
 *
 * What we read back after a crash: a journal's log, its plan, a reference. */
#include "plan.h"
#include "store.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	_cleanup_free_ char *id = NULL;
	struct journal_log log;
	enum store_kind kind;

	if (journal_log_parse((const char *)data, size, &log) == 0 && log.done > log.begun)
		abort();
	(void)store_ref_parse((const char *)data, size, &kind, &id);
	if (plan_parse((const char *)data, size, &p, NULL) == 0) {
		json_auto_t *again = NULL;

		if (plan_to_json(p, &again) < 0)
			abort();
	}
	return 0;
}
