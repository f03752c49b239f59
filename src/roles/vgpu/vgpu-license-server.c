/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-license-server.h"

#include "fd.h"
#include "fetch.h"
#include "jutil.h"
#include "path.h"
#include "strbuf.h"
#include "tlskeys.h"
#include "vgpu-license-keys.h"
#include "vgpu-plan.h"
#include "vgpu-tools.h"
#include "err-vgpu.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX ((size_t)1 << 20)
#define TRIES	 3

#define DOCKER_KEY	   "etc/apt/keyrings/docker.asc"
#define DOCKER_LIST	   "etc/apt/sources.list.d/docker.list"
#define DOCKER_URL	   "https://download.docker.com/linux/debian"
#define DOCKER_FINGERPRINT "9DC858229FC7DD38854AE2D88D81803C0EBFCD88"

void license_setup_done(struct license_setup *s)
{
	strv_freep(&s->addresses);
	freep(&s->hostname);
	license_compose_facts_done(&s->old);
	freep(&s->address);
	freep(&s->timezone);
	freep(&s->image);
	strv_freep(&s->notes);
}

/* -- facts -- */

static bool is_ipv4(const char *text)
{
	struct in_addr a;

	return inet_pton(AF_INET, text, &a) == 1;
}

/* The addresses among the words of what was said; of "inet" lines the word behind it. */
static int take_addresses(struct license_setup *s, const char *out)
{
	struct span rest = SPAN(out), word;
	int r = 0;

	while (r >= 0 && span_word(&rest, &word)) {
		const char *slash = memchr(word.p, '/', word.len);
		_cleanup_free_ char *address = strndup(word.p, slash ? (size_t)(slash - word.p) : word.len);

		if (!address)
			return -ENOMEM;
		if (is_ipv4(address) && strncmp(address, "127.", 4) != 0 &&
		    !strv_contains(s->addresses, address))
			r = strv_push(&s->addresses, address);
	}
	return r;
}

static int read_addresses(struct license_setup *s, struct err *e)
{
	static const char *const questions[][8] = {
		{ "hostname", "-I" },
		{ "hostname", "-i" },
		{ "ip", "-4", "-o", "addr", "show", "scope", "global" },
	};
	int r = 0;

	for (size_t i = 0; r >= 0 && !s->addresses && i < ARRAY_LEN(questions); i++) {
		_cleanup_(answer_done) struct answer a = { 0 };

		r = tools_ask(s->en->host, questions[i], &a, e);
		if (r >= 0 && a.status == 0 && take_addresses(s, a.out) < 0)
			return err_oom(e);
		r = r == -ENOENT ? 0 : r;
	}
	if (r >= 0 && read_line_at(s->en->host->root_fd, "etc/hostname", &s->hostname) == 0 &&
	    !license_address_is_valid(s->hostname))
		freep(&s->hostname);
	if (r >= 0 && !s->addresses && s->hostname && strv_push(&s->addresses, s->hostname) < 0)
		r = err_oom(e);
	return r < 0 ? r : 0;
}

static int read_old(struct license_setup *s, struct err *e)
{
	_cleanup_close_ int fd =
	    path_open_at(s->en->host->root_fd, LICENSE_COMPOSE, O_RDONLY, 0, PATH_IN_ROOT);
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int r = fd < 0 ? fd : read_fd(fd, FILE_MAX, &text, &len);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_errno(e, r, "cannot read /" LICENSE_COMPOSE);
	r = license_compose_read((struct span){ text, len }, &s->old);
	if (r == -ENOENT)
		return vgpu_note(&s->notes,
				 "/" LICENSE_COMPOSE
				 " is not of our making; it is replaced, and undo gives it back") < 0
			   ? err_oom(e)
			   : 0;
	return r < 0 ? err_oom(e) : 0;
}

static int host_timezone(const struct license_setup *s, char **ret, struct err *e)
{
	_cleanup_(answer_done) struct answer a = { 0 };
	_cleanup_free_ char *line = NULL;
	struct span zone = SPAN("");
	int r = TOOLS_ASK(s->en->host, &a, e, "timedatectl", "show", "-p", "Timezone", "--value");

	if (r < 0 && r != -ENOENT)
		return r;
	if (r >= 0 && a.status == 0)
		zone = span_trim(SPAN(a.out));
	if (zone.len == 0 && read_line_at(s->en->host->root_fd, "etc/timezone", &line) == 0)
		zone = span_trim(SPAN(line));
	*ret = zone.len ? span_dup(zone) : strdup("UTC");
	if (*ret && !license_timezone_is_valid(*ret)) {
		free(*ret);
		*ret = strdup("UTC");
	}
	return *ret ? 0 : err_oom(e);
}

/* -- decisions -- */

static int listing(const struct license_setup *s, char **ret)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(4096);

	(void)strbuf_puts(&b, "Guests have to reach this machine; it has:");
	for (char **a = s->addresses; a && *a; a++)
		(void)strbuf_printf(&b, " %s", *a);
	return strbuf_steal(&b, ret);
}

static int bad_address(const char *answer, struct err *e)
{
	(void)err_set(e, ERR_USAGE, "%s is no host name or IPv4 address", answer);
	return err_next(e, "name it with --address");
}

static int decide_address(struct license_setup *s, struct err *e)
{
	const char *fallback = s->address_wanted ? s->address_wanted
			       : s->old.address	 ? s->old.address
			       : s->addresses	 ? s->addresses[0]
						 : "";
	_cleanup_free_ char *list = NULL;

	if (s->address_wanted) {
		s->address = strdup(fallback);
		return !s->address			      ? err_oom(e)
		       : license_address_is_valid(s->address) ? 0
							      : bad_address(s->address, e);
	}
	if (listing(s, &list) < 0)
		return err_oom(e);
	for (int tries = 1;; tries++) {
		freep(&s->address);
		if (ask_text(s->ask, "license_address", fallback, &s->address,
			     "%s\nAddress for guests [%s]: ", list, fallback) < 0)
			return err_oom(e);
		if (license_address_is_valid(s->address))
			return 0;
		if (!s->ask->prompt || tries == TRIES)
			return bad_address(s->address, e);
	}
}

static bool is_taken(const struct license_setup *s, unsigned port)
{
	static const char *const tables[] = { "net/tcp", "net/tcp6" };
	bool taken = false;

	for (size_t i = 0; !taken && s->en->host->proc_fd >= 0 && i < ARRAY_LEN(tables); i++) {
		_cleanup_free_ char *text = NULL;
		size_t len = 0;

		if (read_file_at(s->en->host->proc_fd, tables[i], FILE_MAX, &text, &len) >= 0)
			taken = license_port_is_taken((struct span){ text, len }, port);
	}
	return taken;
}

static int check_port(const struct license_setup *s, const char *text, unsigned *ret, struct err *e)
{
	const char *objection;
	uint64_t port = 0;

	if (parse_u64(span_trim(SPAN(text)), UINT16_MAX, &port) < 0)
		return err_set(e, ERR_VGPU_LICENSE_PORT, "%s is no port", text);
	objection = license_port_objection(port);
	/* The one it has already is taken by itself. */
	if (!objection && port != s->old.port && is_taken(s, (unsigned)port))
		objection = "something listens on it already";
	if (objection)
		return err_set(e, ERR_VGPU_LICENSE_PORT, "%s: %s", text, objection);
	*ret = (unsigned)port;
	return 0;
}

static int decide_port(struct license_setup *s, struct err *e)
{
	char fallback[24];
	int r;

	(void)snprintf(fallback, sizeof(fallback), "%llu",
		       (unsigned long long)(s->port_wanted ? s->port_wanted
					    : s->old.port  ? s->old.port
							   : LICENSE_DEFAULT_PORT));
	if (s->port_wanted)
		return check_port(s, fallback, &s->port, e);
	for (int tries = 1;; tries++) {
		_cleanup_free_ char *answer = NULL;

		if (ask_text(s->ask, "license_port", fallback, &answer,
			     "Port for guests (80, 443 and 8006 belong to others) [%s]: ", fallback) < 0)
			return err_oom(e);
		err_done(e);
		r = check_port(s, answer, &s->port, e);
		if (r >= 0 || !s->ask->prompt || tries == TRIES)
			return r;
	}
}

static int decide_image(struct license_setup *s, struct err *e)
{
	const char *image = s->image_wanted ? s->image_wanted : LICENSE_IMAGE;

	if (!license_image_is_valid(image))
		return err_set(e, ERR_USAGE, "%s is no name of a container image", image);
	/* With the digest it was pinned to. */
	if (s->old.image && span_starts(SPAN(s->old.image), image) && s->old.image[strlen(image)] == '@')
		image = s->old.image;
	s->image = strdup(image);
	return s->image ? 0 : err_oom(e);
}

/* The number before the first dot. */
static unsigned branch_major(const char *branch)
{
	return branch ? (unsigned)strtoul(branch, NULL, 10) : 0;
}

static int say_what_to_know(struct license_setup *s, struct err *e)
{
	unsigned major = branch_major(s->branch);
	int r = vgpu_note(&s->notes,
			  "a virtual machine or a container of its own is a better place for a licence "
			  "server than the host");

	if (r >= 0 && major >= LICENSE_IMAGE_MAJOR)
		r = vgpu_note(
		    &s->notes,
		    "guests of branch %s also need their licence daemon patched (gridd-unlock-patcher, with "
		    "the certificate from /-/config/root-certificate), or NVIDIA's own service",
		    s->branch);
	if (r >= 0 && major > 0 && major < LICENSE_IMAGE_MAJOR && !s->image_wanted)
		r = vgpu_note(
		    &s->notes,
		    "%s is for guests of 18.0 and newer; those of branch %s need a 1.x image (--image)",
		    LICENSE_IMAGE, s->branch);
	if (r >= 0)
		r = vgpu_note(&s->notes,
			      "leases last %d days and renew themselves; a guest needs a new token when the "
			      "server's address or keys change, and its clock has to be right",
			      LICENSE_LEASE_DAYS);
	return r < 0 ? err_oom(e) : 0;
}

/* A certificate that was made for another address is kept: guests' scripts do not look at it, other clients might. */
static int look_at_certificate(struct license_setup *s, struct err *e)
{
	_cleanup_close_ int fd = path_open_at(s->en->host->root_fd, LICENSE_CERT_DIR "/" LICENSE_WEB_CERT,
					      O_RDONLY, 0, PATH_IN_ROOT);
	_cleanup_(cert_freep) struct cert *c = NULL;
	_cleanup_free_ char *text = NULL;
	size_t len = 0;

	if (fd < 0 || read_fd(fd, FILE_MAX, &text, &len) < 0 || cert_parse(text, len, &c, NULL) < 0 ||
	    cert_names_host(c, s->address))
		return 0;
	return vgpu_note(&s->notes,
			 "/" LICENSE_CERT_DIR "/" LICENSE_WEB_CERT
			 " does not name %s: move it away and run this "
			 "again for one that does",
			 s->address) < 0
		   ? err_oom(e)
		   : 0;
}

int license_setup_decide(struct license_setup *s, struct err *e)
{
	int r = ask_yes(s->ask, "license_server", true,
			"Set up a FastAPI-DLS licence server in a container on this machine? ");

	if (r == 0)
		return err_set(e, ERR_DECLINED, "no licence server was set up");
	if (r > 0)
		r = read_addresses(s, e);
	if (r >= 0)
		r = read_old(s, e);
	if (r >= 0)
		r = decide_address(s, e);
	if (r >= 0)
		r = decide_port(s, e);
	if (r >= 0 && s->timezone_wanted)
		r = (s->timezone = strdup(s->timezone_wanted)) ? 0 : err_oom(e);
	else if (r >= 0)
		r = host_timezone(s, &s->timezone, e);
	if (r >= 0 && !license_timezone_is_valid(s->timezone))
		r = err_set(e, ERR_USAGE, "%s is no time zone", s->timezone);
	if (r >= 0)
		r = decide_image(s, e);
	if (r >= 0)
		r = look_at_certificate(s, e);
	return r < 0 ? r : say_what_to_know(s, e);
}

/* -- groups -- */

static int has_docker(const struct license_setup *s, struct err *e)
{
	_cleanup_(answer_done) struct answer a = { 0 };
	int r = TOOLS_ASK(s->en->host, &a, e, "docker", "compose", "version");

	return r == -ENOENT ? 0 : r < 0 ? r : a.status == 0;
}

static int docker_line(const struct license_setup *s, char **ret, struct err *e)
{
	_cleanup_(os_release_done) struct os_release os = { 0 };
	_cleanup_free_ char *machine = NULL;
	int r = host_os_release(s->en->host, &os, e);

	if (r < 0)
		return r;
	if (!os.codename)
		return err_set(e, ERR_UNSUPPORTED, "the system does not say which release of Debian it is");
	r = host_machine(s->en->host, &machine);
	*ret = str_printf("deb [arch=%s signed-by=/" DOCKER_KEY "] " DOCKER_URL " %s stable\n",
			  r == 0 && strcmp(machine, "aarch64") == 0 ? "arm64" : "amd64", os.codename);
	return *ret ? 0 : err_oom(e);
}

static int build_docker(struct license_setup *s, struct plan *p, struct err *e)
{
	_cleanup_free_ char *line = NULL;
	json_t *key;
	int r = has_docker(s, e);

	if (r != 0)
		return r < 0 ? r : 0;
	r = docker_line(s, &line, e);
	if (r < 0)
		return r;
	key = json_pack("{s:s, s:s, s:s}", "url", DOCKER_URL "/gpg", "path", DOCKER_KEY, "fingerprint",
			DOCKER_FINGERPRINT);
	r = key ? plan_add(p, &license_op_apt_key, key, "take the key of Docker's repository") : -ENOMEM;
	if (r >= 0 && !path_exists(s->en->host->root_fd, DOCKER_LIST))
		r = plan_add_edit(p, DOCKER_LIST, NULL, 0, line, strlen(line), 0644,
				  "name Docker's repository");
	if (r >= 0)
		r = vgpu_add_command(p, WORDS("apt-get", "update", "--error-on=any"), NULL,
				     VGPU_APT_TIMEOUT_S, true, "read the repositories' indexes");
	if (r >= 0)
		r = vgpu_add_command(p,
				     WORDS("apt-get", "install", "-y", "docker-ce", "docker-ce-cli",
					   "containerd.io", "docker-buildx-plugin", "docker-compose-plugin"),
				     WORDS("apt-get", "remove", "-y", "docker-ce", "docker-ce-cli",
					   "containerd.io", "docker-buildx-plugin", "docker-compose-plugin"),
				     VGPU_APT_TIMEOUT_S, false, "install Docker");
	return r < 0 ? err_oom(e) : 0;
}

/* 1 with the digest when the image is here. */
static int image_digest(const struct license_setup *s, char **ret, struct err *e)
{
	_cleanup_(answer_done) struct answer a = { 0 };
	struct span line;
	const char *at;
	int r = TOOLS_ASK(s->en->host, &a, e, "docker", "image", "inspect", "--format",
			  "{{index .RepoDigests 0}}", s->image);

	if (r < 0 || a.status != 0)
		return r == -ENOENT || r >= 0 ? 0 : r;
	line = span_trim(SPAN(a.out));
	at = memchr(line.p, '@', line.len);
	if (!at || !span_starts((struct span){ at, (size_t)(line.p + line.len - at) }, "@sha256:"))
		return 0;
	*ret = span_dup((struct span){ at, (size_t)(line.p + line.len - at) });
	return *ret ? 1 : err_oom(e);
}

static int build_image(struct license_setup *s, struct plan *p, struct err *e)
{
	_cleanup_free_ char *digest = NULL;
	int r = strchr(s->image, '@') ? 1 : image_digest(s, &digest, e);

	if (r != 0)
		return r < 0 ? r : 0;
	return vgpu_add_command(p, WORDS("docker", "pull", s->image),
				WORDS("docker", "image", "rm", s->image), VGPU_APT_TIMEOUT_S, false,
				"fetch the licence server's image") < 0
		   ? err_oom(e)
		   : 0;
}

static int subject_names(const struct license_setup *s, char **ret)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(4096);

	(void)strbuf_printf(&b, "%s:%s", is_ipv4(s->address) ? "IP" : "DNS", s->address);
	for (char **a = s->addresses; a && *a; a++)
		if (strcmp(*a, s->address) != 0 && is_ipv4(*a))
			(void)strbuf_printf(&b, ",IP:%s", *a);
	if (s->hostname && strcmp(s->hostname, s->address) != 0)
		(void)strbuf_printf(&b, ",DNS:%s", s->hostname);
	(void)strbuf_puts(&b, ",DNS:localhost");
	if (strcmp(s->address, "127.0.0.1") != 0)
		(void)strbuf_puts(&b, ",IP:127.0.0.1");
	return strbuf_steal(&b, ret);
}

static int build_keys(struct license_setup *s, struct plan *p, struct err *e)
{
	_cleanup_free_ char *names = NULL;
	struct plan_ctx c = { .host = s->en->host, .undo_fd = -EBADF, .log_fd = -EBADF };
	json_t *args;
	int r = subject_names(s, &names);

	args = r < 0 ? NULL
		     : json_pack("{s:s, s:s, s:s}", "dir", LICENSE_CERT_DIR, "common_name", s->address,
				 "names", names);
	if (!args)
		return err_oom(e);
	r = license_op_keys.check(&c, args, e);
	if (r != 0) {
		json_decref(args);
		return r < 0 ? r : 0;
	}
	return plan_add(p, &license_op_keys, args, "make the licence server's keys and certificate") < 0
		   ? err_oom(e)
		   : 0;
}

/* A file of ours as it is; NULL when there is none. */
static int read_text(const struct host *h, const char *path, char **ret, size_t *ret_len, struct err *e)
{
	_cleanup_close_ int fd = path_open_at(h->root_fd, path, O_RDONLY, 0, PATH_IN_ROOT);
	int r = fd < 0 ? fd : read_fd(fd, FILE_MAX, ret, ret_len);

	return r == -ENOENT ? 0 : r < 0 ? err_errno(e, r, "cannot read /%s", path) : 0;
}

static bool is_text(const char *old, size_t len, const char *text)
{
	return old && len == strlen(text) && memcmp(old, text, len) == 0;
}

static int add_text(struct plan *p, const struct host *h, const char *path, const char *text, mode_t mode,
		    const char *sentence, struct err *e)
{
	_cleanup_free_ char *old = NULL;
	size_t len = 0;
	int r = read_text(h, path, &old, &len, e);

	if (r < 0 || is_text(old, len, text))
		return r;
	return plan_add_edit(p, path, old, len, text, strlen(text), mode, sentence) < 0 ? err_oom(e) : 0;
}

int license_add_scripts(const struct license_server *s, const struct host *h, const char *dir, struct plan *p,
			struct err *e)
{
	_cleanup_free_ char *linux_text = NULL, *windows_text = NULL, *linux_path = NULL,
			    *windows_path = NULL;
	int r;

	linux_path = str_printf("%s/" LICENSE_SCRIPT_LINUX, dir);
	windows_path = str_printf("%s/" LICENSE_SCRIPT_WINDOWS, dir);
	if (!linux_path || !windows_path || license_script_linux(s, &linux_text) < 0 ||
	    license_script_windows(s, &windows_text) < 0)
		return err_oom(e);
	r = add_text(p, h, linux_path, linux_text, 0755, "write the licence script for Linux guests", e);
	if (r >= 0)
		r = add_text(p, h, windows_path, windows_text, 0644,
			     "write the licence script for Windows guests", e);
	return r;
}

/* The image by its digest too, once that is known. */
static int compose_text(struct license_setup *s, char **ret, struct err *e)
{
	struct license_server server = { s->address, s->port, s->timezone, s->image };
	_cleanup_free_ char *digest = NULL, *pinned = NULL;
	int r = strchr(s->image, '@') ? 0 : image_digest(s, &digest, e);

	if (r < 0)
		return r;
	if (digest) {
		pinned = str_printf("%s%s", s->image, digest);
		if (!pinned)
			return err_oom(e);
		server.image = pinned;
	}
	return license_compose(&server, ret) < 0 ? err_oom(e) : 0;
}

static int build_server(struct license_setup *s, struct plan *p, struct err *e)
{
	static const char *const up[] = { "docker", "compose", "-f", "/" LICENSE_COMPOSE, "up", "-d", NULL };
	static const char *const down[] = { "docker", "compose", "-f", "/" LICENSE_COMPOSE, "down", NULL };
	_cleanup_free_ char *text = NULL, *old = NULL;
	size_t len = 0;
	int r = compose_text(s, &text, e);

	if (r >= 0)
		r = read_text(s->en->host, LICENSE_COMPOSE, &old, &len, e);
	if (r < 0 || is_text(old, len, text))
		return r;
	/* Taking back a change starts the former set-up again once its file is back. */
	if (old)
		r = vgpu_add_command(p, NULL, up, VGPU_TOOL_TIMEOUT_S, false,
				     "start the former licence server");
	if (r >= 0)
		r = plan_add_edit(p, LICENSE_COMPOSE, old, len, text, strlen(text), 0644,
				  "describe the licence server");
	if (r >= 0)
		r = vgpu_add_command(p, up, old ? NULL : down, VGPU_TOOL_TIMEOUT_S, false,
				     "start the licence server");
	return r < 0 ? err_oom(e) : 0;
}

static int build_scripts(struct license_setup *s, struct plan *p, struct err *e)
{
	struct license_server server = { s->address, s->port, s->timezone, s->image };

	return license_add_scripts(&server, s->en->host, VGPU_DIR "/licenses", p, e);
}

const struct license_group license_groups[] = {
	{ "license_docker", "install Docker", build_docker },
	{ "license_image", "fetch the licence server", build_image },
	{ "license_keys", "make the licence server's keys", build_keys },
	{ "license_server", "set up the licence server", build_server },
	{ "license_scripts", "write licence scripts for guests", build_scripts },
	{ 0 },
};

int license_plan(struct license_setup *s, const struct license_group *g, struct plan **ret, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	int r = vgpu_plan_new(s->en, g->name, g->title, &p, e);

	if (r >= 0)
		r = g->build(s, p, e);
	if (r < 0)
		return err_wrap(e, "%s", g->title);
	*ret = TAKE_PTR(p);
	return 0;
}

/* -- is it up? -- */

static int judge_health(const char *text, const char *url, struct err *e)
{
	json_auto_t *answer = NULL;
	const char *status = NULL;

	if (jloadb(SPAN(text), &answer, NULL) == 0)
		status = json_string_value(json_object_get(answer, "status"));
	if (status && strcmp(status, "up") == 0)
		return 0;
	return err_set(e, ERR_VGPU_LICENSE_SERVER, "%s answered %s", url,
		       status ? status : "something else than its state");
}

int license_health(const struct engine *en, const char *address, unsigned port, const char *ca_file,
		   unsigned attempts, struct err *e)
{
	_cleanup_free_ char *url = str_printf("https://%s:%u/-/health", address, port), *text = NULL;
	struct fetch_request q = FETCH_REQUEST_INIT;
	size_t len;
	int r;

	if (!url)
		return err_oom(e);
	q.url = url;
	q.ca_file = ca_file;
	q.offline = en->offline;
	q.proxy = ""; /* it is in this network */
	q.attempts = attempts;
	q.connect_timeout_s = 5;
	q.total_timeout_s = 15;
	r = fetch_text(&q, FILE_MAX, &text, &len, e);
	if (r == -ERR_OFFLINE || r == -ENOMEM)
		return r;
	if (r < 0)
		return err_recode(e, ERR_VGPU_LICENSE_SERVER);
	return judge_health(text, url, e);
}
