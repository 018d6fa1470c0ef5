/*
 * test_unacked.c - the ring of unacknowledged deliveries against a sorted array
 */
#include "unit.h"

#include "broker/unacked.h"

enum { TAGS_MAX = 5000 };

static struct unacked unacked;
static struct queue *const some_queue = (struct queue *)&unacked; /* only its address counts */

static void setup(void)
{
    unacked_init(&unacked);
}

static void teardown(void)
{
    struct unacked_delivery *first;

    while ((first = unacked_first(&unacked)))
        unacked_remove(&unacked, first);
    unacked_release(&unacked);
}

static void add(uint64_t tag)
{
    ck_assert_int_eq(
        unacked_add(&unacked, &(struct unacked_delivery){ .tag = tag, .queue = some_queue }), 0);
}

START_TEST(test_tags_with_gaps_are_found)
{
    for (uint64_t tag = 3; tag < 3000; tag += tag % 7 + 1)
        add(tag);
    for (uint64_t tag = 3; tag < 3000; tag += tag % 7 + 1)
        ck_assert_uint_eq(unacked_find(&unacked, tag)->tag, tag);
    ck_assert_ptr_null(unacked_find(&unacked, 1));
    ck_assert_ptr_null(unacked_find(&unacked, 4));
    ck_assert_ptr_null(unacked_find(&unacked, UINT64_MAX));
}
END_TEST

START_TEST(test_holes_are_closed)
{
    for (uint64_t tag = 1; tag <= 1000; tag++)
        add(tag);
    for (uint64_t tag = 2; tag < 1000; tag++)
        unacked_remove(&unacked, unacked_find(&unacked, tag));
    ck_assert_uint_eq(unacked.count, 2);
    ck_assert_uint_lt(unacked.used, 200);
    ck_assert_uint_eq(unacked_first(&unacked)->tag, 1);
    ck_assert_uint_eq(unacked_last(&unacked)->tag, 1000);
}
END_TEST

START_TEST(test_what_was_taken_out_can_be_put_back_anywhere)
{
    for (uint64_t tag = 1; tag <= 300; tag++)
        add(tag);
    for (uint64_t tag = 1; tag <= 300; tag += 2)
        unacked_remove(&unacked, unacked_find(&unacked, tag));
    for (uint64_t tag = 299; tag <= 300; tag -= 2)
        ck_assert_int_eq(unacked_insert(&unacked, &(struct unacked_delivery){
                                                      .tag = tag, .queue = some_queue }),
                         0);
    for (uint64_t tag = 1; tag <= 300; tag++) {
        ck_assert_uint_eq(unacked_first(&unacked)->tag, tag);
        unacked_remove(&unacked, unacked_first(&unacked));
    }
}
END_TEST

START_TEST(test_equals_an_array_over_random_histories)
{
    bool *present = calloc(TAGS_MAX, sizeof *present);
    uint64_t next = 1;
    unsigned count = 0;

    srand((unsigned)_i);
    while (next < TAGS_MAX) {
        uint64_t tag = 1 + (uint64_t)rand() % next;
        struct unacked_delivery *found = unacked_find(&unacked, tag);

        ck_assert((found != NULL) == present[tag]);
        if (rand() % 2) {
            add(next);
            present[next] = true;
            count++;
            next += (uint64_t)rand() % 3 + 1;
        } else if (found) {
            unacked_remove(&unacked, found);
            present[tag] = false;
            count--;
        }
        ck_assert_uint_eq(unacked.count, count);
    }
    free(present);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("unacked");
    TCase *tcase = tcase_create("unacked");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_tags_with_gaps_are_found);
    tcase_add_test(tcase, test_holes_are_closed);
    tcase_add_test(tcase, test_what_was_taken_out_can_be_put_back_anywhere);
    tcase_add_loop_test(tcase, test_equals_an_array_over_random_histories, 0, 10);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
