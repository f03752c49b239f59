/* SPDX-License-Identifier: Apache-2.0
 *
 * Immutable images of trees: images/<id>.erofs and beside it <id>.json with the digest of the bytes. The record is
 * there before the image and goes after it, so an image without a record never exists. */
#include "store-internal.h"

#include "digest.h"
#include "fd.h"
#include "publish.h"
#include "spawn.h"
#include "verity.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define IMAGE_TIMEOUT_S 600
#define LOOP_TRIES	16

/* No times, owners, attributes or random identity: the tree alone decides the bytes. */
static int image_make(struct store *s, const char *id, const struct store_stage *st, struct err *e)
{
	_cleanup_(spawn_done) struct spawn child = SPAWN_INIT("building the EROFS image");
	_cleanup_free_ char *tree = store_object_path(s, STORE_TREE, id), *stage = store_stage_path(st);

	if (!tree || !stage)
		return err_oom(e);
	(void)spawn_argv(&child, "mkfs.erofs", "-T0", "-U00000000-0000-0000-0000-000000000000", "-x-1",
			 "--all-root", NULL);
	(void)spawn_arg(&child, "%s/" STORE_STAGED_IMAGE, stage);
	(void)spawn_arg(&child, "%s/root", tree);
	child.timeout_s = IMAGE_TIMEOUT_S;
	return spawn_check(&child, e);
}

static char *record_name(const char *id)
{
	return str_printf("%s" IMAGE_RECORD_SUFFIX, id);
}

int image_record_remove(int images_fd, const char *id)
{
	_cleanup_free_ char *name = record_name(id);

	return name ? publish_unlink(images_fd, name) : -ENOMEM;
}

static int image_record(struct store *s, const char *id, const struct store_stage *st, struct err *e)
{
	_cleanup_close_ int images = dir_open_at(s->dir_fd, store_kind_dir(STORE_IMAGE)),
			    fd = openat(st->dir_fd, STORE_STAGED_IMAGE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_free_ char *name = record_name(id);
	json_auto_t *record = NULL;
	char sha256[SHA256_HEX_SIZE], verity[VERITY_HEX_SIZE];
	struct stat sb;
	int r = 0;

	if (images < 0)
		r = images;
	else if (fd < 0 || fchmod(fd, 0444) < 0 || fstat(fd, &sb) < 0)
		r = -errno;
	if (r >= 0)
		r = sha256_fd_hex(fd, sha256);
	if (r < 0)
		return err_errno(e, r, "cannot read the image of tree %s", id);
	/* Whether the file system can is its own matter. */
	(void)verity_enable(fd);
	record = json_pack("{s:s, s:s, s:I, s:s*}", "tree", id, "sha256", sha256, "size_bytes",
			   (json_int_t)sb.st_size, "verity", verity_digest(fd, verity) < 0 ? NULL : verity);
	return record && name ? store_record_put(s, images, name, record, 0644, e) : err_oom(e);
}

int store_image_build(struct store *s, const char *id, struct err *e)
{
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	int r;

	if (store_has(s, STORE_IMAGE, id))
		return 0;
	r = store_tree_verify(s, id, STORE_VERIFY_QUICK, NULL, e);
	if (r >= 0)
		r = store_lock(s, STORE_IMAGE, id, IMAGE_TIMEOUT_S, &lock, e);
	if (r < 0)
		return r;
	if (store_has(s, STORE_IMAGE, id))
		return 0; /* while we waited */
	r = store_stage_begin(s, &st, e);
	if (r >= 0)
		r = image_make(s, id, &st, e);
	if (r >= 0)
		r = image_record(s, id, &st, e);
	return r < 0 ? r : store_publish(&st, STORE_IMAGE, id, e);
}

static int image_check(struct store *s, const char *id, int fd, struct err *e)
{
	_cleanup_close_ int images = dir_open_at(s->dir_fd, store_kind_dir(STORE_IMAGE));
	_cleanup_free_ char *name = record_name(id);
	json_auto_t *record = NULL;
	char sha256[SHA256_HEX_SIZE];
	const char *want;
	int r;

	if (!name)
		return err_oom(e);
	r = images < 0 ? images : store_record_read(images, name, &record, e);
	if (r == -ENOENT)
		return err_set(e, ERR_STORE_DAMAGED, "the image of tree %s has no record", id);
	if (r < 0)
		return err_wrap(e, "image of tree %s", id);
	r = sha256_fd_hex(fd, sha256);
	if (r == -EIO) /* a bad disk, or fs-verity's answer to changed bytes */
		return err_set(e, ERR_STORE_DAMAGED, "the image of tree %s cannot be read whole", id);
	if (r < 0)
		return err_errno(e, r, "cannot read the image of tree %s", id);
	want = json_string_value(json_object_get(record, "sha256"));
	if (!want || strcmp(want, sha256) != 0)
		return err_set(e, ERR_STORE_DAMAGED, "the image of tree %s does not match its record", id);
	return 0;
}

int store_image_open(struct store *s, const char *id, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = store_object_open(s, STORE_IMAGE, id);
	int r;

	if (fd == -ENOENT)
		return err_set(e, ERR_STORE_MISSING, "there is no image of tree %s in %s", id, s->path);
	if (fd < 0)
		return err_errno(e, fd, "cannot open the image of tree %s", id);
	r = image_check(s, id, fd, e);
	if (r < 0) {
		(void)err_object(e, "images/%s", id);
		return r;
	}
	if (ret_fd)
		*ret_fd = TAKE_FD(fd);
	return 0;
}

/* A read-only loop device that goes when its last user does. Others look for a free one too: then again. */
static int loop_attach(int image_fd, char ret_path[32])
{
	const struct loop_config config = {
		.fd = (uint32_t)image_fd,
		.info = { .lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR },
	};
	_cleanup_close_ int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

	/* No such node: a container's or a bare root's /dev. The machine has no loop device for us, which is no missing image. */
	if (control < 0)
		return errno == ENOENT ? -EPERM : -errno;
	for (int i = 0; i < LOOP_TRIES; i++) {
		int n = ioctl(control, LOOP_CTL_GET_FREE);
		_cleanup_close_ int loop = -EBADF;

		if (n < 0)
			return -errno;
		(void)snprintf(ret_path, 32, "/dev/loop%d", n);
		loop = open(ret_path, O_RDONLY | O_CLOEXEC);
		if (loop < 0)
			return errno == ENOENT ? -EPERM : -errno;
		if (ioctl(loop, LOOP_CONFIGURE, &config) == 0)
			return TAKE_FD(loop);
		if (errno != EBUSY)
			return -errno;
	}
	return -EBUSY;
}

static int erofs_mount(const char *from, const char *on)
{
	return mount(from, on, "erofs", MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0 ? -errno : 0;
}

static bool loop_only;

void image_test_loop_only(bool on)
{
	loop_only = on;
}

int image_mount(int image_fd, const char *on)
{
	_cleanup_close_ int loop = -EBADF;
	char path[32];
	int r;

	/* Linux 6.12 and later mount the file itself; the descriptor is the one whose bytes were checked. */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", image_fd);
	r = loop_only ? -ENOTBLK : erofs_mount(path, on);
	if (r >= 0 || r == -EPERM || r == -ENODEV)
		return r;
	loop = loop_attach(image_fd, path);
	return loop < 0 ? loop : erofs_mount(path, on);
}
