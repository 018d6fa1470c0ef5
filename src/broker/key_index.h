/*
 * key_index.h - the bindings of a direct exchange by binding key
 *
 * Bindings under the same key form a list by next_same. Adding and removing cost the same however
 * many there are.
 */
#ifndef BROKER_KEY_INDEX_H
#define BROKER_KEY_INDEX_H

#include "broker/exchange.h"
#include "broker/hash_table.h"

/** struct key_index - starts as all zero */
struct key_index {
    struct hash_table keys;
};

/** key_index_add() - uses binding->index; 0 or -ENOMEM */
int key_index_add(struct key_index *index, struct binding *binding);
void key_index_remove(struct key_index *index, struct binding *binding);
/** key_index_find() - the first binding with this key, others by next_same; NULL: there is none */
struct binding *key_index_find(const struct key_index *index, struct amqp_str key);

#endif
