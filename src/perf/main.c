/*
 * main.c - leveret-perf: load on an AMQP 0-9-1 broker, and what it costs
 *
 * One run of one kind: messages, churn, idle connections or queues, or a disk's sync. Anything
 * that makes the figures doubtful (an error from the broker, a message lost, doubled or out of
 * order, a standstill) is a line on standard error and exit status 1; wrong options are status 2.
 */
#include "perf.h"

#include <stdio.h>
#include <unistd.h>

static void run_flow(const struct settings *settings)
{
    static struct flow_result result;

    topology_declare(settings);
    flow_run(settings, &result);
    topology_delete();
    report_write(settings, report_flow(settings, &result), &result.series);
}

static void run_churn(const struct settings *settings)
{
    static struct churn_result result;

    churn_run(settings, &result);
    report_write(settings, report_churn(settings, &result), &result.series);
}

static void run_idle(const struct settings *settings)
{
    struct series none = { 0 };
    struct idle_result result;

    if (settings->idle_connections)
        idle_connections(settings, &result);
    else
        idle_queues(settings, &result);
    report_write(settings,
                 report_idle(settings,
                             settings->idle_connections ? "idle_connections" : "idle_queues",
                             &result), &none);
}

static void run_sync(const struct settings *settings)
{
    double sync_us = usage_measure_sync(settings->sync_dir, settings->body_bytes.most);
    struct series none = { 0 };

    report_write(settings, report_sync(settings, sync_us), &none);
}

int main(int argc, char **argv)
{
    struct settings settings = {
        .address = { .host = "127.0.0.1", .port = 5672, .user = "guest", .password = "guest",
                     .vhost = "/", .timeout_s = 30 },
        .producers = 1, .consumers = 1, .queues = 1, .body_bytes = { 12, 12 }, .interval_s = 1,
    };
    char prefix[32];

    (void)snprintf(prefix, sizeof prefix, "perf.%d", (int)getpid());
    settings.prefix = prefix;
    options_parse(argc, argv, &settings);
    origin_note(settings.sync_dir ? NULL : &settings.address, &settings.origin);
    if (settings.sync_dir)
        run_sync(&settings);
    else if (settings.churn)
        run_churn(&settings);
    else if (settings.idle_connections || settings.idle_queues)
        run_idle(&settings);
    else
        run_flow(&settings);
    return 0;
}
