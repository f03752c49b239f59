/* SPDX-License-Identifier: Apache-2.0 */
#include "httpd.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct client {
	struct httpd *h;
	int fd;
};

static bool send_all(int fd, const void *buf, size_t len)
{
	for (const char *p = buf; len;) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static void send_error(int fd, int status)
{
	static const char page[] = "<!DOCTYPE html><html><body>no</body></html>";
	char head[256];

	snprintf(head, sizeof(head),
		 "HTTP/1.1 %d Nope\r\nContent-Type: text/html\r\nContent-Length: %zu\r\n\r\n", status,
		 sizeof(page) - 1);
	(void)send_all(fd, head, strlen(head));
	(void)send_all(fd, page, sizeof(page) - 1);
}

static void reset_on_close(int fd)
{
	struct linger l = { 1, 0 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}

/* The request as it was counted, so that the answer needs no lock. */
struct request {
	struct httpd_path p;
	unsigned number;
	bool has_range;
	uint64_t offset;
	char tag[64], if_range[64];
};

static void answer_file(int fd, const struct request *r)
{
	const struct httpd_path *p = &r->p;
	bool failing = !p->fail_first || r->number <= p->fail_first;
	bool ranged = r->has_range && !(p->faults & HTTPD_IGNORE_RANGE) &&
		      (!r->if_range[0] || strcmp(r->if_range, r->tag) == 0);
	uint64_t offset = ranged ? r->offset : 0, announced;
	size_t len;
	char head[512];

	if (ranged && offset >= p->len) {
		snprintf(head, sizeof(head),
			 "HTTP/1.1 416 No\r\nContent-Range: bytes */%zu\r\nContent-Length: 0\r\n\r\n",
			 p->len);
		(void)send_all(fd, head, strlen(head));
		return;
	}
	len = p->len - offset;
	announced = len;
	if (p->faults & HTTPD_LIE_SHORT)
		announced = len = p->cut_bytes;
	if (p->faults & HTTPD_LIE_LONG)
		announced = 2 * len;
	snprintf(head, sizeof(head), "HTTP/1.1 %s\r\n%s%s%sConnection: close\r\n",
		 ranged ? "206 Partial" : "200 OK", r->tag[0] ? "ETag: " : "", r->tag,
		 r->tag[0] ? "\r\n" : "");
	if (!(p->faults & HTTPD_NO_LENGTH))
		snprintf(head + strlen(head), sizeof(head) - strlen(head), "Content-Length: %llu\r\n",
			 (unsigned long long)announced);
	if (ranged)
		snprintf(head + strlen(head), sizeof(head) - strlen(head),
			 "Content-Range: bytes %llu-%zu/%zu\r\n",
			 (unsigned long long)(p->faults & HTTPD_WRONG_RANGE ? offset / 2 : offset),
			 p->len - 1, p->len);
	strcat(head, "\r\n");
	if (!send_all(fd, head, strlen(head)))
		return;
	if ((p->faults & (HTTPD_CUT | HTTPD_RESET | HTTPD_STALL)) && failing && p->cut_bytes < len)
		len = p->cut_bytes;
	(void)send_all(fd, (const char *)p->body + offset, len);
	if ((p->faults & HTTPD_STALL) && failing)
		usleep(p->stall_ms * 1000);
	if ((p->faults & HTTPD_RESET) && failing) {
		usleep(50000); /* a reset throws away what has not been read */
		reset_on_close(fd);
	}
}

static void header_value(const char *request, const char *name, char *out, size_t size)
{
	const char *at = strcasestr(request, name);

	out[0] = '\0';
	if (!at)
		return;
	at += strlen(name);
	snprintf(out, size, "%.*s", (int)strcspn(at, "\r\n"), at);
}

static bool take_request(struct httpd *h, const char *text, struct request *r)
{
	char range[64];
	bool found = false;

	header_value(text, "\r\nRange: bytes=", range, sizeof(range));
	header_value(text, "\r\nIf-Range: ", r->if_range, sizeof(r->if_range));
	r->has_range = range[0];
	r->offset = strtoull(range, NULL, 10);
	pthread_mutex_lock(&h->lock);
	for (size_t i = 0; i < h->n && !found; i++) {
		struct httpd_path *p = &h->paths[i];
		size_t n = strlen(p->path);

		if (strncmp(text, "GET ", 4) != 0 || strncmp(text + 4, p->path, n) != 0 || text[4 + n] != ' ')
			continue;
		found = true;
		r->number = ++p->requests;
		p->ranged += r->has_range;
		p->last_offset = r->offset;
		r->p = *p;
		if (p->tag && (p->faults & HTTPD_NEW_TAG))
			snprintf(r->tag, sizeof(r->tag), "\"%s-%u\"", p->tag, r->number);
		else if (p->tag)
			snprintf(r->tag, sizeof(r->tag), "\"%s\"", p->tag);
	}
	pthread_mutex_unlock(&h->lock);
	return found;
}

static void *serve(void *arg)
{
	static const char redirect[] =
	    "HTTP/1.1 302 Go\r\nLocation: file:///etc/hostname\r\nContent-Length: 0\r\n\r\n";
	struct client c = *(struct client *)arg;
	struct request r = { 0 };
	char text[4096];
	size_t n = 0;

	free(arg);
	while (n + 1 < sizeof(text)) {
		ssize_t k = recv(c.fd, text + n, sizeof(text) - 1 - n, 0);

		if (k <= 0)
			break;
		n += (size_t)k;
		text[n] = '\0';
		if (strstr(text, "\r\n\r\n"))
			break;
	}
	text[n] = '\0';
	if (!take_request(c.h, text, &r)) {
		send_error(c.fd, 404);
	} else {
		usleep(r.p.delay_ms * 1000);
		if (r.p.faults & HTTPD_REDIRECT_FILE)
			(void)send_all(c.fd, redirect, sizeof(redirect) - 1);
		else if ((r.p.faults & HTTPD_STATUS) && (!r.p.fail_first || r.number <= r.p.fail_first))
			send_error(c.fd, r.p.status);
		else
			answer_file(c.fd, &r);
	}
	shutdown(c.fd, SHUT_WR);
	close(c.fd);
	return NULL;
}

static void *accept_loop(void *arg)
{
	struct httpd *h = arg;

	for (;;) {
		struct pollfd p = { .fd = h->fd, .events = POLLIN };
		struct client *c;
		pthread_t t;
		bool stop;

		pthread_mutex_lock(&h->lock);
		stop = h->stop;
		pthread_mutex_unlock(&h->lock);
		if (stop)
			return NULL;
		if (poll(&p, 1, 20) <= 0)
			continue;
		c = malloc(sizeof(*c));
		if (!c)
			abort();
		*c = (struct client){ h, accept4(h->fd, NULL, NULL, SOCK_CLOEXEC) };
		if (c->fd < 0 || pthread_create(&t, NULL, serve, c) != 0)
			free(c);
		else
			pthread_detach(t);
	}
}

void httpd_start(struct httpd *h, struct httpd_path *paths, size_t n)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);

	*h = (struct httpd){ .paths = paths, .n = n };
	pthread_mutex_init(&h->lock, NULL);
	h->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (h->fd < 0 || bind(h->fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(h->fd, 64) < 0 ||
	    getsockname(h->fd, (struct sockaddr *)&a, &len) < 0 ||
	    pthread_create(&h->thread, NULL, accept_loop, h) != 0)
		abort();
	h->port = ntohs(a.sin_port);
}

void httpd_stop(struct httpd *h)
{
	pthread_mutex_lock(&h->lock);
	h->stop = true;
	pthread_mutex_unlock(&h->lock);
	pthread_join(h->thread, NULL);
	close(h->fd);
	usleep(30000); /* connections that are just ending */
}

const char *httpd_url(const struct httpd *h, const char *path, char *buf, size_t size)
{
	snprintf(buf, size, "http://127.0.0.1:%d%s", h->port, path);
	return buf;
}
