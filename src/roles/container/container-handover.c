/* SPDX-License-Identifier: Apache-2.0 */
#include "container-handover.h"

#include "fd.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define STREAMS	    2
#define LOOK_MS	    50
#define BLOCK_BYTES 4096

struct stream {
	int own_fd; /* owned: where the descriptor led before */
	int other_fd; /* owned: the other process's */
	int read_fd; /* owned: what we print arrives here */
};

struct container_handover {
	struct stream streams[STREAMS];
	pthread_t thread;
	atomic_bool ending;
};

static void streams_close(struct container_handover *h)
{
	for (size_t i = 0; i < STREAMS; i++) {
		close_fdp(&h->streams[i].own_fd);
		close_fdp(&h->streams[i].other_fd);
		close_fdp(&h->streams[i].read_fd);
	}
}

/* A file that grows and a pipe alike. A link of /proc leads into another process: it is followed on purpose. */
static int open_other(const struct host *h, int pid, int number)
{
	char path[64];
	int fd;

	(void)snprintf(path, sizeof(path), "%d/fd/%d", pid, number);
	fd = openat(h->proc_fd, path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void copy_block(const struct stream *s)
{
	char block[BLOCK_BYTES];
	ssize_t n = read(s->read_fd, block, sizeof(block));

	if (n <= 0)
		return;
	(void)write_all(s->own_fd, block, (size_t)n);
	/* One try: the other end is somebody's log, and its reader may be stuck. */
	if (write(s->other_fd, block, (size_t)n) < 0)
		return;
}

static void *copy_streams(void *arg)
{
	struct container_handover *h = arg;

	for (;;) {
		struct pollfd p[STREAMS] = { { h->streams[0].read_fd, POLLIN, 0 },
					     { h->streams[1].read_fd, POLLIN, 0 } };
		bool ending = atomic_load(&h->ending), copied = false;

		(void)poll(p, STREAMS, ending ? 0 : LOOK_MS);
		for (size_t i = 0; i < STREAMS; i++)
			if (p[i].revents & POLLIN) {
				copy_block(&h->streams[i]);
				copied = true;
			}
		if (ending && !copied)
			return NULL;
	}
}

static int take_stream(struct stream *s, int number)
{
	int ends[2];
	int r = 0;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	s->read_fd = ends[0];
	s->own_fd = fcntl(number, F_DUPFD_CLOEXEC, 3);
	if (s->own_fd < 0 || dup2(ends[1], number) < 0)
		r = -errno;
	close_fdp(&ends[1]);
	return r;
}

static void give_back(struct container_handover *h)
{
	for (int i = 0; i < STREAMS; i++)
		if (h->streams[i].own_fd >= 0)
			(void)dup2(h->streams[i].own_fd, i + 1);
}

int container_handover_begin(const struct host *host, int pid, struct container_handover **ret)
{
	struct container_handover *h = calloc(1, sizeof(*h));
	int r = h ? 0 : -ENOMEM;

	for (int i = 0; r == 0 && i < STREAMS; i++)
		h->streams[i] = (struct stream){ -EBADF, -EBADF, -EBADF };
	for (int i = 0; r == 0 && i < STREAMS; i++) {
		h->streams[i].other_fd = host->proc_fd < 0 ? -ENOENT : open_other(host, pid, i + 1);
		r = h->streams[i].other_fd < 0 ? h->streams[i].other_fd : 0;
	}
	for (int i = 0; r == 0 && i < STREAMS; i++)
		r = take_stream(&h->streams[i], i + 1);
	if (r == 0)
		r = -pthread_create(&h->thread, NULL, copy_streams, h);
	if (r < 0 && h) {
		give_back(h);
		streams_close(h);
		free(h);
	}
	if (r == 0)
		*ret = h;
	return r;
}

void container_handover_endp(struct container_handover **handover)
{
	struct container_handover *h = *handover;

	*handover = NULL;
	if (!h)
		return;
	give_back(h);
	atomic_store(&h->ending, true);
	(void)pthread_join(h->thread, NULL);
	streams_close(h);
	free(h);
}
