/* SPDX-License-Identifier: Apache-2.0
 *
 * One binary, several names: under a name of the table it is a drop-in for the program of that name. */
#include "cmd.h"
#include "compat.h"

#include <string.h>

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} invocation_names[] = {
	{ "nvdriver", app_main },
	{ "mkprecompiled", compat_mkprecompiled },
};

int main(int argc, char **argv)
{
	const char *slash = argc > 0 && argv[0] ? strrchr(argv[0], '/') : NULL;
	const char *name = slash ? slash + 1 : argc > 0 && argv[0] ? argv[0] : "nvdriver";

	for (size_t i = 0; i < ARRAY_LEN(invocation_names); i++)
		if (strcmp(name, invocation_names[i].name) == 0)
			return invocation_names[i].run(argc, argv);
	return app_main(argc, argv);
}
