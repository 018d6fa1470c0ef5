/*
 * log_note.c - log.last: what there must be, in a place that is not the log
 *
 * When the newest segment is removed, or the whole directory, what is left looks like a log that
 * ends earlier. So each new segment is noted, after its name is on the disk and before a record is
 * in it; and a close in good order notes the number that the log ends with.
 *
 *     slot | hash 8 | "LVLAST01" | sequence 8 | serial 8 | end 8 |
 *
 * Two slots of one file, written in turn, each in a sector of its own: a torn write leaves the note
 * before it, which is weaker and never wrong. Nothing but the creation of the file changes names,
 * and it never grows, so that a full disk has nothing to say against a note.
 */
#include <errno.h>

#include "store/log-internal.h"

#define SLOT_BYTES 40u
#define SLOT_STEP 4096u

static const char magic[8] = { 'L', 'V', 'L', 'A', 'S', 'T', '0', '1' };

static bool decode(const uint8_t *slot, struct log_note *ret_note)
{
    if (memcmp(slot + 8, magic, sizeof magic) != 0 ||
        log_get_u64le(slot) != XXH3_64bits(slot + 8, SLOT_BYTES - 8))
        return false;
    *ret_note = (struct log_note){
        log_get_u64le(slot + 16), log_get_u64le(slot + 24), log_get_u64le(slot + 32)
    };
    return true;
}

/* Slots that were never written, or are torn, say nothing. */
static int load(struct store_log *log)
{
    uint8_t data[SLOT_STEP + SLOT_BYTES] = { 0 };
    struct log_note note;
    size_t at = 0;
    size_t i;

    while (at < sizeof data) {
        ssize_t n = log->files->ops->read(log->files, log->note_fd, data + at, sizeof data - at, at);

        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        at += (size_t)n;
    }
    for (i = 0; i < 2; i++)
        if (decode(data + i * SLOT_STEP, &note) && note.sequence > log->note.sequence)
            log->note = note;
    return 0;
}

static int create(struct store_log *log)
{
    static uint8_t zeros[2 * SLOT_STEP];
    struct iovec part = { zeros, sizeof zeros };
    int rc;

    log->note_fd = log->files->ops->open(log->files, LOG_NOTE_NAME, STORE_FILE_CREATE);
    if (log->note_fd < 0)
        return log->note_fd;
    rc = log_write_all(log, log->note_fd, &part, 1, 0);
    return rc ? rc : log->files->ops->sync_names_above(log->files);
}

int log_note_open(struct store_log *log)
{
    log->note_fd = log->files->ops->open(log->files, LOG_NOTE_NAME, STORE_FILE_WRITE);
    if (log->note_fd == -ENOENT)
        return create(log);
    if (log->note_fd < 0)
        return log->note_fd;
    return load(log);
}

int log_note_write(struct store_log *log, uint64_t serial, uint64_t end)
{
    const struct log_note note = { log->note.sequence + 1, serial, end };
    uint8_t slot[SLOT_BYTES];
    struct iovec part = { slot, sizeof slot };
    int rc;

    memcpy(slot + 8, magic, sizeof magic);
    log_put_u64le(slot + 16, note.sequence);
    log_put_u64le(slot + 24, note.serial);
    log_put_u64le(slot + 32, note.end);
    log_put_u64le(slot, XXH3_64bits(slot + 8, sizeof slot - 8));
    rc = log_write_all(log, log->note_fd, &part, 1, note.sequence % 2 * SLOT_STEP);
    if (rc == 0)
        rc = log->files->ops->sync(log->files, log->note_fd);
    if (rc == 0)
        log->note = note;
    return rc;
}
