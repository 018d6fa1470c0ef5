/*
 * test_gather.c - when a commit is sealed: at once, or when its publishers have come again
 *
 * Publishes are imagined: a change in the open commit, and what channel_wait_for_commit() notes. The
 * store is the one in memory, whose syncs are told to have taken SYNC_US.
 */
#include "unit.h"

#include "broker/broker.h"
#include "store/memory.h"
#include "store/store-internal.h"

enum { SYNC_US = 200 };

static struct store_disk *disk;
static struct broker *broker;
static struct store *store;

static void setup(void)
{
    char text[256];

    disk = store_disk_new();
    ck_assert_ptr_nonnull(disk);
    ck_assert_int_eq(broker_new(&(struct broker_settings){ .cluster_name = "test" }, &broker), 0);
    ck_assert_int_eq(store_open_memory(disk, &(struct store_options){ .record_bytes = 65536 },
                                       &broker_store_events, broker, &store), 0);
    ck_assert_int_eq(broker_attach_store(broker, store, text, sizeof text), 0);
    broker_begin(broker, 1000, 1000);
}

static void teardown(void)
{
    ck_assert_int_eq(store_close(store), 0);
    broker->store = NULL;
    broker_free(broker);
    store_disk_free(disk);
}

static void publish(unsigned n)
{
    while (n-- > 0) {
        ck_assert_int_eq(store_put_meta(store, STORE_KIND_PARAMETER,
                                        (struct amqp_bytes){ (const uint8_t *)"k", 1 },
                                        (struct amqp_bytes){ (const uint8_t *)"v", 1 }),
                         0);
        broker->commit_wanted = true;
        broker->gather.open_waits++;
    }
}

static void turn(void)
{
    (void)broker_end(broker);
    broker_begin(broker, broker->now_ms, broker->wall_ms);
}

/* The sync that is under way ends; who published meanwhile still waits. */
static void sync_ends(void)
{
    ck_assert_uint_eq(store_in_flight(store), 1);
    store->stats.sync_us_total += SYNC_US;
    store_poll(store);
    broker->commit_wanted = broker->gather.open_waits > 0;
    ck_assert_uint_eq(store_in_flight(store), 0);
}

START_TEST(test_first_publishes_are_sealed_at_once)
{
    publish(3);
    turn();
    ck_assert_uint_eq(store_in_flight(store), 1);
    ck_assert_uint_eq(broker_gather_us(broker), 0);
}
END_TEST

START_TEST(test_halves_of_a_window_become_one_commit)
{
    publish(3);
    turn();
    publish(5);
    turn();
    sync_ends(); /* 3 are confirmed, 5 wait */
    turn();
    ck_assert_uint_eq(store_in_flight(store), 0);
    ck_assert_uint_eq(broker_gather_us(broker), SYNC_US);
    publish(2);
    turn();
    ck_assert_uint_eq(store_in_flight(store), 0);
    publish(1);
    turn();
    ck_assert_uint_eq(store_in_flight(store), 1);
    ck_assert_uint_eq(store_open_bytes(store), 0);
    ck_assert_uint_eq(broker_gather_us(broker), 0);
}
END_TEST

START_TEST(test_no_time_is_kept_while_nobody_waits)
{
    publish(4);
    turn();
    sync_ends();
    turn();
    ck_assert_uint_eq(broker_gather_us(broker), 0);
    publish(1);
    turn();
    ck_assert_uint_eq(store_in_flight(store), 0);
    ck_assert_uint_eq(broker_gather_us(broker), SYNC_US);
    publish(3);
    turn();
    ck_assert_uint_eq(store_in_flight(store), 1);
    ck_assert_uint_eq(broker_gather_us(broker), 0);
    sync_ends();
    turn();
    publish(4); /* all in one turn: no timer was needed */
    turn();
    ck_assert_uint_eq(store_in_flight(store), 1);
}
END_TEST

START_TEST(test_what_has_come_is_sealed_when_time_is_over)
{
    publish(3);
    turn();
    publish(5);
    turn();
    sync_ends();
    turn();
    broker_gather_over(broker);
    turn();
    ck_assert_uint_eq(store_in_flight(store), 1);
}
END_TEST

START_TEST(test_milliseconds_end_it_without_the_finer_clock)
{
    publish(3);
    turn();
    publish(5);
    turn();
    sync_ends();
    ck_assert_int_eq(broker_end(broker), 2);
    broker_begin(broker, 1002, 1002);
    turn();
    ck_assert_uint_eq(store_in_flight(store), 1);
}
END_TEST

START_TEST(test_a_lone_publish_is_not_waited_for)
{
    publish(1);
    turn();
    sync_ends();
    turn();
    ck_assert_uint_eq(broker_gather_us(broker), 0);
    publish(1);
    turn();
    ck_assert_uint_eq(store_in_flight(store), 1);
}
END_TEST

/* Publishers that do not come again: the n-th failure is followed by 2^(n-1) commits, at most 64. */
START_TEST(test_gathering_that_does_not_pay_becomes_rare)
{
    unsigned gathered = 0;

    for (unsigned i = 0; i < 1000; i++) {
        publish(4);
        turn();
        publish(1);
        turn();
        sync_ends();
        turn();
        if (broker_gather_us(broker)) {
            gathered++;
            broker_gather_over(broker);
            turn();
        }
        sync_ends(); /* of the one that came meanwhile */
        turn();
        if (broker_gather_us(broker)) {
            gathered++;
            broker_gather_over(broker);
        }
    }
    ck_assert_uint_gt(gathered, 10);
    ck_assert_uint_lt(gathered, 50);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gather");
    TCase *tcase = tcase_create("gather");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_first_publishes_are_sealed_at_once);
    tcase_add_test(tcase, test_halves_of_a_window_become_one_commit);
    tcase_add_test(tcase, test_no_time_is_kept_while_nobody_waits);
    tcase_add_test(tcase, test_what_has_come_is_sealed_when_time_is_over);
    tcase_add_test(tcase, test_milliseconds_end_it_without_the_finer_clock);
    tcase_add_test(tcase, test_a_lone_publish_is_not_waited_for);
    tcase_add_test(tcase, test_gathering_that_does_not_pay_becomes_rare);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
