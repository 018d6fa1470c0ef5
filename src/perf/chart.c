/*
 * chart.c - curves over time, drawn as SVG
 *
 * A sample is what happened in an interval, so it is drawn as a level from the interval's start to
 * its end, and a run of one interval is a line too. Where nothing was measured the curve has a gap.
 * Axes end and are marked at round numbers: 1, 2 or 5 times a power of ten.
 */
#include "chart.h"

#include <math.h>

enum { WIDTH = 760, HEIGHT = 260, LEFT = 92, RIGHT = 20, TOP = 24, BOTTOM = 44, TICKS_MAX = 16 };

struct axis {
    double least, most;
    bool logarithmic;
    double ticks[TICKS_MAX];
    unsigned tick_count;
    int decimals; /* of the marks */
};

static double value_of(const struct sample *sample, const struct curve *curve)
{
    double value;

    memcpy(&value, (const char *)sample + curve->value, sizeof value);
    return value;
}

/* The least and the greatest positive value of the curves; false if there is none. */
static bool find_bounds(const struct chart *chart, const struct series *series, double *ret_least,
                        double *ret_most)
{
    double least = INFINITY, most = 0, value;
    size_t c, i;

    for (c = 0; c < chart->curve_count; c++)
        for (i = 0; i < series->count; i++) {
            value = value_of(&series->samples[i], &chart->curves[c]);
            if (value > 0 && value < least)
                least = value;
            if (value > most)
                most = value;
        }
    *ret_least = least;
    *ret_most = most;
    return most > 0;
}

static void add_tick(struct axis *axis, double value)
{
    if (axis->tick_count < TICKS_MAX)
        axis->ticks[axis->tick_count++] = value;
}

/* From 0, marked at about five round numbers; the axis ends at @most, or at the mark above it. */
static void make_linear(struct axis *axis, double most, bool end_at_mark)
{
    double raw = most / 5, power = pow(10, floor(log10(raw)));
    double step = raw <= power ? power : raw <= 2 * power ? 2 * power
                                     : raw <= 5 * power   ? 5 * power
                                                          : 10 * power;
    unsigned i, count = (unsigned)(end_at_mark ? ceil(most / step) : floor(most / step));

    *axis = (struct axis){ .most = end_at_mark ? count * step : most };
    axis->decimals = step < 1 ? (int)ceil(-log10(step)) : 0;
    for (i = 0; i <= count; i++)
        add_tick(axis, i * step);
}

/* Whole powers of ten, with 2 and 5 times them where there are few. */
static void make_logarithmic(struct axis *axis, double least, double most)
{
    int low = (int)floor(log10(least)), high = (int)ceil(log10(most)), power;

    if (high == low)
        high++;
    *axis = (struct axis){ .least = pow(10, low), .most = pow(10, high), .logarithmic = true };
    axis->decimals = low < 0 ? -low : 0;
    for (power = low; power < high; power++) {
        add_tick(axis, pow(10, power));
        if (high - low <= 3) {
            add_tick(axis, 2 * pow(10, power));
            add_tick(axis, 5 * pow(10, power));
        }
    }
    add_tick(axis, axis->most);
}

/* Where on an axis a value lies, from 0 to 1. */
static double place(const struct axis *axis, double value)
{
    if (axis->logarithmic)
        return log(value / axis->least) / log(axis->most / axis->least);
    return value / axis->most;
}

static double x_of(const struct axis *time, double at_s)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * place(time, at_s);
}

static double y_of(const struct axis *axis, double value)
{
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * place(axis, value);
}

static void put_axes(FILE *out, const struct chart *chart, const struct axis *time,
                     const struct axis *axis)
{
    char number[64];
    unsigned i;

    for (i = 0; i < axis->tick_count; i++) {
        double y = y_of(axis, axis->ticks[i]);

        value_grouped(axis->ticks[i], axis->decimals, number, sizeof number);
        fprintf(out, "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>\n", LEFT, WIDTH - RIGHT,
                y, y);
        fprintf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", LEFT - 6, y + 4,
                number);
    }
    for (i = 0; i < time->tick_count; i++) {
        value_grouped(time->ticks[i], time->decimals, number, sizeof number);
        fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
                x_of(time, time->ticks[i]), HEIGHT - BOTTOM + 16, number);
    }
    fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">time (s)</text>\n",
            LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 6);
    fprintf(out, "<text transform=\"translate(12 %d) rotate(-90)\" text-anchor=\"middle\">%s"
                 "</text>\n", TOP + (HEIGHT - TOP - BOTTOM) / 2, chart->unit);
}

static void put_warmup(FILE *out, const struct axis *time, double warmup_s)
{
    double end = x_of(time, warmup_s < time->most ? warmup_s : time->most);

    if (warmup_s <= 0)
        return;
    fprintf(out, "<rect class=\"warmup\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\">"
                 "<title>warm-up, not counted</title></rect>\n", LEFT, TOP, end - LEFT,
            HEIGHT - TOP - BOTTOM);
    fprintf(out, "<text x=\"%d\" y=\"%d\">warm-up</text>\n", LEFT + 4, HEIGHT - BOTTOM - 6);
}

/* Levels of neighbouring intervals are joined; a gap begins a new piece of the path. */
static void put_curve(FILE *out, const struct series *series, const struct curve *curve,
                      const struct axis *time, const struct axis *axis)
{
    bool drawing = false;
    double start_s = 0;
    size_t i;

    fprintf(out, "<path class=\"%s\" d=\"", curve->style);
    for (i = 0; i < series->count; i++) {
        double end_s = series->samples[i].at_s;
        double value = value_of(&series->samples[i], curve);

        if (value > 0 && drawing)
            fprintf(out, "V%.1fH%.1f ", y_of(axis, value), x_of(time, end_s));
        else if (value > 0)
            fprintf(out, "M%.1f %.1fH%.1f ", x_of(time, start_s), y_of(axis, value),
                    x_of(time, end_s));
        drawing = value > 0;
        start_s = end_s;
    }
    fputs("\"/>\n", out);
}

static bool has_values(const struct series *series, const struct curve *curve)
{
    size_t i;

    for (i = 0; i < series->count; i++)
        if (value_of(&series->samples[i], curve) > 0)
            return true;
    return false;
}

void chart_write(FILE *out, const struct chart *chart, const struct series *series)
{
    struct axis time, axis;
    double least, most;
    int shown = 0;
    size_t i;

    if (!find_bounds(chart, series, &least, &most))
        return;
    make_linear(&time, series->samples[series->count - 1].at_s, false);
    if (chart->logarithmic)
        make_logarithmic(&axis, least, most);
    else
        make_linear(&axis, most, true);
    fprintf(out, "<h2>%s</h2>\n<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
                 "role=\"img\">\n<title>%s over time</title>\n", chart->title, WIDTH, HEIGHT,
            chart->title);
    put_warmup(out, &time, chart->warmup_s);
    put_axes(out, chart, &time, &axis);
    for (i = 0; i < chart->curve_count; i++) {
        if (!has_values(series, &chart->curves[i]))
            continue;
        put_curve(out, series, &chart->curves[i], &time, &axis);
        fprintf(out, "<text class=\"%s\" x=\"%d\" y=\"%d\">%s</text>\n", chart->curves[i].style,
                LEFT + 10 + 100 * shown++, TOP - 8, chart->curves[i].label);
    }
    fputs("</svg>\n", out);
}
