/*
 * store.c - the door: opening, the open commit, sealing, reporting, reading back
 *
 * All of this runs on the caller's thread and is a function of the calls alone: which record a
 * message goes to, which number a commit has and what it contains never depend on the disk or the
 * clock. The backend is written by the committer thread or, in the memory store, by store_poll().
 *
 *     open commit --seal--> sealed, oldest first --written, synced--> reported, its memory reused
 *
 * Numbers (records, queues) are reserved ahead on disk, in blocks: after a crash the next block is
 * begun, so a number that somebody may have seen is never used again.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/committer.h"
#include "store/readers.h"

#define RESERVE_BLOCK 65536u

struct store_options store_options_default(void)
{
    return (struct store_options){
        .sync = STORE_SYNC_COMMIT,
        .sync_interval_ms = 1000,
        .record_bytes = 262144,
        .write_buffer_bytes = 16777216,
        .readers = 2,
        .reserve_bytes = 67108864,
    };
}

/* ---- the store's own records: kind 0 and a name ---- */

static const uint8_t key_format[] = { 0, 'f' };
static const uint8_t key_records[] = { 0, 'r' };
static const uint8_t key_queue_ids[] = { 0, 'q' };

#define OWN_OP_BYTES store_op_bytes(2, 10)

static void own_put(struct store_commit *commit, const uint8_t *key, uint64_t number)
{
    uint8_t value[10];

    (void)store_commit_add(commit, STORE_OP_PUT, STORE_FAMILY_META, (struct amqp_bytes){ key, 2 },
                           (struct amqp_bytes){ value, store_pack_varint(value, number) });
}

static int own_get(struct store_backend *backend, const uint8_t *key, uint64_t *ret_number)
{
    uint8_t *data;
    size_t size;
    struct amqp_bytes value;
    bool valid;
    int rc = backend->ops->get(backend, STORE_FAMILY_META, (struct amqp_bytes){ key, 2 }, &data,
                               &size);

    if (rc)
        return rc;
    value = (struct amqp_bytes){ data, size };
    valid = store_unpack_varint(&value, ret_number) && value.size == 0;
    free(data);
    return valid ? 0 : -EBADMSG;
}

static void reserve_ahead(struct store_commit *commit, struct store_reserved *reserved,
                          const uint8_t *key)
{
    if (reserved->next + RESERVE_BLOCK / 2 <= reserved->end)
        return;
    while (reserved->next + RESERVE_BLOCK / 2 > reserved->end)
        reserved->end += RESERVE_BLOCK;
    own_put(commit, key, reserved->end);
}

/* @ret_stale: the version has to be written. Version 1 has no log (log.h), version 2
 * one of the first format; both are read. */
static int check_format(struct store_backend *backend, bool *ret_stale, struct store_fault *fault)
{
    uint64_t version;
    int rc = own_get(backend, key_format, &version);

    *ret_stale = rc == -ENOENT || (rc == 0 && version > 0 && version < STORE_FORMAT_VERSION);
    if (*ret_stale)
        return 0;
    if (rc) {
        (void)snprintf(fault->text, sizeof fault->text, "cannot read the format version: %s",
                       strerror(-rc));
        return rc;
    }
    if (version == STORE_FORMAT_VERSION)
        return 0;
    (void)snprintf(fault->text, sizeof fault->text,
                   "the data has format version %llu, this program reads version %d",
                   (unsigned long long)version, STORE_FORMAT_VERSION);
    return -EPROTO;
}

static int load_reserved(struct store *store, const uint8_t *key, struct store_reserved *reserved)
{
    int rc = own_get(store->backend, key, &reserved->next);

    if (rc == -ENOENT) {
        reserved->next = 1;
        rc = 0;
    }
    reserved->end = reserved->next;
    return rc;
}

static int write_and_apply(struct store_backend *backend, const struct store_commit *commit,
                           bool sync, struct store_fault *fault)
{
    const struct store_op *const batch[] = { commit->first_op };
    int rc = backend->ops->write(backend, batch, 1, sync, fault);

    return rc ? rc : backend->ops->apply(backend, fault);
}

/* Before the first number is given out, the block that it is from is on disk. */
static int store_begin(struct store *store, struct store_fault *fault)
{
    struct store_commit *commit;
    bool stale;
    int rc = check_format(store->backend, &stale, fault);

    if (rc)
        return rc;
    rc = load_reserved(store, key_records, &store->records);
    if (rc == 0)
        rc = load_reserved(store, key_queue_ids, &store->queue_ids);
    if (rc) {
        (void)snprintf(fault->text, sizeof fault->text, "cannot read the store's own records: %s",
                       strerror(-rc));
        return rc;
    }
    commit = store_commit_new(&store->pool, 0, store->records.next);
    if (!commit)
        return -ENOMEM;
    rc = store_commit_reserve(commit, &store->pool, 3 * OWN_OP_BYTES);
    if (rc == 0) {
        if (stale)
            own_put(commit, key_format, STORE_FORMAT_VERSION);
        reserve_ahead(commit, &store->records, key_records);
        reserve_ahead(commit, &store->queue_ids, key_queue_ids);
        rc = write_and_apply(store->backend, commit, true, fault);
    }
    store_commit_free(commit, &store->pool);
    return rc;
}

int store_new(struct store_backend *backend, const struct store_options *options,
              const struct store_events *events, void *context, struct store_fault *fault,
              struct store **ret_store)
{
    struct store *store = calloc(1, sizeof *store);
    int rc = -ENOMEM;

    if (!store) {
        backend->ops->close(backend);
        return -ENOMEM;
    }
    store->backend = backend;
    store->options = *options;
    store->events = events;
    store->context = context;
    store->waker.fd = -1;
    rc = store_begin(store, fault);
    if (rc == 0) {
        store->open = store_commit_new(&store->pool, 1, store->records.next);
        rc = store->open ? 0 : -ENOMEM;
    }
    if (rc) {
        store_free(store);
        return rc;
    }
    *ret_store = store;
    return 0;
}

static void free_queues(struct store *store)
{
    while (store->dirty) {
        struct store_queue *queue = store->dirty;

        store->dirty = queue->next_dirty;
        queue->dirty = false;
        if (queue->forgotten)
            store_queue_free(store, queue);
    }
    while (store->queues.used > 0) {
        size_t n_slots = store->queues.n_slots;
        size_t i;

        /* Removal may move or shrink the table; what a pass misses, the next one finds. */
        for (i = 0; i < n_slots && store->queues.n_slots == n_slots; i++)
            if (store->queues.slots[i].key != 0)
                store_queue_free(store,
                                 (struct store_queue *)(uintptr_t)store->queues.slots[i].value);
    }
    store_map_release(&store->queues);
}

void store_free(struct store *store)
{
    free_queues(store);
    while (store->sealed) {
        struct store_commit *commit = store->sealed;

        store->sealed = commit->next;
        store_commit_free(commit, &store->pool);
    }
    if (store->open)
        store_commit_free(store->open, &store->pool);
    while (store->free_packers) {
        struct store_run_packer *packer = store->free_packers;

        store->free_packers = packer->next_free;
        free(packer->data);
        free(packer);
    }
    store_pool_release(&store->pool);
    store_live_release(&store->live);
    store_readings_free(&store->readings);
    store_readings_free(&store->readings_done);
    free(store->dirty_pages);
    if (store->waker.fd >= 0)
        (void)close(store->waker.fd); /* an eventfd: nothing is lost */
    store->backend->ops->close(store->backend);
    free(store);
}

/* ---- the open commit ---- */

uint64_t store_new_queue_id(struct store *store)
{
    return store->queue_ids.next++;
}

static int change_meta(struct store *store, enum store_op_kind op, enum store_kind kind,
                       struct amqp_bytes key, struct amqp_bytes value)
{
    size_t key_size = key.size + 1;
    uint8_t *full_key;
    int rc = store_commit_reserve(store->open, &store->pool, store_op_bytes(key_size, value.size));

    if (rc)
        return rc;
    full_key = malloc(key_size);
    if (!full_key)
        return -ENOMEM;
    full_key[0] = (uint8_t)kind;
    if (key.size > 0)
        memcpy(full_key + 1, key.data, key.size);
    (void)store_commit_add(store->open, op, STORE_FAMILY_META,
                           (struct amqp_bytes){ full_key, key_size }, value);
    free(full_key);
    store->open->bytes += key_size + value.size;
    return 0;
}

int store_put_meta(struct store *store, enum store_kind kind, struct amqp_bytes key,
                   struct amqp_bytes value)
{
    assert(kind > 0 && kind < 256);
    return change_meta(store, STORE_OP_PUT, kind, key, value);
}

int store_delete_meta(struct store *store, enum store_kind kind, struct amqp_bytes key)
{
    assert(kind > 0 && kind < 256);
    return change_meta(store, STORE_OP_DELETE, kind, key, (struct amqp_bytes){ 0 });
}

int store_append(struct store *store, const struct iovec *parts, size_t n_parts,
                 uint64_t *ret_location)
{
    size_t before = store->open->bytes;
    int rc = store_commit_append(store->open, &store->pool, store->options.record_bytes, parts,
                                 n_parts, ret_location);

    store->stats.bytes_appended += store->open->bytes - before;
    return rc;
}

uint64_t store_open_commit(const struct store *store)
{
    return store->open->number;
}

size_t store_open_bytes(const struct store *store)
{
    return store->open->bytes;
}

unsigned store_in_flight(const struct store *store)
{
    return store->in_flight;
}

/* Records that nobody refers to (any more) are not worth writing. */
static void drop_dead_records(struct store *store)
{
    struct store_commit *commit = store->open;
    size_t i;

    for (i = 0; i < commit->n_records; i++)
        if (store_live_get(&store->live, commit->first_record + i) == 0)
            store_commit_drop_record(commit, &store->pool, i);
}

static void enqueue_sealed(struct store *store, struct store_commit *commit)
{
    struct store_commit *after = store->sealed ? store->sealed_last : NULL;

    if (store->committer)
        store_committer_submit(store->committer, after, commit);
    else if (after)
        after->next = commit;
    if (!after)
        store->sealed = commit;
    store->sealed_last = commit;
    store->in_flight++;
}

static int seal(struct store *store, bool final)
{
    struct store_commit *commit = store->open;
    struct store_commit *next;
    int rc = store_queues_emit(store);

    if (rc == 0)
        rc = store_commit_reserve(commit, &store->pool, 2 * OWN_OP_BYTES);
    if (rc)
        return rc;
    drop_dead_records(store);
    store->records.next = commit->first_record + commit->n_records;
    if (final) {
        own_put(commit, key_records, store->records.next);
        own_put(commit, key_queue_ids, store->queue_ids.next);
    } else {
        reserve_ahead(commit, &store->records, key_records);
        reserve_ahead(commit, &store->queue_ids, key_queue_ids);
    }
    next = store_commit_new(&store->pool, commit->number + 1, store->records.next);
    if (!next)
        return -ENOMEM;
    rc = store_commit_add_records(commit, &store->pool);
    if (rc) {
        store_commit_free(next, &store->pool);
        return rc;
    }
    store->open = next;
    commit->packing = NULL;
    enqueue_sealed(store, commit);
    return 0;
}

int store_seal(struct store *store)
{
    return store->open->bytes > 0 ? seal(store, false) : 0;
}

/* ---- reporting ---- */

int store_fd(const struct store *store)
{
    return store->waker.fd;
}

void store_waker_wake(struct store_waker *waker)
{
    uint64_t one = 1;

    if (waker->fd >= 0 && !atomic_exchange(&waker->signalled, true))
        (void)!write(waker->fd, &one, sizeof one); /* it can only fail by being readable already */
}

/* The descriptor first, then the flag: what is posted in between makes it readable again. */
static void waker_clear(struct store_waker *waker)
{
    uint64_t count;

    if (!atomic_load(&waker->signalled))
        return;
    (void)!read(waker->fd, &count, sizeof count); /* non-blocking; empty is fine */
    atomic_store(&waker->signalled, false);
}

/* Commits that the backend has applied: what they hold can be read from there. */
static void free_applied(struct store *store, uint64_t number)
{
    while (store->sealed && store->sealed->number <= number) {
        struct store_commit *commit = store->sealed;

        store->sealed = commit->next;
        store_commit_free(commit, &store->pool);
    }
}

static void report_durable(struct store *store, uint64_t number)
{
    if (number == store->durable)
        return;
    assert(number > store->durable);
    store->in_flight -= (unsigned)(number - store->durable);
    store->stats.commits += number - store->durable;
    store->durable = number;
    if (store->events->durable)
        store->events->durable(store->context, number);
}

static void report_stalled(struct store *store, int error, const char *text)
{
    store->stall_error = error;
    if (store->events->stalled)
        store->events->stalled(store->context, error, text);
}

int store_write_sealed(struct store *store, struct store_fault *fault)
{
    int rc = write_and_apply(store->backend, store->sealed,
                             store->options.sync == STORE_SYNC_COMMIT, fault);
    struct store_fault ignored;

    if (rc)
        (void)store->backend->ops->reopen(store->backend, &ignored); /* the next write tells */
    return rc;
}

static void poll_write(struct store *store)
{
    unsigned n = store->held ? 0 : store->in_flight;

    while (n-- > 0 && store->sealed) {
        struct store_fault fault = { "" };
        int rc = store_write_sealed(store, &fault);

        if (rc) {
            if (store->stall_error == 0)
                report_stalled(store, rc, fault.text);
            return;
        }
        if (store->stall_error != 0)
            report_stalled(store, 0, "");
        report_durable(store, store->sealed->number);
        free_applied(store, store->durable);
    }
}

static void poll_committer(struct store *store)
{
    struct store_committer_report report;

    store_committer_collect(store->committer, &report);
    store->stats.sync_us_total = report.sync_us;
    if (report.stalled_changed)
        report_stalled(store, report.stalled, report.fault.text);
    if (report.lost) {
        store->lost = report.lost;
        store->lost_fault = report.lost_fault;
    }
    free_applied(store, report.applied);
    report_durable(store, report.durable);
}

/* ---- reading back ---- */

/* The commit that is not yet durable and brought a record, or NULL. */
static const struct store_commit *commit_of_record(const struct store *store, uint64_t record)
{
    const struct store_commit *commit;

    if (record >= store->open->first_record)
        return store->open;
    for (commit = store->sealed; commit; commit = commit->next)
        if (record >= commit->first_record && record - commit->first_record < commit->n_records)
            return commit;
    return NULL;
}

static int read_from_commit(struct store *store, const struct store_commit *commit,
                            struct store_reading *reading)
{
    struct amqp_bytes message;

    reading->error = store_commit_message(commit, reading->location, &message);
    if (reading->error == 0) {
        reading->memory = malloc(message.size ? message.size : 1);
        if (!reading->memory)
            return -ENOMEM;
        if (message.size > 0)
            memcpy(reading->memory, message.data, message.size);
        reading->message = (struct amqp_bytes){ reading->memory, message.size };
    }
    store_readings_push(&store->readings_done, reading);
    store_waker_wake(&store->waker);
    return 0;
}

int store_read(struct store *store, uint64_t location, void *request)
{
    const struct store_commit *commit = commit_of_record(store, store_record_of(location));
    struct store_reading *reading = calloc(1, sizeof *reading);
    int rc = 0;

    if (!reading)
        return -ENOMEM;
    reading->location = location;
    reading->request = request;
    if (commit)
        rc = read_from_commit(store, commit, reading);
    else if (store->readers)
        store_readers_submit(store->readers, reading);
    else
        store_readings_push(&store->readings, reading);
    if (rc)
        store_reading_free(reading);
    return rc;
}

static void poll_readings(struct store *store)
{
    struct store_readings done;

    if (store->readers)
        store_readers_collect(store->readers, &store->readings_done);
    while (store->readings.first) {
        struct store_reading *reading = store->readings.first;

        store->readings.first = reading->next;
        store_reading_fetch(reading, store->backend);
        store_readings_push(&store->readings_done, reading);
    }
    done = store->readings_done;
    store->readings_done = (struct store_readings){ 0 };
    while (done.first) {
        struct store_reading *reading = done.first;

        done.first = reading->next;
        if (store->events->read)
            store->events->read(store->context, reading->request, reading->error,
                                reading->error ? (struct amqp_bytes){ 0 } : reading->message);
        store_reading_free(reading);
    }
}

void store_poll(struct store *store)
{
    waker_clear(&store->waker);
    if (store->committer)
        poll_committer(store);
    else
        poll_write(store);
    poll_readings(store);
}

void store_get_stats(const struct store *store, struct store_stats *ret_stats)
{
    *ret_stats = store->stats;
    ret_stats->live_records = store->live.live_records;
}

/* ---- the end ---- */

static int close_without_thread(struct store *store)
{
    struct store_fault fault;
    unsigned attempts = 5;
    int rc = 0;

    while (store->sealed && attempts > 0) {
        struct store_commit *commit = store->sealed;

        rc = store_write_sealed(store, &fault);
        if (rc) {
            attempts--;
            continue;
        }
        store->sealed = commit->next;
        store_commit_free(commit, &store->pool);
    }
    return rc;
}

int store_lost(const struct store *store, const char **ret_text)
{
    if (store->lost)
        *ret_text = store->lost_fault.text;
    return store->lost;
}

int store_close(struct store *store)
{
    int sealed = seal(store, true);
    bool ended = true;
    int rc;

    if (store->readers)
        store_readers_stop(store->readers);
    rc = store->committer ? store_committer_stop(store->committer, &ended)
                          : close_without_thread(store);
    if (ended)
        store_free(store);
    return sealed ? sealed : rc;
}
