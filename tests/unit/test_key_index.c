/*
 * test_key_index.c - bindings under the same key, come and gone in any order, against a naive twin
 */
#include <stdlib.h>

#include "broker/key_index.h"
#include "tests/unit/unit.h"

enum { N_KEYS = 7, N_BINDINGS = 60 };

static const char *const keys[N_KEYS] = { "", "a", "b", "ab", "ba", "stock.usd", "stock.usd.nyse" };

static struct key_index bindings;
static struct binding binding[N_BINDINGS];
static struct binding *twin[N_BINDINGS]; /* those that are in, in the order in which they came */
static size_t n_twin;

static void setup(void)
{
    bindings = (struct key_index){ 0 };
    n_twin = 0;
    for (size_t i = 0; i < N_BINDINGS; i++)
        binding[i] = (struct binding){ .key = amqp_str_from(keys[i % N_KEYS]) };
}

static void add(struct binding *one)
{
    ck_assert_int_eq(key_index_add(&bindings, one), 0);
    twin[n_twin++] = one;
}

static void take_out(size_t at)
{
    key_index_remove(&bindings, twin[at]);
    n_twin--;
    for (size_t i = at; i < n_twin; i++)
        twin[i] = twin[i + 1];
}

static void check(void)
{
    size_t n = 0;

    for (size_t k = 0; k < N_KEYS; k++) {
        struct amqp_str key = amqp_str_from(keys[k]);
        struct binding *found = key_index_find(&bindings, key);

        for (size_t i = 0; i < n_twin; i++) {
            if (!amqp_str_equal(twin[i]->key, key))
                continue;
            ck_assert_ptr_eq(found, twin[i]);
            found = found->next_same;
            n++;
        }
        ck_assert_ptr_null(found);
    }
    ck_assert_uint_eq(n, n_twin);
}

START_TEST(test_first_middle_and_last_of_a_key_may_go)
{
    static const size_t orders[][3] = { { 0, 0, 0 }, { 1, 0, 0 }, { 1, 1, 0 },
                                        { 2, 0, 0 }, { 2, 1, 0 }, { 0, 1, 0 } };

    for (size_t i = 0; i < 3; i++)
        add(&binding[i * N_KEYS]);
    for (size_t i = 0; i < 3; i++) {
        check();
        take_out(orders[_i][i]);
    }
    check();
    ck_assert_uint_eq(bindings.keys.count, 0);
    ck_assert_ptr_null(bindings.keys.buckets);
}
END_TEST

START_TEST(test_random_changes_agree_with_a_naive_twin)
{
    bool in[N_BINDINGS] = { false };

    srand((unsigned)_i);
    bindings.keys.fill = (uint32_t)_i % 3;
    for (unsigned step = 0; step < 2000; step++) {
        size_t which = (size_t)rand() % N_BINDINGS, at = 0;

        if (in[which]) {
            while (twin[at] != &binding[which])
                at++;
            take_out(at);
        } else {
            add(&binding[which]);
        }
        in[which] = !in[which];
        check();
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("key_index");
    TCase *tcase = tcase_create("key_index");

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_loop_test(tcase, test_first_middle_and_last_of_a_key_may_go, 0, 6);
    tcase_add_loop_test(tcase, test_random_changes_agree_with_a_naive_twin, 0, 9);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
