/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-step1.h"

#include "log.h"
#include "path.h"
#include "strbuf.h"
#include "vgpu-apt.h"
#include "vgpu-modules.h"
#include "vgpu-plan.h"
#include "vgpu-rollback.h"
#include "vgpu-space.h"
#include "vgpu-tools.h"
#include "err-vgpu.h"

#include <string.h>

#define HELPER	     "pve-nvidia-vgpu-helper"
#define HELPER_MAJOR 18 /* branch from which it is meant */

void step1_done(struct step1 *s)
{
	vgpu_machine_done(&s->machine);
	cards_done(&s->cards);
	catalog_freep(&s->catalog);
	kernel_choice_done(&s->kernel);
	freep(&s->mok_password);
	freep(&s->mok_hash);
	strv_freep(&s->notes);
}

#define note(s, ...) vgpu_note(&(s)->notes, __VA_ARGS__)

static int take_notes(struct step1 *s, char *const *notes)
{
	int r = 0;

	for (; r == 0 && notes && *notes; notes++)
		r = note(s, "%s", *notes);
	return r;
}

int step1_open(struct step1 *s, struct err *e)
{
	_cleanup_(gpu_db_freep) struct gpu_db *own = NULL, *user = NULL;
	int r = vgpu_machine_read(s->en->host, &s->machine, e);

	if (r >= 0)
		r = catalog_load(NULL, &s->catalog, e);
	if (r >= 0)
		r = gpu_db_open(NULL, &own, e);
	if (r >= 0 && (s->gpu_db || s->gpu_db_beside))
		r = gpu_db_open(s->gpu_db ? s->gpu_db : s->gpu_db_beside, &user, e);
	if (r >= 0)
		r = cards_read(s->en->host, own, user, s->gpu_db != NULL, &s->cards, e);
	if (r >= 0)
		r = mok_state_read(&s->machine, &s->mok, e);
	if (r >= 0 && take_notes(s, s->cards.notes) < 0)
		r = err_oom(e);
	return r;
}

/* -- decisions -- */

static int listing(const struct step1 *s, char **ret)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(STRBUF_TEXT_MAX);

	for (size_t i = 0; i < s->cards.n; i++) {
		const struct card *c = &s->cards.v[i];
		char id[24];

		(void)snprintf(id, sizeof(id), "device 10de:%04x", c->pci.device);
		(void)strbuf_printf(&b, "  %zu) %s  %s: %s\n", i + 1, c->pci.address,
				    c->info.name ? c->info.name : id, card_verdict(c->support));
	}
	return strbuf_steal(&b, ret);
}

static int choose_card(struct step1 *s, struct err *e)
{
	_cleanup_free_ char *list = NULL, *answer = NULL;
	int r;

	if (s->card_wanted)
		return cards_choose(&s->cards, s->card_wanted, &s->card, e);
	if (s->cards.n == 1)
		return cards_choose(&s->cards, NULL, &s->card, e);
	if (listing(s, &list) < 0)
		return err_oom(e);
	/* A wrong answer is asked again; three are enough. */
	for (int tries = 0;; tries++) {
		freep(&answer);
		if (ask_text(s->ask, "card", "", &answer, "%sWhich card is for vGPU? ", list) < 0)
			return err_oom(e);
		err_done(e);
		r = cards_choose(&s->cards, answer, &s->card, e);
		if (r >= 0 || !s->ask->prompt || tries == 2)
			return r;
	}
}

/* A card no table has: the person says what it is. */
static int decide_unknown(struct step1 *s, struct err *e)
{
	_cleanup_free_ char *answer = NULL;
	const struct card *c = &s->cards.v[s->card];

	if (ask_text(s->ask, "unknown_card", "stop", &answer,
		     "10de:%04x is in no table. Treat it as native, as unlock, or stop? ", c->pci.device) < 0)
		return err_oom(e);
	if (strcmp(answer, "native") == 0)
		s->support = CARD_NATIVE;
	else if (strcmp(answer, "unlock") == 0)
		s->support = CARD_UNLOCK;
	else
		return err_set(e, ERR_VGPU_CARD, "10de:%04x is in no table of cards", c->pci.device);
	return note(s, "10de:%04x was taken for %s on your word; please report the card", c->pci.device,
		    answer) < 0
		   ? err_oom(e)
		   : 0;
}

int step1_decide_card(struct step1 *s, struct err *e)
{
	const struct card *c;
	int r;

	if (s->cards.n == 0) {
		r = ask_yes(s->ask, "no_card", false, "No NVIDIA card was found. Go on all the same? ");
		if (r < 0)
			return err_oom(e);
		return r ? 0 : err_set(e, ERR_DECLINED, "no NVIDIA card was found");
	}
	r = choose_card(s, e);
	if (r < 0)
		return r;
	s->has_card = true;
	c = &s->cards.v[s->card];
	s->support = c->support;
	if (s->support == CARD_UNKNOWN)
		return decide_unknown(s, e);
	if (s->support != CARD_NONE)
		return 0;
	(void)err_set(e, ERR_VGPU_CARD, "%s (10de:%04x) has no vGPU", c->info.name, c->pci.device);
	return err_object(e, "%s", c->pci.address);
}

static int decide_others(struct step1 *s, struct err *e)
{
	int r;

	if (s->cards.n < 2 || !s->has_card)
		return 0;
	r = ask_yes(s->ask, "passthrough", false, "Give the other %zu card%s to passthrough? ",
		    s->cards.n - 1, s->cards.n > 2 ? "s" : "");
	s->passthrough = r > 0;
	return r < 0 ? err_oom(e) : 0;
}

/* Releases of kernel packages the archive offers. */
static int archive_kernels(const struct step1 *s, char ***ret, struct err *e)
{
	static const char *const prefixes[] = { "proxmox-kernel-", "pve-kernel-" };
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(prefixes); i++) {
		_cleanup_(answer_done) struct answer a = { 0 };
		struct span rest, line;

		r = TOOLS_ASK(s->en->host, &a, e, "apt-cache", "pkgnames", prefixes[i]);
		if (r == -ENOENT)
			return 0;
		rest = SPAN(r >= 0 && a.status == 0 ? a.out : "");
		while (r >= 0 && span_line(&rest, &line)) {
			_cleanup_free_ char *release = NULL;

			line = span_trim(line);
			if (!span_starts(line, prefixes[i]) || !span_ends(line, "-pve"))
				continue;
			release = strndup(line.p + strlen(prefixes[i]), line.len - strlen(prefixes[i]));
			r = release ? strv_push(ret, release) : -ENOMEM;
		}
	}
	return r == -ENOMEM ? err_oom(e) : r;
}

/* An older kernel cannot import a pool with this feature. */
static int pool_blocks_older(const struct step1 *s, struct err *e)
{
	_cleanup_(answer_done) struct answer a = { 0 };
	struct span rest, line, word;
	int r;

	if (!s->machine.root_pool)
		return 0;
	r = TOOLS_ASK(s->en->host, &a, e, "zpool", "get", "-H", "-o", "property,value", "all",
		      s->machine.root_pool);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	rest = SPAN(a.out);
	while (span_line(&rest, &line))
		if (span_word(&line, &word) && span_ends(word, "block_cloning_endian") &&
		    span_word(&line, &word))
			return span_eq(word, "enabled") || span_eq(word, "active");
	return 0;
}

static int decide_pin(struct step1 *s, const struct choice *pick, struct err *e)
{
	const char *next = vgpu_machine_next_kernel(&s->machine);
	int r = pool_blocks_older(s, e);

	if (r < 0)
		return r;
	if (r > 0)
		return err_set(e, ERR_VGPU_ZFS_KERNEL,
			       "branch %s needs a kernel up to %s, and pool %s has a feature only the "
			       "present one can read",
			       pick->driver->branch, pick->kernel_max, s->machine.root_pool);
	r = ask_yes(s->ask, "kernel_pin", true,
		    "No branch for this card builds for kernel %s. Branch %s does for %s: %s it and boot it "
		    "from now on? ",
		    next, pick->driver->branch, s->kernel.release, s->kernel.install ? "install" : "pin");
	if (r < 0)
		return err_oom(e);
	if (r == 0) {
		kernel_choice_done(&s->kernel);
		r = note(s, "kernel %s stays: the driver of branch %s will not build for it", next,
			 pick->driver->branch);
	} else {
		r = note(s, "the reboot enters kernel %s", s->kernel.release);
	}
	if (r < 0)
		return err_oom(e);
	return s->kernel.install ? space_check_kernel(&s->machine, e) : 0;
}

static int decide_kernel(struct step1 *s, const struct choice *pick, struct err *e)
{
	_cleanup_strv_ char **archive = NULL;
	const char *next = vgpu_machine_next_kernel(&s->machine);
	int r = archive_kernels(s, &archive, e);

	if (r < 0)
		return r;
	if (kernel_choose(next, s->machine.kernels, archive, pick->driver->kernel_min, pick->kernel_max,
			  &s->kernel) < 0)
		return err_oom(e);
	if (s->kernel.verdict == KERNEL_PIN)
		return decide_pin(s, pick, e);
	if (s->kernel.verdict == KERNEL_KEEP)
		return 0;
	(void)err_set(e, ERR_VGPU_KERNEL, "branch %s needs a kernel from %s to %s; the next boot enters %s",
		      pick->driver->branch, pick->driver->kernel_min, pick->kernel_max, next);
	return err_object(e, "%s", next);
}

static int named_branch(const struct choices *l, const char *name, const struct choice **ret, struct err *e)
{
	*ret = choices_find(l, name);
	if (!*ret) {
		(void)err_set(e, ERR_VGPU_BRANCH, "the register has no branch %s", name);
		return err_object(e, "%s", name);
	}
	if ((*ret)->verdict == CHOICE_NO)
		return err_set(e, ERR_VGPU_KERNEL, "branch %s: %s", name, (*ret)->reason);
	return 0;
}

struct choice_request step1_choice_request(const struct step1 *s, const char *kernel)
{
	const struct card *c = &s->cards.v[s->card];
	struct choice_request q = { &c->info, s->support, s->machine.pve_major, kernel, s->unsupported };

	/* The person's word on an unknown card says nothing of its branches. */
	if (!c->info.branches && c->support == CARD_UNKNOWN)
		q.info = NULL;
	return q;
}

/* The register with what fits first said in a line; a wrong answer is asked again, three times in all. */
static int ask_branch(const struct step1 *s, const struct choices *l, const struct choice *best,
		      const struct choice **ret, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf menu = STRBUF_INIT(STRBUF_TEXT_MAX);
	_cleanup_free_ char *majors = NULL, *answer = NULL;
	const struct card *c = &s->cards.v[s->card];
	int r;

	if (choices_majors(l, &majors) < 0 || choices_menu(l, &menu) < 0)
		return err_oom(e);
	for (int tries = 0;; tries++) {
		freep(&answer);
		if (ask_text(s->ask, "branch", best->driver->branch, &answer,
			     "%sBranches for %s on Proxmox VE %u with this kernel: %s\nWhich vGPU branch? "
			     "[%s, %s] ",
			     tries ? "" : strbuf_str(&menu), c->info.name ? c->info.name : "this card",
			     s->machine.pve_major, *majors ? majors : "none", best->driver->branch,
			     best->reason) < 0)
			return err_oom(e);
		err_done(e);
		r = named_branch(l, answer, ret, e);
		if (r >= 0 || !s->ask->prompt || tries == 2)
			return r;
	}
}

int step1_decide_branch(struct step1 *s, struct choices *l, const struct choice **ret, struct err *e)
{
	struct choice_request q = step1_choice_request(s, vgpu_machine_next_kernel(&s->machine));
	const struct choice *pick;
	int r;

	if (choices_make(s->catalog, &q, l) < 0)
		return err_oom(e);
	pick = choices_best(l);
	if (!pick && !s->branch_wanted)
		return err_set(e, ERR_VGPU_KERNEL, "no branch fits this card on Proxmox VE %s",
			       s->machine.pve_version);
	r = s->branch_wanted ? named_branch(l, s->branch_wanted, &pick, e) : ask_branch(s, l, pick, &pick, e);
	if (r < 0)
		return r;
	s->driver = pick->driver;
	*ret = pick;
	return 0;
}

static int decide_branch(struct step1 *s, struct err *e)
{
	_cleanup_(choices_done) struct choices l = { 0 };
	const struct choice *pick = NULL;
	int r = step1_decide_branch(s, &l, &pick, e);

	return r < 0 ? r : decide_kernel(s, pick, e);
}

/* Already on and nobody asked for it: only identity mappings are worth a word. */
static int decide_iommu(struct step1 *s, struct err *e)
{
	int r;

	if (!s->machine.iommu_on || strstr(s->machine.cmdline, "iommu=pt"))
		return 0;
	r = ask_yes(s->ask, "iommu_pt", true,
		    "The IOMMU is on. Add iommu=pt, which spares the host's own devices its cost? ");
	s->iommu_pt = r > 0;
	return r < 0 ? err_oom(e) : 0;
}

int step1_decide_key(struct step1 *s, struct err *e)
{
	char random[9];
	int r;

	if (s->mok != MOK_NO_KEY && s->mok != MOK_ABSENT)
		return 0;
	if (mok_random_password(random) < 0)
		return err_oom(e);
	if (ask_text(s->ask, "mok_password", random, &s->mok_password,
		     "Secure Boot is on: a key has to be confirmed in the firmware's menu after the reboot.\n"
		     "One-time password for that menu [%s]: ",
		     random) < 0)
		return err_oom(e);
	if (s->dry_run)
		return 0;
	r = mok_hash(&s->machine, s->mok_password, &s->mok_hash, e);
	if (r < 0)
		return r;
	return note(s,
		    "after the reboot choose \"Enroll MOK\" in the firmware's menu; the one-time password is "
		    "%s",
		    s->mok_password) < 0
		   ? err_oom(e)
		   : 0;
}

struct unlock_request step1_unlock(const struct step1 *s)
{
	return (struct unlock_request){ .host = s->en->host,
					.codename = s->machine.codename,
					.patches_url = s->patches_url,
					.source_url = s->source_url,
					.library = s->library,
					.patches_only = s->support != CARD_UNLOCK };
}

bool step1_needs_patch(const struct step1 *s)
{
	return s->has_card && (s->support == CARD_UNLOCK ||
			       (s->unsupported && s->driver &&
				choice_is_revived(&s->cards.v[s->card].info, s->driver->branch)));
}

/* Other people's work is fetched only when the person has read whose it is. */
static int decide_unlock(struct step1 *s, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(4096);
	struct unlock_request q = step1_unlock(s);
	int r;

	if (!step1_needs_patch(s) || !unlock_must_fetch(&q))
		return 0;
	if (unlock_notice(&q, &b) < 0)
		return err_oom(e);
	if (s->en->offline)
		return err_set(e, ERR_OFFLINE, "the unlock components have to be fetched:\n%s",
			       strbuf_str(&b));
	r = ask_yes(s->ask, "unlock", true,
		    "This card is no vGPU card of NVIDIA's; it has to be unlocked.\n%sFetch and build that? ",
		    strbuf_str(&b));
	if (r < 0)
		return err_oom(e);
	return r ? 0 : err_set(e, ERR_DECLINED, "the unlock components are not wanted");
}

static int is_available(const struct step1 *s, const char *package, struct err *e);

/* Its own questions need a terminal, and what it does is not ours to take back: only a plain yes runs it. */
static int decide_helper(struct step1 *s, struct err *e)
{
	int r = 0;

	if (s->helper_done || s->dry_run || s->machine.pve_major < 8 || !s->driver ||
	    catalog_major(s->driver->branch) < HELPER_MAJOR)
		return 0;
	if (!vgpu_machine_has_package(&s->machine, HELPER))
		r = is_available(s, HELPER, e);
	else
		r = 1;
	if (r <= 0)
		return r;
	r = ask_yes(s->ask, "vendor_helper", false,
		    "Proxmox VE has a helper of its own for branches 18.0 and newer (" HELPER
		    " setup). Step 1 does "
		    "what it does, and can take that back.\nRun the helper as well? ");
	s->helper = r > 0;
	return r < 0 ? err_oom(e) : 0;
}

int step1_run_helper(struct step1 *s, struct err *e)
{
	_cleanup_(err_done) struct err own = ERR_INIT;
	_cleanup_(spawn_done) struct spawn run = SPAWN_INIT(HELPER);

	spawn_argv(&run, HELPER, "setup", NULL);
	run.attached = true;
	if (tools_run(s->en->host, &run, &own) >= 0)
		return 1;
	return note(s, "%s setup did not end well: %s", HELPER, own.reason ? own.reason : "no reason given") <
		       0
		   ? err_oom(e)
		   : 0;
}

int step1_decide(struct step1 *s, struct err *e)
{
	int r = step1_decide_card(s, e);

	if (r >= 0)
		r = decide_others(s, e);
	if (r >= 0 && s->has_card)
		r = decide_branch(s, e);
	if (r >= 0 && s->has_card)
		r = decide_unlock(s, e);
	if (r >= 0 && s->has_card)
		r = decide_iommu(s, e);
	if (r >= 0)
		r = step1_decide_key(s, e);
	if (r < 0)
		return r;
	r = ask_yes(s->ask, "dist_upgrade", false, "Upgrade all packages first (apt dist-upgrade)? ");
	s->dist_upgrade = r > 0;
	if (r >= 0)
		r = decide_helper(s, e);
	if (r >= 0 && s->machine.subscription == TRI_UNKNOWN)
		r = note(
		    s,
		    "whether this host has a subscription could not be asked: it is treated as having none");
	return r < 0 ? err_oom(e) : 0;
}

/* -- groups -- */

/* Edits with what a person should know of them. */
static int add_edits(struct step1 *s, struct plan *p, const struct text_edits *edits,
		     const char *const *after, const char *what)
{
	int r = take_notes(s, edits->notes);

	return r < 0 ? r : vgpu_add_edits(p, edits, after, what);
}

static bool has_file(const char *path, void *arg)
{
	const struct step1 *s = arg;

	return path_exists(s->en->host->root_fd, path);
}

static int wanted_packages(const struct step1 *s, char ***ret, struct err *e);

static int build_repositories(struct step1 *s, struct plan *p, struct err *e)
{
	static const char *const suffixes[] = { ".list", ".sources", ".bak", NULL };
	_cleanup_(text_files_done) struct text_files files = { 0 };
	_cleanup_(text_edits_done) struct text_edits edits = { 0 };
	_cleanup_strv_ char **packages = NULL;
	struct apt_request q = { s->machine.codename, s->machine.subscription == TRI_YES, has_file, s };
	int r = text_files_read(&files, s->en->host, "etc/apt/sources.list", e);

	if (r >= 0)
		r = text_files_read_dir(&files, s->en->host, "etc/apt/sources.list.d", suffixes, e);
	if (r >= 0)
		r = wanted_packages(s, &packages, e);
	if (r < 0)
		return r;
	r = apt_edits(&files, &q, &edits);
	if (r >= 0)
		r = add_edits(s, p, &edits, NULL, NULL);
	/* Status 0 although a host did not answer is apt's default; missing packages are an error later, an index is not. */
	if (r >= 0 && (edits.n > 0 || packages || s->dist_upgrade || s->kernel.install))
		r = vgpu_add_command(p, WORDS("apt-get", "update", "--error-on=any"), NULL,
				     VGPU_APT_TIMEOUT_S, true, "read the repositories' indexes");
	return r < 0 ? err_oom(e) : 0;
}

static int build_upgrade(struct step1 *s, struct plan *p, struct err *e)
{
	if (!s->dist_upgrade)
		return 0;
	return vgpu_add_command(p,
				WORDS("apt-get", "-y", "-o", "Dpkg::Options::=--force-confdef", "-o",
				      "Dpkg::Options::=--force-confold", "dist-upgrade"),
				NULL, VGPU_APT_TIMEOUT_S, false, "upgrade all packages") < 0
		   ? err_oom(e)
		   : 0;
}

/* 1 when apt has a version to install, 0 when not; 1 too where it cannot be asked. */
static int is_available(const struct step1 *s, const char *package, struct err *e)
{
	_cleanup_(answer_done) struct answer a = { 0 };
	int r = TOOLS_ASK(s->en->host, &a, e, "apt-cache", "policy", package);

	if (r < 0)
		return r == -ENOENT ? 1 : r;
	return strstr(a.out, "Candidate:") && !strstr(a.out, "Candidate: (none)");
}

static int want(const struct step1 *s, char ***list, const char *package)
{
	if (vgpu_machine_has_package(&s->machine, package) || strv_contains(*list, package))
		return 0;
	return strv_push(list, package);
}

/* Kernel packages are named proxmox-* from 6.5 on. */
static const char *kernel_prefix(const char *release)
{
	return catalog_compare(release, "6.5") >= 0 ? "proxmox" : "pve";
}

/* The first of the three names the archive has. */
static int want_headers(const struct step1 *s, char ***list, const char *release, struct err *e)
{
	char *names[3] = { str_printf("%s-headers-%s", kernel_prefix(release), release),
			   str_printf("pve-headers-%s", release), str_printf("linux-headers-%s", release) };
	int r = names[0] && names[1] && names[2] ? 0 : -ENOMEM;
	bool done = false;

	for (size_t i = 0; r >= 0 && !done && i < ARRAY_LEN(names); i++)
		done = vgpu_machine_has_package(&s->machine, names[i]);
	for (size_t i = 0; r >= 0 && !done && i < ARRAY_LEN(names); i++) {
		r = is_available(s, names[i], e);
		if (r > 0) {
			r = want(s, list, names[i]);
			done = true;
		}
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		free(names[i]);
	return r == -ENOMEM ? err_oom(e) : r < 0 ? r : 0;
}

static int wanted_packages(const struct step1 *s, char ***ret, struct err *e)
{
	struct unlock_request unlock = step1_unlock(s);
	int r = 0;

	for (const char *const *w = WORDS("build-essential", "dkms", "mdevctl"); r >= 0 && *w; w++)
		r = want(s, ret, *w);
	if (r >= 0 && step1_needs_patch(s))
		for (const char *const *w = unlock_packages(&unlock); r >= 0 && *w; w++)
			r = want(s, ret, *w);
	if (r >= 0 && s->machine.secureboot.secure_boot == TRI_YES)
		r = want(s, ret, "mokutil");
	/* Nothing else reads what that service encrypts. */
	if (r >= 0 && s->driver && !s->own_file && strcmp(s->driver->url_kind, "mega") == 0)
		r = want(s, ret, "megatools");
	if (r < 0)
		return err_oom(e);
	r = want_headers(s, ret, s->machine.kernel, e);
	if (r >= 0 && s->kernel.verdict == KERNEL_KEEP)
		r = want_headers(s, ret, vgpu_machine_next_kernel(&s->machine), e);
	if (r < 0 || s->machine.pve_major < 8 || vgpu_machine_has_package(&s->machine, HELPER))
		return r;
	r = is_available(s, HELPER, e);
	if (r > 0)
		r = want(s, ret, HELPER) < 0 ? err_oom(e) : 0;
	return r;
}

static int add_install(struct plan *p, char *const *packages, bool remove_again, const char *what)
{
	const char *run[64] = { "apt-get", "install", "-y" }, *undo[64] = { "apt-get", "remove", "-y" };
	size_t n = 3;

	for (; *packages && n < ARRAY_LEN(run) - 1; packages++, n++)
		run[n] = undo[n] = *packages;
	return vgpu_add_command(p, run, remove_again ? undo : NULL, VGPU_APT_TIMEOUT_S, false, what);
}

static int build_packages(struct step1 *s, struct plan *p, struct err *e)
{
	_cleanup_strv_ char **packages = NULL;
	int r = wanted_packages(s, &packages, e);

	if (r < 0 || !packages)
		return r;
	return add_install(p, packages, true, "install what building needs") < 0 ? err_oom(e) : 0;
}

static int kernel_packages(const struct step1 *s, char ***ret, struct err *e)
{
	const char *release = s->kernel.release, *prefix = kernel_prefix(release);
	_cleanup_free_ char *image = str_printf("%s-kernel-%s", prefix, release),
			    *image_signed = str_printf("%s-kernel-%s-signed", prefix, release),
			    *headers = str_printf("%s-headers-%s", prefix, release);
	int r;

	if (!image || !image_signed || !headers)
		return err_oom(e);
	r = s->machine.secureboot.secure_boot == TRI_YES ? is_available(s, image_signed, e) : 0;
	if (r < 0)
		return r;
	if (s->kernel.install && want(s, ret, r > 0 ? image_signed : image) < 0)
		return err_oom(e);
	return want(s, ret, headers) < 0 ? err_oom(e) : 0;
}

/* The kernel's packages stay when it is taken back: the machine may be running it. */
static int build_kernel(struct step1 *s, struct plan *p, struct err *e)
{
	_cleanup_strv_ char **packages = NULL;
	const char *release = s->kernel.release, *pinned = s->machine.pinned;
	int r;

	if (!release || (pinned && strcmp(pinned, release) == 0))
		return 0;
	r = kernel_packages(s, &packages, e);
	if (r < 0)
		return r;
	if (packages)
		r = add_install(p, packages, false, "install the older kernel with its headers");
	if (r >= 0)
		r = vgpu_add_command(p, WORDS("proxmox-boot-tool", "kernel", "pin", release),
				     pinned ? WORDS("proxmox-boot-tool", "kernel", "pin", pinned)
					    : WORDS("proxmox-boot-tool", "kernel", "unpin"),
				     VGPU_TOOL_TIMEOUT_S, false, "boot that kernel from now on");
	return r < 0 ? err_oom(e) : 0;
}

static int build_rollback(struct step1 *s, struct plan *p, struct err *e)
{
	return s->rollback_s ? rollback_add(s->en->host, s->rollback_s, p, e) : 0;
}

static int build_unlock_sources(struct step1 *s, struct plan *p, struct err *e)
{
	struct unlock_request q = step1_unlock(s);

	if (!step1_needs_patch(s))
		return 0;
	return unlock_add_sources(&q, p) < 0 ? err_oom(e) : 0;
}

static int build_unlock(struct step1 *s, struct plan *p, struct err *e)
{
	struct unlock_request q = step1_unlock(s);

	return s->has_card && s->support == CARD_UNLOCK ? unlock_add_library(&q, p, e) : 0;
}

static int build_unlock_config(struct step1 *s, struct plan *p, struct err *e)
{
	struct unlock_request q = step1_unlock(s);

	return s->has_card && s->support == CARD_UNLOCK ? unlock_add_config(&q, p, e) : 0;
}

/* Proxmox VE has one package for the whole signed chain from 8.1 on. It stays when the rest is taken back: the machine
 * boots through it. */
static int add_signed_chain(struct step1 *s, struct plan *p, struct err *e)
{
	static const char whole[] = "proxmox-secure-boot-support";
	_cleanup_strv_ char **packages = NULL;
	int r = 0;

	if (catalog_compare(s->machine.pve_version, "8.1") >= 0)
		r = vgpu_machine_has_package(&s->machine, whole) ? 1 : is_available(s, whole, e);
	if (r < 0)
		return r;
	for (const char *const *w = r > 0 ? WORDS(whole) : WORDS("shim-signed", "grub-efi-amd64-signed"); *w;
	     w++)
		if (want(s, &packages, *w) < 0)
			return err_oom(e);
	return packages && add_install(p, packages, false, "install the signed boot loaders") < 0 ? err_oom(e)
												  : 0;
}

static int build_secureboot(struct step1 *s, struct plan *p, struct err *e)
{
	int r = s->machine.secureboot.secure_boot == TRI_YES ? add_signed_chain(s, p, e) : 0;

	if (r < 0)
		return r;
	return mok_add_ops(&s->machine, s->mok, s->mok_hash, p, e);
}

static int boot_words(const struct step1 *s, const char *configured, char ***ret, struct err *e)
{
	static const char *const by_cpu[] = { [CPU_INTEL] = "intel_iommu=on", [CPU_AMD] = "amd_iommu=on" };
	const char *word = by_cpu[s->machine.cpu];
	bool asked_for = word && strstr(configured, word);
	int r = 0;

	if (!word)
		return err_set(e, ERR_UNSUPPORTED, "the processor is neither Intel's nor AMD's");
	if (!s->machine.iommu_on || asked_for)
		r = strv_push(ret, word);
	if (r >= 0 && (!s->machine.iommu_on || asked_for || s->iommu_pt))
		r = strv_push(ret, "iommu=pt");
	return r < 0 ? err_oom(e) : 0;
}

static int build_boot(struct step1 *s, struct plan *p, struct err *e)
{
	static const char *const suffixes[] = { ".cfg", NULL };
	_cleanup_(text_files_done) struct text_files files = { 0 };
	_cleanup_(text_edits_done) struct text_edits edits = { 0 };
	_cleanup_strv_ char **words = NULL;
	_cleanup_free_ char *configured = NULL;
	struct boot_path path = boot_path_find(&s->machine.boot);
	int r;

	if (!s->has_card)
		return 0;
	r = text_files_read(&files, s->en->host, BOOT_GRUB_DEFAULT, e);
	if (r >= 0)
		r = text_files_read_dir(&files, s->en->host, BOOT_GRUB_DIR, suffixes, e);
	if (r >= 0)
		r = text_files_read(&files, s->en->host, BOOT_KERNEL_CMDLINE, e);
	if (r >= 0 && boot_cmdline_next(&files, &path, false, &configured, NULL) < 0)
		r = err_oom(e);
	if (r >= 0)
		r = boot_words(s, configured, &words, e);
	if (r >= 0 && words)
		r = boot_edits(&files, &path, words, &edits, e);
	if (r < 0)
		return r;
	return add_edits(s, p, &edits,
			 path.managed ? WORDS("proxmox-boot-tool", "refresh") : WORDS("update-grub"),
			 path.managed ? "pass them on to the boot partitions" : "make GRUB's menu anew") < 0
		   ? err_oom(e)
		   : 0;
}

static int build_cards(struct step1 *s, struct plan *p, struct err *e)
{
	_cleanup_(text_files_done) struct text_files files = { 0 };
	_cleanup_(text_edits_done) struct text_edits edits = { 0 };
	const struct text_file *old;
	int r;

	if (!s->has_card)
		return 0;
	r = text_files_read(&files, s->en->host, CARDS_RULES, e);
	if (r < 0)
		return r;
	old = text_files_find(&files, CARDS_RULES);
	if (s->passthrough)
		r = cards_passthrough(&s->cards, s->card, old, &edits, e);
	else if (cards_keep(&s->cards, s->card, old, &edits) < 0)
		r = err_oom(e);
	if (r < 0)
		return r;
	return add_edits(s, p, &edits, NULL, NULL) < 0 ? err_oom(e) : 0;
}

static bool has_module(const char *name, void *arg)
{
	const struct step1 *s = arg;
	const char *next = s->kernel.release ? s->kernel.release : vgpu_machine_next_kernel(&s->machine);

	return vgpu_machine_has_module(&s->machine, next, name) ||
	       vgpu_machine_has_module(&s->machine, s->machine.kernel, name);
}

static int build_modules(struct step1 *s, struct plan *p, struct err *e)
{
	static const char *const suffixes[] = { ".conf", NULL };
	_cleanup_(text_files_done) struct text_files files = { 0 };
	_cleanup_(text_edits_done) struct text_edits edits = { 0 };
	struct modules_request q = { s->kernel.release ? s->kernel.release
						       : vgpu_machine_next_kernel(&s->machine),
				     s->passthrough, has_module, s };
	int r = text_files_read(&files, s->en->host, "etc/modules", e);

	if (r >= 0)
		r = text_files_read_dir(&files, s->en->host, "etc/modules-load.d", suffixes, e);
	if (r >= 0)
		r = text_files_read_dir(&files, s->en->host, "etc/modprobe.d", suffixes, e);
	if (r < 0)
		return r;
	r = modules_edits(&files, &q, &edits);
	if (r >= 0)
		r = add_edits(s, p, &edits, WORDS("update-initramfs", "-u", "-k", "all"),
			      "make the initial file systems anew");
	return r < 0 ? err_oom(e) : 0;
}

const struct step1_group step1_groups[] = {
	{ "repositories", "set up the package repositories", build_repositories },
	{ "upgrade", "upgrade the system", build_upgrade },
	{ "packages", "install packages", build_packages },
	{ "unlock_sources", "fetch the unlock components", build_unlock_sources },
	{ "unlock", "build and install the unlock library", build_unlock },
	{ "unlock_config", "make room for your own profiles", build_unlock_config },
	{ "rollback", "prepare the way back", build_rollback },
	{ "kernel", "choose the kernel", build_kernel },
	{ "secureboot", "sign modules for Secure Boot", build_secureboot },
	{ "boot", "switch the IOMMU on", build_boot },
	{ "cards", "share out the cards", build_cards },
	{ "modules", "choose the modules loaded at boot", build_modules },
	{ 0 },
};

int step1_plan(struct step1 *s, const struct step1_group *g, struct plan **ret, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	int r = vgpu_plan_new(s->en, g->name, g->title, &p, e);

	if (r < 0)
		return r;
	r = g->build(s, p, e);
	if (r < 0)
		return err_wrap(e, "%s", g->title);
	*ret = TAKE_PTR(p);
	return 0;
}

int step1_check(struct step1 *s, struct err *e)
{
	int r = 0;

	for (const struct step1_group *g = step1_groups; r >= 0 && g->name; g++) {
		_cleanup_(plan_freep) struct plan *p = NULL;

		r = step1_plan(s, g, &p, e);
	}
	return r;
}

char *step1_majors(const struct step1 *s)
{
	const char *branches = s->has_card ? s->cards.v[s->card].info.branches : NULL;
	char *copy = strdup(branches ? branches : "");

	for (char *p = copy; p && *p; p++)
		if (*p == ';')
			*p = ',';
	return copy;
}
