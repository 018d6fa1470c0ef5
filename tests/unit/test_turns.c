/*
 * test_turns.c - what one client asks for is done in turns that others do not notice
 *
 * Bounds are counted in steps, not measured: a turn takes no more of them than a named number.
 */
#include "broker/task.h"
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

/* --- deletions --- */

enum { MANY = 100000, DELETIONS_A_TURN = BOUND_WORK_A_TURN / TASK_COST_DELETE, FEW_STEPS = 64 };

static const struct amqp_table no_headers = { NULL, 0 };

static struct queue *get_queue(const char *name)
{
    return vhost_get_queue(vhost, amqp_str_from(name));
}

static struct exchange *get_exchange(const char *name)
{
    return vhost_get_exchange(vhost, amqp_str_from(name));
}

static void declare_exchange(struct peer *peer, struct amqp_exchange_declare declare)
{
    declare.id = AMQP_ID_exchange_declare;
    ask(peer, &declare, AMQP_ID_exchange_declare_ok);
}

static void bind_queue(struct peer *peer, const char *source, const char *queue, const char *key)
{
    ask(peer,
        &(struct amqp_queue_bind){ .id = AMQP_ID_queue_bind,
                                   .exchange = amqp_str_from(source),
                                   .queue = amqp_str_from(queue),
                                   .routing_key = amqp_str_from(key) },
        AMQP_ID_queue_bind_ok);
}

static void bind_many_keys(const char *source, const char *queue, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char key[32];

        snprintf(key, sizeof key, "key.%u", i);
        bind_queue(&client, source, queue, key);
    }
}

static void bind_exchange(const char *source, const char *destination)
{
    ask(&client,
        &(struct amqp_exchange_bind){ .id = AMQP_ID_exchange_bind,
                                      .source = amqp_str_from(source),
                                      .destination = amqp_str_from(destination) },
        AMQP_ID_exchange_bind_ok);
}

static void say_delete_queue(struct peer *peer, const char *name)
{
    peer_say(peer, CHANNEL, &(struct amqp_queue_delete){ .id = AMQP_ID_queue_delete,
                                                         .queue = amqp_str_from(name) });
}

static void say_delete_exchange(struct peer *peer, const char *name)
{
    peer_say(peer, CHANNEL, &(struct amqp_exchange_delete){ .id = AMQP_ID_exchange_delete,
                                                            .exchange = amqp_str_from(name) });
}

/* The end of a turn in which no more was deleted than may be, and the probe was served. */
static void check_turn(void)
{
    struct queue *queue = get_queue("probe");
    uint32_t before = queue->ready.count;

    peer_publish(&probe, CHANNEL, "", "probe", no_headers);
    ck_assert_uint_eq(queue->ready.count, before + 1);
    (void)broker_end(broker);
    ck_assert_int_ge(broker->work_left, -TASK_COST_DELETE);
    broker_begin(broker, broker->now_ms + 1, broker->wall_ms + 1);
    store_poll(peer_store);
}

/* Until the client is answered; returns how many turns that took. */
static unsigned await(uint32_t answer)
{
    unsigned turns = 0;

    for (; client.paused; turns++) {
        ck_assert(peer_answer(&client) != answer);
        check_turn();
    }
    ck_assert_msg(peer_answer(&client) == answer, "answered with %x %s", peer_answer(&client),
                  client.reply_text);
    ck_assert(!deletion_pending(broker));
    return turns;
}

static void declare_probe(void)
{
    declare_queue(&probe, (struct amqp_queue_declare){ .queue = AMQP_STR("probe") });
}

static bool is_returned(const char *exchange, const char *key)
{
    size_t before = probe.n_answers;

    peer_publish(&probe, CHANNEL, exchange, key, no_headers);
    return probe.n_answers > before && peer_answer(&probe) == AMQP_ID_basic_return;
}

START_TEST(test_queue_of_many_bindings_is_deleted_in_turns)
{
    declare_probe();
    declare_queue(&client, (struct amqp_queue_declare){ .queue = AMQP_STR("q") });
    bind_many_keys("amq.direct", "q", MANY);
    peer_publish(&client, CHANNEL, "amq.direct", "key.7", no_headers);
    peer_settle();
    say_delete_queue(&client, "q");
    ck_assert(client.paused);
    ck_assert_uint_gt(vhost->bindings.count, 0);

    /* It is gone already, for everyone. */
    ck_assert(is_returned("amq.direct", "key.99999"));
    ck_assert(is_returned("", "q"));
    /* The name is free, and the old bindings neither lead to the new queue nor keep others away. */
    declare_queue(&probe, (struct amqp_queue_declare){ .queue = AMQP_STR("q") });
    ck_assert(is_returned("amq.direct", "key.99999"));
    bind_queue(&probe, "amq.direct", "q", "key.99998");
    peer_publish(&probe, CHANNEL, "amq.direct", "key.99998", no_headers);
    ck_assert_uint_eq(get_queue("q")->ready.count, 1);

    ck_assert_uint_ge(await(AMQP_ID_queue_delete_ok), MANY / DELETIONS_A_TURN);
    ck_assert_uint_eq(client.message_count, 1);
    ck_assert_uint_eq(vhost->bindings.count, 1);
    ck_assert_uint_eq(get_queue("q")->destination.binding_count, 1);
    peer_publish(&probe, CHANNEL, "amq.direct", "key.99998", no_headers);
    ck_assert_uint_eq(get_queue("q")->ready.count, 2);
}
END_TEST

START_TEST(test_exchange_of_many_bindings_is_deleted_in_turns)
{
    declare_probe();
    declare_exchange(&client, (struct amqp_exchange_declare){ .exchange = AMQP_STR("x"),
                                                              .type = AMQP_STR("topic") });
    declare_queue(&client, (struct amqp_queue_declare){ .queue = AMQP_STR("q") });
    bind_many_keys("x", "q", MANY);
    peer_settle();
    say_delete_exchange(&client, "x");
    ck_assert(client.paused);
    ck_assert_ptr_null(get_exchange("x"));
    /* Who declares it again waits until the name is free. */
    peer_say(&probe, CHANNEL, &(struct amqp_exchange_declare){ .id = AMQP_ID_exchange_declare,
                                                               .exchange = AMQP_STR("x"),
                                                               .type = AMQP_STR("fanout") });
    ck_assert(probe.paused);
    while (client.paused) {
        ck_assert(probe.paused);
        (void)broker_end(broker);
        ck_assert_int_ge(broker->work_left, -TASK_COST_DELETE);
        broker_begin(broker, broker->now_ms + 1, broker->wall_ms + 1);
        store_poll(peer_store);
    }
    ck_assert_uint_eq(peer_answer(&client), AMQP_ID_exchange_delete_ok);
    ck_assert(!probe.paused);
    ck_assert_uint_eq(peer_answer(&probe), AMQP_ID_exchange_declare_ok);
    ck_assert_str_eq(get_exchange("x")->type->name, "fanout");
    ck_assert_uint_eq(vhost->bindings.count, 0);
    ck_assert_uint_eq(get_queue("q")->destination.binding_count, 0);
}
END_TEST

/* The client that deletes the last binding is told when the whole chain is gone. */
START_TEST(test_chain_of_auto_delete_exchanges_is_deleted_in_turns)
{
    enum { CHAIN = 5000 };
    char name[16] = "0", next[16];

    declare_probe();
    for (int i = 0; i < CHAIN; i++) {
        snprintf(next, sizeof next, "%d", i);
        declare_exchange(&client, (struct amqp_exchange_declare){ .exchange = amqp_str_from(next),
                                                                  .type = AMQP_STR("fanout"),
                                                                  .auto_delete = true });
        if (i > 0)
            bind_exchange(name, next);
        memcpy(name, next, sizeof name);
    }
    declare_queue(&client, (struct amqp_queue_declare){ .queue = AMQP_STR("q") });
    bind_queue(&client, name, "q", "");
    peer_settle();
    if (_i == 0) {
        say_delete_queue(&client, "q");
        ck_assert_uint_ge(await(AMQP_ID_queue_delete_ok), CHAIN / DELETIONS_A_TURN);
    } else {
        peer_say(&client, CHANNEL,
                 &(struct amqp_queue_unbind){ .id = AMQP_ID_queue_unbind,
                                              .exchange = amqp_str_from(name),
                                              .queue = AMQP_STR("q") });
        ck_assert_uint_ge(await(AMQP_ID_queue_unbind_ok), CHAIN / DELETIONS_A_TURN);
    }
    ck_assert_ptr_null(get_exchange("0"));
    ck_assert_uint_eq(vhost->bindings.count, 0);
}
END_TEST

static void declare_many_exclusive(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char name[32];

        snprintf(name, sizeof name, "e%u", i);
        declare_queue(&client, (struct amqp_queue_declare){ .queue = amqp_str_from(name),
                                                            .exclusive = true });
    }
    peer_settle();
}

START_TEST(test_many_exclusive_queues_go_before_connection_close_is_answered)
{
    declare_probe();
    declare_many_exclusive(MANY);
    peer_say(&client, 0, &(struct amqp_connection_close){ .id = AMQP_ID_connection_close });
    ck_assert(client.paused);
    ck_assert(is_returned("", "e99999"));
    ck_assert_uint_ge(await(AMQP_ID_connection_close_ok), MANY / DELETIONS_A_TURN);
    ck_assert(client.closed);
    ck_assert_uint_eq(vhost->queues.count, 1);
}
END_TEST

START_TEST(test_names_of_exclusive_queues_are_free_when_their_connection_is_lost)
{
    declare_probe();
    declare_many_exclusive(MANY);
    peer_drop(&client);
    ck_assert_uint_gt(vhost->queues.count, MANY / 2);
    for (unsigned i = 0; i < 200; i++) {
        char name[32];

        snprintf(name, sizeof name, "e%u", i * (MANY / 200));
        ck_assert(is_returned("", name));
        declare_queue(&probe, (struct amqp_queue_declare){ .queue = amqp_str_from(name),
                                                           .exclusive = true });
        peer_publish(&probe, CHANNEL, "", name, no_headers);
        check_turn();
    }
    while (deletion_pending(broker))
        check_turn();
    ck_assert_uint_eq(vhost->queues.count, 201);
    ck_assert_uint_eq(get_queue("e0")->ready.count, 1);
    ck_assert_uint_eq(broker->orphaning_count, 0);
}
END_TEST

START_TEST(test_many_consumers_are_cancelled_in_turns)
{
    enum { CONSUMERS = 20000 };
    size_t before;

    declare_probe();
    declare_queue(&client, (struct amqp_queue_declare){ .queue = AMQP_STR("q") });
    for (unsigned i = 0; i < CONSUMERS; i++)
        ask(&client,
            &(struct amqp_basic_consume){ .id = AMQP_ID_basic_consume, .queue = AMQP_STR("q") },
            AMQP_ID_basic_consume_ok);
    peer_settle();
    before = client.n_answers;
    say_delete_queue(&client, "q");
    ck_assert(!client.paused); /* its name, bindings and record are gone */
    while (deletion_pending(broker))
        check_turn();
    ck_assert_uint_eq(client.n_answers, before + 1 + CONSUMERS);
    ck_assert_uint_eq(peer_answer(&client), AMQP_ID_basic_cancel);
}
END_TEST

/* Also with one binding more than what is afforded at once, when all goes on in the same turn. */
START_TEST(test_delete_ok_comes_before_the_cancel_of_the_clients_own_consumer)
{
    unsigned n_bindings = _i == 0 ? MANY : DELETIONS_A_TURN + 1;

    declare_probe();
    declare_queue(&client, (struct amqp_queue_declare){ .queue = AMQP_STR("q") });
    bind_many_keys("amq.direct", "q", n_bindings);
    ask(&client, &(struct amqp_basic_consume){ .id = AMQP_ID_basic_consume, .queue = AMQP_STR("q") },
        AMQP_ID_basic_consume_ok);
    peer_settle();
    say_delete_queue(&client, "q");
    ck_assert(client.paused);
    while (deletion_pending(broker))
        check_turn();
    ck_assert_uint_eq(peer_answer(&client), AMQP_ID_basic_cancel);
    ck_assert_uint_eq(client.answers[(client.n_answers - 2) % PEER_ANSWERS_MAX],
                      AMQP_ID_queue_delete_ok);
}
END_TEST

START_TEST(test_many_messages_are_purged_in_turns)
{
    uint32_t answer = _i == 0 ? AMQP_ID_queue_purge_ok : AMQP_ID_queue_delete_ok;

    declare_probe();
    declare_queue(&client, (struct amqp_queue_declare){ .queue = AMQP_STR("q") });
    for (unsigned i = 0; i < MANY; i++)
        peer_publish(&client, CHANNEL, "", "q", no_headers);
    peer_settle();
    if (_i == 0) {
        peer_say(&client, CHANNEL, &(struct amqp_queue_purge){ .id = AMQP_ID_queue_purge,
                                                               .queue = AMQP_STR("q") });
        ck_assert(client.paused);
        ck_assert_uint_eq(get_queue("q")->ready.count, 0);
        peer_publish(&probe, CHANNEL, "", "q", no_headers);
        ck_assert_uint_ge(await(answer), MANY / DELETIONS_A_TURN / 16);
        ck_assert_uint_eq(client.message_count, MANY);
        ck_assert_uint_eq(get_queue("q")->ready.count, 1);
    } else {
        say_delete_queue(&client, "q");
        ck_assert_uint_eq(peer_answer(&client), answer);
        ck_assert_uint_eq(client.message_count, MANY);
        ck_assert(deletion_pending(broker));
        while (deletion_pending(broker))
            check_turn();
    }
}
END_TEST

/* Small deletions go on while a large one does, and it goes on while they do. */
START_TEST(test_small_deletions_are_answered_beside_a_large_one)
{
    size_t before;

    declare_probe();
    declare_queue(&client, (struct amqp_queue_declare){ .queue = AMQP_STR("q") });
    bind_many_keys("amq.direct", "q", MANY);
    peer_settle();
    say_delete_queue(&client, "q");
    while (client.paused) {
        before = vhost->bindings.count;
        for (unsigned i = 0; i < DELETIONS_A_TURN; i++) {
            declare_queue(&probe, (struct amqp_queue_declare){ .queue = AMQP_STR("small") });
            ask(&probe,
                &(struct amqp_queue_delete){ .id = AMQP_ID_queue_delete,
                                             .queue = AMQP_STR("small") },
                AMQP_ID_queue_delete_ok);
        }
        check_turn();
        ck_assert_uint_lt(vhost->bindings.count, before);
    }
    ck_assert_uint_eq(peer_answer(&client), AMQP_ID_queue_delete_ok);
}
END_TEST

START_TEST(test_a_client_that_leaves_is_not_waited_for)
{
    declare_probe();
    declare_queue(&client, (struct amqp_queue_declare){ .queue = AMQP_STR("q") });
    bind_many_keys("amq.direct", "q", MANY);
    peer_settle();
    say_delete_queue(&client, "q");
    ck_assert(client.paused);
    peer_drop(&client);
    ck_assert_ptr_null(broker->waiting_frames);
    while (deletion_pending(broker))
        check_turn();
    ck_assert_uint_eq(vhost->bindings.count, 0);
}
END_TEST

/* The teardown, that is: what has been hidden is freed, and no more is asked of the store. */
START_TEST(test_broker_can_be_freed_while_it_deletes)
{
    declare_probe();
    declare_many_exclusive(2000);
    declare_exchange(&probe, (struct amqp_exchange_declare){ .exchange = AMQP_STR("x"),
                                                             .type = AMQP_STR("topic"),
                                                             .durable = true });
    declare_queue(&probe, (struct amqp_queue_declare){ .queue = AMQP_STR("q"), .durable = true });
    bind_many_keys("x", "q", 2000);
    bind_many_keys("amq.topic", "q", 2000);
    peer_settle();
    peer_drop(&client);
    peer_open(&client);
    peer_open_channel(&client, CHANNEL);
    say_delete_queue(&client, "q");
    ck_assert(client.paused);
    say_delete_exchange(&probe, "x");
    ck_assert(probe.paused);
}
END_TEST

/* --- crashes in the middle --- */

enum { DURABLE_BINDINGS = 500 };

static void start_with_few_steps(void)
{
    peer_drop(&client);
    peer_drop(&probe);
    peer_teardown();
    peer_setup();
    peer_settings.work_a_turn = FEW_STEPS * TASK_COST_DELETE;
    broker->settings.work_a_turn = FEW_STEPS * TASK_COST_DELETE;
    peer_commits_each_turn = true;
    open_clients();
}

static void crash_and_recover(void)
{
    free(TAKE(client.waiting));
    free(TAKE(probe.waiting));
    peer_crash();
    ck_assert(!deletion_pending(broker));
    open_clients();
}

/* Once as much is durable as was there, or nothing is there any more. */
static void check_whole_or_gone(uint32_t n_bindings)
{
    struct queue *queue = get_queue("q");

    ck_assert_uint_eq(vhost->bindings.count, queue ? n_bindings : 0);
    if (queue)
        ck_assert_uint_eq(queue->destination.binding_count, DURABLE_BINDINGS);
}

static void declare_durable(void)
{
    declare_exchange(&client, (struct amqp_exchange_declare){ .exchange = AMQP_STR("x"),
                                                              .type = AMQP_STR("direct"),
                                                              .durable = true,
                                                              .auto_delete = true });
    declare_exchange(&client, (struct amqp_exchange_declare){ .exchange = AMQP_STR("above"),
                                                              .type = AMQP_STR("direct"),
                                                              .durable = true,
                                                              .auto_delete = true });
    declare_queue(&client, (struct amqp_queue_declare){ .queue = AMQP_STR("q"), .durable = true });
    bind_exchange("above", "x");
    bind_many_keys("x", "q", DURABLE_BINDINGS);
    for (int i = 0; i < 100; i++)
        peer_turn();
}

START_TEST(test_crash_in_a_deletion_leaves_all_or_nothing)
{
    bool was_whole = false, was_gone = false;

    for (unsigned turns = 0; !was_gone || turns < 2 * DURABLE_BINDINGS / FEW_STEPS + 50; turns++) {
        start_with_few_steps();
        declare_durable();
        if (_i == 0)
            say_delete_queue(&client, "q");
        else
            say_delete_exchange(&client, "x");
        for (unsigned i = 0; i < turns; i++)
            peer_turn();
        crash_and_recover();
        if (_i == 0) {
            check_whole_or_gone(DURABLE_BINDINGS + 1);
            ck_assert_int_eq(get_queue("q") != NULL, get_exchange("x") != NULL);
        } else {
            ck_assert_ptr_nonnull(get_queue("q"));
            ck_assert_uint_eq(vhost->bindings.count, get_exchange("x") ? DURABLE_BINDINGS + 1 : 0);
        }
        ck_assert_int_eq(get_exchange("x") != NULL, get_exchange("above") != NULL);
        was_whole = was_whole || get_exchange("x");
        was_gone = was_gone || !get_exchange("x");
        /* What the start has deleted is deleted in the store as well. */
        for (int i = 0; i < 100; i++)
            peer_turn();
        crash_and_recover();
        ck_assert_int_eq(get_exchange("x") != NULL, get_exchange("above") != NULL);
        ck_assert_uint_lt(turns, 1000);
    }
    ck_assert(was_whole);
}
END_TEST

START_TEST(test_durable_name_is_free_when_its_records_are_gone)
{
    start_with_few_steps();
    declare_durable();
    say_delete_queue(&client, "q");
    ck_assert(client.paused);
    peer_say(&probe, CHANNEL, &(struct amqp_queue_declare){ .id = AMQP_ID_queue_declare,
                                                            .queue = AMQP_STR("q"),
                                                            .durable = true });
    ck_assert(probe.paused);
    while (probe.paused)
        peer_turn();
    ck_assert_uint_eq(peer_answer(&probe), AMQP_ID_queue_declare_ok);
    ck_assert_uint_eq(peer_answer(&client), AMQP_ID_queue_delete_ok);
    for (int i = 0; i < 100; i++)
        peer_turn();
    crash_and_recover();
    ck_assert_ptr_nonnull(get_queue("q"));
    ck_assert_uint_eq(vhost->bindings.count, 0);
}
END_TEST

/* --- timers --- */

START_TEST(test_queues_that_expire_together_go_in_turns)
{
    enum { QUEUES = 5000 };
    struct amqp_table_writer writer = { 0 };
    uint32_t before;

    declare_probe();
    amqp_table_put_int(&writer, "x-expires", 1000);
    for (unsigned i = 0; i < QUEUES; i++) {
        char name[16];

        snprintf(name, sizeof name, "q%u", i);
        declare_queue(&client,
                      (struct amqp_queue_declare){ .queue = amqp_str_from(name),
                                                   .arguments = amqp_table_written(&writer) });
    }
    amqp_table_writer_release(&writer);
    peer_turn();
    broker_begin(broker, broker->now_ms + 5000, broker->wall_ms + 5000);
    do {
        before = vhost->queues.count;
        ck_assert_int_eq(peer_turn(), 0);
        ck_assert_uint_le(before - vhost->queues.count, BOUND_TIMERS_A_TURN);
        ck_assert_uint_lt(vhost->queues.count, before);
    } while (vhost->queues.count > 1 + BOUND_TIMERS_A_TURN);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("turns");
    TCase *tcase = tcase_create("turns");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, test_costly_routes_hold_their_publisher_back_until_the_next_turn);
    tcase_add_test(tcase, test_queue_of_many_bindings_is_deleted_in_turns);
    tcase_add_test(tcase, test_exchange_of_many_bindings_is_deleted_in_turns);
    tcase_add_loop_test(tcase, test_chain_of_auto_delete_exchanges_is_deleted_in_turns, 0, 2);
    tcase_add_test(tcase, test_many_exclusive_queues_go_before_connection_close_is_answered);
    tcase_add_test(tcase, test_names_of_exclusive_queues_are_free_when_their_connection_is_lost);
    tcase_add_test(tcase, test_many_consumers_are_cancelled_in_turns);
    tcase_add_loop_test(tcase, test_delete_ok_comes_before_the_cancel_of_the_clients_own_consumer, 0,
                        2);
    tcase_add_loop_test(tcase, test_many_messages_are_purged_in_turns, 0, 2);
    tcase_add_test(tcase, test_small_deletions_are_answered_beside_a_large_one);
    tcase_add_test(tcase, test_a_client_that_leaves_is_not_waited_for);
    tcase_add_test(tcase, test_broker_can_be_freed_while_it_deletes);
    tcase_add_loop_test(tcase, test_crash_in_a_deletion_leaves_all_or_nothing, 0, 2);
    tcase_add_test(tcase, test_durable_name_is_free_when_its_records_are_gone);
    tcase_add_test(tcase, test_queues_that_expire_together_go_in_turns);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
