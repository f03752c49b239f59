/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-unlock.h"

#include "digest.h"
#include "elffile.h"
#include "path.h"
#include "strbuf.h"
#include "vgpu-origins.h"
#include "err-vgpu.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>

#define UNLOCK_DIR  "usr/lib/nvdriver"
#define CARGO_HOME  "/" VGPU_DIR "/cargo"
#define RUSTUP_HOME "/" VGPU_DIR "/rustup"
#define RUSTUP_INIT "/" VGPU_DIR "/rustup-init"
#define RUSTUP_URL  "https://static.rust-lang.org/rustup/dist/x86_64-unknown-linux-gnu/rustup-init"
#define TARGET	    "/" UNLOCK_SOURCE "/target"
#define BUILT	    TARGET "/release/libvgpu_unlock_rs.so"

#define BUILD_TIMEOUT_S 3600

const struct unlock_project unlock_projects[] = {
	{ ORIGIN_PATCHES, NULL, UNLOCK_PATCHES },
	{ ORIGIN_UNLOCK, "v2.5.0", UNLOCK_SOURCE },
	{ 0 },
};

static bool is_source(const struct unlock_project *p)
{
	return p->release != NULL;
}

const char *unlock_url(const struct unlock_request *q, const struct unlock_project *p)
{
	const char *other = is_source(p) ? q->source_url : q->patches_url;

	return other ? other : origin_find(p->origin)->address;
}

int unlock_notice(const struct unlock_request *q, struct strbuf *out)
{
	bool patches = q->library || q->patches_only;
	int r = origins_notice(patches ? ORIGIN_PATCHES : ORIGIN_UNLOCK_ALL, out);

	for (const struct unlock_project *p = unlock_projects; r >= 0 && p->origin; p++) {
		const struct origin *o = origin_find(p->origin);

		if (unlock_url(q, p) != o->address && !(patches && is_source(p)))
			r = strbuf_printf(out, "  %s is taken from %s instead, as asked\n", o->name,
					  unlock_url(q, p));
	}
	return r;
}

static bool there(const struct unlock_request *q, const char *path)
{
	return path_exists(q->host->root_fd, path);
}

static bool builds_here(const struct unlock_request *q)
{
	return !q->patches_only && !q->library && !there(q, UNLOCK_LIBRARY);
}

static bool is_needed(const struct unlock_request *q, const struct unlock_project *p)
{
	return !there(q, p->dir) && (!is_source(p) || builds_here(q));
}

bool unlock_must_fetch(const struct unlock_request *q)
{
	for (const struct unlock_project *p = unlock_projects; p->origin; p++)
		if (is_needed(q, p))
			return true;
	return false;
}

/* Which compiler is new enough for the library's dependencies: trixie's own, the one bookworm has for its browsers, and the
 * Rust project's for anything older. */
struct toolchain {
	const char *codename, *cargo;
	const char *packages[3];
};

static const struct toolchain *toolchain(const struct unlock_request *q)
{
	static const struct toolchain all[] = {
		{ "trixie", "cargo", { "cargo", "git" } },
		{ "bookworm", "cargo", { "cargo-web", "git" } },
		{ NULL, CARGO_HOME "/bin/cargo", { "curl", "git" } },
	};
	const struct toolchain *t = all;

	while (t->codename && strcmp(t->codename, q->codename) != 0)
		t++;
	return t;
}

const char *const *unlock_packages(const struct unlock_request *q)
{
	static const char *const git[] = { "git", NULL };

	return builds_here(q) ? toolchain(q)->packages : there(q, UNLOCK_PATCHES) ? &git[1] : git;
}

/* -- sources -- */

static int add_clone(const struct unlock_request *q, const struct unlock_project *u, struct plan *p)
{
	_cleanup_free_ char *dir = str_printf("/%s", u->dir),
			    *what = str_printf("fetch %s (%s) from %s", origin_find(u->origin)->name,
					       origin_find(u->origin)->license, unlock_url(q, u));
	const char *clone[9] = { "git", "clone", "--depth", "1" };
	size_t n = 4;

	if (!dir || !what)
		return -ENOMEM;
	if (u->release) {
		clone[n++] = "--branch";
		clone[n++] = u->release;
	}
	clone[n++] = unlock_url(q, u);
	clone[n] = dir;
	return vgpu_add_command(p, clone, WORDS("rm", "-rf", dir), VGPU_APT_TIMEOUT_S, false, what);
}

int unlock_add_sources(const struct unlock_request *q, struct plan *p)
{
	int r = 0;

	for (const struct unlock_project *u = unlock_projects; r >= 0 && u->origin; u++)
		if (is_needed(q, u))
			r = add_clone(q, u, p);
	return r;
}

/* -- the library -- */

static int add_rustup(struct plan *p)
{
	int r =
	    vgpu_add_command(p, WORDS("curl", "-fsSL", "--proto", "=https", "-o", RUSTUP_INIT, RUSTUP_URL),
			     WORDS("rm", "-f", RUSTUP_INIT), VGPU_APT_TIMEOUT_S, false,
			     "fetch the Rust project's installer from " RUSTUP_URL);

	if (r >= 0)
		r = vgpu_add_command(p, WORDS("chmod", "0755", RUSTUP_INIT), NULL, VGPU_TOOL_TIMEOUT_S, false,
				     "make it executable");
	if (r >= 0)
		r = vgpu_add_command(p,
				     WORDS("env", "CARGO_HOME=" CARGO_HOME, "RUSTUP_HOME=" RUSTUP_HOME,
					   RUSTUP_INIT, "-y", "--profile", "minimal", "--no-modify-path"),
				     WORDS("rm", "-rf", RUSTUP_HOME), BUILD_TIMEOUT_S, false,
				     "install its compiler below /" VGPU_DIR);
	return r;
}

/* Removed again when nothing else came into it. */
static int add_directory(const struct unlock_request *q, struct plan *p)
{
	if (there(q, UNLOCK_DIR))
		return 0;
	return plan_add(
	    p, &op_files,
	    json_pack("{s:[{s:s, s:s, s:i}]}", "entries", "path", UNLOCK_DIR, "type", "dir", "mode", 0755),
	    "make the directory /" UNLOCK_DIR);
}

static int add_build(const struct unlock_request *q, struct plan *p)
{
	const struct toolchain *t = toolchain(q);
	const char *build[12] = { "env",
				  "CARGO_HOME=" CARGO_HOME,
				  "RUSTUP_HOME=" RUSTUP_HOME,
				  t->cargo,
				  "build",
				  "--release",
				  "--manifest-path",
				  "/" UNLOCK_SOURCE "/Cargo.toml",
				  "--target-dir",
				  TARGET };
	int r = t->codename ? 0 : add_rustup(p);

	/* Dependencies stay at the versions the release names, where it names them. */
	if (there(q, UNLOCK_SOURCE "/Cargo.lock"))
		build[10] = "--locked";
	if (r >= 0)
		r = vgpu_add_command(p, build, WORDS("rm", "-rf", TARGET, CARGO_HOME), BUILD_TIMEOUT_S, false,
				     "build the unlock library");
	if (r >= 0)
		r = add_directory(q, p);
	if (r >= 0)
		r = vgpu_add_command(p, WORDS("install", "-m", "0644", BUILT, "/" UNLOCK_LIBRARY),
				     WORDS("rm", "-f", "/" UNLOCK_LIBRARY), VGPU_TOOL_TIMEOUT_S, false,
				     "place it as /" UNLOCK_LIBRARY);
	return r;
}

/* The digest of a file that is a shared library for this architecture. */
static int read_library(const char *path, char ret_sha256[65], uint64_t *ret_size, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct elf elf;
	int r;

	if (fd < 0)
		return err_errno(e, -errno, "cannot open %s", path);
	if (elf_open(fd, &elf) < 0 || elf.type != ELF_TYPE_DYN || elf.machine != ELF_MACHINE_X86_64) {
		(void)err_set(e, ERR_VGPU_LIBRARY, "%s is no shared library for x86-64", path);
		return err_object(e, "%s", path);
	}
	*ret_size = elf.size;
	r = sha256_fd_hex(fd, ret_sha256);
	return r < 0 ? err_errno(e, r, "cannot read %s", path) : 0;
}

static int add_named(const char *path, struct plan *p, struct err *e)
{
	char real[PATH_MAX], base[PATH_MAX], sha256[65];
	uint64_t size = 0;
	int r = read_library(path, sha256, &size, e);

	if (r < 0)
		return r;
	if (!realpath(path, real))
		return err_errno(e, -errno, "cannot find %s", path);
	memcpy(base, real, sizeof(base));
	r = plan_add(p, &op_files,
		     json_pack("{s:s, s:[{s:s, s:s, s:i, s:I, s:s, s:s}]}", "base", dirname(base), "entries",
			       "path", UNLOCK_LIBRARY, "type", "file", "mode", 0644, "size", (json_int_t)size,
			       "sha256", sha256, "from", strrchr(real, '/') + 1),
		     "place %s as /" UNLOCK_LIBRARY, path);
	return r < 0 ? err_oom(e) : 0;
}

/* The driver's daemons, which load the library. */
static const char *const drop_ins[] = {
	"etc/systemd/system/nvidia-vgpud.service.d/vgpu_unlock.conf",
	"etc/systemd/system/nvidia-vgpu-mgr.service.d/vgpu_unlock.conf",
};

static int add_drop_ins(const struct unlock_request *q, struct plan *p, struct err *e)
{
	static const char text[] = "[Service]\nEnvironment=LD_PRELOAD=/" UNLOCK_LIBRARY "\n";
	_cleanup_(text_files_done) struct text_files files = { 0 };
	_cleanup_(text_edits_done) struct text_edits edits = { 0 };
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(drop_ins); i++) {
		r = text_files_read(&files, q->host, drop_ins[i], e);
		if (r >= 0 && text_edits_set(&edits, drop_ins[i], text_files_find(&files, drop_ins[i]),
					     SPAN(text), "have the daemon load it: /%s", drop_ins[i]) < 0)
			r = err_oom(e);
	}
	if (r < 0)
		return r;
	r = vgpu_add_edits(p, &edits, WORDS("systemctl", "daemon-reload"),
			   "have systemd read its files again");
	return r < 0 ? err_oom(e) : 0;
}

int unlock_add_library(const struct unlock_request *q, struct plan *p, struct err *e)
{
	int r = 0;

	if (q->library)
		r = add_named(q->library, p, e);
	else if (builds_here(q) && add_build(q, p) < 0)
		r = err_oom(e);
	return r < 0 ? r : add_drop_ins(q, p, e);
}

int unlock_add_config(const struct unlock_request *q, struct plan *p, struct err *e)
{
	if (there(q, UNLOCK_PROFILE))
		return 0;
	return plan_add_edit(p, UNLOCK_PROFILE, NULL, 0, "", 0, 0644,
			     "make an empty file for your own profiles: /" UNLOCK_PROFILE) < 0
		   ? err_oom(e)
		   : 0;
}

/* -- what it presents -- */

const char *unlock_presented(uint16_t device)
{
	static const struct {
		uint16_t from, to;
		const char *name;
	} ranges[] = {
		{ 0x1340, 0x13bd, "Tesla M10" },       { 0x174d, 0x179c, "Tesla M10" },
		{ 0x13c0, 0x1436, "Tesla M60" },       { 0x1617, 0x1667, "Tesla M60" },
		{ 0x17c2, 0x17fd, "Tesla M60" },       { 0x15f0, 0x15f1, "Tesla P40" },
		{ 0x1b00, 0x1d56, "Tesla P40" },       { 0x1725, 0x172f, "Tesla P40" },
		{ 0x1d81, 0x1d81, "Tesla V100 32GB" }, { 0x1dba, 0x1dba, "Tesla V100 32GB" },
		{ 0x1e02, 0x1ff9, "Quadro RTX 6000" }, { 0x2182, 0x21d1, "Quadro RTX 6000" },
		{ 0x2200, 0x2600, "RTX A6000" },
	};

	for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
		if (device >= ranges[i].from && device <= ranges[i].to)
			return ranges[i].name;
	return NULL;
}
