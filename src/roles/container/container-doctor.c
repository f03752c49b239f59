/* SPDX-License-Identifier: Apache-2.0 */
#include "container-doctor-internal.h"

#include <stdlib.h>

/* From what no start survives to what only costs time. */
static const doctor_check checks[] = {
	doctor_check_environment, doctor_check_gpus,	   doctor_check_nouveau,     doctor_check_host_driver,
	doctor_check_leftovers,	  doctor_check_kernel,	   doctor_check_module_type, doctor_check_modules,
	doctor_check_compiler,	  doctor_check_signatures, doctor_check_selinux,     doctor_check_firmware,
	doctor_check_space,	  doctor_check_memory,
};

int container_doctor(struct engine *en, const struct container_doctor *q, json_t **ret_checks,
		     struct doctor_count *ret_count, struct err *e)
{
	struct doctor_own own = { .q = *q };
	int r = doctor_run(en, checks, ARRAY_LEN(checks), &own, ret_checks, ret_count, e);

	free(own.ready);
	return r;
}

int container_doctor_status(const struct doctor_count *count)
{
	return count->failures || count->warnings ? 1 : count->unknown ? 2 : 0;
}
