/* SPDX-License-Identifier: Apache-2.0
 *
 * The driver container's search for a kernel build tree by itself, for tests with a real package manager:
 *
 *   container-ktree STORE KERNEL [NAME=VALUE...] -- DNF-ARGUMENT...
 *
 * prints the attempts and the tree as JSON. NAME is node, arch, releasever, openshift, look (1: find out only), install (packages to install
 * instead, blank-separated) or list (kernels there are instead). A failure prints "slug: reason", status 1. */
#include "container-dnf.h"
#include "container-ktree.h"
#include "jutil.h"
#include "log.h"
#include "strbuf.h"

#include <string.h>

struct options {
	const char *node, *arch, *releasever, *openshift, *install, *list, *look;
};

static char **take_options(char **argv, struct options *o)
{
	const struct {
		const char *name;
		const char **to;
	} names[] = { { "node=", &o->node },
		      { "arch=", &o->arch },
		      { "releasever=", &o->releasever },
		      { "openshift=", &o->openshift },
		      { "install=", &o->install },
		      { "list=", &o->list },
		      { "look=", &o->look } };

	for (; *argv && strcmp(*argv, "--") != 0; argv++)
		for (size_t i = 0; i < ARRAY_LEN(names); i++)
			if (strncmp(*argv, names[i].name, strlen(names[i].name)) == 0)
				*names[i].to = *argv + strlen(names[i].name);
	return *argv ? argv + 1 : argv;
}

static int failed(const struct err *e)
{
	fprintf(stderr, "%s: %s\n", err_slug(e->code), e->reason ? e->reason : "");
	return 1;
}

static int with_dnf(const struct options *o, const struct host *h, const char *work, const char *kernel,
		    char **args, struct err *e)
{
	_cleanup_(dnf_freep) struct dnf *d = NULL;
	_cleanup_strv_ char **words = NULL;
	struct rhel_facts facts = { .release = kernel };
	struct rhel_version rhel;
	struct dnf_setup setup = { .host = h,
				   .rhel = &rhel,
				   .arch = o->arch ? o->arch : "x86_64",
				   .releasever = o->releasever,
				   .args = args,
				   .work_dir = work,
				   .log_fd = -EBADF };
	struct span rest = SPAN(o->install ? o->install : ""), word;
	int r;

	rhel_version_resolve(&facts, &rhel);
	r = dnf_open(&setup, &d, e);
	if (r < 0)
		return r;
	if (!o->install) {
		r = dnf_list_kernels(d, kernel, &words, e);
		for (char **w = words; w && *w; w++)
			puts(*w);
		return r;
	}
	while (span_word(&rest, &word)) {
		_cleanup_free_ char *one = span_dup(word);

		if (strv_push(&words, one) < 0)
			return err_oom(e);
	}
	return dnf_install(d, (const char *const *)words, e);
}

static int find_tree(const struct options *o, const struct host *h, struct store *store, const char *kernel,
		     char **args, struct err *e)
{
	_cleanup_(container_ktree_done) struct container_ktree k = { 0 };
	_cleanup_(host_freep) struct host *node = NULL;
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *out = NULL;
	struct container_env env = { .arch = (char *)(o->arch ? o->arch : "x86_64"),
				     .releasever = (char *)o->releasever,
				     .openshift_version = (char *)o->openshift };
	struct container_ktree_options opt = { .store = store, .dnf_args = args, .look_only = o->look };
	json_t *tree;
	int r = o->node ? host_open(o->node, &node, e) : 0;

	opt.node = node;
	if (r == 0)
		r = container_ktree_find(h, &env, kernel, &opt, &k, e);
	if (r < 0)
		return r;
	if (!k.tree)
		tree = json_null();
	else if (ktree_to_json(k.tree, &tree) < 0)
		return err_oom(e);
	out = json_pack("{s:s, s:o, s:o}", "from", container_ktree_from_text(k.from), "tree", tree,
			"attempts", container_ktree_attempts_json(&k));
	if (jdump(out, &text) < 0)
		return err_oom(e);
	fputs(text, stdout);
	return 0;
}

int main(int argc, char **argv)
{
	struct log_config messages = { .fd = 2, .file_fd = -1, .level = LOG_INFO_LEVEL };
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(host_freep) struct host *h = NULL;
	_cleanup_(store_freep) struct store *store = NULL;
	struct options o = { 0 };
	char **args;
	int r;

	if (argc < 3)
		return 2;
	log_setup(&messages);
	args = take_options(argv + 3, &o);
	r = host_open("/", &h, &e);
	if (r == 0)
		r = store_open(argv[1], true, &store, &e);
	if (r == 0)
		r = o.install || o.list ? with_dnf(&o, h, argv[1], argv[2], args, &e)
					: find_tree(&o, h, store, argv[2], args, &e);
	return r < 0 ? failed(&e) : 0;
}
