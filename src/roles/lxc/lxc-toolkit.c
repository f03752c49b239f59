/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-toolkit.h"

#include "fd.h"
#include "log.h"
#include "lxc-enter.h"
#include "path.h"
#include "strbuf.h"
#include "err-lxc.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#define ARGS_MAX     256
#define TAIL_MAX     4000
#define TOOLS_CONFIG "etc/nvidia-container-runtime/config.toml" /* of the container tools */
#define TOOLS_MAX    ((size_t)1 << 20)
#define TIMEOUT_S    120
#define INSTALL_S    3600

/* -- names -- */

int toolkit_part(const char *part, const char *cuda, char **ret)
{
	const char *dot = strchr(cuda, '.'), *second = dot ? strchr(dot + 1, '.') : NULL;
	int major = (int)(dot ? dot - cuda : (ptrdiff_t)strlen(cuda));
	int minor = (int)(!dot ? 0 : second ? second - dot - 1 : (ptrdiff_t)strlen(dot + 1));
	char *name;

	if (major == 0 || (dot && minor == 0) || strspn(cuda, "0123456789.") != strlen(cuda))
		return -EINVAL;
	name = dot ? str_printf("%s-%.*s-%.*s", part, major, cuda, minor, dot + 1)
		   : str_printf("%s-%.*s", part, major, cuda);
	if (!name)
		return -ENOMEM;
	*ret = name;
	return 0;
}

int toolkit_package(const char *cuda, char **ret_name, char **ret_version)
{
	const char *dot = strchr(cuda, '.');
	_cleanup_free_ char *name = NULL, *version = NULL;
	int r = toolkit_part("cuda-toolkit", cuda, &name);

	if (r < 0)
		return r;
	if (dot && strchr(dot + 1, '.')) {
		version = str_printf("%s-1", cuda);
		if (!version)
			return -ENOMEM;
	}
	*ret_name = TAKE_PTR(name);
	*ret_version = TAKE_PTR(version);
	return 0;
}

int toolkit_package_check(const char *name, struct err *e)
{
	static const char *const refused[] = { "cuda", "cuda-[0-9]*", "cuda-runtime*", "cuda-demo-suite-*" };
	bool bad = osrepo_is_driver_package(name);

	for (size_t i = 0; !bad && i < ARRAY_LEN(refused); i++)
		bad = fnmatch(refused[i], name, 0) == 0;
	if (!bad)
		return 0;
	return err_set(e, ERR_CUDA_PACKAGE,
		       "%s requires a driver package, and the driver of a container is the host's", name);
}

/* -- which driver a CUDA version needs -- */

static const struct driver_row {
	const char *cuda; /* "12" for the family, "12.8" for its full feature level */
	const char *driver;
} driver_table[] = {
	{ "11", "450.80.02" }, { "12", "525.60.13" }, { "13", "580" },	    { "12.4", "550.54.14" },
	{ "12.6", "560.28" },  { "12.8", "570.26" },  { "12.9", "575.51" }, { "13.0", "580.65" },
};

static const char *driver_for(const char *cuda, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(driver_table); i++)
		if (strlen(driver_table[i].cuda) == len && strncmp(driver_table[i].cuda, cuda, len) == 0)
			return driver_table[i].driver;
	return NULL;
}

int toolkit_driver_check(const char *cuda, const char *driver, const char **ret_full, struct err *e)
{
	size_t major = strcspn(cuda, "."), minor = major;
	const char *least = driver_for(cuda, major), *full;

	if (cuda[major] == '.')
		minor = major + 1 + strcspn(cuda + major + 1, ".");
	full = driver_for(cuda, minor);
	if (least && version_compare(driver, least) < 0)
		return err_set(e, ERR_CUDA_OLD_DRIVER, "CUDA %s needs driver %s or newer, and this one is %s",
			       cuda, least, driver);
	if (ret_full)
		*ret_full = full && version_compare(driver, full) < 0 ? full : NULL;
	return 0;
}

/* -- answers of the package tools -- */

static int push_span(char ***v, struct span word)
{
	_cleanup_free_ char *name = span_dup(word);

	if (!name)
		return -ENOMEM;
	return *v && strv_contains(*v, name) ? 0 : strv_push(v, name);
}

/* "Inst NAME (…" */
static int apt_plan_line(struct span line, bool *in_list _unused_, char ***ret)
{
	struct span word;

	if (!span_starts(line, "Inst "))
		return 0;
	line.p += 5;
	line.len -= 5;
	return span_word(&line, &word) ? push_span(ret, word) : 0;
}

static struct span first_word(struct span line)
{
	struct span word = SPAN_NULL;

	(void)span_word(&line, &word);
	return word;
}

/* A table of rows " name  arch  version  repository  size" under headings "Installing:", "Upgrading:", …; it ends with
 * "Transaction Summary". */
static int dnf_plan_line(struct span line, bool *in_list, char ***ret)
{
	struct span word = first_word(line), rest = line;
	unsigned words = 0;

	if (span_starts(line, "Installing") || span_starts(line, "Upgrading") ||
	    span_starts(line, "Downgrading") || span_starts(line, "Reinstalling"))
		*in_list = span_ends(span_trim(line), ":");
	else if (line.len > 0 && line.p[0] != ' ')
		*in_list = false;
	if (!*in_list || line.len == 0 || line.p[0] != ' ')
		return 0;
	while (span_word(&rest, &(struct span){ 0 }))
		words++;
	return words >= 5 ? push_span(ret, word) : 0;
}

/* "The following 2 NEW packages are going to be installed:", then indented names; an empty line ends the list. */
static int zypper_plan_line(struct span line, bool *in_list, char ***ret)
{
	struct span word;
	int r = 0;

	if (span_starts(line, "The following")) {
		*in_list =
		    span_ends(span_trim(line), "installed:") || span_ends(span_trim(line), "upgraded:");
		return 0;
	}
	if (line.len == 0 || line.p[0] != ' ')
		*in_list = false;
	while (*in_list && r >= 0 && span_word(&line, &word))
		r = push_span(ret, word);
	return r;
}

int toolkit_plan_parse(enum osrepo_tool tool, struct span out, char ***ret)
{
	static int (*const lines[])(struct span, bool *, char ***) = {
		[OSREPO_APT] = apt_plan_line,
		[OSREPO_DNF] = dnf_plan_line,
		[OSREPO_ZYPPER] = zypper_plan_line,
	};
	_cleanup_strv_ char **list = NULL;
	bool in_list = false;
	struct span line;

	while (span_line(&out, &line)) {
		int r = lines[tool](line, &in_list, &list);

		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(list);
	return 0;
}

/* Any word of a failed answer that is the name of a driver package: the tools only name packages they lack. */
int toolkit_unmet_parse(struct span out, char ***ret)
{
	_cleanup_strv_ char **list = NULL;
	struct span word;

	while (span_word(&out, &word)) {
		_cleanup_free_ char *name = NULL;

		while (word.len > 0 && strchr("(),;:'\"", word.p[word.len - 1]))
			word.len--;
		name = span_dup(word);
		if (!name)
			return -ENOMEM;
		if (osrepo_is_driver_package(name) && !(list && strv_contains(list, name)) &&
		    strv_push(&list, name) < 0)
			return -ENOMEM;
	}
	*ret = TAKE_PTR(list);
	return 0;
}

/* "1,234" or "56.7" followed by a unit of powers of 1000. */
static uint64_t amount(struct span line)
{
	static const struct {
		const char *unit;
		double factor;
	} units[] = { { "B", 1 }, { "kB", 1e3 }, { "MB", 1e6 }, { "GB", 1e9 } };
	struct span word, unit = SPAN_NULL;
	double value = 0, scale = 0, bytes = 0;

	if (!span_word(&line, &word) || !span_word(&line, &unit))
		return 0;
	/* "Need to get 5 MB/8 MB of archives": the first is what is missing. */
	for (size_t i = 0; i < unit.len; i++)
		if (unit.p[i] == '/')
			unit.len = i;
	for (size_t i = 0; i < word.len; i++) {
		char c = word.p[i];

		if (c == '.')
			scale = 1;
		if (c < '0' || c > '9')
			continue;
		value = value * 10 + (c - '0');
		scale *= 10;
	}
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (span_eq(unit, units[i].unit))
			bytes = value * units[i].factor / (scale > 0 ? scale : 1);
	return bytes < (double)INT64_MAX ? (uint64_t)bytes : 0; /* what nobody can mean was not said */
}

void toolkit_space_parse(struct span out, uint64_t *ret_fetch, uint64_t *ret_disk)
{
	static const char fetch[] = "Need to get ", disk[] = "After this operation, ";
	struct span line;

	*ret_fetch = *ret_disk = 0;
	while (span_line(&out, &line)) {
		if (span_starts(line, fetch))
			*ret_fetch = amount(
			    (struct span){ line.p + sizeof(fetch) - 1, line.len - (sizeof(fetch) - 1) });
		if (span_starts(line, disk) && memmem(line.p, line.len, "will be used", 12))
			*ret_disk =
			    amount((struct span){ line.p + sizeof(disk) - 1, line.len - (sizeof(disk) - 1) });
	}
}

int toolkit_nvcc_parse(struct span out, char **ret)
{
	struct span line, word, before = SPAN_NULL;

	while (span_line(&out, &line))
		while (span_word(&line, &word)) {
			if (span_eq(before, "release") && word.len > 1 && word.p[word.len - 1] == ',') {
				word.len--;
				*ret = span_dup(word);
				return *ret ? 0 : -ENOMEM;
			}
			before = word;
		}
	return -ENOENT;
}

bool toolkit_nvcc_agrees(const char *want, const char *have)
{
	size_t n = strlen(have);

	/* nvcc says two fields; a third one of the configuration is the package's. */
	return strcmp(want, have) == 0 || (strncmp(want, have, n) == 0 && want[n] == '.') ||
	       (!strchr(want, '.') && strncmp(have, want, strlen(want)) == 0 && have[strlen(want)] == '.');
}

/* A key of one table of a TOML file, one assignment a line, as the tools themselves write it. */
bool toolkit_has_no_cgroups(struct span config)
{
	bool inside = false, found = false;
	struct span line;

	while (span_line(&config, &line)) {
		const char *equals;

		line = span_trim(line);
		if (line.len > 0 && line.p[0] == '[')
			inside = span_starts(line, "[nvidia-container-cli]");
		equals = inside && line.len ? memchr(line.p, '=', line.len) : NULL;
		if (!equals ||
		    !span_eq(span_trim((struct span){ line.p, (size_t)(equals - line.p) }), "no-cgroups"))
			continue;
		line = span_trim((struct span){ equals + 1, line.len - (size_t)(equals + 1 - line.p) });
		found = span_starts(line, "true");
	}
	return found;
}

/* -- commands -- */

struct command {
	char *argv[ARGS_MAX];
	size_t n;
	bool overflow;
	char *owned[8];
	size_t n_owned;
};

static void command_done(struct command *c)
{
	while (c->n_owned > 0)
		free(c->owned[--c->n_owned]);
}
#define _cleanup_command_ _cleanup_(command_done)

static void command_add(struct command *c, const char *arg)
{
	if (c->n + 1 < ARGS_MAX)
		c->argv[c->n++] = (char *)(uintptr_t)arg; /* never written to */
	else
		c->overflow = true;
}

static void command_addv(struct command *c, const char *const *v)
{
	for (; v && *v; v++)
		command_add(c, *v);
}

static void command_names(struct command *c, char *const *v)
{
	for (; v && *v; v++)
		command_add(c, *v);
}

static int command_run(const struct toolkit_inside *in, struct command *c, const char *what,
		       unsigned timeout_s, struct lxc_exec *x, struct err *e)
{
	if (c->overflow)
		return err_set(e, ERR_TOO_LARGE, "too many packages to ask for at once");
	*x = (struct lxc_exec)LXC_EXEC_INIT(what);
	x->argv = c->argv;
	x->timeout_s = timeout_s;
	return in->exec(in->arg, x, e);
}

static int failed(const struct lxc_exec *x, struct err *e)
{
	size_t n = x->out_len > TAIL_MAX ? TAIL_MAX : x->out_len;

	return err_set(e, ERR_CUDA_INSTALL, "%s: status %d: %.*s", x->what, x->status, (int)n,
		       x->out ? x->out + x->out_len - n : "");
}

static int command_check(const struct toolkit_inside *in, struct command *c, const char *what,
			 unsigned timeout_s, struct err *e)
{
	_cleanup_(lxc_exec_done) struct lxc_exec x = LXC_EXEC_INIT(what);
	int r = command_run(in, c, what, timeout_s, &x, e);

	if (r < 0)
		return r;
	return x.status == 0 ? 0 : failed(&x, e);
}

#define APT_LOCK "-o", "DPkg::Lock::Timeout=120"

static const struct tool_row {
	const char *query[8]; /* prints the installed ones of the names that follow, one per line */
	const char *update[8], *simulate[10], *install[10], *clean[4];
	const char *compiler[4]; /* a host compiler for nvcc */
	const char *fetch_tools[6], *graphics[4];
	char version_mark; /* between a package's name and its version */
	int refused_status; /* of a simulation that only said no to its own question */
} tools[] = {
	[OSREPO_APT] = { .query = { "dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n" },
			 .update = { "apt-get", "update", APT_LOCK },
			 .simulate = { "apt-get", "install", "-s", "--no-install-recommends" },
			 .install = { "apt-get", "install", "-y", "--no-install-recommends", APT_LOCK },
			 .clean = { "apt-get", "clean" },
			 .compiler = { "build-essential" },
			 .fetch_tools = { "wget", "curl", "gnupg" },
			 .graphics = { "pkg-config", "libglvnd-dev" },
			 .version_mark = '=' },
	[OSREPO_DNF] = { .query = { "rpm", "-q", "--qf", "%{NAME} installed\n" },
			 .update = { "dnf", "-y", "makecache" },
			 .simulate = { "dnf", "--assumeno", "--setopt=install_weak_deps=False", "install" },
			 .install = { "dnf", "-y", "--setopt=install_weak_deps=False", "install" },
			 .clean = { "dnf", "clean", "packages" },
			 .compiler = { "gcc", "make" },
			 .fetch_tools = { "wget", "curl", "gnupg2" },
			 .version_mark = '-',
			 .refused_status = 1 },
	[OSREPO_ZYPPER] = { .query = { "rpm", "-q", "--qf", "%{NAME} installed\n" },
			    .update = { "zypper", "--non-interactive", "refresh" },
			    .simulate = { "zypper", "--non-interactive", "install", "--dry-run",
					  "--no-recommends" },
			    .install = { "zypper", "--non-interactive", "install", "--no-recommends" },
			    .clean = { "zypper", "clean" },
			    .compiler = { "gcc", "make" },
			    .fetch_tools = { "wget", "curl", "gpg2" },
			    .version_mark = '=' },
};

static unsigned timeout_of(const struct toolkit_want *w)
{
	return w->timeout_s ? w->timeout_s : TIMEOUT_S;
}

static unsigned install_timeout_of(const struct toolkit_want *w)
{
	return w->install_timeout_s ? w->install_timeout_s : INSTALL_S;
}

/* -- what is installed -- */

static bool is_installed(struct span out, const char *name)
{
	struct span line, word;

	while (span_line(&out, &line)) {
		if (!span_word(&line, &word) || !span_eq(word, name))
			continue;
		if (span_word(&line, &word) && span_eq(word, "installed"))
			return true;
	}
	return false;
}

int toolkit_missing(const struct toolkit_inside *in, const struct toolkit_want *w, char *const *names,
		    char ***ret, struct err *e)
{
	_cleanup_command_ struct command c = { 0 };
	_cleanup_(lxc_exec_done) struct lxc_exec x = LXC_EXEC_INIT("query");
	_cleanup_strv_ char **list = NULL;
	int r;

	command_addv(&c, tools[w->tool].query);
	command_names(&c, names);
	r = command_run(in, &c, "looking for installed packages", timeout_of(w), &x, e);
	if (r < 0)
		return r;
	if (x.status == 127)
		return failed(&x, e);
	for (char *const *p = names; p && *p; p++)
		if (!is_installed((struct span){ x.out, x.out ? x.out_len : 0 }, *p) &&
		    strv_push(&list, *p) < 0)
			return err_oom(e);
	*ret = TAKE_PTR(list);
	return 0;
}

static int push_list(char ***v, const char *const *names)
{
	for (; *names; names++)
		if (strv_push(v, *names) < 0)
			return -ENOMEM;
	return 0;
}

static int base_names(const struct toolkit_want *w, char ***ret)
{
	const struct tool_row *t = &tools[w->tool];

	if (w->cuda || w->fetch_tools)
		if (push_list(ret, t->compiler) < 0)
			return -ENOMEM;
	if (w->fetch_tools && push_list(ret, t->fetch_tools) < 0)
		return -ENOMEM;
	return w->fetch_tools && w->graphics ? push_list(ret, t->graphics) : 0;
}

static int cuda_names(const struct toolkit_want *w, char ***ret)
{
	_cleanup_free_ char *name = NULL, *version = NULL;
	int r = w->cuda ? toolkit_package(w->cuda, &name, &version) : 0;

	if (r >= 0 && w->cuda && w->list_path)
		r = strv_push(ret, "libnvidia-container1");
	if (r >= 0 && w->container_toolkit && w->list_path)
		r = strv_push(ret, "nvidia-container-toolkit");
	if (r >= 0 && w->cuda)
		r = strv_push(ret, name);
	return r;
}

/* -- nvcc -- */

static int nvcc_ask(const struct toolkit_inside *in, const struct toolkit_want *w, const char *program,
		    char **ret, struct err *e)
{
	_cleanup_command_ struct command c = { 0 };
	_cleanup_(lxc_exec_done) struct lxc_exec x = LXC_EXEC_INIT("nvcc");
	int r;

	command_add(&c, program);
	command_add(&c, "--version");
	r = command_run(in, &c, "nvcc", timeout_of(w), &x, e);
	if (r < 0)
		return r;
	if (x.status != 0)
		return -ENOENT;
	r = toolkit_nvcc_parse((struct span){ x.out, x.out ? x.out_len : 0 }, ret);
	return r == -ENOMEM ? err_oom(e) : r;
}

static int nvcc_find(const struct toolkit_inside *in, const struct toolkit_want *w, char **ret, struct err *e)
{
	size_t major = strcspn(w->cuda, "."),
	       minor = w->cuda[major] ? major + 1 + strcspn(w->cuda + major + 1, ".") : major;
	_cleanup_free_ char *own = str_printf("/usr/local/cuda-%.*s/bin/nvcc", (int)minor, w->cuda);
	const char *const programs[] = { "/usr/local/cuda/bin/nvcc", "nvcc", own };
	int r = -ENOENT;

	if (!own)
		return err_oom(e);
	for (size_t i = 0; r == -ENOENT && i < ARRAY_LEN(programs); i++)
		r = nvcc_ask(in, w, programs[i], ret, e);
	return r;
}

int toolkit_nvcc_check(const struct toolkit_inside *in, const struct toolkit_want *w, struct err *e)
{
	_cleanup_free_ char *have = NULL;
	int r = nvcc_find(in, w, &have, e);

	if (r == -ENOENT)
		return err_set(e, ERR_CUDA_NVCC, "there is no nvcc, and CUDA %s is wanted", w->cuda);
	if (r < 0)
		return r;
	if (!toolkit_nvcc_agrees(w->cuda, have))
		return err_set(e, ERR_CUDA_NVCC, "nvcc is of CUDA %s, and %s is wanted", have, w->cuda);
	return 0;
}

/* -- is anything to do? -- */

static bool nvcc_is_there(int root_fd)
{
	return root_fd < 0 || path_exists(root_fd, "usr/local/cuda/bin/nvcc") ||
	       path_exists(root_fd, "usr/bin/nvcc");
}

/* True also where the container cannot be looked into: the tool that sets it does no harm a second time. */
static bool filters_are_left(const struct toolkit_inside *in, const struct toolkit_want *w)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (!w->no_cgroups || in->root_fd < 0)
		return true;
	return lxc_read_beneath(in->root_fd, TOOLS_CONFIG, TOOLS_MAX, &text, &len) >= 0 &&
	       toolkit_has_no_cgroups((struct span){ text, len });
}

static int nothing_missing(const struct toolkit_inside *in, const struct toolkit_want *w, struct err *e)
{
	_cleanup_strv_ char **names = NULL, **missing = NULL;
	int r;

	if (base_names(w, &names) < 0 || cuda_names(w, &names) < 0)
		return err_oom(e);
	if (!names)
		return 1;
	r = toolkit_missing(in, w, names, &missing, e);
	return r < 0 ? r : !missing;
}

int toolkit_is_done(const struct toolkit_inside *in, const struct toolkit_want *w, bool running,
		    struct err *e)
{
	_cleanup_(err_done) struct err own = ERR_INIT;
	int r;

	if ((w->cuda && !nvcc_is_there(in->root_fd)) || !filters_are_left(in, w))
		return 0;
	if (!running)
		return 1;
	r = w->cuda ? toolkit_nvcc_check(in, w, &own) : 0;
	if (r == -ERR_CUDA_NVCC)
		return 0;
	if (r < 0) {
		err_move(e, &own);
		return r;
	}
	return nothing_missing(in, w, e);
}

/* -- installing -- */

static void pause_ms(unsigned ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

	(void)nanosleep(&t, NULL);
}

/* zypper asks whether a key may be trusted and, with nobody there, says no; letting it take any key would be no check at
 * all. Ours was compared with its fingerprint before it was written. dnf takes the one its repository file names. */
static int trust_key(const struct toolkit_inside *in, const struct toolkit_want *w, struct err *e)
{
	static const char *const import[] = { "rpm", "--import", "/" OSREPO_RPM_KEY, NULL };
	_cleanup_command_ struct command c = { 0 };

	if (w->tool != OSREPO_ZYPPER)
		return 0;
	command_addv(&c, import);
	return command_check(in, &c, "trusting the repository's key", timeout_of(w), e);
}

/* Only the CUDA source, so that a broken foreign one does not hide the answer; or all. */
static int update(const struct toolkit_inside *in, const struct toolkit_want *w, bool only_ours,
		  struct err *e)
{
	_cleanup_command_ struct command c = { 0 };
	int r = only_ours ? trust_key(in, w, e) : 0;

	if (r < 0)
		return err_recode(e, ERR_CUDA_REPO);
	command_addv(&c, tools[w->tool].update);
	if (only_ours && w->tool == OSREPO_APT) {
		c.owned[0] = str_printf("Dir::Etc::SourceList=/%s", w->list_path);
		c.n_owned = 1;
		if (!c.owned[0])
			return err_oom(e);
		command_add(&c, "-o");
		command_add(&c, c.owned[0]);
		/* The lists of the other sources stay. */
		command_addv(&c, (const char *const[]){ "-o", "Dir::Etc::SourceParts=/dev/null", "-o",
							"APT::Get::List-Cleanup=0", "-o",
							"APT::Update::Error-Mode=any", NULL });
	}
	for (unsigned i = 0; i < (w->attempts ? w->attempts : 3); i++) {
		if (i > 0)
			pause_ms(w->pause_ms);
		r = command_check(in, &c, "refreshing the package lists", install_timeout_of(w), e);
		if (r != -ERR_CUDA_INSTALL)
			return r;
	}
	return only_ours ? err_recode(e, ERR_CUDA_REPO) : r;
}

static int refuse_drivers(char *const *planned, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf bad = STRBUF_INIT(STRBUF_TEXT_MAX);

	for (char *const *p = planned; p && *p; p++)
		if (osrepo_is_driver_package(*p))
			(void)strbuf_printf(&bad, "%s%s", bad.len ? ", " : "", *p);
	if (strbuf_error(&bad) < 0)
		return err_oom(e);
	return bad.len == 0 ? 0
			    : err_set(e, ERR_CUDA_DRIVER, "it would install or need %s", strbuf_str(&bad));
}

static int simulate(const struct toolkit_inside *in, const struct toolkit_want *w, char *const *names,
		    struct err *e)
{
	const struct tool_row *t = &tools[w->tool];
	_cleanup_command_ struct command c = { 0 };
	_cleanup_(lxc_exec_done) struct lxc_exec x = LXC_EXEC_INIT("simulation");
	_cleanup_strv_ char **planned = NULL, **unmet = NULL;
	struct span out;
	int r;

	command_addv(&c, t->simulate);
	command_names(&c, names);
	r = command_run(in, &c, "simulating the installation", install_timeout_of(w), &x, e);
	if (r < 0)
		return r;
	out = (struct span){ x.out, x.out ? x.out_len : 0 };
	if (toolkit_plan_parse(w->tool, out, &planned) < 0)
		return err_oom(e);
	r = refuse_drivers(planned, e);
	if (r < 0 || x.status == 0 || (x.status == t->refused_status && planned))
		return r;
	if (toolkit_unmet_parse(out, &unmet) < 0)
		return err_oom(e);
	r = refuse_drivers(unmet, e);
	return r < 0 ? r : failed(&x, e);
}

/* apt's figures come with the question it is told to say no to. */
static int check_space(const struct toolkit_inside *in, const struct toolkit_want *w, char *const *names,
		       struct err *e)
{
	static const char *const ask[] = { "apt-get", "install", "--assume-no", "--no-install-recommends",
					   NULL };
	_cleanup_close_ int usr = -EBADF;
	_cleanup_command_ struct command c = { 0 };
	_cleanup_(lxc_exec_done) struct lxc_exec x = LXC_EXEC_INIT("space");
	uint64_t fetch, disk, have;
	struct statvfs vfs;
	int r;

	if (w->tool != OSREPO_APT || in->root_fd < 0)
		return 0;
	usr = path_open_at(in->root_fd, "usr", O_PATH | O_DIRECTORY, 0, PATH_IN_ROOT);
	if (usr < 0 || fstatvfs(usr, &vfs) < 0)
		return 0;
	command_addv(&c, ask);
	command_names(&c, names);
	r = command_run(in, &c, "asking for the space it takes", timeout_of(w), &x, e);
	if (r < 0)
		return r;
	toolkit_space_parse((struct span){ x.out, x.out ? x.out_len : 0 }, &fetch, &disk);
	have = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	if (have >= fetch + disk)
		return 0;
	return err_set(e, ERR_CUDA_SPACE, "it needs %llu MB and /usr has %llu MB free",
		       (unsigned long long)((fetch + disk) / 1000000), (unsigned long long)(have / 1000000));
}

static int install_names(const struct toolkit_inside *in, const struct toolkit_want *w, const char *what,
			 char *const *names, struct err *e)
{
	_cleanup_command_ struct command c = { 0 };

	command_addv(&c, tools[w->tool].install);
	command_names(&c, names);
	return command_check(in, &c, what, install_timeout_of(w), e);
}

static int install_base(const struct toolkit_inside *in, const struct toolkit_want *w, struct err *e)
{
	_cleanup_strv_ char **names = NULL, **missing = NULL;
	int r = base_names(w, &names);

	if (r < 0)
		return err_oom(e);
	if (!names)
		return 0;
	r = toolkit_missing(in, w, names, &missing, e);
	if (r < 0 || !missing)
		return r;
	r = update(in, w, false, e);
	return r < 0 ? r : install_names(in, w, "installing the prerequisites", missing, e);
}

/* The names with the version asked for, in the tool's spelling. */
static int with_version(const struct toolkit_want *w, char *const *missing, char ***ret)
{
	_cleanup_free_ char *name = NULL, *version = NULL, *exact = NULL;
	int r = w->cuda ? toolkit_package(w->cuda, &name, &version) : 0;

	if (r < 0)
		return r;
	if (version && !(exact = str_printf("%s%c%s", name, tools[w->tool].version_mark, version)))
		return -ENOMEM;
	for (char *const *p = missing; r >= 0 && *p; p++)
		r = strv_push(ret, exact && strcmp(*p, name) == 0 ? exact : *p);
	return r;
}

/* What has to be asked for, NULL when nothing is missing. Its source is read and the installation simulated first, so
 * that a repository that cannot be used, or a plan with a driver in it, is seen before anything is installed. */
static int look_cuda(const struct toolkit_inside *in, const struct toolkit_want *w, char ***ret,
		     struct err *e)
{
	_cleanup_strv_ char **names = NULL, **missing = NULL, **ask = NULL;
	int r = cuda_names(w, &names);

	if (r < 0)
		return r == -EINVAL ? err_set(e, ERR_USAGE, "%s is not a CUDA version", w->cuda) : err_oom(e);
	if (!names)
		return 0;
	r = toolkit_missing(in, w, names, &missing, e);
	if (r < 0 || !missing)
		return r;
	if (with_version(w, missing, &ask) < 0)
		return err_oom(e);
	for (char **p = missing; r >= 0 && *p; p++)
		r = toolkit_package_check(*p, e);
	if (r >= 0 && w->list_path)
		r = update(in, w, true, e);
	if (r >= 0)
		r = simulate(in, w, ask, e);
	if (r >= 0)
		*ret = TAKE_PTR(ask);
	return r;
}

static int install_cuda(const struct toolkit_inside *in, const struct toolkit_want *w, char *const *ask,
			struct err *e)
{
	int r = ask ? check_space(in, w, ask, e) : 0;

	return r < 0 || !ask ? r : install_names(in, w, "installing the CUDA toolkit", ask, e);
}

/* The packages make the link by alternatives; a minimal set of them does not. */
static int link_current(const struct toolkit_inside *in, const struct toolkit_want *w, struct err *e)
{
	size_t major = strcspn(w->cuda, ".");
	_cleanup_command_ struct command c = { 0 };

	if (in->root_fd < 0 || !w->cuda[major] || path_exists(in->root_fd, "usr/local/cuda"))
		return 0;
	c.owned[0] = str_printf("cuda-%.*s", (int)(major + 1 + strcspn(w->cuda + major + 1, ".")), w->cuda);
	c.n_owned = 1;
	if (!c.owned[0])
		return err_oom(e);
	command_addv(&c, (const char *const[]){ "ln", "-s", c.owned[0], "/usr/local/cuda", NULL });
	return command_check(in, &c, "linking /usr/local/cuda", timeout_of(w), e);
}

static int finish_nvcc(const struct toolkit_inside *in, const struct toolkit_want *w, struct err *e)
{
	_cleanup_(err_done) struct err own = ERR_INIT;
	int r = toolkit_nvcc_check(in, w, &own);

	if (r == -ERR_CUDA_NVCC && w->nvcc_warn) {
		log_warn("%s", own.reason ? own.reason : "nvcc does not answer");
		return 0;
	}
	if (r < 0)
		err_move(e, &own);
	return r;
}

/* By the packages' own tool, which keeps the rest of their configuration. */
static int leave_filters(const struct toolkit_inside *in, const struct toolkit_want *w, struct err *e)
{
	static const char *const set[] = { "nvidia-ctk", "config", "--set", "nvidia-container-cli.no-cgroups",
					   "--in-place", NULL };
	_cleanup_command_ struct command c = { 0 };

	if (in->root_fd >= 0 && filters_are_left(in, w))
		return 0;
	command_addv(&c, set);
	return command_check(in, &c, "telling the container tools to leave device filters alone",
			     timeout_of(w), e);
}

static int clean(const struct toolkit_inside *in, const struct toolkit_want *w, struct err *e)
{
	_cleanup_command_ struct command c = { 0 };

	command_addv(&c, tools[w->tool].clean);
	return command_check(in, &c, "dropping downloaded packages", timeout_of(w), e);
}

static int driver_is_enough(const struct toolkit_want *w, struct err *e)
{
	const char *full = NULL;
	int r;

	if (!w->cuda || !w->driver)
		return 0;
	r = toolkit_driver_check(w->cuda, w->driver, &full, e);
	if (r >= 0 && full)
		log_warn("CUDA %s has all its features only with driver %s or newer; this one is %s", w->cuda,
			 full, w->driver);
	return r;
}

int toolkit_install(const struct toolkit_inside *in, const struct toolkit_want *w, struct err *e)
{
	_cleanup_strv_ char **ask = NULL;
	int r = driver_is_enough(w, e);

	if (r >= 0)
		r = look_cuda(in, w, &ask, e);
	if (r >= 0)
		r = install_base(in, w, e);
	if (r >= 0)
		r = install_cuda(in, w, ask, e);
	if (r >= 0 && w->cuda)
		r = link_current(in, w, e);
	if (r >= 0 && w->cuda)
		r = finish_nvcc(in, w, e);
	if (r >= 0 && w->no_cgroups)
		r = leave_filters(in, w, e);
	if (r >= 0 && w->clean)
		r = clean(in, w, e);
	return r;
}
