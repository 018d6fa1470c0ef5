/*
 * log_open.c - finding the files of a log, and what their heads say
 *
 * A segment whose head is not valid is kept in the list: whether it matters is known only when the
 * database has said which records it needs (log_replay.c).
 */
#include <errno.h>
#include <stdlib.h>

#include "store/log-internal.h"

static const char magic[8] = { 'L', 'V', 'L', 'O', 'G', '0', '0', '2' };
static const char magic_1[8] = { 'L', 'V', 'L', 'O', 'G', '0', '0', '1' };

/* ---- heads ---- */

void log_encode_head(uint8_t *data, const struct segment *segment)
{
    memcpy(data + 8, magic, sizeof magic);
    log_put_u64le(data + 16, segment->serial);
    log_put_u64le(data + 24, segment->first);
    log_put_u64le(data + 32, segment->synced ? LOG_FLAG_SYNCED : 0);
    log_put_u64le(data + 40, segment->grow_bytes);
    memcpy(data + 48, segment->secret, sizeof segment->secret);
    log_put_u64le(data + 64, 0);
    log_put_u64le(data, XXH3_64bits(data + 8, LOG_HEAD_BYTES - 8));
}

bool log_decode_head(const uint8_t *data, size_t size, struct segment *segment)
{
    bool old = size >= LOG_HEAD_BYTES_1 && memcmp(data + 8, magic_1, sizeof magic_1) == 0;
    size_t head_bytes = old ? LOG_HEAD_BYTES_1 : LOG_HEAD_BYTES;

    if (size < head_bytes || (!old && memcmp(data + 8, magic, sizeof magic) != 0) ||
        log_get_u64le(data) != XXH3_64bits(data + 8, head_bytes - 8) ||
        log_get_u64le(data + 16) != segment->serial || log_get_u64le(data + 24) == 0)
        return false;
    segment->old_format = old;
    segment->first = log_get_u64le(data + 24);
    segment->synced = log_get_u64le(data + 32) & LOG_FLAG_SYNCED;
    if (old)
        return true;
    segment->grow_bytes = log_get_u64le(data + 40);
    memcpy(segment->secret, data + 48, sizeof segment->secret);
    return true;
}

static int load_head(struct store_log *log, struct segment *segment)
{
    char name[LOG_NAME_BYTES];
    uint8_t head[LOG_HEAD_BYTES];
    size_t size = 0;
    int fd;

    log_segment_name(name, segment->serial, ".log");
    fd = log->files->ops->open(log->files, name, STORE_FILE_READ);
    if (fd < 0)
        return fd;
    while (size < sizeof head) {
        ssize_t n = log->files->ops->read(log->files, fd, head + size, sizeof head - size, size);

        if (n < 0) {
            log->files->ops->close_file(log->files, fd);
            return (int)n;
        }
        if (n == 0)
            break;
        size += (size_t)n;
    }
    log->files->ops->close_file(log->files, fd);
    segment->bad = !log_decode_head(head, size, segment);
    return 0;
}

/* ---- names ---- */

static int by_serial(const void *a, const void *b)
{
    uint64_t x = ((const struct segment *)a)->serial;
    uint64_t y = ((const struct segment *)b)->serial;

    return x < y ? -1 : x > y;
}

/* A segment or a spare by its name; other files are not ours. */
static int note_file(void *context, const char *name)
{
    struct store_log *log = context;
    unsigned long long serial;
    int end = 0;

    if (strlen(name) >= LOG_NAME_BYTES || sscanf(name, "%16llx%n", &serial, &end) != 1 || end != 16)
        return 0;
    if (serial > log->serial)
        log->serial = serial;
    if (strcmp(name + end, ".log") == 0)
        return log_add_segment(log, (struct segment){ .serial = serial });
    if (strcmp(name + end, ".spare") != 0)
        return 0;
    if (log->n_spares < LOG_SPARES_MAX)
        log->spares[log->n_spares++] = serial;
    else
        (void)log->files->ops->remove(log->files, name); /* or the next process does it */
    return 0;
}

/* The numbers of segments never fall: one that says so is not valid. */
static int load_segments(struct store_log *log, struct store_fault *fault)
{
    uint64_t first = 0;
    size_t i;

    if (log->n_segments > 0)
        qsort(log->segments, log->n_segments, sizeof *log->segments, by_serial);
    for (i = 0; i < log->n_segments; i++) {
        int rc = load_head(log, &log->segments[i]);

        if (rc)
            return log_fail(fault, "read", log, rc);
        if (!log->segments[i].bad && log->segments[i].first < first)
            log->segments[i].bad = true;
        if (!log->segments[i].bad)
            first = log->segments[i].first;
    }
    return 0;
}

/* ---- opening ---- */

/* Names are synced first: what a process that was killed has renamed, may not be on the disk. */
static int load(struct store_log *log, struct store_fault *fault)
{
    struct store_file_status status;
    int rc = log_note_open(log);

    if (rc)
        return log_fail(fault, "note the end of", log, rc);
    log->serial = log->note.serial;
    rc = log_sync_names(log);
    if (rc == 0)
        rc = log->files->ops->list(log->files, note_file, log);
    if (rc)
        return log_fail(fault, "list", log, rc);
    rc = log->files->ops->status(log->files, LOG_ACCEPT_NAME, &status);
    if (rc && rc != -ENOENT)
        return log_fail(fault, "look beside", log, rc);
    log->loss_accepted = rc == 0;
    return load_segments(log, fault);
}

int store_log_open_files(struct store_files *files, const char *directory,
                         const struct store_log_settings *settings, struct store_fault *fault,
                         struct store_log **ret_log)
{
    struct store_log *log = calloc(1, sizeof *log);
    int rc;

    if (!log) {
        files->ops->close(files);
        return -ENOMEM;
    }
    log->files = files;
    log->observer = settings->observer;
    log->segment_bytes = settings->segment_bytes;
    log->grow_bytes = settings->segment_bytes / 4 < LOG_GROW_BYTES ? settings->segment_bytes / 4
                                                                   : LOG_GROW_BYTES;
    log->synced = settings->synced;
    log->fd = -1;
    log->note_fd = -1;
    log->directory = strdup(directory);
    rc = log->directory ? load(log, fault) : -ENOMEM;
    if (rc) {
        store_log_close(log);
        return rc;
    }
    *ret_log = log;
    return 0;
}

int store_log_open(const char *directory, const struct store_log_settings *settings,
                   struct store_fault *fault, struct store_log **ret_log)
{
    struct store_files *files;
    int rc = store_files_open(directory, &files);

    if (rc) {
        (void)snprintf(fault->text, sizeof fault->text, "cannot open the log in %.200s: %s",
                       directory, strerror(-rc));
        return rc;
    }
    return store_log_open_files(files, directory, settings, fault, ret_log);
}

void store_log_close(struct store_log *log)
{
    if (!log)
        return;
    if (log->fd >= 0)
        log->files->ops->close_file(log->files, log->fd);
    if (log->note_fd >= 0)
        log->files->ops->close_file(log->files, log->note_fd);
    log->files->ops->close(log->files);
    free(log->segments);
    free(log->directory);
    free(log);
}
