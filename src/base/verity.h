/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* fs-verity: from the moment it is enabled the kernel lets nobody change a file, and answers no read with bytes that changed
 * below it. Not every kernel has it, and of file systems ext4 and f2fs (made with the feature) and btrfs. */

#define VERITY_HEX_SIZE 129 /* of the longest digest, with its NUL */

/* The file must be open for writing nowhere. -EOPNOTSUPP where it is not to be had; enabled already is success. */
int verity_enable(int fd);
/* The digest the kernel holds the file to, as hex digits. -ENODATA for a file without. */
int verity_digest(int fd, char ret_hex[VERITY_HEX_SIZE]);
