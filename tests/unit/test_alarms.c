/*
 * test_alarms.c - alarms follow free space and memory, second by second
 */
#include <errno.h>

#include "broker/broker.h"
#include "server/alarms.h"
#include "server/loop.h"
#include "tests/unit/unit.h"

enum { LIMIT_BYTES = 50000000 };

static struct loop *loop;
static struct alarms *alarms;
static uint64_t now_ms, free_bytes;
static int free_error;
static unsigned changes, looks, asked, trims, give_ups, unfinished;
static void (*on_growth)(void *context);
static void *on_growth_context;
static bool raised, memory_raised, paging;
static uint64_t resident_bytes, used_bytes, worked_us, trim_frees_bytes;

void broker_begin(struct broker *broker, uint64_t monotonic_ms, uint64_t wall_ms)
{
    (void)broker;
    (void)monotonic_ms;
    (void)wall_ms;
}

int broker_end(struct broker *broker)
{
    (void)broker;
    return -1;
}

uint32_t broker_gather_us(const struct broker *broker)
{
    (void)broker;
    return 0;
}

void broker_gather_over(struct broker *broker)
{
    (void)broker;
}

int store_fd(const struct store *store)
{
    (void)store;
    return -1;
}

void store_poll(struct store *store)
{
    (void)store;
}

int store_lost(const struct store *store, const char **ret_text)
{
    (void)store;
    (void)ret_text;
    return 0;
}

void broker_set_paging(struct broker *broker, bool low)
{
    (void)broker;
    ck_assert_int_ne(paging, low);
    paging = low;
}

void broker_set_alarm(struct broker *broker, enum broker_alarm alarm, bool is_raised)
{
    (void)broker;
    if (alarm == BROKER_ALARM_MEMORY) {
        ck_assert_int_ne(memory_raised, is_raised);
        memory_raised = is_raised;
        return;
    }
    ck_assert_int_eq(alarm, BROKER_ALARM_DISK);
    ck_assert_int_ne(raised, is_raised);
    raised = is_raised;
    changes++;
}

void broker_watch_memory(struct broker *broker, void (*look)(void *context), void *context)
{
    (void)broker;
    on_growth = look;
    on_growth_context = context;
}

bool broker_give_up_unfinished(struct broker *broker, uint64_t keep_bytes)
{
    (void)broker;
    ck_assert(memory_raised);
    ck_assert_uint_eq(keep_bytes, LIMIT_BYTES / BOUND_UNFINISHED_DIVISOR);
    give_ups++;
    return unfinished > 0 && --unfinished > 0;
}

static int imagined_disk(const char *directory, uint64_t *ret_bytes)
{
    ck_assert_str_eq(directory, "data");
    looks++;
    if (free_error)
        return free_error;
    *ret_bytes = free_bytes;
    return 0;
}

static uint64_t imagined_resident(void)
{
    return resident_bytes > used_bytes ? resident_bytes : used_bytes;
}

static uint64_t imagined_memory(void)
{
    asked++;
    return used_bytes;
}

static uint64_t imagined_processor(void)
{
    return worked_us;
}

static void count_trim(void)
{
    trims++;
    resident_bytes -= trim_frees_bytes < resident_bytes ? trim_frees_bytes : resident_bytes;
}

static uint64_t fixed_clock(void)
{
    return now_ms;
}

static void start(void)
{
    struct alarms_settings settings = { .directory = "data",
                                        .node_name = "leveret@test",
                                        .disk_free_min_bytes = LIMIT_BYTES,
                                        .memory_max_bytes = LIMIT_BYTES,
                                        .memory_paging_bytes = LIMIT_BYTES / 2,
                                        .disk_free = imagined_disk,
                                        .memory_resident = imagined_resident,
                                        .memory_used = imagined_memory,
                                        .processor_us = imagined_processor,
                                        .memory_trim = count_trim };

    ck_assert_int_eq(alarms_new(loop, (struct broker *)&now_ms, &settings, &alarms), 0);
}

static void setup(void)
{
    now_ms = 5000;
    free_bytes = LIMIT_BYTES;
    free_error = 0;
    changes = looks = asked = trims = give_ups = unfinished = 0;
    raised = memory_raised = paging = false;
    resident_bytes = used_bytes = worked_us = trim_frees_bytes = 0;
    ck_assert_int_eq(loop_new((struct broker *)&now_ms, &loop), 0);
    loop_set_clock(loop, fixed_clock);
}

static void teardown(void)
{
    alarms_free(alarms);
    loop_free(loop);
}

static void second(void)
{
    now_ms += 1000;
    loop_turn(loop, true);
}

START_TEST(test_alarm_is_raised_below_the_limit_and_cleared_at_it)
{
    start();
    ck_assert(!raised); /* exactly the limit is enough */
    free_bytes = LIMIT_BYTES - 1;
    second();
    ck_assert(raised);
    free_bytes = LIMIT_BYTES;
    second();
    ck_assert(!raised);
    ck_assert_uint_eq(changes, 2);
}
END_TEST

START_TEST(test_full_disk_is_seen_before_the_first_client)
{
    free_bytes = 0;
    start();
    ck_assert(raised);
}
END_TEST

START_TEST(test_it_looks_once_a_second_and_speaks_of_changes_only)
{
    start();
    loop_turn(loop, true);
    ck_assert_uint_eq(looks, 1);
    for (unsigned i = 0; i < 5; i++)
        second();
    ck_assert_uint_eq(looks, 6);
    ck_assert_uint_eq(changes, 0);
}
END_TEST

START_TEST(test_memory_alarm_follows_what_is_in_use)
{
    used_bytes = LIMIT_BYTES;
    start();
    ck_assert(!memory_raised); /* exactly the limit is allowed */
    used_bytes++;
    second();
    ck_assert(memory_raised);
    second();
    used_bytes = 0;
    second();
    ck_assert(!memory_raised);
    ck_assert(!raised);
}
END_TEST

START_TEST(test_the_allocator_is_asked_only_past_a_limit)
{
    resident_bytes = LIMIT_BYTES / 2;
    start();
    second();
    ck_assert_uint_eq(asked, 0);
    resident_bytes = 2 * LIMIT_BYTES; /* freed, but still with the process */
    second();
    ck_assert_uint_eq(asked, 1);
    ck_assert(!memory_raised);
    ck_assert(!paging);
}
END_TEST

/* The broker has allocated so much that it asks for a look. */
static void grow(void)
{
    on_growth(on_growth_context);
}

START_TEST(test_alarm_is_raised_within_the_second_when_memory_grows)
{
    start();
    used_bytes = LIMIT_BYTES / 2 + 1;
    grow();
    ck_assert(paging);
    ck_assert(!memory_raised);
    used_bytes = LIMIT_BYTES;
    grow();
    ck_assert(!memory_raised);
    used_bytes++;
    grow();
    ck_assert(memory_raised);
    used_bytes = 0;
    grow();
    ck_assert(memory_raised); /* it is cleared by the second */
    ck_assert(paging);
    second();
    ck_assert(!memory_raised);
    ck_assert(!paging);
}
END_TEST

START_TEST(test_growth_asks_the_allocator_only_as_the_process_grows)
{
    resident_bytes = LIMIT_BYTES + 1; /* most of it freed */
    start();
    ck_assert_uint_eq(asked, 1);
    for (unsigned i = 0; i < 10; i++)
        grow();
    ck_assert_uint_eq(asked, 1);
    resident_bytes += BOUND_MEMORY_LOOK_BYTES - 1;
    grow();
    ck_assert_uint_eq(asked, 1);
    resident_bytes++;
    used_bytes = LIMIT_BYTES + 1;
    grow();
    ck_assert_uint_eq(asked, 2);
    ck_assert(memory_raised);
    grow();
    ck_assert_uint_eq(asked, 2); /* nothing is left to raise */
}
END_TEST

START_TEST(test_unfinished_messages_are_given_up_while_the_alarm_is_raised)
{
    start();
    second();
    ck_assert_uint_eq(give_ups, 0);
    used_bytes = LIMIT_BYTES + 1;
    unfinished = 3; /* calls until there are none */
    second();
    ck_assert_uint_eq(give_ups, 1);
    now_ms += 10;
    loop_turn(loop, true);
    ck_assert_uint_eq(give_ups, 2);
    now_ms += 10;
    loop_turn(loop, true);
    ck_assert_uint_eq(give_ups, 3);
    now_ms += 10;
    loop_turn(loop, true);
    ck_assert_uint_eq(give_ups, 3);
    second();
    ck_assert_uint_eq(give_ups, 4);
    used_bytes = 0;
    second();
    ck_assert_uint_eq(give_ups, 4);
}
END_TEST

static void seconds_of_little_work(unsigned count)
{
    while (count-- > 0) {
        worked_us += 10000;
        second();
    }
}

START_TEST(test_memory_is_given_back_once_when_a_burst_is_over)
{
    start();
    seconds_of_little_work(1);
    ck_assert_uint_eq(trims, 0); /* quiet, but nothing has been done */
    worked_us += 900000;
    second();
    ck_assert_uint_eq(trims, 0); /* busy */
    seconds_of_little_work(1);
    ck_assert_uint_eq(trims, 1);
    seconds_of_little_work(10);
    ck_assert_uint_eq(trims, 1);
}
END_TEST

START_TEST(test_giving_back_is_tried_less_often_where_it_is_of_little_use)
{
    resident_bytes = LIMIT_BYTES / 2;
    trim_frees_bytes = 0;
    start();
    seconds_of_little_work(25);
    ck_assert_uint_eq(trims, 1);
    seconds_of_little_work(49);
    ck_assert_uint_eq(trims, 1);
    trim_frees_bytes = 20u << 20;
    seconds_of_little_work(1);
    ck_assert_uint_eq(trims, 2);
    seconds_of_little_work(25);
    ck_assert_uint_eq(trims, 3);
}
END_TEST

START_TEST(test_alarm_stays_while_nothing_can_be_told)
{
    free_bytes = 0;
    start();
    free_bytes = UINT64_MAX;
    free_error = -EIO;
    second();
    ck_assert(raised);
    free_error = 0;
    second();
    ck_assert(!raised);
}
END_TEST

START_TEST(test_long_queues_leave_memory_before_publishers_are_blocked)
{
    start();
    used_bytes = LIMIT_BYTES / 2;
    second();
    ck_assert(!paging);
    used_bytes++;
    second();
    ck_assert(paging);
    ck_assert(!memory_raised);
    used_bytes = 0;
    second();
    ck_assert(!paging);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("alarms");
    TCase *tcase = tcase_create("alarms");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_alarm_is_raised_below_the_limit_and_cleared_at_it);
    tcase_add_test(tcase, test_full_disk_is_seen_before_the_first_client);
    tcase_add_test(tcase, test_it_looks_once_a_second_and_speaks_of_changes_only);
    tcase_add_test(tcase, test_memory_alarm_follows_what_is_in_use);
    tcase_add_test(tcase, test_alarm_is_raised_within_the_second_when_memory_grows);
    tcase_add_test(tcase, test_growth_asks_the_allocator_only_as_the_process_grows);
    tcase_add_test(tcase, test_unfinished_messages_are_given_up_while_the_alarm_is_raised);
    tcase_add_test(tcase, test_the_allocator_is_asked_only_past_a_limit);
    tcase_add_test(tcase, test_memory_is_given_back_once_when_a_burst_is_over);
    tcase_add_test(tcase, test_giving_back_is_tried_less_often_where_it_is_of_little_use);
    tcase_add_test(tcase, test_alarm_stays_while_nothing_can_be_told);
    tcase_add_test(tcase, test_long_queues_leave_memory_before_publishers_are_blocked);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
