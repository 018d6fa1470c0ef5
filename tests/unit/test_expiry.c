/*
 * test_expiry.c - messages leave when their time comes, wherever they stand
 *
 * A queue of entries with a clock of its own against an array that is looked through each time.
 */
#include "unit.h"

#include "broker/expiry.h"

enum { MESSAGES_MAX = 3000 };

struct twin {
    bool ready;
    uint64_t expires_ms;
};

static struct ready ready;
static struct expiry expiry;
static struct twin twin[MESSAGES_MAX];

static void setup(void)
{
    ready_init(&ready);
    expiry_init(&expiry);
    memset(twin, 0, sizeof twin);
}

static void teardown(void)
{
    struct queue_entry entry;

    while (ready_pop(&ready, &entry))
        ;
    ready_release(&ready);
    expiry_release(&expiry);
}

static void push(uint64_t sequence, uint64_t expires_ms, uint8_t priority, bool priorities)
{
    struct queue_entry entry = { .sequence = sequence,
                                 .expires_ms = expires_ms,
                                 .priority = priority };

    ck_assert_int_eq(expiry_admit(&expiry, &entry, ready.count == 0, priorities), 0);
    ck_assert_int_eq(ready_push(&ready, &entry), 0);
    twin[sequence] = (struct twin){ true, expires_ms };
}

/* Everything that is due leaves, as queue_upkeep.c does it; the twin must agree. */
static void expire(uint64_t now_ms)
{
    struct queue_entry *oldest;
    struct queue_entry entry;

    while ((oldest = ready_oldest(&ready)) && oldest->expires_ms && oldest->expires_ms <= now_ms) {
        ready_remove(&ready, oldest, &entry);
        expiry_leave(&expiry, &entry);
        twin[entry.sequence].ready = false;
    }
    while (expiry_take_due(&expiry, &ready, now_ms, &entry)) {
        ck_assert_uint_le(entry.expires_ms, now_ms);
        ck_assert(twin[entry.sequence].ready);
        twin[entry.sequence].ready = false;
    }
    for (unsigned i = 1; i < MESSAGES_MAX; i++)
        if (twin[i].ready && twin[i].expires_ms && twin[i].expires_ms <= now_ms)
            ck_abort_msg("message %u with time %llu is still there at %llu", i,
                         (unsigned long long)twin[i].expires_ms, (unsigned long long)now_ms);
}

START_TEST(test_one_ttl_for_all_needs_no_order)
{
    for (uint64_t i = 1; i <= 1000; i++)
        push(i, 100 + i, 0, false);
    ck_assert_ptr_null(expiry.order);
    expire(600);
    ck_assert_uint_eq(ready.count, 500);
}
END_TEST

START_TEST(test_it_is_idle_until_a_message_has_a_time)
{
    ck_assert(expiry_is_idle(&expiry));
    push(1, 0, 0, false);
    push(2, 0, 0, false);
    ck_assert(expiry_is_idle(&expiry));
    push(3, 50, 0, false); /* into the order */
    ck_assert(!expiry_is_idle(&expiry));
    expire(50);
    ck_assert(expiry_is_idle(&expiry));
    ck_assert_ptr_null(expiry.order);
}
END_TEST

START_TEST(test_one_without_a_time_hides_none_before_it)
{
    push(1, 50, 0, false);
    push(2, 0, 0, false);
    push(3, 0, 0, false);
    ck_assert(!expiry_is_idle(&expiry));
    ck_assert_ptr_null(expiry.order);
    push(4, 60, 0, false);
    ck_assert_uint_eq(expiry.order->count, 1);
    ck_assert(!expiry_is_idle(&expiry));
}
END_TEST

START_TEST(test_nothing_is_ready_before_the_first_message)
{
    struct ready_walk walk = ready_walk(&ready);
    struct queue_entry entry;

    ck_assert_ptr_null(ready.base);
    ck_assert_ptr_null(ready_first(&ready));
    ck_assert_ptr_null(ready_oldest(&ready));
    ck_assert_ptr_null(ready_find(&ready, 0, 1));
    ck_assert_ptr_null(ready_walk_next(&walk));
    ck_assert(!ready_pop(&ready, &entry));
}
END_TEST

START_TEST(test_a_message_expires_behind_a_live_head)
{
    push(1, 0, 0, false);
    push(2, 50, 0, false);
    expire(49);
    ck_assert_uint_eq(ready.count, 2);
    ck_assert_uint_eq(expiry_next_ms(&expiry), 50);
    expire(50);
    ck_assert_uint_eq(ready.count, 1);
    ck_assert_uint_eq(ready_first(&ready)->sequence, 1);
}
END_TEST

START_TEST(test_a_message_expires_behind_one_that_came_back)
{
    struct queue_entry entry;

    push(1, 0, 0, false);
    ck_assert(ready_pop(&ready, &entry));
    push(2, 50, 0, false);
    ck_assert_ptr_null(expiry.order);
    ck_assert_int_eq(ready_put_back(&ready, &entry), 0);
    ck_assert_uint_eq(ready_first(&ready)->sequence, 1);
    expire(50);
    ck_assert_uint_eq(ready.count, 1);
    ck_assert_uint_eq(ready_first(&ready)->sequence, 1);
}
END_TEST

START_TEST(test_records_of_messages_that_left_do_not_pile_up)
{
    struct queue_entry entry;

    push(1, 0, 0, false);
    for (uint64_t i = 2; i < MESSAGES_MAX; i++) {
        push(i, 1000000, 0, false);
        ready_remove(&ready, ready_find(&ready, 0, i), &entry);
        expiry_leave(&expiry, &entry);
        twin[i].ready = false;
        expiry_take_due(&expiry, &ready, 1, &entry);
        ck_assert(!expiry.order || expiry.order->count <= 200);
    }
}
END_TEST

/* Even loops without priorities, odd ones with. */
START_TEST(test_equals_an_array_over_random_histories)
{
    bool priorities = _i % 2;
    uint64_t now_ms = 1, out[MESSAGES_MAX];
    unsigned n_out = 0, next = 1;
    struct queue_entry entry;

    srand((unsigned)_i);
    while (next < MESSAGES_MAX) {
        switch (rand() % 6) {
        case 0:
            now_ms += (uint64_t)rand() % 20;
            expire(now_ms);
            break;
        case 1:
            if (!ready_pop(&ready, &entry))
                break;
            expiry_leave(&expiry, &entry);
            twin[entry.sequence].ready = false;
            out[n_out++] = entry.sequence;
            break;
        case 2:
            if (!n_out)
                break;
            entry = (struct queue_entry){ .sequence = out[--n_out] };
            entry.expires_ms = twin[entry.sequence].expires_ms;
            entry.priority = priorities ? (uint8_t)(entry.sequence % 5) : 0;
            if (entry.expires_ms)
                ck_assert_int_eq(expiry_admit(&expiry, &entry, false, true), 0);
            ck_assert_int_eq(ready_put_back(&ready, &entry), 0);
            twin[entry.sequence].ready = true;
            break;
        default:
            push(next, rand() % 3 ? now_ms + (uint64_t)rand() % 200 : 0,
                 priorities ? (uint8_t)(next % 5) : 0, priorities);
            next++;
        }
    }
    expire(now_ms + 1000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("expiry");
    TCase *tcase = tcase_create("expiry");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_one_ttl_for_all_needs_no_order);
    tcase_add_test(tcase, test_it_is_idle_until_a_message_has_a_time);
    tcase_add_test(tcase, test_one_without_a_time_hides_none_before_it);
    tcase_add_test(tcase, test_nothing_is_ready_before_the_first_message);
    tcase_add_test(tcase, test_a_message_expires_behind_a_live_head);
    tcase_add_test(tcase, test_a_message_expires_behind_one_that_came_back);
    tcase_add_test(tcase, test_records_of_messages_that_left_do_not_pile_up);
    tcase_add_loop_test(tcase, test_equals_an_array_over_random_histories, 0, 20);
    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
