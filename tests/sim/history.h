/*
 * history.h - what has happened, in lines; and the end of a run that went wrong
 *
 * Only the last lines are kept. A failed check prints them with the seed and leaves the process:
 * nothing after it would mean anything. The same happens when the broker's own assertions or a
 * sanitizer end the process.
 */
#ifndef SIM_HISTORY_H
#define SIM_HISTORY_H

#include "amqp/base.h"

enum { HISTORY_LINES = 60, HISTORY_LINE_BYTES = 300, HISTORY_SEED_MAX_S = 60 };

struct history {
    uint64_t seed;
    unsigned passed;  /* seeds before this one, for the last line of the report */
    bool verbose;     /* print every line as it comes */
    unsigned operation;
    uint64_t digest;  /* of all lines: two runs of a seed must agree */
    unsigned long count;
    char lines[HISTORY_LINES][HISTORY_LINE_BYTES];
};

/** history_begin() - empty it for the next seed */
void history_begin(struct history *history, uint64_t seed);

/** history_add() - one more line */
void history_add(struct history *history, const char *format, ...) PRINTF_LIKE(2, 3);

/** history_fail() - print reason, seed and the last lines, then exit(1) */
void history_fail(struct history *history, const char *format, ...) PRINTF_LIKE(2, 3)
    __attribute__((noreturn));

/** history_watch() - print this history when the process is about to die by itself; NULL: none */
void history_watch(struct history *history);

#endif
