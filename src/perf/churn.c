/*
 * churn.c - cycles of opening and closing
 *
 * Each cycle in flight is a thread with a blocking client: a cycle is a few round trips, so the
 * threads sleep nearly all the time. With a rate, a cycle's time is counted from when it was due,
 * so that a stall is charged to every cycle that it held up. The threads stop at a shared bound
 * of cycles or at the end of time; the main thread meanwhile prints the live line.
 */
#include "meter.h"
#include "perf.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct shared {
    const struct settings *settings;
    uint64_t start_ns, stop_ns; /* stop: 0 to go by count */
    uint64_t interval_ns;       /* with a rate: between two cycles of all threads together */
    _Atomic uint64_t taken;     /* cycles begun, or about to be */
    _Atomic uint64_t done;
    atomic_uint running;
    pthread_mutex_t lock; /* of the histograms */
    struct churn_result *result;
};

struct worker {
    struct shared *shared;
    unsigned number;
    pthread_t thread;
    struct client client; /* that all cycles of channels, queues and bindings use */
};

static void open_queue(struct worker *worker, const char *name)
{
    client_put_queue_declare(&worker->client, name, &worker->shared->settings->queue_kind);
    client_call(&worker->client, QUEUE_DECLARE_OK);
}

static void close_queue(struct worker *worker, const char *name)
{
    client_put_queue_delete(&worker->client, name);
    client_call(&worker->client, QUEUE_DELETE_OK);
}

static void queue_name(const struct worker *worker, uint64_t cycle, char *ret_name)
{
    (void)snprintf(ret_name, NAME_BYTES, "%s.c%u.%llu", worker->shared->settings->prefix,
                   worker->number, (unsigned long long)cycle);
}

/* One cycle; returns when it was open. */
static uint64_t run_cycle(struct worker *worker, uint64_t cycle)
{
    const struct settings *settings = worker->shared->settings;
    struct client *client = &worker->client, connection;
    char name[NAME_BYTES];
    uint64_t open_ns = 0;

    switch (settings->churn) {
    case CHURN_NONE:
        break;
    case CHURN_CONNECTIONS:
        client_open(&connection, &settings->address);
        open_ns = usage_now_ns();
        client_close(&connection);
        break;
    case CHURN_CHANNELS:
        client_put_channel_open(client, 2);
        client_call(client, CHANNEL_OPEN_OK);
        open_ns = usage_now_ns();
        client_put_channel_close(client, 2);
        client_call(client, CHANNEL_CLOSE_OK);
        break;
    case CHURN_QUEUES:
        queue_name(worker, cycle, name);
        open_queue(worker, name);
        open_ns = usage_now_ns();
        close_queue(worker, name);
        break;
    case CHURN_BINDINGS:
        queue_name(worker, 0, name);
        client_put_queue_bind(client, name, "amq.direct", name);
        client_call(client, QUEUE_BIND_OK);
        open_ns = usage_now_ns();
        client_put_queue_unbind(client, name, "amq.direct", name);
        client_call(client, QUEUE_UNBIND_OK);
        break;
    }
    return open_ns;
}

static void sleep_until(uint64_t due_ns)
{
    struct timespec due = { .tv_sec = (time_t)(due_ns / 1000000000u),
                            .tv_nsec = (long)(due_ns % 1000000000u) };

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR &&
           !flow_interrupted())
        continue;
}

/* When the next cycle is due; false when there is none to run any more. */
static bool take_cycle(struct shared *shared, uint64_t *ret_cycle, uint64_t *ret_due_ns)
{
    uint64_t cycle = atomic_fetch_add(&shared->taken, 1), now_ns, due_ns;

    if (flow_interrupted() || (shared->settings->count && cycle >= shared->settings->count))
        return false;
    now_ns = due_ns = usage_now_ns();
    if (shared->interval_ns)
        due_ns = shared->start_ns + cycle * shared->interval_ns;
    if (shared->stop_ns && (now_ns >= shared->stop_ns || due_ns >= shared->stop_ns))
        return false;
    if (due_ns > now_ns)
        sleep_until(due_ns);
    *ret_cycle = cycle;
    *ret_due_ns = due_ns;
    return !flow_interrupted();
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct shared *shared = worker->shared;
    uint64_t cycle, due_ns, open_ns, end_ns;

    while (take_cycle(shared, &cycle, &due_ns)) {
        open_ns = run_cycle(worker, cycle);
        end_ns = usage_now_ns();
        (void)pthread_mutex_lock(&shared->lock); /* cannot fail: it is initialised and ours */
        hist_add(&shared->result->open_ns, open_ns - due_ns, 1);
        hist_add(&shared->result->cycle_ns, end_ns - due_ns, 1);
        (void)pthread_mutex_unlock(&shared->lock);
        atomic_fetch_add(&shared->done, 1);
    }
    atomic_fetch_sub(&shared->running, 1);
    return NULL;
}

/* Connects the workers; those that bind get a queue each. */
static void prepare(struct shared *shared, struct worker *workers)
{
    const struct settings *settings = shared->settings;
    char name[NAME_BYTES];
    unsigned i;

    for (i = 0; i < settings->parallel; i++) {
        workers[i] = (struct worker){ .shared = shared, .number = i };
        if (settings->churn == CHURN_CONNECTIONS)
            continue;
        client_open(&workers[i].client, &settings->address);
        queue_name(&workers[i], 0, name);
        if (settings->churn == CHURN_BINDINGS)
            open_queue(&workers[i], name);
    }
}

static void finish(struct worker *workers, unsigned count)
{
    char name[NAME_BYTES];
    unsigned i;

    for (i = 0; i < count; i++) {
        const struct settings *settings = workers[i].shared->settings;

        (void)pthread_join(workers[i].thread, NULL); /* it was created, and nobody else joins it */
        if (settings->churn == CHURN_CONNECTIONS)
            continue;
        queue_name(&workers[i], 0, name);
        if (settings->churn == CHURN_BINDINGS)
            close_queue(&workers[i], name);
        client_close(&workers[i].client);
    }
}

/* The live line, until the last worker has ended. */
static void watch(struct shared *shared, struct meter *meter)
{
    const struct timespec pause = { .tv_nsec = 10000000 };
    struct counters counters = { 0 };

    while (atomic_load(&shared->running)) {
        (void)nanosleep(&pause, NULL);
        counters.published = atomic_load(&shared->done);
        (void)pthread_mutex_lock(&shared->lock);
        meter_tick(meter, &counters, usage_now_ns(), false);
        (void)pthread_mutex_unlock(&shared->lock);
    }
    counters.published = atomic_load(&shared->done);
    meter_tick(meter, &counters, usage_now_ns(), true);
}

void churn_run(const struct settings *settings, struct churn_result *ret_result)
{
    static struct meter meter;
    struct shared shared = { .settings = settings, .result = ret_result,
                             .running = settings->parallel, .lock = PTHREAD_MUTEX_INITIALIZER };
    struct worker *workers = calloc(settings->parallel, sizeof *workers);
    double begin_cpu_us;
    unsigned i;

    if (!workers)
        wire_fail("out of memory");
    flow_catch_signals();
    prepare(&shared, workers);
    usage_sample(&settings->server, &ret_result->before);
    begin_cpu_us = usage_self_cpu_us();
    shared.start_ns = usage_now_ns();
    if (settings->seconds > 0)
        shared.stop_ns = shared.start_ns + (uint64_t)(settings->seconds * 1e9);
    if (settings->churn_rate > 0)
        shared.interval_ns = (uint64_t)(1e9 / settings->churn_rate);
    meter = (struct meter){
        .unit = "cycles", .interval_s = settings->interval_s, .quiet = settings->quiet,
        .latency_ns = &ret_result->cycle_ns, .fallback_ns = &ret_result->cycle_ns,
        .series = &ret_result->series, .start_ns = shared.start_ns, .last_ns = shared.start_ns,
    };
    for (i = 0; i < settings->parallel; i++)
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
            wire_fail("a thread could not be started");
    watch(&shared, &meter);
    ret_result->wall_s = (double)(usage_now_ns() - shared.start_ns) / 1e9;
    ret_result->client_cpu_us = usage_self_cpu_us() - begin_cpu_us;
    usage_sample(&settings->server, &ret_result->after);
    ret_result->cycles = atomic_load(&shared.done);
    ret_result->interrupted = flow_interrupted();
    finish(workers, settings->parallel);
    free(workers);
}
