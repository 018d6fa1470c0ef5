/*
 * key_index.c - see key_index.h
 */
#include "broker/key_index.h"

#include <utlist.h>

static struct binding *find(const struct key_index *index, struct amqp_str key, uint64_t hash)
{
    struct hash_link *link = hash_table_first(&index->keys, hash);

    for (; link; link = hash_table_next(link)) {
        struct binding *first = CONTAINER_OF(link, struct binding, by_key);

        if (amqp_str_equal(first->key, key))
            return first;
    }
    return NULL;
}

int key_index_add(struct key_index *index, struct binding *binding)
{
    uint64_t hash = hash_str(0, binding->key);
    struct binding *first = find(index, binding->key, hash);
    int rc = first ? 0 : hash_table_add(&index->keys, &binding->by_key, hash);

    if (!rc)
        DL_APPEND2(first, binding, prev_same, next_same);
    return rc;
}

void key_index_remove(struct key_index *index, struct binding *binding)
{
    struct binding *first = key_index_find(index, binding->key);
    struct binding *second = first->next_same;

    if (binding == first) {
        /* This order, as a table that is not empty can always take one more. */
        if (second)
            (void)hash_table_add(&index->keys, &second->by_key, first->by_key.hash);
        hash_table_remove(&index->keys, &first->by_key);
    }
    DL_DELETE2(first, binding, prev_same, next_same);
}

struct binding *key_index_find(const struct key_index *index, struct amqp_str key)
{
    return find(index, key, hash_str(0, key));
}
