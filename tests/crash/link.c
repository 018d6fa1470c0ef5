/*
 * link.c - a socket and two growing buffers
 *
 * Non-blocking throughout; the blocking style of set-up is poll() around the same functions.
 */
#include "link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "amqp/properties.h"
#include "amqp/wire.h"

enum { READ_BYTES = 262144, PATIENCE_MS = 20000 };

void crash_fail(const char *format, ...)
{
    va_list arguments;

    printf("FAILED: ");
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    exit(EXIT_FAILURE);
}

static uint8_t *reserve(uint8_t *data, size_t size, size_t *capacity)
{
    if (size <= *capacity)
        return data;
    while (*capacity < size)
        *capacity = *capacity ? *capacity * 2 : 65536;
    data = realloc(data, *capacity);
    if (!data)
        crash_fail("no memory");
    return data;
}

static bool end(struct link *link)
{
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
    return false;
}

void link_close(struct link *link)
{
    (void)end(link);
    free(link->in);
    free(link->out);
    *link = (struct link){ .fd = -1 };
}

void link_put(struct link *link, const void *method)
{
    size_t size = amqp_method_frame_size(method);
    uint16_t channel = (uint16_t)(*(const uint32_t *)method >> 16 == 10 ? 0 : 1);

    link->out = reserve(link->out, link->out_size + size, &link->out_capacity);
    (void)amqp_method_frame_encode(method, channel, link->out + link->out_size);
    link->out_size += size;
}

static void put_frame(struct link *link, uint8_t type, const uint8_t *payload, size_t size)
{
    uint8_t *at;

    link->out = reserve(link->out, link->out_size + size + AMQP_FRAME_OVERHEAD_BYTES,
                        &link->out_capacity);
    at = amqp_frame_begin(link->out + link->out_size, type, 1, (uint32_t)size);
    memcpy(at, payload, size);
    at[size] = AMQP_FRAME_END;
    link->out_size += size + AMQP_FRAME_OVERHEAD_BYTES;
}

void link_put_message(struct link *link, const char *queue, const uint8_t *body, size_t size)
{
    const struct amqp_properties persistent = { .flags = AMQP_PROPERTY_DELIVERY_MODE,
                                                .delivery_mode = 2 };
    uint8_t header[AMQP_CONTENT_HEAD_BYTES + 8];
    uint8_t *at = wire_store16(header, AMQP_CLASS_BASIC);

    link_put(link, &(struct amqp_basic_publish){ .id = AMQP_ID_basic_publish,
                                                 .routing_key = amqp_str_from(queue) });
    at = wire_store16(at, 0);
    at = wire_store64(at, size);
    at = amqp_properties_encode(&persistent, at);
    put_frame(link, AMQP_FRAME_HEADER, header, (size_t)(at - header));
    while (size) {
        size_t part = size < 100000 ? size : 100000;

        put_frame(link, AMQP_FRAME_BODY, body, part);
        body += part;
        size -= part;
    }
}

bool link_write(struct link *link)
{
    size_t done = 0;

    if (link->fd < 0)
        return false;
    while (done < link->out_size) {
        ssize_t n = send(link->fd, link->out + done, link->out_size - done, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) { /* what was received is still to be read; then its end shows */
            link->out_size = 0;
            return true;
        }
        done += (size_t)n;
    }
    memmove(link->out, link->out + done, link->out_size - done);
    link->out_size -= done;
    return true;
}

static void wait_for(struct link *link, short events)
{
    struct pollfd poller = { .fd = link->fd, .events = events };

    if (poll(&poller, 1, PATIENCE_MS) == 0)
        crash_fail("the broker has been silent for %d ms", PATIENCE_MS);
}

bool link_flush(struct link *link)
{
    while (link->out_size) {
        if (!link_write(link))
            return false;
        if (link->out_size)
            wait_for(link, POLLOUT);
    }
    return link->fd >= 0;
}

bool link_read(struct link *link)
{
    ssize_t n;

    if (link->fd < 0)
        return false;
    if (link->in_size > link->in_at)
        memmove(link->in, link->in + link->in_at, link->in_size - link->in_at);
    link->in_size -= link->in_at;
    link->in_at = 0;
    link->in = reserve(link->in, link->in_size + READ_BYTES, &link->in_capacity);
    n = recv(link->fd, link->in + link->in_size, READ_BYTES, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0)
        return end(link);
    link->in_size += (size_t)n;
    return true;
}

bool link_next(struct link *link, struct amqp_frame *ret_frame)
{
    struct amqp_bytes left = { link->in + link->in_at, link->in_size - link->in_at };

    if (left.size == 0)
        return false;
    switch (amqp_frame_scan(left, 0, ret_frame)) {
    case AMQP_SCAN_FRAME:
        link->in_at += ret_frame->frame_bytes;
        return true;
    case AMQP_SCAN_MORE:
        return false;
    case AMQP_SCAN_OVERSIZED:
    case AMQP_SCAN_BAD_END:
        break;
    }
    crash_fail("a malformed frame");
}

bool link_call(struct link *link, uint32_t answer, union amqp_method *ret_method)
{
    struct amqp_frame frame;
    struct amqp_error err;
    char text[300];

    if (!link_flush(link))
        return false;
    while (!link_next(link, &frame)) {
        wait_for(link, POLLIN);
        if (!link_read(link))
            return false;
    }
    if (frame.type != AMQP_FRAME_METHOD || amqp_method_decode(frame.payload, ret_method, &err))
        crash_fail("another frame than a method");
    amqp_method_print(ret_method, text, sizeof text);
    if (ret_method->id != answer)
        crash_fail("an unexpected answer: %s", text);
    return true;
}

static bool connect_to(struct link *link, unsigned port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int one = 1;

    *link = (struct link){ .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    if (link->fd < 0)
        crash_fail("no socket: %s", strerror(errno));
    if (connect(link->fd, (struct sockaddr *)&address, sizeof address))
        return end(link);
    (void)setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* only for speed */
    return fcntl(link->fd, F_SETFL, O_NONBLOCK) == 0;
}

bool link_open(struct link *link, unsigned port)
{
    static const uint8_t header[] = { 'A', 'M', 'Q', 'P', 0, 0, 9, 1 };
    union amqp_method method;

    if (!connect_to(link, port))
        return false;
    link->out = reserve(link->out, sizeof header, &link->out_capacity);
    memcpy(link->out, header, sizeof header);
    link->out_size = sizeof header;
    if (!link_call(link, AMQP_ID_connection_start, &method))
        return false;
    link_put(link, &(struct amqp_connection_start_ok){
                       .id = AMQP_ID_connection_start_ok,
                       .mechanism = AMQP_STR("PLAIN"),
                       .response = { (const uint8_t *)"\0guest\0guest", 12 },
                       .locale = AMQP_STR("en_US") });
    if (!link_call(link, AMQP_ID_connection_tune, &method))
        return false;
    link_put(link, &(struct amqp_connection_tune_ok){ .id = AMQP_ID_connection_tune_ok,
                                                      .channel_max = 16,
                                                      .frame_max = 131072 });
    link_put(link, &(struct amqp_connection_open){ .id = AMQP_ID_connection_open,
                                                   .virtual_host = AMQP_STR("/") });
    if (!link_call(link, AMQP_ID_connection_open_ok, &method))
        return false;
    link_put(link, &(struct amqp_channel_open){ .id = AMQP_ID_channel_open });
    return link_call(link, AMQP_ID_channel_open_ok, &method);
}
