/* SPDX-License-Identifier: Apache-2.0
 *
 * The vendor asks the loader cache for any path that contains a candidate's name, so one stray library below
 * /usr/lib sends a whole driver to the wrong directory. Here the C library itself is the witness: where libc.so.6
 * of the wanted class lies, the distribution keeps its libraries. */
#include "libdir.h"

#include "elffile.h"
#include "fd.h"
#include "parse.h"
#include "path.h"
#include "strbuf.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>

#define CONF_MAX_BYTES ((size_t)64 << 10)
#define CONF_MAX_FILES 64
#define CONF_MAX_DIRS  256

struct libdir_machine {
	const char *machine;
	unsigned elf_machine, elf_machine32;
	/* In the order they are tried; NULL ends. The vendor has 32-bit libraries for x86_64 only. */
	const char *native[4], *compat32[4];
	const char *loader[8], *loader32[8];
};

static const struct libdir_machine machines[] = {
	{
	    .machine = "x86_64",
	    .elf_machine = ELF_MACHINE_X86_64,
	    .elf_machine32 = ELF_MACHINE_I386,
	    .native = { "lib/x86_64-linux-gnu", "lib64", "lib" },
	    .compat32 = { "lib/i386-linux-gnu", "lib32", "lib" },
	    .loader = { "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "usr/lib64", "lib",
			"usr/lib" },
	    .loader32 = { "lib/i386-linux-gnu", "usr/lib/i386-linux-gnu", "lib32", "usr/lib32", "lib",
			  "usr/lib" },
	},
	{
	    .machine = "aarch64",
	    .elf_machine = ELF_MACHINE_AARCH64,
	    .native = { "lib/aarch64-linux-gnu", "lib64", "lib" },
	    .loader = { "lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu", "lib64", "usr/lib64", "lib",
			"usr/lib" },
	},
};

static const struct libdir_machine *machine_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(machines); i++)
		if (strcmp(machines[i].machine, name) == 0)
			return &machines[i];
	return NULL;
}

void libdirs_done(struct libdirs *l)
{
	if (!l)
		return;
	free(l->native);
	free(l->compat32);
	free(l->native_warning);
	free(l->compat32_warning);
	*l = (struct libdirs){ 0 };
}

enum c_library { C_LIBRARY_NONE, C_LIBRARY_OTHER, C_LIBRARY_FOUND };

/* Does this directory hold the C library of the class? OTHER: one of another machine or class. */
static enum c_library dir_c_library(int root_fd, const char *dir, unsigned class_bits, unsigned machine)
{
	static const char *const names[] = { "libc.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1",
					     "ld-linux.so.2", "ld-linux-armhf.so.3" };
	enum c_library found = C_LIBRARY_NONE;
	int r;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		_cleanup_free_ char *path = str_printf("%s/%s", dir, names[i]);
		_cleanup_close_ int fd = -EBADF;
		struct elf elf;

		if (!path)
			continue;
		fd = path_open_at(root_fd, path, O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
		if (fd < 0)
			continue;
		r = elf_open(fd, &elf);
		if (r == -ENOTSUP)
			found = C_LIBRARY_OTHER;
		if (r < 0)
			continue;
		if (elf.class_bits == class_bits && elf.machine == machine)
			return C_LIBRARY_FOUND;
		found = C_LIBRARY_OTHER;
	}
	return found;
}

static int dir_stat(int root_fd, const char *path, struct stat *ret)
{
	_cleanup_close_ int fd = path_open_at(root_fd, path, O_PATH | O_DIRECTORY, 0, PATH_IN_ROOT);

	if (fd < 0)
		return fd;
	return fstat(fd, ret) < 0 ? -errno : 0;
}

static bool same_dir(int root_fd, const char *a, const char *b)
{
	struct stat sa, sb;

	return dir_stat(root_fd, a, &sa) >= 0 && dir_stat(root_fd, b, &sb) >= 0 && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

/* usr/<dir> is a directory under its own name, not a link to a sibling (Arch: usr/lib64 -> lib). */
static bool candidate_exists(int root_fd, const char *dir)
{
	_cleanup_free_ char *path = str_printf("usr/%s", dir);
	struct stat st;

	return path && path_stat(root_fd, path, &st, PATH_IN_ROOT) >= 0 && S_ISDIR(st.st_mode);
}

static enum c_library candidate_c_library(int root_fd, const char *dir, unsigned class_bits, unsigned machine)
{
	_cleanup_free_ char *usr = str_printf("usr/%s", dir);
	enum c_library in_usr, in_top;

	if (!usr)
		return C_LIBRARY_NONE;
	in_usr = dir_c_library(root_fd, usr, class_bits, machine);
	if (in_usr == C_LIBRARY_FOUND)
		return in_usr;
	/* An unmerged root keeps the C library in /lib/<dir> and everything else in /usr/lib/<dir>. */
	in_top = dir_c_library(root_fd, dir, class_bits, machine);
	return in_top > in_usr ? in_top : in_usr;
}

static bool lies_below(const char *dir, const char *parent)
{
	size_t n = strlen(parent);

	return strncmp(dir, parent, n) == 0 && (dir[n] == '\0' || dir[n] == '/');
}

static bool root_has_musl(int root_fd)
{
	_cleanup_close_ int fd = path_open_at(root_fd, "lib", O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	struct dirent *de;
	bool found = false;
	DIR *d;

	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return false;
	(void)TAKE_FD(fd);
	while (!found && (de = readdir(d)))
		found = strncmp(de->d_name, "ld-musl-", 8) == 0;
	closedir(d);
	return found;
}

static int find_native(int root_fd, const struct libdir_machine *m, struct libdirs *l, struct err *e)
{
	const char *const *c, *first = NULL;
	bool other = false;

	for (c = m->native; *c; c++) {
		enum c_library found;

		if (!candidate_exists(root_fd, *c))
			continue;
		found = candidate_c_library(root_fd, *c, 64, m->elf_machine);
		if (found == C_LIBRARY_FOUND) {
			l->native = strdup(*c);
			return l->native ? 0 : err_oom(e);
		}
		other |= found == C_LIBRARY_OTHER;
		first = first ?: *c;
	}
	if (root_has_musl(root_fd))
		return err_set(e, ERR_ROOT_MUSL, "the root's C library is musl");
	if (other)
		return err_set(e, ERR_ROOT_MACHINE, "the root's C library is not one for %s", m->machine);
	l->native = strdup(first ?: "lib");
	l->native_warning = str_printf("no C library for %s found in the root, libraries go to /usr/%s",
				       m->machine, first ?: "lib");
	return l->native && l->native_warning ? 0 : err_oom(e);
}

static int find_compat32(int root_fd, const struct libdir_machine *m, struct libdirs *l, struct err *e)
{
	const char *const *c, *first = NULL;

	for (c = m->compat32; *c; c++) {
		if (!candidate_exists(root_fd, *c) || lies_below(l->native, *c))
			continue;
		if (candidate_c_library(root_fd, *c, 32, m->elf_machine32) == C_LIBRARY_FOUND) {
			l->compat32 = strdup(*c);
			return l->compat32 ? 0 : err_oom(e);
		}
		first = first ?: *c;
	}
	if (first) {
		l->compat32 = strdup(first);
		if (!l->compat32)
			return err_oom(e);
	}
	l->compat32_warning =
	    first ? str_printf("no 32-bit C library in the root, 32-bit libraries go to /usr/%s", first)
		  : strdup("the root has no directory for 32-bit libraries, they are left out");
	return l->compat32_warning ? 0 : err_oom(e);
}

/* An explicit directory is the caller's word, but still a clean relative name. */
static int take_explicit(const char *dir, char **ret, struct err *e)
{
	int r = path_clean(dir, ret);

	if (r < 0)
		return err_errno(e, r, "library directory %s", dir);
	if (!**ret)
		return err_set(e, ERR_USAGE, "the library directory is empty");
	return 0;
}

int libdir_find(int root_fd, const struct libdir_wants *wants, struct libdirs *ret, struct err *e)
{
	const struct libdir_machine *m = machine_find(wants->machine);
	_cleanup_(libdirs_done) struct libdirs l = { 0 };
	int r;

	if (!m)
		return err_set(e, ERR_ROOT_MACHINE, "no driver exists for machine %s", wants->machine);
	r = wants->native ? take_explicit(wants->native, &l.native, e) : find_native(root_fd, m, &l, e);
	if (r < 0)
		return r;
	if (wants->compat32)
		r = take_explicit(wants->compat32, &l.compat32, e);
	else if (wants->want_compat32)
		r = find_compat32(root_fd, m, &l, e);
	if (r < 0)
		return r;
	*ret = l;
	l = (struct libdirs){ 0 };
	return 0;
}

int libdir_canonical(int root_fd, const char *path, char **ret)
{
	static const char *const merged[] = { "bin", "sbin", "lib", "lib32", "lib64", "libx32" };

	while (*path == '/')
		path++;
	for (size_t i = 0; i < ARRAY_LEN(merged); i++) {
		_cleanup_free_ char *usr = NULL;

		if (!lies_below(path, merged[i]))
			continue;
		usr = str_printf("usr/%s", merged[i]);
		if (!usr)
			return -ENOMEM;
		if (!same_dir(root_fd, merged[i], usr))
			break;
		*ret = str_printf("usr/%s", path);
		return *ret ? 0 : -ENOMEM;
	}
	*ret = strdup(path);
	return *ret ? 0 : -ENOMEM;
}

struct loader_walk {
	int root_fd;
	char **dirs; /* owned */
	struct stat seen[CONF_MAX_DIRS];
	size_t n_seen;
	unsigned n_files;
};

static int loader_add(struct loader_walk *w, const char *dir)
{
	_cleanup_free_ char *clean = NULL;
	struct stat st;
	int r;

	while (*dir == '/')
		dir++;
	if (path_clean(dir, &clean) < 0 || dir_stat(w->root_fd, clean, &st) < 0)
		return 0;
	for (size_t i = 0; i < w->n_seen; i++)
		if (w->seen[i].st_dev == st.st_dev && w->seen[i].st_ino == st.st_ino)
			return 0;
	if (w->n_seen == CONF_MAX_DIRS)
		return -E2BIG;
	r = strv_push(&w->dirs, clean);
	if (r < 0)
		return r;
	w->seen[w->n_seen++] = st;
	return 0;
}

static int conf_read(struct loader_walk *w, const char *path);

static int names_matching(int dir_fd, const char *pattern, char ***ret)
{
	_cleanup_strv_ char **names = NULL;
	struct dirent *de;
	DIR *d = fdopendir(dir_fd);
	int r = 0;

	if (!d) {
		close(dir_fd);
		return -errno;
	}
	while (r >= 0 && (de = readdir(d)))
		if (fnmatch(pattern, de->d_name, FNM_PERIOD) == 0)
			r = strv_push(&names, de->d_name);
	closedir(d);
	if (r < 0)
		return r;
	if (names)
		strv_sort(names);
	*ret = TAKE_PTR(names);
	return 0;
}

/* "include etc/ld.so.conf.d/<pattern>": wildcards in the last component, as every distribution writes it. */
static int conf_include(struct loader_walk *w, const char *pattern)
{
	_cleanup_free_ char *full = *pattern == '/' ? strdup(pattern + 1) : str_printf("etc/%s", pattern);
	_cleanup_strv_ char **names = NULL;
	char *slash;
	int fd, r;

	if (!full)
		return -ENOMEM;
	slash = strrchr(full, '/');
	if (!slash)
		return conf_read(w, full);
	*slash = '\0';
	fd = path_open_at(w->root_fd, full, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	if (fd < 0)
		return 0;
	r = names_matching(fd, slash + 1, &names);
	for (char **n = names; r >= 0 && n && *n; n++) {
		_cleanup_free_ char *path = str_printf("%s/%s", full, *n);

		r = path ? conf_read(w, path) : -ENOMEM;
	}
	return r;
}

static int conf_line(struct loader_walk *w, struct span line)
{
	const char *hash = memchr(line.p, '#', line.len);
	_cleanup_free_ char *text = NULL;
	struct span word;

	if (hash)
		line.len = (size_t)(hash - line.p);
	line = span_trim(line);
	if (!line.len)
		return 0;
	if (!span_starts(line, "include ") && !span_starts(line, "include\t")) {
		text = span_dup(line);
		return text ? loader_add(w, text) : -ENOMEM;
	}
	line.p += 8, line.len -= 8;
	while (span_word(&line, &word)) {
		_cleanup_free_ char *pattern = span_dup(word);
		int r = pattern ? conf_include(w, pattern) : -ENOMEM;

		if (r < 0)
			return r;
	}
	return 0;
}

static int conf_read(struct loader_walk *w, const char *path)
{
	_cleanup_close_ int fd = -EBADF;
	_cleanup_free_ char *text = NULL;
	struct span rest, line;
	size_t len;
	int r;

	/* A file that includes itself ends here. */
	if (++w->n_files > CONF_MAX_FILES)
		return 0;
	fd = path_open_at(w->root_fd, path, O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
	if (fd < 0 || read_fd(fd, CONF_MAX_BYTES, &text, &len) < 0)
		return 0;
	rest = (struct span){ text, len };
	while (span_line(&rest, &line)) {
		r = conf_line(w, line);
		if (r < 0)
			return r;
	}
	return 0;
}

int libdir_loader_dirs(int root_fd, const char *machine, unsigned class_bits, char ***ret)
{
	const struct libdir_machine *m = machine_find(machine);
	struct loader_walk w = { .root_fd = root_fd };
	const char *const *builtin;
	int r;

	if (!m)
		return -EINVAL;
	r = conf_read(&w, "etc/ld.so.conf");
	builtin = class_bits == 64 ? m->loader : m->loader32;
	for (; r >= 0 && *builtin; builtin++)
		r = loader_add(&w, *builtin);
	if (r < 0) {
		strv_freep(&w.dirs);
		return r;
	}
	*ret = w.dirs;
	return 0;
}
