/*
 * hist.h - a log-linear histogram of durations
 *
 * Values below 256 have a cell each; above, every power of two is cut into 128 cells, so a
 * percentile is read back within 0.8 % of the truth from a table of fixed size, whatever came in.
 */
#ifndef PERF_HIST_H
#define PERF_HIST_H

#include <stdint.h>

enum { HIST_SUB_BITS = 7, HIST_SUB = 1 << HIST_SUB_BITS, HIST_CELLS = 58 * HIST_SUB };

struct hist {
    uint64_t total, max;
    uint64_t cells[HIST_CELLS];
};

/** hist_add() - count @n durations of @value (any unit, the same for all) */
static inline void hist_add(struct hist *hist, uint64_t value, uint64_t n)
{
    unsigned shift = value < 2 * HIST_SUB ? 0
                                          : (unsigned)(63 - __builtin_clzll(value)) - HIST_SUB_BITS;

    hist->cells[shift * HIST_SUB + (value >> shift)] += n;
    hist->total += n;
    if (value > hist->max)
        hist->max = value;
}

/**
 * hist_percentile() - the value that @percent of the durations do not exceed
 *
 * Return: the upper edge of its cell, at most the largest value seen; 0 for an empty histogram.
 */
static inline uint64_t hist_percentile(const struct hist *hist, double percent)
{
    double wanted = (double)hist->total * percent / 100;
    uint64_t seen = 0, edge;
    unsigned cell, shift;

    for (cell = 0; cell < HIST_CELLS; cell++) {
        seen += hist->cells[cell];
        if (!hist->cells[cell] || (double)seen < wanted)
            continue;
        shift = cell < 2 * HIST_SUB ? 0 : cell / HIST_SUB - 1;
        edge = ((uint64_t)(cell - shift * HIST_SUB + 1) << shift) - 1;
        return edge < hist->max ? edge : hist->max;
    }
    return hist->max;
}

/**
 * hist_since() - what was added to a histogram since an earlier copy of it
 * @ret_hist:  its largest value is that of the whole, which bounds it
 */
static inline void hist_since(const struct hist *now, const struct hist *earlier,
                              struct hist *ret_hist)
{
    unsigned cell;

    for (cell = 0; cell < HIST_CELLS; cell++)
        ret_hist->cells[cell] = now->cells[cell] - earlier->cells[cell];
    ret_hist->total = now->total - earlier->total;
    ret_hist->max = now->max;
}

#endif
