/*
 * meta-internal.h - the form of metadata records, for those who write and read them
 *
 *   kind              names in the key                            members of the value
 *   vhost             name                                        metadata
 *   user              name                                        hashing hash tags
 *                                                                 max_connections max_channels
 *   permission        user vhost                                  configure write read
 *   topic permission  user vhost exchange                         write read
 *   exchange          vhost name                                  type auto_delete internal
 *                                                                 arguments
 *   queue             vhost name                                  id auto_delete arguments
 *   binding           vhost source q|e destination key arguments  (none)
 *   policy, parameter, global parameter: vhost component name     json
 *
 * Of a queue, auto_delete is left out where it is false and arguments where there are none; both
 * may be there all the same. A queue or exchange with the member `deleting`, which is true, lacks
 * some of its bindings already: the start deletes it.
 *
 * Only what is durable is here, so that needs no member. A name in a key is its length in 4 octets,
 * big-endian, and its octets.
 */
#ifndef BROKER_META_INTERNAL_H
#define BROKER_META_INTERNAL_H

#include "amqp/table.h"
#include "broker/broker.h"

enum { META_NAMES_MAX = 6 };

/** struct meta_key - the names in the key of a record, borrowed */
struct meta_key {
    struct amqp_str names[META_NAMES_MAX];
    size_t n;
};

/** META_KEY() - a key of the names given */
#define META_KEY(...)                                                                              \
    (&(struct meta_key){ .names = { __VA_ARGS__ },                                                 \
                         .n = N_ELEMENTS(((struct amqp_str[]){ __VA_ARGS__ })) })

/**
 * meta_put() - put a record into the open commit
 * @value: released, also on failure
 *
 * Return: 0, also without a store; -ENOMEM.
 */
int meta_put(struct broker *broker, enum store_kind kind, const struct meta_key *key,
             struct amqp_table_writer *value);

/** meta_key_decode() - false unless @octets are exactly @n names; the names borrow @octets */
bool meta_key_decode(struct amqp_bytes octets, size_t n, struct meta_key *ret_key);

/** meta_delete() - delete a record in the open commit; without memory it is logged and stays */
void meta_delete(struct broker *broker, enum store_kind kind, const struct meta_key *key);

/** meta_hashing_name() - "sha256", "sha512", "md5"; meta_hashing_find() is its opposite */
const char *meta_hashing_name(enum auth_hashing hashing);
bool meta_hashing_find(struct amqp_str name, enum auth_hashing *ret_hashing);

#endif
