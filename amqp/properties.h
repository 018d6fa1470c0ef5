/*
 * properties.h - the content header of class basic
 *
 *   0       2        4           12      14
 *   +-------+--------+-----------+-------+----------------------+
 *   | class | weight | body size | flags | values of set flags  |
 *   +-------+--------+-----------+-------+----------------------+
 *                                 `------ raw properties -------'
 *
 * The raw properties (flags and values) are kept with the message as they came and are sent again
 * octet for octet. They are checked once, and the places of what the broker itself asks for are
 * noted on the way.
 */
#ifndef AMQP_PROPERTIES_H
#define AMQP_PROPERTIES_H

#include "amqp/base.h"
#include "amqp/reply.h"
#include "amqp/table.h"

enum {
    AMQP_PROPERTY_CONTENT_TYPE = 0x8000,
    AMQP_PROPERTY_CONTENT_ENCODING = 0x4000,
    AMQP_PROPERTY_HEADERS = 0x2000,
    AMQP_PROPERTY_DELIVERY_MODE = 0x1000,
    AMQP_PROPERTY_PRIORITY = 0x0800,
    AMQP_PROPERTY_CORRELATION_ID = 0x0400,
    AMQP_PROPERTY_REPLY_TO = 0x0200,
    AMQP_PROPERTY_EXPIRATION = 0x0100,
    AMQP_PROPERTY_MESSAGE_ID = 0x0080,
    AMQP_PROPERTY_TIMESTAMP = 0x0040,
    AMQP_PROPERTY_TYPE = 0x0020,
    AMQP_PROPERTY_USER_ID = 0x0010,
    AMQP_PROPERTY_APP_ID = 0x0008,
    AMQP_PROPERTY_CLUSTER_ID = 0x0004,
    AMQP_CONTENT_HEAD_BYTES = 12, /* class, weight, body size */
    AMQP_CLASS_BASIC = 60,
};

/** struct amqp_properties - all of them decoded; strings borrow the raw octets */
struct amqp_properties {
    uint16_t flags; /* which of the members below are set */
    uint8_t delivery_mode;
    uint8_t priority;
    uint64_t timestamp;
    struct amqp_str content_type;
    struct amqp_str content_encoding;
    struct amqp_table headers;
    struct amqp_str correlation_id;
    struct amqp_str reply_to;
    struct amqp_str expiration;
    struct amqp_str message_id;
    struct amqp_str type;
    struct amqp_str user_id;
    struct amqp_str app_id;
    struct amqp_str cluster_id;
};

/**
 * amqp_properties_decode() - check and decode raw properties (flags and values)
 * @raw:             borrowed; must be used up exactly
 * @ret_properties:  set on success only; borrows @raw
 *
 * The headers table is checked as well. Bits 0 and 1 of the flags are ignored.
 * Cheap for the usual message: flags 0, or delivery-mode alone.
 *
 * Return: 0; AMQP_FRAME_ERROR or AMQP_SYNTAX_ERROR, without text.
 */
int amqp_properties_decode(struct amqp_bytes raw, struct amqp_properties *ret_properties);

/** amqp_properties_size() - octets that amqp_properties_encode() writes */
size_t amqp_properties_size(const struct amqp_properties *properties);

/** amqp_properties_encode() - write flags and values; returns the end; room by contract */
uint8_t *amqp_properties_encode(const struct amqp_properties *properties, uint8_t *at);

#endif
