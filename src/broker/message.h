/*
 * message.h - one message: immutable, counted, one allocation
 *
 *   struct message | exchange | routing key | raw properties | body | BCC
 *
 * BCC is that header alone, taken out at publish before anybody could see it: a dead letter goes to
 * its keys too. It is there only if the publish had keys in it, and last, so that other messages
 * do not pay for it.
 *
 * A message is built while its content arrives, then never changes: every queue, unacknowledged
 * delivery and output buffer that holds it holds a reference. Its stored form is the same octets
 * behind a short head, so that reading one back is a copy.
 */
#ifndef BROKER_MESSAGE_H
#define BROKER_MESSAGE_H

#include <sys/uio.h>

#include "amqp/base.h"
#include "amqp/properties.h"
#include "amqp/table.h"

/*
 * Names, properties and BCC of a message that is taken to cost BOUND_MESSAGE_OVERHEAD_BYTES besides
 * its body: with `struct message`, and what the allocator adds, they are no more than that.
 */
enum { MESSAGE_LIGHT_BYTES = 80 };

struct message {
    uint32_t refs;
    uint8_t exchange_bytes;
    uint8_t routing_key_bytes;
    uint8_t priority;
    bool persistent : 1;      /* delivery-mode 2 */
    bool has_bcc : 1;         /* the BCC header is behind the body */
    bool heavy : 1;           /* has more than MESSAGE_LIGHT_BYTES besides its body */
    uint32_t properties_bytes;
    uint32_t body_bytes;
    uint64_t location;        /* in the store; 0 until appended */
    int64_t expiration_ms;    /* the expiration property, validated; -1 without one */
    uint8_t data[];
};

/** message_new() - an unfilled body of @body_bytes behind copies of the rest; NULL: no memory */
struct message *message_new(struct amqp_str exchange, struct amqp_str routing_key,
                            struct amqp_bytes properties, uint32_t body_bytes);

/**
 * message_grow() - make room for a larger body in a message under construction
 * @message:    with one reference; moved on success
 * @body_bytes: at least as many as now; becomes message->body_bytes
 *
 * Return: the message, perhaps elsewhere; NULL without memory: the old one is untouched and still
 *         the caller's.
 */
struct message *message_grow(struct message *message, uint32_t body_bytes);

static inline struct message *message_ref(struct message *message)
{
    message->refs++;
    return message;
}

/** struct message_parts - what a copy may have otherwise; everything borrowed */
struct message_parts {
    struct amqp_str exchange, routing_key;
    struct amqp_bytes properties; /* raw */
    struct amqp_table bcc;        /* a checked table with this header alone, or empty */
};

/** message_copy() - same body, flags and expiration, other @parts, location 0. 0 or -ENOMEM */
int message_copy(const struct message *message, const struct message_parts *parts,
                 struct message **ret_message);

/** message_bcc() - the BCC header as it was published, in a table, borrowed; empty without one */
struct amqp_table message_bcc(const struct message *message);

void message_unref(struct message *message); /* NULL is fine */
DEFINE_OWNED(message_unref, struct message *)

static inline struct amqp_str message_exchange(const struct message *message)
{
    return (struct amqp_str){ (const char *)message->data, message->exchange_bytes };
}

static inline struct amqp_str message_routing_key(const struct message *message)
{
    return (struct amqp_str){ (const char *)message->data + message->exchange_bytes,
                              message->routing_key_bytes };
}

static inline struct amqp_bytes message_properties(const struct message *message)
{
    return (struct amqp_bytes){ message->data + message->exchange_bytes +
                                    message->routing_key_bytes,
                                message->properties_bytes };
}

/** message_parts() - its own, to change some of them for message_copy() */
static inline struct message_parts message_parts(const struct message *message)
{
    return (struct message_parts){ message_exchange(message), message_routing_key(message),
                                   message_properties(message), message_bcc(message) };
}

static inline const uint8_t *message_body(const struct message *message)
{
    return message->data + message->exchange_bytes + message->routing_key_bytes +
           message->properties_bytes;
}

static inline uint8_t *message_body_writable(struct message *message)
{
    return message->data + message->exchange_bytes + message->routing_key_bytes +
           message->properties_bytes;
}

enum { MESSAGE_STORED_PARTS = 2, MESSAGE_STORED_HEAD_BYTES = 24 };

/** message_memory_bytes() - what it takes of memory */
size_t message_memory_bytes(const struct message *message);

/** message_stored_parts() - the stored form: @head is filled, the parts borrow it and @message */
void message_stored_parts(const struct message *message, uint8_t head[MESSAGE_STORED_HEAD_BYTES],
                          struct iovec parts[MESSAGE_STORED_PARTS]);

/** message_from_stored() - rebuild; -ENOMEM; -EBADMSG for what no stored_parts() wrote */
int message_from_stored(struct amqp_bytes stored, uint64_t location, struct message **ret_message);

#endif
