/*
 * options.c - the command line: a row an option, a row a contradiction
 *
 * A row says where the value goes and what form it has. What cannot work together is a second
 * table, of conditions and of sentences that say what to do. Both end the process with status 2.
 */
#include "perf.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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
    const char *argument, *text; /* for --help */
    const char *group;           /* a heading before it, or NULL */
};

#define AT(member) offsetof(struct settings, member)

static const struct row rows[] = {
    { "uri", URI, AT(address), 0, 0, "URI",
      "amqp://user:password@host:port/vhost, instead of these five:", "Where" },
    { "host", TEXT, AT(address.host), 0, 0, "NAME", "127.0.0.1", NULL },
    { "port", UNSIGNED, AT(address.port), 1, 65535, "N", "5672", NULL },
    { "user", TEXT, AT(address.user), 0, 0, "NAME", "guest", NULL },
    { "password", TEXT, AT(address.password), 0, 0, "TEXT", "guest", NULL },
    { "vhost", TEXT, AT(address.vhost), 0, 0, "NAME", "/", NULL },

    { "producers", UNSIGNED, AT(producers), 0, 10000, "N", "publishing connections (1)",
      "How" },
    { "consumers", UNSIGNED, AT(consumers), 0, 10000, "N", "consuming connections (1)", NULL },
    { "confirm", UNSIGNED, AT(confirm_window), 1, 1 << 20, "N",
      "publisher confirms, at most N of them outstanding", NULL },
    { "prefetch", UNSIGNED, AT(prefetch_count), 0, 65535, "N",
      "unacknowledged deliveries a consumer may have (no limit)", NULL },
    { "ack-every", UNSIGNED, AT(ack_every), 0, 1 << 20, "N",
      "acknowledge every N deliveries (0: automatically)", NULL },
    { "rate", REAL, AT(rate), 0.001, 1e8, "N", "messages a second (as many as possible)", NULL },
    { "consumer-rate", REAL, AT(consumer_rate), 0.001, 1e8, "N",
      "acknowledgements a second (at once)", NULL },

    { "count", COUNT, AT(count), 1, 1e15, "N", "stop after N messages ...", "How far" },
    { "seconds", REAL, AT(seconds), 0.01, 1e6, "S", "... or after S seconds (5)", NULL },
    { "warmup", REAL, AT(warmup_s), 0, 1e6, "S", "before that, not counted (0)", NULL },
    { "timeout", UNSIGNED, AT(address.timeout_s), 1, 86400, "S",
      "fail when nothing moves for S seconds (30)", NULL },

    { "size", RANGE, AT(body_bytes), 0, 128 << 20, "N|MIN-MAX",
      "bytes of a body (12); latency needs 16", "Messages" },
    { "persistent", FLAG, AT(persistent), 0, 0, NULL, "delivery mode 2", NULL },
    { "mandatory", FLAG, AT(mandatory), 0, 0, NULL, "a returned message is an error", NULL },
    { "expiration", RANGE, AT(expiration_ms), 0, INT_MAX, "MS|MIN-MAX", "time to live", NULL },
    { "priority", RANGE, AT(priority), 0, 255, "N|MIN-MAX", "message priority", NULL },
    { "header", TABLE, AT(headers), 0, 0, "NAME=VALUE", "a header; may be repeated", NULL },

    { "queues", UNSIGNED, AT(queues), 1, 10000, "N", "so many queues (1)", "Queues and exchange" },
    { "queue", NAME, AT(queue), 0, 0, "NAME", "the name of one", NULL },
    { "queue-pattern", NAME, AT(queue_pattern), 0, 0, "NAME-%d", "the names of many", NULL },
    { "durable", FLAG, AT(queue_kind.durable), 0, 0, NULL, "declare them durable,", NULL },
    { "auto-delete", FLAG, AT(queue_kind.auto_delete), 0, 0, NULL, "auto-delete,", NULL },
    { "exclusive", FLAG, AT(queue_kind.exclusive), 0, 0, NULL, "exclusive,", NULL },
    { "queue-type", NAME, AT(queue_type), 0, 0, "TYPE", "of this type,", NULL },
    { "queue-arg", TABLE, AT(queue_kind.arguments), 0, 0, "NAME=VALUE",
      "with this argument; may be repeated", NULL },
    { "exchange", NAME, AT(exchange), 0, 0, "NAME", "publish to it (the default exchange)", NULL },
    { "exchange-type", NAME, AT(exchange_type), 0, 0, "TYPE", "direct, fanout, topic, ...", NULL },
    { "fanout", UNSIGNED, AT(fanout), 1, 10000, "N", "N queues on one fanout exchange", NULL },
    { "routing-key", NAME, AT(routing_key), 0, 0, "KEY", "%d cycles through the queues", NULL },
    { "binding-key", NAME, AT(binding_key), 0, 0, "KEY", "where it is not the routing key", NULL },
    { "prefix", NAME, AT(prefix), 0, 0, "NAME", "of names that are not given (perf.PID)", NULL },
    { "predeclared", FLAG, AT(predeclared), 0, 0, NULL, "declare and delete nothing", NULL },
    { "keep", FLAG, AT(keep), 0, 0, NULL, "do not delete at the end", NULL },

    { "churn", CHURN, AT(churn), 0, 0, "WHAT",
      "open and close connections, channels, queues or bindings", "Instead of messages" },
    { "churn-rate", REAL, AT(churn_rate), 0.001, 1e6, "N", "so many a second", NULL },
    { "parallel", UNSIGNED, AT(parallel), 1, 1000, "N", "so many at a time (1)", NULL },
    { "idle-connections", UNSIGNED, AT(idle_connections), 1, 1000000, "N",
      "open N, and say what each costs the server", NULL },
    { "idle-queues", UNSIGNED, AT(idle_queues), 1, 10000000, "N", "the same for queues", NULL },
    { "measure-sync", TEXT, AT(sync_dir), 0, 0, "DIR",
      "time of one write and fdatasync of --size bytes there", NULL },

    { "server-pid", PID, 0, 1, INT_MAX, "PID",
      "what the server costs; may be repeated: summed", "Server and output" },
    { "data-dir", TEXT, AT(server.data_dir), 0, 0, "DIR", "flushes of the disk that holds it", NULL },
    { "json", TEXT, AT(json), 0, 0, "FILE|-", "the result as JSON", NULL },
    { "html", TEXT, AT(html), 0, 0, "FILE", "the result as a page with curves over time", NULL },
    { "interval", REAL, AT(interval_s), 0.01, 1e6, "S", "between live lines, and of curves (1)", NULL },
    { "quiet", FLAG, AT(quiet), 0, 0, NULL, "no live lines", NULL },
    { "help", PRINT_HELP, 0, 0, 0, NULL, "this", NULL },
    { "version", PRINT_VERSION, 0, 0, 0, NULL, "the version", NULL },
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

static void print_help(void)
{
    char option[64];
    int i;

    puts("Usage: leveret-perf [OPTION...]\n\n"
         "Loads an AMQP 0-9-1 broker and reports throughput, latency and cost, for example:\n"
         "  leveret-perf --size 1k --durable --persistent --confirm 1000 --prefetch 2000 "
         "--ack-every 100\n"
         "  leveret-perf --rate 5000 --size 100 --seconds 30 --html report.html\n"
         "Numbers may end in k, M, G or Ki, Mi, Gi. leveret-perf(1) has the details.");
    for (i = 0; i < ROWS; i++) {
        if (rows[i].group)
            printf("\n%s\n", rows[i].group);
        (void)snprintf(option, sizeof option, "--%s%s%s", rows[i].name,
                       rows[i].argument ? " " : "", rows[i].argument ? rows[i].argument : "");
        printf("  %-28s %s\n", option, rows[i].text);
    }
}

static double to_number(const struct row *row, const char *text)
{
    double number;

    if (!value_number(text, row->least, row->most, &number))
        usage("--%s: '%s' is not a number from %.*f to %.0f", row->name, text,
              row->least > 0 && row->least < 1 ? 3 : 0, row->least, row->most);
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
        print_help();
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
        .name = row->name, .value = secret ? "(not shown)" : text };
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

/* A run of an hour must not end with a file that cannot be written. */
static void check_output(const char *option, const char *path)
{
    int fd;

    if (!path || !strcmp(path, "-"))
        return;
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0)
        (void)unlink(path); /* it was made to see whether it can be */
    else if (errno == EEXIST)
        fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        usage("--%s: '%s' cannot be written: %s", option, path, strerror(errno));
    (void)close(fd);
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
    check_output("json", settings->json);
    check_output("html", settings->html);
    complete(settings);
}
