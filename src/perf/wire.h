/*
 * wire.h - just enough AMQP 0-9-1 to load a broker, at very little cost
 *
 * The programs in this folder measure brokers, so they must not share code with one: a mistake
 * in a common codec would cancel itself out, and a codec made to be complete costs more than a
 * measurement can bear. What is here writes frames into a growing buffer, finds frames in bytes
 * received, and talks to a broker in blocking request-and-answer style while a run is set up and
 * torn down. The hot paths live in flow.c, which takes the descriptor over.
 *
 * Failure has one form: wire_fail() says why on standard error and leaves with status 1. A load
 * program that limps on after an error reports figures that nobody should see.
 */
#ifndef PERF_WIRE_H
#define PERF_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { WIRE_METHOD = 1, WIRE_HEADER = 2, WIRE_BODY = 3, WIRE_HEARTBEAT = 8, WIRE_END = 0xCE };
enum { WIRE_OVERHEAD = 8 }; /* type, channel, size before the payload; end octet after it */

#define WIRE_ID(class_id, method_id) ((uint32_t)(class_id) << 16 | (uint32_t)(method_id))

enum wire_method {
    CONNECTION_START = WIRE_ID(10, 10),
    CONNECTION_START_OK = WIRE_ID(10, 11),
    CONNECTION_TUNE = WIRE_ID(10, 30),
    CONNECTION_TUNE_OK = WIRE_ID(10, 31),
    CONNECTION_OPEN = WIRE_ID(10, 40),
    CONNECTION_OPEN_OK = WIRE_ID(10, 41),
    CONNECTION_CLOSE = WIRE_ID(10, 50),
    CONNECTION_CLOSE_OK = WIRE_ID(10, 51),
    CONNECTION_BLOCKED = WIRE_ID(10, 60),
    CONNECTION_UNBLOCKED = WIRE_ID(10, 61),
    CHANNEL_OPEN = WIRE_ID(20, 10),
    CHANNEL_OPEN_OK = WIRE_ID(20, 11),
    CHANNEL_FLOW = WIRE_ID(20, 20),
    CHANNEL_CLOSE = WIRE_ID(20, 40),
    CHANNEL_CLOSE_OK = WIRE_ID(20, 41),
    EXCHANGE_DECLARE = WIRE_ID(40, 10),
    EXCHANGE_DECLARE_OK = WIRE_ID(40, 11),
    EXCHANGE_DELETE = WIRE_ID(40, 20),
    EXCHANGE_DELETE_OK = WIRE_ID(40, 21),
    QUEUE_DECLARE = WIRE_ID(50, 10),
    QUEUE_DECLARE_OK = WIRE_ID(50, 11),
    QUEUE_BIND = WIRE_ID(50, 20),
    QUEUE_BIND_OK = WIRE_ID(50, 21),
    QUEUE_UNBIND = WIRE_ID(50, 50),
    QUEUE_UNBIND_OK = WIRE_ID(50, 51),
    QUEUE_DELETE = WIRE_ID(50, 40),
    QUEUE_DELETE_OK = WIRE_ID(50, 41),
    BASIC_QOS = WIRE_ID(60, 10),
    BASIC_QOS_OK = WIRE_ID(60, 11),
    BASIC_CONSUME = WIRE_ID(60, 20),
    BASIC_CONSUME_OK = WIRE_ID(60, 21),
    BASIC_CANCEL = WIRE_ID(60, 30),
    BASIC_PUBLISH = WIRE_ID(60, 40),
    BASIC_RETURN = WIRE_ID(60, 50),
    BASIC_DELIVER = WIRE_ID(60, 60),
    BASIC_ACK = WIRE_ID(60, 80),
    BASIC_NACK = WIRE_ID(60, 120),
    CONFIRM_SELECT = WIRE_ID(85, 10),
    CONFIRM_SELECT_OK = WIRE_ID(85, 11),
};

struct wire_buf {
    uint8_t *data;
    size_t size, capacity;
};

struct wire_frame {
    uint8_t type;
    uint16_t channel;
    uint32_t size; /* of the payload */
    const uint8_t *payload;
};

enum wire_scan { WIRE_SCAN_FRAME, WIRE_SCAN_MORE, WIRE_SCAN_BAD };

static inline uint16_t wire_get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t wire_get32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof value);
    return __builtin_bswap32(value);
}

static inline uint64_t wire_get64(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof value);
    return __builtin_bswap64(value);
}

static inline void wire_set32(uint8_t *at, uint32_t value)
{
    value = __builtin_bswap32(value);
    memcpy(at, &value, sizeof value);
}

static inline void wire_set64(uint8_t *at, uint64_t value)
{
    value = __builtin_bswap64(value);
    memcpy(at, &value, sizeof value);
}

/**
 * wire_scan() - find one whole frame at the start of a byte range
 * @at, @size:  bytes received so far; borrowed
 * @ret_frame:  set on WIRE_SCAN_FRAME only; its payload points into @at
 */
static inline enum wire_scan wire_scan(const uint8_t *at, size_t size, struct wire_frame *ret_frame)
{
    uint32_t payload_size;

    if (size < WIRE_OVERHEAD)
        return WIRE_SCAN_MORE;
    payload_size = wire_get32(at + 3);
    if (size - WIRE_OVERHEAD < payload_size)
        return WIRE_SCAN_MORE;
    if (at[7 + (size_t)payload_size] != WIRE_END)
        return WIRE_SCAN_BAD;
    ret_frame->type = at[0];
    ret_frame->channel = wire_get16(at + 1);
    ret_frame->size = payload_size;
    ret_frame->payload = at + 7;
    return WIRE_SCAN_FRAME;
}

/**
 * wire_fail() - print "PROGRAM: ..." and leave with status 1
 *
 * Functions registered with atexit() run, so what was declared on the broker is removed. A
 * failure inside such a function ends the process at once.
 */
void wire_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Appending to a buffer; the memory is the buffer's, freed by wire_buf_release(). */
void wire_reserve(struct wire_buf *buf, size_t extra);
void wire_put8(struct wire_buf *buf, unsigned value);
void wire_put16(struct wire_buf *buf, unsigned value);
void wire_put32(struct wire_buf *buf, uint32_t value);
void wire_put64(struct wire_buf *buf, uint64_t value);
void wire_put_shortstr(struct wire_buf *buf, const char *text);
void wire_put_longstr(struct wire_buf *buf, const void *bytes, size_t size);
void wire_buf_release(struct wire_buf *buf);

/**
 * wire_begin() - open a frame; wire_end() closes it and fills its size in
 * @start:  what wire_begin() returned
 */
size_t wire_begin(struct wire_buf *buf, unsigned type, unsigned channel);
size_t wire_begin_method(struct wire_buf *buf, unsigned channel, uint32_t method);
void wire_end(struct wire_buf *buf, size_t start);

/**
 * wire_put_message() - append basic.publish with its header and body frames
 * @body, @body_size:  borrowed; split into frames of at most @frame_max bytes
 */
struct wire_message {
    const char *exchange, *routing_key;
    const uint8_t *body;
    size_t body_size;
    const char *expiration;         /* NULL for none */
    int priority;                   /* negative for none */
    const struct wire_buf *headers; /* a table's fields; NULL for none */
    bool persistent, mandatory;
};
void wire_put_message(struct wire_buf *buf, const struct wire_message *message, uint32_t frame_max);

/**
 * wire_describe_close() - the code and text of a channel.close or connection.close
 * @ret_text:  always set to a terminated string
 */
void wire_describe_close(const struct wire_frame *frame, char *ret_text, size_t text_size);

/* A connection in blocking style. Bytes received and not yet used stay in @in. */
struct client {
    int fd;
    uint32_t frame_max;
    struct wire_buf in, out;
    size_t in_at; /* first byte of in that was not used yet */
    char product[64], version[64], platform[64]; /* of the broker, as it says; "" if it does not */
};

struct client_address {
    const char *host, *user, *password, *vhost;
    unsigned port, timeout_s;
};

/**
 * client_open() - connect, log in, open the vhost and channel 1
 *
 * Every wait is bounded by the address's timeout_s. Refusals end the process (wire_fail()).
 */
void client_open(struct client *client, const struct client_address *address);

/** client_flush() - write what the out buffer holds and empty it */
void client_flush(struct client *client);

/**
 * client_expect() - read until a given method arrives
 * @ret_frame:  the frame, valid until the next call; may be NULL
 *
 * Heartbeats and connection.blocked are passed over; any other method, and a close above all,
 * ends the process.
 */
void client_expect(struct client *client, uint32_t method, struct wire_frame *ret_frame);

/** client_call() - flush, then client_expect() without looking at the answer */
void client_call(struct client *client, uint32_t answer);

/* One request each, appended to the out buffer; the caller flushes and awaits the answer. */
struct wire_queue { /* what queue.declare says beside the name */
    bool durable, exclusive, auto_delete;
    struct wire_buf arguments; /* a table's fields */
};
void client_put_queue_declare(struct client *client, const char *queue,
                              const struct wire_queue *kind);
void client_put_queue_bind(struct client *client, const char *queue, const char *exchange,
                           const char *routing_key);
void client_put_queue_unbind(struct client *client, const char *queue, const char *exchange,
                             const char *routing_key);
void client_put_queue_delete(struct client *client, const char *queue);
void client_put_exchange_declare(struct client *client, const char *exchange, const char *type,
                                 bool durable);
void client_put_exchange_delete(struct client *client, const char *exchange);
void client_put_consume(struct client *client, const char *queue, bool no_ack);
void client_put_qos(struct client *client, unsigned prefetch_count);
void client_put_confirm_select(struct client *client);
void client_put_channel_open(struct client *client, unsigned channel);
void client_put_channel_close(struct client *client, unsigned channel);

/** client_close_channel() - channel.close and its answer; deliveries under way are dropped */
void client_close_channel(struct client *client);

/** client_close() - say connection.close, await the answer, free everything */
void client_close(struct client *client);

#endif
