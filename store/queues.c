/*
 * queues.c - the entries of each queue as runs, and what of them goes into a commit
 *
 * Consecutive entries of a queue whose messages lie in one record make a run: packed octet by octet
 * while it is open, one key on disk afterwards, and 32 octets in memory. A run is closed when the
 * record changes, when it spans 4096 sequences, and when the commit is sealed. As it refers to one
 * record only, a whole queue can be forgotten without reading its entries back.
 *
 *     runs:   [ dead | head .. live and dead .. | open ]        packer: octets of the open one
 *              ^freed when passed               ^last
 *
 * A queue without live entries has nothing on disk once the commit is sealed, and is freed then.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "store/store-internal.h"

struct store_queue *store_queue_find(struct store *store, uint64_t id)
{
    struct store_map_slot *slot;

    if (LIKELY(store->last_queue && store->last_queue->id == id))
        return store->last_queue;
    slot = store_map_find(&store->queues, id);
    if (!slot)
        return NULL;
    store->last_queue = (struct store_queue *)(uintptr_t)slot->value;
    return store->last_queue;
}

int store_queue_obtain(struct store *store, uint64_t id, uint64_t first,
                       struct store_queue **ret_queue)
{
    struct store_queue *queue = store_queue_find(store, id);
    int rc;

    if (!queue) {
        queue = calloc(1, sizeof *queue);
        if (!queue)
            return -ENOMEM;
        queue->id = id;
        queue->low = first - 1;
        queue->last = first - 1;
        rc = store_map_set(&store->queues, id, (uintptr_t)queue);
        if (rc) {
            free(queue);
            return rc;
        }
        store->last_queue = queue;
    }
    *ret_queue = queue;
    return 0;
}

void store_queue_drop_packer(struct store *store, struct store_queue *queue)
{
    if (!queue->packer)
        return;
    queue->packer->next_free = store->free_packers;
    store->free_packers = queue->packer;
    queue->packer = NULL;
}

void store_queue_free(struct store *store, struct store_queue *queue)
{
    uint32_t i;

    assert(!queue->dirty);
    store_queue_drop_packer(store, queue);
    for (i = 0; i < queue->n_runs; i++)
        free(store_queue_run_at(queue, i)->bits);
    free(queue->runs);
    store_map_release(&queue->counts);
    if (!queue->forgotten)
        store_map_remove(&store->queues, queue->id);
    if (store->last_queue == queue)
        store->last_queue = NULL;
    free(queue);
}

void store_queue_touch(struct store *store, struct store_queue *queue)
{
    if (queue->dirty)
        return;
    queue->dirty = true;
    queue->next_dirty = store->dirty;
    store->dirty = queue;
}

static int queue_make_room(struct store_queue *queue)
{
    uint32_t capacity = queue->capacity ? queue->capacity * 2 : 2;
    struct store_run *runs;

    if (queue->head + queue->n_runs < queue->capacity)
        return 0;
    if (queue->head > queue->capacity / 2) {
        memmove(queue->runs, queue->runs + queue->head, queue->n_runs * sizeof *queue->runs);
        queue->head = 0;
        return 0;
    }
    runs = realloc(queue->runs, capacity * sizeof *runs);
    if (!runs)
        return -ENOMEM;
    queue->runs = runs;
    queue->capacity = capacity;
    return 0;
}

int store_queue_add_run(struct store_queue *queue, uint64_t first, uint64_t record)
{
    int rc = queue_make_room(queue);

    if (rc)
        return rc;
    if (queue->n_runs == 0 && queue->low < first - 1)
        queue->low = first - 1;
    *store_queue_run_at(queue, queue->n_runs) =
        (struct store_run){ .first = first, .record = record };
    queue->n_runs++;
    return 0;
}

static bool run_covers(const struct store_run *run, uint64_t sequence)
{
    return sequence >= run->first && sequence - run->first <= run->span;
}

/* A run may end in dead sequences that are used again by the next one, which then has them. */
static bool hint_covers(struct store_queue *queue, uint64_t sequence)
{
    uint32_t hint = queue->hint;

    return hint < queue->n_runs && run_covers(store_queue_run_at(queue, hint), sequence) &&
           (hint + 1 == queue->n_runs || store_queue_run_at(queue, hint + 1)->first > sequence);
}

struct store_run *store_queue_run(struct store_queue *queue, uint64_t sequence)
{
    uint32_t low = 0;
    uint32_t high = queue->n_runs;

    if (hint_covers(queue, sequence))
        return store_queue_run_at(queue, queue->hint);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (store_queue_run_at(queue, middle)->first <= sequence)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || !run_covers(store_queue_run_at(queue, low - 1), sequence))
        return NULL;
    queue->hint = low - 1;
    return store_queue_run_at(queue, low - 1);
}

static int queue_open_run(struct store *store, struct store_queue *queue, uint64_t first,
                          uint64_t record)
{
    struct store_run_packer *packer = store->free_packers;
    int rc = store_queue_add_run(queue, first, record);

    if (rc)
        return rc;
    if (packer)
        store->free_packers = packer->next_free;
    else
        packer = calloc(1, sizeof *packer);
    if (!packer) {
        queue->n_runs--;
        return -ENOMEM;
    }
    store_run_packer_start(packer, first);
    queue->packer = packer;
    store_queue_run_at(queue, queue->n_runs - 1)->flags = STORE_RUN_OPEN;
    return 0;
}

static int queue_close_run(struct store *store, struct store_queue *queue)
{
    struct store_run *run = store_queue_run_at(queue, queue->n_runs - 1);
    struct store_run_packer *packer = queue->packer;
    uint8_t key[STORE_KEY_RUN_BYTES];
    uint8_t head[STORE_RUN_HEAD_MAX_BYTES];
    size_t head_size;
    int rc;

    if (run->live > 0) {
        rc = store_commit_reserve(store->open, &store->pool,
                                  store_op_bytes(sizeof key, sizeof head + packer->size));
        if (rc)
            return rc;
        store_put_u64be(key, queue->id);
        store_put_u64be(key + 8, run->first);
        head_size = store_run_pack_head(head, run->record, run->count);
        store_commit_add_parts(store->open, STORE_FAMILY_QUEUES,
                               (struct amqp_bytes){ key, sizeof key },
                               (struct amqp_bytes){ head, head_size },
                               (struct amqp_bytes){ packer->data, packer->size });
    }
    store_queue_drop_packer(store, queue);
    run->flags &= (uint16_t)~STORE_RUN_OPEN;
    if (run->live == 0)
        store_queue_bury(queue, run);
    return 0;
}

/* The open run of a queue, if the entry can go there; a new one otherwise. */
static int queue_choose_run(struct store *store, struct store_queue *queue,
                            const struct store_entry *entry)
{
    uint64_t record = store_record_of(entry->location);
    int rc;

    if (queue->packer) {
        const struct store_run *run = store_queue_run_at(queue, queue->n_runs - 1);

        if (LIKELY(run->record == record && entry->sequence - run->first < STORE_RUN_SPAN))
            return 0;
        rc = queue_close_run(store, queue);
        if (rc)
            return rc;
    }
    return queue_open_run(store, queue, entry->sequence, record);
}

int store_enqueue(struct store *store, const struct store_entry *entry)
{
    uint64_t record = store_record_of(entry->location);
    struct store_queue *queue;
    struct store_run *run;
    uint64_t expected;
    int rc;

    assert(entry->queue_id != 0);
    assert(record < store->open->first_record + store->open->n_records);
    assert(record >= store->open->first_record || store_live_get(&store->live, record) > 0);
    rc = store_queue_obtain(store, entry->queue_id, entry->sequence, &queue);
    if (rc)
        return rc;
    assert(entry->sequence > queue->last);
    store_queue_touch(store, queue);
    rc = queue_choose_run(store, queue, entry);
    if (rc == 0)
        rc = store_run_packer_reserve(queue->packer);
    if (rc)
        return rc;
    run = store_queue_run_at(queue, queue->n_runs - 1);
    expected = run->count ? queue->last + 1 : run->first;
    if (UNLIKELY(entry->sequence != expected) && (rc = store_run_need_bits(run)) != 0)
        return rc;
    rc = store_live_add(&store->live, record, 1);
    if (rc)
        return rc;
    if (UNLIKELY(entry->sequence != expected))
        store_run_set_dead(run, expected, entry->sequence - 1);
    store_run_packer_add(queue->packer, entry);
    run->span = (uint16_t)(entry->sequence - run->first);
    run->count++;
    run->live++;
    queue->last = entry->sequence;
    if (UNLIKELY(entry->sequence != expected))
        store_queue_advance(queue);
    store->stats.live_entries++;
    store->open->bytes += 8;
    return 0;
}

/* The marks matter only when they reach into the entries that are there, or those on disk do: a
 * mark that was lowered on recovery may be above the sequences given out since. */
static bool queue_marks_wanted(struct store_queue *queue)
{
    uint64_t first = store_queue_run_at(queue, 0)->first;

    if (queue->low < first && queue->delivered < first &&
        !(queue->marks_stored && queue->stored_delivered >= first))
        return false;
    return queue->low != queue->stored_low || queue->delivered != queue->stored_delivered;
}

static int queue_emit(struct store *store, struct store_queue *queue)
{
    uint8_t key[STORE_KEY_MARKS_BYTES];
    uint8_t marks[20];
    size_t size;
    int rc;

    if (queue->packer && (rc = queue_close_run(store, queue)) != 0)
        return rc;
    rc = store_commit_reserve(store->open, &store->pool, store_op_bytes(sizeof key, sizeof marks));
    if (rc)
        return rc;
    store_put_u64be(key, queue->id);
    key[8] = STORE_SETTLED_MARKS;
    if (queue->n_runs == 0) {
        if (queue->marks_stored)
            (void)store_commit_add(store->open, STORE_OP_DELETE, STORE_FAMILY_SETTLED,
                                   (struct amqp_bytes){ key, sizeof key },
                                   (struct amqp_bytes){ 0 });
        return 0;
    }
    if (!queue_marks_wanted(queue))
        return 0;
    size = store_pack_varint(marks, queue->low);
    size += store_pack_varint(marks + size, queue->delivered);
    (void)store_commit_add(store->open, STORE_OP_PUT, STORE_FAMILY_SETTLED,
                           (struct amqp_bytes){ key, sizeof key },
                           (struct amqp_bytes){ marks, size });
    queue->stored_low = queue->low;
    queue->stored_delivered = queue->delivered;
    queue->marks_stored = true;
    return 0;
}

/* Octets of a run's page up to the last bit that is set above the watermark; 0 if there is none. */
static size_t run_pack_page(const struct store_run *run, uint64_t low, uint8_t *page)
{
    size_t words = run->span / 64u + 1;
    size_t size = words * 8;
    size_t i;

    for (i = 0; i < words; i++) {
        uint64_t word = htole64(run->bits[i]);

        memcpy(page + 8 * i, &word, sizeof word);
    }
    while (size > 0 && page[size - 1] == 0)
        size--;
    return low >= run->first && low - run->first + 1 >= size * 8 ? 0 : size;
}

static int page_emit(struct store *store, struct store_queue *queue, struct store_run *run)
{
    uint8_t key[STORE_KEY_SETTLED_BYTES];
    uint8_t page[STORE_PAGE_BYTES];
    size_t size = run_pack_page(run, queue->low, page);
    int rc;

    if (size > 0) {
        rc = store_commit_reserve(store->open, &store->pool, store_op_bytes(sizeof key, size));
        if (rc)
            return rc;
        store_put_u64be(key, queue->id);
        key[8] = STORE_SETTLED_PAGE;
        store_put_u64be(key + 9, run->first);
        (void)store_commit_add(store->open, STORE_OP_PUT, STORE_FAMILY_SETTLED,
                               (struct amqp_bytes){ key, sizeof key },
                               (struct amqp_bytes){ page, size });
        run->flags |= STORE_RUN_PAGE_STORED;
    }
    run->flags &= (uint16_t)~STORE_RUN_PAGE_DIRTY;
    return 0;
}

/* Failing half way is harmless: what was emitted is clean, and the commit is still open. */
int store_queues_emit(struct store *store)
{
    int rc;

    while (store->n_dirty_pages > 0) {
        const struct store_dirty_page *dirty = &store->dirty_pages[store->n_dirty_pages - 1];
        struct store_queue *queue = store_queue_find(store, dirty->queue_id);
        struct store_run *run = queue ? store_queue_run(queue, dirty->first) : NULL;

        if (run && run->first == dirty->first && run->live > 0 &&
            (run->flags & STORE_RUN_PAGE_DIRTY)) {
            rc = page_emit(store, queue, run);
            if (rc)
                return rc;
        }
        store->n_dirty_pages--;
    }
    while (store->dirty) {
        struct store_queue *queue = store->dirty;

        if (!queue->forgotten) {
            rc = queue_emit(store, queue);
            if (rc)
                return rc;
        }
        store->dirty = queue->next_dirty;
        queue->dirty = false;
        if (queue->forgotten || queue->n_runs == 0)
            store_queue_free(store, queue);
    }
    return 0;
}

uint64_t store_next_sequence(struct store *store, uint64_t queue_id)
{
    const struct store_queue *queue = store_queue_find(store, queue_id);

    if (!queue)
        return 1;
    return (queue->last > queue->low ? queue->last : queue->low) + 1;
}
