/*
 * chart.h - curves over time, drawn as SVG
 */
#ifndef PERF_CHART_H
#define PERF_CHART_H

#include "perf.h"

#include <stdio.h>

/** struct curve - one member of the samples; a value of 0 means that nothing was measured then */
struct curve {
    const char *label, *style; /* style: a class of the page's style sheet */
    size_t value;              /* offset in struct sample, of a double */
};

struct chart {
    const char *title, *unit;
    const struct curve *curves;
    size_t curve_count;
    bool logarithmic; /* for values of different orders of magnitude, such as percentiles */
    double warmup_s;  /* shaded from the start up to here */
};

/** chart_write() - a heading and the drawing; nothing if there is no value to draw */
void chart_write(FILE *out, const struct chart *chart, const struct series *series);

#endif
