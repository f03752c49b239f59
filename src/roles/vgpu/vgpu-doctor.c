/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-doctor.h"

#include "digest.h"
#include "fd.h"
#include "jutil.h"
#include "path.h"
#include "report.h"
#include "strbuf.h"
#include "vgpu-apt.h"
#include "vgpu-license-client.h"
#include "vgpu-modules.h"
#include "vgpu-ops.h"
#include "vgpu-plan.h"
#include "vgpu-profile.h"
#include "vgpu-services.h"
#include "vgpu-state.h"
#include "vgpu-step1.h"
#include "vgpu-tools.h"
#include "vgpu-types.h"
#include "vgpu-use.h"

#include <ctype.h>
#include <dirent.h>
#include <string.h>

#define MAPS_MAX ((size_t)16 << 20)

struct doctor {
	struct step1 s; /* facts; nothing is decided */
	struct vgpu_state state;
	struct vgpu_types types;
	char *driver; /* owned; version of the loaded driver, NULL = none */
	json_t *installed; /* owned; meta data of the driver step 2 installed, NULL = none */
	json_t *checks; /* owned */
	unsigned findings;
};

static void doctor_done(struct doctor *d)
{
	step1_done(&d->s);
	vgpu_state_done(&d->state);
	vgpu_types_done(&d->types);
	free(d->driver);
	json_decref(d->installed);
	json_decref(d->checks);
}

static int doctor_open(struct doctor *d, struct engine *en, const char *gpu_db_beside, struct err *e)
{
	int r;

	*d = (struct doctor){ .s = { .en = en, .gpu_db_beside = gpu_db_beside, .dry_run = true },
			      .state = { .lock = LOCK_INIT } };
	d->checks = json_array();
	r = d->checks ? step1_open(&d->s, e) : err_oom(e);
	if (r >= 0)
		r = vgpu_state_open(en, false, &d->state, e);
	if (r >= 0)
		r = vgpu_types_read(en->host, &d->types, e);
	if (r >= 0)
		r = vgpu_deployed(en, "driver", &d->installed, e);
	if (r >= 0 && kmod_attr(en->host, "nvidia", "version", &d->driver) == -ENOMEM)
		r = err_oom(e);
	return r;
}

static int say(struct doctor *d, const char *check, const char *result, const char *next, const char *fmt,
	       ...) _printf_(5, 6);

static int say(struct doctor *d, const char *check, const char *result, const char *next, const char *fmt,
	       ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;
	json_t *row;

	va_start(ap, fmt);
	text = str_vprintf(fmt, ap);
	va_end(ap);
	if (!text)
		return -ENOMEM;
	row = json_pack("{s:s, s:s, s:s, s:s?}", "check", check, "result", result, "text", text, "next_step",
			next);
	d->findings += strcmp(result, "warn") == 0 || strcmp(result, "fail") == 0;
	return !row || json_array_append_new(d->checks, row) < 0 ? -ENOMEM : 0;
}

/* -- checks -- */

static int check_host(struct doctor *d)
{
	return say(d, "proxmox", "ok", NULL, "Proxmox VE %s, kernel %s", d->s.machine.pve_version,
		   d->s.machine.kernel);
}

static bool always(const char *path _unused_, void *arg _unused_)
{
	return true;
}

static int check_repositories(struct doctor *d)
{
	static const char *const suffixes[] = { ".list", ".sources", ".bak", NULL };
	_cleanup_(text_files_done) struct text_files files = { 0 };
	_cleanup_(text_edits_done) struct text_edits edits = { 0 };
	const struct vgpu_machine *m = &d->s.machine;
	struct apt_request q = { m->codename, m->subscription == TRI_YES, always, NULL };

	if (text_files_read(&files, m->host, "etc/apt/sources.list", NULL) < 0 ||
	    text_files_read_dir(&files, m->host, "etc/apt/sources.list.d", suffixes, NULL) < 0)
		return say(d, "repositories", "unknown", NULL, "the package sources cannot be read");
	if (apt_edits(&files, &q, &edits) < 0)
		return -ENOMEM;
	if (edits.n > 0)
		return say(d, "repositories", "warn", "nvdriver vgpu step 1 sets them up",
			   "without a subscription the enterprise repository answers every update with 401");
	return say(d, "repositories", "ok", NULL, "%s",
		   m->subscription == TRI_YES ? "this host has a subscription"
					      : "the free repositories are set up");
}

static int check_iommu(struct doctor *d)
{
	const struct vgpu_machine *m = &d->s.machine;
	const char *firmware = m->cpu == CPU_AMD ? "AMD IOMMU (AMD-Vi, often under NBIO or CPU options)"
						 : "VT-d (Intel Virtualization Technology for Directed I/O)";
	_cleanup_free_ char *next = NULL;

	if (m->iommu_on)
		return say(d, "iommu", "ok", NULL, "the IOMMU is on");
	next = str_printf(
	    "switch %s on in the firmware%s", firmware,
	    strstr(m->cmdline, "_iommu=on") ? "" : ", and run nvdriver vgpu step 1 for the kernel words");
	return next ? say(d, "iommu", "fail", next, "the IOMMU is off") : -ENOMEM;
}

/* What the configuration passes against what the running kernel was given. */
static int check_boot(struct doctor *d)
{
	static const char *const suffixes[] = { ".cfg", NULL };
	static const char *const ours[] = { "intel_iommu=on", "amd_iommu=on", "iommu=pt" };
	_cleanup_(text_files_done) struct text_files files = { 0 };
	const struct vgpu_machine *m = &d->s.machine;
	struct boot_path path = boot_path_find(&m->boot);
	_cleanup_free_ char *configured = NULL;
	const char *loader = path.grub ? "GRUB" : "systemd-boot";

	if (text_files_read(&files, m->host, BOOT_GRUB_DEFAULT, NULL) < 0 ||
	    text_files_read_dir(&files, m->host, BOOT_GRUB_DIR, suffixes, NULL) < 0 ||
	    text_files_read(&files, m->host, BOOT_KERNEL_CMDLINE, NULL) < 0)
		return say(d, "boot", "unknown", NULL, "the boot configuration cannot be read");
	if (boot_cmdline_next(&files, &path, false, &configured, NULL) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		if (strstr(configured, ours[i]) && !strstr(m->cmdline, ours[i]))
			return say(d, "boot", "warn",
				   path.managed ? "reboot; if it stays so: proxmox-boot-tool refresh"
						: "reboot; if it stays so: update-grub",
				   "%s is configured for %s, and the running kernel was started without it",
				   ours[i], loader);
	return say(d, "boot", "ok", NULL, "started by %s%s", loader,
		   path.managed ? ", managed by proxmox-boot-tool" : "");
}

static int check_key(struct doctor *d)
{
	static const struct {
		enum mok_state state;
		const char *result, *next;
	} rows[] = {
		{ MOK_OFF, "ok", NULL },
		{ MOK_ENROLLED, "ok", NULL },
		{ MOK_PENDING, "warn", "reboot and choose \"Enroll MOK\" in the firmware's menu" },
		{ MOK_ABSENT, "fail", "nvdriver vgpu step 1 queues it for enrolment" },
		{ MOK_NO_KEY, "fail", "nvdriver vgpu step 1 makes one and queues it" },
		{ MOK_UNKNOWN, "unknown", "mokutil --test-key " MOK_CERT },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].state == d->s.mok)
			return say(d, "signing-key", rows[i].result, rows[i].next, "signing key: %s",
				   mok_state_word(d->s.mok));
	return 0;
}

/* Workstation cards that offer no virtual functions while they drive displays. */
static bool hides_functions(const char *name)
{
	static const char *const names[] = { "RTX A5000", "RTX A5500",	  "RTX A6000",	 "A40",
					     "L40",	  "RTX 5000 Ada", "RTX 6000 Ada" };

	for (size_t i = 0; name && i < ARRAY_LEN(names); i++)
		if (strstr(name, names[i]))
			return true;
	return false;
}

static int check_card(struct doctor *d, const struct card *c)
{
	const char *name = c->info.name ? c->info.name : "unknown card";

	if (c->support == CARD_UNKNOWN)
		return say(d, "card", "warn", "please report the device id", "%s: 10de:%04x is in no table",
			   c->pci.address, c->pci.device);
	if (c->support == CARD_NATIVE && c->total_vfs == 0 && hides_functions(name))
		return say(
		    d, "card", "warn",
		    "if it drives displays, switch it to compute mode with NVIDIA's displaymodeselector",
		    "%s: %s shows no virtual functions", c->pci.address, name);
	return say(d, "card", "ok", NULL, "%s: %s, %s", c->pci.address, name, card_verdict(c->support));
}

static int check_cards(struct doctor *d)
{
	int r = 0;

	if (d->s.cards.n == 0)
		return say(d, "card", "fail",
			   "check slot and power; lspci -d 10de:", "no NVIDIA card is on the bus");
	for (size_t i = 0; r == 0 && i < d->s.cards.n; i++)
		r = check_card(d, &d->s.cards.v[i]);
	return r;
}

static int check_nouveau(struct doctor *d)
{
	static const char *const drivers[] = { "nouveau", "nova_core" };

	for (size_t i = 0; i < ARRAY_LEN(drivers); i++)
		if (kmods_find(&d->s.machine.modules, drivers[i]))
			return say(d, "nouveau", "fail", "nvdriver vgpu step 1 keeps it away; then reboot",
				   "%s is loaded and holds the cards it knows", drivers[i]);
	return say(d, "nouveau", "ok", NULL, "no other driver is loaded for the cards");
}

static enum card_support chosen_support(const struct doctor *d)
{
	const char *word = vgpu_state_get(&d->state, "VGPU_SUPPORT");
	size_t at;

	if (!word)
		word = json_string_value(json_object_get(d->installed, "support"));
	if (word)
		return card_support_parse(word);
	return cards_choose(&d->s.cards, NULL, &at, NULL) == 0 ? d->s.cards.v[at].support : CARD_UNKNOWN;
}

/* The branch that is installed, else the one prepared for. */
static const struct catalog_driver *present_branch(const struct doctor *d)
{
	const char *branch = vgpu_state_get(&d->state, "BRANCH");
	const struct catalog_driver *installed =
	    d->driver ? catalog_driver_by_version(d->s.catalog, d->driver) : NULL;

	if (!installed && !branch)
		branch = json_string_value(json_object_get(d->installed, "branch"));
	return installed ? installed : branch ? catalog_driver(d->s.catalog, branch) : NULL;
}

static int other_pairs(struct doctor *d, const struct choices *l, char **ret)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(4096);

	for (size_t i = 0, shown = 0; i < l->n && shown < 4; i++)
		if (l->v[i].verdict == CHOICE_FITS && ++shown)
			(void)strbuf_printf(&b, "%s%s",
					    shown > 1 ? ", " : "for this kernel: ", l->v[i].driver->branch);
	if (b.len == 0)
		(void)strbuf_puts(&b, "nvdriver vgpu step 1 offers a kernel that fits");
	(void)d;
	return strbuf_steal(&b, ret);
}

/* Is the kernel within the branch's bounds, and which pair would be? */
static int check_kernel(struct doctor *d)
{
	_cleanup_(choices_done) struct choices l = { 0 };
	_cleanup_free_ char *next = NULL;
	const struct catalog_driver *branch = present_branch(d);
	struct choice_request q = { NULL, chosen_support(d), d->s.machine.pve_major, d->s.machine.kernel };
	const struct choice *c;
	size_t at;

	if (!branch)
		return say(d, "kernel", "ok", NULL, "no branch is chosen yet");
	if (cards_choose(&d->s.cards, vgpu_state_get(&d->state, "CARD"), &at, NULL) == 0 &&
	    d->s.cards.v[at].info.branches)
		q.info = &d->s.cards.v[at].info;
	if (choices_make(d->s.catalog, &q, &l) < 0)
		return -ENOMEM;
	c = choices_find(&l, branch->branch);
	if (c->verdict == CHOICE_FITS)
		return say(d, "kernel", "ok", NULL, "branch %s goes with kernel %s", branch->branch,
			   d->s.machine.kernel);
	if (other_pairs(d, &l, &next) < 0)
		return -ENOMEM;
	return say(d, "kernel", "fail", next, "branch %s does not go with this host: %s", branch->branch,
		   c->reason);
}

/* Installed kernels that could be booted and would find no driver. */
static int kernels_without(const struct doctor *d, char **ret)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(4096);

	for (char **k = d->s.machine.kernels; k && *k; k++)
		if (!vgpu_machine_has_dkms(&d->s.machine, *k, "nvidia"))
			(void)strbuf_printf(&b, "%s%s", b.len ? ", " : "; there is none for ", *k);
	return strbuf_steal(&b, ret);
}

static int check_modules_built(struct doctor *d)
{
	const char *next_kernel = vgpu_machine_next_kernel(&d->s.machine);
	_cleanup_free_ char *without = NULL;

	if (!d->driver)
		return d->installed
			   ? say(d, "driver", "fail",
				 "dmesg | grep -i nvrm; /var/log/nvidia-installer.log and DKMS's make.log",
				 "driver %s was installed and is not loaded",
				 json_string_value(json_object_get(d->installed, "version")))
			   : say(d, "driver", vgpu_state_get(&d->state, "STEP") ? "warn" : "ok",
				 "nvdriver vgpu step 2 installs it", "the host driver is not loaded");
	if (!vgpu_machine_has_dkms(&d->s.machine, next_kernel, "nvidia"))
		return say(d, "driver", "warn", "install that kernel's headers and run: dkms autoinstall",
			   "driver %s runs, and no module of it was built for kernel %s, which boots next",
			   d->driver, next_kernel);
	if (kernels_without(d, &without) < 0)
		return -ENOMEM;
	return say(d, "driver", "ok", NULL, "driver %s is loaded, and built for %s, which boots next%s",
		   d->driver, next_kernel, without);
}

static int check_daemon(struct doctor *d, const char *unit)
{
	_cleanup_(answer_done) struct answer a = { 0 };
	int r = TOOLS_ASK(d->s.en->host, &a, NULL, "systemctl", "show", "-p", "ActiveState,Result", unit);

	if (r < 0)
		return say(d, "daemons", "unknown", NULL, "%s cannot be asked", unit);
	if (strstr(a.out, "ActiveState=failed") ||
	    (strstr(a.out, "Result=") && !strstr(a.out, "Result=success")))
		return say(d, "daemons", "fail", "journalctl -u nvidia-vgpud -u nvidia-vgpu-mgr", "%s failed",
			   unit);
	/* nvidia-vgpud ends by itself on many cards. */
	return say(d, "daemons", "ok", NULL, "%s did not fail", unit);
}

static int check_daemons(struct doctor *d)
{
	int r;

	if (!d->driver)
		return 0;
	r = check_daemon(d, "nvidia-vgpud.service");
	return r < 0 ? r : check_daemon(d, "nvidia-vgpu-mgr.service");
}

static int check_types(struct doctor *d)
{
	bool vendor = d->types.n > 0 && d->types.v[0].vendor;

	if (!d->driver)
		return 0;
	if (d->types.n > 0)
		return say(d, "types", "ok", NULL, "%zu vGPU types are offered%s", d->types.n,
			   vendor ? " by the virtual functions; that mdevctl shows none is normal here" : "");
	return say(d, "types", "fail",
		   "check that the IOMMU is on, the daemons run and, on Ampere and newer, that virtual "
		   "functions are on",
		   "the driver is loaded and offers no vGPU types");
}

/* -- what step 2 did -- */

/* The card for vGPU: the one that was chosen, else the only one that can be. NULL when that cannot be told. */
static const struct card *chosen_card(const struct doctor *d)
{
	const char *wanted = vgpu_state_get(&d->state, "CARD");
	size_t at;

	if (!wanted)
		wanted = json_string_value(json_object_get(d->installed, "card"));
	return cards_choose(&d->s.cards, wanted, &at, NULL) == 0 ? &d->s.cards.v[at] : NULL;
}

const char *vgpu_smi_reason(const char *text, bool unlock)
{
	static const struct {
		const char *text;
		bool normal_for_unlock; /* the library is in the daemons alone */
	} bad[] = {
		{ "couldn't communicate", false },
		{ "could not communicate", false },
		{ "no supported devices in vgpu mode", true },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (strcasestr(text, bad[i].text) && !(unlock && bad[i].normal_for_unlock))
			return bad[i].text;
	return NULL;
}

static int check_smi(struct doctor *d)
{
	_cleanup_(answer_done) struct answer a = { 0 };
	const char *reason;

	if (!d->driver || TOOLS_ASK(d->s.en->host, &a, NULL, "nvidia-smi", "vgpu") < 0)
		return 0;
	reason = vgpu_smi_reason(a.out, chosen_support(d) == CARD_UNLOCK);
	if (reason)
		return say(d, "nvidia-smi", "fail", "dmesg | grep -i nvrm", "nvidia-smi vgpu: %s", reason);
	return say(d, "nvidia-smi", "ok", NULL, "nvidia-smi vgpu answers%s%s",
		   strstr(a.out, d->driver) ? " with driver " : "",
		   strstr(a.out, d->driver) ? d->driver : "");
}

/* Secure Boot lets no unsigned module in, and one signed with another key neither. */
static int check_signer(struct doctor *d)
{
	_cleanup_(answer_done) struct answer a = { 0 };
	struct span signer;

	if (!d->installed || d->s.machine.secureboot.secure_boot != TRI_YES)
		return 0;
	if (TOOLS_ASK(d->s.en->host, &a, NULL, "modinfo", "-F", "signer", "nvidia") < 0 || a.status != 0)
		return say(d, "signature", "unknown", "modinfo -F signer nvidia",
			   "who signed the module cannot be asked");
	signer = span_trim(SPAN(a.out));
	if (signer.len == 0)
		return say(d, "signature", "fail",
			   "enrol the key (nvdriver vgpu step 2), then: dkms build and install with --force",
			   "the nvidia module carries no signature, and Secure Boot is on");
	return say(d, "signature", "ok", NULL, "the nvidia module is signed by " SPAN_FMT, SPAN_ARG(signer));
}

static int check_functions(struct doctor *d)
{
	const struct card *c = chosen_card(d);
	json_auto_t *list = c ? json_pack("[s]", c->pci.address) : NULL;

	if (!d->driver || !c || c->support == CARD_UNLOCK || c->total_vfs == 0)
		return 0;
	if (list && vgpu_functions_on(d->s.en->host, list))
		return say(d, "functions", "ok", NULL, "%s has its virtual functions", c->pci.address);
	return say(d, "functions", "fail", "nvdriver vgpu step 2 switches them on at every boot",
		   "%s offers %u virtual functions and none is on", c->pci.address, c->total_vfs);
}

/* Is what was fetched and made still what it was? */
static int check_downloads(struct doctor *d)
{
	json_auto_t *meta = NULL;
	const json_t *sha256;
	const char *path;
	unsigned good = 0;

	if (vgpu_deployed(d->s.en, "download", &meta, NULL) < 0 || !meta)
		return 0;
	json_object_foreach (json_object_get(meta, "files"), path, sha256) {
		char found[SHA256_HEX_SIZE] = "";
		int r = sha256_file_at(d->s.en->host->root_fd, path, found);

		if (r == 0 && json_string_value(sha256) && strcmp(found, json_string_value(sha256)) == 0)
			good++;
		else if (say(d, "downloads", "fail", "move it away and run nvdriver vgpu step 2",
			     r == -ENOENT ? "/%s is gone" : "/%s is not what was checked when it came",
			     path) < 0)
			return -ENOMEM;
	}
	return good ? say(d, "downloads", "ok", NULL, "%u files are what was checked when they came", good)
		    : 0;
}

/* Is each card with the driver it was chosen for? */
static int check_drivers(struct doctor *d)
{
	_cleanup_(text_files_done) struct text_files rules = { 0 };
	const struct card *chosen = chosen_card(d);
	int r = 0;

	if (!d->installed || !chosen || text_files_read(&rules, d->s.en->host, CARDS_RULES, NULL) < 0)
		return 0;
	for (size_t i = 0; r == 0 && i < d->s.cards.n; i++) {
		const struct card *c = &d->s.cards.v[i];
		bool away = rules.n > 0 && strstr(rules.v[0].bytes, c->pci.address) != NULL;
		const char *want = away ? "vfio-pci" : c == chosen ? "nvidia" : NULL;

		if (want && (!c->pci.driver || strcmp(c->pci.driver, want) != 0))
			r = say(d, "card-driver", "fail",
				away ? "reboot; udev gives it to passthrough then" : "dmesg | grep -i nvrm",
				"%s is with %s instead of %s", c->pci.address,
				c->pci.driver ? c->pci.driver : "no driver", want);
	}
	return r;
}

static bool has_text(const struct doctor *d, const char *path, const char *text)
{
	_cleanup_(text_files_done) struct text_files files = { 0 };

	return text_files_read(&files, d->s.en->host, path, NULL) >= 0 && files.n > 0 &&
	       strstr(files.v[0].bytes, text);
}

/* Does a process of that name map the unlock library? Unknown when none runs, or when it cannot be looked into. */
static enum tristate daemon_maps(const struct doctor *d, const char *name)
{
	int fd = d->s.en->host->proc_fd < 0 ? -EBADF : dir_open_at(d->s.en->host->proc_fd, ".");
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	enum tristate found = TRI_UNKNOWN;

	if (!dir) {
		close_fdp(&fd);
		return found;
	}
	for (struct dirent *entry; found == TRI_UNKNOWN && (entry = readdir(dir));) {
		_cleanup_free_ char *comm = NULL, *maps = NULL;
		char path[300];

		if (!isdigit((unsigned char)*entry->d_name))
			continue;
		(void)snprintf(path, sizeof(path), "%s/comm", entry->d_name);
		if (read_line_at(dirfd(dir), path, &comm) < 0 || strcmp(comm, name) != 0)
			continue;
		(void)snprintf(path, sizeof(path), "%s/maps", entry->d_name);
		if (read_file_at(dirfd(dir), path, MAPS_MAX, &maps, NULL) == 0)
			found = strstr(maps, "libvgpu_unlock_rs.so") ? TRI_YES : TRI_NO;
	}
	(void)closedir(dir);
	return found;
}

static int check_unlock_loaded(struct doctor *d)
{
	static const char *const daemons[] = { "nvidia-vgpud", "nvidia-vgpu-mgr" };
	int r = 0;

	for (size_t i = 0; r == 0 && d->driver && i < ARRAY_LEN(daemons); i++)
		if (daemon_maps(d, daemons[i]) == TRI_NO)
			r = say(d, "unlock", "fail", "systemctl restart nvidia-vgpud nvidia-vgpu-mgr",
				"%s runs without the unlock library", daemons[i]);
	return r;
}

/* Both files are read by both daemons at their start, and end it when they cannot be. */
static int check_unlock_file(struct doctor *d, const char *path,
			     int (*check)(struct span, struct unlock_problems *))
{
	_cleanup_(text_files_done) struct text_files files = { 0 };
	_cleanup_(unlock_problems_done) struct unlock_problems problems = { 0 };

	if (text_files_read(&files, d->s.en->host, path, NULL) < 0)
		return say(d, "unlock-config", "fail",
			   "correct it, then restart nvidia-vgpud and nvidia-vgpu-mgr", "/%s cannot be read",
			   path);
	if (files.n == 0)
		return 0;
	if (check((struct span){ files.v[0].bytes, files.v[0].len }, &problems) < 0)
		return -ENOMEM;
	if (problems.list)
		return say(d, "unlock-config", problems.fatal ? "fail" : "warn",
			   problems.fatal ? "correct it: the daemons end when they start with it"
					  : "correct it",
			   "/%s: %s", path, problems.list[0]);
	return say(d, "unlock-config", "ok", NULL, "/%s is well formed", path);
}

uint64_t vgpu_smi_memory(const char *text, const char *address)
{
	struct span rest = SPAN(text), line;

	while (span_line(&rest, &line)) {
		const char *comma = memchr(line.p, ',', line.len);
		struct span bus = span_trim((struct span){ line.p, comma ? (size_t)(comma - line.p) : 0 });
		size_t n = strlen(address);
		uint64_t mib;

		/* Its domain has eight digits, ours four. */
		if (bus.len < n || strncasecmp(bus.p + bus.len - n, address, n) != 0 ||
		    parse_u64(span_trim((struct span){ comma + 1, line.len - (size_t)(comma + 1 - line.p) }),
			      UINT32_MAX, &mib) < 0)
			continue;
		return mib << 20;
	}
	return 0;
}

/* Do the overrides fit the card they are for? */
static int check_unlock_fit(struct doctor *d)
{
	_cleanup_(text_files_done) struct text_files files = { 0 };
	_cleanup_(unlock_problems_done) struct unlock_problems problems = { 0 };
	_cleanup_(answer_done) struct answer a = { 0 };
	const struct card *c = chosen_card(d);
	uint64_t memory = 0;

	if (text_files_read(&files, d->s.en->host, UNLOCK_PROFILE, NULL) < 0 || files.n == 0)
		return 0;
	if (c && d->driver &&
	    TOOLS_ASK(d->s.en->host, &a, NULL, "nvidia-smi", "--query-gpu=pci.bus_id,memory.total",
		      "--format=csv,noheader,nounits") == 0 &&
	    a.status == 0)
		memory = vgpu_smi_memory(a.out, c->pci.address);
	if (unlock_profile_fits((struct span){ files.v[0].bytes, files.v[0].len }, memory, &problems) < 0)
		return -ENOMEM;
	for (char **p = problems.list; p && *p; p++)
		if (say(d, "unlock-config", "warn", "make it smaller", "/" UNLOCK_PROFILE ": %s", *p) < 0)
			return -ENOMEM;
	return 0;
}

static int check_unlock_files(struct doctor *d)
{
	int r;

	if (!path_exists(d->s.en->host->root_fd, UNLOCK_LIBRARY))
		return 0;
	r = check_unlock_file(d, UNLOCK_CONFIG, unlock_config_check);
	if (r >= 0)
		r = check_unlock_file(d, UNLOCK_PROFILE, unlock_profile_check);
	return r < 0 ? r : check_unlock_fit(d);
}

static int check_unlock(struct doctor *d)
{
	const struct card *c = chosen_card(d);
	const char *as = c ? unlock_presented(c->pci.device) : NULL;

	if (chosen_support(d) != CARD_UNLOCK) {
		if (d->driver && path_exists(d->s.en->host->root_fd, UNLOCK_LIBRARY) &&
		    !has_text(d, UNLOCK_CONFIG, "unlock = false"))
			return say(d, "unlock", "warn", "put unlock = false into /" UNLOCK_CONFIG,
				   "the unlock library is installed, and the card needs none");
		return 0;
	}
	if (c && !as)
		return say(d, "unlock", "warn", NULL, "the unlock library does not know device 10de:%04x",
			   c->pci.device);
	if (!path_exists(d->s.en->host->root_fd, UNLOCK_LIBRARY))
		return say(d, "unlock", "fail", "nvdriver vgpu step 1 builds it",
			   "the unlock library is not installed");
	if (check_unlock_loaded(d) < 0)
		return -ENOMEM;
	return say(d, "unlock", "ok", NULL, "the unlock library is installed%s%s",
		   as ? "; it presents the card as " : "", as ? as : "");
}

/* The number of a "hostpciN: …,mdev=nvidia-256" line; -1. */
static int wanted_type(struct span line)
{
	const char *p = span_starts(line, "hostpci") ? memmem(line.p, line.len, "mdev=nvidia-", 12) : NULL;
	uint64_t id;
	size_t n;

	if (!p)
		return -1;
	p += 12;
	for (n = 0; p + n < line.p + line.len && p[n] >= '0' && p[n] <= '9';)
		n++;
	return parse_u64((struct span){ p, n }, UINT16_MAX, &id) < 0 ? -1 : (int)id;
}

static bool is_offered(const struct doctor *d, int id)
{
	for (size_t i = 0; i < d->types.n; i++)
		if ((int)d->types.v[i].id == id)
			return true;
	return false;
}

static int check_guests(struct doctor *d)
{
	static const char *const suffixes[] = { ".conf", NULL };
	_cleanup_(text_files_done) struct text_files files = { 0 };
	int r = 0;

	if (!d->driver ||
	    text_files_read_dir(&files, d->s.en->host, "etc/pve/qemu-server", suffixes, NULL) < 0)
		return 0;
	for (size_t i = 0; r == 0 && i < files.n; i++) {
		struct span rest = { files.v[i].bytes, files.v[i].len }, line;

		while (r == 0 && span_line(&rest, &line)) {
			int id = wanted_type(line);

			if (id >= 0 && !is_offered(d, id))
				r = say(d, "guests", "warn",
					"choose another type in the guest's hardware settings",
					"/%s asks for type nvidia-%d, which the driver does not offer",
					files.v[i].path, id);
		}
	}
	return r;
}

void vgpu_smi_newer_guest(const char *text, const char *host_version, char ret[32])
{
	static const char key[] = "Guest Driver Version";
	struct span rest = SPAN(text), line;

	ret[0] = '\0';
	while (span_line(&rest, &line)) {
		const char *colon = memchr(line.p, ':', line.len);
		struct span version;

		if (!span_starts(span_trim(line), key) || !colon)
			continue;
		version = span_trim((struct span){ colon + 1, line.len - (size_t)(colon + 1 - line.p) });
		if (version.len == 0 || version.len >= 32 || !isdigit((unsigned char)*version.p))
			continue;
		(void)snprintf(ret, 32, SPAN_FMT, SPAN_ARG(version));
		if (catalog_major(ret) > catalog_major(host_version))
			return;
		ret[0] = '\0';
	}
}

/* A guest's driver may be older than the host's, never of a newer branch. */
static int check_guest_drivers(struct doctor *d)
{
	_cleanup_(answer_done) struct answer a = { 0 };
	char newer[32];

	if (!d->driver || TOOLS_ASK(d->s.en->host, &a, NULL, "nvidia-smi", "vgpu", "-q") < 0 || a.status != 0)
		return 0;
	vgpu_smi_newer_guest(a.out, d->driver, newer);
	if (!*newer)
		return 0;
	return say(d, "guests", "fail", "nvdriver vgpu guest lists the drivers of this host's branch",
		   "a running guest has driver %s, of a newer branch than the host's %s", newer, d->driver);
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

/* What keeps guests from their licences, the weightiest first; NULL when nothing does. */
static const char *server_fault(const json_t *s, const char **ret_next)
{
	static const struct {
		const char *key, *value, *text, *next;
	} rows[] = {
		{ "keys", "missing", "the licence server's keys are gone", "nvdriver vgpu license server" },
		{ "keys", "exposed", "others can read the licence server's keys",
		  "chmod 600 /" LICENSE_CERT_DIR "/*.key /" LICENSE_CERT_DIR "/instance.private.pem" },
		{ "container", "absent", "the licence server's container is gone",
		  "nvdriver vgpu license server" },
		{ "container", "exited", "the licence server's container has ended",
		  "docker logs " LICENSE_SERVICE },
		{ "health", "down", "the licence server does not answer", "docker logs " LICENSE_SERVICE },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strcmp(text_of(s, rows[i].key), rows[i].value) == 0) {
			*ret_next = rows[i].next;
			return rows[i].text;
		}
	return NULL;
}

static int check_license(struct doctor *d)
{
	json_auto_t *state = NULL;
	const json_t *server;
	const char *next = NULL, *fault;

	if (license_state(d->s.en, true, &state, NULL) < 0)
		return say(d, "license", "unknown", NULL, "the licence server's files cannot be read");
	server = json_object_get(state, "server");
	if (!json_is_object(server))
		return 0;
	fault = server_fault(server, &next);
	if (fault)
		return say(d, "license", "fail", next, "%s", fault);
	if (!json_is_true(json_object_get(server, "certificate_names_address")))
		return say(d, "license", "warn",
			   "move webserver.crt away and run nvdriver vgpu license server again",
			   "the licence server's certificate does not name %s", text_of(server, "address"));
	return say(d, "license", "ok", NULL, "the licence server is set up at %s, health %s",
		   text_of(server, "address"), text_of(server, "health"));
}

/* Those marked are what has to be right once the driver is installed. */
static const struct {
	int (*look)(struct doctor *);
	bool after_install;
} checks[] = {
	{ check_host, false },	       { check_repositories, false },
	{ check_boot, false },	       { check_iommu, false },
	{ check_key, false },	       { check_cards, false },
	{ check_nouveau, false },      { check_kernel, false },
	{ check_modules_built, true }, { check_signer, true },
	{ check_smi, true },	       { check_daemons, true },
	{ check_unlock, true },	       { check_unlock_files, true },
	{ check_functions, true },     { check_drivers, true },
	{ check_downloads, true },     { check_types, true },
	{ check_guests, false },       { check_guest_drivers, false },
	{ check_license, false },
};

static int look_at(struct engine *en, const char *gpu_db_beside, bool all, json_t **ret_checks,
		   unsigned *ret_findings, struct err *e)
{
	_cleanup_(doctor_done) struct doctor d = { .state = { .lock = LOCK_INIT } };
	int r = doctor_open(&d, en, gpu_db_beside, e);

	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(checks); i++)
		if ((all || checks[i].after_install) && checks[i].look(&d) < 0)
			r = err_oom(e);
	if (r < 0)
		return r;
	*ret_checks = json_incref(d.checks);
	*ret_findings = d.findings;
	return 0;
}

int vgpu_doctor(struct engine *en, const char *gpu_db_beside, json_t **ret_checks, unsigned *ret_findings,
		struct err *e)
{
	return look_at(en, gpu_db_beside, true, ret_checks, ret_findings, e);
}

int vgpu_verify(struct engine *en, const char *gpu_db_beside, json_t **ret_checks, unsigned *ret_findings,
		struct err *e)
{
	return look_at(en, gpu_db_beside, false, ret_checks, ret_findings, e);
}

/* -- status -- */

static json_t *cards_json(const struct doctor *d)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < d->s.cards.n; i++) {
		const struct card *c = &d->s.cards.v[i];

		(void)json_array_append_new(
		    list,
		    json_pack("{s:s, s:o, s:s?, s:s, s:s?, s:i, s:i, s:i, s:s?}", "address", c->pci.address,
			      "device_id", json_sprintf("%04x", c->pci.device), "name", c->info.name,
			      "support", card_support_word(c->support), "driver", c->pci.driver,
			      "iommu_group", c->group, "total_vfs", (int)c->total_vfs, "vfs",
			      (int)vgpu_functions_count(d->s.en->host, c->pci.address), "presented_as",
			      c->support == CARD_UNLOCK ? unlock_presented(c->pci.device) : NULL));
	}
	return list;
}

static json_t *types_json(const struct doctor *d)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < d->types.n; i++) {
		const struct vgpu_type *t = &d->types.v[i];

		(void)json_array_append_new(
		    list,
		    json_pack("{s:s, s:i, s:s, s:i, s:b, s:i, s:i}", "address", t->address, "id", (int)t->id,
			      "name", t->name, "available", t->available, "vendor_vfio", (int)t->vendor,
			      "framebuffer_mib", (int)t->framebuffer_mib, "displays", (int)t->displays));
	}
	return list;
}

static json_t *deployments_json(struct engine *en, const char *target)
{
	json_auto_t *all = NULL;
	json_t *list = json_array(), *item;
	size_t i;

	if (!en->store || plan_history(&en->state, target, &all, NULL) < 0)
		return list;
	json_array_foreach (all, i, item) {
		json_t *meta = json_object_get(item, "meta"), *group = json_object_get(meta, "group");
		const char *role = json_string_value(json_object_get(meta, "role"));
		const char *state = json_string_value(json_object_get(item, "state"));

		if (role && strcmp(role, "vgpu") == 0 && state && strcmp(state, "applied") == 0 && group)
			(void)json_array_append(list, group);
	}
	return list;
}

/* What starts at boot, and what holds a vGPU now. */
static json_t *units_json(const struct doctor *d)
{
	static const char *const units[] = { "nvidia-vgpud.service", "nvidia-vgpu-mgr.service",
					     SERVICES_OWN_UNIT };
	const struct host *h = d->s.en->host;
	json_t *list = json_array();

	for (size_t i = 0; list && i < ARRAY_LEN(units); i++)
		if (unit_is_there(h, units[i]))
			(void)json_array_append_new(list, json_pack("{s:s, s:b}", "unit", units[i], "enabled",
								    (int)unit_is_enabled(h, units[i])));
	return list;
}

static json_t *in_use_json(const struct doctor *d)
{
	_cleanup_strv_ char **list = NULL;

	return vgpu_in_use(d->s.en->host, &list) < 0 ? NULL : list ? jstrv(list) : json_array();
}

int vgpu_status(struct engine *en, const char *gpu_db_beside, json_t **ret, struct err *e)
{
	_cleanup_(doctor_done) struct doctor d = { .state = { .lock = LOCK_INIT } };
	const struct catalog_driver *branch;
	json_auto_t *license = NULL;
	int r = doctor_open(&d, en, gpu_db_beside, e);

	if (r < 0)
		return r;
	branch = present_branch(&d);
	r = license_state(en, true, &license, e);
	if (r < 0)
		return r;
	*ret = json_pack("{s:s, s:s, s:s?, s:s?, s:s?, s:s?, s:s?, s:b, s:b, s:s, s:o, s:o, s:o, s:O, s:O, "
			 "s:O?, s:b, s:o, s:o}",
			 "pve_version", d.s.machine.pve_version, "kernel", d.s.machine.kernel, "step",
			 vgpu_state_get(&d.state, "STEP"), "card", vgpu_state_get(&d.state, "CARD"), "branch",
			 branch ? branch->branch : NULL, "driver_version", d.driver, "pinned_kernel",
			 d.s.machine.pinned, "iommu", (int)d.s.machine.iommu_on, "secure_boot",
			 (int)(d.s.machine.secureboot.secure_boot == TRI_YES), "signing_key",
			 mok_state_word(d.s.mok), "cards", cards_json(&d), "types", types_json(&d),
			 "deployments", deployments_json(en, d.state.target), "steps", d.state.steps,
			 "license", license, "installed", d.installed, "unlock_library",
			 (int)path_exists(en->host->root_fd, UNLOCK_LIBRARY), "units", units_json(&d),
			 "in_use", in_use_json(&d));
	return *ret ? 0 : err_oom(e);
}
