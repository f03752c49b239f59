/* SPDX-License-Identifier: Apache-2.0 */
#include "container-doctor-internal.h"

#include "bundle.h"
#include "container-ktree.h"
#include "container-precompiled.h"
#include "err-container.h"
#include "jutil.h"
#include "ktree.h"
#include "modbuild.h"
#include "modset.h"
#include "path.h"
#include "pci.h"
#include "spawn.h"
#include "strbuf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#define MIB ((uint64_t)1 << 20)
#define SPACE_TO_BUILD                                                                                       \
	(4096 * MIB) /* the driver's tree and a build, each about 1 GB, and room for the next */
#define SPACE_WITHOUT  (512 * MIB)
#define MEMORY_LEAST   (512 * MIB) /* one compiler job */
#define MEMORY_COMFORT (2048 * MIB)
#define BUNDLE_STEP                                                                                          \
	"carry a bundle across (nvdriver bundle create on a connected machine), or give the container the "  \
	"kernel's devel package"

static const struct container_doctor *question(const struct doctor *d)
{
	return d->arg;
}

static const char *const type_words[] = {
	[MODULE_TYPE_AUTO] = "auto",
	[MODULE_TYPE_OPEN] = "open",
	[MODULE_TYPE_PROPRIETARY] = "proprietary",
};

/* -- modules that are ready -- */

static bool store_has_modules(const struct doctor *d)
{
	const char *version = question(d)->env->driver_version;
	json_t *sets = NULL;
	size_t n;

	if (!d->en->store || !d->release || !version ||
	    modset_list(d->en->store, version, d->release, &sets, NULL) < 0)
		return false;
	n = json_array_size(sets);
	json_decref(sets);
	return n > 0;
}

static const char *wanted_flavour(const struct doctor *d)
{
	const struct container_env *env = question(d)->env;

	return env->module_type == MODULE_TYPE_AUTO ? NULL : type_words[env->module_type];
}

static char *modules_in_bundle(const struct doctor *d)
{
	const struct container_doctor *q = question(d);
	const struct bundle_places where = { .named = q->env->bundle,
					     .container = d->en->host,
					     .node = q->node };
	const struct bundle_want want = { .driver = q->env->driver_version,
					  .flavour = wanted_flavour(d),
					  .release = d->release,
					  .arch = q->env->arch };
	_cleanup_(bundle_freep) struct bundle *b = NULL;

	if (!d->release || !want.driver || bundle_find(&where, &want, &b, NULL, NULL) < 0 ||
	    !bundle_has_modules(b, &want))
		return NULL;
	if (q->env->bundle_cert && bundle_check_signature(b, q->env->bundle_cert, NULL) < 0)
		return NULL;
	return strdup(bundle_path(b));
}

static char *find_ready(const struct doctor *d)
{
	const struct container_doctor *q = question(d);
	_cleanup_free_ char *bundle = NULL, *package = NULL;

	if (store_has_modules(d))
		return strdup("modules for this driver and kernel are in the store: a start needs "
			      "neither compiler nor network");
	bundle = modules_in_bundle(d);
	if (bundle)
		return str_printf("a start takes them from the bundle %s", bundle);
	if (d->release && q->env->driver_version)
		package = container_precompiled_find(d->en->host, q->node, d->release, q->env->driver_version,
						     wanted_flavour(d));
	return package ? str_printf("a start takes them from the package %s", package) : NULL;
}

const char *doctor_ready_modules(struct doctor *d)
{
	struct doctor_own *own = d->arg;

	if (!own->looked)
		own->ready = find_ready(d);
	own->looked = true;
	return own->ready;
}

/* -- the kernel: its variant -- */

static const struct {
	const char *mark, *variant, *package;
} variants[] = {
	{ "+64k", "with 64 KiB pages", "kernel-64k-devel" },
	{ "+debug", "a debug kernel", "kernel-debug-devel" },
	{ "uek", "Oracle's UEK", "kernel-uek-devel" },
};

int doctor_check_kernel(struct doctor *d)
{
	_cleanup_free_ char *banner = NULL;

	if (!d->release)
		return doctor_say(d, "kernel", DOCTOR_UNKNOWN, "mount /proc",
				  "the running kernel's release cannot be read");
	(void)host_proc_version(d->en->host, &banner);
	if (strstr(d->release, "+rt") || strstr(d->release, ".rt") ||
	    (banner && strstr(banner, "PREEMPT_RT")))
		return doctor_say(d, "kernel", DOCTOR_FAIL, "boot the node's standard kernel",
				  "kernel %s is fully preemptible, which the driver does not support",
				  d->release);
	for (size_t i = 0; i < ARRAY_LEN(variants); i++)
		if (strstr(d->release, variants[i].mark))
			return doctor_say(d, "kernel", DOCTOR_OK, NULL,
					  "kernel %s is %s: its build tree is in %s", d->release,
					  variants[i].variant, variants[i].package);
	return doctor_say(d, "kernel", DOCTOR_OK, NULL, "kernel %s", d->release);
}

/* -- where modules come from -- */

static int say_found(struct doctor *d, const struct container_ktree *t)
{
	static const char *const texts[] = {
		[CONTAINER_KTREE_CONTAINER] = "in the container",
		[CONTAINER_KTREE_NODE] = "on the node",
		[CONTAINER_KTREE_STORE] = "in the store",
		[CONTAINER_KTREE_BUNDLE] = "in a bundle",
		[CONTAINER_KTREE_PACKAGES] = "the package manager offers",
	};

	return doctor_say(d, "modules", DOCTOR_OK, NULL, "they will be built with the build tree %s: %s",
			  texts[t->from], t->attempts[t->n_attempts - 1].verdict);
}

/* Whether repositories can be asked matters only where nothing nearer has the tree. */
static int say_repositories(struct doctor *d, const struct container_ktree *t, const struct err *why)
{
	if (t->n_attempts && t->from != CONTAINER_KTREE_PACKAGES)
		return doctor_say(d, "repositories", DOCTOR_OK, NULL, "not asked: nothing has to be fetched");
	if (t->n_attempts)
		return doctor_say(d, "repositories", DOCTOR_OK, NULL, "%s",
				  t->attempts[t->n_attempts - 1].verdict);
	if (!question(d)->may_connect)
		return doctor_say(d, "repositories", DOCTOR_UNKNOWN, "run it again without --offline",
				  "not asked");
	return doctor_say(
	    d, "repositories", DOCTOR_FAIL,
	    "give the container a repository it can reach that has exactly this package, or a bundle", "%s",
	    strstr(why->reason, "package manager: ") ?: why->reason);
}

int doctor_check_modules(struct doctor *d)
{
	const struct container_doctor *q = question(d);
	const struct container_ktree_options o = { .node = q->node,
						   .store = d->en->store,
						   .bundle = q->env->bundle,
						   .bundle_cert = q->env->bundle_cert,
						   .no_packages = !q->may_connect,
						   .dnf_args = q->dnf_args,
						   .look_only = true };
	_cleanup_(container_ktree_done) struct container_ktree t = { 0 };
	_cleanup_(err_done) struct err why = ERR_INIT;
	int r;

	if (!d->release)
		return doctor_say(d, "modules", DOCTOR_UNKNOWN, NULL, "for which kernel is not known");
	if (doctor_ready_modules(d))
		return doctor_say(d, "modules", DOCTOR_OK, NULL, "%s", doctor_ready_modules(d));
	r = container_ktree_find(d->en->host, q->env, d->release, &o, &t, &why);
	if (r == -ENOMEM || r == -ERR_INTERRUPTED)
		return r;
	if (r == 0)
		r = say_found(d, &t);
	else
		r = doctor_say(d, "modules", DOCTOR_FAIL, BUNDLE_STEP,
			       "there are no modules for kernel %s, and no build tree: %s", d->release,
			       why.reason ? why.reason : err_sentence(r));
	return r < 0 || why.code == ERR_KERNEL_PREEMPT_RT ? r : say_repositories(d, &t, &why);
}

unsigned doctor_banner_gcc(const char *banner)
{
	const char *at = strstr(banner, "gcc");

	/* "gcc (GCC) 11.3.1 20221121", "gcc-12 (Debian 12.2.0-14) 12.2.0": the first word behind the parenthesis. */
	at = at ? strchr(at, ')') : NULL;
	if (!at)
		return 0;
	at++;
	at += strspn(at, " ");
	return (unsigned)strtoul(at, NULL, 10) < 1000 ? (unsigned)strtoul(at, NULL, 10) : 0;
}

static bool has_program(const struct host *h, const char *name)
{
	_cleanup_free_ char *path = str_printf("usr/bin/%s", name),
			    *local = str_printf("usr/local/bin/%s", name);

	return (path && path_exists(h->root_fd, path)) || (local && path_exists(h->root_fd, local));
}

static bool has_gcc(const struct host *h, unsigned major)
{
	static const char *const triples[] = { "x86_64-redhat-linux", "aarch64-redhat-linux",
					       "x86_64-linux-gnu", "aarch64-linux-gnu" };

	for (size_t i = 0; i < ARRAY_LEN(triples); i++) {
		char path[96], toolset[96];

		(void)snprintf(path, sizeof(path), "usr/lib/gcc/%s/%u", triples[i], major);
		(void)snprintf(toolset, sizeof(toolset), "opt/rh/gcc-toolset-%u", major);
		if (path_exists(h->root_fd, path) || path_exists(h->root_fd, toolset))
			return true;
	}
	return false;
}

int doctor_check_compiler(struct doctor *d)
{
	static const char *const tools[] = { "gcc", "make", "ld" };
	const struct host *h = d->en->host;
	_cleanup_free_ char *banner = NULL;
	unsigned major = 0;

	if (doctor_ready_modules(d))
		return doctor_say(d, "compiler", DOCTOR_OK, NULL, "none is needed");
	for (size_t i = 0; i < ARRAY_LEN(tools); i++)
		if (!has_program(h, tools[i]))
			return doctor_say(
			    d, "compiler", DOCTOR_FAIL,
			    "use an image with gcc, make and binutils, or bring modules in a bundle",
			    "modules have to be built and the image has no %s", tools[i]);
	if (host_proc_version(h, &banner) == 0)
		major = doctor_banner_gcc(banner);
	if (major && !has_gcc(h, major))
		return doctor_say(
		    d, "compiler", DOCTOR_WARN,
		    "the driver is built all the same; if that fails, install that major version",
		    "the kernel was built with gcc %u, which the image does not have", major);
	return doctor_say(d, "compiler", DOCTOR_OK, NULL, "gcc%s, make and ld are there",
			  major ? " of the kernel's major version" : "");
}

/* -- module type -- */

/* Chips older than Turing have no open modules; from Blackwell on there are no others. */
#define FIRST_OPEN_ID 0x1e00

int doctor_check_module_type(struct doctor *d)
{
	const struct container_env *env = question(d)->env;
	struct pci_list l = { NULL, 0 };
	const struct pci_device *old = NULL;
	char address[20] = "";

	if (d->en->host->sys_fd < 0 || pci_list_read(d->en->host, &l, NULL) < 0)
		return doctor_say(d, "module-type", DOCTOR_UNKNOWN, NULL, "the PCI devices cannot be seen");
	for (size_t i = 0; i < l.n && !old; i++)
		if (l.v[i].vendor == PCI_VENDOR_NVIDIA && l.v[i].class_code >> 8 == PCI_CLASS_VGA >> 8 &&
		    l.v[i].device < FIRST_OPEN_ID)
			old = &l.v[i];
	if (old)
		memcpy(address, old->address, sizeof(address));
	pci_list_done(&l);
	if (*address && env->module_type == MODULE_TYPE_OPEN)
		return doctor_say(d, "module-type", DOCTOR_FAIL,
				  "set KERNEL_MODULE_TYPE=proprietary (or auto)",
				  "open modules are asked for, and GPU %s is too old for them", address);
	return doctor_say(d, "module-type", DOCTOR_OK, NULL, "%s modules%s%s%s", type_words[env->module_type],
			  *address ? "; GPU " : "", address, *address ? " needs the proprietary ones" : "");
}

/* -- room -- */

int doctor_check_space(struct doctor *d)
{
	int fd = d->en->store ? d->en->store->dir_fd : d->en->host->root_fd;
	uint64_t wanted = doctor_ready_modules(d) ? SPACE_WITHOUT : SPACE_TO_BUILD, there;
	struct statvfs fs;

	if (fstatvfs(fd, &fs) < 0)
		return doctor_say(d, "space", DOCTOR_UNKNOWN, NULL, "free space cannot be asked for");
	there = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (there < wanted)
		return doctor_say(d, "space", DOCTOR_FAIL, "free space on the node, or run: nvdriver gc",
				  "%" PRIu64 " MiB are free where the store is, %" PRIu64 " MiB are wanted",
				  there / MIB, wanted / MIB);
	return doctor_say(d, "space", DOCTOR_OK, NULL, "%" PRIu64 " MiB are free where the store is",
			  there / MIB);
}

int doctor_check_memory(struct doctor *d)
{
	uint64_t bytes;

	if (doctor_ready_modules(d))
		return doctor_say(d, "memory", DOCTOR_OK, NULL, "nothing has to be compiled");
	if (host_memory_available(d->en->host, &bytes) < 0)
		return doctor_say(d, "memory", DOCTOR_UNKNOWN, "mount /proc",
				  "available memory cannot be read");
	if (bytes < MEMORY_LEAST)
		return doctor_say(d, "memory", DOCTOR_FAIL,
				  "raise the container's memory limit to 1 GiB or more",
				  "%" PRIu64 " MiB are available, one compiler needs 512", bytes / MIB);
	if (bytes < MEMORY_COMFORT)
		return doctor_say(d, "memory", DOCTOR_WARN,
				  "raise the container's memory limit, or be patient",
				  "%" PRIu64 " MiB are available: the build uses %u job%s", bytes / MIB,
				  modbuild_jobs(host_cpu_count(d->en->host), bytes),
				  modbuild_jobs(host_cpu_count(d->en->host), bytes) == 1 ? "" : "s");
	return doctor_say(d, "memory", DOCTOR_OK, NULL, "%" PRIu64 " MiB are available", bytes / MIB);
}
