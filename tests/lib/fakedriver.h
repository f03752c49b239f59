/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A stand-in for the vendor's module sources and for a kernel build tree, small enough to build in a second with
 * gcc alone. It has the shape the engine relies on: targets, variables, conftest.sh and the files below conftest/ with
 * the vendor's dependences between them. */

#include "testlib.h"

#define FAKE_RELEASE "6.1.0-77-amd64"
#define FAKE_PROBES  6 /* two headers, four tests */

static const char fake_makefile[] =
    "MODULES := $(filter-out $(NV_EXCLUDE_KERNEL_MODULES),nvidia nvidia-uvm)\n"
    "PARTS := conftest/header_presence/linux/a.h.part conftest/header_presence/asm/b.h.part\n"
    "TESTS := $(addsuffix .h,$(addprefix conftest/compile-tests/,one two three four))\n"
    "modules: $(addsuffix .ko,$(MODULES)) Module.symvers\n"
    "conftest/uts_release: FORCE\n"
    "\t@mkdir -p conftest; t='// $(KERNEL_UNAME)'; [ \"`cat $@ 2>/dev/null`\" = \"$$t\" ] || echo \"$$t\" > "
    "$@\n"
    "conftest/header_presence/%.part: conftest.sh conftest/uts_release\n"
    "\t@mkdir -p $(dir $@); echo ' CONFTEST: $*'; sh conftest.sh header $* > $@\n"
    "conftest/headers.h: $(PARTS)\n"
    "\t@cat $^ > $@\n"
    "conftest/compile-tests/%.h: conftest.sh conftest/headers.h\n"
    "\t@mkdir -p $(dir $@); echo ' CONFTEST: $*'; sh conftest.sh test $* > $@\n"
    "conftest/functions.h: $(TESTS)\n"
    "\t@cat $^ > $@\n"
    "%.ko: conftest/functions.h conftest/headers.h\n"
    "\t$(CC) $(KCFLAGS) -I. -c -o $*/$*.o $(CURDIR)/$*/$*.c\n"
    "\t$(LD) -r -o $@ $*/$*.o $(wildcard $*/*.o_binary)\n"
    "Module.symvers:\n"
    "\t@echo '0x1 a b EXPORT_SYMBOL' > $@\n"
    "nv-linux.o: modules\n"
    "\t@cp nvidia/nvidia.o $@\n"
    "FORCE:\n"
    ".PHONY: FORCE modules\n";

static const char fake_conftest[] = "#!/bin/sh\necho \"#define NV_`echo $2_$1 | tr a-z/. A-Z__`\"\n";

static inline void fake_module(struct testdir *t, const char *dir, const char *name, const char *more)
{
	char path[256], text[2048];

	snprintf(path, sizeof(path), "%s/%s/%s.c", dir, name, name);
	snprintf(text, sizeof(text),
		 "#include \"conftest/functions.h\"\n"
		 "#define INFO(n, s) static const char n[] __attribute__((used, section(\".modinfo\"), "
		 "aligned(1))) = s\n"
		 "INFO(i1, \"vermagic=" FAKE_RELEASE " SMP mod_unload modversions \");\n"
		 "INFO(i2, \"depends=%s\");\n"
		 "INFO(i3, \"name=%s\");\n"
		 "INFO(i4, \"version=535.1.2\");\n"
		 "int this_module __attribute__((section(\".gnu.linkonce.this_module\"))) = 1;\n"
		 "const char *where(void) { return __FILE__; }\n%s\n",
		 strcmp(name, "nvidia") == 0 ? "" : "nvidia", name, more);
	testdir_puts(t, path, text);
}

/* tree/<flavour dir>/ */
static inline void fake_driver(struct testdir *t, const char *dir)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/Makefile", dir);
	testdir_puts(t, path, fake_makefile);
	snprintf(path, sizeof(path), "%s/Kbuild", dir);
	testdir_puts(t, path, "# none\n");
	snprintf(path, sizeof(path), "%s/conftest.sh", dir);
	testdir_puts(t, path, fake_conftest);
	fake_module(t, dir, "nvidia", "");
	fake_module(t, dir, "nvidia-uvm", "");
}

/* An unsplit build tree. */
static inline void fake_kernel(struct testdir *t, const char *dir)
{
	static const struct {
		const char *name, *text;
	} files[] = {
		{ "include/linux/kernel.h", "\n" },
		{ "include/linux/pci.h",
		  "/* pci_resize_resource(a, b) was */\nint __must_check pci_resize_resource(struct pci_dev "
		  "*dev, int i,\n\t\t\tint size, int exclude_bars);\n" },
		{ "include/linux/vermagic.h", "#ifdef CONFIG_PREEMPT_BUILD\n" },
		{ "include/generated/utsrelease.h", "#define UTS_RELEASE \"" FAKE_RELEASE "\"\n" },
		{ "include/generated/autoconf.h",
		  "#define CONFIG_SMP 1\n#define CONFIG_MODULE_UNLOAD 1\n#define CONFIG_MODVERSIONS 1\n" },
		{ "include/generated/compile.h",
		  "#define LINUX_COMPILE_BY \"me\"\n#define LINUX_COMPILE_HOST \"here\"\n#define "
		  "LINUX_COMPILER \"gcc 12\"\n" },
		{ "include/generated/utsversion.h", "#define UTS_VERSION \"#1 SMP today\"\n" },
		{ "Module.symvers", "0x00000001\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n" },
		{ ".config",
		  "CONFIG_X86_64=y\nCONFIG_MODULE_SIG_HASH=\"sha512\"\n# CONFIG_MODULE_SIG_FORCE is not set\n"
		  "CONFIG_MODULE_SIG=y\nCONFIG_CC_VERSION_TEXT=\"gcc (Nobody 1.2.3-4) 1.2.3\"\n" },
	};

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		char path[256];

		snprintf(path, sizeof(path), "%s/%s", dir, files[i].name);
		testdir_puts(t, path, files[i].text);
	}
}
