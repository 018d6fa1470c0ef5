/*
 * test_recovery.c - what is logged while the store is opened: once a second, and none in the first
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "server/log.h"
#include "server/recovery.h"
#include "temp_directory.h"
#include "unit.h"

static char directory[256];
static char path[300];
static struct recovery recovery;
static uint64_t time_ms;

static uint64_t now_ms(void)
{
    return time_ms;
}

static void setup(void)
{
    struct log_settings settings = { .file = path, .file_level = LOG_LEVEL_INFO };

    temp_directory_make(directory, sizeof directory);
    (void)snprintf(path, sizeof path, "%s/log", directory);
    ck_assert_int_eq(log_open(&settings), 0);
    time_ms = 500;
    recovery_begin(&recovery, "/data/store", now_ms);
}

static void teardown(void)
{
    log_close();
    temp_directory_remove(directory);
}

/* Lines of the log that hold a text. */
static unsigned count_lines(const char *text)
{
    char line[1000];
    FILE *file = fopen(path, "r");
    unsigned n = 0;

    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof line, file))
        n += strstr(line, text) != NULL;
    (void)fclose(file);
    return n;
}

static void progress(uint64_t at_ms, enum store_phase phase, uint64_t done, uint64_t total)
{
    time_ms = at_ms;
    recovery.observer.progress(recovery.observer.context, phase, done, total);
}

START_TEST(test_progress_is_logged_once_a_second)
{
    ck_assert_uint_eq(count_lines("opening the data in /data/store"), 1);
    for (uint64_t at_ms = 500; at_ms < 1500; at_ms += 10)
        progress(at_ms, STORE_PHASE_LOG, at_ms * 1000000, 9500000000);
    ck_assert_uint_eq(count_lines("recovering"), 0);
    for (uint64_t at_ms = 1500; at_ms < 4000; at_ms += 10)
        progress(at_ms, STORE_PHASE_LOG, at_ms * 1000000, 9500000000);
    ck_assert_uint_eq(count_lines("recovering"), 3);
    ck_assert_uint_eq(count_lines("recovering: 1.5 of 9.5 GB of the log\n"), 1);
    ck_assert_uint_eq(count_lines("recovering: 3.5 of 9.5 GB of the log\n"), 1);
    progress(5000, STORE_PHASE_LOG, 12345678, 32000000);
    ck_assert_uint_eq(count_lines("recovering: 12.3 of 32.0 MB of the log\n"), 1);
    progress(6000, STORE_PHASE_ENTRIES, 123456, 0);
    ck_assert_uint_eq(count_lines("recovering: 123456 messages so far\n"), 1);
}
END_TEST

START_TEST(test_notices_are_warnings)
{
    recovery.observer.notice(recovery.observer.context, "something was given up");
    ck_assert_uint_eq(count_lines("[warning] <0.0.0> something was given up\n"), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("recovery");
    TCase *tcase = tcase_create("recovery");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_progress_is_logged_once_a_second);
    tcase_add_test(tcase, test_notices_are_warnings);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
