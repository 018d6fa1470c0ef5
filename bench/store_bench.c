/*
 * store_bench.c - what the durable store costs, without a broker around it
 *
 *     store_bench [-d DIRECTORY] [-n MESSAGES] [-b BATCH] [-w WINDOW] [-s commit|interval|never]
 *
 * For bodies of 12 octets, 100 and 1 KiB: messages are appended and enqueued on one queue, sealed
 * in batches as a busy broker would, and settled in order as soon as they are durable. Printed are
 * messages a second and CPU microseconds a message: of this thread, and of the whole process with
 * the committer and RocksDB's flushes. The directory should lie on the disk that is meant.
 */
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "store/store.h"

struct bench {
    struct store *store;
    uint64_t queue_id;
    uint64_t *locations; /* by sequence modulo the window */
    uint64_t window;
    uint64_t enqueued;
    uint64_t settled;
    uint64_t commit_end[256]; /* last sequence of a commit, by its number modulo 256 */
};

static double seconds(clockid_t clock)
{
    struct timespec now;

    (void)clock_gettime(clock, &now); /* cannot fail with the clocks that we name */
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void die(const char *what, int rc)
{
    (void)fprintf(stderr, "store_bench: %s: %s\n", what, strerror(-rc));
    exit(1);
}

static void on_durable(void *context, uint64_t commit)
{
    struct bench *bench = context;
    uint64_t end = bench->commit_end[commit % N_ELEMENTS(bench->commit_end)];

    while (bench->settled < end) {
        uint64_t sequence = ++bench->settled;

        (void)store_settle(bench->store, bench->queue_id, sequence,
                           bench->locations[sequence % bench->window]);
    }
}

static void on_stalled(void *context, int error, const char *text)
{
    (void)context;
    if (error)
        die(text, error);
}

static const struct store_events events = { .durable = on_durable, .stalled = on_stalled };

static void add_message(struct bench *bench, const uint8_t *body, size_t body_bytes)
{
    const struct iovec part = { (void *)(uintptr_t)body, body_bytes };
    struct store_entry entry = { .queue_id = bench->queue_id, .sequence = ++bench->enqueued };
    int rc = store_append(bench->store, &part, 1, &entry.location);

    entry.body_bytes = (uint32_t)body_bytes;
    bench->locations[entry.sequence % bench->window] = entry.location;
    if (rc == 0)
        rc = store_enqueue(bench->store, &entry);
    if (rc)
        die("adding a message", rc);
}

static void seal(struct bench *bench)
{
    uint64_t commit = store_open_commit(bench->store);
    int rc;

    bench->commit_end[commit % N_ELEMENTS(bench->commit_end)] = bench->enqueued;
    rc = store_seal(bench->store);
    if (rc)
        die("sealing", rc);
}

static void wait_and_poll(struct bench *bench)
{
    struct pollfd fd = { .fd = store_fd(bench->store), .events = POLLIN };

    (void)poll(&fd, 1, -1); /* interrupted: polling once more is harmless */
    store_poll(bench->store);
}

static void run(const char *directory, const struct store_options *options, uint64_t messages,
                uint64_t batch, uint64_t window, size_t body_bytes)
{
    struct bench bench = { .window = window + batch };
    uint8_t *body = calloc(1, body_bytes);
    double wall, own, all;
    char text[256] = "";
    int rc;

    bench.locations = calloc(bench.window + 1, sizeof *bench.locations);
    if (!body || !bench.locations)
        die("memory", -12);
    rc = store_open(directory, options, &events, &bench, text, sizeof text, &bench.store);
    if (rc)
        die(text, rc);
    bench.queue_id = store_new_queue_id(bench.store);
    wall = seconds(CLOCK_MONOTONIC);
    own = seconds(CLOCK_THREAD_CPUTIME_ID);
    all = seconds(CLOCK_PROCESS_CPUTIME_ID);
    while (bench.settled < messages) {
        uint64_t i;

        for (i = 0; i < batch && bench.enqueued < messages &&
                    bench.enqueued - bench.settled < window; i++)
            add_message(&bench, body, body_bytes);
        if (store_open_bytes(bench.store) > 0 && store_in_flight(bench.store) < 2)
            seal(&bench);
        if (bench.enqueued - bench.settled >= window || bench.enqueued == messages ||
            store_in_flight(bench.store) >= 2)
            wait_and_poll(&bench);
    }
    rc = store_close(bench.store);
    if (rc)
        die("closing", rc);
    wall = seconds(CLOCK_MONOTONIC) - wall;
    own = seconds(CLOCK_THREAD_CPUTIME_ID) - own;
    all = seconds(CLOCK_PROCESS_CPUTIME_ID) - all;
    (void)printf("%6zu B  %9.0f msg/s  caller %.2f us/msg  process %.2f us/msg\n", body_bytes,
                 (double)messages / wall, 1e6 * own / (double)messages,
                 1e6 * all / (double)messages);
    free(bench.locations);
    free(body);
}

static enum store_sync parse_sync(const char *word)
{
    if (strcmp(word, "interval") == 0)
        return STORE_SYNC_INTERVAL;
    return strcmp(word, "never") == 0 ? STORE_SYNC_NEVER : STORE_SYNC_COMMIT;
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = { 12, 100, 1024 };
    struct store_options options = store_options_default();
    const char *directory = "store-bench.data";
    uint64_t messages = 1000000;
    uint64_t batch = 500;
    uint64_t window = 4000;
    size_t i;
    int c;

    while ((c = getopt(argc, argv, "d:n:b:w:s:")) != -1) {
        if (c == 'd')
            directory = optarg;
        else if (c == 'n')
            messages = strtoull(optarg, NULL, 10);
        else if (c == 'b')
            batch = strtoull(optarg, NULL, 10);
        else if (c == 'w')
            window = strtoull(optarg, NULL, 10);
        else if (c == 's')
            options.sync = parse_sync(optarg);
        else
            return 2;
    }
    if (messages == 0 || batch == 0 || window == 0)
        return 2;
    for (i = 0; i < N_ELEMENTS(sizes); i++)
        run(directory, &options, messages, batch, window, sizes[i]);
    return 0;
}
