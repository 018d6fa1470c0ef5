/*
 * test_store_power.c - the log over a disk that forgets: what was confirmed is there, and it opens
 *
 * A history appends and syncs records to a log, lets the database take some into its files, lets
 * go of segments, is killed and starts again, meets failing operations, stops in good order. It is
 * cut off after each of its operations in turn; then the disk is what disk_model.h makes of it, in
 * many ways, and the next process reads it: it must open, hand out each confirmed record as it was
 * written, none twice, none that was never written. It goes on from there and is cut off again.
 *
 * The database is a number here: what it has in files is never lost, and it asks for what follows.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <malloc.h>

#include "disk_model.h"
#include "store/log.h"
#include "unit.h"

enum {
    SEGMENT_BYTES = 8192,
    RECORD_BYTES_MAX = 6000,
    NUMBERS_MAX = 600,
    CHOICES_MAX = 24,
    CUTS_IN_A_ROW = 3,
};

/* What was written as which record; a failed one may be written again with other octets. */
struct written {
    uint8_t first, last; /* attempts that the disk may have */
};

/** struct history - all that is known about a disk and its log, on both sides of a cut */
struct history {
    struct disk *disk;
    struct store_log *log;
    struct store_fault fault;
    struct written written[NUMBERS_MAX];
    uint64_t confirmed; /* records up to this one must be there */
    uint64_t in_files;  /* of the database */
    uint64_t n_seen;    /* of the replay: the last */
    bool synced;
};

static size_t size_of(uint64_t number, unsigned attempt)
{
    uint64_t mixed = (number * 2654435761u + attempt * 40503u) >> 3;

    return mixed % 7 == 0 ? mixed % RECORD_BYTES_MAX : mixed % 700;
}

static uint8_t octet_of(uint64_t number, unsigned attempt, size_t at)
{
    return (uint8_t)(number * 31 + attempt * 7 + at + (at >> 8));
}

static bool is_attempt(struct amqp_bytes record, uint64_t number, unsigned attempt)
{
    if (record.size != size_of(number, attempt))
        return false;
    for (size_t i = 0; i < record.size; i++)
        if (record.data[i] != octet_of(number, attempt, i))
            return false;
    return true;
}

static int on_record(void *context, uint64_t number, struct amqp_bytes record)
{
    struct history *history = context;
    struct written *written = &history->written[number];
    unsigned attempt = written->last;

    ck_assert_uint_eq(number, history->n_seen + 1);
    ck_assert_uint_lt(number, NUMBERS_MAX);
    while (attempt >= written->first && attempt > 0 && !is_attempt(record, number, attempt))
        attempt--;
    ck_assert_msg(attempt >= written->first && attempt > 0, "record %llu is not as it was written",
                  (unsigned long long)number);
    *written = (struct written){ (uint8_t)attempt, (uint8_t)attempt };
    history->n_seen = number;
    return 0;
}

static int try_start(struct history *history, bool synced)
{
    const struct store_log_settings settings = { SEGMENT_BYTES, synced, NULL };
    int rc;

    history->log = NULL;
    history->synced = synced;
    history->n_seen = history->in_files;
    rc = store_log_open_files(&history->disk->files, "disk", &settings, &history->fault,
                              &history->log);
    if (rc == 0)
        rc = store_log_replay(history->log, history->in_files, on_record, history,
                              &history->fault);
    if (rc)
        return rc;
    ck_assert_uint_ge(history->n_seen, history->confirmed);
    history->confirmed = history->n_seen; /* somebody has seen them now */
    for (uint64_t number = history->n_seen + 1; number < NUMBERS_MAX; number++)
        history->written[number].first = (uint8_t)(history->written[number].last + 1);
    return 0;
}

static void leave(struct history *history)
{
    store_log_close(history->log);
    history->log = NULL;
}

/* A process starts, again while the disk fails. Nonzero: it was cut off; no other excuse counts. */
static int start(struct history *history, bool synced)
{
    int rc;

    while ((rc = try_start(history, synced)) != 0 && !disk_is_cut(history->disk)) {
        ck_assert_msg(rc == -EIO, "refused: %s", history->fault.text);
        leave(history);
    }
    if (rc)
        ck_assert_msg(rc == -EIO, "refused: %s", history->fault.text);
    return rc;
}

static int append(struct history *history)
{
    static uint8_t data[RECORD_BYTES_MAX];
    uint64_t number = store_log_next(history->log);
    struct written *written = &history->written[number];
    unsigned attempt = ++written->last;
    size_t size = size_of(number, attempt);
    int rc;

    ck_assert_uint_lt(number, NUMBERS_MAX);
    for (size_t i = 0; i < size; i++)
        data[i] = octet_of(number, attempt, i);
    rc = store_log_append(history->log, (struct amqp_bytes){ data, size }, &history->fault);
    if (rc == 0 && history->synced)
        rc = store_log_sync(history->log, &history->fault);
    if (rc) {
        store_log_restart(history->log, number);
        return rc;
    }
    if (history->synced) {
        history->confirmed = number;
        written->first = (uint8_t)attempt;
    }
    return 0;
}

/* The database flushes what it has, or a part of it. */
static void flush(struct history *history, uint64_t keep)
{
    uint64_t has = history->confirmed;

    if (has > keep && has - keep > history->in_files)
        history->in_files = has - keep;
    store_log_release(history->log, history->in_files);
}

enum step { APPEND, FLUSH, FLUSH_ALL, KILL, STOP };

/* Segments are begun, let go and used again; each way of ending; a kill right behind a begin. */
static const enum step script[] = {
    APPEND, APPEND, APPEND, KILL,   APPEND, APPEND, APPEND, APPEND, APPEND,    APPEND, APPEND,
    APPEND, FLUSH,  APPEND, APPEND, APPEND, APPEND, APPEND, APPEND, FLUSH_ALL, APPEND, APPEND,
    STOP,   APPEND, APPEND, KILL,   KILL,   APPEND, APPEND, APPEND, APPEND,    APPEND, FLUSH_ALL,
    APPEND, APPEND, APPEND, APPEND, APPEND, APPEND, APPEND, APPEND, FLUSH,     APPEND, APPEND,
    APPEND, APPEND, APPEND, APPEND, APPEND, APPEND, APPEND, FLUSH,  KILL,      APPEND, STOP,
};

static int restart(struct history *history)
{
    leave(history);
    return start(history, history->synced);
}

static int do_step(struct history *history, enum step step)
{
    int rc;

    switch (step) {
    case APPEND: /* again in the same process, or it is killed first */
        while ((rc = append(history)) != 0 && !disk_is_cut(history->disk))
            if (disk_random(history->disk, 3) == 0 && (rc = restart(history)) != 0)
                return rc;
        return rc;
    case FLUSH:
        flush(history, 3);
        return 0;
    case FLUSH_ALL:
        flush(history, 0);
        return 0;
    case KILL:
        break;
    case STOP:
        flush(history, 0);
        store_log_finish(history->log);
        break;
    }
    return restart(history);
}

/* Up to the end of the script, or the cut. */
static void run(struct history *history, unsigned first_step, bool synced)
{
    int rc = start(history, synced);

    for (unsigned i = first_step; rc == 0 && i < N_ELEMENTS(script); i++) {
        rc = do_step(history, script[i]);
        if (rc)
            ck_assert_msg(disk_is_cut(history->disk), "step %u: %s", i, history->fault.text);
    }
    leave(history);
}

static void history_init(struct history *history, struct disk *disk)
{
    memset(history, 0, sizeof *history);
    history->disk = disk;
}

static unsigned n_states;

/* After the cut: the disk in one of its ways; read, continued, and cut again some operations on. */
static void survive(const struct history *before, struct disk *disk, unsigned cuts_left)
{
    struct history history = *before;

    n_states++;
    history.disk = disk;
    if (cuts_left > 0)
        disk->cut_at = disk_random(disk, 40);
    run(&history, N_ELEMENTS(script) - 1 - disk_random(disk, 30), true);
    if (cuts_left > 0 && disk_is_cut(disk)) {
        struct disk *next = malloc(sizeof *next);

        ck_assert_ptr_nonnull(next);
        disk_cut(disk, 0, true, DISK_CONTENTS_MIXED, disk->random, next);
        survive(&history, next, cuts_left - 1);
        disk_release(next);
        free(next);
    }
}

static void survive_all_ways(const struct history *history, uint64_t seed)
{
    struct disk *after = malloc(sizeof *after);
    unsigned n = disk_choices(history->disk, CHOICES_MAX);

    ck_assert_ptr_nonnull(after);
    for (unsigned choice = 0; choice < n * DISK_CONTENTS; choice++) {
        enum disk_contents contents = choice / n;

        disk_cut(history->disk, choice % n, n == CHOICES_MAX, contents, seed * 1000 + choice,
                 after);
        survive(history, after, choice % 2 == 0 ? CUTS_IN_A_ROW : 0);
        disk_release(after);
    }
    free(after);
}

/* One history until operation @cut_at; false: it has ended before. */
static bool cut_after(uint64_t cut_at, uint64_t fail_at, uint64_t fail_count, bool synced)
{
    struct disk *disk = malloc(sizeof *disk);
    struct history history;
    bool cut;

    ck_assert_ptr_nonnull(disk);
    disk_init(disk, cut_at + fail_at * 7 + 1);
    disk->cut_at = cut_at;
    disk->fail_at = fail_at;
    disk->fail_count = fail_count;
    history_init(&history, disk);
    run(&history, 0, synced);
    cut = disk_is_cut(disk);
    survive_all_ways(&history, cut_at + 1);
    disk_release(disk);
    free(disk);
    return cut;
}

/* How many operations the script has, without a cut or a failure. */
static uint64_t count_operations(void)
{
    struct disk *disk = malloc(sizeof *disk);
    struct history history;
    uint64_t n;

    ck_assert_ptr_nonnull(disk);
    disk_init(disk, 1);
    history_init(&history, disk);
    run(&history, 0, true);
    n = disk->n_operations;
    disk_release(disk);
    free(disk);
    return n;
}

/* ---- tests ---- */

START_TEST(test_power_cut_after_each_operation_loses_nothing_confirmed)
{
    uint64_t cut_at = 0;

    while (cut_after(cut_at, DISK_NEVER, 0, true))
        cut_at++;
    ck_assert_uint_gt(cut_at, 150);
    ck_assert_uint_gt(n_states, 5 * cut_at);
}
END_TEST

START_TEST(test_power_cut_of_an_unsynced_log_never_refuses_the_start)
{
    uint64_t cut_at = 0;

    while (cut_after(cut_at, DISK_NEVER, 0, false))
        cut_at++;
    ck_assert_uint_gt(cut_at, 100);
}
END_TEST

static const struct {
    unsigned fail_count;
    bool synced;
} failure_case[] = { { 1, true }, { 3, true }, { 5, true }, { 1, false }, { 3, false } };

/* Some operations in a row fail; the power goes some operations later. */
START_TEST(test_power_cut_after_failures_loses_nothing_confirmed)
{
    unsigned fail_count = failure_case[_i].fail_count;
    uint64_t n = count_operations();

    for (uint64_t fail_at = 0; fail_at < n; fail_at++)
        for (uint64_t later = 1; later <= 40; later += 7 + (fail_at + later * 7) % 31)
            (void)cut_after(fail_at + fail_count + later, fail_at, fail_count,
                            failure_case[_i].synced);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_power");
    TCase *tcase = tcase_create("power");

    (void)mallopt(M_MMAP_THRESHOLD, 64 << 20); /* files come and go: the kernel need not know */
    (void)mallopt(M_TRIM_THRESHOLD, 256 << 20);
    tcase_set_timeout(tcase, 600);
    tcase_add_test(tcase, test_power_cut_after_each_operation_loses_nothing_confirmed);
    tcase_add_test(tcase, test_power_cut_of_an_unsynced_log_never_refuses_the_start);
    tcase_add_loop_test(tcase, test_power_cut_after_failures_loses_nothing_confirmed, 0,
                        N_ELEMENTS(failure_case));
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
