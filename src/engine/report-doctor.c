/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor.h"
#include "fd.h"
#include "keys.h"
#include "ktree.h"
#include "modset.h"
#include "path.h"
#include "pci.h"
#include "report.h"
#include "strbuf.h"

#include <stdarg.h>
#include <string.h>
#include <sys/statvfs.h>

#define STORE_SPACE_WANTED_BYTES                                                                             \
	((uint64_t)4 << 30) /* a tree of 1 GB, a build of 1 GB, and room for the next */

static const char *const result_words[] = {
	[DOCTOR_OK] = "ok",
	[DOCTOR_WARN] = "warn",
	[DOCTOR_FAIL] = "fail",
	[DOCTOR_UNKNOWN] = "unknown",
};

int doctor_say(struct doctor *d, const char *check, enum doctor_result result, const char *next_step,
	       const char *fmt, ...)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(64 << 10);
	json_t *row;
	va_list ap;

	va_start(ap, fmt);
	(void)strbuf_vprintf(&text, fmt, ap);
	va_end(ap);
	row = json_pack("{s:s,s:s,s:s,s:s?}", "check", check, "result", result_words[result], "text",
			strbuf_str(&text), "next_step", next_step);
	d->count.warnings += result == DOCTOR_WARN;
	d->count.failures += result == DOCTOR_FAIL;
	d->count.unknown += result == DOCTOR_UNKNOWN;
	return !row || json_array_append_new(d->checks, row) < 0 ? -ENOMEM : 0;
}

int doctor_check_store(struct doctor *d)
{
	struct statvfs fs;

	if (!d->en->store)
		return doctor_say(d, "store", DOCTOR_WARN, "nvdriver prepare makes it",
				  "there is no store yet");
	if (d->en->store->read_only)
		return doctor_say(d, "store", DOCTOR_WARN, "run as root, or on a writable file system",
				  "the store cannot be written");
	if (fstatvfs(d->en->store->dir_fd, &fs) == 0 &&
	    (uint64_t)fs.f_bavail * fs.f_frsize < STORE_SPACE_WANTED_BYTES)
		return doctor_say(d, "store", DOCTOR_WARN, "nvdriver gc, or another --store",
				  "less than 4 GiB free where the store is");
	return doctor_say(d, "store", DOCTOR_OK, NULL, "the store can be read and written");
}

static int check_kernel(struct doctor *d)
{
	struct ktree_search where = { .host = d->en->host, .store = d->en->store, .release = d->release };
	struct modset_want want = { .release = d->release };
	_cleanup_(ktree_freep) struct ktree *t = NULL;
	json_t *sets = NULL;
	size_t n;

	if (!d->release)
		return doctor_say(d, "kernel", DOCTOR_UNKNOWN, NULL,
				  "this machine does not say which kernel it runs");
	if (d->en->store && modset_list(d->en->store, NULL, want.release, &sets, NULL) < 0)
		sets = NULL;
	n = json_array_size(sets);
	json_decref(sets);
	if (n)
		return doctor_say(d, "kernel", DOCTOR_OK, NULL,
				  "modules for the running kernel are in the store");
	if (ktree_find(&where, &t, NULL) == 0)
		return doctor_say(d, "kernel", DOCTOR_OK, NULL,
				  "a build tree for the running kernel is there");
	return doctor_say(d, "kernel", DOCTOR_WARN,
			  "install its headers, or nvdriver prepare DRIVER --kernel apt:FLAVOUR",
			  "neither modules nor a build tree for the running kernel are here");
}

/* Cards, and who holds them: a card bound to another driver is invisible to ours. */
static int check_gpus(struct doctor *d)
{
	struct pci_list list = { NULL, 0 };
	unsigned cards = 0, foreign = 0;
	char text[96];

	if (d->en->host->sys_fd < 0 || pci_list_read(d->en->host, &list, NULL) < 0)
		return doctor_say(d, "gpus", DOCTOR_UNKNOWN, NULL,
				  "this machine does not show its PCI devices");
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
		return doctor_say(d, "gpus", DOCTOR_WARN,
				  "nvdriver gpu list; check slot, power and passthrough",
				  "no NVIDIA GPU is visible on the PCI bus");
	snprintf(text, sizeof(text), "%u NVIDIA GPU%s, %u held by another driver", cards,
		 cards == 1 ? "" : "s", foreign);
	return doctor_say(d, "gpus", foreign ? DOCTOR_WARN : DOCTOR_OK,
			  foreign ? "nvdriver gpu list names the driver that holds each" : NULL, "%s", text);
}

static int check_nouveau(struct doctor *d)
{
	if (kmods_find(&d->mods, "nouveau"))
		return doctor_say(d, "nouveau", DOCTOR_FAIL, "blacklist it, rebuild the initramfs and reboot",
				  "nouveau is loaded and holds the cards it knows");
	return doctor_say(d, "nouveau", DOCTOR_OK, NULL, "nouveau is not loaded");
}

int doctor_check_signatures(struct doctor *d)
{
	_cleanup_free_ char *key = NULL, *cert = NULL;
	const bool demanded = secureboot_modules_must_be_signed(&d->sb);
	/* Under Secure Boot most kernels lock themselves down: without their word that they did not, nothing is known. */
	const bool unsure = !demanded && d->sb.secure_boot == TRI_YES && !*d->sb.lockdown;

	if (!demanded && !unsure)
		return doctor_say(d, "signatures", DOCTOR_OK, NULL, "this kernel loads unsigned modules");
	if (d->en->store && keys_find(d->en->store, &key, &cert, NULL) == 0)
		return doctor_say(d, "signatures", DOCTOR_OK,
				  "its certificate must be enrolled: mokutil --import",
				  unsure ? "Secure Boot is on, and the store has a key"
					 : "this kernel wants signed modules, and the store has a key");
	if (unsure)
		return doctor_say(
		    d, "signatures", DOCTOR_UNKNOWN,
		    "make /sys/kernel/security visible, or prepare with --key and --cert",
		    "Secure Boot is on, and whether this kernel refuses unsigned modules cannot be "
		    "seen");
	return doctor_say(
	    d, "signatures", DOCTOR_WARN,
	    "nvdriver prepare with --key and --cert, or --generate-key and enrol its certificate",
	    "this kernel refuses unsigned modules, and no signing key is in the store");
}

static int check_user_space(struct doctor *d)
{
	_cleanup_free_ char *running = report_running_version(d->en->host), *text = NULL, *lib = NULL;
	static const char *const dirs[] = { "usr/lib/x86_64-linux-gnu", "usr/lib64",
					    "usr/lib/aarch64-linux-gnu", "usr/lib" };

	if (!running)
		return doctor_say(d, "versions", DOCTOR_OK, NULL, "no driver is running, so none can differ");
	for (size_t i = 0; i < ARRAY_LEN(dirs) && !lib; i++) {
		char path[128];
		struct stat st;

		snprintf(path, sizeof(path), "%s/libnvidia-ml.so.%s", dirs[i], running);
		if (path_stat(d->en->host->root_fd, path, &st, PATH_IN_ROOT) == 0)
			lib = strdup(path);
	}
	if (lib)
		return doctor_say(d, "versions", DOCTOR_OK, NULL,
				  "the user space matches the running driver");
	text = str_printf("driver %s runs, but its libraries are not installed here", running);
	return doctor_say(d, "versions", DOCTOR_WARN, "nvdriver install with the version that runs", "%s",
			  text ? text : "");
}

int doctor_run(struct engine *en, const doctor_check *checks, size_t n, void *arg, json_t **ret_checks,
	       struct doctor_count *ret_count, struct err *e)
{
	struct doctor d = { .en = en, .arg = arg, .checks = json_array(), .mods = KMODS_INIT };
	int r = d.checks ? 0 : -ENOMEM;

	(void)host_kernel_release(en->host, &d.release);
	(void)secureboot_read(en->host, &d.sb);
	(void)kmods_read(en->host, &d.mods);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = checks[i](&d);
	kmods_done(&d.mods);
	free(d.release);
	if (r < 0) {
		json_decref(d.checks);
		return err_oom(e);
	}
	*ret_checks = d.checks;
	*ret_count = d.count;
	return 0;
}

int report_doctor(struct engine *en, json_t **ret_checks, unsigned *ret_findings, struct err *e)
{
	static const doctor_check checks[] = {
		doctor_check_store,	 check_gpus,	  check_kernel, check_nouveau,
		doctor_check_signatures, check_user_space
	};
	struct doctor_count count;
	int r = doctor_run(en, checks, ARRAY_LEN(checks), NULL, ret_checks, &count, e);

	if (r == 0)
		*ret_findings = count.warnings + count.failures;
	return r;
}
