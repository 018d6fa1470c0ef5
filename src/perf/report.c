/*
 * report.c - results as one JSON object, and that object as a summary
 *
 * The object is the whole result; the summary and the page are made from it, so that no figure
 * is to be seen in one and not in the others. Members that say nothing about a run are left out.
 */
#include "perf.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* A number with as many decimals as mean something. */
static void set_real(json_t *object, const char *name, double value, int decimals)
{
    double scale = pow(10, decimals);

    if (json_object_set_new(object, name, json_real(round(value * scale) / scale)))
        wire_fail("out of memory");
}

static void set_integer(json_t *object, const char *name, uint64_t value)
{
    if (json_object_set_new(object, name, json_integer((json_int_t)value)))
        wire_fail("out of memory");
}

static void set_object(json_t *object, const char *name, json_t *value)
{
    if (json_object_set_new(object, name, value))
        wire_fail("out of memory");
}

static void set_server(json_t *report, const struct usage *before, const struct usage *after)
{
    set_real(report, "server_cpu_s", (after->cpu_us - before->cpu_us) / 1e6, 6);
    set_real(report, "server_user_s", (after->user_us - before->user_us) / 1e6, 2);
    set_real(report, "server_system_s", (after->system_us - before->system_us) / 1e6, 2);
    set_integer(report, "server_rss_kb", after->rss_kb);
    set_integer(report, "server_rss_peak_kb", after->rss_peak_kb);
    set_integer(report, "server_bytes_written", after->bytes_written - before->bytes_written);
    set_integer(report, "server_write_calls", after->writes - before->writes);
}

static void set_server_flow(json_t *report, const struct settings *settings,
                            const struct flow_result *result)
{
    const struct usage *before = &result->before, *after = &result->after;
    double cpu_us = after->cpu_us - before->cpu_us;
    double payload = (double)result->published * result->body_bytes;

    if (result->published)
        set_real(report, "server_cpu_us_per_message", cpu_us / (double)result->published, 4);
    if (result->consumed)
        set_real(report, "server_cpu_us_per_delivery", cpu_us / (double)result->consumed, 4);
    set_server(report, before, after);
    if (payload > 0)
        set_real(report, "server_bytes_written_per_payload_byte",
                 (double)(after->bytes_written - before->bytes_written) / payload, 3);
    if (settings->server.data_dir)
        set_integer(report, "disk_flushes", after->flushes - before->flushes);
}

static void set_latency(json_t *report, const char *name, const struct hist *hist)
{
    static const struct { const char *label; double percent; } rows[] = {
        { "p50", 50 }, { "p75", 75 }, { "p95", 95 }, { "p99", 99 }, { "p999", 99.9 },
        { "max", 100 },
    };
    json_t *object;
    unsigned i;

    if (!hist->total)
        return;
    object = json_object();
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
        set_real(object, rows[i].label, (double)hist_percentile(hist, rows[i].percent) / 1e3, 1);
    set_object(report, name, object);
}

static void set_series(json_t *report, const struct series *series, const char *unit)
{
    json_t *intervals = json_array(), *object;
    size_t i;

    for (i = 0; i < series->count; i++) {
        const struct sample *sample = &series->samples[i];

        object = json_object();
        set_real(object, "at_s", sample->at_s, 3);
        set_real(object, unit, sample->published, 1);
        set_real(object, "confirm_rate", sample->confirmed, 1);
        set_real(object, "consume_rate", sample->consumed, 1);
        set_real(object, "p50_us", sample->p50_us, 1);
        set_real(object, "p99_us", sample->p99_us, 1);
        if (json_array_append_new(intervals, object))
            wire_fail("out of memory");
    }
    set_object(report, "intervals", intervals);
}

static void set_string(json_t *object, const char *name, const char *text)
{
    set_object(object, name, json_string_nocheck(text));
}

/* A word as a shell takes it. */
static void put_word(FILE *out, const char *word)
{
    const char *at;

    if (*word && !word[strcspn(word, " \t\n'\"$&;|<>()*?[]{}~`#!\\")]) {
        fputs(word, out);
        return;
    }
    fputc('\'', out);
    for (at = word; *at; at++)
        if (*at == '\'')
            fputs("'\\''", out);
        else
            fputc(*at, out);
    fputc('\'', out);
}

static void set_command(json_t *report, const struct settings *settings)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    unsigned i;

    if (!out)
        wire_fail("out of memory");
    fputs("leveret-perf", out);
    for (i = 0; i < settings->given_count; i++) {
        fprintf(out, " --%s", settings->given[i].name);
        if (settings->given[i].value) {
            fputc(' ', out);
            put_word(out, settings->given[i].value);
        }
    }
    if (fclose(out))
        wire_fail("out of memory");
    set_string(report, "command", text);
    free(text);
}

static void set_settings(json_t *report, const struct settings *settings)
{
    json_t *options = json_object();
    unsigned i;

    set_string(report, "begun", settings->origin.begun);
    set_string(report, "machine", settings->origin.machine);
    if (settings->origin.broker[0])
        set_string(report, "broker", settings->origin.broker);
    set_command(report, settings);
    for (i = 0; i < settings->given_count; i++)
        set_string(options, settings->given[i].name,
                   settings->given[i].value ? settings->given[i].value : "yes");
    set_object(report, "options", options);
}

json_t *report_flow(const struct settings *settings, const struct flow_result *result)
{
    double messages = (double)(settings->producers ? result->published : result->consumed);
    json_t *report = json_object();

    set_integer(report, "published", result->published);
    set_integer(report, "confirmed", result->confirmed);
    set_integer(report, "nacked", result->nacked);
    set_integer(report, "consumed", result->consumed);
    set_real(report, "wall_s", result->wall_s, 4);
    set_real(report, "publish_rate", (double)result->published / result->wall_s, 1);
    set_real(report, "consume_rate", (double)result->consumed / result->wall_s, 1);
    set_real(report, "publish_mb_rate",
             (double)result->published * result->body_bytes / result->wall_s / 1e6, 4);
    set_real(report, "consume_mb_rate", (double)result->consumed_bytes / result->wall_s / 1e6, 4);
    if (messages > 0)
        set_real(report, "client_cpu_us_per_message", result->client_cpu_us / messages, 4);
    set_latency(report, "confirm_us", &result->confirm_ns);
    set_latency(report, "latency_us", &result->deliver_ns);
    if (settings->server.pid_count)
        set_server_flow(report, settings, result);
    set_object(report, "interrupted", json_boolean(result->interrupted));
    set_settings(report, settings);
    set_series(report, &result->series, "publish_rate");
    return report;
}

json_t *report_churn(const struct settings *settings, const struct churn_result *result)
{
    double cycles = (double)(result->cycles ? result->cycles : 1);
    json_t *report = json_object();

    set_object(report, "churn", json_string(options_churn_name(settings->churn)));
    set_integer(report, "cycles", result->cycles);
    set_real(report, "wall_s", result->wall_s, 4);
    set_real(report, "cycle_rate", (double)result->cycles / result->wall_s, 1);
    set_real(report, "client_cpu_us_per_cycle", result->client_cpu_us / cycles, 3);
    set_latency(report, "open_us", &result->open_ns);
    set_latency(report, "cycle_us", &result->cycle_ns);
    if (settings->server.pid_count) {
        set_real(report, "server_cpu_us_per_cycle",
                 (result->after.cpu_us - result->before.cpu_us) / cycles, 3);
        set_server(report, &result->before, &result->after);
    }
    set_object(report, "interrupted", json_boolean(result->interrupted));
    set_settings(report, settings);
    set_series(report, &result->series, "cycle_rate");
    return report;
}

json_t *report_idle(const struct settings *settings, const char *name,
                    const struct idle_result *result)
{
    double grown_kb = (double)result->rss_after_kb - (double)result->rss_before_kb;
    json_t *report = json_object();

    set_integer(report, name, result->count);
    set_real(report, "wall_s", result->wall_s, 4);
    set_real(report, "rate", result->count / result->wall_s, 1);
    set_integer(report, "rss_before_kb", result->rss_before_kb);
    set_integer(report, "rss_after_kb", result->rss_after_kb);
    set_real(report, "bytes_each", grown_kb * 1024 / result->count, 0);
    set_settings(report, settings);
    return report;
}

json_t *report_sync(const struct settings *settings, double sync_us)
{
    json_t *report = json_object();

    set_real(report, "sync_us", sync_us, 1);
    set_settings(report, settings);
    return report;
}

/* ---- the summary ---- */

struct row {
    const char *member, *label, *unit;
    int decimals;
};

static const struct row rows[] = {
    { "published", "published", "messages", 0 },
    { "confirmed", "confirmed", "messages", 0 },
    { "nacked", "refused", "messages", 0 },
    { "consumed", "delivered", "messages", 0 },
    { "cycles", "opened and closed", "times", 0 },
    { "idle_connections", "connections", "open", 0 },
    { "idle_queues", "queues", "declared", 0 },
    { "wall_s", "time", "s", 3 },
    { "publish_rate", "publishing", "messages/s", 0 },
    { "publish_mb_rate", "", "MB/s of bodies", 2 },
    { "consume_rate", "delivering", "messages/s", 0 },
    { "consume_mb_rate", "", "MB/s of bodies", 2 },
    { "cycle_rate", "cycles", "/s", 0 },
    { "rate", "rate", "/s", 0 },
    { "latency_us", "latency", "us", 0 },
    { "confirm_us", "confirm", "us", 0 },
    { "open_us", "open", "us", 0 },
    { "cycle_us", "cycle", "us", 0 },
    { "client_cpu_us_per_message", "CPU of this program", "us/message", 3 },
    { "client_cpu_us_per_cycle", "CPU of this program", "us/cycle", 3 },
    { "server_cpu_us_per_message", "CPU of the server", "us/message", 3 },
    { "server_cpu_us_per_delivery", "CPU of the server", "us/delivery", 3 },
    { "server_cpu_us_per_cycle", "CPU of the server", "us/cycle", 3 },
    { "server_rss_kb", "memory of the server", "kB", 0 },
    { "server_rss_peak_kb", "memory, at most", "kB", 0 },
    { "rss_before_kb", "memory before", "kB", 0 },
    { "rss_after_kb", "memory after", "kB", 0 },
    { "bytes_each", "memory for each", "bytes", 0 },
    { "server_bytes_written", "written to disk", "bytes", 0 },
    { "disk_flushes", "flushes of the disk", "", 0 },
    { "sync_us", "write and fdatasync", "us", 1 },
};

static void add_percentiles(const json_t *object, const char *unit, char *text, size_t size)
{
    size_t length = 0;
    char number[32];
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)object, name, value) {
        value_grouped(json_number_value(value), 0, number, sizeof number);
        length += (size_t)snprintf(text + length, size - length, "%s %s  ",
                                   strcmp(name, "p999") ? name : "p99.9", number);
        if (length >= size)
            return;
    }
    (void)snprintf(text + length, size - length, "%s", unit);
}

void report_summary(const json_t *report,
                    void (*line)(void *context, const char *label, const char *value),
                    void *context)
{
    char text[256], number[64];
    size_t i;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const json_t *value = json_object_get(report, rows[i].member);

        if (json_is_object(value))
            add_percentiles(value, rows[i].unit, text, sizeof text);
        else if (json_is_number(value) &&
                 (json_number_value(value) > 0 || json_number_value(value) < 0)) {
            value_grouped(json_number_value(value), rows[i].decimals, number, sizeof number);
            (void)snprintf(text, sizeof text, "%s %s", number, rows[i].unit);
        } else {
            continue;
        }
        line(context, rows[i].label, text);
    }
    if (json_is_true(json_object_get(report, "interrupted")))
        line(context, "ended", "early, by a signal");
}

static void print_row(void *context, const char *label, const char *value)
{
    (void)context;
    printf("%-22s %s\n", label, value);
}

void report_write(const struct settings *settings, json_t *report, const struct series *series)
{
    enum { FLAGS = JSON_REAL_PRECISION(12) };

    if (!settings->json || strcmp(settings->json, "-"))
        report_summary(report, print_row, NULL);
    else if (json_dumpf(report, stdout, FLAGS) || puts("") < 0)
        wire_fail("writing JSON: %s", strerror(errno));
    if (settings->json && strcmp(settings->json, "-") &&
        json_dump_file(report, settings->json, FLAGS | JSON_INDENT(2)))
        wire_fail("%s: %s", settings->json, strerror(errno));
    if (settings->html)
        html_write(settings, report, series);
    if (fflush(stdout))
        wire_fail("standard output: %s", strerror(errno));
    json_decref(report);
}
