/* SPDX-License-Identifier: Apache-2.0 */
#include "port.h"

#include "cleanup.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static bool connects(const struct addrinfo *a, unsigned timeout_s)
{
	_cleanup_close_ int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int error = 0;

	if (fd < 0)
		return false;
	if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
		return true;
	return errno == EINPROGRESS && poll(&p, 1, (int)timeout_s * 1000) == 1 &&
	       getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
}

int port_is_open(const char *machine, unsigned port, unsigned timeout_s, bool offline, struct err *e)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *list = NULL;
	char service[8];
	bool open = false;
	int r;

	if (offline)
		return err_set(e, -ERR_OFFLINE, "port %u of %s was to be asked", port, machine);
	(void)snprintf(service, sizeof(service), "%u", port);
	r = getaddrinfo(machine, service, &hints, &list);
	if (r != 0) {
		(void)err_set(e, -ERR_FETCH_FAILED, "%s: %s", machine, gai_strerror(r));
		return err_object(e, "%s", machine);
	}
	for (const struct addrinfo *a = list; a && !open; a = a->ai_next)
		open = connects(a, timeout_s);
	freeaddrinfo(list);
	return open;
}
