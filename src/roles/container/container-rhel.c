/* SPDX-License-Identifier: Apache-2.0 */
#include "container-rhel.h"

#include "fd.h"
#include "parse.h"
#include "path.h"
#include "strbuf.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define OS_RELEASE_MAX ((size_t)64 << 10)

const char *rhel_origin_text(enum rhel_origin o)
{
	static const char *const texts[] = {
		[RHEL_FROM_USER] = "RHEL_VERSION",
		[RHEL_FROM_KERNEL_MINOR] = "the kernel release",
		[RHEL_FROM_NODE] = "the node's os-release",
		[RHEL_FROM_KERNEL_MAJOR] = "the kernel release",
		[RHEL_UNKNOWN] = "nothing",
	};

	return texts[o];
}

static void set_version(struct rhel_version *v, unsigned major, int minor, enum rhel_origin origin)
{
	*v = (struct rhel_version){ .major = major, .minor = minor, .origin = origin };
	if (minor >= 0)
		(void)snprintf(v->text, sizeof(v->text), "%u.%d", major, minor);
	else if (major)
		(void)snprintf(v->text, sizeof(v->text), "%u", major);
}

static bool take_number(const char **p, unsigned *ret)
{
	unsigned n = 0;

	if (!isdigit((unsigned char)**p))
		return false;
	for (; isdigit((unsigned char)**p); (*p)++) {
		n = n * 10 + (unsigned)(**p - '0');
		if (n > 9999)
			return false;
	}
	*ret = n;
	return true;
}

/* "9.2" or "9", nothing behind it. */
static bool parse_version(const char *text, unsigned *ret_major, int *ret_minor)
{
	unsigned major, minor = 0;
	bool has_minor;

	if (!text || !take_number(&text, &major))
		return false;
	has_minor = *text == '.';
	if (has_minor) {
		text++;
		if (!take_number(&text, &minor))
			return false;
	}
	if (*text || !major)
		return false;
	*ret_major = major;
	*ret_minor = has_minor ? (int)minor : -1;
	return true;
}

/* The last "el<major>", with "_<minor>" when there is one so marked; a tag begins a field ("el9", not "pixel9"). */
static void from_release(const char *release, unsigned *ret_major, unsigned *ret_full_major, int *ret_minor)
{
	*ret_major = *ret_full_major = 0;
	*ret_minor = -1;
	for (const char *at = release; (at = strstr(at, "el")); at += 2) {
		const char *p = at + 2;
		unsigned major, minor;

		if ((at > release && isalnum((unsigned char)at[-1])) || !take_number(&p, &major))
			continue;
		*ret_major = major;
		if (*p != '_')
			continue;
		p++;
		if (take_number(&p, &minor)) {
			*ret_full_major = major;
			*ret_minor = (int)minor;
		}
	}
}

static bool is_family(const struct os_release *o)
{
	static const char *const ids[] = { "rhel",	 "rhcos",     "centos",	   "rocky",	"almalinux",
					   "ol",	 "scos",      "circle",	   "eurolinux", "scientific",
					   "cloudlinux", "navylinux", "virtuozzo", "redhat" };
	struct span rest = SPAN(o->id_like ? o->id_like : ""), word;

	for (size_t i = 0; o->id && i < ARRAY_LEN(ids); i++)
		if (strcmp(o->id, ids[i]) == 0)
			return true;
	while (span_word(&rest, &word))
		if (span_eq(word, "rhel"))
			return true;
	return false;
}

/* CoreOS counts its own versions and names RHEL's beside them. */
static bool from_node(const struct os_release *o, unsigned kernel_major, struct rhel_version *ret)
{
	unsigned major;
	int minor;

	if (!o || !is_family(o) ||
	    !parse_version(o->rhel_version && *o->rhel_version ? o->rhel_version : o->version_id, &major,
			   &minor) ||
	    (kernel_major && major != kernel_major))
		return false;
	set_version(ret, major, minor, RHEL_FROM_NODE);
	return true;
}

void rhel_version_resolve(const struct rhel_facts *f, struct rhel_version *ret)
{
	unsigned major, full_major, user_major;
	int minor, user_minor;

	from_release(f->release ? f->release : "", &major, &full_major, &minor);
	if (parse_version(f->user_version, &user_major, &user_minor))
		set_version(ret, user_major, user_minor, RHEL_FROM_USER);
	else if (minor >= 0)
		set_version(ret, full_major, minor, RHEL_FROM_KERNEL_MINOR);
	else if (from_node(f->node, major, ret))
		return;
	else
		set_version(ret, major, -1, major ? RHEL_FROM_KERNEL_MAJOR : RHEL_UNKNOWN);
}

int rhel_node_os_release(const struct host *container, const struct host *node, struct os_release *ret)
{
	_cleanup_close_ int fd = path_open_at(container->root_fd, "host-etc/os-release",
					      O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, PATH_IN_ROOT);
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (fd >= 0 && read_fd(fd, OS_RELEASE_MAX, &text, &len) == 0 &&
	    os_release_parse(text, len, ret, NULL) == 0)
		return 0;
	if (node && host_os_release(node, ret, NULL) == 0)
		return 0;
	return -ENOENT;
}

static int push_once(char ***v, const char *s)
{
	return !s || !*s || strv_contains(*v, s) ? 0 : strv_push(v, s);
}

int rhel_releasevers(const char *user_releasever, const struct rhel_version *v, char ***ret)
{
	_cleanup_strv_ char **list = NULL;
	char major[16] = "";

	if (v->major)
		(void)snprintf(major, sizeof(major), "%u", v->major);
	if (push_once(&list, user_releasever) < 0 || push_once(&list, v->text) < 0 ||
	    push_once(&list, major) < 0)
		return -ENOMEM;
	*ret = TAKE_PTR(list);
	return 0;
}

int rhel_extra_repositories(const struct rhel_version *v, const char *arch, const char *openshift_version,
			    char *const *defined, char ***ret)
{
	static const char *const parts[] = { "baseos", "appstream" };
	_cleanup_strv_ char **list = NULL;
	_cleanup_free_ char *rhocp = NULL;

	if (!v->major || !arch)
		return 0;
	rhocp = str_printf("rhocp-%s-for-rhel-%u-%s-rpms", openshift_version ? openshift_version : "",
			   v->major, arch);
	if (!rhocp || (strv_contains(defined, rhocp) && strv_push(&list, rhocp) < 0))
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		_cleanup_free_ char *eus = str_printf("rhel-%u-for-%s-%s-eus-rpms", v->major, arch, parts[i]);

		if (!eus || (strv_contains(defined, eus) && strv_push(&list, eus) < 0))
			return -ENOMEM;
	}
	*ret = TAKE_PTR(list);
	return 0;
}
