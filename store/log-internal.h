/*
 * log-internal.h - what writing a log (log.c), opening it (log_open.c, log_note.c) and reading it
 * back (log_replay.c, log_repair.c) share
 */
#ifndef STORE_LOG_INTERNAL_H
#define STORE_LOG_INTERNAL_H

#include <endian.h>
#include <stdio.h>
#include <xxhash.h>

#include "store/files.h"
#include "store/log.h"

#define LOG_HEAD_BYTES 72u          /* of a segment */
#define LOG_RECORD_HEAD_BYTES 32u
#define LOG_HEAD_BYTES_1 40u        /* of one of the first format, "LVLOG001" */
#define LOG_RECORD_HEAD_BYTES_1 24u
#define LOG_GROW_BYTES (1u << 20)
#define LOG_NAME_BYTES 32
#define LOG_SPARES_MAX 3
#define LOG_FLAG_SYNCED 1u

#define LOG_NOTE_NAME "../log.last"
#define LOG_ACCEPT_NAME "../log.accept-loss"
#define LOG_FRESH_NAME "new"

/** struct segment - one file of the log, as its head says */
struct segment {
    uint64_t serial;
    uint64_t first;     /* number of its first record */
    uint64_t secret[2]; /* seeds of the hashes of heads and of bodies; none in the first format */
    uint64_t grow_bytes; /* its length is a multiple of this; 0: not known */
    bool synced;
    bool old_format;
    bool bad; /* it has no valid head: nothing but the serial is known */
};

/** struct log_note - the file beside the log that says what there must be (log_note.c) */
struct log_note {
    uint64_t sequence; /* of the note itself: the newer of two counts */
    uint64_t serial;   /* a segment with this serial, or a later one, was made; 0: not known */
    uint64_t end;      /* the log was closed at this record, and nothing was appended; 0: it was not */
};

struct store_log {
    struct store_files *files;
    char *directory; /* its path, for messages */
    const struct store_observer *observer; /* or NULL */
    size_t segment_bytes; /* a record that would pass this begins the next segment */
    uint64_t grow_bytes;
    bool synced;
    int fd; /* of the last segment; -1: the next record begins a new one */
    uint64_t secret[2]; /* of that segment */
    uint64_t at;     /* where the next record goes */
    uint64_t length; /* of the file: zeros or old records up to here */
    uint64_t serial; /* the highest that was ever used */
    uint64_t next;   /* number of the next record; 0: not known before store_log_replay() */
    struct segment *segments; /* oldest first */
    size_t n_segments, segments_capacity;
    uint64_t spares[LOG_SPARES_MAX]; /* serials, in their files' names */
    unsigned n_spares;
    bool names_unsynced; /* files were renamed or removed since the names were last synced */
    uint64_t uncertain;  /* the disk may not have all records up to this one; 0: it has or will */
    bool loss_accepted;  /* the operator's file is there (log_repair.c) */
    int note_fd;
    struct log_note note;
};

/** log_fail() - "cannot WHAT the log in DIRECTORY: why"; returns @error, which is -errno */
int log_fail(struct store_fault *fault, const char *what, const struct store_log *log, int error);

/** log_segment_name() - @suffix with its dot; LOG_NAME_BYTES */
static inline void log_segment_name(char *name, uint64_t serial, const char *suffix)
{
    (void)snprintf(name, LOG_NAME_BYTES, "%016llx%s", (unsigned long long)serial, suffix);
}

/* log.c */

int log_write_all(struct store_log *log, int fd, struct iovec *parts, int n_parts, uint64_t at);
int log_add_segment(struct store_log *log, struct segment segment);

/** log_begin_segment() - for record log->next; its name is on the disk when this succeeds */
int log_begin_segment(struct store_log *log, struct store_fault *fault);

/** log_retire() - a segment's file becomes a spare, or goes */
void log_retire(struct store_log *log, uint64_t serial);

/** log_sync_names() - after this a file that was renamed or removed may be overwritten */
int log_sync_names(struct store_log *log);

/* log_note.c */

int log_note_open(struct store_log *log);

/** log_note_write() - on the disk when this returns 0 */
int log_note_write(struct store_log *log, uint64_t serial, uint64_t end);

/* log_open.c */

/** log_decode_head() - false: this is no head of a segment with @segment->serial */
bool log_decode_head(const uint8_t *data, size_t size, struct segment *segment);

/** log_encode_head() - LOG_HEAD_BYTES */
void log_encode_head(uint8_t *data, const struct segment *segment);

/* log_repair.c */

#define LOG_REACHED_UNKNOWN UINT64_MAX

/**
 * log_damaged() - fills @fault: "FILE what is wrong with it", and what can be done
 * @serial:  whose file it is
 * @reached: the last record that is kept if the others are given up, or LOG_REACHED_UNKNOWN
 *
 * Return: -EBADMSG.
 */
PRINTF_LIKE(5, 6)
int log_damaged(const struct store_log *log, struct store_fault *fault, uint64_t serial,
                uint64_t reached, const char *format, ...);

/**
 * log_give_up() - the operator wants to go on without the records after @reached
 *
 * Segments that hold nothing else are put aside, and a new one takes the place of what is lost.
 */
int log_give_up(struct store_log *log, uint64_t reached, struct store_fault *fault);

/** log_accepted_in_vain() - the operator's file is there, and nothing is lost: it goes */
int log_accepted_in_vain(struct store_log *log, struct store_fault *fault);

/** log_drop_from() - segments @i and later, of a log that was not synced, are of no use */
int log_drop_from(struct store_log *log, size_t i, struct store_fault *fault);

/* octets */

static inline uint64_t log_get_u64le(const uint8_t *from)
{
    uint64_t value;

    memcpy(&value, from, sizeof value);
    return le64toh(value);
}

static inline void log_put_u64le(uint8_t *to, uint64_t value)
{
    value = htole64(value);
    memcpy(to, &value, sizeof value);
}

static inline uint64_t log_padded(uint64_t size)
{
    return (size + 7) & ~UINT64_C(7);
}

/** log_head_hash() - of a record's head, without the hash at its beginning */
static inline uint64_t log_head_hash(const uint64_t secret[2], const uint8_t *head)
{
    return XXH3_64bits_withSeed(head + 8, LOG_RECORD_HEAD_BYTES - 8, secret[0]);
}

static inline uint64_t log_body_hash(const uint64_t secret[2], struct amqp_bytes record)
{
    return XXH3_64bits_withSeed(record.data, record.size, secret[1]);
}

/** log_record_hash_1() - of the first format, whose seed everybody knows */
static inline uint64_t log_record_hash_1(uint64_t serial, uint64_t number,
                                         struct amqp_bytes record)
{
    const uint64_t seed[3] = { htole64(serial), htole64(number), htole64(record.size) };

    return XXH3_64bits_withSeed(record.data, record.size, XXH3_64bits(seed, sizeof seed));
}

#endif
