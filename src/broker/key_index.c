/*
 * key_index.c - see key_index.h
 */
#include "broker/key_index.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

/* The bindings with one key; the key itself is the first binding's. */
struct key_slot {
    struct hash_link by_key; /* of key_index.keys */
    struct binding *bindings;
};

static struct key_slot *find_slot(const struct key_index *index, struct amqp_str key, uint64_t hash)
{
    struct hash_link *link = hash_table_first(&index->keys, hash);

    for (; link; link = hash_table_next(link)) {
        struct key_slot *slot = CONTAINER_OF(link, struct key_slot, by_key);

        if (amqp_str_equal(slot->bindings->key, key))
            return slot;
    }
    return NULL;
}

int key_index_add(struct key_index *index, struct binding *binding)
{
    uint64_t hash = hash_str(0, binding->key);
    struct key_slot *slot = find_slot(index, binding->key, hash);

    if (!slot) {
        slot = calloc(1, sizeof *slot);
        if (!slot)
            return -ENOMEM;
        if (hash_table_add(&index->keys, &slot->by_key, hash)) {
            free(slot);
            return -ENOMEM;
        }
    }
    binding->index = slot;
    DL_APPEND2(slot->bindings, binding, prev_same, next_same);
    return 0;
}

void key_index_remove(struct key_index *index, struct binding *binding)
{
    struct key_slot *slot = binding->index;

    DL_DELETE2(slot->bindings, binding, prev_same, next_same);
    if (!slot->bindings) {
        hash_table_remove(&index->keys, &slot->by_key);
        free(slot);
    }
}

struct binding *key_index_find(const struct key_index *index, struct amqp_str key)
{
    struct key_slot *slot = find_slot(index, key, hash_str(0, key));

    return slot ? slot->bindings : NULL;
}
