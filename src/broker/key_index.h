/*
 * key_index.h - the bindings of a direct exchange by binding key
 *
 * Bindings under the same key form a list by next_same, whose first one stands in a hash table.
 * Adding and removing cost the same however many there are.
 */
#ifndef BROKER_KEY_INDEX_H
#define BROKER_KEY_INDEX_H

#include "broker/exchange.h"
#include "broker/hash_table.h"

/** struct key_index - starts as all zero, but for how full its table may be */
struct key_index {
    struct hash_table keys; /* by binding->by_key */
};

/** key_index_add() - uses binding->by_key, in the place of its index; 0 or -ENOMEM */
int key_index_add(struct key_index *index, struct binding *binding);
void key_index_remove(struct key_index *index, struct binding *binding);
/** key_index_find() - the first binding with this key, others by next_same; NULL: there is none */
struct binding *key_index_find(const struct key_index *index, struct amqp_str key);

#endif
