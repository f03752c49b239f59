/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-ops.h"

#include "vgpu-license-keys.h"

int vgpu_register_ops(void)
{
	static const struct op_type *const all[] = {
		&license_op_apt_key, &license_op_keys, &op_vgpu_file, &op_vgpu_functions, &op_vgpu_installer,
	};

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (op_type_register(all[i]) < 0)
			return -ENOMEM;
	return 0;
}
