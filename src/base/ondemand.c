/* SPDX-License-Identifier: Apache-2.0 */
#include "ondemand.h"

#include <dlfcn.h>
#include <string.h>

/* The loader counts the uses and answers a repeated call from memory; nothing is ever closed, as libraries leave
 * handlers and thread data behind. RTLD_LOCAL keeps the library's own libraries from answering for other names. */
static void *load(const struct ondemand *lib)
{
	return dlopen(lib->soname, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

static int missing(const struct ondemand *lib, struct err *e)
{
	(void)err_set(e, -ERR_LIBRARY_MISSING, "%s needs %s: %s", lib->purpose, lib->soname, dlerror());
	(void)err_next(e, "install %s", lib->packages);
	return err_object(e, "%s", lib->soname);
}

int ondemand_require(const struct ondemand *lib, struct err *e)
{
	return load(lib) ? 0 : missing(lib, e);
}

void *ondemand_symbol(const struct ondemand *lib, const char *name)
{
	void *handle = load(lib);

	return handle ? dlsym(handle, name) : NULL;
}

int ondemand_function(const struct ondemand *lib, const char *name, void *place, struct err *e)
{
	void *function = ondemand_symbol(lib, name);

	if (!function)
		return missing(lib, e);
	memcpy(place, &function, sizeof(function));
	return 0;
}
