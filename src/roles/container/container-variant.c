/* SPDX-License-Identifier: Apache-2.0 */
#include "container-variant.h"

#include "parse.h"
#include "strbuf.h"
#include "err-container.h"

#include <stdio.h>
#include <string.h>

/* A variant shows behind the architecture, or inside the release where the kernel has a release of its own. The first row
 * that fits counts. */
static const struct variant {
	const char *suffix; /* behind the architecture, without its separator; NULL = none */
	const char *tag; /* somewhere in the release; NULL = anything */
	const char *name;
	const char *base; /* package base: "<base>-devel" */
} variants[] = {
	{ "debug", "uek", "uek-debug", "kernel-uek-debug" },
	{ "64k", "uek", "uek-64k", "kernel-uek64k" },
	{ NULL, "uek", "uek", "kernel-uek" },
	{ "debug", ".rt", "rt-debug", "kernel-rt-debug" }, /* RHEL 8 and 9.0 to 9.2 */
	{ "rt-64k-debug", NULL, "rt-64k-debug", "kernel-rt-64k-debug" },
	{ "rt-64k", NULL, "rt-64k", "kernel-rt-64k" },
	{ "rt-debug", NULL, "rt-debug", "kernel-rt-debug" },
	{ "64k-debug", NULL, "64k-debug", "kernel-64k-debug" },
	{ NULL, ".rt", "rt", "kernel-rt" },
	{ "rt", NULL, "rt", "kernel-rt" },
	{ "64k", NULL, "64k", "kernel-64k" },
	{ "debug", NULL, "debug", "kernel-debug" },
	{ NULL, "centos.plus", "plus", "kernel-plus" },
	{ NULL, NULL, "", "kernel" },
};

static const char *const arches[] = { "x86_64", "aarch64", "ppc64le", "s390x" };

/* The architecture that ends the release or is followed by "+variant" or ".variant". */
static const char *find_arch(const char *release, const char **ret_arch)
{
	for (size_t i = 0; i < ARRAY_LEN(arches); i++)
		for (const char *at = release; (at = strstr(at, arches[i])); at++) {
			char after = at[strlen(arches[i])];

			if (at > release && at[-1] == '.' && (!after || after == '+' || after == '.')) {
				*ret_arch = arches[i];
				return at;
			}
		}
	return NULL;
}

/* ".rt" is a tag only when its number follows: ".rt14.", and not as part of another word. */
static bool has_tag(const char *release, const char *tag)
{
	const char *at = strstr(release, tag);

	if (!at || strcmp(tag, ".rt") != 0)
		return at != NULL;
	return at[3] >= '0' && at[3] <= '9';
}

static const struct variant *find_variant(const char *release, const char *suffix)
{
	for (size_t i = 0; i < ARRAY_LEN(variants); i++) {
		const struct variant *v = &variants[i];

		if ((v->suffix ? strcmp(suffix, v->suffix) == 0 : !*suffix) &&
		    (!v->tag || has_tag(release, v->tag)))
			return v;
	}
	return NULL;
}

int kernel_package_parse(const char *kernel_release, struct kernel_package *ret)
{
	struct kernel_package p = { 0 };
	const char *arch, *at = find_arch(kernel_release, &arch), *dash = strchr(kernel_release, '-');
	const struct variant *v;
	const char *suffix;

	if (!at || !dash || dash == kernel_release || dash + 1 >= at - 1)
		return -EINVAL;
	if ((size_t)(dash - kernel_release) >= sizeof(p.version) ||
	    (size_t)(at - 1 - dash - 1) >= sizeof(p.release))
		return -EINVAL;
	memcpy(p.version, kernel_release, (size_t)(dash - kernel_release));
	memcpy(p.release, dash + 1, (size_t)(at - 1 - dash - 1));
	suffix = at + strlen(arch);
	v = find_variant(p.release, suffix + (*suffix != 0));
	if (!v)
		return -EINVAL;
	p.variant = v->name;
	(void)snprintf(p.arch, sizeof(p.arch), "%s", arch);
	(void)snprintf(p.devel, sizeof(p.devel), "%s-devel", v->base);
	(void)snprintf(p.core, sizeof(p.core), "%s-core", v->base);
	*ret = p;
	return 0;
}

char *kernel_package_devel_nevra(const struct kernel_package *p)
{
	return str_printf("%s-%s-%s.%s", p->devel, p->version, p->release, p->arch);
}

int kernel_release_of_package(const char *name, const char *version, const char *release,
			      const char *rpm_arch, char **ret)
{
	for (size_t i = 0; i < ARRAY_LEN(variants); i++) {
		const struct variant *v = &variants[i];
		size_t n = strlen(v->base);

		if (strncmp(name, v->base, n) != 0 || strcmp(name + n, "-devel") != 0 ||
		    (v->tag && !has_tag(release, v->tag)))
			continue;
		*ret = str_printf("%s-%s.%s%s%s", version, release, rpm_arch,
				  !v->suffix				 ? ""
				  : v->tag && strcmp(v->tag, "uek") == 0 ? "."
									 : "+",
				  v->suffix ? v->suffix : "");
		return *ret ? 0 : -ENOMEM;
	}
	return -EINVAL;
}

static bool is_rt_release(const char *release)
{
	struct kernel_package p;

	return kernel_package_parse(release, &p) == 0 ? strncmp(p.variant, "rt", 2) == 0
						      : strstr(release, "-rt-") != NULL;
}

static bool config_says_rt(const char *config)
{
	struct span rest = SPAN(config), line;

	while (span_line(&rest, &line))
		if (span_eq(span_trim(line), "CONFIG_PREEMPT_RT=y"))
			return true;
	return false;
}

int kernel_check_preemption(const char *release, const char *banner, const char *config, bool override,
			    struct err *e)
{
	const char *told = release && is_rt_release(release)	      ? "its release"
			   : banner && strstr(banner, " PREEMPT_RT ") ? "its banner"
			   : config && config_says_rt(config)	      ? "its configuration"
								      : NULL;

	if (!told || override)
		return 0;
	(void)err_set(e, ERR_KERNEL_PREEMPT_RT, "kernel %s is fully preemptible (PREEMPT_RT), says %s",
		      release ? release : "", told);
	return err_object(e, "%s", release ? release : "");
}
