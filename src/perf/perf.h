/*
 * perf.h - what a run is made of, and the parts of leveret-perf
 *
 *   main.c      the order of a run
 *   options.c   the command line, a row an option, and what contradicts what
 *   values.c    the forms of option values: ranges, URIs, NAME=VALUE, names with a number
 *   topology.c  the exchange and queues of a run, declared before it and deleted after it
 *   flow.c      the event loop: producers and consumers at full speed or at a given rate
 *   meter.c     what went through in each interval: the live line, and the series of the report
 *   churn.c     cycles of opening and closing connections, channels, queues, bindings
 *   idle.c      connections and queues that do nothing, and what they cost
 *   report.c    results as one JSON object, and as a summary
 *   html.c      results as a page
 *   chart.c     curves over time, drawn as SVG
 *   origin.c    when, where and against which broker a run was made
 *
 * Each part takes the settings read-only; a new workload is a new part and a row of options.
 */
#ifndef PERF_PERF_H
#define PERF_PERF_H

#include "hist.h"
#include "usage.h"
#include "values.h"
#include "wire.h"

#include <jansson.h>

enum { NAME_BYTES = 512, NAME_LENGTH_MAX = 200, GIVEN_MAX = 96 };

enum churn { CHURN_NONE, CHURN_CONNECTIONS, CHURN_CHANNELS, CHURN_QUEUES, CHURN_BINDINGS };

struct given { /* an option as it stood on the command line; secrets are replaced */
    const char *name, *value; /* value: NULL for an option that takes none */
};

struct origin { /* of the figures */
    char begun[40];   /* local time with its zone, ISO 8601 */
    char machine[512]; /* where this program ran: name, processor, kernel */
    char broker[400]; /* product, version and address; empty when no broker took part */
};

struct settings {
    struct client_address address;
    char *uri_memory; /* what parts of the address lie in, for the life of the process; or NULL */
    const char *prefix; /* of every name declared and not given */
    unsigned producers, consumers, queues;
    unsigned fanout; /* queues on one fanout exchange, instead of queues; 0 for none */
    const char *queue, *queue_pattern, *exchange, *exchange_type, *routing_key, *binding_key;
    const char *queue_type;
    bool predeclared, keep;
    struct wire_queue queue_kind;
    struct range body_bytes, expiration_ms, priority;
    bool has_expiration, has_priority, mandatory, persistent;
    bool may_drop; /* queues may lose messages by themselves: they expire, or are limited */
    struct wire_buf headers;
    unsigned confirm_window; /* unconfirmed publishes per producer; 0 for no confirms */
    unsigned prefetch_count; /* 0 for no limit */
    unsigned ack_every;      /* deliveries per basic.ack; 0 for automatic acknowledgement */
    uint64_t count;          /* messages over all producers; 0 to go by time */
    double seconds, warmup_s;
    double rate;          /* messages a second over all producers; 0 for as fast as possible */
    double consumer_rate; /* acknowledgements a second over all consumers; 0 for at once */
    double interval_s;
    bool quiet;
    enum churn churn;
    double churn_rate; /* cycles a second over all that are in flight; 0 for as fast as possible */
    unsigned parallel;
    unsigned idle_connections, idle_queues;
    struct usage_source server;
    const char *sync_dir, *json, *html;
    struct given given[GIVEN_MAX];
    unsigned given_count;
    struct origin origin;
};

struct sample { /* one interval of a run; rates a second, times in microseconds */
    double at_s; /* its end, since the run's start */
    double published, confirmed, consumed;
    double p50_us, p99_us; /* of latency, or of confirms where no latency is measured */
};

struct series {
    struct sample *samples;
    size_t count, capacity;
};

struct flow_result {
    double wall_s;
    uint64_t published, confirmed, nacked, consumed; /* since the warm-up's end */
    uint64_t consumed_bytes;                         /* of bodies */
    double body_bytes;                               /* of a published body, on average */
    double client_cpu_us;
    bool interrupted;
    struct usage before, after;
    struct hist confirm_ns; /* publish to confirm */
    struct hist deliver_ns; /* due, or without a rate written, to delivered; see flow.c */
    struct series series;
};

struct churn_result {
    double wall_s;
    uint64_t cycles;
    double client_cpu_us;
    bool interrupted;
    struct usage before, after;
    struct hist open_ns, cycle_ns; /* from when the cycle was due */
    struct series series;          /* cycles as published */
};

struct idle_result {
    double wall_s;
    uint64_t rss_before_kb, rss_after_kb;
    unsigned count;
};

/**
 * options_parse() - fill the settings from the command line
 *
 * Anything wrong or contradictory ends the process with status 2 and a sentence that says what
 * to do instead; --help ends it with 0.
 */
void options_parse(int argc, char **argv, struct settings *settings);

/** options_churn_name() - "connections", "channels", ... */
const char *options_churn_name(enum churn churn);

/** topology_declare() - declare exchange and queues; from now on exit() deletes them */
void topology_declare(const struct settings *settings);

/** topology_delete() - delete what topology_declare() made; does nothing the second time */
void topology_delete(void);

/**
 * topology_put_queue() - append the declaration of one queue, and its binding, to a client
 *
 * Return: how many answers are due: queue.declare-ok, then queue.bind-ok if two.
 */
unsigned topology_put_queue(const struct settings *settings, struct client *client,
                            unsigned index);

/** topology_queue() - the name of one of the run's queues; @ret_name holds NAME_BYTES */
void topology_queue(const struct settings *settings, unsigned index, char *ret_name);

/** topology_exchange() - the name of the run's exchange; "" for the default exchange */
void topology_exchange(const struct settings *settings, char *ret_name);

/** topology_routing_key() - of message @index of producer @producer; @ret_key holds NAME_BYTES */
void topology_routing_key(const struct settings *settings, unsigned producer, unsigned index,
                          char *ret_key);

/* Which messages a queue gets: every @stride-th of a producer, in @copies queues each. */
struct route {
    unsigned copies; /* deliveries of each message; 0 where that cannot be known beforehand */
    unsigned stride;
    bool ordered;    /* what a queue delivers keeps each producer's order, and nothing is lost */
};
struct route topology_route(const struct settings *settings);

/** topology_first() - the index of the first message that a queue gets of its producers */
unsigned topology_first(const struct settings *settings, unsigned queue);

/**
 * flow_run() - connect producers and consumers, run them to the end, take the measurements
 *
 * Ends when every message that was published (and not refused) has been confirmed and consumed.
 * Anything else, a missing, doubled or disordered message included, ends the process.
 * @ret_result:  large; the caller's
 */
void flow_run(const struct settings *settings, struct flow_result *ret_result);

/** origin_note() - fill in when and where; with @address also which broker answers there */
void origin_note(const struct client_address *address, struct origin *ret_origin);

/** flow_catch_signals() - from now on SIGINT and SIGTERM set what flow_interrupted() returns */
void flow_catch_signals(void);
bool flow_interrupted(void);

/** series_add() - keep a copy of a sample */
void series_add(struct series *series, const struct sample *sample);

/** churn_run() - open and close, again and again, from as many threads as are in flight */
void churn_run(const struct settings *settings, struct churn_result *ret_result);

/** idle_connections() - open connections with one channel each, and see the server grow */
void idle_connections(const struct settings *settings, struct idle_result *ret_result);

/** idle_queues() - declare and bind queues, pipelined, and see the server grow */
void idle_queues(const struct settings *settings, struct idle_result *ret_result);

/** report_flow(), report_churn(), report_idle(), report_sync() - results as a new JSON object */
json_t *report_flow(const struct settings *settings, const struct flow_result *result);
json_t *report_churn(const struct settings *settings, const struct churn_result *result);
json_t *report_idle(const struct settings *settings, const char *name,
                    const struct idle_result *result);
json_t *report_sync(const struct settings *settings, double sync_us);

/** report_write() - the object or the summary, wherever the settings want them */
void report_write(const struct settings *settings, json_t *report, const struct series *series);

/**
 * report_summary() - call @line for each line of the summary: a label, and a value with its unit
 */
void report_summary(const json_t *report,
                    void (*line)(void *context, const char *label, const char *value),
                    void *context);

/** html_write() - one page: where the figures come from, curves over time, the summary */
void html_write(const struct settings *settings, const json_t *report,
                const struct series *series);

#endif
