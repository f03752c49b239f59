/* SPDX-License-Identifier: Apache-2.0 */
#include "network.h"

#include "fd.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define TABLE_MAX    ((size_t)4 << 20)
#define ROUTE_UP     1u /* RTF_UP, RTF_GATEWAY */
#define ROUTE_VIA    2u
#define ARP_ANSWERED 2u /* ATF_COM */
#define DISCARD_PORT 9

/* The words of a line, up to n; how many there are. */
static size_t split(struct span line, struct span *words, size_t n)
{
	size_t i = 0;

	while (i < n && span_word(&line, &words[i]))
		i++;
	return i;
}

static bool copy_word(struct span word, char *to, size_t size)
{
	if (word.len == 0 || word.len >= size || memchr(word.p, '/', word.len))
		return false;
	memcpy(to, word.p, word.len);
	to[word.len] = '\0';
	return true;
}

static unsigned hex_of(struct span word)
{
	unsigned value = 0;

	for (size_t i = 0; i < word.len; i++) {
		const char *digits = "0123456789abcdef", *at = memchr(digits, word.p[i] | 0x20, 16);

		if (!at || value > UINT32_MAX >> 4)
			return 0;
		value = value << 4 | (unsigned)(at - digits);
	}
	return value;
}

int network_default_route(struct span routes, char ret_interface[16], char ret_gateway[9])
{
	struct span line, w[4];

	while (span_line(&routes, &line)) {
		if (split(line, w, 4) != 4 || !span_eq(w[1], "00000000") ||
		    (hex_of(w[3]) & (ROUTE_UP | ROUTE_VIA)) != (ROUTE_UP | ROUTE_VIA))
			continue;
		if (copy_word(w[2], ret_gateway, 9) && copy_word(w[0], ret_interface, 16))
			return 0;
	}
	return -ENOENT;
}

bool network_arp_has(struct span arp, const char *address, const char *interface)
{
	struct span line, w[6];

	while (span_line(&arp, &line)) {
		struct span flags;

		if (split(line, w, 6) != 6 || !span_eq(w[0], address) || !span_eq(w[5], interface))
			continue;
		flags = span_starts(w[2], "0x") ? (struct span){ w[2].p + 2, w[2].len - 2 } : w[2];
		if (hex_of(flags) & ARP_ANSWERED)
			return true;
	}
	return false;
}

static bool is_up(const struct host *h, const char *interface)
{
	_cleanup_free_ char *state = NULL;
	char path[64];

	(void)snprintf(path, sizeof(path), "class/net/%s/operstate", interface);
	return h->sys_fd >= 0 && read_line_at(h->sys_fd, path, &state) >= 0 && strcmp(state, "up") == 0;
}

/* The kernel prints the address as a number of its own byte order. */
static void dots(const char *gateway, char ret[INET_ADDRSTRLEN])
{
	struct in_addr a = { .s_addr = hex_of(SPAN(gateway)) };

	(void)inet_ntop(AF_INET, &a, ret, INET_ADDRSTRLEN);
}

static bool way_out(const struct host *h, char interface[16], char address[INET_ADDRSTRLEN])
{
	_cleanup_free_ char *routes = NULL;
	char gateway[9];

	if (h->proc_fd < 0 || read_file_at(h->proc_fd, "net/route", TABLE_MAX, &routes, NULL) < 0 ||
	    network_default_route(SPAN(routes), interface, gateway) < 0)
		return false;
	dots(gateway, address);
	return true;
}

/* "::/0 … interface": neighbours of IPv6 are in no file, so that a route over an interface that is up has to do. */
static bool works_by_six(const struct host *h)
{
	_cleanup_free_ char *routes = NULL;
	struct span rest, line, w[10];
	char interface[16];

	if (h->proc_fd < 0 || read_file_at(h->proc_fd, "net/ipv6_route", TABLE_MAX, &routes, NULL) < 0)
		return false;
	rest = SPAN(routes);
	while (span_line(&rest, &line))
		if (split(line, w, 10) == 10 && span_eq(w[1], "00") &&
		    span_eq(w[0], "00000000000000000000000000000000") &&
		    (hex_of(w[8]) & (ROUTE_UP | ROUTE_VIA)) == (ROUTE_UP | ROUTE_VIA) &&
		    copy_word(w[9], interface, sizeof(interface)) && is_up(h, interface))
			return true;
	return false;
}

bool network_works(const struct host *h)
{
	char interface[16], address[INET_ADDRSTRLEN];
	_cleanup_free_ char *arp = NULL;

	if (!way_out(h, interface, address))
		return works_by_six(h);
	return is_up(h, interface) && read_file_at(h->proc_fd, "net/arp", TABLE_MAX, &arp, NULL) >= 0 &&
	       network_arp_has(SPAN(arp), address, interface);
}

void network_poke(const struct host *h)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(DISCARD_PORT) };
	char interface[16], address[INET_ADDRSTRLEN];
	_cleanup_close_ int fd = -EBADF;

	if (!way_out(h, interface, address) || inet_pton(AF_INET, address, &to.sin_addr) != 1)
		return;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void)sendto(fd, "", 1, MSG_DONTWAIT, (const struct sockaddr *)&to, sizeof(to));
}
