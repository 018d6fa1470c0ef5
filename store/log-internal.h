/*
 * log-internal.h - what writing a log (log.c) and reading it back (log_replay.c) share
 */
#ifndef STORE_LOG_INTERNAL_H
#define STORE_LOG_INTERNAL_H

#include <endian.h>
#include <stdio.h>
#include <xxhash.h>

#include "store/log.h"

#define LOG_HEAD_BYTES 40u
#define LOG_RECORD_HEAD_BYTES 24u
#define LOG_NAME_BYTES 24
#define LOG_SPARES_MAX 3

/** struct segment - one file of the log, as its head says */
struct segment {
    uint64_t serial;
    uint64_t first; /* number of its first record */
    bool synced;
};

struct store_log {
    char *directory;
    int directory_fd;
    size_t segment_bytes; /* a record that would pass this begins the next segment */
    bool synced;
    int fd; /* of the last segment; -1: the next record begins a new one */
    uint64_t at;     /* where the next record goes */
    uint64_t length; /* of the file: zeros or old records up to here */
    uint64_t serial; /* the highest that was ever used */
    uint64_t next;   /* number of the next record; 0: not known before store_log_replay() */
    struct segment *segments; /* oldest first */
    size_t n_segments, segments_capacity;
    uint64_t spares[LOG_SPARES_MAX]; /* serials, in their files' names */
    unsigned n_spares;
};

/** store_log_fail() - fills @fault from errno; returns it, negative */
int store_log_fail(struct store_fault *fault, const char *what, const struct store_log *log);

/** log_segment_name() - @suffix with its dot; LOG_NAME_BYTES */
static inline void log_segment_name(char *name, uint64_t serial, const char *suffix)
{
    (void)snprintf(name, LOG_NAME_BYTES, "%016llx%s", (unsigned long long)serial, suffix);
}

/** store_log_retire() - a segment's file becomes a spare, or goes */
void store_log_retire(struct store_log *log, uint64_t serial);

static inline uint64_t log_get_u64le(const uint8_t *from)
{
    uint64_t value;

    memcpy(&value, from, sizeof value);
    return le64toh(value);
}

static inline uint64_t log_padded(uint64_t size)
{
    return (size + 7) & ~UINT64_C(7);
}

static inline uint64_t log_record_hash(uint64_t serial, uint64_t number, struct amqp_bytes record)
{
    const uint64_t seed[3] = { htole64(serial), htole64(number), htole64(record.size) };

    return XXH3_64bits_withSeed(record.data, record.size, XXH3_64bits(seed, sizeof seed));
}

#endif
