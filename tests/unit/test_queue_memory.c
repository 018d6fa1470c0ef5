/*
 * test_queue_memory.c - a queue keeps so many octets of messages in memory, and no more
 *
 * Over the store in memory, which reads back in store_poll(). The messages that the entries hold are
 * added up, headers included.
 */
#include "broker/queue-internal.h"
#include "store/memory.h"
#include "topology_fixture.h"
#include "unit.h"

enum { LIMIT_BYTES = 100000, MESSAGES = 3000 };

static const struct {
    uint32_t properties_bytes, body_bytes;
    bool persistent;
} shape[] = {
    { 0, 12, false },   { 0, 12, true },    { 2, 0, false },      { 79, 0, false },
    { 80, 0, false },   { 3000, 0, false }, { 3000, 5, true },    { 0, 5000, false },
    { 0, 5000, true },  { 0, LIMIT_BYTES, false },
};

static struct store_disk *disk;
static struct store *store;
static struct queue *it;
static uint8_t octets[LIMIT_BYTES];

static void setup(void)
{
    struct broker_settings settings = { .product = "test",
                                        .cluster_name = "test",
                                        .queue_memory_max = LIMIT_BYTES };
    char text[256];

    disk = store_disk_new();
    ck_assert_ptr_nonnull(disk);
    ck_assert_int_eq(broker_new(&settings, &broker), 0);
    ck_assert_int_eq(store_open_memory(disk, &(struct store_options){ .record_bytes = 65536 },
                                       &broker_store_events, broker, &store), 0);
    ck_assert_int_eq(broker_attach_store(broker, store, text, sizeof text), 0);
    ck_assert_int_eq(vhost_new(broker, AMQP_STR("v"), &vhost), 0);
    broker_begin(broker, 1000, 1000);
    ck_assert_int_eq(queue_new(vhost,
                               &(struct queue_properties){ .name = AMQP_STR("q"),
                                                           .durable = true },
                               &it), 0);
}

static void teardown(void)
{
    ck_assert_int_eq(store_close(store), 0);
    broker->store = NULL;
    broker_free(broker);
    store_disk_free(disk);
}

static void turn(void)
{
    store_poll(store);
    (void)broker_end(broker);
    broker_begin(broker, broker->now_ms + 20, broker->wall_ms + 20);
}

static struct push_outcome publish(int which, uint32_t number)
{
    struct push_outcome outcome = { 0 };
    struct message *message =
        message_new(AMQP_STR(""), AMQP_STR("q"),
                    (struct amqp_bytes){ octets, shape[which].properties_bytes },
                    shape[which].body_bytes);

    ck_assert_ptr_nonnull(message);
    memset(message_body_writable(message), (int)(number % 256), shape[which].body_bytes);
    message->persistent = shape[which].persistent;
    ck_assert_int_eq(queue_push(it, message, &outcome), 0);
    message_unref(message);
    return outcome;
}

static size_t held_bytes(void)
{
    struct ready_walk walk = ready_walk(&it->ready);
    struct queue_entry *entry;
    size_t sum = 0;

    while ((entry = ready_walk_next(&walk)))
        if (entry->flags & ENTRY_RESIDENT)
            sum += message_memory_bytes(entry->message);
    return sum;
}

static size_t size_of(int which)
{
    return sizeof(struct message) + 1 + shape[which].properties_bytes + shape[which].body_bytes;
}

/* The next message, read back if it has to be. */
static void take(int which, uint32_t number)
{
    struct queue_entry entry;
    enum queue_take taken;

    while ((taken = queue_take(it, &entry)) == QUEUE_TAKE_WAIT)
        turn();
    ck_assert_int_eq(taken, QUEUE_TAKE_ENTRY);
    ck_assert_uint_eq(entry.message->body_bytes, shape[which].body_bytes);
    if (entry.message->body_bytes)
        ck_assert_uint_eq(message_body(entry.message)[entry.message->body_bytes - 1], number % 256);
    queue_settle(it, &entry);
}

START_TEST(test_queue_keeps_to_its_memory_whatever_comes)
{
    uint32_t count = shape[_i].body_bytes > 5000 ? 20 : MESSAGES;

    for (uint32_t i = 0; i < count; i++) {
        (void)publish(_i, i);
        if (i % 64 == 0) {
            ck_assert_uint_lt(held_bytes(), LIMIT_BYTES + size_of(_i));
            turn();
        }
    }
    ck_assert_uint_lt(held_bytes(), LIMIT_BYTES + size_of(_i));
    for (uint32_t i = 0; i < count; i++)
        take(_i, i);
    ck_assert_uint_eq(queue_ready_count(it), 0);
    ck_assert_uint_eq(it->ready.heavy_bytes, 0);
}
END_TEST

START_TEST(test_transient_messages_stay_in_memory_up_to_the_limit)
{
    struct push_outcome outcome = { 0 };
    unsigned stayed = 0;

    while (!outcome.paged) {
        outcome = publish(0, stayed);
        ck_assert(!outcome.stored);
        stayed++;
    }
    ck_assert_uint_eq(stayed - 1, LIMIT_BYTES / (12 + BOUND_MESSAGE_OVERHEAD_BYTES) + 1);
    ck_assert_uint_gt(store_open_bytes(store), 0);
    for (unsigned i = 0; i < stayed; i++)
        take(0, i);
    outcome = publish(0, 0);
    ck_assert(!outcome.paged); /* it is short again */
    take(0, 0);
}
END_TEST

START_TEST(test_long_queue_goes_on_in_one_piece)
{
    for (uint32_t i = 0; i < MESSAGES; i++)
        (void)publish(0, i);
    for (uint32_t i = 0; i < 100; i++) { /* taken as fast as others come */
        take(0, i);
        ck_assert(publish(0, MESSAGES + i).paged);
    }
    for (uint32_t i = 100; i < MESSAGES + 100; i++)
        take(0, i);
}
END_TEST

START_TEST(test_paged_messages_of_a_deleted_queue_leave_the_store)
{
    struct store_stats stats;

    for (uint32_t i = 0; i < MESSAGES; i++)
        (void)publish(0, i);
    turn();
    store_get_stats(store, &stats);
    ck_assert_uint_gt(stats.live_entries, MESSAGES / 2);
    queue_delete(it);
    store_get_stats(store, &stats);
    ck_assert_uint_eq(stats.live_entries, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue memory");
    TCase *tcase = tcase_create("queue memory");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, test_queue_keeps_to_its_memory_whatever_comes, 0,
                        N_ELEMENTS(shape));
    tcase_add_test(tcase, test_transient_messages_stay_in_memory_up_to_the_limit);
    tcase_add_test(tcase, test_long_queue_goes_on_in_one_piece);
    tcase_add_test(tcase, test_paged_messages_of_a_deleted_queue_leave_the_store);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
