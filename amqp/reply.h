/*
 * reply.h - reply codes, and how a handler raises one
 *
 * A positive return value is always one of these codes: the peer's fault, answered with
 * channel.close or connection.close. Negative values are -errno and concern the machine.
 */
#ifndef AMQP_REPLY_H
#define AMQP_REPLY_H

#include "amqp/base.h"
#include "amqp/bounds.h"

/* R(code, NAME, closes the connection) - spec 1.1 constants, plus RabbitMQ's use of them */
#define AMQP_REPLIES(R)            \
    R(311, CONTENT_TOO_LARGE, 0)   \
    R(312, NO_ROUTE, 0)            \
    R(313, NO_CONSUMERS, 0)        \
    R(320, CONNECTION_FORCED, 1)   \
    R(402, INVALID_PATH, 1)        \
    R(403, ACCESS_REFUSED, 0)      \
    R(404, NOT_FOUND, 0)           \
    R(405, RESOURCE_LOCKED, 0)     \
    R(406, PRECONDITION_FAILED, 0) \
    R(501, FRAME_ERROR, 1)         \
    R(502, SYNTAX_ERROR, 1)        \
    R(503, COMMAND_INVALID, 1)     \
    R(504, CHANNEL_ERROR, 1)       \
    R(505, UNEXPECTED_FRAME, 1)    \
    R(506, RESOURCE_ERROR, 1)      \
    R(530, NOT_ALLOWED, 1)         \
    R(540, NOT_IMPLEMENTED, 1)     \
    R(541, INTERNAL_ERROR, 1)

enum amqp_reply {
    AMQP_REPLY_SUCCESS = 200,
#define AMQP_REPLY_ENUM(code, name, hard) AMQP_##name = (code),
    AMQP_REPLIES(AMQP_REPLY_ENUM)
#undef AMQP_REPLY_ENUM
};

/**
 * struct amqp_error - what is told to the peer: code, text, and the method that failed
 *
 * `hard` closes the connection even where the code alone would close a channel (a 403 during
 * login). `method_id` is class << 16 | method, or 0 where no method is known; the dispatcher
 * fills it in when a handler leaves AMQP_ERROR_METHOD_UNSET.
 */
struct amqp_error {
    int code;
    bool hard;
    uint32_t method_id;
    char text[BOUND_REPLY_TEXT_BYTES + 1];
};

#define AMQP_ERROR_METHOD_UNSET UINT32_MAX

/**
 * amqp_raise() - describe the peer's mistake
 * @err:     filled in: the text becomes "NAME - explanation", cut at 255 octets as RabbitMQ does
 *           (252 and "..."), never inside a UTF-8 character; method_id is AMQP_ERROR_METHOD_UNSET
 * @code:    one of enum amqp_reply
 * @format:  the explanation; NULL for the bare name
 *
 * Return: @code, so that a handler can `return amqp_raise(...)`.
 */
int amqp_raise(struct amqp_error *err, int code, const char *format, ...) PRINTF_LIKE(3, 4);

/** amqp_reply_name() - "NOT_FOUND" for 404; NULL for an unknown code */
const char *amqp_reply_name(int code);

/** amqp_reply_is_hard() - whether the code closes the connection, not only the channel */
bool amqp_reply_is_hard(int code);

#endif
