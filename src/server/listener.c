/*
 * listener.c - accepting, and not being able to
 *
 * libevent's evconnlistener accepts everything that waits in one go, which may be thousands: those
 * that are connected would wait for all of them. So a turn takes BOUND_ACCEPTS_A_TURN at most, over
 * all listeners; the rest stays in the kernel's queue until the next.
 *
 * When descriptors or memory run out, the connection that could not be accepted stays in that queue
 * too, and would wake the loop again and again: the listener pauses for PAUSE_MS instead, with one
 * line in the log until it works again. Connections that exist are served meanwhile.
 */
#include "server/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/client.h"
#include "server/log.h"
#include "server/loop.h"

enum {
    BACKLOG = 4096, /* the kernel cuts it to net.core.somaxconn */
    PAUSE_MS = 1000,
    NAME_BYTES = INET6_ADDRSTRLEN + 24, /* brackets, %zone, port */
};

struct listener {
    struct loop *loop;
    struct client_set *clients;
    struct evconnlistener *socket;
    struct timer timer; /* ends a pause */
    struct loop_work rest; /* the queue is not empty: goes on in the next turn */
    bool troubled;      /* said so in the log */
    char name[NAME_BYTES];
};

static void on_pause_ends(struct timer *timer, uint64_t now_ms)
{
    struct listener *listener = CONTAINER_OF(timer, struct listener, timer);

    (void)now_ms;
    evconnlistener_enable(listener->socket);
}

static void on_next_turn(struct loop_work *work)
{
    struct listener *listener = CONTAINER_OF(work, struct listener, rest);

    if (!listener->timer.place)
        evconnlistener_enable(listener->socket);
}

static void listener_trouble(struct listener *listener, int error)
{
    if (!listener->troubled)
        log_warning("%s cannot accept connections: %s; those that exist are served, new ones wait",
                    listener->name, strerror(error));
    listener->troubled = true;
    if (!loop_set_timer(listener->loop, &listener->timer, loop_now_ms(listener->loop) + PAUSE_MS))
        evconnlistener_disable(listener->socket);
}

static void on_error(struct evconnlistener *socket, void *context)
{
    struct listener *listener = context;
    int error = errno;

    (void)socket;
    loop_enter(listener->loop);
    listener_trouble(listener, error);
}

static void on_accept(struct evconnlistener *socket, evutil_socket_t fd, struct sockaddr *peer,
                      int peer_bytes, void *context)
{
    struct listener *listener = context;
    int rc;

    (void)socket;
    (void)peer_bytes;
    loop_enter(listener->loop);
    rc = client_set_accept(listener->clients, fd, peer);
    if (!client_set_may_accept(listener->clients)) {
        evconnlistener_disable(socket); /* it stops asking for more at once */
        loop_defer(listener->loop, &listener->rest);
    }
    if (rc == -ENOTCONN)
        return; /* gone before it was looked at */
    if (rc) {
        listener_trouble(listener, -rc);
    } else if (listener->troubled) {
        listener->troubled = false;
        log_info("%s accepts connections again", listener->name);
    }
}

static bool is_ipv6(const struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET6;
}

/* What to bind to. Without @text: all of IPv6, which then takes IPv4 as well, or all of IPv4. */
static int resolve(const char *text, uint16_t port, bool ipv4_only,
                   struct sockaddr_storage *ret_address, socklen_t *ret_size)
{
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                              .ai_family = ipv4_only ? AF_INET : AF_UNSPEC,
                              .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    char service[8];

    snprintf(service, sizeof service, "%u", port);
    if (!text)
        text = ipv4_only ? "0.0.0.0" : "::";
    if (getaddrinfo(text, service, &hints, &found) || !found)
        return -EINVAL;
    memcpy(ret_address, found->ai_addr, found->ai_addrlen);
    *ret_size = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

/* A listening socket; @dual takes IPv4 on an IPv6 one. Return: descriptor or -errno. */
static int open_socket(const struct sockaddr_storage *address, socklen_t size, bool dual)
{
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1, v6_only = !dual;
    int rc = 0;

    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        (is_ipv6(address) &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof v6_only)) ||
        bind(fd, (const struct sockaddr *)address, size) || listen(fd, BACKLOG))
        rc = -errno;
    if (!rc)
        return fd;
    close(fd);
    return rc;
}

/* Descriptor of a socket that listens at @address, or -errno. */
static int listen_at(const char *address, uint16_t port)
{
    struct sockaddr_storage to = { 0 };
    socklen_t size = 0;
    int rc = resolve(address, port, false, &to, &size);

    if (!rc)
        rc = open_socket(&to, size, !address);
    if (!address && (rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL || rc == -EINVAL)) {
        rc = resolve(address, port, true, &to, &size); /* a machine without IPv6 */
        if (!rc)
            rc = open_socket(&to, size, false);
    }
    return rc;
}

static int print_name(int fd, char name[NAME_BYTES])
{
    struct sockaddr_storage at = { 0 };
    socklen_t size = sizeof at;
    char host[INET6_ADDRSTRLEN + 16], port[8];

    if (getsockname(fd, (struct sockaddr *)&at, &size))
        return -errno;
    if (getnameinfo((struct sockaddr *)&at, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV))
        return -EINVAL;
    snprintf(name, NAME_BYTES, is_ipv6(&at) ? "[%s]:%s" : "%s:%s", host, port);
    return 0;
}

static int listener_start(struct listener *listener, int fd)
{
    int rc = print_name(fd, listener->name);

    if (!rc) {
        listener->socket = evconnlistener_new(loop_base(listener->loop), on_accept, listener,
                                              LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
        rc = listener->socket ? 0 : -ENOMEM;
    }
    if (rc) {
        close(fd);
        return rc;
    }
    evconnlistener_set_error_cb(listener->socket, on_error);
    return 0;
}

/* Why the port cannot be had, and what to do. */
static void explain(int error, const char *address, unsigned port, char *text, size_t size)
{
    const char *where = address ? address : "all addresses";

    switch (error) {
    case EADDRINUSE:
        snprintf(text, size, "port %u of %s is in use by another process, perhaps another broker "
                             "(RabbitMQ?): 'ss -ltnp sport = :%u' names it; -p PORT takes another "
                             "port",
                 port, where, port);
        break;
    case EADDRNOTAVAIL:
        snprintf(text, size, "port %u of %s: no network interface of this machine has this address",
                 port, where);
        break;
    case EACCES:
        snprintf(text, size, "port %u of %s: only root, or a process with the capability "
                             "CAP_NET_BIND_SERVICE, may listen at it; -p PORT takes another port",
                 port, where);
        break;
    default:
        snprintf(text, size, "cannot listen on port %u of %s: %s", port, where, strerror(error));
    }
}

int listener_new(struct loop *loop, struct client_set *clients, const char *address, uint16_t port,
                 char *error_text, size_t error_text_size, struct listener **ret_listener)
{
    struct listener *listener = calloc(1, sizeof *listener);
    int rc;

    if (!listener)
        return -ENOMEM;
    listener->loop = loop;
    listener->clients = clients;
    listener->timer.fire = on_pause_ends;
    listener->rest.run = on_next_turn;
    rc = listen_at(address, port);
    if (rc >= 0)
        rc = listener_start(listener, rc);
    if (rc < 0) {
        explain(-rc, address, port, error_text, error_text_size);
        free(listener);
        return rc;
    }
    *ret_listener = listener;
    return 0;
}

void listener_free(struct listener *listener)
{
    if (!listener)
        return;
    loop_cancel_timer(listener->loop, &listener->timer);
    loop_work_cancel(&listener->rest);
    evconnlistener_free(listener->socket);
    free(listener);
}

void listener_set_backlog(struct listener *listener, int backlog)
{
    (void)listen(evconnlistener_get_fd(listener->socket), backlog); /* listens already */
}

const char *listener_name(const struct listener *listener)
{
    return listener->name;
}
