/*
 * test_unacked.c - unacknowledged deliveries against a sorted array, and what holes may cost
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
    ck_assert_uint_le(unacked_chunk_count(&unacked), 2);
    ck_assert_uint_eq(unacked_first(&unacked)->tag, 1);
    ck_assert_uint_eq(unacked_last(&unacked)->tag, 1000);
}
END_TEST

/* Every 20th stays: chunks that are nearly empty join, so memory follows what is there. */
START_TEST(test_scattered_deliveries_take_few_chunks)
{
    for (uint64_t tag = 1; tag <= 100000; tag++)
        add(tag);
    for (uint64_t tag = 1; tag <= 100000; tag++)
        if (tag % 20)
            unacked_remove(&unacked, unacked_find(&unacked, tag));
    ck_assert_uint_eq(unacked.count, 5000);
    ck_assert_uint_le(unacked_chunk_count(&unacked), 5000 / 16 + 2);
}
END_TEST

START_TEST(test_a_small_window_that_moves_stays_in_one_chunk)
{
    for (uint64_t tag = 1; tag <= 10000; tag++) {
        add(tag);
        if (tag > 2)
            unacked_remove(&unacked, unacked_find(&unacked, tag - 2));
        ck_assert_uint_eq(unacked_chunk_count(&unacked), 1);
    }
}
END_TEST

START_TEST(test_neighbours_of_a_tag_are_found)
{
    for (uint64_t tag = 10; tag <= 5000; tag += 10)
        add(tag);
    for (uint64_t tag = 20; tag <= 4990; tag += 20)
        unacked_remove(&unacked, unacked_find(&unacked, tag));
    ck_assert_uint_eq(unacked_from(&unacked, 1)->tag, 10);
    ck_assert_uint_eq(unacked_from(&unacked, 11)->tag, 30);
    ck_assert_uint_eq(unacked_from(&unacked, 5000)->tag, 5000);
    ck_assert_ptr_null(unacked_from(&unacked, 5001));
    ck_assert_ptr_null(unacked_before(&unacked, 10));
    ck_assert_uint_eq(unacked_before(&unacked, 21)->tag, 10);
    ck_assert_uint_eq(unacked_before(&unacked, 30)->tag, 10);
    ck_assert_uint_eq(unacked_before(&unacked, UINT64_MAX)->tag, 5000);
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
    bool *was = calloc(TAGS_MAX, sizeof *was);
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
            was[tag] = true;
            count--;
        } else if (was[tag]) {
            ck_assert_int_eq(unacked_insert(&unacked, &(struct unacked_delivery){
                                                          .tag = tag, .queue = some_queue }),
                             0);
            present[tag] = true;
            count++;
        }
        ck_assert_uint_eq(unacked.count, count);
    }
    free(was);
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
    tcase_add_test(tcase, test_scattered_deliveries_take_few_chunks);
    tcase_add_test(tcase, test_a_small_window_that_moves_stays_in_one_chunk);
    tcase_add_test(tcase, test_neighbours_of_a_tag_are_found);
    tcase_add_test(tcase, test_what_was_taken_out_can_be_put_back_anywhere);
    tcase_add_loop_test(tcase, test_equals_an_array_over_random_histories, 0, 10);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
