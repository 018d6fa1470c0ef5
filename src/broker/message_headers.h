/*
 * message_headers.h - copies of messages with other headers
 *
 * Where RabbitMQ changes a header it sorts them all by name, and so does everything here: what an
 * application sees is the same octets.
 */
#ifndef BROKER_MESSAGE_HEADERS_H
#define BROKER_MESSAGE_HEADERS_H

#include "amqp/properties.h"
#include "broker/message.h"

/** struct header_change - one header set to @value, or taken out when its type is 0 */
struct header_change {
    struct amqp_str key;
    struct amqp_value value;
};

/** header_str() - set @key to a long string */
static inline struct header_change header_str(const char *key, struct amqp_str value)
{
    return (struct header_change){
        amqp_str_from(key),
        { .type = 'S', .bytes = { (const uint8_t *)value.data, value.size } },
    };
}

/**
 * headers_change() - write @headers with @changes, sorted by name
 * @headers:  a checked table
 * @changes:  of different keys; a changed key is there once afterwards, others as often as before
 * @writer:   what is written goes behind what it holds; empty afterwards is possible
 *
 * Return: 0 or -ENOMEM.
 */
int headers_change(struct amqp_table headers, const struct header_change *changes,
                   size_t n_changes, struct amqp_table_writer *writer);

/**
 * message_with_properties() - a copy with other properties
 * @parts:       the rest; its raw properties are not looked at
 * @properties:  what the copy gets
 *
 * Return: 0 or -ENOMEM.
 */
int message_with_properties(const struct message *message, struct message_parts parts,
                            const struct amqp_properties *properties,
                            struct message **ret_message);

/**
 * message_with_delivery_count() - a copy whose header x-delivery-count is @count
 *
 * Return: 0; -EBADMSG when the properties, read back from the store, are damaged; -ENOMEM.
 * Spec: extensions.md 1.11.
 */
int message_with_delivery_count(const struct message *message, int64_t count,
                                struct message **ret_message);

#endif
