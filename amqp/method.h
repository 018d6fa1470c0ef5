/*
 * method.h - every method of AMQP 0-9-1 and RabbitMQ's extensions, listed once
 *
 * The lists below are the protocol: structs, decoder, encoder, printer and fuzz seeds come from
 * them (spec `amqp0-9-1.extended.xml`; connection.blocked and below from RabbitMQ's extensions).
 * `struct amqp_queue_declare` and its kin start with the method's id, class << 16 | method, so a
 * pointer to any of them is a pointer to a method. Strings and tables of a decoded method borrow
 * the frame.
 */
#ifndef AMQP_METHOD_H
#define AMQP_METHOD_H

#include "amqp/base.h"
#include "amqp/reply.h"
#include "amqp/table.h"

/* C types of the wire types */
#define AMQP_CTYPE_octet uint8_t
#define AMQP_CTYPE_short uint16_t
#define AMQP_CTYPE_long uint32_t
#define AMQP_CTYPE_longlong uint64_t
#define AMQP_CTYPE_bit bool
#define AMQP_CTYPE_shortstr struct amqp_str
#define AMQP_CTYPE_longstr struct amqp_bytes
#define AMQP_CTYPE_table struct amqp_table

enum amqp_wire {
    AMQP_WIRE_octet,
    AMQP_WIRE_short,
    AMQP_WIRE_long,
    AMQP_WIRE_longlong,
    AMQP_WIRE_bit,
    AMQP_WIRE_shortstr,
    AMQP_WIRE_longstr,
    AMQP_WIRE_table,
};

/* F(struct, wire type, name), in wire order */
#define AMQP_NO_ARGUMENTS(F, s)
#define AMQP_CONNECTION_START(F, s) \
    F(s, octet, version_major)      \
    F(s, octet, version_minor)      \
    F(s, table, server_properties)  \
    F(s, longstr, mechanisms)       \
    F(s, longstr, locales)
#define AMQP_CONNECTION_START_OK(F, s) \
    F(s, table, client_properties)     \
    F(s, shortstr, mechanism)          \
    F(s, longstr, response)            \
    F(s, shortstr, locale)
#define AMQP_CONNECTION_SECURE(F, s) F(s, longstr, challenge)
#define AMQP_CONNECTION_SECURE_OK(F, s) F(s, longstr, response)
#define AMQP_CONNECTION_TUNE(F, s) \
    F(s, short, channel_max)       \
    F(s, long, frame_max)          \
    F(s, short, heartbeat)
#define AMQP_CONNECTION_OPEN(F, s) \
    F(s, shortstr, virtual_host)   \
    F(s, shortstr, reserved_1)     \
    F(s, bit, reserved_2)
#define AMQP_CONNECTION_OPEN_OK(F, s) F(s, shortstr, reserved_1)
#define AMQP_CLOSE(F, s)       \
    F(s, short, reply_code)    \
    F(s, shortstr, reply_text) \
    F(s, short, class_id)      \
    F(s, short, method_id)
#define AMQP_CONNECTION_BLOCKED(F, s) F(s, shortstr, reason)
#define AMQP_UPDATE_SECRET(F, s) \
    F(s, longstr, new_secret)    \
    F(s, shortstr, reason)
#define AMQP_CHANNEL_OPEN(F, s) F(s, shortstr, reserved_1)
#define AMQP_CHANNEL_OPEN_OK(F, s) F(s, longstr, reserved_1)
#define AMQP_CHANNEL_FLOW(F, s) F(s, bit, active)
#define AMQP_ACCESS_REQUEST(F, s) \
    F(s, shortstr, realm)         \
    F(s, bit, exclusive)          \
    F(s, bit, passive)            \
    F(s, bit, active)             \
    F(s, bit, write)              \
    F(s, bit, read)
#define AMQP_ACCESS_REQUEST_OK(F, s) F(s, short, reserved_1)
#define AMQP_EXCHANGE_DECLARE(F, s) \
    F(s, short, reserved_1)         \
    F(s, shortstr, exchange)        \
    F(s, shortstr, type)            \
    F(s, bit, passive)              \
    F(s, bit, durable)              \
    F(s, bit, auto_delete)          \
    F(s, bit, internal)             \
    F(s, bit, no_wait)              \
    F(s, table, arguments)
#define AMQP_EXCHANGE_DELETE(F, s) \
    F(s, short, reserved_1)        \
    F(s, shortstr, exchange)       \
    F(s, bit, if_unused)           \
    F(s, bit, no_wait)
#define AMQP_EXCHANGE_BIND(F, s) \
    F(s, short, reserved_1)      \
    F(s, shortstr, destination)  \
    F(s, shortstr, source)       \
    F(s, shortstr, routing_key)  \
    F(s, bit, no_wait)           \
    F(s, table, arguments)
#define AMQP_QUEUE_DECLARE(F, s) \
    F(s, short, reserved_1)      \
    F(s, shortstr, queue)        \
    F(s, bit, passive)           \
    F(s, bit, durable)           \
    F(s, bit, exclusive)         \
    F(s, bit, auto_delete)       \
    F(s, bit, no_wait)           \
    F(s, table, arguments)
#define AMQP_QUEUE_DECLARE_OK(F, s) \
    F(s, shortstr, queue)           \
    F(s, long, message_count)       \
    F(s, long, consumer_count)
#define AMQP_QUEUE_BIND(F, s)   \
    F(s, short, reserved_1)     \
    F(s, shortstr, queue)       \
    F(s, shortstr, exchange)    \
    F(s, shortstr, routing_key) \
    F(s, bit, no_wait)          \
    F(s, table, arguments)
#define AMQP_QUEUE_UNBIND(F, s) \
    F(s, short, reserved_1)     \
    F(s, shortstr, queue)       \
    F(s, shortstr, exchange)    \
    F(s, shortstr, routing_key) \
    F(s, table, arguments)
#define AMQP_QUEUE_PURGE(F, s) \
    F(s, short, reserved_1)    \
    F(s, shortstr, queue)      \
    F(s, bit, no_wait)
#define AMQP_QUEUE_DELETE(F, s) \
    F(s, short, reserved_1)     \
    F(s, shortstr, queue)       \
    F(s, bit, if_unused)        \
    F(s, bit, if_empty)         \
    F(s, bit, no_wait)
#define AMQP_MESSAGE_COUNT(F, s) F(s, long, message_count)
#define AMQP_BASIC_QOS(F, s)   \
    F(s, long, prefetch_size)  \
    F(s, short, prefetch_count) \
    F(s, bit, global)
#define AMQP_BASIC_CONSUME(F, s) \
    F(s, short, reserved_1)      \
    F(s, shortstr, queue)        \
    F(s, shortstr, consumer_tag) \
    F(s, bit, no_local)          \
    F(s, bit, no_ack)            \
    F(s, bit, exclusive)         \
    F(s, bit, no_wait)           \
    F(s, table, arguments)
#define AMQP_CONSUMER_TAG(F, s) F(s, shortstr, consumer_tag)
#define AMQP_BASIC_CANCEL(F, s)  \
    F(s, shortstr, consumer_tag) \
    F(s, bit, no_wait)
#define AMQP_BASIC_PUBLISH(F, s) \
    F(s, short, reserved_1)      \
    F(s, shortstr, exchange)     \
    F(s, shortstr, routing_key)  \
    F(s, bit, mandatory)         \
    F(s, bit, immediate)
#define AMQP_BASIC_RETURN(F, s) \
    F(s, short, reply_code)     \
    F(s, shortstr, reply_text)  \
    F(s, shortstr, exchange)    \
    F(s, shortstr, routing_key)
#define AMQP_BASIC_DELIVER(F, s) \
    F(s, shortstr, consumer_tag) \
    F(s, longlong, delivery_tag) \
    F(s, bit, redelivered)       \
    F(s, shortstr, exchange)     \
    F(s, shortstr, routing_key)
#define AMQP_BASIC_GET(F, s) \
    F(s, short, reserved_1)  \
    F(s, shortstr, queue)    \
    F(s, bit, no_ack)
#define AMQP_BASIC_GET_OK(F, s)  \
    F(s, longlong, delivery_tag) \
    F(s, bit, redelivered)       \
    F(s, shortstr, exchange)     \
    F(s, shortstr, routing_key)  \
    F(s, long, message_count)
#define AMQP_BASIC_GET_EMPTY(F, s) F(s, shortstr, reserved_1)
#define AMQP_BASIC_ACK(F, s)     \
    F(s, longlong, delivery_tag) \
    F(s, bit, multiple)
#define AMQP_BASIC_REJECT(F, s)  \
    F(s, longlong, delivery_tag) \
    F(s, bit, requeue)
#define AMQP_BASIC_RECOVER(F, s) F(s, bit, requeue)
#define AMQP_BASIC_NACK(F, s)    \
    F(s, longlong, delivery_tag) \
    F(s, bit, multiple)          \
    F(s, bit, requeue)
#define AMQP_CONFIRM_SELECT(F, s) F(s, bit, no_wait)

/* R(M, class-id, method-id, name, name in the spec, arguments) */
#define AMQP_METHOD_ROWS(R, M)                                                                    \
    R(M, 10, 10, connection_start, "connection.start", AMQP_CONNECTION_START)                     \
    R(M, 10, 11, connection_start_ok, "connection.start-ok", AMQP_CONNECTION_START_OK)            \
    R(M, 10, 20, connection_secure, "connection.secure", AMQP_CONNECTION_SECURE)                  \
    R(M, 10, 21, connection_secure_ok, "connection.secure-ok", AMQP_CONNECTION_SECURE_OK)         \
    R(M, 10, 30, connection_tune, "connection.tune", AMQP_CONNECTION_TUNE)                        \
    R(M, 10, 31, connection_tune_ok, "connection.tune-ok", AMQP_CONNECTION_TUNE)                  \
    R(M, 10, 40, connection_open, "connection.open", AMQP_CONNECTION_OPEN)                        \
    R(M, 10, 41, connection_open_ok, "connection.open-ok", AMQP_CONNECTION_OPEN_OK)               \
    R(M, 10, 50, connection_close, "connection.close", AMQP_CLOSE)                                \
    R(M, 10, 51, connection_close_ok, "connection.close-ok", AMQP_NO_ARGUMENTS)                   \
    R(M, 10, 60, connection_blocked, "connection.blocked", AMQP_CONNECTION_BLOCKED)               \
    R(M, 10, 61, connection_unblocked, "connection.unblocked", AMQP_NO_ARGUMENTS)                 \
    R(M, 10, 70, connection_update_secret, "connection.update-secret", AMQP_UPDATE_SECRET)        \
    R(M, 10, 71, connection_update_secret_ok, "connection.update-secret-ok", AMQP_NO_ARGUMENTS)   \
    R(M, 20, 10, channel_open, "channel.open", AMQP_CHANNEL_OPEN)                                 \
    R(M, 20, 11, channel_open_ok, "channel.open-ok", AMQP_CHANNEL_OPEN_OK)                        \
    R(M, 20, 20, channel_flow, "channel.flow", AMQP_CHANNEL_FLOW)                                 \
    R(M, 20, 21, channel_flow_ok, "channel.flow-ok", AMQP_CHANNEL_FLOW)                           \
    R(M, 20, 40, channel_close, "channel.close", AMQP_CLOSE)                                      \
    R(M, 20, 41, channel_close_ok, "channel.close-ok", AMQP_NO_ARGUMENTS)                         \
    R(M, 30, 10, access_request, "access.request", AMQP_ACCESS_REQUEST)                           \
    R(M, 30, 11, access_request_ok, "access.request-ok", AMQP_ACCESS_REQUEST_OK)                  \
    R(M, 40, 10, exchange_declare, "exchange.declare", AMQP_EXCHANGE_DECLARE)                     \
    R(M, 40, 11, exchange_declare_ok, "exchange.declare-ok", AMQP_NO_ARGUMENTS)                   \
    R(M, 40, 20, exchange_delete, "exchange.delete", AMQP_EXCHANGE_DELETE)                        \
    R(M, 40, 21, exchange_delete_ok, "exchange.delete-ok", AMQP_NO_ARGUMENTS)                     \
    R(M, 40, 30, exchange_bind, "exchange.bind", AMQP_EXCHANGE_BIND)                              \
    R(M, 40, 31, exchange_bind_ok, "exchange.bind-ok", AMQP_NO_ARGUMENTS)                         \
    R(M, 40, 40, exchange_unbind, "exchange.unbind", AMQP_EXCHANGE_BIND)                          \
    R(M, 40, 51, exchange_unbind_ok, "exchange.unbind-ok", AMQP_NO_ARGUMENTS)                     \
    R(M, 50, 10, queue_declare, "queue.declare", AMQP_QUEUE_DECLARE)                              \
    R(M, 50, 11, queue_declare_ok, "queue.declare-ok", AMQP_QUEUE_DECLARE_OK)                     \
    R(M, 50, 20, queue_bind, "queue.bind", AMQP_QUEUE_BIND)                                       \
    R(M, 50, 21, queue_bind_ok, "queue.bind-ok", AMQP_NO_ARGUMENTS)                               \
    R(M, 50, 30, queue_purge, "queue.purge", AMQP_QUEUE_PURGE)                                    \
    R(M, 50, 31, queue_purge_ok, "queue.purge-ok", AMQP_MESSAGE_COUNT)                            \
    R(M, 50, 40, queue_delete, "queue.delete", AMQP_QUEUE_DELETE)                                 \
    R(M, 50, 41, queue_delete_ok, "queue.delete-ok", AMQP_MESSAGE_COUNT)                          \
    R(M, 50, 50, queue_unbind, "queue.unbind", AMQP_QUEUE_UNBIND)                                 \
    R(M, 50, 51, queue_unbind_ok, "queue.unbind-ok", AMQP_NO_ARGUMENTS)                           \
    R(M, 60, 10, basic_qos, "basic.qos", AMQP_BASIC_QOS)                                          \
    R(M, 60, 11, basic_qos_ok, "basic.qos-ok", AMQP_NO_ARGUMENTS)                                 \
    R(M, 60, 20, basic_consume, "basic.consume", AMQP_BASIC_CONSUME)                              \
    R(M, 60, 21, basic_consume_ok, "basic.consume-ok", AMQP_CONSUMER_TAG)                         \
    R(M, 60, 30, basic_cancel, "basic.cancel", AMQP_BASIC_CANCEL)                                 \
    R(M, 60, 31, basic_cancel_ok, "basic.cancel-ok", AMQP_CONSUMER_TAG)                           \
    R(M, 60, 40, basic_publish, "basic.publish", AMQP_BASIC_PUBLISH)                              \
    R(M, 60, 50, basic_return, "basic.return", AMQP_BASIC_RETURN)                                 \
    R(M, 60, 60, basic_deliver, "basic.deliver", AMQP_BASIC_DELIVER)                              \
    R(M, 60, 70, basic_get, "basic.get", AMQP_BASIC_GET)                                          \
    R(M, 60, 71, basic_get_ok, "basic.get-ok", AMQP_BASIC_GET_OK)                                 \
    R(M, 60, 72, basic_get_empty, "basic.get-empty", AMQP_BASIC_GET_EMPTY)                        \
    R(M, 60, 80, basic_ack, "basic.ack", AMQP_BASIC_ACK)                                          \
    R(M, 60, 90, basic_reject, "basic.reject", AMQP_BASIC_REJECT)                                 \
    R(M, 60, 100, basic_recover_async, "basic.recover-async", AMQP_BASIC_RECOVER)                 \
    R(M, 60, 110, basic_recover, "basic.recover", AMQP_BASIC_RECOVER)                             \
    R(M, 60, 111, basic_recover_ok, "basic.recover-ok", AMQP_NO_ARGUMENTS)                        \
    R(M, 60, 120, basic_nack, "basic.nack", AMQP_BASIC_NACK)                                      \
    R(M, 85, 10, confirm_select, "confirm.select", AMQP_CONFIRM_SELECT)                           \
    R(M, 85, 11, confirm_select_ok, "confirm.select-ok", AMQP_NO_ARGUMENTS)                       \
    R(M, 90, 10, tx_select, "tx.select", AMQP_NO_ARGUMENTS)                                       \
    R(M, 90, 11, tx_select_ok, "tx.select-ok", AMQP_NO_ARGUMENTS)                                 \
    R(M, 90, 20, tx_commit, "tx.commit", AMQP_NO_ARGUMENTS)                                       \
    R(M, 90, 21, tx_commit_ok, "tx.commit-ok", AMQP_NO_ARGUMENTS)                                 \
    R(M, 90, 30, tx_rollback, "tx.rollback", AMQP_NO_ARGUMENTS)                                   \
    R(M, 90, 31, tx_rollback_ok, "tx.rollback-ok", AMQP_NO_ARGUMENTS)

/* AMQP_METHODS(M): M(class-id, method-id, name, arguments) */
#define AMQP_ROW_OF_FOUR(M, c, m, name, spec_name, ARGUMENTS) M(c, m, name, ARGUMENTS)
#define AMQP_METHODS(M) AMQP_METHOD_ROWS(AMQP_ROW_OF_FOUR, M)

#define AMQP_METHOD_ID(class_id, method_id) ((uint32_t)(class_id) << 16 | (uint32_t)(method_id))

#define AMQP_AS_MEMBER(s, wire, name) AMQP_CTYPE_##wire name;
#define AMQP_AS_STRUCT(c, m, name, ARGUMENTS) \
    struct amqp_##name {                      \
        uint32_t id;                          \
        ARGUMENTS(AMQP_AS_MEMBER, name)       \
    };
AMQP_METHODS(AMQP_AS_STRUCT)
#undef AMQP_AS_STRUCT
#undef AMQP_AS_MEMBER

/* AMQP_ID_queue_declare: usable in `case` */
enum amqp_method_id {
#define AMQP_AS_ID(c, m, name, ARGUMENTS) AMQP_ID_##name = (c) << 16 | (m),
    AMQP_METHODS(AMQP_AS_ID)
#undef AMQP_AS_ID
};

/** union amqp_method - room for any method; `id` says which */
union amqp_method {
    uint32_t id;
#define AMQP_AS_UNION(c, m, name, ARGUMENTS) struct amqp_##name name;
    AMQP_METHODS(AMQP_AS_UNION)
#undef AMQP_AS_UNION
};

struct amqp_field {
    const char *name;
    enum amqp_wire wire;
    size_t offset; /* in the method's struct */
};

struct amqp_method_info {
    uint32_t id;
    const char *name; /* "queue.declare" */
    size_t n_fields;
    const struct amqp_field *fields;
};

/** amqp_method_find() - the description of a method, NULL for an unknown id; constant time */
const struct amqp_method_info *amqp_method_find(uint32_t id);

/**
 * amqp_method_decode() - decode the payload of a METHOD frame
 * @payload:     borrowed; at least 4 octets (the caller has refused less with 501 unknown_frame)
 * @ret_method:  set on success; its strings and tables borrow @payload; tables are checked
 * @err:         set on failure
 *
 * Return: 0; 503 for an id nobody knows ("unknown method (60,33)"); 501 when the arguments do not
 *         fill the payload exactly, or a table is malformed ("cannot decode <<...>>"), or a short
 *         string of a method without content is not UTF-8 ("Malformed UTF-8 in shortstr", method
 *         0); 502 when a table is nested or filled past its bounds.
 * Spec: 4.2.5; amqp-0-9-1.md 1.3.
 */
int amqp_method_decode(struct amqp_bytes payload, union amqp_method *ret_method,
                       struct amqp_error *err);

/** amqp_method_frame_size() - octets of the whole METHOD frame for a method struct */
size_t amqp_method_frame_size(const void *method);

/**
 * amqp_method_frame_encode() - write a whole METHOD frame
 * @method:  any method struct; its short strings have at most 255 octets
 * @at:      has room for amqp_method_frame_size()
 *
 * Return: the end of what was written.
 */
uint8_t *amqp_method_frame_encode(const void *method, uint16_t channel, uint8_t *at);

/**
 * amqp_method_print() - "queue.declare{queue='q', durable=true}" for logs and test failures
 *
 * Reserved fields, false bits and empty tables are left out; long strings, which may hold secrets,
 * show only their length; control characters are escaped.
 *
 * Return: the length of the text; cut to @size with a NUL.
 */
size_t amqp_method_print(const void *method, char *out, size_t size);

/** amqp_utf8_valid() - whether octets are UTF-8 (RFC 3629) */
bool amqp_utf8_valid(struct amqp_str str);

#endif
