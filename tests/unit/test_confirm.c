/*
 * test_confirm.c - runs of publishes become answers, in order, each tag once
 */
#include "unit.h"

#include "broker/confirm.h"

static struct confirm_set set;

static void setup(void)
{
    confirm_init(&set);
}

static void teardown(void)
{
    confirm_release(&set);
}

static void expect_answer(uint64_t durable, uint64_t tag, bool multiple, bool refused)
{
    struct confirm_answer answer;

    ck_assert(confirm_next(&set, durable, &answer));
    ck_assert_uint_eq(answer.tag, tag);
    ck_assert(answer.multiple == multiple);
    ck_assert(answer.refused == refused);
}

static void expect_nothing(uint64_t durable)
{
    struct confirm_answer answer;

    ck_assert(!confirm_next(&set, durable, &answer));
}

START_TEST(test_one_publish_is_answered_alone)
{
    expect_nothing(100);
    ck_assert_int_eq(confirm_add(&set, 0, false), 0);
    expect_answer(0, 1, false, false);
    expect_nothing(100);
    ck_assert(confirm_is_empty(&set));
}
END_TEST

START_TEST(test_a_commit_covers_all_its_publishes)
{
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(confirm_add(&set, 7, false), 0);
    ck_assert_uint_eq(set.count, 1);
    expect_nothing(6);
    expect_answer(7, 1000, true, false);
}
END_TEST

START_TEST(test_a_publish_without_commit_waits_for_those_before_it)
{
    ck_assert_int_eq(confirm_add(&set, 3, false), 0);
    ck_assert_int_eq(confirm_add(&set, 0, false), 0);
    ck_assert_int_eq(confirm_add(&set, 4, false), 0);
    expect_nothing(2);
    expect_answer(3, 2, true, false);
    expect_nothing(3);
    expect_answer(4, 3, false, false);
}
END_TEST

START_TEST(test_refused_publishes_are_answered_apart)
{
    ck_assert_int_eq(confirm_add(&set, 0, false), 0);
    ck_assert_int_eq(confirm_add(&set, 0, true), 0);
    ck_assert_int_eq(confirm_add(&set, 0, true), 0);
    ck_assert_int_eq(confirm_add(&set, 0, false), 0);
    expect_answer(0, 1, false, false);
    expect_answer(0, 3, true, true);
    expect_answer(0, 4, false, false);
    expect_nothing(0);
}
END_TEST

START_TEST(test_every_tag_is_answered_once_over_random_histories)
{
    uint64_t added = 0, answered = 0, commit = 1, durable = 0;
    struct confirm_answer answer;

    srand((unsigned)_i);
    for (int i = 0; i < 20000; i++) {
        switch (rand() % 4) {
        case 0:
            commit++;
            break;
        case 1:
            if (durable < commit)
                durable++;
            while (confirm_next(&set, durable, &answer)) {
                ck_assert_uint_gt(answer.tag, answered);
                ck_assert(answer.multiple == (answer.tag > answered + 1));
                answered = answer.tag;
            }
            break;
        default:
            ck_assert_int_eq(confirm_add(&set, rand() % 3 ? commit : 0, rand() % 10 == 0), 0);
            added++;
        }
        ck_assert_uint_eq(set.next_tag, added + 1);
    }
    while (confirm_next(&set, commit, &answer))
        answered = answer.tag;
    ck_assert_uint_eq(answered, added);
    ck_assert(confirm_is_empty(&set));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("confirm");
    TCase *tcase = tcase_create("confirm");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_one_publish_is_answered_alone);
    tcase_add_test(tcase, test_a_commit_covers_all_its_publishes);
    tcase_add_test(tcase, test_a_publish_without_commit_waits_for_those_before_it);
    tcase_add_test(tcase, test_refused_publishes_are_answered_apart);
    tcase_add_loop_test(tcase, test_every_tag_is_answered_once_over_random_histories, 0, 10);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
