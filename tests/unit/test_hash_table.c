/*
 * test_hash_table.c - growing, emptying, and walking over all elements
 */
#include "broker/hash_table.h"
#include "tests/unit/unit.h"

enum { N_ELEMENTS_MAX = 1000 };

struct element {
    struct hash_link link;
    unsigned visits;
    bool in;
};

static struct hash_table table;
static struct element element[N_ELEMENTS_MAX];

static void setup(void)
{
    table = (struct hash_table){ 0 };
    for (size_t i = 0; i < N_ELEMENTS_MAX; i++)
        element[i] = (struct element){ 0 };
}

/* Two elements each have the same hash. */
static void add(size_t i)
{
    ck_assert_int_eq(hash_table_add(&table, &element[i].link, hash_mix(i / 2)), 0);
    element[i].in = true;
}

static void take_out(size_t i)
{
    hash_table_remove(&table, &element[i].link);
    element[i].in = false;
}

static struct element *of(struct hash_link *link)
{
    return link ? CONTAINER_OF(link, struct element, link) : NULL;
}

static void check_walk(void)
{
    struct hash_link *link = NULL;

    for (size_t i = 0; i < N_ELEMENTS_MAX; i++)
        element[i].visits = 0;
    while ((link = hash_table_walk(&table, link)))
        of(link)->visits++;
    for (size_t i = 0; i < N_ELEMENTS_MAX; i++)
        ck_assert_uint_eq(element[i].visits, element[i].in);
}

static bool is_found(size_t i)
{
    struct hash_link *link = hash_table_first(&table, element[i].link.hash);

    while (link && link != &element[i].link)
        link = hash_table_next(link);
    return link != NULL;
}

static const struct {
    uint32_t fill;
    size_t buckets; /* for 1,000 elements */
} fill_case[] = { { 0, 2048 }, { 1, 1024 }, { 2, 512 } };

START_TEST(test_buckets_are_as_many_as_the_owner_wants)
{
    table.fill = fill_case[_i].fill;
    for (size_t i = 0; i < N_ELEMENTS_MAX; i++)
        add(i);
    ck_assert_uint_eq(table.count, N_ELEMENTS_MAX);
    ck_assert_uint_eq(table.mask + 1, fill_case[_i].buckets);
    for (size_t i = 0; i < N_ELEMENTS_MAX; i++)
        ck_assert(is_found(i));
    for (size_t i = 0; i < N_ELEMENTS_MAX; i++)
        take_out(i);
    ck_assert_ptr_null(table.buckets);
    ck_assert_uint_eq(table.fill, fill_case[_i].fill);
}
END_TEST

START_TEST(test_a_walk_visits_each_element_once)
{
    check_walk();
    for (size_t i = 0; i < N_ELEMENTS_MAX; i++) {
        add(i);
        if (i % 37 == 0)
            check_walk();
    }
    for (size_t i = 0; i < N_ELEMENTS_MAX; i += 3)
        take_out(i);
    check_walk();
    for (size_t i = 0; i < N_ELEMENTS_MAX; i++)
        if (element[i].in)
            take_out(i);
    check_walk();
}
END_TEST

START_TEST(test_what_was_visited_may_go_once_the_next_is_known)
{
    struct hash_link *link, *next;
    unsigned n = 0;

    for (size_t i = 0; i < N_ELEMENTS_MAX; i++)
        add(i);
    for (link = hash_table_walk(&table, NULL); link; link = next, n++) {
        next = hash_table_walk(&table, link);
        hash_table_remove(&table, link);
    }
    ck_assert_uint_eq(n, N_ELEMENTS_MAX);
    ck_assert_uint_eq(table.count, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hash_table");
    TCase *tcase = tcase_create("hash_table");

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_loop_test(tcase, test_buckets_are_as_many_as_the_owner_wants, 0,
                        N_ELEMENTS(fill_case));
    tcase_add_test(tcase, test_a_walk_visits_each_element_once);
    tcase_add_test(tcase, test_what_was_visited_may_go_once_the_next_is_known);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
