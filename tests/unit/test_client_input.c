/*
 * test_client_input.c - octets in any portions become the same frames
 */
#include "tests/unit/client_fixture.h"

enum { STREAM_BYTES = 3 * 1024 * 1024 };

static uint8_t *stream;
static size_t stream_size, payload_size;
static uint8_t *payloads;
static unsigned frame_count;

static void setup(void)
{
    client_setup();
    stream = malloc(STREAM_BYTES);
    payloads = malloc(STREAM_BYTES);
    memcpy(stream, protocol_header, sizeof protocol_header);
    stream_size = sizeof protocol_header;
    payload_size = 0;
    frame_count = 0;
}

static void teardown(void)
{
    client_teardown();
    free(stream);
    free(payloads);
}

static void add_frame(uint8_t type, size_t size)
{
    uint8_t *payload = payloads + payload_size;

    for (size_t i = 0; i < size; i++)
        payload[i] = (uint8_t)random();
    stream_size = (size_t)(make_frame(stream + stream_size, type, payload, size) - stream);
    payload_size += size;
    frame_count++;
}

static void check_all_has_come(void)
{
    WAIT_UNTIL(connection->frames == frame_count);
    ck_assert_uint_eq(connection->size, payload_size);
    ck_assert_mem_eq(connection->octets, payloads, payload_size);
    ck_assert_uint_eq(connection->bads, 0);
}

static void add_three_frames(void)
{
    add_frame(AMQP_FRAME_METHOD, 11);
    add_frame(AMQP_FRAME_HEARTBEAT, 0);
    add_frame(AMQP_FRAME_BODY, 30);
}

START_TEST(test_stream_cut_at_any_octet_gives_the_same_frames)
{
    add_three_frames();
    if ((size_t)_i > stream_size)
        return;
    peer_send(stream, (size_t)_i);
    turn();
    peer_send(stream + _i, stream_size - (size_t)_i);
    check_all_has_come();
    ck_assert_ptr_null(the_client()->input.data);
}
END_TEST

START_TEST(test_stream_of_single_octets_gives_the_same_frames)
{
    add_three_frames();
    for (size_t i = 0; i < stream_size; i++) {
        peer_send(stream + i, 1);
        turn();
    }
    check_all_has_come();
}
END_TEST

START_TEST(test_large_frames_in_random_portions_arrive_whole)
{
    size_t at = 0;

    srandom((unsigned)_i + 1);
    while (stream_size < STREAM_BYTES - 140000)
        add_frame(AMQP_FRAME_BODY, (unsigned)random() % 131072);
    while (at < stream_size) {
        size_t part = 1 + (unsigned)random() % 200000;

        if (part > stream_size - at)
            part = stream_size - at;
        peer_send(stream + at, part);
        at += part;
    }
    check_all_has_come();
    ck_assert_ptr_null(the_client()->input.data);
}
END_TEST

START_TEST(test_many_frames_are_handled_in_one_turn)
{
    unsigned before;

    for (unsigned i = 0; i < 1000; i++)
        add_frame(AMQP_FRAME_BODY, 20);
    ck_assert_int_eq(send(peer_fd, stream, stream_size, 0), (ssize_t)stream_size);
    before = turns_ended;
    while (connection->frames == 0)
        turn();
    ck_assert_uint_eq(connection->frames, frame_count);
    ck_assert_uint_ge(turns_ended, before + 1);
}
END_TEST

START_TEST(test_unfinished_frame_takes_room_as_it_comes)
{
    uint8_t head[AMQP_FRAME_HEAD_BYTES];

    connection->payload_max = 0; /* no limit was negotiated */
    peer_send(protocol_header, sizeof protocol_header);
    amqp_frame_begin(head, AMQP_FRAME_BODY, 1, 400 * 1024 * 1024);
    peer_send(head, sizeof head);
    peer_send("abc", 3);
    WAIT_UNTIL(the_client()->input.size == sizeof head + 3);
    ck_assert_uint_le(the_client()->input.capacity, 128 * 1024);
}
END_TEST

START_TEST(test_pause_keeps_what_has_come_and_resuming_goes_on_there)
{
    for (unsigned i = 0; i < 100; i++)
        add_frame(AMQP_FRAME_BODY, 100);
    connection->pause_after = (unsigned)_i;
    peer_send(stream, stream_size);
    for (unsigned i = 0; i < 10; i++)
        turn();
    ck_assert_uint_eq(connection->frames, connection->pause_after);
    connection->pause_after += 10; /* and once more */
    connection->ops->pause(connection->peer, false);
    WAIT_UNTIL(connection->frames == connection->pause_after);
    for (unsigned i = 0; i < 10; i++)
        turn();
    ck_assert_uint_eq(connection->frames, connection->pause_after);
    connection->ops->pause(connection->peer, false);
    check_all_has_come();
    ck_assert_ptr_null(the_client()->input.data);
}
END_TEST

START_TEST(test_pause_and_resume_within_a_turn_loses_nothing)
{
    for (unsigned i = 0; i < 20; i++)
        add_frame(AMQP_FRAME_BODY, 100);
    connection->pause_after = 7;
    peer_send(stream, stream_size - 50); /* ends inside a frame */
    WAIT_UNTIL(connection->frames == 7);
    connection->ops->pause(connection->peer, false);
    connection->ops->pause(connection->peer, true);
    turn();
    ck_assert_uint_eq(connection->frames, 7);
    connection->ops->pause(connection->peer, false);
    peer_send(stream + stream_size - 50, 50);
    check_all_has_come();
}
END_TEST

START_TEST(test_oversized_frame_is_reported_from_its_head_and_ends_reading)
{
    uint8_t head[AMQP_FRAME_HEAD_BYTES];

    connection->payload_max = 4096;
    peer_send(protocol_header, sizeof protocol_header);
    amqp_frame_begin(head, AMQP_FRAME_BODY, 1, 4097);
    peer_send(head, sizeof head);
    WAIT_UNTIL(connection->bads == 1);
    ck_assert_int_eq(connection->bad_scan, AMQP_SCAN_OVERSIZED);
    add_frame(AMQP_FRAME_BODY, 10);
    peer_send(stream, stream_size);
    for (unsigned i = 0; i < 10; i++)
        turn();
    ck_assert_uint_eq(connection->frames, 0);
    ck_assert_uint_eq(connection->bads, 1);
}
END_TEST

START_TEST(test_wrong_end_octet_is_reported_with_its_value)
{
    add_frame(AMQP_FRAME_BODY, 10);
    add_frame(AMQP_FRAME_BODY, 10);
    stream[sizeof protocol_header + 7 + 10] = 0x42;
    peer_send(stream, stream_size);
    WAIT_UNTIL(connection->bads == 1);
    ck_assert_int_eq(connection->bad_scan, AMQP_SCAN_BAD_END);
    ck_assert_uint_eq(connection->bad_end_octet, 0x42);
    ck_assert_uint_eq(connection->frames, 0);
}
END_TEST

START_TEST(test_limit_that_grows_with_tune_ok_holds_for_the_next_frame)
{
    add_frame(AMQP_FRAME_METHOD, 100);
    add_frame(AMQP_FRAME_BODY, 100000);
    connection->payload_max = 4096;
    peer_send(stream, 20);
    turn();
    connection->payload_max = 131072;
    peer_send(stream + 20, stream_size - 20);
    check_all_has_come();
}
END_TEST

START_TEST(test_lost_peer_frees_its_connection)
{
    peer_send(stream, (size_t)_i);
    turn();
    close(peer_fd);
    peer_fd = -1;
    WAIT_UNTIL(connections_freed == 1);
    ck_assert_uint_eq(client_set_count(clients), 0);
}
END_TEST

START_TEST(test_origin_tells_both_addresses)
{
    ck_assert(connection->origin.loopback);
    ck_assert(!connection->origin.tls);
    ck_assert_uint_ne(connection->origin.peer_port, 0);
    ck_assert_uint_eq(connection->origin.port,
                      (unsigned)atoi(strrchr(listener_name(listener), ':') + 1));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("client_input");
    TCase *tcase = tcase_create("client_input");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, test_stream_cut_at_any_octet_gives_the_same_frames, 1, 74);
    tcase_add_test(tcase, test_stream_of_single_octets_gives_the_same_frames);
    tcase_add_loop_test(tcase, test_large_frames_in_random_portions_arrive_whole, 0, 3);
    tcase_add_test(tcase, test_many_frames_are_handled_in_one_turn);
    tcase_add_test(tcase, test_unfinished_frame_takes_room_as_it_comes);
    tcase_add_loop_test(tcase, test_pause_keeps_what_has_come_and_resuming_goes_on_there, 1, 5);
    tcase_add_test(tcase, test_pause_and_resume_within_a_turn_loses_nothing);
    tcase_add_test(tcase, test_oversized_frame_is_reported_from_its_head_and_ends_reading);
    tcase_add_test(tcase, test_wrong_end_octet_is_reported_with_its_value);
    tcase_add_test(tcase, test_limit_that_grows_with_tune_ok_holds_for_the_next_frame);
    tcase_add_loop_test(tcase, test_lost_peer_frees_its_connection, 0, 9);
    tcase_add_test(tcase, test_origin_tells_both_addresses);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
