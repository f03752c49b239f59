/* SPDX-License-Identifier: Apache-2.0
 *
 * fixture DIR: what the test of the whole program works on, below DIR (which exists): root/ (a small Debian),
 * driver/ (a driver's tree with module sources) and kernel/ (a kernel's build tree). */
#include "fakedriver.h"

#include "../unit/userspace/fixture.h"

#include <stdio.h>

static const char manifest[] =
    "NVIDIA Accelerated Graphics Driver for Linux-x86_64\n535.1.2\n \nnvidia nvidia-uvm \n \n \n./kernel/\n"
    "./kernel/precompiled/\n"
    "kernel/Makefile 0644 KERNEL_MODULE_SRC INHERIT_PATH_DEPTH:1 MODULE:resman\n"
    "libcuda.so.535.1.2 0755 CUDA_LIB NATIVE / MODULE:gpgpu\n"
    "libcuda.so.1 0000 CUDA_SYMLINK NATIVE / libcuda.so.535.1.2 MODULE:gpgpu\n"
    "libcuda.so 0000 CUDA_SYMLINK NATIVE / libcuda.so.1 MODULE:gpgpu\n"
    "nvidia-smi 0755 UTILITY_BINARY MODULE:nvml\n"
    "firmware/gsp_ga10x.bin 0644 FIRMWARE INHERIT_PATH_DEPTH:1 MODULE:resman\n"
    "nvidia-settings.desktop 0644 DOT_DESKTOP / MODULE:xutils\n";

static void driver_user_space(struct testdir *t)
{
	static const char *const needs_c[] = { "libc.so.6", NULL };

	testdir_puts(t, "driver/.manifest", manifest);
	fixture_object(t, "driver/libcuda.so.535.1.2", 64, ELF_MACHINE_X86_64, "libcuda.so.1", needs_c);
	testdir_write(t, "driver/nvidia-smi", "new smi\n", 8, 0755);
	testdir_write(t, "driver/firmware/gsp_ga10x.bin", "gsp", 3, 0644);
	testdir_puts(t, "driver/nvidia-settings.desktop", "Exec=__UTILS_PATH__/nvidia-settings\n");
	testdir_write(t, "driver/nvidia-installer", "#!/bin/sh\n", 10, 0755);
}

/* A file of the distribution's own in the way of one of the driver's, and a loader's cache: so that something is
 * replaced and has to come back. */
static void root_make(struct testdir *t)
{
	struct testdir root = { .fd = -EBADF };

	(void)snprintf(root.path, sizeof(root.path), "%.200s/root", t->path);
	assert_int_equal(mkdirat(t->fd, "root", 0755), 0);
	root.fd = openat(t->fd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fixture_debian(&root);
	testdir_write(&root, "usr/bin/nvidia-smi", "old smi\n", 8, 0755);
	testdir_puts(&root, "etc/ld.so.cache", "old cache\n");
	close(root.fd);
}

int main(int argc, char **argv)
{
	struct testdir t = { .fd = -EBADF };

	if (argc != 2 || snprintf(t.path, sizeof(t.path), "%s", argv[1]) >= (int)sizeof(t.path))
		return 2;
	t.fd = open(t.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t.fd < 0) {
		perror(t.path);
		return 1;
	}
	root_make(&t);
	driver_user_space(&t);
	fake_driver(&t, "driver/kernel");
	fake_kernel(&t, "kernel");
	close(t.fd);
	return 0;
}
