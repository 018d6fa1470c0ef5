/*
 * fuzz_method.c - the method decoder: what it takes, the encoder gives back
 *
 * Input: the payload of a METHOD frame. Unused bits are the one thing that encoding loses, so what
 * is compared is the second encoding with the first.
 */
#include <assert.h>
#include <stdlib.h>

#include "amqp/frame.h"
#include "amqp/method.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const union amqp_method *method, size_t payload_bytes)
{
    size_t size = amqp_method_frame_size(method);
    uint8_t *first = malloc(size), *second = malloc(size);
    union amqp_method again;
    struct amqp_frame frame;
    struct amqp_error err;
    enum amqp_scan scan;
    uint8_t *end;
    int rc;

    assert(first && second);
    assert(size == payload_bytes + AMQP_FRAME_OVERHEAD_BYTES);
    end = amqp_method_frame_encode(method, 1, first);
    assert(end == first + size);
    scan = amqp_frame_scan((struct amqp_bytes){ first, size }, 0, &frame);
    assert(scan == AMQP_SCAN_FRAME);
    rc = amqp_method_decode(frame.payload, &again, &err);
    assert(rc == 0);
    end = amqp_method_frame_encode(&again, 1, second);
    assert(end == second + size);
    assert(memcmp(first, second, size) == 0);
    free(first);
    free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    union amqp_method method;
    struct amqp_error err;
    char text[256];
    int rc;

    if (size < 4)
        return 0;
    rc = amqp_method_decode((struct amqp_bytes){ data, size }, &method, &err);
    if (rc) {
        assert(rc == err.code);
        assert(amqp_reply_is_hard(rc));
        assert(amqp_utf8_valid(amqp_str_from(err.text)));
        return 0;
    }
    amqp_method_print(&method, text, sizeof text);
    check_round_trip(&method, size);
    return 0;
}
