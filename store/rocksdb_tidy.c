/*
 * rocksdb_tidy.c - flushing and compacting while the disk is full
 *
 * Consumers that drain a full disk write little: deletions, which lie in memory and free nothing
 * before RocksDB has reason to flush and compact, and with publishers blocked it has none. So we
 * ask it to. A compaction writes what is kept before it removes what it came from, and one that
 * runs out of room is worse than none; how much is kept is told by the tables' counts of entries and
 * deletions: each key is written once and deleted once (store/README.md).
 */
#include "store/rocksdb_tidy.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <time.h>

#include "store/rocksdb_files.h"

#define ROUND_MS 2000
#define ROOM_PART 2 /* of the free octets, at most half is taken by what is kept */

struct rocks_tidy {
    struct rocks_tidy_work work;
    pthread_t thread;
    bool started; /* and not joined */
    atomic_bool running;
    int64_t next_at_ms;
};

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with these arguments */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct content {
    uint64_t bytes, puts, deletions;
};

/* A number in RocksDB's sentence about tables, "...; # entries=17; # deletions=4; ..."; or 0. */
static uint64_t number_in(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

static struct content look_at_family(const struct rocks_tidy *tidy, size_t family)
{
    rocksdb_column_family_handle_t *handle = tidy->work.handles[family];
    struct content content = { 0, 0, 0 };
    uint64_t blob_bytes = 0;
    char *text = rocksdb_property_value_cf(tidy->work.db, handle,
                                           "rocksdb.aggregated-table-properties");

    if (!text)
        return content;
    content.deletions = number_in(text, "# deletions=");
    content.puts = number_in(text, "# entries=") - content.deletions;
    rocksdb_free(text);
    /* Both stay as they are where there is no such property. */
    (void)rocksdb_property_int_cf(tidy->work.db, handle, "rocksdb.live-sst-files-size",
                                  &content.bytes);
    (void)rocksdb_property_int_cf(tidy->work.db, handle, "rocksdb.live-blob-file-size",
                                  &blob_bytes);
    content.bytes += blob_bytes;
    return content;
}

/* Whether compacting frees something, and what is kept fits into the room that is left. */
static bool is_worth_it(const struct rocks_tidy *tidy, const struct content *content)
{
    uint64_t kept = content->puts > content->deletions ? content->puts - content->deletions : 0;
    struct statvfs found;
    uint64_t free_bytes;

    if (content->deletions == 0 || content->puts == 0 ||
        statvfs(tidy->work.directory, &found) != 0)
        return false;
    free_bytes = (uint64_t)found.f_bavail * found.f_frsize;
    return (double)content->bytes * (double)kept / (double)content->puts <
           (double)free_bytes / ROOM_PART;
}

static void compact(const struct rocks_tidy *tidy, size_t family)
{
    struct content content = look_at_family(tidy, family);

    if (is_worth_it(tidy, &content))
        rocksdb_compact_range_cf(tidy->work.db, tidy->work.handles[family], NULL, 0, NULL, 0);
}

static void *tidy_main(void *argument)
{
    struct rocks_tidy *tidy = argument;
    struct store_fault ignored; /* an error is told to the next who writes */

    if (rocks_files_flush(tidy->work.db, tidy->work.handles, ROCKS_FAMILIES, &ignored) == 0)
        tidy->work.flushed(tidy->work.context);
    compact(tidy, STORE_FAMILY_MESSAGES);
    compact(tidy, STORE_FAMILY_QUEUES);
    compact(tidy, STORE_FAMILY_SETTLED);
    atomic_store(&tidy->running, false);
    return NULL;
}

int rocks_tidy_new(const struct rocks_tidy_work *work, struct rocks_tidy **ret_tidy)
{
    struct rocks_tidy *tidy = calloc(1, sizeof *tidy);

    if (!tidy)
        return -ENOMEM;
    tidy->work = *work;
    *ret_tidy = tidy;
    return 0;
}

void rocks_tidy_run(struct rocks_tidy *tidy)
{
    if (atomic_load(&tidy->running) || now_ms() < tidy->next_at_ms)
        return;
    if (tidy->started)
        (void)pthread_join(tidy->thread, NULL);
    atomic_store(&tidy->running, true);
    tidy->started = pthread_create(&tidy->thread, NULL, tidy_main, tidy) == 0;
    if (!tidy->started)
        atomic_store(&tidy->running, false); /* the next call tries again */
    tidy->next_at_ms = now_ms() + ROUND_MS;
}

void rocks_tidy_free(struct rocks_tidy *tidy)
{
    if (!tidy)
        return;
    if (tidy->started) {
        rocksdb_disable_manual_compaction(tidy->work.db);
        (void)pthread_join(tidy->thread, NULL);
    }
    free(tidy);
}
