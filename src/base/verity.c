/* SPDX-License-Identifier: Apache-2.0 */
#include "verity.h"

#include "parse.h"

#include <errno.h>
#include <linux/fsverity.h>
#include <sys/ioctl.h>

#define BLOCK_SIZE   4096
#define DIGEST_BYTES 64

int verity_enable(int fd)
{
	const struct fsverity_enable_arg arg = { .version = 1,
						 .hash_algorithm = FS_VERITY_HASH_ALG_SHA256,
						 .block_size = BLOCK_SIZE };

	if (ioctl(fd, FS_IOC_ENABLE_VERITY, &arg) == 0 || errno == EEXIST)
		return 0;
	/* An unknown request, a file system or kernel without the feature, a kernel without pages of that size. */
	return errno == ENOTTY || errno == ENOSYS || errno == EINVAL || errno == ENOPKG ? -EOPNOTSUPP
											: -errno;
}

int verity_digest(int fd, char ret_hex[VERITY_HEX_SIZE])
{
	union {
		struct fsverity_digest head;
		unsigned char room[sizeof(struct fsverity_digest) + DIGEST_BYTES];
	} d = { .head = { .digest_size = DIGEST_BYTES } };

	if (ioctl(fd, FS_IOC_MEASURE_VERITY, &d) < 0)
		return errno == ENOTTY || errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL ? -ENODATA
												    : -errno;
	hex_encode(d.room + sizeof(struct fsverity_digest), d.head.digest_size, ret_hex);
	return 0;
}
