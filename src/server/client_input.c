/*
 * client_input.c - from a socket to whole frames
 *
 * All clients of a loop read into one buffer, so an idle client holds none. What is left of an
 * unfinished frame is copied aside; a large one is then read straight into its own place, which
 * grows as octets come, not as they are announced. A wake-up reads until the socket is empty or
 * READ_BUDGET_BYTES have come, then others have a turn.
 *
 * When reading must stop (enum client_stop) while octets are at hand, those are set aside whole
 * (CLIENT_STOP_HELD) and handled first when it goes on. Input of a client that is leaving is read
 * and dropped, so that its own end is noticed.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "server/client-internal.h"
#include "server/log.h"

enum {
    READ_BUDGET_BYTES = 256 * 1024, /* more outgrows the cache: 1 MiB costs 30 % */
    INPUT_FIRST_BYTES = 64 * 1024, /* the first room of a large unfinished frame */
    INPUT_DIRECT_BYTES = 4096,     /* missing octets worth a place of their own in a read */
};

/* Append octets; room for @least_bytes in all is made when there is too little. */
static bool input_append(struct client_input *input, const uint8_t *data, size_t size,
                         size_t least_bytes)
{
    size_t needed = input->size + size;

    if (needed < least_bytes)
        needed = least_bytes;
    if (needed > input->capacity) {
        uint8_t *moved = realloc(input->data, needed);

        if (!moved)
            return false;
        input->data = moved;
        input->capacity = needed;
    }
    if (size)
        memcpy(input->data + input->size, data, size);
    input->size += size;
    return true;
}

/* How much room an unfinished frame gets: as it comes, not as it is announced. */
static size_t unit_room(const struct client *client)
{
    size_t room = 2 * client->input.capacity;

    if (room < INPUT_FIRST_BYTES)
        room = INPUT_FIRST_BYTES;
    return room < client->unit_bytes ? room : client->unit_bytes;
}

static uint32_t payload_max(const struct client *client)
{
    uint32_t max_bytes = connection_payload_max(client->connection);

    return max_bytes ? max_bytes : BOUND_MESSAGE_HARD_BYTES;
}

static void receive_bad(struct client *client, enum amqp_scan scan, const struct amqp_frame *frame)
{
    uint8_t end_octet = 0;

    if (scan == AMQP_SCAN_BAD_END)
        end_octet = frame->payload.data[frame->payload.size];
    connection_receive_bad(client->connection, scan, frame, end_octet);
    client->stops |= CLIENT_STOP_CLOSED; /* where the next frame begins, nobody knows */
}

/* IPv4 as IPv6; all zero when the peer is gone already. */
static struct in6_addr peer_address(const struct client *client)
{
    struct sockaddr_in6 v6 = { 0 };
    struct sockaddr_in v4;
    struct in6_addr address = IN6ADDR_ANY_INIT;
    socklen_t size = sizeof v6;

    if (getpeername(client->transport.fd, (struct sockaddr *)&v6, &size))
        return address;
    if (v6.sin6_family == AF_INET6)
        return v6.sin6_addr;
    memcpy(&v4, &v6, sizeof v4);
    memcpy(address.s6_addr + 12, &v4.sin_addr, sizeof v4.sin_addr);
    return address;
}

bool client_log_foreign(struct client *client, const uint8_t *octets, size_t size)
{
    char text[FOREIGN_TEXT_BYTES], detail[FOREIGN_TEXT_BYTES + 64];
    const char *what = foreign_describe(octets, size, text);
    struct in6_addr address;
    unsigned suppressed = 0;
    bool admitted;

    if (!what)
        return false;
    address = peer_address(client);
    admitted = foreign_log_admit(&client->set->foreign, &address, what,
                                 loop_now_ms(client->set->loop), &suppressed);
    if (suppressed)
        snprintf(detail, sizeof detail, ": %s (and %u more that were not logged)", text,
                 suppressed);
    else
        snprintf(detail, sizeof detail, ": %s", text);
    client_log(client, admitted ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, "closing", detail);
    return true;
}

/* The protocol header, once its 8 octets are there. Return: octets used, or 0. */
static size_t consume_header(struct client *client, const uint8_t *data, size_t size)
{
    client->unit_bytes = AMQP_PROTOCOL_HEADER_BYTES;
    if (size < AMQP_PROTOCOL_HEADER_BYTES)
        return 0;
    client->protocol_known = true;
    if (connection_receive_header(client->connection, data))
        client_log(client, LOG_LEVEL_INFO, "accepting", "");
    else
        client_log_foreign(client, data, AMQP_PROTOCOL_HEADER_BYTES);
    return AMQP_PROTOCOL_HEADER_BYTES;
}

/*
 * Handle whole frames until there are none or reading has been stopped.
 *
 * Return: octets used; the frame that is unfinished needs client->unit_bytes.
 */
static size_t client_consume(struct client *client, const uint8_t *data, size_t size)
{
    uint32_t max_bytes = payload_max(client);
    size_t at = 0, looked_at = 0;

    if (UNLIKELY(!client->protocol_known)) {
        at = consume_header(client, data, size);
        if (!at)
            return 0;
    }
    while (!client->stops) {
        struct amqp_bytes rest = { data + at, size - at };
        struct amqp_frame frame;
        enum amqp_scan scan = amqp_frame_scan(rest, max_bytes, &frame);

        if (UNLIKELY(scan != AMQP_SCAN_FRAME)) {
            client->unit_bytes = frame.frame_bytes;
            if (scan != AMQP_SCAN_MORE)
                receive_bad(client, scan, &frame);
            break;
        }
        if (at >= looked_at)
            looked_at = at + connection_look_ahead(client->connection, rest);
        connection_receive(client->connection, &frame);
        at += frame.frame_bytes;
        if (UNLIKELY(client->state == CLIENT_HANDSHAKE))
            max_bytes = payload_max(client); /* tune-ok changes it */
    }
    return at;
}

/* As much of the frame in `input` is there as was asked for: handle it, or learn its size. */
static void client_complete(struct client *client)
{
    struct client_input unit = client->input;
    size_t used;

    client->input = (struct client_input){ 0 };
    used = client_consume(client, unit.data, unit.size);
    if (used == 0 && !client->stops)
        client->input = unit; /* only its head had been complete */
    else
        free(unit.data);
}

/* What follows in `data` cannot be handled now. */
static void client_set_aside(struct client *client, const uint8_t *data, size_t size)
{
    if (!size || (client->stops & CLIENT_STOP_CLOSED))
        return;
    if (!input_append(&client->input, data, size, client->stops ? 0 : unit_room(client)))
        client_fail(client);
    else if (client->stops)
        client->stops |= CLIENT_STOP_HELD;
}

/* Octets have come, after those that are in `input`. */
static void client_feed(struct client *client, const uint8_t *data, size_t size)
{
    while (client->input.size && size && !client->stops) {
        size_t part = client->unit_bytes - client->input.size;

        if (part > size)
            part = size;
        if (!input_append(&client->input, data, part, unit_room(client))) {
            client_fail(client);
            return;
        }
        data += part;
        size -= part;
        if (client->input.size == client->unit_bytes)
            client_complete(client);
    }
    if (size && !client->stops) {
        size_t used = client_consume(client, data, size);

        data += used;
        size -= used;
    }
    client_set_aside(client, data, size);
}

/* Room to read into behind a large unfinished frame; 0 when the common buffer does. */
static size_t direct_room(struct client *client)
{
    struct client_input *input = &client->input;

    if (!input->size || client->unit_bytes - input->size < INPUT_DIRECT_BYTES)
        return 0;
    if (input->size == input->capacity && !input_append(input, NULL, 0, unit_room(client)))
        return 0;
    return input->capacity - input->size;
}

/* One read. Return: octets, *ret_full when there may be more; 0 at the end; -errno. */
static ssize_t client_read_some(struct client *client, bool *ret_full)
{
    struct client_set *set = client->set;
    size_t direct = direct_room(client);
    struct iovec parts[2] = {
        { direct ? client->input.data + client->input.size : NULL, direct },
        { set->receive_buffer, CLIENT_RECEIVE_BYTES },
    };
    ssize_t size = direct ? transport_read(&client->transport, parts, 2)
                          : transport_read(&client->transport, parts + 1, 1);
    size_t got, placed;

    if (size <= 0)
        return size;
    got = (size_t)size;
    placed = got < direct ? got : direct;
    *ret_full = got == direct + CLIENT_RECEIVE_BYTES;
    client->received_bytes += got;
    client->input.size += placed;
    if (placed && client->input.size == client->unit_bytes)
        client_complete(client);
    client_feed(client, set->receive_buffer, got - placed);
    return size;
}

static void client_discard(struct client *client)
{
    struct iovec part = { client->set->receive_buffer, CLIENT_RECEIVE_BYTES };
    ssize_t size = transport_read(&client->transport, &part, 1);

    if (size <= 0 && size != -EAGAIN)
        client_lost(client, (int)size);
    else
        client_update_events(client);
}

void client_read(struct client *client)
{
    size_t left = READ_BUDGET_BYTES;

    if (client->stops & CLIENT_STOP_CLOSED) {
        client_discard(client);
        return;
    }
    while (!client->stops) {
        bool full = false;
        ssize_t size = client_read_some(client, &full);

        if (size == -EAGAIN)
            break;
        if (size <= 0) {
            client_lost(client, (int)size);
            return;
        }
        if (!full && !(transport_wants(&client->transport) & TRANSPORT_WANTS_TURN))
            break;
        if ((size_t)size >= left) {
            if (transport_wants(&client->transport) & TRANSPORT_WANTS_TURN)
                loop_defer(client->set->loop, &client->resume_work);
            break;
        }
        left -= (size_t)size;
    }
    client_update_events(client);
}

void client_resume(struct loop_work *work)
{
    struct client *client = CONTAINER_OF(work, struct client, resume_work);

    if (client->stops & ~(unsigned)CLIENT_STOP_HELD)
        return; /* something else stops it; the end of that comes here again */
    if (client->stops & CLIENT_STOP_HELD) {
        struct client_input held = client->input;

        client->stops &= ~(unsigned)CLIENT_STOP_HELD;
        client->input = (struct client_input){ 0 };
        client_feed(client, held.data, held.size);
        free(held.data);
    }
    if (transport_wants(&client->transport) & TRANSPORT_WANTS_TURN)
        client_read(client);
    else
        client_update_events(client);
}
