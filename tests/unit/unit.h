/*
 * unit.h - running a suite of Check so that it ends in one line: "N passed, N failed"
 */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * Check ends a test after 4 s of wall-clock time, or what its case says. That is to catch one that
 * hangs, and must not catch one that waits for a busy machine.
 */
__attribute__((constructor)) static void unit_allow_time(void)
{
    (void)setenv("CK_DEFAULT_TIMEOUT", "60", 0);
    (void)setenv("CK_TIMEOUT_MULTIPLIER", "4", 0);
}

/** unit_run() - run a suite and free it; returns main()'s status, 1 when nothing ran */
static inline int unit_run(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    int n_run, n_failed;

    srunner_run_all(runner, CK_ENV);
    n_run = srunner_ntests_run(runner);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    printf("%d passed, %d failed\n", n_run - n_failed, n_failed);
    return n_run == 0 || n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
