/*
 * test_memory_watch.c - memory is looked at as it fills, and unfinished messages are given up
 *
 * Clients send frames to the real broker; what they make it allocate is added up here, from sizes
 * alone, and no more of it than the bound may come between two looks.
 */
#include "amqp/wire.h"
#include "broker/connection-internal.h"
#include "broker/memory.h"
#include "topology_fixture.h"
#include "unit.h"

enum { CLIENTS = 12, FRAME_BYTES = 131072 };

struct client {
    struct connection *connection;
    bool paused;
    unsigned closes, code;
    char text[BOUND_REPLY_TEXT_BYTES + 1];
};

static struct client clients[CLIENTS];
static unsigned looks;
static uint64_t since_bytes; /* allocated since the last look, at least */
static bool raises;          /* the look finds too much */
static uint8_t octets[FRAME_BYTES];

/* ---- the clients' ends ---- */

static void on_method(void *peer, uint16_t number, const void *method)
{
    struct client *client = peer;
    const struct amqp_connection_close *close = method;

    (void)number;
    if (close->id != AMQP_ID_connection_close)
        return;
    client->closes++;
    client->code = close->reply_code;
    snprintf(client->text, sizeof client->text, "%.*s", AMQP_STR_ARG(close->reply_text));
}

static void on_deliver(void *peer, uint16_t number, const struct delivery *delivery)
{
    (void)peer;
    (void)number;
    since_bytes += delivery->message->body_bytes;
}

static size_t on_unsent_bytes(void *peer)
{
    (void)peer;
    return 0;
}

static void on_pause(void *peer, bool paused)
{
    struct client *client = peer;

    ck_assert_int_ne(client->paused, paused);
    client->paused = paused;
}

static void on_close(void *peer, enum connection_close_how how)
{
    (void)peer;
    ck_assert_int_eq(how, CONNECTION_CLOSE_LINGER);
}

static const struct channel_ops ops = { .send_method = on_method,
                                        .deliver = on_deliver,
                                        .unsent_bytes = on_unsent_bytes,
                                        .pause = on_pause,
                                        .close = on_close };

static void on_look(void *context)
{
    ck_assert_ptr_eq(context, clients);
    looks++;
    since_bytes = 0;
    if (raises)
        broker_set_alarm(broker, BROKER_ALARM_MEMORY, true);
}

static void setup(void)
{
    char text[256];

    topology_setup();
    broker->settings.message_bytes_max = BOUND_MESSAGE_BYTES;
    ck_assert_int_eq(broker_put_user(broker, "u", AUTH_HASHING_SHA256,
                                     "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "", -1,
                                     -1), 0);
    ck_assert_int_eq(broker_put_permissions(broker, "u", "v", ".*", ".*", ".*", text, sizeof text),
                     0);
    memset(clients, 0, sizeof clients);
    looks = 0;
    since_bytes = 0;
    raises = false;
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct connection_origin origin = { .peer_host = "a", .host = "b" };
        struct connection *made;

        ck_assert_int_eq(connection_new(broker, &ops, &clients[i], &origin, &made), 0);
        made->state = CONNECTION_RUNNING;
        made->vhost = vhost;
        made->user_name = strdup("u");
        made->user = auth_find_user(broker->auth, "u");
        ck_assert_ptr_nonnull(made->user);
        clients[i].connection = made;
    }
    broker_watch_memory(broker, on_look, clients);
}

static void teardown(void)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        connection_free(clients[i].connection);
    topology_teardown();
}

/* ---- frames ---- */

static void receive(struct client *client, uint8_t type, uint16_t channel,
                    struct amqp_bytes payload)
{
    connection_receive(client->connection,
                       &(struct amqp_frame){ .type = type,
                                             .channel = channel,
                                             .payload = payload,
                                             .frame_bytes =
                                                 payload.size + AMQP_FRAME_OVERHEAD_BYTES });
    ck_assert_uint_lt(since_bytes, BOUND_MEMORY_LOOK_BYTES + FRAME_BYTES);
}

static void call(struct client *client, uint16_t channel, const void *method)
{
    uint8_t frame[1024];

    ck_assert_uint_le(amqp_method_frame_size(method), sizeof frame);
    amqp_method_frame_encode(method, channel, frame);
    receive(client, AMQP_FRAME_METHOD, channel,
            (struct amqp_bytes){ frame + AMQP_FRAME_HEAD_BYTES, wire_load32(frame + 3) });
}

static void open_channel(struct client *client, uint16_t channel)
{
    call(client, channel, &(struct amqp_channel_open){ .id = AMQP_ID_channel_open });
}

/* Up to the header, with one header of @extra_bytes as a property when that is not 0. */
static void begin(struct client *client, uint16_t channel, const char *exchange_name,
                  uint64_t body_bytes, uint32_t extra_bytes)
{
    static uint8_t head[FRAME_BYTES];
    uint8_t *at = head;

    call(client, channel,
         &(struct amqp_basic_publish){ .id = AMQP_ID_basic_publish,
                                       .exchange = amqp_str_from(exchange_name),
                                       .routing_key = AMQP_STR("q") });
    at = wire_store16(at, AMQP_CLASS_BASIC);
    at = wire_store16(at, 0);
    at = wire_store64(at, body_bytes);
    at = wire_store16(at, extra_bytes ? AMQP_PROPERTY_HEADERS : 0);
    if (extra_bytes) {
        at = wire_store32(at, extra_bytes + 7);
        at = wire_store8(at, 1);
        at = wire_store8(at, 'h');
        at = wire_store8(at, 'S');
        at = wire_store32(at, extra_bytes);
        at = wire_store(at, octets, extra_bytes);
    }
    since_bytes += extra_bytes;
    receive(client, AMQP_FRAME_HEADER, channel, (struct amqp_bytes){ head, (size_t)(at - head) });
}

static void body(struct client *client, uint16_t channel, uint32_t size)
{
    since_bytes += size;
    receive(client, AMQP_FRAME_BODY, channel, (struct amqp_bytes){ octets, size });
}

/* ---- looks ---- */

static const struct {
    const char *exchange;
    uint32_t body_bytes, frames, extra_bytes;
    bool consumed;
} shape[] = {
    { "", 12, 1, 0, false },      { "", 12, 1, 0, true },        { "", 12, 1, 5000, false },
    { "", 100000, 1, 0, false },  { "", 100000, 30, 0, false },  { "", 100000, 1, 0, true },
    { "wide", 12, 1, 0, false },
};

/* Messages of the shape, until some looks have been taken. */
static void publish_shape(int which)
{
    unsigned queues = shape[which].exchange[0] ? 100 : 1;
    unsigned publishes = 0;

    while (looks < 2) {
        ck_assert_uint_lt(publishes++, 600000);
        begin(&clients[0], 1, shape[which].exchange,
              (uint64_t)shape[which].body_bytes * shape[which].frames, shape[which].extra_bytes);
        since_bytes += sizeof(struct message) + queues * sizeof(struct queue_entry);
        for (unsigned i = 0; i < shape[which].frames; i++)
            body(&clients[0], 1, shape[which].body_bytes);
        if (shape[which].consumed)
            (void)broker_end(broker);
        else if (publishes % 1000 == 0)
            for (unsigned i = 0; i < queues; i++)
                queue_purge(queue(i ? (char[]){ 'f', (char)('0' + i / 10), (char)('0' + i % 10), 0 }
                                    : "q"));
    }
}

START_TEST(test_memory_is_looked_at_after_so_much_whatever_fills_it)
{
    (void)exchange("wide", "fanout");
    (void)queue("q");
    for (unsigned i = 0; i < 100; i++) {
        char name[] = { 'f', (char)('0' + i / 10), (char)('0' + i % 10), 0 };

        add(to_queue("wide", i ? name : "q", ""));
    }
    open_channel(&clients[0], 1);
    open_channel(&clients[1], 1);
    if (shape[_i].consumed)
        call(&clients[1], 1,
             &(struct amqp_basic_consume){ .id = AMQP_ID_basic_consume,
                                           .queue = AMQP_STR("q"),
                                           .no_ack = true });
    publish_shape(_i);
}
END_TEST

START_TEST(test_unfinished_messages_are_looked_at)
{
    for (uint16_t channel = 1; looks < 10; channel++) {
        ck_assert_uint_lt(channel, 2047);
        open_channel(&clients[0], channel);
        begin(&clients[0], channel, "", BOUND_MESSAGE_BYTES, 0);
        for (unsigned i = 0; i < 5; i++)
            body(&clients[0], channel, 100000);
    }
}
END_TEST

START_TEST(test_look_blocks_the_publisher_that_caused_it)
{
    unsigned publishes = 0;

    raises = true;
    (void)queue("q");
    open_channel(&clients[0], 1);
    while (!clients[0].paused) {
        ck_assert_uint_eq(looks, 0);
        ck_assert_uint_lt(publishes++, 1000);
        begin(&clients[0], 1, "", 100000, 0);
        if (!clients[0].paused)
            body(&clients[0], 1, 100000);
    }
    ck_assert_uint_eq(looks, 1);
    ck_assert_uint_eq(clients[0].connection->paused, CONNECTION_PAUSE_ALARM);
}
END_TEST

/* ---- giving up ---- */

/* One more unfinished message, on the next channel. */
static void leave_unfinished(struct client *client, unsigned parts)
{
    uint16_t channel = (uint16_t)(client->connection->channel_count + 1);

    open_channel(client, channel);
    begin(client, channel, "", BOUND_MESSAGE_BYTES, 0);
    while (parts-- > 0)
        body(client, channel, 100000);
}

START_TEST(test_largest_are_given_up_until_the_rest_may_stay)
{
    for (unsigned i = 0; i < 5; i++)
        leave_unfinished(&clients[i], i + 1);
    leave_unfinished(&clients[0], 1);
    broker_set_alarm(broker, BROKER_ALARM_MEMORY, true);
    for (unsigned i = 0; i < 5; i++)
        body(&clients[i], 1, 1);
    ck_assert(clients[4].paused);
    ck_assert(!broker_give_up_unfinished(broker, 1600005)); /* all may stay */
    ck_assert_uint_eq(clients[4].closes, 0);
    ck_assert(!broker_give_up_unfinished(broker, 800000));
    for (unsigned i = 0; i < 5; i++)
        ck_assert_uint_eq(clients[i].closes, i >= 3); /* 500,001 and 400,001 octets */
    ck_assert_uint_eq(clients[4].code, AMQP_RESOURCE_ERROR);
    ck_assert_str_eq(clients[4].text,
                     "RESOURCE_ERROR - memory is low and unfinished messages of this connection "
                     "take 500001 octets");
    ck_assert_uint_eq(clients[4].connection->unfinished_bytes, 0);
    ck_assert(!clients[4].paused); /* its close-ok is read */
    ck_assert(clients[0].paused);
}
END_TEST

START_TEST(test_few_are_given_up_in_one_call)
{
    unsigned closed = 0;

    for (unsigned i = 0; i < CLIENTS; i++)
        leave_unfinished(&clients[i], 1);
    ck_assert(broker_give_up_unfinished(broker, 0));
    for (unsigned i = 0; i < CLIENTS; i++)
        closed += clients[i].closes;
    ck_assert_uint_eq(closed, 4);
    ck_assert(broker_give_up_unfinished(broker, 0));
    ck_assert(!broker_give_up_unfinished(broker, 0));
    for (unsigned i = 0; i < CLIENTS; i++)
        ck_assert_uint_eq(clients[i].closes, 1);
}
END_TEST

START_TEST(test_what_is_finished_or_dropped_is_not_unfinished)
{
    (void)queue("q");
    open_channel(&clients[0], 1);
    begin(&clients[0], 1, "", 300000, 5000);
    body(&clients[0], 1, 100000);
    ck_assert_uint_ge(clients[0].connection->unfinished_bytes, 105000);
    body(&clients[0], 1, 100000);
    ck_assert_uint_ge(clients[0].connection->unfinished_bytes, 205000);
    body(&clients[0], 1, 100000);
    ck_assert_uint_eq(clients[0].connection->unfinished_bytes, 0);
    begin(&clients[0], 1, "", 300000, 5000);
    body(&clients[0], 1, 100000);
    connection_shut_down(clients[0].connection);
    ck_assert_uint_eq(clients[0].connection->unfinished_bytes, 0);
    broker->settings.message_bytes_max = 1000;
    open_channel(&clients[1], 1);
    begin(&clients[1], 1, "", 300000, 5000); /* too large: nothing of it is kept */
    body(&clients[1], 1, 100000);
    ck_assert_uint_eq(clients[1].connection->unfinished_bytes, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory watch");
    TCase *tcase = tcase_create("memory watch");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, test_memory_is_looked_at_after_so_much_whatever_fills_it, 0,
                        N_ELEMENTS(shape));
    tcase_add_test(tcase, test_unfinished_messages_are_looked_at);
    tcase_add_test(tcase, test_look_blocks_the_publisher_that_caused_it);
    tcase_add_test(tcase, test_largest_are_given_up_until_the_rest_may_stay);
    tcase_add_test(tcase, test_few_are_given_up_in_one_call);
    tcase_add_test(tcase, test_what_is_finished_or_dropped_is_not_unfinished);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
