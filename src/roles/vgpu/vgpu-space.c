/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-space.h"

#include "fd.h"
#include "parse.h"
#include "path.h"
#include "strbuf.h"
#include "vgpu-tools.h"
#include "err-vgpu.h"

#include <inttypes.h>
#include <sys/stat.h>

#define BOOT_UUIDS "etc/kernel/proxmox-boot-uuids"
#define SMALL_MAX  ((size_t)64 << 10)
#define MIB	   ((uint64_t)1 << 20)
#define OVERHEAD   (16 * MIB) /* loader, its menu, the file system itself */

bool space_fits(uint64_t partition_bytes, size_t kernels, uint64_t kernel_bytes)
{
	uint64_t need;

	return !__builtin_mul_overflow(kernel_bytes, (uint64_t)kernels, &need) &&
	       need + OVERHEAD <= partition_bytes;
}

static uint64_t file_size(const struct vgpu_machine *m, const char *name, const char *release)
{
	_cleanup_free_ char *path = str_printf("boot/%s-%s", name, release);
	struct stat st;

	return path && path_stat(m->host->root_fd, path, &st, PATH_IN_ROOT) == 0 ? (uint64_t)st.st_size : 0;
}

/* Of the largest kernel with its initial file system. */
static uint64_t kernel_size(const struct vgpu_machine *m)
{
	uint64_t largest = 0;

	for (char **k = m->kernels; k && *k; k++) {
		uint64_t n = file_size(m, "vmlinuz", *k) + file_size(m, "initrd.img", *k);

		largest = n > largest ? n : largest;
	}
	return largest;
}

/* The number a program prints; -ENOENT when there is none. */
static int ask_number(const struct vgpu_machine *m, const char *const *argv, uint64_t *ret, struct err *e)
{
	_cleanup_(answer_done) struct answer a = { 0 };
	struct span rest, line;
	int r = tools_ask(m->host, argv, &a, e);

	if (r < 0)
		return r;
	rest = SPAN(a.out);
	while (a.status == 0 && span_line(&rest, &line))
		if (parse_u64(span_trim(line), UINT64_MAX, ret) == 0)
			return 0;
	return -ENOENT;
}
#define ASK_NUMBER(m, ret, e, ...) ask_number(m, (const char *const[]){ __VA_ARGS__, NULL }, ret, e)

static int too_full(const char *where, uint64_t bytes, uint64_t kernel, struct err *e)
{
	(void)err_set(e, ERR_VGPU_ESP,
		      "%s has %" PRIu64 " MiB, and one more kernel of %" PRIu64 " MiB does not fit", where,
		      bytes / MIB, kernel / MIB);
	return err_object(e, "%s", where);
}

/* Each boot partition gets all of them. */
static int check_partitions(const struct vgpu_machine *m, uint64_t kernel, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct span rest, line;

	if (read_file_at(m->host->root_fd, BOOT_UUIDS, SMALL_MAX, &text, NULL) < 0)
		return 0;
	rest = SPAN(text);
	while (span_line(&rest, &line)) {
		struct span uuid = span_trim(line);
		_cleanup_free_ char *device = str_printf("/dev/disk/by-uuid/" SPAN_FMT, SPAN_ARG(uuid));
		uint64_t bytes;
		int r;

		if (!device)
			return err_oom(e);
		if (uuid.len == 0)
			continue;
		r = ASK_NUMBER(m, &bytes, e, "lsblk", "--bytes", "--noheadings", "--nodeps", "--output",
			       "SIZE", device);
		if (r < 0 && r != -ENOENT)
			return r;
		if (r == 0 && !space_fits(bytes, strv_len(m->kernels) + 1, kernel))
			return too_full(device, bytes, kernel, e);
	}
	return 0;
}

int space_check_kernel(const struct vgpu_machine *m, struct err *e)
{
	uint64_t kernel = kernel_size(m), bytes;
	int r;

	if (kernel == 0)
		return 0;
	if (m->boot.managed)
		return check_partitions(m, kernel, e);
	r = ASK_NUMBER(m, &bytes, e, "df", "--block-size=1", "--output=avail", "/boot");
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return space_fits(bytes, 1, kernel) ? 0 : too_full("/boot", bytes, kernel, e);
}
