/*
 * test_channel_room.c - consumers take turns for the room of their channel, at a constant cost
 *
 * The client notes who was sent what, in order, as letters of the consumers' tags. Work is counted,
 * not timed: the linker gives us each call of channel_can_deliver() (--wrap), and whatever looks at
 * a consumer to find the next one calls it.
 */
#include "broker/channel_room.h"

#include <utlist.h>

#include "broker/connection-internal.h"
#include "broker/unacked.h"
#include "topology_fixture.h"
#include "unit.h"

enum { MANY = 10000 };

static struct {
    char tags[MANY * 4];
    unsigned count;
} sent;

static unsigned n_looks;

bool __real_channel_can_deliver(const struct channel *channel);
bool __wrap_channel_can_deliver(const struct channel *channel);

bool __wrap_channel_can_deliver(const struct channel *channel)
{
    n_looks++;
    return __real_channel_can_deliver(channel);
}

static const struct connection_origin origin = { .peer_host = "here", .host = "there" };
static struct connection *connection;
static struct channel *channel, *other;

static void on_method(void *peer, uint16_t number, const void *method)
{
    (void)peer;
    (void)number;
    (void)method;
}

static void on_deliver(void *peer, uint16_t number, const struct delivery *delivery)
{
    (void)peer;
    (void)number;
    ck_assert_uint_lt(sent.count, sizeof sent.tags - 1);
    sent.tags[sent.count++] = delivery->consumer_tag.data[0];
}

static void on_close(void *peer, enum connection_close_how how)
{
    (void)peer;
    (void)how;
}

static size_t on_unsent_bytes(void *peer)
{
    (void)peer;
    return 0;
}

static const struct channel_ops ops = { .send_method = on_method,
                                        .deliver = on_deliver,
                                        .close = on_close,
                                        .unsent_bytes = on_unsent_bytes };

static void setup(void)
{
    topology_setup();
    memset(&sent, 0, sizeof sent);
    ck_assert_int_eq(connection_new(broker, &ops, NULL, &origin, &connection), 0);
    connection->state = CONNECTION_RUNNING;
    connection->vhost = vhost;
    ck_assert_int_eq(channel_new(connection, 1, &channel), 0);
    ck_assert_int_eq(channel_new(connection, 2, &other), 0);
    channel->state = other->state = CHANNEL_RUNNING;
    broker_begin(broker, 1000, 1000);
}

static void end_turn(void)
{
    (void)broker_end(broker);
    broker_begin(broker, 1000, 1000);
}

static void teardown(void)
{
    connection_free(connection);
    while (broker->connections)
        end_turn();
    ck_assert_ptr_null(broker->offer_first);
    topology_teardown();
}

/* A consumer whose tag begins with @letter. */
static struct consumer *consume(struct channel *on, const char *name, char letter,
                                struct consumer_properties properties)
{
    char tag[32];
    struct consumer *consumer = NULL;

    (void)snprintf(tag, sizeof tag, "%c%u", letter, HASH_CNT(by_tag, on->consumers));
    properties.tag = amqp_str_from(tag);
    properties.timeout_ms = -1;
    ck_assert_int_eq(consumer_new(on, queue(name), &properties, &err, &consumer), 0);
    return consumer;
}

static void publish(const char *name, unsigned count)
{
    struct push_outcome outcome = { 0 };
    struct message *message = message_new(AMQP_STR(""), amqp_str_from(name),
                                          (struct amqp_bytes){ (const uint8_t *)"\0\0", 2 }, 0);

    ck_assert_ptr_nonnull(message);
    while (count--)
        ck_assert_int_eq(queue_push(queue(name), message, &outcome), 0);
    message_unref(message);
}

static void ack(struct channel *on, bool multiple)
{
    union amqp_method method = { .basic_ack = { .id = AMQP_ID_basic_ack,
                                                .delivery_tag = on->next_delivery_tag - 1,
                                                .multiple = multiple } };

    ck_assert_int_eq(handle_basic_ack(on, &method, &err), 0);
    end_turn();
}

static void limit(struct channel *on, uint16_t count)
{
    union amqp_method method = { .basic_qos = { .id = AMQP_ID_basic_qos,
                                                .prefetch_count = count,
                                                .global = true } };

    ck_assert_int_eq(handle_basic_qos(on, &method, &err), 0);
}

/* What has been sent since the last call. */
static const char *seen(void)
{
    static char tags[sizeof sent.tags];

    memcpy(tags, sent.tags, sent.count);
    tags[sent.count] = '\0';
    sent.count = 0;
    return tags;
}

START_TEST(test_queues_share_a_limit_message_by_message)
{
    limit(channel, 1);
    for (const char *name = "a\0b\0c\0"; *name; name += 2) {
        publish(name, 4);
        consume(channel, name, *name, (struct consumer_properties){ 0 });
    }
    end_turn();
    for (unsigned i = 0; i < 11; i++)
        ack(channel, false);
    ck_assert_str_eq(seen(), "aabcabcabcbc"); /* a wanted a second one before b was there */
}
END_TEST

START_TEST(test_a_batch_of_room_is_shared_too)
{
    limit(channel, 6);
    for (const char *name = "a\0b\0c\0"; *name; name += 2)
        consume(channel, name, *name, (struct consumer_properties){ 0 });
    for (const char *name = "a\0b\0c\0"; *name; name += 2)
        publish(name, 20);
    end_turn();
    ck_assert_str_eq(seen(), "aaaaaa"); /* nobody else waited yet */
    ack(channel, true);
    ck_assert_str_eq(seen(), "abcabc");
}
END_TEST

START_TEST(test_no_ack_consumers_wait_and_take_one_message_a_turn)
{
    limit(channel, 1);
    consume(channel, "q", 'a', (struct consumer_properties){ 0 });
    consume(channel, "q", 'n', (struct consumer_properties){ .no_ack = true });
    publish("q", 4);
    end_turn();
    ck_assert_str_eq(seen(), "a");
    ack(channel, false);
    ck_assert_str_eq(seen(), "na");
}
END_TEST

START_TEST(test_the_highest_priority_on_a_queue_goes_first)
{
    limit(channel, 1);
    publish("q", 3);
    publish("r", 3);
    channel->flow_active = false;
    consume(channel, "q", 'l', (struct consumer_properties){ .priority = -1 });
    consume(channel, "r", 'r', (struct consumer_properties){ 0 });
    consume(channel, "q", 'h', (struct consumer_properties){ .priority = 1 });
    end_turn(); /* all are held */
    channel->flow_active = true;
    channel_room_came(channel);
    end_turn();
    for (unsigned i = 0; i < 5; i++)
        ack(channel, false);
    ck_assert_ptr_null(strchr(seen(), 'l'));
}
END_TEST

START_TEST(test_consumers_and_channels_take_turns_when_their_socket_has_drained)
{
    connection_set_congested(connection, true);
    for (const char *name = "a\0b\0c\0d\0"; *name; name += 2) {
        publish(name, 3);
        consume(*name < 'c' ? channel : other, name, *name, (struct consumer_properties){ 0 });
    }
    end_turn();
    ck_assert_str_eq(seen(), "");
    connection_set_congested(connection, false);
    end_turn();
    ck_assert_str_eq(seen(), "acbdacbdacbd");
}
END_TEST

START_TEST(test_the_next_channel_is_first_when_the_socket_drains_again)
{
    connection_set_congested(connection, true);
    publish("a", 3);
    publish("b", 3);
    consume(channel, "a", 'a', (struct consumer_properties){ 0 });
    consume(other, "b", 'b', (struct consumer_properties){ 0 });
    end_turn();
    ck_assert_ptr_eq(connection->holding_channels, channel);
    connection_set_congested(connection, false);
    channel_offer_room(channel);
    broker->hand_outs_left = 1; /* as if one message filled the socket */
    broker_offer_rooms(broker);
    ck_assert_str_eq(seen(), "a");
    ck_assert_ptr_eq(connection->holding_channels, other);
}
END_TEST

START_TEST(test_a_held_consumer_may_be_cancelled)
{
    struct consumer *second;

    limit(channel, 1);
    publish("q", 3);
    consume(channel, "q", 'a', (struct consumer_properties){ 0 });
    second = consume(channel, "q", 'b', (struct consumer_properties){ 0 });
    end_turn();
    ck_assert(second->held);
    consumer_cancel(second);
    ack(channel, false);
    ck_assert_str_eq(seen(), "aa");
}
END_TEST

/* Each ack looks at a few consumers, on however many queues there are with a message that waits. */
START_TEST(test_the_next_one_is_found_without_a_search)
{
    char name[16];

    limit(channel, 1);
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "q%u", i);
        publish(name, 2);
        consume(channel, name, 'a', (struct consumer_properties){ 0 });
    }
    for (unsigned i = 0; i < 50; i++)
        end_turn(); /* a turn has a bound */
    for (unsigned i = 0; i < 100; i++) {
        n_looks = 0;
        ack(channel, false);
        ck_assert_uint_le(n_looks, 16);
    }
    ck_assert_uint_eq(sent.count, 101);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("channel_room");
    TCase *tcase = tcase_create("channel_room");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_queues_share_a_limit_message_by_message);
    tcase_add_test(tcase, test_a_batch_of_room_is_shared_too);
    tcase_add_test(tcase, test_no_ack_consumers_wait_and_take_one_message_a_turn);
    tcase_add_test(tcase, test_the_highest_priority_on_a_queue_goes_first);
    tcase_add_test(tcase, test_consumers_and_channels_take_turns_when_their_socket_has_drained);
    tcase_add_test(tcase, test_the_next_channel_is_first_when_the_socket_drains_again);
    tcase_add_test(tcase, test_a_held_consumer_may_be_cancelled);
    tcase_add_test(tcase, test_the_next_one_is_found_without_a_search);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
