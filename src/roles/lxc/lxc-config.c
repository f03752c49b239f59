/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-config.h"

#include "fd.h"
#include "fetch.h"
#include "jutil.h"
#include "log.h"
#include "path.h"
#include "strbuf.h"
#include "err-lxc.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX ((size_t)16 << 20)

/* -- rules for single values -- */

/* Groups of digits between dots: how many, and how long each may be. */
static bool is_dotted(const char *s, size_t min_groups, size_t max_groups, size_t first_digits,
		      size_t max_digits)
{
	size_t groups = 0;

	for (;;) {
		size_t n = strspn(s, "0123456789");

		if (n == 0 || n > (groups ? max_digits : first_digits) || (groups == 0 && n < first_digits))
			return false;
		groups++;
		s += n;
		if (*s == '\0')
			return groups >= min_groups && groups <= max_groups;
		if (*s++ != '.')
			return false;
	}
}

bool lxc_version_is_valid(const char *s)
{
	return is_dotted(s, 2, 3, 3, 3);
}

bool lxc_cuda_version_is_valid(const char *s)
{
	return is_dotted(s, 1, 3, 2, 2);
}

static bool is_uuid(struct span s)
{
	if (!span_starts(s, "GPU-") || s.len != 40)
		return false;
	for (size_t i = 4; i < s.len; i++) {
		bool dash = i == 12 || i == 17 || i == 22 || i == 27;

		if (dash ? s.p[i] != '-' : !isxdigit((unsigned char)s.p[i]))
			return false;
	}
	return true;
}

static bool is_pci(struct span s)
{
	static const char shape[] = "xxxx:xx:xx.x";

	if (s.len != sizeof(shape) - 1)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (shape[i] == 'x' ? !isxdigit((unsigned char)s.p[i]) : s.p[i] != shape[i])
			return false;
	return true;
}

bool lxc_assignment_is_valid(const char *s)
{
	if (strcmp(s, "none") == 0)
		return true;
	for (;;) {
		size_t n = strcspn(s, ",");
		struct span one = { s, n };
		uint64_t minor;

		if (parse_u64(one, 255, &minor) < 0 && !is_uuid(one) && !is_pci(one))
			return false;
		s += n;
		if (*s == '\0')
			return true;
		s += 1 + (s[1] == ' ');
	}
}

int lxc_runfile_version(const char *name, char **ret_arch, char **ret_version)
{
	static const char *const arches[] = { "x86_64", "aarch64" };
	static const char *const tails[] = { ".run", "-no-compat32.run", "-grid.run", "-vgpu-kvm.run" };

	for (size_t a = 0; a < ARRAY_LEN(arches); a++) {
		_cleanup_free_ char *head = str_printf("NVIDIA-Linux-%s-", arches[a]);
		struct span rest;

		if (!head)
			return -ENOMEM;
		if (!span_starts(SPAN(name), head))
			continue;
		rest = SPAN(name + strlen(head));
		for (size_t t = 0; t < ARRAY_LEN(tails); t++) {
			_cleanup_free_ char *version = NULL, *arch = NULL;

			if (!span_ends(rest, tails[t]))
				continue;
			version = span_dup((struct span){ rest.p, rest.len - strlen(tails[t]) });
			arch = strdup(arches[a]);
			if (!version || !arch)
				return -ENOMEM;
			if (!lxc_version_is_valid(version))
				continue;
			*ret_version = TAKE_PTR(version);
			if (ret_arch)
				*ret_arch = TAKE_PTR(arch);
			return 0;
		}
	}
	return -EINVAL;
}

int lxc_template_os(const char *template, char **ret_id, char **ret_version)
{
	const char *base = strrchr(template, '/'), *dash, *end;
	_cleanup_free_ char *id = NULL, *version = NULL;

	base = base ? base + 1 : template;
	if (strchr(base, ':'))
		base = strrchr(base, ':') + 1;
	dash = strchr(base, '-');
	if (!dash || dash == base || !isdigit((unsigned char)dash[1]))
		return -ENOENT;
	end = dash + 1 + strspn(dash + 1, "0123456789.");
	if (*end != '-' && *end != '_')
		return -ENOENT;
	id = span_dup((struct span){ base, (size_t)(dash - base) });
	version = span_dup((struct span){ dash + 1, (size_t)(end - dash - 1) });
	if (!id || !version)
		return -ENOMEM;
	*ret_id = TAKE_PTR(id);
	*ret_version = TAKE_PTR(version);
	return 0;
}

/* -- loading -- */

void lxc_config_freep(struct lxc_config **c)
{
	if (!*c)
		return;
	free((*c)->lxc_path);
	free((*c)->hypervisor_path);
	json_decref((*c)->lxc);
	json_decref((*c)->hypervisor);
	strv_freep(&(*c)->warnings);
	freep(c);
}

void lxc_ct_config_done(struct lxc_ct_config *c)
{
	char **const owned[] = { &c->id,	   &c->name,	     &c->assignment, &c->version,
				 &c->version_from, &c->url,	     &c->runfile,    &c->sha256,
				 &c->repo_url,	   &c->cuda_version, &c->os_id,	     &c->os_version };

	for (size_t i = 0; i < ARRAY_LEN(owned); i++)
		freep(owned[i]);
	strv_freep(&c->dependents);
	*c = (struct lxc_ct_config){ 0 };
}

static int value_error(struct err *e, const char *file, const char *key, const char *value, const char *rule)
{
	(void)err_set(e, ERR_LXC_CONFIG, "%s: %s: \"%.200s\" is not %s", file ? file : "the command line",
		      key, value, rule);
	return err_object(e, "%s", file ? file : key);
}

static int parse_one(struct span text, const char *path, json_t **ret, struct err *e)
{
	_cleanup_json_ json_t *j = NULL;
	int r = jparse(text, &j, e);

	if (r == -ENOMEM)
		return r;
	if (r >= 0 && !json_is_object(j))
		r = err_set(e, ERR_LXC_CONFIG, "the root is not an object");
	if (r < 0) {
		(void)err_wrap(e, "%s", path);
		(void)err_object(e, "%s", path);
		return err_recode(e, ERR_LXC_CONFIG);
	}
	*ret = TAKE_PTR(j);
	return 0;
}

int lxc_config_parse(struct span lxc, const char *lxc_path, struct span hypervisor,
		     const char *hypervisor_path, struct lxc_config **ret, struct err *e)
{
	_cleanup_(lxc_config_freep) struct lxc_config *c = calloc(1, sizeof(*c));
	int r = 0;

	if (!c)
		return err_oom(e);
	if (lxc.len) {
		c->lxc_path = strdup(lxc_path);
		r = c->lxc_path ? parse_one(lxc, lxc_path, &c->lxc, e) : err_oom(e);
	}
	if (r >= 0 && hypervisor.len) {
		c->hypervisor_path = strdup(hypervisor_path);
		r = c->hypervisor_path ? parse_one(hypervisor, hypervisor_path, &c->hypervisor, e)
				       : err_oom(e);
	}
	if (r < 0)
		return r;
	if (c->lxc && !json_is_object(json_object_get(c->lxc, "lxc_configs")))
		return err_set(e, ERR_LXC_CONFIG, "%s: lxc_configs is missing or no object", lxc_path);
	*ret = TAKE_PTR(c);
	return 0;
}

/* -ENOENT silently. */
static int read_config(const struct host *h, const char *path, char **ret, size_t *ret_len, struct err *e)
{
	_cleanup_close_ int fd =
	    path_open_at(h->root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, PATH_IN_ROOT);
	int r = fd < 0 ? fd : read_fd(fd, FILE_MAX, ret, ret_len);

	if (r == -ENOENT || r >= 0)
		return r;
	(void)err_errno(e, r, "cannot read %s", path);
	(void)err_object(e, "%s", path);
	return err_recode(e, ERR_LXC_CONFIG);
}

static const char *first_of(const char *a, const char *b)
{
	return a && *a ? a : b && *b ? b : NULL;
}

static int missing(const char *path, struct err *e)
{
	(void)err_set(e, ERR_LXC_CONFIG, "%s does not exist", path);
	return err_object(e, "%s", path);
}

static const char *hypervisor_lxc_path(json_t *hypervisor)
{
	return json_string_value(
	    json_object_get(json_object_get(hypervisor, "core_paths"), "lxc_config_file"));
}

int lxc_config_load(const struct host *h, const struct lxc_config_paths *paths, struct lxc_config **ret,
		    struct err *e)
{
	const char *hyp = first_of(paths->hypervisor_config, getenv("HYPERVISOR_CONFIG_FILE"));
	const char *lxc = first_of(first_of(paths->lxc_config, getenv("LXC_CONFIG_FILE")),
				   getenv("PHOENIX_LXC_CONFIG_FILE"));
	_cleanup_free_ char *hyp_text = NULL, *lxc_text = NULL;
	_cleanup_json_ json_t *parsed = NULL;
	size_t hyp_len = 0, lxc_len = 0;
	bool is_old = false;
	int r;

	r = read_config(h, hyp ? hyp : LXC_HYPERVISOR_DEFAULT, &hyp_text, &hyp_len, e);
	if (r == -ENOENT && hyp)
		return missing(hyp, e);
	if (r < 0 && r != -ENOENT)
		return r;
	if (!hyp)
		hyp = LXC_HYPERVISOR_DEFAULT;
	if (!lxc && hyp_len) {
		r = parse_one((struct span){ hyp_text, hyp_len }, hyp, &parsed, e);
		if (r < 0)
			return r;
		lxc = hypervisor_lxc_path(parsed);
	}
	r = read_config(h, lxc ? lxc : LXC_CONFIG_DEFAULT, &lxc_text, &lxc_len, e);
	if (r == -ENOENT && lxc)
		return missing(lxc, e);
	if (r == -ENOENT) {
		r = read_config(h, LXC_CONFIG_OLD, &lxc_text, &lxc_len, e);
		is_old = r >= 0;
		lxc = is_old ? LXC_CONFIG_OLD : NULL;
	}
	if (r < 0 && r != -ENOENT)
		return r;
	r = lxc_config_parse((struct span){ lxc_text, lxc_len }, lxc ? lxc : LXC_CONFIG_DEFAULT,
			     (struct span){ hyp_text, hyp_len }, hyp, ret, e);
	if (r >= 0 && is_old && strv_push(&(*ret)->warnings, "using " LXC_CONFIG_OLD ", the older place") < 0)
		return err_oom(e);
	return r;
}

/* -- looking up -- */

/* null, a missing member, "" and the text "null" all are nothing. */
static const char *text_of(const json_t *object, const char *key, bool *ret_wrong_type)
{
	const json_t *v = json_object_get(object, key);
	const char *s = json_string_value(v);

	if (v && !json_is_null(v) && !s)
		*ret_wrong_type = true;
	return s && *s && strcmp(s, "null") != 0 ? s : NULL;
}

struct lookup {
	const struct lxc_config *c;
	const json_t *ct; /* entry of the container; NULL */
	const char *id;
	struct err *e;
};

struct found {
	const char *value; /* NULL = nowhere */
	const char *file; /* borrowed from the configuration */
	char key[160];
};

static int wrong_type(const struct lookup *l, const char *file, const char *key)
{
	(void)err_set(l->e, ERR_LXC_CONFIG, "%s: %s is not a string", file, key);
	return err_object(l->e, "%s", file);
}

/* A key of the container's entry, then of the root, then `hyp_key` of the hypervisor file's `hyp_object`. */
static int look_up(const struct lookup *l, const char *key, const char *hyp_object, const char *hyp_key,
		   struct found *ret)
{
	bool wrong = false;

	*ret = (struct found){ 0 };
	ret->file = l->c->lxc_path;
	snprintf(ret->key, sizeof(ret->key), "lxc_configs.%.64s.%s", l->id, key);
	ret->value = text_of(l->ct, key, &wrong);
	if (wrong)
		return wrong_type(l, ret->file, ret->key);
	if (!ret->value) {
		snprintf(ret->key, sizeof(ret->key), "%s", key);
		ret->value = text_of(l->c->lxc, key, &wrong);
		if (wrong)
			return wrong_type(l, ret->file, ret->key);
	}
	if (!ret->value && hyp_key) {
		ret->file = l->c->hypervisor_path;
		snprintf(ret->key, sizeof(ret->key), "%s.%s", hyp_object, hyp_key);
		ret->value = text_of(json_object_get(l->c->hypervisor, hyp_object), hyp_key, &wrong);
		if (wrong)
			return wrong_type(l, ret->file, ret->key);
	}
	return 0;
}

static int keep(char **to, const char *value, struct err *e)
{
	if (!value)
		return 0;
	free(*to);
	*to = strdup(value);
	return *to ? 0 : err_oom(e);
}

static bool list_has(const json_t *list, const char *word)
{
	const json_t *v;
	size_t i;

	json_array_foreach (list, i, v)
		if (json_is_string(v) && strcmp(json_string_value(v), word) == 0)
			return true;
	return false;
}

/* In older files `features` is a string of Proxmox VE's own features; the assignment alone decides there. */
static int gate(const struct lookup *l, struct lxc_ct_config *ret)
{
	const json_t *features = json_object_get(l->ct, "features");
	bool wrong = false;
	const char *assignment = text_of(l->ct, "gpu_assignment", &wrong);
	char key[160];

	snprintf(key, sizeof(key), "lxc_configs.%.64s.gpu_assignment", l->id);
	if (wrong)
		return wrong_type(l, l->c->lxc_path, key);
	if (assignment && !lxc_assignment_is_valid(assignment))
		return value_error(l->e, l->c->lxc_path, key, assignment,
				   "none, or GPU indexes, UUIDs or PCI addresses separated by commas");
	ret->enabled = assignment && strcmp(assignment, "none") != 0;
	if (!json_is_string(features))
		ret->enabled = ret->enabled && list_has(features, "nvidia");
	return keep(&ret->assignment, assignment ? assignment : "none", l->e);
}

static bool options_unconfined(const json_t *ct)
{
	static const char *const keys[] = { "lxc_options", "pct_options" };
	const json_t *v;
	size_t i;

	for (size_t k = 0; k < ARRAY_LEN(keys); k++)
		json_array_foreach (json_object_get(ct, keys[k]), i, v)
			if (json_is_string(v) && strstr(json_string_value(v), "lxc.apparmor.profile") &&
			    strstr(json_string_value(v), "unconfined"))
				return true;
	return false;
}

/* The template's name tells the system; it is inherited from the container this one was cloned from. */
static int template_find(const struct lookup *l, struct lxc_ct_config *ret)
{
	const json_t *all = json_object_get(l->c->lxc, "lxc_configs"), *ct = l->ct;
	const char *id = l->id;

	for (unsigned depth = 0; ct; depth++) {
		bool wrong = false;
		const char *template = text_of(ct, "template", &wrong), *from;
		int r;

		if (template) {
			r = lxc_template_os(template, &ret->os_id, &ret->os_version);
			return r == -ENOMEM ? err_oom(l->e) : 0;
		}
		from = text_of(ct, "clone_from_ctid", &wrong);
		if (wrong || !from)
			return 0;
		if (depth >= LXC_INHERIT_DEPTH_MAX || strcmp(from, l->id) == 0)
			return err_set(
			    l->e, ERR_LXC_CONFIG,
			    "%s: lxc_configs.%s.clone_from_ctid: the chain of clones has a loop or more than "
			    "%d links",
			    l->c->lxc_path, id, LXC_INHERIT_DEPTH_MAX);
		id = from;
		ct = json_object_get(all, from);
	}
	return 0;
}

static int facts_take(const struct lookup *l, struct lxc_ct_config *ret)
{
	const json_t *unprivileged = json_object_get(l->ct, "unprivileged"), *dep;
	bool wrong = false;
	size_t i;
	int r;

	ret->unprivileged_known = json_is_boolean(unprivileged);
	ret->unprivileged = json_is_true(unprivileged);
	ret->has_id_maps = json_is_array(json_object_get(l->ct, "id_maps"));
	ret->has_snapshots = json_is_true(json_object_get(l->ct, "enable_lifecycle_snapshots"));
	ret->unconfined = options_unconfined(l->ct);
	json_array_foreach (json_object_get(l->ct, "dependencies"), i, dep) {
		_cleanup_free_ char *id = json_is_integer(dep)
					      ? str_printf("%lld", (long long)json_integer_value(dep))
					  : json_is_string(dep) ? strdup(json_string_value(dep))
								: NULL;

		if (id && strv_push(&ret->dependents, id) < 0)
			return err_oom(l->e);
	}
	r = keep(&ret->name, text_of(l->ct, "name", &wrong), l->e);
	return r < 0 ? r : template_find(l, ret);
}

/* -- version and URL -- */

static int version_take(const struct lookup *l, struct lxc_ct_config *ret)
{
	const char *hyp_version, *hyp_key = "nvidia_driver.version";
	bool wrong = false;
	struct found f;
	int r;

	r = look_up(l, "nvidia_driver_version", NULL, NULL, &f);
	if (r < 0)
		return r;
	if (f.value && !lxc_version_is_valid(f.value))
		return value_error(l->e, f.file, f.key, f.value, "a driver version such as 535.261.03");
	hyp_version = text_of(json_object_get(l->c->hypervisor, "nvidia_driver"), "version", &wrong);
	if (!hyp_version && !wrong) {
		hyp_version = text_of(json_object_get(l->c->hypervisor, "nvidia"), "driver_version", &wrong);
		hyp_key = "nvidia.driver_version";
		if (hyp_version)
			log_warn("%s: %s is an older spelling of nvidia_driver.version",
				 l->c->hypervisor_path, hyp_key);
	}
	if (wrong)
		return wrong_type(l, l->c->hypervisor_path, hyp_key);
	if (hyp_version && !lxc_version_is_valid(hyp_version))
		return value_error(l->e, l->c->hypervisor_path, hyp_key, hyp_version,
				   "a driver version such as 535.261.03");
	if (f.value && hyp_version && strcmp(f.value, hyp_version) != 0) {
		(void)err_set(l->e, ERR_LXC_VERSIONS, "%s: %s is %s, but %s: %s is %s", f.file, f.key,
			      f.value, l->c->hypervisor_path, hyp_key, hyp_version);
		return err_object(l->e, "%s", l->id);
	}
	if (!f.value && !hyp_version)
		return 0;
	ret->version_from = f.value ? str_printf("%s: %s", f.file, f.key)
				    : str_printf("%s: %s", l->c->hypervisor_path, hyp_key);
	if (!ret->version_from)
		return err_oom(l->e);
	return keep(&ret->version, f.value ? f.value : hyp_version, l->e);
}

static int url_name(const char *url, char **ret)
{
	const char *end = url + strcspn(url, "?#"), *slash = end;

	while (slash > url && slash[-1] != '/')
		slash--;
	*ret = span_dup((struct span){ slash, (size_t)(end - slash) });
	return *ret ? 0 : -ENOMEM;
}

/* The URL only says where the bytes are; a version in it that differs from the key's is an error, never a choice. */
static int url_take(const struct lookup *l, const char *arch, struct lxc_ct_config *ret)
{
	_cleanup_free_ char *name = NULL, *version = NULL, *of_arch = NULL;
	bool wrong = false;
	struct found f;
	int r;

	r = look_up(l, "nvidia_runfile_url", "nvidia_driver", "runfile_url", &f);
	if (r >= 0 && !f.value) {
		f.value = text_of(json_object_get(l->c->hypervisor, "nvidia"), "runfile_url", &wrong);
		f.file = l->c->hypervisor_path;
		snprintf(f.key, sizeof(f.key), "nvidia.runfile_url");
		if (f.value)
			log_warn("%s: %s is an older spelling of nvidia_driver.runfile_url", f.file, f.key);
	}
	if (r < 0 || !f.value)
		return r;
	if (!fetch_url_is_valid(f.value))
		return value_error(l->e, f.file, f.key, f.value, "a usable http, https or file URL");
	if (url_name(f.value, &name) < 0)
		return err_oom(l->e);
	r = lxc_runfile_version(name, &of_arch, &version);
	if (r == -ENOMEM)
		return err_oom(l->e);
	if (r < 0)
		return value_error(l->e, f.file, f.key, f.value,
				   "an address that ends in NVIDIA-Linux-<machine>-<version>.run");
	if (strcmp(of_arch, arch) != 0)
		return value_error(l->e, f.file, f.key, f.value, "a driver for this machine");
	if (ret->version && strcmp(ret->version, version) != 0) {
		(void)err_set(l->e, ERR_LXC_VERSIONS, "%s is %s, but %s: %s names %s", ret->version_from,
			      ret->version, f.file, f.key, version);
		return err_object(l->e, "%s", l->id);
	}
	if (!ret->version) {
		ret->version_from = str_printf("%s: %s", f.file, f.key);
		ret->version = TAKE_PTR(version);
	}
	ret->runfile = TAKE_PTR(name);
	return ret->version_from ? keep(&ret->url, f.value, l->e) : err_oom(l->e);
}

static int rest_take(const struct lookup *l, struct lxc_ct_config *ret)
{
	struct found f;
	uint8_t raw[32];
	int r;

	r = look_up(l, "nvidia_runfile_sha256", NULL, NULL, &f);
	if (r >= 0 && f.value &&
	    (strlen(f.value) != 64 || parse_hexbytes(SPAN(f.value), raw, sizeof(raw)) < 0))
		r = value_error(l->e, f.file, f.key, f.value, "a SHA-256 digest of 64 hex digits");
	if (r >= 0)
		r = keep(&ret->sha256, f.value, l->e);
	if (r >= 0)
		r = look_up(l, "nvidia_repo_url", NULL, NULL, &f);
	if (r >= 0 && f.value && !fetch_url_is_valid(f.value))
		r = value_error(l->e, f.file, f.key, f.value, "a usable http, https or file URL");
	if (r >= 0)
		r = keep(&ret->repo_url, f.value, l->e);
	if (r >= 0)
		r = look_up(l, "cuda_version", "nvidia_driver", "cuda_version", &f);
	if (r >= 0 && f.value && !lxc_cuda_version_is_valid(f.value))
		r = value_error(l->e, f.file, f.key, f.value, "a CUDA version such as 12.8");
	return r < 0 ? r : keep(&ret->cuda_version, f.value, l->e);
}

static int id_check(const struct lookup *l, bool is_pve)
{
	uint64_t n;

	if (is_pve && (parse_u64(SPAN(l->id), 999999999, &n) < 0 || n < 100))
		return value_error(l->e, NULL, "container id", l->id, "a whole number of at least 100");
	if (!name_is_safe(l->id) || l->id[0] == '.' || l->id[0] == '-')
		return value_error(l->e, NULL, "container id", l->id, "a usable name");
	if (l->c->lxc && !json_is_object(l->ct)) {
		(void)err_set(l->e, ERR_LXC_CONFIG, "%s: lxc_configs has no container %s", l->c->lxc_path,
			      l->id);
		return err_object(l->e, "%s", l->id);
	}
	return 0;
}

int lxc_config_container(const struct lxc_config *c, const char *id, const char *arch, bool is_pve,
			 struct lxc_ct_config *ret, struct err *e)
{
	const json_t *ct = json_object_get(json_object_get(c->lxc, "lxc_configs"), id);
	_cleanup_(lxc_ct_config_done) struct lxc_ct_config new = { 0 };
	struct lookup l = { c, ct, id, e };
	int r;

	r = id_check(&l, is_pve);
	if (r >= 0)
		r = keep(&new.id, id, e);
	new.configured = ct != NULL;
	new.enabled = !ct;
	if (r >= 0 && ct)
		r = gate(&l, &new);
	if (r >= 0)
		r = facts_take(&l, &new);
	if (r >= 0)
		r = version_take(&l, &new);
	if (r >= 0)
		r = url_take(&l, arch, &new);
	if (r >= 0)
		r = rest_take(&l, &new);
	if (r < 0)
		return r;
	*ret = new;
	new = (struct lxc_ct_config){ 0 };
	return 0;
}

int lxc_config_ids(const struct lxc_config *c, bool only_enabled, char ***ret)
{
	json_t *all = json_object_get(c->lxc, "lxc_configs"), *ct;
	_cleanup_strv_ char **ids = NULL;
	const char *id;
	int r = 0;

	json_object_foreach (all, id, ct) {
		_cleanup_(lxc_ct_config_done) struct lxc_ct_config one = { 0 };
		struct lookup l = { c, ct, id, NULL };

		if (only_enabled && (gate(&l, &one) < 0 || !one.enabled))
			continue;
		r = strv_push(&ids, id);
		if (r < 0)
			return r;
	}
	if (ids)
		strv_sort(ids);
	*ret = TAKE_PTR(ids);
	return 0;
}

bool lxc_config_flag(const struct lxc_config *c, const char *key, bool otherwise)
{
	const json_t *v = json_object_get(json_object_get(c->hypervisor, "behavior"), key);

	return json_is_boolean(v) ? json_is_true(v) : otherwise;
}
