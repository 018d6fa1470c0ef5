/*
 * crash_client.c - load with a memory, for a broker that is killed again and again
 *
 *     crash_client SEED     commands on standard input, one answer line each:
 *       check PORT    look into every queue without taking anything: checked N | cut
 *       load PORT     publish, consume and acknowledge until the connection is lost:
 *                     loading, and at the end: ended PUBLISHED CONFIRMED DELIVERED ACKED | cut
 *
 * One connection publishes to several durable queues and counts the confirms. Another consumes from
 * them, acknowledges out of order, one by one or many at a time, and publishes marks of its own on
 * the same channel: when a mark is confirmed, the acknowledgements sent before it hold for good.
 * What is known about each message is in a ledger (ledger.h), which outlives the broker.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "amqp/wire.h"
#include "ledger.h"
#include "link.h"

enum {
    QUEUES = 5,
    MARKS = QUEUES - 1,       /* the queue that the consuming channel publishes to */
    WINDOW = 300,             /* unconfirmed publishes */
    BACKLOG_MAX = 4000,       /* messages left in a queue */
    PREFETCH = 120,
    BODY_MAX = 120000,
    BODY_HEAD = 16,           /* number and size */
    SILENCE_MS = 20000,
};

struct publish { /* unconfirmed; index in a ring by its tag on the channel */
    uint8_t queue;
    uint64_t number;
    uint64_t acks; /* of the consuming channel: acks sent before it */
};

struct delivery {
    uint64_t tag;
    uint8_t queue;
    uint64_t number;
};

struct content { /* of the delivery being received */
    struct delivery delivery;
    uint64_t size, received;
    bool expected;
    uint8_t body[BODY_MAX];
};

/* One channel, with what it has published and got. */
struct channel {
    struct link link;
    uint64_t next_tag, confirmed;
    struct publish publishes[4096];
    struct content content;
    bool looking; /* consumes only to look */
    uint64_t n_seen;
    struct delivery unacked[PREFETCH];
    unsigned n_unacked;
};

struct client {
    uint64_t random;
    struct ledger ledgers[QUEUES];
    struct channel publisher, consumer;
    struct delivery *acks; /* all of this connection, in order */
    uint64_t n_acks, acks_capacity, acks_settled;
    uint64_t published, n_confirmed, delivered;
    bool lazy; /* this time it acknowledges little, so that queues grow */
    uint8_t body[BODY_MAX];
};

static unsigned below(struct client *client, unsigned bound)
{
    client->random ^= client->random << 13;
    client->random ^= client->random >> 7;
    client->random ^= client->random << 17;
    return (unsigned)(client->random % bound);
}

/* ---- bodies: number, size, then octets that follow from the number ---- */

static void fill_body(uint8_t *body, uint64_t number, size_t size)
{
    (void)wire_store64(wire_store64(body, number), size);
    for (size_t i = BODY_HEAD; i < size; i++)
        body[i] = (uint8_t)(number + i);
}

static uint64_t check_body(const uint8_t *body, uint64_t size)
{
    uint64_t number = size >= BODY_HEAD ? wire_load64(body) : 0;

    if (size < BODY_HEAD || wire_load64(body + 8) != size)
        crash_fail("a message of %" PRIu64 " octets that is not whole", size);
    for (size_t i = BODY_HEAD; i < size; i++)
        if (body[i] != (uint8_t)(number + i))
            crash_fail("message %" PRIu64 " has another octet at %zu", number, i);
    return number;
}

static size_t body_size(struct client *client)
{
    unsigned kind = below(client, 200);

    if (kind == 0)
        return 66000 + below(client, BODY_MAX - 66000); /* a record of its own in the store */
    if (kind < 10)
        return BODY_HEAD + below(client, 5000);
    return BODY_HEAD + below(client, 100);
}

/* ---- publishing ---- */

static void publish(struct client *client, struct channel *channel, unsigned queue)
{
    struct ledger *ledger = &client->ledgers[queue];
    size_t size = body_size(client);
    uint64_t number = ledger_publish(ledger);

    fill_body(client->body, number, size);
    link_put_message(&channel->link, ledger->queue, client->body, size);
    channel->publishes[channel->next_tag++ % N_ELEMENTS(channel->publishes)] =
        (struct publish){ (uint8_t)queue, number, client->n_acks };
    client->published++;
}

static void confirm(struct client *client, struct channel *channel, uint64_t tag, bool multiple)
{
    uint64_t from = multiple ? channel->confirmed + 1 : tag;

    if (tag <= channel->confirmed || tag >= channel->next_tag || from != channel->confirmed + 1)
        crash_fail("confirm %" PRIu64 " is out of order: %" PRIu64 "..%" PRIu64 " are open", tag,
                   channel->confirmed + 1, channel->next_tag - 1);
    for (; channel->confirmed < tag; channel->confirmed++) {
        const struct publish *publish =
            &channel->publishes[(channel->confirmed + 1) % N_ELEMENTS(channel->publishes)];

        ledger_confirm(&client->ledgers[publish->queue], publish->number);
        client->n_confirmed++;
        if (channel != &client->consumer)
            continue;
        for (; client->acks_settled < publish->acks; client->acks_settled++) {
            const struct delivery *ack = &client->acks[client->acks_settled];

            ledger_settle(&client->ledgers[ack->queue], ack->number);
        }
    }
}

static void publish_more(struct client *client)
{
    struct channel *channel = &client->publisher;

    while (channel->next_tag - channel->confirmed - 1 < WINDOW &&
           channel->link.out_size < 1 << 20) {
        unsigned queue = below(client, MARKS);

        if (ledger_backlog(&client->ledgers[queue]) > BACKLOG_MAX)
            return;
        publish(client, channel, queue);
    }
}

/* ---- consuming ---- */

static void note_ack(struct client *client, const struct delivery *delivery)
{
    if (client->n_acks == client->acks_capacity) {
        client->acks_capacity = client->acks_capacity ? client->acks_capacity * 2 : 1024;
        client->acks = realloc(client->acks, client->acks_capacity * sizeof *client->acks);
        if (!client->acks)
            crash_fail("no memory");
    }
    client->acks[client->n_acks++] = *delivery;
    ledger_ack(&client->ledgers[delivery->queue], delivery->number);
}

/* Acknowledges one of the unacknowledged, or that and all older ones. */
static void acknowledge(struct client *client)
{
    struct channel *channel = &client->consumer;
    unsigned at = below(client, channel->n_unacked);
    bool multiple = below(client, 3) == 0;
    unsigned first = multiple ? 0 : at;

    link_put(&channel->link, &(struct amqp_basic_ack){ .id = AMQP_ID_basic_ack,
                                                       .delivery_tag = channel->unacked[at].tag,
                                                       .multiple = multiple });
    for (unsigned i = first; i <= at; i++)
        note_ack(client, &channel->unacked[i]);
    memmove(&channel->unacked[first], &channel->unacked[at + 1],
            (channel->n_unacked - at - 1) * sizeof channel->unacked[0]);
    channel->n_unacked -= at + 1 - first;
}

static void acknowledge_some(struct client *client)
{
    struct channel *channel = &client->consumer;
    bool any = false;

    if (client->lazy && below(client, 40))
        return;
    while (channel->n_unacked > PREFETCH / 4 || (channel->n_unacked && below(client, 4) == 0)) {
        acknowledge(client);
        any = true;
    }
    if (any && channel->next_tag - channel->confirmed - 1 < WINDOW)
        publish(client, channel, MARKS);
}

static void finish_content(struct client *client, struct channel *channel)
{
    struct content *content = &channel->content;

    content->expected = false;
    content->delivery.number = check_body(content->body, content->size);
    ledger_deliver(&client->ledgers[content->delivery.queue], content->delivery.number);
    channel->n_seen++;
    if (channel->looking)
        return;
    client->delivered++;
    if (channel->n_unacked == PREFETCH)
        crash_fail("more than %d deliveries are unacknowledged", PREFETCH);
    channel->unacked[channel->n_unacked++] = content->delivery;
}

static void take_deliver(struct channel *channel, const struct amqp_basic_deliver *deliver)
{
    if (deliver->consumer_tag.size != 1 || deliver->consumer_tag.data[0] < '0' ||
        deliver->consumer_tag.data[0] >= '0' + QUEUES)
        crash_fail("a delivery to an unknown consumer");
    channel->content.expected = true;
    channel->content.size = UINT64_MAX;
    channel->content.received = 0;
    channel->content.delivery = (struct delivery){
        .tag = deliver->delivery_tag, .queue = (uint8_t)(deliver->consumer_tag.data[0] - '0')
    };
}

static void take_method(struct client *client, struct channel *channel,
                        const struct amqp_frame *frame)
{
    union amqp_method method;
    struct amqp_error err;
    char text[300];

    if (amqp_method_decode(frame->payload, &method, &err))
        crash_fail("a method that cannot be decoded: %s", err.text);
    switch (method.id) {
    case AMQP_ID_basic_ack:
        confirm(client, channel, method.basic_ack.delivery_tag, method.basic_ack.multiple);
        return;
    case AMQP_ID_basic_deliver:
        take_deliver(channel, &method.basic_deliver);
        return;
    default:
        amqp_method_print(&method, text, sizeof text);
        crash_fail("unexpected: %s", text);
    }
}

static void take_frame(struct client *client, struct channel *channel,
                       const struct amqp_frame *frame)
{
    struct content *content = &channel->content;

    if (frame->type == AMQP_FRAME_HEARTBEAT)
        return;
    if (frame->type == AMQP_FRAME_METHOD) {
        take_method(client, channel, frame);
        return;
    }
    if (!content->expected)
        crash_fail("a content without a method");
    if (frame->type == AMQP_FRAME_HEADER) {
        content->size = wire_load64(frame->payload.data + 4);
        if (content->size > BODY_MAX)
            crash_fail("a message of %" PRIu64 " octets", content->size);
    } else {
        if (frame->payload.size > content->size - content->received)
            crash_fail("a longer body than announced");
        memcpy(content->body + content->received, frame->payload.data, frame->payload.size);
        content->received += frame->payload.size;
    }
    if (content->received == content->size)
        finish_content(client, channel);
}

static void take_frames(struct client *client, struct channel *channel)
{
    struct amqp_frame frame;

    while (link_next(&channel->link, &frame))
        take_frame(client, channel, &frame);
}

/* ---- setting up ---- */

static bool open_channel(struct channel *channel, unsigned port)
{
    channel->next_tag = 1;
    channel->confirmed = 0;
    channel->n_unacked = 0;
    channel->n_seen = 0;
    channel->content.expected = false;
    return link_open(&channel->link, port);
}

static bool select_confirms(struct channel *channel)
{
    union amqp_method method;

    link_put(&channel->link, &(struct amqp_confirm_select){ .id = AMQP_ID_confirm_select });
    return link_call(&channel->link, AMQP_ID_confirm_select_ok, &method);
}

static bool declare_queues(struct client *client, struct channel *channel, uint64_t *ret_messages)
{
    union amqp_method method;

    *ret_messages = 0;
    for (unsigned i = 0; i < QUEUES; i++) {
        link_put(&channel->link,
                 &(struct amqp_queue_declare){ .id = AMQP_ID_queue_declare,
                                               .queue = amqp_str_from(client->ledgers[i].queue),
                                               .durable = true });
        if (!link_call(&channel->link, AMQP_ID_queue_declare_ok, &method))
            return false;
        *ret_messages += method.queue_declare_ok.message_count;
    }
    return true;
}

/* The consumer of a queue has its number as tag; all without waiting for answers. */
static void consume_all(struct client *client, struct channel *channel)
{
    static const char tags[] = "0123456789";

    for (unsigned i = 0; i < QUEUES; i++) {
        ledger_begin(&client->ledgers[i]);
        link_put(&channel->link,
                 &(struct amqp_basic_consume){ .id = AMQP_ID_basic_consume,
                                               .queue = amqp_str_from(client->ledgers[i].queue),
                                               .consumer_tag = { &tags[i], 1 },
                                               .no_wait = true });
    }
}

/* ---- the commands ---- */

/* Everything that is in the queues, which goes back when the connection is closed. */
static bool look(struct client *client, unsigned port, uint64_t *ret_messages)
{
    struct channel *channel = &client->consumer;
    union amqp_method method;

    channel->looking = true;
    if (!open_channel(channel, port) || !declare_queues(client, channel, ret_messages))
        return false;
    consume_all(client, channel);
    if (!link_flush(&channel->link))
        return false;
    while (channel->n_seen < *ret_messages) {
        struct pollfd poller = { .fd = channel->link.fd, .events = POLLIN };

        if (poll(&poller, 1, SILENCE_MS) == 0)
            crash_fail("%" PRIu64 " of %" PRIu64 " messages have come, and no more",
                       channel->n_seen, *ret_messages);
        if (!link_read(&channel->link))
            return false;
        take_frames(client, channel);
    }
    link_put(&channel->link, &(struct amqp_connection_close){ .id = AMQP_ID_connection_close,
                                                              .reply_code = 200 });
    return link_call(&channel->link, AMQP_ID_connection_close_ok, &method);
}

static void check(struct client *client, unsigned port)
{
    uint64_t messages;
    bool whole = look(client, port, &messages);

    link_close(&client->consumer.link);
    if (!whole) {
        puts("cut");
        return;
    }
    for (unsigned i = 0; i < QUEUES; i++)
        ledger_end(&client->ledgers[i]);
    printf("checked %" PRIu64 "\n", messages);
}

static bool begin_load(struct client *client, unsigned port)
{
    struct channel *publisher = &client->publisher, *consumer = &client->consumer;
    uint64_t messages;

    consumer->looking = false;
    client->lazy = below(client, 2) == 0;
    client->n_acks = client->acks_settled = 0;
    if (!open_channel(publisher, port) || !select_confirms(publisher) ||
        !declare_queues(client, publisher, &messages) || !open_channel(consumer, port) ||
        !select_confirms(consumer))
        return false;
    link_put(&consumer->link, &(struct amqp_basic_qos){ .id = AMQP_ID_basic_qos,
                                                        .prefetch_count = PREFETCH / QUEUES });
    if (!link_call(&consumer->link, AMQP_ID_basic_qos_ok, &(union amqp_method){ 0 }))
        return false;
    consume_all(client, consumer);
    return link_flush(&consumer->link);
}

static void poll_both(struct client *client)
{
    struct channel *channels[] = { &client->publisher, &client->consumer };
    struct pollfd pollers[2];

    for (unsigned i = 0; i < 2; i++)
        pollers[i] = (struct pollfd){
            .fd = channels[i]->link.fd,
            .events = (short)(POLLIN | (channels[i]->link.out_size ? POLLOUT : 0))
        };
    if (poll(pollers, 2, SILENCE_MS) == 0)
        crash_fail("nothing has come for %d ms", SILENCE_MS);
}

/* Both ends are read to their end, so that every answer that was sent counts. */
static void run_load(struct client *client)
{
    struct channel *publisher = &client->publisher, *consumer = &client->consumer;

    while (publisher->link.fd >= 0 || consumer->link.fd >= 0) {
        if (publisher->link.fd >= 0)
            publish_more(client);
        (void)link_write(&publisher->link);
        (void)link_write(&consumer->link);
        poll_both(client);
        (void)link_read(&publisher->link);
        take_frames(client, publisher);
        (void)link_read(&consumer->link);
        take_frames(client, consumer);
        if (consumer->link.fd >= 0)
            acknowledge_some(client);
    }
}

static void load(struct client *client, unsigned port)
{
    bool whole = begin_load(client, port);

    client->published = client->n_confirmed = client->delivered = 0;
    if (whole) {
        puts("loading");
        fflush(stdout);
        run_load(client);
        printf("ended %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", client->published,
               client->n_confirmed, client->delivered, client->n_acks);
    } else {
        puts("cut");
    }
    link_close(&client->publisher.link);
    link_close(&client->consumer.link);
}

int main(int argc, char **argv)
{
    struct client *client = calloc(1, sizeof *client);
    char line[64];
    unsigned port;

    if (!client || argc != 2)
        crash_fail("usage: crash_client SEED");
    client->random = strtoull(argv[1], NULL, 10) * 2 + 1; /* anything but 0 */
    client->publisher.link.fd = client->consumer.link.fd = -1;
    for (unsigned i = 0; i < QUEUES; i++)
        snprintf(client->ledgers[i].queue, sizeof client->ledgers[i].queue, "crash-%u", i);
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "check %u", &port) == 1)
            check(client, port);
        else if (sscanf(line, "load %u", &port) == 1)
            load(client, port);
        else
            crash_fail("an unknown command");
        fflush(stdout);
    }
    for (unsigned i = 0; i < QUEUES; i++) {
        free(client->ledgers[i].states);
        free(client->ledgers[i].seen);
    }
    free(client->acks);
    free(client);
    return EXIT_SUCCESS;
}
