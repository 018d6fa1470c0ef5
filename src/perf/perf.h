/*
 * perf.h - what a run is made of, and the parts of the load program
 *
 *   main.c      options, the order of a run, the report
 *   topology.c  the exchange and queues of a run, declared before it and deleted after it
 *   flow.c      the event loop: producers and consumers at full speed or at a given rate
 *   idle.c      connections and queues that do nothing, and what they cost
 *
 * Each part takes the settings read-only; a new workload is a new part and a row of options.
 */
#ifndef PERF_PERF_H
#define PERF_PERF_H

#include "hist.h"
#include "usage.h"
#include "wire.h"

enum { NAME_BYTES = 96 };

struct settings {
    struct client_address address;
    const char *prefix; /* of every name declared */
    unsigned producers, consumers, queues;
    unsigned fanout; /* queues on one fanout exchange, instead of queues; 0 for none */
    unsigned body_bytes;
    bool persistent, durable;
    unsigned confirm_window; /* unconfirmed publishes per producer; 0 for no confirms */
    unsigned prefetch_count; /* 0 for no limit */
    unsigned ack_every;      /* deliveries per basic.ack; 0 for automatic acknowledgement */
    uint64_t count;          /* messages over all producers; 0 to go by time */
    double seconds, warmup_s;
    double rate; /* messages a second over all producers; 0 for as fast as possible */
    unsigned idle_connections, idle_queues;
    struct usage_source server;
};

struct flow_result {
    double wall_s;
    uint64_t published, confirmed, nacked, consumed; /* since the warm-up's end */
    double client_cpu_us;
    struct usage before, after;
    struct hist confirm_ns; /* publish to confirm */
    struct hist deliver_ns; /* intended time of publish to delivery; only with a rate */
};

struct idle_result {
    double wall_s;
    uint64_t rss_before_kb, rss_after_kb;
    unsigned count;
};

/** topology_declare() - declare exchange and queues; from now on exit() deletes them */
void topology_declare(const struct settings *settings);

/** topology_delete() - delete what topology_declare() made; does nothing the second time */
void topology_delete(void);

/** topology_queue() - the name of one of the run's queues; @ret_name holds NAME_BYTES */
void topology_queue(const struct settings *settings, unsigned index, char *ret_name);

/** topology_exchange() - the name of the run's exchange; "" for the default exchange */
void topology_exchange(const struct settings *settings, char *ret_name);

/**
 * flow_run() - connect producers and consumers, run them to the end, take the measurements
 *
 * Ends when every message that was published (and not refused) has been confirmed and consumed.
 * Anything else, a missing, doubled or disordered message included, ends the process.
 * @ret_result:  large; the caller's
 */
void flow_run(const struct settings *settings, struct flow_result *ret_result);

/** idle_connections() - open connections with one channel each, and see the server grow */
void idle_connections(const struct settings *settings, struct idle_result *ret_result);

/** idle_queues() - declare and bind queues, pipelined, and see the server grow */
void idle_queues(const struct settings *settings, struct idle_result *ret_result);

#endif
