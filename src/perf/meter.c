/*
 * meter.c - the live line, and the series behind the curves
 *
 * Histograms only grow, so an interval's percentiles are those of the difference to the copy
 * that was kept at its start: nothing is counted twice while messages flow.
 */
#include "meter.h"

#include <stdio.h>
#include <stdlib.h>

void series_add(struct series *series, const struct sample *sample)
{
    size_t capacity = series->capacity ? 2 * series->capacity : 64;
    struct sample *samples;

    if (series->count == series->capacity) {
        samples = realloc(series->samples, capacity * sizeof *samples);
        if (!samples)
            wire_fail("out of memory");
        series->samples = samples;
        series->capacity = capacity;
    }
    series->samples[series->count++] = *sample;
}

static void take_percentiles(struct meter *meter, struct sample *sample)
{
    bool latency = meter->latency_ns->total > meter->latency_before.total;
    static struct hist part;

    if (latency)
        hist_since(meter->latency_ns, &meter->latency_before, &part);
    else
        hist_since(meter->fallback_ns, &meter->fallback_before, &part);
    sample->p50_us = (double)hist_percentile(&part, 50) / 1e3;
    sample->p99_us = (double)hist_percentile(&part, 99) / 1e3;
    meter->latency_before = *meter->latency_ns;
    meter->fallback_before = *meter->fallback_ns;
}

static void print_line(const struct meter *meter, const struct sample *sample)
{
    fprintf(stderr, "%8.1f s  %s %.0f/s", sample->at_s, meter->unit, sample->published);
    if (sample->confirmed > 0)
        fprintf(stderr, "  confirmed %.0f/s", sample->confirmed);
    if (sample->consumed > 0)
        fprintf(stderr, "  delivered %.0f/s", sample->consumed);
    if (sample->p99_us > 0)
        fprintf(stderr, "  p50 %.0f us  p99 %.0f us", sample->p50_us, sample->p99_us);
    fputc('\n', stderr);
}

void meter_tick(struct meter *meter, const struct counters *now, uint64_t now_ns, bool last)
{
    double took_s = (double)(now_ns - meter->last_ns) / 1e9;
    struct sample sample;

    if (took_s < meter->interval_s && !last)
        return;
    if (took_s <= 0 || (took_s < meter->interval_s / 10 && meter->series->count))
        return;
    sample = (struct sample){
        .at_s = (double)(now_ns - meter->start_ns) / 1e9,
        .published = (double)(now->published - meter->last.published) / took_s,
        .confirmed = (double)(now->confirmed - meter->last.confirmed) / took_s,
        .consumed = (double)(now->consumed - meter->last.consumed) / took_s,
    };
    take_percentiles(meter, &sample);
    series_add(meter->series, &sample);
    if (!meter->quiet)
        print_line(meter, &sample);
    meter->last = *now;
    meter->last_ns = now_ns;
}
