/*
 * test_timers.c - the heap of deadlines, against a naive twin
 */
#include <stdlib.h>

#include "amqp/bounds.h"
#include "broker/timers.h"
#include "tests/unit/unit.h"

enum { N_TIMERS = 100 };

struct probe {
    struct timer timer;
    unsigned fired;
    bool set; /* what the twin knows */
    uint64_t due_ms;
};

static struct timers timers;
static struct probe probe[N_TIMERS];
static uint64_t last_due_ms;

static void on_fire(struct timer *timer, uint64_t now_ms)
{
    struct probe *fired = CONTAINER_OF(timer, struct probe, timer);

    ck_assert(fired->set);
    ck_assert_uint_le(fired->due_ms, now_ms);
    ck_assert_uint_ge(fired->due_ms, last_due_ms);
    last_due_ms = fired->due_ms;
    fired->set = false;
    fired->fired++;
}

static void setup(void)
{
    timers = (struct timers){ 0 };
    last_due_ms = 0;
    for (size_t i = 0; i < N_TIMERS; i++)
        probe[i] = (struct probe){ .timer.fire = on_fire };
}

static void teardown(void)
{
    timers_release(&timers);
}

static void set(struct probe *one, uint64_t due_ms)
{
    ck_assert_int_eq(timers_set(&timers, &one->timer, due_ms), 0);
    one->set = true;
    one->due_ms = due_ms;
}

static uint64_t twin_next(void)
{
    uint64_t next_ms = UINT64_MAX;

    for (size_t i = 0; i < N_TIMERS; i++) {
        if (probe[i].set && probe[i].due_ms < next_ms)
            next_ms = probe[i].due_ms;
    }
    return next_ms;
}

static void run(uint64_t now_ms)
{
    last_due_ms = 0;
    timers_run(&timers, now_ms);
    for (size_t i = 0; i < N_TIMERS; i++)
        ck_assert(!probe[i].set || probe[i].due_ms > now_ms);
}

START_TEST(test_timer_fires_once_when_it_is_due_and_not_before)
{
    set(&probe[0], 100);
    timers_run(&timers, 99);
    ck_assert_uint_eq(probe[0].fired, 0);
    timers_run(&timers, 100);
    timers_run(&timers, 1000);
    ck_assert_uint_eq(probe[0].fired, 1);
    ck_assert_uint_eq(timers_next(&timers), UINT64_MAX);
}
END_TEST

START_TEST(test_cancelled_timer_does_not_fire)
{
    set(&probe[0], 100);
    set(&probe[1], 200);
    timers_cancel(&timers, &probe[0].timer);
    timers_cancel(&timers, &probe[0].timer); /* twice is fine */
    ck_assert_uint_eq(timers_next(&timers), 200);
    timers_run(&timers, 300);
    ck_assert_uint_eq(probe[0].fired, 0);
    ck_assert_uint_eq(probe[1].fired, 1);
}
END_TEST

static void fire_and_set_again(struct timer *timer, uint64_t now_ms)
{
    struct probe *fired = CONTAINER_OF(timer, struct probe, timer);

    fired->fired++;
    ck_assert_int_eq(timers_set(&timers, timer, now_ms + 10), 0);
}

START_TEST(test_timer_may_set_itself_again_while_it_fires)
{
    probe[0].timer.fire = fire_and_set_again;
    set(&probe[0], 10);
    for (uint64_t now_ms = 10; now_ms <= 50; now_ms += 10)
        timers_run(&timers, now_ms);
    ck_assert_uint_eq(probe[0].fired, 5);
    ck_assert_uint_eq(timers_next(&timers), 60);
}
END_TEST

START_TEST(test_random_changes_agree_with_a_naive_twin)
{
    uint64_t now_ms = 0;

    srandom((unsigned)_i + 1);
    for (unsigned step = 0; step < 3000; step++) {
        struct probe *one = &probe[(unsigned)random() % N_TIMERS];

        switch (random() % 4) {
        case 0:
        case 1:
            set(one, now_ms + (unsigned)random() % 500);
            break;
        case 2:
            timers_cancel(&timers, &one->timer);
            one->set = false;
            break;
        case 3:
            now_ms += (unsigned)random() % 20;
            run(now_ms);
            break;
        }
        ck_assert_uint_eq(timers_next(&timers), twin_next());
    }
    run(now_ms + 500);
    ck_assert_uint_eq(timers.count, 0);
}
END_TEST

static void do_nothing(struct timer *timer, uint64_t now_ms)
{
    (void)timer;
    (void)now_ms;
}

START_TEST(test_very_many_that_are_due_together_take_several_runs)
{
    enum { MANY = 2 * BOUND_TIMERS_A_TURN + 1 };
    struct timer *many = calloc(MANY, sizeof *many);
    size_t left = MANY;

    for (size_t i = 0; i < MANY; i++) {
        many[i].fire = do_nothing;
        ck_assert_int_eq(timers_set(&timers, &many[i], 5), 0);
    }
    for (unsigned run = 0; run < 3; run++) {
        ck_assert_uint_eq(timers_next(&timers), 5);
        timers_run(&timers, 5);
        ck_assert_uint_le(left - timers.count, BOUND_TIMERS_A_TURN);
        left = timers.count;
    }
    ck_assert_uint_eq(left, 0);
    free(many);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("timers");
    TCase *tcase = tcase_create("timers");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_timer_fires_once_when_it_is_due_and_not_before);
    tcase_add_test(tcase, test_cancelled_timer_does_not_fire);
    tcase_add_test(tcase, test_timer_may_set_itself_again_while_it_fires);
    tcase_add_loop_test(tcase, test_random_changes_agree_with_a_naive_twin, 0, 10);
    tcase_add_test(tcase, test_very_many_that_are_due_together_take_several_runs);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
