/*
 * sim.c - random histories of the whole broker core, each from one seed
 *
 * The real broker, channel and queue code runs over the memory store in this process, with an
 * imaginary disk that fails and a clock that only we move; a naive model (model.h) follows and
 * judges every answer. So a run takes milliseconds, needs no network, and a seed that fails once
 * fails again.
 *
 *     sim [--seeds N] [--first S] [--operations K]
 *     sim --seed S [--operations K] [--verbose]
 *
 * The first seed is played twice, to see that nothing but the seed decides what happens.
 *
 * Files: ops*.c choose what happens, client.c and world.c do it, model*.c know what should follow,
 * accept*.c compare, watch.c hears of what no client is told, journal.c says what a crash must
 * leave, audit.c recounts.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ops.h"

struct arguments {
    uint64_t first, seeds;
    unsigned operations;
    bool verbose;
};

static void play(struct sim *sim, uint64_t seed, unsigned operations)
{
    history_begin(&sim->history, seed);
    sim->random.state = seed;
    ops_begin(sim);
    model_begin(sim);
    world_begin(sim);
    while (sim->history.operation++ < operations)
        ops_step(sim);
    ops_finish(sim);
    world_end(sim);
    model_end(sim);
}

/* Everything but what is kept over seeds. */
static void reset(struct sim *sim)
{
    size_t from = offsetof(struct sim, disk);
    char *hash = sim->password_hash;

    memset((char *)sim + from, 0, sizeof *sim - from);
    sim->password_hash = hash;
}

static uint64_t number(const char *text, const char *option)
{
    char *end;
    uint64_t value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno || *end || end == text) {
        fprintf(stderr, "sim: %s wants a number\n", option);
        exit(2);
    }
    return value;
}

static void parse(int argc, char **argv, struct arguments *arguments)
{
    for (int i = 1; i < argc; i++) {
        const char *option = argv[i];

        if (strcmp(option, "--verbose") == 0) {
            arguments->verbose = true;
            continue;
        }
        if (i + 1 == argc) {
            fprintf(stderr, "usage: sim [--seeds N] [--first S] [--operations K] | "
                            "--seed S [--operations K] [--verbose]\n");
            exit(2);
        }
        i++;
        if (strcmp(option, "--seeds") == 0) {
            arguments->seeds = number(argv[i], option);
        } else if (strcmp(option, "--first") == 0) {
            arguments->first = number(argv[i], option);
        } else if (strcmp(option, "--operations") == 0) {
            arguments->operations = (unsigned)number(argv[i], option);
        } else if (strcmp(option, "--seed") == 0) {
            arguments->first = number(argv[i], option);
            arguments->seeds = 1;
        } else {
            fprintf(stderr, "sim: unknown option %s\n", option);
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    struct arguments arguments = { .first = 1, .seeds = 2000, .operations = 500 };
    struct sim *sim = calloc(1, sizeof *sim);
    uint64_t digest;

    parse(argc, argv, &arguments);
    if (!sim)
        return EXIT_FAILURE;
    sim->password_hash = auth_hash_password(AUTH_HASHING_SHA256,
                                            (struct amqp_bytes){ (const uint8_t *)"guest", 5 });
    if (!sim->password_hash)
        return EXIT_FAILURE;
    sim->history.verbose = arguments.verbose;
    history_watch(&sim->history);
    for (uint64_t i = 0; i < arguments.seeds; i++) {
        play(sim, arguments.first + i, arguments.operations);
        reset(sim);
        if (i == 0 && !arguments.verbose) {
            digest = sim->history.digest;
            play(sim, arguments.first, arguments.operations);
            reset(sim);
            if (sim->history.digest != digest)
                history_fail(&sim->history, "the same seed took another course");
        }
        sim->history.passed++;
    }
    printf("%u passed, 0 failed\n", sim->history.passed);
    history_watch(NULL);
    free(sim->password_hash);
    free(sim);
    return arguments.seeds ? EXIT_SUCCESS : EXIT_FAILURE;
}
