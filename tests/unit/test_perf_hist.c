/*
 * test_perf_hist.c - leveret-perf's histogram: 1 % of the truth, whatever the value
 */
#include "perf/hist.h"
#include "unit.h"

#include <string.h>

static struct hist hist, earlier, part;

static void clear(void)
{
    memset(&hist, 0, sizeof hist);
    memset(&earlier, 0, sizeof earlier);
}

START_TEST(small_values_are_exact)
{
    uint64_t value;

    clear();
    for (value = 0; value < 100; value++)
        hist_add(&hist, value, 1);
    ck_assert_uint_eq(hist_percentile(&hist, 50), 49);
    ck_assert_uint_eq(hist_percentile(&hist, 99), 98);
    ck_assert_uint_eq(hist_percentile(&hist, 100), 99);
}
END_TEST

START_TEST(every_magnitude_is_within_one_percent)
{
    uint64_t value, got;

    for (value = 1; value < UINT64_MAX / 3; value = value * 3 / 2 + 1) {
        clear();
        hist_add(&hist, value, 1);
        hist_add(&hist, UINT64_MAX, 1); /* so that the greatest value does not bound the cell */
        got = hist_percentile(&hist, 50);
        ck_assert_uint_ge(got, value);
        ck_assert_uint_le(got - value, value / 100);
    }
    ck_assert_uint_eq(hist_percentile(&hist, 100), UINT64_MAX);
}
END_TEST

START_TEST(weights_count)
{
    clear();
    hist_add(&hist, 10, 99);
    hist_add(&hist, 200, 1);
    ck_assert_uint_eq(hist.total, 100);
    ck_assert_uint_eq(hist_percentile(&hist, 99), 10);
    ck_assert_uint_eq(hist_percentile(&hist, 99.9), 200);
}
END_TEST

START_TEST(an_empty_one_says_0)
{
    clear();
    ck_assert_uint_eq(hist_percentile(&hist, 50), 0);
}
END_TEST

START_TEST(the_difference_has_only_what_came_since)
{
    clear();
    hist_add(&hist, 1000000, 50);
    earlier = hist;
    hist_add(&hist, 20, 10);
    hist_since(&hist, &earlier, &part);
    ck_assert_uint_eq(part.total, 10);
    ck_assert_uint_eq(hist_percentile(&part, 100), 20);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("perf_hist");
    TCase *tests = tcase_create("hist");

    tcase_add_test(tests, small_values_are_exact);
    tcase_add_test(tests, every_magnitude_is_within_one_percent);
    tcase_add_test(tests, weights_count);
    tcase_add_test(tests, an_empty_one_says_0);
    tcase_add_test(tests, the_difference_has_only_what_came_since);
    suite_add_tcase(suite, tests);
    return unit_run(suite);
}
