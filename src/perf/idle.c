/*
 * idle.c - what connections and queues cost a broker when they do nothing
 *
 * A server's size is read before and after, each time once it has come to rest, and the
 * difference is divided. Queues are declared and bound the way a client would that cares for
 * time: requests go out in packs and every answer is read.
 */
#include "perf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

enum { PACK = 256, CALM_SAMPLES = 5, SAMPLES_MAX = 100, SAMPLE_MS = 100 };

/* The server's size once five samples in a row lie within 1 %, or as it is after ten seconds. */
static uint64_t settled_rss_kb(const struct settings *settings)
{
    struct timespec pause = { .tv_nsec = SAMPLE_MS * 1000000L };
    uint64_t reference = 0, rss;
    unsigned sample, calm = 0;
    struct usage usage;

    for (sample = 0; sample < SAMPLES_MAX && calm < CALM_SAMPLES; sample++) {
        usage_sample(&settings->server, &usage);
        rss = usage.rss_kb;
        if (rss > reference + reference / 100 || rss < reference - reference / 100) {
            reference = rss;
            calm = 0;
        }
        calm++;
        (void)nanosleep(&pause, NULL);
    }
    return reference;
}

static void allow_descriptors(unsigned count)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit))
        wire_fail("getrlimit: %s", strerror(errno));
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur < count + 64u)
        wire_fail("%u connections need more than the %lu open files allowed here", count,
                  (unsigned long)limit.rlim_cur);
}

void idle_connections(const struct settings *settings, struct idle_result *ret_result)
{
    unsigned count = settings->idle_connections, i;
    struct client *clients = calloc(count, sizeof *clients);
    uint64_t start_ns;

    if (!clients)
        wire_fail("out of memory");
    allow_descriptors(count);
    ret_result->count = count;
    ret_result->rss_before_kb = settled_rss_kb(settings);
    start_ns = usage_now_ns();
    for (i = 0; i < count; i++) {
        client_open(&clients[i], &settings->address);
        clients[i].in_at = 0;
        wire_buf_release(&clients[i].in);
        wire_buf_release(&clients[i].out);
    }
    ret_result->wall_s = (double)(usage_now_ns() - start_ns) / 1e9;
    ret_result->rss_after_kb = settled_rss_kb(settings);
    for (i = 0; i < count; i++)
        client_close(&clients[i]);
    free(clients);
}

/* One pack: a request, or two, for each queue of [from, to), then their answers. */
static void declare_pack(struct client *client, const struct settings *settings, unsigned from,
                         unsigned to)
{
    char name[NAME_BYTES];
    unsigned i;

    for (i = from; i < to; i++) {
        topology_queue(settings, i, name);
        client_put_queue_declare(client, name, &settings->queue_kind);
        client_put_queue_bind(client, name, "amq.direct", name);
    }
    client_flush(client);
    for (i = from; i < to; i++) {
        client_expect(client, QUEUE_DECLARE_OK, NULL);
        client_expect(client, QUEUE_BIND_OK, NULL);
    }
}

static void delete_pack(struct client *client, const struct settings *settings, unsigned from,
                        unsigned to)
{
    char name[NAME_BYTES];
    unsigned i;

    for (i = from; i < to; i++) {
        topology_queue(settings, i, name);
        client_put_queue_delete(client, name);
    }
    client_flush(client);
    for (i = from; i < to; i++)
        client_expect(client, QUEUE_DELETE_OK, NULL);
}

void idle_queues(const struct settings *settings, struct idle_result *ret_result)
{
    unsigned count = settings->idle_queues, from;
    struct client client;
    uint64_t start_ns;

    client_open(&client, &settings->address);
    ret_result->count = count;
    ret_result->rss_before_kb = settled_rss_kb(settings);
    start_ns = usage_now_ns();
    for (from = 0; from < count; from += PACK)
        declare_pack(&client, settings, from, count - from < PACK ? count : from + PACK);
    ret_result->wall_s = (double)(usage_now_ns() - start_ns) / 1e9;
    ret_result->rss_after_kb = settled_rss_kb(settings);
    for (from = 0; from < count; from += PACK)
        delete_pack(&client, settings, from, count - from < PACK ? count : from + PACK);
    client_close(&client);
}
