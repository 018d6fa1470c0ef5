/*
 * log_replay.c - reading a log back: which records count, and where it ends
 *
 * log.c says what lies in a segment and what must hold. Segments are read whole, one at a time.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/log-internal.h"

/* A valid record that far behind a damaged one is looked for; further on, numbers are too many. */
#define DAMAGE_NUMBERS_MAX 1000000u

/* The whole file; @ret_data is returned. */
static int read_segment(const struct store_log *log, uint64_t serial, uint8_t **ret_data,
                        size_t *ret_size)
{
    char name[LOG_NAME_BYTES];
    struct stat status;
    uint8_t *data;
    size_t n = 0;
    int fd;
    int rc = 0;

    log_segment_name(name, serial, ".log");
    fd = openat(log->directory_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &status)) {
        rc = -errno;
        (void)close(fd);
        return rc;
    }
    data = malloc((size_t)status.st_size + 1);
    if (!data)
        rc = -ENOMEM;
    while (rc == 0 && n < (size_t)status.st_size) {
        ssize_t got = read(fd, data + n, (size_t)status.st_size - n);

        if (got == 0)
            break;
        if (got > 0)
            n += (size_t)got;
        else if (errno != EINTR)
            rc = -errno;
    }
    (void)close(fd);
    if (rc) {
        free(data);
        return rc;
    }
    *ret_data = data;
    *ret_size = n;
    return 0;
}

/* The record with this number, if it is at the start of these octets, whole and valid. */
static bool record_at(const uint8_t *data, size_t size, uint64_t serial, uint64_t number,
                      struct amqp_bytes *ret_record)
{
    uint64_t record_size;

    if (size < LOG_RECORD_HEAD_BYTES || log_get_u64le(data + 8) != number)
        return false;
    record_size = log_get_u64le(data + 16);
    if (record_size > size - LOG_RECORD_HEAD_BYTES)
        return false;
    *ret_record = (struct amqp_bytes){ data + LOG_RECORD_HEAD_BYTES, record_size };
    return log_get_u64le(data) == log_record_hash(serial, number, *ret_record);
}

/* Whether a record after @number, which is not valid, is. */
static bool has_later_record(const uint8_t *data, size_t size, uint64_t serial, uint64_t number)
{
    struct amqp_bytes record;
    size_t at;

    for (at = 0; at + LOG_RECORD_HEAD_BYTES <= size; at += 8) {
        uint64_t found = log_get_u64le(data + at + 8);

        if (found > number && found - number < DAMAGE_NUMBERS_MAX &&
            record_at(data + at, size - at, serial, found, &record))
            return true;
    }
    return false;
}

struct replay {
    uint64_t after;
    uint64_t reached; /* the last number that was found, or need not be */
    store_log_visit visit;
    void *context;
};

static int damaged(const struct store_log *log, const struct segment *segment, uint64_t number,
                   struct store_fault *fault)
{
    (void)snprintf(fault->text, sizeof fault->text,
                   "%.90s/%016llx.log is damaged at record %llu, and later ones are there: moving "
                   "this file and those after it away gives them up",
                   log->directory, (unsigned long long)segment->serial,
                   (unsigned long long)number);
    return -EBADMSG;
}

/* Records of one segment, below number @limit. */
static int replay_segment(struct store_log *log, const struct segment *segment, uint64_t limit,
                          struct replay *replay, struct store_fault *fault)
{
    uint64_t number = segment->first;
    size_t at = LOG_HEAD_BYTES;
    struct amqp_bytes record;
    uint8_t *data = NULL;
    size_t size = 0;
    int rc = read_segment(log, segment->serial, &data, &size);

    if (rc) {
        errno = -rc;
        return store_log_fail(fault, "read", log);
    }
    while (rc == 0 && number < limit && at < size &&
           record_at(data + at, size - at, segment->serial, number, &record)) {
        if (number > replay->after)
            rc = replay->visit(replay->context, number, record);
        at += LOG_RECORD_HEAD_BYTES + (size_t)log_padded(record.size);
        number++;
    }
    if (rc == 0 && number - 1 > replay->reached)
        replay->reached = number - 1;
    if (rc == 0 && segment->synced && number < limit && number > replay->after && at < size &&
        has_later_record(data + at, size - at, segment->serial, number))
        rc = damaged(log, segment, number, fault);
    free(data);
    return rc;
}

/* Segments behind a hole, of a log that was not synced: the machine stopped. They end here. */
static void drop_from(struct store_log *log, size_t i)
{
    while (log->n_segments > i)
        store_log_retire(log, log->segments[--log->n_segments].serial);
}

int store_log_replay(struct store_log *log, uint64_t after, store_log_visit visit, void *context,
                     struct store_fault *fault)
{
    struct replay replay = { after, after, visit, context };
    size_t i;

    assert(log->fd < 0 || log->next > 0);
    for (i = 0; i < log->n_segments; i++) {
        const struct segment *segment = &log->segments[i];
        uint64_t limit = i + 1 < log->n_segments ? segment[1].first
                         : log->next             ? log->next
                                                 : UINT64_MAX;
        int rc;

        if (limit - 1 <= after)
            continue;
        if (segment->first > replay.reached + 1) {
            if (i > 0 ? segment[-1].synced : segment->synced)
                return damaged(log, i > 0 ? segment - 1 : segment, replay.reached + 1, fault);
            drop_from(log, i);
            break;
        }
        rc = replay_segment(log, segment, limit, &replay, fault);
        if (rc)
            return rc;
    }
    if (log->fd >= 0)
        (void)close(log->fd);
    log->fd = -1;
    log->next = replay.reached + 1;
    return 0;
}

