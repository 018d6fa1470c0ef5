/*
 * client_fixture.h - a client set on a real loop and real sockets, with an imagined broker behind
 *
 * The broker's functions that the server calls are here: a connection that writes down what it is
 * given and lets a test answer through struct channel_ops. Time stands still until a test moves it.
 */
#ifndef TESTS_UNIT_CLIENT_FIXTURE_H
#define TESTS_UNIT_CLIENT_FIXTURE_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/client-internal.h"
#include "server/listener.h"
#include "tests/unit/unit.h"

enum {
    WAIT_TURNS = 20000, /* polling turns before a wait is given up */
    RECORD_BYTES = 4 * 1024 * 1024,
    HANDSHAKE_TIMEOUT_MS = 10000,
    SEND_TIMEOUT_MS = 8000,
    LINGERING_MAX = 4,
};

static const uint8_t protocol_header[AMQP_PROTOCOL_HEADER_BYTES] = { 'A', 'M', 'Q', 'P',
                                                                     0,   0,   9,   1 };

/* What a connection was given, as frames without their edges: type, payload size, payload. */
struct connection {
    const struct channel_ops *ops;
    void *peer;
    struct connection_origin origin;
    unsigned headers, frames, bads, forced;
    enum amqp_scan bad_scan;
    uint8_t bad_end_octet;
    uint8_t *octets; /* all payloads, one after another */
    size_t size;
    bool refuses_header;
    unsigned pause_after; /* pause when so many frames have come; 0: never */
    bool congested;
    unsigned congestions;
    uint32_t payload_max;
    void (*on_frame)(struct connection *connection, const struct amqp_frame *frame);
};

static struct loop *loop;
static struct client_set *clients;
static struct listener *listener;
static struct connection *connection; /* the last one made; NULL when it was freed */
static unsigned connections_made, connections_freed, turns_ended;
static uint64_t now_ms;
static int peer_fd; /* the client's end, blocking */

/* ---- the imagined broker ---- */

void broker_begin(struct broker *broker, uint64_t monotonic_ms, uint64_t wall_ms)
{
    (void)broker;
    (void)wall_ms;
    ck_assert_uint_eq(monotonic_ms, now_ms);
}

int broker_end(struct broker *broker)
{
    (void)broker;
    turns_ended++;
    return -1;
}

uint32_t broker_gather_us(const struct broker *broker)
{
    (void)broker;
    return 0;
}

void broker_gather_over(struct broker *broker)
{
    (void)broker;
}

int store_fd(const struct store *store)
{
    (void)store;
    return -1;
}

void store_poll(struct store *store)
{
    (void)store;
}

int store_lost(const struct store *store, const char **ret_text)
{
    (void)store;
    (void)ret_text;
    return 0;
}

int connection_new(struct broker *broker, const struct channel_ops *ops, void *peer,
                   const struct connection_origin *origin, struct connection **ret_connection)
{
    (void)broker;
    connection = calloc(1, sizeof *connection);
    connection->ops = ops;
    connection->peer = peer;
    connection->origin = *origin;
    connection->octets = malloc(RECORD_BYTES);
    connection->payload_max = BOUND_FRAME_MAX_BYTES;
    connections_made++;
    *ret_connection = connection;
    return 0;
}

void connection_free(struct connection *gone)
{
    connections_freed++;
    free(gone->octets);
    if (gone == connection)
        connection = NULL;
    free(gone);
}

bool connection_receive_header(struct connection *to,
                               const uint8_t header[AMQP_PROTOCOL_HEADER_BYTES])
{
    to->headers++;
    if (to->refuses_header) {
        to->ops->send_octets(to->peer, protocol_header, sizeof protocol_header);
        to->ops->close(to->peer, CONNECTION_CLOSE_FLUSH);
        return false;
    }
    ck_assert_mem_eq(header, protocol_header, sizeof protocol_header);
    return true;
}

uint32_t connection_payload_max(const struct connection *of)
{
    return of->payload_max;
}

/* Some octets less than one frame, as many as two, or all. */
size_t connection_look_ahead(struct connection *to, struct amqp_bytes received)
{
    size_t size = 1 + to->frames % 3 * 20;

    return size < received.size ? size : received.size;
}

void connection_receive(struct connection *to, const struct amqp_frame *frame)
{
    ck_assert_uint_eq(to->headers, 1);
    ck_assert_uint_le(to->size + frame->payload.size, RECORD_BYTES);
    memcpy(to->octets + to->size, frame->payload.data, frame->payload.size);
    to->size += frame->payload.size;
    to->frames++;
    if (to->on_frame)
        to->on_frame(to, frame);
    if (to->pause_after && to->frames == to->pause_after)
        to->ops->pause(to->peer, true);
}

void connection_receive_bad(struct connection *to, enum amqp_scan scan,
                            const struct amqp_frame *frame, uint8_t end_octet)
{
    (void)frame;
    to->bads++;
    to->bad_scan = scan;
    to->bad_end_octet = end_octet;
}

void connection_set_congested(struct connection *to, bool congested)
{
    ck_assert_int_ne(to->congested, congested);
    to->congested = congested;
    to->congestions += congested;
}

void connection_force_close(struct connection *to, int code, const char *text)
{
    ck_assert_int_eq(code, AMQP_CONNECTION_FORCED);
    ck_assert_str_eq(text, "bye");
    to->forced++;
}

const char *connection_name(const struct connection *of)
{
    (void)of;
    return "test";
}

/* ---- the fixture ---- */

static uint64_t fixed_clock(void)
{
    return now_ms;
}

static inline void turn(void)
{
    loop_turn(loop, true);
}

static inline void move_time(uint64_t ms)
{
    now_ms += ms;
    turn();
}

/* Take turns until a condition holds; it must within a bound. */
#define WAIT_UNTIL(condition)                              \
    do {                                                   \
        unsigned turns_left = WAIT_TURNS;                  \
                                                           \
        while (!(condition) && --turns_left) {             \
            turn();                                        \
            usleep(50);                                    \
        }                                                  \
        ck_assert_msg(turns_left, "never: %s", #condition); \
    } while (0)

static int connect_peer(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    unsigned before = connections_made;
    int port = atoi(strrchr(listener_name(listener), ':') + 1);

    to.sin_port = htons((uint16_t)port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    WAIT_UNTIL(connections_made == before + 1);
    return fd;
}

static void client_setup(void)
{
    struct client_settings settings = { .handshake_timeout_ms = HANDSHAKE_TIMEOUT_MS,
                                        .send_timeout_ms = SEND_TIMEOUT_MS,
                                        .lingering_max = LINGERING_MAX,
                                        .nodelay = true };
    char error_text[256];

    now_ms = 1000000;
    connections_made = connections_freed = turns_ended = 0;
    ck_assert_int_eq(loop_new((struct broker *)&now_ms, &loop), 0);
    loop_set_clock(loop, fixed_clock);
    ck_assert_int_eq(client_set_new(loop, (struct broker *)&now_ms, &settings, &clients), 0);
    ck_assert_int_eq(listener_new(loop, clients, "127.0.0.1", 0, error_text, sizeof error_text,
                                  &listener), 0);
    peer_fd = connect_peer();
}

static void client_teardown(void)
{
    if (peer_fd >= 0)
        close(peer_fd);
    listener_free(listener);
    client_set_free(clients);
    loop_free(loop);
    ck_assert_uint_eq(connections_freed, connections_made);
}

static inline struct client *the_client(void)
{
    return connection->peer;
}

/* The peer writes; turns are taken so that nothing blocks. */
static inline void peer_send(const void *data, size_t size)
{
    const uint8_t *at = data;

    while (size) {
        ssize_t sent = send(peer_fd, at, size, MSG_DONTWAIT | MSG_NOSIGNAL);

        ck_assert(sent > 0 || errno == EAGAIN);
        if (sent > 0) {
            at += sent;
            size -= (size_t)sent;
        }
        turn();
    }
}

/* What has come to the peer so far, at most @size; -1 for nothing yet, 0 at the end. */
static inline ssize_t peer_receive(void *data, size_t size)
{
    turn();
    return recv(peer_fd, data, size, MSG_DONTWAIT);
}

/* The peer reads exactly @size octets, turns being taken meanwhile. */
static inline void peer_expect_octets(void *data, size_t size)
{
    uint8_t *at = data;
    unsigned turns_left = WAIT_TURNS;

    while (size && --turns_left) {
        ssize_t got = peer_receive(at, size);

        ck_assert_msg(got != 0, "the socket was closed, %zu octets are missing", size);
        if (got < 0) {
            usleep(50);
            continue;
        }
        at += got;
        size -= (size_t)got;
        turns_left = WAIT_TURNS;
    }
    ck_assert_msg(turns_left, "%zu octets never came", size);
}

static inline bool peer_sees_end(void)
{
    uint8_t octet;
    ssize_t got = recv(peer_fd, &octet, 1, MSG_DONTWAIT);

    return got == 0 || (got < 0 && errno == ECONNRESET);
}

static inline void peer_expect_nothing(void)
{
    uint8_t octet;

    for (unsigned i = 0; i < 5; i++)
        ck_assert_int_eq(peer_receive(&octet, 1), -1);
}

/* Writes a frame; returns its end. */
static inline uint8_t *make_frame(uint8_t *at, uint8_t type, const void *payload, size_t size)
{
    at = amqp_frame_begin(at, type, 1, (uint32_t)size);
    if (size)
        memcpy(at, payload, size);
    at[size] = AMQP_FRAME_END;
    return at + size + 1;
}

/* Header, tune-ok, open: as if the handshake were over. */
static inline void open_client(uint32_t frame_max, uint16_t heartbeat_s)
{
    peer_send(protocol_header, sizeof protocol_header);
    WAIT_UNTIL(connection->headers == 1);
    connection->ops->tuned(connection->peer, frame_max, heartbeat_s);
    connection->ops->opened(connection->peer);
}

#endif
