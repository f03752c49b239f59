/* SPDX-License-Identifier: Apache-2.0
 *
 * One binary, several names: under a name of the table it is a drop-in for the program of that name. */
#include "cmd.h"
#include "interrupt.h"
#include "compat.h"

#include <fcntl.h>
#include <string.h>

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} invocation_names[] = {
	{ "nvdriver", app_main },
	{ "mkprecompiled", compat_mkprecompiled },
	{ "vgpu-util", compat_vgpu_util },
	{ "nvidia-installer", compat_nvidia_installer },
	{ "nvidia-uninstall", compat_nvidia_installer },
	{ "nvidia-driver", compat_nvidia_driver },
	{ "ocp_dtk_entrypoint", compat_ocp_dtk },
};

/* A closed standard descriptor would be given to the next file opened, and our messages written into it. The
 * stand-in refuses writing, so a lost result is still noticed. */
static void keep_standard_fds(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			(void)open("/dev/null", O_RDONLY); /* takes the lowest free number: fd */
}

int main(int argc, char **argv)
{
	const char *slash = argc > 0 && argv[0] ? strrchr(argv[0], '/') : NULL;
	const char *name = slash ? slash + 1 : argc > 0 && argv[0] ? argv[0] : "nvdriver";

	keep_standard_fds();
	interrupt_install();
	for (size_t i = 0; i < ARRAY_LEN(invocation_names); i++)
		if (strcmp(name, invocation_names[i].name) == 0)
			return invocation_names[i].run(argc, argv);
	return app_main(argc, argv);
}
