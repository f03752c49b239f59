/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-osrepo.h"

#include "fd.h"
#include "jutil.h"
#include "path.h"
#include "pgpkey.h"
#include "err-lxc.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPOSITORY   "https://developer.download.nvidia.com/compute/cuda/repos/%s/%s/"
#define SOURCE_MAX   ((size_t)1 << 20)
#define SOURCES_DIR  "etc/apt/sources.list.d"
#define PROFILE_PATH "etc/profile.d/cuda.sh"
#define PROFILE_TEXT                                                                                         \
	"export CUDA_HOME=/usr/local/cuda\n"                                                                 \
	"export PATH=/usr/local/cuda/bin:\"$PATH\"\n"
#define PIN600_TEXT "Package: *\nPin: release l=NVIDIA CUDA\nPin-Priority: 600\n"
#define NOTE	    "# nvdriver: the same repository is in %s; two entries make every apt call fail\n"

/* -- which repository -- */

enum release_rule { RELEASE_NO_DOT, RELEASE_MAJOR };

static const struct system_row {
	const char *id;
	enum osrepo_tool tool;
	const char *slug;
	enum release_rule rule;
	const char *releases; /* the vendor is known to publish for; "*" = any */
} systems[] = {
	{ "ubuntu", OSREPO_APT, "ubuntu", RELEASE_NO_DOT, "2004 2204 2404 2604" },
	{ "debian", OSREPO_APT, "debian", RELEASE_MAJOR, "11 12 13" },
	{ "rhel", OSREPO_DNF, "rhel", RELEASE_MAJOR, "8 9 10" },
	{ "rocky", OSREPO_DNF, "rhel", RELEASE_MAJOR, "8 9 10" },
	{ "almalinux", OSREPO_DNF, "rhel", RELEASE_MAJOR, "8 9 10" },
	{ "ol", OSREPO_DNF, "rhel", RELEASE_MAJOR, "8 9 10" },
	{ "centos", OSREPO_DNF, "rhel", RELEASE_MAJOR, "8 9 10" },
	{ "fedora", OSREPO_DNF, "fedora", RELEASE_MAJOR, "*" },
	{ "amzn", OSREPO_DNF, "amzn", RELEASE_MAJOR, "2023" },
	{ "azurelinux", OSREPO_DNF, "azl", RELEASE_MAJOR, "3" },
	{ "sles", OSREPO_ZYPPER, "sles", RELEASE_MAJOR, "15" },
	{ "opensuse-leap", OSREPO_ZYPPER, "opensuse", RELEASE_MAJOR, "15" },
};

/* Keys by slug; the first row that fits. Newer apt refuses the self-signature of the older key, so it has its own. */
static const struct key_row {
	const char *slug; /* glob */
	const char *file, *fingerprint;
} keys[] = {
	{ "debian13", "8793F200.pub", "8793F200" },
	{ "debian1[12]", "3bf863cc.pub", "EB693B3035CD5710E231E123A4B469963BF863CC" },
	{ "ubuntu2[024]04", "3bf863cc.pub", "EB693B3035CD5710E231E123A4B469963BF863CC" },
	{ "debian*", "", NULL }, /* releases whose key was not published when this was written */
	{ "ubuntu*", "", NULL },
	{ "*", "D42D0685.pub", "D42D0685" },
};

const char *osrepo_tool_name(enum osrepo_tool t)
{
	static const char *const names[] = { "apt", "dnf", "zypper" };

	return names[t];
}

void osrepo_done(struct osrepo *o)
{
	freep(&o->url);
}

static const struct system_row *system_find(const struct os_release *os)
{
	for (size_t i = 0; os->id && i < ARRAY_LEN(systems); i++)
		if (strcmp(systems[i].id, os->id) == 0)
			return &systems[i];
	return NULL;
}

static int system_error(const struct os_release *os, const char *what, struct err *e)
{
	return err_set(e, ERR_LXC_OS, "%s %s: %s", os->id ? os->id : "an unnamed system",
		       os->version_id ? os->version_id : "", what);
}

static int slug_make(const struct system_row *row, const char *version, char *out, size_t size)
{
	size_t n = (size_t)snprintf(out, size, "%s", row->slug);

	for (const char *c = version; *c && n + 1 < size; c++) {
		if (*c == '.' && row->rule == RELEASE_MAJOR)
			break;
		if (*c == '.')
			continue;
		if (*c < '0' || *c > '9')
			return -EINVAL;
		out[n++] = *c;
	}
	out[n] = '\0';
	return n > strlen(row->slug) ? 0 : -EINVAL;
}

static bool is_listed(const struct system_row *row, const char *slug)
{
	struct span rest = SPAN(row->releases), word;

	while (span_word(&rest, &word))
		if (span_eq(word, "*") || span_eq(word, slug + strlen(row->slug)))
			return true;
	return false;
}

/* Is one component of the address's path the slug? */
static bool url_is_for(const char *url, const char *slug)
{
	size_t n = strlen(slug);

	for (const char *p = strstr(url, slug); p; p = strstr(p + 1, slug))
		if (p > url && p[-1] == '/' && (p[n] == '/' || p[n] == '\0'))
			return true;
	return false;
}

static int url_make(const char *configured, struct osrepo *o)
{
	const char *slash = configured && *configured && configured[strlen(configured) - 1] != '/' ? "/" : "";

	o->url_ignored = configured && !url_is_for(configured, o->slug);
	o->url = configured && !o->url_ignored ? str_printf("%s%s", configured, slash)
					       : str_printf(REPOSITORY, o->slug, o->march);
	return o->url ? 0 : -ENOMEM;
}

static void key_choose(struct osrepo *o)
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (fnmatch(keys[i].slug, o->slug, 0) == 0) {
			(void)snprintf(o->key_file, sizeof(o->key_file), "%s", keys[i].file);
			o->fingerprint = keys[i].fingerprint;
			return;
		}
}

void osrepo_key_use(struct osrepo *o, const char *fingerprint)
{
	size_t n = strlen(fingerprint);

	o->fingerprint = fingerprint;
	if (!*o->key_file)
		(void)snprintf(o->key_file, sizeof(o->key_file), "%s.pub", fingerprint + (n > 8 ? n - 8 : 0));
}

int osrepo_key_check(const struct osrepo *o, struct err *e)
{
	if (o->fingerprint && *o->key_file)
		return 0;
	(void)err_set(e, ERR_CUDA_KEY, "which key signs the CUDA packages of %s is not known to this version",
		      o->slug);
	return err_next(
	    e, "take the key's fingerprint from the publisher's page and set repo-key in section [lxc] of "
	       "nvdriver.conf, or go on with --no-toolkit");
}

int osrepo_choose(const struct os_release *os, const char *machine, const char *configured_url,
		  struct osrepo *ret, struct err *e)
{
	const struct system_row *row = system_find(os);
	struct osrepo o = { 0 };

	if (!row)
		return system_error(os, "the vendor publishes no CUDA repository for it", e);
	if (!os->version_id || slug_make(row, os->version_id, o.slug, sizeof(o.slug)) < 0)
		return system_error(os, "its release is not a number", e);
	(void)snprintf(o.march, sizeof(o.march), "%s", strcmp(machine, "aarch64") == 0 ? "sbsa" : machine);
	o.tool = row->tool;
	o.is_listed = is_listed(row, o.slug);
	key_choose(&o);
	if (url_make(configured_url, &o) < 0)
		return err_oom(e);
	*ret = o;
	return 0;
}

/* -- driver packages -- */

const char *const osrepo_driver_packages[] = {
	"cuda-drivers*",
	"nvidia-driver*",
	"nvidia-open*",
	"nvidia-kernel-*",
	"nvidia-dkms-*",
	"nvidia-utils-*",
	"nvidia-smi",
	"nvidia-persistenced",
	"nvidia-modprobe",
	"nvidia-settings",
	"libcuda1",
	"libcudadebugger1",
	"libnvidia-compute*",
	"libnvidia-decode*",
	"libnvidia-encode*",
	"libnvidia-gl*",
	"libnvidia-cfg1*",
	"libnvidia-common*",
	"libnvidia-extra*",
	"libnvidia-fbc1*",
	"libnvidia-ml1",
	"libnvidia-ptxjitcompiler1",
	"libnvidia-nvvm*",
	"xserver-xorg-video-nvidia*",
	"firmware-nvidia-gsp",
	NULL,
};

bool osrepo_is_driver_package(const char *name)
{
	for (size_t i = 0; osrepo_driver_packages[i]; i++)
		if (fnmatch(osrepo_driver_packages[i], name, 0) == 0)
			return true;
	return false;
}

/* -- texts -- */

char *osrepo_list_path(const struct osrepo *o)
{
	switch (o->tool) {
	case OSREPO_APT:
		return str_printf(SOURCES_DIR "/cuda-%s-%s.list", o->slug, o->march);
	case OSREPO_DNF:
		return str_printf("etc/yum.repos.d/cuda-%s.repo", o->slug);
	default:
		return str_printf("etc/zypp/repos.d/cuda-%s.repo", o->slug);
	}
}

const char *osrepo_key_path(const struct osrepo *o)
{
	return o->tool == OSREPO_APT ? OSREPO_APT_KEYRING : OSREPO_RPM_KEY;
}

static void patterns_text(const char *separator, struct strbuf *out)
{
	for (size_t i = 0; osrepo_driver_packages[i]; i++)
		(void)strbuf_printf(out, "%s%s", i ? separator : "", osrepo_driver_packages[i]);
}

int osrepo_list_text(const struct osrepo *o, struct strbuf *out)
{
	if (o->tool == OSREPO_APT)
		return strbuf_printf(out, "deb [signed-by=/" OSREPO_APT_KEYRING "] %s /\n", o->url);
	(void)strbuf_printf(out,
			    "[cuda-%s-%s]\nname=cuda-%s-%s\nbaseurl=%s\nenabled=1\ngpgcheck=1\n"
			    "gpgkey=file:///" OSREPO_RPM_KEY "\n",
			    o->slug, o->march, o->slug, o->march, o->url);
	if (o->tool == OSREPO_DNF) {
		(void)strbuf_puts(out, "excludepkgs=");
		patterns_text(",", out);
		(void)strbuf_putc(out, '\n');
	}
	return strbuf_error(out);
}

int osrepo_pin_text(struct strbuf *out)
{
	(void)strbuf_puts(
	    out, "# nvdriver: the driver of a container is the host's; no package may bring another\n"
		 "Package: ");
	patterns_text(" ", out);
	return strbuf_puts(out, "\nPin: release *\nPin-Priority: -1\n");
}

static bool is_locked(struct span text, const char *pattern)
{
	struct span line;

	while (span_line(&text, &line)) {
		line = span_trim(line);
		if (!span_starts(line, "solvable_name:"))
			continue;
		line.p += strlen("solvable_name:");
		line.len -= strlen("solvable_name:");
		if (span_eq(span_trim(line), pattern))
			return true;
	}
	return false;
}

int osrepo_zypp_locks(struct span text, struct strbuf *out)
{
	(void)strbuf_append(out, text.p, text.len);
	if (text.len > 0 && text.p[text.len - 1] != '\n')
		(void)strbuf_putc(out, '\n');
	for (size_t i = 0; osrepo_driver_packages[i]; i++)
		if (!is_locked(text, osrepo_driver_packages[i]))
			(void)strbuf_printf(out,
					    "\ntype: package\nmatch_type: glob\ncase_sensitive: on\n"
					    "solvable_name: %s\n",
					    osrepo_driver_packages[i]);
	return strbuf_error(out);
}

/* The part of an address that says which repository it is: no scheme, no last slash. */
static struct span url_core(struct span url)
{
	for (size_t i = 0; i + 3 <= url.len; i++)
		if (memcmp(url.p + i, "://", 3) == 0) {
			url.p += i + 3;
			url.len -= i + 3;
			break;
		}
	while (url.len > 0 && url.p[url.len - 1] == '/')
		url.len--;
	return url;
}

static bool names_url(struct span text, struct span core)
{
	struct span word;

	while (span_word(&text, &word)) {
		word = url_core(word);
		if (word.len == core.len && memcmp(word.p, core.p, core.len) == 0)
			return true;
	}
	return false;
}

static void disable_lines(struct span text, struct span core, const char *url, struct strbuf *out,
			  bool *changed)
{
	struct span line;

	while (span_line(&text, &line)) {
		struct span words = span_trim(line);
		bool last = text.len == 0 && line.p + line.len == text.p;

		if (words.len > 0 && words.p[0] != '#' && names_url(words, core)) {
			*changed = true;
			(void)strbuf_printf(out, NOTE "# ", url);
		}
		(void)strbuf_append(out, line.p, line.len);
		if (!last)
			(void)strbuf_putc(out, '\n');
	}
}

/* End of the stanza that begins at the start of `text`, its empty line left out. */
static size_t stanza_length(struct span text)
{
	struct span rest = text, line;
	size_t end = 0;

	while (span_line(&rest, &line)) {
		if (span_trim(line).len == 0)
			return end;
		end = (size_t)(rest.p - text.p);
	}
	return text.len;
}

static bool stanza_names(struct span stanza, struct span core)
{
	struct span line;
	bool in_uris = false;

	while (span_line(&stanza, &line)) {
		if (line.len > 0 && line.p[0] != ' ' && line.p[0] != '\t')
			in_uris = line.len >= 5 && strncasecmp(line.p, "URIs:", 5) == 0;
		else if (!in_uris)
			continue;
		if (in_uris && names_url(line, core))
			return true;
	}
	return false;
}

static bool line_is_enabled_key(struct span line)
{
	return line.len >= 8 && strncasecmp(line.p, "Enabled:", 8) == 0;
}

static bool stanza_is_off(struct span stanza)
{
	struct span line;
	bool value = true;

	while (span_line(&stanza, &line))
		if (line_is_enabled_key(line)) {
			line.p += 8;
			line.len -= 8;
			(void)parse_bool(span_trim(line), &value);
		}
	return !value;
}

static void stanza_disable(struct span stanza, const char *url, struct strbuf *out)
{
	struct span line;

	(void)strbuf_printf(out, NOTE "Enabled: no\n", url);
	while (span_line(&stanza, &line))
		if (!line_is_enabled_key(line)) {
			(void)strbuf_append(out, line.p, line.len);
			(void)strbuf_putc(out, '\n');
		}
}

static void disable_stanzas(struct span text, struct span core, const char *url, struct strbuf *out,
			    bool *changed)
{
	while (text.len > 0) {
		size_t n = stanza_length(text);
		struct span stanza = { text.p, n }, gap;

		if (n > 0 && stanza_names(stanza, core) && !stanza_is_off(stanza)) {
			*changed = true;
			stanza_disable(stanza, url, out);
		} else {
			(void)strbuf_append(out, stanza.p, stanza.len);
		}
		text.p += n;
		text.len -= n;
		gap = text;
		if (span_line(&text, &(struct span){ 0 }))
			(void)strbuf_append(out, gap.p, gap.len - text.len);
	}
}

int osrepo_apt_disable(struct span text, bool is_deb822, const char *url, struct strbuf *out,
		       bool *ret_changed)
{
	struct span core = url_core(SPAN(url));

	*ret_changed = false;
	if (is_deb822)
		disable_stanzas(text, core, url, out, ret_changed);
	else
		disable_lines(text, core, url, out, ret_changed);
	return strbuf_error(out);
}

/* -- what a container has -- */

/* NULL when it is not there or not a plain file. */
static char *read_text(int root_fd, const char *path, size_t *ret_len)
{
	_cleanup_close_ int fd = path_open_at(root_fd, path, O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
	struct stat st;
	char *text;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return NULL;
	return read_fd(fd, SOURCE_MAX, &text, ret_len) < 0 ? NULL : text;
}

bool osrepo_key_is_right(struct span text, const char *fingerprint)
{
	_cleanup_strv_ char **found = NULL;
	_cleanup_free_ uint8_t *ring = NULL;
	size_t len;

	return pgpkey_binary(text, &ring, &len, NULL) >= 0 &&
	       pgpkey_fingerprints((struct span){ (const char *)ring, len }, &found, NULL) >= 0 &&
	       pgpkey_matches(found, fingerprint);
}

bool osrepo_has_key(int root_fd, const struct osrepo *o)
{
	size_t len;
	_cleanup_free_ char *text = read_text(root_fd, osrepo_key_path(o), &len);

	return text && osrepo_key_is_right((struct span){ text, len }, o->fingerprint);
}

static int entry_add(json_t *entries, const char *path, const void *bytes, size_t len, bool keep_owner)
{
	json_t *o = json_pack("{s:s, s:s, s:i, s:o*, s:b}", "path", path, "type", "file", "mode", 0644,
			      "bytes_base64", jbytes(bytes, len), "keep_owner", (int)keep_owner);

	return o && json_array_append_new(entries, o) == 0 ? 0 : -ENOMEM;
}

/* An entry unless the file has these very bytes. */
static int entry_want(int root_fd, json_t *entries, const char *path, const void *bytes, size_t len)
{
	size_t have_len;
	_cleanup_free_ char *have = read_text(root_fd, path, &have_len);

	if (have && have_len == len && memcmp(have, bytes, len) == 0)
		return 0;
	return entry_add(entries, path, bytes, len, false);
}

static int entry_text(int root_fd, json_t *entries, const char *path, struct strbuf *text)
{
	int r = strbuf_error(text);

	return r < 0 ? r : entry_want(root_fd, entries, path, strbuf_str(text), text->len);
}

static int key_entry(int root_fd, const struct osrepo *o, struct span key, json_t *entries, struct err *e)
{
	_cleanup_free_ uint8_t *ring = NULL;
	size_t len;
	int r;

	if (osrepo_has_key(root_fd, o))
		return 0;
	if (!key.p || !osrepo_key_is_right(key, o->fingerprint))
		return err_set(e, ERR_CUDA_KEY, "%s%s is not the key with fingerprint %s", o->url,
			       o->key_file, o->fingerprint);
	r = pgpkey_binary(key, &ring, &len, e);
	if (r < 0)
		return r;
	/* rpm wants its keys armoured, apt binary. */
	r = o->tool == OSREPO_APT ? entry_want(root_fd, entries, OSREPO_APT_KEYRING, ring, len)
				  : entry_want(root_fd, entries, OSREPO_RPM_KEY, key.p, key.len);
	return r < 0 ? err_oom(e) : 0;
}

static int list_entry(int root_fd, const struct osrepo *o, json_t *entries)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(STRBUF_TEXT_MAX);
	_cleanup_free_ char *path = osrepo_list_path(o);

	if (!path)
		return -ENOMEM;
	(void)osrepo_list_text(o, &text);
	return entry_text(root_fd, entries, path, &text);
}

static int apt_pins(int root_fd, bool packaged, json_t *entries)
{
	_cleanup_(strbuf_done) struct strbuf pin = STRBUF_INIT(STRBUF_TEXT_MAX);
	int r;

	(void)osrepo_pin_text(&pin);
	r = entry_text(root_fd, entries, OSREPO_APT_PIN, &pin);
	if (r >= 0 && !packaged && !path_exists(root_fd, OSREPO_APT_PIN600))
		r = entry_add(entries, OSREPO_APT_PIN600, PIN600_TEXT, strlen(PIN600_TEXT), false);
	return r;
}

static int zypp_locks(int root_fd, json_t *entries)
{
	_cleanup_(strbuf_done) struct strbuf locks = STRBUF_INIT(STRBUF_TEXT_MAX);
	size_t len = 0;
	_cleanup_free_ char *have = read_text(root_fd, OSREPO_ZYPP_LOCKS, &len);

	(void)osrepo_zypp_locks((struct span){ have, have ? len : 0 }, &locks);
	return entry_text(root_fd, entries, OSREPO_ZYPP_LOCKS, &locks);
}

static int source_disable(int root_fd, const char *path, const char *url, json_t *entries, char ***notes)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(2 * SOURCE_MAX);
	size_t len, n = strlen(path);
	_cleanup_free_ char *text = read_text(root_fd, path, &len), *note = NULL;
	bool changed;
	int r;

	if (!text)
		return 0;
	r = osrepo_apt_disable((struct span){ text, len }, n > 8 && strcmp(path + n - 8, ".sources") == 0,
			       url, &out, &changed);
	if (r < 0 || !changed)
		return r;
	note = str_printf("another entry for the same repository in /%s is switched off", path);
	if (!note || (notes && strv_push(notes, note) < 0))
		return -ENOMEM;
	return entry_add(entries, path, strbuf_str(&out), out.len, true);
}

static int foreign_sources(int root_fd, const struct osrepo *o, json_t *entries, char ***notes)
{
	_cleanup_free_ char *own = osrepo_list_path(o);
	_cleanup_strv_ char **names = NULL;
	int r = own && path_names(root_fd, SOURCES_DIR, &names) != -ENOMEM ? 0 : -ENOMEM;

	if (r >= 0)
		r = source_disable(root_fd, "etc/apt/sources.list", o->url, entries, notes);
	for (char **p = names; r >= 0 && p && *p; p++) {
		_cleanup_free_ char *path = str_printf(SOURCES_DIR "/%s", *p);

		if (!path)
			return -ENOMEM;
		if (**p != '.' && strcmp(path, own) != 0)
			r = source_disable(root_fd, path, o->url, entries, notes);
	}
	return r;
}

static int rest_entries(int root_fd, const struct osrepo *o, bool profile, bool packaged, json_t *entries,
			char ***notes, struct err *e)
{
	int r = 0;

	if (o->tool == OSREPO_APT)
		r = apt_pins(root_fd, packaged, entries);
	if (r >= 0 && o->tool == OSREPO_APT)
		r = foreign_sources(root_fd, o, entries, notes);
	if (r >= 0 && o->tool == OSREPO_ZYPPER)
		r = zypp_locks(root_fd, entries);
	if (r >= 0 && profile)
		r = entry_want(root_fd, entries, PROFILE_PATH, PROFILE_TEXT, strlen(PROFILE_TEXT));
	return r < 0 ? err_errno(e, r, "reading the container's package sources") : 0;
}

int osrepo_entries(int root_fd, const struct osrepo *o, struct span key, bool profile, json_t *entries,
		   char ***notes, struct err *e)
{
	int r = key_entry(root_fd, o, key, entries, e);

	if (r < 0)
		return r;
	r = list_entry(root_fd, o, entries);
	if (r < 0)
		return err_errno(e, r, "reading the container's package sources");
	return rest_entries(root_fd, o, profile, false, entries, notes, e);
}

int osrepo_other_entries(int root_fd, const struct osrepo *o, bool profile, json_t *entries, char ***notes,
			 struct err *e)
{
	return rest_entries(root_fd, o, profile, true, entries, notes, e);
}
