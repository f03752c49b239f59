/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-cuda.h"

#include "fd.h"
#include "log.h"
#include "strbuf.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

static const struct {
	int result;
	const char *text;
} results[] = {
	{ 0, "CUDA starts" },
	{ 1, "the library refuses the call: it is no CUDA driver library" },
	{ 2, "out of memory" },
	{ 3, "the driver is not initialized" },
	{ 4, "the driver is shutting down" },
	{ 34, "a stub library is loaded instead of the driver's libcuda.so.1" },
	{ 36, "the driver does not support this call: it is too old" },
	{ 46, "a GPU is in use by somebody who wants it alone" },
	{ 100, "no GPU: its device node is missing or not usable in the container" },
	{ 101, "the device is not valid" },
	{ 214, "uncorrectable memory errors on a GPU: a problem of the host" },
	{ 304, "the operating system refuses a call, usually opening a device node" },
	{ 802, "the system is not ready: the fabric manager does not run on the host" },
	{ 803, "the container's libraries and the loaded driver have different versions" },
	{ 804, "a compatibility library is loaded that this GPU cannot be used with" },
	{ 805, "no connection to the MPS daemon" },
	{ 999, "unknown error: usually /dev/nvidia-uvm is not usable, its number being an old one" },
};

const char *lxc_cuda_text(int result)
{
	for (size_t i = 0; i < ARRAY_LEN(results); i++)
		if (results[i].result == result)
			return results[i].text;
	return "an error of the driver";
}

int lxc_cuda_parse(struct span out, int *ret)
{
	struct span line;
	uint64_t n;

	/* The driver may say things of its own before. */
	while (span_line(&out, &line))
		if (span_starts(line, "cuInit ") &&
		    parse_u64((struct span){ line.p + 7, line.len - 7 }, 99999, &n) == 0) {
			*ret = (int)n;
			return 0;
		}
	return -EINVAL;
}

char *lxc_cuda_no_result(int status, struct span out)
{
	_cleanup_free_ char *text = span_dup(span_trim(out));

	if (!text)
		return NULL;
	if (status == 127 && strstr(text, "libcuda.so.1"))
		return strdup("the loader does not find libcuda.so.1");
	if (status == 126 || strstr(text, "Permission denied"))
		return str_printf("the test program may not run in the container: set container-tmp to a "
				  "directory programs may run from (%s)",
				  text);
	if (status > 128)
		return str_printf("libcuda.so.1 crashes (signal %d)", status - 128);
	return str_printf("the test program ended with status %d: %s", status, text);
}

static char *probe_name(const struct lxc_backend *b)
{
	unsigned char r[8];

	if (getrandom(r, sizeof(r), 0) != sizeof(r))
		return NULL;
	return str_printf("%s/nvdriver-cuda-init.%02x%02x%02x%02x%02x%02x%02x%02x", b->set->container_tmp,
			  r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]);
}

static int probe_push(struct lxc_backend *b, const char *id, const char *path, struct err *e)
{
	_cleanup_close_ int fd = memfd_create("cuda-init", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : write_all(fd, lxc_cuda_probe, lxc_cuda_probe_size);

	if (r < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(e, r < 0 ? r : -errno, "cannot write the test program");
	return b->ops->push(b, id, fd, path, 0755, e);
}

static void probe_remove(struct lxc_backend *b, const char *id, const char *path)
{
	char *const argv[] = { (char *)"rm", (char *)"-f", (char *)path, NULL };
	_cleanup_(err_done) struct err own = ERR_INIT;

	if (lxc_run(b, id, "removing the test program", argv, 0, NULL, &own) < 0)
		log_warn("%s stays in container %s: %s", path, id, own.reason ? own.reason : "?");
}

int lxc_cuda_init(struct lxc_backend *b, const char *id, int *ret_result, char **ret_problem, struct err *e)
{
	_cleanup_free_ char *path = probe_name(b), *problem = NULL;
	_cleanup_(lxc_exec_done) struct lxc_exec x = LXC_EXEC_INIT("starting CUDA");
	char *const argv[] = { path, NULL };
	int r, result = -1;

	if (!path)
		return err_oom(e);
	r = probe_push(b, id, path, e);
	if (r < 0)
		return r;
	x.argv = argv;
	x.timeout_s = b->set->smi_timeout_s;
	r = lxc_exec_noted(b, id, &x, e);
	probe_remove(b, id, path);
	if (r < 0)
		return r;
	if (lxc_cuda_parse((struct span){ x.out ? x.out : "", x.out_len }, &result) < 0)
		problem = lxc_cuda_no_result(x.status, (struct span){ x.out ? x.out : "", x.out_len });
	else if (result != 0)
		problem = str_printf("cuInit(0) = %d: %s", result, lxc_cuda_text(result));
	if (result != 0 && !problem)
		return err_oom(e);
	*ret_result = result;
	*ret_problem = TAKE_PTR(problem);
	return 0;
}
