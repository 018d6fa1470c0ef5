/*
 * options.c - the command line: a row an option, a row a contradiction
 *
 * A row says where the value goes and what form it has. What cannot work together is a second
 * table, of conditions and of sentences that say what to do. Both end the process with status 2.
 */
#include "perf.h"

#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage_text[] =
    "Usage: leveret-perf [OPTION...]\n"
    "where    --uri amqp://user:password@host:port/vhost, or --host NAME (127.0.0.1)\n"
    "         --port N (5672) --user U --password P (guest) --vhost V (/)\n"
    "topology --queues N (1)  --queue NAME | --queue-pattern 'NAME-%d'  --fanout N (queues on one\n"
    "         fanout exchange)  --exchange NAME  --exchange-type T (direct)  --routing-key KEY\n"
    "         (%d: cycles)  --binding-key KEY  --durable  --auto-delete  --exclusive\n"
    "         --queue-type T  --queue-arg NAME=VALUE...  --predeclared  --keep  --prefix NAME\n"
    "message  --size N|MIN-MAX (12)  --persistent  --expiration MS|MIN-MAX\n"
    "         --priority N|MIN-MAX  --mandatory  --header NAME=VALUE...\n"
    "how      --producers N (1)  --consumers N (1)  --confirm WINDOW (unconfirmed publishes a\n"
    "         producer)  --prefetch N  --ack-every N (0: automatic)  --rate N (messages a\n"
    "         second; measures latency)  --consumer-rate N\n"
    "how far  --count N | --seconds S (5)  --warmup S (0)  --timeout S without progress (30)\n"
    "live     --interval S (1)  --quiet\n"
    "churn    --churn connections|channels|queues|bindings  --churn-rate N  --parallel N (1)\n"
    "idle     --idle-connections N | --idle-queues N: what each costs the server's memory\n"
    "server   --server-pid PID (may be repeated: summed)  --data-dir DIR (its disk's flushes)\n"
    "         --measure-sync DIR: time of one write and fdatasync of --size bytes there\n"
    "output   --json FILE|-  --html FILE  --help  --version\n";

static void usage(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void usage(const char *format, ...)
{
    va_list args;

    fputs("leveret-perf: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs("\nleveret-perf --help lists the options.\n", stderr);
    exit(2);
}

enum kind { TEXT, NAME, UNSIGNED, COUNT, REAL, FLAG, RANGE, TABLE, URI, CHURN, PID,
            PRINT_HELP, PRINT_VERSION };

struct row {
    const char *name;
    enum kind kind;
    size_t value; /* offset in the settings */
    double least, most;
};

#define AT(member) offsetof(struct settings, member)

static const struct row rows[] = {
    { "uri", URI, AT(address), 0, 0 },
    { "host", TEXT, AT(address.host), 0, 0 },
    { "port", UNSIGNED, AT(address.port), 1, 65535 },
    { "user", TEXT, AT(address.user), 0, 0 },
    { "password", TEXT, AT(address.password), 0, 0 },
    { "vhost", TEXT, AT(address.vhost), 0, 0 },
    { "prefix", NAME, AT(prefix), 0, 0 },
    { "producers", UNSIGNED, AT(producers), 0, 10000 },
    { "consumers", UNSIGNED, AT(consumers), 0, 10000 },
    { "queues", UNSIGNED, AT(queues), 1, 10000 },
    { "fanout", UNSIGNED, AT(fanout), 1, 10000 },
    { "queue", NAME, AT(queue), 0, 0 },
    { "queue-pattern", NAME, AT(queue_pattern), 0, 0 },
    { "queue-type", NAME, AT(queue_type), 0, 0 },
    { "queue-arg", TABLE, AT(queue_kind.arguments), 0, 0 },
    { "exchange", NAME, AT(exchange), 0, 0 },
    { "exchange-type", NAME, AT(exchange_type), 0, 0 },
    { "routing-key", NAME, AT(routing_key), 0, 0 },
    { "binding-key", NAME, AT(binding_key), 0, 0 },
    { "predeclared", FLAG, AT(predeclared), 0, 0 },
    { "durable", FLAG, AT(queue_kind.durable), 0, 0 },
    { "auto-delete", FLAG, AT(queue_kind.auto_delete), 0, 0 },
    { "exclusive", FLAG, AT(queue_kind.exclusive), 0, 0 },
    { "keep", FLAG, AT(keep), 0, 0 },
    { "size", RANGE, AT(body_bytes), 0, 128 << 20 },
    { "persistent", FLAG, AT(persistent), 0, 0 },
    { "expiration", RANGE, AT(expiration_ms), 0, INT_MAX },
    { "priority", RANGE, AT(priority), 0, 255 },
    { "mandatory", FLAG, AT(mandatory), 0, 0 },
    { "header", TABLE, AT(headers), 0, 0 },
    { "confirm", UNSIGNED, AT(confirm_window), 1, 1 << 20 },
    { "prefetch", UNSIGNED, AT(prefetch_count), 0, 65535 },
    { "ack-every", UNSIGNED, AT(ack_every), 0, 1 << 20 },
    { "rate", REAL, AT(rate), 0.001, 1e8 },
    { "consumer-rate", REAL, AT(consumer_rate), 0.001, 1e8 },
    { "count", COUNT, AT(count), 1, 1e15 },
    { "seconds", REAL, AT(seconds), 0.01, 1e6 },
    { "warmup", REAL, AT(warmup_s), 0, 1e6 },
    { "timeout", UNSIGNED, AT(address.timeout_s), 1, 86400 },
    { "interval", REAL, AT(interval_s), 0.01, 1e6 },
    { "quiet", FLAG, AT(quiet), 0, 0 },
    { "churn", CHURN, AT(churn), 0, 0 },
    { "churn-rate", REAL, AT(churn_rate), 0.001, 1e6 },
    { "parallel", UNSIGNED, AT(parallel), 1, 1000 },
    { "idle-connections", UNSIGNED, AT(idle_connections), 1, 1000000 },
    { "idle-queues", UNSIGNED, AT(idle_queues), 1, 10000000 },
    { "server-pid", PID, 0, 1, INT_MAX },
    { "data-dir", TEXT, AT(server.data_dir), 0, 0 },
    { "measure-sync", TEXT, AT(sync_dir), 0, 0 },
    { "json", TEXT, AT(json), 0, 0 },
    { "html", TEXT, AT(html), 0, 0 },
    { "help", PRINT_HELP, 0, 0, 0 },
    { "version", PRINT_VERSION, 0, 0, 0 },
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static const char *const churn_names[] = {
    [CHURN_NONE] = "none",
    [CHURN_CONNECTIONS] = "connections",
    [CHURN_CHANNELS] = "channels",
    [CHURN_QUEUES] = "queues",
    [CHURN_BINDINGS] = "bindings",
};

const char *options_churn_name(enum churn churn)
{
    return churn_names[churn];
}

static double to_number(const struct row *row, const char *text)
{
    double number;

    if (!value_number(text, row->least, row->most, &number))
        usage("--%s: '%s' is not a number from %g to %g", row->name, text, row->least, row->most);
    return number;
}

static enum churn to_churn(const char *text)
{
    unsigned i;

    for (i = CHURN_CONNECTIONS; i <= CHURN_BINDINGS; i++)
        if (!strcmp(text, churn_names[i]))
            return (enum churn)i;
    usage("--churn: '%s' is none of connections, channels, queues, bindings", text);
}

static void add_pid(struct settings *settings, const struct row *row, const char *text)
{
    if (settings->server.pid_count == USAGE_PIDS_MAX)
        usage("--server-pid may be given %d times", USAGE_PIDS_MAX);
    settings->server.pids[settings->server.pid_count++] = (pid_t)to_number(row, text);
}

static void set_option(struct settings *settings, const struct row *row, const char *text)
{
    void *value = (char *)settings + row->value;

    switch (row->kind) {
    case NAME:
        if (strlen(text) > NAME_LENGTH_MAX)
            usage("--%s: a name may have %d bytes", row->name, NAME_LENGTH_MAX);
        *(const char **)value = text;
        return;
    case TEXT:
        *(const char **)value = text;
        return;
    case UNSIGNED:
        *(unsigned *)value = (unsigned)to_number(row, text);
        return;
    case COUNT:
        *(uint64_t *)value = (uint64_t)to_number(row, text);
        return;
    case REAL:
        *(double *)value = to_number(row, text);
        return;
    case FLAG:
        *(bool *)value = true;
        return;
    case RANGE:
        if (!value_range(text, (unsigned)row->most, value))
            usage("--%s: '%s' is neither N nor MIN-MAX, up to %.0f", row->name, text, row->most);
        settings->has_expiration |= value == &settings->expiration_ms;
        settings->has_priority |= value == &settings->priority;
        return;
    case TABLE:
        if (!value_argument(text, value))
            usage("--%s: '%s' is not NAME=VALUE", row->name, text);
        return;
    case URI:
        if (settings->uri_memory)
            usage("--uri is given twice");
        if (!value_uri(text, value, &settings->uri_memory))
            usage("--uri: '%s' is not amqp://user:password@host:port/vhost", text);
        return;
    case CHURN:
        *(enum churn *)value = to_churn(text);
        return;
    case PID:
        add_pid(settings, row, text);
        return;
    case PRINT_HELP:
        fputs(usage_text, stdout);
        exit(0);
    case PRINT_VERSION:
        puts("leveret-perf " PACKAGE_VERSION);
        exit(0);
    }
}

static void note_given(struct settings *settings, const struct row *row, const char *text)
{
    bool secret = row->kind == URI || !strcmp(row->name, "password");

    if (settings->given_count == GIVEN_MAX)
        usage("more than %d options", GIVEN_MAX);
    settings->given[settings->given_count++] = (struct given){
        .name = row->name, .value = secret ? "(not shown)" : text ? text : "yes" };
}

struct rule {
    bool broken;
    const char *advice;
};

static void check_rules(const struct rule *rules, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++)
        if (rules[i].broken)
            usage("%s", rules[i].advice);
}

static void check_modes(const struct settings *s)
{
    bool idle = s->idle_connections || s->idle_queues;
    const struct rule rules[] = {
        { s->count && s->seconds > 0, "--count and --seconds exclude each other: leave one out" },
        { s->idle_connections && s->idle_queues,
          "--idle-connections and --idle-queues exclude each other: use two runs" },
        { idle && !s->server.pid_count,
          "there is no memory to measure: say whose with --server-pid PID" },
        { idle && s->churn, "--churn and --idle-... exclude each other: use two runs" },
        { s->idle_queues && s->queue, "--idle-queues needs many names: use --queue-pattern" },
        { (s->churn_rate > 0 || s->parallel) && !s->churn,
          "--churn-rate and --parallel belong to --churn: say what to open and close" },
        { s->churn && s->warmup_s > 0, "--churn has no warm-up: leave --warmup out" },
        { s->churn && (s->rate > 0 || s->consumer_rate > 0),
          "--churn sends no messages: use --churn-rate" },
        { !s->churn && !idle && !s->producers && !s->consumers,
          "with no producers and no consumers there is nothing to do: give one of them" },
    };

    check_rules(rules, sizeof rules / sizeof rules[0]);
}

static void check_topology(const struct settings *s)
{
    bool exchange = s->exchange || s->exchange_type || s->fanout;
    bool fanout = s->fanout || (s->exchange_type && !strcmp(s->exchange_type, "fanout"));
    const struct rule rules[] = {
        { s->queue && s->queue_pattern,
          "--queue and --queue-pattern exclude each other: leave one out" },
        { s->queue && s->queues > 1,
          "--queue names one queue: use --queue-pattern 'NAME-%d' for more" },
        { s->queue_pattern && s->queues > 1 && !strstr(s->queue_pattern, "%d"),
          "--queue-pattern has no %d: without it all queues would be the same" },
        { s->fanout && s->exchange_type && strcmp(s->exchange_type, "fanout"),
          "--fanout makes a fanout exchange: use --queues with another --exchange-type" },
        { s->binding_key && !exchange,
          "the default exchange has no bindings: add --exchange to --binding-key" },
        { s->predeclared && (s->queue_kind.durable || s->queue_kind.auto_delete ||
                             s->queue_kind.exclusive || s->queue_kind.arguments.size ||
                             s->queue_type),
          "--predeclared declares nothing: leave out what describes queues" },
        { s->predeclared && s->consumers && !s->queue && !s->queue_pattern,
          "--predeclared needs to know from where to consume: add --queue or --queue-pattern" },
        { s->predeclared && !s->queue && !s->queue_pattern && !s->exchange,
          "--predeclared needs to know where to publish: add --queue or --exchange" },
        { s->queue_kind.exclusive && s->consumers != s->queues,
          "an exclusive queue belongs to one connection: give as many --consumers as --queues" },
        { s->queue_kind.exclusive && s->keep,
          "exclusive queues end with their connection: leave --keep out" },
        { s->fanout && s->consumers && s->consumers != s->fanout,
          "--fanout wants as many --consumers as queues, or none" },
        { s->consumers && s->consumers < s->queues,
          "fewer consumers than queues cannot empty them all: give at least as many --consumers" },
        { !fanout && !s->routing_key && s->producers && s->producers % s->queues &&
              s->queues % s->producers,
          "producers do not spread evenly over the queues: make one number a multiple of the "
          "other" },
    };

    check_rules(rules, sizeof rules / sizeof rules[0]);
}

static void check_flow(const struct settings *s)
{
    const struct rule rules[] = {
        { s->prefetch_count && s->ack_every > s->prefetch_count,
          "--ack-every above --prefetch would come to a halt: make it smaller" },
        { s->rate > 0 && s->body_bytes.least < 16,
          "--rate needs a --size of 16 or more, for the time in each message" },
        { s->rate > 0 && !s->producers, "--rate is of producers: give --producers, or use "
                                        "--consumer-rate" },
        { s->confirm_window && !s->producers, "--confirm is of producers: give --producers" },
        { s->consumer_rate > 0 && !s->consumers,
          "--consumer-rate is of consumers: give --consumers" },
        { s->consumer_rate > 0 && (!s->ack_every || !s->prefetch_count),
          "--consumer-rate works by acknowledging late: add --prefetch N and --ack-every N" },
    };

    check_rules(rules, sizeof rules / sizeof rules[0]);
}

static void complete(struct settings *s)
{
    char type[NAME_BYTES + 16];

    s->may_drop = s->has_expiration || s->queue_kind.arguments.size;
    if (s->queue_type) {
        (void)snprintf(type, sizeof type, "x-queue-type=%s", s->queue_type);
        (void)value_argument(type, &s->queue_kind.arguments);
    }
    if (s->fanout)
        s->exchange_type = "fanout";
    if (!s->count && s->seconds <= 0)
        s->seconds = 5;
    if (!s->parallel)
        s->parallel = 1;
}

void options_parse(int argc, char **argv, struct settings *settings)
{
    struct option options[ROWS + 1] = { 0 };
    int i, at;

    for (i = 0; i < ROWS; i++) {
        enum kind kind = rows[i].kind;

        options[i].name = rows[i].name;
        options[i].has_arg = required_argument;
        if (kind == FLAG || kind == PRINT_HELP || kind == PRINT_VERSION)
            options[i].has_arg = no_argument;
    }
    while ((i = getopt_long(argc, argv, "", options, &at)) != -1) {
        if (i)
            usage("see above for what is wrong with the options");
        set_option(settings, &rows[at], optarg);
        note_given(settings, &rows[at], optarg);
    }
    if (optind < argc)
        usage("'%s' is not an option", argv[optind]);
    if (settings->fanout)
        settings->queues = settings->fanout;
    if (settings->exchange && !settings->exchange_type && !strncmp(settings->exchange, "amq.", 4))
        settings->exchange_type = settings->exchange + 4; /* they are named after their types */
    check_modes(settings);
    if (!settings->churn && !settings->idle_connections && !settings->idle_queues &&
        !settings->sync_dir) {
        check_topology(settings);
        check_flow(settings);
    }
    complete(settings);
}
