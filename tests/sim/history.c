/*
 * history.c - a ring of lines
 *
 * The one global of the program is here: a signal handler and the sanitizer's last call get no
 * argument.
 */
#include "history.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct history *watched;

/* Weak: there only when a sanitizer is linked in. */
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

void history_begin(struct history *history, uint64_t seed)
{
    history->seed = seed;
    history->operation = 0;
    history->count = 0;
    history->digest = UINT64_C(0xcbf29ce484222325);
    alarm(HISTORY_SEED_MAX_S); /* a broker that goes round in circles fails too */
}

static uint64_t digest_line(uint64_t digest, const char *line)
{
    for (; *line; line++)
        digest = (digest ^ (uint8_t)*line) * UINT64_C(0x100000001b3);
    return digest;
}

void history_add(struct history *history, const char *format, ...)
{
    char *line = history->lines[history->count++ % HISTORY_LINES];
    int used = snprintf(line, HISTORY_LINE_BYTES, "%4u ", history->operation);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line + used, HISTORY_LINE_BYTES - (size_t)used, format, arguments);
    va_end(arguments);
    history->digest = digest_line(history->digest, line);
    if (history->verbose)
        puts(line);
}

static void print_tail(const struct history *history)
{
    unsigned long first = history->count > HISTORY_LINES ? history->count - HISTORY_LINES : 0;

    if (!history->verbose)
        for (unsigned long i = first; i < history->count; i++)
            printf("  %s\n", history->lines[i % HISTORY_LINES]);
}

static void print_end(const struct history *history)
{
    printf("seed %" PRIu64 " failed at operation %u; replay: --seed %" PRIu64 " --verbose\n"
           "%u passed, 1 failed\n",
           history->seed, history->operation, history->seed, history->passed);
    fflush(stdout);
}

void history_fail(struct history *history, const char *format, ...)
{
    va_list arguments;

    watched = NULL;
    print_tail(history);
    printf("FAILED: ");
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    print_end(history);
    _exit(EXIT_FAILURE); /* what is still allocated is no leak now */
}

static void print_watched(void)
{
    struct history *history = watched;

    watched = NULL;
    if (!history)
        return;
    print_tail(history);
    print_end(history);
}

static void on_end(int number)
{
    if (number == SIGALRM)
        printf("FAILED: no seed takes %d s\n", HISTORY_SEED_MAX_S);
    print_watched();
    _exit(EXIT_FAILURE);
}

void history_watch(struct history *history)
{
    watched = history;
    signal(SIGABRT, on_end);
    signal(SIGALRM, on_end);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(print_watched);
}
