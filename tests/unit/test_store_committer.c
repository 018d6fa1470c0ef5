/*
 * test_store_committer.c - the two threads over a backend that obeys: it blocks, fails and counts
 *
 * Commits are submitted by hand. The backend's write() notes what it was given, apply() waits while
 * it is told to; so the order of things is the test's, and not that of the machine's scheduler.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "store/committer.h"
#include "unit.h"

enum { COMMITS = 40, WAIT_S = 30, OPS = 20 /* more than are applied without the applier */ };

struct fake {
    struct store_backend backend;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool hold;         /* apply() waits */
    int apply_error;   /* what the next apply() returns */
    unsigned writes, applies, syncs, reopens;
    unsigned unapplied, unapplied_max;
    unsigned tidied;
    enum store_backend_state state;
    bool abandoned; /* apply() fails then, held or not */
    void (*backend_changed)(void *context);
    void *context;
};

static struct fake fake;
static struct store_waker waker;
static struct store_committer *committer;
static struct store_commit commits[COMMITS + 1];
static struct store_op op;

static int fake_write(struct store_backend *backend, const struct store_op *const *batches,
                      size_t n_batches, bool sync, struct store_fault *fault)
{
    (void)backend;
    (void)batches;
    (void)n_batches;
    (void)sync;
    (void)fault;
    (void)pthread_mutex_lock(&fake.lock);
    fake.writes++;
    if (++fake.unapplied > fake.unapplied_max)
        fake.unapplied_max = fake.unapplied;
    (void)pthread_cond_broadcast(&fake.changed);
    (void)pthread_mutex_unlock(&fake.lock);
    return 0;
}

static int fake_apply(struct store_backend *backend, struct store_fault *fault)
{
    int rc;

    (void)backend;
    (void)pthread_mutex_lock(&fake.lock);
    while (fake.hold && !fake.abandoned)
        (void)pthread_cond_wait(&fake.changed, &fake.lock);
    rc = fake.abandoned ? -EIO : fake.apply_error;
    fake.apply_error = 0;
    fake.applies++;
    fake.unapplied--;
    (void)pthread_mutex_unlock(&fake.lock);
    if (rc)
        (void)snprintf(fault->text, sizeof fault->text, "told to");
    return rc;
}

static int fake_sync(struct store_backend *backend, struct store_fault *fault)
{
    (void)backend;
    (void)fault;
    (void)pthread_mutex_lock(&fake.lock);
    fake.syncs++;
    (void)pthread_cond_broadcast(&fake.changed);
    (void)pthread_mutex_unlock(&fake.lock);
    return 0;
}

static int fake_reopen(struct store_backend *backend, struct store_fault *fault)
{
    (void)backend;
    (void)fault;
    fake.reopens++;
    fake.unapplied = 0;
    return 0;
}

static enum store_backend_state fake_look(struct store_backend *backend, int *ret_error,
                                          struct store_fault *fault)
{
    enum store_backend_state state;

    (void)backend;
    (void)pthread_mutex_lock(&fake.lock);
    state = fake.state;
    (void)pthread_mutex_unlock(&fake.lock);
    if (state == STORE_BACKEND_WELL)
        return state;
    *ret_error = -ENOSPC;
    (void)snprintf(fault->text, sizeof fault->text, "in state %d", (int)state);
    return state;
}

static void fake_watch(struct store_backend *backend, void (*changed)(void *context),
                       void *context)
{
    (void)backend;
    fake.backend_changed = changed;
    fake.context = context;
}

static void fake_tidy(struct store_backend *backend)
{
    (void)backend;
    (void)pthread_mutex_lock(&fake.lock);
    fake.tidied++;
    (void)pthread_cond_broadcast(&fake.changed);
    (void)pthread_mutex_unlock(&fake.lock);
}

static void fake_abandon(struct store_backend *backend)
{
    (void)backend;
    (void)pthread_mutex_lock(&fake.lock);
    fake.abandoned = true;
    (void)pthread_cond_broadcast(&fake.changed);
    (void)pthread_mutex_unlock(&fake.lock);
}

static const struct store_backend_ops fake_ops = {
    .write = fake_write,
    .apply = fake_apply,
    .sync = fake_sync,
    .reopen = fake_reopen,
    .look = fake_look,
    .watch = fake_watch,
    .tidy = fake_tidy,
    .abandon = fake_abandon,
};

/* The backend's state changes, and it says so. */
static void set_state(enum store_backend_state state)
{
    (void)pthread_mutex_lock(&fake.lock);
    fake.state = state;
    (void)pthread_mutex_unlock(&fake.lock);
    fake.backend_changed(fake.context);
}

static void start(enum store_sync sync)
{
    struct store_options options = store_options_default();

    options.sync = sync;
    options.sync_interval_ms = 5;
    fake.backend.ops = &fake_ops;
    (void)pthread_mutex_init(&fake.lock, NULL);
    (void)pthread_cond_init(&fake.changed, NULL);
    waker.fd = eventfd(0, EFD_NONBLOCK);
    ck_assert_int_ge(waker.fd, 0);
    ck_assert_int_eq(store_committer_start(&fake.backend, &options, &waker, &committer), 0);
}

static int stop(void)
{
    bool ended;
    int rc = store_committer_stop(committer, &ended);

    ck_assert(ended);
    return rc;
}

static void submit(unsigned number, size_t n_ops)
{
    commits[number].number = number;
    commits[number].first_op = &op;
    commits[number].n_ops = n_ops;
    commits[number].bytes = 9u << 20; /* a write of its own */
    store_committer_submit(committer, number > 1 ? &commits[number - 1] : NULL, &commits[number]);
}

/* Until a counter of the backend is there, or the bound. */
static void wait_for(const unsigned *counter, unsigned value)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    (void)pthread_mutex_lock(&fake.lock);
    while (*counter < value)
        ck_assert_int_eq(pthread_cond_timedwait(&fake.changed, &fake.lock, &until), 0);
    (void)pthread_mutex_unlock(&fake.lock);
}

static void hold(bool on)
{
    (void)pthread_mutex_lock(&fake.lock);
    fake.hold = on;
    (void)pthread_cond_broadcast(&fake.changed);
    (void)pthread_mutex_unlock(&fake.lock);
}

static struct store_committer_report collect(void)
{
    struct store_committer_report report;

    store_committer_collect(committer, &report);
    return report;
}

static void wait_applied(uint64_t number)
{
    const struct timespec pause = { 0, 1000000 };
    unsigned tries;

    for (tries = 0; collect().applied < number; tries++) {
        ck_assert_uint_lt(tries, WAIT_S * 1000);
        (void)nanosleep(&pause, NULL);
    }
}

START_TEST(test_what_is_durable_is_told_before_it_is_applied)
{
    start(STORE_SYNC_COMMIT);
    hold(true);
    submit(1, OPS);
    submit(2, OPS);
    wait_for(&fake.writes, 2);
    while (collect().durable < 2)
        ;
    ck_assert_uint_eq(collect().applied, 0);
    hold(false);
    wait_applied(2);
    ck_assert_int_eq(stop(), 0);
    ck_assert_uint_eq(fake.applies, 2);
}
END_TEST

/* What waits to be applied is bounded, and syncs that are due meanwhile are done. */
START_TEST(test_writes_wait_for_the_applier_at_their_bound)
{
    unsigned number;

    start(_i ? STORE_SYNC_INTERVAL : STORE_SYNC_COMMIT);
    hold(true);
    for (number = 1; number <= COMMITS; number++)
        submit(number, OPS);
    wait_for(&fake.writes, 2); /* 18 MiB are past the bound */
    if (_i)
        wait_for(&fake.syncs, 1);
    hold(false);
    wait_applied(COMMITS);
    ck_assert_int_eq(stop(), 0);
    ck_assert_uint_eq(fake.writes, COMMITS);
    ck_assert_uint_eq(fake.applies, COMMITS);
    ck_assert_uint_le(fake.unapplied_max, 3);
    ck_assert_uint_eq(fake.reopens, 0);
}
END_TEST

START_TEST(test_small_writes_are_applied_in_order_with_large_ones)
{
    unsigned number;

    start(STORE_SYNC_COMMIT);
    for (number = 1; number <= COMMITS; number++) {
        submit(number, number % 3 ? 1 : OPS);
        commits[number].bytes = 100;
    }
    ck_assert_int_eq(stop(), 0);
    ck_assert_uint_eq(fake.applies, fake.writes);
    ck_assert_uint_eq(fake.unapplied, 0);
}
END_TEST

/* Applied by the applier or by the writer itself. */
START_TEST(test_refused_write_is_told_and_not_written_again)
{
    start(STORE_SYNC_COMMIT);
    fake.apply_error = -EIO;
    submit(1, _i ? OPS : 1);
    commits[1].bytes = 100;
    while (!collect().stalled_changed)
        ;
    wait_applied(1); /* by reopening, a second later */
    ck_assert_uint_eq(fake.reopens, 1);
    ck_assert_uint_eq(fake.writes, 1);
    submit(2, OPS);
    wait_applied(2);
    ck_assert_int_eq(collect().stalled, 0);
    ck_assert_int_eq(stop(), 0);
    ck_assert_uint_eq(fake.writes, 2);
}
END_TEST

START_TEST(test_backend_that_is_short_of_room_is_told_tidied_and_written_to)
{
    start(STORE_SYNC_COMMIT);
    set_state(STORE_BACKEND_SHORT);
    ck_assert_int_eq(collect().stalled, -ENOSPC);
    submit(1, OPS);
    wait_applied(1);
    ck_assert_int_eq(collect().stalled, -ENOSPC); /* a write that worked does not end it */
    wait_for(&fake.tidied, fake.tidied + 1);
    (void)pthread_mutex_lock(&fake.lock);
    fake.state = STORE_BACKEND_WELL; /* which is found without being told */
    (void)pthread_mutex_unlock(&fake.lock);
    while (collect().stalled)
        ;
    ck_assert_int_eq(stop(), 0);
    ck_assert(!fake.abandoned);
}
END_TEST

START_TEST(test_stop_logs_all_and_abandons_a_backend_that_is_stuck)
{
    unsigned number;

    start(STORE_SYNC_COMMIT);
    hold(true);
    set_state(STORE_BACKEND_STUCK);
    ck_assert_int_eq(collect().stalled, -ENOSPC);
    for (number = 1; number <= COMMITS; number++)
        submit(number, OPS);
    ck_assert_int_eq(stop(), 0);
    ck_assert(fake.abandoned);
    ck_assert_uint_eq(fake.writes, COMMITS);
}
END_TEST

START_TEST(test_backend_that_is_lost_is_told_and_abandoned_at_once)
{
    start(STORE_SYNC_COMMIT);
    hold(true);
    submit(1, OPS);
    set_state(STORE_BACKEND_LOST);
    ck_assert_int_eq(collect().lost, -ENOSPC);
    ck_assert_str_eq(collect().lost_fault.text, "in state 3");
    submit(2, OPS);
    ck_assert_int_eq(stop(), 0);
    ck_assert(fake.abandoned);
    ck_assert_uint_eq(fake.writes, 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_committer");
    TCase *tcase = tcase_create("committer");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_what_is_durable_is_told_before_it_is_applied);
    tcase_add_loop_test(tcase, test_writes_wait_for_the_applier_at_their_bound, 0, 2);
    tcase_add_test(tcase, test_small_writes_are_applied_in_order_with_large_ones);
    tcase_add_loop_test(tcase, test_refused_write_is_told_and_not_written_again, 0, 2);
    tcase_add_test(tcase, test_backend_that_is_short_of_room_is_told_tidied_and_written_to);
    tcase_add_test(tcase, test_stop_logs_all_and_abandons_a_backend_that_is_stuck);
    tcase_add_test(tcase, test_backend_that_is_lost_is_told_and_abandoned_at_once);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
