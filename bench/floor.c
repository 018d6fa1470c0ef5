/*
 * floor.c - the least that a broker could possibly do, to hold a broker's figures against
 *
 * One thread relays what is published on any connection to the connection that consumed last.
 * It keeps no queue, no routes and no state: publishes while nobody consumes vanish, and
 * acknowledgements are read and forgotten. With --sync it appends the bodies of one wake-up to a
 * file, with one write and one fdatasync, before it confirms them: the floor of a durable broker
 * that shares each sync among all that waits for it.
 *
 *   floor --port N [--sync FILE]
 *
 * It speaks as much of the protocol as leveret-perf asks for and trusts its client in the rest; it is
 * a yardstick, not a server. Memory stays bounded because publishers are not read while the
 * consumer has more than PENDING_BYTES to take.
 */
#include "../src/perf/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    RECEIVE_BYTES = 256 * 1024,
    PARTIAL_BYTES = 131072 + WIRE_OVERHEAD,
    PENDING_BYTES = 4 * 1024 * 1024,
    PEERS_MAX = 256,
    EVENTS = 64,
};

struct peer {
    int fd;
    bool greeted, confirms, closing;
    uint32_t interest;
    struct wire_buf in, out; /* in: a partial frame; out: what the socket did not take yet */
    size_t out_at;
    uint64_t published, confirmed, delivered;
    char consumer_tag[256];
};

struct relay {
    int listen_fd, epoll_fd, sync_fd;
    struct peer *peers[PEERS_MAX];
    unsigned peer_count;
    struct peer *consumer;      /* who gets everything; NULL while nobody consumes */
    struct wire_buf journal;    /* bodies of this wake-up */
    uint8_t receive[PARTIAL_BYTES + RECEIVE_BYTES];
};

static void put_start(struct wire_buf *out)
{
    size_t start = wire_begin_method(out, 0, CONNECTION_START);

    wire_put16(out, 0x0009);
    wire_put32(out, 0); /* no properties */
    wire_put_longstr(out, "PLAIN", 5);
    wire_put_longstr(out, "en_US", 5);
    wire_end(out, start);
}

static void put_tune(struct wire_buf *out)
{
    size_t start = wire_begin_method(out, 0, CONNECTION_TUNE);

    wire_put16(out, 2047);
    wire_put32(out, 131072);
    wire_put16(out, 0);
    wire_end(out, start);
}

/* Answers whose arguments are all empty: the right number of zero bytes says so. */
static const struct {
    uint32_t method, answer;
    unsigned zeros;
} answers[] = {
    { CONNECTION_OPEN, CONNECTION_OPEN_OK, 1 },
    { CONNECTION_CLOSE, CONNECTION_CLOSE_OK, 0 },
    { CHANNEL_OPEN, CHANNEL_OPEN_OK, 4 },
    { CHANNEL_CLOSE, CHANNEL_CLOSE_OK, 0 },
    { EXCHANGE_DECLARE, EXCHANGE_DECLARE_OK, 0 },
    { EXCHANGE_DELETE, EXCHANGE_DELETE_OK, 0 },
    { QUEUE_DECLARE, QUEUE_DECLARE_OK, 9 },
    { QUEUE_BIND, QUEUE_BIND_OK, 0 },
    { QUEUE_DELETE, QUEUE_DELETE_OK, 4 },
    { BASIC_QOS, BASIC_QOS_OK, 0 },
    { CONFIRM_SELECT, CONFIRM_SELECT_OK, 0 },
};

static void put_answer(struct peer *peer, const struct wire_frame *frame, uint32_t method)
{
    unsigned i, zeros;
    size_t start;

    for (i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        if (answers[i].method != method)
            continue;
        start = wire_begin_method(&peer->out, frame->channel, answers[i].answer);
        for (zeros = answers[i].zeros; zeros; zeros--)
            wire_put8(&peer->out, 0);
        wire_end(&peer->out, start);
        return;
    }
    wire_fail("the relay does not know method %u.%u", method >> 16, method & 0xffff);
}

/* The frames' sizes were checked by the scanner; short strings are checked here. */
static const uint8_t *short_string(const struct wire_frame *frame, size_t at, size_t *ret_next)
{
    if (at >= frame->size || frame->payload[at] > frame->size - at - 1)
        wire_fail("a short string runs past its frame");
    *ret_next = at + 1 + frame->payload[at];
    return frame->payload + at;
}

static void handle_consume(struct relay *relay, struct peer *peer, const struct wire_frame *frame)
{
    const uint8_t *tag;
    size_t at, start;

    (void)short_string(frame, 6, &at); /* the queue's name means nothing here */
    tag = short_string(frame, at, &at);
    memcpy(peer->consumer_tag, tag + 1, tag[0]);
    peer->consumer_tag[tag[0]] = '\0';
    relay->consumer = peer;
    start = wire_begin_method(&peer->out, frame->channel, BASIC_CONSUME_OK);
    wire_put_shortstr(&peer->out, peer->consumer_tag);
    wire_end(&peer->out, start);
}

static void handle_publish(struct relay *relay, struct peer *peer, const struct wire_frame *frame)
{
    struct peer *consumer = relay->consumer;
    const uint8_t *names = frame->payload + 6; /* exchange and routing key, as they came */
    size_t at, end, start, i;
    struct wire_buf *out;

    peer->published++;
    if (!consumer)
        return;
    (void)short_string(frame, 6, &at);
    (void)short_string(frame, at, &end);
    out = &consumer->out;
    wire_reserve(out, 600 + end);
    start = wire_begin_method(out, 1, BASIC_DELIVER);
    wire_put_shortstr(out, consumer->consumer_tag);
    wire_put64(out, ++consumer->delivered);
    wire_put8(out, 0);
    for (i = 0; i < end - 6; i++)
        out->data[out->size++] = names[i];
    wire_end(out, start);
}

static void handle_content(struct relay *relay, const struct wire_frame *frame)
{
    const uint8_t *whole = frame->payload - 7;
    size_t size = frame->size + WIRE_OVERHEAD;
    struct wire_buf *out;

    if (relay->consumer) {
        out = &relay->consumer->out;
        wire_reserve(out, size);
        memcpy(out->data + out->size, whole, size);
        out->size += size;
    }
    if (relay->sync_fd >= 0 && frame->type == WIRE_BODY) {
        wire_reserve(&relay->journal, frame->size);
        memcpy(relay->journal.data + relay->journal.size, frame->payload, frame->size);
        relay->journal.size += frame->size;
    }
}

static void handle_frame(struct relay *relay, struct peer *peer, const struct wire_frame *frame)
{
    uint32_t method;

    if (frame->type != WIRE_METHOD) {
        if (frame->type != WIRE_HEARTBEAT)
            handle_content(relay, frame);
        return;
    }
    method = frame->size >= 4 ? wire_get32(frame->payload) : 0;
    switch (method) {
    case BASIC_PUBLISH:
        handle_publish(relay, peer, frame);
        break;
    case BASIC_ACK:
    case CONNECTION_TUNE_OK:
        break;
    case BASIC_CONSUME:
        handle_consume(relay, peer, frame);
        break;
    case CONNECTION_START_OK:
        put_tune(&peer->out);
        break;
    case CONFIRM_SELECT:
        peer->confirms = true;
        put_answer(peer, frame, method);
        break;
    default:
        put_answer(peer, frame, method);
    }
}

static void peer_receive(struct relay *relay, struct peer *peer)
{
    size_t at = 0, size = peer->in.size;
    struct wire_frame frame;
    enum wire_scan scan;
    ssize_t n;

    if (size)
        memcpy(relay->receive, peer->in.data, size);
    n = recv(peer->fd, relay->receive + size, RECEIVE_BYTES, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN))
        peer->closing = true;
    size += n > 0 ? (size_t)n : 0;
    if (!peer->greeted && size >= 8) {
        peer->greeted = true;
        put_start(&peer->out);
        at = 8;
    }
    while (peer->greeted &&
           (scan = wire_scan(relay->receive + at, size - at, &frame)) != WIRE_SCAN_MORE) {
        if (scan == WIRE_SCAN_BAD || frame.size > PARTIAL_BYTES - WIRE_OVERHEAD)
            wire_fail("a malformed frame");
        handle_frame(relay, peer, &frame);
        at += frame.size + WIRE_OVERHEAD;
    }
    if (size - at >= PARTIAL_BYTES)
        wire_fail("an oversized frame");
    peer->in.size = 0;
    wire_reserve(&peer->in, size - at);
    if (size - at)
        memcpy(peer->in.data, relay->receive + at, size - at);
    peer->in.size = size - at;
}

static void peer_flush(struct peer *peer)
{
    ssize_t n;

    if (peer->out_at < peer->out.size) {
        n = send(peer->fd, peer->out.data + peer->out_at, peer->out.size - peer->out_at,
                 MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            peer->closing = true;
        peer->out_at += n > 0 ? (size_t)n : 0;
    }
    if (peer->out_at == peer->out.size)
        peer->out_at = peer->out.size = 0;
}

static void watch(struct relay *relay, struct peer *peer, uint32_t interest)
{
    struct epoll_event event = { .events = interest, .data.ptr = peer };

    if (peer->interest == interest)
        return;
    if (epoll_ctl(relay->epoll_fd, EPOLL_CTL_MOD, peer->fd, &event))
        wire_fail("epoll: %s", strerror(errno));
    peer->interest = interest;
}

static void accept_peer(struct relay *relay)
{
    struct epoll_event event = { .events = EPOLLIN };
    struct peer *peer = calloc(1, sizeof *peer);
    int one = 1;

    if (!peer || relay->peer_count == PEERS_MAX)
        wire_fail("too many connections");
    peer->fd = accept4(relay->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    peer->interest = EPOLLIN;
    event.data.ptr = peer;
    if (peer->fd < 0 || setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) ||
        epoll_ctl(relay->epoll_fd, EPOLL_CTL_ADD, peer->fd, &event))
        wire_fail("accept: %s", strerror(errno));
    relay->peers[relay->peer_count++] = peer;
}

static void drop_peer(struct relay *relay, unsigned index)
{
    struct peer *peer = relay->peers[index];

    if (relay->consumer == peer)
        relay->consumer = NULL;
    close(peer->fd);
    wire_buf_release(&peer->in);
    wire_buf_release(&peer->out);
    free(peer);
    relay->peers[index] = relay->peers[--relay->peer_count];
}

static void sync_journal(struct relay *relay)
{
    size_t at = 0;
    ssize_t n;

    if (!relay->journal.size)
        return;
    while (at < relay->journal.size) {
        n = write(relay->sync_fd, relay->journal.data + at, relay->journal.size - at);
        if (n < 0)
            wire_fail("write: %s", strerror(errno));
        at += (size_t)n;
    }
    if (fdatasync(relay->sync_fd))
        wire_fail("fdatasync: %s", strerror(errno));
    relay->journal.size = 0;
}

static void confirm(struct peer *peer)
{
    size_t start;

    if (!peer->confirms || peer->confirmed == peer->published)
        return;
    start = wire_begin_method(&peer->out, 1, BASIC_ACK);
    wire_put64(&peer->out, peer->published);
    wire_put8(&peer->out, 1);
    wire_end(&peer->out, start);
    peer->confirmed = peer->published;
}

/* The end of a wake-up: sync, confirm, send, and choose whom to listen to. */
static void settle(struct relay *relay)
{
    bool full = false;
    unsigned i;

    sync_journal(relay);
    for (i = 0; i < relay->peer_count; i++) {
        struct peer *peer = relay->peers[i];

        confirm(peer);
        peer_flush(peer);
        full = full || peer->out.size - peer->out_at > PENDING_BYTES;
    }
    for (i = relay->peer_count; i-- > 0;) {
        struct peer *peer = relay->peers[i];

        if (peer->closing)
            drop_peer(relay, i);
        else
            watch(relay, peer, (full && peer->published ? 0 : EPOLLIN) |
                                   (peer->out.size ? EPOLLOUT : 0));
    }
}

static void relay_listen(struct relay *relay, unsigned port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
    int one = 1;

    relay->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    relay->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (relay->listen_fd < 0 || relay->epoll_fd < 0 ||
        setsockopt(relay->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
        bind(relay->listen_fd, (struct sockaddr *)&address, sizeof address) ||
        listen(relay->listen_fd, 128) ||
        epoll_ctl(relay->epoll_fd, EPOLL_CTL_ADD, relay->listen_fd, &event))
        wire_fail("port %u: %s", port, strerror(errno));
}

static void relay_run(struct relay *relay)
{
    struct epoll_event events[EVENTS];
    int i, n;

    for (;;) {
        n = epoll_wait(relay->epoll_fd, events, EVENTS, -1);
        if (n < 0 && errno != EINTR)
            wire_fail("epoll: %s", strerror(errno));
        for (i = 0; i < n; i++) {
            if (!events[i].data.ptr)
                accept_peer(relay);
            else if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
                peer_receive(relay, events[i].data.ptr);
        }
        settle(relay);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "port", required_argument, NULL, 'p' },
                                             { "sync", required_argument, NULL, 's' },
                                             { 0 } };
    static struct relay relay = { .sync_fd = -1 };
    unsigned port = 0;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'p':
            port = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 's':
            relay.sync_fd = open(optarg, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
            if (relay.sync_fd < 0)
                wire_fail("%s: %s", optarg, strerror(errno));
            break;
        default:
            return 2;
        }
    }
    if (port < 1 || port > 65535 || optind < argc) {
        fputs("Usage: floor --port N [--sync FILE]\n", stderr);
        return 2;
    }
    relay_listen(&relay, port);
    relay_run(&relay);
}
