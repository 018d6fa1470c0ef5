/*
 * log.c - segments that are overwritten in place
 *
 * Why not RocksDB's own log: 7.8 cannot use a log file again under point-in-time recovery, and a
 * file that grows costs, besides the write of the data, one of its new length with every sync; that
 * is a third of the time of a sync. It also puts a batch into its memtables before it says that the
 * batch is durable. Here nothing but the write and the sync lies between a commit and its confirm.
 *
 *     segment   | head | record | record | ... | zeros, or what was there before |
 *     head      | hash 8 | "LVLOG001" | serial 8 | first 8 | flags 8 |
 *     record    | hash 8 | number 8 | size 8 | octets, padded with zeros to a multiple of 8 |
 *
 * All numbers are little endian. Hashes are XXH3 and cover everything behind them; those of records
 * are seeded with the segment's serial, so a record of an earlier use of the file is never valid.
 *
 * - A new segment grows by zeros, a step ahead of its records; one that is not needed any more is
 *   kept as a spare, and becomes the next segment as it is: same blocks, same length.
 * - A file has a segment's name (its serial) only when its head is on the disk.
 * - The records of a segment are numbered from its `first` without gaps, up to the first that is
 *   not valid or that the next segment's `first` takes over: there, a failed write was done again.
 * - Nothing is ever appended behind a failure, or to a segment of an earlier process.
 * - In a segment with FLAG_SYNCED a record is written when the one before is on the disk. So only
 *   the last can be torn, and a valid record behind an invalid one means that the disk has lost
 *   what it had taken. That is told and never skipped.
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "store/log-internal.h"

#define GROW_BYTES (1u << 20)

#define FLAG_SYNCED 1u

static const char magic[8] = { 'L', 'V', 'L', 'O', 'G', '0', '0', '1' };
static const char fresh_name[] = "new";

/* ---- files ---- */

static void put_u64le(uint8_t *to, uint64_t value)
{
    value = htole64(value);
    memcpy(to, &value, sizeof value);
}

int store_log_fail(struct store_fault *fault, const char *what, const struct store_log *log)
{
    int error = errno;

    (void)snprintf(fault->text, sizeof fault->text, "cannot %s the log in %.140s: %s", what,
                   log->directory, strerror(error));
    return -error;
}

static int write_all(int fd, struct iovec *parts, int n_parts, uint64_t at)
{
    while (n_parts > 0) {
        ssize_t n = pwritev(fd, parts, n_parts, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
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

/* Zeros from the end of the file on, so that it reaches past the next step. */
static int grow(struct store_log *log)
{
    static uint8_t zeros[65536];
    uint64_t length = (log->length / GROW_BYTES + 1) * GROW_BYTES;

    while (log->length < length) {
        uint64_t left = length - log->length;
        struct iovec part = { zeros, left < sizeof zeros ? (size_t)left : sizeof zeros };
        int rc = write_all(log->fd, &part, 1, log->length);

        if (rc)
            return rc;
        log->length += left < sizeof zeros ? left : sizeof zeros;
    }
    return 0;
}

static int add_segment(struct store_log *log, struct segment segment)
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

static int write_head(struct store_log *log, uint64_t serial)
{
    uint8_t head[LOG_HEAD_BYTES];
    struct iovec part = { head, sizeof head };

    memcpy(head + 8, magic, sizeof magic);
    put_u64le(head + 16, serial);
    put_u64le(head + 24, log->next);
    put_u64le(head + 32, log->synced ? FLAG_SYNCED : 0);
    put_u64le(head, XXH3_64bits(head + 8, sizeof head - 8));
    return write_all(log->fd, &part, 1, 0);
}

/* A file for the next segment in log->fd, with its length; its present name in @name. A spare is
 * taken once: what does not become a segment then is found again by the next process. */
static int open_file(struct store_log *log, char *name)
{
    struct stat status;

    while (log->fd < 0 && log->n_spares > 0) {
        log_segment_name(name, log->spares[--log->n_spares], ".spare");
        log->fd = openat(log->directory_fd, name, O_RDWR | O_CLOEXEC);
    }
    if (log->fd < 0) {
        (void)snprintf(name, LOG_NAME_BYTES, "%s", fresh_name);
        log->fd = openat(log->directory_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    }
    if (log->fd < 0 || fstat(log->fd, &status))
        return -errno;
    log->length = (uint64_t)status.st_size;
    return 0;
}

static int begin_segment(struct store_log *log, struct store_fault *fault)
{
    char name[LOG_NAME_BYTES];
    char final_name[LOG_NAME_BYTES];
    uint64_t serial = log->serial + 1;
    int rc;

    if (log->fd >= 0)
        (void)close(log->fd); /* what was to be synced, has been */
    log->fd = -1;
    log_segment_name(final_name, serial, ".log");
    rc = add_segment(log, (struct segment){ serial, log->next, log->synced });
    if (rc)
        return rc;
    rc = open_file(log, name);
    if (rc == 0)
        rc = log->length < LOG_HEAD_BYTES ? grow(log) : 0;
    if (rc == 0)
        rc = write_head(log, serial);
    if (rc)
        errno = -rc;
    if (rc || fdatasync(log->fd) ||
        renameat(log->directory_fd, name, log->directory_fd, final_name) ||
        fsync(log->directory_fd)) {
        rc = store_log_fail(fault, "begin a segment of", log);
        log->n_segments--;
        if (log->fd >= 0)
            (void)close(log->fd);
        log->fd = -1;
        return rc;
    }
    log->serial = serial;
    log->at = LOG_HEAD_BYTES;
    return 0;
}

/* ---- writing ---- */

uint64_t store_log_next(const struct store_log *log)
{
    return log->next;
}

int store_log_append(struct store_log *log, struct amqp_bytes record, struct store_fault *fault)
{
    static const uint8_t zeros[8];
    uint8_t head[LOG_RECORD_HEAD_BYTES];
    uint64_t end = log->at + LOG_RECORD_HEAD_BYTES + log_padded(record.size);
    struct iovec parts[3] = {
        { head, sizeof head },
        { (void *)(uintptr_t)record.data, record.size },
        { (void *)(uintptr_t)zeros, log_padded(record.size) - record.size },
    };
    int rc;

    assert(log->next > 0);
    if (log->fd < 0 || (log->at > LOG_HEAD_BYTES && end > log->segment_bytes)) {
        rc = log->fd >= 0 && !log->synced ? store_log_sync(log, fault) : 0;
        if (rc == 0)
            rc = begin_segment(log, fault);
        if (rc)
            return rc;
        end = log->at + LOG_RECORD_HEAD_BYTES + log_padded(record.size);
    }
    put_u64le(head, log_record_hash(log->serial, log->next, record));
    put_u64le(head + 8, log->next);
    put_u64le(head + 16, record.size);
    rc = write_all(log->fd, parts, N_ELEMENTS(parts), log->at);
    if (rc == 0 && end > log->length) {
        log->length = end;
        rc = grow(log);
    }
    if (rc) {
        errno = -rc;
        return store_log_fail(fault, "write", log);
    }
    log->at = end;
    log->next++;
    return 0;
}

int store_log_sync(struct store_log *log, struct store_fault *fault)
{
    return log->fd >= 0 && fdatasync(log->fd) ? store_log_fail(fault, "sync", log) : 0;
}

void store_log_restart(struct store_log *log, uint64_t next)
{
    assert(next <= log->next);
    if (log->fd >= 0)
        (void)close(log->fd); /* its outcome tells nothing that the failure did not */
    log->fd = -1;
    log->next = next;
}

/* ---- giving back ---- */

/* A file that a huge record has made long does not become a spare. */
void store_log_retire(struct store_log *log, uint64_t serial)
{
    char name[LOG_NAME_BYTES];
    char spare[LOG_NAME_BYTES];
    struct stat status;

    log_segment_name(name, serial, ".log");
    log_segment_name(spare, serial, ".spare");
    if (log->n_spares < LOG_SPARES_MAX &&
        fstatat(log->directory_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        (uint64_t)status.st_size <= log->segment_bytes + GROW_BYTES &&
        renameat(log->directory_fd, name, log->directory_fd, spare) == 0)
        log->spares[log->n_spares++] = serial;
    else
        (void)unlinkat(log->directory_fd, name, 0); /* or the next process does it */
}

void store_log_release(struct store_log *log, uint64_t number)
{
    size_t n = 0;

    while (n + 1 < log->n_segments && log->segments[n + 1].first - 1 <= number)
        store_log_retire(log, log->segments[n++].serial);
    log->n_segments -= n;
    memmove(log->segments, log->segments + n, log->n_segments * sizeof *log->segments);
}

void store_log_drop_spares(struct store_log *log)
{
    char name[LOG_NAME_BYTES];

    while (log->n_spares > 0) {
        log_segment_name(name, log->spares[--log->n_spares], ".spare");
        (void)unlinkat(log->directory_fd, name, 0); /* or the next process finds it */
    }
}

/* ---- opening ---- */

static int by_serial(const void *a, const void *b)
{
    uint64_t x = ((const struct segment *)a)->serial;
    uint64_t y = ((const struct segment *)b)->serial;

    return x < y ? -1 : x > y;
}

static int load_head(struct store_log *log, struct segment *segment)
{
    char name[LOG_NAME_BYTES];
    uint8_t head[LOG_HEAD_BYTES];
    ssize_t n;
    int fd;

    log_segment_name(name, segment->serial, ".log");
    fd = openat(log->directory_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    n = read(fd, head, sizeof head);
    if (n < 0) {
        int rc = -errno;

        (void)close(fd);
        return rc;
    }
    (void)close(fd);
    if (n != (ssize_t)sizeof head || memcmp(head + 8, magic, sizeof magic) != 0 ||
        log_get_u64le(head) != XXH3_64bits(head + 8, sizeof head - 8) ||
        log_get_u64le(head + 16) != segment->serial || log_get_u64le(head + 24) == 0)
        return -EBADMSG;
    segment->first = log_get_u64le(head + 24);
    segment->synced = log_get_u64le(head + 32) & FLAG_SYNCED;
    return 0;
}

/* A segment or a spare by its name; other files are not ours. */
static int note_file(struct store_log *log, const char *name)
{
    unsigned long long serial;
    int end = 0;

    if (strlen(name) >= LOG_NAME_BYTES || sscanf(name, "%16llx%n", &serial, &end) != 1 || end != 16)
        return 0;
    if (serial > log->serial)
        log->serial = serial;
    if (strcmp(name + end, ".log") == 0)
        return add_segment(log, (struct segment){ .serial = serial });
    if (strcmp(name + end, ".spare") != 0)
        return 0;
    if (log->n_spares < LOG_SPARES_MAX)
        log->spares[log->n_spares++] = serial;
    else
        (void)unlinkat(log->directory_fd, name, 0); /* or the next process does it */
    return 0;
}

static int list_files(struct store_log *log)
{
    DIR *files = opendir(log->directory);
    const struct dirent *file;
    int rc = 0;

    if (!files)
        return -errno;
    while (rc == 0 && (file = readdir(files)))
        rc = note_file(log, file->d_name);
    (void)closedir(files);
    return rc;
}

static int load_segments(struct store_log *log, struct store_fault *fault)
{
    int rc = list_files(log);
    size_t i;

    if (rc) {
        errno = -rc;
        return store_log_fail(fault, "list", log);
    }
    if (log->n_segments > 0)
        qsort(log->segments, log->n_segments, sizeof *log->segments, by_serial);
    for (i = 0; i < log->n_segments; i++) {
        rc = load_head(log, &log->segments[i]);
        if (rc == -EBADMSG || (rc == 0 && i > 0 && log->segments[i].first <
                                                       log->segments[i - 1].first)) {
            (void)snprintf(fault->text, sizeof fault->text, "%.140s/%016llx.log has no valid head",
                           log->directory, (unsigned long long)log->segments[i].serial);
            return -EBADMSG;
        }
        if (rc) {
            errno = -rc;
            return store_log_fail(fault, "read", log);
        }
    }
    return 0;
}

static int open_directory(struct store_log *log)
{
    bool made = mkdir(log->directory, 0750) == 0;
    int parent;
    int rc = 0;

    if (!made && errno != EEXIST)
        return -errno;
    log->directory_fd = open(log->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (log->directory_fd < 0)
        return -errno;
    if (!made)
        return 0;
    parent = openat(log->directory_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0 || fsync(parent))
        rc = -errno;
    if (parent >= 0)
        (void)close(parent);
    return rc;
}

int store_log_open(const char *directory, size_t segment_bytes, bool synced,
                   struct store_fault *fault, struct store_log **ret_log)
{
    struct store_log *log = calloc(1, sizeof *log);
    int rc;

    if (!log)
        return -ENOMEM;
    log->segment_bytes = segment_bytes;
    log->synced = synced;
    log->fd = -1;
    log->directory_fd = -1;
    log->directory = strdup(directory);
    if (!log->directory) {
        store_log_close(log);
        return -ENOMEM;
    }
    rc = open_directory(log);
    if (rc) {
        errno = -rc;
        rc = store_log_fail(fault, "open", log);
    } else {
        rc = load_segments(log, fault);
    }
    if (rc) {
        store_log_close(log);
        return rc;
    }
    *ret_log = log;
    return 0;
}

void store_log_close(struct store_log *log)
{
    if (!log)
        return;
    if (log->fd >= 0)
        (void)close(log->fd);
    if (log->directory_fd >= 0)
        (void)close(log->directory_fd);
    free(log->segments);
    free(log->directory);
    free(log);
}
