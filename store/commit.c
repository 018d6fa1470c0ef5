/*
 * commit.c - memory of commits: blocks of changes, buffers of records, and the pool of both
 *
 * Changes are carved from blocks of 64 KiB that never move. A record of small messages has a buffer
 * of its final size from the start; only the pages that are used cost memory. The pool keeps at
 * most a few of each kind, so a burst while the disk is slow is given back to the system.
 */
#include "store/commit.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define BLOCK_BYTES 65536u
#define POOL_COMMITS 16
#define POOL_BLOCKS 64
#define POOL_RECORDS 64

struct store_block {
    struct store_block *next;
    size_t used;
    size_t capacity;
    _Alignas(8) uint8_t data[];
};

static void record_free(struct store_record *record)
{
    free(record->data);
    free(record->ends);
    free(record);
}

void store_pool_release(struct store_pool *pool)
{
    while (pool->commits) {
        struct store_commit *commit = pool->commits;

        pool->commits = commit->next;
        free(commit->records);
        free(commit);
    }
    while (pool->blocks) {
        struct store_block *block = pool->blocks;

        pool->blocks = block->next;
        free(block);
    }
    while (pool->records) {
        struct store_record *record = pool->records;

        pool->records = record->next_free;
        record_free(record);
    }
    *pool = (struct store_pool){ 0 };
}

struct store_commit *store_commit_new(struct store_pool *pool, uint64_t number,
                                      uint64_t first_record)
{
    struct store_commit *commit = pool->commits;

    if (commit) {
        pool->commits = commit->next;
        pool->n_commits--;
    } else {
        commit = calloc(1, sizeof *commit);
        if (!commit)
            return NULL;
    }
    *commit = (struct store_commit){
        .number = number,
        .last_op = &commit->first_op,
        .first_record = first_record,
        .records = commit->records,
        .records_capacity = commit->records_capacity,
    };
    return commit;
}

static void pool_put_record(struct store_pool *pool, struct store_record *record)
{
    if (!record->shared || pool->n_records == POOL_RECORDS) {
        record_free(record);
        return;
    }
    record->next_free = pool->records;
    pool->records = record;
    pool->n_records++;
}

void store_commit_free(struct store_commit *commit, struct store_pool *pool)
{
    size_t i;

    for (i = 0; i < commit->n_records; i++)
        if (commit->records[i])
            pool_put_record(pool, commit->records[i]);
    while (commit->blocks) {
        struct store_block *block = commit->blocks;

        commit->blocks = block->next;
        if (block->capacity != BLOCK_BYTES || pool->n_blocks == POOL_BLOCKS) {
            free(block);
            continue;
        }
        block->next = pool->blocks;
        pool->blocks = block;
        pool->n_blocks++;
    }
    if (pool->n_commits == POOL_COMMITS) {
        free(commit->records);
        free(commit);
        return;
    }
    commit->next = pool->commits;
    pool->commits = commit;
    pool->n_commits++;
}

int store_commit_reserve(struct store_commit *commit, struct store_pool *pool, size_t bytes)
{
    struct store_block *block = commit->blocks;

    if (LIKELY(block && block->capacity - block->used >= bytes))
        return 0;
    if (pool->blocks && bytes <= BLOCK_BYTES) {
        block = pool->blocks;
        pool->blocks = block->next;
        pool->n_blocks--;
    } else {
        size_t capacity = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;

        block = malloc(sizeof *block + capacity);
        if (!block)
            return -ENOMEM;
        block->capacity = capacity;
    }
    block->used = 0;
    block->next = commit->blocks;
    commit->blocks = block;
    return 0;
}

static uint8_t *copy_bytes(uint8_t *to, struct amqp_bytes bytes)
{
    if (bytes.size > 0)
        memcpy(to, bytes.data, bytes.size);
    return to + bytes.size;
}

/* A change with its key, and room for its value right behind it. */
static struct store_op *commit_carve(struct store_commit *commit, struct amqp_bytes key,
                                     size_t value_size)
{
    struct store_block *block = commit->blocks;
    size_t bytes = store_op_bytes(key.size, value_size);
    struct store_op *op;

    assert(block);
    assert(block->capacity - block->used >= bytes);
    assert(key.size <= UINT32_MAX);
    op = (struct store_op *)(void *)(block->data + block->used);
    block->used += bytes;
    *op = (struct store_op){ .key_size = (uint32_t)key.size };
    (void)copy_bytes(op->key, key);
    *commit->last_op = op;
    commit->last_op = &op->next;
    commit->n_ops++;
    return op;
}

struct store_op *store_commit_add(struct store_commit *commit, enum store_op_kind kind,
                                  enum store_family family, struct amqp_bytes key,
                                  struct amqp_bytes value)
{
    struct store_op *op = commit_carve(commit, key, value.size);

    op->kind = (uint8_t)kind;
    op->family = (uint8_t)family;
    op->value[0] = (struct amqp_bytes){ op->key + key.size, value.size };
    (void)copy_bytes(op->key + key.size, value);
    return op;
}

void store_commit_add_parts(struct store_commit *commit, enum store_family family,
                            struct amqp_bytes key, struct amqp_bytes head, struct amqp_bytes tail)
{
    struct store_op *op = commit_carve(commit, key, head.size + tail.size);

    op->kind = STORE_OP_PUT;
    op->family = (uint8_t)family;
    op->value[0] = (struct amqp_bytes){ op->key + key.size, head.size + tail.size };
    (void)copy_bytes(copy_bytes(op->key + key.size, head), tail);
}

/* A record with room for @bytes; one for many messages if @shared. */
static struct store_record *record_new(struct store_pool *pool, size_t bytes, bool shared)
{
    struct store_record *record = pool->records;

    if (shared && record && record->capacity == bytes) {
        pool->records = record->next_free;
        pool->n_records--;
        record->size = 0;
        record->n_ends = 0;
        return record;
    }
    record = calloc(1, sizeof *record);
    if (!record)
        return NULL;
    record->capacity = bytes;
    record->shared = shared;
    record->ends_capacity = shared ? 255 : 1;
    record->data = malloc(bytes ? bytes : 1);
    record->ends = malloc((record->ends_capacity + 1) * sizeof *record->ends);
    if (record->data && record->ends)
        return record;
    record_free(record);
    return NULL;
}

static int commit_add_record(struct store_commit *commit, struct store_pool *pool, size_t bytes,
                             bool shared, struct store_record **ret_record)
{
    struct store_record *record;

    if (commit->n_records == commit->records_capacity) {
        size_t capacity = commit->records_capacity ? commit->records_capacity * 2 : 8;
        struct store_record **records =
            realloc(commit->records, capacity * sizeof *commit->records);

        if (!records)
            return -ENOMEM;
        commit->records = records;
        commit->records_capacity = capacity;
    }
    record = record_new(pool, bytes, shared);
    if (!record)
        return -ENOMEM;
    record->number = commit->first_record + commit->n_records;
    commit->records[commit->n_records++] = record;
    *ret_record = record;
    return 0;
}

static int record_reserve_end(struct store_record *record)
{
    size_t capacity = (size_t)record->ends_capacity * 2 + 1;
    uint32_t *ends;

    if (LIKELY(record->n_ends < record->ends_capacity))
        return 0;
    ends = realloc(record->ends, (capacity + 1) * sizeof *ends);
    if (!ends)
        return -ENOMEM;
    record->ends = ends;
    record->ends_capacity = (uint32_t)capacity;
    return 0;
}

/* The record that a message of @bytes goes to, with room for it. */
static int commit_choose_record(struct store_commit *commit, struct store_pool *pool,
                                size_t record_bytes, size_t bytes, struct store_record **ret_record)
{
    struct store_record *record = commit->packing;
    int rc;

    if (bytes > STORE_LARGE_BYTES || bytes > record_bytes)
        return commit_add_record(commit, pool, bytes, false, ret_record);
    if (record && record->capacity - record->size >= bytes &&
        record->n_ends < STORE_RECORD_MESSAGES) {
        *ret_record = record;
        return record_reserve_end(record);
    }
    rc = commit_add_record(commit, pool, record_bytes, true, ret_record);
    if (rc == 0)
        commit->packing = *ret_record;
    return rc;
}

int store_commit_append(struct store_commit *commit, struct store_pool *pool, size_t record_bytes,
                        const struct iovec *parts, size_t n_parts, uint64_t *ret_location)
{
    struct store_record *record;
    size_t bytes = 0;
    size_t i;
    int rc;

    for (i = 0; i < n_parts; i++)
        bytes += parts[i].iov_len;
    assert(bytes <= UINT32_MAX);
    rc = commit_choose_record(commit, pool, record_bytes, bytes, &record);
    if (rc)
        return rc;
    for (i = 0; i < n_parts; i++) {
        if (parts[i].iov_len > 0)
            memcpy(record->data + record->size, parts[i].iov_base, parts[i].iov_len);
        record->size += parts[i].iov_len;
    }
    *ret_location = record->number << 16 | record->n_ends;
    record->ends[record->n_ends++] = htole32((uint32_t)record->size);
    commit->bytes += bytes + 1;
    return 0;
}

void store_commit_drop_record(struct store_commit *commit, struct store_pool *pool, size_t i)
{
    struct store_record *record = commit->records[i];

    if (!record)
        return;
    if (commit->packing == record)
        commit->packing = NULL;
    commit->records[i] = NULL;
    pool_put_record(pool, record);
}

int store_commit_add_records(struct store_commit *commit, struct store_pool *pool)
{
    uint8_t key[STORE_KEY_RECORD_BYTES];
    size_t i;
    int rc = store_commit_reserve(commit, pool, commit->n_records * store_op_bytes(sizeof key, 0));

    if (rc)
        return rc;
    for (i = 0; i < commit->n_records; i++) {
        struct store_record *record = commit->records[i];
        struct store_op *op;

        if (!record)
            continue;
        store_put_u64be(key, record->number);
        op = store_commit_add(commit, STORE_OP_PUT, STORE_FAMILY_MESSAGES,
                              (struct amqp_bytes){ key, sizeof key }, (struct amqp_bytes){ 0 });
        record->ends[record->n_ends] = htole32(record->n_ends);
        op->value[0] = (struct amqp_bytes){ record->data, record->size };
        op->value[1] = (struct amqp_bytes){ (const uint8_t *)record->ends,
                                            ((size_t)record->n_ends + 1) * sizeof *record->ends };
    }
    return 0;
}

int store_commit_message(const struct store_commit *commit, uint64_t location,
                         struct amqp_bytes *ret_message)
{
    uint64_t number = store_record_of(location);
    uint32_t index = store_index_of(location);
    const struct store_record *record;
    size_t start;

    if (number < commit->first_record || number - commit->first_record >= commit->n_records)
        return -ENOENT;
    record = commit->records[number - commit->first_record];
    if (!record)
        return -ENOENT;
    if (index >= record->n_ends)
        return -EBADMSG;
    start = index ? le32toh(record->ends[index - 1]) : 0;
    ret_message->data = record->data + start;
    ret_message->size = le32toh(record->ends[index]) - start;
    return 0;
}
