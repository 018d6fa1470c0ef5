/*
 * main.c - leveret-perf, a cheap load generator for AMQP 0-9-1 brokers
 *
 * Usage: leveret-perf [OPTION...]; see usage() below or README.md beside this file. One run, one line of
 * JSON on standard output, exit status 0. Anything that makes the figures doubtful (an error from
 * the broker, a message lost, doubled or out of order, a standstill) is a line on standard error
 * and exit status 1; wrong options are status 2.
 */
#include "perf.h"

#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char usage_text[] =
    "Usage: leveret-perf [OPTION...]\n"
    "where   --host NAME (127.0.0.1)  --port N (5672)  --user U --password P (guest)\n"
    "        --vhost V (/)  --prefix NAME (of queues; perf.PID)\n"
    "what    --producers N (1)  --consumers N (1)  --queues N (1)  --fanout N (queues on one\n"
    "        fanout exchange)  --size BYTES (12)  --persistent  --durable (queues)\n"
    "how     --confirm WINDOW (unconfirmed publishes a producer)  --prefetch N\n"
    "        --ack-every N (0: automatic)  --rate N (messages a second; measures latency)\n"
    "how far --count N | --seconds S (5)  --warmup S (0)  --timeout S without progress (30)\n"
    "idle    --idle-connections N | --idle-queues N: what each costs the server's memory\n"
    "server  --server-pid PID (may be repeated: summed)  --data-dir DIR (its disk's flushes)\n"
    "disk    --measure-sync DIR: time of one write and fdatasync of --size bytes there\n";

static void usage(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void usage(const char *format, ...)
{
    va_list args;

    fputs("leveret-perf: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n%s", usage_text);
    exit(2);
}

static double to_number(const char *option, const char *text, double least, double most)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end || !(value >= least && value <= most))
        usage("--%s: '%s' is not a number from %g to %g", option, text, least, most);
    return value;
}

enum kind { TEXT, UNSIGNED, COUNT, REAL, FLAG, PID, HELP };

/* Each option is a row: where its value goes, what it is, and its bounds. */
struct row {
    const char *name;
    enum kind kind;
    void *value;
    double least, most;
};

static void set_option(struct settings *settings, const struct row *row, const char *text)
{
    switch (row->kind) {
    case TEXT:
        *(const char **)row->value = text;
        break;
    case UNSIGNED:
        *(unsigned *)row->value = (unsigned)to_number(row->name, text, row->least, row->most);
        break;
    case COUNT:
        *(uint64_t *)row->value = (uint64_t)to_number(row->name, text, row->least, row->most);
        break;
    case REAL:
        *(double *)row->value = to_number(row->name, text, row->least, row->most);
        break;
    case FLAG:
        *(bool *)row->value = true;
        break;
    case PID:
        if (settings->server.pid_count == USAGE_PIDS_MAX)
            usage("--server-pid may be given %d times", USAGE_PIDS_MAX);
        settings->server.pids[settings->server.pid_count++] =
            (pid_t)to_number(row->name, text, row->least, row->most);
        break;
    case HELP:
        fputs(usage_text, stdout);
        exit(0);
    }
}

static void check_settings(struct settings *s)
{
    if (s->fanout)
        s->queues = s->fanout;
    if (s->fanout && s->consumers && s->consumers != s->fanout)
        usage("--fanout %u wants as many consumers, or none", s->fanout);
    if (s->consumers && s->consumers < s->queues)
        usage("%u consumers cannot empty %u queues", s->consumers, s->queues);
    if (!s->fanout && s->producers % s->queues && s->queues % s->producers)
        usage("%u producers do not spread evenly over %u queues", s->producers, s->queues);
    if (s->prefetch_count && s->ack_every > s->prefetch_count)
        usage("--ack-every %u with --prefetch %u would come to a halt", s->ack_every,
              s->prefetch_count);
    if (s->rate > 0 && s->body_bytes < 16)
        usage("--rate needs a --size of 16 or more, for the time in each message");
    if (s->count && s->seconds > 0)
        usage("--count and --seconds exclude each other");
    if (s->idle_connections && s->idle_queues)
        usage("--idle-connections and --idle-queues exclude each other");
    if ((s->idle_connections || s->idle_queues) && !s->server.pid_count)
        usage("without --server-pid there is no memory to measure");
    if (!s->count && s->seconds <= 0)
        s->seconds = 5;
}

static const char *parse(int argc, char **argv, struct settings *s)
{
    const char *sync_dir = NULL;
    const struct row rows[] = {
        { "host", TEXT, &s->address.host, 0, 0 },
        { "port", UNSIGNED, &s->address.port, 1, 65535 },
        { "user", TEXT, &s->address.user, 0, 0 },
        { "password", TEXT, &s->address.password, 0, 0 },
        { "vhost", TEXT, &s->address.vhost, 0, 0 },
        { "prefix", TEXT, &s->prefix, 0, 0 },
        { "producers", UNSIGNED, &s->producers, 1, 10000 },
        { "consumers", UNSIGNED, &s->consumers, 0, 10000 },
        { "queues", UNSIGNED, &s->queues, 1, 10000 },
        { "fanout", UNSIGNED, &s->fanout, 1, 10000 },
        { "size", UNSIGNED, &s->body_bytes, 0, 128 << 20 },
        { "persistent", FLAG, &s->persistent, 0, 0 },
        { "durable", FLAG, &s->durable, 0, 0 },
        { "confirm", UNSIGNED, &s->confirm_window, 1, 1 << 20 },
        { "prefetch", UNSIGNED, &s->prefetch_count, 0, 65535 },
        { "ack-every", UNSIGNED, &s->ack_every, 0, 1 << 20 },
        { "count", COUNT, &s->count, 1, 1e15 },
        { "seconds", REAL, &s->seconds, 0.01, 1e6 },
        { "warmup", REAL, &s->warmup_s, 0, 1e6 },
        { "rate", REAL, &s->rate, 0.001, 1e8 },
        { "timeout", UNSIGNED, &s->address.timeout_s, 1, 86400 },
        { "idle-connections", UNSIGNED, &s->idle_connections, 1, 1000000 },
        { "idle-queues", UNSIGNED, &s->idle_queues, 1, 10000000 },
        { "server-pid", PID, NULL, 1, INT_MAX },
        { "data-dir", TEXT, &s->server.data_dir, 0, 0 },
        { "measure-sync", TEXT, &sync_dir, 0, 0 },
        { "help", HELP, NULL, 0, 0 },
    };
    enum { ROWS = sizeof rows / sizeof rows[0] };
    struct option options[ROWS + 1] = { 0 };
    int i, at;

    for (i = 0; i < ROWS; i++) {
        options[i].name = rows[i].name;
        options[i].has_arg =
            rows[i].kind == FLAG || rows[i].kind == HELP ? no_argument : required_argument;
    }
    while ((i = getopt_long(argc, argv, "", options, &at)) != -1) {
        if (i)
            usage("see the options below");
        set_option(s, &rows[at], optarg);
    }
    if (optind < argc)
        usage("'%s' is not an option", argv[optind]);
    check_settings(s);
    return sync_dir;
}

static void report_server(const struct settings *settings, const struct flow_result *result)
{
    const struct usage *before = &result->before, *after = &result->after;
    double cpu_us = after->cpu_us - before->cpu_us;
    double published = (double)(result->published ? result->published : 1);
    double payload = published * settings->body_bytes;

    printf(", \"server_cpu_s\": %.6f, \"server_user_s\": %.2f, \"server_system_s\": %.2f",
           cpu_us / 1e6, (after->user_us - before->user_us) / 1e6,
           (after->system_us - before->system_us) / 1e6);
    printf(", \"server_cpu_us_per_message\": %.4f", cpu_us / published);
    if (result->consumed)
        printf(", \"server_cpu_us_per_delivery\": %.4f", cpu_us / (double)result->consumed);
    printf(", \"server_rss_kb\": %llu, \"server_rss_peak_kb\": %llu",
           (unsigned long long)after->rss_kb, (unsigned long long)after->rss_peak_kb);
    printf(", \"server_bytes_written\": %llu, \"server_write_calls\": %llu",
           (unsigned long long)(after->bytes_written - before->bytes_written),
           (unsigned long long)(after->writes - before->writes));
    if (payload > 0)
        printf(", \"server_bytes_written_per_payload_byte\": %.3f",
               (double)(after->bytes_written - before->bytes_written) / payload);
    if (settings->server.data_dir)
        printf(", \"disk_flushes\": %llu",
               (unsigned long long)(after->flushes - before->flushes));
}

static void report_latency(const char *name, const struct hist *hist)
{
    static const double percents[] = { 50, 95, 99, 99.9, 100 };
    static const char *const labels[] = { "p50", "p95", "p99", "p999", "max" };
    unsigned i;

    if (!hist->total)
        return;
    printf(", \"%s_us\": {", name);
    for (i = 0; i < 5; i++)
        printf("%s\"%s\": %.1f", i ? ", " : "", labels[i],
               (double)hist_percentile(hist, percents[i]) / 1e3);
    printf("}");
}

static void report_flow(const struct settings *settings, const struct flow_result *result)
{
    double published = (double)(result->published ? result->published : 1);

    printf("{\"published\": %llu, \"confirmed\": %llu, \"nacked\": %llu, \"consumed\": %llu",
           (unsigned long long)result->published, (unsigned long long)result->confirmed,
           (unsigned long long)result->nacked, (unsigned long long)result->consumed);
    printf(", \"wall_s\": %.4f, \"publish_rate\": %.1f, \"consume_rate\": %.1f", result->wall_s,
           (double)result->published / result->wall_s, (double)result->consumed / result->wall_s);
    printf(", \"client_cpu_us_per_message\": %.4f", result->client_cpu_us / published);
    report_latency("confirm", &result->confirm_ns);
    report_latency("latency", &result->deliver_ns);
    if (settings->server.pid_count)
        report_server(settings, result);
    printf("}\n");
}

static void report_idle(const char *name, const struct idle_result *result)
{
    double grown_kb = (double)result->rss_after_kb - (double)result->rss_before_kb;

    printf("{\"%s\": %u, \"wall_s\": %.4f, \"rate\": %.1f, \"rss_before_kb\": %llu, "
           "\"rss_after_kb\": %llu, \"bytes_each\": %.0f}\n",
           name, result->count, result->wall_s, result->count / result->wall_s,
           (unsigned long long)result->rss_before_kb, (unsigned long long)result->rss_after_kb,
           grown_kb * 1024 / result->count);
}

int main(int argc, char **argv)
{
    static struct flow_result result;
    struct idle_result idle_result;
    struct settings settings = {
        .address = { .host = "127.0.0.1", .port = 5672, .user = "guest", .password = "guest",
                     .vhost = "/", .timeout_s = 30 },
        .producers = 1, .consumers = 1, .queues = 1, .body_bytes = 12,
    };
    char prefix[32];
    const char *sync_dir;

    (void)snprintf(prefix, sizeof prefix, "perf.%d", (int)getpid());
    settings.prefix = prefix;
    sync_dir = parse(argc, argv, &settings);
    if (sync_dir) {
        printf("{\"sync_us\": %.1f}\n", usage_measure_sync(sync_dir, settings.body_bytes));
    } else if (settings.idle_connections) {
        idle_connections(&settings, &idle_result);
        report_idle("idle_connections", &idle_result);
    } else if (settings.idle_queues) {
        idle_queues(&settings, &idle_result);
        report_idle("idle_queues", &idle_result);
    } else {
        topology_declare(&settings);
        flow_run(&settings, &result);
        topology_delete();
        report_flow(&settings, &result);
    }
    return 0;
}
