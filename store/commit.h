/*
 * commit.h - a commit while it is filled, written and remembered
 *
 * A commit is a list of changes (struct store_op) in memory of its own, and the records of messages
 * that it brings. Nothing in it moves once it was added, so a sealed commit is read by the
 * committer thread without a lock, and messages can be read from it until it is durable. Memory
 * comes from a pool and goes back there: a steady stream of commits allocates nothing.
 *
 * Adding is two steps, so that callers can change several things or none: reserve what the worst
 * case needs, which may fail; then add, which cannot.
 */
#ifndef STORE_COMMIT_H
#define STORE_COMMIT_H

#include "store/backend.h"
#include "store/pack.h"

struct store_block;

/** struct store_record - messages packed one behind the other, and where each of them ends */
struct store_record {
    struct store_record *next_free;
    uint64_t number;
    uint8_t *data;
    size_t size;
    size_t capacity;
    uint32_t *ends; /* little endian; one element more than capacity says, for their count */
    uint32_t n_ends;
    uint32_t ends_capacity;
    bool shared; /* by many messages: its buffer has the common size and is used again */
};

struct store_commit {
    struct store_commit *next;
    uint64_t number;
    size_t bytes; /* how much was added; 0: nothing */
    struct store_op *first_op;
    struct store_op **last_op;
    size_t n_ops;
    struct store_block *blocks; /* newest first */
    uint64_t first_record;
    struct store_record **records; /* records[i] has number first_record + i; NULL: not kept */
    size_t n_records;
    size_t records_capacity;
    struct store_record *packing; /* takes small messages; one of records, or NULL */
};

/** struct store_pool - memory of past commits; all zero is an empty pool */
struct store_pool {
    struct store_commit *commits;
    struct store_block *blocks;
    struct store_record *records;
    unsigned n_commits, n_blocks, n_records;
};

void store_pool_release(struct store_pool *pool);

/** store_commit_new() - an empty commit, or NULL when out of memory */
struct store_commit *store_commit_new(struct store_pool *pool, uint64_t number,
                                      uint64_t first_record);

/** store_commit_free() - its memory goes to the pool, or back to the system when that is full */
void store_commit_free(struct store_commit *commit, struct store_pool *pool);

/** store_op_bytes() - what a change takes: to be summed up for store_commit_reserve() */
static inline size_t store_op_bytes(size_t key_size, size_t value_size)
{
    return (sizeof(struct store_op) + key_size + value_size + 7) & ~(size_t)7;
}

/** store_commit_reserve() - make sure that changes of @bytes in all can be added: 0 or -ENOMEM */
int store_commit_reserve(struct store_commit *commit, struct store_pool *pool, size_t bytes);

/** store_commit_add() - add a change out of what was reserved; key and value are copied */
struct store_op *store_commit_add(struct store_commit *commit, enum store_op_kind kind,
                                  enum store_family family, struct amqp_bytes key,
                                  struct amqp_bytes value);

/** store_commit_add_parts() - add a PUT whose value is copied from two places */
void store_commit_add_parts(struct store_commit *commit, enum store_family family,
                            struct amqp_bytes key, struct amqp_bytes head,
                            struct amqp_bytes tail);

/**
 * store_commit_append() - copy a message into a record of this commit
 * @record_bytes:  size of records that are shared by messages
 * @ret_location:  its record and place
 *
 * Return: 0; -ENOMEM with nothing changed that shows.
 */
int store_commit_append(struct store_commit *commit, struct store_pool *pool, size_t record_bytes,
                        const struct iovec *parts, size_t n_parts, uint64_t *ret_location);

/** store_commit_drop_record() - nothing refers to record @i of this commit: it is not written */
void store_commit_drop_record(struct store_commit *commit, struct store_pool *pool, size_t i);

/** store_commit_add_records() - turn the records into changes; the commit is then complete */
int store_commit_add_records(struct store_commit *commit, struct store_pool *pool);

/** store_commit_message() - find a message among the records: 0, -ENOENT or -EBADMSG */
int store_commit_message(const struct store_commit *commit, uint64_t location,
                         struct amqp_bytes *ret_message);

#endif
