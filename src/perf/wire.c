/*
 * wire.c - writing frames, and a blocking client for the quiet parts of a run
 *
 * Buffers only grow and are kept, so that after the first messages nothing is allocated. The
 * client reads into its own small buffer: flow.c inherits what lies unread in it when it takes
 * the descriptor over, since a broker may deliver right behind basic.consume-ok.
 */
#include "wire.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static bool failing;

void wire_fail(const char *format, ...)
{
    va_list args;

    fflush(stdout);
    fprintf(stderr, "%s: %s", program_invocation_short_name, failing ? "then, cleaning up: " : "");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    if (failing)
        _exit(1);
    failing = true;
    exit(1);
}

void wire_reserve(struct wire_buf *buf, size_t extra)
{
    size_t capacity = buf->capacity ? buf->capacity : 512;
    uint8_t *data;

    if (buf->capacity - buf->size >= extra)
        return;
    while (capacity - buf->size < extra)
        capacity *= 2;
    data = realloc(buf->data, capacity);
    if (!data)
        wire_fail("out of memory");
    buf->data = data;
    buf->capacity = capacity;
}

void wire_put8(struct wire_buf *buf, unsigned value)
{
    wire_reserve(buf, 1);
    buf->data[buf->size++] = (uint8_t)value;
}

void wire_put16(struct wire_buf *buf, unsigned value)
{
    wire_put8(buf, value >> 8);
    wire_put8(buf, value & 0xff);
}

void wire_put32(struct wire_buf *buf, uint32_t value)
{
    wire_reserve(buf, sizeof value);
    wire_set32(buf->data + buf->size, value);
    buf->size += sizeof value;
}

void wire_put64(struct wire_buf *buf, uint64_t value)
{
    wire_reserve(buf, sizeof value);
    wire_set64(buf->data + buf->size, value);
    buf->size += sizeof value;
}

static void put_bytes(struct wire_buf *buf, const void *bytes, size_t size)
{
    wire_reserve(buf, size);
    if (size)
        memcpy(buf->data + buf->size, bytes, size);
    buf->size += size;
}

void wire_put_shortstr(struct wire_buf *buf, const char *text)
{
    size_t size = strlen(text);

    if (size > 255)
        wire_fail("'%.20s...' is longer than a short string may be", text);
    wire_put8(buf, (unsigned)size);
    put_bytes(buf, text, size);
}

void wire_put_longstr(struct wire_buf *buf, const void *bytes, size_t size)
{
    wire_put32(buf, (uint32_t)size);
    put_bytes(buf, bytes, size);
}

void wire_buf_release(struct wire_buf *buf)
{
    free(buf->data);
    *buf = (struct wire_buf){ 0 };
}

size_t wire_begin(struct wire_buf *buf, unsigned type, unsigned channel)
{
    size_t start = buf->size;

    wire_put8(buf, type);
    wire_put16(buf, channel);
    wire_put32(buf, 0);
    return start;
}

size_t wire_begin_method(struct wire_buf *buf, unsigned channel, uint32_t method)
{
    size_t start = wire_begin(buf, WIRE_METHOD, channel);

    wire_put32(buf, method);
    return start;
}

void wire_end(struct wire_buf *buf, size_t start)
{
    wire_set32(buf->data + start + 3, (uint32_t)(buf->size - start - 7));
    wire_put8(buf, WIRE_END);
}

static void put_header(struct wire_buf *buf, const struct wire_message *message)
{
    size_t start = wire_begin(buf, WIRE_HEADER, 1);
    bool headers = message->headers && message->headers->size;

    wire_put16(buf, BASIC_PUBLISH >> 16);
    wire_put16(buf, 0);
    wire_put64(buf, message->body_size);
    wire_put16(buf, (headers ? 1u << 13 : 0) | (message->persistent ? 1u << 12 : 0) |
                        (message->priority >= 0 ? 1u << 11 : 0) |
                        (message->expiration ? 1u << 8 : 0));
    if (headers)
        wire_put_longstr(buf, message->headers->data, message->headers->size);
    if (message->persistent)
        wire_put8(buf, 2);
    if (message->priority >= 0)
        wire_put8(buf, (unsigned)message->priority);
    if (message->expiration)
        wire_put_shortstr(buf, message->expiration);
    wire_end(buf, start);
}

void wire_put_message(struct wire_buf *buf, const struct wire_message *message, uint32_t frame_max)
{
    size_t part_max = frame_max - WIRE_OVERHEAD;
    size_t start, at, part;

    start = wire_begin_method(buf, 1, BASIC_PUBLISH);
    wire_put16(buf, 0);
    wire_put_shortstr(buf, message->exchange);
    wire_put_shortstr(buf, message->routing_key);
    wire_put8(buf, message->mandatory ? 1 : 0);
    wire_end(buf, start);

    put_header(buf, message);

    for (at = 0; at < message->body_size; at += part) {
        part = message->body_size - at < part_max ? message->body_size - at : part_max;
        start = wire_begin(buf, WIRE_BODY, 1);
        put_bytes(buf, message->body + at, part);
        wire_end(buf, start);
    }
}

void wire_describe_close(const struct wire_frame *frame, char *ret_text, size_t text_size)
{
    uint32_t method = wire_get32(frame->payload);
    const char *scope = method == CHANNEL_CLOSE ? "channel" : "connection";
    size_t length = frame->size >= 7 ? frame->payload[6] : 0;

    if (frame->size < 7 || length > frame->size - 7) {
        (void)snprintf(ret_text, text_size, "%s closed, with a malformed close", scope);
        return;
    }
    (void)snprintf(ret_text, text_size, "%s closed by the broker: %u %.*s", scope,
                   wire_get16(frame->payload + 4), (int)length,
                   (const char *)frame->payload + 7);
}

static int connect_to(const struct client_address *address)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found, *each;
    char port[16];
    int fd = -1, rc;

    (void)snprintf(port, sizeof port, "%u", address->port);
    rc = getaddrinfo(address->host, port, &hints, &found);
    if (rc)
        wire_fail("%s: %s", address->host, gai_strerror(rc));
    for (each = found; each && fd < 0; each = each->ai_next) {
        fd = socket(each->ai_family, each->ai_socktype | SOCK_CLOEXEC, each->ai_protocol);
        if (fd >= 0 && connect(fd, each->ai_addr, each->ai_addrlen)) {
            rc = errno;
            close(fd);
            fd = -1;
            errno = rc;
        }
    }
    freeaddrinfo(found);
    if (fd < 0)
        wire_fail("cannot connect to %s port %s: %s", address->host, port, strerror(errno));
    return fd;
}

static void receive_some(struct client *client)
{
    ssize_t n;

    if (client->in_at) {
        client->in.size -= client->in_at;
        memmove(client->in.data, client->in.data + client->in_at, client->in.size);
        client->in_at = 0;
    }
    wire_reserve(&client->in, 4096);
    do
        n = recv(client->fd, client->in.data + client->in.size,
                 client->in.capacity - client->in.size, 0);
    while (n < 0 && errno == EINTR); /* whoever catches signals looks for them elsewhere */
    if (n == 0)
        wire_fail("the broker closed the connection without a word");
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        wire_fail("no answer from the broker in time");
    if (n < 0)
        wire_fail("receive: %s", strerror(errno));
    client->in.size += (size_t)n;
}

static void next_frame(struct client *client, struct wire_frame *ret_frame)
{
    for (;;) {
        switch (wire_scan(client->in.data + client->in_at, client->in.size - client->in_at,
                          ret_frame)) {
        case WIRE_SCAN_FRAME:
            client->in_at += ret_frame->size + WIRE_OVERHEAD;
            return;
        case WIRE_SCAN_BAD:
            wire_fail("the broker sent a frame without its end octet");
        case WIRE_SCAN_MORE:
            receive_some(client);
        }
    }
}

void client_flush(struct client *client)
{
    size_t at = 0;
    ssize_t n;

    while (at < client->out.size) {
        n = send(client->fd, client->out.data + at, client->out.size - at, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            wire_fail("send: %s", strerror(errno));
        at += n > 0 ? (size_t)n : 0;
    }
    client->out.size = 0;
}

void client_expect(struct client *client, uint32_t method, struct wire_frame *ret_frame)
{
    struct wire_frame frame;
    char text[320];
    uint32_t id;

    for (;;) {
        next_frame(client, &frame);
        if (frame.type == WIRE_HEARTBEAT)
            continue;
        if (frame.type != WIRE_METHOD || frame.size < 4)
            wire_fail("a frame of type %u where a method was due", frame.type);
        id = wire_get32(frame.payload);
        if (id == CHANNEL_CLOSE || id == CONNECTION_CLOSE) {
            wire_describe_close(&frame, text, sizeof text);
            wire_fail("%s", text);
        }
        if (id == method)
            break;
        if (id != CONNECTION_BLOCKED && id != CONNECTION_UNBLOCKED)
            wire_fail("method %u.%u where %u.%u was due", id >> 16, id & 0xffff, method >> 16,
                      method & 0xffff);
    }
    if (ret_frame)
        *ret_frame = frame;
}

void client_call(struct client *client, uint32_t answer)
{
    client_flush(client);
    client_expect(client, answer, NULL);
}

static void put_start_ok(struct client *client, const struct client_address *address)
{
    static const uint8_t capabilities[] = "\x12" "connection.blocked" "t\x01"
                                          "\x16" "consumer_cancel_notify" "t\x01"
                                          "\x1c" "authentication_failure_close" "t\x01";
    struct wire_buf *out = &client->out, properties = { 0 };
    size_t start = wire_begin_method(out, 0, CONNECTION_START_OK);
    char response[600];
    int length;

    wire_put_shortstr(&properties, "product");
    wire_put8(&properties, 'S');
    wire_put_longstr(&properties, "leveret-perf", 12);
    wire_put_shortstr(&properties, "capabilities");
    wire_put8(&properties, 'F');
    wire_put_longstr(&properties, capabilities, sizeof capabilities - 1);
    wire_put_longstr(out, properties.data, properties.size);
    wire_buf_release(&properties);

    length = snprintf(response, sizeof response, "%c%s%c%s", 0, address->user, 0,
                      address->password);
    if (length < 0 || length >= (int)sizeof response)
        wire_fail("user name or password is too long");
    wire_put_shortstr(out, "PLAIN");
    wire_put_longstr(out, response, (size_t)length);
    wire_put_shortstr(out, "en_US");
    wire_end(out, start);
}

/* A long string of a field table, where all before it are ones of the types that brokers say who
 * they are with: strings, booleans and tables. */
static void read_property(const uint8_t *at, const uint8_t *end, const char *name, char *ret_text,
                          size_t text_size)
{
    while (end - at >= 2 && end - at >= 2 + at[0]) {
        bool wanted = at[0] == strlen(name) && !memcmp(at + 1, name, at[0]);
        uint8_t type = at[1 + at[0]];
        uint32_t size = 1;

        at += 2 + at[0];
        if (type == 'S' || type == 'F') {
            if (end - at < 4)
                return;
            size = wire_get32(at);
            at += 4;
        } else if (type != 't') {
            return;
        }
        if ((size_t)(end - at) < size)
            return;
        if (wanted && type == 'S')
            (void)snprintf(ret_text, text_size, "%.*s", (int)size, (const char *)at);
        at += size;
    }
}

/* connection.start: two octets of version, then the server's properties. */
static void read_start(struct client *client, const struct wire_frame *start)
{
    const uint8_t *table = start->payload + 10;
    const uint8_t *end = start->payload + start->size;

    if (start->size < 10 || wire_get32(table - 4) > (size_t)(end - table))
        wire_fail("connection.start is too short");
    end = table + wire_get32(table - 4);
    read_property(table, end, "product", client->product, sizeof client->product);
    read_property(table, end, "version", client->version, sizeof client->version);
    read_property(table, end, "platform", client->platform, sizeof client->platform);
}

void client_open(struct client *client, const struct client_address *address)
{
    struct timeval bound = { .tv_sec = (time_t)address->timeout_s };
    struct wire_frame greeting, tune;
    size_t start;
    int one = 1;

    *client = (struct client){ .fd = connect_to(address) };
    (void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound) ||
        setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof bound))
        wire_fail("setsockopt: %s", strerror(errno));
    put_bytes(&client->out, "AMQP\0\0\x09\x01", 8);
    client_flush(client);
    client_expect(client, CONNECTION_START, &greeting);
    read_start(client, &greeting);
    put_start_ok(client, address);
    client_flush(client);

    client_expect(client, CONNECTION_TUNE, &tune);
    if (tune.size < 12)
        wire_fail("connection.tune is too short");
    client->frame_max = wire_get32(tune.payload + 6);
    if (client->frame_max == 0 || client->frame_max > 131072)
        client->frame_max = 131072;
    start = wire_begin_method(&client->out, 0, CONNECTION_TUNE_OK);
    wire_put16(&client->out, wire_get16(tune.payload + 4));
    wire_put32(&client->out, client->frame_max);
    wire_put16(&client->out, 0); /* no heartbeats: a run has its own bound */
    wire_end(&client->out, start);
    start = wire_begin_method(&client->out, 0, CONNECTION_OPEN);
    wire_put_shortstr(&client->out, address->vhost);
    wire_put_shortstr(&client->out, "");
    wire_put8(&client->out, 0);
    wire_end(&client->out, start);
    client_call(client, CONNECTION_OPEN_OK);

    client_put_channel_open(client, 1);
    client_call(client, CHANNEL_OPEN_OK);
}

void client_put_channel_open(struct client *client, unsigned channel)
{
    size_t start = wire_begin_method(&client->out, channel, CHANNEL_OPEN);

    wire_put_shortstr(&client->out, "");
    wire_end(&client->out, start);
}

void client_put_queue_declare(struct client *client, const char *queue,
                              const struct wire_queue *kind)
{
    size_t start = wire_begin_method(&client->out, 1, QUEUE_DECLARE);

    wire_put16(&client->out, 0);
    wire_put_shortstr(&client->out, queue);
    wire_put8(&client->out, (kind->durable ? 2u : 0) | (kind->exclusive ? 4u : 0) |
                                (kind->auto_delete ? 8u : 0));
    wire_put_longstr(&client->out, kind->arguments.data, kind->arguments.size);
    wire_end(&client->out, start);
}

void client_put_queue_bind(struct client *client, const char *queue, const char *exchange,
                           const char *routing_key)
{
    size_t start = wire_begin_method(&client->out, 1, QUEUE_BIND);

    wire_put16(&client->out, 0);
    wire_put_shortstr(&client->out, queue);
    wire_put_shortstr(&client->out, exchange);
    wire_put_shortstr(&client->out, routing_key);
    wire_put8(&client->out, 0);
    wire_put32(&client->out, 0);
    wire_end(&client->out, start);
}

void client_put_queue_unbind(struct client *client, const char *queue, const char *exchange,
                             const char *routing_key)
{
    size_t start = wire_begin_method(&client->out, 1, QUEUE_UNBIND);

    wire_put16(&client->out, 0);
    wire_put_shortstr(&client->out, queue);
    wire_put_shortstr(&client->out, exchange);
    wire_put_shortstr(&client->out, routing_key);
    wire_put32(&client->out, 0);
    wire_end(&client->out, start);
}

void client_put_queue_delete(struct client *client, const char *queue)
{
    size_t start = wire_begin_method(&client->out, 1, QUEUE_DELETE);

    wire_put16(&client->out, 0);
    wire_put_shortstr(&client->out, queue);
    wire_put8(&client->out, 0);
    wire_end(&client->out, start);
}

void client_put_exchange_declare(struct client *client, const char *exchange, const char *type,
                                 bool durable)
{
    size_t start = wire_begin_method(&client->out, 1, EXCHANGE_DECLARE);

    wire_put16(&client->out, 0);
    wire_put_shortstr(&client->out, exchange);
    wire_put_shortstr(&client->out, type);
    wire_put8(&client->out, durable ? 2 : 0);
    wire_put32(&client->out, 0);
    wire_end(&client->out, start);
}

void client_put_exchange_delete(struct client *client, const char *exchange)
{
    size_t start = wire_begin_method(&client->out, 1, EXCHANGE_DELETE);

    wire_put16(&client->out, 0);
    wire_put_shortstr(&client->out, exchange);
    wire_put8(&client->out, 0);
    wire_end(&client->out, start);
}

void client_put_consume(struct client *client, const char *queue, bool no_ack)
{
    size_t start = wire_begin_method(&client->out, 1, BASIC_CONSUME);

    wire_put16(&client->out, 0);
    wire_put_shortstr(&client->out, queue);
    wire_put_shortstr(&client->out, "c");
    wire_put8(&client->out, no_ack ? 2 : 0);
    wire_put32(&client->out, 0);
    wire_end(&client->out, start);
}

void client_put_qos(struct client *client, unsigned prefetch_count)
{
    size_t start = wire_begin_method(&client->out, 1, BASIC_QOS);

    wire_put32(&client->out, 0);
    wire_put16(&client->out, prefetch_count);
    wire_put8(&client->out, 0);
    wire_end(&client->out, start);
}

void client_put_confirm_select(struct client *client)
{
    size_t start = wire_begin_method(&client->out, 1, CONFIRM_SELECT);

    wire_put8(&client->out, 0);
    wire_end(&client->out, start);
}

static void put_close(struct client *client, unsigned channel, uint32_t method)
{
    size_t start = wire_begin_method(&client->out, channel, method);

    wire_put16(&client->out, 200);
    wire_put_shortstr(&client->out, "done");
    wire_put32(&client->out, 0);
    wire_end(&client->out, start);
}

void client_put_channel_close(struct client *client, unsigned channel)
{
    put_close(client, channel, CHANNEL_CLOSE);
}

void client_close_channel(struct client *client)
{
    struct wire_frame frame;
    char text[320];
    uint32_t id = 0;

    put_close(client, 1, CHANNEL_CLOSE);
    client_flush(client);
    while (id != CHANNEL_CLOSE_OK) {
        next_frame(client, &frame);
        id = frame.type == WIRE_METHOD && frame.size >= 4 ? wire_get32(frame.payload) : 0;
        if (id == CHANNEL_CLOSE || id == CONNECTION_CLOSE) {
            wire_describe_close(&frame, text, sizeof text);
            wire_fail("%s", text);
        }
    }
}

void client_close(struct client *client)
{
    put_close(client, 0, CONNECTION_CLOSE);
    client_call(client, CONNECTION_CLOSE_OK);
    close(client->fd);
    wire_buf_release(&client->in);
    wire_buf_release(&client->out);
}
