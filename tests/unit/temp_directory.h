/*
 * temp_directory.h - a directory of a test's own, and limits that make its disk fail
 */
#ifndef TESTS_UNIT_TEMP_DIRECTORY_H
#define TESTS_UNIT_TEMP_DIRECTORY_H

#ifndef _GNU_SOURCE
#error "nftw() needs _GNU_SOURCE before the first header"
#endif

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

/** temp_directory_make() - a new one under TMPDIR; its path in @ret_path */
static inline void temp_directory_make(char *ret_path, size_t size)
{
    const char *tmp = getenv("TMPDIR");

    (void)snprintf(ret_path, size, "%s/leveret-unit.XXXXXX", tmp ? tmp : P_tmpdir);
    ck_assert_ptr_nonnull(mkdtemp(ret_path));
}

/** temp_directory_make_small() - the same in memory if there is such a place: its syncs cost less */
static inline void temp_directory_make_small(char *ret_path, size_t size)
{
    (void)snprintf(ret_path, size, "/dev/shm/leveret-unit.XXXXXX");
    if (getenv("TMPDIR") || !mkdtemp(ret_path))
        temp_directory_make(ret_path, size);
}

static inline int temp_directory_remove_one(const char *path, const struct stat *status, int type,
                                            struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

/** temp_directory_remove() - with all that is in it */
static inline void temp_directory_remove(const char *path)
{
    (void)nftw(path, temp_directory_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/** temp_limit() - set a soft limit of this process; returns what it was */
static inline rlim_t temp_limit(int resource, rlim_t value)
{
    struct rlimit limit;
    rlim_t before;

    ck_assert_int_eq(getrlimit((__rlimit_resource_t)resource, &limit), 0);
    before = limit.rlim_cur;
    limit.rlim_cur = value;
    ck_assert_int_eq(setrlimit((__rlimit_resource_t)resource, &limit), 0);
    return before;
}

#endif
