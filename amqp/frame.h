/*
 * frame.h - finding whole frames in what has been received, and writing their edges
 *
 *   0      1         3             7                  7+size
 *   +------+---------+-------------+------------------+------+
 *   | type | channel | size        | payload          | 0xCE |
 *   +------+---------+-------------+------------------+------+
 */
#ifndef AMQP_FRAME_H
#define AMQP_FRAME_H

#include "amqp/base.h"
#include "amqp/reply.h"

enum amqp_frame_type {
    AMQP_FRAME_METHOD = 1,
    AMQP_FRAME_HEADER = 2,
    AMQP_FRAME_BODY = 3,
    AMQP_FRAME_HEARTBEAT = 8,
};

enum {
    AMQP_FRAME_HEAD_BYTES = 7,
    AMQP_FRAME_OVERHEAD_BYTES = 8,
    AMQP_FRAME_END = 0xCE,
    AMQP_PROTOCOL_HEADER_BYTES = 8,
};

struct amqp_frame {
    uint8_t type; /* as received: may be none of enum amqp_frame_type */
    uint16_t channel;
    struct amqp_bytes payload; /* borrowed from the scanned octets */
    size_t frame_bytes;        /* the whole frame, to advance by */
};

enum amqp_scan {
    AMQP_SCAN_FRAME,
    AMQP_SCAN_MORE,      /* octets are missing */
    AMQP_SCAN_OVERSIZED, /* the head announces more than allowed: answered with 501 */
    AMQP_SCAN_BAD_END,   /* the end octet is wrong: answered with 501 */
};

/**
 * amqp_frame_scan() - find one whole frame at the start of a byte range
 * @received:           borrowed, unchanged
 * @payload_max_bytes:  largest payload to accept; 0 for no limit
 * @ret_frame:          set on AMQP_SCAN_FRAME; on OVERSIZED and BAD_END for the error text: type,
 *                      channel, payload (none of it when oversized, as in RabbitMQ's text) and
 *                      frame_bytes, which is 8 more than the size announced; on MORE only
 *                      frame_bytes: how many octets the frame needs in all (7 while the head is
 *                      incomplete)
 *
 * Spec: 4.2.3; errata 29 (heartbeat frames have type 8, not 4).
 */
enum amqp_scan amqp_frame_scan(struct amqp_bytes received, uint32_t payload_max_bytes,
                               struct amqp_frame *ret_frame);

/**
 * amqp_frame_raise() - the 501 or 505 text of RabbitMQ for a frame that is wrong as such
 * @code:    AMQP_FRAME_ERROR or AMQP_UNEXPECTED_FRAME
 * @frame:   type and payload are quoted: "type 4, all octets = <<"abc">>", or "first 16 octets ="
 * @reason:  after ": ", e.g. "unknown_frame", "{invalid_frame_end_marker,0}"; NULL for none
 *
 * Return: @code; the error's method_id is 0.
 */
int amqp_frame_raise(struct amqp_error *err, int code, const struct amqp_frame *frame,
                     const char *reason);

/**
 * amqp_octets_print() - octets as RabbitMQ prints them: <<"abc">>, else <<0,60,0,10>>
 *
 * Where it prints Latin-1 letters or breaks lines, we print numbers on one line: a text is UTF-8.
 *
 * @out, @size:  receives text and a NUL; cut where it does not fit
 *
 * Return: the length of the text, without NUL.
 */
size_t amqp_octets_print(struct amqp_bytes octets, char *out, size_t size);

/** amqp_frame_begin() - write the 7 octets before a payload; returns the end of them */
static inline uint8_t *amqp_frame_begin(uint8_t *at, uint8_t type, uint16_t channel,
                                        uint32_t payload_bytes)
{
    at[0] = type;
    at[1] = (uint8_t)(channel >> 8);
    at[2] = (uint8_t)channel;
    at[3] = (uint8_t)(payload_bytes >> 24);
    at[4] = (uint8_t)(payload_bytes >> 16);
    at[5] = (uint8_t)(payload_bytes >> 8);
    at[6] = (uint8_t)payload_bytes;
    return at + AMQP_FRAME_HEAD_BYTES;
}

#endif
