/*
 * html.c - a run as one page: where it comes from, curves over time, the summary
 *
 * The page needs nothing but itself, and is well-formed as XML too. Its colours follow the reader's
 * choice of light or dark.
 */
#include "chart.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>

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
    "line { stroke: var(--rule); } path { fill: none; stroke-width: 2; }\n"
    ".warmup { fill: var(--rule); opacity: .4; } code { overflow-wrap: anywhere; }\n"
    ".one { stroke: var(--one); } .two { stroke: var(--two); } .three { stroke: var(--three); }\n"
    "text.one { fill: var(--one); } text.two { fill: var(--two); }\n"
    "text.three { fill: var(--three); } text.one, text.two, text.three { stroke: none; }\n"
    "table { border-collapse: collapse; } td { padding: .2em 1.5em .2em 0;\n"
    "        border-bottom: 1px solid var(--rule); font-variant-numeric: tabular-nums; }\n"
    "</style>\n</head>\n<body>\n<h1>leveret-perf</h1>\n";

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

static void put_charts(FILE *out, const struct settings *settings, const struct series *series,
                       bool measured_latency)
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
        .title = "Throughput", .unit = settings->churn ? "cycles/s" : "messages/s",
        .curves = rates, .curve_count = 3, .warmup_s = settings->warmup_s };
    const struct chart latency = {
        .title = settings->churn ? "Time of a cycle" : measured_latency ? "Latency"
                                                                       : "Time to confirm",
        .unit = "microseconds", .curves = times, .curve_count = 2, .logarithmic = true,
        .warmup_s = settings->warmup_s };

    chart_write(out, &throughput, series);
    chart_write(out, &latency, series);
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

static void put_origin(FILE *out, const json_t *report)
{
    static const struct { const char *member, *label; } rows[] = {
        { "broker", "broker" }, { "begun", "begun" }, { "machine", "measured on" },
    };
    unsigned i;

    fputs("<p><code>", out);
    put_text(out, json_string_value(json_object_get(report, "command")));
    fputs("</code></p>\n<table>\n", out);
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *value = json_string_value(json_object_get(report, rows[i].member));

        if (value)
            put_row(out, rows[i].label, value);
    }
    fputs("</table>\n", out);
}

void html_write(const struct settings *settings, const json_t *report,
                const struct series *series)
{
    FILE *out = fopen(settings->html, "we");
    bool failed;

    if (!out)
        wire_fail("%s: %s", settings->html, strerror(errno));
    fputs(head, out);
    put_origin(out, report);
    put_charts(out, settings, series, json_object_get(report, "latency_us") != NULL);
    fputs("<h2>Summary</h2>\n<table>\n", out);
    report_summary(report, put_row, out);
    fputs("</table>\n</body>\n</html>\n", out);
    failed = ferror(out);
    if (fclose(out) || failed)
        wire_fail("%s could not be written whole", settings->html);
}
