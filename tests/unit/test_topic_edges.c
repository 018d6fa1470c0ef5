/*
 * test_topic_edges.c - the open table of edges against a plain list
 */
#include "broker/topic_edges.h"
#include "unit.h"

enum { EDGES_MAX = 400 };

static struct topic_edges edges;

/* What should be in the table; the address of an entry stands for a binding. */
static struct twin {
    uint32_t hash;
    bool present;
} twin[EDGES_MAX];

static struct binding *leaf_of(size_t i)
{
    return (struct binding *)&twin[i];
}

static struct topic_edge *find(size_t i)
{
    struct topic_edge *edge = topic_edges_first(&edges, twin[i].hash);

    while (edge && edge->leaf != leaf_of(i))
        edge = topic_edges_next(&edges, edge);
    return edge;
}

static void add(size_t i, uint32_t hash)
{
    struct topic_edge *edge = topic_edges_add(&edges, hash);

    ck_assert_ptr_nonnull(edge);
    edge->kind = TOPIC_EDGE_LEAF;
    edge->leaf = leaf_of(i);
    twin[i] = (struct twin){ hash, true };
}

static void take_away(size_t i)
{
    topic_edges_remove(&edges, find(i));
    twin[i].present = false;
}

static void check_all(void)
{
    size_t n = 0;

    for (size_t i = 0; i < EDGES_MAX; i++) {
        ck_assert_int_eq(find(i) != NULL, twin[i].present);
        n += twin[i].present;
    }
    ck_assert_uint_eq(edges.count, n);
}

static void setup(void)
{
    edges = (struct topic_edges){ 0 };
    memset(twin, 0, sizeof twin);
}

static void teardown(void)
{
    for (size_t i = 0; i < EDGES_MAX; i++) {
        if (twin[i].present)
            take_away(i);
    }
    ck_assert_ptr_null(edges.slots);
}

START_TEST(test_nothing_is_found_in_an_empty_table)
{
    ck_assert_ptr_null(topic_edges_first(&edges, 7));
    add(0, 7);
    take_away(0);
    ck_assert_ptr_null(edges.slots);
    ck_assert_ptr_null(topic_edges_first(&edges, 7));
}
END_TEST

/* All in one run of slots, which goes around the end of the table. */
START_TEST(test_edges_of_one_hash_are_all_found)
{
    for (size_t i = 0; i < 50; i++)
        add(i, UINT32_MAX);
    check_all();
    for (size_t i = 0; i < 50; i += 2)
        take_away(i);
    check_all();
}
END_TEST

START_TEST(test_random_edges_are_found_until_they_are_removed)
{
    /* The fewer hashes, the longer the runs. */
    static const uint32_t n_hashes[] = { 1, 8, 64, 500, UINT32_MAX };
    uint32_t state = (uint32_t)_i + 1;

    for (int n = 0; n < 4000; n++) {
        size_t i;

        state = state * 1664525u + 1013904223u;
        i = (state >> 8) % EDGES_MAX;
        if (twin[i].present)
            take_away(i);
        else
            add(i, (state * 2654435761u) % n_hashes[_i]);
        if (n % 16 == 0)
            check_all();
    }
}
END_TEST

START_TEST(test_reserved_edges_do_not_move_others)
{
    struct topic_edge *edge;

    add(0, 3);
    ck_assert(topic_edges_reserve(&edges, 100));
    edge = find(0);
    for (size_t i = 1; i <= 100; i++)
        add(i, 3);
    ck_assert_ptr_eq(find(0), edge);
    ck_assert(topic_edges_reserve(&edges, 0));
    ck_assert_ptr_eq(find(0), edge);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("topic edges");
    TCase *tcase = tcase_create("topic edges");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_nothing_is_found_in_an_empty_table);
    tcase_add_test(tcase, test_edges_of_one_hash_are_all_found);
    tcase_add_loop_test(tcase, test_random_edges_are_found_until_they_are_removed, 0, 5);
    tcase_add_test(tcase, test_reserved_edges_do_not_move_others);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
