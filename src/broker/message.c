/*
 * message.c - building, sharing and storing messages
 *
 * The stored form is a head of fixed size, then the octets of `data` as they lie in memory:
 *
 *   0        1          2             3          4            8      12     16           24
 *   +--------+----------+-------------+----------+------------+------+-------+------------+------
 *   | format | exchange | routing key | priority | properties | body | flags | expiration | data
 *   |   1    |  octets  |   octets    |          |   octets   |octets| bit 0 |     ms     |
 *   +--------+----------+-------------+----------+------------+------+-------+------------+------
 *                                                     persistent, bit 1: has BCC ^
 *
 * BCC is a field table: its 4-octet length, and that header as its only entry.
 */
#include "broker/message.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "amqp/wire.h"

enum { STORED_FORMAT = 1, STORED_PERSISTENT = 1, STORED_BCC = 2, LENGTH_BYTES = 4 };

/* Octets of `data` up to the end of the body. The sum fits: 64 bits for parts of 32 and 8. */
static size_t plain_bytes(const struct message *message)
{
    return (size_t)message->exchange_bytes + message->routing_key_bytes +
           message->properties_bytes + message->body_bytes;
}

static size_t data_bytes(const struct message *message)
{
    size_t size = plain_bytes(message);

    return message->has_bcc ? size + LENGTH_BYTES + wire_load32(message->data + size) : size;
}

static_assert(sizeof(struct message) + MESSAGE_LIGHT_BYTES + 2 * sizeof(size_t) <=
                  BOUND_MESSAGE_OVERHEAD_BYTES,
              "what is counted for a light message covers it");

size_t message_memory_bytes(const struct message *message)
{
    return sizeof *message + data_bytes(message);
}

struct amqp_table message_bcc(const struct message *message)
{
    const uint8_t *at = message->data + plain_bytes(message);

    if (!message->has_bcc)
        return (struct amqp_table){ NULL, 0 };
    return (struct amqp_table){ at + LENGTH_BYTES, wire_load32(at) };
}

/* A message with everything but its body, whose octets are to be filled in. */
static struct message *new_with_bcc(const struct message_parts *parts, uint32_t body_bytes)
{
    size_t bcc_bytes = parts->bcc.size ? LENGTH_BYTES + parts->bcc.size : 0;
    struct message *message;
    uint8_t *at;

    assert(parts->exchange.size <= UINT8_MAX && parts->routing_key.size <= UINT8_MAX);
    assert(parts->properties.size <= UINT32_MAX);
    assert(parts->bcc.size <= UINT32_MAX);
    message = malloc(sizeof *message + parts->exchange.size + parts->routing_key.size +
                     parts->properties.size + body_bytes + bcc_bytes);
    if (!message)
        return NULL;
    *message = (struct message){ .refs = 1,
                                 .exchange_bytes = (uint8_t)parts->exchange.size,
                                 .routing_key_bytes = (uint8_t)parts->routing_key.size,
                                 .properties_bytes = (uint32_t)parts->properties.size,
                                 .body_bytes = body_bytes,
                                 .has_bcc = bcc_bytes != 0,
                                 .heavy = parts->exchange.size + parts->routing_key.size +
                                              parts->properties.size + bcc_bytes >
                                          MESSAGE_LIGHT_BYTES,
                                 .expiration_ms = -1 };
    at = wire_store(message->data, parts->exchange.data, parts->exchange.size);
    at = wire_store(at, parts->routing_key.data, parts->routing_key.size);
    at = wire_store(at, parts->properties.data, parts->properties.size);
    if (bcc_bytes) {
        at = wire_store32(at + body_bytes, (uint32_t)parts->bcc.size);
        wire_store(at, parts->bcc.data, parts->bcc.size);
    }
    return message;
}

struct message *message_new(struct amqp_str exchange, struct amqp_str routing_key,
                            struct amqp_bytes properties, uint32_t body_bytes)
{
    struct message_parts parts = { exchange, routing_key, properties, { NULL, 0 } };

    return new_with_bcc(&parts, body_bytes);
}

struct message *message_grow(struct message *message, uint32_t body_bytes)
{
    struct message *grown;

    assert(message->refs == 1 && body_bytes >= message->body_bytes);
    assert(!message->has_bcc); /* found out when the content is complete */
    grown = realloc(message, sizeof *message + plain_bytes(message) - message->body_bytes +
                                 body_bytes);
    if (!grown)
        return NULL;
    grown->body_bytes = body_bytes;
    return grown;
}

int message_copy(const struct message *message, const struct message_parts *parts,
                 struct message **ret_message)
{
    struct message *copy = new_with_bcc(parts, message->body_bytes);

    if (!copy)
        return -ENOMEM;
    copy->priority = message->priority;
    copy->persistent = message->persistent;
    copy->expiration_ms = message->expiration_ms;
    wire_store(message_body_writable(copy), message_body(message), message->body_bytes);
    *ret_message = copy;
    return 0;
}

void message_unref(struct message *message)
{
    if (!message)
        return;
    assert(message->refs > 0);
    if (--message->refs == 0)
        free(message);
}

void message_stored_parts(const struct message *message, uint8_t head[MESSAGE_STORED_HEAD_BYTES],
                          struct iovec parts[MESSAGE_STORED_PARTS])
{
    uint8_t *at = head;

    at = wire_store8(at, STORED_FORMAT);
    at = wire_store8(at, message->exchange_bytes);
    at = wire_store8(at, message->routing_key_bytes);
    at = wire_store8(at, message->priority);
    at = wire_store32(at, message->properties_bytes);
    at = wire_store32(at, message->body_bytes);
    at = wire_store32(at, (message->persistent ? STORED_PERSISTENT : 0u) |
                              (message->has_bcc ? STORED_BCC : 0u));
    at = wire_store64(at, (uint64_t)message->expiration_ms);
    assert(at == head + MESSAGE_STORED_HEAD_BYTES);
    parts[0] = (struct iovec){ head, MESSAGE_STORED_HEAD_BYTES };
    parts[1] = (struct iovec){ (void *)(uintptr_t)message->data, data_bytes(message) };
}

/* Whether @size octets of data at @at are what @head announces. */
static bool is_whole(const struct message *head, const uint8_t *at, size_t size)
{
    size_t plain = plain_bytes(head), more;

    if (!head->has_bcc || size < plain)
        return size == plain;
    more = size - plain;
    return more > LENGTH_BYTES && more - LENGTH_BYTES == wire_load32(at + plain) &&
           amqp_table_check((struct amqp_table){ at + plain + LENGTH_BYTES,
                                                 more - LENGTH_BYTES }) == 0;
}

int message_from_stored(struct amqp_bytes stored, uint64_t location, struct message **ret_message)
{
    struct message head = { .refs = 1, .location = location };
    const uint8_t *at = stored.data;
    struct message *message;
    size_t size;

    if (stored.size < MESSAGE_STORED_HEAD_BYTES || at[0] != STORED_FORMAT)
        return -EBADMSG;
    head.exchange_bytes = at[1];
    head.routing_key_bytes = at[2];
    head.priority = at[3];
    head.properties_bytes = wire_load32(at + 4);
    head.body_bytes = wire_load32(at + 8);
    head.persistent = (wire_load32(at + 12) & STORED_PERSISTENT) != 0;
    head.has_bcc = (wire_load32(at + 12) & STORED_BCC) != 0;
    head.expiration_ms = (int64_t)wire_load64(at + 16);
    at += MESSAGE_STORED_HEAD_BYTES;
    size = stored.size - MESSAGE_STORED_HEAD_BYTES;
    if (!is_whole(&head, at, size))
        return -EBADMSG;
    message = malloc(sizeof *message + size);
    if (!message)
        return -ENOMEM;
    head.heavy = size - head.body_bytes > MESSAGE_LIGHT_BYTES;
    *message = head;
    wire_store(message->data, at, size);
    *ret_message = message;
    return 0;
}
