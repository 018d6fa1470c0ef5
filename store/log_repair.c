/*
 * log_repair.c - saying what is lost, and going on without it when the operator wants that
 *
 * A damaged log stops the start: what lies behind the damage was confirmed, and only a person can
 * know whether there is a copy. Who has none makes an empty file beside the log, log.accept-loss.
 * The next start then keeps what can be read without a gap, puts the rest aside under names that
 * end in ".damaged", and removes the operator's file when a new segment has taken the place of what
 * is lost: it counts once. A crash on the way leaves the file, and the next start does it again.
 */
#include <errno.h>
#include <stdarg.h>

#include "store/log-internal.h"

PRINTF_LIKE(2, 3)
static void notice(const struct store_log *log, const char *format, ...)
{
    char text[sizeof ((struct store_fault *)NULL)->text];
    va_list arguments;

    if (!log->observer || !log->observer->notice)
        return;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    log->observer->notice(log->observer->context, text);
}

int log_damaged(const struct store_log *log, struct store_fault *fault, uint64_t serial,
                uint64_t reached, const char *format, ...)
{
    char what[160];
    char from[48] = "what was written later";
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    if (reached != LOG_REACHED_UNKNOWN)
        (void)snprintf(from, sizeof from, "records %llu and later", (unsigned long long)reached + 1);
    (void)snprintf(fault->text, sizeof fault->text,
                   "%.120s/%016llx.log %s. Confirmed messages are missing: put the file back from a "
                   "copy if there is one. To go on without this file's contents and %s, create the "
                   "empty file %.120s.accept-loss and start again",
                   log->directory, (unsigned long long)serial, what, from, log->directory);
    return -EBADMSG;
}

/* Bad segments, and those of later records only, are renamed; the others stay in the list. */
static int put_aside(struct store_log *log, uint64_t reached)
{
    char name[LOG_NAME_BYTES];
    char aside[LOG_NAME_BYTES];
    size_t n = 0;
    size_t i;

    for (i = 0; i < log->n_segments; i++) {
        const struct segment *segment = &log->segments[i];
        int rc;

        if (!segment->bad && segment->first <= reached + 1) {
            log->segments[n++] = *segment;
            continue;
        }
        log_segment_name(name, segment->serial, ".log");
        log_segment_name(aside, segment->serial, ".log.damaged");
        rc = log->files->ops->rename(log->files, name, aside);
        if (rc)
            return rc;
    }
    log->n_segments = n;
    return log_sync_names(log);
}

static int remove_acceptance(struct store_log *log)
{
    int rc = log->files->ops->remove(log->files, LOG_ACCEPT_NAME);

    if (rc == 0)
        rc = log->files->ops->sync_names_above(log->files);
    log->loss_accepted = rc != 0;
    return rc;
}

int log_give_up(struct store_log *log, uint64_t reached, struct store_fault *fault)
{
    int rc = log_note_write(log, 0, 0);

    notice(log, "%s", fault->text);
    if (rc == 0)
        rc = put_aside(log, reached);
    if (rc)
        return log_fail(fault, "put damaged files aside in", log, rc);
    log->next = reached + 1;
    rc = log_begin_segment(log, fault);
    if (rc) {
        log->next = 0; /* as before, for another attempt */
        return rc;
    }
    rc = remove_acceptance(log);
    if (rc)
        return log_fail(fault, "remove the acceptance of a loss beside", log, rc);
    notice(log, "%s.accept-loss was found: what was written after record %llu is given up",
           log->directory, (unsigned long long)reached);
    return 0;
}

int log_accepted_in_vain(struct store_log *log, struct store_fault *fault)
{
    int rc = remove_acceptance(log);

    if (rc)
        return log_fail(fault, "remove the acceptance of a loss beside", log, rc);
    notice(log, "%s.accept-loss was not needed, nothing is missing; it has been removed",
           log->directory);
    return 0;
}

/* First the note: should the machine stop meanwhile, it must not ask for a segment that is gone. */
int log_drop_from(struct store_log *log, size_t i, struct store_fault *fault)
{
    int rc = log_note_write(log, i > 0 ? log->segments[i - 1].serial : 0, 0);

    if (rc)
        return log_fail(fault, "note the end of", log, rc);
    notice(log, "%s was written without syncing each record, and a part of it is missing: %zu "
                "segments from record %llu on are given up",
           log->directory, log->n_segments - i, (unsigned long long)log->segments[i].first);
    while (log->n_segments > i)
        log_retire(log, log->segments[--log->n_segments].serial);
    rc = log_sync_names(log);
    return rc ? log_fail(fault, "give up a part of", log, rc) : 0;
}
