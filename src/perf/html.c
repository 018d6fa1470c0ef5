/*
 * html.c - a run as one page: curves over time, the summary, the options
 *
 * The page needs nothing but itself, and is well-formed as XML too. Curves are polylines in SVG;
 * their colours are those of the page's style, which follows the reader's choice of light or dark.
 */
#include "perf.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>

enum { WIDTH = 760, HEIGHT = 260, LEFT = 80, RIGHT = 20, TOP = 16, BOTTOM = 44, TICKS = 4 };

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n"
    "<meta charset=\"utf-8\"/>\n<title>leveret-perf</title>\n<style>\n"
    ":root { color-scheme: light dark; --page: #fff; --text: #222; --rule: #ddd;\n"
    "        --one: #0969da; --two: #bc4c00; --three: #1a7f37; }\n"
    "@media (prefers-color-scheme: dark) { :root { --page: #16181d; --text: #e4e4e4;\n"
    "        --rule: #3a3d44; --one: #58a6ff; --two: #f0883e; --three: #56d364; } }\n"
    "body { background: var(--page); color: var(--text); font: 15px system-ui, sans-serif;\n"
    "       max-width: 800px; margin: 2em auto; padding: 0 1em; }\n"
    "svg { width: 100%; height: auto; } text { fill: var(--text); font-size: 12px; }\n"
    "line { stroke: var(--rule); } polyline { fill: none; stroke-width: 2; }\n"
    ".one { stroke: var(--one); } .two { stroke: var(--two); } .three { stroke: var(--three); }\n"
    "text.one { fill: var(--one); } text.two { fill: var(--two); }\n"
    "text.three { fill: var(--three); } text.one, text.two, text.three { stroke: none; }\n"
    "table { border-collapse: collapse; } td { padding: .2em 1.5em .2em 0;\n"
    "        border-bottom: 1px solid var(--rule); font-variant-numeric: tabular-nums; }\n"
    "</style>\n</head>\n<body>\n<h1>leveret-perf</h1>\n";

struct curve {
    const char *label, *style;
    size_t value; /* offset in the sample */
};

struct chart {
    const char *title, *unit;
    const struct curve *curves;
    size_t curve_count;
};

static double value_of(const struct sample *sample, const struct curve *curve)
{
    double value;

    memcpy(&value, (const char *)sample + curve->value, sizeof value);
    return value;
}

static double greatest(const struct series *series, const struct curve *curve)
{
    double most = 0;
    size_t i;

    for (i = 0; i < series->count; i++)
        if (value_of(&series->samples[i], curve) > most)
            most = value_of(&series->samples[i], curve);
    return most;
}

static void put_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '&')
            fputs("&amp;", out);
        else if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '>')
            fputs("&gt;", out);
        else if ((unsigned char)*text >= ' ')
            fputc(*text, out);
    }
}

/* The least of 1, 2, 5 times a power of ten that is not below the value. */
static double round_up(double value)
{
    double step = 1;

    while (step * 10 <= value)
        step *= 10;
    while (step > value && step > 1e-3)
        step /= 10;
    return value <= step ? step : value <= 2 * step ? 2 * step
                              : value <= 5 * step   ? 5 * step
                                                    : 10 * step;
}

static void put_axes(FILE *out, const struct chart *chart, double end_s, double most)
{
    double width = WIDTH - LEFT - RIGHT, height = HEIGHT - TOP - BOTTOM, x, y;
    int i;

    for (i = 0; i <= TICKS; i++) {
        x = LEFT + width * i / TICKS;
        y = TOP + height - height * i / TICKS;
        fprintf(out, "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>\n", LEFT, WIDTH - RIGHT,
                y, y);
        fprintf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.6g</text>\n", LEFT - 6,
                y + 4, most * i / TICKS);
        fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.3g</text>\n", x,
                HEIGHT - BOTTOM + 16, end_s * i / TICKS);
    }
    fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">time (s)</text>\n",
            LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 6);
    fprintf(out, "<text transform=\"translate(12 %d) rotate(-90)\" text-anchor=\"middle\">%s"
                 "</text>\n", TOP + (HEIGHT - TOP - BOTTOM) / 2, chart->unit);
}

static void put_curve(FILE *out, const struct series *series, const struct curve *curve,
                      double most)
{
    double width = WIDTH - LEFT - RIGHT, height = HEIGHT - TOP - BOTTOM;
    double end_s = series->samples[series->count - 1].at_s;
    size_t i;

    fprintf(out, "<polyline class=\"%s\" points=\"", curve->style);
    for (i = 0; i < series->count; i++)
        fprintf(out, "%.1f,%.1f ", LEFT + width * series->samples[i].at_s / end_s,
                TOP + height - height * value_of(&series->samples[i], curve) / most);
    fputs("\"/>\n", out);
}

static void put_chart(FILE *out, const struct chart *chart, const struct series *series)
{
    double most = 0, each;
    size_t i, shown = 0;

    for (i = 0; i < chart->curve_count; i++) {
        each = greatest(series, &chart->curves[i]);
        most = each > most ? each : most;
    }
    if (most <= 0)
        return;
    most = round_up(most);
    fprintf(out, "<h2>%s</h2>\n<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
                 "role=\"img\">\n<title>%s over time</title>\n", chart->title, WIDTH, HEIGHT,
            chart->title);
    put_axes(out, chart, series->samples[series->count - 1].at_s, most);
    for (i = 0; i < chart->curve_count; i++) {
        if (greatest(series, &chart->curves[i]) <= 0)
            continue;
        put_curve(out, series, &chart->curves[i], most);
        fprintf(out, "<text class=\"%s\" x=\"%d\" y=\"%d\">%s</text>\n", chart->curves[i].style,
                LEFT + 10 + 100 * (int)shown++, TOP - 4, chart->curves[i].label);
    }
    fputs("</svg>\n", out);
}

static void put_charts(FILE *out, const struct settings *settings, const struct series *series)
{
    const struct curve rates[] = {
        { settings->churn ? "cycles" : "published", "one", offsetof(struct sample, published) },
        { "confirmed", "two", offsetof(struct sample, confirmed) },
        { "delivered", "three", offsetof(struct sample, consumed) },
    };
    const struct curve times[] = {
        { "p50", "one", offsetof(struct sample, p50_us) },
        { "p99", "two", offsetof(struct sample, p99_us) },
    };
    const struct chart throughput = {
        "Throughput", settings->churn ? "cycles/s" : "messages/s", rates, 3 };
    const struct chart latency = {
        settings->churn ? "Time of a cycle" : settings->rate > 0 && settings->consumers
            ? "Latency" : "Time to confirm", "microseconds", times, 2 };

    if (!series->count)
        return;
    put_chart(out, &throughput, series);
    put_chart(out, &latency, series);
}

static void put_row(void *context, const char *label, const char *value)
{
    FILE *out = context;

    fputs("<tr><td>", out);
    put_text(out, label);
    fputs("</td><td>", out);
    put_text(out, value);
    fputs("</td></tr>\n", out);
}

void html_write(const struct settings *settings, const json_t *report,
                const struct series *series)
{
    FILE *out = fopen(settings->html, "we");
    bool failed;
    unsigned i;

    if (!out)
        wire_fail("%s: %s", settings->html, strerror(errno));
    fputs(head, out);
    put_charts(out, settings, series);
    fputs("<h2>Summary</h2>\n<table>\n", out);
    report_summary(report, put_row, out);
    fputs("</table>\n<h2>Options</h2>\n<table>\n", out);
    for (i = 0; i < settings->given_count; i++)
        put_row(out, settings->given[i].name, settings->given[i].value);
    fputs("</table>\n</body>\n</html>\n", out);
    failed = ferror(out);
    if (fclose(out) || failed)
        wire_fail("%s could not be written whole", settings->html);
}
