/*
 * test_frame.c - the frame scanner over any split of its input, and the texts for bad frames
 */
#include "amqp/frame.h"
#include "amqp/wire.h"
#include "sample.h"
#include "unit.h"

/* heartbeat, channel.open, basic.ack, an empty body, a body of octets that look like frame ends */
static size_t build_stream(uint8_t *at)
{
    struct amqp_channel_open open = { .id = AMQP_ID_channel_open };
    struct amqp_basic_ack ack = { .id = AMQP_ID_basic_ack, .delivery_tag = 1 };
    uint8_t *start = at;

    at = wire_store8(amqp_frame_begin(at, AMQP_FRAME_HEARTBEAT, 0, 0), AMQP_FRAME_END);
    at = amqp_method_frame_encode(&open, 1, at);
    at = amqp_method_frame_encode(&ack, 65535, at);
    at = wire_store8(amqp_frame_begin(at, AMQP_FRAME_BODY, 7, 0), AMQP_FRAME_END);
    at = amqp_frame_begin(at, AMQP_FRAME_BODY, 7, 20);
    memset(at, AMQP_FRAME_END, 21);
    return (size_t)(at + 21 - start);
}

static const struct {
    uint8_t type;
    uint16_t channel;
    size_t payload_bytes;
} stream_frame[] = {
    { AMQP_FRAME_HEARTBEAT, 0, 0 }, { AMQP_FRAME_METHOD, 1, 5 }, { AMQP_FRAME_METHOD, 65535, 13 },
    { AMQP_FRAME_BODY, 7, 0 },      { AMQP_FRAME_BODY, 7, 20 },
};

/* An exact copy on the heap, so that the sanitizer sees a read past the end. */
static enum amqp_scan scan_copy(const uint8_t *data, size_t size, uint32_t max_bytes,
                                struct amqp_frame *ret_frame)
{
    uint8_t *copy = malloc(size ? size : 1);
    enum amqp_scan scan;

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, data, size);
    scan = amqp_frame_scan((struct amqp_bytes){ copy, size }, max_bytes, ret_frame);
    free(copy);
    return scan;
}

START_TEST(test_frames_are_written_as_in_the_reference)
{
    static const uint8_t heartbeat[] = { 8, 0, 0, 0, 0, 0, 0, 0xCE };
    static const uint8_t channel_open[] = { 1, 0, 1, 0, 0, 0, 5, 0, 0x14, 0, 0x0A, 0, 0xCE };
    uint8_t stream[128];

    build_stream(stream);
    ck_assert_mem_eq(stream, heartbeat, sizeof heartbeat);
    ck_assert_mem_eq(stream + sizeof heartbeat, channel_open, sizeof channel_open);
}
END_TEST

START_TEST(test_stream_gives_its_frames_however_far_it_has_come)
{
    uint8_t stream[128];
    size_t size = build_stream(stream);

    for (size_t received = 0; received <= size; received++) {
        struct amqp_frame frame;
        size_t at = 0, n = 0;

        while (scan_copy(stream + at, received - at, 0, &frame) == AMQP_SCAN_FRAME) {
            ck_assert_uint_eq(frame.type, stream_frame[n].type);
            ck_assert_uint_eq(frame.channel, stream_frame[n].channel);
            ck_assert_uint_eq(frame.payload.size, stream_frame[n].payload_bytes);
            ck_assert_uint_eq(frame.frame_bytes, frame.payload.size + AMQP_FRAME_OVERHEAD_BYTES);
            at += frame.frame_bytes;
            n++;
        }
        ck_assert_uint_le(at, received);
        if (received == size)
            ck_assert_uint_eq(n, N_ELEMENTS(stream_frame));
        else
            ck_assert_uint_lt(received - at, frame.frame_bytes);
    }
}
END_TEST

START_TEST(test_incomplete_frame_says_how_many_octets_it_needs)
{
    uint8_t octets[8 + 5];
    struct amqp_frame frame;

    memset(octets, 0, sizeof octets);
    wire_store8(amqp_frame_begin(octets, AMQP_FRAME_BODY, 1, 5) + 5, AMQP_FRAME_END);
    for (size_t size = 0; size < sizeof octets; size++) {
        ck_assert_int_eq(scan_copy(octets, size, 4096, &frame), AMQP_SCAN_MORE);
        ck_assert_uint_eq(frame.frame_bytes, size < 7 ? 7 : sizeof octets);
    }
    ck_assert_int_eq(scan_copy(octets, sizeof octets, 4096, &frame), AMQP_SCAN_FRAME);
}
END_TEST

START_TEST(test_payload_lies_in_the_scanned_octets)
{
    uint8_t stream[128];
    size_t size = build_stream(stream);
    struct amqp_frame frame;

    amqp_frame_scan((struct amqp_bytes){ stream + 8, size - 8 }, 0, &frame);
    ck_assert_ptr_eq(frame.payload.data, stream + 8 + AMQP_FRAME_HEAD_BYTES);
}
END_TEST

static const struct {
    uint32_t announced, max_bytes;
    enum amqp_scan scan;
} size_case[] = {
    { 4096, 4096, AMQP_SCAN_MORE },           { 4097, 4096, AMQP_SCAN_OVERSIZED },
    { 131072, 131072, AMQP_SCAN_MORE },       { 131073, 131072, AMQP_SCAN_OVERSIZED },
    { UINT32_MAX, 131072, AMQP_SCAN_OVERSIZED }, { UINT32_MAX, UINT32_MAX, AMQP_SCAN_MORE },
    { UINT32_MAX, 0, AMQP_SCAN_MORE },        { 0, 1, AMQP_SCAN_MORE },
};

START_TEST(test_announced_size_is_refused_before_its_octets_come)
{
    uint8_t head[AMQP_FRAME_HEAD_BYTES];
    struct amqp_frame frame;

    amqp_frame_begin(head, AMQP_FRAME_BODY, 3, size_case[_i].announced);
    ck_assert_int_eq(scan_copy(head, sizeof head, size_case[_i].max_bytes, &frame),
                     size_case[_i].scan);
    ck_assert_uint_eq(frame.frame_bytes, (size_t)size_case[_i].announced + 8);
    if (size_case[_i].scan == AMQP_SCAN_OVERSIZED) {
        ck_assert_uint_eq(frame.type, AMQP_FRAME_BODY);
        ck_assert_uint_eq(frame.channel, 3);
        ck_assert_uint_eq(frame.payload.size, 0);
    }
}
END_TEST

START_TEST(test_wrong_end_octet_is_found_and_the_payload_quotable)
{
    uint8_t octets[8 + 3] = { 0 };
    struct amqp_frame frame;

    memcpy(amqp_frame_begin(octets, AMQP_FRAME_METHOD, 2, 3), "abc", 3);
    for (unsigned end = 0; end <= 255; end++) {
        octets[10] = (uint8_t)end;
        ck_assert_int_eq(amqp_frame_scan((struct amqp_bytes){ octets, 11 }, 100, &frame),
                         end == AMQP_FRAME_END ? AMQP_SCAN_FRAME : AMQP_SCAN_BAD_END);
        ck_assert_uint_eq(frame.payload.size, 3);
        ck_assert_mem_eq(frame.payload.data, "abc", 3);
        ck_assert_uint_eq(frame.channel, 2);
    }
}
END_TEST

static const struct {
    int code;
    uint8_t type;
    const char *payload;
    size_t size;
    const char *reason;
    const char *text;
} raise_case[] = {
    { AMQP_FRAME_ERROR, 4, "abc", 3, "unknown_frame",
      "FRAME_ERROR - type 4, all octets = <<\"abc\">>: unknown_frame" },
    { AMQP_FRAME_ERROR, 1, "\0<", 2, "unknown_frame",
      "FRAME_ERROR - type 1, all octets = <<0,60>>: unknown_frame" },
    { AMQP_FRAME_ERROR, 1, "\0<\0\n\0\0\0\0\0\1\0", 11, "{invalid_frame_end_marker,0}",
      "FRAME_ERROR - type 1, all octets = <<0,60,0,10,0,0,0,0,0,1,0>>: "
      "{invalid_frame_end_marker,0}" },
    { AMQP_FRAME_ERROR, 3, "", 0, "{frame_too_large,131073,131064}",
      "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,131073,131064}" },
    { AMQP_UNEXPECTED_FRAME, 8, "", 0, NULL, "UNEXPECTED_FRAME - type 8, all octets = <<>>" },
    { AMQP_UNEXPECTED_FRAME, 3, "0123456789abcdef", 16, NULL,
      "UNEXPECTED_FRAME - type 3, all octets = <<\"0123456789abcdef\">>" },
    { AMQP_UNEXPECTED_FRAME, 3, "0123456789abcdefg", 17, NULL,
      "UNEXPECTED_FRAME - type 3, first 16 octets = <<\"0123456789abcdef\">>" },
    { AMQP_FRAME_ERROR, 4,
      "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 17, "unknown_frame",
      "FRAME_ERROR - type 4, first 16 octets = <<255,255,255,255,255,255,255,255,255,255,255,255,"
      "255,255,255,255>>: unknown_frame" },
};

START_TEST(test_bad_frames_are_described_as_rabbitmq_does)
{
    struct amqp_frame frame = { .type = raise_case[_i].type,
                                .payload = { (const uint8_t *)raise_case[_i].payload,
                                             raise_case[_i].size } };
    struct amqp_error err;

    ck_assert_int_eq(amqp_frame_raise(&err, raise_case[_i].code, &frame, raise_case[_i].reason),
                     raise_case[_i].code);
    ck_assert_str_eq(err.text, raise_case[_i].text);
    ck_assert_int_eq(err.code, raise_case[_i].code);
    ck_assert_uint_eq(err.method_id, 0);
    ck_assert(err.hard);
}
END_TEST

static const struct {
    const char *octets;
    size_t size;
    const char *text;
} print_case[] = {
    { "", 0, "<<>>" },
    { "abc", 3, "<<\"abc\">>" },
    { "a\"b\\c", 5, "<<\"a\\\"b\\\\c\">>" },
    { "abc\n\t\r\b\v\f\x1b", 10, "<<\"abc\\n\\t\\r\\b\\v\\f\\e\">>" },
    { "\x7f", 1, "<<127>>" },
    { "ab\xc3\xa9", 4, "<<97,98,195,169>>" },
    { "a\0b", 3, "<<97,0,98>>" },
};

START_TEST(test_octets_print_as_text_or_numbers)
{
    struct amqp_bytes octets = { (const uint8_t *)print_case[_i].octets, print_case[_i].size };
    char text[64];

    ck_assert_uint_eq(amqp_octets_print(octets, text, sizeof text), strlen(print_case[_i].text));
    ck_assert_str_eq(text, print_case[_i].text);
}
END_TEST

START_TEST(test_octets_print_cuts_at_any_size)
{
    struct amqp_bytes octets = { (const uint8_t *)"a\0bc", 4 };
    static const char whole[] = "<<97,0,98,99>>";

    for (size_t size = 1; size <= sizeof whole; size++) {
        char *text = malloc(size);

        ck_assert_ptr_nonnull(text);
        ck_assert_uint_eq(amqp_octets_print(octets, text, size), size - 1);
        ck_assert_uint_eq(strlen(text), size - 1);
        ck_assert_mem_eq(text, whole, size - 1);
        free(text);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("frame");
    TCase *scan = tcase_create("scan"), *texts = tcase_create("texts");

    tcase_add_test(scan, test_frames_are_written_as_in_the_reference);
    tcase_add_test(scan, test_stream_gives_its_frames_however_far_it_has_come);
    tcase_add_test(scan, test_incomplete_frame_says_how_many_octets_it_needs);
    tcase_add_test(scan, test_payload_lies_in_the_scanned_octets);
    tcase_add_loop_test(scan, test_announced_size_is_refused_before_its_octets_come, 0,
                        N_ELEMENTS(size_case));
    tcase_add_test(scan, test_wrong_end_octet_is_found_and_the_payload_quotable);
    suite_add_tcase(suite, scan);
    tcase_add_loop_test(texts, test_bad_frames_are_described_as_rabbitmq_does, 0,
                        N_ELEMENTS(raise_case));
    tcase_add_loop_test(texts, test_octets_print_as_text_or_numbers, 0, N_ELEMENTS(print_case));
    tcase_add_test(texts, test_octets_print_cuts_at_any_size);
    suite_add_tcase(suite, texts);
    return unit_run(suite);
}
