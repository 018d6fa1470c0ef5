/*
 * unit.h - running a suite of Check so that it ends in one line: "N passed, N failed"
 */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

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
