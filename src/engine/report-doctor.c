/* SPDX-License-Identifier: Apache-2.0 */
#include "fd.h"
#include "keys.h"
#include "kmods.h"
#include "ktree.h"
#include "modset.h"
#include "path.h"
#include "pci.h"
#include "report.h"
#include "secureboot.h"
#include "strbuf.h"

#include <string.h>
#include <sys/statvfs.h>

#define STORE_SPACE_WANTED_BYTES                                                                             \
	((uint64_t)4 << 30) /* a tree of 1 GB, a build of 1 GB, and room for the next */

struct doctor {
	struct engine *en;
	json_t *checks; /* owned */
	char *release; /* owned; NULL = the machine does not say */
	struct secureboot sb;
	struct kmods mods;
	unsigned findings;
};

static int say(struct doctor *d, const char *check, const char *result, const char *text,
	       const char *next_step)
{
	json_t *row = json_pack("{s:s,s:s,s:s,s:s?}", "check", check, "result", result, "text", text,
				"next_step", next_step);

	d->findings += strcmp(result, "warn") == 0 || strcmp(result, "fail") == 0;
	return !row || json_array_append_new(d->checks, row) < 0 ? -ENOMEM : 0;
}

static int check_store(struct doctor *d)
{
	struct statvfs fs;

	if (!d->en->store)
		return say(d, "store", "warn", "there is no store yet", "nvdriver prepare makes it");
	if (d->en->store->read_only)
		return say(d, "store", "warn", "the store cannot be written",
			   "run as root, or on a writable file system");
	if (fstatvfs(d->en->store->dir_fd, &fs) == 0 &&
	    (uint64_t)fs.f_bavail * fs.f_frsize < STORE_SPACE_WANTED_BYTES)
		return say(d, "store", "warn", "less than 4 GiB free where the store is",
			   "nvdriver gc, or another --store");
	return say(d, "store", "ok", "the store can be read and written", NULL);
}

static int check_kernel(struct doctor *d)
{
	struct ktree_search where = { .host = d->en->host, .store = d->en->store, .release = d->release };
	struct modset_want want = { .release = d->release };
	_cleanup_(ktree_freep) struct ktree *t = NULL;
	json_t *sets = NULL;
	size_t n;

	if (!d->release)
		return say(d, "kernel", "unknown", "this machine does not say which kernel it runs", NULL);
	if (d->en->store && modset_list(d->en->store, NULL, want.release, &sets, NULL) < 0)
		sets = NULL;
	n = json_array_size(sets);
	json_decref(sets);
	if (n)
		return say(d, "kernel", "ok", "modules for the running kernel are in the store", NULL);
	if (ktree_find(&where, &t, NULL) == 0)
		return say(d, "kernel", "ok", "a build tree for the running kernel is there", NULL);
	return say(d, "kernel", "warn", "neither modules nor a build tree for the running kernel are here",
		   "install its headers, or nvdriver prepare DRIVER --kernel apt:FLAVOUR");
}

/* Cards, and who holds them: a card bound to another driver is invisible to ours. */
static int check_gpus(struct doctor *d)
{
	struct pci_list list = { NULL, 0 };
	unsigned cards = 0, foreign = 0;
	char text[96];

	if (d->en->host->sys_fd < 0 || pci_list_read(d->en->host, &list, NULL) < 0)
		return say(d, "gpus", "unknown", "this machine does not show its PCI devices", NULL);
	for (size_t i = 0; i < list.n; i++) {
		const struct pci_device *p = &list.v[i];

		if (p->vendor != PCI_VENDOR_NVIDIA ||
		    (p->class_code != PCI_CLASS_VGA && p->class_code != PCI_CLASS_3D))
			continue;
		cards++;
		foreign += p->driver && strcmp(p->driver, "nvidia") != 0;
	}
	pci_list_done(&list);
	if (!cards)
		return say(d, "gpus", "warn", "no NVIDIA GPU is visible on the PCI bus",
			   "nvdriver gpu list; check slot, power and passthrough");
	snprintf(text, sizeof(text), "%u NVIDIA GPU%s, %u held by another driver", cards,
		 cards == 1 ? "" : "s", foreign);
	return say(d, "gpus", foreign ? "warn" : "ok", text,
		   foreign ? "nvdriver gpu list names the driver that holds each" : NULL);
}

static int check_nouveau(struct doctor *d)
{
	if (kmods_find(&d->mods, "nouveau"))
		return say(d, "nouveau", "fail", "nouveau is loaded and holds the cards it knows",
			   "blacklist it, rebuild the initramfs and reboot");
	return say(d, "nouveau", "ok", "nouveau is not loaded", NULL);
}

static int check_signatures(struct doctor *d)
{
	_cleanup_free_ char *key = NULL, *cert = NULL;

	if (!secureboot_modules_must_be_signed(&d->sb))
		return say(d, "signatures", "ok", "this kernel loads unsigned modules", NULL);
	if (d->en->store && keys_find(d->en->store, &key, &cert, NULL) == 0)
		return say(d, "signatures", "ok", "this kernel wants signed modules, and the store has a key",
			   "its certificate must be enrolled: mokutil --import");
	return say(d, "signatures", "warn",
		   "this kernel refuses unsigned modules, and no signing key is in the store",
		   "nvdriver prepare with --key and --cert, or --generate-key and enrol its certificate");
}

static int check_user_space(struct doctor *d)
{
	_cleanup_free_ char *running = report_running_version(d->en->host), *text = NULL, *lib = NULL;
	static const char *const dirs[] = { "usr/lib/x86_64-linux-gnu", "usr/lib64",
					    "usr/lib/aarch64-linux-gnu", "usr/lib" };

	if (!running)
		return say(d, "versions", "ok", "no driver is running, so none can differ", NULL);
	for (size_t i = 0; i < ARRAY_LEN(dirs) && !lib; i++) {
		char path[128];
		struct stat st;

		snprintf(path, sizeof(path), "%s/libnvidia-ml.so.%s", dirs[i], running);
		if (path_stat(d->en->host->root_fd, path, &st, PATH_IN_ROOT) == 0)
			lib = strdup(path);
	}
	if (lib)
		return say(d, "versions", "ok", "the user space matches the running driver", NULL);
	text = str_printf("driver %s runs, but its libraries are not installed here", running);
	return say(d, "versions", "warn", text ? text : "", "nvdriver install with the version that runs");
}

int report_doctor(struct engine *en, json_t **ret_checks, unsigned *ret_findings, struct err *e)
{
	static int (*const checks[])(struct doctor *) = { check_store,	 check_gpus,	   check_kernel,
							  check_nouveau, check_signatures, check_user_space };
	struct doctor d = { .en = en, .checks = json_array(), .mods = KMODS_INIT };
	int r = d.checks ? 0 : -ENOMEM;

	(void)host_kernel_release(en->host, &d.release);
	(void)secureboot_read(en->host, &d.sb);
	(void)kmods_read(en->host, &d.mods);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(checks); i++)
		r = checks[i](&d);
	kmods_done(&d.mods);
	free(d.release);
	if (r < 0) {
		json_decref(d.checks);
		return err_oom(e);
	}
	*ret_checks = d.checks;
	*ret_findings = d.findings;
	return 0;
}
