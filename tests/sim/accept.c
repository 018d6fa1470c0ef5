/*
 * accept.c - the broker's answers, one by one, against the model
 *
 * The functions of `accept_ops` are what the broker calls. A delivery must be the first ready
 * message of its queue, to a consumer that may have it and whose turn it is; a confirm must cover
 * what is durable; any other method must be the one that is expected next on its channel. An answer
 * that passes changes the model. What was owed and has not come is found by accept_end(), and what
 * could have been done and was not by accept_turn_end() and accept_quiet().
 */
#include <inttypes.h>
#include <stdio.h>
#include <utlist.h>

#include "client.h"
#include "model.h"

#define FAIL(sim, ...) history_fail(&(sim)->history, __VA_ARGS__)

/* ---- what is expected ---- */

static void expect(struct sim *sim, struct m_connection *connection, struct m_channel *channel,
                   const void *method)
{
    struct expected *expected = &sim->expected[sim->n_expected];
    uint16_t number = channel ? channel->number : 0;

    if (sim->n_expected == MODEL_EXPECTED || amqp_method_frame_size(method) > MODEL_FRAME_BYTES)
        FAIL(sim, "more is expected than the model holds");
    expected->connection = connection;
    expected->channel = channel;
    expected->frame_bytes =
        (size_t)(amqp_method_frame_encode(method, number, expected->frame) - expected->frame);
    sim->n_expected++;
}

void expect_method(struct sim *sim, struct m_channel *channel, const void *method)
{
    expect(sim, channel->connection, channel, method);
}

void expect_on_connection(struct sim *sim, struct m_connection *connection, const void *method)
{
    expect(sim, connection, NULL, method);
}

static void print_expected(struct sim *sim)
{
    for (unsigned i = 0; i < sim->n_expected; i++) {
        const struct expected *expected = &sim->expected[i];
        struct amqp_bytes payload = { expected->frame + AMQP_FRAME_HEAD_BYTES,
                                      expected->frame_bytes - AMQP_FRAME_OVERHEAD_BYTES };
        union amqp_method method;
        struct amqp_error err;
        char text[HISTORY_LINE_BYTES];

        if (amqp_method_decode(payload, &method, &err) == 0)
            amqp_method_print(&method, text, sizeof text);
        history_add(&sim->history, "expected: c%u.%u %s", expected->connection->number,
                    expected->channel ? expected->channel->number : 0, text);
    }
}

static void resolve_call(struct sim *sim)
{
    struct call call = sim->call;

    sim->call.resolve = NULL;
    if (call.resolve) {
        (void)call.resolve(sim, &call);
        model_refresh(sim);
    }
}

/* What is due has been confirmed. */
static void check_confirmed(struct sim *sim, const struct m_channel *channel)
{
    if (channel->mode == MODE_PLAIN)
        return;
    if (channel->n_confirmed < channel->n_confirms &&
        channel->confirms[channel->n_confirmed].commit <= sim->durable)
        FAIL(sim, "publish %zu of channel c%u.%u is durable but not confirmed",
             channel->n_confirmed + 1, channel->connection->number, channel->number);
    if (channel->n_commits && channel->commits[0] <= sim->durable)
        FAIL(sim, "a commit of channel c%u.%u is durable but not answered",
             channel->connection->number, channel->number);
}

static void accept_expected(struct sim *sim, struct m_connection *connection,
                            struct m_channel *channel, const void *method)
{
    uint8_t frame[MODEL_FRAME_BYTES];
    size_t frame_bytes = amqp_method_frame_size(method);
    unsigned at = 0;

    if (channel && channel->mode == MODE_CONFIRM)
        check_confirmed(sim, channel); /* before the answer to a later method */
    while (at < sim->n_expected && (sim->expected[at].connection != connection ||
                                    sim->expected[at].channel != channel))
        at++;
    if (at == sim->n_expected)
        FAIL(sim, "nothing was expected there");
    if (frame_bytes <= sizeof frame)
        (void)amqp_method_frame_encode(method, channel ? channel->number : 0, frame);
    if (frame_bytes != sim->expected[at].frame_bytes ||
        memcmp(frame, sim->expected[at].frame, frame_bytes) != 0) {
        print_expected(sim);
        FAIL(sim, "another answer was expected");
    }
    memmove(&sim->expected[at], &sim->expected[at + 1],
            (sim->n_expected - at - 1) * sizeof sim->expected[0]);
    sim->n_expected--;
}

/* ---- single answers ---- */

static void accept_confirm(struct sim *sim, struct m_channel *channel, uint64_t tag, bool multiple,
                           bool refused)
{
    if (channel->mode != MODE_CONFIRM)
        FAIL(sim, "a confirm on a channel that is not in confirm mode");
    if (tag <= channel->n_confirmed || tag > channel->n_confirms)
        FAIL(sim, "a confirm of %" PRIu64 ", but %zu..%zu are open", tag, channel->n_confirmed + 1,
             channel->n_confirms);
    if (!multiple && tag != channel->n_confirmed + 1)
        FAIL(sim, "a confirm out of order");
    if (channel->n_returns && tag >= channel->return_tag)
        FAIL(sim, "a confirm before its basic.return");
    for (; channel->n_confirmed < tag; channel->n_confirmed++) {
        const struct m_confirm *confirm = &channel->confirms[channel->n_confirmed];

        if (confirm->commit > sim->durable)
            FAIL(sim, "publish %zu is confirmed but its commit %" PRIu64 " is not durable",
                 channel->n_confirmed + 1, confirm->commit);
        if (confirm->refused != refused)
            FAIL(sim, "publish %zu was %s", channel->n_confirmed + 1,
                 refused ? "taken by all queues" : "refused by a queue");
    }
}

/* The channel is closed: what was due has come (5.3), and more would be wrong. */
static void accept_no_more_confirms(struct sim *sim, struct m_channel *channel)
{
    check_confirmed(sim, channel);
    channel->mode = MODE_PLAIN;
    channel->n_commits = 0;
}

static void accept_commit_ok(struct sim *sim, struct m_channel *channel)
{
    if (channel->n_commits == 0)
        FAIL(sim, "a commit-ok for no commit");
    if (channel->commits[0] > sim->durable)
        FAIL(sim, "commit-ok, but commit %" PRIu64 " is not durable", channel->commits[0]);
    if (channel->n_returns)
        FAIL(sim, "commit-ok before a basic.return");
    memmove(channel->commits, channel->commits + 1, sizeof channel->commits - sizeof(uint64_t));
    channel->n_commits--;
}

static void accept_cancel(struct sim *sim, struct m_channel *channel, struct amqp_str tag)
{
    unsigned at = 0;

    resolve_call(sim);
    for (unsigned i = 0; i < sim->n_expected; i++)
        if (sim->expected[i].channel == channel)
            FAIL(sim, "basic.cancel before the answer to the channel's own method");
    while (at < channel->n_cancels && !amqp_str_equal(amqp_str_from(channel->cancels[at]), tag))
        at++;
    if (at == channel->n_cancels)
        FAIL(sim, "basic.cancel for no reason");
    memmove(channel->cancels[at], channel->cancels[at + 1],
            (channel->n_cancels - at - 1) * sizeof channel->cancels[0]);
    channel->n_cancels--;
}

static void accept_consume_ok(struct sim *sim, struct m_channel *channel, struct amqp_str tag)
{
    struct m_consumer *consumer;

    DL_FOREACH(sim->consumers, consumer)
        if (consumer->channel == channel && consumer->awaits_ok)
            break;
    if (!consumer)
        FAIL(sim, "consume-ok for no consumer");
    if (consumer->tag[0] == '\0' && amqp_str_starts_with(tag, AMQP_STR("amq.ctag-")))
        sim_copy(sim, consumer->tag, tag);
    if (!amqp_str_equal(amqp_str_from(consumer->tag), tag))
        FAIL(sim, "consume-ok for another tag");
    consumer->awaits_ok = false;
}

/* The queue's name is the broker's choice when none was given. */
static void accept_declare_ok(struct sim *sim, const struct amqp_queue_declare_ok *ok)
{
    struct call *call = &sim->call;

    if (!call->resolve || call->method.id != AMQP_ID_queue_declare || call->queue[0])
        return;
    if (!amqp_str_starts_with(ok->queue, AMQP_STR("amq.gen-")) || ok->queue.size != 8 + 22)
        FAIL(sim, "a generated queue name of another form");
    sim_copy(sim, call->queue, ok->queue);
}

static void accept_blocked(struct sim *sim, struct m_connection *connection, bool blocked)
{
    if (blocked == connection->told_blocked || blocked != sim->stalled ||
        !connection->knows_blocked || (blocked && !connection->published))
        FAIL(sim, "connection.%sblocked out of place", blocked ? "" : "un");
    connection->told_blocked = blocked;
}

static void accept_get_empty(struct sim *sim, struct m_channel *channel)
{
    struct m_queue *queue = model_queue_by_id(sim, channel->get_queue);

    if (!channel->gets)
        FAIL(sim, "get-empty for no get");
    if (queue && queue_ready(queue)) {
        resolve_call(sim); /* it may be because the queue is deleted */
        queue = model_queue_by_id(sim, channel->get_queue);
    }
    if (queue && queue_ready(queue))
        FAIL(sim, "get-empty, but %u messages are ready", queue_ready(queue));
    channel->gets = false;
}

/* ---- messages ---- */

static uint32_t accept_id(struct sim *sim, const struct message *message)
{
    uint32_t id = client_body_id(message_body(message), message->body_bytes);

    if (id == 0 || id > sim->n_messages)
        FAIL(sim, "a message that nobody has published");
    return id;
}

static void accept_octets(struct sim *sim, const struct message *message,
                          const struct m_message *known, uint32_t returned)
{
    if (!amqp_str_equal(message_exchange(message), amqp_str_from(known->exchange)) ||
        !amqp_str_equal(message_routing_key(message), amqp_str_from(known->routing_key)))
        FAIL(sim, "message m%u has other names than were published", known->id);
    if (message->body_bytes != known->body_bytes ||
        !client_check_body(known, message_body(message)))
        FAIL(sim, "message m%u has another body than was published", known->id);
    accept_properties(sim, message_properties(message), known, returned);
}

static bool counts_returns(const struct m_queue *queue)
{
    return queue->given.quorum || queue->settings.delivery_limit >= 0;
}

/* The first ready message of a queue, which must be this one, with this flag. */
static struct m_entry *accept_head(struct sim *sim, struct m_queue *queue,
                                   const struct message *message, bool redelivered)
{
    uint32_t id = accept_id(sim, message);
    struct m_entry *head = model_head(queue);

    if (!head)
        FAIL(sim, "m%u from queue '%s', which has nothing ready", id, queue->name);
    if (head->message->id != id)
        FAIL(sim, "m%u from queue '%s', whose first message is m%u", id, queue->name,
             head->message->id);
    accept_octets(sim, message, head->message,
                  counts_returns(queue) ? head->returned : 0);
    if (head->expires_ms && head->gone_ms < sim_wall_ms(sim))
        FAIL(sim, "m%u is handed out though it has expired", id);
    if (head->redelivered != SEEN_UNKNOWN && (head->redelivered == SEEN_BEFORE) != redelivered)
        FAIL(sim, "m%u is %smarked as redelivered", id, redelivered ? "" : "not ");
    return head;
}

static void accept_turn(struct sim *sim, const struct m_consumer *consumer)
{
    struct m_consumer *other;

    if (!model_able(consumer))
        FAIL(sim, "a delivery to consumer '%s' of queue '%s', which must not get any now",
             consumer->tag, consumer->queue->name);
    DL_FOREACH(sim->consumers, other) {
        if (other == consumer || other->queue != consumer->queue || other->awaits_ok ||
            !model_able(other))
            continue;
        if (other->channel != consumer->channel &&
            (other->channel->had_to_wait || consumer->channel->had_to_wait))
            continue; /* a channel offers what it has room for to its own consumers in turn */
        if (other->priority > consumer->priority)
            FAIL(sim, "consumer '%s' of channel c%u.%u has a higher priority", other->tag,
                 other->channel->connection->number, other->channel->number);
        if (!consumer->channel->had_to_wait && other->priority == consumer->priority &&
            other->turn_high < consumer->turn_low)
            FAIL(sim, "it is the turn of consumer '%s' of channel c%u.%u", other->tag,
                 other->channel->connection->number, other->channel->number);
    }
}

static struct m_channel *open_channel(struct m_connection *connection, uint16_t number)
{
    struct sim *sim = connection->sim;

    if (number == 0 || number > MODEL_CHANNELS ||
        connection->channels[number - 1].state == CHANNEL_IS_CLOSED)
        FAIL(sim, "something for channel %u, which is not open", number);
    return &connection->channels[number - 1];
}

static void on_deliver(void *peer, uint16_t number, const struct delivery *delivery)
{
    struct m_connection *connection = peer;
    struct sim *sim = connection->sim;
    struct m_consumer *consumer;
    struct m_channel *channel;
    struct m_entry *entry;
    char tag[MODEL_NAME_BYTES];

    if (sim->deaf)
        return;
    sim->events++;
    sim_copy(sim, tag, delivery->consumer_tag);
    history_add(&sim->history, "  c%u.%u < deliver %" PRIu64 " to '%s' %.8s%s", connection->number,
                number, delivery->delivery_tag, tag,
                (const char *)message_body(delivery->message),
                delivery->redelivered ? " redelivered" : "");
    channel = open_channel(connection, number);
    consumer = model_consumer(sim, channel, tag);
    if (!consumer || consumer->awaits_ok)
        FAIL(sim, "a delivery to a consumer that is not there");
    if (delivery->delivery_tag != channel->next_delivery_tag)
        FAIL(sim, "the next delivery tag is %" PRIu64, channel->next_delivery_tag);
    entry = accept_head(sim, consumer->queue, delivery->message, delivery->redelivered);
    accept_turn(sim, consumer);
    model_deliver(sim, channel, consumer, consumer->queue, entry, consumer->no_ack);
    model_refresh(sim);
}

static void accept_return(struct sim *sim, struct m_channel *channel,
                          const struct amqp_basic_return *back, const struct message *message)
{
    struct m_message *known = sim->messages[accept_id(sim, message) - 1];

    accept_octets(sim, message, known, 0);
    if (channel->n_returns == 0 || channel->returns[0] != known)
        FAIL(sim, "m%u is returned for no reason", known->id);
    if (channel->mode == MODE_CONFIRM && channel->n_confirmed + 1 < channel->return_tag &&
        channel->confirms[channel->n_confirmed].commit <= sim->durable)
        FAIL(sim, "a basic.return before the confirm of an earlier publish");
    if (back->reply_code != 312 || !amqp_str_equal(back->reply_text, AMQP_STR("NO_ROUTE")))
        FAIL(sim, "a basic.return with another code or text than 312, NO_ROUTE");
    channel->n_returns--;
    memmove(channel->returns, channel->returns + 1,
            channel->n_returns * sizeof channel->returns[0]);
}

static void accept_get_ok(struct sim *sim, struct m_channel *channel,
                          const struct amqp_basic_get_ok *ok, const struct message *message)
{
    struct m_queue *queue = model_queue_by_id(sim, channel->get_queue);
    struct m_entry *entry;

    if (!channel->gets || !queue)
        FAIL(sim, "get-ok for no get");
    if (ok->delivery_tag != channel->next_delivery_tag)
        FAIL(sim, "the next delivery tag is %" PRIu64, channel->next_delivery_tag);
    entry = accept_head(sim, queue, message, ok->redelivered);
    if (ok->message_count != queue_ready(queue) - 1)
        FAIL(sim, "%u messages are left", queue_ready(queue) - 1);
    channel->gets = false;
    model_deliver(sim, channel, NULL, queue, entry, channel->get_no_ack);
    model_refresh(sim);
}

static void on_content(void *peer, uint16_t number, const void *method, struct message *message)
{
    struct m_connection *connection = peer;
    struct sim *sim = connection->sim;
    const union amqp_method *any = method;
    char text[HISTORY_LINE_BYTES];

    if (sim->deaf)
        return;
    sim->events++;
    amqp_method_print(method, text, sizeof text);
    history_add(&sim->history, "  c%u.%u < %s %.8s", connection->number, number, text,
                (const char *)message_body(message));
    if (any->id == AMQP_ID_basic_return)
        accept_return(sim, open_channel(connection, number), method, message);
    else
        accept_get_ok(sim, open_channel(connection, number), method, message);
}

/* ---- methods ---- */

static void accept_on_channel(struct sim *sim, struct m_channel *channel,
                              const union amqp_method *method)
{
    switch (method->id) {
    case AMQP_ID_basic_ack:
        accept_confirm(sim, channel, method->basic_ack.delivery_tag, method->basic_ack.multiple,
                       false);
        return;
    case AMQP_ID_basic_nack:
        accept_confirm(sim, channel, method->basic_nack.delivery_tag, method->basic_nack.multiple,
                       true);
        return;
    case AMQP_ID_tx_commit_ok:
        accept_commit_ok(sim, channel);
        return;
    case AMQP_ID_basic_cancel:
        accept_cancel(sim, channel, method->basic_cancel.consumer_tag);
        return;
    case AMQP_ID_basic_consume_ok:
        accept_consume_ok(sim, channel, method->basic_consume_ok.consumer_tag);
        return;
    case AMQP_ID_basic_get_empty:
        accept_get_empty(sim, channel);
        return;
    case AMQP_ID_queue_declare_ok:
        accept_declare_ok(sim, &method->queue_declare_ok);
        break;
    default:
        break;
    }
    resolve_call(sim);
    accept_expected(sim, channel->connection, channel, method);
    if (method->id == AMQP_ID_channel_close)
        accept_no_more_confirms(sim, channel);
}

static void on_method(void *peer, uint16_t number, const void *data)
{
    struct m_connection *connection = peer;
    struct sim *sim = connection->sim;
    const union amqp_method *method = data;
    char text[HISTORY_LINE_BYTES];

    if (sim->deaf)
        return;
    sim->events++;
    if (connection->state == CONNECTION_IS_NEW) {
        connection->handshake = method->id;
        return;
    }
    amqp_method_print(data, text, sizeof text);
    history_add(&sim->history, "  c%u.%u < %s", connection->number, number, text);
    if (number)
        accept_on_channel(sim, open_channel(connection, number), method);
    else if (method->id == AMQP_ID_connection_blocked)
        accept_blocked(sim, connection, true);
    else if (method->id == AMQP_ID_connection_unblocked)
        accept_blocked(sim, connection, false);
    else {
        resolve_call(sim);
        accept_expected(sim, connection, NULL, method);
    }
}

static void on_octets(void *peer, const void *data, size_t size)
{
    struct m_connection *connection = peer;

    (void)data;
    FAIL(connection->sim, "%zu octets instead of a method", size);
}

static void on_tuned(void *peer, uint32_t frame_max, uint16_t heartbeat_s)
{
    (void)peer;
    (void)frame_max;
    (void)heartbeat_s;
}

static void on_opened(void *peer)
{
    (void)peer;
}

static void on_pause(void *peer, bool paused)
{
    struct m_connection *connection = peer;

    connection->sim->events++;
    connection->paused = paused;
}

static void on_close(void *peer, enum connection_close_how how)
{
    struct m_connection *connection = peer;

    connection->closed = how != CONNECTION_CLOSE_LINGER;
}

/* Sockets of the simulation take whatever comes: congestion is a step of its own. */
static size_t on_unsent_bytes(void *peer)
{
    (void)peer;
    return 0;
}

const struct channel_ops accept_ops = {
    .send_octets = on_octets,
    .send_method = on_method,
    .send_content = on_content,
    .deliver = on_deliver,
    .unsent_bytes = on_unsent_bytes,
    .tuned = on_tuned,
    .opened = on_opened,
    .pause = on_pause,
    .close = on_close,
};

/* ---- what has not come ---- */

static void check_channel_debts(struct sim *sim, struct m_channel *channel)
{
    struct m_queue *queue = model_queue_by_id(sim, channel->get_queue);
    struct m_entry *head = queue ? model_head(queue) : NULL;

    if (channel->n_cancels)
        FAIL(sim, "consumer '%s' of channel c%u.%u was not cancelled", channel->cancels[0],
             channel->connection->number, channel->number);
    if (channel->n_returns)
        FAIL(sim, "m%u was not returned", channel->returns[0]->id);
    if (channel->gets && !channel->get_waits && (!head || !head->cold))
        FAIL(sim, "basic.get was not answered");
    channel->get_waits = channel->gets; /* now the read decides, whatever becomes of the message */
    if (channel->gets && !channel->connection->paused)
        FAIL(sim, "basic.get waits, but its connection reads on");
}

void accept_end(struct sim *sim)
{
    struct m_consumer *consumer;

    resolve_call(sim);
    if (sim->n_expected) {
        print_expected(sim);
        FAIL(sim, "the answer has not come");
    }
    if (sim->closing)
        FAIL(sim, "connection c%u still has channels", sim->closing->number);
    if (sim->arrivals.count)
        FAIL(sim, "m%u did not arrive", sim->arrivals.list[0].message->id);
    DL_FOREACH(sim->consumers, consumer)
        if (consumer->awaits_ok)
            FAIL(sim, "consume-ok has not come");
    for (unsigned i = 0; i < MODEL_CONNECTIONS; i++) {
        struct m_connection *connection = &sim->connections[i];

        for (unsigned c = 0; c < MODEL_CHANNELS; c++)
            check_channel_debts(sim, &connection->channels[c]);
        if (sim->stalled && connection->published && connection->state == CONNECTION_IS_OPEN &&
            (!connection->paused || connection->knows_blocked != connection->told_blocked))
            FAIL(sim, "connection c%u publishes while the store stalls and is not blocked", i);
    }
    model_refresh(sim);
}

static void check_handed_out(struct sim *sim, bool cold_too)
{
    struct m_queue *queue;

    DL_FOREACH(sim->queues, queue) {
        struct m_entry *head = model_head(queue);
        struct m_consumer *consumer = head ? model_deliverable(sim, queue) : NULL;

        if (consumer && (cold_too || !(head->cold || queue->waits == sim->polls + 1)))
            FAIL(sim, "m%u is ready in queue '%s', but consumer '%s' of c%u.%u did not get it",
                 head->message->id, consumer->queue->name, consumer->tag,
                 consumer->channel->connection->number, consumer->channel->number);
    }
}

void accept_turn_end(struct sim *sim)
{
    accept_end(sim);
    model_check_kept(sim);
    check_handed_out(sim, false);
    for (unsigned i = 0; i < MODEL_CONNECTIONS; i++) {
        struct m_connection *connection = &sim->connections[i];
        bool gets = false;

        for (unsigned c = 0; c < MODEL_CHANNELS; c++) {
            check_confirmed(sim, &connection->channels[c]);
            gets |= connection->channels[c].gets;
        }
        if (!sim->stalled && !dead_letter_pending(sim->broker) &&
            (connection->told_blocked || (connection->paused && !gets && !sim->large)))
            FAIL(sim, "connection c%u is still blocked", i);
    }
}

void accept_quiet(struct sim *sim)
{
    if (sim->letters)
        FAIL(sim, "m%u of queue '%s' is still on its way", sim->letters->entry.message->id,
             sim->letters->queue_name);
    check_handed_out(sim, true);
    for (unsigned i = 0; i < MODEL_CONNECTIONS; i++)
        for (unsigned c = 0; c < MODEL_CHANNELS; c++) {
            const struct m_channel *channel = &sim->connections[i].channels[c];

            if (channel->gets || channel->n_commits ||
                (channel->state == CHANNEL_IS_OPEN && channel->n_confirmed < channel->n_confirms))
                FAIL(sim, "channel c%u.%u still waits for the store", i, c + 1);
        }
}
