/*
 * test_direct_reply.c - reply names and replies, with a client that only notes what it is sent
 */
#include <errno.h>

#include "broker/connection-internal.h"
#include "broker/direct_reply.h"
#include "broker/message_headers.h"
#include "topology_fixture.h"
#include "unit.h"

/* What the client has been sent last. */
static struct {
    unsigned n_methods, n_deliveries;
    uint16_t channel;
    uint32_t method_id;
    char tag[BOUND_SHORTSTR_BYTES + 1];
    uint64_t delivery_tag;
    bool redelivered;
    struct message *message; /* borrowed */
    size_t unsent_bytes;     /* what the broker is told of */
} sent;

static struct connection connection;
static struct channel channel, other;

static void note_tag(struct amqp_str tag)
{
    snprintf(sent.tag, sizeof sent.tag, "%.*s", AMQP_STR_ARG(tag));
}

static void on_method(void *peer, uint16_t number, const void *method)
{
    const struct amqp_basic_consume_ok *consume_ok = method;

    (void)peer;
    sent.n_methods++;
    sent.channel = number;
    sent.method_id = consume_ok->id;
    if (consume_ok->id == AMQP_ID_basic_consume_ok)
        note_tag(consume_ok->consumer_tag);
}

static void on_deliver(void *peer, uint16_t number, const struct delivery *delivery)
{
    (void)peer;
    sent.n_deliveries++;
    sent.channel = number;
    note_tag(delivery->consumer_tag);
    sent.delivery_tag = delivery->delivery_tag;
    sent.redelivered = delivery->redelivered;
    sent.message = delivery->message;
}

static size_t on_unsent_bytes(void *peer)
{
    (void)peer;
    return sent.unsent_bytes;
}

static const struct channel_ops ops = { .send_method = on_method,
                                        .deliver = on_deliver,
                                        .unsent_bytes = on_unsent_bytes };

static void setup(void)
{
    topology_setup();
    memset(&sent, 0, sizeof sent);
    connection = (struct connection){ .broker = broker,
                                      .ops = &ops,
                                      .state = CONNECTION_RUNNING,
                                      .vhost = vhost };
    channel = (struct channel){ .connection = &connection,
                                .number = 1,
                                .state = CHANNEL_RUNNING,
                                .next_delivery_tag = 5 };
    other = channel;
    other.number = 2;
}

static void teardown(void)
{
    direct_reply_release(&channel);
    direct_reply_release(&other);
    ck_assert_ptr_null(broker->direct_replies);
    topology_teardown();
}

static int consume(struct channel *consumer, const char *tag, bool no_ack)
{
    return direct_reply_consume(consumer,
                                &(struct amqp_basic_consume){ .id = AMQP_ID_basic_consume,
                                                              .queue = AMQP_STR(DIRECT_REPLY_NAME),
                                                              .consumer_tag = amqp_str_from(tag),
                                                              .no_ack = no_ack },
                                &err);
}

static struct message *request(const char *reply_to)
{
    struct amqp_properties properties = {
        .flags = AMQP_PROPERTY_REPLY_TO | AMQP_PROPERTY_CORRELATION_ID,
        .reply_to = amqp_str_from(reply_to),
        .correlation_id = AMQP_STR("42"),
    };
    struct message *empty =
        message_new(AMQP_STR(""), AMQP_STR("service"), (struct amqp_bytes){ NULL, 0 }, 0);
    struct message *message = NULL;

    ck_assert_ptr_nonnull(empty);
    ck_assert_int_eq(message_with_properties(empty, message_parts(empty), &properties, &message),
                     0);
    message_unref(empty);
    return message;
}

/* The request of @requester after its reply-to has been rewritten; NULL when it is refused. */
static struct message *rewritten(struct channel *requester)
{
    struct message *message = request(DIRECT_REPLY_NAME), *changed = NULL;
    struct amqp_properties properties;

    ck_assert_int_eq(amqp_properties_decode(message_properties(message), &properties), 0);
    (void)direct_reply_rewrite(requester, message, &properties, &err, &changed); /* asked by err */
    message_unref(message);
    return changed;
}

static struct amqp_str reply_to(const struct message *message)
{
    struct amqp_properties properties;

    ck_assert_int_eq(amqp_properties_decode(message_properties(message), &properties), 0);
    ck_assert(amqp_str_equal(properties.correlation_id, AMQP_STR("42")));
    return properties.reply_to;
}

static struct message *reply(const char *exchange_name, struct amqp_str name)
{
    struct message *message =
        message_new(amqp_str_from(exchange_name), name, (struct amqp_bytes){ NULL, 0 }, 0);

    ck_assert_ptr_nonnull(message);
    return message;
}

START_TEST(test_consume_answers_with_the_tag)
{
    ck_assert_int_eq(consume(&channel, "mine", true), 0);
    ck_assert_uint_eq(sent.n_methods, 1);
    ck_assert_uint_eq(sent.method_id, AMQP_ID_basic_consume_ok);
    ck_assert_str_eq(sent.tag, "mine");
    ck_assert_int_eq(consume(&other, "", true), 0);
    ck_assert_uint_eq(sent.channel, 2);
    ck_assert(amqp_str_starts_with(amqp_str_from(sent.tag), AMQP_STR("amq.ctag-")));
    ck_assert_uint_eq(channel.next_delivery_tag, 5);
}
END_TEST

START_TEST(test_consume_refuses_acknowledgements_and_a_second_one)
{
    struct consumer *taken = calloc(1, sizeof *taken + 4);

    ck_assert_int_eq(consume(&channel, "t", false), AMQP_PRECONDITION_FAILED);
    ck_assert_str_eq(err.text, "PRECONDITION_FAILED - reply consumer cannot acknowledge");
    ck_assert_int_eq(consume(&channel, "t", true), 0);
    ck_assert_int_eq(consume(&channel, "u", true), AMQP_PRECONDITION_FAILED);
    ck_assert_str_eq(err.text, "PRECONDITION_FAILED - reply consumer already set");
    ck_assert_int_eq(consume(&channel, "u", false), AMQP_PRECONDITION_FAILED);
    ck_assert_str_eq(err.text, "PRECONDITION_FAILED - reply consumer cannot acknowledge");
    memcpy(taken->tag, "used", 4);
    HASH_ADD_KEYPTR(by_tag, other.consumers, taken->tag, 4, taken);
    ck_assert_int_eq(consume(&other, "used", true), AMQP_NOT_ALLOWED);
    ck_assert_str_eq(err.text, "NOT_ALLOWED - attempt to reuse consumer tag 'used'");
    HASH_DELETE(by_tag, other.consumers, taken);
    free(taken);
    ck_assert_uint_eq(sent.n_methods, 1);
}
END_TEST

START_TEST(test_request_carries_the_channels_name)
{
    struct message *mine, *theirs;

    consume(&channel, "a", true);
    consume(&other, "b", true);
    mine = rewritten(&channel);
    theirs = rewritten(&other);
    ck_assert(direct_reply_is_name(reply_to(mine)));
    ck_assert_uint_eq(reply_to(mine).size, strlen(DIRECT_REPLY_NAME ".") + 24 + 1 + 24);
    ck_assert(!amqp_str_equal(reply_to(mine), reply_to(theirs)));
    ck_assert_ptr_eq(direct_reply_find(broker, reply_to(mine)), &channel);
    ck_assert_ptr_eq(direct_reply_find(broker, reply_to(theirs)), &other);
    message_unref(mine);
    message_unref(theirs);
}
END_TEST

START_TEST(test_request_without_reply_consumer_is_refused)
{
    consume(&other, "b", true);
    ck_assert_ptr_null(rewritten(&channel));
    ck_assert_int_eq(err.code, AMQP_PRECONDITION_FAILED);
    ck_assert_str_eq(err.text, "PRECONDITION_FAILED - fast reply consumer does not exist");
}
END_TEST

START_TEST(test_reply_goes_straight_to_the_requester)
{
    struct message *asked, *answer;

    consume(&channel, "mine", true);
    asked = rewritten(&channel);
    answer = reply("", reply_to(asked));
    for (uint64_t tag = 5; tag < 7; tag++) {
        ck_assert(direct_reply_try(broker, answer));
        ck_assert_uint_eq(sent.delivery_tag, tag);
        ck_assert_uint_eq(sent.channel, 1);
        ck_assert_str_eq(sent.tag, "mine");
        ck_assert(!sent.redelivered);
        ck_assert_ptr_eq(sent.message, answer);
    }
    ck_assert_uint_eq(sent.n_deliveries, 2);
    message_unref(asked);
    message_unref(answer);
}
END_TEST

START_TEST(test_reply_needs_the_default_exchange_and_a_living_name)
{
    struct message *asked, *answer;

    consume(&channel, "mine", true);
    asked = rewritten(&channel);
    answer = reply("amq.direct", reply_to(asked));
    ck_assert(!direct_reply_try(broker, answer));
    message_unref(answer);
    answer = reply("", AMQP_STR(DIRECT_REPLY_NAME ".AAAAAAAAAAAAAAAAAAAAAA"));
    ck_assert(!direct_reply_try(broker, answer));
    message_unref(answer);
    answer = reply("", AMQP_STR(DIRECT_REPLY_NAME "."));
    ck_assert(!direct_reply_try(broker, answer));
    message_unref(answer);
    answer = reply("", AMQP_STR(DIRECT_REPLY_NAME));
    ck_assert(!direct_reply_try(broker, answer));
    message_unref(answer);
    ck_assert_uint_eq(sent.n_deliveries, 0);
    message_unref(asked);
}
END_TEST

START_TEST(test_name_ends_with_its_consumer)
{
    struct message *asked, *answer;

    consume(&channel, "mine", true);
    asked = rewritten(&channel);
    answer = reply("", reply_to(asked));
    ck_assert(!direct_reply_cancel(&channel, AMQP_STR("other")));
    ck_assert_ptr_nonnull(direct_reply_find(broker, reply_to(asked)));
    ck_assert(direct_reply_cancel(&channel, AMQP_STR("mine")));
    ck_assert(!direct_reply_cancel(&channel, AMQP_STR("mine")));
    ck_assert_ptr_null(direct_reply_find(broker, reply_to(asked)));
    ck_assert(!direct_reply_try(broker, answer));
    ck_assert_int_eq(consume(&channel, "again", true), 0); /* has another name */
    ck_assert_ptr_null(direct_reply_find(broker, reply_to(asked)));
    message_unref(answer);
    message_unref(asked);
}
END_TEST

START_TEST(test_closing_channel_gets_no_reply)
{
    struct message *asked, *answer;

    consume(&channel, "mine", true);
    asked = rewritten(&channel);
    answer = reply("", reply_to(asked));
    channel.state = CHANNEL_CLOSING;
    ck_assert(direct_reply_try(broker, answer));
    channel.state = CHANNEL_RUNNING;
    connection.state = CONNECTION_CLOSING;
    ck_assert(direct_reply_try(broker, answer));
    ck_assert_uint_eq(sent.n_deliveries, 0);
    ck_assert_uint_eq(channel.next_delivery_tag, 5);
    message_unref(answer);
    message_unref(asked);
}
END_TEST

START_TEST(test_requester_that_does_not_read_misses_replies)
{
    struct message *asked, *answer;

    consume(&channel, "mine", true);
    asked = rewritten(&channel);
    answer = reply("", reply_to(asked));
    sent.unsent_bytes = BOUND_DIRECT_REPLY_BYTES;
    ck_assert(direct_reply_try(broker, answer));
    ck_assert_uint_eq(sent.n_deliveries, 0);
    ck_assert_uint_eq(channel.next_delivery_tag, 5);
    sent.unsent_bytes = BOUND_DIRECT_REPLY_BYTES - 1;
    ck_assert(direct_reply_try(broker, answer));
    ck_assert_uint_eq(sent.n_deliveries, 1);
    message_unref(answer);
    message_unref(asked);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("direct_reply");
    TCase *tcase = tcase_create("direct_reply");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_consume_answers_with_the_tag);
    tcase_add_test(tcase, test_consume_refuses_acknowledgements_and_a_second_one);
    tcase_add_test(tcase, test_request_carries_the_channels_name);
    tcase_add_test(tcase, test_request_without_reply_consumer_is_refused);
    tcase_add_test(tcase, test_reply_goes_straight_to_the_requester);
    tcase_add_test(tcase, test_reply_needs_the_default_exchange_and_a_living_name);
    tcase_add_test(tcase, test_name_ends_with_its_consumer);
    tcase_add_test(tcase, test_closing_channel_gets_no_reply);
    tcase_add_test(tcase, test_requester_that_does_not_read_misses_replies);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
