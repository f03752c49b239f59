/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where a module's parameters come from besides the request: modprobe.d and the kernel's command line. */

#include "host.h"
#include "strbuf.h"

/* Parameters for a module from modprobe.d text ("options NAME a=b"), appended blank-separated. Lines may be
 * continued with a backslash; dashes and underscores in names are the same. */
int modprobe_options(const char *text, size_t len, const char *module, struct strbuf *out);

/* Parameters "NAME.a=b" of the kernel's command line. */
int cmdline_options(const char *cmdline, const char *module, struct strbuf *out);

/* Of the machine: all files *.conf below {etc,run,usr/local/lib,usr/lib,lib}/modprobe.d, in the order of their names, an earlier
 * directory hiding a later one's file of the same name; then the command line. */
int modparams_collect(const struct host *h, const char *module, struct strbuf *out);
