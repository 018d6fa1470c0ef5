/*
 * producer.c - publishing from a block of messages encoded once, and counting confirms
 *
 * A message is released when limit, confirm window and rate allow it, and sent when the socket
 * takes it; both are counters, since message n is always at the same place of the block, also where
 * messages differ in size, key or priority: the block holds a cycle of them, drawn once. With
 * confirms, `lowest` is the first tag not yet confirmed and a byte per tag marks those confirmed
 * above it, so that brokers may confirm in any order; a ring of (last tag, time) entries, one
 * for each release, gives every confirm its latency.
 */
#include "flow-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

struct draft { /* what encoding a block needs */
    struct wire_buf block;
    struct wire_message message; /* what all messages of the block have in common */
    uint8_t *body;
    uint64_t random;
    unsigned number; /* of the producer */
};

static void note_confirmed(struct flow *flow, struct producer *producer, uint64_t now_ns)
{
    uint64_t before = producer->lowest, confirmed, part;
    struct publish *publish;

    while (producer->done[producer->lowest & (flow->span - 1)] &&
           producer->lowest <= producer->queued) {
        producer->done[producer->lowest++ & (flow->span - 1)] = 0;
        producer->ahead--;
    }
    for (confirmed = before; confirmed < producer->lowest; confirmed += part) {
        publish = &producer->publishes[producer->publish_tail & (flow->span - 1)];
        part = producer->lowest - confirmed;
        if (publish->last_tag + 1 - confirmed < part)
            part = publish->last_tag + 1 - confirmed;
        if (flow->measuring)
            hist_add(&flow->result->confirm_ns,
                     now_ns > publish->at_ns ? now_ns - publish->at_ns : 0, part);
        if (publish->last_tag < confirmed + part)
            producer->publish_tail++;
    }
}

static void handle_confirm(struct flow *flow, struct producer *producer,
                    const struct wire_frame *frame, uint64_t now_ns)
{
    uint64_t tag = wire_get64(frame->payload + 4), at, fresh = 0;
    bool multiple = frame->payload[12] & 1;

    if (multiple && tag == 0)
        tag = producer->queued;
    if (tag > producer->queued || tag == 0 || !flow->settings->confirm_window)
        wire_fail("a confirm for publish %llu, which was not sent", (unsigned long long)tag);
    for (at = multiple ? producer->lowest : tag; at <= tag; at++) {
        if (at < producer->lowest || producer->done[at & (flow->span - 1)]) {
            if (!multiple)
                wire_fail("publish %llu was confirmed twice", (unsigned long long)tag);
            continue;
        }
        producer->done[at & (flow->span - 1)] = 1;
        fresh++;
    }
    producer->ahead += fresh;
    flow->confirmed += fresh;
    if (wire_get32(frame->payload) == BASIC_NACK)
        flow->nacked += fresh;
    note_confirmed(flow, producer, now_ns);
}

void producer_frame(struct flow *flow, struct producer *producer,
                    const struct wire_frame *frame, uint64_t now_ns)
{
    uint32_t id;

    if (frame->type == WIRE_HEARTBEAT)
        return;
    if (frame->type != WIRE_METHOD)
        wire_fail("a frame of type %u on a connection that only publishes", frame->type);
    id = frame->size >= 13 ? wire_get32(frame->payload) : 0;
    if (id == BASIC_ACK || id == BASIC_NACK)
        handle_confirm(flow, producer, frame, now_ns);
    else
        flow_other_method(flow, frame);
}

/* How many messages a producer may release now: the least of what limit, window, and the room
 * in its block of encoded messages allow. */
uint64_t producer_allowance(const struct flow *flow, const struct producer *producer)
{
    unsigned window = flow->settings->confirm_window;
    uint64_t open = producer->queued + 1 - producer->lowest; /* from the first unconfirmed on */
    uint64_t unsent = producer->queued - producer->sent;
    uint64_t n = producer->limit - producer->queued;

    if (flow->stopped)
        return 0;
    if (n > flow->block_messages - unsent)
        n = flow->block_messages - unsent;
    if (window && n > window - (open - producer->ahead))
        n = window - (open - producer->ahead);
    if (window && n > flow->span - open)
        n = flow->span - open;
    return n;
}

static void producer_release(struct flow *flow, struct producer *producer, uint64_t n,
                             uint64_t at_ns)
{
    producer->queued += n;
    if (flow->settings->confirm_window)
        producer->publishes[producer->publish_head++ & (flow->span - 1)] =
            (struct publish){ .last_tag = producer->queued, .at_ns = at_ns };
}

uint64_t producer_bytes(const struct flow *flow, const struct producer *producer, uint64_t n)
{
    return n / flow->block_messages * producer->starts[flow->block_messages] +
           producer->starts[n % flow->block_messages];
}

/* In which message the byte at this place of everything that a producer sends lies, by halving. */
static uint64_t message_at(const struct flow *flow, const struct producer *producer, uint64_t byte)
{
    size_t block_bytes = producer->starts[flow->block_messages];
    size_t rest = byte % block_bytes;
    unsigned low = 0, high = flow->block_messages, middle;

    while (high - low > 1) {
        middle = low + (high - low) / 2;
        if (producer->starts[middle] <= rest)
            low = middle;
        else
            high = middle;
    }
    return byte / block_bytes * flow->block_messages + low;
}

static void set_stamp(struct flow *flow, struct producer *producer, uint64_t message, uint64_t at_ns)
{
    size_t at = producer->body_starts[message % flow->block_messages];

    wire_set64(producer->block + at + BODY_INDEXED, at_ns);
}

/* Puts the time into one of the messages that begin within the next @size bytes. The one that had
 * it loses it once it has left, before its place in the block comes round again. */
static void stamp_one(struct flow *flow, struct producer *producer, size_t size)
{
    struct range range = { 0, 0 };
    uint64_t first, end;

    if (producer->stamped > producer->sent)
        return;
    if (producer->stamped)
        set_stamp(flow, producer, producer->stamped - 1, 0);
    producer->stamped = 0;
    first = producer->sent + (producer->sent_bytes > producer_bytes(flow, producer, producer->sent));
    end = message_at(flow, producer, producer->sent_bytes + size - 1) + 1;
    if (first >= end)
        return;
    range.most = (unsigned)(end - first - 1);
    first += value_in(range, &producer->random);
    set_stamp(flow, producer, first, usage_now_ns());
    producer->stamped = first + 1;
}

void producer_release_due(struct flow *flow, struct producer *producer, uint64_t now_ns)
{
    uint64_t allowance = producer_allowance(flow, producer);

    while (allowance-- && producer->due_ns <= now_ns) {
        set_stamp(flow, producer, producer->queued, producer->due_ns);
        producer_release(flow, producer, 1, producer->due_ns);
        producer->due_ns += flow->interval_ns;
    }
}

void producer_send(struct flow *flow, struct producer *producer)
{
    size_t block_bytes = producer->starts[flow->block_messages], budget = SEND_BYTES;
    uint64_t left, allowance, sent;
    size_t at, part;
    ssize_t n;

    for (;;) {
        allowance = flow->interval_ns ? 0 : producer_allowance(flow, producer);
        if (allowance)
            producer_release(flow, producer, allowance, usage_now_ns());
        left = producer_bytes(flow, producer, producer->queued) - producer->sent_bytes;
        if (!left || !budget)
            break;
        at = producer->sent_bytes % block_bytes;
        part = left < block_bytes - at ? left : block_bytes - at;
        part = part < budget ? part : budget;
        if (flow->stamped && !flow->interval_ns)
            stamp_one(flow, producer, part);
        n = send(producer->link.client.fd, producer->block + at, part,
                 MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            wire_fail("send: %s", strerror(errno));
        producer->sent_bytes += (size_t)n;
        sent = message_at(flow, producer, producer->sent_bytes);
        flow->sent += sent - producer->sent;
        producer->sent = sent;
        flow->moved += (size_t)n;
        budget -= (size_t)n;
    }
    flow_watch(flow, &producer->link, left ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* One message of the block, with the body that all share; returns where its body starts. */
static size_t encode_message(struct flow *flow, struct producer *producer, struct draft *draft,
                             unsigned index)
{
    const struct settings *settings = flow->settings;
    struct wire_message message = draft->message;
    char key[NAME_BYTES], expiration[16];
    size_t parts, frame_max = producer->link.client.frame_max;

    topology_routing_key(settings, draft->number, index, key);
    message.routing_key = key;
    message.body_size = value_in(settings->body_bytes, &draft->random);
    flow->block_body_bytes += message.body_size;
    if (settings->has_expiration) {
        (void)snprintf(expiration, sizeof expiration, "%u",
                       value_in(settings->expiration_ms, &draft->random));
        message.expiration = expiration;
    }
    if (settings->has_priority)
        message.priority = (int)value_in(settings->priority, &draft->random);
    if (settings->body_bytes.least >= BODY_INDEXED) {
        wire_set32(draft->body, draft->number);
        wire_set32(draft->body + 4, index);
    }
    wire_put_message(&draft->block, &message, (uint32_t)frame_max);
    parts = (message.body_size + frame_max - WIRE_OVERHEAD - 1) / (frame_max - WIRE_OVERHEAD);
    /* the body, less what frames around its parts take, but the first one's header */
    return draft->block.size - message.body_size - parts * WIRE_OVERHEAD + (parts ? 7 : 0);
}

static void producer_encode(struct flow *flow, struct producer *producer, unsigned number)
{
    const struct settings *settings = flow->settings;
    unsigned count = flow->block_messages, i;
    char exchange[NAME_BYTES];
    struct draft draft = {
        .number = number,
        .random = 88172645463325252u + number,
        .body = calloc(1, settings->body_bytes.most + 1u),
        .message = {
            .exchange = exchange, .priority = -1, .headers = &settings->headers,
            .persistent = settings->persistent,
            /* without consumers, who else would notice that it went nowhere? */
            .mandatory = settings->mandatory || !settings->consumers,
        },
    };

    producer->starts = calloc(count + 1u, sizeof *producer->starts);
    producer->body_starts = calloc(count, sizeof *producer->body_starts);
    if (!draft.body || !producer->starts || !producer->body_starts)
        wire_fail("out of memory");
    draft.message.body = draft.body;
    topology_exchange(settings, exchange);
    memset(draft.body, 'x', settings->body_bytes.most);
    if (flow->stamped)
        wire_set64(draft.body + BODY_INDEXED, 0);
    for (i = 0; i < count; i++) {
        producer->body_starts[i] = encode_message(flow, producer, &draft, i);
        producer->starts[i + 1] = draft.block.size;
    }
    free(draft.body);
    producer->block = draft.block.data;
}

void producer_start(struct flow *flow, unsigned number)
{
    const struct settings *settings = flow->settings;
    struct producer *producer = &flow->producers[number];
    struct client *client = &producer->link.client;

    producer->link.role = ROLE_PRODUCER;
    client_open(client, &settings->address);
    producer->lowest = 1;
    producer->random = 88172645463325252u + number;
    producer->limit = settings->count ? settings->count / settings->producers +
                                            (number < settings->count % settings->producers)
                                      : UINT64_MAX;
    producer_encode(flow, producer, number);
    if (!settings->confirm_window)
        return;
    producer->done = calloc(flow->span, sizeof *producer->done);
    producer->publishes = calloc(flow->span, sizeof *producer->publishes);
    if (!producer->done || !producer->publishes)
        wire_fail("out of memory");
    client_put_confirm_select(client);
    client_call(client, CONFIRM_SELECT_OK);
}
