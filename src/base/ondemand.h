/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A shared library loaded when something needs it, not when the program starts: most runs download nothing and open no
 * package, and a machine without the library can do everything else.
 *
 * A library has one home here, mostly a file of forwarders that define the library's own names, so that its users include
 * its header and call it as ever. Whoever begins asks ondemand_require() for the error; without the library every
 * forwarder answers what the library itself answers to failure. */

#include "err.h"

struct ondemand {
	const char *soname; /* "libcurl.so.4" */
	const char *purpose; /* what cannot be done without: "downloading" */
	const char *packages; /* what to install where */
};

/* 0, or ERR_LIBRARY_MISSING with the loader's reason and the packages to install. A loaded library stays. */
int ondemand_require(const struct ondemand *lib, struct err *e);

/* The library's function of that name; NULL where the library or the function is missing. */
void *ondemand_symbol(const struct ondemand *lib, const char *name);

/* The same stored at `place`, the address of a function pointer. 0 or ERR_LIBRARY_MISSING. */
int ondemand_function(const struct ondemand *lib, const char *name, void *place, struct err *e);

/* Define the library's function `name`; without it every call gives `missing`. */
#define ONDEMAND_FORWARD(lib, type, name, params, args, missing)                                             \
	type name params                                                                                     \
	{                                                                                                    \
		static __typeof__(&name) real; /* every thread would store the same */                       \
		__typeof__(&name) call = __atomic_load_n(&real, __ATOMIC_ACQUIRE);                           \
                                                                                                             \
		if (!call) {                                                                                 \
			call = (__typeof__(&name))ondemand_symbol(&(lib), #name);                            \
			if (!call)                                                                           \
				return missing;                                                              \
			__atomic_store_n(&real, call, __ATOMIC_RELEASE);                                     \
		}                                                                                            \
		return call args;                                                                            \
	}
