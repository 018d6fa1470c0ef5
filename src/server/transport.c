/*
 * transport.c - plain TCP, and what needs the descriptor only
 *
 * sendmsg() rather than writev(): MSG_NOSIGNAL makes a vanished peer an error, not a signal.
 */
#include "server/transport.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    KEEPALIVE_IDLE_S = 60, /* silent so long: probed */
    KEEPALIVE_INTERVAL_S = 15,
    KEEPALIVE_COUNT = 4, /* unanswered: lost */
};

static ssize_t tcp_read(struct transport *transport, const struct iovec *parts, int n_parts)
{
    ssize_t size;

    do {
        size = readv(transport->fd, parts, n_parts);
    } while (size < 0 && errno == EINTR);
    return size < 0 ? -errno : size;
}

static ssize_t tcp_writev(struct transport *transport, const struct iovec *parts, int n_parts)
{
    struct msghdr message = { .msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)n_parts };
    ssize_t size;

    do {
        size = sendmsg(transport->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (size < 0 && errno == EINTR);
    return size < 0 ? -errno : size;
}

static unsigned tcp_wants(const struct transport *transport)
{
    (void)transport; /* a plain socket never needs the other direction, and buffers nothing here */
    return 0;
}

static int tcp_end(struct transport *transport)
{
    return shutdown(transport->fd, SHUT_WR) ? -errno : 0;
}

static void tcp_close(struct transport *transport)
{
    if (transport->fd >= 0)
        (void)close(transport->fd); /* nothing can be done about it, and nothing is lost here */
    transport->fd = -1;
}

static const struct transport_ops tcp_ops = {
    .read = tcp_read,
    .writev = tcp_writev,
    .wants = tcp_wants,
    .end = tcp_end,
    .close = tcp_close,
};

enum transport_peer transport_peer(const struct transport *transport)
{
    struct pollfd look = { .fd = transport->fd, .events = POLLRDHUP };

    if (poll(&look, 1, 0) <= 0)
        return TRANSPORT_PEER_THERE; /* nothing to tell; an error is looked at again later */
    if (look.revents & (POLLERR | POLLHUP | POLLNVAL))
        return TRANSPORT_PEER_LOST;
    return look.revents & POLLRDHUP ? TRANSPORT_PEER_ENDED : TRANSPORT_PEER_THERE;
}

void transport_keep_alive(const struct transport *transport)
{
    int on = 1, idle_s = KEEPALIVE_IDLE_S, interval_s = KEEPALIVE_INTERVAL_S;
    int count = KEEPALIVE_COUNT;

    /* A socket that refuses works, only its peer's loss is noticed later. */
    (void)setsockopt(transport->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(transport->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(transport->fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    (void)setsockopt(transport->fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

void transport_init_tcp(struct transport *transport, int fd)
{
    *transport = (struct transport){ .ops = &tcp_ops, .fd = fd };
}

void transport_reset(struct transport *transport)
{
    struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

    /* If it is refused the peer gets a FIN: it learns of the end, only not with its next write. */
    (void)setsockopt(transport->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    transport_close(transport);
}

size_t transport_unacknowledged(const struct transport *transport)
{
    int octets = 0;

    if (ioctl(transport->fd, SIOCOUTQ, &octets) || octets < 0)
        return 0;
    return (size_t)octets;
}
