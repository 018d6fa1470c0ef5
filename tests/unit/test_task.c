/*
 * test_task.c - how much is done in one turn, whatever a client has arranged for
 *
 * A turn may do WORK units (task.h). The tests ask for far more, count what each turn does, and
 * look at what others get meanwhile.
 */
#include "broker/channel.h"
#include "broker/connection-internal.h"
#include "broker/queue-internal.h"
#include "broker/task.h"
#include "broker/tx.h"
#include "topology_fixture.h"
#include "unit.h"

enum { WORK = 300, MANY = 5000 };

/* Nobody logs in with it. */
#define NO_HASH "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

/* --- a client --- */

struct peer {
    struct connection *connection;
    struct channel *channel;
    unsigned deliveries;
    uint32_t last_id; /* in the body of the last delivery */
    uint32_t method;  /* the last one that came */
    uint32_t purged;  /* as purge-ok says */
    bool paused, closed;
};

static void on_octets(void *peer, const void *data, size_t size)
{
    (void)peer;
    (void)data;
    (void)size;
}

static void on_method(void *context, uint16_t channel, const void *method)
{
    struct peer *peer = context;

    (void)channel;
    peer->method = *(const uint32_t *)method;
    if (peer->method == AMQP_ID_queue_purge_ok)
        peer->purged = ((const struct amqp_queue_purge_ok *)method)->message_count;
}

static void on_content(void *context, uint16_t channel, const void *method,
                       struct message *message)
{
    (void)message;
    on_method(context, channel, method);
}

static void on_deliver(void *context, uint16_t channel, const struct delivery *delivery)
{
    struct peer *peer = context;

    (void)channel;
    peer->deliveries++;
    memcpy(&peer->last_id, message_body(delivery->message), sizeof peer->last_id);
}

static size_t on_unsent(void *peer)
{
    (void)peer;
    return 0;
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

static void on_pause(void *context, bool paused)
{
    ((struct peer *)context)->paused = paused;
}

static void on_close(void *context, enum connection_close_how how)
{
    (void)how;
    ((struct peer *)context)->closed = true;
}

static const struct channel_ops ops = {
    .send_octets = on_octets,
    .send_method = on_method,
    .send_content = on_content,
    .deliver = on_deliver,
    .unsent_bytes = on_unsent,
    .tuned = on_tuned,
    .opened = on_opened,
    .pause = on_pause,
    .close = on_close,
};

static struct peer busy, other;

static void open_peer(struct peer *peer)
{
    struct connection_origin origin = { .peer_host = "127.0.0.1", .host = "127.0.0.1" };

    *peer = (struct peer){ 0 };
    ck_assert_int_eq(connection_new(broker, &ops, peer, &origin, &peer->connection), 0);
    peer->connection->state = CONNECTION_RUNNING;
    peer->connection->vhost = vhost;
    ck_assert_int_eq(channel_new(peer->connection, 1, &peer->channel), 0);
    peer->channel->state = CHANNEL_RUNNING;
}

static void consume(struct peer *peer, struct queue *queue)
{
    struct consumer_properties properties = { .tag = AMQP_STR("c"), .timeout_ms = -1 };
    struct consumer *consumer;

    ck_assert_int_eq(consumer_new(peer->channel, queue, &properties, &err, &consumer), 0);
}

static void cut(struct peer *peer)
{
    if (peer->connection)
        connection_free(peer->connection);
    *peer = (struct peer){ 0 };
}

static struct message *new_message(uint32_t id)
{
    static const uint8_t no_properties[2] = { 0, 0 };
    struct message *message = message_new(AMQP_STR(""), AMQP_STR("q"),
                                          (struct amqp_bytes){ no_properties, 2 }, sizeof id);

    ck_assert_ptr_nonnull(message);
    memcpy(message_body_writable(message), &id, sizeof id);
    return message;
}

static void push(struct queue *queue, uint32_t from, uint32_t count)
{
    for (uint32_t id = from; id < from + count; id++) {
        struct message *message = new_message(id);
        struct push_outcome outcome = { 0 };

        ck_assert_int_eq(queue_push(queue, message, &outcome), 0);
        message_unref(message);
    }
}

static void turn(void)
{
    static uint64_t now_ms = 1000;

    now_ms++;
    (void)broker_end(broker);
    broker_begin(broker, now_ms, 1700000000000 + now_ms);
}

static void setup(void)
{
    topology_setup();
    broker->settings.work_a_turn = WORK;
    broker_begin(broker, 1000, 1700000000000);
    open_peer(&busy);
    open_peer(&other);
}

static void teardown(void)
{
    cut(&busy);
    cut(&other);
    topology_teardown();
}

/* MANY messages of queue "q", from 1, are out with `busy`. */
static struct queue *deliver_many(void)
{
    struct queue *from = queue("q");

    consume(&busy, from);
    push(from, 1, MANY);
    turn();
    ck_assert_uint_eq(busy.channel->unacked.count, MANY);
    return from;
}

/* Turns until all of @queue is back; each does a little, and the other queue is served in each. */
static void come_back_in_slices(struct queue *of)
{
    struct queue *apart = queue("apart");
    unsigned turns = 0;

    for (uint32_t before = queue_ready_count(of); before < MANY || of->held; turns++) {
        unsigned deliveries = other.deliveries;

        ck_assert_uint_lt(turns, MANY);
        push(apart, 1, 1);
        turn();
        ck_assert_uint_eq(other.deliveries, deliveries + 1);
        ck_assert_uint_le(queue_ready_count(of) - before, WORK / TASK_COST_REQUEUE + 1);
        before = queue_ready_count(of);
    }
    ck_assert_uint_gt(turns, 10);
}

START_TEST(test_a_cut_client_gives_back_in_slices_and_nothing_is_overtaken)
{
    struct queue *from = deliver_many();
    struct peer third;

    consume(&other, queue("apart"));
    open_peer(&third);
    consume(&third, from);
    cut(&busy);
    while (queue_ready_count(from) + third.deliveries == 0)
        turn();
    ck_assert_uint_eq(third.deliveries, 0); /* the queue is held while some are missing */
    cut(&third);
    come_back_in_slices(from);
    open_peer(&third);
    consume(&third, from);
    broker->hand_outs_left = 1;
    queue_dispatch(from);
    ck_assert_uint_eq(third.last_id, 1);
    cut(&third);
}
END_TEST

START_TEST(test_a_held_queue_answers_basic_get_when_it_is_whole)
{
    struct queue *from = deliver_many();
    struct queue_entry entry;

    cut(&busy);
    while (!from->held || queue_ready_count(from) == 0)
        turn();
    ck_assert_int_eq(queue_take(from, &entry), QUEUE_TAKE_WAIT);
    while (from->held)
        turn();
    ck_assert_int_eq(queue_take(from, &entry), QUEUE_TAKE_ENTRY);
    ck_assert_uint_eq(entry.sequence, 1);
    queue_settle(from, &entry);
}
END_TEST

static void settle_all(enum settle_how how)
{
    union amqp_method method;

    if (how == SETTLE_ACK) {
        method.basic_ack = (struct amqp_basic_ack){ .id = AMQP_ID_basic_ack, .multiple = true };
        ck_assert_int_eq(handle_basic_ack(busy.channel, &method, &err), 0);
    } else {
        method.basic_nack = (struct amqp_basic_nack){ .id = AMQP_ID_basic_nack,
                                                      .multiple = true,
                                                      .requeue = how == SETTLE_REQUEUE };
        ck_assert_int_eq(handle_basic_nack(busy.channel, &method, &err), 0);
    }
}

START_TEST(test_ack_of_very_many_takes_several_turns_and_the_client_waits)
{
    struct queue *from = deliver_many();

    settle_all(SETTLE_ACK);
    ck_assert(busy.paused);
    for (uint32_t before = from->unacked_count; before; before = from->unacked_count) {
        turn();
        ck_assert_uint_le(before - from->unacked_count, WORK / TASK_COST_SETTLE);
        ck_assert(busy.paused == (from->unacked_count != 0) || !from->unacked_count);
    }
    turn();
    ck_assert(!busy.paused);
    push(from, 1, 1);
    turn();
    ck_assert_uint_eq(busy.deliveries, MANY + 1); /* it is not forgotten as a consumer */
}
END_TEST

START_TEST(test_what_was_acknowledged_stays_so_when_the_client_is_cut_meanwhile)
{
    struct queue *from = deliver_many();

    settle_all(SETTLE_ACK);
    ck_assert_uint_gt(from->unacked_count, 0);
    cut(&busy);
    while (broker->tasks)
        turn();
    ck_assert_uint_eq(from->unacked_count, 0);
    ck_assert_uint_eq(queue_ready_count(from), 0);
}
END_TEST

START_TEST(test_nack_of_very_many_holds_the_queue)
{
    struct queue *from = deliver_many();

    consume(&other, queue("apart"));
    settle_all(SETTLE_REQUEUE);
    ck_assert(busy.paused);
    while (queue_ready_count(from) + (from->held != 0) == 0)
        turn();
    while (from->held)
        turn();
    turn();
    ck_assert_uint_eq(busy.deliveries, 2 * MANY);
    ck_assert_uint_eq(busy.last_id, MANY);
    ck_assert(!busy.paused);
}
END_TEST

START_TEST(test_recover_ok_comes_when_all_are_back)
{
    union amqp_method method = { .basic_recover = { .id = AMQP_ID_basic_recover,
                                                    .requeue = true } };
    struct queue *from = deliver_many();

    ck_assert_int_eq(handle_basic_recover(busy.channel, &method, &err), 0);
    ck_assert_uint_ne(busy.method, AMQP_ID_basic_recover_ok);
    while (busy.method != AMQP_ID_basic_recover_ok) {
        ck_assert_uint_eq(busy.deliveries, MANY);
        turn();
    }
    turn();
    ck_assert_uint_eq(busy.deliveries, 2 * MANY);
    ck_assert_uint_eq(from->unacked_count, MANY);
}
END_TEST

/* The method as a frame: it waits, and is received again (connection_wait.c). */
static void say_purge(struct peer *peer)
{
    struct amqp_queue_purge purge = { .id = AMQP_ID_queue_purge, .queue = AMQP_STR("q") };
    struct amqp_frame frame;
    uint8_t octets[64];

    ck_assert_int_eq(broker_put_user(broker, "u", AUTH_HASHING_SHA256, NO_HASH, "", -1, -1), 0);
    ck_assert_int_eq(broker_put_permissions(broker, "u", vhost->name, ".*", ".*", ".*", err.text,
                                            sizeof err.text),
                     0);
    peer->connection->user_name = strdup("u");
    peer->connection->permissions_generation = UINT64_MAX;
    ck_assert_uint_le(amqp_method_frame_size(&purge), sizeof octets);
    (void)amqp_method_frame_encode(&purge, 1, octets);
    ck_assert_int_eq(amqp_frame_scan((struct amqp_bytes){ octets, sizeof octets }, UINT32_MAX,
                                     &frame),
                     AMQP_SCAN_FRAME);
    connection_receive(peer->connection, &frame);
}

START_TEST(test_purge_lets_go_in_slices_and_the_queue_goes_on)
{
    struct queue *from = queue("q");

    push(from, 1, MANY);
    say_purge(&busy);
    ck_assert_uint_eq(queue_ready_count(from), 0);
    ck_assert(busy.paused);
    push(from, MANY + 1, 1);
    for (unsigned turns = 0; busy.method != AMQP_ID_queue_purge_ok; turns++) {
        ck_assert_uint_lt(turns, MANY);
        turn();
    }
    ck_assert_uint_eq(busy.purged, MANY);
    ck_assert(!busy.paused);
    ck_assert_uint_eq(queue_ready_count(from), 1);
}
END_TEST

START_TEST(test_a_deleted_queue_lets_go_in_slices)
{
    struct queue *from = queue("q");
    unsigned turns = 0;

    push(from, 1, MANY);
    queue_delete(from);
    ck_assert_ptr_null(vhost_get_queue(vhost, AMQP_STR("q")));
    for (; broker->tasks; turns++)
        turn();
    ck_assert_uint_ge(turns, (MANY - WORK) / WORK);
}
END_TEST

/* MANY publishes to queue "t" in a transaction of `busy`. */
static struct queue *collect_many(void)
{
    struct queue *to = queue("t");
    struct route route = { .queues = &to, .n_queues = 1 };

    busy.channel->tx = tx_new();
    busy.channel->mode = CHANNEL_TX;
    for (uint32_t id = 1; id <= MANY; id++) {
        struct message *message = new_message(id);

        ck_assert_int_eq(tx_add_publish(busy.channel, message, &route, &err), 0);
        message_unref(message);
    }
    return to;
}

START_TEST(test_commit_is_applied_in_slices_and_nothing_is_sealed_between)
{
    struct queue *to = collect_many();

    consume(&other, queue("apart"));
    tx_commit(busy.channel);
    while (broker->tasks) {
        uint32_t before = queue_ready_count(to);

        ck_assert_uint_eq(broker->seal_holds, 1);
        push(queue("apart"), 1, 1);
        turn();
        ck_assert_uint_le(queue_ready_count(to) - before, WORK / TASK_COST_PUSH + 1);
    }
    ck_assert_uint_gt(other.deliveries, MANY * TASK_COST_PUSH / WORK);
    ck_assert_uint_eq(broker->seal_holds, 0);
    ck_assert_uint_eq(queue_ready_count(to), MANY);
    turn();
    ck_assert_uint_eq(busy.method, AMQP_ID_tx_commit_ok);
}
END_TEST

START_TEST(test_a_commit_whose_client_is_cut_is_applied_to_its_end)
{
    struct queue *to = collect_many();

    tx_commit(busy.channel);
    ck_assert_uint_lt(queue_ready_count(to), MANY);
    cut(&busy);
    while (broker->tasks)
        turn();
    ck_assert_uint_eq(queue_ready_count(to), MANY);
    ck_assert_uint_eq(broker->seal_holds, 0);
}
END_TEST

START_TEST(test_a_commit_under_way_at_shutdown_is_applied_to_its_end)
{
    struct queue *to = queue_ref(collect_many());

    tx_commit(busy.channel);
    cut(&busy);
    task_finish_all(broker);
    ck_assert_uint_eq(queue_ready_count(to), MANY);
    ck_assert_uint_eq(broker->seal_holds, 0);
    queue_unref(to);
}
END_TEST

START_TEST(test_a_transaction_past_its_limit_is_refused)
{
    struct queue *queues[2] = { queue("t"), queue("u") };
    struct route route = { .queues = queues, .n_queues = 2 };
    struct message *message = new_message(1);

    broker->settings.tx_messages_max = 4;
    busy.channel->tx = tx_new();
    ck_assert_int_eq(tx_add_publish(busy.channel, message, &route, &err), 0);
    ck_assert_int_eq(tx_add_publish(busy.channel, message, &route, &err), 0);
    ck_assert_int_eq(tx_add_publish(busy.channel, message, &route, &err), 406);
    ck_assert_str_eq(err.text, "PRECONDITION_FAILED - transaction is larger than 4 messages "
                               "(tx_message_limit)");
    broker->settings.tx_messages_max = 0;
    broker->settings.tx_bytes_max = 500;
    ck_assert_int_eq(tx_add_publish(busy.channel, message, &route, &err), 406);
    ck_assert_str_eq(err.text, "PRECONDITION_FAILED - transaction is larger than 500 bytes "
                               "(tx_bytes_limit)");
    message_unref(message);
}
END_TEST

START_TEST(test_rollback_of_very_many_settlements_puts_all_back)
{
    union amqp_method method = { .tx_rollback = { .id = AMQP_ID_tx_rollback } };
    struct queue *from = deliver_many();

    busy.channel->tx = tx_new();
    busy.channel->mode = CHANNEL_TX;
    method.basic_ack = (struct amqp_basic_ack){ .id = AMQP_ID_basic_ack };
    for (uint64_t tag = MANY; tag >= 1; tag--) { /* backwards: each goes back before the last */
        method.basic_ack.delivery_tag = tag;
        ck_assert_int_eq(handle_basic_ack(busy.channel, &method, &err), 0);
    }
    ck_assert_uint_eq(busy.channel->unacked.count, 0);
    method.tx_rollback.id = AMQP_ID_tx_rollback;
    ck_assert_int_eq(handle_tx_rollback(busy.channel, &method, &err), 0);
    for (uint32_t before = busy.channel->unacked.count; busy.method != AMQP_ID_tx_rollback_ok;) {
        turn();
        ck_assert_uint_le(busy.channel->unacked.count - before, WORK);
        before = busy.channel->unacked.count;
    }
    ck_assert_uint_eq(busy.channel->unacked.count, MANY);
    ck_assert_uint_eq(from->unacked_count, MANY);
    ck_assert_uint_eq(unacked_first(&busy.channel->unacked)->tag, 1);
}
END_TEST

START_TEST(test_close_ok_comes_when_all_is_given_back)
{
    struct queue *from = deliver_many();

    connection_handle_close(busy.connection);
    ck_assert(!busy.closed);
    while (!busy.closed)
        turn();
    ck_assert_uint_eq(busy.method, AMQP_ID_connection_close_ok);
    ck_assert_uint_eq(queue_ready_count(from), MANY);
}
END_TEST

START_TEST(test_a_backlog_that_meets_a_consumer_goes_out_in_turns)
{
    struct queue *from = queue("q");
    unsigned before = 0;

    push(from, 1, 3 * BOUND_HAND_OUTS_A_TURN);
    consume(&other, from);
    while (queue_ready_count(from)) {
        turn();
        ck_assert_uint_gt(other.deliveries, before);
        ck_assert_uint_le(other.deliveries - before, BOUND_HAND_OUTS_A_TURN);
        before = other.deliveries;
    }
}
END_TEST

START_TEST(test_messages_that_expire_together_are_given_up_in_turns)
{
    enum { BACKLOG = 3 * BOUND_HAND_OUTS_A_TURN };
    struct queue_settings settings = queue_settings_default;
    struct queue *from = queue("q");
    uint64_t wall_ms = broker->wall_ms;
    unsigned turns = 0;

    settings.message_ttl_ms = 1000;
    from->settings = &settings;
    push(from, 1, BACKLOG);
    for (uint32_t left = BACKLOG; left; turns++) {
        ck_assert_uint_lt(turns, 100);
        (void)broker_end(broker);
        broker_begin(broker, broker->now_ms + 2000, wall_ms + 5000);
        ck_assert_uint_le(left - queue_ready_count(from), BOUND_HAND_OUTS_A_TURN);
        left = queue_ready_count(from);
    }
    ck_assert_uint_ge(turns, 3);
    from->settings = &queue_settings_default;
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("task");
    TCase *tcase = tcase_create("task");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_a_cut_client_gives_back_in_slices_and_nothing_is_overtaken);
    tcase_add_test(tcase, test_a_held_queue_answers_basic_get_when_it_is_whole);
    tcase_add_test(tcase, test_ack_of_very_many_takes_several_turns_and_the_client_waits);
    tcase_add_test(tcase, test_what_was_acknowledged_stays_so_when_the_client_is_cut_meanwhile);
    tcase_add_test(tcase, test_nack_of_very_many_holds_the_queue);
    tcase_add_test(tcase, test_recover_ok_comes_when_all_are_back);
    tcase_add_test(tcase, test_purge_lets_go_in_slices_and_the_queue_goes_on);
    tcase_add_test(tcase, test_a_deleted_queue_lets_go_in_slices);
    tcase_add_test(tcase, test_commit_is_applied_in_slices_and_nothing_is_sealed_between);
    tcase_add_test(tcase, test_a_commit_whose_client_is_cut_is_applied_to_its_end);
    tcase_add_test(tcase, test_a_commit_under_way_at_shutdown_is_applied_to_its_end);
    tcase_add_test(tcase, test_a_transaction_past_its_limit_is_refused);
    tcase_add_test(tcase, test_rollback_of_very_many_settlements_puts_all_back);
    tcase_add_test(tcase, test_close_ok_comes_when_all_is_given_back);
    tcase_add_test(tcase, test_a_backlog_that_meets_a_consumer_goes_out_in_turns);
    tcase_add_test(tcase, test_messages_that_expire_together_are_given_up_in_turns);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
