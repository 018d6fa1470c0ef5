/*
 * recovery.c - a slow start is not a silent one
 *
 * The store says often how far it is; a line is logged once a second, and none in the first, which
 * is all that most starts take. systemd is told the same, and asked for more time: a start that
 * gets on must not be taken for one that hangs.
 */
#include "server/recovery.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "server/log.h"
#include "server/notify.h"

enum {
    TELL_MS = 1000,
    TEXT_BYTES = 120,
};

#define MORE_TIME "EXTEND_TIMEOUT_USEC=60000000"

uint64_t recovery_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with these arguments */
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void print_progress(char *text, enum store_phase phase, uint64_t done, uint64_t total)
{
    static const struct {
        double bytes;
        const char *name;
    } units[] = { { 1e9, "GB" }, { 1e6, "MB" } };
    size_t unit = (double)total >= units[0].bytes ? 0 : 1;

    switch (phase) {
    case STORE_PHASE_LOG:
        snprintf(text, TEXT_BYTES, "recovering: %.1f of %.1f %s of the log",
                 (double)done / units[unit].bytes, (double)total / units[unit].bytes,
                 units[unit].name);
        return;
    case STORE_PHASE_ENTRIES:
        snprintf(text, TEXT_BYTES, "recovering: %" PRIu64 " messages so far", done);
        return;
    }
}

static void on_progress(void *context, enum store_phase phase, uint64_t done, uint64_t total)
{
    struct recovery *recovery = context;
    uint64_t now_ms = recovery->now_ms();
    char text[TEXT_BYTES];
    char state[TEXT_BYTES + sizeof MORE_TIME + sizeof "\nSTATUS="];

    if (now_ms - recovery->told_ms < TELL_MS)
        return;
    recovery->told_ms = now_ms;
    print_progress(text, phase, done, total);
    log_info("%s", text);
    snprintf(state, sizeof state, MORE_TIME "\nSTATUS=%s", text);
    notify_manager(state);
}

static void on_notice(void *context, const char *text)
{
    (void)context;
    log_warning("%s", text);
}

void recovery_begin(struct recovery *recovery, const char *path, uint64_t (*now_ms)(void))
{
    uint64_t begun_ms = now_ms();

    *recovery = (struct recovery){
        .observer = { recovery, on_progress, on_notice },
        .begun_ms = begun_ms,
        .told_ms = begun_ms,
        .now_ms = now_ms,
    };
    log_info("opening the data in %s", path);
}

void recovery_end(const struct recovery *recovery, const struct store *store)
{
    struct store_stats stats;

    store_get_stats(store, &stats);
    log_info("recovered %" PRIu64 " message%s in %" PRIu64 " queue%s in %.1f s", stats.live_entries,
             stats.live_entries == 1 ? "" : "s", stats.recovered_queues,
             stats.recovered_queues == 1 ? "" : "s",
             (double)(recovery->now_ms() - recovery->begun_ms) / 1000);
    notify_manager("STATUS=");
}
