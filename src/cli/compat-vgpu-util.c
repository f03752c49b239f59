/* SPDX-License-Identifier: Apache-2.0
 *
 * Under the name "vgpu-util": how many virtual GPUs there are, and which guest driver fits them. One assignment on stdout, 0; or
 * 1 with the reason in /var/log/vgpu-util.log (and on stderr, for whoever calls it by hand). */
#include "compat.h"

#include "container-catalog.h"
#include "log.h"
#include "strbuf.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char vgpu_util_help[] =
    "usage: vgpu-util count\n"
    "       vgpu-util match [--installer-directory DIR] [--catalog-file FILE]\n"
    "\n"
    "  count                          print NUM_OF_VGPU_DEVICES=<n>\n"
    "  match                          print DRIVER_VERSION=<version>-grid\n"
    "  -i, --installer-directory DIR  guest run files (VGPU_INSTALLER_DIRECTORY; default /drivers)\n"
    "  -c, --catalog-file FILE        (VGPU_DRIVER_CATALOG_FILE; default /drivers/vgpuDriverCatalog.yaml)\n"
    "      --root DIR                 the machine to look at; default /\n";

struct vgpu_util {
	struct container_vgpu_places places;
	const char *root;
	bool help;
};

enum { OPTION_ROOT = 256 };

static const struct option vgpu_util_options[] = {
	{ "installer-directory", 1, NULL, 'i' },
	{ "catalog-file", 1, NULL, 'c' },
	{ "root", 1, NULL, OPTION_ROOT },
	{ "help", 0, NULL, 'h' },
	{ 0 },
};

static bool parse_options(int argc, char **argv, struct vgpu_util *u)
{
	int c;

	while ((c = getopt_long(argc, argv, "i:c:h", vgpu_util_options, NULL)) != -1)
		switch (c) {
		case 'i':
			u->places.installers = optarg;
			break;
		case 'c':
			u->places.catalog = optarg;
			break;
		case OPTION_ROOT:
			u->root = optarg;
			break;
		case 'h':
			u->help = true;
			break;
		default:
			return false;
		}
	return u->help || optind == argc - 1;
}

static int count(const struct host *h, struct err *e)
{
	_cleanup_(pcicap_list_done) struct pcicap_list l = { NULL, 0 };
	int r = pcicap_list_read(h, &l, e);

	if (r < 0)
		container_vgpu_log(h, "error", e->reason ? e->reason : err_sentence(e->code), NULL);
	else
		printf("NUM_OF_VGPU_DEVICES=%zu\n", l.n);
	return r;
}

/* No virtual GPU is never a match: an empty version would be installed as if it were one. */
static int match(const struct host *h, const struct container_vgpu_places *places, struct err *e)
{
	_cleanup_free_ char *version = NULL;
	int r = container_vgpu_choose(h, places, &version, e);

	if (r == 0) {
		r = err_set(e, ERR_VGPU_NO_MATCH, "there is no virtual GPU here");
		container_vgpu_log(h, "error", e->reason, NULL);
	}
	if (r > 0)
		printf("DRIVER_VERSION=%s\n", version);
	return r;
}

static int run(const struct vgpu_util *u, const char *command, struct err *e)
{
	_cleanup_(host_freep) struct host *h = NULL;
	int r = host_open(u->root, &h, e);

	if (r < 0)
		return r;
	return strcmp(command, "count") == 0 ? count(h, e) : match(h, &u->places, e);
}

static const char *environment_or(const char *name, const char *otherwise)
{
	const char *v = getenv(name);

	return v && *v ? v : otherwise;
}

int compat_vgpu_util(int argc, char **argv)
{
	struct vgpu_util u = { .root = "/",
			       .places = { environment_or("VGPU_INSTALLER_DIRECTORY", "/drivers"),
					   environment_or("VGPU_DRIVER_CATALOG_FILE",
							  "/drivers/vgpuDriverCatalog.yaml") } };
	_cleanup_(err_done) struct err e = ERR_INIT;
	int r;

	log_setup(&(struct log_config){ .fd = 2, .file_fd = -1, .level = LOG_INFO_LEVEL });
	if (!parse_options(argc, argv, &u) ||
	    (!u.help && strcmp(argv[optind], "count") != 0 && strcmp(argv[optind], "match") != 0)) {
		fputs(vgpu_util_help, stderr);
		return 1;
	}
	if (u.help)
		return fputs(vgpu_util_help, stdout) < 0 || fflush(stdout) != 0;
	r = run(&u, argv[optind], &e);
	if (r < 0)
		log_error("%s", e.reason ? e.reason : err_sentence(e.code));
	return fflush(stdout) != 0 || r < 0;
}
