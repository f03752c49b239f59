/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Kernel command line of the next boot: which loader this host uses, what it passes, and how words are added. Pure. */

#include "secureboot.h"
#include "vgpu-text.h"

#define BOOT_GRUB_DEFAULT   "etc/default/grub"
#define BOOT_GRUB_DIR	    "etc/default/grub.d"
#define BOOT_GRUB_OURS	    BOOT_GRUB_DIR "/nvdriver-vgpu.cfg"
#define BOOT_KERNEL_CMDLINE "etc/kernel/cmdline"

struct boot_facts {
	bool efi, zfs_root;
	bool
	    managed; /* etc/kernel/proxmox-boot-uuids: proxmox-boot-tool copies kernels to the boot partitions */
	enum tristate secure_boot;
};

struct boot_path {
	bool grub, systemd_boot; /* exactly one */
	bool managed;
};
/* Systemd-boot only without Secure Boot, through UEFI, on partitions proxmox-boot-tool manages; GRUB everywhere else. */
struct boot_path boot_path_find(const struct boot_facts *f);

/* Variable's value after a shell has read the texts one after the other; "" when it is never set. *ret_sure is false when
 * something else than assignments stands there that might have changed it. Caller frees. 0 or -ENOMEM. */
int boot_shell_value(const struct span *texts, size_t n, const char *name, char **ret, bool *ret_sure);

/* Compares word by word. Missing: wanted words that are not there. Conflicts: words with the same key and another value
 * ("intel_iommu=off"); such a wanted word is not among the missing. Both are appended to. */
int boot_words_compare(const char *cmdline, char *const *wanted, char ***ret_missing, char ***ret_conflicts);

/* etc/kernel/cmdline with the words appended to its first line, parted by single blanks. Caller frees. */
int boot_cmdline_add(struct span text, char *const *words, char **ret);

/* What has to change so that the next boot has the words: our file below etc/default/grub.d, or etc/kernel/cmdline.
 * -ERR_VGPU_BOOT_CONFLICT when a word with another value is there. `files` holds those files as they are. */
int boot_edits(const struct text_files *files, const struct boot_path *path, char *const *wanted,
	       struct text_edits *ret, struct err *e);

/* What the files that are there pass to the next boot by that path. Caller frees. */
int boot_cmdline_next(const struct text_files *files, const struct boot_path *path, bool without_ours,
		      char **ret, bool *ret_sure);
