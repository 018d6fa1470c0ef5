/*
 * disk_model.h - a disk that forgets what was not synced: names and contents apart
 *
 * The files of the log (store/files.h) in memory. For each file it knows what the kernel has and
 * what the disk has, by sector; for each name, which file it has meant since the names were last
 * synced. A power cut takes for each name and each sector one of these, independently: more than
 * any journal would allow. Operations can be made to fail, or to be the last one before the cut.
 *
 * A sync that fails leaves what was to be written to chance, and the kernel takes it for written,
 * as Linux does: syncing again succeeds and does nothing.
 */
#ifndef TESTS_UNIT_DISK_MODEL_H
#define TESTS_UNIT_DISK_MODEL_H

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/files.h"

enum {
    DISK_SECTOR_BYTES = 512,
    DISK_FILE_BYTES_MAX = 32 * 1024,
    DISK_SECTORS_MAX = DISK_FILE_BYTES_MAX / DISK_SECTOR_BYTES,
    DISK_FILES_MAX = 400,
    DISK_NAMES_MAX = 128,
    DISK_VALUES_MAX = 8,
};

#define DISK_NEVER UINT64_MAX

struct disk_file {
    uint8_t *now, *stable; /* DISK_FILE_BYTES_MAX each */
    size_t size, stable_size;
    bool dirty[DISK_SECTORS_MAX]; /* not written since it was changed */
    bool size_dirty;
};

/* What a name has meant: values[0] is on the disk, values[n - 1] is what the kernel says. */
struct disk_name {
    char name[48];
    int values[DISK_VALUES_MAX]; /* a file, or -1 */
    unsigned n;
};

struct disk {
    struct store_files files;
    struct disk_file file[DISK_FILES_MAX];
    unsigned n_files;
    struct disk_name name[DISK_NAMES_MAX];
    unsigned n_names;
    uint64_t random;
    uint64_t n_operations; /* that change something, or sync it */
    uint64_t cut_at;       /* after this many nothing works any more; DISK_NEVER */
    uint64_t fail_at;      /* after this many some fail; DISK_NEVER */
    uint64_t fail_count;
};

static inline unsigned disk_random(struct disk *disk, unsigned below)
{
    disk->random = disk->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(disk->random >> 33) % below;
}

static inline bool disk_is_cut(const struct disk *disk)
{
    return disk->n_operations > disk->cut_at;
}

enum disk_outcome { DISK_WORKS, DISK_FAILS, DISK_IS_CUT };

/* Each operation asks first what becomes of it; the last one before a cut still works. */
static inline enum disk_outcome disk_next(struct disk *disk)
{
    uint64_t number = disk->n_operations++;

    if (number >= disk->cut_at)
        return DISK_IS_CUT;
    if (number >= disk->fail_at && number - disk->fail_at < disk->fail_count)
        return DISK_FAILS;
    return DISK_WORKS;
}

static inline struct disk *disk_of(struct store_files *files)
{
    return CONTAINER_OF(files, struct disk, files);
}

/* ---- names ---- */

static inline struct disk_name *disk_name(struct disk *disk, const char *name)
{
    for (unsigned i = 0; i < disk->n_names; i++)
        if (strcmp(disk->name[i].name, name) == 0)
            return &disk->name[i];
    ck_assert_uint_lt(disk->n_names, DISK_NAMES_MAX);
    ck_assert_uint_lt(strlen(name), sizeof disk->name[0].name);
    disk->name[disk->n_names] = (struct disk_name){ .values = { -1 }, .n = 1 };
    (void)strcpy(disk->name[disk->n_names].name, name);
    return &disk->name[disk->n_names++];
}

static inline int disk_lookup(struct disk *disk, const char *name)
{
    const struct disk_name *found = disk_name(disk, name);

    return found->values[found->n - 1];
}

static inline void disk_set(struct disk *disk, const char *name, int file)
{
    struct disk_name *found = disk_name(disk, name);

    if (found->n == DISK_VALUES_MAX) /* forget one in the middle */
        memmove(found->values + 1, found->values + 2, (--found->n - 1) * sizeof *found->values);
    found->values[found->n++] = file;
}

static inline bool disk_is_above(const char *name)
{
    return strncmp(name, "../", 3) == 0;
}

static inline unsigned disk_links(struct disk *disk, int file)
{
    unsigned n = 0;

    for (unsigned i = 0; i < disk->n_names; i++)
        n += disk->name[i].values[disk->name[i].n - 1] == file;
    return n;
}

static inline int disk_sync_some(struct store_files *files, bool above)
{
    struct disk *disk = disk_of(files);

    if (disk_next(disk) != DISK_WORKS)
        return -EIO;
    for (unsigned i = 0; i < disk->n_names; i++) {
        struct disk_name *name = &disk->name[i];

        if (disk_is_above(name->name) != above)
            continue;
        name->values[0] = name->values[name->n - 1];
        name->n = 1;
    }
    return 0;
}

static inline int disk_sync_names(struct store_files *files)
{
    return disk_sync_some(files, false);
}

static inline int disk_sync_names_above(struct store_files *files)
{
    return disk_sync_some(files, true);
}

static inline int disk_list(struct store_files *files, store_files_visit visit, void *context)
{
    struct disk *disk = disk_of(files);
    int rc = 0;

    for (unsigned i = 0; i < disk->n_names && rc == 0; i++) {
        const struct disk_name *name = &disk->name[i];

        if (!disk_is_above(name->name) && name->values[name->n - 1] >= 0)
            rc = visit(context, name->name);
    }
    return rc;
}

static inline int disk_status(struct store_files *files, const char *name,
                              struct store_file_status *ret)
{
    struct disk *disk = disk_of(files);
    int file = disk_lookup(disk, name);

    if (file < 0)
        return -ENOENT;
    *ret = (struct store_file_status){ disk->file[file].size, disk_links(disk, file) };
    return 0;
}

static inline int disk_rename(struct store_files *files, const char *from, const char *to)
{
    struct disk *disk = disk_of(files);
    int file = disk_lookup(disk, from);

    if (file < 0)
        return -ENOENT;
    if (disk_next(disk) != DISK_WORKS)
        return -EIO;
    if (disk_lookup(disk, to) == file)
        return 0; /* two names of one file: POSIX leaves both */
    disk_set(disk, to, file);
    disk_set(disk, from, -1);
    return 0;
}

static inline int disk_remove(struct store_files *files, const char *name)
{
    struct disk *disk = disk_of(files);

    if (disk_lookup(disk, name) < 0)
        return -ENOENT;
    if (disk_next(disk) != DISK_WORKS)
        return -EIO;
    disk_set(disk, name, -1);
    return 0;
}

/* ---- contents ---- */

static inline int disk_new_file(struct disk *disk)
{
    struct disk_file *file = &disk->file[disk->n_files];

    ck_assert_uint_lt(disk->n_files, DISK_FILES_MAX);
    *file = (struct disk_file){ .now = calloc(1, DISK_FILE_BYTES_MAX),
                                .stable = calloc(1, DISK_FILE_BYTES_MAX) };
    ck_assert_ptr_nonnull(file->now);
    ck_assert_ptr_nonnull(file->stable);
    return (int)disk->n_files++;
}

static inline int disk_open(struct store_files *files, const char *name, enum store_file_use use)
{
    struct disk *disk = disk_of(files);
    int file = disk_lookup(disk, name);

    if (use != STORE_FILE_CREATE)
        return file < 0 ? -ENOENT : file;
    if (file >= 0)
        return -EEXIST;
    if (disk_next(disk) != DISK_WORKS)
        return -EIO;
    file = disk_new_file(disk);
    disk_set(disk, name, file);
    return file;
}

static inline ssize_t disk_read(struct store_files *files, int fd, uint8_t *data, size_t size,
                                uint64_t at)
{
    const struct disk_file *file = &disk_of(files)->file[fd];

    if (at >= file->size)
        return 0;
    if (size > file->size - at)
        size = file->size - at;
    memcpy(data, file->now + at, size);
    return (ssize_t)size;
}

static inline void disk_put(struct disk_file *file, const uint8_t *data, size_t size, uint64_t at)
{
    if (size == 0)
        return;
    ck_assert_uint_le(at + size, DISK_FILE_BYTES_MAX);
    memcpy(file->now + at, data, size);
    for (size_t sector = at / DISK_SECTOR_BYTES; sector <= (at + size - 1) / DISK_SECTOR_BYTES;
         sector++)
        file->dirty[sector] = true;
    if (at + size > file->size) {
        file->size = at + size;
        file->size_dirty = true;
    }
}

static inline ssize_t disk_write(struct store_files *files, int fd, const struct iovec *parts,
                                 int n_parts, uint64_t at)
{
    struct disk *disk = disk_of(files);
    struct disk_file *file = &disk->file[fd];
    enum disk_outcome outcome = disk_next(disk);
    size_t n = 0;

    if (outcome == DISK_IS_CUT || (outcome == DISK_FAILS && disk_random(disk, 2)))
        return -EIO;
    for (int i = 0; i < n_parts; i++) {
        disk_put(file, parts[i].iov_base, parts[i].iov_len, at + n);
        n += parts[i].iov_len;
        if (outcome == DISK_FAILS)
            return -EIO; /* some of it is there */
    }
    return (ssize_t)n;
}

static inline void disk_settle(struct disk_file *file, size_t sector)
{
    size_t at = sector * DISK_SECTOR_BYTES;

    if (file->dirty[sector])
        memcpy(file->stable + at, file->now + at, DISK_SECTOR_BYTES);
}

static inline int disk_sync(struct store_files *files, int fd)
{
    struct disk *disk = disk_of(files);
    struct disk_file *file = &disk->file[fd];
    enum disk_outcome outcome = disk_next(disk);

    if (outcome == DISK_IS_CUT)
        return -EIO;
    for (size_t sector = 0; sector < DISK_SECTORS_MAX; sector++) {
        if (outcome == DISK_WORKS || disk_random(disk, 2))
            disk_settle(file, sector);
        file->dirty[sector] = false;
    }
    if (outcome == DISK_FAILS)
        return -EIO;
    file->stable_size = file->size;
    file->size_dirty = false;
    return 0;
}

static inline void disk_close_file(struct store_files *files, int fd)
{
    (void)files;
    (void)fd;
}

static inline void disk_close(struct store_files *files)
{
    (void)files; /* the disk stays */
}

static const struct store_files_ops disk_ops = {
    .list = disk_list,
    .status = disk_status,
    .open = disk_open,
    .read = disk_read,
    .write = disk_write,
    .sync = disk_sync,
    .close_file = disk_close_file,
    .rename = disk_rename,
    .remove = disk_remove,
    .sync_names = disk_sync_names,
    .sync_names_above = disk_sync_names_above,
    .close = disk_close,
};

/* ---- the disk as a whole ---- */

static inline void disk_init(struct disk *disk, uint64_t seed)
{
    memset(disk, 0, sizeof *disk);
    disk->files.ops = &disk_ops;
    disk->random = seed;
    disk->cut_at = DISK_NEVER;
    disk->fail_at = DISK_NEVER;
}

static inline void disk_release(struct disk *disk)
{
    for (unsigned i = 0; i < disk->n_files; i++) {
        free(disk->file[i].now);
        free(disk->file[i].stable);
    }
    disk->n_files = 0;
    disk->n_names = 0;
}

/* How sectors that were not written are chosen. */
enum disk_contents { DISK_CONTENTS_OLD, DISK_CONTENTS_NEW, DISK_CONTENTS_MIXED, DISK_CONTENTS };

static inline int disk_copy_cut(struct disk *to, const struct disk_file *from,
                                enum disk_contents contents)
{
    int number = disk_new_file(to);
    struct disk_file *file = &to->file[number];
    size_t size = from->stable_size;

    memcpy(file->now, from->stable, DISK_FILE_BYTES_MAX);
    for (size_t sector = 0; sector < DISK_SECTORS_MAX; sector++) {
        size_t at = sector * DISK_SECTOR_BYTES;

        if (from->dirty[sector] && (contents == DISK_CONTENTS_NEW ||
                                    (contents == DISK_CONTENTS_MIXED && disk_random(to, 2))))
            memcpy(file->now + at, from->now + at, DISK_SECTOR_BYTES);
    }
    if (from->size_dirty && contents == DISK_CONTENTS_NEW)
        size = from->size;
    if (from->size_dirty && contents == DISK_CONTENTS_MIXED)
        size += disk_random(to, (unsigned)(from->size - from->stable_size) + 1);
    memset(file->now + size, 0, DISK_FILE_BYTES_MAX - size);
    memcpy(file->stable, file->now, DISK_FILE_BYTES_MAX);
    file->size = size;
    file->stable_size = size;
    return number;
}

/** disk_choices() - how many ways there are to choose what names mean after a cut; at most @max */
static inline unsigned disk_choices(const struct disk *disk, unsigned max)
{
    unsigned n = 1;

    for (unsigned i = 0; i < disk->n_names && n < max; i++)
        n *= disk->name[i].n;
    return n < max ? n : max;
}

/**
 * disk_cut() - what is found after a power cut
 * @choice: which of disk_choices(); beyond their number: a random one
 */
static inline void disk_cut(const struct disk *disk, unsigned choice, bool at_random,
                            enum disk_contents contents, uint64_t seed, struct disk *ret_disk)
{
    int copied[DISK_FILES_MAX];

    disk_init(ret_disk, seed);
    memset(copied, -1, sizeof copied);
    for (unsigned i = 0; i < disk->n_names; i++) {
        const struct disk_name *name = &disk->name[i];
        unsigned which = at_random ? disk_random(ret_disk, name->n) : choice % name->n;
        int file = name->values[which];

        choice /= name->n;
        if (file < 0)
            continue;
        if (copied[file] < 0)
            copied[file] = disk_copy_cut(ret_disk, &disk->file[file], contents);
        disk_name(ret_disk, name->name)->values[0] = copied[file];
    }
}

#endif
