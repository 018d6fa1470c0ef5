/*
 * sender_selected.h - the CC and BCC headers: more routing keys for one publish
 *
 * Spec: amqp-0-9-1.md 9.10.
 */
#ifndef BROKER_SENDER_SELECTED_H
#define BROKER_SENDER_SELECTED_H

#include "amqp/properties.h"
#include "amqp/reply.h"
#include "broker/message.h"

enum { SENDER_KEYS_INLINE = 8 };

/** struct sender_keys - the routing key first, then CC's, then BCC's; all borrow the message */
struct sender_keys {
    struct amqp_str *keys;
    size_t n_keys, capacity;
    bool has_bcc; /* the header is there, whatever it holds */
    struct amqp_str inline_keys[SENDER_KEYS_INLINE];
};

void sender_keys_release(struct sender_keys *keys);
DEFINE_OWNED(sender_keys_release, struct sender_keys *)

/**
 * sender_keys_collect() - read both headers
 * @headers:  a checked table
 *
 * Return: 0; 406 when a header is not an array; -ENOMEM.
 */
int sender_keys_collect(struct amqp_str routing_key, struct amqp_table headers,
                        struct amqp_error *err, struct sender_keys *keys);

/**
 * sender_keys_again() - the keys of a message that has been published: its own, CC's, BCC's
 * @headers:  of @message
 *
 * Return: 0 or -ENOMEM.
 */
int sender_keys_again(const struct message *message, struct amqp_table headers,
                      struct sender_keys *keys);

/** message_without_bcc() - a copy with BCC not in its headers but aside. 0 or -ENOMEM */
int message_without_bcc(const struct message *message, const struct amqp_properties *properties,
                        struct message **ret_message);

#endif
