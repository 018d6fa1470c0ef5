/*
 * settle.c - taking entries out of queues
 *
 * Most settlements come in order and only move the queue's watermark. One out of order sets a bit
 * of its run; the watermark passes over set bits when it gets there. A run whose last live entry is
 * settled is deleted, with its page of bits; a record to which no run has a live entry any more
 * likewise. Each of these steps costs the same however long the queue is: the run is remembered
 * from the last call or found by bisection, counters say when a run or a record is dead.
 *
 * What a settlement needs is reserved before anything is changed, so it is done or not done.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "store/store-internal.h"

/* Past this many runs a queue is forgotten by a range instead of key by key. */
#define FORGET_KEYS_MAX 32

int store_run_need_bits(struct store_run *run)
{
    if (!run->bits)
        run->bits = calloc(1, STORE_PAGE_BYTES);
    return run->bits ? 0 : -ENOMEM;
}

void store_run_set_dead(struct store_run *run, uint64_t from, uint64_t to)
{
    uint64_t at;

    assert(to - run->first < STORE_RUN_SPAN);
    for (at = from - run->first; at <= to - run->first; at++)
        run->bits[at / 64] |= UINT64_C(1) << (at % 64);
}

/* The last sequence that the first run has for itself: recovered runs may end in dead ones. */
static uint64_t head_end(struct store_queue *queue)
{
    const struct store_run *run = store_queue_run_at(queue, 0);
    uint64_t limit = queue->n_runs > 1 ? store_queue_run_at(queue, 1)->first - 1 : queue->last;

    return run->first + run->span < limit ? run->first + run->span : limit;
}

static void queue_pop_run(struct store_queue *queue)
{
    if (queue->low < head_end(queue))
        queue->low = head_end(queue);
    assert(queue->n_dead > 0);
    queue->n_dead--;
    queue->n_runs--;
    queue->head = queue->n_runs > 0 ? queue->head + 1 : 0;
    queue->hint = queue->hint > 0 ? queue->hint - 1 : 0;
}

void store_queue_advance(struct store_queue *queue)
{
    while (queue->n_runs > 0) {
        const struct store_run *run = store_queue_run_at(queue, 0);

        if (run->live == 0 && !(run->flags & STORE_RUN_OPEN)) {
            queue_pop_run(queue);
            continue;
        }
        if (queue->low < run->first - 1)
            queue->low = run->first - 1;
        while (queue->low < head_end(queue) && store_run_is_dead(run, queue->low + 1))
            queue->low++;
        return;
    }
}

/* Dead runs behind a live one: a queue with one message that nobody takes must not collect them. */
static void queue_squeeze(struct store_queue *queue)
{
    uint32_t kept = 0;
    uint32_t i;

    for (i = 0; i < queue->n_runs; i++) {
        const struct store_run *run = store_queue_run_at(queue, i);

        if (run->live > 0 || (run->flags & STORE_RUN_OPEN))
            queue->runs[kept++] = *run;
    }
    queue->head = 0;
    queue->n_runs = kept;
    queue->n_dead = 0;
    queue->hint = 0;
}

void store_queue_bury(struct store_queue *queue, struct store_run *run)
{
    assert(run->live == 0);
    assert(!(run->flags & STORE_RUN_OPEN));
    free(run->bits);
    run->bits = NULL;
    queue->n_dead++;
    store_queue_advance(queue);
    if (queue->n_dead > 32 && queue->n_dead > queue->n_runs / 2)
        queue_squeeze(queue);
}

void store_run_delete(struct store *store, const struct store_queue *queue,
                      const struct store_run *run)
{
    uint8_t key[STORE_KEY_SETTLED_BYTES];

    store_put_u64be(key, queue->id);
    store_put_u64be(key + 8, run->first);
    (void)store_commit_add(store->open, STORE_OP_DELETE_ONCE, STORE_FAMILY_QUEUES,
                           (struct amqp_bytes){ key, STORE_KEY_RUN_BYTES },
                           (struct amqp_bytes){ 0 });
    if (!(run->flags & STORE_RUN_PAGE_STORED))
        return;
    key[8] = STORE_SETTLED_PAGE;
    store_put_u64be(key + 9, run->first);
    (void)store_commit_add(store->open, STORE_OP_DELETE, STORE_FAMILY_SETTLED,
                           (struct amqp_bytes){ key, sizeof key }, (struct amqp_bytes){ 0 });
}

/* Records of the open commit are not written yet: store_seal() sees that nobody refers to them. */
static void record_release(struct store *store, uint64_t record, uint32_t entries)
{
    uint8_t key[STORE_KEY_RECORD_BYTES];

    if (store_live_sub(&store->live, record, entries) > 0 || record >= store->open->first_record)
        return;
    store_put_u64be(key, record);
    (void)store_commit_add(store->open, STORE_OP_DELETE_ONCE, STORE_FAMILY_MESSAGES,
                           (struct amqp_bytes){ key, sizeof key }, (struct amqp_bytes){ 0 });
}

static struct amqp_bytes count_key(uint8_t *key, uint64_t queue_id, uint64_t sequence)
{
    store_put_u64be(key, queue_id);
    key[8] = STORE_SETTLED_COUNT;
    store_put_u64be(key + 9, sequence);
    return (struct amqp_bytes){ key, STORE_KEY_SETTLED_BYTES };
}

static void count_forget(struct store *store, struct store_queue *queue, uint64_t sequence)
{
    uint8_t key[STORE_KEY_SETTLED_BYTES];

    if (LIKELY(queue->counts.used == 0) || !store_map_find(&queue->counts, sequence))
        return;
    store_map_remove(&queue->counts, sequence);
    (void)store_commit_add(store->open, STORE_OP_DELETE, STORE_FAMILY_SETTLED,
                           count_key(key, queue->id, sequence), (struct amqp_bytes){ 0 });
}

static int dirty_pages_reserve(struct store *store)
{
    size_t capacity = store->dirty_pages_capacity ? store->dirty_pages_capacity * 2 : 64;
    struct store_dirty_page *pages;

    if (LIKELY(store->n_dirty_pages < store->dirty_pages_capacity))
        return 0;
    pages = realloc(store->dirty_pages, capacity * sizeof *pages);
    if (!pages)
        return -ENOMEM;
    store->dirty_pages = pages;
    store->dirty_pages_capacity = capacity;
    return 0;
}

static void page_touch(struct store *store, const struct store_queue *queue, struct store_run *run)
{
    if (run->flags & STORE_RUN_PAGE_DIRTY)
        return;
    run->flags |= STORE_RUN_PAGE_DIRTY;
    store->dirty_pages[store->n_dirty_pages++] = (struct store_dirty_page){ queue->id, run->first };
}

/* The queue and run of an entry that is live; false when it is not. */
static bool find_entry(struct store *store, uint64_t queue_id, uint64_t sequence,
                       struct store_queue **ret_queue, struct store_run **ret_run)
{
    struct store_queue *queue = store_queue_find(store, queue_id);
    struct store_run *run;

    if (!queue || sequence <= queue->low || sequence > queue->last)
        return false;
    run = store_queue_run(queue, sequence);
    if (!run || run->live == 0 || store_run_is_dead(run, sequence))
        return false;
    *ret_queue = queue;
    *ret_run = run;
    return true;
}

int store_settle(struct store *store, uint64_t queue_id, uint64_t sequence, uint64_t location)
{
    struct store_queue *queue;
    struct store_run *run;
    bool in_order;
    int rc;

    (void)location; /* the run knows its record, and more reliably than a caller */
    if (!find_entry(store, queue_id, sequence, &queue, &run))
        return 0;
    in_order = sequence == queue->low + 1;
    rc = store_commit_reserve(store->open, &store->pool,
                              4 * store_op_bytes(STORE_KEY_SETTLED_BYTES, 0));
    if (rc == 0 && !in_order)
        rc = store_run_need_bits(run);
    if (rc == 0 && !in_order)
        rc = dirty_pages_reserve(store);
    if (rc)
        return rc;
    count_forget(store, queue, sequence);
    record_release(store, run->record, 1);
    store->stats.live_entries--;
    store->open->bytes += 1;
    run->live--;
    if (in_order) {
        queue->low = sequence;
    } else {
        store_run_set_dead(run, sequence, sequence);
        page_touch(store, queue, run);
    }
    store_queue_touch(store, queue);
    if (run->live == 0 && !(run->flags & STORE_RUN_OPEN)) {
        store_run_delete(store, queue, run);
        store_queue_bury(queue, run);
    } else if (in_order && run->bits) {
        store_queue_advance(queue);
    }
    return 0;
}

int store_count_delivery(struct store *store, uint64_t queue_id, uint64_t sequence,
                         uint32_t delivery_count)
{
    uint8_t key[STORE_KEY_SETTLED_BYTES];
    uint8_t value[10];
    struct store_queue *queue;
    struct store_run *run;
    int rc;

    if (!find_entry(store, queue_id, sequence, &queue, &run))
        return 0;
    rc = store_commit_reserve(store->open, &store->pool, store_op_bytes(sizeof key, sizeof value));
    if (rc == 0)
        rc = store_map_set(&queue->counts, sequence, delivery_count);
    if (rc)
        return rc;
    (void)store_commit_add(store->open, STORE_OP_PUT, STORE_FAMILY_SETTLED,
                           count_key(key, queue_id, sequence),
                           (struct amqp_bytes){ value, store_pack_varint(value, delivery_count) });
    store_queue_touch(store, queue);
    store->open->bytes += 1;
    return 0;
}

void store_mark_delivered(struct store *store, uint64_t queue_id, uint64_t sequence)
{
    struct store_queue *queue = store_queue_find(store, queue_id);

    if (!queue || queue->delivered >= sequence)
        return;
    queue->delivered = sequence;
    store_queue_touch(store, queue);
    store->open->bytes += 1;
}

/* Everything from (queue id, what) on, up to the next queue. */
static void forget_range(struct store *store, enum store_family family, uint64_t queue_id)
{
    uint8_t lower[8];
    uint8_t upper[8];

    store_put_u64be(lower, queue_id);
    store_put_u64be(upper, queue_id + 1);
    (void)store_commit_add(store->open, STORE_OP_DELETE_RANGE, family,
                           (struct amqp_bytes){ lower, sizeof lower },
                           (struct amqp_bytes){ upper, sizeof upper });
}

/* Key by key for few runs, so that a broker with many short-lived queues writes no ranges. */
static void forget_keys(struct store *store, struct store_queue *queue)
{
    uint8_t key[STORE_KEY_MARKS_BYTES];
    uint32_t i;

    for (i = 0; i < queue->n_runs; i++) {
        const struct store_run *run = store_queue_run_at(queue, i);

        if (run->live > 0 && !(run->flags & STORE_RUN_OPEN))
            store_run_delete(store, queue, run);
    }
    if (!queue->marks_stored)
        return;
    store_put_u64be(key, queue->id);
    key[8] = STORE_SETTLED_MARKS;
    (void)store_commit_add(store->open, STORE_OP_DELETE, STORE_FAMILY_SETTLED,
                           (struct amqp_bytes){ key, sizeof key }, (struct amqp_bytes){ 0 });
}

int store_forget_queue(struct store *store, uint64_t queue_id)
{
    struct store_queue *queue = store_queue_find(store, queue_id);
    bool by_range;
    uint32_t i;
    int rc;

    if (!queue)
        return 0;
    rc = store_commit_reserve(store->open, &store->pool,
                              (3 * (size_t)queue->n_runs + 3) *
                                  store_op_bytes(STORE_KEY_SETTLED_BYTES, 0));
    if (rc)
        return rc;
    by_range = queue->n_runs > FORGET_KEYS_MAX || queue->counts.used > 0;
    if (by_range) {
        forget_range(store, STORE_FAMILY_QUEUES, queue_id);
        forget_range(store, STORE_FAMILY_SETTLED, queue_id);
    } else {
        forget_keys(store, queue);
    }
    for (i = 0; i < queue->n_runs; i++) {
        const struct store_run *run = store_queue_run_at(queue, i);

        if (run->live == 0)
            continue;
        store->stats.live_entries -= run->live;
        record_release(store, run->record, run->live);
    }
    store->open->bytes += 8;
    store_map_remove(&store->queues, queue_id);
    queue->forgotten = true;
    if (store->last_queue == queue)
        store->last_queue = NULL;
    if (!queue->dirty)
        store_queue_free(store, queue);
    return 0;
}
