/*
 * meter.h - what went through in each interval of a run
 */
#ifndef PERF_METER_H
#define PERF_METER_H

#include "perf.h"

struct counters {
    uint64_t published, confirmed, consumed;
};

struct meter {
    const char *unit; /* what is published: "published" or "cycles" */
    double interval_s;
    bool quiet;
    uint64_t start_ns, last_ns;
    struct counters last;
    const struct hist *latency_ns, *fallback_ns; /* the second while the first is empty */
    struct hist latency_before, fallback_before;
    struct series *series;
};

/**
 * meter_tick() - end an interval if it is over
 * @last:  end the present one even if it is not, unless it is shorter than a tenth of one
 */
void meter_tick(struct meter *meter, const struct counters *now, uint64_t now_ns, bool last);

#endif
