/*
 * log_replay.c - reading a log back: which records count, where it ends, and whether it may
 *
 * log.c says what lies in a segment and what must hold. Segments are read whole, one at a time, and
 * each octet is looked at once or twice, whatever lies in them: what a record claims is believed
 * when the hash of its head is right, and that cannot be guessed. A log that ends is not judged by
 * its octets alone. It must reach
 *
 * - the record that the database has applied, for that one was synced before (synced segments only:
 *   the others may have lost their ends to a power cut);
 * - the `first` of the next segment;
 * - the newest segment that was made, and the number it was closed with (log_note.c).
 *
 * And what follows the end must not hold the head of a later record; and the file must be as long
 * as it was when the last but one record was synced. What is left to believe: that a last record
 * which is not there was never synced.
 *
 * The first format. Its hashes are seeded with what anybody can know, so a message can hold
 * octets that pass for a later record, and many that only claim to be a long one. The search for a
 * later record therefore ends after HASHED_BYTES_MAX octets, and the log ends there.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "store/log-internal.h"

#define HASHED_BYTES_MAX (64u << 20)
#define PROGRESS_BYTES (256u << 10)

struct replay {
    uint64_t after;
    uint64_t reached; /* the last number that was found, or need not be */
    store_log_visit visit;
    void *context;
    uint64_t done_bytes, total_bytes;
    bool first; /* since the log was opened */
    bool stopped; /* by the visitor */
};

/* A segment in memory, and how far it has been read. */
struct view {
    const struct segment *segment;
    uint8_t *data;
    size_t size;
    int fd;
    size_t begin_at;    /* of the first record */
    size_t at;          /* of the next record */
    size_t last_at;     /* of the last valid record */
    uint64_t number;    /* of the next record */
    uint64_t limit;     /* which the next segment takes over */
};

/* ---- octets ---- */

static int read_all(struct store_log *log, int fd, uint8_t *data, size_t size, size_t *ret_size)
{
    size_t n = 0;

    while (n < size) {
        ssize_t got = log->files->ops->read(log->files, fd, data + n, size - n, n);

        if (got < 0)
            return (int)got;
        if (got == 0)
            break;
        n += (size_t)got;
    }
    *ret_size = n;
    return 0;
}

/* The whole file; view->data and view->fd are returned, also on failure. */
static int read_segment(struct store_log *log, struct view *view)
{
    struct store_file_status status;
    char name[LOG_NAME_BYTES];
    int rc;

    log_segment_name(name, view->segment->serial, ".log");
    rc = log->files->ops->status(log->files, name, &status);
    if (rc)
        return rc;
    view->fd = log->files->ops->open(log->files, name, STORE_FILE_WRITE);
    if (view->fd < 0)
        return view->fd;
    view->data = malloc((size_t)status.size + 1);
    if (!view->data)
        return -ENOMEM;
    return read_all(log, view->fd, view->data, (size_t)status.size, &view->size);
}

/*
 * What is read need not be on the disk: the process that wrote it was killed before it was synced,
 * or a sync has failed, after which the kernel takes its pages for written. So those records are
 * written again as they are: the last one of a synced log, all of a log that was not.
 */
static int make_stable(struct store_log *log, const struct view *view)
{
    size_t from = view->segment->synced ? view->last_at : view->begin_at;
    struct iovec part = { view->data + from, view->at - from };
    int rc = 0;

    if (view->at > from && (view->limit == UINT64_MAX || !view->segment->synced))
        rc = log_write_all(log, view->fd, &part, 1, from);
    return rc ? rc : log->files->ops->sync(log->files, view->fd);
}

static size_t record_head_bytes(const struct view *view)
{
    return view->segment->old_format ? LOG_RECORD_HEAD_BYTES_1 : LOG_RECORD_HEAD_BYTES;
}

/* Octets that the record at @at would have, if what is there is its head. */
static bool claims_record(const struct view *view, size_t at, uint64_t number,
                          struct amqp_bytes *ret_record)
{
    size_t head_bytes = record_head_bytes(view);
    uint64_t size;

    if (view->size - at < head_bytes || log_get_u64le(view->data + at + 8) != number)
        return false;
    size = log_get_u64le(view->data + at + 16);
    if (size > view->size - at - head_bytes)
        return false;
    *ret_record = (struct amqp_bytes){ view->data + at + head_bytes, size };
    return true;
}

/* The record with this number, if it is there, whole and valid. */
static bool record_at(const struct view *view, size_t at, uint64_t number,
                      struct amqp_bytes *ret_record)
{
    const struct segment *segment = view->segment;
    const uint8_t *head = view->data + at;

    if (!claims_record(view, at, number, ret_record))
        return false;
    if (segment->old_format)
        return log_get_u64le(head) == log_record_hash_1(segment->serial, number, *ret_record);
    return log_get_u64le(head) == log_head_hash(segment->secret, head) &&
           log_get_u64le(head + 24) == log_body_hash(segment->secret, *ret_record);
}

/*
 * The highest number of a record behind the end, 0 if there is none. A head is enough: it is
 * written when the record before is on the disk. The number is compared first, so that most places
 * cost no hash.
 */
static uint64_t find_later_head(const struct view *view)
{
    uint64_t n_max = (view->size - view->at) / LOG_RECORD_HEAD_BYTES;
    uint64_t found = 0;
    size_t at;

    for (at = view->at; view->size - at >= LOG_RECORD_HEAD_BYTES; at += 8) {
        const uint8_t *head = view->data + at;
        uint64_t number = log_get_u64le(head + 8);

        if (number > view->number && number - view->number <= n_max && number > found &&
            log_get_u64le(head) == log_head_hash(view->segment->secret, head))
            found = number;
    }
    return found;
}

static uint64_t find_later_record_1(const struct view *view)
{
    uint64_t n_max = (view->size - view->at) / LOG_RECORD_HEAD_BYTES_1;
    uint64_t hashed = 0;
    struct amqp_bytes record;
    size_t at;

    for (at = view->at; view->size - at >= LOG_RECORD_HEAD_BYTES_1; at += 8) {
        uint64_t number = log_get_u64le(view->data + at + 8);

        if (number <= view->number || number - view->number > n_max ||
            !claims_record(view, at, number, &record))
            continue;
        hashed += record.size;
        if (hashed > HASHED_BYTES_MAX)
            return 0;
        if (record_at(view, at, number, &record))
            return number;
    }
    return 0;
}

/* ---- one segment ---- */

/* Shorter than it was when the record before the last was synced; sizes are steps of growth. */
static bool is_cut(const struct view *view)
{
    uint64_t step = view->segment->grow_bytes;

    return step > 0 && view->size < (view->last_at + step - 1) / step * step;
}

/* It has ended before the limit: may it? */
static int judge_end(const struct store_log *log, const struct view *view,
                     const struct replay *replay, struct store_fault *fault)
{
    const struct segment *segment = view->segment;
    uint64_t last = view->number - 1;
    uint64_t required = segment->synced ? replay->after : 0;
    uint64_t later = 0;

    if (view->limit < UINT64_MAX)
        required = segment->synced ? view->limit - 1 : 0;
    else if (log->note.end > replay->after && log->note.end > required)
        required = log->note.end;
    if (segment->synced && view->at < view->size)
        later = segment->old_format ? find_later_record_1(view) : find_later_head(view);
    if (last < required && later == 0 && view->limit < UINT64_MAX)
        return log_damaged(log, fault, segment->serial, replay->reached,
                           "ends with record %llu, but the next file begins with record %llu",
                           (unsigned long long)last, (unsigned long long)view->limit);
    if (later > required)
        required = later;
    if (last < required)
        return log_damaged(log, fault, segment->serial, replay->reached,
                           "is damaged at record %llu, and record %llu was written",
                           (unsigned long long)view->number, (unsigned long long)required);
    if (segment->synced && view->limit == UINT64_MAX && is_cut(view))
        return log_damaged(log, fault, segment->serial, replay->reached,
                           "is damaged: it was longer when record %llu was written",
                           (unsigned long long)last);
    return 0;
}

static void tell_progress(const struct store_log *log, struct replay *replay, uint64_t done_bytes)
{
    replay->done_bytes = done_bytes;
    if (log->observer && log->observer->progress)
        log->observer->progress(log->observer->context, STORE_PHASE_LOG, done_bytes,
                                replay->total_bytes);
}

/* To the end of what is valid, or taken over. */
static void find_end(struct view *view)
{
    struct amqp_bytes record;

    while (view->number < view->limit && view->at < view->size &&
           record_at(view, view->at, view->number, &record)) {
        view->last_at = view->at;
        view->at += record_head_bytes(view) + (size_t)log_padded(record.size);
        if (view->at > view->size)
            view->at = view->size; /* the file has not grown to the end of the padding */
        view->number++;
    }
}

/* All records before the end, which find_end() has looked at. */
static int visit_records(const struct store_log *log, const struct view *view,
                         struct replay *replay)
{
    uint64_t begun_bytes = replay->done_bytes;
    uint64_t number = view->segment->first;
    struct amqp_bytes record;
    size_t at = view->begin_at;

    for (; at < view->at && claims_record(view, at, number, &record); number++) {
        int rc = number > replay->after ? replay->visit(replay->context, number, record) : 0;

        if (rc) {
            replay->stopped = true;
            return rc;
        }
        at += record_head_bytes(view) + (size_t)log_padded(record.size);
        if (begun_bytes + at - replay->done_bytes >= PROGRESS_BYTES)
            tell_progress(log, replay, begun_bytes + at);
    }
    tell_progress(log, replay, begun_bytes + view->size);
    return 0;
}

/* Damage is returned when what lies before it has been handed out, if the loss is accepted. */
static int replay_view(struct store_log *log, struct view *view, struct replay *replay,
                       struct store_fault *fault)
{
    int damage = 0;
    int rc;

    find_end(view);
    if (view->number - 1 > replay->reached)
        replay->reached = view->number - 1;
    if (view->number < view->limit)
        damage = judge_end(log, view, replay, fault);
    if (damage && !log->loss_accepted)
        return damage;
    rc = make_stable(log, view);
    if (rc)
        return log_fail(fault, "sync", log, rc);
    rc = visit_records(log, view, replay);
    return rc ? rc : damage;
}

static int replay_segment(struct store_log *log, const struct segment *segment, uint64_t limit,
                          struct replay *replay, struct store_fault *fault)
{
    size_t head_bytes = segment->old_format ? LOG_HEAD_BYTES_1 : LOG_HEAD_BYTES;
    struct view view = {
        .segment = segment,
        .fd = -1,
        .begin_at = head_bytes,
        .at = head_bytes,
        .last_at = head_bytes,
        .number = segment->first,
        .limit = limit,
    };
    int rc = read_segment(log, &view);

    if (rc)
        rc = log_fail(fault, "read", log, rc);
    else
        rc = replay_view(log, &view, replay, fault);
    if (view.fd >= 0)
        log->files->ops->close_file(log->files, view.fd);
    free(view.data);
    return rc;
}

/* ---- all of them ---- */

/* Where the records of segment @i end at the latest: the next good segment takes over. */
static uint64_t limit_of(const struct store_log *log, size_t i)
{
    while (++i < log->n_segments)
        if (!log->segments[i].bad)
            return log->segments[i].first;
    return log->next ? log->next : UINT64_MAX;
}

/* Whether something in segment @i, a good one or not, may be asked for. */
static bool is_needed(const struct store_log *log, const struct replay *replay, size_t i)
{
    return limit_of(log, i) - 1 > replay->after;
}

/*
 * The log was closed in good order, and the database has all of it. Then nothing can be missing,
 * whatever has become of the files; unless one tells of something later.
 */
static bool is_done(const struct store_log *log, const struct replay *replay)
{
    size_t i;

    if (!replay->first || log->note.end == 0 || log->note.end != replay->after)
        return false;
    for (i = 0; i < log->n_segments; i++)
        if (log->segments[i].bad || log->segments[i].first > replay->after)
            return false;
    return true;
}

/* Before anything is handed out; @ret_n: segments that can be read, also on failure. */
static int check_segments(const struct store_log *log, const struct replay *replay, size_t *ret_n,
                          struct store_fault *fault)
{
    uint64_t newest = log->n_segments > 0 ? log->segments[log->n_segments - 1].serial : 0;
    size_t i;

    for (i = 0; i < log->n_segments; i++)
        if (log->segments[i].bad && is_needed(log, replay, i))
            break;
    *ret_n = i;
    if (i < log->n_segments)
        return log_damaged(log, fault, log->segments[i].serial, LOG_REACHED_UNKNOWN,
                           "has no valid head");
    if (newest < log->note.serial)
        return log_damaged(log, fault, log->note.serial, LOG_REACHED_UNKNOWN,
                           "is missing: it was the newest file of the log, or one before it");
    if (log->n_segments == 0 && replay->after > 0)
        return log_damaged(log, fault, log->serial + 1, replay->after,
                           "is missing, and so are all others, but record %llu was written",
                           (unsigned long long)replay->after);
    return 0;
}

/* Segment @i begins behind the end of those before it. */
static int handle_gap(struct store_log *log, const struct replay *replay, size_t i,
                      struct store_fault *fault)
{
    const struct segment *segments = log->segments;
    bool synced = i == 0;
    size_t j;

    for (j = i > 0 ? i - 1 : 0; j < log->n_segments; j++)
        synced = synced || segments[j].synced;
    if (!synced)
        return log_drop_from(log, i, fault);
    return log_damaged(log, fault, segments[i].serial, replay->reached,
                       "begins with record %llu, and the file with record %llu before it is missing",
                       (unsigned long long)segments[i].first,
                       (unsigned long long)(replay->reached + 1));
}

static int replay_range(struct store_log *log, struct replay *replay, size_t n,
                        struct store_fault *fault)
{
    size_t i;

    for (i = 0; i < n && i < log->n_segments; i++) {
        const struct segment *segment = &log->segments[i];
        int rc;

        if (segment->bad || !is_needed(log, replay, i))
            continue;
        if (segment->first > replay->reached + 1)
            rc = handle_gap(log, replay, i, fault);
        else
            rc = replay_segment(log, segment, limit_of(log, i), replay, fault);
        if (rc)
            return rc;
    }
    return 0;
}

static uint64_t count_bytes(const struct store_log *log, const struct replay *replay)
{
    struct store_file_status status;
    char name[LOG_NAME_BYTES];
    uint64_t bytes = 0;
    size_t i;

    for (i = 0; i < log->n_segments; i++) {
        log_segment_name(name, log->segments[i].serial, ".log");
        if (is_needed(log, replay, i) && !log->files->ops->status(log->files, name, &status))
            bytes += status.size;
    }
    return bytes;
}

/* Whoever accepts a loss still gets what can be read. */
static int replay_all(struct store_log *log, struct replay *replay, struct store_fault *fault)
{
    size_t n;
    int damage = check_segments(log, replay, &n, fault);
    int rc;

    if (damage && !log->loss_accepted)
        return damage;
    replay->total_bytes = count_bytes(log, replay);
    rc = replay_range(log, replay, n, fault);
    return rc ? rc : damage;
}

int store_log_replay(struct store_log *log, uint64_t after, store_log_visit visit, void *context,
                     struct store_fault *fault)
{
    struct replay replay = {
        .after = after, .reached = after, .visit = visit, .context = context,
        .first = log->next == 0,
    };
    int rc;

    assert(log->fd < 0 || log->next > 0);
    rc = is_done(log, &replay) ? 0 : replay_all(log, &replay, fault);
    if (rc == -EBADMSG && !replay.stopped && log->loss_accepted && replay.first)
        return log_give_up(log, replay.reached, fault);
    if (rc)
        return rc;
    if (log->fd >= 0)
        log->files->ops->close_file(log->files, log->fd);
    log->fd = -1;
    log->next = replay.reached + 1;
    log->uncertain = 0;
    return log->loss_accepted ? log_accepted_in_vain(log, fault) : 0;
}
