/*
 * fuzz_frame.c - the frame scanner: a stream gives the same frames however it is cut
 *
 * Input: a little-endian 16-bit payload limit (0 for none), then the stream. Each frame is found
 * again from one octet less and from exactly its own octets.
 */
#include <assert.h>
#include <stdlib.h>

#include "amqp/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_prefixes(struct amqp_bytes received, uint32_t max, const struct amqp_frame *frame)
{
    struct amqp_frame again;
    enum amqp_scan scan;

    assert(frame->frame_bytes == frame->payload.size + AMQP_FRAME_OVERHEAD_BYTES);
    assert(frame->frame_bytes <= received.size);
    assert(max == 0 || frame->payload.size <= max);
    received.size = frame->frame_bytes;
    scan = amqp_frame_scan(received, max, &again);
    assert(scan == AMQP_SCAN_FRAME);
    assert(again.payload.data == frame->payload.data);
    received.size = frame->frame_bytes - 1;
    scan = amqp_frame_scan(received, max, &again);
    assert(scan == AMQP_SCAN_MORE);
    assert(again.frame_bytes == frame->frame_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct amqp_bytes left;
    struct amqp_frame frame;
    struct amqp_error err;
    enum amqp_scan scan;
    uint32_t max;

    if (size < 2)
        return 0;
    max = (uint32_t)(data[0] | data[1] << 8);
    left = (struct amqp_bytes){ data + 2, size - 2 };
    while ((scan = amqp_frame_scan(left, max, &frame)) == AMQP_SCAN_FRAME) {
        check_prefixes(left, max, &frame);
        amqp_frame_raise(&err, AMQP_UNEXPECTED_FRAME, &frame, NULL);
        left.data += frame.frame_bytes;
        left.size -= frame.frame_bytes;
    }
    if (scan == AMQP_SCAN_MORE)
        assert(frame.frame_bytes > left.size);
    else
        amqp_frame_raise(&err, AMQP_FRAME_ERROR, &frame, "fuzz");
    return 0;
}
