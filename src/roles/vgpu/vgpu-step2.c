/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-step2.h"

#include "digest.h"
#include "path.h"
#include "publish.h"
#include "spawn.h"
#include "strbuf.h"
#include "vgpu-installer.h"
#include "vgpu-newkernel.h"
#include "vgpu-ops.h"
#include "vgpu-services.h"
#include "vgpu-tools.h"
#include "err-vgpu.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define UNINSTALLER "usr/bin/nvidia-uninstall"
#define VGPU_CONFIG "usr/share/nvidia/vgpu/vgpuConfig.xml"

void step2_done(struct step2 *t)
{
	step1_done(&t->s);
	json_decref(t->overrides);
	json_decref(t->deployed);
	driver_result_done(&t->got);
	driver_patch_result_done(&t->patched);
	free(t->reboot);
	free(t->path);
	free(t->version);
	strv_freep(&t->recalled);
	strv_freep(&t->kept);
	strv_freep(&t->words);
}

/* A person's own word on which patch belongs to which branch or file. */
static int read_overrides(struct step2 *t, struct err *e)
{
	_cleanup_close_ int dir = vgpu_dir_open(t->s.en->host, false, e);
	int r = 0;

	if (dir >= 0)
		r = driver_patches_load(dir, "driver_patches.json", &t->overrides, e);
	else if (dir != -ENOENT)
		r = dir;
	if (r >= 0 && !t->overrides && t->overrides_beside)
		r = driver_patches_load(AT_FDCWD, t->overrides_beside, &t->overrides, e);
	return r;
}

int step2_open(struct step2 *t, struct err *e)
{
	int r = step1_open(&t->s, e);

	if (r >= 0)
		r = read_overrides(t, e);
	return r < 0 ? r : vgpu_deployed(t->s.en, "driver", &t->deployed, e);
}

static const char *remembered(const struct step2 *t, const char *key)
{
	const char *text = t->state ? vgpu_state_get(t->state, key) : NULL;

	return text && *text ? text : NULL;
}

/* The same as a copy of ours: the state is written again before everything is done. */
static const char *recalled(struct step2 *t, const char *key)
{
	const char *text = remembered(t, key);
	size_t n = strv_len(t->recalled);

	return text && strv_push(&t->recalled, text) == 0 ? t->recalled[n] : NULL;
}

static const char *deployed_text(const struct step2 *t, const char *key)
{
	return json_string_value(json_object_get(t->deployed, key));
}

/* -- the card -- */

/* The card of step 1 is still the one at that address. */
static int check_card(const struct step2 *t, struct err *e)
{
	const struct card *c = &t->s.cards.v[t->s.card];
	const char *device = remembered(t, "CARD_DEVICE");
	char id[8];

	(void)snprintf(id, sizeof(id), "%04x", c->pci.device);
	if (!t->card_recalled || !device || strcmp(device, id) == 0)
		return 0;
	(void)err_set(e, ERR_VGPU_CARD_CHOICE, "%s was 10de:%s when step 1 chose it and is 10de:%s now",
		      c->pci.address, device, id);
	return err_object(e, "%s", c->pci.address);
}

static int decide_card(struct step2 *t, struct err *e)
{
	const char *support = remembered(t, "VGPU_SUPPORT");
	const struct card *c;
	int r;

	if (!t->s.card_wanted) {
		t->s.card_wanted = recalled(t, "CARD");
		t->card_recalled = t->s.card_wanted != NULL;
	}
	if (!t->s.card_wanted)
		t->s.card_wanted = deployed_text(t, "card");
	r = step1_decide_card(&t->s, e);
	if (r < 0 || !t->s.has_card)
		return r < 0 ? r : err_set(e, ERR_VGPU_CARD, "no NVIDIA card was found");
	c = &t->s.cards.v[t->s.card];
	/* What the person said of an unknown card in step 1 still holds. */
	if (c->support == CARD_UNKNOWN && support && card_support_parse(support) != CARD_UNKNOWN)
		t->s.support = card_support_parse(support);
	return check_card(t, e);
}

/* -- the driver -- */

/* The command line beats what step 1 was told; an address beats a file, a file the register. */
static void choose_source(struct step2 *t)
{
	if (t->url || t->file || t->branch)
		return;
	t->url = recalled(t, "URL");
	t->file = t->url ? NULL : recalled(t, "FILE");
	if (t->url || t->file)
		return;
	t->branch = recalled(t, "BRANCH");
	if (!t->branch)
		t->branch = deployed_text(t, "branch");
}

static const struct catalog_driver *row_of_source(const struct step2 *t)
{
	const char *name = t->url ? t->url : t->file;
	const char *slash = name ? strrchr(name, '/') : NULL;

	if (t->branch)
		return catalog_driver(t->s.catalog, t->branch);
	return name ? catalog_driver_by_file(t->s.catalog, slash ? slash + 1 : name) : NULL;
}

static int decide_driver(struct step2 *t, struct err *e)
{
	_cleanup_(choices_done) struct choices l = { 0 };
	const struct choice *pick = NULL;
	int r = 0;

	choose_source(t);
	if (!t->url && !t->file && !t->branch) {
		r = step1_decide_branch(&t->s, &l, &pick, e);
		if (r < 0)
			return r;
		t->branch = t->s.driver->branch;
	}
	t->s.driver = row_of_source(t);
	if (t->branch && !t->s.driver) {
		(void)err_set(e, ERR_VGPU_BRANCH, "the register has no branch %s", t->branch);
		return err_object(e, "%s", t->branch);
	}
	return 0;
}

static bool is_overridden(const struct step2 *t, const struct catalog_driver *d)
{
	return json_object_get(t->overrides, d->branch) || json_object_get(t->overrides, d->file);
}

/* An unlock card needs the patch: known before hundreds of megabytes are fetched. */
static int check_patch(const struct step2 *t, struct err *e)
{
	const struct catalog_driver *d = t->s.driver;
	const struct catalog_patch *p = d ? catalog_patch(t->s.catalog, d->branch) : NULL;

	if (!step1_needs_patch(&t->s) || !d || t->driver_patch || is_overridden(t, d) ||
	    (p && strcmp(p->status, "mapped") == 0))
		return 0;
	(void)err_set(e, ERR_VGPU_NO_PATCH, "no unlock patch is mapped to branch %s", d->branch);
	return err_object(e, "%s", d->branch);
}

/* -- the kernel -- */

static int reboot_first(struct step2 *t, const char *fmt, ...) _printf_(2, 3);

static int reboot_first(struct step2 *t, const char *fmt, ...)
{
	va_list ap;

	if (t->reboot)
		return 0;
	va_start(ap, fmt);
	t->reboot = str_vprintf(fmt, ap);
	va_end(ap);
	return t->reboot ? 0 : -ENOMEM;
}

static int go_on_unfit(struct step2 *t, const struct choice *c, struct err *e)
{
	int r = ask_yes(t->s.ask, "kernel_unfit", false, "Branch %s %s. Install it all the same? ",
			c->driver->branch, c->reason);

	if (r < 0)
		return err_oom(e);
	if (r > 0)
		return vgpu_note(&t->s.notes, "branch %s %s: it was installed on your word",
				 c->driver->branch, c->reason) < 0
			   ? err_oom(e)
			   : 0;
	(void)err_set(e, ERR_VGPU_KERNEL, "branch %s %s", c->driver->branch, c->reason);
	return err_object(e, "%s", t->s.machine.kernel);
}

static int check_fits(struct step2 *t, struct err *e)
{
	_cleanup_(choices_done) struct choices now = { 0 }, next = { 0 };
	const char *later = vgpu_machine_next_kernel(&t->s.machine);
	struct choice_request q = step1_choice_request(&t->s, t->s.machine.kernel);
	const struct choice *c;

	if (!t->s.driver)
		return 0;
	if (choices_make(t->s.catalog, &q, &now) < 0)
		return err_oom(e);
	q.kernel = later;
	if (choices_make(t->s.catalog, &q, &next) < 0)
		return err_oom(e);
	c = choices_find(&now, t->s.driver->branch);
	if (!c || c->verdict == CHOICE_FITS)
		return 0;
	if (c->verdict == CHOICE_NO) {
		(void)err_set(e, ERR_VGPU_BRANCH, "branch %s: %s", c->driver->branch, c->reason);
		return err_object(e, "%s", c->driver->branch);
	}
	if (choices_find(&next, t->s.driver->branch)->verdict == CHOICE_FITS)
		return reboot_first(t, "kernel %s runs, and the driver is for %s, which boots next",
				    t->s.machine.kernel, later) < 0
			   ? err_oom(e)
			   : 0;
	return go_on_unfit(t, c, e);
}

static int check_others(struct step2 *t, struct err *e)
{
	static const char *const drivers[] = { "nouveau", "nova_core" };

	for (size_t i = 0; i < ARRAY_LEN(drivers); i++)
		if (kmods_find(&t->s.machine.modules, drivers[i]) &&
		    reboot_first(t, "%s still holds cards; step 1 keeps it away from the next boot on",
				 drivers[i]) < 0)
			return err_oom(e);
	return 0;
}

/* -- Secure Boot and the IOMMU -- */

static int check_key(struct step2 *t, struct err *e)
{
	bool queue = t->s.mok == MOK_NO_KEY || t->s.mok == MOK_ABSENT;
	int r = queue ? step1_decide_key(&t->s, e) : 0;

	if (r < 0)
		return r;
	if (queue)
		r = reboot_first(t, "the signing key has to be confirmed: choose \"Enroll MOK\" in the "
				    "firmware's menu at the next boot");
	else if (t->s.mok == MOK_PENDING)
		r = reboot_first(t, "the signing key waits to be confirmed: choose \"Enroll MOK\" in the "
				    "firmware's menu at the next boot");
	else if (t->s.mok == MOK_UNKNOWN)
		r = vgpu_note(&t->s.notes,
			      "Secure Boot is on, and mokutil does not say whether the key %s is "
			      "enrolled",
			      MOK_CERT);
	return r < 0 ? err_oom(e) : 0;
}

static int check_iommu(struct step2 *t, struct err *e)
{
	const struct vgpu_machine *m = &t->s.machine;
	const char *firmware = m->cpu == CPU_AMD ? "AMD IOMMU (AMD-Vi)" : "VT-d";
	int r;

	if (m->iommu_on)
		return 0;
	r = ask_yes(t->s.ask, "no_iommu", false,
		    "The IOMMU is off: switch on %s in the firmware, and run step 1 for the kernel's words "
		    "(%s iommu=pt). Without it no virtual machine gets a vGPU. Go on? ",
		    firmware, m->cpu == CPU_AMD ? "amd_iommu=on" : "intel_iommu=on");
	if (r > 0)
		r = vgpu_note(&t->s.notes, "the IOMMU is off: switch on %s in the firmware", firmware);
	else if (r == 0)
		return err_set(e, ERR_VGPU_IOMMU,
			       "no IOMMU group exists; %s is off in the firmware, or the "
			       "kernel was started without its words",
			       firmware);
	return r < 0 ? err_oom(e) : 0;
}

/* -- what is there already -- */

/* A driver of ours that is not the wanted one goes first, and not by the way. */
static int check_present(struct step2 *t, struct err *e)
{
	const char *version = deployed_text(t, "version");
	bool installed = path_exists(t->s.en->host->root_fd, UNINSTALLER);

	if (version && installed && t->s.driver && !t->url && !t->file)
		t->have = strcmp(version, t->s.driver->version) == 0;
	if (version && t->s.driver && strcmp(version, t->s.driver->version) != 0)
		return err_set(e, ERR_VGPU_OTHER, "driver %s was installed here, and %s is wanted", version,
			       t->s.driver->version);
	if (!version && installed)
		return vgpu_note(&t->s.notes,
				 "a driver nobody recorded is replaced; it cannot be brought back "
				 "(nvdriver vgpu upgrade removes it first)") < 0
			   ? err_oom(e)
			   : 0;
	return 0;
}

/* What the vendor's installer needs, before hundreds of megabytes are fetched for it. */
static int check_tools(const struct step2 *t, struct err *e)
{
	static const char *const tools[] = { "dkms", "make", "cc" };

	for (size_t i = 0; t->s.en->host->is_running && !t->s.dry_run && i < ARRAY_LEN(tools); i++) {
		_cleanup_free_ char *path = NULL;

		if (spawn_find(tools[i], &path) < 0) {
			(void)err_set(e, ERR_TOOL_MISSING, "%s is not installed", tools[i]);
			return err_next(e, "run: nvdriver vgpu step 1");
		}
	}
	return 0;
}

int step2_decide(struct step2 *t, struct err *e)
{
	static int (*const parts[])(struct step2 *, struct err *) = {
		decide_card, decide_driver, check_key, check_others, check_fits, check_iommu, check_present,
	};
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(parts); i++)
		r = parts[i](t, e);
	if (r >= 0)
		r = check_patch(t, e);
	return r < 0 || t->have ? r : check_tools(t, e);
}

/* -- the file -- */

/* The path as the host names it: what is below the root without it. */
static int host_path(const struct step2 *t, const char *path, char **ret, struct err *e)
{
	_cleanup_free_ char *real = realpath(path, NULL), *root = realpath(t->s.en->host->root, NULL);
	size_t n = root ? strlen(root) : 0;

	if (!real)
		real = strdup(path);
	if (!real)
		return err_oom(e);
	if (n > 1 && strncmp(real, root, n) == 0 && real[n] == '/')
		*ret = strdup(real + n);
	else
		*ret = TAKE_PTR(real);
	return *ret ? 0 : err_oom(e);
}

/* VGPU_DIR as this process names it. */
static char *own_dir(const struct step2 *t)
{
	const char *root = t->s.en->host->root;

	return str_printf("%s/" VGPU_DIR, strcmp(root, "/") == 0 ? "" : root);
}

static int fetch(struct step2 *t, int dirfd, const char *dir, struct err *e)
{
	const struct driver_request q = { .catalog = t->s.catalog,
					  .url = t->url,
					  .file = t->url ? NULL : t->file,
					  .branch = t->branch,
					  .dirfd = dirfd,
					  .dir_path = dir,
					  .sha256 = t->sha256,
					  .accept_md5 = t->accept_md5,
					  .offline = t->s.en->offline,
					  .dry_run = t->s.dry_run,
					  .proxy = t->proxy ? t->proxy : t->s.en->fetch_proxy,
					  .ca_file = t->ca_file,
					  .attempts = t->s.en->fetch_attempts };
	int r = driver_get(&q, &t->got, e);

	for (char **n = t->got.notes; r >= 0 && n && *n; n++)
		if (vgpu_note(&t->s.notes, "%s", *n) < 0)
			r = err_oom(e);
	if (r >= 0 && t->got.row)
		t->s.driver = t->got.row;
	return r;
}

static int patch(struct step2 *t, int dirfd, const char *dir, struct err *e)
{
	_cleanup_free_ char *patches = str_printf("%s/vgpu-proxmox", dir);
	const struct driver_patch_request q = { .catalog = t->s.catalog,
						.overrides = t->overrides,
						.file = t->got.path,
						.branch = t->branch,
						.patch = t->driver_patch,
						.patches_dir = patches,
						.dirfd = dirfd,
						.dry_run = t->s.dry_run };
	int r = patches ? driver_patch(&q, &t->patched, e) : err_oom(e);

	for (char **n = t->patched.notes; r >= 0 && n && *n; n++)
		if (vgpu_note(&t->s.notes, "%s", *n) < 0)
			r = err_oom(e);
	return r;
}

static int keep(struct step2 *t, const char *name)
{
	_cleanup_free_ char *path = str_printf(VGPU_DIR "/%s", name);

	return !path || strv_push(&t->kept, path) < 0 ? -ENOMEM : 0;
}

/* Which file is run, and which files are ours to remove again. */
static int settle(struct step2 *t, const char *dir, struct err *e)
{
	_cleanup_free_ char *custom = NULL, *meta = NULL;
	const char *digest = t->got.facts.sha256;
	size_t n = strlen(dir);
	int r = 0;

	/* What the person laid down elsewhere stays the person's. */
	if (t->got.path && strncmp(t->got.path, dir, n) == 0 && t->got.path[n] == '/' && (!t->file || t->url))
		r = keep(t, t->got.path + n + 1);
	if (r >= 0 && t->got.archive && t->url && strncmp(t->got.archive, dir, n) == 0)
		r = keep(t, t->got.archive + n + 1);
	if (r >= 0 && *t->patched.name) {
		custom = str_printf("%s/%s", dir, t->patched.name);
		meta = str_printf("%s.meta", t->patched.name);
		r = custom && meta && keep(t, t->patched.name) >= 0 ? keep(t, meta) : -ENOMEM;
		digest = json_string_value(json_object_get(t->patched.record, "sha256"));
	}
	if (r < 0)
		return err_oom(e);
	(void)snprintf(t->sha256_run, sizeof(t->sha256_run), "%s", digest ? digest : "");
	return host_path(t, custom ? custom : t->got.path ? t->got.path : t->got.archive, &t->path, e);
}

static bool needs_open(const struct step2 *t)
{
	const char *architecture = t->s.cards.v[t->s.card].info.architecture;

	return architecture && strcmp(architecture, "Blackwell") == 0;
}

static int choose_words(struct step2 *t, struct err *e)
{
	const struct driver_facts *f = &t->got.facts;
	/* Nothing to look into before it is there: every driver since 515 has both kinds. */
	struct installer_request q = { .version = t->version,
				       .has_proprietary = f->version ? f->has_proprietary : true,
				       .has_open =
					   f->version ? f->has_open : catalog_major(t->version) >= 515,
				       .is_unlock = step1_needs_patch(&t->s),
				       .needs_open = needs_open(t) };
	int r = installer_words(&q, &t->words, e);

	if (r < 0 || t->s.machine.secureboot.secure_boot != TRI_YES)
		return r;
	return strv_push(&t->words, "--module-signing-secret-key=" MOK_KEY) < 0 ||
		       strv_push(&t->words, "--module-signing-public-key=" MOK_CERT) < 0
		   ? err_oom(e)
		   : 0;
}

static int learn_version(struct step2 *t, struct err *e)
{
	const char *version = t->got.facts.version ? t->got.facts.version
			      : t->s.driver	   ? t->s.driver->version
						   : NULL;
	const char *slash = t->url ? strrchr(t->url, '/') : NULL;

	if (version)
		t->version = strdup(version);
	else if (slash && catalog_file_version(slash + 1, &t->version) < 0)
		t->version = NULL;
	if (!t->version)
		return version ? err_oom(e)
			       : err_set(e, ERR_VGPU_DRIVER,
					 "which driver this is shows only once it is there; "
					 "run it without --dry-run");
	return 0;
}

static int obtain(struct step2 *t, const char *dir, struct err *e)
{
	_cleanup_close_ int dirfd = -EBADF;
	bool unlock;
	int r;

	dirfd = vgpu_dir_open(t->s.en->host, !t->s.dry_run, e);
	if (dirfd == -ENOENT)
		dirfd = open(t->s.en->host->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return dirfd;
	/* What a killed run was writing; the state's lock keeps a second one out. */
	if (!t->s.dry_run)
		(void)publish_sweep(dirfd);
	r = fetch(t, dirfd, dir, e);
	unlock = step1_needs_patch(&t->s);
	if (r >= 0 && unlock && (!t->s.dry_run || t->got.facts.version))
		r = patch(t, dirfd, dir, e);
	if (r >= 0)
		r = learn_version(t, e);
	if (r >= 0)
		r = settle(t, dir, e);
	return r < 0 ? r : choose_words(t, e);
}

int step2_obtain(struct step2 *t, struct err *e)
{
	_cleanup_free_ char *dir = own_dir(t);
	int r;

	if (t->have)
		return 0;
	r = dir ? obtain(t, dir, e) : err_oom(e);
	/* What has arrived is continued the next time; a directory without anything in it is not kept for that. */
	if (!t->s.dry_run)
		vgpu_dir_drop(t->s.en->host);
	return r;
}

/* -- groups -- */

static int build_key(struct step2 *t, struct plan *p, struct err *e)
{
	return mok_add_ops(&t->s.machine, t->s.mok, t->s.mok_hash, p, e);
}

/* Are these the files the newest deployment of the group keeps? */
static int is_kept(struct step2 *t, const json_t *files, struct err *e)
{
	json_t *meta = NULL;
	int r = vgpu_deployed(t->s.en, "download", &meta, e), same;

	same = meta && json_equal(json_object_get(meta, "files"), files);
	json_decref(meta);
	return r < 0 ? r : same;
}

/* Digests of the files that are ours; "" of one a dry run has not fetched. */
static int digest_kept(const struct step2 *t, json_t *files, struct err *e)
{
	int r = 0;

	for (char **path = t->kept; r >= 0 && path && *path; path++) {
		char sha256[SHA256_HEX_SIZE] = "";

		r = sha256_file_at(t->s.en->host->root_fd, *path, sha256);
		if (r < 0 && !(r == -ENOENT && t->s.dry_run))
			return err_errno(e, r, "cannot read /%s", *path);
		r = json_object_set_new(files, *path, json_string(sha256)) < 0 ? err_oom(e) : 0;
	}
	return r;
}

static int build_download(struct step2 *t, struct plan *p, struct err *e)
{
	json_auto_t *files = json_object();
	const char *path;
	json_t *sha256;
	int r = files ? digest_kept(t, files, e) : err_oom(e);

	if (r >= 0)
		r = json_object_size(files) ? is_kept(t, files, e) : 1;
	if (r != 0)
		return r < 0 ? r : 0;
	json_object_foreach (files, path, sha256)
		if (vgpu_add_file(p, path, json_string_value(sha256)) < 0)
			return err_oom(e);
	return json_object_set(p->meta, "files", files) < 0 ? err_oom(e) : 0;
}

static int headers(const struct step2 *t, char ***ret)
{
	int r = 0;

	for (char **p = t->s.machine.packages; r >= 0 && p && *p; p++)
		if (strstr(*p, "-headers-") && span_ends(SPAN(*p), t->s.machine.kernel))
			r = strv_push(ret, *p);
	return r;
}

static int build_driver(struct step2 *t, struct plan *p, struct err *e)
{
	_cleanup_strv_ char **list = NULL;
	const char *sha256 = deployed_text(t, "sha256");
	json_t *meta;

	if (t->have || (sha256 && *t->sha256_run && strcmp(sha256, t->sha256_run) == 0 &&
			path_exists(t->s.en->host->root_fd, UNINSTALLER)))
		return 0;
	meta = json_pack("{s:s, s:s, s:s, s:s?, s:s, s:s}", "version", t->version, "sha256", t->sha256_run,
			 "file", t->path, "branch", step2_branch(t), "card",
			 t->s.cards.v[t->s.card].pci.address, "support", card_support_word(t->s.support));
	if (!meta || json_object_update_new(p->meta, meta) < 0 || headers(t, &list) < 0 ||
	    vgpu_add_installer(p, t->path, t->words, t->version, list) < 0)
		return err_oom(e);
	return 0;
}

/* Types of cards the branch dropped stand in the file of an older branch only. The original comes back when taken back. */
static int build_config(struct step2 *t, struct plan *p, struct err *e)
{
	char real[PATH_MAX], base[PATH_MAX], sha256[SHA256_HEX_SIZE];
	struct stat st;
	int r;

	if (!t->vgpu_config)
		return 0;
	if (!realpath(t->vgpu_config, real) || stat(real, &st) < 0)
		return err_errno(e, -errno, "cannot find %s", t->vgpu_config);
	memcpy(base, real, sizeof(base));
	r = sha256_file_at(AT_FDCWD, real, sha256);
	if (r < 0)
		return err_errno(e, r, "cannot read %s", t->vgpu_config);
	return plan_add(p, &op_files,
			json_pack("{s:s, s:[{s:s, s:s, s:i, s:I, s:s, s:s}]}", "base", dirname(base),
				  "entries", "path", VGPU_CONFIG, "type", "file", "mode", 0644, "size",
				  (json_int_t)st.st_size, "sha256", sha256, "from", strrchr(real, '/') + 1),
			"offer the types of %s: /" VGPU_CONFIG, t->vgpu_config) < 0
		   ? err_oom(e)
		   : 0;
}

static int build_services(struct step2 *t, struct plan *p, struct err *e)
{
	return services_add_daemons(t->s.en->host, t->s.dry_run && !t->have, p, &t->s.notes) < 0 ? err_oom(e)
												 : 0;
}

static int build_functions(struct step2 *t, struct plan *p, struct err *e)
{
	return services_add_functions(t->s.en->host, &t->s.cards, t->s.card, p, e);
}

static int build_hook(struct step2 *t, struct plan *p, struct err *e)
{
	return newkernel_add_hook(t->s.en->host, t->hold_kernel, p) < 0 ? err_oom(e) : 0;
}

const struct step2_group step2_groups[] = {
	{ "secureboot", "sign modules for Secure Boot", build_key },
	{ "download", "keep the driver's files", build_download },
	{ "driver", "install the host driver", build_driver },
	{ "vgpu_config", "offer an older branch's types", build_config },
	{ "services", "start the driver's daemons", build_services },
	{ "functions", "switch on virtual functions", build_functions },
	{ "hook", "look at new kernels", build_hook },
	{ 0 },
};

int step2_plan(struct step2 *t, const struct step2_group *g, struct plan **ret, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	int r = vgpu_plan_new(t->s.en, g->name, g->title, &p, e);

	if (r < 0)
		return r;
	r = g->build(t, p, e);
	if (r < 0)
		return err_wrap(e, "%s", g->title);
	*ret = TAKE_PTR(p);
	return 0;
}

/* -- afterwards -- */

const char *step2_branch(const struct step2 *t)
{
	return t->s.driver ? t->s.driver->branch : deployed_text(t, "branch");
}

/* What a person who wants it all the same should know. */
static int note_unsupported(struct step2 *t)
{
	if (!t->s.unsupported || !step1_needs_patch(&t->s))
		return 0;
	return vgpu_note(
	    &t->s.notes, "this card with this branch is supported by nobody%s",
	    t->vgpu_config || path_exists(t->s.en->host->root_fd, VGPU_CONFIG)
		? ""
		: "; its types stand in vgpuConfig.xml of a 16.x package (name it with --vgpu-config)");
}

int step2_guidance(struct step2 *t)
{
	const char *branch = step2_branch(t);
	const struct catalog_release *rel = branch ? catalog_release(t->s.catalog, branch) : NULL;
	int r = note_unsupported(t);

	if (r < 0 || !branch)
		return r;
	if (rel && (*rel->guest_linux || *rel->guest_windows))
		r = vgpu_note(&t->s.notes,
			      "guests of branch %s: Linux %s, Windows %s; a guest's driver is of the "
			      "host's branch, never of a newer major (nvdriver vgpu guest %s, or "
			      "NVIDIA's licensing portal)",
			      branch, *rel->guest_linux ? rel->guest_linux : "-",
			      *rel->guest_windows ? rel->guest_windows : "-", branch);
	if (r >= 0 && catalog_major(branch) >= 18)
		r = vgpu_note(&t->s.notes, "guests of branch 18.0 and newer take licences from NVIDIA's own "
					   "service, or from FastAPI-DLS 2 with their licence daemon patched "
					   "(nvdriver vgpu license)");
	return r;
}
