/*
 * test_look_ahead.c - which keys an exchange is told of before their messages come
 */
#include "amqp/wire.h"
#include "broker/connection-internal.h"
#include "topology_fixture.h"
#include "unit.h"

enum { CHANNEL = 3, PUBLISHES_MAX = 100 };

static struct connection connection;
static struct channel channel;
static uint8_t stream[PUBLISHES_MAX * 64];
static size_t stream_size;

/* What the type has been told, separated by blanks. */
static char told[PUBLISHES_MAX * 8];
static unsigned n_fetches;

static void note_keys(struct exchange *exchange, const struct amqp_str *keys, size_t n_keys)
{
    ck_assert_ptr_eq(exchange, get_exchange("x"));
    ck_assert_uint_le(n_keys, FETCH_KEYS_MAX);
    n_fetches++;
    for (size_t i = 0; i < n_keys; i++)
        sprintf(told + strlen(told), "%s%.*s", told[0] ? " " : "", AMQP_STR_ARG(keys[i]));
}

static void publish_generation_is_now(void)
{
    channel.publish_generation = broker->topology_generation + auth_generation(broker->auth);
}

static void setup(void)
{
    static struct exchange_type noting;

    topology_setup();
    exchange("x", "topic");
    add(to_queue("x", "q", "known.#"));
    noting = *get_exchange("x")->type;
    noting.fetch = note_keys;
    get_exchange("x")->type = &noting;
    get_exchange("x")->fetch_ahead = true;
    connection = (struct connection){ .broker = broker,
                                      .state = CONNECTION_RUNNING,
                                      .vhost = vhost,
                                      .last_channel = &channel };
    channel = (struct channel){ .connection = &connection,
                                .number = CHANNEL,
                                .publish_exchange = get_exchange("x") };
    publish_generation_is_now();
    stream_size = 0;
    told[0] = '\0';
    n_fetches = 0;
}

static void put_method(uint16_t number, const void *method)
{
    uint8_t *end = amqp_method_frame_encode(method, number, stream + stream_size);

    stream_size = (size_t)(end - stream);
    ck_assert_uint_le(stream_size, sizeof stream);
}

static void put_body(void)
{
    uint8_t *at = amqp_frame_begin(stream + stream_size, AMQP_FRAME_BODY, CHANNEL, 1);

    stream_size = (size_t)(wire_store8(wire_store8(at, 'b'), AMQP_FRAME_END) - stream);
}

static void put_publish(uint16_t number, const char *to, const char *key)
{
    put_method(number, &(struct amqp_basic_publish){ .id = AMQP_ID_basic_publish,
                                                     .exchange = amqp_str_from(to),
                                                     .routing_key = amqp_str_from(key) });
    put_body();
}

static size_t look(void)
{
    return connection_look_ahead(&connection, (struct amqp_bytes){ stream, stream_size });
}

START_TEST(test_keys_of_the_channel_and_exchange_are_told)
{
    put_publish(CHANNEL, "x", "a");
    put_publish(CHANNEL + 1, "x", "b");
    put_publish(CHANNEL, "y", "c");
    put_method(CHANNEL, &(struct amqp_basic_ack){ .id = AMQP_ID_basic_ack });
    put_publish(CHANNEL, "x", "");
    put_publish(CHANNEL, "x", "d.e");
    ck_assert_uint_eq(look(), stream_size);
    ck_assert_str_eq(told, "a  d.e");
    ck_assert_uint_eq(n_fetches, 1);
}
END_TEST

START_TEST(test_remembered_keys_are_not_told)
{
    for (int i = 0; i < 3; i++)
        route("x", "known.a");
    put_publish(CHANNEL, "x", "known.a");
    put_publish(CHANNEL, "x", "known.b");
    look();
    ck_assert_str_eq(told, "known.b");
}
END_TEST

START_TEST(test_it_looks_a_few_messages_ahead)
{
    size_t of_batch = 0;

    for (int i = 0; i < FETCH_KEYS_MAX + 2; i++) {
        if (i == FETCH_KEYS_MAX)
            of_batch = stream_size - 9; /* up to the last message's body */
        put_publish(CHANNEL, "x", "k");
    }
    ck_assert_uint_eq(look(), of_batch);
    ck_assert_uint_eq(strlen(told), 2 * FETCH_KEYS_MAX - 1);
}
END_TEST

START_TEST(test_it_does_not_look_through_all_that_is_none_of_its_business)
{
    for (int i = 0; i < PUBLISHES_MAX; i++)
        put_publish(CHANNEL, "y", "k");
    ck_assert_uint_gt(look(), 0);
    ck_assert_uint_lt(look(), stream_size);
    ck_assert_str_eq(told, "");
}
END_TEST

/* Whatever is cut off or wrong is left to those whose frame it is. */
START_TEST(test_cut_and_broken_frames_tell_nothing)
{
    size_t whole, first;

    put_publish(CHANNEL, "x", "a");
    first = stream_size;
    put_publish(CHANNEL, "x", "b");
    whole = stream_size;
    for (stream_size = 0; stream_size < whole; stream_size++) {
        uint8_t *cut = malloc(stream_size + 1); /* so that a read behind it is noticed */
        size_t looked;

        told[0] = '\0';
        memcpy(cut, stream, stream_size);
        looked = connection_look_ahead(&connection, (struct amqp_bytes){ cut, stream_size });
        ck_assert_uint_le(looked, stream_size);
        ck_assert_str_eq(told, stream_size < first - 9       ? ""
                               : stream_size < whole - 9 ? "a"
                                                         : "a b");
        free(cut);
    }
    told[0] = '\0';
    stream[AMQP_FRAME_HEAD_BYTES + 6] = 200; /* the exchange's name is longer than the frame */
    ck_assert_uint_eq(look(), whole);
    ck_assert_str_eq(told, "b");
    told[0] = '\0';
    stream[first - 10] = 0; /* the end octet of the first method */
    ck_assert_uint_eq(look(), 0);
    ck_assert_str_eq(told, "");
}
END_TEST

START_TEST(test_nobody_is_told_when_there_is_nobody_to_tell)
{
    put_publish(CHANNEL, "x", "a");
    get_exchange("x")->fetch_ahead = false;
    ck_assert_uint_eq(look(), stream_size);
    get_exchange("x")->fetch_ahead = true;
    channel.publish_exchange = NULL;
    ck_assert_uint_eq(look(), stream_size);
    channel.publish_exchange = get_exchange("x");
    exchange("gone", "fanout");
    exchange_delete(get_exchange("gone")); /* it might have been the one */
    ck_assert_uint_eq(look(), stream_size);
    publish_generation_is_now();
    connection.last_channel = NULL;
    ck_assert_uint_eq(look(), stream_size);
    ck_assert_uint_eq(n_fetches, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("look ahead");
    TCase *tcase = tcase_create("look ahead");

    tcase_add_checked_fixture(tcase, setup, topology_teardown);
    tcase_add_test(tcase, test_keys_of_the_channel_and_exchange_are_told);
    tcase_add_test(tcase, test_remembered_keys_are_not_told);
    tcase_add_test(tcase, test_it_looks_a_few_messages_ahead);
    tcase_add_test(tcase, test_it_does_not_look_through_all_that_is_none_of_its_business);
    tcase_add_test(tcase, test_cut_and_broken_frames_tell_nothing);
    tcase_add_test(tcase, test_nobody_is_told_when_there_is_nobody_to_tell);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
