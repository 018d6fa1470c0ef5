/*
 * recover.c - from the database back to queues, runs and counters
 *
 * Three ordered scans: metadata, which tells the queues that exist; what is settled; the runs of
 * entries. The second and third are in the same order (queue, first sequence), so the pages of bits
 * are collected by the one and consumed by the other like two sorted lists. The messages themselves
 * are not read.
 *
 * Queues whose metadata is gone are loaded like the others, so that the records which they share
 * with living queues are counted right, and then forgotten in the first commit.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "store/store-internal.h"

#define PROGRESS_ENTRIES 65536u

struct recovered_page {
    uint64_t queue_id;
    uint64_t first;
    uint64_t *bits;
};

struct recovery {
    struct store *store;
    const struct store_visitor *visitor;
    void *context;
    struct store_map known; /* queue ids that have metadata */
    struct recovered_page *pages;
    size_t n_pages, pages_capacity;
    size_t next_page;
};

int store_recover_queue(struct store *store, uint64_t queue_id)
{
    assert(store->recovering);
    return store_map_set(store->recovering, queue_id, 1);
}

static int recover_meta(void *context, struct amqp_bytes key, struct amqp_bytes value)
{
    struct recovery *recovery = context;

    if (key.size < 1)
        return -EBADMSG;
    return recovery->visitor->meta(recovery->context, (enum store_kind)key.data[0],
                                   (struct amqp_bytes){ key.data + 1, key.size - 1 }, value);
}

/* ---- what is settled ---- */

static int recover_page(struct recovery *recovery, uint64_t queue_id, uint64_t first,
                        struct amqp_bytes value)
{
    struct recovered_page *pages = recovery->pages;
    uint64_t *bits;
    size_t i;

    if (value.size > STORE_PAGE_BYTES)
        return -EBADMSG;
    if (recovery->n_pages == recovery->pages_capacity) {
        size_t capacity = recovery->pages_capacity ? recovery->pages_capacity * 2 : 64;

        pages = realloc(pages, capacity * sizeof *pages);
        if (!pages)
            return -ENOMEM;
        recovery->pages = pages;
        recovery->pages_capacity = capacity;
    }
    bits = calloc(1, STORE_PAGE_BYTES);
    if (!bits)
        return -ENOMEM;
    memcpy(bits, value.data, value.size);
    for (i = 0; i < STORE_PAGE_BYTES / 8; i++)
        bits[i] = le64toh(bits[i]);
    pages[recovery->n_pages++] = (struct recovered_page){ queue_id, first, bits };
    return 0;
}

static int recover_marks(struct store_queue *queue, struct amqp_bytes value)
{
    if (!store_unpack_varint(&value, &queue->stored_low) ||
        !store_unpack_varint(&value, &queue->stored_delivered) || value.size != 0)
        return -EBADMSG;
    queue->low = queue->stored_low;
    queue->delivered = queue->stored_delivered;
    queue->marks_stored = true;
    return 0;
}

static int recover_settled(void *context, struct amqp_bytes key, struct amqp_bytes value)
{
    struct recovery *recovery = context;
    struct store_queue *queue;
    uint64_t number;
    uint64_t count;
    int rc;

    if (key.size < STORE_KEY_MARKS_BYTES)
        return -EBADMSG;
    rc = store_queue_obtain(recovery->store, store_get_u64be(key.data), 1, &queue);
    if (rc)
        return rc;
    if (key.data[8] == STORE_SETTLED_MARKS && key.size == STORE_KEY_MARKS_BYTES)
        return recover_marks(queue, value);
    if (key.size != STORE_KEY_SETTLED_BYTES)
        return -EBADMSG;
    number = store_get_u64be(key.data + 9);
    if (key.data[8] == STORE_SETTLED_PAGE)
        return recover_page(recovery, queue->id, number, value);
    if (key.data[8] != STORE_SETTLED_COUNT || number == 0 ||
        !store_unpack_varint(&value, &count) || value.size != 0 || count > UINT32_MAX)
        return -EBADMSG;
    return store_map_set(&queue->counts, number, count);
}

/* ---- entries ---- */

static void tell_progress(const struct store *store)
{
    const struct store_observer *observer = store->options.observer;

    if (observer && observer->progress)
        observer->progress(observer->context, STORE_PHASE_ENTRIES, store->stats.live_entries, 0);
}

/* The bits that belong to a run, if a page of them was stored; NULL otherwise. */
static uint64_t *take_page(struct recovery *recovery, uint64_t queue_id, uint64_t first)
{
    while (recovery->next_page < recovery->n_pages) {
        struct recovered_page *page = &recovery->pages[recovery->next_page];

        if (page->queue_id > queue_id || (page->queue_id == queue_id && page->first > first))
            return NULL;
        recovery->next_page++;
        if (page->queue_id == queue_id && page->first == first)
            return TAKE(page->bits);
    }
    return NULL;
}

static int recover_entry(struct recovery *recovery, struct store_queue *queue,
                         struct store_run *run, struct store_entry *entry)
{
    const struct store_map_slot *count = NULL;
    struct store *store = recovery->store;
    uint64_t expected = run->first + run->span + (run->count > 0);
    int rc;

    if (entry->sequence != expected) {
        rc = store_run_need_bits(run);
        if (rc)
            return rc;
        store_run_set_dead(run, expected, entry->sequence - 1);
    }
    run->span = (uint16_t)(entry->sequence - run->first);
    run->count++;
    if (entry->sequence <= queue->low || store_run_is_dead(run, entry->sequence))
        return 0;
    rc = store_live_add(&store->live, run->record, 1);
    if (rc)
        return rc;
    run->live++;
    queue->last = entry->sequence; /* the last live one: what died may be used again */
    if (++store->stats.live_entries % PROGRESS_ENTRIES == 0)
        tell_progress(store);
    if (!store_map_find(&recovery->known, queue->id))
        return 0;
    if (queue->counts.used > 0)
        count = store_map_find(&queue->counts, entry->sequence);
    entry->delivery_count = count ? (uint32_t)count->value : 0;
    entry->delivered = entry->sequence <= queue->delivered || entry->delivery_count > 0;
    return recovery->visitor->entry(recovery->context, entry);
}

/* All entries of a run are settled: the change that deletes it was about to be written. */
static int drop_dead_run(struct store *store, struct store_queue *queue, struct store_run *run)
{
    int rc = store_commit_reserve(store->open, &store->pool,
                                  2 * store_op_bytes(STORE_KEY_SETTLED_BYTES, 0));

    if (rc)
        return rc;
    store_run_delete(store, queue, run);
    store_queue_bury(queue, run);
    store->open->bytes += 1;
    return 0;
}

static int recover_run(void *context, struct amqp_bytes key, struct amqp_bytes value)
{
    struct recovery *recovery = context;
    struct store_run_reader reader;
    struct store_queue *queue;
    struct store_run *run;
    uint64_t first;
    int rc;

    if (key.size != STORE_KEY_RUN_BYTES)
        return -EBADMSG;
    first = store_get_u64be(key.data + 8);
    rc = store_run_reader_init(&reader, store_get_u64be(key.data), first, value);
    if (rc == 0)
        rc = store_queue_obtain(recovery->store, store_get_u64be(key.data), first, &queue);
    if (rc == 0 && queue->n_runs > 0 && first <= queue->last)
        rc = -EBADMSG;
    if (rc == 0 && reader.record >= recovery->store->records.next)
        rc = -EBADMSG;
    if (rc == 0)
        rc = store_queue_add_run(queue, first, reader.record);
    if (rc)
        return rc;
    run = store_queue_run_at(queue, queue->n_runs - 1);
    run->bits = take_page(recovery, queue->id, first);
    if (run->bits)
        run->flags = STORE_RUN_PAGE_STORED;
    while ((rc = store_run_next(&reader)) > 0) {
        if (reader.entry.sequence - first >= STORE_RUN_SPAN)
            return -EBADMSG;
        rc = recover_entry(recovery, queue, run, &reader.entry);
        if (rc)
            return rc;
    }
    if (rc == 0 && run->live == 0)
        rc = drop_dead_run(recovery->store, queue, run);
    return rc;
}

/* ---- putting it in order ---- */

/* Marks without entries, and queues without metadata. */
static int recover_finish(struct recovery *recovery)
{
    struct store *store = recovery->store;
    size_t n = store->queues.used;
    struct store_queue **queues = calloc(n ? n : 1, sizeof *queues);
    size_t i;
    int rc = 0;

    if (!queues)
        return -ENOMEM;
    for (i = 0, n = 0; i < store->queues.n_slots; i++)
        if (store->queues.slots[i].key != 0)
            queues[n++] = (struct store_queue *)(uintptr_t)store->queues.slots[i].value;
    for (i = 0; i < n && rc == 0; i++) {
        if (queues[i]->n_runs == 0 || !store_map_find(&recovery->known, queues[i]->id)) {
            rc = store_forget_queue(store, queues[i]->id);
            continue;
        }
        if (queues[i]->delivered > queues[i]->last)
            queues[i]->delivered = queues[i]->last;
        store_queue_advance(queues[i]);
    }
    free(queues);
    return rc;
}

int store_recover(struct store *store, const struct store_visitor *visitor, void *context)
{
    struct recovery recovery = { .store = store, .visitor = visitor, .context = context };
    const struct store_backend_ops *ops = store->backend->ops;
    const struct amqp_bytes all = { 0 };
    size_t i;
    int rc;

    assert(!store->recovered);
    assert(store->open->bytes == 0);
    assert(store->open->number == 1);
    store->recovered = true;
    store->recovering = &recovery.known;
    rc = ops->scan(store->backend, STORE_FAMILY_META,
                   (struct amqp_bytes){ (const uint8_t[]){ 1 }, 1 }, all, recover_meta, &recovery);
    store->recovering = NULL;
    if (rc == 0)
        rc = ops->scan(store->backend, STORE_FAMILY_SETTLED, all, all, recover_settled, &recovery);
    if (rc == 0)
        rc = ops->scan(store->backend, STORE_FAMILY_QUEUES, all, all, recover_run, &recovery);
    if (rc == 0)
        rc = recover_finish(&recovery);
    store->stats.recovered_queues = recovery.known.used;
    for (i = 0; i < recovery.n_pages; i++)
        free(recovery.pages[i].bits);
    free(recovery.pages);
    store_map_release(&recovery.known);
    return rc;
}
