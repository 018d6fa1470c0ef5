/*
 * consumer.c - taking deliveries, checking them, acknowledging them in batches
 *
 * A delivery is a method, a header and body frames; nothing of it is kept but its tag. Delivery
 * tags must count by one, bodies must have the size of the run, and where a queue has one
 * consumer the places in each producer's block must follow one another. Acknowledgements gather
 * while one read is worked off and leave in one write.
 */
#include "flow-internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

void consumer_append_ack(struct consumer *consumer, uint64_t tag)
{
    struct wire_buf *out = &consumer->link.client.out;
    size_t start = wire_begin_method(out, 1, BASIC_ACK);

    wire_put64(out, tag);
    wire_put8(out, tag - consumer->acked > 1);
    wire_end(out, start);
    consumer->acked = tag;
}

void consumer_flush(struct flow *flow, struct consumer *consumer)
{
    struct wire_buf *out = &consumer->link.client.out;
    ssize_t n;

    if (consumer->out_at < out->size) {
        n = send(consumer->link.client.fd, out->data + consumer->out_at,
                 out->size - consumer->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            wire_fail("send: %s", strerror(errno));
        consumer->out_at += n > 0 ? (size_t)n : 0;
    }
    if (consumer->out_at == out->size)
        consumer->out_at = out->size = 0;
    flow_watch(flow, &consumer->link, out->size ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void check_body(struct flow *flow, struct consumer *consumer,
                       const struct wire_frame *frame, uint64_t now_ns)
{
    uint32_t producer, index;
    uint64_t due_ns;

    if (flow->stamped && flow->measuring && frame->size >= BODY_STAMPED) {
        due_ns = wire_get64(frame->payload + BODY_INDEXED);
        if (due_ns)
            hist_add(&flow->result->deliver_ns, now_ns > due_ns ? now_ns - due_ns : 0, 1);
    }
    if (!consumer->next_index || frame->size < BODY_INDEXED)
        return;
    producer = wire_get32(frame->payload);
    index = wire_get32(frame->payload + 4);
    if (producer >= flow->settings->producers)
        wire_fail("a delivered body was altered");
    if (index != consumer->next_index[producer] && !flow->nacked)
        wire_fail("a message was lost, doubled or overtaken: number %u of its block came where "
                  "%u was due", index, consumer->next_index[producer]);
    index += flow->route.stride;
    consumer->next_index[producer] = index >= flow->block_messages ? index - flow->block_messages
                                                                   : index;
}

static void message_done(struct flow *flow, struct consumer *consumer)
{
    consumer->stage = STAGE_METHOD;
    flow->consumed++;
    if (flow->work_ns || !flow->settings->ack_every)
        return;
    if (consumer->tag - consumer->acked >= flow->settings->ack_every)
        consumer_append_ack(consumer, consumer->tag);
}

void consumer_work(struct flow *flow, struct consumer *consumer, uint64_t now_ns)
{
    if (consumer->worked == consumer->tag && now_ns > consumer->due_ns)
        consumer->due_ns = now_ns; /* time without work is not saved up */
    while (consumer->worked < consumer->tag && consumer->due_ns <= now_ns) {
        consumer->worked++;
        consumer->due_ns += flow->work_ns;
        if (consumer->worked - consumer->acked >= flow->settings->ack_every)
            consumer_append_ack(consumer, consumer->worked);
    }
    consumer_flush(flow, consumer);
}

static void consumer_content(struct flow *flow, struct consumer *consumer,
                             const struct wire_frame *frame, uint64_t now_ns)
{
    if (consumer->stage == STAGE_HEADER && frame->type == WIRE_HEADER && frame->size >= 14) {
        consumer->body_left = wire_get64(frame->payload + 4);
        consumer->stage = STAGE_BODY;
        flow->consumed_bytes += consumer->body_left;
        if (consumer->body_left < flow->body_least || consumer->body_left > flow->body_most)
            wire_fail("a body of %llu bytes was delivered where all have %llu to %llu",
                      (unsigned long long)consumer->body_left,
                      (unsigned long long)flow->body_least, (unsigned long long)flow->body_most);
    } else if (consumer->stage != STAGE_HEADER && frame->type == WIRE_BODY &&
               frame->size <= consumer->body_left) {
        if (consumer->stage == STAGE_BODY && flow->body_checked)
            check_body(flow, consumer, frame, now_ns);
        consumer->stage = STAGE_REST;
        consumer->body_left -= frame->size;
    } else {
        wire_fail("a frame of type %u in the middle of a delivery", frame->type);
    }
    if (!consumer->body_left)
        message_done(flow, consumer);
}

void consumer_frame(struct flow *flow, struct consumer *consumer,
                    const struct wire_frame *frame, uint64_t now_ns)
{
    uint64_t tag;

    if (consumer->stage != STAGE_METHOD && frame->type != WIRE_HEARTBEAT && frame->channel == 1) {
        consumer_content(flow, consumer, frame, now_ns);
    } else if (frame->type == WIRE_METHOD && frame->size >= 13 &&
               wire_get32(frame->payload) == BASIC_DELIVER &&
               frame->size - 13 >= frame->payload[4]) {
        tag = wire_get64(frame->payload + 5 + frame->payload[4]);
        if (tag != consumer->tag + 1)
            wire_fail("delivery tag %llu after %llu", (unsigned long long)tag,
                      (unsigned long long)consumer->tag);
        consumer->tag = tag;
        consumer->stage = STAGE_HEADER;
    } else if (frame->type == WIRE_METHOD) {
        flow_other_method(flow, frame);
    } else if (frame->type != WIRE_HEARTBEAT) {
        wire_fail("a frame of type %u where a delivery was due", frame->type);
    }
}

void consumer_start(struct flow *flow, unsigned number)
{
    const struct settings *settings = flow->settings;
    struct consumer *consumer = &flow->consumers[number];
    struct client *client = &consumer->link.client;
    unsigned queue_number = number % settings->queues, i;
    char queue[NAME_BYTES];

    consumer->link.role = ROLE_CONSUMER;
    client_open(client, &settings->address);
    if (settings->queue_kind.exclusive) {
        i = topology_put_queue(settings, client, queue_number);
        client_call(client, QUEUE_DECLARE_OK);
        if (i == 2)
            client_expect(client, QUEUE_BIND_OK, NULL);
    }
    if (flow->route.ordered && settings->consumers <= settings->queues &&
        settings->body_bytes.least >= BODY_INDEXED) {
        consumer->next_index = calloc(settings->producers + 1u, sizeof *consumer->next_index);
        if (!consumer->next_index)
            wire_fail("out of memory");
        for (i = 0; i < settings->producers; i++)
            consumer->next_index[i] = topology_first(settings, queue_number);
    }
    if (settings->prefetch_count) {
        client_put_qos(client, settings->prefetch_count);
        client_call(client, BASIC_QOS_OK);
    }
    topology_queue(settings, queue_number, queue);
    client_put_consume(client, queue, !settings->ack_every);
    client_call(client, BASIC_CONSUME_OK);
}
