/*
 * log.c - segments that are overwritten in place
 *
 * Why not RocksDB's own log: 7.8 cannot use a log file again under point-in-time recovery, and a
 * file that grows costs, besides the write of the data, one of its new length with every sync; that
 * is a third of the time of a sync. It also puts a batch into its memtables before it says that the
 * batch is durable. Here nothing but the write and the sync lies between a commit and its confirm.
 *
 *     segment   | head | record | record | ... | zeros, or what was there before |
 *     head      | hash 8 | "LVLOG002" | serial 8 | first 8 | flags 8 | grow 8 | secret 16 | 0 8 |
 *     record    | hash 8 | number 8 | size 8 | hash of the octets 8 | octets, zeros to 8 n |
 *
 * All numbers are little endian. Hashes are XXH3. That of a head covers everything behind it in the
 * head. Those of records are seeded with the segment's secret, 16 random octets that are new with
 * each use of a file: so neither a record of an earlier use nor anything that a client puts into a
 * message is ever taken for a record, and a head is told from other octets without reading more.
 *
 * - A new segment grows by zeros, a step ahead of its records; one that is not needed any more is
 *   kept as a spare, and becomes the next segment as it is: same blocks, same length.
 * - The records of a segment are numbered from its `first` without gaps, up to the first that is
 *   not valid or that the next segment's `first` takes over: there, a failed write was done again.
 * - Nothing is ever appended behind a failure, or to a segment of an earlier process.
 * - In a segment with FLAG_SYNCED a record is written when the one before is on the disk. So only
 *   the last can be torn, and a valid head behind an invalid record means that the disk has lost
 *   what it had taken. That is told and never skipped.
 *
 * What a power cut leaves: names and contents that were not synced are there, or not, each by
 * itself. So
 *
 * - a file gets a segment's name when its head is on the disk, and a record is appended only when
 *   that name is, and log.last (log_note.c) says that there is such a segment;
 * - a spare is written to only when it is certain not to have its segment's name any more;
 * - what is read back is synced before anything is built on it: the process may have been killed
 *   between a write and its sync, and a later record must not survive an earlier one.
 *
 * The first format, "LVLOG001", is still read (log_replay.c).
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "store/log-internal.h"

int log_fail(struct store_fault *fault, const char *what, const struct store_log *log, int error)
{
    (void)snprintf(fault->text, sizeof fault->text, "cannot %s the log in %.200s: %s", what,
                   log->directory, strerror(-error));
    return error;
}

/* ---- files ---- */

int log_write_all(struct store_log *log, int fd, struct iovec *parts, int n_parts, uint64_t at)
{
    while (n_parts > 0) {
        ssize_t n = log->files->ops->write(log->files, fd, parts, n_parts, at);

        if (n < 0)
            return (int)n;
        at += (uint64_t)n;
        while (n_parts > 0 && (size_t)n >= parts->iov_len) {
            n -= (ssize_t)parts->iov_len;
            parts++;
            n_parts--;
        }
        if (n_parts > 0) {
            parts->iov_base = (uint8_t *)parts->iov_base + n;
            parts->iov_len -= (size_t)n;
        }
    }
    return 0;
}

int log_sync_names(struct store_log *log)
{
    int rc = log->files->ops->sync_names(log->files);

    if (rc == 0)
        log->names_unsynced = false;
    return rc;
}

static void close_segment(struct store_log *log)
{
    if (log->fd >= 0)
        log->files->ops->close_file(log->files, log->fd);
    log->fd = -1;
}

/* Zeros from the end of the file on, so that it reaches past the next step. */
static int grow(struct store_log *log)
{
    static uint8_t zeros[65536];
    uint64_t length = (log->length / log->grow_bytes + 1) * log->grow_bytes;

    while (log->length < length) {
        uint64_t left = length - log->length;
        struct iovec part = { zeros, left < sizeof zeros ? (size_t)left : sizeof zeros };
        int rc = log_write_all(log, log->fd, &part, 1, log->length);

        if (rc)
            return rc;
        log->length += left < sizeof zeros ? left : sizeof zeros;
    }
    return 0;
}

int log_add_segment(struct store_log *log, struct segment segment)
{
    if (log->n_segments == log->segments_capacity) {
        size_t capacity = log->segments_capacity ? log->segments_capacity * 2 : 8;
        struct segment *segments = realloc(log->segments, capacity * sizeof *segments);

        if (!segments)
            return -ENOMEM;
        log->segments = segments;
        log->segments_capacity = capacity;
    }
    log->segments[log->n_segments++] = segment;
    return 0;
}

/* ---- the next segment ---- */

/* In log->fd; a file that has a second name is still a segment, and is left alone. */
static int open_spare(struct store_log *log, char *name)
{
    struct store_file_status status;

    if (log->n_spares > 0 && log->names_unsynced) {
        int rc = log_sync_names(log);

        if (rc)
            return rc;
    }
    while (log->fd < 0 && log->n_spares > 0) {
        log_segment_name(name, log->spares[--log->n_spares], ".spare");
        if (log->files->ops->status(log->files, name, &status))
            continue;
        if (status.links == 1)
            log->fd = log->files->ops->open(log->files, name, STORE_FILE_WRITE);
        else
            (void)log->files->ops->remove(log->files, name); /* or it is never used */
        log->length = status.size;
    }
    return 0;
}

static int open_fresh(struct store_log *log, char *name)
{
    int rc;

    (void)snprintf(name, LOG_NAME_BYTES, LOG_FRESH_NAME);
    rc = log->files->ops->remove(log->files, name); /* left by a failure or a crash */
    if (rc && rc != -ENOENT)
        return rc;
    log->fd = log->files->ops->open(log->files, name, STORE_FILE_CREATE);
    log->length = 0;
    return log->fd < 0 ? log->fd : 0;
}

/* A file with this segment's head on the disk, in log->fd; its present name in @name. */
static int make_file(struct store_log *log, const struct segment *segment, char *name)
{
    uint8_t head[LOG_HEAD_BYTES];
    struct iovec part = { head, sizeof head };
    int rc = open_spare(log, name);

    if (rc == 0 && log->fd < 0)
        rc = open_fresh(log, name);
    if (rc == 0 && (log->length == 0 || log->length % log->grow_bytes != 0))
        rc = grow(log);
    if (rc)
        return rc;
    log_encode_head(head, segment);
    rc = log_write_all(log, log->fd, &part, 1, 0);
    return rc ? rc : log->files->ops->sync(log->files, log->fd);
}

static int begin(struct store_log *log, const struct segment *segment)
{
    char name[LOG_NAME_BYTES];
    char final_name[LOG_NAME_BYTES];
    int rc = make_file(log, segment, name);

    log_segment_name(final_name, segment->serial, ".log");
    if (rc == 0)
        rc = log->files->ops->rename(log->files, name, final_name);
    if (rc == 0)
        rc = log_sync_names(log);
    if (rc == 0)
        rc = log_note_write(log, segment->serial, 0);
    return rc;
}

int log_begin_segment(struct store_log *log, struct store_fault *fault)
{
    struct segment segment = {
        .serial = log->serial + 1,
        .first = log->next,
        .grow_bytes = log->grow_bytes,
        .synced = log->synced,
    };
    int rc;

    close_segment(log);
    if (getrandom(segment.secret, sizeof segment.secret, 0) != (ssize_t)sizeof segment.secret)
        return log_fail(fault, "get random octets for", log, -errno);
    rc = log_add_segment(log, segment);
    if (rc)
        return rc;
    rc = begin(log, &segment);
    if (rc) {
        log->n_segments--;
        close_segment(log);
        return log_fail(fault, "begin a segment of", log, rc);
    }
    memcpy(log->secret, segment.secret, sizeof log->secret);
    log->serial = segment.serial;
    log->at = LOG_HEAD_BYTES;
    return 0;
}

/* ---- writing ---- */

uint64_t store_log_next(const struct store_log *log)
{
    return log->next;
}

/* Room for @size octets in log->fd, or in a new segment. */
static int find_room(struct store_log *log, uint64_t size, struct store_fault *fault)
{
    int rc;

    if (log->fd >= 0 && (log->at == LOG_HEAD_BYTES || log->at + size <= log->segment_bytes))
        return 0;
    rc = log->fd >= 0 && !log->synced ? store_log_sync(log, fault) : 0;
    return rc ? rc : log_begin_segment(log, fault);
}

static void encode_record_head(const struct store_log *log, struct amqp_bytes record, uint8_t *head)
{
    log_put_u64le(head + 8, log->next);
    log_put_u64le(head + 16, record.size);
    log_put_u64le(head + 24, log_body_hash(log->secret, record));
    log_put_u64le(head, log_head_hash(log->secret, head));
}

int store_log_append(struct store_log *log, struct amqp_bytes record, struct store_fault *fault)
{
    static const uint8_t zeros[8];
    uint8_t head[LOG_RECORD_HEAD_BYTES];
    uint64_t size = LOG_RECORD_HEAD_BYTES + log_padded(record.size);
    struct iovec parts[3] = {
        { head, sizeof head },
        { (void *)(uintptr_t)record.data, record.size },
        { (void *)(uintptr_t)zeros, log_padded(record.size) - record.size },
    };
    int rc;

    assert(log->next > 0);
    rc = find_room(log, size, fault);
    if (rc)
        return rc;
    encode_record_head(log, record, head);
    rc = log_write_all(log, log->fd, parts, N_ELEMENTS(parts), log->at);
    if (rc == 0 && log->at + size > log->length) {
        log->length = log->at + size;
        rc = grow(log);
    }
    if (rc)
        return log_fail(fault, "write", log, rc);
    log->at += size;
    log->next++;
    return 0;
}

int store_log_sync(struct store_log *log, struct store_fault *fault)
{
    int rc = log->fd >= 0 ? log->files->ops->sync(log->files, log->fd) : 0;

    if (rc && !log->synced)
        log->uncertain = log->next - 1; /* another sync would only say that it has nothing to do */
    return rc ? log_fail(fault, "sync", log, rc) : 0;
}

void store_log_restart(struct store_log *log, uint64_t next)
{
    assert(next <= log->next);
    close_segment(log); /* its outcome tells nothing that the failure did not */
    if (!log->synced)
        log->uncertain = next - 1;
    log->next = next;
}

void store_log_finish(struct store_log *log)
{
    struct store_fault fault;

    if (log->next <= 1 || log->note.end == log->next - 1 || log->uncertain > 0 ||
        store_log_sync(log, &fault))
        return;
    if (log->n_segments > 0) /* the serial of the newest; a later one may have been dropped */
        (void)log_note_write(log, log->segments[log->n_segments - 1].serial, log->next - 1);
}

/* ---- giving back ---- */

/* A file that a huge record has made long does not become a spare; nor one that is a spare already,
 * for a crash has left both names: rename() would leave them, too. */
void log_retire(struct store_log *log, uint64_t serial)
{
    char name[LOG_NAME_BYTES];
    char spare[LOG_NAME_BYTES];
    struct store_file_status status;

    log_segment_name(name, serial, ".log");
    log_segment_name(spare, serial, ".spare");
    if (log->n_spares < LOG_SPARES_MAX &&
        log->files->ops->status(log->files, name, &status) == 0 && status.links == 1 &&
        status.size <= log->segment_bytes + log->grow_bytes &&
        log->files->ops->rename(log->files, name, spare) == 0)
        log->spares[log->n_spares++] = serial;
    else
        (void)log->files->ops->remove(log->files, name); /* or the next process does it */
    log->names_unsynced = true;
}

void store_log_release(struct store_log *log, uint64_t number)
{
    size_t n = 0;

    if (number >= log->uncertain)
        log->uncertain = 0;
    while (n + 1 < log->n_segments && log->segments[n + 1].first - 1 <= number)
        log_retire(log, log->segments[n++].serial);
    if (n == 0)
        return;
    log->n_segments -= n;
    memmove(log->segments, log->segments + n, log->n_segments * sizeof *log->segments);
}

void store_log_drop_spares(struct store_log *log)
{
    char name[LOG_NAME_BYTES];

    while (log->n_spares > 0) {
        log_segment_name(name, log->spares[--log->n_spares], ".spare");
        (void)log->files->ops->remove(log->files, name); /* or the next process finds it */
        log->names_unsynced = true;
    }
}
