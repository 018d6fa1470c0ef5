/*
 * test_output.c - the output chain: order, references, pool, and a transport that takes little
 */
#include <errno.h>
#include <stdlib.h>

#include "server/output.h"
#include "tests/unit/unit.h"

enum { SINK_BYTES = 4 * 1024 * 1024, BIG_BYTES = 300000 };

/* A transport that keeps what is written, as far as it is allowed to. */
struct sink {
    struct transport transport;
    uint8_t *octets;
    size_t size;
    size_t takes_once;  /* at most so many a call */
    size_t takes_still; /* then -EAGAIN */
    int error;          /* after that, instead of -EAGAIN */
    unsigned calls;
    unsigned most_parts;
};

static struct sink sink;
static struct output_pool pool;
static struct output output;
static uint8_t *expected;
static size_t expected_size;

static ssize_t sink_writev(struct transport *transport, const struct iovec *parts, int n_parts)
{
    size_t most = sink.takes_once < sink.takes_still ? sink.takes_once : sink.takes_still;
    size_t taken = 0;

    ck_assert_ptr_eq(transport, &sink.transport);
    sink.calls++;
    if (!most)
        return sink.error ? sink.error : -EAGAIN;
    if ((unsigned)n_parts > sink.most_parts)
        sink.most_parts = (unsigned)n_parts;
    for (int i = 0; i < n_parts && taken < most; i++) {
        size_t part = parts[i].iov_len < most - taken ? parts[i].iov_len : most - taken;

        ck_assert_uint_gt(parts[i].iov_len, 0);
        memcpy(sink.octets + sink.size, parts[i].iov_base, part);
        sink.size += part;
        taken += part;
    }
    sink.takes_still -= taken;
    return (ssize_t)taken;
}

static const struct transport_ops sink_ops = { .writev = sink_writev };

static void setup(void)
{
    sink = (struct sink){ .transport.ops = &sink_ops,
                          .takes_once = SIZE_MAX,
                          .takes_still = SIZE_MAX,
                          .octets = malloc(SINK_BYTES) };
    expected = malloc(SINK_BYTES);
    expected_size = 0;
    pool = (struct output_pool){ 0 };
    output_init(&output, &pool);
}

static void teardown(void)
{
    output_clear(&output);
    output_pool_release(&pool);
    free(sink.octets);
    free(expected);
}

static void expect(const void *data, size_t size)
{
    memcpy(expected + expected_size, data, size);
    expected_size += size;
}

static void put(const void *data, size_t size)
{
    output_put(&output, data, size);
    expect(data, size);
}

static struct message *big_message(uint32_t body_bytes)
{
    static const uint8_t no_properties[2];
    struct message *message =
        message_new(AMQP_STR("x"), AMQP_STR("k"),
                    (struct amqp_bytes){ no_properties, sizeof no_properties }, body_bytes);
    uint8_t *body = message_body_writable(message);

    for (uint32_t i = 0; i < body_bytes; i++)
        body[i] = (uint8_t)random();
    return message;
}

static void put_body(struct message *message)
{
    output_put_message(&output, message, message_body(message), message->body_bytes);
    expect(message_body(message), message->body_bytes);
}

static void check_all_is_written(void)
{
    ck_assert_uint_eq(output.bytes, 0);
    ck_assert_uint_eq(output.written_bytes, expected_size);
    ck_assert_uint_eq(sink.size, expected_size);
    ck_assert_mem_eq(sink.octets, expected, expected_size);
    ck_assert_ptr_null(output.first);
    ck_assert_ptr_null(output.open);
}

START_TEST(test_small_parts_leave_in_order_with_one_write)
{
    put("one ", 4);
    put("two ", 4);
    put("three", 5);
    ck_assert_uint_eq(output.bytes, 13);
    ck_assert_int_eq(output_flush(&output, &sink.transport), 0);
    check_all_is_written();
    ck_assert_uint_eq(sink.calls, 1);
    ck_assert_uint_eq(sink.most_parts, 1);
}
END_TEST

START_TEST(test_nothing_to_write_calls_nobody)
{
    ck_assert_int_eq(output_flush(&output, &sink.transport), 0);
    ck_assert_uint_eq(sink.calls, 0);
}
END_TEST

START_TEST(test_copies_larger_than_a_chunk_are_split_over_chunks)
{
    uint8_t *data = malloc(BIG_BYTES);

    for (size_t i = 0; i < BIG_BYTES; i++)
        data[i] = (uint8_t)(i * 7);
    put("head", 4);
    put(data, BIG_BYTES);
    put("tail", 4);
    free(data);
    ck_assert_int_eq(output_flush(&output, &sink.transport), 0);
    check_all_is_written();
}
END_TEST

START_TEST(test_large_body_is_sent_from_where_it_is_and_then_let_go)
{
    struct message *message = big_message(BIG_BYTES);

    put("head", 4);
    put_body(message);
    put("tail", 4);
    ck_assert_uint_eq(message->refs, 2);
    sink.takes_still = 4 + BIG_BYTES - 1;
    ck_assert_int_eq(output_flush(&output, &sink.transport), -EAGAIN);
    ck_assert_uint_eq(message->refs, 2);
    sink.takes_still = 3; /* the last octet of it, and two of the tail */
    ck_assert_int_eq(output_flush(&output, &sink.transport), -EAGAIN);
    ck_assert_uint_eq(message->refs, 1);
    sink.takes_still = SIZE_MAX;
    ck_assert_int_eq(output_flush(&output, &sink.transport), 0);
    check_all_is_written();
    ck_assert_uint_eq(message->refs, 1);
    message_unref(message);
}
END_TEST

START_TEST(test_body_of_two_kib_is_copied_and_one_octet_more_is_not)
{
    struct message *small = big_message(OUTPUT_COPY_BYTES);
    struct message *large = big_message(OUTPUT_COPY_BYTES + 1);

    put_body(small);
    put_body(large);
    ck_assert_uint_eq(small->refs, 1);
    ck_assert_uint_eq(large->refs, 2);
    ck_assert_int_eq(output_flush(&output, &sink.transport), 0);
    check_all_is_written();
    message_unref(small);
    message_unref(large);
}
END_TEST

START_TEST(test_frames_between_references_share_a_chunk)
{
    struct message *message = big_message(4000);

    for (unsigned i = 0; i < 40; i++) {
        put("frame head", 10);
        put_body(message);
    }
    ck_assert_int_eq(output_flush(&output, &sink.transport), 0);
    check_all_is_written();
    ck_assert_uint_le(pool.chunk_count, 1);
    ck_assert_uint_le(sink.most_parts, 64);
    message_unref(message);
}
END_TEST

START_TEST(test_clearing_lets_go_of_everything)
{
    struct message *message = big_message(BIG_BYTES);

    put("head", 4);
    put_body(message);
    put("tail", 4);
    output_clear(&output);
    ck_assert_uint_eq(message->refs, 1);
    ck_assert_uint_eq(output.bytes, 0);
    ck_assert_int_eq(output_flush(&output, &sink.transport), 0);
    ck_assert_uint_eq(sink.calls, 0);
    message_unref(message);
}
END_TEST

START_TEST(test_error_of_the_transport_is_passed_on)
{
    put("lost", 4);
    sink.takes_still = 2;
    sink.error = -EPIPE;
    ck_assert_int_eq(output_flush(&output, &sink.transport), -EPIPE);
    ck_assert_uint_eq(output.bytes, 2);
}
END_TEST

START_TEST(test_reservation_may_be_committed_in_part)
{
    uint8_t *at = output_reserve(&output, OUTPUT_RESERVE_BYTES);

    memcpy(at, "abc", 3);
    output_commit(&output, at + 3);
    expect("abc", 3);
    at = output_reserve(&output, 100);
    output_commit(&output, at); /* nothing of it */
    at = output_reserve(&output, OUTPUT_RESERVE_BYTES); /* does not fit behind the first */
    memcpy(at, "defg", 4);
    output_commit(&output, at + 4);
    expect("defg", 4);
    ck_assert_int_eq(output_flush(&output, &sink.transport), 0);
    check_all_is_written();
}
END_TEST

START_TEST(test_idle_outputs_hold_no_chunks_and_the_pool_is_bounded)
{
    struct output others[40];
    uint8_t *data = calloc(1, 16 * OUTPUT_CHUNK_BYTES);

    for (size_t i = 0; i < N_ELEMENTS(others); i++) {
        output_init(&others[i], &pool);
        output_put(&others[i], data, 16 * OUTPUT_CHUNK_BYTES);
    }
    for (size_t i = 0; i < N_ELEMENTS(others); i++) {
        sink.size = 0;
        ck_assert_int_eq(output_flush(&others[i], &sink.transport), 0);
        ck_assert_ptr_null(others[i].first);
        ck_assert_ptr_null(others[i].open);
    }
    ck_assert_uint_gt(pool.chunk_count, 0);
    ck_assert_uint_le(pool.chunk_count * OUTPUT_CHUNK_BYTES, 4 * 1024 * 1024);
    free(data);
}
END_TEST

/* Random parts through a transport with random appetite: all octets, in order. */
START_TEST(test_random_history_loses_and_swaps_nothing)
{
    struct message *message = big_message(10000);
    uint8_t data[3000];

    srandom((unsigned)_i + 1);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)random();
    for (unsigned step = 0; step < 300; step++) {
        size_t size = (unsigned)random() % 5000;

        switch (random() % 4) {
        case 0:
            output_put_message(&output, message, message_body(message) + size, size);
            expect(message_body(message) + size, size);
            break;
        case 1:
        case 2:
            put(data, size % sizeof data);
            break;
        case 3:
            sink.takes_once = 1 + (unsigned)random() % 8000;
            sink.takes_still = (unsigned)random() % 20000;
            ck_assert_int_eq(output_flush(&output, &sink.transport),
                             output.bytes ? -EAGAIN : 0);
            break;
        }
        ck_assert_uint_eq(output.bytes + sink.size, expected_size);
    }
    sink.takes_once = sink.takes_still = SIZE_MAX;
    ck_assert_int_eq(output_flush(&output, &sink.transport), 0);
    check_all_is_written();
    ck_assert_uint_eq(message->refs, 1);
    message_unref(message);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("output");
    TCase *tcase = tcase_create("output");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_small_parts_leave_in_order_with_one_write);
    tcase_add_test(tcase, test_nothing_to_write_calls_nobody);
    tcase_add_test(tcase, test_copies_larger_than_a_chunk_are_split_over_chunks);
    tcase_add_test(tcase, test_large_body_is_sent_from_where_it_is_and_then_let_go);
    tcase_add_test(tcase, test_body_of_two_kib_is_copied_and_one_octet_more_is_not);
    tcase_add_test(tcase, test_frames_between_references_share_a_chunk);
    tcase_add_test(tcase, test_clearing_lets_go_of_everything);
    tcase_add_test(tcase, test_error_of_the_transport_is_passed_on);
    tcase_add_test(tcase, test_reservation_may_be_committed_in_part);
    tcase_add_test(tcase, test_idle_outputs_hold_no_chunks_and_the_pool_is_bounded);
    tcase_add_loop_test(tcase, test_random_history_loses_and_swaps_nothing, 0, 20);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
