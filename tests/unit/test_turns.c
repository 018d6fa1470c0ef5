/*
 * test_turns.c - what one client asks for is done in turns that others do not notice
 *
 * Bounds are counted in steps, not measured: a turn takes no more of them than a named number.
 */
#include "peer_fixture.h"
#include "unit.h"

enum { CHANNEL = 1 };

static struct peer client, probe;

static void open_clients(void)
{
    peer_open(&client);
    peer_open_channel(&client, CHANNEL);
    peer_open(&probe);
    peer_open_channel(&probe, CHANNEL);
}

static void setup(void)
{
    peer_setup();
    open_clients();
}

static void teardown(void)
{
    if (probe.real)
        peer_drop(&probe);
    if (client.real)
        peer_drop(&client);
    peer_teardown();
}

static void ask(struct peer *peer, const void *method, uint32_t answer)
{
    peer_say(peer, CHANNEL, method);
    ck_assert_msg(peer_answer(peer) == answer, "method %x is answered with %x %s",
                  *(const uint32_t *)method, peer_answer(peer), peer->reply_text);
}

static void declare_queue(struct peer *peer, struct amqp_queue_declare declare)
{
    declare.id = AMQP_ID_queue_declare;
    ask(peer, &declare, AMQP_ID_queue_declare_ok);
}

/* --- routes through headers exchanges --- */

enum { HEADER_BINDINGS = 300, HEADERS = 300, HEAVY_MESSAGES = 40, ROUTE_WORK_A_TURN = 1000000 };

static struct amqp_table many_headers(struct amqp_table_writer *writer)
{
    char name[16];

    for (unsigned i = 0; i < HEADERS; i++) {
        snprintf(name, sizeof name, "k%u", i);
        amqp_table_put_int(writer, name, 1);
    }
    ck_assert(!writer->failed);
    return amqp_table_written(writer);
}

START_TEST(test_costly_routes_hold_their_publisher_back_until_the_next_turn)
{
    const size_t one = (size_t)HEADER_BINDINGS * HEADERS;
    struct amqp_table_writer writer = { 0 };
    struct amqp_table headers = many_headers(&writer);
    unsigned turns = 0;

    for (unsigned i = 0; i < HEADER_BINDINGS; i++) {
        char name[16];

        snprintf(name, sizeof name, "q%u", i);
        declare_queue(&client, (struct amqp_queue_declare){ .queue = amqp_str_from(name) });
        ask(&client,
            &(struct amqp_queue_bind){ .id = AMQP_ID_queue_bind,
                                       .exchange = AMQP_STR("amq.headers"),
                                       .queue = amqp_str_from(name),
                                       .arguments = headers },
            AMQP_ID_queue_bind_ok);
    }
    declare_queue(&probe, (struct amqp_queue_declare){ .queue = AMQP_STR("probe") });
    for (unsigned i = 0; i < HEAVY_MESSAGES; i++)
        peer_publish(&client, CHANNEL, "amq.headers", "", headers);
    while (client.waiting_bytes) {
        ck_assert(client.paused);
        ck_assert_uint_le(broker->route.work, ROUTE_WORK_A_TURN + one + HEADERS);
        peer_publish(&probe, CHANNEL, "", "probe", (struct amqp_table){ NULL, 0 });
        peer_turn();
        ck_assert_uint_eq(vhost_get_queue(vhost, AMQP_STR("probe"))->ready.count, ++turns);
        peer_go_on(&client);
    }
    ck_assert_uint_ge(turns, HEAVY_MESSAGES * one / (ROUTE_WORK_A_TURN + one) - 1);
    peer_turn();
    ck_assert(!client.paused);
    ck_assert_uint_eq(vhost_get_queue(vhost, AMQP_STR("q7"))->ready.count, HEAVY_MESSAGES);
    amqp_table_writer_release(&writer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("turns");
    TCase *tcase = tcase_create("turns");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, test_costly_routes_hold_their_publisher_back_until_the_next_turn);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
