/*
 * test_store_reserve.c - room that is kept, given up and taken again
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* nftw() */
#endif
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "store/reserve.h"
#include "temp_directory.h"
#include "unit.h"

#define SIZE_BYTES (1u << 20)

static char directory[256], path[300];
static struct store_reserve *reserve;

static void open_reserve(uint64_t size_bytes)
{
    ck_assert_int_eq(store_reserve_new(directory, size_bytes, &reserve), 0);
}

static void setup(void)
{
    temp_directory_make(directory, sizeof directory);
    (void)snprintf(path, sizeof path, "%s/reserve", directory);
    open_reserve(SIZE_BYTES);
}

static void teardown(void)
{
    store_reserve_free(reserve);
    temp_directory_remove(directory);
}

static void check_allocated(void)
{
    struct stat status;

    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_int_eq(status.st_size, SIZE_BYTES);
    ck_assert_int_ge(status.st_blocks * 512, SIZE_BYTES);
}

START_TEST(test_reserve_is_allocated_given_up_once_and_taken_again)
{
    ck_assert(store_reserve_is_held(reserve));
    check_allocated();
    ck_assert(store_reserve_give_up(reserve));
    ck_assert_int_ne(access(path, F_OK), 0);
    ck_assert(!store_reserve_is_held(reserve));
    ck_assert(!store_reserve_give_up(reserve));
    ck_assert(store_reserve_take(reserve));
    check_allocated();
}
END_TEST

START_TEST(test_reserve_outlives_the_process)
{
    store_reserve_free(reserve);
    open_reserve(SIZE_BYTES);
    ck_assert(store_reserve_is_held(reserve));
    check_allocated();
}
END_TEST

/* A limit of 1.5 times the size: once would fit, twice does not. */
START_TEST(test_reserve_is_not_taken_before_there_is_twice_its_size)
{
    (void)signal(SIGXFSZ, SIG_IGN);
    ck_assert(store_reserve_give_up(reserve));
    (void)temp_limit(RLIMIT_FSIZE, SIZE_BYTES + SIZE_BYTES / 2);
    ck_assert(!store_reserve_take(reserve));
    ck_assert_int_ne(access(path, F_OK), 0);
    (void)temp_limit(RLIMIT_FSIZE, RLIM_INFINITY);
    ck_assert(store_reserve_take(reserve));
}
END_TEST

START_TEST(test_reserve_of_nothing_is_always_held_and_removes_the_file)
{
    store_reserve_free(reserve);
    open_reserve(0);
    ck_assert(store_reserve_is_held(reserve));
    ck_assert(!store_reserve_give_up(reserve));
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(test_reserve_is_a_part_of_the_file_system_at_most)
{
    struct statvfs found;

    ck_assert_int_eq(statvfs(directory, &found), 0);
    store_reserve_free(reserve);
    (void)signal(SIGXFSZ, SIG_IGN);
    (void)temp_limit(RLIMIT_FSIZE, SIZE_BYTES); /* it is not to be taken here */
    open_reserve(UINT64_MAX / 4);
    (void)temp_limit(RLIMIT_FSIZE, RLIM_INFINITY);
    ck_assert_uint_eq(store_reserve_bytes(reserve), found.f_blocks * found.f_frsize / 8);
    ck_assert(!store_reserve_is_held(reserve));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_reserve");
    TCase *tcase = tcase_create("reserve");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_reserve_is_allocated_given_up_once_and_taken_again);
    tcase_add_test(tcase, test_reserve_outlives_the_process);
    tcase_add_test(tcase, test_reserve_is_not_taken_before_there_is_twice_its_size);
    tcase_add_test(tcase, test_reserve_of_nothing_is_always_held_and_removes_the_file);
    tcase_add_test(tcase, test_reserve_is_a_part_of_the_file_system_at_most);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
